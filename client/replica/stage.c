/* What the server sends is kept as it came and applied at the checkpoint, in
 * one transaction: nobody sees half of one. Only while the replica fills for
 * the first time are pages applied at once, each in its own. */
#include "client/replica/apply.h"
#include "proto/page.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* In _satchel_stage.kind the rows of the page stand above it. */
enum stage_kind { STAGE_ROWS, STAGE_REFS, STAGE_EVICT, STAGE_REPAIR };
enum {
	KIND_BITS = 2,
	STEP_NAP_MS = 15, /* between two steps, for programs that write */
};

static int stage_put(struct sat_replica *r, enum stage_kind kind, uint32_t rows,
		     uint32_t scope, uint32_t table_no, struct sat_slice bytes,
		     struct sat_err *err)
{
	struct sat_value args[4] = {
		sat_value_int(kind | (int64_t)rows << KIND_BITS),
		sat_value_int(scope), sat_value_int(table_no),
		sat_value_blob(bytes)
	};

	return sat_db_do(&r->db,
			 "INSERT INTO _satchel_stage(kind, scope, t, page)"
			 " VALUES(?1, ?2, ?3, ?4)",
			 args, 4, err);
}

static int find_table(struct sat_replica *r, uint32_t no,
		      const struct sat_table **ret, struct sat_err *err)
{
	*ret = sat_catalogue_table_no(r->catalogue, no);
	if (*ret == NULL)
		return sat_err_set(err, SAT_E_PROTO, 0, "replica_stage",
				   "rows of an unknown table %u", no);
	return SAT_OK;
}

static int is_granted(struct sat_replica *r, uint32_t scope, bool *ret,
		      struct sat_err *err)
{
	uint32_t *scopes, count;
	int rc = sat_scopes_load(r, &r->row, &scopes, &count, err);

	*ret = false;
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++)
		*ret = *ret || scopes[i] == scope;
	return rc;
}

/* ---- applying one page --------------------------------------------------- */

static int apply_rows(struct sat_replica *r, uint32_t scope,
		      const struct sat_page *p, const uint64_t *repair_upto,
		      struct sat_err *err)
{
	const struct sat_table *t = p->table;
	struct sat_value *values;
	struct sat_vv vv, dv;
	struct sat_state s;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < p->row_count; i++) {
		sat_arena_reset(&r->row);
		/* unreadable vectors would look like those of a deleted row */
		if (sat_meta_vectors(&r->row, p->metas[i], &vv, &dv) != SAT_OK)
			return sat_err_set(err, SAT_E_PROTO, 0, "page",
					   "metadata of a %s row is damaged",
					   t->name);
		values = sat_arena_array(&r->row, t->column_count,
					 sizeof *values);
		if (values == NULL)
			return sat_err_set(err, SAT_E_NOMEM, 0, "replica_stage",
					   "out of memory");
		for (uint16_t k = 0; k < p->column_count; k++)
			values[p->columns[k]] =
				p->values[(size_t)i * p->column_count + k];
		s = (struct sat_state){ .seq = p->seqs[i],
					.meta = p->metas[i],
					.values = values,
					.repair = repair_upto != NULL };
		if (repair_upto != NULL)
			s.upto = *repair_upto;
		rc = sat_row_arrive(r, t, &p->ids[i], scope, &s, err);
	}
	return rc;
}

static int apply_refs(struct sat_replica *r, uint32_t scope,
		      const struct sat_page *p, struct sat_err *err)
{
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < p->row_count; i++) {
		sat_arena_reset(&r->row);
		rc = sat_row_enter(r, p->table, &p->ids[i], scope, err);
	}
	return rc;
}

static int apply_evict(struct sat_replica *r, uint32_t scope,
		       const struct sat_table *t, struct sat_slice ids,
		       struct sat_err *err)
{
	struct sat_id id;
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i + sizeof id.b <= ids.len;
	     i += sizeof id.b) {
		memcpy(id.b, ids.ptr + i, sizeof id.b);
		sat_arena_reset(&r->row);
		rc = sat_row_leave(r, t, &id, scope, err);
	}
	return rc;
}

/* Pages live in the batch arena, which is empty between two of them. */
static int apply_page(struct sat_replica *r, enum stage_kind kind,
		      uint32_t scope, uint32_t table_no, struct sat_slice bytes,
		      uint64_t upto, struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_page page;
	bool granted = false;
	int rc = find_table(r, table_no, &t, err);

	sat_arena_reset(&r->row);
	if (rc == SAT_OK)
		rc = is_granted(r, scope, &granted, err);
	if (rc != SAT_OK || !granted)
		return rc; /* the scope was lost meanwhile */
	rc = sat_apply_look(r, err);
	if (rc != SAT_OK)
		return rc;
	if (kind == STAGE_EVICT)
		return apply_evict(r, scope, t, bytes, err);
	rc = sat_page_decode(t, bytes, kind == STAGE_REFS, &r->batch, &page,
			     err);
	if (rc != SAT_OK)
		return rc;
	return kind == STAGE_REFS
		       ? apply_refs(r, scope, &page, err)
		       : apply_rows(r, scope, &page,
				    kind == STAGE_REPAIR ? &upto : NULL, err);
}

/* ---- staging ------------------------------------------------------------- */

/* Inside a transaction: keep the page, or apply it when nothing was complete
 * yet. */
static int take_page(struct sat_replica *r, enum stage_kind kind, uint32_t rows,
		     uint32_t scope, uint32_t table_no, struct sat_slice bytes,
		     struct sat_err *err)
{
	int rc;

	if (r->facts.cursor > 0)
		return stage_put(r, kind, rows, scope, table_no, bytes, err);
	rc = sat_harvest(r, false, err);
	sat_arena_reset(&r->batch);
	return rc == SAT_OK
		       ? apply_page(r, kind, scope, table_no, bytes, 0, err)
		       : rc;
}

/* Take a part. *ret_whole: the page is complete, in r->part. */
static int join_part(struct sat_replica *r, const struct sat_msg_rows *m,
		     bool *ret_whole, struct sat_err *err)
{
	int rc;

	if (!r->part_open) {
		sat_buf_clear(&r->part);
		r->part_of = *m;
	} else if (r->part_of.scope != m->scope ||
		   r->part_of.table_no != m->table_no ||
		   r->part_of.refs != m->refs ||
		   r->part_of.repair != m->repair) {
		return sat_err_set(err, SAT_E_PROTO, 0, "replica_stage",
				   "a page was not finished");
	}
	rc = sat_buf_append(&r->part, m->page.ptr, m->page.len);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "replica_stage",
				   "a page is too large");
	r->part_open = m->more;
	*ret_whole = !m->more;
	return SAT_OK;
}

static void forget_part(struct sat_replica *r)
{
	sat_buf_fini(&r->part);
	sat_buf_init(&r->part, SAT_REPLICA_PAGE_MAX);
	r->part_open = false;
}

static int stage_page(struct sat_replica *r, const struct sat_msg_rows *m,
		      struct sat_slice bytes, struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_page page = { .row_count = 0 };
	int rc = find_table(r, m->table_no, &t, err);

	/* What cannot be read is refused now, while the sender is there; a
	 * page that is applied at once is read then. */
	sat_arena_reset(&r->batch);
	if (rc == SAT_OK && r->facts.cursor > 0)
		rc = sat_page_decode(t, bytes, m->refs, &r->batch, &page, err);
	if (rc == SAT_OK)
		rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	rc = take_page(r,
		       m->refs     ? STAGE_REFS
		       : m->repair ? STAGE_REPAIR
				   : STAGE_ROWS,
		       page.row_count, m->scope, m->table_no, bytes, err);
	return sat_txn_end(r, rc, err);
}

static uint32_t replica_at(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
	       (uint32_t)b[2] << 8 | b[3];
}

/* Whose a replica is never changes, so nearly always all are known. */
static int author_is_known(struct sat_replica *r, uint32_t replica, bool *ret,
			   struct sat_err *err)
{
	struct sat_value arg = sat_value_int(replica);
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT 1 FROM _satchel_author WHERE replica = ?1",
			     &arg, 1, &st, err);

	*ret = rc == SAT_OK && st != NULL;
	if (*ret)
		sat_db_reset(st);
	return rc;
}

static int put_author(struct sat_replica *r, const uint8_t *bytes,
		      struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value args[2];
	struct sat_id user;

	memcpy(user.b, bytes + 4, sizeof user.b);
	sat_id_format(&user, text);
	args[0] = sat_value_int(replica_at(bytes));
	args[1] = sat_bind_str(text);
	return sat_db_do(&r->db,
			 "INSERT OR REPLACE INTO _satchel_author(replica, user)"
			 " VALUES(?1, ?2)",
			 args, 2, err);
}

static int take_authors(struct sat_replica *r, struct sat_slice all,
			struct sat_err *err)
{
	bool known = true;
	int rc = SAT_OK;

	if (all.len % SAT_AUTHOR_BYTES != 0)
		return sat_err_set(err, SAT_E_PROTO, 0, "replica_stage",
				   "half an author");
	for (size_t i = 0; rc == SAT_OK && known && i < all.len;
	     i += SAT_AUTHOR_BYTES)
		rc = author_is_known(r, replica_at(all.ptr + i), &known, err);
	if (rc != SAT_OK || known)
		return rc;
	rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	for (size_t i = 0; rc == SAT_OK && i < all.len; i += SAT_AUTHOR_BYTES)
		rc = put_author(r, all.ptr + i, err);
	return sat_txn_end(r, rc, err);
}

int sat_replica_stage_rows(struct sat_replica *r, const struct sat_msg_rows *m,
			   struct sat_err *err)
{
	bool whole = false;
	int rc = take_authors(r, m->authors, err);

	if (rc != SAT_OK)
		return rc;
	if (!r->part_open && !m->more)
		return stage_page(r, m, m->page, err);
	rc = join_part(r, m, &whole, err);
	if (rc == SAT_OK && whole)
		rc = stage_page(r, m, sat_buf_peek(&r->part), err);
	if (rc != SAT_OK || whole)
		forget_part(r);
	return rc;
}

int sat_replica_stage_evict(struct sat_replica *r,
			    const struct sat_msg_evict *m, struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_slice ids = { (const uint8_t *)m->ids,
				 (size_t)m->id_count * sizeof *m->ids };
	int rc = find_table(r, m->table_no, &t, err);

	if (rc == SAT_OK)
		rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	rc = take_page(r, STAGE_EVICT, m->id_count, m->scope, m->table_no, ids,
		       err);
	return sat_txn_end(r, rc, err);
}

int sat_stage_drop(struct sat_replica *r, struct sat_err *err)
{
	memset(r->facts.mark, 0, sizeof r->facts.mark);
	return sat_db_do(&r->db, "DELETE FROM _satchel_stage", NULL, 0, err);
}

int sat_replica_stage_reset(struct sat_replica *r, bool keep,
			    struct sat_err *err)
{
	int64_t staged = 0;
	int rc;

	forget_part(r);
	if (keep)
		return SAT_OK;
	rc = sat_db_int(&r->db,
			"SELECT EXISTS(SELECT 1 FROM _satchel_stage) OR"
			" EXISTS(SELECT 1 FROM _satchel_kv WHERE k = 'mark')",
			0, &staged, err);
	if (rc != SAT_OK || staged == 0)
		return rc;
	rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	return sat_txn_end(r, sat_stage_drop(r, err), err);
}

int sat_replica_mark(struct sat_replica *r, const struct sat_msg_mark *m,
		     struct sat_err *err)
{
	int rc;

	if (m->at.len >= sizeof r->facts.mark)
		return sat_err_set(err, SAT_E_PROTO, 0, "replica_mark",
				   "a mark is too long");
	rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	memset(r->facts.mark, 0, sizeof r->facts.mark);
	r->facts.mark[0] = (uint8_t)m->at.len;
	if (m->at.len > 0)
		memcpy(r->facts.mark + 1, m->at.ptr, m->at.len);
	return sat_txn_end(r, SAT_OK, err);
}

/* ---- checkpoint ---------------------------------------------------------- */

/* Pages in the order in which they came, until so many rows are applied; those
 * are staged no longer. *ret_end: that was all. */
static int apply_staged(struct sat_replica *r, uint64_t upto, int64_t limit,
			bool *ret_end, struct sat_err *err)
{
	struct sat_value last = sat_value_int(0);
	struct sat_slice bytes;
	sqlite3_stmt *st;
	int64_t kind, rows = 0;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT n, kind, scope, t, page FROM"
			     " _satchel_stage ORDER BY n",
			     &st, err);

	while (rc == SAT_OK && rows < limit) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			break;
		sat_arena_reset(&r->batch);
		last.i = sqlite3_column_int64(st, 0);
		kind = sqlite3_column_int64(st, 1);
		rows += kind >> KIND_BITS;
		if (sat_column_copy(&r->batch, st, 4, &bytes) != SAT_OK) {
			rc = sat_err_set(err, SAT_E_NOMEM, 0,
					 "replica_checkpoint", "out of memory");
			break;
		}
		rc = apply_page(
			r, (enum stage_kind)(kind & ((1 << KIND_BITS) - 1)),
			(uint32_t)sqlite3_column_int64(st, 2),
			(uint32_t)sqlite3_column_int64(st, 3), bytes, upto,
			err);
	}
	*ret_end = !row;
	if (rc != SAT_OK || row)
		sat_db_reset(st);
	return rc != SAT_OK ? rc
			    : sat_db_do(&r->db,
					"DELETE FROM _satchel_stage"
					" WHERE n <= ?1",
					&last, 1, err);
}

/* One step in a transaction of its own. */
static int apply_step(struct sat_replica *r, uint64_t upto, bool *ret_end,
		      struct sat_err *err)
{
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_harvest(r, false, err);
	r->facts.catching = 1;
	if (rc == SAT_OK)
		rc = apply_staged(r, upto, r->step_rows, ret_end, err);
	return sat_txn_end(r, rc, err);
}

/* What is more than one transaction may hold goes ahead of the checkpoint in
 * steps. Until that is there the replica is filling again: rows are newer than
 * the cursor, and another connection sends the rest, or all of it anew. Not a
 * rebase: the rows that it does not bring are found by what it does. */
static int apply_ahead(struct sat_replica *r, uint64_t upto,
		       struct sat_err *err)
{
	static const struct timespec nap = { .tv_nsec =
						     STEP_NAP_MS * 1000000L };
	char sql[80];
	int64_t staged = 0;
	bool end = false;
	int rc;

	(void)snprintf(sql, sizeof sql,
		       "SELECT sum(kind >> %d) FROM _satchel_stage", KIND_BITS);
	rc = sat_db_int(&r->db, sql, 0, &staged, err);
	if (rc != SAT_OK || staged <= r->atomic_rows ||
	    r->facts.refresh == SAT_REFRESH_REBASE)
		return rc;
	while (rc == SAT_OK && !end) {
		rc = apply_step(r, upto, &end, err);
		if (rc == SAT_OK && !end)
			(void)nanosleep(&nap, NULL);
	}
	return rc;
}

/* After a pull from the very start: what was not sent again is not there any
 * more. Such rows were marked with seq 0 before it began. */
static int sweep_unsent(struct sat_replica *r, struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_slice packed;
	struct sat_id id;
	sqlite3_stmt *st;
	uint32_t *scopes, count;
	bool row = true;
	int rc = sat_db_stmt(&r->db,
			     "SELECT t, id, scopes FROM _satchel_row"
			     " WHERE seq = 0 ORDER BY +t, +id",
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
		rc = sat_column_copy(&r->row, st, 2, &packed);
		if (rc == SAT_OK)
			rc = sat_numbers_unpack(&r->row, packed, &scopes,
						&count);
		if (rc == SAT_E_CORRUPT) { /* it goes, whatever they were */
			count = 0;
			rc = SAT_OK;
		}
		if (rc != SAT_OK) {
			rc = sat_err_set(err, rc, 0, "replica_sweep",
					 "the scopes of a row are damaged");
			break;
		}
		if (count == 0)
			rc = sat_row_leave(r, t, &id, 0, err);
		for (uint32_t i = 0; rc == SAT_OK && i < count; i++)
			rc = sat_row_leave(r, t, &id, scopes[i], err);
	}
	sat_db_reset(st);
	return rc;
}

/* The checkpoint was taken behind every verdict that is stored here. Where an
 * accepted change has not met its state in it, the row is in no scope of
 * ours: its author wrote it without knowing that its parent had moved. */
static int drop_answered(struct sat_replica *r, struct sat_err *err)
{
	static const char find[] =
		"SELECT d.t, d.id FROM _satchel_dirty d JOIN _satchel_outbox o"
		" ON o.seq = d.seq WHERE o.state = 1 LIMIT 1";
	struct sat_value args[2];
	const struct sat_table *t;
	struct sat_id id;
	sqlite3_stmt *st;
	int rc;

	for (;;) {
		rc = sat_db_find(&r->db, find, NULL, 0, &st, err);
		if (rc != SAT_OK || st == NULL)
			return rc;
		args[0] = sat_value_int(sqlite3_column_int64(st, 0));
		t = sat_catalogue_table_no(r->catalogue,
					   (uint32_t)(args[0].i & UINT16_MAX));
		if (!sat_db_column_id(st, 1, &id))
			rc = SAT_E_CORRUPT;
		sat_db_reset(st);
		if (rc != SAT_OK || t == NULL)
			return sat_err_set(err, SAT_E_CORRUPT, 0,
					   "replica_checkpoint",
					   "a stored change is damaged");
		args[1] = sat_value_id(&id);
		rc = sat_db_do(&r->db,
			       "DELETE FROM _satchel_dirty WHERE t = ?1 AND"
			       " id = ?2 AND (SELECT o.state FROM"
			       " _satchel_outbox o WHERE"
			       " o.seq = _satchel_dirty.seq) = 1",
			       args, 2, err);
		if (rc == SAT_OK)
			rc = sat_row_settle(r, t, &id, err);
		if (rc != SAT_OK)
			return rc;
	}
}

/* After a start all rows are hashed once. Mostly nothing is wrong: that is
 * found without the write lock. Else, or when somebody writes meanwhile, it is
 * done again with it, below. */
static int count_ahead(struct sat_replica *r, struct sat_err *err)
{
	int rc;

	if (r->counted || r->facts.stale != 0)
		return SAT_OK;
	rc = sat_txn_begin(r, err);
	if (rc == SAT_OK)
		rc = sat_txn_end(r, sat_harvest(r, false, err), err);
	return rc == SAT_OK ? sat_digest_agrees(r, &r->counted, err) : rc;
}

/* A row in a scope that is not ours would stay when it leaves those that are.
 */
static int leave_ungranted(struct sat_replica *r, struct sat_err *err)
{
	uint32_t *scopes, count;
	int rc;

	sat_arena_reset(&r->batch);
	rc = sat_scopes_load(r, &r->batch, &scopes, &count, err);
	return rc == SAT_OK ? sat_scopes_drop(r, scopes, count, err) : rc;
}

static bool agrees(const struct sat_replica *r,
		   const struct sat_msg_checkpoint *c)
{
	return sat_hash_equal(sat_hash_unpack(r->facts.digest), c->digest) &&
	       (uint64_t)r->facts.members == c->rows;
}

static int compare_digest(struct sat_replica *r,
			  const struct sat_msg_checkpoint *c, bool *ret_ok,
			  struct sat_err *err)
{
	uint64_t rows, bad = 0;
	int rc = SAT_OK;

	/* What happened to the file while nobody looked shows here. */
	if (!r->counted)
		rc = leave_ungranted(r, err);
	if (rc == SAT_OK && (r->facts.stale != 0 || !r->counted)) {
		rc = sat_digest_rebuild(r, &rows, &bad, err);
		r->counted = r->recounted = true;
	}
	if (rc == SAT_OK && !agrees(r, c) && !r->recounted) {
		/* before anybody is asked: it may be our sum that is wrong */
		rc = sat_digest_rebuild(r, &rows, &bad, err);
		r->recounted = true;
	}
	*ret_ok = rc == SAT_OK && agrees(r, c);
	if (*ret_ok && bad > 0)
		rc = sat_damage_forgive(r, err);
	if (rc != SAT_OK)
		return rc;
	if (*ret_ok) {
		r->facts.repaired += (int64_t)sat_narrow_mended(r);
		r->recounted = false;
	}
	r->last_digest = c->digest;
	r->last_rows = c->rows;
	r->facts.digest_state = *ret_ok ? 1 : -1;
	return SAT_OK;
}

static int checkpoint(struct sat_replica *r, const struct sat_msg_checkpoint *c,
		      bool *ret_ok, struct sat_err *err)
{
	bool rebase = r->facts.refresh == SAT_REFRESH_REBASE;
	bool end;
	int rc = sat_harvest(r, false, err);

	/* what is staged is everything; the rest is swept below */
	if (rc == SAT_OK && rebase)
		rc = sat_db_do(&r->db, "UPDATE _satchel_row SET seq = 0", NULL,
			       0, err);
	if (rc == SAT_OK)
		rc = apply_staged(r, c->cursor, INT64_MAX, &end, err);
	if (rc == SAT_OK)
		rc = sat_stage_drop(r, err);
	if (rc != SAT_OK)
		return rc;
	r->facts.catching = 0;
	/* A pull that did not start over does not count as one that did. */
	if (r->facts.refresh == SAT_REFRESH_ASKED) {
		*ret_ok = false;
		return SAT_OK;
	}
	if (rebase || r->facts.refresh == SAT_REFRESH_PULLING) {
		rc = sweep_unsent(r, err);
		r->facts.refresh = SAT_REFRESH_NONE;
	}
	if (rc == SAT_OK)
		rc = drop_answered(r, err);
	if (rc == SAT_OK)
		rc = sat_images_collect(r, c->floor, err);
	r->facts.cursor = (int64_t)c->cursor;
	r->facts.grants_pulled = r->facts.grants;
	r->facts.checkpoint_ms = c->server_ms;
	return rc == SAT_OK ? compare_digest(r, c, ret_ok, err) : rc;
}

int sat_replica_checkpoint(struct sat_replica *r,
			   const struct sat_msg_checkpoint *c,
			   int64_t now_raw_ms, uint64_t *ret_harvested,
			   bool *ret_digest_ok, struct sat_err *err)
{
	bool ok = false;
	int64_t before;
	int rc;

	(void)now_raw_ms; /* captured rows carry their own times */
	if (c->cursor > INT64_MAX || c->floor > c->cursor)
		return sat_err_set(err, SAT_E_PROTO, 0, "replica_checkpoint",
				   "a cursor beyond all numbers");
	rc = sat_facts_load(r, err);
	before = r->facts.seq;
	if (rc == SAT_OK)
		rc = count_ahead(r, err);
	if (rc == SAT_OK)
		rc = apply_ahead(r, c->cursor, err);
	if (rc == SAT_OK)
		rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	rc = sat_txn_end(r, checkpoint(r, c, &ok, err), err);
	if (rc != SAT_OK)
		return rc;
	*ret_harvested = r->facts.seq > before ? (uint64_t)r->facts.seq : 0;
	*ret_digest_ok = ok;
	return SAT_OK;
}
