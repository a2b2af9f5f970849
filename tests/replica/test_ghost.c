/* Edits whose row is not here: listed with what they replaced, never made into
 * a row of fragments (SYNC section 2, "ghost rows"). */
#include "tests/replica/support.h"

#include <string.h>

#define LIST                                                              \
	"SELECT \"table\", id, seq, op, field, before, value, shown FROM" \
	" satchel_orphans ORDER BY seq, field"
#define THREE                                               \
	"account|a1|1|update|phone|100|555|%s\n"            \
	"account|a1|1|update|tags|[\"vip\"]|[\"new\"]|%s\n" \
	"account|a1|1|update|visit_count|-|3|%s"

static void lists(struct fixture *f, const char *shown)
{
	struct sat_sql s;

	sat_sql_init(&s);
	sat_sql_add(&s, THREE, shown, shown, shown);
	assert_int_equal(sat_buf_append(&s.text, "", 1), SAT_OK);
	expect(f, LIST, (const char *)sat_buf_peek(&s.text).ptr);
	sat_sql_fini(&s);
}

static void edited(struct fixture *f)
{
	toy_account(f);
	app(f, "UPDATE account SET phone = '555', tags = '[\"new\"]',"
	       " visit_count = visit_count + 3");
	assert_int_equal(harvest(f), 1);
}

/* A restored server has forgotten the answer, and the row has left since: the
 * edit waits again, and nothing but the edit is here. */
static void ghost(struct fixture *f)
{
	static const uint32_t scopes[] = { 0, REP_SCOPE };
	struct sat_msg_welcome w = { .version = 1,
				     .epoch = 100,
				     .rights = { .version = 1,
						 .scopes = scopes,
						 .scope_count = 2,
						 .role = SAT_ROLE_REP } };
	struct sat_msg_hello hello;

	w.rights.user = id_of("f1");
	w.rights.home = id_of("e1");
	edited(f);
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, 0, 0, 0, NULL, NULL);
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, LIST, "");
	assert_int_equal(sat_replica_welcome(f->r, &w, 0, &f->err), SAT_AGAIN);
	OK(sat_replica_hello(f->r, 0, &hello, &f->err));
	assert_int_equal(hello.verdict_seq, 0);
	expect(f, "SELECT count(*) FROM account", "0");
	lists(f, "0");
}

static void an_edit_without_its_row_is_listed(void **state)
{
	struct fixture *f = *state;

	ghost(f);
	/* a checkpoint without the row changes nothing */
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "0");
	lists(f, "0");
}

static void the_row_comes_later(void **state)
{
	struct fixture *f = *state;

	ghost(f);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT name, phone, email, tags, visit_count FROM account",
	       "X|555|a@x|[\"new\"]|7");
	expect(f, LIST, "");
	expect(f, "SELECT count(*) FROM _satchel_ghost", "0");
	/* and the answer after it */
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a1");
	expect(f, "SELECT phone, visit_count FROM account", "100|4");
}

static void gone_moves_it_to_rejected(void **state)
{
	struct fixture *f = *state;

	ghost(f);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_GONE,
		    "account", "a1");
	expect(f, LIST, "");
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
	expect(f,
	       "SELECT seq, reason, instr(content, '\"before\":\"100\"') > 0"
	       " FROM satchel_rejected",
	       "1|gone|1");
}

/* Under another number the same edits wait. */
static void a_copy_lists_them_under_its_own_number(void **state)
{
	struct sat_slice none = { NULL, 0 };
	struct fixture *f = *state;

	toy_account(f);
	app(f, "INSERT INTO account(id, name) VALUES($a2, 'shared')");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '555' WHERE id = $a1");
	assert_int_equal(harvest(f), 2);
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, LIST, "account|a1|2|update|phone|100|555|1");
	OK(sat_replica_become(f->r, 8, 1, none, &f->err));
	expect(f, LIST, "account|a1|1|update|phone|100|555|1");
}

static void a_row_that_left_is_listed_and_shown(void **state)
{
	struct fixture *f = *state;

	edited(f);
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT phone FROM account", "555");
	lists(f, "1");
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, 0, 0, 0, NULL, NULL);
	expect(f, LIST, "");
	expect(f, "SELECT count(*) FROM account", "0");
}

static void a_delete_is_listed_as_a_whole(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "DELETE FROM account");
	assert_int_equal(harvest(f), 1);
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, LIST, "account|a1|1|delete|-|-|-|1");
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_GONE,
		    "account", "a1");
	expect(f, LIST, "");
}

/* What built on a row that was not accepted is no row of its own. */
static void the_insert_was_rejected(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO account(id, name, phone) VALUES($a1, 'New', '1')");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '2'");
	assert_int_equal(harvest(f), 2);
	expect(f, LIST, "");
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a1");
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, LIST, "account|a1|2|update|phone|1|2|0");
	/* tried again: with it, the edit has a row */
	app(f, "INSERT INTO account(id, name) VALUES($a1, 'New')");
	assert_int_equal(harvest(f), 3);
	expect(f, "SELECT name FROM account", "New");
	expect(f, LIST, "");
	toy_verdict(f, 2, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_DEPENDS,
		    "account", "a1");
	expect(f, "SELECT name FROM account", "New");
	expect(f, "SELECT seq FROM satchel_rejected ORDER BY n", "1\n2");
}

/* A file that was made before there was such a list, and before triggers
 * measured what waits. */
static void an_older_file_gets_the_list(void **state)
{
	struct fixture *f = *state;

	edited(f);
	app(f, "DROP VIEW satchel_orphans; DROP TABLE _satchel_ghost;"
	       "DELETE FROM _satchel_kv WHERE k = 'schema';"
	       "DROP TABLE _satchel_pending;"
	       "CREATE TABLE _satchel_pending(n INTEGER PRIMARY KEY,"
	       " t INTEGER, id, op TEXT, at REAL)");
	reopen(f);
	app(f, "INSERT INTO account(id, name) VALUES($a2, 'B')");
	expect(f, "SELECT now > 72, was, total FROM _satchel_pending", "1|0|-");
	assert_int_equal(harvest(f), 2);
	expect(f, LIST, "");
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	lists(f, "1");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_edit_without_its_row_is_listed),
		T(the_row_comes_later),
		T(gone_moves_it_to_rejected),
		T(a_copy_lists_them_under_its_own_number),
		T(a_row_that_left_is_listed_and_shown),
		T(a_delete_is_listed_as_a_whole),
		T(the_insert_was_rejected),
		T(an_older_file_gets_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
