#include "proto/column.h"

#include "common/meta.h"

#include <math.h>
#include <string.h>

enum {
	SCRATCH_BYTES_MAX = 256 * 1024 * 1024,
	ID_TIME_BYTES = 6,
	ID_TAIL_BYTES = 10,
};

/* Integers up to 2^53 are exact in a double. */
static const double exact_max = 9007199254740992.0;
static const double powers[SAT_DECIMALS_MAX + 1] = { 1e0, 1e1, 1e2, 1e3, 1e4,
						     1e5, 1e6, 1e7, 1e8, 1e9 };

enum sat_kind sat_type_kind(enum sat_type t)
{
	switch (t) {
	case SAT_TYPE_REF:
	case SAT_TYPE_BLOBREF:
		return SAT_BLOB;
	case SAT_TYPE_INT:
	case SAT_TYPE_BOOL:
	case SAT_TYPE_MONEY:
	case SAT_TYPE_TIME:
	case SAT_TYPE_COUNTER:
		return SAT_INT;
	case SAT_TYPE_REAL:
		return SAT_REAL;
	default:
		return SAT_TEXT;
	}
}

size_t sat_type_blob_bytes(enum sat_type t)
{
	return t == SAT_TYPE_REF ? 16 : t == SAT_TYPE_BLOBREF ? 32 : 0;
}

int64_t sat_id_time(const uint8_t *id)
{
	int64_t ms = 0;

	for (unsigned i = 0; i < ID_TIME_BYTES; i++)
		ms = ms << 8 | id[i];
	return ms;
}

void sat_column_scratch_init(struct sat_column_scratch *s)
{
	sat_arena_init(&s->mem, SCRATCH_BYTES_MAX);
	sat_buf_init(&s->one, SCRATCH_BYTES_MAX);
	sat_buf_init(&s->two, SCRATCH_BYTES_MAX);
	sat_buf_init(&s->three, SCRATCH_BYTES_MAX);
}

void sat_column_scratch_fini(struct sat_column_scratch *s)
{
	sat_arena_fini(&s->mem);
	sat_buf_fini(&s->one);
	sat_buf_fini(&s->two);
	sat_buf_fini(&s->three);
}

static struct sat_pack begin(struct sat_buf *b)
{
	sat_buf_clear(b);
	return (struct sat_pack){ b, SAT_OK };
}

/* A finished scratch buffer becomes a bin of p. */
static void put_bin(struct sat_pack *p, const struct sat_pack *from)
{
	if (from->rc != SAT_OK && p->rc == SAT_OK)
		p->rc = from->rc;
	sat_pack_bin(p, sat_buf_peek(from->out));
}

/* What is being written: the values that are not NULL. */
struct dense {
	const struct sat_value **v;
	int64_t *times;
	uint32_t n;
};

static uint64_t step(enum sat_form form, uint64_t v, uint64_t prev,
		     int64_t time)
{
	if (form == SAT_FORM_INT_DELTA)
		v -= prev;
	else if (form == SAT_FORM_INT_BY_ID)
		v -= (uint64_t)time;
	return sat_zigzag((int64_t)v);
}

static enum sat_form pick_int(const int64_t *v, const int64_t *times,
			      uint32_t n, enum sat_form last)
{
	enum sat_form best = SAT_FORM_INT;
	size_t best_bytes = SIZE_MAX;

	for (enum sat_form f = SAT_FORM_INT; f <= last; f++) {
		uint64_t prev = 0;
		size_t bytes = 0;

		for (uint32_t i = 0; i < n; i++) {
			bytes += sat_varint_bytes(step(f, (uint64_t)v[i], prev,
						       times ? times[i] : 0));
			prev = (uint64_t)v[i];
		}
		if (bytes < best_bytes) {
			best = f;
			best_bytes = bytes;
		}
	}
	return best;
}

static void put_ints(struct sat_pack *p, struct sat_column_scratch *s,
		     enum sat_form form, const int64_t *v, const int64_t *times,
		     uint32_t n)
{
	struct sat_pack one = begin(&s->one);
	uint64_t prev = 0;

	for (uint32_t i = 0; i < n; i++) {
		sat_pack_varint(&one, step(form, (uint64_t)v[i], prev,
					   times ? times[i] : 0));
		prev = (uint64_t)v[i];
	}
	put_bin(p, &one);
}

static int64_t *take_ints(struct sat_pack *p, struct sat_column_scratch *s,
			  uint32_t n)
{
	int64_t *v = sat_arena_array(&s->mem, n, sizeof *v);

	if (v == NULL && p->rc == SAT_OK)
		p->rc = SAT_E_NOMEM;
	return v;
}

/* A block's head: the form and the bitmap of NULLs. */
static void put_head(struct sat_pack *p, enum sat_form form,
		     struct sat_slice nulls)
{
	sat_pack_array(p, 3);
	sat_pack_uint(p, form);
	if (nulls.len == 0)
		sat_pack_nil(p);
	else
		sat_pack_bin(p, nulls);
}

static void put_int_block(struct sat_pack *p, struct sat_column_scratch *s,
			  struct sat_slice nulls, const struct dense *d)
{
	int64_t *v = take_ints(p, s, d->n);
	enum sat_form form;

	if (v == NULL)
		return;
	for (uint32_t i = 0; i < d->n; i++)
		v[i] = d->v[i]->i;
	form = pick_int(v, d->times, d->n, SAT_FORM_INT_BY_ID);
	put_head(p, form, nulls);
	put_ints(p, s, form, v, d->times, d->n);
}

/* Is r exactly i / 10^k for an integer i? Bit for bit, so -0.0 is not. */
static bool as_decimal(double r, unsigned k, int64_t *ret)
{
	double scaled = round(r * powers[k]);
	double back;

	if (!(fabs(scaled) <= exact_max))
		return false;
	back = (double)(int64_t)scaled / powers[k];
	if (memcmp(&back, &r, sizeof r) != 0)
		return false;
	*ret = (int64_t)scaled;
	return true;
}

static bool all_decimal(const struct dense *d, unsigned k, int64_t *v)
{
	for (uint32_t i = 0; i < d->n; i++)
		if (!as_decimal(d->v[i]->r, k, &v[i]))
			return false;
	return true;
}

static void put_planes(struct sat_pack *p, struct sat_column_scratch *s,
		       const struct dense *d)
{
	struct sat_pack one = begin(&s->one);
	uint64_t bits;
	uint8_t b;

	for (unsigned plane = 0; plane < 8; plane++) {
		for (uint32_t i = 0; i < d->n; i++) {
			memcpy(&bits, &d->v[i]->r, sizeof bits);
			b = (uint8_t)(bits >> (56 - 8 * plane));
			sat_pack_raw(&one, &b, 1);
		}
	}
	put_bin(p, &one);
}

static void put_real_block(struct sat_pack *p, struct sat_column_scratch *s,
			   struct sat_slice nulls, const struct dense *d)
{
	int64_t *v = take_ints(p, s, d->n);
	enum sat_form form;
	unsigned k = 0;

	if (v == NULL)
		return;
	while (k <= SAT_DECIMALS_MAX && !all_decimal(d, k, v))
		k++;
	if (k > SAT_DECIMALS_MAX) {
		put_head(p, SAT_FORM_REAL, nulls);
		put_planes(p, s, d);
		return;
	}
	form = pick_int(v, NULL, d->n, SAT_FORM_INT_DELTA);
	put_head(p, SAT_FORM_DECIMAL, nulls);
	sat_pack_array(p, 3);
	sat_pack_uint(p, k);
	sat_pack_uint(p, form);
	put_ints(p, s, form, v, NULL, d->n);
}

/* Distinct values in order of first appearance; index[i] says which one
 * value i is. False when more than half are distinct, or out of memory. */
struct dict {
	const struct sat_value **v;
	uint32_t *index;
	uint32_t count;
};

static bool make_dict(struct sat_column_scratch *s, const struct dense *d,
		      struct dict *ret)
{
	uint32_t room = d->n / 2;
	size_t slots = 8;
	uint32_t *slot;

	if (room == 0)
		return false;
	while (slots < (size_t)room * 2)
		slots *= 2;
	slot = sat_arena_array(&s->mem, slots, sizeof *slot);
	ret->v = sat_arena_array(&s->mem, room, sizeof *ret->v);
	ret->index = sat_arena_array(&s->mem, d->n, sizeof *ret->index);
	if (slot == NULL || ret->v == NULL || ret->index == NULL)
		return false;
	ret->count = 0;
	for (uint32_t i = 0; i < d->n; i++) {
		struct sat_slice t = d->v[i]->s;
		size_t at = sat_hash_bytes(t).low & (slots - 1);

		while (slot[at] != 0 &&
		       !sat_slice_equal(ret->v[slot[at] - 1]->s, t))
			at = (at + 1) & (slots - 1);
		if (slot[at] == 0) {
			if (ret->count == room)
				return false;
			ret->v[ret->count] = d->v[i];
			slot[at] = ++ret->count;
		}
		ret->index[i] = slot[at] - 1;
	}
	return true;
}

static void put_bytes(struct sat_pack *p, struct sat_column_scratch *s,
		      const struct sat_value *const *v, uint32_t n)
{
	struct sat_pack one = begin(&s->one);

	for (uint32_t i = 0; i < n; i++)
		sat_pack_raw(&one, v[i]->s.ptr, v[i]->s.len);
	put_bin(p, &one);
}

static void put_lengths(struct sat_pack *p, struct sat_column_scratch *s,
			const struct sat_value *const *v, uint32_t n)
{
	struct sat_pack two = begin(&s->two);

	for (uint32_t i = 0; i < n; i++)
		sat_pack_varint(&two, v[i]->s.len);
	put_bin(p, &two);
}

static void put_indexes(struct sat_pack *p, struct sat_column_scratch *s,
			const struct dict *dict, uint32_t n)
{
	struct sat_pack two = begin(&s->two);

	for (uint32_t i = 0; i < n; i++)
		sat_pack_varint(&two, dict->index[i]);
	put_bin(p, &two);
}

static void put_text_block(struct sat_pack *p, struct sat_column_scratch *s,
			   struct sat_slice nulls, const struct dense *d)
{
	struct dict dict;

	if (make_dict(s, d, &dict)) {
		put_head(p, SAT_FORM_TEXT_DICT, nulls);
		sat_pack_array(p, 4);
		sat_pack_uint(p, dict.count);
		put_lengths(p, s, dict.v, dict.count);
		put_bytes(p, s, dict.v, dict.count);
		put_indexes(p, s, &dict, d->n);
		return;
	}
	put_head(p, SAT_FORM_TEXT, nulls);
	sat_pack_array(p, 2);
	put_lengths(p, s, d->v, d->n);
	put_bytes(p, s, d->v, d->n);
}

static void put_blob_block(struct sat_pack *p, struct sat_column_scratch *s,
			   size_t size, struct sat_slice nulls,
			   const struct dense *d)
{
	const struct sat_id **ids;
	struct dict dict;

	if (make_dict(s, d, &dict)) {
		put_head(p, SAT_FORM_BLOB_DICT, nulls);
		sat_pack_array(p, 2);
		put_bytes(p, s, dict.v, dict.count);
		put_indexes(p, s, &dict, d->n);
		return;
	}
	if (size != sizeof(struct sat_id)) {
		put_head(p, SAT_FORM_BLOB, nulls);
		put_bytes(p, s, d->v, d->n);
		return;
	}
	ids = sat_arena_array(&s->mem, d->n, sizeof *ids);
	if (ids == NULL) {
		p->rc = p->rc == SAT_OK ? SAT_E_NOMEM : p->rc;
		return;
	}
	for (uint32_t i = 0; i < d->n; i++)
		ids[i] = (const struct sat_id *)d->v[i]->s.ptr;
	put_head(p, SAT_FORM_ID, nulls);
	sat_ids_put(p, s, ids, d->n);
}

static int gather(struct sat_column_scratch *s, enum sat_type type,
		  const struct sat_value *const *values, const int64_t *times,
		  uint32_t n, struct dense *ret, struct sat_slice *ret_nulls)
{
	uint8_t *nulls = sat_arena_alloc(&s->mem, (n + 7) / 8);
	enum sat_kind kind = sat_type_kind(type);
	size_t size = sat_type_blob_bytes(type);

	ret->v = sat_arena_array(&s->mem, n, sizeof *ret->v);
	ret->times = sat_arena_array(&s->mem, n, sizeof *ret->times);
	ret->n = 0;
	if (nulls == NULL || ret->v == NULL || ret->times == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (values[i]->kind == SAT_NULL) {
			nulls[i / 8] |= (uint8_t)(1u << (i % 8));
			continue;
		}
		if (values[i]->kind != kind ||
		    (kind == SAT_BLOB && values[i]->s.len != size))
			return SAT_E_INVAL;
		ret->v[ret->n] = values[i];
		ret->times[ret->n++] = times == NULL ? 0 : times[i];
	}
	*ret_nulls = (struct sat_slice){ nulls, ret->n == n ? 0 : (n + 7) / 8 };
	return SAT_OK;
}

void sat_column_put(struct sat_pack *p, struct sat_column_scratch *s,
		    enum sat_type type, const struct sat_value *const *values,
		    const int64_t *times, uint32_t n)
{
	struct sat_slice nulls;
	struct dense d;
	int rc;

	sat_arena_reset(&s->mem);
	rc = gather(s, type, values, times, n, &d, &nulls);
	if (rc != SAT_OK) {
		p->rc = p->rc == SAT_OK ? rc : p->rc;
		return;
	}
	if (d.n == 0) {
		put_head(p, SAT_FORM_NULL, (struct sat_slice){ NULL, 0 });
		sat_pack_nil(p);
		return;
	}
	switch (sat_type_kind(type)) {
	case SAT_INT:
		put_int_block(p, s, nulls, &d);
		break;
	case SAT_REAL:
		put_real_block(p, s, nulls, &d);
		break;
	case SAT_BLOB:
		put_blob_block(p, s, sat_type_blob_bytes(type), nulls, &d);
		break;
	default:
		put_text_block(p, s, nulls, &d);
	}
}

void sat_ids_put(struct sat_pack *p, struct sat_column_scratch *s,
		 const struct sat_id *const *ids, uint32_t n)
{
	struct sat_pack one = begin(&s->one);
	struct sat_pack two = begin(&s->two);
	uint64_t prev = 0;
	uint64_t now;

	for (uint32_t i = 0; i < n; i++) {
		now = (uint64_t)sat_id_time(ids[i]->b);
		sat_pack_varint(&one, sat_zigzag((int64_t)(now - prev)));
		sat_pack_raw(&two, ids[i]->b + ID_TIME_BYTES, ID_TAIL_BYTES);
		prev = now;
	}
	sat_pack_array(p, 2);
	put_bin(p, &one);
	put_bin(p, &two);
}

void sat_rising_put(struct sat_pack *p, struct sat_column_scratch *s,
		    const uint64_t *v, uint32_t n)
{
	struct sat_pack one = begin(&s->one);
	uint64_t prev = 0;

	for (uint32_t i = 0; i < n; i++) {
		sat_pack_varint(&one, sat_zigzag((int64_t)(v[i] - prev)));
		prev = v[i];
	}
	put_bin(p, &one);
}
