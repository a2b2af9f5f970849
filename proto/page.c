#include "proto/page.h"

#include "common/text.h"
#include "proto/column.h"
#include "proto/scan.h"

#include <string.h>

enum {
	PK_ROWS = 1,
	PK_IDS = 2,
	PK_SEQS = 3,
	PK_METAS = 4,
	PK_COLUMNS = 5,
};

/* Metadata of neighbours differs in a few bytes at the same places, so the
 * first bytes of all rows come first, then the second ones, and so on. */
enum { META_PLANES = 64 };

/* Writing. */

static void put_metas(struct sat_pack *p, struct sat_column_scratch *s,
		      const struct sat_page *page)
{
	struct sat_pack one = { &s->one, SAT_OK };
	struct sat_pack two = { &s->two, SAT_OK };
	const struct sat_slice *m = page->metas;

	sat_buf_clear(&s->one);
	sat_buf_clear(&s->two);
	for (uint32_t i = 0; i < page->row_count; i++)
		sat_pack_varint(&one, m[i].len);
	for (size_t plane = 0; plane < META_PLANES; plane++)
		for (uint32_t i = 0; i < page->row_count; i++)
			if (plane < m[i].len)
				sat_pack_raw(&two, m[i].ptr + plane, 1);
	for (uint32_t i = 0; i < page->row_count; i++)
		if (m[i].len > META_PLANES)
			sat_pack_raw(&two, m[i].ptr + META_PLANES,
				     m[i].len - META_PLANES);
	if (p->rc == SAT_OK)
		p->rc = one.rc != SAT_OK ? one.rc : two.rc;
	sat_pack_array(p, 2);
	sat_pack_bin(p, sat_buf_peek(&s->one));
	sat_pack_bin(p, sat_buf_peek(&s->two));
}

static void put_columns(struct sat_pack *p, struct sat_column_scratch *s,
			const struct sat_page *page,
			const struct sat_value **values, const int64_t *times)
{
	const struct sat_column *c;

	sat_pack_array(p, page->column_count);
	for (uint16_t k = 0; k < page->column_count; k++) {
		c = &page->table->columns[page->columns[k]];
		for (uint32_t i = 0; i < page->row_count; i++)
			values[i] =
				&page->values[(size_t)i * page->column_count +
					      k];
		sat_pack_array(p, 2);
		sat_pack_uint(p, c->no);
		sat_column_put(p, s, c->type, values, times, page->row_count);
	}
}

static int put_page(struct sat_pack *p, struct sat_column_scratch *s,
		    struct sat_arena *a, const struct sat_page *page, bool refs)
{
	uint32_t n = page->row_count;
	const struct sat_id **ids = sat_arena_array(a, n, sizeof *ids);
	const struct sat_value **values = sat_arena_array(a, n, sizeof *values);
	int64_t *times = sat_arena_array(a, n, sizeof *times);

	if (ids == NULL || values == NULL || times == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		ids[i] = &page->ids[i];
		times[i] = sat_id_time(page->ids[i].b);
	}
	sat_pack_map(p, refs ? 3 : 5);
	sat_pack_uint(p, PK_ROWS);
	sat_pack_uint(p, n);
	sat_pack_uint(p, PK_IDS);
	sat_ids_put(p, s, ids, n);
	sat_pack_uint(p, PK_SEQS);
	sat_rising_put(p, s, page->seqs, n);
	if (refs)
		return p->rc;
	sat_pack_uint(p, PK_METAS);
	put_metas(p, s, page);
	sat_pack_uint(p, PK_COLUMNS);
	put_columns(p, s, page, values, times);
	return p->rc;
}

int sat_page_encode(const struct sat_page *p, bool refs, struct sat_buf *out)
{
	struct sat_pack pack = { out, SAT_OK };
	struct sat_column_scratch s;
	struct sat_arena a;
	int rc;

	if (p->row_count > SAT_PAGE_ROWS_MAX)
		return SAT_E_LIMIT;
	sat_arena_init(&a, 1024 * 1024);
	sat_column_scratch_init(&s);
	rc = put_page(&pack, &s, &a, p, refs);
	sat_column_scratch_fini(&s);
	sat_arena_fini(&a);
	return rc;
}

/* Reading. */

struct reader {
	struct sat_cursor c;
	struct sat_arena *a;
	struct sat_page *page;
	struct sat_err *err;
};

static int fail(struct reader *r, int rc, const char *what)
{
	return sat_err_set(r->err, rc, 0, "page", "%s", what);
}

static int take_seqs(struct reader *r)
{
	struct sat_page *p = r->page;
	struct sat_slice bin;
	uint64_t prev = 0;

	if (!sat_take_bin(&r->c, &bin) || bin.len < p->row_count)
		return fail(r, SAT_E_PROTO, "seqs");
	p->seqs = sat_arena_array(r->a, p->row_count, sizeof *p->seqs);
	if (p->seqs == NULL)
		return fail(r, SAT_E_NOMEM, "memory");
	for (uint32_t i = 0; i < p->row_count; i++)
		if (!sat_rising_next(&bin, &prev, &p->seqs[i]))
			return fail(r, SAT_E_PROTO, "seqs");
	return bin.len == 0 ? SAT_OK : fail(r, SAT_E_PROTO, "seqs");
}

/* Undo the planes: bytes is exactly as long as all metadata together. */
static void gather_metas(struct sat_page *p, uint8_t *to,
			 struct sat_slice bytes)
{
	const uint8_t *from = bytes.ptr;
	uint8_t *base = to;

	for (uint32_t i = 0; i < p->row_count; i++) {
		p->metas[i].ptr = to;
		to += p->metas[i].len;
	}
	for (size_t plane = 0; plane < META_PLANES; plane++)
		for (uint32_t i = 0; i < p->row_count; i++)
			if (plane < p->metas[i].len)
				base[(size_t)(p->metas[i].ptr - base) + plane] =
					*from++;
	for (uint32_t i = 0; i < p->row_count; i++) {
		if (p->metas[i].len <= META_PLANES)
			continue;
		memcpy(base + (p->metas[i].ptr - base) + META_PLANES, from,
		       p->metas[i].len - META_PLANES);
		from += p->metas[i].len - META_PLANES;
	}
}

static int take_metas(struct reader *r)
{
	struct sat_page *p = r->page;
	struct sat_slice lengths, bytes;
	size_t total = 0;
	uint32_t parts;
	uint64_t n;
	uint8_t *to;

	if (!sat_take_array(&r->c, &parts) || parts != 2 ||
	    !sat_take_bin(&r->c, &lengths) || !sat_take_bin(&r->c, &bytes))
		return fail(r, SAT_E_PROTO, "metadata");
	p->metas = sat_arena_array(r->a, p->row_count, sizeof *p->metas);
	to = sat_arena_alloc(r->a, bytes.len);
	if (p->metas == NULL || to == NULL)
		return fail(r, SAT_E_NOMEM, "memory");
	for (uint32_t i = 0; i < p->row_count; i++) {
		if (!sat_varint_take(&lengths, &n) || n > bytes.len - total)
			return fail(r, SAT_E_PROTO, "metadata lengths");
		p->metas[i].len = (size_t)n;
		total += (size_t)n;
	}
	if (lengths.len != 0 || total != bytes.len)
		return fail(r, SAT_E_PROTO, "metadata lengths");
	gather_metas(p, to, bytes);
	return SAT_OK;
}

/* A set travels whole, as the array a person sees; what a column accepts is
 * said of its elements. */
static bool set_accepted(struct reader *r, const struct sat_column *c,
			 const struct sat_value *v, const char **ret_why)
{
	struct sat_slice *elements;
	struct sat_value element;
	struct sat_arena scratch;
	uint32_t count;
	bool ok;

	if (v->kind != SAT_TEXT)
		return sat_column_accepts(c, v, ret_why);
	*ret_why = "is not a set";
	sat_arena_init(&scratch, r->a->max);
	ok = sat_set_parse(&scratch, v->s, &elements, &count) == SAT_OK;
	for (uint32_t i = 0; ok && i < count; i++) {
		element = sat_value_text(elements[i]);
		ok = sat_column_accepts(c, &element, ret_why);
	}
	sat_arena_fini(&scratch);
	return ok;
}

static bool accepted(struct reader *r, const struct sat_column *c,
		     const struct sat_value *v, const char **ret_why)
{
	return c->type == SAT_TYPE_SET ? set_accepted(r, c, v, ret_why)
				       : sat_column_accepts(c, v, ret_why);
}

/* Column k of the page so far; the values wait in lanes of their own until
 * the number of known columns is final. */
static int take_column(struct reader *r, int index, struct sat_value **ret)
{
	struct sat_page *p = r->page;
	const struct sat_column *c = &p->table->columns[index];
	struct sat_column_reader in;
	struct sat_value *lane;
	const char *why;
	int rc;

	rc = sat_column_open(&r->c, r->a, c->type, p->row_count, &in, &why);
	if (rc != SAT_OK)
		return fail(r, rc, why);
	lane = sat_arena_array(r->a, p->row_count, sizeof *lane);
	if (lane == NULL)
		return fail(r, SAT_E_NOMEM, "memory");
	for (uint32_t i = 0; i < p->row_count; i++) {
		if (!sat_column_next(&in, sat_id_time(p->ids[i].b), &lane[i]))
			return fail(r, SAT_E_PROTO, "column value");
		if (!accepted(r, c, &lane[i], &why))
			return sat_err_set(r->err, SAT_E_PROTO, 0, "page",
					   "%s.%s %s", p->table->name, c->name,
					   why);
	}
	if (!sat_column_done(&in))
		return fail(r, SAT_E_PROTO, "bytes left over in a column");
	*ret = lane;
	return SAT_OK;
}

static int weave(struct reader *r, struct sat_value *const *lanes)
{
	struct sat_page *p = r->page;

	p->values =
		sat_arena_array(r->a, (size_t)p->row_count * p->column_count,
				sizeof *p->values);
	if (p->values == NULL)
		return fail(r, SAT_E_NOMEM, "memory");
	for (uint32_t i = 0; i < p->row_count; i++)
		for (uint16_t k = 0; k < p->column_count; k++)
			p->values[(size_t)i * p->column_count + k] =
				lanes[k][i];
	return SAT_OK;
}

static int take_columns(struct reader *r)
{
	struct sat_page *p = r->page;
	uint16_t max = p->table->column_count;
	struct sat_value **lanes = sat_arena_array(r->a, max, sizeof *lanes);
	uint64_t last = 0;
	uint64_t no;
	uint32_t n, parts;
	int index, rc;

	p->columns = sat_arena_array(r->a, max, sizeof *p->columns);
	if (lanes == NULL || p->columns == NULL)
		return fail(r, SAT_E_NOMEM, "memory");
	if (!sat_take_array(&r->c, &n))
		return fail(r, SAT_E_PROTO, "columns");
	for (uint32_t i = 0; i < n; i++) {
		if (!sat_take_array(&r->c, &parts) || parts != 2 ||
		    !sat_take_uint(&r->c, UINT32_MAX, &no) ||
		    (i > 0 && no <= last))
			return fail(r, SAT_E_PROTO, "columns out of order");
		last = no;
		index = sat_table_column_no(p->table, (uint32_t)no);
		if (index < 0) {
			if (!sat_take_any(&r->c, NULL))
				return fail(r, SAT_E_PROTO, "columns");
			continue;
		}
		rc = take_column(r, index, &lanes[p->column_count]);
		if (rc != SAT_OK)
			return rc;
		p->columns[p->column_count++] = (uint16_t)index;
	}
	return weave(r, lanes);
}

static int take_key(struct reader *r, uint64_t key, bool refs)
{
	uint64_t n;
	int rc;

	switch (key) {
	case PK_ROWS:
		if (!sat_take_uint(&r->c, SAT_PAGE_ROWS_MAX, &n))
			return fail(r, SAT_E_PROTO, "number of rows");
		r->page->row_count = (uint32_t)n;
		return SAT_OK;
	case PK_IDS:
		if (!sat_ids_take(&r->c, r->a, r->page->row_count,
				  &r->page->ids, &rc))
			return fail(r, rc, "ids");
		return SAT_OK;
	case PK_SEQS:
		return take_seqs(r);
	case PK_METAS:
		if (!refs)
			return take_metas(r);
		break;
	case PK_COLUMNS:
		if (!refs)
			return take_columns(r);
		break;
	default:
		break;
	}
	return sat_take_any(&r->c, NULL) ? SAT_OK
					 : fail(r, SAT_E_PROTO, "unknown key");
}

static int take_page(struct reader *r, bool refs)
{
	uint32_t need = refs ? 3 : 5;
	uint64_t next = 1;
	uint64_t key;
	uint32_t n;
	int rc;

	if (!sat_take_map(&r->c, &n))
		return fail(r, SAT_E_PROTO, "not a map");
	for (uint32_t i = 0; i < n; i++) {
		if (!sat_take_uint(&r->c, UINT64_MAX, &key))
			return fail(r, SAT_E_PROTO, "key");
		/* Keys rise, so a gap among the first ones never closes. */
		if (next <= need && key != next)
			break;
		next++;
		rc = take_key(r, key, refs);
		if (rc != SAT_OK)
			return rc;
	}
	return next > need ? SAT_OK
			   : fail(r, SAT_E_PROTO, "a mandatory key is missing");
}

int sat_page_decode(const struct sat_table *t, struct sat_slice bytes,
		    bool refs, struct sat_arena *a, struct sat_page *ret,
		    struct sat_err *err)
{
	struct sat_page page = { .table = t };
	struct reader r = { { bytes, 0 }, a, &page, err };
	size_t used = 0;
	int rc;

	if (bytes.len > SAT_PAGE_BYTES_MAX)
		return fail(&r, SAT_E_LIMIT, "larger than 16 MiB");
	rc = sat_mp_check(bytes, &sat_mp_columnar, &used);
	if (rc == SAT_E_LIMIT)
		return fail(&r, rc, "too deep or too many values");
	if (rc != SAT_OK || used != bytes.len)
		return fail(&r, SAT_E_PROTO, "not one msgpack value");
	rc = take_page(&r, refs);
	if (rc == SAT_OK)
		*ret = page;
	return rc;
}
