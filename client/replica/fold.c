/* The rows of an accepted changeset. As held: the server has exactly what we
 * show, so each delta of the overlay becomes the server's state, stamped the
 * way the server did. A row that was made here and is in nothing else, as in
 * the backlog of a day, takes one statement, and its overlay goes with those
 * of its neighbours. */
#include "client/replica/apply.h"

#include <string.h>

/* One of the changeset's deltas, still in the overlay. */
struct entry {
	const struct sat_table *table;
	struct sat_id id;
	uint64_t i;
	struct sat_slice delta;
	bool first; /* no earlier delta of the row waits */
	bool alone; /* nor a later one                   */
};

/* The verdict, and scratch. */
struct answer {
	const struct sat_msg_verdict *v;
	struct sat_buf meta;
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "replica_fold",
			   "out of memory");
}

static int read_entry(struct sat_replica *r, sqlite3_stmt *st, uint64_t seq,
		      struct entry *ret, bool *ret_found)
{
	*ret_found = false;
	ret->table = sat_catalogue_table_no(
		r->catalogue,
		(uint32_t)(sqlite3_column_int64(st, 0) & UINT16_MAX));
	ret->i = (uint64_t)sqlite3_column_int64(st, 2);
	ret->first = (uint64_t)sqlite3_column_int64(st, 4) == seq;
	ret->alone = ret->first && (uint64_t)sqlite3_column_int64(st, 5) == seq;
	if (ret->table == NULL || !sat_db_column_id(st, 1, &ret->id))
		return SAT_OK;
	*ret_found = true;
	return sat_column_copy(&r->batch, st, 3, &ret->delta);
}

/* From delta `from` on, at most count of them, in the batch arena. */
static int read_entries(struct sat_replica *r, uint64_t seq, uint64_t from,
			int64_t count, struct entry **ret, uint32_t *ret_count,
			struct sat_err *err)
{
	struct sat_value args[3] = { sat_bind_u64(seq), sat_bind_u64(from),
				     sat_value_int(count) };
	struct entry *all;
	sqlite3_stmt *st;
	bool row = true, found;
	uint32_t n = 0;
	int rc;

	all = sat_arena_array(&r->batch, (size_t)count, sizeof *all);
	if (all == NULL)
		return no_memory(err);
	rc = sat_db_stmt(&r->db,
			 "SELECT t, id, i, delta,"
			 " (SELECT min(seq) FROM _satchel_dirty e WHERE"
			 " e.t = d.t AND e.id = d.id),"
			 " (SELECT max(seq) FROM _satchel_dirty e WHERE"
			 " e.t = d.t AND e.id = d.id)"
			 " FROM _satchel_dirty d WHERE seq = ?1 AND i >= ?2"
			 " ORDER BY i LIMIT ?3",
			 &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, 3, err);
	while (rc == SAT_OK && row) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row || n == count)
			break;
		if (read_entry(r, st, seq, &all[n], &found) != SAT_OK) {
			sat_db_reset(st);
			return no_memory(err);
		}
		n += found;
	}
	*ret = all;
	*ret_count = n;
	return rc;
}

/* ---- one row ------------------------------------------------------------- */

/* The state the server has now: the one we hold with this delta, stamped the
 * way the server did. */
static int fold_state(struct sat_replica *r, struct answer *x,
		      struct sat_delta *d, const struct sat_held *held,
		      struct sat_state *ret, struct sat_err *err)
{
	struct sat_clock_map clock = { .offset_ms = x->v->offset_ms };
	struct sat_dot dot = { (uint32_t)r->facts.replica, x->v->seq };
	struct sat_row row = held->base;
	struct sat_value *values;
	int rc;

	if (sat_overlay_apply(&r->row, &row, d, dot, &clock) != SAT_OK)
		return no_memory(err);
	rc = sat_row_values(r, d->table, &row, &values, err);
	if (rc != SAT_OK)
		return rc;
	sat_buf_clear(&x->meta);
	rc = sat_meta_encode(d->table, &row, values, &x->meta);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "replica_fold",
				   "a row's metadata cannot be encoded");
	ret->meta = sat_buf_peek(&x->meta);
	ret->values = values;
	rc = sat_numbers_unpack(&r->row, held->scopes, &ret->scopes,
				&ret->scope_count);
	return rc == SAT_OK ? rc : no_memory(err);
}

/* A row that only this device has ever written, and only once. *ret_done: it
 * was one, and all that is left of it is the entry in the overlay. */
static int fold_new(struct sat_replica *r, struct answer *x,
		    const struct entry *w, struct sat_delta *d, bool *ret_done,
		    struct sat_err *err)
{
	struct sat_state s = { .seq = x->v->first_seq + w->i };
	struct sat_held none = { .known = false };
	bool same = false;
	int rc = sat_row_init(&r->row, w->table, &none.base);

	if (rc != SAT_OK)
		return no_memory(err);
	rc = fold_state(r, x, d, &none, &s, err);
	if (rc == SAT_OK)
		rc = sat_state_insert(r, w->table, &w->id, &s, ret_done, err);
	if (rc != SAT_OK || !*ret_done)
		return rc;
	rc = sat_typed_same(r, w->table, &w->id, s.values, &same, err);
	return rc != SAT_OK || same
		       ? rc
		       : sat_typed_write(r, w->table, &w->id, s.values, err);
}

static int fold_known(struct sat_replica *r, struct answer *x,
		      const struct entry *w, struct sat_delta *d,
		      struct sat_err *err)
{
	struct sat_state s = { .seq = x->v->first_seq + w->i };
	struct sat_held held;
	int rc = sat_held_load(r, w->table, &w->id, NULL, &held, err);

	if (rc != SAT_OK || (held.known && held.seq >= s.seq))
		return rc;
	if (held.known && sat_numbers_unpack(&r->row, held.scopes, &s.scopes,
					     &s.scope_count) == SAT_E_CORRUPT)
		held.damaged = true;
	if (held.damaged) { /* the next checkpoint will see to it */
		r->facts.stale = 1;
		return SAT_OK;
	}
	/* A row that has left and is only waited for. */
	if (!held.known && !held.created)
		return SAT_OK;
	rc = fold_state(r, x, d, &held, &s, err);
	if (rc != SAT_OK)
		return rc;
	if (held.known)
		sat_digest_sub(r,
			       sat_held_hash(r, w->table, &w->id, held.meta,
					     held.values),
			       s.scope_count);
	s.siblings = held.base.vv.count > 1;
	rc = sat_state_put(r, w->table, &w->id, &s, err);
	return rc == SAT_OK
		       ? sat_state_show(r, w->table, &w->id, &held, &s, err)
		       : rc;
}

static int decode(struct sat_replica *r, const struct entry *w,
		  struct sat_delta *ret, struct sat_err *err)
{
	struct sat_dot dot;

	sat_arena_reset(&r->row);
	return sat_delta_decode(r, w->delta, ret, &dot, err);
}

/* *ret_drop: the entry is to be dropped from the overlay. */
static int fold_row(struct sat_replica *r, struct answer *x,
		    const struct entry *w, bool *ret_drop, struct sat_err *err)
{
	struct sat_delta d;
	int rc;

	*ret_drop = false;
	if (!w->first)
		return SAT_OK; /* an earlier one is still to come back: wait */
	rc = decode(r, w, &d, err);
	if (rc == SAT_OK && w->alone && d.op == SAT_OP_INSERT) {
		rc = fold_new(r, x, w, &d, ret_drop, err);
		if (rc != SAT_OK || *ret_drop)
			return rc;
		rc = decode(r, w, &d, err); /* stamps were put into it */
	}
	return rc == SAT_OK ? fold_known(r, x, w, &d, err) : rc;
}

/* Accepted edits of a row that has left the device have nothing to wait for. */
static int release_orphan(struct sat_replica *r, const struct entry *w,
			  uint64_t seq, bool *ret_released, struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value args[3] = { sat_value_int(w->table->no) };
	sqlite3_stmt *st;
	int rc;

	*ret_released = false;
	if (!r->any_orphan)
		return SAT_OK;
	sat_id_format(&w->id, text);
	args[1] = sat_bind_str(text);
	rc = sat_db_find(&r->db,
			 "SELECT 1 FROM _satchel_orphan WHERE t = ?1"
			 " AND id = ?2",
			 args, 2, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	sat_db_reset(st);
	*ret_released = true;
	args[1] = sat_value_id(&w->id);
	args[2] = sat_bind_u64(seq);
	rc = sat_db_do(&r->db,
		       "DELETE FROM _satchel_dirty WHERE t = ?1 AND id = ?2"
		       " AND seq = ?3",
		       args, 3, err);
	return rc == SAT_OK ? sat_row_settle(r, w->table, &w->id, err) : rc;
}

/* ---- all of them --------------------------------------------------------- */

/* Neighbours in the overlay that are done with: deltas from..to. */
struct run {
	uint64_t from, to;
};

static int drop_run(struct sat_replica *r, uint64_t seq, struct run *run,
		    struct sat_err *err)
{
	struct sat_value args[3] = { sat_bind_u64(seq), sat_bind_u64(run->from),
				     sat_bind_u64(run->to) };

	if (run->from == run->to)
		return SAT_OK;
	run->from = run->to;
	return sat_db_do(&r->db,
			 "DELETE FROM _satchel_dirty WHERE seq = ?1 AND"
			 " i >= ?2 AND i < ?3",
			 args, 3, err);
}

static int settle_entry(struct sat_replica *r, struct answer *x,
			const struct entry *w, struct run *run,
			struct sat_err *err)
{
	bool as_held = (x->v->flags & SAT_VERDICT_AS_HELD) != 0;
	bool released, drop = false;
	int rc = release_orphan(r, w, x->v->seq, &released, err);

	if (rc == SAT_OK && !released && as_held)
		rc = fold_row(r, x, w, &drop, err);
	if (rc != SAT_OK)
		return rc;
	if (drop && run->to == w->i) {
		run->to++;
		return SAT_OK;
	}
	rc = drop_run(r, x->v->seq, run, err);
	run->from = w->i;
	run->to = drop ? w->i + 1 : w->i;
	return rc;
}

int sat_fold_rows(struct sat_replica *r, const struct sat_msg_verdict *v,
		  int64_t limit, uint64_t *from, bool *ret_done,
		  struct sat_err *err)
{
	struct answer x = { .v = v };
	struct run run = { 0, 0 };
	struct entry *all = NULL;
	uint32_t count = 0;
	int rc = sat_apply_look(r, err);

	*ret_done = true;
	if (rc != SAT_OK ||
	    (!r->any_orphan && (v->flags & SAT_VERDICT_AS_HELD) == 0))
		return rc;
	rc = read_entries(r, v->seq, *from, limit, &all, &count, err);
	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&x.meta, SAT_REPLICA_TEXT_MAX);
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
		rc = settle_entry(r, &x, &all[i], &run, err);
		*from = all[i].i + 1;
	}
	if (rc == SAT_OK)
		rc = drop_run(r, v->seq, &run, err);
	sat_buf_fini(&x.meta);
	*ret_done = count < limit;
	return rc;
}
