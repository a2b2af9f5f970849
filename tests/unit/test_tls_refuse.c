/* What must not come through. Where our own client cannot do wrong, a bare
 * OpenSSL client talks to our server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tests/unit/tls_pair.h"

static X509 *read_cert(const struct sat_buf *pem)
{
	struct sat_slice s = sat_buf_peek(pem);
	BIO *bio = BIO_new_mem_buf(s.ptr, (int)s.len);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(cert);
	return cert;
}

static EVP_PKEY *read_key(const struct sat_buf *pem)
{
	struct sat_slice s = sat_buf_peek(pem);
	BIO *bio = BIO_new_mem_buf(s.ptr, (int)s.len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(key);
	return key;
}

/* The certificate with other names, signed anew by org's CA. */
static void rename_cert(const struct sat_buf *from, const char *names,
			struct sat_buf *ret_pem)
{
	X509 *cert = read_cert(from);
	EVP_PKEY *ca_key = read_key(&org.ca_key);
	BIO *bio = BIO_new(BIO_s_mem());
	X509_EXTENSION *ext;
	char *text;
	long len;

	X509_EXTENSION_free(X509_delete_ext(
		cert, X509_get_ext_by_NID(cert, NID_subject_alt_name, -1)));
	if (names != NULL) {
		ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
					  names);
		assert_non_null(ext);
		assert_int_equal(X509_add_ext(cert, ext, -1), 1);
		X509_EXTENSION_free(ext);
	}
	assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
	len = BIO_get_mem_data(bio, &text);
	sat_buf_init(ret_pem, SAT_PEM_BYTES_MAX);
	assert_int_equal(sat_buf_append(ret_pem, text, (size_t)len), SAT_OK);
	BIO_free(bio);
	EVP_PKEY_free(ca_key);
	X509_free(cert);
}

/* The server must refuse, and the client must learn that it was refused. */
static void assert_refused(struct sat_tls_ctx *client, enum sat_alpn alpn,
			   int server_rc, int client_rc, const char *why)
{
	struct pair p;

	pair_init(&p, client, server_ctx, alpn);
	converse(&p, WIRE_MAX);
	assert_int_equal(p.server.rc, server_rc);
	assert_int_equal(sat_tls_state(p.server.tls), SAT_TLS_FAILED);
	assert_int_equal(p.client.rc, client_rc);
	assert_int_equal(sat_tls_state(p.client.tls), SAT_TLS_FAILED);
	if (strstr(p.server.err.msg, why) == NULL)
		fail_msg("'%s' does not say '%s'", p.server.err.msg, why);
	/* A failed one stays failed. */
	assert_int_equal(sat_tls_seal(p.server.tls, sat_slice_str("x"),
				      &p.server.wire, &p.server.err),
			 SAT_E_CLOSED);
	pair_fini(&p);
}

static void a_device_of_another_ca_is_refused(void **state)
{
	struct sat_tls_ctx *ctx = NULL;
	struct sat_err err;

	(void)state;
	/* It trusts our server, but shows a certificate of the other CA. */
	assert_int_equal(sat_tls_client_ctx(sat_buf_peek(&org.ca),
					    sat_buf_peek(&stranger.cert),
					    sat_buf_peek(&stranger.key), NULL,
					    &ctx, &err),
			 SAT_OK);
	assert_refused(ctx, SAT_ALPN_SYNC, SAT_E_DENIED, SAT_E_DENIED,
		       "certificate verify failed");
	sat_tls_ctx_free(ctx);
}

static void no_certificate_is_refused(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, NULL);

	(void)state;
	assert_refused(ctx, SAT_ALPN_SYNC, SAT_E_DENIED, SAT_E_DENIED,
		       "did not return a certificate");
	sat_tls_ctx_free(ctx);
}

static void an_expired_device_is_refused(void **state)
{
	const int64_t day_ms = 86400000;
	struct test_device old, early;
	struct sat_tls_ctx *ctx;

	(void)state;
	test_device_init(&old, &org, 7, test_now_ms() - 91 * day_ms);
	ctx = test_client_ctx(&org, &old);
	assert_refused(ctx, SAT_ALPN_SYNC, SAT_E_DENIED, SAT_E_DENIED,
		       "expired");
	sat_tls_ctx_free(ctx);
	test_device_fini(&old);

	test_device_init(&early, &org, 7, test_now_ms() + 2 * day_ms);
	ctx = test_client_ctx(&org, &early);
	assert_refused(ctx, SAT_ALPN_SYNC, SAT_E_DENIED, SAT_E_DENIED,
		       "not yet valid");
	sat_tls_ctx_free(ctx);
	test_device_fini(&early);
}

/* A client that shows the server's own certificate and key: of our CA, but no
 * device, and not for clients. */
static void a_server_certificate_is_no_device(void **state)
{
	struct test_device as_device = { .key = org.server_key,
					 .cert = org.server };
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &as_device);

	(void)state;
	assert_refused(ctx, SAT_ALPN_SYNC, SAT_E_DENIED, SAT_E_DENIED,
		       "purpose");
	sat_tls_ctx_free(ctx);
}

/* A device that plays server towards another device. */
static void a_device_certificate_is_no_server(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct sat_tls_ctx *enrol = test_enrol_ctx(&org);
	struct sat_tls_ctx *fake = NULL;
	struct sat_err err;
	struct pair p;

	(void)state;
	assert_int_equal(sat_tls_server_ctx(sat_buf_peek(&org.ca),
					    sat_buf_peek(&device.cert),
					    sat_buf_peek(&device.key), &fake,
					    &err),
			 SAT_OK);
	pair_init(&p, ctx, fake, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	assert_int_equal(p.client.rc, SAT_E_DENIED);
	pair_fini(&p);
	pair_init(&p, enrol, fake, SAT_ALPN_ENROL);
	converse(&p, WIRE_MAX);
	assert_int_equal(p.client.rc, SAT_E_DENIED);
	pair_fini(&p);
	sat_tls_ctx_free(fake);
	sat_tls_ctx_free(enrol);
	sat_tls_ctx_free(ctx);
}

/* Of our CA, for clients, and yet nobody's: the name must be exactly one of
 * the form we issue. */
static void a_device_without_a_proper_name_is_refused(void **state)
{
#define USER "10111213-1415-1617-1819-1a1b1c1d1e1f"
	static const struct {
		const char *names;
		bool ok;
	} rows[] = {
		{ "URI:satchel:device:7:" USER, true },
		{ "URI:satchel:device:4294967295:" USER, true },
		{ "DNS:a.example,URI:satchel:device:7:" USER, true },
		{ NULL, false },
		{ "DNS:server.satchel.internal", false },
		{ "URI:satchel:device:0:" USER, false },
		{ "URI:satchel:device:07:" USER, false },
		{ "URI:satchel:device:4294967296:" USER, false },
		{ "URI:satchel:device:-7:" USER, false },
		{ "URI:satchel:device::" USER, false },
		{ "URI:satchel:device:7:", false },
		{ "URI:satchel:device:7", false },
		{ "URI:satchel:device:7:" USER "0", false },
		{ "URI:satchel:device:7:10111213141516171819", false },
		{ "URI:Satchel:device:7:" USER, false },
		{ "URI:satchel:device:7:" USER ",URI:satchel:device:8:" USER,
		  false },
		{ "URI:satchel:device:7:" USER ",URI:http://a.example/",
		  false },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct test_device d = { .key = device.key };
		struct sat_tls_ctx *ctx;
		struct pair p;

		print_message("    %s\n",
			      rows[i].names == NULL ? "" : rows[i].names);
		rename_cert(&device.cert, rows[i].names, &d.cert);
		ctx = test_client_ctx(&org, &d);
		pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
		converse(&p, WIRE_MAX);
		assert_int_equal(sat_tls_state(p.server.tls),
				 rows[i].ok ? SAT_TLS_OPEN : SAT_TLS_FAILED);
		if (!rows[i].ok) {
			assert_int_equal(p.server.rc, SAT_E_DENIED);
			assert_int_not_equal(p.client.rc, SAT_AGAIN);
		}
		pair_fini(&p);
		sat_tls_ctx_free(ctx);
		sat_buf_fini(&d.cert);
	}
}

/* Of our CA, for servers, but for another one than ours. */
static void a_server_of_another_name_is_refused(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct sat_tls_ctx *other = NULL;
	struct sat_buf cert;
	struct sat_err err;
	struct pair p;

	(void)state;
	rename_cert(&org.server, "DNS:other.satchel.internal,DNS:*.internal",
		    &cert);
	assert_int_equal(
		sat_tls_server_ctx(sat_buf_peek(&org.ca), sat_buf_peek(&cert),
				   sat_buf_peek(&org.server_key), &other, &err),
		SAT_OK);
	pair_init(&p, ctx, other, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	assert_int_equal(p.client.rc, SAT_E_DENIED);
	assert_non_null(strstr(p.client.err.msg, "ostname mismatch"));
	pair_fini(&p);
	sat_tls_ctx_free(other);
	sat_tls_ctx_free(ctx);
	sat_buf_fini(&cert);
}

static void a_server_of_another_ca_is_refused(void **state)
{
	struct sat_tls_ctx *fake = test_server_ctx(&other_org);
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct pair p;

	(void)state;
	pair_init(&p, ctx, fake, SAT_ALPN_SYNC);
	converse(&p, WIRE_MAX);
	assert_int_equal(p.client.rc, SAT_E_DENIED);
	assert_int_not_equal(sat_tls_state(p.server.tls), SAT_TLS_OPEN);
	pair_fini(&p);
	sat_tls_ctx_free(ctx);
	sat_tls_ctx_free(fake);
}

/* A bare client with a good certificate, over memory BIOs. */
static SSL *bare_client(const char *alpn_wire, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	X509 *cert = read_cert(&device.cert);
	EVP_PKEY *key = read_key(&device.key);
	SSL *ssl;

	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	if (version != 0) {
		SSL_CTX_set_min_proto_version(ctx, version);
		SSL_CTX_set_max_proto_version(ctx, version);
	}
	ssl = SSL_new(ctx);
	if (alpn_wire != NULL)
		assert_int_equal(SSL_set_alpn_protos(
					 ssl, (const unsigned char *)alpn_wire,
					 (unsigned)strlen(alpn_wire)),
				 0);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(ssl);
	SSL_CTX_free(ctx);
	X509_free(cert);
	EVP_PKEY_free(key);
	return ssl;
}

/* Let the two talk until neither has more to say. */
static void talk_to_bare(SSL *ssl, struct end *server)
{
	for (int i = 0; i < 8; i++) {
		struct sat_slice out;
		char *text;
		long n;

		ERR_clear_error();
		(void)SSL_do_handshake(ssl);
		ERR_clear_error();
		n = BIO_get_mem_data(SSL_get_wbio(ssl), &text);
		if (n > 0)
			feed_all(server, (struct sat_slice){ (uint8_t *)text,
							     (size_t)n });
		(void)BIO_reset(SSL_get_wbio(ssl));
		out = sat_buf_peek(&server->wire);
		if (out.len > 0)
			BIO_write(SSL_get_rbio(ssl), out.ptr, (int)out.len);
		sat_buf_consume(&server->wire, out.len);
	}
}

static void only_our_protocols_and_version_are_spoken(void **state)
{
	static const struct {
		const char *why, *alpn;
		int version;
		bool open;
	} rows[] = {
		{ "ours", "\x09satchel/1", 0, true },
		{ "ours behind another", "\x02h2\x09satchel/1", 0, true },
		{ "no ALPN at all", NULL, 0, false },
		{ "another protocol", "\x02h2", 0, false },
		{ "a version to come", "\x09satchel/2", 0, false },
		{ "a prefix of ours", "\x07satchel", 0, false },
		{ "TLS 1.2", "\x09satchel/1", TLS1_2_VERSION, false },
		{ "TLS 1.2, no ALPN", NULL, TLS1_2_VERSION, false },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		SSL *ssl = bare_client(rows[i].alpn, rows[i].version);
		struct end server;

		end_init(&server, server_ctx, SAT_ALPN_NONE);
		talk_to_bare(ssl, &server);
		print_message("    %s: %s\n", rows[i].why,
			      rows[i].open ? "open" : server.err.msg);
		assert_int_equal(sat_tls_state(server.tls),
				 rows[i].open ? SAT_TLS_OPEN : SAT_TLS_FAILED);
		if (!rows[i].open)
			assert_int_equal(server.rc, SAT_E_PROTO);
		end_fini(&server);
		SSL_free(ssl);
	}
}

/* Neither tickets nor anything else of a session outlives a connection. */
static void nothing_can_be_resumed(void **state)
{
	SSL *ssl = bare_client("\x09satchel/1", 0);
	struct end server;
	char byte;

	(void)state;
	end_init(&server, server_ctx, SAT_ALPN_NONE);
	talk_to_bare(ssl, &server);
	assert_int_equal(sat_tls_state(server.tls), SAT_TLS_OPEN);
	assert_true(SSL_read(ssl, &byte, 1) < 0);
	assert_int_equal(SSL_SESSION_is_resumable(SSL_get_session(ssl)), 0);
	assert_string_equal(SSL_get_version(ssl), "TLSv1.3");
	ERR_clear_error();
	end_fini(&server);
	SSL_free(ssl);
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void garbage_is_refused(void **state)
{
	uint32_t seed = 20260101;
	uint8_t junk[512];

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct end server;

		for (size_t i = 0; i < sizeof junk; i++)
			junk[i] = (uint8_t)next_random(&seed);
		if (round % 2 == 0)
			memcpy(junk, "\x16\x03\x01\x01\x00\x01", 6);
		end_init(&server, server_ctx, SAT_ALPN_NONE);
		/* A hello may announce more than came, up to a limit. */
		for (int i = 0; i < 512 && server.rc >= 0; i++)
			feed_all(&server,
				 (struct sat_slice){ junk, sizeof junk });
		assert_int_equal(server.rc, SAT_E_PROTO);
		assert_int_equal(sat_tls_state(server.tls), SAT_TLS_FAILED);
		assert_true(server.plain.len == 0);
		end_fini(&server);
	}
}

/* One changed byte at each place of a conversation: never a wrong text, never
 * a crash, and no text at all after the change. */
static void a_changed_byte_is_noticed_wherever_it_is(void **state)
{
	struct sat_tls_ctx *ctx = test_client_ctx(&org, &device);
	struct pair p;

	(void)state;
	for (size_t at = 0; at < 1200; at += 13) {
		struct sat_slice none = { NULL, 0 };

		pair_init(&p, ctx, server_ctx, SAT_ALPN_SYNC);
		feed_all(&p.client, none);
		carry(&p.client, &p.server, WIRE_MAX);
		carry(&p.server, &p.client, WIRE_MAX);
		say(&p.client, "hello", 5);
		if (at < p.client.wire.len - p.client.wire.head) {
			p.client.wire.base[p.client.wire.head + at] ^= 0x20;
			carry(&p.client, &p.server, WIRE_MAX);
			assert_true(p.server.plain.len == 0);
		} else {
			carry(&p.client, &p.server, WIRE_MAX);
			assert_heard(&p.server, "hello", 5);
		}
		pair_fini(&p);
	}
	sat_tls_ctx_free(ctx);
}

static void a_context_needs_parts_that_fit(void **state)
{
	struct sat_tls_ctx *ctx = NULL;
	struct sat_slice none = { NULL, 0 };
	struct sat_err err;

	(void)state;
	assert_int_equal(sat_tls_server_ctx(sat_buf_peek(&org.ca),
					    sat_buf_peek(&org.server),
					    sat_buf_peek(&org.ca_key), &ctx,
					    &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_tls_server_ctx(sat_buf_peek(&other_org.ca),
					    sat_buf_peek(&org.server),
					    sat_buf_peek(&org.server_key), &ctx,
					    &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_tls_server_ctx(sat_buf_peek(&org.server),
					    sat_buf_peek(&org.server),
					    sat_buf_peek(&org.server_key), &ctx,
					    &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_tls_client_ctx(none, none, none, NULL, &ctx, &err),
			 SAT_E_INVAL);
	assert_null(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_of_another_ca_is_refused),
		cmocka_unit_test(no_certificate_is_refused),
		cmocka_unit_test(an_expired_device_is_refused),
		cmocka_unit_test(a_server_certificate_is_no_device),
		cmocka_unit_test(a_device_certificate_is_no_server),
		cmocka_unit_test(a_device_without_a_proper_name_is_refused),
		cmocka_unit_test(a_server_of_another_name_is_refused),
		cmocka_unit_test(a_server_of_another_ca_is_refused),
		cmocka_unit_test(only_our_protocols_and_version_are_spoken),
		cmocka_unit_test(nothing_can_be_resumed),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(a_changed_byte_is_noticed_wherever_it_is),
		cmocka_unit_test(a_context_needs_parts_that_fit),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
