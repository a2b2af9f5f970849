#include <stdlib.h>
#include <string.h>

#include "server/commit/core.h"

enum { RIGHTS_BYTES_MAX = 16 * 1024 * 1024 };

/* ---- the tree ----------------------------------------------------------- */

struct collect {
	struct sat_engine *e;
	int parent;
};

static int on_node(void *arg, const struct sat_table *t,
		   const struct sat_stored_row *row)
{
	struct collect *c = arg;
	struct sat_id parent;
	const struct sat_value *v;

	(void)t;
	if (row->deleted)
		return SAT_OK;
	if (c->parent < 0)
		return sat_tree_add(&c->e->tree, &row->id, NULL);
	v = &row->values[c->parent];
	if (v->kind != SAT_BLOB || v->s.len != sizeof parent.b)
		return sat_tree_add(&c->e->tree, &row->id, NULL);
	memcpy(parent.b, v->s.ptr, sizeof parent.b);
	return sat_tree_add(&c->e->tree, &row->id, &parent);
}

int sat_tree_fresh(struct sat_engine *e, struct sat_err *err)
{
	struct collect c = { .e = e, .parent = -1 };
	int rc = SAT_OK;

	if (!e->tree_stale)
		return SAT_OK;
	sat_tree_clear(&e->tree);
	if (e->plan.tree != NULL) {
		c.parent = sat_tree_parent_column(e->plan.tree);
		rc = sat_store_rows(e->store, e->plan.tree, -1, NULL, on_node,
				    &c, err);
		if (rc == SAT_E_NOMEM)
			sat_err_set(err, rc, 0, "tree", "out of memory");
	}
	if (rc != SAT_OK)
		return rc;
	sat_tree_build(&e->tree);
	e->tree_stale = false;
	return SAT_OK;
}

/* ---- rights ------------------------------------------------------------- */

/* Territories granted now; *until_ms: when that changes by itself. */
static int granted_now(struct sat_engine *e, const struct sat_id *user,
		       struct sat_arena *a, struct sat_id **ret,
		       uint32_t *ret_count, int64_t *until_ms,
		       struct sat_err *err)
{
	struct sat_grant *grants;
	struct sat_id *tops;
	uint32_t count, n = 0;
	int rc = sat_store_grants(e->store, user, a, &grants, &count, err);

	if (rc != SAT_OK)
		return rc;
	tops = sat_arena_array(a, count, sizeof *tops);
	if (tops == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "rights",
				   "out of memory");
	*until_ms = INT64_MAX;
	for (uint32_t i = 0; i < count; i++) {
		const struct sat_grant *g = &grants[i];

		if (g->from_ms > e->now_ms) {
			if (g->from_ms < *until_ms)
				*until_ms = g->from_ms;
			continue;
		}
		if (g->to_ms != 0 && g->to_ms <= e->now_ms)
			continue;
		if (g->to_ms != 0 && g->to_ms < *until_ms)
			*until_ms = g->to_ms;
		tops[n++] = g->territory;
	}
	*ret = tops;
	*ret_count = n;
	return SAT_OK;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Scope 0 and the number of every node at or below a granted one. */
static int scopes_of(struct sat_engine *e, const struct sat_id *tops,
		     uint32_t count, struct sat_arena *a, uint32_t **ret,
		     uint32_t *ret_count, struct sat_err *err)
{
	uint32_t n = 0, *list;
	int rc = sat_tree_fresh(e, err);

	if (rc != SAT_OK)
		return rc;
	list = sat_arena_array(a, (size_t)e->tree.count + 1, sizeof *list);
	if (list == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "rights",
				   "out of memory");
	list[n++] = SAT_SCOPE_EVERYONE;
	sat_tree_cover(&e->tree, tops, count);
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
	*ret = list;
	*ret_count = n;
	return SAT_OK;
}

static int rights_of(struct sat_engine *e, const struct sat_user *user,
		     struct sat_arena *a, struct sat_rights *ret,
		     int64_t *until_ms, struct sat_err *err)
{
	struct sat_id *tops = NULL;
	uint32_t count = 0, *scopes = NULL, scope_count = 0;
	int rc = granted_now(e, &user->id, a, &tops, &count, until_ms, err);

	if (rc == SAT_OK)
		rc = scopes_of(e, tops, count, a, &scopes, &scope_count, err);
	if (rc != SAT_OK)
		return rc;
	*ret = (struct sat_rights){
		/* what this group changes counts from its commit on */
		.version = e->rights_version + e->rights_moved,
		.scopes = scopes,
		.scope_count = scope_count,
		.role = user->role,
		.user = user->id,
		.home = user->home,
	};
	return SAT_OK;
}

int sat_engine_rights(struct sat_engine *e, const struct sat_id *user,
		      struct sat_arena *a, struct sat_rights *ret,
		      struct sat_err *err)
{
	struct sat_user u;
	int64_t until_ms;
	int rc = sat_store_user_get(e->store, user, &u, err);

	if (rc == SAT_OK && !u.active)
		rc = sat_err_set(err, SAT_E_DENIED, 0, "rights",
				 "the user is not active");
	return rc == SAT_OK ? rights_of(e, &u, a, ret, &until_ms, err) : rc;
}

/* ---- cache -------------------------------------------------------------- */

static void forget(struct sat_author *s)
{
	free((void *)(uintptr_t)s->rights.scopes);
	*s = (struct sat_author){ 0 };
}

void sat_authors_fini(struct sat_engine *e)
{
	for (uint32_t i = 0; i < SAT_AUTHOR_SLOTS; i++)
		forget(&e->authors[i]);
}

static int read_author(struct sat_engine *e, const struct sat_device *d,
		       struct sat_author *s, struct sat_err *err)
{
	struct sat_arena a;
	uint32_t *scopes;
	size_t bytes;
	int rc = sat_store_user_get(e->store, &d->user, &s->user, err);

	if (rc == SAT_E_NOTFOUND || (rc == SAT_OK && !s->user.active))
		return sat_err_set(err, SAT_E_DENIED, 0, "author",
				   "the user is gone or not active");
	if (rc != SAT_OK)
		return rc;
	sat_arena_init(&a, RIGHTS_BYTES_MAX);
	rc = rights_of(e, &s->user, &a, &s->rights, &s->until_ms, err);
	if (rc == SAT_OK) {
		bytes = s->rights.scope_count * sizeof *scopes;
		scopes = malloc(bytes);
		if (scopes == NULL)
			rc = sat_err_set(err, SAT_E_NOMEM, 0, "author",
					 "out of memory");
		else
			memcpy(scopes, s->rights.scopes, bytes);
		s->rights.scopes = scopes;
	} else {
		s->rights.scopes = NULL;
	}
	sat_arena_fini(&a);
	return rc;
}

int sat_author_get(struct sat_engine *e, const struct sat_device *d,
		   const struct sat_author **ret, struct sat_err *err)
{
	struct sat_author *s = &e->authors[d->replica % SAT_AUTHOR_SLOTS];
	int rc;

	if (s->replica != d->replica || s->generation != e->rights_generation ||
	    e->now_ms >= s->until_ms) {
		forget(s);
		rc = read_author(e, d, s, err);
		if (rc != SAT_OK) {
			forget(s);
			return rc;
		}
		s->replica = d->replica;
		s->generation = e->rights_generation;
	}
	*ret = s;
	return SAT_OK;
}
