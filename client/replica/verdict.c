/* The server's answer to a changeset, settled for good in one transaction;
 * of a large one that is accepted as held the rows are folded ahead of it.
 *
 *   applied, merged   stays in the overlay until a state that contains it
 *   as-held           the server has exactly what we have: becomes the base
 *   rejected          leaves the overlay, goes to the rejected list
 *   parked            nothing changes; the answer comes later */
#include "client/replica/apply.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SLICE_ROWS = 1000, /* folded in one transaction, some 50 ms         */
	SLICE_NAP_MS = 15, /* between two, for programs that want to write  */
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "replica_verdict",
			   "out of memory");
}

static int put_state(struct sat_replica *r, uint64_t seq,
		     enum sat_outbox_state state, int64_t now_ms,
		     struct sat_err *err)
{
	struct sat_value args[3] = { sat_bind_u64(seq), sat_value_int(state),
				     sat_value_int(now_ms) };

	return sat_db_do(&r->db,
			 "UPDATE _satchel_outbox SET state = ?2, ms = ?3"
			 " WHERE seq = ?1",
			 args, 3, err);
}

/* ---- accepted ---------------------------------------------------------------
 */

static int count_dirty(struct sat_replica *r, uint64_t seq, int64_t *ret,
		       struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT count(*) FROM _satchel_dirty"
			     " WHERE seq = ?1",
			     &arg, 1, &st, err);

	*ret = 0;
	if (rc == SAT_OK && st != NULL) {
		*ret = sqlite3_column_int64(st, 0);
		sat_db_reset(st);
	}
	return rc;
}

static int drop_dirty(struct sat_replica *r, uint64_t seq, struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);

	return sat_db_do(&r->db, "DELETE FROM _satchel_dirty WHERE seq = ?1",
			 &arg, 1, err);
}

static int count_rows(struct sat_replica *r, uint64_t seq, int64_t *ret,
		      struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT rows FROM _satchel_outbox WHERE seq = ?1",
			     &arg, 1, &st, err);

	*ret = 0;
	if (rc != SAT_OK || st == NULL)
		return rc;
	*ret = sqlite3_column_int64(st, 0);
	sat_db_reset(st);
	return SAT_OK;
}

static int settle_accepted(struct sat_replica *r,
			   const struct sat_msg_verdict *v, int64_t now_ms,
			   struct sat_err *err)
{
	uint64_t from = 0;
	int64_t count;
	bool done;
	int rc = count_rows(r, v->seq, &count, err);

	r->facts.settled += rc == SAT_OK ? count : 0;
	if (rc == SAT_OK)
		rc = put_state(r, v->seq, SAT_OUTBOX_ACKED, now_ms, err);
	if (rc == SAT_OK)
		rc = count_dirty(r, v->seq, &count, err);
	return rc == SAT_OK ? sat_fold_rows(r, v, count, &from, &done, err)
			    : rc;
}

/* ---- rejected ------------------------------------------------------------ */

struct link {
	struct sat_id id;
	uint32_t delta;
};

static int compare_links(const void *x, const void *y)
{
	const struct link *p = x, *q = y;

	return memcmp(p->id.b, q->id.b, sizeof p->id.b);
}

static const struct link *find_link(const struct link *links, uint32_t count,
				    struct sat_slice id)
{
	struct link key = { .delta = 0 };

	if (id.len != sizeof key.id.b)
		return NULL;
	memcpy(key.id.b, id.ptr, sizeof key.id.b);
	return bsearch(&key, links, count, sizeof *links, compare_links);
}

/* One round: a row that refers to a refused one cannot stand without it. */
static bool spread(const struct sat_changeset *cs, const struct link *links,
		   bool *refused)
{
	bool moved = false;

	for (uint32_t i = 0; i < cs->delta_count; i++) {
		const struct sat_delta *d = &cs->deltas[i];

		for (uint32_t k = 0; !refused[i] && k < d->change_count; k++) {
			const struct sat_change *c = &d->changes[k];
			const struct link *to;

			if (d->table->columns[c->column].type != SAT_TYPE_REF ||
			    c->value.kind != SAT_BLOB)
				continue;
			to = find_link(links, cs->delta_count, c->value.s);
			refused[i] = to != NULL && refused[to->delta];
			moved = moved || refused[i];
		}
	}
	return moved;
}

/* What the offending row refers to and was edited, not made, along with it
 * belongs to the same act of the person. */
static void climb(const struct sat_changeset *cs, const struct link *links,
		  uint32_t from, bool *refused)
{
	const struct sat_delta *d = &cs->deltas[from];

	for (uint32_t k = 0; k < d->change_count; k++) {
		const struct link *to;

		if (d->table->columns[d->changes[k].column].type !=
			    SAT_TYPE_REF ||
		    d->changes[k].value.kind != SAT_BLOB)
			continue;
		to = find_link(links, cs->delta_count, d->changes[k].value.s);
		if (to != NULL && cs->deltas[to->delta].op == SAT_OP_UPDATE)
			refused[to->delta] = true;
	}
}

/* Which deltas stay refused. All of them, unless the changeset gathered
 * several transactions and the verdict names the row. */
static int choose_refused(struct sat_replica *r, const struct sat_changeset *cs,
			  const struct sat_msg_verdict *v, bool *refused,
			  struct sat_err *err)
{
	struct link *links =
		sat_arena_array(&r->batch, cs->delta_count, sizeof *links);
	uint32_t bad = cs->delta_count;

	if (links == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < cs->delta_count; i++) {
		links[i] = (struct link){ cs->deltas[i].id, i };
		if (cs->deltas[i].table->no == v->where.table_no &&
		    memcmp(&cs->deltas[i].id, &v->where.id,
			   sizeof v->where.id) == 0)
			bad = i;
	}
	if ((cs->flags & SAT_CHANGESET_COALESCED) == 0 ||
	    bad == cs->delta_count) {
		for (uint32_t i = 0; i < cs->delta_count; i++)
			refused[i] = true;
		return SAT_OK;
	}
	qsort(links, cs->delta_count, sizeof *links, compare_links);
	refused[bad] = true;
	for (uint32_t round = 0; round < r->catalogue->table_count + 16u;
	     round++) {
		if (!spread(cs, links, refused))
			break;
	}
	climb(cs, links, bad, refused);
	return SAT_OK;
}

static void part_deltas(const struct sat_changeset *cs, const bool *refused,
			struct sat_delta *out, uint32_t *ret_refused)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < cs->delta_count; i++) {
		if (refused[i])
			out[n++] = cs->deltas[i];
	}
	*ret_refused = n;
	for (uint32_t i = 0; i < cs->delta_count; i++) {
		if (!refused[i])
			out[n++] = cs->deltas[i];
	}
}

static int list_rejected(struct sat_replica *r, const struct sat_msg_verdict *v,
			 const struct sat_delta *deltas, uint32_t count,
			 struct sat_err *err)
{
	const struct sat_table *t =
		sat_catalogue_table_no(r->catalogue, v->where.table_no);
	const struct sat_column *c = NULL;
	int at = t == NULL ? -1 : sat_table_column_no(t, v->where.column_no);

	if (at >= 0)
		c = &t->columns[at];
	return sat_rejected_add(r, v->seq,
				v->reason < SAT_REASON_COUNT
					? (enum sat_reason)v->reason
					: SAT_REASON_MALFORMED,
				t, c, v->depends, deltas, count, err);
}

static int settle_rejected(struct sat_replica *r,
			   const struct sat_msg_verdict *v, int64_t now_ms,
			   struct sat_err *err)
{
	struct sat_changeset cs;
	struct sat_delta *deltas;
	bool *refused;
	uint32_t n = 0;
	int rc = sat_outbox_decode(r, v->seq, &cs, err);

	if (rc != SAT_OK)
		return rc;
	refused = sat_arena_array(&r->batch, cs.delta_count, sizeof *refused);
	deltas = sat_arena_array(&r->batch, cs.delta_count, sizeof *deltas);
	if (refused == NULL || deltas == NULL)
		return no_memory(err);
	rc = choose_refused(r, &cs, v, refused, err);
	if (rc != SAT_OK)
		return rc;
	part_deltas(&cs, refused, deltas, &n);
	rc = list_rejected(r, v, deltas, n, err);
	if (rc == SAT_OK)
		rc = put_state(r, v->seq, SAT_OUTBOX_REJECTED, now_ms, err);
	if (rc == SAT_OK)
		rc = drop_dirty(r, v->seq, err);
	r->facts.settled += n;
	r->facts.refused += n;
	/* the others are counted where they go now */
	r->facts.changes -= cs.delta_count - n;
	if (rc == SAT_OK && n < cs.delta_count)
		rc = sat_outbox_put(r, deltas + n, cs.delta_count - n, 0, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++)
		rc = sat_row_settle(r, deltas[i].table, &deltas[i].id, err);
	return rc;
}

/* ---- one verdict --------------------------------------------------------- */

/* The entry's state, -1 when the outbox does not have it any more. */
static int entry_state(struct sat_replica *r, uint64_t seq, int *ret,
		       struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT state FROM _satchel_outbox WHERE seq = ?1",
			     &arg, 1, &st, err);

	*ret = -1;
	if (rc != SAT_OK || st == NULL)
		return rc;
	*ret = sqlite3_column_int(st, 0);
	sat_db_reset(st);
	return SAT_OK;
}

static int settle(struct sat_replica *r, const struct sat_msg_verdict *v,
		  int64_t now_ms, struct sat_err *err)
{
	int state, rc = sat_harvest(r, false, err);

	sat_arena_reset(&r->batch);
	if (rc == SAT_OK)
		rc = entry_state(r, v->seq, &state, err);
	if (rc != SAT_OK)
		return rc;
	if (state == SAT_OUTBOX_VOID) {
		rc = put_state(r, v->seq, SAT_OUTBOX_REJECTED, now_ms, err);
	} else if (state == SAT_OUTBOX_WAITING || state == SAT_OUTBOX_PARKED) {
		if (v->status == SAT_VERDICT_REJECTED)
			rc = settle_rejected(r, v, now_ms, err);
		else if (v->status == SAT_VERDICT_PARKED)
			rc = put_state(r, v->seq, SAT_OUTBOX_PARKED, now_ms,
				       err);
		else
			rc = settle_accepted(r, v, now_ms, err);
	}
	if (rc == SAT_OK && (int64_t)v->seq > r->facts.verdict_seq)
		r->facts.verdict_seq = (int64_t)v->seq;
	return rc;
}

/* Is there so much to fold that a program on the device would notice? */
static int is_large(struct sat_replica *r, const struct sat_msg_verdict *v,
		    bool *ret, struct sat_err *err)
{
	struct sat_value args[2] = { sat_bind_u64(v->seq),
				     sat_value_int(SLICE_ROWS) };
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT 1 FROM _satchel_outbox WHERE seq = ?1"
			     " AND rows > ?2",
			     args, 2, &st, err);

	*ret = false;
	if (rc != SAT_OK || st == NULL)
		return rc;
	sat_db_reset(st);
	*ret = (v->status == SAT_VERDICT_APPLIED ||
		v->status == SAT_VERDICT_MERGED) &&
	       (v->flags & SAT_VERDICT_AS_HELD) != 0;
	return SAT_OK;
}

/* One slice in a transaction of its own. */
static int fold_slice(struct sat_replica *r, const struct sat_msg_verdict *v,
		      uint64_t *from, bool *ret_done, struct sat_err *err)
{
	int state, rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	*ret_done = true;
	rc = sat_harvest(r, false, err);
	sat_arena_reset(&r->batch);
	if (rc == SAT_OK)
		rc = entry_state(r, v->seq, &state, err);
	if (rc == SAT_OK &&
	    (state == SAT_OUTBOX_WAITING || state == SAT_OUTBOX_PARKED))
		rc = sat_fold_rows(r, v, SLICE_ROWS, from, ret_done, err);
	return sat_txn_end(r, rc, err);
}

/* The rows of a long backlog, in slices: nobody waits for the write lock while
 * a hundred thousand rows are folded. Each becomes what the server has, by
 * itself; cut short, the verdict is not stored, so it comes again and finds
 * the rest. */
static int fold_ahead(struct sat_replica *r, const struct sat_msg_verdict *v,
		      struct sat_err *err)
{
	static const struct timespec nap = { .tv_nsec =
						     SLICE_NAP_MS * 1000000L };
	uint64_t from = 0;
	bool done = false;
	int rc = SAT_OK;

	while (rc == SAT_OK && !done) {
		rc = fold_slice(r, v, &from, &done, err);
		if (!done)
			(void)nanosleep(&nap, NULL);
	}
	return rc;
}

int sat_replica_verdict(struct sat_replica *r, const struct sat_msg_verdict *v,
			int64_t now_raw_ms, struct sat_err *err)
{
	bool large;
	int rc = is_large(r, v, &large, err);

	if (rc == SAT_OK && large)
		rc = fold_ahead(r, v, err);
	if (rc == SAT_OK)
		rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	if (v->seq == 0 || v->seq > (uint64_t)r->facts.seq)
		rc = sat_err_set(err, SAT_E_PROTO, 0, "replica_verdict",
				 "a verdict on changeset %llu, which was never"
				 " made here",
				 (unsigned long long)v->seq);
	else
		rc = settle(r, v, now_raw_ms, err);
	return sat_txn_end(r, rc, err);
}
