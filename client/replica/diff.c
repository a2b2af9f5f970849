/* From two images of a row to one delta. Pure but for memory: no statement is
 * run here. */
#include "client/replica/internal.h"

#include <string.h>

static bool is_register(const struct sat_column *c)
{
	return c->policy != SAT_POLICY_SET && c->policy != SAT_POLICY_COUNTER;
}

static bool may_write(const struct sat_replica *r, const struct sat_column *c)
{
	return (c->write & SAT_ROLE_BIT((unsigned)r->facts.role)) != 0;
}

void sat_diff_replaced(const struct sat_column *c, const struct sat_field *f,
		       struct sat_change *change)
{
	if (is_register(c) && f->count > 0)
		change->replaced = f->writes[sat_field_shown(c, f)].stamp;
}

/* ---- fields -------------------------------------------------------------- */

static int elements_of(struct sat_arena *a, struct sat_value v,
		       struct sat_slice **ret, uint32_t *ret_count)
{
	struct sat_slice text;
	int rc;

	*ret_count = 0;
	if (v.kind != SAT_TEXT)
		return SAT_OK;
	rc = sat_arena_copy(a, v.s, &text);
	return rc == SAT_OK ? sat_set_parse(a, text, ret, ret_count) : rc;
}

/* What is in x and not in y; both are sorted and distinct. */
static uint32_t minus(struct sat_slice *out, const struct sat_slice *x,
		      uint32_t nx, const struct sat_slice *y, uint32_t ny)
{
	uint32_t n = 0, k = 0;

	for (uint32_t i = 0; i < nx; i++) {
		while (k < ny && sat_slice_compare(y[k], x[i]) < 0)
			k++;
		if (k == ny || !sat_slice_equal(y[k], x[i]))
			out[n++] = x[i];
	}
	return n;
}

int sat_diff_set(struct sat_arena *a, struct sat_value before,
		 struct sat_value after, struct sat_change *change)
{
	struct sat_slice *x = NULL, *y = NULL, *adds, *removes;
	uint32_t nx, ny;
	int rc = elements_of(a, before, &x, &nx);

	if (rc == SAT_OK)
		rc = elements_of(a, after, &y, &ny);
	if (rc != SAT_OK)
		return rc;
	adds = sat_arena_array(a, ny, sizeof *adds);
	removes = sat_arena_array(a, nx, sizeof *removes);
	if (adds == NULL || removes == NULL)
		return SAT_E_NOMEM;
	change->add_count = minus(adds, y, ny, x, nx);
	change->remove_count = minus(removes, x, nx, y, ny);
	change->adds = adds;
	change->removes = removes;
	return SAT_OK;
}

static int64_t counted(const struct sat_value *v)
{
	return v->kind == SAT_INT ? v->i : 0;
}

static bool same(const struct sat_column *c, const struct sat_value *x,
		 const struct sat_value *y)
{
	if (c->policy == SAT_POLICY_COUNTER)
		return counted(x) == counted(y);
	return sat_value_equal(x, y);
}

/* Would the merge drop the new value at once? */
static bool without_effect(const struct sat_column *c,
			   const struct sat_value *before,
			   const struct sat_value *after)
{
	if (before->kind == SAT_NULL)
		return false;
	if (c->policy == SAT_POLICY_FIRST)
		return true;
	if (c->policy == SAT_POLICY_MAX)
		return sat_value_compare(after, before) < 0;
	return c->policy == SAT_POLICY_MIN &&
	       (after->kind == SAT_NULL ||
		sat_value_compare(after, before) > 0);
}

static int fill_change(struct sat_arena *a, const struct sat_column *c,
		       const struct sat_value *before,
		       const struct sat_value *after, const struct sat_field *f,
		       struct sat_change *change)
{
	int64_t sum;
	int rc;

	switch (c->policy) {
	case SAT_POLICY_SET:
		return sat_diff_set(a, *before, *after, change);
	case SAT_POLICY_COUNTER:
		if (__builtin_sub_overflow(counted(after), counted(before),
					   &sum))
			return SAT_E_INVAL;
		change->value = sat_value_int(sum);
		return SAT_OK;
	default:
		sat_diff_replaced(c, f, change);
		rc = sat_value_copy(a, after, &change->value);
		return rc == SAT_OK ? sat_value_copy(a, before, &change->before)
				    : rc;
	}
}

/* ---- rows ---------------------------------------------------------------- */

struct differ {
	struct sat_replica *r;
	struct sat_touch *w;
	struct sat_held *held;
	const struct sat_value *before;
	struct sat_diff *out;
};

static int add_change(struct differ *d, uint16_t column)
{
	const struct sat_column *c = &d->w->table->columns[column];
	struct sat_delta *delta = &d->out->delta;
	struct sat_change *change = &delta->changes[delta->change_count];
	int rc;

	*change = (struct sat_change){ .column = column,
				       .at_ms = d->w->at_ms[column] };
	rc = fill_change(&d->r->batch, c, &d->before[column],
			 &d->w->after[column], &d->held->row.fields[column],
			 change);
	if (rc == SAT_E_INVAL) {
		d->w->bad = column;
		d->w->why = "changes by too much at once";
		return SAT_OK;
	}
	if (rc == SAT_OK)
		delta->change_count++;
	return rc;
}

/* Alive again although nothing in it differs: one field says so. */
static int add_touch(struct differ *d)
{
	const struct sat_table *t = d->w->table;
	int best = -1;

	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!is_register(&t->columns[i]) ||
		    !may_write(d->r, &t->columns[i]))
			continue;
		if (best < 0 || (d->w->after[best].kind == SAT_NULL &&
				 d->w->after[i].kind != SAT_NULL))
			best = i;
	}
	return best < 0 ? SAT_OK : add_change(d, (uint16_t)best);
}

static struct sat_value default_of(const struct sat_replica *r,
				   const struct sat_column *c, int64_t at_ms,
				   char date[11])
{
	switch (c->def) {
	case SAT_DEFAULT_VALUE:
		return c->default_value;
	case SAT_DEFAULT_NOW:
		return sat_value_int(at_ms);
	case SAT_DEFAULT_TODAY:
		sat_date_format((int32_t)(at_ms / 86400000), date);
		return sat_value_text(
			(struct sat_slice){ (uint8_t *)date, 10 });
	case SAT_DEFAULT_AUTHOR:
		return sat_value_id(&r->facts.user);
	case SAT_DEFAULT_AUTHOR_HOME:
		return sat_value_id(&r->facts.home);
	case SAT_DEFAULT_NONE:
		break;
	}
	return sat_value_null();
}

/* What an insert left NULL and the catalogue fills. */
static int fill_defaults(struct differ *d)
{
	const struct sat_table *t = d->w->table;
	char date[11];
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];
		struct sat_value v;

		if (d->w->after[i].kind != SAT_NULL ||
		    c->def == SAT_DEFAULT_NONE || i == d->w->bad ||
		    !may_write(d->r, c))
			continue;
		v = default_of(d->r, c, d->w->last_ms, date);
		if (v.kind == SAT_NULL)
			continue;
		rc = sat_value_copy(&d->r->batch, &v, &d->w->after[i]);
		d->w->at_ms[i] = d->w->last_ms;
		d->out->derive = true;
	}
	return rc;
}

static int diff_insert(struct differ *d)
{
	const struct sat_table *t = d->w->table;
	int rc = fill_defaults(d);

	d->out->delta.op = SAT_OP_INSERT;
	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];

		if (!may_write(d->r, c) || d->w->after[i].kind == SAT_NULL ||
		    same(c, &d->before[i], &d->w->after[i]))
			continue;
		rc = add_change(d, i);
	}
	d->out->send = true;
	return rc;
}

static int diff_update(struct differ *d)
{
	const struct sat_table *t = d->w->table;
	int rc = SAT_OK;

	d->out->delta.op = SAT_OP_UPDATE;
	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];

		if (same(c, &d->before[i], &d->w->after[i]))
			continue;
		/* INSERT OR REPLACE resets what the role may not write */
		if (!may_write(d->r, c) ||
		    without_effect(c, &d->before[i], &d->w->after[i]))
			d->out->derive = true;
		else
			rc = add_change(d, i);
	}
	if (rc == SAT_OK && d->out->delta.change_count == 0 &&
	    !sat_row_alive(&d->held->row))
		rc = add_touch(d);
	d->out->send = d->out->delta.change_count > 0;
	return rc;
}

/* What the change is measured against. A row that is back from the dead is
 * compared with its last image. */
static int find_before(struct differ *d, bool any, struct sat_err *err)
{
	struct sat_value *values;
	int rc;

	d->before = d->w->before;
	if (d->w->had || !any)
		return SAT_OK;
	d->before = d->held->values;
	if (d->held->dirty == 0)
		return SAT_OK;
	rc = sat_row_values(d->r, d->w->table, &d->held->row, &values, err);
	d->before = values;
	return rc;
}

int sat_diff_row(struct sat_replica *r, struct sat_touch *w,
		 struct sat_held *held, bool any, struct sat_diff *ret,
		 struct sat_err *err)
{
	struct sat_diff diff = { .send = false };
	struct differ d = { r, w, held, NULL, &diff };
	struct sat_change *changes;
	int rc;

	*ret = diff;
	if (!w->has && (!w->had || !any))
		return SAT_OK;
	changes = sat_arena_array(&r->row, w->table->column_count,
				  sizeof *changes);
	rc = changes == NULL ? SAT_E_NOMEM
			     : sat_vv_copy(&r->batch, held->row.vv,
					   &diff.delta.context);
	if (rc != SAT_OK)
		goto out;
	diff.delta.changes = changes;
	diff.delta.table = w->table;
	diff.delta.id = w->id;
	diff.delta.at_ms = w->last_ms;
	diff.delta.base_seq = held->known ? held->seq : 0;
	rc = find_before(&d, any, err);
	if (rc != SAT_OK)
		return rc;
	if (!w->has) {
		diff.delta.op = SAT_OP_DELETE;
		diff.send = sat_row_alive(&held->row);
	} else {
		rc = any ? diff_update(&d) : diff_insert(&d);
	}
	/* Only what is used stays until the changeset is formed. */
	diff.delta.changes = sat_arena_array(&r->batch, diff.delta.change_count,
					     sizeof *changes);
	if (rc != SAT_OK || diff.delta.changes == NULL) {
		rc = SAT_E_NOMEM;
		goto out;
	}
	memcpy(diff.delta.changes, changes,
	       diff.delta.change_count * sizeof *changes);
	*ret = diff;
	return SAT_OK;
out:
	return sat_err_set(err, rc, 0, "replica_harvest", "out of memory");
}
