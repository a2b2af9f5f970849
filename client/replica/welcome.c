/* What the server says about us: epoch, clock, rights, catalogue. */
#include "client/replica/internal.h"

#include <string.h>

/* ---- starting over ------------------------------------------------------- */

/* Everything stored may be another history's, or lacks columns: whatever
 * comes next replaces it, and what does not come is swept at the checkpoint. */
int sat_start_over(struct sat_replica *r, enum sat_refresh how,
		   struct sat_err *err)
{
	int rc = sat_db_do(&r->db, "UPDATE _satchel_row SET seq = 0", NULL, 0,
			   err);

	if (rc == SAT_OK)
		rc = sat_stage_drop(r, err);
	r->facts.cursor = 0;
	r->facts.refresh = how;
	r->facts.digest_state = 0;
	return rc;
}

/* The restored server has forgotten verdicts: those changesets wait again,
 * and lie over the base again. */
static int reopen_one(struct sat_replica *r, uint64_t seq, struct sat_err *err)
{
	struct sat_changeset cs;
	bool known, dirty;
	int rc = sat_outbox_decode(r, seq, &cs, err);

	if (rc == SAT_OK)
		r->facts.settled -= cs.delta_count;
	if (rc == SAT_OK)
		rc = sat_outbox_lay(r, seq, cs.deltas, cs.delta_count, err);
	for (uint32_t i = 0; rc == SAT_OK && i < cs.delta_count; i++) {
		const struct sat_delta *d = &cs.deltas[i];

		/* the row shows it already, or has left since */
		rc = sat_held_any(r, d->table, &d->id, &known, &dirty, err);
		sat_arena_reset(&r->row);
		if (rc == SAT_OK && !known)
			rc = sat_row_derive(r, d->table, &d->id, err);
	}
	return rc;
}

static int reopen(struct sat_replica *r, uint64_t last_seq, struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(last_seq);
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT seq FROM _satchel_outbox WHERE seq > ?1"
			     " AND state = 1 ORDER BY +seq",
			     &st, err);

	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, &arg, 1, err);
	while (rc == SAT_OK && row) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			break;
		sat_arena_reset(&r->batch);
		rc = reopen_one(r, (uint64_t)sqlite3_column_int64(st, 0), err);
	}
	sat_db_reset(st);
	if (rc == SAT_OK)
		rc = sat_db_do(&r->db,
			       "UPDATE _satchel_outbox SET state = CASE WHEN"
			       " state IN (2, 4) THEN 4 ELSE 0 END"
			       " WHERE seq > ?1",
			       &arg, 1, err);
	if (rc == SAT_OK)
		r->facts.verdict_seq = (int64_t)last_seq;
	return rc;
}

/* ---- rights -------------------------------------------------------------- */

static int keep_scopes(struct sat_replica *r, const struct sat_rights *g,
		       struct sat_err *err)
{
	uint32_t *old, n;
	bool lost = false;
	int rc = sat_scopes_load(r, &r->batch, &old, &n, err);

	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		bool kept = false;

		for (uint32_t k = 0; k < g->scope_count; k++)
			kept = kept || g->scopes[k] == old[i];
		lost = lost || !kept;
	}
	if (rc != SAT_OK || !lost)
		return rc;
	return sat_scopes_drop(r, g->scopes, g->scope_count, err);
}

/* The server sends what is new to us from the start. If the role reads other
 * columns now, what is held counts for nothing. */
static int take_rights(struct sat_replica *r, const struct sat_rights *g,
		       struct sat_err *err)
{
	struct sat_id home = r->facts.home, user = r->facts.user;
	bool moved = memcmp(&home, &g->home, sizeof home) != 0;
	bool renamed = memcmp(&user, &g->user, sizeof user) != 0;
	bool promoted = r->facts.role != (int64_t)g->role;
	bool newer = r->facts.grants != (int64_t)g->version;
	int rc = keep_scopes(r, g, err);

	/* the pull starts again under new rights, and what was staged of a
	 * lost scope must not come back with it */
	if (rc == SAT_OK && newer)
		rc = sat_stage_drop(r, err);
	if (rc == SAT_OK)
		rc = sat_rights_store(r, g, err);
	if (rc == SAT_OK && moved)
		rc = sat_schema_relabel(r, &home, &g->home, err);
	if (rc == SAT_OK && renamed)
		rc = sat_schema_relabel(r, &user, &g->user, err);
	if (rc == SAT_OK && (moved || renamed || promoted))
		rc = sat_schema_triggers(r, err);
	if (rc == SAT_OK && promoted)
		rc = sat_start_over(r, SAT_REFRESH_PULLING, err);
	return rc;
}

/* Away for so long that the server has forgotten what was deleted meanwhile.
 * Whatever else asks for everything does that job as well. */
static int note_rebase(struct sat_replica *r, const struct sat_msg_welcome *w,
		       struct sat_err *err)
{
	if (w->rebase && r->facts.refresh == SAT_REFRESH_NONE)
		r->facts.refresh = SAT_REFRESH_REBASE;
	else if (!w->rebase && r->facts.refresh == SAT_REFRESH_REBASE)
		r->facts.refresh = SAT_REFRESH_NONE;
	/* A first pull that begins anew: what came of it before the cut may
	 * have been deleted and forgotten as well. */
	if (r->facts.cursor == 0 && !w->resumed)
		return sat_start_over(r, SAT_REFRESH_PULLING, err);
	return SAT_OK;
}

static int same_rights(struct sat_replica *r, const struct sat_rights *g,
		       bool *ret, struct sat_err *err)
{
	uint32_t *old, n;
	int rc = sat_scopes_load(r, &r->batch, &old, &n, err);

	if (rc != SAT_OK)
		return rc;
	*ret = r->facts.role == (int64_t)g->role && n == g->scope_count;
	for (uint32_t i = 0; *ret && i < n; i++) {
		bool held = false;

		for (uint32_t k = 0; k < n; k++)
			held = held || old[k] == g->scopes[i];
		*ret = held;
	}
	return SAT_OK;
}

/* Another history of the server, the same up to position `common`. What is
 * held of the old one behind it may be different now, or nowhere: it counts
 * as damaged, so it is asked for by id and replaced or dropped. Where rights
 * are not what they were, or nothing is known to be in common, everything is
 * pulled. */
static int take_history(struct sat_replica *r, const struct sat_msg_welcome *w,
			bool same, struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(w->head);
	int rc;

	if (!same || w->head == 0 || r->facts.cursor == 0 ||
	    r->facts.refresh != SAT_REFRESH_NONE)
		return sat_start_over(r, SAT_REFRESH_ASKED, err);
	rc = sat_stage_drop(r, err);
	if (rc == SAT_OK)
		rc = sat_db_do(&r->db,
			       "UPDATE _satchel_row SET seq = 0, h = ~h"
			       " WHERE seq > ?1",
			       &arg, 1, err);
	if ((uint64_t)r->facts.cursor > w->head)
		r->facts.cursor = (int64_t)w->head;
	r->facts.grants_pulled = w->rights.version;
	r->facts.stale = 1;
	r->facts.digest_state = 0;
	return rc;
}

static int take_welcome(struct sat_replica *r, const struct sat_msg_welcome *w,
			bool *ret_again, struct sat_err *err)
{
	bool restored =
		r->facts.epoch != 0 && (uint64_t)r->facts.epoch != w->epoch;
	bool same = false;
	int rc = sat_harvest(r, false, err);

	sat_arena_reset(&r->batch);
	if (rc != SAT_OK)
		return rc;
	if (w->last_seq > (uint64_t)r->facts.seq)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "replica_welcome",
				   "the server has changes of this device that"
				   " the device does not: its file is older"
				   " than it was");
	r->facts.epoch = (int64_t)w->epoch;
	r->facts.offset_ms = w->offset_ms;
	memcpy(r->facts.ratchet, w->ratchet, sizeof w->ratchet);
	rc = same_rights(r, &w->rights, &same, err);
	if (rc == SAT_OK)
		rc = take_rights(r, &w->rights, err);
	if (rc == SAT_OK && restored)
		rc = take_history(r, w, same, err);
	if (rc == SAT_OK && w->last_seq < (uint64_t)r->facts.verdict_seq)
		rc = reopen(r, w->last_seq, err);
	if (rc == SAT_OK && !restored)
		rc = note_rebase(r, w, err);
	*ret_again = restored;
	return rc;
}

int sat_replica_welcome(struct sat_replica *r, const struct sat_msg_welcome *w,
			int64_t now_raw_ms, struct sat_err *err)
{
	bool again = false;
	int rc = sat_txn_begin(r, err);

	(void)now_raw_ms; /* the offset came with the message */
	if (rc != SAT_OK)
		return rc;
	rc = sat_txn_end(r, take_welcome(r, w, &again, err), err);
	return rc == SAT_OK && again ? SAT_AGAIN : rc;
}

int sat_replica_grant(struct sat_replica *r, const struct sat_rights *g,
		      struct sat_err *err)
{
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_harvest(r, false, err);
	sat_arena_reset(&r->batch);
	if (rc == SAT_OK)
		rc = take_rights(r, g, err);
	return sat_txn_end(r, rc, err);
}

/* ---- catalogue ----------------------------------------------------------- */

int sat_catalogue_keep(struct sat_replica *r, struct sat_slice json,
		       struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(r->catalogue->version),
				     sat_value_blob(json) };
	int rc = sat_db_do(&r->db,
			   "INSERT INTO _satchel_catalogue(version, json)"
			   " VALUES(?1, ?2) ON CONFLICT(version)"
			   " DO UPDATE SET json = excluded.json",
			   args, 2, err);

	if (rc == SAT_OK)
		rc = sat_db_do(&r->db,
			       "DELETE FROM _satchel_catalogue"
			       " WHERE version < ?1",
			       args, 1, err);
	r->facts.catalogue = r->catalogue->version;
	if (rc == SAT_OK)
		rc = sat_schema_tables(r, err);
	if (rc == SAT_OK)
		rc = sat_schema_triggers(r, err);
	return rc;
}

/* What is pending was captured under the old one, so it is harvested first. */
static int take_catalogue(struct sat_replica *r, struct sat_catalogue *next,
			  struct sat_slice json, struct sat_err *err)
{
	int rc = sat_harvest(r, false, err);

	if (rc != SAT_OK)
		return rc;
	r->catalogue = next;
	rc = sat_schema_statements(r, err);
	return rc == SAT_OK ? sat_catalogue_keep(r, json, err) : rc;
}

int sat_replica_catalogue_store(struct sat_replica *r,
				const struct sat_msg_catalogue *c,
				struct sat_err *err)
{
	struct sat_catalogue *next = NULL, *old = r->catalogue;
	struct sat_err later;
	int rc;

	if (c->version <= old->version)
		return SAT_OK; /* told before */
	rc = sat_catalogue_load(c->json, "catalogue", &next, err);
	if (rc != SAT_OK)
		return rc;
	rc = sat_catalogue_compatible(old, next, err);
	if (rc == SAT_OK)
		rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		goto out;
	rc = sat_txn_end(r, take_catalogue(r, next, c->json, err), err);
	sat_db_forget(&r->db);
	if (rc != SAT_OK) {
		/* Back to what the file says; the first failure is told. */
		r->catalogue = old;
		if (sat_schema_statements(r, &later) != SAT_OK)
			rc = SAT_E_NOMEM;
		goto out;
	}
	next = old;
out:
	sat_catalogue_free(next);
	return rc;
}

/* ---- repair -------------------------------------------------------------- */

int sat_replica_repair(struct sat_replica *r, struct sat_err *err)
{
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_harvest(r, false, err);
	if (rc == SAT_OK)
		rc = sat_start_over(r, SAT_REFRESH_ASKED, err);
	r->counted = false;
	return sat_txn_end(r, rc, err);
}
