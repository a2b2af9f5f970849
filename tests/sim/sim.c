/* sim - runs of the simulation.
 *
 *   sim [--seed N] [--count N] [--seconds N] [--trace] [--seeds FILE]
 */
#include "tests/sim/shrink.h"
#include "tests/sim/world.h"

#include "tests/sim/hooks.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIVENESS_MS = 120000 };

static uint32_t upto(uint64_t *s, uint32_t bound)
{
	*s += 0x9e3779b97f4a7c15u;
	return (uint32_t)(sim_mix(*s) % bound);
}

/* Half of the kinds of faults are off in each run: what one hides, another
 * run shows. */
static uint32_t maybe(uint64_t *s, uint32_t most)
{
	return upto(s, 2) == 0 ? 0 : 1 + upto(s, most);
}

static void draw_swarm(struct sim_swarm *o, uint64_t seed)
{
	static const int64_t skews[] = { 0, 60000, 3600000, 31536000000,
					 946080000000 };
	uint64_t s = sim_mix(seed ^ 0x5a5a);

	memset(o, 0, sizeof *o);
	o->devices = 3 + upto(&s, upto(&s, 4) == 0 ? 6 : 2);
	o->actions = 20 + upto(&s, upto(&s, 4) == 0 ? 140 : 40);
	o->pace_ms = 20 + upto(&s, 3000);
	o->cold = maybe(&s, 60);
	o->latency_ms = 1 + upto(&s, 400);
	o->split = maybe(&s, 6);
	o->cut = maybe(&s, 60);
	o->lose = maybe(&s, 30);
	o->hold = maybe(&s, 40);
	o->offline = maybe(&s, 50);
	o->dev_kill = maybe(&s, 40);
	o->dev_power = maybe(&s, 40);
	o->srv_kill = maybe(&s, 25);
	o->srv_power = maybe(&s, 25);
	o->full = maybe(&s, 15);
	o->eio = maybe(&s, 15);
	o->srv_full = maybe(&s, 12);
	o->srv_eio = maybe(&s, 25);
	o->notice_ms = 30 + maybe(&s, 15000);
	o->focus = maybe(&s, 4);
	o->step = maybe(&s, 50);
	o->admin = maybe(&s, 80);
	o->move = maybe(&s, 60);
	o->grant = maybe(&s, 80);
	o->remove = maybe(&s, 80);
	o->restore = upto(&s, 4) == 0 ? 1 + upto(&s, 60) : 0;
	o->skew_ms = skews[upto(&s, 5)];
}

static void phases(struct sim_world *w)
{
	char why[300] = "";
	uint64_t healed;
	bool again = false, closed = false;

	(void)sim_server_start(w);
	for (unsigned i = 0; i < w->count; i++) {
		struct sim_device *d = &w->devices[i];

		if (w->swarm.skew_ms != 0)
			d->machine.skew_ms = ((int64_t)sim_draw(3) - 1) *
					     (w->swarm.skew_ms + (int64_t)i);
		(void)sim_device_start(w, d);
	}
	for (uint32_t i = 0; i < w->swarm.actions && w->fail[0] == '\0'; i++) {
		sim_world_until(w, sim_now + sim_draw(w->swarm.pace_ms));
		if (w->fail[0] == '\0')
			sim_act(w);
	}
	sim_heal(w);
	healed = sim_now;
	do {
		sim_world_until(w, sim_now + 500);
		if (w->fail[0] != '\0')
			return;
		/* What was parked after a restore and is decided since is told
		 * with the next WELCOME. */
		if (w->srv.restores > 0 && sim_now > healed + 35000 &&
		    !closed) {
			closed = true;
			sim_close_window(w);
		}
		if (w->srv.restores > 0 && sim_now > healed + 40000 && !again) {
			again = true;
			for (unsigned i = 0; i < w->count; i++)
				sim_net_cut(&w->devices[i].keys);
		}
	} while (!sim_converged(w, why, sizeof why) &&
		 sim_now < healed + LIVENESS_MS);
	if (!sim_converged(w, why, sizeof why)) {
		sim_fail(w, "%s%s", why[0] == 'I' ? "" : "I17: ", why);
		return;
	}
	sim_check_end(w);
}

bool sim_run(struct sim_world *w, uint64_t seed)
{
	struct sim_swarm swarm;

	draw_swarm(&swarm, seed);
	return sim_run_with(w, seed, &swarm);
}

bool sim_run_with(struct sim_world *w, uint64_t seed,
		  const struct sim_swarm *swarm)
{
	w->swarm = *swarm;
	sim_net = (struct sim_net_options){ .latency_ms = w->swarm.latency_ms,
					    .split = w->swarm.split };
	sim_world_init(w, seed);
	phases(w);
	sim_rng_note(&w->rng, w->steps);
	sim_world_fini(w);
	return w->fail[0] == '\0';
}

static double seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

/* Seeds of a file, one at the start of each line; lines with # are text. */
static uint64_t replay(struct sim_world *w, const char *path)
{
	FILE *f = fopen(path, "r");
	uint64_t failed = 0, seed;
	char line[400];

	if (f == NULL) {
		(void)printf("%s cannot be read\n", path);
		return 1;
	}
	while (fgets(line, sizeof line, f) != NULL) {
		if (line[0] < '0' || line[0] > '9')
			continue;
		seed = strtoull(line, NULL, 10);
		sim_rng_seed(&w->rng, seed);
		if (sim_run(w, seed))
			continue;
		failed++;
		(void)printf("seed %lu: %s\n", (unsigned long)seed, w->fail);
	}
	(void)fclose(f);
	return failed;
}

static void usage(void)
{
	(void)puts(
		"usage: sim [--seed N] [--count N] [--trace]\n"
		"  --seed N    the first seed (1)\n"
		"  --count N   so many seeds (1)\n"
		"  --mutant N  with that bug (hooks.py list), until it shows\n"
		"  --shrink    make the first one that fails smaller, and "
		"trace it\n"
		"  --marks     say how many seeds reached which place\n"
		"  --trace     say what happens");
}

int main(int argc, char **argv)
{
	struct sim_world *w = calloc(1, sizeof *w);
	uint64_t seed = 1, count = 1, failed = 0, steps = 0, crashes = 0;
	bool until_failure = false, marks = false, shrink = false;
	const char *seeds = NULL;
	unsigned mutant;
	double began;

	SAT_ASSERT(w != NULL);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			seed = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc) {
			count = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--mutant") == 0 && i + 1 < argc) {
			sim_mutant = (unsigned)strtoul(argv[++i], NULL, 10);
			until_failure = true;
		} else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
			seeds = argv[++i];
		} else if (strcmp(argv[i], "--shrink") == 0) {
			until_failure = shrink = true;
		} else if (strcmp(argv[i], "--marks") == 0) {
			marks = true;
		} else if (strcmp(argv[i], "--trace") == 0) {
			w->trace = true;
		} else {
			usage();
			return strcmp(argv[i], "--help") == 0 ? 0 : 2;
		}
	}
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	(void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	began = seconds();
	mutant = sim_mutant;
	sim_mutant = 0; /* the image is sound */
	sim_template(w->trace);
	sim_mutant = mutant;
	sim_marks_clear();
	(void)printf("template %.2f s\n", seconds() - began);
	began = seconds();
	if (seeds != NULL)
		failed += replay(w, seeds);
	for (uint64_t i = 0; i < count; i++) {
		if (until_failure) /* it may not come back */
			(void)printf("at %lu\n", (unsigned long)(seed + i));
		sim_rng_seed(&w->rng, seed + i);
		if (!sim_run(w, seed + i)) {
			failed++;
			(void)printf("seed %lu: %s\n",
				     (unsigned long)(seed + i), w->fail);
			if (shrink)
				sim_shrink(w, seed + i);
		}
		sim_marks_seed();
		if (until_failure && failed > 0)
			break;
		steps += w->steps;
		crashes += w->crashes;
	}
	(void)printf("%lu seeds, %lu failed, %.1f a second, %lu steps, %lu"
		     " crashes, hash %016lx\n",
		     (unsigned long)count, (unsigned long)failed,
		     (double)count / (seconds() - began), (unsigned long)steps,
		     (unsigned long)crashes, (unsigned long)w->rng.hash);
	if (marks)
		sim_marks_report(count);
	sim_rng_fini(&w->rng);
	sim_ops_fini(&w->ops);
	free(w);
	sim_template_free();
	return failed == 0 ? 0 : 1;
}
