/* Is the database file itself sound? */
#include "server/store/report.h"
#include "server/store/sqlite_store.h"

#include <stdio.h>

#include <sqlite3.h>

int sat_store_check(struct sat_store *s, char *ret_what, size_t n,
		    struct sat_err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sat_db_find(&s->db,
			     "SELECT quick_check FROM pragma_quick_check(1)"
			     " WHERE quick_check <> 'ok'",
			     NULL, 0, &st, err);

	if (rc != SAT_OK)
		return rc;
	ret_what[0] = '\0';
	if (st == NULL)
		return SAT_OK;
	(void)snprintf(ret_what, n, "%s",
		       (const char *)sqlite3_column_text(st, 0));
	sat_db_reset(st);
	return SAT_OK;
}
