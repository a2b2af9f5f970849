#include "tests/unit/wire_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "proto/changeset_keys.h"
#include "proto/pack.h"

enum { ARENA_BYTES = 512 * 1024 * 1024 };

struct bench {
	struct sat_arena a, b;
	struct sat_buf out;
	struct sat_err err;
};

static void up(struct bench *t)
{
	sat_arena_init(&t->a, ARENA_BYTES);
	sat_arena_init(&t->b, ARENA_BYTES);
	sat_buf_init(&t->out, SAT_CHANGESET_BYTES_MAX);
	memset(&t->err, 0, sizeof t->err);
}

static void down(struct bench *t)
{
	sat_arena_fini(&t->a);
	sat_arena_fini(&t->b);
	sat_buf_fini(&t->out);
}

static void expect_same(struct bench *t, const struct sat_changeset *cs)
{
	struct sat_changeset back;
	struct sat_changeset_where where;

	sat_buf_clear(&t->out);
	assert_int_equal(sat_changeset_encode(cs, &t->out), SAT_OK);
	if (sat_changeset_decode(&fx_catalogue, sat_buf_peek(&t->out), &t->b,
				 &back, &where, &t->err) != SAT_OK)
		fail_msg("%s", t->err.msg);
	fx_same_changeset(cs, &back);
}

static void visits_come_back(void **state)
{
	struct fx_rng g = { 1 };
	struct sat_changeset cs;
	struct bench t;

	(void)state;
	up(&t);
	for (uint32_t n = 0; n < 40; n += 1 + n / 3) {
		fx_visits(&t.a, &g, n, false, &cs);
		expect_same(&t, &cs);
		fx_visits(&t.a, &g, n, true, &cs);
		expect_same(&t, &cs);
	}
	down(&t);
}

static void anything_comes_back(void **state)
{
	struct sat_changeset cs;
	struct fx_rng g;
	struct bench t;

	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		g.state = seed;
		up(&t);
		fx_wild(&t.a, &g, fx_below(&g, 60), &cs);
		expect_same(&t, &cs);
		down(&t);
	}
}

static void readers_agree_with_decode(void **state)
{
	struct sat_changeset_reader *r;
	struct sat_changeset cs, head;
	struct fx_rng g = { 77 };
	struct sat_delta *d;
	struct sat_delta end;
	struct bench t;

	(void)state;
	up(&t);
	fx_wild(&t.a, &g, 50, &cs);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_OK);
	assert_int_equal(sat_changeset_open(&fx_catalogue, sat_buf_peek(&t.out),
					    &t.b, &head, &r, &t.err),
			 SAT_OK);
	head.deltas = d = sat_arena_array(&t.a, 50, sizeof *d);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(
			sat_changeset_next(r, &t.b, &d[i], NULL, &t.err),
			SAT_OK);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			sat_changeset_next(r, &t.b, &end, NULL, &t.err),
			SAT_AGAIN);
	fx_same_changeset(&cs, &head);
	assert_int_equal(
		sat_changeset_head(sat_buf_peek(&t.out), &head, &t.err),
		SAT_OK);
	assert_int_equal(head.dot.seq, cs.dot.seq);
	assert_int_equal(head.marker.commit_seq, cs.marker.commit_seq);
	assert_int_equal(head.delta_count, 50);
	down(&t);
}

static int decode(struct bench *t, struct sat_slice in,
		  struct sat_changeset_where *where)
{
	struct sat_changeset back;

	sat_arena_reset(&t->b);
	return sat_changeset_decode(&fx_catalogue, in, &t->b, &back, where,
				    &t->err);
}

/* A changeset of one delta with one change, to be bent by the caller. */
struct one {
	struct sat_changeset cs;
	struct sat_delta d[2];
	struct sat_change ch;
};

static void make_one(struct one *o, const struct sat_table *t, uint16_t column,
		     struct sat_value v)
{
	memset(o, 0, sizeof *o);
	o->cs.dot = (struct sat_dot){ 7, 1 };
	o->cs.deltas = o->d;
	o->cs.delta_count = 1;
	o->ch.column = column;
	o->ch.value = v;
	o->d[0] = (struct sat_delta){ .op = SAT_OP_UPDATE,
				      .table = t,
				      .changes = &o->ch,
				      .change_count = 1 };
	o->d[1] = (struct sat_delta){ .op = SAT_OP_DELETE, .table = t };
}

static int round_trip(struct bench *t, const struct sat_changeset *cs,
		      struct sat_changeset_where *where)
{
	sat_buf_clear(&t->out);
	assert_int_equal(sat_changeset_encode(cs, &t->out), SAT_OK);
	return decode(t, sat_buf_peek(&t->out), where);
}

static void refused_values_say_where(void **state)
{
	struct sat_changeset_where where = { .delta = 9, .column = 9 };
	struct bench t;
	struct one o;

	(void)state;
	up(&t);
	make_one(&o, fx_visit, FX_OUTCOME,
		 sat_value_text(sat_slice_str("win")));
	assert_int_equal(round_trip(&t, &o.cs, &where), SAT_E_INVAL);
	assert_int_equal(where.delta, 0);
	assert_int_equal(where.column, FX_OUTCOME);
	assert_ptr_equal(where.table, fx_visit);
	assert_memory_equal(&where.id, &o.d[0].id, sizeof where.id);
	assert_non_null(strstr(t.err.msg, "visit.outcome"));
	make_one(&o, fx_visit, FX_COUNT, sat_value_null());
	assert_int_equal(round_trip(&t, &o.cs, &where), SAT_E_INVAL);
	assert_int_equal(where.column, FX_COUNT);
	make_one(&o, fx_visit, FX_COUNT, sat_value_int(-3));
	assert_int_equal(round_trip(&t, &o.cs, &where), SAT_OK);
	/* What was there before need not please its column, but be a number. */
	make_one(&o, fx_visit, FX_LAT, sat_value_real(31.5));
	o.ch.before = sat_value_real(1e300);
	assert_int_equal(round_trip(&t, &o.cs, &where), SAT_OK);
	o.ch.before = sat_value_real((double)NAN);
	assert_int_equal(round_trip(&t, &o.cs, &where), SAT_E_PROTO);
	/* Text that is not text is broken bytes, not a refused value. */
	make_one(&o, fx_visit, FX_NOTES, sat_value_text(sat_slice_str("\xff")));
	assert_int_equal(round_trip(&t, &o.cs, &where), SAT_E_PROTO);
	/* A wrong kind never gets onto the wire. */
	make_one(&o, fx_visit, FX_NOTES, sat_value_int(1));
	assert_int_equal(sat_changeset_encode(&o.cs, &t.out), SAT_E_INVAL);
	down(&t);
}

static void a_row_comes_once(void **state)
{
	struct bench t;
	struct one o;

	(void)state;
	up(&t);
	make_one(&o, fx_note, 0, sat_value_null());
	o.cs.delta_count = 2;
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_E_PROTO);
	assert_non_null(strstr(t.err.msg, "second delta of the same row"));
	o.d[1].table =
		fx_visit; /* the same id in another table is another row */
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_OK);
	down(&t);
}

static void unknown_tables_and_columns_are_newer(void **state)
{
	struct sat_catalogue old = fx_catalogue;
	struct sat_table less = *fx_visit;
	struct sat_changeset back;
	struct bench t;
	struct one o;

	(void)state;
	up(&t);
	make_one(&o, fx_visit, FX_SCORE, sat_value_int(1));
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_OK);
	less.column_count = FX_SCORE;
	old.tables = &less;
	old.table_count = 1;
	assert_int_equal(sat_changeset_decode(&old, sat_buf_peek(&t.out), &t.b,
					      &back, NULL, &t.err),
			 SAT_E_NEWER);
	make_one(&o, fx_note, 0, sat_value_null());
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_OK);
	assert_int_equal(sat_changeset_decode(&old, sat_buf_peek(&t.out), &t.b,
					      &back, NULL, &t.err),
			 SAT_E_NEWER);
	down(&t);
}

static void cut_anywhere_it_is_refused(void **state)
{
	struct sat_changeset cs;
	struct fx_rng g = { 3 };
	struct sat_slice in;
	struct bench t;

	(void)state;
	up(&t);
	fx_wild(&t.a, &g, 12, &cs);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_OK);
	in = sat_buf_peek(&t.out);
	for (size_t n = 0; n < in.len; n++)
		assert_int_not_equal(
			decode(&t, (struct sat_slice){ in.ptr, n }, NULL),
			SAT_OK);
	assert_int_equal(decode(&t, in, NULL), SAT_OK);
	assert_int_equal(sat_buf_append(&t.out, "\xc0", 1), SAT_OK);
	assert_int_equal(decode(&t, sat_buf_peek(&t.out), NULL), SAT_E_PROTO);
	down(&t);
}

/* Whatever one changed byte does: a clean refusal, or a changeset that can be
 * written and read again. */
static void changed_bytes_do_no_harm(void **state)
{
	struct sat_changeset cs, back, again;
	struct fx_rng g = { 4 };
	struct sat_buf copy, out;
	struct sat_slice in;
	unsigned good = 0;
	struct bench t;
	int rc;

	(void)state;
	up(&t);
	sat_buf_init(&copy, 1024 * 1024);
	sat_buf_init(&out, 1024 * 1024);
	fx_wild(&t.a, &g, 10, &cs);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_OK);
	in = sat_buf_peek(&t.out);
	for (unsigned k = 0; k < 6000; k++) {
		sat_buf_clear(&copy);
		assert_int_equal(sat_buf_append(&copy, in.ptr, in.len), SAT_OK);
		copy.base[fx_below(&g, (uint32_t)in.len)] ^=
			(uint8_t)(1u << fx_below(&g, 8));
		sat_arena_reset(&t.b);
		rc = sat_changeset_decode(&fx_catalogue, sat_buf_peek(&copy),
					  &t.b, &back, NULL, &t.err);
		assert_true(rc == SAT_OK || rc == SAT_E_PROTO ||
			    rc == SAT_E_LIMIT || rc == SAT_E_INVAL ||
			    rc == SAT_E_NEWER);
		if (rc != SAT_OK)
			continue;
		good++;
		sat_buf_clear(&out);
		assert_int_equal(sat_changeset_encode(&back, &out), SAT_OK);
		assert_int_equal(sat_changeset_decode(&fx_catalogue,
						      sat_buf_peek(&out), &t.b,
						      &again, NULL, &t.err),
				 SAT_OK);
		fx_same_changeset(&back, &again);
	}
	assert_true(good > 100); /* the values themselves may change */
	sat_buf_fini(&copy);
	sat_buf_fini(&out);
	down(&t);
}

/* Replace the value of a top-level key by other bytes. */
static struct sat_slice with_key(struct bench *t, struct sat_slice in,
				 uint64_t which, const char *bytes, size_t len,
				 struct sat_buf *out)
{
	struct sat_cursor c = { in, 0 };
	struct sat_pack p = { out, SAT_OK };
	struct sat_slice value;
	uint64_t key;
	uint32_t n;

	(void)t;
	sat_buf_clear(out);
	assert_true(sat_take_map(&c, &n));
	sat_pack_map(&p, n);
	for (uint32_t i = 0; i < n; i++) {
		assert_true(sat_take_uint(&c, 99, &key));
		assert_true(sat_take_any(&c, &value));
		sat_pack_uint(&p, key);
		if (key == which)
			sat_pack_raw(&p, bytes, len);
		else
			sat_pack_raw(&p, value.ptr, value.len);
	}
	assert_int_equal(p.rc, SAT_OK);
	return sat_buf_peek(out);
}

static void headers_that_lie_are_refused(void **state)
{
	static const struct {
		const char *why;
		uint64_t key;
		const char *bytes;
		size_t len;
	} rows[] = {
		{ "replica 0", 1, "\x00", 1 },
		{ "seq 0", 2, "\x00", 1 },
		{ "a hash of 15 bytes", 3,
		  "\xc4\x0f"
		  "123456789012345",
		  17 },
		{ "a marker of two", 5, "\x92\x01\x01", 3 },
		{ "more deltas than come", 7, "\x03", 1 },
		{ "fewer deltas than come", 7, "\x01", 1 },
		{ "none", 7, "\x00", 1 },
		{ "a million deltas in a few bytes", 7, "\xce\x00\x0f\x42\x40",
		  5 },
		{ "over a million", 7, "\xce\x00\x0f\x42\x41", 5 },
		{ "groups that are a map", 8, "\x80", 1 },
		{ "no groups", 8, "\x90", 1 },
		{ "a group that is not a map", 8, "\x91\xc0", 2 },
	};
	struct sat_changeset cs;
	struct sat_buf bent;
	struct bench t;
	struct fx_rng g = { 8 };

	(void)state;
	up(&t);
	sat_buf_init(&bent, 65536);
	fx_visits(&t.a, &g, 2, true, &cs);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_OK);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice in =
			with_key(&t, sat_buf_peek(&t.out), rows[i].key,
				 rows[i].bytes, rows[i].len, &bent);

		if (decode(&t, in, NULL) != SAT_E_PROTO)
			fail_msg("%s", rows[i].why);
	}
	/* A claim is judged before memory is asked for it. */
	sat_arena_fini(&t.b);
	sat_arena_init(&t.b, 65536);
	assert_int_equal(decode(&t,
				with_key(&t, sat_buf_peek(&t.out), SAT_HK_COUNT,
					 "\xce\x00\x0f\x42\x40", 5, &bent),
				NULL),
			 SAT_E_PROTO);
	/* Flags and keys of the future are kept and passed over. */
	assert_int_equal(decode(&t,
				with_key(&t, sat_buf_peek(&t.out), SAT_HK_FLAGS,
					 "\x7f", 1, &bent),
				NULL),
			 SAT_OK);
	sat_buf_fini(&bent);
	down(&t);
}

/* The reader alone must notice that deltas are missing at the end. */
static void readers_count_to_the_end(void **state)
{
	struct sat_changeset_reader *r;
	struct sat_changeset cs, head;
	struct fx_rng g = { 8 };
	struct sat_delta d;
	struct sat_buf bent;
	struct sat_slice in;
	struct bench t;

	(void)state;
	up(&t);
	sat_buf_init(&bent, 65536);
	fx_visits(&t.a, &g, 2, true, &cs);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_OK);
	in = with_key(&t, sat_buf_peek(&t.out), SAT_HK_COUNT, "\x03", 1, &bent);
	assert_int_equal(
		sat_changeset_open(&fx_catalogue, in, &t.b, &head, &r, &t.err),
		SAT_OK);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(sat_changeset_next(r, &t.b, &d, NULL, &t.err),
				 SAT_OK);
	for (unsigned i = 0; i < 2; i++) /* and says so every time */
		assert_int_equal(sat_changeset_next(r, &t.b, &d, NULL, &t.err),
				 SAT_E_PROTO);
	sat_buf_fini(&bent);
	down(&t);
}

static void long_and_many_set_elements_are_refused(void **state)
{
	static uint8_t letters[1025];
	static struct sat_slice many[4097];
	struct sat_slice e = { letters, 1024 };
	struct bench t;
	struct one o;

	(void)state;
	up(&t);
	memset(letters, 'z', sizeof letters);
	make_one(&o, fx_visit, FX_TAGS, sat_value_null());
	o.ch.adds = &e;
	o.ch.add_count = 1;
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_OK);
	e.len = 1025;
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_E_INVAL);
	o.ch.adds = many;
	o.ch.add_count = 4096;
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_OK);
	o.ch.add_count = 4097;
	assert_int_equal(round_trip(&t, &o.cs, NULL), SAT_E_PROTO);
	down(&t);
}

static void memory_runs_out_cleanly(void **state)
{
	struct sat_changeset cs, back;
	struct fx_rng g = { 6 };
	struct sat_arena small;
	struct bench t;
	int rc;

	(void)state;
	up(&t);
	fx_wild(&t.a, &g, 8, &cs);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_OK);
	for (size_t max = 0;; max += 64) {
		sat_arena_init(&small, max);
		rc = sat_changeset_decode(&fx_catalogue, sat_buf_peek(&t.out),
					  &small, &back, NULL, &t.err);
		if (rc == SAT_OK)
			fx_same_changeset(&cs, &back);
		sat_arena_fini(&small);
		if (rc == SAT_OK)
			break;
		assert_int_equal(rc, SAT_E_NOMEM);
		assert_true(max < 1024 * 1024);
	}
	sat_buf_fini(&t.out);
	sat_buf_init(&t.out, 200);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_E_LIMIT);
	down(&t);
}

/* The floor: the same columns, one after the other as a columnar file would
 * have them (fixed width, text as length and bytes), as one zstd -3 frame. */
static void put_floor(struct sat_pack *p, const struct sat_changeset *cs,
		      uint16_t column)
{
	const struct sat_change *ch;
	uint32_t len;

	for (uint32_t i = 0; i < cs->delta_count; i++) {
		for (uint32_t k = 0; k < cs->deltas[i].change_count; k++) {
			ch = &cs->deltas[i].changes[k];
			if (ch->column != column)
				continue;
			if (ch->value.kind == SAT_INT ||
			    ch->value.kind == SAT_REAL) {
				sat_pack_raw(p, &ch->value.i, 8);
				continue;
			}
			len = (uint32_t)ch->value.s.len;
			if (ch->value.kind == SAT_TEXT)
				sat_pack_raw(p, &len, sizeof len);
			sat_pack_raw(p, ch->value.s.ptr, len);
		}
	}
}

static size_t zipped(struct sat_slice in)
{
	size_t bound = ZSTD_compressBound(in.len);
	void *out = test_malloc(bound);
	size_t n = ZSTD_compress(out, bound, in.ptr, in.len, 3);

	test_free(out);
	assert_false(ZSTD_isError(n));
	return n;
}

static void visits_are_small(void **state)
{
	enum { VISITS = 10000 };
	struct sat_changeset cs;
	struct fx_rng g = { 9 };
	struct sat_buf floor;
	struct sat_pack p = { &floor, SAT_OK };
	size_t ours, best;
	struct bench t;

	(void)state;
	up(&t);
	sat_buf_init(&floor, SAT_CHANGESET_BYTES_MAX);
	fx_visits(&t.a, &g, VISITS, false, &cs);
	for (uint32_t i = 0; i < VISITS; i++)
		sat_pack_raw(&p, cs.deltas[i].id.b, 16);
	for (uint16_t c = 0; c < FX_COLUMNS; c++)
		put_floor(&p, &cs, c);
	assert_int_equal(p.rc, SAT_OK);
	assert_int_equal(sat_changeset_encode(&cs, &t.out), SAT_OK);
	ours = zipped(sat_buf_peek(&t.out));
	best = zipped(sat_buf_peek(&floor));
	printf("# changeset: %.1f bytes per visit plain, %.1f zipped; floor "
	       "%.1f, %.1f zipped; ratio %.3f\n",
	       (double)t.out.len / VISITS, (double)ours / VISITS,
	       (double)floor.len / VISITS, (double)best / VISITS,
	       (double)ours / (double)best);
	assert_true((double)ours <= 1.25 * (double)best);
	sat_buf_fini(&floor);
	down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(visits_come_back),
		cmocka_unit_test(anything_comes_back),
		cmocka_unit_test(readers_agree_with_decode),
		cmocka_unit_test(refused_values_say_where),
		cmocka_unit_test(a_row_comes_once),
		cmocka_unit_test(unknown_tables_and_columns_are_newer),
		cmocka_unit_test(cut_anywhere_it_is_refused),
		cmocka_unit_test(changed_bytes_do_no_harm),
		cmocka_unit_test(headers_that_lie_are_refused),
		cmocka_unit_test(readers_count_to_the_end),
		cmocka_unit_test(long_and_many_set_elements_are_refused),
		cmocka_unit_test(memory_runs_out_cleanly),
		cmocka_unit_test(visits_are_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
