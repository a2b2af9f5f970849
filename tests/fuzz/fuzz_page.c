/* Any bytes as a page of rows, and as a page of references. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/wire_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sat_slice in = { data, size };
	struct sat_page page, again;
	struct sat_arena a;
	struct sat_buf out;
	struct sat_err err;

	sat_arena_init(&a, (size_t)64 * 1024 * 1024);
	sat_buf_init(&out, SAT_PAGE_BYTES_MAX);
	if (sat_page_decode(fx_visit, in, false, &a, &page, &err) == SAT_OK) {
		SAT_ASSERT(sat_page_encode(&page, false, &out) == SAT_OK);
		SAT_ASSERT(sat_page_decode(fx_visit, sat_buf_peek(&out), false,
					   &a, &again, &err) == SAT_OK);
		SAT_ASSERT(again.row_count == page.row_count &&
			   again.column_count == page.column_count);
		for (size_t i = 0;
		     i < (size_t)page.row_count * page.column_count; i++)
			SAT_ASSERT(sat_value_equal(&page.values[i],
						   &again.values[i]));
	}
	sat_arena_reset(&a);
	if (sat_page_decode(fx_visit, in, true, &a, &page, &err) == SAT_OK)
		SAT_ASSERT(page.row_count <= SAT_PAGE_ROWS_MAX);
	sat_buf_fini(&out);
	sat_arena_fini(&a);
	return 0;
}
