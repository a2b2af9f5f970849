/* Every count is compared with the bytes that are left before anything is
 * allocated for it; every dot is an index into the vector, so a state that
 * names what its vector does not contain cannot be written down. */
#include <string.h>

#include "common/meta.h"
#include "common/meta_layout.h"
#include "common/text.h"

/* Once bad, every get gives 0 and the caller finds out at its next check. */
struct in {
	const uint8_t *p, *end;
	bool bad;
};

struct decoder {
	struct in in;
	struct sat_arena *arena;
	const struct sat_table *table;
	const struct sat_value *values;
	struct sat_row row;
	int64_t base_ms;
};

static size_t left(const struct in *in)
{
	return (size_t)(in->end - in->p);
}

static unsigned get_byte(struct in *in)
{
	if (in->bad || in->p == in->end) {
		in->bad = true;
		return 0;
	}
	return *in->p++;
}

static uint64_t get_varint(struct in *in)
{
	uint64_t v = 0;
	unsigned b;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		b = get_byte(in);
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) != 0)
			continue;
		/* a longer form than needed, or bits beyond the 64th */
		if ((b == 0 && shift > 0) || (shift == 63 && b > 1))
			in->bad = true;
		return in->bad ? 0 : v;
	}
	in->bad = true;
	return 0;
}

/* A count of things of at least `each` bytes, from 1 to SAT_VV_ENTRIES_MAX
 * (which is SAT_FIELD_ENTRIES_MAX too). */
static uint32_t get_count(struct in *in, size_t each)
{
	uint64_t n = get_varint(in);

	if (n == 0 || n > SAT_VV_ENTRIES_MAX || n > left(in) / each) {
		in->bad = true;
		return 0;
	}
	return (uint32_t)n;
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ ((v & 1) != 0 ? UINT64_MAX : 0));
}

static struct sat_dot get_dot_of(struct in *in, struct sat_vv vv, uint64_t head)
{
	struct sat_dot dot;
	uint64_t older = 0;

	if ((head & 1) != 0) {
		older = get_varint(in);
		in->bad = in->bad || older == 0;
	}
	if (in->bad || head >> 1 >= vv.count) {
		in->bad = true;
		return (struct sat_dot){ 0, 0 };
	}
	dot = vv.dots[head >> 1];
	if (older >= dot.seq)
		in->bad = true;
	dot.seq -= older;
	return dot;
}

static struct sat_dot get_dot(struct in *in, struct sat_vv vv)
{
	return get_dot_of(in, vv, get_varint(in));
}

static uint64_t get_counter(struct in *in, uint64_t head)
{
	uint64_t counter;

	if ((head & 1) == 0)
		return 0;
	counter = get_varint(in);
	if (counter == 0 || counter > UINT16_MAX)
		in->bad = true;
	return counter;
}

static uint64_t make_stamp(struct in *in, int64_t ms, uint64_t head)
{
	uint64_t counter = get_counter(in, head);

	if (ms < 0 || ms >= (int64_t)1 << 48)
		in->bad = true;
	return in->bad ? 0 : (uint64_t)ms << 16 | counter;
}

static uint64_t get_instant(struct in *in)
{
	uint64_t head = get_varint(in);

	return make_stamp(in, (int64_t)(head >> 1), head);
}

static uint64_t get_stamp(struct in *in, int64_t base_ms)
{
	uint64_t head = get_varint(in);

	/* head >> 1 < 2^63, so the difference is within 62 bits */
	return make_stamp(in, unzigzag(head >> 1) + base_ms, head);
}

static int verdict(const struct in *in)
{
	return in->bad ? SAT_E_CORRUPT : SAT_OK;
}

static int get_vv(struct in *in, struct sat_arena *a, struct sat_vv *ret)
{
	uint64_t n = get_varint(in), gap, replica = 0;
	struct sat_dot *dots;

	if (in->bad || n > SAT_VV_ENTRIES_MAX || n > left(in) / 2)
		return SAT_E_CORRUPT;
	dots = sat_arena_array(a, (size_t)n, sizeof *dots);
	if (dots == NULL)
		return SAT_E_NOMEM;
	for (uint64_t i = 0; i < n; i++) {
		gap = get_varint(in);
		if (gap == 0 || gap > UINT32_MAX - replica)
			return SAT_E_CORRUPT;
		replica += gap;
		dots[i].replica = (uint32_t)replica;
		dots[i].seq = get_varint(in);
		if (dots[i].seq == 0)
			return SAT_E_CORRUPT;
	}
	*ret = (struct sat_vv){ dots, (uint32_t)n };
	return verdict(in);
}

static int get_dv(struct in *in, struct sat_arena *a, struct sat_vv vv,
		  struct sat_vv *ret)
{
	uint32_t n = get_count(in, 1);
	struct sat_dot *dots;

	if (in->bad || n > vv.count)
		return SAT_E_CORRUPT;
	dots = sat_arena_array(a, n, sizeof *dots);
	if (dots == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		dots[i] = get_dot(in, vv);
		if (in->bad ||
		    (i > 0 && dots[i].replica <= dots[i - 1].replica))
			return SAT_E_CORRUPT;
	}
	*ret = (struct sat_vv){ dots, n };
	return SAT_OK;
}

static int get_vectors(struct in *in, struct sat_arena *a, unsigned *ret_head,
		       struct sat_vv *ret_vv, struct sat_vv *ret_dv)
{
	unsigned head = get_byte(in);
	int rc;

	if (in->bad || (head & SAT_META_VERSION_MASK) != SAT_META_VERSION ||
	    (head & SAT_META_UNKNOWN) != 0)
		return SAT_E_CORRUPT;
	*ret_dv = (struct sat_vv){ NULL, 0 };
	rc = get_vv(in, a, ret_vv);
	if (rc == SAT_OK && (head & SAT_META_DV) != 0)
		rc = get_dv(in, a, *ret_vv, ret_dv);
	*ret_head = head;
	return rc;
}

static bool is_register(const struct sat_column *c)
{
	return c->policy != SAT_POLICY_SET && c->policy != SAT_POLICY_COUNTER;
}

/* One bit per column number. */
struct columns {
	uint64_t last; /* all of 1..last, when bitmap is NULL */
	const uint8_t *bitmap;
	size_t bytes;
	uint32_t count;
};

static struct columns get_columns(struct in *in)
{
	struct columns c = { .bitmap = NULL };
	uint64_t head = get_varint(in);

	if ((head & 1) != 0) {
		c.last = head >> 1;
		c.count = (uint32_t)c.last;
		in->bad = in->bad || c.last == 0 || c.last > UINT16_MAX;
		return c;
	}
	if (in->bad || head == 0 || head >> 1 > left(in)) {
		in->bad = true;
		return c;
	}
	c.bytes = (size_t)(head >> 1);
	c.bitmap = in->p;
	in->p += c.bytes;
	in->bad = c.bitmap[c.bytes - 1] == 0;
	for (size_t i = 0; i < c.bytes; i++)
		c.count += (uint32_t)__builtin_popcount(c.bitmap[i]);
	return c;
}

static bool has_column(const struct columns *c, uint32_t no)
{
	if (c->bitmap == NULL)
		return no >= 1 && no <= c->last;
	return no / 8 < c->bytes && (c->bitmap[no / 8] >> (no % 8) & 1) != 0;
}

/* Every column named must be one of the table's, and a register. */
static int get_default(struct decoder *d)
{
	const struct sat_table *t = d->table;
	struct sat_dot dot = get_dot(&d->in, d->row.vv);
	uint64_t stamp = get_instant(&d->in);
	struct columns named = get_columns(&d->in);
	struct sat_write *writes;
	uint32_t n = 0;

	if (d->in.bad || named.count > t->column_count)
		return SAT_E_CORRUPT;
	d->base_ms = (int64_t)(stamp >> 16);
	writes = sat_arena_array(d->arena, named.count, sizeof *writes);
	if (writes == NULL)
		return SAT_E_NOMEM;
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!has_column(&named, t->columns[i].no))
			continue;
		if (!is_register(&t->columns[i]))
			return SAT_E_CORRUPT;
		writes[n] = (struct sat_write){ .dot = dot,
						.stamp = stamp,
						.value = d->values[i] };
		d->row.fields[i].writes = &writes[n++];
		d->row.fields[i].count = 1;
	}
	return n == named.count ? SAT_OK : SAT_E_CORRUPT;
}

static int get_deletes(struct decoder *d)
{
	uint32_t n = get_count(&d->in, 2);
	struct sat_write *w;

	if (d->in.bad)
		return SAT_E_CORRUPT;
	w = sat_arena_array(d->arena, n, sizeof *w);
	if (w == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		w[i].dot = get_dot(&d->in, d->row.vv);
		w[i].stamp = get_stamp(&d->in, d->base_ms);
		if (d->in.bad ||
		    (i > 0 && sat_dot_compare(w[i - 1].dot, w[i].dot) >= 0))
			return SAT_E_CORRUPT;
	}
	d->row.deletes = w;
	d->row.delete_count = n;
	return SAT_OK;
}

static struct sat_value get_value(struct in *in)
{
	struct sat_value v = { .kind = SAT_NULL };
	uint64_t bits = 0;

	switch (get_byte(in)) {
	case SAT_NULL:
		return v;
	case SAT_INT:
		return sat_value_int(unzigzag(get_varint(in)));
	case SAT_REAL:
		for (int i = 0; i < 8; i++)
			bits = bits << 8 | get_byte(in);
		v.kind = SAT_REAL;
		memcpy(&v.r, &bits, sizeof v.r);
		in->bad = in->bad || v.r != v.r; /* NaN is no value */
		return v;
	case SAT_TEXT:
		v.kind = SAT_TEXT;
		break;
	case SAT_BLOB:
		v.kind = SAT_BLOB;
		break;
	default:
		in->bad = true;
		return v;
	}
	bits = get_varint(in);
	if (in->bad || bits > left(in)) {
		in->bad = true;
		return sat_value_null();
	}
	v.s = (struct sat_slice){ in->p, (size_t)bits };
	in->p += v.s.len;
	return v;
}

static struct sat_write get_write(struct decoder *d, bool shown,
				  const struct sat_value *value)
{
	unsigned flags = get_byte(&d->in);
	struct sat_write w = { .resolves = (flags & SAT_META_RESOLVES) != 0,
			       .covered = (flags & SAT_META_COVERED) != 0 };

	if (flags > (SAT_META_RESOLVES | SAT_META_COVERED))
		d->in.bad = true;
	w.dot = get_dot(&d->in, d->row.vv);
	w.stamp = get_stamp(&d->in, d->base_ms);
	w.value = shown ? *value : get_value(&d->in);
	return w;
}

static int get_register(struct decoder *d, uint16_t column)
{
	const struct sat_value *value = &d->values[column];
	uint64_t n = get_varint(&d->in), shown = 0;
	struct sat_field f = { .count = n == 0 ? 1 : (uint32_t)n };

	if (n > 0)
		shown = get_varint(&d->in);
	if (d->in.bad || n > SAT_FIELD_ENTRIES_MAX || n > left(&d->in) / 3 ||
	    shown >= f.count)
		return SAT_E_CORRUPT;
	f.writes = sat_arena_array(d->arena, f.count, sizeof *f.writes);
	if (f.writes == NULL)
		return SAT_E_NOMEM;
	if (n == 0) {
		f.writes[0].dot = get_dot(&d->in, d->row.vv);
		f.writes[0].stamp = get_stamp(&d->in, d->base_ms);
		f.writes[0].value = *value;
	}
	for (uint32_t i = 0; i < n; i++) {
		f.writes[i] = get_write(d, i == shown, value);
		if (d->in.bad ||
		    (i > 0 && sat_dot_compare(f.writes[i - 1].dot,
					      f.writes[i].dot) >= 0))
			return SAT_E_CORRUPT;
	}
	/* a lone write without flags has the short form */
	if (n == 1 && !f.writes[0].resolves && !f.writes[0].covered)
		return SAT_E_CORRUPT;
	if (sat_field_shown(&d->table->columns[column], &f) != shown)
		return SAT_E_CORRUPT;
	d->row.fields[column] = f;
	return verdict(&d->in);
}

static int get_counter_field(struct decoder *d, uint16_t column)
{
	uint32_t n = get_count(&d->in, 2);
	struct sat_field f = { .count = n };

	if (d->in.bad)
		return SAT_E_CORRUPT;
	f.sums = sat_arena_array(d->arena, n, sizeof *f.sums);
	if (f.sums == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t index = get_varint(&d->in);

		if (d->in.bad || index >= d->row.vv.count)
			return SAT_E_CORRUPT;
		f.sums[i].replica = d->row.vv.dots[index].replica;
		f.sums[i].sum = unzigzag(get_varint(&d->in));
		if (f.sums[i].sum == 0 ||
		    (i > 0 && f.sums[i].replica <= f.sums[i - 1].replica))
			return SAT_E_CORRUPT;
	}
	d->row.fields[column] = f;
	return verdict(&d->in);
}

/* How many dots the next count texts have: read ahead, to allocate once. */
static uint32_t count_dots(struct in in, uint32_t texts)
{
	uint32_t n = 0;
	uint64_t head;

	while (texts > 0 && !in.bad && n <= SAT_FIELD_ENTRIES_MAX) {
		head = get_varint(&in);
		if ((head & 2) != 0)
			(void)get_varint(&in);
		texts -= (head & 1) == 0;
		n++;
	}
	return in.bad || n > SAT_FIELD_ENTRIES_MAX ? 0 : n;
}

static int get_set_field(struct decoder *d, uint16_t column)
{
	const struct sat_value *value = &d->values[column];
	struct sat_slice *texts;
	struct sat_field f;
	uint32_t count, at = 0;
	uint64_t head;
	int rc;

	if (value->kind != SAT_TEXT)
		return SAT_E_CORRUPT;
	rc = sat_set_parse(d->arena, value->s, &texts, &count);
	if (rc != SAT_OK)
		return rc == SAT_E_NOMEM ? rc : SAT_E_CORRUPT;
	f.count = count_dots(d->in, count);
	if (f.count == 0)
		return SAT_E_CORRUPT;
	f.elements = sat_arena_array(d->arena, f.count, sizeof *f.elements);
	if (f.elements == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < f.count; i++) {
		struct sat_element *e = &f.elements[i];

		head = get_varint(&d->in);
		e->dot = get_dot_of(&d->in, d->row.vv, head >> 1);
		e->text = texts[at];
		if (d->in.bad ||
		    (i > 0 && sat_slice_equal(e[-1].text, e->text) &&
		     sat_dot_compare(e[-1].dot, e->dot) >= 0))
			return SAT_E_CORRUPT;
		at += (head & 1) == 0;
	}
	d->row.fields[column] = f;
	return SAT_OK;
}

static int get_field(struct decoder *d, uint32_t no)
{
	int column = sat_table_column_no(d->table, no);

	if (column < 0 || d->row.fields[column].count > 0)
		return SAT_E_CORRUPT;
	switch (d->table->columns[column].policy) {
	case SAT_POLICY_SET:
		return get_set_field(d, (uint16_t)column);
	case SAT_POLICY_COUNTER:
		return get_counter_field(d, (uint16_t)column);
	default:
		return get_register(d, (uint16_t)column);
	}
}

static int get_fields(struct decoder *d)
{
	uint32_t n = get_count(&d->in, 2);
	uint64_t no = 0, gap;
	int rc;

	if (d->in.bad)
		return SAT_E_CORRUPT;
	for (uint32_t i = 0; i < n; i++) {
		gap = get_varint(&d->in);
		if (d->in.bad || gap > UINT16_MAX - no || (i > 0 && gap == 0))
			return SAT_E_CORRUPT;
		no += gap;
		rc = get_field(d, (uint32_t)no);
		if (rc != SAT_OK)
			return rc;
	}
	return SAT_OK;
}

int sat_meta_decode(struct sat_arena *a, const struct sat_table *t,
		    struct sat_slice meta, const struct sat_value *values,
		    struct sat_row *ret)
{
	struct decoder d = {
		.in = { meta.ptr, meta.ptr + meta.len, meta.len == 0 },
		.arena = a,
		.table = t,
		.values = values,
	};
	unsigned head = 0;
	int rc = sat_row_init(a, t, &d.row);

	if (rc == SAT_OK)
		rc = get_vectors(&d.in, a, &head, &d.row.vv, &d.row.dv);
	if (rc == SAT_OK && (head & SAT_META_DEFAULT) != 0)
		rc = get_default(&d);
	if (rc == SAT_OK && (head & SAT_META_DELETES) != 0)
		rc = get_deletes(&d);
	if (rc == SAT_OK && (head & SAT_META_FIELDS) != 0)
		rc = get_fields(&d);
	if (rc != SAT_OK)
		return rc;
	if (left(&d.in) > 0)
		return SAT_E_CORRUPT;
	*ret = d.row;
	return SAT_OK;
}

int sat_meta_vectors(struct sat_arena *a, struct sat_slice meta,
		     struct sat_vv *ret_vv, struct sat_vv *ret_dv)
{
	struct in in = { meta.ptr, meta.ptr + meta.len, meta.len == 0 };
	struct sat_vv vv, dv;
	unsigned head;
	int rc = get_vectors(&in, a, &head, &vv, &dv);

	if (rc != SAT_OK)
		return rc;
	*ret_vv = vv;
	*ret_dv = dv;
	return SAT_OK;
}
