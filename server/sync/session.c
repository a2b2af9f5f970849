#include "server/sync/session_parts.h"

#include <string.h>

/* As on the device's side, a step only sets flags and numbers; next() in
 * session_next.c turns them into effects in a fixed order. */

void sat_ssession_init(struct sat_ssession *s, uint64_t ping_ms)
{
	memset(s, 0, sizeof *s);
	s->ping_ms = ping_ms;
	sat_buf_init(&s->push, SAT_CHANGESET_BYTES_MAX);
	sat_buf_init(&s->held, SAT_SSESSION_HELD_BYTES_MAX);
}

void sat_ssession_fini(struct sat_ssession *s)
{
	sat_buf_fini(&s->push);
	sat_buf_fini(&s->held);
}

bool sat_ssession_ready(const struct sat_ssession *s)
{
	if (s->state == SAT_SSESSION_WAIT_HELLO)
		return true;
	return s->state == SAT_SSESSION_LIVE && !s->reserving &&
	       s->pushes_out < SAT_SSESSION_PUSHES_MAX;
}

bool sat_ssession_live(const struct sat_ssession *s)
{
	return s->state == SAT_SSESSION_LIVE || s->state == SAT_SSESSION_REPLAY;
}

/* ---- HELLO and what follows it ------------------------------------------ */

static void on_hello(struct sat_ssession *s, const struct sat_msg_hello *h)
{
	if (h->version_min > SAT_PROTOCOL_VERSION ||
	    h->version_max < SAT_PROTOCOL_VERSION) {
		sat_ssession_broken(s, SAT_WIRE_VERSION,
				    "no common protocol version");
		return;
	}
	if (h->replica != s->replica) {
		sat_ssession_broken(
			s, SAT_WIRE_PROTOCOL,
			"HELLO names another replica than the certificate");
		return;
	}
	sat_ssession_move(s, SAT_SSESSION_JUDGING);
	s->hello = h;
	s->hello_cursor = h->cursor;
	s->hello_catalogue = h->catalogue;
	s->replayed = h->verdict_seq;
	s->hello_last = h->last_seq;
}

static void go_on(struct sat_ssession *s)
{
	if (s->state != SAT_SSESSION_REPLAY || s->replaying ||
	    s->catalogue_told < s->catalogue_due)
		return;
	if (s->replayed < s->server_last) {
		s->replay_due = true;
		return;
	}
	sat_ssession_move(s, SAT_SSESSION_LIVE);
	s->heard_ms = s->now_ms;
}

static void start_pull(struct sat_ssession *s, struct sat_feed_at at, bool live)
{
	s->at = at;
	s->pass = true;
	s->live = live;
	if (s->reading)
		s->read_stale = true;
}

static void on_welcome(struct sat_ssession *s,
		       const struct sat_ssession_event *ev)
{
	const struct sat_msg_welcome *w = ev->welcome;

	sat_ssession_move(s, SAT_SSESSION_REPLAY);
	s->welcome = w;
	s->server_last = w->last_seq;
	s->push_next = s->verdict_next = w->last_seq + 1;
	s->push_window = w->push_window;
	s->wiping = w->wipe;
	s->discard = w->discard;
	s->rights_version = w->rights.version;
	s->catalogue_told = s->hello_catalogue;
	s->catalogue_due = w->catalogue;
	/* A device that has more verdicts than we know of was served by a
	 * server that this one was restored from: what it sent behind HELLO
	 * starts too late, and it will begin again. */
	if (s->replayed > w->last_seq)
		s->resync = true;
	/* Its cursor says nothing about another history: positions up to it
	 * were given out again. */
	s->cursor = s->kept = ev->live ? s->hello_cursor : 0;
	start_pull(s, ev->at, ev->live);
	go_on(s);
}

static void on_catalogue(struct sat_ssession *s,
			 const struct sat_msg_catalogue *c)
{
	s->loading = false;
	if (c->version <= s->catalogue_told)
		return;
	s->catalogue = c;
	s->catalogue_told = c->version;
	if (s->catalogue_due < c->version)
		s->catalogue_due = c->version;
	go_on(s);
}

static void on_verdicts(struct sat_ssession *s,
			const struct sat_ssession_event *ev)
{
	s->replaying = false;
	s->frames = ev->frames;
	if (ev->seq > s->replayed)
		s->replayed = ev->seq;
	if (!ev->more)
		s->replayed = s->server_last;
	go_on(s);
}

/* ---- the feed ----------------------------------------------------------- */

static void on_credit(struct sat_ssession *s, const struct sat_msg_credit *c)
{
	if (c->bytes > s->uncredited || c->cursor > s->cursor ||
	    c->verdict_seq >= s->verdict_next) {
		sat_ssession_broken(s, SAT_WIRE_PROTOCOL,
				    "credit for what was not sent");
		return;
	}
	s->uncredited -= c->bytes;
	if (c->bytes > 0)
		s->credit_ms = s->now_ms;
	if (c->cursor == 0 && c->verdict_seq == 0 && !c->has_ratchet)
		return;
	s->confirm = *c;
	s->confirm_owed = true;
}

static void on_page(struct sat_ssession *s, const struct sat_ssession_event *ev)
{
	SAT_ASSERT(s->reading);
	s->reading = false;
	if (s->state != SAT_SSESSION_LIVE)
		return;
	if (s->read_stale) { /* made for rights that have changed since */
		s->read_stale = false;
		return;
	}
	if (ev->error != NULL) {
		sat_ssession_refuse(s, ev->error);
		return;
	}
	if (ev->version > s->catalogue_told) {
		/* Rows of a catalogue that the device has not got: read again
		 * once it has. */
		s->catalogue_due = ev->version;
		return;
	}
	s->frames = ev->frames;
	if (s->uncredited == 0)
		s->credit_ms = s->now_ms;
	s->uncredited += ev->data_bytes;
	s->at = ev->at;
	if (!ev->checkpoint)
		return;
	s->cursor = s->kept = ev->seq;
	s->settled = true;
	s->repaired = false;
	s->at = (struct sat_feed_at){ .cursor = ev->seq };
	s->live = true;
	s->pass = false;
	s->owed = s->held.len > s->held.head;
}

/* What the device has stays good up to its checkpoint; scopes that are new to
 * it are filled in from the start. */
static void on_rights(struct sat_ssession *s,
		      const struct sat_ssession_event *ev)
{
	struct sat_feed_at at = { .cursor = 0 };

	if (!sat_ssession_live(s) || ev->rights->version == s->rights_version)
		return;
	s->rights = ev->rights;
	s->rights_version = ev->rights->version;
	s->settled = false;
	if (ev->whole)
		s->kept = 0;
	at.cursor = s->kept;
	at.fill = at.cursor != 0;
	start_pull(s, at, at.fill);
}

/* ---- repair ------------------------------------------------------------- */

/* One at a time bounds what an ask can cost, their number what all can. */
static void on_ask(struct sat_ssession *s, const struct sat_msg_repair *m)
{
	if (s->asked || m->no <= s->asks || s->wiping) {
		sat_ssession_broken(s, SAT_WIRE_PROTOCOL,
				    "a REPAIR before the last one's answer");
		return;
	}
	if (m->no > SAT_REPAIR_ASKS_MAX) {
		sat_ssession_broken(s, SAT_WIRE_LIMIT, "too many REPAIRs");
		return;
	}
	s->asks = m->no;
	s->asked = true;
	s->ask = m;
	s->ask_step = m->step;
	s->ask_rows = m->step == SAT_REPAIR_ROWS && !m->more;
}

static void on_repaired(struct sat_ssession *s,
			const struct sat_ssession_event *ev)
{
	SAT_ASSERT(s->asking && s->reading);
	s->reading = s->asking = s->asked = false;
	if (s->state != SAT_SSESSION_LIVE)
		return;
	if (ev->error != NULL) {
		sat_ssession_refuse(s, ev->error);
		return;
	}
	if (ev->version > s->catalogue_told)
		s->catalogue_due = ev->version;
	/* Made for rights or a catalogue that have changed since: GRANT or
	 * CATALOGUE tell the device to forget about it. */
	s->ask_empty = s->read_stale || ev->version > s->catalogue_told;
	s->read_stale = false;
	s->repaired = s->repaired || s->ask_rows;
	if (s->ask_empty)
		return;
	s->frames = ev->frames;
	if (s->uncredited == 0)
		s->credit_ms = s->now_ms;
	s->uncredited += ev->data_bytes;
}

/* ---- time and ends ------------------------------------------------------ */

static void on_drain(struct sat_ssession *s)
{
	static const struct sat_msg_error e = {
		.code = SAT_WIRE_SHUTDOWN,
		.transient = true,
	};

	if (s->state != SAT_SSESSION_LIVE) {
		if (s->state != SAT_SSESSION_DRAINING)
			sat_ssession_refuse(s, &e);
		return;
	}
	sat_ssession_move(s, SAT_SSESSION_DRAINING);
	s->since_ms = s->now_ms;
}

/* True when the peer has used up its time. */
static bool too_late(const struct sat_ssession *s)
{
	uint64_t now = s->now_ms;

	if (s->state == SAT_SSESSION_WAIT_HELLO)
		return now - s->since_ms >= SAT_SSESSION_HELLO_MS;
	if (s->link_full && now - s->full_ms >= SAT_SSESSION_SLOW_MS)
		return true;
	if (s->state != SAT_SSESSION_LIVE)
		return false;
	if (s->push_part != 0 && !s->reserving && sat_ssession_ready(s) &&
	    now - s->part_ms >= SAT_SSESSION_PART_MS)
		return true;
	if (s->uncredited > 0 && now - s->credit_ms >= SAT_SSESSION_CREDIT_MS &&
	    s->uncredited >= SAT_SSESSION_ROWS_WINDOW)
		return true;
	return s->pinged && now - s->pinged_ms >= SAT_SSESSION_PONG_MS &&
	       s->heard_ms < s->pinged_ms;
}

static void on_tick(struct sat_ssession *s)
{
	uint64_t now = s->now_ms;

	s->timer_ms = 0;
	if (!sat_ssession_ready(s)) {
		/* We are the ones who do not listen. */
		s->heard_ms = s->part_ms = now;
		s->pinged = false;
	}
	if (too_late(s)) {
		sat_ssession_shut(s, SAT_E_TIMEOUT);
		return;
	}
	if (s->state == SAT_SSESSION_DRAINING &&
	    now - s->since_ms >= SAT_SSESSION_DRAIN_MS) {
		sat_ssession_broken(s, SAT_WIRE_SHUTDOWN, "the server stops");
		s->error.transient = true;
		return;
	}
	if (s->pinged && s->heard_ms >= s->pinged_ms)
		s->pinged = false;
	if (s->state == SAT_SSESSION_LIVE && !s->pinged &&
	    now - s->heard_ms >= s->ping_ms + s->ping_ms / 4)
		s->ping_owed = true;
	if (sat_ssession_live(s) &&
	    (s->pushes_out > 0 || s->reserving || s->replaying) &&
	    now - s->said_ms >= SAT_SSESSION_ALIVE_MS)
		s->alive_owed = true;
}

static void on_live_msg(struct sat_ssession *s, const struct sat_msg *m)
{
	switch (m->type) {
	case SAT_MSG_PUSH:
		sat_ssession_on_push(s, &m->push);
		return;
	case SAT_MSG_CREDIT:
		on_credit(s, &m->credit);
		return;
	case SAT_MSG_REPAIR:
		on_ask(s, &m->repair);
		return;
	case SAT_MSG_PING:
		s->pong_nonce = m->ping.nonce;
		s->pong_owed = true;
		return;
	case SAT_MSG_PONG:
		s->pinged = false;
		return;
	case SAT_MSG_WIPE: /* it has done as it was told */
		if (!s->wipe_sent) {
			sat_ssession_broken(s, SAT_WIRE_PROTOCOL,
					    "WIPE that nobody ordered");
			return;
		}
		s->wiped_owed = true;
		sat_ssession_shut(s, SAT_E_DENIED);
		return;
	case SAT_MSG_ERROR: /* the device leaves, and says why */
		sat_ssession_shut(s, sat_ssession_wire_rc(m->error.code));
		return;
	default:
		sat_ssession_broken(s, SAT_WIRE_PROTOCOL, "unexpected message");
	}
}

static void on_msg(struct sat_ssession *s, const struct sat_msg *m)
{
	SAT_ASSERT(sat_ssession_ready(s));
	s->heard_ms = s->now_ms;
	if (s->state == SAT_SSESSION_LIVE)
		on_live_msg(s, m);
	else if (m->type == SAT_MSG_HELLO)
		on_hello(s, &m->hello);
	else
		sat_ssession_broken(s, SAT_WIRE_PROTOCOL,
				    "HELLO must come first");
}

static void on_own_work(struct sat_ssession *s,
			const struct sat_ssession_event *ev)
{
	if (s->state == SAT_SSESSION_CLOSED)
		return;
	switch (ev->kind) {
	case SAT_SEV_HELLO_DONE:
		if (ev->error != NULL)
			sat_ssession_refuse(s, ev->error);
		else
			on_welcome(s, ev);
		return;
	case SAT_SEV_CATALOGUE:
		if (ev->error != NULL)
			sat_ssession_refuse(s, ev->error);
		else
			on_catalogue(s, ev->catalogue);
		return;
	case SAT_SEV_VERDICTS:
		if (ev->error != NULL)
			sat_ssession_refuse(s, ev->error);
		else
			on_verdicts(s, ev);
		return;
	case SAT_SEV_RESERVED:
		s->reserving = false;
		s->part_ms = s->now_ms;
		s->push_owed = s->push_whole;
		return;
	case SAT_SEV_NOTIFY:
		if (ev->seq > s->dirty_seq)
			s->dirty_seq = ev->seq;
		return;
	case SAT_SEV_RIGHTS:
		on_rights(s, ev);
		return;
	case SAT_SEV_NEWER:
		if (ev->version > s->catalogue_due)
			s->catalogue_due = ev->version;
		return;
	default:
		SAT_UNREACHABLE("event kind");
	}
}

static void on_link(struct sat_ssession *s, const struct sat_ssession_event *ev)
{
	switch (ev->kind) {
	case SAT_SEV_MSG:
		on_msg(s, ev->msg);
		return;
	case SAT_SEV_UNKNOWN:
		s->heard_ms = s->now_ms;
		if (!sat_msg_ignorable(ev->type) ||
		    s->state == SAT_SSESSION_WAIT_HELLO)
			sat_ssession_broken(s, SAT_WIRE_PROTOCOL,
					    "unknown message");
		return;
	case SAT_SEV_BAD:
		sat_ssession_broken(s,
				    ev->rc == SAT_E_LIMIT ? SAT_WIRE_LIMIT
							  : SAT_WIRE_PROTOCOL,
				    "a message could not be read");
		return;
	case SAT_SEV_FULL:
		if (!s->link_full)
			s->full_ms = s->now_ms;
		s->link_full = true;
		return;
	case SAT_SEV_DRAINED:
		s->link_full = false;
		return;
	default:
		SAT_UNREACHABLE("event kind");
	}
}

void sat_ssession_step(struct sat_ssession *s,
		       const struct sat_ssession_event *ev)
{
	static const struct sat_msg_error superseded = {
		.code = SAT_WIRE_SUPERSEDED,
		.transient = true,
	};

	s->now_ms = ev->now_ms;
	s->wall_ms = ev->wall_ms;
	if (ev->kind == SAT_SEV_PUSH_DONE) {
		sat_ssession_on_push_done(s, ev);
		return;
	}
	if (ev->kind == SAT_SEV_PAGE) {
		on_page(s, ev);
		return;
	}
	if (ev->kind == SAT_SEV_REPAIRED) {
		on_repaired(s, ev);
		return;
	}
	if (s->state == SAT_SSESSION_CLOSED)
		return;
	switch (ev->kind) {
	case SAT_SEV_OPEN:
		sat_ssession_move(s, SAT_SSESSION_WAIT_HELLO);
		s->replica = ev->replica;
		s->since_ms = s->heard_ms = s->said_ms = s->now_ms;
		break;
	case SAT_SEV_MSG:
	case SAT_SEV_UNKNOWN:
	case SAT_SEV_BAD:
	case SAT_SEV_FULL:
	case SAT_SEV_DRAINED:
		on_link(s, ev);
		break;
	case SAT_SEV_TICK:
		on_tick(s);
		break;
	case SAT_SEV_DRAIN:
		on_drain(s);
		break;
	case SAT_SEV_REVOKED:
		s->abrupt = true;
		sat_ssession_shut(s, SAT_E_DENIED);
		break;
	case SAT_SEV_SUPERSEDED:
		sat_ssession_refuse(s, &superseded);
		break;
	default:
		on_own_work(s, ev);
	}
}
