#include "server/admin/ops_people.h"

#include <stdio.h>
#include <string.h>

#include "common/pki.h"
#include "server/admin/rows.h"

/* Tables of answers: {"columns": [...], "rows": [[...], ...]}. */
static int answer_table(json_t *ret, json_t *columns, json_t *rows,
			struct sat_err *err)
{
	if (json_object_set_new(ret, "columns", columns) == 0 &&
	    json_object_set_new(ret, "rows", rows) == 0)
		return SAT_OK;
	return sat_err_set(err, SAT_E_NOMEM, 0, "answer", "out of memory");
}

static int answer_id(json_t *ret, const struct sat_id *id, struct sat_err *err)
{
	char text[SAT_UUID_CHARS + 1];

	sat_id_format(id, text);
	if (json_object_set_new(ret, "id", json_string(text)) == 0)
		return SAT_OK;
	return sat_err_set(err, SAT_E_NOMEM, 0, "answer", "out of memory");
}

static int out_of_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "answer", "out of memory");
}

/* SAT_E_EXISTS when a live row of the table has that text in the column. */
static int must_be_new(const struct sat_admin *a, const char *table,
		       const char *column, const char *text,
		       struct sat_err *err)
{
	struct sat_id id;
	struct sat_err none;
	int rc = sat_admin_find(a, table, column, text, &id, &none);

	if (rc == SAT_E_NOTFOUND)
		return SAT_OK;
	if (rc == SAT_OK || rc == SAT_E_INVAL)
		return sat_err_set(err, SAT_E_EXISTS, 0, "add",
				   "there is a %s with %s \"%s\" already",
				   table, column, text);
	*err = none;
	return rc;
}

/* The text of a column of a row found by id; null when there is none. */
static json_t *text_of(const struct sat_admin *a, const char *table,
		       const struct sat_id *id, const char *column,
		       struct sat_arena *arena)
{
	const struct sat_table *t;
	struct sat_stored_row row;
	struct sat_err none;
	int index;

	if (sat_admin_table(a, table, &t, &none) != SAT_OK ||
	    sat_admin_column(t, column, &index, &none) != SAT_OK ||
	    sat_store_row_get(a->store, t, id, arena, &row, &none) != SAT_OK ||
	    row.seq == 0)
		return json_null();
	return sat_value_json(&t->columns[index], &row.values[index]);
}

/* ---- territories -------------------------------------------------------- */

/* The catalogue says which levels there are, and so does the sentence. */
static int check_level(const struct sat_table *t, const char *level,
		       struct sat_err *err)
{
	int at = sat_table_column(t, sat_slice_str("level"));
	const struct sat_column *c = at < 0 ? NULL : &t->columns[at];
	char all[160] = "";
	size_t n = 0;

	if (c == NULL || c->type != SAT_TYPE_ENUM ||
	    sat_column_enum(c, sat_slice_str(level)) != NULL)
		return SAT_OK;
	for (uint16_t i = 0; i < c->value_count && n < sizeof all; i++)
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s",
				      i > 0 ? ", " : "", c->values[i].name);
	return sat_err_set(err, SAT_E_INVAL, 0, "territory add",
			   "--level is one of %s, not \"%.40s\"", all, level);
}

int sat_op_territory_add(struct sat_admin *a, const json_t *args, json_t *ret,
			 struct sat_err *err)
{
	const char *parent = sat_arg_text_or_null(args, "parent");
	const char *code, *name, *level;
	const struct sat_table *t;
	struct sat_row_draft d;
	struct sat_id id, parent_id;
	int rc;

	rc = sat_arg_text(args, "code", &code, err);
	if (rc == SAT_OK)
		rc = sat_arg_text(args, "name", &name, err);
	if (rc == SAT_OK)
		rc = sat_arg_text(args, "level", &level, err);
	if (rc == SAT_OK)
		rc = sat_admin_table(a, "territory", &t, err);
	if (rc == SAT_OK)
		rc = must_be_new(a, "territory", "code", code, err);
	if (rc == SAT_OK && parent != NULL)
		rc = sat_admin_find(a, "territory", "code", parent, &parent_id,
				    err);
	if (rc == SAT_OK)
		rc = sat_admin_new_id(a, &id, err);
	if (rc != SAT_OK)
		return rc;
	rc = check_level(t, level, err);
	if (rc != SAT_OK)
		return rc;
	sat_draft_init(&d, SAT_OP_INSERT, t, &id);
	rc = sat_draft_set(&d, "code", sat_value_text(sat_slice_str(code)),
			   err);
	if (rc == SAT_OK)
		rc = sat_draft_set(&d, "name",
				   sat_value_text(sat_slice_str(name)), err);
	if (rc == SAT_OK)
		rc = sat_draft_set(&d, "level",
				   sat_value_text(sat_slice_str(level)), err);
	if (rc == SAT_OK && parent != NULL)
		rc = sat_draft_set(&d, "parent_id", sat_value_id(&parent_id),
				   err);
	if (rc == SAT_OK)
		rc = sat_admin_write(a, &d, err);
	if (rc == SAT_OK)
		rc = sat_engine_rights_changed(a->engine, err);
	return rc == SAT_OK ? answer_id(ret, &id, err) : rc;
}

/* Lists rows of a table by chosen columns. */
struct listing {
	json_t *rows;
	const struct sat_table *table;
	const char *const *columns;
	size_t count;
};

static int on_listed(void *arg, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	struct listing *l = arg;
	char id[SAT_UUID_CHARS + 1];
	json_t *line;

	if (row->deleted)
		return SAT_OK;
	line = json_array();
	sat_id_format(&row->id, id);
	if (json_array_append_new(line, json_string(id)) != 0)
		goto fail;
	for (size_t i = 0; i < l->count; i++) {
		int c = sat_table_column(t, sat_slice_str(l->columns[i]));
		json_t *v =
			c < 0 ? json_null()
			      : sat_value_json(&t->columns[c], &row->values[c]);

		if (json_array_append_new(line, v) != 0)
			goto fail;
	}
	if (json_array_append_new(l->rows, line) != 0)
		return SAT_E_NOMEM;
	return SAT_OK;
fail:
	json_decref(line);
	return SAT_E_NOMEM;
}

/* A column that leads to a territory shows its code, which is what people know
 * it by and what other commands take; "parent_id" becomes "parent". */
static int show_codes(const struct sat_admin *a, const struct sat_table *t,
		      const char *column, size_t at, json_t *head, json_t *rows,
		      struct sat_err *err)
{
	int c = sat_table_column(t, sat_slice_str(column));
	struct sat_arena arena;
	struct sat_id id;
	json_t *row;
	size_t i, n = strlen(column);

	if (c < 0 || t->columns[c].type != SAT_TYPE_REF || n < 3)
		return SAT_OK;
	if (json_array_set_new(head, at, json_stringn(column, n - 3)) != 0)
		return out_of_memory(err);
	json_array_foreach(rows, i, row)
	{
		const char *text = json_string_value(json_array_get(row, at));

		if (text == NULL || !sat_id_parse(sat_slice_str(text), &id))
			continue;
		sat_arena_init(&arena, 1 << 20);
		(void)json_array_set_new(
			row, at, text_of(a, "territory", &id, "code", &arena));
		sat_arena_fini(&arena);
	}
	return SAT_OK;
}

static int list_rows(struct sat_admin *a, const char *table,
		     const char *const *columns, size_t count, json_t *ret,
		     struct sat_err *err)
{
	struct listing l = { .columns = columns, .count = count };
	json_t *head = json_array();
	int rc = sat_admin_table(a, table, &l.table, err);

	l.rows = json_array();
	if (rc == SAT_OK)
		rc = sat_store_rows(a->store, l.table, -1, NULL, on_listed, &l,
				    err);
	if (rc == SAT_OK && json_array_append_new(head, json_string("id")) != 0)
		rc = out_of_memory(err);
	for (size_t i = 0; rc == SAT_OK && i < count; i++)
		if (json_array_append_new(head, json_string(columns[i])) != 0)
			rc = out_of_memory(err);
	for (size_t i = 0; rc == SAT_OK && i < count; i++)
		rc = show_codes(a, l.table, columns[i], i + 1, head, l.rows,
				err);
	if (rc == SAT_OK)
		return answer_table(ret, head, l.rows, err);
	json_decref(head);
	json_decref(l.rows);
	return rc;
}

int sat_op_territory_list(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err)
{
	static const char *const columns[] = { "code", "name", "level",
					       "parent_id" };

	(void)args;
	return list_rows(a, "territory", columns, SAT_COUNT_OF(columns), ret,
			 err);
}

/* ---- users and grants --------------------------------------------------- */

static int read_role(const char *name, enum sat_role *ret, struct sat_err *err)
{
	*ret = sat_role_of(sat_slice_str(name));
	if (*ret < SAT_ROLE_SERVER)
		return SAT_OK;
	return sat_err_set(err, SAT_E_INVAL, 0, "role",
			   "--role is one of rep, manager, hq, service, admin");
}

/* The user's row, with its home territory granted in the same commit. */
int sat_op_user_add(struct sat_admin *a, const json_t *args, json_t *ret,
		    struct sat_err *err)
{
	const char *login, *name, *role_name, *territory;
	struct sat_grant grant = { .no = 0 };
	const struct sat_table *t;
	struct sat_row_draft d;
	struct sat_id id, home;
	enum sat_role role;
	int rc;

	rc = sat_arg_text(args, "login", &login, err);
	if (rc == SAT_OK)
		rc = sat_arg_text(args, "name", &name, err);
	if (rc == SAT_OK)
		rc = sat_arg_text(args, "role", &role_name, err);
	if (rc == SAT_OK)
		rc = sat_arg_text(args, "territory", &territory, err);
	if (rc == SAT_OK)
		rc = read_role(role_name, &role, err);
	if (rc == SAT_OK)
		rc = sat_admin_table(a, "user", &t, err);
	if (rc == SAT_OK)
		rc = must_be_new(a, "user", "login", login, err);
	if (rc == SAT_OK)
		rc = sat_admin_find(a, "territory", "code", territory, &home,
				    err);
	if (rc == SAT_OK)
		rc = sat_admin_new_id(a, &id, err);
	if (rc != SAT_OK)
		return rc;
	sat_draft_init(&d, SAT_OP_INSERT, t, &id);
	rc = sat_draft_set(&d, "login", sat_value_text(sat_slice_str(login)),
			   err);
	if (rc == SAT_OK)
		rc = sat_draft_set(&d, "name",
				   sat_value_text(sat_slice_str(name)), err);
	if (rc == SAT_OK)
		rc = sat_draft_set(&d, "role",
				   sat_value_text(sat_slice_str(role_name)),
				   err);
	if (rc == SAT_OK)
		rc = sat_draft_set(&d, "territory_id", sat_value_id(&home),
				   err);
	if (rc == SAT_OK)
		rc = sat_draft_set(&d, "active", sat_value_int(1), err);
	if (rc == SAT_OK)
		rc = sat_admin_write(a, &d, err);
	if (rc != SAT_OK)
		return rc;
	grant.user = id;
	grant.territory = home;
	grant.role = role;
	grant.from_ms = a->now_ms;
	rc = sat_store_grant_put(a->store, &grant, err);
	if (rc == SAT_OK)
		rc = sat_engine_rights_changed(a->engine, err);
	return rc == SAT_OK ? answer_id(ret, &id, err) : rc;
}

int sat_op_user_list(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err)
{
	static const char *const columns[] = { "login", "name", "role",
					       "territory_id", "active" };

	(void)args;
	return list_rows(a, "user", columns, SAT_COUNT_OF(columns), ret, err);
}

int sat_op_user_disable(struct sat_admin *a, const json_t *args, json_t *ret,
			struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_row_draft d;
	struct sat_user user;
	const char *login;
	int rc;

	rc = sat_arg_text(args, "login", &login, err);
	if (rc == SAT_OK)
		rc = sat_store_user_login(a->store, login, &user, err);
	if (rc == SAT_OK)
		rc = sat_admin_table(a, "user", &t, err);
	if (rc != SAT_OK)
		return rc;
	sat_draft_init(&d, SAT_OP_UPDATE, t, &user.id);
	rc = sat_draft_set(&d, "active", sat_value_int(0), err);
	if (rc == SAT_OK)
		rc = sat_admin_write(a, &d, err);
	if (rc == SAT_OK)
		rc = sat_engine_rights_changed(a->engine, err);
	return rc == SAT_OK ? answer_id(ret, &user.id, err) : rc;
}

/* An optional time argument; 0 when absent. */
static int read_time(const json_t *args, const char *name, int64_t *ret,
		     struct sat_err *err)
{
	const char *text = sat_arg_text_or_null(args, name);

	*ret = 0;
	if (text == NULL || sat_time_parse(sat_slice_str(text), ret))
		return SAT_OK;
	return sat_err_set(err, SAT_E_INVAL, 0, "arguments",
			   "--%s is a day (2026-11-21) or a UTC time", name);
}

int sat_op_grant_add(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err)
{
	const char *role_name = sat_arg_text_or_null(args, "role");
	struct sat_grant grant = { .no = 0 };
	const char *login, *territory;
	struct sat_user user;
	int rc;

	rc = sat_arg_text(args, "login", &login, err);
	if (rc == SAT_OK)
		rc = sat_arg_text(args, "territory", &territory, err);
	if (rc == SAT_OK)
		rc = sat_store_user_login(a->store, login, &user, err);
	if (rc == SAT_OK)
		rc = sat_admin_find(a, "territory", "code", territory,
				    &grant.territory, err);
	if (rc == SAT_OK)
		rc = read_time(args, "from", &grant.from_ms, err);
	if (rc == SAT_OK)
		rc = read_time(args, "to", &grant.to_ms, err);
	grant.role = user.role;
	if (rc == SAT_OK && role_name != NULL)
		rc = read_role(role_name, &grant.role, err);
	if (rc != SAT_OK)
		return rc;
	grant.user = user.id;
	if (grant.from_ms == 0)
		grant.from_ms = a->now_ms;
	rc = sat_store_grant_put(a->store, &grant, err);
	if (rc == SAT_OK)
		rc = sat_engine_user_rights_changed(a->engine, &grant.user,
						    err);
	if (rc == SAT_OK &&
	    json_object_set_new(ret, "grant", json_integer(grant.no)) != 0)
		rc = out_of_memory(err);
	return rc;
}

static json_t *time_json(int64_t ms)
{
	char text[25];

	if (ms == 0)
		return json_null();
	sat_time_format(ms, text);
	return json_string(text);
}

int sat_op_grant_list(struct sat_admin *a, const json_t *args, json_t *ret,
		      struct sat_err *err)
{
	json_t *rows = json_array(), *line;
	struct sat_grant *grants;
	struct sat_arena arena;
	uint32_t count;
	int rc;

	(void)args;
	sat_arena_init(&arena, 64 << 20);
	rc = sat_store_grants(a->store, NULL, &arena, &grants, &count, err);
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
		const struct sat_grant *g = &grants[i];

		line = json_pack(
			"[i, o, o, s, o, o]", (int)g->no,
			text_of(a, "user", &g->user, "login", &arena),
			text_of(a, "territory", &g->territory, "code", &arena),
			sat_role_name(g->role), time_json(g->from_ms),
			time_json(g->to_ms));
		if (json_array_append_new(rows, line) != 0)
			rc = out_of_memory(err);
	}
	sat_arena_fini(&arena);
	if (rc != SAT_OK) {
		json_decref(rows);
		return rc;
	}
	return answer_table(ret,
			    json_pack("[s, s, s, s, s, s]", "grant", "login",
				      "territory", "role", "from", "to"),
			    rows, err);
}

/* ---- invitations and devices -------------------------------------------- */

/* HOST or HOST:PORT as HOST:PORT; the port of the default where none is
 * given. */
static int read_host(const struct sat_admin *a, const char *text,
		     char out[SAT_ADVERTISE_CHARS], struct sat_err *err)
{
	uint16_t port = 7443, own;
	char host[256];

	if (sat_hostport_parse(sat_slice_str(a->advertise), port, host, &own))
		port = own;
	if (text == NULL)
		text = a->advertise;
	if (!sat_hostport_parse(sat_slice_str(text), port, host, &port) ||
	    port == 0 || strchr(host, '/') != NULL)
		return sat_err_set(
			err, SAT_E_INVAL, 0, "invite",
			"devices cannot reach \"%.200s\"; it must be "
			"HOST:PORT",
			text);
	(void)snprintf(out, SAT_ADVERTISE_CHARS,
		       strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
		       (unsigned)port);
	return SAT_OK;
}

int sat_op_invite(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err)
{
	char token[SAT_TOKEN_CHARS + 1], host[SAT_ADVERTISE_CHARS];
	struct sat_invite invite = { .used = false };
	struct sat_user user;
	const char *login;
	int rc;

	rc = sat_arg_text(args, "login", &login, err);
	if (rc == SAT_OK)
		rc = read_host(a, sat_arg_text_or_null(args, "host"), host,
			       err);
	if (rc == SAT_OK)
		rc = sat_store_user_login(a->store, login, &user, err);
	if (rc == SAT_OK && !user.active)
		rc = sat_err_set(err, SAT_E_DENIED, 0, "invite",
				 "user %s is disabled", login);
	if (rc == SAT_OK)
		rc = sat_token_new(token, err);
	if (rc == SAT_OK)
		rc = sat_token_hash(sat_slice_str(token), invite.token_hash,
				    err);
	if (rc != SAT_OK)
		return rc;
	invite.user = user.id;
	invite.expires_ms = a->now_ms + a->invite_ms;
	rc = sat_store_invite_put(a->store, &invite, err);
	if (rc == SAT_OK &&
	    (json_object_set_new(ret, "token", json_string(token)) != 0 ||
	     json_object_set_new(ret, "host", json_string(host)) != 0 ||
	     json_object_set_new(ret, "expires",
				 time_json(invite.expires_ms)) != 0))
		rc = out_of_memory(err);
	sat_secret_wipe(token, sizeof token);
	return rc;
}

static const char *state_name(int state)
{
	switch (state) {
	case SAT_DEVICE_ACTIVE:
		return "active";
	case SAT_DEVICE_WIPING:
		return "wiping";
	default:
		return "revoked";
	}
}

int sat_op_device_list(struct sat_admin *a, const json_t *args, json_t *ret,
		       struct sat_err *err)
{
	json_t *rows = json_array(), *line;
	struct sat_device *devices;
	struct sat_arena arena;
	uint32_t count;
	int rc;

	(void)args;
	sat_arena_init(&arena, 256 << 20);
	rc = sat_store_devices(a->store, &arena, &devices, &count, err);
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
		const struct sat_device *d = &devices[i];

		line = json_pack(
			"[I, o, s, s, I, I, o, o]", (json_int_t)d->replica,
			text_of(a, "user", &d->user, "login", &arena), d->name,
			state_name((int)d->state), (json_int_t)d->last_seq,
			(json_int_t)d->cursor, time_json(d->enrolled_ms),
			time_json(d->seen_ms));
		if (json_array_append_new(rows, line) != 0)
			rc = out_of_memory(err);
	}
	sat_arena_fini(&arena);
	if (rc != SAT_OK) {
		json_decref(rows);
		return rc;
	}
	return answer_table(ret,
			    json_pack("[s, s, s, s, s, s, s, s]", "device",
				      "login", "name", "state", "changesets",
				      "cursor", "enrolled", "seen"),
			    rows, err);
}
