/* Rows that leave, tombstones, lost scopes, damage, and the status line. */
#include "tests/replica/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void accepted(struct fixture *f, uint64_t seq, uint32_t flags,
		     uint64_t first)
{
	toy_verdict(f, seq, SAT_VERDICT_APPLIED, flags, first, 0, NULL, NULL);
}

/* ---- leaving ------------------------------------------------------------- */

static void a_row_leaves_with_its_last_scope(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	toy_refs(f, 0, "account", "a1");
	toy_checkpoint(f, true);
	/* in two scopes it counts twice, also when it changes */
	(void)toy_write(f, 'u', "account", "a1", "phone", "5", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "1");
	toy_evict(f, 0, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT count(*) FROM _satchel_row", "0");
	/* an eviction is no delete */
	expect_harvest(f, "");
}

/* Worked example 11: nothing of Ann's is lost, and she is not left with a
 * fragment. */
static void an_orphan_stays_until_the_answer(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT phone FROM account", "1");
	expect(f, "SELECT count(*) FROM _satchel_row", "0");
	refused(f, "UPDATE account SET phone = '2'",
		"account: the row has left your territories and waits for the"
		" answer to an earlier change");
	refused(f, "DELETE FROM account",
		"account: the row has left your territories and waits for the"
		" answer to an earlier change");
	assert_int_equal(sat_replica_outbox_last(f->r), 1);
	accepted(f, 1, 0, 0);
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT count(*) FROM _satchel_orphan", "0");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
}

static void an_orphan_goes_when_rejected_too(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_TOO_LATE,
		    "account", "a1");
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT count(*) FROM _satchel_rejected", "1");
}

static void an_orphan_that_comes_back_takes_edits_again(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT phone, name FROM account", "1|X");
	app(f, "UPDATE account SET phone = '2'");
	expect_harvest(f, "update account a1 {1:1,7:1} on 2 phone=1>2\n");
}

static void an_accepted_row_leaves_at_once(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	assert_int_equal(harvest(f), 1);
	accepted(f, 1, 0, 0);
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
}

static void a_tombstone_is_kept_and_counts_for_nothing(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	(void)toy_write(f, 'd', "account", "a1", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT seq FROM _satchel_row", "3");
	/* delete against update: the row lives again, whole */
	(void)toy_write_as(f, 9, 1, (struct sat_vv){ NULL, 0 }, 'u', "account",
			   "a1", "phone", "9", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT name, phone FROM account", "X|9");
	expect(f, "SELECT count(*) FROM _satchel_base", "0");
}

/* A pending edit against a delete that arrives: the edit keeps it alive. */
static void an_edit_outlives_a_foreign_delete(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	(void)toy_write(f, 'd', "account", "a1", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT name, phone, tags FROM account", "X|1|[\"vip\"]");
	(void)toy_push(f, 1);
	accepted(f, 1, 0, 0);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT name, phone, tags FROM account", "X|1|[\"vip\"]");
}

static void lost_scopes_take_their_rows(void **state)
{
	static const uint32_t scopes[] = { 0, OTHER_SCOPE };
	struct sat_rights g = { .version = 2,
				.scopes = scopes,
				.scope_count = 2,
				.role = SAT_ROLE_REP };
	struct fixture *f = *state;
	struct toy_row *row;
	struct sat_msg_hello h;

	toy_account(f);
	(void)toy_write(f, 'i', "account", "a2", "name", "Y", "territory_id",
			"e1", NULL);
	toy_send(f, REP_SCOPE, "account", "a2"); /* staged, not applied */
	g.user = id_of("f1");
	g.home = id_of("e2");
	OK(sat_replica_grant(f->r, &g, &f->err));
	expect(f, "SELECT count(*) FROM account", "0");
	for (uint32_t i = 0; i < f->row_count; i++) {
		row = &f->rows[i];
		row->scope_count = 0;
	}
	/* HELLO shows the grants of the last whole pull */
	OK(sat_replica_hello(f->r, 0, &h, &f->err));
	assert_int_equal(h.grants, 1);
	toy_checkpoint(f, true);
	OK(sat_replica_hello(f->r, 0, &h, &f->err));
	assert_int_equal(h.grants, 2);
	expect(f, "SELECT count(*) FROM account", "0");
	/* the home that new rows get has changed with it */
	app(f, "INSERT INTO account(id, name) VALUES($a3, 'Z')");
	expect(f, "SELECT territory_id FROM account", "e2");
	expect(f, "PRAGMA integrity_check", "ok");
}

/* ---- damage -------------------------------------------------------------- */

static void bypass(struct fixture *f, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void verify_finds_what_was_changed_behind_the_triggers(void **state)
{
	struct fixture *f = *state;
	struct sat_hash digest;
	struct sat_replica_status s;
	uint64_t rows, bad;

	toy_account(f);
	OK(sat_replica_verify(f->r, &rows, &bad, &digest, &f->err));
	assert_int_equal(rows, 1);
	assert_int_equal(bad, 0);
	assert_true(
		sat_hash_equal(digest, sat_hash_unpack(f->r->facts.digest)));
	/* an edit through the triggers is an edit, not damage */
	app(f, "UPDATE account SET phone = '1'");
	OK(sat_replica_verify(f->r, &rows, &bad, &digest, &f->err));
	assert_int_equal(bad, 0);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a1");
	bypass(f, "UPDATE account SET email = 'evil'");
	OK(sat_replica_verify(f->r, &rows, &bad, &digest, &f->err));
	assert_int_equal(bad, 1);
	OK(sat_replica_status(f->r, &s, &f->err));
	assert_int_equal(s.digest, -1);
	/* the next state of the row heals it, and the digest with it */
	(void)toy_write(f, 'u', "account", "a1", "phone", "2", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	OK(sat_replica_verify(f->r, &rows, &bad, &digest, &f->err));
	assert_int_equal(bad, 0);
	expect(f, "SELECT email, phone FROM account", "a@x|2");
}

static void status_counts(void **state)
{
	struct fixture *f = *state;
	struct sat_replica_status s;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	OK(sat_replica_status(f->r, &s, &f->err));
	assert_int_equal(s.pending_rows, 1);
	assert_int_equal(s.saved, 1);
	assert_int_equal(harvest(f), 1);
	OK(sat_replica_status(f->r, &s, &f->err));
	assert_int_equal(s.saved, 1); /* the same number once harvested */
	assert_int_equal(s.waiting, 1);
	assert_int_equal(s.missing, 0);
	app(f, "UPDATE account SET phone = '2'");
	assert_int_equal(harvest(f), 2);
	accepted(f, 1, 0, 0);
	OK(sat_replica_status(f->r, &s, &f->err));
	assert_int_equal(s.saved, 2);
	assert_int_equal(s.confirmed, 1);
	assert_int_equal(s.waiting, 1);
	assert_int_equal(s.missing, 0);
	assert_int_equal(s.outbox, 1);
	assert_int_equal(s.outbox_last, 2);
	assert_int_equal(s.rows, 1);
	assert_int_equal(s.pending_rows, 0);
	assert_false(s.filling);
	assert_int_equal(s.digest, 1);
	assert_int_equal(s.checkpoint_ms, f->now_ms);
	assert_string_equal(s.login, "ann");
	assert_string_equal(s.server, "localhost:7443");
	assert_int_equal(s.replica, 7);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_row_leaves_with_its_last_scope),
		T(an_orphan_stays_until_the_answer),
		T(an_orphan_goes_when_rejected_too),
		T(an_orphan_that_comes_back_takes_edits_again),
		T(an_accepted_row_leaves_at_once),
		T(a_tombstone_is_kept_and_counts_for_nothing),
		T(an_edit_outlives_a_foreign_delete),
		T(lost_scopes_take_their_rows),
		T(verify_finds_what_was_changed_behind_the_triggers),
		T(status_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
