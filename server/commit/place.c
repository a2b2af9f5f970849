/* A row's places are its entries in the feeds: one per scope it is in, and an
 * evict entry for each scope it has left. Whatever writes a row comes through
 * here, so feed, digests and places cannot part. */
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "row", "out of memory");
}

/* Whatever builds on a damaged row would make the damage look written. It is
 * put off, not refused: the row can be put right, and what waits for it is
 * still where it was made. */
int sat_row_damaged(const struct sat_table *t, const struct sat_id *id,
		    struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];

	sat_id_format(id, text);
	return sat_err_set(err, SAT_E_BUSY, 0, "row",
			   "row %s of %s is damaged: nothing is written to it "
			   "until it is put right (see `doctor`)",
			   text, t->name);
}

int sat_work_load(struct sat_engine *e, const struct sat_table *t,
		  const struct sat_id *id, struct sat_arena *a,
		  struct sat_work *ret, struct sat_err *err)
{
	struct sat_work w = { .table = t, .id = *id };
	int rc = sat_store_row_get(e->store, t, id, a, &w.old, err);

	if (rc != SAT_OK)
		return rc;
	if (w.old.damaged)
		return sat_row_damaged(t, id, err);
	if (w.old.seq == 0)
		rc = sat_row_init(a, t, &w.state);
	else
		rc = sat_meta_decode(a, t, w.old.meta, w.old.values, &w.state);
	if (rc == SAT_E_CORRUPT)
		return sat_err_set(err, rc, 0, "row",
				   "metadata of a %s row is damaged", t->name);
	if (rc != SAT_OK)
		return no_memory(err);
	*ret = w;
	return SAT_OK;
}

int sat_work_show(struct sat_arena *a, struct sat_work *w)
{
	const struct sat_table *t = w->table;
	int rc = SAT_OK;

	w->values = sat_arena_array(a, t->column_count, sizeof *w->values);
	if (w->values == NULL)
		return SAT_E_NOMEM;
	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++)
		rc = sat_field_value(a, &t->columns[i], &w->state.fields[i],
				     &w->values[i]);
	return rc;
}

/* ---- digests ------------------------------------------------------------ */

/* The hash as a reader of that role computes it: from what he is sent. */
static int hash_for(struct sat_engine *e, const struct sat_table *t,
		    const struct sat_id *id, struct sat_slice meta,
		    const struct sat_value *values, const bool *readable,
		    bool all, struct sat_arena *a, struct sat_hash *ret)
{
	int rc;

	if (!all) {
		sat_buf_clear(&e->masked);
		rc = sat_meta_mask(a, t, meta, values, readable, &e->masked);
		if (rc != SAT_OK)
			return rc;
		meta = sat_buf_peek(&e->masked);
	}
	*ret = sat_row_hash(t, id, meta, values, readable);
	return SAT_OK;
}

int sat_class_hash(struct sat_engine *e, const struct sat_table *t,
		   const struct sat_id *id, struct sat_slice meta,
		   const struct sat_value *values, struct sat_arena *a,
		   struct sat_class_hashes *ret, struct sat_err *err)
{
	const struct sat_table_plan *tp = &e->plan.tables[t->index];
	bool *readable, foreign, known[SAT_ROLE_COUNT] = { false };
	struct sat_hash by_class[SAT_ROLE_COUNT];
	int rc = SAT_OK;

	readable = sat_arena_array(a, t->column_count, sizeof *readable);
	if (readable == NULL)
		return no_memory(err);
	for (unsigned role = 0; rc == SAT_OK && role < SAT_READERS; role++) {
		uint8_t k = tp->class_of[role];

		memcpy(readable, tp->readable[k],
		       t->column_count * sizeof *readable);
		foreign = sat_read_foreign(e->plan.cat, t, (enum sat_role)role,
					   values, readable);
		if (foreign) {
			rc = hash_for(e, t, id, meta, values, readable, false,
				      a, &ret->h[role]);
			continue;
		}
		if (!known[k])
			rc = hash_for(e, t, id, meta, values, readable,
				      tp->reads_all[k], a, &by_class[k]);
		known[k] = true;
		ret->h[role] = by_class[k];
	}
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "digest",
					  "a row cannot be hashed");
}

/* Add the hashes to the scope's digests, or take them away. */
static int count_row(struct sat_engine *e, uint32_t scope,
		     const struct sat_class_hashes *h, bool plus,
		     struct sat_err *err)
{
	struct sat_tally_entry *entry;

	for (unsigned role = 0; role < SAT_READERS; role++) {
		entry = sat_tally_at(&e->changeset, scope, role);
		if (entry == NULL)
			return no_memory(err);
		sat_hash_add(plus ? &entry->plus : &entry->minus, h->h[role]);
		entry->rows += plus ? 1 : -1;
	}
	return SAT_OK;
}

/* The scope's feed moved, even if its digest did not (a tombstone). */
static int touch(struct sat_engine *e, uint32_t scope, struct sat_err *err)
{
	if (sat_tally_at(&e->changeset, scope, SAT_READERS) == NULL)
		return no_memory(err);
	return SAT_OK;
}

static int count_old(struct sat_engine *e, const struct sat_work *w,
		     struct sat_arena *a, struct sat_err *err)
{
	struct sat_class_hashes h;
	int rc;

	if (w->old.seq == 0 || w->old.deleted)
		return SAT_OK;
	rc = sat_class_hash(e, w->table, &w->id, w->old.meta, w->old.values, a,
			    &h, err);
	for (uint32_t i = 0; rc == SAT_OK && i < w->old.place_count; i++) {
		if (!w->old.places[i].evict)
			rc = count_row(e, w->old.places[i].scope, &h, false,
				       err);
	}
	return rc;
}

static int count_new(struct sat_engine *e, const struct sat_work *w,
		     struct sat_slice meta, struct sat_arena *a,
		     struct sat_err *err)
{
	struct sat_class_hashes h;
	int rc;

	rc = sat_class_hash(e, w->table, &w->id, meta, w->values, a, &h, err);
	for (uint32_t i = 0; rc == SAT_OK && i < w->scopes.count; i++)
		rc = count_row(e, w->scopes.list[i], &h, true, err);
	return rc;
}

/* ---- places ------------------------------------------------------------- */

/* One step of walking old places and new scopes together, both sorted. */
struct pairing {
	const struct sat_place *old; /* NULL: the row was never there */
	bool in;                     /* it belongs there now          */
	uint32_t scope;
};

static bool next_pair(const struct sat_work *w, uint32_t *i, uint32_t *k,
		      struct pairing *ret)
{
	const struct sat_place *p =
		*i < w->old.place_count ? &w->old.places[*i] : NULL;
	const uint32_t *s = *k < w->scopes.count ? &w->scopes.list[*k] : NULL;

	if (p == NULL && s == NULL)
		return false;
	ret->old = p != NULL && (s == NULL || p->scope <= *s) ? p : NULL;
	ret->in = s != NULL && (p == NULL || *s <= p->scope);
	ret->scope = ret->old != NULL ? p->scope : *s;
	*i += ret->old != NULL;
	*k += ret->in;
	return true;
}

/* Move one entry to position seq, as a row or as an evict. */
static int move_entry(struct sat_engine *e, const struct sat_work *w,
		      const struct pairing *p, uint64_t seq, uint64_t row_seq,
		      struct sat_err *err)
{
	int rc = SAT_OK;

	if (p->old != NULL)
		rc = sat_store_feed_remove(e->store, p->scope, p->old->seq,
					   err);
	if (rc == SAT_OK)
		rc = sat_store_feed_put(e->store, p->scope, seq, w->table,
					row_seq, &w->id, !p->in, err);
	return rc == SAT_OK ? touch(e, p->scope, err) : rc;
}

static struct sat_place *room_for_places(const struct sat_work *w,
					 struct sat_arena *a)
{
	return sat_arena_array(a, (size_t)w->old.place_count + w->scopes.count,
			       sizeof(struct sat_place));
}

/* Feed entries of a row that was written at seq; its new places. */
static int place_written(struct sat_engine *e, const struct sat_work *w,
			 uint64_t seq, struct sat_place *places,
			 uint32_t *ret_count, struct sat_err *err)
{
	uint32_t i = 0, k = 0, n = 0;
	struct pairing p;
	int rc = SAT_OK;

	while (rc == SAT_OK && next_pair(w, &i, &k, &p)) {
		if (!p.in && p.old->evict) { /* left before: told already */
			places[n++] = *p.old;
			continue;
		}
		rc = move_entry(e, w, &p, seq, seq, err);
		places[n++] = (struct sat_place){ p.scope, seq, !p.in };
	}
	*ret_count = n;
	return rc;
}

static int encode_meta(struct sat_engine *e, const struct sat_work *w,
		       struct sat_err *err)
{
	int rc;

	sat_buf_clear(&e->meta);
	rc = sat_meta_encode(w->table, &w->state, w->values, &e->meta);
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "row",
					  "metadata of a %s row is too large",
					  w->table->name);
}

/* Rows that were made below it without knowing follow later (told.c). */
static int note_stood(struct sat_engine *e, const struct sat_work *w,
		      uint64_t seq, struct sat_err *err)
{
	const int t = w->table->territory;
	const struct sat_value *was;
	struct sat_id id;

	if (w->old.seq == 0 || t < 0 ||
	    e->plan.tables[w->table->index].move_count == 0)
		return SAT_OK;
	was = &w->old.values[t];
	if (was->kind != SAT_BLOB || was->s.len != sizeof id.b ||
	    sat_value_equal(was, &w->values[t]))
		return SAT_OK;
	memcpy(id.b, was->s.ptr, sizeof id.b);
	return sat_store_stood_put(e->store, w->table, &w->id, &id, seq, err);
}

int sat_work_write(struct sat_engine *e, struct sat_work *w, uint64_t seq,
		   uint32_t origin, bool held, struct sat_arena *a,
		   struct sat_err *err)
{
	struct sat_stored_row row = {
		.seq = seq,
		.id = w->id,
		.origin = origin,
		.held = held,
		.deleted = !sat_row_alive(&w->state),
		.values = w->values,
	};
	struct sat_place *places = room_for_places(w, a);
	int rc;

	if (places == NULL)
		return no_memory(err);
	rc = count_old(e, w, a, err);
	if (rc == SAT_OK)
		rc = encode_meta(e, w, err);
	row.meta = sat_buf_peek(&e->meta);
	if (rc == SAT_OK && !row.deleted)
		rc = count_new(e, w, row.meta, a, err);
	if (rc == SAT_OK)
		rc = place_written(e, w, seq, places, &row.place_count, err);
	row.places = places;
	if (rc == SAT_OK)
		rc = sat_store_row_put(e->store, w->table, w->old.seq, &row,
				       err);
	if (rc == SAT_OK)
		rc = note_stood(e, w, seq, err);
	if (rc == SAT_OK)
		rc = sat_figures_note(e, w, err);
	sat_lookup_forget(e, w->table, &w->id);
	if (w->table == e->plan.tree)
		e->tree_stale = true;
	if (w->table == e->plan.tree)
		sat_rights_mark(e, NULL);
	else if (w->table == e->plan.people)
		sat_rights_mark(e, &w->id);
	return rc;
}

/* ---- memberships only --------------------------------------------------- */

static int rescope_entry(struct sat_engine *e, const struct sat_work *w,
			 const struct pairing *p, uint64_t seq,
			 const struct sat_class_hashes *h, struct sat_err *err)
{
	int rc = move_entry(e, w, p, seq, w->old.seq, err);

	if (rc == SAT_OK && !w->old.deleted)
		rc = count_row(e, p->scope, h, p->in, err);
	return rc;
}

int sat_work_rescope(struct sat_engine *e, struct sat_work *w,
		     struct sat_arena *a, bool *ret_moved, struct sat_err *err)
{
	struct sat_place *places = room_for_places(w, a);
	struct sat_stored_row row = w->old;
	struct sat_class_hashes h;
	uint32_t i = 0, k = 0, n = 0;
	struct pairing p;
	bool was, moved = false;
	int rc;

	if (places == NULL)
		return no_memory(err);
	rc = sat_class_hash(e, w->table, &w->id, w->old.meta, w->old.values, a,
			    &h, err);
	while (rc == SAT_OK && next_pair(w, &i, &k, &p)) {
		was = p.old != NULL && !p.old->evict;
		if (was == p.in) {
			places[n++] = *p.old;
			continue;
		}
		if (!moved)
			e->head++;
		moved = true;
		rc = rescope_entry(e, w, &p, e->head, &h, err);
		places[n++] = (struct sat_place){ p.scope, e->head, !p.in };
	}
	*ret_moved = moved;
	if (rc != SAT_OK || !moved)
		return rc;
	row.places = places;
	row.place_count = n;
	sat_lookup_forget(e, w->table, &w->id);
	return sat_store_row_put(e->store, w->table, w->old.seq, &row, err);
}
