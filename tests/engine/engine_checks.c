/* Checks that share no code with the engine: digests and feed recomputed from
 * the rows as stored. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine/engine_fixture.h"

enum { SCOPES = 64, ROLES = SAT_ROLE_SERVER, ENTRIES_MAX = 400000 };

struct sums {
	struct world *w;
	struct sat_arena arena;
	struct sat_hash h[SCOPES][ROLES];
	uint64_t rows[SCOPES][ROLES];
	uint64_t places;
};

/* The hash as the device of that role has it, from the columns it was sent. */
static struct sat_hash hash_as(struct sums *s, const struct sat_table *t,
			       const struct sat_stored_row *row,
			       enum sat_role role)
{
	const struct sat_catalogue *c = sat_store_catalogue(s->w->store);
	bool readable[64] = { false };
	struct sat_buf meta;
	struct sat_hash h;

	for (uint16_t i = 0; i < t->column_count; i++)
		readable[i] = (t->columns[i].read & SAT_ROLE_BIT(role)) != 0;
	(void)sat_read_foreign(c, t, role, row->values, readable);
	sat_buf_init(&meta, 1 << 20);
	assert_int_equal(sat_meta_mask(&s->arena, t, row->meta, row->values,
				       readable, &meta),
			 SAT_OK);
	h = sat_row_hash(t, &row->id, sat_buf_peek(&meta), row->values,
			 readable);
	sat_buf_fini(&meta);
	return h;
}

static int on_digest_row(void *arg, const struct sat_table *t,
			 const struct sat_stored_row *row)
{
	struct sums *s = arg;

	sat_arena_reset(&s->arena);
	assert_false(row->damaged);
	assert_true(row->place_count > 0);
	for (uint32_t i = 0; i < row->place_count; i++) {
		const struct sat_place *p = &row->places[i];

		s->places++;
		assert_true(p->scope < SCOPES);
		assert_true(p->evict || p->seq >= row->seq);
		if (p->evict || row->deleted)
			continue;
		for (unsigned r = 0; r < ROLES; r++) {
			sat_hash_add(&s->h[p->scope][r],
				     hash_as(s, t, row, (enum sat_role)r));
			s->rows[p->scope][r]++;
		}
	}
	return SAT_OK;
}

static void scan_rows(struct world *w, struct sums *s)
{
	const struct sat_catalogue *c = sat_store_catalogue(w->store);
	struct sat_err err;

	memset(s, 0, sizeof *s);
	s->w = w;
	sat_arena_init(&s->arena, 1 << 24);
	for (uint16_t i = 0; i < c->table_count; i++)
		assert_int_equal(sat_store_rows(w->store, &c->tables[i], -1,
						NULL, on_digest_row, s, &err),
				 SAT_OK);
	sat_arena_fini(&s->arena);
}

void check_digests(struct world *w)
{
	struct sums *s = malloc(sizeof *s);
	struct sat_hash got;
	struct sat_err err;
	uint64_t rows;

	assert_non_null(s);
	scan_rows(w, s);
	for (uint32_t scope = 0; scope < SCOPES; scope++) {
		for (unsigned r = 0; r < ROLES; r++) {
			got = (struct sat_hash){ 0 };
			rows = 0;
			assert_int_equal(sat_store_digest_get(w->store, scope,
							      (enum sat_role)r,
							      &got, &rows,
							      &err),
					 SAT_OK);
			assert_int_equal(rows, s->rows[scope][r]);
			assert_true(sat_hash_equal(got, s->h[scope][r]));
		}
	}
	free(s);
}

struct walk {
	struct world *w;
	uint32_t scope;
	uint64_t entries, last;
};

static int on_feed(void *arg, uint64_t seq, const struct sat_table *t,
		   uint64_t row_seq, const struct sat_id *id, bool evict)
{
	struct walk *k = arg;
	struct sat_stored_row row;
	struct sat_err err;
	bool found = false;

	assert_true(seq > k->last);
	k->last = seq;
	k->entries++;
	if (evict)
		assert_int_equal(sat_store_row_get(k->w->store, t, id,
						   &k->w->arena, &row, &err),
				 SAT_OK);
	else
		assert_int_equal(sat_store_row_at(k->w->store, t, row_seq,
						  &k->w->arena, &row, &err),
				 SAT_OK);
	assert_int_not_equal(row.seq, 0);
	for (uint32_t i = 0; i < row.place_count; i++)
		found = found || (row.places[i].scope == k->scope &&
				  row.places[i].seq == seq &&
				  row.places[i].evict == evict);
	assert_true(found);
	return SAT_OK;
}

void check_feed(struct world *w)
{
	struct sums *s = malloc(sizeof *s);
	struct walk k = { .w = w };
	struct sat_err err;

	assert_non_null(s);
	scan_rows(w, s);
	for (k.scope = 0; k.scope < SCOPES; k.scope++) {
		k.last = 0;
		assert_int_equal(sat_store_feed_scan(w->store, k.scope, 0,
						     UINT64_MAX, on_feed, &k,
						     &err),
				 SAT_OK);
	}
	assert_int_equal(k.entries, s->places);
	free(s);
}
