/* value.h - one cell, and the 16-byte ids and dots that name things. PURE.
 *
 * A column's type (catalogue.h) fixes the kind of its values:
 *   id, ref          BLOB of 16 bytes      blobref           BLOB of 32 bytes
 *   int, bool, money, time (ms UTC), counter              INT
 *   real             REAL, never NaN       text, date ('2026-11-21'), enum
 *   (name of the value), json, geo ('LAT,LON', two decimals of 7 places) TEXT
 *   set              TEXT per element; a whole set is shown as a JSON array
 *                    of its distinct elements in byte order
 * Any column may be NULL. A device shows ids as lower-case UUID text and
 * blobrefs as hex; only client/replica knows that.
 */
#ifndef SAT_VALUE_H
#define SAT_VALUE_H

#include "common/buf.h"

struct sat_arena;

enum sat_kind { SAT_NULL, SAT_INT, SAT_REAL, SAT_TEXT, SAT_BLOB };

struct sat_value {
	enum sat_kind kind;
	union {
		int64_t i;
		double r;
		struct sat_slice s; /* TEXT, BLOB; borrowed */
	};
};

struct sat_id {
	uint8_t b[16];
};

/* Names one changeset for ever: replica and its dense seq from 1. */
struct sat_dot {
	uint32_t replica;
	uint64_t seq;
};

struct sat_value sat_value_null(void);
struct sat_value sat_value_int(int64_t i);
struct sat_value sat_value_real(double r);
struct sat_value sat_value_text(struct sat_slice s);
struct sat_value sat_value_blob(struct sat_slice s);
struct sat_value sat_value_id(const struct sat_id *id); /* borrows id */

/* Same kind and same content; NULL equals NULL. REAL by bit pattern, with
 * -0.0 taken as 0.0. */
bool sat_value_equal(const struct sat_value *a, const struct sat_value *b);

/* A total order: by kind, then by content. NULL is smallest. */
int sat_value_compare(const struct sat_value *a, const struct sat_value *b);

/* Copies text and blobs into the arena. SAT_OK or SAT_E_NOMEM. */
int sat_value_copy(struct sat_arena *a, const struct sat_value *v,
		   struct sat_value *ret) SAT_MUST_CHECK;

int sat_dot_compare(struct sat_dot a, struct sat_dot b);

#endif
