/* Links against peers that break the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/link_world.h"

static bool was_refused(void *arg)
{
	const struct world *w = arg;

	return w->refused > 0;
}

static bool one_frame(void *arg)
{
	const struct end *e = arg;

	return e->frames > 0;
}

/* A device that speaks TLS over a bare socket, as badly as a test wants. */
struct bare {
	int fd;
	struct sat_tls *tls;
	struct sat_buf plain, wire;
	size_t step; /* bytes a write takes at most */
};

static void bare_init(struct bare *b, struct world *w, size_t step)
{
	struct sat_err err;

	b->fd = raw_connect(w);
	b->step = step;
	sat_buf_init(&b->plain, 1 << 22);
	sat_buf_init(&b->wire, 1 << 22);
	assert_int_equal(sat_tls_new(client_ctx, SAT_ALPN_SYNC, &b->tls, &err),
			 SAT_OK);
}

static void bare_close(struct bare *b)
{
	if (b->fd >= 0)
		(void)close(b->fd);
	b->fd = -1;
}

static void bare_fini(struct bare *b)
{
	bare_close(b);
	sat_tls_free(b->tls);
	sat_buf_fini(&b->plain);
	sat_buf_fini(&b->wire);
}

/* Write what is there, a step at a time, and let the server see each. */
static void bare_flush(struct bare *b, struct world *w)
{
	while (b->wire.len > b->wire.head) {
		struct sat_slice s = sat_buf_peek(&b->wire);
		ssize_t n =
			send(b->fd, s.ptr, s.len < b->step ? s.len : b->step,
			     MSG_NOSIGNAL);

		assert_true(n > 0);
		sat_buf_consume(&b->wire, (size_t)n);
		(void)uv_run(&w->loop, UV_RUN_NOWAIT);
	}
}

static void bare_handshake(struct bare *b, struct world *w)
{
	struct sat_slice in = { NULL, 0 };
	struct sat_err err;
	uint8_t bytes[4096];
	size_t used;

	while (sat_tls_state(b->tls) == SAT_TLS_HANDSHAKE) {
		ssize_t n;

		assert_true(sat_tls_feed(b->tls, in, &used, &b->plain, &b->wire,
					 &err) >= 0);
		bare_flush(b, w);
		(void)uv_run(&w->loop, UV_RUN_NOWAIT);
		n = recv(b->fd, bytes, sizeof bytes, MSG_DONTWAIT);
		in = (struct sat_slice){ bytes, n < 0 ? 0 : (size_t)n };
	}
	bare_flush(b, w);
}

static void bare_say(struct bare *b, struct world *w, const void *p, size_t n)
{
	struct sat_err err;

	assert_int_equal(sat_tls_seal(b->tls, (struct sat_slice){ p, n },
				      &b->wire, &err),
			 SAT_OK);
	bare_flush(b, w);
}

static bool one_server(void *arg)
{
	const struct world *w = arg;

	return w->servers > 0;
}

static void check_small(struct end *e, const struct sat_frame *f)
{
	assert_true(f->type == 9 && f->flags == 0);
	assert_true(sat_slice_equal(f->payload, sat_slice_str("hello")));
	(void)e;
}

static const char small[] = "\0\0\0\x07\x09\0hello";
enum { SMALL = sizeof small - 1 };

static void a_peer_may_speak_byte_by_byte(void **state)
{
	static struct world w;
	struct bare b;

	(void)state;
	world_init(&w);
	w.on_frame = check_small;
	bare_init(&b, &w, 1);
	bare_handshake(&b, &w);
	for (int i = 0; i < 3; i++)
		bare_say(&b, &w, small, SMALL);
	run_until(&w, one_server, &w);
	run_for(&w, 20);
	assert_int_equal(w.server[0].frames, 3);
	/* And with each byte in a record of its own. */
	for (size_t i = 0; i < SMALL; i++)
		bare_say(&b, &w, small + i, 1);
	run_for(&w, 20);
	assert_int_equal(w.server[0].frames, 4);
	bare_fini(&b);
	world_fini(&w);
}

/* The peer's TCP ends, without a word of TLS: between frames that is an end,
 * inside a frame it is a loss. */
static void a_cut_is_told_from_an_end(void **state)
{
	static const struct {
		const char *why;
		size_t bytes; /* of two frames */
		int rc;
	} rows[] = {
		{ "nothing said", 0, SAT_OK },
		{ "after a frame", SMALL, SAT_OK },
		{ "inside a length", 2, SAT_E_CLOSED },
		{ "inside a frame", SMALL - 1, SAT_E_CLOSED },
		{ "one byte into the next", SMALL + 1, SAT_E_CLOSED },
		{ "after two frames", 2 * SMALL, SAT_OK },
	};
	char two[2 * SMALL];

	(void)state;
	memcpy(two, small, SMALL);
	memcpy(two + SMALL, small, SMALL);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		static struct world w;
		struct bare b;

		print_message("    %s\n", rows[i].why);
		world_init(&w);
		bare_init(&b, &w, 65536);
		bare_handshake(&b, &w);
		run_until(&w, one_server, &w);
		bare_say(&b, &w, two, rows[i].bytes);
		bare_close(&b);
		run_until(&w, is_closed, &w.server[0]);
		assert_int_equal(w.server[0].rc, rows[i].rc);
		assert_int_equal(w.server[0].frames, rows[i].bytes / SMALL);
		bare_fini(&b);
		world_fini(&w);
	}
}

static void a_cut_inside_a_record_is_a_loss(void **state)
{
	static struct world w;
	struct sat_err err;
	struct bare b;

	(void)state;
	world_init(&w);
	bare_init(&b, &w, 65536);
	bare_handshake(&b, &w);
	run_until(&w, one_server, &w);
	assert_int_equal(sat_tls_seal(b.tls,
				      (struct sat_slice){
					      (const uint8_t *)small, SMALL },
				      &b.wire, &err),
			 SAT_OK);
	b.wire.len--; /* the last byte never leaves */
	bare_flush(&b, &w);
	bare_close(&b);
	run_until(&w, is_closed, &w.server[0]);
	assert_int_equal(w.server[0].rc, SAT_E_CLOSED);
	bare_fini(&b);
	world_fini(&w);
}

static void frames_over_the_limit_are_refused(void **state)
{
	static const struct {
		const char *why;
		bool untrusting;
		size_t len; /* of the payload */
		int rc;
	} rows[] = {
		{ "the largest first frame", true,
		  SAT_FRAME_HELLO_BYTES_MAX - 2, NO_RC },
		{ "a first frame one byte over", true,
		  SAT_FRAME_HELLO_BYTES_MAX - 1, SAT_E_LIMIT },
		{ "one byte over a MiB", false, SAT_FRAME_BYTES_MAX - 1,
		  SAT_E_LIMIT },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		static struct world w;
		struct end client, *server;

		print_message("    %s\n", rows[i].why);
		world_init(&w);
		w.untrusting = rows[i].untrusting;
		end_connect(&client, &w);
		server = run_open(&client);
		assert_int_equal(send_frame(&client, 1, 0, rows[i].len),
				 SAT_OK);
		if (rows[i].rc == NO_RC) {
			run_until(&w, one_frame, server);
			sat_link_close(client.link, SAT_OK, NULL);
		} else {
			run_until(&w, is_closed, server);
			assert_int_equal(server->rc, rows[i].rc);
			assert_int_equal(server->frames, 0);
		}
		run_until(&w, is_closed, &client);
		world_fini(&w);
	}
}

/* Only the header of a giant has come: it is refused at once, not awaited. */
static void a_giants_header_is_enough(void **state)
{
	static const char *const heads[] = { "\xff\xff\xff\xff",
					     "\x00\x10\x00\x01" };

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(heads); i++) {
		static struct world w;
		struct bare b;

		world_init(&w);
		bare_init(&b, &w, 65536);
		bare_handshake(&b, &w);
		run_until(&w, one_server, &w);
		bare_say(&b, &w, heads[i], 4);
		bare_close(&b);
		run_until(&w, is_closed, &w.server[0]);
		assert_int_equal(w.server[0].rc, SAT_E_LIMIT);
		bare_fini(&b);
		world_fini(&w);
	}
}

static void strangers_are_refused(void **state)
{
	static const struct {
		const char *why, *bytes;
		size_t len;
		int rc;
	} rows[] = {
		{ "nothing said", "", 0, SAT_E_CLOSED },
		{ "a web browser", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27,
		  SAT_E_PROTO },
		{ "zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16,
		  SAT_E_PROTO },
		{ "half a hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9,
		  SAT_E_CLOSED },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		static struct world w;
		int fd;

		print_message("    %s\n", rows[i].why);
		world_init(&w);
		fd = raw_connect(&w);
		assert_int_equal(
			send(fd, rows[i].bytes, rows[i].len, MSG_NOSIGNAL),
			rows[i].len);
		run_for(&w, 5);
		(void)close(fd);
		run_until(&w, was_refused, &w);
		assert_int_equal(w.refused, 1);
		assert_int_equal(w.refused_rc, rows[i].rc);
		assert_int_equal(w.servers, 0);
		world_fini(&w);
	}
}

/* In TLS 1.3 a client is open before the server has judged it, and sends at
 * once. It must still learn that, and why, it was refused. */
static void a_refused_client_learns_it(void **state)
{
	static struct world w;
	struct sat_tls_ctx *ctx = test_client_ctx(&org, NULL);
	struct end client;

	(void)state;
	world_init(&w);
	for (int i = 0; i < 20; i++) {
		end_connect_to(&client, &w, "127.0.0.1",
			       sat_listener_port(w.listener), ctx,
			       SAT_ALPN_SYNC);
		run_until(&w, is_open, &client);
		assert_int_equal(send_frame(&client, 1, 0, 500), SAT_OK);
		run_until(&w, is_closed, &client);
		assert_int_equal(client.rc, SAT_E_DENIED);
		assert_int_equal(client.frames, 0);
	}
	run_for(&w, 20);
	assert_int_equal(w.refused, 20);
	assert_int_equal(w.refused_rc, SAT_E_DENIED);
	assert_int_equal(w.servers, 0);
	sat_tls_ctx_free(ctx);
	world_fini(&w);
}

struct three {
	struct end ends[3];
};

static bool one_closed(void *arg)
{
	const struct three *t = arg;

	return t->ends[0].closed + t->ends[1].closed + t->ends[2].closed >= 1;
}

static void too_many_links_are_shed(void **state)
{
	static struct world w;
	struct three t;

	(void)state;
	world_init(&w);
	sat_listener_set_limits(w.listener, 2, 0);
	end_connect(&t.ends[0], &w);
	(void)run_open(&t.ends[0]);
	end_connect(&t.ends[1], &w);
	(void)run_open(&t.ends[1]);
	assert_int_equal(sat_listener_links(w.listener), 2);
	end_connect(&t.ends[2], &w);
	run_until(&w, one_closed, &t);
	assert_int_equal(t.ends[2].closed, 1);
	assert_int_equal(t.ends[2].opened, 0);
	assert_int_equal(w.refused_rc, SAT_E_LIMIT);
	/* Room again when one goes. */
	sat_link_close(t.ends[0].link, SAT_OK, NULL);
	run_until(&w, is_closed, &w.server[0]);
	end_connect(&t.ends[2], &w);
	(void)run_open(&t.ends[2]);
	sat_link_close(t.ends[1].link, SAT_OK, NULL);
	sat_link_close(t.ends[2].link, SAT_OK, NULL);
	run_until(&w, is_closed, &t.ends[1]);
	run_until(&w, is_closed, &t.ends[2]);
	world_fini(&w);
}

/* Silent strangers fill the places for handshakes: a device waits, and gets in
 * as soon as one of them goes. */
static void handshakes_wait_for_a_place(void **state)
{
	static struct world w;
	struct end client;
	int a, b;

	(void)state;
	world_init(&w);
	sat_listener_set_limits(w.listener, 0, 2);
	a = raw_connect(&w);
	b = raw_connect(&w);
	run_for(&w, 10);
	assert_int_equal(sat_listener_links(w.listener), 2);
	end_connect(&client, &w);
	run_for(&w, 50);
	assert_int_equal(client.opened, 0);
	assert_int_equal(client.closed, 0);
	(void)close(a);
	(void)run_open(&client);
	(void)close(b);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

/* No descriptors left: what cannot be taken is closed, the server lives on. */
static void running_out_of_descriptors_is_survived(void **state)
{
	static struct world w;
	struct rlimit old, tight;
	struct end client;
	int fds[24], low;
	char byte;

	(void)state;
	world_init(&w);
	run_for(&w, 5);
	low = dup(0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)low + 1 + SAT_COUNT_OF(fds) + 4;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	for (size_t i = 0; i < SAT_COUNT_OF(fds); i++)
		fds[i] = raw_connect(&w);
	run_for(&w, 50);
	assert_true(sat_listener_links(w.listener) <= 4);
	/* The last one was closed by the server, not left hanging. */
	assert_int_equal(recv(fds[SAT_COUNT_OF(fds) - 1], &byte, 1, 0), 0);
	for (size_t i = 0; i < SAT_COUNT_OF(fds); i++)
		(void)close(fds[i]);
	run_for(&w, 20);
	assert_int_equal(sat_listener_links(w.listener), 0);
	end_connect(&client, &w);
	(void)run_open(&client);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	(void)close(low);
	world_fini(&w);
}

struct waits {
	struct world *w;
	unsigned refused;
};

static bool that_many_refused(void *arg)
{
	const struct waits *x = arg;

	return x->w->refused >= x->refused;
}

/* The handshake has one deadline, however busy the peer keeps the line; a
 * good-bye has its own, however deaf the peer is. */
static void deadlines_hold(void **state)
{
	static struct world w;
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc";
	struct waits x = { &w, 2 };
	uint64_t start;
	struct bare deaf;
	int silent, slow;

	(void)state;
	world_init(&w);
	silent = raw_connect(&w);
	slow = raw_connect(&w);
	assert_int_equal(send(slow, hello, 9, MSG_NOSIGNAL), 9);
	bare_init(&deaf, &w, 65536);
	bare_handshake(&deaf, &w);
	run_until(&w, one_server, &w);
	uv_update_time(&w.loop);
	start = uv_now(&w.loop);
	sat_link_finish(w.server[0].link, SAT_OK, "bye");
	run_until(&w, is_closed, &w.server[0]);
	assert_in_range(uv_now(&w.loop) - start, SAT_LINK_FINISH_MS - 100,
			SAT_LINK_FINISH_MS + 1500);
	while (!that_many_refused(&x)) {
		(void)send(slow, "\0", 1, MSG_NOSIGNAL);
		run_for(&w, 200);
		assert_true(uv_now(&w.loop) - start <
			    SAT_LINK_HANDSHAKE_MS + 3000);
	}
	assert_true(uv_now(&w.loop) - start > SAT_LINK_HANDSHAKE_MS - 500);
	assert_int_equal(w.refused_rc, SAT_E_TIMEOUT);
	(void)close(silent);
	(void)close(slow);
	bare_fini(&deaf);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_may_speak_byte_by_byte),
		cmocka_unit_test(a_cut_is_told_from_an_end),
		cmocka_unit_test(a_cut_inside_a_record_is_a_loss),
		cmocka_unit_test(frames_over_the_limit_are_refused),
		cmocka_unit_test(a_giants_header_is_enough),
		cmocka_unit_test(strangers_are_refused),
		cmocka_unit_test(a_refused_client_learns_it),
		cmocka_unit_test(too_many_links_are_shed),
		cmocka_unit_test(handshakes_wait_for_a_place),
		cmocka_unit_test(running_out_of_descriptors_is_survived),
		cmocka_unit_test(deadlines_hold),
	};

	return cmocka_run_group_tests(tests, link_set_up, link_tear_down);
}
