/* The server's own writes - administration, import, ledger - as deltas like
 * anybody's: made on the row as it is, so they cover all they replace. */
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "write", "out of memory");
}

static bool has_element(const struct sat_slice *list, uint32_t count,
			struct sat_slice text)
{
	for (uint32_t i = 0; i < count; i++) {
		if (sat_slice_equal(list[i], text))
			return true;
	}
	return false;
}

/* Elements to add and to remove so that the set shows the JSON array. */
static int set_change(const struct sat_field *f, const struct sat_value *v,
		      struct sat_arena *a, struct sat_change *ch)
{
	struct sat_slice *want = NULL, *adds, *removes;
	uint32_t count = 0, n = 0, m = 0;
	int rc = SAT_OK;

	if (v->kind == SAT_TEXT)
		rc = sat_set_parse(a, v->s, &want, &count);
	if (rc != SAT_OK)
		return rc;
	adds = sat_arena_array(a, count, sizeof *adds);
	removes = sat_arena_array(a, f->count, sizeof *removes);
	if (adds == NULL || removes == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < count; i++) {
		bool there = false;

		for (uint32_t k = 0; k < f->count && !there; k++)
			there = sat_slice_equal(f->elements[k].text, want[i]);
		if (!there)
			adds[n++] = want[i];
	}
	for (uint32_t k = 0; k < f->count; k++) {
		if (!has_element(want, count, f->elements[k].text) &&
		    !has_element(removes, m, f->elements[k].text))
			removes[m++] = f->elements[k].text;
	}
	ch->adds = adds;
	ch->add_count = n;
	ch->removes = removes;
	ch->remove_count = m;
	return n + m > 0 ? SAT_OK : SAT_AGAIN;
}

static int counter_change(const struct sat_field *f, const struct sat_value *v,
			  struct sat_change *ch)
{
	int64_t sum = 0, wanted = v->kind == SAT_INT ? v->i : 0, step;

	for (uint32_t i = 0; i < f->count; i++) {
		if (__builtin_add_overflow(sum, f->sums[i].sum, &sum))
			return SAT_E_INVAL;
	}
	if (__builtin_sub_overflow(wanted, sum, &step))
		return SAT_E_INVAL;
	ch->value = sat_value_int(step);
	return step != 0 ? SAT_OK : SAT_AGAIN;
}

static int register_change(const struct sat_column *c,
			   const struct sat_field *f, const struct sat_value *v,
			   struct sat_change *ch)
{
	const struct sat_write *shown;

	ch->value = *v;
	ch->before = sat_value_null();
	if (f->count == 0) /* never written: an empty value says nothing */
		return v->kind == SAT_NULL ? SAT_AGAIN : SAT_OK;
	shown = &f->writes[sat_field_shown(c, f)];
	ch->before = shown->value;
	ch->replaced = shown->stamp;
	/* an equal value is still an answer while there are siblings */
	return f->count == 1 && sat_value_equal(&shown->value, v) ? SAT_AGAIN
								  : SAT_OK;
}

/* SAT_OK: *ch is a change; SAT_AGAIN: the row shows the value already. */
static int change_for(const struct sat_column *c, const struct sat_field *f,
		      const struct sat_value *v, struct sat_arena *a,
		      struct sat_change *ch)
{
	switch (c->policy) {
	case SAT_POLICY_SET:
		return set_change(f, v, a, ch);
	case SAT_POLICY_COUNTER:
		return counter_change(f, v, ch);
	default:
		return register_change(c, f, v, ch);
	}
}

/* Keep changes sorted by column. SAT_E_INVAL when the column is there. */
static int insert_change(struct sat_delta *d, const struct sat_change *ch)
{
	uint32_t at = d->change_count;

	while (at > 0 && d->changes[at - 1].column > ch->column) {
		d->changes[at] = d->changes[at - 1];
		at--;
	}
	d->changes[at] = *ch;
	d->change_count++;
	return at > 0 && d->changes[at - 1].column == ch->column ? SAT_E_INVAL
								 : SAT_OK;
}

static int changes_for(struct sat_engine *e, const struct sat_own_write *w,
		       const struct sat_work *row, struct sat_arena *a,
		       struct sat_delta *d)
{
	int rc;

	d->changes = sat_arena_array(a, w->column_count, sizeof *d->changes);
	if (d->changes == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < w->column_count; i++) {
		struct sat_change ch = { .column = w->columns[i],
					 .at_ms = e->now_ms };

		rc = change_for(&w->table->columns[ch.column],
				&row->state.fields[ch.column], &w->values[i], a,
				&ch);
		if (rc == SAT_AGAIN)
			continue;
		if (rc == SAT_OK)
			rc = insert_change(d, &ch);
		if (rc != SAT_OK)
			return rc;
	}
	return SAT_OK;
}

int sat_own_delta_on(struct sat_engine *e, const struct sat_own_write *w,
		     const struct sat_work *row, struct sat_arena *a,
		     struct sat_delta *ret, bool *ret_same, struct sat_err *err)
{
	struct sat_delta d = {
		.op = w->op, .table = w->table, .id = w->id, .at_ms = e->now_ms
	};
	bool alive;
	int rc = SAT_OK;

	d.context = row->state.vv;
	d.base_seq = row->old.seq;
	if (w->op != SAT_OP_DELETE)
		rc = changes_for(e, w, row, a, &d);
	if (rc == SAT_E_NOMEM)
		return no_memory(err);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "write",
				   "a column is given twice, or its value does "
				   "not fit");
	alive = row->old.seq != 0 && !row->old.deleted;
	*ret_same = w->op == SAT_OP_DELETE ? row->old.seq != 0 && !alive
					   : alive && d.change_count == 0;
	*ret = d;
	return SAT_OK;
}

int sat_own_delta(struct sat_engine *e, const struct sat_own_write *w,
		  struct sat_arena *a, struct sat_delta *ret, bool *ret_same,
		  struct sat_err *err)
{
	struct sat_work row;
	int rc = sat_work_load(e, w->table, &w->id, a, &row, err);

	return rc == SAT_OK
		       ? sat_own_delta_on(e, w, &row, a, ret, ret_same, err)
		       : rc;
}
