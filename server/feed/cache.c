#include "server/feed/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024, OVERHEAD = 160 /* of a page, beside its frames */ };

struct page {
	struct sat_cached_page as; /* first: what a caller holds */
	struct page *next;         /* in its bucket              */
	struct page *newer, *older;
	uint32_t pins;
	bool kept; /* in the table; else freed with the last pin */
	uint8_t bytes[];
};

struct sat_page_cache {
	pthread_mutex_t lock;
	struct page *buckets[BUCKETS];
	struct page *newest, *oldest;
	struct sat_page_cache_load load;
	size_t bytes_max;
};

static bool same_key(const struct sat_page_key *x, const struct sat_page_key *y)
{
	return x->after == y->after && x->scope == y->scope &&
	       x->role == y->role && x->catalogue == y->catalogue &&
	       x->limit == y->limit;
}

static struct page **bucket(struct sat_page_cache *c,
			    const struct sat_page_key *k)
{
	uint64_t h = (k->after * 31 + k->scope) * 31 + k->role;

	return &c->buckets[(h * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
}

static size_t cost(const struct page *p)
{
	return p->as.frames.len + OVERHEAD;
}

/* ---- under the lock ------------------------------------------------------ */

static void unlink_age(struct sat_page_cache *c, struct page *p)
{
	*(p->newer != NULL ? &p->newer->older : &c->newest) = p->older;
	*(p->older != NULL ? &p->older->newer : &c->oldest) = p->newer;
	p->newer = p->older = NULL;
}

static void link_newest(struct sat_page_cache *c, struct page *p)
{
	p->older = c->newest;
	*(c->newest != NULL ? &c->newest->newer : &c->oldest) = p;
	c->newest = p;
}

static struct page *find(struct sat_page_cache *c,
			 const struct sat_page_key *key)
{
	struct page *p = *bucket(c, key);

	while (p != NULL && !same_key(&p->as.key, key))
		p = p->next;
	return p;
}

static void drop(struct sat_page_cache *c, struct page *p)
{
	struct page **at = bucket(c, &p->as.key);

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	unlink_age(c, p);
	c->load.bytes -= cost(p);
	c->load.pages--;
	p->kept = false;
	if (p->pins == 0)
		free(p);
}

/* ---- from outside -------------------------------------------------------- */

struct sat_page_cache *sat_page_cache_new(size_t bytes_max)
{
	struct sat_page_cache *c = calloc(1, sizeof *c);

	if (c != NULL && pthread_mutex_init(&c->lock, NULL) != 0) {
		free(c);
		return NULL;
	}
	if (c != NULL)
		c->bytes_max = bytes_max;
	return c;
}

void sat_page_cache_free(struct sat_page_cache *c)
{
	if (c == NULL)
		return;
	while (c->oldest != NULL) {
		SAT_ASSERT(c->oldest->pins == 0);
		drop(c, c->oldest);
	}
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

const struct sat_cached_page *sat_page_cache_pin(struct sat_page_cache *c,
						 const struct sat_page_key *key)
{
	struct page *p;

	(void)pthread_mutex_lock(&c->lock);
	p = find(c, key);
	if (p != NULL) {
		p->pins++;
		unlink_age(c, p);
		link_newest(c, p);
		c->load.hits++;
	} else {
		c->load.misses++;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return p == NULL ? NULL : &p->as;
}

void sat_page_cache_unpin(struct sat_page_cache *c,
			  const struct sat_cached_page *page, bool stale)
{
	struct page *p = (struct page *)(uintptr_t)page;

	(void)pthread_mutex_lock(&c->lock);
	p->pins--;
	if (stale && p->kept) {
		c->load.dropped++;
		drop(c, p);
	} else if (!p->kept && p->pins == 0) {
		free(p);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

void sat_page_cache_put(struct sat_page_cache *c,
			const struct sat_cached_page *page)
{
	size_t n = page->frames.len;
	struct page *p, *old;

	if (n > c->bytes_max || n + OVERHEAD > c->bytes_max)
		return;
	p = malloc(sizeof *p + n);
	if (p == NULL)
		return;
	*p = (struct page){ .as = *page, .kept = true };
	if (n > 0)
		memcpy(p->bytes, page->frames.ptr, n);
	p->as.frames.ptr = p->bytes;
	(void)pthread_mutex_lock(&c->lock);
	old = find(c, &page->key);
	if (old != NULL)
		drop(c, old);
	while (c->load.bytes > c->bytes_max - cost(p))
		drop(c, c->oldest);
	p->next = *bucket(c, &page->key);
	*bucket(c, &page->key) = p;
	link_newest(c, p);
	c->load.bytes += cost(p);
	c->load.pages++;
	(void)pthread_mutex_unlock(&c->lock);
}

void sat_page_cache_look(struct sat_page_cache *c,
			 struct sat_page_cache_load *ret)
{
	(void)pthread_mutex_lock(&c->lock);
	*ret = c->load;
	(void)pthread_mutex_unlock(&c->lock);
}
