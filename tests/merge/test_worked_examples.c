/* The worked examples of DESIGN section 10 that concern one row: 1 is the
 * server's own replica, 7 is Ann, 9 is Bob, 11 their manager. Each is played
 * in every order of arrival, twice over (lost acks), and on a device as base
 * plus overlay. */
#include "tests/merge/world.h"

static struct sat_arena arena;

/* One changeset's only delta. */
struct step {
	uint32_t replica;
	uint64_t seq;
	struct sat_delta d;
};

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

/* Account X: phone v1, email v1, dot (1,5). */
static struct sat_row account_x(void)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_INSERT, "");
	struct sat_row row;

	world_write(&arena, &d, COL_LWW, 1, 1000);
	world_write(&arena, &d, COL_LWW2, 1, 1000);
	world_write(&arena, &d, COL_KEEP, 1, 1000);
	world_write(&arena, &d, COL_ORDERED, OPPORTUNITY, 1000);
	world_write(&arena, &d, COL_COUNTER, 4, 0);
	world_set(&arena, &d, "vip", NULL);
	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	world_apply(&arena, &row, &d, 1, 5);
	return row;
}

static struct step edit(uint32_t replica, uint64_t seq, const char *context)
{
	return (struct step){ replica, seq,
			      world_delta(&arena, SAT_OP_UPDATE, context) };
}

static void write(struct step *s, int column, int k, uint64_t stamp)
{
	world_write(&arena, &s->d, column, k, stamp);
}

static void apply_in_order(struct sat_row *row, const struct step *steps,
			   const unsigned *order, unsigned count)
{
	enum sat_merge_outcome outcome;

	for (unsigned i = 0; i < count; i++) {
		const struct step *s = &steps[order[i]];
		struct sat_dot dot = { s->replica, s->seq };

		world_apply(&arena, row, &s->d, s->replica, s->seq);
		/* the ack was lost: the same changeset comes again */
		assert_int_equal(
			sat_merge_apply(&arena, row, &s->d, dot, &outcome),
			SAT_OK);
		assert_int_equal(outcome, SAT_MERGE_CONTAINED);
	}
}

static bool next_order(unsigned *order, unsigned count)
{
	unsigned i = count - 1, j = count - 1, swap;

	while (i > 0 && order[i - 1] > order[i])
		i--;
	if (i == 0)
		return false;
	while (order[j] < order[i - 1])
		j--;
	swap = order[i - 1];
	order[i - 1] = order[j];
	order[j] = swap;
	for (j = count - 1; i < j; i++, j--) {
		swap = order[i];
		order[i] = order[j];
		order[j] = swap;
	}
	return true;
}

/* Does the order respect each replica's own and every context? */
static bool possible(const struct step *steps, const unsigned *order,
		     unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned j = i + 1; j < count; j++) {
			const struct step *early = &steps[order[i]];
			const struct step *late = &steps[order[j]];
			struct sat_dot dot = { late->replica, late->seq };

			if (early->replica == late->replica &&
			    early->seq > late->seq)
				return false;
			if (sat_vv_covers(early->d.context, dot))
				return false;
		}
	}
	return true;
}

/* The state that all possible orders must agree on. */
static struct sat_row play(const struct step *steps, unsigned count,
			   unsigned expected_orders)
{
	unsigned order[8] = { 0, 1, 2, 3, 4, 5, 6, 7 }, orders = 0;
	struct sat_row first = { .field_count = 0 }, row;

	do {
		if (!possible(steps, order, count))
			continue;
		row = account_x();
		apply_in_order(&row, steps, order, count);
		world_round_trip(&arena, &row);
		if (orders++ == 0)
			first = row;
		assert_true(sat_row_equal(&world_table, &first, &row));
	} while (next_order(order, count));
	assert_int_equal(orders, expected_orders);
	return first;
}

static void assert_vv(const struct sat_row *row, const char *expected)
{
	assert_true(sat_vv_equal(row->vv, world_vv(&arena, expected)));
}

/* 1: different fields never conflict. */
static void test_1_two_fields(void **state)
{
	struct step s[2] = { edit(7, 1, "1:5"), edit(9, 1, "1:5") };
	struct sat_conflict *conflicts;
	struct sat_row row;

	(void)state;
	write(&s[0], COL_LWW, 2, 2000);
	write(&s[1], COL_LWW2, 3, 2001);
	row = play(s, 2, 2);
	assert_int_equal(world_shown(&arena, &row, COL_LWW), 2);
	assert_int_equal(world_shown(&arena, &row, COL_LWW2), 3);
	assert_vv(&row, "1:5 7:1 9:1");
	assert_int_equal(world_conflicts(&arena, &row, &conflicts), 0);
}

/* 2: the later phone stands, one entry has the other. */
static void test_2_same_field(void **state)
{
	struct step s[2] = { edit(7, 1, "1:5"), edit(9, 1, "1:5") };
	struct sat_conflict *c;
	struct sat_row row;

	(void)state;
	write(&s[0], COL_LWW, 2, 10 * 3600000);
	write(&s[1], COL_LWW, 3, 10 * 3600000 + 300000);
	row = play(s, 2, 2);
	assert_int_equal(world_shown(&arena, &row, COL_LWW), 3);
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(c[0].column, COL_LWW);
	assert_int_equal(c[0].state, SAT_CONFLICT_AUTO);
	assert_int_equal(c[0].dot.replica, 7);
	assert_int_equal(world_number(COL_LWW, &c[0].losing.value), 2);
	assert_int_equal(world_number(COL_LWW, &c[0].shown.value), 3);
	assert_int_equal(c[0].losing.stamp, 10 * 3600000);
	assert_int_equal(c[0].shown.dot.replica, 9);
}

/* 3: Bob's clock is a year ahead; stamping corrects it, so that his earlier
 * edit does not win over Ann's later one. */
static void test_3_clock_ahead(void **state)
{
	const int64_t year = (int64_t)365 * 86400000, t = 1763700000000;
	struct sat_clock_map right = { 0, NULL, 0 };
	struct sat_clock_map ahead = { -year, NULL, 0 };
	uint64_t ceiling = sat_stamp_make(t + 7200000, 0);
	struct step s[2] = { edit(9, 1, "1:5"), edit(7, 1, "1:5") };
	struct sat_conflict *c;
	struct sat_row row;
	bool clamped;

	(void)state;
	write(&s[0], COL_LWW, 3, 0);
	write(&s[1], COL_LWW, 2, 0);
	s[0].d.changes[0].at_ms = s[0].d.at_ms = t + year;
	s[1].d.changes[0].at_ms = s[1].d.at_ms = t + 60000;
	row = account_x();
	sat_delta_stamp(&s[0].d, (struct sat_dot){ 9, 1 }, &row, &ahead,
			ceiling, &clamped);
	assert_false(clamped);
	sat_delta_stamp(&s[1].d, (struct sat_dot){ 7, 1 }, &row, &right,
			ceiling, &clamped);
	assert_false(clamped);
	row = play(s, 2, 2);
	assert_int_equal(world_shown(&arena, &row, COL_LWW), 2);
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(sat_stamp_ms(c[0].losing.stamp), t);

	/* the server does not know the offset yet: never beyond its own now */
	sat_delta_stamp(&s[0].d, (struct sat_dot){ 9, 1 }, &row, &right,
			ceiling, &clamped);
	assert_true(clamped);
	assert_int_equal(s[0].d.changes[0].stamp, ceiling);
}

/* 4: nobody conflicts with himself. */
static void test_4_twice_myself(void **state)
{
	struct step s[2] = { edit(7, 1, "1:5"), edit(7, 2, "1:5 7:1") };
	struct sat_conflict *c;
	struct sat_row row;

	(void)state;
	write(&s[0], COL_LWW, 2, 2000);
	write(&s[1], COL_LWW, 3, 2001);
	row = play(s, 2, 1);
	assert_int_equal(world_shown(&arena, &row, COL_LWW), 3);
	assert_int_equal(world_conflicts(&arena, &row, &c), 0);
}

/* 5: both names are kept until the manager picks one. */
static void test_5_keep(void **state)
{
	struct step s[3] = { edit(7, 1, "1:5"), edit(9, 1, "1:5"),
			     edit(11, 1, "1:5 7:1 9:1") };
	struct sat_conflict *c;
	struct sat_row row;

	(void)state;
	write(&s[0], COL_KEEP, 2, 2000);
	write(&s[1], COL_KEEP, 3, 2001);
	row = play(s, 2, 2);
	assert_int_equal(world_shown(&arena, &row, COL_KEEP), 3);
	assert_int_equal(row.fields[COL_KEEP].count, 2);
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(c[0].state, SAT_CONFLICT_OPEN);
	assert_int_equal(c[0].dot.replica, 7); /* the smallest dot names it */
	assert_int_equal(world_number(COL_KEEP, &c[0].losing.value), 2);
	assert_int_equal(c[0].sibling_count, 2);

	write(&s[2], COL_KEEP, 2, 3000);
	s[2].d.changes[0].resolves = true;
	row = play(s, 3, 2);
	assert_int_equal(world_shown(&arena, &row, COL_KEEP), 2);
	assert_int_equal(world_conflicts(&arena, &row, &c), 0);
}

/* 6: a delete does not win over what its author had not seen. */
static void test_6_delete_against_edit(void **state)
{
	struct step s[2] = { edit(7, 1, "1:5"), edit(9, 1, "1:5") };
	struct sat_conflict *c;
	struct sat_row row;

	(void)state;
	s[0].d = world_delta(&arena, SAT_OP_DELETE, "1:5");
	s[0].d.stamp = 2000;
	write(&s[1], COL_LWW, 3, 2001);
	row = play(s, 2, 2);
	assert_true(sat_row_alive(&row));
	assert_int_equal(world_shown(&arena, &row, COL_LWW), 3);
	assert_int_equal(world_shown(&arena, &row, COL_LWW2), 1);
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(c[0].column, -1);
	assert_int_equal(c[0].state, SAT_CONFLICT_OPEN);
	assert_int_equal(c[0].dot.replica, 7);
	assert_int_equal(c[0].losing.stamp, 2000);
}

/* 7: a counter adds up. */
static void test_7_counter(void **state)
{
	struct step s[2] = { edit(7, 1, "1:5"), edit(9, 1, "1:5") };
	struct sat_row row;

	(void)state;
	write(&s[0], COL_COUNTER, 1, 0);
	write(&s[1], COL_COUNTER, 2, 0);
	row = play(s, 2, 2);
	assert_int_equal(world_shown(&arena, &row, COL_COUNTER), 7);
}

/* 8: an add wins over a concurrent remove. */
static void test_8_set(void **state)
{
	struct step s[3] = { edit(7, 1, "1:5"), edit(9, 1, "1:5"),
			     edit(9, 2, "1:5 9:1") };
	struct sat_row row;

	(void)state;
	world_set(&arena, &s[0].d, "gold", "vip");
	world_set(&arena, &s[1].d, NULL, "vip");
	world_set(&arena, &s[2].d, "vip", NULL);
	row = play(s, 3, 3);
	assert_string_equal(world_elements(&arena, &row), "gold vip");
}

/* 9: an end ranks above every stage; two different ends are a question. */
static void test_9_stages(void **state)
{
	struct step s[2] = { edit(7, 1, "1:5"), edit(9, 1, "1:5") };
	struct sat_conflict *c;
	struct sat_row row;

	(void)state;
	write(&s[0], COL_ORDERED, CONTRACT, 3000);
	write(&s[1], COL_ORDERED, LOST, 2000);
	row = play(s, 2, 2);
	assert_int_equal(world_shown(&arena, &row, COL_ORDERED), LOST);
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(c[0].state, SAT_CONFLICT_AUTO);
	assert_int_equal(world_number(COL_ORDERED, &c[0].losing.value),
			 CONTRACT);

	s[0].d.changes[0].value = world_value(COL_ORDERED, WON);
	row = play(s, 2, 2);
	assert_int_equal(world_shown(&arena, &row, COL_ORDERED), WON);
	assert_int_equal(world_conflicts(&arena, &row, &c), 1);
	assert_int_equal(c[0].state, SAT_CONFLICT_OPEN);
	assert_int_equal(world_number(COL_ORDERED, &c[0].losing.value), LOST);
}

/* DESIGN section 3, "Mind the trap": a = contract, b after a = lead, c beside
 * both = opportunity. Dropping c against a would show lead in one order. */
static void test_trap(void **state)
{
	struct step s[3] = { edit(7, 1, "1:5"), edit(7, 2, "1:5 7:1"),
			     edit(9, 1, "1:5") };
	struct sat_row row;

	(void)state;
	write(&s[0], COL_ORDERED, CONTRACT, 2000);
	write(&s[1], COL_ORDERED, LEAD, 2001);
	write(&s[2], COL_ORDERED, OPPORTUNITY, 1500);
	row = play(s, 3, 3);
	assert_int_equal(world_shown(&arena, &row, COL_ORDERED), OPPORTUNITY);
}

/* A device shows base + pending deltas; when the echo comes, and the pending
 * delta is contained in it, nothing that is shown changes. */
static void test_overlay_then_echo(void **state)
{
	struct step s[3] = { edit(7, 1, "1:5"), edit(7, 2, "1:5 7:1"),
			     edit(9, 1, "1:5") };
	static const unsigned mine[] = { 0, 1 };
	struct sat_row base = account_x(), overlay, server;
	enum sat_merge_outcome outcome;

	(void)state;
	write(&s[0], COL_LWW, 2, 2000);
	write(&s[0], COL_KEEP, 2, 2000);
	write(&s[0], COL_COUNTER, 1, 0);
	world_set(&arena, &s[0].d, "gold", "vip");
	write(&s[1], COL_LWW, 4, 2005);
	write(&s[1], COL_ORDERED, CONTRACT, 2005);
	write(&s[2], COL_LWW2, 5, 2002);

	overlay = base;
	apply_in_order(&overlay, s, mine, 2);
	/* the base is a value of its own: the overlay did not touch it */
	assert_int_equal(world_shown(&arena, &base, COL_LWW), 1);
	assert_int_equal(world_shown(&arena, &base, COL_COUNTER), 4);

	server = base;
	world_apply(&arena, &server, &s[2].d, 9, 1);
	apply_in_order(&server, s, mine, 2);
	/* echo: the server's state replaces the base, and what was pending is
	 * still in the overlay but contained */
	for (unsigned i = 0; i < 2; i++) {
		struct sat_dot dot = { s[i].replica, s[i].seq };
		struct sat_row before = server;

		assert_int_equal(sat_merge_apply(&arena, &server, &s[i].d, dot,
						 &outcome),
				 SAT_OK);
		assert_int_equal(outcome, SAT_MERGE_CONTAINED);
		assert_true(sat_row_equal(&world_table, &before, &server));
	}
	for (int c = 0; c < COL_COUNT; c++) {
		if (c == COL_SET || c == COL_LWW2)
			continue;
		assert_int_equal(world_shown(&arena, &overlay, c),
				 world_shown(&arena, &server, c));
	}
	assert_string_equal(world_elements(&arena, &overlay),
			    world_elements(&arena, &server));
	assert_int_equal(world_shown(&arena, &overlay, COL_LWW2), 1);
	assert_int_equal(world_shown(&arena, &server, COL_LWW2), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_two_fields),
		cmocka_unit_test(test_2_same_field),
		cmocka_unit_test(test_3_clock_ahead),
		cmocka_unit_test(test_4_twice_myself),
		cmocka_unit_test(test_5_keep),
		cmocka_unit_test(test_6_delete_against_edit),
		cmocka_unit_test(test_7_counter),
		cmocka_unit_test(test_8_set),
		cmocka_unit_test(test_9_stages),
		cmocka_unit_test(test_trap),
		cmocka_unit_test(test_overlay_then_echo),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
