/* Server state and overlay of one row. The base is replaced, never merged;
 * the overlay is the pending deltas applied to it by the same function that
 * the server uses, so what is shown now is what the echo will say. */
#include "client/replica/apply.h"

#include <string.h>

static int no_memory(const char *op, struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, op, "out of memory");
}

struct sat_clock_map sat_replica_clock(const struct sat_replica *r)
{
	return (struct sat_clock_map){ r->facts.offset_ms, r->steps,
				       r->step_count };
}

bool *sat_readable(struct sat_replica *r, const struct sat_table *t)
{
	bool *readable =
		sat_arena_array(&r->row, t->column_count, sizeof *readable);

	for (uint16_t i = 0; readable != NULL && i < t->column_count; i++)
		readable[i] = (t->columns[i].read &
			       SAT_ROLE_BIT((unsigned)r->facts.role)) != 0;
	return readable;
}

static void id_args(const struct sat_table *t, const struct sat_id *id,
		    struct sat_value args[2])
{
	args[0] = sat_value_int(t->no);
	args[1] = sat_value_id(id);
}

/* ---- the values under the overlay ---------------------------------------- */

int sat_base_write(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const struct sat_value *values,
		   struct sat_err *err)
{
	struct sat_value args[3];
	struct sat_buf out;
	int rc;

	r->any_base = true;
	sat_buf_init(&out, SAT_REPLICA_SCRATCH_MAX);
	rc = sat_values_pack(t, values, &out);
	if (rc != SAT_OK) {
		(void)sat_err_set(err, rc, 0, "replica_base",
				  "a row is too large to keep");
		goto out;
	}
	id_args(t, id, args);
	args[2] = sat_value_blob(sat_buf_peek(&out));
	rc = sat_db_do(&r->db,
		       "INSERT INTO _satchel_base(t, id, data)"
		       " VALUES(?1, ?2, ?3) ON CONFLICT(t, id)"
		       " DO UPDATE SET data = excluded.data",
		       args, 3, err);
out:
	sat_buf_fini(&out);
	return rc;
}

int sat_base_remove(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id, struct sat_err *err)
{
	struct sat_value args[2];

	id_args(t, id, args);
	return sat_db_do(&r->db,
			 "DELETE FROM _satchel_base WHERE t = ?1 AND id = ?2",
			 args, 2, err);
}

/* A state that cannot be read must not stop what is done to its row: it counts
 * as empty, and the next checkpoint hashes everything, finds it and fetches
 * it. */
static void note_damaged(struct sat_replica *r, struct sat_held *held)
{
	held->damaged = true;
	held->values = NULL;
	r->facts.stale = 1;
}

static int base_read(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id, struct sat_held *held,
		     struct sat_err *err)
{
	struct sat_slice bytes;
	struct sat_value args[2];
	sqlite3_stmt *st;
	int rc;

	if (!r->any_base)
		return SAT_OK;
	id_args(t, id, args);
	rc = sat_db_find(&r->db,
			 "SELECT data FROM _satchel_base"
			 " WHERE t = ?1 AND id = ?2",
			 args, 2, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	rc = sat_column_copy(&r->row, st, 0, &bytes);
	sat_db_reset(st);
	if (rc == SAT_OK)
		rc = sat_values_unpack(&r->row, t, bytes, &held->values);
	held->has_base = true;
	if (rc == SAT_E_CORRUPT)
		note_damaged(r, held);
	else if (rc != SAT_OK)
		return no_memory("replica_base", err);
	return SAT_OK;
}

/* ---- loading ------------------------------------------------------------- */

int sat_held_any(struct sat_replica *r, const struct sat_table *t,
		 const struct sat_id *id, bool *ret_known, bool *ret_dirty,
		 struct sat_err *err)
{
	static const char both[] =
		"SELECT EXISTS(SELECT 1 FROM _satchel_row WHERE"
		" t = ?1 AND id = ?2), EXISTS(SELECT 1 FROM"
		" _satchel_dirty WHERE t = ?1 AND id = ?2)";
	static const char state[] =
		"SELECT EXISTS(SELECT 1 FROM _satchel_row WHERE"
		" t = ?1 AND id = ?2), 0";
	struct sat_value args[2];
	sqlite3_stmt *st;
	int rc;

	id_args(t, id, args);
	rc = sat_db_find(&r->db, r->any_dirty ? both : state, args, 2, &st,
			 err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	*ret_known = sqlite3_column_int(st, 0) != 0;
	*ret_dirty = sqlite3_column_int(st, 1) != 0;
	sat_db_reset(st);
	return SAT_OK;
}

static int state_read(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, struct sat_held *held,
		      struct sat_err *err)
{
	struct sat_value args[2];
	sqlite3_stmt *st;
	int rc;

	id_args(t, id, args);
	rc = sat_db_find(&r->db,
			 "SELECT seq, h, meta, scopes FROM _satchel_row"
			 " WHERE t = ?1 AND id = ?2",
			 args, 2, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	held->known = true;
	held->seq = (uint64_t)sqlite3_column_int64(st, 0);
	held->low = sqlite3_column_int64(st, 1);
	rc = sat_column_copy(&r->row, st, 2, &held->meta);
	if (rc == SAT_OK)
		rc = sat_column_copy(&r->row, st, 3, &held->scopes);
	sat_db_reset(st);
	return rc == SAT_OK ? rc : no_memory("replica_row", err);
}

/* A tombstone comes without values, and the last image need not fit its
 * metadata: then only the vectors count. */
static int decode_base(struct sat_replica *r, const struct sat_table *t,
		       struct sat_held *held, struct sat_err *err)
{
	struct sat_vv vv, dv;
	int rc = sat_row_init(&r->row, t, &held->base);

	if (rc != SAT_OK || !held->known)
		return rc == SAT_OK ? rc : no_memory("replica_row", err);
	rc = held->damaged ? SAT_E_CORRUPT
			   : sat_meta_decode(&r->row, t, held->meta,
					     held->values, &held->base);
	if (rc != SAT_E_CORRUPT)
		return rc == SAT_OK ? rc : no_memory("replica_row", err);
	if (sat_row_init(&r->row, t, &held->base) != SAT_OK)
		return no_memory("replica_row", err);
	rc = sat_meta_vectors(&r->row, held->meta, &vv, &dv);
	if (rc == SAT_E_NOMEM)
		return no_memory("replica_row", err);
	if (rc != SAT_OK || !sat_vv_leq(vv, dv)) {
		held->damaged = true;
		r->facts.stale = 1;
	}
	if (rc == SAT_OK) {
		held->base.vv = vv;
		held->base.dv = dv;
	}
	return SAT_OK;
}

int sat_delta_decode(struct sat_replica *r, struct sat_slice bytes,
		     struct sat_delta *ret, struct sat_dot *ret_dot,
		     struct sat_err *err)
{
	struct sat_changeset one = { .delta_count = 0 };
	int rc;

	if (sat_delta_packed(bytes)) {
		rc = sat_delta_unpack(&r->row, r->catalogue, bytes, ret,
				      ret_dot);
	} else { /* from a program before that form */
		rc = sat_changeset_decode(r->catalogue, bytes, &r->row, &one,
					  NULL, err);
		if (rc == SAT_OK && one.delta_count == 1) {
			*ret = one.deltas[0];
			*ret_dot = one.dot;
			return SAT_OK;
		}
		rc = rc == SAT_E_NOMEM ? rc : SAT_E_CORRUPT;
	}
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "replica_delta",
					  "a stored change is damaged");
}

/* After a restore the server may know less than the author did; the overlay
 * must not fail for that. */
static int cut_context(struct sat_arena *a, const struct sat_row *row,
		       struct sat_dot dot, struct sat_vv *context)
{
	struct sat_dot *dots = sat_arena_array(a, context->count, sizeof *dots);
	uint32_t n = 0;

	if (dots == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < context->count; i++) {
		struct sat_dot seen = context->dots[i];
		uint64_t most = seen.replica == dot.replica
					? dot.seq - 1
					: sat_vv_get(row->vv, seen.replica);

		if (seen.seq > most)
			seen.seq = most;
		if (seen.seq > 0)
			dots[n++] = seen;
	}
	*context = (struct sat_vv){ dots, n };
	return SAT_OK;
}

int sat_overlay_apply(struct sat_arena *a, struct sat_row *row,
		      struct sat_delta *d, struct sat_dot dot,
		      const struct sat_clock_map *clock)
{
	enum sat_merge_outcome outcome;
	bool clamped;
	int rc = cut_context(a, row, dot, &d->context);

	if (rc != SAT_OK)
		return rc;
	sat_delta_stamp(d, dot, row, clock, UINT64_MAX, &clamped);
	rc = sat_merge_apply(a, row, d, dot, &outcome);
	return rc == SAT_E_NOMEM ? rc : SAT_OK;
}

static int load_overlay(struct sat_replica *r, const struct sat_table *t,
			const struct sat_id *id, struct sat_held *held,
			struct sat_err *err)
{
	struct sat_clock_map clock = sat_replica_clock(r);
	struct sat_value args[2];
	struct sat_delta d;
	struct sat_slice bytes;
	struct sat_dot dot;
	sqlite3_stmt *st;
	bool row = true;
	int rc;

	id_args(t, id, args);
	rc = sat_db_stmt(&r->db,
			 "SELECT delta FROM _satchel_dirty WHERE t = ?1 AND"
			 " id = ?2 ORDER BY seq",
			 &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, 2, err);
	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		rc = sat_column_copy(&r->row, st, 0, &bytes);
		if (rc == SAT_OK)
			rc = sat_delta_decode(r, bytes, &d, &dot, err);
		else
			rc = no_memory("replica_overlay", err);
		if (rc == SAT_OK && held->dirty++ == 0)
			held->created = d.op == SAT_OP_INSERT;
		if (rc == SAT_OK && d.op == SAT_OP_INSERT)
			held->inserts = true;
		if (rc == SAT_OK && sat_overlay_apply(&r->row, &held->row, &d,
						      dot, &clock) != SAT_OK)
			rc = no_memory("replica_overlay", err);
	}
	sat_db_reset(st);
	return rc;
}

/* State and values, not decoded. */
static int held_read(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id, struct sat_value *typed,
		     struct sat_held *ret, struct sat_err *err)
{
	struct sat_held held = { .known = false };
	bool found;
	int rc = state_read(r, t, id, &held, err);

	if (rc == SAT_OK && held.known)
		rc = base_read(r, t, id, &held, err);
	if (rc == SAT_OK && held.known && !held.has_base) {
		held.values = typed;
		if (typed == NULL)
			rc = sat_typed_read(r, &r->row, t, id, &held.values,
					    &found, NULL, NULL, err);
	}
	if (rc == SAT_OK && held.values == NULL) {
		held.values = sat_arena_array(&r->row, t->column_count,
					      sizeof *held.values);
		if (held.values == NULL)
			rc = no_memory("replica_row", err);
	}
	*ret = held;
	return rc;
}

int sat_held_peek(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, struct sat_held *ret,
		  struct sat_err *err)
{
	return held_read(r, t, id, NULL, ret, err);
}

int sat_held_load(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, struct sat_value *typed,
		  struct sat_held *ret, struct sat_err *err)
{
	struct sat_held held;
	int rc = held_read(r, t, id, typed, &held, err);

	if (rc == SAT_OK)
		rc = decode_base(r, t, &held, err);
	held.row = held.base;
	if (rc == SAT_OK)
		rc = load_overlay(r, t, id, &held, err);
	if (rc == SAT_OK)
		*ret = held;
	return rc;
}

/* ---- what is shown ------------------------------------------------------- */

int sat_row_values(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_row *row, struct sat_value **ret,
		   struct sat_err *err)
{
	struct sat_value *values =
		sat_arena_array(&r->row, t->column_count, sizeof *values);
	int rc = values == NULL ? SAT_E_NOMEM : SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++)
		rc = sat_field_value(&r->row, &t->columns[i], &row->fields[i],
				     &values[i]);
	if (rc != SAT_OK)
		return no_memory("replica_values", err);
	*ret = values;
	return SAT_OK;
}

static int sibling_put(struct sat_replica *r, const struct sat_table *t,
		       const struct sat_id *id, const struct sat_column *c,
		       const struct sat_write *w, bool shown,
		       struct sat_err *err)
{
	struct sat_value args[7];
	sqlite3_stmt *st;
	int rc, code;

	id_args(t, id, args);
	args[2] = sat_bind_str(c->name);
	args[3] = sat_value_int(w->dot.replica);
	args[4] = sat_bind_u64(w->dot.seq);
	args[5] = sat_value_int(sat_stamp_ms(w->stamp));
	args[6] = sat_value_int(shown);
	rc = sat_db_stmt(&r->db,
			 "INSERT INTO _satchel_sibling(t, id, field, replica,"
			 " seq, at, shown, value)"
			 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			 &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, 7, err);
	if (rc != SAT_OK)
		return rc;
	code = sat_cell_bind(&r->row, st, 8, c, &w->value);
	if (code != SQLITE_OK) {
		rc = sat_db_fail(&r->db, code, "replica_sibling", err);
		sat_db_reset(st);
		return rc;
	}
	return sat_db_run(&r->db, st, err);
}

static int siblings_put(struct sat_replica *r, const struct sat_table *t,
			const struct sat_id *id, const struct sat_row *row,
			struct sat_err *err)
{
	struct sat_value args[2];
	int rc;

	id_args(t, id, args);
	rc = sat_db_do(&r->db,
		       "DELETE FROM _satchel_sibling WHERE t = ?1 AND id = ?2",
		       args, 2, err);
	for (uint16_t i = 0; rc == SAT_OK && i < row->field_count; i++) {
		const struct sat_column *c = &t->columns[i];
		const struct sat_field *f = &row->fields[i];
		uint32_t shown;

		if ((c->policy != SAT_POLICY_KEEP &&
		     c->policy != SAT_POLICY_ORDERED) ||
		    f->count < 2)
			continue;
		shown = sat_field_shown(c, f);
		for (uint32_t k = 0; rc == SAT_OK && k < f->count; k++)
			rc = sibling_put(r, t, id, c, &f->writes[k], k == shown,
					 err);
	}
	return rc;
}

/* Edits of a row whose state is not here are listed; nothing is made up from
 * fragments. A row that has left is still there, whole, and stays until they
 * are answered. */
static int show_ghost(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value args[2] = { sat_value_int(t->no) };
	sqlite3_stmt *st;
	int rc = sat_ghosts_list(r, t, id, err);

	if (rc != SAT_OK)
		return rc;
	sat_id_format(id, text);
	args[1] = sat_bind_str(text);
	rc = sat_db_find(&r->db,
			 "SELECT 1 FROM _satchel_orphan WHERE t = ?1"
			 " AND id = ?2",
			 args, 2, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_typed_remove(r, t, id, err);
	sat_db_reset(st);
	return SAT_OK;
}

int sat_row_derive(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, struct sat_err *err)
{
	struct sat_held held;
	struct sat_value *values;
	int rc = sat_held_load(r, t, id, NULL, &held, err);

	if (rc != SAT_OK)
		return rc;
	if (!held.known && held.dirty > 0 && !held.inserts)
		return show_ghost(r, t, id, err);
	if (held.damaged) /* nothing can be made of it: leave what is there */
		return SAT_OK;
	rc = sat_ghosts_drop(r, t, id, err);
	if (rc == SAT_OK)
		rc = siblings_put(r, t, id, &held.row, err);
	if (rc != SAT_OK)
		return rc;
	if (!sat_row_exists(&held.row) || !sat_row_alive(&held.row))
		return sat_typed_remove(r, t, id, err);
	rc = sat_row_values(r, t, &held.row, &values, err);
	if (rc != SAT_OK)
		return rc;
	return sat_typed_write(r, t, id, values, err);
}

/* ---- digest -------------------------------------------------------------- */

/* The hash that enters the digest: zero for a row that is not alive. */
struct sat_hash sat_held_hash(struct sat_replica *r, const struct sat_table *t,
			      const struct sat_id *id, struct sat_slice meta,
			      const struct sat_value *values)
{
	struct sat_hash none = { 0, 0 };
	bool *readable = sat_readable(r, t);
	struct sat_vv vv, dv;

	if (readable == NULL ||
	    sat_meta_vectors(&r->row, meta, &vv, &dv) != SAT_OK ||
	    sat_vv_leq(vv, dv))
		return none;
	return sat_row_hash(t, id, meta, values, readable);
}

void sat_digest_add(struct sat_replica *r, struct sat_hash h, uint32_t times)
{
	struct sat_hash sum = sat_hash_unpack(r->facts.digest);

	if (h.low == 0 && h.high == 0)
		return;
	for (uint32_t i = 0; i < times; i++)
		sat_hash_add(&sum, h);
	r->facts.members += times;
	sat_hash_pack(sum, r->facts.digest);
}

void sat_digest_sub(struct sat_replica *r, struct sat_hash h, uint32_t times)
{
	struct sat_hash sum = sat_hash_unpack(r->facts.digest);

	if (h.low == 0 && h.high == 0)
		return;
	for (uint32_t i = 0; i < times; i++)
		sat_hash_sub(&sum, h);
	r->facts.members -= times;
	sat_hash_pack(sum, r->facts.digest);
}
