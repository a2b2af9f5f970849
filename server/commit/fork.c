/* A copy of a device becomes a device of its own, a child of the one it was
 * copied from: what ends the parent ends it too (SYNC section 10). */
#include <stdio.h>
#include <string.h>

#include "server/commit/core.h"

enum { CHILDREN_DEEP = 64, SILENT_DAYS = 400 };

static void parent_key(uint32_t replica, char out[32])
{
	(void)snprintf(out, 32, "parent:%lu", (unsigned long)replica);
}

int sat_device_parent(struct sat_store *s, uint32_t replica, uint32_t *ret,
		      struct sat_err *err)
{
	uint64_t v = 0;
	char key[32];
	int rc;

	parent_key(replica, key);
	rc = sat_setting_get_u64(s, key, &v, err);
	*ret = rc == SAT_OK ? (uint32_t)v : 0;
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

int sat_device_descends(struct sat_store *s, uint32_t replica, uint32_t from,
			bool *ret, struct sat_err *err)
{
	int rc = SAT_OK;

	*ret = false;
	for (int i = 0; rc == SAT_OK && i < CHILDREN_DEEP && replica != 0;
	     i++) {
		if (replica == from) {
			*ret = true;
			break;
		}
		rc = sat_device_parent(s, replica, &replica, err);
	}
	return rc;
}

int sat_engine_renewable(struct sat_engine *e, uint32_t replica,
			 const uint8_t key_hash[32], struct sat_device *ret,
			 struct sat_user *ret_user,
			 struct sat_msg_error *refusal, struct sat_err *err)
{
	int64_t silent;
	int rc = sat_store_device_get(e->store, replica, ret, err);

	if (rc == SAT_E_NOTFOUND ||
	    (rc == SAT_OK &&
	     memcmp(ret->key_hash, key_hash, sizeof ret->key_hash) != 0))
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_UNKNOWN,
				   "unknown device");
	if (rc != SAT_OK)
		return rc;
	if (ret->state == SAT_DEVICE_REVOKED)
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_REVOKED,
				   "this device was revoked");
	silent = e->now_ms - ret->seen_ms;
	if (silent > (int64_t)SILENT_DAYS * 24 * 60 * 60 * 1000)
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_REVOKED,
				   "this device was silent for too long; it "
				   "needs a new invitation");
	rc = sat_store_user_get(e->store, &ret->user, ret_user, err);
	if (rc == SAT_E_NOTFOUND || (rc == SAT_OK && !ret_user->active))
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_REVOKED,
				   "this user's access has ended");
	return rc;
}

/* The answer to a first request may have been lost. */
static int find_child(struct sat_engine *e, uint32_t parent,
		      const uint8_t key_hash[32], struct sat_device *ret,
		      struct sat_err *err)
{
	struct sat_device *all;
	struct sat_arena a;
	uint32_t n = 0, of;
	int rc;

	sat_arena_init(&a, 256 << 20);
	rc = sat_store_devices(e->store, &a, &all, &n, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		if (memcmp(all[i].key_hash, key_hash, 32) != 0)
			continue;
		rc = sat_device_parent(e->store, all[i].replica, &of, err);
		if (rc == SAT_OK && of == parent &&
		    all[i].state == SAT_DEVICE_ACTIVE) {
			*ret = all[i];
			goto out;
		}
	}
	if (rc == SAT_OK)
		rc = SAT_E_NOTFOUND;
out:
	sat_arena_fini(&a);
	return rc;
}

int sat_engine_fork(struct sat_engine *e, const struct sat_device *parent,
		    const uint8_t key_hash[32], struct sat_device *ret,
		    struct sat_err *err)
{
	struct sat_device d = *parent;
	char key[32], detail[80];
	int rc;

	SAT_ASSERT(e->in_group);
	rc = find_child(e, parent->replica, key_hash, ret, err);
	if (rc != SAT_E_NOTFOUND)
		return rc;
	if (memcmp(parent->key_hash, key_hash, 32) == 0)
		return sat_err_set(err, SAT_E_DENIED, 0, "fork",
				   "a copy needs a key of its own");
	if (e->next_replica == UINT32_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "fork",
				   "replica ids are used up");
	d.replica = e->next_replica;
	memcpy(d.key_hash, key_hash, sizeof d.key_hash);
	d.last_seq = d.verdict_seq = d.cursor = 0;
	memset(d.last_hash, 0, sizeof d.last_hash);
	memset(d.ratchet, 0, sizeof d.ratchet);
	memset(d.ratchet_new, 0, sizeof d.ratchet_new);
	d.enrolled_ms = d.seen_ms = e->now_ms;
	parent_key(d.replica, key);
	(void)snprintf(
		detail, sizeof detail, "{\"device\":%lu,\"copy_of\":%lu}",
		(unsigned long)d.replica, (unsigned long)parent->replica);
	rc = sat_store_device_put(e->store, &d, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(e->store, key, parent->replica, err);
	if (rc == SAT_OK)
		rc = sat_store_audit(e->store, e->now_ms, "server",
				     "copied device", sat_slice_str(detail),
				     err);
	if (rc != SAT_OK)
		return rc;
	e->next_replica++;
	e->settings_moved = true;
	*ret = d;
	return SAT_OK;
}
