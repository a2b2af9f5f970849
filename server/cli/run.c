/* run: the server in the foreground. Arguments, files, loop, signals, and an
 * orderly stop: listeners first, then connections, then threads. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/config.h"
#include "common/file.h"
#include "common/log.h"
#include "common/pki.h"
#include "common/say.h"
#include "server/admin/past.h"
#include "server/admin/socket.h"
#include "server/cli/ca_files.h"
#include "server/cli/cli.h"
#include "server/sync/server.h"

struct app {
	uv_loop_t loop;
	uv_signal_t term, intr, hup;
	const char *dir, *listen; /* --listen, NULL when not given */
	char db_path[4096];
	char host[256];
	uint16_t port;
	struct sat_lock lock;
	struct sat_journal journal;
	struct sat_past_head past;
	struct sat_config *config;
	struct sat_tls_ctx *tls;
	struct sat_ca_files ca;
	struct sat_buf cert, key, org;
	struct sat_server *server;
	struct sat_admin_socket *socket;
	unsigned stops; /* how often we were asked to stop */
};

static void quiet(void *arg)
{
	(void)arg;
}

static void on_server_stopped(void *arg)
{
	struct app *app = arg;

	app->server = NULL;
	sat_log(SAT_LOG_INFO, "main", "stopped");
}

static void stop(void *arg)
{
	struct app *app = arg;

	app->stops++;
	if (app->stops == 1) {
		sat_log(SAT_LOG_INFO, "main", "stopping");
		sat_admin_socket_close(app->socket, quiet, NULL);
		sat_server_stop(app->server, on_server_stopped, app);
		uv_close((uv_handle_t *)&app->hup, NULL);
		/* A second signal means now; the handles must not keep the
		 * loop alive meanwhile. */
		uv_unref((uv_handle_t *)&app->term);
		uv_unref((uv_handle_t *)&app->intr);
	} else if (app->stops == 2 && app->server != NULL) {
		sat_server_hurry(app->server);
	}
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
	(void)number;
	stop(handle->data);
}

static int load_tls(struct app *app, struct sat_tls_ctx **ret,
		    struct sat_err *err)
{
	return sat_tls_server_ctx(sat_buf_peek(&app->ca.told),
				  sat_buf_peek(&app->cert),
				  sat_buf_peek(&app->key), ret, err);
}

static int read_into(struct app *app, const char *name, struct sat_buf *ret,
		     struct sat_err *err)
{
	char path[4096];
	int rc = sat_path_join(path, sizeof path, app->dir, name, err);

	sat_buf_clear(ret);
	return rc == SAT_OK ? sat_file_read(path, SAT_PEM_BYTES_MAX, ret, err)
			    : rc;
}

static int read_keys(struct app *app, struct sat_err *err)
{
	int rc = sat_ca_files_settle(app->dir, err);

	if (rc == SAT_OK)
		rc = sat_ca_files_read(app->dir, &app->ca, err);
	if (rc == SAT_OK)
		rc = read_into(app, "server.pem", &app->cert, err);
	if (rc == SAT_OK)
		rc = read_into(app, "server.key", &app->key, err);
	return rc;
}

static struct sat_server_ca the_ca(const struct app *app)
{
	return (struct sat_server_ca){
		.sign = { sat_buf_peek(&app->ca.cert),
			  sat_buf_peek(&app->ca.key) },
		.told = sat_buf_peek(&app->ca.told),
		.no = app->ca.no,
		.rolling = app->ca.rolling,
	};
}

/* The file, and what the command line says above it. */
static int read_config(const struct app *app, struct sat_config **ret,
		       struct sat_err *err)
{
	char path[4096];
	int rc;

	rc = sat_path_join(path, sizeof path, app->dir, "server.conf", err);
	if (rc == SAT_OK)
		rc = sat_config_load(SAT_PART_SERVER, path, ret, err);
	if (rc == SAT_OK && app->listen != NULL)
		rc = sat_config_set(*ret, "listen", app->listen, err);
	return rc;
}

/* Complete new settings and certificates, or the old ones stay. */
static int reload(void *arg, struct sat_err *err)
{
	struct app *app = arg;
	struct sat_config *next = NULL;
	struct sat_tls_ctx *tls = NULL;
	struct sat_server_ca ca;
	const char *stuck;
	int rc = read_config(app, &next, err);

	if (rc == SAT_OK)
		rc = read_keys(app, err);
	if (rc == SAT_OK)
		rc = load_tls(app, &tls, err);
	ca = the_ca(app);
	if (rc == SAT_OK)
		rc = sat_server_reload(app->server, next, tls, &ca, err);
	if (rc != SAT_OK) {
		sat_log(SAT_LOG_ERROR, "main", "the old settings stay",
			SAT_KV_ERR(err));
		sat_tls_ctx_free(tls);
		sat_config_free(next);
		return rc;
	}
	stuck = sat_config_needs_restart(app->config, next);
	sat_log_set_level(
		(enum sat_log_level)sat_config_int(next, SAT_CFG_LOG_LEVEL));
	sat_admin_socket_reload(app->socket, next);
	sat_tls_ctx_free(app->tls);
	sat_config_free(app->config);
	app->config = next;
	app->tls = tls;
	sat_log(SAT_LOG_INFO, "main", "settings reloaded",
		SAT_KV_STR("needs_restart", stuck == NULL ? "" : stuck));
	return SAT_OK;
}

static void on_hup(uv_signal_t *handle, int number)
{
	struct sat_err err;

	(void)number;
	(void)reload(handle->data, &err);
}

/* COMMITTER THREAD, which alone uses the journal. */
static int note(void *arg, const char *line, struct sat_err *err)
{
	struct app *app = arg;

	return sat_journal_append(&app->journal, sat_slice_str(line), err);
}

/* COMMITTER THREAD: a replica id is in the journal before it is given out,
 * so that a restored database cannot give it out again. */
static int on_replica(void *arg, uint32_t replica, struct sat_err *err)
{
	char line[64];

	(void)snprintf(line, sizeof line, "replica %lu",
		       (unsigned long)replica);
	return note(arg, line, err);
}

/* COMMITTER THREAD. What cannot be kept now is kept after the next group. */
static void on_head(void *arg, uint64_t epoch, uint64_t head)
{
	struct app *app = arg;
	struct timespec t;
	struct sat_err err;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	if (sat_past_head_note(&app->past, epoch, head,
			       (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000,
			       &err) != SAT_OK)
		sat_log(SAT_LOG_WARN, "main", "the head is not in the journal",
			SAT_KV_ERR(&err));
}

/* The journal, and what it knows that the database does not. */
static int open_past(struct app *app, struct sat_err *err)
{
	struct sat_past_result found;
	int rc = sat_past_start(app->dir, app->db_path, false, &app->journal,
				&found, err);

	if (rc == SAT_OK && found.restored)
		sat_log(SAT_LOG_WARN, "main",
			"the database is older than its journal: another "
			"history begins, devices bring back what they have",
			SAT_KV_UINT("head", found.head),
			SAT_KV_UINT("was", found.past));
	return rc == SAT_OK ? sat_past_head_open(&app->past, app->dir, err)
			    : rc;
}

static int open_files(struct app *app, struct sat_err *err)
{
	char path[4096], who[SAT_LOCK_WHO_CHARS];
	int rc;

	rc = sat_path_join(app->db_path, sizeof app->db_path, app->dir,
			   "satchel.db", err);
	if (rc == SAT_OK && !sat_file_exists(app->db_path))
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "run",
				 "%s is not a server's folder; `satchel-server "
				 "init --dir DIR --org NAME` makes one",
				 app->dir);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, app->dir, "lock", err);
	if (rc == SAT_OK) {
		rc = sat_lock_take(path, &app->lock, err);
		if (rc == SAT_E_BUSY)
			(void)sat_err_set(
				err, rc, 0, "run", "%s uses %s already",
				sat_lock_who(&app->lock, who), app->dir);
	}
	if (rc == SAT_OK)
		rc = read_config(app, &app->config, err);
	if (rc == SAT_OK)
		rc = read_keys(app, err);
	if (rc == SAT_OK)
		rc = load_tls(app, &app->tls, err);
	if (rc == SAT_OK)
		rc = open_past(app, err);
	return rc;
}

static int read_org(struct app *app, struct sat_err *err)
{
	struct sat_store *store;
	int rc = sat_store_open_sqlite(app->db_path, false, false, &store, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_store_setting_get(store, "org", &app->org, err);
	sat_store_close(store);
	return rc == SAT_OK ? sat_buf_append(&app->org, "", 1) : rc;
}

static int start(struct app *app, struct sat_err *err)
{
	struct sat_server_options o = {
		.loop = &app->loop,
		.config = app->config,
		.db_path = app->db_path,
		.tls = app->tls,
		.ca = the_ca(app),
		.addr = app->host,
		.on_replica = on_replica,
		.on_note = note,
		.on_head = on_head,
		.arg = app,
	};
	struct sat_admin_socket_options a = { .loop = &app->loop,
					      .config = app->config,
					      .dir = app->dir,
					      .on_stop = stop,
					      .on_reload = reload,
					      .note = note,
					      .arg = app };
	const char *listen = sat_config_text(app->config, SAT_CFG_LISTEN);
	int rc = read_org(app, err);

	if (rc != SAT_OK)
		return rc;
	if (!sat_hostport_parse(sat_slice_str(listen), 0, app->host,
				&app->port))
		return sat_err_set(err, SAT_E_INVAL, 0, "run",
				   "--listen is ADDR:PORT, not \"%s\"", listen);
	o.org = (const char *)app->org.base;
	o.port = app->port;
	rc = sat_server_start(&o, &app->server, err);
	if (rc != SAT_OK)
		return rc;
	app->port = sat_server_port(app->server);
	a.server = app->server;
	rc = sat_admin_socket_open(&a, &app->socket, err);
	if (rc != SAT_OK)
		sat_server_stop(app->server, on_server_stopped, app);
	return rc;
}

static void watch_signals(struct app *app)
{
	uv_signal_t *handles[] = { &app->term, &app->intr, &app->hup };
	int numbers[] = { SIGTERM, SIGINT, SIGHUP };

	for (size_t i = 0; i < SAT_COUNT_OF(handles); i++) {
		(void)uv_signal_init(&app->loop, handles[i]);
		handles[i]->data = app;
		(void)uv_signal_start(handles[i],
				      i == 2 ? on_hup : on_stop_signal,
				      numbers[i]);
	}
}

static void clean_up(struct app *app)
{
	struct sat_buf *bufs[] = { &app->cert, &app->key, &app->org };
	struct sat_err err;

	sat_ca_files_fini(&app->ca);
	sat_secret_wipe(app->key.base, app->key.len);
	for (size_t i = 0; i < SAT_COUNT_OF(bufs); i++)
		sat_buf_fini(bufs[i]);
	sat_tls_ctx_free(app->tls);
	sat_config_free(app->config);
	if (sat_past_head_flush(&app->past, &err) != SAT_OK)
		sat_log(SAT_LOG_WARN, "main", "the head is not in the journal",
			SAT_KV_ERR(&err));
	sat_journal_close(&app->journal);
	sat_lock_drop(&app->lock);
	sat_log_flush();
}

int sat_cli_run(struct sat_call *call)
{
	struct app app = { .dir = call->dir,
			   .listen = json_string_value(
				   json_object_get(call->args, "listen")) };
	struct sat_buf *bufs[] = { &app.cert, &app.key, &app.org };
	struct sat_err err;
	int rc;

	app.lock.fd = app.journal.fd = -1;
	sat_ca_files_init(&app.ca);
	for (size_t i = 0; i < SAT_COUNT_OF(bufs); i++)
		sat_buf_init(bufs[i], SAT_PEM_BYTES_MAX);
	rc = open_files(&app, &err);
	if (rc == SAT_OK) {
		sat_log_set_level((enum sat_log_level)sat_config_int(
			app.config, SAT_CFG_LOG_LEVEL));
		(void)uv_loop_init(&app.loop);
		rc = start(&app, &err);
		if (rc == SAT_OK) {
			watch_signals(&app);
			(void)printf(sat_say("listening on %s:%u\n"), app.host,
				     (unsigned)app.port);
			(void)fflush(stdout);
		}
		(void)uv_run(&app.loop, UV_RUN_DEFAULT);
		if (rc == SAT_OK) {
			uv_close((uv_handle_t *)&app.term, NULL);
			uv_close((uv_handle_t *)&app.intr, NULL);
			(void)uv_run(&app.loop, UV_RUN_DEFAULT);
		}
		if (uv_loop_close(&app.loop) != 0)
			sat_log(SAT_LOG_WARN, "main",
				"the loop had handles left");
	}
	clean_up(&app);
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("run", &err);
	}
	return SAT_EXIT_OK;
}
