/* verify_dots.h - is every changeset with a verdict where it must be?
 */
#ifndef SAT_ADMIN_VERIFY_DOTS_H
#define SAT_ADMIN_VERIFY_DOTS_H

#include "server/store/store.h"

typedef int (*sat_dot_finding_cb)(void *arg, struct sat_dot dot,
				  const char *what);

struct sat_dots_checked {
	uint64_t changesets, writes, refused;
};

/* Every changeset up to each device's last verdict: chained to the one before
 * it, and each of its writes in its row's version vector, or all of it refused
 * or parked. Inside a snapshot. A cb that fails ends it. */
int sat_verify_dots(struct sat_store *s, sat_dot_finding_cb cb, void *arg,
		    struct sat_dots_checked *ret,
		    struct sat_err *err) SAT_MUST_CHECK;

#endif
