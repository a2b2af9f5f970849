#include <stdlib.h>
#include <string.h>

#include "server/sync/run.h"

/* Rights of those who are connected, when rights changed somewhere. */

struct check_job {
	struct sat_job job;
	struct sat_server *server;
	uint32_t count;
	struct check {
		uint32_t replica;
		bool gone;
		struct sat_rights rights;
	} list[];
};

uint32_t *sat_scopes_copy(const uint32_t *scopes, uint32_t count)
{
	uint32_t *copy = malloc(((size_t)count + 1) * sizeof *copy);

	if (copy != NULL && count > 0)
		memcpy(copy, scopes, count * sizeof *copy);
	return copy;
}

int sat_rights_copy(const struct sat_rights *from, struct sat_rights *ret)
{
	uint32_t *scopes = sat_scopes_copy(from->scopes, from->scope_count);

	if (scopes == NULL)
		return SAT_E_NOMEM;
	*ret = *from;
	ret->scopes = scopes;
	return SAT_OK;
}

void sat_rights_free(struct sat_rights *r)
{
	free((void *)(uintptr_t)r->scopes);
	memset(r, 0, sizeof *r);
}

static int check_one(struct sat_bench *b, struct check *x, struct sat_err *err)
{
	struct sat_rights r;
	struct sat_device d;
	int rc = sat_store_device_get(b->store, x->replica, &d, err);

	if (rc == SAT_OK && d.state != SAT_DEVICE_ACTIVE)
		rc = SAT_E_DENIED;
	if (rc == SAT_OK) {
		sat_arena_reset(&b->arena);
		rc = sat_engine_rights(b->engine, &d.user, &b->arena, &r, err);
	}
	sat_rights_free(&x->rights); /* of a first try */
	if (rc == SAT_OK)
		rc = sat_rights_copy(&r, &x->rights);
	if (rc == SAT_E_NOTFOUND || rc == SAT_E_DENIED) {
		x->gone = true;
		rc = SAT_OK;
	}
	return rc;
}

static int run_check(struct sat_job *j, struct sat_bench *b,
		     struct sat_err *err)
{
	struct check_job *x = SAT_CONTAINER_OF(j, struct check_job, job);
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < x->count; i++)
		rc = check_one(b, &x->list[i], err);
	return rc;
}

static bool same_rights(const struct sat_rights *a, const struct sat_rights *b)
{
	return a->role == b->role && a->scope_count == b->scope_count &&
	       memcmp(&a->user, &b->user, sizeof a->user) == 0 &&
	       memcmp(&a->home, &b->home, sizeof a->home) == 0 &&
	       memcmp(a->scopes, b->scopes,
		      a->scope_count * sizeof *a->scopes) == 0;
}

static bool is_in(const uint32_t *list, uint32_t count, uint32_t scope)
{
	uint32_t lo = 0, hi = count, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (list[mid] < scope)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < count && list[lo] == scope;
}

/* Which of the new scopes the device has to be sent from the start: those it
 * has not got, and those it was still being sent. */
static int note_fresh(struct sat_conn *c, const struct sat_rights *rights)
{
	bool filling = !c->s.settled;
	uint32_t *fresh, n = 0, s;

	fresh = malloc(((size_t)rights->scope_count + 1) * sizeof *fresh);
	if (fresh == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < rights->scope_count; i++) {
		s = rights->scopes[i];
		if (!is_in(c->rights.scopes, c->rights.scope_count, s) ||
		    (filling && is_in(c->fresh, c->fresh_count, s)))
			fresh[n++] = s;
	}
	free(c->fresh);
	c->fresh = fresh;
	c->fresh_count = n;
	return SAT_OK;
}

/* The version that the device's last checkpoint was of. */
static void note_base(struct sat_conn *c, const struct sat_rights *rights,
		      bool whole)
{
	if (whole)
		c->base = rights->version;
	else if (c->s.settled)
		c->base = c->rights.version;
}

/* Takes rights when they are new to the connection. */
static void change_rights(struct sat_conn *c, struct sat_rights *rights)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_RIGHTS };
	struct sat_conn *older;

	if (same_rights(&c->rights, rights))
		return;
	ev.whole = c->rights.role != rights->role;
	if (note_fresh(c, rights) != SAT_OK) {
		sat_conn_no_memory(c);
		return;
	}
	note_base(c, rights, ev.whole);
	sat_hub_remove(&c->server->hub, c);
	sat_rights_free(&c->rights);
	c->rights = *rights;
	rights->scopes = NULL;
	if (sat_hub_add(&c->server->hub, c, &older) != SAT_OK) {
		sat_conn_no_memory(c);
		return;
	}
	ev.rights = &c->rights;
	sat_conn_event(c, &ev);
	sat_conn_telling(c);
}

static void done_check(struct sat_job *j)
{
	struct check_job *x = SAT_CONTAINER_OF(j, struct check_job, job);
	struct sat_server *s = x->server;
	struct sat_ssession_event gone = { .kind = SAT_SEV_REVOKED };
	struct sat_conn *c, *next;
	uint32_t i;

	for (c = s->conns; c != NULL; c = next) {
		next = c->next;
		for (i = 0; c->in_hub && i < x->count; i++)
			if (x->list[i].replica == c->replica)
				break;
		if (!c->in_hub || i == x->count)
			continue;
		/* Who cannot be judged must not stay. */
		if (j->rc != SAT_OK || x->list[i].gone) {
			s->m.revoked_closed++;
			sat_conn_event(c, &gone);
		} else {
			change_rights(c, &x->list[i].rights);
		}
	}
	for (i = 0; i < x->count; i++)
		sat_rights_free(&x->list[i].rights);
	free(x);
	s->rights_checking = false;
	if (s->rights_stale)
		sat_conn_check_rights(s);
	sat_server_settle(s);
}

void sat_conn_check_rights(struct sat_server *s)
{
	struct check_job *x;
	struct sat_conn *c;

	s->rights_stale = s->rights_checking;
	if (s->rights_checking || s->hub.live == 0)
		return;
	x = calloc(1, sizeof *x + s->hub.live * sizeof *x->list);
	if (x == NULL) {
		s->rights_stale = true; /* the sweep tries again */
		return;
	}
	x->server = s;
	x->job.run = run_check;
	x->job.done = done_check;
	for (c = s->conns; c != NULL; c = c->next)
		if (c->in_hub)
			x->list[x->count++].replica = c->replica;
	s->rights_checking = true;
	sat_workers_commit(&s->workers, &x->job);
}

/* ---- what counts as told ------------------------------------------------ */

/* One thing at a time: what is sent while it waits is told by the next. */
void sat_conn_telling(struct sat_conn *c)
{
	uint64_t now = sat_server_now(c->server);

	if (c->telling_ms != 0 && now - c->telling_ms >= SAT_RUN_TOLD_MS) {
		c->told_seq = c->telling_seq;
		c->told_grants = c->telling_grants;
		c->telling_ms = 0;
	}
	if (c->telling_ms != 0 ||
	    (c->told_seq >= c->s.cursor && c->told_grants == c->rights.version))
		return;
	c->telling_ms = now;
	c->telling_seq = c->s.cursor;
	c->telling_grants = c->rights.version;
}

/* ---- by the clock ------------------------------------------------------- */

struct tick_job {
	struct sat_job job;
	struct sat_server *server;
	int64_t due_ms;
};

static int run_tick(struct sat_job *j, struct sat_bench *b, struct sat_err *err)
{
	struct tick_job *x = SAT_CONTAINER_OF(j, struct tick_job, job);

	(void)err;
	x->due_ms = sat_engine_rights_tick(b->engine);
	return SAT_OK;
}

/* What it changed comes as news behind it, and the next time with it. */
static void done_tick(struct sat_job *j)
{
	struct tick_job *x = SAT_CONTAINER_OF(j, struct tick_job, job);
	struct sat_server *s = x->server;

	s->rights_ticking = false;
	if (j->rc == SAT_OK)
		s->rights_due_ms = x->due_ms;
	free(x);
	sat_server_settle(s);
}

void sat_conn_tick_rights(struct sat_server *s)
{
	struct tick_job *x;

	if (s->rights_ticking || sat_server_wall() < s->rights_due_ms)
		return;
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return; /* the next sweep tries again */
	x->server = s;
	x->job.run = run_tick;
	x->job.done = done_tick;
	s->rights_ticking = true;
	sat_workers_commit(&s->workers, &x->job);
}
