/* Which part of the feed a device needs that comes back: everything behind
 * its cursor, and from the start only the scopes that it did not have all the
 * time since then (SYNC section 5). The server knows that from the versions
 * of the user's rights; the device selects nothing. */
#include <string.h>

#include "server/commit/core.h"

/* Keep what is in both; both are sorted. */
static uint32_t common_part(uint32_t *list, uint32_t count,
			    const struct sat_rights *with)
{
	uint32_t n = 0, k = 0;

	for (uint32_t i = 0; i < count; i++) {
		while (k < with->scope_count && with->scopes[k] < list[i])
			k++;
		if (k < with->scope_count && with->scopes[k] == list[i])
			list[n++] = list[i];
	}
	return n;
}

/* What is in the rights and not in the list, into a list of its own. */
static int rest(const struct sat_rights *of, const uint32_t *list,
		uint32_t count, struct sat_arena *a, struct sat_pull_start *ret)
{
	uint32_t *fresh = sat_arena_array(a, of->scope_count, sizeof *fresh);
	uint32_t n = 0, k = 0;

	if (fresh == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < of->scope_count; i++) {
		while (k < count && list[k] < of->scopes[i])
			k++;
		if (k == count || list[k] != of->scopes[i])
			fresh[n++] = of->scopes[i];
	}
	ret->fresh = fresh;
	ret->fresh_count = n;
	return SAT_OK;
}

/* Scopes had in every version since that one. SAT_E_NOTFOUND when a version
 * is not known any more, or the role was another one then: other columns. */
static int compare(struct sat_engine *e, const struct sat_rights *now,
		   uint32_t since, struct sat_arena *a,
		   struct sat_pull_start *ret, struct sat_err *err)
{
	uint32_t *held = NULL, count = 0;
	struct sat_rights was;
	struct sat_arena one;
	int64_t at_ms;
	int rc = since < now->version ? SAT_OK : SAT_E_NOTFOUND;

	sat_arena_init(&one, SAT_RIGHTS_BYTES_MAX);
	for (uint32_t v = since; rc == SAT_OK && v < now->version; v++) {
		sat_arena_reset(&one);
		rc = sat_store_rights_get(e->store, &now->user, v,
					  v == since ? a : &one, &was, &at_ms,
					  err);
		if (rc == SAT_OK && v == since && was.role != now->role)
			rc = SAT_E_NOTFOUND;
		if (rc != SAT_OK)
			break;
		if (v == since) {
			held = sat_arena_array(a, was.scope_count,
					       sizeof *held);
			if (held == NULL) {
				rc = SAT_E_NOMEM;
				break;
			}
			memcpy(held, was.scopes,
			       was.scope_count * sizeof *held);
			count = was.scope_count;
		} else {
			count = common_part(held, count, &was);
		}
	}
	sat_arena_fini(&one);
	return rc == SAT_OK ? rest(now, held, count, a, ret) : rc;
}

/* Go on inside a pull that was cut. */
static bool resume(const struct sat_engine *e, const struct sat_msg_hello *h,
		   const struct sat_rights *now, struct sat_pull_start *ret)
{
	struct sat_feed_mark m;

	if (!sat_feed_mark_unpack(h->mark, &m) || m.epoch != e->epoch ||
	    m.version != now->version || m.base != ret->base ||
	    h->epoch != e->epoch || m.at.cursor < ret->at.cursor ||
	    m.at.upto < m.at.cursor || m.at.upto > e->head ||
	    m.at.seq > m.at.upto || m.at.scope > now->scope_count)
		return false;
	/* rows of its first pages may have been deleted and collected since */
	if (m.at.upto < e->floor)
		return false;
	/* later passes read nothing from the start */
	if (m.at.fill && m.at.cursor != ret->at.cursor)
		return false;
	ret->at = m.at;
	return true;
}

/* How many rows the device is about to get. One that is in several of its
 * scopes counts in each. */
static int expect(struct sat_engine *e, struct sat_msg_welcome *w,
		  struct sat_err *err)
{
	const struct sat_rights *r = &w->rights;
	struct sat_hash sum;
	uint64_t rows;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < r->scope_count; i++) {
		rc = sat_store_digest_get(e->store, r->scopes[i], r->role, &sum,
					  &rows, err);
		if (rc == SAT_OK)
			w->rows += rows;
	}
	return rc;
}

int sat_engine_pull_start(struct sat_engine *e, const struct sat_msg_hello *h,
			  struct sat_msg_welcome *w, struct sat_arena *a,
			  struct sat_pull_start *ret, struct sat_err *err)
{
	struct sat_pull_start p = { .base = w->rights.version };
	int rc = SAT_OK;

	/* what was deleted behind its cursor is not known any more */
	w->rebase =
		h->epoch == e->epoch && h->cursor != 0 && h->cursor < e->floor;
	if (h->epoch == e->epoch && h->cursor != 0 && !w->rebase) {
		p.at.cursor = h->cursor;
		if (h->grants != w->rights.version) {
			rc = compare(e, &w->rights, h->grants, a, &p, err);
			p.at.fill = rc == SAT_OK;
			p.base = h->grants;
		}
	}
	if (rc == SAT_E_NOTFOUND) { /* everything, then */
		p = (struct sat_pull_start){ .base = w->rights.version };
		rc = SAT_OK;
	}
	if (rc == SAT_E_NOMEM)
		return sat_err_set(err, rc, 0, "pull", "out of memory");
	if (rc != SAT_OK)
		return rc;
	p.live = p.at.cursor != 0;
	w->resumed = resume(e, h, &w->rights, &p);
	*ret = p;
	return p.live ? SAT_OK : expect(e, w, err);
}
