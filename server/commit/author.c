#include <stdlib.h>
#include <string.h>

#include "server/commit/core.h"

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
	sat_arena_init(&a, SAT_RIGHTS_BYTES_MAX);
	rc = sat_rights_current(e, &s->user, &a, &s->rights, &s->until_ms, err);
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
