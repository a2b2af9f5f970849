#include <string.h>

#include "server/commit/core.h"

static struct sat_lookup *slot_of(struct sat_engine *e,
				  const struct sat_table *t,
				  const struct sat_id *id)
{
	uint32_t h = t->no * 2654435761u;

	/* the random end of an id; its front is a clock */
	for (unsigned i = 8; i < 16; i++)
		h = h * 31 + id->b[i];
	return &e->lookups[h % SAT_LOOKUP_SLOTS];
}

static bool holds(const struct sat_lookup *s, const struct sat_table *t,
		  const struct sat_id *id)
{
	return s->table == t && memcmp(s->id.b, id->b, sizeof id->b) == 0;
}

void sat_lookup_forget(struct sat_engine *e, const struct sat_table *t,
		       const struct sat_id *id)
{
	struct sat_lookup *s = slot_of(e, t, id);

	if (holds(s, t, id))
		s->table = NULL;
}

void sat_lookup_clear(struct sat_engine *e)
{
	for (uint32_t i = 0; i < SAT_LOOKUP_SLOTS; i++)
		e->lookups[i].table = NULL;
}

/* Read the row; its live places into the arena. */
static int read_where(struct sat_engine *e, const struct sat_table *t,
		      const struct sat_id *id, struct sat_where *ret,
		      struct sat_err *err)
{
	struct sat_stored_row row;
	uint32_t *scopes, n = 0;
	int rc;

	sat_arena_reset(&e->look_arena);
	rc = sat_store_row_get(e->store, t, id, &e->look_arena, &row, err);
	if (rc != SAT_OK)
		return rc;
	*ret = (struct sat_where){ .exists = row.seq != 0,
				   .deleted = row.seq != 0 && row.deleted };
	if (row.seq == 0)
		return SAT_OK;
	/* a value of a parent matters to nobody here, its places do */
	if (row.damaged && row.place_count == 0)
		return sat_row_damaged(t, id, err);
	scopes = sat_arena_array(&e->look_arena, row.place_count,
				 sizeof *scopes);
	if (scopes == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "lookup",
				   "out of memory");
	for (uint32_t i = 0; i < row.place_count; i++) {
		if (!row.places[i].evict)
			scopes[n++] = row.places[i].scope;
	}
	ret->scopes = scopes;
	ret->scope_count = n;
	return SAT_OK;
}

int sat_lookup_row(struct sat_engine *e, const struct sat_table *t,
		   const struct sat_id *id, struct sat_where *ret,
		   struct sat_err *err)
{
	struct sat_lookup *s = slot_of(e, t, id);
	int rc;

	if (!holds(s, t, id)) {
		rc = read_where(e, t, id, ret, err);
		if (rc != SAT_OK || ret->scope_count > SAT_LOOKUP_SCOPES)
			return rc;
		*s = (struct sat_lookup){
			.table = t,
			.id = *id,
			.exists = ret->exists,
			.deleted = ret->deleted,
			.scope_count = (uint16_t)ret->scope_count,
		};
		for (uint32_t i = 0; i < ret->scope_count; i++)
			s->scopes[i] = ret->scopes[i];
	}
	*ret = (struct sat_where){ .exists = s->exists,
				   .deleted = s->deleted,
				   .scopes = s->scopes,
				   .scope_count = s->scope_count };
	return SAT_OK;
}
