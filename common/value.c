#include "common/value.h"

#include <string.h>

#include "common/arena.h"

struct sat_value sat_value_null(void)
{
	return (struct sat_value){ .kind = SAT_NULL };
}

struct sat_value sat_value_int(int64_t i)
{
	return (struct sat_value){ .kind = SAT_INT, .i = i };
}

struct sat_value sat_value_real(double r)
{
	return (struct sat_value){ .kind = SAT_REAL, .r = r };
}

struct sat_value sat_value_text(struct sat_slice s)
{
	return (struct sat_value){ .kind = SAT_TEXT, .s = s };
}

struct sat_value sat_value_blob(struct sat_slice s)
{
	return (struct sat_value){ .kind = SAT_BLOB, .s = s };
}

struct sat_value sat_value_id(const struct sat_id *id)
{
	return sat_value_blob((struct sat_slice){ id->b, sizeof id->b });
}

/* The bits of a double turned so that unsigned order is numeric order. Every
 * bit pattern has its place, so the order is total whatever a file held. */
static uint64_t real_key(double r)
{
	const uint64_t sign = (uint64_t)1 << 63;
	uint64_t bits;

	memcpy(&bits, &r, sizeof bits);
	if (bits == sign) /* -0.0 is 0.0 */
		bits = 0;
	return (bits & sign) != 0 ? ~bits : bits | sign;
}

int sat_value_compare(const struct sat_value *a, const struct sat_value *b)
{
	uint64_t x, y;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	switch (a->kind) {
	case SAT_INT:
		return (a->i > b->i) - (a->i < b->i);
	case SAT_REAL:
		x = real_key(a->r);
		y = real_key(b->r);
		return (x > y) - (x < y);
	case SAT_TEXT:
	case SAT_BLOB:
		return sat_slice_compare(a->s, b->s);
	case SAT_NULL:
	default:
		return 0;
	}
}

bool sat_value_equal(const struct sat_value *a, const struct sat_value *b)
{
	/* Unequal lengths settle it without reading a megabyte of note. */
	if (a->kind == b->kind && a->kind >= SAT_TEXT && a->s.len != b->s.len)
		return false;
	return sat_value_compare(a, b) == 0;
}

int sat_value_copy(struct sat_arena *a, const struct sat_value *v,
		   struct sat_value *ret)
{
	struct sat_value copy = *v;
	int rc;

	if (v->kind == SAT_TEXT || v->kind == SAT_BLOB) {
		rc = sat_arena_copy(a, v->s, &copy.s);
		if (rc != SAT_OK)
			return rc;
	}
	*ret = copy;
	return SAT_OK;
}

int sat_dot_compare(struct sat_dot a, struct sat_dot b)
{
	if (a.replica != b.replica)
		return a.replica < b.replica ? -1 : 1;
	return (a.seq > b.seq) - (a.seq < b.seq);
}
