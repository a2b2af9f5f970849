/* ca: replacing the organisation's CA while devices come and go. */
#include <stdio.h>
#include <time.h>

#include "common/file.h"
#include "common/say.h"
#include "common/text.h"
#include "server/cli/ca_files.h"
#include "server/cli/cli.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

struct ca_call {
	struct sat_call *call;
	struct sat_lock lock; /* one of us at a time changes the files */
	struct sat_gate *gate;
	struct sat_ca_files files;
	struct sat_err err;
};

static int64_t wall_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int open_all(struct ca_call *c, struct sat_call *call)
{
	char path[4096];
	int rc;

	*c = (struct ca_call){ .call = call, .lock = { .fd = -1 } };
	sat_ca_files_init(&c->files);
	rc = sat_gate_open(call->dir, &c->gate, &c->err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, call->dir, "ca.lock",
				   &c->err);
	if (rc == SAT_OK)
		rc = sat_lock_take(path, &c->lock, &c->err);
	if (rc == SAT_E_BUSY && c->gate != NULL)
		(void)sat_err_set(&c->err, rc, 0, "ca",
				  "another command changes the CA");
	if (rc == SAT_OK)
		rc = sat_ca_files_settle(call->dir, &c->err);
	return rc == SAT_OK ? sat_ca_files_read(call->dir, &c->files, &c->err)
			    : rc;
}

static int close_all(struct ca_call *c, int rc)
{
	int code = SAT_EXIT_OK;

	if (rc != SAT_OK) {
		c->err.rc = rc;
		code = sat_complain(c->call->command->name, &c->err);
	}
	sat_ca_files_fini(&c->files);
	sat_lock_drop(&c->lock);
	sat_gate_close(c->gate);
	return code == SAT_EXIT_OK && fflush(stdout) != 0 ? SAT_EXIT_FAILED
							  : code;
}

/* The operation of that name about the CA that signs now. */
static int ask(struct ca_call *c, const char *op, json_t **ret)
{
	json_t *args = json_copy(c->call->args);
	uint8_t b[8];
	char no[17];

	for (size_t i = 0; i < sizeof b; i++)
		b[i] = (uint8_t)(c->files.no >> (56 - 8 * i));
	sat_hex_format(b, sizeof b, no);
	if (args == NULL || json_object_set_new(args, "ca", json_string(no))) {
		json_decref(args);
		return sat_err_set(&c->err, SAT_E_NOMEM, 0, "ca",
				   "out of memory");
	}
	return sat_gate_call(c->gate, op, args, ret, &c->err);
}

/* A server that runs takes what the files say now. */
static int reload(struct ca_call *c)
{
	json_t *result = NULL;
	int rc = SAT_OK;

	if (sat_gate_is_live(c->gate))
		rc = sat_gate_call(c->gate, "reload", NULL, &result, &c->err);
	json_decref(result);
	return rc;
}

/* How far it is. Takes the operation's result. */
static void print(const struct ca_call *c, json_t *result)
{
	bool rolling = c->files.rolling, json = c->call->json;
	json_t *rows = sat_rows_as_objects(result);

	(void)json_object_set_new(
		result, "state",
		json_string(rolling ? "a new CA takes over" : "one CA"));
	(void)json_object_set_new(
		result, "old_ca_days",
		json_integer((c->files.old_ends_ms - wall_ms()) / DAY_MS));
	if (!rolling) {
		(void)json_object_del(result, "ready");
		(void)json_object_del(result, "devices");
	}
	if (!rolling || json || json_array_size(rows) == 0) {
		(void)json_object_del(result, "columns");
		(void)json_object_del(result, "rows");
	}
	if (json && rolling)
		(void)json_object_set(result, "waiting", rows);
	sat_print_result(stdout, result, json);
	json_decref(rows);
	json_decref(result);
}

int sat_cli_ca_status(struct sat_call *call)
{
	struct ca_call c;
	json_t *result = NULL;
	int rc = open_all(&c, call);

	if (rc == SAT_OK)
		rc = ask(&c, "ca status", &result);
	if (rc == SAT_OK)
		print(&c, result);
	return close_all(&c, rc);
}

static int begin(struct ca_call *c)
{
	json_t *status = NULL;
	const char *org;
	int rc = ask(c, "ca status", &status);

	if (rc != SAT_OK)
		return rc;
	org = json_string_value(json_object_get(status, "org"));
	rc = sat_ca_files_begin(c->call->dir, org == NULL ? "Satchel" : org,
				wall_ms(), &c->err);
	json_decref(status);
	return rc == SAT_OK
		       ? sat_ca_files_read(c->call->dir, &c->files, &c->err)
		       : rc;
}

/* Asked again, it goes on where a cut left it. */
int sat_cli_ca_rollover(struct sat_call *call)
{
	struct ca_call c;
	json_t *result = NULL;
	int rc = open_all(&c, call);

	if (rc == SAT_OK && !c.files.rolling)
		rc = begin(&c);
	if (rc == SAT_OK)
		rc = reload(&c);
	if (rc == SAT_OK)
		rc = ask(&c, "ca rollover", &result);
	if (rc == SAT_OK)
		print(&c, result);
	return close_all(&c, rc);
}

int sat_cli_ca_finish(struct sat_call *call)
{
	struct ca_call c;
	json_t *result = NULL;
	int rc = open_all(&c, call);

	if (rc == SAT_OK && !c.files.rolling)
		rc = sat_err_set(&c.err, SAT_E_NOTFOUND, 0, "ca finish",
				 "no new CA takes over; `ca rollover` makes "
				 "one");
	if (rc == SAT_OK)
		rc = ask(&c, "ca finish", &result);
	if (rc == SAT_OK)
		rc = sat_ca_files_finish(call->dir, wall_ms(), &c.err);
	if (rc == SAT_OK)
		rc = reload(&c);
	if (rc == SAT_OK && call->json)
		sat_print_result(stdout, result, true);
	else if (rc == SAT_OK)
		(void)puts(sat_say("the old CA is gone; invitations that "
				   "nobody has used name it and must be made "
				   "again"));
	json_decref(result);
	return close_all(&c, rc);
}
