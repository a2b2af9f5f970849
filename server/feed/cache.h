/* cache.h - pages that were built for one device and are the same for the next
 * one: a stretch of a scope's feed, encoded for a read set (SYNC section 5).
 *
 * The cache does not know when a row moves. A stretch is known by where it
 * begins and ends and how many entries it had: positions are never given
 * twice and new ones come behind all others, so whatever happens to a row of
 * it takes an entry out, and the count, taken in the reader's own snapshot,
 * tells. Whoever finds it changed drops it.
 *
 * Bounded in bytes, the longest unused go first. Every function may be called
 * by any thread.
 */
#ifndef SAT_FEED_CACHE_H
#define SAT_FEED_CACHE_H

#include "common/base.h"
#include "common/buf.h"

struct sat_page_cache;

/* Everything that decides what a stretch looks like. */
struct sat_page_key {
	uint64_t after; /* the entry before the first one */
	uint32_t scope, role, catalogue;
	uint32_t limit; /* bytes at which the builder stops */
};

struct sat_cached_page {
	struct sat_page_key key;
	uint64_t to;             /* its last entry     */
	uint32_t count;          /* entries in it      */
	struct sat_slice frames; /* as they go out     */
};

struct sat_page_cache_load {
	uint64_t hits, misses, dropped;
	size_t bytes, pages;
};

/* NULL when out of memory. */
struct sat_page_cache *sat_page_cache_new(size_t bytes_max);
/* Nothing may be pinned. */
void sat_page_cache_free(struct sat_page_cache *c);

/* The page of that key, which stays until it is unpinned, or NULL. */
const struct sat_cached_page *
sat_page_cache_pin(struct sat_page_cache *c, const struct sat_page_key *key);
/* stale: it is not what the feed says any more. */
void sat_page_cache_unpin(struct sat_page_cache *c,
			  const struct sat_cached_page *page, bool stale);

/* Copies the frames, in place of a page of the same key; without memory, or
 * when it is too large for the cache, nothing is kept. */
void sat_page_cache_put(struct sat_page_cache *c,
			const struct sat_cached_page *page);

void sat_page_cache_look(struct sat_page_cache *c,
			 struct sat_page_cache_load *ret);

#endif
