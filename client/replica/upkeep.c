/* Housekeeping: the WAL, old changesets, clock steps. */
#include "client/replica/internal.h"

#include <stdio.h>
#include <sys/stat.h>

/* ---- the WAL and old changesets ------------------------------------------ */

static int wal_pages(struct sat_replica *r, int64_t *ret, struct sat_err *err)
{
	const char *main_path = sqlite3_db_filename(r->db.handle, "main");
	char path[4096];
	struct stat st;
	int64_t page = 0;
	int rc = sat_db_int(&r->db, "PRAGMA page_size", 4096, &page, err);

	*ret = 0;
	if (rc != SAT_OK || main_path == NULL || page <= 0)
		return rc;
	(void)snprintf(path, sizeof path, "%s-wal", main_path);
	if (stat(path, &st) == 0 && st.st_size > 32)
		*ret = ((int64_t)st.st_size - 32) / (page + 24);
	return SAT_OK;
}

static int drop_acked(struct sat_replica *r, int64_t before_ms,
		      struct sat_err *err)
{
	struct sat_value arg = sat_value_int(before_ms);
	sqlite3_stmt *st;
	int rc;

	/* Looked at first: a write would wake up everybody who watches. The
	 * overlay may still need one whose echo has not come. */
#define OLD                                                                 \
	" FROM _satchel_outbox WHERE state = 1 AND ms < ?1 AND NOT EXISTS(" \
	"SELECT 1 FROM _satchel_dirty d WHERE d.seq = _satchel_outbox.seq)"
	rc = sat_db_find(&r->db, "SELECT 1" OLD " LIMIT 1", &arg, 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	sat_db_reset(st);
	return sat_db_do(&r->db, "DELETE" OLD, &arg, 1, err);
#undef OLD
}

int sat_replica_upkeep(struct sat_replica *r, int pages, int acked_days,
		       int64_t now_raw_ms, struct sat_err *err)
{
	int64_t held = 0;
	int left, rc;

	rc = drop_acked(r, now_raw_ms - (int64_t)acked_days * 86400000, err);
	if (rc == SAT_OK)
		rc = wal_pages(r, &held, err);
	if (rc != SAT_OK || held <= pages)
		return rc;
	rc = sat_db_checkpoint(&r->db, true, 0, &left, err);
	if (rc == SAT_E_BUSY) /* somebody reads: move what can be moved */
		rc = sat_db_checkpoint(&r->db, false, 0, &left, err);
	return rc == SAT_E_BUSY ? SAT_OK : rc;
}

/* ---- clock --------------------------------------------------------------- */

/* Only so many are kept; the two oldest become one, which errs for times
 * between them and for no others. */
static int merge_oldest(struct sat_replica *r, struct sat_err *err)
{
	if (r->step_count < SAT_REPLICA_STEPS_MAX)
		return SAT_OK;
	return sat_db_exec(
		&r->db,
		"UPDATE _satchel_clock_step SET delta_ms = delta_ms +"
		" (SELECT delta_ms FROM _satchel_clock_step ORDER BY n LIMIT 1)"
		" WHERE n = (SELECT n FROM _satchel_clock_step ORDER BY n"
		" LIMIT 1 OFFSET 1);"
		"DELETE FROM _satchel_clock_step WHERE n ="
		" (SELECT min(n) FROM _satchel_clock_step);",
		err);
}

int sat_replica_clock_step(struct sat_replica *r, int64_t before_ms,
			   int64_t delta_ms, struct sat_err *err)
{
	struct sat_value args[2] = { sat_value_int(before_ms),
				     sat_value_int(delta_ms) };
	int rc = sat_txn_begin(r, err);

	if (rc != SAT_OK)
		return rc;
	rc = merge_oldest(r, err);
	if (rc == SAT_OK)
		rc = sat_db_do(&r->db,
			       "INSERT INTO _satchel_clock_step(before_ms,"
			       " delta_ms) VALUES(?1, ?2)",
			       args, 2, err);
	rc = sat_txn_end(r, rc, err);
	/* Memory follows the file. */
	return rc == SAT_OK ? sat_facts_load(r, err) : rc;
}
