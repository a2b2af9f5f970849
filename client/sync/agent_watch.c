/* Noticing that another program wrote to the replica.
 *
 * The file event of a foreign commit comes before its fsync, so one look can
 * miss it: after each event we look again for some seconds. Nothing is
 * polled while nothing happens (SYNC section 4, "Waking up"). */
#include <string.h>

#include "client/sync/agent_parts.h"
#include "common/log.h"

/* Pauses between the looks after one event, ms; about a second for the usual
 * disk, and two more looks for one that is overloaded. */
static const uint16_t look_ms[] = {
	1, 4, 10, 25, 60, 150, 300, 450, 1000, 3000
};

static void on_look(uv_timer_t *timer);

static void plan_look(struct sat_agent *a)
{
	if (a->looks >= SAT_COUNT_OF(look_ms) && a->look_owed)
		a->looks = SAT_COUNT_OF(look_ms) - 1;
	if (a->looks >= SAT_COUNT_OF(look_ms))
		return;
	(void)uv_timer_start(&a->look, on_look, look_ms[a->looks], 0);
	a->looks++;
}

static void on_look(uv_timer_t *timer)
{
	struct sat_agent *a = timer->data;
	struct sat_err err;
	uint64_t seq = 0;
	bool changed = false;
	int rc;

	if (a->stopping)
		return;
	rc = sat_replica_changed(a->replica, &changed, &err);
	/* what could not be gathered because somebody was writing is told only
	 * once, and that somebody may take his own write back */
	a->look_owed = a->look_owed || changed;
	if (rc == SAT_OK && a->look_owed) {
		rc = sat_agent_harvest(a, 0, &seq, &err);
		a->look_owed = rc == SAT_E_BUSY;
		if (rc == SAT_OK && seq != 0) {
			a->looks = SAT_COUNT_OF(look_ms);
			sat_agent_poke(a);
			return;
		}
	}
	if (rc != SAT_OK && rc != SAT_E_BUSY) {
		a->status.local_failure = true;
		sat_log(SAT_LOG_ERROR, "replica", "local writes not gathered",
			SAT_KV_ERR(&err));
	}
	plan_look(a);
}

void sat_agent_look_soon(struct sat_agent *a)
{
	a->looks = 0;
	plan_look(a);
}

/* replica.db and replica.db-wal; other files of the folder do not matter. */
static void on_file(uv_fs_event_t *watch, const char *name, int events,
		    int status)
{
	struct sat_agent *a = watch->data;

	(void)events;
	if (status < 0 || a->stopping)
		return;
	if (name == NULL || strncmp(name, a->file, strlen(a->file)) == 0)
		sat_agent_look_soon(a);
}

int sat_agent_watch(struct sat_agent *a, struct sat_err *err)
{
	char folder[4096];
	const char *slash = strrchr(a->path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - a->path);
	int rc;

	if (n >= sizeof folder)
		return sat_err_set(err, SAT_E_LIMIT, 0, "watch",
				   "the path is too long");
	memcpy(folder, a->path, n);
	folder[n] = '\0';
	rc = uv_fs_event_start(&a->watch, on_file, n == 0 ? "." : folder, 0);
	if (rc != 0)
		return sat_err_set(err, SAT_E_IO, rc, "watch", "%s: %s", folder,
				   uv_strerror(rc));
	return SAT_OK;
}
