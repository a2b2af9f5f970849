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

int sat_rights_copy(const struct sat_rights *from, struct sat_rights *ret)
{
	uint32_t *scopes = malloc((from->scope_count + 1) * sizeof *scopes);

	if (scopes == NULL)
		return SAT_E_NOMEM;
	if (from->scope_count > 0)
		memcpy(scopes, from->scopes,
		       from->scope_count * sizeof *scopes);
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

/* Takes rights when they are new to the connection. */
static void change_rights(struct sat_conn *c, struct sat_rights *rights)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_RIGHTS };
	struct sat_conn *older;

	if (same_rights(&c->rights, rights))
		return;
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
