#include "tests/unit/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

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

struct bench {
	struct sat_arena a, b;
	struct sat_buf out;
	struct sat_err err;
	struct sat_page page, back;
};

static void up(struct bench *t, uint32_t rows)
{
	struct fx_rng g = { 11 };

	memset(t, 0, sizeof *t);
	sat_arena_init(&t->a, ARENA_BYTES);
	sat_arena_init(&t->b, ARENA_BYTES);
	sat_buf_init(&t->out, SAT_PAGE_BYTES_MAX);
	fx_page(&t->a, &g, rows, &t->page);
}

static void down(struct bench *t)
{
	sat_arena_fini(&t->a);
	sat_arena_fini(&t->b);
	sat_buf_fini(&t->out);
}

static int decode(struct bench *t, struct sat_slice in, bool refs)
{
	sat_arena_reset(&t->b);
	return sat_page_decode(fx_visit, in, refs, &t->b, &t->back, &t->err);
}

static struct sat_slice encode(struct bench *t, bool refs)
{
	sat_buf_clear(&t->out);
	assert_int_equal(sat_page_encode(&t->page, refs, &t->out), SAT_OK);
	return sat_buf_peek(&t->out);
}

static void references_carry_ids_and_seqs_only(void **state)
{
	struct sat_slice in;
	struct bench t;

	(void)state;
	up(&t, 30);
	in = encode(&t, true);
	assert_int_equal(decode(&t, in, true), SAT_OK);
	assert_int_equal(t.back.row_count, 30);
	assert_int_equal(t.back.column_count, 0);
	assert_memory_equal(t.back.ids, t.page.ids, 30 * sizeof *t.page.ids);
	assert_memory_equal(t.back.seqs, t.page.seqs, 30 * sizeof *t.page.seqs);
	/* References are not rows; rows can be read as references. */
	assert_int_equal(decode(&t, in, false), SAT_E_PROTO);
	assert_int_equal(decode(&t, encode(&t, false), true), SAT_OK);
	down(&t);
}

static void metadata_of_any_length_comes_back(void **state)
{
	static uint8_t bytes[300];
	struct bench t;

	(void)state;
	up(&t, 300);
	for (unsigned i = 0; i < 300; i++) {
		bytes[i] = (uint8_t)(i * 7);
		t.page.metas[i] = (struct sat_slice){ bytes, i };
	}
	assert_int_equal(decode(&t, encode(&t, false), false), SAT_OK);
	fx_same_page(&t.page, &t.back);
	down(&t);
}

static void unknown_columns_are_skipped(void **state)
{
	struct sat_table less = *fx_visit;
	struct sat_slice in;
	struct bench t;

	(void)state;
	up(&t, 20);
	less.column_count = FX_NOTES; /* a device with an older catalogue */
	in = encode(&t, false);
	assert_int_equal(
		sat_page_decode(&less, in, false, &t.b, &t.back, &t.err),
		SAT_OK);
	assert_int_equal(t.back.column_count, FX_NOTES);
	for (unsigned i = 0; i < 20; i++)
		for (unsigned k = 0; k < FX_NOTES; k++)
			assert_true(sat_value_equal(
				&t.back.values[i * FX_NOTES + k],
				&t.page.values[i * FX_COLUMNS + k]));
	down(&t);
}

static void refused_values_break_the_page(void **state)
{
	struct bench t;

	(void)state;
	up(&t, 5);
	t.page.values[3 * FX_COLUMNS + FX_OUTCOME] =
		sat_value_text(sat_slice_str("win"));
	assert_int_equal(decode(&t, encode(&t, false), false), SAT_E_PROTO);
	assert_non_null(strstr(t.err.msg, "visit.outcome"));
	t.page.values[3 * FX_COLUMNS + FX_OUTCOME] = sat_value_int(3);
	sat_buf_clear(&t.out);
	assert_int_equal(sat_page_encode(&t.page, false, &t.out), SAT_E_INVAL);
	t.page.row_count = SAT_PAGE_ROWS_MAX + 1;
	assert_int_equal(sat_page_encode(&t.page, false, &t.out), SAT_E_LIMIT);
	down(&t);
}

static void cut_or_changed_it_does_no_harm(void **state)
{
	struct fx_rng g = { 12 };
	struct sat_buf copy;
	struct sat_slice in;
	struct bench t;
	int rc;

	(void)state;
	up(&t, 6);
	sat_buf_init(&copy, 65536);
	in = encode(&t, false);
	for (size_t n = 0; n < in.len; n++)
		assert_int_not_equal(
			decode(&t, (struct sat_slice){ in.ptr, n }, false),
			SAT_OK);
	for (unsigned k = 0; k < 20000; k++) {
		sat_buf_clear(&copy);
		assert_int_equal(sat_buf_append(&copy, in.ptr, in.len), SAT_OK);
		for (unsigned i = 0; i < 1 + k % 3; i++)
			copy.base[fx_below(&g, (uint32_t)in.len)] =
				(uint8_t)fx_random(&g);
		rc = decode(&t, sat_buf_peek(&copy), k % 5 == 0);
		assert_true(rc == SAT_OK || rc == SAT_E_PROTO ||
			    rc == SAT_E_LIMIT);
		if (rc == SAT_OK && k % 5 != 0)
			assert_true(t.back.row_count <= SAT_PAGE_ROWS_MAX);
	}
	sat_buf_fini(&copy);
	down(&t);
}

static void memory_runs_out_cleanly(void **state)
{
	struct sat_arena small;
	struct sat_slice in;
	struct bench t;
	int rc;

	(void)state;
	up(&t, 6);
	in = encode(&t, false);
	for (size_t max = 0;; max += 64) {
		sat_arena_init(&small, max);
		rc = sat_page_decode(fx_visit, in, false, &small, &t.back,
				     &t.err);
		sat_arena_fini(&small);
		if (rc == SAT_OK)
			break;
		assert_int_equal(rc, SAT_E_NOMEM);
		assert_true(max < 1024 * 1024);
	}
	down(&t);
}

/* A page as ROWS frames carry it, beside the columns as one zstd file. */
static void visits_are_small(void **state)
{
	enum { VISITS = 10000, PAGE = 2000 };
	struct sat_zip *zip = sat_zip_new();
	size_t wire = 0;
	size_t floor_bytes = 0;
	struct sat_buf frame, floor;
	struct bench t;
	size_t bound;
	void *out;

	(void)state;
	up(&t, VISITS);
	sat_buf_init(&frame, 2 * SAT_FRAME_BYTES_MAX);
	sat_buf_init(&floor, SAT_PAGE_BYTES_MAX);
	for (uint32_t from = 0; from < VISITS; from += PAGE) {
		struct sat_page part = t.page;
		struct sat_msg m = { .type = SAT_MSG_ROWS };

		part.row_count = PAGE;
		part.ids += from;
		part.seqs += from;
		part.metas += from;
		part.values += (size_t)from * FX_COLUMNS;
		sat_buf_clear(&t.out);
		sat_buf_clear(&frame);
		assert_int_equal(sat_page_encode(&part, false, &t.out), SAT_OK);
		m.rows.page = sat_buf_peek(&t.out);
		assert_int_equal(sat_msg_encode(zip, &m, &frame), SAT_OK);
		wire += sat_buf_peek(&frame).len;
	}
	assert_int_equal(sat_buf_append(&floor, t.page.ids, VISITS * 16),
			 SAT_OK);
	for (uint16_t c = 0; c < FX_COLUMNS; c++) {
		for (uint32_t i = 0; i < VISITS; i++) {
			const struct sat_value *v =
				&t.page.values[(size_t)i * FX_COLUMNS + c];
			uint32_t len = (uint32_t)v->s.len;

			if (v->kind == SAT_INT || v->kind == SAT_REAL) {
				assert_int_equal(
					sat_buf_append(&floor, &v->i, 8),
					SAT_OK);
			} else if (v->kind != SAT_NULL) {
				if (v->kind == SAT_TEXT)
					assert_int_equal(
						sat_buf_append(&floor, &len, 4),
						SAT_OK);
				assert_int_equal(
					sat_buf_append(&floor, v->s.ptr, len),
					SAT_OK);
			}
		}
	}
	bound = ZSTD_compressBound(floor.len);
	out = test_malloc(bound);
	floor_bytes = ZSTD_compress(out, bound, floor.base, floor.len, 3);
	test_free(out);
	printf("# page: %.1f bytes per visit on the wire, metadata included; "
	       "floor %.1f without it; ratio %.3f\n",
	       (double)wire / VISITS, (double)floor_bytes / VISITS,
	       (double)wire / (double)floor_bytes);
	assert_true((double)wire <= 1.25 * (double)floor_bytes);
	sat_buf_fini(&frame);
	sat_buf_fini(&floor);
	sat_zip_free(zip);
	down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_come_back),
		cmocka_unit_test(references_carry_ids_and_seqs_only),
		cmocka_unit_test(metadata_of_any_length_comes_back),
		cmocka_unit_test(unknown_columns_are_skipped),
		cmocka_unit_test(refused_values_break_the_page),
		cmocka_unit_test(cut_or_changed_it_does_no_harm),
		cmocka_unit_test(memory_runs_out_cleanly),
		cmocka_unit_test(visits_are_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
