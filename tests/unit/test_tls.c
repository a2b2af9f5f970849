#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/tls_pair.h"

static void both_sides_know_each_other(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct sat_id user = test_user();
	struct sat_cert_info info;
	struct sat_peer peer;
	struct pair p;

	(void)state;
	pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
	assert_int_equal(sat_tls_peer(p.server.tls, &peer, &p.server.err),
			 SAT_E_CLOSED);
	converse(&p, WIRE_MAX);
	assert_int_equal(sat_tls_state(p.client.tls), SAT_TLS_OPEN);
	assert_int_equal(sat_tls_state(p.server.tls), SAT_TLS_OPEN);
	assert_int_equal(sat_tls_alpn(p.server.tls), SAT_ALPN_SYNC);
	assert_int_equal(sat_tls_alpn(p.client.tls), SAT_ALPN_SYNC);

	assert_int_equal(sat_tls_peer(p.server.tls, &peer, &p.server.err),
			 SAT_OK);
	assert_true(peer.certified);
	assert_int_equal(peer.identity.replica, 7);
	assert_memory_equal(&peer.identity.user, &user, sizeof user);
	assert_int_equal(sat_pki_cert_info(sat_buf_peek(&device.cert), &info,
					   &p.server.err),
			 SAT_OK);
	assert_memory_equal(peer.spki, info.spki, sizeof peer.spki);
	assert_int_equal(peer.not_after_ms, info.not_after_ms);
	assert_int_equal(sat_tls_peer(p.client.tls, &peer, &p.client.err),
			 SAT_OK);
	assert_true(peer.certified);
	assert_int_equal(peer.identity.replica, 0); /* a server is no device */
	pair_fini(&p);
	sat_tls_ctx_free(ctx);
}

/* Every split of the whole conversation: one cut at each offset, and all in
 * single bytes. */
static void bytes_may_come_in_any_pieces(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct pair p;

	(void)state;
	for (size_t step = 1; step < 1400; step += step < 40 ? 1 : 37) {
		pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
		converse(&p, step);
		assert_int_equal(sat_tls_state(p.server.tls), SAT_TLS_OPEN);
		say(&p.client, "hello", 5);
		say(&p.server, "world", 5);
		converse(&p, step);
		assert_heard(&p.server, "hello", 5);
		assert_heard(&p.client, "world", 5);
		pair_fini(&p);
	}
	sat_tls_ctx_free(ctx);
}

static void large_texts_pass_whole(void **state)
{
	static uint8_t text[300000];
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct pair p;

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)(i * 31 >> 3);
	pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	say(&p.client, text, sizeof text);
	/* The handshake's last flight is gone: only records of ours now, none
	 * of which holds more than 4 KiB of text. */
	for (struct sat_slice w = sat_buf_peek(&p.client.wire); w.len > 5;) {
		size_t len = (size_t)w.ptr[3] << 8 | w.ptr[4];

		assert_true(len <= SAT_TLS_RECORD_BYTES + 17);
		w.ptr += 5 + len;
		w.len -= 5 + len;
	}
	converse(&p, 65536);
	assert_heard(&p.server, text, sizeof text);
	pair_fini(&p);
	sat_tls_ctx_free(ctx);
}

static void feed_keeps_to_its_budget(void **state)
{
	static uint8_t text[100000];
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	size_t used, before;
	struct sat_slice in;
	struct pair p;
	int rc;

	(void)state;
	pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	say(&p.client, text, sizeof text);
	in = sat_buf_peek(&p.client.wire);
	do {
		before = p.server.plain.len;
		rc = sat_tls_feed(p.server.tls, in, &used, &p.server.plain,
				  &p.server.wire, &p.server.err);
		assert_true(rc == SAT_OK || rc == SAT_AGAIN);
		assert_true(p.server.plain.len - before <= 20 * 1024);
		if (used > 0)
			in.ptr += used;
		in.len -= used;
	} while (rc == SAT_OK);
	assert_heard(&p.server, text, sizeof text);
	pair_fini(&p);
	sat_tls_ctx_free(ctx);
}

static void enrolment_needs_no_certificate_but_the_right_pin(void **state)
{
	struct sat_tls_ctx *ctx = test_enrol_ctx(&org);
	struct sat_tls_ctx *wrong = test_enrol_ctx(&other_org);
	uint8_t a[SAT_TLS_EXPORT_BYTES], b[SAT_TLS_EXPORT_BYTES];
	struct sat_peer peer;
	struct pair p;

	(void)state;
	pair_init(&p, ctx, server_ctx, SAT_ALPN_ENROL);
	assert_int_equal(sat_tls_export(p.client.tls, a, &p.client.err),
			 SAT_E_CLOSED);
	converse(&p, WIRE_MAX);
	assert_int_equal(sat_tls_state(p.client.tls), SAT_TLS_OPEN);
	assert_int_equal(sat_tls_alpn(p.server.tls), SAT_ALPN_ENROL);
	assert_int_equal(sat_tls_peer(p.server.tls, &peer, &p.server.err),
			 SAT_OK);
	assert_false(peer.certified);
	assert_int_equal(sat_tls_export(p.client.tls, a, &p.client.err),
			 SAT_OK);
	assert_int_equal(sat_tls_export(p.server.tls, b, &p.server.err),
			 SAT_OK);
	assert_memory_equal(a, b, sizeof a);
	pair_fini(&p);

	/* Other connections export other bytes: a proof cannot be replayed. */
	pair_init(&p, ctx, server_ctx, SAT_ALPN_ENROL);
	converse(&p, WIRE_MAX);
	assert_int_equal(sat_tls_export(p.client.tls, b, &p.client.err),
			 SAT_OK);
	assert_memory_not_equal(a, b, sizeof a);
	pair_fini(&p);

	pair_init(&p, wrong, server_ctx, SAT_ALPN_ENROL);
	converse(&p, WIRE_MAX);
	assert_int_equal(p.client.rc, SAT_E_DENIED);
	assert_int_not_equal(sat_tls_state(p.server.tls), SAT_TLS_OPEN);
	assert_int_equal(p.server.rc, SAT_E_DENIED); /* our alert */
	pair_fini(&p);
	sat_tls_ctx_free(ctx);
	sat_tls_ctx_free(wrong);
}

/* The clock of a device may be years off; its server's dates are not its
 * business. */
static void a_client_does_not_judge_the_servers_dates(void **state)
{
	const int64_t years11 = (int64_t)11 * 365 * 86400000;
	struct test_pki old;
	struct sat_tls_ctx *server, *enrol;
	struct pair p;

	(void)state;
	test_pki_init(&old, test_now_ms() - years11);
	server = test_server_ctx(&old);
	enrol = test_enrol_ctx(&old);
	pair_init(&p, enrol, server, SAT_ALPN_ENROL);
	converse(&p, WIRE_MAX);
	assert_int_equal(sat_tls_state(p.client.tls), SAT_TLS_OPEN);
	pair_fini(&p);
	sat_tls_ctx_free(enrol);
	sat_tls_ctx_free(server);
	test_pki_fini(&old);
}

/* Two CAs in the bundle: devices of both come in, as a roll-over needs. */
static void a_bundle_trusts_each_of_its_cas(void **state)
{
	struct sat_tls_ctx *both = NULL, *old, *new = NULL;
	struct sat_slice ca = sat_buf_peek(&other_org.ca);
	struct sat_buf bundle;
	struct sat_err err;
	struct pair p;

	(void)state;
	sat_buf_init(&bundle, SAT_PEM_BYTES_MAX);
	assert_int_equal(sat_buf_append(&bundle, ca.ptr, ca.len), SAT_OK);
	ca = sat_buf_peek(&org.ca);
	assert_int_equal(sat_buf_append(&bundle, ca.ptr, ca.len), SAT_OK);
	assert_int_equal(sat_tls_server_ctx(sat_buf_peek(&bundle),
					    sat_buf_peek(&org.server),
					    sat_buf_peek(&org.server_key),
					    &both, &err),
			 SAT_OK);
	old = test_client_ctx(&org, &device);
	assert_int_equal(sat_tls_client_ctx(sat_buf_peek(&bundle),
					    sat_buf_peek(&stranger.cert),
					    sat_buf_peek(&stranger.key), NULL,
					    &new, &err),
			 SAT_OK);
	pair_init(&p, old, both, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	assert_int_equal(sat_tls_state(p.server.tls), SAT_TLS_OPEN);
	pair_fini(&p);
	pair_init(&p, new, both, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	assert_int_equal(sat_tls_state(p.server.tls), SAT_TLS_OPEN);
	pair_fini(&p);
	sat_tls_ctx_free(old);
	sat_tls_ctx_free(new);
	sat_tls_ctx_free(both);
	sat_buf_fini(&bundle);
}

static void an_end_inside_a_record_is_seen(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct sat_slice record;
	struct pair p;

	(void)state;
	pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	assert_false(sat_tls_inside_record(p.server.tls));
	say(&p.client, "hello", 5);
	record = sat_buf_peek(&p.client.wire);
	feed_all(&p.server, (struct sat_slice){ record.ptr, record.len - 1 });
	assert_int_equal(p.server.rc, SAT_AGAIN);
	assert_true(p.server.plain.len == 0);
	assert_true(sat_tls_inside_record(p.server.tls));
	feed_all(&p.server,
		 (struct sat_slice){ record.ptr + record.len - 1, 1 });
	assert_heard(&p.server, "hello", 5);
	assert_false(sat_tls_inside_record(p.server.tls));
	pair_fini(&p);
	sat_tls_ctx_free(ctx);
}

static void good_bye_is_said_once_and_understood(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct pair p;
	size_t len;

	(void)state;
	pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	say(&p.client, "last", 4);
	sat_tls_finish(p.client.tls, &p.client.wire);
	len = p.client.wire.len;
	sat_tls_finish(p.client.tls, &p.client.wire);
	assert_int_equal(p.client.wire.len, len);
	assert_int_equal(sat_tls_seal(p.client.tls, sat_slice_str("more"),
				      &p.client.wire, &p.client.err),
			 SAT_E_CLOSED);
	carry(&p.client, &p.server, WIRE_MAX);
	assert_heard(&p.server, "last", 4);
	assert_int_equal(sat_tls_state(p.server.tls), SAT_TLS_PEER_DONE);
	/* The other direction still works. */
	say(&p.server, "bye", 3);
	carry(&p.server, &p.client, WIRE_MAX);
	assert_heard(&p.client, "bye", 3);
	pair_fini(&p);
	sat_tls_ctx_free(ctx);
}

static void full_buffers_end_a_connection_cleanly(void **state)
{
	static uint8_t text[20000];
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct sat_buf small;
	struct pair p;

	(void)state;
	sat_buf_init(&small, 8192);
	pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	assert_int_equal(sat_tls_seal(p.client.tls,
				      (struct sat_slice){ text, sizeof text },
				      &small, &p.client.err),
			 SAT_E_LIMIT);
	assert_int_equal(sat_tls_state(p.client.tls), SAT_TLS_FAILED);
	say(&p.server, text, sizeof text);
	pair_fini(&p);
	sat_buf_fini(&small);
	sat_tls_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_know_each_other),
		cmocka_unit_test(bytes_may_come_in_any_pieces),
		cmocka_unit_test(large_texts_pass_whole),
		cmocka_unit_test(feed_keeps_to_its_budget),
		cmocka_unit_test(
			enrolment_needs_no_certificate_but_the_right_pin),
		cmocka_unit_test(a_client_does_not_judge_the_servers_dates),
		cmocka_unit_test(a_bundle_trusts_each_of_its_cas),
		cmocka_unit_test(an_end_inside_a_record_is_seen),
		cmocka_unit_test(good_bye_is_said_once_and_understood),
		cmocka_unit_test(full_buffers_end_a_connection_cleanly),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
