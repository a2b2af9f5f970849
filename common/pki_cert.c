#include "common/pki.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/pki_x509.h"
#include "common/text.h"
#include "common/tls.h"

enum {
	SERIAL_BYTES = 16,
	HOST_CHARS_MAX = 253,
	/* Certificates start a day early: two clocks never agree. */
	EARLY_S = 86400,
	DAY_S = 86400,
};

/* A certificate while it is made. */
struct draft {
	X509 *cert;
	X509 *issuer; /* cert itself for a CA */
	EVP_PKEY *issuer_key;
};

static bool set_serial(X509 *cert)
{
	uint8_t raw[SERIAL_BYTES];
	struct sat_err err;
	BIGNUM *n = NULL;
	bool ok = false;

	if (sat_random(raw, sizeof raw, &err) != SAT_OK)
		return false;
	raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40); /* positive, full length */
	n = BN_bin2bn(raw, sizeof raw, NULL);
	ok = n != NULL &&
	     BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
	BN_free(n);
	return ok;
}

static bool set_times(X509 *cert, int64_t now_ms, int64_t days,
		      const X509 *issuer)
{
	time_t now = (time_t)(now_ms / 1000);

	if (ASN1_TIME_set(X509_getm_notBefore(cert), now - EARLY_S) == NULL ||
	    ASN1_TIME_set(X509_getm_notAfter(cert),
			  now + (time_t)days * DAY_S) == NULL)
		return false;
	/* No certificate outlives the one that vouches for it. */
	if (issuer != cert && ASN1_TIME_compare(X509_get0_notAfter(cert),
						X509_get0_notAfter(issuer)) > 0)
		return X509_set1_notAfter(cert, X509_get0_notAfter(issuer)) ==
		       1;
	return true;
}

/* text is a constant of ours: OpenSSL's mini-language never sees input. */
static bool add_ext(const struct draft *d, int nid, const char *text)
{
	X509V3_CTX v3;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx_nodb(&v3);
	X509V3_set_ctx(&v3, d->issuer, d->cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &v3, nid, text);
	ok = ext != NULL && X509_add_ext(d->cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool add_leaf_exts(const struct draft *d, const char *usage)
{
	return add_ext(d, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_ext(d, NID_key_usage, "critical,digitalSignature") &&
	       add_ext(d, NID_ext_key_usage, usage) &&
	       add_ext(d, NID_subject_key_identifier, "hash") &&
	       add_ext(d, NID_authority_key_identifier, "keyid:always");
}

static bool set_name(X509 *cert, const char *org, const char *common)
{
	X509_NAME *name = X509_get_subject_name(cert);

	if (org != NULL && X509_NAME_add_entry_by_NID(
				   name, NID_organizationName, MBSTRING_UTF8,
				   (const unsigned char *)org, -1, -1, 0) != 1)
		return false;
	return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
					  (const unsigned char *)common, -1, -1,
					  0) == 1;
}

/* Version, serial, times, key; the issuer's name once both names are set. */
static bool begin(struct draft *d, EVP_PKEY *key, int64_t now_ms, int64_t days)
{
	return X509_set_version(d->cert, X509_VERSION_3) == 1 &&
	       set_serial(d->cert) &&
	       set_times(d->cert, now_ms, days, d->issuer) &&
	       X509_set_pubkey(d->cert, key) == 1;
}

static bool seal(struct draft *d)
{
	return X509_set_issuer_name(d->cert,
				    X509_get_subject_name(d->issuer)) == 1 &&
	       X509_sign(d->cert, d->issuer_key, EVP_sha256()) > 0;
}

/* Append the certificate in PEM or DER form. */
static int put_cert(X509 *cert, bool pem, struct sat_buf *out,
		    struct sat_err *err)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len;
	int rc;

	if (bio == NULL || (pem ? PEM_write_bio_X509(bio, cert)
				: i2d_X509_bio(bio, cert)) != 1) {
		rc = sat_x509_fail(err, SAT_E_NOMEM, "put_cert",
				   "cannot encode a certificate");
		goto out;
	}
	len = BIO_get_mem_data(bio, &text);
	rc = sat_buf_append(out, text, (size_t)len);
	if (rc != SAT_OK)
		(void)sat_err_set(err, rc, 0, "put_cert",
				  "no room for a certificate");
out:
	BIO_free(bio);
	return rc;
}

int sat_pki_ca_new(struct sat_slice key_pem, const char *org, int64_t now_ms,
		   struct sat_buf *ret_pem, struct sat_err *err)
{
	struct sat_slice name = sat_slice_str(org);
	uint8_t spki[SAT_SHA256_BYTES];
	struct draft d = { NULL, NULL, NULL };
	char common[32];
	int rc = sat_x509_key(key_pem, &d.issuer_key, err);

	if (rc != SAT_OK)
		return rc;
	if (name.len == 0 || name.len > 64 || !sat_utf8_valid(name)) {
		rc = sat_err_set(err, SAT_E_INVAL, 0, "ca_new",
				 "an organisation's name has 1 to 64 bytes");
		goto out;
	}
	d.cert = d.issuer = X509_new();
	if (d.cert == NULL || !begin(&d, d.issuer_key, now_ms, SAT_CA_DAYS)) {
		rc = sat_x509_fail(err, SAT_E_NOMEM, "ca_new", "no memory");
		goto out;
	}
	rc = sat_x509_spki(X509_get_X509_PUBKEY(d.cert), spki, err);
	if (rc != SAT_OK)
		goto out;
	/* The key's hash keeps the names of an old and a new CA apart. */
	(void)snprintf(common, sizeof common, "Satchel CA %02x%02x%02x%02x",
		       spki[0], spki[1], spki[2], spki[3]);
	if (!set_name(d.cert, org, common) ||
	    !add_ext(&d, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !add_ext(&d, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !add_ext(&d, NID_subject_key_identifier, "hash") || !seal(&d)) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "ca_new",
				   "cannot make the CA");
		goto out;
	}
	rc = put_cert(d.cert, true, ret_pem, err);
out:
	X509_free(d.cert);
	EVP_PKEY_free(d.issuer_key);
	return rc;
}

/* Read a CA as it signs, and start a certificate of its making. */
static int draft_init(struct draft *d, struct sat_ca ca, struct sat_err *err)
{
	int rc = sat_x509_cert(ca.cert_pem, &d->issuer, err);

	if (rc == SAT_OK)
		rc = sat_x509_key(ca.key_pem, &d->issuer_key, err);
	if (rc != SAT_OK)
		return rc;
	if (X509_check_private_key(d->issuer, d->issuer_key) != 1 ||
	    X509_check_ca(d->issuer) != 1)
		return sat_x509_fail(err, SAT_E_INVAL, "ca",
				     "the CA's certificate and key do not fit");
	d->cert = X509_new();
	if (d->cert == NULL)
		return sat_x509_fail(err, SAT_E_NOMEM, "ca", "out of memory");
	return SAT_OK;
}

static void draft_fini(struct draft *d)
{
	X509_free(d->cert);
	X509_free(d->issuer);
	EVP_PKEY_free(d->issuer_key);
}

static bool host_name_valid(const char *host)
{
	size_t len = strlen(host);

	if (len == 0 || len > HOST_CHARS_MAX || host[0] == '.' ||
	    host[0] == '-' || strstr(host, "..") != NULL)
		return false;
	return strspn(host, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == len;
}

/* A name or an address into names. False: neither, or no memory. */
static bool add_host(GENERAL_NAMES *names, const char *host)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
	ASN1_IA5STRING *dns = NULL;
	GENERAL_NAME *name = NULL;

	ERR_clear_error(); /* a name is not an address: not an error */
	if (ip == NULL) {
		dns = host_name_valid(host) ? ASN1_IA5STRING_new() : NULL;
		if (dns == NULL || ASN1_STRING_set(dns, host, -1) != 1)
			goto fail;
	}
	name = GENERAL_NAME_new();
	if (name == NULL || sk_GENERAL_NAME_push(names, name) == 0)
		goto fail;
	if (ip != NULL)
		GENERAL_NAME_set0_value(name, GEN_IPADD, ip);
	else
		GENERAL_NAME_set0_value(name, GEN_DNS, dns);
	return true;
fail:
	GENERAL_NAME_free(name);
	ASN1_IA5STRING_free(dns);
	ASN1_OCTET_STRING_free(ip);
	return false;
}

static int add_hosts(X509 *cert, const char *const *hosts, size_t count,
		     struct sat_err *err)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	int rc = SAT_OK;

	if (names == NULL || !add_host(names, SAT_TLS_SERVER_NAME)) {
		rc = sat_x509_fail(err, SAT_E_NOMEM, "hosts", "out of memory");
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		if (!add_host(names, hosts[i])) {
			rc = sat_err_set(err, SAT_E_INVAL, 0, "hosts",
					 "'%.80s' is no host name or address",
					 hosts[i]);
			goto out;
		}
	}
	if (X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) != 1)
		rc = sat_x509_fail(err, SAT_E_NOMEM, "hosts", "out of memory");
out:
	GENERAL_NAMES_free(names);
	return rc;
}

int sat_pki_server_cert(struct sat_ca ca, struct sat_slice key_pem,
			const char *const *hosts, size_t host_count,
			int64_t now_ms, struct sat_buf *ret_pem,
			struct sat_err *err)
{
	struct draft d = { NULL, NULL, NULL };
	EVP_PKEY *key = NULL;
	int rc = sat_x509_key(key_pem, &key, err);

	if (rc != SAT_OK)
		return rc;
	rc = draft_init(&d, ca, err);
	if (rc != SAT_OK)
		goto out;
	if (!begin(&d, key, now_ms, SAT_CA_DAYS) ||
	    !set_name(d.cert, NULL, "Satchel server") ||
	    !add_leaf_exts(&d, "serverAuth")) {
		rc = sat_x509_fail(err, SAT_E_NOMEM, "server_cert",
				   "cannot make the certificate");
		goto out;
	}
	rc = add_hosts(d.cert, hosts, host_count, err);
	if (rc != SAT_OK)
		goto out;
	if (!seal(&d)) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "server_cert",
				   "cannot sign the certificate");
		goto out;
	}
	rc = put_cert(d.cert, true, ret_pem, err);
out:
	draft_fini(&d);
	EVP_PKEY_free(key);
	return rc;
}

int sat_pki_server_again(struct sat_ca ca, struct sat_slice cert_pem,
			 int64_t now_ms, struct sat_buf *ret_pem,
			 struct sat_err *err)
{
	struct draft d = { NULL, NULL, NULL };
	GENERAL_NAMES *hosts = NULL;
	X509 *old = NULL;
	int rc = sat_x509_cert(cert_pem, &old, err);

	if (rc == SAT_OK)
		rc = draft_init(&d, ca, err);
	if (rc != SAT_OK)
		goto out;
	hosts = X509_get_ext_d2i(old, NID_subject_alt_name, NULL, NULL);
	if (hosts == NULL) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "server_again",
				   "the certificate names no host");
		goto out;
	}
	if (!begin(&d, X509_get0_pubkey(old), now_ms, SAT_CA_DAYS) ||
	    !set_name(d.cert, NULL, "Satchel server") ||
	    !add_leaf_exts(&d, "serverAuth") ||
	    X509_add1_ext_i2d(d.cert, NID_subject_alt_name, hosts, 0, 0) != 1 ||
	    !seal(&d)) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "server_again",
				   "cannot make the certificate");
		goto out;
	}
	rc = put_cert(d.cert, true, ret_pem, err);
out:
	GENERAL_NAMES_free(hosts);
	X509_free(old);
	draft_fini(&d);
	return rc;
}

uint64_t sat_pki_ca_no(const uint8_t spki[SAT_SHA256_BYTES])
{
	uint64_t no = 0;

	for (size_t i = 0; i < 8; i++)
		no = no << 8 | spki[i];
	return no == 0 ? 1 : no;
}

int sat_pki_csr(struct sat_slice key_pem, struct sat_buf *ret_der,
		struct sat_err *err)
{
	EVP_PKEY *key = NULL;
	X509_REQ *req = NULL;
	unsigned char *der = NULL;
	int len = 0;
	int rc = sat_x509_key(key_pem, &key, err);

	if (rc != SAT_OK)
		return rc;
	req = X509_REQ_new();
	if (req != NULL && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
	    X509_REQ_set_pubkey(req, key) == 1 &&
	    X509_REQ_sign(req, key, EVP_sha256()) > 0)
		len = i2d_X509_REQ(req, &der);
	if (len <= 0) {
		rc = sat_x509_fail(err, SAT_E_NOMEM, "csr",
				   "cannot make a request");
		goto out;
	}
	rc = sat_buf_append(ret_der, der, (size_t)len);
	if (rc != SAT_OK)
		(void)sat_err_set(err, rc, 0, "csr", "no room for a request");
out:
	OPENSSL_free(der);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return rc;
}

/* A request from a peer that has passed its check; the caller frees it. */
static int read_csr(struct sat_slice der, X509_REQ **ret, struct sat_err *err)
{
	const unsigned char *at = der.ptr;
	X509_REQ *req = NULL;

	sat_x509_start();
	ERR_clear_error();
	if (der.len > 0 && der.len <= SAT_CSR_BYTES_MAX)
		req = d2i_X509_REQ(NULL, &at, (long)der.len);
	if (req == NULL || at != der.ptr + der.len ||
	    !sat_x509_usual_key(X509_REQ_get_X509_PUBKEY(req)) ||
	    X509_REQ_verify(req, X509_REQ_get0_pubkey(req)) != 1) {
		X509_REQ_free(req);
		return sat_x509_fail(err, SAT_E_PROTO, "csr",
				     "not a request signed by a P-256 key");
	}
	ERR_clear_error();
	*ret = req;
	return SAT_OK;
}

int sat_pki_csr_check(struct sat_slice csr_der,
		      uint8_t ret_spki[SAT_SHA256_BYTES], struct sat_err *err)
{
	X509_REQ *req = NULL;
	int rc = read_csr(csr_der, &req, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_x509_spki(X509_REQ_get_X509_PUBKEY(req), ret_spki, err);
	X509_REQ_free(req);
	return rc;
}

static bool add_identity(X509 *cert, const struct sat_identity *who)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
	char user[SAT_UUID_CHARS + 1], text[80];
	bool ok = false;

	sat_id_format(&who->user, user);
	(void)snprintf(text, sizeof text, "satchel:device:%lu:%s",
		       (unsigned long)who->replica, user);
	if (names == NULL || name == NULL || uri == NULL ||
	    ASN1_STRING_set(uri, text, -1) != 1)
		goto out;
	GENERAL_NAME_set0_value(name, GEN_URI, uri);
	uri = NULL;
	if (sk_GENERAL_NAME_push(names, name) == 0)
		goto out;
	name = NULL;
	ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;
out:
	ASN1_IA5STRING_free(uri);
	GENERAL_NAME_free(name);
	GENERAL_NAMES_free(names);
	return ok;
}

int sat_pki_device_cert(struct sat_ca ca, struct sat_slice csr_der,
			const struct sat_identity *who, int64_t now_ms,
			struct sat_buf *ret_der, struct sat_err *err)
{
	struct draft d = { NULL, NULL, NULL };
	X509_REQ *req = NULL;
	char common[32];
	int rc = read_csr(csr_der, &req, err);

	if (rc != SAT_OK)
		return rc;
	SAT_ASSERT(who->replica != 0);
	rc = draft_init(&d, ca, err);
	if (rc != SAT_OK)
		goto out;
	(void)snprintf(common, sizeof common, "device %lu",
		       (unsigned long)who->replica);
	if (!begin(&d, X509_REQ_get0_pubkey(req), now_ms, SAT_DEVICE_DAYS) ||
	    !set_name(d.cert, NULL, common) ||
	    !add_leaf_exts(&d, "clientAuth") || !add_identity(d.cert, who) ||
	    !seal(&d)) {
		rc = sat_x509_fail(err, SAT_E_NOMEM, "device_cert",
				   "cannot make the certificate");
		goto out;
	}
	rc = put_cert(d.cert, false, ret_der, err);
out:
	draft_fini(&d);
	X509_REQ_free(req);
	return rc;
}

int sat_pki_cert_to_pem(struct sat_slice der, struct sat_buf *ret_pem,
			struct sat_err *err)
{
	const unsigned char *at = der.ptr;
	X509 *cert = NULL;
	int rc;

	sat_x509_start();
	ERR_clear_error();
	if (der.len > 0 && der.len <= SAT_PEM_BYTES_MAX)
		cert = d2i_X509(NULL, &at, (long)der.len);
	if (cert == NULL || at != der.ptr + der.len) {
		X509_free(cert);
		return sat_x509_fail(err, SAT_E_INVAL, "cert_to_pem",
				     "not a certificate in DER form");
	}
	rc = put_cert(cert, true, ret_pem, err);
	X509_free(cert);
	return rc;
}

int sat_pki_cert_to_der(struct sat_slice pem, struct sat_buf *ret_der,
			struct sat_err *err)
{
	X509 *cert = NULL;
	int rc = sat_x509_cert(pem, &cert, err);

	if (rc != SAT_OK)
		return rc;
	rc = put_cert(cert, false, ret_der, err);
	X509_free(cert);
	return rc;
}

int sat_pki_cert_info(struct sat_slice pem, struct sat_cert_info *ret,
		      struct sat_err *err)
{
	struct sat_cert_info info = { 0 };
	X509 *cert = NULL;
	int rc = sat_x509_cert(pem, &cert, err);

	if (rc != SAT_OK)
		return rc;
	info.device = sat_x509_identity(cert, &info.identity);
	info.not_before_ms = sat_x509_time_ms(X509_get0_notBefore(cert));
	info.not_after_ms = sat_x509_time_ms(X509_get0_notAfter(cert));
	rc = sat_x509_spki(X509_get_X509_PUBKEY(cert), info.spki, err);
	X509_free(cert);
	if (rc == SAT_OK)
		*ret = info;
	return rc;
}

int sat_pki_cert_fits(struct sat_slice cert_pem, struct sat_slice key_pem,
		      struct sat_err *err)
{
	X509 *cert = NULL;
	EVP_PKEY *key = NULL;
	int rc = sat_x509_cert(cert_pem, &cert, err);

	if (rc == SAT_OK)
		rc = sat_x509_key(key_pem, &key, err);
	if (rc == SAT_OK && X509_check_private_key(cert, key) != 1)
		rc = sat_x509_fail(
			err, SAT_E_INVAL, "cert_fits",
			"certificate and key do not belong together");
	EVP_PKEY_free(key);
	X509_free(cert);
	return rc;
}
