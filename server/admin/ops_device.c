#include "server/admin/ops_device.h"

#include <stdio.h>

#include "common/text.h"
#include "server/commit/fork.h"
#include "server/commit/wipe.h"

static int find(struct sat_admin *a, const json_t *args, const char *what,
		struct sat_device *ret, struct sat_err *err)
{
	const json_t *no = json_object_get(args, "device");
	int rc;

	if (!json_is_integer(no) || json_integer_value(no) <= 1 ||
	    json_integer_value(no) > UINT32_MAX)
		return sat_err_set(err, SAT_E_INVAL, 0, what,
				   "--device is a number from `device list`");
	rc = sat_store_device_get(a->store, (uint32_t)json_integer_value(no),
				  ret, err);
	if (rc == SAT_E_NOTFOUND)
		return sat_err_set(err, rc, 0, what,
				   "there is no device %lld (see `device "
				   "list`)",
				   (long long)json_integer_value(no));
	return rc;
}

/* In the journal first: a restored database must not forget it. */
static int revoke(struct sat_admin *a, struct sat_device d, struct sat_err *err)
{
	char line[80], user[SAT_UUID_CHARS + 1];
	int rc;

	sat_id_format(&d.user, user);
	(void)snprintf(line, sizeof line, "revoked %lu %s",
		       (unsigned long)d.replica, user);
	rc = a->note(a->note_arg, line, err);
	d.state = SAT_DEVICE_REVOKED;
	return rc == SAT_OK ? sat_store_device_put(a->store, &d, err) : rc;
}

/* The device, and every copy that was made of it. */
int sat_op_device_revoke(struct sat_admin *a, const json_t *args, json_t *ret,
			 struct sat_err *err)
{
	struct sat_device d, *all;
	struct sat_arena arena;
	json_t *copies = json_array();
	uint32_t n = 0;
	bool of;
	int rc = find(a, args, "device revoke", &d, err);

	if (rc != SAT_OK) {
		json_decref(copies);
		return rc;
	}
	sat_arena_init(&arena, 256 << 20);
	rc = sat_store_devices(a->store, &arena, &all, &n, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		rc = sat_device_descends(a->store, all[i].replica, d.replica,
					 &of, err);
		if (rc != SAT_OK || !of)
			continue;
		rc = revoke(a, all[i], err);
		if (all[i].replica != d.replica)
			(void)json_array_append_new(
				copies,
				json_integer((json_int_t)all[i].replica));
	}
	sat_arena_fini(&arena);
	if (json_array_size(copies) > 0)
		(void)json_object_set(ret, "copies_revoked", copies);
	json_decref(copies);
	return rc == SAT_OK ? sat_engine_rights_changed(a->engine, err) : rc;
}

int sat_op_device_wipe(struct sat_admin *a, const json_t *args, json_t *ret,
		       struct sat_err *err)
{
	bool discard = json_is_true(json_object_get(args, "discard-unsynced"));
	struct sat_device d;
	int rc = find(a, args, "device wipe", &d, err);

	(void)ret;
	if (rc == SAT_OK && d.state == SAT_DEVICE_REVOKED)
		rc = sat_err_set(err, SAT_E_DENIED, 0, "device wipe",
				 "device %lu is revoked: it cannot be reached "
				 "any more",
				 (unsigned long)d.replica);
	if (rc != SAT_OK)
		return rc;
	d.state = SAT_DEVICE_WIPING;
	rc = sat_store_device_put(a->store, &d, err);
	if (rc == SAT_OK)
		rc = sat_wipe_order(a->store, d.replica, discard, err);
	return rc == SAT_OK ? sat_engine_rights_changed(a->engine, err) : rc;
}
