/* capture_cost.h - what capture costs beside a plain insert, measured in the
 * one way that SYNC section 4 speaks of: visits with the columns that a form
 * fills, ids from the default, one transaction, durable; the replica and a
 * plain table of the same definition and indexes take turns in who goes first,
 * and the round in the middle counts. For the test and for the benchmark.
 */
#ifndef BENCH_CAPTURE_COST_H
#define BENCH_CAPTURE_COST_H

#include <stddef.h>

struct bench_capture {
	double captured, plain; /* seconds, of the round in the middle */
};

/* Rows of visits into the replica at path, by a connection that knows nothing
 * of it, and into a new file at plain; rounds of both, at most 15. 0, or -1
 * with a sentence in why. */
int bench_capture(const char *path, const char *plain, int rows, int rounds,
		  struct bench_capture *ret, char *why, size_t why_size);

/* The statement that makes so many visits of a rep's form; 1024 bytes do. */
void bench_visits(char *out, size_t size, int rows);

#endif
