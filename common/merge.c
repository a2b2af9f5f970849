/* A write removes what its author had seen and joins what he had not. Nothing
 * here looks at the order of arrival, and only sat_field_shown looks at
 * stamps, so states converge whatever clocks do. */
#include "common/merge.h"

#include <string.h>

static uint64_t larger(uint64_t x, uint64_t y)
{
	return x > y ? x : y;
}

/* The author's last stamp on the row, as far as the row still shows it. */
static uint64_t previous_stamp(const struct sat_table *t,
			       const struct sat_row *row, uint32_t author)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < row->delete_count; i++) {
		if (row->deletes[i].dot.replica == author)
			last = larger(last, row->deletes[i].stamp);
	}
	for (uint16_t i = 0; i < row->field_count; i++) {
		const struct sat_field *f = &row->fields[i];

		if (t->columns[i].policy == SAT_POLICY_SET ||
		    t->columns[i].policy == SAT_POLICY_COUNTER)
			continue;
		for (uint32_t j = 0; j < f->count; j++) {
			if (f->writes[j].dot.replica == author)
				last = larger(last, f->writes[j].stamp);
		}
	}
	return last;
}

/* The largest stamp that the change replaces: what the state says, and what
 * the author says when the state no longer knows. The latter is a peer's word,
 * so it may not lift a stamp above the ceiling. */
static uint64_t replaced_stamp(const struct sat_delta *d,
			       const struct sat_change *c,
			       const struct sat_row *row, uint64_t ceiling)
{
	enum sat_policy policy = d->table->columns[c->column].policy;
	const struct sat_field *f = &row->fields[c->column];
	uint64_t replaced = c->replaced;

	if (replaced >= ceiling)
		replaced = ceiling > 0 ? ceiling - 1 : 0;
	if (policy == SAT_POLICY_SET || policy == SAT_POLICY_COUNTER)
		return replaced;
	for (uint32_t i = 0; i < f->count; i++) {
		if (sat_vv_covers(d->context, f->writes[i].dot))
			replaced = larger(replaced, f->writes[i].stamp);
	}
	return replaced;
}

void sat_delta_stamp(struct sat_delta *d, struct sat_dot dot,
		     const struct sat_row *row,
		     const struct sat_clock_map *clock, uint64_t ceiling,
		     bool *ret_clamped)
{
	struct sat_stamp_ask ask = {
		.corrected_ms = sat_clock_correct(clock, d->at_ms),
		.ceiling = ceiling,
		.previous = previous_stamp(d->table, row, dot.replica),
	};
	bool clamped, any;

	d->stamp = sat_stamp_issue(&ask, &any);
	for (uint32_t i = 0; i < d->change_count; i++) {
		struct sat_change *c = &d->changes[i];

		if (c->column >= row->field_count)
			continue; /* sat_merge_apply refuses the delta */
		ask.corrected_ms = sat_clock_correct(clock, c->at_ms);
		ask.replaced = replaced_stamp(d, c, row, ceiling);
		c->stamp = sat_stamp_issue(&ask, &clamped);
		any = any || clamped || ask.replaced < c->replaced;
		d->stamp = larger(d->stamp, c->stamp);
	}
	*ret_clamped = any;
}

/* A context may name only what the row contains, and of the author's own only
 * what came before: else a delete could kill what is yet to be written. */
static int check_context(const struct sat_row *row, struct sat_vv context,
			 struct sat_dot dot)
{
	if (!sat_vv_valid(context))
		return SAT_E_INVAL;
	for (uint32_t i = 0; i < context.count; i++) {
		struct sat_dot seen = context.dots[i];

		if (seen.replica == dot.replica ? seen.seq >= dot.seq
						: !sat_vv_covers(row->vv, seen))
			return SAT_E_FORGED;
	}
	return SAT_OK;
}

static int check_changes(const struct sat_row *row, const struct sat_delta *d)
{
	if (d->op == SAT_OP_DELETE && d->change_count > 0)
		return SAT_E_INVAL;
	for (uint32_t i = 0; i < d->change_count; i++) {
		if (d->changes[i].column >= row->field_count)
			return SAT_E_INVAL;
		if (i > 0 && d->changes[i].column <= d->changes[i - 1].column)
			return SAT_E_INVAL;
	}
	return SAT_OK;
}

/* Put w in its place by dot; there is room for it. */
static void insert_write(struct sat_write *writes, uint32_t count,
			 const struct sat_write *w)
{
	while (count > 0 &&
	       sat_dot_compare(writes[count - 1].dot, w->dot) > 0) {
		writes[count] = writes[count - 1];
		count--;
	}
	writes[count] = *w;
}

static int merge_register(struct sat_arena *a, const struct sat_column *c,
			  const struct sat_field *old, struct sat_vv context,
			  const struct sat_write *w, struct sat_field *ret)
{
	bool keeps_best = c->policy == SAT_POLICY_MAX ||
			  c->policy == SAT_POLICY_MIN ||
			  c->policy == SAT_POLICY_FIRST;
	struct sat_field all = { .count = old->count + 1 };
	uint32_t n = 0, best;

	all.writes =
		sat_arena_array(a, (size_t)old->count + 1, sizeof *all.writes);
	if (all.writes == NULL)
		return SAT_E_NOMEM;
	if (old->count > 0)
		memcpy(all.writes, old->writes,
		       old->count * sizeof *all.writes);
	insert_write(all.writes, old->count, w);
	best = keeps_best ? sat_field_shown(c, &all) : all.count;
	for (uint32_t i = 0; i < all.count; i++) {
		struct sat_write e = all.writes[i];

		e.covered = e.covered || sat_vv_covers(context, e.dot);
		if (!e.covered || i == best)
			all.writes[n++] = e;
	}
	if (n > SAT_FIELD_ENTRIES_MAX)
		return SAT_E_LIMIT;
	all.count = n;
	*ret = all;
	return SAT_OK;
}

static int merge_counter(struct sat_arena *a, const struct sat_field *old,
			 const struct sat_value *increment, uint32_t author,
			 struct sat_field *ret)
{
	struct sat_sum mine = { .replica = author }, *sums;
	uint32_t n = 0, i = 0;

	if (increment->kind != SAT_INT)
		return SAT_E_INVAL;
	sums = sat_arena_array(a, (size_t)old->count + 1, sizeof *sums);
	if (sums == NULL)
		return SAT_E_NOMEM;
	while (i < old->count && old->sums[i].replica < author)
		sums[n++] = old->sums[i++];
	if (i < old->count && old->sums[i].replica == author)
		mine.sum = old->sums[i++].sum;
	if (__builtin_add_overflow(mine.sum, increment->i, &mine.sum))
		return SAT_E_INVAL;
	if (mine.sum != 0)
		sums[n++] = mine;
	while (i < old->count)
		sums[n++] = old->sums[i++];
	*ret = (struct sat_field){ .sums = sums, .count = n };
	return SAT_OK;
}

static int element_compare(const struct sat_element *x,
			   const struct sat_element *y)
{
	int order = sat_slice_compare(x->text, y->text);

	return order != 0 ? order : sat_dot_compare(x->dot, y->dot);
}

/* Index of the first element that is not below e. */
static uint32_t element_bound(const struct sat_element *elements,
			      uint32_t count, const struct sat_element *e)
{
	uint32_t low = 0, high = count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (element_compare(&elements[mid], e) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Drop the pairs of that text which the context covers: replica 0, which
 * nobody has, marks a dropped pair until compaction. */
static void drop_element(struct sat_element *elements, uint32_t count,
			 struct sat_slice text, struct sat_vv context)
{
	struct sat_element probe = { .text = text };
	uint32_t i = element_bound(elements, count, &probe);

	for (; i < count && sat_slice_equal(elements[i].text, text); i++) {
		if (sat_vv_covers(context, elements[i].dot))
			elements[i].dot.replica = 0;
	}
}

static int merge_set(struct sat_arena *a, const struct sat_field *old,
		     const struct sat_change *c, struct sat_vv context,
		     struct sat_dot dot, struct sat_field *ret)
{
	struct sat_element *out;
	uint32_t n = 0;

	if (c->add_count > SAT_FIELD_ENTRIES_MAX)
		return SAT_E_LIMIT;
	out = sat_arena_array(a, (size_t)old->count + c->add_count,
			      sizeof *out);
	if (out == NULL)
		return SAT_E_NOMEM;
	if (old->count > 0)
		memcpy(out, old->elements, old->count * sizeof *out);
	for (uint32_t i = 0; i < c->remove_count; i++)
		drop_element(out, old->count, c->removes[i], context);
	for (uint32_t i = 0; i < old->count; i++) {
		if (out[i].dot.replica != 0)
			out[n++] = out[i];
	}
	for (uint32_t i = 0; i < c->add_count; i++) {
		struct sat_element e = { c->adds[i], dot };
		uint32_t at = element_bound(out, n, &e);

		if (at < n && element_compare(&out[at], &e) == 0)
			continue; /* named twice in one delta */
		memmove(&out[at + 1], &out[at], (n - at) * sizeof *out);
		out[at] = e;
		n++;
	}
	if (n > SAT_FIELD_ENTRIES_MAX)
		return SAT_E_LIMIT;
	*ret = (struct sat_field){ .elements = out, .count = n };
	return SAT_OK;
}

static int merge_change(struct sat_arena *a, const struct sat_delta *d,
			const struct sat_change *c, struct sat_dot dot,
			struct sat_field *field)
{
	const struct sat_column *column = &d->table->columns[c->column];
	struct sat_write w = { .dot = dot,
			       .stamp = c->stamp,
			       .value = c->value,
			       .resolves = c->resolves };

	switch (column->policy) {
	case SAT_POLICY_COUNTER:
		return merge_counter(a, field, &c->value, dot.replica, field);
	case SAT_POLICY_SET:
		return merge_set(a, field, c, d->context, dot, field);
	default:
		return merge_register(a, column, field, d->context, &w, field);
	}
}

static int merge_changes(struct sat_arena *a, const struct sat_delta *d,
			 struct sat_dot dot, struct sat_row *next)
{
	struct sat_field *fields;
	int rc;

	if (d->change_count == 0)
		return SAT_OK;
	fields = sat_arena_array(a, next->field_count, sizeof *fields);
	if (fields == NULL)
		return SAT_E_NOMEM;
	memcpy(fields, next->fields, next->field_count * sizeof *fields);
	next->fields = fields;
	for (uint32_t i = 0; i < d->change_count; i++) {
		const struct sat_change *c = &d->changes[i];

		rc = merge_change(a, d, c, dot, &fields[c->column]);
		if (rc != SAT_OK)
			return rc;
	}
	return SAT_OK;
}

/* Who writes with a delete in his context has seen it and answers it: the
 * delete stops being a question. A delete of his own becomes one. */
static int merge_deletes(struct sat_arena *a, const struct sat_delta *d,
			 struct sat_dot dot, struct sat_row *next)
{
	struct sat_write own = { .dot = dot, .stamp = d->stamp }, *deletes;
	uint32_t n = 0;

	if (next->delete_count == 0 && d->op != SAT_OP_DELETE)
		return SAT_OK;
	deletes = sat_arena_array(a, (size_t)next->delete_count + 1,
				  sizeof *deletes);
	if (deletes == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < next->delete_count; i++) {
		if (!sat_vv_covers(d->context, next->deletes[i].dot))
			deletes[n++] = next->deletes[i];
	}
	if (d->op == SAT_OP_DELETE)
		insert_write(deletes, n++, &own);
	if (n > SAT_FIELD_ENTRIES_MAX)
		return SAT_E_LIMIT;
	next->deletes = deletes;
	next->delete_count = n;
	return SAT_OK;
}

static int merge_vectors(struct sat_arena *a, const struct sat_delta *d,
			 struct sat_dot dot, struct sat_row *next)
{
	struct sat_vv seen;
	int rc = sat_vv_with(a, next->vv, dot, &next->vv);

	if (rc != SAT_OK || d->op != SAT_OP_DELETE)
		return rc;
	rc = sat_vv_join(a, next->dv, d->context, &seen);
	if (rc != SAT_OK)
		return rc;
	return sat_vv_with(a, seen, dot, &next->dv);
}

int sat_merge_apply(struct sat_arena *a, struct sat_row *row,
		    const struct sat_delta *d, struct sat_dot dot,
		    enum sat_merge_outcome *ret_outcome)
{
	struct sat_row next = *row;
	int rc;

	SAT_ASSERT(row->field_count == d->table->column_count);
	if (dot.replica == 0 || dot.seq == 0)
		return SAT_E_INVAL;
	if (sat_vv_covers(row->vv, dot)) {
		*ret_outcome = SAT_MERGE_CONTAINED;
		return SAT_OK;
	}
	rc = check_context(row, d->context, dot);
	if (rc == SAT_OK)
		rc = check_changes(row, d);
	if (rc == SAT_OK)
		rc = merge_vectors(a, d, dot, &next);
	if (rc == SAT_OK)
		rc = merge_deletes(a, d, dot, &next);
	if (rc == SAT_OK)
		rc = merge_changes(a, d, dot, &next);
	if (rc != SAT_OK)
		return rc;
	*row = next;
	*ret_outcome = SAT_MERGE_APPLIED;
	return SAT_OK;
}
