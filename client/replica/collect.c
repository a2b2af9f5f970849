/* The device's end of collecting: images of rows that were deleted so long
 * ago that the server forgets them. Without them, inserting such an id again
 * is an insert, as it is for the server. */
#include "client/replica/apply.h"

#include <stdio.h>

/* Does a row that is shown refer to it through that column? */
static int refers(struct sat_replica *r, const struct sat_table *child,
		  int column, const struct sat_id *id, bool *ret,
		  struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1], sql[256];
	struct sat_value arg;
	sqlite3_stmt *st;
	int rc;

	sat_id_format(id, text);
	arg = sat_bind_str(text);
	(void)snprintf(sql, sizeof sql, "SELECT 1 FROM %s WHERE %s = ?1",
		       child->name, child->columns[column].name);
	rc = sat_db_find(&r->db, sql, &arg, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	*ret = st != NULL;
	if (st != NULL)
		sat_db_reset(st);
	return SAT_OK;
}

/* A deleted parent is kept while children live, as the server keeps it: its
 * image is what brings it back. */
static int has_children(struct sat_replica *r, const struct sat_table *t,
			const struct sat_id *id, bool *ret, struct sat_err *err)
{
	const struct sat_catalogue *c = r->catalogue;
	int rc = SAT_OK;

	*ret = false;
	for (uint16_t i = 0; rc == SAT_OK && !*ret && i < c->table_count; i++) {
		const struct sat_table *child = &c->tables[i];

		for (uint16_t k = 0;
		     rc == SAT_OK && !*ret && k < child->column_count; k++) {
			if (child->columns[k].type == SAT_TYPE_REF &&
			    child->columns[k].ref_table == t->index &&
			    sat_column_is_parent(child, k))
				rc = refers(r, child, k, id, ret, err);
		}
	}
	return rc;
}

static int collect_one(struct sat_replica *r, const struct sat_table *t,
		       const struct sat_id *id, struct sat_slice meta,
		       struct sat_err *err)
{
	struct sat_vv vv, dv;
	bool needed;
	int rc;

	if (sat_meta_vectors(&r->row, meta, &vv, &dv) != SAT_OK ||
	    !sat_vv_leq(vv, dv))
		return SAT_OK; /* alive, or not to be judged */
	rc = has_children(r, t, id, &needed, err);
	return rc == SAT_OK && !needed ? sat_state_forget(r, t, id, err) : rc;
}

int sat_images_collect(struct sat_replica *r, uint64_t floor,
		       struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(floor);
	const struct sat_table *t;
	struct sat_slice meta;
	struct sat_id id;
	sqlite3_stmt *st;
	bool row = true;
	int rc;

	if (floor <= (uint64_t)r->facts.floor)
		return SAT_OK;
	r->facts.floor = (int64_t)floor;
	/* only rows that are deleted or edited have a base of their own */
	rc = sat_db_stmt(&r->db,
			 "SELECT s.t, s.id, s.meta FROM _satchel_base b"
			 " JOIN _satchel_row s ON s.t = b.t AND s.id = b.id"
			 " WHERE s.seq <= ?1 AND NOT EXISTS(SELECT 1 FROM"
			 " _satchel_dirty d WHERE d.t = b.t AND d.id = b.id)"
			 " ORDER BY +s.t, +s.id",
			 &st, err);
	if (rc == SAT_OK)
		rc = sat_db_bind(&r->db, st, 1, &arg, 1, err);
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
		if (sat_column_copy(&r->row, st, 2, &meta) != SAT_OK)
			rc = sat_err_set(err, SAT_E_NOMEM, 0, "replica_collect",
					 "out of memory");
		else
			rc = collect_one(r, t, &id, meta, err);
	}
	sat_db_reset(st);
	return rc;
}
