/* enroll: a key of the device's own, a certificate for it, an empty replica,
 * and the first data. May be run again after a cut: the same invitation with
 * the same key gives the same device. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "client/daemon/daemon.h"
#include "common/pki.h"
#include "common/say.h"
#include "common/text.h"
#include "proto/link.h"

struct enrolment {
	uv_loop_t loop;
	uv_timer_t patience; /* until the answer */
	uint64_t timeout_ms;
	const char *dir;
	struct sat_invitation invite;
	struct sat_lock lock;
	struct sat_buf key;
	struct sat_zip *zip;
	struct sat_arena arena;
	struct sat_buf plain, out;
	struct sat_link *link;
	bool enrolled;
	int rc;
	struct sat_err err;
};

int64_t sat_daemon_wall_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int sat_invitation_parse(const char *text, struct sat_invitation *ret,
			 struct sat_err *err)
{
	static const char scheme[] = "satchel://";
	const char *host = text + sizeof scheme - 1, *token, *pin;
	struct sat_slice where, hash;

	*ret = (struct sat_invitation){ .port = 0 };
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		goto bad;
	token = strchr(host, '/');
	pin = token == NULL ? NULL : strchr(token + 1, '/');
	if (pin == NULL)
		goto bad;
	where = (struct sat_slice){ (const uint8_t *)host,
				    (size_t)(token - host) };
	hash = sat_slice_str(pin + 1);
	if ((size_t)(pin - token - 1) >= sizeof ret->token ||
	    !sat_hostport_parse(where, 7443, ret->host, &ret->port) ||
	    !sat_hex_parse(hash, ret->pin, sizeof ret->pin))
		goto bad;
	memcpy(ret->token, token + 1, (size_t)(pin - token - 1));
	return SAT_OK;
bad:
	return sat_err_set(err, SAT_E_INVAL, 0, "invite",
			   "that is not an invitation; it is one line, "
			   "satchel://HOST:PORT/CODE/HASH, as `satchel-server "
			   "invite` printed it");
}

static int put_file(const char *dir, const char *name, struct sat_slice bytes,
		    mode_t mode, struct sat_err *err)
{
	char path[4096];
	int rc = sat_path_join(path, sizeof path, dir, name, err);

	return rc == SAT_OK ? sat_file_write(path, bytes, mode, err) : rc;
}

/* The key of an earlier try, or a new one. */
static int take_key(struct enrolment *e)
{
	char path[4096];
	int rc =
		sat_path_join(path, sizeof path, e->dir, "device.key", &e->err);

	if (rc == SAT_OK && sat_file_exists(path))
		return sat_file_read(path, SAT_PEM_BYTES_MAX, &e->key, &e->err);
	if (rc == SAT_OK)
		rc = sat_pki_key_new(&e->key, &e->err);
	if (rc == SAT_OK)
		rc = sat_file_write(path, sat_buf_peek(&e->key), 0600, &e->err);
	return rc;
}

static void fail(struct enrolment *e, int rc)
{
	e->rc = rc;
	sat_link_close(e->link, rc, e->err.msg);
}

static void on_open(struct sat_link *link, void *arg, enum sat_alpn alpn,
		    const struct sat_peer *peer)
{
	struct enrolment *e = arg;
	struct sat_msg m = { .type = SAT_MSG_ENROL };
	uint8_t bound[SAT_TLS_EXPORT_BYTES];
	struct sat_buf csr, proof;
	char name[128] = "device";
	int rc;

	(void)alpn;
	(void)peer;
	sat_link_trust(link);
	sat_buf_init(&csr, 64 * 1024);
	sat_buf_init(&proof, 4096);
	(void)gethostname(name, sizeof name - 1);
	rc = sat_tls_export(sat_link_tls(link), bound, &e->err);
	if (rc == SAT_OK)
		rc = sat_pki_csr(sat_buf_peek(&e->key), &csr, &e->err);
	if (rc == SAT_OK)
		rc = sat_pki_sign(sat_buf_peek(&e->key),
				  (struct sat_slice){ bound, sizeof bound },
				  &proof, &e->err);
	m.enrol.version_min = m.enrol.version_max = SAT_PROTOCOL_VERSION;
	m.enrol.token = sat_slice_str(e->invite.token);
	m.enrol.csr = sat_buf_peek(&csr);
	m.enrol.proof = sat_buf_peek(&proof);
	m.enrol.device_name = sat_slice_str(name);
	if (rc == SAT_OK)
		rc = sat_msg_encode(e->zip, &m, &e->out);
	if (rc == SAT_OK)
		rc = sat_link_send(link, sat_buf_peek(&e->out));
	sat_buf_fini(&csr);
	sat_buf_fini(&proof);
	if (rc != SAT_OK)
		fail(e, rc);
}

/* The settings as a commented sample, unless somebody wrote some already. */
static int put_config(const struct enrolment *e, struct sat_err *err)
{
	struct sat_config *c = sat_config_new(SAT_PART_CLIENT);
	struct sat_buf text;
	char path[4096];
	int rc = sat_path_join(path, sizeof path, e->dir, "satcheld.conf", err);

	sat_buf_init(&text, 1 << 20);
	if (rc == SAT_OK && c == NULL)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "enroll",
				 "out of memory");
	if (rc == SAT_OK && !sat_file_exists(path)) {
		rc = sat_config_print(c, &text);
		if (rc == SAT_OK)
			rc = sat_file_write(path, sat_buf_peek(&text), 0600,
					    err);
	}
	sat_buf_fini(&text);
	sat_config_free(c);
	return rc;
}

/* HOST:PORT of the invitation, as the replica keeps it. */
static struct sat_slice server_of(const struct enrolment *e, char out[300])
{
	(void)snprintf(out, 300,
		       strchr(e->invite.host, ':') != NULL ? "[%s]:%u"
							   : "%s:%u",
		       e->invite.host, (unsigned)e->invite.port);
	return sat_slice_str(out);
}

/* The certificate comes last: a folder with one is an enrolled device. */
static int take_identity(struct enrolment *e, const struct sat_msg_enrolled *m)
{
	struct sat_replica_identity who = { .replica = m->replica,
					    .epoch = m->epoch,
					    .org = m->org,
					    .login = m->login,
					    .name = m->name,
					    .rights = m->rights };
	char server[300], path[4096];
	int rc;

	who.server = server_of(e, server);
	rc = sat_path_join(path, sizeof path, e->dir, "replica.db", &e->err);
	if (rc == SAT_OK)
		rc = put_file(e->dir, "ca.pem", m->ca, 0644, &e->err);
	if (rc == SAT_OK)
		rc = sat_replica_create(path, &who, m->catalogue_json, &e->err);
	if (rc == SAT_OK)
		rc = put_config(e, &e->err);
	if (rc == SAT_OK)
		rc = put_file(e->dir, "device.pem", m->certificate, 0644,
			      &e->err);
	if (rc == SAT_OK)
		(void)printf(sat_say("enrolled as %.*s (%.*s), device %lu\n"),
			     (int)m->login.len, (const char *)m->login.ptr,
			     (int)m->org.len, (const char *)m->org.ptr,
			     (unsigned long)m->replica);
	return rc;
}

static void on_frame(struct sat_link *link, void *arg,
		     const struct sat_frame *frame)
{
	struct enrolment *e = arg;
	struct sat_slice plain;
	struct sat_msg m;
	int rc;

	rc = sat_frame_open(e->zip, frame, &e->plain, &plain);
	if (rc == SAT_OK)
		rc = sat_msg_decode(frame->type, plain, &e->arena, &m, &e->err);
	else
		(void)sat_err_set(&e->err, rc, 0, "enroll",
				  "the server sent a broken frame");
	if (rc == SAT_OK && m.type == SAT_MSG_ERROR) {
		e->rc = sat_err_set(
			&e->err, m.error.transient ? SAT_E_BUSY : SAT_E_DENIED,
			0, "enroll", "the server says: %.*s",
			(int)(m.error.text.len < 200 ? m.error.text.len : 200),
			(const char *)m.error.text.ptr);
		sat_link_finish(link, e->rc, NULL);
		return;
	}
	if (rc == SAT_OK && m.type == SAT_MSG_ENROLLED) {
		rc = take_identity(e, &m.enrolled);
		e->enrolled = rc == SAT_OK;
		e->rc = rc;
		sat_link_finish(link, rc, NULL);
		return;
	}
	if (rc != SAT_OK && rc != SAT_AGAIN)
		fail(e, rc);
}

static void on_closed(struct sat_link *link, void *arg, int rc,
		      const char *detail)
{
	struct enrolment *e = arg;

	(void)link;
	uv_close((uv_handle_t *)&e->patience, NULL);
	if (e->enrolled || e->rc != SAT_OK)
		return;
	/* what fails on the way is "no server", not this device */
	e->rc = rc == SAT_OK || rc == SAT_E_IO ? SAT_E_CLOSED : rc;
	(void)sat_err_set(&e->err, e->rc, 0, "enroll", "%s:%u: %s",
			  e->invite.host, (unsigned)e->invite.port,
			  detail == NULL || *detail == '\0'
				  ? "the server closed the connection"
				  : detail);
}

static void on_silence(uv_timer_t *timer)
{
	struct enrolment *e = timer->data;

	sat_link_close(e->link, SAT_E_TIMEOUT, "the server does not answer");
}

static void talk(struct enrolment *e)
{
	static const struct sat_link_handler handler = {
		.on_open = on_open, .on_frame = on_frame, .on_closed = on_closed
	};
	static const struct sat_slice none = { NULL, 0 };
	struct sat_tls_ctx *tls;

	e->rc = sat_tls_client_ctx(none, none, none, e->invite.pin, &tls,
				   &e->err);
	if (e->rc != SAT_OK)
		return;
	(void)uv_loop_init(&e->loop);
	(void)uv_timer_init(&e->loop, &e->patience);
	e->patience.data = e;
	e->rc = sat_link_connect(&e->loop, tls, SAT_ALPN_ENROL, e->invite.host,
				 e->invite.port, &handler, e, &e->link,
				 &e->err);
	if (e->rc == SAT_OK)
		(void)uv_timer_start(&e->patience, on_silence, e->timeout_ms,
				     0);
	else
		uv_close((uv_handle_t *)&e->patience, NULL);
	(void)uv_run(&e->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&e->loop);
	sat_tls_ctx_free(tls);
}

/* A replica without a certificate: left by a try that was cut, and then
 * nothing was ever written into it; or the certificate was lost, and then it
 * may hold what no server has. Only the former may go. */
static int drop_cut_try(struct enrolment *e, const char *path)
{
	struct sat_replica_status s = { .saved = 0 };
	struct sat_replica *r;
	int rc = sat_replica_open(path, &r, &e->err);

	if (rc == SAT_OK) {
		rc = sat_replica_status(r, &s, &e->err);
		sat_replica_close(r);
	}
	if (rc != SAT_OK || s.saved + s.rejected > 0)
		return sat_err_set(&e->err, SAT_E_EXISTS, 0, "enroll",
				   "%.100s/replica.db may hold changes that no "
				   "server has; `satchel rescue` saves them; "
				   "enroll with another --dir",
				   e->dir);
	if (unlink(path) != 0)
		return sat_err_set(&e->err, SAT_E_IO, errno, "enroll",
				   "%s cannot be replaced", path);
	return SAT_OK;
}

/* The server vanished between the certificate and the last of the first data:
 * the invitation is used up, and has done what it can. */
static int take_up(struct enrolment *e, const char *path)
{
	struct sat_replica_status s = { .filling = false };
	struct sat_replica *r;
	struct sat_err err;
	char server[300];

	if (sat_replica_open(path, &r, &err) == SAT_OK) {
		if (sat_replica_status(r, &s, &err) != SAT_OK)
			s.filling = false;
		sat_replica_close(r);
	}
	e->enrolled = s.filling && sat_slice_equal(server_of(e, server),
						   sat_slice_str(s.server));
	if (!e->enrolled)
		return sat_err_set(&e->err, SAT_E_EXISTS, 0, "enroll",
				   "%s is enrolled already; use another --dir",
				   e->dir);
	(void)printf("enrolled already as %s (%s), device %lu; the first data "
		     "goes on\n",
		     s.login, s.org, (unsigned long)s.replica);
	return SAT_OK;
}

/* Before anything is asked of the server: is the folder fit? */
static int prepare(struct enrolment *e, const char *invite)
{
	char path[4096];
	bool certified;
	int rc;

	rc = sat_invitation_parse(invite, &e->invite, &e->err);
	if (rc == SAT_OK)
		rc = sat_dir_make(e->dir, &e->err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, e->dir, "lock", &e->err);
	if (rc == SAT_OK)
		rc = sat_lock_take(path, &e->lock, &e->err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, e->dir, "device.pem",
				   &e->err);
	certified = rc == SAT_OK && sat_file_exists(path);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, e->dir, "replica.db",
				   &e->err);
	if (rc == SAT_OK && certified)
		return take_up(e, path);
	if (rc == SAT_OK && sat_file_exists(path))
		rc = drop_cut_try(e, path);
	if (rc == SAT_OK)
		rc = take_key(e);
	return rc;
}

int sat_daemon_enrol(const char *dir, const char *invite, uint64_t timeout_ms)
{
	struct enrolment e = { .dir = dir, .timeout_ms = timeout_ms };
	struct sat_daemon_run first = { .dir = dir,
					.once = true,
					.patient = true,
					.timeout_ms = timeout_ms };
	bool asked; /* the server; what fails before is wrong here */

	e.lock.fd = -1;
	sat_buf_init(&e.key, SAT_PEM_BYTES_MAX);
	sat_buf_init(&e.plain, SAT_UNZIP_BYTES_MAX);
	sat_buf_init(&e.out, SAT_FRAME_BYTES_MAX);
	sat_arena_init(&e.arena, 16 << 20);
	e.zip = sat_zip_new();
	e.rc = e.zip != NULL ? prepare(&e, invite)
			     : sat_err_set(&e.err, SAT_E_NOMEM, 0, "enroll",
					   "out of memory");
	asked = e.rc == SAT_OK;
	if (asked && !e.enrolled)
		talk(&e);
	sat_secret_wipe(e.key.base, e.key.len);
	sat_buf_fini(&e.key);
	sat_buf_fini(&e.plain);
	sat_buf_fini(&e.out);
	sat_arena_fini(&e.arena);
	sat_zip_free(e.zip);
	sat_lock_drop(&e.lock);
	if (e.rc == SAT_OK)
		return sat_daemon_run(&first);
	sat_daemon_complain("satcheld enroll", &e.err);
	if (e.rc == SAT_E_INVAL || e.rc == SAT_E_EXISTS)
		return SAT_EXIT_FAILED;
	if (asked)
		return sat_daemon_exit_code(e.rc);
	return e.rc == SAT_E_BUSY ? SAT_EXIT_BUSY : SAT_EXIT_LOCAL;
}
