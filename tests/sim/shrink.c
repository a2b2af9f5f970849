/* Making a run that fails smaller: first the kinds of faults, then the number
 * of actions, then the draws themselves. What fails must stay the same. */
#include "tests/sim/shrink.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 400, CHUNK_LEAST = 8 };

struct shrink {
	struct sim_world *w;
	uint64_t seed;
	struct sim_swarm swarm;
	uint32_t *tape;
	size_t len;
	char what[16]; /* "I3", "I17", ... */
	unsigned runs;
};

static void kind_of(const char *fail, char out[16])
{
	size_t n = strcspn(fail, ":");

	if (n > 15)
		n = 15;
	memcpy(out, fail, n);
	out[n] = '\0';
}

/* Does it fail in the same way, with these options and draws? */
static bool still(struct shrink *s, const struct sim_swarm *swarm,
		  const uint32_t *tape, size_t len)
{
	struct sim_rng *r = &s->w->rng;
	char what[16];

	if (s->runs >= RUNS_MAX)
		return false;
	s->runs++;
	sim_rng_load(r, tape, len);
	if (sim_run_with(s->w, s->seed, swarm))
		return false;
	kind_of(s->w->fail, what);
	return strcmp(what, s->what) == 0;
}

static void try_option(struct shrink *s, size_t offset, uint32_t value)
{
	struct sim_swarm swarm = s->swarm;
	uint32_t *field = (uint32_t *)(void *)((char *)&swarm + offset);

	if (*field <= value)
		return;
	*field = value;
	if (still(s, &swarm, s->tape, s->len))
		s->swarm = swarm;
}

static void fewer_options(struct shrink *s)
{
	static const size_t faults[] = {
		offsetof(struct sim_swarm, cut),
		offsetof(struct sim_swarm, lose),
		offsetof(struct sim_swarm, hold),
		offsetof(struct sim_swarm, offline),
		offsetof(struct sim_swarm, dev_kill),
		offsetof(struct sim_swarm, dev_power),
		offsetof(struct sim_swarm, srv_kill),
		offsetof(struct sim_swarm, srv_power),
		offsetof(struct sim_swarm, full),
		offsetof(struct sim_swarm, eio),
		offsetof(struct sim_swarm, srv_full),
		offsetof(struct sim_swarm, srv_eio),
		offsetof(struct sim_swarm, step),
		offsetof(struct sim_swarm, admin),
		offsetof(struct sim_swarm, move),
		offsetof(struct sim_swarm, grant),
		offsetof(struct sim_swarm, remove),
		offsetof(struct sim_swarm, restore),
		offsetof(struct sim_swarm, cold),
		offsetof(struct sim_swarm, split),
	};

	for (size_t i = 0; i < SAT_COUNT_OF(faults); i++)
		try_option(s, faults[i], 0);
	for (uint32_t n = s->swarm.devices - 1; n >= 2; n--)
		try_option(s, offsetof(struct sim_swarm, devices), n);
	for (uint32_t n = s->swarm.actions / 2; n >= 1; n /= 2)
		try_option(s, offsetof(struct sim_swarm, actions),
			   s->swarm.actions - n);
}

/* Draws of 0 do no harm: as many of them as possible. */
static void fewer_draws(struct shrink *s)
{
	uint32_t *tape = malloc((s->len + 1) * sizeof *tape);

	SAT_ASSERT(tape != NULL);
	for (size_t chunk = s->len / 2; chunk >= CHUNK_LEAST; chunk /= 2) {
		for (size_t at = 0; at < s->len; at += chunk) {
			size_t n = s->len - at < chunk ? s->len - at : chunk;

			memcpy(tape, s->tape, s->len * sizeof *tape);
			memset(tape + at, 0, n * sizeof *tape);
			if (memcmp(tape, s->tape, s->len * sizeof *tape) != 0 &&
			    still(s, &s->swarm, tape, s->len))
				memcpy(s->tape, tape, s->len * sizeof *tape);
		}
	}
	free(tape);
}

void sim_shrink(struct sim_world *w, uint64_t seed)
{
	struct shrink s = { .w = w, .seed = seed, .swarm = w->swarm };
	bool trace = w->trace;
	size_t left = 0;

	kind_of(w->fail, s.what);
	s.len = w->rng.len;
	s.tape = malloc((s.len + 1) * sizeof *s.tape);
	SAT_ASSERT(s.tape != NULL);
	memcpy(s.tape, w->rng.tape, s.len * sizeof *s.tape);
	w->trace = false;
	fewer_options(&s);
	fewer_draws(&s);
	for (size_t i = 0; i < s.len; i++)
		left += s.tape[i] != 0;
	w->trace = true;
	s.runs = 0;
	(void)still(&s, &s.swarm, s.tape, s.len);
	w->trace = trace;
	(void)printf("%u devices, %u actions, %lu draws that matter: %s\n",
		     s.swarm.devices, s.swarm.actions, (unsigned long)left,
		     w->fail);
	free(s.tape);
}
