/* One delta as the overlay keeps it. The changeset's own form is columnar,
 * made for many rows and a wire; here each row is written and read by itself,
 * for the device alone.
 *
 *   u8 form, dot (replica, seq), table, op, id[16], context (n, n x dot),
 *   base_seq, at_ms, n changes, each:
 *     column no, u8 kinds (value | before << 3 | resolves << 6 | set << 7),
 *     value, before, at_ms - the delta's, replaced,
 *     of a set: n adds, n removes
 *   Numbers are varints, times zigzag, reals 8 bytes, texts and blobs with
 *   their length. */
#include "client/replica/internal.h"
#include "proto/pack.h"

#include <string.h>

enum {
	FORM = 1,
	BIT_RESOLVES = 1 << 6,
	BIT_SET = 1 << 7,
};

/* ---- writing ------------------------------------------------------------- */

static void put_byte(struct sat_pack *p, unsigned v)
{
	uint8_t byte = (uint8_t)v;

	sat_pack_raw(p, &byte, 1);
}

static void put_text(struct sat_pack *p, struct sat_slice s)
{
	sat_pack_varint(p, s.len);
	sat_pack_raw(p, s.ptr, s.len);
}

static void put_value(struct sat_pack *p, const struct sat_value *v)
{
	switch (v->kind) {
	case SAT_NULL:
		return;
	case SAT_INT:
		sat_pack_varint(p, sat_zigzag(v->i));
		return;
	case SAT_REAL:
		sat_pack_raw(p, &v->r, sizeof v->r);
		return;
	case SAT_TEXT:
	case SAT_BLOB:
		put_text(p, v->s);
		return;
	}
}

static void put_elements(struct sat_pack *p, const struct sat_slice *list,
			 uint32_t count)
{
	sat_pack_varint(p, count);
	for (uint32_t i = 0; i < count; i++)
		put_text(p, list[i]);
}

/* A set has elements only, whatever stands beside them in memory. */
static void put_change(struct sat_pack *p, const struct sat_delta *d,
		       const struct sat_change *c)
{
	const struct sat_column *column = &d->table->columns[c->column];
	bool set = column->policy == SAT_POLICY_SET;
	struct sat_value none = sat_value_null();
	const struct sat_value *value = set ? &none : &c->value;
	const struct sat_value *before = set ? &none : &c->before;

	sat_pack_varint(p, column->no);
	put_byte(p, (unsigned)value->kind | (unsigned)before->kind << 3 |
			    (c->resolves ? BIT_RESOLVES : 0) |
			    (set ? BIT_SET : 0));
	put_value(p, value);
	put_value(p, before);
	sat_pack_varint(p, sat_zigzag((int64_t)((uint64_t)c->at_ms -
						(uint64_t)d->at_ms)));
	sat_pack_varint(p, c->replaced);
	if (!set)
		return;
	put_elements(p, c->adds, c->add_count);
	put_elements(p, c->removes, c->remove_count);
}

int sat_delta_pack(const struct sat_delta *d, struct sat_dot dot,
		   struct sat_buf *out)
{
	struct sat_pack p = { out, SAT_OK };

	put_byte(&p, FORM);
	sat_pack_varint(&p, dot.replica);
	sat_pack_varint(&p, dot.seq);
	sat_pack_varint(&p, d->table->no);
	sat_pack_varint(&p, d->op);
	sat_pack_raw(&p, d->id.b, sizeof d->id.b);
	sat_pack_varint(&p, d->context.count);
	for (uint32_t i = 0; i < d->context.count; i++) {
		sat_pack_varint(&p, d->context.dots[i].replica);
		sat_pack_varint(&p, d->context.dots[i].seq);
	}
	sat_pack_varint(&p, d->base_seq);
	sat_pack_varint(&p, sat_zigzag(d->at_ms));
	sat_pack_varint(&p, d->change_count);
	for (uint32_t i = 0; i < d->change_count; i++)
		put_change(&p, d, &d->changes[i]);
	return p.rc;
}

/* ---- reading ------------------------------------------------------------- */

/* What is left to read. The first thing that does not fit empties it and
 * stays: bad. */
struct reader {
	struct sat_slice in;
	struct sat_arena *a;
	bool bad, full;
};

static const uint8_t *take_raw(struct reader *r, uint64_t n)
{
	static const uint8_t nothing[16];
	const uint8_t *p = r->in.ptr;

	if (n > r->in.len) {
		r->bad = true;
		r->in.len = 0;
		return n <= sizeof nothing ? nothing : NULL;
	}
	r->in.ptr += n;
	r->in.len -= (size_t)n;
	return p;
}

static uint64_t take_number(struct reader *r, uint64_t max)
{
	uint64_t v = 0;

	if (!r->bad && sat_varint_take(&r->in, &v) && v <= max)
		return v;
	r->bad = true;
	r->in.len = 0;
	return 0;
}

static int64_t take_signed(struct reader *r)
{
	return sat_unzigzag(take_number(r, UINT64_MAX));
}

static struct sat_slice take_text(struct reader *r)
{
	size_t n = (size_t)take_number(r, r->in.len);

	return (struct sat_slice){ take_raw(r, n), n };
}

/* How many of something that takes at least so many bytes each. */
static uint32_t take_count(struct reader *r, size_t bytes)
{
	return (uint32_t)take_number(r, r->in.len / bytes);
}

static void *take_room(struct reader *r, size_t count, size_t size)
{
	void *p = sat_arena_array(r->a, count, size);

	r->full = r->full || p == NULL;
	return p;
}

static struct sat_value take_value(struct reader *r, unsigned kind)
{
	struct sat_value v = sat_value_null();

	switch (kind) {
	case SAT_NULL:
		return v;
	case SAT_INT:
		return sat_value_int(take_signed(r));
	case SAT_REAL:
		v.kind = SAT_REAL;
		memcpy(&v.r, take_raw(r, sizeof v.r), sizeof v.r);
		return v;
	case SAT_TEXT:
		return sat_value_text(take_text(r));
	case SAT_BLOB:
		return sat_value_blob(take_text(r));
	default:
		r->bad = true;
		return v;
	}
}

static const struct sat_slice *take_elements(struct reader *r,
					     uint32_t *ret_count)
{
	uint32_t n = take_count(r, 1);
	struct sat_slice *list = take_room(r, n, sizeof *list);

	for (uint32_t i = 0; list != NULL && i < n; i++)
		list[i] = take_text(r);
	*ret_count = list == NULL ? 0 : n;
	return list;
}

/* Would the merge know what to do with that change of that column? */
static bool fits(const struct sat_column *c, const struct sat_change *change)
{
	struct sat_value v;
	const char *why;

	if (c->policy == SAT_POLICY_COUNTER)
		return change->value.kind == SAT_INT && change->adds == NULL;
	if (c->policy != SAT_POLICY_SET)
		return change->adds == NULL &&
		       sat_column_accepts(c, &change->value, &why);
	for (uint32_t i = 0; i < change->add_count; i++) {
		v = sat_value_text(change->adds[i]);
		if (!sat_column_accepts(c, &v, &why))
			return false;
	}
	return change->value.kind == SAT_NULL;
}

static void take_change(struct reader *r, const struct sat_delta *d,
			struct sat_change *c)
{
	unsigned bits;
	int at = sat_table_column_no(d->table,
				     (uint32_t)take_number(r, UINT16_MAX));

	if (at < 0) {
		r->bad = true;
		return;
	}
	bits = *take_raw(r, 1);
	c->column = (uint16_t)at;
	c->value = take_value(r, bits & 7);
	c->before = take_value(r, bits >> 3 & 7);
	c->resolves = (bits & BIT_RESOLVES) != 0;
	c->at_ms = (int64_t)((uint64_t)d->at_ms + (uint64_t)take_signed(r));
	c->replaced = take_number(r, UINT64_MAX);
	if ((bits & BIT_SET) != 0) {
		c->adds = take_elements(r, &c->add_count);
		c->removes = take_elements(r, &c->remove_count);
	}
	if (!r->full)
		r->bad = r->bad || !fits(&d->table->columns[at], c);
}

static void take_context(struct reader *r, struct sat_vv *ret)
{
	uint32_t n = take_count(r, 2);
	struct sat_dot *dots = take_room(r, n, sizeof *dots);
	uint32_t last = 0;

	for (uint32_t i = 0; dots != NULL && i < n; i++) {
		dots[i].replica = (uint32_t)take_number(r, UINT32_MAX);
		dots[i].seq = take_number(r, INT64_MAX);
		r->bad = r->bad || dots[i].replica <= last || dots[i].seq == 0;
		last = dots[i].replica;
	}
	*ret = (struct sat_vv){ dots, dots == NULL ? 0 : n };
	r->bad = r->bad || n > SAT_VV_ENTRIES_MAX;
}

/* Into its place: a later catalogue may have the columns in another order. */
static bool sort_in(struct sat_change *list, uint32_t at)
{
	struct sat_change c = list[at];

	for (; at > 0 && list[at - 1].column > c.column; at--)
		list[at] = list[at - 1];
	list[at] = c;
	return at == 0 || list[at - 1].column < c.column;
}

static void take_changes(struct reader *r, struct sat_delta *d)
{
	d->change_count = take_count(r, 5);
	if (d->change_count > d->table->column_count)
		r->bad = true;
	else
		d->changes = take_room(r, d->change_count, sizeof *d->changes);
	for (uint32_t i = 0; !r->bad && !r->full && i < d->change_count; i++) {
		take_change(r, d, &d->changes[i]);
		r->bad = r->bad || !sort_in(d->changes, i);
	}
}

bool sat_delta_packed(struct sat_slice bytes)
{
	return bytes.len > 0 && bytes.ptr[0] == FORM;
}

int sat_delta_unpack(struct sat_arena *a, const struct sat_catalogue *c,
		     struct sat_slice bytes, struct sat_delta *ret,
		     struct sat_dot *ret_dot)
{
	struct reader r = { .in = bytes, .a = a };
	struct sat_delta d = { .change_count = 0 };
	struct sat_dot dot;

	r.bad = *take_raw(&r, 1) != FORM || r.bad;
	dot.replica = (uint32_t)take_number(&r, UINT32_MAX);
	dot.seq = take_number(&r, INT64_MAX);
	d.table = sat_catalogue_table_no(c,
					 (uint32_t)take_number(&r, UINT16_MAX));
	d.op = (enum sat_op)take_number(&r, SAT_OP_DELETE);
	memcpy(d.id.b, take_raw(&r, sizeof d.id.b), sizeof d.id.b);
	take_context(&r, &d.context);
	d.base_seq = take_number(&r, UINT64_MAX);
	d.at_ms = take_signed(&r);
	if (d.table == NULL || dot.replica == 0 || dot.seq == 0)
		r.bad = true;
	if (!r.bad)
		take_changes(&r, &d);
	if (r.full)
		return SAT_E_NOMEM;
	if (r.bad || r.in.len > 0)
		return SAT_E_CORRUPT;
	*ret = d;
	*ret_dot = dot;
	return SAT_OK;
}
