/* arena.h - memory that is freed in one go: per message, per row, per batch.
 *
 * Pointers stay valid until reset or fini. Not thread-safe.
 */
#ifndef SAT_ARENA_H
#define SAT_ARENA_H

#include "common/buf.h"

struct sat_arena_chunk;

struct sat_arena {
	struct sat_arena_chunk *head; /* newest chunk, NULL when empty       */
	size_t used;                  /* bytes handed out since the reset    */
	size_t max;                   /* bytes, fixed at init                */
};

/* Start empty; allocates nothing. max is the ceiling in bytes. */
void sat_arena_init(struct sat_arena *a, size_t max);

/* Release everything. Safe on a zeroed struct and safe to call twice. */
void sat_arena_fini(struct sat_arena *a);

/* Forget what was handed out; keeps one chunk, so a loop does not allocate. */
void sat_arena_reset(struct sat_arena *a);

/* n zeroed bytes aligned for any type; NULL at the ceiling or out of memory.
 * n == 0 gives a valid pointer. */
void *sat_arena_alloc(struct sat_arena *a, size_t n);

/* count * size zeroed bytes with the product checked; NULL as above. */
void *sat_arena_array(struct sat_arena *a, size_t count, size_t size);

/* A copy of s in the arena. Returns SAT_OK or SAT_E_NOMEM. */
int sat_arena_copy(struct sat_arena *a, struct sat_slice s,
		   struct sat_slice *ret) SAT_MUST_CHECK;

/* A NUL terminated copy of s; NULL when out of memory. */
char *sat_arena_string(struct sat_arena *a, struct sat_slice s);

#endif
