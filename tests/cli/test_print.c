#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/print.h"

static void check_clean(const char *in, size_t len, size_t width_max,
			const char *want)
{
	struct sat_slice s = { (const uint8_t *)in, len };
	struct sat_buf out;

	sat_buf_init(&out, 4096);
	assert_int_equal(sat_print_clean(&out, s, width_max), SAT_OK);
	assert_int_equal(sat_buf_append(&out, "", 1), SAT_OK);
	assert_string_equal((const char *)sat_buf_peek(&out).ptr, want);
	sat_buf_fini(&out);
}

static void widths_are_those_of_a_terminal(void **state)
{
	static const struct {
		const char *text;
		size_t width;
	} rows[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "行囊", 4 },             /* Chinese: two places each        */
		{ "Caf\xc3\xa9", 4 },      /* an accent in the letter         */
		{ "e\xcc\x81", 1 },        /* an accent that combines         */
		{ "ＡＢ", 4 },             /* full-width Latin                */
		{ "\xf0\x9f\x98\x80", 2 }, /* a picture                       */
		{ "한글", 4 },
		{ "\xff", 1 }, /* what is no character is one place          */
		{ "¥", 1 },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++)
		assert_int_equal(sat_print_width(sat_slice_str(rows[i].text)),
				 rows[i].width);
}

static void what_steers_a_terminal_is_shown(void **state)
{
	(void)state;
	check_clean("a\x1b[31mb", 7, 0, "a\\x1b[31mb");
	check_clean("a\nb\tc\rd", 7, 0, "a\\nb\\tc\\rd");
	check_clean("a\0b", 3, 0, "a\\x00b");
	check_clean("a\x7f", 2, 0, "a\\x7f");
	check_clean("\xc2\x9b", 2, 0, "\\x9b");       /* C1: CSI       */
	check_clean("\xe2\x80\xae", 3, 0, "\\u202e"); /* right to left */
	check_clean("\xe2\x81\xa6", 3, 0, "\\u2066");
	check_clean("\xe2\x80\xa8", 3, 0, "\\u2028");
	check_clean("\xff\xfe", 2, 0, "\\xff\\xfe");
	check_clean("\xc0\x80", 2, 0, "\\xc0\\x80"); /* overlong      */
	check_clean("\xed\xa0\x80", 3, 0, "\\xed\\xa0\\x80"); /* surrogate  */
	check_clean("\xe8\xa1", 2, 0, "\\xe8\\xa1"); /* cut short     */
	check_clean("行囊 \"x\"", strlen("行囊 \"x\""), 0, "行囊 \"x\"");
}

static void long_text_ends_in_an_ellipsis(void **state)
{
	(void)state;
	check_clean("abcdef", 6, 6, "abcdef");
	check_clean("abcdef", 6, 5, "abcd…");
	check_clean("行囊行囊", 12, 8, "行囊行囊");
	check_clean("行囊行囊", 12, 7, "行囊行…");
	check_clean("行囊行囊", 12, 6, "行囊…"); /* half a character is none */
	check_clean("ab\x1b\x1b", 4, 6, "ab…");
	check_clean("abc", 3, 1, "…");
}

/* Print two columns, return all output. */
static void an_empty_line_is_a_line(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_non_null(f);
	sat_print_line(f, "");
	assert_int_equal(fclose(f), 0);
	assert_string_equal(text, "\n");
	free(text);
}

static char *print(const char *const *cells, size_t count, size_t width_max)
{
	static const char *const titles[] = { "名称", "n" };
	static const bool right[] = { false, true };
	struct sat_print p;
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	assert_int_equal(sat_print_begin(&p, f, titles, right, 2, width_max),
			 SAT_OK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(sat_print_cell(&p, sat_slice_str(cells[i])),
				 SAT_OK);
	sat_print_end(&p);
	(void)fclose(f);
	return text;
}

static void columns_line_up(void **state)
{
	static const char *const cells[] = { "a",    "1", "行囊行",
					     "1000", "",  "22" };
	char *text = print(cells, SAT_COUNT_OF(cells), 0);

	(void)state;
	assert_string_equal(text, "名称       n\n"
				  "a          1\n"
				  "行囊行  1000\n"
				  "          22\n");
	free(text);
}

static void half_a_row_is_not_printed(void **state)
{
	static const char *const cells[] = { "a", "1", "b" };
	char *text = print(cells, SAT_COUNT_OF(cells), 0);

	(void)state;
	assert_string_equal(text, "名称  n\na     1\n");
	free(text);
}

/* More rows than a block holds: all of them, each once, in order. */
static void blocks_follow_each_other(void **state)
{
	enum { ROWS = SAT_PRINT_BLOCK_ROWS * 2 + 5 };
	static const char *cells[2 * ROWS];
	static char names[ROWS][8];
	char *text, *at;
	size_t lines = 0;

	(void)state;
	for (int i = 0; i < ROWS; i++) {
		(void)snprintf(names[i], sizeof names[i], "%d", i);
		cells[2 * i] = "x";
		cells[2 * i + 1] = names[i];
	}
	text = print(cells, SAT_COUNT_OF(cells), 0);
	at = strchr(text, '\n') + 1;
	for (; *at != '\0'; at = strchr(at, '\n') + 1, lines++) {
		assert_int_equal(*at, 'x');
		assert_int_equal(strtol(at + 1, NULL, 10), (long)lines);
	}
	assert_int_equal(lines, ROWS);
	free(text);
}

static void too_many_columns_are_refused(void **state)
{
	static const char *titles[SAT_PRINT_COLUMNS_MAX + 1];
	struct sat_print p;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(titles); i++)
		titles[i] = "x";
	assert_int_equal(sat_print_begin(&p, stdout, titles, NULL,
					 SAT_COUNT_OF(titles), 0),
			 SAT_E_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(widths_are_those_of_a_terminal),
		cmocka_unit_test(what_steers_a_terminal_is_shown),
		cmocka_unit_test(long_text_ends_in_an_ellipsis),
		cmocka_unit_test(an_empty_line_is_a_line),
		cmocka_unit_test(columns_line_up),
		cmocka_unit_test(half_a_row_is_not_printed),
		cmocka_unit_test(blocks_follow_each_other),
		cmocka_unit_test(too_many_columns_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
