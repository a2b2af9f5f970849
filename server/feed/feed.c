/* A pull reads in passes. A pass goes through every granted scope up to the
 * head it began with; each read is a short snapshot of its own, so a pass may
 * span many. Rows that move meanwhile get a later position and are met in the
 * next pass, which starts where this one ended. The pass that ends in a
 * snapshot whose head it has reached has seen one state of the whole, and
 * only then is there a checkpoint (SYNC section 5). */
#include "server/feed/feed.h"

#include <string.h>

#include "server/access/emit.h"
#include "server/feed/pages.h"

enum { BATCH_BYTES = 512 * 1024 };

struct entry {
	uint64_t seq, row_seq;
	const struct sat_table *table;
	struct sat_id id; /* of an evict */
	bool evict;
};

struct pull {
	struct sat_store *store;
	const struct sat_feed_ask *ask;
	struct sat_feed_answer *ret;
	struct sat_feed_at at;
	struct sat_pages pages;
	struct entry *batch; /* SAT_PAGES_ENTRIES */
	uint32_t count;
	uint64_t floor;
	uint32_t refs;  /* of the batch: what another device might not have */
	bool lacks;     /* a damaged row was left out of the stretch */
	uint8_t *moved; /* by index in rights.scopes: anything after cursor? */
	struct sat_err *err;
};

static int on_entry(void *arg, uint64_t seq, const struct sat_table *t,
		    uint64_t row_seq, const struct sat_id *id, bool evict)
{
	struct pull *p = arg;
	struct entry *e = &p->batch[p->count++];

	*e = (struct entry){
		.seq = seq, .row_seq = row_seq, .table = t, .evict = evict
	};
	if (evict)
		e->id = *id;
	return p->count == SAT_PAGES_ENTRIES ? SAT_AGAIN : SAT_OK;
}

/* Is the scope one that this pass reads from the start? */
static bool is_fresh(const struct pull *p, uint32_t scope)
{
	uint32_t lo = 0, hi = p->ask->fresh_count, mid;

	if (!p->at.fill)
		return false;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (p->ask->fresh[mid] < scope)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->ask->fresh_count && p->ask->fresh[lo] == scope;
}

/* ---- what a row needs --------------------------------------------------- */

enum fate { FATE_SKIP, FATE_REF, FATE_ROW };

static const struct sat_place *place_in(const struct sat_stored_row *row,
					uint32_t scope)
{
	for (uint32_t i = 0; i < row->place_count; i++) {
		if (row->places[i].scope == scope)
			return &row->places[i];
	}
	return NULL;
}

/* Has the device got this state through another of its scopes: before this
 * pass, or in this pass through a scope that is read earlier? Positions only
 * grow, so a place at or before `upto` was there when its scope was read. */
static bool known_elsewhere(const struct pull *p,
			    const struct sat_stored_row *row, uint32_t scope)
{
	for (uint32_t i = 0; i < row->place_count; i++) {
		const struct sat_place *pl = &row->places[i];

		if (pl->evict || pl->scope == scope ||
		    !sat_rights_hold(p->ask->rights, pl->scope))
			continue;
		if ((pl->seq <= p->at.cursor && !is_fresh(p, pl->scope)) ||
		    (pl->scope < scope && pl->seq <= p->at.upto))
			return true;
	}
	return false;
}

/* Does the device know that it holds what it wrote last, and did it alone
 * ever write the row? */
static int ask_author(struct pull *p, const struct sat_stored_row *row,
		      bool *ret_told, bool *ret_alone)
{
	struct sat_vv vv, dv;
	int rc = sat_meta_vectors(&p->pages.arena, row->meta, &vv, &dv);

	if (rc != SAT_OK)
		return rc;
	*ret_told = sat_vv_get(vv, p->ask->replica) <= p->ask->told;
	*ret_alone = vv.count == 1 && vv.dots[0].replica == p->ask->replica;
	return SAT_OK;
}

/* What its author holds exactly is not sent back. A row that he alone has ever
 * written no page has placed for him, so a reference does. A row that entered
 * the scope after it was written (its place is younger) is like anybody
 * else's: he may have had to drop it in between. And this snapshot may be
 * ahead of the verdict: a reference to a row that is not his base yet would be
 * lost, and the checkpoint's digest would count a state that he lacks. */
static int fate_of(struct pull *p, const struct sat_stored_row *row,
		   const struct sat_place *place, enum fate *ret)
{
	bool told = false, alone = false;
	int rc;

	if (p->ask->live && p->at.cursor != 0 && row->held &&
	    row->origin == p->ask->replica && place->seq == row->seq &&
	    !is_fresh(p, place->scope)) {
		rc = ask_author(p, row, &told, &alone);
		if (rc != SAT_OK)
			return rc;
		*ret = alone && !row->deleted ? FATE_REF : FATE_SKIP;
		if (told)
			return SAT_OK;
	}
	*ret = known_elsewhere(p, row, place->scope) ? FATE_REF : FATE_ROW;
	return SAT_OK;
}

static void left_out(struct pull *p, const struct sat_table *t,
		     const struct sat_id *id)
{
	struct sat_feed_answer *ret = p->ret;

	p->lacks = true;
	if (ret->damaged_count < SAT_FEED_DAMAGED_MAX)
		sat_row_name_of(t, id, &ret->damaged[ret->damaged_count++]);
}

static int take_row(struct pull *p, uint32_t scope, const struct entry *e)
{
	const struct sat_place *place;
	struct sat_stored_row row;
	enum fate fate;
	int rc;

	rc = sat_store_row_at(p->store, e->table, e->row_seq, &p->pages.arena,
			      &row, p->err);
	if (rc != SAT_OK)
		return rc;
	if (row.seq != 0 && row.damaged) {
		left_out(p, e->table, &row.id);
		return SAT_OK;
	}
	place = row.seq == 0 ? NULL : place_in(&row, scope);
	if (place == NULL || place->evict || place->seq != e->seq)
		return sat_err_set(p->err, SAT_E_CORRUPT, 0, "feed",
				   "a feed entry and its %s row disagree",
				   e->table->name);
	rc = fate_of(p, &row, place, &fate);
	if (rc != SAT_OK)
		return sat_err_set(p->err, rc, 0, "feed",
				   "metadata of a %s row is damaged",
				   e->table->name);
	if (fate == FATE_ROW)
		return sat_pages_row(&p->pages, scope, e->table, &row, p->err);
	p->refs += fate == FATE_REF;
	if (fate == FATE_REF)
		return sat_pages_ref(&p->pages, scope, e->table, &row, p->err);
	return SAT_OK;
}

/* ---- reading ------------------------------------------------------------ */

static struct sat_page_key key_of(const struct pull *p, uint32_t scope)
{
	size_t limit = p->ask->bytes_max < BATCH_BYTES ? p->ask->bytes_max
						       : BATCH_BYTES;

	return (struct sat_page_key){
		.after = p->at.seq,
		.scope = scope,
		.role = (uint32_t)p->ask->rights->role,
		.catalogue = p->pages.cat->version,
		.limit = (uint32_t)limit,
	};
}

/* Of what a device without anything gets, only references depend on what else
 * it may see; and a stretch is whole only before the end of a pass. */
static bool may_share(const struct pull *p)
{
	return p->ask->cache != NULL && p->at.cursor == 0;
}

static void share(struct pull *p, const struct sat_page_key *key,
		  uint32_t count, struct sat_slice frames)
{
	struct sat_cached_page page = {
		.key = *key, .to = p->at.seq, .count = count, .frames = frames
	};

	sat_page_cache_put(p->ask->cache, &page);
}

/* A stretch as another device got it, if it is still what the feed says.
 * *ret_taken: it is in the frames. */
static int take_shared(struct pull *p, const struct sat_page_key *key,
		       bool *ret_taken)
{
	const struct sat_cached_page *page =
		sat_page_cache_pin(p->ask->cache, key);
	uint64_t count = 0;
	bool stale;
	int rc;

	*ret_taken = false;
	if (page == NULL)
		return SAT_OK;
	rc = sat_store_feed_count(p->store, key->scope, key->after, page->to,
				  &count, p->err);
	stale = rc == SAT_OK && count != page->count;
	if (rc != SAT_OK || stale || page->to > p->at.upto)
		goto out;
	if (!sat_emit_shared(p->pages.rights, (enum sat_role)key->role,
			     key->scope)) {
		rc = sat_err_set(p->err, SAT_E_DENIED, 0, "feed",
				 "a page was about to leave its scope");
		goto out;
	}
	rc = sat_buf_append(&p->ret->frames, page->frames.ptr,
			    page->frames.len);
	if (rc != SAT_OK) {
		(void)sat_err_set(p->err, rc, 0, "feed", "out of memory");
		goto out;
	}
	p->at.seq = page->to;
	*ret_taken = true;
out:
	sat_page_cache_unpin(p->ask->cache, page, stale);
	return rc;
}

/* The next entries of the scope into frames. *ret_end: the scope is read to
 * the end of the pass. */
static int build_batch(struct pull *p, uint32_t scope, size_t limit,
		       uint32_t *ret_count, bool *ret_end)
{
	uint32_t i;
	int rc;

	p->count = 0;
	rc = sat_store_feed_scan(p->store, scope, p->at.seq, p->at.upto,
				 on_entry, p, p->err);
	if (rc != SAT_OK && rc != SAT_AGAIN)
		return rc;
	*ret_end = rc == SAT_OK;
	if (sat_pages_start(&p->pages, p->count) != SAT_OK)
		return sat_err_set(p->err, SAT_E_NOMEM, 0, "feed",
				   "out of memory");
	rc = SAT_OK;
	p->refs = 0;
	p->lacks = false;
	for (i = 0; rc == SAT_OK && i < p->count; i++) {
		const struct entry *e = &p->batch[i];

		if (i > 0 && p->pages.bytes > limit) {
			*ret_end = false;
			break;
		}
		if (!e->evict)
			rc = take_row(p, scope, e);
		else if (e->seq > p->at.cursor) /* else never had, or told */
			rc = sat_pages_evict(&p->pages, e->table, &e->id,
					     p->err);
		p->at.seq = e->seq;
	}
	*ret_count = i;
	return rc == SAT_OK ? sat_pages_write(&p->pages, scope, &p->ret->frames,
					      p->err)
			    : rc;
}

static int read_batch(struct pull *p, uint32_t scope, bool *ret_end)
{
	const struct sat_page_key key = key_of(p, scope);
	size_t start = sat_buf_peek(&p->ret->frames).len;
	struct sat_slice got;
	uint32_t count = 0;
	bool taken = false;
	int rc = may_share(p) ? take_shared(p, &key, &taken) : SAT_OK;

	*ret_end = false;
	if (rc != SAT_OK || taken)
		return rc;
	rc = build_batch(p, scope, key.limit, &count, ret_end);
	if (rc != SAT_OK || *ret_end || p->refs > 0 || p->lacks ||
	    !may_share(p))
		return rc;
	got = sat_buf_peek(&p->ret->frames);
	share(p, &key, count,
	      (struct sat_slice){ got.ptr + start, got.len - start });
	return SAT_OK;
}

/* Stand at the scope of that index, before its first entry that is due. */
static void enter_scope(struct pull *p, uint32_t index)
{
	const struct sat_rights *r = p->ask->rights;

	p->at.scope = index;
	p->at.seq = p->at.cursor;
	if (index < r->scope_count && is_fresh(p, r->scopes[index]))
		p->at.seq = 0;
}

static int on_moved(void *arg, uint32_t scope)
{
	struct pull *p = arg;
	const struct sat_rights *r = p->ask->rights;
	uint32_t lo = 0, hi = r->scope_count, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (r->scopes[mid] < scope)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < r->scope_count && r->scopes[lo] == scope)
		p->moved[lo / 8] |= (uint8_t)(1u << lo % 8);
	return SAT_OK;
}

/* Of thousands of scopes few move between two checkpoints: only those are
 * looked at. */
static int find_moved(struct pull *p)
{
	memset(p->moved, 0, p->ask->rights->scope_count / 8 + 1);
	return sat_store_scopes_moved(p->store, p->at.cursor, on_moved, p,
				      p->err);
}

static bool is_due(const struct pull *p, uint32_t index)
{
	return (p->moved[index / 8] >> index % 8 & 1) != 0 ||
	       is_fresh(p, p->ask->rights->scopes[index]);
}

/* Go on with the pass until it ends or enough is read. */
static int read_pass(struct pull *p, size_t start, bool *ret_end)
{
	const struct sat_rights *r = p->ask->rights;
	bool end = true;
	int rc = find_moved(p);

	*ret_end = false;
	if (rc != SAT_OK)
		return rc;
	while (p->at.scope < r->scope_count) {
		if (is_due(p, p->at.scope))
			rc = read_batch(p, r->scopes[p->at.scope], &end);
		else
			end = true;
		if (rc != SAT_OK)
			return rc;
		if (end)
			enter_scope(p, p->at.scope + 1);
		if (p->at.scope < r->scope_count &&
		    sat_buf_peek(&p->ret->frames).len - start >=
			    p->ask->bytes_max)
			return SAT_OK;
	}
	*ret_end = true;
	return SAT_OK;
}

static void start_pass(struct pull *p, uint64_t head)
{
	if (p->at.upto != 0) {
		p->at.cursor = p->at.upto;
		p->at.fill = false;
	}
	p->at.upto = head;
	enter_scope(p, 0);
}

/* ---- marks -------------------------------------------------------------- */

enum { MARK_FORM = 1 };

static uint8_t *put_be(uint8_t *to, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
	return to + bytes;
}

static uint64_t take_be(const uint8_t **from, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | (*from)[i];
	*from += bytes;
	return v;
}

void sat_feed_mark_pack(const struct sat_feed_mark *m,
			uint8_t out[SAT_FEED_MARK_BYTES])
{
	out = put_be(out, MARK_FORM, 1);
	out = put_be(out, m->epoch, 8);
	out = put_be(out, m->version, 4);
	out = put_be(out, m->base, 4);
	out = put_be(out, m->at.cursor, 8);
	out = put_be(out, m->at.upto, 8);
	out = put_be(out, m->at.scope, 4);
	out = put_be(out, m->at.seq, 8);
	(void)put_be(out, m->at.fill, 1);
}

bool sat_feed_mark_unpack(struct sat_slice in, struct sat_feed_mark *ret)
{
	const uint8_t *p = in.ptr;

	if (in.len != SAT_FEED_MARK_BYTES || take_be(&p, 1) != MARK_FORM)
		return false;
	ret->epoch = take_be(&p, 8);
	ret->version = (uint32_t)take_be(&p, 4);
	ret->base = (uint32_t)take_be(&p, 4);
	ret->at.cursor = take_be(&p, 8);
	ret->at.upto = take_be(&p, 8);
	ret->at.scope = (uint32_t)take_be(&p, 4);
	ret->at.seq = take_be(&p, 8);
	ret->at.fill = take_be(&p, 1) != 0;
	return true;
}

/* Behind what was read: where to go on if the connection ends here. */
static int mark(struct pull *p)
{
	const struct sat_feed_mark m = { p->ask->epoch, p->ask->rights->version,
					 p->ask->base, p->at };
	struct sat_msg msg = { .type = SAT_MSG_MARK };
	uint8_t bytes[SAT_FEED_MARK_BYTES];
	int rc;

	sat_feed_mark_pack(&m, bytes);
	msg.mark.at = (struct sat_slice){ bytes, sizeof bytes };
	rc = sat_msg_encode(p->pages.zip, &msg, &p->ret->frames);
	return rc == SAT_OK ? rc
			    : sat_err_set(p->err, rc, 0, "feed",
					  "a mark cannot be written");
}

static int checkpoint(struct pull *p)
{
	struct sat_msg m = { .type = SAT_MSG_CHECKPOINT };
	const struct sat_rights *r = p->ask->rights;
	struct sat_hash one;
	uint64_t rows;
	int rc = SAT_OK;

	m.checkpoint.cursor = p->at.upto;
	m.checkpoint.server_ms = p->ask->now_ms;
	m.checkpoint.floor = p->floor;
	for (uint32_t i = 0; rc == SAT_OK && i < r->scope_count; i++) {
		rc = sat_store_digest_get(p->store, r->scopes[i], r->role, &one,
					  &rows, p->err);
		if (rc != SAT_OK)
			return rc;
		sat_hash_add(&m.checkpoint.digest, one);
		m.checkpoint.rows += rows;
	}
	rc = sat_msg_encode(p->pages.zip, &m, &p->ret->frames);
	if (rc != SAT_OK)
		return sat_err_set(p->err, rc, 0, "feed",
				   "a checkpoint cannot be written");
	p->ret->checkpoint = true;
	p->ret->cursor = p->at.upto;
	p->at = (struct sat_feed_at){ .cursor = p->at.upto };
	return SAT_OK;
}

static int run(struct pull *p)
{
	size_t start = sat_buf_peek(&p->ret->frames).len, end_at;
	uint64_t head, gone;
	bool end;
	int rc = sat_store_head(p->store, &head, p->err);

	if (rc != SAT_OK)
		return rc;
	if (p->at.cursor > head || p->at.upto > head)
		return sat_err_set(p->err, SAT_E_PROTO, 0, "feed",
				   "the cursor is above the head");
	rc = sat_store_floor(p->store, &p->floor, &gone, p->err);
	if (rc != SAT_OK)
		return rc;
	/* Only one that was silent for very long in an open connection: when
	 * it comes again it is told. */
	if ((p->at.cursor != 0 && p->at.cursor < p->floor) ||
	    (p->at.upto != 0 && p->at.upto < p->floor))
		return sat_err_set(p->err, SAT_E_BUSY, 0, "feed",
				   "what was deleted behind the cursor was "
				   "collected");
	if (p->at.upto == 0)
		start_pass(p, head);
	for (;;) {
		rc = read_pass(p, start, &end);
		end_at = sat_buf_peek(&p->ret->frames).len;
		p->ret->data_bytes = end_at - start;
		if (rc != SAT_OK)
			return rc;
		if (!end)
			return mark(p);
		if (p->at.upto == head)
			return checkpoint(p);
		/* at most twice: the head cannot move in a snapshot */
		start_pass(p, head);
		if (end_at - start >= p->ask->bytes_max)
			return mark(p);
	}
}

int sat_feed_read(struct sat_store *reader, struct sat_zip *zip,
		  const struct sat_feed_ask *ask, struct sat_feed_answer *ret,
		  struct sat_err *err)
{
	struct pull p = { .store = reader,
			  .ask = ask,
			  .ret = ret,
			  .at = ask->at,
			  .err = err };
	struct sat_arena own;
	int rc = sat_store_snapshot_begin(reader, err);

	if (rc != SAT_OK)
		return rc;
	ret->checkpoint = false;
	ret->damaged_count = 0;
	ret->data_bytes = 0;
	rc = sat_store_catalogue_refresh(reader, err);
	sat_arena_init(&own, SAT_PAGES_ENTRIES * sizeof *p.batch +
				     ask->rights->scope_count + 4096);
	sat_pages_init(&p.pages, sat_store_catalogue(reader), ask->rights, zip,
		       reader);
	p.batch = sat_arena_array(&own, SAT_PAGES_ENTRIES, sizeof *p.batch);
	p.moved = sat_arena_alloc(&own, ask->rights->scope_count / 8 + 1);
	if (rc == SAT_OK && (p.batch == NULL || p.moved == NULL))
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "feed", "out of memory");
	if (rc == SAT_OK)
		rc = run(&p);
	if (rc == SAT_OK)
		ret->at = p.at;
	sat_pages_fini(&p.pages);
	sat_arena_fini(&own);
	sat_store_snapshot_end(reader);
	return rc;
}
