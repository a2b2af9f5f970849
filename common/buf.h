/* buf.h - a growable byte buffer with a ceiling, and a borrowed view.
 *
 * Every buffer that a peer can fill is a sat_buf, because a sat_buf cannot be
 * created without saying how large it may become. Not thread-safe.
 */
#ifndef SAT_BUF_H
#define SAT_BUF_H

#include "common/base.h"

/* A view. Never owns; valid only as long as its header says. */
struct sat_slice {
	const uint8_t *ptr; /* may be NULL when len is 0 */
	size_t len;         /* bytes                     */
};

/* [0, head) consumed | [head, len) readable | [len, cap) writable.
 * Fields are readable by anyone, writable by buf.c alone. */
struct sat_buf {
	uint8_t *base;
	size_t head, len, cap; /* bytes; head <= len <= cap <= max */
	size_t max;            /* bytes, fixed at init             */
};

/* A view of a NUL terminated string, without the NUL. */
struct sat_slice sat_slice_str(const char *s);

/* Bytewise equality; two empty slices are equal. */
bool sat_slice_equal(struct sat_slice a, struct sat_slice b);

/* memcmp order, a prefix before what it is a prefix of. */
int sat_slice_compare(struct sat_slice a, struct sat_slice b);

/* Start empty; allocates nothing, cannot fail. max is in bytes, > 0. */
void sat_buf_init(struct sat_buf *b, size_t max);

/* Release the memory. Safe on a zeroed struct and safe to call twice. */
void sat_buf_fini(struct sat_buf *b);

/* Make at least n writable bytes follow the data and point *ret_ptr at them.
 *
 * Invalidates every slice taken from b. On failure b is unchanged.
 * Returns SAT_OK, SAT_E_LIMIT (the data plus n would pass max), SAT_E_NOMEM. */
int sat_buf_reserve(struct sat_buf *b, size_t n,
		    uint8_t **ret_ptr) SAT_MUST_CHECK;

/* Declare that n of the reserved bytes now hold data. */
void sat_buf_commit(struct sat_buf *b, size_t n);

/* Copy n bytes in; p must not point into b. Errors as sat_buf_reserve. */
int sat_buf_append(struct sat_buf *b, const void *p, size_t n) SAT_MUST_CHECK;

/* The unread bytes. Borrowed: valid until the next reserve, append, fini. */
struct sat_slice sat_buf_peek(const struct sat_buf *b);

/* Drop n bytes from the front; n <= readable bytes. */
void sat_buf_consume(struct sat_buf *b, size_t n);

/* Forget the data, keep the memory. */
void sat_buf_clear(struct sat_buf *b);

#endif
