/* link_world.h - a server and clients on one loop over loopback, for tests of
 * links. */
#ifndef SAT_TESTS_LINK_WORLD_H
#define SAT_TESTS_LINK_WORLD_H

#include "proto/link.h"
#include "tests/lib/pki.h"

enum { ENDS_MAX = 64, NO_RC = 99 };

/* One end of a connection and what happened to it. */
struct end {
	struct world *w;
	struct sat_link *link; /* NULL before and after its life */
	unsigned opened, closed, drained;
	uint64_t frames, bytes; /* that came */
	int rc;                 /* of on_closed, NO_RC before    */
	char detail[192];
	enum sat_alpn alpn;
	struct sat_peer peer;
};

struct world {
	uv_loop_t loop;
	struct sat_listener *listener;
	struct end server[ENDS_MAX]; /* in order of on_open */
	unsigned servers;
	unsigned refused;
	int refused_rc; /* of the last one */
	char refused_detail[192];
	bool untrusting; /* the server does not trust its links */
	/* What the server does with a frame; NULL: nothing. */
	void (*on_frame)(struct end *e, const struct sat_frame *f);
	void (*on_client_frame)(struct end *e, const struct sat_frame *f);
	void (*on_open)(struct end *e); /* of a server's end */
	void (*on_drain)(struct end *e);
};

extern struct test_pki org;
extern struct test_device device;
extern struct sat_tls_ctx *server_ctx, *client_ctx;

/* Group set-up and tear-down of the above; ignores SIGPIPE. */
int link_set_up(void **state);
int link_tear_down(void **state);

void world_init(struct world *w);

void world_stop_listening(struct world *w);

/* Close the listener and every link, run the loop out; it must come to its
 * end with nothing left. */
void world_fini(struct world *w);

/* Connect with the device's certificate. */
void end_connect(struct end *e, struct world *w);
void end_connect_to(struct end *e, struct world *w, const char *host,
		    uint16_t port, struct sat_tls_ctx *ctx, enum sat_alpn alpn);

/* Run the loop until cond(arg) holds; fails the test after 20 s. */
void run_until(struct world *w, bool (*cond)(void *arg), void *arg);
bool is_open(void *end);
bool is_closed(void *end);
void run_for(struct world *w, uint64_t ms);

/* Run until the end is open, and the server's side of it too: its end. */
struct end *run_open(struct end *e);

/* Send one frame of that many payload bytes, made from n. */
int send_frame(struct end *e, uint8_t type, uint32_t n, size_t len);

/* Is it the frame that send_frame made? */
bool frame_is(const struct sat_frame *f, uint8_t type, uint32_t n, size_t len);

/* A plain blocking TCP socket to the listener. */
int raw_connect(const struct world *w);

#endif
