/* The agent's side of a connection: bytes to the session, effects to the
 * replica and the link. Stores are done here and now, on the one thread the
 * daemon has, so effects are performed in order and reported at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/sync/agent_parts.h"
#include "common/log.h"
#include "common/text.h"

enum { HISTORY_AGAIN_MS = 1000 };

static struct sat_csession_event event_of(struct sat_agent *a,
					  enum sat_csession_event_kind kind)
{
	return (struct sat_csession_event){ .kind = kind,
					    .now_ms = uv_now(a->loop),
					    .wall_ms = sat_agent_wall_ms(a) };
}

/* ---- effects ------------------------------------------------------------ */

static void on_tick(uv_timer_t *timer)
{
	struct sat_agent *a = timer->data;
	struct sat_csession_event ev = event_of(a, SAT_CEV_TICK);

	if (a->link != NULL)
		sat_agent_event(a, &ev);
}

static void set_timer(struct sat_agent *a, uint64_t at_ms)
{
	uint64_t now = uv_now(a->loop);

	(void)uv_timer_start(&a->tick, on_tick, at_ms > now ? at_ms - now : 0,
			     0);
}

/* A message that cannot be sent ends the link, which reports itself. */
static void send_msg(struct sat_agent *a, const struct sat_msg *msg)
{
	int rc;

	sat_buf_clear(&a->out);
	rc = sat_msg_encode(a->zip, msg, &a->out);
	if (rc == SAT_OK)
		rc = sat_link_send(a->link, sat_buf_peek(&a->out));
	if (rc != SAT_OK && rc != SAT_E_CLOSED)
		sat_link_close(a->link, rc, "a message could not be made");
}

static void push_part(struct sat_agent *a, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev = event_of(a, SAT_CEV_SENT);
	struct sat_msg msg;
	struct sat_err err;
	uint8_t hash[16], *dst;

	sat_buf_clear(&a->part);
	ev.rc = sat_buf_reserve(&a->part, fx->max, &dst);
	if (ev.rc == SAT_OK)
		ev.rc = sat_replica_outbox_read(a->replica, fx->seq, fx->offset,
						dst, fx->max, &ev.len,
						&ev.total, hash, &err);
	if (ev.rc == SAT_OK) {
		sat_csession_part(fx, (struct sat_slice){ dst, ev.len },
				  ev.total, hash, &msg);
		send_msg(a, &msg);
		ev.full = sat_link_pending(a->link) > SAT_LINK_OUT_HIGH;
	} else {
		sat_log(SAT_LOG_ERROR, "replica", "outbox not readable",
			SAT_KV_ERR(&err));
	}
	sat_csession_step(&a->session, &ev);
}

static void ask(struct sat_agent *a, uint32_t no)
{
	struct sat_csession_event ev = event_of(a, SAT_CEV_ASKED);
	struct sat_msg msg = { .type = SAT_MSG_REPAIR };
	struct sat_err err;

	ev.rc = sat_agent_next_ask(a, &msg.repair, &ev.asks, &err);
	ev.rows = msg.repair.step == SAT_REPAIR_ROWS;
	msg.repair.no = no;
	if (ev.rc == SAT_OK && ev.asks)
		send_msg(a, &msg);
	sat_csession_step(&a->session, &ev);
}

static int store_welcome(struct sat_agent *a, const struct sat_msg *msg,
			 uint32_t trip_ms, struct sat_err *err)
{
	struct sat_msg_welcome w = msg->welcome;
	int rc;

	if (w.offset_ms > INT64_MIN + (int64_t)trip_ms)
		w.offset_ms -= (int64_t)trip_ms;
	rc = sat_replica_welcome(a->replica, &w, sat_agent_wall_ms(a), err);
	if (rc == SAT_OK)
		rc = sat_replica_stage_reset(a->replica, msg->welcome.resumed,
					     err);
	if (rc != SAT_OK)
		return rc;
	/* a WELCOME that leads nowhere must not bring us back in a second */
	a->backoff_ms = a->broken_ms;
	a->status.state = SAT_AGENT_CONNECTED;
	a->status.last_rc = SAT_OK;
	a->status.last_wire = 0;
	a->status.last_error[0] = '\0';
	a->status.rows_due = msg->welcome.rows;
	sat_log(SAT_LOG_INFO, "sync", "connected",
		SAT_KV_UINT("head", msg->welcome.head),
		SAT_KV_INT("offset_ms", w.offset_ms));
	if (msg->welcome.renew && a->on_renew != NULL)
		a->on_renew(a->arg);
	return SAT_OK;
}

static int checkpoint(struct sat_agent *a, const struct sat_msg *msg,
		      bool *ret_differs, struct sat_err *err)
{
	bool ok = true;
	uint64_t harvested;
	int rc = sat_replica_checkpoint(a->replica, &msg->checkpoint,
					sat_agent_wall_ms(a), &harvested, &ok,
					err);

	if (rc != SAT_OK)
		return rc;
	a->backoff_ms = a->broken_ms = 0;
	a->status.digest_ok = ok;
	return sat_agent_compared(a, ok, ret_differs, err);
}

/* Do what must be durable, then say so. */
static void store(struct sat_agent *a, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev;
	const struct sat_msg *m = fx->msg;
	bool differs = false;
	uint64_t last;
	struct sat_err err;
	int rc;

	switch (fx->kind) {
	case SAT_CFX_STORE_WELCOME:
		rc = store_welcome(a, m, fx->trip_ms, &err);
		break;
	case SAT_CFX_STORE_CATALOGUE:
		rc = sat_replica_catalogue_store(a->replica, &m->catalogue,
						 &err);
		sat_replica_narrow_end(a->replica);
		break;
	case SAT_CFX_STORE_GRANT:
		rc = sat_replica_grant(a->replica, &m->grant, &err);
		sat_replica_narrow_end(a->replica);
		break;
	case SAT_CFX_STORE_REPAIR:
		rc = sat_agent_answered(a, &m->repair, &err);
		break;
	case SAT_CFX_STORE_MARK:
		rc = sat_replica_mark(a->replica, &m->mark, &err);
		break;
	case SAT_CFX_STORE_VERDICT:
		rc = sat_replica_verdict(a->replica, &m->verdict,
					 sat_agent_wall_ms(a), &err);
		break;
	case SAT_CFX_STAGE_ROWS:
		rc = sat_replica_stage_rows(a->replica, &m->rows, &err);
		sat_agent_progress(a);
		break;
	case SAT_CFX_STAGE_EVICT:
		rc = sat_replica_stage_evict(a->replica, &m->evict, &err);
		break;
	default:
		rc = checkpoint(a, m, &differs, &err);
		break;
	}
	if (rc == SAT_AGAIN) { /* see sat_replica_welcome */
		sat_log(SAT_LOG_WARN, "sync",
			"the server was restored: all is compared again");
		/* it is there, and waits for another HELLO: come at once, but
		 * not again and again without ever seeing a checkpoint */
		a->backoff_ms = a->broken_ms;
		a->broken_ms = 2 * a->broken_ms + HISTORY_AGAIN_MS;
		rc = sat_err_set(&err, SAT_E_CLOSED, 0, "welcome",
				 "another history of the server");
	}
	a->status.local_failure =
		rc != SAT_OK && rc != SAT_E_BUSY && rc != SAT_E_CLOSED;
	if (rc != SAT_OK && rc != SAT_E_CLOSED)
		sat_log(SAT_LOG_ERROR, "replica", "not stored",
			SAT_KV_ERR(&err));
	ev = event_of(a, SAT_CEV_STORED);
	ev.rc = rc;
	ev.differs = differs;
	sat_csession_step(&a->session, &ev);
	/* Storing gathers local writes first, and a verdict that splits a
	 * backlog makes a changeset of the good rows: whoever waits for the
	 * backlog waits for these too. */
	last = sat_replica_outbox_last(a->replica);
	if (last <= a->harvested)
		return;
	if (fx->kind == SAT_CFX_STORE_VERDICT)
		sat_agent_wait_for(a, last);
	sat_agent_told_of(a, last);
}

/* Why, in the server's words when it said some; no byte of them may steer a
 * terminal. */
static void say_why(const struct sat_agent *a,
		    const struct sat_csession_effect *fx, char *out,
		    size_t size)
{
	struct sat_slice text = { NULL, 0 };

	(void)snprintf(out, size, "%s", sat_rc_name(fx->rc));
	if (a->msg.type == SAT_MSG_ERROR && a->msg.error.code == fx->wire)
		text = a->msg.error.text;
	if (text.len == 0 || text.len >= size || !sat_utf8_valid(text))
		return;
	for (size_t i = 0; i < text.len; i++)
		out[i] = text.ptr[i] < ' ' || text.ptr[i] == 0x7f
				 ? '?'
				 : (char)text.ptr[i];
	out[text.len] = '\0';
}

static void close_link(struct sat_agent *a,
		       const struct sat_csession_effect *fx)
{
	struct sat_link *link = a->link;
	char why[sizeof a->status.last_error];
	int rc = fx->rc;

	say_why(a, fx, why, sizeof why);

	a->link = NULL;
	sat_link_set_arg(link, NULL); /* its end is told already */
	if (rc == SAT_OK || rc == SAT_E_PROTO || a->wiped)
		sat_link_finish(link, rc, NULL);
	else
		sat_link_close(link, rc, NULL);
	(void)uv_timer_stop(&a->tick);
	if (a->again) { /* not refused: there is something to bring first */
		a->again = false;
		sat_agent_ended(a, SAT_E_CLOSED, 0, true, 1, "wipe put off");
		return;
	}
	sat_agent_ended(a, rc, fx->wire, fx->transient, fx->retry_ms, why);
}

/* What was written since HELLO goes first, unless it is given up: then the
 * next connection brings it, and the order comes again. */
static void wipe(struct sat_agent *a, bool discard)
{
	struct sat_csession_event ev = event_of(a, SAT_CEV_WIPED);
	struct sat_replica_status s;
	struct sat_err err;
	uint64_t seq = 0;
	int rc = SAT_OK;

	sat_log(SAT_LOG_WARN, "sync", "the server orders a wipe");
	if (!discard)
		rc = sat_replica_harvest(a->replica, sat_agent_wall_ms(a),
					 false, 10000, &seq, &err);
	if (rc == SAT_OK && !discard)
		rc = sat_replica_status(a->replica, &s, &err);
	if (rc != SAT_OK || (!discard && s.outbox > 0)) {
		a->again = true;
		return;
	}
	if (a->on_wipe == NULL || !a->on_wipe(a->arg))
		return;
	a->wiped = true;
	sat_csession_step(&a->session, &ev);
}

static void perform(struct sat_agent *a, const struct sat_csession_effect *fx)
{
	switch (fx->kind) {
	case SAT_CFX_SEND:
		send_msg(a, fx->msg);
		break;
	case SAT_CFX_PUSH_PART:
		push_part(a, fx);
		break;
	case SAT_CFX_ASK:
		ask(a, fx->no);
		break;
	case SAT_CFX_TIMER:
		set_timer(a, fx->at_ms);
		break;
	case SAT_CFX_CLOSE:
		close_link(a, fx);
		break;
	case SAT_CFX_WIPE:
		wipe(a, fx->discard);
		break;
	default:
		store(a, fx);
		break;
	}
}

void sat_agent_event(struct sat_agent *a, const struct sat_csession_event *ev)
{
	struct sat_csession_effect fx;

	sat_csession_step(&a->session, ev);
	if (a->performing)
		return; /* the loop below, further up, goes on with it */
	a->performing = true;
	while (a->link != NULL && sat_csession_next(&a->session, &fx))
		perform(a, &fx);
	a->performing = false;
	sat_agent_check_wishes(a);
	sat_agent_changed(a);
}

void sat_agent_told_of(struct sat_agent *a, uint64_t last_seq)
{
	struct sat_csession_event ev = event_of(a, SAT_CEV_OUTBOX);

	if (last_seq > a->harvested)
		a->harvested = last_seq;
	if (a->link == NULL)
		return;
	ev.last_seq = a->harvested;
	sat_agent_event(a, &ev);
}

/* ---- the link's callbacks ----------------------------------------------- */

static void on_open(struct sat_link *link, void *arg, enum sat_alpn alpn,
		    const struct sat_peer *peer)
{
	struct sat_agent *a = arg;
	struct sat_csession_event ev;
	struct sat_msg_hello hello;
	struct sat_err err;
	int rc;

	(void)alpn;
	(void)peer;
	if (a == NULL)
		return;
	sat_link_trust(link);
	ev = event_of(a, SAT_CEV_OPEN);
	rc = sat_replica_hello(a->replica, ev.wall_ms, &hello, &err);
	if (rc != SAT_OK) {
		sat_log(SAT_LOG_ERROR, "replica", "no HELLO", SAT_KV_ERR(&err));
		sat_link_close(link, rc, err.msg);
		return;
	}
	sat_replica_narrow_end(a->replica);
	a->harvested = hello.last_seq;
	ev.hello = &hello;
	sat_agent_event(a, &ev);
}

/* For tests that look at what reaches a device: SATCHEL_TAP names a file that
 * gets every payload as it was unpacked. */
static void tap(struct sat_slice plain)
{
	const char *path = getenv("SATCHEL_TAP");
	FILE *f = path == NULL ? NULL : fopen(path, "ab");

	if (f == NULL)
		return;
	(void)fwrite(plain.ptr, 1, plain.len, f);
	(void)fclose(f);
}

static void on_frame(struct sat_link *link, void *arg,
		     const struct sat_frame *frame)
{
	struct sat_agent *a = arg;
	struct sat_csession_event ev;
	struct sat_slice plain;
	struct sat_err err;
	int rc;

	(void)link;
	if (a == NULL)
		return;
	ev = event_of(a, SAT_CEV_MSG);
	ev.frame_bytes = frame->payload.len + SAT_FRAME_HEAD_BYTES;
	sat_arena_reset(&a->arena);
	a->msg.type = 0; /* what it pointed to is gone */
	sat_buf_clear(&a->plain);
	rc = sat_frame_open(a->zip, frame, &a->plain, &plain);
	if (rc == SAT_OK) {
		tap(plain);
		rc = sat_msg_decode(frame->type, plain, &a->arena, &a->msg,
				    &err);
	}
	if (rc == SAT_AGAIN) {
		ev.kind = SAT_CEV_UNKNOWN;
		ev.type = frame->type;
	} else if (rc != SAT_OK) {
		ev.kind = SAT_CEV_BAD;
		ev.rc = rc;
	} else {
		ev.msg = &a->msg;
	}
	/* Stores are done at once, so the session is always ready here. */
	sat_agent_event(a, &ev);
}

static void on_drain(struct sat_link *link, void *arg)
{
	struct sat_agent *a = arg;
	struct sat_csession_event ev;

	(void)link;
	if (a == NULL)
		return;
	ev = event_of(a, SAT_CEV_DRAINED);
	sat_agent_event(a, &ev);
}

static void on_closed(struct sat_link *link, void *arg, int rc,
		      const char *detail)
{
	struct sat_agent *a = arg;

	(void)link;
	if (a == NULL) /* we ended it, and have said so */
		return;
	a->link = NULL;
	(void)uv_timer_stop(&a->tick);
	sat_agent_ended(a, rc == SAT_OK ? SAT_E_CLOSED : rc, 0,
			rc != SAT_E_DENIED, 0, detail);
}

void sat_agent_connect(struct sat_agent *a)
{
	static const struct sat_link_handler handler = {
		.on_open = on_open,
		.on_frame = on_frame,
		.on_drain = on_drain,
		.on_closed = on_closed,
	};
	uint64_t ping_ms =
		(uint64_t)sat_config_int(a->config, SAT_CFG_PING_SECONDS) *
		1000;
	struct sat_err err;
	int rc;

	if (a->link != NULL || a->stopping)
		return;
	(void)uv_timer_stop(&a->retry);
	a->tried_ms = uv_now(a->loop);
	a->status.attempts++;
	a->status.state = SAT_AGENT_CONNECTING;
	sat_csession_init(&a->session, ping_ms);
	rc = sat_link_connect(a->loop, a->tls, SAT_ALPN_SYNC, a->host, a->port,
			      &handler, a, &a->link, &err);
	if (rc != SAT_OK) {
		a->link = NULL;
		sat_agent_ended(a, rc, 0, true, 0, err.msg);
	}
}
