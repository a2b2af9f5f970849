/* The scopes of a row are the union of its table's sources (SYNC section 5):
 * an empty source adds nothing, so a null reference falls through to the
 * next. Chains of `via` need no walk here, whatever their length: the places
 * of the parent are its scopes already, and the cascade keeps them so. */
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"

bool sat_scopes_have(const struct sat_scopes *s, uint32_t scope)
{
	for (uint32_t i = 0; i < s->count && s->list[i] <= scope; i++) {
		if (s->list[i] == scope)
			return true;
	}
	return false;
}

int sat_scopes_add(struct sat_arena *a, struct sat_scopes *s, uint32_t scope)
{
	uint32_t at = 0, cap, *grown;

	while (at < s->count && s->list[at] < scope)
		at++;
	if (at < s->count && s->list[at] == scope)
		return SAT_OK;
	if (s->count >= SAT_ROW_SCOPES_MAX)
		return SAT_E_LIMIT;
	if (s->count == s->cap) {
		cap = s->cap == 0 ? 4 : s->cap * 2;
		grown = sat_arena_array(a, cap, sizeof *grown);
		if (grown == NULL)
			return SAT_E_NOMEM;
		if (s->count > 0)
			memcpy(grown, s->list, s->count * sizeof *grown);
		s->list = grown;
		s->cap = cap;
	}
	memmove(&s->list[at + 1], &s->list[at],
		(s->count - at) * sizeof *s->list);
	s->list[at] = scope;
	s->count++;
	return SAT_OK;
}

int sat_scope_number(struct sat_engine *e, const struct sat_id *territory,
		     uint32_t *ret, struct sat_err *err)
{
	struct sat_scope_slot *s;
	uint32_t h = 0;
	int rc;

	for (unsigned i = 0; i < 16; i++)
		h = h * 31 + territory->b[i];
	s = &e->scope_slots[h % SAT_SCOPE_SLOTS];
	if (s->scope == 0 ||
	    memcmp(s->territory.b, territory->b, sizeof territory->b) != 0) {
		rc = sat_store_scope_of(e->store, territory, true, &s->scope,
					err);
		if (rc != SAT_OK) {
			s->scope = 0;
			return rc;
		}
		s->territory = *territory;
	}
	*ret = s->scope;
	return SAT_OK;
}

static bool id_of(const struct sat_value *v, struct sat_id *ret)
{
	if (v->kind != SAT_BLOB || v->s.len != sizeof ret->b)
		return false;
	memcpy(ret->b, v->s.ptr, sizeof ret->b);
	return true;
}

struct gather {
	struct sat_engine *e;
	struct sat_arena *a;
	struct sat_scopes *all, *own;
	struct sat_err *err;
};

static int add_territory(struct gather *g, const struct sat_id *id)
{
	uint32_t scope;
	int rc = sat_scope_number(g->e, id, &scope, g->err);

	if (rc == SAT_OK)
		rc = sat_scopes_add(g->a, g->all, scope);
	if (rc == SAT_OK)
		rc = sat_scopes_add(g->a, g->own, scope);
	return rc;
}

static int add_set(struct gather *g, const struct sat_value *v)
{
	struct sat_slice *elements;
	uint32_t count;
	struct sat_id id;
	int rc;

	if (v->kind != SAT_TEXT)
		return SAT_OK;
	rc = sat_set_parse(g->a, v->s, &elements, &count);
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
		if (sat_id_parse(elements[i], &id))
			rc = add_territory(g, &id);
	}
	return rc;
}

static int add_row(struct gather *g, const struct sat_table *t,
		   const struct sat_id *id)
{
	struct sat_where where;
	int rc = sat_lookup_row(g->e, t, id, &where, g->err);

	for (uint32_t i = 0; rc == SAT_OK && i < where.scope_count; i++)
		rc = sat_scopes_add(g->a, g->all, where.scopes[i]);
	return rc;
}

static int add_source(struct gather *g, const struct sat_table *t,
		      const struct sat_scope_source *s,
		      const struct sat_value *values)
{
	const struct sat_catalogue *c = g->e->plan.cat;
	const struct sat_table *of;
	struct sat_id id;
	int rc;

	switch (s->kind) {
	case SAT_SCOPE_GLOBAL:
		rc = sat_scopes_add(g->a, g->all, SAT_SCOPE_EVERYONE);
		return rc == SAT_OK ? sat_scopes_add(g->a, g->own,
						     SAT_SCOPE_EVERYONE)
				    : rc;
	case SAT_SCOPE_COLUMN:
		return id_of(&values[s->column], &id) ? add_territory(g, &id)
						      : SAT_OK;
	case SAT_SCOPE_SET:
		return add_set(g, &values[s->column]);
	case SAT_SCOPE_VIA:
		of = &c->tables[t->columns[s->column].ref_table];
		return id_of(&values[s->column], &id) ? add_row(g, of, &id)
						      : SAT_OK;
	case SAT_SCOPE_ROW:
		if (values[s->column].kind != SAT_TEXT ||
		    values[s->column2].kind != SAT_TEXT ||
		    !sat_id_parse(values[s->column2].s, &id))
			return SAT_OK;
		of = sat_catalogue_table(c, values[s->column].s);
		return of != NULL ? add_row(g, of, &id) : SAT_OK;
	}
	return SAT_OK;
}

int sat_row_scopes(struct sat_engine *e, const struct sat_table *t,
		   const struct sat_value *values, struct sat_arena *a,
		   struct sat_scopes *all, struct sat_scopes *own,
		   struct sat_err *err)
{
	struct gather g = { e, a, all, own, err };
	int rc = SAT_OK;

	*all = (struct sat_scopes){ 0 };
	*own = (struct sat_scopes){ 0 };
	for (uint16_t i = 0; rc == SAT_OK && i < t->scope_count; i++)
		rc = add_source(&g, t, &t->scopes[i], values);
	if (rc == SAT_E_NOMEM || rc == SAT_E_LIMIT)
		sat_err_set(err, rc, 0, "scopes", "too many scopes");
	return rc;
}
