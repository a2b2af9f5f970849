/* What follows a row when its scopes or its territory change, in the same
 * commit and without a dot (SYNC sections 3 and 5): a concurrent delete must
 * not lose to a move.
 *
 * A queue instead of recursion: rows are found by their references and put at
 * the end, parents before children. It ends because references that carry
 * scopes form no cycle (the catalogue refuses one) and a row moves at most
 * once: afterwards its territory is not the old one any more. */
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"

enum { FOLLOWERS_MAX = 16 * 1024 * 1024 };

struct follower {
	const struct sat_table *table;
	struct sat_id id;
	bool moves; /* with the account: its own territory is rewritten */
};

struct queue {
	struct follower *list;
	uint32_t count, cap;
	/* of the row being added */
	bool moves;
};

static int on_follower(void *arg, const struct sat_table *t,
		       const struct sat_stored_row *row)
{
	struct queue *q = arg;
	struct follower *grown;
	uint32_t cap;

	if (row->deleted) /* keeps its last scopes */
		return SAT_OK;
	if (q->count == q->cap) {
		cap = q->cap == 0 ? 64 : q->cap * 2;
		if (cap > FOLLOWERS_MAX)
			return SAT_E_LIMIT;
		grown = realloc(q->list, cap * sizeof *grown);
		if (grown == NULL)
			return SAT_E_NOMEM;
		q->list = grown;
		q->cap = cap;
	}
	q->list[q->count++] = (struct follower){ t, row->id, q->moves };
	return SAT_OK;
}

static int scan(struct sat_engine *e, struct queue *q,
		const struct sat_table *t, int column,
		const struct sat_value *value, bool moves, struct sat_err *err)
{
	int rc;

	q->moves = moves;
	rc = sat_store_rows(e->store, t, column, value, on_follower, q, err);
	if (rc == SAT_E_NOMEM || rc == SAT_E_LIMIT)
		sat_err_set(err, rc, 0, "move", "too many rows move at once");
	return rc;
}

/* Conflict rows of the row. */
static int scan_ledger(struct sat_engine *e, struct queue *q,
		       const struct sat_id *id, struct sat_err *err)
{
	const struct sat_table *l = e->plan.ledger;
	char text[SAT_UUID_CHARS + 1];
	struct sat_value v;

	if (l == NULL)
		return SAT_OK;
	sat_id_format(id, text);
	v = sat_value_text(sat_slice_str(text));
	return scan(e, q, l, l->scopes[0].column2, &v, false, err);
}

static int add_followers(struct sat_engine *e, struct queue *q,
			 const struct sat_table *t, const struct sat_id *id,
			 bool moved, struct sat_err *err)
{
	const struct sat_table_plan *tp = &e->plan.tables[t->index];
	const struct sat_catalogue *c = e->plan.cat;
	struct sat_value v = sat_value_id(id);
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && moved && i < tp->move_count; i++)
		rc = scan(e, q, &c->tables[tp->moves[i].table],
			  tp->moves[i].column, &v, true, err);
	for (uint16_t i = 0; rc == SAT_OK && i < tp->via_count; i++)
		rc = scan(e, q, &c->tables[tp->via[i].table], tp->via[i].column,
			  &v, false, err);
	return rc == SAT_OK && t != e->plan.ledger ? scan_ledger(e, q, id, err)
						   : rc;
}

/* Put the new territory where the old one stood; dots and stamps stay. */
static int rewrite(struct sat_work *w, const struct sat_id *from,
		   const struct sat_id *to, struct sat_arena *a, bool *ret_did)
{
	const int t = w->table->territory;
	const struct sat_field *f = &w->state.fields[t];
	struct sat_value was = sat_value_id(from);
	struct sat_value is = sat_value_id(to);
	struct sat_write *writes;

	*ret_did = false;
	if (!sat_value_equal(&w->old.values[t], &was))
		return SAT_OK;
	writes = sat_arena_array(a, f->count, sizeof *writes);
	if (writes == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < f->count; i++) {
		writes[i] = f->writes[i];
		if (sat_value_equal(&writes[i].value, &was))
			writes[i].value = is;
	}
	w->state.fields[t].writes = writes;
	*ret_did = true;
	return sat_work_show(a, w);
}

static int new_scopes(struct sat_engine *e, struct sat_work *w,
		      struct sat_arena *a, struct sat_err *err)
{
	struct sat_scopes own;
	int rc;

	rc = sat_row_scopes(e, w->table, w->values, a, &w->scopes, &own, err);
	if (rc != SAT_OK || w->scopes.count > 0)
		return rc;
	/* nothing names a scope any more: it stays where it was */
	for (uint32_t i = 0; rc == SAT_OK && i < w->old.place_count; i++) {
		if (!w->old.places[i].evict)
			rc = sat_scopes_add(a, &w->scopes,
					    w->old.places[i].scope);
	}
	return rc;
}

static int follow_one(struct sat_engine *e, struct queue *q,
		      const struct follower *f, const struct sat_id *from,
		      const struct sat_id *to, struct sat_err *err)
{
	struct sat_arena *a = &e->derived_arena;
	bool rewritten = false, moved = false;
	struct sat_work w;
	int rc;

	sat_arena_reset(a);
	rc = sat_work_load(e, f->table, &f->id, a, &w, err);
	if (rc != SAT_OK || w.old.seq == 0)
		return rc;
	rc = sat_work_show(a, &w);
	if (rc == SAT_OK && f->moves)
		rc = rewrite(&w, from, to, a, &rewritten);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "move", "out of memory");
	rc = new_scopes(e, &w, a, err);
	if (rc != SAT_OK)
		return rc;
	if (rewritten) {
		rc = sat_work_write(e, &w, ++e->head, e->self, false, a, err);
		moved = true;
	} else {
		rc = sat_work_rescope(e, &w, a, &moved, err);
	}
	if (rc == SAT_OK && moved)
		rc = add_followers(e, q, f->table, &f->id, rewritten, err);
	return rc;
}

int sat_cascade(struct sat_apply *ap, const struct sat_table *t,
		const struct sat_id *id, const struct sat_id *from,
		const struct sat_id *to, struct sat_err *err)
{
	struct sat_engine *e = ap->e;
	bool moved = from != NULL && to != NULL;
	struct queue q = { 0 };
	int rc = add_followers(e, &q, t, id, moved, err);

	for (uint32_t i = 0; rc == SAT_OK && i < q.count; i++) {
		struct follower f = q.list[i]; /* the list may be moved */

		rc = follow_one(e, &q, &f, from, to, err);
	}
	free(q.list);
	return rc;
}
