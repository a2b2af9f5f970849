/* Changesets, verdicts, rejected rows: what every replica has told us. */
#include "server/store/sqlite_store.h"

#include <string.h>

#include <sqlite3.h>

enum { SEQ_BITS = 31 };

/* A dot as one integer key. A replica that makes a changeset every second
 * reaches the end in 68 years. */
static int dot_key(struct sat_dot dot, struct sat_value *ret,
		   struct sat_err *err)
{
	if (dot.seq >> SEQ_BITS != 0)
		return sat_err_set(err, SAT_E_LIMIT, 0, "store_dot",
				   "replica %u has used up its numbers",
				   dot.replica);
	*ret = sat_value_int(
		(int64_t)((uint64_t)dot.replica << SEQ_BITS | dot.seq));
	return SAT_OK;
}

int sat_store_changeset_put(struct sat_store *s, struct sat_dot dot,
			    const uint8_t hash[16], struct sat_slice bytes,
			    struct sat_err *err)
{
	struct sat_value v[3];
	int rc = dot_key(dot, &v[0], err);

	if (rc != SAT_OK)
		return rc;
	v[1] = sat_value_blob((struct sat_slice){ hash, 16 });
	v[2] = sat_value_blob(bytes);
	return sat_store_do(s,
			    "INSERT INTO _changeset(dot, hash, bytes)"
			    " VALUES(?1, ?2, ?3)",
			    v, 3, err);
}

int sat_store_changeset_get(struct sat_store *s, struct sat_dot dot,
			    struct sat_buf *out, uint8_t ret_hash[16],
			    struct sat_err *err)
{
	struct sat_value v;
	sqlite3_stmt *st;
	int rc = dot_key(dot, &v, err);

	if (rc == SAT_OK)
		rc = sat_db_find(&s->db,
				 "SELECT bytes, hash FROM _changeset"
				 " WHERE dot = ?1",
				 &v, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_changeset",
				   "no changeset %llu of replica %u",
				   (unsigned long long)dot.seq, dot.replica);
	v = sat_db_column(st, 0);
	rc = v.kind != SAT_BLOB ? SAT_E_CORRUPT
				: sat_buf_append(out, v.s.ptr, v.s.len);
	if (rc != SAT_OK)
		(void)sat_err_set(err, rc, 0, "store_changeset",
				  "changeset %llu of replica %u: %s",
				  (unsigned long long)dot.seq, dot.replica,
				  rc == SAT_E_CORRUPT ? "damaged"
						      : "too large");
	else
		sat_store_bytes(st, 1, ret_hash, 16);
	sat_db_reset(st);
	return rc;
}

int sat_store_verdict_put(struct sat_store *s, struct sat_dot dot,
			  struct sat_slice bytes, struct sat_err *err)
{
	struct sat_value v[2];
	int rc = dot_key(dot, &v[0], err);

	if (rc != SAT_OK)
		return rc;
	v[1] = sat_value_blob(bytes);
	/* A parked changeset gets its final verdict later. */
	return sat_store_do(s,
			    "INSERT INTO _verdict(dot, bytes) VALUES(?1, ?2)"
			    " ON CONFLICT(dot)"
			    " DO UPDATE SET bytes = excluded.bytes",
			    v, 2, err);
}

/* Keys of the replica's dots after `after`, and the last it may ever have. */
static void key_range(uint32_t replica, uint64_t after, struct sat_value ret[2])
{
	const uint64_t last = (UINT64_C(1) << SEQ_BITS) - 1;
	uint64_t base = (uint64_t)replica << SEQ_BITS;

	ret[0] = sat_value_int((int64_t)(base | (after < last ? after : last)));
	ret[1] = sat_value_int((int64_t)(base | last));
}

int sat_store_verdicts(struct sat_store *s, uint32_t replica, uint64_t after,
		       sat_verdict_cb cb, void *arg, struct sat_err *err)
{
	struct sat_value v[2], bytes;
	sqlite3_stmt *st;
	bool more = true;
	int rc;

	key_range(replica, after, v);
	rc = sat_db_find(&s->db,
			 "SELECT dot, bytes FROM _verdict"
			 " WHERE dot > ?1 AND dot <= ?2 ORDER BY dot",
			 v, 2, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	while (rc == SAT_OK && more) {
		uint64_t key = (uint64_t)sqlite3_column_int64(st, 0);

		bytes = sat_db_column(st, 1);
		rc = cb(arg, key & ((UINT64_C(1) << SEQ_BITS) - 1),
			bytes.kind == SAT_BLOB ? bytes.s
					       : (struct sat_slice){ NULL, 0 });
		if (rc == SAT_OK)
			rc = sat_db_step(&s->db, st, &more, err);
	}
	sat_db_reset(st);
	return rc;
}

int sat_store_verdicts_drop(struct sat_store *s, uint32_t replica,
			    uint64_t upto, struct sat_err *err)
{
	struct sat_value none[2], v[2];

	key_range(replica, 0, none);
	key_range(replica, upto, v);
	v[1] = v[0];
	v[0] = none[0];
	return sat_store_do(s,
			    "DELETE FROM _verdict"
			    " WHERE dot > ?1 AND dot <= ?2",
			    v, 2, err);
}

int sat_store_rejected_put(struct sat_store *s, struct sat_dot dot,
			   const struct sat_table *t, const struct sat_id *id,
			   struct sat_err *err)
{
	struct sat_value v[4] = {
		sat_value_int(dot.replica),
		sat_value_int(t->no),
		sat_value_id(id),
		sat_value_int((int64_t)dot.seq),
	};

	/* Of several tries the last one is what later changesets depend on. */
	return sat_store_do(s,
			    "INSERT INTO _rejected(replica, tbl, id, seq)"
			    " VALUES(?1, ?2, ?3, ?4)"
			    " ON CONFLICT(replica, tbl, id)"
			    " DO UPDATE SET seq = excluded.seq",
			    v, 4, err);
}

int sat_store_rejected_row(struct sat_store *s, uint32_t replica,
			   const struct sat_table *t, const struct sat_id *id,
			   struct sat_dot *ret_dot, struct sat_err *err)
{
	struct sat_value v[3] = { sat_value_int(replica), sat_value_int(t->no),
				  sat_value_id(id) };
	sqlite3_stmt *st;
	int rc;

	rc = sat_db_find(&s->db,
			 "SELECT seq FROM _rejected"
			 " WHERE replica = ?1 AND tbl = ?2 AND id = ?3",
			 v, 3, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_rejected",
				   "not rejected");
	ret_dot->replica = replica;
	ret_dot->seq = (uint64_t)sqlite3_column_int64(st, 0);
	sat_db_reset(st);
	return SAT_OK;
}
