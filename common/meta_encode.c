#include <string.h>

#include "common/meta.h"
#include "common/meta_layout.h"

/* Writes to p, or only counts when p is NULL: one pass to know the size, one
 * to write, so that a failure leaves the output as it was. */
struct out {
	uint8_t *p;
	size_t n;
};

/* What most columns share. */
struct common_write {
	bool present;
	struct sat_dot dot;
	uint64_t stamp;
};

static void put_byte(struct out *o, unsigned b)
{
	if (o->p != NULL)
		o->p[o->n] = (uint8_t)b;
	o->n++;
}

static void put_bytes(struct out *o, struct sat_slice s)
{
	if (o->p != NULL && s.len > 0)
		memcpy(o->p + o->n, s.ptr, s.len);
	o->n += s.len;
}

static void put_varint(struct out *o, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		put_byte(o, (unsigned)(v & 0x7f) | 0x80);
	put_byte(o, (unsigned)v);
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static uint32_t vv_index(struct sat_vv vv, uint32_t replica)
{
	uint32_t low = 0, high = vv.count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (vv.dots[mid].replica < replica)
			low = mid + 1;
		else
			high = mid;
	}
	SAT_ASSERT(low < vv.count && vv.dots[low].replica == replica);
	return low;
}

/* shift and more make room for a set's "another follows". */
static void put_dot_more(struct out *o, struct sat_vv vv, struct sat_dot dot,
			 unsigned shift, unsigned more)
{
	uint32_t index = vv_index(vv, dot.replica);
	uint64_t older = vv.dots[index].seq - dot.seq;
	uint64_t head = (uint64_t)index * 2 + (older > 0);

	SAT_ASSERT(dot.seq >= 1 && dot.seq <= vv.dots[index].seq);
	put_varint(o, head << shift | more);
	if (older > 0)
		put_varint(o, older);
}

static void put_dot(struct out *o, struct sat_vv vv, struct sat_dot dot)
{
	put_dot_more(o, vv, dot, 0, 0);
}

static void put_time(struct out *o, uint64_t ms, uint64_t stamp)
{
	uint64_t counter = stamp & UINT16_MAX;

	put_varint(o, ms * 2 + (counter > 0));
	if (counter > 0)
		put_varint(o, counter);
}

static void put_stamp(struct out *o, const struct common_write *base,
		      uint64_t stamp)
{
	int64_t from = base->present ? (int64_t)(base->stamp >> 16) : 0;

	put_time(o, zigzag((int64_t)(stamp >> 16) - from), stamp);
}

static void put_value(struct out *o, const struct sat_value *v)
{
	uint64_t bits;

	put_byte(o, v->kind);
	switch (v->kind) {
	case SAT_INT:
		put_varint(o, zigzag(v->i));
		break;
	case SAT_REAL:
		memcpy(&bits, &v->r, sizeof bits);
		if (bits == (uint64_t)1 << 63) /* -0.0 is 0.0 */
			bits = 0;
		for (unsigned shift = 64; shift > 0; shift -= 8)
			put_byte(o, (unsigned)(bits >> (shift - 8)) & 0xff);
		break;
	case SAT_TEXT:
	case SAT_BLOB:
		put_varint(o, v->s.len);
		put_bytes(o, v->s);
		break;
	case SAT_NULL:
	default:
		break;
	}
}

static bool is_register(const struct sat_column *c)
{
	return c->policy != SAT_POLICY_SET && c->policy != SAT_POLICY_COUNTER;
}

static bool is_plain(const struct sat_column *c, const struct sat_field *f)
{
	return is_register(c) && f->count == 1 && !f->writes[0].resolves &&
	       !f->writes[0].covered;
}

static bool is_default(const struct common_write *base,
		       const struct sat_column *c, const struct sat_field *f)
{
	return base->present && is_plain(c, f) &&
	       f->writes[0].stamp == base->stamp &&
	       sat_dot_compare(f->writes[0].dot, base->dot) == 0;
}

/* Rows are mostly written at once, so the first column's group is nearly
 * always the largest and found to be so after two passes. */
static struct common_write choose_default(const struct sat_table *t,
					  const struct sat_row *row)
{
	struct common_write best = { .present = false }, group;
	unsigned most = 0, count, left = row->field_count;

	for (uint16_t i = 0; i < row->field_count && left > most; i++, left--) {
		const struct sat_field *f = &row->fields[i];

		if (!is_plain(&t->columns[i], f) ||
		    is_default(&best, &t->columns[i], f))
			continue;
		group = (struct common_write){ true, f->writes[0].dot,
					       f->writes[0].stamp };
		count = 0;
		for (uint16_t j = i; j < row->field_count; j++)
			count += is_default(&group, &t->columns[j],
					    &row->fields[j]);
		if (count > most) {
			most = count;
			best = group;
		}
	}
	return best;
}

static void put_bitmap(struct out *o, const struct sat_table *t,
		       const struct sat_row *row,
		       const struct common_write *base, uint32_t last)
{
	uint32_t at = 0, bytes = last / 8 + 1;
	unsigned bits = 0;

	put_varint(o, (uint64_t)bytes * 2);
	for (uint16_t i = 0; i < t->column_count; i++) {
		uint32_t no = t->columns[i].no;

		if (!is_default(base, &t->columns[i], &row->fields[i]))
			continue;
		for (; at < no / 8; at++) {
			put_byte(o, bits);
			bits = 0;
		}
		bits |= 1u << (no % 8);
	}
	put_byte(o, bits);
}

static void put_default(struct out *o, const struct sat_table *t,
			const struct sat_row *row,
			const struct common_write *base)
{
	uint32_t count = 0, last = 0, zero = 0;

	put_dot(o, row->vv, base->dot);
	put_time(o, base->stamp >> 16, base->stamp);
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!is_default(base, &t->columns[i], &row->fields[i]))
			continue;
		count++;
		last = t->columns[i].no;
		zero += last == 0;
	}
	if (zero == 0 && count == last)
		put_varint(o, (uint64_t)last * 2 + 1);
	else
		put_bitmap(o, t, row, base, last);
}

static void put_writes(struct out *o, const struct sat_column *c,
		       const struct sat_field *f, struct sat_vv vv,
		       const struct common_write *base)
{
	uint32_t shown = sat_field_shown(c, f);

	if (is_plain(c, f)) {
		put_varint(o, 0);
		put_dot(o, vv, f->writes[0].dot);
		put_stamp(o, base, f->writes[0].stamp);
		return;
	}
	put_varint(o, f->count);
	put_varint(o, shown);
	for (uint32_t i = 0; i < f->count; i++) {
		const struct sat_write *w = &f->writes[i];

		put_byte(o, (w->resolves ? SAT_META_RESOLVES : 0u) |
				    (w->covered ? SAT_META_COVERED : 0u));
		put_dot(o, vv, w->dot);
		put_stamp(o, base, w->stamp);
		if (i != shown)
			put_value(o, &w->value);
	}
}

static void put_elements(struct out *o, const struct sat_field *f,
			 struct sat_vv vv)
{
	for (uint32_t i = 0; i < f->count; i++) {
		bool more = i + 1 < f->count &&
			    sat_slice_equal(f->elements[i].text,
					    f->elements[i + 1].text);

		put_dot_more(o, vv, f->elements[i].dot, 1, more);
	}
}

static void put_sums(struct out *o, const struct sat_field *f, struct sat_vv vv)
{
	put_varint(o, f->count);
	for (uint32_t i = 0; i < f->count; i++) {
		put_varint(o, vv_index(vv, f->sums[i].replica));
		put_varint(o, zigzag(f->sums[i].sum));
	}
}

/* Those that have been written and are not covered by the default. */
static uint32_t count_fields(const struct sat_table *t,
			     const struct sat_row *row,
			     const struct common_write *base)
{
	uint32_t n = 0;

	for (uint16_t i = 0; i < t->column_count; i++)
		n += row->fields[i].count > 0 &&
		     !is_default(base, &t->columns[i], &row->fields[i]);
	return n;
}

static void put_fields(struct out *o, const struct sat_table *t,
		       const struct sat_row *row,
		       const struct common_write *base, uint32_t count)
{
	uint32_t before = 0;

	put_varint(o, count);
	for (uint16_t i = 0; i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];
		const struct sat_field *f = &row->fields[i];

		if (f->count == 0 || is_default(base, c, f))
			continue;
		put_varint(o, c->no - before);
		before = c->no;
		if (c->policy == SAT_POLICY_SET)
			put_elements(o, f, row->vv);
		else if (c->policy == SAT_POLICY_COUNTER)
			put_sums(o, f, row->vv);
		else
			put_writes(o, c, f, row->vv, base);
	}
}

static void put_vectors(struct out *o, const struct sat_row *row)
{
	uint32_t before = 0;

	put_varint(o, row->vv.count);
	for (uint32_t i = 0; i < row->vv.count; i++) {
		put_varint(o, row->vv.dots[i].replica - before);
		put_varint(o, row->vv.dots[i].seq);
		before = row->vv.dots[i].replica;
	}
	if (row->dv.count == 0)
		return;
	put_varint(o, row->dv.count);
	for (uint32_t i = 0; i < row->dv.count; i++)
		put_dot(o, row->vv, row->dv.dots[i]);
}

static void put_deletes(struct out *o, const struct sat_row *row,
			const struct common_write *base)
{
	put_varint(o, row->delete_count);
	for (uint32_t i = 0; i < row->delete_count; i++) {
		put_dot(o, row->vv, row->deletes[i].dot);
		put_stamp(o, base, row->deletes[i].stamp);
	}
}

static void put_meta(struct out *o, const struct sat_table *t,
		     const struct sat_row *row)
{
	struct common_write base = choose_default(t, row);
	uint32_t fields = count_fields(t, row, &base);

	put_byte(o, SAT_META_VERSION | (row->dv.count > 0 ? SAT_META_DV : 0u) |
			    (base.present ? SAT_META_DEFAULT : 0u) |
			    (row->delete_count > 0 ? SAT_META_DELETES : 0u) |
			    (fields > 0 ? SAT_META_FIELDS : 0u));
	put_vectors(o, row);
	if (base.present)
		put_default(o, t, row, &base);
	if (row->delete_count > 0)
		put_deletes(o, row, &base);
	if (fields > 0)
		put_fields(o, t, row, &base, fields);
}

/* The shown values are kept in the columns only: with others than the row's
 * the state could not be read back. */
static bool values_fit(const struct sat_table *t, const struct sat_row *row,
		       const struct sat_value *values)
{
	for (uint16_t i = 0; i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];
		const struct sat_field *f = &row->fields[i];
		const struct sat_write *w;

		if (!is_register(c) || f->count == 0)
			continue;
		w = &f->writes[sat_field_shown(c, f)];
		if (!sat_value_equal(&w->value, &values[i]))
			return false;
	}
	return true;
}

static int encode(const struct sat_table *t, const struct sat_row *row,
		  struct sat_buf *out)
{
	struct out size = { NULL, 0 }, o = { NULL, 0 };
	int rc;

	SAT_ASSERT(row->field_count == t->column_count);
	put_meta(&size, t, row);
	rc = sat_buf_reserve(out, size.n, &o.p);
	if (rc != SAT_OK)
		return rc;
	put_meta(&o, t, row);
	SAT_ASSERT(o.n == size.n);
	sat_buf_commit(out, o.n);
	return SAT_OK;
}

int sat_meta_encode(const struct sat_table *t, const struct sat_row *row,
		    const struct sat_value *values, struct sat_buf *out)
{
	if (!values_fit(t, row, values))
		return SAT_E_INVAL;
	return encode(t, row, out);
}

int sat_meta_mask(struct sat_arena *a, const struct sat_table *t,
		  struct sat_slice meta, const struct sat_value *values,
		  const bool *readable, struct sat_buf *out)
{
	struct sat_row row;
	int rc = sat_meta_decode(a, t, meta, values, &row);

	if (rc != SAT_OK)
		return rc;
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!readable[i])
			row.fields[i] = (struct sat_field){ .count = 0 };
	}
	return encode(t, &row, out);
}
