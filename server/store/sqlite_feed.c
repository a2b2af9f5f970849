/* The feed, and the digests that are summed in memory until the commit. */
#include "server/store/sqlite_store.h"

#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

/* ---- feed ---------------------------------------------------------------- */

int sat_store_feed_put(struct sat_store *s, uint32_t scope, uint64_t seq,
		       const struct sat_table *t, uint64_t row_seq,
		       const struct sat_id *id, bool evict, struct sat_err *err)
{
	/* A row entry at the row's own position, the usual case, and the id
	 * of a row that can be looked up, cost nothing. */
	struct sat_value v[5] = {
		sat_value_int(scope),
		sat_value_int((int64_t)seq),
		sat_value_int(t->no),
		row_seq == seq ? sat_value_null()
			       : sat_value_int((int64_t)row_seq),
		evict ? sat_value_id(id) : sat_value_null(),
	};

	return sat_store_do(s,
			    "INSERT INTO _feed(scope, seq, tbl, row_seq, id)"
			    " VALUES(?1, ?2, ?3, ?4, ?5)",
			    v, 5, err);
}

int sat_store_feed_remove(struct sat_store *s, uint32_t scope, uint64_t seq,
			  struct sat_err *err)
{
	struct sat_value v[2] = { sat_value_int(scope),
				  sat_value_int((int64_t)seq) };
	int rc;

	rc = sat_store_do(s, "DELETE FROM _feed WHERE scope = ?1 AND seq = ?2",
			  v, 2, err);
	if (rc == SAT_OK && sqlite3_changes(s->db.handle) != 1)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "store_feed",
				 "scope %u has no entry at %llu", scope,
				 (unsigned long long)seq);
	return rc;
}

static int feed_entry(struct sat_store *s, sqlite3_stmt *st, sat_feed_cb cb,
		      void *arg, struct sat_err *err)
{
	uint64_t seq = (uint64_t)sqlite3_column_int64(st, 0);
	uint64_t row_seq = seq;
	const struct sat_table *t = NULL;
	struct sat_id id;
	bool evict = sqlite3_column_type(st, 3) != SQLITE_NULL;

	if (s->catalogue != NULL)
		t = sat_catalogue_table_no(
			s->catalogue, (uint32_t)sqlite3_column_int64(st, 1));
	if (t == NULL || (evict && !sat_db_column_id(st, 3, &id)))
		return sat_err_set(err, SAT_E_CORRUPT, 0, "store_feed",
				   "the feed entry at %llu is damaged",
				   (unsigned long long)seq);
	if (sqlite3_column_type(st, 2) != SQLITE_NULL)
		row_seq = (uint64_t)sqlite3_column_int64(st, 2);
	return cb(arg, seq, t, row_seq, evict ? &id : NULL, evict);
}

int sat_store_feed_count(struct sat_store *s, uint32_t scope, uint64_t after,
			 uint64_t upto, uint64_t *ret, struct sat_err *err)
{
	struct sat_value v[3] = {
		sat_value_int(scope),
		sat_value_int((int64_t)after),
		sat_value_int(upto > INT64_MAX ? INT64_MAX : (int64_t)upto),
	};
	sqlite3_stmt *st;
	int rc = sat_db_find(&s->db,
			     "SELECT count(*) FROM _feed WHERE scope = ?1 AND"
			     " seq > ?2 AND seq <= ?3",
			     v, 3, &st, err);

	if (rc != SAT_OK)
		return rc;
	*ret = st == NULL ? 0 : (uint64_t)sqlite3_column_int64(st, 0);
	if (st != NULL)
		sat_db_reset(st);
	return SAT_OK;
}

int sat_store_feed_scan(struct sat_store *s, uint32_t scope, uint64_t after,
			uint64_t upto, sat_feed_cb cb, void *arg,
			struct sat_err *err)
{
	struct sat_value v[3] = {
		sat_value_int(scope),
		sat_value_int((int64_t)after),
		sat_value_int(upto > INT64_MAX ? INT64_MAX : (int64_t)upto),
	};
	sqlite3_stmt *st;
	bool more = true;
	int rc;

	rc = sat_db_find(&s->db,
			 "SELECT seq, tbl, row_seq, id FROM _feed"
			 " WHERE scope = ?1 AND seq > ?2 AND seq <= ?3"
			 " ORDER BY seq",
			 v, 3, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	while (rc == SAT_OK && more) {
		rc = feed_entry(s, st, cb, arg, err);
		if (rc == SAT_OK)
			rc = sat_db_step(&s->db, st, &more, err);
	}
	sat_db_reset(st);
	return rc;
}

/* ---- digests ------------------------------------------------------------- */

static uint32_t sum_hash(uint32_t scope, uint32_t role)
{
	uint32_t h = (scope * 8 + role) * UINT32_C(0x9e3779b1);

	return h ^ h >> 15;
}

/* The sum of (scope, role), or the free place where it belongs. */
static struct sat_digest_sum *sum_at(struct sat_digest_sum *sums, uint32_t cap,
				     uint32_t scope, uint32_t role)
{
	uint32_t at = sum_hash(scope, role) & (cap - 1);

	while (sums[at].used &&
	       (sums[at].scope != scope || sums[at].role != role))
		at = (at + 1) & (cap - 1);
	return &sums[at];
}

static int sums_grow(struct sat_store_level *level)
{
	uint32_t cap = level->cap == 0 ? 64 : level->cap * 2;
	struct sat_digest_sum *sums;

	if (level->cap > 0 && level->count < level->cap / 2)
		return SAT_OK;
	if (cap > UINT32_C(1) << 24)
		return SAT_E_LIMIT;
	sums = calloc(cap, sizeof *sums);
	if (sums == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < level->cap; i++) {
		const struct sat_digest_sum *d = &level->sums[i];

		if (d->used)
			*sum_at(sums, cap, d->scope, d->role) = *d;
	}
	free(level->sums);
	level->sums = sums;
	level->cap = cap;
	return SAT_OK;
}

static int sum_add(struct sat_store_level *level,
		   const struct sat_digest_sum *add, struct sat_err *err)
{
	struct sat_digest_sum *d;
	int rc = sums_grow(level);

	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "store_digest",
				   "too many digests in one transaction");
	d = sum_at(level->sums, level->cap, add->scope, add->role);
	if (!d->used) {
		*d = *add;
		level->count++;
		return SAT_OK;
	}
	sat_hash_add(&d->sum, add->sum);
	d->rows += add->rows;
	return SAT_OK;
}

void sat_store_digest_clear(struct sat_store_level *level)
{
	if (level->cap > 256) { /* do not wipe a large one every time */
		free(level->sums);
		level->sums = NULL;
		level->cap = 0;
	} else if (level->count > 0) {
		memset(level->sums, 0, level->cap * sizeof *level->sums);
	}
	level->count = 0;
}

int sat_store_digest_fold(struct sat_store *s, struct sat_err *err)
{
	struct sat_store_level *top = &s->levels[s->depth - 1];
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < top->cap; i++) {
		if (top->sums[i].used)
			rc = sum_add(top - 1, &top->sums[i], err);
	}
	if (rc == SAT_OK) {
		sat_store_digest_clear(top);
		s->depth--;
	}
	return rc;
}

static int digest_read(struct sat_store *s, uint32_t scope, uint32_t role,
		       struct sat_digest_sum *ret, struct sat_err *err)
{
	struct sat_value v[2] = { sat_value_int(scope), sat_value_int(role) };
	uint8_t packed[16];
	sqlite3_stmt *st;
	int rc;

	*ret = (struct sat_digest_sum){ true, scope, role, { 0 }, 0 };
	rc = sat_db_find(&s->db,
			 "SELECT sum, rows FROM _digest"
			 " WHERE scope = ?1 AND role = ?2",
			 v, 2, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	sat_store_bytes(st, 0, packed, sizeof packed);
	ret->sum = sat_hash_unpack(packed);
	ret->rows = sqlite3_column_int64(st, 1);
	sat_db_reset(st);
	return SAT_OK;
}

int sat_store_digest_flush(struct sat_store *s, struct sat_err *err)
{
	const struct sat_store_level *level = &s->levels[0];
	struct sat_digest_sum now;
	uint8_t packed[16];
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < level->cap; i++) {
		const struct sat_digest_sum *d = &level->sums[i];
		struct sat_value v[4];

		if (!d->used)
			continue;
		rc = digest_read(s, d->scope, d->role, &now, err);
		if (rc != SAT_OK)
			break;
		sat_hash_add(&now.sum, d->sum);
		sat_hash_pack(now.sum, packed);
		v[0] = sat_value_int(d->scope);
		v[1] = sat_value_int(d->role);
		v[2] = sat_value_blob(
			(struct sat_slice){ packed, sizeof packed });
		v[3] = sat_value_int(now.rows + d->rows);
		rc = sat_store_do(s,
				  "INSERT OR REPLACE INTO"
				  " _digest(scope, role, sum, rows)"
				  " VALUES(?1, ?2, ?3, ?4)",
				  v, 4, err);
	}
	return rc;
}

int sat_store_digest_add(struct sat_store *s, uint32_t scope,
			 enum sat_role role, struct sat_hash plus,
			 struct sat_hash minus, int64_t rows,
			 struct sat_err *err)
{
	struct sat_digest_sum add = { true, scope, (uint32_t)role, plus, rows };
	int rc = sat_store_may_write(s, err);

	sat_hash_sub(&add.sum, minus);
	return rc == SAT_OK ? sum_add(&s->levels[s->depth - 1], &add, err) : rc;
}

int sat_store_digest_get(struct sat_store *s, uint32_t scope,
			 enum sat_role role, struct sat_hash *ret,
			 uint64_t *ret_rows, struct sat_err *err)
{
	struct sat_digest_sum now;
	int rc;

	rc = digest_read(s, scope, (uint32_t)role, &now, err);
	if (rc != SAT_OK)
		return rc;
	for (int i = 0; i < s->depth; i++) {
		const struct sat_store_level *level = &s->levels[i];
		const struct sat_digest_sum *d;

		if (level->cap == 0)
			continue;
		d = sum_at(level->sums, level->cap, scope, (uint32_t)role);
		if (d->used) {
			sat_hash_add(&now.sum, d->sum);
			now.rows += d->rows;
		}
	}
	*ret = now.sum;
	*ret_rows = (uint64_t)now.rows;
	return SAT_OK;
}
