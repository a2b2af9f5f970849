/* Opening what is ours and nothing else; what a full, read-only or damaged
 * disk does to a store. */
#include "store_fixture.h"

#include "server/store/sqlite_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEADER_VERSION = 60 };

static size_t slurp(const char *path, uint8_t *out, size_t cap)
{
	FILE *file = fopen(path, "rb");
	size_t n;

	assert_non_null(file);
	n = fread(out, 1, cap, file);
	(void)fclose(file);
	return n;
}

static void overwrite(const char *path, long at, const void *p, size_t n)
{
	FILE *file = fopen(path, "r+b");

	assert_non_null(file);
	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	assert_int_equal(fwrite(p, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static int open_store(struct fixture *f, const char *path, bool writer,
		      bool create)
{
	struct sat_store *s = NULL;
	int rc = sat_store_open_sqlite(path, writer, create, &s, &f->err);

	sat_store_close(s);
	return rc;
}

static void close_writer(struct fixture *f)
{
	sat_store_close(f->w);
	f->w = NULL;
}

static void creating_never_overwrites(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(open_store(f, f->file, true, true), SAT_E_EXISTS);
	assert_int_equal(open_store(f, f->dir, true, true), SAT_E_EXISTS);
	assert_int_equal(stat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600); /* people's data */
	close_writer(f);
	/* What a crash right after creation leaves is taken over. */
	assert_int_equal(truncate(f->file, 0), 0);
	assert_int_equal(open_store(f, f->file, true, true), SAT_OK);
	assert_int_equal(open_store(f, f->file, false, false), SAT_OK);
}

static void a_wrong_folder_is_named(void **state)
{
	struct fixture *f = *state;
	char path[128];

	(void)snprintf(path, sizeof path, "%s/nowhere/satchel.db", f->dir);
	assert_int_equal(open_store(f, path, true, false), SAT_E_NOTFOUND);
	assert_non_null(strstr(f->err.msg, path));
	assert_int_equal(open_store(f, path, true, true), SAT_E_NOTFOUND);
	(void)snprintf(path, sizeof path, "%s/other.db", f->dir);
	assert_int_equal(open_store(f, path, false, false), SAT_E_NOTFOUND);
	assert_int_equal(access(path, F_OK), -1); /* looking makes nothing */
}

static void other_files_are_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t before[64 * 1024], after[64 * 1024];
	char wal[128];
	size_t n;

	close_writer(f);
	overwrite(f->file, 68, "ABCD", 4); /* somebody else's SQLite file */
	n = slurp(f->file, before, sizeof before);
	assert_int_equal(open_store(f, f->file, true, false), SAT_E_CORRUPT);
	assert_non_null(strstr(f->err.msg, "is not a server database"));
	overwrite(f->file, 0, "hello", 5);
	assert_int_equal(open_store(f, f->file, true, false), SAT_E_CORRUPT);
	overwrite(f->file, 0, "SQLit", 5);
	assert_int_equal(slurp(f->file, after, sizeof after), n);
	assert_memory_equal(before, after, n);
	(void)snprintf(wal, sizeof wal, "%s-wal", f->file);
	assert_int_equal(access(wal, F_OK), -1);
	assert_int_equal(truncate(f->file, 50), 0);
	assert_int_equal(open_store(f, f->file, true, false), SAT_E_CORRUPT);
	assert_int_equal(truncate(f->file, 0), 0);
	assert_int_equal(open_store(f, f->file, false, false), SAT_E_CORRUPT);
}

static void a_newer_version_is_left_alone(void **state)
{
	static const uint8_t newer[4] = { 0, 0, 0, SAT_STORE_VERSION + 1 };
	struct fixture *f = *state;
	uint8_t before[256 * 1024], after[256 * 1024];
	char path[128];
	size_t n;

	close_writer(f);
	overwrite(f->file, HEADER_VERSION, newer, 4);
	n = slurp(f->file, before, sizeof before);
	for (int writer = 0; writer < 2; writer++) {
		assert_int_equal(open_store(f, f->file, writer != 0, false),
				 SAT_E_NEWER);
		assert_non_null(strstr(f->err.msg, "newer program"));
	}
	assert_int_equal(slurp(f->file, after, sizeof after), n);
	assert_memory_equal(before, after, n);
	(void)snprintf(path, sizeof path, "%s-wal", f->file);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof path, "%s-shm", f->file);
	assert_int_equal(access(path, F_OK), -1);
}

/* The newer version is only in the WAL so far, as after a crash. */
static void a_newer_version_in_the_wal_too(void **state)
{
	struct fixture *f = *state;
	struct sat_store *r = fixture_reader(f); /* keeps the WAL in place */
	uint8_t before[256 * 1024], after[256 * 1024];
	char wal[128];
	size_t n, m;

	assert_int_equal(sat_db_exec(&f->w->db,
				     "PRAGMA wal_checkpoint(TRUNCATE);"
				     "PRAGMA user_version = 99",
				     &f->err),
			 SAT_OK);
	close_writer(f);
	sat_store_close(r); /* moves nothing either */
	(void)snprintf(wal, sizeof wal, "%s-wal", f->file);
	n = slurp(f->file, before, sizeof before / 2);
	m = slurp(wal, before + n, sizeof before - n);
	assert_int_not_equal(m, 0);
	assert_int_equal(open_store(f, f->file, true, false), SAT_E_NEWER);
	assert_int_equal(slurp(f->file, after, sizeof after / 2), n);
	assert_int_equal(slurp(wal, after + n, sizeof after - n), m);
	assert_memory_equal(before, after, n + m);
}

/* Run as nobody, for root may write anything; the child's exit code is the
 * number of the check that failed. */
static int as_nobody(struct fixture *f, int (*check)(struct fixture *f))
{
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(99);
		_exit(check(f));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int check_read_only(struct fixture *f)
{
	char path[128];

	if (open_store(f, f->file, true, false) != SAT_E_IO)
		return 1;
	if (strstr(f->err.msg, "may not be written") == NULL)
		return 2;
	(void)snprintf(path, sizeof path, "%s/new.db", f->dir);
	if (open_store(f, path, true, true) != SAT_E_IO)
		return 3;
	if (strstr(f->err.msg, "cannot make") == NULL)
		return 4;
	return 0;
}

static int check_unreadable(struct fixture *f)
{
	if (open_store(f, f->file, false, false) != SAT_E_IO)
		return 1;
	return strstr(f->err.msg, "cannot open") == NULL ? 2 : 0;
}

static void a_read_only_folder_is_said(void **state)
{
	struct fixture *f = *state;

	close_writer(f);
	assert_int_equal(chmod(f->file, 0444), 0);
	assert_int_equal(chmod(f->dir, 0555), 0);
	assert_int_equal(as_nobody(f, check_read_only), 0);
	assert_int_equal(chmod(f->file, 0), 0);
	assert_int_equal(as_nobody(f, check_unreadable), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
}

/* ---- full disk ----------------------------------------------------------- */

static int grow(struct fixture *f, uint32_t *id)
{
	static char text[4000];
	int rc = sat_store_begin(f->w, &f->err);

	memset(text, 'x', sizeof text - 1);
	for (int i = 0; rc == SAT_OK && i < 50; i++) {
		++*id;
		rc = sat_store_row_put(f->w, table_of(f->w, "thing"), 0,
				       thing_of(f, *id, *id, text), &f->err);
	}
	return rc == SAT_OK ? sat_store_commit(f->w, &f->err) : rc;
}

/* All that was committed is there, nothing of the group that failed, and
 * the next one may try again. */
static void after_full(struct fixture *f, uint32_t committed, uint32_t failed)
{
	struct sat_id id = id_of(committed);
	struct sat_stored_row row;

	assert_false(sat_db_in_txn(&f->w->db));
	assert_int_equal(
		sat_store_setting_put(f->w, "k", sat_slice_str("v"), &f->err),
		SAT_E_INVAL);
	OK(f, sat_store_row_get(f->w, table_of(f->w, "thing"), &id, &f->a, &row,
				&f->err));
	assert_int_equal(row.seq, committed);
	for (uint32_t i = committed + 1; i <= failed; i++) {
		id = id_of(i);
		OK(f, sat_store_row_get(f->w, table_of(f->w, "thing"), &id,
					&f->a, &row, &f->err));
		assert_int_equal(row.seq, 0);
	}
}

static void a_full_database_rolls_back(void **state)
{
	struct fixture *f = *state;
	uint32_t id = 0, committed;
	int rc;

	OK(f, sat_db_exec(&f->w->db, "PRAGMA max_page_count = 500", &f->err));
	do {
		committed = id;
		rc = grow(f, &id);
		assert_in_range(id, 0, 5000);
	} while (rc == SAT_OK);
	assert_int_equal(rc, SAT_E_FULL);
	assert_int_not_equal(committed, 0);
	after_full(f, committed, id);
	OK(f, sat_db_exec(&f->w->db, "PRAGMA max_page_count = 5000", &f->err));
	id = committed;
	OK(f, grow(f, &id));
}

/* The same with a real file system of 2 MiB. */
static void a_full_disk_rolls_back(void **state)
{
	struct fixture *f = *state;
	char dir[80], command[256];
	uint32_t id = 0, committed;
	int rc;

	(void)snprintf(dir, sizeof dir, "%s/small", f->dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	(void)snprintf(command, sizeof command,
		       "mount -t tmpfs -o size=2m tmpfs %s 2>/dev/null", dir);
	if (geteuid() != 0 || system(command) != 0) {
		(void)rmdir(dir);
		print_message("skipped: no right to mount a small tmpfs\n");
		skip();
	}
	close_writer(f);
	rc = sat_store_open_sqlite(dir, true, false, &f->w, &f->err);
	assert_int_equal(rc, SAT_E_NOTFOUND);
	(void)snprintf(f->file, sizeof f->file, "%s/satchel.db", dir);
	OK(f, sat_store_open_sqlite(f->file, true, true, &f->w, &f->err));
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_catalogue_put(f->w, fixture_catalogue(1), &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	do {
		committed = id;
		rc = grow(f, &id);
		assert_in_range(id, 0, 5000);
	} while (rc == SAT_OK);
	(void)snprintf(command, sizeof command, "umount -l %s", dir);
	assert_int_equal(rc, SAT_E_FULL);
	assert_int_not_equal(committed, 0);
	after_full(f, committed, id);
	fixture_reopen(f); /* closing and opening a full one works */
	id = committed;
	assert_int_equal(grow(f, &id), SAT_E_FULL);
	after_full(f, committed, id);
	close_writer(f);
	assert_int_equal(system(command), 0);
	(void)rmdir(dir);
}

/* ---- damage -------------------------------------------------------------- */

static int on_any(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	(void)arg;
	(void)t;
	(void)row;
	return SAT_OK;
}

static void damage_is_reported(void **state)
{
	struct fixture *f = *state;
	static uint8_t junk[16 * 1024];
	uint32_t id = 0;
	struct stat st;
	int pages;

	OK(f, grow(f, &id));
	OK(f, grow(f, &id));
	OK(f, sat_store_upkeep(f->w, true, &pages, &f->err));
	close_writer(f);
	memset(junk, 0xa5, sizeof junk);
	assert_int_equal(stat(f->file, &st), 0);
	for (long at = 160 * 1024; at + (long)sizeof junk < st.st_size;
	     at += (long)sizeof junk)
		overwrite(f->file, at, junk, sizeof junk);
	OK(f, sat_store_open_sqlite(f->file, true, false, &f->w, &f->err));
	assert_int_equal(sat_store_rows(f->w, table_of(f->w, "thing"), -1, NULL,
					on_any, NULL, &f->err),
			 SAT_E_CORRUPT);
}

/* Bytes of ours that are not what we wrote are damage too, never a crash. */
static void damaged_cells_are_reported(void **state)
{
	static const char *const cells[] = {
		"_places = x'ff'",   /* varint without end    */
		"_places = x'0904'", /* scopes out of order   */
		"_places = x'ffffffffffffffffffff01'", /* more than 64 bits */
		"_places = x'06ffffffffffffffffff02'",
		"_places = x'06'", /* moved, but not whereto */
		"_places = 'text'",
		"_meta = 'text'",
		"id = x'0102'",
	};
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_stored_row row;
	char sql[128];
	int rc;

	put_thing(f, 1, 1, "x");
	for (size_t i = 0; i < SAT_COUNT_OF(cells); i++) {
		(void)snprintf(sql, sizeof sql,
			       "UPDATE thing SET _places = x'04',"
			       " _meta = x'00'; UPDATE thing SET %s",
			       cells[i]);
		OK(f, sat_db_exec(&f->w->db, sql, &f->err));
		row.damaged = false;
		rc = sat_store_row_at(f->w, t, 1, &f->a, &row, &f->err);
		if (strncmp(cells[i], "id", 2) == 0) {
			assert_int_equal(rc, SAT_E_CORRUPT);
			continue;
		}
		OK(f, rc); /* it is told apart, and has no places */
		assert_true(row.damaged);
		assert_int_equal(row.place_count, 0);
	}
}

/* ---- upkeep -------------------------------------------------------------- */

static void the_wal_is_folded_in(void **state)
{
	struct fixture *f = *state;
	struct sat_store *r = fixture_reader(f);
	struct stat st;
	char wal[128];
	uint32_t id = 0;
	int pages = -1;

	(void)snprintf(wal, sizeof wal, "%s-wal", f->file);
	OK(f, grow(f, &id));
	OK(f, sat_store_upkeep(f->w, false, &pages, &f->err));
	assert_int_not_equal(pages, 0); /* short: left alone */
	OK(f, sat_store_snapshot_begin(r, &f->err));
	OK(f, grow(f, &id));
	OK(f, sat_store_upkeep(f->w, true, &pages, &f->err));
	assert_int_not_equal(pages, 0); /* the reader holds it back */
	sat_store_snapshot_end(r);
	OK(f, sat_store_upkeep(f->w, true, &pages, &f->err));
	assert_int_equal(pages, 0);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(sat_store_upkeep(r, true, &pages, &f->err),
			 SAT_E_INVAL);
	OK(f, sat_store_begin(f->w, &f->err));
	assert_int_equal(sat_store_upkeep(f->w, true, &pages, &f->err),
			 SAT_E_INVAL);
	sat_store_rollback(f->w);
	sat_store_close(r);
}

#define T(test) \
	cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(creating_never_overwrites),
		T(a_wrong_folder_is_named),
		T(other_files_are_refused),
		T(a_newer_version_is_left_alone),
		T(a_newer_version_in_the_wal_too),
		T(a_read_only_folder_is_said),
		T(a_full_database_rolls_back),
		T(a_full_disk_rolls_back),
		T(damage_is_reported),
		T(damaged_cells_are_reported),
		T(the_wal_is_folded_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
