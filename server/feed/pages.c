#include "server/feed/pages.h"

#include <string.h>

#include "server/access/emit.h"

enum {
	BATCH_BYTES_MAX = 256 * 1024 * 1024,
	META_BYTES_MAX = 64 * 1024 * 1024,
	ROW_OVERHEAD = 32, /* id, position, metadata: about */
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "feed", "out of memory");
}

void sat_pages_init(struct sat_pages *p, const struct sat_catalogue *c,
		    const struct sat_rights *rights, struct sat_zip *zip,
		    struct sat_store *store)
{
	*p = (struct sat_pages){
		.cat = c, .rights = rights, .zip = zip, .store = store
	};
	sat_arena_init(&p->arena, BATCH_BYTES_MAX);
	sat_buf_init(&p->body, SAT_PAGE_BYTES_MAX);
	sat_buf_init(&p->meta, META_BYTES_MAX);
}

void sat_pages_fini(struct sat_pages *p)
{
	sat_arena_fini(&p->arena);
	sat_buf_fini(&p->body);
	sat_buf_fini(&p->meta);
}

int sat_pages_start(struct sat_pages *p, uint32_t capacity)
{
	sat_arena_reset(&p->arena);
	p->bytes = 0;
	p->capacity = capacity;
	p->tables = sat_arena_array(&p->arena, p->cat->table_count,
				    sizeof *p->tables);
	return p->tables == NULL ? SAT_E_NOMEM : SAT_OK;
}

static bool page_room(struct sat_pages *p, const struct sat_table *t,
		      struct sat_page *page)
{
	struct sat_arena *a = &p->arena;

	page->table = t;
	page->ids = sat_arena_array(a, p->capacity, sizeof *page->ids);
	page->seqs = sat_arena_array(a, p->capacity, sizeof *page->seqs);
	return page->ids != NULL && page->seqs != NULL;
}

/* The table's gatherer, made on first use in a batch. */
static struct sat_pages_table *gather(struct sat_pages *p,
				      const struct sat_table *t)
{
	struct sat_pages_table *g = &p->tables[t->index];
	struct sat_arena *a = &p->arena;

	if (g->used)
		return g;
	g->readable = sat_arena_array(a, t->column_count, sizeof *g->readable);
	g->rows.columns =
		sat_arena_array(a, t->column_count, sizeof *g->rows.columns);
	g->rows.metas = sat_arena_array(a, p->capacity, sizeof *g->rows.metas);
	g->evicts = sat_arena_array(a, p->capacity, sizeof *g->evicts);
	g->authors = sat_arena_array(a, SAT_AUTHORS_MAX, sizeof *g->authors);
	if (g->authors == NULL || g->readable == NULL ||
	    g->rows.columns == NULL || g->rows.metas == NULL ||
	    g->evicts == NULL || !page_room(p, t, &g->rows) ||
	    !page_room(p, t, &g->refs))
		return NULL;
	g->all = sat_read_set(t, p->rights->role, g->readable);
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (g->readable[i])
			g->rows.columns[g->rows.column_count++] = i;
	}
	g->rows.values =
		sat_arena_array(a, (size_t)p->capacity * g->rows.column_count,
				sizeof *g->rows.values);
	if (g->rows.values == NULL)
		return NULL;
	g->used = true;
	return g;
}

/* Metadata as the reader may see it. A tombstone needs its vectors alone. */
static int masked_meta(struct sat_pages *p, const struct sat_table *t,
		       const struct sat_stored_row *row, const bool *readable,
		       bool all, struct sat_slice *ret)
{
	int rc;

	if (all) {
		*ret = row->meta;
		return SAT_OK;
	}
	sat_buf_clear(&p->meta);
	rc = sat_meta_mask(&p->arena, t, row->meta, row->values, readable,
			   &p->meta);
	return rc == SAT_OK
		       ? sat_arena_copy(&p->arena, sat_buf_peek(&p->meta), ret)
		       : rc;
}

static void put_values(struct sat_pages_table *g,
		       const struct sat_stored_row *row, const bool *readable,
		       struct sat_value *out, size_t *bytes)
{
	for (uint16_t k = 0; k < g->rows.column_count; k++) {
		const struct sat_value *v = &row->values[g->rows.columns[k]];

		out[k] = readable[g->rows.columns[k]] ? *v : sat_value_null();
		*bytes += out[k].kind == SAT_TEXT || out[k].kind == SAT_BLOB
				  ? out[k].s.len
				  : 4;
	}
}

/* One more than a page tells of is told with a later one. */
static void add_author(struct sat_pages_table *g, uint32_t replica)
{
	uint32_t from = 0, to = g->author_count, mid;

	while (from < to) {
		mid = from + (to - from) / 2;
		if (g->authors[mid] < replica)
			from = mid + 1;
		else
			to = mid;
	}
	if (g->author_count == SAT_AUTHORS_MAX ||
	    (from < g->author_count && g->authors[from] == replica))
		return;
	memmove(g->authors + from + 1, g->authors + from,
		(g->author_count - from) * sizeof *g->authors);
	g->authors[from] = replica;
	g->author_count++;
}

/* Whom the vector of a row that goes out names, and nobody else. Metadata
 * that cannot be read is for the digest to find, not for a name. */
static void note_authors(struct sat_pages *p, struct sat_pages_table *g,
			 struct sat_slice meta)
{
	struct sat_vv vv, dv;

	if (sat_meta_vectors(&p->arena, meta, &vv, &dv) != SAT_OK)
		return;
	for (uint32_t i = 0; i < vv.count; i++)
		add_author(g, vv.dots[i].replica);
}

int sat_pages_row(struct sat_pages *p, uint32_t scope,
		  const struct sat_table *t, const struct sat_stored_row *row,
		  struct sat_err *err)
{
	struct sat_pages_table *g = gather(p, t);
	struct sat_value *out;
	bool *readable;
	bool foreign;
	int rc;

	readable =
		sat_arena_array(&p->arena, t->column_count, sizeof *readable);
	if (g == NULL || readable == NULL)
		return no_memory(err);
	if (!row->deleted) /* a tombstone shows nothing */
		memcpy(readable, g->readable,
		       t->column_count * sizeof *readable);
	foreign = sat_read_foreign(p->cat, t, p->rights->role, row->values,
				   readable);
	out = &g->rows.values[(size_t)g->rows.row_count * g->rows.column_count];
	put_values(g, row, readable, out, &p->bytes);
	if (!sat_emit_allowed(p->cat, t, p->rights, scope, row, out,
			      g->rows.columns, g->rows.column_count))
		return sat_err_set(err, SAT_E_DENIED, 0, "feed",
				   "a %s row was about to leave its scopes",
				   t->name);
	rc = masked_meta(p, t, row, readable,
			 g->all && !foreign && !row->deleted,
			 &g->rows.metas[g->rows.row_count]);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "feed",
				   "metadata of a %s row is damaged", t->name);
	note_authors(p, g, g->rows.metas[g->rows.row_count]);
	p->bytes += ROW_OVERHEAD + g->rows.metas[g->rows.row_count].len;
	g->rows.ids[g->rows.row_count] = row->id;
	g->rows.seqs[g->rows.row_count++] = row->seq;
	return SAT_OK;
}

int sat_pages_ref(struct sat_pages *p, uint32_t scope,
		  const struct sat_table *t, const struct sat_stored_row *row,
		  struct sat_err *err)
{
	struct sat_pages_table *g = gather(p, t);

	if (g == NULL)
		return no_memory(err);
	if (!sat_emit_allowed(p->cat, t, p->rights, scope, row, NULL, NULL, 0))
		return sat_err_set(err, SAT_E_DENIED, 0, "feed",
				   "a %s row was about to leave its scopes",
				   t->name);
	g->refs.ids[g->refs.row_count] = row->id;
	g->refs.seqs[g->refs.row_count++] = row->seq;
	p->bytes += ROW_OVERHEAD;
	return SAT_OK;
}

int sat_pages_evict(struct sat_pages *p, const struct sat_table *t,
		    const struct sat_id *id, struct sat_err *err)
{
	struct sat_pages_table *g = gather(p, t);

	if (g == NULL)
		return no_memory(err);
	g->evicts[g->evict_count++] = *id;
	p->bytes += ROW_OVERHEAD;
	return SAT_OK;
}

/* ---- frames ------------------------------------------------------------- */

/* The people behind the replicas; the server's own have none. */
static int tell_authors(struct sat_pages *p, const struct sat_pages_table *g,
			struct sat_slice *ret, struct sat_err *err)
{
	uint8_t *out = sat_arena_alloc(&p->arena, (size_t)g->author_count *
							  SAT_AUTHOR_BYTES);
	struct sat_device d;
	size_t n = 0;
	int rc;

	if (out == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < g->author_count; i++) {
		rc = sat_store_device_get(p->store, g->authors[i], &d, err);
		if (rc == SAT_E_NOTFOUND)
			continue;
		if (rc != SAT_OK)
			return rc;
		for (size_t k = 0; k < 4; k++)
			out[n + k] = (uint8_t)(d.replica >> (24 - 8 * k));
		memcpy(out + n + 4, d.user.b, sizeof d.user.b);
		n += SAT_AUTHOR_BYTES;
	}
	*ret = (struct sat_slice){ out, n };
	return SAT_OK;
}

/* A page larger than a frame goes out in parts. */
static int write_page(struct sat_pages *p, uint32_t scope,
		      const struct sat_page *page, bool refs,
		      struct sat_slice authors, struct sat_buf *out)
{
	struct sat_msg m = { .type = SAT_MSG_ROWS };
	struct sat_slice left;
	size_t n;
	int rc;

	if (page->row_count == 0)
		return SAT_OK;
	sat_buf_clear(&p->body);
	rc = sat_page_encode(page, refs, &p->body);
	left = sat_buf_peek(&p->body);
	while (rc == SAT_OK && left.len > 0) {
		n = left.len < SAT_ROWS_PART_BYTES ? left.len
						   : SAT_ROWS_PART_BYTES;
		m.rows = (struct sat_msg_rows){
			.scope = scope,
			.table_no = page->table->no,
			.refs = refs,
			.more = n < left.len,
			.repair = p->repair,
			.page = { left.ptr, n },
			.authors = authors,
		};
		authors.len = 0; /* once */
		rc = sat_msg_encode(p->zip, &m, out);
		left.ptr += n;
		left.len -= n;
	}
	return rc;
}

static int write_evicts(struct sat_pages *p, uint32_t scope,
			const struct sat_table *t,
			const struct sat_pages_table *g, struct sat_buf *out)
{
	struct sat_msg m = { .type = SAT_MSG_EVICT,
			     .evict = { .scope = scope,
					.table_no = t->no,
					.ids = g->evicts,
					.id_count = g->evict_count } };

	return g->evict_count == 0 ? SAT_OK : sat_msg_encode(p->zip, &m, out);
}

static int write_table(struct sat_pages *p, uint32_t scope,
		       const struct sat_pages_table *g, struct sat_buf *out,
		       struct sat_err *err)
{
	struct sat_slice authors = { NULL, 0 };
	int rc = tell_authors(p, g, &authors, err);

	if (rc == SAT_OK)
		rc = write_page(p, scope, &g->rows, false, authors, out);
	authors.len = 0;
	return rc == SAT_OK ? write_page(p, scope, &g->refs, true, authors, out)
			    : rc;
}

int sat_pages_write(struct sat_pages *p, uint32_t scope, struct sat_buf *out,
		    struct sat_err *err)
{
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < p->cat->table_count; i++) {
		if (p->tables[i].used)
			rc = write_evicts(p, scope, &p->cat->tables[i],
					  &p->tables[i], out);
	}
	for (uint16_t i = 0; rc == SAT_OK && i < p->cat->table_count; i++) {
		if (!p->tables[i].used)
			continue;
		rc = write_table(p, scope, &p->tables[i], out, err);
	}
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "feed",
					  "a page cannot be written");
}
