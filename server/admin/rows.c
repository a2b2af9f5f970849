#include "server/admin/rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pki.h"

int sat_arg_text(const json_t *args, const char *name, const char **ret,
		 struct sat_err *err)
{
	const json_t *v = json_object_get(args, name);

	if (!json_is_string(v) || json_string_length(v) == 0)
		return sat_err_set(err, SAT_E_INVAL, 0, "arguments",
				   "--%s is needed", name);
	*ret = json_string_value(v);
	return SAT_OK;
}

const char *sat_arg_text_or_null(const json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

bool sat_arg_flag(const json_t *args, const char *name)
{
	return json_is_true(json_object_get(args, name));
}

int sat_admin_table(const struct sat_admin *a, const char *name,
		    const struct sat_table **ret, struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(a->store);

	*ret = sat_catalogue_table(c, sat_slice_str(name));
	if (*ret == NULL)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "table",
				   "there is no table \"%s\" (see `catalogue "
				   "show`)",
				   name);
	return SAT_OK;
}

int sat_admin_column(const struct sat_table *t, const char *name, int *ret,
		     struct sat_err *err)
{
	*ret = sat_table_column(t, sat_slice_str(name));
	if (*ret < 0)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "column",
				   "table %s has no column \"%s\"", t->name,
				   name);
	return SAT_OK;
}

struct finding {
	struct sat_id id;
	unsigned count;
};

static int on_found(void *arg, const struct sat_table *t,
		    const struct sat_stored_row *row)
{
	struct finding *f = arg;

	(void)t;
	if (row->deleted)
		return SAT_OK;
	f->id = row->id;
	f->count++;
	return SAT_OK;
}

int sat_admin_find(const struct sat_admin *a, const char *table,
		   const char *column, const char *text, struct sat_id *ret,
		   struct sat_err *err)
{
	struct sat_value value = sat_value_text(sat_slice_str(text));
	struct finding f = { .count = 0 };
	const struct sat_table *t;
	int index, rc;

	rc = sat_admin_table(a, table, &t, err);
	if (rc == SAT_OK)
		rc = sat_admin_column(t, column, &index, err);
	if (rc == SAT_OK)
		rc = sat_store_rows(a->store, t, index, &value, on_found, &f,
				    err);
	if (rc != SAT_OK)
		return rc;
	if (f.count == 0)
		return sat_err_set(err, SAT_E_NOTFOUND, 0, "find",
				   "there is no %s with %s \"%s\"", table,
				   column, text);
	if (f.count > 1)
		return sat_err_set(err, SAT_E_INVAL, 0, "find",
				   "%u rows of %s have %s \"%s\"", f.count,
				   table, column, text);
	*ret = f.id;
	return SAT_OK;
}

/* A whole number in the text, nothing else. */
static bool read_int(struct sat_slice text, int64_t *ret)
{
	char copy[24], *end;

	if (text.len == 0 || text.len >= sizeof copy)
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	errno = 0; /* a number too large must not become the largest */
	*ret = strtoll(copy, &end, 10);
	return *end == '\0' && errno == 0;
}

static bool read_real(struct sat_slice text, double *ret)
{
	char copy[64], *end;

	if (text.len == 0 || text.len >= sizeof copy)
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*ret = strtod(copy, &end);
	return *end == '\0';
}

static bool read_bool(struct sat_slice text, int64_t *ret)
{
	static const char *const words[] = { "0",    "1",  "false",
					     "true", "no", "yes" };

	for (size_t i = 0; i < SAT_COUNT_OF(words); i++)
		if (sat_slice_equal(text, sat_slice_str(words[i]))) {
			*ret = (int64_t)(i % 2);
			return true;
		}
	return false;
}

/* The numbers and times: no memory needed. False when text is none. */
static bool read_plain(const struct sat_column *c, struct sat_slice text,
		       struct sat_value *ret)
{
	int64_t i = 0;
	double r = 0;
	bool ok = false;

	switch (c->type) {
	case SAT_TYPE_INT:
	case SAT_TYPE_COUNTER:
		ok = read_int(text, &i);
		break;
	case SAT_TYPE_BOOL:
		ok = read_bool(text, &i);
		break;
	case SAT_TYPE_MONEY:
		ok = sat_money_parse(text, &i);
		break;
	case SAT_TYPE_TIME:
		ok = sat_time_parse(text, &i) || read_int(text, &i);
		break;
	case SAT_TYPE_REAL:
		ok = read_real(text, &r);
		*ret = sat_value_real(r);
		return ok;
	default:
		return false;
	}
	*ret = sat_value_int(i);
	return ok;
}

static bool is_plain(enum sat_type type)
{
	return type == SAT_TYPE_INT || type == SAT_TYPE_COUNTER ||
	       type == SAT_TYPE_BOOL || type == SAT_TYPE_MONEY ||
	       type == SAT_TYPE_TIME || type == SAT_TYPE_REAL;
}

/* Ids and hashes from their text forms. */
static int read_bytes(struct sat_arena *arena, const struct sat_column *c,
		      struct sat_slice text, struct sat_value *ret, bool *ok)
{
	size_t len = c->type == SAT_TYPE_REF ? sizeof(struct sat_id) : 32;
	uint8_t *p = sat_arena_alloc(arena, len);
	struct sat_id id;

	if (p == NULL)
		return SAT_E_NOMEM;
	if (c->type == SAT_TYPE_REF) {
		*ok = sat_id_parse(text, &id);
		memcpy(p, id.b, sizeof id.b);
	} else {
		*ok = sat_hex_parse(text, p, len);
	}
	*ret = sat_value_blob((struct sat_slice){ p, len });
	return SAT_OK;
}

int sat_value_read(struct sat_arena *arena, const struct sat_column *c,
		   struct sat_slice text, struct sat_value *ret,
		   struct sat_err *err)
{
	const char *why = "is not of the column's type";
	struct sat_slice copy;
	bool ok = true;
	int rc = SAT_OK;

	if (is_plain(c->type)) {
		ok = read_plain(c, text, ret);
	} else if (c->type == SAT_TYPE_REF || c->type == SAT_TYPE_BLOBREF) {
		rc = read_bytes(arena, c, text, ret, &ok);
	} else {
		rc = sat_arena_copy(arena, text, &copy);
		if (rc == SAT_OK)
			*ret = sat_value_text(copy);
	}
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "value", "out of memory");
	if (c->type == SAT_TYPE_SET) {
		struct sat_slice *elements;
		uint32_t count;

		ok = sat_set_parse(arena, text, &elements, &count) == SAT_OK;
		why = "is not a JSON array of texts";
	} else if (ok) {
		ok = sat_column_accepts(c, ret, &why);
	}
	if (!ok)
		return sat_err_set(err, SAT_E_INVAL, 0, "value", "%s %s (%s)",
				   c->name, why, sat_type_name(c->type));
	return SAT_OK;
}

static json_t *text_json(struct sat_slice s)
{
	return json_stringn((const char *)s.ptr, s.len);
}

/* The INT kinds, each in the form its type is shown in. */
static json_t *int_json(const struct sat_column *c, int64_t i)
{
	char text[40];

	if (c->type == SAT_TYPE_MONEY) {
		sat_money_format(i, text);
		return json_real(strtod(text, NULL));
	}
	if (c->type == SAT_TYPE_TIME) {
		sat_time_format(i, text);
		return json_string(text);
	}
	if (c->type == SAT_TYPE_BOOL)
		return json_boolean(i != 0);
	return json_integer(i);
}

json_t *sat_value_json(const struct sat_column *c, const struct sat_value *v)
{
	char text[80];
	struct sat_id id;

	switch (v->kind) {
	case SAT_NULL:
		return json_null();
	case SAT_INT:
		return int_json(c, v->i);
	case SAT_REAL:
		return json_real(v->r);
	case SAT_BLOB:
		if (v->s.len == sizeof id) {
			memcpy(id.b, v->s.ptr, sizeof id.b);
			sat_id_format(&id, text);
		} else if (v->s.len <= 32) {
			sat_hex_format(v->s.ptr, v->s.len, text);
		} else {
			text[0] = '\0';
		}
		return json_string(text);
	case SAT_TEXT:
		if (c->type == SAT_TYPE_SET || c->type == SAT_TYPE_JSON) {
			json_t *j = json_loadb((const char *)v->s.ptr, v->s.len,
					       JSON_DECODE_ANY, NULL);
			if (j != NULL)
				return j;
		}
		return text_json(v->s);
	}
	return json_null();
}

void sat_draft_init(struct sat_row_draft *d, enum sat_op op,
		    const struct sat_table *t, const struct sat_id *id)
{
	d->write = (struct sat_local_write){ .op = op,
					     .table = t,
					     .id = *id,
					     .columns = d->columns,
					     .values = d->values };
}

int sat_draft_set(struct sat_row_draft *d, const char *column,
		  struct sat_value value, struct sat_err *err)
{
	uint32_t n = d->write.column_count;
	int index, rc;

	rc = sat_admin_column(d->write.table, column, &index, err);
	if (rc != SAT_OK)
		return rc;
	if (n == SAT_COUNT_OF(d->columns))
		return sat_err_set(err, SAT_E_LIMIT, 0, "draft",
				   "more than %zu columns", (size_t)n);
	d->columns[n] = (uint16_t)index;
	d->values[n] = value;
	d->write.column_count = n + 1;
	return SAT_OK;
}

int sat_admin_new_id(const struct sat_admin *a, struct sat_id *ret,
		     struct sat_err *err)
{
	uint8_t random[10];
	int rc = sat_random(random, sizeof random, err);

	if (rc == SAT_OK)
		*ret = sat_id_v7(a->now_ms, random);
	return rc;
}

int sat_admin_write(struct sat_admin *a, const struct sat_row_draft *d,
		    struct sat_err *err)
{
	uint32_t bad;

	return sat_engine_local(a->engine, &d->write, 1, &bad, err);
}
