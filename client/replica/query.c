#include "client/replica/query.h"

#include "client/replica/internal.h"

/* Values of the current row into the array; at most as many as it has. */
static void read_row(sqlite3_stmt *st, struct sat_value *values, int count)
{
	for (int i = 0; i < count; i++)
		values[i] = sat_db_column(st, i);
}

static int column_count(sqlite3_stmt *st, int *ret, struct sat_err *err)
{
	*ret = sqlite3_column_count(st);
	if (*ret > SAT_QUERY_COLUMNS_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "query",
				   "more than %d columns",
				   SAT_QUERY_COLUMNS_MAX);
	return SAT_OK;
}

/* Steps to the end; the statement is reset then, and after a failure. */
static int step_all(struct sat_replica *r, sqlite3_stmt *st,
		    sat_query_row_cb row, void *arg, struct sat_err *err)
{
	struct sat_value values[SAT_QUERY_COLUMNS_MAX];
	bool more = true;
	int count, rc = column_count(st, &count, err);

	while (rc == SAT_OK && more) {
		rc = sat_db_step(&r->db, st, &more, err);
		if (rc != SAT_OK || !more || row == NULL)
			continue;
		read_row(st, values, count);
		rc = row(arg, values, count, err);
	}
	sat_db_reset(st);
	return rc;
}

int sat_query(struct sat_replica *r, const char *sql,
	      const struct sat_value *args, int n, sat_query_row_cb row,
	      void *arg, struct sat_err *err)
{
	sqlite3_stmt *st;
	int rc = sat_db_stmt(&r->db, sql, &st, err);

	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, n, err);
	return rc == SAT_OK ? step_all(r, st, row, arg, err) : rc;
}

int sat_query_value(struct sat_replica *r, struct sat_arena *a, const char *sql,
		    const struct sat_value *args, int n, struct sat_value *ret,
		    struct sat_err *err)
{
	struct sat_value v;
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db, sql, args, n, &st, err);

	if (rc != SAT_OK)
		return rc;
	*ret = sat_value_null();
	if (st == NULL)
		return SAT_OK;
	v = sat_db_column(st, 0);
	rc = sat_value_copy(a, &v, ret);
	sat_db_reset(st);
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "query", "out of memory");
}

static int run_one(struct sat_replica *r, sqlite3_stmt *st,
		   const struct sat_query_sink *sink, struct sat_err *err)
{
	const char *names[SAT_QUERY_COLUMNS_MAX];
	int count, rc = column_count(st, &count, err);

	if (rc != SAT_OK || count == 0)
		return rc == SAT_OK ? step_all(r, st, NULL, NULL, err) : rc;
	for (int i = 0; i < count; i++) {
		names[i] = sqlite3_column_name(st, i);
		if (names[i] == NULL)
			return sat_err_set(err, SAT_E_NOMEM, 0, "query",
					   "out of memory");
	}
	rc = sink->begin(sink->arg, names, count, err);
	if (rc == SAT_OK)
		rc = step_all(r, st, sink->row, sink->arg, err);
	return rc == SAT_OK ? sink->end(sink->arg, err) : rc;
}

int sat_query_text(struct sat_replica *r, const char *sql,
		   const struct sat_query_sink *sink, uint64_t *ret_changes,
		   struct sat_err *err)
{
	int code, before, rc = SAT_OK;
	sqlite3_stmt *st;

	*ret_changes = 0;
	while (rc == SAT_OK && *sql != '\0') {
		st = NULL;
		code = sqlite3_prepare_v2(r->db.handle, sql, -1, &st, &sql);
		if (code != SQLITE_OK)
			rc = sat_db_fail(&r->db, code, "query", err);
		if (st == NULL)
			continue; /* a comment, or nothing */
		before = sqlite3_total_changes(r->db.handle);
		rc = run_one(r, st, sink, err);
		/* changes() keeps the count of an INSERT when a statement of
		 * another kind follows */
		if (sqlite3_total_changes(r->db.handle) != before)
			*ret_changes += (uint64_t)sqlite3_changes(r->db.handle);
		(void)sqlite3_finalize(st);
	}
	if (sat_db_in_txn(&r->db)) {
		sat_db_rollback(&r->db);
		if (rc == SAT_OK)
			rc = sat_err_set(err, SAT_E_INVAL, 0, "query",
					 "the text begins a transaction and "
					 "does not end it: rolled back");
	}
	return rc;
}

int sat_query_begin(struct sat_replica *r, struct sat_err *err)
{
	return sat_db_begin(&r->db, err);
}

int sat_query_commit(struct sat_replica *r, struct sat_err *err)
{
	return sat_db_commit(&r->db, err);
}

void sat_query_rollback(struct sat_replica *r)
{
	sat_db_rollback(&r->db);
}

struct sat_id sat_query_user(const struct sat_replica *r)
{
	return r->facts.user;
}
