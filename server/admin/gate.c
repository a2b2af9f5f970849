#include "server/admin/gate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/config.h"
#include "common/file.h"
#include "proto/local.h"
#include "server/admin/ops.h"
#include "server/sync/server.h"

struct sat_gate {
	char *dir;
	int fd; /* the socket, -1 when the files are ours */
	struct sat_lock lock;
	struct sat_store *store;
	struct sat_engine *engine;
	struct sat_config *config;
};

static int64_t wall_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int open_files(struct sat_gate *g, struct sat_err *err)
{
	char path[4096];
	int rc;

	rc = sat_path_join(path, sizeof path, g->dir, "server.conf", err);
	if (rc == SAT_OK)
		rc = sat_config_load(SAT_PART_SERVER, path, &g->config, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, g->dir, "satchel.db",
				   err);
	if (rc == SAT_OK)
		rc = sat_store_open_sqlite(path, true, false, &g->store, err);
	if (rc == SAT_OK)
		rc = sat_engine_open(g->store, &g->engine, err);
	return rc;
}

/* Somebody holds the lock: a server, or another command that will soon be
 * done. Try both until the time is up. */
static int open_locked(struct sat_gate *g, const char *lock_path, int rc,
		       struct sat_err *err)
{
	int64_t deadline = wall_ms() + SAT_ADMIN_GREETING_MS;
	pid_t holder = g->lock.holder;
	struct timespec nap = { .tv_nsec = 50 * 1000000 };
	char who[SAT_LOCK_WHO_CHARS];

	while (rc == SAT_E_BUSY && wall_ms() < deadline) {
		int left = (int)(deadline - wall_ms());

		if (sat_ask_connect(g->dir, "admin.sock", left > 0 ? left : 1,
				    &g->fd, err) == SAT_OK)
			return SAT_OK;
		(void)nanosleep(&nap, NULL);
		rc = sat_lock_take(lock_path, &g->lock, err);
		if (rc == SAT_OK)
			return open_files(g, err);
		if (g->lock.holder != 0)
			holder = g->lock.holder;
	}
	if (rc != SAT_E_BUSY)
		return rc;
	g->lock.holder = holder;
	return sat_err_set(err, SAT_E_BUSY, 0, "admin",
			   "%s holds %s/lock but does not answer; try again, "
			   "or look at that process",
			   sat_lock_who(&g->lock, who), g->dir);
}

int sat_gate_open(const char *dir, struct sat_gate **ret, struct sat_err *err)
{
	struct sat_gate *g = calloc(1, sizeof *g);
	char path[4096];
	int rc;

	if (g == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "admin",
				   "out of memory");
	g->fd = -1;
	g->lock.fd = -1;
	g->dir = strdup(dir);
	rc = sat_path_join(path, sizeof path, dir, "satchel.db", err);
	if (rc == SAT_OK && !sat_file_exists(path))
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "admin",
				 "%s is not a server's folder; `satchel-server "
				 "init --dir DIR --org NAME` makes one",
				 dir);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, dir, "lock", err);
	if (rc == SAT_OK) {
		rc = sat_lock_take(path, &g->lock, err);
		if (rc == SAT_OK)
			rc = open_files(g, err);
		else if (rc == SAT_E_BUSY)
			rc = open_locked(g, path, rc, err);
	}
	if (rc == SAT_OK) {
		*ret = g;
		g = NULL;
	}
	sat_gate_close(g);
	return rc;
}

void sat_gate_close(struct sat_gate *g)
{
	if (g == NULL)
		return;
	if (g->fd >= 0)
		(void)close(g->fd);
	if (g->engine != NULL)
		sat_engine_close(g->engine);
	if (g->store != NULL)
		sat_store_close(g->store);
	sat_config_free(g->config);
	sat_lock_drop(&g->lock);
	free(g->dir);
	free(g);
}

bool sat_gate_is_live(const struct sat_gate *g)
{
	return g->fd >= 0;
}

bool sat_gate_is_free(const char *dir, int wait_ms)
{
	struct timespec nap = { .tv_nsec = 20 * 1000000 };
	int64_t deadline = wall_ms() + wait_ms;
	struct sat_err err;
	char path[4096];
	pid_t holder = 0;

	if (sat_path_join(path, sizeof path, dir, "lock", &err) != SAT_OK)
		return false;
	for (;;) {
		int rc = sat_lock_holder(path, &holder, &err);

		/* one that does not say who it is holds it all the same */
		if (rc != SAT_E_BUSY && (rc != SAT_OK || holder == 0))
			return true;
		if (wall_ms() >= deadline)
			return false;
		(void)nanosleep(&nap, NULL);
	}
}

/* ---- calling ------------------------------------------------------------ */

static int note(void *arg, const char *line, struct sat_err *err)
{
	const struct sat_gate *g = arg;
	struct sat_journal journal;
	char path[4096];
	int rc;

	rc = sat_path_join(path, sizeof path, g->dir, "journal", err);
	if (rc == SAT_OK)
		rc = sat_dir_make(path, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, g->dir,
				   "journal/replicas", err);
	if (rc == SAT_OK)
		rc = sat_journal_open(path, &journal, NULL, NULL, err);
	if (rc != SAT_OK)
		return rc;
	rc = sat_journal_append(&journal, sat_slice_str(line), err);
	sat_journal_close(&journal);
	return rc;
}

/* The operation in this process; durable before the answer is seen. */
static int call_here(struct sat_gate *g, const json_t *request,
		     json_t **ret_answer, struct sat_err *err)
{
	const struct sat_admin_op *op = sat_op_find(request, err);
	char advertise[SAT_ADVERTISE_CHARS];
	struct sat_admin a = {
		.engine = g->engine,
		.store = g->store,
		.dir = g->dir,
		.advertise = advertise,
		.note = note,
		.note_arg = g,
		.invite_ms = sat_config_int(g->config, SAT_CFG_INVITE_HOURS) *
			     3600 * 1000,
		.keep = sat_keep_from(g->config),
		.now_ms = wall_ms(),
	};
	struct sat_commit_info info;
	int rc = SAT_OK;

	if (op == NULL)
		return err->rc;
	sat_admin_advertise(g->config, 0, advertise);
	sat_engine_keep_for(g->engine, &a.keep);
	if (op->writes)
		rc = sat_engine_begin(g->engine, a.now_ms, err);
	if (rc != SAT_OK)
		return rc;
	*ret_answer = sat_op_run(&a, op, request, &rc);
	if (op->writes && rc != SAT_OK)
		sat_engine_abandon(g->engine);
	else if (op->writes)
		rc = sat_engine_commit(g->engine, &info, err);
	else
		rc = SAT_OK;
	if (*ret_answer == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "admin",
				   "out of memory");
	if (op->writes && rc != SAT_OK && rc != SAT_AGAIN &&
	    json_integer_value(json_object_get(*ret_answer, "rc")) == 0) {
		json_decref(*ret_answer); /* it spoke of what did not last */
		*ret_answer = NULL;
		return rc;
	}
	return SAT_OK;
}

int sat_gate_call(struct sat_gate *g, const char *op, json_t *args,
		  json_t **ret, struct sat_err *err)
{
	json_t *request = json_pack("{s:s, s:o}", "op", op, "args",
				    args != NULL ? args : json_object());
	json_t *answer = NULL;
	const char *sentence;
	int rc;

	if (request == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "admin",
				   "out of memory");
	if (g->fd < 0) {
		rc = call_here(g, request, &answer, err);
	} else {
		rc = sat_ask(g->fd, request, -1, &answer, err);
	}
	json_decref(request);
	if (rc != SAT_OK)
		return rc;
	rc = (int)json_integer_value(json_object_get(answer, "rc"));
	if (rc != SAT_OK) {
		sentence = json_string_value(json_object_get(answer, "error"));
		rc = sat_err_set(err, rc, 0, op, "%s",
				 sentence != NULL ? sentence : "it failed");
	} else {
		*ret = json_incref(json_object_get(answer, "result"));
	}
	json_decref(answer);
	return rc;
}
