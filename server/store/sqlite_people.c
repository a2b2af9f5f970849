/* The directory of people. The engine names no business table anywhere else:
 * who may connect at all is asked of `user`, by these columns of the first
 * catalogue. A catalogue without them has no users, so nobody gets in. */
#include "server/store/sqlite_store.h"

#include <string.h>

#include <sqlite3.h>

#define USER_TABLE "user"
#define USER_COLUMNS                                                       \
	"SELECT id, territory_id, role, active, login, name, _flags FROM " \
	"\"" USER_TABLE "\" "

enum { FLAG_DELETED = 2 };

static int user_read(sqlite3_stmt *st, struct sat_user *ret,
		     struct sat_err *err)
{
	struct sat_value role = sat_db_column(st, 2);
	struct sat_user u = { .role = SAT_ROLE_COUNT };

	if (!sat_db_column_id(st, 0, &u.id))
		return sat_err_set(err, SAT_E_CORRUPT, 0, "store_user",
				   "a user's row is damaged");
	/* No territory: no home, and so no scope. */
	(void)sat_db_column_id(st, 1, &u.home);
	if (role.kind == SAT_TEXT)
		u.role = sat_role_of(role.s);
	u.active = sqlite3_column_int(st, 3) != 0 &&
		   (sqlite3_column_int(st, 6) & FLAG_DELETED) == 0;
	sat_store_text(st, 4, u.login, sizeof u.login);
	sat_store_text(st, 5, u.name, sizeof u.name);
	/* The server's own role is for nobody. */
	if (u.role >= SAT_ROLE_SERVER)
		return sat_err_set(err, SAT_E_INVAL, 0, "store_user",
				   "the user has a role this version does not "
				   "know");
	*ret = u;
	return SAT_OK;
}

static int user_find(struct sat_store *s, const char *sql,
		     const struct sat_value *key, struct sat_user *ret,
		     struct sat_err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = SAT_OK;

	if (s->catalogue != NULL &&
	    sat_catalogue_table(s->catalogue, sat_slice_str(USER_TABLE)) !=
		    NULL)
		rc = sat_db_find(&s->db, sql, key, 1, &st, err);
	if (rc != SAT_OK)
		return rc;
	if (st == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "store_user",
				   "there is no such user");
	rc = user_read(st, ret, err);
	sat_db_reset(st);
	return rc;
}

int sat_store_user_get(struct sat_store *s, const struct sat_id *id,
		       struct sat_user *ret, struct sat_err *err)
{
	struct sat_value key = sat_value_id(id);

	return user_find(s, USER_COLUMNS "WHERE id = ?1", &key, ret, err);
}

int sat_store_user_login(struct sat_store *s, const char *login,
			 struct sat_user *ret, struct sat_err *err)
{
	struct sat_value key = sat_value_text(sat_slice_str(login));

	return user_find(s,
			 USER_COLUMNS "WHERE login = ?1 AND _flags & 2 = 0"
				      " ORDER BY _seq LIMIT 1",
			 &key, ret, err);
}
