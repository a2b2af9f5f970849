/* link.h - one connection: TCP, TLS and frames, with flow control and one way
 * to end. Loop thread only.
 *
 *   CONNECTING ---> HANDSHAKE ---> OPEN ---> FINISHING ---> CLOSING (--->
 * freed) |               |           |            |             ^
 *       +---------------+-----------+------------+-------------+
 *                    error, deadline, sat_link_close
 *
 * Links of a listener start in HANDSHAKE; their TLS state is made at the
 * first byte. FINISHING says good-bye: what is queued still goes out, what
 * comes in is dropped, two seconds at most.
 *
 * A client's link goes on reading whatever waits to be sent, so an owner must
 * not pause it until its own output has gone: two ends that wait for each
 * other to read wait until TCP gives up, after SAT_LINK_UNANSWERED_MS. That
 * time also bounds how long a peer's bytes may be left unread in a full socket.
 *
 * A link frees itself right after on_closed. No call of this header ever calls
 * back before it returns: callbacks come from the loop.
 * SIGPIPE must be ignored by the program.
 */
#ifndef SAT_LINK_H
#define SAT_LINK_H

#include <uv.h>

#include "common/tls.h"
#include "proto/frame.h"

struct sat_link;
struct sat_listener;

enum {
	/* Bytes queued to be sent. Over HIGH a server's link stops reading and
	 * handling until it is below RESUME; owners stop making pages over
	 * HIGH until on_drain, which comes below LOW. Input thus has its turn
	 * before output is made anew. */
	SAT_LINK_OUT_HIGH = 256 * 1024,
	SAT_LINK_OUT_RESUME = 192 * 1024,
	SAT_LINK_OUT_LOW = 64 * 1024,
	SAT_LINK_OUT_MAX = 2 * 1024 * 1024, /* over it: close with E_LIMIT    */
	SAT_LINK_HANDSHAKE_MS = 10 * 1000, /* from connect or accept to OPEN  */
	SAT_LINK_ATTEMPT_MS = 5 * 1000,    /* for one of several addresses    */
	SAT_LINK_FINISH_MS = 2 * 1000,
	SAT_LINK_UNANSWERED_MS = 25 * 1000, /* data without TCP's answer      */
	SAT_LINK_PEER_CHARS = 64,
};

/* All callbacks may call any function of this header on the link. */
struct sat_link_handler {
	/* The handshake is done: who and what. On a server a device has shown
	 * a valid certificate (alpn SYNC) or none (ENROL); whether it is
	 * revoked is the owner's to judge. On a client the server is genuine
	 * but has NOT yet accepted us. */
	void (*on_open)(struct sat_link *link, void *arg, enum sat_alpn alpn,
			const struct sat_peer *peer);
	/* One frame as it came (see sat_frame_open); borrowed for the call. */
	void (*on_frame)(struct sat_link *link, void *arg,
			 const struct sat_frame *frame);
	/* What was queued has fallen below SAT_LINK_OUT_LOW after it had been
	 * above SAT_LINK_OUT_HIGH, and input had a turn since. May be NULL. */
	void (*on_drain)(struct sat_link *link, void *arg);
	/* The last callback. rc SAT_OK: ended between frames, by either side;
	 * else what went wrong, and detail says it for a log. On a server it
	 * is called only after on_open; see on_refused. */
	void (*on_closed)(struct sat_link *link, void *arg, int rc,
			  const char *detail);
};

/* Connect to host:port, a name or an address; every address of a name is
 * tried in turn. handler is kept, host copied. After SAT_OK on_closed comes
 * exactly once. SAT_OK, SAT_E_NOMEM, SAT_E_IO. */
int sat_link_connect(uv_loop_t *loop, struct sat_tls_ctx *ctx,
		     enum sat_alpn alpn, const char *host, uint16_t port,
		     const struct sat_link_handler *handler, void *arg,
		     struct sat_link **ret, struct sat_err *err) SAT_MUST_CHECK;

/* Queue whole frames (as sat_frame_put makes them) in order; copies. What is
 * queued in one turn of the loop leaves together. SAT_OK, SAT_E_CLOSED (not
 * open), SAT_E_LIMIT, SAT_E_NOMEM (the last two close the link). */
int sat_link_send(struct sat_link *link,
		  struct sat_slice frames) SAT_MUST_CHECK;

/* Bytes that were queued and are not yet in the kernel. An owner that makes
 * pages stops above SAT_LINK_OUT_HIGH and goes on at on_drain. */
size_t sat_link_pending(const struct sat_link *link);

/* From now on frames may be as long as SAT_FRAME_BYTES_MAX. */
void sat_link_trust(struct sat_link *link);

/* Stop or go on handling frames and reading, for an owner that is full. The
 * frame being handled is the last one until it is resumed. */
void sat_link_pause(struct sat_link *link, bool pause);

/* Close in peace: send what is queued, then close_notify, then end. rc and
 * detail (copied; may be NULL) go to on_closed. */
void sat_link_finish(struct sat_link *link, int rc, const char *detail);

/* Close at once; what is queued is lost. Idempotent. */
void sat_link_close(struct sat_link *link, int rc, const char *detail);

void sat_link_set_arg(struct sat_link *link, void *arg);
void *sat_link_arg(const struct sat_link *link);

/* True from sat_link_finish, sat_link_close or a failure on. */
bool sat_link_closing(const struct sat_link *link);

/* Unique in the process, from 1; for log lines. */
uint64_t sat_link_id(const struct sat_link *link);

/* "198.51.100.7:40112"; "" while connecting. Lives as long as the link. */
const char *sat_link_peer_name(const struct sat_link *link);

/* The TLS side of an OPEN link, for sat_tls_export; NULL before. */
struct sat_tls *sat_link_tls(struct sat_link *link);

/* Bytes that came from and went to the wire. */
void sat_link_traffic(const struct sat_link *link, uint64_t *ret_in,
		      uint64_t *ret_out);

struct sat_listener_options {
	const char *addr;                       /* numeric, IPv4 or IPv6 */
	uint16_t port;                          /* 0: any free one       */
	uint32_t links_max, handshakes_max;     /* 0: no such limit */
	const struct sat_link_handler *handler; /* kept */
	void *arg; /* of on_refused, and of links until sat_link_set_arg */
	/* A connection ended before on_open. May be NULL. */
	void (*on_refused)(void *arg, const char *peer_name, int rc,
			   const char *detail);
};

/* Listen. Borrows options. A process that runs out of file descriptors closes
 * what it cannot take and goes on. SAT_OK, SAT_E_BUSY (the port is in use),
 * SAT_E_INVAL (the address), SAT_E_DENIED (a port only root may have),
 * SAT_E_NOMEM, SAT_E_IO. */
int sat_listener_open(uv_loop_t *loop, struct sat_tls_ctx *ctx,
		      const struct sat_listener_options *options,
		      struct sat_listener **ret,
		      struct sat_err *err) SAT_MUST_CHECK;

/* The port that was bound. */
uint16_t sat_listener_port(const struct sat_listener *listener);

/* New connections use this context from now on (renewed certificates). */
void sat_listener_set_ctx(struct sat_listener *listener,
			  struct sat_tls_ctx *ctx);

void sat_listener_set_limits(struct sat_listener *listener, uint32_t links_max,
			     uint32_t handshakes_max);

/* Links of this listener that are not yet freed. */
uint32_t sat_listener_links(const struct sat_listener *listener);

/* Take no more connections; those still in their handshake are closed, open
 * ones are the owner's. The memory goes by itself with the last link: do not
 * touch the listener again. */
void sat_listener_close(struct sat_listener *listener);

#endif
