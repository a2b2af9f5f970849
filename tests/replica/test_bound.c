/* What waits to be harvested fits into one changeset: triggers refuse more,
 * with a sentence that says what to do (SYNC section 4, "at most 64 MiB"). */
#include "tests/replica/support.h"

#include <stdlib.h>

#define TOO_MANY                                                          \
	"visit: too many changes wait to be sent: start satcheld so that" \
	" they go out, or change less at once"
/* about 60 KB of text that differs from row to row */
#define VISITS(from, to)                                                   \
	"WITH RECURSIVE n(i) AS (VALUES(" #from ") UNION ALL SELECT i + 1" \
	" FROM n WHERE i < " #to ") INSERT INTO visit(account_id, notes)"  \
	" SELECT $a1, printf('%060000d', i) FROM n;"

static void one_transaction(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	refused(f, "BEGIN;" VISITS(1, 600) VISITS(601, 1200) "COMMIT",
		TOO_MANY);
	expect(f, "SELECT count(*) FROM visit", "0");
	app(f, VISITS(1, 880));
	assert_int_equal(harvest(f), 1);
	expect(f,
	       "SELECT rows, length(bytes) < 67108864, length(bytes) > "
	       "52000000 FROM _satchel_outbox",
	       "880|1|1");
}

/* None of them is large. */
static void many_rows(void **state)
{
	struct fixture *f = *state;
	uint64_t seq;

	toy_account(f);
	app(f, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n"
	       " WHERE i < 6000) INSERT INTO visit(account_id, notes)"
	       " SELECT $a1, printf('%07000d', i) FROM n");
	refused(f,
		"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM"
		" n WHERE i < 3000) INSERT INTO visit(account_id, notes)"
		" SELECT $a1, printf('%07000d', i) FROM n",
		TOO_MANY);
	OK(sat_replica_harvest(f->r, 0, true, 1000, &seq, &f->err));
	assert_int_equal(seq, 1);
	expect(f, "SELECT rows, flags FROM _satchel_outbox", "6000|1");
}

/* Many transactions while no daemon runs are one changeset as well. */
static void a_backlog(void **state)
{
	struct fixture *f = *state;
	uint64_t seq;

	toy_account(f);
	app(f, VISITS(1, 500));
	app(f, VISITS(501, 880));
	refused(f, VISITS(881, 1500), TOO_MANY);
	OK(sat_replica_harvest(f->r, 0, true, 1000, &seq, &f->err));
	assert_int_equal(seq, 1);
	expect(f, "SELECT rows, flags FROM _satchel_outbox", "880|1");
	app(f, VISITS(881, 1500));
	assert_int_equal(harvest(f), 2);
}

/* The bound is on what will be sent: a draft that is saved every second is
 * sent once. */
static void one_row_many_times(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, VISITS(1, 1));
	app(f, "CREATE TEMP TABLE n(i); WITH RECURSIVE k(i) AS (VALUES(1)"
	       " UNION ALL SELECT i + 1 FROM k WHERE i < 1500) INSERT INTO n"
	       " SELECT i FROM k; CREATE TEMP TRIGGER s AFTER UPDATE ON n BEGIN"
	       " UPDATE visit SET notes = printf('%060000d', NEW.i); END;"
	       "UPDATE n SET i = i + 1");
	expect(f, "SELECT count(*) FROM _satchel_pending", "1501");
	assert_int_equal(harvest(f), 1);
	expect(f, "SELECT rows, length(bytes) < 61000 FROM _satchel_outbox",
	       "1|1");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(one_transaction),
		T(many_rows),
		T(a_backlog),
		T(one_row_many_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
