/* rng.h - the draws of a run: made from a seed, or played from a tape. */
#ifndef SAT_SIM_RNG_H
#define SAT_SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_rng {
	uint64_t state;
	uint32_t *tape; /* every draw so far, or those to play */
	size_t len, cap, at;
	bool play;
	uint64_t hash; /* of what happened: equal runs have equal ones */
};

void sim_rng_seed(struct sim_rng *r, uint64_t seed);
/* Play the tape that is there; behind its end everything is 0. */
void sim_rng_play(struct sim_rng *r);
/* Have this tape played. */
void sim_rng_load(struct sim_rng *r, const uint32_t *tape, size_t len);
void sim_rng_fini(struct sim_rng *r);
uint32_t sim_rng_draw(void *r, uint32_t bound);
uint64_t sim_mix(uint64_t x);
void sim_rng_note(struct sim_rng *r, uint64_t what);

#endif
