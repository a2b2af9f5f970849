/* Trying a rejected change again. Rows that it makes are inserted. What it
 * changes goes through _satchel_intent with the context of its author, so that
 * an edit somebody made since is met as a conflict and not silently lost; but
 * first the same statement is tried and taken back, so that what the device
 * can refuse is refused at once and with a sentence. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/rejected.h"
#include "common/text.h"

enum { CELLS_MAX = 256 };

/* A JSON value in the replica's form; sets stay JSON text. */
struct sat_value sat_item_value(struct sat_cli *c, const json_t *j)
{
	struct sat_slice s;
	char *text;

	switch (json_typeof(j)) {
	case JSON_INTEGER:
		return sat_value_int(json_integer_value(j));
	case JSON_REAL:
		return sat_value_real(json_real_value(j));
	case JSON_STRING:
		s.ptr = (const uint8_t *)json_string_value(j);
		s.len = json_string_length(j);
		return sat_value_text(s);
	case JSON_ARRAY:
		text = json_dumps(j, JSON_COMPACT);
		if (text == NULL)
			return sat_value_null();
		s = sat_slice_str(text);
		if (sat_arena_copy(&c->arena, s, &s) != SAT_OK)
			s = (struct sat_slice){ NULL, 0 };
		free(text);
		return sat_value_text(s);
	default:
		return sat_value_null();
	}
}

const struct sat_table *sat_item_table(const struct sat_cli *c,
				       const json_t *delta)
{
	const char *name = json_string_value(json_object_get(delta, "table"));

	return name == NULL
		       ? NULL
		       : sat_catalogue_table(c->catalogue, sat_slice_str(name));
}

/* Before and after of a field, whatever its policy made of it. */
void sat_item_sides(struct sat_cli *c, const json_t *change,
		    struct sat_value *before, struct sat_value *after)
{
	const json_t *b = json_object_get(change, "before");
	const json_t *a = json_object_get(change, "after");

	if (a == NULL)
		a = json_object_get(change, "add");
	if (a == NULL) {
		b = json_object_get(change, "removes");
		a = json_object_get(change, "adds");
	}
	*before = b == NULL ? sat_value_null() : sat_item_value(c, b);
	*after = a == NULL ? sat_value_null() : sat_item_value(c, a);
}

/* ---- retry --------------------------------------------------------------- */

static int lost(struct sat_cli *c)
{
	return sat_err_set(&c->err, SAT_E_CORRUPT, 0, "rejected", "%s",
			   SAT_TR(c,
				  "the change names a table, row or field "
				  "that this catalogue does not have",
				  "该修改涉及目录中不存在的表、记录或字段"));
}

static int out_of_memory(struct sat_cli *c)
{
	return sat_err_set(&c->err, SAT_E_NOMEM, 0, "rejected",
			   "out of memory");
}

/* The set that the row has now, with the change's removals and additions. */
static int changed_set(struct sat_cli *c, const struct sat_table *t,
		       const char *column, struct sat_value id,
		       const json_t *change, struct sat_value *ret)
{
	json_t *adds = json_object_get(change, "adds"), *set = NULL, *e, *x;
	json_t *removes = json_object_get(change, "removes");
	struct sat_value now;
	char sql[160];
	size_t i, k;
	int rc;

	(void)snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = ?1",
		       column, t->name);
	rc = sat_query_value(c->replica, &c->arena, sql, &id, 1, &now, &c->err);
	if (rc != SAT_OK)
		return rc;
	if (now.kind == SAT_TEXT)
		set = json_loadb((const char *)now.s.ptr, now.s.len,
				 JSON_ALLOW_NUL, NULL);
	if (!json_is_array(set)) {
		json_decref(set);
		set = json_array();
	}
	json_array_foreach(removes, i, e)
	{
		for (k = json_array_size(set); k > 0; k--)
			if (json_equal(json_array_get(set, k - 1), e))
				(void)json_array_remove(set, k - 1);
	}
	json_array_foreach(adds, i, e)
	{
		bool there = false;

		json_array_foreach(set, k, x)
		{
			there = there || json_equal(x, e);
		}
		if (!there)
			(void)json_array_append(set, e);
	}
	*ret = sat_item_value(c, set);
	json_decref(set);
	return SAT_OK;
}

/* One field's new value as SQL: "?N", or the column plus ?N for a counter. */
static int field_value(struct sat_cli *c, const struct sat_table *t,
		       const struct sat_column *col, struct sat_value id,
		       const json_t *change, struct sat_value *ret)
{
	struct sat_value before;

	if (col->policy == SAT_POLICY_SET)
		return changed_set(c, t, col->name, id, change, ret);
	sat_item_sides(c, change, &before, ret);
	return SAT_OK;
}

struct statement {
	struct sat_buf sql;
	struct sat_value args[CELLS_MAX];
	int count;
};

static int write_insert(struct sat_cli *c, const struct sat_table *t,
			struct sat_value id, json_t *fields,
			struct statement *s)
{
	const char *name;
	json_t *change;
	int rc = sat_text_add(&s->sql, "INSERT INTO %s(id", t->name);

	s->args[s->count++] = id;
	json_object_foreach(fields, name, change)
	{
		const struct sat_column *col = sat_cli_column(t, name);
		struct sat_value v;

		if (col == NULL || s->count == CELLS_MAX)
			return lost(c);
		if (rc == SAT_OK)
			rc = field_value(c, t, col, id, change, &v);
		if (rc != SAT_OK || v.kind == SAT_NULL)
			continue;
		s->args[s->count++] = v;
		rc = sat_text_add(&s->sql, ", %s", col->name);
	}
	if (rc == SAT_OK)
		rc = sat_text_add(&s->sql, ") VALUES(?1");
	for (int i = 2; rc == SAT_OK && i <= s->count; i++)
		rc = sat_text_add(&s->sql, ", ?%d", i);
	return rc == SAT_OK ? sat_buf_append(&s->sql, ")", 2) : rc;
}

static int write_update(struct sat_cli *c, const struct sat_table *t,
			struct sat_value id, json_t *fields,
			struct statement *s)
{
	const char *name;
	json_t *change;
	int rc = sat_text_add(&s->sql, "UPDATE %s SET ", t->name);

	s->args[s->count++] = id;
	json_object_foreach(fields, name, change)
	{
		const struct sat_column *col = sat_cli_column(t, name);

		if (col == NULL || s->count == CELLS_MAX)
			return lost(c);
		if (rc == SAT_OK)
			rc = field_value(c, t, col, id, change,
					 &s->args[s->count]);
		if (rc != SAT_OK)
			return rc;
		s->count++;
		rc = sat_text_add(&s->sql, "%s%s = ", s->count == 2 ? "" : ", ",
				  col->name);
		if (rc == SAT_OK && col->policy == SAT_POLICY_COUNTER)
			rc = sat_text_add(&s->sql, "coalesce(%s, 0) + ",
					  col->name);
		if (rc == SAT_OK)
			rc = sat_text_add(&s->sql, "?%d", s->count);
	}
	if (rc == SAT_OK)
		rc = sat_text_add(&s->sql, " WHERE id = ?1");
	return rc == SAT_OK ? sat_buf_append(&s->sql, "", 1) : rc;
}

static int row_exists(struct sat_cli *c, const struct sat_table *t,
		      struct sat_value id, bool *ret)
{
	struct sat_value v;
	char sql[120];
	int rc;

	(void)snprintf(sql, sizeof sql, "SELECT 1 FROM %s WHERE id = ?1",
		       t->name);
	rc = sat_query_value(c->replica, &c->arena, sql, &id, 1, &v, &c->err);
	*ret = rc == SAT_OK && v.kind != SAT_NULL;
	return rc;
}

static int run(struct sat_cli *c, const struct statement *s)
{
	return sat_query(c->replica, (const char *)sat_buf_peek(&s->sql).ptr,
			 s->args, s->count, NULL, NULL, &c->err);
}

/* Would it be taken? Nothing is left of it. */
static int run_and_undo(struct sat_cli *c, const struct statement *s)
{
	struct sat_err undo;
	int rc = sat_query(c->replica, "SAVEPOINT satchel_try", NULL, 0, NULL,
			   NULL, &c->err);

	if (rc != SAT_OK)
		return rc;
	rc = run(c, s);
	if (sat_query(c->replica, "ROLLBACK TO satchel_try", NULL, 0, NULL,
		      NULL, &undo) != SAT_OK ||
	    sat_query(c->replica, "RELEASE satchel_try", NULL, 0, NULL, NULL,
		      &undo) != SAT_OK) {
		c->err = undo;
		return undo.rc;
	}
	return rc;
}

static int add_intent(struct sat_cli *c, const struct sat_table *t,
		      struct sat_value id, const char *field,
		      struct sat_value value, const char *context)
{
	struct sat_value args[5] = {
		sat_value_text(sat_slice_str(t->name)),
		id,
		field == NULL ? sat_value_null()
			      : sat_value_text(sat_slice_str(field)),
		value,
		sat_value_null(),
	};
	struct sat_buf plus;
	int rc;

	sat_buf_init(&plus, 1 << 20);
	rc = sat_text_add(&plus, "+%s", context);
	if (rc != SAT_OK)
		rc = out_of_memory(c);
	args[4] = sat_value_text(sat_buf_peek(&plus));
	if (rc == SAT_OK)
		rc = sat_query(c->replica,
			       "INSERT INTO _satchel_intent(\"table\", id,"
			       " field, value, context)"
			       " VALUES(?1, ?2, ?3, ?4, ?5)",
			       args, 5, NULL, NULL, &c->err);
	sat_buf_fini(&plus);
	return rc;
}

/* With what its author had seen. */
static int intend(struct sat_cli *c, const struct sat_table *t,
		  struct sat_value id, const struct statement *s,
		  json_t *fields, const char *context)
{
	const char *name;
	json_t *change;
	struct sat_value v;
	int rc = run_and_undo(c, s);

	if (rc == SAT_OK && json_object_size(fields) == 0)
		return add_intent(c, t, id, NULL, sat_value_null(), context);
	json_object_foreach(fields, name, change)
	{
		if (rc == SAT_OK)
			rc = field_value(c, t, sat_cli_column(t, name), id,
					 change, &v);
		if (rc == SAT_OK)
			rc = add_intent(c, t, id, name, v, context);
	}
	return rc;
}

static int form(struct sat_cli *c, const struct sat_table *t,
		struct sat_value id, const char *op, json_t *fields,
		struct statement *s)
{
	bool exists = false;
	int rc = row_exists(c, t, id, &exists);

	if (rc != SAT_OK)
		return rc;
	if (!exists && strcmp(op, "insert") != 0)
		return sat_err_set(&c->err, SAT_E_NOTFOUND, 0, "rejected",
				   SAT_TR(c,
					  "%s: the row is no longer on this "
					  "device",
					  "%s：该记录已不在本设备上"),
				   t->label.text[c->lang]);
	if (strcmp(op, "delete") == 0) {
		s->args[s->count++] = id;
		rc = sat_text_add(&s->sql, "DELETE FROM %s WHERE id = ?1",
				  t->name);
		if (rc == SAT_OK)
			rc = sat_buf_append(&s->sql, "", 1);
	} else if (json_object_size(fields) > 0 || !exists) {
		rc = exists ? write_update(c, t, id, fields, s)
			    : write_insert(c, t, id, fields, s);
	}
	return rc == SAT_E_LIMIT ? out_of_memory(c) : rc;
}

static int write_again(struct sat_cli *c, json_t *delta)
{
	const struct sat_table *t = sat_item_table(c, delta);
	const json_t *id_text = json_object_get(delta, "id");
	const char *op = json_string_value(json_object_get(delta, "op"));
	const char *context =
		json_string_value(json_object_get(delta, "context"));
	json_t *fields = json_object_get(delta, "fields");
	struct statement *s = sat_arena_alloc(&c->arena, sizeof *s);
	struct sat_value id;
	int rc;

	if (t == NULL || op == NULL || !json_is_string(id_text))
		return lost(c);
	if (s == NULL)
		return out_of_memory(c);
	id = sat_item_value(c, id_text);
	sat_buf_init(&s->sql, 64 * 1024);
	rc = form(c, t, id, op, fields, s);
	if (rc == SAT_OK && s->count > 0)
		rc = context == NULL ? run(c, s)
				     : intend(c, t, id, s, fields, context);
	sat_buf_fini(&s->sql);
	return rc;
}

int sat_item_write(struct sat_cli *c, const struct sat_item *it)
{
	json_t *delta;
	size_t i;
	int rc = SAT_OK;

	json_array_foreach(it->content, i, delta)
	{
		if (rc == SAT_OK)
			rc = write_again(c, delta);
	}
	return rc;
}
