/* Metadata: sizes of typical rows, growth of the catalogue, masking, golden
 * bytes, and the row hash. Round trips of odd states are in the histories. */
#include "tests/merge/world.h"

#define AT(ms) ((uint64_t)(ms) << 16)

static struct sat_arena arena;
static const uint64_t now = AT(1763700000123);

static int setup(void **state)
{
	(void)state;
	sat_arena_init(&arena, 64 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sat_arena_fini(&arena);
	return 0;
}

/* A table such as visit: 20 columns, mostly lww, numbered from 1. */
static struct sat_table typical(struct sat_column *columns)
{
	for (uint16_t i = 0; i < 20; i++)
		columns[i] = (struct sat_column){ .no = (uint16_t)(i + 1),
						  .type = SAT_TYPE_TEXT,
						  .policy = SAT_POLICY_LWW };
	columns[17].policy = SAT_POLICY_KEEP;
	columns[18].policy = SAT_POLICY_SET;
	columns[19].policy = SAT_POLICY_COUNTER;
	return (struct sat_table){ .no = 5,
				   .columns = columns,
				   .column_count = 20 };
}

static struct sat_delta delta_for(const struct sat_table *t,
				  const char *context)
{
	struct sat_delta d = { .op = SAT_OP_UPDATE, .table = t };

	d.changes = sat_arena_array(&arena, 32, sizeof *d.changes);
	assert_non_null(d.changes);
	d.context = world_vv(&arena, context);
	return d;
}

static struct sat_change *put(struct sat_delta *d, uint16_t column,
			      const char *text, uint64_t stamp)
{
	struct sat_change *c = &d->changes[d->change_count++];

	c->column = column;
	c->stamp = stamp;
	c->value = text == NULL ? sat_value_null()
				: sat_value_text(sat_slice_str(text));
	return c;
}

static void apply(struct sat_row *row, const struct sat_delta *d,
		  uint32_t replica, uint64_t seq)
{
	enum sat_merge_outcome outcome;

	assert_int_equal(sat_merge_apply(&arena, row, d,
					 (struct sat_dot){ replica, seq },
					 &outcome),
			 SAT_OK);
}

static size_t encode(const struct sat_table *t, const struct sat_row *row,
		     struct sat_value *values, struct sat_buf *out)
{
	struct sat_row back;

	sat_buf_clear(out);
	for (uint16_t i = 0; i < t->column_count; i++)
		assert_int_equal(sat_field_value(&arena, &t->columns[i],
						 &row->fields[i], &values[i]),
				 SAT_OK);
	assert_int_equal(sat_meta_encode(t, row, values, out), SAT_OK);
	assert_int_equal(
		sat_meta_decode(&arena, t, sat_buf_peek(out), values, &back),
		SAT_OK);
	assert_true(sat_row_equal(t, row, &back));
	return sat_buf_peek(out).len;
}

static struct sat_row inserted(const struct sat_table *t, unsigned step)
{
	struct sat_delta d = delta_for(t, "");
	struct sat_row row;

	assert_int_equal(sat_row_init(&arena, t, &row), SAT_OK);
	for (uint16_t i = 0; i < 18; i = (uint16_t)(i + step))
		put(&d, i, "text", now);
	apply(&row, &d, 300, 2000);
	return row;
}

static void report(const char *what, size_t bytes, size_t most)
{
	print_message("metadata of %-44s %3zu bytes\n", what, bytes);
	if (bytes > most)
		fail_msg("%s takes %zu bytes, at most %zu were promised", what,
			 bytes, most);
}

/* Replica ids and seqs as in a fleet: two bytes each. */
static void test_sizes(void **state)
{
	static const struct sat_slice tags[] = {
		{ (const uint8_t *)"gold", 4 }, { (const uint8_t *)"vip", 3 }
	};
	struct sat_column columns[20];
	struct sat_table t = typical(columns);
	struct sat_value values[20];
	struct sat_row row, base;
	struct sat_delta d;
	struct sat_change *c;
	struct sat_buf out;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	base = inserted(&t, 1);
	report("a fresh insert of all columns", encode(&t, &base, values, &out),
	       14);
	row = inserted(&t, 2);
	report("a fresh insert of every other column",
	       encode(&t, &row, values, &out), 17);

	row = base;
	d = delta_for(&t, "300:2000");
	put(&d, 3, "other", now + AT(86400000));
	apply(&row, &d, 310, 77);
	report("one edit by another a day later",
	       encode(&t, &row, values, &out), 30);

	row = base;
	d = delta_for(&t, "300:2000");
	put(&d, 17, "X Ltd", now + AT(60000));
	apply(&row, &d, 310, 77);
	d = delta_for(&t, "300:2000");
	put(&d, 17, "X GmbH", now + AT(90000));
	apply(&row, &d, 311, 5);
	report("two siblings of a kept name", encode(&t, &row, values, &out),
	       45);

	row = base;
	d = delta_for(&t, "300:2000");
	c = put(&d, 18, NULL, 0);
	c->adds = tags;
	c->add_count = 2;
	apply(&row, &d, 300, 2001);
	report("and a set of two elements", encode(&t, &row, values, &out), 24);

	row = base;
	d = delta_for(&t, "300:2000");
	put(&d, 19, NULL, 0)->value = sat_value_int(4);
	apply(&row, &d, 300, 2001);
	report("and a counter", encode(&t, &row, values, &out), 24);

	row = base;
	d = delta_for(&t, "300:2000");
	d.op = SAT_OP_DELETE;
	d.stamp = now + AT(86400000);
	apply(&row, &d, 300, 2001);
	report("a deleted row", encode(&t, &row, values, &out), 30);
	sat_buf_fini(&out);
}

/* The bytes themselves, as the specification says they are. */
static void test_golden(void **state)
{
	static const uint8_t want[] = {
		0x51,             /* version 1, default, fields       */
		0x02,             /* vv of two                        */
		0x01, 0x05,       /* replica 1: 5                     */
		0x06, 0x01,       /* replica 1 + 6: 1                 */
		0x00,             /* default: dot (1,5)               */
		0xa0, 0x1f,       /* 2000 ms, no counter              */
		0x07,             /* all numbers from 1 to 3          */
		0x02,             /* two more fields                  */
		0x05,             /* number 5, the counter:           */
		0x01, 0x00, 0x08, /* one sum, of replica 1, 4         */
		0x01,             /* number 6, the set:               */
		0x00, 0x04,       /* "a" by (1,5); "b" by (7,1)       */
	};
	struct sat_value values[COL_COUNT];
	struct sat_delta d = world_delta(&arena, SAT_OP_INSERT, "");
	struct sat_row row;
	struct sat_buf out;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	world_write(&arena, &d, COL_LWW, 1, AT(2000));
	world_write(&arena, &d, COL_LWW2, 0, AT(2000)); /* NULL, but written */
	world_write(&arena, &d, COL_KEEP, 2, AT(2000));
	world_write(&arena, &d, COL_COUNTER, 4, 0);
	world_set(&arena, &d, "a", NULL);
	world_apply(&arena, &row, &d, 1, 5);
	d = world_delta(&arena, SAT_OP_UPDATE, "1:5");
	world_set(&arena, &d, "b", NULL);
	world_apply(&arena, &row, &d, 7, 1);
	assert_int_equal(world_meta(&arena, &row, &out, values).len,
			 sizeof want);
	assert_memory_equal(sat_buf_peek(&out).ptr, want, sizeof want);
	sat_buf_fini(&out);
}

/* Equally many columns hold either write: that of the first column is the
 * default. A column numbered 0 forbids the short form of the columns. */
static void test_default_ties(void **state)
{
	static const struct {
		uint16_t second; /* written with column 0 */
		uint8_t bitmap, gaps[2];
	} rows[] = { { 1, 0x03, { 2, 1 } }, { 2, 0x05, { 1, 2 } } };
	struct sat_column columns[4] = {
		{ .no = 0 }, { .no = 1 }, { .no = 2 }, { .no = 3 }
	};
	struct sat_table t = { .columns = columns, .column_count = 4 };
	struct sat_value values[4];
	struct sat_row row;
	struct sat_buf out;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	for (size_t k = 0; k < SAT_COUNT_OF(rows); k++) {
		const uint8_t want[] = {
			0x51,
			0x02,
			0x01,
			0x05,
			0x06,
			0x01, /* 1:5 7:1 */
			0x02,
			0xc0,
			0x3e, /* default: (7,1) at 4000 ms */
			0x02,
			rows[k].bitmap,
			/* the other two: plain, by (1,5), 2000 ms earlier */
			0x02,
			rows[k].gaps[0],
			0x00,
			0x00,
			0xbe,
			0x3e,
			rows[k].gaps[1],
			0x00,
			0x00,
			0xbe,
			0x3e,
		};
		struct sat_delta d = delta_for(&t, "");

		assert_int_equal(sat_row_init(&arena, &t, &row), SAT_OK);
		for (uint16_t i = 0; i < 4; i++)
			put(&d, i, "x", AT(2000));
		apply(&row, &d, 1, 5);
		d = delta_for(&t, "1:5");
		put(&d, 0, "y", AT(4000));
		put(&d, rows[k].second, "y", AT(4000));
		apply(&row, &d, 7, 1);
		assert_int_equal(encode(&t, &row, values, &out), sizeof want);
		assert_memory_equal(sat_buf_peek(&out).ptr, want, sizeof want);
	}
	sat_buf_fini(&out);
}

/* The default is what most columns hold, so an edit of a few stays small and
 * an edit of most becomes the default. */
static void test_default_moves(void **state)
{
	struct sat_column columns[20];
	struct sat_table t = typical(columns);
	struct sat_row row = inserted(&t, 1);
	struct sat_value values[20];
	struct sat_buf out;
	size_t half, most;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	struct sat_delta d = delta_for(&t, "300:2000");
	for (uint16_t i = 0; i < 9; i++)
		put(&d, i, "edited", now + AT(86400000));
	apply(&row, &d, 300, 2001);
	half = encode(&t, &row, values, &out);
	d = delta_for(&t, "300:2001");
	for (uint16_t i = 0; i < 15; i++)
		put(&d, i, "edited", now + AT(86400000));
	apply(&row, &d, 300, 2002);
	most = encode(&t, &row, values, &out);
	assert_true(most < half);
	sat_buf_fini(&out);
}

/* A column added to the catalogue, in front or behind, with or without a
 * value in the typed column, reads as never written. */
static void test_growth(void **state)
{
	struct sat_column columns[20], more[22];
	struct sat_table t = typical(columns), grown;
	struct sat_value values[20], more_values[22];
	struct sat_row row, back;
	struct sat_buf out, again;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	sat_buf_init(&again, 1 << 16);
	for (unsigned i = 0; i < 20; i++)
		columns[i].no = (uint16_t)(2 * i + 2);
	grown = t;
	more[0] = (struct sat_column){ .no = 1, .policy = SAT_POLICY_LWW };
	memcpy(more + 1, columns, sizeof columns);
	more[21] = (struct sat_column){ .no = 500, .policy = SAT_POLICY_KEEP };
	grown.columns = more;
	grown.column_count = 22;
	for (unsigned step = 1; step < 4; step++) {
		row = inserted(&t, step);
		encode(&t, &row, values, &out);
		more_values[0] = sat_value_text(sat_slice_str("its default"));
		memcpy(more_values + 1, values, sizeof values);
		more_values[21] = more_values[0];
		assert_int_equal(sat_meta_decode(&arena, &grown,
						 sat_buf_peek(&out),
						 more_values, &back),
				 SAT_OK);
		assert_int_equal(back.fields[0].count, 0);
		assert_int_equal(back.fields[21].count, 0);
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(back.fields[i + 1].count,
					 row.fields[i].count);
		/* and the same bytes come out: no row is sent again */
		sat_buf_clear(&again);
		assert_int_equal(
			sat_meta_encode(&grown, &back, more_values, &again),
			SAT_OK);
		assert_true(sat_slice_equal(sat_buf_peek(&out),
					    sat_buf_peek(&again)));
	}
	/* metadata of a catalogue we do not know is not guessed at */
	encode(&grown, &back, more_values, &out);
	struct sat_delta d = delta_for(&grown, "300:2000");
	put(&d, 21, "new", now);
	apply(&back, &d, 300, 2001);
	encode(&grown, &back, more_values, &out);
	assert_int_equal(
		sat_meta_decode(&arena, &t, sat_buf_peek(&out), values, &row),
		SAT_E_CORRUPT);
	sat_buf_fini(&out);
	sat_buf_fini(&again);
}

static void test_wrong_values(void **state)
{
	struct sat_column columns[20];
	struct sat_table t = typical(columns);
	struct sat_row row = inserted(&t, 1);
	struct sat_value values[20];
	struct sat_buf out, tiny;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	sat_buf_init(&tiny, 5);
	encode(&t, &row, values, &out);
	assert_int_equal(sat_meta_encode(&t, &row, values, &tiny), SAT_E_LIMIT);
	assert_int_equal(sat_buf_peek(&tiny).len, 0);
	sat_buf_clear(&out);
	values[4] = sat_value_text(sat_slice_str("not what the row shows"));
	assert_int_equal(sat_meta_encode(&t, &row, values, &out), SAT_E_INVAL);
	assert_int_equal(sat_buf_peek(&out).len, 0);
	sat_buf_fini(&out);
	sat_buf_fini(&tiny);
}

/* Nothing of a masked column is left, everything of the others is. */
static void test_mask(void **state)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_INSERT, "");
	struct sat_value values[COL_COUNT], masked_values[COL_COUNT];
	struct sat_row row, masked, hidden;
	struct sat_buf whole, out, direct;
	bool readable[COL_COUNT];

	(void)state;
	sat_buf_init(&whole, 1 << 16);
	sat_buf_init(&out, 1 << 16);
	sat_buf_init(&direct, 1 << 16);
	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	for (int c = 0; c < COL_COUNT; c++) {
		if (c == COL_SET)
			world_set(&arena, &d, "a b", NULL);
		else
			world_write(&arena, &d, c, 3, AT(1000 + c % 2));
	}
	world_apply(&arena, &row, &d, 1, 5);
	d = world_delta(&arena, SAT_OP_UPDATE, "");
	world_write(&arena, &d, COL_KEEP, 2, AT(3000));
	world_apply(&arena, &row, &d, 7, 1);
	world_meta(&arena, &row, &whole, values);
	for (unsigned bits = 0; bits < 1u << COL_COUNT; bits++) {
		hidden = row;
		hidden.fields = sat_arena_array(&arena, COL_COUNT,
						sizeof *hidden.fields);
		assert_non_null(hidden.fields);
		for (int c = 0; c < COL_COUNT; c++) {
			readable[c] = (bits >> c & 1) != 0;
			masked_values[c] = sat_value_null();
			if (!readable[c])
				continue;
			hidden.fields[c] = row.fields[c];
			masked_values[c] = values[c];
		}
		sat_buf_clear(&out);
		assert_int_equal(sat_meta_mask(&arena, &world_table,
					       sat_buf_peek(&whole), values,
					       readable, &out),
				 SAT_OK);
		/* as if the columns had never been written, bytes included */
		sat_buf_clear(&direct);
		assert_int_equal(sat_meta_encode(&world_table, &hidden,
						 masked_values, &direct),
				 SAT_OK);
		assert_true(sat_slice_equal(sat_buf_peek(&out),
					    sat_buf_peek(&direct)));
		assert_int_equal(sat_meta_decode(&arena, &world_table,
						 sat_buf_peek(&out),
						 masked_values, &masked),
				 SAT_OK);
		assert_true(sat_row_equal(&world_table, &masked, &hidden));
		assert_true(sat_vv_equal(masked.vv, row.vv));
	}
	sat_buf_fini(&whole);
	sat_buf_fini(&out);
	sat_buf_fini(&direct);
}

static void test_vectors(void **state)
{
	struct sat_delta d = world_delta(&arena, SAT_OP_INSERT, "");
	struct sat_value values[COL_COUNT];
	struct sat_vv vv, dv;
	struct sat_row row;
	struct sat_buf out;

	(void)state;
	sat_buf_init(&out, 1 << 16);
	assert_int_equal(sat_row_init(&arena, &world_table, &row), SAT_OK);
	world_apply(&arena, &row, &d, 1, 5);
	d = world_delta(&arena, SAT_OP_DELETE, "1:3");
	world_apply(&arena, &row, &d, 9, 2);
	d = world_delta(&arena, SAT_OP_UPDATE, "1:5");
	world_write(&arena, &d, COL_LWW, 1, 7);
	world_apply(&arena, &row, &d, 4000000000, UINT64_MAX);
	world_meta(&arena, &row, &out, values);
	assert_int_equal(sat_meta_vectors(&arena, sat_buf_peek(&out), &vv, &dv),
			 SAT_OK);
	assert_true(sat_vv_equal(vv, row.vv));
	assert_true(sat_vv_equal(dv, row.dv));
	assert_true(sat_vv_equal(dv, world_vv(&arena, "1:3 9:2")));
	world_round_trip(&arena, &row);
	sat_buf_fini(&out);
}

/* Whatever differs in what a reader may see changes the hash; what he may not
 * see, and empty columns, do not. */
static void test_hash(void **state)
{
	static const uint8_t meta_bytes[] = { 1, 1, 1, 5 };
	struct sat_slice meta = { meta_bytes, sizeof meta_bytes };
	struct sat_value values[COL_COUNT];
	bool readable[COL_COUNT];
	struct sat_id id = { { 1, 2, 3 } };
	struct sat_table other = world_table;
	struct sat_hash h, x;

	(void)state;
	for (int c = 0; c < COL_COUNT; c++) {
		values[c] = sat_value_null();
		readable[c] = true;
	}
	values[COL_LWW] = sat_value_text(sat_slice_str("100"));
	h = sat_row_hash(&world_table, &id, meta, values, readable);
	readable[COL_LWW2] = false;
	values[COL_LWW2] = sat_value_int(5);
	values[COL_COUNTER] = sat_value_int(0);
	other.column_count--; /* a column that is not there yet */
	x = sat_row_hash(&other, &id, meta, values, readable);
	assert_true(sat_hash_equal(h, x));
#define DIFFERS(change, back)                                          \
	do {                                                           \
		change;                                                \
		x = sat_row_hash(&other, &id, meta, values, readable); \
		if (sat_hash_equal(h, x))                              \
			fail_msg("not in the hash: %s", #change);      \
		back;                                                  \
		x = sat_row_hash(&other, &id, meta, values, readable); \
		assert_true(sat_hash_equal(h, x));                     \
	} while (0)
	DIFFERS(id.b[15] = 1, id.b[15] = 0);
	DIFFERS(other.no++, other.no--);
	DIFFERS(meta.len--, meta.len++);
	DIFFERS(readable[COL_LWW2] = true, readable[COL_LWW2] = false);
	DIFFERS(readable[COL_LWW] = false, readable[COL_LWW] = true);
	DIFFERS(values[COL_COUNTER].i = 1, values[COL_COUNTER].i = 0);
	DIFFERS(values[COL_LWW].kind = SAT_BLOB,
		values[COL_LWW].kind = SAT_TEXT);
	DIFFERS(values[COL_LWW].s.len--, values[COL_LWW].s.len++);
	DIFFERS(values[COL_KEEP] = sat_value_text(sat_slice_str("")),
		values[COL_KEEP] = sat_value_null());
	DIFFERS(values[COL_MAX] = sat_value_int(0),
		values[COL_MAX] = sat_value_null());
	DIFFERS(values[COL_MAX] = sat_value_real(0.0),
		values[COL_MAX] = sat_value_null());
#undef DIFFERS
	values[COL_MAX] = sat_value_real(0.0);
	h = sat_row_hash(&other, &id, meta, values, readable);
	values[COL_MAX] = sat_value_real(-0.0);
	x = sat_row_hash(&other, &id, meta, values, readable);
	assert_true(sat_hash_equal(h, x));
}

/* The row hash of the specification, spelled out byte by byte. */
static void test_hash_bytes(void **state)
{
	static const uint8_t meta_bytes[] = { 1, 1, 1, 5 };
	static const uint8_t
		spelled[] = {
			0,    3, /* table */
			1,    2,    3, 0,    0,    0,    0,    0,    0,
			0,    0,    0, 0,    0,    0,    0,       /* id */
			0,    0,    0, 4,    1,    1,    1,    5, /* metadata */
			0,    1,    3, 0,    0,    0,    3,    '1',  '0',
			'0', /* column 1, TEXT */
			0,    7,    1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			0xff, 0xfe, 0, 9,    2,    0x3f, 0xf8, 0,    0,
			0,    0,    0, 0, /* column 9, 1.5 */
		};
	struct sat_value values[COL_COUNT];
	bool readable[COL_COUNT];
	struct sat_id id = { { 1, 2, 3 } };
	struct sat_hash h, x;
	uint8_t packed[16];

	(void)state;
	for (int c = 0; c < COL_COUNT; c++) {
		values[c] = sat_value_null();
		readable[c] = true;
	}
	values[COL_LWW] = sat_value_text(sat_slice_str("100"));
	values[COL_MAX] = sat_value_int(-2);
	values[COL_MIN] = sat_value_real(1.5);
	h = sat_row_hash(&world_table, &id, (struct sat_slice){ meta_bytes, 4 },
			 values, readable);
	x = sat_hash_bytes((struct sat_slice){ spelled, sizeof spelled });
	assert_true(sat_hash_equal(h, x));
	/* XXH3-128 of nothing, from its own specification */
	x = sat_hash_bytes((struct sat_slice){ NULL, 0 });
	sat_hash_pack(x, packed);
	assert_memory_equal(packed,
			    "\x99\xaa\x06\xd3\x01\x47\x98\xd8"
			    "\x60\x01\xc3\x24\x46\x8d\x49\x7f",
			    16);
	assert_true(sat_hash_equal(x, sat_hash_unpack(packed)));
}

static void test_sums(void **state)
{
	struct sat_hash sum = { 0, 0 }, big = { UINT64_MAX, 1 }, one = { 1, 0 };
	struct sat_hash top = { UINT64_MAX, UINT64_MAX };

	(void)state;
	sat_hash_add(&sum, big);
	sat_hash_add(&sum, one); /* carries */
	assert_true(sum.low == 0 && sum.high == 2);
	sat_hash_sub(&sum, one); /* borrows */
	assert_true(sat_hash_equal(sum, big));
	sat_hash_add(&sum, top);
	sat_hash_sub(&sum, big);
	assert_true(sat_hash_equal(sum, top));
	sat_hash_add(&sum, one); /* wraps */
	assert_true(sum.low == 0 && sum.high == 0);
	assert_false(sat_hash_equal(top, big));
}

static void test_derived_ids(void **state)
{
	struct sat_id x = sat_id_derived(sat_slice_str("conflict/1"));
	struct sat_id y = sat_id_derived(sat_slice_str("conflict/1"));
	struct sat_id z = sat_id_derived(sat_slice_str("conflict/2"));

	(void)state;
	assert_memory_equal(&x, &y, sizeof x);
	assert_memory_not_equal(&x, &z, sizeof x);
	assert_int_equal(x.b[6] >> 4, 8);
	assert_int_equal(x.b[8] >> 6, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_default_ties),
		cmocka_unit_test(test_default_moves),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_wrong_values),
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_hash_bytes),
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_derived_ids),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
