/* The device's end: a replica of arrays. */
#include <string.h>

#include "common/meta.h"
#include "world.h"

static int stage(struct world *w, const struct wire_msg *m)
{
	struct device_model *d = &w->device;

	for (uint32_t i = 0; i < m->row_count; i++) {
		if (m->rows[i].catalogue > d->catalogue)
			w->broken = "a row came before its catalogue";
		if (d->staged == WORLD_QUEUE)
			return SAT_E_LIMIT;
		d->stage[d->staged++] = m->rows[i];
	}
	return SAT_OK;
}

/* What the session says must be true of the store. */
static void check_caught_up(struct world *w)
{
	const struct device_model *d = &w->device;

	if (sat_csession_caught_up(&w->c, d->last_seq) &&
	    (d->verdict_seq != d->last_seq ||
	     d->cursor < w->server.commits[d->last_seq]))
		w->broken = "the session says caught up, and is not";
}

/* What was asked for replaces what is held, unless that came since. */
static bool replaces(const struct device_model *d, const struct page_row *r,
		     uint64_t upto)
{
	uint64_t held = d->base[r->row];

	return held < r->seq ||
	       (r->repair && !(held > d->cursor && held <= upto));
}

static bool is_mine(const struct device_model *d, uint32_t row)
{
	return (d->scope_mask & 1u << row % WORLD_SCOPES) != 0;
}

/* This world keeps no digests: it knows what it has spoilt. */
static bool differs(const struct device_model *d)
{
	for (uint32_t i = 0; i < WORLD_ROWS; i++)
		if (d->bad[i] && is_mine(d, i))
			return true;
	return false;
}

/* Rows are named by table_no here: index + 1. */
static uint32_t next_bad(const struct device_model *d, uint32_t from)
{
	for (uint32_t i = from; i < WORLD_ROWS; i++)
		if (d->bad[i] && is_mine(d, i))
			return i + 1;
	return 0;
}

static void checkpoint(struct world *w, const struct wire_msg *m,
		       bool *ret_differs)
{
	struct device_model *d = &w->device;

	if (d->rebase) {
		memset(d->base, 0, sizeof d->base);
		memset(d->bad, 0, sizeof d->bad);
	}
	d->rebase = false;
	for (uint32_t i = 0; i < d->staged; i++) {
		const struct page_row *r = &d->stage[i];

		if (!(d->scope_mask & 1u << r->scope) ||
		    !replaces(d, r, m->msg.checkpoint.cursor))
			continue;
		d->base[r->row] = r->seq;
		w->repaired += d->bad[r->row] && r->repair;
		d->bad[r->row] = d->base[r->row] < d->folded[r->row];
	}
	d->staged = 0;
	d->cursor = m->msg.checkpoint.cursor;
	d->cursor_grants = d->grants;
	if (d->cursor < d->verdict_commit)
		w->broken = "a checkpoint behind a verdict does not hold it";
	*ret_differs = differs(d);
	if (*ret_differs && !sat_csession_asking(&w->c)) {
		d->sums_asked = false;
		d->next_row = next_bad(d, 0);
	}
}

static void verdict(struct world *w, const struct wire_msg *m)
{
	const struct sat_msg_verdict *v = &m->msg.verdict;
	struct device_model *d = &w->device;
	uint32_t row = (uint32_t)(v->seq % WORLD_ROWS);

	d->verdict_commit = m->commit_seq;
	if (v->seq <= d->verdict_seq) {
		w->broken = "a verdict came that is stored already";
		return;
	}
	d->verdicts[v->seq]++;
	d->verdict_seq = v->seq;
	if (!(v->flags & SAT_VERDICT_AS_HELD) || !is_mine(d, row))
		return;
	/* Nothing can be folded into a damaged row; the digest will tell until
	 * at least that state has come. */
	if (d->bad[row])
		d->folded[row] = v->first_seq;
	else if (d->base[row] < v->first_seq)
		d->base[row] = v->first_seq;
}

static void grant(struct world *w, const struct sat_rights *g)
{
	struct device_model *d = &w->device;

	d->grants = g->version;
	d->scope_mask = 0;
	for (uint32_t i = 0; i < g->scope_count; i++)
		d->scope_mask |= 1u << g->scopes[i];
	for (uint32_t i = 0; i < WORLD_ROWS; i++)
		if (!is_mine(d, i)) {
			d->base[i] = 0;
			d->bad[i] = false;
		}
	/* What was staged of a lost scope goes with it, even if the scope
	 * comes back before the checkpoint. */
	for (uint32_t i = 0; i < d->staged; i++)
		if (!(d->scope_mask & 1u << d->stage[i].scope))
			d->stage[i].seq = 0;
}

static int perform_store(struct world *w, const struct sat_csession_effect *fx,
			 bool *ret_differs)
{
	struct wire_msg *m = &w->c_msg;
	struct device_model *d = &w->device;

	SAT_ASSERT(fx->msg == &m->msg);
	switch (fx->kind) {
	case SAT_CFX_STORE_WELCOME:
		d->epoch = m->msg.welcome.epoch;
		d->ratchet = m->msg.welcome.ratchet[0];
		m->msg.welcome.rights.scopes = m->scopes;
		grant(w, &m->msg.welcome.rights);
		d->rebase = m->msg.welcome.rebase || d->cursor == 0;
		d->staged = 0;
		return SAT_OK;
	case SAT_CFX_STORE_GRANT:
		grant(w, &m->msg.grant);
		return SAT_OK;
	case SAT_CFX_STORE_CATALOGUE:
		d->catalogue = m->msg.catalogue.version;
		return SAT_OK;
	case SAT_CFX_STORE_VERDICT:
		verdict(w, m);
		return SAT_OK;
	case SAT_CFX_STAGE_ROWS:
		return stage(w, m);
	case SAT_CFX_STORE_REPAIR:
		if (m->msg.repair.step == SAT_REPAIR_ROWS &&
		    m->msg.repair.table_no != 0 && /* an empty one */
		    m->msg.repair.table_no != d->asked_row)
			w->broken = "an answer to another ask";
		return SAT_OK;
	case SAT_CFX_CHECKPOINT:
		checkpoint(w, m, ret_differs);
		return SAT_OK;
	default:
		return SAT_E_INVAL;
	}
}

static void push_part(struct world *w, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_SENT,
					 .now_ms = w->now_ms };
	struct sat_slice all = sat_buf_peek(&w->device.outbox[fx->seq]);
	struct wire_msg m = { 0 };
	struct sat_slice part;
	uint8_t hash[16];

	SAT_ASSERT(fx->offset < all.len && fx->max > 0);
	part.ptr = all.ptr + fx->offset;
	part.len =
		all.len - fx->offset < fx->max ? all.len - fx->offset : fx->max;
	sat_hash_pack(sat_hash_bytes(all), hash);
	sat_csession_part(fx, part, all.len, hash, &m.msg);
	if (w->c.state == SAT_CSESSION_HELLO_SENT)
		w->early++;
	world_send(w, &w->up, &m);
	ev.len = part.len;
	ev.total = all.len;
	sat_csession_step(&w->c, &ev);
}

static void ask(struct world *w, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_ASKED,
					 .now_ms = w->now_ms };
	struct device_model *d = &w->device;
	struct wire_msg m = { .msg.type = SAT_MSG_REPAIR };
	struct sat_msg_repair *a = &m.msg.repair;

	a->no = fx->no;
	if (!d->sums_asked) {
		ev.asks = d->sums_asked = true;
	} else {
		a->step = SAT_REPAIR_ROWS;
		a->table_no = d->next_row;
		ev.asks = ev.rows = a->table_no != 0;
		a->scope = (a->table_no - 1) % WORLD_SCOPES;
		d->next_row = next_bad(d, a->table_no);
		a->more = d->next_row != 0;
	}
	d->asked_row = a->table_no;
	if (ev.asks) {
		world_send(w, &w->up, &m);
		w->asks++;
	}
	sat_csession_step(&w->c, &ev);
}

void world_damage(struct world *w, uint32_t row)
{
	struct device_model *d = &w->device;

	if (d->cursor == 0 || d->base[row] == 0)
		return;
	d->bad[row] = true;
	w->damages++;
	if (world_random(w, 3) == 0)
		d->base[row] = world_random(w, 2) == 0 ? 1u << 30 : 0;
}

void world_notice(struct world *w)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_DAMAGED };
	struct device_model *d = &w->device;

	if (!w->c_up || !sat_csession_may_ask(&w->c))
		return;
	d->sums_asked = world_random(w, 2) == 0;
	d->next_row = next_bad(d, 0);
	world_client_event(w, &ev);
}

static void store(struct world *w, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_STORED,
					 .now_ms = w->now_ms };

	/* The power may go between any two of these. */
	if (w->faults && world_random(w, 80) == 0) {
		world_cut(w);
		return;
	}
	ev.rc = perform_store(w, fx, &ev.differs);
	if (w->faults && world_random(w, 80) == 0) {
		world_cut(w);
		return;
	}
	sat_csession_step(&w->c, &ev);
}

void world_client_effects(struct world *w)
{
	struct sat_csession_effect fx;
	struct wire_msg m;

	while (w->c_up && w->broken == NULL && sat_csession_next(&w->c, &fx)) {
		switch (fx.kind) {
		case SAT_CFX_SEND:
			memset(&m, 0, sizeof m);
			m.msg = *fx.msg;
			world_send(w, &w->up, &m);
			break;
		case SAT_CFX_PUSH_PART:
			push_part(w, &fx);
			break;
		case SAT_CFX_ASK:
			ask(w, &fx);
			break;
		case SAT_CFX_TIMER:
			w->c_tick = fx.at_ms;
			break;
		case SAT_CFX_WIPE:
			world_log(w, "device wiped");
			break;
		case SAT_CFX_CLOSE:
			world_log(w, "device closes rc=%d wire=%d%s", fx.rc,
				  (int)fx.wire, fx.transient ? " again" : "");
			w->c_up = false;
			break;
		default:
			store(w, &fx);
		}
	}
}

void world_client_event(struct world *w, struct sat_csession_event *ev)
{
	ev->now_ms = w->now_ms;
	ev->wall_ms = (int64_t)w->now_ms;
	sat_csession_step(&w->c, ev);
	world_client_effects(w);
	if (w->c_up)
		check_caught_up(w);
}
