/* Collecting deleted rows: what may go, its removal, and how far each replica
 * is. A row that was collected leaves its id in `_collected`: `verify` must
 * be able to tell it from one that was lost. */
#include "server/store/sqlite_store.h"

#include <sqlite3.h>

/* A statement that names a table; sat_db keeps it by its text. */
static int prepare(struct sat_store *s, struct sat_buf *sql, sqlite3_stmt **ret,
		   struct sat_err *err)
{
	const char *text;
	int rc = sat_sql_end(sql, &text, err);

	return rc == SAT_OK ? sat_db_stmt(&s->db, text, ret, err) : rc;
}

int sat_store_dead(struct sat_store *s, const struct sat_table *t,
		   uint64_t after, uint64_t upto, uint64_t *ret_seqs,
		   uint32_t most, uint32_t *ret_count, struct sat_err *err)
{
	struct sat_value v[3] = { sat_value_int((int64_t)after),
				  sat_value_int((int64_t)upto),
				  sat_value_int(most) };
	sqlite3_stmt *st = NULL;
	struct sat_buf sql;
	uint32_t n = 0;
	bool more = true;
	int rc;

	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = sat_sql_add(&sql, err,
			 "SELECT _seq FROM \"%s\" WHERE _flags & 2 <> 0 AND"
			 " _seq > ?1 AND _seq <= ?2 ORDER BY _seq LIMIT ?3",
			 t->name);
	if (rc == SAT_OK)
		rc = prepare(s, &sql, &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&s->db, st, 1, v, 3, err);
	while (rc == SAT_OK) {
		rc = sat_db_step(&s->db, st, &more, err);
		if (rc != SAT_OK || !more || n == most)
			break;
		ret_seqs[n++] = (uint64_t)sqlite3_column_int64(st, 0);
	}
	if (st != NULL)
		sat_db_reset(st);
	sat_buf_fini(&sql);
	*ret_count = n;
	return rc;
}

int sat_store_row_collect(struct sat_store *s, const struct sat_table *t,
			  const struct sat_stored_row *row, struct sat_err *err)
{
	struct sat_value v[3] = { sat_value_int(t->no), sat_value_id(&row->id),
				  sat_value_int((int64_t)row->seq) };
	struct sat_buf sql;
	const char *text;
	int rc = SAT_OK;

	SAT_ASSERT(row->deleted);
	for (uint32_t i = 0; rc == SAT_OK && i < row->place_count; i++)
		rc = sat_store_feed_remove(s, row->places[i].scope,
					   row->places[i].seq, err);
	if (rc == SAT_OK)
		rc = sat_store_do(s,
				  "INSERT OR REPLACE INTO _collected(tbl, id,"
				  " seq) VALUES(?1, ?2, ?3)",
				  v, 3, err);
	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = sat_sql_add(&sql, err, "DELETE FROM \"%s\" WHERE _seq = ?1",
			 t->name);
	if (rc == SAT_OK)
		rc = sat_sql_end(&sql, &text, err);
	if (rc == SAT_OK)
		rc = sat_store_do(s, text, &v[2], 1, err);
	sat_buf_fini(&sql);
	return rc;
}

int sat_store_floor(struct sat_store *s, uint64_t *ret_floor,
		    uint64_t *ret_rows, struct sat_err *err)
{
	int64_t floor, rows;
	int rc = sat_db_int(&s->db,
			    "SELECT value FROM _setting WHERE key = '_floor'",
			    0, &floor, err);

	if (rc == SAT_OK)
		rc = sat_db_int(&s->db,
				"SELECT value FROM _setting"
				" WHERE key = '_collected'",
				0, &rows, err);
	if (rc != SAT_OK)
		return rc;
	*ret_floor = (uint64_t)floor;
	*ret_rows = (uint64_t)rows;
	return SAT_OK;
}

int sat_store_floor_put(struct sat_store *s, uint64_t floor, uint64_t rows,
			struct sat_err *err)
{
	struct sat_value v[2] = { sat_value_int((int64_t)floor),
				  sat_value_int((int64_t)rows) };

	return sat_store_do(s,
			    "INSERT INTO _setting(key, value)"
			    " VALUES('_floor', ?1), ('_collected', ?2)"
			    " ON CONFLICT(key)"
			    " DO UPDATE SET value = excluded.value",
			    v, 2, err);
}

int sat_store_was_collected(struct sat_store *s, const struct sat_table *t,
			    const struct sat_id *id, bool *ret,
			    struct sat_err *err)
{
	struct sat_value v[2] = { sat_value_int(t->no), sat_value_id(id) };
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db,
			 "SELECT 1 FROM _collected WHERE tbl = ?1 AND id = ?2",
			 v, 2, &st, err);
	if (rc != SAT_OK)
		return rc;
	*ret = st != NULL;
	if (st != NULL)
		sat_db_reset(st);
	return SAT_OK;
}

int sat_store_has_child(struct sat_store *s, const struct sat_table *t,
			int column, const struct sat_id *id, bool *ret,
			struct sat_err *err)
{
	struct sat_value v = sat_value_id(id);
	sqlite3_stmt *st = NULL;
	struct sat_buf sql;
	bool found = false;
	int rc;

	SAT_ASSERT(column >= 0 && column < t->column_count);
	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = sat_sql_add(&sql, err,
			 "SELECT 1 FROM \"%s\" WHERE \"%s\" = ?1 AND"
			 " _flags & 2 = 0 LIMIT 1",
			 t->name, t->columns[column].name);
	if (rc == SAT_OK)
		rc = prepare(s, &sql, &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&s->db, st, 1, &v, 1, err);
	if (rc == SAT_OK)
		rc = sat_db_step(&s->db, st, &found, err);
	if (st != NULL)
		sat_db_reset(st);
	sat_buf_fini(&sql);
	*ret = found;
	return rc;
}

static int settled_sql(struct sat_buf *sql, const struct sat_table *t,
		       int state, const int at[3], struct sat_err *err)
{
	int rc = sat_sql_add(sql, err,
			     "SELECT id FROM \"%s\" WHERE _flags & 2 = 0 AND"
			     " \"%s\" <> ?1",
			     t->name, t->columns[state].name);

	for (int i = 0; rc == SAT_OK && i < 3; i++) {
		if (at[i] >= 0)
			rc = sat_sql_add(sql, err,
					 " AND coalesce(\"%s\", 0) < ?2",
					 t->columns[at[i]].name);
	}
	return rc == SAT_OK ? sat_sql_add(sql, err, " LIMIT ?3") : rc;
}

int sat_store_settled(struct sat_store *s, const struct sat_table *t, int state,
		      const char *open, const int at[3], int64_t before_ms,
		      struct sat_id *ret_ids, uint32_t most,
		      uint32_t *ret_count, struct sat_err *err)
{
	struct sat_value v[3] = { sat_value_text(sat_slice_str(open)),
				  sat_value_int(before_ms),
				  sat_value_int(most) };
	sqlite3_stmt *st = NULL;
	struct sat_buf sql;
	uint32_t n = 0;
	bool more = true;
	int rc;

	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = settled_sql(&sql, t, state, at, err);
	if (rc == SAT_OK)
		rc = prepare(s, &sql, &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&s->db, st, 1, v, 3, err);
	while (rc == SAT_OK) {
		rc = sat_db_step(&s->db, st, &more, err);
		if (rc != SAT_OK || !more || n == most)
			break;
		if (sat_db_column_id(st, 0, &ret_ids[n]))
			n++;
	}
	if (st != NULL)
		sat_db_reset(st);
	sat_buf_fini(&sql);
	*ret_count = n;
	return rc;
}

int sat_store_passed_put(struct sat_store *s, uint32_t replica,
			 const struct sat_passed *p, struct sat_err *err)
{
	struct sat_value v[5] = {
		sat_value_int(replica),
		sat_value_int((int64_t)p->epoch),
		sat_value_int((int64_t)p->settled),
		sat_value_int((int64_t)p->due_cursor),
		sat_value_int((int64_t)p->due_seq),
	};

	return sat_store_do(s,
			    "INSERT OR REPLACE INTO _passed(replica, epoch,"
			    " settled, due_cursor, due_seq)"
			    " VALUES(?1, ?2, ?3, ?4, ?5)",
			    v, 5, err);
}

int sat_store_passed_get(struct sat_store *s, uint32_t replica,
			 struct sat_passed *ret, struct sat_err *err)
{
	struct sat_value v = sat_value_int(replica);
	sqlite3_stmt *st;
	int rc;

	*ret = (struct sat_passed){ 0 };
	rc = sat_db_find(&s->db,
			 "SELECT epoch, settled, due_cursor, due_seq"
			 " FROM _passed WHERE replica = ?1",
			 &v, 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	ret->epoch = (uint64_t)sqlite3_column_int64(st, 0);
	ret->settled = (uint64_t)sqlite3_column_int64(st, 1);
	ret->due_cursor = (uint64_t)sqlite3_column_int64(st, 2);
	ret->due_seq = (uint64_t)sqlite3_column_int64(st, 3);
	sat_db_reset(st);
	return SAT_OK;
}
