#include "proto/column.h"

#include "common/text.h"

#include <string.h>

static const double powers[SAT_DECIMALS_MAX + 1] = { 1e0, 1e1, 1e2, 1e3, 1e4,
						     1e5, 1e6, 1e7, 1e8, 1e9 };

static struct sat_slice cut(struct sat_slice *s, size_t n)
{
	struct sat_slice front = { s->ptr, n };

	*s = (struct sat_slice){ s->ptr + n, s->len - n };
	return front;
}

bool sat_rising_next(struct sat_slice *in, uint64_t *prev, uint64_t *ret)
{
	uint64_t z;

	if (!sat_varint_take(in, &z))
		return false;
	*prev += (uint64_t)sat_unzigzag(z);
	*ret = *prev;
	return true;
}

/* Both bins of an id list: n ids are rebuilt in the arena. */
bool sat_ids_take(struct sat_cursor *c, struct sat_arena *a, uint32_t n,
		  struct sat_id **ret, int *ret_rc)
{
	struct sat_slice times, tails;
	uint64_t prev = 0;
	uint64_t ms;
	struct sat_id *ids;
	uint32_t count;

	*ret_rc = SAT_E_PROTO;
	if (!sat_take_array(c, &count) || count != 2 ||
	    !sat_take_bin(c, &times) || !sat_take_bin(c, &tails) ||
	    tails.len != (size_t)n * 10 || times.len < n)
		return false;
	ids = sat_arena_array(a, n, sizeof *ids);
	if (ids == NULL) {
		*ret_rc = SAT_E_NOMEM;
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!sat_rising_next(&times, &prev, &ms) || ms >> 48 != 0)
			return false;
		for (unsigned k = 0; k < 6; k++)
			ids[i].b[k] = (uint8_t)(ms >> (40 - 8 * k));
		memcpy(ids[i].b + 6, tails.ptr + (size_t)i * 10, 10);
	}
	if (times.len != 0)
		return false;
	*ret = ids;
	*ret_rc = SAT_OK;
	return true;
}

static bool next_text(struct sat_slice *lengths, struct sat_slice *bytes,
		      struct sat_value *ret)
{
	uint64_t n;

	if (!sat_varint_take(lengths, &n) || n > bytes->len)
		return false;
	*ret = sat_value_text(cut(bytes, (size_t)n));
	return sat_utf8_valid(ret->s);
}

static int open_text_dict(struct sat_cursor *c, struct sat_arena *a,
			  struct sat_column_reader *r)
{
	struct sat_slice lengths, bytes;
	uint32_t parts;
	uint64_t count;

	if (!sat_take_array(c, &parts) || parts != 4 ||
	    !sat_take_uint(c, r->full, &count) || !sat_take_bin(c, &lengths) ||
	    !sat_take_bin(c, &bytes) || !sat_take_bin(c, &r->one) ||
	    lengths.len < count)
		return SAT_E_PROTO;
	r->dict_count = (uint32_t)count;
	r->dict = sat_arena_array(a, r->dict_count, sizeof *r->dict);
	if (r->dict == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < r->dict_count; i++)
		if (!next_text(&lengths, &bytes, &r->dict[i]))
			return SAT_E_PROTO;
	return lengths.len == 0 && bytes.len == 0 ? SAT_OK : SAT_E_PROTO;
}

static int open_blob_dict(struct sat_cursor *c, struct sat_arena *a,
			  struct sat_column_reader *r)
{
	size_t size = sat_type_blob_bytes(r->type);
	struct sat_slice blobs;
	uint32_t parts;

	if (!sat_take_array(c, &parts) || parts != 2 ||
	    !sat_take_bin(c, &blobs) || !sat_take_bin(c, &r->one) ||
	    blobs.len % size != 0 || blobs.len / size > r->full)
		return SAT_E_PROTO;
	r->dict_count = (uint32_t)(blobs.len / size);
	r->dict = sat_arena_array(a, r->dict_count, sizeof *r->dict);
	if (r->dict == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < r->dict_count; i++)
		r->dict[i] = sat_value_blob(cut(&blobs, size));
	return SAT_OK;
}

static int open_decimal(struct sat_cursor *c, struct sat_column_reader *r)
{
	uint64_t decimals, form;
	uint32_t parts;

	if (!sat_take_array(c, &parts) || parts != 3 ||
	    !sat_take_uint(c, SAT_DECIMALS_MAX, &decimals) ||
	    !sat_take_uint(c, SAT_FORM_INT_DELTA, &form) ||
	    form < SAT_FORM_INT || !sat_take_bin(c, &r->one))
		return SAT_E_PROTO;
	r->decimals = (uint8_t)decimals;
	r->delta = form == SAT_FORM_INT_DELTA;
	return SAT_OK;
}

static int open_ids(struct sat_cursor *c, struct sat_arena *a,
		    struct sat_column_reader *r)
{
	struct sat_id *ids;
	int rc;

	if (!sat_ids_take(c, a, r->full, &ids, &rc))
		return rc;
	r->blobs = ids->b;
	return SAT_OK;
}

static bool form_fits(enum sat_form form, enum sat_type type)
{
	switch (form) {
	case SAT_FORM_NULL:
		return true;
	case SAT_FORM_INT:
	case SAT_FORM_INT_DELTA:
	case SAT_FORM_INT_BY_ID:
		return sat_type_kind(type) == SAT_INT;
	case SAT_FORM_REAL:
	case SAT_FORM_DECIMAL:
		return sat_type_kind(type) == SAT_REAL;
	case SAT_FORM_TEXT:
	case SAT_FORM_TEXT_DICT:
		return sat_type_kind(type) == SAT_TEXT;
	case SAT_FORM_BLOB:
	case SAT_FORM_BLOB_DICT:
		return sat_type_kind(type) == SAT_BLOB;
	case SAT_FORM_ID:
		return type == SAT_TYPE_REF;
	}
	return false;
}

static int open_body(struct sat_cursor *c, struct sat_arena *a,
		     struct sat_column_reader *r)
{
	size_t size = sat_type_blob_bytes(r->type);
	uint32_t parts;

	switch (r->form) {
	case SAT_FORM_NULL:
		return sat_take_nil(c) ? SAT_OK : SAT_E_PROTO;
	case SAT_FORM_DECIMAL:
		return open_decimal(c, r);
	case SAT_FORM_TEXT:
		if (!sat_take_array(c, &parts) || parts != 2 ||
		    !sat_take_bin(c, &r->one) || !sat_take_bin(c, &r->two))
			return SAT_E_PROTO;
		return SAT_OK;
	case SAT_FORM_TEXT_DICT:
		return open_text_dict(c, a, r);
	case SAT_FORM_BLOB_DICT:
		return open_blob_dict(c, a, r);
	case SAT_FORM_ID:
		return open_ids(c, a, r);
	default:
		break;
	}
	if (!sat_take_bin(c, &r->one))
		return SAT_E_PROTO;
	if (r->form == SAT_FORM_REAL)
		size = 8;
	else if (r->form != SAT_FORM_BLOB)
		return SAT_OK;
	return r->one.len == r->full * size ? SAT_OK : SAT_E_PROTO;
}

/* The bitmap of NULLs: nil when there are none, or when all are. */
static bool open_nulls(struct sat_cursor *c, struct sat_column_reader *r)
{
	uint32_t ones = 0;

	if (r->form == SAT_FORM_NULL) {
		r->full = 0;
		return sat_take_nil(c);
	}
	if (!sat_take_nil(c) && (!sat_take_bin(c, &r->nulls) ||
				 !sat_bitmap_valid(r->nulls, r->rows, &ones)))
		return false;
	r->full = r->rows - ones;
	return r->full > 0;
}

int sat_column_open(struct sat_cursor *c, struct sat_arena *a,
		    enum sat_type type, uint32_t n,
		    struct sat_column_reader *ret, const char **ret_why)
{
	uint32_t parts;
	uint64_t form;
	int rc;

	*ret = (struct sat_column_reader){ .type = type, .rows = n };
	*ret_why = "column block is not [form, nulls, body]";
	if (!sat_take_array(c, &parts) || parts != 3 ||
	    !sat_take_uint(c, SAT_FORM_ID, &form))
		return SAT_E_PROTO;
	ret->form = (enum sat_form)form;
	*ret_why = "column form does not fit the column's type";
	if (!form_fits(ret->form, type))
		return SAT_E_PROTO;
	*ret_why = "bitmap of NULLs is broken";
	if (!open_nulls(c, ret))
		return SAT_E_PROTO;
	*ret_why = "column body is broken";
	rc = open_body(c, a, ret);
	if (rc == SAT_E_NOMEM)
		*ret_why = "out of memory";
	return rc;
}

static bool next_int(struct sat_column_reader *r, bool delta, int64_t time,
		     int64_t *ret)
{
	uint64_t z, v;

	if (!sat_varint_take(&r->one, &z))
		return false;
	v = (uint64_t)sat_unzigzag(z);
	if (delta)
		v += r->prev;
	else if (r->form == SAT_FORM_INT_BY_ID)
		v += (uint64_t)time;
	r->prev = v;
	*ret = (int64_t)v;
	return true;
}

static double planes(const struct sat_column_reader *r)
{
	uint64_t bits = 0;
	double real;

	for (size_t plane = 0; plane < 8; plane++)
		bits = bits << 8 | r->one.ptr[plane * r->full + r->taken];
	memcpy(&real, &bits, sizeof real);
	return real;
}

static bool next_full(struct sat_column_reader *r, int64_t time,
		      struct sat_value *ret)
{
	size_t size = sat_type_blob_bytes(r->type);
	uint64_t index;
	int64_t i;

	switch (r->form) {
	case SAT_FORM_INT:
	case SAT_FORM_INT_DELTA:
	case SAT_FORM_INT_BY_ID:
		if (!next_int(r, r->form == SAT_FORM_INT_DELTA, time, &i))
			return false;
		*ret = sat_value_int(i);
		return true;
	case SAT_FORM_REAL:
		*ret = sat_value_real(planes(r));
		return ret->r == ret->r;
	case SAT_FORM_DECIMAL:
		if (!next_int(r, r->delta, 0, &i))
			return false;
		*ret = sat_value_real((double)i / powers[r->decimals]);
		return true;
	case SAT_FORM_TEXT:
		return next_text(&r->one, &r->two, ret);
	case SAT_FORM_TEXT_DICT:
	case SAT_FORM_BLOB_DICT:
		if (!sat_varint_take(&r->one, &index) || index >= r->dict_count)
			return false;
		*ret = r->dict[index];
		return true;
	case SAT_FORM_BLOB:
		*ret = sat_value_blob(cut(&r->one, size));
		return true;
	case SAT_FORM_ID:
		*ret = sat_value_blob((struct sat_slice){
			r->blobs + (size_t)r->taken * 16, 16 });
		return true;
	case SAT_FORM_NULL:
		break;
	}
	return false;
}

bool sat_column_next(struct sat_column_reader *r, int64_t time,
		     struct sat_value *ret)
{
	bool null;

	if (r->at >= r->rows)
		return false;
	null = r->form == SAT_FORM_NULL ||
	       (r->nulls.len > 0 && sat_bit(r->nulls.ptr, r->at));
	if (null) {
		*ret = sat_value_null();
	} else {
		if (!next_full(r, time, ret))
			return false;
		r->taken++;
	}
	r->at++;
	return true;
}

bool sat_column_done(const struct sat_column_reader *r)
{
	return r->at == r->rows &&
	       (r->form == SAT_FORM_REAL || r->one.len == 0) && r->two.len == 0;
}
