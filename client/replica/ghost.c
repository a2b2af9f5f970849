/* Edits without their row: an update or delete in the overlay of a row that
 * the server's state is not here for. Made up from its fields alone such a row
 * would be a ghost with nothing but a phone number, so it is not shown; what
 * was written is listed field by field, with what stood there before, until
 * the row comes or the server answers (SYNC section 2, "ghost rows"). */
#include "client/replica/internal.h"

#include <string.h>

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "replica_ghost",
			   "out of memory");
}

int sat_ghosts_drop(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id, struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(t->no), sat_value_id(id) };

	return sat_db_do(&r->db,
			 "DELETE FROM _satchel_ghost WHERE t = ?1 AND id = ?2",
			 args, 2, err);
}

/* The two sides of a change as columns show them: of a set what goes and what
 * comes, of a counter what is added. */
static int sides(struct sat_replica *r, const struct sat_column *c,
		 const struct sat_change *change, struct sat_value *before,
		 struct sat_value *value)
{
	struct sat_slice text;
	int rc;

	*before = change->before;
	*value = change->value;
	if (c->policy != SAT_POLICY_SET)
		return SAT_OK;
	rc = sat_set_format(&r->row, change->removes, change->remove_count,
			    &text);
	*before = sat_value_text(text);
	if (rc == SAT_OK)
		rc = sat_set_format(&r->row, change->adds, change->add_count,
				    &text);
	*value = sat_value_text(text);
	return rc;
}

/* change NULL: of the row as a whole. */
static int put(struct sat_replica *r, const struct sat_delta *d, uint64_t seq,
	       const struct sat_change *change, struct sat_err *err)
{
	static const char *const ops[] = { "insert", "update", "delete" };
	const struct sat_column *c =
		change == NULL ? NULL : &d->table->columns[change->column];
	struct sat_value before = sat_value_null(), value = before;
	struct sat_value args[6] = {
		sat_value_int(d->table->no),
		sat_value_id(&d->id),
		sat_bind_u64(seq),
		sat_bind_str(ops[d->op]),
		sat_value_int(change == NULL ? d->at_ms : change->at_ms),
		sat_bind_str(c == NULL ? "" : c->name),
	};
	sqlite3_stmt *st;
	int code = SQLITE_OK, rc;

	if (c != NULL && sides(r, c, change, &before, &value) != SAT_OK)
		return no_memory(err);
	rc = sat_db_stmt(&r->db,
			 "INSERT INTO _satchel_ghost(t, id, seq, op, at,"
			 " field, before, value)"
			 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			 &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, 6, err);
	if (rc != SAT_OK)
		return rc;
	if (c != NULL)
		code = sat_cell_bind(&r->row, st, 7, c, &before);
	if (c != NULL && code == SQLITE_OK)
		code = sat_cell_bind(&r->row, st, 8, c, &value);
	if (code != SQLITE_OK) {
		rc = sat_db_fail(&r->db, code, "replica_ghost", err);
		sat_db_reset(st);
		return rc;
	}
	return sat_db_run(&r->db, st, err);
}

static int put_delta(struct sat_replica *r, struct sat_slice bytes,
		     struct sat_err *err)
{
	struct sat_delta d;
	struct sat_dot dot;
	int rc = sat_delta_decode(r, bytes, &d, &dot, err);

	if (rc == SAT_OK && d.change_count == 0)
		return put(r, &d, dot.seq, NULL, err);
	for (uint32_t i = 0; rc == SAT_OK && i < d.change_count; i++)
		rc = put(r, &d, dot.seq, &d.changes[i], err);
	return rc;
}

int sat_ghosts_list(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id, struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(t->no), sat_value_id(id) };
	struct sat_slice bytes;
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_ghosts_drop(r, t, id, err);

	r->any_orphan = true;
	if (rc == SAT_OK)
		rc = sat_db_stmt(&r->db,
				 "SELECT delta FROM _satchel_dirty WHERE"
				 " t = ?1 AND id = ?2 ORDER BY seq",
				 &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, args, 2, err);
	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			return rc;
		if (sat_column_copy(&r->row, st, 0, &bytes) == SAT_OK)
			rc = put_delta(r, bytes, err);
		else
			rc = no_memory(err);
	}
	sat_db_reset(st);
	return rc;
}

int sat_ghosts_renew(struct sat_replica *r, struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_id id;
	sqlite3_stmt *st;
	bool row = true;
	/* Listed by key, sorted first: what is listed changes meanwhile. */
	int rc = sat_db_stmt(&r->db,
			     "SELECT DISTINCT t, id FROM _satchel_ghost"
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
		if (t != NULL && sat_db_column_id(st, 1, &id))
			rc = sat_ghosts_list(r, t, &id, err);
	}
	sat_db_reset(st);
	return rc;
}
