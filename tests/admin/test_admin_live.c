/* A running server and its socket in one process, commands on threads beside
 * it: what thread sanitizers are for. */
#include "tests/session/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "server/admin/gate.h"
#include "server/admin/socket.h"

#define OK(call) assert_int_equal(call, SAT_OK)

enum { THREADS = 4, ROUNDS = 12 };

static struct rig rig;
static struct sat_lock lock;
static struct sat_admin_socket *admin;
static struct tablet ann;
static unsigned stops, notes;
static bool closed;

static void on_stop(void *arg)
{
	(void)arg;
	stops++;
}

/* COMMITTER THREAD; read after the server has stopped. */
static int on_note(void *arg, const char *line, struct sat_err *err)
{
	(void)arg;
	(void)err;
	assert_non_null(strstr(line, "revoked "));
	notes++;
	return SAT_OK;
}

static void start(void)
{
	struct sat_admin_socket_options o = { .on_stop = on_stop,
					      .note = on_note };
	struct sat_err err;
	char path[300];

	rig_init(&rig);
	stops = notes = 0;
	closed = false;
	(void)snprintf(path, sizeof path, "%s/lock", rig.w.dir);
	OK(sat_lock_take(path, &lock, &err));
	o.loop = &rig.loop;
	o.server = rig.server;
	o.config = rig.config;
	o.dir = rig.w.dir;
	OK(sat_admin_socket_open(&o, &admin, &err));
}

static void on_closed(void *arg)
{
	(void)arg;
	closed = true;
}

static bool is_closed(void *arg)
{
	(void)arg;
	return closed;
}

static void end(void)
{
	char path[300];

	sat_admin_socket_close(admin, on_closed, NULL);
	assert_true(rig_run(&rig, is_closed, NULL, 5000));
	(void)snprintf(path, sizeof path, "%s/lock", rig.w.dir);
	sat_lock_drop(&lock);
	assert_int_equal(unlink(path), 0);
	rig_fini(&rig);
}

/* ---- commands on threads ------------------------------------------------ */

struct command {
	uv_thread_t thread;
	int number;
	const char *op;
	json_t *args, *result;
	int rc;
	char said[256];
	bool done; /* under lock */
};

static uv_mutex_t guard;

static int call(struct command *c, const char *op, json_t *args)
{
	struct sat_err err = { .msg = "the files were free" };
	struct sat_gate *gate;
	int rc = sat_gate_open(rig.w.dir, &gate, &err);

	if (rc == SAT_OK) {
		json_decref(c->result);
		c->result = NULL;
		if (!sat_gate_is_live(gate))
			rc = SAT_E_CLOSED;
		else
			rc = sat_gate_call(gate, op,
					   args != NULL ? json_incref(args)
							: NULL,
					   &c->result, &err);
		sat_gate_close(gate);
	}
	json_decref(args);
	if (rc != SAT_OK)
		(void)snprintf(c->said, sizeof c->said, "%s", err.msg);
	return rc;
}

static void finish(struct command *c)
{
	uv_mutex_lock(&guard);
	c->done = true;
	uv_mutex_unlock(&guard);
}

static void run_one(void *arg)
{
	struct command *c = arg;

	c->rc = call(c, c->op, c->args);
	finish(c);
}

/* Writes and looks, again and again. */
static void run_many(void *arg)
{
	struct command *c = arg;
	char code[32];

	for (int i = 0; i < ROUNDS && c->rc == SAT_OK; i++) {
		(void)snprintf(code, sizeof code, "N%d-%d", c->number, i);
		c->rc = call(c, "territory add",
			     json_pack("{s:s, s:s, s:s, s:s}", "code", code,
				       "name", code, "level", "patch", "parent",
				       "EAST"));
		if (c->rc == SAT_OK)
			c->rc = call(c, "status", NULL);
		if (c->rc == SAT_OK)
			c->rc = call(c, "territory list", NULL);
	}
	finish(c);
}

static bool all_done(void *arg)
{
	struct command *c = arg;
	bool done = true;

	uv_mutex_lock(&guard);
	for (; c->op != NULL; c++)
		done = done && c->done;
	uv_mutex_unlock(&guard);
	return done;
}

/* One command; returns its result, which the caller gives back. */
static json_t *one(const char *op, json_t *args, int rc)
{
	struct command c[2] = { { .op = op, .args = args }, { .op = NULL } };

	assert_int_equal(uv_thread_create(&c[0].thread, run_one, &c[0]), 0);
	assert_true(rig_run(&rig, all_done, c, 20000));
	(void)uv_thread_join(&c[0].thread);
	if (c[0].rc != rc)
		print_error("%s: %s\n", op, c[0].said);
	assert_int_equal(c[0].rc, rc);
	return c[0].result;
}

static void commands_beside_a_device(void **state)
{
	struct command c[THREADS + 1] = { 0 };
	json_t *result;

	(void)state;
	start();
	tablet_init(&ann, &rig, &rig.w.ann);
	tablet_enrol(&ann);
	tablet_connect(&ann);
	assert_true(rig_run(&rig, tablet_caught_up, &ann, 10000));
	for (int i = 0; i < THREADS; i++) {
		c[i].op = "many";
		c[i].number = i;
		assert_int_equal(
			uv_thread_create(&c[i].thread, run_many, &c[i]), 0);
		tablet_write(&ann, "Beside", 100);
	}
	assert_true(rig_run(&rig, all_done, c, 60000));
	for (int i = 0; i < THREADS; i++) {
		(void)uv_thread_join(&c[i].thread);
		assert_int_equal(c[i].rc, SAT_OK);
		json_decref(c[i].result);
	}
	assert_true(rig_run(&rig, tablet_caught_up, &ann, 10000));
	result = one("territory list", NULL, SAT_OK);
	assert_int_equal(json_array_size(json_object_get(result, "rows")),
			 6 + THREADS * ROUNDS);
	json_decref(result);
	result = one("verify", NULL, SAT_OK);
	assert_true(json_is_true(json_object_get(result, "ok")));
	json_decref(result);
	tablet_fini(&ann);
	end();
}

static void revoked_while_connected(void **state)
{
	uint32_t replica;

	(void)state;
	start();
	tablet_init(&ann, &rig, &rig.w.ann);
	tablet_enrol(&ann);
	replica = ann.made.replica;
	tablet_connect(&ann);
	assert_true(rig_run(&rig, tablet_caught_up, &ann, 10000));
	json_decref(one("device revoke",
			json_pack("{s:I}", "device", (json_int_t)replica),
			SAT_OK));
	assert_true(rig_run(&rig, tablet_closed, &ann, 1000));
	json_decref(one("device revoke", json_pack("{s:i}", "device", 77),
			SAT_E_NOTFOUND));
	tablet_fini(&ann);
	end();
	assert_int_equal(notes, 1);
}

static void settings_change_under_way(void **state)
{
	struct sat_config *next = sat_config_new(SAT_PART_SERVER), *old;
	struct sat_server_ca ca;
	struct sat_err err;
	json_t *result;

	(void)state;
	start();
	OK(sat_config_set(next, "advertise", "new.example:9", &err));
	old = rig.config;
	rig.config = next;
	ca = (struct sat_server_ca){ .sign = {
					     sat_buf_peek(&rig.pki.ca),
					     sat_buf_peek(&rig.pki.ca_key) } };
	OK(sat_server_reload(rig.server, next, rig.tls, &ca, &err));
	sat_admin_socket_reload(admin, next);
	sat_config_free(old); /* nobody may look at it any more */
	result = one("invite", json_pack("{s:s}", "login", "ann"), SAT_OK);
	assert_string_equal(json_string_value(json_object_get(result, "host")),
			    "new.example:9");
	json_decref(result);
	result = one("stop", NULL, SAT_OK);
	assert_int_equal(stops, 1);
	json_decref(result);
	end();
}

/* Commands that come while the server stops get an answer or a clear end. */
static void stopping_under_load(void **state)
{
	struct command c[THREADS + 1] = { 0 };

	(void)state;
	start();
	for (int i = 0; i < THREADS; i++) {
		c[i].args = json_pack("{s:s}", "login", "ann");
		c[i].op = "invite";
		assert_int_equal(uv_thread_create(&c[i].thread, run_one, &c[i]),
				 0);
	}
	(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
	sat_admin_socket_close(admin, on_closed, NULL);
	rig_stop(&rig);
	assert_true(rig_run(&rig, is_closed, NULL, 5000));
	sat_lock_drop(&lock); /* those that wait find the files */
	for (int i = 0; i < THREADS; i++) {
		(void)uv_thread_join(&c[i].thread);
		if (c[i].rc == SAT_OK)
			assert_non_null(json_object_get(c[i].result, "token"));
		else
			assert_true(c[i].rc == SAT_E_CLOSED ||
				    c[i].rc == SAT_E_BUSY);
		json_decref(c[i].result);
	}
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_beside_a_device),
		cmocka_unit_test(revoked_while_connected),
		cmocka_unit_test(settings_change_under_way),
		cmocka_unit_test(stopping_under_load),
	};

	(void)uv_mutex_init(&guard);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
