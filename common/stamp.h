/* stamp.h - hybrid logical stamps: 48 bits of ms UTC, 16 bits of counter.
 *
 * PURE. A stamp breaks ties and is shown to people; it never decides whether
 * data is accepted. Stamps are issued by the server (SYNC section 2):
 *
 *   stamp = min(server now, raw time + device offset at that time)
 *           but at least replaced + 1, and above the author's previous stamp
 *           on that row.
 *
 * The device computes the same function with the offset it was told.
 */
#ifndef SAT_STAMP_H
#define SAT_STAMP_H

#include "common/base.h"

enum { SAT_CLOCK_STEPS_MAX = 32 };

/* One recorded step of a device's wall clock: raw times at or before
 * before_ms were taken when the clock differed by delta_ms (new - old). With
 * several steps a raw time belongs to the first interval between two steps
 * that holds it (a clock may jump ahead and back). */
struct sat_clock_step {
	int64_t before_ms;
	int64_t delta_ms;
};

/* How to turn a device's raw time into the server's: offset now
 * (server - device, ms) plus the steps recorded since. */
struct sat_clock_map {
	int64_t offset_ms;
	const struct sat_clock_step *steps; /* oldest first */
	uint32_t step_count;
};

uint64_t sat_stamp_make(int64_t ms, uint16_t counter);
int64_t sat_stamp_ms(uint64_t stamp);

/* Server time of a raw device time, clamped to [0, 2^48). */
int64_t sat_clock_correct(const struct sat_clock_map *map, int64_t raw_ms);

struct sat_stamp_ask {
	int64_t corrected_ms; /* raw time + offset                            */
	uint64_t ceiling;     /* the server's HLC now; UINT64_MAX on a device */
	uint64_t replaced;    /* stamp the write replaced, 0 if none          */
	uint64_t previous;    /* the author's last stamp on the row, or 0     */
};

/* The stamp of one write. *ret_clamped (may be NULL) tells that the ceiling
 * changed the result, so the device cannot have computed the same. */
uint64_t sat_stamp_issue(const struct sat_stamp_ask *ask, bool *ret_clamped);

/* Server's hybrid clock: never goes back, never stands still. */
uint64_t sat_hlc_tick(uint64_t *hlc, int64_t now_ms);

#endif
