/* backup and restore: a whole server as a folder, and back. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/pki.h"
#include "common/progress.h"
#include "common/say.h"
#include "server/admin/past.h"
#include "server/cli/cli.h"
#include "server/store/store.h"

enum { FILE_BYTES_MAX = 64 * 1024 * 1024, PATH_CHARS = 4096 };

/* What a server is besides its database and its journal. The first two may
 * not be missing. */
static const struct {
	const char *name;
	mode_t mode;
	bool needed;
} parts[] = {
	{ "ca.key", 0600, true },       { "ca.pem", 0644, true },
	{ "server.key", 0600, true },   { "server.pem", 0644, true },
	{ "server.conf", 0600, false }, { "ca.next.key", 0600, false },
	{ "ca.next.pem", 0644, false }, { "server.next.pem", 0644, false },
};

static int copy_file(const char *from_dir, const char *to_dir, const char *name,
		     mode_t mode, bool needed, struct sat_err *err)
{
	char from[PATH_CHARS], to[PATH_CHARS];
	struct sat_buf b;
	int rc = sat_path_join(from, sizeof from, from_dir, name, err);

	if (rc == SAT_OK)
		rc = sat_path_join(to, sizeof to, to_dir, name, err);
	if (rc != SAT_OK || (!needed && !sat_file_exists(from)))
		return rc;
	sat_buf_init(&b, FILE_BYTES_MAX);
	rc = sat_file_read(from, FILE_BYTES_MAX, &b, err);
	if (rc == SAT_OK)
		rc = sat_file_write(to, sat_buf_peek(&b), mode, err);
	sat_secret_wipe(b.base, b.len);
	sat_buf_fini(&b);
	return rc;
}

static int system_failed(struct sat_err *err, const char *what,
			 const char *path)
{
	return sat_err_set(err, SAT_E_IO, errno, what, "%s: %s", path,
			   strerror(errno));
}

static int sync_file(const char *dir, const char *name, struct sat_err *err)
{
	char path[PATH_CHARS];
	FILE *f;
	int rc = sat_path_join(path, sizeof path, dir, name, err);

	if (rc != SAT_OK)
		return rc;
	f = fopen(path, "r+");
	if (f == NULL || fsync(fileno(f)) != 0 || fchmod(fileno(f), 0600) != 0)
		rc = system_failed(err, "copy", path);
	if (f != NULL)
		(void)fclose(f);
	return rc;
}

static void on_progress(void *arg, size_t done, size_t total)
{
	struct sat_progress *p = arg;

	p->total = total;
	sat_progress_at(p, done);
}

static int copy_store(const char *from_dir, const char *to_dir,
		      const char *what, struct sat_err *err)
{
	struct sat_progress bar;
	struct sat_store *s;
	char to[PATH_CHARS];
	int rc = sat_path_join(to, sizeof to, to_dir, "satchel.db", err);

	if (rc == SAT_OK)
		rc = sat_store_open_sqlite(from_dir, false, false, &s, err);
	if (rc != SAT_OK)
		return rc;
	sat_progress_begin(&bar, what, 0);
	rc = sat_store_backup(s, to, on_progress, &bar, err);
	sat_progress_end(&bar);
	sat_store_close(s);
	return rc == SAT_OK ? sync_file(to_dir, "satchel.db", err) : rc;
}

/* The journal comes last, so that it never knows less than the database. */
static int copy_all(const char *from, const char *to, const char *what,
		    struct sat_err *err)
{
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i < SAT_COUNT_OF(parts); i++)
		rc = copy_file(from, to, parts[i].name, parts[i].mode,
			       parts[i].needed, err);
	if (rc == SAT_OK)
		rc = copy_store(from, to, what, err);
	if (rc == SAT_OK)
		rc = sat_past_merge(from, to, err);
	return rc == SAT_OK ? sat_dir_sync(to, err) : rc;
}

int sat_cli_backup(struct sat_call *call)
{
	const char *out = json_string_value(json_object_get(call->args, "out"));
	char part[PATH_CHARS];
	struct sat_err err;
	int n, rc = SAT_OK;

	n = snprintf(part, sizeof part, "%s.part", out);
	if (n < 0 || (size_t)n >= sizeof part)
		rc = sat_err_set(&err, SAT_E_INVAL, 0, "backup",
				 "that path is too long");
	else if (sat_file_exists(out) || sat_file_exists(part))
		rc = sat_err_set(&err, SAT_E_EXISTS, 0, "backup",
				 "%s exists; a backup goes into a new folder",
				 sat_file_exists(out) ? out : part);
	if (rc == SAT_OK)
		rc = sat_dir_make(part, &err);
	if (rc == SAT_OK)
		rc = copy_all(call->dir, part, "backup", &err);
	/* Under its name only when it is whole. */
	if (rc == SAT_OK && rename(part, out) != 0)
		rc = system_failed(&err, "backup", out);
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("backup", &err);
	}
	(void)printf(sat_say("%s holds everything, keys included: keep it as "
			     "safe as the server\n"),
		     out);
	return SAT_EXIT_OK;
}

/* ---- restore --------------------------------------------------------------
 */

/* What stood there stays beside it: nothing is deleted. */
static int put_aside(const char *dir, char aside[PATH_CHARS],
		     struct sat_err *err)
{
	static const char *const files[] = { "satchel.db", "satchel.db-wal",
					     "satchel.db-shm" };
	char from[PATH_CHARS], to[PATH_CHARS];
	long long now = (long long)time(NULL);
	int rc = SAT_OK;

	aside[0] = '\0';
	for (size_t i = 0; rc == SAT_OK && i < SAT_COUNT_OF(files); i++) {
		rc = sat_path_join(from, sizeof from, dir, files[i], err);
		if (rc != SAT_OK || !sat_file_exists(from))
			continue;
		if ((size_t)snprintf(to, sizeof to, "%s/before-%lld-%s", dir,
				     now, files[i]) >= sizeof to)
			return sat_err_set(err, SAT_E_INVAL, 0, "restore",
					   "that path is too long");
		if (rename(from, to) != 0)
			return system_failed(err, "restore", from);
		if (i == 0)
			(void)snprintf(aside, PATH_CHARS, "%s", to);
	}
	return rc;
}

struct lost {
	uint32_t count;
	struct sat_err *err;
};

static int on_lost(void *arg, int columns, const char *const *names,
		   const struct sat_value *v)
{
	struct lost *l = arg;

	(void)names;
	if (columns != 3 || v[0].kind != SAT_TEXT || v[1].kind != SAT_TEXT ||
	    v[2].kind != SAT_TEXT)
		return SAT_OK;
	if (l->count++ == 0)
		(void)fputs(sat_say("Changes by administrators that are not "
				    "in the backup; make them again:\n"),
			    stdout);
	(void)printf("  %.*s  %.*s  %.*s\n", (int)v[0].s.len,
		     (const char *)v[0].s.ptr, (int)v[1].s.len,
		     (const char *)v[1].s.ptr, (int)v[2].s.len,
		     (const char *)v[2].s.ptr);
	return SAT_OK;
}

/* Of the database that was there, if it can be read at all. */
static void list_lost(const char *aside, const char *backup)
{
	struct sat_store *s;
	struct lost l = { .count = 0 };
	struct sat_err err;
	uint64_t last = 0;

	if (sat_store_open_sqlite(backup, false, false, &s, &err) != SAT_OK)
		return;
	if (sat_store_audit_last(s, &last, &err) != SAT_OK)
		last = 0;
	sat_store_close(s);
	if (*aside != '\0' &&
	    sat_store_open_sqlite(aside, false, false, &s, &err) == SAT_OK) {
		if (sat_store_audit_after(s, last, on_lost, &l, &err) != SAT_OK)
			(void)printf(
				sat_say("The audit of %s cannot be read.\n"),
				aside);
		sat_store_close(s);
		return;
	}
	(void)fputs(sat_say("Changes by administrators after the backup are "
			    "lost; make them again.\n"),
		    stdout);
}

static int take_lock(const char *dir, struct sat_lock *lock,
		     struct sat_err *err)
{
	char path[PATH_CHARS], who[SAT_LOCK_WHO_CHARS];
	int rc = sat_path_join(path, sizeof path, dir, "lock", err);

	if (rc == SAT_OK)
		rc = sat_lock_take(path, lock, err);
	if (rc == SAT_E_BUSY)
		(void)sat_err_set(err, rc, 0, "restore",
				  "%s uses %s; stop it first",
				  sat_lock_who(lock, who), dir);
	return rc;
}

/* Keys and settings that are there are newer than the backup's. */
static int fill_in(const char *backup, const char *dir, struct sat_err *err)
{
	char path[PATH_CHARS];
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i < SAT_COUNT_OF(parts); i++) {
		rc = sat_path_join(path, sizeof path, dir, parts[i].name, err);
		if (rc == SAT_OK && !sat_file_exists(path))
			rc = copy_file(backup, dir, parts[i].name,
				       parts[i].mode, parts[i].needed, err);
	}
	if (rc == SAT_OK)
		rc = sat_past_merge(backup, dir, err);
	return rc == SAT_OK ? copy_store(backup, dir, "restore", err) : rc;
}

static int restore(const char *dir, const char *backup, char aside[PATH_CHARS],
		   struct sat_past_result *found, struct sat_err *err)
{
	struct sat_lock lock = { .fd = -1 };
	struct sat_journal j = { .fd = -1 };
	char path[PATH_CHARS];
	int rc = sat_path_join(path, sizeof path, backup, "satchel.db", err);

	aside[0] = '\0';
	if (rc == SAT_OK && !sat_file_exists(path))
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "restore",
				   "%s is not a backup", backup);
	if (rc == SAT_OK)
		rc = sat_dir_make(dir, err);
	if (rc == SAT_OK)
		rc = take_lock(dir, &lock, err);
	if (rc != SAT_OK)
		return rc;
	rc = put_aside(dir, aside, err);
	if (rc == SAT_OK)
		rc = fill_in(backup, dir, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, dir, "satchel.db", err);
	if (rc == SAT_OK)
		rc = sat_past_start(dir, path, true, &j, found, err);
	sat_journal_close(&j);
	sat_lock_drop(&lock);
	return rc;
}

int sat_cli_restore(struct sat_call *call)
{
	const char *backup =
		json_string_value(json_object_get(call->args, "backup"));
	struct sat_past_result found;
	char aside[PATH_CHARS];
	struct sat_err err;
	int rc = restore(call->dir, backup, aside, &found, &err);

	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("restore", &err);
	}
	list_lost(aside, backup);
	if (found.revoked > 0)
		(void)printf(sat_say("%lu devices stay revoked\n"),
			     (unsigned long)found.revoked);
	if (*aside != '\0')
		(void)printf(sat_say("The database that was there: %s\n"),
			     aside);
	(void)printf(sat_say("%s is restored. Start it; devices bring back "
			     "what they wrote since the backup.\n"),
		     call->dir);
	(void)printf("  satchel-server run --dir %s\n"
		     "  satchel-server recovery status --dir %s\n",
		     call->dir, call->dir);
	return SAT_EXIT_OK;
}
