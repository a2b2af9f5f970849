#include "server/sync/server.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/sync/run.h"

/* Start, administration's jobs, the sweep, and the order of stopping:
 * listener, connections, threads, handles, memory. */

uint64_t sat_server_now(const struct sat_server *s)
{
	return uv_now(s->loop);
}

int64_t sat_server_wall(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_async(uv_async_t *async)
{
	struct sat_server *s = async->data;

	if (!s->finished)
		sat_workers_reap(&s->workers);
}

static void on_refused(void *arg, const char *peer_name, int rc,
		       const char *detail)
{
	struct sat_server *s = arg;

	s->m.links_refused++;
	sat_log(SAT_LOG_INFO, "conn", "refused", SAT_KV_STR("peer", peer_name),
		SAT_KV_STR("rc", sat_rc_name(rc)), SAT_KV_STR("why", detail));
}

/* ---- the sweep: deadlines of all connections ---------------------------- */

static void tick(struct sat_conn *c)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_TICK };

	c->tick_ms = 0;
	if (!c->enrol) {
		sat_conn_event(c, &ev);
		return;
	}
	c->server->m.timeouts++;
	if (c->link != NULL)
		sat_link_close(c->link, SAT_E_TIMEOUT, "no ENROL came");
}

static void cut_all(struct sat_server *s)
{
	for (struct sat_conn *c = s->conns; c != NULL; c = c->next)
		if (c->link != NULL)
			sat_link_close(c->link, SAT_E_CLOSED, "server stops");
}

static void on_sweep(uv_timer_t *timer)
{
	struct sat_server *s = timer->data;
	uint64_t now = sat_server_now(s);
	struct sat_conn *c, *next;

	for (c = s->conns; c != NULL; c = next) {
		next = c->next;
		if (c->tick_ms != 0 && c->tick_ms <= now)
			tick(c);
	}
	if (s->rights_stale && !s->rights_checking)
		sat_conn_check_rights(s);
	if (!s->stopping) {
		sat_conn_tick_rights(s);
		sat_server_collect(s);
		sat_server_damage_check(s);
	}
	if (s->stopping && now - s->stop_ms >= SAT_RUN_DRAIN_MS)
		cut_all(s);
	sat_server_settle(s);
}

/* ---- stopping ----------------------------------------------------------- */

static void free_server(struct sat_server *s)
{
	void (*done)(void *) = s->on_stopped;
	void *arg = s->on_stopped_arg;

	sat_hub_fini(&s->hub);
	sat_server_damage_fini(s);
	sat_zip_free(s->zip);
	sat_arena_fini(&s->arena);
	sat_buf_fini(&s->plain);
	sat_buf_fini(&s->out);
	sat_secret_wipe(s->ca_key.base, s->ca_key.cap);
	sat_buf_fini(&s->ca_cert);
	sat_buf_fini(&s->ca_key);
	sat_buf_fini(&s->ca_told);
	uv_mutex_destroy(&s->ca_lock);
	free(s->db_path);
	free(s->org);
	free(s);
	if (done != NULL)
		done(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct sat_server *s = handle->data;

	if (--s->handles == 0)
		free_server(s);
}

static void close_handles(struct sat_server *s)
{
	s->finished = true;
	uv_close((uv_handle_t *)&s->sweep, on_handle_closed);
	uv_close((uv_handle_t *)&s->async, on_handle_closed);
}

void sat_server_settle(struct sat_server *s)
{
	if (!s->stopping || s->finished || s->conn_count > 0 ||
	    s->admin_jobs > 0 || s->rights_checking || s->rights_ticking ||
	    s->collecting || s->damage.checking)
		return;
	s->finished = true; /* what is reaped below comes here again */
	sat_workers_stop(&s->workers);
	close_handles(s);
}

void sat_server_stop(struct sat_server *s, void (*done)(void *arg), void *arg)
{
	struct sat_conn *c, *next;

	if (s->stopping)
		return;
	s->stopping = true;
	s->stop_ms = sat_server_now(s);
	s->on_stopped = done;
	s->on_stopped_arg = arg;
	sat_listener_close(s->listener);
	s->listener = NULL;
	for (c = s->conns; c != NULL; c = next) {
		struct sat_ssession_event ev = { .kind = SAT_SEV_DRAIN };

		next = c->next;
		if (!c->enrol)
			sat_conn_event(c, &ev);
		else if (!c->enrolling && c->link != NULL)
			sat_link_close(c->link, SAT_E_CLOSED, "server stops");
	}
	/* With nobody connected it ends here, but never before the call
	 * returns: the next turn of the loop finds it. */
	if (s->conn_count == 0)
		(void)uv_timer_start(&s->sweep, on_sweep, 0, SAT_RUN_SWEEP_MS);
}

void sat_server_hurry(struct sat_server *s)
{
	if (s->stopping)
		cut_all(s);
}

/* ---- jobs of administration --------------------------------------------- */

struct admin_job {
	struct sat_job job;
	struct sat_server *server;
	sat_server_job_cb work;
	sat_server_query_cb query;
	sat_server_done_cb done;
	void *arg;
};

static int run_admin(struct sat_job *j, struct sat_bench *b,
		     struct sat_err *err)
{
	struct admin_job *x = SAT_CONTAINER_OF(j, struct admin_job, job);

	return x->work != NULL ? x->work(b->engine, x->arg, err)
			       : x->query(b->store, x->arg, err);
}

static void done_admin(struct sat_job *j)
{
	struct admin_job *x = SAT_CONTAINER_OF(j, struct admin_job, job);
	struct sat_server *s = x->server;

	x->done(x->arg, j->rc, &j->err);
	free(x);
	s->admin_jobs--;
	sat_server_settle(s);
}

static int new_admin(struct sat_server *s, sat_server_done_cb done, void *arg,
		     struct admin_job **ret)
{
	struct admin_job *x;

	if (s->stopping)
		return SAT_E_CLOSED;
	if (s->admin_jobs >= SAT_RUN_ADMIN_MAX)
		return SAT_E_BUSY;
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return SAT_E_NOMEM;
	x->server = s;
	x->job.run = run_admin;
	x->job.done = done_admin;
	x->job.alone = true;
	x->done = done;
	x->arg = arg;
	s->admin_jobs++;
	*ret = x;
	return SAT_OK;
}

int sat_server_submit(struct sat_server *s, sat_server_job_cb fn,
		      sat_server_done_cb done, void *arg)
{
	struct admin_job *x;
	int rc = new_admin(s, done, arg, &x);

	if (rc != SAT_OK)
		return rc;
	x->work = fn;
	sat_workers_commit(&s->workers, &x->job);
	return SAT_OK;
}

int sat_server_query(struct sat_server *s, sat_server_query_cb fn,
		     sat_server_done_cb done, void *arg)
{
	struct admin_job *x;
	int rc = new_admin(s, done, arg, &x);

	if (rc != SAT_OK)
		return rc;
	x->query = fn;
	sat_workers_read(&s->workers, &x->job);
	return SAT_OK;
}

/* ---- start -------------------------------------------------------------- */

static int copy_options(struct sat_server *s,
			const struct sat_server_options *o, struct sat_err *err)
{
	s->loop = o->loop;
	s->config = o->config;
	s->tls = o->tls;
	s->on_replica = o->on_replica;
	s->on_replica_arg = o->arg;
	s->on_note = o->on_note;
	s->on_head = o->on_head;
	s->room_last = &s->room_first;
	sat_arena_init(&s->arena, SAT_RUN_ARENA_MAX);
	sat_buf_init(&s->plain, SAT_UNZIP_BYTES_MAX);
	sat_buf_init(&s->out, SAT_RUN_OUT_MAX);
	sat_buf_init(&s->ca_cert, SAT_PEM_BYTES_MAX);
	sat_buf_init(&s->ca_key, SAT_PEM_BYTES_MAX);
	sat_buf_init(&s->ca_told, SAT_PEM_BYTES_MAX);
	s->zip = sat_zip_new();
	s->db_path = strdup(o->db_path);
	s->org = strdup(o->org);
	if (s->zip == NULL || s->db_path == NULL || s->org == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "server",
				   "out of memory");
	return sat_server_ca_put(s, &o->ca, err);
}

static int listen_on(struct sat_server *s, const struct sat_server_options *o,
		     struct sat_err *err)
{
	struct sat_listener_options lo = {
		.addr = o->addr,
		.port = o->port,
		.links_max =
			(uint32_t)sat_config_int(o->config, SAT_CFG_LINKS_MAX),
		.handshakes_max = (uint32_t)sat_config_int(
			o->config, SAT_CFG_HANDSHAKES_MAX),
		.handler = &sat_conn_handler,
		.arg = s,
		.on_refused = on_refused,
	};

	return sat_listener_open(s->loop, o->tls, &lo, &s->listener, err);
}

/* The loop knows both handles from here on. */
static int open_handles(struct sat_server *s, struct sat_err *err)
{
	int rc = uv_async_init(s->loop, &s->async, on_async);

	if (rc != 0)
		return sat_err_set(err, SAT_E_IO, rc, "server", "%s",
				   uv_strerror(rc));
	(void)uv_timer_init(s->loop, &s->sweep);
	s->async.data = s->sweep.data = s;
	s->handles = 2;
	return SAT_OK;
}

int sat_server_start(const struct sat_server_options *o,
		     struct sat_server **ret, struct sat_err *err)
{
	struct sat_server *s = calloc(1, sizeof *s);
	const struct sat_config *cfg = o->config;
	struct sat_keep keep;
	int rc;

	if (s == NULL || uv_mutex_init(&s->ca_lock) != 0) {
		free(s);
		return sat_err_set(err, SAT_E_NOMEM, 0, "server",
				   "out of memory");
	}
	rc = copy_options(s, o, err);
	if (rc == SAT_OK)
		rc = open_handles(s, err);
	if (rc != SAT_OK) {
		free_server(s);
		return rc;
	}
	s->workers.server = s;
	s->workers.db_path = s->db_path;
	s->workers.async = &s->async;
	rc = sat_workers_start(
		&s->workers, (uint32_t)sat_config_int(cfg, SAT_CFG_READERS),
		(uint32_t)sat_config_int(cfg, SAT_CFG_COMMIT_BATCH_MAX),
		(size_t)sat_config_int(cfg, SAT_CFG_PAGE_CACHE_BYTES), err);
	if (rc != SAT_OK) {
		close_handles(s);
		return rc;
	}
	rc = listen_on(s, o, err);
	if (rc != SAT_OK) {
		sat_workers_stop(&s->workers);
		close_handles(s);
		return rc;
	}
	(void)uv_timer_start(&s->sweep, on_sweep, SAT_RUN_SWEEP_MS,
			     SAT_RUN_SWEEP_MS);
	keep = sat_keep_from(cfg);
	s->collect_ms = sat_server_now(s) + sat_keep_period(&keep);
	*ret = s;
	return SAT_OK;
}

uint16_t sat_server_port(const struct sat_server *s)
{
	return s->listener == NULL ? 0 : sat_listener_port(s->listener);
}

/* They come again and are asked to renew, or are not let in any more. */
static void send_away(struct sat_server *s)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_DRAIN };
	struct sat_conn *c, *next;

	for (c = s->conns; c != NULL; c = next) {
		next = c->next;
		if (!c->enrol && c->ca != s->ca_no)
			sat_conn_event(c, &ev);
	}
}

int sat_server_reload(struct sat_server *s, const struct sat_config *config,
		      struct sat_tls_ctx *tls, const struct sat_server_ca *ca,
		      struct sat_err *err)
{
	uint64_t no;
	bool rolling = sat_server_ca_rolling(s, &no);
	int rc = sat_server_ca_put(s, ca, err);

	if (rc != SAT_OK)
		return rc;
	s->config = config;
	s->tls = tls;
	s->collect_ms = s->damage.due_ms = 0; /* under the new settings */
	sat_workers_batch(
		&s->workers,
		(uint32_t)sat_config_int(config, SAT_CFG_COMMIT_BATCH_MAX));
	if (s->listener == NULL)
		return SAT_OK;
	sat_listener_set_ctx(s->listener, tls);
	sat_listener_set_limits(
		s->listener,
		(uint32_t)sat_config_int(config, SAT_CFG_LINKS_MAX),
		(uint32_t)sat_config_int(config, SAT_CFG_HANDSHAKES_MAX));
	if (no != s->ca_no || rolling != s->ca_rolling)
		send_away(s);
	return SAT_OK;
}

void sat_server_metrics(const struct sat_server *s,
			struct sat_server_metrics *ret)
{
	*ret = s->m;
	ret->links_open = s->conn_count;
	ret->sessions_live = s->hub.live;
	/* Only its locks are touched. */
	sat_workers_load((struct sat_workers *)(uintptr_t)&s->workers, ret);
}
