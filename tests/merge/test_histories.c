/* Random histories: devices write on what they hold, push and pull, for many
 * rounds; then the same changesets arrive in other orders that are possible.
 * One state, one ledger, the oracle's; repeats change nothing.
 *
 *     test_histories [COUNT [SEED]]     SEED plays just that one history
 */
#include "tests/merge/history.h"

enum { DEVICES_MOST = 5, EVENTS_MOST = 16, ORDERS = 3 };

static struct sat_arena arena;
static unsigned long count = 20000;
static uint64_t only_seed;

struct device {
	unsigned replica;
	uint64_t seq;
	uint32_t holds; /* what the server had at its last pull */
	uint32_t own;
	int pending[ORACLE_EVENTS];
	unsigned pending_count, pushed;
};

struct play {
	struct history h;
	struct device devices[DEVICES_MOST];
	unsigned device_count;
	uint32_t server;
	int arrival[ORACLE_EVENTS];
	unsigned arrived;
	bool causal_stamps;
	uint64_t rng;
};

static bool chance(struct play *p, unsigned percent)
{
	return world_below(&p->rng, 100) < percent;
}

/* Stamps extend causality as the server issues them, or (half of the
 * histories) are anything at all: states must converge regardless. */
static uint64_t stamp_for(struct play *p, uint32_t seen, int column)
{
	uint64_t floor = 0;

	if (!p->causal_stamps)
		return 1 + world_below(&p->rng, 12);
	for (unsigned e = 0; e < p->h.count; e++) {
		const struct oracle_write *w = &p->h.events[e].writes[column];

		if ((seen >> e & 1u) != 0 && w->there && w->stamp > floor)
			floor = w->stamp;
	}
	return floor + 1 + world_below(&p->rng, 8);
}

static void write_column(struct play *p, struct oracle_event *e, int column)
{
	struct oracle_write *w = &e->writes[column];

	w->there = true;
	w->stamp = stamp_for(p, e->seen, column);
	if (column == COL_COUNTER) {
		w->value = (int)world_below(&p->rng, 9) - 4;
	} else if (column == COL_SET) {
		w->added = (unsigned)world_random(&p->rng) & 0x3f;
		w->added &= (unsigned)world_random(&p->rng);
		w->removed = (unsigned)world_random(&p->rng) & 0x3f;
	} else if (column == COL_ORDERED) {
		w->value = (int)world_below(&p->rng, STAGE_END);
		w->answer = chance(p, 25);
	} else {
		w->value = (int)world_below(&p->rng, 5);
		w->answer = column == COL_KEEP && chance(p, 30);
	}
}

/* A person saw less than his device held (If-Match): some replicas' parts of
 * the context are cut back, in each to a prefix. */
static uint32_t saw_less(struct play *p, uint32_t seen)
{
	uint64_t cut[ORACLE_REPLICAS];

	for (unsigned r = 0; r < ORACLE_REPLICAS; r++)
		cut[r] = chance(p, 40) ? world_below(&p->rng, 12) : UINT64_MAX;
	for (unsigned e = 0; e < p->h.count; e++) {
		const struct oracle_event *ev = &p->h.events[e];

		if (ev->seq > cut[ev->replica])
			seen &= ~(1u << e);
	}
	return seen;
}

static void device_writes(struct play *p, struct device *d)
{
	uint32_t seen = d->holds | d->own;
	struct oracle_event *e;
	int x;

	d->seq += 1 + world_below(&p->rng, 2);
	if (chance(p, 15))
		seen = saw_less(p, seen);
	x = history_add(&p->h, d->replica, d->seq);
	e = &p->h.events[x];
	e->seen = seen;
	if (chance(p, 12)) {
		e->removes = true;
	} else {
		for (int c = 0; c < COL_COUNT; c++) {
			if (chance(p, 40))
				write_column(p, e, c);
		}
	}
	d->own |= 1u << x;
	d->pending[d->pending_count++] = x;
}

static void device_pushes(struct play *p, struct device *d)
{
	int x;

	if (d->pushed == d->pending_count)
		return;
	x = d->pending[d->pushed++];
	p->server |= 1u << x;
	p->arrival[p->arrived++] = x;
}

static void start(struct play *p, uint64_t seed)
{
	memset(p, 0, sizeof *p);
	p->rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	p->causal_stamps = chance(p, 50);
	p->device_count = 2 + world_below(&p->rng, DEVICES_MOST - 1);
	if (chance(p, 85)) { /* else the row is inserted by several at once */
		int x = history_add(&p->h, 1, 5);

		for (int c = 0; c < COL_COUNT; c++)
			write_column(p, &p->h.events[x], c);
		p->server = 1;
		p->arrival[p->arrived++] = x;
	}
	for (unsigned i = 0; i < p->device_count; i++) {
		p->devices[i].replica = 2 + 2 * i;
		p->devices[i].holds = p->server;
	}
}

static void run(struct play *p)
{
	unsigned most = 3 + world_below(&p->rng, EVENTS_MOST - 3);

	while (p->h.count < most) {
		struct device *d =
			&p->devices[world_below(&p->rng, p->device_count)];
		unsigned what = world_below(&p->rng, 10);

		if (what < 4)
			device_writes(p, d);
		else if (what < 8)
			device_pushes(p, d);
		else
			d->holds = p->server;
	}
	for (unsigned i = 0; i < p->device_count; i++) {
		while (p->devices[i].pushed < p->devices[i].pending_count)
			device_pushes(p, &p->devices[i]);
	}
}

static bool may_arrive(const struct play *p, unsigned event, uint32_t there)
{
	const struct oracle_event *e = &p->h.events[event];

	if ((there >> event & 1u) != 0 || (e->seen & ~there) != 0)
		return false;
	for (unsigned f = 0; f < p->h.count; f++) {
		if (p->h.events[f].replica == e->replica &&
		    p->h.events[f].seq < e->seq && (there >> f & 1u) == 0)
			return false;
	}
	return true;
}

static void other_order(struct play *p, int *order)
{
	uint32_t there = 0;

	for (unsigned n = 0; n < p->h.count; n++) {
		unsigned e = world_below(&p->rng, p->h.count);

		while (!may_arrive(p, e, there))
			e = (e + 1) % p->h.count;
		order[n] = (int)e;
		there |= 1u << e;
	}
}

static struct sat_row deliver_all(struct play *p, const int *order)
{
	struct sat_row row;
	uint32_t there = 0;

	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	for (unsigned i = 0; i < p->h.count; i++) {
		history_deliver(&p->h, &arena, &row, order[i]);
		there |= 1u << order[i];
		if (chance(p, 25))
			history_repeat(&p->h, &arena, &row,
				       order[world_below(&p->rng, i + 1)]);
		/* a device's overlay is such a state of part of it */
		if (chance(p, 20) || i + 1 == p->h.count)
			history_check(&p->h, &arena, &row, there);
		/* as a server does between two group commits */
		if (chance(p, 10))
			world_round_trip(&arena, &row);
	}
	return row;
}

static void play_seed(uint64_t seed)
{
	static struct play p;
	int order[ORACLE_EVENTS];
	struct sat_row first, row;

	sat_arena_reset(&arena);
	start(&p, seed);
	run(&p);
	history_build(&p.h, &arena);
	first = deliver_all(&p, p.arrival);
	world_round_trip(&arena, &first);
	for (int i = 0; i < ORDERS; i++) {
		other_order(&p, order);
		row = deliver_all(&p, order);
		assert_true(sat_row_equal(&world_table, &first, &row));
		history_same_ledger(&arena, &first, &row);
	}
}

static uint64_t current;

static void test_histories(void **state)
{
	(void)state;
	if (only_seed != 0) {
		play_seed(only_seed);
		return;
	}
	for (current = 1; current <= count; current++)
		play_seed(current);
	print_message("%lu histories, %d other orders each\n", count, ORDERS);
}

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
	if (only_seed == 0 && current <= count)
		print_message("replay: test_histories 1 %llu\n",
			      (unsigned long long)current);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
	};

	if (argc > 1)
		count = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		only_seed = strtoull(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, setup, teardown);
}
