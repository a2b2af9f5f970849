#include "server/admin/ops_move.h"

#include <stdlib.h>
#include <string.h>

#include "server/admin/rows.h"

enum { AUDIT_SHOWN = 100, DETAIL_SHOWN = 200, MOVED_BYTES_MAX = 64 << 20 };

static int out_of_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "answer", "out of memory");
}

/* ---- what every move ends with ------------------------------------------ */

/* Rows and devices concerned; of a dry run nothing stays. undo (taken) goes
 * to the audit record. */
static int finish(struct sat_admin *a, const json_t *args, uint64_t rows,
		  const struct sat_id *territories, uint32_t count,
		  json_t *undo, json_t *ret, struct sat_err *err)
{
	bool dry = sat_arg_flag(args, "dry-run");
	uint32_t devices;
	int rc;

	rc = sat_engine_devices_concerned(a->engine, territories, count,
					  &devices, err);
	if (rc == SAT_OK &&
	    (json_object_set_new(ret, "rows", json_integer((json_int_t)rows)) ||
	     json_object_set_new(ret, "devices", json_integer(devices)) ||
	     (dry && json_object_set_new(ret, "dry run", json_true()) != 0) ||
	     (!dry && undo != NULL &&
	      json_object_set(ret, SAT_ADMIN_UNDO, undo) != 0)))
		rc = out_of_memory(err);
	json_decref(undo);
	return rc == SAT_OK && dry ? SAT_AGAIN : rc;
}

static json_t *id_json(const struct sat_id *id)
{
	char text[SAT_UUID_CHARS + 1];

	sat_id_format(id, text);
	return json_string(text);
}

static bool json_id(const json_t *v, struct sat_id *ret)
{
	const char *text = json_string_value(v);

	return text != NULL && sat_id_parse(sat_slice_str(text), ret);
}

/* One column of one row. */
static int set_ref(struct sat_admin *a, const struct sat_table *t,
		   const struct sat_id *id, const char *column,
		   const struct sat_id *to, struct sat_err *err)
{
	struct sat_row_draft d;
	int rc;

	sat_draft_init(&d, SAT_OP_UPDATE, t, id);
	rc = sat_draft_set(&d, column,
			   to != NULL ? sat_value_id(to) : sat_value_null(),
			   err);
	return rc == SAT_OK ? sat_admin_write(a, &d, err) : rc;
}

/* The id in a reference column; false when the row is not there or deleted,
 * or refers to nothing. */
static int get_ref(struct sat_admin *a, const struct sat_table *t,
		   const struct sat_id *id, const char *column,
		   struct sat_id *ret, bool *ret_there, struct sat_err *err)
{
	struct sat_stored_row row;
	struct sat_arena arena;
	int c, rc;

	*ret_there = false;
	sat_arena_init(&arena, MOVED_BYTES_MAX);
	rc = sat_admin_column(t, column, &c, err);
	if (rc == SAT_OK)
		rc = sat_store_row_get(a->store, t, id, &arena, &row, err);
	if (rc == SAT_OK && row.seq != 0 && !row.deleted &&
	    row.values[c].kind == SAT_BLOB &&
	    row.values[c].s.len == sizeof ret->b) {
		memcpy(ret->b, row.values[c].s.ptr, sizeof ret->b);
		*ret_there = true;
	}
	sat_arena_fini(&arena);
	return rc;
}

/* ---- territories --------------------------------------------------------- */

/* Would parent be below id? Climbs from parent to the root. */
static int makes_a_cycle(struct sat_admin *a, const struct sat_table *t,
			 const struct sat_id *id, struct sat_id parent,
			 struct sat_err *err)
{
	bool there = true;
	int rc = SAT_OK;

	for (unsigned depth = 0; rc == SAT_OK && there && depth < 64; depth++) {
		if (memcmp(parent.b, id->b, sizeof id->b) == 0)
			return sat_err_set(err, SAT_E_INVAL, 0,
					   "territory move",
					   "a territory cannot be moved below "
					   "itself");
		rc = get_ref(a, t, &parent, "parent_id", &parent, &there, err);
	}
	return rc;
}

/* parent NULL: to the top, where it may have been before. */
static int reparent(struct sat_admin *a, const json_t *args,
		    const struct sat_table *t, const struct sat_id *id,
		    const struct sat_id *parent, json_t *ret,
		    struct sat_err *err)
{
	struct sat_id was;
	uint64_t rows = 0;
	bool had;
	int rc =
		parent == NULL ? SAT_OK : makes_a_cycle(a, t, id, *parent, err);

	if (rc == SAT_OK)
		rc = get_ref(a, t, id, "parent_id", &was, &had, err);
	if (rc == SAT_OK)
		rc = set_ref(a, t, id, "parent_id", parent, err);
	if (rc == SAT_OK)
		rc = sat_engine_rights_changed(a->engine, err);
	if (rc == SAT_OK)
		rc = sat_engine_rows_below(a->engine, id, &rows, err);
	if (rc == SAT_OK && json_object_set_new(ret, "id", id_json(id)) != 0)
		rc = out_of_memory(err);
	if (rc != SAT_OK)
		return rc;
	return finish(a, args, rows, NULL, 0,
		      json_pack("{s:o, s:o, s:o?}", "territory", id_json(id),
				"to",
				parent != NULL ? id_json(parent) : json_null(),
				"from", had ? id_json(&was) : json_null()),
		      ret, err);
}

int sat_op_territory_move(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err)
{
	const char *code, *parent;
	const struct sat_table *t;
	struct sat_id id, parent_id;
	int rc;

	rc = sat_arg_text(args, "code", &code, err);
	if (rc == SAT_OK)
		rc = sat_arg_text(args, "parent", &parent, err);
	if (rc == SAT_OK)
		rc = sat_admin_table(a, "territory", &t, err);
	if (rc == SAT_OK)
		rc = sat_admin_find(a, "territory", "code", code, &id, err);
	if (rc == SAT_OK)
		rc = sat_admin_find(a, "territory", "code", parent, &parent_id,
				    err);
	return rc == SAT_OK ? reparent(a, args, t, &id, &parent_id, ret, err)
			    : rc;
}

/* ---- accounts ------------------------------------------------------------ */

struct moved {
	struct sat_id *list;
	uint32_t count, cap;
	struct sat_arena *arena;
};

static int add_moved(struct moved *m, const struct sat_id *id)
{
	struct sat_id *grown;
	uint32_t cap;

	if (m->count == m->cap) {
		cap = m->cap == 0 ? 64 : m->cap * 2;
		grown = sat_arena_array(m->arena, cap, sizeof *grown);
		if (grown == NULL)
			return SAT_E_NOMEM;
		if (m->count > 0)
			memcpy(grown, m->list, m->count * sizeof *grown);
		m->list = grown;
		m->cap = cap;
	}
	m->list[m->count++] = *id;
	return SAT_OK;
}

static int on_account(void *arg, const struct sat_table *t,
		      const struct sat_stored_row *row)
{
	(void)t;
	return row->deleted ? SAT_OK : add_moved(arg, &row->id);
}

/* The accounts of the arguments, and where they are and shall be. */
static int read_accounts(struct sat_admin *a, const json_t *args,
			 const struct sat_table *t, struct moved *m,
			 struct sat_id *from, struct sat_id *to,
			 struct sat_err *err)
{
	const char *account = sat_arg_text_or_null(args, "account");
	const char *territory = sat_arg_text_or_null(args, "territory");
	const char *patch = sat_arg_text_or_null(args, "from");
	const char *other = sat_arg_text_or_null(args, "to");
	struct sat_value v = sat_value_id(from);
	struct sat_id id;
	bool there;
	int column, rc;

	if ((account == NULL) != (territory == NULL) ||
	    (patch == NULL) != (other == NULL) ||
	    (account == NULL) == (patch == NULL))
		return sat_err_set(
			err, SAT_E_INVAL, 0, "account move",
			"either --account and --territory, or --from "
			"and --to, are needed");
	rc = sat_admin_find(a, "territory", "code",
			    patch != NULL ? other : territory, to, err);
	if (rc == SAT_OK && patch != NULL) {
		rc = sat_admin_find(a, "territory", "code", patch, from, err);
		if (rc == SAT_OK)
			rc = sat_admin_column(t, "territory_id", &column, err);
		if (rc == SAT_OK)
			rc = sat_store_rows(a->store, t, column, &v, on_account,
					    m, err);
		return rc == SAT_E_NOMEM ? out_of_memory(err) : rc;
	}
	if (rc == SAT_OK && !sat_id_parse(sat_slice_str(account), &id))
		rc = sat_admin_find(a, "account", "name", account, &id, err);
	if (rc == SAT_OK)
		rc = get_ref(a, t, &id, "territory_id", from, &there, err);
	if (rc == SAT_OK && !there)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "account move",
				 "there is no such account");
	if (rc == SAT_OK && add_moved(m, &id) != SAT_OK)
		rc = out_of_memory(err);
	return rc;
}

/* In one commit: children follow, devices of both sides learn of it. */
static int move_accounts(struct sat_admin *a, const json_t *args,
			 const struct sat_table *t, const struct moved *m,
			 const struct sat_id *from, const struct sat_id *to,
			 json_t *ret, struct sat_err *err)
{
	const struct sat_id both[2] = { *from, *to };
	uint64_t head = sat_engine_head(a->engine);
	json_t *ids = json_array();
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < m->count; i++) {
		rc = set_ref(a, t, &m->list[i], "territory_id", to, err);
		if (rc == SAT_OK &&
		    json_array_append_new(ids, id_json(&m->list[i])) != 0)
			rc = out_of_memory(err);
	}
	if (rc == SAT_OK &&
	    json_object_set_new(ret, "accounts", json_integer(m->count)) != 0)
		rc = out_of_memory(err);
	if (rc != SAT_OK) {
		json_decref(ids);
		return rc;
	}
	return finish(a, args, sat_engine_head(a->engine) - head, both, 2,
		      json_pack("{s:o, s:o, s:o}", "accounts", ids, "from",
				id_json(from), "to", id_json(to)),
		      ret, err);
}

int sat_op_account_move(struct sat_admin *a, const json_t *args, json_t *ret,
			struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_arena arena;
	struct moved m = { .arena = &arena };
	struct sat_id from, to;
	int rc = sat_admin_table(a, "account", &t, err);

	if (rc != SAT_OK)
		return rc;
	sat_arena_init(&arena, MOVED_BYTES_MAX);
	rc = read_accounts(a, args, t, &m, &from, &to, err);
	if (rc == SAT_OK)
		rc = move_accounts(a, args, t, &m, &from, &to, ret, err);
	sat_arena_fini(&arena);
	return rc;
}

/* ---- grants ---------------------------------------------------------------
 */

static int find_grant(struct sat_admin *a, json_int_t no, struct sat_grant *ret,
		      struct sat_err *err)
{
	struct sat_grant *list;
	struct sat_arena arena;
	uint32_t count;
	int rc;

	sat_arena_init(&arena, MOVED_BYTES_MAX);
	rc = sat_store_grants(a->store, NULL, &arena, &list, &count, err);
	if (rc != SAT_OK)
		goto out;
	rc = SAT_E_NOTFOUND;
	for (uint32_t i = 0; i < count; i++) {
		if (list[i].no == no) {
			*ret = list[i];
			rc = SAT_OK;
		}
	}
	if (rc != SAT_OK)
		(void)sat_err_set(err, rc, 0, "grant", "there is no grant %lld",
				  (long long)no);
out:
	sat_arena_fini(&arena);
	return rc;
}

int sat_op_grant_remove(struct sat_admin *a, const json_t *args, json_t *ret,
			struct sat_err *err)
{
	const json_t *no = json_object_get(args, "grant");
	struct sat_grant g;
	uint64_t rows;
	int rc;

	if (!json_is_integer(no) || json_integer_value(no) <= 0 ||
	    json_integer_value(no) > UINT32_MAX)
		return sat_err_set(err, SAT_E_INVAL, 0, "grant remove",
				   "--grant is a number from `grant list`");
	rc = find_grant(a, json_integer_value(no), &g, err);
	if (rc == SAT_OK)
		rc = sat_store_grant_remove(a->store, g.no, err);
	if (rc == SAT_OK)
		rc = sat_engine_user_rights_changed(a->engine, &g.user, err);
	if (rc == SAT_OK)
		rc = sat_engine_rows_below(a->engine, &g.territory, &rows, err);
	if (rc != SAT_OK)
		return rc;
	return finish(a, args, rows, NULL, 0,
		      json_pack("{s:i, s:o, s:o, s:s, s:I, s:I}", "grant",
				(int)g.no, "user", id_json(&g.user),
				"territory", id_json(&g.territory), "role",
				sat_role_name(g.role), "from_ms",
				(json_int_t)g.from_ms, "to_ms",
				(json_int_t)g.to_ms),
		      ret, err);
}

/* ---- undo -----------------------------------------------------------------
 */

/* Accounts that are still where the move put them go back. */
static int undo_accounts(struct sat_admin *a, const json_t *args,
			 const json_t *undo, json_t *ret, struct sat_err *err)
{
	const json_t *ids = json_object_get(undo, "accounts");
	const struct sat_table *t;
	struct sat_id from, to, id, at;
	struct sat_arena arena;
	struct moved m = { .arena = &arena };
	bool there;
	int rc = sat_admin_table(a, "account", &t, err);

	if (rc != SAT_OK)
		return rc;
	if (!json_id(json_object_get(undo, "from"), &from) ||
	    !json_id(json_object_get(undo, "to"), &to))
		return sat_err_set(err, SAT_E_CORRUPT, 0, "undo",
				   "the audit record is damaged");
	sat_arena_init(&arena, MOVED_BYTES_MAX);
	for (size_t i = 0; rc == SAT_OK && i < json_array_size(ids); i++) {
		if (!json_id(json_array_get(ids, i), &id))
			continue;
		rc = get_ref(a, t, &id, "territory_id", &at, &there, err);
		if (rc == SAT_OK && there &&
		    memcmp(at.b, to.b, sizeof at.b) == 0 &&
		    add_moved(&m, &id) != SAT_OK)
			rc = out_of_memory(err);
	}
	if (rc == SAT_OK &&
	    json_object_set_new(ret, "moved on since",
				json_integer((json_int_t)(json_array_size(ids) -
							  m.count))) != 0)
		rc = out_of_memory(err);
	if (rc == SAT_OK)
		rc = move_accounts(a, args, t, &m, &to, &from, ret, err);
	sat_arena_fini(&arena);
	return rc;
}

static int undo_territory(struct sat_admin *a, const json_t *args,
			  const json_t *undo, json_t *ret, struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_id id, from, to, at;
	bool there, top = !json_id(json_object_get(undo, "from"), &from);
	int rc = sat_admin_table(a, "territory", &t, err);

	if (rc != SAT_OK)
		return rc;
	if (!json_id(json_object_get(undo, "territory"), &id))
		return sat_err_set(err, SAT_E_CORRUPT, 0, "undo",
				   "the audit record is damaged");
	rc = get_ref(a, t, &id, "parent_id", &at, &there, err);
	if (rc == SAT_OK &&
	    (there != json_id(json_object_get(undo, "to"), &to) ||
	     (there && memcmp(at.b, to.b, sizeof at.b) != 0)))
		return sat_err_set(err, SAT_E_INVAL, 0, "undo",
				   "the territory has been moved again since");
	return rc == SAT_OK
		       ? reparent(a, args, t, &id, top ? NULL : &from, ret, err)
		       : rc;
}

static int undo_grant(struct sat_admin *a, const json_t *args,
		      const json_t *undo, json_t *ret, struct sat_err *err)
{
	const char *role = json_string_value(json_object_get(undo, "role"));
	struct sat_grant g = {
		.role = sat_role_of(sat_slice_str(role != NULL ? role : "")),
		.from_ms = json_integer_value(json_object_get(undo, "from_ms")),
		.to_ms = json_integer_value(json_object_get(undo, "to_ms")),
	};
	uint64_t rows = 0;
	int rc;

	if (!json_id(json_object_get(undo, "user"), &g.user) ||
	    !json_id(json_object_get(undo, "territory"), &g.territory) ||
	    g.role >= SAT_ROLE_SERVER)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "undo",
				   "the audit record is damaged");
	rc = sat_store_grant_put(a->store, &g, err);
	if (rc == SAT_OK)
		rc = sat_engine_user_rights_changed(a->engine, &g.user, err);
	if (rc == SAT_OK)
		rc = sat_engine_rows_below(a->engine, &g.territory, &rows, err);
	if (rc == SAT_OK &&
	    json_object_set_new(ret, "grant", json_integer(g.no)) != 0)
		rc = out_of_memory(err);
	return rc == SAT_OK ? finish(a, args, rows, NULL, 0, NULL, ret, err)
			    : rc;
}

int sat_op_undo(struct sat_admin *a, const json_t *args, json_t *ret,
		struct sat_err *err)
{
	const char *number;
	struct sat_slice what, detail;
	uint64_t no = 0;
	struct sat_arena arena;
	const json_t *undo;
	json_t *record = NULL;
	int rc;

	rc = sat_arg_text(args, "audit", &number, err);
	if (rc != SAT_OK)
		return rc;
	for (size_t i = 0; number[i] >= '0' && number[i] <= '9' && i < 15; i++)
		no = no * 10 + (uint64_t)(number[i] - '0');
	sat_arena_init(&arena, MOVED_BYTES_MAX);
	rc = sat_store_audit_get(a->store, no, &arena, &what, &detail, err);
	if (rc == SAT_OK && detail.len > 0)
		record = json_loadb((const char *)detail.ptr, detail.len, 0,
				    NULL);
	undo = json_object_get(record, SAT_ADMIN_UNDO);
	if (rc == SAT_OK && undo == NULL)
		rc = sat_err_set(err, SAT_E_INVAL, 0, "undo",
				 "audit record %llu is no move; `audit list` "
				 "shows which are",
				 (unsigned long long)no);
	else if (rc == SAT_OK && json_object_get(undo, "accounts") != NULL)
		rc = undo_accounts(a, args, undo, ret, err);
	else if (rc == SAT_OK && json_object_get(undo, "grant") != NULL)
		rc = undo_grant(a, args, undo, ret, err);
	else if (rc == SAT_OK)
		rc = undo_territory(a, args, undo, ret, err);
	json_decref(record);
	sat_arena_fini(&arena);
	return rc;
}

/* ---- the list -------------------------------------------------------------
 */

static json_t *short_detail(const struct sat_value *v, bool *ret_undo)
{
	json_t *record, *shown;
	char *text;

	*ret_undo = false;
	if (v->kind != SAT_TEXT)
		return json_string("");
	record = json_loadb((const char *)v->s.ptr, v->s.len, 0, NULL);
	*ret_undo = json_object_get(record, SAT_ADMIN_UNDO) != NULL;
	(void)json_object_del(record, SAT_ADMIN_UNDO);
	text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
	shown = text == NULL ? json_string("")
			     : json_stringn(text, strlen(text) < DETAIL_SHOWN
							  ? strlen(text)
							  : DETAIL_SHOWN);
	if (shown == NULL) /* cut inside a character */
		shown = json_string("...");
	json_decref(record);
	free(text);
	return shown;
}

static int on_audit(void *arg, int columns, const char *const *names,
		    const struct sat_value *v)
{
	json_t *rows = arg, *detail;
	char at[25];
	bool undo;

	(void)names;
	if (columns < 5 || v[1].kind != SAT_INT)
		return SAT_E_CORRUPT;
	sat_time_format(v[1].i, at);
	detail = short_detail(&v[4], &undo);
	return json_array_append_new(
		       rows,
		       json_pack("[I, s, s%, s%, s, o]", (json_int_t)v[0].i, at,
				 v[2].s.ptr, v[2].s.len, v[3].s.ptr, v[3].s.len,
				 undo ? "yes" : "", detail)) == 0
		       ? SAT_OK
		       : SAT_E_NOMEM;
}

int sat_op_audit_list(struct sat_admin *a, const json_t *args, json_t *ret,
		      struct sat_err *err)
{
	const json_t *after = json_object_get(args, "after");
	json_t *rows = json_array();
	int64_t from = json_integer_value(after);
	uint64_t last = 0;
	int rc = sat_store_audit_last(a->store, &last, err);

	if (after == NULL)
		from = (int64_t)last - AUDIT_SHOWN;
	if (rc == SAT_OK)
		rc = sat_store_audit_list(a->store, from, on_audit, rows, err);
	if (rc == SAT_E_NOMEM)
		rc = out_of_memory(err);
	if (rc != SAT_OK) {
		json_decref(rows);
		return rc;
	}
	if (json_object_set_new(ret, "columns",
				json_pack("[s, s, s, s, s, s]", "audit", "at",
					  "who", "what", "undo", "detail")) !=
		    0 ||
	    json_object_set_new(ret, "rows", rows) != 0)
		return out_of_memory(err);
	return SAT_OK;
}
