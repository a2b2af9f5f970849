#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"

static char seen[64 * 1024];
static size_t seen_len;
static unsigned lines;
static int64_t now;

static void on_line(void *arg, struct sat_slice line)
{
	assert_ptr_equal(arg, &lines);
	assert_true(seen_len + line.len < sizeof seen);
	memcpy(seen + seen_len, line.ptr, line.len);
	seen_len += line.len;
	seen[seen_len] = '\0';
	lines++;
}

static int64_t on_clock(void *arg)
{
	(void)arg;
	return now;
}

static int set_up(void **state)
{
	(void)state;
	sat_log_flush();
	seen_len = 0;
	seen[0] = '\0';
	lines = 0;
	now = 1795299425123; /* 2026-11-21T22:17:05.123Z */
	sat_log_set_sink(on_line, &lines);
	sat_log_set_clock(on_clock, NULL);
	sat_log_set_level(SAT_LOG_INFO);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sat_log_set_sink(NULL, NULL);
	sat_log_set_clock(NULL, NULL);
	return 0;
}

static void a_line_is_keys_and_values(void **state)
{
	struct sat_err err;

	(void)state;
	(void)sat_err_set(&err, SAT_E_IO, 104, "read", "connection reset");
	sat_log(SAT_LOG_WARN, "link", "closed", SAT_KV_UINT("id", 41),
		SAT_KV_STR("peer", "198.51.100.7:5"), SAT_KV_INT("left", -3),
		SAT_KV_ERR(&err));
	assert_string_equal(
		seen,
		"2026-11-21T22:17:05.123Z level=warn sub=link msg=closed "
		"id=41 peer=198.51.100.7:5 left=-3 rc=E_IO op=read sys=104 "
		"why=\"connection reset\"\n");
	sat_log(SAT_LOG_INFO, "main", "started");
	assert_non_null(strstr(seen, "level=info sub=main msg=started\n"));
}

/* Whatever a peer gets into a text, it stays one value of one line. */
static void nobody_forges_a_line(void **state)
{
	(void)state;
	sat_log(SAT_LOG_INFO, "t", "m",
		SAT_KV_STR("a", "x\nlevel=error sub=fake"),
		SAT_KV_STR("b", "say \"hi\" \\ \x1b[2J"), SAT_KV_STR("c", ""),
		SAT_KV_STR("d", NULL), SAT_KV_STR("e", "k=v"),
		SAT_KV_STR("f", "\xe8\xa1\x8c"));
	assert_int_equal(lines, 1);
	assert_non_null(strstr(seen, " a=\"x\\x0alevel=error sub=fake\" "
				     "b=\"say \\\"hi\\\" \\\\ \\x1b[2J\" "
				     "c=\"\" d=\"\" e=\"k=v\" "
				     "f=\xe8\xa1\x8c\n"));
	assert_ptr_equal(strchr(seen, '\n'), seen + seen_len - 1);
}

static void levels_filter(void **state)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	enum sat_log_level level;

	(void)state;
	for (int max = 0; max < SAT_LOG_LEVEL_COUNT; max++) {
		sat_log_set_level((enum sat_log_level)max);
		assert_int_equal(sat_log_get_level(), max);
		lines = 0;
		for (int l = 0; l < SAT_LOG_LEVEL_COUNT; l++)
			sat_log((enum sat_log_level)l, "t", "m");
		assert_int_equal(lines, max + 1);
		assert_true(
			sat_log_level_parse(sat_slice_str(names[max]), &level));
		assert_int_equal(level, max);
		assert_string_equal(sat_log_level_name(level), names[max]);
	}
	assert_false(sat_log_level_parse(sat_slice_str("INFO"), &level));
	assert_false(sat_log_level_parse(sat_slice_str(""), &level));
}

static void repeats_are_counted(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		sat_log(SAT_LOG_WARN, "disk", "full");
	assert_int_equal(lines, 1);
	sat_log(SAT_LOG_WARN, "disk", "free again");
	assert_int_equal(lines, 3);
	assert_non_null(strstr(seen, "msg=full repeated=999\n"));
	/* The same after ten seconds is worth a line. */
	sat_log(SAT_LOG_WARN, "disk", "free again");
	now += 10000;
	sat_log(SAT_LOG_WARN, "disk", "free again");
	assert_int_equal(lines, 5);
	assert_non_null(strstr(seen, "msg=\"free again\" repeated=1\n"));
	sat_log(SAT_LOG_WARN, "disk", "free again");
	sat_log_flush();
	assert_int_equal(lines, 6);
	sat_log_flush();
	assert_int_equal(lines, 6);
	/* A clock that goes back must not silence the log. */
	sat_log(SAT_LOG_WARN, "disk", "odd");
	now -= 3600000;
	sat_log(SAT_LOG_WARN, "disk", "odd");
	assert_int_equal(lines, 8);
}

static void long_lines_are_cut_and_say_so(void **state)
{
	char text[4096];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	sat_log(SAT_LOG_INFO, "t", "m", SAT_KV_STR("text", text));
	sat_log(SAT_LOG_INFO, "t", "m", SAT_KV_STR("text", text));
	assert_int_equal(lines, 1);
	assert_true(seen_len < SAT_LOG_LINE_BYTES + 40);
	assert_string_equal(seen + seen_len - 5, "x...\n");
	sat_log_flush();
	assert_non_null(strstr(seen, "... repeated=1\n"));
}

static void *write_many(void *arg)
{
	for (unsigned i = 0; i < 200; i++)
		sat_log(SAT_LOG_INFO, "t", "m", SAT_KV_STR("who", arg),
			SAT_KV_UINT("i", i));
	return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
	static char names[4][8] = { "one", "two", "three", "four" };
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, write_many, names[i]),
			0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(lines, 800);
	for (char *p = seen; *p != '\0'; p = strchr(p, '\n') + 1)
		assert_memory_equal(p, "2026-11-21T22:17:05.123Z level=info ",
				    36);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_line_is_keys_and_values),
		TEST(nobody_forges_a_line),
		TEST(levels_filter),
		TEST(repeats_are_counted),
		TEST(long_lines_are_cut_and_say_so),
		TEST(threads_do_not_mix_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
