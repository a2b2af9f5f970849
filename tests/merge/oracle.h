/* oracle.h - what a row must look like, computed from the list of everything
 * that was ever written. Shares no code and no types with the engine: events
 * are numbered, a context is the set of events its author had seen, and every
 * answer is found by looking at all events again.
 */
#ifndef TESTS_MERGE_ORACLE_H
#define TESTS_MERGE_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	ORACLE_EVENTS = 32,
	ORACLE_COLUMNS = 9,
	ORACLE_ELEMENTS = 6,
	ORACLE_REPLICAS = 16,
};

enum oracle_kind {
	ORACLE_LATEST,
	ORACLE_KEEP,
	ORACLE_STAGE, /* values 5 and 6 are ends, 1 to 4 rise */
	ORACLE_COUNT,
	ORACLE_SET,
	ORACLE_LARGEST,
	ORACLE_SMALLEST,
	ORACLE_EARLIEST,
};

struct oracle_write {
	bool there;
	int value; /* 0: nothing; for counts the increment */
	uint64_t stamp;
	bool answer;             /* a person's answer to a conflict     */
	unsigned added, removed; /* bits: set elements                  */
};

struct oracle_event {
	unsigned replica;
	uint64_t seq;
	uint32_t seen; /* bits: events its author had seen */
	bool removes;  /* the row                          */
	struct oracle_write writes[ORACLE_COLUMNS];
};

struct oracle_entry {
	int column;        /* -1: the row was removed beside an edit */
	int named;         /* the event whose dot names the entry    */
	int shown, losing; /* values */
	unsigned values;   /* keep: how many there are; removed: how often */
	bool open;
};

struct oracle_answer {
	bool alive;
	uint32_t removals;                  /* unanswered ones            */
	uint32_t standing[ORACLE_COLUMNS];  /* writes nobody has covered */
	int shown[ORACLE_COLUMNS];          /* event, -1 for none          */
	long sums[ORACLE_REPLICAS];         /* of the one count column     */
	uint32_t elements[ORACLE_ELEMENTS]; /* events that hold it there */
	struct oracle_entry entries[ORACLE_COLUMNS * ORACLE_EVENTS];
	unsigned entry_count;
};

/* The state after the delivered events (a bit set of indexes). */
void oracle_answer(const struct oracle_event *events, uint32_t delivered,
		   const enum oracle_kind *kinds, struct oracle_answer *ret);

#endif
