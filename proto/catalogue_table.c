#include "proto/catalogue_load.h"
#include "proto/catalogue_read.h"

#include <jansson.h>
#include <string.h>

enum { SCOPES_MAX = 8, INDEXES_MAX = 16, INDEX_COLUMNS_MAX = 6 };

#define ALWAYS (SAT_ROLE_BIT(SAT_ROLE_ADMIN) | SAT_ROLE_BIT(SAT_ROLE_SERVER))
#define SERVER SAT_ROLE_BIT(SAT_ROLE_SERVER)

static int read_access(struct sat_cr *r, json_t *json, struct sat_table *t)
{
	bool has_insert, has_delete;
	int rc = sat_cr_bool(r, json, "append_only", &t->append_only);

	if (rc == SAT_OK)
		rc = sat_cr_bool(r, json, "derived", &t->derived);
	if (rc == SAT_OK)
		rc = sat_cr_roles(r, json, "insert", &t->insert, &has_insert);
	if (rc == SAT_OK)
		rc = sat_cr_roles(r, json, "delete", &t->remove, &has_delete);
	if (rc != SAT_OK)
		return rc;
	if (t->derived && (has_insert || has_delete))
		return sat_cr_fail(r, has_insert ? "insert" : "delete",
				   "only the server writes a derived table");
	if (!t->derived && !has_insert)
		return sat_cr_fail(r, "insert", "missing");
	if (t->append_only && has_delete)
		return sat_cr_fail(r, "delete",
				   "rows of an append-only table stay");
	t->insert = t->derived ? SERVER : t->insert | ALWAYS;
	t->remove = t->derived || t->append_only ? SERVER : t->remove | ALWAYS;
	return SAT_OK;
}

static int read_columns(struct sat_cr *r, json_t *json, struct sat_table *t)
{
	struct sat_cr_entry *entries = NULL;
	struct sat_column *columns;
	size_t mark, count;
	json_t *list;
	int rc = sat_cr_array(r, json, "columns", 1, SAT_CATALOGUE_COLUMNS_MAX,
			      &list);

	if (rc == SAT_OK)
		rc = sat_cr_entries(r, list, "columns", &entries);
	if (rc != SAT_OK)
		return rc;
	count = json_array_size(list);
	columns = sat_arena_array(r->arena, count, sizeof *columns);
	if (columns == NULL)
		return sat_cr_nomem(r);
	for (size_t i = 0; i < count; i++) {
		columns[i].name = entries[i].name;
		columns[i].no = entries[i].no;
		mark = sat_cr_push(r, ".columns.%s", columns[i].name);
		rc = sat_cr_column(r, t, entries[i].json, &columns[i]);
		if (rc != SAT_OK)
			return rc;
		sat_cr_pop(r, mark);
	}
	t->columns = columns;
	t->column_count = (uint16_t)count;
	return SAT_OK;
}

int sat_cr_find(struct sat_cr *r, const struct sat_table *t, const char *key,
		const struct json_t *json, uint16_t *ret)
{
	const char *name = json_string_value(json);
	int index;

	if (name == NULL)
		return sat_cr_fail(r, key, "must be the name of a column");
	index = sat_table_column(t, sat_slice_str(name));
	if (index < 0)
		return sat_cr_fail(r, key, "unknown column \"%s\"",
				   sat_cr_word(name).s);
	*ret = (uint16_t)index;
	return SAT_OK;
}

/* The column that json names, which must have the given type. */
static int find_column(struct sat_cr *r, const struct sat_table *t,
		       const char *key, const json_t *json, enum sat_type type,
		       uint16_t *ret)
{
	uint16_t index = 0;
	int rc = sat_cr_find(r, t, key, json, &index);

	if (rc != SAT_OK)
		return rc;
	if (t->columns[index].type != type)
		return sat_cr_fail(r, key, "column \"%s\" is not of type %s",
				   t->columns[index].name, sat_type_name(type));
	*ret = index;
	return SAT_OK;
}

static int read_row_scope(struct sat_cr *r, const struct sat_table *t,
			  const json_t *pair, struct sat_scope_source *s)
{
	int rc;

	s->kind = SAT_SCOPE_ROW;
	if (json_array_size(pair) != 2)
		return sat_cr_fail(r, "row",
				   "must be the columns that hold a table's "
				   "name and a row's id");
	if (!t->derived)
		return sat_cr_fail(r, "row", "only for derived tables");
	rc = find_column(r, t, "row", json_array_get(pair, 0), SAT_TYPE_TEXT,
			 &s->column);
	if (rc == SAT_OK)
		rc = find_column(r, t, "row", json_array_get(pair, 1),
				 SAT_TYPE_TEXT, &s->column2);
	return rc;
}

static int read_scope(struct sat_cr *r, const struct sat_table *t, json_t *json,
		      struct sat_scope_source *s)
{
	static const char *const keys[] = { "global", "column", "set",
					    "via",    "row",    NULL };
	const json_t *v;
	int rc = sat_cr_object(r, json, keys);

	if (rc != SAT_OK)
		return rc;
	if (json_object_size(json) != 1)
		return sat_cr_fail(r, NULL, "must have exactly one key");
	if ((v = json_object_get(json, "global")) != NULL) {
		s->kind = SAT_SCOPE_GLOBAL;
		return json_is_true(v)
			       ? SAT_OK
			       : sat_cr_fail(r, "global", "must be true");
	}
	if ((v = json_object_get(json, "row")) != NULL)
		return read_row_scope(r, t, v, s);
	if ((v = json_object_get(json, "column")) != NULL) {
		s->kind = SAT_SCOPE_COLUMN;
		return find_column(r, t, "column", v, SAT_TYPE_REF, &s->column);
	}
	if ((v = json_object_get(json, "set")) != NULL) {
		s->kind = SAT_SCOPE_SET;
		return find_column(r, t, "set", v, SAT_TYPE_SET, &s->column);
	}
	s->kind = SAT_SCOPE_VIA;
	return find_column(r, t, "via", json_object_get(json, "via"),
			   SAT_TYPE_REF, &s->column);
}

static bool same_scope(const struct sat_scope_source *a,
		       const struct sat_scope_source *b)
{
	return a->kind == b->kind && a->column == b->column &&
	       a->column2 == b->column2;
}

static int read_scopes(struct sat_cr *r, json_t *json, struct sat_table *t)
{
	struct sat_scope_source *scopes;
	json_t *list;
	size_t mark;
	int rc = sat_cr_array(r, json, "scope", 1, SCOPES_MAX, &list);

	if (rc != SAT_OK)
		return rc;
	t->scope_count = (uint16_t)json_array_size(list);
	scopes = sat_arena_array(r->arena, t->scope_count, sizeof *scopes);
	if (scopes == NULL)
		return sat_cr_nomem(r);
	for (size_t i = 0; i < t->scope_count; i++) {
		mark = sat_cr_push(r, ".scope[%zu]", i);
		rc = read_scope(r, t, json_array_get(list, i), &scopes[i]);
		if (rc != SAT_OK)
			return rc;
		if (scopes[i].kind == SAT_SCOPE_GLOBAL && t->scope_count > 1)
			return sat_cr_fail(r, "global",
					   "must be the only source");
		for (size_t j = 0; j < i; j++) {
			if (same_scope(&scopes[i], &scopes[j]))
				return sat_cr_fail(r, NULL, "given twice");
		}
		sat_cr_pop(r, mark);
	}
	t->scopes = scopes;
	return SAT_OK;
}

/* "started_at" or "started_at desc"; desc only at the end. */
static int read_index_column(struct sat_cr *r, const struct sat_table *t,
			     const json_t *json, bool last, struct sat_index *x,
			     uint16_t *columns)
{
	static const char desc[] = " desc";
	const char *text = json_string_value(json);
	struct sat_slice name;
	int found;

	if (text == NULL)
		return sat_cr_fail(r, NULL, "must be a list of column names");
	name = sat_slice_str(text);
	if (last && name.len >= sizeof desc &&
	    strcmp(text + name.len - (sizeof desc - 1), desc) == 0) {
		name.len -= sizeof desc - 1;
		x->desc_last = true;
	}
	found = sat_table_column(t, name);
	if (found < 0)
		return sat_cr_fail(r, NULL, "unknown column \"%s\"",
				   sat_cr_word(text).s);
	for (uint16_t i = 0; i < x->column_count; i++) {
		if (columns[i] == found)
			return sat_cr_fail(r, NULL, "column \"%s\" twice",
					   t->columns[found].name);
	}
	if (t->columns[found].type == SAT_TYPE_SET ||
	    t->columns[found].type == SAT_TYPE_JSON)
		return sat_cr_fail(r, NULL, "column \"%s\" has type %s",
				   t->columns[found].name,
				   sat_type_name(t->columns[found].type));
	columns[x->column_count++] = (uint16_t)found;
	return SAT_OK;
}

static int read_index(struct sat_cr *r, const struct sat_table *t,
		      const json_t *json, struct sat_index *x)
{
	size_t count = json_array_size(json);
	uint16_t *columns;
	int rc = SAT_OK;

	if (count < 1 || count > INDEX_COLUMNS_MAX)
		return sat_cr_fail(r, NULL, "must be a list of 1 to %d columns",
				   (int)INDEX_COLUMNS_MAX);
	columns = sat_arena_array(r->arena, count, sizeof *columns);
	if (columns == NULL)
		return sat_cr_nomem(r);
	for (size_t i = 0; rc == SAT_OK && i < count; i++)
		rc = read_index_column(r, t, json_array_get(json, i),
				       i + 1 == count, x, columns);
	x->columns = columns;
	return rc;
}

static int read_indexes(struct sat_cr *r, json_t *json, struct sat_table *t)
{
	struct sat_index *indexes;
	json_t *list;
	size_t mark;
	int rc = sat_cr_array(r, json, "indexes", 0, INDEXES_MAX, &list);

	if (rc != SAT_OK || list == NULL)
		return rc;
	t->index_count = (uint16_t)json_array_size(list);
	indexes = sat_arena_array(r->arena, t->index_count, sizeof *indexes);
	if (indexes == NULL)
		return sat_cr_nomem(r);
	for (size_t i = 0; i < t->index_count; i++) {
		mark = sat_cr_push(r, ".indexes[%zu]", i);
		rc = read_index(r, t, json_array_get(list, i), &indexes[i]);
		if (rc != SAT_OK)
			return rc;
		sat_cr_pop(r, mark);
	}
	t->indexes = indexes;
	return SAT_OK;
}

static int read_move(struct sat_cr *r, json_t *json, struct sat_table *t)
{
	json_t *territory = json_object_get(json, "territory");
	json_t *move_with = json_object_get(json, "move_with");
	bool scoped = false;
	uint16_t column = 0;
	int rc;

	t->territory = t->move_with = -1;
	if (territory != NULL) {
		rc = find_column(r, t, "territory", territory, SAT_TYPE_REF,
				 &column);
		if (rc != SAT_OK)
			return rc;
		t->territory = (int16_t)column;
		for (uint16_t i = 0; i < t->scope_count; i++)
			scoped |= t->scopes[i].kind == SAT_SCOPE_COLUMN &&
				  t->scopes[i].column == column;
		if (!scoped)
			return sat_cr_fail(r, "territory",
					   "the column is no source of scope");
	}
	if (move_with == NULL)
		return SAT_OK;
	if (territory == NULL)
		return sat_cr_fail(r, "move_with", "needs territory");
	rc = find_column(r, t, "move_with", move_with, SAT_TYPE_REF, &column);
	if (rc == SAT_OK)
		t->move_with = (int16_t)column;
	return rc;
}

int sat_cr_table(struct sat_cr *r, struct json_t *json, struct sat_table *t)
{
	static const char *const keys[] = {
		"name",    "no",          "label",   "scope",     "insert",
		"delete",  "append_only", "derived", "move_with", "territory",
		"indexes", "columns",     "rollup",  "history",   NULL
	};
	int rc = sat_cr_object(r, json, keys);

	if (rc == SAT_OK)
		rc = sat_cr_label(r, json, &t->label);
	if (rc == SAT_OK)
		rc = read_access(r, json, t);
	if (rc == SAT_OK)
		rc = read_columns(r, json, t);
	if (rc == SAT_OK)
		rc = read_scopes(r, json, t);
	if (rc == SAT_OK)
		rc = read_indexes(r, json, t);
	if (rc == SAT_OK)
		rc = read_move(r, json, t);
	return rc;
}

static const struct sat_table *target(const struct sat_cr *r,
				      const struct sat_table *t, int column)
{
	return &r->cat->tables[t->columns[column].ref_table];
}

/* Length of the scope chain from each table on. A cycle grows for ever, so
 * more rounds than tables prove one. */
static int check_chains(struct sat_cr *r)
{
	uint16_t length[SAT_CATALOGUE_TABLES_MAX] = { 0 };
	uint16_t n = r->cat->table_count;

	for (uint16_t round = 0; round <= n; round++) {
		for (uint16_t i = 0; i < n; i++) {
			const struct sat_table *t = &r->cat->tables[i];

			for (uint16_t j = 0; j < t->scope_count; j++) {
				uint16_t next;

				if (t->scopes[j].kind != SAT_SCOPE_VIA)
					continue;
				next = target(r, t, t->scopes[j].column)->index;
				if (length[i] <= length[next] && length[i] <= n)
					length[i] =
						(uint16_t)(length[next] + 1);
			}
		}
	}
	for (uint16_t i = 0; i < n; i++) {
		if (length[i] <= SAT_CATALOGUE_VIA_MAX)
			continue;
		(void)sat_cr_push(r, "tables.%s", r->cat->tables[i].name);
		if (length[i] > n)
			return sat_cr_fail(r, "scope",
					   "the via chain runs in a circle");
		return sat_cr_fail(r, "scope",
				   "the via chain is longer than %d",
				   (int)SAT_CATALOGUE_VIA_MAX);
	}
	return SAT_OK;
}

/* All columns of one purpose must point to one table; *seen is -1 at first. */
static int check_target(struct sat_cr *r, const struct sat_table *t, int column,
			const char *what, int *seen)
{
	int index = target(r, t, column)->index;

	if (*seen < 0)
		*seen = index;
	if (*seen == index)
		return SAT_OK;
	(void)sat_cr_push(r, "tables.%s.columns.%s", t->name,
			  t->columns[column].name);
	return sat_cr_fail(r, "ref", "%s must be in table \"%s\" as elsewhere",
			   what, r->cat->tables[*seen].name);
}

static int check_targets(struct sat_cr *r, const struct sat_table *t,
			 int *territory, int *user)
{
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < t->scope_count; i++) {
		if (t->scopes[i].kind == SAT_SCOPE_COLUMN)
			rc = check_target(r, t, t->scopes[i].column,
					  "territories", territory);
	}
	for (int i = 0; rc == SAT_OK && i < t->column_count; i++) {
		if (t->columns[i].def == SAT_DEFAULT_AUTHOR_HOME)
			rc = check_target(r, t, i, "territories", territory);
		else if (t->columns[i].def == SAT_DEFAULT_AUTHOR)
			rc = check_target(r, t, i, "users", user);
	}
	if (rc != SAT_OK || t->move_with < 0)
		return rc;
	if (target(r, t, t->move_with)->territory >= 0)
		return SAT_OK;
	(void)sat_cr_push(r, "tables.%s", t->name);
	return sat_cr_fail(r, "move_with", "table \"%s\" has no territory",
			   target(r, t, t->move_with)->name);
}

int sat_cr_whole(struct sat_cr *r)
{
	int territory = -1, user = -1;
	int rc = check_chains(r);

	for (uint16_t i = 0; rc == SAT_OK && i < r->cat->table_count; i++)
		rc = check_targets(r, &r->cat->tables[i], &territory, &user);
	return rc;
}
