#include <stdlib.h>

#include "server/commit/collect.h"
#include "server/sync/run.h"

/* The timer's work on what may be forgotten, a bounded piece at a time. */

enum { HOUR_MS = 60 * 60 * 1000 };

/* ---- settings ------------------------------------------------------------ */

struct sat_keep sat_keep_from(const struct sat_config *c)
{
	return (struct sat_keep){
		.deleted_ms = sat_config_int(c, SAT_CFG_KEEP_DELETED) * 1000,
		.silent_ms = sat_config_int(c, SAT_CFG_SILENT_AFTER) * 1000,
		.settled_ms = sat_config_int(c, SAT_CFG_KEEP_SETTLED) * 1000,
		.recovery_ms =
			sat_config_int(c, SAT_CFG_RECOVERY_WINDOW) * 1000,
	};
}

uint64_t sat_keep_period(const struct sat_keep *keep)
{
	const int64_t spans[] = { keep->deleted_ms, keep->settled_ms,
				  keep->recovery_ms };
	int64_t least = HOUR_MS;

	for (size_t i = 0; i < SAT_COUNT_OF(spans); i++) {
		if (spans[i] > 0 && spans[i] / 4 < least)
			least = spans[i] / 4;
	}
	return least > 1000 ? (uint64_t)least : 1000;
}

/* ---- the job ------------------------------------------------------------- */

struct collect_job {
	struct sat_job job;
	struct sat_server *server;
	struct sat_keep keep;
	struct sat_collected done;
};

static int run_collect(struct sat_job *j, struct sat_bench *b,
		       struct sat_err *err)
{
	struct collect_job *x = SAT_CONTAINER_OF(j, struct collect_job, job);

	sat_engine_keep_for(b->engine, &x->keep);
	return sat_engine_collect(b->engine, &x->done, err);
}

static void report(const struct sat_collected *c)
{
	if (c->rows > 0)
		sat_log(SAT_LOG_INFO, "collect", "deleted rows collected",
			SAT_KV_UINT("rows", c->rows),
			SAT_KV_UINT("floor", c->floor));
	if (c->entries > 0)
		sat_log(SAT_LOG_INFO, "collect", "settled conflicts collected",
			SAT_KV_UINT("entries", c->entries));
	if (c->closed)
		sat_log(SAT_LOG_INFO, "collect", "recovery closed");
}

static void done_collect(struct sat_job *j)
{
	struct collect_job *x = SAT_CONTAINER_OF(j, struct collect_job, job);
	struct sat_server *s = x->server;

	s->collecting = false;
	if (j->rc == SAT_OK)
		report(&x->done);
	else
		sat_log(SAT_LOG_WARN, "collect", "not now",
			SAT_KV_ERR(&j->err));
	if (j->rc == SAT_OK && x->done.more)
		s->collect_ms = 0;
	free(x);
	sat_server_settle(s);
}

void sat_server_collect(struct sat_server *s)
{
	uint64_t now = sat_server_now(s);
	struct sat_keep keep;
	struct collect_job *x;

	if (s->collecting || s->collect_ms > now)
		return;
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return; /* the next sweep tries again */
	keep = sat_keep_from(s->config);
	s->collect_ms = now + sat_keep_period(&keep);
	x->server = s;
	x->keep = keep;
	x->job.run = run_collect;
	x->job.done = done_collect;
	/* whatever fails in it must not take changesets with it */
	x->job.alone = true;
	s->collecting = true;
	sat_workers_commit(&s->workers, &x->job);
}
