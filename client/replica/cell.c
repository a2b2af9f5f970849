/* Between the device's forms (UUID text, JSON arrays, hex) and values, and the
 * packed forms that metadata tables hold. */
#include "client/replica/internal.h"

#include <math.h>
#include <string.h>

/* ---- cells --------------------------------------------------------------- */

static int read_ref(struct sat_arena *a, struct sat_slice s,
		    struct sat_value *ret, const char **ret_why)
{
	struct sat_id *id = sat_arena_alloc(a, sizeof *id);

	if (id == NULL)
		return SAT_E_NOMEM;
	if (!sat_id_parse(s, id)) {
		*ret_why = "is not an id in lower-case UUID form";
		return SAT_E_INVAL;
	}
	*ret = sat_value_id(id);
	return SAT_OK;
}

static int read_hex(struct sat_arena *a, struct sat_slice s,
		    struct sat_value *ret, const char **ret_why)
{
	uint8_t *hash = sat_arena_alloc(a, 32);

	if (hash == NULL)
		return SAT_E_NOMEM;
	if (!sat_hex_parse(s, hash, 32)) {
		*ret_why = "is not a SHA-256 hash in hex";
		return SAT_E_INVAL;
	}
	*ret = sat_value_blob((struct sat_slice){ hash, 32 });
	return SAT_OK;
}

/* Any JSON array of strings becomes the canonical one; the empty set is NULL,
 * as sat_field_value has it. */
static int read_set(struct sat_arena *a, const struct sat_column *c,
		    struct sat_slice s, struct sat_value *ret,
		    const char **ret_why)
{
	struct sat_slice *elements, text;
	struct sat_value one;
	uint32_t count;
	int rc = sat_set_parse(a, s, &elements, &count);

	if (rc == SAT_E_INVAL || rc == SAT_E_LIMIT) {
		*ret_why = "is not a JSON array of strings";
		return SAT_E_INVAL;
	}
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++) {
		one = sat_value_text(elements[i]);
		if (!sat_column_accepts(c, &one, ret_why))
			return SAT_E_INVAL;
	}
	*ret = sat_value_null();
	if (rc != SAT_OK || count == 0)
		return rc;
	rc = sat_set_format(a, elements, count, &text);
	if (rc == SAT_OK)
		*ret = sat_value_text(text);
	return rc;
}

int sat_cell_read(struct sat_arena *a, const struct sat_column *c,
		  sqlite3_stmt *st, int at, struct sat_value *ret,
		  const char **ret_why)
{
	struct sat_value v = sat_db_column(st, at);
	int rc;

	*ret = sat_value_null();
	if (v.kind == SAT_NULL)
		return SAT_OK;
	if (v.kind == SAT_TEXT && !sat_utf8_valid(v.s)) {
		*ret_why = "is not UTF-8 text without NUL";
		return SAT_E_INVAL;
	}
	if (v.kind == SAT_TEXT && c->type == SAT_TYPE_SET)
		return read_set(a, c, v.s, ret, ret_why);
	if (v.kind == SAT_TEXT && c->type == SAT_TYPE_REF)
		return read_ref(a, v.s, ret, ret_why);
	if (v.kind == SAT_TEXT && c->type == SAT_TYPE_BLOBREF)
		return read_hex(a, v.s, ret, ret_why);
	if (v.kind == SAT_INT && c->type == SAT_TYPE_REAL)
		v = sat_value_real((double)v.i);
	if (v.kind == SAT_BLOB) {
		*ret_why = "is a blob";
		return SAT_E_INVAL;
	}
	if (!sat_column_accepts(c, &v, ret_why))
		return SAT_E_INVAL;
	rc = sat_value_copy(a, &v, ret);
	return rc;
}

static int bind_ref(struct sat_arena *a, sqlite3_stmt *st, int at,
		    struct sat_slice s)
{
	char *text = sat_arena_alloc(a, SAT_UUID_CHARS + 1);
	struct sat_id id;

	if (text == NULL)
		return SQLITE_NOMEM;
	if (s.len != sizeof id.b)
		return sqlite3_bind_null(st, at);
	memcpy(id.b, s.ptr, sizeof id.b);
	sat_id_format(&id, text);
	return sqlite3_bind_text(st, at, text, SAT_UUID_CHARS, SQLITE_STATIC);
}

static int bind_hex(struct sat_arena *a, sqlite3_stmt *st, int at,
		    struct sat_slice s)
{
	char *text = sat_arena_alloc(a, 65);

	if (text == NULL)
		return SQLITE_NOMEM;
	if (s.len != 32)
		return sqlite3_bind_null(st, at);
	sat_hex_format(s.ptr, s.len, text);
	return sqlite3_bind_text(st, at, text, 64, SQLITE_STATIC);
}

int sat_cell_bind(struct sat_arena *a, sqlite3_stmt *st, int at,
		  const struct sat_column *c, const struct sat_value *v)
{
	switch (v->kind) {
	case SAT_INT:
		return sqlite3_bind_int64(st, at, v->i);
	case SAT_REAL:
		return sqlite3_bind_double(st, at, v->r);
	case SAT_TEXT:
		return sqlite3_bind_text64(
			st, at, v->s.len == 0 ? "" : (const char *)v->s.ptr,
			v->s.len, SQLITE_STATIC, SQLITE_UTF8);
	case SAT_BLOB:
		return c->type == SAT_TYPE_REF ? bind_ref(a, st, at, v->s)
					       : bind_hex(a, st, at, v->s);
	case SAT_NULL:
		break;
	}
	return sqlite3_bind_null(st, at);
}

bool sat_cell_same(sqlite3_stmt *st, int at, const struct sat_column *c,
		   const struct sat_value *v)
{
	struct sat_value cell = sat_db_column(st, at);
	char text[65];
	struct sat_id id;

	if (v->kind != SAT_BLOB)
		return sat_value_equal(&cell, v);
	if (cell.kind != SAT_TEXT)
		return false;
	if (c->type == SAT_TYPE_REF && v->s.len == sizeof id.b) {
		memcpy(id.b, v->s.ptr, sizeof id.b);
		sat_id_format(&id, text);
	} else if (c->type != SAT_TYPE_REF && v->s.len == 32) {
		sat_hex_format(v->s.ptr, v->s.len, text);
	} else {
		return false;
	}
	return sat_slice_equal(cell.s, sat_slice_str(text));
}

struct sat_value sat_bind_u64(uint64_t v)
{
	return sat_value_int((int64_t)v);
}

struct sat_value sat_bind_str(const char *s)
{
	return sat_value_text(sat_slice_str(s));
}

int sat_column_copy(struct sat_arena *a, sqlite3_stmt *st, int at,
		    struct sat_slice *ret)
{
	struct sat_value v = sat_db_column(st, at);

	if (v.kind != SAT_BLOB && v.kind != SAT_TEXT) {
		*ret = (struct sat_slice){ NULL, 0 };
		return SAT_OK;
	}
	return sat_arena_copy(a, v.s, ret);
}

int64_t sat_julian_ms(double day)
{
	double ms = (day - 2440587.5) * 86400000.0;

	if (!(ms > -1e15 && ms < 1e15))
		return 0;
	return llround(ms);
}

/* ---- packed forms -------------------------------------------------------- */

static int put_varint(struct sat_buf *out, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t)(v | 0x80);
	bytes[n++] = (uint8_t)v;
	return sat_buf_append(out, bytes, n);
}

/* False at the end of the bytes, or when they are no varint. */
static bool take_varint(struct sat_slice *in, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
		uint8_t b = *in->ptr++;

		in->len--;
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static int pack_value(const struct sat_value *v, struct sat_buf *out)
{
	uint64_t bits = 0;
	int rc;

	switch (v->kind) {
	case SAT_INT:
		bits = (uint64_t)v->i;
		return sat_buf_append(out, &bits, sizeof bits);
	case SAT_REAL:
		return sat_buf_append(out, &v->r, sizeof v->r);
	default:
		rc = put_varint(out, v->s.len);
		return rc == SAT_OK ? sat_buf_append(out, v->s.ptr, v->s.len)
				    : rc;
	}
}

int sat_values_pack(const struct sat_table *t, const struct sat_value *values,
		    struct sat_buf *out)
{
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++) {
		if (values[i].kind == SAT_NULL)
			continue;
		rc = put_varint(out, (uint64_t)t->columns[i].no << 3 |
					     values[i].kind);
		if (rc == SAT_OK)
			rc = pack_value(&values[i], out);
	}
	return rc;
}

static bool unpack_value(struct sat_slice *in, enum sat_kind kind,
			 struct sat_value *ret)
{
	uint64_t n;

	ret->kind = kind;
	if (kind == SAT_INT || kind == SAT_REAL) {
		if (in->len < 8)
			return false;
		memcpy(kind == SAT_INT ? (void *)&ret->i : (void *)&ret->r,
		       in->ptr, 8);
		n = 8;
	} else {
		if (!take_varint(in, &n) || n > in->len)
			return false;
		ret->s = (struct sat_slice){ in->ptr, (size_t)n };
	}
	in->ptr += n;
	in->len -= (size_t)n;
	return true;
}

int sat_values_unpack(struct sat_arena *a, const struct sat_table *t,
		      struct sat_slice bytes, struct sat_value **ret)
{
	struct sat_value *values =
		sat_arena_array(a, t->column_count, sizeof *values);
	struct sat_value v;
	uint64_t head;
	int at;

	if (values == NULL)
		return SAT_E_NOMEM;
	while (bytes.len > 0) {
		if (!take_varint(&bytes, &head) || (head & 7) == SAT_NULL ||
		    (head & 7) > SAT_BLOB || head >> 3 > UINT16_MAX ||
		    !unpack_value(&bytes, (enum sat_kind)(head & 7), &v))
			return SAT_E_CORRUPT;
		at = sat_table_column_no(t, (uint32_t)(head >> 3));
		if (at >= 0)
			values[at] = v;
	}
	*ret = values;
	return SAT_OK;
}

int sat_numbers_pack(struct sat_arena *a, const uint32_t *numbers,
		     uint32_t count, struct sat_slice *ret)
{
	uint8_t *bytes = sat_arena_array(a, (size_t)count, 5);
	size_t n = 0;

	if (bytes == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t v = numbers[i];

		for (; v >= 0x80; v >>= 7)
			bytes[n++] = (uint8_t)(v | 0x80);
		bytes[n++] = (uint8_t)v;
	}
	*ret = (struct sat_slice){ bytes, n };
	return SAT_OK;
}

int sat_numbers_unpack(struct sat_arena *a, struct sat_slice bytes,
		       uint32_t **ret, uint32_t *ret_count)
{
	uint32_t *numbers = sat_arena_array(a, bytes.len, sizeof *numbers);
	uint32_t n = 0;
	uint64_t v;

	if (numbers == NULL)
		return SAT_E_NOMEM;
	while (bytes.len > 0) {
		if (!take_varint(&bytes, &v) || v > UINT32_MAX ||
		    (n > 0 && v <= numbers[n - 1]))
			return SAT_E_CORRUPT;
		numbers[n++] = (uint32_t)v;
	}
	*ret = numbers;
	*ret_count = n;
	return SAT_OK;
}
