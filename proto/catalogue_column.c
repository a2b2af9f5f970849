#include "proto/catalogue_load.h"
#include "proto/catalogue_read.h"

#include <jansson.h>
#include <string.h>

enum { TEXT_BYTES = 64 * 1024, TEXT_BYTES_MAX = 1024 * 1024 };

#define ALL_ROLES (SAT_ROLE_BIT(SAT_ROLE_COUNT) - 1)
#define ALWAYS    (SAT_ROLE_BIT(SAT_ROLE_ADMIN) | SAT_ROLE_BIT(SAT_ROLE_SERVER))
#define SERVER    SAT_ROLE_BIT(SAT_ROLE_SERVER)

static int read_type(struct sat_cr *r, json_t *json, struct sat_column *c)
{
	const char *name = NULL, *target = NULL;
	const struct sat_table *t;
	int type = 0, rc;

	rc = sat_cr_string(r, json, "type", true, &name);
	if (rc != SAT_OK)
		return rc;
	while (type < SAT_TYPE_COUNT &&
	       strcmp(sat_type_name((enum sat_type)type), name) != 0)
		type++;
	if (type == SAT_TYPE_COUNT)
		return sat_cr_fail(r, "type", "unknown type \"%s\"",
				   sat_cr_word(name).s);
	c->type = (enum sat_type)type;
	rc = sat_cr_string(r, json, "ref", type == SAT_TYPE_REF, &target);
	if (rc != SAT_OK || target == NULL)
		return rc;
	if (type != SAT_TYPE_REF)
		return sat_cr_fail(r, "ref", "only for type ref");
	t = sat_catalogue_table(r->cat, sat_slice_str(target));
	if (t == NULL)
		return sat_cr_fail(r, "ref", "unknown table \"%s\"",
				   sat_cr_word(target).s);
	c->ref_table = t->index;
	return SAT_OK;
}

static bool policy_fits(enum sat_policy p, enum sat_type t)
{
	switch (p) {
	case SAT_POLICY_COUNTER:
		return t == SAT_TYPE_COUNTER;
	case SAT_POLICY_SET:
		return t == SAT_TYPE_SET;
	case SAT_POLICY_ORDERED:
		return t == SAT_TYPE_ENUM;
	case SAT_POLICY_MAX:
	case SAT_POLICY_MIN:
		return t == SAT_TYPE_INT || t == SAT_TYPE_MONEY ||
		       t == SAT_TYPE_TIME || t == SAT_TYPE_DATE ||
		       t == SAT_TYPE_REAL || t == SAT_TYPE_BOOL;
	default:
		return t != SAT_TYPE_COUNTER && t != SAT_TYPE_SET;
	}
}

static int read_policy(struct sat_cr *r, json_t *json, struct sat_column *c)
{
	const char *name = NULL;
	int policy = 0, rc;

	rc = sat_cr_string(r, json, "policy", false, &name);
	if (rc != SAT_OK)
		return rc;
	if (name == NULL) {
		c->policy = c->type == SAT_TYPE_COUNTER ? SAT_POLICY_COUNTER
			    : c->type == SAT_TYPE_SET   ? SAT_POLICY_SET
							: SAT_POLICY_LWW;
		return SAT_OK;
	}
	while (policy < SAT_POLICY_COUNT &&
	       strcmp(sat_policy_name((enum sat_policy)policy), name) != 0)
		policy++;
	if (policy == SAT_POLICY_COUNT)
		return sat_cr_fail(r, "policy", "unknown policy \"%s\"",
				   sat_cr_word(name).s);
	c->policy = (enum sat_policy)policy;
	if (!policy_fits(c->policy, c->type))
		return sat_cr_fail(r, "policy", "%s does not fit type %s", name,
				   sat_type_name(c->type));
	return SAT_OK;
}

static int read_value(struct sat_cr *r, json_t *json,
		      const struct sat_column *c, struct sat_enum_value *v)
{
	static const char *const keys[] = { "name",     "label",   "rank",
					    "terminal", "percent", NULL };
	bool has_rank, has_percent, ordered = c->policy == SAT_POLICY_ORDERED;
	int64_t rank = 0, percent = -1;
	int rc = sat_cr_object(r, json, keys);

	if (rc == SAT_OK)
		rc = sat_cr_identifier(r, json, "name", &v->name);
	if (rc == SAT_OK)
		rc = sat_cr_label(r, json, &v->label);
	if (rc == SAT_OK)
		rc = sat_cr_int(r, json, "rank", 0, 1000000, &rank, &has_rank);
	if (rc == SAT_OK)
		rc = sat_cr_bool(r, json, "terminal", &v->terminal);
	if (rc == SAT_OK)
		rc = sat_cr_int(r, json, "percent", 0, 100, &percent,
				&has_percent);
	if (rc != SAT_OK)
		return rc;
	if (ordered && !has_rank)
		return sat_cr_fail(r, "rank",
				   "missing; policy ordered needs it");
	if (!ordered && has_rank)
		return sat_cr_fail(r, "rank", "only for policy ordered");
	if (!ordered && v->terminal)
		return sat_cr_fail(r, "terminal", "only for policy ordered");
	v->rank = (int32_t)rank;
	v->percent = (int32_t)percent;
	return SAT_OK;
}

/* Against the ones before it: another name, and the end of a road lies beyond
 * every state on the way. */
static int compare_value(struct sat_cr *r, const struct sat_enum_value *values,
			 size_t n)
{
	const struct sat_enum_value *v = &values[n];

	for (size_t i = 0; i < n; i++) {
		const struct sat_enum_value *w = &values[i];

		if (strcmp(w->name, v->name) == 0)
			return sat_cr_fail(r, "name", "\"%s\" is used twice",
					   v->name);
		if ((v->terminal && !w->terminal && v->rank <= w->rank) ||
		    (!v->terminal && w->terminal && v->rank >= w->rank))
			return sat_cr_fail(r, "rank",
					   "terminal values must rank above "
					   "all others");
	}
	return SAT_OK;
}

static int read_values(struct sat_cr *r, json_t *json, struct sat_column *c)
{
	bool is_enum = c->type == SAT_TYPE_ENUM;
	struct sat_enum_value *values;
	json_t *list;
	size_t mark;
	int rc = sat_cr_array(r, json, "values", is_enum ? 1 : 0,
			      SAT_CATALOGUE_VALUES_MAX, &list);

	if (rc != SAT_OK || list == NULL)
		return rc;
	if (!is_enum)
		return sat_cr_fail(r, "values", "only for type enum");
	values = sat_arena_array(r->arena, json_array_size(list),
				 sizeof *values);
	if (values == NULL)
		return sat_cr_nomem(r);
	c->value_count = (uint16_t)json_array_size(list);
	for (size_t i = 0; i < c->value_count; i++) {
		mark = sat_cr_push(r, ".values[%zu]", i);
		rc = read_value(r, json_array_get(list, i), c, &values[i]);
		if (rc == SAT_OK)
			rc = compare_value(r, values, i);
		if (rc != SAT_OK)
			return rc;
		sat_cr_pop(r, mark);
	}
	c->values = values;
	return SAT_OK;
}

static int read_access(struct sat_cr *r, json_t *json,
		       const struct sat_table *t, struct sat_column *c)
{
	bool has_write, has_read;
	uint32_t write = t->insert, read = ALL_ROLES, blind;
	int rc = sat_cr_roles(r, json, "write", &write, &has_write);

	if (rc == SAT_OK)
		rc = sat_cr_roles(r, json, "read", &read, &has_read);
	if (rc != SAT_OK)
		return rc;
	if (t->derived && write != SERVER)
		return sat_cr_fail(r, "write",
				   "only the server writes a derived table");
	c->write = t->derived ? SERVER : write | ALWAYS;
	c->read = read | ALWAYS;
	blind = c->write & ~c->read;
	for (int role = 0; role < SAT_ROLE_COUNT; role++) {
		if ((blind & SAT_ROLE_BIT(role)) != 0)
			return sat_cr_fail(r, "read",
					   "role %s may write the column but "
					   "not read it",
					   sat_role_name((enum sat_role)role));
	}
	return SAT_OK;
}

static int read_limits(struct sat_cr *r, json_t *json, struct sat_column *c)
{
	bool number = c->type == SAT_TYPE_INT || c->type == SAT_TYPE_MONEY ||
		      c->type == SAT_TYPE_TIME || c->type == SAT_TYPE_REAL;
	bool text = c->type == SAT_TYPE_TEXT || c->type == SAT_TYPE_JSON ||
		    c->type == SAT_TYPE_SET;
	bool has_bytes;
	int64_t bytes = TEXT_BYTES;
	int rc = sat_cr_int(r, json, "min", INT64_MIN, INT64_MAX, &c->min,
			    &c->has_min);

	if (rc == SAT_OK)
		rc = sat_cr_int(r, json, "max", INT64_MIN, INT64_MAX, &c->max,
				&c->has_max);
	if (rc == SAT_OK)
		rc = sat_cr_int(r, json, "max_bytes", 1, TEXT_BYTES_MAX, &bytes,
				&has_bytes);
	if (rc != SAT_OK)
		return rc;
	if (!number && (c->has_min || c->has_max))
		return sat_cr_fail(r, c->has_min ? "min" : "max",
				   "not for type %s", sat_type_name(c->type));
	if (c->has_min && c->has_max && c->min > c->max)
		return sat_cr_fail(r, "max", "smaller than min");
	if (!text && has_bytes)
		return sat_cr_fail(r, "max_bytes", "not for type %s",
				   sat_type_name(c->type));
	c->max_bytes = (uint32_t)bytes;
	return SAT_OK;
}

/* {"now":true}, {"today":true}, {"author":"user"}, {"author":"home"} */
static int read_computed(struct sat_cr *r, json_t *json, struct sat_column *c)
{
	const char *author = json_string_value(json_object_get(json, "author"));
	bool single = json_object_size(json) == 1;
	enum sat_type type;

	if (single && json_is_true(json_object_get(json, "now"))) {
		c->def = SAT_DEFAULT_NOW;
		type = SAT_TYPE_TIME;
	} else if (single && json_is_true(json_object_get(json, "today"))) {
		c->def = SAT_DEFAULT_TODAY;
		type = SAT_TYPE_DATE;
	} else if (single && author && strcmp(author, "user") == 0) {
		c->def = SAT_DEFAULT_AUTHOR;
		type = SAT_TYPE_REF;
	} else if (single && author && strcmp(author, "home") == 0) {
		c->def = SAT_DEFAULT_AUTHOR_HOME;
		type = SAT_TYPE_REF;
	} else {
		return sat_cr_fail(r, "default",
				   "must be a plain value, {\"now\":true}, "
				   "{\"today\":true}, {\"author\":\"user\"} or "
				   "{\"author\":\"home\"}");
	}
	if (c->type != type)
		return sat_cr_fail(r, "default", "only for type %s",
				   sat_type_name(type));
	return SAT_OK;
}

static int read_default(struct sat_cr *r, json_t *json, struct sat_column *c)
{
	json_t *v = json_object_get(json, "default");
	struct sat_value *out = &c->default_value;
	const char *why = NULL;

	*out = (struct sat_value){ .kind = SAT_NULL };
	if (v == NULL)
		return SAT_OK;
	if (json_is_object(v))
		return read_computed(r, v, c);
	if (c->type == SAT_TYPE_REF || c->type == SAT_TYPE_BLOBREF ||
	    c->type == SAT_TYPE_SET || c->type == SAT_TYPE_COUNTER)
		return sat_cr_fail(r, "default", "a %s has no plain default",
				   sat_type_name(c->type));
	if (json_is_string(v)) {
		out->kind = SAT_TEXT;
		if (sat_arena_copy(r->arena,
				   sat_slice_str(json_string_value(v)),
				   &out->s) != SAT_OK)
			return sat_cr_nomem(r);
	} else if (c->type == SAT_TYPE_REAL && json_is_number(v)) {
		*out = (struct sat_value){ .kind = SAT_REAL,
					   .r = json_number_value(v) };
	} else if (json_is_integer(v) && c->type != SAT_TYPE_BOOL) {
		*out = (struct sat_value){ .kind = SAT_INT,
					   .i = json_integer_value(v) };
	} else if (json_is_boolean(v) && c->type == SAT_TYPE_BOOL) {
		*out = (struct sat_value){ .kind = SAT_INT,
					   .i = json_is_true(v) };
	} else {
		return sat_cr_fail(r, "default", "has the wrong type for %s",
				   sat_type_name(c->type));
	}
	if (!sat_column_accepts(c, out, &why))
		return sat_cr_fail(r, "default", "%s", why);
	c->def = SAT_DEFAULT_VALUE;
	return SAT_OK;
}

/* Whoever may insert a row must be able to fill what it requires. */
static int check_required(struct sat_cr *r, const struct sat_table *t,
			  const struct sat_column *c)
{
	uint32_t stuck = t->insert & ~c->write;

	if (!c->required)
		return SAT_OK;
	if (c->type == SAT_TYPE_SET || c->type == SAT_TYPE_COUNTER)
		return sat_cr_fail(r, "required", "not for type %s",
				   sat_type_name(c->type));
	for (int role = 0; c->def == SAT_DEFAULT_NONE && role < SAT_ROLE_COUNT;
	     role++) {
		if ((stuck & SAT_ROLE_BIT(role)) != 0)
			return sat_cr_fail(r, "required",
					   "role %s may insert rows but not "
					   "write the column, and it has no "
					   "default",
					   sat_role_name((enum sat_role)role));
	}
	return SAT_OK;
}

int sat_cr_column(struct sat_cr *r, const struct sat_table *t,
		  struct json_t *json, struct sat_column *c)
{
	static const char *const keys[] = { "name",     "no",        "label",
					    "type",     "ref",       "values",
					    "policy",   "write",     "read",
					    "required", "default",   "min",
					    "max",      "max_bytes", NULL };
	int rc = sat_cr_object(r, json, keys);

	if (rc == SAT_OK)
		rc = sat_cr_label(r, json, &c->label);
	if (rc == SAT_OK)
		rc = read_type(r, json, c);
	if (rc == SAT_OK)
		rc = read_policy(r, json, c);
	if (rc == SAT_OK)
		rc = read_values(r, json, c);
	if (rc == SAT_OK)
		rc = read_access(r, json, t, c);
	if (rc == SAT_OK)
		rc = read_limits(r, json, c);
	if (rc == SAT_OK)
		rc = sat_cr_bool(r, json, "required", &c->required);
	if (rc == SAT_OK)
		rc = read_default(r, json, c);
	if (rc == SAT_OK)
		rc = check_required(r, t, c);
	return rc;
}
