#include "tests/unit/tls_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

struct test_pki org, other_org;
struct test_device device, stranger;
struct sat_tls_ctx *server_ctx;

int set_up(void **state)
{
	(void)state;
	test_pki_init(&org, 0);
	test_pki_init(&other_org, 0);
	test_device_init(&device, &org, 7, 0);
	test_device_init(&stranger, &other_org, 7, 0);
	server_ctx = test_server_ctx(&org);
	return 0;
}

int tear_down(void **state)
{
	(void)state;
	sat_tls_ctx_free(server_ctx);
	test_device_fini(&device);
	test_device_fini(&stranger);
	test_pki_fini(&org);
	test_pki_fini(&other_org);
	return 0;
}

void end_init(struct end *e, struct sat_tls_ctx *ctx, enum sat_alpn alpn)
{
	memset(e, 0, sizeof *e);
	sat_buf_init(&e->plain, WIRE_MAX);
	sat_buf_init(&e->wire, WIRE_MAX);
	assert_int_equal(sat_tls_new(ctx, alpn, &e->tls, &e->err), SAT_OK);
}

void end_fini(struct end *e)
{
	sat_tls_free(e->tls);
	sat_buf_fini(&e->plain);
	sat_buf_fini(&e->wire);
}

void pair_init(struct pair *p, struct sat_tls_ctx *client,
	       struct sat_tls_ctx *server, enum sat_alpn alpn)
{
	end_init(&p->client, client, alpn);
	end_init(&p->server, server, SAT_ALPN_NONE);
}

void pair_fini(struct pair *p)
{
	end_fini(&p->client);
	end_fini(&p->server);
}

void feed_all(struct end *e, struct sat_slice in)
{
	size_t used;

	if (sat_tls_state(e->tls) == SAT_TLS_FAILED)
		return;
	do {
		e->rc = sat_tls_feed(e->tls, in, &used, &e->plain, &e->wire,
				     &e->err);
		if (used > 0)
			in.ptr += used;
		in.len -= used;
	} while (e->rc == SAT_OK);
	/* Nobody leaves errors behind for other connections. */
	assert_int_equal(ERR_peek_error(), 0);
	if (e->rc == SAT_AGAIN)
		assert_int_equal(in.len, 0);
}

void carry(struct end *from, struct end *to, size_t step)
{
	while (from->wire.len > from->wire.head) {
		struct sat_slice s = sat_buf_peek(&from->wire);

		if (s.len > step)
			s.len = step;
		feed_all(to, s);
		sat_buf_consume(&from->wire, s.len);
	}
}

void converse(struct pair *p, size_t step)
{
	struct sat_slice none = { NULL, 0 };

	feed_all(&p->client, none);
	for (int i = 0; i < 8; i++) {
		carry(&p->client, &p->server, step);
		carry(&p->server, &p->client, step);
	}
}

void say(struct end *e, const void *bytes, size_t len)
{
	assert_int_equal(sat_tls_seal(e->tls, (struct sat_slice){ bytes, len },
				      &e->wire, &e->err),
			 SAT_OK);
}

void assert_heard(struct end *e, const void *bytes, size_t len)
{
	struct sat_slice s = sat_buf_peek(&e->plain);

	assert_int_equal(s.len, len);
	assert_memory_equal(s.ptr, bytes, len);
	sat_buf_consume(&e->plain, len);
}
