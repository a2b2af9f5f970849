/* A copy of the whole database while others use it. One read transaction is
 * held meanwhile, so the copy is of one moment and never starts over. */
#include "server/store/sqlite_store.h"

#include <sqlite3.h>

enum { PAGES_AT_A_TIME = 1024 };

static int failed(sqlite3 *db, int code, struct sat_err *err)
{
	int rc = code == SQLITE_FULL    ? SAT_E_FULL
		 : code == SQLITE_NOMEM ? SAT_E_NOMEM
					: SAT_E_IO;

	return sat_err_set(err, rc, code, "backup", "%s", sqlite3_errmsg(db));
}

static int copy_pages(sqlite3 *to, sqlite3 *from,
		      void (*at)(void *arg, size_t done, size_t total),
		      void *arg, struct sat_err *err)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	int code = SQLITE_OK, total;

	if (b == NULL)
		return failed(to, sqlite3_errcode(to), err);
	while (code == SQLITE_OK) {
		code = sqlite3_backup_step(b, PAGES_AT_A_TIME);
		total = sqlite3_backup_pagecount(b);
		if (at != NULL)
			at(arg, (size_t)(total - sqlite3_backup_remaining(b)),
			   (size_t)total);
	}
	(void)sqlite3_backup_finish(b);
	return code == SQLITE_DONE ? SAT_OK : failed(to, code, err);
}

int sat_store_backup(struct sat_store *s, const char *path,
		     void (*at)(void *arg, size_t done, size_t total),
		     void *arg, struct sat_err *err)
{
	sqlite3 *to = NULL;
	int code, rc = sat_store_snapshot_begin(s, err);

	if (rc != SAT_OK)
		return rc;
	code = sqlite3_open_v2(
		path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(to, "PRAGMA synchronous = FULL", NULL, NULL,
				    NULL);
	if (code == SQLITE_OK)
		rc = copy_pages(to, s->db.handle, at, arg, err);
	else
		rc = failed(to, code, err);
	(void)sqlite3_close(to);
	sat_store_snapshot_end(s);
	return rc;
}

/* ---- the audit, for what a restore loses ----------------------------------
 */

int sat_store_audit_last(struct sat_store *s, uint64_t *ret,
			 struct sat_err *err)
{
	int64_t no = 0;
	int rc = sat_db_int(&s->db, "SELECT max(no) FROM _audit", 0, &no, err);

	*ret = (uint64_t)no;
	return rc;
}

int sat_store_audit_after(struct sat_store *s, uint64_t after, sat_text_cb cb,
			  void *arg, struct sat_err *err)
{
	struct sat_value no = sat_value_int((int64_t)after);

	return sat_store_query(
		s,
		"SELECT strftime('%Y-%m-%d %H:%M:%S', at_ms / 1000,"
		" 'unixepoch') AS at, what, coalesce(detail, '') AS detail"
		" FROM _audit WHERE no > ?1 AND who NOT IN ('server')"
		" ORDER BY no",
		&no, 1, cb, arg, err);
}
