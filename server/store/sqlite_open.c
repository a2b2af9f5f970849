/* Opening, transactions, snapshots, upkeep of the SQLite store. */
#include "server/store/sqlite_store.h"

#include "proto/catalogue_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

enum {
	WRITER_CACHE_KIB = 64 * 1024,
	READER_CACHE_KIB = 8 * 1024,
	BUSY_MS = 5000,
	/* Pages of 4 KiB. PASSIVE waits for nobody; TRUNCATE gives the disk
	 * space back and may wait a moment for readers. */
	WAL_PASSIVE_PAGES = 4000,
	WAL_TRUNCATE_PAGES = 16000,
	WAL_NET_PAGES = 32000, /* commit checkpoints by itself above this */
	TRUNCATE_WAIT_MS = 50,
};

static int on_wal(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct sat_store *s = arg;

	(void)handle;
	(void)name;
	s->wal_pages = pages;
	return SQLITE_OK;
}

/* path names the file, or the folder that holds satchel.db. */
static int file_of(const char *path, char *out, size_t cap, struct sat_err *err)
{
	struct stat st;
	int n;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		n = snprintf(out, cap, "%s/satchel.db", path);
	else
		n = snprintf(out, cap, "%s", path);
	if (n < 0 || (size_t)n >= cap)
		return sat_err_set(err, SAT_E_INVAL, ENAMETOOLONG, "store_open",
				   "path too long");
	return SAT_OK;
}

static int open_file(struct sat_store *s, const char *path, bool create,
		     struct sat_err *err)
{
	struct sat_db_options o = {
		.path = path,
		.what = "server database",
		.application_id = SAT_STORE_APPLICATION,
		.version = SAT_STORE_VERSION,
		.schema = sat_store_schema,
		.create = create,
		.readonly = !s->writer,
		.keep_wal = !s->writer,
		.busy_ms = BUSY_MS,
		.cache_kib = s->writer ? WRITER_CACHE_KIB : READER_CACHE_KIB,
	};
	int rc;

	rc = sat_db_open(&s->db, &o, err);
	if (rc == SAT_OK && s->writer)
		rc = sat_db_exec(&s->db, sat_store_later_schema, err);
	if (rc == SAT_OK && s->writer)
		(void)sqlite3_wal_hook(s->db.handle, on_wal, s);
	return rc;
}

int sat_store_open_sqlite(const char *path, bool writer, bool create,
			  struct sat_store **ret, struct sat_err *err)
{
	char file[4096];
	struct sat_store *s;
	int rc;

	SAT_ASSERT(writer || !create);
	rc = file_of(path, file, sizeof file, err);
	if (rc != SAT_OK)
		return rc;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "store_open",
				   "out of memory");
	s->writer = writer;
	rc = open_file(s, file, create, err);
	if (rc == SAT_OK)
		rc = sat_store_catalogue_load(s, err);
	if (rc == SAT_OK)
		rc = sat_store_sums(s, err);
	if (rc == SAT_OK && writer)
		rc = sat_store_dead_indexes(s, err);
	if (rc != SAT_OK) {
		sat_store_close(s);
		return rc;
	}
	*ret = s;
	return SAT_OK;
}

void sat_store_close(struct sat_store *s)
{
	if (s == NULL)
		return;
	sat_store_rollback(s);
	sat_store_snapshot_end(s);
	sat_db_close(&s->db);
	for (uint32_t i = 0; i < s->catalogue_count; i++)
		sat_catalogue_free(s->catalogues[i]);
	for (int i = 0; i < SAT_STORE_LEVELS; i++)
		free(s->levels[i].sums);
	free(s->catalogues);
	free(s->tables);
	free(s);
}

/* ---- transactions -------------------------------------------------------- */

int sat_store_may_write(struct sat_store *s, struct sat_err *err)
{
	/* Outside a transaction SQLite would commit each statement alone. */
	if (s->writing && sat_db_in_txn(&s->db))
		return SAT_OK;
	return sat_err_set(err, SAT_E_INVAL, 0, "store_write",
			   "no transaction is open for writing");
}

int sat_store_wrote(struct sat_store *s, int rc)
{
	if (rc == SAT_E_FULL || rc == SAT_E_IO || rc == SAT_E_NOMEM ||
	    rc == SAT_E_CORRUPT)
		sat_store_rollback(s);
	return rc;
}

int sat_store_do(struct sat_store *s, const char *sql,
		 const struct sat_value *values, int n, struct sat_err *err)
{
	int rc = sat_store_may_write(s, err);

	if (rc == SAT_OK)
		rc = sat_store_wrote(s, sat_db_do(&s->db, sql, values, n, err));
	return rc;
}

static void level_open(struct sat_store *s)
{
	s->levels[s->depth].catalogue = s->catalogue;
	s->depth++;
}

/* Close the innermost level as if it had never been. */
static void level_undo(struct sat_store *s)
{
	struct sat_store_level *level = &s->levels[--s->depth];

	sat_store_digest_clear(level);
	if (level->catalogue != s->catalogue)
		sat_store_catalogue_use(s, level->catalogue);
}

int sat_store_begin(struct sat_store *s, struct sat_err *err)
{
	int rc;

	if (!s->writer || s->writing || s->snapshot)
		return sat_err_set(err, SAT_E_INVAL, 0, "store_begin", "%s",
				   s->writer ? "already in a transaction"
					     : "this store only reads");
	rc = sat_db_begin(&s->db, err);
	if (rc == SAT_OK) {
		s->writing = true;
		level_open(s);
	}
	return rc;
}

int sat_store_commit(struct sat_store *s, struct sat_err *err)
{
	struct sat_err ignored;
	int left, rc;

	rc = sat_store_may_write(s, err);
	if (rc == SAT_OK && s->depth != 1)
		rc = sat_err_set(err, SAT_E_INVAL, 0, "store_commit",
				 "a savepoint is still open");
	if (rc == SAT_OK)
		rc = sat_store_digest_flush(s, err);
	if (rc == SAT_OK)
		rc = sat_db_commit(&s->db, err);
	if (rc != SAT_OK) {
		sat_store_rollback(s);
		return rc;
	}
	sat_store_digest_clear(&s->levels[0]);
	s->depth = 0;
	s->writing = false;
	/* The caller's upkeep does this in quiet moments; this is the net
	 * below it. What fails here is tried again, nothing is lost. */
	if (s->wal_pages > WAL_NET_PAGES &&
	    sat_db_checkpoint(&s->db, false, 0, &left, &ignored) == SAT_OK)
		s->wal_pages = left;
	return SAT_OK;
}

void sat_store_rollback(struct sat_store *s)
{
	if (!s->writing)
		return;
	sat_db_rollback(&s->db);
	while (s->depth > 0)
		level_undo(s);
	s->writing = false;
}

int sat_store_savepoint(struct sat_store *s, struct sat_err *err)
{
	int rc;

	if (s->depth >= SAT_STORE_LEVELS)
		return sat_err_set(err, SAT_E_LIMIT, 0, "store_savepoint",
				   "savepoints nested too deep");
	rc = sat_store_do(s, "SAVEPOINT sat", NULL, 0, err);
	if (rc == SAT_OK)
		level_open(s);
	return rc;
}

static int no_savepoint(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_INVAL, 0, "store_savepoint",
			   "no savepoint is open");
}

int sat_store_release(struct sat_store *s, struct sat_err *err)
{
	int rc;

	if (s->depth < 2)
		return no_savepoint(err);
	rc = sat_store_do(s, "RELEASE sat", NULL, 0, err);
	if (rc == SAT_OK)
		rc = sat_store_digest_fold(s, err);
	/* Sums may be half folded: nothing of this transaction is safe. */
	if (rc != SAT_OK)
		sat_store_rollback(s);
	return rc;
}

int sat_store_undo(struct sat_store *s, struct sat_err *err)
{
	int rc;

	if (s->depth < 2)
		return no_savepoint(err);
	rc = sat_store_do(s, "ROLLBACK TO sat", NULL, 0, err);
	if (rc == SAT_OK)
		rc = sat_store_do(s, "RELEASE sat", NULL, 0, err);
	if (rc == SAT_OK)
		level_undo(s);
	return rc;
}

int sat_store_snapshot_begin(struct sat_store *s, struct sat_err *err)
{
	uint64_t head;
	int rc;

	if (s->writing || s->snapshot)
		return sat_err_set(err, SAT_E_INVAL, 0, "store_snapshot",
				   "already in a transaction");
	rc = sat_db_do(&s->db, "BEGIN", NULL, 0, err);
	if (rc != SAT_OK)
		return rc;
	s->snapshot = true;
	/* BEGIN alone does not fix what is seen; the first read does. */
	rc = sat_store_head(s, &head, err);
	if (rc != SAT_OK)
		sat_store_snapshot_end(s);
	return rc;
}

void sat_store_snapshot_end(struct sat_store *s)
{
	if (!s->snapshot)
		return;
	sat_db_rollback(&s->db);
	s->snapshot = false;
}

/* ---- head and upkeep ----------------------------------------------------- */

int sat_store_head(struct sat_store *s, uint64_t *ret, struct sat_err *err)
{
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db,
			 "SELECT value FROM _setting WHERE key = '_head'", NULL,
			 0, &st, err);
	if (rc != SAT_OK)
		return rc;
	*ret = 0;
	if (st != NULL) {
		*ret = (uint64_t)sqlite3_column_int64(st, 0);
		sat_db_reset(st);
	}
	return SAT_OK;
}

int sat_store_seq_put(struct sat_store *s, uint64_t seq, struct sat_err *err)
{
	struct sat_value v = sat_value_int((int64_t)seq);

	return sat_store_do(s,
			    "INSERT INTO _setting(key, value)"
			    " VALUES('_head', ?1) ON CONFLICT(key)"
			    " DO UPDATE SET value = excluded.value",
			    &v, 1, err);
}

int sat_store_upkeep(struct sat_store *s, bool force, int *ret_pages,
		     struct sat_err *err)
{
	bool truncate = force || s->wal_pages > WAL_TRUNCATE_PAGES;
	int left, rc;

	if (!s->writer || s->writing || s->snapshot)
		return sat_err_set(err, SAT_E_INVAL, 0, "store_upkeep",
				   "only the idle writer checkpoints");
	if (!force && s->wal_pages <= WAL_PASSIVE_PAGES) {
		*ret_pages = s->wal_pages;
		return SAT_OK;
	}
	left = s->wal_pages;
	rc = sat_db_checkpoint(&s->db, truncate, TRUNCATE_WAIT_MS, &left, err);
	if (rc == SAT_E_BUSY) /* a reader holds on to old pages: next time */
		rc = SAT_OK;
	if (rc == SAT_OK) {
		s->wal_pages = left;
		*ret_pages = left;
	}
	return rc;
}

/* ---- shared helpers ------------------------------------------------------ */

void sat_store_text(struct sqlite3_stmt *st, int column, char *out, size_t cap)
{
	struct sat_value v = sat_db_column(st, column);
	size_t n = v.kind == SAT_TEXT ? v.s.len : 0;

	if (n >= cap) {
		n = cap - 1;
		while (n > 0 && (v.s.ptr[n] & 0xc0) == 0x80)
			n--;
	}
	if (n > 0)
		memcpy(out, v.s.ptr, n);
	out[n] = '\0';
}

void sat_store_bytes(struct sqlite3_stmt *st, int column, uint8_t *out,
		     size_t n)
{
	struct sat_value v = sat_db_column(st, column);

	memset(out, 0, n);
	if (v.kind == SAT_BLOB && v.s.len == n)
		memcpy(out, v.s.ptr, n);
}
