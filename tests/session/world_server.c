/* The server's end: committer, readers and store made of arrays. */
#include <string.h>

#include "common/meta.h"
#include "world.h"

static struct job *post(struct world *w, struct jobs *to, enum job_kind kind)
{
	struct job *j;

	if (to->head + to->count == WORLD_QUEUE) {
		memmove(to->list, to->list + to->head,
			to->count * sizeof *to->list);
		to->head = 0;
	}
	SAT_ASSERT(to->count < WORLD_QUEUE);
	j = &to->list[to->head + to->count++];
	memset(j, 0, sizeof *j);
	j->kind = kind;
	j->link = w->link;
	return j;
}

static bool take(struct jobs *from, struct job *ret)
{
	if (from->count == 0)
		return false;
	*ret = from->list[from->head++];
	if (--from->count == 0)
		from->head = 0;
	return true;
}

void world_foreign(struct world *w, uint32_t row)
{
	post(w, &w->committer, JOB_FOREIGN)->seq = row;
}

void world_collect(struct world *w, uint32_t row)
{
	world_cut(w);
	w->server.rows[row] =
		(struct server_row){ .scope = w->server.rows[row].scope };
	w->server.floor = ++w->server.head;
}

void world_rights(struct world *w)
{
	w->server.rights++;
	post(w, &w->committer, JOB_RIGHTS);
}

void world_catalogue(struct world *w)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_NEWER };

	ev.version = ++w->server.catalogue;
	/* Readers may see it before the loop hears of it. */
	if (w->s_up && world_random(w, 2) == 0)
		world_server_event(w, &ev);
}

static struct sat_rights rights_now(const struct world *w, uint32_t *scopes)
{
	uint32_t mask = world_scope_mask(w->server.rights);
	struct sat_rights r = { .version = w->server.rights, .scopes = scopes };

	for (uint32_t i = 0; i < WORLD_SCOPES; i++)
		if (mask & 1u << i)
			scopes[r.scope_count++] = i;
	return r;
}

/* ---- committer ---------------------------------------------------------- */

static void notify(struct world *w)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_NOTIFY };

	if (!w->s_up || !sat_ssession_live(&w->s))
		return;
	ev.seq = w->server.head;
	world_server_event(w, &ev);
}

static void do_hello(struct world *w, const struct job *j)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_HELLO_DONE };
	uint32_t scopes[WORLD_SCOPES];
	struct sat_msg_welcome welcome = { 0 };

	if (j->hello.ratchet[0] != w->server.ratchet &&
	    j->hello.ratchet[0] != w->server.ratchet_new)
		w->broken = "HELLO shows an old ratchet";
	if (j->hello.ratchet[0] == w->server.ratchet_new)
		w->server.ratchet = w->server.ratchet_new;
	w->server.ratchet_new = (uint8_t)(w->server.ratchet + 1);
	if (j->hello.verdict_seq > w->server.confirmed)
		w->server.confirmed = j->hello.verdict_seq;
	welcome.version = 1;
	welcome.epoch = w->server.epoch;
	welcome.head = w->server.head;
	welcome.last_seq = w->server.last_seq;
	welcome.catalogue = w->server.catalogue;
	welcome.ratchet[0] = w->server.ratchet_new;
	welcome.push_window = 128 * 1024;
	welcome.rights = rights_now(w, scopes);
	ev.welcome = &welcome;
	/* This world knows no versions of rights: whoever comes back under
	 * others is sent everything. */
	ev.live = j->hello.epoch == w->server.epoch && j->hello.cursor != 0 &&
		  j->hello.grants == w->server.rights;
	if (j->hello.epoch == w->server.epoch && j->hello.cursor != 0 &&
	    j->hello.cursor < w->server.floor) {
		welcome.rebase = true;
		ev.live = false;
		w->rebases++;
	}
	ev.at.cursor = ev.live ? j->hello.cursor : 0;
	if (w->s_up && j->link == w->link)
		world_server_event(w, &ev);
}

static void apply(struct world *w, const struct job *j)
{
	struct server_model *s = &w->server;
	uint32_t row = (uint32_t)(j->seq % WORLD_ROWS);
	struct sat_msg_verdict *v = &s->verdicts[j->seq];

	s->last_seq = j->seq;
	s->applied[j->seq]++;
	sat_hash_pack(sat_hash_bytes(sat_buf_peek(&j->bytes)),
		      s->hashes[j->seq]);
	v->seq = j->seq;
	switch (world_random(w, 4)) {
	case 0: /* rejected: nothing moves */
		v->status = SAT_VERDICT_REJECTED;
		break;
	case 1: /* the device holds exactly this */
		v->flags = SAT_VERDICT_AS_HELD;
		s->rows[row].held = true;
		v->first_seq = s->rows[row].seq = ++s->head;
		break;
	default:
		s->rows[row].held = false;
		v->first_seq = s->rows[row].seq = ++s->head;
	}
	s->commits[j->seq] = s->head;
}

static void do_push(struct world *w, struct job *j)
{
	static const struct sat_msg_error full = { .code = SAT_WIRE_FULL,
						   .transient = true };
	static const struct sat_msg_error gap = { .code = SAT_WIRE_SEQ };
	struct sat_ssession_event ev = { .kind = SAT_SEV_PUSH_DONE };
	struct server_model *s = &w->server;

	w->pushes_seen++;
	ev.seq = j->seq;
	if (s->disk_full) {
		ev.error = &full;
		w->fulls++;
	} else if (j->seq == s->last_seq + 1) {
		apply(w, j);
	} else if (j->seq > s->last_seq) {
		ev.error = &gap;
	}
	if (w->s_up && j->link == w->link) {
		memset(w->frames, 0, sizeof *w->frames);
		w->frames[0].msg.type = SAT_MSG_VERDICT;
		w->frames[0].msg.verdict = s->verdicts[j->seq];
		w->frames[0].commit_seq = s->commits[j->seq];
		ev.frames.ptr = (const uint8_t *)w->frames;
		ev.frames.len = sizeof *w->frames;
		world_server_event(w, &ev);
	}
	if (ev.error == NULL)
		notify(w);
}

static void do_confirm(struct world *w, const struct job *j)
{
	struct server_model *s = &w->server;

	if (j->credit.verdict_seq > s->confirmed)
		s->confirmed = j->credit.verdict_seq;
	if (j->credit.cursor != 0)
		s->cursor = j->credit.cursor;
	if (j->credit.has_ratchet && j->credit.ratchet[0] == s->ratchet_new)
		s->ratchet = s->ratchet_new;
}

static void do_rights(struct world *w)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_RIGHTS };
	uint32_t scopes[WORLD_SCOPES];
	struct sat_rights r = rights_now(w, scopes);

	ev.rights = &r;
	ev.whole = true;
	if (w->s_up)
		world_server_event(w, &ev);
}

bool world_commit(struct world *w)
{
	struct job j;

	if (!take(&w->committer, &j))
		return false;
	switch (j.kind) {
	case JOB_HELLO:
		do_hello(w, &j);
		break;
	case JOB_PUSH:
		do_push(w, &j);
		break;
	case JOB_CONFIRM:
		do_confirm(w, &j);
		break;
	case JOB_RIGHTS:
		do_rights(w);
		break;
	default:
		w->server.rows[j.seq].seq = ++w->server.head;
		w->server.rows[j.seq].held = false;
		notify(w);
	}
	sat_buf_fini(&j.bytes);
	return true;
}

/* ---- readers ------------------------------------------------------------ */

static const struct server_row *after(const struct world *w,
				      const struct job *j, uint64_t seq)
{
	const struct server_row *best = NULL;

	for (uint32_t i = 0; i < WORLD_ROWS; i++) {
		const struct server_row *r = &w->server.rows[i];
		bool granted = false;

		for (uint32_t k = 0; k < j->rights.scope_count; k++)
			granted = granted || j->scopes[k] == r->scope;
		if (granted && r->seq > seq && !(j->live && r->held) &&
		    (best == NULL || r->seq < best->seq))
			best = r;
	}
	return best;
}

static void do_read(struct world *w, const struct job *j)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_PAGE };
	struct wire_msg *rows = &w->page[0], *last = &w->page[1];
	uint64_t at = j->at.seq > j->at.cursor ? j->at.seq : j->at.cursor;
	const struct server_row *r = NULL;

	memset(w->page, 0, sizeof w->page);
	rows->msg.type = SAT_MSG_ROWS;
	while (rows->row_count < WORLD_PAGE_ROWS) {
		r = after(w, j, at);
		if (r == NULL)
			break;
		at = r->seq;
		rows->rows[rows->row_count++] =
			(struct page_row){ (uint32_t)(r - w->server.rows),
					   r->scope, w->server.catalogue,
					   r->seq, false };
	}
	last->msg.type = SAT_MSG_CHECKPOINT;
	last->msg.checkpoint.cursor = w->server.head;
	ev.version = w->server.catalogue;
	ev.at = j->at;
	ev.at.seq = at;
	ev.checkpoint = r == NULL;
	ev.seq = w->server.head;
	ev.frames.ptr = (const uint8_t *)(rows->row_count > 0 ? rows : last);
	ev.frames.len = sizeof *w->page;
	if (rows->row_count > 0) {
		ev.data_bytes = WORLD_HEAD_BYTES + 24 * rows->row_count;
		ev.frames.len += r == NULL ? sizeof *w->page : 0;
	}
	w->page_ev = ev;
	w->page_link = w->link;
}

static bool holds(const struct job *j, uint32_t scope)
{
	for (uint32_t k = 0; k < j->rights.scope_count; k++)
		if (j->scopes[k] == scope)
			return true;
	return false;
}

static void do_repair(struct world *w, const struct job *j)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_REPAIRED };
	struct wire_msg *rows = &w->page[0], *last = &w->page[1];
	uint32_t row = j->ask.table_no - 1;
	bool send = j->ask.step == SAT_REPAIR_ROWS && holds(j, j->ask.scope);

	memset(w->page, 0, sizeof w->page);
	rows->msg.type = SAT_MSG_ROWS;
	if (send)
		rows->rows[rows->row_count++] =
			(struct page_row){ row, j->ask.scope,
					   w->server.catalogue,
					   w->server.rows[row].seq, true };
	last->msg.type = SAT_MSG_REPAIR;
	last->msg.repair.no = j->ask.no;
	last->msg.repair.step = j->ask.step;
	last->msg.repair.table_no = j->ask.table_no;
	ev.version = w->server.catalogue;
	ev.frames.ptr = (const uint8_t *)(send ? rows : last);
	ev.frames.len = (send ? 2 : 1) * sizeof *w->page;
	ev.data_bytes = send ? WORLD_HEAD_BYTES + 24 : 0;
	w->page_ev = ev;
	w->page_link = w->link;
}

/* The page arrives some time after its snapshot. */
static bool deliver_page(struct world *w)
{
	struct sat_ssession_event ev = w->page_ev;
	bool ours = w->s_up && w->page_link == w->link;

	if (w->page_link == 0)
		return false;
	w->page_link = 0;
	if (ours)
		world_server_event(w, &ev);
	return true;
}

static void do_verdicts(struct world *w, const struct job *j)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_VERDICTS };
	uint64_t n = 0;

	for (uint64_t q = j->seq + 1; q <= w->server.last_seq && n < 3; q++) {
		struct wire_msg *m = &w->frames[n++];

		memset(m, 0, sizeof *m);
		m->msg.type = SAT_MSG_VERDICT;
		m->msg.verdict = w->server.verdicts[q];
		m->msg.verdict.flags |= SAT_VERDICT_REPLAY;
		m->commit_seq = w->server.commits[q];
		ev.seq = q;
	}
	ev.more = ev.seq < w->server.last_seq;
	ev.frames.ptr = (const uint8_t *)w->frames;
	ev.frames.len = n * sizeof *w->frames;
	world_server_event(w, &ev);
}

static void do_catalogue(struct world *w)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_CATALOGUE };
	struct sat_msg_catalogue c = { .version = w->server.catalogue };

	ev.catalogue = &c;
	world_server_event(w, &ev);
}

bool world_read(struct world *w)
{
	struct job j;

	if (deliver_page(w))
		return true;
	if (!take(&w->reader, &j))
		return false;
	if (!w->s_up || j.link != w->link)
		return true;
	switch (j.kind) {
	case JOB_READ:
		do_read(w, &j);
		break;
	case JOB_REPAIR:
		do_repair(w, &j);
		break;
	case JOB_VERDICTS:
		do_verdicts(w, &j);
		break;
	default:
		do_catalogue(w);
	}
	return true;
}

/* ---- the owner of the session ------------------------------------------- */

static void send_msg(struct world *w, const struct sat_msg *msg)
{
	struct wire_msg m = { .msg = *msg };
	const struct sat_rights *r = NULL;

	if (msg->type == SAT_MSG_ERROR &&
	    (msg->error.code == SAT_WIRE_PROTOCOL ||
	     msg->error.code == SAT_WIRE_LIMIT))
		w->broken = "one side finds the other broken";
	if (msg->type == SAT_MSG_WELCOME)
		r = &msg->welcome.rights;
	else if (msg->type == SAT_MSG_GRANT)
		r = &msg->grant;
	if (r != NULL && r->scope_count > 0)
		memcpy(m.scopes, r->scopes, r->scope_count * sizeof *m.scopes);
	world_send(w, &w->down, &m);
}

static void start_job(struct world *w, struct sat_ssession_effect *fx)
{
	struct job *j;

	switch (fx->kind) {
	case SAT_SFX_DO_HELLO:
		post(w, &w->committer, JOB_HELLO)->hello = fx->msg.hello;
		break;
	case SAT_SFX_DO_PUSH:
		j = post(w, &w->committer, JOB_PUSH);
		j->seq = fx->seq;
		j->bytes = fx->changeset;
		w->reserved -= fx->bytes;
		break;
	case SAT_SFX_DO_CONFIRM:
		post(w, &w->committer, JOB_CONFIRM)->credit = fx->msg.credit;
		break;
	case SAT_SFX_TAKE_ASK:
		w->ask = fx->msg.repair;
		break;
	case SAT_SFX_DO_REPAIR:
		j = post(w, &w->reader, JOB_REPAIR);
		j->ask = w->ask;
		j->rights = rights_now(w, j->scopes);
		break;
	case SAT_SFX_LOAD_CATALOGUE:
		post(w, &w->reader, JOB_CATALOGUE);
		break;
	case SAT_SFX_LOAD_VERDICTS:
		post(w, &w->reader, JOB_VERDICTS)->seq = fx->seq;
		break;
	default:
		j = post(w, &w->reader, JOB_READ);
		j->at = fx->at;
		j->live = fx->live;
		j->rights = rights_now(w, j->scopes);
		if (w->reader.count > 0 &&
		    w->s.uncredited >= SAT_SSESSION_ROWS_WINDOW)
			w->broken = "a read in spite of missing credit";
	}
}

void world_server_effects(struct world *w)
{
	struct sat_ssession_effect fx;

	while (w->s_up && w->broken == NULL && sat_ssession_next(&w->s, &fx)) {
		switch (fx.kind) {
		case SAT_SFX_SEND:
			send_msg(w, &fx.msg);
			break;
		case SAT_SFX_SEND_RAW:
			for (size_t i = 0; i < fx.frames.len;
			     i += sizeof(struct wire_msg)) {
				struct wire_msg m;

				memcpy(&m, fx.frames.ptr + i, sizeof m);
				world_send(w, &w->down, &m);
			}
			break;
		case SAT_SFX_RESERVE:
			w->reserve_wait = fx.bytes;
			break;
		case SAT_SFX_DROP:
			if (w->reserve_wait != 0)
				w->reserve_wait = 0;
			else
				w->reserved -= fx.bytes;
			break;
		case SAT_SFX_TIMER:
			w->s_tick = fx.at_ms;
			break;
		case SAT_SFX_CLOSE:
			world_log(w, "server closes rc=%d%s", fx.rc,
				  fx.abrupt ? " abruptly" : "");
			sat_ssession_fini(&w->s);
			w->s_up = false;
			if (fx.abrupt)
				w->down.count = 0;
			break;
		default:
			start_job(w, &fx);
		}
	}
}

void world_server_event(struct world *w, struct sat_ssession_event *ev)
{
	ev->now_ms = w->now_ms;
	ev->wall_ms = (int64_t)w->now_ms;
	sat_ssession_step(&w->s, ev);
	world_server_effects(w);
}
