/* sat_delta_stamp: SYNC section 2, on states. */
#include "tests/merge/world.h"

#define AT(ms) ((uint64_t)(ms) << 16)

static struct sat_arena arena;
static const struct sat_clock_map right_clock = { 0, NULL, 0 };

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

/* lww v1 by (1,5) at 100 ms, keep v1 likewise, and by (7,1) at 300 ms keep v2
 * and a delete of (7,2) at 310 ms. */
static struct sat_row base_row(void)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_INSERT, "");
	struct sat_row row;

	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	world_write(&arena, &d, COL_LWW, 1, AT(100));
	world_write(&arena, &d, COL_KEEP, 1, AT(100));
	world_write(&arena, &d, COL_COUNTER, 1, 0);
	world_set(&arena, &d, "a", NULL);
	world_apply(&arena, &row, &d, 1, 5);
	d = world_delta(&arena, SAT_OP_UPDATE, "1:5");
	world_write(&arena, &d, COL_KEEP, 2, AT(300));
	world_apply(&arena, &row, &d, 7, 1);
	d = world_delta(&arena, SAT_OP_DELETE, "1:5 7:1");
	d.stamp = AT(310);
	world_apply(&arena, &row, &d, 7, 2);
	return row;
}

static void test_stamps(void **state)
{
	static const struct {
		uint32_t author;
		const char *context;
		int column;
		int64_t at_ms;
		uint64_t replaced, ceiling, want;
		bool clamped;
		const char *why;
	} rows[] = {
		{ 9, "1:5", COL_LWW, 200, AT(100), AT(1000), AT(200), false,
		  "as written" },
		{ 9, "1:5", COL_LWW, 50, 0, AT(1000), AT(100) + 1, false,
		  "after what the context covers, even unsaid" },
		{ 9, "", COL_LWW, 50, 0, AT(1000), AT(50), false,
		  "but not after what its author had not seen" },
		{ 9, "1:5", COL_LWW, 50, AT(400), AT(1000), AT(400) + 1, false,
		  "after what the author replaced, gone from the state" },
		{ 9, "1:5", COL_LWW, 5000, 0, AT(1000), AT(1000), true,
		  "not beyond the server's now" },
		{ 9, "1:5", COL_LWW, 50, UINT64_MAX, AT(1000), AT(1000), true,
		  "a peer's word cannot lift it above" },
		{ 9, "", COL_LWW, 50, 7, 0, 0, true, "an empty clock" },
		{ 7, "1:5 7:2", COL_LWW, 200, AT(100), AT(1000), AT(310) + 1,
		  false, "after the author's own last, a delete" },
		{ 1, "1:5", COL_LWW2, 20, 0, AT(1000), AT(100) + 1, false,
		  "after the author's own last, another column" },
		{ 9, "1:5 7:1", COL_KEEP, 200, 0, AT(1000), AT(300) + 1, false,
		  "after the largest of the siblings" },
		{ 9, "1:5", COL_COUNTER, 200, 0, AT(1000), AT(200), false,
		  "a counter replaces nothing" },
		{ 9, "1:5", COL_SET, 200, 0, AT(1000), AT(200), false,
		  "nor does a set" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_row row = base_row();
		struct sat_delta d =
			world_delta(&arena, SAT_OP_UPDATE, rows[i].context);
		struct sat_change *c =
			world_write(&arena, &d, rows[i].column, 1, 0);
		bool clamped;

		c->at_ms = d.at_ms = rows[i].at_ms;
		c->replaced = rows[i].replaced;
		sat_delta_stamp(&d, (struct sat_dot){ rows[i].author, 9 }, &row,
				&right_clock, rows[i].ceiling, &clamped);
		if (c->stamp != rows[i].want || clamped != rows[i].clamped ||
		    d.stamp < c->stamp)
			fail_msg("%s: %llu.%llu%s", rows[i].why,
				 (unsigned long long)c->stamp >> 16,
				 (unsigned long long)c->stamp & 0xffff,
				 clamped ? ", clamped" : "");
	}
}

/* A delete has no field, only the stamp of the whole. */
static void test_delete(void **state)
{
	struct sat_row row = base_row();
	struct sat_delta d = world_delta(&arena, SAT_OP_DELETE, "1:5");
	bool clamped;

	(void)state;
	d.at_ms = 500;
	sat_delta_stamp(&d, (struct sat_dot){ 9, 1 }, &row, &right_clock,
			AT(1000), &clamped);
	assert_int_equal(d.stamp, AT(500));
	assert_false(clamped);
	d.at_ms = 2000;
	sat_delta_stamp(&d, (struct sat_dot){ 9, 1 }, &row, &right_clock,
			AT(1000), &clamped);
	assert_int_equal(d.stamp, AT(1000));
	assert_true(clamped);
}

/* One field in the future is enough to tell the device that it was corrected.
 */
static void test_one_clamped(void **state)
{
	struct sat_row row = base_row();
	struct sat_delta d = world_delta(&arena, SAT_OP_UPDATE, "1:5");
	bool clamped;

	(void)state;
	d.at_ms = 500;
	world_write(&arena, &d, COL_LWW, 1, 0)->at_ms = 2000;
	world_write(&arena, &d, COL_LWW2, 1, 0)->at_ms = 500;
	sat_delta_stamp(&d, (struct sat_dot){ 9, 1 }, &row, &right_clock,
			AT(1000), &clamped);
	assert_true(clamped);
	assert_int_equal(d.changes[0].stamp, AT(1000));
	assert_int_equal(d.changes[1].stamp, AT(500));
	assert_int_equal(d.stamp, AT(1000));
}

/* A column that does not exist is not looked up; applying refuses it. */
static void test_no_column(void **state)
{
	struct sat_row row = base_row();
	struct sat_delta d = world_delta(&arena, SAT_OP_UPDATE, "1:5");
	struct sat_change *c = world_write(&arena, &d, COL_LWW, 1, 0);
	enum sat_merge_outcome outcome;
	bool clamped;

	(void)state;
	c->column = UINT16_MAX;
	c->at_ms = 5000;
	d.at_ms = 500;
	sat_delta_stamp(&d, (struct sat_dot){ 9, 1 }, &row, &right_clock,
			AT(1000), &clamped);
	assert_int_equal(d.stamp, AT(500));
	assert_int_equal(sat_merge_apply(&arena, &row, &d,
					 (struct sat_dot){ 9, 1 }, &outcome),
			 SAT_E_INVAL);
}

/* The device computes what the server will, when nothing came between. */
static void test_device_agrees(void **state)
{
	struct sat_row row = base_row();
	struct sat_clock_map map = { -3600000, NULL, 0 };
	uint64_t device;
	bool clamped;

	(void)state;
	for (int64_t at = 3600000; at < 3601000; at += 50) {
		struct sat_delta d =
			world_delta(&arena, SAT_OP_UPDATE, "1:5 7:2");

		world_write(&arena, &d, COL_LWW, 1, 0)->at_ms = at;
		d.at_ms = at;
		sat_delta_stamp(&d, (struct sat_dot){ 9, 1 }, &row, &map,
				UINT64_MAX, &clamped);
		assert_false(clamped);
		device = d.changes[0].stamp;
		sat_delta_stamp(&d, (struct sat_dot){ 9, 1 }, &row, &map,
				AT(500), &clamped);
		assert_int_equal(clamped, device != d.changes[0].stamp);
		assert_int_equal(clamped, at - 3600000 > 500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stamps),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_one_clamped),
		cmocka_unit_test(test_no_column),
		cmocka_unit_test(test_device_agrees),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
