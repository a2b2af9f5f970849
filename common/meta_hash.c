#include <string.h>

/* Gives the complete state type, so that it can live on the stack. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "common/meta.h"

static void put_be(uint8_t *out, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
}

static uint64_t get_be64(const uint8_t *in)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | in[i];
	return v;
}

static struct sat_hash from_xxh(XXH128_hash_t h)
{
	return (struct sat_hash){ .low = h.low64, .high = h.high64 };
}

/* xxHash gives an error only for a NULL state or input. */
static void feed(XXH3_state_t *x, const void *p, size_t n)
{
	XXH_errorcode rc = n == 0 ? XXH_OK : XXH3_128bits_update(x, p, n);

	SAT_ASSERT(rc == XXH_OK);
}

static void feed_value(XXH3_state_t *x, uint16_t no, const struct sat_value *v)
{
	uint8_t head[11];
	uint64_t bits;

	put_be(head, no, 2);
	head[2] = (uint8_t)v->kind;
	switch (v->kind) {
	case SAT_INT:
		put_be(head + 3, (uint64_t)v->i, 8);
		feed(x, head, 11);
		return;
	case SAT_REAL:
		memcpy(&bits, &v->r, sizeof bits);
		if (bits == (uint64_t)1 << 63) /* -0.0 is 0.0 */
			bits = 0;
		put_be(head + 3, bits, 8);
		feed(x, head, 11);
		return;
	default: /* TEXT, BLOB */
		put_be(head + 3, v->s.len, 4);
		feed(x, head, 7);
		feed(x, v->s.ptr, v->s.len);
		return;
	}
}

/* A column added to the catalogue later must not change the hash of a row
 * nobody has written since, so an empty column leaves no trace; nor does a
 * counter at 0, which a replica may hold as NULL. */
static bool is_empty(const struct sat_column *c, const struct sat_value *v)
{
	if (v->kind == SAT_NULL)
		return true;
	return c->policy == SAT_POLICY_COUNTER && v->kind == SAT_INT &&
	       v->i == 0;
}

struct sat_hash sat_row_hash(const struct sat_table *t, const struct sat_id *id,
			     struct sat_slice meta,
			     const struct sat_value *values,
			     const bool *readable)
{
	XXH3_state_t x;
	uint8_t word[4];
	XXH_errorcode rc;

	/* reset reads the seed of the state before it writes it */
	XXH3_INITSTATE(&x);
	rc = XXH3_128bits_reset(&x);
	SAT_ASSERT(rc == XXH_OK);
	put_be(word, t->no, 2);
	feed(&x, word, 2);
	feed(&x, id->b, sizeof id->b);
	put_be(word, meta.len, 4);
	feed(&x, word, 4);
	feed(&x, meta.ptr, meta.len);
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (readable[i] && !is_empty(&t->columns[i], &values[i]))
			feed_value(&x, t->columns[i].no, &values[i]);
	}
	return from_xxh(XXH3_128bits_digest(&x));
}

struct sat_hash sat_hash_bytes(struct sat_slice bytes)
{
	return from_xxh(XXH3_128bits(bytes.ptr, bytes.len));
}

void sat_hash_add(struct sat_hash *sum, struct sat_hash h)
{
	sum->low += h.low;
	sum->high += h.high + (sum->low < h.low);
}

void sat_hash_sub(struct sat_hash *sum, struct sat_hash h)
{
	sum->high -= h.high + (sum->low < h.low);
	sum->low -= h.low;
}

bool sat_hash_equal(struct sat_hash x, struct sat_hash y)
{
	return x.low == y.low && x.high == y.high;
}

void sat_hash_pack(struct sat_hash h, uint8_t out[16])
{
	put_be(out, h.high, 8);
	put_be(out + 8, h.low, 8);
}

struct sat_hash sat_hash_unpack(const uint8_t in[16])
{
	return (struct sat_hash){ .low = get_be64(in + 8),
				  .high = get_be64(in) };
}

struct sat_id sat_id_derived(struct sat_slice key)
{
	struct sat_id id;

	sat_hash_pack(sat_hash_bytes(key), id.b);
	id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x80);
	id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
	return id;
}
