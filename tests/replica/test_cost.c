/* What the replica costs: capture beside a plain insert, metadata beside the
 * data, a large backlog. Times are printed and held against a limit that only
 * a real loss breaks, for the machine is shared; sizes are exact. */
#include "tests/bench/capture_cost.h"
#include "tests/replica/support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { CAPTURED = 50000, ROUNDS = 5, BACKLOG = 100000, HELD = 20000 };

static double seconds(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double run(const char *path, const char *sql)
{
	sqlite3 *db;
	char *message = NULL;
	double start;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "PRAGMA journal_mode = WAL;"
				      "PRAGMA synchronous = FULL",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	start = seconds();
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s", message);
	start = seconds() - start;
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return start;
}

static void capture_beside_a_plain_insert(void **state)
{
	struct fixture *f = *state;
	struct bench_capture got;
	char plain[320], why[512];

	(void)snprintf(plain, sizeof plain, "%s/plain.db", f->folder);
	if (bench_capture(f->path, plain, CAPTURED, ROUNDS, &got, why,
			  sizeof why) != 0)
		fail_msg("%s", why);
	print_message("capture: %d visits %.3f s, plain %.3f s, ratio %.2f\n",
		      CAPTURED, got.captured, got.plain,
		      got.captured / got.plain);
	/* beyond what a busy machine adds to a pair of runs */
	assert_true(got.captured < 3 * got.plain);
	expect(f, "SELECT count(*) FROM visit", "250000");
}

static void a_large_backlog_is_one_changeset(void **state)
{
	struct fixture *f = *state;
	struct rusage before, after;
	char sql[2048];
	uint64_t seq;
	double t;

	bench_visits(sql, sizeof sql, BACKLOG);
	(void)run(f->path, sql);
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	t = seconds();
	OK(sat_replica_harvest(f->r, 0, true, 1000, &seq, &f->err));
	t = seconds() - t;
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	assert_int_equal(seq, 1);
	print_message("harvest: %d rows in %.2f s, %ld MiB more at the peak;"
		      " changeset %s bytes\n",
		      BACKLOG, t, (after.ru_maxrss - before.ru_maxrss) / 1024,
		      query(f, "SELECT length(bytes) FROM _satchel_outbox"));
	expect(f, "SELECT rows FROM _satchel_outbox", "100000");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "100000");
#ifndef __SANITIZE_ADDRESS__
	assert_true(after.ru_maxrss - before.ru_maxrss < 300 * 1024);
#endif
	assert_true(t < 60);
}

/* As if they had come from the server, each by one write, like most. */
static void metadata_beside_the_data(void **state)
{
	struct fixture *f = *state;
	uint64_t seq, first = 2;
	char sql[2048];
	double size, meta, t;

	bench_visits(sql, sizeof sql, HELD);
	(void)run(f->path, sql);
	seq = harvest(f);
	assert_int_equal(seq, 1);
	t = seconds();
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD, first, 0,
		    NULL, NULL);
	t = seconds() - t;
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
	/* in one scope each; what was sent is dropped after its time */
	app(f, "UPDATE _satchel_row SET scopes = x'05';"
	       "DELETE FROM _satchel_outbox");
	sat_replica_close(f->r);
	f->r = NULL;
	app(f, "VACUUM");
	size = strtod(query(f, "SELECT page_count * page_size FROM"
			       " pragma_page_count, pragma_page_size"),
		      NULL);
	app(f, "DELETE FROM _satchel_row; VACUUM");
	meta = size - strtod(query(f, "SELECT page_count * page_size FROM"
				      " pragma_page_count, pragma_page_size"),
			     NULL);
	print_message("metadata: %.1f of %.1f bytes a visit, %.1f %%; %d rows"
		      " settled as held in %.2f s\n",
		      meta / HELD, size / HELD, 100 * meta / size, HELD, t);
	assert_true(meta <= 0.15 * size);
	reopen(f);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(capture_beside_a_plain_insert),
		T(a_large_backlog_is_one_changeset),
		T(metadata_beside_the_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
