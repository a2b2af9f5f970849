#include "common/pki.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/pki_x509.h"
#include "common/text.h"

/* A SubjectPublicKeyInfo of a named P-256 curve with an uncompressed point is
 * always this long in DER. */
enum { USUAL_SPKI_BYTES = 91, CERTS_MAX = 16 };

#define URI_PREFIX "satchel:device:"

void sat_x509_start(void)
{
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

int sat_x509_fail(struct sat_err *err, int rc, const char *op, const char *what)
{
	unsigned long code = ERR_peek_error();
	const char *why = ERR_reason_error_string(code);

	ERR_clear_error();
	if (code != 0 && ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
		rc = SAT_E_NOMEM;
	if (why == NULL)
		return sat_err_set(err, rc, 0, op, "%s", what);
	return sat_err_set(err, rc, 0, op, "%s: %s", what, why);
}

/* Private keys are never encrypted here; without this OpenSSL would ask a
 * terminal for a password. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static int open_pem(struct sat_slice pem, const char *op, BIO **ret,
		    struct sat_err *err)
{
	sat_x509_start();
	ERR_clear_error();
	if (pem.len == 0 || pem.len > SAT_PEM_BYTES_MAX)
		return sat_err_set(err, SAT_E_INVAL, 0, op,
				   "a PEM text of %zu bytes", pem.len);
	*ret = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	if (*ret == NULL)
		return sat_x509_fail(err, SAT_E_NOMEM, op, "out of memory");
	return SAT_OK;
}

int sat_x509_cert(struct sat_slice pem, X509 **ret, struct sat_err *err)
{
	BIO *bio = NULL;
	X509 *cert;
	int rc = open_pem(pem, "read_cert", &bio, err);

	if (rc != SAT_OK)
		return rc;
	cert = PEM_read_bio_X509(bio, NULL, no_password, NULL);
	BIO_free(bio);
	if (cert == NULL)
		return sat_x509_fail(err, SAT_E_INVAL, "read_cert",
				     "not a certificate in PEM form");
	*ret = cert;
	return SAT_OK;
}

int sat_x509_certs(struct sat_slice pem, STACK_OF(X509) * *ret,
		   struct sat_err *err)
{
	STACK_OF(X509) *certs = NULL;
	BIO *bio = NULL;
	X509 *cert = NULL;
	int rc = open_pem(pem, "read_certs", &bio, err);

	if (rc != SAT_OK)
		return rc;
	certs = sk_X509_new_null();
	if (certs == NULL) {
		rc = sat_x509_fail(err, SAT_E_NOMEM, "read_certs",
				   "out of memory");
		goto out;
	}
	while ((cert = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
		if (sk_X509_num(certs) == CERTS_MAX ||
		    sk_X509_push(certs, cert) == 0) {
			rc = sat_x509_fail(err, SAT_E_INVAL, "read_certs",
					   "too many certificates");
			goto out;
		}
	}
	/* The end of the text is the error "no start line". */
	if (sk_X509_num(certs) == 0 ||
	    ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "read_certs",
				   "not certificates in PEM form");
		goto out;
	}
	ERR_clear_error();
	*ret = certs;
	certs = NULL;
out:
	X509_free(cert);
	sk_X509_pop_free(certs, X509_free);
	BIO_free(bio);
	return rc;
}

static bool is_p256(EVP_PKEY *key)
{
	char group[32];

	return key != NULL && EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
	       strcmp(group, SN_X9_62_prime256v1) == 0;
}

int sat_x509_key(struct sat_slice pem, EVP_PKEY **ret, struct sat_err *err)
{
	BIO *bio = NULL;
	EVP_PKEY *key;
	int rc = open_pem(pem, "read_key", &bio, err);

	if (rc != SAT_OK)
		return rc;
	key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	if (!is_p256(key)) {
		EVP_PKEY_free(key);
		return sat_x509_fail(err, SAT_E_INVAL, "read_key",
				     "not a P-256 private key in PEM form");
	}
	*ret = key;
	return SAT_OK;
}

bool sat_x509_usual_key(X509_PUBKEY *key)
{
	bool usual = i2d_X509_PUBKEY(key, NULL) == USUAL_SPKI_BYTES &&
		     is_p256(X509_PUBKEY_get0(key));

	ERR_clear_error();
	return usual;
}

int sat_x509_spki(X509_PUBKEY *key, uint8_t out[SAT_SHA256_BYTES],
		  struct sat_err *err)
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(key, &der);
	int rc;

	if (len <= 0)
		return sat_x509_fail(err, SAT_E_NOMEM, "spki",
				     "cannot encode a public key");
	rc = sat_sha256((struct sat_slice){ der, (size_t)len }, out, err);
	OPENSSL_free(der);
	return rc;
}

int64_t sat_x509_time_ms(const ASN1_TIME *t)
{
	ASN1_TIME *zero = ASN1_TIME_set(NULL, 0);
	int days = 0, seconds = 0;
	int64_t ms = 0;

	if (zero != NULL && ASN1_TIME_diff(&days, &seconds, zero, t) == 1)
		ms = ((int64_t)days * 86400 + seconds) * 1000;
	ASN1_TIME_free(zero);
	ERR_clear_error();
	return ms;
}

/* "satchel:device:12:0190..." into its parts; nothing else is taken. */
static bool parse_uri(struct sat_slice uri, struct sat_identity *ret)
{
	const size_t prefix = sizeof URI_PREFIX - 1;
	struct sat_identity who = { 0 };
	uint64_t replica = 0;
	size_t i = prefix;

	if (uri.len < prefix || memcmp(uri.ptr, URI_PREFIX, prefix) != 0)
		return false;
	for (; i < uri.len && isdigit(uri.ptr[i]); i++) {
		if (i > prefix && replica == 0)
			return false; /* a leading zero */
		replica = replica * 10 + (uint64_t)(uri.ptr[i] - '0');
		if (replica > UINT32_MAX)
			return false;
	}
	if (replica == 0 || i == uri.len || uri.ptr[i] != ':')
		return false;
	i++;
	if (!sat_id_parse((struct sat_slice){ uri.ptr + i, uri.len - i },
			  &who.user))
		return false;
	who.replica = (uint32_t)replica;
	*ret = who;
	return true;
}

bool sat_x509_identity(const X509 *cert, struct sat_identity *ret)
{
	GENERAL_NAMES *names =
		X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	struct sat_identity who = { 0 };
	int found = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		struct sat_slice uri;

		if (name->type != GEN_URI)
			continue;
		uri.ptr = ASN1_STRING_get0_data(
			name->d.uniformResourceIdentifier);
		uri.len = (size_t)ASN1_STRING_length(
			name->d.uniformResourceIdentifier);
		found += parse_uri(uri, &who) ? 1 : 2;
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	if (found != 1)
		return false;
	*ret = who;
	return true;
}

int sat_random(void *out, size_t len, struct sat_err *err)
{
	sat_x509_start();
	if (len > INT_MAX || RAND_bytes(out, (int)len) != 1)
		return sat_x509_fail(err, SAT_E_IO, "random",
				     "no random bytes to be had");
	return SAT_OK;
}

int sat_sha256(struct sat_slice bytes, uint8_t out[SAT_SHA256_BYTES],
	       struct sat_err *err)
{
	sat_x509_start();
	if (EVP_Digest(bytes.ptr, bytes.len, out, NULL, EVP_sha256(), NULL) !=
	    1)
		return sat_x509_fail(err, SAT_E_NOMEM, "sha256", "cannot hash");
	return SAT_OK;
}

bool sat_secret_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void sat_secret_wipe(void *p, size_t len)
{
	OPENSSL_cleanse(p, len);
}

int sat_pki_key_new(struct sat_buf *ret_pem, struct sat_err *err)
{
	EVP_PKEY *key = NULL;
	BIO *bio = NULL;
	char *text = NULL;
	long len = 0;
	int rc;

	sat_x509_start();
	key = EVP_EC_gen("P-256");
	bio = BIO_new(BIO_s_secmem());
	if (key == NULL || bio == NULL ||
	    PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL,
					  NULL) != 1) {
		rc = sat_x509_fail(err, SAT_E_IO, "key_new",
				   "cannot make a key");
		goto out;
	}
	len = BIO_get_mem_data(bio, &text);
	rc = sat_buf_append(ret_pem, text, (size_t)len);
	if (rc != SAT_OK)
		(void)sat_err_set(err, rc, 0, "key_new", "no room for a key");
out:
	BIO_free(bio);
	EVP_PKEY_free(key);
	return rc;
}

int sat_pki_sign(struct sat_slice key_pem, struct sat_slice bytes,
		 struct sat_buf *ret_sig, struct sat_err *err)
{
	EVP_MD_CTX *md = NULL;
	EVP_PKEY *key = NULL;
	uint8_t *dst = NULL;
	size_t len = 0;
	int rc = sat_x509_key(key_pem, &key, err);

	if (rc != SAT_OK)
		return rc;
	md = EVP_MD_CTX_new();
	if (md == NULL ||
	    EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(md, NULL, &len, bytes.ptr, bytes.len) != 1) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "sign", "cannot sign");
		goto out;
	}
	rc = sat_buf_reserve(ret_sig, len, &dst);
	if (rc != SAT_OK) {
		(void)sat_err_set(err, rc, 0, "sign", "no room to sign");
		goto out;
	}
	if (EVP_DigestSign(md, dst, &len, bytes.ptr, bytes.len) != 1) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "sign", "cannot sign");
		goto out;
	}
	sat_buf_commit(ret_sig, len);
out:
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(key);
	return rc;
}

static int verify(EVP_PKEY *key, struct sat_slice bytes, struct sat_slice sig,
		  struct sat_err *err)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int rc = SAT_OK;

	if (md == NULL || key == NULL ||
	    EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestVerify(md, sig.ptr, sig.len, bytes.ptr, bytes.len) != 1)
		rc = sat_x509_fail(err, SAT_E_DENIED, "verify",
				   "the signature does not hold");
	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return rc;
}

int sat_pki_csr_verify(struct sat_slice csr_der, struct sat_slice bytes,
		       struct sat_slice sig, struct sat_err *err)
{
	uint8_t spki[SAT_SHA256_BYTES];
	const unsigned char *at = csr_der.ptr;
	X509_REQ *req;
	int rc = sat_pki_csr_check(csr_der, spki, err);

	if (rc != SAT_OK)
		return rc;
	req = d2i_X509_REQ(NULL, &at, (long)csr_der.len);
	if (req == NULL)
		return sat_x509_fail(err, SAT_E_NOMEM, "verify",
				     "out of memory");
	rc = verify(X509_REQ_get0_pubkey(req), bytes, sig, err);
	X509_REQ_free(req);
	return rc;
}

int sat_pki_cert_verify(struct sat_slice cert_pem, struct sat_slice bytes,
			struct sat_slice sig, struct sat_err *err)
{
	X509 *cert = NULL;
	int rc = sat_x509_cert(cert_pem, &cert, err);

	if (rc != SAT_OK)
		return rc;
	rc = verify(X509_get0_pubkey(cert), bytes, sig, err);
	X509_free(cert);
	return rc;
}

int sat_token_new(char out[SAT_TOKEN_CHARS + 1], struct sat_err *err)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t raw[SAT_TOKEN_CHARS * 5 / 8];
	uint32_t bits = 0;
	unsigned have = 0;
	size_t at = 0;
	int rc = sat_random(raw, sizeof raw, err);

	if (rc != SAT_OK)
		return rc;
	for (size_t i = 0; i < sizeof raw; i++) {
		bits = bits << 8 | raw[i];
		for (have += 8; have >= 5; have -= 5)
			out[at++] = digits[bits >> (have - 5) & 31];
	}
	out[at] = '\0';
	sat_secret_wipe(raw, sizeof raw);
	return SAT_OK;
}

int sat_token_hash(struct sat_slice token, uint8_t out[SAT_SHA256_BYTES],
		   struct sat_err *err)
{
	uint8_t low[SAT_TOKEN_CHARS];
	int rc;

	if (token.len != SAT_TOKEN_CHARS)
		return sat_err_set(err, SAT_E_INVAL, 0, "token",
				   "a code has %d characters", SAT_TOKEN_CHARS);
	for (size_t i = 0; i < sizeof low; i++) {
		low[i] = token.ptr[i];
		if (low[i] >= 'A' && low[i] <= 'Z')
			low[i] = (uint8_t)(low[i] + ('a' - 'A'));
		if (!((low[i] >= 'a' && low[i] <= 'z') ||
		      (low[i] >= '2' && low[i] <= '7')))
			return sat_err_set(err, SAT_E_INVAL, 0, "token",
					   "a code is made of a-z and 2-7");
	}
	rc = sat_sha256((struct sat_slice){ low, sizeof low }, out, err);
	sat_secret_wipe(low, sizeof low);
	return rc;
}
