/* history: a row's story, told from the changesets themselves. A row's
 * version vector names the last write of each replica; each write's context
 * names the ones before it. Following them back visits every changeset that
 * ever touched the row, without an index. */
#include <stdlib.h>
#include <string.h>

#include "proto/changeset.h"
#include "server/admin/ops_data.h"
#include "server/admin/rows.h"
#include "server/commit/ledger_names.h"

enum { WRITES_MAX = 10000, LINES_MAX = 200000 };

/* A line of the answer: a write of a field, or of the row (column -1). Its
 * number stands at the end of the line until lines are told. */
struct write {
	struct sat_dot dot;
	int column;
	struct sat_vv seen;
};

struct walk {
	struct sat_admin *a;
	const struct sat_table *table;
	struct sat_id id;
	struct sat_dot *dots; /* all that were found; [0, done) are told */
	uint32_t count, done;
	json_t *rows;
	struct sat_arena mem; /* of state */
	struct sat_row state; /* as it is now */
	json_t *losses;       /* "FIELD DOT" of a losing write: to whom, why */
	int only;             /* why: that field; -1: all */
	struct write *writes; /* one for each line */
	size_t write_count, write_cap;
};

static int add_dot(struct walk *w, struct sat_dot dot, struct sat_err *err)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (sat_dot_compare(w->dots[i], dot) == 0)
			return SAT_OK;
	if (w->count == WRITES_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "history",
				   "the row has more than %d writes",
				   WRITES_MAX);
	w->dots[w->count++] = dot;
	return SAT_OK;
}

static int add_vector(struct walk *w, struct sat_vv v, struct sat_err *err)
{
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < v.count; i++)
		rc = add_dot(w, v.dots[i], err);
	return rc;
}

/* Login of a replica's user, and the device's name. */
static void name_author(const struct walk *w, uint32_t replica,
			struct sat_user *user, struct sat_device *device)
{
	struct sat_err none;

	*user = (struct sat_user){ .login = "server" };
	*device = (struct sat_device){ .name = "server" };
	if (sat_store_device_get(w->a->store, replica, device, &none) !=
		    SAT_OK ||
	    sat_store_user_get(w->a->store, &device->user, user, &none) !=
		    SAT_OK)
		*user = (struct sat_user){ .login = "server" };
}

/* ---- what became of a write ---------------------------------------------- */

static const char *ledger_text(struct sat_arena *a, const struct sat_table *t,
			       const struct sat_stored_row *row,
			       const char *column)
{
	int at = sat_table_column(t, sat_slice_str(column));
	const char *text = NULL;

	if (at >= 0 && row->values[at].kind == SAT_TEXT)
		text = sat_arena_string(a, row->values[at].s);
	return text == NULL ? "" : text;
}

/* The replica of "9:1". */
static uint32_t replica_of(const char *dot)
{
	unsigned long n = strtoul(dot, NULL, 10);

	return n > UINT32_MAX ? 0 : (uint32_t)n;
}

static int on_entry(void *arg, const struct sat_table *t,
		    const struct sat_stored_row *row)
{
	struct walk *w = arg;
	struct sat_arena *a = &w->mem;
	const char *shown_dot = ledger_text(a, t, row, SAT_LEDGER_SHOWN_DOT);
	struct sat_device device;
	struct sat_user user;
	char key[128], why[512];

	if (row->deleted || strcmp(ledger_text(a, t, row, SAT_LEDGER_TABLE),
				   w->table->name) != 0)
		return SAT_OK;
	name_author(w, replica_of(shown_dot), &user, &device);
	(void)snprintf(key, sizeof key, "%.60s %.60s",
		       ledger_text(a, t, row, SAT_LEDGER_FIELD),
		       ledger_text(a, t, row, SAT_LEDGER_LOSING_DOT));
	(void)snprintf(why, sizeof why, "lost to %.200s of %s: %s, %s",
		       ledger_text(a, t, row, SAT_LEDGER_SHOWN), user.login,
		       ledger_text(a, t, row, SAT_LEDGER_POLICY),
		       ledger_text(a, t, row, SAT_LEDGER_OUTCOME));
	return json_object_set_new(w->losses, key,
				   json_stringn_nocheck(why, strlen(why))) == 0
		       ? SAT_OK
		       : SAT_E_NOMEM;
}

/* The ledger's entries about the row. */
static int read_losses(struct walk *w, struct sat_err *err)
{
	const struct sat_table *t = sat_catalogue_table(
		sat_store_catalogue(w->a->store), sat_slice_str("conflict"));
	int at = t == NULL ? -1
			   : sat_table_column(t, sat_slice_str(SAT_LEDGER_ROW));
	char id[SAT_UUID_CHARS + 1];
	struct sat_value key;

	if (at < 0)
		return SAT_OK;
	sat_id_format(&w->id, id);
	key = sat_value_text(sat_slice_str(id));
	return sat_store_rows(w->a->store, t, at, &key, on_entry, w, err);
}

static const char *outcome(const struct walk *w, struct sat_dot dot,
			   const char *dot_text, int column)
{
	const struct sat_column *col;
	const struct sat_field *f;
	const char *lost;
	char key[128];

	if (column < 0)
		return sat_row_alive(&w->state) ? "the row lives" : "deleted";
	col = &w->table->columns[column];
	f = &w->state.fields[column];
	if (col->policy == SAT_POLICY_SET || col->policy == SAT_POLICY_COUNTER)
		return "counted in";
	for (uint32_t i = 0; i < f->count; i++)
		if (sat_dot_compare(f->writes[i].dot, dot) == 0 &&
		    i == sat_field_shown(col, f))
			return "shown now";
	(void)snprintf(key, sizeof key, "%.60s %.60s", col->name, dot_text);
	lost = json_string_value(json_object_get(w->losses, key));
	if (lost != NULL)
		return lost;
	for (uint32_t i = 0; i < f->count; i++)
		if (sat_dot_compare(f->writes[i].dot, dot) == 0)
			return "kept beside what is shown";
	return "replaced";
}

/* ---- the writes ---------------------------------------------------------- */

static json_t *set_change_json(const struct sat_change *c)
{
	json_t *j = json_pack("{s:[], s:[]}", "add", "remove");

	for (uint32_t i = 0; i < c->add_count; i++)
		(void)json_array_append_new(
			json_object_get(j, "add"),
			json_stringn((const char *)c->adds[i].ptr,
				     c->adds[i].len));
	for (uint32_t i = 0; i < c->remove_count; i++)
		(void)json_array_append_new(
			json_object_get(j, "remove"),
			json_stringn((const char *)c->removes[i].ptr,
				     c->removes[i].len));
	return j;
}

static int add_write(struct walk *w, struct sat_dot dot, int column,
		     struct sat_vv seen)
{
	size_t cap = w->write_cap == 0 ? 64 : 2 * w->write_cap;
	struct write *more;

	if (w->write_count == LINES_MAX)
		return SAT_E_LIMIT;
	if (w->write_count == w->write_cap) {
		more = realloc(w->writes, cap * sizeof *more);
		if (more == NULL)
			return SAT_E_NOMEM;
		w->writes = more;
		w->write_cap = cap;
	}
	w->writes[w->write_count].dot = dot;
	w->writes[w->write_count].column = column;
	if (sat_vv_copy(&w->mem, seen, &w->writes[w->write_count].seen) !=
	    SAT_OK)
		return SAT_E_NOMEM;
	w->write_count++;
	return SAT_OK;
}

/* c is NULL for the row as a whole: a delete. */
static int tell_write(struct walk *w, struct sat_dot dot,
		      const struct sat_delta *d, const struct sat_change *c)
{
	static const char *const names[] = { "insert", "update", "delete" };
	const struct sat_column *col =
		c == NULL ? NULL : &w->table->columns[c->column];
	struct sat_device device;
	struct sat_user user;
	char at[25], dot_text[48];
	int rc = add_write(w, dot, c == NULL ? -1 : (int)c->column, d->context);

	if (rc != SAT_OK)
		return rc;
	name_author(w, dot.replica, &user, &device);
	sat_time_format(c == NULL ? d->at_ms : c->at_ms, at);
	(void)snprintf(dot_text, sizeof dot_text, "%lu:%llu",
		       (unsigned long)dot.replica, (unsigned long long)dot.seq);
	rc = json_array_append_new(
		w->rows,
		json_pack("[s, s, s, s, s, s?, o, o, s, I]", at, user.login,
			  device.name, dot_text, names[d->op],
			  col == NULL ? NULL : col->name,
			  col == NULL ? json_null()
			  : col->type == SAT_TYPE_SET
				  ? set_change_json(c)
				  : sat_value_json(col, &c->value),
			  col == NULL ? json_null()
				      : sat_value_json(col, &c->before),
			  outcome(w, dot, dot_text,
				  col == NULL ? -1 : (int)c->column),
			  (json_int_t)w->write_count - 1));
	return rc == 0 ? SAT_OK : SAT_E_NOMEM;
}

/* One line per changed field; one for a delete. */
static int tell_delta(struct walk *w, struct sat_dot dot,
		      const struct sat_delta *d, struct sat_err *err)
{
	int rc = SAT_OK;

	if (d->change_count == 0)
		rc = tell_write(w, dot, d, NULL);
	for (uint32_t i = 0; rc == SAT_OK && i < d->change_count; i++)
		if (w->only < 0 || d->changes[i].column == w->only)
			rc = tell_write(w, dot, d, &d->changes[i]);
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "history",
					  rc == SAT_E_LIMIT
						  ? "the row's story is too "
						    "long"
						  : "out of memory");
}

/* Tell one changeset's part in the story and find the writes before it. A
 * changeset that is not kept any more (or never was: derived rows) ends that
 * branch. */
static int tell(struct walk *w, struct sat_dot dot, struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(w->a->store);
	struct sat_changeset cs;
	struct sat_arena arena;
	struct sat_buf bytes;
	uint8_t hash[16];
	int rc;

	sat_arena_init(&arena, (size_t)1 << 30);
	sat_buf_init(&bytes, SAT_CHANGESET_BYTES_MAX);
	rc = sat_store_changeset_get(w->a->store, dot, &bytes, hash, err);
	if (rc == SAT_OK)
		rc = sat_changeset_decode(c, sat_buf_peek(&bytes), &arena, &cs,
					  NULL, err);
	for (uint32_t i = 0; rc == SAT_OK && i < cs.delta_count; i++) {
		const struct sat_delta *d = &cs.deltas[i];

		if (d->table != w->table ||
		    memcmp(d->id.b, w->id.b, sizeof w->id.b) != 0)
			continue;
		rc = tell_delta(w, dot, d, err);
		if (rc == SAT_OK)
			rc = add_vector(w, d->context, err);
	}
	sat_buf_fini(&bytes);
	sat_arena_fini(&arena);
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

static int newest_first(const void *x, const void *y)
{
	const json_t *a = *(json_t *const *)x, *b = *(json_t *const *)y;

	return strcmp(json_string_value(json_array_get(b, 0)),
		      json_string_value(json_array_get(a, 0)));
}

static int sort_rows(struct walk *w, struct sat_err *err)
{
	size_t n = json_array_size(w->rows);
	json_t **all = calloc(n + 1, sizeof(json_t *));
	json_t *sorted = json_array();

	if (all == NULL || sorted == NULL) {
		free(all);
		json_decref(sorted);
		return sat_err_set(err, SAT_E_NOMEM, 0, "history",
				   "out of memory");
	}
	for (size_t i = 0; i < n; i++)
		all[i] = json_array_get(w->rows, i);
	qsort(all, n, sizeof(json_t *), newest_first);
	for (size_t i = 0; i < n; i++)
		(void)json_array_append(sorted, all[i]);
	free(all);
	json_decref(w->rows);
	w->rows = sorted;
	return SAT_OK;
}

/* Where the story starts: the row's vector as it is now. */
static int begin(struct walk *w, struct sat_err *err)
{
	struct sat_stored_row row;
	int rc = sat_store_row_get(w->a->store, w->table, &w->id, &w->mem, &row,
				   err);

	if (rc == SAT_OK && row.seq == 0)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "history",
				 "table %s has no such row", w->table->name);
	if (rc == SAT_OK) {
		rc = sat_meta_decode(&w->mem, w->table, row.meta, row.values,
				     &w->state);
		if (rc != SAT_OK)
			(void)sat_err_set(err, rc, 0, "history",
					  "the row's metadata is damaged; run "
					  "verify");
	}
	if (rc == SAT_OK)
		rc = add_vector(w, w->state.vv, err);
	return rc == SAT_OK ? read_losses(w, err) : rc;
}

/* ---- the answer ---------------------------------------------------------- */

/* The other writes of the field that the author of one had seen. */
static json_t *seen_json(const struct walk *w, const struct write *x)
{
	json_t *list = json_array();
	char dot[48];

	for (size_t i = 0; i < w->write_count; i++) {
		const struct write *y = &w->writes[i];

		if (y->column != x->column ||
		    sat_dot_compare(y->dot, x->dot) == 0 ||
		    !sat_vv_covers(x->seen, y->dot))
			continue;
		(void)snprintf(dot, sizeof dot, "%lu:%llu",
			       (unsigned long)y->dot.replica,
			       (unsigned long long)y->dot.seq);
		(void)json_array_append_new(list, json_string(dot));
	}
	return list;
}

/* A line's last cell, its write's number, gives way to what was seen; of a
 * whole row that would say too much. */
static int end_lines(struct walk *w, struct sat_err *err)
{
	json_t *row, *seen;
	size_t i, at;

	json_array_foreach(w->rows, i, row)
	{
		at = (size_t)json_integer_value(json_array_get(row, 9));
		if (w->only < 0) {
			(void)json_array_remove(row, 9);
			continue;
		}
		seen = seen_json(w, &w->writes[at]);
		if (seen == NULL || json_array_set_new(row, 9, seen) != 0)
			return sat_err_set(err, SAT_E_NOMEM, 0, "why",
					   "out of memory");
	}
	return SAT_OK;
}

static int answer(const struct walk *w, json_t *ret, struct sat_err *err)
{
	static const char *const titles[] = { "time",    "who",    "device",
					      "write",   "what",   "field",
					      "value",   "before", "outcome",
					      "had_seen" };
	json_t *columns = json_array();
	const struct sat_column *col;
	int rc = 0;

	for (size_t i = 0; i < (w->only < 0 ? 9 : 10); i++)
		rc |= json_array_append_new(columns, json_string(titles[i]));
	if (w->only >= 0) {
		col = &w->table->columns[w->only];
		rc |= json_object_set_new(
			ret, "policy",
			json_string(sat_policy_name(col->policy)));
		rc |= json_object_set_new(
			ret, "rule",
			json_sprintf(
				"%s / %s",
				sat_policy_rule(col->policy, SAT_LANG_EN),
				sat_policy_rule(col->policy, SAT_LANG_ZH)));
	}
	rc |= json_object_set_new(ret, "columns", columns);
	rc |= json_object_set(ret, "rows", w->rows);
	return rc == 0 ? SAT_OK
		       : sat_err_set(err, SAT_E_NOMEM, 0, "history",
				     "out of memory");
}

static int find_row(struct walk *w, const json_t *args, struct sat_err *err)
{
	const char *table, *id, *field;
	int rc = sat_arg_text(args, "table", &table, err);

	if (rc == SAT_OK)
		rc = sat_arg_text(args, "id", &id, err);
	if (rc == SAT_OK)
		rc = sat_admin_table(w->a, table, &w->table, err);
	if (rc == SAT_OK && !sat_id_parse(sat_slice_str(id), &w->id))
		rc = sat_err_set(err, SAT_E_INVAL, 0, "history",
				 "\"%s\" is not an id (a UUID)", id);
	w->only = -1;
	if (rc != SAT_OK || json_object_get(args, "field") == NULL)
		return rc;
	rc = sat_arg_text(args, "field", &field, err);
	if (rc == SAT_OK)
		w->only = sat_table_column(w->table, sat_slice_str(field));
	if (rc == SAT_OK && w->only < 0)
		rc = sat_err_set(err, SAT_E_INVAL, 0, "why",
				 "table %s has no field %.60s", table, field);
	return rc;
}

/* history, and with a field: why it is what it is. */
int sat_op_history(struct sat_admin *a, const json_t *args, json_t *ret,
		   struct sat_err *err)
{
	struct walk w = { .a = a };
	int rc = find_row(&w, args, err);

	if (rc != SAT_OK)
		return rc;
	w.dots = calloc(WRITES_MAX, sizeof *w.dots);
	w.rows = json_array();
	w.losses = json_object();
	sat_arena_init(&w.mem, 256 << 20);
	if (w.dots == NULL || w.rows == NULL || w.losses == NULL)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "history",
				 "out of memory");
	if (rc == SAT_OK)
		rc = begin(&w, err);
	while (rc == SAT_OK && w.done < w.count)
		rc = tell(&w, w.dots[w.done++], err);
	if (rc == SAT_OK)
		rc = sort_rows(&w, err);
	if (rc == SAT_OK)
		rc = end_lines(&w, err);
	if (rc == SAT_OK)
		rc = answer(&w, ret, err);
	json_decref(w.rows);
	json_decref(w.losses);
	sat_arena_fini(&w.mem);
	free(w.writes);
	free(w.dots);
	return rc;
}
