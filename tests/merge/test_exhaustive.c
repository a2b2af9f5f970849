/* Every way in which up to five concurrent changesets of three replicas can
 * arrive, for every policy and for deletes.
 *
 * What has arrived is (i, j, k): so many of each replica, in its own order.
 * Every order of arrival is a path through that lattice. If each point gets
 * one and the same state whichever neighbour it is reached from, then by
 * induction all paths to it end in that state, so all orders are proven
 * without walking each; the number of orders is printed.
 */
#include "tests/merge/history.h"

enum { REPLICAS = 3, MOST = 5, ACTIONS = 4, SIDE = MOST + 1 };

static struct sat_arena arena;
static unsigned long histories, orders;

/* Slow builds take the largest histories with one pattern of stamps each, in
 * turn; all orders of arrival are tried in any case. */
#ifdef __OPTIMIZE__
static const bool rotates = false;
#else
static const bool rotates = true;
#endif

static const unsigned replica_ids[REPLICAS] = { 7, 9, 11 };

/* One of four things that a changeset may do to the column under test. */
static void act(struct oracle_event *e, int column, unsigned action)
{
	static const int values[COL_COUNT][ACTIONS] = {
		[COL_LWW] = { 1, 2, 3, -1 },
		[COL_LWW2] = { 1, 0, 2, -1 },
		[COL_KEEP] = { 1, 2, 3, -1 },
		[COL_ORDERED] = { CONTRACT, WON, LOST, -1 },
		[COL_COUNTER] = { 1, -1, 5, -1 },
		[COL_SET] = { 0, 0, 0, -1 },
		[COL_MAX] = { 1, 5, 3, -1 },
		[COL_MIN] = { 1, 5, 3, -1 },
		[COL_FIRST] = { 1, 2, 0, -1 },
	};
	static const unsigned added[ACTIONS] = { 1, 0, 2, 0 };
	static const unsigned removed[ACTIONS] = { 0, 1, 1, 0 };
	struct oracle_write *w = &e->writes[column];

	if (action == ACTIONS - 1 && column != COL_COUNTER) {
		e->removes = true;
		return;
	}
	if (action == ACTIONS - 2 && column == COL_COUNTER) {
		e->removes = true;
		return;
	}
	w->there = true;
	w->value = values[column][action];
	w->answer = column == COL_KEEP && action == 1;
	if (column == COL_SET) {
		w->added = added[action];
		w->removed = removed[action];
	}
}

/* Later in its replica is later in time; between replicas three ways. */
static uint64_t stamp_of(unsigned pattern, unsigned replica, unsigned position)
{
	uint64_t base = (uint64_t)(position + 1) * 10;

	if (pattern == 0)
		return base + replica;
	if (pattern == 1)
		return base + REPLICAS - replica;
	return base;
}

static struct history make_history(int column, const unsigned *sizes,
				   unsigned actions, unsigned pattern)
{
	struct history h = { .count = 0 };
	int base = history_add(&h, 1, 5);
	struct oracle_event *e = &h.events[base];

	for (int c = 0; c < COL_COUNT; c++) {
		e->writes[c].there = true;
		e->writes[c].stamp = 5;
		e->writes[c].value = c == COL_SET ? 0 : 3;
	}
	e->writes[COL_SET].added = 1;
	for (unsigned r = 0; r < REPLICAS; r++) {
		uint32_t seen = 1;

		for (unsigned i = 0; i < sizes[r]; i++) {
			int x = history_add(&h, replica_ids[r], 2 * i + 1);

			h.events[x].seen = seen;
			act(&h.events[x], column, actions % ACTIONS);
			h.events[x].writes[column].stamp =
				stamp_of(pattern, r, i);
			actions /= ACTIONS;
			seen |= 1u << x;
		}
	}
	return h;
}

struct point {
	struct sat_row row;
	unsigned long paths;
};

/* First event of each replica in the history. */
static void event_bases(const unsigned *sizes, int *bases)
{
	int next = 1;

	for (unsigned r = 0; r < REPLICAS; r++) {
		bases[r] = next;
		next += (int)sizes[r];
	}
}

static uint32_t delivered_at(const unsigned *at, const int *bases)
{
	uint32_t set = 1;

	for (unsigned r = 0; r < REPLICAS; r++) {
		for (unsigned i = 0; i < at[r]; i++)
			set |= 1u << (bases[r] + (int)i);
	}
	return set;
}

static struct point *point_at(struct point *lattice, const unsigned *at)
{
	return &lattice[(at[0] * SIDE + at[1]) * SIDE + at[2]];
}

static void reach(const struct history *h, struct point *lattice,
		  const unsigned *at, const int *bases)
{
	struct point *here = point_at(lattice, at);
	struct sat_row row;

	here->paths = 0;
	for (unsigned r = 0; r < REPLICAS; r++) {
		unsigned from[REPLICAS] = { at[0], at[1], at[2] };
		const struct point *before;

		if (at[r] == 0)
			continue;
		from[r]--;
		before = point_at(lattice, from);
		row = before->row;
		history_deliver(h, &arena, &row, bases[r] + (int)from[r]);
		if (here->paths == 0) {
			here->row = row;
		} else {
			assert_true(
				sat_row_equal(&world_table, &here->row, &row));
			history_same_ledger(&arena, &here->row, &row);
		}
		here->paths += before->paths;
	}
	history_check(h, &arena, &here->row, delivered_at(at, bases));
}

static void walk(const struct history *h, const unsigned *sizes)
{
	static struct point lattice[SIDE * SIDE * SIDE];
	int bases[REPLICAS];
	unsigned at[REPLICAS];
	struct point *end = point_at(lattice, sizes);

	event_bases(sizes, bases);
	assert_int_equal(sat_row_init(&arena, &world_table, &lattice[0].row),
			 SAT_OK);
	history_deliver(h, &arena, &lattice[0].row, 0);
	lattice[0].paths = 1;
	for (at[0] = 0; at[0] <= sizes[0]; at[0]++) {
		for (at[1] = 0; at[1] <= sizes[1]; at[1]++) {
			for (at[2] = 0; at[2] <= sizes[2]; at[2]++) {
				if (at[0] + at[1] + at[2] > 0)
					reach(h, lattice, at, bases);
			}
		}
	}
	world_round_trip(&arena, &end->row);
	for (unsigned e = 0; e < h->count; e++)
		history_repeat(h, &arena, &end->row, (int)e);
	histories++;
	orders += end->paths;
}

static void try_sizes(int column, const unsigned *sizes)
{
	unsigned total = sizes[0] + sizes[1] + sizes[2], choices = 1;
	struct history h;

	for (unsigned i = 0; i < total; i++)
		choices *= ACTIONS;
	for (unsigned actions = 0; actions < choices; actions++) {
		for (unsigned pattern = 0; pattern < 3; pattern++) {
			if (rotates && total == MOST && pattern != actions % 3)
				continue;
			sat_arena_reset(&arena);
			h = make_history(column, sizes, actions, pattern);
			history_build(&h, &arena);
			walk(&h, sizes);
		}
	}
}

static void try_column(int column)
{
	unsigned s[REPLICAS];

	histories = orders = 0;
	sat_arena_init(&arena, 64 << 20);
	for (s[0] = 0; s[0] <= MOST; s[0]++) {
		for (s[1] = 0; s[0] + s[1] <= MOST; s[1]++) {
			for (s[2] = 0; s[0] + s[1] + s[2] <= MOST; s[2]++) {
				if (s[0] + s[1] + s[2] > 0)
					try_sizes(column, s);
			}
		}
	}
	sat_arena_fini(&arena);
	print_message("%s: %lu histories, %lu orders of arrival\n",
		      world_table.columns[column].name, histories, orders);
	assert_true(orders > histories);
}

static void test_column(void **state)
{
	try_column(*(const int *)*state);
}

int main(void)
{
	static const int columns[] = { COL_LWW,     COL_LWW2, COL_KEEP,
				       COL_ORDERED, COL_SET,  COL_COUNTER,
				       COL_MAX,     COL_MIN,  COL_FIRST };
	struct CMUnitTest tests[SAT_COUNT_OF(columns)];

	for (size_t i = 0; i < SAT_COUNT_OF(columns); i++) {
		tests[i] = (struct CMUnitTest){
			.name = world_table.columns[columns[i]].name,
			.test_func = test_column,
			.initial_state = (void *)(uintptr_t)&columns[i],
		};
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
