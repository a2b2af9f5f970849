#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t world_random(struct world *w, uint64_t n)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % n;
}

/* Version 1 grants scopes 0, 1, 2; every later one another mix with 0. */
uint32_t world_scope_mask(uint32_t rights)
{
	return 1u | (rights * 7u - 1u) % (1u << WORLD_SCOPES);
}

void world_init(struct world *w, uint64_t seed)
{
	struct device_model *d = &w->device;

	memset(w, 0, sizeof *w);
	w->rng = seed;
	w->now_ms = 1000;
	w->server.epoch = 77;
	w->server.catalogue = 1;
	w->server.rights = 1;
	d->catalogue = 1;
	d->grants = d->cursor_grants = 1;
	d->scope_mask = world_scope_mask(1);
	for (uint32_t i = 0; i < WORLD_ROWS; i++) {
		w->server.rows[i].scope = i % WORLD_SCOPES;
		w->server.rows[i].seq = ++w->server.head;
	}
	for (uint32_t i = 0; i <= WORLD_CHANGESETS; i++)
		sat_buf_init(&d->outbox[i], SAT_CHANGESET_BYTES_MAX);
}

static void free_jobs(struct jobs *j)
{
	for (uint32_t i = 0; i < j->count; i++)
		sat_buf_fini(&j->list[j->head + i].bytes);
	j->head = j->count = 0;
}

void world_fini(struct world *w)
{
	for (uint32_t i = 0; i <= WORLD_CHANGESETS; i++)
		sat_buf_fini(&w->device.outbox[i]);
	free_jobs(&w->committer);
	free_jobs(&w->reader);
	if (w->s_up)
		sat_ssession_fini(&w->s);
	free(w->log);
}

void world_log(struct world *w, const char *fmt, ...)
{
	char line[200];
	va_list ap;
	size_t len;

	if (!w->trace)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	len = strlen(line);
	if (w->log_len + len + 2 > w->log_cap) {
		w->log_cap = (w->log_cap + len + 2) * 2;
		w->log = realloc(w->log, w->log_cap);
		SAT_ASSERT(w->log != NULL);
	}
	memcpy(w->log + w->log_len, line, len);
	w->log_len += len;
	w->log[w->log_len++] = '\n';
	w->log[w->log_len] = '\0';
}

void world_trace(struct world *w, const char *way, const struct wire_msg *m)
{
	const struct sat_msg *x = &m->msg;

	switch (x->type) {
	case SAT_MSG_HELLO:
		world_log(w, "%s HELLO cursor=%d verdict=%d last=%d", way,
			  (int)x->hello.cursor, (int)x->hello.verdict_seq,
			  (int)x->hello.last_seq);
		break;
	case SAT_MSG_WELCOME:
		world_log(w, "%s WELCOME last=%d", way,
			  (int)x->welcome.last_seq);
		break;
	case SAT_MSG_PUSH:
		world_log(w, "%s PUSH %d.%d%s", way, (int)x->push.seq,
			  (int)x->push.part, x->push.last ? " last" : "");
		break;
	case SAT_MSG_VERDICT:
		world_log(w, "%s VERDICT %d", way, (int)x->verdict.seq);
		break;
	case SAT_MSG_ROWS:
		world_log(w, "%s ROWS %d", way, (int)m->row_count);
		break;
	case SAT_MSG_CHECKPOINT:
		world_log(w, "%s CHECKPOINT %d", way,
			  (int)x->checkpoint.cursor);
		break;
	case SAT_MSG_CREDIT:
		world_log(w, "%s CREDIT bytes=%d verdict=%d cursor=%d%s", way,
			  (int)x->credit.bytes, (int)x->credit.verdict_seq,
			  (int)x->credit.cursor,
			  x->credit.has_ratchet ? " ratchet" : "");
		break;
	case SAT_MSG_GRANT:
		world_log(w, "%s GRANT %d", way, (int)x->grant.version);
		break;
	case SAT_MSG_CATALOGUE:
		world_log(w, "%s CATALOGUE %d", way, (int)x->catalogue.version);
		break;
	case SAT_MSG_ERROR:
		world_log(w, "%s ERROR %d%s", way, (int)x->error.code,
			  x->error.transient ? " transient" : "");
		break;
	default:
		world_log(w, "%s %s", way, sat_msg_name((uint8_t)x->type));
	}
}

void world_send(struct world *w, struct wire *to, const struct wire_msg *m)
{
	if (to->head + to->count == WORLD_QUEUE) {
		memmove(to->list, to->list + to->head,
			to->count * sizeof *to->list);
		to->head = 0;
	}
	if (to->count == WORLD_QUEUE) {
		w->broken = "wire overflow: nothing bounds what is sent";
		return;
	}
	to->list[to->head + to->count++] = *m;
}

void world_write(struct world *w, size_t len)
{
	struct device_model *d = &w->device;
	struct sat_csession_event ev = { .kind = SAT_CEV_OUTBOX };
	struct sat_buf *b;
	uint8_t *p;

	if (d->last_seq == WORLD_CHANGESETS)
		return;
	b = &d->outbox[++d->last_seq];
	SAT_ASSERT(sat_buf_reserve(b, len, &p) == SAT_OK);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(d->last_seq * 31 + i);
	sat_buf_commit(b, len);
	if (!w->c_up)
		return;
	ev.last_seq = d->last_seq;
	world_client_event(w, &ev);
}

void world_connect(struct world *w)
{
	struct device_model *d = &w->device;
	struct sat_ssession_event sev = { .kind = SAT_SEV_OPEN, .replica = 7 };
	struct sat_csession_event cev = { .kind = SAT_CEV_OPEN };
	struct sat_msg_hello hello = {
		.version_min = 1,
		.version_max = 1,
		.replica = 7,
		.epoch = d->epoch,
		.catalogue = d->catalogue,
		.cursor = d->cursor,
		.verdict_seq = d->verdict_seq,
		.last_seq = d->last_seq,
		.ratchet = { d->ratchet },
		.grants = d->cursor_grants,
	};

	if (w->s_up)
		sat_ssession_fini(&w->s);
	w->up.count = w->down.count = 0;
	w->c_up = w->s_up = true;
	w->link++;
	w->connects++;
	w->reserve_wait = w->reserved = 0;
	w->c_tick = w->s_tick = 0;
	d->staged = 0;
	d->verdict_commit = 0;
	sat_csession_init(&w->c, 240000);
	sat_ssession_init(&w->s, 240000);
	cev.hello = &hello;
	world_server_event(w, &sev);
	world_client_event(w, &cev);
}

void world_cut(struct world *w)
{
	if (!w->c_up && !w->s_up)
		return;
	w->cuts++;
	w->c_up = false;
	if (w->s_up)
		sat_ssession_fini(&w->s);
	w->s_up = false;
	w->up.count = w->down.count = 0;
}

static bool take(struct wire *from, struct wire_msg *ret)
{
	if (from->count == 0)
		return false;
	*ret = from->list[from->head++];
	if (--from->count == 0)
		from->head = 0;
	return true;
}

bool world_deliver_up(struct world *w)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_MSG };

	if (!w->s_up || !sat_ssession_ready(&w->s) || !take(&w->up, &w->s_msg))
		return false;
	world_trace(w, ">", &w->s_msg);
	ev.msg = &w->s_msg.msg;
	world_server_event(w, &ev);
	return true;
}

bool world_deliver_down(struct world *w)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_MSG };

	if (!w->c_up || !sat_csession_ready(&w->c) ||
	    !take(&w->down, &w->c_msg))
		return false;
	world_trace(w, "<", &w->c_msg);
	ev.frame_bytes = WORLD_HEAD_BYTES + 24 * w->c_msg.row_count;
	if (w->c_msg.msg.type == SAT_MSG_GRANT)
		w->c_msg.msg.grant.scopes = w->c_msg.scopes;
	ev.msg = &w->c_msg.msg;
	world_client_event(w, &ev);
	return true;
}

void world_tick(struct world *w, uint64_t ms)
{
	struct sat_ssession_event sev = { .kind = SAT_SEV_TICK };
	struct sat_csession_event cev = { .kind = SAT_CEV_TICK };

	w->now_ms += ms;
	if (w->c_up && w->c_tick != 0 && w->c_tick <= w->now_ms) {
		w->c_tick = 0;
		world_client_event(w, &cev);
	}
	if (w->s_up && w->s_tick != 0 && w->s_tick <= w->now_ms) {
		w->s_tick = 0;
		world_server_event(w, &sev);
	}
}

bool world_room(struct world *w)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_RESERVED };

	if (!w->s_up || w->reserve_wait == 0)
		return false;
	w->reserved += w->reserve_wait;
	w->reserve_wait = 0;
	world_server_event(w, &ev);
	return true;
}

bool world_step(struct world *w)
{
	uint64_t what = world_random(w, 12);

	w->now_ms += world_random(w, 20);
	if (w->faults && world_random(w, 60) == 0)
		world_cut(w);
	switch (what) {
	case 0:
	case 1:
	case 2:
		return world_deliver_up(w);
	case 3:
	case 4:
	case 5:
		return world_deliver_down(w);
	case 6:
	case 7:
		return world_commit(w);
	case 8:
	case 9:
		return world_read(w);
	case 10:
		return world_room(w);
	default:
		if (w->c_up && w->s_up)
			return false;
		world_cut(w);
		world_connect(w);
		return true;
	}
}

/* Everything that can move moves, in a fixed order. */
void world_drain(struct world *w)
{
	for (uint32_t i = 0; i < 200000 && w->broken == NULL; i++)
		if (!world_commit(w) && !world_room(w) && !world_read(w) &&
		    !world_deliver_up(w) && !world_deliver_down(w))
			return;
	if (w->broken == NULL)
		w->broken = "it never comes to rest";
}

static const char *judge(const struct world *w)
{
	const struct server_model *s = &w->server;
	const struct device_model *d = &w->device;

	if (s->last_seq != d->last_seq)
		return "changesets are missing on the server";
	for (uint64_t i = 1; i <= d->last_seq; i++) {
		if (s->applied[i] != 1)
			return "a changeset was not applied exactly once";
		if (d->verdicts[i] != 1)
			return "a verdict was not stored exactly once";
	}
	if (d->verdict_seq != d->last_seq || s->confirmed != d->last_seq)
		return "verdicts are not confirmed";
	if (d->grants != s->rights || d->catalogue != s->catalogue)
		return "the device has old rights or an old catalogue";
	if (d->cursor != s->head || s->cursor != s->head)
		return "the device's checkpoint is not the newest";
	if (w->reserved != 0)
		return "room for changesets was not given back";
	if (d->ratchet != s->ratchet)
		return "ratchets differ";
	for (uint32_t i = 0; i < WORLD_ROWS; i++) {
		bool mine = d->scope_mask & 1u << s->rows[i].scope;

		if (mine && d->bad[i])
			return "a damaged row was not put right";
		if (d->base[i] != (mine ? s->rows[i].seq : 0))
			return "the device's rows are not the server's";
	}
	return NULL;
}

const char *world_settle(struct world *w)
{
	w->faults = false;
	w->server.disk_full = false;
	for (int round = 0; round < 4 && w->broken == NULL; round++) {
		world_drain(w);
		if (!w->c_up || !w->s_up) {
			world_cut(w);
			world_connect(w);
			continue;
		}
		/* What was spoilt since is found when rows are hashed again. */
		world_notice(w);
		/* Long enough for a retry after a full disk. */
		world_tick(w, SAT_CSESSION_FULL_MS);
	}
	world_drain(w);
	if (w->broken != NULL)
		return w->broken;
	if (!w->c_up || !sat_csession_caught_up(&w->c, w->device.last_seq))
		return "not caught up";
	return judge(w);
}
