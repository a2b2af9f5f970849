/* sqlite_store.h - what the files of the SQLite store share; nobody else
 * includes this. Layout of the database: sqlite_schema.c.
 */
#ifndef SAT_SQLITE_STORE_H
#define SAT_SQLITE_STORE_H

#include "common/db.h"
#include "server/store/store.h"

enum {
	SAT_STORE_APPLICATION = 0x53415453, /* "SATS" */
	SAT_STORE_VERSION = 1,
	SAT_STORE_LEVELS = 4, /* the transaction and nested savepoints */
	SAT_STORE_SQL_MAX = 64 * 1024,
};

struct sqlite3_stmt;

/* Statements of one business table, in the order of sqlite_row.c; owned by
 * the cache of struct sat_db. */
struct sat_table_sql {
	struct sqlite3_stmt *get, *at, *insert, *update;
};

struct sat_digest_sum {
	bool used;
	uint32_t scope;
	uint32_t role;
	struct sat_hash sum;
	int64_t rows;
};

/* What one open transaction or savepoint would lose if it were undone and
 * that is not in the database file: sums not yet written, catalogue. */
struct sat_store_level {
	const struct sat_catalogue *catalogue; /* when the level began */
	struct sat_digest_sum *sums; /* open addressing, cap a power of 2 */
	uint32_t count, cap;
};

struct sat_store {
	struct sat_db db;
	bool writer;
	bool writing;          /* between begin and commit or rollback */
	bool snapshot;         /* between snapshot_begin and snapshot_end */
	bool report_functions; /* report_sqlite.c has added its own */
	bool sums;             /* rows have one: sqlite_sum.c */
	int depth;             /* open levels; 1: the transaction alone */
	int wal_pages;         /* in the WAL after the last commit */
	struct sat_store_level levels[SAT_STORE_LEVELS];
	const struct sat_catalogue *catalogue; /* one of catalogues, or NULL */
	struct sat_catalogue **catalogues; /* all loaded; freed when closing,
					      so that tables stay valid      */
	uint32_t catalogue_count;
	struct sat_table_sql *tables; /* one per table of catalogue */
};

/* Internal tables: run when the file is made. */
extern const char sat_store_schema[];
/* What came later: run whenever a writer opens; changes nothing the second
 * time (sqlite_rights.c). */
extern const char sat_store_later_schema[];

/* SAT_OK, or SAT_E_INVAL when no transaction is open for writing. */
int sat_store_may_write(struct sat_store *s, struct sat_err *err);

/* Pass rc through; when it means that the disk or memory failed, the whole
 * transaction is rolled back first, whatever SQLite left of it. */
int sat_store_wrote(struct sat_store *s, int rc);

/* may_write + sat_db_do + wrote. */
int sat_store_do(struct sat_store *s, const char *sql,
		 const struct sat_value *values, int n,
		 struct sat_err *err) SAT_MUST_CHECK;

/* Load the stored catalogue when its version is not the current one. */
int sat_store_catalogue_load(struct sat_store *s,
			     struct sat_err *err) SAT_MUST_CHECK;
/* Make c (NULL: none) the current one; *tables are found again. */
void sat_store_catalogue_use(struct sat_store *s,
			     const struct sat_catalogue *c);

/* Files made before there was one get the index of deleted rows; a writer
 * that opens calls it. */
int sat_store_dead_indexes(struct sat_store *s,
			   struct sat_err *err) SAT_MUST_CHECK;

/* Does the file hold sums of rows? A writer adds them to one of before. */
int sat_store_sums(struct sat_store *s, struct sat_err *err) SAT_MUST_CHECK;
/* The sum of a row with its packed places. */
uint64_t sat_row_sum(const struct sat_table *t,
		     const struct sat_stored_row *row, struct sat_slice places);

/* Append formatted text to SQL under construction. */
int sat_sql_add(struct sat_buf *b, struct sat_err *err, const char *fmt, ...)
	SAT_PRINTF(3, 4) SAT_MUST_CHECK;
/* End it with a NUL and give it out; lives as long as b. */
int sat_sql_end(struct sat_buf *b, const char **ret,
		struct sat_err *err) SAT_MUST_CHECK;

/* Packed places of a row (sqlite_places.c). SAT_OK, SAT_E_NOMEM,
 * SAT_E_LIMIT; unpacking also SAT_E_CORRUPT; it fills places and place_count
 * from the arena. */
int sat_places_pack(const struct sat_stored_row *row,
		    struct sat_buf *out) SAT_MUST_CHECK;
int sat_places_unpack(struct sat_slice in, uint64_t row_seq,
		      struct sat_arena *a,
		      struct sat_stored_row *ret) SAT_MUST_CHECK;

/* Digest sums: write the transaction's into the file; forget a level's; add
 * the innermost level's to the one below. */
int sat_store_digest_flush(struct sat_store *s,
			   struct sat_err *err) SAT_MUST_CHECK;
void sat_store_digest_clear(struct sat_store_level *level);
int sat_store_digest_fold(struct sat_store *s,
			  struct sat_err *err) SAT_MUST_CHECK;

/* Copy a text column into a fixed buffer, cut at a whole character. */
void sat_store_text(struct sqlite3_stmt *st, int column, char *out, size_t cap);
/* Copy exactly n bytes of a blob column; zeros when it has another length. */
void sat_store_bytes(struct sqlite3_stmt *st, int column, uint8_t *out,
		     size_t n);

#endif
