/* db.h - small helpers over SQLite, shared by a device's replica and the
 * server's store: opening a file of ours and refusing any other, a cache of
 * prepared statements, values in and out, and one mapping of result codes.
 *
 * A handle belongs to one thread at a time. It knows nothing of tables.
 *
 * Result codes, everywhere in this file:
 *   SAT_E_FULL     disk full (or quota): the statement, and often the whole
 *                  transaction, is gone; sat_db_in_txn tells
 *   SAT_E_BUSY     another connection holds the lock longer than the wait
 *   SAT_E_CORRUPT  damaged, or not a database at all
 *   SAT_E_IO       the disk failed, or the file may not be opened or written
 *   SAT_E_EXISTS   a UNIQUE or PRIMARY KEY rule; SAT_E_INVAL every other
 *                  constraint (err->msg holds a trigger's own sentence) and
 *                  SQL that does not compile; SAT_E_LIMIT too big;
 *                  SAT_E_DENIED an authorizer said no; SAT_E_CLOSED
 *                  interrupted; SAT_E_NOMEM
 */
#ifndef SAT_DB_H
#define SAT_DB_H

#include "common/value.h"

struct sqlite3;
struct sqlite3_stmt;
struct sat_db_cached;

enum {
	SAT_DB_STATEMENTS_MAX = 4096,
	SAT_DB_BUSY_MS = 5000,
	SAT_DB_RECENT = 64, /* a power of 2 */
};

/* A text that was asked for from that address lately: its statement is found
 * without hashing the text. */
struct sat_db_recent {
	const char *sql;
	struct sqlite3_stmt *stmt;
};

/* How to open. Zero means the default everywhere. */
struct sat_db_options {
	const char *path; /* borrowed                                      */
	const char *what; /* for messages, such as "server database"       */
	uint32_t application_id; /* what a file of this kind carries       */
	uint32_t version;        /* the latest user_version we know; a later one
				    gives SAT_E_NEWER and leaves the file as it is */
	const char *schema; /* create: SQL run in the transaction that makes
			       the file; may be NULL                        */
	const char *vfs;    /* name of a VFS, NULL: the system's             */
	bool create;        /* make it; a file with content: SAT_E_EXISTS    */
	bool readonly;
	bool keep_wal; /* do not checkpoint when closing                */
	int busy_ms;   /* wait for locks; 0: SAT_DB_BUSY_MS             */
	int checkpoint_pages; /* automatic checkpoints; 0: none             */
	int cache_kib;        /* page cache; 0: SQLite's default            */
};

/* Fields are readable by anyone, written by db.c alone. */
struct sat_db {
	struct sqlite3 *handle;
	struct sat_db_cached *cache; /* open addressing, cap a power of 2    */
	uint32_t count, cap;
	struct sat_db_recent recent[SAT_DB_RECENT];
	uint32_t version; /* user_version found in the file                  */
};

/* Open or create: WAL, synchronous FULL, no mmap, untrusted schema. The
 * header is judged before anything is written.
 *
 * *db is zeroed or filled completely. Returns SAT_OK; SAT_E_NOTFOUND (no such
 * file, or folder), SAT_E_EXISTS (create), SAT_E_NEWER, SAT_E_CORRUPT (not a
 * file of this kind), and the codes above, each with a sentence. */
int sat_db_open(struct sat_db *db, const struct sat_db_options *o,
		struct sat_err *err) SAT_MUST_CHECK;

/* Finalize what is cached and close. Safe on a zeroed struct and twice. */
void sat_db_close(struct sat_db *db);

/* Translate an SQLITE_* code, with SQLite's message. Returns the sat_rc. */
int sat_db_fail(struct sat_db *db, int sqlite_rc, const char *op,
		struct sat_err *err);

/* ---- statements ---------------------------------------------------------- */

/* The cached statement of that text, reset and unbound; prepared when new.
 * When the cached one is being stepped (a callback asks for the same again)
 * another is prepared. Owned by db: call sat_db_reset when done with it. NULL
 * on failure. */
int sat_db_stmt(struct sat_db *db, const char *sql, struct sqlite3_stmt **ret,
		struct sat_err *err) SAT_MUST_CHECK;

/* Finalize everything that is cached: after tables were altered, before
 * sat_db_stmt pointers kept elsewhere go stale. */
void sat_db_forget(struct sat_db *db);

/* Bind n values to parameters first, first + 1, ... (from 1). Borrows text
 * and blobs until the statement is reset. */
int sat_db_bind(struct sat_db *db, struct sqlite3_stmt *st, int first,
		const struct sat_value *values, int n,
		struct sat_err *err) SAT_MUST_CHECK;

/* Result column (from 0) as a value. Text and blobs live until the next step
 * or reset. */
struct sat_value sat_db_column(struct sqlite3_stmt *st, int column);

/* The column as 16 bytes; zeros and false when it is anything else. */
bool sat_db_column_id(struct sqlite3_stmt *st, int column, struct sat_id *ret);

/* One step. *ret_row: a row is there; false: done, and reset. On failure the
 * statement is reset too. */
int sat_db_step(struct sat_db *db, struct sqlite3_stmt *st, bool *ret_row,
		struct sat_err *err) SAT_MUST_CHECK;

/* Reset and unbind; NULL is nothing. */
void sat_db_reset(struct sqlite3_stmt *st);

/* Step to the end, ignoring rows, then reset. */
int sat_db_run(struct sat_db *db, struct sqlite3_stmt *st,
	       struct sat_err *err) SAT_MUST_CHECK;

/* sat_db_stmt + sat_db_bind + sat_db_run. */
int sat_db_do(struct sat_db *db, const char *sql,
	      const struct sat_value *values, int n,
	      struct sat_err *err) SAT_MUST_CHECK;

/* sat_db_stmt + sat_db_bind + first step, for one-row lookups. *ret is NULL
 * when there is no row; else on its first row: read it, sat_db_reset it. */
int sat_db_find(struct sat_db *db, const char *sql,
		const struct sat_value *values, int n,
		struct sqlite3_stmt **ret, struct sat_err *err) SAT_MUST_CHECK;

/* One or more statements without parameters; not cached. */
int sat_db_exec(struct sat_db *db, const char *sql,
		struct sat_err *err) SAT_MUST_CHECK;

/* First column of the first row of a query; `missing` when it has no row or
 * the column is NULL. */
int sat_db_int(struct sat_db *db, const char *sql, int64_t missing,
	       int64_t *ret, struct sat_err *err) SAT_MUST_CHECK;

/* ---- transactions -------------------------------------------------------- */

/* BEGIN IMMEDIATE. (A transaction that reads first and writes later may fail
 * at once with BUSY_SNAPSHOT, whatever the wait.) */
int sat_db_begin(struct sat_db *db, struct sat_err *err) SAT_MUST_CHECK;

/* On failure the transaction is rolled back, if it is still there. */
int sat_db_commit(struct sat_db *db, struct sat_err *err) SAT_MUST_CHECK;

/* Rolls back if a transaction is open; keeps nothing. */
void sat_db_rollback(struct sat_db *db);

bool sat_db_in_txn(const struct sat_db *db);

/* ---- upkeep -------------------------------------------------------------- */

/* Move the WAL into the file: PASSIVE, or TRUNCATE (waits for readers up to
 * wait_ms). *ret_left: pages still only in the WAL. SAT_E_BUSY when readers
 * pin it. */
int sat_db_checkpoint(struct sat_db *db, bool truncate, int wait_ms,
		      int *ret_left, struct sat_err *err) SAT_MUST_CHECK;

#endif
