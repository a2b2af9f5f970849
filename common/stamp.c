#include "common/stamp.h"

enum { COUNTER_BITS = 16 };
static const int64_t ms_max = ((int64_t)1 << 48) - 1;

static int64_t clamp_ms(int64_t ms)
{
	if (ms < 0)
		return 0;
	return ms > ms_max ? ms_max : ms;
}

/* Raw times and steps come from devices: no sum of theirs may overflow. */
static int64_t add_clamped(int64_t x, int64_t y)
{
	if (y > 0 && x > INT64_MAX - y)
		return INT64_MAX;
	if (y < 0 && x < INT64_MIN - y)
		return INT64_MIN;
	return x + y;
}

static uint64_t after(uint64_t stamp)
{
	return stamp == UINT64_MAX ? stamp : stamp + 1;
}

uint64_t sat_stamp_make(int64_t ms, uint16_t counter)
{
	return (uint64_t)clamp_ms(ms) << COUNTER_BITS | counter;
}

int64_t sat_stamp_ms(uint64_t stamp)
{
	return (int64_t)(stamp >> COUNTER_BITS);
}

/* Between two steps the clock showed an interval of raw times: from where the
 * first step set it to where the second took it away. A clock that jumped a
 * year ahead and back showed today's times before and after, so a raw time
 * belongs to the first interval that holds it, and "at or before before_ms"
 * alone would move today's times by the second step. */
int64_t sat_clock_correct(const struct sat_clock_map *map, int64_t raw_ms)
{
	int64_t from = INT64_MIN, ms = raw_ms;
	bool stepped = false;

	for (uint32_t i = 0; i < map->step_count; i++) {
		const struct sat_clock_step *s = &map->steps[i];

		if (raw_ms >= from && raw_ms <= s->before_ms)
			stepped = true;
		if (stepped)
			ms = add_clamped(ms, s->delta_ms);
		from = add_clamped(s->before_ms, s->delta_ms);
	}
	return clamp_ms(add_clamped(ms, map->offset_ms));
}

uint64_t sat_stamp_issue(const struct sat_stamp_ask *ask, bool *ret_clamped)
{
	uint64_t floor = 0, asked = sat_stamp_make(ask->corrected_ms, 0);
	uint64_t free, bound;

	if (ask->replaced != 0)
		floor = after(ask->replaced);
	if (ask->previous != 0 && after(ask->previous) > floor)
		floor = after(ask->previous);
	free = asked > floor ? asked : floor;
	bound = asked < ask->ceiling ? asked : ask->ceiling;
	if (bound < floor)
		bound = floor;
	if (ret_clamped != NULL)
		*ret_clamped = bound != free;
	return bound;
}

uint64_t sat_hlc_tick(uint64_t *hlc, int64_t now_ms)
{
	uint64_t now = sat_stamp_make(now_ms, 0);

	*hlc = now > *hlc ? now : after(*hlc);
	return *hlc;
}
