/* A damaged file: what nobody else has is carried into a new one, and all the
 * rest is fetched again.
 *
 * Carried over: who we are, the chain, the outbox, the rejected list, intents,
 * and every row that is captured but not harvested, with its images and the
 * state it was made on. Each table is read from both ends, so that one bad
 * page costs what is on it and no more.
 *
 *   replica.db.new      being made, worth nothing
 *   replica.db.rescue   complete; takes the name as soon as it is free
 *   replica.db.damaged-TIME  the old file, kept */
#include "client/replica/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct rescue {
	sqlite3 *old;
	struct sat_replica *from; /* facts and catalogue of the old file */
};

/* ---- is it damaged? ------------------------------------------------------ */

static bool passes_check(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	bool ok = false;

	if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL) ==
		    SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		ok = strcmp((const char *)sqlite3_column_text(st, 0), "ok") ==
		     0;
	(void)sqlite3_finalize(st);
	return ok;
}

/* ---- copying ------------------------------------------------------------- */

static int copy_row(struct sat_replica *r, const char *into, sqlite3_stmt *st,
		    struct sat_err *err)
{
	int n = sqlite3_column_count(st), code = SQLITE_OK;
	struct sat_sql s;
	sqlite3_stmt *put;
	int rc;

	sat_sql_init(&s);
	sat_sql_add(&s, "INSERT OR IGNORE INTO %s VALUES(", into);
	for (int i = 0; i < n; i++)
		sat_sql_add(&s, "%s?%d", i == 0 ? "" : ",", i + 1);
	sat_sql_add(&s, ")");
	rc = s.rc == SAT_OK ? sat_buf_append(&s.text, "", 1) : s.rc;
	if (rc == SAT_OK)
		rc = sat_db_stmt(&r->db,
				 (const char *)sat_buf_peek(&s.text).ptr, &put,
				 err);
	for (int i = 0; rc == SAT_OK && code == SQLITE_OK && i < n; i++)
		code = sqlite3_bind_value(put, i + 1,
					  sqlite3_column_value(st, i));
	if (rc == SAT_OK && code != SQLITE_OK)
		rc = sat_db_fail(&r->db, code, "replica_rescue", err);
	if (rc == SAT_OK)
		rc = sat_db_run(&r->db, put, err);
	sat_sql_fini(&s);
	return rc;
}

/* What the old file refuses to give is lost; what ours refuses is an error. */
static int copy_query(struct rescue *x, struct sat_replica *r, const char *into,
		      const char *select, struct sat_err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = SAT_OK;

	if (sqlite3_prepare_v2(x->old, select, -1, &st, NULL) != SQLITE_OK)
		return SAT_OK;
	while (rc == SAT_OK && sqlite3_step(st) == SQLITE_ROW)
		rc = copy_row(r, into, st, err);
	(void)sqlite3_finalize(st);
	return rc;
}

static int copy_table(struct rescue *x, struct sat_replica *r,
		      const char *table, const char *key, struct sat_err *err)
{
	char sql[256];
	int rc;

	(void)snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY %s", table,
		       key);
	rc = copy_query(x, r, table, sql, err);
	(void)snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY %s DESC",
		       table, key);
	return rc == SAT_OK ? copy_query(x, r, table, sql, err) : rc;
}

static int copy_metadata(struct rescue *x, struct sat_replica *r,
			 struct sat_err *err)
{
	static const char *const tables[] = {
		"_satchel_outbox", "_satchel_rejected",   "_satchel_intent",
		"satchel_resolve", "_satchel_clock_step",
	};
	static const char *const keys[] = { "seq", "n", "n", "n", "n" };
	/* an older program's file has no more columns */
	static const char *const pending[] = {
		"SELECT n, t, id, op, at, 0, 0, NULL FROM _satchel_pending"
		" ORDER BY n",
		"SELECT n, t, id, op, at, 0, 0, NULL FROM _satchel_pending"
		" ORDER BY n DESC",
	};
	char name[128];
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i < SAT_COUNT_OF(tables); i++)
		rc = copy_table(x, r, tables[i], keys[i], err);
	for (size_t i = 0; rc == SAT_OK && i < SAT_COUNT_OF(pending); i++)
		rc = copy_query(x, r, "_satchel_pending", pending[i], err);
	for (uint16_t i = 0; rc == SAT_OK && i < r->catalogue->table_count;
	     i++) {
		(void)snprintf(name, sizeof name, "_satchel_before_%s",
			       r->catalogue->tables[i].name);
		rc = copy_table(x, r, name, "n", err);
	}
	return rc;
}

/* ---- captured rows ------------------------------------------------------- */

/* The row itself, wherever it can still be read: by its index, else by
 * looking at every row. */
static int copy_typed(struct rescue *x, struct sat_replica *r,
		      const struct sat_table *t, const char *id,
		      bool *ret_found, struct sat_err *err)
{
	static const char *const how[] = { "", " NOT INDEXED" };
	sqlite3_stmt *st;
	struct sat_sql s;
	int rc = SAT_OK;

	*ret_found = false;
	for (int k = 0; rc == SAT_OK && k < 2 && !*ret_found; k++) {
		st = NULL;
		sat_sql_init(&s);
		sat_sql_add(&s, "SELECT id");
		for (uint16_t i = 0; i < t->column_count; i++)
			sat_sql_add(&s, ",%s", t->columns[i].name);
		sat_sql_add(&s, " FROM %s%s WHERE id = '%s'", t->name, how[k],
			    id);
		rc = s.rc == SAT_OK ? sat_buf_append(&s.text, "", 1) : s.rc;
		if (rc == SAT_OK &&
		    sqlite3_prepare_v2(x->old,
				       (const char *)sat_buf_peek(&s.text).ptr,
				       -1, &st, NULL) == SQLITE_OK &&
		    sqlite3_step(st) == SQLITE_ROW) {
			*ret_found = true;
			rc = copy_row(r, t->name, st, err);
		}
		(void)sqlite3_finalize(st);
		sat_sql_fini(&s);
	}
	return rc;
}

/* The state the edit was made on, without its scopes: it tells what the person
 * had seen, and is replaced by whatever comes. */
static int copy_state(struct rescue *x, struct sat_replica *r,
		      const struct sat_table *t, const struct sat_id *id,
		      struct sat_err *err)
{
	char hex[33], sql[256];
	int rc;

	sat_hex_format(id->b, sizeof id->b, hex);
	(void)snprintf(sql, sizeof sql,
		       "SELECT t, id, 0, h, meta, x'' FROM _satchel_row"
		       " WHERE t = %u AND id = x'%s'",
		       t->no, hex);
	rc = copy_query(x, r, "_satchel_row", sql, err);
	(void)snprintf(sql, sizeof sql,
		       "SELECT * FROM _satchel_base WHERE t = %u AND"
		       " id = x'%s'",
		       t->no, hex);
	return rc == SAT_OK ? copy_query(x, r, "_satchel_base", sql, err) : rc;
}

/* An edit whose result cannot be read must not turn into a delete. */
static int give_up(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const char *text,
		   struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(t->no), sat_bind_str(text) };
	struct sat_delta d = { .op = SAT_OP_UPDATE, .table = t, .id = *id };
	int rc = sat_rejected_add(r, 0, SAT_REASON_ENCODING, t, NULL,
				  (struct sat_dot){ 0, 0 }, &d, 1, err);

	if (rc != SAT_OK)
		return rc;
	return sat_db_do(&r->db,
			 "DELETE FROM _satchel_pending WHERE t = ?1 AND"
			 " id = ?2",
			 args, 2, err);
}

static int carry_row(struct rescue *x, struct sat_replica *r, int64_t no,
		     struct sat_value text, bool deleted, struct sat_err *err)
{
	const struct sat_table *t = sat_catalogue_table_no(
		r->catalogue, (uint32_t)(no & UINT16_MAX));
	char name[SAT_UUID_CHARS + 1];
	struct sat_id id;
	bool found = false;
	int rc;

	if (t == NULL || text.kind != SAT_TEXT || !sat_id_parse(text.s, &id))
		return SAT_OK;
	sat_id_format(&id, name);
	rc = copy_typed(x, r, t, name, &found, err);
	if (rc == SAT_OK)
		rc = copy_state(x, r, t, &id, err);
	if (rc == SAT_OK && !found && !deleted)
		rc = give_up(r, t, &id, name, err);
	return rc;
}

static int carry_pending(struct rescue *x, struct sat_replica *r,
			 struct sat_err *err)
{
	sqlite3_stmt *st;
	bool row = true;
	/* max(n) makes op that of the row's last statement. */
	int rc = sat_db_stmt(&r->db,
			     "SELECT t, id, op, max(n) FROM _satchel_pending"
			     " GROUP BY t, id ORDER BY +t, +id",
			     &st, err);

	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		rc = carry_row(x, r, sqlite3_column_int64(st, 0),
			       sat_db_column(st, 1),
			       sqlite3_column_text(st, 2)[0] == 'D', err);
	}
	sat_db_reset(st);
	return rc;
}

/* ---- the overlay of what waits in the outbox ----------------------------- */

static int carry_changeset(struct rescue *x, struct sat_replica *r,
			   uint64_t seq, struct sat_err *err)
{
	struct sat_changeset cs;
	struct sat_err lost;
	int rc;

	sat_arena_reset(&r->batch);
	/* Bytes that were damaged will be refused by the server's chain: then
	 * a person must look, and the old file is kept. */
	if (sat_outbox_decode(r, seq, &cs, &lost) != SAT_OK)
		return SAT_OK;
	rc = sat_outbox_lay(r, seq, cs.deltas, cs.delta_count, err);
	for (uint32_t i = 0; rc == SAT_OK && i < cs.delta_count; i++) {
		rc = copy_state(x, r, cs.deltas[i].table, &cs.deltas[i].id,
				err);
		sat_arena_reset(&r->row);
		if (rc == SAT_OK)
			rc = sat_row_derive(r, cs.deltas[i].table,
					    &cs.deltas[i].id, err);
	}
	return rc;
}

static int carry_outbox(struct rescue *x, struct sat_replica *r,
			struct sat_err *err)
{
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT seq FROM _satchel_outbox WHERE state IN"
			     " (0, 3) ORDER BY +seq",
			     &st, err);

	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		rc = carry_changeset(
			x, r, (uint64_t)sqlite3_column_int64(st, 0), err);
	}
	sat_db_reset(st);
	return rc;
}

static int fill(struct sat_replica *r, void *arg, struct sat_err *err)
{
	struct rescue *x = arg;
	struct sat_facts facts = x->from->facts;
	int rc;

	facts.cursor = facts.members = facts.stale = facts.digest_state = 0;
	facts.grants_pulled = 0;
	facts.refresh = SAT_REFRESH_PULLING;
	facts.catalogue = r->facts.catalogue;
	facts.schema = r->facts.schema;
	memset(facts.digest, 0, sizeof facts.digest);
	r->facts = facts;
	rc = sat_guard(r, err);
	if (rc == SAT_OK)
		rc = copy_metadata(x, r, err);
	if (rc == SAT_OK)
		rc = sat_facts_save(r, err);
	if (rc == SAT_OK) /* clock steps came with the metadata */
		rc = sat_facts_load(r, err);
	if (rc == SAT_OK)
		rc = carry_outbox(x, r, err);
	return rc == SAT_OK ? carry_pending(x, r, err) : rc;
}

/* ---- the old file and its name ------------------------------------------- */

static int read_old(struct rescue *x, struct sat_buf *json, struct sat_err *err)
{
	sqlite3_stmt *st = NULL;
	const void *p;
	int rc = SAT_E_CORRUPT;

	x->from->db.handle = x->old;
	if (sat_facts_load(x->from, err) != SAT_OK ||
	    sqlite3_prepare_v2(x->old,
			       "SELECT json FROM _satchel_catalogue"
			       " ORDER BY version DESC LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		goto out;
	p = sqlite3_column_blob(st, 0);
	rc = sat_buf_append(json, p == NULL ? "" : p,
			    (size_t)sqlite3_column_bytes(st, 0));
out:
	(void)sqlite3_finalize(st);
	if (rc != SAT_OK)
		rc = sat_err_set(err, SAT_E_CORRUPT, 0, "replica_check",
				 "the replica is damaged beyond rescue: it"
				 " does not say whose it is");
	return rc;
}

static int move(const char *from, const char *to, struct sat_err *err)
{
	if (rename(from, to) == 0 || errno == ENOENT)
		return SAT_OK;
	return sat_err_set(err, SAT_E_IO, errno, "replica_check",
			   "cannot rename a file of the replica");
}

/* The old file out of the way with its WAL, then the new one in. */
static int swap(const char *path, const char *stamp, struct sat_err *err)
{
	static const char *const tails[] = { "-wal", "-shm", "" };
	char from[4096], to[4096];
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i < SAT_COUNT_OF(tails); i++) {
		(void)snprintf(from, sizeof from, "%s%s", path, tails[i]);
		(void)snprintf(to, sizeof to, "%s.damaged-%s%s", path, stamp,
			       tails[i]);
		rc = move(from, to, err);
	}
	(void)snprintf(from, sizeof from, "%s.rescue", path);
	if (rc == SAT_OK)
		rc = move(from, path, err);
	return rc == SAT_OK ? sat_folder_sync(path, err) : rc;
}

static void time_stamp(sqlite3 *db, char *out, size_t n)
{
	sqlite3_stmt *st = NULL;

	(void)snprintf(out, n, "unknown");
	if (sqlite3_prepare_v2(db, "SELECT strftime('%Y%m%dT%H%M%SZ', 'now')",
			       -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		(void)snprintf(out, n, "%s",
			       (const char *)sqlite3_column_text(st, 0));
	(void)sqlite3_finalize(st);
}

static int build(struct rescue *x, const char *path, struct sat_slice json,
		 struct sat_err *err)
{
	const struct sat_facts *f = &x->from->facts;
	struct sat_replica_identity who = {
		.replica = (uint32_t)f->replica,
		.epoch = (uint64_t)f->epoch,
		.org = sat_slice_str(f->org),
		.login = sat_slice_str(f->login),
		.name = sat_slice_str(f->name),
		.server = sat_slice_str(f->server),
		.rights = { .version = (uint32_t)f->grants,
			    .role = (enum sat_role)f->role,
			    .user = f->user,
			    .home = f->home },
	};
	char fresh[4096], done[4096];
	uint32_t *scopes;
	int rc = sat_scopes_load(x->from, &x->from->batch, &scopes,
				 &who.rights.scope_count, err);

	if (rc != SAT_OK)
		return rc;
	who.rights.scopes = scopes;
	(void)snprintf(fresh, sizeof fresh, "%s.new", path);
	(void)snprintf(done, sizeof done, "%s.rescue", path);
	rc = sat_replica_build(fresh, &who, json, fill, x, err);
	return rc == SAT_OK ? move(fresh, done, err) : rc;
}

static int rescue(const char *path, struct sat_err *err)
{
	struct rescue x = { .from = calloc(1, sizeof *x.from) };
	char stamp[32] = "unknown";
	struct sat_buf json;
	int code, rc;

	if (x.from == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "replica_check",
				   "out of memory");
	sat_arena_init(&x.from->batch, SAT_REPLICA_TEXT_MAX);
	sat_buf_init(&json, SAT_CATALOGUE_BYTES_MAX);
	code = sqlite3_open_v2(path, &x.old,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			       NULL);
	if (code != SQLITE_OK) {
		rc = sat_err_set(err, SAT_E_CORRUPT, code, "replica_check",
				 "the damaged replica cannot be opened");
		goto out;
	}
	time_stamp(x.old, stamp, sizeof stamp);
	rc = read_old(&x, &json, err);
	if (rc == SAT_OK)
		rc = build(&x, path, sat_buf_peek(&json), err);
out:
	sat_db_forget(&x.from->db);
	free(x.from->db.cache);
	(void)sqlite3_close_v2(x.old);
	sat_arena_fini(&x.from->batch);
	sat_buf_fini(&json);
	free(x.from);
	return rc == SAT_OK ? swap(path, stamp, err) : rc;
}

/* A rescue that was cut between its two renames. */
static int finish_rescue(const char *path, bool *ret, struct sat_err *err)
{
	char done[4096];
	struct stat found;

	(void)snprintf(done, sizeof done, "%s.rescue", path);
	*ret = stat(path, &found) != 0 && stat(done, &found) == 0;
	return *ret ? move(done, path, err) : SAT_OK;
}

int sat_replica_check(const char *path, bool *ret_rescued, struct sat_err *err)
{
	struct sat_replica *r = NULL;
	bool rescued = false, sound;
	int rc;

	if (strlen(path) > 4000)
		return sat_err_set(err, SAT_E_INVAL, 0, "replica_check",
				   "the path is too long");
	rc = finish_rescue(path, &rescued, err);
	if (rc != SAT_OK || rescued) {
		*ret_rescued = rescued;
		return rc;
	}
	rc = sat_replica_open(path, &r, err);
	sound = rc == SAT_OK && passes_check(r->db.handle);
	sat_replica_close(r);
	if (rc != SAT_OK && rc != SAT_E_CORRUPT)
		return rc;
	if (!sound) {
		rc = rescue(path, err);
		if (rc != SAT_OK)
			return rc;
	}
	*ret_rescued = !sound;
	return SAT_OK;
}
