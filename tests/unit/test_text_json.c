#include "common/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define S(s)                                        \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static void sets_become_canonical(void **state)
{
	static const struct {
		const char *why;
		struct sat_slice in;
		const char *out;
	} rows[] = {
		{ "empty", S("[]"), "[]" },
		{ "empty with spaces", S(" [ \n\t\r] "), "[]" },
		{ "one", S("[\"vip\"]"), "[\"vip\"]" },
		{ "sorted", S("[\"b\",\"a\",\"c\"]"), "[\"a\",\"b\",\"c\"]" },
		{ "distinct", S("[\"b\",\"a\",\"b\",\"a\"]"), "[\"a\",\"b\"]" },
		{ "a prefix first", S("[\"ab\",\"a\",\"\"]"),
		  "[\"\",\"a\",\"ab\"]" },
		{ "byte order", S("[\"\xe4\xb8\xad\",\"z\",\"Z\"]"),
		  "[\"Z\",\"z\",\"\xe4\xb8\xad\"]" },
		{ "spaces between", S("[ \"a\" , \"b\" ]"), "[\"a\",\"b\"]" },
		{ "every short escape", S("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
		  "[\"\\\"\\\\/\\b\\f\\n\\r\\t\"]" },
		{ "control characters", S("[\"\\u0001\\u001F\\u007f\"]"),
		  "[\"\\u0001\\u001f\x7f\"]" },
		{ "one to four bytes",
		  S("[\"\\u0041\\u00e9\\u4E2d\\uD83D\\ude00\"]"),
		  "[\"A\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\"]" },
		{ "escaped or not, the same", S("[\"\\u0061\",\"a\"]"),
		  "[\"a\"]" },
		{ "commas and brackets inside", S("[\"a,b]\",\",,,\"]"),
		  "[\",,,\",\"a,b]\"]" },
	};
	struct sat_arena a;

	(void)state;
	sat_arena_init(&a, 1 << 20);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice *set, out;
		uint32_t count;

		print_message("    %s\n", rows[i].why);
		assert_int_equal(sat_set_parse(&a, rows[i].in, &set, &count),
				 SAT_OK);
		assert_int_equal(sat_set_format(&a, set, count, &out), SAT_OK);
		assert_true(sat_slice_equal(out, sat_slice_str(rows[i].out)));
		/* What was printed reads as the same set. */
		assert_int_equal(sat_set_parse(&a, out, &set, &count), SAT_OK);
		assert_int_equal(sat_set_format(&a, set, count, &out), SAT_OK);
		assert_true(sat_slice_equal(out, sat_slice_str(rows[i].out)));
	}
	sat_arena_fini(&a);
}

static void what_is_no_set_is_refused(void **state)
{
	static const struct sat_slice rows[] = {
		S(""),
		S(" "),
		S("["),
		S("]"),
		S("[\"a\""),
		S("[\"a"),
		S("[\"a\",]"),
		S("[,\"a\"]"),
		S("[\"a\" \"b\"]"),
		S("[\"a\"]]"),
		S("[\"a\"]x"),
		S("[1]"),
		S("[null]"),
		S("[[\"a\"]]"),
		S("{\"a\":1}"),
		S("\"a\""),
		S("['a']"),
		S("[\"\\"),
		S("[\"\\x\"]"),
		S("[\"\\u12\"]"),
		S("[\"\\u12g4\"]"),
		S("[\"\\u0000\"]"),
		S("[\"\\ud83d\"]"),
		S("[\"\\ud83d\\n\"]"),
		S("[\"\\ud83dxx\"]"),
		S("[\"\\ud83d\\u0041\"]"),
		S("[\"\\ud83d\\ue000\"]"),
		S("[\"\\ude00\"]"),
		S("[\"\\ud83d\\u"),
		S("[\"a\0\"]"),
		S("[\"\x01\"]"),
		S("[\"\n\"]"),
		S("[\"\xff\"]"),
		S("[\"\xed\xa0\x80\"]"),
		S("\xef\xbb\xbf[]"),
	};
	struct sat_arena a;

	(void)state;
	sat_arena_init(&a, 1 << 20);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice *set = NULL;
		uint32_t count = 7;

		assert_int_equal(sat_set_parse(&a, rows[i], &set, &count),
				 SAT_E_INVAL);
		assert_null(set);
		assert_int_equal(count, 7);
	}
	sat_arena_fini(&a);
}

/* n elements, each given twice, in falling order. */
static char *big_set(uint32_t n)
{
	char *text = malloc((size_t)n * 20 + 3), *at = text;

	assert_non_null(text);
	*at++ = '[';
	for (uint32_t i = n; i > 0; i--)
		at += sprintf(at, "%s\"%06u\",\"%06u\"", i < n ? "," : "", i,
			      i);
	*at++ = ']';
	*at = '\0';
	return text;
}

static void sets_are_bounded(void **state)
{
	struct sat_arena a;
	struct sat_slice *set;
	uint32_t count;
	char *text = big_set(4096);

	(void)state;
	sat_arena_init(&a, 1 << 20);
	assert_int_equal(sat_set_parse(&a, sat_slice_str(text), &set, &count),
			 SAT_OK);
	assert_int_equal(count, 4096);
	for (uint32_t i = 1; i < count; i++)
		assert_true(sat_slice_compare(set[i - 1], set[i]) < 0);
	free(text);
	text = big_set(4097);
	assert_int_equal(sat_set_parse(&a, sat_slice_str(text), &set, &count),
			 SAT_E_LIMIT);
	free(text);
	sat_arena_fini(&a);
}

static void a_full_arena_is_told(void **state)
{
	struct sat_slice in = S("[\"a\",\"b\"]"), *set = NULL, out;
	struct sat_slice elements[] = { S("a"), S("b") };
	struct sat_arena a;
	uint32_t count;

	(void)state;
	for (size_t max = 0; max < 41; max++) {
		sat_arena_init(&a, max);
		assert_int_equal(sat_set_parse(&a, in, &set, &count),
				 SAT_E_NOMEM);
		sat_arena_fini(&a);
	}
	sat_arena_init(&a, 8);
	assert_int_equal(sat_set_format(&a, elements, 2, &out), SAT_E_NOMEM);
	sat_arena_fini(&a);
}

static void json_is_judged(void **state)
{
	static const struct {
		struct sat_slice s;
		bool valid;
	} rows[] = {
		{ S("null"), true },
		{ S(" true "), true },
		{ S("false"), true },
		{ S("\"a\\u00e9\\n\""), true },
		{ S("0"), true },
		{ S("-0"), true },
		{ S("-12.50e+3"), true },
		{ S("1E9"), true },
		{ S("[]"), true },
		{ S("{}"), true },
		{ S("[ [ ] , { } ]"), true },
		{ S("{\"a\":[1,{},[],{\"b\":null}],\"c\":-1.5e3}"), true },
		{ S("[[[1],2],3]"), true },
		{ S(""), false },
		{ S(" "), false },
		{ S("nul"), false },
		{ S("nulll"), false },
		{ S("True"), false },
		{ S("01"), false },
		{ S("-"), false },
		{ S("-a"), false },
		{ S("1."), false },
		{ S(".1"), false },
		{ S("1e"), false },
		{ S("1e+"), false },
		{ S("+1"), false },
		{ S("NaN"), false },
		{ S("[1,]"), false },
		{ S("[,1]"), false },
		{ S("[1 2]"), false },
		{ S("[1"), false },
		{ S("[1}"), false },
		{ S("{\"a\"}"), false },
		{ S("{\"a\":}"), false },
		{ S("{\"a\":1,}"), false },
		{ S("{\"a\":1,2}"), false },
		{ S("{a:1}"), false },
		{ S("{1:1}"), false },
		{ S("{"), false },
		{ S("{\"a\":1]"), false },
		{ S("{}x"), false },
		{ S("{}{}"), false },
		{ S("\"a"), false },
		{ S("\"\n\""), false },
		{ S("\"\\q\""), false },
		{ S("\"\\u0000\""), false },
		{ S("\"\xc0\x80\""), false },
		{ S("1\0"), false },
		{ S("// c\n1"), false },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		print_message("    %.*s\n", (int)rows[i].s.len, rows[i].s.ptr);
		assert_int_equal(sat_json_valid(rows[i].s), rows[i].valid);
	}
}

static void nesting_is_bounded(void **state)
{
	char text[200];

	(void)state;
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	assert_false(
		sat_json_valid((struct sat_slice){ (uint8_t *)text, 130 }));
	assert_true(
		sat_json_valid((struct sat_slice){ (uint8_t *)text + 1, 128 }));
	assert_false(
		sat_json_valid((struct sat_slice){ (uint8_t *)text + 1, 127 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_become_canonical),
		cmocka_unit_test(what_is_no_set_is_refused),
		cmocka_unit_test(sets_are_bounded),
		cmocka_unit_test(a_full_arena_is_told),
		cmocka_unit_test(json_is_judged),
		cmocka_unit_test(nesting_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
