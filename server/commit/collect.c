/* The floor F is the highest position such that every live replica has
 * applied a checkpoint at or behind it, all it formed before that is decided,
 * and the rows there were deleted long enough ago. Deleted rows up to F go.
 * F is stored before the first of them goes: it is what tells a replica that
 * comes back that it missed something. */
#include "server/commit/collect.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/commit/core.h"
#include "server/commit/ledger_names.h"

enum {
	ROWS_AT_ONCE = 1000, /* of one table in one call     */
	ENTRIES_AT_ONCE = 500,
	DEVICE_BYTES_MAX = 256 * 1024 * 1024,
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "collect", "out of memory");
}

/* ---- how far the replicas are -------------------------------------------- */

static bool is_settled(const struct sat_passed *p, const struct sat_device *d)
{
	return p->due_seq <= d->last_seq;
}

int sat_collect_passed(struct sat_engine *e, const struct sat_device *d,
		       uint64_t cursor, uint64_t last_seq, struct sat_err *err)
{
	struct sat_passed p, was;
	int rc = sat_store_passed_get(e->store, d->replica, &p, err);

	if (rc != SAT_OK)
		return rc;
	was = p;
	if (p.due_seq > 0 && is_settled(&p, d)) {
		if (p.due_cursor > p.settled)
			p.settled = p.due_cursor;
		p.due_cursor = p.due_seq = 0;
	}
	if (last_seq <= d->last_seq) {
		if (cursor > p.settled)
			p.settled = cursor;
		p.due_cursor = p.due_seq = 0;
	} else if (p.due_seq == 0 || p.epoch != e->epoch) {
		/* one that is due already comes first, or a busy replica would
		 * never get anywhere; but in another history what it has is to
		 * be brought back, and that is more */
		p.due_cursor = cursor;
		p.due_seq = last_seq;
	}
	p.epoch = e->epoch;
	if (p.epoch == was.epoch && p.settled == was.settled &&
	    p.due_cursor == was.due_cursor && p.due_seq == was.due_seq)
		return SAT_OK;
	return sat_store_passed_put(e->store, d->replica, &p, err);
}

static bool is_live(const struct sat_device *d, const struct sat_keep *keep,
		    int64_t now_ms)
{
	return d->state != SAT_DEVICE_REVOKED &&
	       now_ms - d->seen_ms < keep->silent_ms;
}

/* The least position of all live replicas, UINT64_MAX when there are none;
 * whose it is; and whether all of them are back in that history with all
 * they have. */
struct behind {
	uint64_t at;
	uint32_t replica;
	bool all_back;
};

static int find_behind(struct sat_store *s, const struct sat_keep *keep,
		       int64_t now_ms, uint64_t epoch, struct behind *ret,
		       struct sat_err *err)
{
	struct behind b = { .at = UINT64_MAX, .all_back = true };
	struct sat_device *all;
	struct sat_arena list;
	struct sat_passed p;
	uint32_t n = 0;
	uint64_t at;
	int rc;

	sat_arena_init(&list, DEVICE_BYTES_MAX);
	rc = sat_store_devices(s, &list, &all, &n, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		if (!is_live(&all[i], keep, now_ms))
			continue;
		rc = sat_store_passed_get(s, all[i].replica, &p, err);
		if (rc != SAT_OK)
			break;
		at = p.settled;
		if (is_settled(&p, &all[i]) && p.due_cursor > at)
			at = p.due_cursor;
		if (p.epoch != epoch || !is_settled(&p, &all[i]))
			b.all_back = false;
		if (at < b.at) {
			b.at = at;
			b.replica = all[i].replica;
		}
	}
	sat_arena_fini(&list);
	*ret = b;
	return rc;
}

int sat_collect_stored(struct sat_store *s, const struct sat_keep *keep,
		       int64_t now_ms, struct sat_collect_status *ret,
		       struct sat_err *err)
{
	struct sat_collect_status st = { 0 };
	struct behind b;
	int rc = sat_store_floor(s, &st.floor, &st.rows, err);

	if (rc == SAT_OK)
		rc = find_behind(s, keep, now_ms, 0, &b, err);
	if (rc != SAT_OK)
		return rc;
	st.behind = b.replica;
	st.behind_at = b.replica == 0 ? 0 : b.at;
	*ret = st;
	return SAT_OK;
}

/* ---- deleted rows -------------------------------------------------------- */

/* A deleted parent keeps its place while children live: they take their
 * scopes from it, and it may be restored. Territories always do: what was
 * done there counts in the figures of all above it. */
static int has_children(struct sat_engine *e, const struct sat_table *t,
			const struct sat_id *id, bool *ret, struct sat_err *err)
{
	const struct sat_table_plan *tp = &e->plan.tables[t->index];
	const struct sat_table *tables = e->plan.cat->tables;
	int rc = SAT_OK;

	*ret = t == e->plan.tree;
	for (uint16_t i = 0; rc == SAT_OK && !*ret && i < tp->via_count; i++)
		rc = sat_store_has_child(e->store, &tables[tp->via[i].table],
					 tp->via[i].column, id, ret, err);
	for (uint16_t i = 0; rc == SAT_OK && !*ret && i < tp->move_count; i++)
		rc = sat_store_has_child(e->store, &tables[tp->moves[i].table],
					 tp->moves[i].column, id, ret, err);
	return rc;
}

static bool places_passed(const struct sat_stored_row *row, uint64_t floor)
{
	for (uint32_t i = 0; i < row->place_count; i++) {
		if (row->places[i].seq > floor)
			return false;
	}
	return true;
}

static int collect_row(struct sat_engine *e, const struct sat_table *t,
		       uint64_t seq, uint32_t *rows, struct sat_err *err)
{
	struct sat_stored_row row;
	bool needed = false;
	int rc;

	sat_arena_reset(&e->row_arena);
	rc = sat_store_row_at(e->store, t, seq, &e->row_arena, &row, err);
	if (rc != SAT_OK || row.seq == 0 || !row.deleted || row.damaged ||
	    !places_passed(&row, e->floor))
		return rc;
	rc = has_children(e, t, &row.id, &needed, err);
	if (rc != SAT_OK || needed)
		return rc;
	sat_lookup_forget(e, t, &row.id);
	++*rows;
	return sat_store_row_collect(e->store, t, &row, err);
}

/* Go on where the last call stopped, table by table. */
static int collect_rows(struct sat_engine *e, struct sat_collected *ret,
			struct sat_err *err)
{
	const struct sat_catalogue *c = e->plan.cat;
	uint64_t seqs[ROWS_AT_ONCE];
	const struct sat_table *t;
	uint32_t n = 0;
	int rc;

	if (e->collect_table >= c->table_count) {
		e->collect_table = 0;
		e->collect_after = 0;
	}
	t = &c->tables[e->collect_table];
	rc = sat_store_dead(e->store, t, e->collect_after, e->floor, seqs,
			    ROWS_AT_ONCE, &n, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++)
		rc = collect_row(e, t, seqs[i], &ret->rows, err);
	if (rc != SAT_OK)
		return rc;
	e->collect_after = n > 0 ? seqs[n - 1] : 0;
	if (n < ROWS_AT_ONCE) {
		e->collect_after = 0;
		e->collect_table++;
	}
	ret->more = e->collect_table < c->table_count;
	return SAT_OK;
}

static int raise_floor(struct sat_engine *e, const struct behind *b,
		       struct sat_err *err)
{
	uint64_t old;
	int rc = sat_store_seq_at(e->store, e->now_ms - e->keep.deleted_ms,
				  &old, err);

	if (rc != SAT_OK)
		return rc;
	if (b->at < old)
		old = b->at;
	/* while the devices refill the server anything may be asked for */
	if (old <= e->floor || e->recover.open)
		return SAT_OK;
	e->floor = old;
	return sat_store_floor_put(e->store, old, e->collected, err);
}

/* ---- settled ledger entries ---------------------------------------------- */

static int delete_entries(struct sat_engine *e, const struct sat_table *t,
			  const struct sat_id *ids, uint32_t n,
			  struct sat_err *err)
{
	struct sat_local_write *w = calloc(n, sizeof *w);
	uint32_t bad;
	int rc;

	if (w == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < n; i++)
		w[i] = (struct sat_local_write){ .op = SAT_OP_DELETE,
						 .table = t,
						 .id = ids[i] };
	rc = sat_engine_local(e, w, n, &bad, err);
	free(w);
	return rc;
}

/* They are deleted like any row, so that devices see them go. */
static int collect_entries(struct sat_engine *e, struct sat_collected *ret,
			   struct sat_err *err)
{
	static const char *const times[] = { SAT_LEDGER_RESOLVED_AT,
					     SAT_LEDGER_SHOWN_AT,
					     SAT_LEDGER_LOSING_AT };
	const struct sat_table *t = e->plan.ledger;
	struct sat_id ids[ENTRIES_AT_ONCE];
	int at[3], state, rc;
	uint32_t n = 0;

	if (t == NULL || e->keep.settled_ms == 0)
		return SAT_OK;
	state = sat_table_column(t, sat_slice_str(SAT_LEDGER_STATE));
	for (int i = 0; i < 3; i++)
		at[i] = sat_table_column(t, sat_slice_str(times[i]));
	if (state < 0 || (at[0] < 0 && at[1] < 0 && at[2] < 0))
		return SAT_OK;
	rc = sat_store_settled(e->store, t, state, "open", at,
			       e->now_ms - e->keep.settled_ms, ids,
			       ENTRIES_AT_ONCE, &n, err);
	if (rc == SAT_OK && n > 0)
		rc = delete_entries(e, t, ids, n, err);
	ret->entries = n;
	ret->more = ret->more || n == ENTRIES_AT_ONCE;
	return rc;
}

/* ---- the recovery window ------------------------------------------------- */

static bool nothing_waits(const struct sat_recover *r)
{
	for (uint32_t i = 0; i < r->park_count; i++) {
		if (r->parks[i].next <= r->parks[i].last)
			return false;
	}
	return true;
}

/* It has done its work when everybody has brought back what he had and
 * nothing waits; and it does not stay open for ever. */
static int close_window(struct sat_engine *e, const struct behind *b,
			struct sat_collected *ret, struct sat_err *err)
{
	bool late = e->now_ms - e->recover.since_ms >= e->keep.recovery_ms;
	char detail[80];
	int rc;

	if (!e->recover.open ||
	    !(late || (b->all_back && nothing_waits(&e->recover))))
		return SAT_OK;
	rc = sat_engine_recovery_close(e, err);
	if (rc != SAT_OK)
		return rc;
	ret->closed = true;
	(void)snprintf(detail, sizeof detail, "{\"why\":\"%s\"}",
		       late ? "its time is over" : "all devices are back");
	return sat_store_audit(e->store, e->now_ms, "server", "recovery closed",
			       sat_slice_str(detail), err);
}

int sat_engine_collect(struct sat_engine *e, struct sat_collected *ret,
		       struct sat_err *err)
{
	struct sat_collected done = { 0 };
	struct behind b;
	int rc;

	SAT_ASSERT(e->in_group);
	rc = find_behind(e->store, &e->keep, e->now_ms, e->epoch, &b, err);
	if (rc == SAT_OK)
		rc = close_window(e, &b, &done, err);
	if (rc == SAT_OK)
		rc = raise_floor(e, &b, err);
	if (rc == SAT_OK && e->floor > 0 && !e->recover.open)
		rc = collect_rows(e, &done, err);
	e->collected += done.rows;
	if (rc == SAT_OK && done.rows > 0)
		rc = sat_store_floor_put(e->store, e->floor, e->collected, err);
	if (rc == SAT_OK)
		rc = collect_entries(e, &done, err);
	done.floor = e->floor;
	*ret = done;
	return rc;
}
