/* history.h - a history as the oracle tells it, as deltas for the engine, and
 * the comparison of what the two make of it.
 */
#ifndef TESTS_MERGE_HISTORY_H
#define TESTS_MERGE_HISTORY_H

#include "tests/merge/oracle.h"
#include "tests/merge/world.h"

struct history {
	struct oracle_event events[ORACLE_EVENTS];
	struct sat_delta deltas[ORACLE_EVENTS]; /* by history_build */
	unsigned count;
};

/* A new event; sees nothing yet. Returns its index. */
int history_add(struct history *h, unsigned replica, uint64_t seq);

/* Make the deltas; memory in the arena. */
void history_build(struct history *h, struct sat_arena *a);

/* Deliver one event; insists on success and that it is new. */
void history_deliver(const struct history *h, struct sat_arena *a,
		     struct sat_row *row, int event);

/* Deliver one again: contained, and nothing changes. */
void history_repeat(const struct history *h, struct sat_arena *a,
		    struct sat_row *row, int event);

/* Compare the engine's state with the oracle's answer, in full. */
void history_check(const struct history *h, struct sat_arena *a,
		   const struct sat_row *row, uint32_t delivered);

/* The ledger entries of both states, field by field. */
void history_same_ledger(struct sat_arena *a, const struct sat_row *x,
			 const struct sat_row *y);

#endif
