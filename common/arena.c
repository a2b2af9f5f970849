#include "common/arena.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, CHUNK_BYTES = 16 * 1024 };

struct sat_arena_chunk {
	struct sat_arena_chunk *next;
	size_t used, cap;
	_Alignas(16) uint8_t data[];
};

void sat_arena_init(struct sat_arena *a, size_t max)
{
	*a = (struct sat_arena){ .max = max };
}

static void free_chain(struct sat_arena_chunk *c)
{
	struct sat_arena_chunk *next;

	for (; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
}

void sat_arena_fini(struct sat_arena *a)
{
	free_chain(a->head);
	*a = (struct sat_arena){ .max = a->max };
}

void sat_arena_reset(struct sat_arena *a)
{
	a->used = 0;
	if (a->head == NULL)
		return;
	free_chain(a->head->next);
	a->head->next = NULL;
	a->head->used = 0;
}

static struct sat_arena_chunk *add_chunk(struct sat_arena *a, size_t n)
{
	size_t cap = a->head == NULL ? CHUNK_BYTES : a->head->cap * 2;
	struct sat_arena_chunk *c;

	if (cap > 1024 * 1024)
		cap = 1024 * 1024;
	if (cap < n)
		cap = n;
	c = malloc(sizeof *c + cap);
	if (c == NULL)
		return NULL;
	*c = (struct sat_arena_chunk){ .next = a->head, .cap = cap };
	a->head = c;
	return c;
}

void *sat_arena_alloc(struct sat_arena *a, size_t n)
{
	struct sat_arena_chunk *c = a->head;
	uint8_t *p;

	if (n > a->max - a->used || n > SIZE_MAX / 2)
		return NULL;
	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (c == NULL || n > c->cap - c->used) {
		c = add_chunk(a, n);
		if (c == NULL)
			return NULL;
	}
	p = c->data + c->used;
	c->used += n;
	a->used = n > a->max - a->used ? a->max : a->used + n;
	memset(p, 0, n);
	return p;
}

void *sat_arena_array(struct sat_arena *a, size_t count, size_t size)
{
	if (size != 0 && count > SIZE_MAX / size)
		return NULL;
	return sat_arena_alloc(a, count * size);
}

int sat_arena_copy(struct sat_arena *a, struct sat_slice s,
		   struct sat_slice *ret)
{
	uint8_t *p = sat_arena_alloc(a, s.len);

	if (p == NULL)
		return SAT_E_NOMEM;
	if (s.len > 0)
		memcpy(p, s.ptr, s.len);
	*ret = (struct sat_slice){ p, s.len };
	return SAT_OK;
}

char *sat_arena_string(struct sat_arena *a, struct sat_slice s)
{
	char *p = sat_arena_alloc(a, s.len + 1);

	if (p != NULL && s.len > 0)
		memcpy(p, s.ptr, s.len);
	return p;
}
