/* The store's promises on rows, transactions, snapshots and the catalogue. */
#include "store_fixture.h"

#include "server/store/report.h"

#include <stdio.h>
#include <string.h>

/* ---- rows ---------------------------------------------------------------- */

static void same_row(const struct sat_table *t, const struct sat_stored_row *x,
		     const struct sat_stored_row *y)
{
	assert_int_equal(x->seq, y->seq);
	assert_memory_equal(x->id.b, y->id.b, 16);
	assert_int_equal(x->origin, y->origin);
	assert_int_equal(x->held, y->held);
	assert_int_equal(x->deleted, y->deleted);
	assert_true(sat_slice_equal(x->meta, y->meta));
	assert_int_equal(x->place_count, y->place_count);
	for (uint32_t i = 0; i < x->place_count; i++) {
		assert_int_equal(x->places[i].scope, y->places[i].scope);
		assert_int_equal(x->places[i].seq, y->places[i].seq);
		assert_int_equal(x->places[i].evict, y->places[i].evict);
	}
	for (int i = 0; i < t->column_count; i++) {
		if (!sat_value_equal(&x->values[i], &y->values[i]))
			fail_msg("column %s differs", t->columns[i].name);
	}
}

static void every_type_comes_back(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_stored_row *row = thing_of(f, 1, 10, "");
	struct sat_value *v = (struct sat_value *)row->values;
	struct sat_id owner = id_of(99);
	uint8_t photo[32] = { 0, 1, 2 };
	struct sat_stored_row got;

	v[column_of(t, "owner_id")] = sat_value_id(&owner);
	v[column_of(t, "n")] = sat_value_int(INT64_MIN);
	v[column_of(t, "r")] = sat_value_real(3.0); /* not the INT 3 */
	v[column_of(t, "yes")] = sat_value_int(1);
	v[column_of(t, "price")] = sat_value_int(INT64_MAX);
	v[column_of(t, "at")] = sat_value_int(1700000000000);
	v[column_of(t, "day")] = text_of("2026-11-21");
	v[column_of(t, "kind")] = text_of("b");
	v[column_of(t, "tags")] = text_of("[\"金\",\"vip\"]");
	v[column_of(t, "hits")] = sat_value_int(-4);
	v[column_of(t, "spot")] = text_of("31.2304000,121.4737000");
	v[column_of(t, "more")] = text_of("{\"a\":1}");
	v[column_of(t, "photo")] =
		sat_value_blob((struct sat_slice){ photo, 32 });
	row->held = true;
	row->deleted = true;
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_row_put(f->w, t, 0, row, &f->err));
	OK(f, sat_store_row_get(f->w, t, &row->id, &f->a, &got, &f->err));
	same_row(t, row, &got);
	OK(f, sat_store_commit(f->w, &f->err));
	fixture_reopen(f);
	t = table_of(f->w, "thing");
	OK(f, sat_store_row_at(f->w, t, 10, &f->a, &got, &f->err));
	same_row(t, row, &got);
}

static void absent_rows_have_seq_zero(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_stored_row got = { .seq = 5 };
	struct sat_id id = id_of(1);

	OK(f, sat_store_row_get(f->w, t, &id, &f->a, &got, &f->err));
	assert_int_equal(got.seq, 0);
	got.seq = 5;
	OK(f, sat_store_row_at(f->w, t, 10, &f->a, &got, &f->err));
	assert_int_equal(got.seq, 0);
}

static void rows_move_and_never_double(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_stored_row got;
	struct sat_id id = id_of(1);

	put_thing(f, 1, 10, "a");
	put_thing(f, 2, 11, "b");
	OK(f, sat_store_begin(f->w, &f->err));
	assert_int_equal(
		sat_store_row_put(f->w, t, 0, thing_of(f, 1, 12, "c"), &f->err),
		SAT_E_EXISTS);
	assert_int_equal(
		sat_store_row_put(f->w, t, 0, thing_of(f, 3, 11, "c"), &f->err),
		SAT_E_EXISTS);
	assert_int_equal(
		sat_store_row_put(f->w, t, 9, thing_of(f, 1, 12, "c"), &f->err),
		SAT_E_NOTFOUND);
	/* 11 is there, but it is not this row. */
	assert_int_equal(sat_store_row_put(f->w, t, 11, thing_of(f, 1, 12, "c"),
					   &f->err),
			 SAT_E_NOTFOUND);
	OK(f, sat_store_row_put(f->w, t, 10, thing_of(f, 1, 12, "c"), &f->err));
	/* Only what it belongs to changes, not the position. */
	OK(f, sat_store_row_put(f->w, t, 12, thing_of(f, 1, 12, "d"), &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_row_get(f->w, t, &id, &f->a, &got, &f->err));
	same_row(t, thing_of(f, 1, 12, "d"), &got);
	OK(f, sat_store_row_at(f->w, t, 10, &f->a, &got, &f->err));
	assert_int_equal(got.seq, 0);
}

static void places_of_all_shapes(void **state)
{
	static const struct {
		const char *why;
		struct sat_place p[4];
		uint32_t n;
	} rows[] = {
		{ "none", { { 0, 0, false } }, 0 },
		{ "everyone, at the row", { { 0, 1000, false } }, 1 },
		{ "evicted long ago", { { 5, 3, true } }, 1 },
		{ "entered later", { { 5, 2000, false } }, 1 },
		{ "evict at the row's own seq", { { 5, 1000, true } }, 1 },
		{ "several, largest scope, far seqs",
		  { { 1, 1000, false },
		    { 40, 1, true },
		    { 5000, UINT64_C(1) << 62, false },
		    { UINT32_MAX, 999, true } },
		  4 },
	};
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_stored_row *row, got;
	uint64_t old = 0;

	OK(f, sat_store_begin(f->w, &f->err));
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		row = thing_of(f, 1, 1000, "x");
		row->places = rows[i].p;
		row->place_count = rows[i].n;
		OK(f, sat_store_row_put(f->w, t, old, row, &f->err));
		OK(f,
		   sat_store_row_get(f->w, t, &row->id, &f->a, &got, &f->err));
		same_row(t, row, &got);
		old = 1000;
	}
	OK(f, sat_store_commit(f->w, &f->err));
}

struct seen {
	struct fixture *f;
	uint64_t seqs[64];
	uint32_t count;
	uint32_t stop_at;   /* stop with SAT_E_CLOSED at that row, 0 never */
	uint64_t move_from; /* move each row seen to move_from + its index */
};

static int on_row(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct seen *s = arg;
	struct sat_stored_row moved = *row;
	struct sat_place place = { 1, 0, false };

	assert_in_range(s->count, 0, SAT_COUNT_OF(s->seqs) - 1);
	s->seqs[s->count++] = row->seq;
	if (s->move_from != 0) {
		moved.seq = place.seq = s->move_from + s->count;
		moved.places = &place;
		OK(s->f,
		   sat_store_row_put(s->f->w, t, row->seq, &moved, &s->f->err));
	}
	return s->count == s->stop_at ? SAT_E_CLOSED : SAT_OK;
}

static void fill(struct fixture *f, uint32_t n)
{
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_id owner[2] = { id_of(1000), id_of(1001) };

	OK(f, sat_store_begin(f->w, &f->err));
	for (uint32_t i = 1; i <= n; i++) {
		struct sat_stored_row *row = thing_of(f, i, i, "x");
		struct sat_value *v = (struct sat_value *)row->values;

		v[column_of(t, "owner_id")] = sat_value_id(&owner[i % 2]);
		v[column_of(t, "n")] = sat_value_int(i % 3);
		row->deleted = i == 4;
		OK(f, sat_store_row_put(f->w, t, 0, row, &f->err));
	}
	OK(f, sat_store_commit(f->w, &f->err));
}

static void lookups_by_column(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_id owner = id_of(1000);
	struct sat_value by_owner = sat_value_id(&owner);
	struct sat_value by_n = sat_value_int(1);
	struct seen seen = { .f = f };

	fill(f, 9);
	OK(f, sat_store_rows(f->w, t, column_of(t, "owner_id"), &by_owner,
			     on_row, &seen, &f->err));
	assert_int_equal(seen.count, 4); /* 2 4 6 8, the deleted 4 too */
	assert_int_equal(seen.seqs[1], 4);
	seen.count = 0;
	OK(f, sat_store_rows(f->w, t, column_of(t, "n"), &by_n, on_row, &seen,
			     &f->err));
	assert_int_equal(seen.count, 3); /* 1 4 7: no index, still right */
	assert_int_equal(seen.seqs[2], 7);
	seen.count = 0;
	OK(f, sat_store_rows(f->w, t, -1, NULL, on_row, &seen, &f->err));
	assert_int_equal(seen.count, 9);
	seen.count = 0;
	seen.stop_at = 5;
	assert_int_equal(
		sat_store_rows(f->w, t, -1, NULL, on_row, &seen, &f->err),
		SAT_E_CLOSED);
	assert_int_equal(seen.count, 5);
}

static void a_scan_survives_what_it_moves(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_id owner = id_of(1001);
	struct sat_value by_owner = sat_value_id(&owner);
	struct seen seen = { .f = f, .move_from = 100 };

	fill(f, 9);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_rows(f->w, t, column_of(t, "owner_id"), &by_owner,
			     on_row, &seen, &f->err));
	assert_int_equal(seen.count, 5); /* 1 3 5 7 9, each once */
	seen.count = 0;
	seen.move_from = 200;
	OK(f, sat_store_rows(f->w, t, -1, NULL, on_row, &seen, &f->err));
	assert_int_equal(seen.count, 9);
	OK(f, sat_store_commit(f->w, &f->err));
}

static int nested(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct seen *s = arg;
	struct seen inner = { .f = s->f };

	(void)row;
	s->count++;
	OK(s->f,
	   sat_store_rows(s->f->w, t, -1, NULL, on_row, &inner, &s->f->err));
	assert_int_equal(inner.count, 5);
	return SAT_OK;
}

static void scans_nest(void **state)
{
	struct fixture *f = *state;
	struct seen outer = { .f = f };

	fill(f, 5);
	OK(f, sat_store_rows(f->w, table_of(f->w, "thing"), -1, NULL, nested,
			     &outer, &f->err));
	assert_int_equal(outer.count, 5);
}

static void exports_page_by_page(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct seen seen = { .f = f };
	uint64_t next = 0;

	fill(f, 9); /* 8 live ones */
	OK(f, sat_export_page(f->w, t, 0, 4, on_row, &seen, &next, &f->err));
	assert_int_equal(seen.count, 4);
	assert_int_equal(next, 5); /* 1 2 3 5 */
	OK(f, sat_export_page(f->w, t, next, 4, on_row, &seen, &next, &f->err));
	assert_int_equal(next, 9); /* full: there may be more */
	OK(f, sat_export_page(f->w, t, next, 4, on_row, &seen, &next, &f->err));
	assert_int_equal(next, 0);
	assert_int_equal(seen.count, 8);
	OK(f, sat_export_page(f->w, t, 5, 9, on_row, &seen, &next, &f->err));
	assert_int_equal(next, 0); /* not full: this was the end */
	assert_int_equal(seen.count, 12);
}

/* ---- transactions -------------------------------------------------------- */

static bool has_thing(struct fixture *f, struct sat_store *s, uint32_t id)
{
	struct sat_id key = id_of(id);
	struct sat_stored_row got;

	OK(f, sat_store_row_get(s, table_of(s, "thing"), &key, &f->a, &got,
				&f->err));
	return got.seq != 0;
}

static void insert(struct fixture *f, uint32_t id)
{
	OK(f, sat_store_row_put(f->w, table_of(f->w, "thing"), 0,
				thing_of(f, id, id, "x"), &f->err));
}

static void writing_needs_a_transaction(void **state)
{
	struct fixture *f = *state;
	struct sat_slice v = sat_slice_str("v");
	struct sat_store *r = fixture_reader(f);

	assert_int_equal(sat_store_row_put(f->w, table_of(f->w, "thing"), 0,
					   thing_of(f, 1, 1, "x"), &f->err),
			 SAT_E_INVAL);
	assert_int_equal(sat_store_setting_put(f->w, "k", v, &f->err),
			 SAT_E_INVAL);
	assert_int_equal(sat_store_commit(f->w, &f->err), SAT_E_INVAL);
	assert_int_equal(sat_store_undo(f->w, &f->err), SAT_E_INVAL);
	assert_int_equal(sat_store_begin(r, &f->err), SAT_E_INVAL);
	OK(f, sat_store_begin(f->w, &f->err));
	assert_int_equal(sat_store_begin(f->w, &f->err), SAT_E_INVAL);
	sat_store_rollback(f->w);
	sat_store_rollback(f->w); /* harmless */
	sat_store_close(r);
}

static void rollback_leaves_nothing(void **state)
{
	struct fixture *f = *state;

	OK(f, sat_store_begin(f->w, &f->err));
	insert(f, 1);
	sat_store_rollback(f->w);
	assert_false(has_thing(f, f->w, 1));
	OK(f, sat_store_begin(f->w, &f->err));
	insert(f, 2);
	fixture_reopen(f); /* closing is no commit */
	assert_false(has_thing(f, f->w, 2));
}

static void savepoints_nest_and_undo(void **state)
{
	struct fixture *f = *state;

	OK(f, sat_store_begin(f->w, &f->err));
	insert(f, 1);
	OK(f, sat_store_savepoint(f->w, &f->err));
	insert(f, 2);
	OK(f, sat_store_savepoint(f->w, &f->err));
	insert(f, 3);
	OK(f, sat_store_undo(f->w, &f->err));
	assert_false(has_thing(f, f->w, 3));
	OK(f, sat_store_savepoint(f->w, &f->err));
	insert(f, 4);
	OK(f, sat_store_release(f->w, &f->err));
	OK(f, sat_store_release(f->w, &f->err));
	OK(f, sat_store_savepoint(f->w, &f->err));
	insert(f, 5);
	OK(f, sat_store_undo(f->w, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	for (uint32_t i = 1; i <= 5; i++)
		assert_int_equal(has_thing(f, f->w, i),
				 i == 1 || i == 2 || i == 4);
}

static void savepoints_are_bounded(void **state)
{
	struct fixture *f = *state;

	OK(f, sat_store_begin(f->w, &f->err));
	for (int i = 0; i < 3; i++)
		OK(f, sat_store_savepoint(f->w, &f->err));
	assert_int_equal(sat_store_savepoint(f->w, &f->err), SAT_E_LIMIT);
	/* A commit with one open would make its fate unclear. */
	assert_int_equal(sat_store_commit(f->w, &f->err), SAT_E_INVAL);
	assert_int_equal(sat_store_commit(f->w, &f->err), SAT_E_INVAL);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
}

static void a_snapshot_does_not_move(void **state)
{
	struct fixture *f = *state;
	struct sat_store *r = fixture_reader(f);
	uint64_t head = 9;

	put_thing(f, 1, 1, "x");
	OK(f, sat_store_snapshot_begin(r, &f->err));
	/* Nothing was read through the snapshot yet, and still. */
	OK(f, sat_store_begin(f->w, &f->err));
	insert(f, 2);
	OK(f, sat_store_seq_put(f->w, 2, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	assert_true(has_thing(f, r, 1));
	assert_false(has_thing(f, r, 2));
	OK(f, sat_store_head(r, &head, &f->err));
	assert_int_equal(head, 0);
	assert_int_equal(sat_store_snapshot_begin(r, &f->err), SAT_E_INVAL);
	sat_store_snapshot_end(r);
	assert_true(has_thing(f, r, 2));
	OK(f, sat_store_head(r, &head, &f->err));
	assert_int_equal(head, 2);
	sat_store_snapshot_end(r); /* harmless */
	sat_store_close(r);
}

static void the_head_is_kept(void **state)
{
	struct fixture *f = *state;
	uint64_t head = 9;

	OK(f, sat_store_head(f->w, &head, &f->err));
	assert_int_equal(head, 0);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_seq_put(f->w, 41, &f->err));
	OK(f, sat_store_seq_put(f->w, INT64_MAX, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	fixture_reopen(f);
	OK(f, sat_store_head(f->w, &head, &f->err));
	assert_int_equal(head, INT64_MAX);
}

/* ---- settings and catalogue ---------------------------------------------- */

static void settings(void **state)
{
	struct fixture *f = *state;
	struct sat_buf out;

	sat_buf_init(&out, 64);
	assert_int_equal(sat_store_setting_get(f->w, "k", &out, &f->err),
			 SAT_E_NOTFOUND);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_setting_put(f->w, "k", sat_slice_str("old"), &f->err));
	OK(f, sat_store_setting_put(f->w, "k", sat_slice_str("new"), &f->err));
	OK(f, sat_store_setting_put(f->w, "empty", sat_slice_str(""), &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_setting_get(f->w, "empty", &out, &f->err));
	assert_int_equal(sat_buf_peek(&out).len, 0);
	OK(f, sat_store_setting_get(f->w, "k", &out, &f->err));
	assert_true(sat_slice_equal(sat_buf_peek(&out), sat_slice_str("new")));
	sat_buf_fini(&out);
}

static void put_catalogue(struct fixture *f, int version, int expect)
{
	OK(f, sat_store_begin(f->w, &f->err));
	assert_int_equal(sat_store_catalogue_put(
				 f->w, fixture_catalogue(version), &f->err),
			 expect);
	OK(f, sat_store_commit(f->w, &f->err));
}

static void a_newer_catalogue_alters(void **state)
{
	struct fixture *f = *state;
	struct sat_store *r = fixture_reader(f);
	const struct sat_table *old = table_of(f->w, "thing"), *t;
	struct sat_id id = id_of(1);
	struct sat_stored_row got, *row;
	struct sat_value *v;

	put_thing(f, 1, 1, "before");
	put_catalogue(f, 1, SAT_OK); /* the same again */
	assert_ptr_equal(table_of(f->w, "thing"), old);
	put_catalogue(f, 2, SAT_OK);
	put_catalogue(f, 1, SAT_E_INVAL); /* never back */
	put_catalogue(f, 3, SAT_E_INVAL);
	t = table_of(f->w, "thing");
	assert_int_equal(t->column_count, old->column_count + 2);
	OK(f, sat_store_row_get(f->w, t, &id, &f->a, &got, &f->err));
	assert_int_equal(got.values[column_of(t, "later")].kind, SAT_NULL);
	assert_int_equal(got.values[column_of(t, "later_hits")].kind, SAT_INT);
	assert_int_equal(got.values[column_of(t, "later_hits")].i, 0);
	/* The old table stays readable memory, but is no key to the store. */
	assert_int_equal(
		sat_store_row_get(f->w, old, &id, &f->a, &got, &f->err),
		SAT_E_INVAL);
	row = thing_of(f, 2, 2, "after");
	v = (struct sat_value *)row->values;
	v[column_of(t, "later")] = text_of("new");
	v[column_of(t, "later_hits")] = sat_value_int(3);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_row_put(f->w, t, 0, row, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	/* A reader keeps its own until it looks. */
	assert_int_equal(sat_store_catalogue(r)->version, 1);
	assert_true(has_thing(f, r, 2));
	OK(f, sat_store_catalogue_refresh(r, &f->err));
	assert_int_equal(sat_store_catalogue(r)->version, 2);
	id = id_of(2);
	t = table_of(r, "thing");
	OK(f, sat_store_row_get(r, t, &id, &f->a, &got, &f->err));
	assert_true(sat_value_equal(&got.values[column_of(t, "later")],
				    &v[column_of(t, "later")]));
	assert_non_null(table_of(r, "addition"));
	sat_store_close(r);
}

static void an_undone_catalogue_never_was(void **state)
{
	struct fixture *f = *state;

	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_savepoint(f->w, &f->err));
	OK(f, sat_store_catalogue_put(f->w, fixture_catalogue(2), &f->err));
	OK(f, sat_store_undo(f->w, &f->err));
	assert_int_equal(sat_store_catalogue(f->w)->version, 1);
	insert(f, 1);
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_catalogue_put(f->w, fixture_catalogue(2), &f->err));
	OK(f, sat_store_row_put(f->w, table_of(f->w, "thing"), 0,
				thing_of(f, 2, 2, "x"), &f->err));
	sat_store_rollback(f->w);
	assert_int_equal(sat_store_catalogue(f->w)->version, 1);
	assert_true(has_thing(f, f->w, 1));
	assert_false(has_thing(f, f->w, 2));
	put_catalogue(f, 2, SAT_OK);
	fixture_reopen(f);
	assert_int_equal(sat_store_catalogue(f->w)->version, 2);
}

/* ---- queries ------------------------------------------------------------- */

static int on_total(void *arg, int columns, const char *const *names,
		    const struct sat_value *values)
{
	int64_t *total = arg;

	assert_int_equal(columns, 2);
	assert_string_equal(names[0], "title");
	assert_int_equal(values[0].kind, SAT_TEXT);
	*total += values[1].i;
	return *total >= 100 ? SAT_E_CLOSED : SAT_OK;
}

static void queries_only_read(void **state)
{
	struct fixture *f = *state;
	struct sat_value arg = sat_value_int(3);
	int64_t total = 0;

	fill(f, 9);
	OK(f, sat_store_query(f->w,
			      "SELECT title, _seq FROM thing WHERE _seq > ?1",
			      &arg, 1, on_total, &total, &f->err));
	assert_int_equal(total, 4 + 5 + 6 + 7 + 8 + 9);
	total = 95;
	assert_int_equal(sat_store_query(f->w,
					 "SELECT title, _seq FROM thing"
					 " WHERE _seq > ?1",
					 &arg, 1, on_total, &total, &f->err),
			 SAT_E_CLOSED);
	assert_int_equal(sat_store_query(f->w, "DELETE FROM thing RETURNING id",
					 NULL, 0, on_total, &total, &f->err),
			 SAT_E_INVAL);
	assert_int_equal(sat_store_query(f->w, "COMMIT", NULL, 0, on_total,
					 &total, &f->err),
			 SAT_E_INVAL);
	assert_int_equal(sat_store_query(f->w, "SELECT nonsense", NULL, 0,
					 on_total, &total, &f->err),
			 SAT_E_INVAL);
	assert_true(has_thing(f, f->w, 1));
}

#define T(test) \
	cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_type_comes_back),
		T(absent_rows_have_seq_zero),
		T(rows_move_and_never_double),
		T(places_of_all_shapes),
		T(lookups_by_column),
		T(a_scan_survives_what_it_moves),
		T(scans_nest),
		T(exports_page_by_page),
		T(writing_needs_a_transaction),
		T(rollback_leaves_nothing),
		T(savepoints_nest_and_undo),
		T(savepoints_are_bounded),
		T(a_snapshot_does_not_move),
		T(the_head_is_kept),
		T(settings),
		T(a_newer_catalogue_alters),
		T(an_undone_catalogue_never_was),
		T(queries_only_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
