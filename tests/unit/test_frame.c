#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

struct bench {
	struct sat_zip *zip;
	struct sat_buf out, scratch, plain;
	struct sat_frame f;
	struct sat_slice back;
};

static void up(struct bench *t)
{
	memset(t, 0, sizeof *t);
	t->zip = sat_zip_new();
	assert_non_null(t->zip);
	sat_buf_init(&t->out, 32 * 1024 * 1024);
	sat_buf_init(&t->scratch, SAT_UNZIP_BYTES_MAX);
	sat_buf_init(&t->plain, 16 * 1024 * 1024);
}

static void down(struct bench *t)
{
	sat_zip_free(t->zip);
	sat_buf_fini(&t->out);
	sat_buf_fini(&t->scratch);
	sat_buf_fini(&t->plain);
}

/* n bytes, all equal or without any pattern. */
static struct sat_slice fill(struct bench *t, size_t n, bool random)
{
	uint64_t x = 88172645463325252u;
	uint8_t *p;

	sat_buf_clear(&t->plain);
	assert_int_equal(sat_buf_reserve(&t->plain, n + 1, &p), SAT_OK);
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = random ? (uint8_t)(x >> 32) : ' ';
	}
	sat_buf_commit(&t->plain, n);
	return sat_buf_peek(&t->plain);
}

static int take(struct bench *t, size_t max, size_t *used)
{
	return sat_frame_take(sat_buf_peek(&t->out), max, &t->f, used);
}

static void frames_come_back(void **state)
{
	static const size_t sizes[] = { 0, 1, 512, 513, 70000, 1000000 };
	struct bench t;
	struct sat_slice in;
	size_t used;

	(void)state;
	up(&t);
	for (unsigned k = 0; k < SAT_COUNT_OF(sizes) * 4; k++) {
		in = fill(&t, sizes[k / 4], k % 2 == 0);
		sat_buf_clear(&t.out);
		assert_int_equal(
			sat_frame_put(k % 4 < 2 ? t.zip : NULL, 77, in, &t.out),
			SAT_OK);
		assert_int_equal(take(&t, SAT_FRAME_BYTES_MAX, &used), SAT_OK);
		assert_int_equal(used, sat_buf_peek(&t.out).len);
		assert_int_equal(t.f.type, 77);
		assert_int_equal(t.f.flags, k % 4 == 1 && in.len > 512);
		assert_int_equal(
			sat_frame_open(t.zip, &t.f, &t.scratch, &t.back),
			SAT_OK);
		assert_true(sat_slice_equal(in, t.back));
	}
	down(&t);
}

static void frames_cut_anywhere_wait(void **state)
{
	struct bench t;
	size_t used = 0;

	(void)state;
	up(&t);
	assert_int_equal(sat_frame_put(t.zip, 3, fill(&t, 2000, false), &t.out),
			 SAT_OK);
	for (size_t n = 0; n < t.out.len; n++)
		assert_int_equal(
			sat_frame_take((struct sat_slice){ t.out.base, n },
				       4096, &t.f, &used),
			SAT_AGAIN);
	assert_int_equal(take(&t, 4096, &used), SAT_OK);
	down(&t);
}

static void heads_are_judged_at_once(void **state)
{
	static const struct {
		const char *why, *bytes;
		size_t len;
		int rc;
	} rows[] = {
		{ "length 1 has no flags", "\0\0\0\x01\x01\0", 6, SAT_E_PROTO },
		{ "length 0", "\0\0\0\0", 4, SAT_E_PROTO },
		{ "one over the limit", "\0\0\x10\x01", 4, SAT_E_LIMIT },
		{ "at the limit", "\0\0\x10\0", 4, SAT_AGAIN },
		{ "4 GiB", "\xff\xff\xff\xff\x01\0", 6, SAT_E_LIMIT },
		{ "an unknown flag, before the payload is there",
		  "\0\0\0\x09\x01\x02", 6, SAT_E_PROTO },
		{ "an empty payload", "\0\0\0\x02\x01\0", 6, SAT_OK },
	};
	struct sat_frame f;
	size_t used;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++)
		if (sat_frame_take(
			    (struct sat_slice){ (const uint8_t *)rows[i].bytes,
						rows[i].len },
			    SAT_FRAME_HELLO_BYTES_MAX, &f, &used) != rows[i].rc)
			fail_msg("%s", rows[i].why);
}

static void honest_blanks_pass_the_ratio(void **state)
{
	struct bench t;
	struct sat_slice in;
	size_t used;

	(void)state;
	up(&t);
	/* 4 MiB of blanks zip to some hundred bytes; the padding makes up. */
	in = fill(&t, SAT_UNZIP_BYTES_MAX, false);
	assert_int_equal(sat_frame_put(t.zip, 5, in, &t.out), SAT_OK);
	assert_int_equal(take(&t, SAT_FRAME_BYTES_MAX, &used), SAT_OK);
	assert_true(t.f.payload.len <= SAT_UNZIP_BYTES_MAX / 64 + 16);
	assert_int_equal(sat_frame_open(t.zip, &t.f, &t.scratch, &t.back),
			 SAT_OK);
	assert_true(sat_slice_equal(in, t.back));
	sat_buf_clear(&t.out);
	in = fill(&t, SAT_UNZIP_BYTES_MAX + 1, false);
	assert_int_equal(sat_frame_put(t.zip, 5, in, &t.out), SAT_E_LIMIT);
	in = fill(&t, SAT_FRAME_BYTES_MAX - 1, true);
	assert_int_equal(sat_frame_put(t.zip, 5, in, &t.out), SAT_E_LIMIT);
	assert_int_equal(sat_buf_peek(&t.out).len, 0);
	down(&t);
}

/* Open a frame whose payload is zstd's own answer to n blanks, then extra. */
static int open_raw(struct bench *t, size_t n, const void *extra,
		    size_t extra_n, size_t cut)
{
	struct sat_slice in = fill(t, n, false);
	size_t bound = ZSTD_compressBound(n) + extra_n;
	uint8_t *p;
	size_t len;

	sat_buf_clear(&t->out);
	assert_int_equal(sat_buf_reserve(&t->out, bound, &p), SAT_OK);
	len = ZSTD_compress(p, bound, in.ptr, in.len, 3);
	assert_false(ZSTD_isError(len));
	if (extra_n > 0)
		memcpy(p + len, extra, extra_n);
	t->f = (struct sat_frame){ 1,
				   SAT_FRAME_ZSTD,
				   { p, len + extra_n - cut } };
	return sat_frame_open(t->zip, &t->f, &t->scratch, &t->back);
}

static void bombs_stop_at_the_limits(void **state)
{
	struct bench t;

	(void)state;
	up(&t);
	assert_int_equal(open_raw(&t, 600, NULL, 0, 0), SAT_OK);
	assert_int_equal(open_raw(&t, 1000 * 1000, NULL, 0, 0), SAT_E_LIMIT);
	assert_int_equal(open_raw(&t, 15 * 1024 * 1024, NULL, 0, 0),
			 SAT_E_LIMIT);
	assert_true(t.scratch.cap <= SAT_UNZIP_BYTES_MAX);
	/* Ratio satisfied by padding, size over 4 MiB all the same. */
	uint8_t *pad = test_calloc(1, 300008);
	memcpy(pad, "\x50\x2a\x4d\x18\xe0\x93\x04\x00", 8);
	assert_int_equal(open_raw(&t, SAT_UNZIP_BYTES_MAX, pad, 300008, 0),
			 SAT_OK);
	assert_int_equal(open_raw(&t, SAT_UNZIP_BYTES_MAX + 1, pad, 300008, 0),
			 SAT_E_LIMIT);
	test_free(pad);
	down(&t);
}

static void broken_zstd_is_refused(void **state)
{
	struct bench t;

	(void)state;
	up(&t);
	assert_int_equal(open_raw(&t, 600, NULL, 0, 1), SAT_E_PROTO);
	assert_int_equal(open_raw(&t, 600, "z", 1, 0), SAT_E_PROTO);
	assert_int_equal(open_raw(&t, 600, "\x50\x2a\x4d\x18\x01\0\0\0", 8, 0),
			 SAT_E_PROTO); /* padding cut short */
	assert_int_equal(
		open_raw(&t, 600, "\x50\x2a\x4d\x18\x01\0\0\0zz", 10, 0),
		SAT_E_PROTO); /* something behind the padding */
	assert_int_equal(open_raw(&t, 600, "\x50\x2a\x4d\x18\x01\0\0\0z", 9, 0),
			 SAT_OK);
	t.f = (struct sat_frame){ 1,
				  SAT_FRAME_ZSTD,
				  { (const uint8_t *)"plain text", 10 } };
	assert_int_equal(sat_frame_open(t.zip, &t.f, &t.scratch, &t.back),
			 SAT_E_PROTO);
	t.f.payload.len = 0;
	assert_int_equal(sat_frame_open(t.zip, &t.f, &t.scratch, &t.back),
			 SAT_E_PROTO);
	assert_int_equal(open_raw(&t, 600, NULL, 0, 0), SAT_OK);
	assert_int_equal(sat_frame_open(NULL, &t.f, &t.scratch, &t.back),
			 SAT_E_PROTO);
	down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_back),
		cmocka_unit_test(frames_cut_anywhere_wait),
		cmocka_unit_test(heads_are_judged_at_once),
		cmocka_unit_test(honest_blanks_pass_the_ratio),
		cmocka_unit_test(bombs_stop_at_the_limits),
		cmocka_unit_test(broken_zstd_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
