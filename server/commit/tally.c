#include "server/commit/tally.h"

#include <stdlib.h>
#include <string.h>

void sat_tally_fini(struct sat_tally *t)
{
	free(t->entries);
	free(t->index);
	*t = (struct sat_tally){ 0 };
}

void sat_tally_clear(struct sat_tally *t)
{
	t->count = 0;
	if (t->index != NULL)
		memset(t->index, 0, t->index_cap * sizeof *t->index);
}

static uint32_t slot_of(const struct sat_tally *t, uint32_t scope,
			uint32_t role)
{
	uint32_t mask = t->index_cap - 1;
	uint32_t i = ((scope * 2654435761u) ^ (role * 40503u)) & mask;

	while (t->index[i] != 0) {
		const struct sat_tally_entry *e = &t->entries[t->index[i] - 1];

		if (e->scope == scope && e->role == role)
			break;
		i = (i + 1) & mask;
	}
	return i;
}

/* Room for one more at a load of at most one half. */
static bool grow(struct sat_tally *t)
{
	struct sat_tally_entry *entries;
	uint32_t *index, cap;

	if (t->count < t->cap)
		return true;
	if (t->cap > UINT32_MAX / 8)
		return false;
	cap = t->cap == 0 ? 64 : t->cap * 2;
	entries = realloc(t->entries, cap * sizeof *entries);
	if (entries == NULL)
		return false;
	t->entries = entries;
	index = calloc((size_t)cap * 2, sizeof *index);
	if (index == NULL)
		return false;
	free(t->index);
	t->index = index;
	t->index_cap = cap * 2;
	t->cap = cap;
	for (uint32_t i = 0; i < t->count; i++)
		t->index[slot_of(t, entries[i].scope, entries[i].role)] = i + 1;
	return true;
}

struct sat_tally_entry *sat_tally_at(struct sat_tally *t, uint32_t scope,
				     uint32_t role)
{
	uint32_t slot;

	if (!grow(t))
		return NULL;
	slot = slot_of(t, scope, role);
	if (t->index[slot] == 0) {
		t->entries[t->count] = (struct sat_tally_entry){ .scope = scope,
								 .role = role };
		t->index[slot] = ++t->count;
	}
	return &t->entries[t->index[slot] - 1];
}

int sat_tally_merge(struct sat_tally *into, const struct sat_tally *from)
{
	for (uint32_t i = 0; i < from->count; i++) {
		const struct sat_tally_entry *f = &from->entries[i];
		struct sat_tally_entry *to =
			sat_tally_at(into, f->scope, f->role);

		if (to == NULL)
			return SAT_E_NOMEM;
		sat_hash_add(&to->plus, f->plus);
		sat_hash_add(&to->minus, f->minus);
		to->rows += f->rows;
	}
	return SAT_OK;
}
