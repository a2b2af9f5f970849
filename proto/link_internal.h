/* link_internal.h - what link.c, link_connect.c and listener.c share. PRIVATE
 * to sat_link. */
#ifndef SAT_LINK_INTERNAL_H
#define SAT_LINK_INTERNAL_H

#include "proto/link.h"

enum link_state {
	LINK_CONNECTING,
	LINK_HANDSHAKE,
	LINK_OPEN,
	LINK_FINISHING,
	LINK_CLOSING,
	LINK_STATE_COUNT
};

/* How far on_drain is. There is one look at the socket between SOON and the
 * call, so that a producer who fills up at once leaves room for input. */
enum link_drain {
	DRAIN_NONE, /* was not over HIGH since the last one */
	DRAIN_WANTED,
	DRAIN_SEEN, /* below LOW                            */
	DRAIN_SOON, /* at the next turn                     */
};

enum {
	/* What TLS adds to SAT_LINK_OUT_MAX bytes of frames. */
	LINK_WIRE_OUT_MAX = SAT_LINK_OUT_MAX + 256 * 1024,
};

/* A name that is being looked up; outlives no link, but may be answered after
 * the link's handles are closed. */
struct link_resolver {
	uv_getaddrinfo_t req;
	struct sat_link *link;
};

struct sat_link {
	uv_tcp_t tcp;
	uv_timer_t timer; /* the one deadline of the state */
	uv_idle_t turn;   /* active: something is due before the loop waits */
	uv_write_t write;
	uv_loop_t *loop;
	enum link_state state;
	unsigned holds; /* handles and requests that will still call back */
	bool tcp_live;  /* tcp is initialised and not yet closed          */
	bool announced; /* the owner knows of it: tell him when it ends   */
	bool opened;    /* on_open was called                             */
	bool trusted, paused, reading, in_flight, shut;
	bool choked; /* too much waits to be sent */
	enum link_drain drain;
	bool pump_due; /* handle what is buffered, at the next turn */

	struct sat_tls *tls;
	struct sat_buf wire_in;   /* read and not yet decrypted: when choked */
	struct sat_buf plain_in;  /* decrypted and not yet handled           */
	struct sat_buf plain_out; /* less than a record, waits for company   */
	struct sat_buf wire_out;  /* encrypted, not yet given to the kernel  */
	struct sat_buf writing;   /* what uv_write has, while in_flight      */
	uint64_t bytes_in, bytes_out;

	const struct sat_link_handler *handler;
	void *arg;
	uint64_t id;
	int why; /* for on_closed */
	char detail[192];
	char peer_name[SAT_LINK_PEER_CHARS];

	/* Client only. */
	struct link_resolver *resolver;
	uv_connect_t connect;
	struct addrinfo *addrs, *next_addr;
	int connect_error; /* UV_* of the last attempt */

	/* Server only. */
	struct sat_listener *listener;
	struct sat_link *prev, *next; /* those in their handshake */
};

/* A new link with its timer and idle handle initialised and held, tcp not
 * yet. NULL when out of memory. */
struct sat_link *sat_link_alloc(uv_loop_t *loop, enum link_state state);

static inline bool link_is_empty(const struct sat_buf *b)
{
	return b->len == b->head;
}

/* Come back before the loop waits for events. */
void sat_link_arm_turn(struct sat_link *l);

/* The tail of every callback. One round only: a link whose peer reads as fast
 * as we write comes back next turn, so the others get theirs. */
void sat_link_settle(struct sat_link *l);

/* Encrypt what waits for company. On failure the link is closed. */
int sat_link_seal_rest(struct sat_link *l) SAT_MUST_CHECK;

/* Give wire_out to the kernel: at once as far as it takes it, the rest by one
 * request that owns its memory. */
void sat_link_flush(struct sat_link *l);

/* Make tcp known to the loop. */
int sat_link_init_tcp(struct sat_link *l);

/* TCP stands: set its options, start the handshake and its deadline. */
void sat_link_start(struct sat_link *l);

/* The close callback of all handles of a link. */
void sat_link_on_handle_closed(uv_handle_t *handle);

/* One hold less; frees the link after the last. */
void sat_link_release(struct sat_link *l);

/* tcp of a CONNECTING link was closed: try the next address. */
void sat_link_try_next(struct sat_link *l);

/* Stop looking up a name. */
void sat_link_cancel_resolver(struct sat_link *l);

/* From the listener: the link has left its handshake, is to be reported as
 * refused, is gone. */
void sat_listener_settled(struct sat_link *l);
void sat_listener_refused(struct sat_link *l);
void sat_listener_gone(struct sat_listener *listener);
struct sat_tls_ctx *sat_listener_ctx(const struct sat_listener *listener);

#endif
