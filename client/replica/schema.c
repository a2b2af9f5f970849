/* The tables of a replica. Business tables are made to be read and written by
 * any program: no STRICT, no generated columns, no rule but the id's, nothing
 * that SQLite 3.32 does not know. */
#include "client/replica/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NOW_MS "CAST(round((julianday('now')-2440587.5)*86400000.0) AS INTEGER)"
#define MS_HEX "printf('%%012x'," NOW_MS ")"
#define ID_DEFAULT                                                     \
	"(substr(" MS_HEX ",1,8)||'-'||substr(" MS_HEX ",9,4)||'-7'||" \
	"substr(lower(hex(randomblob(2))),2,3)||'-'||"                 \
	"substr('89ab',1+(random()&3),1)||"                            \
	"substr(lower(hex(randomblob(2))),2,3)||'-'||"                 \
	"lower(hex(randomblob(6))))"

const char sat_replica_schema[] =
	"CREATE TABLE _satchel_kv(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
	"CREATE TABLE _satchel_catalogue(version INTEGER PRIMARY KEY,"
	" json BLOB NOT NULL);"
	"CREATE TABLE _satchel_guard(busy INTEGER);"
	"CREATE TABLE _satchel_pending(n INTEGER PRIMARY KEY, t INTEGER,"
	" id, op TEXT, at REAL, was INTEGER, now INTEGER, total INTEGER);"
	"CREATE TABLE _satchel_row(t INTEGER, id BLOB, seq INTEGER,"
	" h INTEGER, meta BLOB, scopes BLOB, PRIMARY KEY(t, id))"
	" WITHOUT ROWID;"
	"CREATE TABLE _satchel_base(t INTEGER, id BLOB, data BLOB,"
	" PRIMARY KEY(t, id)) WITHOUT ROWID;"
	"CREATE TABLE _satchel_outbox(seq INTEGER PRIMARY KEY, hash BLOB,"
	" rows INTEGER, state INTEGER, flags INTEGER, ms INTEGER,"
	" bytes BLOB);"
	"CREATE INDEX _satchel_outbox_state ON _satchel_outbox(state, seq);"
	"CREATE TABLE _satchel_dirty(t INTEGER, id BLOB, seq INTEGER,"
	" i INTEGER, delta BLOB, PRIMARY KEY(t, id, seq)) WITHOUT ROWID;"
	"CREATE INDEX _satchel_dirty_seq ON _satchel_dirty(seq, i);"
	"CREATE TABLE _satchel_rejected(n INTEGER PRIMARY KEY, seq INTEGER,"
	" at INTEGER, reason TEXT, sentence_en TEXT, sentence_zh TEXT,"
	" content TEXT);"
	"CREATE INDEX _satchel_rejected_seq ON _satchel_rejected(seq);"
	"CREATE TABLE _satchel_stage(n INTEGER PRIMARY KEY, kind INTEGER,"
	" scope INTEGER, t INTEGER, page BLOB);"
	"CREATE TABLE _satchel_intent(n INTEGER PRIMARY KEY, \"table\" TEXT,"
	" id TEXT, field TEXT, value, context TEXT,"
	" at REAL DEFAULT (julianday('now')));"
	"CREATE TABLE satchel_resolve(n INTEGER PRIMARY KEY, conflict TEXT,"
	" value, at REAL DEFAULT (julianday('now')));"
	"CREATE TABLE _satchel_sibling(t INTEGER, id BLOB, field TEXT,"
	" value, replica INTEGER, seq INTEGER, at INTEGER, shown INTEGER,"
	" PRIMARY KEY(t, id, field, replica, seq)) WITHOUT ROWID;"
	"CREATE TABLE _satchel_orphan(t INTEGER, id TEXT, PRIMARY KEY(t, id))"
	" WITHOUT ROWID;"
	"CREATE TABLE _satchel_clock_step(n INTEGER PRIMARY KEY,"
	" before_ms INTEGER, delta_ms INTEGER);";

/* What came after the first version of the file. */
static const char later_schema[] =
	"CREATE TABLE IF NOT EXISTS _satchel_ghost(t INTEGER, id BLOB,"
	" seq INTEGER, op TEXT, at INTEGER, field TEXT, before, value,"
	" PRIMARY KEY(t, id, seq, field)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS _satchel_author("
	"replica INTEGER PRIMARY KEY, user TEXT NOT NULL);";

/* ---- text ---------------------------------------------------------------- */

void sat_sql_init(struct sat_sql *s)
{
	sat_buf_init(&s->text, SAT_REPLICA_TEXT_MAX);
	s->rc = SAT_OK;
}

void sat_sql_fini(struct sat_sql *s)
{
	sat_buf_fini(&s->text);
}

void sat_sql_add(struct sat_sql *s, const char *fmt, ...)
{
	uint8_t *p;
	va_list args;
	int n;

	if (s->rc != SAT_OK)
		return;
	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	s->rc = n < 0 ? SAT_E_LIMIT
		      : sat_buf_reserve(&s->text, (size_t)n + 1, &p);
	if (s->rc != SAT_OK)
		return;
	va_start(args, fmt);
	(void)vsnprintf((char *)p, (size_t)n + 1, fmt, args);
	va_end(args);
	sat_buf_commit(&s->text, (size_t)n);
}

int sat_sql_run(struct sat_replica *r, struct sat_sql *s, struct sat_err *err)
{
	int rc = s->rc;

	if (rc == SAT_OK)
		rc = sat_buf_append(&s->text, "", 1);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "replica_schema",
				   "the catalogue makes too much SQL");
	rc = sat_db_exec(&r->db, (const char *)sat_buf_peek(&s->text).ptr, err);
	sat_buf_clear(&s->text);
	return rc;
}

/* ---- tables -------------------------------------------------------------- */

static const char *declared(const struct sat_column *c)
{
	switch (c->type) {
	case SAT_TYPE_INT:
	case SAT_TYPE_BOOL:
	case SAT_TYPE_MONEY:
	case SAT_TYPE_TIME:
	case SAT_TYPE_COUNTER:
		return "INTEGER";
	case SAT_TYPE_REAL:
		return "REAL";
	default:
		return "TEXT";
	}
}

static void add_column_default(struct sat_replica *r, struct sat_sql *s,
			       const struct sat_column *c)
{
	if (c->type == SAT_TYPE_COUNTER) {
		sat_sql_add(s, " DEFAULT 0"); /* so that n + 1 works */
		return;
	}
	if (c->def == SAT_DEFAULT_NONE)
		return;
	sat_sql_add(s, " DEFAULT ");
	if (c->def == SAT_DEFAULT_NOW)
		sat_sql_add(s, "(" NOW_MS ")");
	else if (c->def == SAT_DEFAULT_TODAY)
		sat_sql_add(s, "(date('now'))");
	else
		sat_default_add(s, c, &r->facts.user, &r->facts.home);
}

static void add_table(struct sat_replica *r, struct sat_sql *s,
		      const struct sat_table *t)
{
	sat_sql_add(s,
		    "CREATE TABLE %s(id TEXT NOT NULL PRIMARY KEY"
		    " DEFAULT " ID_DEFAULT,
		    t->name);
	for (uint16_t i = 0; i < t->column_count; i++) {
		sat_sql_add(s, ", %s %s", t->columns[i].name,
			    declared(&t->columns[i]));
		add_column_default(r, s, &t->columns[i]);
	}
	sat_sql_add(s, ");\n");
	/* No types: an image keeps whatever was there, as it was. */
	sat_sql_add(s,
		    "CREATE TABLE _satchel_before_%s(n INTEGER PRIMARY KEY,"
		    " id",
		    t->name);
	for (uint16_t i = 0; i < t->column_count; i++)
		sat_sql_add(s, ", %s", t->columns[i].name);
	sat_sql_add(s, ");\n");
}

static void add_indexes(struct sat_sql *s, const struct sat_table *t)
{
	for (uint16_t i = 0; i < t->index_count; i++) {
		const struct sat_index *x = &t->indexes[i];

		sat_sql_add(s, "CREATE INDEX IF NOT EXISTS %s_by", t->name);
		for (uint16_t k = 0; k < x->column_count; k++)
			sat_sql_add(s, "_%s", t->columns[x->columns[k]].name);
		sat_sql_add(s, " ON %s(", t->name);
		for (uint16_t k = 0; k < x->column_count; k++)
			sat_sql_add(s, "%s%s%s", k == 0 ? "" : ",",
				    t->columns[x->columns[k]].name,
				    x->desc_last && k + 1 == x->column_count
					    ? " DESC"
					    : "");
		sat_sql_add(s, ");\n");
	}
}

static int table_exists(struct sat_replica *r, const char *name, bool *ret,
			struct sat_err *err)
{
	struct sat_value arg = sat_bind_str(name);
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT 1 FROM sqlite_master WHERE"
			     " type = 'table' AND name = ?1",
			     &arg, 1, &st, err);

	if (rc != SAT_OK)
		return rc;
	*ret = st != NULL;
	if (st != NULL)
		sat_db_reset(st);
	return SAT_OK;
}

/* Columns the table does not have yet. Without a default: rows that are there
 * hold nothing in them, here as on the server; harvest fills new ones. Only a
 * counter is 0 from the start, so that n + 1 works. */
static int add_columns(struct sat_replica *r, struct sat_sql *s,
		       const struct sat_table *t, struct sat_err *err)
{
	struct sat_value args[2] = { sat_bind_str(t->name) };
	sqlite3_stmt *st;
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];
		const char *zero =
			c->type == SAT_TYPE_COUNTER ? " DEFAULT 0" : "";

		args[1] = sat_bind_str(c->name);
		rc = sat_db_find(&r->db,
				 "SELECT 1 FROM pragma_table_info(?1) WHERE"
				 " name = ?2",
				 args, 2, &st, err);
		if (rc != SAT_OK)
			break;
		if (st != NULL) {
			sat_db_reset(st);
			continue;
		}
		sat_sql_add(s,
			    "ALTER TABLE %s ADD COLUMN %s %s%s;\n"
			    "ALTER TABLE _satchel_before_%s ADD COLUMN %s%s;\n",
			    t->name, c->name, declared(c), zero, t->name,
			    c->name, zero);
	}
	return rc;
}

int sat_schema_tables(struct sat_replica *r, struct sat_err *err)
{
	const struct sat_catalogue *c = r->catalogue;
	struct sat_sql s;
	bool exists = false;
	int rc = SAT_OK;

	sat_sql_init(&s);
	for (uint16_t i = 0; rc == SAT_OK && i < c->table_count; i++) {
		rc = table_exists(r, c->tables[i].name, &exists, err);
		if (rc == SAT_OK && exists)
			rc = add_columns(r, &s, &c->tables[i], err);
		else if (rc == SAT_OK)
			add_table(r, &s, &c->tables[i]);
		add_indexes(&s, &c->tables[i]);
	}
	if (rc == SAT_OK)
		rc = sat_sql_run(r, &s, err);
	sat_sql_fini(&s);
	return rc;
}

/* ---- triggers and views -------------------------------------------------- */

static int drop_triggers(struct sat_replica *r, struct sat_sql *s,
			 struct sat_err *err)
{
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT name FROM sqlite_master WHERE type ="
			     " 'trigger' AND substr(name, 1, 9) = '_satchel_'",
			     &st, err);

	while (rc == SAT_OK && row) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc == SAT_OK && row)
			sat_sql_add(s, "DROP TRIGGER \"%s\";\n",
				    (const char *)sqlite3_column_text(st, 0));
	}
	return rc;
}

/* The first two columns of a view: names for a table's number and id. */
static void add_names_of(struct sat_replica *r, struct sat_sql *s)
{
	sat_sql_add(s, "CASE t");
	for (uint16_t i = 0; i < r->catalogue->table_count; i++)
		sat_sql_add(s, " WHEN %u THEN '%s'", r->catalogue->tables[i].no,
			    r->catalogue->tables[i].name);
	sat_sql_add(s, " END AS \"table\", lower(substr(hex(id),1,8)||'-'||"
		       "substr(hex(id),9,4)||'-'||substr(hex(id),13,4)||'-'||"
		       "substr(hex(id),17,4)||'-'||substr(hex(id),21)) AS id");
}

/* For people and programs:
 *   satchel_siblings  values of a field that were written at the same time
 *   satchel_orphans   changes that wait for an answer while their row is not
 *                     here: before is what the author replaced; of a set,
 *                     before is what he took out and value what he put in; of
 *                     a counter, value is what he added. field is NULL for a
 *                     delete; shown: the row, as he left it, is still there
 *   satchel_rejected  what was not accepted */
static void add_views(struct sat_replica *r, struct sat_sql *s)
{
	sat_sql_add(s, "DROP VIEW IF EXISTS satchel_siblings;"
		       "CREATE VIEW satchel_siblings AS SELECT ");
	add_names_of(r, s);
	sat_sql_add(s, ", field, value, replica, seq, at, shown"
		       " FROM _satchel_sibling;"
		       "DROP VIEW IF EXISTS satchel_orphans;"
		       "CREATE VIEW satchel_orphans AS SELECT \"table\", id, "
		       "seq, at, op, field, before, value, EXISTS(SELECT"
		       " 1 FROM _satchel_orphan o WHERE o.id = g.id AND"
		       " o.t = g.no) AS shown FROM (SELECT ");
	add_names_of(r, s);
	sat_sql_add(s, ", seq, at, op, nullif(field, '') AS field, before,"
		       " value, t AS no FROM _satchel_ghost) g;"
		       "DROP VIEW IF EXISTS satchel_rejected;"
		       "CREATE VIEW satchel_rejected AS SELECT n, seq, at,"
		       " reason, sentence_en, sentence_zh, content"
		       " FROM _satchel_rejected;\n");
}

/* What triggers measure, in a file that was made before they did. */
static int measure_pending(struct sat_replica *r, struct sat_err *err)
{
	int64_t found = 0;
	int rc = sat_db_int(&r->db,
			    "SELECT count(*) FROM"
			    " pragma_table_info('_satchel_pending')"
			    " WHERE name = 'total'",
			    0, &found, err);

	if (rc != SAT_OK || found != 0)
		return rc;
	return sat_db_exec(&r->db,
			   "ALTER TABLE _satchel_pending ADD COLUMN was INTEGER"
			   " DEFAULT 0;"
			   "ALTER TABLE _satchel_pending ADD COLUMN now INTEGER"
			   " DEFAULT 0;"
			   "ALTER TABLE _satchel_pending ADD COLUMN total"
			   " INTEGER",
			   err);
}

int sat_schema_upgrade(struct sat_replica *r, struct sat_err *err)
{
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	if (r->facts.schema < SAT_REPLICA_SCHEMA)
		rc = measure_pending(r, err);
	if (rc == SAT_OK && r->facts.schema < SAT_REPLICA_SCHEMA)
		rc = sat_outbox_count(r, err);
	if (rc == SAT_OK && r->facts.schema < SAT_REPLICA_SCHEMA)
		rc = sat_schema_triggers(r, err);
	return sat_txn_end(r, rc, err);
}

int sat_schema_triggers(struct sat_replica *r, struct sat_err *err)
{
	const struct sat_catalogue *c = r->catalogue;
	struct sat_sql s;
	int rc;

	sat_sql_init(&s);
	sat_sql_add(&s, "%s", later_schema);
	r->facts.schema = SAT_REPLICA_SCHEMA;
	rc = drop_triggers(r, &s, err);
	if (rc == SAT_OK)
		sat_triggers_bound(&s, c);
	for (uint16_t i = 0; rc == SAT_OK && i < c->table_count; i++)
		sat_triggers_add(&s, &c->tables[i],
				 (enum sat_role)r->facts.role, &r->facts.user,
				 &r->facts.home);
	add_views(r, &s);
	if (rc == SAT_OK)
		rc = sat_sql_run(r, &s, err);
	sat_sql_fini(&s);
	return rc;
}

/* SQLite's documented way for a change that touches no stored row: edit the
 * text of the table. The old id occurs in it only as a default. */
int sat_schema_relabel(struct sat_replica *r, const struct sat_id *from,
		       const struct sat_id *to, struct sat_err *err)
{
	char old[SAT_UUID_CHARS + 1], new[SAT_UUID_CHARS + 1];
	struct sat_sql s;
	int64_t version = 0;
	int rc;

	sat_id_format(from, old);
	sat_id_format(to, new);
	rc = sat_db_int(&r->db, "PRAGMA schema_version", 0, &version, err);
	if (rc != SAT_OK)
		return rc;
	sat_sql_init(&s);
	sat_sql_add(&s,
		    "PRAGMA writable_schema = ON;"
		    "UPDATE sqlite_master SET sql ="
		    " replace(sql, 'DEFAULT ''%s''', 'DEFAULT ''%s''')"
		    " WHERE type = 'table' AND name NOT LIKE '\\_%%'"
		    " ESCAPE '\\';"
		    "PRAGMA schema_version = %lld;"
		    "PRAGMA writable_schema = RESET;",
		    old, new, (long long)version + 1);
	(void)sqlite3_db_config(r->db.handle, SQLITE_DBCONFIG_DEFENSIVE, 0,
				NULL);
	rc = sat_sql_run(r, &s, err);
	(void)sqlite3_db_config(r->db.handle, SQLITE_DBCONFIG_DEFENSIVE, 1,
				NULL);
	sat_sql_fini(&s);
	sat_db_forget(&r->db);
	return rc;
}

/* ---- statements ---------------------------------------------------------- */

static const char *keep_text(struct sat_replica *r, struct sat_sql *s)
{
	const char *text = NULL;

	if (s->rc == SAT_OK)
		text = sat_arena_string(&r->names, sat_buf_peek(&s->text));
	if (text == NULL)
		s->rc = SAT_E_NOMEM;
	sat_buf_clear(&s->text);
	return text;
}

static void add_names(struct sat_sql *s, const struct sat_table *t,
		      const char *first)
{
	for (uint16_t i = 0; i < t->column_count; i++)
		sat_sql_add(s, "%s%s", i == 0 ? first : ",",
			    t->columns[i].name);
}

static int table_statements(struct sat_replica *r, const struct sat_table *t,
			    struct sat_table_sql *ret, struct sat_sql *s)
{
	sat_sql_add(s, "SELECT ");
	add_names(s, t, "");
	sat_sql_add(s, " FROM %s WHERE id=?1", t->name);
	ret->select = keep_text(r, s);

	sat_sql_add(s, "INSERT INTO %s(id", t->name);
	add_names(s, t, ",");
	sat_sql_add(s, ") VALUES(?1");
	for (uint16_t i = 0; i < t->column_count; i++)
		sat_sql_add(s, ",?%u", i + 2u);
	sat_sql_add(s, ") ON CONFLICT(id) DO UPDATE SET ");
	for (uint16_t i = 0; i < t->column_count; i++)
		sat_sql_add(s, "%s%s=excluded.%s", i == 0 ? "" : ",",
			    t->columns[i].name, t->columns[i].name);
	ret->upsert = keep_text(r, s);

	sat_sql_add(s, "DELETE FROM %s WHERE id=?1", t->name);
	ret->remove = keep_text(r, s);

	sat_sql_add(s, "SELECT ");
	add_names(s, t, "");
	sat_sql_add(s, " FROM _satchel_before_%s WHERE n=?1", t->name);
	ret->image = keep_text(r, s);
	return s->rc;
}

/* Does the table refer to one that has no rank yet? */
static bool waits(const struct sat_replica *r, const struct sat_table *t)
{
	for (uint16_t k = 0; k < t->column_count; k++) {
		uint16_t to = t->columns[k].ref_table;

		if (t->columns[k].type == SAT_TYPE_REF && to != t->index &&
		    r->sql[to].rank == 0)
			return true;
	}
	return false;
}

/* Parents before children. Where references go in a circle, the first table
 * of it that has no rank goes first. */
static void rank_tables(struct sat_replica *r)
{
	const struct sat_catalogue *c = r->catalogue;

	for (uint32_t rank = 1; rank <= c->table_count; rank++) {
		uint16_t first = c->table_count, pick = c->table_count;

		for (uint16_t i = 0; i < c->table_count; i++) {
			if (r->sql[i].rank != 0)
				continue;
			if (first == c->table_count)
				first = i;
			if (pick == c->table_count && !waits(r, &c->tables[i]))
				pick = i;
		}
		r->sql[pick == c->table_count ? first : pick].rank = rank;
	}
}

int sat_schema_statements(struct sat_replica *r, struct sat_err *err)
{
	const struct sat_catalogue *c = r->catalogue;
	struct sat_sql s;
	int rc = SAT_OK;

	sat_arena_reset(&r->names);
	r->sql = sat_arena_array(&r->names, c->table_count, sizeof *r->sql);
	if (r->sql == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "replica_open",
				   "out of memory");
	sat_sql_init(&s);
	for (uint16_t i = 0; rc == SAT_OK && i < c->table_count; i++)
		rc = table_statements(r, &c->tables[i], &r->sql[i], &s);
	sat_sql_fini(&s);
	rank_tables(r);
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "replica_open",
					  "out of memory");
}
