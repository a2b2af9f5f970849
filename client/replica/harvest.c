/* From captured statements to changesets, in one write transaction.
 *
 * Pending rows are read in the order (table, row, statement): the first image
 * of a row is "before", the business table is "after", and each image in
 * between only tells when a column last changed. Deltas are then sorted so
 * that what refers comes after what it refers to, and alike ones are
 * neighbours, which is what the columnar coding likes. */
#include "client/replica/apply.h"

#include <stdlib.h>
#include <string.h>

/* A delta with what it is sorted by. */
struct draft {
	struct sat_delta delta;
	uint32_t rank;
	uint64_t shape; /* hash of the set of columns; 0 keeps the order */
	uint64_t n;
};

struct row_name {
	const struct sat_table *table;
	struct sat_id id;
};

struct sweep {
	struct sat_replica *r;
	sqlite3_stmt *st; /* t, id, n, op, at */
	bool row;         /* st stands on one */
	bool coalesced;
	struct draft *drafts;
	uint32_t count, cap;
	struct row_name *derive; /* rows to derive once all is stored */
	uint32_t derive_count, derive_cap;
	struct sat_arena image[2]; /* for images between first and last */
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "replica_harvest",
			   "out of memory");
}

/* Room for one more of size bytes in an array of the batch arena. */
static void *grow(struct sat_arena *a, void *old, uint32_t count, uint32_t *cap,
		  size_t size)
{
	uint32_t more = *cap == 0 ? 64 : *cap * 2;
	void *array;

	if (count < *cap)
		return old;
	array = sat_arena_array(a, more, size);
	if (array == NULL)
		return NULL;
	if (count > 0)
		memcpy(array, old, count * size);
	*cap = more;
	return array;
}

static int note_derive(struct sweep *s, const struct sat_touch *w)
{
	struct row_name *p = grow(&s->r->batch, s->derive, s->derive_count,
				  &s->derive_cap, sizeof *p);

	if (p == NULL)
		return SAT_E_NOMEM;
	s->derive = p;
	p[s->derive_count++] = (struct row_name){ w->table, w->id };
	return SAT_OK;
}

/* ---- reading one row's images -------------------------------------------- */

static int read_image(struct sweep *s, struct sat_arena *a,
		      const struct sat_table *t, int64_t n,
		      struct sat_value *values, struct sat_err *err)
{
	struct sat_value arg = sat_value_int(n);
	const char *why;
	sqlite3_stmt *st;
	int rc = sat_db_find(&s->r->db, s->r->sql[t->index].image, &arg, 1, &st,
			     err);

	if (rc != SAT_OK || st == NULL)
		return rc;
	for (uint16_t i = 0; i < t->column_count; i++) {
		rc = sat_cell_read(a, &t->columns[i], st, i, &values[i], &why);
		if (rc == SAT_E_NOMEM)
			break;
	}
	sat_db_reset(st);
	return rc == SAT_E_NOMEM ? no_memory(err) : SAT_OK;
}

static void note_times(const struct sat_table *t, const struct sat_value *x,
		       const struct sat_value *y, int64_t at, int64_t *at_ms)
{
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (!sat_value_equal(&x[i], &y[i]))
			at_ms[i] = at;
	}
}

/* The table and id st stands on; false when they name nothing we know. */
static bool current_row(struct sweep *s, const struct sat_table **ret_table,
			struct sat_id *ret_id)
{
	struct sat_value id = sat_db_column(s->st, 1);
	int64_t no = sqlite3_column_int64(s->st, 0);

	if (no < 0 || no > UINT16_MAX)
		return false;
	*ret_table = sat_catalogue_table_no(s->r->catalogue, (uint32_t)no);
	return *ret_table != NULL && id.kind == SAT_TEXT &&
	       sat_id_parse(id.s, ret_id);
}

static bool same_row(struct sweep *s, const struct sat_touch *w)
{
	const struct sat_table *t;
	struct sat_id id;

	return s->row && current_row(s, &t, &id) && t == w->table &&
	       memcmp(&id, &w->id, sizeof id) == 0;
}

static int start_touch(struct sweep *s, struct sat_touch *w,
		       struct sat_err *err)
{
	uint16_t n;

	*w = (struct sat_touch){ .bad = -1 };
	w->valid_id = current_row(s, &w->table, &w->id);
	if (!w->valid_id)
		return SAT_OK;
	n = w->table->column_count;
	w->first_n = (uint64_t)sqlite3_column_int64(s->st, 2);
	w->before = sat_arena_array(&s->r->row, n, sizeof *w->before);
	w->at_ms = sat_arena_array(&s->r->row, n, sizeof *w->at_ms);
	return w->before == NULL || w->at_ms == NULL ? no_memory(err) : SAT_OK;
}

/* All statements of the row st stands on; st moves past them. */
static int read_images(struct sweep *s, struct sat_touch *w,
		       struct sat_err *err)
{
	const struct sat_value *last = NULL;
	int rc = SAT_OK;

	for (unsigned k = 0; rc == SAT_OK && (k == 0 || same_row(s, w)); k++) {
		struct sat_arena *a = k == 0 ? &s->r->row : &s->image[k % 2];
		struct sat_value *values = w->before;
		bool inserts = sqlite3_column_bytes(s->st, 3) == 1 &&
			       sqlite3_column_text(s->st, 3)[0] == 'I';
		int64_t at = sat_julian_ms(sqlite3_column_double(s->st, 4));

		if (k > 0) {
			sat_arena_reset(a);
			values = sat_arena_array(a, w->table->column_count,
						 sizeof *values);
		}
		if (values == NULL)
			return no_memory(err);
		if (!inserts)
			rc = read_image(s, a, w->table,
					sqlite3_column_int64(s->st, 2), values,
					err);
		if (k == 0)
			w->had = !inserts;
		else
			note_times(w->table, last, values, w->last_ms,
				   w->at_ms);
		last = values;
		w->last_ms = at;
		if (rc == SAT_OK)
			rc = sat_db_step(&s->r->db, s->st, &s->row, err);
	}
	if (rc == SAT_OK)
		rc = sat_typed_read(s->r, &s->r->row, w->table, &w->id,
				    &w->after, &w->has, &w->bad, &w->why, err);
	if (rc == SAT_OK)
		note_times(w->table, last, w->after, w->last_ms, w->at_ms);
	return rc;
}

/* ---- values that cannot be sent ------------------------------------------ */

/* The bytes of the bad cell as text that can be shown: what is not UTF-8
 * becomes a question mark. */
static int salvage(struct sat_replica *r, struct sat_touch *w,
		   struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_value arg;
	struct sat_slice copy = { NULL, 0 };
	uint8_t *p;
	sqlite3_stmt *st;
	int rc;

	sat_id_format(&w->id, text);
	arg = sat_bind_str(text);
	rc = sat_db_find(&r->db, r->sql[w->table->index].select, &arg, 1, &st,
			 err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	if (sqlite3_column_type(st, w->bad) == SQLITE_FLOAT)
		(void)sqlite3_column_text(st, w->bad);
	rc = sat_column_copy(&r->batch, st, w->bad, &copy);
	sat_db_reset(st);
	if (rc != SAT_OK)
		return no_memory(err);
	p = (uint8_t *)copy.ptr;
	for (size_t i = 0; !sat_utf8_valid(copy) && i < copy.len; i++) {
		if (p[i] == 0 || p[i] >= 0x80)
			p[i] = '?';
	}
	w->after[w->bad] = sat_value_text(copy);
	return SAT_OK;
}

/* overlay: what the row showed is in the base, not only in its image. */
static int put_back(struct sat_replica *r, struct sat_touch *w, bool overlay,
		    struct sat_err *err)
{
	if (overlay)
		return sat_row_derive(r, w->table, &w->id, err);
	if (w->had)
		return sat_typed_write(r, w->table, &w->id, w->before, err);
	return sat_typed_remove(r, w->table, &w->id, err);
}

/* The row goes to the rejected list as the person wrote it, and shows again
 * what it showed before; everything else goes on. */
static int refuse(struct sat_replica *r, struct sat_touch *w,
		  const struct sat_delta *d, bool overlay, struct sat_err *err)
{
	const struct sat_column *c = &w->table->columns[w->bad];
	struct sat_delta all = *d;
	struct sat_change *changes = sat_arena_array(
		&r->batch, (size_t)d->change_count + 1, sizeof *changes);
	enum sat_reason reason = SAT_REASON_VALUE;
	uint32_t n = 0;
	int rc;

	if (changes == NULL)
		return no_memory(err);
	rc = salvage(r, w, err);
	if (rc != SAT_OK)
		return rc;
	if (strstr(w->why, "UTF-8") != NULL || strstr(w->why, "blob") != NULL)
		reason = SAT_REASON_ENCODING;
	changes[n++] = (struct sat_change){ .column = (uint16_t)w->bad,
					    .value = w->after[w->bad],
					    .before = w->before[w->bad],
					    .at_ms = w->last_ms };
	for (uint32_t i = 0; i < d->change_count; i++) {
		if (d->changes[i].column != w->bad)
			changes[n++] = d->changes[i];
	}
	all.changes = changes;
	all.change_count = n;
	rc = sat_rejected_add(r, 0, reason, w->table, c,
			      (struct sat_dot){ 0, 0 }, &all, 1, err);
	return rc == SAT_OK ? put_back(r, w, overlay, err) : rc;
}

/* An id of the right shape that is none: triggers leave that to us. The row is
 * listed with all it holds, and goes. */
static int refuse_id(struct sweep *s, struct sat_err *err)
{
	struct sat_value id = sat_db_column(s->st, 1);
	struct sat_replica *r = s->r;
	struct sat_delta d = { .op = SAT_OP_INSERT };
	const char *why;
	sqlite3_stmt *st;
	int rc;

	d.table = sat_catalogue_table_no(
		r->catalogue,
		(uint32_t)(sqlite3_column_int64(s->st, 0) & UINT16_MAX));
	if (d.table == NULL || id.kind != SAT_TEXT)
		return SAT_OK;
	d.id = sat_id_derived(id.s);
	d.changes = sat_arena_array(&r->row, d.table->column_count,
				    sizeof *d.changes);
	if (d.changes == NULL)
		return no_memory(err);
	rc = sat_db_find(&r->db, r->sql[d.table->index].select, &id, 1, &st,
			 err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	for (uint16_t i = 0; i < d.table->column_count; i++) {
		struct sat_change *c = &d.changes[d.change_count];
		const struct sat_column *column = &d.table->columns[i];

		c->column = i;
		if (column->policy == SAT_POLICY_SET ||
		    sat_cell_read(&r->row, column, st, i, &c->value, &why) !=
			    SAT_OK ||
		    c->value.kind == SAT_NULL)
			continue;
		d.change_count++;
	}
	sat_db_reset(st);
	rc = sat_rejected_add(r, 0, SAT_REASON_VALUE, d.table, NULL,
			      (struct sat_dot){ 0, 0 }, &d, 1, err);
	if (rc == SAT_OK)
		rc = sat_guard(r, err);
	return rc == SAT_OK ? sat_db_do(&r->db, r->sql[d.table->index].remove,
					&id, 1, err)
			    : rc;
}

/* ---- one row ------------------------------------------------------------- */

static uint64_t shape_of(const struct sat_delta *d)
{
	const struct sat_table *t = d->table;
	uint64_t h = UINT64_C(14695981039346656037);

	for (uint16_t i = 0; i < t->column_count; i++) {
		/* a tree's rows refer to each other: keep their order */
		if (t->columns[i].type == SAT_TYPE_REF &&
		    t->columns[i].ref_table == t->index)
			return 0;
	}
	for (uint32_t i = 0; i < d->change_count; i++)
		h = (h ^ d->changes[i].column) * UINT64_C(1099511628211);
	return h;
}

static int note_draft(struct sweep *s, const struct sat_touch *w,
		      const struct sat_delta *d)
{
	struct draft *p =
		grow(&s->r->batch, s->drafts, s->count, &s->cap, sizeof *p);

	if (p == NULL)
		return SAT_E_NOMEM;
	s->drafts = p;
	p[s->count++] = (struct draft){
		.delta = *d,
		.rank = s->r->sql[w->table->index].rank,
		.shape = shape_of(d),
		.n = w->first_n,
	};
	return SAT_OK;
}

static int harvest_row(struct sweep *s, struct sat_touch *w,
		       struct sat_err *err)
{
	struct sat_replica *r = s->r;
	bool known = false, dirty = false;
	struct sat_held held = { .known = false };
	struct sat_diff diff;
	int rc = sat_held_any(r, w->table, &w->id, &known, &dirty, err);

	if (rc == SAT_OK && (known || dirty))
		rc = sat_held_load(r, w->table, &w->id,
				   w->had ? w->before : NULL, &held, err);
	else if (rc == SAT_OK &&
		 sat_row_init(&r->row, w->table, &held.row) != SAT_OK)
		rc = no_memory(err);
	/* edits that wait without their row are nothing to change: writing
	 * the id again makes the row */
	if (rc == SAT_OK)
		rc = sat_diff_row(r, w, &held,
				  known || (dirty && (held.inserts || w->had)),
				  &diff, err);
	if (rc != SAT_OK)
		return rc;
	if (w->bad >= 0)
		return refuse(r, w, &diff.delta, dirty || held.has_base, err);
	/* The typed row stops being what the server said: keep that. */
	if (diff.send && known && !held.has_base)
		rc = sat_base_write(r, w->table, &w->id, held.values, err);
	if (rc == SAT_OK && diff.send)
		rc = note_draft(s, w, &diff.delta);
	if (rc == SAT_OK && (diff.derive || (dirty && !known)))
		rc = note_derive(s, w);
	return rc == SAT_E_NOMEM ? no_memory(err) : rc;
}

/* ---- changesets ---------------------------------------------------------- */

static int compare_drafts(const void *x, const void *y)
{
	const struct draft *p = x, *q = y;

	if (p->rank != q->rank)
		return p->rank < q->rank ? -1 : 1;
	if (p->delta.table->no != q->delta.table->no)
		return p->delta.table->no < q->delta.table->no ? -1 : 1;
	if (p->delta.op != q->delta.op)
		return p->delta.op < q->delta.op ? -1 : 1;
	if (p->shape != q->shape)
		return p->shape < q->shape ? -1 : 1;
	return p->n < q->n ? -1 : p->n > q->n;
}

/* One changeset, or as many as its size limit makes of it. */
static int put_all(struct sweep *s, struct sat_delta *deltas,
		   struct sat_err *err)
{
	uint32_t at = 0, step = s->count, n;
	uint32_t flags = s->coalesced ? SAT_CHANGESET_COALESCED : 0;
	int rc = SAT_OK;

	while (rc == SAT_OK && at < s->count) {
		n = s->count - at < step ? s->count - at : step;
		rc = sat_outbox_put(s->r, deltas + at, n, flags, err);
		if (rc == SAT_E_LIMIT && n > 1) {
			step = n / 2;
			rc = SAT_OK;
			continue;
		}
		if (rc == SAT_E_LIMIT) {
			rc = sat_rejected_add(s->r, 0, SAT_REASON_VALUE,
					      deltas[at].table, NULL,
					      (struct sat_dot){ 0, 0 },
					      &deltas[at], 1, err);
			if (rc == SAT_OK)
				rc = sat_row_settle(s->r, deltas[at].table,
						    &deltas[at].id, err);
		}
		at += n;
	}
	return rc;
}

static int form_changeset(struct sweep *s, struct sat_err *err)
{
	struct sat_delta *deltas;
	int rc;

	if (s->count > 0) {
		qsort(s->drafts, s->count, sizeof *s->drafts, compare_drafts);
		deltas =
			sat_arena_array(&s->r->batch, s->count, sizeof *deltas);
		if (deltas == NULL)
			return no_memory(err);
		for (uint32_t i = 0; i < s->count; i++)
			deltas[i] = s->drafts[i].delta;
		rc = put_all(s, deltas, err);
		if (rc != SAT_OK)
			return rc;
	}
	rc = SAT_OK;
	for (uint32_t i = 0; rc == SAT_OK && i < s->derive_count; i++) {
		sat_arena_reset(&s->r->row);
		rc = sat_row_derive(s->r, s->derive[i].table, &s->derive[i].id,
				    err);
	}
	s->drafts = NULL;
	s->derive = NULL;
	s->count = s->cap = s->derive_count = s->derive_cap = 0;
	sat_arena_reset(&s->r->batch);
	return rc;
}

static int sweep_all(struct sweep *s, struct sat_err *err)
{
	struct sat_touch w;
	int rc = sat_db_step(&s->r->db, s->st, &s->row, err);

	while (rc == SAT_OK && s->row) {
		sat_arena_reset(&s->r->row);
		rc = start_touch(s, &w, err);
		if (rc == SAT_OK && !w.valid_id) {
			rc = refuse_id(s, err);
			if (rc != SAT_OK)
				break;
			rc = sat_db_step(&s->r->db, s->st, &s->row, err);
			continue;
		}
		if (rc == SAT_OK)
			rc = read_images(s, &w, err);
		if (rc == SAT_OK)
			rc = harvest_row(s, &w, err);
		/* Memory has a limit; a transaction that large may be cut. */
		if (rc == SAT_OK && s->r->batch.used > SAT_REPLICA_BATCH_GOAL)
			rc = form_changeset(s, err);
	}
	return rc == SAT_OK ? form_changeset(s, err) : rc;
}

/* Tables without triggers: SQLite empties them page by page. */
static int clear_pending(struct sat_replica *r, struct sat_err *err)
{
	struct sat_sql s;
	int rc;

	sat_sql_init(&s);
	sat_sql_add(&s, "DELETE FROM _satchel_pending;");
	for (uint16_t i = 0; i < r->catalogue->table_count; i++)
		sat_sql_add(&s, "DELETE FROM _satchel_before_%s;",
			    r->catalogue->tables[i].name);
	rc = sat_sql_run(r, &s, err);
	sat_sql_fini(&s);
	return rc;
}

static int harvest_pending(struct sat_replica *r, bool coalesced,
			   struct sat_err *err)
{
	struct sweep s = { .r = r, .coalesced = coalesced };
	int rc = sat_apply_look(r, err);

	if (rc == SAT_OK)
		rc = sat_db_stmt(&r->db,
				 "SELECT t, id, n, op, at FROM _satchel_pending"
				 " ORDER BY t, id, n",
				 &s.st, err);
	if (rc != SAT_OK)
		return rc;
	sat_arena_init(&s.image[0], SAT_REPLICA_SCRATCH_MAX);
	sat_arena_init(&s.image[1], SAT_REPLICA_SCRATCH_MAX);
	rc = sweep_all(&s, err);
	sat_db_reset(s.st);
	sat_arena_fini(&s.image[0]);
	sat_arena_fini(&s.image[1]);
	return rc == SAT_OK ? clear_pending(r, err) : rc;
}

int sat_harvest(struct sat_replica *r, bool coalesced, struct sat_err *err)
{
	int64_t pending = 0, asked = 0;
	int rc = sat_db_int(&r->db,
			    "SELECT EXISTS(SELECT 1 FROM _satchel_pending)", 0,
			    &pending, err);

	if (rc == SAT_OK && pending != 0)
		rc = harvest_pending(r, coalesced, err);
	if (rc == SAT_OK)
		rc = sat_db_int(&r->db,
				"SELECT EXISTS(SELECT 1 FROM _satchel_intent)"
				" OR EXISTS(SELECT 1 FROM satchel_resolve)",
				0, &asked, err);
	if (rc == SAT_OK && asked != 0)
		rc = sat_harvest_intents(r, err);
	return rc;
}

int sat_replica_harvest(struct sat_replica *r, int64_t now_raw_ms,
			bool coalesced, int wait_ms, uint64_t *ret_seq,
			struct sat_err *err)
{
	int64_t before;
	int rc;

	(void)now_raw_ms; /* times are those of the statements */
	(void)sqlite3_busy_timeout(r->db.handle, wait_ms);
	rc = sat_txn_begin(r, err);
	(void)sqlite3_busy_timeout(r->db.handle, SAT_DB_BUSY_MS);
	if (rc != SAT_OK)
		return rc;
	before = r->facts.seq;
	rc = sat_txn_end(r, sat_harvest(r, coalesced, err), err);
	if (rc == SAT_OK)
		*ret_seq = r->facts.seq > before ? (uint64_t)r->facts.seq : 0;
	return rc;
}
