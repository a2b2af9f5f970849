#include "server/admin/ops_recovery.h"

#include "common/text.h"
#include "server/commit/recover.h"

static int out_of_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "recovery", "out of memory");
}

/* Active devices that have not been here since the restore. */
static int put_missing(struct sat_admin *a, int64_t since_ms, json_t *ret,
		       struct sat_err *err)
{
	json_t *rows = json_array();
	struct sat_device *all;
	struct sat_arena arena;
	struct sat_user user;
	struct sat_err none;
	uint32_t n = 0;
	char text[25];
	int rc;

	sat_arena_init(&arena, 256 << 20);
	rc = sat_store_devices(a->store, &arena, &all, &n, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		const struct sat_device *d = &all[i];
		bool known = sat_store_user_get(a->store, &d->user, &user,
						&none) == SAT_OK;

		if (d->state != SAT_DEVICE_ACTIVE || d->seen_ms >= since_ms)
			continue;
		sat_time_format(d->seen_ms, text);
		if (json_array_append_new(
			    rows, json_pack("{s:I, s:s, s:s, s:s}", "device",
					    (json_int_t)d->replica, "login",
					    known ? user.login : "", "name",
					    d->name, "seen", text)) != 0)
			rc = out_of_memory(err);
	}
	sat_arena_fini(&arena);
	if (rc == SAT_OK && json_object_set(ret, "missing", rows) != 0)
		rc = out_of_memory(err);
	json_decref(rows);
	return rc;
}

int sat_op_recovery_status(struct sat_admin *a, const json_t *args, json_t *ret,
			   struct sat_err *err)
{
	struct sat_recovery_status s;
	char since[25] = "";
	int rc = sat_recovery_stored(a->store, &s, err);

	(void)args;
	if (rc != SAT_OK)
		return rc;
	if (s.since_ms != 0)
		sat_time_format(s.since_ms, since);
	if (json_object_set_new(ret, "open", json_boolean(s.open)) != 0 ||
	    json_object_set_new(ret, "since", json_string(since)) != 0 ||
	    json_object_set_new(ret, "parked",
				json_integer((json_int_t)s.parked)) != 0)
		return out_of_memory(err);
	return s.open ? put_missing(a, s.since_ms, ret, err) : SAT_OK;
}

int sat_op_recovery_close(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err)
{
	struct sat_recovery_status s;
	int rc;

	(void)args;
	rc = sat_engine_recovery_close(a->engine, err);
	if (rc != SAT_OK)
		return rc;
	sat_engine_recovery(a->engine, &s);
	return json_object_set_new(ret, "parked",
				   json_integer((json_int_t)s.parked)) == 0
		       ? SAT_OK
		       : out_of_memory(err);
}
