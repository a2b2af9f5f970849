/* Metadata from a damaged file or a hostile peer: refused, never a crash, and
 * what is accepted is a state that can be written and read again. */
#include "tests/merge/world.h"

static struct sat_arena arena;

static int setup(void **state)
{
	(void)state;
	sat_arena_init(&arena, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sat_arena_fini(&arena);
	return 0;
}

static int decode(const uint8_t *bytes, size_t len,
		  const struct sat_value *values, struct sat_row *ret)
{
	/* a copy of its own size, so that reading past it is found out */
	uint8_t *copy = malloc(len > 0 ? len : 1);
	struct sat_slice meta = { copy, len };
	struct sat_row row;
	int rc;

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, bytes, len);
	rc = sat_meta_decode(&arena, &world_table, meta, values, &row);
	if (rc == SAT_OK) {
		/* text may be borrowed from the copy */
		assert_int_equal(sat_row_copy(&arena, &world_table, &row, ret),
				 SAT_OK);
	}
	free(copy);
	return rc;
}

static void no_values(struct sat_value *values)
{
	for (int c = 0; c < COL_COUNT; c++)
		values[c] = sat_value_null();
}

/* Numbers of columns: 1 2 lww, 3 keep, 4 ordered, 5 counter, 6 set, 7 max,
 * 9 min, 12 first. All values are NULL, but the set is ["a","b"]. */
static const struct {
	const char *hex;
	bool good;
	const char *why;
} rows[] = {
	{ "0100", true, "a row nobody has written" },
	{ "01010105", true, "only a vector" },
	{ "", false, "nothing" },
	{ "01", false, "no vector" },
	{ "0000", false, "version 0" },
	{ "0200", false, "version 2" },
	{ "8100", false, "bit 7" },
	{ "010000", false, "a byte too many" },
	{ "01020105", false, "a vector cut short" },
	{ "01010005", false, "replica 0" },
	{ "01010100", false, "seq 0" },
	{ "0102010500ff01", false, "twice the same replica" },
	{ "0101ffffffff0f05", true, "the largest replica" },
	{ "0101808080801005", false, "a replica over 32 bits" },
	{ "0102ffffffff0f050105", false, "a replica over 32 bits in two" },
	{ "0101018500", false, "a varint longer than needed" },
	{ "010101ffffffffffffffffff01", true, "the largest seq" },
	{ "010101ffffffffffffffffff02", false, "more than 64 bits" },
	{ "010101ffffffffffffffffffff01", false, "11 bytes" },
	{ "01ffffffff0f", false, "more entries than bytes" },
	{ "01814001", false, "more than 4,096 entries" },

	{ "090101050100", true, "all deleted" },
	{ "09010105010101", true, "deleted up to seq 4" },
	{ "09010105010105", false, "deleted up to seq 0" },
	{ "09010105010100", false, "older by 0 is not older" },
	{ "090101050102", false, "a replica the vector has not" },
	{ "0901010500", false, "an empty dv is left out" },
	{ "09010105020000", false, "more of dv than of vv" },
	{ "0902010501050202 00", false, "dv falling" },
	{ "0902010501050200 02", true, "dv rising" },

	{ "110101050000 05", true, "default on 1 and 2" },
	{ "110101050000 0201", false, "bit 0 is no column" },
	{ "110101050000 0206", true, "1 and 2 by bitmap" },
	{ "110101050000 0226", false, "column 5 is a counter" },
	{ "110101050000 0246", false, "column 6 is a set" },
	{ "110101050000 040600", false, "a bitmap with a zero at the end" },
	{ "110101050000 0406", false, "a bitmap cut short" },
	{ "110101050000 00", false, "an empty bitmap" },
	{ "110101050000 01", false, "from 1 to 0" },
	{ "110101050000 09", true, "from 1 to 4" },
	{ "110101050000 0b", false, "from 1 to 5, a counter" },
	{ "110101050000040002", true, "column 9" },
	{ "110101050000 040001", false, "no column 8" },
	{ "110101050000 81808008", false, "from 1 to far too many" },
	{ "11010105000105", false, "counter said to follow but 5" },
	{ "1101010500010005", false, "a counter of 0" },
	{ "11010105000107 05", true, "a counter of 7" },
	{ "110101050001808004 05", false, "a counter over 16 bits" },
	{ "110101050280", false, "dot cut short" },
	{ "11010105 00 feffffffffff7f 05", true, "the last ms" },
	{ "11010105 00 80808080808080 01 05", false, "48 bits of ms" },

	{ "21010105 01 00 04", true, "a delete at 1 ms" },
	{ "21010105 01 00 02", false, "a delete before 1970" },
	{ "21010105 00", false, "no deletes at all" },
	{ "21010105 02 0004 0004", false, "the same delete twice" },
	{ "21010105 02 010104 0004", true, "two deletes" },
	{ "21010105 03 010104 0004", false, "two of three deletes" },

	{ "41010105 01 01 00 0004", true, "one plain write" },
	{ "41010105 00", false, "no fields at all" },
	{ "41010105 01 0d 00 0004", false, "no column 13" },
	{ "41010105 01 808004 00 0004", false, "number over 16 bits" },
	{ "41010105 02 01000004 01000004", true, "columns 1 and 2" },
	{ "41010105 02 01000004 00000004", false, "column 1 twice" },
	{ "51010105 0000 03 01 01000004", false,
	  "column 1 in the default, too" },
	{ "41010105 01 01 01 00 00 0004", false,
	  "one plain write the long way" },
	{ "41010105 01 01 01 00 01 0004", true, "one answer" },
	{ "41010105 01 01 01 00 04 0004", false, "flag 4" },
	{ "41010105 01 01 01 01 01 0004", false, "shown beyond" },
	{ "41010105 01 01 02 01 00010404 00 000008", true,
	  "two writes, the later shown" },
	{ "41010105 01 01 02 00 00010404 000008 00", false,
	  "the earlier shown" },
	{ "41010105 01 01 02 01 000004 00 000008", false,
	  "the same dot twice" },
	{ "41010105 01 01 02 01 00010404 0102 000008", true, "a sibling of 1" },
	{ "41010105 01 01 02 01 00010404 05 000008", false,
	  "a sibling of no kind" },
	{ "41010105 01 01 02 01 00010404 03024142 000008", true,
	  "a sibling of AB" },
	{ "41010105 01 01 02 01 00010404 04024142 000008", true,
	  "a sibling blob" },
	{ "41010105 01 01 02 01 00010404 03ff014142 000008", false,
	  "a sibling longer than what is left" },
	{ "41010105 01 01 02 01 00010404 023ff0000000000000 000008", true,
	  "a sibling of 1.0" },
	{ "41010105 01 01 02 01 00010404 027ff8000000000000 000008", false,
	  "a sibling that is not a number" },
	{ "41010105 01 01 02 01 00010404 023ff0", false,
	  "a sibling cut short" },
	{ "41010105 01 01 8020 00", false, "4,096 writes in no bytes" },

	{ "41010105 01 05 01 0002", true, "a sum of 1" },
	{ "41010105 01 05 01 0000", false, "a sum of 0" },
	{ "41010105 01 05 01 0102", false, "a sum of nobody" },
	{ "41010105 01 05 00", false, "no sums" },
	{ "41010105 01 05 02 00020002", false, "two sums of one" },
	{ "41010105 01 05 01 00ff", false, "a sum cut short" },

	{ "41010105 01 06 0000", true, "a and b once each" },
	{ "41010105 01 06 01020400", false, "a twice by falling dots" },
	{ "41010105 01 06 03010000", true, "a twice by rising dots" },
	{ "41010105 01 06 00", false, "b by nobody" },
	{ "41010105 01 06 000000", false, "more dots than elements" },
	{ "41010105 01 06 0004", false, "b by a replica unknown" },
};

/* Spaces are for the reader. */
static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned byte;

	for (; *hex != '\0'; hex += hex[0] == ' ' ? 1 : 2) {
		if (*hex == ' ')
			continue;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

static void test_table(void **state)
{
	struct sat_value values[COL_COUNT];
	uint8_t bytes[64];
	struct sat_row row;

	(void)state;
	no_values(values);
	values[COL_SET] = sat_value_text(sat_slice_str("[\"a\",\"b\"]"));
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		size_t n = unhex(rows[i].hex, bytes);
		int rc = decode(bytes, n, values, &row);

		if (rc != (rows[i].good ? SAT_OK : SAT_E_CORRUPT))
			fail_msg("%s (%s): %d", rows[i].why, rows[i].hex, rc);
	}
}

/* The set's text is in the typed column: without it nothing fits. */
static void test_set_texts(void **state)
{
	static const char *const bad[] = { "",      "[",
					   "\"a\"", "[\"b\",\"a\",\"c\"]",
					   "[]",    "[1]" };
	static const uint8_t bytes[] = { 0x41, 1, 1, 5, 1, 6, 0, 0 };
	struct sat_value values[COL_COUNT];
	struct sat_row row;

	(void)state;
	no_values(values);
	assert_int_equal(decode(bytes, sizeof bytes, values, &row),
			 SAT_E_CORRUPT);
	for (size_t i = 0; i < SAT_COUNT_OF(bad); i++) {
		values[COL_SET] = sat_value_text(sat_slice_str(bad[i]));
		assert_int_equal(decode(bytes, sizeof bytes, values, &row),
				 SAT_E_CORRUPT);
	}
}

/* Ledger material of all kinds in one row. */
static struct sat_slice sample(struct sat_buf *out, struct sat_value *values)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_INSERT, "");
	struct sat_row row;

	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	for (int c = 0; c < COL_COUNT; c++) {
		if (c == COL_SET)
			world_set(&arena, &d, "a b", NULL);
		else
			world_write(&arena, &d, c, 3, (uint64_t)2000 << 16);
	}
	world_apply(&arena, &row, &d, 1, 5);
	for (uint32_t replica = 7; replica < 10; replica++) {
		d = world_delta(&arena, SAT_OP_UPDATE, "1:5");
		for (int c = COL_LWW2; c < COL_COUNT; c++) {
			if (c == COL_SET)
				world_set(&arena, &d, "b c", "a");
			else
				world_write(&arena, &d, c, 1,
					    (uint64_t)3000 << 16 | replica);
		}
		world_apply(&arena, &row, &d, replica, 300);
	}
	d = world_delta(&arena, SAT_OP_DELETE, "1:5 7:300");
	d.stamp = (uint64_t)2500 << 16;
	world_apply(&arena, &row, &d, 12, 1);
	return world_meta(&arena, &row, out, values);
}

static void test_truncated(void **state)
{
	struct sat_value values[COL_COUNT];
	struct sat_slice meta;
	struct sat_buf out;
	struct sat_row row;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	meta = sample(&out, values);
	assert_int_equal(decode(meta.ptr, meta.len, values, &row), SAT_OK);
	for (size_t n = 0; n < meta.len; n++)
		assert_int_equal(decode(meta.ptr, n, values, &row),
				 SAT_E_CORRUPT);
	sat_buf_fini(&out);
}

/* Random damage: an error, or a state that is whole. */
static void test_random(void **state)
{
	struct sat_value values[COL_COUNT];
	struct sat_slice meta;
	struct sat_buf out, again;
	uint64_t rng = 42;
	uint8_t bytes[512];
	struct sat_row row, back;
	unsigned good = 0, bad = 0;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	sat_buf_init(&again, 1 << 16);
	for (unsigned round = 0; round < 50000; round++) {
		size_t n;

		sat_arena_reset(&arena);
		meta = sample(&out, values);
		n = meta.len;
		assert_true(n < sizeof bytes);
		memcpy(bytes, meta.ptr, n);
		for (unsigned hits = 1 + world_below(&rng, 4); hits > 0; hits--)
			bytes[world_below(&rng, (unsigned)n)] =
				(uint8_t)world_random(&rng);
		if (world_below(&rng, 4) == 0)
			n = world_below(&rng, (unsigned)n + 1);
		if (decode(bytes, n, values, &row) != SAT_OK) {
			bad++;
			continue;
		}
		good++;
		assert_true(sat_vv_valid(row.vv) && sat_vv_valid(row.dv));
		assert_true(sat_vv_leq(row.dv, row.vv));
		sat_buf_clear(&again);
		assert_int_equal(
			sat_meta_encode(&world_table, &row, values, &again),
			SAT_OK);
		assert_int_equal(sat_meta_decode(&arena, &world_table,
						 sat_buf_peek(&again), values,
						 &back),
				 SAT_OK);
		assert_true(sat_row_equal(&world_table, &row, &back));
	}
	assert_true(good > 100 && bad > 100);
	sat_buf_fini(&out);
	sat_buf_fini(&again);
}

static void test_no_memory(void **state)
{
	struct sat_value values[COL_COUNT];
	struct sat_buf out, masked;
	struct sat_slice meta;
	bool readable[COL_COUNT] = { true };
	unsigned failures = 0;
	int rc = SAT_E_NOMEM;

	(void)state;
	sat_arena_reset(&arena);
	sat_buf_init(&out, 1 << 16);
	sat_buf_init(&masked, 1 << 16);
	meta = sample(&out, values);
	for (size_t max = 1; rc != SAT_OK; max += 16) {
		struct sat_arena small;
		struct sat_row row = { .field_count = 77 };
		struct sat_vv vv = { NULL, 77 }, dv = { NULL, 77 };

		sat_arena_init(&small, max);
		rc = sat_meta_vectors(&small, meta, &vv, &dv);
		assert_true(rc == SAT_E_NOMEM ? vv.count == 77 : vv.count == 5);
		sat_arena_fini(&small);
		sat_arena_init(&small, max);
		rc = sat_meta_mask(&small, &world_table, meta, values, readable,
				   &masked);
		assert_int_equal(sat_buf_peek(&masked).len > 0, rc == SAT_OK);
		sat_arena_fini(&small);
		sat_arena_init(&small, max);
		rc = sat_meta_decode(&small, &world_table, meta, values, &row);
		if (rc != SAT_OK) {
			assert_int_equal(rc, SAT_E_NOMEM);
			assert_int_equal(row.field_count, 77);
			failures++;
		}
		sat_arena_fini(&small);
	}
	assert_true(failures > 20);
	sat_buf_fini(&out);
	sat_buf_fini(&masked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_set_texts),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
