#include "client/sync/session_parts.h"

#include <string.h>

/* Everything a step decides is a flag or a number in the struct; next() turns
 * them into effects in a fixed order. So nothing is queued, and an owner that
 * stops taking effects for a while loses nothing. */

static const uint32_t may_move[] = {
	[SAT_CSESSION_IDLE] =
		1u << SAT_CSESSION_HELLO_SENT | 1u << SAT_CSESSION_CLOSED,
	[SAT_CSESSION_HELLO_SENT] =
		1u << SAT_CSESSION_LIVE | 1u << SAT_CSESSION_CLOSED,
	[SAT_CSESSION_LIVE] = 1u << SAT_CSESSION_CLOSED,
	[SAT_CSESSION_CLOSED] = 0,
};

static void move(struct sat_csession *s, enum sat_csession_state to)
{
	SAT_ASSERT(may_move[s->state] & 1u << to);
	s->state = to;
}

void sat_csession_shut(struct sat_csession *s, int rc, uint32_t wire,
		       bool transient)
{
	if (s->state == SAT_CSESSION_CLOSED)
		return;
	move(s, SAT_CSESSION_CLOSED);
	s->rc = rc;
	s->wire = wire;
	s->transient = transient;
	s->close_owed = true;
}

/* The server broke the protocol: say so, then leave. Trying again later can
 * help, for it may be a bug that the next version of the server has not. */
void sat_csession_broken(struct sat_csession *s, uint32_t wire)
{
	if (s->state == SAT_CSESSION_CLOSED)
		return;
	s->error_owed = s->state != SAT_CSESSION_IDLE && !s->hello_owed;
	sat_csession_shut(s, wire == SAT_WIRE_LIMIT ? SAT_E_LIMIT : SAT_E_PROTO,
			  wire, true);
}

void sat_csession_init(struct sat_csession *s, uint64_t ping_ms)
{
	memset(s, 0, sizeof *s);
	s->ping_ms = ping_ms;
}

bool sat_csession_ready(const struct sat_csession *s)
{
	return s->store == NULL && s->state != SAT_CSESSION_CLOSED &&
	       s->state != SAT_CSESSION_IDLE;
}

bool sat_csession_live(const struct sat_csession *s)
{
	return s->state == SAT_CSESSION_LIVE;
}

bool sat_csession_caught_up(const struct sat_csession *s, uint64_t target_seq)
{
	return s->state == SAT_CSESSION_LIVE && s->checkpointed &&
	       !s->mending && s->fresh_seq >= target_seq;
}

/* ---- what comes in ------------------------------------------------------ */

void sat_csession_store(struct sat_csession *s,
			enum sat_csession_effect_kind kind,
			const struct sat_msg *msg)
{
	s->store = msg;
	s->store_kind = kind;
	s->store_given = false;
}

static void push_from(struct sat_csession *s, uint64_t seq)
{
	s->push_seq = seq;
	s->push_offset = 0;
	s->push_part = 0;
	s->push_moved = s->push_given;
}

static void on_open(struct sat_csession *s, const struct sat_msg_hello *hello)
{
	if (s->state != SAT_CSESSION_IDLE)
		return;
	move(s, SAT_CSESSION_HELLO_SENT);
	s->hello = *hello;
	s->hello_owed = true;
	s->opened_ms = s->heard_ms = s->now_ms;
	s->outbox_last = hello->last_seq;
	s->verdict_seq = s->verdict_told = hello->verdict_seq;
	s->catalogue = hello->catalogue;
	push_from(s, hello->verdict_seq + 1);
	s->sent_last = hello->verdict_seq;
	s->window = SAT_CSESSION_EARLY_BYTES;
	/* Frames may follow HELLO without waiting, which saves a round trip;
	 * but a device that never saw a WELCOME knows neither epoch nor
	 * catalogue and waits. */
	s->push_early = hello->epoch != 0 && hello->catalogue != 0;
}

static void on_welcome(struct sat_csession *s, const struct sat_msg *msg)
{
	const struct sat_msg_welcome *w = &msg->welcome;

	if (s->state != SAT_CSESSION_HELLO_SENT || s->hello_owed) {
		sat_csession_broken(s, SAT_WIRE_PROTOCOL);
		return;
	}
	if (w->version < s->hello.version_min ||
	    w->version > s->hello.version_max) {
		sat_csession_broken(s, SAT_WIRE_VERSION);
		return;
	}
	move(s, SAT_CSESSION_LIVE);
	/* The server took the time of HELLO's arrival for that of its sending;
	 * in the middle of the two ways it is wrong by the least. The answer
	 * comes within 30 s, so this is a small number. */
	s->trip_ms = (uint32_t)((s->now_ms - s->opened_ms) / 2);
	s->window = w->push_window;
	s->server_last = w->last_seq;
	s->catalogue_due = w->catalogue;
	memcpy(s->ratchet, w->ratchet, sizeof s->ratchet);
	/* A server that has decided less than we have stored was restored:
	 * what it lacks is offered again, and its verdicts start there. */
	s->verdict_next = s->verdict_seq + 1;
	if (w->last_seq < s->verdict_seq) {
		s->verdict_seq = s->verdict_told = w->last_seq;
		s->verdict_next = w->last_seq + 1;
		s->sent_last = w->last_seq;
	}
	/* Pushes behind HELLO go on where they are, unless the server has
	 * decided them already (it drops those) or lacks earlier ones. */
	if (w->last_seq >= s->push_seq || w->last_seq < s->hello.verdict_seq)
		push_from(s, w->last_seq + 1);
	if (s->sent_last < w->last_seq)
		s->sent_last = w->last_seq;
	sat_csession_store(s, SAT_CFX_STORE_WELCOME, msg);
}

static void on_verdict(struct sat_csession *s, const struct sat_msg *msg)
{
	/* Of changesets that were never sent whole nobody can know. */
	if (msg->verdict.seq != s->verdict_next ||
	    msg->verdict.seq > s->sent_last) {
		sat_csession_broken(s, SAT_WIRE_PROTOCOL);
		return;
	}
	sat_csession_store(s, SAT_CFX_STORE_VERDICT, msg);
}

/* The server's disk is full: it stays, reads go on, and pushes are tried
 * again from the first changeset without a verdict. Anything else ends the
 * connection. */
static void on_error(struct sat_csession *s, const struct sat_msg_error *e)
{
	int rc = SAT_E_PROTO;

	s->retry_ms = e->retry_ms;
	if (e->code == SAT_WIRE_FULL && e->transient &&
	    s->state == SAT_CSESSION_LIVE) {
		s->push_hold_ms =
			s->now_ms +
			(e->retry_ms != 0 ? e->retry_ms : SAT_CSESSION_FULL_MS);
		return;
	}
	switch (e->code) {
	case SAT_WIRE_UNKNOWN:
	case SAT_WIRE_REVOKED:
	case SAT_WIRE_INVITE:
	case SAT_WIRE_FORKED:
		rc = SAT_E_DENIED;
		break;
	case SAT_WIRE_VERSION:
	case SAT_WIRE_CATALOGUE:
		rc = SAT_E_NEWER;
		break;
	case SAT_WIRE_FULL:
		rc = SAT_E_FULL;
		break;
	case SAT_WIRE_SUPERSEDED:
		rc = SAT_E_CLOSED;
		break;
	case SAT_WIRE_LIMIT:
		rc = SAT_E_LIMIT;
		break;
	default:
		rc = e->transient ? SAT_E_BUSY : SAT_E_PROTO;
		break;
	}
	sat_csession_shut(s, rc, e->code, e->transient);
}

static void on_credit(struct sat_csession *s, const struct sat_msg_credit *c)
{
	if (c->bytes > s->in_flight) {
		sat_csession_broken(s, SAT_WIRE_PROTOCOL);
		return;
	}
	s->in_flight -= c->bytes;
}

static void on_pong(struct sat_csession *s)
{
	/* Also sent unasked, as a life sign while pushes wait. */
	s->pinged = false;
}

/* Messages that only a server that has welcomed us may send. */
static void on_live_msg(struct sat_csession *s, const struct sat_msg *m)
{
	switch (m->type) {
	case SAT_MSG_VERDICT:
		on_verdict(s, m);
		return;
	case SAT_MSG_ROWS:
	case SAT_MSG_EVICT:
	case SAT_MSG_CHECKPOINT:
		if (s->catalogue < s->catalogue_due) {
			sat_csession_broken(s, SAT_WIRE_PROTOCOL);
			return;
		}
		sat_csession_store(s,
				   m->type == SAT_MSG_ROWS ? SAT_CFX_STAGE_ROWS
				   : m->type == SAT_MSG_EVICT
					   ? SAT_CFX_STAGE_EVICT
					   : SAT_CFX_CHECKPOINT,
				   m);
		return;
	case SAT_MSG_CREDIT:
		on_credit(s, &m->credit);
		return;
	case SAT_MSG_GRANT:
		sat_csession_store(s, SAT_CFX_STORE_GRANT, m);
		return;
	case SAT_MSG_MARK:
		sat_csession_store(s, SAT_CFX_STORE_MARK, m);
		return;
	case SAT_MSG_REPAIR:
		sat_csession_on_repair(s, m);
		return;
	case SAT_MSG_CATALOGUE:
		if (m->catalogue.version > s->catalogue)
			sat_csession_store(s, SAT_CFX_STORE_CATALOGUE, m);
		return;
	default: /* a device's own kinds, WELCOME again, reserved ones */
		sat_csession_broken(s, SAT_WIRE_PROTOCOL);
	}
}

static void on_msg(struct sat_csession *s, const struct sat_csession_event *ev)
{
	const struct sat_msg *m = ev->msg;

	SAT_ASSERT(s->store == NULL);
	s->heard_ms = s->now_ms;
	s->store_bytes = ev->frame_bytes;
	switch (m->type) {
	case SAT_MSG_WELCOME:
		on_welcome(s, m);
		return;
	case SAT_MSG_ERROR:
		on_error(s, &m->error);
		return;
	case SAT_MSG_PING:
		s->pong_nonce = m->ping.nonce;
		s->pong_owed = true;
		return;
	case SAT_MSG_PONG:
		on_pong(s);
		return;
	case SAT_MSG_WIPE:
		s->wipe_owed = true;
		s->discard = m->wipe.discard;
		sat_csession_shut(s, SAT_E_DENIED, SAT_WIRE_REVOKED, false);
		return;
	default:
		break;
	}
	if (s->state == SAT_CSESSION_LIVE)
		on_live_msg(s, m);
	else
		sat_csession_broken(s, SAT_WIRE_PROTOCOL);
}

/* ---- results ------------------------------------------------------------ */

static void on_stored(struct sat_csession *s,
		      const struct sat_csession_event *ev)
{
	const struct sat_msg *m = s->store;

	SAT_ASSERT(m != NULL && s->store_given);
	s->store = NULL;
	if (s->state == SAT_CSESSION_CLOSED)
		return;
	if (ev->rc != SAT_OK) {
		sat_csession_shut(s, ev->rc, 0, true);
		return;
	}
	switch (m->type) {
	case SAT_MSG_WELCOME:
		s->ratchet_owed = true;
		break;
	case SAT_MSG_VERDICT:
		s->verdict_next = m->verdict.seq + 1;
		s->verdict_seq = m->verdict.seq;
		break;
	case SAT_MSG_ROWS:
	case SAT_MSG_EVICT:
		s->bytes_owed += s->store_bytes;
		break;
	case SAT_MSG_CHECKPOINT:
		s->cursor_owed = m->checkpoint.cursor;
		s->fresh_seq = s->verdict_seq;
		s->checkpointed = true;
		sat_csession_on_compared(s, ev->differs);
		break;
	case SAT_MSG_REPAIR:
		sat_csession_on_repaired(s);
		break;
	case SAT_MSG_GRANT:
		sat_csession_forget_asks(s);
		break;
	case SAT_MSG_CATALOGUE:
		s->catalogue = m->catalogue.version;
		sat_csession_forget_asks(s);
		break;
	default:
		break;
	}
}

static void on_sent(struct sat_csession *s, const struct sat_csession_event *ev)
{
	SAT_ASSERT(s->push_given);
	s->push_given = false;
	if (ev->full)
		s->link_full = true;
	if (s->state == SAT_CSESSION_CLOSED)
		return;
	if (ev->rc != SAT_OK || ev->total == 0 || ev->len == 0) {
		sat_csession_shut(s, ev->rc != SAT_OK ? ev->rc : SAT_E_CORRUPT,
				  0, true);
		return;
	}
	s->in_flight += ev->len;
	if (s->push_moved) { /* meanwhile the server asked for another one */
		s->push_moved = false;
		return;
	}
	if (ev->len > ev->total - s->push_offset) {
		sat_csession_shut(s, SAT_E_CORRUPT, 0, true);
		return;
	}
	s->push_offset += ev->len;
	s->push_part++;
	if (s->push_offset < ev->total)
		return;
	if (s->sent_last < s->push_seq)
		s->sent_last = s->push_seq;
	push_from(s, s->push_seq + 1);
}

/* ---- time --------------------------------------------------------------- */

/* A link that has been silent for long may be half open: what we are about
 * to rely on it for is lost until somebody finds out. */
static void probe(struct sat_csession *s)
{
	if (s->state == SAT_CSESSION_LIVE && !s->pinged &&
	    s->now_ms - s->heard_ms >= SAT_CSESSION_PONG_MS)
		s->ping_owed = true;
}

static bool waiting(const struct sat_csession *s)
{
	return s->in_flight > 0 || s->ask_out ||
	       s->sent_last >= s->verdict_next;
}

static uint64_t quiet_ms(const struct sat_csession *s)
{
	if (waiting(s) && s->ping_ms > SAT_CSESSION_WAITING_MS)
		return SAT_CSESSION_WAITING_MS;
	return s->ping_ms;
}

/* When a PING without an answer means that nobody is there: while something
 * is outstanding, silence as a whole is bounded, the PING's share included
 * (SYNC section 11). */
static uint64_t pong_due(const struct sat_csession *s)
{
	uint64_t due = s->pinged_ms + SAT_CSESSION_PONG_MS;
	uint64_t silent = s->heard_ms + SAT_CSESSION_PONG_MS;
	uint64_t least = s->pinged_ms + SAT_CSESSION_PONG_LEAST_MS;

	if (!waiting(s) || silent >= due)
		return due;
	return silent > least ? silent : least;
}

static void on_tick(struct sat_csession *s)
{
	s->timer_ms = 0;
	if (s->state == SAT_CSESSION_HELLO_SENT &&
	    s->now_ms - s->opened_ms >= SAT_CSESSION_WELCOME_MS) {
		sat_csession_shut(s, SAT_E_TIMEOUT, 0, true);
		return;
	}
	if (s->state != SAT_CSESSION_LIVE)
		return;
	if (s->pinged && s->now_ms >= pong_due(s)) {
		if (s->heard_ms < s->pinged_ms) {
			sat_csession_shut(s, SAT_E_TIMEOUT, 0, true);
			return;
		}
		s->pinged = false; /* heard otherwise: alive */
	}
	if (!s->pinged && s->now_ms - s->heard_ms >= quiet_ms(s))
		s->ping_owed = true;
	if (s->push_hold_ms != 0 && s->now_ms >= s->push_hold_ms) {
		s->push_hold_ms = 0;
		push_from(s, s->verdict_next > s->server_last
				     ? s->verdict_next
				     : s->server_last + 1);
	}
}

/* When something must happen even if nothing comes in; 0: never. */
static uint64_t deadline(const struct sat_csession *s)
{
	uint64_t at;

	if (s->state == SAT_CSESSION_HELLO_SENT)
		return s->opened_ms + SAT_CSESSION_WELCOME_MS;
	if (s->state != SAT_CSESSION_LIVE)
		return 0;
	at = s->pinged ? pong_due(s) : s->heard_ms + quiet_ms(s);
	if (s->push_hold_ms != 0 && s->push_hold_ms < at)
		at = s->push_hold_ms;
	return at;
}

void sat_csession_step(struct sat_csession *s,
		       const struct sat_csession_event *ev)
{
	s->now_ms = ev->now_ms;
	s->wall_ms = ev->wall_ms;
	if (ev->kind == SAT_CEV_WIPED) {
		s->wiped = true;
		return;
	}
	if (ev->kind == SAT_CEV_STORED) {
		on_stored(s, ev);
		return;
	}
	if (ev->kind == SAT_CEV_SENT) {
		on_sent(s, ev);
		return;
	}
	if (ev->kind == SAT_CEV_ASKED) {
		sat_csession_on_asked(s, ev);
		return;
	}
	if (s->state == SAT_CSESSION_CLOSED)
		return;
	switch (ev->kind) {
	case SAT_CEV_OPEN:
		on_open(s, ev->hello);
		break;
	case SAT_CEV_MSG:
		on_msg(s, ev);
		break;
	case SAT_CEV_UNKNOWN:
		s->heard_ms = s->now_ms;
		if (!sat_msg_ignorable(ev->type))
			sat_csession_broken(s, SAT_WIRE_PROTOCOL);
		break;
	case SAT_CEV_BAD:
		sat_csession_broken(s, ev->rc == SAT_E_LIMIT
					       ? SAT_WIRE_LIMIT
					       : SAT_WIRE_PROTOCOL);
		break;
	case SAT_CEV_OUTBOX:
		if (ev->last_seq > s->outbox_last) {
			s->outbox_last = ev->last_seq;
			probe(s);
		}
		break;
	case SAT_CEV_FULL:
	case SAT_CEV_DRAINED:
		s->link_full = ev->kind == SAT_CEV_FULL;
		break;
	case SAT_CEV_PROBE:
		probe(s);
		break;
	case SAT_CEV_TICK:
		on_tick(s);
		break;
	case SAT_CEV_DAMAGED:
		sat_csession_ask_again(s);
		break;
	case SAT_CEV_STOP:
		sat_csession_shut(s, SAT_OK, 0, true);
		break;
	default:
		SAT_UNREACHABLE("event kind");
	}
}

/* ---- what goes out ------------------------------------------------------ */

static bool emit(struct sat_csession *s, enum sat_msg_type type,
		 struct sat_csession_effect *ret)
{
	s->out.type = type;
	ret->kind = SAT_CFX_SEND;
	ret->msg = &s->out;
	return true;
}

static bool next_last_words(struct sat_csession *s,
			    struct sat_csession_effect *ret)
{
	if (s->error_owed) {
		s->error_owed = false;
		memset(&s->out, 0, sizeof s->out);
		s->out.error.code = s->wire;
		s->out.error.text = sat_slice_str("unexpected message");
		return emit(s, SAT_MSG_ERROR, ret);
	}
	if (s->wipe_owed) {
		s->wipe_owed = false;
		ret->kind = SAT_CFX_WIPE;
		ret->discard = s->discard;
		return true;
	}
	if (s->wiped) {
		s->wiped = false;
		memset(&s->out, 0, sizeof s->out);
		return emit(s, SAT_MSG_WIPE, ret);
	}
	if (!s->close_owed)
		return false;
	s->close_owed = false;
	ret->kind = SAT_CFX_CLOSE;
	ret->rc = s->rc;
	ret->wire = s->wire;
	ret->transient = s->transient;
	ret->retry_ms = s->retry_ms;
	return true;
}

/* Credit is told when it matters: all verdicts of what was sent, every 64th,
 * a checkpoint, a quarter of the window. Every one costs the server a write.
 */
static bool next_credit(struct sat_csession *s, struct sat_csession_effect *ret)
{
	struct sat_msg_credit *c = &s->out.credit;
	uint64_t verdicts = s->verdict_seq - s->verdict_told;

	if (!s->ratchet_owed && s->cursor_owed == 0 &&
	    s->bytes_owed < SAT_CSESSION_CREDIT_BYTES &&
	    verdicts < SAT_CSESSION_CREDIT_VERDICTS &&
	    (verdicts == 0 || s->verdict_seq < s->sent_last))
		return false;
	memset(&s->out, 0, sizeof s->out);
	c->bytes = s->bytes_owed;
	c->cursor = s->cursor_owed;
	if (c->cursor != 0)
		c->last_seq = s->outbox_last;
	if (verdicts > 0)
		c->verdict_seq = s->verdict_seq;
	c->has_ratchet = s->ratchet_owed;
	if (c->has_ratchet) {
		memcpy(c->ratchet, s->ratchet, sizeof c->ratchet);
		c->trip_ms = s->trip_ms;
	}
	s->bytes_owed = 0;
	s->cursor_owed = 0;
	s->ratchet_owed = false;
	s->verdict_told = s->verdict_seq;
	return emit(s, SAT_MSG_CREDIT, ret);
}

static bool next_answer(struct sat_csession *s, struct sat_csession_effect *ret)
{
	memset(&s->out, 0, sizeof s->out);
	if (s->pong_owed) {
		s->pong_owed = false;
		s->out.ping.nonce = s->pong_nonce;
		s->out.ping.clock_ms = s->wall_ms;
		return emit(s, SAT_MSG_PONG, ret);
	}
	if (!s->ping_owed)
		return false;
	s->ping_owed = false;
	s->pinged = true;
	s->pinged_ms = s->now_ms;
	s->out.ping.nonce = ++s->ping_nonce;
	s->out.ping.clock_ms = s->wall_ms;
	return emit(s, SAT_MSG_PING, ret);
}

static bool next_push(struct sat_csession *s, struct sat_csession_effect *ret)
{
	uint64_t room, least;

	if (s->push_given || s->link_full || s->push_hold_ms != 0 ||
	    s->push_seq > s->outbox_last)
		return false;
	if (s->state == SAT_CSESSION_HELLO_SENT
		    ? !s->push_early
		    : s->store != NULL &&
			      s->store_kind == SAT_CFX_STORE_WELCOME)
		return false;
	/* Wait for a part worth sending rather than follow every byte of
	 * credit. */
	room = s->window > s->in_flight ? s->window - s->in_flight : 0;
	least = s->window / 4 < SAT_CSESSION_PART_BYTES
			? s->window / 4
			: SAT_CSESSION_PART_BYTES;
	if (room == 0 || room < least)
		return false;
	s->push_given = true;
	ret->kind = SAT_CFX_PUSH_PART;
	ret->seq = s->push_seq;
	ret->offset = s->push_offset;
	ret->part = s->push_part;
	ret->max = room < SAT_CSESSION_PART_BYTES ? (size_t)room
						  : SAT_CSESSION_PART_BYTES;
	return true;
}

bool sat_csession_next(struct sat_csession *s, struct sat_csession_effect *ret)
{
	uint64_t at = deadline(s);

	memset(ret, 0, sizeof *ret);
	if (s->state == SAT_CSESSION_CLOSED)
		return next_last_words(s, ret);
	if (s->hello_owed) {
		s->hello_owed = false;
		memset(&s->out, 0, sizeof s->out);
		s->out.hello = s->hello;
		return emit(s, SAT_MSG_HELLO, ret);
	}
	if (s->store != NULL && !s->store_given) {
		s->store_given = true;
		ret->kind = s->store_kind;
		ret->msg = s->store;
		ret->trip_ms = s->trip_ms;
		return true;
	}
	if (s->state == SAT_CSESSION_LIVE && next_credit(s, ret))
		return true;
	if (next_answer(s, ret) || sat_csession_next_ask(s, ret) ||
	    next_push(s, ret))
		return true;
	/* A timer that comes too early does no harm; setting it at every
	 * message would. */
	if (at == 0 || (s->timer_ms != 0 && s->timer_ms <= at))
		return false;
	s->timer_ms = at;
	ret->kind = SAT_CFX_TIMER;
	ret->at_ms = at;
	return true;
}

void sat_csession_part(const struct sat_csession_effect *fx,
		       struct sat_slice bytes, uint64_t total,
		       const uint8_t hash[16], struct sat_msg *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->type = SAT_MSG_PUSH;
	ret->push.seq = fx->seq;
	ret->push.part = fx->part;
	ret->push.total = total;
	ret->push.bytes = bytes;
	ret->push.last = fx->offset + bytes.len == total;
	if (ret->push.last)
		memcpy(ret->push.hash, hash, sizeof ret->push.hash);
}
