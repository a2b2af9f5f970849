#include "common/db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

struct sat_db_cached {
	uint64_t hash;
	sqlite3_stmt *stmt; /* NULL: free */
};

/* ---- result codes -------------------------------------------------------- */

static bool disk_is_full(sqlite3 *handle)
{
	int sys = handle == NULL ? 0 : sqlite3_system_errno(handle);

	return sys == ENOSPC || sys == EDQUOT;
}

static int map_code(sqlite3 *handle, int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return SAT_E_FULL;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return SAT_E_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return SAT_E_CORRUPT;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		/* A full disk shows up here when the wal-index must grow. */
		return disk_is_full(handle) ? SAT_E_FULL : SAT_E_IO;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return SAT_E_IO;
	case SQLITE_NOMEM:
		return SAT_E_NOMEM;
	case SQLITE_TOOBIG:
		return SAT_E_LIMIT;
	case SQLITE_INTERRUPT:
		return SAT_E_CLOSED;
	case SQLITE_AUTH:
		return SAT_E_DENIED;
	case SQLITE_CONSTRAINT:
		return code == SQLITE_CONSTRAINT_UNIQUE ||
				       code == SQLITE_CONSTRAINT_PRIMARYKEY ||
				       code == SQLITE_CONSTRAINT_ROWID
			       ? SAT_E_EXISTS
			       : SAT_E_INVAL;
	default:
		return SAT_E_INVAL;
	}
}

int sat_db_fail(struct sat_db *db, int sqlite_rc, const char *op,
		struct sat_err *err)
{
	return sat_err_set(err, map_code(db->handle, sqlite_rc), sqlite_rc, op,
			   "%s",
			   db->handle == NULL ? sqlite3_errstr(sqlite_rc)
					      : sqlite3_errmsg(db->handle));
}

/* ---- statements ---------------------------------------------------------- */

void sat_db_close(struct sat_db *db)
{
	sat_db_forget(db);
	free(db->cache);
	/* v2: a statement somebody else still holds delays, never leaks. */
	(void)sqlite3_close_v2(db->handle);
	*db = (struct sat_db){ 0 };
}

void sat_db_forget(struct sat_db *db)
{
	for (uint32_t i = 0; i < db->cap; i++) {
		(void)sqlite3_finalize(db->cache[i].stmt);
		db->cache[i] = (struct sat_db_cached){ 0 };
	}
	memset(db->recent, 0, sizeof db->recent);
	db->count = 0;
}

static uint64_t hash_text(const char *text)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *text != '\0'; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
	return h;
}

static void cache_insert(struct sat_db_cached *cache, uint32_t cap,
			 struct sat_db_cached entry)
{
	uint32_t at = (uint32_t)entry.hash & (cap - 1);

	while (cache[at].stmt != NULL)
		at = (at + 1) & (cap - 1);
	cache[at] = entry;
}

/* Room for one more at a load of at most two thirds. */
static int cache_grow(struct sat_db *db, struct sat_err *err)
{
	uint32_t cap = db->cap == 0 ? 64 : db->cap * 2;
	struct sat_db_cached *cache;

	if (db->count >= SAT_DB_STATEMENTS_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "db_stmt",
				   "more than %d prepared statements",
				   SAT_DB_STATEMENTS_MAX);
	if (db->count + 1 <= db->cap / 3 * 2)
		return SAT_OK;
	cache = calloc(cap, sizeof *cache);
	if (cache == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "db_stmt",
				   "out of memory");
	for (uint32_t i = 0; i < db->cap; i++) {
		if (db->cache[i].stmt != NULL)
			cache_insert(cache, cap, db->cache[i]);
	}
	free(db->cache);
	db->cache = cache;
	db->cap = cap;
	return SAT_OK;
}

static sqlite3_stmt *cache_find(const struct sat_db *db, const char *sql,
				uint64_t hash)
{
	uint32_t at = (uint32_t)hash & (db->cap - 1);

	if (db->cap == 0)
		return NULL;
	for (; db->cache[at].stmt != NULL; at = (at + 1) & (db->cap - 1)) {
		if (db->cache[at].hash == hash &&
		    !sqlite3_stmt_busy(db->cache[at].stmt) &&
		    strcmp(sqlite3_sql(db->cache[at].stmt), sql) == 0)
			return db->cache[at].stmt;
	}
	return NULL;
}

static struct sat_db_recent *recent_of(struct sat_db *db, const char *sql)
{
	return &db->recent[(uintptr_t)sql / 8 & (SAT_DB_RECENT - 1)];
}

/* The same address is mostly, but not surely, the same text. */
static sqlite3_stmt *find_stmt(struct sat_db *db, const char *sql,
			       uint64_t *ret_hash)
{
	struct sat_db_recent *recent = recent_of(db, sql);
	sqlite3_stmt *found = recent->stmt;

	if (recent->sql == sql && found != NULL && !sqlite3_stmt_busy(found) &&
	    strcmp(sqlite3_sql(found), sql) == 0)
		return found;
	*ret_hash = hash_text(sql);
	found = cache_find(db, sql, *ret_hash);
	if (found != NULL)
		*recent = (struct sat_db_recent){ sql, found };
	return found;
}

int sat_db_stmt(struct sat_db *db, const char *sql, struct sqlite3_stmt **ret,
		struct sat_err *err)
{
	struct sat_db_cached entry = { .hash = 0 };
	sqlite3_stmt *found = find_stmt(db, sql, &entry.hash);
	int rc, code;

	*ret = NULL;
	if (found != NULL) {
		sat_db_reset(found);
		*ret = found;
		return SAT_OK;
	}
	rc = cache_grow(db, err);
	if (rc != SAT_OK)
		return rc;
	code = sqlite3_prepare_v3(db->handle, sql, -1,
				  SQLITE_PREPARE_PERSISTENT, &entry.stmt, NULL);
	if (code != SQLITE_OK)
		return sat_db_fail(db, code, "db_prepare", err);
	if (entry.stmt == NULL)
		return sat_err_set(err, SAT_E_INVAL, 0, "db_prepare",
				   "empty statement");
	cache_insert(db->cache, db->cap, entry);
	db->count++;
	*ret = entry.stmt;
	return SAT_OK;
}

static int bind_one(sqlite3_stmt *st, int at, const struct sat_value *v)
{
	/* A NULL pointer would bind NULL, and empty is not NULL. */
	const void *p;

	switch (v->kind) {
	case SAT_INT:
		return sqlite3_bind_int64(st, at, v->i);
	case SAT_REAL:
		return sqlite3_bind_double(st, at, v->r);
	case SAT_TEXT:
		p = v->s.len == 0 ? (const void *)"" : v->s.ptr;
		return sqlite3_bind_text64(st, at, p, v->s.len, SQLITE_STATIC,
					   SQLITE_UTF8);
	case SAT_BLOB:
		p = v->s.len == 0 ? (const void *)"" : v->s.ptr;
		return sqlite3_bind_blob64(st, at, p, v->s.len, SQLITE_STATIC);
	case SAT_NULL:
		break;
	}
	return sqlite3_bind_null(st, at);
}

int sat_db_bind(struct sat_db *db, struct sqlite3_stmt *st, int first,
		const struct sat_value *values, int n, struct sat_err *err)
{
	int code;

	for (int i = 0; i < n; i++) {
		code = bind_one(st, first + i, &values[i]);
		if (code != SQLITE_OK) {
			/* Reset first would replace the message. */
			(void)sat_db_fail(db, code, "db_bind", err);
			sat_db_reset(st);
			return err->rc;
		}
	}
	return SAT_OK;
}

struct sat_value sat_db_column(struct sqlite3_stmt *st, int column)
{
	struct sat_value v = { .kind = SAT_NULL };

	switch (sqlite3_column_type(st, column)) {
	case SQLITE_INTEGER:
		v.kind = SAT_INT;
		v.i = sqlite3_column_int64(st, column);
		break;
	case SQLITE_FLOAT:
		v.kind = SAT_REAL;
		v.r = sqlite3_column_double(st, column);
		break;
	case SQLITE_TEXT:
	case SQLITE_BLOB:
		v.kind = sqlite3_column_type(st, column) == SQLITE_TEXT
				 ? SAT_TEXT
				 : SAT_BLOB;
		v.s.ptr = sqlite3_column_blob(st, column);
		v.s.len = v.s.ptr == NULL
				  ? 0
				  : (size_t)sqlite3_column_bytes(st, column);
		break;
	default:
		break;
	}
	return v;
}

bool sat_db_column_id(struct sqlite3_stmt *st, int column, struct sat_id *ret)
{
	struct sat_value v = sat_db_column(st, column);

	*ret = (struct sat_id){ { 0 } };
	if (v.kind != SAT_BLOB || v.s.len != sizeof ret->b)
		return false;
	memcpy(ret->b, v.s.ptr, sizeof ret->b);
	return true;
}

void sat_db_reset(struct sqlite3_stmt *st)
{
	if (st == NULL)
		return;
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

int sat_db_step(struct sat_db *db, struct sqlite3_stmt *st, bool *ret_row,
		struct sat_err *err)
{
	int code = sqlite3_step(st);
	int rc = SAT_OK;

	if (code == SQLITE_ROW) {
		*ret_row = true;
		return SAT_OK;
	}
	/* The message must be read before the reset. */
	if (code != SQLITE_DONE)
		rc = sat_db_fail(db, code, "db_step", err);
	else
		*ret_row = false;
	sat_db_reset(st);
	return rc;
}

int sat_db_run(struct sat_db *db, struct sqlite3_stmt *st, struct sat_err *err)
{
	bool row;
	int rc;

	do {
		rc = sat_db_step(db, st, &row, err);
	} while (rc == SAT_OK && row);
	return rc;
}

int sat_db_do(struct sat_db *db, const char *sql,
	      const struct sat_value *values, int n, struct sat_err *err)
{
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_stmt(db, sql, &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(db, st, 1, values, n, err);
	return rc == SAT_OK ? sat_db_run(db, st, err) : rc;
}

int sat_db_find(struct sat_db *db, const char *sql,
		const struct sat_value *values, int n,
		struct sqlite3_stmt **ret, struct sat_err *err)
{
	sqlite3_stmt *st;
	bool row = false;
	int rc;

	rc = sat_db_stmt(db, sql, &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(db, st, 1, values, n, err);
	if (rc == SAT_OK)
		rc = sat_db_step(db, st, &row, err);
	if (rc == SAT_OK)
		*ret = row ? st : NULL;
	return rc;
}

int sat_db_exec(struct sat_db *db, const char *sql, struct sat_err *err)
{
	int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? SAT_OK
				 : sat_db_fail(db, code, "db_exec", err);
}

int sat_db_int(struct sat_db *db, const char *sql, int64_t missing,
	       int64_t *ret, struct sat_err *err)
{
	sqlite3_stmt *st = NULL;
	int code, rc = SAT_OK;

	code = sqlite3_prepare_v2(db->handle, sql, -1, &st, NULL);
	if (code != SQLITE_OK)
		return sat_db_fail(db, code, "db_prepare", err);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_type(st, 0) == SQLITE_NULL
			       ? missing
			       : sqlite3_column_int64(st, 0);
	else if (code == SQLITE_DONE)
		*ret = missing;
	else
		rc = sat_db_fail(db, code, "db_step", err);
	(void)sqlite3_finalize(st);
	return rc;
}

/* ---- transactions and upkeep --------------------------------------------- */

int sat_db_begin(struct sat_db *db, struct sat_err *err)
{
	return sat_db_do(db, "BEGIN IMMEDIATE", NULL, 0, err);
}

int sat_db_commit(struct sat_db *db, struct sat_err *err)
{
	int rc = sat_db_do(db, "COMMIT", NULL, 0, err);

	if (rc != SAT_OK)
		sat_db_rollback(db);
	return rc;
}

void sat_db_rollback(struct sat_db *db)
{
	/* After FULL or IOERR SQLite may have rolled back by itself. */
	if (sat_db_in_txn(db))
		(void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

bool sat_db_in_txn(const struct sat_db *db)
{
	return db->handle != NULL && sqlite3_get_autocommit(db->handle) == 0;
}

int sat_db_checkpoint(struct sat_db *db, bool truncate, int wait_ms,
		      int *ret_left, struct sat_err *err)
{
	int log = 0, moved = 0;
	int before = 0, code;
	int64_t wait = 0;
	int rc;

	rc = sat_db_int(db, "PRAGMA busy_timeout", 0, &wait, err);
	if (rc != SAT_OK)
		return rc;
	before = (int)wait;
	(void)sqlite3_busy_timeout(db->handle, wait_ms);
	code = sqlite3_wal_checkpoint_v2(db->handle, "main",
					 truncate ? SQLITE_CHECKPOINT_TRUNCATE
						  : SQLITE_CHECKPOINT_PASSIVE,
					 &log, &moved);
	if (code != SQLITE_OK)
		rc = sat_db_fail(db, code, "db_checkpoint", err);
	else /* PASSIVE returns OK having moved less than everything */
		*ret_left = log > moved ? log - moved : 0;
	(void)sqlite3_busy_timeout(db->handle, before);
	return rc;
}
