/* Business rows: get, put, look up, page through. */
#include "server/store/report.h"
#include "server/store/sqlite_store.h"

#include <sqlite3.h>

enum {
	FLAG_HELD = 1,
	FLAG_DELETED = 2,
	/* Result columns and arguments before those of the table. */
	FIXED_COLUMNS = 7,
	ROW_BYTES_MAX = 256 * 1024 * 1024,
};

/* Columns as row_read expects them and row_put binds them. */
static const char fixed_columns[] =
	"_seq, id, _origin, _flags, _meta, _places, _sum";
/* A file of before that no writer has opened yet. */
static const char fixed_without_sum[] =
	"_seq, id, _origin, _flags, _meta, _places, NULL";

/* ---- reading ------------------------------------------------------------- */

static int fail(const struct sat_table *t, int rc, struct sat_err *err)
{
	return sat_err_set(err, rc, 0, "store_row", "table %s: %s", t->name,
			   rc == SAT_E_NOMEM   ? "out of memory"
			   : rc == SAT_E_LIMIT ? "a row is too large"
					       : "a row is damaged");
}

static bool is_sum(sqlite3_stmt *st, const struct sat_table *t,
		   const struct sat_stored_row *row, int64_t flags,
		   struct sat_slice places)
{
	struct sat_value sum = sat_db_column(st, 6);

	return sum.kind == SAT_INT &&
	       (flags & ~(int64_t)(FLAG_HELD | FLAG_DELETED)) == 0 &&
	       (uint64_t)sum.i == sat_row_sum(t, row, places);
}

/* The row under the statement, copied into the arena. */
static int row_read(struct sat_store *s, sqlite3_stmt *st,
		    const struct sat_table *t, struct sat_arena *a,
		    struct sat_stored_row *ret)
{
	struct sat_stored_row row = { 0 };
	struct sat_value *values, v;
	int64_t flags = sqlite3_column_int64(st, 3);
	bool whole;
	int rc;

	row.seq = (uint64_t)sqlite3_column_int64(st, 0);
	row.origin = (uint32_t)sqlite3_column_int64(st, 2);
	row.held = (flags & FLAG_HELD) != 0;
	row.deleted = (flags & FLAG_DELETED) != 0;
	v = sat_db_column(st, 4);
	if (!sat_db_column_id(st, 1, &row.id))
		return SAT_E_CORRUPT;
	whole = v.kind == SAT_BLOB;
	rc = whole ? sat_arena_copy(a, v.s, &row.meta) : SAT_OK;
	values = sat_arena_array(a, t->column_count, sizeof *values);
	if (rc == SAT_OK && values == NULL)
		rc = SAT_E_NOMEM;
	for (int i = 0; rc == SAT_OK && i < t->column_count; i++) {
		v = sat_db_column(st, FIXED_COLUMNS + i);
		rc = sat_value_copy(a, &v, &values[i]);
	}
	row.values = values;
	v = sat_db_column(st, 5);
	if (rc == SAT_OK)
		row.damaged = s->sums && !is_sum(st, t, &row, flags, v.s);
	if (rc == SAT_OK)
		rc = whole && v.kind == SAT_BLOB
			     ? sat_places_unpack(v.s, row.seq, a, &row)
			     : SAT_E_CORRUPT;
	if (rc == SAT_E_CORRUPT && row.damaged)
		rc = SAT_OK; /* without places: it is known to be damaged */
	if (rc == SAT_OK)
		*ret = row;
	return rc;
}

static int add_columns(struct sat_buf *sql, const struct sat_table *t,
		       const char *form, struct sat_err *err)
{
	int rc = SAT_OK;

	for (int i = 0; rc == SAT_OK && i < t->column_count; i++) {
		rc = sat_sql_add(sql, err, ", ");
		if (rc == SAT_OK)
			rc = sat_sql_add(sql, err, "\"%s\"%s",
					 t->columns[i].name, form);
	}
	return rc;
}

/* "SELECT ... FROM t WHERE <where>" */
static int select_sql(struct sat_store *s, struct sat_buf *sql,
		      const struct sat_table *t, const char *where,
		      struct sat_err *err)
{
	int rc = sat_sql_add(sql, err, "SELECT %s",
			     s->sums ? fixed_columns : fixed_without_sum);

	if (rc == SAT_OK)
		rc = add_columns(sql, t, "", err);
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err, " FROM \"%s\" WHERE %s", t->name,
				 where);
	return rc;
}

/* Take the statement from its slot, or make it from `build`. */
static int take(struct sat_store *s, const struct sat_table *t,
		sqlite3_stmt **slot,
		int (*build)(struct sat_store *s, struct sat_buf *sql,
			     const struct sat_table *t, const char *where,
			     struct sat_err *err),
		const char *where, struct sat_err *err)
{
	struct sat_buf sql;
	const char *text;
	int rc;

	if (*slot != NULL)
		return SAT_OK;
	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = build(s, &sql, t, where, err);
	if (rc == SAT_OK)
		rc = sat_sql_end(&sql, &text, err);
	if (rc == SAT_OK)
		rc = sat_db_stmt(&s->db, text, slot, err);
	sat_buf_fini(&sql);
	return rc;
}

/* The statements of t. A table of another catalogue version would bind the
 * wrong columns: that is refused. */
static struct sat_table_sql *
table_sql(struct sat_store *s, const struct sat_table *t, struct sat_err *err)
{
	const struct sat_table *own =
		s->catalogue == NULL
			? NULL
			: sat_catalogue_table_no(s->catalogue, t->no);

	if (own == NULL || own->column_count != t->column_count) {
		(void)sat_err_set(err, SAT_E_INVAL, 0, "store_row",
				  "table %s is of another catalogue version",
				  t->name);
		return NULL;
	}
	return &s->tables[own->index];
}

/* First row of a prepared lookup by one value, into the arena. */
static int read_one(struct sat_store *s, sqlite3_stmt *st,
		    const struct sat_table *t, const struct sat_value *key,
		    struct sat_arena *a, struct sat_stored_row *ret,
		    struct sat_err *err)
{
	bool found;
	int rc;

	rc = sat_db_bind(&s->db, st, 1, key, 1, err);
	if (rc == SAT_OK)
		rc = sat_db_step(&s->db, st, &found, err);
	if (rc != SAT_OK)
		return rc;
	if (!found) {
		*ret = (struct sat_stored_row){ 0 };
		return SAT_OK;
	}
	rc = row_read(s, st, t, a, ret);
	sat_db_reset(st);
	return rc == SAT_OK ? SAT_OK : fail(t, rc, err);
}

int sat_store_row_get(struct sat_store *s, const struct sat_table *t,
		      const struct sat_id *id, struct sat_arena *a,
		      struct sat_stored_row *ret, struct sat_err *err)
{
	struct sat_table_sql *sql = table_sql(s, t, err);
	struct sat_value key = sat_value_id(id);
	int rc;

	if (sql == NULL)
		return err->rc;
	rc = take(s, t, &sql->get, select_sql, "id = ?1", err);
	if (rc == SAT_OK)
		rc = read_one(s, sql->get, t, &key, a, ret, err);
	return rc;
}

int sat_store_row_at(struct sat_store *s, const struct sat_table *t,
		     uint64_t seq, struct sat_arena *a,
		     struct sat_stored_row *ret, struct sat_err *err)
{
	struct sat_table_sql *sql = table_sql(s, t, err);
	struct sat_value key = sat_value_int((int64_t)seq);
	int rc;

	if (sql == NULL)
		return err->rc;
	rc = take(s, t, &sql->at, select_sql, "_seq = ?1", err);
	if (rc == SAT_OK)
		rc = read_one(s, sql->at, t, &key, a, ret, err);
	return rc;
}

static int scan_sql(struct sat_store *s, const struct sat_table *t, int column,
		    struct sat_buf *sql, struct sat_err *err)
{
	int rc;

	/* The largest _seq at the start ends the scan: rows that the callback
	 * moves to the tail are not met again. With a column, the plus keeps
	 * the planner on that column's index. */
	rc = select_sql(s, sql, t, column < 0 ? "_seq <= ?1" : "+_seq <= ?1",
			err);
	if (rc == SAT_OK && column >= 0)
		rc = sat_sql_add(sql, err, " AND \"%s\" = ?2",
				 t->columns[column].name);
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err, " ORDER BY _seq");
	return rc;
}

static int last_seq(struct sat_store *s, const struct sat_table *t,
		    struct sat_value *ret, struct sat_err *err)
{
	struct sat_buf sql;
	const char *text;
	int64_t last;
	int rc;

	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = sat_sql_add(&sql, err, "SELECT max(_seq) FROM \"%s\"", t->name);
	if (rc == SAT_OK)
		rc = sat_sql_end(&sql, &text, err);
	if (rc == SAT_OK)
		rc = sat_db_int(&s->db, text, 0, &last, err);
	if (rc == SAT_OK)
		*ret = sat_value_int(last);
	sat_buf_fini(&sql);
	return rc;
}

static int scan(struct sat_store *s, sqlite3_stmt *st,
		const struct sat_table *t, sat_row_cb cb, void *arg,
		struct sat_err *err)
{
	struct sat_stored_row row;
	struct sat_arena a;
	bool more = true;
	int rc = SAT_OK;

	sat_arena_init(&a, ROW_BYTES_MAX);
	while (rc == SAT_OK) {
		rc = sat_db_step(&s->db, st, &more, err);
		if (rc != SAT_OK || !more)
			goto out;
		sat_arena_reset(&a);
		rc = row_read(s, st, t, &a, &row);
		if (rc != SAT_OK)
			(void)fail(t, rc, err);
		else
			rc = cb(arg, t, &row);
	}
	sat_db_reset(st);
out:
	sat_arena_fini(&a);
	return rc;
}

int sat_store_rows(struct sat_store *s, const struct sat_table *t, int column,
		   const struct sat_value *value, sat_row_cb cb, void *arg,
		   struct sat_err *err)
{
	struct sat_value args[2] = { { .kind = SAT_NULL } };
	struct sat_buf sql;
	sqlite3_stmt *st;
	const char *text;
	int rc;

	SAT_ASSERT(column < t->column_count);
	if (table_sql(s, t, err) == NULL)
		return err->rc;
	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = last_seq(s, t, &args[0], err);
	if (rc == SAT_OK)
		rc = scan_sql(s, t, column, &sql, err);
	if (rc == SAT_OK)
		rc = sat_sql_end(&sql, &text, err);
	if (rc == SAT_OK)
		rc = sat_db_stmt(&s->db, text, &st, err);
	if (rc == SAT_OK) {
		if (column >= 0)
			args[1] = *value;
		rc = sat_db_bind(&s->db, st, 1, args, column >= 0 ? 2 : 1, err);
	}
	if (rc == SAT_OK)
		rc = scan(s, st, t, cb, arg, err);
	sat_buf_fini(&sql);
	return rc;
}

/* The page's callback, and where the page ended. */
struct page {
	sat_row_cb cb;
	void *arg;
	uint64_t last;
	uint32_t count;
};

static int on_page_row(void *arg, const struct sat_table *t,
		       const struct sat_stored_row *row)
{
	struct page *p = arg;

	p->last = row->seq;
	p->count++;
	return p->cb(p->arg, t, row);
}

static int page_of(struct sat_store *s, const struct sat_table *t,
		   const char *where, uint64_t after, uint32_t limit,
		   sat_row_cb cb, void *arg, uint64_t *ret_next,
		   struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int((int64_t)after),
				     sat_value_int(limit) };
	struct page page = { .cb = cb, .arg = arg };
	sqlite3_stmt *st = NULL;
	int rc;

	if (table_sql(s, t, err) == NULL)
		return err->rc;
	rc = take(s, t, &st, select_sql, where, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&s->db, st, 1, args, 2, err);
	if (rc == SAT_OK)
		rc = scan(s, st, t, on_page_row, &page, err);
	if (rc == SAT_OK)
		*ret_next = page.count == limit ? page.last : 0;
	return rc;
}

int sat_export_page(struct sat_store *s, const struct sat_table *t,
		    uint64_t after, uint32_t limit, sat_row_cb cb, void *arg,
		    uint64_t *ret_next, struct sat_err *err)
{
	return page_of(s, t,
		       "_seq > ?1 AND _flags & 2 = 0 ORDER BY _seq LIMIT ?2",
		       after, limit, cb, arg, ret_next, err);
}

int sat_store_rows_after(struct sat_store *s, const struct sat_table *t,
			 uint64_t after, uint32_t limit, sat_row_cb cb,
			 void *arg, uint64_t *ret_next, struct sat_err *err)
{
	return page_of(s, t, "_seq > ?1 ORDER BY _seq LIMIT ?2", after, limit,
		       cb, arg, ret_next, err);
}

/* ---- writing ------------------------------------------------------------- */

static int insert_sql(struct sat_store *s, struct sat_buf *sql,
		      const struct sat_table *t, const char *unused,
		      struct sat_err *err)
{
	int rc;

	(void)s;
	(void)unused;
	rc = sat_sql_add(sql, err, "INSERT INTO \"%s\"(%s", t->name,
			 fixed_columns);
	if (rc == SAT_OK)
		rc = add_columns(sql, t, "", err);
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err, ") VALUES(?, ?, ?, ?, ?, ?, ?");
	for (int i = 0; rc == SAT_OK && i < t->column_count; i++)
		rc = sat_sql_add(sql, err, ", ?");
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err, ")");
	return rc;
}

/* Arguments in the order of the insert, then the old _seq. The id is a
 * condition, not a change: an untouched index is not rewritten. */
static int update_sql(struct sat_store *s, struct sat_buf *sql,
		      const struct sat_table *t, const char *unused,
		      struct sat_err *err)
{
	int rc;

	(void)s;
	(void)unused;
	rc = sat_sql_add(sql, err,
			 "UPDATE \"%s\" SET _seq = ?1, _origin = ?3,"
			 " _flags = ?4, _meta = ?5, _places = ?6, _sum = ?7",
			 t->name);
	for (int i = 0; rc == SAT_OK && i < t->column_count; i++)
		rc = sat_sql_add(sql, err, ", \"%s\" = ?%d", t->columns[i].name,
				 FIXED_COLUMNS + 1 + i);
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err, " WHERE _seq = ?%d AND id = ?2",
				 FIXED_COLUMNS + 1 + t->column_count);
	return rc;
}

static int bind_row(struct sat_store *s, sqlite3_stmt *st,
		    const struct sat_table *t, const struct sat_stored_row *row,
		    struct sat_slice places, struct sat_err *err)
{
	int64_t flags =
		(row->held ? FLAG_HELD : 0) | (row->deleted ? FLAG_DELETED : 0);
	struct sat_value fixed[FIXED_COLUMNS] = {
		sat_value_int((int64_t)row->seq),
		sat_value_id(&row->id),
		sat_value_int(row->origin),
		sat_value_int(flags),
		sat_value_blob(row->meta),
		sat_value_blob(places),
		sat_value_int((int64_t)sat_row_sum(t, row, places)),
	};
	int rc;

	rc = sat_db_bind(&s->db, st, 1, fixed, FIXED_COLUMNS, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&s->db, st, FIXED_COLUMNS + 1, row->values,
				 t->column_count, err);
	return rc;
}

static int put(struct sat_store *s, struct sat_table_sql *sql,
	       const struct sat_table *t, uint64_t old_seq,
	       const struct sat_stored_row *row, struct sat_slice places,
	       struct sat_err *err)
{
	struct sat_value old = sat_value_int((int64_t)old_seq);
	sqlite3_stmt **slot = old_seq == 0 ? &sql->insert : &sql->update;
	int rc;

	rc = take(s, t, slot, old_seq == 0 ? insert_sql : update_sql, NULL,
		  err);
	if (rc == SAT_OK)
		rc = bind_row(s, *slot, t, row, places, err);
	if (rc == SAT_OK && old_seq != 0)
		rc = sat_db_bind(&s->db, *slot,
				 FIXED_COLUMNS + 1 + t->column_count, &old, 1,
				 err);
	if (rc == SAT_OK)
		rc = sat_db_run(&s->db, *slot, err);
	if (rc == SAT_OK && sqlite3_changes(s->db.handle) != 1)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "store_row",
				 "table %s: no row to replace at %llu", t->name,
				 (unsigned long long)old_seq);
	return rc;
}

int sat_store_row_put(struct sat_store *s, const struct sat_table *t,
		      uint64_t old_seq, const struct sat_stored_row *row,
		      struct sat_err *err)
{
	struct sat_table_sql *sql = table_sql(s, t, err);
	struct sat_buf places;
	int rc;

	if (sql == NULL)
		return err->rc;
	SAT_ASSERT(row->seq > 0);
	rc = sat_store_may_write(s, err);
	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&places, 1024 * 1024);
	rc = sat_places_pack(row, &places);
	if (rc != SAT_OK)
		(void)fail(t, rc, err);
	else
		rc = put(s, sql, t, old_seq, row, sat_buf_peek(&places), err);
	sat_buf_fini(&places);
	return sat_store_wrote(s, rc);
}
