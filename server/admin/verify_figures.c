#include "server/admin/verify_figures.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "server/rollup/recompute.h"

enum { ARENA_BYTES_MAX = 64 << 20, KEY_BYTES = 200, WHAT_BYTES = 320 };

#define SUMS_BYTES_MAX ((size_t)1 << 30)

struct check {
	struct sat_store *store;
	sat_figure_finding_cb cb;
	void *arg;
	struct sat_figures_checked *ret;
	struct sat_arena arena; /* one row at a time */
	struct sat_err *err;
};

/* ---- roll-ups ------------------------------------------------------------ */

static int on_stray(void *arg, const struct sat_table *figures,
		    const struct sat_id *id)
{
	struct check *c = arg;

	return c->cb(c->arg, figures, id, "its id is not that of its key");
}

/* The first measure that is wrong, under the key as people would say it. */
static int tell(struct check *c, const struct sat_figure *f)
{
	const struct sat_rollup *u = f->figures->rollup;
	struct sat_id id = sat_rollup_id(f);
	char node[SAT_UUID_CHARS + 1], key[KEY_BYTES], what[WHAT_BYTES];
	struct sat_stored_row row;
	int64_t is = 0;
	uint16_t i = 0;
	int rc;

	sat_arena_reset(&c->arena);
	rc = sat_store_row_get(c->store, f->figures, &id, &c->arena, &row,
			       c->err);
	if (rc != SAT_OK)
		return rc;
	while (i + 1 < u->measure_count && f->add[i] == 0)
		i++;
	if (row.seq != 0 && !row.deleted &&
	    row.values[u->measures[i]].kind == SAT_INT)
		is = row.values[u->measures[i]].i;
	sat_id_format(&f->node, node);
	(void)snprintf(key, sizeof key, "%s/%.*s", node,
		       (int)(f->rest.len < 160 ? f->rest.len : 160),
		       (const char *)f->rest.ptr);
	(void)snprintf(what, sizeof what,
		       "%s of %s is %lld, the rows add up to %lld",
		       f->figures->columns[u->measures[i]].name, key,
		       (long long)is, (long long)sat_wrap_add(is, f->add[i]));
	return c->cb(c->arg, f->figures, &id,
		     sat_figure_is_zero(f) ? "a row of nothing but zeros"
					   : what);
}

static int check_rollups(struct check *c, const struct sat_rollups *plan)
{
	struct sat_tree tree = { 0 };
	struct sat_sums diff;
	int rc = sat_rollup_tree(c->store, plan->cat, &tree, c->err);

	sat_sums_init(&diff, SUMS_BYTES_MAX);
	if (rc == SAT_OK)
		rc = sat_rollup_compare(c->store, plan, &tree, &diff, on_stray,
					c, c->err);
	for (uint32_t i = 0; rc == SAT_OK && i < diff.count; i++) {
		if (diff.list[i].touched || !sat_figure_is_zero(&diff.list[i]))
			rc = tell(c, &diff.list[i]);
	}
	c->ret->figures = diff.count;
	sat_sums_fini(&diff);
	sat_tree_fini(&tree);
	return rc;
}

/* ---- changes ------------------------------------------------------------- */

struct chain {
	struct check *c;
	const struct sat_table *changes;
	struct sat_arena arena; /* of to */
	struct sat_value to;    /* of the last change; NULL: none yet */
	bool broken;
	uint32_t count;
};

static int on_change(void *arg, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	struct chain *n = arg;
	const struct sat_history *h = t->history;

	if (row->deleted)
		return SAT_OK;
	n->c->ret->changes++;
	n->count++;
	if (n->to.kind != SAT_NULL &&
	    !sat_value_equal(&n->to, &row->values[h->from]))
		n->broken = true;
	sat_arena_reset(&n->arena);
	return sat_value_copy(&n->arena, &row->values[h->to], &n->to);
}

/* Rows that were there before changes were kept have none. */
static int on_watched(void *arg, const struct sat_table *t,
		      const struct sat_stored_row *row)
{
	struct chain *n = arg;
	const struct sat_history *h = n->changes->history;
	struct sat_value id = sat_value_id(&row->id);
	int rc;

	n->to = sat_value_null();
	n->broken = false;
	n->count = 0;
	rc = sat_store_rows(n->c->store, n->changes, h->row, &id, on_change, n,
			    n->c->err);
	if (rc != SAT_OK || n->to.kind == SAT_NULL)
		return rc;
	if (row->deleted)
		return n->c->cb(n->c->arg, t, &row->id,
				"it is deleted and its changes are not");
	if (n->count >= SAT_HISTORY_MAX && !n->broken)
		return SAT_OK;
	if (!n->broken && sat_value_equal(&n->to, &row->values[h->watched]))
		return SAT_OK;
	return n->c->cb(n->c->arg, t, &row->id,
			n->broken ? "its changes do not follow on each other"
				  : "its last change leads to another value");
}

static int check_changes(struct check *c, const struct sat_table *changes,
			 const struct sat_table *of)
{
	struct chain n = { .c = c, .changes = changes };
	int rc;

	sat_arena_init(&n.arena, ARENA_BYTES_MAX);
	rc = sat_store_rows(c->store, of, -1, NULL, on_watched, &n, c->err);
	sat_arena_fini(&n.arena);
	return rc;
}

int sat_verify_figures(struct sat_store *s, sat_figure_finding_cb cb, void *arg,
		       struct sat_figures_checked *ret, struct sat_err *err)
{
	const struct sat_catalogue *cat = sat_store_catalogue(s);
	struct check c = {
		.store = s, .cb = cb, .arg = arg, .ret = ret, .err = err
	};
	struct sat_rollups plan;
	struct sat_arena a;
	int rc;

	*ret = (struct sat_figures_checked){ 0 };
	sat_arena_init(&a, ARENA_BYTES_MAX);
	sat_arena_init(&c.arena, ARENA_BYTES_MAX);
	rc = sat_rollups_plan(&a, cat, &plan);
	if (rc != SAT_OK)
		rc = sat_err_set(err, rc, 0, "verify", "out of memory");
	else
		rc = check_rollups(&c, &plan);
	for (uint16_t i = 0; rc == SAT_OK && i < cat->table_count; i++) {
		const struct sat_table *t = &cat->tables[i];

		if (t->history != NULL)
			rc = check_changes(&c, t,
					   &cat->tables[t->history->table]);
	}
	sat_arena_fini(&c.arena);
	sat_arena_fini(&a);
	return rc;
}
