/* One BIO of our own serves both directions. It reads from a slice that is
 * borrowed for one call and appends to a buffer of the caller, so a connection
 * that is idle holds no bytes but OpenSSL's own state. */
#include "common/tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "common/pki_x509.h"
#include "common/tls_ctx.h"

#define EXPORT_LABEL "EXPORTER-satchel-enrol"

enum { PLAIN_BUDGET = 16 * 1024 }; /* bytes one feed may add */

struct sat_tls {
	SSL *ssl;
	struct sat_tls_ctx *ctx;
	enum sat_tls_state state;
	enum sat_alpn asked; /* client: what we ask for */
	bool finished;       /* our close_notify is out */
	/* Only during a call: */
	struct sat_slice in; /* not yet read */
	struct sat_buf *out;
	int out_rc; /* why out could not grow */
};

static CRYPTO_ONCE bio_once = CRYPTO_ONCE_STATIC_INIT;
static BIO_METHOD *bio_method;

static int on_bio_read(BIO *bio, char *dst, size_t len, size_t *ret_read)
{
	struct sat_tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (t->in.len == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	if (len > t->in.len)
		len = t->in.len;
	memcpy(dst, t->in.ptr, len);
	t->in.ptr += len;
	t->in.len -= len;
	*ret_read = len;
	return 1;
}

static int on_bio_write(BIO *bio, const char *src, size_t len,
			size_t *ret_written)
{
	struct sat_tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	t->out_rc = sat_buf_append(t->out, src, len);
	if (t->out_rc != SAT_OK)
		return 0;
	*ret_written = len;
	return 1;
}

static long on_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH; /* nothing is held back */
}

static int on_bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static void make_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
				     "satchel buffers");

	if (m == NULL || BIO_meth_set_read_ex(m, on_bio_read) != 1 ||
	    BIO_meth_set_write_ex(m, on_bio_write) != 1 ||
	    BIO_meth_set_ctrl(m, on_bio_ctrl) != 1 ||
	    BIO_meth_set_create(m, on_bio_create) != 1) {
		BIO_meth_free(m);
		return;
	}
	bio_method = m;
}

static bool ask(struct sat_tls *t, enum sat_alpn alpn)
{
	const char *wire =
		alpn == SAT_ALPN_SYNC ? ALPN_SYNC_WIRE : ALPN_ENROL_WIRE;

	t->asked = alpn;
	SSL_set_connect_state(t->ssl);
	/* Zero is success here and here only. */
	return SSL_set_alpn_protos(t->ssl, (const unsigned char *)wire,
				   (unsigned)strlen(wire)) == 0 &&
	       SSL_set1_host(t->ssl, SAT_TLS_SERVER_NAME) == 1 &&
	       SSL_set_tlsext_host_name(t->ssl, SAT_TLS_SERVER_NAME) == 1;
}

int sat_tls_new(struct sat_tls_ctx *ctx, enum sat_alpn alpn,
		struct sat_tls **ret, struct sat_err *err)
{
	struct sat_tls *t = calloc(1, sizeof *t);
	BIO *bio = NULL;
	bool ok = true;

	ERR_clear_error();
	if (t == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "tls_new",
				   "out of memory");
	if (CRYPTO_THREAD_run_once(&bio_once, make_bio_method) != 1 ||
	    bio_method == NULL)
		goto fail;
	t->ssl = SSL_new(ctx->ssl);
	bio = BIO_new(bio_method);
	if (t->ssl == NULL || bio == NULL) {
		BIO_free(bio);
		goto fail;
	}
	BIO_set_data(bio, t);
	SSL_set_bio(t->ssl, bio, bio); /* takes bio */
	if (alpn == SAT_ALPN_NONE)
		SSL_set_accept_state(t->ssl);
	else
		ok = ask(t, alpn);
	if (!ok)
		goto fail;
	t->ctx = sat_tls_ctx_ref(ctx);
	*ret = t;
	return SAT_OK;
fail:
	SSL_free(t->ssl);
	free(t);
	return sat_x509_fail(err, SAT_E_NOMEM, "tls_new",
			     "cannot set up a connection");
}

void sat_tls_free(struct sat_tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	sat_tls_ctx_free(t->ctx);
	free(t);
}

/* Is the failure about who somebody is, rather than about how he speaks? */
static bool is_refusal(int reason)
{
	switch (reason) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
	case SSL_AD_REASON_OFFSET + SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_REASON_OFFSET + SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_CA:
	case SSL_AD_REASON_OFFSET + SSL_AD_ACCESS_DENIED:
	case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

/* code is SSL_get_error's. Leaves the thread's error queue empty: it belongs
 * to every connection of the thread. */
static int fail(struct sat_tls *t, int code, const char *op,
		struct sat_err *err)
{
	unsigned long first = ERR_peek_error();
	const char *why = ERR_reason_error_string(first);
	long verdict = SSL_get_verify_result(t->ssl);
	int rc = SAT_E_PROTO;

	t->state = SAT_TLS_FAILED;
	ERR_clear_error();
	if (t->out_rc != SAT_OK)
		return sat_err_set(err, t->out_rc, code, op,
				   "no room for what must be sent");
	if (ERR_GET_REASON(first) == ERR_R_MALLOC_FAILURE)
		rc = SAT_E_NOMEM;
	else if (ERR_GET_LIB(first) == ERR_LIB_SSL &&
		 is_refusal(ERR_GET_REASON(first)))
		rc = SAT_E_DENIED;
	if (rc == SAT_E_DENIED && verdict != X509_V_OK)
		return sat_err_set(err, rc, code, op, "%s: %s", why,
				   X509_verify_cert_error_string(verdict));
	if (ERR_GET_REASON(first) == SSL_R_CALLBACK_FAILED)
		why = "no application protocol was asked for";
	return sat_err_set(err, rc, code, op, "%s",
			   why != NULL ? why : "TLS failed");
}

static enum sat_alpn agreed(const struct sat_tls *t)
{
	const unsigned char *name = NULL;
	unsigned len = 0;

	SSL_get0_alpn_selected(t->ssl, &name, &len);
	if (len == sizeof ALPN_SYNC - 1 && memcmp(name, ALPN_SYNC, len) == 0)
		return SAT_ALPN_SYNC;
	if (len == sizeof ALPN_ENROL - 1 && memcmp(name, ALPN_ENROL, len) == 0)
		return SAT_ALPN_ENROL;
	return SAT_ALPN_NONE;
}

/* What the callbacks should have made sure of, looked at once more. */
static int on_handshake_done(struct sat_tls *t, struct sat_err *err)
{
	enum sat_alpn alpn = agreed(t);
	X509 *cert = SSL_get0_peer_certificate(t->ssl);

	if (alpn == SAT_ALPN_NONE ||
	    (t->asked != SAT_ALPN_NONE && alpn != t->asked)) {
		t->state = SAT_TLS_FAILED;
		return sat_err_set(err, SAT_E_PROTO, 0, "tls_alpn",
				   "no protocol was agreed on");
	}
	if ((t->asked != SAT_ALPN_NONE || alpn == SAT_ALPN_SYNC) &&
	    (cert == NULL || SSL_get_verify_result(t->ssl) != X509_V_OK)) {
		t->state = SAT_TLS_FAILED;
		return sat_err_set(err, SAT_E_DENIED, 0, "tls_peer",
				   "no valid certificate was shown");
	}
	t->state = SAT_TLS_OPEN;
	return SAT_OK;
}

/* One SSL_read or handshake turn. SAT_AGAIN: OpenSSL wants more input. */
static int turn(struct sat_tls *t, struct sat_buf *plain, struct sat_err *err)
{
	uint8_t *dst = NULL;
	size_t got = 0;
	int rc, code;

	if (t->state == SAT_TLS_OPEN) {
		rc = sat_buf_reserve(plain, SAT_TLS_RECORD_BYTES, &dst);
		if (rc != SAT_OK) {
			t->state = SAT_TLS_FAILED;
			return sat_err_set(err, rc, 0, "tls_feed",
					   "no room for what came");
		}
	}
	ERR_clear_error(); /* SSL_get_error below reads a per-thread queue */
	rc = t->state == SAT_TLS_OPEN
		     ? SSL_read_ex(t->ssl, dst, SAT_TLS_RECORD_BYTES, &got)
		     : SSL_do_handshake(t->ssl);
	if (rc == 1) {
		if (t->state == SAT_TLS_HANDSHAKE)
			return on_handshake_done(t, err);
		sat_buf_commit(plain, got);
		return SAT_OK;
	}
	code = SSL_get_error(t->ssl, rc);
	if (code == SSL_ERROR_WANT_READ)
		return SAT_AGAIN;
	if (code == SSL_ERROR_ZERO_RETURN) {
		t->state = SAT_TLS_PEER_DONE;
		return SAT_AGAIN;
	}
	return fail(t, code, "tls_feed", err);
}

int sat_tls_feed(struct sat_tls *t, struct sat_slice wire, size_t *ret_used,
		 struct sat_buf *plain, struct sat_buf *wire_out,
		 struct sat_err *err)
{
	size_t before = plain->len - plain->head;
	int rc = SAT_AGAIN;

	*ret_used = 0;
	if (t->state == SAT_TLS_FAILED)
		return sat_err_set(err, SAT_E_CLOSED, 0, "tls_feed",
				   "the connection has failed before");
	t->in = wire;
	t->out = wire_out;
	t->out_rc = SAT_OK;
	while (t->state != SAT_TLS_PEER_DONE) {
		rc = turn(t, plain, err);
		if (rc != SAT_OK)
			break;
		if (plain->len - plain->head - before >= PLAIN_BUDGET)
			break;
	}
	/* After its close_notify a peer has nothing to say. */
	*ret_used =
		t->state == SAT_TLS_PEER_DONE ? wire.len : wire.len - t->in.len;
	t->in = (struct sat_slice){ NULL, 0 };
	t->out = NULL;
	return rc;
}

int sat_tls_seal(struct sat_tls *t, struct sat_slice plain,
		 struct sat_buf *wire_out, struct sat_err *err)
{
	size_t done = 0;
	int rc = SAT_OK;

	if ((t->state != SAT_TLS_OPEN && t->state != SAT_TLS_PEER_DONE) ||
	    t->finished)
		return sat_err_set(err, SAT_E_CLOSED, 0, "tls_seal",
				   "the connection is not open");
	t->out = wire_out;
	t->out_rc = SAT_OK;
	while (plain.len > 0 && rc == SAT_OK) {
		ERR_clear_error();
		if (SSL_write_ex(t->ssl, plain.ptr, plain.len, &done) == 1) {
			plain.ptr += done;
			plain.len -= done;
		} else {
			rc = fail(t, SSL_get_error(t->ssl, 0), "tls_seal", err);
		}
	}
	t->out = NULL;
	return rc;
}

void sat_tls_finish(struct sat_tls *t, struct sat_buf *wire_out)
{
	if ((t->state != SAT_TLS_OPEN && t->state != SAT_TLS_PEER_DONE) ||
	    t->finished)
		return;
	t->finished = true;
	t->out = wire_out;
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
	t->out = NULL;
}

bool sat_tls_inside_record(const struct sat_tls *t)
{
	return SSL_has_pending(t->ssl) == 1;
}

enum sat_tls_state sat_tls_state(const struct sat_tls *t)
{
	return t->state;
}

static bool is_open(const struct sat_tls *t)
{
	return t->state == SAT_TLS_OPEN || t->state == SAT_TLS_PEER_DONE;
}

enum sat_alpn sat_tls_alpn(const struct sat_tls *t)
{
	return is_open(t) ? agreed(t) : SAT_ALPN_NONE;
}

int sat_tls_peer(const struct sat_tls *t, struct sat_peer *ret,
		 struct sat_err *err)
{
	struct sat_peer peer = { 0 };
	uint8_t ca[SAT_SHA256_BYTES];
	STACK_OF(X509) * chain; /* borrowed */
	X509 *cert;
	int rc;

	if (!is_open(t))
		return sat_err_set(err, SAT_E_CLOSED, 0, "tls_peer",
				   "the connection is not open");
	cert = SSL_get0_peer_certificate(t->ssl);
	if (cert != NULL) {
		rc = sat_x509_spki(X509_get_X509_PUBKEY(cert), peer.spki, err);
		if (rc != SAT_OK)
			return rc;
		peer.certified = true;
		peer.not_after_ms = sat_x509_time_ms(X509_get0_notAfter(cert));
		(void)sat_x509_identity(cert, &peer.identity);
		chain = SSL_get0_verified_chain(t->ssl);
		if (sk_X509_num(chain) > 0)
			rc = sat_x509_spki(
				X509_get_X509_PUBKEY(sk_X509_value(
					chain, sk_X509_num(chain) - 1)),
				ca, err);
		if (rc != SAT_OK)
			return rc;
		peer.ca = sk_X509_num(chain) > 0 ? sat_pki_ca_no(ca) : 0;
	}
	*ret = peer;
	return SAT_OK;
}

int sat_tls_export(struct sat_tls *t, uint8_t out[SAT_TLS_EXPORT_BYTES],
		   struct sat_err *err)
{
	if (!is_open(t))
		return sat_err_set(err, SAT_E_CLOSED, 0, "tls_export",
				   "the connection is not open");
	ERR_clear_error();
	if (SSL_export_keying_material(t->ssl, out, SAT_TLS_EXPORT_BYTES,
				       EXPORT_LABEL, sizeof EXPORT_LABEL - 1,
				       NULL, 0, 0) != 1)
		return sat_x509_fail(err, SAT_E_NOMEM, "tls_export",
				     "cannot derive the bytes");
	return SAT_OK;
}

const char *sat_alpn_name(enum sat_alpn alpn)
{
	switch (alpn) {
	case SAT_ALPN_SYNC:
		return ALPN_SYNC;
	case SAT_ALPN_ENROL:
		return ALPN_ENROL;
	case SAT_ALPN_NONE:
		break;
	}
	return "none";
}
