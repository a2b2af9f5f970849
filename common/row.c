/* The order of writes below is total for each policy, so what is shown does
 * not depend on the order in which writes arrived. */
#include "common/row.h"

#include <string.h>

#include "common/text.h"

/* How far an ordered value is. A terminal value is further than any that is
 * not; between terminals only the stamp decides. */
struct place {
	bool terminal;
	int64_t rank;
};

static struct place place_of(const struct sat_column *c,
			     const struct sat_value *v)
{
	const struct sat_enum_value *e = NULL;

	if (v->kind == SAT_TEXT)
		e = sat_column_enum(c, v->s);
	if (e == NULL) /* NULL, or a name no catalogue knows: nowhere yet */
		return (struct place){ false, INT64_MIN };
	return (struct place){ e->terminal, e->rank };
}

static int order_by_stamp(const struct sat_write *x, const struct sat_write *y)
{
	if (x->stamp != y->stamp)
		return x->stamp < y->stamp ? -1 : 1;
	return sat_dot_compare(x->dot, y->dot);
}

static int order_by_place(const struct sat_column *c, const struct sat_write *x,
			  const struct sat_write *y)
{
	struct place p = place_of(c, &x->value), q = place_of(c, &y->value);

	if (p.terminal != q.terminal)
		return p.terminal ? 1 : -1;
	if (!p.terminal && p.rank != q.rank)
		return p.rank < q.rank ? -1 : 1;
	return order_by_stamp(x, y);
}

/* NULL means "not known yet": it never holds a max, min or first against a
 * value, else an insert that left the column empty would be first for ever. */
static int order_by_value(enum sat_policy policy, const struct sat_write *x,
			  const struct sat_write *y)
{
	bool p = x->value.kind != SAT_NULL, q = y->value.kind != SAT_NULL;
	int order = 0;

	if (p != q)
		return p ? 1 : -1;
	if (policy == SAT_POLICY_FIRST)
		return order_by_stamp(y, x);
	order = sat_value_compare(&x->value, &y->value);
	if (order == 0)
		return order_by_stamp(x, y);
	return policy == SAT_POLICY_MAX ? order : -order;
}

/* Positive when x is shown rather than y. */
static int order_writes(const struct sat_column *c, const struct sat_write *x,
			const struct sat_write *y)
{
	switch (c->policy) {
	case SAT_POLICY_ORDERED:
		return order_by_place(c, x, y);
	case SAT_POLICY_MAX:
	case SAT_POLICY_MIN:
	case SAT_POLICY_FIRST:
		return order_by_value(c->policy, x, y);
	default: /* lww, keep */
		return order_by_stamp(x, y);
	}
}

int sat_row_init(struct sat_arena *a, const struct sat_table *t,
		 struct sat_row *ret)
{
	struct sat_field *fields =
		sat_arena_array(a, t->column_count, sizeof *fields);

	if (fields == NULL)
		return SAT_E_NOMEM;
	*ret = (struct sat_row){ .fields = fields,
				 .field_count = t->column_count };
	return SAT_OK;
}

bool sat_row_exists(const struct sat_row *row)
{
	return row->vv.count > 0;
}

bool sat_row_alive(const struct sat_row *row)
{
	return !sat_vv_leq(row->vv, row->dv);
}

uint32_t sat_field_shown(const struct sat_column *c, const struct sat_field *f)
{
	uint32_t best = 0;

	SAT_ASSERT(f->count > 0);
	for (uint32_t i = 1; i < f->count; i++) {
		if (order_writes(c, &f->writes[i], &f->writes[best]) > 0)
			best = i;
	}
	return best;
}

/* Each author's sum fits 64 bits but their total may not; it is shown as the
 * nearest number that does. Halves of 32 bits cannot overflow: there are at
 * most SAT_VV_ENTRIES_MAX of them. */
static struct sat_value total(const struct sat_field *f)
{
	int64_t high = 0, low = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		high += f->sums[i].sum >> 32;
		low += f->sums[i].sum & UINT32_MAX;
	}
	high += low >> 32;
	low &= UINT32_MAX;
	if (high > INT32_MAX)
		return sat_value_int(INT64_MAX);
	if (high < INT32_MIN)
		return sat_value_int(INT64_MIN);
	return sat_value_int(high * ((int64_t)1 << 32) + low);
}

static int set_value(struct sat_arena *a, const struct sat_field *f,
		     struct sat_value *ret)
{
	struct sat_slice *texts, json;
	uint32_t n = 0;
	int rc;

	if (f->count == 0) {
		*ret = sat_value_null();
		return SAT_OK;
	}
	texts = sat_arena_array(a, f->count, sizeof *texts);
	if (texts == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < f->count; i++) {
		if (n == 0 ||
		    !sat_slice_equal(texts[n - 1], f->elements[i].text))
			texts[n++] = f->elements[i].text;
	}
	rc = sat_set_format(a, texts, n, &json);
	if (rc == SAT_OK)
		*ret = sat_value_text(json);
	return rc;
}

int sat_field_value(struct sat_arena *a, const struct sat_column *c,
		    const struct sat_field *f, struct sat_value *ret)
{
	switch (c->policy) {
	case SAT_POLICY_SET:
		return set_value(a, f, ret);
	case SAT_POLICY_COUNTER:
		*ret = total(f);
		return SAT_OK;
	default:
		*ret = f->count == 0 ? sat_value_null()
				     : f->writes[sat_field_shown(c, f)].value;
		return SAT_OK;
	}
}

static int copy_writes(struct sat_arena *a, const struct sat_write *writes,
		       uint32_t count, struct sat_write **ret)
{
	struct sat_write *copy = sat_arena_array(a, count, sizeof *copy);
	int rc;

	if (copy == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < count; i++) {
		copy[i] = writes[i];
		rc = sat_value_copy(a, &writes[i].value, &copy[i].value);
		if (rc != SAT_OK)
			return rc;
	}
	*ret = copy;
	return SAT_OK;
}

static int copy_elements(struct sat_arena *a, const struct sat_field *f,
			 struct sat_field *ret)
{
	struct sat_element *copy = sat_arena_array(a, f->count, sizeof *copy);
	int rc;

	if (copy == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < f->count; i++) {
		copy[i].dot = f->elements[i].dot;
		rc = sat_arena_copy(a, f->elements[i].text, &copy[i].text);
		if (rc != SAT_OK)
			return rc;
	}
	ret->elements = copy;
	return SAT_OK;
}

static int copy_sums(struct sat_arena *a, const struct sat_field *f,
		     struct sat_field *ret)
{
	ret->sums = sat_arena_array(a, f->count, sizeof *ret->sums);
	if (ret->sums == NULL)
		return SAT_E_NOMEM;
	memcpy(ret->sums, f->sums, f->count * sizeof *ret->sums);
	return SAT_OK;
}

static int copy_field(struct sat_arena *a, const struct sat_column *c,
		      const struct sat_field *f, struct sat_field *ret)
{
	*ret = (struct sat_field){ .count = f->count };
	if (f->count == 0)
		return SAT_OK;
	if (c->policy == SAT_POLICY_SET)
		return copy_elements(a, f, ret);
	if (c->policy == SAT_POLICY_COUNTER)
		return copy_sums(a, f, ret);
	return copy_writes(a, f->writes, f->count, &ret->writes);
}

int sat_row_copy(struct sat_arena *a, const struct sat_table *t,
		 const struct sat_row *row, struct sat_row *ret)
{
	struct sat_row copy = *row;
	int rc = sat_row_init(a, t, &copy);

	if (rc != SAT_OK)
		return rc;
	SAT_ASSERT(row->field_count == t->column_count);
	for (uint16_t i = 0; i < row->field_count; i++) {
		rc = copy_field(a, &t->columns[i], &row->fields[i],
				&copy.fields[i]);
		if (rc != SAT_OK)
			return rc;
	}
	rc = sat_vv_copy(a, row->vv, &copy.vv);
	if (rc == SAT_OK)
		rc = sat_vv_copy(a, row->dv, &copy.dv);
	if (rc == SAT_OK)
		rc = copy_writes(a, row->deletes, row->delete_count,
				 &copy.deletes);
	if (rc != SAT_OK)
		return rc;
	copy.delete_count = row->delete_count;
	*ret = copy;
	return SAT_OK;
}

static bool writes_equal(const struct sat_write *x, const struct sat_write *y,
			 uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (sat_dot_compare(x[i].dot, y[i].dot) != 0 ||
		    x[i].stamp != y[i].stamp ||
		    x[i].resolves != y[i].resolves ||
		    x[i].covered != y[i].covered ||
		    !sat_value_equal(&x[i].value, &y[i].value))
			return false;
	}
	return true;
}

static bool elements_equal(const struct sat_element *x,
			   const struct sat_element *y, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (sat_dot_compare(x[i].dot, y[i].dot) != 0 ||
		    !sat_slice_equal(x[i].text, y[i].text))
			return false;
	}
	return true;
}

static bool sums_equal(const struct sat_sum *x, const struct sat_sum *y,
		       uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (x[i].replica != y[i].replica || x[i].sum != y[i].sum)
			return false;
	}
	return true;
}

static bool fields_equal(const struct sat_column *c, const struct sat_field *x,
			 const struct sat_field *y)
{
	if (x->count != y->count)
		return false;
	switch (c->policy) {
	case SAT_POLICY_SET:
		return elements_equal(x->elements, y->elements, x->count);
	case SAT_POLICY_COUNTER:
		return sums_equal(x->sums, y->sums, x->count);
	default:
		return writes_equal(x->writes, y->writes, x->count);
	}
}

bool sat_row_equal(const struct sat_table *t, const struct sat_row *x,
		   const struct sat_row *y)
{
	SAT_ASSERT(x->field_count == t->column_count);
	SAT_ASSERT(y->field_count == t->column_count);
	if (!sat_vv_equal(x->vv, y->vv) || !sat_vv_equal(x->dv, y->dv) ||
	    x->delete_count != y->delete_count ||
	    !writes_equal(x->deletes, y->deletes, x->delete_count))
		return false;
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!fields_equal(&t->columns[i], &x->fields[i], &y->fields[i]))
			return false;
	}
	return true;
}

static bool is_register(const struct sat_column *c)
{
	return c->policy != SAT_POLICY_SET && c->policy != SAT_POLICY_COUNTER;
}

/* Won against lost: two different ends cannot be ranked, a person decides. */
static bool has_two_ends(const struct sat_column *c, const struct sat_field *f)
{
	const struct sat_value *end = NULL;

	for (uint32_t i = 0; i < f->count; i++) {
		const struct sat_value *v = &f->writes[i].value;

		if (!place_of(c, v).terminal)
			continue;
		if (end != NULL && !sat_value_equal(end, v))
			return true;
		end = v;
	}
	return false;
}

/* How many different values the writes hold. Kept sorted by binary insertion,
 * so a field full of siblings costs n log n comparisons of values. */
static int count_values(struct sat_arena *a, const struct sat_field *f,
			uint32_t *ret)
{
	const struct sat_value **seen;
	uint32_t n = 0;

	seen = sat_arena_array(a, f->count, sizeof(void *));
	if (seen == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < f->count; i++) {
		const struct sat_value *v = &f->writes[i].value;
		uint32_t low = 0, high = n, mid;

		while (low < high) {
			mid = low + (high - low) / 2;
			if (sat_value_compare(seen[mid], v) < 0)
				low = mid + 1;
			else
				high = mid;
		}
		if (low < n && sat_value_equal(seen[low], v))
			continue;
		memmove(&seen[low + 1], &seen[low], (n - low) * sizeof(void *));
		seen[low] = v;
		n++;
	}
	*ret = n;
	return SAT_OK;
}

/* One entry for the whole set of siblings, if they disagree at all. */
static int conflict_of_set(struct sat_arena *a, const struct sat_column *c,
			   int column, const struct sat_field *f,
			   struct sat_conflict *out, uint32_t *count)
{
	const struct sat_write *shown = &f->writes[sat_field_shown(c, f)];
	const struct sat_write *losing = NULL;
	bool answered = true;
	uint32_t values;
	int rc;

	rc = count_values(a, f, &values);
	if (rc != SAT_OK)
		return rc;
	for (uint32_t i = 0; i < f->count; i++) {
		const struct sat_write *w = &f->writes[i];

		answered = answered && w->resolves;
		if (sat_value_equal(&w->value, &shown->value))
			continue;
		if (losing == NULL || order_writes(c, w, losing) > 0)
			losing = w;
	}
	if (losing == NULL)
		return SAT_OK;
	out[(*count)++] = (struct sat_conflict){
		.column = column,
		.dot = f->writes[0].dot,
		.shown = *shown,
		.losing = *losing,
		.sibling_count = values,
		.state = answered ? SAT_CONFLICT_AUTO : SAT_CONFLICT_OPEN,
	};
	return SAT_OK;
}

/* One entry for each write that lost, settled by the policy. */
static void conflicts_of_losers(const struct sat_column *c, int column,
				const struct sat_field *f,
				struct sat_conflict *out, uint32_t *count)
{
	const struct sat_write *shown = &f->writes[sat_field_shown(c, f)];

	for (uint32_t i = 0; i < f->count; i++) {
		const struct sat_write *w = &f->writes[i];

		if (sat_value_equal(&w->value, &shown->value))
			continue;
		out[(*count)++] = (struct sat_conflict){
			.column = column,
			.dot = w->dot,
			.shown = *shown,
			.losing = *w,
			.state = SAT_CONFLICT_AUTO,
		};
	}
}

static size_t conflicts_at_most(const struct sat_table *t,
				const struct sat_row *row)
{
	size_t n = row->delete_count > 0;

	for (uint16_t i = 0; i < t->column_count; i++) {
		if (is_register(&t->columns[i]) && row->fields[i].count > 1)
			n += row->fields[i].count;
	}
	return n;
}

int sat_row_conflicts(struct sat_arena *a, const struct sat_table *t,
		      const struct sat_row *row, struct sat_conflict **ret,
		      uint32_t *ret_count)
{
	struct sat_conflict *out = NULL;
	size_t most = conflicts_at_most(t, row);
	uint32_t n = 0;
	int rc;

	SAT_ASSERT(row->field_count == t->column_count);
	if (most > 0) {
		out = sat_arena_array(a, most, sizeof *out);
		if (out == NULL)
			return SAT_E_NOMEM;
	}
	if (row->delete_count > 0 && sat_row_alive(row)) {
		out[n++] = (struct sat_conflict){
			.column = -1,
			.dot = row->deletes[0].dot,
			.losing = row->deletes[0],
			.sibling_count = row->delete_count,
			.state = SAT_CONFLICT_OPEN,
		};
	}
	for (uint16_t i = 0; i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];
		const struct sat_field *f = &row->fields[i];

		if (!is_register(c) || f->count < 2)
			continue;
		if (c->policy == SAT_POLICY_KEEP ||
		    (c->policy == SAT_POLICY_ORDERED && has_two_ends(c, f))) {
			rc = conflict_of_set(a, c, i, f, out, &n);
			if (rc != SAT_OK)
				return rc;
		} else {
			conflicts_of_losers(c, i, f, out, &n);
		}
	}
	*ret = out;
	*ret_count = n;
	return SAT_OK;
}
