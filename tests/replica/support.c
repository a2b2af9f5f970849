#include "tests/replica/support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- fixture ------------------------------------------------------------- */

struct fixture *fixture_new(const char *folder, enum sat_role role)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof f->folder, "%s", folder);
	(void)snprintf(f->path, sizeof f->path, "%s/replica.db", f->folder);
	sat_arena_init(&f->a, 512 * 1024 * 1024);
	f->rows = sat_arena_array(&f->a, TOY_ROWS, sizeof *f->rows);
	f->seq = 1;
	f->now_ms = 1600000000000;
	f->role = role;
	return f;
}

void fixture_create(struct fixture *f, int64_t cursor)
{
	static const uint32_t scopes[] = { 0, REP_SCOPE };
	struct sat_replica_identity who = {
		.replica = 7,
		.epoch = 99,
		.org = sat_slice_str("Org"),
		.login = sat_slice_str("ann"),
		.name = sat_slice_str("Ann"),
		.server = sat_slice_str("localhost:7443"),
		.rights = { .version = 1,
			    .scopes = scopes,
			    .scope_count = 2,
			    .role = f->role },
	};

	who.rights.user = id_of("f1");
	who.rights.home = id_of("e1");
	OK(sat_replica_create(f->path, &who, sat_catalogue_builtin(), &f->err));
	reopen(f);
	if (cursor == 0)
		return;
	OK(sat_txn_begin(f->r, &f->err));
	f->r->facts.cursor = cursor;
	f->r->facts.grants_pulled = 1;
	OK(sat_txn_end(f->r, SAT_OK, &f->err));
}

static int make(void **state, enum sat_role role, int64_t cursor)
{
	char folder[] = "/tmp/replica-XXXXXX";
	struct fixture *f;

	assert_non_null(mkdtemp(folder));
	f = fixture_new(folder, role);
	fixture_create(f, cursor);
	*state = f;
	return 0;
}

int setup(void **state)
{
	return make(state, SAT_ROLE_REP, 1);
}

int setup_manager(void **state)
{
	return make(state, SAT_ROLE_MANAGER, 1);
}

int setup_filling(void **state)
{
	return make(state, SAT_ROLE_REP, 0);
}

int teardown(void **state)
{
	struct fixture *f = *state;
	char command[300];

	sat_replica_close(f->r);
	(void)snprintf(command, sizeof command, "rm -rf %s", f->folder);
	assert_int_equal(system(command), 0);
	sat_arena_fini(&f->a);
	free(f);
	return 0;
}

void reopen(struct fixture *f)
{
	sat_replica_close(f->r);
	f->r = NULL;
	OK(sat_replica_open(f->path, &f->r, &f->err));
	OK(sat_replica_still(f->r, &f->err)); /* as the daemon */
	f->c = sat_replica_catalogue(f->r);
	for (uint32_t i = 0; i < f->row_count; i++)
		f->rows[i].table =
			sat_catalogue_table_no(f->c, f->rows[i].table_no);
}

/* ---- ids ----------------------------------------------------------------- */

struct sat_id id_of(const char *alias)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_id id;

	(void)snprintf(text, sizeof text,
		       "00000000-0000-7000-8000-0000000000%s", alias);
	assert_true(sat_id_parse(sat_slice_str(text), &id));
	return id;
}

const char *id_text(struct fixture *f, const char *alias)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_id id = id_of(alias);

	sat_id_format(&id, text);
	return sat_arena_string(&f->a, sat_slice_str(text));
}

#define PREFIX "00000000-0000-7000-8000-0000000000"

static void add_text(struct sat_sql *s, struct sat_slice v)
{
	if (v.len == SAT_UUID_CHARS &&
	    memcmp(v.ptr, PREFIX, sizeof PREFIX - 1) == 0)
		sat_sql_add(s, "%.2s", (const char *)v.ptr + 34);
	else
		sat_sql_add(s, "%.*s", (int)v.len, (const char *)v.ptr);
}

static const char *finish(struct fixture *f, struct sat_sql *s)
{
	char *text;

	assert_int_equal(s->rc, SAT_OK);
	text = sat_arena_string(&f->a, sat_buf_peek(&s->text));
	assert_non_null(text);
	sat_sql_fini(s);
	return text;
}

/* ---- the app ------------------------------------------------------------- */

static const char *expand(struct fixture *f, const char *sql)
{
	struct sat_sql s;

	sat_sql_init(&s);
	s.text.max = 16 * 1024 * 1024;
	for (const char *p = sql; *p != '\0'; p++) {
		if (*p == '$') {
			sat_sql_add(&s, "'" PREFIX "%.2s'", p + 1);
			p += 2;
		} else {
			sat_sql_add(&s, "%c", *p);
		}
	}
	return finish(f, &s);
}

static sqlite3 *app_open(struct fixture *f)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
	return db;
}

void app(struct fixture *f, const char *sql)
{
	sqlite3 *db = app_open(f);
	char *message = NULL;

	if (sqlite3_exec(db, expand(f, sql), NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

const char *app_refused(struct fixture *f, const char *sql)
{
	sqlite3 *db = app_open(f);
	char *message = NULL;
	const char *copy;

	if (sqlite3_exec(db, expand(f, sql), NULL, NULL, &message) == SQLITE_OK)
		fail_msg("not refused: %s", sql);
	copy = sat_arena_string(&f->a, sat_slice_str(message));
	sqlite3_free(message);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return copy;
}

void refused(struct fixture *f, const char *sql, const char *sentence)
{
	assert_string_equal(app_refused(f, sql), sentence);
}

static int on_row(void *arg, int columns, char **values, char **names)
{
	struct sat_sql *s = arg;

	(void)names;
	if (sat_buf_peek(&s->text).len > 0)
		sat_sql_add(s, "\n");
	for (int i = 0; i < columns; i++) {
		if (i > 0)
			sat_sql_add(s, "|");
		if (values[i] == NULL)
			sat_sql_add(s, "-");
		else
			add_text(s, sat_slice_str(values[i]));
	}
	return 0;
}

const char *query(struct fixture *f, const char *sql)
{
	sqlite3 *db = app_open(f);
	struct sat_sql s;
	char *message = NULL;

	sat_sql_init(&s);
	if (sqlite3_exec(db, expand(f, sql), on_row, &s, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return finish(f, &s);
}

void expect(struct fixture *f, const char *sql, const char *result)
{
	assert_string_equal(query(f, sql), result);
}

/* ---- changesets as text -------------------------------------------------- */

static void add_value(struct sat_sql *s, const struct sat_value *v)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_id id;

	if (v->kind == SAT_NULL) {
		sat_sql_add(s, "-");
	} else if (v->kind == SAT_INT) {
		sat_sql_add(s, "%" PRId64, v->i);
	} else if (v->kind == SAT_REAL) {
		sat_sql_add(s, "%g", v->r);
	} else if (v->kind == SAT_BLOB && v->s.len == 16) {
		memcpy(id.b, v->s.ptr, 16);
		sat_id_format(&id, text);
		add_text(s, sat_slice_str(text));
	} else {
		add_text(s, v->s);
	}
}

static void add_change(struct sat_sql *s, const struct sat_column *c,
		       const struct sat_change *change)
{
	sat_sql_add(s, " %s", c->name);
	if (c->policy == SAT_POLICY_COUNTER) {
		sat_sql_add(s, "%+" PRId64, change->value.i);
		return;
	}
	if (c->policy == SAT_POLICY_SET) {
		for (uint32_t i = 0; i < change->add_count; i++)
			sat_sql_add(s, "+%.*s", (int)change->adds[i].len,
				    (const char *)change->adds[i].ptr);
		for (uint32_t i = 0; i < change->remove_count; i++)
			sat_sql_add(s, "-%.*s", (int)change->removes[i].len,
				    (const char *)change->removes[i].ptr);
		return;
	}
	sat_sql_add(s, "=");
	if (change->before.kind != SAT_NULL) {
		add_value(s, &change->before);
		sat_sql_add(s, ">");
	}
	add_value(s, &change->value);
	if (change->resolves)
		sat_sql_add(s, "!");
}

static void add_delta(struct sat_sql *s, const struct sat_delta *d)
{
	static const char *const ops[] = { "insert", "update", "delete" };
	char text[SAT_UUID_CHARS + 1];

	sat_id_format(&d->id, text);
	sat_sql_add(s, "%s %s ", ops[d->op], d->table->name);
	add_text(s, sat_slice_str(text));
	if (d->context.count > 0)
		sat_sql_add(s, " {");
	for (uint32_t i = 0; i < d->context.count; i++)
		sat_sql_add(s, "%s%u:%" PRIu64, i > 0 ? "," : "",
			    d->context.dots[i].replica, d->context.dots[i].seq);
	if (d->context.count > 0)
		sat_sql_add(s, "}");
	if (d->base_seq > 0)
		sat_sql_add(s, " on %" PRIu64, d->base_seq);
	for (uint32_t i = 0; i < d->change_count; i++)
		add_change(s, &d->table->columns[d->changes[i].column],
			   &d->changes[i]);
	sat_sql_add(s, "\n");
}

const char *dump(struct fixture *f, uint64_t seq)
{
	struct sat_changeset cs;
	struct sat_sql s;

	sat_arena_reset(&f->r->batch);
	OK(sat_outbox_decode(f->r, seq, &cs, &f->err));
	sat_sql_init(&s);
	for (uint32_t i = 0; i < cs.delta_count; i++)
		add_delta(&s, &cs.deltas[i]);
	return finish(f, &s);
}

uint64_t harvest(struct fixture *f)
{
	uint64_t seq;

	OK(sat_replica_harvest(f->r, 0, false, 1000, &seq, &f->err));
	return seq;
}

const char *harvested(struct fixture *f)
{
	uint64_t seq = harvest(f);

	return seq == 0 ? "" : dump(f, seq);
}

void expect_harvest(struct fixture *f, const char *text)
{
	assert_string_equal(harvested(f), text);
}
