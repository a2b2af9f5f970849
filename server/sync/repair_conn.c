/* The job that answers a device's REPAIR: as many short reads as it takes,
 * each queued behind what others wait for. */
#include <stdlib.h>
#include <string.h>

#include "server/feed/repair.h"
#include "server/sync/run.h"

struct repair_job {
	struct sat_job job;
	struct sat_conn *conn;
	struct sat_msg_repair ask;
	struct sat_id ids[SAT_REPAIR_IDS_MAX];
	uint8_t ranges[SAT_REPAIR_RANGES / 8];
	struct sat_rights rights; /* scopes: malloc */
	struct sat_repair work;
	struct sat_buf frames;
	size_t data_bytes;
	uint32_t replica, catalogue;
};

static void job_free(struct repair_job *x)
{
	sat_repair_fini(&x->work);
	sat_buf_fini(&x->frames);
	sat_rights_free(&x->rights);
	free(x);
}

void sat_repair_take(struct sat_conn *c, const struct sat_msg_repair *m)
{
	struct repair_job *x = calloc(1, sizeof *x);

	SAT_ASSERT(c->ask == NULL && m->id_count <= SAT_REPAIR_IDS_MAX &&
		   m->ranges.len <= sizeof x->ranges);
	if (x == NULL) {
		sat_conn_no_memory(c);
		return;
	}
	x->ask = *m;
	if (m->id_count > 0)
		memcpy(x->ids, m->ids, m->id_count * sizeof *x->ids);
	if (m->ranges.len > 0)
		memcpy(x->ranges, m->ranges.ptr, m->ranges.len);
	x->ask.ids = x->ids;
	x->ask.ranges.ptr = x->ranges;
	x->ask.sums = x->ask.list = (struct sat_slice){ 0 };
	x->conn = c;
	sat_buf_init(&x->frames, SAT_RUN_OUT_MAX);
	c->ask = &x->job;
}

void sat_repair_drop(struct sat_conn *c)
{
	if (c->ask != NULL)
		job_free(SAT_CONTAINER_OF(c->ask, struct repair_job, job));
	c->ask = NULL;
}

static int run_repair(struct sat_job *j, struct sat_bench *b,
		      struct sat_err *err)
{
	struct repair_job *x = SAT_CONTAINER_OF(j, struct repair_job, job);
	const struct sat_catalogue *cat;
	int rc = sat_repair_step(&x->work, b->store, b->zip, &x->frames,
				 &x->data_bytes, err);

	cat = sat_store_catalogue(b->store);
	x->catalogue = cat == NULL ? 0 : cat->version;
	return rc;
}

static void queue(struct repair_job *x)
{
	sat_conn_hold(x->conn);
	sat_workers_read(&x->conn->server->workers, &x->job);
}

static void done_repair(struct sat_job *j)
{
	struct repair_job *x = SAT_CONTAINER_OF(j, struct repair_job, job);
	struct sat_ssession_event ev = { .kind = SAT_SEV_REPAIRED };
	struct sat_conn *c = x->conn;
	struct sat_server_metrics *m = &c->server->m;
	struct sat_msg_error trouble = sat_conn_trouble(SAT_E_IO);

	if (j->rc == SAT_AGAIN && sat_conn_open(c)) {
		queue(x);
		sat_conn_drop(c);
		return;
	}
	ev.frames = sat_buf_peek(&x->frames);
	ev.data_bytes = x->data_bytes;
	ev.version = x->catalogue;
	if (j->rc == SAT_OK) {
		m->repairs++;
	} else if (j->rc != SAT_AGAIN) {
		ev.error = &trouble;
		m->scope_alarms += j->rc == SAT_E_DENIED;
		sat_log(SAT_LOG_ERROR, "feed",
			j->rc == SAT_E_DENIED
				? "a row was about to leave its scope"
				: "repair failed",
			SAT_KV_UINT("replica", x->replica),
			SAT_KV_ERR(&j->err));
	}
	c->ask = NULL;
	sat_conn_event(c, &ev);
	job_free(x);
	sat_conn_drop(c);
}

void sat_repair_start(struct sat_conn *c)
{
	struct repair_job *x;

	if (c->ask == NULL)
		return; /* there was no memory for it: the link ends */
	x = SAT_CONTAINER_OF(c->ask, struct repair_job, job);
	if (sat_rights_copy(&c->rights, &x->rights) != SAT_OK) {
		sat_conn_no_memory(c);
		return;
	}
	x->replica = c->replica;
	x->job.run = run_repair;
	x->job.done = done_repair;
	sat_repair_init(&x->work, &x->rights, &x->ask);
	if (x->ask.step != SAT_REPAIR_ROWS)
		sat_log(SAT_LOG_WARN, "conn", "a device looks for differences",
			SAT_KV_UINT("replica", c->replica),
			SAT_KV_UINT("step", x->ask.step),
			SAT_KV_UINT("scope", x->ask.scope));
	queue(x);
}
