#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "server/sync/run.h"

/* Enrolment: one ENROL, one ENROLLED or ERROR, good-bye. The device proves
 * that it has the key by a signature over bytes that only the two ends of
 * this TLS connection know. */

struct enrol_job {
	struct sat_job job;
	struct sat_conn *conn;
	struct sat_buf text; /* token, then name, then request */
	struct sat_slice token, name, csr;
	uint8_t spki[SAT_SHA256_BYTES];
	uint32_t replica;
	struct sat_buf frame;
};

static void refuse(struct sat_conn *c, uint32_t code, bool transient,
		   const char *text)
{
	struct sat_msg m = { .type = SAT_MSG_ERROR };

	m.error.code = code;
	m.error.transient = transient;
	m.error.text = sat_slice_str(text);
	c->server->m.enrolments_refused++;
	c->tick_ms = 0;
	sat_conn_send(c, &m);
	if (c->link != NULL)
		sat_link_finish(c->link, SAT_E_DENIED, text);
}

/* Everything a device must know to begin, as one frame. */
static int answer(struct enrol_job *x, struct sat_bench *b,
		  const struct sat_device *d, const struct sat_user *u,
		  struct sat_err *err)
{
	struct sat_server *s = x->conn->server;
	struct sat_msg m = { .type = SAT_MSG_ENROLLED };
	struct sat_buf pem, told, json;
	int rc;

	sat_buf_init(&pem, SAT_PEM_BYTES_MAX);
	sat_buf_init(&told, SAT_PEM_BYTES_MAX);
	sat_buf_init(&json, SAT_UNZIP_BYTES_MAX);
	m.enrolled.version = SAT_PROTOCOL_VERSION;
	m.enrolled.replica = d->replica;
	m.enrolled.org = sat_slice_str(s->org);
	m.enrolled.login = sat_slice_str(u->login);
	m.enrolled.name = sat_slice_str(u->name);
	m.enrolled.epoch = sat_engine_epoch(b->engine);
	m.enrolled.catalogue = sat_store_catalogue(b->store)->version;
	rc = sat_server_ca_sign(s, x->csr, d, b->now_ms, &pem, &told, err);
	if (rc == SAT_OK)
		rc = sat_store_catalogue_json(b->store, &json, err);
	if (rc == SAT_OK)
		rc = sat_engine_rights(b->engine, &u->id, &b->arena,
				       &m.enrolled.rights, err);
	m.enrolled.ca = sat_buf_peek(&told);
	m.enrolled.certificate = sat_buf_peek(&pem);
	m.enrolled.catalogue_json = sat_buf_peek(&json);
	if (rc == SAT_OK)
		rc = sat_msg_encode(b->zip, &m, &x->frame);
	sat_buf_fini(&json);
	sat_buf_fini(&told);
	sat_buf_fini(&pem);
	return rc;
}

/* A restored database must not take the same invitation again. */
static int note_invite(const struct sat_server *s, struct sat_slice token,
		       struct sat_err *err)
{
	uint8_t hash[SAT_SHA256_BYTES];
	char line[SAT_SHA256_BYTES * 2 + 16] = "invited ";
	int rc;

	if (s->on_note == NULL)
		return SAT_OK;
	rc = sat_token_hash(token, hash, err);
	if (rc != SAT_OK)
		return rc;
	sat_hex_format(hash, sizeof hash, line + strlen(line));
	return s->on_note(s->on_replica_arg, line, err);
}

static int run_enrol(struct sat_job *j, struct sat_bench *b,
		     struct sat_err *err)
{
	struct enrol_job *x = SAT_CONTAINER_OF(j, struct enrol_job, job);
	struct sat_server *s = x->conn->server;
	struct sat_device d;
	struct sat_user u;
	int rc = sat_engine_enrol(b->engine, x->token, x->spki, x->name, &d, &u,
				  err);

	if (rc != SAT_OK)
		return rc;
	x->replica = d.replica;
	if (s->on_replica != NULL)
		rc = s->on_replica(s->on_replica_arg, d.replica, err);
	if (rc == SAT_OK)
		rc = note_invite(s, x->token, err);
	return rc == SAT_OK ? answer(x, b, &d, &u, err) : rc;
}

static void done_enrol(struct sat_job *j)
{
	struct enrol_job *x = SAT_CONTAINER_OF(j, struct enrol_job, job);
	struct sat_conn *c = x->conn;
	struct sat_server *s = c->server;

	s->enrol_jobs--;
	if (j->rc == SAT_OK) {
		s->m.enrolments++;
		sat_log(SAT_LOG_INFO, "enrol", "device enrolled",
			SAT_KV_UINT("replica", x->replica));
		if (sat_conn_open(c) &&
		    sat_link_send(c->link, sat_buf_peek(&x->frame)) == SAT_OK)
			sat_link_finish(c->link, SAT_OK, "enrolled");
	} else {
		sat_log(SAT_LOG_WARN, "enrol", "not enrolled",
			SAT_KV_ERR(&j->err));
		if (!sat_conn_open(c))
			;
		else if (!j->spoiled && j->rc == SAT_E_DENIED)
			refuse(c, SAT_WIRE_INVITE, false, j->err.msg);
		else
			refuse(c, sat_conn_trouble(j->rc).code, true,
			       "the server could not enrol the device");
	}
	sat_buf_fini(&x->text);
	sat_buf_fini(&x->frame);
	free(x);
	sat_conn_drop(c);
}

/* Is the request sound and signed for this very connection? */
static int judge(struct sat_conn *c, const struct sat_msg_enrol *m,
		 uint8_t spki[SAT_SHA256_BYTES], struct sat_err *err)
{
	uint8_t bytes[SAT_TLS_EXPORT_BYTES];
	int rc = sat_tls_export(sat_link_tls(c->link), bytes, err);

	if (rc == SAT_OK)
		rc = sat_pki_csr_check(m->csr, spki, err);
	if (rc == SAT_OK)
		rc = sat_pki_csr_verify(
			m->csr, (struct sat_slice){ bytes, sizeof bytes },
			m->proof, err);
	sat_secret_wipe(bytes, sizeof bytes);
	return rc;
}

static int keep(struct enrol_job *x, const struct sat_msg_enrol *m)
{
	size_t at = 0;
	const uint8_t *p;

	sat_buf_init(&x->text, 64 * 1024);
	sat_buf_init(&x->frame, SAT_FRAME_BYTES_MAX + 64);
	if (sat_buf_append(&x->text, m->token.ptr, m->token.len) != SAT_OK ||
	    sat_buf_append(&x->text, m->device_name.ptr, m->device_name.len) !=
		    SAT_OK ||
	    sat_buf_append(&x->text, m->csr.ptr, m->csr.len) != SAT_OK)
		return SAT_E_NOMEM;
	p = sat_buf_peek(&x->text).ptr;
	x->token = (struct sat_slice){ p, m->token.len };
	at = m->token.len;
	x->name = (struct sat_slice){ p + at, m->device_name.len };
	at += m->device_name.len;
	x->csr = (struct sat_slice){ p + at, m->csr.len };
	return SAT_OK;
}

static void start(struct sat_conn *c, const struct sat_msg_enrol *m)
{
	struct sat_server *s = c->server;
	struct enrol_job *x;
	struct sat_err err = { 0 };

	if (m->version_min > SAT_PROTOCOL_VERSION ||
	    m->version_max < SAT_PROTOCOL_VERSION) {
		refuse(c, SAT_WIRE_VERSION, false,
		       "no common protocol version");
		return;
	}
	x = calloc(1, sizeof *x);
	if (x == NULL || s->enrol_jobs >= SAT_RUN_ENROL_MAX) {
		free(x);
		refuse(c, SAT_WIRE_BUSY, true, "the server is busy");
		return;
	}
	if (judge(c, m, x->spki, &err) != SAT_OK || keep(x, m) != SAT_OK) {
		sat_buf_fini(&x->text);
		free(x);
		refuse(c, SAT_WIRE_PROTOCOL, false,
		       "the device's request or its proof is not valid");
		return;
	}
	x->job.run = run_enrol;
	x->job.done = done_enrol;
	x->job.alone = true; /* a refusal must leave nothing behind */
	x->conn = c;
	c->enrolling = true;
	c->tick_ms = 0;
	s->enrol_jobs++;
	sat_conn_hold(c);
	sat_workers_commit(&s->workers, &x->job);
}

void sat_enrol_frame(struct sat_conn *c, const struct sat_frame *frame)
{
	struct sat_server *s = c->server;
	struct sat_err err;
	struct sat_slice plain;
	struct sat_msg m;
	int rc;

	if (!sat_conn_open(c))
		return;
	sat_arena_reset(&s->arena);
	rc = sat_frame_open(s->zip, frame, &s->plain, &plain);
	if (rc == SAT_OK)
		rc = sat_msg_decode(frame->type, plain, &s->arena, &m, &err);
	if (rc == SAT_AGAIN && sat_msg_ignorable(frame->type))
		return;
	if (rc == SAT_OK && m.type == SAT_MSG_RENEW && !c->enrolling)
		sat_renew_start(c, &m.renew);
	else if (rc != SAT_OK || m.type != SAT_MSG_ENROL || c->enrolling)
		refuse(c, SAT_WIRE_PROTOCOL, false, "one ENROL is expected");
	else
		start(c, &m.enrol);
}
