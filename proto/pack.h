/* pack.h - the bricks of the wire format: msgpack out, a cursor over scanned
 * msgpack in, variable-length integers and bitmaps. PURE but for memory.
 *
 * Writers keep their first error in rc and do nothing after it, so that a
 * long encoder is checked once at its end.
 */
#ifndef SAT_PACK_H
#define SAT_PACK_H

#include "common/buf.h"

struct sat_pack {
	struct sat_buf *out;
	int rc; /* SAT_OK, or the first SAT_E_LIMIT, SAT_E_NOMEM, SAT_E_INVAL */
};

void sat_pack_nil(struct sat_pack *p);
void sat_pack_bool(struct sat_pack *p, bool v);
void sat_pack_uint(struct sat_pack *p, uint64_t v);
void sat_pack_int(struct sat_pack *p, int64_t v);
void sat_pack_str(struct sat_pack *p, struct sat_slice s);
void sat_pack_bin(struct sat_pack *p, struct sat_slice s);
void sat_pack_map(struct sat_pack *p, uint32_t count);
void sat_pack_array(struct sat_pack *p, uint32_t count);

/* Raw bytes: these go into bins, not between msgpack values. */
void sat_pack_raw(struct sat_pack *p, const void *bytes, size_t n);
void sat_pack_varint(struct sat_pack *p, uint64_t v);

/* Seven bits a byte, lowest first, high bit set on all but the last. */
size_t sat_varint_bytes(uint64_t v);
/* Take one from the front of *s; false when cut short, over 64 bits, or not
 * the shortest form. */
bool sat_varint_take(struct sat_slice *s, uint64_t *ret);

static inline uint64_t sat_zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static inline int64_t sat_unzigzag(uint64_t v)
{
	return (int64_t)((v >> 1) ^ (0 - (v & 1)));
}

/* Bit i lives in byte i / 8, lowest bit first. */
static inline bool sat_bit(const uint8_t *map, size_t i)
{
	return (map[i / 8] >> (i % 8) & 1) != 0;
}

/* Is s a bitmap of n bits: right length, unused bits zero? *ret_ones counts
 * the set bits. */
bool sat_bitmap_valid(struct sat_slice s, size_t n, uint32_t *ret_ones);

/* A cursor over bytes that sat_mp_check has passed. Takers return false when
 * the next value is of another type or there is none, and then do not move. */
struct sat_cursor {
	struct sat_slice in;
	size_t at;
};

bool sat_take_nil(struct sat_cursor *c);
bool sat_take_bool(struct sat_cursor *c, bool *ret);
bool sat_take_uint(struct sat_cursor *c, uint64_t max, uint64_t *ret);
bool sat_take_int(struct sat_cursor *c, int64_t *ret);
bool sat_take_bin(struct sat_cursor *c, struct sat_slice *ret);
bool sat_take_map(struct sat_cursor *c, uint32_t *ret_count);
bool sat_take_array(struct sat_cursor *c, uint32_t *ret_count);
/* Pass over one whole value; *ret_value (may be NULL) are its bytes. */
bool sat_take_any(struct sat_cursor *c, struct sat_slice *ret_value);

#endif
