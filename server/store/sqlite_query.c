/* Read-only queries of reports and exports, and counts. */
#include "server/store/sqlite_store.h"

#include <stdlib.h>

#include <sqlite3.h>

enum { COLUMNS_MAX = 1000 };

static int each_row(struct sat_store *s, sqlite3_stmt *st, const char **names,
		    struct sat_value *values, int columns, sat_text_cb cb,
		    void *arg, struct sat_err *err)
{
	bool more = true;
	int rc;

	for (int i = 0; i < columns; i++) {
		names[i] = sqlite3_column_name(st, i);
		if (names[i] == NULL)
			return sat_err_set(err, SAT_E_NOMEM, 0, "store_query",
					   "out of memory");
	}
	for (;;) {
		rc = sat_db_step(&s->db, st, &more, err);
		if (rc != SAT_OK || !more)
			return rc;
		for (int i = 0; i < columns; i++)
			values[i] = sat_db_column(st, i);
		rc = cb(arg, columns, names, values);
		if (rc != SAT_OK)
			return rc;
	}
}

int sat_store_count(struct sat_store *s, const struct sat_table *t,
		    uint64_t *ret_live, uint64_t *ret_deleted,
		    struct sat_err *err)
{
	sqlite3_stmt *st = NULL;
	struct sat_buf sql;
	const char *text;
	int rc;

	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = sat_sql_add(&sql, err,
			 "SELECT count(*), count(nullif(_flags & 2, 0))"
			 " FROM \"%s\"",
			 t->name);
	if (rc == SAT_OK)
		rc = sat_sql_end(&sql, &text, err);
	if (rc == SAT_OK)
		rc = sat_db_find(&s->db, text, NULL, 0, &st, err);
	if (rc == SAT_OK && st != NULL) {
		*ret_deleted = (uint64_t)sqlite3_column_int64(st, 1);
		*ret_live =
			(uint64_t)sqlite3_column_int64(st, 0) - *ret_deleted;
		sat_db_reset(st);
	}
	sat_buf_fini(&sql);
	return rc;
}

int sat_store_query(struct sat_store *s, const char *sql,
		    const struct sat_value *args, uint32_t arg_count,
		    sat_text_cb cb, void *arg, struct sat_err *err)
{
	struct sat_value *values = NULL;
	const char **names = NULL;
	sqlite3_stmt *st;
	int columns, rc;

	rc = sat_db_stmt(&s->db, sql, &st, err);
	if (rc != SAT_OK)
		return rc;
	columns = sqlite3_column_count(st);
	if (!sqlite3_stmt_readonly(st) || columns < 1 || columns > COLUMNS_MAX)
		return sat_err_set(err, SAT_E_INVAL, 0, "store_query",
				   "not a query");
	values = calloc((size_t)columns, sizeof *values);
	names = calloc((size_t)columns, sizeof *names);
	if (values == NULL || names == NULL)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "store_query",
				 "out of memory");
	if (rc == SAT_OK)
		rc = sat_db_bind(&s->db, st, 1, args, (int)arg_count, err);
	if (rc == SAT_OK)
		rc = each_row(s, st, names, values, columns, cb, arg, err);
	sat_db_reset(st);
	free(names);
	free(values);
	return rc;
}
