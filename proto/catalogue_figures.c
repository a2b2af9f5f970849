/* The keys `rollup` and `history` of a derived table: what the server computes
 * it from. Read after all tables, since they name columns of others. */
#include "proto/catalogue_load.h"
#include "proto/catalogue_read.h"

#include <jansson.h>
#include <string.h>

enum { KEYS_MAX = 8, SOURCES_MAX = 8, MEASURES_MAX = 32 };

static const struct sat_table *referred(const struct sat_cr *r,
					const struct sat_table *t, int column)
{
	return &r->cat->tables[t->columns[column].ref_table];
}

/* A figure must not tell anyone what its parts do not. */
static int check_readers(struct sat_cr *r, const struct sat_column *figure,
			 const struct sat_table *of, uint16_t column)
{
	if ((figure->read & ~of->columns[column].read) == 0)
		return SAT_OK;
	return sat_cr_fail(r, figure->name,
			   "is read by roles that may not read %s.%s", of->name,
			   of->columns[column].name);
}

/* The other table that json names. */
static int read_of(struct sat_cr *r, json_t *json, const struct sat_table *t,
		   const struct sat_table **ret)
{
	const struct sat_table *of;
	const char *name = NULL;
	int rc = sat_cr_string(r, json, "table", true, &name);

	if (rc != SAT_OK)
		return rc;
	of = sat_catalogue_table(r->cat, sat_slice_str(name));
	if (of == NULL || of == t || of->derived)
		return sat_cr_fail(r, "table",
				   "\"%s\" is no table that people write",
				   sat_cr_word(name).s);
	*ret = of;
	return SAT_OK;
}

/* ---- keys ---------------------------------------------------------------- */

static bool dated(enum sat_type type)
{
	return type == SAT_TYPE_TIME || type == SAT_TYPE_DATE;
}

static bool values_fit(const struct sat_column *to,
		       const struct sat_column *from)
{
	for (uint16_t i = 0; i < from->value_count; i++) {
		if (sat_column_enum(to, sat_slice_str(from->values[i].name)) ==
		    NULL)
			return false;
	}
	return true;
}

static bool column_fits(const struct sat_column *to,
			const struct sat_column *from)
{
	if (to->type != from->type)
		return false;
	if (to->type == SAT_TYPE_REF)
		return to->ref_table == from->ref_table;
	if (to->type == SAT_TYPE_ENUM)
		return values_fit(to, from);
	return to->type == SAT_TYPE_DATE;
}

/* {"month": [C, ...]} or {"day": [C, ...]}; a column or "id". */
static int read_dated_key(struct sat_cr *r, json_t *json,
			  const struct sat_column *to,
			  const struct sat_table *of,
			  struct sat_rollup_key *key)
{
	static const char *const keys[] = { "month", "day", NULL };
	bool month = json_object_get(json, "month") != NULL;
	json_t *list, *name;
	size_t i;
	int rc = sat_cr_object(r, json, keys);

	if (rc != SAT_OK)
		return rc;
	key->kind = month ? SAT_KEY_MONTH : SAT_KEY_DAY;
	if (json_object_size(json) != 1 ||
	    to->type != (month ? SAT_TYPE_TEXT : SAT_TYPE_DATE))
		return sat_cr_fail(r, to->name,
				   "a month goes into a text, a day into a "
				   "date");
	rc = sat_cr_array(r, json, month ? "month" : "day", 1,
			  SAT_ROLLUP_FALLBACKS, &list);
	if (rc != SAT_OK)
		return rc;
	json_array_foreach(list, i, name)
	{
		uint16_t c = SAT_ROLLUP_ID;

		if (!json_is_string(name) ||
		    strcmp(json_string_value(name), "id") != 0)
			rc = sat_cr_find(r, of, to->name, name, &c);
		if (rc == SAT_OK && c != SAT_ROLLUP_ID &&
		    !dated(of->columns[c].type))
			rc = sat_cr_fail(r, to->name,
					 "\"%s\" is neither a time nor a date",
					 of->columns[c].name);
		if (rc == SAT_OK && c != SAT_ROLLUP_ID)
			rc = check_readers(r, to, of, c);
		if (rc != SAT_OK)
			return rc;
		key->columns[key->column_count++] = c;
	}
	return SAT_OK;
}

static int read_key(struct sat_cr *r, json_t *json, const struct sat_column *to,
		    const struct sat_table *of, struct sat_rollup_key *key)
{
	uint16_t c = 0;
	int rc;

	if (json == NULL)
		return sat_cr_fail(r, to->name, "missing");
	if (json_is_object(json))
		return read_dated_key(r, json, to, of, key);
	rc = sat_cr_find(r, of, to->name, json, &c);
	if (rc != SAT_OK)
		return rc;
	if (!column_fits(to, &of->columns[c]))
		return sat_cr_fail(r, to->name,
				   "\"%s\" is not of its type and values",
				   of->columns[c].name);
	key->kind = SAT_KEY_COLUMN;
	key->columns[0] = c;
	key->column_count = 1;
	return check_readers(r, to, of, c);
}

/* One entry per key column of the roll-up, and no others. Every row must have
 * a territory, or the parts would not add up to the whole. */
static int read_keys(struct sat_cr *r, json_t *json, const struct sat_table *t,
		     const struct sat_rollup *u, const struct sat_table *of,
		     struct sat_rollup_source *s)
{
	json_t *map = json_object_get(json, "key");
	const char *names[KEYS_MAX + 1] = { NULL };
	struct sat_rollup_key *keys;
	size_t mark;
	int rc;

	for (uint16_t i = 0; i < u->key_count; i++)
		names[i] = t->columns[u->keys[i]].name;
	if (map == NULL)
		return sat_cr_fail(r, "key", "missing");
	keys = sat_arena_array(r->arena, u->key_count, sizeof *keys);
	if (keys == NULL)
		return sat_cr_nomem(r);
	mark = sat_cr_push(r, ".key");
	rc = sat_cr_object(r, map, names);
	for (uint16_t i = 0; rc == SAT_OK && i < u->key_count; i++)
		rc = read_key(r, json_object_get(map, names[i]),
			      &t->columns[u->keys[i]], of, &keys[i]);
	if (rc != SAT_OK)
		return rc;
	if (keys[0].kind != SAT_KEY_COLUMN ||
	    !of->columns[keys[0].columns[0]].required)
		return sat_cr_fail(r, names[0],
				   "must be a required column of \"%s\"",
				   of->name);
	sat_cr_pop(r, mark);
	s->keys = keys;
	return SAT_OK;
}

/* ---- sums ---------------------------------------------------------------- */

static int find_measure(struct sat_cr *r, const struct sat_table *t,
			const struct sat_rollup *u, const char *name,
			uint16_t *ret)
{
	for (uint16_t i = 0; i < u->measure_count; i++) {
		if (strcmp(t->columns[u->measures[i]].name, name) == 0) {
			*ret = i;
			return SAT_OK;
		}
	}
	return sat_cr_fail(r, sat_cr_word(name).s, "is no measure");
}

static int read_percent(struct sat_cr *r, json_t *json,
			const struct sat_column *to, const struct sat_table *of,
			struct sat_rollup_sum *sum)
{
	const json_t *name = json_object_get(json, "percent");
	uint16_t c = 0;
	int rc;

	if (name == NULL)
		return SAT_OK;
	if (sum->kind != SAT_SUM_VALUE)
		return sat_cr_fail(r, "percent", "needs sum");
	rc = sat_cr_find(r, of, "percent", name, &c);
	if (rc != SAT_OK)
		return rc;
	if (of->columns[c].type != SAT_TYPE_ENUM)
		return sat_cr_fail(r, "percent", "\"%s\" is no enum",
				   of->columns[c].name);
	sum->percent = (int16_t)c;
	return check_readers(r, to, of, c);
}

/* {"count": true}, {"count": C} or {"sum": C, "percent": E} */
static int read_sum(struct sat_cr *r, json_t *json, const struct sat_column *to,
		    const struct sat_table *of, struct sat_rollup_sum *sum)
{
	static const char *const keys[] = { "count", "sum", "percent", NULL };
	const json_t *count = json_object_get(json, "count");
	const json_t *value = json_object_get(json, "sum");
	int rc = sat_cr_object(r, json, keys);

	if (rc != SAT_OK)
		return rc;
	if ((count == NULL) == (value == NULL))
		return sat_cr_fail(r, to->name, "needs either count or sum");
	sum->percent = -1;
	sum->kind = value != NULL         ? SAT_SUM_VALUE
		    : json_is_true(count) ? SAT_SUM_ROWS
					  : SAT_SUM_PRESENT;
	if (sum->kind != SAT_SUM_ROWS) {
		rc = sat_cr_find(r, of, to->name, value != NULL ? value : count,
				 &sum->column);
		if (rc == SAT_OK)
			rc = check_readers(r, to, of, sum->column);
	}
	if (rc == SAT_OK && sum->kind == SAT_SUM_VALUE &&
	    (of->columns[sum->column].type != to->type))
		rc = sat_cr_fail(r, to->name, "\"%s\" is not of type %s",
				 of->columns[sum->column].name,
				 sat_type_name(to->type));
	return rc == SAT_OK ? read_percent(r, json, to, of, sum) : rc;
}

static int read_sums(struct sat_cr *r, json_t *json, const struct sat_table *t,
		     const struct sat_rollup *u, const struct sat_table *of,
		     struct sat_rollup_source *s)
{
	json_t *map = json_object_get(json, "sums"), *value;
	struct sat_rollup_sum *sums;
	const char *name;
	size_t mark;
	int rc = SAT_OK;

	if (json_object_size(map) == 0)
		return sat_cr_fail(r, "sums", "missing");
	sums = sat_arena_array(r->arena, json_object_size(map), sizeof *sums);
	if (sums == NULL)
		return sat_cr_nomem(r);
	mark = sat_cr_push(r, ".sums");
	json_object_foreach(map, name, value)
	{
		struct sat_rollup_sum *sum = &sums[s->sum_count++];

		rc = find_measure(r, t, u, name, &sum->measure);
		if (rc == SAT_OK)
			rc = read_sum(r, value,
				      &t->columns[u->measures[sum->measure]],
				      of, sum);
		if (rc != SAT_OK)
			return rc;
	}
	sat_cr_pop(r, mark);
	s->sums = sums;
	return rc;
}

/* ---- sources ------------------------------------------------------------- */

static int read_filter(struct sat_cr *r, json_t *json,
		       const struct sat_table *of, struct sat_rollup_source *s)
{
	static const char *const keys[] = { "column", "in", NULL };
	json_t *where = json_object_get(json, "where"), *list, *value;
	const char **accepted;
	uint16_t c = 0;
	size_t mark, i;
	int rc;

	s->filter = -1;
	if (where == NULL)
		return SAT_OK;
	mark = sat_cr_push(r, ".where");
	rc = sat_cr_object(r, where, keys);
	if (rc == SAT_OK)
		rc = sat_cr_find(r, of, "column",
				 json_object_get(where, "column"), &c);
	if (rc == SAT_OK)
		rc = sat_cr_array(r, where, "in", 1, SAT_CATALOGUE_VALUES_MAX,
				  &list);
	if (rc != SAT_OK)
		return rc;
	accepted = sat_arena_array(r->arena, json_array_size(list),
				   sizeof *accepted);
	if (accepted == NULL)
		return sat_cr_nomem(r);
	json_array_foreach(list, i, value)
	{
		const char *word = json_string_value(value);
		const struct sat_enum_value *v =
			word == NULL ? NULL
				     : sat_column_enum(&of->columns[c],
						       sat_slice_str(word));

		if (v == NULL)
			return sat_cr_fail(r, "in",
					   "must list values of \"%s\"",
					   of->columns[c].name);
		accepted[i] = v->name;
	}
	s->filter = (int16_t)c;
	s->accepted = accepted;
	s->accepted_count = (uint16_t)json_array_size(list);
	sat_cr_pop(r, mark);
	return SAT_OK;
}

static int read_source(struct sat_cr *r, json_t *json,
		       const struct sat_table *t, const struct sat_rollup *u,
		       struct sat_rollup_source *s)
{
	static const char *const keys[] = { "table", "where", "key", "sums",
					    NULL };
	const struct sat_table *of = NULL;
	int rc = sat_cr_object(r, json, keys);

	if (rc == SAT_OK)
		rc = read_of(r, json, t, &of);
	if (rc != SAT_OK)
		return rc;
	s->table = of->index;
	rc = read_filter(r, json, of, s);
	if (rc == SAT_OK)
		rc = read_keys(r, json, t, u, of, s);
	return rc == SAT_OK ? read_sums(r, json, t, u, of, s) : rc;
}

/* ---- roll-ups ------------------------------------------------------------ */

static int read_rollup_keys(struct sat_cr *r, json_t *json,
			    const struct sat_table *t, struct sat_rollup *u,
			    bool *is_key)
{
	uint16_t *keys;
	json_t *list, *name;
	size_t i;
	int rc = sat_cr_array(r, json, "key", 1, KEYS_MAX, &list);

	if (rc != SAT_OK)
		return rc;
	keys = sat_arena_array(r->arena, json_array_size(list), sizeof *keys);
	if (keys == NULL)
		return sat_cr_nomem(r);
	json_array_foreach(list, i, name)
	{
		rc = sat_cr_find(r, t, "key", name, &keys[i]);
		if (rc != SAT_OK)
			return rc;
		if (is_key[keys[i]])
			return sat_cr_fail(r, "key", "column \"%s\" twice",
					   t->columns[keys[i]].name);
		is_key[keys[i]] = true;
	}
	u->keys = keys;
	u->key_count = (uint16_t)json_array_size(list);
	if (t->scope_count != 1 || t->scopes[0].kind != SAT_SCOPE_COLUMN ||
	    t->scopes[0].column != keys[0])
		return sat_cr_fail(r, "key",
				   "the first column must be the table's only "
				   "scope");
	return SAT_OK;
}

/* What is not a key is a measure: a whole number without limits. */
static int read_measures(struct sat_cr *r, const struct sat_table *t,
			 struct sat_rollup *u, const bool *is_key)
{
	uint16_t *measures =
		sat_arena_array(r->arena, t->column_count, sizeof *measures);

	if (measures == NULL)
		return sat_cr_nomem(r);
	for (uint16_t i = 0; i < t->column_count; i++) {
		const struct sat_column *c = &t->columns[i];

		if (c->policy != SAT_POLICY_LWW || c->required)
			return sat_cr_fail(r, c->name,
					   "a figure is lww and not required");
		if (is_key[i])
			continue;
		if ((c->type != SAT_TYPE_INT && c->type != SAT_TYPE_MONEY) ||
		    c->has_min || c->has_max)
			return sat_cr_fail(r, c->name,
					   "a measure is an int or money "
					   "without limits");
		measures[u->measure_count++] = i;
	}
	u->measures = measures;
	if (u->measure_count < 1 || u->measure_count > MEASURES_MAX)
		return sat_cr_fail(r, NULL, "must have 1 to %d measures",
				   (int)MEASURES_MAX);
	return SAT_OK;
}

static int read_rollup(struct sat_cr *r, json_t *json, struct sat_table *t)
{
	static const char *const keys[] = { "levels", "key", "sources", NULL };
	bool is_key[SAT_CATALOGUE_COLUMNS_MAX] = { false };
	struct sat_rollup_source *sources;
	struct sat_rollup *u;
	json_t *list = NULL;
	size_t mark;
	int rc = sat_cr_object(r, json, keys);

	u = sat_arena_alloc(r->arena, sizeof *u);
	if (u == NULL)
		return sat_cr_nomem(r);
	if (rc == SAT_OK)
		rc = sat_cr_bool(r, json, "levels", &u->all_levels);
	if (rc == SAT_OK)
		rc = read_rollup_keys(r, json, t, u, is_key);
	if (rc == SAT_OK)
		rc = read_measures(r, t, u, is_key);
	if (rc == SAT_OK)
		rc = sat_cr_array(r, json, "sources", 1, SOURCES_MAX, &list);
	if (rc != SAT_OK)
		return rc;
	u->source_count = (uint16_t)json_array_size(list);
	sources = sat_arena_array(r->arena, u->source_count, sizeof *sources);
	if (sources == NULL)
		return sat_cr_nomem(r);
	for (uint16_t i = 0; i < u->source_count; i++) {
		mark = sat_cr_push(r, ".sources[%u]", (unsigned)i);
		rc = read_source(r, json_array_get(list, i), t, u, &sources[i]);
		if (rc != SAT_OK)
			return rc;
		sat_cr_pop(r, mark);
	}
	u->sources = sources;
	t->rollup = u;
	return SAT_OK;
}

/* ---- histories ----------------------------------------------------------- */

/* A column of t that the key names, of that type; optional ones may be left
 * out. */
static int read_place(struct sat_cr *r, json_t *json, const char *key,
		      const struct sat_table *t, enum sat_type type,
		      bool optional, int16_t *ret)
{
	const json_t *name = json_object_get(json, key);
	uint16_t c = 0;
	int rc;

	*ret = -1;
	if (name == NULL)
		return optional ? SAT_OK : sat_cr_fail(r, key, "missing");
	rc = sat_cr_find(r, t, key, name, &c);
	if (rc == SAT_OK && t->columns[c].type != type)
		rc = sat_cr_fail(r, key, "\"%s\" is not of type %s",
				 t->columns[c].name, sat_type_name(type));
	if (rc == SAT_OK)
		*ret = (int16_t)c;
	return rc;
}

static int read_places(struct sat_cr *r, json_t *json,
		       const struct sat_table *t, const struct sat_table *of,
		       struct sat_history *h)
{
	int16_t row, from, to, at, watched;
	int rc = read_place(r, json, "column", of, SAT_TYPE_ENUM, false,
			    &watched);

	if (rc == SAT_OK)
		rc = read_place(r, json, "row", t, SAT_TYPE_REF, false, &row);
	if (rc == SAT_OK)
		rc = read_place(r, json, "from", t, SAT_TYPE_ENUM, false,
				&from);
	if (rc == SAT_OK)
		rc = read_place(r, json, "to", t, SAT_TYPE_ENUM, false, &to);
	if (rc == SAT_OK)
		rc = read_place(r, json, "at", t, SAT_TYPE_TIME, false, &at);
	if (rc == SAT_OK)
		rc = read_place(r, json, "by", t, SAT_TYPE_REF, true, &h->by);
	if (rc == SAT_OK)
		rc = read_place(r, json, "days", t, SAT_TYPE_REAL, true,
				&h->days);
	if (rc == SAT_OK)
		rc = read_place(r, json, "began", of, SAT_TYPE_DATE, true,
				&h->began);
	if (rc == SAT_OK)
		rc = read_place(r, json, "ended", of, SAT_TYPE_DATE, true,
				&h->ended);
	if (rc != SAT_OK)
		return rc;
	h->table = of->index;
	h->watched = (uint16_t)watched;
	h->row = (uint16_t)row;
	h->from = (uint16_t)from;
	h->to = (uint16_t)to;
	h->at = (uint16_t)at;
	return SAT_OK;
}

static int check_history(struct sat_cr *r, const struct sat_table *t,
			 const struct sat_table *of,
			 const struct sat_history *h)
{
	int rc = check_readers(r, &t->columns[h->from], of, h->watched);

	if (rc == SAT_OK)
		rc = check_readers(r, &t->columns[h->to], of, h->watched);
	if (rc == SAT_OK && h->began >= 0 && h->days >= 0)
		rc = check_readers(r, &t->columns[h->days], of,
				   (uint16_t)h->began);
	if (rc == SAT_OK && h->ended >= 0)
		rc = check_readers(r, &t->columns[h->at], of,
				   (uint16_t)h->ended);
	if (rc != SAT_OK)
		return rc;
	if (t->scope_count != 1 || t->scopes[0].kind != SAT_SCOPE_VIA ||
	    t->scopes[0].column != h->row || referred(r, t, h->row) != of)
		return sat_cr_fail(r, "row",
				   "must point to \"%s\" and be the table's "
				   "only scope",
				   of->name);
	if (!values_fit(&t->columns[h->from], &of->columns[h->watched]) ||
	    !values_fit(&t->columns[h->to], &of->columns[h->watched]))
		return sat_cr_fail(r, "column",
				   "from and to lack some of its values");
	return SAT_OK;
}

static int read_history(struct sat_cr *r, json_t *json, struct sat_table *t)
{
	static const char *const keys[] = { "table", "column", "row", "from",
					    "to",    "at",     "by",  "days",
					    "began", "ended",  NULL };
	const struct sat_table *of = NULL;
	struct sat_history *h = sat_arena_alloc(r->arena, sizeof *h);
	int rc = sat_cr_object(r, json, keys);

	if (h == NULL)
		return sat_cr_nomem(r);
	if (rc == SAT_OK)
		rc = read_of(r, json, t, &of);
	if (rc == SAT_OK)
		rc = read_places(r, json, t, of, h);
	if (rc == SAT_OK)
		rc = check_history(r, t, of, h);
	if (rc == SAT_OK)
		t->history = h;
	return rc;
}

int sat_cr_figures(struct sat_cr *r, struct json_t *json, struct sat_table *t)
{
	json_t *rollup = json_object_get(json, "rollup");
	json_t *history = json_object_get(json, "history");
	size_t mark;
	int rc = SAT_OK;

	if (rollup == NULL && history == NULL)
		return SAT_OK;
	if (!t->derived || (rollup != NULL && history != NULL))
		return sat_cr_fail(r, rollup != NULL ? "rollup" : "history",
				   "only for a derived table, and one of both");
	mark = sat_cr_push(r, rollup != NULL ? ".rollup" : ".history");
	rc = rollup != NULL ? read_rollup(r, rollup, t)
			    : read_history(r, history, t);
	if (rc == SAT_OK)
		sat_cr_pop(r, mark);
	return rc;
}
