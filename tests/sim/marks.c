/* The mutant that is switched on, and how many seeds reached which mark. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/hooks.h"

enum { MARKS_MAX = 256 };

unsigned sim_mutant;
static uint64_t hits[MARKS_MAX], seeds[MARKS_MAX];

void sim_mark(unsigned number)
{
	if (number < MARKS_MAX)
		hits[number]++;
}

void sim_marks_seed(void)
{
	for (unsigned i = 0; i < MARKS_MAX; i++) {
		seeds[i] += hits[i] > 0;
		hits[i] = 0;
	}
}

void sim_marks_clear(void)
{
	memset(hits, 0, sizeof hits);
	memset(seeds, 0, sizeof seeds);
}

void sim_marks_report(uint64_t count)
{
	for (unsigned i = 0; sim_mark_names[i] != NULL; i++)
		(void)printf("%6.2f %% of seeds  %s%s\n",
			     100.0 * (double)seeds[i] / (double)count,
			     sim_mark_names[i], seeds[i] == 0 ? "  NEVER" : "");
}
