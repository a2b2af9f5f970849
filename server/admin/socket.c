#include "server/admin/socket.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/local.h"
#include "server/admin/ops.h"
#include "server/sync/server.h"

struct sat_admin_socket {
	struct sat_local *local;
	struct sat_admin_socket_options o;
	char *dir;
	uint64_t started_ms;
	void (*done)(void *arg);
	void *done_arg;
};

struct job {
	struct sat_admin_socket *s;
	struct sat_local_call *call;
	const struct sat_admin_op *op;
	json_t *request, *answer;
	char advertise[SAT_ADVERTISE_CHARS];
	struct sat_admin admin;
};

static int64_t wall_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* COMMITTER THREAD */
static int run_writing(struct sat_engine *e, void *arg, struct sat_err *err)
{
	struct job *j = arg;
	int rc;

	j->admin.engine = e;
	j->admin.store = sat_engine_store(e);
	j->answer = sat_op_run(&j->admin, j->op, j->request, &rc);
	if (rc == SAT_AGAIN) /* a dry run: undone, and not for a fault */
		return sat_err_set(err, rc, 0, j->op->name, "dry run");
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, j->op->name, "%s",
				   j->answer == NULL
					   ? "out of memory"
					   : json_string_value(json_object_get(
						     j->answer, "error")));
	return SAT_OK;
}

/* READER THREAD */
static int run_reading(struct sat_store *reader, void *arg, struct sat_err *err)
{
	struct job *j = arg;
	int rc = sat_store_catalogue_refresh(reader, err);

	if (rc != SAT_OK)
		return rc;
	j->admin.store = reader;
	j->answer = sat_op_run(&j->admin, j->op, j->request, &rc);
	return SAT_OK;
}

static void on_job_done(void *arg, int rc, const struct sat_err *err)
{
	struct job *j = arg;
	struct sat_local_call *call = j->call;
	json_t *answer = j->answer;

	/* What an operation answered counts only once it is durable. */
	if ((rc != SAT_OK && rc != SAT_AGAIN) || answer == NULL) {
		json_decref(answer);
		answer = json_pack("{s:i, s:s}", "rc",
				   rc != SAT_OK ? rc : SAT_E_NOMEM, "error",
				   rc != SAT_OK ? err->msg : "out of memory");
	}
	json_decref(j->request);
	json_decref(j->admin.live);
	free(j);
	sat_local_answer(call, answer);
}

static json_t *live_facts(const struct sat_admin_socket *s)
{
	struct sat_server_metrics m;

	sat_server_metrics(s->o.server, &m);
	return json_pack(
		"{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
		" s:I}",
		"pid", (int)getpid(), "port", (int)sat_server_port(s->o.server),
		"uptime_s",
		(json_int_t)((uv_now(s->o.loop) - s->started_ms) / 1000),
		"connections", (json_int_t)m.links_open, "sessions",
		(json_int_t)m.sessions_live, "changesets",
		(json_int_t)m.changesets_in, "rejected",
		(json_int_t)m.changesets_rejected, "groups",
		(json_int_t)m.groups, "group_failures",
		(json_int_t)m.group_failures, "commit_queue",
		(json_int_t)m.commit_queue, "scope_alarms",
		(json_int_t)m.scope_alarms, "protocol_errors",
		(json_int_t)m.protocol_errors, "damaged_rows",
		(json_int_t)m.damaged_rows);
}

/* Takes the request. */
static void on_call(void *arg, struct sat_local_call *call, json_t *request)
{
	struct sat_admin_socket *s = arg;
	const char *name = json_string_value(json_object_get(request, "op"));
	struct sat_err err = { .rc = SAT_E_NOMEM, .msg = "out of memory" };
	struct job *j;
	int rc;

	if (name != NULL && strcmp(name, "stop") == 0) {
		json_decref(request);
		sat_local_answer(call,
				 json_pack("{s:i, s:{}}", "rc", 0, "result"));
		s->o.on_stop(s->o.arg);
		return;
	}
	if (name != NULL && strcmp(name, "reload") == 0) {
		json_decref(request);
		rc = s->o.on_reload(s->o.arg, &err);
		sat_local_answer(call, rc == SAT_OK
					       ? json_pack("{s:i, s:{}}", "rc",
							   0, "result")
					       : sat_op_failure(&err));
		return;
	}
	j = calloc(1, sizeof *j);
	if (j != NULL)
		j->op = sat_op_find(request, &err);
	if (j == NULL || j->op == NULL) {
		free(j);
		json_decref(request);
		sat_local_answer(call, sat_op_failure(&err));
		return;
	}
	j->call = call;
	j->request = request;
	j->admin = (struct sat_admin){
		.dir = s->dir,
		.advertise = j->advertise,
		.invite_ms = sat_config_int(s->o.config, SAT_CFG_INVITE_HOURS) *
			     3600 * 1000,
		.keep = sat_keep_from(s->o.config),
		.now_ms = wall_ms(),
		.live = live_facts(s),
		.note = s->o.note,
		.note_arg = s->o.arg,
	};
	sat_admin_advertise(s->o.config, sat_server_port(s->o.server),
			    j->advertise);
	rc = j->op->writes ? sat_server_submit(s->o.server, run_writing,
					       on_job_done, j)
			   : sat_server_query(s->o.server, run_reading,
					      on_job_done, j);
	if (rc != SAT_OK) {
		(void)sat_err_set(&err, rc, 0, "admin",
				  "the server is %s; try again",
				  rc == SAT_E_CLOSED ? "stopping" : "busy");
		on_job_done(j, rc, &err);
	}
}

static void on_closed(void *arg)
{
	struct sat_admin_socket *s = arg;
	void (*done)(void *) = s->done;
	void *done_arg = s->done_arg;

	free(s->dir);
	free(s);
	done(done_arg);
}

int sat_admin_socket_open(const struct sat_admin_socket_options *options,
			  struct sat_admin_socket **ret, struct sat_err *err)
{
	struct sat_admin_socket *s = calloc(1, sizeof *s);
	struct sat_local_options o = { .loop = options->loop,
				       .dir = options->dir,
				       .name = "admin.sock",
				       .greeting =
					       "satchel-server " SAT_VERSION,
				       .on_call = on_call,
				       .arg = s };
	int rc = SAT_E_NOMEM;

	if (s == NULL)
		return sat_err_set(err, rc, 0, "admin", "out of memory");
	s->o = *options;
	s->dir = strdup(options->dir);
	s->started_ms = uv_now(options->loop);
	if (s->dir == NULL)
		(void)sat_err_set(err, rc, 0, "admin", "out of memory");
	else
		rc = sat_local_open(&o, &s->local, err);
	if (rc == SAT_OK) {
		*ret = s;
		return SAT_OK;
	}
	free(s->dir);
	free(s);
	return rc;
}

void sat_admin_socket_reload(struct sat_admin_socket *s,
			     const struct sat_config *config)
{
	s->o.config = config;
}

void sat_admin_socket_close(struct sat_admin_socket *s, void (*done)(void *arg),
			    void *arg)
{
	s->done = done;
	s->done_arg = arg;
	sat_local_close(s->local, on_closed, s);
}
