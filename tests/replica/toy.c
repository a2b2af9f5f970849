/* The toy server: the merge engine over an array of rows, and the pages and
 * verdicts a real one would send. */
#include "tests/replica/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
