/* Operations: named, refused, audited, noted; and no JSON that a socket can
 * carry brings one down. */
#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/ops.h"

#define OK(call) assert_int_equal(call, SAT_OK)

static struct sat_err err;
static char noted[64];
static int note_rc;

static int on_note(void *arg, const char *line, struct sat_err *e)
{
	(void)arg;
	(void)snprintf(noted, sizeof noted, "%s", line);
	return note_rc == SAT_OK
		       ? SAT_OK
		       : sat_err_set(e, note_rc, 0, "note", "no disk");
}

/* As the committer does: a group of its own, kept only when it worked. */
static json_t *request(struct world *w, json_t *req, int *ret_rc)
{
	struct sat_admin a = { .engine = w->engine,
			       .store = w->store,
			       .dir = w->dir,
			       .advertise = "localhost:7443",
			       .invite_ms = 3600 * 1000,
			       .now_ms = w->now_ms,
			       .note = on_note };
	const struct sat_admin_op *op = sat_op_find(req, &err);
	struct sat_commit_info info;
	json_t *answer;

	if (op == NULL) {
		*ret_rc = err.rc;
		answer = sat_op_failure(&err);
	} else {
		group_begin(w);
		answer = sat_op_run(&a, op, req, ret_rc);
		if (*ret_rc == SAT_OK)
			OK(sat_engine_commit(w->engine, &info, &err));
		else
			sat_engine_abandon(w->engine);
	}
	json_decref(req);
	assert_non_null(answer);
	return answer;
}

static int run(struct world *w, const char *op, json_t *args)
{
	json_t *answer;
	int rc;

	answer = request(w, json_pack("{s:s, s:o}", "op", op, "args", args),
			 &rc);
	assert_int_equal(json_integer_value(json_object_get(answer, "rc")), rc);
	if (rc != SAT_OK) {
		(void)snprintf(
			err.msg, sizeof err.msg, "%s",
			json_string_value(json_object_get(answer, "error")));
		assert_true(strlen(err.msg) > 5);
	}
	json_decref(answer);
	return rc;
}

static void named_or_refused(void **state)
{
	static const char *const bad[] = {
		"{}",           "[]",
		"null",         "7",
		"{\"op\": 7}",  "{\"op\": \"\"}",
		"{\"op\": []}", "{\"op\": \"drop table\"}",
	};
	struct world *w = *state;
	json_t *answer;
	int rc;

	for (size_t i = 0; i < SAT_COUNT_OF(bad); i++) {
		answer = request(w, json_loads(bad[i], JSON_DECODE_ANY, NULL),
				 &rc);
		assert_int_equal(rc, SAT_E_INVAL);
		assert_non_null(json_object_get(answer, "error"));
		json_decref(answer);
	}
}

struct counting {
	unsigned count;
	char what[40], detail[200];
};

static int on_audit(void *arg, int columns, const char *const *names,
		    const struct sat_value *values)
{
	struct counting *c = arg;

	assert_int_equal(columns, 2);
	(void)names;
	c->count++;
	(void)snprintf(c->what, sizeof c->what, "%.*s", (int)values[0].s.len,
		       (const char *)values[0].s.ptr);
	(void)snprintf(c->detail, sizeof c->detail, "%.*s",
		       (int)values[1].s.len, (const char *)values[1].s.ptr);
	return SAT_OK;
}

static struct counting audited(struct world *w)
{
	struct counting c = { .count = 0 };

	OK(sat_store_query(w->store,
			   "SELECT what, detail FROM _audit ORDER BY no", NULL,
			   0, on_audit, &c, &err));
	return c;
}

static void what_was_done_is_in_the_audit(void **state)
{
	struct world *w = *state;
	unsigned before = audited(w).count;
	struct counting c;

	OK(run(w, "user disable", json_pack("{s:s}", "login", "ann")));
	c = audited(w);
	assert_int_equal(c.count, before + 1);
	assert_string_equal(c.what, "user disable");
	assert_string_equal(c.detail, "{\"login\":\"ann\"}");
	/* What failed, and what only looked, is not. */
	assert_int_equal(
		run(w, "user disable", json_pack("{s:s}", "login", "nobody")),
		SAT_E_NOTFOUND);
	OK(run(w, "user list", json_object()));
	assert_int_equal(audited(w).count, before + 1);
}

/* The note is kept before the group is; without it nothing is revoked. */
static void revocations_are_noted(void **state)
{
	struct world *w = *state;
	struct sat_device row;
	struct device d;

	device_add(w, &d, &w->ann);
	noted[0] = '\0';
	note_rc = SAT_E_FULL;
	assert_int_equal(
		run(w, "device revoke",
		    json_pack("{s:I}", "device", (json_int_t)d.replica)),
		SAT_E_FULL);
	OK(sat_store_device_get(w->store, d.replica, &row, &err));
	assert_int_equal(row.state, SAT_DEVICE_ACTIVE);
	note_rc = SAT_OK;
	OK(run(w, "device revoke",
	       json_pack("{s:I}", "device", (json_int_t)d.replica)));
	OK(sat_store_device_get(w->store, d.replica, &row, &err));
	assert_int_equal(row.state, SAT_DEVICE_REVOKED);
	assert_non_null(strstr(noted, "revoked "));
	device_fini(&d);
}

static void trees_stay_trees(void **state)
{
	struct world *w = *state;

	assert_int_equal(
		run(w, "territory move",
		    json_pack("{s:s, s:s}", "code", "EAST", "parent", "T1")),
		SAT_E_INVAL);
	assert_int_equal(
		run(w, "territory move",
		    json_pack("{s:s, s:s}", "code", "EAST", "parent", "EAST")),
		SAT_E_INVAL);
	OK(run(w, "territory move",
	       json_pack("{s:s, s:s}", "code", "T1", "parent", "WEST")));
	assert_int_equal(run(w, "territory add",
			     json_pack("{s:s, s:s, s:s}", "code", "T1", "name",
				       "x", "level", "patch")),
			 SAT_E_EXISTS);
}

static void hosts_of_invitations(void **state)
{
	static const struct {
		const char *host, *wanted;
	} rows[] = {
		{ "h.example", "h.example:7443" },
		{ "h.example:1", "h.example:1" },
		{ "[::1]:5", "[::1]:5" },
		{ "a b", NULL },
		{ "", NULL },
		{ "h:0", NULL },
		{ "h/x:1", NULL },
		{ ":5", NULL },
	};
	struct world *w = *state;
	json_t *answer;
	int rc;

	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		answer = request(w,
				 json_pack("{s:s, s:{s:s, s:s}}", "op",
					   "invite", "args", "login", "ann",
					   "host", rows[i].host),
				 &rc);
		assert_int_equal(rc,
				 rows[i].wanted != NULL ? SAT_OK : SAT_E_INVAL);
		if (rc == SAT_OK)
			assert_string_equal(
				json_string_value(json_object_get(
					json_object_get(answer, "result"),
					"host")),
				rows[i].wanted);
		json_decref(answer);
	}
}

/* ---- whatever comes ----------------------------------------------------- */

static const char *const ops[] = {
	"territory add",   "territory list", "territory move",
	"user add",        "user list",      "user disable",
	"grant add",       "grant remove",   "grant list",
	"invite",          "device list",    "device revoke",
	"account move",    "import",         "export",
	"report",          "history",        "verify",
	"status",          "catalogue show", "catalogue check",
	"catalogue apply",
};

static const char *const names[] = {
	"code",      "name",  "level",  "parent", "login",   "role",
	"territory", "grant", "device", "host",   "from",    "to",
	"table",     "id",    "what",   "by",     "map",     "header",
	"lines",     "json",  "file",   "after",  "account",
};

static const char *const values[] = {
	"null",
	"true",
	"-1",
	"0",
	"1e300",
	"9223372036854775807",
	"\"\"",
	"\"T1\"",
	"\"ann\"",
	"\"account\"",
	"\"rep\"",
	"\"'; --\"",
	"[]",
	"[[]]",
	"[1]",
	"[[1, \"x\"]]",
	"[null]",
	"{}",
	"{\"table\": 7}",
	"{\"table\": \"account\", \"key\": [\"a\"], \"columns\": {\"name\": "
	"{\"from\": \"a\"}}}",
	"{\"table\": \"account\", \"key\": [\"a\"], \"columns\": {\"name\": "
	"{\"first\": 7}, \"tags\": {\"add\": 3}}}",
	"{\"table\": \"account\", \"match\": {\"column\": \"name\"}, "
	"\"columns\": {\"name\": []}}",
	"[\"a\"]",
};

/* A small generator of our own: a failing round is found by its number. */
static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void no_request_breaks_an_operation(void **state)
{
	struct world *w = *state;
	uint32_t seed = 7;
	unsigned good = 0, refused = 0;
	json_t *args, *answer;
	int rc;

	account_x(w);
	for (unsigned round = 0; round < 4000; round++) {
		const char *op = ops[next(&seed) % SAT_COUNT_OF(ops)];
		uint32_t count = next(&seed) % 8;

		args = json_object();
		for (uint32_t i = 0; i < count; i++) {
			const char *name =
				names[next(&seed) % SAT_COUNT_OF(names)];
			const char *v =
				values[next(&seed) % SAT_COUNT_OF(values)];

			json_object_set_new(
				args, name,
				json_loads(v, JSON_DECODE_ANY, NULL));
		}
		answer = request(
			w, json_pack("{s:s, s:o}", "op", op, "args", args),
			&rc);
		if (rc != SAT_OK)
			assert_non_null(json_string_value(
				json_object_get(answer, "error")));
		good += rc == SAT_OK;
		refused += rc != SAT_OK;
		json_decref(answer);
	}
	assert_true(good > 100 && refused > 1000);
	OK(run(w, "verify", json_object()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(named_or_refused, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(what_was_done_is_in_the_audit,
						world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(revocations_are_noted,
						world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(trees_stay_trees, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(hosts_of_invitations,
						world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(no_request_breaks_an_operation,
						world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
