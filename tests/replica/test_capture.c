/* Plain SQL in, deltas out: every way an app may write. */
#include "tests/replica/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void an_insert_carries_what_it_was_given(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO account(id, name) VALUES($a1, '王府井店')");
	expect_harvest(f, "insert account a1 name=王府井店 territory_id=e1"
			  " class=potential owner_id=f1 kind=direct"
			  " state=active\n");
	expect_harvest(f, ""); /* and only once */
	expect(f, "SELECT count(*) FROM _satchel_pending", "0");
}

static void an_id_is_made_when_none_is_given(void **state)
{
	struct fixture *f = *state;

	app(f, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM"
	       " n WHERE i < 1000) INSERT INTO account(name) SELECT i FROM n");
	expect(f,
	       "SELECT count(DISTINCT id), sum(substr(id, 15, 1) = '7' AND"
	       " substr(id, 20, 1) GLOB '[89ab]'), sum(length(id))"
	       " FROM account",
	       "1000|1000|36000");
	assert_int_equal(harvest(f), 1);
	expect(f, "SELECT rows FROM _satchel_outbox", "1000");
}

static void several_edits_are_one_delta(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1' WHERE id = $a1;"
	       "UPDATE account SET phone = '2', city = 'B' WHERE id = $a1;"
	       "UPDATE account SET city = NULL WHERE id = $a1");
	expect_harvest(f, "update account a1 {1:1} on 2 phone=100>2\n");
}

static void an_edit_taken_back_is_no_edit(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1' WHERE id = $a1;"
	       "UPDATE account SET phone = '100' WHERE id = $a1;"
	       "UPDATE account SET id = id, phone = phone WHERE id = $a1");
	expect_harvest(f, "");
	expect(f, "SELECT count(*) FROM _satchel_base", "0");
}

static void replace_is_an_update(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "INSERT OR REPLACE INTO account(id, name, phone, territory_id,"
	       " email, visit_count, tags, class, owner_id, kind, state)"
	       " VALUES($a1, 'X', '111', $e1, 'a@x', 6, '[\"gold\"]',"
	       " 'normal', NULL, NULL, NULL)");
	expect_harvest(f, "update account a1 {1:1} on 2 phone=100>111"
			  " tags+gold-vip visit_count+2\n");
}

static void replace_with_recursive_triggers_is_an_update(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "PRAGMA recursive_triggers = ON;"
	       "REPLACE INTO account(id, name, territory_id, owner_id, kind,"
	       " state, email, phone, visit_count, tags, class)"
	       " VALUES($a1, 'X', $e1, NULL, NULL, NULL, 'a@x', '5', 4,"
	       " '[\"vip\"]', 'normal')");
	expect_harvest(f, "update account a1 {1:1} on 2 phone=100>5\n");
}

static void replace_keeps_what_the_role_may_not_write(void **state)
{
	struct fixture *f = *state;

	(void)toy_write(f, 'i', "visit", "b1", "account_id", "a1", "user_id",
			"f1", "territory_id", "e1", "started_at", "5",
			"manager_note", "well done", NULL);
	toy_send(f, REP_SCOPE, "visit", "b1");
	toy_checkpoint(f, true);
	app(f, "REPLACE INTO visit(id, account_id, user_id, territory_id,"
	       " started_at, state, purpose, notes) VALUES($b1, $a1, $f1, $e1,"
	       " 5, NULL, NULL, 'n')");
	expect_harvest(f, "update visit b1 {1:1} on 2 notes=n\n");
	expect(f, "SELECT manager_note, notes FROM visit", "well done|n");
	/* written back as it was read is no write */
	app(f, "REPLACE INTO visit(id, account_id, user_id, territory_id,"
	       " started_at, state, purpose, notes, manager_note) VALUES($b1,"
	       " $a1, $f1, $e1, 5, NULL, NULL, 'm', 'well done')");
	expect_harvest(f, "update visit b1 {1:1,7:1} on 2 notes=n>m\n");
	refused(f,
		"REPLACE INTO visit(id, account_id, manager_note)"
		" VALUES($b1, $a1, 'great')",
		"visit.manager_note: your role (rep) may not write it");
}

static void upsert_is_an_update(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "INSERT INTO account(id, name) VALUES($a1, 'Y') ON CONFLICT(id)"
	       " DO UPDATE SET name = excluded.name,"
	       " visit_count = visit_count + 1");
	expect_harvest(f, "update account a1 {1:1} on 2 name=X>Y"
			  " visit_count+1\n");
	app(f, "INSERT INTO account(id, visit_count) VALUES($a1, 1)"
	       " ON CONFLICT(id) DO NOTHING");
	app(f, "INSERT OR IGNORE INTO account(id, name) VALUES($a1, 'Z')");
	expect_harvest(f, "");
}

static void delete_and_insert_is_an_update(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "BEGIN; DELETE FROM account WHERE id = $a1;"
	       "INSERT INTO account(id, name, territory_id, visit_count,"
	       " class, phone) VALUES($a1, 'X', $e1, 5, 'normal', '100');"
	       "UPDATE account SET owner_id = NULL, kind = NULL, state = NULL;"
	       "COMMIT");
	expect_harvest(f, "update account a1 {1:1} on 2 email=a@x>- tags-vip"
			  " visit_count+1\n");
}

/* A counter must not depend on when the daemon ran: the same two statements
 * with a harvest between them. */
static void delete_then_insert_later_revives(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "DELETE FROM account WHERE id = $a1");
	expect_harvest(f, "delete account a1 {1:1} on 2\n");
	app(f, "INSERT INTO account(id, name, territory_id, visit_count,"
	       " class, phone, owner_id, kind, state) VALUES($a1, 'X', $e1,"
	       " 5, 'normal', '100', NULL, NULL, NULL)");
	expect_harvest(f, "update account a1 {1:1,7:1} on 2 email=a@x>-"
			  " tags-vip visit_count+1\n");
}

static void inserting_the_same_again_revives(void **state)
{
	struct fixture *f = *state;
	uint64_t seq;

	toy_account(f);
	app(f, "DELETE FROM account WHERE id = $a1");
	seq = harvest(f);
	toy_verdict(f, seq, SAT_VERDICT_APPLIED, 0, 0, 0, NULL, NULL);
	(void)toy_push(f, seq);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
	app(f, "INSERT INTO account(id, name, territory_id, visit_count,"
	       " class, phone, email, tags, owner_id, kind, state)"
	       " VALUES($a1, 'X', $e1, 4, 'normal', '100', 'a@x',"
	       " '[\"vip\"]', NULL, NULL, NULL)");
	expect_harvest(f, "update account a1 {1:1,7:1} on 3 name=X>X\n");
}

static void insert_and_delete_is_nothing(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X');"
	       "DELETE FROM account WHERE id = $a1");
	expect_harvest(f, "");
	app(f, "BEGIN; INSERT INTO account(id, name) VALUES($a1, 'X');"
	       "ROLLBACK");
	expect_harvest(f, "");
}

static void update_of_many_rows(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	(void)toy_write(f, 'i', "account", "a2", "name", "Y", "territory_id",
			"e1", "phone", "200", NULL);
	toy_send(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
	app(f, "UPDATE account SET phone = phone || '0'");
	expect_harvest(f, "update account a1 {1:1} on 2 phone=100>1000\n"
			  "update account a2 {1:2} on 3 phone=200>2000\n");
}

static void parents_come_before_children(void **state)
{
	struct fixture *f = *state;

	app(f, "BEGIN;"
	       "INSERT INTO visit(id, account_id, opportunity_id, started_at)"
	       " VALUES($c1, $a1, $d1, 7);"
	       "INSERT INTO opportunity(id, account_id, opened_at)"
	       " VALUES($d1, $a1, '2026-01-01');"
	       "INSERT INTO account(id, name) VALUES($a1, 'X');"
	       "COMMIT");
	expect_harvest(f, "insert account a1 name=X territory_id=e1"
			  " class=potential owner_id=f1 kind=direct"
			  " state=active\n"
			  "insert opportunity d1 account_id=a1 owner_id=f1"
			  " territory_id=e1 stage=prospect"
			  " opened_at=2026-01-01\n"
			  "insert visit c1 account_id=a1 user_id=f1"
			  " territory_id=e1 started_at=7 state=done"
			  " purpose=visit opportunity_id=d1\n");
}

static void defaults_are_filled_when_null_is_given(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO account(id, name, territory_id, class, owner_id,"
	       " kind, state) VALUES($a1, 'X', NULL, NULL, NULL, NULL, NULL)");
	expect_harvest(f, "insert account a1 name=X territory_id=e1"
			  " class=potential owner_id=f1 kind=direct"
			  " state=active\n");
	expect(f, "SELECT territory_id, class, kind FROM account",
	       "e1|potential|direct");
}

static void own_changes_are_in_the_context(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X')");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '1'");
	expect_harvest(f, "update account a1 {7:1} phone=1\n");
	app(f, "UPDATE account SET phone = '2'");
	expect_harvest(f, "update account a1 {7:2} phone=1>2\n");
	app(f, "DELETE FROM account");
	expect_harvest(f, "delete account a1 {7:3}\n");
}

static void values_are_checked_at_once(void **state)
{
	static const struct {
		const char *why, *sql, *sentence;
	} rows[] = {
		{ "text is not a number",
		  "INSERT INTO account(name, employees) VALUES('X', 'many')",
		  "account.employees: must be a whole number of at least 0" },
		{ "nor is a fraction",
		  "INSERT INTO account(name, employees) VALUES('X', 1.5)",
		  "account.employees: must be a whole number of at least 0" },
		{ "out of range",
		  "INSERT INTO account(name, visit_cycle_days)"
		  " VALUES('X', 4000)",
		  "account.visit_cycle_days: must be a whole number from 1 to"
		  " 3650" },
		{ "no place on earth",
		  "INSERT INTO account(name, lat) VALUES('X', 91)",
		  "account.lat: must be a number from -90 to 90" },
		{ "infinite",
		  "INSERT INTO account(name, lat) VALUES('X', 9e999)",
		  "account.lat: must be a number from -90 to 90" },
		{ "unknown enum value",
		  "INSERT INTO account(name, class) VALUES('X', 'gold')",
		  "account.class: must be one of vip normal potential" },
		{ "enum values are exact",
		  "INSERT INTO account(name, class) VALUES('X', 'VIP')",
		  "account.class: must be one of vip normal potential" },
		{ "blob as text", "INSERT INTO account(name) VALUES(x'4142')",
		  "account.name: must be text of at most 200 bytes" },
		{ "bytes count, not characters",
		  "INSERT INTO account(name) VALUES(printf('%.*c', 67, '行'))",
		  "account.name: must be text of at most 200 bytes" },
		{ "required", "INSERT INTO account(phone) VALUES('1')",
		  "account.name: is required" },
		{ "an id has one spelling",
		  "INSERT INTO account(id, name) VALUES('A', 'X')",
		  "account: id must be a lower-case UUID" },
		{ "and no capitals",
		  "INSERT INTO account(id, name) VALUES("
		  "'00000000-0000-7000-8000-0000000000A1', 'X')",
		  "account: id must be a lower-case UUID" },
		{ "reference",
		  "INSERT INTO account(name, parent_id) VALUES('X', '7')",
		  "account.parent_id: must be an id in lower-case UUID form" },
		{ "no such day",
		  "INSERT INTO opportunity(expect_close)"
		  " VALUES('2026-02-30')",
		  "opportunity.expect_close: must be a date YYYY-MM-DD" },
		{ "a date is not 'now'",
		  "INSERT INTO opportunity(expect_close) VALUES('now')",
		  "opportunity.expect_close: must be a date YYYY-MM-DD" },
		{ "bool",
		  "INSERT INTO contact(account_id, name, do_not_call)"
		  " VALUES($a1, 'N', 2)",
		  "contact.do_not_call: must be 0 or 1" },
		{ "set", "INSERT INTO account(name, tags) VALUES('X', 'vip')",
		  "account.tags: must be a JSON array of texts" },
		{ "hash", "INSERT INTO account(name, photo) VALUES('X', 'ab')",
		  "account.photo: must be a SHA-256 hash in hex" },
		{ "role, column",
		  "INSERT INTO visit(account_id, manager_note)"
		  " VALUES($a1, 'm')",
		  "visit.manager_note: your role (rep) may not write it" },
		{ "role, table",
		  "INSERT INTO target(metric, period, start_day, value)"
		  " VALUES('visits', 'month', '2026-01-01', 5)",
		  "target: your role (rep) may not add rows" },
		{ "derived table",
		  "INSERT INTO pipeline_rollup(id) VALUES($a1)",
		  "pipeline_rollup: only the server writes this table" },
		{ "rowid below 1",
		  "INSERT INTO account(rowid, name) VALUES(0, 'X')",
		  "account: rowid must be positive" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		const char *got = app_refused(f, rows[i].sql);

		if (strcmp(got, rows[i].sentence) != 0)
			fail_msg("%s: %s", rows[i].why, got);
	}
	expect_harvest(f, "");
}

static void updates_are_checked_at_once(void **state)
{
	static const struct {
		const char *sql, *sentence;
	} rows[] = {
		{ "UPDATE account SET id = $a2",
		  "account: the id of a row cannot be changed" },
		{ "UPDATE account SET rowid = 77",
		  "account: the id of a row cannot be changed" },
		{ "UPDATE OR REPLACE account SET id = $a3 WHERE id = $a1",
		  "account: the id of a row cannot be changed" },
		{ "UPDATE OR IGNORE account SET id = $a9 WHERE id = $a1",
		  "account: the id of a row cannot be changed" },
		{ "UPDATE account SET name = NULL",
		  "account.name: is required" },
		{ "UPDATE account SET class = 'x'",
		  "account.class: must be one of vip normal potential" },
		{ "UPDATE OR REPLACE account SET employees = -1",
		  "account.employees: must be a whole number of at least 0" },
		{ "UPDATE account SET shared_with = '[]'",
		  "account.shared_with: your role (rep) may not write it" },
		{ "UPDATE account SET last_visit_at = 5",
		  "account.last_visit_at: keeps its largest value, this one"
		  " has no effect" },
		{ "UPDATE account SET first_contact_at = 99",
		  "account.first_contact_at: keeps its smallest value, this"
		  " one has no effect" },
		{ "INSERT OR REPLACE INTO account(rowid, name) SELECT rowid,"
		  " 'Z' FROM account WHERE id = $a1",
		  "account: this rowid belongs to another row" },
	};
	struct fixture *f = *state;

	(void)toy_write(f, 'i', "account", "a1", "name", "X", "territory_id",
			"e1", "last_visit_at", "10", "first_contact_at", "10",
			NULL);
	(void)toy_write(f, 'i', "account", "a3", "name", "Y", "territory_id",
			"e1", "last_visit_at", "10", "first_contact_at", "10",
			NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_send(f, REP_SCOPE, "account", "a3");
	toy_checkpoint(f, true);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		const char *got = app_refused(f, rows[i].sql);

		if (strcmp(got, rows[i].sentence) != 0)
			fail_msg("%s: %s", rows[i].sql, got);
	}
	expect_harvest(f, "");
	expect(f, "SELECT id, name FROM account ORDER BY id", "a1|X\na3|Y");
	app(f, "UPDATE account SET last_visit_at = 11 WHERE id = $a1");
	expect_harvest(f, "update account a1 {1:1} on 2"
			  " last_visit_at=10>11\n");
}

static void append_only_means_it(void **state)
{
	struct fixture *f = *state;
	const char *no = "note: rows can be added but not changed";

	app(f, "INSERT INTO note(id, account_id, body, at)"
	       " VALUES($b1, $a1, 'hello', 5)");
	expect_harvest(f, "insert note b1 account_id=a1 user_id=f1 at=5"
			  " body=hello\n");
	refused(f, "UPDATE note SET body = 'bye'", no);
	refused(f, "REPLACE INTO note(id, body) VALUES($b1, 'bye')", no);
	refused(f, "DELETE FROM note",
		"note: rows can be added but not deleted");
	app(f, "UPDATE note SET body = body");
	app(f, "INSERT OR IGNORE INTO note(id, body) VALUES($b1, 'bye')");
	expect_harvest(f, "");
	expect(f, "SELECT body FROM note", "hello");
}

static void a_manager_may_what_a_rep_may_not(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO target(id, metric, period, start_day, value,"
	       " set_at) VALUES($b1, 'visits', 'month', '2026-01-01', 5, 7)");
	expect_harvest(f, "insert target b1 territory_id=e1 metric=visits"
			  " period=month start_day=2026-01-01 value=5"
			  " set_by=f1 set_at=7\n");
	app(f, "INSERT INTO account(id, name, credit_limit, shared_with)"
	       " VALUES($a1, 'X', 5, '[]')");
	expect_harvest(f, "insert account a1 name=X territory_id=e1"
			  " class=potential owner_id=f1 kind=direct"
			  " state=active credit_limit=5\n");
}

static void a_large_note_is_fine_a_larger_is_refused(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO note(id, account_id, body)"
	       " VALUES($b1, $a1, printf('%.*c', 1048576, 'x'))");
	assert_int_equal(harvest(f), 1);
	expect(f, "SELECT length(bytes) > 1048576 FROM _satchel_outbox", "1");
	refused(f,
		"INSERT INTO note(account_id, body)"
		" VALUES($a1, printf('%.*c', 1048577, 'x'))",
		"note.body: must be text of at most 1048576 bytes");
	refused(f,
		"INSERT INTO task(title, detail)"
		" VALUES('t', printf('%.*c', 65537, 'x'))",
		"task.detail: must be text of at most 65536 bytes");
}

static void what_cannot_be_encoded_never_blocks(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = CAST(x'31ff32' AS TEXT),"
	       " city = 'B' WHERE id = $a1;"
	       "INSERT INTO account(id, name) VALUES($a2,"
	       " CAST(x'410042' AS TEXT));"
	       "INSERT INTO account(id, name, tags) VALUES($a3, 'T',"
	       " '[1]');"
	       "INSERT INTO account(id, name, custom) VALUES($a4, 'J', '{');"
	       "INSERT INTO account(id, name) VALUES($a5, 'good')");
	expect_harvest(f, "insert account a5 name=good territory_id=e1"
			  " class=potential owner_id=f1 kind=direct"
			  " state=active\n");
	expect(f, "SELECT id, name, phone, city FROM account ORDER BY id",
	       "a1|X|100|-\na5|good|-|-");
	expect(f,
	       "SELECT seq, reason, content FROM satchel_rejected"
	       " WHERE n = 1",
	       "-|encoding|[{\"table\":\"account\",\"id\":\"00000000-0000-7000"
	       "-8000-0000000000a1\",\"op\":\"update\",\"context\":\"1:1\","
	       "\"fields\":{\"phone\":"
	       "{\"before\":\"100\",\"after\":\"1?2\"},\"city\":{\"before\":"
	       "null,\"after\":\"B\"}}}]");
	expect(f, "SELECT reason FROM satchel_rejected ORDER BY n",
	       "encoding\nencoding\nvalue\nvalue");
	expect(f, "SELECT sentence_en FROM satchel_rejected WHERE n = 2",
	       "Account: Name contains bytes that are not text. Type it again"
	       " and save.");
	expect(f, "SELECT count(*) FROM _satchel_base", "0");
}

/* Triggers look at the shape of ids only. */
static void letters_that_no_id_has_are_found_at_harvest(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO account(id, name, phone) VALUES("
	       "'zzzzzzzz-0000-7000-8000-000000000000', 'X', '5');"
	       "UPDATE account SET phone = '6';"
	       "INSERT INTO account(id, name, parent_id) VALUES($a1, 'Y',"
	       "'-0000000-0000-7000-8000-000000000000');"
	       "INSERT INTO account(id, name) VALUES($a2, 'Z')");
	expect_harvest(f, "insert account a2 name=Z territory_id=e1"
			  " class=potential owner_id=f1 kind=direct"
			  " state=active\n");
	expect(f, "SELECT id FROM account", "a2");
	expect(f,
	       "SELECT reason, instr(content, '\"phone\":{\"before\":null,"
	       "\"after\":\"6\"}') > 0, instr(content, '-0000000-') > 0"
	       " FROM satchel_rejected ORDER BY n",
	       "value|0|1\nvalue|1|0");
}

static void times_are_those_of_the_statements(void **state)
{
	struct fixture *f = *state;
	struct sat_changeset cs;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1' WHERE id = $a1;"
	       "UPDATE account SET city = 'B' WHERE id = $a1;"
	       "UPDATE account SET email = 'c' WHERE id = $a1");
	/* as if they had been made at three noons */
	app(f, "UPDATE _satchel_pending SET at = 2461000.0 + n");
	assert_int_equal(harvest(f), 1);
	sat_arena_reset(&f->r->batch);
	OK(sat_outbox_decode(f->r, 1, &cs, &f->err));
	assert_int_equal(cs.deltas[0].change_count, 3);
	assert_int_equal(cs.deltas[0].changes[0].at_ms,
			 sat_julian_ms(2461001.0)); /* phone */
	assert_int_equal(cs.deltas[0].changes[1].at_ms,
			 sat_julian_ms(2461003.0)); /* email */
	assert_int_equal(cs.deltas[0].changes[2].at_ms,
			 sat_julian_ms(2461002.0)); /* city */
	assert_int_equal(cs.deltas[0].at_ms, sat_julian_ms(2461003.0));
	assert_int_equal(sat_julian_ms(2440588.5), 86400000);
}

static void the_chain_holds(void **state)
{
	struct fixture *f = *state;
	struct sat_changeset cs;
	uint8_t hash[16], part[64];
	size_t n;
	uint64_t total;

	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X')");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '1'");
	OK(sat_replica_harvest(f->r, 0, true, 1000, &total, &f->err));
	assert_int_equal(total, 2);
	OK(sat_replica_outbox_read(f->r, 1, 0, part, sizeof part, &n, &total,
				   hash, &f->err));
	assert_int_equal(n, sizeof part);
	sat_arena_reset(&f->r->batch);
	OK(sat_outbox_decode(f->r, 2, &cs, &f->err));
	assert_memory_equal(cs.prev_hash, hash, 16);
	assert_int_equal(cs.flags, SAT_CHANGESET_COALESCED);
	assert_int_equal(cs.dot.replica, 7);
	assert_int_equal(cs.marker.epoch, 99);
	assert_int_equal(cs.marker.commit_seq, 1);
	assert_int_equal(cs.marker.grants, 1);
	assert_int_equal(sat_replica_outbox_read(f->r, 3, 0, part, 1, &n,
						 &total, hash, &f->err),
			 SAT_E_NOTFOUND);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_insert_carries_what_it_was_given),
		T(an_id_is_made_when_none_is_given),
		T(several_edits_are_one_delta),
		T(an_edit_taken_back_is_no_edit),
		T(replace_is_an_update),
		T(replace_with_recursive_triggers_is_an_update),
		T(replace_keeps_what_the_role_may_not_write),
		T(upsert_is_an_update),
		T(delete_and_insert_is_an_update),
		T(delete_then_insert_later_revives),
		T(inserting_the_same_again_revives),
		T(insert_and_delete_is_nothing),
		T(update_of_many_rows),
		T(parents_come_before_children),
		T(defaults_are_filled_when_null_is_given),
		T(own_changes_are_in_the_context),
		T(values_are_checked_at_once),
		T(updates_are_checked_at_once),
		T(append_only_means_it),
		cmocka_unit_test_setup_teardown(
			a_manager_may_what_a_rep_may_not, setup_manager,
			teardown),
		T(a_large_note_is_fine_a_larger_is_refused),
		T(what_cannot_be_encoded_never_blocks),
		T(letters_that_no_id_has_are_found_at_harvest),
		T(times_are_those_of_the_statements),
		T(the_chain_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
