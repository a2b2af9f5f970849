/* changeset.h - a changeset as bytes: what is stored in the outbox, pushed in
 * parts, hashed into the chain and kept by the server. Columnar: deltas with
 * the same table, operation and set of columns form a group whose fields go
 * column by column, so that zstd finds what repeats. Order inside the
 * changeset is kept by the groups' order; at most one delta per row.
 */
#ifndef SAT_CHANGESET_H
#define SAT_CHANGESET_H

#include "common/arena.h"
#include "common/delta.h"

enum {
	SAT_CHANGESET_BYTES_MAX = 64 * 1024 * 1024,
	SAT_CHANGESET_DELTAS_MAX = 1000000,
};

/* Append the encoded changeset to out (a buffer that allows 64 MiB). Groups
 * adjacent deltas only, so sort by table first for small output; the order
 * of deltas is what first_seq + i counts. SAT_OK, SAT_E_LIMIT, SAT_E_NOMEM,
 * SAT_E_INVAL (a value that is not of its column's kind). */
int sat_changeset_encode(const struct sat_changeset *cs,
			 struct sat_buf *out) SAT_MUST_CHECK;

/* Decode and check everything that can be checked without a store: columns
 * exist and are not repeated, values are acceptable for their columns
 * (sat_column_accepts), vectors valid, at most one delta per row, sizes.
 * Borrows text and blobs from bytes; the rest goes to the arena.
 * SAT_OK, SAT_E_PROTO (with a sentence), SAT_E_LIMIT, SAT_E_NOMEM,
 * SAT_E_INVAL (well formed, but a value its column refuses), SAT_E_NEWER
 * (well formed, but a table or column that the catalogue does not have).
 * *ret_where, may be NULL, tells where a failure after the header was: delta
 * index, column index or -1. Memory: sizeof(struct sat_delta) per delta and
 * sizeof(struct sat_change) per change, so prefer the reader below when the
 * deltas are not all needed at once. */
struct sat_changeset_where {
	uint32_t delta;
	int column;
	const struct sat_table *table; /* SAT_E_INVAL only, else NULL */
	struct sat_id id;              /* ... and the row in it       */
};
int sat_changeset_decode(const struct sat_catalogue *c, struct sat_slice bytes,
			 struct sat_arena *a, struct sat_changeset *ret,
			 struct sat_changeset_where *ret_where,
			 struct sat_err *err) SAT_MUST_CHECK;

/* The same, one delta at a time. Opening checks the shape of the whole value
 * and reads the header (ret->deltas stays NULL); each step checks one delta.
 * State and dictionaries go to the arena given at opening: at most 32 bytes
 * per encoded byte and 64 KiB. A delta borrows from both arenas and from
 * bytes; the arena given to next may be reset between steps. */
struct sat_changeset_reader;
int sat_changeset_open(const struct sat_catalogue *c, struct sat_slice bytes,
		       struct sat_arena *a, struct sat_changeset *ret_head,
		       struct sat_changeset_reader **ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* SAT_OK with *ret; SAT_AGAIN: that was all of them, and all is well; errors
 * as sat_changeset_decode, after which the reader gives the same again. */
int sat_changeset_next(struct sat_changeset_reader *r, struct sat_arena *a,
		       struct sat_delta *ret,
		       struct sat_changeset_where *ret_where,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Only the header: dot, prev_hash, catalogue, marker, flags, delta_count. */
int sat_changeset_head(struct sat_slice bytes, struct sat_changeset *ret,
		       struct sat_err *err) SAT_MUST_CHECK;

#endif
