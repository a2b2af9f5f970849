/* Server states into the replica. A state replaces the one that is stored,
 * whole, when it is newer; the overlay is laid over it again. The digest is
 * kept up row by row: the old hash leaves it as often as the row has scopes,
 * the new one enters. */
#include "client/replica/apply.h"

#include <string.h>

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "replica_apply",
			   "out of memory");
}

/* ---- scopes of a row ----------------------------------------------------- */

/* Scopes that cannot be read count as none; only a full count tells then what
 * the digest should be. */
static int scopes_of(struct sat_replica *r, const struct sat_held *held,
		     uint32_t **ret, uint32_t *ret_count, struct sat_err *err)
{
	int rc = sat_numbers_unpack(&r->row, held->scopes, ret, ret_count);

	if (rc == SAT_OK)
		return SAT_OK;
	if (rc == SAT_E_NOMEM)
		return no_memory(err);
	r->facts.stale = 1;
	*ret_count = 0;
	*ret = sat_arena_array(&r->row, 1, sizeof **ret);
	return *ret == NULL ? no_memory(err) : SAT_OK;
}

/* Sorted numbers with one more, or the same when it is there. */
static uint32_t *with_number(struct sat_arena *a, const uint32_t *numbers,
			     uint32_t *count, uint32_t number)
{
	uint32_t *more = sat_arena_array(a, (size_t)*count + 1, sizeof *more);
	uint32_t n = 0, i = 0;

	if (more == NULL)
		return NULL;
	while (i < *count && numbers[i] < number)
		more[n++] = numbers[i++];
	more[n++] = number;
	if (i < *count && numbers[i] == number)
		i++;
	while (i < *count)
		more[n++] = numbers[i++];
	*count = n;
	return more;
}

static uint32_t without_number(uint32_t *numbers, uint32_t count,
			       uint32_t number)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (numbers[i] != number)
			numbers[n++] = numbers[i];
	}
	return n;
}

static int put_scopes(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, const uint32_t *numbers,
		      uint32_t count, struct sat_err *err)
{
	struct sat_slice bytes;
	struct sat_value args[3];

	if (sat_numbers_pack(&r->row, numbers, count, &bytes) != SAT_OK)
		return no_memory(err);
	args[0] = sat_value_int(t->no);
	args[1] = sat_value_id(id);
	args[2] = sat_value_blob(bytes);
	return sat_db_do(&r->db,
			 "UPDATE _satchel_row SET scopes = ?3"
			 " WHERE t = ?1 AND id = ?2",
			 args, 3, err);
}

/* ---- the stored state ---------------------------------------------------- */

/* What the state stored now adds to the digest, once. Its bytes were hashed
 * when it came; if they hash differently now they were changed behind our
 * back, and only a full count tells what the digest should be. */
static struct sat_hash stored_hash(struct sat_replica *r,
				   const struct sat_table *t,
				   const struct sat_id *id,
				   const struct sat_held *held)
{
	struct sat_hash h = sat_held_hash(r, t, id, held->meta, held->values);

	if ((int64_t)h.low != held->low)
		r->facts.stale = 1;
	return h;
}

#define INSERT_ROW                                              \
	"INSERT INTO _satchel_row(t, id, seq, h, meta, scopes)" \
	" VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(t, id) DO "

/* sql: INSERT_ROW with what is to be done about one that is there. */
static int row_put(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const struct sat_state *s,
		   const char *sql, struct sat_hash *ret, struct sat_err *err)
{
	struct sat_value args[6];
	struct sat_hash h;
	struct sat_slice scopes;

	h = sat_held_hash(r, t, id, s->meta, s->values);
	*ret = h;
	if (sat_numbers_pack(&r->row, s->scopes, s->scope_count, &scopes) !=
	    SAT_OK)
		return no_memory(err);
	args[0] = sat_value_int(t->no);
	args[1] = sat_value_id(id);
	args[2] = sat_bind_u64(s->seq);
	args[3] = sat_value_int((int64_t)h.low);
	args[4] = sat_value_blob(s->meta);
	args[5] = sat_value_blob(scopes);
	return sat_db_do(&r->db, sql, args, 6, err);
}

int sat_state_put(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, const struct sat_state *s,
		  struct sat_err *err)
{
	struct sat_hash h;
	int rc = row_put(r, t, id, s,
			 INSERT_ROW "UPDATE SET"
				    " seq = excluded.seq, h = excluded.h,"
				    " meta = excluded.meta,"
				    " scopes = excluded.scopes",
			 &h, err);

	if (rc == SAT_OK)
		sat_digest_add(r, h, s->scope_count);
	return rc;
}

int sat_state_insert(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id, const struct sat_state *s,
		     bool *ret_taken, struct sat_err *err)
{
	struct sat_hash h;
	int rc = row_put(r, t, id, s, INSERT_ROW "NOTHING", &h, err);

	*ret_taken = rc == SAT_OK && sqlite3_changes(r->db.handle) > 0;
	if (*ret_taken)
		sat_digest_add(r, h, s->scope_count);
	return rc;
}

int sat_state_forget(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id, struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(t->no), sat_value_id(id) };
	int rc = sat_db_do(&r->db,
			   "DELETE FROM _satchel_row WHERE t = ?1 AND id = ?2",
			   args, 2, err);

	if (rc == SAT_OK)
		rc = sat_db_do(&r->db,
			       "DELETE FROM _satchel_sibling"
			       " WHERE t = ?1 AND id = ?2",
			       args, 2, err);
	return rc == SAT_OK ? sat_base_remove(r, t, id, err) : rc;
}

static bool meta_alive(struct sat_replica *r, struct sat_slice meta)
{
	struct sat_vv vv, dv;

	return sat_meta_vectors(&r->row, meta, &vv, &dv) == SAT_OK &&
	       !sat_vv_leq(vv, dv);
}

/* Deltas that the server's state contains have done their work. */
static int drop_contained(struct sat_replica *r, const struct sat_table *t,
			  const struct sat_id *id, struct sat_slice meta,
			  struct sat_err *err)
{
	struct sat_value args[3] = { sat_value_int(t->no), sat_value_id(id) };
	struct sat_vv vv, dv;

	if (sat_meta_vectors(&r->row, meta, &vv, &dv) != SAT_OK)
		return no_memory(err);
	args[2] = sat_bind_u64(sat_vv_get(vv, (uint32_t)r->facts.replica));
	return sat_db_do(&r->db,
			 "DELETE FROM _satchel_dirty WHERE t = ?1 AND"
			 " id = ?2 AND seq <= ?3",
			 args, 3, err);
}

static int is_dirty(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id, bool *ret, struct sat_err *err)
{
	bool known;

	*ret = false;
	return r->any_dirty ? sat_held_any(r, t, id, &known, ret, err) : SAT_OK;
}

int sat_apply_look(struct sat_replica *r, struct sat_err *err)
{
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT EXISTS(SELECT 1 FROM _satchel_dirty),"
			     " EXISTS(SELECT 1 FROM _satchel_orphan) OR"
			     " EXISTS(SELECT 1 FROM _satchel_ghost),"
			     " EXISTS(SELECT 1 FROM _satchel_base)",
			     NULL, 0, &st, err);

	if (rc != SAT_OK || st == NULL)
		return rc;
	r->any_dirty = sqlite3_column_int(st, 0) != 0;
	r->any_orphan = sqlite3_column_int(st, 1) != 0;
	r->any_base = sqlite3_column_int(st, 2) != 0;
	sat_db_reset(st);
	return SAT_OK;
}

static int orphan_remove(struct sat_replica *r, const struct sat_table *t,
			 const struct sat_id *id, struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value args[2] = { sat_value_int(t->no) };
	int rc;

	if (!r->any_orphan)
		return SAT_OK;
	sat_id_format(id, text);
	args[1] = sat_bind_str(text);
	rc = sat_db_do(&r->db,
		       "DELETE FROM _satchel_orphan WHERE t = ?1"
		       " AND id = ?2",
		       args, 2, err);
	return rc == SAT_OK ? sat_ghosts_drop(r, t, id, err) : rc;
}

/* After the state was stored: the values go to the typed row, or below the
 * overlay when there is one. A deleted row keeps its last image, because
 * inserting the id again is measured against it. */
int sat_state_show(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const struct sat_held *old,
		   const struct sat_state *s, struct sat_err *err)
{
	bool alive = meta_alive(r, s->meta), dirty = false, exists = false;
	const struct sat_value *image = alive ? s->values : old->values;
	int rc = is_dirty(r, t, id, &dirty, err);

	if (rc == SAT_OK && dirty)
		rc = drop_contained(r, t, id, s->meta, err);
	if (rc == SAT_OK && dirty)
		rc = is_dirty(r, t, id, &exists, err);
	if (rc != SAT_OK)
		return rc;
	if (dirty || !old->known)
		rc = orphan_remove(r, t, id, err);
	if (rc == SAT_OK && (!alive || exists))
		rc = sat_base_write(r, t, id, image, err);
	else if (rc == SAT_OK && old->has_base)
		rc = sat_base_remove(r, t, id, err);
	if (rc != SAT_OK)
		return rc;
	if (exists)
		return sat_row_derive(r, t, id, err);
	rc = alive ? sat_typed_write(r, t, id, s->values, err)
		   : sat_typed_remove(r, t, id, err);
	return rc == SAT_OK && s->siblings ? sat_row_derive(r, t, id, err) : rc;
}

/* Does a field of that table hold several values, now or before? Only then
 * is the list of siblings looked at. */
static bool may_have_siblings(struct sat_replica *r, const struct sat_table *t,
			      const struct sat_id *id,
			      const struct sat_state *s)
{
	struct sat_row row;
	struct sat_value args[2] = { sat_value_int(t->no), sat_value_id(id) };
	struct sat_err err;
	sqlite3_stmt *st = NULL;
	struct sat_vv vv, dv;

	/* one author, one write: nothing to be in conflict with */
	if (sat_meta_vectors(&r->row, s->meta, &vv, &dv) == SAT_OK &&
	    vv.count < 2)
		return false;
	if (sat_db_find(&r->db,
			"SELECT 1 FROM _satchel_sibling WHERE t = ?1 AND"
			" id = ?2",
			args, 2, &st, &err) == SAT_OK &&
	    st != NULL) {
		sat_db_reset(st);
		return true;
	}
	if (sat_meta_decode(&r->row, t, s->meta, s->values, &row) != SAT_OK)
		return false;
	for (uint16_t i = 0; i < t->column_count; i++) {
		if ((t->columns[i].policy == SAT_POLICY_KEEP ||
		     t->columns[i].policy == SAT_POLICY_ORDERED) &&
		    row.fields[i].count > 1)
			return true;
	}
	return false;
}

static int arrive_new(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, uint32_t scope,
		      struct sat_state *s, bool *ret_taken, struct sat_err *err)
{
	struct sat_held none = { .known = false };
	int rc;

	s->scopes = &scope;
	s->scope_count = 1;
	s->siblings = may_have_siblings(r, t, id, s);
	rc = sat_state_insert(r, t, id, s, ret_taken, err);
	if (rc != SAT_OK || !*ret_taken)
		return rc;
	none.values =
		sat_arena_array(&r->row, t->column_count, sizeof *none.values);
	return none.values == NULL ? no_memory(err)
				   : sat_state_show(r, t, id, &none, s, err);
}

/* What came by REPAIR replaces a state whatever its position, unless that one
 * came since the last checkpoint: then it may be later than the answer. */
static bool replaces(const struct sat_replica *r, const struct sat_held *old,
		     const struct sat_state *s)
{
	if (s->seq > old->seq)
		return true;
	return s->repair &&
	       !(old->seq > (uint64_t)r->facts.cursor && old->seq <= s->upto);
}

int sat_row_arrive(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, uint32_t scope, struct sat_state *s,
		   struct sat_err *err)
{
	struct sat_held old;
	struct sat_hash h = { 0, 0 };
	uint32_t *scopes;
	uint32_t before;
	bool taken = false;
	int rc = SAT_OK;

	if (r->facts.cursor == 0)
		rc = arrive_new(r, t, id, scope, s, &taken, err);
	if (rc != SAT_OK || taken)
		return rc;
	rc = sat_held_peek(r, t, id, &old, err);
	if (rc == SAT_OK)
		rc = scopes_of(r, &old, &scopes, &before, err);
	if (rc != SAT_OK)
		return rc;
	/* Sent again from the start, or by another history of the server: where
	 * it was then says nothing of where it is now. */
	s->scope_count = old.known && old.seq == 0 ? 0 : before;
	s->scopes = with_number(&r->row, scopes, &s->scope_count, scope);
	if (s->scopes == NULL)
		return no_memory(err);
	if (old.known)
		h = stored_hash(r, t, id, &old);
	if (old.known && !replaces(r, &old, s)) {
		sat_digest_add(r, h, s->scope_count - before);
		return s->scope_count == before
			       ? SAT_OK
			       : put_scopes(r, t, id, s->scopes, s->scope_count,
					    err);
	}
	sat_digest_sub(r, h, before);
	s->siblings = may_have_siblings(r, t, id, s);
	rc = sat_state_put(r, t, id, s, err);
	return rc == SAT_OK ? sat_state_show(r, t, id, &old, s, err) : rc;
}

/* The row is in that scope too; it came, or comes, with another. */
int sat_row_enter(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, uint32_t scope, struct sat_err *err)
{
	struct sat_held old;
	uint32_t *scopes, count, before;
	int rc = sat_held_peek(r, t, id, &old, err);

	if (rc != SAT_OK || !old.known)
		return rc;
	rc = scopes_of(r, &old, &scopes, &before, err);
	if (rc != SAT_OK)
		return rc;
	count = before;
	scopes = with_number(&r->row, scopes, &count, scope);
	if (scopes == NULL)
		return no_memory(err);
	if (count == before)
		return SAT_OK;
	sat_digest_add(r, stored_hash(r, t, id, &old), count - before);
	return put_scopes(r, t, id, scopes, count, err);
}

/* ---- leaving ------------------------------------------------------------- */

static int orphan_add(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value args[2] = { sat_value_int(t->no) };
	int rc;

	r->any_orphan = true;
	sat_id_format(id, text);
	args[1] = sat_bind_str(text);
	rc = sat_db_do(&r->db,
		       "INSERT INTO _satchel_orphan(t, id) VALUES(?1, ?2)"
		       " ON CONFLICT(t, id) DO NOTHING",
		       args, 2, err);
	return rc == SAT_OK ? sat_ghosts_list(r, t, id, err) : rc;
}

/* Changes that were accepted leave the overlay of a row that leaves. */
static int drop_accepted(struct sat_replica *r, const struct sat_table *t,
			 const struct sat_id *id, struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(t->no), sat_value_id(id) };

	return sat_db_do(&r->db,
			 "DELETE FROM _satchel_dirty WHERE t = ?1 AND id = ?2"
			 " AND (SELECT o.state FROM _satchel_outbox o WHERE"
			 " o.seq = _satchel_dirty.seq) = 1",
			 args, 2, err);
}

int sat_row_leave(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, uint32_t scope, struct sat_err *err)
{
	struct sat_held old;
	uint32_t *scopes, before, count;
	bool dirty = false;
	int rc = sat_held_peek(r, t, id, &old, err);

	if (rc == SAT_OK && !old.known) {
		rc = drop_accepted(r, t, id, err);
		return rc == SAT_OK ? sat_row_settle(r, t, id, err) : rc;
	}
	if (rc != SAT_OK)
		return rc;
	rc = scopes_of(r, &old, &scopes, &before, err);
	if (rc != SAT_OK)
		return rc;
	count = without_number(scopes, before, scope);
	sat_digest_sub(r, stored_hash(r, t, id, &old), before - count);
	if (count > 0)
		return put_scopes(r, t, id, scopes, count, err);
	rc = drop_accepted(r, t, id, err);
	if (rc == SAT_OK)
		rc = is_dirty(r, t, id, &dirty, err);
	if (rc == SAT_OK)
		rc = sat_state_forget(r, t, id, err);
	if (rc != SAT_OK)
		return rc;
	/* What the person has written is not taken away before the answer. */
	return dirty ? orphan_add(r, t, id, err)
		     : sat_typed_remove(r, t, id, err);
}

int sat_row_settle(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, struct sat_err *err)
{
	bool known = false, dirty = false;
	struct sat_held held;
	int rc;

	sat_arena_reset(&r->row);
	rc = sat_held_any(r, t, id, &known, &dirty, err);
	if (rc != SAT_OK)
		return rc;
	if (known || dirty) {
		rc = sat_row_derive(r, t, id, err);
		if (rc != SAT_OK || dirty)
			return rc;
		rc = sat_held_peek(r, t, id, &held, err);
		if (rc == SAT_OK && held.has_base && meta_alive(r, held.meta))
			rc = sat_base_remove(r, t, id, err);
		return rc;
	}
	rc = orphan_remove(r, t, id, err);
	if (rc == SAT_OK)
		rc = sat_state_forget(r, t, id, err);
	return rc == SAT_OK ? sat_typed_remove(r, t, id, err) : rc;
}

/* ---- scopes of the device ------------------------------------------------ */

/* The numbers rise, as the server's do. */
static bool is_among(const uint32_t *numbers, uint32_t count, uint32_t number)
{
	uint32_t lo = 0, hi = count, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (numbers[mid] < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < count && numbers[lo] == number;
}

static int leave_lost(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, struct sat_slice packed,
		      const uint32_t *keep, uint32_t count, struct sat_err *err)
{
	uint32_t *scopes, n;
	int rc = sat_numbers_unpack(&r->row, packed, &scopes, &n);

	if (rc == SAT_E_CORRUPT) { /* the next checkpoint finds it */
		r->facts.stale = 1;
		return SAT_OK;
	}
	if (rc != SAT_OK)
		return no_memory(err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		if (!is_among(keep, count, scopes[i]))
			rc = sat_row_leave(r, t, id, scopes[i], err);
	}
	return rc;
}

int sat_scopes_drop(struct sat_replica *r, const uint32_t *keep, uint32_t count,
		    struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_slice scopes;
	struct sat_id id;
	sqlite3_stmt *st;
	bool row = true;
	/* Rows vanish while they are listed: list by key, not by place. */
	int rc = sat_db_stmt(&r->db,
			     "SELECT t, id, scopes FROM _satchel_row"
			     " ORDER BY +t, +id",
			     &st, err);

	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		sat_arena_reset(&r->row);
		t = sat_catalogue_table_no(
			r->catalogue,
			(uint32_t)(sqlite3_column_int64(st, 0) & UINT16_MAX));
		if (t == NULL || !sat_db_column_id(st, 1, &id))
			continue;
		rc = sat_column_copy(&r->row, st, 2, &scopes);
		if (rc == SAT_OK)
			rc = leave_lost(r, t, &id, scopes, keep, count, err);
		else
			rc = no_memory(err);
	}
	sat_db_reset(st);
	return rc;
}
