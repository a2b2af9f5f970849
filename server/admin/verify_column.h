/* verify_column.h - which column of a damaged row is not what was written.
 *
 * The row's sum tells only that something is; the changeset that wrote a
 * field last still says what.
 */
#ifndef SAT_ADMIN_VERIFY_COLUMN_H
#define SAT_ADMIN_VERIFY_COLUMN_H

#include "server/store/store.h"

/* *ret: the first column whose value is not the one its changeset gave, -1
 * when no changeset that is kept tells. Errors of the store, SAT_E_NOMEM. */
int sat_verify_column(struct sat_store *s, const struct sat_table *t,
		      const struct sat_stored_row *row, int *ret,
		      struct sat_err *err) SAT_MUST_CHECK;

#endif
