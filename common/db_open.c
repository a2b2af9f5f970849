/* Opening a file of ours and refusing any other, unchanged. */
#include "common/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

/* Places in the header of an SQLite file. */
enum { HEADER_BYTES = 100, HEADER_VERSION = 60, HEADER_APPLICATION = 68 };

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static int refuse_newer(const struct sat_db_options *o, uint32_t found,
			struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NEWER, 0, "db_open",
			   "the %s %s has version %u, this program knows "
			   "versions up to %u: use a newer program",
			   o->what, o->path, found, o->version);
}

static int refuse_other(const struct sat_db_options *o, struct sat_err *err)
{
	return sat_err_set(err, SAT_E_CORRUPT, 0, "db_open", "%s is not a %s",
			   o->path, o->what);
}

static int cannot_open(const struct sat_db_options *o, int sys,
		       struct sat_err *err)
{
	if (sys == ENOENT || sys == ENOTDIR)
		return sat_err_set(err, SAT_E_NOTFOUND, sys, "db_open",
				   "there is no %s at %s", o->what, o->path);
	return sat_err_set(err, SAT_E_IO, sys, "db_open",
			   "cannot open the %s %s: %s", o->what, o->path,
			   strerror(sys));
}

/* The first bytes, zeros behind a short file's end. Through SQLite's own layer
 * of files: a close(2) of ours would cancel the locks of every connection that
 * this process has on the file, and the next program that closes it would
 * take itself for the last one and remove the WAL under our feet. */
static int read_header(const struct sat_db_options *o,
		       uint8_t head[HEADER_BYTES], struct sat_err *err)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	sqlite3_filename name = NULL;
	sqlite3_file *f = NULL;
	int code = SQLITE_NOMEM, sys = 0;

	if (vfs != NULL) {
		name = sqlite3_create_filename(o->path, "", "", 0, NULL);
		f = calloc(1, (size_t)vfs->szOsFile);
	}
	if (name != NULL && f != NULL) {
		code = vfs->xOpen(vfs, name, f,
				  SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READONLY,
				  NULL);
		sys = code == SQLITE_OK ? 0 : errno;
	}
	if (code == SQLITE_OK) {
		code = f->pMethods->xRead(f, head, HEADER_BYTES, 0);
		sys = errno;
		(void)f->pMethods->xClose(f);
		if (code == SQLITE_IOERR_SHORT_READ)
			code = SQLITE_OK;
		if (code != SQLITE_OK)
			(void)sat_err_set(err, SAT_E_IO, sys, "db_open",
					  "cannot read %s: %s", o->path,
					  strerror(sys));
	} else if (code == SQLITE_NOMEM) {
		(void)sat_err_set(err, SAT_E_NOMEM, 0, "db_open",
				  "out of memory");
	} else {
		(void)cannot_open(o, sys, err);
	}
	sqlite3_free_filename(name);
	free(f);
	return code == SQLITE_OK ? SAT_OK : err->rc;
}

/* Judge the file by its first bytes, before SQLite may touch it. */
static int judge_header(const struct sat_db_options *o, struct sat_err *err)
{
	uint8_t head[HEADER_BYTES];
	struct stat st;
	int rc;

	if (stat(o->path, &st) != 0)
		return cannot_open(o, errno, err);
	rc = read_header(o, head, err);
	if (rc != SAT_OK)
		return rc;
	if (memcmp(head, "SQLite format 3", 16) != 0 ||
	    get_u32(head + HEADER_APPLICATION) != o->application_id)
		return refuse_other(o, err);
	if (get_u32(head + HEADER_VERSION) > o->version)
		return refuse_newer(o, get_u32(head + HEADER_VERSION), err);
	return SAT_OK;
}

/* Make an empty file that only its owner may read; SQLite gives the WAL the
 * same mode. An empty one left by a crash is taken over. */
static int make_file(const struct sat_db_options *o, struct sat_err *err)
{
	struct stat st = { 0 };
	int fd, sys, bad;

	/* not even opened: see read_header */
	if (stat(o->path, &st) == 0 && st.st_size > 0)
		return sat_err_set(err, SAT_E_EXISTS, 0, "db_create",
				   "%s exists already", o->path);
	fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		sys = errno;
		return sat_err_set(err,
				   sys == ENOENT || sys == ENOTDIR
					   ? SAT_E_NOTFOUND
				   : sys == ENOSPC ? SAT_E_FULL
						   : SAT_E_IO,
				   sys, "db_create", "cannot make %s: %s",
				   o->path, strerror(sys));
	}
	bad = fstat(fd, &st);
	sys = errno;
	(void)close(fd);
	if (bad != 0)
		return sat_err_set(err, SAT_E_IO, sys, "db_create",
				   "cannot look at %s: %s", o->path,
				   strerror(sys));
	if (st.st_size > 0)
		return sat_err_set(err, SAT_E_EXISTS, 0, "db_create",
				   "%s exists already", o->path);
	return SAT_OK;
}

static int connect_file(struct sat_db *db, const struct sat_db_options *o,
			struct sat_err *err)
{
	int flags =
		SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
		(o->readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
	int code;

	if (o->create && o->vfs != NULL)
		flags |= SQLITE_OPEN_CREATE;
	code = sqlite3_open_v2(o->path, &db->handle, flags, o->vfs);
	if (code != SQLITE_OK)
		return sat_db_fail(db, code, "db_open", err);
	if (!o->readonly && sqlite3_db_readonly(db->handle, "main") == 1)
		return sat_err_set(err, SAT_E_IO, EROFS, "db_open",
				   "the %s %s may not be written", o->what,
				   o->path);
	code = sqlite3_busy_timeout(
		db->handle, o->busy_ms > 0 ? o->busy_ms : SAT_DB_BUSY_MS);
	/* Until the file is accepted, closing must not move its WAL. */
	if (code == SQLITE_OK)
		code = sqlite3_db_config(
			db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE,
					 1, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_db_config(
			db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return code == SQLITE_OK ? SAT_OK
				 : sat_db_fail(db, code, "db_config", err);
}

/* Identity and schema in one transaction of the rollback journal, so that a
 * crash leaves an empty file and never half a database. */
static int create_schema(struct sat_db *db, const struct sat_db_options *o,
			 struct sat_err *err)
{
	char sql[128];
	int rc;

	rc = sat_db_begin(db, err);
	if (rc != SAT_OK)
		return rc;
	(void)snprintf(sql, sizeof sql,
		       "PRAGMA application_id = %d; PRAGMA user_version = %u",
		       (int)o->application_id, o->version);
	rc = sat_db_exec(db, sql, err);
	if (rc == SAT_OK && o->schema != NULL)
		rc = sat_db_exec(db, o->schema, err);
	if (rc == SAT_OK)
		rc = sat_db_commit(db, err);
	else
		sat_db_rollback(db);
	if (rc == SAT_OK)
		db->version = o->version;
	return rc;
}

/* Look again through SQLite: the WAL may hold a later header. */
static int judge_open(struct sat_db *db, const struct sat_db_options *o,
		      struct sat_err *err)
{
	int64_t application = 0, version = 0;
	int rc;

	rc = sat_db_int(db, "PRAGMA application_id", 0, &application, err);
	if (rc == SAT_OK)
		rc = sat_db_int(db, "PRAGMA user_version", 0, &version, err);
	if (rc != SAT_OK)
		return rc;
	if ((uint32_t)application != o->application_id)
		return refuse_other(o, err);
	if (version < 0 || version > o->version)
		return refuse_newer(o, (uint32_t)version, err);
	db->version = (uint32_t)version;
	return SAT_OK;
}

static int set_pragmas(struct sat_db *db, const struct sat_db_options *o,
		       struct sat_err *err)
{
	char sql[256];
	int rc, code;

	(void)snprintf(sql, sizeof sql,
		       "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;"
		       "PRAGMA temp_store = MEMORY;"
		       "PRAGMA wal_autocheckpoint = %d;",
		       o->checkpoint_pages);
	rc = sat_db_exec(db, sql, err);
	if (rc == SAT_OK && o->cache_kib > 0) {
		(void)snprintf(sql, sizeof sql, "PRAGMA cache_size = -%d",
			       o->cache_kib);
		rc = sat_db_exec(db, sql, err);
	}
	if (rc == SAT_OK && !o->readonly)
		rc = sat_db_exec(db,
				 "PRAGMA journal_mode = WAL;"
				 "PRAGMA synchronous = FULL;"
				 "PRAGMA journal_size_limit = 67108864;",
				 err);
	if (rc != SAT_OK)
		return rc;
	code = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
				 o->keep_wal || o->readonly ? 1 : 0, NULL);
	return code == SQLITE_OK ? SAT_OK
				 : sat_db_fail(db, code, "db_config", err);
}

int sat_db_open(struct sat_db *db, const struct sat_db_options *o,
		struct sat_err *err)
{
	int rc = SAT_OK;

	*db = (struct sat_db){ 0 };
	if (o->vfs == NULL)
		rc = o->create ? make_file(o, err) : judge_header(o, err);
	if (rc == SAT_OK)
		rc = connect_file(db, o, err);
	if (rc == SAT_OK)
		rc = o->create ? create_schema(db, o, err)
			       : judge_open(db, o, err);
	if (rc == SAT_OK)
		rc = set_pragmas(db, o, err);
	if (rc != SAT_OK)
		sat_db_close(db);
	return rc;
}
