/* query.h - plain SQL on a replica, for the command line: through the same
 * triggers as any other program, without harvest, guard or network.
 *
 * Names, values and columns given to a callback are borrowed for its time.
 * Besides what is said below: SAT_E_BUSY when another program holds the write
 * lock longer than the wait, SAT_E_INVAL with SQLite's sentence (a refusal by
 * a trigger, SQL that does not compile), SAT_E_FULL, SAT_E_IO, SAT_E_CORRUPT.
 */
#ifndef SAT_REPLICA_QUERY_H
#define SAT_REPLICA_QUERY_H

#include "client/replica/replica.h"

enum { SAT_QUERY_COLUMNS_MAX = 2000 };

/* Anything but SAT_OK ends the query, which returns it as it is. */
typedef int (*sat_query_row_cb)(void *arg, const struct sat_value *values,
				int count, struct sat_err *err);

/* One statement with n parameters; row (may be NULL) gets what it yields. */
int sat_query(struct sat_replica *r, const char *sql,
	      const struct sat_value *args, int n, sat_query_row_cb row,
	      void *arg, struct sat_err *err) SAT_MUST_CHECK;

/* First column of the first row, NULL when there is none. Copied into a. */
int sat_query_value(struct sat_replica *r, struct sat_arena *a, const char *sql,
		    const struct sat_value *args, int n, struct sat_value *ret,
		    struct sat_err *err) SAT_MUST_CHECK;

struct sat_query_sink {
	/* A statement that has a result begins, and ends. */
	int (*begin)(void *arg, const char *const *names, int count,
		     struct sat_err *err);
	sat_query_row_cb row;
	int (*end)(void *arg, struct sat_err *err);
	void *arg;
};

/* Several statements, one after the other; each stands for itself unless the
 * text says BEGIN. A transaction that the text leaves open is rolled back:
 * SAT_E_INVAL. Stops at the first failure; what was done before it stays.
 * *ret_changes: rows inserted, changed and deleted, those by triggers not
 * counted; written on failure too. */
int sat_query_text(struct sat_replica *r, const char *sql,
		   const struct sat_query_sink *sink, uint64_t *ret_changes,
		   struct sat_err *err) SAT_MUST_CHECK;

/* One transaction around several sat_query; commit rolls back when it fails,
 * rollback when none is open does nothing. */
int sat_query_begin(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;
int sat_query_commit(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;
void sat_query_rollback(struct sat_replica *r);

/* The person whose device this is. */
struct sat_id sat_query_user(const struct sat_replica *r);

#endif
