#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/sync/run.h"

/* The rim of one session: frames to messages, effects to deeds. Every path in
 * ends in pump(). A connection lives as long as its link or a job of it. */

enum { HELLO_PENDING_MAX = 4096, WHY_MAX = 120 };

static void pump(struct sat_conn *c);

bool sat_conn_open(const struct sat_conn *c)
{
	return c->link != NULL && !sat_link_closing(c->link);
}

void sat_conn_hold(struct sat_conn *c)
{
	c->holds++;
}

void sat_conn_drop(struct sat_conn *c)
{
	struct sat_server *s = c->server;

	SAT_ASSERT(c->holds > 0);
	if (--c->holds > 0)
		return;
	SAT_ASSERT(c->link == NULL && !c->in_hub);
	*c->prev = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	s->conn_count--;
	sat_ssession_fini(&c->s);
	sat_repair_drop(c);
	sat_rights_free(&c->rights);
	free(c->fresh);
	free((void *)(uintptr_t)c->clock.steps);
	free(c);
	sat_server_settle(s);
}

/* ---- sending ------------------------------------------------------------ */

static void send_raw(struct sat_conn *c, struct sat_slice frames)
{
	struct sat_ssession_event full = { .kind = SAT_SEV_FULL };

	if (!sat_conn_open(c) || sat_link_send(c->link, frames) != SAT_OK)
		return; /* the link ends by itself then */
	if (c->enrol || sat_link_pending(c->link) <= SAT_LINK_OUT_HIGH)
		return;
	full.now_ms = sat_server_now(c->server);
	full.wall_ms = sat_server_wall();
	sat_ssession_step(&c->s, &full);
}

void sat_conn_send(struct sat_conn *c, const struct sat_msg *m)
{
	struct sat_server *s = c->server;
	int rc;

	sat_buf_clear(&s->out);
	rc = sat_msg_encode(s->zip, m, &s->out);
	if (rc == SAT_OK)
		send_raw(c, sat_buf_peek(&s->out));
	else if (c->link != NULL)
		sat_link_close(c->link, rc, "message cannot be encoded");
}

/* ---- room for changesets ------------------------------------------------ */

/* All changesets that are being assembled or wait for the commit share one
 * budget. A changeset gets its whole room at its first part, so the ones that
 * have begun can always end; the others wait in line with their links paused.
 */
static bool room_for(const struct sat_server *s, uint64_t bytes)
{
	uint64_t max =
		(uint64_t)sat_config_int(s->config, SAT_CFG_COMMIT_QUEUE_BYTES);

	return s->room_used == 0 ||
	       (s->room_used < max && bytes <= max - s->room_used);
}

static void room_give(struct sat_conn *c)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_RESERVED };

	c->server->room_used += c->room_wanted;
	c->room_held = c->room_wanted;
	c->room_wanted = 0;
	ev.now_ms = sat_server_now(c->server);
	ev.wall_ms = sat_server_wall();
	sat_ssession_step(&c->s, &ev);
}

static void room_ask(struct sat_conn *c, uint64_t bytes)
{
	struct sat_server *s = c->server;

	c->room_wanted = bytes;
	if (s->room_first == NULL && room_for(s, bytes)) {
		room_give(c); /* pump() is running and goes on */
		return;
	}
	c->room_next = NULL;
	*s->room_last = c;
	s->room_last = &c->room_next;
}

void sat_conn_room_free(struct sat_server *s, uint64_t bytes)
{
	struct sat_conn *c;

	SAT_ASSERT(s->room_used >= bytes);
	s->room_used -= bytes;
	while ((c = s->room_first) != NULL && room_for(s, c->room_wanted)) {
		s->room_first = c->room_next;
		if (s->room_first == NULL)
			s->room_last = &s->room_first;
		c->room_next = NULL;
		room_give(c);
		pump(c);
	}
}

void sat_conn_room_leave(struct sat_conn *c)
{
	struct sat_server *s = c->server;
	struct sat_conn **at = &s->room_first;
	uint64_t held = c->room_held;

	if (c->room_wanted != 0) {
		while (*at != c)
			at = &(*at)->room_next;
		*at = c->room_next;
		if (*at == NULL)
			s->room_last = at;
		c->room_wanted = 0;
	}
	c->room_held = 0;
	/* Also when nothing was held: who stood in front may have left. */
	sat_conn_room_free(s, held);
}

/* ---- effects ------------------------------------------------------------ */

static const char *why_closed(int rc)
{
	switch (rc) {
	case SAT_E_PROTO:
		return "broke the protocol";
	case SAT_E_LIMIT:
		return "over a limit";
	case SAT_E_TIMEOUT:
		return "too slow";
	case SAT_E_DENIED:
		return "not allowed";
	default:
		return "";
	}
}

static void count_end(struct sat_server_metrics *m, int rc)
{
	if (rc == SAT_E_PROTO || rc == SAT_E_LIMIT)
		m->protocol_errors++;
	else if (rc == SAT_E_TIMEOUT)
		m->timeouts++;
}

/* why: what was last told to the device, "" when nothing was. */
static void end(struct sat_conn *c, const struct sat_ssession_effect *fx,
		const char *why)
{
	if (c->detail != NULL && c->detail[0] != '\0')
		why = c->detail;
	else if (why[0] == '\0')
		why = why_closed(fx->rc);
	sat_hub_remove(&c->server->hub, c);
	sat_conn_room_leave(c);
	count_end(&c->server->m, fx->rc);
	c->tick_ms = 0;
	if (c->link == NULL)
		return;
	if (fx->abrupt)
		sat_link_close(c->link, fx->rc, why);
	else
		sat_link_finish(c->link, fx->rc, why);
}

static void perform(struct sat_conn *c, struct sat_ssession_effect *fx,
		    char why[WHY_MAX])
{
	const struct sat_msg_error *e = &fx->msg.error;

	switch (fx->kind) {
	case SAT_SFX_SEND:
		sat_conn_send(c, &fx->msg);
		if (fx->msg.type == SAT_MSG_ERROR && e->text.len > 0)
			(void)snprintf(why, WHY_MAX, "%.*s", (int)e->text.len,
				       (const char *)e->text.ptr);
		break;
	case SAT_SFX_SEND_RAW:
		send_raw(c, fx->frames);
		break;
	case SAT_SFX_RESERVE:
		room_ask(c, fx->bytes);
		break;
	case SAT_SFX_DROP:
		sat_conn_room_leave(c);
		break;
	case SAT_SFX_TIMER:
		c->tick_ms = fx->at_ms;
		break;
	case SAT_SFX_CLOSE:
		end(c, fx, why);
		break;
	default:
		sat_conn_start(c, fx);
	}
}

static void pump(struct sat_conn *c)
{
	struct sat_ssession_effect fx;
	char why[WHY_MAX] = "";

	while (sat_ssession_next(&c->s, &fx))
		perform(c, &fx, why);
	if (sat_conn_open(c))
		sat_link_pause(c->link, !sat_ssession_ready(&c->s));
}

void sat_conn_event(struct sat_conn *c, struct sat_ssession_event *ev)
{
	ev->now_ms = sat_server_now(c->server);
	ev->wall_ms = sat_server_wall();
	sat_ssession_step(&c->s, ev);
	pump(c);
}

/* ---- the link ----------------------------------------------------------- */

static void on_open(struct sat_link *link, void *arg, enum sat_alpn alpn,
		    const struct sat_peer *peer)
{
	struct sat_server *s = arg;
	struct sat_conn *c = calloc(1, sizeof *c);
	struct sat_ssession_event ev = { .kind = SAT_SEV_OPEN };

	if (c == NULL || s->stopping) {
		free(c);
		sat_link_set_arg(link, NULL);
		sat_link_close(link, SAT_E_BUSY, "no memory or stopping");
		return;
	}
	c->server = s;
	c->link = link;
	c->holds = 1;
	c->enrol = alpn == SAT_ALPN_ENROL;
	c->next = s->conns;
	c->prev = &s->conns;
	if (c->next != NULL)
		c->next->prev = &c->next;
	s->conns = c;
	s->conn_count++;
	s->m.links_opened++;
	sat_link_set_arg(link, c);
	sat_ssession_init(&c->s, (uint64_t)sat_config_int(
					 s->config, SAT_CFG_PING_SECONDS) *
					 1000);
	if (c->enrol) {
		c->tick_ms = sat_server_now(s) + SAT_SSESSION_HELLO_MS;
		return;
	}
	c->replica = ev.replica = peer->identity.replica;
	c->user = peer->identity.user;
	memcpy(c->key_hash, peer->spki, sizeof c->key_hash);
	c->ca = peer->ca;
	sat_conn_event(c, &ev);
}

static void on_frame(struct sat_link *link, void *arg,
		     const struct sat_frame *frame)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_MSG };
	struct sat_conn *c = arg;
	struct sat_server *s;
	struct sat_err err = { 0 };
	struct sat_slice plain;
	struct sat_msg msg;

	(void)link;
	if (c == NULL)
		return;
	if (c->enrol) {
		sat_enrol_frame(c, frame);
		return;
	}
	if (!sat_ssession_ready(&c->s))
		return; /* closed: what still comes in is dropped */
	s = c->server;
	sat_arena_reset(&s->arena);
	ev.rc = sat_frame_open(s->zip, frame, &s->plain, &plain);
	if (ev.rc == SAT_OK)
		ev.rc = sat_msg_decode(frame->type, plain, &s->arena, &msg,
				       &err);
	ev.type = frame->type;
	ev.msg = &msg;
	if (ev.rc == SAT_AGAIN)
		ev.kind = SAT_SEV_UNKNOWN;
	else if (ev.rc != SAT_OK)
		ev.kind = SAT_SEV_BAD;
	if (ev.kind == SAT_SEV_BAD)
		c->detail = err.msg;
	sat_conn_event(c, &ev);
	c->detail = NULL;
}

static void on_drain(struct sat_link *link, void *arg)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_DRAINED };
	struct sat_conn *c = arg;

	(void)link;
	if (c != NULL && !c->enrol)
		sat_conn_event(c, &ev);
}

static void on_closed(struct sat_link *link, void *arg, int rc,
		      const char *detail)
{
	struct sat_conn *c = arg;
	uint64_t in, out;

	if (c == NULL)
		return;
	sat_link_traffic(link, &in, &out);
	c->server->m.bytes_in += in;
	c->server->m.bytes_out += out;
	sat_log(rc == SAT_E_PROTO || rc == SAT_E_LIMIT ? SAT_LOG_WARN
						       : SAT_LOG_INFO,
		"conn", "closed", SAT_KV_UINT("id", sat_link_id(link)),
		SAT_KV_STR("peer", sat_link_peer_name(link)),
		SAT_KV_UINT("replica", c->replica),
		SAT_KV_STR("rc", sat_rc_name(rc)), SAT_KV_STR("why", detail));
	sat_hub_remove(&c->server->hub, c);
	c->link = NULL;
	c->tick_ms = 0;
	sat_conn_room_leave(c);
	sat_conn_drop(c);
}

const struct sat_link_handler sat_conn_handler = {
	.on_open = on_open,
	.on_frame = on_frame,
	.on_drain = on_drain,
	.on_closed = on_closed,
};
