/* Commands that are one operation, with little or nothing around it. */
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/pki.h"
#include "common/say.h"
#include "common/text.h"
#include "server/cli/cli.h"

enum { STOP_WAIT_MS = 60 * 1000 };

int sat_exit_code(int rc)
{
	if (rc == SAT_OK)
		return SAT_EXIT_OK;
	return rc == SAT_E_BUSY ? SAT_EXIT_BUSY : SAT_EXIT_FAILED;
}

int sat_complain(const char *what, const struct sat_err *err)
{
	char said[SAT_SAY_BYTES];

	(void)fflush(stdout);
	(void)fprintf(stderr, "satchel-server %s%s%s\n", what, sat_say(": "),
		      sat_say_text(err->msg, said, sizeof said));
	return sat_exit_code(err->rc);
}

/* Open, ask, close. *ret is a new reference on SAT_OK. */
static int ask(const struct sat_call *call, json_t *args, json_t **ret,
	       struct sat_err *err)
{
	struct sat_gate *gate;
	int rc = sat_gate_open(call->dir, &gate, err);

	if (rc != SAT_OK) {
		json_decref(args);
		err->rc = rc;
		return rc;
	}
	rc = sat_gate_call(gate, call->command->op, args, ret, err);
	err->rc = rc;
	sat_gate_close(gate);
	return rc;
}

int sat_cli_simple(struct sat_call *call)
{
	struct sat_err err;
	json_t *result;

	if (ask(call, json_incref(call->args), &result, &err) != SAT_OK)
		return sat_complain(call->command->name, &err);
	if (!call->json && call->command->empty != NULL &&
	    (json_object_size(result) == 0 ||
	     (json_object_get(result, "columns") != NULL &&
	      json_array_size(json_object_get(result, "rows")) == 0)))
		(void)fputs(sat_say(call->command->empty), stdout);
	else
		sat_print_result(stdout, result, call->json);
	json_decref(result);
	return fflush(stdout) == 0 ? SAT_EXIT_OK : SAT_EXIT_FAILED;
}

/* One account to a territory, or everything of one territory to another. */
int sat_cli_account_move(struct sat_call *call)
{
	const json_t *a = call->args;
	bool one = json_object_get(a, "account") != NULL &&
		   json_object_get(a, "territory") != NULL;
	bool all = json_object_get(a, "from") != NULL &&
		   json_object_get(a, "to") != NULL;
	struct sat_err err;

	if (one != all)
		return sat_cli_simple(call);
	(void)sat_err_set(&err, SAT_E_INVAL, 0, "account move",
			  "either --account and --territory, or --from and "
			  "--to, are needed");
	(void)sat_complain(call->command->name, &err);
	return SAT_EXIT_USAGE;
}

int sat_cli_status(struct sat_call *call)
{
	return sat_cli_simple(call);
}

/* Prints what was checked and fails when something was found. */
int sat_cli_verify(struct sat_call *call)
{
	struct sat_err err;
	json_t *result;
	int code;

	if (ask(call, json_incref(call->args), &result, &err) != SAT_OK)
		return sat_complain(call->command->name, &err);
	sat_print_result(stdout, result, call->json);
	code = json_is_true(json_object_get(result, "ok")) ? SAT_EXIT_OK
							   : SAT_EXIT_FAILED;
	json_decref(result);
	return code;
}

int sat_cli_stop(struct sat_call *call)
{
	struct sat_gate *gate;
	struct sat_err err;
	json_t *result = NULL;
	int rc = sat_gate_open(call->dir, &gate, &err);

	if (rc != SAT_OK)
		return sat_complain("stop", &err);
	if (!sat_gate_is_live(gate)) {
		sat_gate_close(gate);
		(void)puts(sat_say("the server is not running"));
		return SAT_EXIT_OK;
	}
	rc = sat_gate_call(gate, "stop", NULL, &result, &err);
	err.rc = rc;
	json_decref(result);
	sat_gate_close(gate);
	if (rc != SAT_OK)
		return sat_complain("stop", &err);
	/* Stopped means: the lock is free again. Draining takes 5 s at most,
	 * a last commit may take longer. */
	if (!sat_gate_is_free(call->dir, STOP_WAIT_MS)) {
		return sat_complain(
			"stop",
			&(struct sat_err){
				.rc = SAT_E_BUSY,
				.msg = "it was told to stop, but is still at "
				       "it after 60 s" });
	}
	(void)puts(sat_say("stopped"));
	return SAT_EXIT_OK;
}

/* satchel://HOST:PORT/TOKEN/SPKI: where, the one-time code, and whom to
 * trust: the hash of the CA's key. */
int sat_cli_invite(struct sat_call *call)
{
	char path[4096], pin[2 * SAT_SHA256_BYTES + 1], line[1024];
	struct sat_cert_info ca;
	struct sat_buf pem;
	struct sat_err err;
	json_t *result = NULL;
	int rc;

	sat_buf_init(&pem, SAT_PEM_BYTES_MAX);
	rc = sat_path_join(path, sizeof path, call->dir, "ca.pem", &err);
	if (rc == SAT_OK)
		rc = sat_file_read(path, SAT_PEM_BYTES_MAX, &pem, &err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&pem), &ca, &err);
	sat_buf_fini(&pem);
	if (rc == SAT_OK)
		rc = ask(call, json_incref(call->args), &result, &err);
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("invite", &err);
	}
	sat_hex_format(ca.spki, sizeof ca.spki, pin);
	(void)snprintf(line, sizeof line, "satchel://%s/%s/%s",
		       json_string_value(json_object_get(result, "host")),
		       json_string_value(json_object_get(result, "token")),
		       pin);
	if (call->json) {
		(void)json_object_set_new(result, "invitation",
					  json_string(line));
		sat_print_result(stdout, result, true);
	} else {
		(void)puts(line);
	}
	sat_secret_wipe(line, sizeof line);
	json_decref(result);
	return fflush(stdout) == 0 ? SAT_EXIT_OK : SAT_EXIT_FAILED;
}

/* show needs nothing; check and apply send the file's text along. */
int sat_cli_catalogue(struct sat_call *call)
{
	const char *file =
		json_string_value(json_object_get(call->args, "file"));
	struct sat_buf text;
	struct sat_err err;
	struct sat_slice s;
	int rc;

	if (file == NULL)
		return sat_cli_simple(call);
	sat_buf_init(&text, 1 << 20);
	rc = sat_file_read(file, 1 << 20, &text, &err);
	s = sat_buf_peek(&text);
	if (rc == SAT_OK &&
	    json_object_set_new(call->args, "json",
				json_stringn((const char *)s.ptr, s.len)) != 0)
		rc = sat_err_set(&err, SAT_E_INVAL, 0, "catalogue",
				 "%s is not UTF-8 text", file);
	sat_buf_fini(&text);
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain(call->command->name, &err);
	}
	return sat_cli_simple(call);
}
