#include "server/rollup/levels.h"

#include <string.h>

static bool listed(const struct sat_id *list, uint32_t count,
		   const struct sat_id *id)
{
	for (uint32_t i = 0; i < count; i++) {
		if (memcmp(list[i].b, id->b, sizeof id->b) == 0)
			return true;
	}
	return false;
}

uint32_t sat_levels_above(const struct sat_tree *tree, const struct sat_id *id,
			  struct sat_id out[SAT_LEVELS_MAX])
{
	const struct sat_tree_node *n = sat_tree_find(tree, id);
	uint32_t count = 1;

	out[0] = *id;
	while (n != NULL && count < SAT_LEVELS_MAX) {
		n = &tree->nodes[n->up];
		if (listed(out, count, &n->id))
			break;
		out[count++] = n->id;
	}
	return count;
}

bool sat_levels_sound(const struct sat_tree *tree)
{
	for (uint32_t i = 0; i < tree->count; i++) {
		uint32_t at = i, steps = 0;

		while (tree->nodes[at].up != at) {
			at = tree->nodes[at].up;
			if (++steps >= SAT_LEVELS_MAX)
				return false;
		}
	}
	return true;
}

static int spread_one(const struct sat_figure *s, const struct sat_tree *tree,
		      struct sat_sums *out)
{
	struct sat_id nodes[SAT_LEVELS_MAX];
	uint32_t count = 1;

	if (s->figures->rollup->all_levels)
		count = sat_levels_above(tree, &s->node, nodes);
	else
		nodes[0] = s->node;
	for (uint32_t i = 0; i < count; i++) {
		struct sat_figure *to =
			sat_sums_at(out, s->figures, &nodes[i], s->rest);

		if (to == NULL)
			return SAT_E_NOMEM;
		sat_figure_add(to, s->add, false);
	}
	return SAT_OK;
}

int sat_levels_spread(const struct sat_sums *own, const struct sat_tree *tree,
		      struct sat_sums *out)
{
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < own->count; i++) {
		if (!sat_figure_is_zero(&own->list[i]))
			rc = spread_one(&own->list[i], tree, out);
	}
	return rc;
}
