/* levels.h - from a territory to all above it. PURE.
 *
 * The tree of figures holds deleted territories too, each under its last
 * parent: what was sold in a patch that is gone stays in the nation's total.
 */
#ifndef SAT_ROLLUP_LEVELS_H
#define SAT_ROLLUP_LEVELS_H

#include "server/access/tree.h"
#include "server/rollup/sums.h"

enum { SAT_LEVELS_MAX = 64 };

/* The node itself and all above it, each once, at most SAT_LEVELS_MAX. A node
 * that the tree does not have stands alone. */
uint32_t sat_levels_above(const struct sat_tree *tree, const struct sat_id *id,
			  struct sat_id out[SAT_LEVELS_MAX]);

/* Does every node reach a root within SAT_LEVELS_MAX steps? False for a
 * circle, which only a damaged tree has. */
bool sat_levels_sound(const struct sat_tree *tree);

/* Sums of single territories into those that rows show: of all levels for
 * roll-ups that say so. SAT_OK or SAT_E_NOMEM. */
int sat_levels_spread(const struct sat_sums *own, const struct sat_tree *tree,
		      struct sat_sums *out) SAT_MUST_CHECK;

#endif
