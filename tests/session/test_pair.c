/* Both sessions against each other: cuts at any message, power cuts around
 * any store, a full disk, changing rights and catalogues, rows that are deleted
 * and forgotten while the device is away. Whatever happens,
 * every changeset is applied once, every verdict stored once, and the rows
 * end equal.
 *
 *   test_session_pair            2,500 seeds
 *   test_session_pair 41         one seed
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#include "world.h"

static uint64_t first_seed = 1, seed_count = 2500;
static struct world w;

static void disturb(struct world *x)
{
	uint64_t size;

	switch (world_random(x, 30)) {
	case 0:
	case 1:
		size = world_random(x, 40);
		world_write(x, size == 0  ? 300000
			       : size < 4 ? 70000
					  : 1 + (size_t)world_random(x, 900));
		break;
	case 2:
	case 3:
		world_foreign(x, (uint32_t)world_random(x, WORLD_ROWS));
		break;
	case 4:
		if (world_random(x, 6) == 0)
			world_rights(x);
		break;
	case 5:
		if (world_random(x, 6) == 0)
			world_catalogue(x);
		break;
	case 6:
		if (world_random(x, 4) == 0)
			x->server.disk_full = !x->server.disk_full;
		break;
	case 8:
		if (world_random(x, 20) == 0)
			world_collect(x, (uint32_t)world_random(x, WORLD_ROWS));
		break;
	case 7:
	case 11:
		if (world_random(x, 3) == 0)
			world_damage(x, (uint32_t)world_random(x, WORLD_ROWS));
		break;
	case 9:
		world_notice(x);
		break;
	case 10:
		world_tick(x, world_random(x, 8000));
		break;
	default:
		break;
	}
}

static const char *run(uint64_t seed)
{
	world_init(&w, seed);
	w.faults = true;
	world_connect(&w);
	for (int i = 0; i < 1500 && w.broken == NULL; i++) {
		disturb(&w);
		(void)world_step(&w);
	}
	return w.broken != NULL ? w.broken : world_settle(&w);
}

static void nothing_lost_nothing_twice(void **state)
{
	uint64_t cuts = 0, fulls = 0, early = 0, pushes = 0, connects = 0;
	uint64_t rebases = 0;
	uint64_t damages = 0, repaired = 0, asks = 0;

	(void)state;
	for (uint64_t i = 0; i < seed_count; i++) {
		const char *why = run(first_seed + i);

		if (why != NULL)
			fail_msg("seed %llu: %s",
				 (unsigned long long)(first_seed + i), why);
		cuts += w.cuts;
		fulls += w.fulls;
		early += w.early;
		pushes += w.pushes_seen;
		connects += w.connects;
		rebases += w.rebases;
		damages += w.damages;
		repaired += w.repaired;
		asks += w.asks;
		world_fini(&w);
	}
	printf("seeds %llu connections %llu cuts %llu pushes %llu early %llu "
	       "full %llu damages %llu repaired %llu asks %llu\n",
	       (unsigned long long)seed_count, (unsigned long long)connects,
	       (unsigned long long)cuts, (unsigned long long)pushes,
	       (unsigned long long)early, (unsigned long long)fulls,
	       (unsigned long long)damages, (unsigned long long)repaired,
	       (unsigned long long)asks);
	/* A run in which nothing goes wrong would prove nothing. */
	if (seed_count > 100) {
		assert_true(cuts > seed_count);
		assert_true(fulls > 0 && early > 0);
		assert_true(rebases > seed_count / 4);
		assert_true(pushes > seed_count * 10);
		assert_true(repaired > seed_count / 2 && asks > repaired);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_lost_nothing_twice),
	};

	if (argc > 1) {
		first_seed = strtoull(argv[1], NULL, 0);
		seed_count = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
