#include "proto/catalogue_read.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 40, STRING_MAX_BYTES = 256 };

/* SQL would need these quoted, or could take them for something else. */
static const char *const reserved[] = {
	"add",
	"all",
	"alter",
	"and",
	"as",
	"asc",
	"autoincrement",
	"begin",
	"between",
	"case",
	"cast",
	"check",
	"collate",
	"commit",
	"constraint",
	"create",
	"cross",
	"current_date",
	"current_time",
	"current_timestamp",
	"default",
	"deferrable",
	"delete",
	"desc",
	"distinct",
	"drop",
	"else",
	"end",
	"escape",
	"except",
	"exists",
	"false",
	"foreign",
	"from",
	"full",
	"glob",
	"group",
	"having",
	"if",
	"in",
	"index",
	"indexed",
	"inner",
	"insert",
	"intersect",
	"into",
	"is",
	"isnull",
	"join",
	"left",
	"like",
	"limit",
	"match",
	"natural",
	"not",
	"nothing",
	"notnull",
	"null",
	"oid",
	"on",
	"or",
	"order",
	"outer",
	"primary",
	"raise",
	"references",
	"regexp",
	"returning",
	"right",
	"rowid",
	"select",
	"set",
	"table",
	"then",
	"to",
	"transaction",
	"true",
	"union",
	"unique",
	"update",
	"using",
	"values",
	"when",
	"where",
	"with",
};

struct sat_cr_word sat_cr_word(const char *s)
{
	struct sat_cr_word w;
	size_t n = 0;

	for (; s[n] != '\0' && n < sizeof w.s - 4; n++)
		w.s[n] = s[n] > ' ' && s[n] < 0x7f ? s[n] : '?';
	(void)snprintf(w.s + n, sizeof w.s - n, "%s", s[n] ? "..." : "");
	return w;
}

size_t sat_cr_push(struct sat_cr *r, const char *fmt, ...)
{
	size_t mark = r->path_len, room = sizeof r->path - mark;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->path + mark, room, fmt, ap);
	va_end(ap);
	/* Names are checked before they are pushed, so this does not happen;
	 * if it did, a cut path in a message would do no harm. */
	r->path_len = n < 0               ? mark
		      : (size_t)n >= room ? sizeof r->path - 1
					  : mark + (size_t)n;
	return mark;
}

void sat_cr_pop(struct sat_cr *r, size_t mark)
{
	r->path_len = mark;
	r->path[mark] = '\0';
}

int sat_cr_fail(struct sat_cr *r, const char *key, const char *fmt, ...)
{
	char why[160];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	if (key == NULL)
		return sat_err_set(r->err, SAT_E_INVAL, 0, "catalogue",
				   "%s: %s%s%s", r->file, r->path,
				   r->path_len > 0 ? ": " : "", why);
	return sat_err_set(r->err, SAT_E_INVAL, 0, "catalogue",
			   "%s: %s%s%s: %s", r->file, r->path,
			   r->path_len > 0 ? "." : "", key, why);
}

int sat_cr_nomem(struct sat_cr *r)
{
	return sat_err_set(r->err, SAT_E_NOMEM, 0, "catalogue",
			   "%s: out of memory", r->file);
}

int sat_cr_object(struct sat_cr *r, struct json_t *json,
		  const char *const *allowed)
{
	const char *key;
	json_t *value;
	size_t i;

	if (!json_is_object(json))
		return sat_cr_fail(r, NULL, "must be an object");
	json_object_foreach(json, key, value)
	{
		for (i = 0; allowed[i] != NULL; i++) {
			if (strcmp(allowed[i], key) == 0)
				break;
		}
		if (allowed[i] == NULL)
			return sat_cr_fail(r, sat_cr_word(key).s,
					   "unknown key");
	}
	return SAT_OK;
}

static int missing(struct sat_cr *r, const char *key)
{
	return sat_cr_fail(r, key, "missing");
}

int sat_cr_string(struct sat_cr *r, struct json_t *o, const char *key,
		  bool required, const char **ret)
{
	json_t *v = json_object_get(o, key);
	const char *copy;
	size_t len;

	if (v == NULL)
		return required ? missing(r, key) : SAT_OK;
	if (!json_is_string(v))
		return sat_cr_fail(r, key, "must be a string");
	len = json_string_length(v);
	if (len == 0)
		return sat_cr_fail(r, key, "must not be empty");
	if (len > STRING_MAX_BYTES)
		return sat_cr_fail(r, key, "longer than %d bytes",
				   (int)STRING_MAX_BYTES);
	for (size_t i = 0; i < len; i++) {
		if ((uint8_t)json_string_value(v)[i] < ' ')
			return sat_cr_fail(r, key, "holds control characters");
	}
	copy = sat_arena_string(r->arena, sat_slice_str(json_string_value(v)));
	if (copy == NULL)
		return sat_cr_nomem(r);
	*ret = copy;
	return SAT_OK;
}

static bool identifier(const char *s)
{
	size_t n = strlen(s);

	if (n > NAME_MAX_BYTES || s[0] < 'a' || s[0] > 'z')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

int sat_cr_identifier(struct sat_cr *r, struct json_t *o, const char *key,
		      const char **ret)
{
	const char *name = NULL;
	int rc = sat_cr_string(r, o, key, true, &name);

	if (rc != SAT_OK)
		return rc;
	if (!identifier(name))
		return sat_cr_fail(r, key,
				   "\"%s\" is not a small letter and up to 39 "
				   "small letters, digits, _",
				   sat_cr_word(name).s);
	*ret = name;
	return SAT_OK;
}

int sat_cr_int(struct sat_cr *r, struct json_t *o, const char *key, int64_t min,
	       int64_t max, int64_t *ret, bool *ret_has)
{
	json_t *v = json_object_get(o, key);
	int64_t i;

	if (ret_has != NULL)
		*ret_has = v != NULL;
	if (v == NULL)
		return ret_has == NULL ? missing(r, key) : SAT_OK;
	if (!json_is_integer(v))
		return sat_cr_fail(r, key, "must be a whole number");
	i = json_integer_value(v);
	if (i < min || i > max)
		return sat_cr_fail(r, key, "must lie between %lld and %lld",
				   (long long)min, (long long)max);
	*ret = i;
	return SAT_OK;
}

int sat_cr_bool(struct sat_cr *r, struct json_t *o, const char *key, bool *ret)
{
	json_t *v = json_object_get(o, key);

	if (v == NULL)
		return SAT_OK;
	if (!json_is_boolean(v))
		return sat_cr_fail(r, key, "must be true or false");
	*ret = json_is_true(v);
	return SAT_OK;
}

int sat_cr_label(struct sat_cr *r, struct json_t *o, struct sat_label *ret)
{
	static const char *const keys[] = { "en", "zh", NULL };
	json_t *v = json_object_get(o, "label");
	size_t mark;
	int rc;

	if (v == NULL)
		return missing(r, "label");
	mark = sat_cr_push(r, "%slabel", r->path_len > 0 ? "." : "");
	rc = sat_cr_object(r, v, keys);
	for (int lang = 0; rc == SAT_OK && lang < SAT_LANG_COUNT; lang++)
		rc = sat_cr_string(r, v, keys[lang], true, &ret->text[lang]);
	if (rc == SAT_OK)
		sat_cr_pop(r, mark);
	return rc;
}

int sat_cr_array(struct sat_cr *r, struct json_t *o, const char *key,
		 size_t min, size_t max, struct json_t **ret)
{
	json_t *v = json_object_get(o, key);

	*ret = v;
	if (v == NULL)
		return min > 0 ? missing(r, key) : SAT_OK;
	if (!json_is_array(v))
		return sat_cr_fail(r, key, "must be a list");
	if (json_array_size(v) < min)
		return sat_cr_fail(r, key, "must not be empty");
	if (json_array_size(v) > max)
		return sat_cr_fail(r, key, "has more than %zu entries", max);
	return SAT_OK;
}

int sat_cr_roles(struct sat_cr *r, struct json_t *o, const char *key,
		 uint32_t *ret, bool *ret_has)
{
	json_t *list;
	uint32_t mask = 0;
	int rc = sat_cr_array(r, o, key, 0, SAT_ROLE_COUNT, &list);

	if (rc != SAT_OK)
		return rc;
	*ret_has = list != NULL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		enum sat_role role;

		if (name == NULL)
			return sat_cr_fail(r, key, "must be a list of roles");
		role = sat_role_of(sat_slice_str(name));
		if (role == SAT_ROLE_COUNT)
			return sat_cr_fail(r, key, "unknown role \"%s\"",
					   sat_cr_word(name).s);
		if ((mask & SAT_ROLE_BIT(role)) != 0)
			return sat_cr_fail(r, key, "role \"%s\" twice", name);
		mask |= SAT_ROLE_BIT(role);
	}
	if (list != NULL)
		*ret = mask;
	return SAT_OK;
}

static const char *name_fault(const char *name, bool table)
{
	for (size_t i = 0; i < SAT_COUNT_OF(reserved); i++) {
		if (strcmp(reserved[i], name) == 0)
			return "is a word of SQL";
	}
	if (!table)
		return strcmp(name, "id") == 0 ? "is there by itself" : NULL;
	if (strncmp(name, "sqlite", 6) == 0)
		return "begins like SQLite's own tables";
	if (strncmp(name, "satchel_", 8) == 0)
		return "begins like our own tables";
	return NULL;
}

static int read_entry(struct sat_cr *r, json_t *json, bool table,
		      struct sat_cr_entry *e)
{
	const char *fault;
	int64_t no = 0;
	int rc;

	if (!json_is_object(json))
		return sat_cr_fail(r, NULL, "must be an object");
	rc = sat_cr_identifier(r, json, "name", &e->name);
	if (rc != SAT_OK)
		return rc;
	fault = name_fault(e->name, table);
	if (fault != NULL)
		return sat_cr_fail(r, "name", "\"%s\" %s", e->name, fault);
	rc = sat_cr_int(r, json, "no", 1, UINT16_MAX, &no, NULL);
	e->no = (uint16_t)no;
	e->json = json;
	return rc;
}

/* Put e where its number belongs among the n sorted ones before it. */
static int place_entry(struct sat_cr *r, struct sat_cr_entry *entries, size_t n,
		       struct sat_cr_entry e)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(entries[i].name, e.name) == 0)
			return sat_cr_fail(r, "name", "\"%s\" is used twice",
					   e.name);
		if (entries[i].no == e.no)
			return sat_cr_fail(r, "no", "%u is used twice",
					   (unsigned)e.no);
	}
	for (; n > 0 && entries[n - 1].no > e.no; n--)
		entries[n] = entries[n - 1];
	entries[n] = e;
	return SAT_OK;
}

int sat_cr_entries(struct sat_cr *r, struct json_t *array, const char *what,
		   struct sat_cr_entry **ret)
{
	size_t count = json_array_size(array), mark;
	bool table = strcmp(what, "tables") == 0;
	struct sat_cr_entry *entries, e;
	int rc;

	entries = sat_arena_array(r->arena, count, sizeof *entries);
	if (entries == NULL)
		return sat_cr_nomem(r);
	for (size_t i = 0; i < count; i++) {
		mark = sat_cr_push(r, "%s%s[%zu]", r->path_len > 0 ? "." : "",
				   what, i);
		rc = read_entry(r, json_array_get(array, i), table, &e);
		if (rc == SAT_OK)
			rc = place_entry(r, entries, i, e);
		if (rc != SAT_OK)
			return rc;
		sat_cr_pop(r, mark);
	}
	*ret = entries;
	return SAT_OK;
}
