/* status: what the server holds, how far its devices are, and what the disk
 * still takes. Costs one count per table, whatever the size of the rows. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/file.h"
#include "common/text.h"
#include "server/admin/ops_collect.h"
#include "server/admin/ops_data.h"

enum { WAL_FRAME_BYTES = 4096 + 24 };

static int out_of_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "status", "out of memory");
}

static int put(json_t *o, const char *name, json_t *v, struct sat_err *err)
{
	return json_object_set_new(o, name, v) == 0 ? SAT_OK
						    : out_of_memory(err);
}

static int put_rows(struct sat_admin *a, json_t *ret, struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(a->store);
	json_t *live = json_object(), *deleted = json_object();
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < c->table_count; i++) {
		const struct sat_table *t = &c->tables[i];
		uint64_t n, gone;

		rc = sat_store_count(a->store, t, &n, &gone, err);
		if (rc == SAT_OK)
			rc = put(live, t->name, json_integer((json_int_t)n),
				 err);
		if (rc == SAT_OK && gone > 0)
			rc = put(deleted, t->name,
				 json_integer((json_int_t)gone), err);
	}
	if (rc == SAT_OK && (json_object_set(ret, "rows", live) != 0 ||
			     json_object_set(ret, "deleted", deleted) != 0))
		rc = out_of_memory(err);
	json_decref(live);
	json_decref(deleted);
	return rc;
}

/* The one that nobody has seen for the longest time. */
static json_t *unseen_json(struct sat_admin *a, const struct sat_device *d)
{
	struct sat_user user;
	struct sat_err none;
	char text[25];

	if (d == NULL)
		return json_null();
	if (sat_store_user_get(a->store, &d->user, &user, &none) != SAT_OK)
		user.login[0] = '\0';
	sat_time_format(d->seen_ms, text);
	return json_pack("{s:I, s:s, s:s}", "device", (json_int_t)d->replica,
			 "login", user.login, "seen", text);
}

/* Of the active ones: the least cursor, and who has been away longest. */
static int put_devices(struct sat_admin *a, json_t *ret, struct sat_err *err)
{
	const struct sat_device *unseen = NULL;
	uint64_t oldest = UINT64_MAX;
	json_int_t count[3] = { 0 };
	struct sat_device *all;
	struct sat_arena arena;
	uint32_t n = 0;
	int rc;

	sat_arena_init(&arena, 256 << 20);
	rc = sat_store_devices(a->store, &arena, &all, &n, err);
	for (uint32_t i = 0; rc == SAT_OK && i < n; i++) {
		const struct sat_device *d = &all[i];

		count[d->state]++;
		if (d->state != SAT_DEVICE_ACTIVE)
			continue;
		if (d->cursor < oldest)
			oldest = d->cursor;
		if (unseen == NULL || d->seen_ms < unseen->seen_ms)
			unseen = d;
	}
	if (rc == SAT_OK)
		rc = put(ret, "devices",
			 json_pack("{s:I, s:I, s:I}", "active",
				   count[SAT_DEVICE_ACTIVE], "wiping",
				   count[SAT_DEVICE_WIPING], "revoked",
				   count[SAT_DEVICE_REVOKED]),
			 err);
	if (rc == SAT_OK)
		rc = put(ret, "oldest_cursor",
			 unseen == NULL ? json_null()
					: json_integer((json_int_t)oldest),
			 err);
	if (rc == SAT_OK)
		rc = put(ret, "longest_unseen", unseen_json(a, unseen), err);
	sat_arena_fini(&arena);
	return rc;
}

static int put_file(struct sat_admin *a, json_t *ret, const char *file,
		    const char *name, json_int_t unit, struct sat_err *err)
{
	struct stat st = { .st_size = 0 };
	char path[4096];
	int rc = sat_path_join(path, sizeof path, a->dir, file, err);

	if (rc != SAT_OK)
		return rc;
	(void)stat(path, &st); /* no WAL is one of no bytes */
	return put(ret, name, json_integer((json_int_t)st.st_size / unit), err);
}

static int put_disk(struct sat_admin *a, json_t *ret, struct sat_err *err)
{
	struct statvfs disk;
	json_t *room = json_null();
	int rc;

	if (statvfs(a->dir, &disk) == 0)
		room = json_integer((json_int_t)disk.f_bavail *
				    (json_int_t)disk.f_frsize);
	rc = put(ret, "disk_free_bytes", room, err);
	if (rc == SAT_OK)
		rc = put_file(a, ret, "satchel.db", "database_bytes", 1, err);
	return rc == SAT_OK ? put_file(a, ret, "satchel.db-wal", "wal_pages",
				       WAL_FRAME_BYTES, err)
			    : rc;
}

/* The epoch as text: no JSON number holds 64 bits. */
static int put_history(struct sat_admin *a, json_t *ret, struct sat_err *err)
{
	uint64_t epoch = 0, head = 0;
	char text[24];
	int rc = sat_engine_stored_epoch(a->store, &epoch, err);

	if (rc == SAT_OK)
		rc = sat_store_head(a->store, &head, err);
	(void)snprintf(text, sizeof text, "%" PRIu64, epoch);
	if (rc == SAT_OK)
		rc = put(ret, "epoch", json_string(text), err);
	return rc == SAT_OK
		       ? put(ret, "head", json_integer((json_int_t)head), err)
		       : rc;
}

static int put_collected(struct sat_admin *a, json_t *ret, struct sat_err *err)
{
	json_t *j = sat_collect_json(a, err);

	return j == NULL ? err->rc : put(ret, "collected", j, err);
}

int sat_op_status(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(a->store);
	int rc;

	(void)args;
	rc = put(ret, "running", json_boolean(a->live != NULL), err);
	if (rc == SAT_OK && a->live != NULL &&
	    json_object_update(ret, a->live) != 0)
		rc = out_of_memory(err);
	if (rc == SAT_OK)
		rc = put(ret, "version", json_string(SAT_VERSION), err);
	if (rc == SAT_OK)
		rc = put(ret, "catalogue", json_integer(c->version), err);
	if (rc == SAT_OK)
		rc = put_history(a, ret, err);
	if (rc == SAT_OK)
		rc = put_devices(a, ret, err);
	if (rc == SAT_OK)
		rc = put_collected(a, ret, err);
	if (rc == SAT_OK)
		rc = put_disk(a, ret, err);
	return rc == SAT_OK ? put_rows(a, ret, err) : rc;
}
