#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/stamp.h"

#define AT(ms, counter) ((uint64_t)(ms) << 16 | (counter))

static void test_parts(void **state)
{
	const int64_t last = ((int64_t)1 << 48) - 1;

	(void)state;
	assert_int_equal(sat_stamp_make(5, 7), AT(5, 7));
	assert_int_equal(sat_stamp_ms(AT(5, 7)), 5);
	assert_int_equal(sat_stamp_make(-1, 3), 3);
	assert_int_equal(sat_stamp_ms(sat_stamp_make(INT64_MAX, 0)), last);
	assert_int_equal(sat_stamp_ms(UINT64_MAX), last);
}

static void test_issue(void **state)
{
	static const struct {
		struct sat_stamp_ask ask;
		uint64_t stamp;
		bool clamped;
		const char *why;
	} rows[] = {
		{ { 100, AT(200, 0), 0, 0 }, AT(100, 0), false, "as written" },
		{ { 300, AT(200, 0), 0, 0 },
		  AT(200, 0),
		  true,
		  "never beyond the server's now" },
		{ { 200, AT(200, 0), 0, 0 },
		  AT(200, 0),
		  false,
		  "at the ceiling is not beyond it" },
		{ { 100, AT(200, 0), AT(150, 3), 0 },
		  AT(150, 4),
		  false,
		  "after what it replaced, though the clock said before" },
		{ { 100, AT(200, 0), 0, AT(120, 0) },
		  AT(120, 1),
		  false,
		  "after the author's previous stamp" },
		{ { 100, AT(200, 0), AT(150, 0), AT(120, 0) },
		  AT(150, 1),
		  false,
		  "the later floor counts" },
		{ { 100, AT(200, 0), AT(120, 0), AT(150, 0) },
		  AT(150, 1),
		  false,
		  "whichever it is" },
		{ { 100, AT(200, 0), AT(50, 0), AT(60, 0) },
		  AT(100, 0),
		  false,
		  "floors below do nothing" },
		{ { 300, AT(200, 0), AT(250, 0), 0 },
		  AT(250, 1),
		  true,
		  "what the author had seen beats the ceiling" },
		{ { 100, AT(200, 0), AT(150, 65535), 0 },
		  AT(151, 0),
		  false,
		  "a full counter runs over into the next ms" },
		{ { 0, UINT64_MAX, UINT64_MAX, 0 },
		  UINT64_MAX,
		  false,
		  "the last stamp of all has no next" },
		{ { -5, AT(200, 0), 0, 0 }, 0, false, "before 1970 is 1970" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		bool clamped;

		if (sat_stamp_issue(&rows[i].ask, &clamped) != rows[i].stamp ||
		    clamped != rows[i].clamped ||
		    sat_stamp_issue(&rows[i].ask, NULL) != rows[i].stamp)
			fail_msg("%s", rows[i].why);
	}
}

static void test_correct(void **state)
{
	/* at raw 1000 the clock jumped ahead by 10,000, at raw 12,000 it was
	 * set back by the same */
	static const struct sat_clock_step there_and_back[] = {
		{ 1000, 10000 },
		{ 12000, -10000 },
	};
	/* at raw 1000 it was set back by 300 */
	static const struct sat_clock_step back[] = { { 1000, -300 } };
	static const struct sat_clock_step wild[] = {
		{ INT64_MAX, INT64_MAX },
		{ INT64_MIN, INT64_MIN },
	};
	static const struct {
		struct sat_clock_map map;
		int64_t raw, want;
		const char *why;
	} rows[] = {
		{ { 0, NULL, 0 }, 500, 500, "a right clock" },
		{ { -200, NULL, 0 }, 500, 300, "a clock ahead by 200" },
		{ { 5, there_and_back, 2 },
		  900,
		  905,
		  "before both steps: they cancel" },
		{ { 5, there_and_back, 2 },
		  11500,
		  1505,
		  "between them: only the second" },
		{ { 5, there_and_back, 2 },
		  2500,
		  2505,
		  "after both, though below the second's raw time" },
		{ { 0, back, 1 }, 1000, 700, "the step itself is before it" },
		{ { 0, back, 1 }, 1001, 1001, "after it" },
		{ { 0, NULL, 0 }, INT64_MIN, 0, "clamped below" },
		{ { 1, NULL, 0 }, INT64_MAX, ((int64_t)1 << 48) - 1, "above" },
		{ { INT64_MIN, wild, 2 }, INT64_MIN, 0, "nothing overflows" },
		{ { INT64_MAX, wild, 1 },
		  INT64_MAX,
		  ((int64_t)1 << 48) - 1,
		  "in either direction" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		if (sat_clock_correct(&rows[i].map, rows[i].raw) !=
		    rows[i].want)
			fail_msg("%s: %lld", rows[i].why,
				 (long long)sat_clock_correct(&rows[i].map,
							      rows[i].raw));
	}
}

static void test_hlc(void **state)
{
	uint64_t hlc = 0, last = UINT64_MAX;

	(void)state;
	assert_int_equal(sat_hlc_tick(&hlc, 100), AT(100, 0));
	assert_int_equal(sat_hlc_tick(&hlc, 100), AT(100, 1)); /* not still */
	assert_int_equal(sat_hlc_tick(&hlc, 50), AT(100, 2));  /* not back */
	assert_int_equal(sat_hlc_tick(&hlc, 101), AT(101, 0));
	assert_int_equal(hlc, AT(101, 0));
	assert_int_equal(sat_hlc_tick(&last, 101), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_issue),
		cmocka_unit_test(test_correct),
		cmocka_unit_test(test_hlc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
