#include "tests/lib/pki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct sat_ca ca_of(const struct test_pki *p)
{
	return (struct sat_ca){ sat_buf_peek(&p->ca),
				sat_buf_peek(&p->ca_key) };
}

int64_t test_now_ms(void)
{
	return (int64_t)time(NULL) * 1000;
}

struct sat_id test_user(void)
{
	struct sat_id id;

	for (size_t i = 0; i < sizeof id.b; i++)
		id.b[i] = (uint8_t)(0x10 + i);
	return id;
}

static void new_key(struct sat_buf *b)
{
	struct sat_err err;

	sat_buf_init(b, SAT_PEM_BYTES_MAX);
	assert_int_equal(sat_pki_key_new(b, &err), SAT_OK);
}

void test_pki_init(struct test_pki *p, int64_t now_ms)
{
	static const char *const hosts[] = { "sync.example.org", "127.0.0.1",
					     "::1" };
	struct sat_cert_info info;
	struct sat_err err;

	if (now_ms == 0)
		now_ms = test_now_ms();
	new_key(&p->ca_key);
	new_key(&p->server_key);
	sat_buf_init(&p->ca, SAT_PEM_BYTES_MAX);
	sat_buf_init(&p->server, SAT_PEM_BYTES_MAX);
	assert_int_equal(sat_pki_ca_new(sat_buf_peek(&p->ca_key), "Test Org",
					now_ms, &p->ca, &err),
			 SAT_OK);
	assert_int_equal(sat_pki_server_cert(
				 ca_of(p), sat_buf_peek(&p->server_key), hosts,
				 SAT_COUNT_OF(hosts), now_ms, &p->server, &err),
			 SAT_OK);
	assert_int_equal(sat_pki_cert_info(sat_buf_peek(&p->ca), &info, &err),
			 SAT_OK);
	memcpy(p->pin, info.spki, sizeof p->pin);
}

void test_pki_fini(struct test_pki *p)
{
	sat_buf_fini(&p->ca_key);
	sat_buf_fini(&p->ca);
	sat_buf_fini(&p->server_key);
	sat_buf_fini(&p->server);
}

void test_device_init(struct test_device *d, const struct test_pki *p,
		      uint32_t replica, int64_t now_ms)
{
	struct sat_identity who = { .replica = replica, .user = test_user() };
	struct sat_buf csr, der;
	struct sat_err err;

	new_key(&d->key);
	sat_buf_init(&d->cert, SAT_PEM_BYTES_MAX);
	sat_buf_init(&csr, SAT_CSR_BYTES_MAX);
	sat_buf_init(&der, SAT_PEM_BYTES_MAX);
	assert_int_equal(sat_pki_csr(sat_buf_peek(&d->key), &csr, &err),
			 SAT_OK);
	assert_int_equal(
		sat_pki_device_cert(ca_of(p), sat_buf_peek(&csr), &who,
				    now_ms == 0 ? test_now_ms() : now_ms, &der,
				    &err),
		SAT_OK);
	assert_int_equal(
		sat_pki_cert_to_pem(sat_buf_peek(&der), &d->cert, &err),
		SAT_OK);
	sat_buf_fini(&csr);
	sat_buf_fini(&der);
}

void test_device_fini(struct test_device *d)
{
	sat_buf_fini(&d->key);
	sat_buf_fini(&d->cert);
}

struct sat_tls_ctx *test_server_ctx(const struct test_pki *p)
{
	struct sat_tls_ctx *ctx = NULL;
	struct sat_err err;

	assert_int_equal(sat_tls_server_ctx(
				 sat_buf_peek(&p->ca), sat_buf_peek(&p->server),
				 sat_buf_peek(&p->server_key), &ctx, &err),
			 SAT_OK);
	return ctx;
}

struct sat_tls_ctx *test_client_ctx(const struct test_pki *p,
				    const struct test_device *d)
{
	struct sat_slice none = { NULL, 0 };
	struct sat_tls_ctx *ctx = NULL;
	struct sat_err err;

	assert_int_equal(
		sat_tls_client_ctx(sat_buf_peek(&p->ca),
				   d == NULL ? none : sat_buf_peek(&d->cert),
				   d == NULL ? none : sat_buf_peek(&d->key),
				   NULL, &ctx, &err),
		SAT_OK);
	return ctx;
}

struct sat_tls_ctx *test_enrol_ctx(const struct test_pki *p)
{
	struct sat_slice none = { NULL, 0 };
	struct sat_tls_ctx *ctx = NULL;
	struct sat_err err;

	assert_int_equal(
		sat_tls_client_ctx(none, none, none, p->pin, &ctx, &err),
		SAT_OK);
	return ctx;
}
