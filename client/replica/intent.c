/* The other two doors, also plain SQL: _satchel_intent writes with the context
 * that a person saw (the API's If-Match, the retry of a rejected change), and
 * satchel_resolve answers a conflict. Each row of either becomes a change that
 * is sent even if the value is what is already shown.
 *
 * An intent's value: for a counter the increment, for a set the whole set, for
 * a field that is NULL nothing (the row is deleted), else the new value.
 * context: 'replica:seq,...' in rising order, '' for nothing seen, NULL for
 * what the replica holds now. A '+' before it: remembered from long ago (the
 * content of a rejected change); what the replica does not hold any more is
 * left out, and all of its own writes are in. */
#include "client/replica/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One request being turned into a change. */
struct wish {
	struct sat_replica *r;
	const struct sat_table *table;
	struct sat_id id;
	int column; /* -1: delete the row, -2: touch it */
	struct sat_value value;
	struct sat_slice context;
	bool has_context, resolves;
	int64_t at_ms;
	enum sat_reason reason; /* why it cannot be */
};

struct wishes {
	struct sat_replica *r;
	struct sat_delta *deltas;
	uint32_t count, cap;
};

enum { COLUMN_DELETE = -1, COLUMN_TOUCH = -2 };

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "replica_intent",
			   "out of memory");
}

/* ---- reading ------------------------------------------------------------- */

static bool parse_number(struct sat_slice *s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	size_t n = 0;

	for (; n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++) {
		if (v > (max - (uint64_t)(s->ptr[n] - '0')) / 10)
			return false;
		v = v * 10 + (uint64_t)(s->ptr[n] - '0');
	}
	s->ptr += n;
	s->len -= n;
	*ret = v;
	return n > 0;
}

static bool skip(struct sat_slice *s, char c)
{
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	s->ptr++;
	s->len--;
	return true;
}

/* A dot of a remembered context, as far as the replica holds it. */
static void remember(struct sat_vv held, uint32_t self, struct sat_dot dot,
		     struct sat_dot *dots, uint32_t *count)
{
	uint64_t have = sat_vv_get(held, dot.replica);

	if (dot.replica == self || dot.seq > have)
		dot.seq = have;
	if (dot.seq > 0)
		dots[(*count)++] = dot;
}

/* The remembered dots of others, and all of our own. */
static bool remembered(struct sat_arena *a, struct sat_vv seen,
		       struct sat_vv held, uint32_t self, struct sat_vv *ret)
{
	struct sat_dot own = { self, sat_vv_get(held, self) };
	struct sat_dot *dots =
		sat_arena_array(a, (size_t)seen.count + 1, sizeof *dots);
	uint32_t count = 0;

	if (dots == NULL || !sat_vv_valid(seen))
		return false;
	for (uint32_t i = 0; i < seen.count; i++)
		remember(held, self, seen.dots[i], dots, &count);
	*ret = (struct sat_vv){ dots, count };
	return own.seq == 0 || sat_vv_with(a, *ret, own, ret) == SAT_OK;
}

/* False: not a vector, or one that names what this replica has not seen. */
static bool parse_context(struct sat_arena *a, struct sat_slice s,
			  struct sat_vv held, uint32_t self, struct sat_vv *ret)
{
	struct sat_dot *dots = sat_arena_array(a, s.len / 3 + 1, sizeof *dots);
	struct sat_vv vv = { dots, 0 };
	bool old = skip(&s, '+');
	uint64_t replica, seq;

	if (dots == NULL)
		return false;
	while (s.len > 0) {
		if ((vv.count > 0 && !skip(&s, ',')) ||
		    !parse_number(&s, UINT32_MAX, &replica) || !skip(&s, ':') ||
		    !parse_number(&s, INT64_MAX, &seq))
			return false;
		dots[vv.count++] = (struct sat_dot){ (uint32_t)replica, seq };
	}
	if (old)
		return remembered(a, vv, held, self, ret);
	*ret = vv;
	return sat_vv_valid(vv) && sat_vv_leq(vv, held);
}

static bool may_write(const struct sat_replica *r, const struct sat_column *c)
{
	return (c->write & SAT_ROLE_BIT((unsigned)r->facts.role)) != 0;
}

/* Table, id and column by name; reason when they name nothing. */
static void find_target(struct wish *w, struct sat_value table,
			struct sat_value id, struct sat_value field)
{
	w->reason = SAT_REASON_CATALOGUE;
	if (table.kind == SAT_TEXT)
		w->table = sat_catalogue_table(w->r->catalogue, table.s);
	if (w->table == NULL)
		return;
	w->reason = SAT_REASON_GONE;
	if (id.kind != SAT_TEXT || !sat_id_parse(id.s, &w->id))
		return;
	w->reason = SAT_REASON_CATALOGUE;
	w->column = COLUMN_DELETE;
	if (field.kind == SAT_TEXT && field.s.len > 0) {
		w->column = sat_table_column(w->table, field.s);
		if (w->column < 0)
			return;
	}
	w->reason = SAT_REASON_NONE;
	if (w->table->derived)
		w->reason = SAT_REASON_DERIVED;
	else if (w->table->append_only)
		w->reason = SAT_REASON_APPEND_ONLY;
	else if (w->column >= 0 &&
		 !may_write(w->r, &w->table->columns[w->column]))
		w->reason = SAT_REASON_ROLE;
}

static int read_value(struct wish *w, sqlite3_stmt *st, int at,
		      struct sat_err *err)
{
	const char *why = "";
	const struct sat_column *c;
	int rc;

	if (w->column < 0 || w->reason != SAT_REASON_NONE)
		return SAT_OK;
	c = &w->table->columns[w->column];
	rc = sat_cell_read(&w->r->batch, c, st, at, &w->value, &why);
	if (rc == SAT_E_NOMEM)
		return no_memory(err);
	if (rc == SAT_E_INVAL)
		w->reason = strstr(why, "UTF-8") != NULL ? SAT_REASON_ENCODING
							 : SAT_REASON_VALUE;
	else if (w->value.kind == SAT_NULL && c->required)
		w->reason = SAT_REASON_REQUIRED;
	return SAT_OK;
}

/* ---- changes ------------------------------------------------------------- */

static int fill_change(struct wish *w, const struct sat_held *held,
		       const struct sat_value *shown, struct sat_change *change)
{
	const struct sat_column *c = &w->table->columns[w->column];
	struct sat_arena *a = &w->r->batch;

	*change = (struct sat_change){ .column = (uint16_t)w->column,
				       .at_ms = w->at_ms,
				       .resolves = w->resolves,
				       .value = w->value };
	if (c->policy == SAT_POLICY_SET)
		return sat_diff_set(a, *shown, w->value, change);
	if (c->policy == SAT_POLICY_COUNTER) {
		if (w->value.kind != SAT_INT)
			w->reason = SAT_REASON_VALUE;
		return SAT_OK;
	}
	sat_diff_replaced(c, &held->row.fields[w->column], change);
	return sat_value_copy(a, shown, &change->before);
}

/* "The row stays": written again as it is, in its first field with a value. */
static void choose_touch(struct wish *w, const struct sat_value *values)
{
	const struct sat_table *t = w->table;

	for (uint16_t i = 0; i < t->column_count; i++) {
		if (t->columns[i].policy == SAT_POLICY_SET ||
		    t->columns[i].policy == SAT_POLICY_COUNTER ||
		    values[i].kind == SAT_NULL ||
		    !may_write(w->r, &t->columns[i]))
			continue;
		w->column = i;
		w->value = values[i];
		return;
	}
	/* nothing is known of it any more, or nothing of it is his to write */
	w->reason = SAT_REASON_GONE;
}

static int form_delta(struct wish *w, struct sat_held *held,
		      struct sat_delta *d, struct sat_err *err)
{
	struct sat_arena *a = &w->r->batch;
	struct sat_value *values;
	int rc = sat_row_values(w->r, w->table, &held->row, &values, err);

	if (rc != SAT_OK)
		return rc;
	*d = (struct sat_delta){ .op = SAT_OP_UPDATE,
				 .table = w->table,
				 .id = w->id,
				 .base_seq = held->known ? held->seq : 0,
				 .at_ms = w->at_ms };
	rc = sat_vv_copy(a, held->row.vv, &d->context);
	if (rc == SAT_OK && w->has_context &&
	    !parse_context(a, w->context, held->row.vv,
			   (uint32_t)w->r->facts.replica, &d->context))
		w->reason = SAT_REASON_FORGED;
	if (w->column == COLUMN_TOUCH)
		choose_touch(w, held->has_base && !sat_row_alive(&held->row)
					? held->values
					: values);
	if (rc != SAT_OK || w->reason != SAT_REASON_NONE)
		return rc == SAT_OK ? rc : no_memory(err);
	d->changes = sat_arena_alloc(a, sizeof *d->changes);
	if (d->changes == NULL)
		return no_memory(err);
	if (w->column == COLUMN_DELETE) {
		d->op = SAT_OP_DELETE;
		return SAT_OK;
	}
	rc = sat_value_copy(a, &w->value, &w->value);
	if (rc == SAT_OK)
		rc = fill_change(w, held, &values[w->column], d->changes);
	d->change_count = 1;
	return rc == SAT_OK ? rc : no_memory(err);
}

/* ---- a changeset --------------------------------------------------------- */

static int flush(struct wishes *all, struct sat_err *err)
{
	int rc = SAT_OK;

	if (all->count > 0)
		rc = sat_outbox_put(all->r, all->deltas, all->count, 0, err);
	for (uint32_t i = 0; rc == SAT_OK && i < all->count; i++) {
		sat_arena_reset(&all->r->row);
		rc = sat_row_derive(all->r, all->deltas[i].table,
				    &all->deltas[i].id, err);
	}
	all->count = 0;
	return rc;
}

static struct sat_delta *find_delta(struct wishes *all, const struct wish *w)
{
	for (uint32_t i = 0; i < all->count; i++) {
		if (all->deltas[i].table == w->table &&
		    memcmp(&all->deltas[i].id, &w->id, sizeof w->id) == 0)
			return &all->deltas[i];
	}
	return NULL;
}

/* A second field of a row joins the first when both were seen alike. False:
 * it needs a changeset of its own. */
static bool join_delta(struct wishes *all, struct sat_delta *to,
		       const struct sat_delta *from)
{
	struct sat_change *changes;
	uint32_t at = 0;

	if (to->op != SAT_OP_UPDATE || from->op != SAT_OP_UPDATE ||
	    !sat_vv_equal(to->context, from->context))
		return false;
	changes = sat_arena_array(&all->r->batch, (size_t)to->change_count + 1,
				  sizeof *changes);
	while (at < to->change_count &&
	       to->changes[at].column < from->changes[0].column)
		at++;
	if (changes == NULL ||
	    (at < to->change_count &&
	     to->changes[at].column == from->changes[0].column))
		return false;
	memcpy(changes, to->changes, at * sizeof *changes);
	changes[at] = from->changes[0];
	memcpy(changes + at + 1, to->changes + at,
	       (to->change_count - at) * sizeof *changes);
	to->changes = changes;
	to->change_count++;
	to->at_ms = from->at_ms;
	return true;
}

static int append_delta(struct wishes *all, const struct sat_delta *d,
			struct sat_err *err)
{
	struct sat_delta *more;

	if (all->count == all->cap) {
		all->cap = all->cap == 0 ? 16 : all->cap * 2;
		more = sat_arena_array(&all->r->batch, all->cap, sizeof *more);
		if (more == NULL)
			return no_memory(err);
		if (all->count > 0)
			memcpy(more, all->deltas, all->count * sizeof *more);
		all->deltas = more;
	}
	all->deltas[all->count++] = *d;
	return SAT_OK;
}

static int refuse(struct wish *w, struct sat_err *err)
{
	const struct sat_column *c = NULL;
	struct sat_change change = { .column = 0 };
	struct sat_delta d = { .op = SAT_OP_UPDATE,
			       .table = w->table,
			       .id = w->id,
			       .at_ms = w->at_ms,
			       .changes = &change };

	if (w->table != NULL && w->column >= 0) {
		c = &w->table->columns[w->column];
		change.column = (uint16_t)w->column;
		change.value = w->value;
		d.change_count = c->policy == SAT_POLICY_SET ? 0 : 1;
	}
	if (w->column == COLUMN_DELETE)
		d.op = SAT_OP_DELETE;
	return sat_rejected_add(w->r, 0, w->reason, w->table, c,
				(struct sat_dot){ 0, 0 }, &d,
				w->table == NULL ? 0 : 1, err);
}

/* *ret_again: the row has a change in this changeset that this one cannot
 * join; once that is stored, form it anew. */
static int attempt(struct wishes *all, struct wish *w, bool *ret_again,
		   struct sat_err *err)
{
	struct sat_held held;
	struct sat_delta d, *same;
	int rc;

	*ret_again = false;
	sat_arena_reset(&w->r->row);
	rc = sat_held_load(w->r, w->table, &w->id, NULL, &held, err);
	if (rc == SAT_OK && !sat_row_exists(&held.row))
		w->reason = SAT_REASON_GONE;
	if (rc == SAT_OK && w->reason == SAT_REASON_NONE)
		rc = form_delta(w, &held, &d, err);
	if (rc != SAT_OK)
		return rc;
	if (w->reason != SAT_REASON_NONE)
		return refuse(w, err);
	if (held.known && !held.has_base)
		rc = sat_base_write(w->r, w->table, &w->id, held.values, err);
	same = find_delta(all, w);
	if (rc != SAT_OK || (same != NULL && join_delta(all, same, &d)))
		return rc;
	*ret_again = same != NULL;
	return same != NULL ? SAT_OK : append_delta(all, &d, err);
}

static int grant(struct wishes *all, struct wish *w, struct sat_err *err)
{
	bool again;
	int rc;

	if (w->reason != SAT_REASON_NONE)
		return refuse(w, err);
	rc = attempt(all, w, &again, err);
	if (rc != SAT_OK || !again)
		return rc;
	rc = flush(all, err);
	return rc == SAT_OK ? attempt(all, w, &again, err) : rc;
}

static int take_intents(struct wishes *all, struct sat_err *err)
{
	struct sat_replica *r = all->r;
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT \"table\", id, field, value, context, at"
			     " FROM _satchel_intent ORDER BY n",
			     &st, err);

	while (rc == SAT_OK) {
		struct wish w = { .r = r };

		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		w.has_context = sqlite3_column_type(st, 4) != SQLITE_NULL;
		w.at_ms = sat_julian_ms(sqlite3_column_double(st, 5));
		find_target(&w, sat_db_column(st, 0), sat_db_column(st, 1),
			    sat_db_column(st, 2));
		rc = read_value(&w, st, 3, err);
		if (rc == SAT_OK &&
		    sat_column_copy(&r->batch, st, 4, &w.context) != SAT_OK)
			rc = no_memory(err);
		if (rc == SAT_OK)
			rc = grant(all, &w, err);
	}
	sat_db_reset(st);
	return rc;
}

/* ---- resolutions --------------------------------------------------------- */

/* What the ledger entry is about, from its typed row. */
static int find_entry(struct sat_replica *r, struct sat_value conflict,
		      struct wish *w, struct sat_err *err)
{
	const struct sat_table *t = sat_catalogue_table(
		r->catalogue, sat_slice_str(SAT_REPLICA_LEDGER));
	sqlite3_stmt *st;
	int rc;

	w->reason = SAT_REASON_GONE;
	if (t == NULL || conflict.kind != SAT_TEXT)
		return SAT_OK;
	rc = sat_db_find(&r->db,
			 "SELECT table_name, row_id, field"
			 " FROM " SAT_REPLICA_LEDGER " WHERE id = ?1",
			 &conflict, 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	find_target(w, sat_db_column(st, 0), sat_db_column(st, 1),
		    sat_db_column(st, 2));
	sat_db_reset(st);
	return SAT_OK;
}

static int take_resolutions(struct wishes *all, struct sat_err *err)
{
	struct sat_replica *r = all->r;
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT conflict, value, at FROM satchel_resolve"
			     " ORDER BY n",
			     &st, err);

	while (rc == SAT_OK) {
		struct wish w = { .r = r, .resolves = true };
		struct sat_value v;

		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		w.at_ms = sat_julian_ms(sqlite3_column_double(st, 2));
		rc = find_entry(r, sat_db_column(st, 0), &w, err);
		v = sat_db_column(st, 1);
		/* A delete that lost: 'delete' repeats it, all else says
		 * that the row stays. */
		if (w.column == COLUMN_DELETE && w.table != NULL &&
		    !(v.kind == SAT_TEXT &&
		      sat_slice_equal(v.s, sat_slice_str("delete"))))
			w.column = COLUMN_TOUCH;
		if (rc == SAT_OK)
			rc = read_value(&w, st, 1, err);
		if (rc == SAT_OK)
			rc = grant(all, &w, err);
	}
	sat_db_reset(st);
	return rc;
}

int sat_harvest_intents(struct sat_replica *r, struct sat_err *err)
{
	struct wishes all = { .r = r };
	int rc = take_intents(&all, err);

	if (rc == SAT_OK)
		rc = take_resolutions(&all, err);
	if (rc == SAT_OK)
		rc = flush(&all, err);
	if (rc == SAT_OK)
		rc = sat_db_do(&r->db, "DELETE FROM _satchel_intent", NULL, 0,
			       err);
	if (rc == SAT_OK)
		rc = sat_db_do(&r->db, "DELETE FROM satchel_resolve", NULL, 0,
			       err);
	sat_arena_reset(&r->batch);
	return rc;
}
