/* verify: each row against its sum, and everything the server keeps besides the
 * data itself is recomputed from the data and compared: metadata, feed,
 * digests, roll-ups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/access/emit.h"
#include "server/admin/ops_data.h"
#include "server/admin/rows.h"
#include "server/admin/verify_column.h"
#include "server/admin/verify_dots.h"
#include "server/admin/verify_figures.h"

enum { FINDINGS_MAX = 50, ROLES = SAT_ROLE_SERVER };

struct scope_sum {
	uint32_t scope;
	uint64_t places; /* row and evict entries there should be */
	uint64_t rows;
	struct sat_hash sum[ROLES];
};

struct check {
	struct sat_admin *a;
	const struct sat_catalogue *catalogue;
	struct scope_sum *sums; /* open addressing by scope; places 0: empty */
	size_t cap, used;
	struct sat_arena arena;
	struct sat_buf meta;
	json_t *findings;
	uint64_t rows, deleted, entries, bad;
	uint32_t scope; /* of the feed being scanned */
	struct sat_dots_checked dots;
	struct sat_figures_checked figures;
	struct sat_err *err;
};

static int finding(struct check *c, const char *table, const struct sat_id *id,
		   const char *what)
{
	char text[SAT_UUID_CHARS + 1] = "";

	c->bad++;
	if (id != NULL)
		sat_id_format(id, text);
	if (json_array_size(c->findings) < FINDINGS_MAX &&
	    json_array_append_new(c->findings,
				  json_pack("[s, s, s]", table, text, what)))
		return SAT_E_NOMEM;
	return SAT_OK;
}

/* ---- sums by scope ------------------------------------------------------ */

static struct scope_sum *slot(struct scope_sum *sums, size_t cap,
			      uint32_t scope)
{
	size_t i = (scope * 2654435761u) % cap;

	while (sums[i].places != 0 && sums[i].scope != scope)
		i = (i + 1) % cap;
	return &sums[i];
}

static struct scope_sum *sum_of(struct check *c, uint32_t scope)
{
	struct scope_sum *s;

	if (c->used * 2 >= c->cap) {
		size_t cap = c->cap == 0 ? 256 : c->cap * 2;
		struct scope_sum *grown = calloc(cap, sizeof *grown);

		if (grown == NULL)
			return NULL;
		for (size_t i = 0; i < c->cap; i++)
			if (c->sums[i].places != 0)
				*slot(grown, cap, c->sums[i].scope) =
					c->sums[i];
		free(c->sums);
		c->sums = grown;
		c->cap = cap;
	}
	s = slot(c->sums, c->cap, scope);
	if (s->places == 0) {
		s->scope = scope;
		c->used++;
	}
	return s;
}

/* ---- rows --------------------------------------------------------------- */

/* Every write's dot must be in VV, and DV must not exceed VV. */
static bool vectors_cover(const struct sat_table *t, const struct sat_row *row)
{
	if (!sat_vv_leq(row->dv, row->vv))
		return false;
	for (uint16_t i = 0; i < row->field_count; i++) {
		const struct sat_field *f = &row->fields[i];

		for (uint32_t k = 0; k < f->count; k++) {
			struct sat_dot dot;

			if (t->columns[i].policy == SAT_POLICY_COUNTER)
				dot = (struct sat_dot){ f->sums[k].replica, 1 };
			else if (t->columns[i].policy == SAT_POLICY_SET)
				dot = f->elements[k].dot;
			else
				dot = f->writes[k].dot;
			if (!sat_vv_covers(row->vv, dot))
				return false;
		}
	}
	return true;
}

static int check_state(struct check *c, const struct sat_table *t,
		       const struct sat_stored_row *row)
{
	struct sat_row state;
	int rc = sat_meta_decode(&c->arena, t, row->meta, row->values, &state);

	if (rc == SAT_E_CORRUPT)
		return finding(c, t->name, &row->id, "metadata is damaged");
	if (rc != SAT_OK)
		return rc;
	if (!vectors_cover(t, &state))
		rc = finding(c, t->name, &row->id,
			     "a write is not in the row's version vector");
	if (rc == SAT_OK && sat_row_alive(&state) == row->deleted)
		rc = finding(c, t->name, &row->id,
			     "marked deleted and alive at once");
	sat_buf_clear(&c->meta);
	if (rc == SAT_OK)
		rc = sat_meta_encode(t, &state, row->values, &c->meta);
	if (rc == SAT_OK && !sat_slice_equal(sat_buf_peek(&c->meta), row->meta))
		rc = finding(c, t->name, &row->id,
			     "metadata is not in its canonical form");
	return rc;
}

/* What was changed behind the server's back, and where, if it can be told. */
static int check_sum(struct check *c, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	char text[160];
	int column = -1, rc = SAT_OK;

	if (!row->damaged)
		return SAT_OK;
	if (json_array_size(c->findings) < FINDINGS_MAX)
		rc = sat_verify_column(c->a->store, t, row, &column, c->err);
	if (rc != SAT_OK)
		return rc;
	if (column < 0)
		return finding(c, t->name, &row->id,
			       "the row is not what the server wrote");
	(void)snprintf(text, sizeof text,
		       "the row is not what the server wrote, in %s",
		       t->columns[column].name);
	return finding(c, t->name, &row->id, text);
}

/* The row's hash as each role sees it. */
static int hash_row(struct check *c, const struct sat_table *t,
		    const struct sat_stored_row *row, struct sat_hash *ret)
{
	bool *readable = sat_arena_array(&c->arena, t->column_count + 1u,
					 sizeof *readable);
	int rc;

	if (readable == NULL)
		return SAT_E_NOMEM;
	for (int role = 0; role < ROLES; role++) {
		struct sat_slice meta = row->meta;
		bool all = sat_read_set(t, (enum sat_role)role, readable);

		if (sat_read_foreign(c->catalogue, t, (enum sat_role)role,
				     row->values, readable))
			all = false;
		if (!all) {
			sat_buf_clear(&c->meta);
			rc = sat_meta_mask(&c->arena, t, meta, row->values,
					   readable, &c->meta);
			if (rc != SAT_OK)
				return rc;
			meta = sat_buf_peek(&c->meta);
		}
		ret[role] =
			sat_row_hash(t, &row->id, meta, row->values, readable);
	}
	return SAT_OK;
}

static int on_row(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct check *c = arg;
	struct sat_hash hash[ROLES];
	bool placed = false;
	int rc;

	sat_arena_reset(&c->arena);
	c->rows++;
	c->deleted += row->deleted;
	rc = check_sum(c, t, row);
	if (rc == SAT_OK)
		rc = check_state(c, t, row);
	if (rc == SAT_OK && !row->deleted)
		rc = hash_row(c, t, row, hash);
	if (rc == SAT_E_CORRUPT && row->damaged) {
		memset(hash, 0, sizeof hash); /* named above; not counted */
		rc = SAT_OK;
	}
	for (uint32_t i = 0; rc == SAT_OK && i < row->place_count; i++) {
		const struct sat_place *p = &row->places[i];
		struct scope_sum *s = sum_of(c, p->scope);

		if (s == NULL)
			return SAT_E_NOMEM;
		s->places++;
		placed = placed || !p->evict;
		if (p->evict || row->deleted)
			continue;
		s->rows++;
		for (int role = 0; role < ROLES; role++)
			sat_hash_add(&s->sum[role], hash[role]);
	}
	if (rc == SAT_OK && !placed)
		rc = finding(c, t->name, &row->id, "the row is in no scope");
	return rc;
}

/* ---- feed and digests --------------------------------------------------- */

static bool has_place(const struct sat_stored_row *row, uint32_t scope,
		      uint64_t seq, bool evict)
{
	for (uint32_t i = 0; i < row->place_count; i++)
		if (row->places[i].scope == scope &&
		    row->places[i].seq == seq && row->places[i].evict == evict)
			return true;
	return false;
}

static int on_entry(void *arg, uint64_t seq, const struct sat_table *t,
		    uint64_t row_seq, const struct sat_id *id, bool evict)
{
	struct check *c = arg;
	struct sat_stored_row row;
	int rc;

	sat_arena_reset(&c->arena);
	c->entries++;
	rc = evict ? sat_store_row_get(c->a->store, t, id, &c->arena, &row,
				       c->err)
		   : sat_store_row_at(c->a->store, t, row_seq, &c->arena, &row,
				      c->err);
	if (rc != SAT_OK)
		return rc;
	if (row.seq == 0 || !has_place(&row, c->scope, seq, evict))
		return finding(c, t->name, id,
			       "a feed entry leads to no such place of a row");
	return SAT_OK;
}

static int check_scope(struct check *c, const struct scope_sum *s)
{
	uint64_t before = c->entries, rows;
	struct sat_hash kept;
	int rc;

	c->scope = s->scope;
	rc = sat_store_feed_scan(c->a->store, s->scope, 0, INT64_MAX, on_entry,
				 c, c->err);
	if (rc == SAT_OK && c->entries - before != s->places)
		rc = finding(c, "feed", NULL,
			     "a scope's entries and its rows' places differ");
	for (int role = 0; rc == SAT_OK && role < ROLES; role++) {
		rc = sat_store_digest_get(c->a->store, s->scope,
					  (enum sat_role)role, &kept, &rows,
					  c->err);
		if (rc == SAT_E_NOTFOUND) {
			kept = (struct sat_hash){ 0, 0 };
			rows = 0;
			rc = SAT_OK;
		}
		if (rc == SAT_OK &&
		    (!sat_hash_equal(kept, s->sum[role]) || rows != s->rows))
			rc = finding(c, "digest", NULL,
				     sat_role_name((enum sat_role)role));
	}
	return rc;
}

static int on_dot(void *arg, struct sat_dot dot, const char *what)
{
	struct check *c = arg;
	char name[48];

	(void)snprintf(name, sizeof name, "changeset %lu:%llu",
		       (unsigned long)dot.replica, (unsigned long long)dot.seq);
	return finding(c, name, NULL, what);
}

static int on_figure(void *arg, const struct sat_table *t,
		     const struct sat_id *id, const char *what)
{
	return finding(arg, t->name, id, what);
}

static int run_checks(struct check *c)
{
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < c->catalogue->table_count; i++)
		rc = sat_store_rows(c->a->store, &c->catalogue->tables[i], -1,
				    NULL, on_row, c, c->err);
	for (size_t i = 0; rc == SAT_OK && i < c->cap; i++)
		if (c->sums[i].places != 0)
			rc = check_scope(c, &c->sums[i]);
	if (rc == SAT_OK)
		rc = sat_verify_dots(c->a->store, on_dot, c, &c->dots, c->err);
	if (rc == SAT_OK)
		rc = sat_verify_figures(c->a->store, on_figure, c, &c->figures,
					c->err);
	return rc;
}

int sat_op_verify(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err)
{
	struct check c = { .a = a,
			   .catalogue = sat_store_catalogue(a->store),
			   .findings = json_array(),
			   .err = err };
	bool reader = a->engine == NULL;
	int rc = SAT_OK;

	(void)args;
	*err = (struct sat_err){ .msg = "out of memory" };
	sat_arena_init(&c.arena, 256 << 20);
	sat_buf_init(&c.meta, 64 << 20);
	if (reader)
		rc = sat_store_snapshot_begin(a->store, err);
	if (rc == SAT_OK)
		rc = run_checks(&c);
	if (reader)
		sat_store_snapshot_end(a->store);
	if (rc == SAT_OK &&
	    (json_object_set_new(ret, "ok", json_boolean(c.bad == 0)) ||
	     json_object_set_new(ret, "rows_checked",
				 json_integer((json_int_t)c.rows)) ||
	     json_object_set_new(ret, "deleted_rows",
				 json_integer((json_int_t)c.deleted)) ||
	     json_object_set_new(ret, "feed_entries",
				 json_integer((json_int_t)c.entries)) ||
	     json_object_set_new(ret, "changesets",
				 json_integer((json_int_t)c.dots.changesets)) ||
	     json_object_set_new(ret, "refused_changesets",
				 json_integer((json_int_t)c.dots.refused)) ||
	     json_object_set_new(ret, "figures",
				 json_integer((json_int_t)c.figures.figures)) ||
	     json_object_set_new(ret, "changes",
				 json_integer((json_int_t)c.figures.changes)) ||
	     json_object_set_new(ret, "scopes",
				 json_integer((json_int_t)c.used)) ||
	     json_object_set_new(ret, "findings",
				 json_integer((json_int_t)c.bad)) ||
	     (c.bad > 0 && (json_object_set_new(ret, "columns",
						json_pack("[s, s, s]", "where",
							  "id", "what")) ||
			    json_object_set(ret, "rows", c.findings)))))
		rc = SAT_E_NOMEM;
	json_decref(c.findings);
	free(c.sums);
	sat_buf_fini(&c.meta);
	sat_arena_fini(&c.arena);
	return rc;
}
