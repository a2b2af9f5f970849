#include "tests/sim/rng.h"

#include <stdlib.h>
#include <string.h>

#include "common/base.h"

uint64_t sim_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void sim_rng_seed(struct sim_rng *r, uint64_t seed)
{
	r->state = sim_mix(seed);
	r->len = r->at = 0;
	r->play = false;
	r->hash = 0;
}

void sim_rng_play(struct sim_rng *r)
{
	r->at = 0;
	r->play = true;
	r->hash = 0;
}

void sim_rng_load(struct sim_rng *r, const uint32_t *tape, size_t len)
{
	SAT_ASSERT(len <= r->cap);
	if (len > 0)
		memmove(r->tape, tape, len * sizeof *tape);
	r->len = len;
	sim_rng_play(r);
}

void sim_rng_fini(struct sim_rng *r)
{
	free(r->tape);
	r->tape = NULL;
	r->len = r->cap = 0;
}

uint32_t sim_rng_draw(void *arg, uint32_t bound)
{
	struct sim_rng *r = arg;
	uint32_t v;

	if (r->play) {
		v = r->at < r->len ? r->tape[r->at] % bound : 0;
		r->at++;
		return v;
	}
	r->state += 0x9e3779b97f4a7c15u;
	v = (uint32_t)(sim_mix(r->state) % bound);
	if (r->len == r->cap) {
		r->cap = r->cap == 0 ? 4096 : r->cap * 2;
		r->tape = realloc(r->tape, r->cap * sizeof *r->tape);
		SAT_ASSERT(r->tape != NULL);
	}
	r->tape[r->len++] = v;
	r->at++;
	return v;
}

void sim_rng_note(struct sim_rng *r, uint64_t what)
{
	r->hash = sim_mix(r->hash ^ what);
}
