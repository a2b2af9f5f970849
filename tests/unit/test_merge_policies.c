/* What each policy shows and reports, write by write, with the reason. */
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

enum { ANSWER = 1 };

struct wrote {
	uint32_t replica;
	uint64_t seq;
	const char *context;
	int k;
	uint64_t stamp;
	int flags;
};

/* Writes to one column, in this order; what is shown and what the ledger
 * holds afterwards. */
static const struct {
	int column;
	struct wrote w[4];
	int shown;
	unsigned held, entries, open;
	const char *why;
} table[] = {
	{ COL_LWW, { { 7, 1, "", 1, 10, 0 } }, 1, 1, 0, 0, "one write" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "7:1", 2, 11, 0 } },
	  2,
	  1,
	  0,
	  0,
	  "who had seen it replaces it" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "", 2, 11, 0 } },
	  2,
	  2,
	  1,
	  0,
	  "the later of two that had not seen each other" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 11, 0 }, { 9, 1, "", 2, 10, 0 } },
	  1,
	  2,
	  1,
	  0,
	  "the later one, not the one that came last" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "", 2, 10, 0 } },
	  2,
	  2,
	  1,
	  0,
	  "equal stamps: the larger replica" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 10, 0 }, { 7, 2, "", 2, 10, 0 } },
	  2,
	  2,
	  1,
	  0,
	  "equal replicas: the larger seq" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "", 1, 11, 0 } },
	  1,
	  2,
	  0,
	  0,
	  "the same value is no conflict, both dots are held" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 10, 0 },
	    { 9, 1, "", 2, 11, 0 },
	    { 11, 1, "7:1 9:1", 0, 12, 0 } },
	  0,
	  1,
	  0,
	  0,
	  "NULL is a value like any other" },
	{ COL_LWW,
	  { { 7, 1, "", 1, 10, 0 },
	    { 9, 1, "", 2, 11, 0 },
	    { 11, 1, "7:1", 3, 5, 0 } },
	  2,
	  2,
	  1,
	  0,
	  "a write removes only what it had seen" },

	{ COL_KEEP,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "", 2, 11, 0 } },
	  2,
	  2,
	  1,
	  1,
	  "both kept, a person decides" },
	{ COL_KEEP,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "", 1, 11, 0 } },
	  1,
	  2,
	  0,
	  0,
	  "they agree" },
	{ COL_KEEP,
	  { { 7, 1, "", 1, 10, 0 },
	    { 9, 1, "", 2, 11, 0 },
	    { 11, 1, "", 3, 9, 0 } },
	  2,
	  3,
	  1,
	  1,
	  "three values, one entry" },
	{ COL_KEEP,
	  { { 7, 1, "", 1, 10, 0 },
	    { 9, 1, "", 2, 11, 0 },
	    { 11, 1, "7:1 9:1", 1, 12, ANSWER } },
	  1,
	  1,
	  0,
	  0,
	  "the answer covers both" },
	{ COL_KEEP,
	  { { 7, 1, "", 1, 10, ANSWER }, { 9, 1, "", 2, 11, ANSWER } },
	  2,
	  2,
	  1,
	  0,
	  "two answers at once: the later, settled" },
	{ COL_KEEP,
	  { { 7, 1, "", 1, 10, ANSWER }, { 9, 1, "", 2, 11, 0 } },
	  2,
	  2,
	  1,
	  1,
	  "an answer beside an edit is a question again" },
	{ COL_KEEP,
	  { { 7, 1, "", 1, 10, 0 },
	    { 9, 1, "", 2, 11, 0 },
	    { 11, 1, "7:1", 3, 12, 0 } },
	  3,
	  2,
	  1,
	  1,
	  "covering one of two leaves two" },

	{ COL_ORDERED,
	  { { 7, 1, "", CONTRACT, 10, 0 }, { 9, 1, "", LEAD, 20, 0 } },
	  CONTRACT,
	  2,
	  1,
	  0,
	  "the furthest, whatever the clock says" },
	{ COL_ORDERED,
	  { { 7, 1, "", CONTRACT, 10, 0 }, { 9, 1, "7:1", LEAD, 20, 0 } },
	  LEAD,
	  1,
	  0,
	  0,
	  "a person may move it back" },
	{ COL_ORDERED,
	  { { 7, 1, "", CONTRACT, 10, 0 }, { 9, 1, "", CONTRACT, 20, 0 } },
	  CONTRACT,
	  2,
	  0,
	  0,
	  "moved to the same stage twice" },
	{ COL_ORDERED,
	  { { 7, 1, "", LOST, 10, 0 }, { 9, 1, "", CONTRACT, 20, 0 } },
	  LOST,
	  2,
	  1,
	  0,
	  "an end ranks above every stage" },
	{ COL_ORDERED,
	  { { 7, 1, "", WON, 10, 0 }, { 9, 1, "", LOST, 20, 0 } },
	  LOST,
	  2,
	  1,
	  1,
	  "two ends: the later shown, a person decides" },
	{ COL_ORDERED,
	  { { 7, 1, "", WON, 20, 0 },
	    { 9, 1, "", LOST, 10, 0 },
	    { 11, 1, "", LEAD, 30, 0 } },
	  WON,
	  3,
	  1,
	  1,
	  "one entry for the whole set" },
	{ COL_ORDERED,
	  { { 7, 1, "", WON, 20, ANSWER }, { 9, 1, "", LOST, 10, ANSWER } },
	  WON,
	  2,
	  1,
	  0,
	  "two answers at once are settled" },
	{ COL_ORDERED,
	  { { 7, 1, "", WON, 20, 0 }, { 9, 1, "", WON, 10, 0 } },
	  WON,
	  2,
	  0,
	  0,
	  "won twice is won" },
	{ COL_ORDERED,
	  { { 7, 1, "", 0, 20, 0 }, { 9, 1, "", PROSPECT, 10, 0 } },
	  PROSPECT,
	  2,
	  1,
	  0,
	  "no stage is before every stage" },

	{ COL_MAX,
	  { { 7, 1, "", 5, 10, 0 }, { 9, 1, "", 3, 20, 0 } },
	  5,
	  2,
	  1,
	  0,
	  "the largest; the other is in the ledger" },
	{ COL_MAX,
	  { { 7, 1, "", 5, 10, 0 }, { 9, 1, "7:1", 3, 20, 0 } },
	  5,
	  2,
	  1,
	  0,
	  "ever written, though covered: 3 has lost" },
	{ COL_MAX,
	  { { 7, 1, "", 5, 10, 0 },
	    { 9, 1, "7:1", 3, 20, 0 },
	    { 9, 2, "7:1 9:1", 6, 30, 0 } },
	  6,
	  1,
	  0,
	  0,
	  "a covered best goes when another is better" },
	{ COL_MAX,
	  { { 7, 1, "", 5, 10, 0 },
	    { 9, 1, "7:1", 3, 20, 0 },
	    { 9, 2, "7:1 9:1", 4, 30, 0 } },
	  5,
	  2,
	  1,
	  0,
	  "the covered 3 is no longer in the ledger, 4 is" },
	{ COL_MAX,
	  { { 7, 1, "", 5, 10, 0 }, { 9, 1, "7:1", 5, 20, 0 } },
	  5,
	  1,
	  0,
	  0,
	  "the same again" },
	{ COL_MAX,
	  { { 7, 1, "", 0, 10, 0 }, { 9, 1, "", 1, 5, 0 } },
	  1,
	  2,
	  1,
	  0,
	  "NULL gives way" },
	{ COL_MIN,
	  { { 7, 1, "", 5, 10, 0 }, { 9, 1, "7:1", 3, 20, 0 } },
	  3,
	  1,
	  0,
	  0,
	  "the smallest" },
	{ COL_MIN,
	  { { 7, 1, "", 3, 10, 0 }, { 9, 1, "7:1", 5, 20, 0 } },
	  3,
	  2,
	  1,
	  0,
	  "the smallest ever" },
	{ COL_MIN,
	  { { 7, 1, "", 3, 10, 0 }, { 9, 1, "7:1", 0, 20, 0 } },
	  3,
	  2,
	  1,
	  0,
	  "NULL is not small, it is nothing" },
	{ COL_MIN,
	  { { 7, 1, "", 3, 10, 0 }, { 9, 1, "", 3, 5, 0 } },
	  3,
	  2,
	  0,
	  0,
	  "equal values" },

	{ COL_FIRST,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "", 2, 9, 0 } },
	  2,
	  2,
	  1,
	  0,
	  "the earlier one, though it came later" },
	{ COL_FIRST,
	  { { 7, 1, "", 1, 10, 0 }, { 9, 1, "7:1", 2, 20, 0 } },
	  1,
	  2,
	  1,
	  0,
	  "a later write is told that it lost" },
	{ COL_FIRST,
	  { { 7, 1, "", 1, 10, 0 },
	    { 9, 1, "7:1", 2, 20, 0 },
	    { 9, 2, "7:1 9:1", 1, 30, 0 } },
	  1,
	  2,
	  0,
	  0,
	  "and is superseded by one that agrees" },
	{ COL_FIRST,
	  { { 7, 1, "", 0, 10, 0 }, { 9, 1, "7:1", 2, 20, 0 } },
	  2,
	  1,
	  0,
	  0,
	  "an insert that left it empty is not first" },
};

static void apply_writes(struct sat_row *row, int column, const struct wrote *w)
{
	assert_int_equal(sat_row_init(&arena, &world_table, row), SAT_OK);
	for (unsigned i = 0; i < 4 && w[i].replica != 0; i++) {
		struct sat_delta d =
			world_delta(&arena, SAT_OP_UPDATE, w[i].context);

		world_write(&arena, &d, column, w[i].k, w[i].stamp)->resolves =
			w[i].flags == ANSWER;
		world_apply(&arena, row, &d, w[i].replica, w[i].seq);
	}
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(table); i++) {
		struct sat_conflict *c;
		struct sat_row row;
		unsigned n, open = 0;

		sat_arena_reset(&arena);
		apply_writes(&row, table[i].column, table[i].w);
		n = world_conflicts(&arena, &row, &c);
		for (unsigned j = 0; j < n; j++)
			open += c[j].state == SAT_CONFLICT_OPEN;
		if (world_shown(&arena, &row, table[i].column) !=
			    table[i].shown ||
		    row.fields[table[i].column].count != table[i].held ||
		    n != table[i].entries || open != table[i].open)
			fail_msg("column %d: %s: shown %d, held %u, entries %u",
				 table[i].column, table[i].why,
				 world_shown(&arena, &row, table[i].column),
				 row.fields[table[i].column].count, n);
		world_round_trip(&arena, &row);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
