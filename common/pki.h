/* pki.h - keys, certificates, hashes, random bytes and invite codes, all in
 * memory: no file, no clock (the time is passed in), no network.
 *
 * Keys are P-256. Private keys and certificates are PEM text; what travels in
 * messages (requests, device certificates) is DER. Outputs are APPENDED to
 * the caller's buffer, and only on success. Texts given in are borrowed for
 * the call. Thread-safe: there is no state.
 */
#ifndef SAT_PKI_H
#define SAT_PKI_H

#include "common/buf.h"
#include "common/value.h"

enum {
	SAT_SHA256_BYTES = 32,
	SAT_TOKEN_CHARS = 32, /* 160 bits in base32 */
	SAT_CA_DAYS = 3650,
	SAT_DEVICE_DAYS = 90,
	SAT_PEM_BYTES_MAX = 65536, /* longer PEM texts are refused */
	SAT_CSR_BYTES_MAX = 2048,
};

/* What a device certificate says, as SAN URI
 * satchel:device:<replica_id>:<user uuid>. */
struct sat_identity {
	uint32_t replica; /* never 0 */
	struct sat_id user;
};

/* A CA as it signs: borrowed PEM texts. */
struct sat_ca {
	struct sat_slice cert_pem, key_pem;
};

struct sat_cert_info {
	bool device; /* it carries a device identity */
	struct sat_identity identity;
	uint8_t spki[SAT_SHA256_BYTES]; /* SHA-256 of its public key (SPKI) */
	int64_t not_before_ms, not_after_ms; /* ms UTC */
};

/* Unpredictable bytes of the operating system's quality. SAT_OK or
 * SAT_E_IO. */
int sat_random(void *out, size_t len, struct sat_err *err) SAT_MUST_CHECK;

/* SAT_OK or SAT_E_NOMEM. */
int sat_sha256(struct sat_slice bytes, uint8_t out[SAT_SHA256_BYTES],
	       struct sat_err *err) SAT_MUST_CHECK;

/* Equality in a time that does not depend on the bytes. */
bool sat_secret_equal(const void *a, const void *b, size_t len);

/* Overwrite a secret before its memory goes. */
void sat_secret_wipe(void *p, size_t len);

/* A new private key as PEM. SAT_OK, SAT_E_NOMEM, SAT_E_LIMIT, SAT_E_IO. */
int sat_pki_key_new(struct sat_buf *ret_pem,
		    struct sat_err *err) SAT_MUST_CHECK;

/* A self-signed CA certificate of ten years. org is 1 to 64 bytes of UTF-8.
 * SAT_OK, SAT_E_INVAL, SAT_E_NOMEM, SAT_E_LIMIT. */
int sat_pki_ca_new(struct sat_slice key_pem, const char *org, int64_t now_ms,
		   struct sat_buf *ret_pem, struct sat_err *err) SAT_MUST_CHECK;

/* The server's certificate over the public half of key_pem, as long as the
 * CA's: SAT_TLS_SERVER_NAME and each of hosts (names or IP addresses) as SANs.
 * Errors as above; SAT_E_INVAL names the host that is none. */
int sat_pki_server_cert(struct sat_ca ca, struct sat_slice key_pem,
			const char *const *hosts, size_t host_count,
			int64_t now_ms, struct sat_buf *ret_pem,
			struct sat_err *err) SAT_MUST_CHECK;

/* The same certificate (PEM) again, over the same public key and for the same
 * hosts, but made by another CA: what a server shows when its CA is replaced.
 * Errors as above; SAT_E_INVAL when it is no server's. */
int sat_pki_server_again(struct sat_ca ca, struct sat_slice cert_pem,
			 int64_t now_ms, struct sat_buf *ret_pem,
			 struct sat_err *err) SAT_MUST_CHECK;

/* A short name for a CA, from the SHA-256 of its public key; never 0. */
uint64_t sat_pki_ca_no(const uint8_t spki[SAT_SHA256_BYTES]);

/* A request (DER) for a certificate over the key; it names nobody. */
int sat_pki_csr(struct sat_slice key_pem, struct sat_buf *ret_der,
		struct sat_err *err) SAT_MUST_CHECK;

/* Judge a request from a peer: well formed, P-256, signed by its own key.
 * ret_spki is the SHA-256 of its public key. SAT_OK, SAT_E_PROTO. */
int sat_pki_csr_check(struct sat_slice csr_der,
		      uint8_t ret_spki[SAT_SHA256_BYTES],
		      struct sat_err *err) SAT_MUST_CHECK;

/* A device certificate (DER) of 90 days over the request's key. Who it names
 * comes from the caller; what the request says about that is ignored.
 * SAT_OK, SAT_E_PROTO (the request fails its check), SAT_E_INVAL (the CA),
 * SAT_E_NOMEM, SAT_E_LIMIT. */
int sat_pki_device_cert(struct sat_ca ca, struct sat_slice csr_der,
			const struct sat_identity *who, int64_t now_ms,
			struct sat_buf *ret_der,
			struct sat_err *err) SAT_MUST_CHECK;

/* One certificate between its two forms. SAT_OK, SAT_E_INVAL, SAT_E_NOMEM,
 * SAT_E_LIMIT. */
int sat_pki_cert_to_pem(struct sat_slice der, struct sat_buf *ret_pem,
			struct sat_err *err) SAT_MUST_CHECK;
int sat_pki_cert_to_der(struct sat_slice pem, struct sat_buf *ret_der,
			struct sat_err *err) SAT_MUST_CHECK;

/* Read the first certificate of a PEM text. SAT_OK or SAT_E_INVAL. */
int sat_pki_cert_info(struct sat_slice pem, struct sat_cert_info *ret,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Does the certificate belong to the key? SAT_OK or SAT_E_INVAL. */
int sat_pki_cert_fits(struct sat_slice cert_pem, struct sat_slice key_pem,
		      struct sat_err *err) SAT_MUST_CHECK;

/* ECDSA with SHA-256 over bytes, DER form. SAT_OK, SAT_E_INVAL (the key),
 * SAT_E_NOMEM, SAT_E_LIMIT. */
int sat_pki_sign(struct sat_slice key_pem, struct sat_slice bytes,
		 struct sat_buf *ret_sig, struct sat_err *err) SAT_MUST_CHECK;

/* Was sig made over bytes with the key of the request (DER)? SAT_OK,
 * SAT_E_DENIED (no), SAT_E_PROTO (the request is none). */
int sat_pki_csr_verify(struct sat_slice csr_der, struct sat_slice bytes,
		       struct sat_slice sig,
		       struct sat_err *err) SAT_MUST_CHECK;

/* The same with the key of a certificate (PEM); SAT_E_INVAL if it is none. */
int sat_pki_cert_verify(struct sat_slice cert_pem, struct sat_slice bytes,
			struct sat_slice sig,
			struct sat_err *err) SAT_MUST_CHECK;

/* A new invite code: 160 random bits as 32 characters of a-z2-7 and a NUL.
 * SAT_OK or SAT_E_IO. */
int sat_token_new(char out[SAT_TOKEN_CHARS + 1],
		  struct sat_err *err) SAT_MUST_CHECK;

/* What is stored of a code: its SHA-256. Upper case is taken as lower.
 * SAT_OK, SAT_E_INVAL (not of the form above), SAT_E_NOMEM. */
int sat_token_hash(struct sat_slice token, uint8_t out[SAT_SHA256_BYTES],
		   struct sat_err *err) SAT_MUST_CHECK;

#endif
