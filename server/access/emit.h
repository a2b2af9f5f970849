/* emit.h - what a role may read, and the second gate: the one check every row
 * passes where it is emitted (DESIGN section 5, "Access"). PURE.
 *
 * The first gate is the query, which selects by scope. This one looks at the
 * row itself and shares no code with the first.
 */
#ifndef SAT_EMIT_H
#define SAT_EMIT_H

#include "proto/message.h"
#include "server/store/store.h"

/* Is the scope among the rights? They are sorted. */
bool sat_rights_hold(const struct sat_rights *r, uint32_t scope);

/* readable[i]: may the role read column i of t; t->column_count entries.
 * Returns true when it may read all of them. */
bool sat_read_set(const struct sat_table *t, enum sat_role role,
		  bool *readable);

/* Columns that show values of ANOTHER table's column (a ledger): readable
 * only for roles that may read that one. values are the row's. Clears entries
 * of readable; returns true when it cleared any. */
bool sat_read_foreign(const struct sat_catalogue *c, const struct sat_table *t,
		      enum sat_role role, const struct sat_value *values,
		      bool *readable);

/* May this row go to that reader as a member of that scope, with these
 * columns (indexes)? */
bool sat_emit_allowed(const struct sat_catalogue *c, const struct sat_table *t,
		      const struct sat_rights *r, uint32_t scope,
		      const struct sat_stored_row *row,
		      const struct sat_value *sent, const uint16_t *columns,
		      uint16_t column_count);

/* The same gate for a page that is shared: every row in it has passed
 * sat_emit_allowed for a reader of that role in that scope, and none has left
 * it since. May this reader have it too? */
bool sat_emit_shared(const struct sat_rights *r, enum sat_role role,
		     uint32_t scope);

#endif
