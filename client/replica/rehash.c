/* Hashing again what is stored: whatever reached the file without going
 * through the triggers or through the server shows here (SYNC section 9). */
#include "client/replica/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one row ------------------------------------------------------------- */

int sat_rehash_row(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, struct sat_rehashed *ret,
		   struct sat_err *err)
{
	struct sat_held held;
	int rc = sat_held_peek(r, t, id, &held, err);

	if (rc != SAT_OK)
		return rc;
	ret->hash = sat_held_hash(r, t, id, held.meta, held.values);
	ret->same = !held.damaged && (int64_t)ret->hash.low == held.low;
	ret->scope_count = 0;
	rc = sat_numbers_unpack(&r->row, held.scopes, &ret->scopes,
				&ret->scope_count);
	if (rc == SAT_E_NOMEM)
		return sat_err_set(err, rc, 0, "replica_rehash",
				   "out of memory");
	ret->same = ret->same && rc == SAT_OK;
	return SAT_OK;
}

static const struct sat_table *table_of(const struct sat_replica *r,
					sqlite3_stmt *st, struct sat_id *ret_id)
{
	const struct sat_table *t = sat_catalogue_table_no(
		r->catalogue,
		(uint32_t)(sqlite3_column_int64(st, 0) & UINT16_MAX));

	return t != NULL && sat_db_column_id(st, 1, ret_id) ? t : NULL;
}

int sat_rehash_all(struct sat_replica *r, sat_rehash_cb cb, void *arg,
		   struct sat_err *err)
{
	struct sat_rehashed none = { .same = false }, h;
	const struct sat_table *t;
	struct sat_id id;
	sqlite3_stmt *st;
	bool row = true;
	int rc =
		sat_db_stmt(&r->db, "SELECT t, id FROM _satchel_row", &st, err);

	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		sat_arena_reset(&r->row);
		t = table_of(r, st, &id);
		h = none;
		if (t != NULL)
			rc = sat_rehash_row(r, t, &id, &h, err);
		if (rc == SAT_OK)
			rc = cb(arg, t, &id, &h);
	}
	sat_db_reset(st);
	return rc;
}

/* ---- damage -------------------------------------------------------------- */

/* Without memory, or beyond so many, it is the digest that tells. */
void sat_damage_note(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id)
{
	struct sat_damage *d = &r->damage;

	if (d->rows == NULL)
		d->rows = calloc(SAT_DAMAGE_MAX, sizeof *d->rows);
	if (d->rows == NULL || d->count == SAT_DAMAGE_MAX) {
		d->more = true;
		return;
	}
	for (uint32_t i = 0; i < d->count; i++)
		if (d->rows[i].t == t->no &&
		    memcmp(d->rows[i].id.b, id->b, sizeof id->b) == 0)
			return;
	d->rows[d->count++] = (struct sat_named_row){ t->no, *id };
}

bool sat_replica_damaged(const struct sat_replica *r)
{
	return r->damage.count > 0;
}

int sat_damage_forgive(struct sat_replica *r, struct sat_err *err)
{
	struct sat_value args[3];
	struct sat_rehashed h;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < r->damage.count; i++) {
		const struct sat_named_row *w = &r->damage.rows[i];

		const struct sat_table *t =
			sat_catalogue_table_no(r->catalogue, w->t);

		if (t == NULL)
			continue;
		sat_arena_reset(&r->row);
		rc = sat_rehash_row(r, t, &w->id, &h, err);
		args[0] = sat_value_int(t->no);
		args[1] = sat_value_id(&w->id);
		args[2] = sat_value_int((int64_t)h.hash.low);
		if (rc == SAT_OK)
			rc = sat_db_do(&r->db,
				       "UPDATE _satchel_row SET h = ?3"
				       " WHERE t = ?1 AND id = ?2",
				       args, 3, err);
	}
	if (rc == SAT_OK) {
		r->damage.count = 0;
		r->damage.more = false;
	}
	return rc;
}

/* ---- all of them --------------------------------------------------------- */

struct count {
	struct sat_replica *r;
	struct sat_hash sum;
	int64_t members;
	uint64_t rows, bad;
	const uint32_t *granted; /* rising; NULL: any scope will do */
	uint32_t granted_count;
};

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool all_granted(const struct count *c, const struct sat_rehashed *h)
{
	for (uint32_t i = 0; c->granted != NULL && i < h->scope_count; i++)
		if (bsearch(&h->scopes[i], c->granted, c->granted_count,
			    sizeof *c->granted, by_number) == NULL)
			return false;
	return true;
}

static int count_row(void *arg, const struct sat_table *t,
		     const struct sat_id *id, const struct sat_rehashed *h)
{
	struct count *c = arg;

	c->rows++;
	c->bad += !h->same || !all_granted(c, h);
	if (!h->same && t != NULL)
		sat_damage_note(c->r, t, id);
	if (h->hash.low == 0 && h->hash.high == 0)
		return SAT_OK;
	for (uint32_t i = 0; i < h->scope_count; i++)
		sat_hash_add(&c->sum, h->hash);
	c->members += h->scope_count;
	return SAT_OK;
}

int sat_digest_rebuild(struct sat_replica *r, uint64_t *ret_rows,
		       uint64_t *ret_bad, struct sat_err *err)
{
	struct count c = { .r = r };
	int rc;

	r->damage.count = 0;
	r->damage.more = false;
	rc = sat_rehash_all(r, count_row, &c, err);
	if (rc != SAT_OK)
		return rc;
	sat_hash_pack(c.sum, r->facts.digest);
	r->facts.members = c.members;
	r->facts.stale = 0;
	*ret_rows = c.rows;
	*ret_bad = c.bad;
	return SAT_OK;
}

int sat_digest_agrees(struct sat_replica *r, bool *ret, struct sat_err *err)
{
	struct count c = { .r = r };
	uint32_t *granted = NULL;
	int rc = sat_db_exec(&r->db, "BEGIN", err); /* of a reader */

	if (rc != SAT_OK)
		return rc;
	sat_arena_reset(&r->batch);
	rc = sat_facts_load(r, err);
	if (rc == SAT_OK)
		rc = sat_scopes_load(r, &r->batch, &granted, &c.granted_count,
				     err);
	c.granted = granted;
	if (rc == SAT_OK)
		rc = sat_rehash_all(r, count_row, &c, err);
	sat_db_rollback(&r->db);
	*ret = rc == SAT_OK && c.bad == 0 && c.members == r->facts.members &&
	       sat_hash_equal(c.sum, sat_hash_unpack(r->facts.digest));
	return rc;
}

/* Edits that wait to be captured are edits, not damage: they are harvested
 * before anything is compared. */
int sat_replica_verify(struct sat_replica *r, uint64_t *ret_rows,
		       uint64_t *ret_bad, struct sat_hash *ret_digest,
		       struct sat_err *err)
{
	struct count c = { .r = r };
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_harvest(r, false, err);
	if (rc == SAT_OK)
		rc = sat_rehash_all(r, count_row, &c, err);
	if (rc == SAT_OK &&
	    (c.bad > 0 || c.members != r->facts.members ||
	     !sat_hash_equal(c.sum, sat_hash_unpack(r->facts.digest)))) {
		r->facts.digest_state = -1;
		r->facts.stale = 1;
	}
	rc = sat_txn_end(r, rc, err);
	if (rc != SAT_OK)
		return rc;
	*ret_rows = c.rows;
	*ret_bad = c.bad;
	*ret_digest = c.sum;
	return SAT_OK;
}

/* ---- in slices ----------------------------------------------------------- */

static int rehash_states(struct sat_replica *r, uint32_t limit,
			 uint32_t *ret_done, uint64_t *bad, struct sat_err *err)
{
	struct sat_named_row *at = &r->rehash_at.row;
	struct sat_value args[3] = { sat_value_int(at->t),
				     sat_value_id(&at->id),
				     sat_value_int(limit) };
	const struct sat_table *t;
	struct sat_rehashed h;
	struct sat_id id;
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT t, id FROM _satchel_row"
			     " WHERE (t, id) > (?1, ?2) ORDER BY t, id"
			     " LIMIT ?3",
			     &st, err);

	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, 3, err);
	*ret_done = 0;
	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		sat_arena_reset(&r->row);
		++*ret_done;
		t = table_of(r, st, &id);
		if (t == NULL)
			continue;
		rc = sat_rehash_row(r, t, &id, &h, err);
		*at = (struct sat_named_row){ t->no, id };
		if (rc == SAT_OK && !h.same) {
			sat_damage_note(r, t, &id);
			++*bad;
		}
	}
	sat_db_reset(st);
	return rc;
}

/* A typed row that no state and no edit knows of came past the triggers. The
 * states are all there, for the digests agree: so it is not the server's, and
 * goes. */
static int check_stray(struct sat_replica *r, const struct sat_table *t,
		       const struct sat_id *id, uint64_t *bad,
		       struct sat_err *err)
{
	bool known = false, dirty = false;
	int rc = sat_held_any(r, t, id, &known, &dirty, err);

	if (rc != SAT_OK || known || dirty || r->facts.digest_state != 1)
		return rc;
	++*bad;
	r->facts.repaired++;
	return sat_typed_remove(r, t, id, err);
}

static int rehash_typed(struct sat_replica *r, uint32_t limit,
			uint32_t *ret_done, uint64_t *bad, struct sat_err *err)
{
	const struct sat_table *t = &r->catalogue->tables[r->rehash_at.table];
	struct sat_value args[2] = { sat_value_int(r->rehash_at.rowid),
				     sat_value_int(limit) };
	struct sat_value text;
	struct sat_id id;
	sqlite3_stmt *st;
	char sql[256];
	bool row = true;
	int rc;

	(void)snprintf(sql, sizeof sql,
		       "SELECT rowid, id FROM %s WHERE rowid > ?1"
		       " ORDER BY rowid LIMIT ?2",
		       t->name);
	rc = sat_db_stmt(&r->db, sql, &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, 2, err);
	*ret_done = 0;
	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		++*ret_done;
		r->rehash_at.rowid = sqlite3_column_int64(st, 0);
		text = sat_db_column(st, 1);
		if (text.kind != SAT_TEXT || !sat_id_parse(text.s, &id))
			continue;
		rc = check_stray(r, t, &id, bad, err);
	}
	sat_db_reset(st);
	return rc;
}

/* States first, then the typed tables one after the other, then again. */
static int rehash(struct sat_replica *r, uint32_t rows, uint64_t *bad,
		  struct sat_err *err)
{
	struct sat_rehash_at *at = &r->rehash_at;
	uint32_t done = 0;
	int rc;

	if (!at->typed) {
		rc = rehash_states(r, rows, &done, bad, err);
		if (rc == SAT_OK && done < rows)
			*at = (struct sat_rehash_at){ .typed = true };
		return rc;
	}
	if (at->table >= r->catalogue->table_count)
		*at = (struct sat_rehash_at){ .typed = true };
	rc = rehash_typed(r, rows, &done, bad, err);
	if (rc != SAT_OK || done == rows)
		return rc;
	at->rowid = 0;
	if (++at->table == r->catalogue->table_count)
		*at = (struct sat_rehash_at){ .typed = false };
	return SAT_OK;
}

int sat_replica_rehash(struct sat_replica *r, uint32_t rows, uint64_t *ret_bad,
		       struct sat_err *err)
{
	int rc;

	*ret_bad = 0;
	rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	if (r->facts.cursor > 0 && r->facts.refresh == SAT_REFRESH_NONE) {
		rc = sat_harvest(r, false, err);
		if (rc == SAT_OK)
			rc = rehash(r, rows, ret_bad, err);
	}
	return sat_txn_end(r, rc, err);
}
