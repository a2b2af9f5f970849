/* A copied device becomes one of its own (SYNC section 10): what the server
 * has not got of it is its own from here on, under its own number. */
#include "client/replica/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changesets up to this seq are the same on both devices: those it knew to be
 * decided, and those behind them whose hash is the server's. */
static int fork_point(struct sat_replica *r, uint64_t after,
		      struct sat_slice hashes, uint64_t *ret,
		      struct sat_err *err)
{
	uint64_t f =
		after < (uint64_t)r->facts.seq ? after : (uint64_t)r->facts.seq;
	size_t n = hashes.len / 16;
	struct sat_value arg, own;
	sqlite3_stmt *st;
	bool same = true;
	int rc;

	for (size_t i = 0; same && i < n && f < (uint64_t)r->facts.seq; i++) {
		arg = sat_bind_u64(f + 1);
		rc = sat_db_find(&r->db,
				 "SELECT hash FROM _satchel_outbox"
				 " WHERE seq = ?1",
				 &arg, 1, &st, err);
		if (rc != SAT_OK)
			return rc;
		same = st != NULL;
		if (st == NULL)
			break;
		own = sat_db_column(st, 0);
		same = own.kind == SAT_BLOB && own.s.len == 16 &&
		       memcmp(own.s.ptr, hashes.ptr + 16 * i, 16) == 0;
		sat_db_reset(st);
		f += same;
	}
	*ret = f;
	return SAT_OK;
}

static int by_replica(const void *x, const void *y)
{
	const struct sat_dot *p = x, *q = y;

	return p->replica < q->replica ? -1 : p->replica > q->replica;
}

/* The last of the old number's dots up to f that this row really contains: in
 * the server's state, or in a change that both devices have. */
static int last_shared(struct sat_replica *r, const struct sat_delta *d,
		       uint32_t old, uint64_t f, uint64_t *ret,
		       struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(d->table->no),
				     sat_value_id(&d->id) };
	struct sat_held held;
	struct sat_vv vv, dv;
	sqlite3_stmt *st;
	uint64_t seq;
	int rc;

	*ret = 0;
	sat_arena_reset(&r->row);
	rc = sat_held_peek(r, d->table, &d->id, &held, err);
	if (rc == SAT_OK && held.known) {
		rc = sat_meta_vectors(&r->row, held.meta, &vv, &dv);
		if (rc != SAT_OK)
			return sat_err_set(err, rc, 0, "replica_become",
					   "a row's metadata is damaged");
		*ret = sat_vv_get(vv, old);
	}
	if (rc == SAT_OK)
		rc = sat_db_find(&r->db,
				 "SELECT -min(seq) FROM _satchel_dirty WHERE"
				 " t = ?1 AND id = ?2 AND seq < 0",
				 args, 2, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st != NULL) {
		seq = (uint64_t)sqlite3_column_int64(st, 0);
		*ret = seq > *ret ? seq : *ret;
		sat_db_reset(st);
	}
	*ret = *ret < f ? *ret : f;
	return SAT_OK;
}

/* C[old] := min(C[old], f) as far as the row has it, and what lies behind f
 * moves to the new number. */
static int move_context(struct sat_replica *r, struct sat_vv *context,
			uint32_t old, uint32_t now, uint64_t f, uint64_t shared)
{
	struct sat_dot *dots = sat_arena_array(
		&r->batch, (size_t)context->count + 1, sizeof *dots);
	uint32_t n = 0;

	if (dots == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < context->count; i++) {
		struct sat_dot seen = context->dots[i];

		if (seen.replica == old && seen.seq > f) {
			dots[n++] = (struct sat_dot){ now, seen.seq - f };
			seen.seq = shared;
		}
		if (seen.seq > 0)
			dots[n++] = seen;
	}
	qsort(dots, n, sizeof *dots, by_replica);
	*context = (struct sat_vv){ dots, n };
	return SAT_OK;
}

/* Under the marker it was formed with: what the device had been told then. */
static int put_again(struct sat_replica *r, const struct sat_changeset *cs,
		     struct sat_err *err)
{
	struct sat_facts kept = r->facts;
	int rc;

	r->facts.epoch = (int64_t)cs->marker.epoch;
	r->facts.cursor = (int64_t)cs->marker.commit_seq;
	r->facts.grants = cs->marker.grants;
	rc = sat_outbox_put(r, cs->deltas, cs->delta_count, cs->flags, err);
	r->facts.epoch = kept.epoch;
	r->facts.cursor = kept.cursor;
	r->facts.grants = kept.grants;
	return rc;
}

static int forget(struct sat_replica *r, const char *where, uint64_t seq,
		  struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);
	char sql[120];
	int rc;

	(void)snprintf(sql, sizeof sql,
		       "DELETE FROM _satchel_dirty WHERE seq %s ?1", where);
	rc = sat_db_do(&r->db, sql, &arg, 1, err);
	if (rc != SAT_OK)
		return rc;
	(void)snprintf(sql, sizeof sql,
		       "DELETE FROM _satchel_outbox WHERE seq %s ?1", where);
	return sat_db_do(&r->db, sql, &arg, 1, err);
}

static int move_one(struct sat_replica *r, uint64_t seq, uint32_t old,
		    uint64_t f, struct sat_err *err)
{
	struct sat_changeset cs;
	uint64_t shared;
	int rc;

	sat_arena_reset(&r->batch);
	rc = sat_outbox_decode(r, seq, &cs, err);
	for (uint32_t i = 0; rc == SAT_OK && i < cs.delta_count; i++) {
		rc = last_shared(r, &cs.deltas[i], old, f, &shared, err);
		if (rc == SAT_OK && move_context(r, &cs.deltas[i].context, old,
						 (uint32_t)r->facts.replica, f,
						 shared) != SAT_OK)
			rc = sat_err_set(err, SAT_E_NOMEM, 0, "replica_become",
					 "out of memory");
	}
	if (rc == SAT_OK)
		rc = forget(r, "=", seq, err);
	return rc == SAT_OK ? put_again(r, &cs, err) : rc;
}

/* What both devices have makes room for the new numbers; who built on it is
 * still to be seen. */
static int put_behind(struct sat_replica *r, uint64_t f, struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(f);
	int rc = sat_db_do(&r->db,
			   "UPDATE _satchel_dirty SET seq = -seq"
			   " WHERE seq <= ?1",
			   &arg, 1, err);

	return rc == SAT_OK ? sat_db_do(&r->db,
					"DELETE FROM _satchel_outbox"
					" WHERE seq <= ?1",
					&arg, 1, err)
			    : rc;
}

static int become(struct sat_replica *r, uint32_t now, uint64_t after,
		  struct sat_slice hashes, struct sat_err *err)
{
	uint32_t old = (uint32_t)r->facts.replica;
	uint64_t f, last;
	int rc = sat_harvest(r, false, err);

	if (rc == SAT_OK)
		rc = fork_point(r, after, hashes, &f, err);
	if (rc == SAT_OK)
		rc = put_behind(r, f, err);
	if (rc != SAT_OK)
		return rc;
	last = (uint64_t)r->facts.seq;
	r->facts.replica = now;
	r->facts.seq = 0;
	r->facts.verdict_seq = 0;
	memset(r->facts.chain, 0, sizeof r->facts.chain);
	memset(r->facts.ratchet, 0, sizeof r->facts.ratchet);
	for (uint64_t seq = f + 1; rc == SAT_OK && seq <= last; seq++)
		rc = move_one(r, seq, old, f, err);
	if (rc == SAT_OK)
		rc = forget(r, "<", 0, err);
	if (rc == SAT_OK)
		rc = sat_ghosts_renew(r, err);
	if (rc == SAT_OK)
		rc = sat_outbox_count(r, err);
	if (rc == SAT_OK)
		rc = sat_start_over(r, SAT_REFRESH_ASKED, err);
	return rc;
}

int sat_replica_become(struct sat_replica *r, uint32_t replica, uint64_t after,
		       struct sat_slice hashes, struct sat_err *err)
{
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	if ((uint32_t)r->facts.replica != replica)
		rc = become(r, replica, after, hashes, err);
	return sat_txn_end(r, rc, err);
}
