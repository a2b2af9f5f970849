#include "common/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

#define S(s)                                        \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static void ids_go_there_and_back(void **state)
{
	static const char text[] = "0190163d-8694-739b-aea5-966c26f8ad91";
	struct sat_id id;
	char out[SAT_UUID_CHARS + 1];

	(void)state;
	assert_true(sat_id_parse(sat_slice_str(text), &id));
	assert_int_equal(id.b[0], 0x01);
	assert_int_equal(id.b[15], 0x91);
	sat_id_format(&id, out);
	assert_string_equal(out, text);
}

static void only_canonical_ids_are_taken(void **state)
{
	static const struct sat_slice rows[] = {
		S(""),
		S("0190163d8694739baea5966c26f8ad91"),
		S("0190163D-8694-739b-aea5-966c26f8ad91"),
		S("0190163d-8694-739b-aea5-966c26f8ad9"),
		S("0190163d-8694-739b-aea5-966c26f8ad911"),
		S("{190163d-8694-739b-aea5-966c26f8ad9}"),
		S("0190163d-8694-739b-aea5+966c26f8ad91"),
		S("0190163-d8694-739b-aea5-966c26f8ad91"),
		S("0190163d-8694-739b-aea5-966c26f8ad9g"),
		S("0190163d-8694-739b-aea5-966c26f8ad9\0"),
		S("------------------------------------"),
	};
	struct sat_id id;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++)
		assert_false(sat_id_parse(rows[i], &id));
}

static void a_v7_id_holds_time_version_variant(void **state)
{
	static const uint8_t ones[10] = { 255, 255, 255, 255, 255,
					  255, 255, 255, 255, 255 };
	static const uint8_t zeros[10];
	char out[SAT_UUID_CHARS + 1];
	struct sat_id id = sat_id_v7(INT64_C(0x0190163d8694), ones);

	(void)state;
	sat_id_format(&id, out);
	assert_string_equal(out, "0190163d-8694-7fff-bfff-ffffffffffff");
	id = sat_id_v7(INT64_C(0x0190163d8694), zeros);
	sat_id_format(&id, out);
	assert_string_equal(out, "0190163d-8694-7000-8000-000000000000");
	id = sat_id_v7(-1, zeros);
	sat_id_format(&id, out);
	assert_string_equal(out, "00000000-0000-7000-8000-000000000000");
}

static void utf8_is_judged(void **state)
{
	static const struct {
		const char *why;
		struct sat_slice s;
		bool valid;
	} rows[] = {
		{ "nothing", S(""), true },
		{ "ASCII", S("plain\n"), true },
		{ "two bytes", S("\xc2\x80\xdf\xbf"), true },
		{ "three bytes", S("\xe0\xa0\x80\xe4\xb8\xad\xef\xbf\xbf"),
		  true },
		{ "around the surrogates", S("\xed\x9f\xbf\xee\x80\x80"),
		  true },
		{ "four bytes", S("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true },
		{ "NUL", S("a\0b"), false },
		{ "bare continuation", S("\x80"), false },
		{ "overlong slash", S("\xc0\xaf"), false },
		{ "overlong in two", S("\xc1\xbf"), false },
		{ "overlong in three", S("\xe0\x9f\xbf"), false },
		{ "overlong in four", S("\xf0\x8f\xbf\xbf"), false },
		{ "surrogate", S("\xed\xa0\x80"), false },
		{ "above U+10FFFF", S("\xf4\x90\x80\x80"), false },
		{ "five bytes", S("\xf8\x88\x80\x80\x80"), false },
		{ "cut after one", S("\xe4"), false },
		{ "cut after two", S("\xe4\xb8"), false },
		{ "cut after three", S("\xf0\x90\x80"), false },
		{ "third byte wrong", S("\xe4\xb8\x2d"), false },
		{ "second byte wrong", S("\xc2\x41"), false },
		{ "no such byte", S("\xff"), false },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		print_message("    %s\n", rows[i].why);
		assert_int_equal(sat_utf8_valid(rows[i].s), rows[i].valid);
	}
	/* each of them anywhere among words of plain text */
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		for (size_t at = 0; at <= 24; at++) {
			uint8_t text[64];

			memset(text, 'a' + (int)at % 26, sizeof text);
			text[at / 2] = 0x7f;
			if (rows[i].s.len > 0)
				memcpy(text + at, rows[i].s.ptr, rows[i].s.len);
			/* what is cut in the end is wrong in the middle too */
			assert_int_equal(sat_utf8_valid((struct sat_slice){
						 text, sizeof text }),
					 rows[i].valid);
		}
	}
}

static void hex_goes_there_and_back(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x9f, 0xa0, 0xff };
	uint8_t back[4];
	char out[9];

	(void)state;
	sat_hex_format(bytes, sizeof bytes, out);
	assert_string_equal(out, "009fa0ff");
	assert_true(sat_hex_parse(sat_slice_str("009FA0ff"), back, 4));
	assert_memory_equal(back, bytes, 4);
	assert_false(sat_hex_parse(sat_slice_str("009fa0f"), back, 4));
	assert_false(sat_hex_parse(sat_slice_str("009fa0fff"), back, 4));
	assert_false(sat_hex_parse(sat_slice_str("009fa0fg"), back, 4));
	assert_false(sat_hex_parse(sat_slice_str("009fa0 f"), back, 4));
	assert_true(sat_hex_parse(sat_slice_str(""), back, 0));
}

static void money_goes_there_and_back(void **state)
{
	static const struct {
		int64_t minor;
		const char *text;
	} rows[] = {
		{ 0, "0.00" },
		{ 5, "0.05" },
		{ -5, "-0.05" },
		{ 99, "0.99" },
		{ 100, "1.00" },
		{ 105450, "1054.50" },
		{ -105450, "-1054.50" },
		{ INT64_MAX, "92233720368547758.07" },
		{ INT64_MIN, "-92233720368547758.08" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		char out[32];
		int64_t back = 1;

		sat_money_format(rows[i].minor, out);
		assert_string_equal(out, rows[i].text);
		assert_true(sat_money_parse(sat_slice_str(out), &back));
		assert_true(back == rows[i].minor);
	}
}

static void money_is_exact_or_refused(void **state)
{
	static const struct sat_slice refused[] = {
		S(""),
		S("-"),
		S("."),
		S(".5"),
		S("5."),
		S("+5"),
		S("1,000"),
		S("1.005"),
		S("1.500"),
		S(" 1"),
		S("1 "),
		S("1e2"),
		S("0x1"),
		S("--1"),
		S("1.-5"),
		S("1.5-"),
		S("1.2.3"),
		S("NaN"),
		S("1\0"),
		S("-.5"),
		S("92233720368547758.08"),
		S("-92233720368547758.09"),
		S("92233720368547759"),
		S("9223372036854775808"),
		S("99999999999999999999999999"),
	};
	int64_t minor = 7;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(refused); i++)
		assert_false(sat_money_parse(refused[i], &minor));
	assert_true(minor == 7);
	assert_true(sat_money_parse(sat_slice_str("12"), &minor));
	assert_true(minor == 1200);
	assert_true(sat_money_parse(sat_slice_str("12.5"), &minor));
	assert_true(minor == 1250);
	assert_true(sat_money_parse(sat_slice_str("-0012.5"), &minor));
	assert_true(minor == -1250);
	assert_true(sat_money_parse(sat_slice_str("-0"), &minor));
	assert_true(minor == 0);
}

static void places_have_one_spelling(void **state)
{
	static const struct {
		struct sat_slice s;
		bool valid;
	} rows[] = {
		{ S("31.2304000,121.4737000"), true },
		{ S("0.0000000,0.0000000"), true },
		{ S("-0.0000001,-0.0000001"), true },
		{ S("90.0000000,180.0000000"), true },
		{ S("-90.0000000,-180.0000000"), true },
		{ S("90.0000001,0.0000000"), false },
		{ S("-90.0000001,0.0000000"), false },
		{ S("0.0000000,180.0000001"), false },
		{ S("0.0000000,999.0000000"), false },
		{ S("0.0000000,1000.0000000"), false },
		{ S("-0.0000000,0.0000000"), false },
		{ S("01.0000000,0.0000000"), false },
		{ S("1.000000,0.0000000"), false },
		{ S("1.00000000,0.0000000"), false },
		{ S("1,2"), false },
		{ S("1.0000000, 2.0000000"), false },
		{ S("1.0000000;2.0000000"), false },
		{ S("1.0000000,2.0000000,3.0000000"), false },
		{ S("1.0000000"), false },
		{ S("1.0000000,"), false },
		{ S(",1.0000000"), false },
		{ S("1.00000x0,2.0000000"), false },
		{ S("1x0000000,2.0000000"), false },
		{ S("-,-"), false },
		{ S(","), false },
		{ S(""), false },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++)
		assert_int_equal(sat_geo_valid(rows[i].s), rows[i].valid);
}

static void every_day_goes_there_and_back(void **state)
{
	char before[11] = "", text[11];
	int32_t back;

	(void)state;
	for (int32_t day = -719162; day <= 2932896; day++) {
		sat_date_format(day, text);
		assert_true(strcmp(before, text) < 0);
		assert_true(sat_date_days(sat_slice_str(text), &back));
		assert_int_equal(back, day);
		memcpy(before, text, sizeof text);
	}
	assert_string_equal(before, "9999-12-31");
	sat_date_format(0, text);
	assert_string_equal(text, "1970-01-01");
	sat_date_format(20778, text); /* date -d 2026-11-21 +%s / 86400 */
	assert_string_equal(text, "2026-11-21");
	sat_date_format(INT32_MIN, text);
	assert_string_equal(text, "0001-01-01");
	sat_date_format(INT32_MAX, text);
	assert_string_equal(text, "9999-12-31");
}

static void only_real_days_are_taken(void **state)
{
	static const struct sat_slice rows[] = {
		S(""),
		S("0000-01-01"),
		S("2026-00-01"),
		S("2026-13-01"),
		S("2026-01-00"),
		S("2026-01-32"),
		S("2026-04-31"),
		S("2026-02-29"),
		S("1900-02-29"),
		S("2026-2-01"),
		S("2026/02/01"),
		S("2026-02-01 "),
		S("20260201"),
		S("-026-02-01"),
		S("2026-02-0x"),
		S("2026-02-0\0"),
		S("10000-01-01"),
		S("2026-02+01"),
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++)
		assert_false(sat_date_valid(rows[i]));
	assert_true(sat_date_valid(sat_slice_str("2000-02-29")));
	assert_true(sat_date_valid(sat_slice_str("0001-01-01")));
}

static void times_are_printed(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ 1795299425123, "2026-11-21T22:17:05.123Z" },
		{ -62135596800000, "0001-01-01T00:00:00.000Z" },
		{ -62135596800001, "0001-01-01T00:00:00.000Z" },
		{ 253402300799999, "9999-12-31T23:59:59.999Z" },
		{ 253402300800000, "9999-12-31T23:59:59.999Z" },
		{ INT64_MAX, "9999-12-31T23:59:59.999Z" },
		{ INT64_MIN, "0001-01-01T00:00:00.000Z" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		char out[25];

		sat_time_format(rows[i].ms, out);
		assert_string_equal(out, rows[i].text);
	}
}

static void times_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{ "1970-01-01", 0 },
		{ "2026-11-21T22:17:05.123Z", 1795299425123 },
		{ "2026-11-21 22:17:05.123", 1795299425123 },
		{ "2026-11-21 22:17:05", 1795299425000 },
		{ "2026-11-21T22:17Z", 1795299420000 },
		{ "1969-12-31T23:59:59.999", -1 },
		{ "0001-01-01T00:00:00.000Z", -62135596800000 },
		{ "9999-12-31T23:59:59.999Z", 253402300799999 },
	};
	static const struct sat_slice refused[] = {
		S(""),
		S("2026-11-21T"),
		S("2026-11-21Z"),
		S("2026-11-21T22"),
		S("2026-11-21T24:00"),
		S("2026-11-21T22:60"),
		S("2026-11-21T22:17:60"),
		S("2026-11-21T22:17:5"),
		S("2026-11-21T22:17:05."),
		S("2026-11-21T22:17:05.1"),
		S("2026-11-21T22:17:05.1234"),
		S("2026-11-21T22:17:05,123"),
		S("2026-11-21T22.17:05"),
		S("2026-11-21T22:17.05"),
		S("2026-11-21T22:17:05ZZ"),
		S("2026-11-21T22:17:05+01:00"),
		S("2026-11-21t22:17"),
		S("2026-11-21  22:17"),
		S("2026-02-30T00:00"),
		S("2026-11-21T-1:17"),
		S("2026-11-21Tx2:17"),
		S("2026-11-21T22:17:x5"),
		S("2026-11-21T22:17:05.x23"),
	};
	int64_t ms = 7;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(refused); i++)
		assert_false(sat_time_parse(refused[i], &ms));
	assert_true(ms == 7);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		assert_true(sat_time_parse(sat_slice_str(rows[i].text), &ms));
		assert_true(ms == rows[i].ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_go_there_and_back),
		cmocka_unit_test(only_canonical_ids_are_taken),
		cmocka_unit_test(a_v7_id_holds_time_version_variant),
		cmocka_unit_test(utf8_is_judged),
		cmocka_unit_test(hex_goes_there_and_back),
		cmocka_unit_test(money_goes_there_and_back),
		cmocka_unit_test(money_is_exact_or_refused),
		cmocka_unit_test(places_have_one_spelling),
		cmocka_unit_test(every_day_goes_there_and_back),
		cmocka_unit_test(only_real_days_are_taken),
		cmocka_unit_test(times_are_printed),
		cmocka_unit_test(times_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
