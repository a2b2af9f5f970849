/* A connection that cannot be had now stays in the kernel's queue: libuv polls
 * the socket again only after uv_accept. When the process has no descriptors
 * left, libuv itself spends one it keeps in reserve to close what it cannot
 * take. */
#include "proto/link_internal.h"

#include <netinet/in.h>
#include <stdlib.h>

enum { BACKLOG = 1024 };

struct sat_listener {
	uv_tcp_t tcp;
	uv_tcp_t shed; /* takes and closes what is too much */
	uv_loop_t *loop;
	unsigned holds; /* handles and links                       */
	bool closed;    /* by its owner                            */
	bool waiting;   /* a connection was left where it is       */
	bool shedding;  /* shed is in use                          */
	uint16_t port;
	uint32_t links, handshakes;
	uint32_t links_max, handshakes_max;
	struct sat_tls_ctx *ctx;
	const struct sat_link_handler *handler;
	void *arg;
	void (*on_refused)(void *arg, const char *peer_name, int rc,
			   const char *detail);
	struct sat_link *first; /* those in their handshake */
};

static void release(struct sat_listener *s)
{
	SAT_ASSERT(s->holds > 0);
	if (--s->holds > 0)
		return;
	sat_tls_ctx_free(s->ctx);
	free(s);
}

static void take(struct sat_listener *s);

static void on_shed(uv_handle_t *handle)
{
	struct sat_listener *s = handle->data;

	s->shedding = false;
	if (s->waiting && !s->closed)
		take(s);
	release(s);
}

/* Accept and close, with no memory but our own. */
static void shed(struct sat_listener *s)
{
	if (s->shedding) {
		s->waiting = true;
		return;
	}
	if (uv_tcp_init(s->loop, &s->shed) != 0)
		return;
	s->shed.data = s;
	s->shedding = true;
	s->holds++;
	(void)uv_accept((uv_stream_t *)&s->tcp, (uv_stream_t *)&s->shed);
	uv_close((uv_handle_t *)&s->shed, on_shed);
	if (s->on_refused != NULL)
		s->on_refused(s->arg, "", SAT_E_LIMIT, "too many connections");
}

static void enlist(struct sat_listener *s, struct sat_link *l)
{
	l->listener = s;
	l->handler = s->handler;
	l->arg = s->arg;
	l->next = s->first;
	if (s->first != NULL)
		s->first->prev = l;
	s->first = l;
	s->handshakes++;
	s->links++;
	s->holds++;
}

static void take(struct sat_listener *s)
{
	struct sat_link *l;

	s->waiting = false;
	if (s->handshakes_max != 0 && s->handshakes >= s->handshakes_max) {
		s->waiting = true;
		return;
	}
	l = s->links_max != 0 && s->links >= s->links_max
		    ? NULL
		    : sat_link_alloc(s->loop, LINK_HANDSHAKE);
	if (l == NULL) {
		shed(s);
		return;
	}
	enlist(s, l);
	if (sat_link_init_tcp(l) != 0 ||
	    uv_accept((uv_stream_t *)&s->tcp, (uv_stream_t *)&l->tcp) != 0) {
		sat_link_close(l, SAT_E_IO, NULL);
		return;
	}
	l->announced = true;
	sat_link_start(l);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct sat_listener *s = stream->data;

	if (s->closed)
		return;
	if (status == 0)
		take(s);
	else if (s->on_refused != NULL)
		s->on_refused(s->arg, "", SAT_E_IO, uv_strerror(status));
}

void sat_listener_settled(struct sat_link *l)
{
	struct sat_listener *s = l->listener;

	if (l->prev != NULL)
		l->prev->next = l->next;
	else
		s->first = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	l->prev = l->next = NULL;
	s->handshakes--;
	if (s->waiting && !s->closed)
		take(s);
}

void sat_listener_refused(struct sat_link *l)
{
	const struct sat_listener *s = l->listener;

	if (s->on_refused != NULL)
		s->on_refused(s->arg, l->peer_name, l->why, l->detail);
}

void sat_listener_gone(struct sat_listener *s)
{
	s->links--;
	release(s);
}

struct sat_tls_ctx *sat_listener_ctx(const struct sat_listener *s)
{
	return s->ctx;
}

/* A numeric address of either family. */
static bool parse_addr(const char *addr, uint16_t port,
		       struct sockaddr_storage *ret)
{
	return uv_ip4_addr(addr, port, (struct sockaddr_in *)ret) == 0 ||
	       uv_ip6_addr(addr, port, (struct sockaddr_in6 *)ret) == 0;
}

static int why_not(struct sat_err *err, int status, const char *addr,
		   uint16_t port)
{
	int rc = SAT_E_IO;

	if (status == UV_EADDRINUSE)
		rc = SAT_E_BUSY;
	else if (status == UV_EADDRNOTAVAIL)
		rc = SAT_E_INVAL;
	else if (status == UV_EACCES)
		rc = SAT_E_DENIED;
	else if (status == UV_ENOMEM)
		rc = SAT_E_NOMEM;
	return sat_err_set(err, rc, status, "listen", "%.80s port %u: %s", addr,
			   port, uv_strerror(status));
}

static void on_listener_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static uint16_t bound_port(const struct sat_listener *s)
{
	struct sockaddr_storage addr;
	int len = (int)sizeof addr;

	if (uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&addr, &len) != 0)
		return 0;
	if (addr.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)&addr)->sin_port);
}

int sat_listener_open(uv_loop_t *loop, struct sat_tls_ctx *ctx,
		      const struct sat_listener_options *options,
		      struct sat_listener **ret, struct sat_err *err)
{
	struct sockaddr_storage to = { 0 };
	struct sat_listener *s;
	int rc;

	if (!parse_addr(options->addr, options->port, &to))
		return sat_err_set(err, SAT_E_INVAL, 0, "listen",
				   "'%.80s' is not a numeric address",
				   options->addr);
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "listen",
				   "out of memory");
	rc = uv_tcp_init(loop, &s->tcp);
	if (rc != 0) {
		free(s);
		return why_not(err, rc, options->addr, options->port);
	}
	s->tcp.data = s;
	s->loop = loop;
	s->holds = 1;
	s->ctx = sat_tls_ctx_ref(ctx);
	s->handler = options->handler;
	s->arg = options->arg;
	s->on_refused = options->on_refused;
	sat_listener_set_limits(s, options->links_max, options->handshakes_max);
	rc = uv_tcp_bind(&s->tcp, (const struct sockaddr *)&to, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&s->tcp, BACKLOG, on_connection);
	if (rc == 0) {
		s->port = bound_port(s);
		*ret = s;
		return SAT_OK;
	}
	s->closed = true;
	uv_close((uv_handle_t *)&s->tcp, on_listener_closed);
	return why_not(err, rc, options->addr, options->port);
}

uint16_t sat_listener_port(const struct sat_listener *s)
{
	return s->port;
}

void sat_listener_set_ctx(struct sat_listener *s, struct sat_tls_ctx *ctx)
{
	sat_tls_ctx_free(s->ctx);
	s->ctx = sat_tls_ctx_ref(ctx);
}

void sat_listener_set_limits(struct sat_listener *s, uint32_t links_max,
			     uint32_t handshakes_max)
{
	s->links_max = links_max;
	s->handshakes_max = handshakes_max;
}

uint32_t sat_listener_links(const struct sat_listener *s)
{
	return s->links;
}

void sat_listener_close(struct sat_listener *s)
{
	SAT_ASSERT(!s->closed);
	s->closed = true;
	s->waiting = false;
	while (s->first != NULL) /* each leaves the list as it closes */
		sat_link_close(s->first, SAT_E_CLOSED, "the server stops");
	uv_close((uv_handle_t *)&s->tcp, on_listener_closed);
}
