/* The packed form of a row's places.
 *
 * Per place, in scope order, varint(scope * 4 + moved * 2 + evict), then, only
 * if moved, the zigzag varint of (place.seq - row.seq). A row in one scope
 * that has not been re-scoped since its last write takes one to three bytes.
 */
#include "server/store/sqlite_store.h"

enum { PLACE_EVICT = 1, PLACE_MOVED = 2, VARINT_MAX = 10 };

static size_t varint_put(uint8_t *out, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		out[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	out[n++] = (uint8_t)v;
	return n;
}

static bool varint_get(struct sat_slice *in, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
		uint8_t byte = *in->ptr++;

		in->len--;
		if (shift == 63 && byte > 1)
			return false;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static uint64_t zigzag(uint64_t difference)
{
	return difference << 1 ^ (difference >> 63 != 0 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t v)
{
	return v >> 1 ^ ((v & 1) != 0 ? UINT64_MAX : 0);
}

int sat_places_pack(const struct sat_stored_row *row, struct sat_buf *out)
{
	for (uint32_t i = 0; i < row->place_count; i++) {
		const struct sat_place *p = &row->places[i];
		bool moved = p->seq != row->seq;
		uint8_t bytes[2 * VARINT_MAX];
		size_t n;
		int rc;

		SAT_ASSERT(i == 0 || p->scope > row->places[i - 1].scope);
		n = varint_put(bytes, (uint64_t)p->scope * 4 +
					      (moved ? PLACE_MOVED : 0) +
					      (p->evict ? PLACE_EVICT : 0));
		if (moved)
			n += varint_put(bytes + n, zigzag(p->seq - row->seq));
		rc = sat_buf_append(out, bytes, n);
		if (rc != SAT_OK)
			return rc;
	}
	return SAT_OK;
}

static bool place_get(struct sat_slice *in, uint64_t row_seq,
		      struct sat_place *ret)
{
	uint64_t head, moved = 0;

	if (!varint_get(in, &head) || head >> 2 > UINT32_MAX)
		return false;
	if ((head & PLACE_MOVED) != 0 && !varint_get(in, &moved))
		return false;
	ret->scope = (uint32_t)(head >> 2);
	ret->evict = (head & PLACE_EVICT) != 0;
	ret->seq = row_seq + unzigzag(moved);
	return true;
}

int sat_places_unpack(struct sat_slice in, uint64_t row_seq,
		      struct sat_arena *a, struct sat_stored_row *ret)
{
	/* A place takes at least one byte. */
	struct sat_place *places = sat_arena_array(a, in.len, sizeof *places);
	uint32_t n = 0;

	if (places == NULL)
		return SAT_E_NOMEM;
	while (in.len > 0) {
		if (!place_get(&in, row_seq, &places[n]) ||
		    (n > 0 && places[n].scope <= places[n - 1].scope))
			return SAT_E_CORRUPT;
		n++;
	}
	ret->places = places;
	ret->place_count = n;
	return SAT_OK;
}
