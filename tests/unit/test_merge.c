#include "tests/merge/world.h"

static struct sat_arena arena;

static int setup(void **state)
{
	(void)state;
	sat_arena_init(&arena, 64 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sat_arena_fini(&arena);
	return 0;
}

static void remove_row(struct sat_row *row, uint32_t replica, uint64_t seq,
		       const char *context)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_DELETE, context);

	d.stamp = 50;
	world_apply(&arena, row, &d, replica, seq);
}

static void edit_row(struct sat_row *row, uint32_t replica, uint64_t seq,
		     const char *context)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_UPDATE, context);

	world_write(&arena, &d, COL_LWW, 2, 40);
	world_apply(&arena, row, &d, replica, seq);
}

static struct sat_row new_row(void)
{
	struct sat_row row;

	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	edit_row(&row, 1, 5, "");
	return row;
}

static void test_deletes(void **state)
{
	struct sat_row row = new_row();
	struct sat_conflict *c;

	(void)state;
	remove_row(&row, 7, 1, "1:5");
	assert_false(sat_row_alive(&row));
	assert_true(sat_row_exists(&row));
	/* its values stay until it is collected */
	assert_int_equal(world_shown(&arena, &row, COL_LWW), 2);
	assert_int_equal(world_conflicts(&arena, &row, &c), 0);

	/* an edit by one who had not seen the delete: alive, a question */
	edit_row(&row, 9, 1, "1:5");
	assert_true(sat_row_alive(&row));
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(c[0].column, -1);

	/* deleting again by one who had seen it all answers the question */
	remove_row(&row, 11, 1, "1:5 7:1 9:1");
	assert_false(sat_row_alive(&row));
	assert_int_equal(row.delete_count, 1);
	assert_int_equal(row.deletes[0].dot.replica, 11);

	/* who edits with the delete in his context has revived the row */
	edit_row(&row, 9, 2, "1:5 7:1 9:1 11:1");
	assert_true(sat_row_alive(&row));
	assert_int_equal(row.delete_count, 0);
	assert_int_equal(world_conflicts(&arena, &row, &c), 0);
	assert_true(sat_vv_leq(row.dv, row.vv));
}

static void test_two_deletes(void **state)
{
	struct sat_row row = new_row();
	struct sat_conflict *c;

	(void)state;
	remove_row(&row, 9, 3, "1:5");
	remove_row(&row, 7, 1, "1:5");
	assert_false(sat_row_alive(&row));
	assert_int_equal(row.delete_count, 2);
	/* in the order of dots, whichever came first */
	assert_int_equal(row.deletes[0].dot.replica, 7);
	edit_row(&row, 11, 1, "1:5");
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(c[0].dot.replica, 7);
	assert_int_equal(c[0].sibling_count, 2);
	/* an update without any field answers as well: it says "I saw it" */
	struct sat_delta d =
		world_delta(&arena, SAT_OP_UPDATE, "1:5 7:1 9:3 11:1");
	world_apply(&arena, &row, &d, 11, 2);
	assert_int_equal(row.delete_count, 0);
	assert_true(sat_row_alive(&row));
}

static int try_apply(struct sat_row *row, const struct sat_delta *d,
		     uint32_t replica, uint64_t seq)
{
	struct sat_row before = *row;
	struct sat_dot dot = { replica, seq };
	enum sat_merge_outcome outcome = (enum sat_merge_outcome)77;
	int rc = sat_merge_apply(&arena, row, d, dot, &outcome);

	if (rc != SAT_OK) {
		assert_memory_equal(&before, row, sizeof before);
		assert_int_equal(outcome, 77);
	}
	return rc;
}

static void test_contexts(void **state)
{
	static const struct {
		const char *context;
		uint32_t replica;
		uint64_t seq;
		int rc;
		const char *why;
	} rows[] = {
		{ "1:5", 7, 1, SAT_OK, "what there is" },
		{ "1:4", 7, 1, SAT_OK, "less than there is" },
		{ "", 7, 1, SAT_OK, "nothing" },
		{ "1:6", 7, 1, SAT_E_FORGED, "a dot nobody has written" },
		{ "1:5 9:1000000000", 7, 1, SAT_E_FORGED,
		  "it would kill whatever 9 ever writes" },
		{ "1:5 7:1", 7, 1, SAT_E_FORGED, "its own dot" },
		{ "1:5 7:9", 7, 1, SAT_E_FORGED, "its own future" },
		{ "1:5 7:8", 7, 9, SAT_OK, "its own past, on other rows too" },
		{ "7:1 1:5", 7, 2, SAT_E_INVAL, "not in order" },
		{ "1:0", 7, 2, SAT_E_INVAL, "a zero entry" },
		{ "1:5", 0, 1, SAT_E_INVAL, "replica 0 is nobody" },
		{ "1:5", 7, 0, SAT_E_INVAL, "seq 0 is none" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_delta d =
			world_delta(&arena, SAT_OP_DELETE, rows[i].context);
		struct sat_row row = new_row();

		if (try_apply(&row, &d, rows[i].replica, rows[i].seq) !=
		    rows[i].rc)
			fail_msg("%s", rows[i].why);
		d.op = SAT_OP_UPDATE;
		row = new_row();
		if (try_apply(&row, &d, rows[i].replica, rows[i].seq) !=
		    rows[i].rc)
			fail_msg("update: %s", rows[i].why);
	}
}

static void test_misfits(void **state)
{
	struct sat_row row = new_row();
	struct sat_delta d = world_delta(&arena, SAT_OP_DELETE, "1:5");

	(void)state;
	world_write(&arena, &d, COL_LWW, 1, 50);
	assert_int_equal(try_apply(&row, &d, 7, 1), SAT_E_INVAL);
	d.op = SAT_OP_UPDATE;
	d.changes[0].column = COL_COUNT; /* no such column */
	assert_int_equal(try_apply(&row, &d, 7, 1), SAT_E_INVAL);
	d.changes[0].column = COL_LWW2;
	world_write(&arena, &d, COL_LWW2, 1, 50); /* twice */
	assert_int_equal(try_apply(&row, &d, 7, 1), SAT_E_INVAL);
	d.changes[1].column = COL_LWW; /* not in order */
	assert_int_equal(try_apply(&row, &d, 7, 1), SAT_E_INVAL);
	d.changes[1].column = COL_COUNTER; /* an increment of NULL or text */
	assert_int_equal(try_apply(&row, &d, 7, 1), SAT_E_INVAL);
	d.changes[1].value = sat_value_int(3);
	assert_int_equal(try_apply(&row, &d, 7, 1), SAT_OK);
	assert_int_equal(world_shown(&arena, &row, COL_COUNTER), 3);
}

static void count_up(struct sat_row *row, uint32_t replica, uint64_t seq,
		     int64_t n, int want)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_UPDATE, "");

	world_write(&arena, &d, COL_COUNTER, 0, 0)->value = sat_value_int(n);
	assert_int_equal(try_apply(row, &d, replica, seq), want);
}

static void test_counters(void **state)
{
	struct sat_row row = new_row();

	(void)state;
	count_up(&row, 9, 1, 5, SAT_OK);
	count_up(&row, 7, 1, 1, SAT_OK);
	count_up(&row, 11, 1, 2, SAT_OK);
	count_up(&row, 9, 2, -3, SAT_OK);
	assert_int_equal(world_shown(&arena, &row, COL_COUNTER), 5);
	assert_int_equal(row.fields[COL_COUNTER].count, 3);
	/* no zero sums: the state does not tell how 0 came about */
	count_up(&row, 9, 3, -2, SAT_OK);
	assert_int_equal(row.fields[COL_COUNTER].count, 2);
	count_up(&row, 9, 4, 0, SAT_OK);
	assert_int_equal(row.fields[COL_COUNTER].count, 2);
	world_round_trip(&arena, &row);
	count_up(&row, 9, 5, INT64_MAX, SAT_OK);
	count_up(&row, 9, 6, 1, SAT_E_INVAL);
	count_up(&row, 9, 6, INT64_MIN, SAT_OK);
	count_up(&row, 9, 7, INT64_MIN, SAT_E_INVAL);
}

static void set_step(struct sat_row *row, uint32_t replica, uint64_t seq,
		     const char *context, const char *adds, const char *removes,
		     const char *want)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_UPDATE, context);

	world_set(&arena, &d, adds, removes);
	world_apply(&arena, row, &d, replica, seq);
	assert_string_equal(world_elements(&arena, row), want);
	world_round_trip(&arena, row);
}

static void test_sets(void **state)
{
	struct sat_row row = new_row();

	(void)state;
	set_step(&row, 7, 1, "", "b a b", NULL, "a b"); /* any order, twice */
	assert_int_equal(row.fields[COL_SET].count, 2);
	set_step(&row, 9, 1, "", NULL, "a", "a b"); /* had not seen it */
	set_step(&row, 9, 2, "7:1 9:1", NULL, "a c", "b");
	/* removed and added in one delta: the new one stays */
	set_step(&row, 9, 3, "7:1 9:2", "b", "b", "b");
	assert_int_equal(row.fields[COL_SET].elements[0].dot.replica, 9);
	/* added by two: both must be seen to be removed */
	set_step(&row, 11, 1, "", "b", NULL, "b");
	assert_int_equal(row.fields[COL_SET].count, 2);
	set_step(&row, 7, 2, "9:3", NULL, "b b", "b");
	set_step(&row, 7, 3, "9:3 11:1", NULL, "b", "");
	assert_int_equal(row.fields[COL_SET].count, 0);
}

/* At most SAT_FIELD_ENTRIES_MAX at once, whoever makes them. */
static void test_limits(void **state)
{
	static const uint32_t max = SAT_FIELD_ENTRIES_MAX;
	struct sat_row row;
	struct sat_delta d = world_delta(&arena, SAT_OP_UPDATE, "");
	struct sat_dot top = { 7, SAT_FIELD_ENTRIES_MAX };
	struct sat_slice *adds = sat_arena_array(&arena, max + 1, sizeof *adds);
	struct sat_write *w = sat_arena_array(&arena, max, sizeof *w);
	char *text = sat_arena_alloc(&arena, 2 * (max + 1));

	(void)state;
	assert_true(adds != NULL && w != NULL && text != NULL);
	for (uint32_t i = 0; i < max; i++)
		w[i] = (struct sat_write){ .dot = { 7, i + 1 }, .stamp = 1 };
	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	row.vv = (struct sat_vv){ &top, 1 };
	row.fields[COL_KEEP] = (struct sat_field){ .writes = w, .count = max };
	row.deletes = w;
	row.delete_count = max;
	d.op = SAT_OP_DELETE;
	assert_int_equal(try_apply(&row, &d, 9, 1), SAT_E_LIMIT);
	d.op = SAT_OP_UPDATE;
	world_write(&arena, &d, COL_KEEP, 1, 5);
	assert_int_equal(try_apply(&row, &d, 9, 1), SAT_E_LIMIT);
	d.context = world_vv(&arena, "7:1"); /* makes room for itself */
	assert_int_equal(try_apply(&row, &d, 9, 1), SAT_OK);
	assert_int_equal(row.fields[COL_KEEP].count, max);

	for (uint32_t i = 0; i <= max; i++) {
		text[2 * i] = (char)(i >> 8);
		text[2 * i + 1] = (char)(i & 0xff);
		adds[i] = (struct sat_slice){ (uint8_t *)text + 2 * i, 2 };
	}
	d = world_delta(&arena, SAT_OP_UPDATE, "");
	world_set(&arena, &d, NULL, NULL);
	d.changes[0].adds = adds;
	d.changes[0].add_count = max + 1;
	assert_int_equal(try_apply(&row, &d, 11, 1), SAT_E_LIMIT);
	d.changes[0].add_count = max;
	assert_int_equal(try_apply(&row, &d, 11, 1), SAT_OK);
	d.changes[0].adds = adds + max;
	d.changes[0].add_count = 1;
	assert_int_equal(try_apply(&row, &d, 11, 2), SAT_E_LIMIT);
}

static void test_contained(void **state)
{
	struct sat_row row = new_row(), before;
	struct sat_delta d = world_delta(&arena, SAT_OP_UPDATE, "1:5");
	enum sat_merge_outcome outcome;
	struct sat_dot dot = { 7, 3 };

	(void)state;
	world_write(&arena, &d, COL_LWW, 1, 50);
	world_apply(&arena, &row, &d, 7, 3);
	before = row;
	for (dot.seq = 3; dot.seq > 0; dot.seq--) {
		assert_int_equal(
			sat_merge_apply(&arena, &row, &d, dot, &outcome),
			SAT_OK);
		assert_int_equal(outcome, SAT_MERGE_CONTAINED);
		assert_memory_equal(&before, &row, sizeof row);
	}
}

/* Refuse the k-th byte range of memory for every k: the row is unchanged. */
static void test_no_memory(void **state)
{
	struct sat_row base = new_row(), row;
	struct sat_delta d;
	enum sat_merge_outcome outcome;
	unsigned failures = 0;

	(void)state;
	remove_row(&base, 7, 1, "1:5");
	for (int what = 0; what <= COL_COUNT; what++) {
		int rc = SAT_E_NOMEM;

		d = world_delta(&arena,
				what < COL_COUNT ? SAT_OP_UPDATE
						 : SAT_OP_DELETE,
				"1:5");
		if (what == COL_SET)
			world_set(&arena, &d, "a", "b");
		else if (what < COL_COUNT)
			world_write(&arena, &d, what, 1, 50);
		for (size_t max = 1; rc != SAT_OK; max += 16) {
			struct sat_arena small;

			row = base;
			sat_arena_init(&small, max);
			rc = sat_merge_apply(&small, &row, &d,
					     (struct sat_dot){ 9, 1 },
					     &outcome);
			if (rc != SAT_OK) {
				assert_int_equal(rc, SAT_E_NOMEM);
				assert_memory_equal(&row, &base, sizeof row);
				failures++;
			}
			sat_arena_fini(&small);
		}
	}
	assert_true(failures > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deletes),
		cmocka_unit_test(test_two_deletes),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_misfits),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_contained),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
