#include "common/tls_ctx.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/pki_x509.h"

#define CIPHERSUITES                    \
	"TLS_AES_128_GCM_SHA256:"       \
	"TLS_CHACHA20_POLY1305_SHA256:" \
	"TLS_AES_256_GCM_SHA384"
#define SIGALGS "ecdsa_secp256r1_sha256:ed25519"

enum {
	CERT_LIST_MAX = 8192, /* bytes a stranger can make us hold */
	CHAIN_DEPTH_MAX = 2,
};

/* The certificate chain of a device. That the CA signed it is not enough: it
 * must also say which device it is. */
static int on_verify_device(int ok, X509_STORE_CTX *store)
{
	struct sat_identity who;

	if (ok != 1 || X509_STORE_CTX_get_error_depth(store) != 0)
		return ok;
	if (sat_x509_identity(X509_STORE_CTX_get_current_cert(store), &who))
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

/* The certificate chain of a server whose CA we know by its key's hash only:
 * take the CA from what the server shows, then judge the chain as ever. */
static int on_verify_pinned(X509_STORE_CTX *store, void *arg)
{
	const struct sat_tls_ctx *ctx = arg;
	STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(store);
	STACK_OF(X509) *trusted = sk_X509_new_null();
	uint8_t spki[SAT_SHA256_BYTES];
	struct sat_err err;
	int ok = 0;

	for (int i = 0; trusted != NULL && i < sk_X509_num(shown); i++) {
		X509 *cert = sk_X509_value(shown, i);

		if (sat_x509_spki(X509_get_X509_PUBKEY(cert), spki, &err) ==
			    SAT_OK &&
		    sat_secret_equal(spki, ctx->pin, sizeof spki) &&
		    sk_X509_push(trusted, cert) == 0)
			break;
	}
	if (trusted == NULL) {
		X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
		return 0;
	}
	X509_STORE_CTX_set0_trusted_stack(store, trusted);
	ok = X509_verify_cert(store);
	sk_X509_free(trusted);
	return ok == 1;
}

/* A hello without ALPN would skip on_alpn altogether. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	const unsigned char *ext;
	size_t len;

	(void)arg;
	if (SSL_client_hello_get0_ext(
		    ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
		    &ext, &len) == 1)
		return SSL_CLIENT_HELLO_SUCCESS;
	*alert = SSL_AD_NO_APPLICATION_PROTOCOL;
	return SSL_CLIENT_HELLO_ERROR;
}

/* The protocol decides whether a certificate is asked for. It is unless the
 * client wants to enrol, who in turn is shown our CA. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned in_len, void *arg)
{
	static const char ours[] = ALPN_SYNC_WIRE ALPN_ENROL_WIRE;
	struct sat_tls_ctx *ctx = arg;
	unsigned char *chosen = NULL;

	if (SSL_select_next_proto(&chosen, out_len, (const unsigned char *)ours,
				  sizeof ours - 1, in,
				  in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	if (*out_len == sizeof ALPN_SYNC - 1) {
		SSL_set_verify(
			ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			on_verify_device);
		return SSL_TLSEXT_ERR_OK;
	}
	SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	if (SSL_add1_chain_cert(ssl, ctx->issuer) != 1)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static bool set_up(SSL_CTX *ssl)
{
	static const unsigned char session_context[] = "satchel";

	(void)SSL_CTX_set_options(
		ssl, SSL_OP_CIPHER_SERVER_PREFERENCE |
			     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION |
			     SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
	(void)SSL_CTX_set_mode(
		ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
			     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
			     SSL_MODE_NO_AUTO_CHAIN);
	(void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ssl, CERT_LIST_MAX);
	SSL_CTX_set_verify_depth(ssl, CHAIN_DEPTH_MAX);
	SSL_CTX_set_security_level(ssl, 2);
	return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_ciphersuites(ssl, CIPHERSUITES) == 1 &&
	       SSL_CTX_set1_groups_list(ssl, "X25519:P-256") == 1 &&
	       SSL_CTX_set1_sigalgs_list(ssl, SIGALGS) == 1 &&
	       SSL_CTX_set1_client_sigalgs_list(ssl, SIGALGS) == 1 &&
	       SSL_CTX_set_num_tickets(ssl, 0) == 1 &&
	       SSL_CTX_set_max_send_fragment(ssl, SAT_TLS_RECORD_BYTES) == 1 &&
	       SSL_CTX_set_session_id_context(ssl, session_context,
					      sizeof session_context - 1) == 1;
}

static struct sat_tls_ctx *ctx_new(const SSL_METHOD *method,
				   struct sat_err *err)
{
	struct sat_tls_ctx *ctx = calloc(1, sizeof *ctx);

	if (ctx != NULL) {
		atomic_init(&ctx->refs, 1);
		ctx->ssl = SSL_CTX_new(method);
	}
	if (ctx == NULL || ctx->ssl == NULL || !set_up(ctx->ssl)) {
		(void)sat_x509_fail(err, SAT_E_NOMEM, "tls_ctx",
				    "cannot set up TLS");
		sat_tls_ctx_free(ctx);
		return NULL;
	}
	return ctx;
}

struct sat_tls_ctx *sat_tls_ctx_ref(struct sat_tls_ctx *ctx)
{
	atomic_fetch_add(&ctx->refs, 1);
	return ctx;
}

void sat_tls_ctx_free(struct sat_tls_ctx *ctx)
{
	if (ctx == NULL || atomic_fetch_sub(&ctx->refs, 1) != 1)
		return;
	X509_free(ctx->issuer);
	SSL_CTX_free(ctx->ssl);
	free(ctx);
}

/* Trust these CAs and no others; the system's are never loaded. cert, when
 * given, must come from one of them: *ret_issuer, with a reference. */
static int use_cas(SSL_CTX *ssl, struct sat_slice ca_pem, X509 *cert,
		   X509 **ret_issuer, struct sat_err *err)
{
	STACK_OF(X509) *certs = NULL;
	X509 *issuer = NULL;
	int rc = sat_x509_certs(ca_pem, &certs, err);

	if (rc != SAT_OK)
		return rc;
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *ca = sk_X509_value(certs, i);

		if (X509_check_ca(ca) != 1 ||
		    X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), ca) != 1) {
			rc = sat_x509_fail(err, SAT_E_INVAL, "tls_ca",
					   "not a CA certificate");
			goto out;
		}
		if (cert != NULL && X509_check_issued(ca, cert) == X509_V_OK)
			issuer = ca;
	}
	if (cert != NULL && issuer == NULL) {
		rc = sat_err_set(err, SAT_E_INVAL, 0, "tls_ca",
				 "the certificate comes from another CA");
		goto out;
	}
	if (ret_issuer != NULL) {
		(void)X509_up_ref(issuer);
		*ret_issuer = issuer;
	}
out:
	sk_X509_pop_free(certs, X509_free);
	ERR_clear_error();
	return rc;
}

/* Our own certificate and key. *ret_cert is borrowed from ssl. */
static int use_own(SSL_CTX *ssl, struct sat_slice cert_pem,
		   struct sat_slice key_pem, X509 **ret_cert,
		   struct sat_err *err)
{
	X509 *cert = NULL;
	EVP_PKEY *key = NULL;
	int rc = sat_x509_cert(cert_pem, &cert, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_x509_key(key_pem, &key, err);
	if (rc != SAT_OK)
		goto out;
	if (SSL_CTX_use_certificate(ssl, cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ssl, key) != 1 ||
	    SSL_CTX_check_private_key(ssl) != 1) {
		rc = sat_x509_fail(err, SAT_E_INVAL, "tls_cert",
				   "certificate and key are not usable");
		goto out;
	}
	*ret_cert = SSL_CTX_get0_certificate(ssl);
out:
	EVP_PKEY_free(key);
	X509_free(cert);
	return rc;
}

int sat_tls_server_ctx(struct sat_slice ca_pem, struct sat_slice cert_pem,
		       struct sat_slice key_pem, struct sat_tls_ctx **ret,
		       struct sat_err *err)
{
	struct sat_tls_ctx *ctx = NULL;
	X509 *cert = NULL;
	int rc;

	sat_x509_start();
	ERR_clear_error();
	ctx = ctx_new(TLS_server_method(), err);
	if (ctx == NULL)
		return SAT_E_NOMEM;
	rc = use_own(ctx->ssl, cert_pem, key_pem, &cert, err);
	if (rc == SAT_OK)
		rc = use_cas(ctx->ssl, ca_pem, cert, &ctx->issuer, err);
	if (rc != SAT_OK)
		goto out;
	(void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx->ssl),
					  X509_V_FLAG_X509_STRICT);
	/* The strict side is the default; on_alpn relaxes it for ENROL. */
	SSL_CTX_set_verify(ctx->ssl,
			   SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   on_verify_device);
	SSL_CTX_set_client_hello_cb(ctx->ssl, on_client_hello, NULL);
	SSL_CTX_set_alpn_select_cb(ctx->ssl, on_alpn, ctx);
	*ret = ctx;
	ctx = NULL;
out:
	sat_tls_ctx_free(ctx);
	return rc;
}

int sat_tls_client_ctx(struct sat_slice ca_pem, struct sat_slice cert_pem,
		       struct sat_slice key_pem,
		       const uint8_t pin[SAT_SHA256_BYTES],
		       struct sat_tls_ctx **ret, struct sat_err *err)
{
	struct sat_tls_ctx *ctx = NULL;
	X509_VERIFY_PARAM *param;
	X509 *cert = NULL;
	int rc = SAT_OK;

	sat_x509_start();
	ERR_clear_error();
	ctx = ctx_new(TLS_client_method(), err);
	if (ctx == NULL)
		return SAT_E_NOMEM;
	if (pin != NULL) {
		ctx->pinned = true;
		memcpy(ctx->pin, pin, sizeof ctx->pin);
		SSL_CTX_set_cert_verify_callback(ctx->ssl, on_verify_pinned,
						 ctx);
	} else {
		rc = use_cas(ctx->ssl, ca_pem, NULL, NULL, err);
	}
	if (rc == SAT_OK && cert_pem.len > 0)
		rc = use_own(ctx->ssl, cert_pem, key_pem, &cert, err);
	if (rc != SAT_OK)
		goto out;
	param = SSL_CTX_get0_param(ctx->ssl);
	(void)X509_VERIFY_PARAM_set_flags(
		param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_NO_CHECK_TIME);
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
						X509_CHECK_FLAG_NO_WILDCARDS);
	SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER, NULL);
	*ret = ctx;
	ctx = NULL;
out:
	sat_tls_ctx_free(ctx);
	return rc;
}
