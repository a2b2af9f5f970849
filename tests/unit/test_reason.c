#include "proto/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/text.h"
#include "tests/unit/wire_fixture.h"

static void sentences_name_what_they_are_about(void **state)
{
	const struct sat_column *c = &fx_visit->columns[FX_NOTES];
	char out[400];

	(void)state;
	sat_reason_text(SAT_REASON_ROLE, SAT_LANG_EN, fx_visit, c, out,
			sizeof out);
	assert_string_equal(out, "Your role may not change notes of visit. Ask "
				 "your manager to do it.");
	sat_reason_text(SAT_REASON_VALUE, SAT_LANG_ZH, fx_visit, c, out,
			sizeof out);
	assert_string_equal(out,
			    "visit：“notes”的值不符合要求。请改正后重新保存。");
	sat_reason_text(SAT_REASON_VALUE, SAT_LANG_EN, NULL, NULL, out,
			sizeof out);
	assert_string_equal(out, "This record: the value of this field is not "
				 "allowed. Correct it and save again.");
}

static void every_reason_has_a_name_and_both_sentences(void **state)
{
	char en[400], zh[400];

	(void)state;
	for (unsigned r = 0; r < SAT_REASON_COUNT; r++) {
		sat_reason_text((enum sat_reason)r, SAT_LANG_EN, fx_visit, NULL,
				en, sizeof en);
		sat_reason_text((enum sat_reason)r, SAT_LANG_ZH, fx_visit, NULL,
				zh, sizeof zh);
		assert_true(strlen(en) > 10 && strlen(en) < sizeof en - 1);
		assert_true(strlen(zh) > 10 && strlen(zh) < sizeof zh - 1);
		assert_string_not_equal(en, zh);
		assert_null(strchr(en, '%'));
		assert_null(strchr(zh, '%'));
		for (unsigned k = 0; k < r; k++)
			assert_string_not_equal(
				sat_reason_name((enum sat_reason)r),
				sat_reason_name((enum sat_reason)k));
	}
	assert_string_equal(sat_reason_name((enum sat_reason)999), "unknown");
	sat_reason_text((enum sat_reason)999, SAT_LANG_EN, NULL, NULL, en,
			sizeof en);
	assert_non_null(strstr(en, "Sync again"));
}

static void short_buffers_get_whole_characters(void **state)
{
	char out[64];

	(void)state;
	for (size_t n = 1; n <= sizeof out; n++) {
		memset(out, 'z', sizeof out);
		sat_reason_text(SAT_REASON_GONE, SAT_LANG_ZH, fx_visit, NULL,
				out, n);
		assert_true(strlen(out) < n);
		assert_true(sat_utf8_valid(sat_slice_str(out)));
		assert_true(strlen(out) + 3 >= n || n > 60);
	}
	sat_reason_text(SAT_REASON_GONE, SAT_LANG_ZH, NULL, NULL, out, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sentences_name_what_they_are_about),
		cmocka_unit_test(every_reason_has_a_name_and_both_sentences),
		cmocka_unit_test(short_buffers_get_whole_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
