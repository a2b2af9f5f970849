/* Grants and places are judged as the author knew them: a row was in a scope
 * for him iff it is now, or has left it after his last checkpoint; the rights
 * are those of the version he had (SYNC section 6). Both reach back no further
 * than the grace allows, and never behind what he is known to know. */
#include <string.h>

#include "server/commit/core.h"
#include "server/commit/gate.h"

enum { HOUR_MS = 60 * 60 * 1000 };

void sat_engine_grace(struct sat_engine *e, int64_t grace_ms)
{
	e->grace_ms = grace_ms;
}

void sat_engine_keep_for(struct sat_engine *e, const struct sat_keep *keep)
{
	e->keep = *keep;
}

/* ---- the marker ---------------------------------------------------------- */

/* Positions of a history that is gone end where this one began. */
static uint64_t believed(const struct sat_engine *e, const struct sat_marker *m)
{
	uint64_t most = m->epoch == e->epoch ? e->head : e->epoch_head;

	return m->commit_seq < most ? m->commit_seq : most;
}

/* Markers never decrease along seq, nor lie behind what the device must know.
 */
static int raise(struct sat_engine *e, const struct sat_push_from *from,
		 uint64_t *seq, uint32_t *grants, struct sat_err *err)
{
	uint64_t told_seq;
	uint32_t told_grants;
	int rc = sat_store_told_get(e->store, from->replica, &told_seq,
				    &told_grants, err);

	if (rc != SAT_OK)
		return rc;
	if (*seq < told_seq)
		*seq = told_seq;
	if (*grants < told_grants)
		*grants = told_grants;
	if (*seq < from->told_seq)
		*seq = from->told_seq;
	if (*grants < from->told_grants)
		*grants = from->told_grants;
	if (*seq == told_seq && *grants == told_grants)
		return SAT_OK;
	return sat_store_told_put(e->store, from->replica, *seq, *grants, err);
}

/* Both lists joined; role, home and version of `then`. */
static int join(const struct sat_rights *now, const struct sat_rights *then,
		struct sat_arena *a, struct sat_rights *ret)
{
	size_t most = (size_t)now->scope_count + then->scope_count;
	uint32_t *list = sat_arena_array(a, most, sizeof *list);
	uint32_t i = 0, k = 0, n = 0, next;

	if (list == NULL)
		return SAT_E_NOMEM;
	while (i < now->scope_count || k < then->scope_count) {
		if (k == then->scope_count ||
		    (i < now->scope_count && now->scopes[i] < then->scopes[k]))
			next = now->scopes[i++];
		else
			next = then->scopes[k++];
		if (n == 0 || list[n - 1] != next)
			list[n++] = next;
	}
	*ret = *then;
	ret->scopes = list;
	ret->scope_count = n;
	return SAT_OK;
}

/* The rights of that version, and whether they ended long ago. */
static int rights_then(struct sat_engine *e, const struct sat_rights *now,
		       uint32_t version, struct sat_arena *a,
		       struct sat_told *t, struct sat_err *err)
{
	struct sat_rights then, next;
	int64_t from_ms, ended_ms;
	int rc;

	t->any = t->ever = *now;
	if (version == 0 || version >= now->version)
		return SAT_OK;
	rc = sat_store_rights_get(e->store, &now->user, version, a, &then,
				  &from_ms, err);
	if (rc == SAT_OK)
		rc = sat_store_rights_get(e->store, &now->user, version + 1, a,
					  &next, &ended_ms, err);
	if (rc == SAT_E_NOTFOUND) /* too old to know */
		return SAT_OK;
	if (rc != SAT_OK)
		return rc;
	rc = join(now, &then, a, &t->ever);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "rights", "out of memory");
	if (ended_ms >= e->now_ms - e->grace_ms)
		t->any = t->ever;
	return SAT_OK;
}

int sat_told_read(struct sat_engine *e, const struct sat_push_from *from,
		  const struct sat_rights *now, const struct sat_marker *m,
		  struct sat_arena *a, struct sat_told *ret,
		  struct sat_err *err)
{
	struct sat_told t = { .now = now };
	uint32_t grants = m->grants <= now->version ? m->grants : now->version;
	uint64_t floor;
	int rc;

	t.raw_seq = believed(e, m);
	rc = raise(e, from, &t.raw_seq, &grants, err);
	if (rc == SAT_OK)
		rc = rights_then(e, now, grants, a, &t, err);
	if (rc == SAT_OK)
		rc = sat_store_seq_at(e->store, e->now_ms - e->grace_ms, &floor,
				      err);
	if (rc != SAT_OK)
		return rc;
	t.seq = t.raw_seq > floor ? t.raw_seq : floor;
	*ret = t;
	return SAT_OK;
}

int sat_told_sample(struct sat_engine *e, struct sat_err *err)
{
	int64_t least = e->grace_ms, most = e->grace_ms, step;
	int64_t since = e->committed_ms != 0 ? e->committed_ms : e->now_ms;
	uint64_t floor;
	int rc;

	if (e->keep.deleted_ms < least)
		least = e->keep.deleted_ms;
	if (e->keep.deleted_ms > most)
		most = e->keep.deleted_ms;
	step = least / 32 < HOUR_MS ? least / 32 : HOUR_MS;

	if (e->now_ms - e->sampled_ms < step && e->now_ms >= e->sampled_ms)
		return SAT_OK;
	e->sampled_ms = e->now_ms;
	rc = sat_store_seq_at(e->store, e->now_ms - e->grace_ms, &floor, err);
	if (rc == SAT_OK)
		rc = sat_store_stood_forget(e->store, floor, err);
	if (rc != SAT_OK)
		return rc;
	return sat_store_seq_time_put(e->store, since, e->head,
				      most + 2 * step + HOUR_MS, err);
}

/* ---- reach --------------------------------------------------------------- */

/* In one of these scopes now, or until after that position. */
static bool was_within(const struct sat_rights *r, uint64_t seq,
		       const struct sat_place *places, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if ((!places[i].evict || places[i].seq > seq) &&
		    sat_rights_hold(r, places[i].scope))
			return true;
	}
	return false;
}

enum sat_reason sat_told_reach(struct sat_apply *ap, const struct sat_table *t,
			       const struct sat_id *id,
			       const struct sat_place *places, uint32_t count)
{
	const struct sat_told *told = ap->told;

	if (sat_gate_before(told->now, places, count))
		return SAT_REASON_NONE;
	if (was_within(&told->any, told->seq, places, count)) {
		ap->moved = true;
		return SAT_REASON_NONE;
	}
	if (!was_within(&told->ever, told->raw_seq, places, count))
		return SAT_REASON_SCOPE;
	ap->late_table = t;
	ap->late_id = *id;
	return SAT_REASON_TOO_LATE;
}

/* ---- following a parent ---------------------------------------------------
 */

static struct sat_change *change_of(const struct sat_delta *d, int column)
{
	for (uint32_t i = 0; i < d->change_count; i++) {
		if ((int)d->changes[i].column == column)
			return &d->changes[i];
	}
	return NULL;
}

static bool has_left(const struct sat_stored_row *row, uint32_t scope,
		     uint64_t seq)
{
	for (uint32_t i = 0; i < row->place_count; i++) {
		if (row->places[i].scope == scope)
			return row->places[i].evict && row->places[i].seq > seq;
	}
	return false;
}

/* Did the parent's own territory move from there, or the parent leave that
 * scope, after what the author knew? */
static int moved_from(struct sat_apply *ap, const struct sat_table *of,
		      const struct sat_stored_row *parent,
		      const struct sat_id *territory, bool *ret,
		      struct sat_err *err)
{
	const uint64_t known = ap->told->seq;
	uint64_t until = 0;
	uint32_t scope;
	int rc = sat_scope_number(ap->e, territory, &scope, err);

	*ret = rc == SAT_OK && has_left(parent, scope, known);
	if (rc != SAT_OK || *ret)
		return rc;
	rc = sat_store_stood_until(ap->e->store, of, &parent->id, territory,
				   &until, err);
	*ret = until > known;
	return rc;
}

int sat_told_follow(struct sat_apply *ap, const struct sat_delta *d,
		    struct sat_arena *a, bool *ret_did, struct sat_err *err)
{
	const struct sat_table *t = d->table, *of;
	struct sat_change *ref, *own;
	struct sat_stored_row parent;
	struct sat_id id, here;
	bool moved = false;
	int rc;

	*ret_did = false;
	if (ap->told == NULL || t->move_with < 0 || t->territory < 0)
		return SAT_OK;
	ref = change_of(d, t->move_with);
	own = change_of(d, t->territory);
	of = &ap->e->plan.cat->tables[t->columns[t->move_with].ref_table];
	if (ref == NULL || own == NULL || of->territory < 0 ||
	    ref->value.kind != SAT_BLOB || ref->value.s.len != sizeof id.b ||
	    own->value.kind != SAT_BLOB || own->value.s.len != sizeof id.b)
		return SAT_OK;
	memcpy(here.b, own->value.s.ptr, sizeof here.b);
	memcpy(id.b, ref->value.s.ptr, sizeof id.b);
	rc = sat_store_row_get(ap->e->store, of, &id, a, &parent, err);
	if (rc == SAT_OK && parent.damaged)
		return sat_row_damaged(of, &id, err);
	if (rc != SAT_OK || parent.seq == 0 ||
	    parent.values[of->territory].kind != SAT_BLOB ||
	    sat_value_equal(&parent.values[of->territory], &own->value))
		return rc;
	rc = moved_from(ap, of, &parent, &here, &moved, err);
	if (rc != SAT_OK || !moved)
		return rc;
	own->value = parent.values[of->territory];
	ap->moved = true;
	*ret_did = true;
	return SAT_OK;
}
