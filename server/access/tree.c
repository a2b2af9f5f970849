#include "server/access/tree.h"

#include <stdlib.h>
#include <string.h>

enum { MARK_NO = 0, MARK_YES = 1, MARK_UNKNOWN = 2 };

const struct sat_table *sat_tree_table(const struct sat_catalogue *c)
{
	for (uint16_t i = 0; i < c->table_count; i++) {
		const struct sat_table *t = &c->tables[i];

		for (uint16_t k = 0; k < t->scope_count; k++) {
			const struct sat_scope_source *s = &t->scopes[k];

			if (s->kind == SAT_SCOPE_COLUMN)
				return &c->tables[t->columns[s->column]
							  .ref_table];
		}
	}
	return NULL;
}

int sat_tree_parent_column(const struct sat_table *t)
{
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (t->columns[i].type == SAT_TYPE_REF &&
		    t->columns[i].ref_table == t->index)
			return i;
	}
	return -1;
}

void sat_tree_clear(struct sat_tree *tree)
{
	tree->count = 0;
}

void sat_tree_fini(struct sat_tree *tree)
{
	free(tree->nodes);
	*tree = (struct sat_tree){ 0 };
}

int sat_tree_add(struct sat_tree *tree, const struct sat_id *id,
		 const struct sat_id *parent)
{
	struct sat_tree_node *grown;
	uint32_t cap;

	if (tree->count == tree->cap) {
		if (tree->cap > UINT32_MAX / 2)
			return SAT_E_NOMEM;
		cap = tree->cap == 0 ? 64 : tree->cap * 2;
		grown = realloc(tree->nodes, cap * sizeof *grown);
		if (grown == NULL)
			return SAT_E_NOMEM;
		tree->nodes = grown;
		tree->cap = cap;
	}
	tree->nodes[tree->count++] = (struct sat_tree_node){
		.id = *id,
		.parent = parent != NULL ? *parent : (struct sat_id){ { 0 } },
		.has_parent = parent != NULL,
	};
	return SAT_OK;
}

static int by_id(const void *a, const void *b)
{
	const struct sat_tree_node *x = a, *y = b;

	return memcmp(x->id.b, y->id.b, sizeof x->id.b);
}

struct sat_tree_node *sat_tree_find(const struct sat_tree *tree,
				    const struct sat_id *id)
{
	struct sat_tree_node key = { .id = *id };

	if (tree->count == 0)
		return NULL;
	return bsearch(&key, tree->nodes, tree->count, sizeof key, by_id);
}

void sat_tree_build(struct sat_tree *tree)
{
	struct sat_tree_node *up;
	uint32_t kept = 0;

	if (tree->count == 0)
		return;
	qsort(tree->nodes, tree->count, sizeof *tree->nodes, by_id);
	for (uint32_t i = 1; i < tree->count; i++) {
		if (by_id(&tree->nodes[i], &tree->nodes[kept]) != 0)
			tree->nodes[++kept] = tree->nodes[i];
	}
	tree->count = kept + 1;
	for (uint32_t i = 0; i < tree->count; i++) {
		struct sat_tree_node *n = &tree->nodes[i];

		up = n->has_parent ? sat_tree_find(tree, &n->parent) : NULL;
		n->up = up != NULL ? (uint32_t)(up - tree->nodes) : i;
	}
}

struct sat_tree_node *sat_tree_root(const struct sat_tree *tree)
{
	for (uint32_t i = 0; i < tree->count; i++) {
		if (tree->nodes[i].up == i)
			return &tree->nodes[i];
	}
	return NULL;
}

/* Climb from node i to the first node whose mark is known; everything passed
 * gets the answer, so all climbs together cost one visit per node. A cycle
 * ends after count steps with nothing covered. */
static void climb(struct sat_tree *tree, uint32_t i)
{
	uint32_t at = i, steps = 0, mark, next;

	while (tree->nodes[at].mark == MARK_UNKNOWN &&
	       tree->nodes[at].up != at && steps++ < tree->count)
		at = tree->nodes[at].up;
	mark = tree->nodes[at].mark == MARK_YES ? MARK_YES : MARK_NO;
	for (at = i; tree->nodes[at].mark == MARK_UNKNOWN; at = next) {
		next = tree->nodes[at].up;
		tree->nodes[at].mark = mark;
	}
}

void sat_tree_cover(struct sat_tree *tree, const struct sat_id *tops,
		    uint32_t count)
{
	struct sat_tree_node *n;

	for (uint32_t i = 0; i < tree->count; i++)
		tree->nodes[i].mark = MARK_UNKNOWN;
	for (uint32_t i = 0; i < count; i++) {
		n = sat_tree_find(tree, &tops[i]);
		if (n != NULL)
			n->mark = MARK_YES;
	}
	for (uint32_t i = 0; i < tree->count; i++)
		climb(tree, i);
}
