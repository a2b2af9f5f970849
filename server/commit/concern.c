/* Whom and how much a change concerns: for administrators who look before
 * they leap. */
#include <string.h>

#include "server/commit/core.h"

static bool same(const struct sat_rights *a, const struct sat_rights *b)
{
	return a->version == b->version;
}

static bool sees(const struct sat_rights *r, const uint32_t *scopes,
		 uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (sat_rights_hold(r, scopes[i]))
			return true;
	}
	return false;
}

/* A user without rights yet has no device that holds anything. */
static int is_concerned(struct sat_engine *e, const struct sat_device *d,
			const uint32_t *scopes, uint32_t count,
			struct sat_arena *a, bool *ret, struct sat_err *err)
{
	struct sat_rights was, is;
	struct sat_user u;
	int64_t ms;
	int rc;

	*ret = false;
	rc = sat_store_user_get(e->store, &d->user, &u, err);
	if (rc == SAT_OK && u.active)
		rc = sat_store_rights_get(e->store, &d->user, 0, a, &was, &ms,
					  err);
	else if (rc == SAT_OK)
		rc = SAT_E_NOTFOUND;
	if (rc == SAT_OK)
		rc = sat_rights_current(e, &u, a, &is, &ms, err);
	if (rc != SAT_OK)
		return rc == SAT_E_NOTFOUND || rc == SAT_E_INVAL ? SAT_OK : rc;
	*ret = !same(&was, &is) || sees(&was, scopes, count) ||
	       sees(&is, scopes, count);
	return SAT_OK;
}

int sat_engine_devices_concerned(struct sat_engine *e,
				 const struct sat_id *territories,
				 uint32_t count, uint32_t *ret,
				 struct sat_err *err)
{
	struct sat_device *devices;
	uint32_t n = 0, device_count, *scopes;
	struct sat_arena a, one;
	bool concerned;
	int rc;

	sat_arena_init(&a, SAT_RIGHTS_BYTES_MAX);
	sat_arena_init(&one, SAT_RIGHTS_BYTES_MAX);
	scopes = sat_arena_array(&a, count, sizeof *scopes);
	rc = scopes == NULL ? sat_err_set(err, SAT_E_NOMEM, 0, "devices",
					  "out of memory")
			    : SAT_OK;
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++)
		rc = sat_scope_number(e, &territories[i], &scopes[i], err);
	if (rc == SAT_OK)
		rc = sat_store_devices(e->store, &a, &devices, &device_count,
				       err);
	for (uint32_t i = 0; rc == SAT_OK && i < device_count; i++) {
		if (devices[i].state != SAT_DEVICE_ACTIVE)
			continue;
		sat_arena_reset(&one);
		rc = is_concerned(e, &devices[i], scopes, count, &one,
				  &concerned, err);
		n += concerned;
	}
	sat_arena_fini(&one);
	sat_arena_fini(&a);
	*ret = n;
	return rc;
}

int sat_engine_rows_below(struct sat_engine *e, const struct sat_id *territory,
			  uint64_t *ret, struct sat_err *err)
{
	struct sat_hash ignored;
	uint64_t rows, sum = 0;
	uint32_t scope;
	int rc = sat_tree_fresh(e, err);

	if (rc != SAT_OK)
		return rc;
	sat_tree_cover(&e->tree, territory, 1);
	for (uint32_t i = 0; rc == SAT_OK && i < e->tree.count; i++) {
		if (e->tree.nodes[i].mark == 0)
			continue;
		rc = sat_scope_number(e, &e->tree.nodes[i].id, &scope, err);
		if (rc == SAT_OK)
			rc = sat_store_digest_get(e->store, scope, SAT_ROLE_HQ,
						  &ignored, &rows, err);
		sum += rc == SAT_OK ? rows : 0;
	}
	*ret = sum;
	return rc;
}

uint64_t sat_engine_head(const struct sat_engine *e)
{
	return e->head;
}
