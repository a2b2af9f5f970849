/* The SQLite helpers: values, the statement cache, codes, transactions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/db.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

static char dir[64];
static char path[96];

static const struct sat_db_options plain = {
	.path = path,
	.what = "test file",
	.application_id = 0x53415454,
	.version = 3,
	.schema = "CREATE TABLE x(a PRIMARY KEY, b CHECK(b IS NOT 13))",
};

static struct sat_db db;
static struct sat_err err;

#define OK(call) ok_at((call), __LINE__)
static void ok_at(int rc, int line)
{
	if (rc != SAT_OK)
		fail_msg("line %d: %s: %s", line, sat_rc_name(rc), err.msg);
}

static int setup(void **state)
{
	struct sat_db_options o = plain;

	(void)state;
	(void)snprintf(dir, sizeof dir, "/tmp/satchel-db-XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/x.db", dir);
	o.create = true;
	OK(sat_db_open(&db, &o, &err));
	return 0;
}

static int teardown(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char file[128];

	(void)state;
	sat_db_close(&db);
	sat_db_close(&db); /* twice is fine */
	for (size_t i = 0; i < SAT_COUNT_OF(suffixes); i++) {
		(void)snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
		(void)unlink(file);
	}
	(void)rmdir(dir);
	return 0;
}

static int64_t number(const char *sql)
{
	int64_t n = -1;

	OK(sat_db_int(&db, sql, -2, &n, &err));
	return n;
}

static void the_file_is_set_up(void **state)
{
	(void)state;
	assert_int_equal(db.version, 3);
	assert_int_equal(number("PRAGMA user_version"), 3);
	assert_int_equal(number("PRAGMA application_id"), 0x53415454);
	assert_int_equal(number("PRAGMA synchronous"), 2);
	assert_int_equal(number("PRAGMA mmap_size"), 0);
	assert_int_equal(number("PRAGMA trusted_schema"), 0);
	assert_int_equal(number("PRAGMA wal_autocheckpoint"), 0);
	assert_int_equal(number("SELECT 'wal' = (SELECT journal_mode"
				" FROM pragma_journal_mode)"),
			 1);
}

static void a_reader_cannot_write(void **state)
{
	struct sat_db_options o = plain;
	struct sat_db r;

	(void)state;
	o.readonly = true;
	OK(sat_db_open(&r, &o, &err));
	assert_int_equal(sat_db_exec(&r, "INSERT INTO x VALUES(1, 1)", &err),
			 SAT_E_IO);
	sat_db_close(&r);
}

static void an_older_version_is_told(void **state)
{
	struct sat_db_options o = plain;
	struct sat_db r;

	(void)state;
	o.readonly = true;
	o.version = 9; /* the caller sees 3 and knows what to do */
	OK(sat_db_open(&r, &o, &err));
	assert_int_equal(r.version, 3);
	sat_db_close(&r);
	o.application_id++;
	assert_int_equal(sat_db_open(&r, &o, &err), SAT_E_CORRUPT);
	assert_null(r.handle);
}

/* ---- values -------------------------------------------------------------- */

static void values_come_back(void **state)
{
	static const uint8_t zero[16] = { 0 };
	const struct sat_value values[] = {
		{ .kind = SAT_NULL },
		{ .kind = SAT_INT, .i = INT64_MIN },
		{ .kind = SAT_REAL, .r = 0.1 },
		{ .kind = SAT_TEXT, .s = { (const uint8_t *)"北京", 6 } },
		{ .kind = SAT_TEXT, .s = { NULL, 0 } },
		{ .kind = SAT_BLOB, .s = { zero, 16 } },
		{ .kind = SAT_BLOB, .s = { NULL, 0 } },
	};
	struct sqlite3_stmt *st;
	struct sat_value got;
	struct sat_id id;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(values); i++) {
		OK(sat_db_find(&db, "SELECT ?1", &values[i], 1, &st, &err));
		assert_non_null(st);
		got = sat_db_column(st, 0);
		if (!sat_value_equal(&got, &values[i]))
			fail_msg("value %zu differs", i);
		assert_int_equal(sat_db_column_id(st, 0, &id), i == 5);
		sat_db_reset(st);
	}
	OK(sat_db_find(&db, "SELECT 1 WHERE 0", NULL, 0, &st, &err));
	assert_null(st);
	assert_int_equal(sat_db_find(&db, "SELECT 1", values, 1, &st, &err),
			 SAT_E_INVAL); /* no such parameter */
	assert_int_equal(number("SELECT NULL"), -2);
	assert_int_equal(number("SELECT 5 WHERE 0"), -2);
}

/* ---- statements ---------------------------------------------------------- */

static void statements_are_cached(void **state)
{
	struct sqlite3_stmt *first, *again, *nested;
	struct sat_value v = { .kind = SAT_INT, .i = 5 };
	bool row;

	(void)state;
	OK(sat_db_stmt(&db, "SELECT ?1", &first, &err));
	OK(sat_db_bind(&db, first, 1, &v, 1, &err));
	OK(sat_db_stmt(&db, "SELECT ?1", &again, &err));
	assert_ptr_equal(first, again);
	OK(sat_db_step(&db, again, &row, &err));
	assert_true(row);
	/* Bindings of the last use are gone. */
	assert_int_equal(sat_db_column(again, 0).kind, SAT_NULL);
	/* While it is being stepped, another one is given out. */
	OK(sat_db_stmt(&db, "SELECT ?1", &nested, &err));
	assert_ptr_not_equal(again, nested);
	sat_db_reset(again);
	assert_int_equal(sat_db_stmt(&db, "SELECT", &first, &err), SAT_E_INVAL);
	assert_int_equal(sat_db_stmt(&db, "", &first, &err), SAT_E_INVAL);
}

static void the_cache_is_bounded(void **state)
{
	struct sqlite3_stmt *st, *first = NULL;
	char sql[64];
	int rc = SAT_OK;

	(void)state;
	for (int i = 0; rc == SAT_OK; i++) {
		assert_in_range(i, 0, SAT_DB_STATEMENTS_MAX);
		(void)snprintf(sql, sizeof sql, "SELECT %d", i);
		rc = sat_db_stmt(&db, sql, &st, &err);
		if (i == 0)
			first = st;
	}
	assert_int_equal(rc, SAT_E_LIMIT);
	OK(sat_db_stmt(&db, "SELECT 0", &st, &err));
	assert_ptr_equal(st, first); /* found after every rehash */
	sat_db_forget(&db);
	OK(sat_db_stmt(&db, "SELECT 0, 1", &st, &err));
}

/* ---- codes --------------------------------------------------------------- */

static void codes_are_mapped(void **state)
{
	static const struct {
		int code, rc;
	} rows[] = {
		{ SQLITE_FULL, SAT_E_FULL },
		{ SQLITE_BUSY, SAT_E_BUSY },
		{ SQLITE_BUSY_SNAPSHOT, SAT_E_BUSY },
		{ SQLITE_LOCKED, SAT_E_BUSY },
		{ SQLITE_CORRUPT_INDEX, SAT_E_CORRUPT },
		{ SQLITE_NOTADB, SAT_E_CORRUPT },
		{ SQLITE_IOERR_READ, SAT_E_IO },
		{ SQLITE_CANTOPEN, SAT_E_IO },
		{ SQLITE_READONLY, SAT_E_IO },
		{ SQLITE_PERM, SAT_E_IO },
		{ SQLITE_NOMEM, SAT_E_NOMEM },
		{ SQLITE_IOERR_NOMEM, SAT_E_IO },
		{ SQLITE_TOOBIG, SAT_E_LIMIT },
		{ SQLITE_INTERRUPT, SAT_E_CLOSED },
		{ SQLITE_AUTH, SAT_E_DENIED },
		{ SQLITE_CONSTRAINT_UNIQUE, SAT_E_EXISTS },
		{ SQLITE_CONSTRAINT_PRIMARYKEY, SAT_E_EXISTS },
		{ SQLITE_CONSTRAINT_ROWID, SAT_E_EXISTS },
		{ SQLITE_CONSTRAINT_TRIGGER, SAT_E_INVAL },
		{ SQLITE_CONSTRAINT_CHECK, SAT_E_INVAL },
		{ SQLITE_ERROR, SAT_E_INVAL },
	};
	struct sat_db none = { 0 };

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		if (sat_db_fail(&none, rows[i].code, "test", &err) !=
		    rows[i].rc)
			fail_msg("SQLite code %d gives %s", rows[i].code,
				 sat_rc_name(err.rc));
		assert_int_equal(err.sys, rows[i].code);
		assert_string_not_equal(err.msg, "");
	}
}

static void constraints_speak(void **state)
{
	struct sat_value v[2] = { { .kind = SAT_INT, .i = 1 },
				  { .kind = SAT_INT, .i = 12 } };
	const char *sql = "INSERT INTO x VALUES(?1, ?2)";

	(void)state;
	OK(sat_db_do(&db, sql, v, 2, &err));
	assert_int_equal(sat_db_do(&db, sql, v, 2, &err), SAT_E_EXISTS);
	v[0].i = 2;
	v[1].i = 13;
	assert_int_equal(sat_db_do(&db, sql, v, 2, &err), SAT_E_INVAL);
	OK(sat_db_exec(&db,
		       "CREATE TRIGGER no BEFORE DELETE ON x BEGIN"
		       " SELECT RAISE(ABORT, 'rows stay'); END",
		       &err));
	assert_int_equal(sat_db_exec(&db, "DELETE FROM x", &err), SAT_E_INVAL);
	assert_string_equal(err.msg, "rows stay");
	v[1].i = 14;
	OK(sat_db_do(&db, sql, v, 2, &err)); /* usable after a failure */
	assert_int_equal(number("SELECT count(*) FROM x"), 2);
}

/* ---- transactions -------------------------------------------------------- */

static void one_writer_at_a_time(void **state)
{
	struct sat_db_options o = plain;
	struct sat_db other;

	(void)state;
	o.busy_ms = 1;
	OK(sat_db_open(&other, &o, &err));
	assert_false(sat_db_in_txn(&db));
	OK(sat_db_begin(&db, &err));
	assert_true(sat_db_in_txn(&db));
	assert_int_equal(sat_db_begin(&other, &err), SAT_E_BUSY);
	OK(sat_db_exec(&db, "INSERT INTO x VALUES(1, 1)", &err));
	sat_db_rollback(&db);
	sat_db_rollback(&db); /* harmless */
	OK(sat_db_begin(&other, &err));
	OK(sat_db_commit(&other, &err));
	assert_int_equal(sat_db_commit(&other, &err), SAT_E_INVAL);
	assert_int_equal(number("SELECT count(*) FROM x"), 0);
	sat_db_close(&other);
}

static void a_commit_that_fails_is_undone(void **state)
{
	(void)state;
	OK(sat_db_exec(&db,
		       "PRAGMA foreign_keys = ON;"
		       "CREATE TABLE child(a REFERENCES x(a)"
		       " DEFERRABLE INITIALLY DEFERRED)",
		       &err));
	OK(sat_db_begin(&db, &err));
	OK(sat_db_exec(&db, "INSERT INTO child VALUES(77)", &err));
	assert_int_equal(sat_db_commit(&db, &err), SAT_E_INVAL);
	assert_false(sat_db_in_txn(&db));
	assert_int_equal(number("SELECT count(*) FROM child"), 0);
}

static void checkpoints_say_what_is_left(void **state)
{
	struct sat_db_options o = plain;
	struct sat_db r;
	int64_t n;
	int left = -1;

	(void)state;
	o.readonly = true;
	OK(sat_db_open(&r, &o, &err));
	OK(sat_db_exec(&db, "INSERT INTO x VALUES(1, 1)", &err));
	OK(sat_db_exec(&r, "BEGIN", &err));
	OK(sat_db_int(&r, "SELECT count(*) FROM x", 0, &n, &err));
	OK(sat_db_exec(&db, "INSERT INTO x VALUES(2, 2)", &err));
	OK(sat_db_checkpoint(&db, false, 0, &left, &err));
	assert_true(left > 0); /* OK, and yet not everything */
	assert_int_equal(sat_db_checkpoint(&db, true, 1, &left, &err),
			 SAT_E_BUSY);
	sat_db_rollback(&r);
	OK(sat_db_checkpoint(&db, true, 1, &left, &err));
	assert_int_equal(left, 0);
	assert_int_equal(number("PRAGMA busy_timeout"), SAT_DB_BUSY_MS);
	sat_db_close(&r);
}

/* As another process sees it: does anybody hold SQLite's shared lock? */
static bool is_locked(void)
{
	struct flock l = { .l_type = F_WRLCK,
			   .l_whence = SEEK_SET,
			   .l_start = 0x40000002,
			   .l_len = 510 };
	int status, fd;
	pid_t child = fork();

	if (child == 0) {
		fd = open(path, O_RDWR);
		_exit(fd >= 0 && fcntl(fd, F_GETLK, &l) == 0
			      ? l.l_type != F_UNLCK
			      : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 1;
}

/* Closing a file cancels every lock that the process has on it. Without the
 * lock, another program that looks into the database and leaves takes itself
 * for the last one and removes the WAL: what is committed then is lost. */
static void opening_again_cancels_no_lock(void **state)
{
	struct sat_db_options o = plain;
	struct sat_db r;

	(void)state;
	OK(sat_db_exec(&db, "INSERT INTO x VALUES(1, 1)", &err));
	assert_true(is_locked());
	OK(sat_db_open(&r, &o, &err));
	assert_true(is_locked());
	sat_db_close(&r);
	assert_true(is_locked());
	o.create = true;
	assert_int_equal(sat_db_open(&r, &o, &err), SAT_E_EXISTS);
	assert_true(is_locked());
	o.create = false;
	o.application_id++;
	assert_int_equal(sat_db_open(&r, &o, &err), SAT_E_CORRUPT);
	assert_true(is_locked());
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_file_is_set_up),
		T(a_reader_cannot_write),
		T(an_older_version_is_told),
		T(values_come_back),
		T(statements_are_cached),
		T(the_cache_is_bounded),
		T(codes_are_mapped),
		T(constraints_speak),
		T(one_writer_at_a_time),
		T(a_commit_that_fails_is_undone),
		T(checkpoints_say_what_is_left),
		T(opening_again_cancels_no_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
