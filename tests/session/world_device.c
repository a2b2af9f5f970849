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

static void checkpoint(struct world *w, const struct wire_msg *m)
{
	struct device_model *d = &w->device;

	if (d->rebase)
		memset(d->base, 0, sizeof d->base);
	d->rebase = false;
	for (uint32_t i = 0; i < d->staged; i++)
		if (d->scope_mask & 1u << d->stage[i].scope &&
		    d->base[d->stage[i].row] < d->stage[i].seq)
			d->base[d->stage[i].row] = d->stage[i].seq;
	d->staged = 0;
	d->cursor = m->msg.checkpoint.cursor;
	d->cursor_grants = d->grants;
	if (d->cursor < d->verdict_commit)
		w->broken = "a checkpoint behind a verdict does not hold it";
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
	if (v->flags & SAT_VERDICT_AS_HELD && d->base[row] < v->first_seq &&
	    d->scope_mask & 1u << row % WORLD_SCOPES)
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
		if (!(d->scope_mask & 1u << i % WORLD_SCOPES))
			d->base[i] = 0;
	/* What was staged of a lost scope goes with it, even if the scope
	 * comes back before the checkpoint. */
	for (uint32_t i = 0; i < d->staged; i++)
		if (!(d->scope_mask & 1u << d->stage[i].scope))
			d->stage[i].seq = 0;
}

static int perform_store(struct world *w, const struct sat_csession_effect *fx)
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
	case SAT_CFX_CHECKPOINT:
		checkpoint(w, m);
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

static void store(struct world *w, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_STORED,
					 .now_ms = w->now_ms };

	/* The power may go between any two of these. */
	if (w->faults && world_random(w, 80) == 0) {
		world_cut(w);
		return;
	}
	ev.rc = perform_store(w, fx);
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
