#include "server/admin/import_map.h"

#include <string.h>

static int bad_map(struct sat_err *err, const char *what)
{
	return sat_err_set(err, SAT_E_INVAL, 0, "map", "the map: %s", what);
}

/* Position of a CSV column, -1 when the file has none of that name. */
static int position(const json_t *header, const char *name)
{
	size_t i;
	const json_t *v;

	json_array_foreach(header, i, v) if (json_is_string(v) &&
					     strcmp(json_string_value(v),
						    name) == 0) return (int)i;
	return -1;
}

/* Every CSV column that a plain spec names must exist. */
static int check_source(struct sat_import_map *m, const json_t *spec,
			struct sat_err *err)
{
	const json_t *header = m->header;
	const char *looked_in = json_string_value(
		json_object_get(json_object_get(spec, "lookup"), "table"));
	const char *from = json_string_value(json_object_get(spec, "from"));
	const json_t *join = json_object_get(spec, "join"), *v;
	size_t i;

	if (looked_in != NULL && strcmp(looked_in, m->table->name) == 0)
		m->own = true;
	if (json_object_get(spec, "value") != NULL)
		return SAT_OK;
	if (from != NULL && position(header, from) < 0)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "map",
				   "the file has no column \"%s\"", from);
	if (from == NULL && !json_is_array(join))
		return bad_map(err, "a column needs from, join, value or add");
	json_array_foreach(join, i, v)
	{
		if (!json_is_string(v) ||
		    position(header, json_string_value(v)) < 0)
			return sat_err_set(
				err, SAT_E_NOTFOUND, 0, "map",
				"the file has no column \"%s\" "
				"(join)",
				json_is_string(v) ? json_string_value(v) : "?");
	}
	return SAT_OK;
}

/* A spec, or several of which the first that finds something counts. */
static int check_sources(struct sat_import_map *m, const json_t *spec,
			 struct sat_err *err)
{
	const json_t *first = json_object_get(spec, "first"), *v;
	size_t i;
	int rc = SAT_OK;

	if (first == NULL)
		return check_source(m, spec, err);
	json_array_foreach(first, i, v) if (rc == SAT_OK) rc =
		check_source(m, v, err);
	return rc;
}

static int check_rule(struct sat_import_map *m, const char *name,
		      const json_t *spec, struct sat_err *err)
{
	static const char *const words[] = { "from",    "join",   "with",
					     "value",   "add",    "first",
					     "replace", "lookup", "empty" };
	struct sat_import_rule *rule = &m->rules[m->rule_count];
	const char *word;
	const json_t *v;
	int rc;

	if (m->rule_count == SAT_IMPORT_COLUMNS_MAX)
		return bad_map(err, "too many columns");
	rc = sat_admin_column(m->table, name, &rule->column, err);
	if (rc != SAT_OK)
		return rc;
	if (!json_is_object(spec))
		return bad_map(err, "a column's rule is an object");
	if (m->match != NULL && rule->column == m->match_column)
		m->own = true;
	json_object_foreach((json_t *)(uintptr_t)spec, word, v)
	{
		size_t i = 0;

		while (i < SAT_COUNT_OF(words) && strcmp(words[i], word) != 0)
			i++;
		if (i == SAT_COUNT_OF(words))
			return sat_err_set(err, SAT_E_INVAL, 0, "map",
					   "the map: columns.%s: unknown word "
					   "\"%s\"",
					   name, word);
	}
	rule->add = json_object_get(spec, "add") != NULL;
	rule->spec = rule->add ? json_object_get(spec, "add") : spec;
	if (rule->add && m->table->columns[rule->column].type != SAT_TYPE_SET)
		return bad_map(err, "add is for set columns");
	m->rule_count++;
	return check_sources(m, rule->spec, err);
}

static int check_key(struct sat_import_map *m, struct sat_err *err)
{
	const char *column;
	const json_t *v;
	size_t i;

	if ((m->key == NULL) == (m->match == NULL))
		return bad_map(err, "exactly one of key and match is needed");
	if (m->match != NULL) {
		column = json_string_value(json_object_get(m->match, "column"));
		if (column == NULL)
			return bad_map(err, "match needs column");
		int rc = sat_admin_column(m->table, column, &m->match_column,
					  err);

		return rc == SAT_OK ? check_sources(m, m->match, err) : rc;
	}
	if (!json_is_array(m->key) || json_array_size(m->key) == 0)
		return bad_map(err, "key is an array of the file's columns");
	json_array_foreach(m->key, i, v) if (
		!json_is_string(v) ||
		position(m->header, json_string_value(v)) <
			0) return bad_map(err,
					  "key names a column that the file "
					  "does not have");
	return SAT_OK;
}

int sat_import_map_init(struct sat_import_map *m, const struct sat_admin *a,
			const json_t *map, const json_t *header,
			struct sat_err *err)
{
	const char *table = json_string_value(json_object_get(map, "table"));
	json_t *columns = json_object_get(map, "columns");
	const char *name;
	const json_t *spec;
	int rc;

	*m = (struct sat_import_map){ .header = header };
	if (table == NULL || !json_is_object(columns))
		return bad_map(err, "it needs table and columns");
	if (!json_is_array(header))
		return bad_map(err, "there is no header line");
	m->key = json_object_get(map, "key");
	m->match = json_object_get(map, "match");
	rc = sat_admin_table(a, table, &m->table, err);
	if (rc == SAT_OK)
		rc = check_key(m, err);
	if (rc != SAT_OK)
		return rc;
	json_object_foreach(columns, name, spec)
	{
		rc = check_rule(m, name, spec, err);
		if (rc != SAT_OK)
			return rc;
	}
	m->found = json_object();
	return m->found != NULL ? SAT_OK
				: sat_err_set(err, SAT_E_NOMEM, 0, "map",
					      "out of memory");
}

void sat_import_map_fini(struct sat_import_map *m)
{
	json_decref(m->found);
	m->found = NULL;
}

/* The field of a line; line[0] is its number. */
static const char *field(const struct sat_import_map *m, const json_t *line,
			 const char *name)
{
	int i = position(m->header, name);

	return json_string_value(json_array_get(line, (size_t)i + 1));
}

/* ---- looking up rows by text -------------------------------------------- */

struct gathering {
	json_t *into;
	const struct sat_table *table;
	int by, get; /* column indexes; get -1: the id */
	bool single; /* a text that several rows have stands for nothing */
};

static int on_gathered(void *arg, const struct sat_table *t,
		       const struct sat_stored_row *row)
{
	struct gathering *g = arg;
	struct sat_slice by = row->values[g->by].s;
	char id[SAT_UUID_CHARS + 1];
	json_t *value;
	int bad;

	if (row->deleted || row->values[g->by].kind != SAT_TEXT)
		return SAT_OK;
	if (g->get < 0) {
		sat_id_format(&row->id, id);
		value = json_string(id);
	} else {
		value = sat_value_json(&t->columns[g->get],
				       &row->values[g->get]);
	}
	if (g->single &&
	    json_object_getn(g->into, (const char *)by.ptr, by.len) != NULL) {
		json_decref(value);
		value = json_null();
	}
	bad = json_object_setn_new(g->into, (const char *)by.ptr, by.len,
				   value);
	return bad == 0 ? SAT_OK : SAT_E_NOMEM;
}

/* What a text of a table's column stands for: *ret is NULL when no row has
 * it, JSON null when several have and only one may. The texts of all rows are
 * read once a call; asking the store for each line would read the table for
 * each line. A text that is not among them is looked for again only when this
 * very import has written into the table since. */
static int stand_for(struct sat_import_map *m, const struct sat_admin *a,
		     const char *name, struct gathering *g, const char *text,
		     const json_t **ret, struct sat_err *err)
{
	json_t *known = json_object_get(m->found, name);
	int rc;

	*ret = json_object_get(json_object_get(known, "texts"), text);
	if (*ret != NULL)
		return SAT_OK;
	if (known != NULL &&
	    (g->table != m->table ||
	     json_integer_value(json_object_get(known, "at")) == m->written))
		return SAT_OK;
	known = json_pack("{s:I, s:{}}", "at", m->written, "texts");
	g->into = json_object_get(known, "texts");
	if (g->into == NULL || json_object_set_new(m->found, name, known) != 0)
		return sat_err_set(err, SAT_E_NOMEM, 0, "lookup",
				   "out of memory");
	rc = sat_store_rows(a->store, g->table, -1, NULL, on_gathered, g, err);
	*ret = json_object_get(g->into, text);
	return rc;
}

static int lookup(struct sat_import_map *m, const struct sat_admin *a,
		  const json_t *spec, const char *text, const char **ret,
		  struct sat_err *err)
{
	const char *table = json_string_value(json_object_get(spec, "table"));
	const char *column = json_string_value(json_object_get(spec, "column"));
	const char *get = json_string_value(json_object_get(spec, "get"));
	struct gathering g = { .get = -1 };
	const json_t *found = NULL;
	char name[160];
	int rc;

	if (table == NULL || column == NULL)
		return bad_map(err, "lookup needs table and column");
	(void)snprintf(name, sizeof name, "%s.%s.%s", table, column,
		       get != NULL ? get : "id");
	rc = sat_admin_table(a, table, &g.table, err);
	if (rc == SAT_OK)
		rc = sat_admin_column(g.table, column, &g.by, err);
	if (rc == SAT_OK && get != NULL && strcmp(get, "id") != 0)
		rc = sat_admin_column(g.table, get, &g.get, err);
	if (rc == SAT_OK)
		rc = stand_for(m, a, name, &g, text, &found, err);
	if (rc != SAT_OK)
		return rc;
	*ret = json_string_value(found);
	if (*ret == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "lookup",
				   "no %s has %s \"%s\"", table, column, text);
	return SAT_OK;
}

/* The row to match. */
static int match(struct sat_import_map *m, const struct sat_admin *a,
		 const char *text, struct sat_id *ret, struct sat_err *err)
{
	const char *column = m->table->columns[m->match_column].name, *id;
	struct gathering g = { .table = m->table,
			       .by = m->match_column,
			       .get = -1,
			       .single = true };
	const json_t *found = NULL;
	/* no lookup has this name: those have dots */
	int rc = stand_for(m, a, "match", &g, text, &found, err);

	if (rc != SAT_OK)
		return rc;
	id = json_string_value(found);
	if (id != NULL && sat_id_parse(sat_slice_str(id), ret))
		return SAT_OK;
	return found == NULL ? sat_err_set(err, SAT_E_NOTFOUND, 0, "match",
					   "there is no %s with %s \"%s\"",
					   m->table->name, column, text)
			     : sat_err_set(err, SAT_E_INVAL, 0, "match",
					   "several rows of %s have %s \"%s\"",
					   m->table->name, column, text);
}

int sat_import_id(struct sat_import_map *m, const struct sat_admin *a,
		  const json_t *line, struct sat_id *ret, struct sat_err *err)
{
	const char *name = m->table->name;
	struct sat_buf key;
	const json_t *v;
	size_t i;
	int rc = SAT_OK;

	if (m->match != NULL) {
		const char *from =
			json_string_value(json_object_get(m->match, "from"));
		const char *text = from == NULL ? NULL : field(m, line, from);

		if (text == NULL || *text == '\0')
			return sat_err_set(err, SAT_E_INVAL, 0, "match",
					   "there is nothing to match by");
		return match(m, a, text, ret, err);
	}
	sat_buf_init(&key, 1 << 20);
	rc = sat_buf_append(&key, name, strlen(name));
	json_array_foreach(m->key, i, v)
	{
		const char *text = field(m, line, json_string_value(v));

		if (text == NULL || *text == '\0')
			rc = sat_err_set(err, SAT_E_INVAL, 0, "key",
					 "the key column %s is empty",
					 json_string_value(v));
		/* The NUL between the parts keeps ("a","bc") and ("ab","c")
		 * apart. */
		if (rc == SAT_OK)
			rc = sat_buf_append(&key, "", 1);
		if (rc == SAT_OK)
			rc = sat_buf_append(&key, text, strlen(text));
		if (rc != SAT_OK)
			break;
	}
	if (rc == SAT_OK)
		*ret = sat_id_derived(sat_buf_peek(&key));
	sat_buf_fini(&key);
	return rc;
}

/* The fields of a rule put together, before replace and lookup. */
static int gather(const struct sat_import_map *m, const json_t *spec,
		  const json_t *line, struct sat_arena *arena, char **ret)
{
	const char *value = json_string_value(json_object_get(spec, "value"));
	const char *from = json_string_value(json_object_get(spec, "from"));
	const char *with = json_string_value(json_object_get(spec, "with"));
	const json_t *join = json_object_get(spec, "join"), *v;
	struct sat_buf text;
	size_t i;
	int rc = SAT_OK;

	if (value != NULL || from != NULL) {
		if (value == NULL)
			value = field(m, line, from);
		*ret = sat_arena_string(arena,
					sat_slice_str(value ? value : ""));
		return *ret != NULL ? SAT_OK : SAT_E_NOMEM;
	}
	sat_buf_init(&text, 1 << 20);
	json_array_foreach(join, i, v)
	{
		const char *part = field(m, line, json_string_value(v));

		if (part == NULL || *part == '\0')
			continue;
		if (rc == SAT_OK && with != NULL && text.len > 0)
			rc = sat_buf_append(&text, with, strlen(with));
		if (rc == SAT_OK)
			rc = sat_buf_append(&text, part, strlen(part));
	}
	*ret = rc == SAT_OK ? sat_arena_string(arena, sat_buf_peek(&text))
			    : NULL;
	sat_buf_fini(&text);
	if (rc == SAT_OK && *ret == NULL)
		rc = SAT_E_NOMEM;
	return rc;
}

/* One spec: gathered, replaced, looked up. */
static int text_of(struct sat_import_map *m, const struct sat_admin *a,
		   const json_t *spec, const json_t *line,
		   struct sat_arena *arena, struct sat_slice *ret,
		   bool *ret_empty, struct sat_err *err)
{
	const json_t *find = json_object_get(spec, "lookup");
	const char *text;
	char *gathered;
	int rc;

	rc = gather(m, spec, line, arena, &gathered);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "import", "a field is too long");
	text = gathered;
	if (*text == '\0') {
		text = json_string_value(json_object_get(spec, "empty"));
		*ret_empty = text == NULL;
		if (text == NULL)
			return SAT_OK;
	} else {
		const char *other = json_string_value(json_object_get(
			json_object_get(spec, "replace"), text));

		if (other != NULL)
			text = other;
	}
	*ret_empty = false;
	if (find != NULL) {
		rc = lookup(m, a, find, text, &text, err);
		if (rc != SAT_OK)
			return rc;
	}
	*ret = sat_slice_str(text);
	return SAT_OK;
}

int sat_import_text(struct sat_import_map *m, const struct sat_admin *a,
		    const struct sat_import_rule *rule, const json_t *line,
		    struct sat_arena *arena, struct sat_slice *ret,
		    bool *ret_empty, struct sat_err *err)
{
	const json_t *first = json_object_get(rule->spec, "first"), *v;
	size_t i;
	int rc = SAT_OK;

	if (first == NULL)
		return text_of(m, a, rule->spec, line, arena, ret, ret_empty,
			       err);
	*ret_empty = true;
	json_array_foreach(first, i, v)
	{
		rc = text_of(m, a, v, line, arena, ret, ret_empty, err);
		if (rc != SAT_E_NOTFOUND && !(rc == SAT_OK && *ret_empty))
			break;
	}
	return rc;
}
