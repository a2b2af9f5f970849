/* How many transactions a checkpoint takes: one, so that nobody sees half of
 * it, unless somebody would wait too long for the write lock. */
#include "tests/replica/support.h"

#include <stdio.h>
#include <string.h>

enum { ROWS = 12, COMMITS_MAX = 16 };

/* What another program saw at each commit of the daemon, before it. */
struct watch {
	sqlite3 *other;
	int seen[COMMITS_MAX];
	int commits, refuse;
};

static int count(sqlite3 *db)
{
	sqlite3_stmt *st;
	int n;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM account",
					    -1, &st, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
	return n;
}

static int on_commit(void *arg)
{
	struct watch *w = arg;

	assert_true(w->commits < COMMITS_MAX);
	w->seen[w->commits++] = count(w->other);
	return w->commits == w->refuse;
}

static void start(struct fixture *f, struct watch *w)
{
	*w = (struct watch){ .commits = 0 };
	assert_int_equal(sqlite3_open(f->path, &w->other), SQLITE_OK);
	(void)sqlite3_commit_hook(f->r->db.handle, on_commit, w);
}

static void stop(struct fixture *f, struct watch *w)
{
	(void)sqlite3_commit_hook(f->r->db.handle, NULL, NULL);
	assert_int_equal(sqlite3_close(w->other), SQLITE_OK);
}

static bool filling(struct fixture *f)
{
	struct sat_replica_status s;

	OK(sat_replica_status(f->r, &s, &f->err));
	return s.filling;
}

static const char *alias_of(int i)
{
	static const char aliases[ROWS][3] = { "a0", "a1", "a2", "a3",
					       "a4", "a5", "a6", "a7",
					       "a8", "a9", "aa", "ab" };

	return aliases[i];
}

/* Each in a page of its own. */
static void stage_accounts(struct fixture *f)
{
	char name[8];

	for (int i = 0; i < ROWS; i++) {
		(void)snprintf(name, sizeof name, "N%d", i);
		(void)toy_write(f, 'i', "account", alias_of(i), "name", name,
				NULL);
		toy_send(f, REP_SCOPE, "account", alias_of(i));
	}
}

static void as_many_as_may_be_are_one_transaction(void **state)
{
	struct fixture *f = *state;
	struct watch w;

	f->r->atomic_rows = ROWS;
	f->r->step_rows = 5;
	stage_accounts(f);
	start(f, &w);
	toy_checkpoint(f, true);
	stop(f, &w);
	assert_int_equal(w.commits, 1);
	assert_int_equal(w.seen[0], 0);
	expect(f, "SELECT count(*) FROM account", "12");
	assert_false(filling(f));
}

static void more_go_ahead_in_steps(void **state)
{
	struct fixture *f = *state;
	struct watch w;

	f->r->atomic_rows = ROWS - 1;
	f->r->step_rows = 5;
	stage_accounts(f);
	start(f, &w);
	toy_checkpoint(f, true);
	stop(f, &w);
	/* 5, 5, 2, and the checkpoint itself */
	assert_int_equal(w.commits, 4);
	assert_int_equal(w.seen[0], 0);
	assert_int_equal(w.seen[1], 5);
	assert_int_equal(w.seen[2], 10);
	assert_int_equal(w.seen[3], 12);
	assert_false(filling(f));
	expect(f, "SELECT count(*) FROM _satchel_stage", "0");
}

/* Whoever counts all rows holds no lock that a writer waits for. */
static int on_statement(unsigned what, void *arg, void *p, void *x)
{
	int *counts = arg;
	const char *sql = x;

	(void)what;
	if (strstr(sql, "FROM _satchel_row") == NULL ||
	    strstr(sql, "WHERE") != NULL || strstr(sql, "EXISTS") != NULL)
		return 0;
	(*counts)++;
	assert_int_equal(sqlite3_txn_state(sqlite3_db_handle(p), "main"),
			 SQLITE_TXN_READ);
	return 0;
}

static void rows_are_counted_without_the_write_lock(void **state)
{
	struct fixture *f = *state;
	int counts = 0;

	stage_accounts(f);
	toy_checkpoint(f, true);
	app(f, "UPDATE account SET phone = '1' WHERE id = $a1");
	reopen(f);
	assert_false(f->r->counted);
	assert_int_equal(sqlite3_trace_v2(f->r->db.handle, SQLITE_TRACE_STMT,
					  on_statement, &counts),
			 SQLITE_OK);
	toy_checkpoint(f, true);
	assert_true(f->r->counted);
	assert_int_equal(counts, 1);
	toy_checkpoint(f, true);
	assert_int_equal(counts, 1); /* once for each start */
	assert_int_equal(sqlite3_trace_v2(f->r->db.handle, 0, NULL, NULL),
			 SQLITE_OK);
}

static void cut_between_two_steps_it_says_so_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_checkpoint c = { .cursor = 1000 };
	uint64_t harvested;
	struct watch w;
	bool ok;

	f->r->atomic_rows = 4;
	f->r->step_rows = 5;
	stage_accounts(f);
	start(f, &w);
	w.refuse = 2;
	assert_int_not_equal(
		sat_replica_checkpoint(f->r, &c, 0, &harvested, &ok, &f->err),
		SAT_OK);
	stop(f, &w);
	reopen(f);
	expect(f, "SELECT count(*) FROM account", "5");
	expect(f, "SELECT count(*) FROM _satchel_stage", "7");
	assert_true(filling(f));
	toy_checkpoint(f, true); /* the server goes on behind the mark */
	expect(f, "SELECT count(*) FROM account", "12");
	assert_false(filling(f));
	/* or it begins anew: what is there is not taken twice */
	f->r->atomic_rows = 4;
	for (int i = 0; i < ROWS; i++)
		toy_send(f, REP_SCOPE, "account", alias_of(i));
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "12");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(as_many_as_may_be_are_one_transaction),
		T(more_go_ahead_in_steps),
		T(rows_are_counted_without_the_write_lock),
		T(cut_between_two_steps_it_says_so_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
