#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"

static void test_slices(void **state)
{
	static const struct {
		const char *a, *b;
		int order; /* sign */
		const char *why;
	} rows[] = {
		{ "", "", 0, "two empty slices are equal" },
		{ "", "a", -1, "empty is a prefix of everything" },
		{ "a", "ab", -1, "a prefix comes first" },
		{ "b", "ab", 1, "the first difference decides" },
		{ "\xff", "a", 1, "bytes are unsigned" },
		{ "abc", "abc", 0, "same bytes" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice a = sat_slice_str(rows[i].a);
		struct sat_slice b = sat_slice_str(rows[i].b);
		int order = sat_slice_compare(a, b);
		int back = sat_slice_compare(b, a);

		if ((order > 0) - (order < 0) != rows[i].order ||
		    (back < 0) - (back > 0) != rows[i].order ||
		    sat_slice_equal(a, b) != (rows[i].order == 0))
			fail_msg("%s", rows[i].why);
	}
	assert_true(sat_slice_equal((struct sat_slice){ NULL, 0 },
				    sat_slice_str("")));
}

static void test_ceiling(void **state)
{
	struct sat_buf b;
	uint8_t *p;

	(void)state;
	sat_buf_init(&b, 10);
	assert_int_equal(sat_buf_append(&b, "12345678", 8), SAT_OK);
	assert_int_equal(sat_buf_append(&b, "abc", 3), SAT_E_LIMIT);
	assert_int_equal(sat_buf_reserve(&b, SIZE_MAX, &p), SAT_E_LIMIT);
	/* a failure leaves the data as it was */
	assert_int_equal(sat_buf_peek(&b).len, 8);
	/* consumed bytes make room: the ceiling is on what is unread */
	sat_buf_consume(&b, 5);
	assert_int_equal(sat_buf_append(&b, "abcdefg", 7), SAT_OK);
	assert_true(
		sat_slice_equal(sat_buf_peek(&b), sat_slice_str("678abcdefg")));
	assert_int_equal(sat_buf_append(&b, "", 0), SAT_OK);
	sat_buf_consume(&b, 10);
	assert_int_equal(sat_buf_peek(&b).len, 0);
	assert_null(sat_buf_peek(&b).ptr);
	sat_buf_fini(&b);
	sat_buf_fini(&b); /* twice is harmless, and it can be used again */
	assert_int_equal(sat_buf_append(&b, "x", 1), SAT_OK);
	sat_buf_clear(&b);
	assert_int_equal(sat_buf_peek(&b).len, 0);
	sat_buf_fini(&b);
}

/* Bytes come out as they went in, whatever the sizes of the steps. */
static void test_stream(void **state)
{
	struct sat_buf b;
	uint8_t in = 0, out = 0, *p;

	(void)state;
	sat_buf_init(&b, 1000);
	for (unsigned step = 1; step < 3000; step++) {
		size_t n = step * 7 % 300, m;

		if (sat_buf_reserve(&b, n, &p) == SAT_OK) {
			for (size_t i = 0; i < n; i++)
				p[i] = in++;
			sat_buf_commit(&b, n);
		}
		m = step * 11 % 280;
		if (m > sat_buf_peek(&b).len)
			m = sat_buf_peek(&b).len;
		for (size_t i = 0; i < m; i++)
			assert_int_equal(sat_buf_peek(&b).ptr[i],
					 (uint8_t)(out + i));
		out = (uint8_t)(out + m);
		sat_buf_consume(&b, m);
		assert_true(b.cap <= b.max && b.len <= b.cap);
	}
	sat_buf_fini(&b);
}

static void test_arena(void **state)
{
	struct sat_arena a;
	struct sat_slice copy;
	uint8_t *p, *q;

	(void)state;
	sat_arena_init(&a, 100000);
	for (size_t n = 0; n < 300; n++) {
		p = sat_arena_alloc(&a, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xee, n); /* a second use must not see it */
	}
	p = sat_arena_alloc(&a, 40000); /* more than a chunk */
	assert_non_null(p);
	assert_null(sat_arena_alloc(&a, 60000)); /* the ceiling */
	assert_null(sat_arena_alloc(&a, SIZE_MAX));
	assert_null(sat_arena_array(&a, SIZE_MAX / 2, 3)); /* overflow */
	assert_non_null(sat_arena_array(&a, 3, 0));
	sat_arena_reset(&a);
	for (size_t n = 0; n < 100; n++) {
		q = sat_arena_array(&a, n, 2);
		assert_non_null(q);
		for (size_t i = 0; i < 2 * n; i++)
			assert_int_equal(q[i], 0);
	}
	assert_int_equal(sat_arena_copy(&a, sat_slice_str("hello"), &copy),
			 SAT_OK);
	assert_true(sat_slice_equal(copy, sat_slice_str("hello")));
	assert_string_equal(sat_arena_string(&a, copy), "hello");
	assert_int_equal(
		sat_arena_copy(&a, (struct sat_slice){ NULL, 0 }, &copy),
		SAT_OK);
	assert_string_equal(sat_arena_string(&a, copy), "");
	sat_arena_fini(&a);
	sat_arena_fini(&a);
	sat_arena_reset(&a); /* an empty arena can be reset */

	sat_arena_init(&a, 40); /* rounding does not pass the ceiling */
	assert_non_null(sat_arena_alloc(&a, 33));
	assert_null(sat_arena_alloc(&a, 1));
	assert_null(sat_arena_string(&a, sat_slice_str("x")));
	assert_int_equal(sat_arena_copy(&a, sat_slice_str("x"), &copy),
			 SAT_E_NOMEM);
	sat_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
