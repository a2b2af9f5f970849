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

/* A row with something everywhere: siblings, a covered best, elements with
 * two dots, sums, deletes beside edits. */
static struct sat_row rich_row(struct sat_arena *a)
{
	struct sat_delta d = world_delta(a, SAT_OP_INSERT, "");
	struct sat_row row;

	for (int c = 0; c < COL_COUNT; c++) {
		if (c == COL_SET)
			world_set(a, &d, "a b", NULL);
		else
			world_write(a, &d, c, 3, 100);
	}
	assert_int_equal(sat_row_init(a, &world_table, &row), SAT_OK);
	world_apply(a, &row, &d, 1, 5);
	for (uint32_t replica = 7; replica <= 9; replica += 2) {
		d = world_delta(a, SAT_OP_UPDATE, "1:5");
		for (int c = 0; c < COL_COUNT; c++) {
			if (c == COL_SET)
				world_set(a, &d, "b c", "a");
			else
				world_write(a, &d, c, replica == 7 ? 2 : 1,
					    200 + replica);
		}
		world_apply(a, &row, &d, replica, 1);
	}
	d = world_delta(a, SAT_OP_DELETE, "1:5");
	d.stamp = 300;
	world_apply(a, &row, &d, 11, 4);
	return row;
}

static void test_empty(void **state)
{
	struct sat_row row;
	struct sat_conflict *c;

	(void)state;
	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	assert_false(sat_row_exists(&row));
	assert_false(sat_row_alive(&row));
	assert_int_equal(world_conflicts(&arena, &row, &c), 0);
	for (int i = 0; i < COL_COUNT; i++) {
		struct sat_value v = sat_value_int(99);

		assert_int_equal(sat_field_value(&arena,
						 &world_table.columns[i],
						 &row.fields[i], &v),
				 SAT_OK);
		/* nobody has counted: 0, so that n = n + 1 works */
		assert_int_equal(v.kind, i == COL_COUNTER ? SAT_INT : SAT_NULL);
		if (i == COL_COUNTER)
			assert_int_equal(v.i, 0);
	}
}

static void test_values(void **state)
{
	struct sat_row row = rich_row(&arena);
	struct sat_value v;

	(void)state;
	assert_true(sat_row_exists(&row));
	assert_true(sat_row_alive(&row));
	assert_int_equal(world_shown(&arena, &row, COL_LWW), 1);
	assert_int_equal(world_shown(&arena, &row, COL_KEEP), 1);
	assert_int_equal(world_shown(&arena, &row, COL_ORDERED), 2);
	assert_int_equal(world_shown(&arena, &row, COL_COUNTER), 6);
	assert_int_equal(world_shown(&arena, &row, COL_MAX), 3);
	assert_int_equal(world_shown(&arena, &row, COL_MIN), 1);
	assert_int_equal(world_shown(&arena, &row, COL_FIRST), 3);
	/* "b" has three dots and is shown once */
	assert_int_equal(row.fields[COL_SET].count, 5);
	assert_int_equal(sat_field_value(&arena, &world_table.columns[COL_SET],
					 &row.fields[COL_SET], &v),
			 SAT_OK);
	assert_true(sat_slice_equal(v.s, sat_slice_str("[\"b\",\"c\"]")));
}

static void test_totals(void **state)
{
	static const struct {
		int64_t sums[3];
		int64_t total;
		const char *why;
	} rows[] = {
		{ { 1, 2, 4 }, 7, "a sum" },
		{ { -1, 2, -4 }, -3, "below zero" },
		{ { INT64_MAX, 1, -1 }, INT64_MAX, "over the top and back" },
		{ { INT64_MIN, -1, 1 }, INT64_MIN, "under and back" },
		{ { INT64_MAX, INT64_MAX, 1 },
		  INT64_MAX,
		  "the largest there is" },
		{ { INT64_MIN, INT64_MIN, -1 }, INT64_MIN, "the smallest" },
		{ { INT64_MAX, INT64_MIN, -1 }, -2, "extremes that cancel" },
		{ { INT64_C(0xffffffff), 1, 1 },
		  INT64_C(0x100000001),
		  "carry between the halves" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_sum sums[3] = { { 7, rows[i].sums[0] },
					   { 9, rows[i].sums[1] },
					   { 11, rows[i].sums[2] } };
		struct sat_field f = { .sums = sums, .count = 3 };
		struct sat_value v;

		assert_int_equal(
			sat_field_value(&arena,
					&world_table.columns[COL_COUNTER], &f,
					&v),
			SAT_OK);
		if (v.kind != SAT_INT || v.i != rows[i].total)
			fail_msg("%s: %lld", rows[i].why, (long long)v.i);
	}
}

static void test_copy(void **state)
{
	struct sat_row row = rich_row(&arena), empty, copy;

	(void)state;
	assert_int_equal(sat_row_init(&arena, &world_table, &empty), SAT_OK);
	assert_int_equal(sat_row_copy(&arena, &world_table, &empty, &copy),
			 SAT_OK);
	assert_true(sat_row_equal(&world_table, &empty, &copy));
	assert_int_equal(sat_row_copy(&arena, &world_table, &row, &copy),
			 SAT_OK);
	assert_true(sat_row_equal(&world_table, &row, &copy));
	assert_true(copy.fields != row.fields);
	assert_true(copy.fields[COL_LWW].writes[0].value.s.ptr !=
		    row.fields[COL_LWW].writes[0].value.s.ptr);
	assert_true(copy.fields[COL_SET].elements[0].text.ptr !=
		    row.fields[COL_SET].elements[0].text.ptr);
}

/* Every difference between two states is seen. */
static void test_equal(void **state)
{
	struct sat_row base = rich_row(&arena), x;
	struct sat_dot *dots;

	(void)state;
#define DIFFERS(change)                                                \
	do {                                                           \
		assert_int_equal(                                      \
			sat_row_copy(&arena, &world_table, &base, &x), \
			SAT_OK);                                       \
		assert_true(sat_row_equal(&world_table, &base, &x));   \
		change;                                                \
		if (sat_row_equal(&world_table, &base, &x) ||          \
		    sat_row_equal(&world_table, &x, &base))            \
			fail_msg("not seen: %s", #change);             \
	} while (0)
	DIFFERS(dots = (struct sat_dot *)(uintptr_t)x.vv.dots; dots[0].seq++);
	DIFFERS(dots = (struct sat_dot *)(uintptr_t)x.vv.dots;
		dots[0].replica++);
	DIFFERS(x.vv.count--);
	DIFFERS(x.dv.count--);
	DIFFERS(x.delete_count--);
	DIFFERS(x.deletes[0].stamp++);
	DIFFERS(x.fields[COL_LWW].count--);
	DIFFERS(x.fields[COL_LWW].writes[0].dot.seq++);
	DIFFERS(x.fields[COL_KEEP].writes[1].stamp++);
	DIFFERS(x.fields[COL_KEEP].writes[1].resolves = true);
	DIFFERS(x.fields[COL_MAX].writes[0].covered = false);
	DIFFERS(x.fields[COL_LWW].writes[0].value = sat_value_null());
	DIFFERS(x.fields[COL_SET].elements[0].dot.seq++);
	DIFFERS(x.fields[COL_SET].elements[0].text.len = 0);
	DIFFERS(x.fields[COL_COUNTER].sums[0].sum++);
	DIFFERS(x.fields[COL_COUNTER].sums[0].replica++);
#undef DIFFERS
}

/* What the ledger must hold, apart from orders of arrival. */
static void test_conflicts(void **state)
{
	static const struct {
		int column, dot, losing, shown;
		uint32_t count;
		enum sat_conflict_state state;
	} want[] = {
		{ -1, 11, 0, 0, 1, SAT_CONFLICT_OPEN },
		{ COL_LWW, 7, 2, 1, 0, SAT_CONFLICT_AUTO },
		{ COL_LWW2, 7, 2, 1, 0, SAT_CONFLICT_AUTO },
		{ COL_KEEP, 7, 2, 1, 2, SAT_CONFLICT_OPEN },
		{ COL_ORDERED, 9, 1, 2, 0, SAT_CONFLICT_AUTO },
		{ COL_MAX, 7, 2, 3, 0, SAT_CONFLICT_AUTO },
		{ COL_MAX, 9, 1, 3, 0, SAT_CONFLICT_AUTO },
		{ COL_MIN, 7, 2, 1, 0, SAT_CONFLICT_AUTO },
		{ COL_FIRST, 7, 2, 3, 0, SAT_CONFLICT_AUTO },
		{ COL_FIRST, 9, 1, 3, 0, SAT_CONFLICT_AUTO },
	};
	struct sat_row row = rich_row(&arena);
	struct sat_conflict *c;

	(void)state;
	assert_int_equal(world_conflicts(&arena, &row, &c), SAT_COUNT_OF(want));
	for (size_t i = 0; i < SAT_COUNT_OF(want); i++) {
		assert_int_equal(c[i].column, want[i].column);
		assert_int_equal(c[i].dot.replica, want[i].dot);
		assert_int_equal(c[i].state, want[i].state);
		assert_int_equal(c[i].sibling_count, want[i].count);
		if (c[i].column < 0)
			continue;
		assert_int_equal(world_number(c[i].column, &c[i].losing.value),
				 want[i].losing);
		assert_int_equal(world_number(c[i].column, &c[i].shown.value),
				 want[i].shown);
	}
}

/* Out of memory at any allocation: the error, and nothing returned. */
static void test_no_memory(void **state)
{
	struct sat_row row = rich_row(&arena), copy = { .field_count = 77 };
	struct sat_conflict *c = NULL;
	struct sat_value v = sat_value_int(77);
	uint32_t n = 77;
	struct sat_arena small;
	size_t max;
	int rc;

	(void)state;
	for (max = 1, rc = SAT_E_NOMEM; rc != SAT_OK; max += 16) {
		sat_arena_init(&small, max);
		rc = sat_row_copy(&small, &world_table, &row, &copy);
		assert_true(rc == SAT_OK || rc == SAT_E_NOMEM);
		if (rc == SAT_OK)
			assert_true(sat_row_equal(&world_table, &row, &copy));
		else
			assert_int_equal(copy.field_count, 77);
		sat_arena_fini(&small);
	}
	assert_true(max > 1000); /* it did fail many times */
	for (max = 1, rc = SAT_E_NOMEM; rc != SAT_OK; max += 16) {
		sat_arena_init(&small, max);
		rc = sat_row_conflicts(&small, &world_table, &row, &c, &n);
		assert_true(rc == SAT_OK || rc == SAT_E_NOMEM);
		assert_int_equal(n, rc == SAT_OK ? 10 : 77);
		sat_arena_fini(&small);
	}
	for (max = 1, rc = SAT_E_NOMEM; rc != SAT_OK; max += 16) {
		sat_arena_init(&small, max);
		rc = sat_field_value(&small, &world_table.columns[COL_SET],
				     &row.fields[COL_SET], &v);
		assert_true(rc == SAT_OK || rc == SAT_E_NOMEM);
		assert_int_equal(v.kind, rc == SAT_OK ? SAT_TEXT : SAT_INT);
		sat_arena_fini(&small);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_totals),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
