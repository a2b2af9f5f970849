/* refused.h - a mark for each changeset that was refused, so that `verify` can
 * tell one from a changeset whose effect was lost.
 */
#ifndef SAT_ENGINE_REFUSED_H
#define SAT_ENGINE_REFUSED_H

#include "server/store/store.h"

/* In the same transaction as the verdict. Errors as sat_store_rejected_put. */
int sat_refused_note(struct sat_store *s, struct sat_dot dot,
		     struct sat_err *err) SAT_MUST_CHECK;

/* SAT_OK and whether there is a mark. */
int sat_refused_find(struct sat_store *s, struct sat_dot dot, bool *ret,
		     struct sat_err *err) SAT_MUST_CHECK;

#endif
