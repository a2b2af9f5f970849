/* A whole patch changes hands in one commit: children follow, places and
 * digests hold. Prints how long the commit keeps others waiting; with
 * SAT_NIGHTLY=1 at the size of a real patch (10,000 accounts with 200,000
 * visits), else at a fiftieth of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/engine/engine_fixture.h"

enum { VISITS_EACH = 20, BATCH = 500 };

static struct world w, *world = &w;

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void insert(const struct sat_table *t, const struct sat_id *id,
		   const uint16_t *columns, const struct sat_value *values,
		   uint32_t count)
{
	struct sat_local_write lw = { .op = SAT_OP_INSERT,
				      .table = t,
				      .id = *id,
				      .columns = columns,
				      .values = values,
				      .column_count = count };
	struct sat_err err;
	uint32_t bad;

	assert_int_equal(sat_engine_local(w.engine, &lw, 1, &bad, &err),
			 SAT_OK);
}

static uint16_t col(const struct sat_table *t, const char *name)
{
	int c = sat_table_column(t, sat_slice_str(name));

	assert_true(c >= 0);
	return (uint16_t)c;
}

/* Accounts of t1 with their visits. */
static struct sat_id *fill(uint32_t accounts)
{
	const struct sat_table *a = table(world, "account");
	const struct sat_table *v = table(world, "visit");
	const uint16_t ac[] = { col(a, "name"), col(a, "territory_id") };
	const uint16_t vc[] = { col(v, "account_id"), col(v, "territory_id"),
				col(v, "user_id"), col(v, "notes") };
	struct sat_id *ids = calloc(accounts, sizeof *ids), visit;

	assert_non_null(ids);
	for (uint32_t i = 0; i < accounts; i++) {
		struct sat_value av[] = { text("Account"), idv(&w.t1) };

		if (i % BATCH == 0)
			group_begin(world);
		ids[i] = new_id(world);
		insert(a, &ids[i], ac, av, 2);
		for (int k = 0; k < VISITS_EACH; k++) {
			struct sat_value vv[] = { idv(&ids[i]), idv(&w.t1),
						  idv(&w.ann), text("seen") };

			visit = new_id(world);
			insert(v, &visit, vc, vv, 4);
		}
		if (i % BATCH == BATCH - 1 || i == accounts - 1)
			(void)group_commit(world);
	}
	return ids;
}

static void a_patch_changes_hands(void **state)
{
	uint32_t n = getenv("SAT_NIGHTLY") != NULL ? 10000 : 200;
	const struct sat_table *a = table(world, "account");
	const uint16_t c[] = { col(a, "territory_id") };
	struct sat_id *ids = fill(n);
	uint32_t s2 = scope_of(world, &w.t2), bad;
	struct sat_value to[] = { idv(&w.t2) };
	struct sat_hash h;
	struct sat_err err;
	uint64_t rows;
	double from;

	(void)state;
	from = now_s();
	group_begin(world);
	for (uint32_t i = 0; i < n; i++) {
		struct sat_local_write lw = { .op = SAT_OP_UPDATE,
					      .table = a,
					      .id = ids[i],
					      .columns = c,
					      .values = to,
					      .column_count = 1 };

		assert_int_equal(sat_engine_local(w.engine, &lw, 1, &bad, &err),
				 SAT_OK);
	}
	(void)group_commit(world);
	from = now_s() - from;
	printf("%u accounts with %u visits handed over in %.2f s: %.0f "
	       "rows/s\n",
	       n, n * VISITS_EACH, from, n * (1 + VISITS_EACH) / from);
	assert_int_equal(sat_store_digest_get(w.store, s2, SAT_ROLE_REP, &h,
					      &rows, &err),
			 SAT_OK);
	/* and a figure each for the day's accounts and visits */
	assert_int_equal(rows, n * (1 + VISITS_EACH) + 2);
	check_digests(world);
	check_feed(world);
	free(ids);
}

static int setup(void **state)
{
	(void)state;
	world_open(world);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_close(world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_patch_changes_hands, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
