#include "proto/scan.h"

#include "common/text.h"

const struct sat_mp_limits sat_mp_message = { SAT_MP_DEPTH_MAX,
					      SAT_MP_NODES_MAX };
const struct sat_mp_limits sat_mp_columnar = { SAT_MP_DEPTH_MAX, UINT32_MAX };

enum kind { SCALAR, INTEGER, STRING, BYTES, ARRAY, MAP, BAD };

/* Per lead byte from 0xc0: what it starts and how many bytes of big-endian
 * length, count or fixed body follow it. */
static const struct {
	uint8_t kind, width;
} leads[32] = {
	[0x00] = { SCALAR, 0 },  [0x01] = { BAD, 0 },
	[0x02] = { SCALAR, 0 },  [0x03] = { SCALAR, 0 },
	[0x04] = { BYTES, 1 },   [0x05] = { BYTES, 2 },
	[0x06] = { BYTES, 4 },   [0x07] = { BAD, 0 },
	[0x08] = { BAD, 0 },     [0x09] = { BAD, 0 },
	[0x0a] = { SCALAR, 4 },  [0x0b] = { SCALAR, 8 },
	[0x0c] = { INTEGER, 1 }, [0x0d] = { INTEGER, 2 },
	[0x0e] = { INTEGER, 4 }, [0x0f] = { INTEGER, 8 },
	[0x10] = { SCALAR, 1 },  [0x11] = { SCALAR, 2 },
	[0x12] = { SCALAR, 4 },  [0x13] = { SCALAR, 8 },
	[0x14] = { BAD, 0 },     [0x15] = { BAD, 0 },
	[0x16] = { BAD, 0 },     [0x17] = { BAD, 0 },
	[0x18] = { BAD, 0 },     [0x19] = { STRING, 1 },
	[0x1a] = { STRING, 2 },  [0x1b] = { STRING, 4 },
	[0x1c] = { ARRAY, 2 },   [0x1d] = { ARRAY, 4 },
	[0x1e] = { MAP, 2 },     [0x1f] = { MAP, 4 },
};

struct head {
	enum kind kind;
	uint64_t number; /* value, length or count */
	size_t bytes;    /* of the head itself     */
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* Read the head at p, n >= 1 bytes left. SAT_OK, SAT_AGAIN, SAT_E_PROTO. */
static int read_head(const uint8_t *p, size_t n, struct head *ret)
{
	uint8_t b = p[0];
	size_t width;

	if (b < 0x80) {
		*ret = (struct head){ INTEGER, b, 1 };
	} else if (b < 0x90) {
		*ret = (struct head){ MAP, b & 15u, 1 };
	} else if (b < 0xa0) {
		*ret = (struct head){ ARRAY, b & 15u, 1 };
	} else if (b < 0xc0) {
		*ret = (struct head){ STRING, b & 31u, 1 };
	} else if (b >= 0xe0) {
		*ret = (struct head){ SCALAR, 0, 1 };
	} else {
		if (leads[b - 0xc0].kind == BAD)
			return SAT_E_PROTO;
		width = leads[b - 0xc0].width;
		if (width > n - 1)
			return SAT_AGAIN;
		*ret = (struct head){ leads[b - 0xc0].kind,
				      big_endian(p + 1, width), 1 + width };
	}
	return SAT_OK;
}

struct level {
	uint64_t left; /* values still to come; a map counts its keys */
	bool map;
	bool any; /* a key has been seen */
	uint64_t last_key;
};

struct walk {
	struct level level[SAT_MP_DEPTH_MAX];
	uint32_t depth;
	uint64_t nodes;
};

static int open_level(struct walk *w, const struct sat_mp_limits *lim,
		      const struct head *h, size_t bytes_left)
{
	uint64_t values = h->kind == MAP ? h->number * 2 : h->number;

	if (w->depth >= lim->depth_max || w->depth >= SAT_MP_DEPTH_MAX ||
	    values > bytes_left)
		return SAT_E_LIMIT;
	w->level[w->depth++] =
		(struct level){ .left = values, .map = h->kind == MAP };
	return SAT_OK;
}

/* The value about to be read at the top level: is it a key, and a good one? */
static int check_key(struct walk *w, const struct head *h)
{
	struct level *top;

	if (w->depth == 0)
		return SAT_OK;
	top = &w->level[w->depth - 1];
	if (!top->map || top->left % 2 != 0)
		return SAT_OK;
	if (h->kind != INTEGER || (top->any && h->number <= top->last_key))
		return SAT_E_PROTO;
	top->any = true;
	top->last_key = h->number;
	return SAT_OK;
}

static int check_value(struct walk *w, const struct sat_mp_limits *lim,
		       struct sat_slice in, const struct head *h, size_t *at)
{
	size_t left = in.len - *at;

	if (h->kind == ARRAY || h->kind == MAP)
		return open_level(w, lim, h, left);
	if (h->kind != STRING && h->kind != BYTES)
		return SAT_OK;
	if (h->number > left)
		return SAT_AGAIN;
	if (h->kind == STRING &&
	    !sat_utf8_valid((struct sat_slice){ in.ptr + *at, h->number }))
		return SAT_E_PROTO;
	*at += h->number;
	return SAT_OK;
}

int sat_mp_check(struct sat_slice in, const struct sat_mp_limits *lim,
		 size_t *ret_used)
{
	struct walk w = { .depth = 0 };
	struct head h;
	size_t at = 0;
	int rc;

	do {
		if (at >= in.len)
			return SAT_AGAIN;
		if (w.nodes++ >= lim->nodes_max)
			return SAT_E_LIMIT;
		rc = read_head(in.ptr + at, in.len - at, &h);
		if (rc != SAT_OK)
			return rc;
		rc = check_key(&w, &h);
		if (rc != SAT_OK)
			return rc;
		if (w.depth > 0)
			w.level[w.depth - 1].left--;
		at += h.bytes;
		rc = check_value(&w, lim, in, &h, &at);
		if (rc != SAT_OK)
			return rc;
		while (w.depth > 0 && w.level[w.depth - 1].left == 0)
			w.depth--;
	} while (w.depth > 0);
	*ret_used = at;
	return SAT_OK;
}
