/* How links begin and end: every address, every error, at every moment. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/link_world.h"

static bool one_frame(void *arg)
{
	const struct end *e = arg;

	return e->frames > 0;
}

static void nobody_there(void **state)
{
	static struct world w;
	struct end client;
	uint16_t port;

	(void)state;
	world_init(&w);
	port = sat_listener_port(w.listener);
	world_stop_listening(&w);
	run_for(&w, 5);
	end_connect_to(&client, &w, "localhost", port, client_ctx,
		       SAT_ALPN_SYNC);
	run_until(&w, is_closed, &client);
	assert_int_equal(client.rc, SAT_E_IO);
	assert_string_equal(client.detail,
			    "cannot connect: connection refused");
	end_connect_to(&client, &w, "no.such.host.invalid", port, client_ctx,
		       SAT_ALPN_SYNC);
	run_until(&w, is_closed, &client);
	assert_int_equal(client.rc, SAT_E_IO);
	assert_int_equal(client.opened, 0);
	world_fini(&w);
}

typedef int (*getaddrinfo_cb)(const char *, const char *,
			      const struct addrinfo *, struct addrinfo **);

/* The resolver that libuv asks, with one name more: two.addresses.test is
 * 127.0.0.2, where nobody listens, and then 127.0.0.1. */
int getaddrinfo(const char *node, const char *service,
		const struct addrinfo *hints, struct addrinfo **ret)
{
	struct addrinfo *first = NULL, *second = NULL, *end;
	getaddrinfo_cb real;
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
	int rc;

	memcpy(&real, &symbol, sizeof real);
	if (strcmp(node, "two.addresses.test") != 0)
		return real(node, service, hints, ret);
	rc = real("127.0.0.1", service, hints, &second);
	if (rc == 0)
		rc = real("127.0.0.2", service, hints, &first);
	if (rc != 0)
		return rc;
	for (end = first; end->ai_next != NULL;)
		end = end->ai_next;
	end->ai_next = second;
	*ret = first;
	return 0;
}

static void every_address_of_a_name_is_tried(void **state)
{
	static struct world w;
	struct end client;

	(void)state;
	world_init(&w);
	end_connect_to(&client, &w, "two.addresses.test",
		       sat_listener_port(w.listener), client_ctx,
		       SAT_ALPN_SYNC);
	(void)run_open(&client);
	sat_link_close(client.link, SAT_OK, NULL);
	run_until(&w, is_closed, &client);
	world_fini(&w);
}

static void listen_errors_are_told_apart(void **state)
{
	static struct world w;
	struct sat_listener_options options = { .addr = "127.0.0.1" };
	struct sat_listener *other = NULL;
	struct sat_err err;

	(void)state;
	world_init(&w);
	options.port = sat_listener_port(w.listener);
	assert_int_equal(
		sat_listener_open(&w.loop, server_ctx, &options, &other, &err),
		SAT_E_BUSY);
	options.addr = "localhost";
	assert_int_equal(
		sat_listener_open(&w.loop, server_ctx, &options, &other, &err),
		SAT_E_INVAL);
	options.addr = "192.0.2.1";
	assert_int_equal(
		sat_listener_open(&w.loop, server_ctx, &options, &other, &err),
		SAT_E_INVAL);
	assert_null(other);
	world_fini(&w);
}

enum { WHO_CLIENT, WHO_SERVER, WHO_LISTENER, WHO_COUNT };
enum { HOW_CLOSE, HOW_FINISH, HOW_COUNT };

static void leave(struct sat_link *link, int how)
{
	if (link == NULL)
		return;
	if (how == HOW_CLOSE)
		sat_link_close(link, SAT_E_BUSY, "leaving");
	else
		sat_link_finish(link, SAT_E_BUSY, "leaving");
}

/* Leave after k turns of the loop; true when everything had happened before. */
static bool leave_after(int k, int who, int how)
{
	static struct world w;
	struct end client;
	bool sent = false, done = false;

	world_init(&w);
	end_connect_to(
		&client, &w, k % 2 == 0 ? "127.0.0.1" : "two.addresses.test",
		sat_listener_port(w.listener), client_ctx, SAT_ALPN_SYNC);
	for (int i = 0; i < k && !done; i++) {
		(void)uv_run(&w.loop, UV_RUN_ONCE);
		if (client.opened && !sent)
			(void)send_frame(&client, 1, 0, 100000);
		sent = client.opened != 0;
		done = w.servers == 1 && w.server[0].frames > 0;
	}
	if (who == WHO_CLIENT)
		leave(client.link, how);
	else if (who == WHO_SERVER && w.servers > 0)
		leave(w.server[0].link, how);
	else
		world_stop_listening(&w);
	if (who != WHO_CLIENT)
		leave(client.link, HOW_FINISH);
	run_until(&w, is_closed, &client);
	assert_int_equal(client.closed, 1);
	world_fini(&w);
	return done;
}

static void leaving_is_safe_at_every_moment(void **state)
{
	(void)state;
	for (int who = 0; who < WHO_COUNT; who++) {
		for (int how = 0; how < HOW_COUNT; how++) {
			int k = 0;

			while (!leave_after(k, who, how))
				assert_true(++k < 500);
			print_message("    %d/%d: %d moments\n", who, how, k);
			assert_true(k > 3);
		}
	}
}

/* Finish, and close k turns into it. True when it had ended before. */
static bool close_after(int k)
{
	static struct world w;
	struct end client;
	bool done;

	world_init(&w);
	end_connect(&client, &w);
	(void)run_open(&client);
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(send_frame(&client, 1, i, 50000), SAT_OK);
	sat_link_finish(client.link, SAT_OK, "done");
	for (int i = 0; i < k && client.link != NULL; i++)
		(void)uv_run(&w.loop, UV_RUN_ONCE);
	done = client.closed == 1;
	if (!done)
		sat_link_close(client.link, SAT_E_BUSY, "no time");
	run_until(&w, is_closed, &client);
	assert_int_equal(client.rc, SAT_OK); /* the first reason stands */
	assert_string_equal(client.detail, "done");
	world_fini(&w);
	return done;
}

static void a_good_bye_may_be_cut_short(void **state)
{
	int k = 0;

	(void)state;
	while (!close_after(k))
		assert_true(++k < 500);
	assert_true(k > 2);
}

static int how_in_callback;

static void leave_on_frame(struct end *e, const struct sat_frame *f)
{
	leave(e->link, how_in_callback);
	/* The frame is still ours to read, the link still there. */
	assert_true(frame_is(f, 1, 0, 5000));
	assert_true(sat_link_closing(e->link));
}

static void leave_on_open(struct end *e)
{
	leave(e->link, how_in_callback);
}

static void an_owner_may_leave_in_any_callback(void **state)
{
	(void)state;
	for (how_in_callback = 0; how_in_callback < HOW_COUNT;
	     how_in_callback++) {
		for (int where = 0; where < 2; where++) {
			static struct world w;
			struct end client;

			world_init(&w);
			if (where == 0)
				w.on_open = leave_on_open;
			else
				w.on_frame = leave_on_frame;
			end_connect(&client, &w);
			run_until(&w, is_open, &client);
			for (int i = 0; i < 5; i++)
				(void)send_frame(&client, 1, 0, 5000);
			run_until(&w, is_closed, &client);
			run_until(&w, is_closed, &w.server[0]);
			assert_int_equal(w.server[0].frames, where);
			assert_int_equal(w.server[0].rc, SAT_E_BUSY);
			world_fini(&w);
		}
	}
}

/* A renewed certificate is shown to those who come, and cuts nobody off. */
static void certificates_change_while_links_live(void **state)
{
	static struct world w;
	struct sat_tls_ctx *next = test_server_ctx(&org);
	struct end one, two;

	(void)state;
	world_init(&w);
	end_connect(&one, &w);
	(void)run_open(&one);
	sat_listener_set_ctx(w.listener, next);
	sat_tls_ctx_free(next);
	end_connect(&two, &w);
	(void)run_open(&two);
	assert_int_equal(send_frame(&one, 1, 0, 10), SAT_OK);
	run_until(&w, one_frame, &w.server[0]);
	sat_link_close(one.link, SAT_OK, NULL);
	sat_link_close(two.link, SAT_OK, NULL);
	run_until(&w, is_closed, &one);
	run_until(&w, is_closed, &two);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(every_address_of_a_name_is_tried),
		cmocka_unit_test(listen_errors_are_told_apart),
		cmocka_unit_test(leaving_is_safe_at_every_moment),
		cmocka_unit_test(a_good_bye_may_be_cut_short),
		cmocka_unit_test(an_owner_may_leave_in_any_callback),
		cmocka_unit_test(certificates_change_while_links_live),
	};

	return cmocka_run_group_tests(tests, link_set_up, link_tear_down);
}
