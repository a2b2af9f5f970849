/* The ledger follows the row: what it must hold is a function of the row's
 * state (sat_row_conflicts), so the difference between the state before and
 * after a delta says what to write. Entries are named by a hash of their key;
 * the same loss met again finds its entry there.
 *
 * Entries for `orphan` are the exception: a child was written for a deleted
 * parent, which no state of the parent shows. They close when it lives again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"
#include "server/commit/ledger_names.h"

enum { LEDGER_COLUMNS = 24, KEY_BYTES = 256, DOT_BYTES = 32, REAL_BYTES = 32 };

/* One conflict row on its way: the columns this catalogue has. */
struct entry {
	const struct sat_table *ledger;
	uint16_t columns[LEDGER_COLUMNS];
	struct sat_value values[LEDGER_COLUMNS];
	uint32_t count;
	struct sat_id id;
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "ledger", "out of memory");
}

/* A value the catalogue's column refuses is left out: an entry that lacks a
 * detail is better than a changeset that cannot be applied. */
static void put(struct entry *e, const char *name, struct sat_value v)
{
	int c = sat_table_column(e->ledger, sat_slice_str(name));
	const char *why;

	if (c < 0 || e->count == LEDGER_COLUMNS ||
	    !sat_column_accepts(&e->ledger->columns[c], &v, &why))
		return;
	e->columns[e->count] = (uint16_t)c;
	e->values[e->count++] = v;
}

static void put_text(struct entry *e, const char *name, const char *text)
{
	put(e, name, sat_value_text(sat_slice_str(text)));
}

static struct sat_id entry_id(const struct sat_table *t,
			      const struct sat_id *row, const char *field,
			      struct sat_dot dot)
{
	char key[KEY_BYTES], text[SAT_UUID_CHARS + 1];

	sat_id_format(row, text);
	(void)snprintf(key, sizeof key, "%s/%s/%s/%" PRIu32 ":%" PRIu64,
		       t->name, text, field, dot.replica, dot.seq);
	return sat_id_derived(sat_slice_str(key));
}

/* ---- values as text ----------------------------------------------------- */

static char *format(struct sat_arena *a, const struct sat_column *c,
		    const struct sat_value *v)
{
	char *out = sat_arena_alloc(a, v->kind == SAT_BLOB ? v->s.len * 2 + 1
							   : REAL_BYTES);
	struct sat_id id;

	if (out == NULL)
		return NULL;
	switch (v->kind) {
	case SAT_INT:
		(void)snprintf(out, REAL_BYTES, "%" PRId64, v->i);
		break;
	case SAT_REAL:
		(void)snprintf(out, REAL_BYTES, "%.17g", v->r);
		break;
	case SAT_BLOB:
		if (c->type == SAT_TYPE_REF && v->s.len == sizeof id.b) {
			out = sat_arena_alloc(a, SAT_UUID_CHARS + 1);
			memcpy(id.b, v->s.ptr, sizeof id.b);
			if (out != NULL)
				sat_id_format(&id, out);
		} else {
			sat_hex_format(v->s.ptr, v->s.len, out);
		}
		break;
	default:
		break;
	}
	return out;
}

static int put_value(struct entry *e, struct sat_arena *a, const char *name,
		     const struct sat_column *c, const struct sat_value *v)
{
	char *text;

	if (v->kind == SAT_TEXT || v->kind == SAT_NULL) {
		put(e, name, *v);
		return SAT_OK;
	}
	text = format(a, c, v);
	if (text == NULL)
		return SAT_E_NOMEM;
	put_text(e, name, text);
	return SAT_OK;
}

static int put_dot(struct entry *e, struct sat_arena *a, const char *name,
		   struct sat_dot dot)
{
	char *text = sat_arena_alloc(a, DOT_BYTES);

	if (text == NULL)
		return SAT_E_NOMEM;
	if (dot.seq == 0)
		return SAT_OK;
	(void)snprintf(text, DOT_BYTES, "%" PRIu32 ":%" PRIu64, dot.replica,
		       dot.seq);
	put_text(e, name, text);
	return SAT_OK;
}

/* The person behind a replica; the server's own writes have none. */
static int put_author(struct sat_apply *ap, struct entry *e,
		      struct sat_arena *a, const char *name, uint32_t replica,
		      struct sat_err *err)
{
	struct sat_device d;
	struct sat_id *user;
	int rc;

	if (replica == 0)
		return SAT_OK;
	rc = sat_store_device_get(ap->e->store, replica, &d, err);
	if (rc == SAT_E_NOTFOUND)
		return SAT_OK;
	if (rc != SAT_OK)
		return rc;
	user = sat_arena_alloc(a, sizeof *user);
	if (user == NULL)
		return no_memory(err);
	*user = d.user;
	put(e, name, sat_value_id(user));
	return SAT_OK;
}

/* ---- writing ------------------------------------------------------------ */

/* Derived rows of one changeset share one dot of the server's own replica:
 * each row is written at most once, so the dot names one write of it. */
static struct sat_dot ledger_dot(struct sat_apply *ap)
{
	if (ap->ledger_dot.seq == 0)
		ap->ledger_dot =
			(struct sat_dot){ ap->e->self, ++ap->e->self_seq };
	return ap->ledger_dot;
}

int sat_derived_write(struct sat_apply *ap, const struct sat_own_write *w,
		      struct sat_err *err)
{
	struct sat_engine *e = ap->e;
	struct sat_apply own = { .e = e,
				 .role = SAT_ROLE_SERVER,
				 .ceiling = ap->ceiling };
	struct sat_applied done;
	struct sat_delta d;
	bool same;
	int rc = sat_own_delta(e, w, &e->derived_arena, &d, &same, err);

	if (rc != SAT_OK || same)
		return rc;
	own.dot = ledger_dot(ap);
	rc = sat_apply_row(&own, &d, ++e->head, &e->derived_arena, &done, err);
	if (rc == SAT_OK && done.contained) { /* twice in one changeset */
		own.dot = ap->ledger_dot =
			(struct sat_dot){ e->self, ++e->self_seq };
		rc = sat_apply_row(&own, &d, e->head, &e->derived_arena, &done,
				   err);
	}
	if (rc > SAT_OK)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "derived row",
				   "the table %s refused a row",
				   w->table->name);
	return rc;
}

static int write_entry(struct sat_apply *ap, const struct entry *en,
		       enum sat_op op, struct sat_err *err)
{
	struct sat_own_write w = { .op = op,
				   .table = en->ledger,
				   .id = en->id,
				   .columns = en->columns,
				   .values = en->values,
				   .column_count = en->count };

	return sat_derived_write(ap, &w, err);
}

/* ---- entries ------------------------------------------------------------ */

static const char *field_of(const struct sat_table *t, int column)
{
	return column < 0 ? "" : t->columns[column].name;
}

static const struct sat_change *change_of(const struct sat_delta *d, int column)
{
	for (uint32_t i = 0; i < d->change_count; i++) {
		if ((int)d->changes[i].column == column)
			return &d->changes[i];
	}
	return NULL;
}

static bool same_write(const struct sat_write *x, const struct sat_write *y)
{
	return sat_dot_compare(x->dot, y->dot) == 0 && x->stamp == y->stamp &&
	       sat_value_equal(&x->value, &y->value);
}

static bool same_conflict(const struct sat_conflict *x,
			  const struct sat_conflict *y)
{
	return x->state == y->state && x->sibling_count == y->sibling_count &&
	       same_write(&x->shown, &y->shown) &&
	       same_write(&x->losing, &y->losing);
}

static int put_key(struct entry *en, struct sat_arena *a,
		   const struct sat_table *t, const struct sat_id *row,
		   const char *field)
{
	char *text = sat_arena_alloc(a, SAT_UUID_CHARS + 1);

	if (text == NULL)
		return SAT_E_NOMEM;
	sat_id_format(row, text);
	put_text(en, SAT_LEDGER_TABLE, t->name);
	put_text(en, SAT_LEDGER_ROW, text);
	if (field[0] != '\0')
		put_text(en, SAT_LEDGER_FIELD, field);
	return SAT_OK;
}

static int put_sides(struct sat_apply *ap, struct entry *en,
		     struct sat_arena *a, const struct sat_column *col,
		     const struct sat_conflict *c, struct sat_err *err)
{
	int rc = SAT_OK;

	if (col != NULL) {
		rc = put_value(en, a, SAT_LEDGER_SHOWN, col, &c->shown.value);
		if (rc == SAT_OK)
			rc = put_value(en, a, SAT_LEDGER_LOSING, col,
				       &c->losing.value);
	}
	if (rc == SAT_OK)
		rc = put_dot(en, a, SAT_LEDGER_SHOWN_DOT, c->shown.dot);
	if (rc == SAT_OK)
		rc = put_dot(en, a, SAT_LEDGER_LOSING_DOT, c->losing.dot);
	if (rc != SAT_OK)
		return no_memory(err);
	if (c->shown.dot.seq != 0)
		put(en, SAT_LEDGER_SHOWN_AT,
		    sat_value_int(sat_stamp_ms(c->shown.stamp)));
	put(en, SAT_LEDGER_LOSING_AT,
	    sat_value_int(sat_stamp_ms(c->losing.stamp)));
	rc = put_author(ap, en, a, SAT_LEDGER_SHOWN_BY, c->shown.dot.replica,
			err);
	if (rc == SAT_OK)
		rc = put_author(ap, en, a, SAT_LEDGER_LOSING_BY,
				c->losing.dot.replica, err);
	return rc;
}

/* An entry that must be there, in the state it must have. */
static int open_entry(struct sat_apply *ap, const struct sat_applied *done,
		      const struct sat_conflict *c, struct sat_err *err)
{
	struct sat_arena *a = &ap->e->derived_arena;
	const struct sat_table *t = done->work.table;
	const struct sat_column *col =
		c->column < 0 ? NULL : &t->columns[c->column];
	const char *state = c->state == SAT_CONFLICT_OPEN ? "open" : "auto";
	const struct sat_change *ch = change_of(&done->delta, c->column);
	struct entry en = { .ledger = ap->e->plan.ledger };
	int rc;

	sat_arena_reset(a);
	en.id = entry_id(t, &done->work.id, field_of(t, c->column), c->dot);
	if (put_key(&en, a, t, &done->work.id, field_of(t, c->column)) !=
	    SAT_OK)
		return no_memory(err);
	put_text(&en, SAT_LEDGER_KIND, col == NULL ? "deleted" : "value");
	put_text(&en, SAT_LEDGER_POLICY,
		 col == NULL ? "delete" : sat_policy_name(col->policy));
	put_text(&en, SAT_LEDGER_STATE, state);
	put_text(&en, SAT_LEDGER_OUTCOME, state);
	put(&en, SAT_LEDGER_SIBLING_COUNT, sat_value_int(c->sibling_count));
	put(&en, SAT_LEDGER_RESOLVED_BY, sat_value_null());
	put(&en, SAT_LEDGER_RESOLVED_AT, sat_value_null());
	rc = put_sides(ap, &en, a, col, c, err);
	/* what both replaced: only the loss itself knows, later moves of the
	 * entry keep what it said */
	if (rc == SAT_OK && col != NULL && ch != NULL &&
	    sat_conflict_find(done->before, done->before_count, c) == NULL &&
	    put_value(&en, a, SAT_LEDGER_BASE, col, &ch->before) != SAT_OK)
		rc = no_memory(err);
	return rc == SAT_OK ? write_entry(ap, &en, SAT_OP_INSERT, err) : rc;
}

static int settle(struct sat_apply *ap, struct entry *en, const char *state,
		  const char *outcome, uint32_t by, uint64_t stamp,
		  struct sat_err *err)
{
	int rc;

	put_text(en, SAT_LEDGER_STATE, state);
	put_text(en, SAT_LEDGER_OUTCOME, outcome);
	put(en, SAT_LEDGER_RESOLVED_AT, sat_value_int(sat_stamp_ms(stamp)));
	rc = put_author(ap, en, &ap->e->derived_arena, SAT_LEDGER_RESOLVED_BY,
			by, err);
	return rc == SAT_OK ? write_entry(ap, en, SAT_OP_UPDATE, err) : rc;
}

/* Had the author seen both sides? Only then is the write an answer. */
static bool covers_both(const struct sat_delta *d, const struct sat_conflict *c)
{
	return sat_vv_covers(d->context, c->losing.dot) &&
	       (c->shown.dot.seq == 0 ||
		sat_vv_covers(d->context, c->shown.dot));
}

/* An entry that was there and need not be any more. A write that covers only
 * its author's own side settles nothing: another order of arrival would never
 * have shown the entry. */
static int close_entry(struct sat_apply *ap, const struct sat_applied *done,
		       const struct sat_conflict *c, struct sat_err *err)
{
	const struct sat_table *t = done->work.table;
	const struct sat_change *ch = change_of(&done->delta, c->column);
	const char *state = "superseded", *outcome = "superseded";
	struct entry en = { .ledger = ap->e->plan.ledger };

	sat_arena_reset(&ap->e->derived_arena);
	en.id = entry_id(t, &done->work.id, field_of(t, c->column), c->dot);
	if (covers_both(&done->delta, c)) {
		if (ch != NULL && ch->resolves) {
			state = outcome = "resolved";
		} else if (c->state == SAT_CONFLICT_OPEN) {
			state = "resolved";
			outcome = "covered_by_edit";
		}
	}
	return settle(ap, &en, state, outcome, ap->dot.replica,
		      done->delta.stamp, err);
}

/* ---- children of deleted rows ------------------------------------------- */

static int open_orphan(struct sat_apply *ap, const struct sat_applied *done,
		       const struct sat_table *parent, const struct sat_id *id,
		       struct sat_err *err)
{
	struct sat_arena *a = &ap->e->derived_arena;
	struct entry en = { .ledger = ap->e->plan.ledger };
	const struct sat_write *gone;
	struct sat_work w;
	int rc;

	sat_arena_reset(a);
	rc = sat_work_load(ap->e, parent, id, a, &w, err);
	if (rc != SAT_OK || w.state.delete_count == 0)
		return rc;
	gone = &w.state.deletes[0];
	en.id = entry_id(parent, id, "", gone->dot);
	if (put_key(&en, a, parent, id, "") != SAT_OK)
		return no_memory(err);
	put_text(&en, SAT_LEDGER_KIND, "orphan");
	put_text(&en, SAT_LEDGER_POLICY, "delete");
	put_text(&en, SAT_LEDGER_STATE, "open");
	put_text(&en, SAT_LEDGER_OUTCOME, "open");
	put(&en, SAT_LEDGER_LOSING_AT,
	    sat_value_int(sat_stamp_ms(done->delta.stamp)));
	put(&en, SAT_LEDGER_SHOWN_AT, sat_value_int(sat_stamp_ms(gone->stamp)));
	rc = put_dot(&en, a, SAT_LEDGER_SHOWN_DOT, gone->dot);
	if (rc == SAT_OK)
		rc = put_dot(&en, a, SAT_LEDGER_LOSING_DOT, ap->dot);
	if (rc != SAT_OK)
		return no_memory(err);
	rc = put_author(ap, &en, a, SAT_LEDGER_SHOWN_BY, gone->dot.replica,
			err);
	if (rc == SAT_OK)
		rc = put_author(ap, &en, a, SAT_LEDGER_LOSING_BY,
				ap->dot.replica, err);
	return rc == SAT_OK ? write_entry(ap, &en, SAT_OP_INSERT, err) : rc;
}

/* The child lives, its parent does not: someone has to look. */
static int orphans(struct sat_apply *ap, const struct sat_applied *done,
		   struct sat_err *err)
{
	const struct sat_table *t = done->work.table;
	const struct sat_catalogue *c = ap->e->plan.cat;
	struct sat_where where;
	struct sat_id id;
	int rc = SAT_OK;

	if (!sat_row_alive(&done->work.state))
		return SAT_OK;
	for (uint32_t i = 0; rc == SAT_OK && i < done->delta.change_count;
	     i++) {
		uint16_t col = done->delta.changes[i].column;
		const struct sat_value *v = &done->work.values[col];

		if (!sat_column_is_parent(t, col) || v->kind != SAT_BLOB ||
		    v->s.len != sizeof id.b)
			continue;
		memcpy(id.b, v->s.ptr, sizeof id.b);
		rc = sat_lookup_row(ap->e,
				    &c->tables[t->columns[col].ref_table], &id,
				    &where, err);
		if (rc == SAT_OK && where.exists && where.deleted)
			rc = open_orphan(ap, done,
					 &c->tables[t->columns[col].ref_table],
					 &id, err);
	}
	return rc;
}

/* A row that lives again, or is deleted anew: close what its children had
 * opened under deletes that are gone. */
static int adopted(struct sat_apply *ap, const struct sat_applied *done,
		   const struct sat_row *old, struct sat_err *err)
{
	struct sat_arena *a = &ap->e->derived_arena;
	const struct sat_work *w = &done->work;
	struct sat_work got;
	int rc = SAT_OK;

	if (done->fresh || done->was_alive || !sat_row_alive(&w->state))
		return SAT_OK;
	for (uint32_t i = 0; rc == SAT_OK && i < old->delete_count; i++) {
		struct entry en = { .ledger = ap->e->plan.ledger };

		en.id = entry_id(w->table, &w->id, "", old->deletes[i].dot);
		sat_arena_reset(a);
		rc = sat_work_load(ap->e, en.ledger, &en.id, a, &got, err);
		if (rc == SAT_OK && got.old.seq != 0)
			rc = settle(ap, &en, "resolved", "covered_by_edit",
				    ap->dot.replica, done->delta.stamp, err);
	}
	return rc;
}

int sat_ledger_update(struct sat_apply *ap, const struct sat_applied *done,
		      struct sat_err *err)
{
	const struct sat_conflict *was;
	int rc;

	if (ap->e->plan.ledger == NULL || done->work.table->derived)
		return SAT_OK;
	rc = adopted(ap, done, &done->state_before, err);
	for (uint32_t i = 0; rc == SAT_OK && i < done->after_count; i++) {
		was = sat_conflict_find(done->before, done->before_count,
					&done->after[i]);
		if (was == NULL || !same_conflict(was, &done->after[i]))
			rc = open_entry(ap, done, &done->after[i], err);
	}
	for (uint32_t i = 0; rc == SAT_OK && i < done->before_count; i++) {
		if (sat_conflict_find(done->after, done->after_count,
				      &done->before[i]) == NULL)
			rc = close_entry(ap, done, &done->before[i], err);
	}
	return rc == SAT_OK ? orphans(ap, done, err) : rc;
}

/* ---- moves -------------------------------------------------------------- */

/* Kept apart from the entries of a row's own conflicts. */
#define MOVED_KEY "(moved)"

static int put_moved(struct sat_apply *ap, struct entry *en,
		     const struct sat_table *t, const struct sat_id *id,
		     const char *state, uint64_t stamp, struct sat_err *err)
{
	struct sat_arena *a = &ap->e->derived_arena;

	en->id = entry_id(t, id, MOVED_KEY, ap->dot);
	if (put_key(en, a, t, id, "") != SAT_OK ||
	    put_dot(en, a, SAT_LEDGER_LOSING_DOT, ap->dot) != SAT_OK)
		return no_memory(err);
	put_text(en, SAT_LEDGER_KIND, "moved");
	put_text(en, SAT_LEDGER_STATE, state);
	put_text(en, SAT_LEDGER_OUTCOME, state);
	put(en, SAT_LEDGER_LOSING_AT, sat_value_int(sat_stamp_ms(stamp)));
	return put_author(ap, en, a, SAT_LEDGER_LOSING_BY, ap->dot.replica,
			  err);
}

int sat_ledger_moved(struct sat_apply *ap, const struct sat_applied *done,
		     struct sat_err *err)
{
	struct entry en = { .ledger = ap->e->plan.ledger };
	int rc;

	if (en.ledger == NULL || done->work.table->derived)
		return SAT_OK;
	ap->conflicted = true;
	sat_arena_reset(&ap->e->derived_arena);
	rc = put_moved(ap, &en, done->work.table, &done->work.id, "auto",
		       done->delta.stamp, err);
	return rc == SAT_OK ? write_entry(ap, &en, SAT_OP_INSERT, err) : rc;
}

/* Without any value: what he wrote stays with him, what is there is not his
 * to see. */
int sat_ledger_late(struct sat_apply *ap, struct sat_err *err)
{
	struct entry en = { .ledger = ap->e->plan.ledger };
	int rc;

	if (en.ledger == NULL || ap->late_table == NULL)
		return SAT_OK;
	ap->ledger_dot = (struct sat_dot){ 0 }; /* the one before was undone */
	sat_arena_reset(&ap->e->derived_arena);
	rc = put_moved(ap, &en, ap->late_table, &ap->late_id, "open",
		       ap->e->hlc, err);
	return rc == SAT_OK ? write_entry(ap, &en, SAT_OP_INSERT, err) : rc;
}
