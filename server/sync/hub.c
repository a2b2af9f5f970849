#include "server/sync/run.h"

#include <stdlib.h>
#include <string.h>

/* Two indexes over the live connections: by replica, to find the older
 * connection of a device, and by scope, so that a commit wakes exactly those
 * it concerns. */

static struct sat_conn **bucket(struct sat_hub *h, uint32_t replica)
{
	return &h->replicas[replica % SAT_RUN_BUCKETS];
}

/* Index of the first entry with scope >= the one asked for. */
static uint32_t find(const struct sat_hub *h, uint32_t scope)
{
	uint32_t low = 0, high = h->scope_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (h->scopes[mid].scope < scope)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int open_scope(struct sat_hub *h, uint32_t at, uint32_t scope)
{
	struct sat_hub_scope *bigger;
	uint32_t cap = h->scope_cap == 0 ? 16 : h->scope_cap * 2;

	if (h->scope_count == h->scope_cap) {
		bigger = realloc(h->scopes, cap * sizeof *bigger);
		if (bigger == NULL)
			return SAT_E_NOMEM;
		h->scopes = bigger;
		h->scope_cap = cap;
	}
	memmove(h->scopes + at + 1, h->scopes + at,
		(h->scope_count - at) * sizeof *h->scopes);
	h->scopes[at] = (struct sat_hub_scope){ .scope = scope };
	h->scope_count++;
	return SAT_OK;
}

static void close_scope(struct sat_hub *h, uint32_t at)
{
	free(h->scopes[at].list);
	h->scope_count--;
	memmove(h->scopes + at, h->scopes + at + 1,
		(h->scope_count - at) * sizeof *h->scopes);
}

static int join(struct sat_hub *h, uint32_t scope, struct sat_conn *c)
{
	uint32_t at = find(h, scope);
	struct sat_hub_scope *s;
	struct sat_conn **bigger;
	uint32_t cap;

	if (at == h->scope_count || h->scopes[at].scope != scope)
		if (open_scope(h, at, scope) != SAT_OK)
			return SAT_E_NOMEM;
	s = &h->scopes[at];
	if (s->count == s->cap) {
		cap = s->cap == 0 ? 2 : s->cap * 2;
		bigger = realloc(s->list, cap * sizeof *bigger);
		if (bigger == NULL) {
			if (s->count == 0)
				close_scope(h, at);
			return SAT_E_NOMEM;
		}
		s->list = bigger;
		s->cap = cap;
	}
	s->list[s->count++] = c;
	return SAT_OK;
}

static void leave(struct sat_hub *h, uint32_t scope, struct sat_conn *c)
{
	uint32_t at = find(h, scope);
	struct sat_hub_scope *s = &h->scopes[at];

	if (at == h->scope_count || s->scope != scope)
		return;
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->list[i] != c)
			continue;
		s->list[i] = s->list[--s->count];
		break;
	}
	if (s->count == 0)
		close_scope(h, at);
}

static struct sat_conn *look(struct sat_hub *h, uint32_t replica)
{
	struct sat_conn *c = *bucket(h, replica);

	while (c != NULL && c->replica != replica)
		c = c->hub_next;
	return c;
}

int sat_hub_add(struct sat_hub *h, struct sat_conn *c,
		struct sat_conn **ret_older)
{
	struct sat_conn **b = bucket(h, c->replica);

	SAT_ASSERT(!c->in_hub);
	*ret_older = look(h, c->replica);
	c->in_hub = true;
	c->hub_told = 0;
	c->hub_next = *b;
	*b = c;
	h->live++;
	for (uint32_t i = 0; i < c->rights.scope_count; i++) {
		if (join(h, c->rights.scopes[i], c) == SAT_OK)
			continue;
		sat_hub_remove(h, c);
		return SAT_E_NOMEM;
	}
	return SAT_OK;
}

void sat_hub_remove(struct sat_hub *h, struct sat_conn *c)
{
	struct sat_conn **at = bucket(h, c->replica);

	if (!c->in_hub)
		return;
	while (*at != c)
		at = &(*at)->hub_next;
	*at = c->hub_next;
	for (uint32_t i = 0; i < c->rights.scope_count; i++)
		leave(h, c->rights.scopes[i], c);
	c->in_hub = false;
	h->live--;
}

/* An event never ends a connection before it returns: links close from the
 * loop. But a session that closes leaves the hub at once, so the list may
 * shrink under the walk: it goes backwards, where what moves into the place
 * of the one that left has been told already. */
void sat_hub_notify(struct sat_hub *h, const struct sat_news *news,
		    void (*tell)(struct sat_conn *c, uint64_t commit_seq))
{
	for (uint32_t i = 0; i < news->scope_count; i++) {
		uint32_t at = find(h, news->scopes[i]), n;

		if (at == h->scope_count ||
		    h->scopes[at].scope != news->scopes[i])
			continue;
		for (n = h->scopes[at].count; n > 0; n--) {
			struct sat_conn *c = h->scopes[at].list[n - 1];

			if (c->hub_told >= news->commit_seq)
				continue;
			c->hub_told = news->commit_seq;
			tell(c, news->commit_seq);
			at = find(h, news->scopes[i]);
			if (at == h->scope_count ||
			    h->scopes[at].scope != news->scopes[i])
				break;
			if (n > h->scopes[at].count + 1)
				n = h->scopes[at].count + 1;
		}
	}
}

void sat_hub_fini(struct sat_hub *h)
{
	for (uint32_t i = 0; i < h->scope_count; i++)
		free(h->scopes[i].list);
	free(h->scopes);
	memset(h, 0, sizeof *h);
}
