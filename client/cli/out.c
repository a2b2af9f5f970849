/* Values to a table for people, or to JSON for programs. */
#include "client/cli/cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

int sat_text_add(struct sat_buf *b, const char *fmt, ...)
{
	uint8_t *p;
	va_list args;
	int n, rc;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	rc = n < 0 ? SAT_E_LIMIT : sat_buf_reserve(b, (size_t)n + 1, &p);
	if (rc != SAT_OK)
		return rc;
	va_start(args, fmt);
	(void)vsnprintf((char *)p, (size_t)n + 1, fmt, args);
	va_end(args);
	sat_buf_commit(b, (size_t)n);
	return SAT_OK;
}

enum sat_out_kind sat_out_kind_of(const struct sat_column *col)
{
	switch (col->type) {
	case SAT_TYPE_INT:
	case SAT_TYPE_COUNTER:
		return SAT_OUT_INT;
	case SAT_TYPE_REAL:
		return SAT_OUT_REAL;
	case SAT_TYPE_BOOL:
		return SAT_OUT_BOOL;
	case SAT_TYPE_MONEY:
		return SAT_OUT_MONEY;
	case SAT_TYPE_TIME:
		return SAT_OUT_TIME;
	case SAT_TYPE_ENUM:
		return SAT_OUT_ENUM;
	case SAT_TYPE_SET:
		return SAT_OUT_SET;
	case SAT_TYPE_JSON:
		return SAT_OUT_JSON;
	case SAT_TYPE_REF:
		return SAT_OUT_ID;
	default:
		return SAT_OUT_TEXT;
	}
}

static int append(struct sat_buf *out, struct sat_slice s)
{
	return sat_buf_append(out, s.ptr, s.len);
}

/* ---- plain forms --------------------------------------------------------- */

static int add_number(struct sat_buf *out, const struct sat_value *v)
{
	char text[40];

	if (v->kind == SAT_INT)
		return sat_text_add(out, "%lld", (long long)v->i);
	/* the shorter form when it says the same */
	(void)snprintf(text, sizeof text, "%.15g", v->r);
	if (strtod(text, NULL) != v->r)
		(void)snprintf(text, sizeof text, "%.17g", v->r);
	return sat_text_add(out, "%s", text);
}

static int add_hex(struct sat_buf *out, struct sat_slice s)
{
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i < s.len; i++)
		rc = sat_text_add(out, "%02x", s.ptr[i]);
	return rc;
}

/* A value of any kind as text. */
static int add_plain(struct sat_buf *out, const struct sat_value *v)
{
	switch (v->kind) {
	case SAT_TEXT:
		return append(out, v->s);
	case SAT_BLOB:
		return add_hex(out, v->s);
	case SAT_INT:
	case SAT_REAL:
		return add_number(out, v);
	case SAT_NULL:
		break;
	}
	return SAT_OK;
}

static int add_money(struct sat_buf *out, int64_t minor)
{
	char text[32];

	sat_money_format(minor, text);
	return append(out, sat_slice_str(text));
}

/* ---- tables -------------------------------------------------------------- */

/* The elements with commas; what is no array of texts as it is. */
static int add_elements(struct sat_buf *out, struct sat_slice json)
{
	struct sat_slice *e;
	uint32_t count;
	struct sat_arena a;
	int rc;

	sat_arena_init(&a, SAT_CLI_TEXT_MAX);
	rc = sat_set_parse(&a, json, &e, &count);
	if (rc != SAT_OK)
		rc = append(out, json);
	else
		for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
			if (i > 0)
				rc = sat_text_add(out, ", ");
			if (rc == SAT_OK)
				rc = append(out, e[i]);
		}
	sat_arena_fini(&a);
	return rc;
}

static int add_label(struct sat_cli *c, const struct sat_column *enums,
		     struct sat_slice name, struct sat_buf *out)
{
	const struct sat_enum_value *e =
		enums == NULL ? NULL : sat_column_enum(enums, name);

	return append(out,
		      e == NULL ? name : sat_slice_str(e->label.text[c->lang]));
}

int sat_out_text(struct sat_cli *c, const struct sat_out_column *col,
		 const struct sat_value *v, struct sat_buf *out)
{
	char text[32];

	if (v->kind == SAT_INT) {
		switch (col->kind) {
		case SAT_OUT_MONEY:
			return add_money(out, v->i);
		case SAT_OUT_TIME:
			sat_cli_time_text(v->i, text);
			return append(out, sat_slice_str(text));
		case SAT_OUT_BOOL:
			return sat_text_add(out, "%s",
					    v->i != 0 ? SAT_TR(c, "yes", "是")
						      : SAT_TR(c, "no", "否"));
		default:
			return add_number(out, v);
		}
	}
	if (v->kind == SAT_TEXT && col->kind == SAT_OUT_ENUM)
		return add_label(c, col->enums, v->s, out);
	if (v->kind == SAT_TEXT && col->kind == SAT_OUT_SET)
		return add_elements(out, v->s);
	if (v->kind == SAT_TEXT && col->kind == SAT_OUT_ID &&
	    v->s.len == SAT_UUID_CHARS)
		return sat_buf_append(out, v->s.ptr + SAT_UUID_CHARS - 8, 8);
	return add_plain(out, v);
}

/* ---- JSON ---------------------------------------------------------------- */

/* Escapes what jq would, and besides DEL, C1 and the marks that reorder text:
 * JSON is read on terminals too. */
static int add_json_char(struct sat_buf *out, const uint8_t *p, size_t n)
{
	if (n == 1 && (*p == '"' || *p == '\\'))
		return sat_text_add(out, "\\%c", *p);
	if (n == 1 && *p == '\n')
		return sat_text_add(out, "\\n");
	if (n == 1 && (*p < 0x20 || *p == 0x7f))
		return sat_text_add(out, "\\u%04x", *p);
	if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0)
		return sat_text_add(out, "\\u%04x", p[1]);
	if (n == 3 && p[0] == 0xe2 &&
	    ((p[1] == 0x80 && ((p[2] >= 0x8e && p[2] <= 0x8f) ||
			       (p[2] >= 0xa8 && p[2] <= 0xae))) ||
	     (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)))
		return sat_text_add(out, "\\u%04x",
				    0x2000u | (p[1] & 0x3fu) << 6 |
					    (p[2] & 0x3fu));
	return sat_buf_append(out, p, n);
}

/* Bytes of the UTF-8 character at the front, 0 when there is none. */
static size_t char_bytes(struct sat_slice s)
{
	for (size_t n = 1; n <= 4 && n <= s.len; n++)
		if (s.ptr[0] == 0 ||
		    sat_utf8_valid((struct sat_slice){ s.ptr, n }))
			return n;
	return 0;
}

int sat_out_json_string(struct sat_buf *out, struct sat_slice s)
{
	int rc = sat_text_add(out, "\"");
	size_t n;

	for (; rc == SAT_OK && s.len > 0; s.ptr += n, s.len -= n) {
		n = char_bytes(s);
		rc = n > 0 ? add_json_char(out, s.ptr, n)
			   : sat_text_add(out, "\\ufffd");
		n = n > 0 ? n : 1;
	}
	return rc == SAT_OK ? sat_text_add(out, "\"") : rc;
}

/* Stored JSON inside ours: its strings may hold what would steer a terminal,
 * and it may hold those characters nowhere else. */
static int add_embedded(struct sat_buf *out, struct sat_slice s)
{
	int rc = SAT_OK;
	size_t n;

	for (; rc == SAT_OK && s.len > 0; s.ptr += n, s.len -= n) {
		n = char_bytes(s);
		if (n == 1 && s.ptr[0] != 0x7f)
			rc = sat_buf_append(out, s.ptr, 1);
		else
			rc = add_json_char(out, s.ptr, n);
	}
	return rc;
}

static int add_time(struct sat_buf *out, int64_t ms)
{
	char text[25];

	sat_time_format(ms, text);
	return sat_text_add(out, "\"%s\"", text);
}

int sat_out_json(const struct sat_out_column *col, const struct sat_value *v,
		 struct sat_buf *out)
{
	struct sat_buf hex;
	int rc;

	if (v->kind == SAT_NULL) /* a set that is NULL is the empty one */
		return sat_text_add(out,
				    col->kind == SAT_OUT_SET ? "[]" : "null");
	if (v->kind == SAT_INT && col->kind == SAT_OUT_MONEY)
		return add_money(out, v->i);
	if (v->kind == SAT_INT && col->kind == SAT_OUT_TIME)
		return add_time(out, v->i);
	if (v->kind == SAT_INT && col->kind == SAT_OUT_BOOL)
		return sat_text_add(out, v->i != 0 ? "true" : "false");
	if (v->kind == SAT_TEXT &&
	    (col->kind == SAT_OUT_SET || col->kind == SAT_OUT_JSON) &&
	    sat_utf8_valid(v->s) && sat_json_valid(v->s))
		return add_embedded(out, v->s);
	if (v->kind == SAT_TEXT)
		return sat_out_json_string(out, v->s);
	if (v->kind == SAT_INT)
		return add_number(out, v);
	if (v->kind == SAT_REAL) /* JSON knows no infinity */
		return isfinite(v->r) ? add_number(out, v)
				      : sat_text_add(out, "null");
	sat_buf_init(&hex, SAT_CLI_TEXT_MAX);
	rc = add_hex(&hex, v->s);
	if (rc == SAT_OK)
		rc = sat_out_json_string(out, sat_buf_peek(&hex));
	sat_buf_fini(&hex);
	return rc;
}

/* ---- rows ---------------------------------------------------------------- */

static int out_fail(struct sat_err *err, int rc)
{
	if (rc == SAT_OK)
		return rc;
	return sat_err_set(err, rc, 0, "out",
			   rc == SAT_E_LIMIT ? "a value is too large to print"
					     : "out of memory");
}

int sat_out_begin(struct sat_out *o, struct sat_cli *c,
		  const struct sat_out_column *columns, int count,
		  size_t width_max)
{
	const char **titles =
		sat_arena_array(&c->arena, (size_t)count + 1, sizeof *titles);
	bool *right =
		sat_arena_array(&c->arena, (size_t)count + 1, sizeof *right);
	size_t shown = 0;
	int rc;

	*o = (struct sat_out){ .c = c, .columns = columns, .count = count };
	sat_buf_init(&o->cell, SAT_PRINT_CELL_BYTES_MAX);
	if (titles == NULL || right == NULL)
		return out_fail(&c->err, SAT_E_NOMEM);
	if (c->json) {
		(void)fputs("[", stdout);
		o->begun = true;
		return SAT_OK;
	}
	for (int i = 0; i < count; i++) {
		if (columns[i].title == NULL)
			continue;
		titles[shown] = columns[i].title;
		right[shown++] = columns[i].kind == SAT_OUT_INT ||
				 columns[i].kind == SAT_OUT_REAL ||
				 columns[i].kind == SAT_OUT_MONEY;
	}
	rc = sat_print_begin(&o->table, stdout, titles, right, shown,
			     width_max);
	o->begun = rc == SAT_OK;
	return out_fail(&c->err, rc);
}

static int json_row(struct sat_out *o, const struct sat_value *values)
{
	const char *comma = "";
	struct sat_slice s;
	int rc = sat_text_add(&o->cell, o->rows == 0 ? "\n  {" : ",\n  {");

	for (int i = 0; rc == SAT_OK && i < o->count; i++) {
		const struct sat_out_column *col = &o->columns[i];

		if (col->key == NULL)
			continue;
		rc = sat_text_add(&o->cell, "%s", comma);
		comma = ", ";
		if (rc == SAT_OK)
			rc = sat_out_json_string(&o->cell,
						 sat_slice_str(col->key));
		if (rc == SAT_OK)
			rc = sat_text_add(&o->cell, ": ");
		if (rc == SAT_OK)
			rc = sat_out_json(col, &values[i], &o->cell);
	}
	if (rc == SAT_OK)
		rc = sat_text_add(&o->cell, "}");
	s = sat_buf_peek(&o->cell);
	if (rc == SAT_OK && fwrite(s.ptr, 1, s.len, stdout) != s.len)
		rc = SAT_OK; /* sat_cli_done says so */
	return rc;
}

static int table_row(struct sat_out *o, const struct sat_value *values)
{
	int rc = SAT_OK;

	for (int i = 0; rc == SAT_OK && i < o->count; i++) {
		if (o->columns[i].title == NULL)
			continue;
		sat_buf_clear(&o->cell);
		rc = sat_out_text(o->c, &o->columns[i], &values[i], &o->cell);
		if (rc == SAT_OK)
			rc = sat_print_cell(&o->table, sat_buf_peek(&o->cell));
	}
	return rc;
}

int sat_out_row(void *arg, const struct sat_value *values, int count,
		struct sat_err *err)
{
	struct sat_out *o = arg;
	int rc;

	SAT_ASSERT(count >= o->count);
	o->more = o->limit > 0 && o->rows >= o->limit;
	if (o->more)
		return SAT_OK;
	sat_buf_clear(&o->cell);
	rc = o->c->json ? json_row(o, values) : table_row(o, values);
	o->rows++;
	if (rc == SAT_OK && ferror(stdout) != 0)
		return sat_err_set(err, SAT_E_IO, 0, "out",
				   "the output could not be written");
	return out_fail(err, rc);
}

void sat_out_end(struct sat_out *o)
{
	bool bare = o->begun && !o->c->json && o->rows == 0 && o->empty != NULL;

	if (bare) {
		(void)fprintf(stderr, "%s\n", o->empty);
		o->table.cells = 0;
	}
	if (o->begun && o->c->json)
		(void)fputs(o->rows == 0 ? "]\n" : "\n]\n", stdout);
	else if (o->begun)
		sat_print_end(&o->table);
	if (o->begun && o->more)
		(void)fprintf(stderr,
			      SAT_TR(o->c,
				     "the first %lld rows; --limit 0 shows "
				     "all\n",
				     "仅显示前 %lld 行；--limit 0 显示全部\n"),
			      (long long)o->limit);
	o->begun = false;
	sat_buf_fini(&o->cell);
}

/* ---- one object ---------------------------------------------------------- */

void sat_out_object_begin(struct sat_out_object *o)
{
	sat_buf_init(&o->text, SAT_CLI_TEXT_MAX);
	o->rc = sat_text_add(&o->text, "{");
}

void sat_out_member(struct sat_out_object *o, const char *key,
		    enum sat_out_kind kind, struct sat_value v)
{
	const struct sat_out_column col = { .kind = kind };
	bool first = sat_buf_peek(&o->text).len == 1;

	if (o->rc == SAT_OK)
		o->rc = sat_text_add(&o->text,
				     "%s\n  \"%s\": ", first ? "" : ",", key);
	if (o->rc == SAT_OK)
		o->rc = sat_out_json(&col, &v, &o->text);
}

void sat_out_object_end(struct sat_out_object *o)
{
	struct sat_slice s = sat_buf_peek(&o->text);

	if (o->rc == SAT_OK)
		(void)fwrite(s.ptr, 1, s.len, stdout);
	(void)fputs("\n}\n", stdout);
	sat_buf_fini(&o->text);
}
