/* What each user's rights were, version by version, and which scopes have
 * moved since when. Both tables came later than the first files: the writer
 * makes them when they are not there. */
#include "proto/message.h"
#include "server/store/sqlite_store.h"

#include <string.h>

#include <sqlite3.h>

enum { VARINT_BYTES = 5, VERSIONS_MAX = 256 };

const char sat_store_later_schema[] =
	"CREATE TABLE IF NOT EXISTS _rights(user BLOB NOT NULL,"
	" version INTEGER NOT NULL, role INTEGER NOT NULL,"
	" home BLOB NOT NULL, scopes BLOB NOT NULL, at_ms INTEGER NOT NULL,"
	" PRIMARY KEY(user, version)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS _told(replica INTEGER PRIMARY KEY,"
	" seq INTEGER NOT NULL, grants INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS _seq_time(at_ms INTEGER PRIMARY KEY,"
	" seq INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS _scope_head(scope INTEGER PRIMARY KEY,"
	" seq INTEGER NOT NULL);"
	"CREATE INDEX IF NOT EXISTS _scope_head_seq ON _scope_head(seq);"
	"CREATE TABLE IF NOT EXISTS _passed(replica INTEGER PRIMARY KEY,"
	" epoch INTEGER NOT NULL, settled INTEGER NOT NULL,"
	" due_cursor INTEGER NOT NULL, due_seq INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS _collected(tbl INTEGER NOT NULL,"
	" id BLOB NOT NULL, seq INTEGER NOT NULL,"
	" PRIMARY KEY(tbl, id)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS _stood(tbl INTEGER NOT NULL,"
	" id BLOB NOT NULL, territory BLOB NOT NULL, seq INTEGER NOT NULL,"
	" PRIMARY KEY(tbl, id, territory)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS _stood_seq ON _stood(seq);"
	"INSERT INTO _scope_head SELECT scope, max(seq) FROM _feed"
	" WHERE NOT EXISTS(SELECT 1 FROM _scope_head) GROUP BY scope;";

/* ---- scope numbers as bytes ---------------------------------------------- */

/* Rising numbers as the varints of their differences. */
static int pack(const struct sat_rights *r, struct sat_buf *out)
{
	uint8_t bytes[VARINT_BYTES];
	uint32_t last = 0, v;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < r->scope_count; i++) {
		size_t n = 0;

		v = r->scopes[i] - last;
		last = r->scopes[i];
		for (; v >= 0x80; v >>= 7)
			bytes[n++] = (uint8_t)(v | 0x80);
		bytes[n++] = (uint8_t)v;
		rc = sat_buf_append(out, bytes, n);
	}
	return rc;
}

static int unpack(struct sat_slice in, struct sat_arena *a,
		  struct sat_rights *ret)
{
	uint32_t *list = sat_arena_array(a, in.len, sizeof *list);
	uint32_t n = 0, last = 0;
	unsigned shift = 0;
	uint64_t v = 0;

	if (list == NULL)
		return SAT_E_NOMEM;
	for (size_t i = 0; i < in.len; i++) {
		if (shift > 28)
			return SAT_E_CORRUPT;
		v |= (uint64_t)(in.ptr[i] & 0x7f) << shift;
		shift += 7;
		if (in.ptr[i] & 0x80)
			continue;
		if (v > UINT32_MAX - last || (n > 0 && v == 0))
			return SAT_E_CORRUPT;
		last += (uint32_t)v;
		list[n++] = last;
		v = 0;
		shift = 0;
	}
	if (shift != 0)
		return SAT_E_CORRUPT;
	ret->scopes = list;
	ret->scope_count = n;
	return SAT_OK;
}

/* ---- rights ---------------------------------------------------------------
 */

int sat_store_rights_put(struct sat_store *s, const struct sat_rights *r,
			 int64_t at_ms, struct sat_err *err)
{
	struct sat_value v[6] = {
		sat_value_id(&r->user), sat_value_int(r->version),
		sat_value_int(r->role), sat_value_id(&r->home),
		sat_value_null(),       sat_value_int(at_ms),
	};
	struct sat_value old[2] = { v[0], sat_value_null() };
	struct sat_buf scopes;
	int rc;

	sat_buf_init(&scopes, (size_t)r->scope_count * VARINT_BYTES + 1);
	rc = pack(r, &scopes);
	if (rc != SAT_OK)
		(void)sat_err_set(err, rc, 0, "store_rights", "out of memory");
	v[4] = sat_value_blob(sat_buf_peek(&scopes));
	if (rc == SAT_OK)
		rc = sat_store_do(s,
				  "INSERT OR REPLACE INTO _rights(user,"
				  " version, role, home, scopes, at_ms)"
				  " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
				  v, 6, err);
	sat_buf_fini(&scopes);
	if (rc != SAT_OK || r->version <= VERSIONS_MAX)
		return rc;
	old[1] = sat_value_int(r->version - VERSIONS_MAX);
	return sat_store_do(
		s, "DELETE FROM _rights WHERE user = ?1 AND version <= ?2", old,
		2, err);
}

int sat_store_rights_get(struct sat_store *s, const struct sat_id *user,
			 uint32_t version, struct sat_arena *a,
			 struct sat_rights *ret, int64_t *ret_at_ms,
			 struct sat_err *err)
{
	struct sat_value v[2] = { sat_value_id(user), sat_value_int(version) };
	struct sat_rights r = { .user = *user };
	struct sat_value scopes;
	sqlite3_stmt *st;
	int64_t role;
	int rc;

	rc = sat_db_find(&s->db,
			 version == 0 ? "SELECT version, role, home, scopes,"
					" at_ms FROM _rights WHERE user = ?1"
					" AND ?2 = 0"
					" ORDER BY version DESC LIMIT 1"
				      : "SELECT version, role, home, scopes,"
					" at_ms FROM _rights WHERE user = ?1"
					" AND version = ?2",
			 v, 2, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_rights",
				   "no rights of that version");
	r.version = (uint32_t)sqlite3_column_int64(st, 0);
	role = sqlite3_column_int64(st, 1);
	scopes = sat_db_column(st, 3);
	*ret_at_ms = sqlite3_column_int64(st, 4);
	if (role < 0 || role >= SAT_ROLE_SERVER ||
	    !sat_db_column_id(st, 2, &r.home) ||
	    (scopes.kind != SAT_BLOB && scopes.kind != SAT_NULL))
		rc = SAT_E_CORRUPT;
	else
		rc = unpack(scopes.kind == SAT_BLOB ? scopes.s
						    : (struct sat_slice){ 0 },
			    a, &r);
	sat_db_reset(st);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "store_rights",
				   "a user's rights cannot be read");
	r.role = (enum sat_role)role;
	*ret = r;
	return SAT_OK;
}

int sat_store_rights_users(struct sat_store *s, struct sat_arena *a,
			   struct sat_id **ret, uint32_t *ret_count,
			   struct sat_err *err)
{
	struct sat_id *list;
	uint32_t n = 0;
	int64_t count;
	sqlite3_stmt *st;
	bool more;
	int rc;

	rc = sat_db_int(&s->db, "SELECT count(DISTINCT user) FROM _rights", 0,
			&count, err);
	if (rc != SAT_OK)
		return rc;
	list = sat_arena_array(a, (size_t)count, sizeof *list);
	if (list == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "store_rights",
				   "out of memory");
	rc = sat_db_find(&s->db, "SELECT DISTINCT user FROM _rights", NULL, 0,
			 &st, err);
	more = rc == SAT_OK && st != NULL;
	while (rc == SAT_OK && more && n < (uint32_t)count) {
		if (!sat_db_column_id(st, 0, &list[n++]))
			rc = sat_err_set(err, SAT_E_CORRUPT, 0, "store_rights",
					 "a user's rights cannot be read");
		else
			rc = sat_db_step(&s->db, st, &more, err);
	}
	if (st != NULL)
		sat_db_reset(st);
	if (rc == SAT_OK) {
		*ret = list;
		*ret_count = n;
	}
	return rc;
}

int sat_store_grants_next(struct sat_store *s, int64_t after_ms, int64_t *ret,
			  struct sat_err *err)
{
	struct sat_value v = sat_value_int(after_ms);
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db,
			 "SELECT min(t) FROM (SELECT from_ms AS t FROM _grant"
			 " WHERE from_ms > ?1 UNION ALL SELECT to_ms FROM"
			 " _grant WHERE to_ms > ?1)",
			 &v, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	*ret = INT64_MAX;
	if (st == NULL)
		return SAT_OK;
	if (sqlite3_column_type(st, 0) == SQLITE_INTEGER)
		*ret = sqlite3_column_int64(st, 0);
	sat_db_reset(st);
	return SAT_OK;
}

/* ---- what devices were told ------------------------------------------------
 */

int sat_store_told_put(struct sat_store *s, uint32_t replica, uint64_t seq,
		       uint32_t grants, struct sat_err *err)
{
	struct sat_value v[3] = { sat_value_int(replica),
				  sat_value_int((int64_t)seq),
				  sat_value_int(grants) };

	return sat_store_do(s,
			    "INSERT OR REPLACE INTO _told(replica, seq, grants)"
			    " VALUES(?1, ?2, ?3)",
			    v, 3, err);
}

int sat_store_told_get(struct sat_store *s, uint32_t replica, uint64_t *ret_seq,
		       uint32_t *ret_grants, struct sat_err *err)
{
	struct sat_value v = sat_value_int(replica);
	sqlite3_stmt *st;
	int rc;

	*ret_seq = 0;
	*ret_grants = 0;
	rc = sat_db_find(&s->db,
			 "SELECT seq, grants FROM _told WHERE replica = ?1", &v,
			 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	*ret_seq = (uint64_t)sqlite3_column_int64(st, 0);
	*ret_grants = (uint32_t)sqlite3_column_int64(st, 1);
	sat_db_reset(st);
	return SAT_OK;
}

int sat_store_seq_time_put(struct sat_store *s, int64_t at_ms, uint64_t seq,
			   int64_t keep_ms, struct sat_err *err)
{
	struct sat_value v[2] = { sat_value_int(at_ms),
				  sat_value_int((int64_t)seq) };
	struct sat_value old = sat_value_int(at_ms - keep_ms);
	int rc;

	rc = sat_store_do(s,
			  "INSERT OR REPLACE INTO _seq_time(at_ms, seq)"
			  " VALUES(?1, ?2)",
			  v, 2, err);
	return rc == SAT_OK
		       ? sat_store_do(s,
				      "DELETE FROM _seq_time WHERE at_ms < ?1",
				      &old, 1, err)
		       : rc;
}

int sat_store_seq_at(struct sat_store *s, int64_t at_ms, uint64_t *ret,
		     struct sat_err *err)
{
	struct sat_value v = sat_value_int(at_ms);
	sqlite3_stmt *st;
	int rc;

	*ret = 0;
	rc = sat_db_find(&s->db,
			 "SELECT seq FROM _seq_time WHERE at_ms <= ?1"
			 " ORDER BY at_ms DESC LIMIT 1",
			 &v, 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	*ret = (uint64_t)sqlite3_column_int64(st, 0);
	sat_db_reset(st);
	return SAT_OK;
}

/* ---- where rows stood ------------------------------------------------------
 */

int sat_store_stood_put(struct sat_store *s, const struct sat_table *t,
			const struct sat_id *id, const struct sat_id *territory,
			uint64_t seq, struct sat_err *err)
{
	struct sat_value v[4] = { sat_value_int(t->no), sat_value_id(id),
				  sat_value_id(territory),
				  sat_value_int((int64_t)seq) };

	return sat_store_do(s,
			    "INSERT OR REPLACE INTO _stood(tbl, id, territory,"
			    " seq) VALUES(?1, ?2, ?3, ?4)",
			    v, 4, err);
}

int sat_store_stood_until(struct sat_store *s, const struct sat_table *t,
			  const struct sat_id *id,
			  const struct sat_id *territory, uint64_t *ret,
			  struct sat_err *err)
{
	struct sat_value v[3] = { sat_value_int(t->no), sat_value_id(id),
				  sat_value_id(territory) };
	sqlite3_stmt *st;
	int rc;

	*ret = 0;
	rc = sat_db_find(&s->db,
			 "SELECT seq FROM _stood WHERE tbl = ?1 AND id = ?2"
			 " AND territory = ?3",
			 v, 3, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	*ret = (uint64_t)sqlite3_column_int64(st, 0);
	sat_db_reset(st);
	return SAT_OK;
}

int sat_store_stood_forget(struct sat_store *s, uint64_t upto,
			   struct sat_err *err)
{
	struct sat_value v = sat_value_int((int64_t)upto);

	return sat_store_do(s, "DELETE FROM _stood WHERE seq <= ?1", &v, 1,
			    err);
}

/* ---- which scopes moved ----------------------------------------------------
 */

int sat_store_scope_moved(struct sat_store *s, uint32_t scope, uint64_t seq,
			  struct sat_err *err)
{
	struct sat_value v[2] = { sat_value_int(scope),
				  sat_value_int((int64_t)seq) };

	return sat_store_do(s,
			    "INSERT INTO _scope_head(scope, seq)"
			    " VALUES(?1, ?2) ON CONFLICT(scope)"
			    " DO UPDATE SET seq = excluded.seq",
			    v, 2, err);
}

int sat_store_scopes_moved(struct sat_store *s, uint64_t after, sat_scope_cb cb,
			   void *arg, struct sat_err *err)
{
	struct sat_value v = sat_value_int((int64_t)after);
	sqlite3_stmt *st;
	bool more = true;
	int rc;

	rc = sat_db_find(&s->db, "SELECT scope FROM _scope_head WHERE seq > ?1",
			 &v, 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	while (rc == SAT_OK && more) {
		rc = cb(arg, (uint32_t)sqlite3_column_int64(st, 0));
		if (rc == SAT_OK)
			rc = sat_db_step(&s->db, st, &more, err);
	}
	sat_db_reset(st);
	return rc;
}
