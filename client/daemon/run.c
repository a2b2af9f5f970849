/* run: one loop, one replica, one agent, and the local socket by which
 * `satchel` asks how things stand. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "client/daemon/daemon.h"
#include "client/sync/agent.h"
#include "common/log.h"
#include "common/pki.h"
#include "common/progress.h"
#include "common/say.h"
#include "proto/local.h"

struct daemon {
	const struct sat_daemon_run *how;
	uv_loop_t loop;
	uv_signal_t term, intr;
	uv_timer_t upkeep, rehash;
	char replica_path[4096], running_path[4096];
	char host[256];
	uint16_t port;
	struct sat_lock lock;
	struct sat_config *config;
	struct sat_tls_ctx *tls;
	struct sat_replica *replica;
	struct sat_agent *agent;
	struct sat_local *local;
	struct sat_agent_wish wish; /* of --once */
	uint64_t confirmed;         /* before --once began */
	struct sat_progress bar;    /* of the first data */
	bool stopping, wiped, first_data;
	enum sat_agent_state told; /* what the file of a refusal says */
	bool renew; /* the server asks for a renewed certificate */
	bool renewed;
	int exit_code;
};

enum { UPKEEP_MS = 10 * 60 * 1000, UPKEEP_SOON_MS = 2000 };

int sat_daemon_exit_code(int rc)
{
	switch (rc) {
	case SAT_OK:
		return SAT_EXIT_DONE;
	case SAT_E_TIMEOUT:
	case SAT_E_CLOSED:
	case SAT_E_BUSY:
	case SAT_E_PROTO:
		return SAT_EXIT_NO_SERVER;
	case SAT_E_DENIED:
		return SAT_EXIT_REFUSED;
	default:
		return SAT_EXIT_LOCAL;
	}
}

static int read_pem(const char *dir, const char *name, struct sat_buf *ret,
		    struct sat_err *err)
{
	char path[4096];
	int rc = sat_path_join(path, sizeof path, dir, name, err);

	sat_buf_init(ret, SAT_PEM_BYTES_MAX);
	return rc == SAT_OK ? sat_file_read(path, SAT_PEM_BYTES_MAX, ret, err)
			    : rc;
}

int sat_daemon_tls(const char *dir, struct sat_tls_ctx **ret,
		   struct sat_err *err)
{
	struct sat_buf ca = { .max = 1 }, cert = { .max = 1 },
		       key = { .max = 1 };
	int rc = read_pem(dir, "ca.pem", &ca, err);

	if (rc == SAT_OK)
		rc = read_pem(dir, "device.pem", &cert, err);
	if (rc == SAT_OK)
		rc = read_pem(dir, "device.key", &key, err);
	if (rc == SAT_OK)
		rc = sat_tls_client_ctx(sat_buf_peek(&ca), sat_buf_peek(&cert),
					sat_buf_peek(&key), NULL, ret, err);
	if (key.base != NULL)
		sat_secret_wipe(key.base, key.len);
	sat_buf_fini(&ca);
	sat_buf_fini(&cert);
	sat_buf_fini(&key);
	return rc;
}

/* ---- stopping ----------------------------------------------------------- */

static void quiet(void *arg)
{
	(void)arg;
}

static void stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	uv_close((uv_handle_t *)&d->term, NULL);
	uv_close((uv_handle_t *)&d->intr, NULL);
	uv_close((uv_handle_t *)&d->upkeep, NULL);
	uv_close((uv_handle_t *)&d->rehash, NULL);
	sat_local_close(d->local, quiet, NULL);
	sat_agent_stop(d->agent, quiet, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	stop(handle->data);
}

/* ---- --once ------------------------------------------------------------- */

/* A refusal outlives the daemon that met it, so that `satchel status` can say
 * it: beside the replica, whose own file a status must not touch. */
static void keep_refusal(struct daemon *d)
{
	struct sat_agent_status s;
	char path[4096], line[sizeof s.last_error + 1];
	struct sat_err err;
	int rc;

	sat_agent_status(d->agent, &s);
	if (d->wiped || s.state == d->told ||
	    (s.state != SAT_AGENT_REFUSED && s.state != SAT_AGENT_CONNECTED))
		return;
	d->told = s.state;
	rc = sat_path_join(path, sizeof path, d->how->dir, SAT_REFUSED_FILE,
			   &err);
	if (rc == SAT_OK && s.state == SAT_AGENT_CONNECTED) {
		(void)unlink(path);
	} else if (rc == SAT_OK) {
		(void)snprintf(line, sizeof line, "%s\n", s.last_error);
		rc = sat_file_write(path, sat_slice_str(line), 0600, &err);
	}
	if (rc != SAT_OK)
		sat_log(SAT_LOG_WARN, "main", "refusal not kept",
			SAT_KV_ERR(&err));
}

static void say_not_done(const char *why)
{
	struct sat_err err;

	(void)sat_err_set(&err, SAT_E_CLOSED, 0, "run", "not done: %s", why);
	sat_daemon_complain("satcheld", &err);
}

static void renew_in_time(struct daemon *d);

static void on_once_done(struct sat_agent_wish *w, int rc)
{
	struct daemon *d = w->arg;
	struct sat_agent_status agent;
	struct sat_replica_status s = { .confirmed = 0 };
	struct sat_err err;

	/* A quick sync ends before the timer's turn; and the server knows of
	 * the certificate when it was shown. */
	if (rc == SAT_OK && d->renew && !d->renewed) {
		renew_in_time(d);
		d->renewed = true;
		if (!d->renew) {
			sat_agent_sync(d->agent, w, d->how->timeout_ms);
			return;
		}
	}
	if (rc == SAT_OK)
		sat_progress_at(&d->bar, SIZE_MAX);
	sat_progress_end(&d->bar);
	d->first_data = false;
	keep_refusal(d);
	d->bar.shown = -1; /* what changes from here on ends no line */
	sat_agent_status(d->agent, &agent);
	if (sat_replica_status(d->replica, &s, &err) != SAT_OK && rc == SAT_OK)
		rc = err.rc;
	if (rc == SAT_OK && s.digest < 0)
		rc = sat_daemon_differs.rc;
	d->exit_code =
		sat_daemon_say_done(rc, s.confirmed - d->confirmed, s.rejected);
	if (rc == SAT_E_CORRUPT && s.digest < 0)
		sat_daemon_complain("satcheld", &sat_daemon_differs);
	else if (rc != SAT_OK)
		say_not_done(agent.last_error[0] != '\0' ? agent.last_error
							 : sat_rc_name(rc));
	stop(d);
}

/* The first data can take a while: say how much has come. */
static void on_change(void *arg)
{
	struct daemon *d = arg;
	struct sat_agent_status agent;
	struct sat_replica_status s;
	struct sat_err err;

	if (d->wiped && !d->how->once)
		stop(d);
	keep_refusal(d);
	if (d->wiped || !d->first_data)
		return;
	sat_agent_status(d->agent, &agent);
	if (agent.rows_due == 0 ||
	    sat_replica_status(d->replica, &s, &err) != SAT_OK)
		return;
	if (d->bar.total == 0)
		sat_progress_begin(&d->bar, d->host, (size_t)agent.rows_due);
	sat_progress_at(&d->bar, (size_t)s.rows);
}

/* ---- the local socket --------------------------------------------------- */

struct asked {
	struct sat_agent_wish wish;
	struct sat_local_call *call;
	struct daemon *d;
	uint64_t confirmed; /* before */
};

static void on_asked_done(struct sat_agent_wish *w, int rc)
{
	struct asked *q = w->arg;
	struct sat_replica_status s = { .confirmed = 0 };
	struct sat_err err;

	if (rc == SAT_OK)
		rc = sat_replica_status(q->d->replica, &s, &err);
	if (rc == SAT_OK && s.digest < 0)
		rc = sat_daemon_differs.rc;
	sat_local_answer(q->call,
			 json_pack("{s:i, s:I, s:I}", "rc", rc, "confirmed",
				   (json_int_t)(s.confirmed - q->confirmed),
				   "rejected", (json_int_t)s.rejected));
	free(q);
}

static json_t *status_json(struct daemon *d)
{
	static const char *const names[] = { "waiting", "connecting",
					     "connected", "refused",
					     "stopped" };
	struct sat_agent_status s;

	sat_agent_status(d->agent, &s);
	return json_pack("{s:i, s:s, s:I, s:I, s:s, s:b, s:b, s:i}", "rc", 0,
			 "connection", names[s.state], "attempts",
			 (json_int_t)s.attempts, "next_ms",
			 (json_int_t)s.next_ms, "last_error", s.last_error,
			 "digest_ok", s.digest_ok, "local_failure",
			 s.local_failure, "pid", (int)getpid());
}

static void on_call(void *arg, struct sat_local_call *call, json_t *request)
{
	struct daemon *d = arg;
	const char *ask = json_string_value(json_object_get(request, "ask"));
	json_int_t timeout_ms =
		json_integer_value(json_object_get(request, "timeout_ms"));
	struct sat_replica_status s;
	struct sat_err err;
	struct asked *q;

	if (ask != NULL && strcmp(ask, "status") == 0) {
		sat_local_answer(call, status_json(d));
	} else if (ask != NULL && strcmp(ask, "sync") == 0 && !d->stopping &&
		   sat_replica_status(d->replica, &s, &err) == SAT_OK &&
		   (q = calloc(1, sizeof *q)) != NULL) {
		*q = (struct asked){ .call = call,
				     .d = d,
				     .confirmed = s.confirmed };
		q->wish.done = on_asked_done;
		q->wish.arg = q;
		sat_agent_sync(d->agent, &q->wish,
			       timeout_ms > 0 ? (uint64_t)timeout_ms : 30000);
	} else {
		sat_local_answer(call, NULL);
	}
	json_decref(request);
}

/* ---- keys ---------------------------------------------------------------- */

/* The keys in the folder are other ones now. */
static int reload_keys(struct daemon *d, struct sat_err *err)
{
	struct sat_tls_ctx *next;
	int rc = sat_daemon_tls(d->how->dir, &next, err);

	if (rc != SAT_OK)
		return rc;
	sat_tls_ctx_free(d->tls);
	d->tls = next;
	if (d->agent != NULL)
		sat_agent_retls(d->agent, next);
	return SAT_OK;
}

static int on_forked(void *arg, struct sat_tls_ctx **ret, struct sat_err *err)
{
	struct daemon *d = arg;
	int rc = sat_daemon_renew(d->how->dir, d->replica, d->host, d->port,
				  true, err);

	if (rc == SAT_OK)
		rc = reload_keys(d, err);
	*ret = d->tls;
	return rc;
}

/* Overwritten, then gone. What a file system or a disk keeps of old blocks is
 * out of reach. */
static bool wipe_file(const char *dir, const char *name)
{
	static const uint8_t zeros[65536];
	char path[4096];
	struct sat_err err;
	long left = 0;
	FILE *f;

	if (sat_path_join(path, sizeof path, dir, name, &err) != SAT_OK ||
	    !sat_file_exists(path))
		return true;
	f = fopen(path, "r+b");
	if (f == NULL)
		return unlink(path) == 0;
	if (fseek(f, 0, SEEK_END) == 0)
		left = ftell(f);
	rewind(f);
	while (left > 0) {
		size_t n =
			left < (long)sizeof zeros ? (size_t)left : sizeof zeros;

		if (fwrite(zeros, 1, n, f) != n)
			break;
		left -= (long)n;
	}
	(void)fflush(f);
	(void)fsync(fileno(f));
	(void)fclose(f);
	return unlink(path) == 0;
}

/* The key first: what is left after a cut opens no door. */
static bool on_wipe(void *arg)
{
	static const char *const names[] = {
		"device.key",     "device.key.new", "replica.db-wal",
		"replica.db",     "replica.db-shm", "device.pem",
		"device.pem.new", "running",        SAT_REFUSED_FILE,
	};
	struct daemon *d = arg;
	bool gone = true;

	for (size_t i = 0; i < SAT_COUNT_OF(names); i++)
		gone = wipe_file(d->how->dir, names[i]) && gone;
	(void)fputs(gone ? sat_say("satcheld: this device was wiped, as its "
				   "organisation ordered\n")
			 : sat_say("satcheld: this device could not be wiped "
				   "wholly\n"),
		    stderr);
	d->exit_code = SAT_EXIT_REFUSED;
	d->wiped = true;
	return gone;
}

/* A certificate that cannot be renewed now is tried again; one that has ended
 * is told by the server. */
static void renew_in_time(struct daemon *d)
{
	struct sat_replica_status s;
	struct sat_err err;
	bool due = d->renew;
	int rc = SAT_OK;

	if (!due)
		rc = sat_replica_status(d->replica, &s, &err);
	if (rc == SAT_OK && !due)
		rc = sat_daemon_renewal_due(d->how->dir,
					    sat_daemon_wall_ms() + s.offset_ms,
					    &due, &err);
	if (rc == SAT_OK && due)
		rc = sat_daemon_renew(d->how->dir, d->replica, d->host, d->port,
				      false, &err);
	if (rc == SAT_OK && due)
		rc = reload_keys(d, &err);
	if (rc == SAT_OK && d->renew) {
		d->renew = false;
		d->renewed = true;
		sat_agent_rejoin(d->agent, d->tls);
	}
	if (rc != SAT_OK)
		sat_log(SAT_LOG_WARN, "main", "certificate not renewed",
			SAT_KV_ERR(&err));
}

/* ---- upkeep ------------------------------------------------------------- */

static void on_upkeep(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	struct sat_err err;
	int pages = (int)sat_config_int(d->config, SAT_CFG_CHECKPOINT_PAGES);
	int days = (int)sat_config_int(d->config, SAT_CFG_ACKED_DAYS);

	if (sat_replica_upkeep(d->replica, pages, days, sat_daemon_wall_ms(),
			       &err) != SAT_OK)
		sat_log(SAT_LOG_WARN, "replica", "upkeep", SAT_KV_ERR(&err));
	renew_in_time(d);
}

/* Not from inside the session that asks: the next turn of the loop. */
static void on_renew(void *arg)
{
	struct daemon *d = arg;

	d->renew = true;
	if (!d->stopping)
		(void)uv_timer_start(&d->upkeep, on_upkeep, 0, UPKEEP_MS);
}

static void on_rehash(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	sat_agent_rehash(d->agent);
}

/* ---- starting ----------------------------------------------------------- */

static int open_folder(struct daemon *d, struct sat_err *err)
{
	const char *dir = d->how->dir;
	struct sat_replica_status s;
	bool rescued = false;
	char path[4096];
	int rc;

	rc = sat_path_join(path, sizeof path, dir, "satcheld.conf", err);
	if (rc == SAT_OK)
		rc = sat_config_load(SAT_PART_CLIENT, path, &d->config, err);
	if (rc == SAT_OK)
		rc = sat_path_join(d->running_path, sizeof d->running_path, dir,
				   "running", err);
	if (rc == SAT_OK && sat_file_exists(d->running_path)) {
		rc = sat_replica_check(d->replica_path, &rescued, err);
		if (rc == SAT_OK && rescued)
			(void)fputs(sat_say("satcheld: the replica was "
					    "damaged; what was not yet sent "
					    "is saved, the rest is fetched "
					    "again\n"),
				    stderr);
	}
	/* Empty: there is room for that on a full disk as well. */
	if (rc == SAT_OK && !sat_file_exists(d->running_path))
		rc = sat_file_write(d->running_path, sat_slice_str(""), 0600,
				    err);
	if (rc == SAT_OK)
		rc = sat_replica_open(d->replica_path, &d->replica, err);
	if (rc == SAT_OK)
		rc = sat_replica_still(d->replica, err);
	if (rc == SAT_OK)
		rc = sat_replica_status(d->replica, &s, err);
	if (rc == SAT_OK)
		rc = sat_daemon_finish_renewal(dir, s.replica, err);
	if (rc == SAT_OK)
		rc = sat_daemon_tls(dir, &d->tls, err);
	return rc;
}

/* What was written while no daemon ran becomes one changeset: triggers
 * cannot see where one transaction ended and the next began. */
static int gather_backlog(struct daemon *d, struct sat_err *err)
{
	struct sat_replica_status s;
	uint64_t seq;
	int rc = sat_replica_status(d->replica, &s, err);

	d->confirmed = rc == SAT_OK ? s.confirmed : 0;
	if (rc == SAT_OK)
		rc = sat_replica_harvest(d->replica, sat_daemon_wall_ms(), true,
					 10000, &seq, err);
	if (rc != SAT_OK)
		return rc;
	if (!sat_hostport_parse(sat_slice_str(s.server), 7443, d->host,
				&d->port))
		return sat_err_set(err, SAT_E_CORRUPT, 0, "run",
				   "the replica names no server");
	renew_in_time(d);
	d->first_data = d->how->once && s.filling;
	return SAT_OK;
}

static int start(struct daemon *d, struct sat_err *err)
{
	struct sat_agent_options a = { .loop = &d->loop,
				       .replica = d->replica,
				       .replica_path = d->replica_path,
				       .config = d->config,
				       .tls = d->tls,
				       .host = d->host,
				       .port = d->port,
				       .on_change = on_change,
				       .on_forked = on_forked,
				       .on_renew = on_renew,
				       .on_wipe = on_wipe,
				       .arg = d };
	struct sat_local_options l = { .loop = &d->loop,
				       .dir = d->how->dir,
				       .name = "sock",
				       .greeting = "satcheld " SAT_VERSION,
				       .on_call = on_call,
				       .arg = d };
	uint64_t rehash_ms =
		(uint64_t)sat_config_int(d->config, SAT_CFG_REHASH_SECONDS) *
		1000;
	int rc = sat_agent_start(&a, &d->agent, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_local_open(&l, &d->local, err);
	if (rc != SAT_OK) {
		sat_agent_stop(d->agent, quiet, NULL);
		return rc;
	}
	(void)uv_signal_init(&d->loop, &d->term);
	(void)uv_signal_init(&d->loop, &d->intr);
	(void)uv_timer_init(&d->loop, &d->upkeep);
	(void)uv_timer_init(&d->loop, &d->rehash);
	d->term.data = d->intr.data = d->upkeep.data = d->rehash.data = d;
	(void)uv_signal_start(&d->term, on_signal, SIGTERM);
	(void)uv_signal_start(&d->intr, on_signal, SIGINT);
	(void)uv_timer_start(&d->upkeep, on_upkeep, UPKEEP_SOON_MS, UPKEEP_MS);
	(void)uv_timer_start(&d->rehash, on_rehash, rehash_ms, rehash_ms);
	if (d->how->once) {
		d->wish.done = on_once_done;
		d->wish.patient = d->how->patient;
		d->wish.arg = d;
		sat_agent_sync(d->agent, &d->wish, d->how->timeout_ms);
	}
	return SAT_OK;
}

enum { SOCKET_NAP_MS = 50 };

static int find_folder(struct daemon *d, struct sat_err *err)
{
	char path[4096];
	int rc;

	rc = sat_path_join(d->replica_path, sizeof d->replica_path, d->how->dir,
			   "replica.db", err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, d->how->dir, "device.pem",
				   err);
	if (rc == SAT_OK && !sat_file_exists(path) &&
	    sat_file_exists(d->replica_path))
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "run",
				 "%.100s/device.pem is missing, without it no "
				 "server knows this device; its replica.db is "
				 "still there",
				 d->how->dir);
	if (rc == SAT_OK &&
	    !(sat_file_exists(path) && sat_file_exists(d->replica_path)))
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "run",
				 "%s is not an enrolled device; `satcheld "
				 "enroll --dir DIR INVITE` makes one",
				 d->how->dir);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, d->how->dir, "lock", err);
	if (rc == SAT_OK)
		rc = sat_lock_take(path, &d->lock, err);
	return rc;
}

/* Take the folder; when another process has it, --once asks that one. A
 * daemon that has just started holds the lock before it listens: first it
 * gathers what was written while none ran, which can take its time. And one
 * that ends meanwhile leaves the work to us. */
static int find_folder_or_ask(struct daemon *d, bool *ret_asked,
			      struct sat_err *err)
{
	const struct timespec nap = { .tv_nsec = SOCKET_NAP_MS * 1000000L };
	uint64_t left_ms = d->how->timeout_ms;
	char who[SAT_LOCK_WHO_CHARS];
	int rc;

	for (;; left_ms -= SOCKET_NAP_MS) {
		*ret_asked = false;
		rc = find_folder(d, err);
		if (rc != SAT_E_BUSY)
			return rc;
		if (!d->how->once)
			return sat_err_set(err, SAT_E_BUSY, 0, "run",
					   "%s syncs %s already",
					   sat_lock_who(&d->lock, who),
					   d->how->dir);
		*ret_asked = true;
		rc = sat_daemon_ask(d->how, left_ms, err);
		if (rc != SAT_E_NOTFOUND && rc != SAT_E_BUSY)
			return rc;
		if (rc == SAT_E_BUSY || left_ms <= SOCKET_NAP_MS)
			return sat_err_set(err, SAT_E_BUSY, 0, "run",
					   "%s holds %s/lock but does not "
					   "answer",
					   sat_lock_who(&d->lock, who),
					   d->how->dir);
		(void)nanosleep(&nap, NULL);
	}
}

static int serve(struct daemon *d, struct sat_err *err)
{
	int rc = open_folder(d, err);

	if (rc == SAT_OK)
		rc = gather_backlog(d, err);
	if (rc != SAT_OK)
		return rc;
	sat_log_set_level(d->how->once ? SAT_LOG_ERROR
				       : (enum sat_log_level)sat_config_int(
						 d->config, SAT_CFG_LOG_LEVEL));
	(void)uv_loop_init(&d->loop);
	rc = start(d, err);
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&d->loop) != 0)
		sat_log(SAT_LOG_WARN, "main", "the loop had handles left");
	return rc;
}

int sat_daemon_run(const struct sat_daemon_run *how)
{
	struct daemon d = { .how = how, .bar.shown = -1, .lock.fd = -1 };
	bool asked;
	struct sat_err err;
	int rc;

	rc = find_folder_or_ask(&d, &asked, &err);
	if (rc == SAT_OK && !asked)
		rc = serve(&d, &err);
	else
		d.exit_code = sat_daemon_exit_code(rc);
	if (rc == SAT_E_BUSY) /* another process, or an app that writes on */
		d.exit_code = SAT_EXIT_BUSY;
	if (rc != SAT_OK) {
		sat_daemon_complain("satcheld", &err);
		if (d.exit_code == SAT_EXIT_DONE)
			d.exit_code = SAT_EXIT_LOCAL;
	}
	if (d.replica != NULL) {
		sat_replica_close(d.replica);
		(void)unlink(d.running_path); /* a clean stop */
	}
	sat_tls_ctx_free(d.tls);
	sat_config_free(d.config);
	sat_lock_drop(&d.lock);
	sat_log_flush();
	return d.exit_code;
}
