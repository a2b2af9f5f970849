/* tree.h - the tree of territories and what a grant on a node covers. PURE.
 *
 * Nothing here names a table: the tree is the table that scope columns point
 * to, and the parent is its reference to itself. A node whose parent is not
 * known, or that lies on a cycle, is a root: a damaged tree gives less access
 * than meant, never more.
 */
#ifndef SAT_TREE_H
#define SAT_TREE_H

#include "common/catalogue.h"
#include "proto/message.h"

struct sat_tree_node {
	struct sat_id id, parent;
	bool has_parent;
	uint32_t scope; /* its scope number, 0: none given yet            */
	uint32_t up;    /* index of the parent, own index for a root      */
	uint32_t mark;  /* scratch of sat_tree_cover                      */
};

struct sat_tree {
	struct sat_tree_node *nodes; /* sorted by id after sat_tree_build */
	uint32_t count, cap;
};

/* The table scope columns point to, NULL when the catalogue has none. */
const struct sat_table *sat_tree_table(const struct sat_catalogue *c);
/* Its column that points to itself, -1 when it has none. */
int sat_tree_parent_column(const struct sat_table *t);

/* Forget the nodes, keep the memory. */
void sat_tree_clear(struct sat_tree *tree);
void sat_tree_fini(struct sat_tree *tree);
/* parent NULL: a root. SAT_OK or SAT_E_NOMEM. */
int sat_tree_add(struct sat_tree *tree, const struct sat_id *id,
		 const struct sat_id *parent) SAT_MUST_CHECK;
/* Sort and link after the last add. A node added twice counts once. */
void sat_tree_build(struct sat_tree *tree);

/* NULL when there is no such node. */
struct sat_tree_node *sat_tree_find(const struct sat_tree *tree,
				    const struct sat_id *id);
/* The root with the smallest id, NULL for an empty tree. */
struct sat_tree_node *sat_tree_root(const struct sat_tree *tree);

/* Set mark = 1 in every node at or below one of `tops`, 0 in all others. */
void sat_tree_cover(struct sat_tree *tree, const struct sat_id *tops,
		    uint32_t count);

#endif
