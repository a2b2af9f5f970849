#include "server/admin/ops_ca.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "server/commit/ca.h"

enum { NAMED_MAX = 4 };

/* Devices that may still come, and of these the ones that have not shown a
 * certificate of that CA. */
struct count {
	int64_t devices, ready;
	json_t *waiting; /* rows */
	char names[110];
};

static int ca_of(const json_t *args, uint64_t *ret, struct sat_err *err)
{
	const char *text = json_string_value(json_object_get(args, "ca"));
	uint8_t b[8];

	if (text == NULL || !sat_hex_parse(sat_slice_str(text), b, sizeof b))
		return sat_err_set(err, SAT_E_INVAL, 0, "ca",
				   "the request names no CA");
	*ret = 0;
	for (size_t i = 0; i < sizeof b; i++)
		*ret = *ret << 8 | b[i];
	return SAT_OK;
}

static json_t *when(int64_t ms)
{
	char text[25];

	sat_time_format(ms, text);
	return json_string(text);
}

static int wait_for(struct sat_admin *a, const struct sat_device *d,
		    struct count *c, struct sat_err *err)
{
	struct sat_user u = { .login = "" };
	size_t n = strlen(c->names), many = json_array_size(c->waiting);
	json_t *row;
	int rc = sat_store_user_get(a->store, &d->user, &u, err);

	if (rc != SAT_OK && rc != SAT_E_NOTFOUND)
		return rc;
	if (many < NAMED_MAX)
		(void)snprintf(c->names + n, sizeof c->names - n, "%s%lu (%s)",
			       many == 0 ? "" : ", ", (unsigned long)d->replica,
			       u.login);
	else if (many == NAMED_MAX)
		(void)snprintf(c->names + n, sizeof c->names - n,
			       " and others");
	row = json_pack("[I, s, s, o]", (json_int_t)d->replica, u.login,
			d->name, when(d->seen_ms));
	if (json_array_append_new(c->waiting, row) != 0)
		return sat_err_set(err, SAT_E_NOMEM, 0, "ca", "out of memory");
	return SAT_OK;
}

static int count(struct sat_admin *a, uint64_t ca, struct count *c,
		 struct sat_err *err)
{
	struct sat_device *all;
	struct sat_arena arena;
	uint64_t shown;
	uint32_t n = 0;
	int rc;

	sat_arena_init(&arena, 256 << 20);
	rc = sat_store_devices(a->store, &arena, &all, &n, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		if (all[i].state == SAT_DEVICE_REVOKED)
			continue;
		c->devices++;
		rc = sat_ca_last(a->store, all[i].replica, &shown, err);
		if (rc == SAT_OK && shown == ca)
			c->ready++;
		else if (rc == SAT_OK)
			rc = wait_for(a, &all[i], c, err);
	}
	sat_arena_fini(&arena);
	return rc;
}

/* Takes c->waiting. */
static int answer(json_t *ret, struct count *c, struct sat_err *err)
{
	json_t *titles =
		json_pack("[s, s, s, s]", "device", "login", "name", "seen");

	if (json_object_set_new(ret, "devices", json_integer(c->devices)) ==
		    0 &&
	    json_object_set_new(ret, "ready", json_integer(c->ready)) == 0 &&
	    json_object_set(ret, "columns", titles) == 0 &&
	    json_object_set(ret, "rows", c->waiting) == 0) {
		json_decref(titles);
		json_decref(c->waiting);
		return SAT_OK;
	}
	json_decref(titles);
	json_decref(c->waiting);
	return sat_err_set(err, SAT_E_NOMEM, 0, "ca", "out of memory");
}

/* The name that the next CA will carry too. */
static int add_org(struct sat_admin *a, json_t *ret, struct sat_err *err)
{
	struct sat_buf org;
	struct sat_slice s;
	int rc;

	sat_buf_init(&org, 4096);
	rc = sat_store_setting_get(a->store, "org", &org, err);
	s = sat_buf_peek(&org);
	if (rc == SAT_OK &&
	    json_object_set_new(ret, "org",
				json_stringn((const char *)s.ptr, s.len)) != 0)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "ca", "out of memory");
	sat_buf_fini(&org);
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

int sat_op_ca_status(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err)
{
	struct count c = { .waiting = json_array() };
	uint64_t ca;
	int rc = ca_of(args, &ca, err);

	if (rc == SAT_OK)
		rc = add_org(a, ret, err);

	if (rc == SAT_OK)
		rc = count(a, ca, &c, err);
	if (rc == SAT_OK)
		return answer(ret, &c, err);
	json_decref(c.waiting);
	return rc;
}

int sat_op_ca_rollover(struct sat_admin *a, const json_t *args, json_t *ret,
		       struct sat_err *err)
{
	return sat_op_ca_status(a, args, ret, err);
}

int sat_op_ca_finish(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err)
{
	bool force = json_is_true(json_object_get(args, "force"));
	struct count c = { .waiting = json_array() };
	uint64_t ca;
	int rc = ca_of(args, &ca, err);

	if (rc == SAT_OK)
		rc = count(a, ca, &c, err);
	if (rc == SAT_OK && c.ready < c.devices && !force)
		rc = sat_err_set(
			err, SAT_E_DENIED, 0, "ca finish",
			"%lld of %lld devices do not trust the new CA: %s; "
			"`device revoke` those that are gone, or --force",
			(long long)(c.devices - c.ready), (long long)c.devices,
			c.names);
	if (rc == SAT_OK)
		return answer(ret, &c, err);
	json_decref(c.waiting);
	return rc;
}
