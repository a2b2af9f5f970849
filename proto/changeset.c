#include "proto/changeset.h"

#include "proto/changeset_keys.h"
#include "proto/column.h"

#include <string.h>

/* Arrays of one group, as long as the group has deltas; refilled for every
 * column with what the deltas that change it hold. */
struct lanes {
	uint32_t *next; /* per delta: its first change not written yet */
	const struct sat_change **change;
	const struct sat_value **value;
	struct sat_value *number;
	int64_t *time; /* of the ids of the deltas that have it    */
	int64_t *at;   /* of the same deltas                       */
	uint64_t *rising;
	uint8_t *present; /* bitmap over the group                      */
};

struct encoder {
	struct sat_pack p;
	struct sat_column_scratch scratch;
	struct sat_buf bytes;
	struct sat_arena group, column;
	struct lanes l;
};

static void fail(struct encoder *e, int rc)
{
	if (e->p.rc == SAT_OK)
		e->p.rc = rc;
}

static bool make_lanes(struct encoder *e, uint32_t n)
{
	struct sat_arena *a = &e->group;
	struct lanes *l = &e->l;

	sat_arena_reset(a);
	l->next = sat_arena_array(a, n, sizeof *l->next);
	l->change = sat_arena_array(a, n, sizeof *l->change);
	l->value = sat_arena_array(a, n, sizeof *l->value);
	l->number = sat_arena_array(a, n, sizeof *l->number);
	l->time = sat_arena_array(a, n, sizeof *l->time);
	l->at = sat_arena_array(a, n, sizeof *l->at);
	l->rising = sat_arena_array(a, n, sizeof *l->rising);
	l->present = sat_arena_array(a, (n + 7) / 8, 1);
	if (l->next == NULL || l->change == NULL || l->value == NULL ||
	    l->number == NULL || l->time == NULL || l->at == NULL ||
	    l->rising == NULL || l->present == NULL) {
		fail(e, SAT_E_NOMEM);
		return false;
	}
	return true;
}

static void put_ids(struct encoder *e, const struct sat_delta *d, uint32_t n)
{
	const struct sat_id **ids = sat_arena_array(&e->group, n, sizeof *ids);

	if (ids == NULL) {
		fail(e, SAT_E_NOMEM);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		ids[i] = &d[i].id;
	sat_ids_put(&e->p, &e->scratch, ids, n);
}

static void put_times(struct encoder *e, const struct sat_delta *d, uint32_t n)
{
	struct lanes *l = &e->l;

	for (uint32_t i = 0; i < n; i++) {
		l->number[i] = sat_value_int(d[i].at_ms);
		l->value[i] = &l->number[i];
		l->time[i] = sat_id_time(d[i].id.b);
	}
	sat_column_put(&e->p, &e->scratch, SAT_TYPE_TIME, l->value, l->time, n);
}

static void put_contexts(struct encoder *e, const struct sat_delta *d,
			 uint32_t n)
{
	struct sat_pack one = { &e->bytes, SAT_OK };
	uint32_t last;

	sat_buf_clear(&e->bytes);
	for (uint32_t i = 0; i < n; i++) {
		sat_pack_varint(&one, d[i].context.count);
		last = 0;
		for (uint32_t k = 0; k < d[i].context.count; k++) {
			struct sat_dot dot = d[i].context.dots[k];

			sat_pack_varint(&one, dot.replica - last);
			sat_pack_varint(&one, dot.seq);
			last = dot.replica;
		}
	}
	fail(e, one.rc);
	sat_pack_bin(&e->p, sat_buf_peek(&e->bytes));
}

/* Fill the lanes with the changes of one column; returns how many. */
static uint32_t gather(struct encoder *e, const struct sat_delta *d, uint32_t n,
		       uint16_t column)
{
	struct lanes *l = &e->l;
	const struct sat_change *ch;
	uint32_t m = 0;

	memset(l->present, 0, (n + 7) / 8);
	for (uint32_t i = 0; i < n; i++) {
		if (l->next[i] >= d[i].change_count)
			continue;
		ch = &d[i].changes[l->next[i]];
		if (ch->column != column)
			continue;
		l->next[i]++;
		l->present[i / 8] |= (uint8_t)(1u << (i % 8));
		l->change[m] = ch;
		l->time[m] = sat_id_time(d[i].id.b);
		l->at[m++] = d[i].at_ms;
	}
	return m;
}

static void put_values(struct encoder *e, enum sat_type type, uint32_t m,
		       bool before)
{
	struct lanes *l = &e->l;

	for (uint32_t i = 0; i < m; i++)
		l->value[i] =
			before ? &l->change[i]->before : &l->change[i]->value;
	sat_column_put(&e->p, &e->scratch, type, l->value, l->time, m);
}

static void put_change_times(struct encoder *e, uint32_t m)
{
	struct sat_pack one = { &e->bytes, SAT_OK };
	struct lanes *l = &e->l;

	sat_buf_clear(&e->bytes);
	for (uint32_t i = 0; i < m; i++)
		sat_pack_varint(
			&one,
			sat_zigzag((int64_t)((uint64_t)l->change[i]->at_ms -
					     (uint64_t)l->at[i])));
	fail(e, one.rc);
	sat_pack_bin(&e->p, sat_buf_peek(&e->bytes));
}

static void put_resolves(struct encoder *e, uint32_t m)
{
	uint8_t *map = sat_arena_array(&e->column, (m + 7) / 8, 1);

	if (map == NULL) {
		fail(e, SAT_E_NOMEM);
		return;
	}
	for (uint32_t i = 0; i < m; i++)
		if (e->l.change[i]->resolves)
			map[i / 8] |= (uint8_t)(1u << (i % 8));
	sat_pack_bin(&e->p, (struct sat_slice){ map, (m + 7) / 8 });
}

/* Set elements: how many each delta adds or removes, then all of them. */
static void put_elements(struct encoder *e, uint32_t m, size_t total,
			 bool removes)
{
	struct sat_pack one = { &e->bytes, SAT_OK };
	struct sat_value *v;
	const struct sat_value **ptr;
	size_t at = 0;

	v = sat_arena_array(&e->column, total, sizeof *v);
	ptr = sat_arena_array(&e->column, total, sizeof *ptr);
	if (v == NULL || ptr == NULL) {
		fail(e, SAT_E_NOMEM);
		return;
	}
	sat_buf_clear(&e->bytes);
	for (uint32_t i = 0; i < m; i++) {
		const struct sat_change *ch = e->l.change[i];
		uint32_t count = removes ? ch->remove_count : ch->add_count;

		sat_pack_varint(&one, count);
		for (uint32_t k = 0; k < count; k++) {
			v[at] = sat_value_text(removes ? ch->removes[k]
						       : ch->adds[k]);
			ptr[at] = &v[at];
			at++;
		}
	}
	fail(e, one.rc);
	sat_pack_array(&e->p, 2);
	sat_pack_bin(&e->p, sat_buf_peek(&e->bytes));
	sat_column_put(&e->p, &e->scratch, SAT_TYPE_TEXT, ptr, NULL,
		       (uint32_t)total);
}

/* What a column's map must hold besides its number. */
struct needs {
	bool present, value, at, before, replaced, resolves;
	size_t adds, removes;
};

static struct needs judge(const struct encoder *e, const struct sat_column *c,
			  uint32_t n, uint32_t m)
{
	struct needs r = { .present = m < n,
			   .value = c->policy != SAT_POLICY_SET };
	const struct sat_change *ch;

	for (uint32_t i = 0; i < m; i++) {
		ch = e->l.change[i];
		r.at |= ch->at_ms != e->l.at[i];
		if (c->policy == SAT_POLICY_SET) {
			r.adds += ch->add_count;
			r.removes += ch->remove_count;
		} else if (c->policy != SAT_POLICY_COUNTER) {
			r.before |= ch->before.kind != SAT_NULL;
			r.replaced |= ch->replaced != 0;
			r.resolves |= ch->resolves;
		}
	}
	return r;
}

static void put_column(struct encoder *e, const struct sat_column *c,
		       uint32_t n, uint32_t m)
{
	struct needs r = judge(e, c, n, m);
	struct sat_pack *p = &e->p;

	sat_arena_reset(&e->column);
	sat_pack_map(p, 1u + r.present + r.value + r.at + r.before +
				r.replaced + r.resolves + (r.adds > 0) +
				(r.removes > 0));
	sat_pack_uint(p, SAT_CK_NO);
	sat_pack_uint(p, c->no);
	if (r.present) {
		sat_pack_uint(p, SAT_CK_PRESENT);
		sat_pack_bin(p,
			     (struct sat_slice){ e->l.present, (n + 7) / 8 });
	}
	if (r.value) {
		sat_pack_uint(p, SAT_CK_VALUE);
		put_values(e, c->type, m, false);
	}
	if (r.at) {
		sat_pack_uint(p, SAT_CK_AT);
		put_change_times(e, m);
	}
	if (r.before) {
		sat_pack_uint(p, SAT_CK_BEFORE);
		put_values(e, c->type, m, true);
	}
	if (r.replaced) {
		sat_pack_uint(p, SAT_CK_REPLACED);
		for (uint32_t i = 0; i < m; i++)
			e->l.rising[i] = e->l.change[i]->replaced;
		sat_rising_put(p, &e->scratch, e->l.rising, m);
	}
	if (r.resolves) {
		sat_pack_uint(p, SAT_CK_RESOLVES);
		put_resolves(e, m);
	}
	if (r.adds > 0) {
		sat_pack_uint(p, SAT_CK_ADDS);
		put_elements(e, m, r.adds, false);
	}
	if (r.removes > 0) {
		sat_pack_uint(p, SAT_CK_REMOVES);
		put_elements(e, m, r.removes, true);
	}
}

/* The union of the columns that the deltas of a group change. */
static uint32_t mark_columns(const struct sat_delta *d, uint32_t n, bool *used)
{
	uint32_t count = 0;
	uint16_t column;

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < d[i].change_count; k++) {
			column = d[i].changes[k].column;
			SAT_ASSERT(column < d[i].table->column_count);
			count += !used[column];
			used[column] = true;
		}
	}
	return count;
}

static void put_columns(struct encoder *e, const struct sat_delta *d,
			uint32_t n)
{
	const struct sat_table *t = d->table;
	bool *used = sat_arena_array(&e->group, t->column_count, 1);

	if (used == NULL) {
		fail(e, SAT_E_NOMEM);
		return;
	}
	sat_pack_array(&e->p, mark_columns(d, n, used));
	for (uint16_t c = 0; c < t->column_count; c++)
		if (used[c])
			put_column(e, &t->columns[c], n, gather(e, d, n, c));
}

static void put_group(struct encoder *e, const struct sat_delta *d, uint32_t n)
{
	struct sat_pack *p = &e->p;
	bool base = false;
	bool context = false;

	for (uint32_t i = 0; i < n; i++) {
		base |= d[i].base_seq != 0;
		context |= d[i].context.count > 0;
	}
	if (!make_lanes(e, n))
		return;
	sat_pack_map(p, 6u + base + context);
	sat_pack_uint(p, SAT_GK_TABLE);
	sat_pack_uint(p, d->table->no);
	sat_pack_uint(p, SAT_GK_OP);
	sat_pack_uint(p, d->op);
	sat_pack_uint(p, SAT_GK_COUNT);
	sat_pack_uint(p, n);
	sat_pack_uint(p, SAT_GK_IDS);
	put_ids(e, d, n);
	sat_pack_uint(p, SAT_GK_AT);
	put_times(e, d, n);
	if (base) {
		sat_pack_uint(p, SAT_GK_BASE);
		for (uint32_t i = 0; i < n; i++)
			e->l.rising[i] = d[i].base_seq;
		sat_rising_put(p, &e->scratch, e->l.rising, n);
	}
	if (context) {
		sat_pack_uint(p, SAT_GK_CONTEXTS);
		put_contexts(e, d, n);
	}
	sat_pack_uint(p, SAT_GK_COLUMNS);
	put_columns(e, d, n);
}

static uint32_t group_end(const struct sat_changeset *cs, uint32_t from)
{
	const struct sat_delta *d = cs->deltas;
	uint32_t to = from + 1;

	while (to < cs->delta_count && d[to].table == d[from].table &&
	       d[to].op == d[from].op)
		to++;
	return to;
}

static void put_head(struct sat_pack *p, const struct sat_changeset *cs)
{
	sat_pack_map(p, 8);
	sat_pack_uint(p, SAT_HK_REPLICA);
	sat_pack_uint(p, cs->dot.replica);
	sat_pack_uint(p, SAT_HK_SEQ);
	sat_pack_uint(p, cs->dot.seq);
	sat_pack_uint(p, SAT_HK_PREV_HASH);
	sat_pack_bin(p,
		     (struct sat_slice){ cs->prev_hash, sizeof cs->prev_hash });
	sat_pack_uint(p, SAT_HK_CATALOGUE);
	sat_pack_uint(p, cs->catalogue);
	sat_pack_uint(p, SAT_HK_MARKER);
	sat_pack_array(p, 3);
	sat_pack_uint(p, cs->marker.epoch);
	sat_pack_uint(p, cs->marker.commit_seq);
	sat_pack_uint(p, cs->marker.grants);
	sat_pack_uint(p, SAT_HK_FLAGS);
	sat_pack_uint(p, cs->flags);
	sat_pack_uint(p, SAT_HK_COUNT);
	sat_pack_uint(p, cs->delta_count);
	sat_pack_uint(p, SAT_HK_GROUPS);
}

int sat_changeset_encode(const struct sat_changeset *cs, struct sat_buf *out)
{
	struct encoder e = { .p = { out, SAT_OK } };
	uint32_t groups = 0;
	uint32_t to;

	if (cs->delta_count > SAT_CHANGESET_DELTAS_MAX)
		return SAT_E_LIMIT;
	sat_column_scratch_init(&e.scratch);
	sat_buf_init(&e.bytes, SAT_CHANGESET_BYTES_MAX);
	sat_arena_init(&e.group, (size_t)256 * 1024 * 1024);
	sat_arena_init(&e.column, (size_t)256 * 1024 * 1024);
	for (uint32_t from = 0; from < cs->delta_count; groups++)
		from = group_end(cs, from);
	put_head(&e.p, cs);
	sat_pack_array(&e.p, groups);
	for (uint32_t from = 0; from < cs->delta_count && e.p.rc == SAT_OK;
	     from = to) {
		to = group_end(cs, from);
		put_group(&e, &cs->deltas[from], to - from);
	}
	sat_arena_fini(&e.column);
	sat_arena_fini(&e.group);
	sat_buf_fini(&e.bytes);
	sat_column_scratch_fini(&e.scratch);
	return e.p.rc;
}
