#include "tests/unit/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/meta.h"
#include "proto/pack.h"

#include "proto/changeset_keys.h"

enum { ARENA_BYTES = 512 * 1024 * 1024 };

struct bench {
	struct sat_arena a, b;
	struct sat_buf out;
	struct sat_err err;
};

static void up(struct bench *t)
{
	sat_arena_init(&t->a, ARENA_BYTES);
	sat_arena_init(&t->b, ARENA_BYTES);
	sat_buf_init(&t->out, SAT_CHANGESET_BYTES_MAX);
	memset(&t->err, 0, sizeof t->err);
}

static void down(struct bench *t)
{
	sat_arena_fini(&t->a);
	sat_arena_fini(&t->b);
	sat_buf_fini(&t->out);
}

static void expect_same(struct bench *t, const struct sat_changeset *cs)
{
	struct sat_changeset back;
	struct sat_changeset_where where;

	sat_buf_clear(&t->out);
	assert_int_equal(sat_changeset_encode(cs, &t->out), SAT_OK);
	if (sat_changeset_decode(&fx_catalogue, sat_buf_peek(&t->out), &t->b,
				 &back, &where, &t->err) != SAT_OK)
		fail_msg("%s", t->err.msg);
	fx_same_changeset(cs, &back);
}

static void visits_come_back(void **state)
{
	struct fx_rng g = { 1 };
	struct sat_changeset cs;
	struct bench t;

	(void)state;
	up(&t);
	for (uint32_t n = 0; n < 40; n += 1 + n / 3) {
		fx_visits(&t.a, &g, n, false, &cs);
		expect_same(&t, &cs);
		fx_visits(&t.a, &g, n, true, &cs);
		expect_same(&t, &cs);
	}
	down(&t);
}

static void anything_comes_back(void **state)
{
	struct sat_changeset cs;
	struct fx_rng g;
	struct bench t;

	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		g.state = seed;
		up(&t);
		fx_wild(&t.a, &g, fx_below(&g, 60), &cs);
		expect_same(&t, &cs);
		down(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(visits_come_back),
		cmocka_unit_test(anything_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
