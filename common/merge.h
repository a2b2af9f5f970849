/* merge.h - applying a delta to a row state (SYNC section 3). PURE: no I/O,
 * clock, randomness, globals; merge.c itself allocates nothing but from the
 * arena it is given. The same function makes the server's state and a
 * device's overlay.
 */
#ifndef SAT_MERGE_H
#define SAT_MERGE_H

#include "common/row.h"
#include "common/stamp.h"

enum sat_merge_outcome {
	SAT_MERGE_CONTAINED, /* VV[r] >= s: nothing happened                 */
	SAT_MERGE_APPLIED,
};

/* Give every change of d its stamp (SYNC section 2), from the state the
 * delta will be applied to. *ret_clamped tells that the ceiling changed one.
 * The author is dot.replica. */
void sat_delta_stamp(struct sat_delta *d, struct sat_dot dot,
		     const struct sat_row *row,
		     const struct sat_clock_map *clock, uint64_t ceiling,
		     bool *ret_clamped);

/* Apply a stamped delta with its dot to *row, which becomes the new state
 * (arrays are new ones in the arena; text and blobs stay borrowed from the
 * delta and the old row).
 *
 * Returns SAT_OK with *ret_outcome; SAT_E_FORGED when the context names a
 * dot of another replica that the row does not contain, or a dot of the
 * author's own that is not earlier than s; SAT_E_INVAL when a change does not
 * fit its column's policy; SAT_E_NOMEM, SAT_E_LIMIT. On failure *row is
 * unchanged. */
int sat_merge_apply(struct sat_arena *a, struct sat_row *row,
		    const struct sat_delta *d, struct sat_dot dot,
		    enum sat_merge_outcome *ret_outcome) SAT_MUST_CHECK;

#endif
