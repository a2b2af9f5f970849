/* tls_ctx.h - what tls.c and tls_ctx.c share. PRIVATE to sat_tls. */
#ifndef SAT_TLS_CTX_H
#define SAT_TLS_CTX_H

#include <stdatomic.h>

#include <openssl/ssl.h>

#include "common/tls.h"

#define ALPN_SYNC  "satchel/1"
#define ALPN_ENROL "satchel-enrol/1"
/* Length-prefixed, as on the wire; the first is preferred. */
#define ALPN_SYNC_WIRE  "\x09" ALPN_SYNC
#define ALPN_ENROL_WIRE "\x0f" ALPN_ENROL

struct sat_tls_ctx {
	SSL_CTX *ssl;
	atomic_uint refs; /* the owner's and one for each connection */
	X509 *issuer;     /* server: the CA shown to those who enrol */
	bool pinned;      /* client: pin instead of known CAs */
	uint8_t pin[SAT_SHA256_BYTES];
};

#endif
