#include "tests/merge/history.h"

static const enum oracle_kind kinds[ORACLE_COLUMNS] = {
	[COL_LWW] = ORACLE_LATEST,     [COL_LWW2] = ORACLE_LATEST,
	[COL_KEEP] = ORACLE_KEEP,      [COL_ORDERED] = ORACLE_STAGE,
	[COL_COUNTER] = ORACLE_COUNT,  [COL_SET] = ORACLE_SET,
	[COL_MAX] = ORACLE_LARGEST,    [COL_MIN] = ORACLE_SMALLEST,
	[COL_FIRST] = ORACLE_EARLIEST,
};

static const char *const elements[ORACLE_ELEMENTS] = { "a", "b", "c",
						       "d", "e", "f" };

int history_add(struct history *h, unsigned replica, uint64_t seq)
{
	assert_true(h->count < ORACLE_EVENTS);
	h->events[h->count] =
		(struct oracle_event){ .replica = replica, .seq = seq };
	return (int)h->count++;
}

static struct sat_vv context_of(const struct history *h, struct sat_arena *a,
				uint32_t seen)
{
	uint64_t top[ORACLE_REPLICAS] = { 0 };
	struct sat_dot *dots =
		sat_arena_array(a, ORACLE_REPLICAS, sizeof *dots);
	uint32_t n = 0;

	assert_non_null(dots);
	for (unsigned e = 0; e < h->count; e++) {
		const struct oracle_event *ev = &h->events[e];

		if ((seen >> e & 1u) != 0 && ev->seq > top[ev->replica])
			top[ev->replica] = ev->seq;
	}
	for (uint32_t r = 1; r < ORACLE_REPLICAS; r++) {
		if (top[r] > 0)
			dots[n++] = (struct sat_dot){ r, top[r] };
	}
	return (struct sat_vv){ dots, n };
}

static const struct sat_slice *texts(struct sat_arena *a, unsigned bits,
				     uint32_t *ret_count)
{
	struct sat_slice *out =
		sat_arena_array(a, ORACLE_ELEMENTS, sizeof *out);
	uint32_t n = 0;

	assert_non_null(out);
	/* falling order: the engine sorts by itself */
	for (int x = ORACLE_ELEMENTS - 1; x >= 0; x--) {
		if ((bits >> x & 1u) != 0)
			out[n++] = sat_slice_str(elements[x]);
	}
	*ret_count = n;
	return out;
}

static void build_one(const struct history *h, struct sat_arena *a,
		      const struct oracle_event *e, struct sat_delta *d)
{
	*d = world_delta(a, e->removes ? SAT_OP_DELETE : SAT_OP_UPDATE, "");
	d->context = context_of(h, a, e->seen);
	if (e->seen == 0 && !e->removes)
		d->op = SAT_OP_INSERT;
	for (int c = 0; c < ORACLE_COLUMNS; c++) {
		const struct oracle_write *w = &e->writes[c];
		struct sat_change *change;

		if (!w->there)
			continue;
		change = world_write(a, d, c, c == COL_SET ? 0 : w->value,
				     w->stamp);
		change->resolves = w->answer;
		change->adds = texts(a, w->added, &change->add_count);
		change->removes = texts(a, w->removed, &change->remove_count);
	}
}

void history_build(struct history *h, struct sat_arena *a)
{
	for (unsigned i = 0; i < h->count; i++)
		build_one(h, a, &h->events[i], &h->deltas[i]);
}

void history_deliver(const struct history *h, struct sat_arena *a,
		     struct sat_row *row, int event)
{
	world_apply(a, row, &h->deltas[event], h->events[event].replica,
		    h->events[event].seq);
}

void history_repeat(const struct history *h, struct sat_arena *a,
		    struct sat_row *row, int event)
{
	struct sat_dot dot = { h->events[event].replica, h->events[event].seq };
	struct sat_row before = *row;
	enum sat_merge_outcome outcome;

	assert_int_equal(
		sat_merge_apply(a, row, &h->deltas[event], dot, &outcome),
		SAT_OK);
	assert_int_equal(outcome, SAT_MERGE_CONTAINED);
	assert_memory_equal(&before, row, sizeof before);
}

static int event_of(const struct history *h, struct sat_dot dot)
{
	for (unsigned e = 0; e < h->count; e++) {
		if (h->events[e].replica == dot.replica &&
		    h->events[e].seq == dot.seq)
			return (int)e;
	}
	fail_msg("dot (%u, %llu) belongs to nobody", dot.replica,
		 (unsigned long long)dot.seq);
	return -1;
}

static void check_register(const struct history *h, const struct sat_row *row,
			   int c, const struct oracle_answer *want)
{
	const struct sat_field *f = &row->fields[c];
	const struct sat_column *column = &world_table.columns[c];
	uint32_t standing = 0;
	uint32_t shown;

	for (uint32_t i = 0; i < f->count; i++) {
		const struct sat_write *w = &f->writes[i];
		int e = event_of(h, w->dot);

		assert_int_equal(world_number(c, &w->value),
				 h->events[e].writes[c].value);
		assert_int_equal(w->stamp, h->events[e].writes[c].stamp);
		if (!w->covered)
			standing |= 1u << e;
		else
			assert_int_equal(e, want->shown[c]);
	}
	assert_int_equal(standing, want->standing[c]);
	if (want->shown[c] < 0) {
		assert_int_equal(f->count, 0);
		return;
	}
	shown = sat_field_shown(column, f);
	assert_int_equal(event_of(h, f->writes[shown].dot), want->shown[c]);
}

static void check_set(const struct history *h, const struct sat_row *row,
		      const struct oracle_answer *want)
{
	const struct sat_field *f = &row->fields[COL_SET];
	uint32_t have[ORACLE_ELEMENTS] = { 0 };

	for (uint32_t i = 0; i < f->count; i++) {
		assert_int_equal(f->elements[i].text.len, 1);
		have[f->elements[i].text.ptr[0] - 'a'] |=
			1u << event_of(h, f->elements[i].dot);
	}
	assert_memory_equal(have, want->elements, sizeof have);
}

static void check_sums(const struct sat_row *row,
		       const struct oracle_answer *want)
{
	const struct sat_field *f = &row->fields[COL_COUNTER];
	long have[ORACLE_REPLICAS] = { 0 };

	for (uint32_t i = 0; i < f->count; i++) {
		assert_true(f->sums[i].sum != 0);
		have[f->sums[i].replica] = f->sums[i].sum;
	}
	assert_memory_equal(have, want->sums, sizeof have);
}

static void check_ledger(const struct history *h, struct sat_arena *a,
			 const struct sat_row *row,
			 const struct oracle_answer *want)
{
	struct sat_conflict *have;
	uint32_t n = world_conflicts(a, row, &have);

	assert_int_equal(n, want->entry_count);
	for (uint32_t i = 0; i < n; i++) {
		const struct oracle_entry *w = &want->entries[i];

		assert_int_equal(have[i].column, w->column);
		assert_int_equal(event_of(h, have[i].dot), w->named);
		assert_int_equal(have[i].sibling_count, w->values);
		assert_int_equal(have[i].state, w->open ? SAT_CONFLICT_OPEN
							: SAT_CONFLICT_AUTO);
		if (w->column < 0)
			continue;
		assert_int_equal(world_number(w->column, &have[i].shown.value),
				 w->shown);
		assert_int_equal(world_number(w->column, &have[i].losing.value),
				 w->losing);
	}
}

/* Nothing is lost: whatever stands is shown or in an entry. Said once more
 * without the oracle's ledger, since this is the promise. */
static void check_promise(const struct history *h, struct sat_arena *a,
			  const struct sat_row *row,
			  const struct oracle_answer *want)
{
	struct sat_conflict *entries;
	uint32_t n = world_conflicts(a, row, &entries);

	for (unsigned e = 0; e < h->count; e++) {
		for (int c = 0; c < ORACLE_COLUMNS; c++) {
			int value = h->events[e].writes[c].value;
			bool found = false;

			if ((want->standing[c] >> e & 1u) == 0 ||
			    value == world_shown(a, row, c))
				continue;
			for (uint32_t i = 0; i < n; i++) {
				bool whole_set = entries[i].sibling_count > 0;

				found = found ||
					(entries[i].column == c &&
					 (whole_set ||
					  event_of(h, entries[i].dot) ==
						  (int)e));
			}
			assert_true(found);
		}
	}
}

void history_check(const struct history *h, struct sat_arena *a,
		   const struct sat_row *row, uint32_t delivered)
{
	struct oracle_answer want;
	uint32_t removals = 0;

	oracle_answer(h->events, delivered, kinds, &want);
	assert_int_equal(sat_row_alive(row), want.alive);
	assert_true(sat_vv_leq(row->dv, row->vv));
	for (uint32_t i = 0; i < row->delete_count; i++)
		removals |= 1u << event_of(h, row->deletes[i].dot);
	assert_int_equal(removals, want.removals);
	for (int c = 0; c < ORACLE_COLUMNS; c++) {
		if (c != COL_SET && c != COL_COUNTER)
			check_register(h, row, c, &want);
	}
	check_set(h, row, &want);
	check_sums(row, &want);
	check_ledger(h, a, row, &want);
	check_promise(h, a, row, &want);
}

void history_same_ledger(struct sat_arena *a, const struct sat_row *x,
			 const struct sat_row *y)
{
	struct sat_conflict *p, *q;
	uint32_t n = world_conflicts(a, x, &p);

	assert_int_equal(n, world_conflicts(a, y, &q));
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(p[i].column, q[i].column);
		assert_int_equal(p[i].state, q[i].state);
		assert_int_equal(p[i].sibling_count, q[i].sibling_count);
		assert_int_equal(sat_dot_compare(p[i].dot, q[i].dot), 0);
		assert_int_equal(
			sat_dot_compare(p[i].shown.dot, q[i].shown.dot), 0);
		assert_int_equal(
			sat_dot_compare(p[i].losing.dot, q[i].losing.dot), 0);
	}
}
