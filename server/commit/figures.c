/* Roll-ups are kept in the transaction of the rows they count (SYNC section
 * 12): every row written adds its new image and takes away its old one, in
 * memory and in its own territory; the commit spreads the sums over the
 * levels of the tree and writes each row of figures once, however many rows
 * moved it.
 *
 * figures.tree is the tree that the stored figures are of. A group that moves
 * territories first settles its sums under the old tree, then takes each
 * territory whose parent changed out with all it shows, and puts it back
 * where it belongs: what is moved is one row per key of the territory, not the
 * rows below it. */
#include <string.h>

#include "server/commit/core.h"
#include "server/rollup/recompute.h"

#define KEY_FIGURES "figures"

enum { SUMS_BYTES_MAX = 1024 * 1024 * 1024, COLUMNS_MAX = 64, MARK_BYTES = 24 };

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "roll-ups", "out of memory");
}

/* ---- state --------------------------------------------------------------- */

void sat_figures_init(struct sat_figures *f)
{
	sat_sums_init(&f->group, SUMS_BYTES_MAX);
	sat_sums_init(&f->changeset, SUMS_BYTES_MAX);
	sat_sums_init(&f->shown, SUMS_BYTES_MAX);
}

void sat_figures_fini(struct sat_figures *f)
{
	sat_sums_fini(&f->group);
	sat_sums_fini(&f->changeset);
	sat_sums_fini(&f->shown);
	sat_tree_fini(&f->tree);
}

void sat_figures_clear(struct sat_figures *f)
{
	sat_sums_clear(&f->group);
	sat_sums_clear(&f->changeset);
}

/* What the stored figures were computed under: the history and the mark of
 * the catalogue. */
static void mark_of(const struct sat_engine *e, uint8_t out[MARK_BYTES])
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(e->epoch >> (56 - 8 * i));
	memcpy(out + 8, e->plan.rollups.mark.b, 16);
}

static int read_mark(struct sat_engine *e, bool *ret_same, struct sat_err *err)
{
	uint8_t want[MARK_BYTES];
	struct sat_buf b;
	int rc;

	mark_of(e, want);
	sat_buf_init(&b, 256);
	rc = sat_store_setting_get(e->store, KEY_FIGURES, &b, err);
	*ret_same = rc == SAT_OK &&
		    sat_slice_equal(sat_buf_peek(&b),
				    (struct sat_slice){ want, sizeof want });
	sat_buf_fini(&b);
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

int sat_figures_begin(struct sat_engine *e, struct sat_err *err)
{
	struct sat_figures *f = &e->figures;
	bool same;
	int rc;

	sat_figures_clear(f);
	if (!e->plan.rollups.any || f->known)
		return SAT_OK;
	rc = read_mark(e, &same, err);
	if (rc == SAT_OK)
		rc = sat_rollup_tree(e->store, e->plan.cat, &f->tree, err);
	if (rc != SAT_OK)
		return rc;
	f->epoch = e->epoch;
	f->rebuild = !same;
	f->tree_moved = false;
	f->known = true;
	return SAT_OK;
}

/* ---- what a group does --------------------------------------------------- */

static bool parent_moved(const struct sat_engine *e, const struct sat_work *w)
{
	int c = w->table == e->plan.tree ? sat_tree_parent_column(w->table)
					 : -1;

	return w->table == e->plan.tree &&
	       (w->old.seq == 0 ||
		(c >= 0 && !sat_value_equal(&w->old.values[c], &w->values[c])));
}

int sat_figures_note(struct sat_engine *e, const struct sat_work *w,
		     struct sat_err *err)
{
	const struct sat_rollups *p = &e->plan.rollups;
	struct sat_figures *f = &e->figures;
	int rc = SAT_OK;

	if (!p->any)
		return SAT_OK;
	f->tree_moved = f->tree_moved || parent_moved(e, w);
	if (w->old.seq != 0 && !w->old.deleted)
		rc = sat_rollup_count(p, w->table, &w->id, w->old.values, true,
				      &f->changeset);
	if (rc == SAT_OK && sat_row_alive(&w->state))
		rc = sat_rollup_count(p, w->table, &w->id, w->values, false,
				      &f->changeset);
	return rc == SAT_OK ? rc : no_memory(err);
}

int sat_figures_keep(struct sat_engine *e, struct sat_err *err)
{
	struct sat_figures *f = &e->figures;
	int rc = sat_sums_merge(&f->group, &f->changeset);

	sat_sums_clear(&f->changeset);
	return rc == SAT_OK ? rc : no_memory(err);
}

/* ---- rows of figures ------------------------------------------------------
 */

/* What the row shall show; *ret_zero: nothing, so there shall be none. */
static int wanted(const struct sat_figure *s, const struct sat_work *w,
		  struct sat_arena *a, uint16_t *columns,
		  struct sat_value *values, uint32_t *ret_count, bool *ret_zero)
{
	const struct sat_rollup *u = s->figures->rollup;
	bool alive = w->old.seq != 0 && !w->old.deleted;
	uint32_t n = 0;
	int rc = sat_rollup_key_values(s, a, values);

	for (; n < u->key_count; n++)
		columns[n] = u->keys[n];
	*ret_zero = true;
	for (uint16_t i = 0; i < u->measure_count; i++, n++) {
		const struct sat_value *old =
			alive ? &w->old.values[u->measures[i]] : NULL;
		int64_t v = old != NULL && old->kind == SAT_INT ? old->i : 0;

		v = sat_wrap_add(v, s->add[i]);
		columns[n] = u->measures[i];
		values[n] = sat_value_int(v);
		*ret_zero = *ret_zero && v == 0;
	}
	*ret_count = n;
	return rc;
}

static int scopes_of(struct sat_engine *e, struct sat_work *w,
		     struct sat_arena *a, struct sat_err *err)
{
	struct sat_scopes own;
	int rc = SAT_OK;

	if (sat_row_alive(&w->state))
		return sat_row_scopes(e, w->table, w->values, a, &w->scopes,
				      &own, err);
	for (uint32_t i = 0; rc == SAT_OK && i < w->old.place_count; i++) {
		if (!w->old.places[i].evict)
			rc = sat_scopes_add(a, &w->scopes,
					    w->old.places[i].scope);
	}
	return rc;
}

/* A delta of the server's own on a row as it was read. */
static int put(struct sat_engine *e, struct sat_work *w, struct sat_delta *d,
	       struct sat_dot dot, struct sat_arena *a, struct sat_err *err)
{
	static const struct sat_clock_map here;
	enum sat_merge_outcome outcome;
	bool clamped;
	int rc;

	sat_delta_stamp(d, dot, &w->state, &here, e->hlc, &clamped);
	rc = sat_merge_apply(a, &w->state, d, dot, &outcome);
	if (rc == SAT_OK)
		rc = sat_work_show(a, w);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "roll-ups",
				   "a row of %s cannot be written",
				   w->table->name);
	rc = scopes_of(e, w, a, err);
	return rc == SAT_OK
		       ? sat_work_write(e, w, ++e->head, e->self, false, a, err)
		       : rc;
}

static int write_sum(struct sat_engine *e, const struct sat_figure *s,
		     struct sat_dot dot, struct sat_err *err)
{
	uint16_t columns[COLUMNS_MAX];
	struct sat_value values[COLUMNS_MAX];
	struct sat_own_write own = { .op = SAT_OP_INSERT,
				     .table = s->figures,
				     .id = sat_rollup_id(s),
				     .columns = columns,
				     .values = values };
	struct sat_arena *a = &e->derived_arena;
	struct sat_delta d;
	struct sat_work w;
	bool zero, same;
	int rc;

	SAT_ASSERT(s->figures->rollup->key_count +
			   s->figures->rollup->measure_count <=
		   COLUMNS_MAX);
	sat_arena_reset(a);
	rc = sat_work_load(e, s->figures, &own.id, a, &w, err);
	if (rc != SAT_OK)
		return rc;
	if (wanted(s, &w, a, columns, values, &own.column_count, &zero) !=
	    SAT_OK)
		return no_memory(err);
	if (zero && w.old.seq == 0)
		return SAT_OK;
	if (zero)
		own.op = SAT_OP_DELETE;
	rc = sat_own_delta_on(e, &own, &w, a, &d, &same, err);
	return rc != SAT_OK || same ? rc : put(e, &w, &d, dot, a, err);
}

/* Write every sum of f->shown that changes something, under one dot. */
static int write_shown(struct sat_engine *e, struct sat_err *err)
{
	struct sat_sums *shown = &e->figures.shown;
	struct sat_dot dot = { e->self, e->self_seq + 1 };
	uint64_t before = e->head;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < shown->count; i++) {
		if (shown->list[i].touched ||
		    !sat_figure_is_zero(&shown->list[i]))
			rc = write_sum(e, &shown->list[i], dot, err);
	}
	if (e->head != before)
		e->self_seq = dot.seq;
	sat_sums_clear(shown);
	return rc;
}

/* ---- territories that move ----------------------------------------------- */

struct lift {
	struct sat_sums *shown;
	struct sat_id above[SAT_LEVELS_MAX];
	uint32_t count;
	bool minus;
};

static int on_lifted(void *arg, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	struct lift *l = arg;
	struct sat_figure *ignored;
	int rc = SAT_OK;

	if (row->deleted)
		return SAT_OK;
	/* the first one is the territory itself: its figures stay */
	for (uint32_t i = 1; rc == SAT_OK && i < l->count; i++)
		rc = sat_rollup_shown(t, row->values, &l->above[i], l->minus,
				      l->shown, &ignored);
	return rc;
}

/* All that the territory shows to what is above it in tree, or away. */
static int lift_one(struct sat_engine *e, const struct sat_tree *tree,
		    const struct sat_id *id, bool minus, struct sat_err *err)
{
	struct lift l = { .shown = &e->figures.shown, .minus = minus };
	const struct sat_catalogue *c = e->plan.cat;
	struct sat_value v = sat_value_id(id);
	int rc = SAT_OK;

	l.count = sat_levels_above(tree, id, l.above);
	for (uint16_t i = 0; rc == SAT_OK && i < c->table_count; i++) {
		const struct sat_table *t = &c->tables[i];

		if (t->rollup == NULL || !t->rollup->all_levels)
			continue;
		rc = sat_store_rows(e->store, t, t->rollup->keys[0], &v,
				    on_lifted, &l, err);
		if (rc == SAT_E_NOMEM)
			return no_memory(err);
	}
	return rc == SAT_OK ? write_shown(e, err) : rc;
}

/* Has the node of `of` another parent in `other`, or is it not there? */
static bool differs(const struct sat_tree *of, uint32_t i,
		    const struct sat_tree *other)
{
	const struct sat_tree_node *n = &of->nodes[i];
	const struct sat_tree_node *m = sat_tree_find(other, &n->id);

	return m == NULL ||
	       memcmp(of->nodes[n->up].id.b, other->nodes[m->up].id.b,
		      sizeof n->id.b) != 0;
}

/* First all are taken out of the old tree, then all are put into the new one:
 * on the way there is no circle, as there is none in either. */
static int move_nodes(struct sat_engine *e, struct sat_tree *next,
		      struct sat_err *err)
{
	struct sat_tree *old = &e->figures.tree;
	int rc = SAT_OK;

	for (uint32_t i = 0; i < next->count; i++)
		next->nodes[i].mark = differs(next, i, old);
	for (uint32_t i = 0; rc == SAT_OK && i < old->count; i++) {
		if (!differs(old, i, next))
			continue;
		rc = lift_one(e, old, &old->nodes[i].id, true, err);
		old->nodes[i].up = i;
	}
	for (uint32_t i = 0; i < next->count; i++) {
		if (next->nodes[i].mark != 0) {
			next->nodes[i].mark = next->nodes[i].up;
			next->nodes[i].up = i;
		} else {
			next->nodes[i].mark = UINT32_MAX;
		}
	}
	for (uint32_t i = 0; rc == SAT_OK && i < next->count; i++) {
		if (next->nodes[i].mark == UINT32_MAX)
			continue;
		next->nodes[i].up = next->nodes[i].mark;
		rc = lift_one(e, next, &next->nodes[i].id, false, err);
	}
	return rc;
}

/* ---- everything anew ----------------------------------------------------- */

struct stray {
	struct sat_engine *e;
	struct sat_err *err;
};

static int on_stray(void *arg, const struct sat_table *figures,
		    const struct sat_id *id)
{
	struct stray *s = arg;
	struct sat_engine *e = s->e;
	struct sat_own_write own = { .op = SAT_OP_DELETE,
				     .table = figures,
				     .id = *id };
	struct sat_arena *a = &e->derived_arena;
	struct sat_delta d;
	struct sat_work w;
	bool same;
	int rc;

	sat_arena_reset(a);
	rc = sat_work_load(e, figures, id, a, &w, s->err);
	if (rc == SAT_OK)
		rc = sat_own_delta_on(e, &own, &w, a, &d, &same, s->err);
	return rc != SAT_OK || same
		       ? rc
		       : put(e, &w, &d,
			     (struct sat_dot){ e->self, ++e->self_seq }, a,
			     s->err);
}

static int rebuild(struct sat_engine *e, const struct sat_tree *tree,
		   struct sat_err *err)
{
	struct stray s = { e, err };
	uint8_t mark[MARK_BYTES];
	int rc = sat_rollup_compare(e->store, &e->plan.rollups, tree,
				    &e->figures.shown, on_stray, &s, err);

	if (rc == SAT_OK)
		rc = write_shown(e, err);
	if (rc != SAT_OK)
		return rc;
	mark_of(e, mark);
	return sat_store_setting_put(e->store, KEY_FIGURES,
				     (struct sat_slice){ mark, sizeof mark },
				     err);
}

/* ---- commit -------------------------------------------------------------- */

static int settle_tree(struct sat_engine *e, struct sat_err *err)
{
	struct sat_figures *f = &e->figures;
	struct sat_tree next = { 0 };
	int rc = sat_rollup_tree(e->store, e->plan.cat, &next, err);

	if (rc == SAT_OK && (f->rebuild || !sat_levels_sound(&f->tree) ||
			     !sat_levels_sound(&next)))
		rc = rebuild(e, &next, err);
	else if (rc == SAT_OK)
		rc = move_nodes(e, &next, err);
	if (rc == SAT_OK) {
		sat_tree_fini(&f->tree);
		f->tree = next;
		next = (struct sat_tree){ 0 };
		f->rebuild = f->tree_moved = false;
	}
	sat_tree_fini(&next);
	return rc;
}

int sat_figures_settle(struct sat_engine *e, struct sat_err *err)
{
	struct sat_figures *f = &e->figures;
	int rc = SAT_OK;

	if (!e->plan.rollups.any)
		return SAT_OK;
	f->rebuild = f->rebuild || f->epoch != e->epoch;
	f->epoch = e->epoch;
	sat_tally_clear(&e->changeset);
	if (!f->rebuild && f->group.count > 0) {
		rc = sat_levels_spread(&f->group, &f->tree, &f->shown);
		rc = rc == SAT_OK ? write_shown(e, err) : no_memory(err);
	}
	if (rc == SAT_OK && (f->rebuild || f->tree_moved))
		rc = settle_tree(e, err);
	if (rc == SAT_OK && sat_tally_merge(&e->group, &e->changeset) != SAT_OK)
		rc = no_memory(err);
	sat_tally_clear(&e->changeset);
	return rc;
}
