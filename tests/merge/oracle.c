#include "tests/merge/oracle.h"

#include <string.h>

struct view {
	const struct oracle_event *events;
	uint32_t delivered;
	int count; /* of events: none beyond is delivered */
};

static bool in(uint32_t set, int event)
{
	return (set >> event & 1u) != 0;
}

/* Is x an event of a later rank than y by (stamp, replica, seq)? */
static bool is_later(const struct view *v, int column, int x, int y)
{
	const struct oracle_event *p = &v->events[x], *q = &v->events[y];
	uint64_t s = p->writes[column].stamp, t = q->writes[column].stamp;

	if (s != t)
		return s > t;
	if (p->replica != q->replica)
		return p->replica > q->replica;
	return p->seq > q->seq;
}

static bool is_end(int stage)
{
	return stage == 5 || stage == 6;
}

static bool is_better(const struct view *v, enum oracle_kind kind, int column,
		      int x, int y)
{
	int p = v->events[x].writes[column].value;
	int q = v->events[y].writes[column].value;

	if (kind == ORACLE_STAGE) {
		if (is_end(p) && !is_end(q))
			return true;
		if (is_end(q) && !is_end(p))
			return false;
		if (!is_end(p) && p != q)
			return p > q;
	}
	if (kind == ORACLE_LARGEST || kind == ORACLE_SMALLEST ||
	    kind == ORACLE_EARLIEST) {
		if (p == 0 && q != 0)
			return false;
		if (q == 0 && p != 0)
			return true;
	}
	if (kind == ORACLE_LARGEST && p != q)
		return p > q;
	if (kind == ORACLE_SMALLEST && p != q)
		return p < q;
	if (kind == ORACLE_EARLIEST)
		return is_later(v, column, y, x);
	return is_later(v, column, x, y);
}

static bool is_covered(const struct view *v, int column, int event)
{
	for (int f = 0; f < v->count; f++) {
		if (in(v->delivered, f) && v->events[f].writes[column].there &&
		    in(v->events[f].seen, event))
			return true;
	}
	return false;
}

static void judge_register(const struct view *v, enum oracle_kind kind,
			   int column, struct oracle_answer *a)
{
	bool ever = kind == ORACLE_LARGEST || kind == ORACLE_SMALLEST ||
		    kind == ORACLE_EARLIEST;
	int best = -1;

	for (int e = 0; e < v->count; e++) {
		bool covered;

		if (!in(v->delivered, e) || !v->events[e].writes[column].there)
			continue;
		covered = is_covered(v, column, e);
		if (!covered)
			a->standing[column] |= 1u << e;
		if (covered && !ever)
			continue;
		if (best < 0 || is_better(v, kind, column, e, best))
			best = e;
	}
	a->shown[column] = best;
}

static bool is_disputed_end(const struct view *v, int column, uint32_t standing)
{
	bool won = false, lost = false;

	for (int e = 0; e < v->count; e++) {
		if (!in(standing, e))
			continue;
		won = won || v->events[e].writes[column].value == 5;
		lost = lost || v->events[e].writes[column].value == 6;
	}
	return won && lost;
}

static bool dot_before(const struct view *v, int x, int y)
{
	if (v->events[x].replica != v->events[y].replica)
		return v->events[x].replica < v->events[y].replica;
	return v->events[x].seq < v->events[y].seq;
}

static void enter_set(const struct view *v, enum oracle_kind kind, int column,
		      struct oracle_answer *a)
{
	struct oracle_entry entry = { .column = column, .named = -1 };
	uint32_t different = 0;
	int losing = -1;
	bool all_answers = true;

	entry.shown = v->events[a->shown[column]].writes[column].value;
	for (int e = 0; e < v->count; e++) {
		const struct oracle_write *w = &v->events[e].writes[column];

		if (!in(a->standing[column], e))
			continue;
		different |= 1u << w->value;
		all_answers = all_answers && w->answer;
		if (entry.named < 0 || dot_before(v, e, entry.named))
			entry.named = e;
		if (w->value != entry.shown &&
		    (losing < 0 || is_better(v, kind, column, e, losing)))
			losing = e;
	}
	if (losing < 0)
		return;
	entry.losing = v->events[losing].writes[column].value;
	for (int value = 0; value < 32; value++)
		entry.values += in(different, value);
	entry.open = !all_answers;
	a->entries[a->entry_count++] = entry;
}

/* In rising order of dots, as the engine promises. */
static void enter_losers(const struct view *v, int column,
			 struct oracle_answer *a)
{
	int shown = v->events[a->shown[column]].writes[column].value;
	uint32_t todo = a->standing[column];

	while (todo != 0) {
		int first = -1;

		for (int e = 0; e < v->count; e++) {
			if (in(todo, e) &&
			    (first < 0 || dot_before(v, e, first)))
				first = e;
		}
		todo &= ~(1u << first);
		if (v->events[first].writes[column].value == shown)
			continue;
		a->entries[a->entry_count++] = (struct oracle_entry){
			.column = column,
			.named = first,
			.shown = shown,
			.losing = v->events[first].writes[column].value,
		};
	}
}

/* A removal reaches what its author had seen and whatever he wrote before. */
static bool is_removed(const struct view *v, int event)
{
	const struct oracle_event *e = &v->events[event];

	for (int f = 0; f < v->count; f++) {
		const struct oracle_event *d = &v->events[f];

		if (!in(v->delivered, f) || !d->removes)
			continue;
		if (in(d->seen, event) ||
		    (d->replica == e->replica && d->seq >= e->seq))
			return true;
	}
	return false;
}

static bool is_answered(const struct view *v, int removal)
{
	for (int f = 0; f < v->count; f++) {
		if (in(v->delivered, f) && in(v->events[f].seen, removal))
			return true;
	}
	return false;
}

static void judge_row(const struct view *v, struct oracle_answer *a)
{
	struct oracle_entry entry = { .column = -1, .named = -1, .open = true };

	for (int e = 0; e < v->count; e++) {
		if (!in(v->delivered, e))
			continue;
		a->alive = a->alive || !is_removed(v, e);
		if (!v->events[e].removes || is_answered(v, e))
			continue;
		a->removals |= 1u << e;
		entry.values++;
		if (entry.named < 0 || dot_before(v, e, entry.named))
			entry.named = e;
	}
	if (a->alive && entry.named >= 0)
		a->entries[a->entry_count++] = entry;
}

static void judge_set(const struct view *v, int column, struct oracle_answer *a)
{
	for (int x = 0; x < ORACLE_ELEMENTS; x++) {
		for (int e = 0; e < v->count; e++) {
			bool there = in(v->delivered, e) &&
				     in(v->events[e].writes[column].added, x);

			for (int f = 0; there && f < v->count; f++)
				there = !(
					in(v->delivered, f) &&
					in(v->events[f].writes[column].removed,
					   x) &&
					in(v->events[f].seen, e));
			if (there)
				a->elements[x] |= 1u << e;
		}
	}
}

void oracle_answer(const struct oracle_event *events, uint32_t delivered,
		   const enum oracle_kind *kinds, struct oracle_answer *ret)
{
	struct view v = { events, delivered, 0 };

	while (v.count < ORACLE_EVENTS && delivered >> v.count != 0)
		v.count++;
	memset(ret, 0, sizeof *ret);
	judge_row(&v, ret);
	for (int c = 0; c < ORACLE_COLUMNS; c++) {
		ret->shown[c] = -1;
		if (kinds[c] == ORACLE_SET) {
			judge_set(&v, c, ret);
			continue;
		}
		if (kinds[c] == ORACLE_COUNT) {
			for (int e = 0; e < v.count; e++) {
				if (in(delivered, e))
					ret->sums[events[e].replica] +=
						events[e].writes[c].value;
			}
			continue;
		}
		judge_register(&v, kinds[c], c, ret);
		if (ret->shown[c] < 0)
			continue;
		if (kinds[c] == ORACLE_KEEP ||
		    (kinds[c] == ORACLE_STAGE &&
		     is_disputed_end(&v, c, ret->standing[c])))
			enter_set(&v, kinds[c], c, ret);
		else
			enter_losers(&v, c, ret);
	}
}
