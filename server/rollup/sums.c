#include "server/rollup/sums.h"

#include <stdlib.h>
#include <string.h>

void sat_sums_init(struct sat_sums *s, size_t bytes_max)
{
	*s = (struct sat_sums){ .count = 0 };
	sat_arena_init(&s->arena, bytes_max);
}

void sat_sums_fini(struct sat_sums *s)
{
	sat_arena_fini(&s->arena);
	free(s->list);
	free(s->index);
	s->list = NULL;
	s->index = NULL;
	s->count = s->cap = s->index_cap = 0;
}

void sat_sums_clear(struct sat_sums *s)
{
	if (s->count == 0)
		return;
	sat_arena_reset(&s->arena);
	memset(s->index, 0, s->index_cap * sizeof *s->index);
	s->count = 0;
}

static uint32_t hash_bytes(uint32_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

static uint32_t hash_key(const struct sat_table *figures,
			 const struct sat_id *node, struct sat_slice rest)
{
	uint32_t h = 2166136261u ^ figures->no;

	h = hash_bytes(h, node->b, sizeof node->b);
	h = hash_bytes(h, rest.ptr, rest.len);
	return h ^ h >> 15;
}

static uint32_t slot_of(const struct sat_sums *s, const struct sat_figure *key)
{
	uint32_t mask = s->index_cap - 1, i = key->hash & mask;

	while (s->index[i] != 0) {
		const struct sat_figure *e = &s->list[s->index[i] - 1];

		if (e->hash == key->hash && e->figures == key->figures &&
		    memcmp(e->node.b, key->node.b, sizeof e->node.b) == 0 &&
		    sat_slice_equal(e->rest, key->rest))
			break;
		i = (i + 1) & mask;
	}
	return i;
}

/* Room for one more at a load of at most one half. */
static bool grow(struct sat_sums *s)
{
	struct sat_figure *list;
	uint32_t *index, cap;

	if (s->count < s->cap)
		return true;
	if (s->cap > UINT32_MAX / 8)
		return false;
	cap = s->cap == 0 ? 64 : s->cap * 2;
	list = realloc(s->list, cap * sizeof *list);
	if (list == NULL)
		return false;
	s->list = list;
	index = calloc((size_t)cap * 2, sizeof *index);
	if (index == NULL)
		return false;
	free(s->index);
	s->index = index;
	s->index_cap = cap * 2;
	s->cap = cap;
	for (uint32_t i = 0; i < s->count; i++)
		s->index[slot_of(s, &list[i])] = i + 1;
	return true;
}

struct sat_figure *sat_sums_at(struct sat_sums *s,
			       const struct sat_table *figures,
			       const struct sat_id *node, struct sat_slice rest)
{
	struct sat_figure key = { .figures = figures,
				  .node = *node,
				  .rest = rest,
				  .hash = hash_key(figures, node, rest) };
	uint32_t slot;

	if (!grow(s))
		return NULL;
	slot = slot_of(s, &key);
	if (s->index[slot] != 0)
		return &s->list[s->index[slot] - 1];
	key.add = sat_arena_array(&s->arena, figures->rollup->measure_count,
				  sizeof *key.add);
	if (key.add == NULL ||
	    sat_arena_copy(&s->arena, rest, &key.rest) != SAT_OK)
		return NULL;
	s->list[s->count] = key;
	s->index[slot] = ++s->count;
	return &s->list[s->count - 1];
}

int64_t sat_wrap_add(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}

void sat_figure_add(struct sat_figure *to, const int64_t *add, bool minus)
{
	for (uint16_t i = 0; i < to->figures->rollup->measure_count; i++) {
		uint64_t v = (uint64_t)add[i];

		to->add[i] =
			sat_wrap_add(to->add[i], (int64_t)(minus ? 0 - v : v));
	}
}

bool sat_figure_is_zero(const struct sat_figure *s)
{
	for (uint16_t i = 0; i < s->figures->rollup->measure_count; i++) {
		if (s->add[i] != 0)
			return false;
	}
	return true;
}

int sat_sums_merge(struct sat_sums *into, const struct sat_sums *from)
{
	for (uint32_t i = 0; i < from->count; i++) {
		const struct sat_figure *f = &from->list[i];
		struct sat_figure *to =
			sat_sums_at(into, f->figures, &f->node, f->rest);

		if (to == NULL)
			return SAT_E_NOMEM;
		sat_figure_add(to, f->add, false);
		to->touched = to->touched || f->touched;
	}
	return SAT_OK;
}
