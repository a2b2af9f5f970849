/* What is done about rows that are not the server's: asked for one by one;
 * when that does not help, or there are too many, everything is fetched again;
 * and when that does not help either, people must look. */
#include "client/sync/agent_parts.h"
#include "common/log.h"

enum {
	ROUNDS_MAX = 4, /* in an hour, without success */
	AGAIN_MS = 60 * 60 * 1000,
	/* A turn through 100,000 rows takes an hour. */
	SLICE_ROWS = 2000,
};

/* On a new connection; a difference that this does not mend is no reason for
 * a loop. */
static int fetch_all(struct sat_agent *a, struct sat_err *err)
{
	uint64_t now = uv_now(a->loop);
	int rc;

	if (a->repair_ms != 0 && now - a->repair_ms < AGAIN_MS)
		return SAT_OK;
	rc = sat_replica_repair(a->replica, err);
	if (rc != SAT_OK)
		return rc;
	a->repair_ms = now == 0 ? 1 : now;
	return sat_err_set(err, SAT_E_CLOSED, 0, "repair",
			   "the rows are fetched again");
}

/* May another round begin? */
static bool count_round(struct sat_agent *a)
{
	uint64_t now = uv_now(a->loop);

	if (a->rounds == 0 || now - a->round_ms >= AGAIN_MS) {
		a->rounds = 0;
		a->round_ms = now;
	}
	return a->rounds++ < ROUNDS_MAX;
}

static int begin(struct sat_agent *a, bool *ret_look, struct sat_err *err)
{
	int rc = sat_replica_narrow_begin(a->replica, err);

	*ret_look = rc == SAT_OK;
	return rc == SAT_E_LIMIT ? fetch_all(a, err) : rc;
}

int sat_agent_compared(struct sat_agent *a, bool equal, bool *ret_look,
		       struct sat_err *err)
{
	*ret_look = false;
	if (equal) {
		a->rounds = 0;
		return SAT_OK;
	}
	if (sat_csession_asking(&a->session)) {
		*ret_look = true; /* it goes on */
		return SAT_OK;
	}
	sat_log(SAT_LOG_ERROR, "sync", "digest differs from the server's",
		SAT_KV_UINT("round", a->rounds + 1));
	return count_round(a) ? begin(a, ret_look, err) : fetch_all(a, err);
}

int sat_agent_next_ask(struct sat_agent *a, struct sat_msg_repair *ret,
		       bool *ret_asks, struct sat_err *err)
{
	int rc = sat_replica_narrow_ask(a->replica, ret, ret_asks, err);

	if (rc != SAT_E_LIMIT)
		return rc;
	sat_replica_narrow_end(a->replica);
	*ret_asks = false;
	return fetch_all(a, err);
}

int sat_agent_answered(struct sat_agent *a, const struct sat_msg_repair *m,
		       struct sat_err *err)
{
	int rc = sat_replica_narrow_answer(a->replica, m, err);

	if (rc != SAT_E_LIMIT)
		return rc;
	sat_replica_narrow_end(a->replica);
	return fetch_all(a, err);
}

void sat_agent_rehash(struct sat_agent *a)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_DAMAGED,
					 .now_ms = uv_now(a->loop) };
	struct sat_err err;
	uint64_t bad = 0;
	bool look = false;
	int rc;

	if (sat_replica_rehash(a->replica, SLICE_ROWS, &bad, &err) != SAT_OK) {
		sat_log(SAT_LOG_WARN, "replica", "rows not hashed",
			SAT_KV_ERR(&err));
		return;
	}
	if (bad > 0)
		sat_log(SAT_LOG_ERROR, "replica",
			"rows are not what the server sent",
			SAT_KV_UINT("rows", bad));
	if (!sat_replica_damaged(a->replica) || a->link == NULL ||
	    !sat_csession_may_ask(&a->session) || !count_round(a))
		return;
	rc = begin(a, &look, &err);
	if (rc != SAT_OK) {
		sat_log(SAT_LOG_WARN, "replica", "damaged rows not fetched",
			SAT_KV_ERR(&err));
		if (rc == SAT_E_CLOSED)
			sat_link_close(a->link, rc, err.msg);
		return;
	}
	if (!look)
		return;
	ev.wall_ms = sat_agent_wall_ms(a);
	sat_agent_event(a, &ev);
}
