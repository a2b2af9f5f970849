/* What each user may see: grants in force, joined with the tree. Every state
 * that differs from the one before is a version of its own, stored, so that a
 * device is sent what it has not got and no more, and an edit is judged by
 * what its author knew (SYNC sections 5 and 6). */
#include <stdlib.h>
#include <string.h>

#include "server/commit/core.h"

/* Of several grants in force the strongest role counts. */
static const uint8_t strength[SAT_ROLE_COUNT] = {
	[SAT_ROLE_REP] = 0, [SAT_ROLE_SERVICE] = 1, [SAT_ROLE_MANAGER] = 2,
	[SAT_ROLE_HQ] = 3,  [SAT_ROLE_ADMIN] = 4,
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "rights", "out of memory");
}

/* ---- working them out --------------------------------------------------- */

/* Territories and role granted now; *until_ms: when that changes by itself. */
struct granted {
	struct sat_id *tops;
	uint32_t count;
	enum sat_role role;
	int64_t until_ms;
};

static void sooner(int64_t *until_ms, int64_t at_ms)
{
	if (at_ms < *until_ms)
		*until_ms = at_ms;
}

static int granted_now(struct sat_engine *e, const struct sat_user *user,
		       struct sat_arena *a, struct granted *ret,
		       struct sat_err *err)
{
	struct sat_grant *grants;
	uint32_t count;
	int rc = sat_store_grants(e->store, &user->id, a, &grants, &count, err);

	if (rc != SAT_OK)
		return rc;
	*ret = (struct granted){ .role = user->role, .until_ms = INT64_MAX };
	ret->tops = sat_arena_array(a, count, sizeof *ret->tops);
	if (ret->tops == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < count; i++) {
		const struct sat_grant *g = &grants[i];

		if (g->from_ms > e->now_ms) {
			sooner(&ret->until_ms, g->from_ms);
			continue;
		}
		if (g->to_ms != 0 && g->to_ms <= e->now_ms)
			continue;
		if (g->to_ms != 0)
			sooner(&ret->until_ms, g->to_ms);
		if (g->role < SAT_ROLE_SERVER &&
		    (ret->count == 0 ||
		     strength[g->role] > strength[ret->role]))
			ret->role = g->role;
		ret->tops[ret->count++] = g->territory;
	}
	return SAT_OK;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Scope 0 and the number of every node at or below a granted one. */
static int scopes_of(struct sat_engine *e, const struct granted *g,
		     struct sat_arena *a, struct sat_rights *ret,
		     struct sat_err *err)
{
	uint32_t n = 0, *list;
	int rc = sat_tree_fresh(e, err);

	if (rc != SAT_OK)
		return rc;
	list = sat_arena_array(a, (size_t)e->tree.count + 1, sizeof *list);
	if (list == NULL)
		return no_memory(err);
	list[n++] = SAT_SCOPE_EVERYONE;
	sat_tree_cover(&e->tree, g->tops, g->count);
	for (uint32_t i = 0; i < e->tree.count; i++) {
		struct sat_tree_node *node = &e->tree.nodes[i];

		if (node->mark == 0)
			continue;
		if (node->scope == 0)
			rc = sat_scope_number(e, &node->id, &node->scope, err);
		if (rc != SAT_OK)
			return rc;
		if (n == SAT_SCOPES_MAX)
			return sat_err_set(err, SAT_E_LIMIT, 0, "rights",
					   "too many territories");
		list[n++] = node->scope;
	}
	qsort(list, n, sizeof *list, by_number);
	ret->scopes = list;
	ret->scope_count = n;
	return SAT_OK;
}

static bool same(const struct sat_rights *a, const struct sat_rights *b)
{
	return a->role == b->role && a->scope_count == b->scope_count &&
	       memcmp(&a->home, &b->home, sizeof a->home) == 0 &&
	       memcmp(a->scopes, b->scopes,
		      a->scope_count * sizeof *a->scopes) == 0;
}

int sat_rights_current(struct sat_engine *e, const struct sat_user *user,
		       struct sat_arena *a, struct sat_rights *ret,
		       int64_t *ret_until_ms, struct sat_err *err)
{
	struct sat_rights r = { .user = user->id, .home = user->home };
	struct sat_rights last;
	struct granted g;
	int64_t at_ms;
	int rc = granted_now(e, user, a, &g, err);

	if (rc == SAT_OK)
		rc = scopes_of(e, &g, a, &r, err);
	if (rc != SAT_OK)
		return rc;
	r.role = g.role;
	rc = sat_store_rights_get(e->store, &user->id, 0, a, &last, &at_ms,
				  err);
	if (rc != SAT_OK && rc != SAT_E_NOTFOUND)
		return rc;
	if (rc == SAT_OK && same(&r, &last)) {
		r.version = last.version;
	} else {
		/* never a version that a device may hold from the time when
		 * all users shared one counter */
		r.version =
			rc == SAT_OK ? last.version + 1 : e->rights_version + 1;
		rc = sat_store_rights_put(e->store, &r, e->now_ms, err);
		if (rc != SAT_OK)
			return sat_engine_spoil(e, rc);
		e->rights_generation++;
	}
	*ret = r;
	*ret_until_ms = g.until_ms;
	return SAT_OK;
}

int sat_engine_rights(struct sat_engine *e, const struct sat_id *user,
		      struct sat_arena *a, struct sat_rights *ret,
		      struct sat_err *err)
{
	struct sat_user u;
	int64_t ms;
	int rc = sat_store_user_get(e->store, user, &u, err);

	if (rc == SAT_OK && !u.active)
		rc = sat_err_set(err, SAT_E_DENIED, 0, "rights",
				 "the user is not active");
	if (rc != SAT_OK)
		return rc;
	/* what was settled by an earlier commit still holds */
	if (!e->rights_moved && e->now_ms < e->rights_due_ms) {
		rc = sat_store_rights_get(e->store, user, 0, a, ret, &ms, err);
		if (rc != SAT_E_NOTFOUND)
			return rc;
	}
	return sat_rights_current(e, &u, a, ret, &ms, err);
}

/* ---- changes ------------------------------------------------------------ */

void sat_rights_mark(struct sat_engine *e, const struct sat_id *user)
{
	struct sat_rights_marks *m = &e->marks;

	e->rights_moved = true;
	e->rights_generation++;
	if (m->all)
		return;
	for (uint32_t i = 0; user != NULL && i < m->count; i++) {
		if (memcmp(&m->users[i], user, sizeof *user) == 0)
			return;
	}
	if (user == NULL || m->count == SAT_COUNT_OF(m->users))
		m->all = true; /* too many to name */
	else
		m->users[m->count++] = *user;
}

int sat_engine_rights_changed(struct sat_engine *e, struct sat_err *err)
{
	(void)err;
	e->tree_stale = true;
	sat_rights_mark(e, NULL);
	return SAT_OK;
}

int sat_engine_user_rights_changed(struct sat_engine *e,
				   const struct sat_id *user,
				   struct sat_err *err)
{
	(void)err;
	sat_rights_mark(e, user);
	return SAT_OK;
}

int64_t sat_engine_rights_tick(struct sat_engine *e)
{
	if (e->now_ms >= e->rights_due_ms)
		e->rights_moved = true;
	return e->rights_due_ms;
}

/* Grants that began or ended since they were looked at. */
static int mark_due(struct sat_engine *e, struct sat_arena *a,
		    struct sat_err *err)
{
	struct sat_grant *g;
	uint32_t count;
	int rc;

	if (e->now_ms < e->rights_due_ms || e->marks.all)
		return SAT_OK;
	if (e->rights_due_ms == 0) { /* since the start: who knows */
		sat_rights_mark(e, NULL);
		return SAT_OK;
	}
	rc = sat_store_grants(e->store, NULL, a, &g, &count, err);
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
		if ((g[i].from_ms >= e->rights_due_ms &&
		     g[i].from_ms <= e->now_ms) ||
		    (g[i].to_ms >= e->rights_due_ms && g[i].to_ms <= e->now_ms))
			sat_rights_mark(e, &g[i].user);
	}
	return rc;
}

static int settle_user(struct sat_engine *e, const struct sat_id *id,
		       struct sat_arena *a, struct sat_err *err)
{
	struct sat_rights r;
	struct sat_user u;
	int64_t until_ms;
	int rc = sat_store_user_get(e->store, id, &u, err);

	/* who is not active has no connection and gets none */
	if (rc == SAT_E_NOTFOUND || rc == SAT_E_INVAL ||
	    (rc == SAT_OK && !u.active))
		return SAT_OK;
	return rc == SAT_OK ? sat_rights_current(e, &u, a, &r, &until_ms, err)
			    : rc;
}

int sat_rights_settle(struct sat_engine *e, struct sat_err *err)
{
	const struct sat_id *users = e->marks.users;
	struct sat_id *known = NULL;
	struct sat_arena a, one;
	uint32_t count;
	int rc;

	sat_arena_init(&a, SAT_RIGHTS_BYTES_MAX);
	sat_arena_init(&one, SAT_RIGHTS_BYTES_MAX);
	rc = mark_due(e, &a, err);
	count = e->marks.count;
	if (rc == SAT_OK && e->marks.all) {
		rc = sat_store_rights_users(e->store, &a, &known, &count, err);
		users = known;
	}
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
		sat_arena_reset(&one);
		rc = settle_user(e, &users[i], &one, err);
	}
	if (rc == SAT_OK)
		rc = sat_store_grants_next(e->store, e->now_ms,
					   &e->rights_due_ms, err);
	sat_arena_fini(&one);
	sat_arena_fini(&a);
	return rc;
}
