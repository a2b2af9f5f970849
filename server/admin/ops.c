#include "server/admin/ops.h"

#include <string.h>

#include "server/admin/ops_data.h"
#include "server/admin/ops_import.h"
#include "server/admin/ops_people.h"

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
	{ "account move", true, sat_op_account_move },
	{ "import", true, sat_op_import },
	{ "export", false, sat_op_export },
	{ "report", false, sat_op_report },
	{ "history", false, sat_op_history },
	{ "verify", false, sat_op_verify },
	{ "status", false, sat_op_status },
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

json_t *sat_op_failure(const struct sat_err *err)
{
	return json_pack("{s:i, s:s}", "rc", err->rc, "error", err->msg);
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
	if (*ret_rc != SAT_OK) {
		json_decref(result);
		err.rc = *ret_rc;
		return sat_op_failure(&err);
	}
	answer = json_pack("{s:i, s:o}", "rc", SAT_OK, "result", result);
	if (answer == NULL)
		*ret_rc = SAT_E_NOMEM;
	return answer;
}
