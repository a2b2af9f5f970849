#include "tests/unit/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/frame.h"
#include "proto/message.h"

enum { ARENA_BYTES = 512 * 1024 * 1024 };

static void pages_come_back(void **state)
{
	struct sat_page page, back;
	struct fx_rng g = { 5 };
	struct sat_arena a;
	struct sat_buf out;
	struct sat_err err;

	(void)state;
	for (uint32_t n = 0; n <= 4096; n = n * 3 + 1) {
		sat_arena_init(&a, ARENA_BYTES);
		sat_buf_init(&out, SAT_PAGE_BYTES_MAX);
		fx_page(&a, &g, n, &page);
		assert_int_equal(sat_page_encode(&page, false, &out), SAT_OK);
		if (sat_page_decode(fx_visit, sat_buf_peek(&out), false, &a,
				    &back, &err) != SAT_OK)
			fail_msg("%s", err.msg);
		fx_same_page(&page, &back);
		sat_buf_fini(&out);
		sat_arena_fini(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
