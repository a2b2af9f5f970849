/* The ledger holds exactly the losses: not one more, not one less, whatever
 * the order of arrival. */
#include "tests/engine/engine_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct world *world;
static struct device ann, bob, max;
static struct sat_id x;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	device_add(world, &bob, &world->bob);
	device_add(world, &max, &world->max);
	x = account_x(world);
	return 0;
}

static int teardown(void **state)
{
	check_digests(world);
	check_feed(world);
	device_fini(&ann);
	device_fini(&bob);
	device_fini(&max);
	return world_teardown(state);
}

static void edit(struct device *d, const struct held *h, const char *column,
		 const char *value)
{
	(void)add_update(d, h);
	set_value(d, column, text(value))->before = text("old");
	(void)push(d);
}

/* an ordinary write that covers closes an open entry as covered by edit */
static void open_entries_close_by_edits(void **state)
{
	struct held h = hold(world, "account", &x);
	struct ledger l;

	(void)state;
	edit(&ann, &h, "name", "A");
	edit(&bob, &h, "name", "B");
	l = ledger_of(world, &x, "name");
	assert_string_equal(l.state, "open");
	h = hold(world, "account", &x);
	edit(&max, &h, "name", "C");
	l = ledger_of(world, &x, "name");
	assert_int_equal(l.count, 1);
	assert_string_equal(l.state, "resolved");
	assert_string_equal(l.outcome, "covered_by_edit");
	/* the losing value is still there to read */
	assert_string_equal(l.losing, "A");
}

static void auto_entries_are_superseded(void **state)
{
	struct held h = hold(world, "account", &x);
	struct ledger l;

	(void)state;
	edit(&ann, &h, "phone", "1");
	edit(&bob, &h, "phone", "2");
	assert_string_equal(ledger_of(world, &x, "phone").state, "auto");
	h = hold(world, "account", &x);
	edit(&max, &h, "phone", "3");
	l = ledger_of(world, &x, "phone");
	assert_int_equal(l.count, 1);
	assert_string_equal(l.state, "superseded");
	assert_string_equal(l.losing, "1");
}

/* a third writer joins: one entry for the set of siblings, still open */
static void siblings_share_one_entry(void **state)
{
	struct held h = hold(world, "account", &x);
	struct sat_dot dots[2] = { h.vv.dots[0], { ann.replica, 1 } };
	struct ledger l;

	(void)state;
	edit(&max, &h, "name", "C"); /* the largest replica id first */
	edit(&bob, &h, "name", "B");
	l = ledger_of(world, &x, "name");
	assert_int_equal(l.count, 1);
	edit(&ann, &h, "name", "A"); /* the smallest dot names the set now */
	l = ledger_of(world, &x, "name");
	assert_int_equal(l.count, 2);
	assert_int_equal(l.open_count, 1);
	/* Ann's own second thought settles nothing between the others */
	h.vv = (struct sat_vv){ dots, 2 };
	edit(&ann, &h, "name", "A2");
	l = ledger_of(world, &x, "name");
	assert_int_equal(l.open_count, 1);
	assert_int_equal(l.resolved_count, 0);
}

static void equal_values_are_no_conflict(void **state)
{
	struct held h = hold(world, "account", &x);

	(void)state;
	edit(&ann, &h, "name", "Same");
	edit(&bob, &h, "name", "Same");
	assert_int_equal(bob.verdict.status, SAT_VERDICT_APPLIED);
	assert_int_equal(ledger_of(world, &x, NULL).count, 0);
}

struct who {
	struct sat_value shown_by, losing_by, base;
	int64_t losing_at;
	uint32_t count;
};

static int on_row(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct who *w = arg;

	w->count++;
	w->shown_by =
		row->values[sat_table_column(t, sat_slice_str("shown_by"))];
	w->losing_by =
		row->values[sat_table_column(t, sat_slice_str("losing_by"))];
	w->base = row->values[sat_table_column(t, sat_slice_str("base_value"))];
	w->losing_at =
		row->values[sat_table_column(t, sat_slice_str("losing_at"))].i;
	assert_int_equal(
		sat_value_copy(&world->arena, &w->shown_by, &w->shown_by),
		SAT_OK);
	assert_int_equal(
		sat_value_copy(&world->arena, &w->losing_by, &w->losing_by),
		SAT_OK);
	assert_int_equal(sat_value_copy(&world->arena, &w->base, &w->base),
			 SAT_OK);
	return SAT_OK;
}

static void an_entry_names_people_times_and_base(void **state)
{
	struct held h = hold(world, "account", &x);
	struct who w = { 0 };
	struct sat_err err;
	struct sat_value old = text("old"), is_ann = idv(&world->ann),
			 is_bob = idv(&world->bob);
	int64_t at = world->now_ms;

	(void)state;
	edit(&ann, &h, "phone", "1");
	world->now_ms += 5000;
	edit(&bob, &h, "phone", "2");
	assert_int_equal(sat_store_rows(world->store, table(world, "conflict"),
					-1, NULL, on_row, &w, &err),
			 SAT_OK);
	assert_int_equal(w.count, 1);
	assert_true(sat_value_equal(&w.shown_by, &is_bob));
	assert_true(sat_value_equal(&w.losing_by, &is_ann));
	assert_true(sat_value_equal(&w.base, &old));
	assert_int_equal(w.losing_at, at);
}

/* ---- any order, one ledger ---------------------------------------------- */

struct line {
	char text[256];
};
struct dump {
	struct line lines[256];
	uint32_t count;
};

static int on_line(void *arg, const struct sat_table *t,
		   const struct sat_stored_row *row)
{
	static const char *const names[] = { "field",       "kind",
					     "shown_value", "losing_value",
					     "state",       "losing_dot" };
	struct dump *d = arg;
	struct line *l = &d->lines[d->count];
	const struct sat_value *v =
		&row->values[sat_table_column(t, sat_slice_str("state"))];
	size_t n = 0;

	/* those that are over may differ by order */
	if (v->s.len != strlen("auto"))
		return SAT_OK;
	assert_true(d->count < 256);
	for (size_t i = 0; i < SAT_COUNT_OF(names); i++) {
		v = &row->values[sat_table_column(t, sat_slice_str(names[i]))];
		n += (size_t)snprintf(
			l->text + n, sizeof l->text - n, "%.*s|",
			v->kind == SAT_TEXT ? (int)v->s.len : 0,
			v->kind == SAT_TEXT ? (const char *)v->s.ptr : "");
		assert_true(n < sizeof l->text);
	}
	d->count++;
	return SAT_OK;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void dump(struct world *w, struct dump *d)
{
	struct sat_err err;

	d->count = 0;
	assert_int_equal(sat_store_rows(w->store, table(w, "conflict"), -1,
					NULL, on_line, d, &err),
			 SAT_OK);
	qsort(d->lines, d->count, sizeof *d->lines, by_text);
}

/* Three devices with two edits each, made on the same state; every order that
 * keeps each device's own. */
static void play(const uint8_t *order, struct dump *d, uint64_t run)
{
	struct world w;
	struct device dev[3];
	struct sat_buf bytes[3][2];
	uint32_t at[3] = { 0 };
	struct sat_id id;
	struct held h;

	world_open(&w);
	device_add(&w, &dev[0], &w.ann);
	device_add(&w, &dev[1], &w.bob);
	device_add(&w, &dev[2], &w.max);
	id = account_x(&w);
	h = hold(&w, "account", &id);
	for (uint32_t k = 0; k < 3; k++) {
		struct held mine = h;
		struct sat_dot dots[2] = { h.vv.dots[0],
					   { dev[k].replica, 1 } };

		for (uint32_t i = 0; i < 2; i++) {
			static const char *const v[] = { "p", "q", "r" };

			w.now_ms = NOON_MS + 1000000 + 7000 * i + 900 * k;
			if (run % 2 == 1 && k == 1 && i == 1)
				(void)add_delete(&dev[k], &mine);
			else
				(void)add_update(&dev[k], &mine);
			if (dev[k].deltas[0].op == SAT_OP_UPDATE) {
				set_text(&dev[k], "phone", v[(k + i) % 3]);
				set_text(&dev[k], "name", v[(k + 2 * i) % 3]);
			}
			seal(&dev[k]);
			sat_buf_init(&bytes[k][i], 1 << 20);
			assert_int_equal(
				sat_buf_append(&bytes[k][i],
					       sat_buf_peek(&dev[k].bytes).ptr,
					       sat_buf_peek(&dev[k].bytes).len),
				SAT_OK);
			mine.vv = (struct sat_vv){ dots, 2 };
		}
	}
	w.now_ms = NOON_MS + 2000000;
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t k = order[i];

		group_begin(&w);
		assert_int_equal(
			push_bytes(&dev[k], sat_buf_peek(&bytes[k][at[k]])),
			SAT_OK);
		assert_int_not_equal(dev[k].verdict.status,
				     SAT_VERDICT_REJECTED);
		at[k]++;
		(void)group_commit(&w);
	}
	dump(&w, d);
	check_digests(&w);
	for (uint32_t k = 0; k < 3; k++) {
		sat_buf_fini(&bytes[k][0]);
		sat_buf_fini(&bytes[k][1]);
		device_fini(&dev[k]);
	}
	world_close(&w);
}

static void any_order_gives_one_ledger(void **state)
{
	static const uint8_t orders[][6] = {
		{ 0, 0, 1, 1, 2, 2 }, { 2, 2, 1, 1, 0, 0 },
		{ 0, 1, 2, 0, 1, 2 }, { 2, 1, 0, 2, 1, 0 },
		{ 1, 0, 0, 2, 2, 1 }, { 1, 2, 2, 0, 0, 1 },
		{ 0, 2, 1, 1, 2, 0 }, { 1, 1, 0, 2, 0, 2 },
	};
	static struct dump first, other;

	(void)state;
	for (uint64_t run = 0; run < 2; run++) {
		play(orders[0], &first, run);
		assert_true(first.count >= 3);
		for (size_t i = 1; i < SAT_COUNT_OF(orders); i++) {
			play(orders[i], &other, run);
			assert_int_equal(other.count, first.count);
			for (uint32_t k = 0; k < first.count; k++)
				assert_string_equal(other.lines[k].text,
						    first.lines[k].text);
		}
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(open_entries_close_by_edits),
		TEST(auto_entries_are_superseded),
		TEST(siblings_share_one_entry),
		TEST(equal_values_are_no_conflict),
		TEST(an_entry_names_people_times_and_base),
		cmocka_unit_test(any_order_gives_one_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
