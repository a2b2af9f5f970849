#include "server/admin/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/ops_adopt.h"
#include "server/admin/ops_ca.h"
#include "server/admin/ops_collect.h"
#include "server/admin/ops_data.h"
#include "server/admin/ops_device.h"
#include "server/admin/ops_doctor.h"
#include "server/admin/ops_import.h"
#include "server/admin/ops_move.h"
#include "server/admin/ops_people.h"
#include "server/admin/ops_recovery.h"

static const struct sat_admin_op ops[] = {
	{ "territory add", true, sat_op_territory_add },
	{ "territory list", false, sat_op_territory_list },
	{ "territory move", true, sat_op_territory_move },
	{ "user add", true, sat_op_user_add },
	{ "user list", false, sat_op_user_list },
	{ "user disable", true, sat_op_user_disable },
	{ "grant add", true, sat_op_grant_add },
	{ "grant remove", true, sat_op_grant_remove },
	{ "grant list", false, sat_op_grant_list },
	{ "invite", true, sat_op_invite },
	{ "device list", false, sat_op_device_list },
	{ "device revoke", true, sat_op_device_revoke },
	{ "device wipe", true, sat_op_device_wipe },
	{ "account move", true, sat_op_account_move },
	{ "undo", true, sat_op_undo },
	{ "audit list", false, sat_op_audit_list },
	{ "import", true, sat_op_import },
	{ "export", false, sat_op_export },
	{ "report", false, sat_op_report },
	{ "history", false, sat_op_history },
	{ "why", false, sat_op_history },
	{ "verify", false, sat_op_verify },
	{ "status", false, sat_op_status },
	{ "recovery status", false, sat_op_recovery_status },
	{ "recovery close", true, sat_op_recovery_close },
	{ "collect", true, sat_op_collect },
	{ "adopt", true, sat_op_adopt },
	{ "doctor", false, sat_op_doctor },
	{ "ca status", false, sat_op_ca_status },
	{ "ca rollover", true, sat_op_ca_rollover },
	{ "ca finish", true, sat_op_ca_finish },
	{ "catalogue show", false, sat_op_catalogue_show },
	{ "catalogue check", false, sat_op_catalogue_check },
	{ "catalogue apply", true, sat_op_catalogue_apply },
};

const struct sat_admin_op *sat_op_find(const json_t *request,
				       struct sat_err *err)
{
	const char *name = json_string_value(json_object_get(request, "op"));

	if (name == NULL) {
		(void)sat_err_set(err, SAT_E_INVAL, 0, "request",
				  "the request names no operation");
		return NULL;
	}
	for (size_t i = 0; i < SAT_COUNT_OF(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	(void)sat_err_set(err, SAT_E_INVAL, 0, "request",
			  "the server knows no operation \"%s\"; is it of an "
			  "older version?",
			  name);
	return NULL;
}

void sat_admin_advertise(const struct sat_config *c, uint16_t port,
			 char out[SAT_ADVERTISE_CHARS])
{
	const char *set = sat_config_text(c, SAT_CFG_ADVERTISE);
	const char *listen = sat_config_text(c, SAT_CFG_LISTEN);
	char host[256];

	if (port == 0 &&
	    !sat_hostport_parse(sat_slice_str(listen), 0, host, &port))
		port = 7443;
	if (*set != '\0')
		(void)snprintf(out, SAT_ADVERTISE_CHARS, "%s", set);
	else
		(void)snprintf(out, SAT_ADVERTISE_CHARS, "localhost:%u",
			       (unsigned)port);
}

json_t *sat_op_failure(const struct sat_err *err)
{
	return json_pack("{s:i, s:s}", "rc", err->rc, "error", err->msg);
}

/* Who asked for what. Of an import, whose lines are not kept, how much. */
static int audit(struct sat_admin *a, const struct sat_admin_op *op,
		 const json_t *args, json_t *result, struct sat_err *err)
{
	static const char *const bulk[] = { "json", "lines", "header", "map" };
	json_t *detail = json_is_object(args)
				 ? json_copy((json_t *)(uintptr_t)args)
				 : json_object();
	json_t *n = json_object_get(result, "imported");
	json_t *undo = json_object_get(result, SAT_ADMIN_UNDO);
	uint64_t no;
	char *text = NULL;
	int rc = SAT_E_NOMEM;

	if (n != NULL && json_integer_value(n) == 0) {
		rc = SAT_OK;
		goto out;
	}
	if (detail == NULL)
		goto out;
	if (n != NULL &&
	    (json_object_set(detail, "imported", n) != 0 ||
	     json_object_set(detail, "table",
			     json_object_get(json_object_get(detail, "map"),
					     "table")) != 0))
		goto out;
	for (size_t i = 0; i < SAT_COUNT_OF(bulk); i++)
		(void)json_object_del(detail, bulk[i]);
	(void)json_object_del(detail, SAT_ADMIN_UNDO); /* not from outside */
	if (undo != NULL && json_object_set(detail, SAT_ADMIN_UNDO, undo) != 0)
		goto out;
	text = json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS);
	if (text != NULL)
		rc = sat_store_audit(a->store, a->now_ms, "admin", op->name,
				     sat_slice_str(text), err);
	if (rc != SAT_OK || undo == NULL)
		goto out;
	(void)json_object_del(result, SAT_ADMIN_UNDO);
	rc = sat_store_audit_last(a->store, &no, err);
	if (rc == SAT_OK &&
	    json_object_set_new(result, "audit", json_integer((json_int_t)no)))
		rc = SAT_E_NOMEM;
out:
	json_decref(detail);
	free(text);
	return rc == SAT_E_NOMEM
		       ? sat_err_set(err, rc, 0, "audit", "out of memory")
		       : rc;
}

json_t *sat_op_run(struct sat_admin *a, const struct sat_admin_op *op,
		   const json_t *request, int *ret_rc)
{
	const json_t *args = json_object_get(request, "args");
	json_t *result = json_object();
	json_t *answer;
	struct sat_err err;

	*ret_rc = SAT_E_NOMEM;
	if (result == NULL)
		return NULL;
	*ret_rc = op->run(a, args, result, &err);
	if (*ret_rc == SAT_OK && op->writes)
		*ret_rc = audit(a, op, args, result, &err);
	if (*ret_rc != SAT_OK && *ret_rc != SAT_AGAIN) {
		json_decref(result);
		err.rc = *ret_rc;
		return sat_op_failure(&err);
	}
	answer = json_pack("{s:i, s:o}", "rc", SAT_OK, "result", result);
	if (answer == NULL)
		*ret_rc = SAT_E_NOMEM;
	return answer;
}
