/* pki.h - a small organisation for tests: CA, server and device certificates.
 * Every function fails the test when it cannot do its work. */
#ifndef SAT_TESTS_PKI_H
#define SAT_TESTS_PKI_H

#include "common/tls.h"

struct test_pki {
	struct sat_buf ca_key, ca, server_key, server;
	uint8_t pin[SAT_SHA256_BYTES]; /* of the CA's public key */
};

/* A device's key and certificate, both PEM. */
struct test_device {
	struct sat_buf key, cert;
};

/* Certificates are issued as of now_ms (ms UTC); 0 is the present. */
void test_pki_init(struct test_pki *p, int64_t now_ms);
void test_pki_fini(struct test_pki *p);

void test_device_init(struct test_device *d, const struct test_pki *p,
		      uint32_t replica, int64_t now_ms);
void test_device_fini(struct test_device *d);

/* The user that every device of the tests belongs to. */
struct sat_id test_user(void);

int64_t test_now_ms(void);

struct sat_tls_ctx *test_server_ctx(const struct test_pki *p);
struct sat_tls_ctx *test_client_ctx(const struct test_pki *p,
				    const struct test_device *d);
struct sat_tls_ctx *test_enrol_ctx(const struct test_pki *p);

#endif
