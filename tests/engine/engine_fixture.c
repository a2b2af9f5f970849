#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/pki.h"
#include "proto/catalogue_load.h"

#define OK(call)                                                            \
	do {                                                                \
		struct sat_err err;                                         \
		int rc_ = (call);                                           \
		if (rc_ != SAT_OK)                                          \
			print_error("%s: %s\n", sat_rc_name(rc_), err.msg); \
		assert_int_equal(rc_, SAT_OK);                              \
	} while (0)

struct sat_value text(const char *s)
{
	return sat_value_text(sat_slice_str(s));
}

struct sat_value idv(const struct sat_id *id)
{
	return sat_value_id(id);
}

struct sat_id new_id(struct world *w)
{
	uint8_t random[10] = { 0 };

	w->next_id++;
	for (unsigned i = 0; i < 4; i++)
		random[9 - i] = (uint8_t)(w->next_id >> (8 * i));
	return sat_id_v7(NOON_MS + w->next_id, random);
}

const struct sat_table *table(struct world *w, const char *name)
{
	const struct sat_table *t = sat_catalogue_table(
		sat_store_catalogue(w->store), sat_slice_str(name));

	assert_non_null(t);
	return t;
}

static uint16_t column(const struct sat_table *t, const char *name)
{
	int c = sat_table_column(t, sat_slice_str(name));

	if (c < 0)
		print_error("no column %s.%s\n", t->name, name);
	assert_true(c >= 0);
	return (uint16_t)c;
}

/* ---- the world ---------------------------------------------------------- */

static struct sat_id territory(struct world *w, const char *name,
			       const char *level, const struct sat_id *parent)
{
	struct sat_id id = new_id(w);
	struct field f[] = { { "code", text(name) },
			     { "name", text(name) },
			     { "level", text(level) },
			     { parent != NULL ? "parent_id" : NULL,
			       parent != NULL ? idv(parent)
					      : sat_value_null() },
			     { NULL, sat_value_null() } };

	local_ok(w, SAT_OP_INSERT, "territory", &id, f);
	return id;
}

static struct sat_id person(struct world *w, const char *login,
			    const char *role, const struct sat_id *home)
{
	struct sat_id id = new_id(w);
	struct field f[] = {
		{ "login", text(login) },       { "name", text(login) },
		{ "role", text(role) },         { "territory_id", idv(home) },
		{ "active", sat_value_int(1) }, { NULL, sat_value_null() }
	};
	struct sat_grant g = { .user = id,
			       .territory = *home,
			       .role = sat_role_of(sat_slice_str(role)) };

	local_ok(w, SAT_OP_INSERT, "user", &id, f);
	group_begin(w);
	OK(sat_store_grant_put(w->store, &g, &err));
	OK(sat_engine_rights_changed(w->engine, &err));
	(void)group_commit(w);
	return id;
}

void world_open(struct world *w)
{
	static const uint8_t random[16] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	memset(w, 0, sizeof *w);
	(void)snprintf(w->dir, sizeof w->dir, "/tmp/sat-engine-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->path, sizeof w->path, "%s/satchel.db", w->dir);
	sat_arena_init(&w->arena, (size_t)1 << 30);
	w->now_ms = NOON_MS;
	w->zip = sat_zip_new();
	assert_non_null(w->zip);
	w->pages = sat_page_cache_new(1 << 20);
	assert_non_null(w->pages);
	OK(sat_store_open_sqlite(w->path, true, true, &w->store, &err));
	OK(sat_engine_init(w->store, sat_catalogue_builtin(), "Test", w->now_ms,
			   random, &err));
	OK(sat_engine_open(w->store, &w->engine, &err));
	OK(sat_store_open_sqlite(w->path, false, false, &w->reader, &err));
	w->nation = territory(w, "CN", "nation", NULL);
	w->east = territory(w, "EAST", "region", &w->nation);
	w->west = territory(w, "WEST", "region", &w->nation);
	w->t1 = territory(w, "T1", "city", &w->east);
	w->t2 = territory(w, "T2", "city", &w->east);
	w->t3 = territory(w, "T3", "city", &w->west);
	w->ann = person(w, "ann", "rep", &w->t1);
	w->bob = person(w, "bob", "rep", &w->t1);
	w->max = person(w, "max", "manager", &w->east);
	w->hq = person(w, "hq", "hq", &w->nation);
}

void world_close(struct world *w)
{
	char cmd[256];

	sat_engine_close(w->engine);
	sat_store_close(w->reader);
	sat_store_close(w->store);
	sat_zip_free(w->zip);
	sat_page_cache_free(w->pages);
	sat_arena_fini(&w->arena);
	(void)snprintf(cmd, sizeof cmd, "rm -rf '%s'", w->dir);
	assert_int_equal(system(cmd), 0);
}

int world_setup(void **state)
{
	struct world *w = malloc(sizeof *w);

	assert_non_null(w);
	world_open(w);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	world_close(*state);
	free(*state);
	return 0;
}

void group_begin(struct world *w)
{
	w->now_ms += 1000;
	OK(sat_engine_begin(w->engine, w->now_ms, &err));
}

struct sat_commit_info group_commit(struct world *w)
{
	struct sat_commit_info info;

	OK(sat_engine_commit(w->engine, &info, &err));
	return info;
}

int local(struct world *w, enum sat_op op, const char *t,
	  const struct sat_id *id, const struct field *fields,
	  struct sat_err *err)
{
	const struct sat_table *tab = table(w, t);
	uint16_t columns[CHANGES_MAX];
	struct sat_value values[CHANGES_MAX];
	struct sat_local_write lw = { .op = op,
				      .table = tab,
				      .id = *id,
				      .columns = columns,
				      .values = values };
	uint32_t bad;
	int rc;

	for (; fields != NULL && fields->column != NULL; fields++) {
		columns[lw.column_count] = column(tab, fields->column);
		values[lw.column_count++] = fields->value;
	}
	group_begin(w);
	rc = sat_engine_local(w->engine, &lw, 1, &bad, err);
	(void)group_commit(w);
	return rc;
}

void local_ok(struct world *w, enum sat_op op, const char *t,
	      const struct sat_id *id, const struct field *fields)
{
	OK(local(w, op, t, id, fields, &err));
}

struct sat_id account_x(struct world *w)
{
	struct sat_id id = new_id(w);
	struct field f[] = { { "name", text("X") },
			     { "territory_id", idv(&w->t1) },
			     { "phone", text("100") },
			     { "email", text("a@x") },
			     { NULL, sat_value_null() } };

	local_ok(w, SAT_OP_INSERT, "account", &id, f);
	return id;
}

/* ---- devices ------------------------------------------------------------ */

void device_add(struct world *w, struct device *d, const struct sat_id *user)
{
	struct sat_invite inv = { .user = *user,
				  .expires_ms = w->now_ms + 3600000 };
	struct sat_device made;
	struct sat_user who;
	char token[SAT_TOKEN_CHARS + 1];

	memset(d, 0, sizeof *d);
	d->w = w;
	sat_buf_init(&d->bytes, SAT_CHANGESET_BYTES_MAX);
	OK(sat_token_new(token, &err));
	OK(sat_token_hash(sat_slice_str(token), inv.token_hash, &err));
	memcpy(d->key_hash, inv.token_hash, sizeof d->key_hash);
	group_begin(w);
	OK(sat_store_invite_put(w->store, &inv, &err));
	OK(sat_engine_enrol(w->engine, sat_slice_str(token), d->key_hash,
			    sat_slice_str("tablet"), &made, &who, &err));
	(void)group_commit(w);
	d->replica = made.replica;
	d->cs.deltas = d->deltas;
}

void device_fini(struct device *d)
{
	sat_buf_fini(&d->bytes);
}

struct held hold(struct world *w, const char *t, const struct sat_id *id)
{
	struct held h = { .table = table(w, t), .id = *id };
	struct sat_stored_row row = stored(w, t, id);
	struct sat_vv dv;

	h.seq = row.seq;
	if (row.seq != 0)
		assert_int_equal(
			sat_meta_vectors(&w->arena, row.meta, &h.vv, &dv),
			SAT_OK);
	return h;
}

static struct sat_delta *add_delta(struct device *d, enum sat_op op,
				   const struct held *h)
{
	struct sat_delta *x = &d->deltas[d->cs.delta_count];

	assert_true(d->cs.delta_count < DELTAS_MAX);
	*x = (struct sat_delta){
		.op = op,
		.table = h->table,
		.id = h->id,
		.context = h->vv,
		.base_seq = h->seq,
		.at_ms = d->w->now_ms + d->skew_ms,
		.changes = d->changes[d->cs.delta_count],
	};
	d->cs.delta_count++;
	return x;
}

struct sat_delta *add_insert(struct device *d, const char *t,
			     const struct sat_id *id)
{
	struct held h = { .table = table(d->w, t), .id = *id };

	return add_delta(d, SAT_OP_INSERT, &h);
}

struct sat_delta *add_update(struct device *d, const struct held *h)
{
	return add_delta(d, SAT_OP_UPDATE, h);
}

struct sat_delta *add_delete(struct device *d, const struct held *h)
{
	return add_delta(d, SAT_OP_DELETE, h);
}

/* The change of that column in the last delta, kept in column order. */
static struct sat_change *change(struct device *d, const char *name)
{
	struct sat_delta *x = &d->deltas[d->cs.delta_count - 1];
	uint16_t c = column(x->table, name);
	uint32_t at = x->change_count;

	for (uint32_t i = 0; i < x->change_count; i++) {
		if (x->changes[i].column == c)
			return &x->changes[i];
	}
	assert_true(at < CHANGES_MAX);
	while (at > 0 && x->changes[at - 1].column > c) {
		x->changes[at] = x->changes[at - 1];
		at--;
	}
	x->change_count++;
	x->changes[at] = (struct sat_change){ .column = c, .at_ms = x->at_ms };
	return &x->changes[at];
}

struct sat_change *set_value(struct device *d, const char *name,
			     struct sat_value v)
{
	struct sat_change *ch = change(d, name);

	ch->value = v;
	return ch;
}

void set_text(struct device *d, const char *name, const char *s)
{
	(void)set_value(d, name, text(s));
}

void set_id(struct device *d, const char *name, const struct sat_id *id)
{
	struct sat_id *kept = sat_arena_alloc(&d->w->arena, sizeof *kept);

	assert_non_null(kept);
	*kept = *id;
	(void)set_value(d, name, idv(kept));
}

static const struct sat_slice *one(struct world *w, const char *s)
{
	struct sat_slice *x = sat_arena_alloc(&w->arena, sizeof *x);

	assert_non_null(x);
	*x = sat_slice_str(s);
	return x;
}

void set_adds(struct device *d, const char *name, const char *element)
{
	struct sat_change *ch = change(d, name);

	ch->adds = one(d->w, element);
	ch->add_count = 1;
}

void set_removes(struct device *d, const char *name, const char *element)
{
	struct sat_change *ch = change(d, name);

	ch->removes = one(d->w, element);
	ch->remove_count = 1;
}

void seal(struct device *d)
{
	uint64_t epoch;

	/* of the store: a running server has the engine */
	OK(sat_engine_stored_epoch(d->w->store, &epoch, &err));
	d->cs.dot = (struct sat_dot){ d->replica, ++d->seq };
	memcpy(d->cs.prev_hash, d->hash, sizeof d->hash);
	d->cs.marker = d->marker;
	if (!d->behind && d->w->engine != NULL) /* it knows all there is */
		d->cs.marker =
			(struct sat_marker){ epoch, UINT64_MAX, UINT32_MAX };
	if (d->cs.catalogue == 0)
		d->cs.catalogue = sat_store_catalogue(d->w->store)->version;
	sat_buf_clear(&d->bytes);
	assert_int_equal(sat_changeset_encode(&d->cs, &d->bytes), SAT_OK);
	sat_hash_pack(sat_hash_bytes(sat_buf_peek(&d->bytes)), d->hash);
	d->cs.delta_count = 0;
}

int push_bytes(struct device *d, struct sat_slice bytes)
{
	struct sat_push_from from = { .replica = d->replica,
				      .clock = d->clock,
				      .told_seq = d->told_seq,
				      .told_grants = d->told_grants };
	struct sat_err err;

	from.clock.offset_ms = -d->skew_ms;
	return sat_engine_push(d->w->engine, &from, bytes, &d->w->arena,
			       &d->verdict, &d->refusal, &err);
}

const struct sat_msg_verdict *push(struct device *d)
{
	seal(d);
	group_begin(d->w);
	assert_int_equal(push_bytes(d, sat_buf_peek(&d->bytes)), SAT_OK);
	(void)group_commit(d->w);
	assert_int_equal(d->verdict.seq, d->seq);
	return &d->verdict;
}

void push_expect(struct device *d, enum sat_verdict_status status)
{
	(void)push(d);
	if (d->verdict.status != status)
		print_error(
			"reason: %s\n",
			sat_reason_name((enum sat_reason)d->verdict.reason));
	assert_int_equal(d->verdict.status, status);
}

void push_rejected(struct device *d, enum sat_reason reason, const char *name)
{
	const struct sat_table *t;

	(void)push(d);
	assert_int_equal(d->verdict.status, SAT_VERDICT_REJECTED);
	assert_string_equal(sat_reason_name((enum sat_reason)d->verdict.reason),
			    sat_reason_name(reason));
	if (name == NULL)
		return;
	t = sat_catalogue_table_no(sat_store_catalogue(d->w->store),
				   d->verdict.where.table_no);
	assert_non_null(t);
	assert_int_equal(d->verdict.where.column_no,
			 t->columns[column(t, name)].no);
}

/* ---- what the server shows ---------------------------------------------- */

struct sat_stored_row stored(struct world *w, const char *t,
			     const struct sat_id *id)
{
	struct sat_stored_row row;

	OK(sat_store_row_get(w->store, table(w, t), id, &w->arena, &row, &err));
	return row;
}

bool is_alive(struct world *w, const char *t, const struct sat_id *id)
{
	struct sat_stored_row row = stored(w, t, id);

	return row.seq != 0 && !row.deleted;
}

struct sat_value value_of(struct world *w, const char *t,
			  const struct sat_id *id, const char *name)
{
	struct sat_stored_row row = stored(w, t, id);

	assert_int_not_equal(row.seq, 0);
	return row.values[column(table(w, t), name)];
}

void expect_text(struct world *w, const char *t, const struct sat_id *id,
		 const char *name, const char *s)
{
	struct sat_value v = value_of(w, t, id, name);
	struct sat_value want = text(s);

	if (!sat_value_equal(&v, &want))
		print_error("%s.%s is \"%.*s\", not \"%s\"\n", t, name,
			    v.kind == SAT_TEXT ? (int)v.s.len : 0,
			    v.kind == SAT_TEXT ? (const char *)v.s.ptr : "", s);
	assert_true(sat_value_equal(&v, &want));
}

void expect_int(struct world *w, const char *t, const struct sat_id *id,
		const char *name, int64_t i)
{
	struct sat_value v = value_of(w, t, id, name);

	assert_int_equal(v.kind, SAT_INT);
	assert_int_equal(v.i, i);
}

uint32_t scope_of(struct world *w, const struct sat_id *t)
{
	uint32_t scope = 0;

	OK(sat_store_scope_of(w->store, t, false, &scope, &err));
	return scope;
}

static const struct sat_place *place(struct world *w, const char *t,
				     const struct sat_id *id, uint32_t scope)
{
	struct sat_stored_row row = stored(w, t, id);

	for (uint32_t i = 0; i < row.place_count; i++) {
		if (row.places[i].scope == scope)
			return &row.places[i];
	}
	return NULL;
}

bool in_scope(struct world *w, const char *t, const struct sat_id *id,
	      uint32_t scope)
{
	const struct sat_place *p = place(w, t, id, scope);

	return p != NULL && !p->evict;
}

bool evicted_from(struct world *w, const char *t, const struct sat_id *id,
		  uint32_t scope)
{
	const struct sat_place *p = place(w, t, id, scope);

	return p != NULL && p->evict;
}

/* ---- the ledger --------------------------------------------------------- */

struct search {
	const char *field;
	struct ledger found;
	struct world *w;
};

static void copy_text(const struct sat_stored_row *row,
		      const struct sat_table *t, const char *name, char *out,
		      size_t room)
{
	const struct sat_value *v = &row->values[column(t, name)];

	(void)snprintf(out, room, "%.*s",
		       v->kind == SAT_TEXT ? (int)v->s.len : 0,
		       v->kind == SAT_TEXT ? (const char *)v->s.ptr : "");
}

static int on_ledger(void *arg, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	struct search *s = arg;
	char field[64];

	copy_text(row, t, "field", field, sizeof field);
	if (row->deleted || (s->field != NULL && strcmp(field, s->field) != 0))
		return SAT_OK;
	s->found.count++;
	copy_text(row, t, "state", s->found.state, sizeof s->found.state);
	s->found.open_count += strcmp(s->found.state, "open") == 0;
	s->found.resolved_count += strcmp(s->found.state, "resolved") == 0;
	copy_text(row, t, "outcome", s->found.outcome, sizeof s->found.outcome);
	copy_text(row, t, "shown_value", s->found.shown, sizeof s->found.shown);
	copy_text(row, t, "losing_value", s->found.losing,
		  sizeof s->found.losing);
	copy_text(row, t, "kind", s->found.kind, sizeof s->found.kind);
	return SAT_OK;
}

struct ledger ledger_of(struct world *w, const struct sat_id *row,
			const char *field)
{
	const struct sat_table *t = table(w, "conflict");
	struct search s = { .field = field, .w = w };
	char id[SAT_UUID_CHARS + 1];
	struct sat_value v;

	sat_id_format(row, id);
	v = text(id);
	OK(sat_store_rows(w->store, t, column(t, "row_id"), &v, on_ledger, &s,
			  &err));
	return s.found;
}
