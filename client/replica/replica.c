/* Making, opening, closing, and what a status line needs. */
#include "client/replica/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct sat_db_options options_for(const char *path)
{
	return (struct sat_db_options){
		.path = path,
		.what = "replica",
		.application_id = SAT_REPLICA_APPLICATION,
		.version = SAT_REPLICA_VERSION,
	};
}

static int catalogue_read(struct sat_replica *r, struct sat_err *err)
{
	struct sat_slice json;
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT json FROM _satchel_catalogue"
			     " ORDER BY version DESC LIMIT 1",
			     NULL, 0, &st, err);

	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "replica_open",
				   "the replica has no catalogue");
	rc = sat_column_copy(&r->batch, st, 0, &json);
	sat_db_reset(st);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "replica_open", "out of memory");
	return sat_catalogue_load(json, "catalogue", &r->catalogue, err);
}

static struct sat_replica *replica_new(void)
{
	struct sat_replica *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->atomic_rows = SAT_REPLICA_ATOMIC_ROWS;
	r->step_rows = SAT_REPLICA_STEP_ROWS;
	sat_arena_init(&r->names, SAT_REPLICA_TEXT_MAX);
	sat_arena_init(&r->row, SAT_REPLICA_SCRATCH_MAX);
	sat_arena_init(&r->batch, SAT_REPLICA_BATCH_MAX);
	sat_buf_init(&r->part, SAT_REPLICA_PAGE_MAX);
	return r;
}

void sat_replica_close(struct sat_replica *r)
{
	if (r == NULL)
		return;
	sat_db_close(&r->db);
	sat_catalogue_free(r->catalogue);
	sat_arena_fini(&r->names);
	sat_arena_fini(&r->row);
	sat_arena_fini(&r->batch);
	sat_buf_fini(&r->part);
	sat_replica_narrow_end(r);
	free(r->damage.rows);
	free(r);
}

int sat_replica_open(const char *path, struct sat_replica **ret,
		     struct sat_err *err)
{
	struct sat_db_options o = options_for(path);
	struct sat_replica *r = replica_new();
	int64_t rows = 1;
	int rc;

	if (r == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "replica_open",
				   "out of memory");
	rc = sat_db_open(&r->db, &o, err);
	if (rc == SAT_OK)
		rc = sat_facts_load(r, err);
	if (rc == SAT_OK)
		rc = catalogue_read(r, err);
	if (rc == SAT_OK)
		rc = sat_schema_statements(r, err);
	if (rc == SAT_OK && r->facts.schema < SAT_REPLICA_SCHEMA)
		rc = sat_schema_upgrade(r, err);
	if (rc == SAT_OK)
		rc = sat_db_int(&r->db, "PRAGMA data_version", 0,
				&r->data_version, err);
	if (rc == SAT_OK)
		rc = sat_db_int(&r->db,
				"SELECT EXISTS(SELECT 1 FROM _satchel_row)", 1,
				&rows, err);
	r->counted = rows == 0; /* nothing to count: all of it is to come */
	sat_arena_reset(&r->batch);
	if (rc != SAT_OK) {
		sat_replica_close(r);
		return rc;
	}
	*ret = r;
	return SAT_OK;
}

int sat_replica_still(struct sat_replica *r, struct sat_err *err)
{
	int code = sqlite3_db_config(r->db.handle,
				     SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);

	if (code != SQLITE_OK)
		return sat_db_fail(&r->db, code, "replica_still", err);
	r->still = true;
	return SAT_OK;
}

/* ---- making one ---------------------------------------------------------- */

static void put_text(char *out, size_t n, struct sat_slice s)
{
	size_t len = s.len < n ? s.len : n - 1;

	if (len > 0)
		memcpy(out, s.ptr, len);
	out[len] = '\0';
}

static int fill_new(struct sat_replica *r,
		    const struct sat_replica_identity *who,
		    struct sat_slice json, struct sat_err *err)
{
	struct sat_buf canonical;
	int rc;

	r->facts.replica = who->replica;
	r->facts.epoch = (int64_t)who->epoch;
	put_text(r->facts.org, sizeof r->facts.org, who->org);
	put_text(r->facts.login, sizeof r->facts.login, who->login);
	put_text(r->facts.name, sizeof r->facts.name, who->name);
	put_text(r->facts.server, sizeof r->facts.server, who->server);
	sat_buf_init(&canonical, SAT_CATALOGUE_BYTES_MAX);
	rc = sat_rights_store(r, &who->rights, err);
	if (rc == SAT_OK)
		rc = sat_catalogue_canonical(json, &canonical, err);
	if (rc == SAT_OK)
		rc = sat_schema_statements(r, err);
	if (rc == SAT_OK)
		rc = sat_catalogue_keep(r, sat_buf_peek(&canonical), err);
	sat_buf_fini(&canonical);
	return rc;
}

static void remove_files(const char *path)
{
	static const char *const tails[] = { "", "-wal", "-shm", "-journal" };
	char name[4096];

	for (size_t i = 0; i < SAT_COUNT_OF(tails); i++) {
		if (snprintf(name, sizeof name, "%s%s", path, tails[i]) <
		    (int)sizeof name)
			(void)unlink(name);
	}
}

/* The new name itself must last. */
int sat_folder_sync(const char *path, struct sat_err *err)
{
	char folder[4096];
	char *slash;
	int fd, rc = SAT_OK;

	(void)snprintf(folder, sizeof folder, "%s", path);
	slash = strrchr(folder, '/');
	if (slash == NULL)
		(void)snprintf(folder, sizeof folder, ".");
	else
		slash[slash == folder] = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		rc = sat_err_set(err, SAT_E_IO, errno, "replica_create",
				 "cannot sync the folder of the replica");
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

int sat_replica_build(const char *path, const struct sat_replica_identity *who,
		      struct sat_slice json, sat_replica_fill_cb fill,
		      void *arg, struct sat_err *err)
{
	struct sat_db_options o = options_for(path);
	struct sat_replica *r = replica_new();
	int rc, left = 0;

	if (r == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "replica_create",
				   "out of memory");
	remove_files(path); /* what an earlier attempt left */
	o.create = true;
	o.schema = sat_replica_schema;
	rc = sat_catalogue_load(json, "catalogue", &r->catalogue, err);
	if (rc == SAT_OK)
		rc = sat_db_open(&r->db, &o, err);
	if (rc == SAT_OK)
		rc = sat_db_begin(&r->db, err);
	if (rc == SAT_OK)
		rc = fill_new(r, who, json, err);
	if (rc == SAT_OK && fill != NULL)
		rc = fill(r, arg, err);
	if (sat_db_in_txn(&r->db))
		rc = sat_txn_end(r, rc, err);
	/* The file alone gets its name: nothing may be left in its log. */
	if (rc == SAT_OK)
		rc = sat_db_checkpoint(&r->db, true, 0, &left, err);
	if (rc == SAT_OK && left > 0)
		rc = sat_err_set(err, SAT_E_BUSY, 0, "replica_create",
				 "%s is being read by another program", path);
	sat_replica_close(r);
	if (rc != SAT_OK)
		remove_files(path);
	return rc;
}

int sat_replica_create(const char *path, const struct sat_replica_identity *who,
		       struct sat_slice catalogue_json, struct sat_err *err)
{
	char fresh[4096];
	struct stat found;
	int rc;

	if (stat(path, &found) == 0)
		return sat_err_set(err, SAT_E_EXISTS, 0, "replica_create",
				   "there is a replica already");
	if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
		return sat_err_set(err, SAT_E_INVAL, 0, "replica_create",
				   "the path is too long");
	/* Built aside and renamed: a crash leaves none, never half of one. */
	rc = sat_replica_build(fresh, who, catalogue_json, NULL, NULL, err);
	if (rc != SAT_OK)
		return rc;
	if (rename(fresh, path) != 0) {
		rc = sat_err_set(err, SAT_E_IO, errno, "replica_create",
				 "cannot rename the new replica");
		remove_files(fresh);
		return rc;
	}
	return sat_folder_sync(path, err);
}

/* ---- looking ------------------------------------------------------------- */

struct sqlite3 *sat_replica_db(struct sat_replica *r)
{
	return r->db.handle;
}

const struct sat_catalogue *sat_replica_catalogue(const struct sat_replica *r)
{
	return r->catalogue;
}

uint64_t sat_replica_outbox_last(const struct sat_replica *r)
{
	return (uint64_t)r->facts.seq;
}

int sat_replica_changed(struct sat_replica *r, bool *ret, struct sat_err *err)
{
	int64_t version = 0;
	int rc = sat_db_int(&r->db, "PRAGMA data_version", 0, &version, err);

	if (rc != SAT_OK)
		return rc;
	*ret = version != r->data_version;
	r->data_version = version;
	return SAT_OK;
}

int sat_replica_row_context(struct sat_replica *r, const struct sat_table *t,
			    const struct sat_id *id, char *out, size_t out_size,
			    struct sat_err *err)
{
	struct sat_held held;
	size_t at = 0;
	int n, rc;

	sat_arena_reset(&r->row);
	rc = sat_held_load(r, t, id, NULL, &held, err);
	if (rc != SAT_OK)
		return rc;
	out[0] = '\0';
	for (uint32_t i = 0; i < held.row.vv.count; i++) {
		n = snprintf(out + at, out_size - at, "%s%u:%llu",
			     i == 0 ? "" : ",", held.row.vv.dots[i].replica,
			     (unsigned long long)held.row.vv.dots[i].seq);
		if (n < 0 || (size_t)n >= out_size - at)
			return sat_err_set(err, SAT_E_LIMIT, 0,
					   "replica_context",
					   "the row has too many authors");
		at += (size_t)n;
	}
	return SAT_OK;
}

/* Open entries of the ledger, when the catalogue has one. */
static int count_conflicts(struct sat_replica *r, int64_t *ret,
			   struct sat_err *err)
{
	const struct sat_table *t = sat_catalogue_table(
		r->catalogue, sat_slice_str(SAT_REPLICA_LEDGER));

	*ret = 0;
	if (t == NULL || sat_table_column(t, sat_slice_str("state")) < 0)
		return SAT_OK;
	return sat_db_int(&r->db,
			  "SELECT count(*) FROM " SAT_REPLICA_LEDGER
			  " WHERE state = 'open'",
			  0, ret, err);
}

static uint64_t at_least_0(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

int sat_replica_status(struct sat_replica *r, struct sat_replica_status *ret,
		       struct sat_err *err)
{
	struct sat_replica_status s = { .replica = 0 };
	int64_t conflicts, counts[6] = { 0 };
	static const char *const queries[6] = {
		"SELECT count(*) FROM _satchel_rejected",
		("SELECT (SELECT count(DISTINCT t || id) FROM _satchel_pending)"
		 " + (SELECT count(*) FROM _satchel_intent)"
		 " + (SELECT count(*) FROM satchel_resolve)"),
		"SELECT count(*) FROM _satchel_outbox WHERE state IN (0, 3)",
		"SELECT count(*) FROM _satchel_row",
		"SELECT count(DISTINCT t || id) FROM _satchel_ghost",
		("SELECT ifnull(sum(rows), 0) FROM _satchel_outbox"
		 " WHERE state IN (0, 3)"),
	};
	int rc = sat_facts_load(r, err);

	for (int i = 0; rc == SAT_OK && i < 6; i++)
		rc = sat_db_int(&r->db, queries[i], 0, &counts[i], err);
	if (rc == SAT_OK)
		rc = count_conflicts(r, &conflicts, err);
	if (rc != SAT_OK)
		return rc;
	s.replica = (uint32_t)r->facts.replica;
	s.epoch = (uint64_t)r->facts.epoch;
	s.cursor = (uint64_t)r->facts.cursor;
	s.outbox_last = (uint64_t)r->facts.seq;
	s.outbox = (uint64_t)counts[2];
	s.saved = at_least_0(r->facts.changes + counts[1]);
	s.confirmed = at_least_0(r->facts.settled - r->facts.refused);
	s.waiting = at_least_0(counts[5] + counts[1]);
	s.missing = at_least_0(r->facts.changes - r->facts.settled - counts[5]);
	s.rejected = (uint64_t)counts[0];
	s.pending_rows = (uint64_t)counts[1];
	s.conflicts_open = (uint64_t)conflicts;
	s.checkpoint_ms = r->facts.checkpoint_ms;
	s.offset_ms = r->facts.offset_ms;
	s.rows = (uint64_t)counts[3];
	s.orphans = (uint64_t)counts[4];
	s.repaired = (uint64_t)r->facts.repaired;
	s.filling = r->facts.cursor == 0 || r->facts.catching != 0;
	s.digest = (int)r->facts.digest_state;
	s.role = (enum sat_role)r->facts.role;
	memcpy(s.org, r->facts.org, sizeof s.org);
	memcpy(s.login, r->facts.login, sizeof s.login);
	memcpy(s.name, r->facts.name, sizeof s.name);
	memcpy(s.server, r->facts.server, sizeof s.server);
	*ret = s;
	return SAT_OK;
}
