#define _GNU_SOURCE /* CLOCK_BOOTTIME */
#include "client/sync/agent.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/sync/agent_parts.h"
#include "common/log.h"
#include "common/pki.h"

enum {
	BACKOFF_FIRST_MS = 1000,
	HASTE_MS = 250,     /* not more often than this on local writes     */
	REFUSED_MS = 60000, /* a refused device asks again, but rarely      */
	STEP_MS = 2000,     /* a smaller move of the clock is no step       */
	MEMORY_MAX = 256 * 1024 * 1024,
	PATIENCE_MS = 60 * 60 * 1000, /* of a wish, whatever comes        */
};

static int64_t clock_ms(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t sat_agent_wall_ms(struct sat_agent *a)
{
	int64_t wall = clock_ms(CLOCK_REALTIME);
	int64_t gap = wall - clock_ms(CLOCK_BOOTTIME);
	int64_t moved = gap - a->clock_gap_ms;
	struct sat_err err;

	if (moved < STEP_MS && moved > -STEP_MS)
		return wall;
	a->clock_gap_ms = gap;
	sat_log(SAT_LOG_WARN, "clock", "the wall clock was moved",
		SAT_KV_INT("by_ms", moved));
	if (sat_replica_clock_step(a->replica, wall - moved, moved, &err) !=
	    SAT_OK)
		sat_log(SAT_LOG_ERROR, "clock", "step not noted",
			SAT_KV_ERR(&err));
	return wall;
}

int sat_agent_harvest(struct sat_agent *a, int wait_ms, uint64_t *ret_seq,
		      struct sat_err *err)
{
	int rc = sat_replica_harvest(a->replica, sat_agent_wall_ms(a), false,
				     wait_ms, ret_seq, err);

	if (rc == SAT_OK && *ret_seq != 0)
		sat_agent_told_of(a, *ret_seq);
	return rc;
}

void sat_agent_changed(struct sat_agent *a)
{
	if (a->on_change != NULL)
		a->on_change(a->arg);
}

/* ---- between connections ------------------------------------------------ */

void sat_agent_retls(struct sat_agent *a, struct sat_tls_ctx *tls)
{
	a->tls = tls;
}

/* Ask for an identity of our own; true when there is one. */
static bool become_another(struct sat_agent *a)
{
	struct sat_agent_wish *w;
	struct sat_tls_ctx *tls = NULL;
	struct sat_err err = { 0 };
	int rc = a->on_forked(a->arg, &tls, &err);

	if (rc == SAT_OK) {
		a->forked = false;
		a->tls = tls;
		a->backoff_ms = 0;
		/* the same changes have other numbers now */
		a->harvested = sat_replica_outbox_last(a->replica);
		for (w = a->wishes; w != NULL; w = w->next)
			w->target = a->harvested;
		return true;
	}
	a->forked = rc != SAT_E_DENIED;
	sat_agent_ended(a, rc, 0, rc != SAT_E_DENIED, 0, err.msg);
	return false;
}

static void on_retry(uv_timer_t *timer)
{
	struct sat_agent *a = timer->data;

	if (!a->forked || become_another(a))
		sat_agent_connect(a);
}

void sat_agent_rejoin(struct sat_agent *a, struct sat_tls_ctx *tls)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_STOP,
					 .now_ms = uv_now(a->loop) };

	a->tls = tls;
	if (a->link == NULL || a->stopping)
		return; /* the next attempt uses them */
	ev.wall_ms = sat_agent_wall_ms(a);
	sat_agent_event(a, &ev);
	if (a->link == NULL && !a->stopping)
		(void)uv_timer_start(&a->retry, on_retry, 0, 0);
}

/* Full jitter: anywhere up to the limit, so that a thousand devices do not
 * come back in step. */
static uint64_t jitter(uint64_t limit_ms)
{
	struct sat_err none;
	uint64_t r = 0;

	if (sat_random(&r, sizeof r, &none) != SAT_OK)
		return limit_ms / 2;
	return r % (limit_ms + 1);
}

static uint64_t next_pause(struct sat_agent *a, bool refused, uint32_t retry_ms)
{
	uint64_t max = (uint64_t)sat_config_int(a->config,
						SAT_CFG_BACKOFF_MAX_SECONDS) *
		       1000;

	if (refused)
		return REFUSED_MS + jitter(REFUSED_MS);
	if (retry_ms > 0)
		return retry_ms + jitter(retry_ms / 2);
	a->backoff_ms =
		a->backoff_ms == 0 ? BACKOFF_FIRST_MS : a->backoff_ms * 2;
	if (a->backoff_ms > max)
		a->backoff_ms = max;
	return jitter(a->backoff_ms);
}

static bool is_refusal(int rc, uint32_t wire)
{
	return wire == SAT_WIRE_REVOKED || wire == SAT_WIRE_UNKNOWN ||
	       wire == SAT_WIRE_FORKED || rc == SAT_E_DENIED;
}

/* Not the network's doing: one side found the other broken, or this device
 * could not store what came. */
static bool is_broken(int rc)
{
	return rc != SAT_OK && rc != SAT_E_CLOSED && rc != SAT_E_TIMEOUT &&
	       rc != SAT_E_BUSY;
}

void sat_agent_ended(struct sat_agent *a, int rc, uint32_t wire, bool transient,
		     uint32_t retry_ms, const char *why)
{
	bool refused = !transient && is_refusal(rc, wire);
	uint64_t pause;

	if (a->stopping)
		return;
	if (wire == SAT_WIRE_FORKED && a->on_forked != NULL) {
		a->forked = true;
		refused = false;
		pause = 0;
	} else {
		pause = next_pause(a, refused, retry_ms);
	}
	if (is_broken(rc))
		a->broken_ms = a->backoff_ms;
	/* What had failed before the network came back says nothing now. */
	if (a->poked && !refused && retry_ms == 0 && !is_broken(rc) &&
	    pause > HASTE_MS)
		pause = HASTE_MS;
	a->poked = false;
	a->status.state = refused ? SAT_AGENT_REFUSED : SAT_AGENT_WAITING;
	a->status.last_rc = rc;
	a->status.last_wire = wire;
	(void)snprintf(a->status.last_error, sizeof a->status.last_error, "%s",
		       why == NULL ? sat_rc_name(rc) : why);
	sat_log(SAT_LOG_INFO, "sync", "not connected",
		SAT_KV_STR("rc", sat_rc_name(rc)), SAT_KV_UINT("wire", wire),
		SAT_KV_STR("why", a->status.last_error),
		SAT_KV_UINT("next_ms", pause));
	/* Armed whatever happened: a device that stops trying is lost. */
	(void)uv_timer_start(&a->retry, on_retry, pause, 0);
	sat_agent_check_wishes(a);
	sat_agent_changed(a);
}

void sat_agent_poke(struct sat_agent *a)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_PROBE,
					 .now_ms = uv_now(a->loop) };

	if (a->stopping)
		return;
	ev.wall_ms = sat_agent_wall_ms(a);
	a->poked = a->link != NULL && !sat_csession_live(&a->session);
	if (a->link != NULL)
		sat_agent_event(a, &ev);
	else if (uv_now(a->loop) - a->tried_ms >= HASTE_MS)
		sat_agent_connect(a);
	else
		(void)uv_timer_start(&a->retry, on_retry, HASTE_MS, 0);
}

/* ---- wishes ------------------------------------------------------------- */

static bool is_granted(const struct sat_agent *a,
		       const struct sat_agent_wish *w, uint64_t now, int *ret)
{
	if (a->stopping) {
		*ret = SAT_E_CLOSED;
	} else if (a->link != NULL &&
		   sat_csession_caught_up(&a->session, w->target)) {
		*ret = SAT_OK;
	} else if (a->status.state == SAT_AGENT_REFUSED) {
		*ret = SAT_E_DENIED;
	} else if (a->status.local_failure) {
		*ret = SAT_E_IO;
	} else if (now >= w->deadline_ms) {
		*ret = SAT_E_TIMEOUT;
	} else {
		return false;
	}
	return true;
}

static void on_wishes(uv_timer_t *timer)
{
	sat_agent_check_wishes(timer->data);
}

void sat_agent_check_wishes(struct sat_agent *a)
{
	struct sat_agent_wish **at = &a->wishes, *w;
	uint64_t now = uv_now(a->loop), next = UINT64_MAX;
	int rc;

	while ((w = *at) != NULL) {
		if (is_granted(a, w, now, &rc)) {
			*at = w->next;
			w->done(w, rc);
			at = &a->wishes; /* done may have wished again */
			continue;
		}
		if (w->deadline_ms < next)
			next = w->deadline_ms;
		at = &w->next;
	}
	if (next != UINT64_MAX)
		(void)uv_timer_start(&a->wishes_timer, on_wishes,
				     next > now ? next - now : 1, 0);
	else if (!uv_is_closing((uv_handle_t *)&a->wishes_timer))
		(void)uv_timer_stop(&a->wishes_timer);
}

void sat_agent_progress(struct sat_agent *a)
{
	uint64_t now = uv_now(a->loop);

	for (struct sat_agent_wish *w = a->wishes; w != NULL; w = w->next)
		if (w->patient)
			w->deadline_ms = now + w->timeout_ms < w->last_ms
						 ? now + w->timeout_ms
						 : w->last_ms;
}

void sat_agent_wait_for(struct sat_agent *a, uint64_t last_seq)
{
	for (struct sat_agent_wish *w = a->wishes; w != NULL; w = w->next)
		if (w->target < last_seq)
			w->target = last_seq;
}

void sat_agent_sync(struct sat_agent *a, struct sat_agent_wish *w,
		    uint64_t timeout_ms)
{
	struct sat_err err;
	uint64_t seq;

	if (a->status.state == SAT_AGENT_REFUSED)
		a->status.state = SAT_AGENT_WAITING; /* ask the server again */
	if (sat_agent_harvest(a, 1000, &seq, &err) != SAT_OK)
		sat_log(SAT_LOG_WARN, "replica", "not harvested",
			SAT_KV_ERR(&err));
	w->target = a->harvested;
	w->timeout_ms = timeout_ms;
	w->deadline_ms = uv_now(a->loop) + timeout_ms;
	w->last_ms = w->deadline_ms + PATIENCE_MS;
	w->next = a->wishes;
	a->wishes = w;
	if (a->link == NULL)
		sat_agent_connect(a);
	/* Never before we return: the timer looks first. */
	(void)uv_timer_start(&a->wishes_timer, on_wishes, 1, 0);
}

void sat_agent_status(const struct sat_agent *a, struct sat_agent_status *ret)
{
	*ret = a->status;
	ret->next_ms = uv_is_active((const uv_handle_t *)&a->retry)
			       ? uv_timer_get_due_in(&a->retry)
			       : 0;
}

/* ---- life --------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *h)
{
	struct sat_agent *a = h->data;
	void (*done)(void *) = a->done;
	void *arg = a->done_arg;

	if (--a->handles > 0)
		return;
	sat_zip_free(a->zip);
	sat_arena_fini(&a->arena);
	sat_buf_fini(&a->plain);
	sat_buf_fini(&a->out);
	sat_buf_fini(&a->part);
	free(a->host);
	free(a->path);
	free(a);
	done(arg);
}

void sat_agent_stop(struct sat_agent *a, void (*done)(void *arg), void *arg)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_STOP,
					 .now_ms = uv_now(a->loop) };
	uv_handle_t *handles[] = {
		(uv_handle_t *)&a->watch,        (uv_handle_t *)&a->look,
		(uv_handle_t *)&a->retry,        (uv_handle_t *)&a->tick,
		(uv_handle_t *)&a->wishes_timer,
	};

	if (a->stopping)
		return;
	a->stopping = true;
	a->done = done;
	a->done_arg = arg;
	a->status.state = SAT_AGENT_STOPPED;
	if (a->link != NULL)
		sat_agent_event(a, &ev);
	if (a->link != NULL) { /* the session had nothing to say */
		sat_link_set_arg(a->link, NULL);
		sat_link_finish(a->link, SAT_OK, NULL);
		a->link = NULL;
	}
	sat_agent_check_wishes(a);
	for (size_t i = 0; i < SAT_COUNT_OF(handles); i++)
		uv_close(handles[i], on_handle_closed);
}

static int init_handles(struct sat_agent *a)
{
	uv_timer_t *timers[] = { &a->look, &a->retry, &a->tick,
				 &a->wishes_timer };

	if (uv_fs_event_init(a->loop, &a->watch) != 0)
		return SAT_E_NOMEM;
	a->watch.data = a;
	a->handles = 1;
	for (size_t i = 0; i < SAT_COUNT_OF(timers); i++) {
		(void)uv_timer_init(a->loop, timers[i]);
		timers[i]->data = a;
		a->handles++;
	}
	return SAT_OK;
}

static void nothing(void *arg)
{
	(void)arg;
}

int sat_agent_start(const struct sat_agent_options *o, struct sat_agent **ret,
		    struct sat_err *err)
{
	struct sat_agent *a = calloc(1, sizeof *a);
	struct sat_replica_status facts;
	const char *slash;
	int rc;

	if (a == NULL || (a->host = strdup(o->host)) == NULL ||
	    (a->path = strdup(o->replica_path)) == NULL ||
	    (a->zip = sat_zip_new()) == NULL) {
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "agent", "out of memory");
		goto fail;
	}
	a->loop = o->loop;
	a->replica = o->replica;
	a->config = o->config;
	a->tls = o->tls;
	a->port = o->port;
	a->on_change = o->on_change;
	a->on_forked = o->on_forked;
	a->on_renew = o->on_renew;
	a->on_wipe = o->on_wipe;
	a->arg = o->arg;
	a->status.digest_ok = true;
	slash = strrchr(a->path, '/');
	a->file = slash == NULL ? a->path : a->path + (slash - a->path) + 1;
	a->clock_gap_ms = clock_ms(CLOCK_REALTIME) - clock_ms(CLOCK_BOOTTIME);
	sat_arena_init(&a->arena, MEMORY_MAX);
	sat_buf_init(&a->plain, SAT_UNZIP_BYTES_MAX);
	sat_buf_init(&a->out, 2 * SAT_FRAME_BYTES_MAX);
	sat_buf_init(&a->part, SAT_FRAME_BYTES_MAX);
	rc = sat_replica_status(a->replica, &facts, err);
	if (rc != SAT_OK)
		goto fail;
	a->harvested = facts.outbox_last;
	rc = init_handles(a);
	if (rc != SAT_OK) {
		(void)sat_err_set(err, rc, 0, "agent", "no file events");
		goto fail;
	}
	rc = sat_agent_watch(a, err);
	if (rc != SAT_OK) {
		sat_agent_stop(a, nothing, NULL);
		return rc;
	}
	(void)uv_timer_start(&a->retry, on_retry, 0, 0);
	sat_agent_look_soon(a);
	*ret = a;
	return SAT_OK;
fail:
	if (a != NULL) {
		free(a->host);
		free(a->path);
		sat_zip_free(a->zip);
		free(a);
	}
	return rc;
}
