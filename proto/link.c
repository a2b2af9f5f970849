/* move() alone writes the state, sat_link_close is the only door out and
 * sat_link_release the only place that frees. Every callback ends in
 * sat_link_settle(): output to the kernel, then reading on or off. What the
 * owner queues is given to the kernel once, before the loop waits again:
 * on_turn. */
#include "proto/link_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BIT(state) (1u << (state))

enum {
	READ_BYTES = 64 * 1024,
	PLAIN_IN_MAX = SAT_FRAME_BYTES_MAX + 64 * 1024,
};

static const uint32_t may_move[LINK_STATE_COUNT] = {
	[LINK_CONNECTING] = BIT(LINK_HANDSHAKE) | BIT(LINK_CLOSING),
	[LINK_HANDSHAKE] =
		BIT(LINK_OPEN) | BIT(LINK_FINISHING) | BIT(LINK_CLOSING),
	[LINK_OPEN] = BIT(LINK_FINISHING) | BIT(LINK_CLOSING),
	[LINK_FINISHING] = BIT(LINK_CLOSING),
	[LINK_CLOSING] = 0,
};

/* A loop thread reads into one block and hands its bytes on before it reads
 * again, so idle links need none. */
static _Thread_local uint8_t read_block[READ_BYTES];
static atomic_uint_fast64_t last_id;

static void move(struct sat_link *l, enum link_state to)
{
	SAT_ASSERT(may_move[l->state] & BIT(to));
	if (l->state == LINK_HANDSHAKE && l->listener != NULL)
		sat_listener_settled(l);
	l->state = to;
}

static void set_why(struct sat_link *l, int rc, const char *detail)
{
	l->why = rc;
	(void)snprintf(l->detail, sizeof l->detail, "%s",
		       detail == NULL ? "" : detail);
}

/* An idle link keeps no memory for bytes that come or go. */
static void drop_if_empty(struct sat_buf *b)
{
	if (link_is_empty(b))
		sat_buf_fini(b);
}

void sat_link_release(struct sat_link *l)
{
	struct sat_listener *listener = l->listener;

	SAT_ASSERT(l->holds > 0);
	if (--l->holds > 0)
		return;
	SAT_ASSERT(l->state == LINK_CLOSING);
	if (l->announced && (listener == NULL || l->opened))
		l->handler->on_closed(l, l->arg, l->why, l->detail);
	else if (l->announced)
		sat_listener_refused(l);
	sat_tls_free(l->tls);
	sat_buf_fini(&l->wire_in);
	sat_buf_fini(&l->plain_in);
	sat_buf_fini(&l->plain_out);
	sat_buf_fini(&l->wire_out);
	sat_buf_fini(&l->writing);
	uv_freeaddrinfo(l->addrs);
	free(l);
	if (listener != NULL)
		sat_listener_gone(listener);
}

void sat_link_on_handle_closed(uv_handle_t *handle)
{
	struct sat_link *l = handle->data;

	if (handle == (uv_handle_t *)&l->tcp)
		l->tcp_live = false;
	if (l->state == LINK_CONNECTING) { /* one of several addresses */
		l->holds--;
		sat_link_try_next(l);
		return;
	}
	sat_link_release(l);
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, sat_link_on_handle_closed);
}

void sat_link_close(struct sat_link *l, int rc, const char *detail)
{
	if (l->state == LINK_CLOSING)
		return;
	if (l->state != LINK_FINISHING) /* else the first reason stands */
		set_why(l, rc, detail);
	move(l, LINK_CLOSING);
	sat_link_cancel_resolver(l);
	if (l->tcp_live)
		close_handle((uv_handle_t *)&l->tcp);
	close_handle((uv_handle_t *)&l->timer);
	close_handle((uv_handle_t *)&l->turn);
}

bool sat_link_closing(const struct sat_link *l)
{
	return l->state >= LINK_FINISHING;
}

static void on_deadline(uv_timer_t *timer)
{
	struct sat_link *l = timer->data;

	sat_link_close(l, SAT_E_TIMEOUT, "the handshake took too long");
}

static void on_turn(uv_idle_t *turn);

void sat_link_arm_turn(struct sat_link *l)
{
	if (l->state != LINK_CLOSING)
		(void)uv_idle_start(&l->turn, on_turn);
}

/* End in peace: no input counts any more, output and the peer's end of file
 * have a deadline. Waiting for the latter matters: closing a socket that holds
 * unread bytes makes the kernel throw away what we said last. */
static void finish(struct sat_link *l, int rc, const char *detail)
{
	set_why(l, rc, detail);
	move(l, LINK_FINISHING);
	sat_buf_fini(&l->wire_in);
	if (uv_timer_start(&l->timer, on_deadline, SAT_LINK_FINISH_MS, 0) != 0)
		sat_link_close(l, rc, detail);
	else
		sat_link_arm_turn(l);
}

/* The link itself found a reason to end. */
static void fail(struct sat_link *l, int rc, const char *detail)
{
	bool broken = l->tls == NULL || sat_tls_state(l->tls) == SAT_TLS_FAILED;

	if (l->state == LINK_OPEN && !broken) {
		sat_link_finish(l, rc, detail);
	} else if (l->state <= LINK_OPEN && !link_is_empty(&l->wire_out)) {
		sat_buf_fini(&l->plain_out);
		finish(l, rc, detail); /* the alert tells the peer why */
	} else {
		sat_link_close(l, rc, detail);
	}
}

void sat_link_finish(struct sat_link *l, int rc, const char *detail)
{
	if (l->state < LINK_OPEN) {
		sat_link_close(l, rc, detail);
		return;
	}
	if (l->state != LINK_OPEN || sat_link_seal_rest(l) != SAT_OK)
		return;
	sat_tls_finish(l->tls, &l->wire_out);
	finish(l, rc, detail);
}

/* Everything is said: no more bytes from us. */
static void shut(struct sat_link *l)
{
	uv_os_fd_t fd;

	if (l->state != LINK_FINISHING || l->shut || l->in_flight)
		return;
	l->shut = true;
	if (uv_fileno((uv_handle_t *)&l->tcp, &fd) != 0 ||
	    shutdown(fd, SHUT_WR) != 0)
		sat_link_close(l, l->why, NULL);
}

/* Of two ends that both stop reading until the other has read, neither would
 * go on: so only a server stops. */
static bool may_handle(const struct sat_link *l)
{
	bool full = l->choked && l->listener != NULL;

	return l->state == LINK_HANDSHAKE ||
	       (l->state == LINK_OPEN && !l->paused && !full);
}

/* Hand one frame over. SAT_AGAIN: there is no whole one. */
static int take_frame(struct sat_link *l, struct sat_err *err)
{
	size_t limit =
		l->trusted ? SAT_FRAME_BYTES_MAX : SAT_FRAME_HELLO_BYTES_MAX;
	struct sat_frame frame;
	size_t used = 0;
	int rc = sat_frame_take(sat_buf_peek(&l->plain_in), limit, &frame,
				&used);

	if (rc == SAT_OK) {
		l->handler->on_frame(l, l->arg, &frame);
		sat_buf_consume(&l->plain_in, used);
	} else if (rc == SAT_E_LIMIT) {
		(void)sat_err_set(err, rc, 0, "link_frame",
				  "a frame over %zu bytes", limit);
	} else if (rc != SAT_AGAIN) {
		(void)sat_err_set(err, rc, 0, "link_frame",
				  "a frame of a form we do not know");
	}
	return rc;
}

static void open_link(struct sat_link *l, struct sat_err *err)
{
	struct sat_peer peer;
	int rc = sat_tls_peer(l->tls, &peer, err);

	if (rc != SAT_OK) {
		sat_link_close(l, rc, err->msg);
		return;
	}
	move(l, LINK_OPEN);
	(void)uv_timer_stop(&l->timer);
	l->opened = true;
	l->handler->on_open(l, l->arg, sat_tls_alpn(l->tls), &peer);
}

static int decrypt(struct sat_link *l, struct sat_slice *in,
		   struct sat_err *err)
{
	size_t used = 0;
	int rc = sat_tls_feed(l->tls, *in, &used, &l->plain_in, &l->wire_out,
			      err);

	if (used > 0) {
		in->ptr += used;
		in->len -= used;
	}
	if (rc >= 0 && l->state == LINK_HANDSHAKE &&
	    sat_tls_state(l->tls) != SAT_TLS_HANDSHAKE)
		open_link(l, err);
	return rc;
}

/* Decrypt and handle as long as there is input and the owner keeps up. At most
 * 16 KiB lie decrypted beyond the frame that is being put together. SAT_AGAIN:
 * all was handled that can be. */
static int handle(struct sat_link *l, struct sat_slice *in, struct sat_err *err)
{
	bool dry = false;
	int rc;

	while (may_handle(l)) {
		rc = l->state == LINK_OPEN ? take_frame(l, err) : SAT_AGAIN;
		if (rc == SAT_AGAIN && dry)
			return SAT_AGAIN;
		if (rc == SAT_AGAIN) {
			rc = decrypt(l, in, err);
			dry = rc == SAT_AGAIN;
		}
		if (rc < 0)
			return rc;
	}
	return SAT_OK;
}

static bool inside_frame(const struct sat_link *l)
{
	return !link_is_empty(&l->plain_in) || !link_is_empty(&l->wire_in) ||
	       sat_tls_inside_record(l->tls);
}

static void end_by_peer(struct sat_link *l)
{
	if (inside_frame(l))
		sat_link_close(l, SAT_E_CLOSED,
			       "the peer closed inside a frame");
	else
		sat_link_close(l, SAT_OK, "closed by the peer");
}

/* Handle fresh bytes, behind those that were left over. */
static void pump(struct sat_link *l, struct sat_slice fresh)
{
	bool kept = !link_is_empty(&l->wire_in);
	struct sat_slice in = fresh;
	struct sat_err err = { 0 };
	size_t before;
	int rc = SAT_OK;

	if (kept) {
		rc = sat_buf_append(&l->wire_in, fresh.ptr, fresh.len);
		in = sat_buf_peek(&l->wire_in);
	}
	before = in.len;
	if (rc == SAT_OK)
		rc = handle(l, &in, &err);
	else
		(void)sat_err_set(&err, rc, 0, "link", "no room for input");
	if (rc < 0) {
		fail(l, rc, err.msg);
		return;
	}
	if (l->state >= LINK_FINISHING)
		return;
	if (kept)
		sat_buf_consume(&l->wire_in, before - in.len);
	else if (sat_buf_append(&l->wire_in, in.ptr, in.len) != SAT_OK)
		fail(l, SAT_E_NOMEM, "no room for input");
	drop_if_empty(&l->wire_in);
	drop_if_empty(&l->plain_in);
	if (rc == SAT_AGAIN && sat_tls_state(l->tls) == SAT_TLS_PEER_DONE)
		end_by_peer(l);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
	(void)handle;
	(void)wanted;
	*ret = uv_buf_init((char *)read_block, sizeof read_block);
}

static void on_read_end(struct sat_link *l, int status)
{
	if (l->state == LINK_FINISHING)
		sat_link_close(l, l->why, NULL);
	else if (status == UV_ETIMEDOUT)
		sat_link_close(l, SAT_E_TIMEOUT, "the peer answers no more");
	else if (status != UV_EOF)
		sat_link_close(l, SAT_E_CLOSED, uv_strerror(status));
	else if (l->state == LINK_HANDSHAKE)
		sat_link_close(l, SAT_E_CLOSED,
			       "the peer closed during the handshake");
	else
		end_by_peer(l);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct sat_link *l = stream->data;
	struct sat_err err;

	if (n == 0 || l->state == LINK_CLOSING)
		return;
	if (n < 0) {
		on_read_end(l, (int)n);
		return;
	}
	l->bytes_in += (uint64_t)n;
	if (l->state == LINK_FINISHING)
		return;
	/* Strangers who only connect cost no TLS state. */
	if (l->tls == NULL &&
	    sat_tls_new(sat_listener_ctx(l->listener), SAT_ALPN_NONE, &l->tls,
			&err) != SAT_OK) {
		sat_link_close(l, err.rc, err.msg);
		return;
	}
	pump(l, (struct sat_slice){ (const uint8_t *)buf->base, (size_t)n });
	sat_link_settle(l);
}

static void set_reading(struct sat_link *l)
{
	bool want = l->state == LINK_FINISHING ||
		    (may_handle(l) && link_is_empty(&l->wire_in));
	int rc = 0;

	if (want == l->reading)
		return;
	if (want)
		rc = uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read);
	else
		(void)uv_read_stop((uv_stream_t *)&l->tcp);
	l->reading = want;
	if (rc != 0)
		sat_link_close(l, SAT_E_IO, uv_strerror(rc));
}

/* Less waits to be sent than did: what may go on now? */
static void look_at_queue(struct sat_link *l)
{
	size_t pending = sat_link_pending(l);

	if (l->choked && pending < SAT_LINK_OUT_RESUME) {
		l->choked = false;
		l->pump_due = true;
		sat_link_arm_turn(l);
	}
	if (l->drain == DRAIN_WANTED && pending < SAT_LINK_OUT_LOW) {
		l->drain = DRAIN_SEEN;
		sat_link_arm_turn(l);
	}
}

void sat_link_settle(struct sat_link *l)
{
	if (l->state == LINK_CONNECTING || l->state == LINK_CLOSING)
		return;
	sat_link_flush(l);
	if (l->state == LINK_OPEN)
		look_at_queue(l);
	if (l->state != LINK_CLOSING)
		shut(l);
	if (l->state != LINK_CLOSING)
		set_reading(l);
}

static void on_turn(uv_idle_t *turn)
{
	struct sat_link *l = turn->data;
	enum link_drain drain = l->drain;

	(void)uv_idle_stop(turn);
	if (l->pump_due && l->state == LINK_OPEN) {
		l->pump_due = false;
		pump(l, (struct sat_slice){ NULL, 0 });
	}
	if (drain == DRAIN_SEEN && l->drain == DRAIN_SEEN) {
		l->drain = DRAIN_SOON;
		sat_link_arm_turn(l);
	} else if (drain == DRAIN_SOON && l->drain == DRAIN_SOON &&
		   l->state == LINK_OPEN) {
		l->drain = DRAIN_NONE;
		if (l->handler->on_drain != NULL)
			l->handler->on_drain(l, l->arg);
	}
	sat_link_settle(l);
}

struct sat_link *sat_link_alloc(uv_loop_t *loop, enum link_state state)
{
	struct sat_link *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->loop = loop;
	l->state = state;
	l->id = atomic_fetch_add(&last_id, 1) + 1;
	sat_buf_init(&l->wire_in, 2 * READ_BYTES);
	sat_buf_init(&l->plain_in, PLAIN_IN_MAX);
	sat_buf_init(&l->plain_out, SAT_TLS_RECORD_BYTES);
	sat_buf_init(&l->wire_out, LINK_WIRE_OUT_MAX);
	(void)uv_timer_init(loop, &l->timer); /* these two cannot fail */
	(void)uv_idle_init(loop, &l->turn);
	l->timer.data = l;
	l->turn.data = l;
	l->holds = 2;
	return l;
}

int sat_link_init_tcp(struct sat_link *l)
{
	int rc = uv_tcp_init(l->loop, &l->tcp);

	if (rc != 0)
		return rc;
	l->tcp.data = l;
	l->tcp_live = true;
	l->holds++;
	return 0;
}

static void name_peer(struct sat_link *l)
{
	struct sockaddr_storage addr;
	int len = (int)sizeof addr;
	char ip[48] = "";
	uint16_t port = 0;

	if (uv_tcp_getpeername(&l->tcp, (struct sockaddr *)&addr, &len) != 0)
		return;
	if (addr.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)&addr;

		(void)uv_ip4_name(v4, ip, sizeof ip);
		port = ntohs(v4->sin_port);
	} else if (addr.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)&addr;

		(void)uv_ip6_name(v6, ip, sizeof ip);
		port = ntohs(v6->sin6_port);
	}
	(void)snprintf(l->peer_name, sizeof l->peer_name, "%s%s%s:%u",
		       addr.ss_family == AF_INET6 ? "[" : "", ip,
		       addr.ss_family == AF_INET6 ? "]" : "", port);
}

void sat_link_start(struct sat_link *l)
{
	unsigned unanswered_ms = SAT_LINK_UNANSWERED_MS;
	uv_os_fd_t fd;

	if (l->state == LINK_CONNECTING)
		move(l, LINK_HANDSHAKE);
	name_peer(l);
	if (uv_tcp_nodelay(&l->tcp, 1) != 0 ||
	    uv_fileno((uv_handle_t *)&l->tcp, &fd) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms,
		       sizeof unanswered_ms) != 0 ||
	    uv_timer_start(&l->timer, on_deadline, SAT_LINK_HANDSHAKE_MS, 0) !=
		    0) {
		sat_link_close(l, SAT_E_CLOSED, "the socket is gone");
		return;
	}
	if (l->tls != NULL) /* a client speaks first */
		pump(l, (struct sat_slice){ NULL, 0 });
	sat_link_settle(l);
}

void sat_link_trust(struct sat_link *l)
{
	l->trusted = true;
}

void sat_link_pause(struct sat_link *l, bool pause)
{
	if (l->paused == pause)
		return;
	l->paused = pause;
	if (!pause)
		l->pump_due = true;
	sat_link_arm_turn(l);
}

void sat_link_set_arg(struct sat_link *l, void *arg)
{
	l->arg = arg;
}

void *sat_link_arg(const struct sat_link *l)
{
	return l->arg;
}

uint64_t sat_link_id(const struct sat_link *l)
{
	return l->id;
}

const char *sat_link_peer_name(const struct sat_link *l)
{
	return l->peer_name;
}

struct sat_tls *sat_link_tls(struct sat_link *l)
{
	return l->state == LINK_OPEN ? l->tls : NULL;
}

void sat_link_traffic(const struct sat_link *l, uint64_t *ret_in,
		      uint64_t *ret_out)
{
	*ret_in = l->bytes_in;
	*ret_out = l->bytes_out;
}
