#include "server/admin/ops_doctor.h"

#include <stdio.h>

#include "common/stamp.h"
#include "common/text.h"
#include "server/store/report.h"

enum { CLOCK_MAX_MS = 60 * 1000 };

static int add(json_t *list, const char *check, const char *text,
	       const char *command)
{
	return json_array_append_new(
		       list, json_pack("[s, s, s]", check, text, command)) == 0
		       ? SAT_OK
		       : SAT_E_NOMEM;
}

static int check_file(struct sat_admin *a, json_t *list, struct sat_err *err)
{
	char what[200], text[320];
	int rc = sat_store_check(a->store, what, sizeof what, err);

	if (rc == SAT_E_CORRUPT)
		(void)snprintf(what, sizeof what, "%.180s", err->msg);
	else if (rc != SAT_OK || what[0] == '\0')
		return rc;
	(void)snprintf(text, sizeof text, "the database is damaged: %s", what);
	return add(list, "integrity", text,
		   "satchel-server restore --dir NEW_DIR BACKUP");
}

/* ---- rows ---------------------------------------------------------------- */

enum { NAMED_MAX = 20 };

struct rows_check {
	json_t *list;
	uint32_t count;
};

static int on_row(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct rows_check *c = arg;
	char id[SAT_UUID_CHARS + 1], text[320];

	if (!row->damaged || c->count++ >= NAMED_MAX)
		return SAT_OK;
	sat_id_format(&row->id, id);
	(void)snprintf(text, sizeof text,
		       "row %s of %s is not what the server wrote: devices do "
		       "not get it, and changes to it wait; put it back as it "
		       "was, or restore a backup",
		       id, t->name);
	return add(c->list, "damage", text,
		   "satchel-server restore --dir NEW_DIR BACKUP");
}

static int check_rows(struct sat_admin *a, json_t *list, struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(a->store);
	struct rows_check x = { .list = list };
	char text[160];
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && c != NULL && i < c->table_count;
	     i++)
		rc = sat_store_rows(a->store, &c->tables[i], -1, NULL, on_row,
				    &x, err);
	if (rc != SAT_OK || x.count <= NAMED_MAX)
		return rc == SAT_E_CORRUPT ? SAT_OK : rc; /* told above */
	(void)snprintf(text, sizeof text,
		       "%u rows in all are not what the server wrote", x.count);
	return add(list, "damage", text, "satchel-server verify");
}

/* The newest stamp ever given out cannot lie in the future. */
static int check_clock(struct sat_admin *a, json_t *list, struct sat_err *err)
{
	struct sat_buf value;
	struct sat_slice v;
	char text[160];
	uint64_t hlc = 0;
	int64_t ahead;
	int rc;

	sat_buf_init(&value, 64);
	rc = sat_store_setting_get(a->store, "hlc", &value, err);
	v = sat_buf_peek(&value);
	for (size_t i = 0; rc == SAT_OK && v.len == 8 && i < 8; i++)
		hlc = hlc << 8 | v.ptr[i];
	sat_buf_fini(&value);
	if (rc != SAT_OK)
		return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
	ahead = sat_stamp_ms(hlc) - a->now_ms;
	if (ahead < CLOCK_MAX_MS)
		return SAT_OK;
	(void)snprintf(text, sizeof text,
		       "the clock has gone back by %lld seconds since the last "
		       "write",
		       (long long)ahead / 1000);
	return add(list, "clock", text, "timedatectl set-ntp true");
}

int sat_op_doctor(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err)
{
	json_t *list = json_array();
	int rc = list == NULL ? SAT_E_NOMEM : SAT_OK;

	(void)args;
	if (rc == SAT_OK)
		rc = check_file(a, list, err);
	if (rc == SAT_OK)
		rc = check_rows(a, list, err);
	if (rc == SAT_OK)
		rc = check_clock(a, list, err);
	if (rc == SAT_OK &&
	    (json_object_set(ret, "findings", list) != 0 ||
	     json_object_set_new(ret, "advertise", json_string(a->advertise)) !=
		     0))
		rc = SAT_E_NOMEM;
	json_decref(list);
	return rc == SAT_E_NOMEM
		       ? sat_err_set(err, rc, 0, "doctor", "out of memory")
		       : rc;
}
