#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/pki.h"

static struct test_pki org;
static struct test_device device;

static int set_up(void **state)
{
	(void)state;
	test_pki_init(&org, 0);
	test_device_init(&device, &org, 7, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_device_fini(&device);
	test_pki_fini(&org);
	return 0;
}

static void certificates_say_who_and_how_long(void **state)
{
	const int64_t day_ms = 86400000, now = test_now_ms();
	struct sat_id user = test_user();
	struct sat_cert_info info;
	struct sat_err err;

	(void)state;
	assert_int_equal(
		sat_pki_cert_info(sat_buf_peek(&device.cert), &info, &err),
		SAT_OK);
	assert_true(info.device);
	assert_int_equal(info.identity.replica, 7);
	assert_memory_equal(&info.identity.user, &user, sizeof user);
	assert_in_range(info.not_after_ms, now + 89 * day_ms,
			now + 90 * day_ms);
	assert_in_range(info.not_before_ms, now - 2 * day_ms, now);

	assert_int_equal(sat_pki_cert_info(sat_buf_peek(&org.ca), &info, &err),
			 SAT_OK);
	assert_false(info.device);
	assert_in_range(info.not_after_ms, now + 3649 * day_ms,
			now + 3650 * day_ms);
	assert_int_equal(
		sat_pki_cert_info(sat_buf_peek(&org.server), &info, &err),
		SAT_OK);
	assert_false(info.device);
}

static void a_device_does_not_outlive_its_ca(void **state)
{
	const int64_t day_ms = 86400000;
	const int64_t late = test_now_ms() + 3600 * day_ms;
	struct sat_cert_info ca, leaf;
	struct test_device d;
	struct sat_err err;

	(void)state;
	test_device_init(&d, &org, 8, late);
	assert_int_equal(sat_pki_cert_info(sat_buf_peek(&org.ca), &ca, &err),
			 SAT_OK);
	assert_int_equal(sat_pki_cert_info(sat_buf_peek(&d.cert), &leaf, &err),
			 SAT_OK);
	assert_int_equal(leaf.not_after_ms, ca.not_after_ms);
	test_device_fini(&d);
}

static void key_and_certificate_are_told_apart(void **state)
{
	struct sat_err err;

	(void)state;
	assert_int_equal(sat_pki_cert_fits(sat_buf_peek(&device.cert),
					   sat_buf_peek(&device.key), &err),
			 SAT_OK);
	assert_int_equal(sat_pki_cert_fits(sat_buf_peek(&device.cert),
					   sat_buf_peek(&org.ca_key), &err),
			 SAT_E_INVAL);
}

/* One changed byte anywhere in a request must not give a certificate to a key
 * that nobody has shown to hold. */
static void a_changed_request_is_refused_at_every_byte(void **state)
{
	uint8_t spki[SAT_SHA256_BYTES];
	struct sat_buf csr;
	struct sat_err err;
	struct sat_slice all;

	(void)state;
	sat_buf_init(&csr, SAT_CSR_BYTES_MAX);
	assert_int_equal(sat_pki_csr(sat_buf_peek(&device.key), &csr, &err),
			 SAT_OK);
	all = sat_buf_peek(&csr);
	assert_int_equal(sat_pki_csr_check(all, spki, &err), SAT_OK);
	for (size_t i = 0; i < all.len; i++) {
		csr.base[csr.head + i] ^= 0x01;
		assert_int_equal(sat_pki_csr_check(all, spki, &err),
				 SAT_E_PROTO);
		csr.base[csr.head + i] ^= 0x01;
		assert_int_equal(
			sat_pki_csr_check((struct sat_slice){ all.ptr, i },
					  spki, &err),
			SAT_E_PROTO);
	}
	assert_int_equal(sat_buf_append(&csr, "x", 1), SAT_OK);
	assert_int_equal(sat_pki_csr_check(sat_buf_peek(&csr), spki, &err),
			 SAT_E_PROTO);
	sat_buf_fini(&csr);
}

static void possession_is_proved_over_these_bytes_only(void **state)
{
	struct sat_slice said = sat_slice_str("exporter bytes");
	struct sat_slice other = sat_slice_str("exporter bytez");
	struct sat_buf csr, sig, strange;
	struct sat_err err;

	(void)state;
	sat_buf_init(&csr, SAT_CSR_BYTES_MAX);
	sat_buf_init(&sig, 256);
	sat_buf_init(&strange, 256);
	assert_int_equal(sat_pki_csr(sat_buf_peek(&device.key), &csr, &err),
			 SAT_OK);
	assert_int_equal(
		sat_pki_sign(sat_buf_peek(&device.key), said, &sig, &err),
		SAT_OK);
	assert_int_equal(
		sat_pki_sign(sat_buf_peek(&org.ca_key), said, &strange, &err),
		SAT_OK);
	assert_int_equal(sat_pki_csr_verify(sat_buf_peek(&csr), said,
					    sat_buf_peek(&sig), &err),
			 SAT_OK);
	assert_int_equal(sat_pki_csr_verify(sat_buf_peek(&csr), other,
					    sat_buf_peek(&sig), &err),
			 SAT_E_DENIED);
	assert_int_equal(sat_pki_csr_verify(sat_buf_peek(&csr), said,
					    sat_buf_peek(&strange), &err),
			 SAT_E_DENIED);
	assert_int_equal(sat_pki_csr_verify(sat_buf_peek(&csr), said,
					    (struct sat_slice){ NULL, 0 },
					    &err),
			 SAT_E_DENIED);
	assert_int_equal(sat_pki_cert_verify(sat_buf_peek(&device.cert), said,
					     sat_buf_peek(&sig), &err),
			 SAT_OK);
	assert_int_equal(sat_pki_cert_verify(sat_buf_peek(&org.server), said,
					     sat_buf_peek(&sig), &err),
			 SAT_E_DENIED);
	sat_buf_fini(&csr);
	sat_buf_fini(&sig);
	sat_buf_fini(&strange);
}

static void forms_convert_both_ways(void **state)
{
	struct sat_buf der, pem;
	struct sat_err err;

	(void)state;
	sat_buf_init(&der, SAT_PEM_BYTES_MAX);
	sat_buf_init(&pem, SAT_PEM_BYTES_MAX);
	assert_int_equal(
		sat_pki_cert_to_der(sat_buf_peek(&org.server), &der, &err),
		SAT_OK);
	assert_int_equal(sat_pki_cert_to_pem(sat_buf_peek(&der), &pem, &err),
			 SAT_OK);
	assert_true(
		sat_slice_equal(sat_buf_peek(&pem), sat_buf_peek(&org.server)));
	/* Bytes behind the certificate are not ours to drop silently. */
	assert_int_equal(sat_buf_append(&der, "x", 1), SAT_OK);
	assert_int_equal(sat_pki_cert_to_pem(sat_buf_peek(&der), &pem, &err),
			 SAT_E_INVAL);
	sat_buf_fini(&der);
	sat_buf_fini(&pem);
}

static void bad_names_and_texts_are_refused(void **state)
{
	static const char *const bad_hosts[] = { "",     "a b",  "*.org",
						 "a..b", ".org", "x\ny" };
	struct sat_ca ca = { sat_buf_peek(&org.ca), sat_buf_peek(&org.ca_key) };
	struct sat_ca mixed = { sat_buf_peek(&org.ca),
				sat_buf_peek(&org.server_key) };
	struct sat_buf out;
	struct sat_err err;
	char org65[66];

	(void)state;
	sat_buf_init(&out, SAT_PEM_BYTES_MAX);
	for (size_t i = 0; i < SAT_COUNT_OF(bad_hosts); i++)
		assert_int_equal(
			sat_pki_server_cert(ca, sat_buf_peek(&org.server_key),
					    &bad_hosts[i], 1, test_now_ms(),
					    &out, &err),
			SAT_E_INVAL);
	memset(org65, 'o', 65);
	org65[65] = '\0';
	assert_int_equal(sat_pki_ca_new(sat_buf_peek(&org.ca_key), org65,
					test_now_ms(), &out, &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_pki_ca_new(sat_buf_peek(&org.ca_key), "",
					test_now_ms(), &out, &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_pki_ca_new(sat_slice_str("no key"), "Org",
					test_now_ms(), &out, &err),
			 SAT_E_INVAL);
	assert_int_equal(
		sat_pki_server_cert(mixed, sat_buf_peek(&org.server_key), NULL,
				    0, test_now_ms(), &out, &err),
		SAT_E_INVAL);
	assert_true(out.len == 0); /* nothing is appended on failure */
	sat_buf_fini(&out);
}

static void codes_have_160_bits_and_one_form(void **state)
{
	char one[SAT_TOKEN_CHARS + 1], two[SAT_TOKEN_CHARS + 1];
	uint8_t h1[SAT_SHA256_BYTES], h2[SAT_SHA256_BYTES];
	struct sat_err err;

	(void)state;
	assert_int_equal(sat_token_new(one, &err), SAT_OK);
	assert_int_equal(sat_token_new(two, &err), SAT_OK);
	assert_int_equal(strlen(one), SAT_TOKEN_CHARS);
	assert_int_equal(strspn(one, "abcdefghijklmnopqrstuvwxyz234567"),
			 SAT_TOKEN_CHARS);
	assert_string_not_equal(one, two);
	assert_int_equal(sat_token_hash(sat_slice_str(one), h1, &err), SAT_OK);
	for (size_t i = 0; i < SAT_TOKEN_CHARS; i++)
		if (one[i] >= 'a' && one[i] <= 'z')
			one[i] = (char)(one[i] - 32);
	assert_int_equal(sat_token_hash(sat_slice_str(one), h2, &err), SAT_OK);
	assert_true(sat_secret_equal(h1, h2, sizeof h1));
	assert_int_equal(sat_token_hash(sat_slice_str(two), h2, &err), SAT_OK);
	assert_false(sat_secret_equal(h1, h2, sizeof h1));
	one[3] = '1';
	assert_int_equal(sat_token_hash(sat_slice_str(one), h1, &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_token_hash(sat_slice_str("short"), h1, &err),
			 SAT_E_INVAL);
}

/* 200 codes of 32 letters: a letter that never comes means lost bits (the odds
 * against it are 10^87 to one). */
static void codes_use_every_letter(void **state)
{
	char code[SAT_TOKEN_CHARS + 1], seen[256] = { 0 };
	struct sat_err err;
	int letters = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(sat_token_new(code, &err), SAT_OK);
		for (size_t k = 0; k < SAT_TOKEN_CHARS; k++)
			seen[(unsigned char)code[k]] = 1;
	}
	for (int i = 0; i < 256; i++)
		letters += seen[i];
	assert_int_equal(letters, 32);
}

static void sha256_is_sha256(void **state)
{
	static const uint8_t abc[] = { 0xba, 0x78, 0x16, 0xbf,
				       0x8f, 0x01, 0xcf, 0xea };
	uint8_t out[SAT_SHA256_BYTES];
	struct sat_err err;

	(void)state;
	assert_int_equal(sat_sha256(sat_slice_str("abc"), out, &err), SAT_OK);
	assert_memory_equal(out, abc, sizeof abc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_say_who_and_how_long),
		cmocka_unit_test(a_device_does_not_outlive_its_ca),
		cmocka_unit_test(key_and_certificate_are_told_apart),
		cmocka_unit_test(a_changed_request_is_refused_at_every_byte),
		cmocka_unit_test(possession_is_proved_over_these_bytes_only),
		cmocka_unit_test(forms_convert_both_ways),
		cmocka_unit_test(bad_names_and_texts_are_refused),
		cmocka_unit_test(codes_have_160_bits_and_one_form),
		cmocka_unit_test(codes_use_every_letter),
		cmocka_unit_test(sha256_is_sha256),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
