#define _GNU_SOURCE /* struct ucred */
#include "server/admin/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "server/admin/gate.h"
#include "server/admin/ops.h"

struct conn {
	struct conn *next;
	struct sat_admin_socket *s;
	uv_pipe_t pipe;
	struct sat_buf in;
	bool closing, closed, busy;
};

struct sat_admin_socket {
	uv_pipe_t pipe;
	struct sat_admin_socket_options o;
	char *dir, *advertise;
	int folder; /* the data folder, open for the socket's path */
	struct conn *conns;
	uint64_t started_ms;
	bool closing, closed;
	void (*done)(void *arg);
	void *done_arg;
};

struct job {
	struct conn *c;
	const struct sat_admin_op *op;
	json_t *request, *answer;
	struct sat_admin admin;
};

struct reply {
	uv_write_t req;
	struct conn *c;
	uint8_t head[4];
	char *text;
	bool then_stop;
};

static void take_requests(struct conn *c);

/* ---- lifetime ----------------------------------------------------------- */

static void maybe_done(struct sat_admin_socket *s)
{
	void (*done)(void *) = s->done;
	void *arg = s->done_arg;

	if (!s->closed || s->conns != NULL)
		return;
	(void)close(s->folder);
	free(s->dir);
	free(s->advertise);
	free(s);
	done(arg);
}

/* Memory goes when the handle is closed and no operation refers to it. */
static void maybe_free(struct conn *c)
{
	struct sat_admin_socket *s = c->s;
	struct conn **at = &s->conns;

	if (!c->closed || c->busy)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	sat_buf_fini(&c->in);
	free(c);
	maybe_done(s);
}

static void on_conn_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	c->closed = true;
	maybe_free(c);
}

static void close_conn(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->pipe, on_conn_closed);
}

static void on_listener_closed(uv_handle_t *h)
{
	struct sat_admin_socket *s = h->data;

	s->closed = true;
	maybe_done(s);
}

/* ---- answers ------------------------------------------------------------ */

static void on_written(uv_write_t *req, int status)
{
	struct reply *r = SAT_CONTAINER_OF(req, struct reply, req);
	struct conn *c = r->c;
	bool stop = r->then_stop;

	free(r->text);
	free(r);
	c->busy = false;
	if (stop)
		c->s->o.on_stop(c->s->o.arg);
	if (c->closing) {
		maybe_free(c);
		return;
	}
	if (status < 0 || c->s->closing)
		close_conn(c);
	else
		take_requests(c);
}

/* Takes the reference. c is busy until the answer is written. */
static void reply(struct conn *c, json_t *answer, bool then_stop)
{
	struct reply *r = calloc(1, sizeof *r);
	char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
	size_t n = text == NULL ? 0 : strlen(text);
	uv_buf_t bufs[2];

	json_decref(answer);
	if (c->closing || r == NULL || text == NULL ||
	    n > SAT_ADMIN_FRAME_MAX) {
		free(text);
		free(r);
		c->busy = false;
		close_conn(c);
		maybe_free(c);
		return;
	}
	for (int i = 0; i < 4; i++)
		r->head[i] = (uint8_t)(n >> (24 - 8 * i));
	r->c = c;
	r->text = text;
	r->then_stop = then_stop;
	c->busy = true;
	bufs[0] = uv_buf_init((char *)r->head, sizeof r->head);
	bufs[1] = uv_buf_init(text, (unsigned)n);
	if (uv_write(&r->req, (uv_stream_t *)&c->pipe, bufs, 2, on_written) !=
	    0) {
		free(text);
		free(r);
		c->busy = false;
		close_conn(c);
	}
}

static void reply_error(struct conn *c, const struct sat_err *err)
{
	reply(c, sat_op_failure(err), false);
}

/* ---- operations --------------------------------------------------------- */

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
	struct conn *c = j->c;
	json_t *answer = j->answer;

	/* What an operation answered counts only once it is durable. */
	if (rc != SAT_OK || answer == NULL) {
		json_decref(answer);
		answer = json_pack("{s:i, s:s}", "rc",
				   rc != SAT_OK ? rc : SAT_E_NOMEM, "error",
				   rc != SAT_OK ? err->msg : "out of memory");
	}
	json_decref(j->request);
	json_decref(j->admin.live);
	free(j);
	c->busy = false;
	reply(c, answer, false);
}

static json_t *live_facts(const struct sat_admin_socket *s)
{
	struct sat_server_metrics m;

	sat_server_metrics(s->o.server, &m);
	return json_pack(
		"{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
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
		(json_int_t)m.protocol_errors);
}

/* Takes the request. */
static void start(struct conn *c, json_t *request)
{
	struct sat_admin_socket *s = c->s;
	const char *name = json_string_value(json_object_get(request, "op"));
	struct sat_err err;
	const struct sat_admin_op *op;
	struct job *j;
	int rc;

	if (name != NULL && strcmp(name, "stop") == 0) {
		json_decref(request);
		reply(c, json_pack("{s:i, s:{}}", "rc", 0, "result"), true);
		return;
	}
	op = sat_op_find(request, &err);
	j = op == NULL ? NULL : calloc(1, sizeof *j);
	if (j == NULL) {
		json_decref(request);
		if (op != NULL)
			(void)sat_err_set(&err, SAT_E_NOMEM, 0, "admin",
					  "out of memory");
		reply_error(c, &err);
		return;
	}
	j->c = c;
	j->op = op;
	j->request = request;
	j->admin = (struct sat_admin){
		.dir = s->dir,
		.advertise = s->advertise,
		.invite_ms = sat_config_int(s->o.config, SAT_CFG_INVITE_HOURS) *
			     3600 * 1000,
		.now_ms = wall_ms(),
		.live = live_facts(s),
	};
	c->busy = true;
	rc = op->writes ? sat_server_submit(s->o.server, run_writing,
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

/* One request at a time: the next is taken when the answer is out. */
static void take_requests(struct conn *c)
{
	struct sat_slice in = sat_buf_peek(&c->in);
	struct sat_err err;
	json_t *request;
	size_t n = 0;

	if (c->busy || c->closing || in.len < 4)
		return;
	for (int i = 0; i < 4; i++)
		n = n << 8 | in.ptr[i];
	if (n > SAT_ADMIN_FRAME_MAX) {
		close_conn(c);
		return;
	}
	if (in.len < 4 + n)
		return;
	request = json_loadb((const char *)in.ptr + 4, n, 0, NULL);
	sat_buf_consume(&c->in, 4 + n);
	if (request == NULL) {
		(void)sat_err_set(&err, SAT_E_INVAL, 0, "request",
				  "the request is not JSON");
		reply_error(c, &err);
		return;
	}
	start(c, request);
}

/* ---- connections -------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	struct conn *c = h->data;
	uint8_t *p;

	(void)hint;
	*buf = sat_buf_reserve(&c->in, 64 * 1024, &p) == SAT_OK
		       ? uv_buf_init((char *)p, 64 * 1024)
		       : uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	(void)buf;
	if (c->closing || n == 0)
		return;
	if (n < 0) {
		close_conn(c);
		return;
	}
	sat_buf_commit(&c->in, (size_t)n);
	take_requests(c);
}

/* The same user as the server's, or root. */
static bool is_allowed(uv_pipe_t *pipe)
{
	struct ucred who;
	socklen_t len = sizeof who;
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)pipe, &fd) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
		return false;
	return who.uid == 0 || who.uid == geteuid();
}

static void on_connection(uv_stream_t *server, int status)
{
	struct sat_admin_socket *s = server->data;
	struct conn *c;

	if (status < 0 || s->closing)
		return;
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return;
	if (uv_pipe_init(s->o.loop, &c->pipe, 0) != 0) {
		free(c);
		return;
	}
	c->s = s;
	c->pipe.data = c;
	c->next = s->conns;
	s->conns = c;
	sat_buf_init(&c->in, SAT_ADMIN_FRAME_MAX + 128 * 1024);
	if (uv_accept(server, (uv_stream_t *)&c->pipe) != 0 ||
	    !is_allowed(&c->pipe) ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0) {
		sat_log(SAT_LOG_WARN, "admin", "connection refused");
		close_conn(c);
		return;
	}
	reply(c, json_pack("{s:s, s:i}", "satchel", SAT_VERSION, "pid",
			   (int)getpid()),
	      false);
}

/* ---- the listener ------------------------------------------------------- */

static int listen_on(struct sat_admin_socket *s, struct sat_err *err)
{
	char path[64];
	int rc;

	s->folder = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->folder < 0)
		return sat_err_set(err, SAT_E_IO, errno, "admin", "%s: %s",
				   s->dir, strerror(errno));
	/* The lock is ours, so whatever lies there is stale. */
	if (unlinkat(s->folder, "admin.sock", 0) != 0 && errno != ENOENT)
		return sat_err_set(err, SAT_E_IO, errno, "admin",
				   "%s/admin.sock: %s", s->dir,
				   strerror(errno));
	sat_admin_socket_path(s->folder, path);
	rc = uv_pipe_bind(&s->pipe, path);
	if (rc == 0 && fchmodat(s->folder, "admin.sock", 0600, 0) != 0)
		rc = -errno;
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&s->pipe, 16, on_connection);
	if (rc != 0)
		return sat_err_set(err, SAT_E_IO, rc, "admin",
				   "%s/admin.sock: %s", s->dir,
				   uv_strerror(rc));
	return SAT_OK;
}

static void nothing(void *arg)
{
	(void)arg;
}

int sat_admin_socket_open(const struct sat_admin_socket_options *options,
			  struct sat_admin_socket **ret, struct sat_err *err)
{
	struct sat_admin_socket *s = calloc(1, sizeof *s);
	mode_t old;
	int rc;

	if (s == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "admin",
				   "out of memory");
	s->o = *options;
	s->folder = -1;
	s->dir = strdup(options->dir);
	s->advertise = strdup(options->advertise);
	s->started_ms = uv_now(options->loop);
	(void)uv_pipe_init(options->loop, &s->pipe, 0);
	s->pipe.data = s;
	old = umask(0177); /* never open to others, not even for a moment */
	rc = listen_on(s, err);
	(void)umask(old);
	if (rc != SAT_OK) {
		sat_admin_socket_close(s, nothing, NULL);
		return rc;
	}
	*ret = s;
	return SAT_OK;
}

void sat_admin_socket_close(struct sat_admin_socket *s,
			    void (*done)(void *arg), void *arg)
{
	struct conn *c, *next;

	if (s->closing)
		return;
	s->closing = true;
	s->done = done;
	s->done_arg = arg;
	if (s->folder >= 0)
		(void)unlinkat(s->folder, "admin.sock", 0);
	for (c = s->conns; c != NULL; c = next) {
		next = c->next;
		if (!c->busy)
			close_conn(c);
	}
	uv_close((uv_handle_t *)&s->pipe, on_listener_closed);
}
