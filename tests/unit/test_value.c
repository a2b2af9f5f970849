#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/value.h"

/* In rising order; all different. */
static size_t ladder(struct sat_value *v)
{
	static const double reals[] = { -INFINITY, -1e300, -1.5,  -1e-300, 0.0,
					1e-300,    1.0,    1e300, INFINITY };
	static const int64_t ints[] = { INT64_MIN, -1, 0, 1, INT64_MAX };
	static const char *const texts[] = { "", "A", "Ab", "a",
					     "\xe5\xae\xa2" };
	size_t n = 0;

	v[n++] = sat_value_null();
	for (size_t i = 0; i < SAT_COUNT_OF(ints); i++)
		v[n++] = sat_value_int(ints[i]);
	for (size_t i = 0; i < SAT_COUNT_OF(reals); i++)
		v[n++] = sat_value_real(reals[i]);
	for (size_t i = 0; i < SAT_COUNT_OF(texts); i++)
		v[n++] = sat_value_text(sat_slice_str(texts[i]));
	for (size_t i = 0; i < SAT_COUNT_OF(texts); i++)
		v[n++] = sat_value_blob(sat_slice_str(texts[i]));
	return n;
}

static void test_order(void **state)
{
	struct sat_value v[32];
	size_t n = ladder(v);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			int order = sat_value_compare(&v[i], &v[j]);

			assert_int_equal((order > 0) - (order < 0),
					 (i > j) - (i < j));
			assert_int_equal(sat_value_equal(&v[i], &v[j]), i == j);
		}
	}
}

static void test_zeros_and_nan(void **state)
{
	struct sat_value zero = sat_value_real(0.0);
	struct sat_value minus = sat_value_real(-0.0);
	struct sat_value nan = sat_value_real((double)NAN);
	struct sat_value inf = sat_value_real((double)INFINITY);

	(void)state;
	assert_true(sat_value_equal(&zero, &minus));
	/* NaN is refused at every door; should a file hold one, the order
	 * must still be an order */
	assert_true(sat_value_equal(&nan, &nan));
	assert_true(sat_value_compare(&nan, &inf) != 0);
	assert_int_equal(sat_value_compare(&nan, &inf),
			 -sat_value_compare(&inf, &nan));
}

static void test_copy(void **state)
{
	char text[] = "note";
	struct sat_value v = sat_value_text(sat_slice_str(text)), copy;
	struct sat_value number = sat_value_int(5);
	struct sat_id id = { { 1, 2, 3 } };
	struct sat_arena a;

	(void)state;
	sat_arena_init(&a, 100);
	assert_int_equal(sat_value_copy(&a, &v, &copy), SAT_OK);
	text[0] = 'v';
	assert_true(sat_slice_equal(copy.s, sat_slice_str("note")));
	v = sat_value_id(&id);
	assert_int_equal(v.kind, SAT_BLOB);
	assert_ptr_equal(v.s.ptr, id.b);
	assert_int_equal(sat_value_copy(&a, &v, &copy), SAT_OK);
	assert_true(sat_value_equal(&v, &copy) && copy.s.ptr != id.b);
	a.max = a.used; /* full: numbers still copy, texts do not */
	assert_int_equal(sat_value_copy(&a, &number, &copy), SAT_OK);
	assert_int_equal(copy.i, 5);
	assert_int_equal(sat_value_copy(&a, &v, &copy), SAT_E_NOMEM);
	assert_int_equal(copy.i, 5);
	sat_arena_fini(&a);
}

static void test_dots(void **state)
{
	struct sat_dot a = { 1, 9 }, b = { 2, 1 }, c = { 2, 3 };

	(void)state;
	assert_int_equal(sat_dot_compare(a, b), -1);
	assert_int_equal(sat_dot_compare(b, a), 1);
	assert_int_equal(sat_dot_compare(b, c), -1);
	assert_int_equal(sat_dot_compare(c, b), 1);
	assert_int_equal(sat_dot_compare(c, c), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_zeros_and_nan),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_dots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
