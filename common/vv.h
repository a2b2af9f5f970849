/* vv.h - version vectors: replica -> highest seq whose effect is contained.
 *
 * PURE: no I/O, clock, randomness, globals; memory only from the arena given.
 * A vector is an array sorted by replica, without zero entries; {NULL, 0} is
 * the empty vector. Vectors are values: operations return new ones.
 */
#ifndef SAT_VV_H
#define SAT_VV_H

#include "common/arena.h"
#include "common/value.h"

enum { SAT_VV_ENTRIES_MAX = 4096 };

struct sat_vv {
	const struct sat_dot *dots; /* sorted by replica, seq >= 1 */
	uint32_t count;
};

/* Highest seq of the replica, 0 when absent. */
uint64_t sat_vv_get(struct sat_vv v, uint32_t replica);

/* Is the dot contained: v[dot.replica] >= dot.seq? */
bool sat_vv_covers(struct sat_vv v, struct sat_dot dot);

/* a <= b: b contains everything that a does. */
bool sat_vv_leq(struct sat_vv a, struct sat_vv b);

bool sat_vv_equal(struct sat_vv a, struct sat_vv b);

/* Least upper bound. SAT_OK, SAT_E_NOMEM, SAT_E_LIMIT (over 4,096 entries). */
int sat_vv_join(struct sat_arena *a, struct sat_vv x, struct sat_vv y,
		struct sat_vv *ret) SAT_MUST_CHECK;

/* v with v[dot.replica] = max(old, dot.seq). Errors as join. */
int sat_vv_with(struct sat_arena *a, struct sat_vv v, struct sat_dot dot,
		struct sat_vv *ret) SAT_MUST_CHECK;

/* Deep copy into the arena. */
int sat_vv_copy(struct sat_arena *a, struct sat_vv v,
		struct sat_vv *ret) SAT_MUST_CHECK;

/* Sorted, no duplicates, no zero seq, replica ids non-zero, within the limit:
 * what every vector from a peer or a file must pass. */
bool sat_vv_valid(struct sat_vv v);

#endif
