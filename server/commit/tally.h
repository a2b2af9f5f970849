/* tally.h - digests that moved: one sum per (scope, role), added up in memory
 * and written once per group instead of once per row. */
#ifndef SAT_TALLY_H
#define SAT_TALLY_H

#include "common/meta.h"

struct sat_tally_entry {
	uint32_t scope;
	uint32_t role;
	struct sat_hash plus, minus;
	int64_t rows;
};

/* Entries in order of first use, found through an open-addressing index. A
 * scope that moved without a digest has an entry with zero sums. */
struct sat_tally {
	struct sat_tally_entry *entries;
	uint32_t count, cap;
	uint32_t *index; /* entry number + 1, 0: empty */
	uint32_t index_cap;
};

void sat_tally_fini(struct sat_tally *t);
void sat_tally_clear(struct sat_tally *t);
/* The entry, made when needed; NULL when out of memory. Valid until the next
 * call. */
struct sat_tally_entry *sat_tally_at(struct sat_tally *t, uint32_t scope,
				     uint32_t role);
/* Add everything in from to into. SAT_OK or SAT_E_NOMEM (into unchanged in
 * content for what was not added yet; the group is lost anyway). */
int sat_tally_merge(struct sat_tally *into,
		    const struct sat_tally *from) SAT_MUST_CHECK;

#endif
