/* Refuse the first allocation, then the second, ... until a run meets no
 * refusal: the loader must come back with SAT_E_NOMEM each time and leave
 * nothing behind (the leak check of the sanitizer build). */
#include "tests/unit/catalogue_small.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

static unsigned refuse_at; /* 0: never */

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);

static bool refused(void)
{
	return refuse_at > 0 && --refuse_at == 0;
}

void *__wrap_malloc(size_t n)
{
	return refused() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
	return refused() ? NULL : __real_calloc(count, n);
}

static void loading_survives_every_refusal(void **state)
{
	struct edit none[2] = { { NULL, NULL } };
	char *json = edited(catalogue_small, none);
	struct sat_slice text = sat_slice_str(json);
	struct sat_catalogue *c = NULL;
	struct sat_err err;
	unsigned k = 0;
	int rc;

	(void)state;
	json_set_alloc_funcs(__wrap_malloc, free);
	do {
		refuse_at = ++k;
		rc = sat_catalogue_load(text, "small.json", &c, &err);
		if (rc == SAT_OK)
			break;
		/* The library does not always tell memory from syntax. */
		assert_true(rc == SAT_E_NOMEM || rc == SAT_E_INVAL);
		assert_null(c);
	} while (k < 100000);
	assert_int_equal(rc, SAT_OK);
	assert_true(k > 500);
	refuse_at = 0;
	sat_catalogue_free(c);
	free(json);
}

static void canonical_text_survives_every_refusal(void **state)
{
	struct edit none[2] = { { NULL, NULL } };
	char *json = edited(catalogue_small, none);
	struct sat_buf out;
	struct sat_err err;
	unsigned k = 0;
	int rc;

	(void)state;
	do {
		sat_buf_init(&out, SAT_CATALOGUE_BYTES_MAX);
		refuse_at = ++k;
		rc = sat_catalogue_canonical(sat_slice_str(json), &out, &err);
		sat_buf_fini(&out);
	} while (rc != SAT_OK && k < 100000);
	assert_int_equal(rc, SAT_OK);
	assert_true(k > 500);
	refuse_at = 0;
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loading_survives_every_refusal),
		cmocka_unit_test(canonical_text_survives_every_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
