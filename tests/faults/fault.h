/* fault.h - the k-th time that memory is asked for, SQLite is called, a file
 * is written or synced, it fails: once, or from then on.
 *
 *     sweep("harvest", &scenario);
 *
 * runs a scenario for k = 1, 2, ... until a run meets no fault, each in a
 * process of its own on a copy of the scenario's folder. Memory: what our own
 * code and SQLite ask for (the linker's --wrap, SQLite's own hooks); calls:
 * sqlite3_open_v2, prepare, step, exec.
 */
#ifndef TEST_FAULT_H
#define TEST_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

enum fault_kind {
	FAULT_MEMORY,
	FAULT_SQLITE,
	FAULT_WRITE,
	FAULT_SYNC,
	FAULT_KINDS
};

/* The folder of a scenario was made and closed by whoever sweeps; what a
 * process has in memory is there in each run (it is forked). */
struct scenario {
	const char *name;
	const char *folder; /* copied for each run, to `work` */
	const char *work;
	/* Open what lies in `work`. Runs without faults. */
	void (*open)(void *arg);
	/* The work. What it answered before counts: called again after a
	 * failure, without faults, it must succeed. */
	int (*act)(void *arg, struct sat_err *err);
	/* What there is now, as text; ends in malloc's memory. Two runs that
	 * did the same give the same. */
	char *(*look)(void *arg);
	void (*close)(void *arg);
	/* Several transactions: what is between them may stay, and the work
	 * goes on from there. */
	bool in_steps;
	void *arg;
};

/* Before anything else of SQLite. */
void fault_install(void);

/* Every kind, once and for good. Asserts (cmocka) that no run crashes, that a
 * failure comes with a sentence, that what is left can be opened and is what
 * was before or what comes after, and that the work then succeeds. Without
 * SAT_NIGHTLY=1 a long sweep takes a random part of the places. */
void sweep(const struct scenario *s);

#endif
