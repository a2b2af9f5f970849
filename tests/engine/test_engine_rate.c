/* How fast 20,000 visits of one rep become durable. Prints; the only checks
 * are that they are there and that the digests agree. */
#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VISITS = 20000, PER_CHANGESET = 2000 };

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put(struct sat_change *ch, const struct sat_table *t,
		const char *name, struct sat_value v, uint32_t *n, int64_t at)
{
	ch[(*n)++] = (struct sat_change){
		.column = (uint16_t)sat_table_column(t, sat_slice_str(name)),
		.value = v,
		.at_ms = at,
	};
}

static void make(struct world *w, struct device *d, const struct sat_id *x,
		 struct sat_delta *deltas, struct sat_change *changes,
		 uint32_t count)
{
	const struct sat_table *t = table(w, "visit");

	for (uint32_t i = 0; i < count; i++) {
		struct sat_change *ch = &changes[(size_t)i * 8];
		uint32_t n = 0;

		deltas[i] = (struct sat_delta){ .op = SAT_OP_INSERT,
						.table = t,
						.id = new_id(w),
						.at_ms = w->now_ms + i,
						.changes = ch };
		put(ch, t, "account_id", idv(x), &n, w->now_ms + i);
		put(ch, t, "user_id", idv(&w->ann), &n, w->now_ms + i);
		put(ch, t, "territory_id", idv(&w->t1), &n, w->now_ms + i);
		put(ch, t, "started_at", sat_value_int(w->now_ms + i), &n,
		    w->now_ms + i);
		put(ch, t, "state", text("done"), &n, w->now_ms + i);
		put(ch, t, "purpose", text("visit"), &n, w->now_ms + i);
		put(ch, t, "outcome", text("order"), &n, w->now_ms + i);
		put(ch, t, "notes", text("wants a quote for the new series"),
		    &n, w->now_ms + i);
		deltas[i].change_count = n;
	}
	d->cs.deltas = deltas;
	d->cs.delta_count = count;
}

static void print_rate(void **state)
{
	struct sat_delta *deltas = calloc(PER_CHANGESET, sizeof *deltas);
	struct sat_change *changes =
		calloc((size_t)PER_CHANGESET * 8, sizeof *changes);
	struct world w;
	struct device d;
	struct sat_id x;
	double spent = 0, from;
	size_t bytes = 0;

	(void)state;
	assert_non_null(deltas);
	assert_non_null(changes);
	world_open(&w);
	device_add(&w, &d, &w.ann);
	x = account_x(&w);
	for (uint32_t done = 0; done < VISITS; done += PER_CHANGESET) {
		make(&w, &d, &x, deltas, changes, PER_CHANGESET);
		seal(&d);
		bytes += sat_buf_peek(&d.bytes).len;
		w.now_ms += PER_CHANGESET;
		from = seconds();
		group_begin(&w);
		assert_int_equal(push_bytes(&d, sat_buf_peek(&d.bytes)),
				 SAT_OK);
		(void)group_commit(&w);
		spent += seconds() - from;
		assert_int_equal(d.verdict.status, SAT_VERDICT_APPLIED);
		assert_true(d.verdict.flags & SAT_VERDICT_AS_HELD);
	}
	print_message("%d visits in changesets of %d: %.0f visits/s durable, "
		      "%.0f bytes each before zstd\n",
		      VISITS, PER_CHANGESET, VISITS / spent,
		      (double)bytes / VISITS);
	check_digests(&w);
	device_fini(&d);
	world_close(&w);
	free(deltas);
	free(changes);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(print_rate) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
