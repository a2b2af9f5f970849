/* How fast rows go in, beside a plain insert of the same rows into the same
 * table: 100,000 of the visit table, in groups of 2,000, durable. */
#include "store_fixture.h"

#include "proto/catalogue_load.h"
#include "server/store/sqlite_store.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ROWS = 100000, GROUP = 2000, COLUMNS_MAX = 64 };

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct visit {
	struct sat_stored_row row;
	struct sat_value values[COLUMNS_MAX];
	struct sat_place place;
	struct sat_id account, user, territory;
	uint8_t meta[14];
};

/* Accounts in no order, everything else as one rep writes it. */
static void visit_fill(struct visit *v, const struct sat_table *t, uint32_t i)
{
	static const char notes[] = "Discussed shelf space, order next week";

	memset(v, 0, sizeof *v);
	v->account = id_of(i * 2654435761u % 3000);
	v->user = id_of(7);
	v->territory = id_of(9);
	v->values[column_of(t, "account_id")] = sat_value_id(&v->account);
	v->values[column_of(t, "user_id")] = sat_value_id(&v->user);
	v->values[column_of(t, "territory_id")] = sat_value_id(&v->territory);
	v->values[column_of(t, "started_at")] =
		sat_value_int(1700000000000 + (int64_t)i * 60000);
	v->values[column_of(t, "lat")] = sat_value_real(31.23 + i * 1e-6);
	v->values[column_of(t, "lon")] = sat_value_real(121.47 - i * 1e-6);
	v->values[column_of(t, "outcome")] = text_of("order");
	v->values[column_of(t, "state")] = text_of("done");
	v->values[column_of(t, "notes")] = text_of(notes);
	v->place = (struct sat_place){ 9, i + 1, false };
	v->row = (struct sat_stored_row){
		.seq = i + 1,
		.id = id_of(i),
		.origin = 7,
		.held = true,
		.meta = { v->meta, sizeof v->meta },
		.values = v->values,
		.places = &v->place,
		.place_count = 1,
	};
}

static void open_full(struct fixture *f, const char *name)
{
	sat_store_close(f->w);
	(void)snprintf(f->file, sizeof f->file, "%s/%s", f->dir, name);
	OK(f, sat_store_open_sqlite(f->file, true, true, &f->w, &f->err));
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_catalogue_put(f->w, sat_catalogue_builtin(), &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
}

/* Rows alone when !whole; else with what a commit writes besides. */
static double run(struct fixture *f, bool whole)
{
	const struct sat_table *t = table_of(f->w, "visit");
	struct sat_hash h = { 1, 2 }, none = { 0, 0 };
	double start = now_s();
	struct visit v;
	int pages;

	for (uint32_t i = 0; i < ROWS; i++) {
		if (i % GROUP == 0)
			OK(f, sat_store_begin(f->w, &f->err));
		visit_fill(&v, t, i);
		OK(f, sat_store_row_put(f->w, t, 0, &v.row, &f->err));
		if (whole) {
			OK(f, sat_store_feed_put(f->w, 9, i + 1, t, i + 1,
						 &v.row.id, false, &f->err));
			for (int r = 0; r < SAT_ROLE_SERVER; r++)
				OK(f, sat_store_digest_add(f->w, 9,
							   (enum sat_role)r, h,
							   none, 1, &f->err));
		}
		if (i % GROUP == GROUP - 1) {
			OK(f, sat_store_seq_put(f->w, i + 1, &f->err));
			OK(f, sat_store_commit(f->w, &f->err));
			OK(f, sat_store_upkeep(f->w, false, &pages, &f->err));
		}
	}
	return ROWS / (now_s() - start);
}

/* The floor: the same statement and values, no store around it. */
static double run_plain(struct fixture *f)
{
	const struct sat_table *t = table_of(f->w, "visit");
	struct sat_db *db = &f->w->db;
	struct sat_value fixed[6];
	struct sqlite3_stmt *st;
	double start = now_s();
	struct visit v;
	char sql[2048];
	int n, pages;

	n = snprintf(sql, sizeof sql,
		     "INSERT INTO visit(_seq, id, _origin,"
		     " _flags, _meta, _places");
	for (int i = 0; i < t->column_count; i++)
		n += snprintf(sql + n, sizeof sql - (size_t)n, ", %s",
			      t->columns[i].name);
	n += snprintf(sql + n, sizeof sql - (size_t)n,
		      ") VALUES(?, ?, ?, ?, ?, x'24'");
	for (int i = 0; i < t->column_count; i++)
		n += snprintf(sql + n, sizeof sql - (size_t)n, ", ?");
	(void)snprintf(sql + n, sizeof sql - (size_t)n, ")");
	for (uint32_t i = 0; i < ROWS; i++) {
		if (i % GROUP == 0)
			OK(f, sat_db_begin(db, &f->err));
		visit_fill(&v, t, i);
		fixed[0] = sat_value_int(i + 1);
		fixed[1] = sat_value_id(&v.row.id);
		fixed[2] = sat_value_int(7);
		fixed[3] = sat_value_int(1);
		fixed[4] = sat_value_blob(v.row.meta);
		OK(f, sat_db_stmt(db, sql, &st, &f->err));
		OK(f, sat_db_bind(db, st, 1, fixed, 5, &f->err));
		OK(f,
		   sat_db_bind(db, st, 6, v.values, t->column_count, &f->err));
		OK(f, sat_db_run(db, st, &f->err));
		if (i % GROUP == GROUP - 1) {
			OK(f, sat_db_commit(db, &f->err));
			OK(f, sat_store_upkeep(f->w, false, &pages, &f->err));
		}
	}
	return ROWS / (now_s() - start);
}

static void hundred_thousand_rows(void **state)
{
	struct fixture *f = *state;
	double floor_rate, rows, whole;
	int64_t n = 0;

	open_full(f, "plain.db");
	floor_rate = run_plain(f);
	open_full(f, "rows.db");
	rows = run(f, false);
	open_full(f, "whole.db");
	whole = run(f, true);
	OK(f, sat_db_int(&f->w->db,
			 "SELECT (SELECT count(*) FROM visit) ="
			 " (SELECT count(*) FROM _feed)",
			 0, &n, &f->err));
	assert_int_equal(n, 1);
	OK(f, sat_db_int(&f->w->db, "SELECT rows FROM _digest WHERE role = 0",
			 0, &n, &f->err));
	assert_int_equal(n, ROWS);
	print_message("rows/s: plain insert %.0f; store %.0f (%.0f %%);"
		      " with feed and digests %.0f (%.0f %%)\n",
		      floor_rate, rows, 100 * rows / floor_rate, whole,
		      100 * whole / floor_rate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hundred_thousand_rows,
						fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
