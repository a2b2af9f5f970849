#include "tests/engine/engine_model.h"

#include <stdlib.h>
#include <string.h>

void model_init(struct model *m, struct world *w, uint32_t replica,
		const struct sat_id *user)
{
	struct sat_err err;

	memset(m, 0, sizeof *m);
	m->w = w;
	m->replica = replica;
	sat_arena_init(&m->memory, (size_t)1 << 30);
	sat_buf_init(&m->staged, (size_t)1 << 28);
	group_begin(w);
	assert_int_equal(sat_engine_rights(w->engine, user, &m->memory,
					   &m->rights, &err),
			 SAT_OK);
	(void)group_commit(w);
}

void model_fini(struct model *m)
{
	sat_arena_fini(&m->memory);
	sat_buf_fini(&m->staged);
}

void model_reset(struct model *m)
{
	m->count = 0;
	m->live = false;
	m->at = (struct sat_feed_at){ 0 };
	sat_buf_clear(&m->staged);
}

struct model_row *model_find(struct model *m, const struct sat_table *t,
			     const struct sat_id *id)
{
	for (uint32_t i = 0; i < m->count; i++) {
		if (m->rows[i].table == t &&
		    memcmp(m->rows[i].id.b, id->b, 16) == 0)
			return &m->rows[i];
	}
	return NULL;
}

static struct model_row *make(struct model *m, const struct sat_table *t,
			      const struct sat_id *id)
{
	struct model_row *r = model_find(m, t, id);

	if (r != NULL)
		return r;
	assert_true(m->count < MODEL_ROWS);
	r = &m->rows[m->count++];
	*r = (struct model_row){ .table = t, .id = *id };
	return r;
}

static void join(struct model_row *r, uint32_t scope)
{
	for (uint32_t i = 0; i < r->scope_count; i++) {
		if (r->scopes[i] == scope)
			return;
	}
	assert_true(r->scope_count < MODEL_SCOPES);
	r->scopes[r->scope_count++] = scope;
}

static void leave(struct model *m, struct model_row *r, uint32_t scope)
{
	for (uint32_t i = 0; i < r->scope_count; i++) {
		if (r->scopes[i] == scope)
			r->scopes[i--] = r->scopes[--r->scope_count];
	}
	if (r->scope_count == 0)
		*r = m->rows[--m->count];
}

/* ---- applying ----------------------------------------------------------- */

static void keep_row(struct model *m, const struct sat_page *page, uint32_t i,
		     uint32_t scope)
{
	struct model_row *r = make(m, page->table, &page->ids[i]);
	struct sat_value *values;

	join(r, scope);
	if (page->seqs[i] <= r->seq)
		return;
	values = sat_arena_array(&m->memory, page->table->column_count,
				 sizeof *values);
	assert_non_null(values);
	for (uint16_t k = 0; k < page->column_count; k++)
		assert_int_equal(
			sat_value_copy(
				&m->memory,
				&page->values[(size_t)i * page->column_count +
					      k],
				&values[page->columns[k]]),
			SAT_OK);
	assert_int_equal(sat_arena_copy(&m->memory, page->metas[i], &r->meta),
			 SAT_OK);
	r->values = values;
	r->seq = page->seqs[i];
}

static void apply_page(struct model *m, const struct sat_msg_rows *rows,
		       struct sat_slice bytes, struct sat_arena *a)
{
	const struct sat_table *t = sat_catalogue_table_no(
		sat_store_catalogue(m->w->store), rows->table_no);
	struct sat_page page;
	struct sat_err err;

	assert_non_null(t);
	assert_true(sat_rights_hold(&m->rights, rows->scope));
	if (sat_page_decode(t, bytes, rows->refs, a, &page, &err) != SAT_OK)
		fail_msg("page of %s: %s", t->name, err.msg);
	for (uint32_t i = 0; i < page.row_count; i++) {
		if (!rows->refs) {
			m->row_count++;
			keep_row(m, &page, i, rows->scope);
			continue;
		}
		m->ref_count++;
		/* what a reference names must be here, at that position or,
		 * after a later pass of the same pull, past it */
		assert_non_null(model_find(m, t, &page.ids[i]));
		assert_true(model_find(m, t, &page.ids[i])->seq >=
			    page.seqs[i]);
		join(model_find(m, t, &page.ids[i]), rows->scope);
	}
}

static void apply_evict(struct model *m, const struct sat_msg_evict *e)
{
	const struct sat_table *t = sat_catalogue_table_no(
		sat_store_catalogue(m->w->store), e->table_no);
	struct model_row *r;

	assert_non_null(t);
	for (uint32_t i = 0; i < e->id_count; i++) {
		m->evict_count++;
		r = model_find(m, t, &e->ids[i]);
		if (r != NULL)
			leave(m, r, e->scope);
	}
}

static void compare(struct model *m, const struct sat_msg_checkpoint *c)
{
	struct sat_hash sum = { 0 };
	uint64_t rows = 0;
	bool readable[64];
	struct sat_vv vv, dv;
	struct sat_arena a;

	sat_arena_init(&a, 1 << 20);
	for (uint32_t i = 0; i < m->count; i++) {
		const struct model_row *r = &m->rows[i];

		assert_non_null(r->values);
		sat_arena_reset(&a);
		assert_int_equal(sat_meta_vectors(&a, r->meta, &vv, &dv),
				 SAT_OK);
		if (sat_vv_leq(vv, dv))
			continue;
		for (uint16_t k = 0; k < r->table->column_count; k++)
			readable[k] = (r->table->columns[k].read &
				       SAT_ROLE_BIT(m->rights.role)) != 0;
		for (uint32_t s = 0; s < r->scope_count; s++) {
			sat_hash_add(&sum,
				     sat_row_hash(r->table, &r->id, r->meta,
						  r->values, readable));
			rows++;
		}
	}
	sat_arena_fini(&a);
	assert_int_equal(rows, c->rows);
	assert_true(sat_hash_equal(sum, c->digest));
}

/* Rows first by pass, as staged: an eviction and the row's return may come in
 * any order of scopes, so memberships are kept per scope. */
static void apply_staged(struct model *m)
{
	struct sat_slice in = sat_buf_peek(&m->staged), plain;
	struct sat_buf scratch, page;
	struct sat_frame f;
	struct sat_arena a;
	struct sat_msg msg;
	struct sat_err err;
	size_t used;

	sat_buf_init(&scratch, SAT_UNZIP_BYTES_MAX);
	sat_buf_init(&page, SAT_PAGE_BYTES_MAX);
	sat_arena_init(&a, (size_t)1 << 28);
	while (in.len > 0) {
		assert_int_equal(
			sat_frame_take(in, SAT_FRAME_BYTES_MAX, &f, &used),
			SAT_OK);
		in.ptr += used;
		in.len -= used;
		sat_arena_reset(&a);
		assert_int_equal(
			sat_frame_open(m->w->zip, &f, &scratch, &plain),
			SAT_OK);
		assert_int_equal(sat_msg_decode(f.type, plain, &a, &msg, &err),
				 SAT_OK);
		m->frames++;
		if (msg.type == SAT_MSG_ROWS) {
			assert_int_equal(sat_buf_append(&page,
							msg.rows.page.ptr,
							msg.rows.page.len),
					 SAT_OK);
			if (msg.rows.more)
				continue;
			apply_page(m, &msg.rows, sat_buf_peek(&page), &a);
			sat_buf_clear(&page);
		} else if (msg.type == SAT_MSG_EVICT) {
			apply_evict(m, &msg.evict);
		} else if (msg.type != SAT_MSG_MARK) {
			assert_int_equal(msg.type, SAT_MSG_CHECKPOINT);
			assert_int_equal(in.len, 0);
			compare(m, &msg.checkpoint);
		}
	}
	sat_buf_clear(&m->staged);
	sat_buf_fini(&scratch);
	sat_buf_fini(&page);
	sat_arena_fini(&a);
}

static void drop_lost(struct model *m)
{
	for (uint32_t i = 0; i < m->count; i++) {
		struct model_row *r = &m->rows[i];
		uint32_t n = r->scope_count, before = m->count;
		uint32_t scopes[MODEL_SCOPES];

		memcpy(scopes, r->scopes, sizeof scopes);
		for (uint32_t k = 0; k < n && m->count == before; k++) {
			if (!sat_rights_hold(&m->rights, scopes[k]))
				leave(m, r, scopes[k]);
		}
		i -= m->count < before;
	}
}

bool model_connect(struct model *m)
{
	struct sat_msg_welcome welcome = { 0 };
	struct sat_msg_hello hello = { .cursor = m->live ? m->at_checkpoint : 0,
				       .grants = m->pulled,
				       .mark = { m->mark, m->mark_len } };
	enum sat_role role = m->rights.role;
	struct sat_err err;

	hello.epoch = sat_engine_epoch(m->w->engine);
	group_begin(m->w);
	assert_int_equal(sat_engine_rights(m->w->engine, &m->rights.user,
					   &m->memory, &m->rights, &err),
			 SAT_OK);
	welcome.rights = m->rights;
	if (role != m->rights.role) {
		hello.cursor = 0;
		for (uint32_t i = 0; i < m->count; i++)
			m->rows[i].seq = 0;
	}
	assert_int_equal(sat_engine_pull_start(m->w->engine, &hello, &welcome,
					       &m->memory, &m->start, &err),
			 SAT_OK);
	(void)group_commit(m->w);
	drop_lost(m);
	if (!welcome.resumed) {
		sat_buf_clear(&m->staged);
		m->mark_len = 0;
	}
	m->at = m->start.at;
	m->live = m->start.live;
	return welcome.resumed;
}

/* The MARK at the end of what was read, if there is one. */
static void take_mark(struct model *m, struct sat_slice in)
{
	struct sat_slice plain;
	struct sat_buf scratch;
	struct sat_frame f;
	struct sat_arena a;
	struct sat_msg msg;
	struct sat_err err;
	size_t used;

	m->mark_len = 0;
	sat_buf_init(&scratch, SAT_UNZIP_BYTES_MAX);
	sat_arena_init(&a, 1 << 20);
	for (; in.len > 0; in.ptr += used, in.len -= used) {
		assert_int_equal(
			sat_frame_take(in, SAT_FRAME_BYTES_MAX, &f, &used),
			SAT_OK);
		if (f.type != SAT_MSG_MARK)
			continue;
		assert_int_equal(in.len, used);
		assert_int_equal(
			sat_frame_open(m->w->zip, &f, &scratch, &plain),
			SAT_OK);
		assert_int_equal(sat_msg_decode(f.type, plain, &a, &msg, &err),
				 SAT_OK);
		m->mark_len = msg.mark.at.len;
		memcpy(m->mark, msg.mark.at.ptr, m->mark_len);
	}
	sat_arena_fini(&a);
	sat_buf_fini(&scratch);
}

bool model_read(struct model *m, size_t bytes_max)
{
	struct sat_feed_ask ask = { .replica = m->replica,
				    .rights = &m->rights,
				    .at = m->at,
				    .fresh = m->start.fresh,
				    .fresh_count = m->start.fresh_count,
				    .epoch = sat_engine_epoch(m->w->engine),
				    .base = m->start.base,
				    .live = m->live,
				    .told = UINT64_MAX,
				    .bytes_max = bytes_max,
				    .now_ms = m->w->now_ms,
				    .cache = m->w->pages };
	struct sat_feed_answer answer = { 0 };
	struct sat_slice got;
	struct sat_err err;
	int rc;

	sat_buf_init(&answer.frames, (size_t)1 << 26);
	rc = sat_feed_read(m->w->reader, m->w->zip, &ask, &answer, &err);
	if (rc != SAT_OK)
		print_error("%s: %s\n", sat_rc_name(rc), err.msg);
	assert_int_equal(rc, SAT_OK);
	got = sat_buf_peek(&answer.frames);
	assert_true(answer.data_bytes <= got.len);
	assert_true(answer.at.cursor >= m->at.cursor);
	assert_int_equal(sat_buf_append(&m->staged, got.ptr, got.len), SAT_OK);
	m->at = answer.at;
	take_mark(m, got);
	assert_int_equal(answer.checkpoint, m->mark_len == 0);
	if (answer.checkpoint) {
		m->at_checkpoint = answer.cursor;
		m->pulled = m->rights.version;
		assert_int_equal(answer.cursor, answer.at.cursor);
		apply_staged(m);
		m->live = true;
		m->checkpoints++;
	}
	sat_buf_fini(&answer.frames);
	return answer.checkpoint;
}

void model_pull(struct model *m)
{
	for (int i = 0; i < 10000; i++) {
		if (model_read(m, 64 * 1024))
			return;
	}
	fail_msg("a pull without a writer must end");
}

void model_fold(struct model *m, const struct sat_table *t,
		const struct sat_id *id)
{
	struct sat_stored_row row = stored(m->w, t->name, id);
	struct model_row *r = make(m, t, id);
	struct sat_value *values;

	values = sat_arena_array(&m->memory, t->column_count, sizeof *values);
	assert_non_null(values);
	for (uint16_t i = 0; i < t->column_count; i++)
		assert_int_equal(
			sat_value_copy(&m->memory, &row.values[i], &values[i]),
			SAT_OK);
	assert_int_equal(sat_arena_copy(&m->memory, row.meta, &r->meta),
			 SAT_OK);
	r->values = values;
	r->seq = row.seq;
}

struct held model_hold(struct model *m, const char *t, const struct sat_id *id)
{
	struct held h = { .table = table(m->w, t), .id = *id };
	struct model_row *r = model_find(m, h.table, id);
	struct sat_vv dv;

	if (r == NULL)
		return h;
	h.seq = r->seq;
	assert_int_equal(sat_meta_vectors(&m->memory, r->meta, &h.vv, &dv),
			 SAT_OK);
	return h;
}

uint32_t model_live(const struct model *m, const struct sat_table *t)
{
	struct sat_vv vv, dv;
	struct sat_arena a;
	uint32_t n = 0;

	sat_arena_init(&a, 1 << 20);
	for (uint32_t i = 0; i < m->count; i++) {
		sat_arena_reset(&a);
		assert_int_equal(
			sat_meta_vectors(&a, m->rows[i].meta, &vv, &dv),
			SAT_OK);
		n += m->rows[i].table == t && !sat_vv_leq(vv, dv);
	}
	sat_arena_fini(&a);
	return n;
}
