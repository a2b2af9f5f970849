#include "tests/session/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sat_err err;
#define OK(call) assert_int_equal(call, SAT_OK)

/* ---- the server --------------------------------------------------------- */

static int note_replica(void *arg, uint32_t replica, struct sat_err *e)
{
	struct rig *r = arg;

	(void)e;
	r->noted_replica = replica;
	return SAT_OK;
}

void rig_init(struct rig *r)
{
	struct sat_server_options o = { 0 };

	memset(r, 0, sizeof *r);
	(void)signal(SIGPIPE, SIG_IGN);
	sat_log_set_level(SAT_LOG_ERROR);
	world_open(&r->w);
	/* One writer at a time: what the fixture still needs is to read. */
	sat_engine_close(r->w.engine);
	r->w.engine = NULL;
	sat_store_close(r->w.store);
	OK(sat_store_open_sqlite(r->w.path, false, false, &r->w.store, &err));
	test_pki_init(&r->pki, 0);
	assert_int_equal(uv_loop_init(&r->loop), 0);
	assert_int_equal(uv_timer_init(&r->loop, &r->timer), 0);
	r->timer.data = r;
	r->config = sat_config_new(SAT_PART_SERVER);
	r->zip = sat_zip_new();
	assert_non_null(r->config);
	r->tls = test_server_ctx(&r->pki);
	o.loop = &r->loop;
	o.config = r->config;
	o.db_path = r->w.path;
	o.tls = r->tls;
	o.ca.sign.cert_pem = sat_buf_peek(&r->pki.ca);
	o.ca.sign.key_pem = sat_buf_peek(&r->pki.ca_key);
	o.org = "Test";
	o.addr = "127.0.0.1";
	o.on_replica = note_replica;
	o.arg = r;
	OK(sat_server_start(&o, &r->server, &err));
}

static void on_timeout(uv_timer_t *timer)
{
	struct rig *r = timer->data;

	r->timed_out = true;
}

bool rig_run(struct rig *r, bool (*until)(void *arg), void *arg, uint64_t ms)
{
	r->timed_out = false;
	uv_update_time(&r->loop);
	(void)uv_timer_start(&r->timer, on_timeout, ms, 0);
	while (!until(arg) && !r->timed_out)
		(void)uv_run(&r->loop, UV_RUN_ONCE);
	(void)uv_timer_stop(&r->timer);
	return !r->timed_out;
}

static void on_job(void *arg, int rc, const struct sat_err *e)
{
	struct rig *r = arg;

	(void)e;
	r->job_rc = rc;
	r->job_done = true;
}

static bool job_done(void *arg)
{
	return ((struct rig *)arg)->job_done;
}

struct job_arg {
	sat_server_job_cb fn;
	void *arg;
	struct rig *rig;
};

static int run_job(struct sat_engine *e, void *arg, struct sat_err *ep)
{
	struct job_arg *a = arg;

	return a->fn(e, a->arg, ep);
}

static void on_job_arg(void *arg, int rc, const struct sat_err *e)
{
	on_job(((struct job_arg *)arg)->rig, rc, e);
}

void rig_job(struct rig *r, sat_server_job_cb fn, void *arg)
{
	struct job_arg a = { fn, arg, r };

	r->job_done = false;
	OK(sat_server_submit(r->server, run_job, on_job_arg, &a));
	assert_true(rig_run(r, job_done, r, 5000));
}

static void on_stopped(void *arg)
{
	((struct rig *)arg)->stopped = true;
}

static bool is_stopped(void *arg)
{
	return ((struct rig *)arg)->stopped;
}

void rig_stop(struct rig *r)
{
	sat_server_stop(r->server, on_stopped, r);
	assert_false(r->stopped); /* never calls back before it returns */
	assert_true(rig_run(r, is_stopped, r, 10000));
}

void rig_fini(struct rig *r)
{
	if (!r->stopped)
		rig_stop(r);
	uv_close((uv_handle_t *)&r->timer, NULL);
	while (uv_run(&r->loop, UV_RUN_NOWAIT) != 0)
		;
	assert_int_equal(uv_loop_close(&r->loop), 0);
	sat_tls_ctx_free(r->tls);
	sat_config_free(r->config);
	sat_zip_free(r->zip);
	test_pki_fini(&r->pki);
	world_close(&r->w);
}

/* ---- a device ----------------------------------------------------------- */

struct invite_arg {
	struct sat_invite invite;
};

static int put_invite(struct sat_engine *e, void *arg, struct sat_err *ep)
{
	return sat_store_invite_put(sat_engine_store(e), arg, ep);
}

void tablet_init(struct tablet *t, struct rig *r, const struct sat_id *user)
{
	struct sat_invite i = { .user = *user,
				.expires_ms = test_now_ms() + 3600000 };

	memset(t, 0, sizeof *t);
	t->rig = r;
	t->made.w = &r->w;
	t->made.cs.deltas = t->made.deltas;
	sat_buf_init(&t->made.bytes, SAT_CHANGESET_BYTES_MAX);
	sat_buf_init(&t->key, SAT_PEM_BYTES_MAX);
	sat_buf_init(&t->cert, SAT_PEM_BYTES_MAX);
	for (int n = 0; n < RIG_OUTBOX; n++)
		sat_buf_init(&t->outbox[n], SAT_CHANGESET_BYTES_MAX);
	OK(sat_pki_key_new(&t->key, &err));
	OK(sat_token_new(t->token, &err));
	OK(sat_token_hash(sat_slice_str(t->token), i.token_hash, &err));
	rig_job(r, put_invite, &i);
	OK(r->job_rc);
}

void tablet_fini(struct tablet *t)
{
	if (t->link != NULL) {
		sat_link_close(t->link, SAT_OK, NULL);
		assert_true(rig_run(t->rig, tablet_closed, t, 5000));
	}
	for (int n = 0; n < RIG_OUTBOX; n++)
		sat_buf_fini(&t->outbox[n]);
	sat_buf_fini(&t->made.bytes);
	sat_buf_fini(&t->key);
	sat_buf_fini(&t->cert);
}

void tablet_raw(struct tablet *t, struct sat_slice bytes)
{
	if (t->link != NULL)
		(void)!sat_link_send(t->link, bytes);
}

void tablet_send(struct tablet *t, const struct sat_msg *m)
{
	struct sat_buf out;

	sat_buf_init(&out, SAT_FRAME_BYTES_MAX + 64);
	OK(sat_msg_encode(t->rig->zip, m, &out));
	tablet_raw(t, sat_buf_peek(&out));
	sat_buf_fini(&out);
}

static void step(struct tablet *t, struct sat_csession_event *ev);

static void count_rows(struct tablet *t, const struct sat_msg_rows *m)
{
	const struct sat_catalogue *c = sat_store_catalogue(t->rig->w.store);
	const struct sat_table *tab = sat_catalogue_table_no(c, m->table_no);
	struct sat_arena a;
	struct sat_page page;

	assert_non_null(tab);
	assert_false(m->more);
	sat_arena_init(&a, 64 << 20);
	OK(sat_page_decode(tab, m->page, m->refs, &a, &page, &err));
	t->rows += page.row_count;
	sat_arena_fini(&a);
}

static void store(struct tablet *t, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_STORED };
	const struct sat_msg *m = fx->msg;

	switch (fx->kind) {
	case SAT_CFX_STORE_WELCOME:
		t->epoch = m->welcome.epoch;
		memcpy(t->ratchet, m->welcome.ratchet, 16);
		t->scope_count = m->welcome.rights.scope_count;
		t->grants = m->welcome.rights.version;
		break;
	case SAT_CFX_STORE_GRANT:
		t->scope_count = m->grant.scope_count;
		t->grants = m->grant.version;
		break;
	case SAT_CFX_STORE_CATALOGUE:
		t->catalogue = m->catalogue.version;
		break;
	case SAT_CFX_STORE_VERDICT:
		t->verdict_seq = m->verdict.seq;
		t->verdicts++;
		t->rejected += m->verdict.status == SAT_VERDICT_REJECTED;
		break;
	case SAT_CFX_STAGE_ROWS:
		count_rows(t, &m->rows);
		break;
	case SAT_CFX_STAGE_EVICT:
		t->evicts += m->evict.id_count;
		break;
	case SAT_CFX_STORE_MARK:
		t->marks++;
		break;
	default:
		t->cursor = m->checkpoint.cursor;
		t->checkpoints++;
	}
	step(t, &ev);
}

static void push_part(struct tablet *t, const struct sat_csession_effect *fx)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_SENT };
	struct sat_slice all = sat_buf_peek(&t->outbox[fx->seq]);
	struct sat_slice part = { all.ptr + fx->offset, all.len - fx->offset };
	struct sat_msg m;

	if (part.len > fx->max)
		part.len = fx->max;
	sat_csession_part(fx, part, all.len, t->hashes[fx->seq], &m);
	tablet_send(t, &m);
	ev.len = part.len;
	ev.total = all.len;
	ev.full = t->link != NULL &&
		  sat_link_pending(t->link) > SAT_LINK_OUT_HIGH;
	step(t, &ev);
}

static void perform(struct tablet *t, const struct sat_csession_effect *fx)
{
	switch (fx->kind) {
	case SAT_CFX_SEND:
		if (!t->no_credit || fx->msg->type != SAT_MSG_CREDIT)
			tablet_send(t, fx->msg);
		break;
	case SAT_CFX_PUSH_PART:
		push_part(t, fx);
		break;
	case SAT_CFX_TIMER:
	case SAT_CFX_WIPE:
		break;
	case SAT_CFX_CLOSE:
		t->csession_closed = true;
		t->rc = fx->rc;
		t->wire = fx->wire;
		if (t->link != NULL)
			sat_link_finish(t->link, fx->rc, NULL);
		break;
	default:
		store(t, fx);
	}
}

static void step(struct tablet *t, struct sat_csession_event *ev)
{
	struct sat_csession_effect fx;

	ev->now_ms = uv_now(&t->rig->loop);
	ev->wall_ms = test_now_ms();
	sat_csession_step(&t->s, ev);
	while (sat_csession_next(&t->s, &fx))
		perform(t, &fx);
}

static void send_enrol(struct tablet *t)
{
	struct sat_msg m = { .type = SAT_MSG_ENROL };
	uint8_t bytes[SAT_TLS_EXPORT_BYTES];
	struct sat_buf csr, sig;

	sat_buf_init(&csr, SAT_CSR_BYTES_MAX);
	sat_buf_init(&sig, 1024);
	OK(sat_tls_export(sat_link_tls(t->link), bytes, &err));
	OK(sat_pki_csr(sat_buf_peek(&t->key), &csr, &err));
	OK(sat_pki_sign(sat_buf_peek(&t->key),
			(struct sat_slice){ bytes, sizeof bytes }, &sig, &err));
	m.enrol.version_min = m.enrol.version_max = 1;
	m.enrol.token = sat_slice_str(t->token);
	m.enrol.csr = sat_buf_peek(&csr);
	m.enrol.proof = sat_buf_peek(&sig);
	m.enrol.device_name = sat_slice_str("tablet");
	tablet_send(t, &m);
	sat_buf_fini(&csr);
	sat_buf_fini(&sig);
}

static void hello(struct tablet *t)
{
	struct sat_msg_hello h = { .version_min = 1, .version_max = 1 };
	struct sat_csession_event ev = { .kind = SAT_CEV_OPEN, .hello = &h };

	h.replica = t->made.replica;
	h.epoch = t->epoch;
	h.catalogue = t->catalogue;
	h.cursor = t->cursor;
	h.verdict_seq = t->verdict_seq;
	h.last_seq = t->last_seq;
	memcpy(h.last_hash, t->hashes[t->last_seq], 16);
	memcpy(h.ratchet, t->ratchet, 16);
	h.raw_ms = test_now_ms();
	h.grants = t->grants;
	sat_csession_init(&t->s, 240000);
	step(t, &ev);
}

static void on_open(struct sat_link *link, void *arg, enum sat_alpn alpn,
		    const struct sat_peer *peer)
{
	struct tablet *t = arg;

	(void)peer;
	sat_link_trust(link);
	t->opened = true;
	if (t->silent)
		return;
	if (alpn == SAT_ALPN_ENROL)
		send_enrol(t);
	else
		hello(t);
}

static void on_enrolled(struct tablet *t, const struct sat_msg_enrolled *m)
{
	struct sat_slice cert = m->certificate;

	t->made.replica = m->replica;
	t->epoch = m->epoch;
	t->catalogue = m->catalogue;
	t->grants = m->rights.version;
	OK(sat_buf_append(&t->cert, cert.ptr, cert.len));
	t->enrolled = true;
}

static void on_frame(struct sat_link *link, void *arg,
		     const struct sat_frame *frame)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_MSG };
	struct tablet *t = arg;
	struct sat_slice plain;
	struct sat_arena a;
	struct sat_buf scratch;
	struct sat_msg m;

	(void)link;
	t->frames_after += t->mark;
	sat_arena_init(&a, 64 << 20);
	sat_buf_init(&scratch, SAT_UNZIP_BYTES_MAX);
	OK(sat_frame_open(t->rig->zip, frame, &scratch, &plain));
	OK(sat_msg_decode(frame->type, plain, &a, &m, &err));
	ev.msg = &m;
	ev.frame_bytes = frame->payload.len + SAT_FRAME_HEAD_BYTES;
	if (m.type == SAT_MSG_ENROLLED)
		on_enrolled(t, &m.enrolled);
	else if (m.type == SAT_MSG_ERROR && (t->silent || !t->enrolled))
		t->wire = m.error.code;
	else if (sat_csession_ready(&t->s))
		step(t, &ev);
	sat_buf_fini(&scratch);
	sat_arena_fini(&a);
}

static void on_drain(struct sat_link *link, void *arg)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_DRAINED };

	(void)link;
	step(arg, &ev);
}

static void on_closed(struct sat_link *link, void *arg, int rc,
		      const char *detail)
{
	struct tablet *t = arg;

	(void)link;
	(void)detail;
	t->link = NULL;
	t->closed = true;
	if (!t->csession_closed)
		t->rc = rc;
}

static const struct sat_link_handler handler = {
	.on_open = on_open,
	.on_frame = on_frame,
	.on_drain = on_drain,
	.on_closed = on_closed,
};

static void dial(struct tablet *t, struct sat_tls_ctx *ctx, enum sat_alpn alpn)
{
	t->opened = t->closed = t->csession_closed = false;
	t->wire = 0;
	sat_csession_init(&t->s, 240000);
	OK(sat_link_connect(&t->rig->loop, ctx, alpn, "127.0.0.1",
			    sat_server_port(t->rig->server), &handler, t,
			    &t->link, &err));
	sat_tls_ctx_free(ctx);
}

void tablet_enrol(struct tablet *t)
{
	dial(t, test_enrol_ctx(&t->rig->pki), SAT_ALPN_ENROL);
	assert_true(rig_run(t->rig, tablet_closed, t, 5000));
}

void tablet_connect(struct tablet *t)
{
	struct sat_tls_ctx *ctx;

	OK(sat_tls_client_ctx(sat_buf_peek(&t->rig->pki.ca),
			      sat_buf_peek(&t->cert), sat_buf_peek(&t->key),
			      NULL, &ctx, &err));
	dial(t, ctx, SAT_ALPN_SYNC);
}

void tablet_write(struct tablet *t, const char *account, size_t note_bytes)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_OUTBOX };
	struct sat_id id = new_id(&t->rig->w);
	char *note = calloc(1, note_bytes + 1);

	assert_non_null(note);
	for (size_t i = 0; i < note_bytes; i++)
		note[i] = (char)('a' + (i * 7919 + i / 26) % 26);
	/* ids of the fixture are small numbers: keep devices apart */
	id.b[0] = (uint8_t)t->made.replica;
	t->rig->w.now_ms = test_now_ms();
	(void)add_insert(&t->made, "account", &id);
	set_text(&t->made, "name", account);
	set_id(&t->made, "territory_id", &t->rig->w.t1);
	if (note_bytes > 0)
		set_text(&t->made, "needs", note);
	seal(&t->made);
	free(note);
	t->last_seq = t->made.seq;
	assert_true(t->last_seq < RIG_OUTBOX);
	OK(sat_buf_append(&t->outbox[t->last_seq],
			  sat_buf_peek(&t->made.bytes).ptr,
			  sat_buf_peek(&t->made.bytes).len));
	memcpy(t->hashes[t->last_seq], t->made.hash, 16);
	ev.last_seq = t->last_seq;
	if (t->link != NULL)
		step(t, &ev);
}

bool tablet_caught_up(void *tablet)
{
	struct tablet *t = tablet;

	return t->closed || sat_csession_caught_up(&t->s, t->last_seq);
}

bool tablet_closed(void *tablet)
{
	return ((struct tablet *)tablet)->closed;
}

bool tablet_opened(void *tablet)
{
	struct tablet *t = tablet;

	return t->opened || t->closed;
}

bool tablet_live(void *tablet)
{
	struct tablet *t = tablet;

	return t->closed || sat_csession_live(&t->s);
}
