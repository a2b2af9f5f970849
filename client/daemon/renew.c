/* Another certificate, asked for with the key that the device has: when its
 * own ends soon or has ended, and when the server says that this device is a
 * copy of another. One short connection, with nothing else going on. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "client/daemon/daemon.h"
#include "common/log.h"
#include "common/pki.h"
#include "proto/link.h"

enum { PATH_CHARS = 4096, RENEW_WAIT_MS = 30 * 1000 };

struct renewal {
	uv_loop_t loop;
	uv_timer_t timer;
	const char *dir;
	struct sat_replica *replica;
	struct sat_cert_info info;
	uint64_t after;
	bool fork, done, denied;
	struct sat_buf cert, old_key, key, ca;
	struct sat_zip *zip;
	struct sat_arena arena;
	struct sat_buf plain, out;
	struct sat_link *link;
	int rc;
	struct sat_err err;
};

static int read_pem(const char *dir, const char *name, struct sat_buf *ret,
		    struct sat_err *err)
{
	char path[PATH_CHARS];
	int rc = sat_path_join(path, sizeof path, dir, name, err);

	return rc == SAT_OK ? sat_file_read(path, SAT_PEM_BYTES_MAX, ret, err)
			    : rc;
}

static int write_pem(const char *dir, const char *name, struct sat_slice bytes,
		     mode_t mode, struct sat_err *err)
{
	char path[PATH_CHARS];
	int rc = sat_path_join(path, sizeof path, dir, name, err);

	return rc == SAT_OK ? sat_file_write(path, bytes, mode, err) : rc;
}

/* A copy needs a key of its own; one of an earlier try serves again, so that
 * a lost answer costs nothing. */
static int take_key(struct renewal *w)
{
	char path[PATH_CHARS];
	struct sat_slice old = sat_buf_peek(&w->old_key);
	int rc = SAT_OK;

	if (!w->fork)
		return sat_buf_append(&w->key, old.ptr, old.len);
	rc = sat_path_join(path, sizeof path, w->dir, "device.key.new",
			   &w->err);
	if (rc == SAT_OK && sat_file_exists(path))
		return read_pem(w->dir, "device.key.new", &w->key, &w->err);
	if (rc == SAT_OK)
		rc = sat_pki_key_new(&w->key, &w->err);
	if (rc == SAT_OK)
		rc = write_pem(w->dir, "device.key.new", sat_buf_peek(&w->key),
			       0600, &w->err);
	return rc;
}

static int move_file(const char *dir, const char *from, const char *to,
		     struct sat_err *err)
{
	char a[PATH_CHARS], b[PATH_CHARS];
	int rc = sat_path_join(a, sizeof a, dir, from, err);

	if (rc == SAT_OK)
		rc = sat_path_join(b, sizeof b, dir, to, err);
	if (rc != SAT_OK || !sat_file_exists(a))
		return rc;
	if (rename(a, b) != 0)
		return sat_err_set(err, SAT_E_IO, 0, "renew",
				   "%s cannot be replaced", b);
	return sat_dir_sync(dir, err);
}

/* The replica has the new number, so key and certificate follow; may be done
 * again after a cut. The key goes first: the certificate that waits tells that
 * this is not finished. */
static int put_in_place(const char *dir, struct sat_err *err)
{
	int rc = move_file(dir, "device.key.new", "device.key", err);

	return rc == SAT_OK
		       ? move_file(dir, "device.pem.new", "device.pem", err)
		       : rc;
}

int sat_daemon_finish_renewal(const char *dir, uint32_t replica,
			      struct sat_err *err)
{
	struct sat_cert_info info;
	char path[PATH_CHARS];
	struct sat_buf pem;
	int rc = sat_path_join(path, sizeof path, dir, "device.pem.new", err);

	if (rc != SAT_OK || !sat_file_exists(path))
		return rc;
	sat_buf_init(&pem, SAT_PEM_BYTES_MAX);
	rc = sat_file_read(path, SAT_PEM_BYTES_MAX, &pem, err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&pem), &info, err);
	sat_buf_fini(&pem);
	if (rc == SAT_OK && info.identity.replica == replica)
		return put_in_place(dir, err);
	if (rc != SAT_OK && rc != SAT_E_INVAL)
		return rc;
	/* The replica never got that far: it asks again with the same key. Nor
	 * does a file that is no certificate help anybody. */
	(void)unlink(path);
	return SAT_OK;
}

/* Whom to trust comes first: a certificate of a new CA tells the server that
 * this device trusts that CA. */
static int take_answer(struct renewal *w, const struct sat_msg_renewed *m)
{
	int rc;

	if (!w->fork && m->replica != w->info.identity.replica)
		return sat_err_set(&w->err, SAT_E_PROTO, 0, "renew",
				   "a certificate for another device");
	rc = write_pem(w->dir, "ca.pem", m->ca, 0644, &w->err);
	if (rc == SAT_OK && !w->fork)
		return write_pem(w->dir, "device.pem", m->certificate, 0644,
				 &w->err);
	if (rc == SAT_OK)
		rc = write_pem(w->dir, "device.pem.new", m->certificate, 0644,
			       &w->err);
	if (rc == SAT_OK)
		rc = sat_replica_become(w->replica, m->replica, w->after,
					m->hashes, &w->err);
	if (rc == SAT_OK)
		rc = put_in_place(w->dir, &w->err);
	if (rc == SAT_OK)
		sat_log(SAT_LOG_WARN, "sync",
			"this device was a copy and is one of its own now",
			SAT_KV_UINT("replica", m->replica));
	return rc;
}

/* ---- the connection --------------------------------------------------------
 */

static void on_open(struct sat_link *link, void *arg, enum sat_alpn alpn,
		    const struct sat_peer *peer)
{
	struct renewal *w = arg;
	struct sat_msg m = { .type = SAT_MSG_RENEW };
	uint8_t bytes[SAT_TLS_EXPORT_BYTES];
	struct sat_slice bound = { bytes, sizeof bytes };
	struct sat_buf csr, proof, old;
	int rc;

	(void)alpn;
	(void)peer;
	sat_link_trust(link);
	sat_buf_init(&csr, 64 * 1024);
	sat_buf_init(&proof, 4096);
	sat_buf_init(&old, 4096);
	rc = sat_tls_export(sat_link_tls(link), bytes, &w->err);
	if (rc == SAT_OK)
		rc = sat_pki_csr(sat_buf_peek(&w->key), &csr, &w->err);
	if (rc == SAT_OK)
		rc = sat_pki_sign(sat_buf_peek(&w->key), bound, &proof,
				  &w->err);
	if (rc == SAT_OK)
		rc = sat_pki_sign(sat_buf_peek(&w->old_key), bound, &old,
				  &w->err);
	m.renew.version_min = m.renew.version_max = SAT_PROTOCOL_VERSION;
	m.renew.replica = w->info.identity.replica;
	m.renew.certificate = sat_buf_peek(&w->cert);
	m.renew.csr = sat_buf_peek(&csr);
	m.renew.proof = sat_buf_peek(&proof);
	m.renew.old_proof = sat_buf_peek(&old);
	m.renew.fork = w->fork;
	m.renew.after = w->after;
	if (rc == SAT_OK)
		rc = sat_msg_encode(w->zip, &m, &w->out);
	if (rc == SAT_OK)
		rc = sat_link_send(link, sat_buf_peek(&w->out));
	sat_secret_wipe(bytes, sizeof bytes);
	sat_buf_fini(&csr);
	sat_buf_fini(&proof);
	sat_buf_fini(&old);
	if (rc != SAT_OK) {
		w->rc = rc;
		sat_link_close(link, rc, w->err.msg);
	}
}

static void on_frame(struct sat_link *link, void *arg,
		     const struct sat_frame *frame)
{
	struct renewal *w = arg;
	struct sat_slice plain;
	struct sat_msg m;
	int rc;

	if (w->done)
		return;
	rc = sat_frame_open(w->zip, frame, &w->plain, &plain);
	if (rc == SAT_OK)
		rc = sat_msg_decode(frame->type, plain, &w->arena, &m, &w->err);
	if (rc == SAT_AGAIN)
		return;
	w->done = true;
	if (rc == SAT_OK && m.type == SAT_MSG_RENEWED)
		rc = take_answer(w, &m.renewed);
	else if (rc == SAT_OK && m.type == SAT_MSG_ERROR)
		rc = sat_err_set(
			&w->err, m.error.transient ? SAT_E_BUSY : SAT_E_DENIED,
			0, "renew", "the server says: %.*s",
			(int)(m.error.text.len < 200 ? m.error.text.len : 200),
			(const char *)m.error.text.ptr);
	else if (rc == SAT_OK)
		rc = sat_err_set(&w->err, SAT_E_PROTO, 0, "renew",
				 "the server answered something else");
	w->rc = rc;
	sat_link_finish(link, rc, NULL);
}

static void on_closed(struct sat_link *link, void *arg, int rc,
		      const char *detail)
{
	struct renewal *w = arg;

	(void)link;
	w->link = NULL;
	if (!uv_is_closing((uv_handle_t *)&w->timer))
		uv_close((uv_handle_t *)&w->timer, NULL);
	if (w->done || w->rc != SAT_OK)
		return;
	w->rc = sat_err_set(&w->err,
			    rc == SAT_OK || rc == SAT_E_IO ? SAT_E_CLOSED : rc,
			    0, "renew", "%s",
			    detail == NULL || *detail == '\0'
				    ? "the server closed the connection"
				    : detail);
}

static void on_late(uv_timer_t *timer)
{
	struct renewal *w = timer->data;

	if (w->link != NULL)
		sat_link_close(w->link, SAT_E_TIMEOUT, "no answer in time");
}

static void talk(struct renewal *w, const char *host, uint16_t port)
{
	static const struct sat_link_handler handler = {
		.on_open = on_open, .on_frame = on_frame, .on_closed = on_closed
	};
	static const struct sat_slice none = { NULL, 0 };
	struct sat_tls_ctx *tls;

	w->rc = sat_tls_client_ctx(sat_buf_peek(&w->ca), none, none, NULL, &tls,
				   &w->err);
	if (w->rc != SAT_OK)
		return;
	(void)uv_loop_init(&w->loop);
	(void)uv_timer_init(&w->loop, &w->timer);
	w->timer.data = w;
	(void)uv_timer_start(&w->timer, on_late, RENEW_WAIT_MS, 0);
	w->rc = sat_link_connect(&w->loop, tls, SAT_ALPN_ENROL, host, port,
				 &handler, w, &w->link, &w->err);
	if (w->rc != SAT_OK)
		uv_close((uv_handle_t *)&w->timer, NULL);
	(void)uv_run(&w->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&w->loop);
	sat_tls_ctx_free(tls);
}

static int prepare(struct renewal *w)
{
	struct sat_msg_hello hello;
	int rc = read_pem(w->dir, "device.pem", &w->cert, &w->err);

	if (rc == SAT_OK)
		rc = read_pem(w->dir, "device.key", &w->old_key, &w->err);
	if (rc == SAT_OK)
		rc = read_pem(w->dir, "ca.pem", &w->ca, &w->err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&w->cert), &w->info,
				       &w->err);
	if (rc == SAT_OK)
		rc = take_key(w);
	if (rc == SAT_OK)
		rc = sat_replica_hello(w->replica, sat_daemon_wall_ms(), &hello,
				       &w->err);
	if (rc == SAT_OK)
		w->after = hello.verdict_seq;
	return rc;
}

int sat_daemon_renew(const char *dir, struct sat_replica *replica,
		     const char *host, uint16_t port, bool fork,
		     struct sat_err *err)
{
	struct renewal w = { .dir = dir, .replica = replica, .fork = fork };
	struct sat_buf *secrets[] = { &w.old_key, &w.key };

	sat_buf_init(&w.cert, SAT_PEM_BYTES_MAX);
	sat_buf_init(&w.old_key, SAT_PEM_BYTES_MAX);
	sat_buf_init(&w.key, SAT_PEM_BYTES_MAX);
	sat_buf_init(&w.ca, SAT_PEM_BYTES_MAX);
	sat_buf_init(&w.plain, SAT_UNZIP_BYTES_MAX);
	sat_buf_init(&w.out, SAT_FRAME_BYTES_MAX);
	sat_arena_init(&w.arena, 16 << 20);
	w.zip = sat_zip_new();
	w.rc = w.zip != NULL ? prepare(&w)
			     : sat_err_set(&w.err, SAT_E_NOMEM, 0, "renew",
					   "out of memory");
	if (w.rc == SAT_OK)
		talk(&w, host, port);
	for (size_t i = 0; i < SAT_COUNT_OF(secrets); i++) {
		sat_secret_wipe(secrets[i]->base, secrets[i]->len);
		sat_buf_fini(secrets[i]);
	}
	sat_buf_fini(&w.cert);
	sat_buf_fini(&w.ca);
	sat_buf_fini(&w.plain);
	sat_buf_fini(&w.out);
	sat_arena_fini(&w.arena);
	sat_zip_free(w.zip);
	*err = w.err;
	return w.rc;
}

int sat_daemon_renewal_due(const char *dir, int64_t server_ms, bool *ret,
			   struct sat_err *err)
{
	struct sat_cert_info info;
	struct sat_buf pem;
	int rc;

	sat_buf_init(&pem, SAT_PEM_BYTES_MAX);
	rc = read_pem(dir, "device.pem", &pem, err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&pem), &info, err);
	sat_buf_fini(&pem);
	*ret = rc == SAT_OK &&
	       info.not_after_ms - server_ms <
		       (info.not_after_ms - info.not_before_ms) / 3;
	return rc;
}
