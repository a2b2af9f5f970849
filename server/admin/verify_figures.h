/* verify_figures.h - are roll-ups what the rows they count add up to, and do
 * the rows of changes end where their rows are? */
#ifndef SAT_VERIFY_FIGURES_H
#define SAT_VERIFY_FIGURES_H

#include "server/store/store.h"

struct sat_figures_checked {
	uint64_t figures; /* keys of roll-ups that rows add up to */
	uint64_t changes; /* rows of changes                      */
};

/* Once per finding; anything but SAT_OK ends the check with it. */
typedef int (*sat_figure_finding_cb)(void *arg, const struct sat_table *t,
				     const struct sat_id *id, const char *what);

int sat_verify_figures(struct sat_store *s, sat_figure_finding_cb cb, void *arg,
		       struct sat_figures_checked *ret,
		       struct sat_err *err) SAT_MUST_CHECK;

#endif
