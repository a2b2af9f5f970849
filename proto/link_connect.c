#include "proto/link_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void on_connected(uv_connect_t *req, int status)
{
	struct sat_link *l = req->data;

	/* After a deadline the socket is on its way out; so may the link be. */
	if (l->state != LINK_CONNECTING ||
	    uv_is_closing((uv_handle_t *)&l->tcp))
		return;
	if (status == 0) {
		sat_link_start(l);
		return;
	}
	l->connect_error = status;
	uv_close((uv_handle_t *)&l->tcp, sat_link_on_handle_closed);
}

static void on_attempt_late(uv_timer_t *timer)
{
	struct sat_link *l = timer->data;

	l->connect_error = UV_ETIMEDOUT;
	if (!uv_is_closing((uv_handle_t *)&l->tcp))
		uv_close((uv_handle_t *)&l->tcp, sat_link_on_handle_closed);
}

static void give_up(struct sat_link *l)
{
	char text[128];
	int e = l->connect_error == 0 ? UV_EAI_NONAME : l->connect_error;

	(void)snprintf(text, sizeof text, "cannot connect: %s", uv_strerror(e));
	sat_link_close(l, e == UV_ETIMEDOUT ? SAT_E_TIMEOUT : SAT_E_IO, text);
}

void sat_link_try_next(struct sat_link *l)
{
	const struct addrinfo *to = l->next_addr;
	int rc;

	if (to == NULL) {
		give_up(l);
		return;
	}
	l->next_addr = to->ai_next;
	rc = sat_link_init_tcp(l);
	if (rc != 0) {
		l->connect_error = rc;
		give_up(l);
		return;
	}
	l->connect.data = l;
	rc = uv_timer_start(&l->timer, on_attempt_late, SAT_LINK_ATTEMPT_MS, 0);
	if (rc == 0)
		rc = uv_tcp_connect(&l->connect, &l->tcp, to->ai_addr,
				    on_connected);
	if (rc != 0) {
		l->connect_error = rc;
		uv_close((uv_handle_t *)&l->tcp, sat_link_on_handle_closed);
	}
}

static void on_lookup_late(uv_timer_t *timer)
{
	sat_link_close(timer->data, SAT_E_TIMEOUT,
		       "the server's name was not found in time");
}

static void on_resolved(uv_getaddrinfo_t *req, int status,
			struct addrinfo *addrs)
{
	struct link_resolver *r = req->data;
	struct sat_link *l = r->link;

	l->resolver = NULL;
	free(r);
	l->addrs = addrs; /* freed with the link */
	if (l->state == LINK_CLOSING) {
		sat_link_release(l);
		return;
	}
	l->holds--; /* the timer is still held */
	l->connect_error = status;
	if (status == 0)
		l->next_addr = addrs;
	sat_link_try_next(l);
}

void sat_link_cancel_resolver(struct sat_link *l)
{
	/* If it cannot be cancelled any more, it will answer. */
	if (l->resolver != NULL)
		(void)uv_cancel((uv_req_t *)&l->resolver->req);
}

static int resolve(struct sat_link *l, const char *host, uint16_t port)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = SOCK_STREAM };
	struct link_resolver *r = calloc(1, sizeof *r);
	char service[8];
	int rc;

	if (r == NULL)
		return UV_ENOMEM;
	(void)snprintf(service, sizeof service, "%u", port);
	r->link = l;
	r->req.data = r;
	rc = uv_getaddrinfo(l->loop, &r->req, on_resolved, host, service,
			    &hints);
	if (rc != 0) {
		free(r);
		return rc;
	}
	l->resolver = r;
	l->holds++;
	return uv_timer_start(&l->timer, on_lookup_late, SAT_LINK_HANDSHAKE_MS,
			      0);
}

int sat_link_connect(uv_loop_t *loop, struct sat_tls_ctx *ctx,
		     enum sat_alpn alpn, const char *host, uint16_t port,
		     const struct sat_link_handler *handler, void *arg,
		     struct sat_link **ret, struct sat_err *err)
{
	struct sat_link *l = sat_link_alloc(loop, LINK_CONNECTING);
	int rc;

	SAT_ASSERT(alpn != SAT_ALPN_NONE);
	if (l == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "link_connect",
				   "out of memory");
	l->handler = handler;
	l->arg = arg;
	rc = sat_tls_new(ctx, alpn, &l->tls, err);
	if (rc != SAT_OK)
		goto out;
	rc = resolve(l, host, port);
	if (rc != 0) {
		rc = sat_err_set(err, rc == UV_ENOMEM ? SAT_E_NOMEM : SAT_E_IO,
				 rc, "link_connect", "%s", uv_strerror(rc));
		goto out;
	}
	l->announced = true;
	*ret = l;
	return SAT_OK;
out:
	/* The loop knows its handles: it leaves by the common door, and nobody
	 * hears of it. */
	sat_link_close(l, rc, NULL);
	return rc;
}
