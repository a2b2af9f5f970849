#include "tests/bench/capture_cost.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS_MAX = 15 };

void bench_visits(char *out, size_t size, int rows)
{
	(void)snprintf(
		out, size,
		"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM"
		" n WHERE i < %d) INSERT INTO visit(account_id, outcome, notes,"
		" next_action, lat, lon) SELECT '00000000-0000-7000-8000-0000'"
		"||printf('%%08x', i %% 500), CASE i %% 3 WHEN 0 THEN 'order'"
		" WHEN 1 THEN 'done' ELSE 'follow_up' END, 'Visit ' || i ||"
		" ': spoke with the owner about shelf space', 'call back',"
		" 31.2 + i * 0.00001, 121.4 + i * 0.00001 FROM n",
		rows);
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds; negative with a sentence in why. */
static double run(const char *path, const char *sql, char *why, size_t size)
{
	sqlite3 *db = NULL;
	double start = 0, took = -1;

	if (sqlite3_open(path, &db) == SQLITE_OK &&
	    sqlite3_exec(db,
			 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			 "PRAGMA busy_timeout = 10000",
			 NULL, NULL, NULL) == SQLITE_OK) {
		start = now();
		if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
			took = now() - start;
	}
	if (took < 0)
		(void)snprintf(why, size, "%s: %s", path, sqlite3_errmsg(db));
	(void)sqlite3_close(db);
	return took;
}

/* The table and its indexes, without what watches it. */
static int make_plain(const char *path, const char *plain, char *why,
		      size_t size)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int rc = -1;

	if (sqlite3_open(path, &db) == SQLITE_OK &&
	    sqlite3_prepare_v2(
		    db,
		    "SELECT group_concat(sql, ';') FROM sqlite_master"
		    " WHERE tbl_name = 'visit' AND type IN"
		    " ('table', 'index') AND sql NOT NULL",
		    -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW &&
	    run(plain, (const char *)sqlite3_column_text(s, 0), why, size) >= 0)
		rc = 0;
	else if (why[0] == '\0')
		(void)snprintf(why, size, "%s: %s", path, sqlite3_errmsg(db));
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
	return rc;
}

static int by_ratio(const void *x, const void *y)
{
	const struct bench_capture *p = x, *q = y;
	double a = p->captured * q->plain, b = q->captured * p->plain;

	return a < b ? -1 : a > b;
}

int bench_capture(const char *path, const char *plain, int rows, int rounds,
		  struct bench_capture *ret, char *why, size_t why_size)
{
	struct bench_capture all[ROUNDS_MAX];
	char sql[2048];

	why[0] = '\0';
	if (rounds < 1 || rounds > ROUNDS_MAX ||
	    make_plain(path, plain, why, why_size) != 0)
		return -1;
	bench_visits(sql, sizeof sql, rows);
	for (int k = 0; k < rounds; k++) {
		struct bench_capture *c = &all[k];

		if (k % 2 == 1)
			c->plain = run(plain, sql, why, why_size);
		c->captured = run(path, sql, why, why_size);
		if (k % 2 == 0)
			c->plain = run(plain, sql, why, why_size);
		/* nobody gathers them here, and they may not pile up */
		if (c->captured < 0 || c->plain < 0 ||
		    run(path, "DELETE FROM _satchel_pending", why, why_size) <
			    0)
			return -1;
	}
	qsort(all, (size_t)rounds, sizeof *all, by_ratio);
	*ret = all[rounds / 2];
	return 0;
}
