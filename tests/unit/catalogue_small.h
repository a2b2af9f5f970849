/* catalogue_small.h - a small catalogue for tests, and single edits of it.
 * Apostrophes stand for quotation marks. Every function fails the running
 * test when something is wrong.
 */
#ifndef SAT_TEST_CATALOGUE_SMALL_H
#define SAT_TEST_CATALOGUE_SMALL_H

#include "proto/catalogue_load.h"

extern const char catalogue_small[];

/* One replacement: find must occur exactly once. NULL find changes nothing. */
struct edit {
	const char *find, *put;
};

/* The text after up to two edits, on the heap. */
char *edited(const char *text, const struct edit edits[2]);

/* What the loader says of the small catalogue after the edits. */
int load_edited(const struct edit edits[2], struct sat_catalogue **ret,
		struct sat_err *err);

#endif
