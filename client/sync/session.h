/* session.h - the device's side of one connection, as a function.
 *
 *   IDLE --OPEN--> HELLO_SENT --WELCOME stored--> LIVE
 *     |                |                            |
 *     +----------------+----------------------------+--> CLOSED
 *          error, ERROR from the server, timeout, STOP
 *
 * PURE: messages, time and the results of stores come in as events; what
 * should happen goes out as effects. No memory but the struct itself. After
 * every event the owner takes effects until there are none and performs them
 * IN ORDER, reporting results as events while it does:
 *
 *   sat_csession_step(&s, &ev);
 *   while (sat_csession_next(&s, &fx))
 *           perform(&fx);      (may call sat_csession_step)
 *
 * A message is handed in only while sat_csession_ready(): at most one store
 * is under way, and its message must stay valid until STORED is reported. An
 * owner that stores asynchronously pauses its link meanwhile.
 * now_ms is monotonic, wall_ms the device's raw clock.
 *
 * HELLO's `grants` is the version of the rights that the checkpoint at its
 * cursor was made under, not the newest one stored: rows of a scope granted
 * since may not have come before the connection broke, and the server fills
 * them in only when it sees that the versions differ.
 */
#ifndef SAT_CLIENT_SESSION_H
#define SAT_CLIENT_SESSION_H

#include "proto/message.h"

enum {
	SAT_CSESSION_PART_BYTES = 128 * 1024,  /* most in one PUSH            */
	SAT_CSESSION_EARLY_BYTES = 256 * 1024, /* window before WELCOME      */
	SAT_CSESSION_CREDIT_BYTES = 256 * 1024, /* rows staged before we say so
						 */
	SAT_CSESSION_CREDIT_VERDICTS = 64,
	SAT_CSESSION_WELCOME_MS = 30 * 1000, /* HELLO without an answer       */
	SAT_CSESSION_PONG_MS = 25 * 1000,    /* PING without an answer        */
	SAT_CSESSION_WAITING_MS = 8 * 1000,  /* silence before a PING while an
						answer is outstanding         */
	SAT_CSESSION_PONG_LEAST_MS = 10 * 1000, /* every PING gets this long */
	SAT_CSESSION_FULL_MS =
		5 * 1000, /* server's disk full, without a hint */
};

enum sat_csession_state {
	SAT_CSESSION_IDLE,
	SAT_CSESSION_HELLO_SENT,
	SAT_CSESSION_LIVE,
	SAT_CSESSION_CLOSED,
};

enum sat_csession_event_kind {
	SAT_CEV_OPEN,    /* the link carries frames: hello                    */
	SAT_CEV_MSG,     /* msg, frame_bytes                                  */
	SAT_CEV_UNKNOWN, /* a frame of a type that we do not know: type       */
	SAT_CEV_BAD,     /* a frame that does not decode: rc                  */
	SAT_CEV_OUTBOX,  /* harvested up to last_seq                          */
	SAT_CEV_SENT,    /* PUSH_PART done: rc, len, total; full              */
	SAT_CEV_STORED,  /* the STORE_*, STAGE_*, CHECKPOINT effect: rc       */
	SAT_CEV_FULL,    /* the link has enough queued                        */
	SAT_CEV_DRAINED, /* the link takes more                               */
	SAT_CEV_PROBE,   /* the network changed: is the server still there?   */
	SAT_CEV_TICK,    /* time passed                                       */
	SAT_CEV_STOP,    /* end in peace                                      */
	SAT_CEV_WIPED,   /* the replica is gone: the server shall know        */
	SAT_CEV_ASKED,   /* ASK done: rc, asks, rows                          */
	SAT_CEV_DAMAGED, /* there is something to ask for: see may_ask        */
};

struct sat_csession_event {
	enum sat_csession_event_kind kind;
	uint64_t now_ms;                   /* in every event */
	int64_t wall_ms;                   /* in every event */
	const struct sat_msg_hello *hello; /* OPEN; copied, its steps are
					      borrowed until it was sent    */
	const struct sat_msg *msg;         /* MSG */
	size_t frame_bytes; /* MSG: length of the frame as it came, its head
			       included; what credit counts                 */
	uint8_t type;       /* UNKNOWN */
	uint64_t last_seq;  /* OUTBOX  */
	size_t len;     /* SENT: bytes of the changeset in that part       */
	uint64_t total; /* SENT: bytes of the whole changeset              */
	bool full;      /* SENT: as a FULL event right after it            */
	int rc;         /* BAD, SENT, STORED, ASKED: SAT_OK or why it failed */
	bool differs;   /* STORED, of a CHECKPOINT: ask, or go on asking */
	bool asks;      /* ASKED: the ask was sent; else there was none      */
	bool rows;      /* ASKED: ... for rows                               */
};

enum sat_csession_effect_kind {
	SAT_CFX_SEND,      /* msg: encode and send                            */
	SAT_CFX_PUSH_PART, /* read at most max bytes of changeset seq from
			      offset, send what sat_csession_part makes of
			      them, report SENT                             */
	SAT_CFX_ASK,       /* send the next REPAIR, if there is one, as
			      number `no`; report ASKED                     */
	/* Each of these: do it durably, then report STORED. */
	SAT_CFX_STORE_WELCOME,   /* msg->welcome, then drop unfinished stages
				    unless it says resumed              */
	SAT_CFX_STORE_CATALOGUE, /* msg->catalogue                            */
	SAT_CFX_STORE_GRANT,     /* msg->grant                                */
	SAT_CFX_STORE_VERDICT,   /* msg->verdict                              */
	SAT_CFX_STAGE_ROWS,      /* msg->rows                                 */
	SAT_CFX_STAGE_EVICT,     /* msg->evict                                */
	SAT_CFX_STORE_MARK,      /* msg->mark                                 */
	SAT_CFX_STORE_REPAIR,    /* msg->repair, the answer                   */
	SAT_CFX_CHECKPOINT,      /* msg->checkpoint                           */
	SAT_CFX_TIMER, /* TICK at at_ms; replaces the one before             */
	SAT_CFX_WIPE,  /* destroy the replica (discard: whatever it holds),
			  then report WIPED; CLOSE follows                   */
	SAT_CFX_CLOSE, /* the last effect: rc, wire, transient, retry_ms     */
};

struct sat_csession_effect {
	enum sat_csession_effect_kind kind;
	const struct sat_msg *msg; /* SEND: valid until the next call;
				      others: the event's                  */
	uint64_t seq, offset;      /* PUSH_PART */
	uint32_t part;
	uint32_t no; /* ASK */
	size_t max;
	uint32_t trip_ms; /* STORE_WELCOME: half the time that HELLO and its
			     answer took; the offset is too large by as much  */
	bool discard;     /* WIPE  */
	uint64_t at_ms;   /* TIMER */
	int rc;         /* CLOSE: SAT_OK, or why                              */
	uint32_t wire;  /* CLOSE: the ERROR code that came from or went to the
			   server (enum sat_wire_error), 0 for none         */
	bool transient; /* CLOSE: trying again can help                       */
	uint32_t retry_ms; /* CLOSE: the server's hint, 0 for none            */
};

/* Owner's memory; the members are session.c's. */
struct sat_csession {
	enum sat_csession_state state;
	uint64_t ping_ms;
	uint64_t now_ms, heard_ms, opened_ms;
	int64_t wall_ms;

	struct sat_msg_hello hello;
	struct sat_msg out;          /* what SEND points to             */
	const struct sat_msg *store; /* of the store effect under way   */
	enum sat_csession_effect_kind store_kind;
	bool store_given; /* the effect was taken, STORED is awaited     */
	size_t store_bytes;

	uint64_t outbox_last;  /* highest seq harvested                      */
	uint64_t server_last;  /* WELCOME.last_seq                           */
	uint64_t sent_last;    /* highest seq that was sent whole            */
	uint64_t push_seq;     /* the changeset being sent                   */
	uint64_t push_offset;  /* bytes of it sent                           */
	uint32_t push_part;    /* parts of it sent                           */
	bool push_given;       /* SENT is awaited                            */
	bool push_moved;       /* ... of a changeset that is not the one now */
	bool push_early;       /* parts may go before WELCOME                */
	uint64_t push_hold_ms; /* server's disk is full: not before this, 0 */
	uint64_t window, in_flight; /* bytes                                 */
	bool link_full;

	uint64_t verdict_next;  /* the only seq whose VERDICT may come        */
	uint64_t verdict_seq;   /* stored                                     */
	uint64_t verdict_told;  /* credited                                   */
	uint64_t bytes_owed;    /* rows staged, not credited yet              */
	uint64_t cursor_owed;   /* checkpoint applied, not credited yet; 0    */
	uint64_t fresh_seq;     /* verdicts stored when the last applied
				   CHECKPOINT came                          */
	bool checkpointed;      /* one was applied on this connection         */
	uint32_t catalogue;     /* version held                               */
	uint32_t catalogue_due; /* rows may not come before this version    */
	uint8_t ratchet[16];
	uint32_t trip_ms; /* half of HELLO's way there and back */

	/* Repair, session_repair.c. */
	uint32_t ask_no; /* the last one's                             */
	bool ask_due;    /* ASK is to be given                         */
	bool ask_given;  /* ... was: ASKED is awaited                  */
	bool ask_out;    /* the answer is                              */
	bool ask_void;   /* ... and nobody is interested in it any more */
	bool ask_rows;   /* rows were asked for: a CHECKPOINT is owed  */
	bool mending;    /* from a difference to its end               */

	bool hello_owed, ratchet_owed, pong_owed, ping_owed, error_owed;
	bool wipe_owed, close_owed, pinged;
	bool discard, wiped;
	uint64_t ping_nonce, pong_nonce, pinged_ms, timer_ms;
	int rc;
	uint32_t wire, retry_ms;
	bool transient;
};

/* ping_ms: an idle connection is tested after this long. */
void sat_csession_init(struct sat_csession *s, uint64_t ping_ms);

/* Take one event. Cannot fail: what goes wrong is a CLOSE effect. Events
 * after CLOSED change nothing. */
void sat_csession_step(struct sat_csession *s,
		       const struct sat_csession_event *ev);

/* The next effect, if there is one. */
bool sat_csession_next(struct sat_csession *s, struct sat_csession_effect *ret);

/* May a MSG be handed in? */
bool sat_csession_ready(const struct sat_csession *s);

/* The PUSH for a PUSH_PART effect from what the outbox gave: len bytes at
 * its offset, of total, hash of the whole. Borrows bytes. */
void sat_csession_part(const struct sat_csession_effect *fx,
		       struct sat_slice bytes, uint64_t total,
		       const uint8_t hash[16], struct sat_msg *ret);

/* Connected in the eyes of a person: the server has accepted us. */
bool sat_csession_live(const struct sat_csession *s);

/* Is every changeset up to target_seq decided (durably here), and was a
 * checkpoint applied that the server took after the last of these verdicts?
 * A server sends no CHECKPOINT behind a VERDICT that was taken before it. Not
 * while differences are being mended. */
bool sat_csession_caught_up(const struct sat_csession *s, uint64_t target_seq);

/* May a conversation about differences begin? Until it ends (PROTOCOL.md
 * section 17) there is no other; none before the first CHECKPOINT. */
bool sat_csession_may_ask(const struct sat_csession *s);
/* Is one under way, apart from the CHECKPOINT that ends it? */
bool sat_csession_asking(const struct sat_csession *s);

#endif
