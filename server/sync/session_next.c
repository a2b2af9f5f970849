#include "server/sync/session_parts.h"

#include <string.h>

/* What goes out, in an order that keeps the promises of session.h. Each
 * function gives at most one effect. */

static bool emit(struct sat_ssession *s, enum sat_msg_type type,
		 struct sat_ssession_effect *ret)
{
	ret->kind = SAT_SFX_SEND;
	ret->msg.type = type;
	s->said_ms = s->now_ms;
	return true;
}

static bool emit_raw(struct sat_ssession *s, struct sat_slice frames,
		     struct sat_ssession_effect *ret)
{
	ret->kind = SAT_SFX_SEND_RAW;
	ret->frames = frames;
	s->said_ms = s->now_ms;
	return true;
}

static bool next_last_words(struct sat_ssession *s,
			    struct sat_ssession_effect *ret)
{
	if (s->error_owed) {
		s->error_owed = false;
		ret->msg.error = s->error;
		return emit(s, SAT_MSG_ERROR, ret);
	}
	if (s->wiped_owed) {
		s->wiped_owed = false;
		ret->kind = SAT_SFX_DO_WIPED;
		return true;
	}
	if (!s->close_owed)
		return false;
	s->close_owed = false;
	ret->kind = SAT_SFX_CLOSE;
	ret->rc = s->rc;
	ret->abrupt = s->abrupt;
	return true;
}

static bool next_opening(struct sat_ssession *s,
			 struct sat_ssession_effect *ret)
{
	if (s->hello != NULL) {
		ret->kind = SAT_SFX_DO_HELLO;
		ret->msg.type = SAT_MSG_HELLO;
		ret->msg.hello = *s->hello;
		s->hello = NULL;
		return true;
	}
	if (s->welcome != NULL) {
		ret->msg.welcome = *s->welcome;
		s->welcome = NULL;
		return emit(s, SAT_MSG_WELCOME, ret);
	}
	if (s->rights != NULL) {
		ret->msg.grant = *s->rights;
		s->rights = NULL;
		return emit(s, SAT_MSG_GRANT, ret);
	}
	if (s->ask != NULL) {
		ret->kind = SAT_SFX_TAKE_ASK;
		ret->msg.type = SAT_MSG_REPAIR;
		ret->msg.repair = *s->ask;
		s->ask = NULL;
		return true;
	}
	if (s->catalogue != NULL) {
		ret->msg.catalogue = *s->catalogue;
		s->catalogue = NULL;
		return emit(s, SAT_MSG_CATALOGUE, ret);
	}
	if (s->catalogue_told < s->catalogue_due && !s->loading &&
	    sat_ssession_live(s)) {
		s->loading = true;
		ret->kind = SAT_SFX_LOAD_CATALOGUE;
		return true;
	}
	if (s->replay_due && !s->link_full) {
		s->replay_due = false;
		s->replaying = true;
		ret->kind = SAT_SFX_LOAD_VERDICTS;
		ret->seq = s->replayed;
		return true;
	}
	return false;
}

/* Frames of the last event; then verdicts that a read held back; then the
 * news that the disk is full, behind the verdicts before it. */
static bool next_frames(struct sat_ssession *s, struct sat_ssession_effect *ret)
{
	struct sat_slice out = s->frames;

	if (out.len > 0) {
		s->frames = (struct sat_slice){ 0 };
		return emit_raw(s, out, ret);
	}
	if (s->held_given) { /* the owner has sent them */
		s->held_given = false;
		sat_buf_fini(&s->held);
		sat_buf_init(&s->held, SAT_SSESSION_HELD_BYTES_MAX);
	}
	out = sat_buf_peek(&s->held);
	if (out.len > 0) {
		if (s->reading && s->state != SAT_SSESSION_DRAINING)
			return false;
		s->held_given = true;
		return emit_raw(s, out, ret);
	}
	if (s->full_retry_ms == 0)
		return false;
	ret->msg.error.code = SAT_WIRE_FULL;
	ret->msg.error.transient = true;
	ret->msg.error.retry_ms = s->full_retry_ms;
	s->full_retry_ms = 0;
	return emit(s, SAT_MSG_ERROR, ret);
}

static bool next_push(struct sat_ssession *s, struct sat_ssession_effect *ret)
{
	if (s->drop_owed > 0) {
		ret->kind = SAT_SFX_DROP;
		ret->bytes = s->drop_owed;
		s->drop_owed = 0;
		return true;
	}
	if (s->reserve_owed) {
		s->reserve_owed = false;
		ret->kind = SAT_SFX_RESERVE;
		ret->bytes = s->push_total;
		return true;
	}
	if (!s->push_owed)
		return false;
	s->push_owed = s->push_whole = false;
	ret->kind = SAT_SFX_DO_PUSH;
	ret->seq = s->push_next++;
	ret->bytes = s->push_total;
	ret->changeset = s->push;
	sat_buf_init(&s->push, SAT_CHANGESET_BYTES_MAX);
	s->push_part = 0;
	s->push_total = 0;
	s->pushes_out++;
	return true;
}

/* Credit goes back when an eighth of the window is spent, or everything that
 * came has been dealt with; a message for every part would double the frames.
 */
static bool next_credit(struct sat_ssession *s, struct sat_ssession_effect *ret)
{
	if (s->credit_owed == 0 || s->reserving)
		return false;
	if (s->credit_owed < s->push_window / 8 &&
	    (s->pushes_out > 0 || s->push_part > 0))
		return false;
	ret->msg.credit.bytes = s->credit_owed;
	s->credit_owed = 0;
	return emit(s, SAT_MSG_CREDIT, ret);
}

static bool next_small(struct sat_ssession *s, struct sat_ssession_effect *ret)
{
	if (s->ask_empty) {
		s->ask_empty = false;
		ret->msg.repair.no = s->asks;
		ret->msg.repair.step = s->ask_step;
		return emit(s, SAT_MSG_REPAIR, ret);
	}
	if (s->confirm_owed) {
		s->confirm_owed = false;
		ret->kind = SAT_SFX_DO_CONFIRM;
		ret->msg.type = SAT_MSG_CREDIT;
		ret->msg.credit = s->confirm;
		return true;
	}
	if (s->pong_owed || s->alive_owed) {
		ret->msg.ping.nonce = s->pong_owed ? s->pong_nonce : 0;
		ret->msg.ping.clock_ms = s->wall_ms;
		s->pong_owed = s->alive_owed = false;
		return emit(s, SAT_MSG_PONG, ret);
	}
	if (!s->ping_owed)
		return false;
	s->ping_owed = false;
	s->pinged = true;
	s->pinged_ms = s->now_ms;
	ret->msg.ping.nonce = ++s->ping_nonce;
	ret->msg.ping.clock_ms = s->wall_ms;
	return emit(s, SAT_MSG_PING, ret);
}

/* One read at a time, none while the device owes credit for a megabyte. When
 * the last verdict is out, a checkpoint follows it even if no row moved: the
 * device waits for one. */
/* When the device has brought all it had at HELLO, and knows so. */
static bool next_wipe(struct sat_ssession *s, struct sat_ssession_effect *ret)
{
	if (!s->wiping || s->wipe_sent || s->state != SAT_SSESSION_LIVE)
		return false;
	if (!s->discard && (s->verdict_next <= s->hello_last ||
			    s->pushes_out > 0 || s->push_part > 0))
		return false;
	s->wipe_sent = true;
	ret->msg.wipe.discard = s->discard;
	return emit(s, SAT_MSG_WIPE, ret);
}

static bool next_read(struct sat_ssession *s, struct sat_ssession_effect *ret)
{
	if (s->wiping)
		return false;
	if (s->state != SAT_SSESSION_LIVE || s->reading || s->link_full ||
	    s->catalogue_told < s->catalogue_due ||
	    s->uncredited >= SAT_SSESSION_ROWS_WINDOW)
		return false;
	if (s->asked) {
		s->reading = s->asking = true;
		ret->kind = SAT_SFX_DO_REPAIR;
		return true;
	}
	if (!s->pass && !s->repaired && s->dirty_seq <= s->cursor &&
	    !(s->owed && s->pushes_out == 0))
		return false;
	s->pass = true;
	s->reading = true;
	ret->kind = SAT_SFX_DO_READ;
	ret->at = s->at;
	ret->live = s->live;
	ret->told = s->verdict_next - 1;
	return true;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a == 0 || b < a ? b : a;
}

/* When a TICK could change something; 0: never. */
static uint64_t deadline(const struct sat_ssession *s)
{
	uint64_t at = 0;

	if (s->state == SAT_SSESSION_WAIT_HELLO)
		return s->since_ms + SAT_SSESSION_HELLO_MS;
	if (s->state == SAT_SSESSION_DRAINING)
		return s->since_ms + SAT_SSESSION_DRAIN_MS;
	if (s->link_full)
		at = s->full_ms + SAT_SSESSION_SLOW_MS;
	if (!sat_ssession_live(s))
		return at;
	if (s->pushes_out > 0 || s->reserving || s->replaying)
		at = least(at, s->said_ms + SAT_SSESSION_ALIVE_MS);
	if (!sat_ssession_ready(s))
		return at;
	if (s->push_part > 0)
		at = least(at, s->part_ms + SAT_SSESSION_PART_MS);
	if (s->uncredited >= SAT_SSESSION_ROWS_WINDOW)
		at = least(at, s->credit_ms + SAT_SSESSION_CREDIT_MS);
	if (s->pinged)
		return least(at, s->pinged_ms + SAT_SSESSION_PONG_MS);
	return least(at, s->heard_ms + s->ping_ms + s->ping_ms / 4);
}

bool sat_ssession_next(struct sat_ssession *s, struct sat_ssession_effect *ret)
{
	static const struct sat_msg_error stops = {
		.code = SAT_WIRE_SHUTDOWN,
		.transient = true,
	};
	uint64_t at;

	memset(ret, 0, sizeof *ret);
	if (s->state == SAT_SSESSION_CLOSED)
		return next_last_words(s, ret);
	if (next_opening(s, ret) || next_frames(s, ret) || next_push(s, ret) ||
	    next_credit(s, ret) || next_small(s, ret) || next_wipe(s, ret) ||
	    next_read(s, ret))
		return true;
	if (s->state == SAT_SSESSION_DRAINING && s->pushes_out == 0) {
		sat_ssession_refuse(s, &stops);
		return next_last_words(s, ret);
	}
	at = deadline(s);
	if (at == 0 || (s->timer_ms != 0 && s->timer_ms <= at))
		return false;
	s->timer_ms = at;
	ret->kind = SAT_SFX_TIMER;
	ret->at_ms = at;
	return true;
}
