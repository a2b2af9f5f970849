/* Rows of business tables, as programs see them. */
#include "client/replica/internal.h"

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "replica_read",
			   "out of memory");
}

int sat_typed_read(struct sat_replica *r, struct sat_arena *a,
		   const struct sat_table *t, const struct sat_id *id,
		   struct sat_value **ret, bool *ret_found, int *ret_bad,
		   const char **ret_why, struct sat_err *err)
{
	struct sat_value *values =
		sat_arena_array(a, t->column_count, sizeof *values);
	char text[SAT_UUID_CHARS + 1];
	struct sat_value arg;
	sqlite3_stmt *st;
	const char *why;
	int rc;

	if (values == NULL)
		return no_memory(err);
	sat_id_format(id, text);
	arg = sat_bind_str(text);
	rc = sat_db_find(&r->db, r->sql[t->index].select, &arg, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	*ret = values;
	*ret_found = st != NULL;
	if (ret_bad != NULL)
		*ret_bad = -1;
	for (uint16_t i = 0; st != NULL && i < t->column_count; i++) {
		rc = sat_cell_read(a, &t->columns[i], st, i, &values[i], &why);
		if (rc == SAT_E_INVAL && ret_bad != NULL && *ret_bad < 0) {
			*ret_bad = i;
			*ret_why = why;
		}
		if (rc == SAT_E_NOMEM)
			break;
	}
	if (st != NULL)
		sat_db_reset(st);
	return rc == SAT_E_NOMEM ? no_memory(err) : SAT_OK;
}

int sat_typed_write(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id, const struct sat_value *values,
		    struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value arg;
	sqlite3_stmt *st;
	int code = SQLITE_OK, rc;

	rc = sat_guard(r, err);
	if (rc != SAT_OK)
		return rc;
	sat_id_format(id, text);
	arg = sat_bind_str(text);
	rc = sat_db_stmt(&r->db, r->sql[t->index].upsert, &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, &arg, 1, err);
	if (rc != SAT_OK)
		return rc;
	for (uint16_t i = 0; code == SQLITE_OK && i < t->column_count; i++)
		code = sat_cell_bind(&r->row, st, i + 2, &t->columns[i],
				     &values[i]);
	if (code != SQLITE_OK) {
		rc = sat_db_fail(&r->db, code, "replica_write", err);
		sat_db_reset(st);
		return rc;
	}
	return sat_db_run(&r->db, st, err);
}

int sat_typed_same(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const struct sat_value *values,
		   bool *ret, struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value arg;
	sqlite3_stmt *st;
	int rc;

	sat_id_format(id, text);
	arg = sat_bind_str(text);
	rc = sat_db_find(&r->db, r->sql[t->index].select, &arg, 1, &st, err);
	*ret = rc == SAT_OK && st != NULL;
	if (!*ret)
		return rc;
	for (uint16_t i = 0; *ret && i < t->column_count; i++)
		*ret = sat_cell_same(st, i, &t->columns[i], &values[i]);
	sat_db_reset(st);
	return SAT_OK;
}

int sat_typed_remove(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id, struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value arg;
	int rc = sat_guard(r, err);

	if (rc != SAT_OK)
		return rc;
	sat_id_format(id, text);
	arg = sat_bind_str(text);
	return sat_db_do(&r->db, r->sql[t->index].remove, &arg, 1, err);
}
