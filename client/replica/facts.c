/* Facts are read at every begin: another process may have changed them, and
 * after a rollback the file is right and memory is not. Only those that
 * changed are written, so that a transaction that changes nothing commits
 * nothing. */
#include "client/replica/internal.h"

#include <string.h>

enum fact_kind { FACT_INT, FACT_BYTES, FACT_TEXT };

static const struct fact {
	const char *name;
	enum fact_kind kind;
	size_t at, size;
} all_facts[] = {
#define FACT(field, kind)                                         \
	{                                                         \
#field, kind, offsetof(struct sat_facts, field),  \
			sizeof(((struct sat_facts *)NULL)->field) \
	}
	FACT(replica, FACT_INT),       FACT(epoch, FACT_INT),
	FACT(seq, FACT_INT),           FACT(verdict_seq, FACT_INT),
	FACT(cursor, FACT_INT),        FACT(grants, FACT_INT),
	FACT(role, FACT_INT),          FACT(offset_ms, FACT_INT),
	FACT(checkpoint_ms, FACT_INT), FACT(members, FACT_INT),
	FACT(stale, FACT_INT),         FACT(digest_state, FACT_INT),
	FACT(refresh, FACT_INT),       FACT(catalogue, FACT_INT),
	FACT(grants_pulled, FACT_INT), FACT(chain, FACT_BYTES),
	FACT(ratchet, FACT_BYTES),     FACT(digest, FACT_BYTES),
	FACT(mark, FACT_BYTES),        FACT(user, FACT_BYTES),
	FACT(home, FACT_BYTES),        FACT(org, FACT_TEXT),
	FACT(login, FACT_TEXT),        FACT(name, FACT_TEXT),
	FACT(server, FACT_TEXT),       FACT(schema, FACT_INT),
	FACT(changes, FACT_INT),       FACT(settled, FACT_INT),
	FACT(refused, FACT_INT),       FACT(floor, FACT_INT),
	FACT(catching, FACT_INT),      FACT(repaired, FACT_INT),
#undef FACT
};

static const struct fact *fact_named(struct sat_value name)
{
	for (size_t i = 0; i < SAT_COUNT_OF(all_facts); i++) {
		if (name.kind == SAT_TEXT &&
		    sat_slice_equal(sat_slice_str(all_facts[i].name), name.s))
			return &all_facts[i];
	}
	return NULL;
}

/* A fact of the wrong kind keeps its zero: what depends on it says so. */
static void take_fact(struct sat_facts *to, const struct fact *f,
		      struct sat_value v)
{
	uint8_t *p = (uint8_t *)to + f->at;
	size_t n;

	if (f->kind == FACT_INT && v.kind == SAT_INT) {
		memcpy(p, &v.i, sizeof v.i);
	} else if (f->kind == FACT_BYTES && v.kind == SAT_BLOB &&
		   v.s.len == f->size) {
		memcpy(p, v.s.ptr, f->size);
	} else if (f->kind == FACT_TEXT && v.kind == SAT_TEXT) {
		n = v.s.len < f->size ? v.s.len : f->size - 1;
		if (n > 0)
			memcpy(p, v.s.ptr, n);
	}
}

static int steps_load(struct sat_replica *r, struct sat_err *err)
{
	sqlite3_stmt *st;
	bool row = true;
	int rc;

	r->step_count = 0;
	rc = sat_db_stmt(&r->db,
			 "SELECT before_ms, delta_ms FROM _satchel_clock_step"
			 " ORDER BY n",
			 &st, err);
	while (rc == SAT_OK && row) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			break;
		if (r->step_count == SAT_REPLICA_STEPS_MAX)
			continue;
		r->steps[r->step_count++] =
			(struct sat_clock_step){ sqlite3_column_int64(st, 0),
						 sqlite3_column_int64(st, 1) };
	}
	return rc;
}

int sat_facts_load(struct sat_replica *r, struct sat_err *err)
{
	struct sat_facts facts = { .replica = 0 };
	const struct fact *f;
	sqlite3_stmt *st;
	bool row = true;
	int rc;

	rc = sat_db_stmt(&r->db, "SELECT k, v FROM _satchel_kv", &st, err);
	while (rc == SAT_OK && row) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			break;
		f = fact_named(sat_db_column(st, 0));
		if (f != NULL)
			take_fact(&facts, f, sat_db_column(st, 1));
	}
	if (rc == SAT_OK)
		rc = steps_load(r, err);
	if (rc != SAT_OK)
		return rc;
	if (facts.replica <= 0 || facts.replica > UINT32_MAX ||
	    facts.role < 0 || facts.role >= SAT_ROLE_COUNT || facts.seq < 0 ||
	    facts.cursor < 0)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "replica_facts",
				   "the replica does not say whose it is");
	r->facts = facts;
	r->stored = facts;
	return SAT_OK;
}

static int put_fact(struct sat_replica *r, const char *name, struct sat_value v,
		    struct sat_err *err)
{
	struct sat_value args[2] = { sat_bind_str(name), v };

	return sat_db_do(&r->db,
			 "INSERT INTO _satchel_kv(k, v) VALUES(?1, ?2)"
			 " ON CONFLICT(k) DO UPDATE SET v = excluded.v",
			 args, 2, err);
}

int sat_facts_save(struct sat_replica *r, struct sat_err *err)
{
	struct sat_value v;
	const uint8_t *p;
	int64_t i;
	int rc;

	for (size_t k = 0; k < SAT_COUNT_OF(all_facts); k++) {
		const struct fact *f = &all_facts[k];

		p = (const uint8_t *)&r->facts + f->at;
		if (memcmp(p, (const uint8_t *)&r->stored + f->at, f->size) ==
		    0)
			continue;
		memcpy(&i, p, sizeof i);
		if (f->kind == FACT_INT)
			v = sat_value_int(i);
		else if (f->kind == FACT_BYTES)
			v = sat_value_blob((struct sat_slice){ p, f->size });
		else
			v = sat_bind_str((const char *)p);
		rc = put_fact(r, f->name, v, err);
		if (rc != SAT_OK)
			return rc;
	}
	r->stored = r->facts;
	return SAT_OK;
}

int sat_txn_begin(struct sat_replica *r, struct sat_err *err)
{
	int rc = sat_db_begin(&r->db, err);

	if (rc != SAT_OK)
		return rc;
	r->guarded = false;
	r->any_dirty = r->any_orphan = r->any_base = true;
	sat_arena_reset(&r->batch);
	rc = sat_facts_load(r, err);
	if (rc != SAT_OK)
		sat_db_rollback(&r->db);
	return rc;
}

int sat_guard(struct sat_replica *r, struct sat_err *err)
{
	int rc;

	if (r->guarded || r->still)
		return SAT_OK;
	rc = sat_db_do(&r->db, "INSERT INTO _satchel_guard(busy) VALUES(1)",
		       NULL, 0, err);
	r->guarded = rc == SAT_OK;
	return rc;
}

int sat_txn_end(struct sat_replica *r, int rc, struct sat_err *err)
{
	struct sat_err later;

	if (rc == SAT_OK)
		rc = sat_facts_save(r, err);
	if (rc == SAT_OK && r->guarded)
		rc = sat_db_do(&r->db, "DELETE FROM _satchel_guard", NULL, 0,
			       err);
	if (rc == SAT_OK)
		rc = sat_db_commit(&r->db, err);
	r->guarded = false;
	if (rc != SAT_OK) {
		sat_db_rollback(&r->db);
		if (sat_facts_load(r, &later) != SAT_OK)
			return rc; /* the first failure is the one to tell */
	}
	return rc;
}

/* ---- rights -------------------------------------------------------------- */

int sat_scopes_load(struct sat_replica *r, struct sat_arena *a, uint32_t **ret,
		    uint32_t *ret_count, struct sat_err *err)
{
	struct sat_slice bytes = { NULL, 0 };
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&r->db, "SELECT v FROM _satchel_kv WHERE k = 'scopes'",
			 NULL, 0, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st != NULL) {
		rc = sat_column_copy(a, st, 0, &bytes);
		sat_db_reset(st);
	}
	if (rc == SAT_OK)
		rc = sat_numbers_unpack(a, bytes, ret, ret_count);
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "replica_scopes",
					  "stored scopes cannot be read");
}

int sat_rights_store(struct sat_replica *r, const struct sat_rights *g,
		     struct sat_err *err)
{
	struct sat_slice bytes;
	int rc;

	if ((unsigned)g->role >= SAT_ROLE_COUNT)
		return sat_err_set(err, SAT_E_PROTO, 0, "replica_rights",
				   "unknown role");
	r->facts.grants = g->version;
	r->facts.role = g->role;
	r->facts.user = g->user;
	r->facts.home = g->home;
	rc = sat_numbers_pack(&r->batch, g->scopes, g->scope_count, &bytes);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "replica_rights",
				   "scopes do not fit");
	return put_fact(r, "scopes", sat_value_blob(bytes), err);
}
