/* tls.h - TLS as a transformer of bytes: no socket, no loop, no callback.
 *
 *   wire in   --sat_tls_feed-->  plain in
 *   plain out --sat_tls_seal-->  wire out
 *
 * Any call may add to the wire-out buffer, feed included (handshake flights,
 * alerts, key updates), so the owner sends what is in it after EVERY call,
 * failures too. That one rule is what hand-rolled TLS over a loop gets wrong.
 *
 *   HANDSHAKE ---> OPEN ---> PEER_DONE (close_notify came)
 *       |            |           |
 *       +------------+-----------+---> FAILED (every later call fails)
 *
 * TLS 1.3 only, mutual, one private CA, no resumption of any kind, so that a
 * certificate is judged at every connection. In TLS 1.3 a client is OPEN
 * before the server has looked at its certificate: only an answer from the
 * application says that the client was accepted.
 *
 * Clients do not judge the validity dates of the server's certificate: the
 * clock of a device may be years off and must not lock its data in, and the
 * private CA issues to one server only. Servers judge the dates of devices.
 *
 * A context may be used by several threads; a sat_tls by one at a time.
 */
#ifndef SAT_TLS_H
#define SAT_TLS_H

#include "common/pki.h"

/* What the server's certificate is issued to and every client checks, besides
 * the names of its hosts; so a server may be reached under any address. */
#define SAT_TLS_SERVER_NAME "server.satchel.internal"

enum {
	SAT_TLS_EXPORT_BYTES = 32,
	SAT_TLS_RECORD_BYTES = 4096, /* most plaintext in a record we send */
};

/* Which protocol was agreed by ALPN. */
enum sat_alpn {
	SAT_ALPN_NONE,
	SAT_ALPN_SYNC,  /* satchel/1: the client shows a device certificate */
	SAT_ALPN_ENROL, /* satchel-enrol/1: the client has none yet         */
};

enum sat_tls_state {
	SAT_TLS_HANDSHAKE,
	SAT_TLS_OPEN,
	SAT_TLS_PEER_DONE,
	SAT_TLS_FAILED,
};

/* Who is at the other end; all zero when the peer showed no certificate. */
struct sat_peer {
	bool certified;
	struct sat_identity identity;   /* of a device; zero for a server     */
	uint8_t spki[SAT_SHA256_BYTES]; /* SHA-256 of its public key (SPKI)   */
	int64_t not_after_ms;           /* end of its certificate, ms UTC     */
	uint64_t ca; /* which of the CAs we trust signed it: sat_pki_ca_no    */
};

struct sat_tls_ctx;
struct sat_tls;

/* Settings and keys of a server. ca_pem holds one or more CA certificates
 * that device certificates may come from; cert_pem the server's own. Borrows.
 * SAT_OK, SAT_E_INVAL (a PEM text is not usable, or key and certificate do
 * not belong together), SAT_E_NOMEM. */
int sat_tls_server_ctx(struct sat_slice ca_pem, struct sat_slice cert_pem,
		       struct sat_slice key_pem, struct sat_tls_ctx **ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Settings and keys of a client. An enrolled device gives ca_pem, cert_pem
 * and key_pem, and pin NULL; without cert_pem and key_pem it can only speak
 * ENROL. For a first enrolment all three are empty and pin is the SHA-256 of
 * the public key (SPKI) of the CA that the server must show. Errors as the
 * server's. */
int sat_tls_client_ctx(struct sat_slice ca_pem, struct sat_slice cert_pem,
		       struct sat_slice key_pem,
		       const uint8_t pin[SAT_SHA256_BYTES],
		       struct sat_tls_ctx **ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* One more owner, who frees it too. Returns ctx. */
struct sat_tls_ctx *sat_tls_ctx_ref(struct sat_tls_ctx *ctx);

/* An owner's hold on it ends; connections keep it as long as they need. */
void sat_tls_ctx_free(struct sat_tls_ctx *ctx);

/* One connection. alpn says what a client asks for and is SAT_ALPN_NONE for
 * a server. SAT_OK or SAT_E_NOMEM. */
int sat_tls_new(struct sat_tls_ctx *ctx, enum sat_alpn alpn,
		struct sat_tls **ret, struct sat_err *err) SAT_MUST_CHECK;

void sat_tls_free(struct sat_tls *t);

/* Take bytes from the wire: *ret_used of them were taken (set on failure
 * too), decrypted bytes are appended to plain, answers to wire_out. An empty
 * wire starts a client's handshake. One call adds at most 16 KiB of plain.
 *
 * SAT_OK     stopped at that budget: call again with the rest, even if empty
 * SAT_AGAIN  all taken; more must come from the peer (see also the state)
 * SAT_E_PROTO   not TLS as we speak it, or bytes were changed on the way
 * SAT_E_DENIED  a certificate or a name was refused, by us or by the peer
 * SAT_E_LIMIT, SAT_E_NOMEM   a buffer could not grow
 *
 * After a failure the state is FAILED and wire_out may hold an alert. */
int sat_tls_feed(struct sat_tls *t, struct sat_slice wire, size_t *ret_used,
		 struct sat_buf *plain, struct sat_buf *wire_out,
		 struct sat_err *err) SAT_MUST_CHECK;

/* Encrypt all of plain into wire_out. Only in OPEN or PEER_DONE, else
 * SAT_E_CLOSED. SAT_E_LIMIT, SAT_E_NOMEM: wire_out could not grow; FAILED. */
int sat_tls_seal(struct sat_tls *t, struct sat_slice plain,
		 struct sat_buf *wire_out, struct sat_err *err) SAT_MUST_CHECK;

/* Say good-bye: appends close_notify once, if the state allows. Never fails
 * in a way that matters: what cannot be said is not said. */
void sat_tls_finish(struct sat_tls *t, struct sat_buf *wire_out);

/* Has a part of a record come, and not yet the rest? What ends here was cut. */
bool sat_tls_inside_record(const struct sat_tls *t);

enum sat_tls_state sat_tls_state(const struct sat_tls *t);

/* The agreed protocol; SAT_ALPN_NONE before OPEN. */
enum sat_alpn sat_tls_alpn(const struct sat_tls *t);

/* The peer, from its certificate. Only in OPEN or PEER_DONE, else
 * SAT_E_CLOSED. A server has refused a device without a proper identity
 * before it is OPEN. */
int sat_tls_peer(const struct sat_tls *t, struct sat_peer *ret,
		 struct sat_err *err) SAT_MUST_CHECK;

/* Bytes that only the two ends of this connection know (RFC 5705, label
 * "EXPORTER-satchel-enrol"): what a new key signs to prove possession here
 * and now. Only in OPEN or PEER_DONE, else SAT_E_CLOSED. */
int sat_tls_export(struct sat_tls *t, uint8_t out[SAT_TLS_EXPORT_BYTES],
		   struct sat_err *err) SAT_MUST_CHECK;

/* "satchel/1", "satchel-enrol/1", "none". */
const char *sat_alpn_name(enum sat_alpn alpn);

#endif
