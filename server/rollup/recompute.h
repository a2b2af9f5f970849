/* recompute.h - all figures from the business rows, and how they differ from
 * what the store shows. Reads only; the writer's handle or a snapshot. */
#ifndef SAT_ROLLUP_RECOMPUTE_H
#define SAT_ROLLUP_RECOMPUTE_H

#include "server/rollup/levels.h"
#include "server/rollup/plan.h"
#include "server/store/store.h"

/* The territories for figures: see levels.h. Replaces what *tree held. */
int sat_rollup_tree(struct sat_store *s, const struct sat_catalogue *cat,
		    struct sat_tree *tree, struct sat_err *err) SAT_MUST_CHECK;

/* A row that shows what no key can be: another id than that of its key. */
typedef int (*sat_rollup_stray_cb)(void *arg, const struct sat_table *figures,
				   const struct sat_id *id);

/* Into *diff (empty, initialised): per key what must be added to what the
 * store shows to get what it should. Keys that agree are there with zeros. A
 * row of zeros, which there must not be, is touched. */
int sat_rollup_compare(struct sat_store *s, const struct sat_rollups *plan,
		       const struct sat_tree *tree, struct sat_sums *diff,
		       sat_rollup_stray_cb stray, void *arg,
		       struct sat_err *err) SAT_MUST_CHECK;

#endif
