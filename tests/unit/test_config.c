#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/config.h"
#include "common/log.h"

static void the_table_is_sound(void **state)
{
	(void)state;
	for (int i = 0; i < SAT_CFG_COUNT; i++) {
		const struct sat_setting *s = &sat_settings[i];

		assert_true(strspn(s->name, "abcdefghijklmnopqrstuvwxyz_") ==
			    strlen(s->name));
		assert_true(s->min <= s->max);
		assert_true(s->help[0] != '\0' &&
			    s->help[strlen(s->help) - 1] == '.');
		for (int j = 0; j < i; j++)
			assert_string_not_equal(s->name, sat_settings[j].name);
	}
}

static void defaults_are_values(void **state)
{
	struct sat_config *c = sat_config_new(SAT_PART_SERVER);

	(void)state;
	assert_non_null(c);
	assert_string_equal(sat_config_text(c, SAT_CFG_LISTEN), "0.0.0.0:7443");
	assert_int_equal(sat_config_int(c, SAT_CFG_PING_SECONDS), 240);
	assert_int_equal(sat_config_int(c, SAT_CFG_PAGE_BYTES), 256 * 1024);
	assert_int_equal(sat_config_int(c, SAT_CFG_LOG_LEVEL), SAT_LOG_INFO);
	assert_int_equal(sat_config_int(c, SAT_CFG_KEEP_DELETED), 90 * 86400);
	sat_config_free(c);
	sat_config_free(NULL);
}

static void files_are_judged_line_by_line(void **state)
{
	static const struct {
		const char *why, *text;
		int rc;
		const char *says;
	} rows[] = {
		{ "nothing", "", SAT_OK, NULL },
		{ "comments and space", "# a\n\n  \t\r\n#b", SAT_OK, NULL },
		{ "a value, spaces, no last newline", "\n ping_seconds\t=  30 ",
		  SAT_OK, NULL },
		{ "windows line ends", "ping_seconds = 30\r\n", SAT_OK, NULL },
		{ "bytes with a unit", "page_bytes = 512 KiB", SAT_OK, NULL },
		{ "an age with a unit", "keep_deleted = 12 h", SAT_OK, NULL },
		{ "an age in seconds", "keep_deleted = 5", SAT_OK, NULL },
		{ "no unit of time", "keep_deleted = 3 w", SAT_E_INVAL,
		  "is not a time (s, m, h and d are known)" },
		{ "an age over the most it may be", "keep_deleted = 3651 d",
		  SAT_E_INVAL, "is out of range (1 to 315360000)" },
		{ "an age beyond 64 bits",
		  "keep_deleted = 999999999999999999 d", SAT_E_INVAL,
		  "is not a time" },
		{ "unknown name", "\nfoo = 1\n", SAT_E_INVAL,
		  "t.conf:2: there is no setting 'foo'" },
		{ "a setting of the other program", "acked_days = 3",
		  SAT_E_INVAL, "t.conf:1: there is no setting 'acked_days'" },
		{ "no equals sign", "ping_seconds 30", SAT_E_INVAL,
		  "t.conf:1: a line is: name = value" },
		{ "twice", "ping_seconds = 30\nping_seconds = 31", SAT_E_INVAL,
		  "t.conf:2: 'ping_seconds' is set twice" },
		{ "below", "ping_seconds = 4", SAT_E_INVAL,
		  "ping_seconds: '4' is out of range (5 to 3600)" },
		{ "above", "ping_seconds = 3601", SAT_E_INVAL, "range" },
		{ "not a number", "ping_seconds = 30s", SAT_E_INVAL,
		  "is not a whole number" },
		{ "negative", "ping_seconds = -30", SAT_E_INVAL,
		  "is not a whole number" },
		{ "empty number", "ping_seconds =", SAT_E_INVAL,
		  "is not a whole number" },
		{ "too large for 64 bits",
		  "ping_seconds = 99999999999999999999", SAT_E_INVAL,
		  "is not a whole number" },
		{ "overflow by unit", "page_bytes = 9223372036854775807 MiB",
		  SAT_E_INVAL, "is not a number of bytes" },
		{ "unknown unit", "page_bytes = 1 GB", SAT_E_INVAL,
		  "is not a number of bytes" },
		{ "level", "log_level = loud", SAT_E_INVAL,
		  "is not error, warn, info or debug" },
		{ "address without port", "listen = 0.0.0.0", SAT_E_INVAL,
		  "is not ADDR:PORT" },
		{ "control characters", "advertise = a\x01z", SAT_E_INVAL,
		  "has control characters" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_config *c = sat_config_new(SAT_PART_SERVER);
		struct sat_err err;
		int rc = sat_config_parse(c, "t.conf",
					  sat_slice_str(rows[i].text), &err);

		print_message("    %s\n", rows[i].why);
		assert_int_equal(rc, rows[i].rc);
		if (rows[i].says != NULL &&
		    strstr(err.msg, rows[i].says) == NULL)
			fail_msg("'%s' does not say '%s'", err.msg,
				 rows[i].says);
		sat_config_free(c);
	}
}

static void a_file_and_the_command_line_override(void **state)
{
	char path[] = "/tmp/test_config.XXXXXX";
	static const char text[] = "listen = [::1]:99\npage_bytes = 8 KiB\n"
				   "ping_seconds = 17\n";
	int fd = mkstemp(path);
	struct sat_config *c = NULL, *d = NULL;
	struct sat_err err;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
	(void)close(fd);
	assert_int_equal(sat_config_load(SAT_PART_SERVER, path, &c, &err),
			 SAT_OK);
	assert_string_equal(sat_config_text(c, SAT_CFG_LISTEN), "[::1]:99");
	assert_int_equal(sat_config_int(c, SAT_CFG_PAGE_BYTES), 8192);
	assert_int_equal(sat_config_set(c, "ping_seconds", "18", &err), SAT_OK);
	assert_int_equal(sat_config_int(c, SAT_CFG_PING_SECONDS), 18);
	assert_int_equal(sat_config_set(c, "ping_seconds", "0", &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_config_set(c, "pings", "1", &err), SAT_E_INVAL);
	assert_int_equal(sat_config_int(c, SAT_CFG_PING_SECONDS), 18);

	(void)unlink(path);
	assert_int_equal(sat_config_load(SAT_PART_SERVER, path, &d, &err),
			 SAT_OK); /* no file: defaults */
	assert_string_equal(sat_config_needs_restart(d, c), "listen");
	assert_int_equal(sat_config_set(c, "listen", "0.0.0.0:7443", &err),
			 SAT_OK);
	assert_null(sat_config_needs_restart(d, c));
	assert_int_equal(sat_config_load(SAT_PART_SERVER, "/", &d, &err),
			 SAT_E_IO); /* a folder is no file */
	sat_config_free(c);
	sat_config_free(d);
}

/* The sample must be a file that means the defaults, commented out or not. */
static void what_is_printed_can_be_read_back(void **state)
{
	static const enum sat_part parts[] = { SAT_PART_SERVER,
					       SAT_PART_CLIENT };

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(parts); i++) {
		struct sat_config *c = sat_config_new(parts[i]);
		struct sat_config *d = sat_config_new(parts[i]);
		struct sat_buf one, two;
		struct sat_err err;

		sat_buf_init(&one, 1 << 16);
		sat_buf_init(&two, 1 << 16);
		assert_int_equal(sat_config_set(c, "ping_seconds", "77", &err),
				 SAT_OK);
		assert_int_equal(sat_config_print(c, &one), SAT_OK);
		assert_int_equal(
			sat_config_parse(d, "t", sat_buf_peek(&one), &err),
			SAT_OK);
		assert_int_equal(sat_config_int(d, SAT_CFG_PING_SECONDS), 77);
		assert_int_equal(sat_config_print(d, &two), SAT_OK);
		assert_true(sat_slice_equal(sat_buf_peek(&one),
					    sat_buf_peek(&two)));
		/* Every default, uncommented, is a value too. */
		for (size_t k = 0; k + 2 < one.len; k++)
			if (memcmp(one.base + k, "\n# ", 3) == 0 &&
			    memchr(one.base + k + 3, '=', 24) != NULL)
				memcpy(one.base + k, "\n  ", 3);
		sat_config_free(d);
		d = sat_config_new(parts[i]);
		if (sat_config_parse(d, "sample", sat_buf_peek(&one), &err) !=
		    SAT_OK)
			fail_msg("%s", err.msg);
		sat_buf_fini(&one);
		sat_buf_fini(&two);
		sat_config_free(c);
		sat_config_free(d);
	}
}

static void the_manual_names_every_setting(void **state)
{
	static const enum sat_part parts[] = { SAT_PART_SERVER,
					       SAT_PART_CLIENT };

	(void)state;
	for (size_t p = 0; p < SAT_COUNT_OF(parts); p++) {
		struct sat_buf out;
		char cell[64];

		sat_buf_init(&out, 1 << 16);
		assert_int_equal(sat_config_manual(parts[p], &out), SAT_OK);
		assert_int_equal(sat_buf_append(&out, "", 1), SAT_OK);
		for (int i = 0; i < SAT_CFG_COUNT; i++) {
			bool ours = ((unsigned)sat_settings[i].part &
				     (unsigned)parts[p]) != 0;

			(void)snprintf(cell, sizeof cell, "\n| `%s` |",
				       sat_settings[i].name);
			assert_int_equal(strstr((char *)out.base, cell) != NULL,
					 ours);
		}
		sat_buf_fini(&out);
	}
}

static void hosts_and_ports(void **state)
{
	static const struct {
		const char *text;
		uint16_t def;
		bool ok;
		const char *host;
		uint16_t port;
	} rows[] = {
		{ "a.example:7443", 0, true, "a.example", 7443 },
		{ "127.0.0.1:0", 0, true, "127.0.0.1", 0 },
		{ "[::1]:80", 0, true, "::1", 80 },
		{ "[::1]", 7443, true, "::1", 7443 },
		{ "a.example", 7443, true, "a.example", 7443 },
		{ "a.example", 0, false, NULL, 0 },
		{ "", 7443, false, NULL, 0 },
		{ ":80", 0, false, NULL, 0 },
		{ "a:", 0, false, NULL, 0 },
		{ "a:65536", 0, false, NULL, 0 },
		{ "a:8x", 0, false, NULL, 0 },
		{ "::1", 7443, false, NULL, 0 },
		{ "[::1", 7443, false, NULL, 0 },
		{ "[::1]x", 7443, false, NULL, 0 },
		{ "[]:1", 0, false, NULL, 0 },
		{ "a b:1", 0, false, NULL, 0 },
	};
	char host[256];
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		bool ok = sat_hostport_parse(sat_slice_str(rows[i].text),
					     rows[i].def, host, &port);

		print_message("    '%s'\n", rows[i].text);
		assert_int_equal(ok, rows[i].ok);
		if (!ok)
			continue;
		assert_string_equal(host, rows[i].host);
		assert_int_equal(port, rows[i].port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_sound),
		cmocka_unit_test(defaults_are_values),
		cmocka_unit_test(files_are_judged_line_by_line),
		cmocka_unit_test(a_file_and_the_command_line_override),
		cmocka_unit_test(what_is_printed_can_be_read_back),
		cmocka_unit_test(the_manual_names_every_setting),
		cmocka_unit_test(hosts_and_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
