#include <stdlib.h>
#include <string.h>

#include "server/commit/ca.h"
#include "server/commit/recover.h"
#include "server/commit/wipe.h"
#include "server/sync/run.h"

/* The jobs of a connection. A job holds its connection; what it needs is in
 * the job, so nothing of the connection is read on another thread but the
 * clock steps, which never change once HELLO was judged, and the CA of its
 * certificate, which never changes. */

struct conn_job {
	struct sat_job job;
	struct sat_conn *conn;
	uint64_t seq, bytes;
	uint32_t replica, push_window;
	struct sat_id user;
	uint8_t key_hash[32], random[16];
	struct sat_msg_hello hello;
	struct sat_clock_step steps[SAT_CLOCK_STEPS_MAX];
	struct sat_msg_welcome welcome;
	struct sat_pull_start pull;
	uint8_t mark[64];
	struct sat_msg_error refusal;
	struct sat_arena arena; /* of welcome and pull */
};

struct push_job {
	struct sat_job job;
	struct sat_conn *conn;
	struct sat_push_from from;
	struct sat_buf changeset, frames;
	struct sat_msg_error refusal;
	uint64_t seq, bytes;
	bool rejected;
};

struct confirm_job {
	struct sat_job job;
	struct sat_conn *conn;
	uint32_t replica;
	struct sat_msg_credit credit;
};

struct read_job {
	struct sat_job job;
	struct sat_conn *conn;
	struct sat_feed_ask ask;
	struct sat_rights rights; /* scopes: malloc */
	uint32_t *fresh;          /* malloc */
	struct sat_feed_answer answer;
	uint32_t catalogue;
};

struct load_job {
	struct sat_job job;
	struct sat_conn *conn;
	uint32_t replica, catalogue;
	uint64_t after, last;
	bool more;
	struct sat_buf bytes;
	struct sat_zip *zip; /* while it runs */
	struct sat_arena *arena;
};

struct sat_msg_error sat_conn_trouble(int rc)
{
	struct sat_msg_error e = { .code = SAT_WIRE_INTERNAL,
				   .transient = true };

	if (rc == SAT_E_FULL) {
		e.code = SAT_WIRE_FULL;
		e.text = sat_slice_str("the server's disk is full");
		e.retry_ms = SAT_SSESSION_FULL_RETRY_MS;
	} else if (rc == SAT_E_BUSY || rc == SAT_E_NOMEM) {
		e.code = SAT_WIRE_BUSY;
		e.text = sat_slice_str("the server is busy");
		e.retry_ms = SAT_SSESSION_FULL_RETRY_MS;
	} else {
		e.text = sat_slice_str("the server has a problem");
	}
	return e;
}

static void queue(struct sat_conn *c, struct sat_job *j, bool commit)
{
	sat_conn_hold(c);
	if (commit)
		sat_workers_commit(&c->server->workers, j);
	else
		sat_workers_read(&c->server->workers, j);
}

/* Without memory for a job there is no answer to wait for. */
void sat_conn_no_memory(struct sat_conn *c)
{
	if (c->link != NULL)
		sat_link_close(c->link, SAT_E_NOMEM, "out of memory");
}

/* ---- HELLO -------------------------------------------------------------- */

static int run_hello(struct sat_job *j, struct sat_bench *b,
		     struct sat_err *err)
{
	struct conn_job *x = SAT_CONTAINER_OF(j, struct conn_job, job);
	struct sat_identity who = { .replica = x->replica, .user = x->user };
	uint64_t newest;
	int rc = sat_random(x->random, sizeof x->random, err);

	sat_arena_reset(&x->arena);
	if (rc == SAT_OK)
		rc = sat_engine_adopt(b->engine, &who, x->key_hash, err);
	if (rc != SAT_OK)
		return rc;
	rc = sat_engine_hello(b->engine, x->replica, x->key_hash, &x->hello,
			      x->random, &x->arena, &x->welcome, &x->refusal,
			      err);
	if (rc == SAT_OK)
		rc = sat_engine_pull_start(b->engine, &x->hello, &x->welcome,
					   &x->arena, &x->pull, err);
	if (rc == SAT_OK && sat_server_ca_rolling(x->conn->server, &newest)) {
		x->welcome.renew = x->conn->ca != newest;
		rc = sat_ca_shown(b->store, x->replica, x->conn->ca, err);
	}
	return rc;
}

/* Keep what the connection needs of WELCOME and HELLO, enter it, and end the
 * connection that it takes the place of. */
static int enter(struct sat_conn *c, struct conn_job *x)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_SUPERSEDED };
	struct sat_clock_step *steps = NULL;
	struct sat_conn *older;
	uint32_t n = x->hello.step_count;

	if (sat_rights_copy(&x->welcome.rights, &c->rights) != SAT_OK)
		return SAT_E_NOMEM;
	c->fresh = sat_scopes_copy(x->pull.fresh, x->pull.fresh_count);
	if (c->fresh == NULL)
		return SAT_E_NOMEM;
	c->fresh_count = x->pull.fresh_count;
	c->base = x->pull.base;
	c->epoch = x->welcome.epoch;
	c->hello_last = x->hello.last_seq;
	if (n > 0) {
		steps = malloc(n * sizeof *steps);
		if (steps == NULL)
			return SAT_E_NOMEM;
		memcpy(steps, x->steps, n * sizeof *steps);
	}
	/* far from the ends of its type: sat_engine_hello */
	c->clock.offset_ms = x->welcome.offset_ms;
	c->clock.steps = steps;
	c->clock.step_count = n;
	if (sat_hub_add(&c->server->hub, c, &older) != SAT_OK)
		return SAT_E_NOMEM;
	if (older != NULL) {
		c->server->m.superseded++;
		sat_conn_event(older, &ev);
	}
	return SAT_OK;
}

static void accept_hello(struct sat_conn *c, struct conn_job *x,
			 struct sat_ssession_event *ev)
{
	x->welcome.push_window = x->push_window;
	ev->welcome = &x->welcome;
	ev->at = x->pull.at;
	ev->live = x->pull.live;
	sat_link_trust(c->link);
	c->server->m.hellos++;
	sat_log(SAT_LOG_INFO, "conn", "welcome",
		SAT_KV_UINT("id", sat_link_id(c->link)),
		SAT_KV_STR("peer", sat_link_peer_name(c->link)),
		SAT_KV_UINT("replica", c->replica),
		SAT_KV_UINT("cursor", x->hello.cursor),
		SAT_KV_UINT("last_seq", x->welcome.last_seq));
}

static void done_hello(struct sat_job *j)
{
	struct conn_job *x = SAT_CONTAINER_OF(j, struct conn_job, job);
	struct sat_ssession_event ev = { .kind = SAT_SEV_HELLO_DONE };
	struct sat_conn *c = x->conn;
	bool refused = !j->spoiled &&
		       (j->rc == SAT_E_DENIED || j->rc == SAT_E_NOTFOUND ||
			j->rc == SAT_E_PROTO);

	if (!sat_conn_open(c))
		goto out;
	if (j->rc == SAT_OK)
		j->rc = enter(c, x);
	if (j->rc == SAT_OK) {
		accept_hello(c, x, &ev);
	} else {
		if (!refused)
			x->refusal = sat_conn_trouble(j->rc);
		ev.error = &x->refusal;
		c->server->m.hellos_refused++;
		sat_log(SAT_LOG_WARN, "conn", "hello refused",
			SAT_KV_UINT("id", sat_link_id(c->link)),
			SAT_KV_UINT("replica", c->replica),
			SAT_KV_UINT("code", x->refusal.code),
			SAT_KV_STR("why", j->err.msg));
	}
	sat_conn_event(c, &ev);
out:
	sat_arena_fini(&x->arena);
	free(x);
	sat_conn_drop(c);
}

static void start_hello(struct sat_conn *c, const struct sat_msg_hello *h)
{
	struct conn_job *x = calloc(1, sizeof *x);

	if (x == NULL || h->step_count > SAT_CLOCK_STEPS_MAX ||
	    h->mark.len > sizeof x->mark) {
		free(x);
		sat_conn_no_memory(c);
		return;
	}
	x->job.run = run_hello;
	x->job.done = done_hello;
	x->conn = c;
	x->replica = c->replica;
	x->user = c->user;
	memcpy(x->key_hash, c->key_hash, sizeof x->key_hash);
	x->push_window = (uint32_t)sat_config_int(c->server->config,
						  SAT_CFG_PUSH_WINDOW_BYTES);
	x->hello = *h;
	x->hello.software = (struct sat_slice){ 0 };
	if (h->mark.len > 0)
		memcpy(x->mark, h->mark.ptr, h->mark.len);
	x->hello.mark.ptr = x->mark;
	if (h->step_count > 0)
		memcpy(x->steps, h->steps, h->step_count * sizeof *x->steps);
	x->hello.steps = x->steps;
	sat_arena_init(&x->arena, 16 * 1024 * 1024);
	queue(c, &x->job, true);
}

/* ---- PUSH --------------------------------------------------------------- */

static int run_push(struct sat_job *j, struct sat_bench *b, struct sat_err *err)
{
	struct push_job *x = SAT_CONTAINER_OF(j, struct push_job, job);
	struct sat_msg m = { .type = SAT_MSG_VERDICT };
	int rc;

	sat_buf_clear(&x->frames);
	rc = sat_engine_push(b->engine, &x->from, sat_buf_peek(&x->changeset),
			     &b->arena, &m.verdict, &x->refusal, err);
	if (rc != SAT_OK)
		return rc;
	x->rejected = m.verdict.status == SAT_VERDICT_REJECTED;
	return sat_msg_encode(b->zip, &m, &x->frames);
}

static void done_push(struct sat_job *j)
{
	struct push_job *x = SAT_CONTAINER_OF(j, struct push_job, job);
	struct sat_ssession_event ev = { .kind = SAT_SEV_PUSH_DONE,
					 .seq = x->seq };
	struct sat_conn *c = x->conn;
	struct sat_server *s = c->server;
	struct sat_msg_error trouble = sat_conn_trouble(j->rc);

	ev.frames = sat_buf_peek(&x->frames);
	if (j->rc == SAT_OK) {
		s->m.changesets_in++;
		s->m.changeset_bytes_in += x->bytes;
		s->m.changesets_rejected += x->rejected;
	} else {
		ev.error = !j->spoiled && j->rc == SAT_E_PROTO ? &x->refusal
							       : &trouble;
		sat_log(SAT_LOG_WARN, "conn", "push not taken",
			SAT_KV_UINT("replica", x->from.replica),
			SAT_KV_UINT("seq", x->seq),
			SAT_KV_UINT("code", ev.error->code),
			SAT_KV_STR("why", j->err.msg));
	}
	/* Also when it is closed: the session counts what is under way. */
	sat_conn_event(c, &ev);
	sat_buf_fini(&x->changeset);
	sat_buf_fini(&x->frames);
	sat_conn_room_free(s, x->bytes);
	free(x);
	sat_conn_drop(c);
}

static void start_push(struct sat_conn *c, struct sat_ssession_effect *fx)
{
	struct push_job *x = calloc(1, sizeof *x);

	if (x == NULL) {
		sat_buf_fini(&fx->changeset);
		sat_conn_no_memory(c);
		return;
	}
	x->job.run = run_push;
	x->job.done = done_push;
	x->job.bytes = (size_t)fx->bytes;
	x->conn = c;
	x->seq = fx->seq;
	x->from.replica = c->replica;
	x->from.clock = c->clock;
	sat_conn_telling(c);
	if (fx->seq > c->hello_last) {
		x->from.told_seq = c->told_seq;
		x->from.told_grants = c->told_grants;
	}
	x->changeset = fx->changeset;
	sat_buf_init(&x->frames, SAT_FRAME_BYTES_MAX + 64);
	x->bytes = fx->bytes;
	SAT_ASSERT(c->room_held == fx->bytes);
	c->room_held = 0; /* the job's now */
	queue(c, &x->job, true);
}

/* ---- CREDIT that must be stored ----------------------------------------- */

static int run_confirm(struct sat_job *j, struct sat_bench *b,
		       struct sat_err *err)
{
	struct confirm_job *x = SAT_CONTAINER_OF(j, struct confirm_job, job);

	return sat_engine_confirm(b->engine, x->replica, &x->credit, err);
}

static void start_confirm(struct sat_conn *c);

static void done_confirm(struct sat_job *j)
{
	struct confirm_job *x = SAT_CONTAINER_OF(j, struct confirm_job, job);
	struct sat_conn *c = x->conn;

	/* One that is lost is made up for by the next, or by HELLO. */
	free(x);
	c->confirming = false;
	if (c->confirm_more)
		start_confirm(c);
	sat_conn_drop(c);
}

static void start_confirm(struct sat_conn *c)
{
	struct confirm_job *x = calloc(1, sizeof *x);

	c->confirm_more = false;
	if (x == NULL)
		return;
	x->job.run = run_confirm;
	x->job.done = done_confirm;
	x->conn = c;
	x->replica = c->replica;
	x->credit = c->confirm;
	memset(&c->confirm, 0, sizeof c->confirm);
	c->confirming = true;
	queue(c, &x->job, true);
}

static void take_confirm(struct sat_conn *c, const struct sat_msg_credit *n)
{
	struct sat_msg_credit *have = &c->confirm;

	if (n->verdict_seq > have->verdict_seq)
		have->verdict_seq = n->verdict_seq;
	if (n->cursor != 0) {
		have->cursor = n->cursor;
		have->last_seq = n->last_seq;
	}
	/* once, with the first word after WELCOME; jobs have copies */
	if (n->trip_ms != 0 && !c->clock_told) {
		c->clock_told = true;
		c->clock.offset_ms -= n->trip_ms < SAT_RUN_TRIP_MAX_MS
					      ? (int64_t)n->trip_ms
					      : SAT_RUN_TRIP_MAX_MS;
	}
	if (n->has_ratchet) {
		have->has_ratchet = true;
		memcpy(have->ratchet, n->ratchet, sizeof have->ratchet);
	}
	c->confirm_more = true;
	if (!c->confirming)
		start_confirm(c);
}

/* ---- reading ------------------------------------------------------------ */

static int run_read(struct sat_job *j, struct sat_bench *b, struct sat_err *err)
{
	struct read_job *x = SAT_CONTAINER_OF(j, struct read_job, job);
	const struct sat_catalogue *cat;
	int rc;

	x->ask.now_ms = b->now_ms;
	x->ask.cache = b->pages;
	rc = sat_feed_read(b->store, b->zip, &x->ask, &x->answer, err);
	cat = sat_store_catalogue(b->store);
	x->catalogue = cat == NULL ? 0 : cat->version;
	return rc;
}

static void done_read(struct sat_job *j)
{
	struct read_job *x = SAT_CONTAINER_OF(j, struct read_job, job);
	struct sat_ssession_event ev = { .kind = SAT_SEV_PAGE };
	struct sat_conn *c = x->conn;
	struct sat_server_metrics *m = &c->server->m;
	struct sat_msg_error trouble = sat_conn_trouble(SAT_E_IO);

	sat_server_damage_note(c->server, x->answer.damaged,
			       x->answer.damaged_count);
	ev.frames = sat_buf_peek(&x->answer.frames);
	ev.data_bytes = x->answer.data_bytes;
	ev.at = x->answer.at;
	ev.checkpoint = x->answer.checkpoint;
	ev.seq = x->answer.cursor;
	ev.version = x->catalogue;
	if (j->rc == SAT_OK) {
		m->pages++;
		m->page_bytes_out += ev.frames.len;
		m->checkpoints += ev.checkpoint;
	} else {
		ev.error = &trouble;
		m->scope_alarms += j->rc == SAT_E_DENIED;
		sat_log(SAT_LOG_ERROR, "feed",
			j->rc == SAT_E_DENIED
				? "a row was about to leave its scope"
				: "read failed",
			SAT_KV_UINT("replica", x->ask.replica),
			SAT_KV_ERR(&j->err));
	}
	sat_conn_event(c, &ev);
	sat_conn_telling(c);
	sat_buf_fini(&x->answer.frames);
	sat_rights_free(&x->rights);
	free(x->fresh);
	free(x);
	sat_conn_drop(c);
}

static void start_read(struct sat_conn *c, const struct sat_ssession_effect *fx)
{
	struct read_job *x = calloc(1, sizeof *x);

	if (x == NULL || sat_rights_copy(&c->rights, &x->rights) != SAT_OK) {
		free(x);
		sat_conn_no_memory(c);
		return;
	}
	x->job.run = run_read;
	x->job.done = done_read;
	x->conn = c;
	x->ask.replica = c->replica;
	x->ask.rights = &x->rights;
	x->ask.epoch = c->epoch;
	x->ask.base = c->base;
	if (fx->at.fill) {
		x->fresh = sat_scopes_copy(c->fresh, c->fresh_count);
		x->ask.fresh = x->fresh;
		x->ask.fresh_count = c->fresh_count;
	}
	x->ask.at = fx->at;
	x->ask.live = fx->live;
	x->ask.told = fx->told;
	x->ask.bytes_max =
		(size_t)sat_config_int(c->server->config, SAT_CFG_PAGE_BYTES);
	sat_buf_init(&x->answer.frames, SAT_RUN_OUT_MAX);
	if (fx->at.fill && x->fresh == NULL) {
		sat_rights_free(&x->rights);
		free(x);
		sat_conn_no_memory(c);
		return;
	}
	queue(c, &x->job, false);
}

/* One stored verdict, marked as a replay. */
static int add_verdict(void *arg, uint64_t seq, struct sat_slice bytes)
{
	struct load_job *x = arg;
	struct sat_msg m;
	struct sat_err err;
	int rc;

	if (x->bytes.len >= SAT_RUN_REPLAY_BYTES) {
		x->more = true;
		return SAT_AGAIN;
	}
	sat_arena_reset(x->arena);
	rc = sat_msg_decode(SAT_MSG_VERDICT, bytes, x->arena, &m, &err);
	if (rc != SAT_OK)
		return SAT_E_CORRUPT;
	m.verdict.flags |= SAT_VERDICT_REPLAY;
	x->last = seq;
	return sat_msg_encode(x->zip, &m, &x->bytes);
}

static int run_verdicts(struct sat_job *j, struct sat_bench *b,
			struct sat_err *err)
{
	struct load_job *x = SAT_CONTAINER_OF(j, struct load_job, job);
	int rc = sat_store_snapshot_begin(b->store, err);

	if (rc != SAT_OK)
		return rc;
	x->zip = b->zip;
	x->arena = &b->arena;
	rc = sat_store_verdicts(b->store, x->replica, x->after, add_verdict, x,
				err);
	sat_store_snapshot_end(b->store);
	return rc == SAT_AGAIN ? SAT_OK : rc;
}

static int run_catalogue(struct sat_job *j, struct sat_bench *b,
			 struct sat_err *err)
{
	struct load_job *x = SAT_CONTAINER_OF(j, struct load_job, job);

	x->catalogue = sat_store_catalogue(b->store)->version;
	return sat_store_catalogue_json(b->store, &x->bytes, err);
}

static void done_load(struct sat_job *j)
{
	struct load_job *x = SAT_CONTAINER_OF(j, struct load_job, job);
	struct sat_msg_error trouble = sat_conn_trouble(SAT_E_IO);
	struct sat_msg_catalogue cat = { .version = x->catalogue };
	struct sat_ssession_event ev = { .kind = SAT_SEV_VERDICTS };
	struct sat_conn *c = x->conn;

	if (j->rc != SAT_OK) {
		ev.error = &trouble;
		sat_log(SAT_LOG_ERROR, "conn", "cannot load",
			SAT_KV_UINT("replica", x->replica),
			SAT_KV_ERR(&j->err));
	}
	if (j->run == run_catalogue) {
		ev.kind = SAT_SEV_CATALOGUE;
		cat.json = sat_buf_peek(&x->bytes);
		ev.catalogue = &cat;
	} else {
		ev.frames = sat_buf_peek(&x->bytes);
		ev.seq = x->last;
		ev.more = x->more;
	}
	sat_conn_event(c, &ev);
	sat_buf_fini(&x->bytes);
	free(x);
	sat_conn_drop(c);
}

static void start_load(struct sat_conn *c, const struct sat_ssession_effect *fx)
{
	struct load_job *x = calloc(1, sizeof *x);

	if (x == NULL) {
		sat_conn_no_memory(c);
		return;
	}
	x->job.run = fx->kind == SAT_SFX_LOAD_CATALOGUE ? run_catalogue
							: run_verdicts;
	x->job.done = done_load;
	x->conn = c;
	x->replica = c->replica;
	x->after = fx->seq;
	sat_buf_init(&x->bytes, SAT_RUN_OUT_MAX);
	queue(c, &x->job, false);
}

/* ---- the end of a wiped device ------------------------------------------- */

struct wiped_job {
	struct sat_job job;
	struct sat_conn *conn;
	uint32_t replica;
};

static int run_wiped(struct sat_job *j, struct sat_bench *b,
		     struct sat_err *err)
{
	struct wiped_job *x = SAT_CONTAINER_OF(j, struct wiped_job, job);

	return sat_engine_wiped(b->engine, x->replica, err);
}

static void done_wiped(struct sat_job *j)
{
	struct wiped_job *x = SAT_CONTAINER_OF(j, struct wiped_job, job);
	struct sat_conn *c = x->conn;

	sat_log(SAT_LOG_WARN, "conn", "device wiped",
		SAT_KV_UINT("replica", x->replica),
		SAT_KV_STR("rc", sat_rc_name(j->rc)));
	free(x);
	sat_conn_drop(c);
}

static void start_wiped(struct sat_conn *c)
{
	struct wiped_job *x = calloc(1, sizeof *x);

	if (x == NULL) {
		sat_conn_no_memory(c);
		return;
	}
	x->job.run = run_wiped;
	x->job.done = done_wiped;
	x->conn = c;
	x->replica = c->replica;
	queue(c, &x->job, true);
}

void sat_conn_start(struct sat_conn *c, struct sat_ssession_effect *fx)
{
	switch (fx->kind) {
	case SAT_SFX_DO_HELLO:
		start_hello(c, &fx->msg.hello);
		break;
	case SAT_SFX_DO_PUSH:
		start_push(c, fx);
		break;
	case SAT_SFX_DO_CONFIRM:
		take_confirm(c, &fx->msg.credit);
		break;
	case SAT_SFX_DO_WIPED:
		start_wiped(c);
		break;
	case SAT_SFX_DO_READ:
		start_read(c, fx);
		break;
	case SAT_SFX_TAKE_ASK:
		sat_repair_take(c, &fx->msg.repair);
		break;
	case SAT_SFX_DO_REPAIR:
		sat_repair_start(c);
		break;
	default:
		start_load(c, fx);
	}
}
