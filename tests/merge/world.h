/* world.h - a table with one column of every policy, and short ways to write
 * deltas against it. Shared by the merge tests; not thread-safe.
 *
 * Columns hold small integers in these tests: a register's value k is the
 * text "v<k>" (the k-th enum name, the integer k for max and min), and 0 is
 * NULL. So an oracle can speak of integers only.
 */
#ifndef TESTS_MERGE_WORLD_H
#define TESTS_MERGE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/merge.h"
#include "common/meta.h"

enum {
	COL_LWW,
	COL_LWW2,
	COL_KEEP,
	COL_ORDERED,
	COL_COUNTER,
	COL_SET,
	COL_MAX,
	COL_MIN,
	COL_FIRST,
	COL_COUNT
};

/* Values of COL_ORDERED as integers: index into the enum plus 1. */
enum { PROSPECT = 1, LEAD, OPPORTUNITY, CONTRACT, WON, LOST, STAGE_END };

extern const struct sat_table world_table;

/* The value that integer k stands for in that column. */
struct sat_value world_value(int column, int k);
/* And back; fails the test for a value that stands for none. */
int world_number(int column, const struct sat_value *v);

/* A vector from "7:1 9:2"; the memory is the arena's. */
struct sat_vv world_vv(struct sat_arena *a, const char *text);

/* A delta under construction, memory in the arena. */
struct sat_delta world_delta(struct sat_arena *a, enum sat_op op,
			     const char *context);
/* Add a write of value k with that stamp. Columns in rising order. */
struct sat_change *world_write(struct sat_arena *a, struct sat_delta *d,
			       int column, int k, uint64_t stamp);
/* Add or remove set elements: "a b", NULL for none. */
void world_set(struct sat_arena *a, struct sat_delta *d, const char *adds,
	       const char *removes);

/* Apply and insist that it succeeds and is not contained. */
void world_apply(struct sat_arena *a, struct sat_row *row,
		 const struct sat_delta *d, uint32_t replica, uint64_t seq);

/* Shown value of a register or the total of a counter, as an integer. */
int world_shown(struct sat_arena *a, const struct sat_row *row, int column);
/* Elements of the set as "a b". */
const char *world_elements(struct sat_arena *a, const struct sat_row *row);

/* Metadata of the row; the buffer is emptied first. */
struct sat_slice world_meta(struct sat_arena *a, const struct sat_row *row,
			    struct sat_buf *buf, struct sat_value *values);

/* Decode what world_meta gives and insist on the same state and bytes. */
void world_round_trip(struct sat_arena *a, const struct sat_row *row);

/* The row's conflicts, insisting on success. */
uint32_t world_conflicts(struct sat_arena *a, const struct sat_row *row,
			 struct sat_conflict **ret);

/* A small seeded generator (xorshift64*); state never 0. */
uint64_t world_random(uint64_t *state);
unsigned world_below(uint64_t *state, unsigned n);

#endif
