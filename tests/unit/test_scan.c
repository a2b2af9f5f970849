#include "proto/pack.h"
#include "proto/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct sat_mp_limits lim = { 8, 100 };

static void rows_from_the_wire(void **state)
{
	static const struct {
		const char *why, *bytes;
		size_t len;
		int rc;
		size_t used;
	} rows[] = {
		{ "nil", "\xc0", 1, SAT_OK, 1 },
		{ "map of one", "\x81\x01\x2a", 3, SAT_OK, 3 },
		{ "two keys that rise", "\x82\x01\xc0\x02\xc0", 5, SAT_OK, 5 },
		{ "a key twice", "\x82\x01\xc0\x01\xc0", 5, SAT_E_PROTO, 0 },
		{ "the same key in two widths", "\x82\x01\xc0\xcd\0\x01\xc0", 7,
		  SAT_E_PROTO, 0 },
		{ "keys that fall", "\x82\x02\xc0\x01\xc0", 5, SAT_E_PROTO, 0 },
		{ "a text key", "\x81\xa1k\x2a", 4, SAT_E_PROTO, 0 },
		{ "a negative key", "\x81\xff\x2a", 3, SAT_E_PROTO, 0 },
		{ "key 0 twice, in a map inside",
		  "\x81\x01\x82\x00\xc0\x00\xc0", 7, SAT_E_PROTO, 0 },
		{ "the outer map's keys go on after an inner map",
		  "\x82\x01\x81\x09\xc0\x02\xc0", 7, SAT_OK, 7 },
		{ "a map as a key", "\x81\x80\x01", 3, SAT_E_PROTO, 0 },
		{ "bytes after the value are not ours", "\x01\x02", 2, SAT_OK,
		  1 },
		{ "128 GiB in five bytes", "\xdd\xff\x00\x00\x00", 5,
		  SAT_E_LIMIT, 0 },
		{ "the same as a map", "\xdf\xff\xff\xff\xff", 5, SAT_E_LIMIT,
		  0 },
		{ "long string claimed", "\xdb\x00\x00\x10\x00", 5, SAT_AGAIN,
		  0 },
		{ "string cut short",
		  "\xa5"
		  "abc",
		  4, SAT_AGAIN, 0 },
		{ "header cut short", "\xdc\x00", 2, SAT_AGAIN, 0 },
		{ "integer cut short", "\xcf\0\0\0", 4, SAT_AGAIN, 0 },
		{ "never used type", "\xc1", 1, SAT_E_PROTO, 0 },
		{ "nine arrays deep",
		  "\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0", 10, SAT_E_LIMIT,
		  0 },
		{ "eight arrays deep", "\x91\x91\x91\x91\x91\x91\x91\x91\xc0",
		  9, SAT_OK, 9 },
		{ "fixext 16",
		  "\xd8\x01"
		  "0123456789abcdef",
		  18, SAT_E_PROTO, 0 },
		{ "ext 8",
		  "\xc7\x03\x05"
		  "abc",
		  6, SAT_E_PROTO, 0 },
		{ "float 64",
		  "\xcb"
		  "01234567",
		  9, SAT_OK, 9 },
		{ "bin 8", "\xc4\x02\xff\xfe", 4, SAT_OK, 4 },
		{ "the same bytes as text", "\xa2\xff\xfe", 3, SAT_E_PROTO, 0 },
		{ "NUL in text", "\xa2z\0", 3, SAT_E_PROTO, 0 },
		{ "a lone surrogate", "\xa3\xed\xa0\x80", 4, SAT_E_PROTO, 0 },
		{ "empty array", "\x90", 1, SAT_OK, 1 },
		{ "array of nothing but its head", "\x93\x01\x02", 3,
		  SAT_E_LIMIT, 0 },
		{ "empty", "", 0, SAT_AGAIN, 0 },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice in = { (const uint8_t *)rows[i].bytes,
					rows[i].len };
		size_t used = 0;
		int rc = sat_mp_check(in, &lim, &used);

		if (rc != rows[i].rc || used != rows[i].used)
			fail_msg("%s: %d, %zu", rows[i].why, rc, used);
	}
}

static void depth_is_the_callers(void **state)
{
	static const struct sat_mp_limits flat = { 2, 100 };
	size_t used = 0;

	(void)state;
	assert_int_equal(sat_mp_check(
				 (struct sat_slice){
					 (const uint8_t *)"\x91\x91\xc0", 3 },
				 &flat, &used),
			 SAT_OK);
	assert_int_equal(
		sat_mp_check(
			(struct sat_slice){ (const uint8_t *)"\x91\x91\x91\xc0",
					    4 },
			&flat, &used),
		SAT_E_LIMIT);
}

static void nodes_are_counted_over_the_whole(void **state)
{
	uint8_t bytes[200];
	size_t used = 0;

	(void)state;
	memset(bytes, 0xc0, sizeof bytes);
	bytes[0] = 0xdc;
	bytes[1] = 0;
	bytes[2] = 99; /* and the array itself: exactly the limit */
	assert_int_equal(
		sat_mp_check((struct sat_slice){ bytes, 200 }, &lim, &used),
		SAT_OK);
	assert_int_equal(used, 102);
	bytes[2] = 100;
	assert_int_equal(
		sat_mp_check((struct sat_slice){ bytes, 200 }, &lim, &used),
		SAT_E_LIMIT);
	/* Two arrays below the limit each, above it together. */
	memset(bytes, 0xc0, sizeof bytes);
	memcpy(bytes, "\x92\xdc\x00\x3c", 4);
	memcpy(bytes + 4 + 60, "\xdc\x00\x3c", 3);
	assert_int_equal(
		sat_mp_check((struct sat_slice){ bytes, 200 }, &lim, &used),
		SAT_E_LIMIT);
}

static void varints_have_one_form(void **state)
{
	static const struct {
		const char *why, *bytes;
		size_t len;
		bool ok;
		uint64_t v;
	} rows[] = {
		{ "zero", "\0", 1, true, 0 },
		{ "127", "\x7f", 1, true, 127 },
		{ "128", "\x80\x01", 2, true, 128 },
		{ "127 in two bytes", "\xff\x00", 2, false, 0 },
		{ "the largest", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10,
		  true, UINT64_MAX },
		{ "65 bits", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10,
		  false, 0 },
		{ "eleven bytes",
		  "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, false,
		  0 },
		{ "cut short", "\x80", 1, false, 0 },
		{ "nothing", "", 0, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice in = { (const uint8_t *)rows[i].bytes,
					rows[i].len };
		uint64_t v = 0;

		if (sat_varint_take(&in, &v) != rows[i].ok || v != rows[i].v)
			fail_msg("%s", rows[i].why);
		if (rows[i].ok) {
			assert_int_equal(in.len, 0);
			assert_int_equal(sat_varint_bytes(v), rows[i].len);
		}
	}
	assert_int_equal(sat_unzigzag(sat_zigzag(INT64_MIN)), INT64_MIN);
	assert_int_equal(sat_zigzag(-1), 1);
	assert_int_equal(sat_zigzag(1), 2);
}

static void cursors_read_what_packers_write(void **state)
{
	static const int64_t ints[] = { 0,        1,     -1,        127,
					128,      -32,   -33,       -128,
					-129,     65535, INT64_MIN, INT32_MIN,
					INT64_MAX };
	struct sat_buf b;
	struct sat_pack p = { &b, SAT_OK };
	struct sat_cursor c;
	struct sat_slice s;
	uint64_t u;
	int64_t v;
	bool flag;

	(void)state;
	sat_buf_init(&b, 4096);
	for (size_t i = 0; i < SAT_COUNT_OF(ints); i++)
		sat_pack_int(&p, ints[i]);
	sat_pack_bool(&p, true);
	sat_pack_uint(&p, UINT64_MAX);
	sat_pack_bin(&p, sat_slice_str("bytes"));
	sat_pack_nil(&p);
	assert_int_equal(p.rc, SAT_OK);
	c = (struct sat_cursor){ sat_buf_peek(&b), 0 };
	for (size_t i = 0; i < SAT_COUNT_OF(ints); i++) {
		assert_true(sat_take_int(&c, &v));
		assert_int_equal(v, ints[i]);
	}
	assert_false(sat_take_nil(&c));
	assert_true(sat_take_bool(&c, &flag) && flag);
	assert_false(sat_take_int(&c, &v)); /* beyond int64 */
	assert_true(sat_take_uint(&c, UINT64_MAX, &u));
	assert_true(sat_take_bin(&c, &s) && s.len == 5);
	assert_true(sat_take_nil(&c));
	assert_false(sat_take_any(&c, NULL));
	sat_buf_fini(&b);
}

static void integers_may_have_any_width(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool is_uint;
		int64_t v;
	} rows[] = {
		{ "\x05", 1, true, 5 },
		{ "\xcc\x05", 2, true, 5 },
		{ "\xcf\0\0\0\0\0\0\0\x05", 9, true, 5 },
		{ "\xd0\x05", 2, true, 5 },
		{ "\xd1\0\x05", 3, true, 5 },
		{ "\xd3\0\0\0\0\0\0\0\x05", 9, true, 5 },
		{ "\xd0\xfb", 2, false, -5 },
		{ "\xd2\xff\xff\xff\xfb", 5, false, -5 },
		{ "\xfb", 1, false, -5 },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_cursor c = {
			{ (const uint8_t *)rows[i].bytes, rows[i].len }, 0
		};
		struct sat_cursor d = c;
		uint64_t u = 0;
		int64_t v = 0;

		assert_int_equal(sat_take_uint(&c, UINT64_MAX, &u),
				 rows[i].is_uint);
		assert_true(sat_take_int(&d, &v));
		assert_int_equal(v, rows[i].v);
		assert_int_equal(d.at, rows[i].len);
		if (rows[i].is_uint)
			assert_int_equal(u, (uint64_t)v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_from_the_wire),
		cmocka_unit_test(depth_is_the_callers),
		cmocka_unit_test(nodes_are_counted_over_the_whole),
		cmocka_unit_test(varints_have_one_form),
		cmocka_unit_test(integers_may_have_any_width),
		cmocka_unit_test(cursors_read_what_packers_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
