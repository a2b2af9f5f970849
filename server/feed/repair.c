#include "server/feed/repair.h"

#include <string.h>

#include "server/access/emit.h"
#include "server/feed/pages.h"

enum { SCRATCH_MAX = 256 * 1024 * 1024, META_MAX = 64 * 1024 * 1024 };

struct piece {
	struct sat_repair *x;
	struct sat_store *store;
	const struct sat_catalogue *cat;
	struct sat_zip *zip;
	struct sat_buf *out;
	struct sat_err *err;
	struct sat_arena arena;
	struct sat_buf meta; /* scratch */
	struct {
		const struct sat_table *table;
		uint64_t row_seq;
	} batch[512];
	uint32_t count;
	uint32_t seen; /* entries in this piece */
	uint64_t last;
};

void sat_repair_init(struct sat_repair *x, const struct sat_rights *rights,
		     const struct sat_msg_repair *ask)
{
	memset(x, 0, sizeof *x);
	x->rights = rights;
	x->ask = *ask;
	sat_buf_init(&x->list,
		     (size_t)SAT_REPAIR_LIST_MAX * SAT_REPAIR_LIST_BYTES);
}

void sat_repair_fini(struct sat_repair *x)
{
	sat_buf_fini(&x->list);
}

static int fail(struct piece *p, int rc)
{
	return sat_err_set(p->err, rc, 0, "repair", "%s",
			   rc == SAT_E_NOMEM ? "out of memory"
					     : "an answer cannot be made");
}

static struct sat_msg answer_to(const struct sat_msg_repair *ask)
{
	struct sat_msg m = { .type = SAT_MSG_REPAIR };

	m.repair.no = ask->no;
	m.repair.step = ask->step;
	m.repair.scope = ask->scope;
	m.repair.table_no = ask->table_no;
	return m;
}

static int send(struct piece *p, const struct sat_msg *m)
{
	int rc = sat_msg_encode(p->zip, m, p->out);

	return rc == SAT_OK ? rc : fail(p, rc);
}

/* ---- sums of scopes ------------------------------------------------------ */

static void put32(uint8_t *to, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> 8 * (3 - i));
}

static int answer_scopes(struct piece *p)
{
	const struct sat_rights *r = p->x->rights;
	struct sat_msg m = answer_to(&p->x->ask);
	uint8_t *sums = sat_arena_array(&p->arena, SAT_REPAIR_SCOPES_MAX,
					SAT_REPAIR_SCOPE_BYTES);
	struct sat_hash one;
	uint64_t rows;
	size_t len = 0;
	int rc = SAT_OK;

	if (sums == NULL)
		return fail(p, SAT_E_NOMEM);
	for (uint32_t i = 0; rc == SAT_OK && i < r->scope_count; i++) {
		if (r->scopes[i] < p->x->ask.scope)
			continue;
		if (len ==
		    (size_t)SAT_REPAIR_SCOPES_MAX * SAT_REPAIR_SCOPE_BYTES) {
			m.repair.more = true;
			break;
		}
		rc = sat_store_digest_get(p->store, r->scopes[i], r->role, &one,
					  &rows, p->err);
		put32(sums + len, r->scopes[i]);
		sat_hash_pack(one, sums + len + 4);
		len += SAT_REPAIR_SCOPE_BYTES;
	}
	m.repair.sums = (struct sat_slice){ sums, len };
	return rc == SAT_OK ? send(p, &m) : rc;
}

/* ---- through a scope's feed ---------------------------------------------- */

static bool is_wanted(const struct sat_repair *x, uint8_t range)
{
	if (x->ask.step == SAT_REPAIR_SUMS)
		return true;
	return x->ask.ranges.len > 0 &&
	       (x->ask.ranges.ptr[range / 8] >> range % 8 & 1) != 0;
}

/* The row as this reader is sent it, hashed as he hashes it. */
static int hash_of(struct piece *p, const struct sat_table *t,
		   const struct sat_stored_row *row, struct sat_hash *ret)
{
	enum sat_role role = p->x->rights->role;
	struct sat_slice meta = row->meta;
	bool *readable =
		sat_arena_array(&p->arena, t->column_count, sizeof *readable);
	bool all;
	int rc = SAT_OK;

	if (readable == NULL)
		return SAT_E_NOMEM;
	all = sat_read_set(t, role, readable);
	if (sat_read_foreign(p->cat, t, role, row->values, readable))
		all = false;
	if (!all) {
		sat_buf_clear(&p->meta);
		rc = sat_meta_mask(&p->arena, t, meta, row->values, readable,
				   &p->meta);
		meta = sat_buf_peek(&p->meta);
	}
	if (rc == SAT_OK)
		*ret = sat_row_hash(t, &row->id, meta, row->values, readable);
	return rc;
}

static int list_row(struct sat_repair *x, const struct sat_table *t,
		    const struct sat_id *id, uint64_t low)
{
	uint8_t entry[SAT_REPAIR_LIST_BYTES] = { (uint8_t)(t->no >> 8),
						 (uint8_t)t->no };

	memcpy(entry + 2, id->b, sizeof id->b);
	for (unsigned i = 0; i < 8; i++)
		entry[18 + i] = (uint8_t)(low >> 8 * (7 - i));
	if (sat_buf_append(&x->list, entry, sizeof entry) == SAT_OK)
		return SAT_OK;
	x->full = true; /* its ceiling; what it holds is still true */
	return SAT_OK;
}

static int count_row(struct piece *p, const struct sat_table *t,
		     uint64_t row_seq)
{
	struct sat_repair *x = p->x;
	struct sat_stored_row row;
	struct sat_hash h = { 0, 0 };
	uint8_t range;
	int rc =
		sat_store_row_at(p->store, t, row_seq, &p->arena, &row, p->err);

	if (rc != SAT_OK || row.seq == 0 || row.deleted)
		return rc;
	range = sat_repair_range(t->no, &row.id);
	if (!is_wanted(x, range) ||
	    !sat_emit_allowed(p->cat, t, x->rights, x->ask.scope, &row, NULL,
			      NULL, 0))
		return SAT_OK;
	rc = hash_of(p, t, &row, &h);
	if (rc != SAT_OK && rc != SAT_E_CORRUPT)
		return fail(p, rc);
	if (x->ask.step == SAT_REPAIR_SUMS)
		sat_hash_add(&x->sums[range], h);
	else
		rc = list_row(x, t, &row.id, h.low);
	return SAT_OK;
}

static int on_entry(void *arg, uint64_t seq, const struct sat_table *t,
		    uint64_t row_seq, const struct sat_id *id, bool evict)
{
	struct piece *p = arg;

	(void)id;
	p->last = seq;
	p->seen++;
	if (!evict) {
		p->batch[p->count].table = t;
		p->batch[p->count++].row_seq = row_seq;
	}
	return p->count == SAT_COUNT_OF(p->batch) || p->seen >= SAT_REPAIR_SLICE
		       ? SAT_AGAIN
		       : SAT_OK;
}

/* The next entries; SAT_AGAIN when there may be more. */
static int read_batch(struct piece *p)
{
	struct sat_repair *x = p->x;
	int scan, rc = SAT_OK;

	p->count = 0;
	p->last = x->after;
	scan = sat_store_feed_scan(p->store, x->ask.scope, x->after, x->upto,
				   on_entry, p, p->err);
	if (scan != SAT_OK && scan != SAT_AGAIN)
		return scan;
	for (uint32_t i = 0; rc == SAT_OK && i < p->count && !x->full; i++) {
		sat_arena_reset(&p->arena);
		rc = count_row(p, p->batch[i].table, p->batch[i].row_seq);
	}
	x->after = p->last;
	return rc == SAT_OK && !x->full ? scan : rc;
}

static int answer_scan(struct piece *p)
{
	struct sat_repair *x = p->x;
	struct sat_msg m = answer_to(&x->ask);
	uint8_t sums[16 * SAT_REPAIR_RANGES];
	int rc = SAT_OK;

	if (x->upto == 0)
		rc = sat_store_head(p->store, &x->upto, p->err);
	if (rc == SAT_OK && x->upto != 0)
		do
			rc = read_batch(p);
		while (rc == SAT_AGAIN && p->seen < SAT_REPAIR_SLICE);
	if (rc != SAT_OK)
		return rc;
	if (x->ask.step == SAT_REPAIR_SUMS) {
		for (unsigned i = 0; i < SAT_REPAIR_RANGES; i++)
			sat_hash_pack(x->sums[i], sums + (size_t)16 * i);
		m.repair.sums = (struct sat_slice){ sums, sizeof sums };
	}
	m.repair.list = sat_buf_peek(&x->list);
	m.repair.more = x->full;
	return send(p, &m);
}

/* ---- rows ---------------------------------------------------------------- */

static bool is_in(const struct sat_stored_row *row, uint32_t scope)
{
	for (uint32_t i = 0; i < row->place_count; i++)
		if (row->places[i].scope == scope && !row->places[i].evict)
			return true;
	return false;
}

/* Whether a row exists elsewhere is nothing that the answer tells. */
static int take_row(struct piece *p, struct sat_pages *pages,
		    const struct sat_table *t, const struct sat_id *id)
{
	uint32_t scope = p->x->ask.scope;
	struct sat_stored_row row;
	int rc =
		sat_store_row_get(p->store, t, id, &pages->arena, &row, p->err);

	if (rc != SAT_OK)
		return rc;
	/* a damaged row is neither sent nor taken away: the device keeps what
	 * it has */
	if (row.seq != 0 && row.damaged)
		return SAT_OK;
	if (row.seq == 0 || !is_in(&row, scope))
		return sat_pages_evict(pages, t, id, p->err);
	return sat_pages_row(pages, scope, t, &row, p->err);
}

static int answer_rows(struct piece *p, size_t *ret_data)
{
	const struct sat_msg_repair *ask = &p->x->ask;
	const struct sat_table *t =
		sat_catalogue_table_no(p->cat, ask->table_no);
	struct sat_msg m = answer_to(ask);
	size_t start = sat_buf_peek(p->out).len;
	struct sat_pages pages;
	int rc = SAT_OK;

	if (t == NULL)
		return send(p, &m);
	sat_pages_init(&pages, p->cat, p->x->rights, p->zip, p->store);
	pages.repair = true;
	if (sat_pages_start(&pages, ask->id_count) != SAT_OK)
		rc = fail(p, SAT_E_NOMEM);
	while (rc == SAT_OK && m.repair.count < ask->id_count &&
	       pages.bytes < SAT_REPAIR_SEND_BYTES)
		rc = take_row(p, &pages, t, &ask->ids[m.repair.count++]);
	if (rc == SAT_OK)
		rc = sat_pages_write(&pages, ask->scope, p->out, p->err);
	*ret_data = sat_buf_peek(p->out).len - start;
	if (rc == SAT_OK)
		rc = send(p, &m);
	sat_pages_fini(&pages);
	return rc;
}

static int answer(struct piece *p, size_t *ret_data)
{
	struct sat_repair *x = p->x;
	struct sat_msg nothing = answer_to(&x->ask);

	*ret_data = 0;
	if (x->ask.step == SAT_REPAIR_SCOPES)
		return answer_scopes(p);
	if (!sat_rights_hold(x->rights, x->ask.scope))
		return send(p, &nothing);
	if (x->ask.step == SAT_REPAIR_ROWS)
		return answer_rows(p, ret_data);
	return answer_scan(p);
}

int sat_repair_step(struct sat_repair *x, struct sat_store *reader,
		    struct sat_zip *zip, struct sat_buf *out, size_t *ret_data,
		    struct sat_err *err)
{
	struct piece p = {
		.x = x, .store = reader, .zip = zip, .out = out, .err = err
	};
	int rc = sat_store_snapshot_begin(reader, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_store_catalogue_refresh(reader, err);
	p.cat = sat_store_catalogue(reader);
	sat_arena_init(&p.arena, SCRATCH_MAX);
	sat_buf_init(&p.meta, META_MAX);
	if (rc == SAT_OK)
		rc = answer(&p, ret_data);
	sat_buf_fini(&p.meta);
	sat_arena_fini(&p.arena);
	sat_store_snapshot_end(reader);
	return rc;
}
