#include "server/admin/ops_collect.h"

#include "server/commit/collect.h"

/* One call holds up the commits of others: the timer does the rest. */
enum { PIECES_MAX = 100 };

static int out_of_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "collect", "out of memory");
}

int sat_op_collect(struct sat_admin *a, const json_t *args, json_t *ret,
		   struct sat_err *err)
{
	struct sat_collected c = { .more = true };
	json_int_t rows = 0, entries = 0;
	bool closed = false;
	int rc = SAT_OK;

	(void)args;
	sat_engine_keep_for(a->engine, &a->keep);
	for (int i = 0; rc == SAT_OK && c.more && i < PIECES_MAX; i++) {
		rc = sat_engine_collect(a->engine, &c, err);
		rows += c.rows;
		entries += c.entries;
		closed = closed || c.closed;
	}
	if (rc != SAT_OK)
		return rc;
	if (json_object_set_new(ret, "deleted_rows", json_integer(rows)) != 0 ||
	    json_object_set_new(ret, "settled_conflicts",
				json_integer(entries)) != 0 ||
	    json_object_set_new(ret, "up_to",
				json_integer((json_int_t)c.floor)) != 0 ||
	    json_object_set_new(ret, "recovery_closed", json_boolean(closed)) !=
		    0 ||
	    json_object_set_new(ret, "more", json_boolean(c.more)) != 0)
		return out_of_memory(err);
	return SAT_OK;
}

json_t *sat_collect_json(struct sat_admin *a, struct sat_err *err)
{
	struct sat_collect_status s;
	json_t *j;

	if (sat_collect_stored(a->store, &a->keep, a->now_ms, &s, err) !=
	    SAT_OK)
		return NULL;
	j = json_pack("{s:I, s:I, s:I, s:o}", "rows", (json_int_t)s.rows,
		      "up_to", (json_int_t)s.floor, "passed_by_all",
		      (json_int_t)s.behind_at, "waits_for",
		      s.behind == 0 ? json_null()
				    : json_integer((json_int_t)s.behind));
	if (j == NULL)
		(void)out_of_memory(err);
	return j;
}
