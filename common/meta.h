/* meta.h - the compact binary form of a row's metadata, and the row hash.
 *
 * PURE. The shown values live in typed columns; the metadata blob holds the
 * rest: VV, DV, dots, stamps, siblings, elements' dots, sums. A row written
 * once by one changeset costs about 14 bytes. The layout is normative
 * (PROTOCOL.md, "Row metadata"): devices store and receive it as it is.
 * Canonical: equal states have equal bytes.
 */
#ifndef SAT_META_H
#define SAT_META_H

#include "common/row.h"

/* Append the metadata of row to out. values[i] must be what sat_field_value
 * gives for column i: the metadata does not repeat them. SAT_OK,
 * SAT_E_INVAL (a register shows another value), SAT_E_NOMEM, SAT_E_LIMIT. On
 * failure out is unchanged. */
int sat_meta_encode(const struct sat_table *t, const struct sat_row *row,
		    const struct sat_value *values,
		    struct sat_buf *out) SAT_MUST_CHECK;

/* Rebuild the state from metadata and the shown values, one per column of t.
 * Columns added to the catalogue since have no metadata and read as never
 * written. Borrows from meta and values. SAT_OK, SAT_E_NOMEM, SAT_E_CORRUPT. */
int sat_meta_decode(struct sat_arena *a, const struct sat_table *t,
		    struct sat_slice meta, const struct sat_value *values,
		    struct sat_row *ret) SAT_MUST_CHECK;

/* Only the vectors, which is all that harvesting and contexts need. */
int sat_meta_vectors(struct sat_arena *a, struct sat_slice meta,
		     struct sat_vv *ret_vv,
		     struct sat_vv *ret_dv) SAT_MUST_CHECK;

/* Metadata for a receiver that may not read some columns (readable[i] false):
 * their dots, stamps and siblings are left out, the vectors stay. Appends to
 * out. SAT_OK, SAT_E_CORRUPT, SAT_E_NOMEM, SAT_E_LIMIT. */
int sat_meta_mask(struct sat_arena *a, const struct sat_table *t,
		  struct sat_slice meta, const struct sat_value *values,
		  const bool *readable, struct sat_buf *out) SAT_MUST_CHECK;

/* 128 bits, added mod 2^128 into digests. */
struct sat_hash {
	uint64_t low, high;
};

/* XXH3-128 over table no, id, metadata (masked to the read set already) and
 * the values in canonical form (PROTOCOL.md, "Row hash"). */
struct sat_hash sat_row_hash(const struct sat_table *t, const struct sat_id *id,
			     struct sat_slice meta,
			     const struct sat_value *values,
			     const bool *readable);

struct sat_hash sat_hash_bytes(struct sat_slice bytes);
void sat_hash_add(struct sat_hash *sum, struct sat_hash h);
void sat_hash_sub(struct sat_hash *sum, struct sat_hash h);
bool sat_hash_equal(struct sat_hash x, struct sat_hash y);
/* Big-endian 16 bytes: high, then low. */
void sat_hash_pack(struct sat_hash h, uint8_t out[16]);
struct sat_hash sat_hash_unpack(const uint8_t in[16]);

/* UUIDv8 from a hash of key: ids of derived rows (SYNC section 1). */
struct sat_id sat_id_derived(struct sat_slice key);

#endif
