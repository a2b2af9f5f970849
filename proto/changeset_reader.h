/* changeset_reader.h - the inside of sat_changeset_reader, shared by the files
 * that open its groups and take its deltas.
 */
#ifndef SAT_CHANGESET_READER_H
#define SAT_CHANGESET_READER_H

#include "proto/changeset.h"
#include "proto/changeset_keys.h"
#include "proto/column.h"

/* Elements of a set column that all deltas of a group add, or remove. */
struct elements {
	bool any;
	struct sat_slice counts;
	struct sat_column_reader texts;
};

struct lane {
	uint16_t index; /* of the column in the table */
	const struct sat_column *column;
	struct sat_slice present; /* empty: every delta has it */
	uint32_t count;           /* deltas that have it       */
	uint32_t taken;
	bool has_value, has_at, has_before, has_replaced, has_resolves;
	struct sat_column_reader value, before;
	struct sat_slice at, replaced, resolves;
	uint64_t last_replaced;
	struct elements adds, removes;
};

struct sat_changeset_reader {
	const struct sat_catalogue *catalogue;
	struct sat_arena *mem;
	struct sat_cursor groups;
	uint32_t groups_left, deltas_left;
	uint32_t delta; /* index of the next one */
	uint64_t *seen; /* hashes of rows, open addressing */
	size_t seen_mask;
	int failed; /* sticky */
	struct sat_err why;
	int column; /* where it failed */

	const struct sat_table *table; /* the group being read */
	enum sat_op op;
	uint32_t count, at;
	struct sat_id *ids;
	struct sat_column_reader times;
	struct sat_slice bases, contexts;
	bool has_bases, has_contexts;
	uint64_t last_base;
	struct lane *lanes;
	uint32_t lane_count;
};

/* Remember the failure, so that it comes again, and return rc. */
int sat_changeset_fail(struct sat_changeset_reader *r, int rc,
		       const char *what);

/* Open the next group at r->groups: dictionaries and ids are read, columns
 * wait for their values. SAT_OK, SAT_E_PROTO, SAT_E_NEWER, SAT_E_NOMEM. */
int sat_changeset_open_group(struct sat_changeset_reader *r) SAT_MUST_CHECK;

/* Has the group been used to its last byte? SAT_OK or SAT_E_PROTO. */
int sat_changeset_close_group(struct sat_changeset_reader *r) SAT_MUST_CHECK;

#endif
