/* floor.c - what the same rows cost without Satchel, for tests/bench/run.
 *
 *   floor insert SOURCE.db OUT.db BATCH   plain SQLite inserts of the source's
 *                                         visits into the server's table
 *                                         layout, BATCH rows a transaction
 *   floor columns SOURCE.db               the columns as one zstd -3 file
 *   floor capture SOURCE.db REPLICA.db PLAIN.db
 *                                         the visits into a replica, triggers
 *                                         and all, and into a plain table of
 *                                         the same definition
 *
 * Durable as the product is: WAL, synchronous FULL. One JSON line each. Rows
 * are read into memory first: only the writing is timed.
 */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(sqlite3 *db, const char *what)
{
	(void)fprintf(stderr, "floor: %s: %s\n", what,
		      db == NULL ? "" : sqlite3_errmsg(db));
	exit(1);
}

static sqlite3 *open_db(const char *path)
{
	sqlite3 *db;

	if (sqlite3_open(path, &db) != SQLITE_OK)
		die(db, path);
	if (sqlite3_exec(db,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			 "PRAGMA busy_timeout=10000",
			 NULL, NULL, NULL) != SQLITE_OK)
		die(db, "pragma");
	return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		die(db, sql);
	return s;
}

static void must(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die(db, sql);
}

struct rows {
	sqlite3_value **values; /* count * columns */
	size_t count;
	int columns;
	char **names;
};

static struct rows load(const char *path)
{
	struct rows r = { .count = 0 };
	sqlite3 *db = open_db(path);
	sqlite3_stmt *s = prepare(db, "SELECT * FROM visit ORDER BY id");
	size_t cap = 0;

	r.columns = sqlite3_column_count(s);
	r.names = calloc((size_t)r.columns, sizeof *r.names);
	for (int c = 0; c < r.columns; c++)
		r.names[c] = strdup(sqlite3_column_name(s, c));
	while (sqlite3_step(s) == SQLITE_ROW) {
		if (r.count == cap) {
			cap = cap == 0 ? 1024 : cap * 2;
			r.values = realloc(r.values,
					   cap * (size_t)r.columns *
						   sizeof(sqlite3_value *));
			if (r.values == NULL)
				die(NULL, "out of memory");
		}
		for (int c = 0; c < r.columns; c++)
			r.values[r.count * (size_t)r.columns + (size_t)c] =
				sqlite3_value_dup(sqlite3_column_value(s, c));
		r.count++;
	}
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
	return r;
}

/* INSERT with every column of the source; extra columns first. */
static char *insert_sql(const struct rows *r, const char *extra, int extras)
{
	char *sql = calloc(1, 65536);
	int n = snprintf(sql, 65536, "INSERT INTO visit(%s", extra);

	for (int c = 0; c < r->columns; c++)
		n += snprintf(sql + n, 65536 - (size_t)n, "%s%s",
			      c > 0 || extras > 0 ? "," : "", r->names[c]);
	n += snprintf(sql + n, 65536 - (size_t)n, ") VALUES(?");
	for (int c = 1; c < r->columns + extras; c++)
		n += snprintf(sql + n, 65536 - (size_t)n, ",?");
	(void)snprintf(sql + n, 65536 - (size_t)n, ")");
	return sql;
}

static double insert_all(sqlite3 *db, const struct rows *r, const char *extra,
			 int extras, size_t batch)
{
	static const uint8_t meta[14] = { 1, 2, 3 };
	char *sql = insert_sql(r, extra, extras);
	sqlite3_stmt *s = prepare(db, sql);
	double began = now();

	for (size_t i = 0; i < r->count; i++) {
		if (i % batch == 0)
			must(db, "BEGIN IMMEDIATE");
		if (extras > 0) {
			(void)sqlite3_bind_int64(s, 1, (sqlite3_int64)i + 1);
			(void)sqlite3_bind_int(s, 2, 7);
			(void)sqlite3_bind_blob(s, 3, meta, sizeof meta,
						SQLITE_STATIC);
		}
		for (int c = 0; c < r->columns; c++)
			(void)sqlite3_bind_value(
				s, c + 1 + extras,
				r->values[i * (size_t)r->columns + (size_t)c]);
		if (sqlite3_step(s) != SQLITE_DONE)
			die(db, "insert");
		(void)sqlite3_reset(s);
		if (i % batch == batch - 1 || i == r->count - 1)
			must(db, "COMMIT");
	}
	(void)sqlite3_finalize(s);
	free(sql);
	return now() - began;
}

static void make_server_table(sqlite3 *db, const struct rows *r)
{
	char sql[65536];
	int n = snprintf(sql, sizeof sql,
			 "CREATE TABLE visit(_seq INTEGER PRIMARY KEY, _origin "
			 "INTEGER, _meta BLOB");

	for (int c = 0; c < r->columns; c++)
		n += snprintf(sql + n, sizeof sql - (size_t)n, ", %s",
			      r->names[c]);
	(void)snprintf(sql + n, sizeof sql - (size_t)n,
		       "); CREATE UNIQUE INDEX visit_id ON visit(id);"
		       "CREATE INDEX visit_account ON visit(account_id)");
	must(db, sql);
}

static int floor_insert(const char *source, const char *out, size_t batch)
{
	struct rows r = load(source);
	sqlite3 *db = open_db(out);
	double took;

	make_server_table(db, &r);
	took = insert_all(db, &r, "_seq,_origin,_meta", 3, batch);
	(void)printf("{\"floor\":\"insert\",\"rows\":%zu,\"batch\":%zu,"
		     "\"seconds\":%.4f}\n",
		     r.count, batch, took);
	return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}

/* The bytes of one value in a plain columnar file: ids packed, numbers as
 * eight bytes, texts with a newline. */
static size_t put_value(uint8_t *p, sqlite3_value *v)
{
	const char *text = (const char *)sqlite3_value_text(v);
	size_t n = (size_t)sqlite3_value_bytes(v), k = 0;
	sqlite3_int64 i;

	switch (sqlite3_value_type(v)) {
	case SQLITE_NULL:
		return 0;
	case SQLITE_INTEGER:
	case SQLITE_FLOAT:
		i = sqlite3_value_int64(v);
		if (sqlite3_value_type(v) == SQLITE_FLOAT) {
			double d = sqlite3_value_double(v);

			memcpy(&i, &d, sizeof i);
		}
		memcpy(p, &i, sizeof i);
		return sizeof i;
	default:
		break;
	}
	if (n == 36 && text[8] == '-' && text[13] == '-') {
		for (size_t c = 0; c < n; c += 2) {
			unsigned byte;

			if (text[c] == '-')
				c++;
			if (sscanf(text + c, "%2x", &byte) == 1)
				p[k++] = (uint8_t)byte;
		}
		return k;
	}
	memcpy(p, text, n);
	p[n] = '\n';
	return n + 1;
}

static int floor_columns(const char *source)
{
	struct rows r = load(source);
	size_t cap = 1 << 20, n = 0, bound, packed;
	uint8_t *raw = malloc(cap), *out;

	for (int c = 0; c < r.columns; c++)
		for (size_t i = 0; i < r.count; i++) {
			sqlite3_value *v =
				r.values[i * (size_t)r.columns + (size_t)c];
			size_t need = (size_t)sqlite3_value_bytes(v) + 64;

			if (n + need > cap) {
				cap = cap * 2 + need;
				raw = realloc(raw, cap);
				if (raw == NULL)
					die(NULL, "out of memory");
			}
			n += put_value(raw + n, v);
		}
	bound = ZSTD_compressBound(n);
	out = malloc(bound);
	packed = ZSTD_compress(out, bound, raw, n, 3);
	(void)printf("{\"floor\":\"columns\",\"rows\":%zu,\"raw_bytes\":%zu,"
		     "\"zstd_bytes\":%zu}\n",
		     r.count, n, packed);
	return 0;
}

static int floor_capture(const char *source, const char *replica,
			 const char *plain)
{
	struct rows r = load(source);
	sqlite3 *db = open_db(replica), *out = open_db(plain);
	sqlite3_stmt *s = prepare(db, "SELECT sql FROM sqlite_schema WHERE "
				      "tbl_name='visit' AND type IN "
				      "('table','index') AND sql IS NOT NULL");
	double captured, bare;

	while (sqlite3_step(s) == SQLITE_ROW)
		must(out, (const char *)sqlite3_column_text(s, 0));
	(void)sqlite3_finalize(s);
	bare = insert_all(out, &r, "", 0, r.count);
	captured = insert_all(db, &r, "", 0, r.count);
	(void)printf("{\"floor\":\"capture\",\"rows\":%zu,\"plain_seconds\":"
		     "%.4f,\"captured_seconds\":%.4f}\n",
		     r.count, bare, captured);
	(void)sqlite3_close(out);
	return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "insert") == 0)
		return floor_insert(argv[2], argv[3],
				    strtoul(argv[4], NULL, 10));
	if (argc == 3 && strcmp(argv[1], "columns") == 0)
		return floor_columns(argv[2]);
	if (argc == 5 && strcmp(argv[1], "capture") == 0)
		return floor_capture(argv[2], argv[3], argv[4]);
	(void)fprintf(stderr, "usage: see the head of floor.c\n");
	return 2;
}
