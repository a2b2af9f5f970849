/* Grants, devices, invitations, scope numbers, audit records. */
#include "server/store/sqlite_store.h"

#include <string.h>

#include <sqlite3.h>

enum { LIST_START = 16 };

static struct sat_value bytes_value(const uint8_t *p, size_t n)
{
	return sat_value_blob((struct sat_slice){ p, n });
}

/* Room for one more in an arena array that doubles; NULL: out of memory. */
static void *list_grow(struct sat_arena *a, void *list, uint32_t count,
		       uint32_t *cap, size_t size)
{
	uint32_t more = *cap == 0 ? LIST_START : *cap * 2;
	void *bigger;

	if (count < *cap)
		return list;
	bigger = more < *cap ? NULL : sat_arena_array(a, more, size);
	if (bigger != NULL && count > 0)
		memcpy(bigger, list, count * size);
	if (bigger != NULL)
		*cap = more;
	return bigger;
}

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "store_list", "out of memory");
}

/* ---- grants -------------------------------------------------------------- */

int sat_store_grant_put(struct sat_store *s, struct sat_grant *g,
			struct sat_err *err)
{
	struct sat_value v[6] = {
		g->no == 0 ? sat_value_null() : sat_value_int(g->no),
		sat_value_id(&g->user),
		sat_value_id(&g->territory),
		sat_value_text(sat_slice_str(sat_role_name(g->role))),
		sat_value_int(g->from_ms),
		sat_value_int(g->to_ms),
	};
	int rc;

	rc = sat_store_do(s,
			  "INSERT OR REPLACE INTO _grant"
			  "(no, user, territory, role, from_ms, to_ms)"
			  " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
			  v, 6, err);
	if (rc == SAT_OK && g->no == 0)
		g->no = (uint32_t)sqlite3_last_insert_rowid(s->db.handle);
	return rc;
}

int sat_store_grant_remove(struct sat_store *s, uint32_t no,
			   struct sat_err *err)
{
	struct sat_value v = sat_value_int(no);
	int rc;

	rc = sat_store_do(s, "DELETE FROM _grant WHERE no = ?1", &v, 1, err);
	if (rc == SAT_OK && sqlite3_changes(s->db.handle) != 1)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "store_grant",
				 "there is no grant %u", no);
	return rc;
}

static int grant_read(sqlite3_stmt *st, struct sat_grant *ret,
		      struct sat_err *err)
{
	struct sat_value role = sat_db_column(st, 3);

	ret->no = (uint32_t)sqlite3_column_int64(st, 0);
	ret->role =
		role.kind == SAT_TEXT ? sat_role_of(role.s) : SAT_ROLE_COUNT;
	ret->from_ms = sqlite3_column_int64(st, 4);
	ret->to_ms = sqlite3_column_int64(st, 5);
	if (!sat_db_column_id(st, 1, &ret->user) ||
	    !sat_db_column_id(st, 2, &ret->territory) ||
	    ret->role >= SAT_ROLE_COUNT)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "store_grant",
				   "grant %u is damaged", ret->no);
	return SAT_OK;
}

int sat_store_grants(struct sat_store *s, const struct sat_id *user,
		     struct sat_arena *a, struct sat_grant **ret,
		     uint32_t *ret_count, struct sat_err *err)
{
	struct sat_value v =
		user == NULL ? sat_value_null() : sat_value_id(user);
	struct sat_grant *list = NULL;
	uint32_t count = 0, cap = 0;
	sqlite3_stmt *st;
	bool more;
	int rc;

	rc = sat_db_find(&s->db,
			 user == NULL ? "SELECT no, user, territory, role,"
					" from_ms, to_ms FROM _grant"
					" WHERE ?1 IS NULL ORDER BY no"
				      : "SELECT no, user, territory, role,"
					" from_ms, to_ms FROM _grant"
					" WHERE user = ?1 ORDER BY no",
			 &v, 1, &st, err);
	more = rc == SAT_OK && st != NULL;
	while (rc == SAT_OK && more) {
		list = list_grow(a, list, count, &cap, sizeof *list);
		rc = list == NULL ? no_memory(err)
				  : grant_read(st, &list[count++], err);
		if (rc != SAT_OK)
			sat_db_reset(st);
		else
			rc = sat_db_step(&s->db, st, &more, err);
	}
	if (rc == SAT_OK) {
		*ret = list;
		*ret_count = count;
	}
	return rc;
}

/* ---- devices ------------------------------------------------------------- */

int sat_store_device_put(struct sat_store *s, const struct sat_device *d,
			 struct sat_err *err)
{
	struct sat_value v[13] = {
		sat_value_int(d->replica),
		sat_value_id(&d->user),
		bytes_value(d->key_hash, sizeof d->key_hash),
		sat_value_int(d->state),
		sat_value_int((int64_t)d->last_seq),
		bytes_value(d->last_hash, sizeof d->last_hash),
		sat_value_int((int64_t)d->verdict_seq),
		sat_value_int((int64_t)d->cursor),
		bytes_value(d->ratchet, sizeof d->ratchet),
		bytes_value(d->ratchet_new, sizeof d->ratchet_new),
		sat_value_int(d->enrolled_ms),
		sat_value_int(d->seen_ms),
		sat_value_text(sat_slice_str(d->name)),
	};

	return sat_store_do(s,
			    "INSERT OR REPLACE INTO _device(replica, user,"
			    " key_hash, state, last_seq, last_hash,"
			    " verdict_seq, cursor, ratchet, ratchet_new,"
			    " enrolled_ms, seen_ms, name)"
			    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
			    " ?11, ?12, ?13)",
			    v, 13, err);
}

#define DEVICE_COLUMNS                                                      \
	"SELECT replica, user, key_hash, state, last_seq, last_hash,"       \
	" verdict_seq, cursor, ratchet, ratchet_new, enrolled_ms, seen_ms," \
	" name FROM _device "

static int device_read(sqlite3_stmt *st, struct sat_device *ret,
		       struct sat_err *err)
{
	int64_t state = sqlite3_column_int64(st, 3);

	*ret = (struct sat_device){ 0 };
	ret->replica = (uint32_t)sqlite3_column_int64(st, 0);
	if (!sat_db_column_id(st, 1, &ret->user) || state < SAT_DEVICE_ACTIVE ||
	    state > SAT_DEVICE_REVOKED)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "store_device",
				   "device %u is damaged", ret->replica);
	sat_store_bytes(st, 2, ret->key_hash, sizeof ret->key_hash);
	ret->state = state == SAT_DEVICE_ACTIVE   ? SAT_DEVICE_ACTIVE
		     : state == SAT_DEVICE_WIPING ? SAT_DEVICE_WIPING
						  : SAT_DEVICE_REVOKED;
	ret->last_seq = (uint64_t)sqlite3_column_int64(st, 4);
	sat_store_bytes(st, 5, ret->last_hash, sizeof ret->last_hash);
	ret->verdict_seq = (uint64_t)sqlite3_column_int64(st, 6);
	ret->cursor = (uint64_t)sqlite3_column_int64(st, 7);
	sat_store_bytes(st, 8, ret->ratchet, sizeof ret->ratchet);
	sat_store_bytes(st, 9, ret->ratchet_new, sizeof ret->ratchet_new);
	ret->enrolled_ms = sqlite3_column_int64(st, 10);
	ret->seen_ms = sqlite3_column_int64(st, 11);
	sat_store_text(st, 12, ret->name, sizeof ret->name);
	return SAT_OK;
}

int sat_store_device_get(struct sat_store *s, uint32_t replica,
			 struct sat_device *ret, struct sat_err *err)
{
	struct sat_value v = sat_value_int(replica);
	struct sat_device d;
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db, DEVICE_COLUMNS "WHERE replica = ?1", &v, 1,
			 &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_device",
				   "there is no device %u", replica);
	rc = device_read(st, &d, err);
	sat_db_reset(st);
	if (rc == SAT_OK)
		*ret = d;
	return rc;
}

int sat_store_devices(struct sat_store *s, struct sat_arena *a,
		      struct sat_device **ret, uint32_t *ret_count,
		      struct sat_err *err)
{
	struct sat_device *list = NULL;
	uint32_t count = 0, cap = 0;
	sqlite3_stmt *st;
	bool more;
	int rc;

	rc = sat_db_find(&s->db, DEVICE_COLUMNS "ORDER BY replica", NULL, 0,
			 &st, err);
	more = rc == SAT_OK && st != NULL;
	while (rc == SAT_OK && more) {
		list = list_grow(a, list, count, &cap, sizeof *list);
		rc = list == NULL ? no_memory(err)
				  : device_read(st, &list[count++], err);
		if (rc != SAT_OK)
			sat_db_reset(st);
		else
			rc = sat_db_step(&s->db, st, &more, err);
	}
	if (rc == SAT_OK) {
		*ret = list;
		*ret_count = count;
	}
	return rc;
}

/* ---- invitations --------------------------------------------------------- */

int sat_store_invite_put(struct sat_store *s, const struct sat_invite *i,
			 struct sat_err *err)
{
	struct sat_value v[6] = {
		bytes_value(i->token_hash, sizeof i->token_hash),
		sat_value_id(&i->user),
		sat_value_int(i->expires_ms),
		sat_value_int(i->used ? 1 : 0),
		bytes_value(i->key_hash, sizeof i->key_hash),
		sat_value_int(i->replica),
	};

	return sat_store_do(s,
			    "INSERT OR REPLACE INTO _invite(token_hash, user,"
			    " expires_ms, used, key_hash, replica)"
			    " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
			    v, 6, err);
}

int sat_store_invite_get(struct sat_store *s, const uint8_t token_hash[32],
			 struct sat_invite *ret, struct sat_err *err)
{
	struct sat_value v = bytes_value(token_hash, 32);
	struct sat_invite i = { 0 };
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db,
			 "SELECT user, expires_ms, used, key_hash, replica"
			 " FROM _invite WHERE token_hash = ?1",
			 &v, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_invite",
				   "there is no such invitation");
	memcpy(i.token_hash, token_hash, sizeof i.token_hash);
	if (!sat_db_column_id(st, 0, &i.user))
		rc = sat_err_set(err, SAT_E_CORRUPT, 0, "store_invite",
				 "an invitation is damaged");
	i.expires_ms = sqlite3_column_int64(st, 1);
	i.used = sqlite3_column_int64(st, 2) != 0;
	sat_store_bytes(st, 3, i.key_hash, sizeof i.key_hash);
	i.replica = (uint32_t)sqlite3_column_int64(st, 4);
	sat_db_reset(st);
	if (rc == SAT_OK)
		*ret = i;
	return rc;
}

/* ---- scopes and audit ---------------------------------------------------- */

static int scope_find(struct sat_store *s, const struct sat_value *territory,
		      uint32_t *ret, struct sat_err *err)
{
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db, "SELECT no FROM _scope WHERE territory = ?1",
			 territory, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_scope",
				   "the territory has no scope");
	*ret = (uint32_t)sqlite3_column_int64(st, 0);
	sat_db_reset(st);
	return SAT_OK;
}

int sat_store_scope_of(struct sat_store *s, const struct sat_id *territory,
		       bool create, uint32_t *ret, struct sat_err *err)
{
	struct sat_value v = sat_value_id(territory);
	int rc = scope_find(s, &v, ret, err);

	if (rc != SAT_E_NOTFOUND || !create)
		return rc;
	/* Scope rows are never deleted, so numbers are never reused. */
	rc = sat_store_do(s, "INSERT INTO _scope(territory) VALUES(?1)", &v, 1,
			  err);
	if (rc == SAT_OK)
		*ret = (uint32_t)sqlite3_last_insert_rowid(s->db.handle);
	return rc;
}

int sat_store_audit(struct sat_store *s, int64_t now_ms, const char *who,
		    const char *what, struct sat_slice detail_json,
		    struct sat_err *err)
{
	struct sat_value v[4] = {
		sat_value_int(now_ms),
		sat_value_text(sat_slice_str(who)),
		sat_value_text(sat_slice_str(what)),
		detail_json.len == 0 ? sat_value_null()
				     : sat_value_text(detail_json),
	};

	return sat_store_do(s,
			    "INSERT INTO _audit(at_ms, who, what, detail)"
			    " VALUES(?1, ?2, ?3, ?4)",
			    v, 4, err);
}

int sat_store_audit_get(struct sat_store *s, uint64_t no, struct sat_arena *a,
			struct sat_slice *ret_what,
			struct sat_slice *ret_detail, struct sat_err *err)
{
	struct sat_value v = sat_value_int((int64_t)no), what, detail;
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db,
			 "SELECT what, coalesce(detail, '') FROM _audit"
			 " WHERE no = ?1",
			 &v, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_audit",
				   "there is no audit record %llu",
				   (unsigned long long)no);
	what = sat_db_column(st, 0);
	detail = sat_db_column(st, 1);
	rc = sat_arena_copy(a, what.s, ret_what);
	if (rc == SAT_OK)
		rc = sat_arena_copy(a, detail.s, ret_detail);
	sat_db_reset(st);
	return rc == SAT_OK ? rc : no_memory(err);
}

int sat_store_audit_list(struct sat_store *s, int64_t after, sat_text_cb cb,
			 void *arg, struct sat_err *err)
{
	struct sat_value no = sat_value_int(after);

	return sat_store_query(s,
			       "SELECT no, at_ms, who, what, detail FROM _audit"
			       " WHERE no > ?1 ORDER BY no",
			       &no, 1, cb, arg, err);
}
