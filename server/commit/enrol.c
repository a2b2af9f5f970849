#include <string.h>

#include "common/pki.h"
#include "server/commit/core.h"

static int denied(struct sat_err *err, const char *why)
{
	return sat_err_set(err, SAT_E_DENIED, 0, "enrol", "%s", why);
}

/* The invitation behind a token, judged but for its use. */
static int find_invite(struct sat_engine *e, struct sat_slice token,
		       struct sat_invite *inv, struct sat_user *user,
		       struct sat_err *err)
{
	uint8_t hash[SAT_SHA256_BYTES];
	int rc = sat_token_hash(token, hash, err);

	if (rc == SAT_E_INVAL)
		return denied(err, "this invitation is not known");
	if (rc == SAT_OK)
		rc = sat_store_invite_get(e->store, hash, inv, err);
	if (rc == SAT_E_NOTFOUND)
		return denied(err, "this invitation is not known");
	if (rc != SAT_OK)
		return rc;
	if (e->now_ms >= inv->expires_ms)
		return denied(err, "this invitation has expired");
	rc = sat_store_user_get(e->store, &inv->user, user, err);
	if (rc == SAT_E_NOTFOUND || (rc == SAT_OK && !user->active))
		return denied(err, "the user of this invitation is not active");
	return rc;
}

/* The answer to the first request may have been lost: the same key gets the
 * same replica again, another key nothing. */
static int enrol_again(struct sat_engine *e, const struct sat_invite *inv,
		       const uint8_t key_hash[32], struct sat_device *ret,
		       struct sat_err *err)
{
	int rc;

	if (memcmp(inv->key_hash, key_hash, sizeof inv->key_hash) != 0)
		return denied(err, "this invitation was used already");
	rc = sat_store_device_get(e->store, inv->replica, ret, err);
	if (rc == SAT_E_NOTFOUND ||
	    (rc == SAT_OK && ret->state != SAT_DEVICE_ACTIVE))
		return denied(err, "this invitation was used already");
	return rc;
}

static void name_device(struct sat_device *d, struct sat_slice name)
{
	size_t n =
		name.len < sizeof d->name - 1 ? name.len : sizeof d->name - 1;

	/* never half a character */
	while (n > 0 && n < name.len && (name.ptr[n] & 0xc0) == 0x80)
		n--;
	if (n > 0)
		memcpy(d->name, name.ptr, n);
	d->name[n] = '\0';
}

int sat_engine_enrol(struct sat_engine *e, struct sat_slice token,
		     const uint8_t key_hash[32], struct sat_slice device_name,
		     struct sat_device *ret_device, struct sat_user *ret_user,
		     struct sat_err *err)
{
	struct sat_device d = { .state = SAT_DEVICE_ACTIVE };
	struct sat_invite inv;
	struct sat_user user;
	int rc;

	SAT_ASSERT(e->in_group);
	rc = find_invite(e, token, &inv, &user, err);
	if (rc != SAT_OK)
		return rc;
	if (inv.used) {
		rc = enrol_again(e, &inv, key_hash, &d, err);
		goto out;
	}
	if (e->next_replica == UINT32_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "enrol",
				   "replica ids are used up");
	d.replica = e->next_replica;
	d.user = inv.user;
	memcpy(d.key_hash, key_hash, sizeof d.key_hash);
	d.enrolled_ms = e->now_ms;
	d.seen_ms = e->now_ms;
	name_device(&d, device_name);
	inv.used = true;
	inv.replica = d.replica;
	memcpy(inv.key_hash, key_hash, sizeof inv.key_hash);
	rc = sat_store_device_put(e->store, &d, err);
	if (rc == SAT_OK)
		rc = sat_store_invite_put(e->store, &inv, err);
	if (rc == SAT_OK)
		rc = sat_store_audit(e->store, e->now_ms, user.login,
				     "device enrolled", sat_slice_str("{}"),
				     err);
	if (rc == SAT_OK) {
		e->next_replica++;
		e->settings_moved = true;
	}
out:
	if (rc == SAT_OK) {
		*ret_device = d;
		*ret_user = user;
	}
	return rc;
}
