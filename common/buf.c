#include "common/buf.h"

#include <stdlib.h>
#include <string.h>

struct sat_slice sat_slice_str(const char *s)
{
	return (struct sat_slice){ (const uint8_t *)s, strlen(s) };
}

bool sat_slice_equal(struct sat_slice a, struct sat_slice b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int sat_slice_compare(struct sat_slice a, struct sat_slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);

	if (order != 0)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

void sat_buf_init(struct sat_buf *b, size_t max)
{
	SAT_ASSERT(max > 0);
	*b = (struct sat_buf){ .max = max };
}

void sat_buf_fini(struct sat_buf *b)
{
	free(b->base);
	*b = (struct sat_buf){ .max = b->max };
}

/* Move the unread bytes to the front, so that consumed ones can be reused. */
static void compact(struct sat_buf *b)
{
	if (b->head == 0)
		return;
	if (b->len > b->head)
		memmove(b->base, b->base + b->head, b->len - b->head);
	b->len -= b->head;
	b->head = 0;
}

int sat_buf_reserve(struct sat_buf *b, size_t n, uint8_t **ret_ptr)
{
	size_t used = b->len - b->head;
	size_t cap;
	uint8_t *base;

	if (n > b->max - used)
		return SAT_E_LIMIT;
	if (n > b->cap - b->len) {
		/* Only move bytes when that pays: else a long buffer that is
		 * consumed in small steps would be copied at each step. */
		if (b->head >= b->cap / 2 || b->cap == b->max)
			compact(b);
	}
	if (n > b->cap - b->len) {
		compact(b);
		cap = b->cap < 256 ? 256 : b->cap;
		while (cap < used + n)
			cap = cap > b->max / 2 ? b->max : cap * 2;
		if (cap > b->max)
			cap = b->max;
		base = realloc(b->base, cap);
		if (base == NULL)
			return SAT_E_NOMEM;
		b->base = base;
		b->cap = cap;
	}
	*ret_ptr = b->base + b->len;
	return SAT_OK;
}

void sat_buf_commit(struct sat_buf *b, size_t n)
{
	SAT_ASSERT(n <= b->cap - b->len);
	b->len += n;
}

int sat_buf_append(struct sat_buf *b, const void *p, size_t n)
{
	uint8_t *dst;
	int rc;

	if (n == 0)
		return SAT_OK;
	rc = sat_buf_reserve(b, n, &dst);
	if (rc != SAT_OK)
		return rc;
	memcpy(dst, p, n);
	sat_buf_commit(b, n);
	return SAT_OK;
}

struct sat_slice sat_buf_peek(const struct sat_buf *b)
{
	if (b->len == b->head)
		return (struct sat_slice){ NULL, 0 };
	return (struct sat_slice){ b->base + b->head, b->len - b->head };
}

void sat_buf_consume(struct sat_buf *b, size_t n)
{
	SAT_ASSERT(n <= b->len - b->head);
	b->head += n;
	if (b->head == b->len)
		b->head = b->len = 0;
}

void sat_buf_clear(struct sat_buf *b)
{
	b->head = b->len = 0;
}
