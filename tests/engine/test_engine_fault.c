/* The disk gives out in the middle of a group, at one place after another:
 * nothing of the group may be left, in the file or in memory, and the same
 * changesets must go through once there is room again. */
#include "tests/engine/engine_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { ROWS = 20, NOTE_BYTES = 4000, STEP_BYTES = 8192, STEPS = 1000 };

/* No file may be written beyond so many bytes. */
static void limit_disk(rlim_t bytes)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void free_disk(void)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = r.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void fill(struct world *w, struct device *d, const struct sat_id *x,
		 char *body)
{
	for (uint32_t i = 0; i < ROWS; i++) {
		struct sat_id id = new_id(w);

		body[0] = (char)('a' + i);
		(void)add_insert(d, "visit", &id);
		set_id(d, "account_id", x);
		(void)set_value(d, "notes",
				sat_value_text((struct sat_slice){
					(const uint8_t *)body, NOTE_BYTES }));
	}
	seal(d);
}

/* SAT_OK when the group went through. */
static int try_group(struct world *w, struct device *d)
{
	struct sat_commit_info info;
	struct sat_err err;
	int rc = sat_engine_begin(w->engine, w->now_ms += 1000, &err);

	if (rc != SAT_OK)
		return rc;
	rc = push_bytes(d, sat_buf_peek(&d->bytes));
	if (rc != SAT_OK) {
		sat_engine_abandon(w->engine);
		return rc;
	}
	return sat_engine_commit(w->engine, &info, &err);
}

static void a_full_disk_leaves_nothing(void **state)
{
	char *body = malloc(NOTE_BYTES);
	struct world w;
	struct device d;
	struct sat_id x;
	struct sat_err err;
	uint32_t failed = 0, visits = 0;
	bool through = false;
	int rc;

	(void)state;
	assert_non_null(body);
	memset(body, 'x', NOTE_BYTES);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	world_open(&w);
	device_add(&w, &d, &w.ann);
	x = account_x(&w);
	fill(&w, &d, &x, body);
	for (rlim_t step = 0; step < STEPS && !through; step++) {
		limit_disk(step * STEP_BYTES);
		rc = try_group(&w, &d);
		free_disk();
		through = rc == SAT_OK;
		if (through)
			break;
		failed++;
		assert_true(rc == SAT_E_FULL || rc == SAT_E_IO);
		if (rc == SAT_E_IO) { /* in doubt: look again */
			sat_engine_close(w.engine);
			assert_int_equal(
				sat_engine_open(w.store, &w.engine, &err),
				SAT_OK);
		}
		assert_int_equal(hold(&w, "account", &x).vv.count, 1);
		check_digests(&w);
		check_feed(&w);
	}
	assert_true(through);
	assert_true(failed > 10);
	assert_int_equal(d.verdict.status, SAT_VERDICT_APPLIED);
	assert_int_equal(d.verdict.flags & SAT_VERDICT_REPLAY, 0);
	for (uint32_t i = 0; i < ROWS; i++) {
		struct sat_stored_row row;

		assert_int_equal(sat_store_row_at(w.store, table(&w, "visit"),
						  d.verdict.first_seq + i,
						  &w.arena, &row, &err),
				 SAT_OK);
		visits += row.seq != 0;
	}
	assert_int_equal(visits, ROWS);
	check_digests(&w);
	check_feed(&w);
	print_message("the disk was full at %u places\n", failed);
	device_fini(&d);
	world_close(&w);
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_disk_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
