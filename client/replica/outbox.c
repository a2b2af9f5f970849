/* Changesets that were formed here: their bytes, their chain, and the deltas
 * of each row's overlay. Bytes are never encoded twice. */
#include "client/replica/internal.h"

#include <string.h>

/* ---- putting ------------------------------------------------------------- */

static struct sat_changeset head_of(const struct sat_replica *r, uint64_t seq)
{
	return (struct sat_changeset){
		.dot = { (uint32_t)r->facts.replica, seq },
		.catalogue = r->catalogue->version,
		.marker = { (uint64_t)r->facts.epoch, (uint64_t)r->facts.cursor,
			    (uint32_t)r->facts.grants },
	};
}

static int put_bytes(struct sat_replica *r, const struct sat_changeset *cs,
		     struct sat_slice bytes, uint8_t hash[16],
		     struct sat_err *err)
{
	struct sat_value args[6];

	sat_hash_pack(sat_hash_bytes(bytes), hash);
	args[0] = sat_bind_u64(cs->dot.seq);
	args[1] = sat_value_blob((struct sat_slice){ hash, 16 });
	args[2] = sat_value_int(cs->delta_count);
	args[3] = sat_value_int(cs->flags);
	args[4] = sat_value_int(cs->deltas[cs->delta_count - 1].at_ms);
	args[5] = sat_value_blob(bytes);
	return sat_db_do(&r->db,
			 "INSERT INTO _satchel_outbox(seq, hash, rows, state,"
			 " flags, ms, bytes)"
			 " VALUES(?1, ?2, ?3, 0, ?4, ?5, ?6)",
			 args, 6, err);
}

static int put_dirty(struct sat_replica *r, struct sat_delta *d, uint32_t i,
		     uint64_t seq, struct sat_buf *scratch, struct sat_err *err)
{
	struct sat_dot dot = { (uint32_t)r->facts.replica, seq };
	struct sat_value args[5];
	int rc;

	sat_buf_clear(scratch);
	rc = sat_delta_pack(d, dot, scratch);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "replica_outbox",
				   "a change cannot be encoded");
	args[0] = sat_value_int(d->table->no);
	args[1] = sat_value_id(&d->id);
	args[2] = sat_bind_u64(seq);
	args[3] = sat_value_int(i);
	args[4] = sat_value_blob(sat_buf_peek(scratch));
	return sat_db_do(&r->db,
			 "INSERT OR REPLACE INTO _satchel_dirty(t, id, seq, i,"
			 " delta) VALUES(?1, ?2, ?3, ?4, ?5)",
			 args, 5, err);
}

int sat_outbox_lay(struct sat_replica *r, uint64_t seq,
		   struct sat_delta *deltas, uint32_t count,
		   struct sat_err *err)
{
	struct sat_buf scratch;
	int rc = SAT_OK;

	r->any_dirty = true;
	sat_buf_init(&scratch, SAT_CHANGESET_BYTES_MAX);
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++)
		rc = put_dirty(r, &deltas[i], i, seq, &scratch, err);
	sat_buf_fini(&scratch);
	return rc;
}

int sat_outbox_put(struct sat_replica *r, struct sat_delta *deltas,
		   uint32_t count, uint32_t flags, struct sat_err *err)
{
	struct sat_changeset cs = head_of(r, (uint64_t)r->facts.seq + 1);
	struct sat_buf bytes;
	uint8_t hash[16];
	int rc;

	cs.flags = flags;
	cs.deltas = deltas;
	cs.delta_count = count;
	memcpy(cs.prev_hash, r->facts.chain, sizeof cs.prev_hash);
	sat_buf_init(&bytes, SAT_CHANGESET_BYTES_MAX);
	rc = count > SAT_CHANGESET_DELTAS_MAX
		     ? SAT_E_LIMIT
		     : sat_changeset_encode(&cs, &bytes);
	if (rc != SAT_OK) {
		(void)sat_err_set(err, rc, 0, "replica_outbox",
				  "a changeset of %u rows cannot be encoded",
				  count);
		goto out;
	}
	rc = put_bytes(r, &cs, sat_buf_peek(&bytes), hash, err);
	if (rc == SAT_OK)
		rc = sat_outbox_lay(r, cs.dot.seq, deltas, count, err);
	if (rc != SAT_OK)
		goto out;
	memcpy(r->facts.chain, hash, sizeof hash);
	r->facts.seq++;
	r->facts.changes += count;
out:
	sat_buf_fini(&bytes);
	return rc;
}

int sat_outbox_count(struct sat_replica *r, struct sat_err *err)
{
	int rc = sat_db_int(&r->db,
			    "SELECT ifnull(sum(rows), 0) FROM _satchel_outbox",
			    0, &r->facts.changes, err);

	if (rc == SAT_OK)
		rc = sat_db_int(&r->db,
				"SELECT ifnull(sum(rows), 0) FROM"
				" _satchel_outbox WHERE state NOT IN (0, 3)",
				0, &r->facts.settled, err);
	if (rc == SAT_OK)
		rc = sat_db_int(&r->db,
				"SELECT ifnull(sum(rows), 0) FROM"
				" _satchel_outbox WHERE state IN (2, 4)",
				0, &r->facts.refused, err);
	return rc;
}

/* ---- reading ------------------------------------------------------------- */

static int find_entry(struct sat_replica *r, uint64_t seq, sqlite3_stmt **ret,
		      struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);
	int rc = sat_db_find(&r->db,
			     "SELECT hash, state FROM _satchel_outbox"
			     " WHERE seq = ?1",
			     &arg, 1, ret, err);

	if (rc == SAT_OK && *ret == NULL)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "replica_outbox",
				 "changeset %llu is not in the outbox",
				 (unsigned long long)seq);
	return rc;
}

/* The hash of a changeset that is not here any more: its successor names it,
 * and a successor that is a void one itself needs no name. */
static int lost_hash(struct sat_replica *r, uint64_t seq, uint8_t hash[16],
		     struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq + 1);
	struct sat_changeset head;
	struct sat_value bytes;
	sqlite3_stmt *st;
	int rc;

	memset(hash, 0, 16);
	if (seq == (uint64_t)r->facts.seq) {
		memcpy(hash, r->facts.chain, 16);
		return SAT_OK;
	}
	rc = sat_db_find(&r->db,
			 "SELECT bytes FROM _satchel_outbox WHERE seq = ?1",
			 &arg, 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	bytes = sat_db_column(st, 0);
	rc = sat_changeset_head(bytes.s, &head, err);
	if (rc == SAT_OK)
		memcpy(hash, head.prev_hash, 16);
	sat_db_reset(st);
	return rc == SAT_OK || rc == SAT_E_NOMEM ? rc : SAT_E_CORRUPT;
}

/* What goes out in place of a changeset that had no effect, or that was
 * dropped long ago: its number and its hash, so that the chain goes on. */
static int read_void(struct sat_replica *r, uint64_t seq,
		     const uint8_t own_hash[16], uint64_t offset, uint8_t *out,
		     size_t cap, size_t *ret_len, uint64_t *ret_total,
		     uint8_t ret_hash[16], struct sat_err *err)
{
	struct sat_changeset cs = head_of(r, seq);
	struct sat_slice bytes;
	struct sat_buf buf;
	int rc;

	cs.flags = SAT_CHANGESET_VOID;
	memcpy(cs.prev_hash, own_hash, sizeof cs.prev_hash);
	sat_buf_init(&buf, 4096);
	rc = sat_changeset_encode(&cs, &buf);
	if (rc != SAT_OK) {
		(void)sat_err_set(err, rc, 0, "replica_outbox",
				  "a changeset cannot be encoded");
		goto out;
	}
	bytes = sat_buf_peek(&buf);
	sat_hash_pack(sat_hash_bytes(bytes), ret_hash);
	*ret_total = bytes.len;
	*ret_len = 0;
	if (offset < bytes.len) {
		*ret_len = bytes.len - (size_t)offset < cap
				   ? bytes.len - (size_t)offset
				   : cap;
		memcpy(out, bytes.ptr + offset, *ret_len);
	}
out:
	sat_buf_fini(&buf);
	return rc;
}

int sat_replica_outbox_read(struct sat_replica *r, uint64_t seq,
			    uint64_t offset, uint8_t *out, size_t cap,
			    size_t *ret_len, uint64_t *ret_total,
			    uint8_t ret_hash[16], struct sat_err *err)
{
	sqlite3_blob *blob = NULL;
	sqlite3_stmt *st;
	uint64_t total;
	size_t n = 0;
	struct sat_value hash;
	uint8_t own[16];
	bool empty;
	int code, rc = find_entry(r, seq, &st, err);

	if (rc == SAT_E_NOTFOUND && seq > 0 && seq <= (uint64_t)r->facts.seq) {
		rc = lost_hash(r, seq, own, err);
		return rc != SAT_OK
			       ? rc
			       : read_void(r, seq, own, offset, out, cap,
					   ret_len, ret_total, ret_hash, err);
	}
	if (rc != SAT_OK)
		return rc;
	hash = sat_db_column(st, 0);
	empty = sqlite3_column_int(st, 1) == SAT_OUTBOX_VOID;
	if (hash.kind == SAT_BLOB && hash.s.len == 16)
		memcpy(ret_hash, hash.s.ptr, 16);
	else
		rc = sat_err_set(err, SAT_E_CORRUPT, 0, "replica_outbox",
				 "a changeset's hash is damaged");
	sat_db_reset(st);
	if (rc != SAT_OK)
		return rc;
	if (empty) {
		memcpy(own, ret_hash, sizeof own);
		return read_void(r, seq, own, offset, out, cap, ret_len,
				 ret_total, ret_hash, err);
	}
	code = sqlite3_blob_open(r->db.handle, "main", "_satchel_outbox",
				 "bytes", (sqlite3_int64)seq, 0, &blob);
	if (code != SQLITE_OK)
		return sat_db_fail(&r->db, code, "replica_outbox", err);
	total = (uint64_t)sqlite3_blob_bytes(blob);
	if (offset < total) {
		n = total - offset < cap ? (size_t)(total - offset) : cap;
		code = sqlite3_blob_read(blob, out, (int)n, (int)offset);
	}
	(void)sqlite3_blob_close(blob);
	if (code != SQLITE_OK)
		return sat_db_fail(&r->db, code, "replica_outbox", err);
	*ret_len = n;
	*ret_total = total;
	return SAT_OK;
}

int sat_outbox_decode(struct sat_replica *r, uint64_t seq,
		      struct sat_changeset *ret, struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);
	struct sat_slice bytes = { NULL, 0 };
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT bytes FROM _satchel_outbox"
			     " WHERE seq = ?1",
			     &arg, 1, &st, err);

	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "replica_outbox",
				   "changeset %llu is not in the outbox",
				   (unsigned long long)seq);
	rc = sat_column_copy(&r->batch, st, 0, &bytes);
	sat_db_reset(st);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "replica_outbox",
				   "out of memory");
	rc = sat_changeset_decode(r->catalogue, bytes, &r->batch, ret, NULL,
				  err);
	return rc == SAT_OK || rc == SAT_E_NOMEM ? rc : SAT_E_CORRUPT;
}

/* ---- hello --------------------------------------------------------------- */

/* A HELLO with cursor 0 goes out: the pull it starts is a whole one. */
static int note_pull(struct sat_replica *r, struct sat_err *err)
{
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	if (r->facts.refresh == SAT_REFRESH_ASKED)
		r->facts.refresh = SAT_REFRESH_PULLING;
	return sat_txn_end(r, SAT_OK, err);
}

/* A parked changeset has no final verdict: the last seq that has one, and all
 * before it. */
static int decided(struct sat_replica *r, uint64_t *ret, struct sat_err *err)
{
	sqlite3_stmt *st;
	int rc = sat_db_find(&r->db,
			     "SELECT min(seq) FROM _satchel_outbox"
			     " WHERE state = 3",
			     NULL, 0, &st, err);
	uint64_t parked;

	*ret = (uint64_t)r->facts.verdict_seq;
	if (rc != SAT_OK || st == NULL)
		return rc;
	parked = (uint64_t)sqlite3_column_int64(st, 0);
	if (parked > 0 && parked - 1 < *ret)
		*ret = parked - 1;
	sat_db_reset(st);
	return SAT_OK;
}

int sat_replica_hello(struct sat_replica *r, int64_t now_raw_ms,
		      struct sat_msg_hello *ret, struct sat_err *err)
{
	uint64_t known = 0;
	int rc = sat_facts_load(r, err);

	if (rc == SAT_OK && r->facts.refresh == SAT_REFRESH_ASKED)
		rc = note_pull(r, err);
	if (rc == SAT_OK)
		rc = decided(r, &known, err);
	if (rc != SAT_OK)
		return rc;
	*ret = (struct sat_msg_hello){
		.version_min = SAT_PROTOCOL_VERSION,
		.version_max = SAT_PROTOCOL_VERSION,
		.replica = (uint32_t)r->facts.replica,
		.epoch = (uint64_t)r->facts.epoch,
		.catalogue = r->catalogue->version,
		.cursor = (uint64_t)r->facts.cursor,
		.verdict_seq = known,
		.last_seq = (uint64_t)r->facts.seq,
		.raw_ms = now_raw_ms,
		.steps = r->steps,
		.step_count = r->step_count,
		.grants = (uint32_t)r->facts.grants_pulled,
		.software = sat_slice_str("satcheld " SAT_VERSION),
		.mark = { r->facts.mark + 1, r->facts.mark[0] },
	};
	memcpy(ret->last_hash, r->facts.chain, sizeof ret->last_hash);
	memcpy(ret->ratchet, r->facts.ratchet, sizeof ret->ratchet);
	return SAT_OK;
}
