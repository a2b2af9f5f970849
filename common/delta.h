/* delta.h - what a replica says it changed: deltas and changesets. PURE. */
#ifndef SAT_DELTA_H
#define SAT_DELTA_H

#include "common/catalogue.h"
#include "common/vv.h"

enum sat_op { SAT_OP_INSERT, SAT_OP_UPDATE, SAT_OP_DELETE };

/* One changed field. Which members count depends on the column's policy:
 *   lww keep ordered max min first  value, before, replaced, resolves
 *   counter                         value (INT: the increment)
 *   set                             adds, removes
 */
struct sat_change {
	uint16_t column;        /* index in table->columns                   */
	struct sat_value value; /* new value, or increment                   */
	const struct sat_slice *adds, *removes; /* set elements              */
	uint32_t add_count, remove_count;
	int64_t at_ms;           /* raw local time of the last statement that
				    changed it                               */
	struct sat_value before; /* what the author replaced; NULL on insert */
	uint64_t replaced;       /* stamp of what it replaced, 0 if none     */
	bool resolves;           /* a person's answer to a conflict          */
	uint64_t stamp;          /* filled in by sat_delta_stamp, not sent   */
};

struct sat_delta {
	enum sat_op op;
	const struct sat_table *table;
	struct sat_id id;
	struct sat_vv context; /* the row's VV as the author held it, own
				  earlier dots included                  */
	uint64_t base_seq; /* `_seq` of the server state it was made on, or 0 */
	int64_t at_ms;     /* raw local time of the last statement           */
	struct sat_change *changes; /* sorted by column, no duplicates        */
	uint32_t change_count;      /* 0 for a delete                        */
	uint64_t stamp; /* of the delta as a whole; sat_delta_stamp           */
};

/* Where the author stood: last checkpoint applied and grant version. */
struct sat_marker {
	uint64_t epoch;
	uint64_t commit_seq;
	uint32_t grants;
};

enum {
	SAT_CHANGESET_COALESCED = 1, /* several local transactions in one */
	/* Stands for one that had no effect, when a restored server asks
	 * again: no deltas, and prev_hash is that one's own hash. */
	SAT_CHANGESET_VOID = 2,
};

struct sat_changeset {
	struct sat_dot dot;
	uint8_t prev_hash[16]; /* XXH3-128 of the predecessor's bytes, zero
				  for seq 1                                 */
	uint32_t catalogue;    /* version it was formed under               */
	struct sat_marker marker;
	uint32_t flags;           /* SAT_CHANGESET_* */
	struct sat_delta *deltas; /* at most one per row */
	uint32_t delta_count;
};

#endif
