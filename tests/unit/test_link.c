#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/link_world.h"

enum { ECHOES = 10000 };

static size_t echo_len(uint32_t n)
{
	return n % 100 == 0 ? 20000 : n % 700;
}

static void echo(struct end *e, const struct sat_frame *f)
{
	/* The payload with the header in front of it is the frame as it
	 * came. */
	struct sat_slice whole = { f->payload.ptr - SAT_FRAME_HEAD_BYTES,
				   f->payload.len + SAT_FRAME_HEAD_BYTES };

	if (f->payload.len > 0)
		assert_int_equal(sat_link_send(e->link, whole), SAT_OK);
	else
		assert_int_equal(send_frame(e, f->type, 0, 0), SAT_OK);
}

static void check_echo(struct end *e, const struct sat_frame *f)
{
	uint32_t n = (uint32_t)(e->frames - 1);

	assert_true(frame_is(f, (uint8_t)n, n, echo_len(n)));
}

static bool all_echoed(void *arg)
{
	const struct end *e = arg;

	return e->frames == ECHOES;
}

struct sender {
	struct end *e;
	uint32_t sent;
};

static bool keep_sending(void *arg)
{
	struct sender *s = arg;

	while (s->sent < ECHOES &&
	       sat_link_pending(s->e->link) < SAT_LINK_OUT_HIGH) {
		assert_int_equal(send_frame(s->e, (uint8_t)s->sent, s->sent,
					    echo_len(s->sent)),
				 SAT_OK);
		s->sent++;
	}
	return s->sent == ECHOES;
}

static void frames_come_back_whole_and_in_order(void **state)
{
	static struct world w;
	struct sender sender = { 0 };
	struct end client, *server;
	uint64_t in, out;

	(void)state;
	world_init(&w);
	w.on_frame = echo;
	w.on_client_frame = check_echo;
	end_connect(&client, &w);
	server = run_open(&client);
	assert_int_equal(server->alpn, SAT_ALPN_SYNC);
	assert_int_equal(server->peer.identity.replica, 7);
	assert_true(client.peer.certified);
	assert_memory_equal(sat_link_peer_name(server->link), "127.0.0.1:", 10);
	sender.e = &client;
	run_until(&w, keep_sending, &sender);
	run_until(&w, all_echoed, &client);
	sat_link_traffic(client.link, &in, &out);
	assert_in_range(out, client.bytes, client.bytes * 11 / 10);
	sat_link_finish(client.link, SAT_OK, "enough");
	run_until(&w, is_closed, &client);
	run_until(&w, is_closed, server);
	assert_int_equal(client.rc, SAT_OK);
	assert_string_equal(client.detail, "enough");
	assert_int_equal(server->rc, SAT_OK);
	world_fini(&w);
}

static bool one_frame(void *arg)
{
	const struct end *e = arg;

	return e->frames == 1;
}

static void check_large(struct end *e, const struct sat_frame *f)
{
	(void)e;
	assert_true(frame_is(f, 5, 77, SAT_FRAME_BYTES_MAX - 2));
}

static void the_largest_frame_passes(void **state)
{
	static struct world w;
	struct end client;

	(void)state;
	world_init(&w);
	w.on_frame = echo;
	w.on_client_frame = check_large;
	end_connect(&client, &w);
	(void)run_open(&client);
	assert_int_equal(send_frame(&client, 5, 77, SAT_FRAME_BYTES_MAX - 2),
			 SAT_OK);
	run_until(&w, one_frame, &client);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

/* What one turn queues leaves in one record, not in one for each frame. */
static void small_frames_leave_together(void **state)
{
	static struct world w;
	struct end client, *server;
	uint64_t in, before, after;

	(void)state;
	world_init(&w);
	end_connect(&client, &w);
	server = run_open(&client);
	sat_link_traffic(client.link, &in, &before);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(send_frame(&client, 1, i, 10), SAT_OK);
	assert_int_equal(sat_link_pending(client.link), 1600);
	run_for(&w, 20);
	assert_int_equal(server->frames, 100);
	sat_link_traffic(client.link, &in, &after);
	assert_int_equal(after - before, 1600 + 5 + 1 + 16);
	assert_int_equal(sat_link_pending(client.link), 0);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

static void finish_delivers_what_was_queued(void **state)
{
	static struct world w;
	struct end client, *server;

	(void)state;
	world_init(&w);
	end_connect(&client, &w);
	server = run_open(&client);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(send_frame(&client, 1, i, 10000), SAT_OK);
	sat_link_finish(client.link, SAT_E_DENIED, "go away");
	assert_int_equal(send_frame(&client, 1, 0, 1), SAT_E_CLOSED);
	sat_link_finish(client.link, SAT_OK, "again"); /* no effect */
	run_until(&w, is_closed, server);
	assert_int_equal(server->frames, 100);
	assert_int_equal(server->rc, SAT_OK);
	run_until(&w, is_closed, &client);
	assert_int_equal(client.rc, SAT_E_DENIED);
	assert_string_equal(client.detail, "go away");
	world_fini(&w);
}

static void enrolment_can_prove_possession(void **state)
{
	static struct world w;
	struct sat_tls_ctx *ctx = test_enrol_ctx(&org);
	uint8_t a[SAT_TLS_EXPORT_BYTES], b[SAT_TLS_EXPORT_BYTES];
	struct end client, *server;
	struct sat_err err;

	(void)state;
	world_init(&w);
	end_connect_to(&client, &w, "127.0.0.1", sat_listener_port(w.listener),
		       ctx, SAT_ALPN_ENROL);
	sat_tls_ctx_free(ctx); /* the link keeps what it needs */
	assert_null(sat_link_tls(client.link));
	server = run_open(&client);
	assert_int_equal(server->alpn, SAT_ALPN_ENROL);
	assert_false(server->peer.certified);
	assert_int_equal(sat_tls_export(sat_link_tls(client.link), a, &err),
			 SAT_OK);
	assert_int_equal(sat_tls_export(sat_link_tls(server->link), b, &err),
			 SAT_OK);
	assert_memory_equal(a, b, sizeof a);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

static void flood(struct end *e)
{
	while (sat_link_pending(e->link) <= SAT_LINK_OUT_HIGH)
		assert_int_equal(send_frame(e, 1, 0, 8000), SAT_OK);
}

static void flood_on(struct end *e)
{
	if (e->link != NULL && !sat_link_closing(e->link))
		flood(e);
}

/* The peer reads nothing: the server stops handling its requests, and holds a
 * bounded amount. When the peer reads again, everything is there. */
static void a_slow_reader_is_waited_for(void **state)
{
	static struct world w;
	struct sender sender = { 0 };
	struct end client, *server;
	uint64_t handled;

	(void)state;
	world_init(&w);
	w.on_frame = echo;
	w.on_client_frame = check_echo;
	end_connect(&client, &w);
	server = run_open(&client);
	sat_link_pause(client.link, true);
	sender.e = &client;
	for (int i = 0; i < 300; i++) {
		(void)keep_sending(&sender);
		run_for(&w, 1);
		assert_true(sat_link_pending(server->link) <=
			    SAT_LINK_OUT_HIGH + 32 * 1024);
	}
	handled = server->frames;
	run_for(&w, 50);
	assert_int_equal(server->frames, handled);
	assert_true(handled < ECHOES);
	assert_int_equal(client.frames, 0);
	sat_link_pause(client.link, false);
	run_until(&w, keep_sending, &sender);
	run_until(&w, all_echoed, &client);
	assert_true(server->drained > 0);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

static void pause_in_a_frame(struct end *e, const struct sat_frame *f)
{
	(void)f;
	sat_link_pause(e->link, true);
}

static void a_full_owner_gets_one_frame_at_a_time(void **state)
{
	static struct world w;
	struct end client, *server;

	(void)state;
	world_init(&w);
	w.on_frame = pause_in_a_frame;
	end_connect(&client, &w);
	server = run_open(&client);
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(send_frame(&client, 1, i, 3000), SAT_OK);
	/* Even the good-bye has to wait its turn. */
	sat_link_finish(client.link, SAT_OK, NULL);
	for (uint64_t i = 1; i <= 50; i++) {
		run_for(&w, 2);
		assert_int_equal(server->frames, i);
		assert_int_equal(server->closed, 0);
		sat_link_pause(server->link, false);
	}
	run_until(&w, is_closed, server);
	assert_int_equal(server->rc, SAT_OK);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

static void an_owner_that_floods_a_deaf_peer_is_cut_off(void **state)
{
	static struct world w;
	struct end client, *server;
	int rc = SAT_OK;

	(void)state;
	world_init(&w);
	end_connect(&client, &w);
	server = run_open(&client);
	sat_link_pause(client.link, true);
	for (int i = 0; i < 100000 && rc == SAT_OK; i++) {
		rc = send_frame(server, 1, 0, 60000);
		assert_true(rc != SAT_OK || sat_link_pending(server->link) <=
						    SAT_LINK_OUT_MAX + 65536);
		if (i % 16 == 0)
			run_for(&w, 1);
	}
	assert_int_equal(rc, SAT_E_LIMIT);
	run_until(&w, is_closed, server);
	assert_int_equal(server->rc, SAT_E_LIMIT);
	sat_link_pause(client.link, false);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

static bool two_megabytes(void *arg)
{
	const struct end *e = arg;

	return e->bytes > 2000000;
}

/* Pages for a device: made whenever there is room, never more than that. The
 * one who floods must leave the loop to the others. */
static void a_producer_follows_on_drain(void **state)
{
	static struct world w;
	struct end reader, other;

	(void)state;
	world_init(&w);
	w.on_frame = echo;
	w.on_open = flood_on;
	w.on_drain = flood_on;
	end_connect(&reader, &w);
	(void)run_open(&reader);
	run_until(&w, two_megabytes, &reader);
	w.on_open = NULL;
	end_connect(&other, &w);
	(void)run_open(&other);
	assert_int_equal(send_frame(&other, 1, 0, 10), SAT_OK);
	run_until(&w, one_frame, &other);
	assert_int_equal(reader.closed, 0);
	sat_link_close(reader.link, SAT_OK, NULL);
	sat_link_close(other.link, SAT_OK, NULL);
	run_until(&w, is_closed, &reader);
	run_until(&w, is_closed, &other);
	world_fini(&w);
}

static bool both_got_much(void *arg)
{
	const struct end *e = arg;

	return e->bytes > 8000000 && e->w->server[0].bytes > 8000000;
}

/* A device uploads while it downloads, and both ends are full to the brim: the
 * sockets too. Neither may wait for the other to read first. */
static void two_floods_pass_each_other(void **state)
{
	static struct world w;
	struct end client, *server;

	(void)state;
	world_init(&w);
	end_connect(&client, &w);
	server = run_open(&client);
	sat_link_pause(client.link, true);
	sat_link_pause(server->link, true);
	for (int full = 0; full < 20; full++) {
		if (sat_link_pending(client.link) <= SAT_LINK_OUT_HIGH ||
		    sat_link_pending(server->link) <= SAT_LINK_OUT_HIGH)
			full = 0;
		flood(&client);
		flood(server);
		run_for(&w, 1);
	}
	w.on_drain = flood_on;
	sat_link_pause(client.link, false);
	sat_link_pause(server->link, false);
	run_until(&w, both_got_much, &client);
	assert_int_equal(client.closed, 0);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

/* Clients in a process of their own, so that what this one's heap holds
 * afterwards is the server's side. */
static void idle_clients(uint16_t port, int count)
{
	static struct end ends[ENDS_MAX];
	static struct world w;
	bool all;

	(void)alarm(60);
	(void)uv_loop_init(&w.loop);
	for (int i = 0; i < count; i++)
		end_connect_to(&ends[i], &w, "127.0.0.1", port, client_ctx,
			       SAT_ALPN_SYNC);
	do {
		(void)uv_run(&w.loop, UV_RUN_ONCE);
		all = true;
		for (int i = 0; i < count; i++)
			all = all && ends[i].opened == 1;
	} while (!all);
	for (int i = 0; i < count; i++)
		(void)send_frame(&ends[i], 1, 0, 16000);
	(void)uv_run(&w.loop, UV_RUN_DEFAULT);
}

static bool all_talked(void *arg)
{
	const struct world *w = arg;
	unsigned n = 0;

	for (unsigned i = 0; i < w->servers; i++)
		n += w->server[i].frames == 1;
	return n == ENDS_MAX;
}

static void an_idle_link_is_small(void **state)
{
	static struct world w;
	size_t before, each;
	int status;
	pid_t pid;

	(void)state;
	world_init(&w);
	w.on_frame = echo;
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		idle_clients(sat_listener_port(w.listener), ENDS_MAX);
		_exit(1);
	}
	before = mallinfo2().uordblks;
	run_until(&w, all_talked, &w);
	run_for(&w, 100);
	each = (mallinfo2().uordblks - before) / ENDS_MAX;
	print_message("    heap of an idle link on the server: %zu bytes\n",

		      each);
	assert_true(each < 28 * 1024);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_link_is_small),
		cmocka_unit_test(frames_come_back_whole_and_in_order),
		cmocka_unit_test(the_largest_frame_passes),
		cmocka_unit_test(small_frames_leave_together),
		cmocka_unit_test(finish_delivers_what_was_queued),
		cmocka_unit_test(enrolment_can_prove_possession),
		cmocka_unit_test(a_slow_reader_is_waited_for),
		cmocka_unit_test(a_full_owner_gets_one_frame_at_a_time),
		cmocka_unit_test(an_owner_that_floods_a_deaf_peer_is_cut_off),
		cmocka_unit_test(a_producer_follows_on_drain),
		cmocka_unit_test(two_floods_pass_each_other),
	};

	return cmocka_run_group_tests(tests, link_set_up, link_tear_down);
}
