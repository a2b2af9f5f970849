/* Layout of the database, the catalogue and the settings.
 *
 * Each table of the catalogue is a typed table that analysts can query:
 *
 *   _seq    INTEGER PRIMARY KEY  position of the row's latest write, so the
 *                                newest rows lie together at the end
 *   id      BLOB, unique index
 *   _origin replica that wrote last      _flags   1 held, 2 deleted
 *   _meta   common/meta.h                _places  sqlite_places.c
 *   _sum    sqlite_sum.c
 *   columns in catalogue order; later ones are added at the end
 *
 * One `_feed` for all tables gives every scope's changes in commit order with
 * one range scan. An index of the deleted rows alone finds what may be
 * collected. Keys of `_changeset` and `_verdict` are replica * 2^31 +
 * seq: the b-tree then needs no second index.
 */
#include "server/store/sqlite_store.h"

#include "proto/catalogue_load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

const char sat_store_schema[] =
	"CREATE TABLE _setting(key TEXT PRIMARY KEY, value);"
	"CREATE TABLE _feed(scope INTEGER NOT NULL, seq INTEGER NOT NULL,"
	" tbl INTEGER NOT NULL, row_seq INTEGER, id BLOB,"
	" PRIMARY KEY(scope, seq)) WITHOUT ROWID;"
	"CREATE TABLE _digest(scope INTEGER NOT NULL, role INTEGER NOT NULL,"
	" sum BLOB NOT NULL, rows INTEGER NOT NULL,"
	" PRIMARY KEY(scope, role)) WITHOUT ROWID;"
	"CREATE TABLE _changeset(dot INTEGER PRIMARY KEY, hash BLOB NOT NULL,"
	" bytes BLOB NOT NULL);"
	"CREATE TABLE _verdict(dot INTEGER PRIMARY KEY, bytes BLOB NOT NULL);"
	"CREATE TABLE _rejected(replica INTEGER NOT NULL,"
	" tbl INTEGER NOT NULL, id BLOB NOT NULL, seq INTEGER NOT NULL,"
	" PRIMARY KEY(replica, tbl, id)) WITHOUT ROWID;"
	"CREATE TABLE _grant(no INTEGER PRIMARY KEY AUTOINCREMENT,"
	" user BLOB NOT NULL, territory BLOB NOT NULL, role TEXT NOT NULL,"
	" from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL);"
	"CREATE INDEX _grant_user ON _grant(user);"
	"CREATE TABLE _device(replica INTEGER PRIMARY KEY,"
	" user BLOB NOT NULL, key_hash BLOB NOT NULL, state INTEGER NOT NULL,"
	" last_seq INTEGER NOT NULL, last_hash BLOB NOT NULL,"
	" verdict_seq INTEGER NOT NULL, cursor INTEGER NOT NULL,"
	" ratchet BLOB NOT NULL, ratchet_new BLOB NOT NULL,"
	" enrolled_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL,"
	" name TEXT NOT NULL);"
	"CREATE TABLE _invite(token_hash BLOB PRIMARY KEY,"
	" user BLOB NOT NULL, expires_ms INTEGER NOT NULL,"
	" used INTEGER NOT NULL, key_hash BLOB NOT NULL,"
	" replica INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE _scope(no INTEGER PRIMARY KEY,"
	" territory BLOB NOT NULL UNIQUE);"
	"CREATE TABLE _audit(no INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL,"
	" who TEXT NOT NULL, what TEXT NOT NULL, detail TEXT);";

/* ---- SQL text ------------------------------------------------------------ */

int sat_sql_add(struct sat_buf *b, struct sat_err *err, const char *fmt, ...)
{
	char part[512];
	va_list ap;
	int n, rc;

	va_start(ap, fmt);
	n = vsnprintf(part, sizeof part, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof part)
		return sat_err_set(err, SAT_E_LIMIT, 0, "store_sql",
				   "a part of a statement is too long");
	rc = sat_buf_append(b, part, (size_t)n);
	return rc == SAT_OK ? SAT_OK
			    : sat_err_set(err, rc, 0, "store_sql",
					  "statement too long");
}

int sat_sql_end(struct sat_buf *b, const char **ret, struct sat_err *err)
{
	int rc = sat_buf_append(b, "", 1);

	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "store_sql",
				   "statement too long");
	*ret = (const char *)sat_buf_peek(b).ptr;
	return SAT_OK;
}

/* ---- settings ------------------------------------------------------------ */

static struct sat_value key_value(const char *key)
{
	return sat_value_text(sat_slice_str(key));
}

int sat_store_setting_put(struct sat_store *s, const char *key,
			  struct sat_slice value, struct sat_err *err)
{
	struct sat_value v[2] = { key_value(key), sat_value_blob(value) };

	return sat_store_do(s,
			    "INSERT INTO _setting(key, value) VALUES(?1, ?2)"
			    " ON CONFLICT(key)"
			    " DO UPDATE SET value = excluded.value",
			    v, 2, err);
}

int sat_store_setting_get(struct sat_store *s, const char *key,
			  struct sat_buf *out, struct sat_err *err)
{
	struct sat_value v = key_value(key);
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db, "SELECT value FROM _setting WHERE key = ?1",
			 &v, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_setting",
				   "no setting %s", key);
	v = sat_db_column(st, 0);
	if (v.kind != SAT_BLOB)
		rc = sat_err_set(err, SAT_E_CORRUPT, 0, "store_setting",
				 "setting %s is damaged", key);
	else if (sat_buf_append(out, v.s.ptr, v.s.len) != SAT_OK)
		rc = sat_err_set(err, SAT_E_LIMIT, 0, "store_setting",
				 "setting %s is too long", key);
	sat_db_reset(st);
	return rc;
}

/* ---- catalogue: in memory ------------------------------------------------ */

const struct sat_catalogue *sat_store_catalogue(const struct sat_store *s)
{
	return s->catalogue;
}

void sat_store_catalogue_use(struct sat_store *s, const struct sat_catalogue *c)
{
	s->catalogue = c;
	/* Statements are made again for the new columns when first used. */
	for (uint32_t i = 0; c != NULL && i < c->table_count; i++)
		s->tables[i] = (struct sat_table_sql){ 0 };
}

/* Take c into the list that is freed at the end, with room for its tables. */
static int keep(struct sat_store *s, struct sat_catalogue *c,
		struct sat_err *err)
{
	struct sat_catalogue **list;
	struct sat_table_sql *tables;
	uint32_t most = c->table_count;

	list = realloc(s->catalogues, (s->catalogue_count + 1) * sizeof *list);
	if (list != NULL)
		s->catalogues = list;
	for (uint32_t i = 0; i < s->catalogue_count; i++) {
		if (s->catalogues[i]->table_count > most)
			most = s->catalogues[i]->table_count;
	}
	tables = list == NULL ? NULL
			      : realloc(s->tables, (most + 1) * sizeof *tables);
	if (tables == NULL) {
		sat_catalogue_free(c);
		return sat_err_set(err, SAT_E_NOMEM, 0, "store_catalogue",
				   "out of memory");
	}
	s->tables = tables;
	s->catalogues[s->catalogue_count++] = c;
	return SAT_OK;
}

int sat_store_catalogue_json(struct sat_store *s, struct sat_buf *out,
			     struct sat_err *err)
{
	return sat_store_setting_get(s, "_catalogue", out, err);
}

int sat_store_catalogue_load(struct sat_store *s, struct sat_err *err)
{
	struct sat_catalogue *c = NULL;
	struct sat_buf json;
	int64_t version;
	int rc;

	rc = sat_db_int(&s->db,
			"SELECT value FROM _setting"
			" WHERE key = '_catalogue_version'",
			0, &version, err);
	if (rc != SAT_OK || version == 0 ||
	    (s->catalogue != NULL && s->catalogue->version == version))
		return rc;
	sat_buf_init(&json, SAT_CATALOGUE_BYTES_MAX);
	rc = sat_store_catalogue_json(s, &json, err);
	if (rc == SAT_OK)
		rc = sat_catalogue_load(sat_buf_peek(&json), "catalogue", &c,
					err);
	sat_buf_fini(&json);
	if (rc != SAT_OK)
		return rc;
	rc = keep(s, c, err);
	if (rc == SAT_OK)
		sat_store_catalogue_use(s, c);
	return rc;
}

int sat_store_catalogue_refresh(struct sat_store *s, struct sat_err *err)
{
	return s->writing ? SAT_OK : sat_store_catalogue_load(s, err);
}

/* ---- catalogue: in the database ------------------------------------------ */

static const char *sql_type(enum sat_type type)
{
	switch (type) {
	case SAT_TYPE_REF:
	case SAT_TYPE_BLOBREF:
		return "BLOB";
	case SAT_TYPE_INT:
	case SAT_TYPE_BOOL:
	case SAT_TYPE_MONEY:
	case SAT_TYPE_TIME:
		return "INTEGER";
	case SAT_TYPE_COUNTER:
		/* A counter nobody has counted yet reads 0, never NULL. */
		return "INTEGER DEFAULT 0";
	case SAT_TYPE_REAL:
		return "REAL";
	case SAT_TYPE_TEXT:
	case SAT_TYPE_DATE:
	case SAT_TYPE_ENUM:
	case SAT_TYPE_SET:
	case SAT_TYPE_GEO:
	case SAT_TYPE_JSON:
		return "TEXT";
	case SAT_TYPE_COUNT:
		break;
	}
	SAT_UNREACHABLE("column type");
}

static int run_sql(struct sat_store *s, struct sat_buf *sql,
		   struct sat_err *err)
{
	const char *text;
	int rc = sat_sql_end(sql, &text, err);

	if (rc == SAT_OK)
		rc = sat_store_wrote(s, sat_db_exec(&s->db, text, err));
	sat_buf_clear(sql);
	return rc;
}

static int create_table(struct sat_store *s, const struct sat_table *t,
			struct sat_buf *sql, struct sat_err *err)
{
	int rc;

	rc = sat_sql_add(sql, err,
			 "CREATE TABLE \"%s\"(_seq INTEGER PRIMARY KEY,"
			 " id BLOB NOT NULL, _origin INTEGER NOT NULL,"
			 " _flags INTEGER NOT NULL, _meta BLOB NOT NULL,"
			 " _places BLOB NOT NULL, _sum INTEGER",
			 t->name);
	for (int i = 0; rc == SAT_OK && i < t->column_count; i++)
		rc = sat_sql_add(sql, err, ", \"%s\" %s", t->columns[i].name,
				 sql_type(t->columns[i].type));
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err,
				 "); CREATE UNIQUE INDEX \"_%s_id\""
				 " ON \"%s\"(id)",
				 t->name, t->name);
	return rc == SAT_OK ? run_sql(s, sql, err) : rc;
}

static int add_columns(struct sat_store *s, const struct sat_table *old,
		       const struct sat_table *t, struct sat_buf *sql,
		       struct sat_err *err)
{
	int rc = SAT_OK;

	for (int i = 0; rc == SAT_OK && i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];

		if (sat_table_column_no(old, c->no) >= 0)
			continue;
		rc = sat_sql_add(sql, err,
				 "ALTER TABLE \"%s\" ADD COLUMN \"%s\" %s",
				 t->name, c->name, sql_type(c->type));
		if (rc == SAT_OK)
			rc = run_sql(s, sql, err);
	}
	return rc;
}

static int add_index(struct sat_store *s, const struct sat_table *t, int column,
		     struct sat_buf *sql, struct sat_err *err)
{
	const char *name = t->columns[column].name;
	int rc;

	rc = sat_sql_add(sql, err,
			 "CREATE INDEX IF NOT EXISTS \"_%s_%s\" ON"
			 " \"%s\"(\"%s\") WHERE \"%s\" IS NOT NULL",
			 t->name, name, t->name, name, name);
	return rc == SAT_OK ? run_sql(s, sql, err) : rc;
}

/* Only what sat_store_rows looks up while committing: children that follow a
 * row when its scopes move, figures of a territory that does. Each index costs
 * every insert. */
static int add_indexes(struct sat_store *s, const struct sat_table *t,
		       struct sat_buf *sql, struct sat_err *err)
{
	int rc = SAT_OK;

	if (t->move_with >= 0)
		rc = add_index(s, t, t->move_with, sql, err);
	if (rc == SAT_OK && t->rollup != NULL && t->rollup->all_levels)
		rc = add_index(s, t, t->rollup->keys[0], sql, err);
	for (int i = 0; rc == SAT_OK && i < t->scope_count; i++) {
		if (t->scopes[i].kind == SAT_SCOPE_VIA)
			rc = add_index(s, t, t->scopes[i].column, sql, err);
		else if (t->scopes[i].kind == SAT_SCOPE_ROW)
			rc = add_index(s, t, t->scopes[i].column2, sql, err);
	}
	return rc;
}

/* Live rows are not in it and pay nothing for it. */
static int add_dead_index(struct sat_store *s, const struct sat_table *t,
			  struct sat_buf *sql, struct sat_err *err)
{
	int rc = sat_sql_add(sql, err,
			     "CREATE INDEX IF NOT EXISTS \"_%s_dead\" ON"
			     " \"%s\"(_seq) WHERE _flags & 2 <> 0",
			     t->name, t->name);

	return rc == SAT_OK ? run_sql(s, sql, err) : rc;
}

int sat_store_dead_indexes(struct sat_store *s, struct sat_err *err)
{
	struct sat_buf sql;
	int rc = SAT_OK;

	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	for (uint32_t i = 0; rc == SAT_OK && s->catalogue != NULL &&
			     i < s->catalogue->table_count;
	     i++)
		rc = add_dead_index(s, &s->catalogue->tables[i], &sql, err);
	sat_buf_fini(&sql);
	return rc;
}

static int alter_tables(struct sat_store *s, const struct sat_catalogue *next,
			struct sat_err *err)
{
	const struct sat_table *old;
	struct sat_buf sql;
	int rc = SAT_OK;

	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	for (int i = 0; rc == SAT_OK && i < next->table_count; i++) {
		const struct sat_table *t = &next->tables[i];

		old = s->catalogue == NULL
			      ? NULL
			      : sat_catalogue_table_no(s->catalogue, t->no);
		rc = old == NULL ? create_table(s, t, &sql, err)
				 : add_columns(s, old, t, &sql, err);
		if (rc == SAT_OK)
			rc = add_indexes(s, t, &sql, err);
		if (rc == SAT_OK)
			rc = add_dead_index(s, t, &sql, err);
	}
	sat_buf_fini(&sql);
	return rc;
}

static int store_catalogue(struct sat_store *s, struct sat_slice canonical,
			   uint32_t version, struct sat_err *err)
{
	struct sat_value v = sat_value_int((int64_t)version);
	int rc;

	rc = sat_store_setting_put(s, "_catalogue", canonical, err);
	if (rc == SAT_OK)
		rc = sat_store_do(s,
				  "INSERT INTO _setting(key, value)"
				  " VALUES('_catalogue_version', ?1)"
				  " ON CONFLICT(key)"
				  " DO UPDATE SET value = excluded.value",
				  &v, 1, err);
	return rc;
}

int sat_store_catalogue_put(struct sat_store *s, struct sat_slice json,
			    struct sat_err *err)
{
	struct sat_catalogue *next = NULL;
	struct sat_buf canonical, stored;
	int rc;

	rc = sat_store_may_write(s, err);
	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&canonical, SAT_CATALOGUE_BYTES_MAX);
	sat_buf_init(&stored, SAT_CATALOGUE_BYTES_MAX);
	rc = sat_catalogue_canonical(json, &canonical, err);
	if (rc == SAT_OK && s->catalogue != NULL)
		rc = sat_store_catalogue_json(s, &stored, err);
	if (rc == SAT_OK &&
	    sat_slice_equal(sat_buf_peek(&canonical), sat_buf_peek(&stored)))
		goto out; /* the same again is no change */
	if (rc == SAT_OK)
		rc = sat_catalogue_load(sat_buf_peek(&canonical), "catalogue",
					&next, err);
	if (rc == SAT_OK)
		rc = keep(s, next, err);
	if (rc == SAT_OK && s->catalogue != NULL)
		rc = sat_catalogue_compatible(s->catalogue, next, err);
	if (rc == SAT_OK)
		rc = alter_tables(s, next, err);
	if (rc == SAT_OK)
		rc = store_catalogue(s, sat_buf_peek(&canonical), next->version,
				     err);
	if (rc == SAT_OK)
		sat_store_catalogue_use(s, next);
out:
	sat_buf_fini(&canonical);
	sat_buf_fini(&stored);
	return rc;
}
