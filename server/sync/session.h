/* session.h - the server's side of one connection, as a function.
 *
 *   IDLE --OPEN--> WAIT_HELLO --HELLO--> JUDGING --welcome--> REPLAY
 *                                                    verdicts sent |
 *   CLOSED <---- error, refusal, timeout, revoked ----- LIVE <-----+
 *      ^                                                  |
 *      +------------- last verdict sent -- DRAINING <-----+ (shutdown)
 *
 * PURE but for the memory of a changeset being assembled. Used as the device's
 * side (client/sync/session.h): step, then take effects and perform them in
 * order. A message is handed in only while sat_ssession_ready(); otherwise
 * the owner's link is paused, which is the only flow control there is:
 * nothing behind HELLO is read before HELLO is judged.
 *
 * Order that devices may rely on: WELCOME; CATALOGUE, if theirs is older;
 * replayed verdicts; then verdicts in seq order among pages. A CHECKPOINT
 * that follows a VERDICT comes from a snapshot that holds its commit: so
 * verdicts that arrive during a read wait until its page has been sent.
 *
 * REPAIR (PROTOCOL.md section 17): one ask at a time, answered between two
 * reads, so its snapshot is never older than that of a page sent before.
 */
#ifndef SAT_SERVER_SESSION_H
#define SAT_SERVER_SESSION_H

#include "proto/changeset.h"
#include "proto/message.h"
#include "server/feed/feed.h"

enum {
	SAT_SSESSION_HELLO_MS = 10 * 1000, /* connection without HELLO       */
	SAT_SSESSION_PART_MS = 120 * 1000, /* changeset begun, no more parts */
	SAT_SSESSION_SLOW_MS = 60 * 1000,  /* link full all the time         */
	SAT_SSESSION_CREDIT_MS = 300 * 1000, /* rows sent, no credit at all   */
	SAT_SSESSION_PONG_MS = 25 * 1000,
	SAT_SSESSION_ALIVE_MS = 10 * 1000, /* a life sign while they wait     */
	SAT_SSESSION_DRAIN_MS = 4 * 1000,  /* shutdown: last verdicts         */
	SAT_SSESSION_ROWS_WINDOW = 1024 * 1024, /* un-credited data bytes     */
	SAT_SSESSION_PUSHES_MAX = 1024, /* changesets waiting for the commit  */
	SAT_SSESSION_HELD_BYTES_MAX = 1024 * 1024,
	SAT_SSESSION_PART_BYTES_MAX = 1024 * 1024,
	SAT_SSESSION_FULL_RETRY_MS = 5 * 1000,
};

enum sat_ssession_state {
	SAT_SSESSION_IDLE,
	SAT_SSESSION_WAIT_HELLO,
	SAT_SSESSION_JUDGING,
	SAT_SSESSION_REPLAY,
	SAT_SSESSION_LIVE,
	SAT_SSESSION_DRAINING,
	SAT_SSESSION_CLOSED,
};

enum sat_ssession_event_kind {
	SAT_SEV_OPEN,       /* replica: from the certificate                 */
	SAT_SEV_MSG,        /* msg                                           */
	SAT_SEV_UNKNOWN,    /* a frame of a type that we do not know: type   */
	SAT_SEV_BAD,        /* a frame that does not decode: rc              */
	SAT_SEV_HELLO_DONE, /* welcome, at, live; or error                   */
	SAT_SEV_CATALOGUE,  /* catalogue, or error                           */
	SAT_SEV_VERDICTS,   /* frames, seq of the last one, more; or error   */
	SAT_SEV_RESERVED,   /* memory was granted                            */
	SAT_SEV_PUSH_DONE,  /* seq; frames: the VERDICT; or error            */
	SAT_SEV_PAGE,       /* frames, data_bytes, at, checkpoint, version of
			       the catalogue; or error                     */
	SAT_SEV_REPAIRED,   /* the same for an ask: frames, data_bytes      */
	SAT_SEV_NOTIFY,     /* seq: commit_seq that moved one of our scopes  */
	SAT_SEV_RIGHTS,     /* rights, whole                                 */
	SAT_SEV_NEWER,      /* version: there is a newer catalogue           */
	SAT_SEV_FULL,       /* the link has enough queued                    */
	SAT_SEV_DRAINED,    /* the link takes more                           */
	SAT_SEV_TICK,       /* time passed                                   */
	SAT_SEV_DRAIN,      /* the server stops                              */
	SAT_SEV_REVOKED,    /* device or user revoked: not one byte more     */
	SAT_SEV_SUPERSEDED, /* a newer connection of the same replica        */
};

struct sat_ssession_event {
	enum sat_ssession_event_kind kind;
	uint64_t now_ms;  /* in every event; monotonic */
	int64_t wall_ms;  /* in every event            */
	uint32_t replica; /* OPEN                      */
	const struct sat_msg *msg;
	uint8_t type;
	int rc;
	const struct sat_msg_welcome *welcome; /* borrowed until sent */
	const struct sat_msg_catalogue *catalogue;
	const struct sat_rights *rights;
	/* What went wrong: sent to the device, then the connection ends. Its
	 * text is static. */
	const struct sat_msg_error *error;
	struct sat_slice frames; /* borrowed until the effects are taken */
	size_t data_bytes;
	/* PAGE: go on there. HELLO_DONE: start there; live: the device has a
	 * checkpoint of this history. */
	struct sat_feed_at at;
	bool live;
	bool whole; /* RIGHTS: other columns are read now, send everything */
	bool checkpoint, more;
	uint64_t seq;
	uint32_t version;
};

enum sat_ssession_effect_kind {
	SAT_SFX_SEND,           /* msg: encode and send                      */
	SAT_SFX_SEND_RAW,       /* frames                                    */
	SAT_SFX_DO_HELLO,       /* msg->hello: judge; then HELLO_DONE        */
	SAT_SFX_LOAD_CATALOGUE, /* then CATALOGUE                            */
	SAT_SFX_LOAD_VERDICTS,  /* stored ones with seq > `seq`, a bounded
				   number; then VERDICTS                   */
	SAT_SFX_RESERVE, /* room for `bytes` of a changeset; then RESERVED    */
	SAT_SFX_DO_PUSH, /* seq; changeset is the owner's now; PUSH_DONE      */
	SAT_SFX_DROP,    /* give the room asked for last back: `bytes`; no
			    RESERVED any more                              */
	SAT_SFX_DO_CONFIRM, /* msg->credit; no answer                        */
	SAT_SFX_DO_WIPED,   /* the device has forgotten all; no answer       */
	SAT_SFX_DO_READ,    /* at, live, told; then PAGE                     */
	SAT_SFX_TAKE_ASK,   /* keep msg->repair until the next one; no answer */
	SAT_SFX_DO_REPAIR,  /* answer the ask taken; then REPAIRED           */
	SAT_SFX_TIMER,      /* TICK at at_ms; replaces the one before        */
	SAT_SFX_CLOSE,      /* the last effect: rc; abrupt: drop the queue   */
};

struct sat_ssession_effect {
	enum sat_ssession_effect_kind kind;
	struct sat_msg msg; /* arrays and slices: until the next call */
	struct sat_slice frames;
	uint64_t seq;
	uint64_t bytes;
	struct sat_buf changeset; /* DO_PUSH: taken by the owner; its room
				     stays reserved until it is freed     */
	struct sat_feed_at at;
	bool live;
	uint64_t told; /* DO_READ: verdicts up to this seq are out         */
	uint64_t at_ms;
	int rc;
	bool abrupt;
};

/* Owner's memory; the members are session.c's. */
struct sat_ssession {
	enum sat_ssession_state state;
	uint32_t replica;
	uint64_t ping_ms, now_ms, timer_ms;
	uint64_t heard_ms, said_ms; /* last message in, last frames out       */
	uint64_t since_ms;          /* OPEN, then DRAIN                       */
	uint64_t part_ms, full_ms, credit_ms, pinged_ms;
	int64_t wall_ms;

	/* Of HELLO, until it is judged. */
	uint64_t hello_cursor;
	uint32_t hello_catalogue;

	uint32_t rights_version;
	uint32_t catalogue_told, catalogue_due;
	uint64_t replayed;     /* verdicts sent up to this seq                */
	uint64_t server_last;  /* WELCOME.last_seq                            */
	uint64_t push_next;    /* the changeset that must come next           */
	uint64_t verdict_next; /* the one whose result must come next         */
	uint64_t push_window, push_total;
	uint32_t push_part, pushes_out;
	struct sat_buf push;  /* the changeset being assembled                */
	struct sat_buf held;  /* verdicts that wait for the page              */
	uint64_t credit_owed; /* bytes */
	uint64_t uncredited;  /* data bytes sent                              */
	uint64_t drop_owed;   /* bytes */

	struct sat_feed_at at;
	uint64_t cursor;    /* of the last CHECKPOINT sent                    */
	uint64_t kept;      /* what the device has up to here stays good      */
	bool settled;       /* a CHECKPOINT was sent under these rights       */
	uint64_t dirty_seq; /* something of ours moved up to here             */
	uint64_t ping_nonce, pong_nonce;

	uint32_t asks; /* REPAIRs so far, the last one's number      */
	enum sat_repair_step ask_step;

	/* Borrowed between a step and its effects. */
	const struct sat_msg_repair *ask;
	const struct sat_msg_hello *hello;
	const struct sat_msg_welcome *welcome;
	const struct sat_msg_catalogue *catalogue;
	const struct sat_rights *rights;
	struct sat_slice frames;
	struct sat_msg_credit confirm;
	struct sat_msg_error error; /* last words                             */
	uint32_t full_retry_ms;     /* not 0: ERROR FULL is owed              */
	int rc;

	bool resync; /* ignore pushes until push_next comes from its start   */
	bool was_full; /* results of ignored pushes may still come           */
	bool live;   /* the device has a checkpoint under these rights       */
	bool pass;   /* a pull is under way                                  */
	bool owed;   /* a checkpoint behind the last verdict                 */
	bool asked;  /* an ask waits, or is being answered                 */
	bool asking; /* ... being answered: nothing else is read meanwhile */
	bool ask_empty; /* an empty answer is owed                           */
	bool ask_rows;  /* a checkpoint is due behind its answer              */
	bool repaired;  /* that checkpoint is due                             */
	bool reading, read_stale, held_given;
	bool loading;               /* the catalogue                          */
	bool replay_due, replaying; /* LOAD_VERDICTS to give, given           */
	bool reserve_owed, reserving, push_whole, push_owed;
	bool link_full, pinged, pong_owed, ping_owed, alive_owed;
	bool confirm_owed, error_owed, close_owed, abrupt;
	bool wiping, discard; /* nothing but verdicts and WIPE goes out     */
	bool wipe_sent, wiped_owed;
	uint64_t hello_last; /* the last changeset that the device has made  */
};

void sat_ssession_init(struct sat_ssession *s, uint64_t ping_ms);
/* Frees what is being assembled. */
void sat_ssession_fini(struct sat_ssession *s);

void sat_ssession_step(struct sat_ssession *s,
		       const struct sat_ssession_event *ev);
bool sat_ssession_next(struct sat_ssession *s, struct sat_ssession_effect *ret);

/* May a MSG be handed in? */
bool sat_ssession_ready(const struct sat_ssession *s);

/* Accepted and neither closed nor closing. */
bool sat_ssession_live(const struct sat_ssession *s);

#endif
