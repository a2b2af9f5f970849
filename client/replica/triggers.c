/* Capture and refusal in plain SQL, for whatever SQLite the app brings.
 *
 * Measured, on inserts of 22 columns: refusals stand in the WHEN of a trigger
 * of their own, which good rows never enter, and the guard (a look into an
 * empty table) comes last in it. Functions are what costs: CAST and comparisons
 * are operators and a tenth of typeof() or ltrim(). So ids are only looked at
 * for their shape; letters beyond f are found at harvest. A column
 * that holds its default is not looked at further.
 *
 *   before insert  keeps the image that INSERT OR REPLACE is about to destroy
 *   after insert   refuses; captures
 *   before update  refuses a new id or rowid before UPDATE OR REPLACE destroys
 *   after update   refuses; captures the old image
 *   after delete   refuses; captures the old image
 *
 * Refusals compare NEW with OLD: UPDATE OF fires for SET x = x too. RAISE is
 * the one thing that OR IGNORE and OR REPLACE of the outer statement cannot
 * override, so nothing here relies on a conflict clause or a UNIQUE rule. */
#include "client/replica/internal.h"
#include "client/replica/refusal.h"

#include <string.h>

#define GUARD_OFF "NOT EXISTS(SELECT 1 FROM _satchel_guard)"
#define ANY4      "\?\?\?\?"
#define UUID_SHAPE \
	"'" ANY4 ANY4 "-" ANY4 "-" ANY4 "-" ANY4 "-" ANY4 ANY4 ANY4 "'"
#define DEG7 ".[0-9][0-9][0-9][0-9][0-9][0-9][0-9]"

/* Where a list of checks is being written. */
struct maker {
	struct sat_sql *sql;
	const struct sat_table *table;
	enum sat_role role;
	const struct sat_id *user, *home;
	bool update;  /* else insert                                        */
	bool as_case; /* WHEN ... THEN RAISE, else one OR of all            */
};

/* Start a check; its expression is to follow. */
static void check_open(struct maker *m)
{
	sat_sql_add(m->sql, m->as_case ? " WHEN (" : " OR (");
}

/* The sentence that a person sees: "table.column: why". */
static void add_raise(struct maker *m, const struct sat_column *c,
		      enum sat_refusal why)
{
	char text[SAT_REFUSAL_BYTES];

	sat_refusal_text(why, SAT_LANG_EN, c, m->role, NULL, text, sizeof text);
	sat_sql_add(m->sql, "RAISE(ABORT, '%s%s%s: %s')", m->table->name,
		    c == NULL ? "" : ".", c == NULL ? "" : c->name, text);
}

/* End it with its refusal. */
static void check_close(struct maker *m, const struct sat_column *c,
			enum sat_refusal why)
{
	if (!m->as_case) {
		sat_sql_add(m->sql, ")");
		return;
	}
	sat_sql_add(m->sql, ") THEN ");
	add_raise(m, c, why);
}

static bool may_write(const struct maker *m, const struct sat_column *c)
{
	return (c->write & SAT_ROLE_BIT(m->role)) != 0;
}

static bool may_read(const struct maker *m, const struct sat_column *c)
{
	return (c->read & SAT_ROLE_BIT(m->role)) != 0;
}

/* Text and blobs are larger than every number, so a range refuses them too. */
static void add_whole(struct sat_sql *s, const struct sat_column *c)
{
	sat_sql_add(s, "NEW.%s IS NOT CAST(NEW.%s AS INTEGER)", c->name,
		    c->name);
	if (c->has_min)
		sat_sql_add(s, " OR NEW.%s<%lld", c->name, (long long)c->min);
	if (c->has_max)
		sat_sql_add(s, " OR NEW.%s>%lld", c->name, (long long)c->max);
}

static void add_real(struct sat_sql *s, const struct sat_column *c)
{
	sat_sql_add(s, "NEW.%s NOT BETWEEN ", c->name);
	if (c->has_min)
		sat_sql_add(s, "%lld AND ", (long long)c->min);
	else
		sat_sql_add(s, "-1.7976931348623157e308 AND ");
	if (c->has_max)
		sat_sql_add(s, "%lld", (long long)c->max);
	else
		sat_sql_add(s, "1.7976931348623157e308");
}

static void add_enum(struct sat_sql *s, const struct sat_column *c)
{
	/* Not IN (...): that builds a table at every entry. */
	sat_sql_add(s, "CASE NEW.%s", c->name);
	for (uint16_t i = 0; i < c->value_count; i++)
		sat_sql_add(s, " WHEN '%s' THEN 0", c->values[i].name);
	sat_sql_add(s, " ELSE 1 END");
}

/* True in SQL when NEW's value, not NULL, is not one of that type. */
static void add_type_fault(struct sat_sql *s, const struct sat_column *c)
{
	const char *n = c->name;

	switch (c->type) {
	case SAT_TYPE_REF:
		sat_sql_add(s,
			    "NEW.%s NOT GLOB " UUID_SHAPE
			    " OR NEW.%s<>lower(NEW.%s)",
			    n, n, n);
		return;
	case SAT_TYPE_BLOBREF:
		sat_sql_add(s,
			    "length(NEW.%s)<>64 OR NEW.%s GLOB '*[^0-9a-f]*'",
			    n, n);
		return;
	case SAT_TYPE_BOOL:
		sat_sql_add(s, "NEW.%s NOT IN (0,1)", n);
		return;
	case SAT_TYPE_REAL:
		add_real(s, c);
		return;
	case SAT_TYPE_ENUM:
		add_enum(s, c);
		return;
	case SAT_TYPE_DATE:
		sat_sql_add(s,
			    "NEW.%s IS NOT date(NEW.%s,'+0 days') OR"
			    " NEW.%s<'0001-01-01'",
			    n, n, n);
		return;
	case SAT_TYPE_GEO:
		sat_sql_add(s,
			    "NEW.%s NOT GLOB '*[0-9]" DEG7 ",*[0-9]" DEG7 "'",
			    n);
		return;
	case SAT_TYPE_SET:
		sat_sql_add(s,
			    "typeof(NEW.%s)<>'text' OR"
			    " length(CAST(NEW.%s AS BLOB))>1048576 OR"
			    " trim(NEW.%s) NOT GLOB '[[]*]'",
			    n, n, n);
		return;
	case SAT_TYPE_TEXT:
	case SAT_TYPE_JSON:
		sat_sql_add(s,
			    "NEW.%s IS NOT CAST(NEW.%s AS TEXT) OR"
			    " length(CAST(NEW.%s AS BLOB))>%u",
			    n, n, n, c->max_bytes);
		return;
	default:
		add_whole(s, c);
		return;
	}
}

void sat_default_add(struct sat_sql *s, const struct sat_column *c,
		     const struct sat_id *user, const struct sat_id *home)
{
	const struct sat_value *v = &c->default_value;
	char id[SAT_UUID_CHARS + 1];

	if (c->def == SAT_DEFAULT_AUTHOR || c->def == SAT_DEFAULT_AUTHOR_HOME) {
		sat_id_format(c->def == SAT_DEFAULT_AUTHOR ? user : home, id);
		sat_sql_add(s, "'%s'", id);
		return;
	}
	if (c->def != SAT_DEFAULT_VALUE || v->kind == SAT_NULL ||
	    v->kind == SAT_BLOB) {
		sat_sql_add(s, "NULL");
	} else if (v->kind == SAT_INT) {
		sat_sql_add(s, "%lld", (long long)v->i);
	} else if (v->kind == SAT_REAL) {
		sat_sql_add(s, "%.17g", v->r);
	} else {
		sat_sql_add(s, "'");
		for (size_t i = 0; i < v->s.len; i++)
			sat_sql_add(s, v->s.ptr[i] == '\'' ? "''" : "%c",
				    v->s.ptr[i]);
		sat_sql_add(s, "'");
	}
}

/* A column the role may not write: on insert it may be left alone, given its
 * default, or given what the replaced row had; on update it may not change. */
static void check_role(struct maker *m, const struct sat_column *c)
{
	const char *t = m->table->name, *n = c->name;

	if (!m->update &&
	    (c->def == SAT_DEFAULT_NOW || c->def == SAT_DEFAULT_TODAY))
		return; /* harvest leaves it to the server */
	check_open(m);
	if (m->update) {
		sat_sql_add(m->sql, "NEW.%s IS NOT OLD.%s", n, n);
	} else {
		sat_sql_add(m->sql, "NEW.%s IS NOT NULL AND NEW.%s IS NOT ", n,
			    n);
		sat_default_add(m->sql, c, m->user, m->home);
		sat_sql_add(m->sql,
			    " AND NEW.%s IS NOT (SELECT b.%s FROM"
			    " _satchel_before_%s b WHERE b.n=(SELECT max(n)"
			    " FROM _satchel_before_%s) AND b.id=NEW.id)",
			    n, n, t, t);
	}
	check_close(m, c, SAT_REFUSAL_ROLE);
}

static void check_required(struct maker *m, const struct sat_column *c)
{
	bool filled = c->def != SAT_DEFAULT_NONE && !m->update;

	if (!c->required || filled || !may_read(m, c))
		return;
	check_open(m);
	sat_sql_add(m->sql, "NEW.%s IS NULL", c->name);
	if (m->update)
		sat_sql_add(m->sql, " AND OLD.%s IS NOT NULL", c->name);
	check_close(m, c, SAT_REFUSAL_REQUIRED);
}

/* A losing value of max, min or first would be dropped by the merge: better
 * to say so than to let it vanish. */
static void check_effect(struct maker *m, const struct sat_column *c)
{
	const char *n = c->name;

	if (!m->update ||
	    (c->policy != SAT_POLICY_MAX && c->policy != SAT_POLICY_MIN &&
	     c->policy != SAT_POLICY_FIRST))
		return;
	check_open(m);
	sat_sql_add(m->sql, "OLD.%s IS NOT NULL AND NEW.%s IS NOT OLD.%s AND",
		    n, n, n);
	if (c->policy == SAT_POLICY_FIRST)
		sat_sql_add(m->sql, " 1");
	else
		sat_sql_add(m->sql, " (NEW.%s IS NULL OR NEW.%s%sOLD.%s)", n, n,
			    c->policy == SAT_POLICY_MAX ? "<" : ">", n);
	check_close(m, c, SAT_REFUSAL_EFFECT);
}

static void check_column(struct maker *m, const struct sat_column *c)
{
	if (!may_write(m, c)) {
		check_role(m, c);
		return;
	}
	check_required(m, c);
	check_effect(m, c);
	check_open(m);
	if (m->update) {
		sat_sql_add(m->sql, "NEW.%s IS NOT OLD.%s AND ", c->name,
			    c->name);
	} else if (c->def != SAT_DEFAULT_NONE) { /* mostly left to it */
		sat_sql_add(m->sql, "NEW.%s IS NOT ", c->name);
		sat_default_add(m->sql, c, m->user, m->home);
		sat_sql_add(m->sql, " AND ");
	}
	sat_sql_add(m->sql, "NEW.%s IS NOT NULL AND (", c->name);
	add_type_fault(m->sql, c);
	sat_sql_add(m->sql, ")");
	check_close(m, c, SAT_REFUSAL_TYPE);
}

static void check_row(struct maker *m)
{
	const struct sat_table *t = m->table;

	if (m->update) {
		check_open(m);
		sat_sql_add(m->sql,
			    "EXISTS(SELECT 1 FROM _satchel_orphan"
			    " WHERE t=%u AND id=NEW.id)",
			    t->no);
		check_close(m, NULL, SAT_REFUSAL_ORPHAN);
		return;
	}
	check_open(m);
	sat_sql_add(m->sql,
		    "NEW.id NOT GLOB " UUID_SHAPE " OR NEW.id<>lower(NEW.id)");
	check_close(m, NULL, SAT_REFUSAL_ID);
	check_open(m);
	sat_sql_add(m->sql, "NEW.rowid<1");
	check_close(m, NULL, SAT_REFUSAL_ROWID);
	if (!t->append_only)
		return;
	check_open(m);
	sat_sql_add(m->sql,
		    "EXISTS(SELECT 1 FROM _satchel_before_%s b WHERE"
		    " b.n=(SELECT max(n) FROM _satchel_before_%s)"
		    " AND b.id=NEW.id)",
		    t->name, t->name);
	check_close(m, NULL, SAT_REFUSAL_FIXED);
}

static void add_checks(struct maker *m)
{
	check_row(m);
	for (uint16_t i = 0; i < m->table->column_count; i++)
		check_column(m, &m->table->columns[i]);
}

/* ---- triggers ------------------------------------------------------------ */

static void add_refusals(struct maker *m)
{
	const char *when = m->update ? "UPDATE" : "INSERT";

	sat_sql_add(m->sql,
		    "CREATE TRIGGER _satchel_%s_%s_check AFTER %s ON %s"
		    " WHEN (0",
		    m->table->name, m->update ? "update" : "insert", when,
		    m->table->name);
	m->as_case = false;
	add_checks(m);
	sat_sql_add(m->sql, ") AND " GUARD_OFF " BEGIN SELECT CASE");
	m->as_case = true;
	add_checks(m);
	sat_sql_add(m->sql, " END; END;\n");
}

/* A trigger that always refuses. */
static void add_refusal(struct maker *m, const char *event,
			enum sat_refusal why)
{
	sat_sql_add(m->sql,
		    "CREATE TRIGGER _satchel_%s_%s_refuse BEFORE %s ON %s"
		    " WHEN " GUARD_OFF " BEGIN SELECT ",
		    m->table->name, event, event, m->table->name);
	add_raise(m, NULL, why);
	sat_sql_add(m->sql, "; END;\n");
}

/* Bytes of a changeset that a value of a fixed size takes at most. */
static unsigned fixed_bytes(const struct sat_column *c)
{
	size_t most = 0;

	switch (c->type) {
	case SAT_TYPE_REF:
		return 17;
	case SAT_TYPE_BLOBREF:
		return 35;
	case SAT_TYPE_GEO:
		return 32;
	case SAT_TYPE_ENUM:
		for (uint16_t i = 0; i < c->value_count; i++)
			most = strlen(c->values[i].name) > most
				       ? strlen(c->values[i].name)
				       : most;
		return (unsigned)most + 3;
	default:
		return 11;
	}
}

/* What an image of the row adds to a changeset at most; each: besides every
 * value, its time and the stamp that it replaced. */
static void add_bytes(struct maker *m, const char *row, unsigned each)
{
	const struct sat_table *t = m->table;

	for (uint16_t i = 0; i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];

		if (c->type == SAT_TYPE_TEXT || c->type == SAT_TYPE_JSON ||
		    c->type == SAT_TYPE_SET)
			sat_sql_add(m->sql,
				    "+CASE WHEN %s%s IS NULL THEN 0 ELSE"
				    " length(CAST(%s%s AS BLOB))+%u END",
				    row, c->name, row, c->name, each + 5);
		else
			sat_sql_add(m->sql, "+(%s%s IS NOT NULL)*%u", row,
				    c->name, each + fixed_bytes(c));
	}
}

enum { SEEN = 20, MADE = 2, ROW_BYTES = 72 };
/* Between two sums: rows, and of each so many bytes */
enum { ADDED_ROWS = 1024, ADDED_BYTES = 8 * 1024 };

/* Append a pending row. was: the row before, now: the row after the statement;
 * NULL when there is none. */
static void add_capture(struct maker *m, const char *id, const char *op,
			const char *was, const char *now)
{
	sat_sql_add(m->sql,
		    "INSERT INTO _satchel_pending(t,id,op,at,was,now)"
		    " VALUES(%u,%s,'%s',julianday('now'),",
		    m->table->no, id, op);
	if (was != NULL && *op == 'R')
		sat_sql_add(m->sql, "(SELECT 0");
	else
		sat_sql_add(m->sql, "0");
	if (was != NULL)
		add_bytes(m, was, SEEN);
	if (was != NULL && *op == 'R')
		sat_sql_add(m->sql, " FROM %s o WHERE o.id=%s)", m->table->name,
			    id);
	sat_sql_add(m->sql, ",%u", ROW_BYTES + m->table->column_count / 4u);
	if (now != NULL)
		add_bytes(m, now, was == NULL ? MADE : SEEN);
	sat_sql_add(m->sql, ");");
}

#define LAST_TOTAL(what)                                                \
	"ifnull((SELECT " what " FROM _satchel_pending WHERE total NOT" \
	" NULL AND n<NEW.n ORDER BY n DESC LIMIT 1),0)"

/* Added up now and then, and for what is large at once: each row once, so
 * that capture stays cheap. That counts every statement, but a row that is
 * written again and again is sent once; so at the bound the rows are counted
 * exactly: the first image of each and the last one. */
void sat_triggers_bound(struct sat_sql *s, const struct sat_catalogue *c)
{
	struct maker m = { .sql = s };

	sat_sql_add(s,
		    "CREATE TRIGGER _satchel_pending_bound AFTER INSERT ON"
		    " _satchel_pending WHEN NEW.n%%%d=0 OR"
		    " NEW.was+NEW.now>%d OR NEW.n>%d BEGIN"
		    " UPDATE _satchel_pending SET total=" LAST_TOTAL("total") //
		    "+(SELECT sum(was+now) FROM _satchel_pending WHERE"
		    " n>" LAST_TOTAL("n") ") WHERE n=NEW.n;",
		    ADDED_ROWS, ADDED_BYTES, SAT_REPLICA_PENDING_MAX);
	sat_sql_add(s,
		    "UPDATE _satchel_pending SET total=(SELECT sum(b) FROM"
		    " (SELECT was AS b,min(n) FROM _satchel_pending"
		    " GROUP BY t,id))+(SELECT sum(b) FROM"
		    " (SELECT now AS b,max(n) FROM _satchel_pending"
		    " GROUP BY t,id)) WHERE n=NEW.n AND total>%d;"
		    "SELECT CASE NEW.t",
		    SAT_REPLICA_PENDING_BYTES);
	for (uint16_t i = 0; i < c->table_count; i++) {
		m.table = &c->tables[i];
		sat_sql_add(s, " WHEN %u THEN ", m.table->no);
		add_raise(&m, NULL, SAT_REFUSAL_MANY);
	}
	sat_sql_add(s,
		    " END FROM _satchel_pending WHERE n=NEW.n AND (n>%d OR"
		    " total>%d); END;\n",
		    SAT_REPLICA_PENDING_MAX, SAT_REPLICA_PENDING_BYTES);
}

static void add_image(struct maker *m, const char *prefix)
{
	const struct sat_table *t = m->table;

	sat_sql_add(m->sql,
		    "INSERT INTO _satchel_before_%s SELECT"
		    " last_insert_rowid(),%sid",
		    t->name, prefix);
	for (uint16_t i = 0; i < t->column_count; i++)
		sat_sql_add(m->sql, ",%s%s", prefix, t->columns[i].name);
}

static void add_insert(struct maker *m)
{
	const char *t = m->table->name;

	m->update = false;
	sat_sql_add(m->sql,
		    "CREATE TRIGGER _satchel_%s_insert_before BEFORE INSERT"
		    " ON %s WHEN (EXISTS(SELECT 1 FROM %s WHERE id=NEW.id) OR"
		    " NEW.rowid<>-1 AND EXISTS(SELECT 1 FROM %s WHERE"
		    " rowid=NEW.rowid)) AND"
		    " " GUARD_OFF " BEGIN SELECT ",
		    t, t, t, t);
	add_raise(m, NULL, SAT_REFUSAL_TAKEN);
	sat_sql_add(m->sql,
		    " FROM %s WHERE rowid=NEW.rowid AND id IS NOT NEW.id;", t);
	add_capture(m, "NEW.id", "R", "o.", NULL);
	add_image(m, "o.");
	sat_sql_add(m->sql, " FROM %s o WHERE o.id=NEW.id; END;\n", t);
	add_refusals(m);
	sat_sql_add(m->sql,
		    "CREATE TRIGGER _satchel_%s_insert AFTER INSERT ON %s"
		    " WHEN " GUARD_OFF " BEGIN ",
		    t, t);
	add_capture(m, "NEW.id", "I", NULL, "NEW.");
	sat_sql_add(m->sql, " END;\n");
}

static void add_changed(struct maker *m)
{
	for (uint16_t i = 0; i < m->table->column_count; i++)
		sat_sql_add(m->sql, "%sNEW.%s IS NOT OLD.%s",
			    i == 0 ? "" : " OR ", m->table->columns[i].name,
			    m->table->columns[i].name);
}

static void add_update(struct maker *m)
{
	const char *t = m->table->name;

	m->update = true;
	sat_sql_add(m->sql,
		    "CREATE TRIGGER _satchel_%s_update_before BEFORE UPDATE"
		    " ON %s WHEN (NEW.id IS NOT OLD.id OR"
		    " NEW.rowid IS NOT OLD.rowid) AND " GUARD_OFF
		    " BEGIN SELECT ",
		    t, t);
	add_raise(m, NULL, SAT_REFUSAL_RENAME);
	sat_sql_add(m->sql, "; END;\n");
	if (m->table->append_only) {
		sat_sql_add(m->sql,
			    "CREATE TRIGGER _satchel_%s_update_refuse BEFORE"
			    " UPDATE ON %s WHEN (",
			    t, t);
		add_changed(m);
		sat_sql_add(m->sql, ") AND " GUARD_OFF " BEGIN SELECT ");
		add_raise(m, NULL, SAT_REFUSAL_FIXED);
		sat_sql_add(m->sql, "; END;\n");
		return;
	}
	add_refusals(m);
	sat_sql_add(m->sql,
		    "CREATE TRIGGER _satchel_%s_update AFTER UPDATE ON %s"
		    " WHEN (",
		    t, t);
	add_changed(m);
	sat_sql_add(m->sql, ") AND " GUARD_OFF " BEGIN ");
	add_capture(m, "NEW.id", "U", "OLD.", "NEW.");
	add_image(m, "OLD.");
	sat_sql_add(m->sql, "; END;\n");
}

static void add_delete(struct maker *m)
{
	const char *t = m->table->name;

	sat_sql_add(m->sql,
		    "CREATE TRIGGER _satchel_%s_delete AFTER DELETE ON %s"
		    " WHEN " GUARD_OFF " BEGIN SELECT ",
		    t, t);
	add_raise(m, NULL, SAT_REFUSAL_ORPHAN);
	sat_sql_add(m->sql, " FROM _satchel_orphan WHERE t=%u AND id=OLD.id;",
		    m->table->no);
	add_capture(m, "OLD.id", "D", "OLD.", NULL);
	add_image(m, "OLD.");
	sat_sql_add(m->sql, "; END;\n");
}

void sat_triggers_add(struct sat_sql *s, const struct sat_table *t,
		      enum sat_role role, const struct sat_id *user,
		      const struct sat_id *home)
{
	struct maker m = { s, t, role, user, home, false, false };

	if (t->derived) {
		add_refusal(&m, "INSERT", SAT_REFUSAL_DERIVED);
		add_refusal(&m, "UPDATE", SAT_REFUSAL_DERIVED);
		add_refusal(&m, "DELETE", SAT_REFUSAL_DERIVED);
		return;
	}
	if ((t->insert & SAT_ROLE_BIT(role)) != 0)
		add_insert(&m);
	else
		add_refusal(&m, "INSERT", SAT_REFUSAL_INSERT);
	add_update(&m);
	if (t->append_only)
		add_refusal(&m, "DELETE", SAT_REFUSAL_KEPT);
	else if ((t->remove & SAT_ROLE_BIT(role)) != 0)
		add_delete(&m);
	else
		add_refusal(&m, "DELETE", SAT_REFUSAL_DELETE);
}
