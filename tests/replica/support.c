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

/* ---- the toy server ------------------------------------------------------ */

static struct toy_row *toy_at(struct fixture *f, const struct sat_table *t,
			      const struct sat_id *id, bool make_it)
{
	struct toy_row *row;

	for (uint32_t i = 0; i < f->row_count; i++) {
		row = &f->rows[i];
		if (row->table == t && memcmp(&row->id, id, sizeof *id) == 0)
			return row;
	}
	assert_true(make_it && f->row_count < TOY_ROWS);
	row = &f->rows[f->row_count++];
	*row = (struct toy_row){ .table = t, .table_no = t->no, .id = *id };
	row->scopes[0] = REP_SCOPE;
	row->scope_count = 1;
	assert_int_equal(sat_row_init(&f->a, t, &row->row), SAT_OK);
	return row;
}

static const struct sat_table *table_of(struct fixture *f, const char *name)
{
	const struct sat_table *t =
		sat_catalogue_table(f->c, sat_slice_str(name));

	assert_non_null(t);
	return t;
}

struct toy_row *toy_find(struct fixture *f, const char *table,
			 const char *alias)
{
	struct sat_id id = id_of(alias);

	return toy_at(f, table_of(f, table), &id, false);
}

static struct sat_value
parse_value(struct fixture *f, const struct sat_column *c, const char *text)
{
	struct sat_id *id;

	if (strcmp(text, "NULL") == 0)
		return sat_value_null();
	switch (c->type) {
	case SAT_TYPE_REF:
		id = sat_arena_alloc(&f->a, sizeof *id);
		*id = id_of(text);
		return sat_value_id(id);
	case SAT_TYPE_INT:
	case SAT_TYPE_BOOL:
	case SAT_TYPE_MONEY:
	case SAT_TYPE_TIME:
	case SAT_TYPE_COUNTER:
		return sat_value_int(strtoll(text, NULL, 10));
	case SAT_TYPE_REAL:
		return sat_value_real(strtod(text, NULL));
	default:
		return sat_value_text(sat_slice_str(
			sat_arena_string(&f->a, sat_slice_str(text))));
	}
}

static void parse_set(struct fixture *f, const char *text,
		      struct sat_change *change)
{
	char *copy = sat_arena_string(&f->a, sat_slice_str(text)), *rest;
	struct sat_slice *adds = sat_arena_array(&f->a, 8, sizeof *adds);
	struct sat_slice *removes = sat_arena_array(&f->a, 8, sizeof *adds);

	for (char *p = strtok_r(copy, " ", &rest); p != NULL;
	     p = strtok_r(NULL, " ", &rest)) {
		if (*p == '+')
			adds[change->add_count++] = sat_slice_str(p + 1);
		else
			removes[change->remove_count++] = sat_slice_str(p + 1);
	}
	change->adds = adds;
	change->removes = removes;
}

static int compare_changes(const void *x, const void *y)
{
	const struct sat_change *p = x, *q = y;

	return (p->column > q->column) - (p->column < q->column);
}

static void parse_changes(struct fixture *f, struct sat_delta *d, va_list args)
{
	const char *name, *text;

	d->changes = sat_arena_array(&f->a, d->table->column_count,
				     sizeof *d->changes);
	while ((name = va_arg(args, const char *)) != NULL) {
		struct sat_change *c = &d->changes[d->change_count++];
		int at = sat_table_column(d->table, sat_slice_str(name));

		assert_true(at >= 0);
		text = va_arg(args, const char *);
		*c = (struct sat_change){ .column = (uint16_t)at,
					  .at_ms = d->at_ms };
		if (d->table->columns[at].policy == SAT_POLICY_SET)
			parse_set(f, text, c);
		else
			c->value = parse_value(f, &d->table->columns[at], text);
	}
	qsort(d->changes, d->change_count, sizeof *d->changes, compare_changes);
}

/* As the server does it: stamp below its clock, merge, a new _seq. */
static void toy_merge(struct fixture *f, struct toy_row *row,
		      struct sat_delta *d, struct sat_dot dot,
		      int64_t offset_ms)
{
	struct sat_clock_map clock = { .offset_ms = offset_ms };
	enum sat_merge_outcome outcome;
	struct sat_row copy;
	bool clamped;

	sat_delta_stamp(d, dot, &row->row, &clock, UINT64_MAX, &clamped);
	assert_int_equal(sat_merge_apply(&f->a, &row->row, d, dot, &outcome),
			 SAT_OK);
	assert_int_equal(outcome, SAT_MERGE_APPLIED);
	assert_int_equal(sat_row_copy(&f->a, d->table, &row->row, &copy),
			 SAT_OK);
	row->row = copy;
	row->seq = ++f->seq;
}

static struct sat_delta toy_delta(struct fixture *f, char op, const char *table,
				  const char *alias)
{
	return (struct sat_delta){
		.op = op == 'i'   ? SAT_OP_INSERT
		      : op == 'u' ? SAT_OP_UPDATE
				  : SAT_OP_DELETE,
		.table = table_of(f, table),
		.id = id_of(alias),
		.at_ms = f->now_ms++,
	};
}

struct toy_row *toy_write(struct fixture *f, char op, const char *table,
			  const char *alias, ...)
{
	struct sat_delta d = toy_delta(f, op, table, alias);
	struct toy_row *row = toy_at(f, d.table, &d.id, true);
	va_list args;

	va_start(args, alias);
	parse_changes(f, &d, args);
	va_end(args);
	d.context = row->row.vv;
	toy_merge(f, row, &d, (struct sat_dot){ 1, ++f->own }, 0);
	return row;
}

struct toy_row *toy_write_as(struct fixture *f, uint32_t replica, uint64_t seq,
			     struct sat_vv context, char op, const char *table,
			     const char *alias, ...)
{
	struct sat_delta d = toy_delta(f, op, table, alias);
	struct toy_row *row = toy_at(f, d.table, &d.id, true);
	va_list args;

	va_start(args, alias);
	parse_changes(f, &d, args);
	va_end(args);
	d.context = context;
	toy_merge(f, row, &d, (struct sat_dot){ replica, seq }, 0);
	return row;
}

uint64_t toy_push(struct fixture *f, uint64_t seq)
{
	struct sat_changeset cs;
	struct sat_buf bytes;
	uint64_t total = 0, first = f->seq + 1;
	uint8_t *p, hash[16];
	struct sat_slice copy;
	size_t n;

	sat_buf_init(&bytes, SAT_CHANGESET_BYTES_MAX);
	do { /* in small parts, as the wire would */
		assert_int_equal(sat_buf_reserve(&bytes, 1000, &p), SAT_OK);
		OK(sat_replica_outbox_read(f->r, seq, sat_buf_peek(&bytes).len,
					   p, 1000, &n, &total, hash, &f->err));
		sat_buf_commit(&bytes, n);
	} while (sat_buf_peek(&bytes).len < total);
	assert_int_equal(sat_arena_copy(&f->a, sat_buf_peek(&bytes), &copy),
			 SAT_OK);
	sat_buf_fini(&bytes);
	OK(sat_changeset_decode(f->c, copy, &f->a, &cs, NULL, &f->err));
	assert_int_equal(cs.dot.seq, seq);
	for (uint32_t i = 0; i < cs.delta_count; i++)
		toy_merge(f,
			  toy_at(f, cs.deltas[i].table, &cs.deltas[i].id, true),
			  &cs.deltas[i], cs.dot, f->offset_ms);
	return first;
}

/* Values and metadata as the device's role may have them. */
static void toy_state(struct fixture *f, const struct toy_row *row,
		      struct sat_value *values, struct sat_slice *meta,
		      bool *readable)
{
	const struct sat_table *t = row->table;
	struct sat_buf out, masked;

	sat_buf_init(&out, 1 << 20);
	sat_buf_init(&masked, 1 << 20);
	for (uint16_t i = 0; i < t->column_count; i++) {
		readable[i] = (t->columns[i].read & SAT_ROLE_BIT(f->role)) != 0;
		assert_int_equal(sat_field_value(&f->a, &t->columns[i],
						 &row->row.fields[i],
						 &values[i]),
				 SAT_OK);
	}
	assert_int_equal(sat_meta_encode(t, &row->row, values, &out), SAT_OK);
	assert_int_equal(sat_meta_mask(&f->a, t, sat_buf_peek(&out), values,
				       readable, &masked),
			 SAT_OK);
	assert_int_equal(sat_arena_copy(&f->a, sat_buf_peek(&masked), meta),
			 SAT_OK);
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!readable[i] || !sat_row_alive(&row->row))
			values[i] = sat_value_null();
	}
	sat_buf_fini(&out);
	sat_buf_fini(&masked);
}

static void send_page(struct fixture *f, uint32_t scope, struct toy_row *row,
		      bool refs)
{
	const struct sat_table *t = row->table;
	struct sat_value *all =
		sat_arena_array(&f->a, t->column_count, sizeof *all);
	struct sat_value *values =
		sat_arena_array(&f->a, t->column_count, sizeof *values);
	uint16_t *columns =
		sat_arena_array(&f->a, t->column_count, sizeof *columns);
	bool *readable = sat_arena_array(&f->a, t->column_count, sizeof(bool));
	struct sat_slice meta;
	struct sat_page p = { .table = t,
			      .row_count = 1,
			      .ids = &row->id,
			      .seqs = &row->seq,
			      .metas = &meta,
			      .columns = columns,
			      .values = values };
	struct sat_msg_rows m = { .scope = scope,
				  .table_no = t->no,
				  .refs = refs };
	struct sat_slice all_bytes;
	struct sat_buf out;

	toy_state(f, row, all, &meta, readable);
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!readable[i])
			continue;
		columns[p.column_count] = i;
		values[p.column_count++] = all[i];
	}
	sat_buf_init(&out, 1 << 22);
	assert_int_equal(sat_page_encode(&p, refs, &out), SAT_OK);
	all_bytes = sat_buf_peek(&out);
	for (size_t at = 0; at < all_bytes.len; at += m.page.len) {
		m.page.ptr = all_bytes.ptr + at;
		m.page.len = all_bytes.len - at;
		if (f->parts != 0 && m.page.len > f->parts)
			m.page.len = f->parts;
		m.more = at + m.page.len < all_bytes.len;
		OK(sat_replica_stage_rows(f->r, &m, &f->err));
	}
	sat_buf_fini(&out);
}

static void add_scope(struct toy_row *row, uint32_t scope)
{
	for (uint32_t i = 0; i < row->scope_count; i++) {
		if (row->scopes[i] == scope)
			return;
	}
	row->scopes[row->scope_count++] = scope;
}

void toy_send(struct fixture *f, uint32_t scope, const char *table,
	      const char *alias)
{
	struct toy_row *row = toy_find(f, table, alias);

	add_scope(row, scope);
	send_page(f, scope, row, false);
}

void toy_refs(struct fixture *f, uint32_t scope, const char *table,
	      const char *alias)
{
	struct toy_row *row = toy_find(f, table, alias);

	add_scope(row, scope);
	send_page(f, scope, row, true);
}

void toy_evict(struct fixture *f, uint32_t scope, const char *table,
	       const char *alias)
{
	struct toy_row *row = toy_find(f, table, alias);
	struct sat_msg_evict m = { .scope = scope,
				   .table_no = row->table->no,
				   .ids = &row->id,
				   .id_count = 1 };
	uint32_t n = 0;

	for (uint32_t i = 0; i < row->scope_count; i++) {
		if (row->scopes[i] != scope)
			row->scopes[n++] = row->scopes[i];
	}
	row->scope_count = n;
	OK(sat_replica_stage_evict(f->r, &m, &f->err));
}

void toy_checkpoint(struct fixture *f, bool agrees)
{
	struct sat_msg_checkpoint c = { .cursor = f->seq,
					.server_ms = f->now_ms };
	uint64_t harvested_seq;
	bool ok;

	for (uint32_t i = 0; i < f->row_count; i++) {
		struct toy_row *row = &f->rows[i];
		uint16_t n = row->table->column_count;
		struct sat_value *v = sat_arena_array(&f->a, n, sizeof *v);
		bool *readable = sat_arena_array(&f->a, n, sizeof *readable);
		struct sat_slice meta;

		if (!sat_row_alive(&row->row))
			continue;
		toy_state(f, row, v, &meta, readable);
		for (uint32_t k = 0; k < row->scope_count; k++) {
			sat_hash_add(&c.digest,
				     sat_row_hash(row->table, &row->id, meta, v,
						  readable));
			c.rows++;
		}
	}
	OK(sat_replica_checkpoint(f->r, &c, 0, &harvested_seq, &ok, &f->err));
	assert_int_equal(ok, agrees);
}

void toy_verdict(struct fixture *f, uint64_t seq,
		 enum sat_verdict_status status, uint32_t flags,
		 uint64_t first_seq, enum sat_reason reason, const char *table,
		 const char *alias)
{
	struct sat_msg_verdict v = { .seq = seq,
				     .status = status,
				     .flags = flags,
				     .first_seq = first_seq,
				     .offset_ms = f->offset_ms,
				     .reason = reason };

	if (table != NULL) {
		v.where.table_no = table_of(f, table)->no;
		v.where.id = id_of(alias);
	}
	OK(sat_replica_verdict(f->r, &v, f->now_ms, &f->err));
}

void toy_account(struct fixture *f)
{
	(void)toy_write(f, 'i', "account", "a1", "name", "X", "territory_id",
			"e1", "phone", "100", "email", "a@x", "visit_count",
			"4", "tags", "+vip", "class", "normal", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
}
