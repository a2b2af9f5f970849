#include <stdlib.h>
#include <string.h>

#include "server/commit/fork.h"
#include "server/sync/run.h"

/* One RENEW, one RENEWED or ERROR: a device that has a key of ours asks for
 * another certificate. It proves both keys by signatures over bytes that only
 * the two ends of this TLS connection know. */

enum { HASHES_MAX = 60000 };

struct renew_job {
	struct sat_job job;
	struct sat_conn *conn;
	struct sat_buf csr, frame;
	uint8_t old_key[SAT_SHA256_BYTES], new_key[SAT_SHA256_BYTES];
	uint32_t replica, given;
	uint64_t after;
	bool fork;
	struct sat_msg_error refusal;
};

/* The chain hashes of the old replica after that seq. */
static int hashes_of(struct sat_bench *b, const struct sat_device *d,
		     uint64_t after, struct sat_buf *out, struct sat_err *err)
{
	struct sat_buf bytes;
	uint8_t hash[16];
	int rc = SAT_OK;

	sat_buf_init(&bytes, SAT_CHANGESET_BYTES_MAX);
	for (uint64_t seq = after + 1;
	     seq <= d->last_seq && seq - after <= HASHES_MAX; seq++) {
		sat_buf_clear(&bytes);
		rc = sat_store_changeset_get(
			b->store, (struct sat_dot){ d->replica, seq }, &bytes,
			hash, err);
		if (rc == SAT_OK)
			rc = sat_buf_append(out, hash, sizeof hash);
		if (rc != SAT_OK)
			break;
	}
	sat_buf_fini(&bytes);
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

static int answer(struct renew_job *x, struct sat_bench *b,
		  const struct sat_device *old, const struct sat_device *d,
		  struct sat_err *err)
{
	struct sat_server *s = x->conn->server;
	struct sat_msg m = { .type = SAT_MSG_RENEWED };
	struct sat_buf pem, told, hashes;
	int rc;

	sat_buf_init(&pem, SAT_PEM_BYTES_MAX);
	sat_buf_init(&told, SAT_PEM_BYTES_MAX);
	sat_buf_init(&hashes, HASHES_MAX * 16);
	rc = sat_server_ca_sign(s, sat_buf_peek(&x->csr), d, b->now_ms, &pem,
				&told, err);
	if (rc == SAT_OK && x->fork)
		rc = hashes_of(b, old, x->after, &hashes, err);
	m.renewed.version = SAT_PROTOCOL_VERSION;
	m.renewed.replica = d->replica;
	m.renewed.certificate = sat_buf_peek(&pem);
	m.renewed.ca = sat_buf_peek(&told);
	m.renewed.hashes = sat_buf_peek(&hashes);
	if (rc == SAT_OK)
		rc = sat_msg_encode(b->zip, &m, &x->frame);
	sat_buf_fini(&hashes);
	sat_buf_fini(&told);
	sat_buf_fini(&pem);
	return rc;
}

static int run_renew(struct sat_job *j, struct sat_bench *b,
		     struct sat_err *err)
{
	struct renew_job *x = SAT_CONTAINER_OF(j, struct renew_job, job);
	struct sat_server *s = x->conn->server;
	struct sat_device old, d;
	struct sat_user user;
	int rc = sat_engine_renewable(b->engine, x->replica, x->old_key, &old,
				      &user, &x->refusal, err);

	if (rc != SAT_OK)
		return rc;
	d = old;
	if (x->fork)
		rc = sat_engine_fork(b->engine, &old, x->new_key, &d, err);
	else if (memcmp(x->old_key, x->new_key, sizeof x->old_key) != 0)
		rc = sat_err_set(err, SAT_E_DENIED, 0, "renew",
				 "a certificate is renewed over its own key");
	if (rc == SAT_OK && x->fork && s->on_replica != NULL)
		rc = s->on_replica(s->on_replica_arg, d.replica, err);
	x->given = d.replica;
	return rc == SAT_OK ? answer(x, b, &old, &d, err) : rc;
}

static void refuse(struct sat_conn *c, const struct sat_msg_error *e)
{
	struct sat_msg m = { .type = SAT_MSG_ERROR, .error = *e };

	c->server->m.enrolments_refused++;
	c->tick_ms = 0;
	sat_conn_send(c, &m);
	if (c->link != NULL)
		sat_link_finish(c->link, SAT_E_DENIED, "renewal refused");
}

static void done_renew(struct sat_job *j)
{
	struct renew_job *x = SAT_CONTAINER_OF(j, struct renew_job, job);
	struct sat_conn *c = x->conn;
	struct sat_server *s = c->server;

	s->enrol_jobs--;
	sat_log(j->rc == SAT_OK && !x->fork ? SAT_LOG_INFO : SAT_LOG_WARN,
		"enrol",
		j->rc != SAT_OK ? "certificate not renewed"
		: x->fork       ? "a copy became a device of its own"
				: "certificate renewed",
		SAT_KV_UINT("replica", x->replica),
		SAT_KV_UINT("now", x->given), SAT_KV_STR("why", j->err.msg));
	if (j->rc == SAT_OK) {
		if (sat_conn_open(c) &&
		    sat_link_send(c->link, sat_buf_peek(&x->frame)) == SAT_OK)
			sat_link_finish(c->link, SAT_OK, "renewed");
	} else if (sat_conn_open(c)) {
		if (j->spoiled || j->rc != SAT_E_DENIED)
			x->refusal = sat_conn_trouble(j->rc);
		else if (x->refusal.code == 0)
			x->refusal = (struct sat_msg_error){
				.code = SAT_WIRE_PROTOCOL,
				.text = sat_slice_str(j->err.msg),
			};
		refuse(c, &x->refusal);
	}
	sat_buf_fini(&x->csr);
	sat_buf_fini(&x->frame);
	free(x);
	sat_conn_drop(c);
}

/* Are both keys here and now? */
static int judge(struct sat_conn *c, const struct sat_msg_renew *m,
		 struct renew_job *x, struct sat_err *err)
{
	uint8_t bytes[SAT_TLS_EXPORT_BYTES];
	struct sat_slice bound = { bytes, sizeof bytes };
	struct sat_cert_info info;
	int rc = sat_tls_export(sat_link_tls(c->link), bytes, err);

	if (rc == SAT_OK)
		rc = sat_pki_csr_check(m->csr, x->new_key, err);
	if (rc == SAT_OK)
		rc = sat_pki_csr_verify(m->csr, bound, m->proof, err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(m->certificate, &info, err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_verify(m->certificate, bound, m->old_proof,
					 err);
	if (rc == SAT_OK)
		memcpy(x->old_key, info.spki, sizeof x->old_key);
	sat_secret_wipe(bytes, sizeof bytes);
	return rc;
}

void sat_renew_start(struct sat_conn *c, const struct sat_msg_renew *m)
{
	static const struct sat_msg_error busy = { .code = SAT_WIRE_BUSY,
						   .transient = true };
	struct sat_msg_error bad = { .code = SAT_WIRE_PROTOCOL };
	struct sat_server *s = c->server;
	struct renew_job *x = calloc(1, sizeof *x);
	struct sat_err err = { 0 };

	if (x == NULL || s->enrol_jobs >= SAT_RUN_ENROL_MAX) {
		free(x);
		refuse(c, &busy);
		return;
	}
	sat_buf_init(&x->csr, 64 * 1024);
	sat_buf_init(&x->frame, SAT_FRAME_BYTES_MAX + 64);
	if (judge(c, m, x, &err) != SAT_OK ||
	    sat_buf_append(&x->csr, m->csr.ptr, m->csr.len) != SAT_OK) {
		sat_buf_fini(&x->csr);
		free(x);
		bad.text = sat_slice_str(
			"the device's request or a proof is not valid");
		refuse(c, &bad);
		return;
	}
	x->replica = m->replica;
	x->after = m->after;
	x->fork = m->fork;
	x->job.run = run_renew;
	x->job.done = done_renew;
	x->job.alone = true;
	x->conn = c;
	c->enrolling = true;
	c->tick_ms = 0;
	s->enrol_jobs++;
	sat_conn_hold(c);
	sat_workers_commit(&s->workers, &x->job);
}
