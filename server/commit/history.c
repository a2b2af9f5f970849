/* Tables of changes: one row whenever a watched column shows another value
 * than before, written with the row itself. From these rows come funnels and
 * the time that things take, so what they say must fit together: `from` is
 * what the row before said in `to`, and time does not go back. Losing writes
 * of a concurrent edit show nothing and have no row here; the ledger has them.
 *
 * `at` is the author's time, not that of arrival. A person's own word goes
 * first: the first change was when the row says it began, one to a terminal
 * value when the row says it ended, unless that is the very day it was
 * written on, which the clock knows better.
 *
 * The changes of a row go and come back with it, so that counting them needs
 * no look at the row. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/text.h"
#include "server/commit/core.h"

enum {
	KEY_BYTES = 160,
	COLUMNS_MAX = 6,
	/* A row that changes more often is not followed any further: each
	 * change looks at those before it. */
	CHANGES_MAX = SAT_HISTORY_MAX,
};

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

/* The last change of a row. */
struct last {
	const struct sat_history *h;
	bool found;
	int64_t at;
	uint32_t count;
};

static int on_change(void *arg, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	struct last *l = arg;
	const struct sat_value *at = &row->values[l->h->at];

	(void)t;
	l->count++;
	if (row->deleted || at->kind != SAT_INT)
		return SAT_OK;
	if (!l->found || at->i > l->at)
		l->at = at->i;
	l->found = true;
	return SAT_OK;
}

/* The day in that column as a time not after `upto`; false when there is none,
 * or when it is the day of upto itself. */
static bool day_before(const struct sat_applied *done, int column, int64_t upto,
		       int64_t *ret)
{
	const struct sat_value *v =
		column < 0 ? NULL : &done->work.values[column];
	int32_t days;
	int64_t ms;

	if (v == NULL || v->kind != SAT_TEXT || !sat_date_days(v->s, &days))
		return false;
	ms = days * DAY_MS;
	if (ms + DAY_MS > upto)
		return false;
	*ret = ms;
	return true;
}

static bool terminal(const struct sat_column *c, const struct sat_value *v)
{
	const struct sat_enum_value *e =
		v->kind == SAT_TEXT ? sat_column_enum(c, v->s) : NULL;

	return e != NULL && e->terminal;
}

/* When it changed, and for how long it had been what it was before; negative
 * when nobody knows. */
static void times(const struct sat_history *h, const struct sat_applied *done,
		  const struct last *last, int64_t *ret_at, double *ret_days)
{
	const struct sat_work *w = &done->work;
	const struct sat_column *c = &w->table->columns[h->watched];
	int64_t at = sat_stamp_ms(done->delta.stamp), began = 0, ended = 0;
	bool has_began = !last->found && day_before(done, h->began, at, &began);

	if (terminal(c, &w->values[h->watched])) {
		if (day_before(done, h->ended, at, &ended))
			at = ended;
	} else if (has_began && done->fresh) {
		at = began;
	}
	if (last->found) {
		at = at > last->at ? at : last->at;
		began = last->at;
	}
	*ret_at = at;
	*ret_days = (last->found || has_began) && at >= began &&
				    (last->found || at > began)
			    ? (double)(at - began) / (double)DAY_MS
			    : -1;
}

static struct sat_id change_id(const struct sat_table *t,
			       const struct sat_id *row, struct sat_dot dot)
{
	char key[KEY_BYTES], text[SAT_UUID_CHARS + 1];

	sat_id_format(row, text);
	(void)snprintf(key, sizeof key, "%s/%s/%" PRIu32 ":%" PRIu64, t->name,
		       text, dot.replica, dot.seq);
	return sat_id_derived(sat_slice_str(key));
}

static void put(struct sat_own_write *w, uint16_t *columns,
		struct sat_value *values, int column, struct sat_value v)
{
	if (column < 0 || v.kind == SAT_NULL)
		return;
	columns[w->column_count] = (uint16_t)column;
	values[w->column_count++] = v;
}

static int write_change(struct sat_apply *ap, const struct sat_table *t,
			const struct sat_applied *done,
			const struct sat_value *from,
			const struct sat_value *to, struct sat_err *err)
{
	const struct sat_history *h = t->history;
	struct sat_value id = sat_value_id(&done->work.id);
	uint16_t columns[COLUMNS_MAX];
	struct sat_value values[COLUMNS_MAX];
	struct sat_own_write w = { .op = SAT_OP_INSERT,
				   .table = t,
				   .id = change_id(t, &done->work.id, ap->dot),
				   .columns = columns,
				   .values = values };
	struct last last = { .h = h };
	int64_t at;
	double days;
	int rc = SAT_OK;

	if (!done->fresh)
		rc = sat_store_rows(ap->e->store, t, h->row, &id, on_change,
				    &last, err);
	if (rc != SAT_OK || last.count >= CHANGES_MAX)
		return rc;
	times(h, done, &last, &at, &days);
	put(&w, columns, values, h->row, id);
	put(&w, columns, values, h->from, *from);
	put(&w, columns, values, h->to, *to);
	put(&w, columns, values, h->at, sat_value_int(at));
	if (ap->rights != NULL)
		put(&w, columns, values, h->by,
		    sat_value_id(&ap->rights->user));
	if (days >= 0)
		put(&w, columns, values, h->days, sat_value_real(days));
	sat_arena_reset(&ap->e->derived_arena);
	return sat_derived_write(ap, &w, err);
}

/* ---- with the row -------------------------------------------------------- */

struct changes {
	struct sat_id ids[CHANGES_MAX];
	uint32_t count;
	bool deleted; /* which ones are wanted */
};

static int on_own(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct changes *c = arg;

	(void)t;
	if (row->deleted == c->deleted && c->count < CHANGES_MAX)
		c->ids[c->count++] = row->id;
	return SAT_OK;
}

/* The row was deleted, or lives again. */
static int go_with(struct sat_apply *ap, const struct sat_table *t,
		   const struct sat_applied *done, bool alive,
		   struct sat_err *err)
{
	struct sat_value id = sat_value_id(&done->work.id);
	struct changes *c = calloc(1, sizeof *c);
	int rc;

	if (c == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "history",
				   "out of memory");
	c->deleted = alive;
	rc = sat_store_rows(ap->e->store, t, t->history->row, &id, on_own, c,
			    err);
	for (uint32_t i = 0; rc == SAT_OK && i < c->count; i++) {
		struct sat_own_write w = { .op = alive ? SAT_OP_INSERT
						       : SAT_OP_DELETE,
					   .table = t,
					   .id = c->ids[i] };

		sat_arena_reset(&ap->e->derived_arena);
		rc = sat_derived_write(ap, &w, err);
	}
	free(c);
	return rc;
}

int sat_history_note(struct sat_apply *ap, const struct sat_applied *done,
		     struct sat_err *err)
{
	const struct sat_work *w = &done->work;
	const struct sat_rollup_uses *u =
		&ap->e->plan.rollups.by_table[w->table->index];
	const struct sat_value none = sat_value_null();
	bool alive = sat_row_alive(&w->state);
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < u->history_count; i++) {
		if (!done->fresh && done->was_alive != alive)
			rc = go_with(ap, u->histories[i], done, alive, err);
	}
	for (uint16_t i = 0; rc == SAT_OK && alive && i < u->history_count;
	     i++) {
		uint16_t c = u->histories[i]->history->watched;
		const struct sat_value *to = &w->values[c];
		const struct sat_value *from =
			done->fresh ? &none : &w->old.values[c];

		if (to->kind != SAT_NULL && !sat_value_equal(from, to))
			rc = write_change(ap, u->histories[i], done, from, to,
					  err);
	}
	return rc;
}
