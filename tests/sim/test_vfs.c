/* The disks of the simulation: SQLite on them loses nothing that it said was
 * durable, whatever operation the power goes at, and they do bite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/sim/vfs.h"

static uint64_t state = 1;

static uint32_t draw(void *arg, uint32_t bound)
{
	uint64_t z;

	(void)arg;
	state += 0x9e3779b97f4a7c15u;
	z = state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ (z >> 31)) % bound);
}

static int setup(void **arg)
{
	struct sim_vfs_options o = { .draw = draw };

	(void)arg;
	sim_vfs_install(&o);
	return 0;
}

static sqlite3 *open_db(const char *path)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(
		path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "sim");

	if (rc != SQLITE_OK) {
		(void)sqlite3_close(db);
		return NULL;
	}
	return db;
}

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int64_t number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t n = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

static bool sound(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	bool ok = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st,
				     NULL) == SQLITE_OK &&
		  sqlite3_step(st) == SQLITE_ROW &&
		  strcmp((const char *)sqlite3_column_text(st, 0), "ok") == 0;

	(void)sqlite3_finalize(st);
	return ok;
}

/* Write rows 1, 2, ... each in a transaction of its own; returns the last one
 * that is said to be durable. */
static int work(const char *path, const char *pragmas)
{
	sqlite3 *db = open_db(path);
	char sql[160];
	int done = 0;

	if (db == NULL)
		return 0;
	if (run(db, pragmas) == SQLITE_OK) {
		for (int i = 1; i <= 12; i++) {
			(void)snprintf(
				sql, sizeof sql,
				"INSERT INTO t VALUES(%d, randomblob(%d))", i,
				100 + 700 * (i % 4));
			if (run(db, sql) != SQLITE_OK)
				break;
			done = i;
			if (i == 7 &&
			    run(db, "PRAGMA wal_checkpoint") != SQLITE_OK)
				break;
		}
	}
	(void)sqlite3_close(db);
	return done;
}

static struct sim_disk *blank(void)
{
	struct sim_disk *d = sim_disk_new("blank");
	sqlite3 *db = open_db("blank/db");

	assert_non_null(db);
	assert_int_equal(run(db, "CREATE TABLE t(i INTEGER PRIMARY KEY, b)"),
			 SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return d;
}

/* Cut the power at every operation; returns in how many runs something that
 * was durable is gone. */
static int cuts(const char *pragmas, int rounds)
{
	struct sim_disk *from = blank(), *d;
	int lost = 0, done;
	bool died = true;
	sqlite3 *db;

	for (int round = 0; round < rounds; round++) {
		died = true;
		for (uint64_t op = 1; died; op++) {
			d = sim_disk_new("a");
			sim_disk_copy(d, from);
			sim_disk_die_at(d, op);
			done = work("a/db", pragmas);
			died = sim_disk_dead(d);
			sim_disk_cut(d);
			db = open_db("a/db");
			assert_non_null(db);
			assert_true(sound(db));
			lost += number(db, "SELECT count(*) FROM t") < done;
			assert_true(number(db, "SELECT count(*) FROM t") <=
				    done + 1);
			assert_int_equal(sqlite3_close(db), SQLITE_OK);
			sim_disk_free(d);
			assert_true(op < 2000);
		}
	}
	sim_disk_free(from);
	return lost;
}

static void test_cut_wal(void **arg)
{
	(void)arg;
	assert_int_equal(cuts("PRAGMA journal_mode=WAL;"
			      "PRAGMA synchronous=FULL",
			      3),
			 0);
}

static void test_cut_journal(void **arg)
{
	(void)arg;
	assert_int_equal(cuts("PRAGMA journal_mode=DELETE;"
			      "PRAGMA synchronous=EXTRA",
			      3),
			 0);
}

/* What is not synced is lost: else the tests above show nothing. */
static void test_unsynced_is_lost(void **arg)
{
	(void)arg;
	assert_true(cuts("PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL",
			 1) > 5);
}

static void test_lying_sync(void **arg)
{
	struct sim_disk *d = sim_disk_new("a");
	int lost = 0, done;
	sqlite3 *db;

	(void)arg;
	for (int i = 0; i < 20; i++) {
		struct sim_disk *from = blank();

		sim_disk_copy(d, from);
		sim_disk_free(from);
		sim_disk_lies(d, 100);
		done = work("a/db",
			    "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL");
		assert_int_equal(done, 12);
		sim_disk_cut(d);
		sim_disk_lies(d, 0);
		db = open_db("a/db");
		lost += number(db, "SELECT count(*) FROM t") < done;
		(void)sqlite3_close(db);
	}
	assert_true(lost > 0);
	sim_disk_free(d);
}

/* A program that is killed loses nothing, synced or not. */
static void test_kill_keeps(void **arg)
{
	struct sim_disk *d = blank();
	sqlite3 *db = open_db("blank/db"), *again;

	(void)arg;
	assert_int_equal(run(db, "PRAGMA journal_mode=WAL;"
				 "PRAGMA synchronous=OFF;"
				 "INSERT INTO t VALUES(1, 'x')"),
			 SQLITE_OK);
	sim_disk_kill(d);
	assert_int_not_equal(run(db, "INSERT INTO t VALUES(2, 'y')"),
			     SQLITE_OK);
	again = open_db("blank/db");
	assert_int_equal(number(again, "SELECT count(*) FROM t"), 1);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(number(again, "SELECT count(*) FROM t"), 1);
	assert_int_equal(sqlite3_close(again), SQLITE_OK);
	sim_disk_free(d);
}

/* Two handles: one writer at a time, readers see what was committed. */
static void test_two_handles(void **arg)
{
	struct sim_disk *d = blank();
	sqlite3 *a = open_db("blank/db"), *b;

	(void)arg;
	assert_int_equal(run(a, "PRAGMA journal_mode=WAL"), SQLITE_OK);
	b = open_db("blank/db");
	assert_int_equal(run(a, "BEGIN IMMEDIATE; INSERT INTO t VALUES(1, 1)"),
			 SQLITE_OK);
	assert_int_equal(run(b, "INSERT INTO t VALUES(2, 2)"), SQLITE_BUSY);
	assert_int_equal(number(b, "SELECT count(*) FROM t"), 0);
	assert_int_equal(run(a, "COMMIT"), SQLITE_OK);
	assert_int_equal(run(b, "INSERT INTO t VALUES(2, 2)"), SQLITE_OK);
	assert_int_equal(number(a, "SELECT count(*) FROM t"), 2);
	assert_int_equal(run(a, "PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
	assert_int_equal(sqlite3_close(a), SQLITE_OK);
	assert_int_equal(sqlite3_close(b), SQLITE_OK);
	sim_disk_free(d);
}

static void test_full_eio_flip_copy(void **arg)
{
	struct sim_disk *d = blank(), *c = sim_disk_new("c");
	sqlite3 *db = open_db("blank/db"), *copy;
	int failed = 0;

	(void)arg;
	sim_disk_full(d, true);
	assert_int_equal(run(db, "INSERT INTO t VALUES(1, zeroblob(9000))"),
			 SQLITE_FULL);
	sim_disk_full(d, false);
	assert_int_equal(run(db, "INSERT INTO t VALUES(1, zeroblob(9000))"),
			 SQLITE_OK);
	sim_disk_copy(c, d);
	sim_disk_eio(d, 10);
	for (int i = 0; i < 50; i++)
		failed += run(db, "UPDATE t SET b = randomblob(9000)") !=
			  SQLITE_OK;
	assert_true(failed > 5);
	sim_disk_eio(d, 0);
	assert_int_equal(run(db, "DELETE FROM t"), SQLITE_OK);
	assert_true(sound(db));
	copy = open_db("c/db");
	assert_int_equal(number(copy, "SELECT count(*) FROM t"), 1);
	assert_int_equal(sqlite3_close(copy), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_true(sim_disk_bytes(d) > 4096);
	assert_true(sim_disk_flip(d, "blank/db", 8 * 20));
	assert_false(sim_disk_flip(d, "blank/none", 1));
	db = open_db("blank/db"); /* reserved bytes of a page: impossible */
	assert_true(db == NULL || !sound(db));
	(void)sqlite3_close(db);
	sim_disk_free(d);
	sim_disk_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_wal),
		cmocka_unit_test(test_cut_journal),
		cmocka_unit_test(test_unsynced_is_lost),
		cmocka_unit_test(test_lying_sync),
		cmocka_unit_test(test_kill_keeps),
		cmocka_unit_test(test_two_handles),
		cmocka_unit_test(test_full_eio_flip_copy),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
