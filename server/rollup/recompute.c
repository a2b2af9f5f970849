#include "server/rollup/recompute.h"

#include <string.h>

enum { OWN_BYTES_MAX = 1024 * 1024 * 1024 };

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "roll-ups", "out of memory");
}

/* ---- territories --------------------------------------------------------- */

struct nodes {
	struct sat_tree *tree;
	int parent; /* column, -1: none */
};

static int on_node(void *arg, const struct sat_table *t,
		   const struct sat_stored_row *row)
{
	struct nodes *n = arg;
	const struct sat_value *v =
		n->parent < 0 ? NULL : &row->values[n->parent];
	struct sat_id parent;

	(void)t;
	if (v == NULL || v->kind != SAT_BLOB || v->s.len != sizeof parent.b)
		return sat_tree_add(n->tree, &row->id, NULL);
	memcpy(parent.b, v->s.ptr, sizeof parent.b);
	return sat_tree_add(n->tree, &row->id, &parent);
}

int sat_rollup_tree(struct sat_store *s, const struct sat_catalogue *cat,
		    struct sat_tree *tree, struct sat_err *err)
{
	const struct sat_table *t = sat_tree_table(cat);
	struct nodes n = { .tree = tree, .parent = -1 };
	int rc = SAT_OK;

	sat_tree_clear(tree);
	if (t != NULL) {
		n.parent = sat_tree_parent_column(t);
		rc = sat_store_rows(s, t, -1, NULL, on_node, &n, err);
	}
	if (rc == SAT_E_NOMEM)
		return no_memory(err);
	sat_tree_build(tree);
	return rc;
}

/* ---- what should be ------------------------------------------------------ */

struct scan {
	const struct sat_rollups *plan;
	struct sat_sums *sums;
	sat_rollup_stray_cb stray;
	void *arg;
};

static int on_source(void *arg, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	struct scan *c = arg;

	return row->deleted ? SAT_OK
			    : sat_rollup_count(c->plan, t, &row->id,
					       row->values, false, c->sums);
}

static int count_all(struct sat_store *s, const struct sat_rollups *plan,
		     struct sat_sums *own, struct sat_err *err)
{
	struct scan c = { .plan = plan, .sums = own };
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < plan->cat->table_count; i++) {
		if (plan->by_table[i].rollup_count > 0)
			rc = sat_store_rows(s, &plan->cat->tables[i], -1, NULL,
					    on_source, &c, err);
	}
	return rc == SAT_E_NOMEM ? no_memory(err) : rc;
}

/* ---- what is shown ------------------------------------------------------- */

static int on_shown(void *arg, const struct sat_table *t,
		    const struct sat_stored_row *row)
{
	struct scan *c = arg;
	const struct sat_rollup *u = t->rollup;
	struct sat_figure *sum;
	struct sat_id id;
	bool zero = true;
	int rc;

	if (row->deleted)
		return SAT_OK;
	rc = sat_rollup_shown(t, row->values, NULL, true, c->sums, &sum);
	if (rc != SAT_OK)
		return rc;
	if (sum != NULL)
		id = sat_rollup_id(sum);
	if (sum == NULL || memcmp(id.b, row->id.b, sizeof id.b) != 0) {
		/* it counts for nothing: take back what was just taken */
		if (sum != NULL)
			rc = sat_rollup_shown(t, row->values, NULL, false,
					      c->sums, &sum);
		return rc == SAT_OK ? c->stray(c->arg, t, &row->id) : rc;
	}
	for (uint16_t i = 0; i < u->measure_count; i++) {
		const struct sat_value *v = &row->values[u->measures[i]];

		zero = zero && (v->kind != SAT_INT || v->i == 0);
	}
	sum->touched = zero;
	return SAT_OK;
}

int sat_rollup_compare(struct sat_store *s, const struct sat_rollups *plan,
		       const struct sat_tree *tree, struct sat_sums *diff,
		       sat_rollup_stray_cb stray, void *arg,
		       struct sat_err *err)
{
	struct scan c = {
		.plan = plan, .sums = diff, .stray = stray, .arg = arg
	};
	struct sat_sums own;
	int rc;

	sat_sums_init(&own, OWN_BYTES_MAX);
	rc = count_all(s, plan, &own, err);
	if (rc == SAT_OK && sat_levels_spread(&own, tree, diff) != SAT_OK)
		rc = no_memory(err);
	sat_sums_fini(&own);
	for (uint16_t i = 0; rc == SAT_OK && i < plan->cat->table_count; i++) {
		const struct sat_table *t = &plan->cat->tables[i];

		if (t->rollup != NULL)
			rc = sat_store_rows(s, t, -1, NULL, on_shown, &c, err);
	}
	return rc == SAT_E_NOMEM ? no_memory(err) : rc;
}
