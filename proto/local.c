#define _GNU_SOURCE /* struct ucred, O_PATH */
#include "proto/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"

/* One connection; it is the call while a request of it is being answered. */
struct sat_local_call {
	struct sat_local_call *next;
	struct sat_local *l;
	uv_pipe_t pipe;
	struct sat_buf in;
	bool closing, closed, busy;
};

struct sat_local {
	uv_pipe_t pipe;
	uv_loop_t *loop;
	void (*on_call)(void *arg, struct sat_local_call *call,
			json_t *request);
	void *arg;
	char *name, *greeting;
	int folder; /* the data folder, open for the socket's path */
	struct sat_local_call *calls;
	bool closing, closed;
	void (*done)(void *arg);
	void *done_arg;
};

struct reply {
	uv_write_t req;
	struct sat_local_call *c;
	uint8_t head[4];
	char *text;
};

static void take_request(struct sat_local_call *c);

/* ---- lifetime ----------------------------------------------------------- */

static void maybe_done(struct sat_local *l)
{
	void (*done)(void *) = l->done;
	void *arg = l->done_arg;

	if (!l->closed || l->calls != NULL)
		return;
	if (l->folder >= 0)
		(void)close(l->folder);
	free(l->name);
	free(l->greeting);
	free(l);
	done(arg);
}

/* Memory goes when the handle is closed and no answer is due. */
static void maybe_free(struct sat_local_call *c)
{
	struct sat_local *l = c->l;
	struct sat_local_call **at = &l->calls;

	if (!c->closed || c->busy)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	sat_buf_fini(&c->in);
	free(c);
	maybe_done(l);
}

static void on_call_closed(uv_handle_t *h)
{
	struct sat_local_call *c = h->data;

	c->closed = true;
	maybe_free(c);
}

static void close_call(struct sat_local_call *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->pipe, on_call_closed);
}

static void on_listener_closed(uv_handle_t *h)
{
	struct sat_local *l = h->data;

	l->closed = true;
	maybe_done(l);
}

/* ---- requests and answers ----------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
	struct reply *r = SAT_CONTAINER_OF(req, struct reply, req);
	struct sat_local_call *c = r->c;

	free(r->text);
	free(r);
	c->busy = false;
	if (c->closing) {
		maybe_free(c);
		return;
	}
	if (status < 0 || c->l->closing)
		close_call(c);
	else
		take_request(c);
}

/* The answer cannot be given: the connection ends instead. */
static void give_up(struct sat_local_call *c)
{
	c->busy = false;
	close_call(c);
	maybe_free(c);
}

void sat_local_answer(struct sat_local_call *c, json_t *answer)
{
	char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
	size_t n = text == NULL ? 0 : strlen(text);
	struct reply *r = calloc(1, sizeof *r);
	uv_buf_t bufs[2];

	json_decref(answer);
	if (r == NULL || text == NULL || n > SAT_LOCAL_BYTES_MAX || c->closing)
		goto fail;
	for (int i = 0; i < 4; i++)
		r->head[i] = (uint8_t)(n >> (24 - 8 * i));
	r->c = c;
	r->text = text;
	bufs[0] = uv_buf_init((char *)r->head, sizeof r->head);
	bufs[1] = uv_buf_init(text, (unsigned)n);
	c->busy = true;
	if (uv_write(&r->req, (uv_stream_t *)&c->pipe, bufs, 2, on_written) ==
	    0)
		return;
fail:
	free(text);
	free(r);
	give_up(c);
}

/* One at a time: the next is taken when the answer is out. */
static void take_request(struct sat_local_call *c)
{
	struct sat_slice in = sat_buf_peek(&c->in);
	json_t *request;
	size_t n = 0;

	if (c->busy || c->closing || in.len < 4)
		return;
	for (int i = 0; i < 4; i++)
		n = n << 8 | in.ptr[i];
	if (n > SAT_LOCAL_BYTES_MAX) {
		close_call(c);
		return;
	}
	if (in.len < 4 + n)
		return;
	request = json_loadb((const char *)in.ptr + 4, n, 0, NULL);
	sat_buf_consume(&c->in, 4 + n);
	if (request == NULL) {
		close_call(c);
		return;
	}
	c->busy = true;
	c->l->on_call(c->l->arg, c, request);
}

/* ---- connections -------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	struct sat_local_call *c = h->data;
	uint8_t *p;

	(void)hint;
	*buf = sat_buf_reserve(&c->in, 64 * 1024, &p) == SAT_OK
		       ? uv_buf_init((char *)p, 64 * 1024)
		       : uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct sat_local_call *c = stream->data;

	(void)buf;
	if (c->closing || n == 0)
		return;
	if (n < 0) {
		close_call(c);
		return;
	}
	sat_buf_commit(&c->in, (size_t)n);
	take_request(c);
}

/* The same user as ours, or root. */
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
	struct sat_local *l = server->data;
	struct sat_local_call *c;

	if (status < 0 || l->closing)
		return;
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return;
	if (uv_pipe_init(l->loop, &c->pipe, 0) != 0) {
		free(c);
		return;
	}
	c->l = l;
	c->pipe.data = c;
	c->next = l->calls;
	l->calls = c;
	sat_buf_init(&c->in, SAT_LOCAL_BYTES_MAX + 128 * 1024);
	if (uv_accept(server, (uv_stream_t *)&c->pipe) != 0 ||
	    !is_allowed(&c->pipe) ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0) {
		close_call(c);
		return;
	}
	c->busy = true; /* until the greeting is out */
	sat_local_answer(c, json_pack("{s:s, s:i}", "satchel", l->greeting,
				      "pid", (int)getpid()));
}

/* ---- the listener ------------------------------------------------------- */

static int listen_on(struct sat_local *l, const char *dir, struct sat_err *err)
{
	char path[108];
	int rc;

	l->folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->folder < 0)
		return sat_err_set(err, SAT_E_IO, errno, "local", "%s: %s", dir,
				   strerror(errno));
	/* The folder's lock is ours, so whatever lies there is stale. */
	if (unlinkat(l->folder, l->name, 0) != 0 && errno != ENOENT)
		return sat_err_set(err, SAT_E_IO, errno, "local", "%s/%s: %s",
				   dir, l->name, strerror(errno));
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", l->folder,
		       l->name);
	rc = uv_pipe_bind(&l->pipe, path);
	if (rc == 0 && fchmodat(l->folder, l->name, 0600, 0) != 0)
		rc = -errno;
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->pipe, 16, on_connection);
	if (rc != 0)
		return sat_err_set(err, SAT_E_IO, rc, "local", "%s/%s: %s", dir,
				   l->name, uv_strerror(rc));
	return SAT_OK;
}

static void nothing(void *arg)
{
	(void)arg;
}

int sat_local_open(const struct sat_local_options *options,
		   struct sat_local **ret, struct sat_err *err)
{
	struct sat_local *l = calloc(1, sizeof *l);
	mode_t old;
	int rc;

	if (l == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "local",
				   "out of memory");
	l->loop = options->loop;
	l->on_call = options->on_call;
	l->arg = options->arg;
	l->folder = -1;
	l->name = strdup(options->name);
	l->greeting = strdup(options->greeting);
	(void)uv_pipe_init(l->loop, &l->pipe, 0);
	l->pipe.data = l;
	old = umask(0177); /* never open to others, not even for a moment */
	rc = l->name == NULL || l->greeting == NULL
		     ? sat_err_set(err, SAT_E_NOMEM, 0, "local",
				   "out of memory")
		     : listen_on(l, options->dir, err);
	(void)umask(old);
	if (rc != SAT_OK) {
		sat_local_close(l, nothing, NULL);
		return rc;
	}
	*ret = l;
	return SAT_OK;
}

void sat_local_close(struct sat_local *l, void (*done)(void *arg), void *arg)
{
	struct sat_local_call *c, *next;

	if (l->closing)
		return;
	l->closing = true;
	l->done = done;
	l->done_arg = arg;
	if (l->folder >= 0 && l->name != NULL)
		(void)unlinkat(l->folder, l->name, 0);
	for (c = l->calls; c != NULL; c = next) {
		next = c->next;
		if (!c->busy)
			close_call(c);
	}
	uv_close((uv_handle_t *)&l->pipe, on_listener_closed);
}
