/* Any bytes as the metadata of a row whose typed values are all NULL, or all
 * of their type's simplest kind. What decodes is a state that has one
 * canonical form, which decodes to the same state. */
#include "tests/fuzz/fuzz.h"

#include "common/meta.h"
#include "tests/unit/wire_fixture.h"

static void try_values(struct sat_arena *a, struct sat_slice meta,
		       const struct sat_value *values)
{
	struct sat_row row, again;
	struct sat_buf one, two;

	sat_buf_init(&one, 1024 * 1024);
	sat_buf_init(&two, 1024 * 1024);
	if (sat_meta_decode(a, fx_visit, meta, values, &row) == SAT_OK) {
		SAT_ASSERT(sat_meta_encode(fx_visit, &row, values, &one) ==
			   SAT_OK);
		SAT_ASSERT(sat_meta_decode(a, fx_visit, sat_buf_peek(&one),
					   values, &again) == SAT_OK);
		SAT_ASSERT(sat_row_equal(fx_visit, &row, &again));
		SAT_ASSERT(sat_meta_encode(fx_visit, &again, values, &two) ==
			   SAT_OK);
		SAT_ASSERT(sat_slice_equal(sat_buf_peek(&one),
					   sat_buf_peek(&two)));
	}
	sat_buf_fini(&two);
	sat_buf_fini(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sat_value values[FX_COLUMNS];
	struct sat_slice meta = { data, size };
	struct sat_vv vv, dv;
	struct sat_arena a;

	sat_arena_init(&a, (size_t)16 * 1024 * 1024);
	for (unsigned c = 0; c < FX_COLUMNS; c++)
		values[c] = sat_value_null();
	try_values(&a, meta, values);
	values[FX_OUTCOME] = sat_value_text(sat_slice_str("order"));
	values[FX_NOTES] = sat_value_text(sat_slice_str("X"));
	values[FX_COUNT] = sat_value_int(2);
	values[FX_TAGS] = sat_value_text(sat_slice_str("[\"gold\"]"));
	try_values(&a, meta, values);
	if (sat_meta_vectors(&a, meta, &vv, &dv) == SAT_OK)
		SAT_ASSERT(sat_vv_valid(vv) && sat_vv_leq(dv, vv));
	sat_arena_fini(&a);
	return 0;
}
