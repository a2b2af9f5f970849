/* tls_pair.h - two ends of a TLS connection in memory, and an organisation. */
#ifndef SAT_TESTS_TLS_PAIR_H
#define SAT_TESTS_TLS_PAIR_H

#include "tests/lib/pki.h"

enum { WIRE_MAX = 1 << 20 };

extern struct test_pki org, other_org;
extern struct test_device device, stranger; /* stranger is of other_org */
extern struct sat_tls_ctx *server_ctx;      /* org's server             */

/* Group set-up and tear-down of all of the above. */
int set_up(void **state);
int tear_down(void **state);

struct end {
	struct sat_tls *tls;
	struct sat_buf plain; /* what came       */
	struct sat_buf wire;  /* what must leave */
	struct sat_err err;
	int rc; /* of the last feed */
};

struct pair {
	struct end client, server;
};

void end_init(struct end *e, struct sat_tls_ctx *ctx, enum sat_alpn alpn);
void end_fini(struct end *e);
void pair_init(struct pair *p, struct sat_tls_ctx *client,
	       struct sat_tls_ctx *server, enum sat_alpn alpn);
void pair_fini(struct pair *p);

/* Feed until everything is taken or it fails; no error is left behind. */
void feed_all(struct end *e, struct sat_slice in);

/* Carry what `from` has said to `to`, in pieces of at most step bytes. */
void carry(struct end *from, struct end *to, size_t step);

/* Both ways until neither has more to say. */
void converse(struct pair *p, size_t step);

void say(struct end *e, const void *bytes, size_t len);
void assert_heard(struct end *e, const void *bytes, size_t len);

#endif
