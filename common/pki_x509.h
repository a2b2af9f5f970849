/* pki_x509.h - what tls.c and the pki files share. PRIVATE to sat_tls: the one
 * header with OpenSSL types. Every function leaves the thread's error queue
 * empty.
 */
#ifndef SAT_PKI_X509_H
#define SAT_PKI_X509_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/pki.h"

/* Start OpenSSL without the system's configuration file, which could switch
 * on old protocols or load engines. Must come before any other use; cheap
 * when repeated. */
void sat_x509_start(void);

/* Fill *err from what failed and the first queued error, and empty the
 * queue. Out of memory becomes SAT_E_NOMEM, whatever rc says. Returns the
 * rc. */
int sat_x509_fail(struct sat_err *err, int rc, const char *op,
		  const char *what);

/* The first certificate, or all of them, of a PEM text; at least one. The
 * caller frees with X509_free / sk_X509_pop_free. SAT_OK,
 * SAT_E_INVAL, SAT_E_NOMEM. */
int sat_x509_cert(struct sat_slice pem, X509 **ret,
		  struct sat_err *err) SAT_MUST_CHECK;
int sat_x509_certs(struct sat_slice pem, STACK_OF(X509) * *ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* The private key of a PEM text, P-256 and not encrypted. SAT_OK,
 * SAT_E_INVAL, SAT_E_NOMEM. */
int sat_x509_key(struct sat_slice pem, EVP_PKEY **ret,
		 struct sat_err *err) SAT_MUST_CHECK;

/* A public key is a P-256 key in its one usual form (named curve,
 * uncompressed point). */
bool sat_x509_usual_key(X509_PUBKEY *key);

/* SHA-256 of a public key in DER (SPKI). SAT_OK or SAT_E_NOMEM. */
int sat_x509_spki(X509_PUBKEY *key, uint8_t out[SAT_SHA256_BYTES],
		  struct sat_err *err) SAT_MUST_CHECK;

/* The device identity of a certificate; false when it has none, more than
 * one, or one of another form. */
bool sat_x509_identity(const X509 *cert, struct sat_identity *ret);

/* ms UTC; 0 when it is not a time. */
int64_t sat_x509_time_ms(const ASN1_TIME *t);

#endif
