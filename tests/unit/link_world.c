#include "tests/unit/link_world.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct test_pki org;
struct test_device device;
struct sat_tls_ctx *server_ctx, *client_ctx;

int link_set_up(void **state)
{
	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	test_pki_init(&org, 0);
	test_device_init(&device, &org, 7, 0);
	server_ctx = test_server_ctx(&org);
	client_ctx = test_client_ctx(&org, &device);
	return 0;
}

int link_tear_down(void **state)
{
	(void)state;
	sat_tls_ctx_free(server_ctx);
	sat_tls_ctx_free(client_ctx);
	test_device_fini(&device);
	test_pki_fini(&org);
	return 0;
}

static void on_open(struct sat_link *link, void *arg, enum sat_alpn alpn,
		    const struct sat_peer *peer)
{
	struct end *e = arg;

	assert_ptr_equal(e->link, link);
	assert_int_equal(e->opened, 0);
	e->opened++;
	e->alpn = alpn;
	e->peer = *peer;
	sat_link_trust(link);
}

static void on_client_frame(struct sat_link *link, void *arg,
			    const struct sat_frame *frame)
{
	struct end *e = arg;

	assert_ptr_equal(e->link, link);
	assert_int_equal(e->opened, 1);
	e->frames++;
	e->bytes += frame->payload.len;
	if (e->w->on_client_frame != NULL)
		e->w->on_client_frame(e, frame);
}

static void on_drain(struct sat_link *link, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(e->link, link);
	e->drained++;
	if (e->w->on_drain != NULL)
		e->w->on_drain(e);
}

static void on_closed(struct sat_link *link, void *arg, int rc,
		      const char *detail)
{
	struct end *e = arg;

	assert_ptr_equal(e->link, link);
	assert_int_equal(e->closed, 0);
	e->closed++;
	e->rc = rc;
	(void)snprintf(e->detail, sizeof e->detail, "%s", detail);
	e->link = NULL;
}

static const struct sat_link_handler client_handler = {
	.on_open = on_open,
	.on_frame = on_client_frame,
	.on_drain = on_drain,
	.on_closed = on_closed,
};

static void on_server_open(struct sat_link *link, void *arg, enum sat_alpn alpn,
			   const struct sat_peer *peer)
{
	struct world *w = arg;
	struct end *e = &w->server[w->servers];

	assert_true(w->servers < ENDS_MAX);
	w->servers++;
	*e = (struct end){ .w = w, .link = link, .opened = 1, .rc = NO_RC };
	e->alpn = alpn;
	e->peer = *peer;
	sat_link_set_arg(link, e);
	if (!w->untrusting)
		sat_link_trust(link);
	if (w->on_open != NULL)
		w->on_open(e);
}

static void on_server_frame(struct sat_link *link, void *arg,
			    const struct sat_frame *frame)
{
	struct end *e = arg;

	assert_ptr_equal(e->link, link);
	e->frames++;
	e->bytes += frame->payload.len;
	if (e->w->on_frame != NULL)
		e->w->on_frame(e, frame);
}

static const struct sat_link_handler server_handler = {
	.on_open = on_server_open,
	.on_frame = on_server_frame,
	.on_drain = on_drain,
	.on_closed = on_closed,
};

static void on_refused(void *arg, const char *peer_name, int rc,
		       const char *detail)
{
	struct world *w = arg;

	(void)peer_name;
	w->refused++;
	w->refused_rc = rc;
	(void)snprintf(w->refused_detail, sizeof w->refused_detail, "%s",
		       detail);
}

void world_init(struct world *w)
{
	const struct sat_listener_options options = {
		.addr = "127.0.0.1",
		.handler = &server_handler,
		.arg = w,
		.on_refused = on_refused,
	};
	struct sat_err err;

	memset(w, 0, sizeof *w);
	w->refused_rc = NO_RC;
	assert_int_equal(uv_loop_init(&w->loop), 0);
	assert_int_equal(sat_listener_open(&w->loop, server_ctx, &options,
					   &w->listener, &err),
			 SAT_OK);
	assert_int_not_equal(sat_listener_port(w->listener), 0);
}

void world_stop_listening(struct world *w)
{
	if (w->listener != NULL)
		sat_listener_close(w->listener);
	w->listener = NULL; /* it goes when it likes */
}

void world_fini(struct world *w)
{
	world_stop_listening(w);
	for (unsigned i = 0; i < w->servers; i++)
		if (w->server[i].link != NULL)
			sat_link_close(w->server[i].link, SAT_OK, "done");
	assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
	for (unsigned i = 0; i < w->servers; i++)
		assert_int_equal(w->server[i].closed, 1);
	assert_int_equal(uv_loop_close(&w->loop), 0);
}

void end_connect_to(struct end *e, struct world *w, const char *host,
		    uint16_t port, struct sat_tls_ctx *ctx, enum sat_alpn alpn)
{
	struct sat_err err;

	*e = (struct end){ .w = w, .rc = NO_RC };
	assert_int_equal(sat_link_connect(&w->loop, ctx, alpn, host, port,
					  &client_handler, e, &e->link, &err),
			 SAT_OK);
}

void end_connect(struct end *e, struct world *w)
{
	end_connect_to(e, w, "127.0.0.1", sat_listener_port(w->listener),
		       client_ctx, SAT_ALPN_SYNC);
}

static void on_time(uv_timer_t *timer)
{
	bool *late = timer->data;

	*late = true;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

static void spin(struct world *w, bool (*cond)(void *arg), void *arg,
		 uint64_t ms)
{
	uv_timer_t *timer = malloc(sizeof *timer);
	bool late = false;

	assert_non_null(timer);
	assert_int_equal(uv_timer_init(&w->loop, timer), 0);
	timer->data = &late;
	uv_update_time(&w->loop);
	/* It repeats: a turn that begins with the timer would wait for other
	 * events without it. */
	assert_int_equal(uv_timer_start(timer, on_time, ms, 5), 0);
	while (!late && (cond == NULL || !cond(arg)))
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)timer, on_timer_closed);
	if (cond != NULL && !cond(arg))
		fail_msg("it did not happen in %u ms", (unsigned)ms);
}

void run_until(struct world *w, bool (*cond)(void *arg), void *arg)
{
	spin(w, cond, arg, 20000);
}

void run_for(struct world *w, uint64_t ms)
{
	spin(w, NULL, NULL, ms);
}

bool is_open(void *end)
{
	const struct end *e = end;

	return e->opened != 0;
}

bool is_closed(void *end)
{
	const struct end *e = end;

	return e->closed != 0;
}

struct open_wait {
	struct end *client;
	unsigned servers;
};

static bool both_open(void *arg)
{
	const struct open_wait *o = arg;

	return o->client->opened != 0 && o->client->w->servers > o->servers;
}

struct end *run_open(struct end *e)
{
	struct open_wait o = { e, e->w->servers };

	run_until(e->w, both_open, &o);
	return &e->w->server[o.servers];
}

static void fill(uint8_t *p, uint32_t n, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((n + i) * 2654435761u >> 24);
}

int send_frame(struct end *e, uint8_t type, uint32_t n, size_t len)
{
	size_t body = len + 2;
	uint8_t *p = malloc(len + 6);
	int rc;

	assert_non_null(p);
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(body >> (24 - 8 * i));
	p[4] = type;
	p[5] = 0;
	fill(p + 6, n, len);
	rc = sat_link_send(e->link, (struct sat_slice){ p, len + 6 });
	free(p);
	return rc;
}

bool frame_is(const struct sat_frame *f, uint8_t type, uint32_t n, size_t len)
{
	bool same = f->type == type && f->flags == 0 && f->payload.len == len;
	uint8_t *p = malloc(len + 1);

	assert_non_null(p);
	fill(p, n, len);
	same = same && memcmp(p, f->payload.ptr, len) == 0;
	free(p);
	return same;
}

int raw_connect(const struct world *w)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	to.sin_port = htons(sat_listener_port(w->listener));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}
