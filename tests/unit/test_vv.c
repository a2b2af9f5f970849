#include "tests/merge/world.h"

static struct sat_arena arena;

static int setup(void **state)
{
	(void)state;
	sat_arena_init(&arena, 8 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sat_arena_fini(&arena);
	return 0;
}

static const struct {
	const char *a, *b, *join;
	bool leq, geq;
	const char *why;
} pairs[] = {
	{ "", "", "", true, true, "two empty vectors" },
	{ "", "1:5", "1:5", true, false, "empty is below everything" },
	{ "1:5", "1:5", "1:5", true, true, "the same" },
	{ "1:4", "1:5", "1:5", true, false, "one replica, older" },
	{ "1:5", "7:1", "1:5 7:1", false, false, "beside each other" },
	{ "1:5 9:1", "1:5 7:1 9:1", "1:5 7:1 9:1", true, false, "a gap" },
	{ "1:5 7:2", "1:6 7:1", "1:6 7:2", false, false, "crosswise" },
	{ "3:1 8:1", "2:1 9:1", "2:1 3:1 8:1 9:1", false, false, "woven" },
	{ "1:1 2:2 3:3", "2:2", "1:1 2:2 3:3", false, true, "one in three" },
	{ "4294967295:1", "1:18446744073709551615",
	  "1:18446744073709551615 4294967295:1", false, false, "extremes" },
};

static void test_pairs(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(pairs); i++) {
		struct sat_vv a = world_vv(&arena, pairs[i].a);
		struct sat_vv b = world_vv(&arena, pairs[i].b);
		struct sat_vv want = world_vv(&arena, pairs[i].join), x, y;

		assert_int_equal(sat_vv_join(&arena, a, b, &x), SAT_OK);
		assert_int_equal(sat_vv_join(&arena, b, a, &y), SAT_OK);
		if (!sat_vv_equal(x, want) || !sat_vv_equal(y, want) ||
		    sat_vv_leq(a, b) != pairs[i].leq ||
		    sat_vv_leq(b, a) != pairs[i].geq ||
		    sat_vv_equal(a, b) != (pairs[i].leq && pairs[i].geq))
			fail_msg("%s", pairs[i].why);
		assert_true(sat_vv_valid(x));
		assert_int_equal(sat_vv_copy(&arena, x, &y), SAT_OK);
		assert_true(sat_vv_equal(x, y));
		assert_true(x.count == 0 || x.dots != y.dots);
	}
}

static void test_lookup(void **state)
{
	struct sat_vv v = world_vv(&arena, "2:5 7:1 9:3"), w;

	(void)state;
	assert_int_equal(sat_vv_get(v, 1), 0);
	assert_int_equal(sat_vv_get(v, 2), 5);
	assert_int_equal(sat_vv_get(v, 7), 1);
	assert_int_equal(sat_vv_get(v, 8), 0);
	assert_int_equal(sat_vv_get(v, 9), 3);
	assert_int_equal(sat_vv_get(v, 10), 0);
	assert_true(sat_vv_covers(v, (struct sat_dot){ 2, 5 }));
	assert_true(sat_vv_covers(v, (struct sat_dot){ 2, 1 }));
	assert_false(sat_vv_covers(v, (struct sat_dot){ 2, 6 }));
	assert_false(sat_vv_covers(v, (struct sat_dot){ 8, 1 }));
	assert_int_equal(sat_vv_with(&arena, v, (struct sat_dot){ 7, 4 }, &w),
			 SAT_OK);
	assert_true(sat_vv_equal(w, world_vv(&arena, "2:5 7:4 9:3")));
	/* the older dot changes nothing, and v itself never changes */
	assert_int_equal(sat_vv_with(&arena, w, (struct sat_dot){ 7, 2 }, &w),
			 SAT_OK);
	assert_int_equal(sat_vv_get(w, 7), 4);
	assert_int_equal(sat_vv_get(v, 7), 1);
}

static void test_valid(void **state)
{
	static const struct {
		const char *text;
		bool valid;
		const char *why;
	} rows[] = {
		{ "", true, "empty" },
		{ "1:1 2:1", true, "rising" },
		{ "2:1 1:1", false, "falling" },
		{ "1:1 1:2", false, "twice the same replica" },
		{ "0:1", false, "replica 0 is nobody" },
		{ "1:0", false, "seq counts from 1" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		if (sat_vv_valid(world_vv(&arena, rows[i].text)) !=
		    rows[i].valid)
			fail_msg("%s", rows[i].why);
	}
}

static void test_limit(void **state)
{
	struct sat_dot *dots =
		sat_arena_array(&arena, SAT_VV_ENTRIES_MAX + 1, sizeof *dots);
	struct sat_vv full = { dots, SAT_VV_ENTRIES_MAX }, ret;
	struct sat_vv over = { dots, SAT_VV_ENTRIES_MAX + 1 };

	(void)state;
	assert_non_null(dots);
	for (uint32_t i = 0; i <= SAT_VV_ENTRIES_MAX; i++)
		dots[i] = (struct sat_dot){ 2 * i + 2, 1 };
	assert_true(sat_vv_valid(full));
	assert_false(sat_vv_valid(over));
	/* a known replica still fits, a new one does not */
	assert_int_equal(
		sat_vv_with(&arena, full, (struct sat_dot){ 2, 9 }, &ret),
		SAT_OK);
	assert_int_equal(sat_vv_get(ret, 2), 9);
	assert_int_equal(
		sat_vv_with(&arena, full, (struct sat_dot){ 3, 1 }, &ret),
		SAT_E_LIMIT);
	assert_int_equal(sat_vv_get(ret, 2), 9);
}

static void test_no_memory(void **state)
{
	struct sat_vv v = world_vv(&arena, "1:1"), ret = v;
	struct sat_arena none;

	(void)state;
	sat_arena_init(&none, 1);
	assert_int_equal(sat_vv_copy(&none, v, &ret), SAT_E_NOMEM);
	assert_int_equal(sat_vv_join(&none, v, v, &ret), SAT_E_NOMEM);
	assert_ptr_equal(ret.dots, v.dots);
	sat_arena_fini(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),     cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_valid),     cmocka_unit_test(test_limit),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
