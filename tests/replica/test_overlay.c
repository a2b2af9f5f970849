/* Server states, the overlay on them, verdicts, evictions. */
#include "tests/replica/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void accepted(struct fixture *f, uint64_t seq, uint32_t flags,
		     uint64_t first)
{
	toy_verdict(f, seq, SAT_VERDICT_APPLIED, flags, first, 0, NULL, NULL);
}

static void a_state_is_shown_at_the_checkpoint_only(void **state)
{
	struct fixture *f = *state;

	(void)toy_write(f, 'i', "account", "a1", "name", "X", "territory_id",
			"e1", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	expect(f, "SELECT count(*) FROM account", "0");
	toy_checkpoint(f, true);
	expect(f, "SELECT id, name, visit_count FROM account", "a1|X|0");
	expect(f, "SELECT count(*) FROM _satchel_stage", "0");
	/* what the server wrote is not captured as ours */
	expect_harvest(f, "");
}

static void while_filling_pages_show_at_once(void **state)
{
	struct fixture *f = *state;

	(void)toy_write(f, 'i', "account", "a1", "name", "X", "territory_id",
			"e1", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	expect(f, "SELECT name FROM account", "X");
	toy_checkpoint(f, true);
	(void)toy_write(f, 'u', "account", "a1", "name", "Y", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	expect(f, "SELECT name FROM account", "X");
	toy_checkpoint(f, true);
	expect(f, "SELECT name FROM account", "Y");
}

static void an_older_state_never_replaces_a_newer(void **state)
{
	struct fixture *f = *state;
	struct toy_row *row;

	toy_account(f);
	row = toy_write(f, 'u', "account", "a1", "phone", "200", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	/* a state with an older _seq, as a page that came late */
	row->seq -= 1;
	(void)toy_write(f, 'u', "account", "a1", "phone", "300", NULL);
	row->seq = 2;
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, false);
	expect(f, "SELECT phone FROM account", "200");
}

/* Two authors wrote the phone at the same time; then the server corrects a
 * stamp and the other one wins. No dot is added: the vectors stay equal. */
static struct toy_row *corrected(struct fixture *f, const char *phone,
				 uint64_t seq)
{
	struct toy_row *row = toy_find(f, "account", "a1");
	int at = sat_table_column(row->table, sat_slice_str("phone"));
	struct sat_field *field = &row->row.fields[at];
	uint32_t k = sat_field_shown(&row->table->columns[at], field);

	field->writes[k].value = sat_value_text(sat_slice_str(phone));
	field->writes[k].stamp += 1000;
	row->seq = seq;
	return row;
}

static void sends(struct fixture *f, bool agrees)
{
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, agrees);
}

/* SYNC section 4, "a corrected stamp": of two states with equal vectors the
 * one with the larger _seq is the server's; vectors cannot tell. */
static void equal_vectors_are_told_apart_by_seq(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_hello hello;
	struct toy_row *row;
	uint64_t seq;

	toy_account(f);
	row = toy_write_as(f, 9, 1, toy_find(f, "account", "a1")->row.vv, 'u',
			   "account", "a1", "phone", "200", NULL);
	sends(f, true);
	app(f, "UPDATE account SET email = 'mine'");
	assert_int_equal(harvest(f), 1);
	seq = row->seq;
	f->seq += 10;

	(void)corrected(f, "301", seq + 5);
	sends(f, true);
	expect(f, "SELECT phone, email FROM account", "301|mine");
	/* as large, or smaller: late pages */
	(void)corrected(f, "302", seq + 5);
	sends(f, false);
	expect(f, "SELECT phone FROM account", "301");
	(void)corrected(f, "303", seq + 4);
	sends(f, false);
	expect(f, "SELECT phone, email FROM account", "301|mine");

	/* by REPAIR everything is taken as it comes, edits stay over it */
	OK(sat_replica_repair(f->r, &f->err));
	OK(sat_replica_hello(f->r, 0, &hello, &f->err));
	assert_int_equal(hello.cursor, 0);
	expect(f, "SELECT phone, email FROM account", "301|mine");
	sends(f, true);
	expect(f, "SELECT phone, email FROM account", "303|mine");
	assert_int_equal((int)hello.last_seq, 1);
	/* after it, the rule is the old one */
	(void)corrected(f, "304", seq + 3);
	sends(f, false);
	expect(f, "SELECT phone FROM account", "303");
}

/* Of a row that is sent again from the start only the scopes count that it is
 * sent in: another one may be from a history of the server that is gone. */
static void scopes_from_before_do_not_stay(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_hello hello;
	struct toy_row *row;

	toy_account(f);
	row = toy_find(f, "account", "a1");
	row->scopes[1] = 0;
	row->scope_count = 2;
	toy_refs(f, 0, "account", "a1");
	toy_checkpoint(f, true);
	OK(sat_replica_repair(f->r, &f->err));
	OK(sat_replica_hello(f->r, 0, &hello, &f->err));
	row->scope_count = 1;
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT phone FROM account", "100");
}

/* Positions of two histories cannot be compared. */
static void another_epoch_replaces_whatever_the_seq(void **state)
{
	static const uint32_t scopes[] = { 0, REP_SCOPE };
	struct sat_msg_welcome w = { .version = 1,
				     .epoch = 100, /* it was 99 */
				     .rights = { .version = 1,
						 .scopes = scopes,
						 .scope_count = 2,
						 .role = SAT_ROLE_REP } };
	struct fixture *f = *state;
	struct sat_msg_hello hello;
	struct toy_row *row;

	w.rights.user = id_of("f1");
	w.rights.home = id_of("e1");
	toy_account(f);
	row = toy_write(f, 'u', "account", "a1", "phone", "200", NULL);
	sends(f, true);
	(void)corrected(f, "1", row->seq - 1);
	sends(f, false);
	expect(f, "SELECT phone FROM account", "200");
	assert_int_equal(sat_replica_welcome(f->r, &w, 0, &f->err), SAT_AGAIN);
	OK(sat_replica_hello(f->r, 0, &hello, &f->err));
	sends(f, true);
	expect(f, "SELECT phone FROM account", "1");
}

/* Worked example 1, seen from Ann's device. */
static void pending_edits_lie_over_new_states(void **state)
{
	struct fixture *f = *state;
	uint64_t seq;

	toy_account(f);
	app(f, "UPDATE account SET phone = '111' WHERE id = $a1");
	(void)toy_write(f, 'u', "account", "a1", "email", "b@x", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	/* the edit is harvested by the checkpoint, with the context it had */
	toy_checkpoint(f, true);
	seq = sat_replica_outbox_last(f->r);
	assert_int_equal(seq, 1);
	assert_string_equal(dump(f, 1),
			    "update account a1 {1:1} on 2 phone=100>111\n");
	expect(f, "SELECT phone, email FROM account", "111|b@x");
	(void)toy_push(f, 1);
	accepted(f, 1, 0, 0);
	/* accepted, but its state is still to come: nothing flickers */
	expect(f, "SELECT phone, email FROM account", "111|b@x");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "1");
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT phone, email FROM account", "111|b@x");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
	expect(f, "SELECT count(*) FROM _satchel_base", "0");
}

/* Ack before the echo, and a foreign change of the same field between. */
static void a_foreign_change_before_the_echo_does_not_flicker(void **state)
{
	struct fixture *f = *state;
	struct sat_vv seen;

	toy_account(f);
	seen = toy_find(f, "account", "a1")->row.vv;
	app(f, "UPDATE account SET phone = '111' WHERE id = $a1");
	assert_int_equal(harvest(f), 1);
	/* Bob's is older than Ann's by the stamps: hers goes on being shown */
	(void)toy_write_as(f, 9, 1, seen, 'u', "account", "a1", "phone", "222",
			   NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT phone FROM account", "111");
}

/* Worked example 4. */
static void own_changesets_do_not_conflict(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET name = 'Y' WHERE id = $a1");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET name = 'Z' WHERE id = $a1");
	assert_int_equal(harvest(f), 2);
	(void)toy_push(f, 1);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT name FROM account", "Z");
	expect(f, "SELECT count(*) FROM satchel_siblings", "0");
	(void)toy_push(f, 2);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT name FROM account", "Z");
	expect(f, "SELECT count(*) FROM satchel_siblings", "0");
}

/* Worked example 5 on a device: both names are there, one answer covers. */
static void siblings_are_listed_and_resolved(void **state)
{
	struct fixture *f = *state;
	struct sat_vv seen;
	struct sat_msg_verdict v = { .seq = 1 };

	toy_account(f);
	seen = toy_find(f, "account", "a1")->row.vv;
	(void)toy_write_as(f, 8, 1, seen, 'u', "account", "a1", "name", "X Ltd",
			   NULL);
	(void)toy_write_as(f, 9, 1, seen, 'u', "account", "a1", "name",
			   "X GmbH", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	(void)toy_write(f, 'i', "conflict", "d1", "table_name", "account",
			"row_id", id_text(f, "a1"), "field", "name", "state",
			"open", NULL);
	toy_send(f, REP_SCOPE, "conflict", "d1");
	toy_checkpoint(f, true);
	expect(f, "SELECT name FROM account", "X GmbH");
	expect(f,
	       "SELECT \"table\", id, field, value, replica, shown FROM"
	       " satchel_siblings ORDER BY value",
	       "account|a1|name|X GmbH|9|1\naccount|a1|name|X Ltd|8|0");
	app(f, "INSERT INTO satchel_resolve(conflict, value)"
	       " VALUES($d1, 'X Ltd')");
	expect_harvest(f, "update account a1 {1:1,8:1,9:1} on 4"
			  " name=X GmbH>X Ltd!\n");
	expect(f, "SELECT name FROM account", "X Ltd");
	expect(f, "SELECT count(*) FROM satchel_siblings", "0");
	expect(f, "SELECT count(*) FROM satchel_resolve", "0");
	/* even the value that is shown is an answer */
	app(f, "INSERT INTO satchel_resolve(conflict, value)"
	       " VALUES($d1, 'X Ltd')");
	expect_harvest(f, "update account a1 {1:1,7:1,8:1,9:1} on 4"
			  " name=X Ltd>X Ltd!\n");
	v.status = SAT_VERDICT_APPLIED;
	OK(sat_replica_verdict(f->r, &v, 0, &f->err));
}

static void resolving_nonsense_is_listed(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO satchel_resolve(conflict, value)"
	       " VALUES('nothing', 1)");
	expect_harvest(f, "");
	expect(f, "SELECT reason FROM satchel_rejected", "gone");
}

/* A person looks at a form for minutes: what he saw is his context. */
static void intents_write_with_the_context_that_was_seen(void **state)
{
	struct fixture *f = *state;
	char seen[64];
	struct sat_id id = id_of("a1");

	toy_account(f);
	OK(sat_replica_row_context(f->r, toy_find(f, "account", "a1")->table,
				   &id, seen, sizeof seen, &f->err));
	assert_string_equal(seen, "1:1");
	(void)toy_write(f, 'u', "account", "a1", "phone", "200", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	app(f, "INSERT INTO _satchel_intent(\"table\", id, field, value,"
	       " context) VALUES('account', $a1, 'phone', '100', '1:1'),"
	       " ('account', $a1, 'city', 'B', '1:1'),"
	       " ('account', $a1, 'visit_count', 2, NULL),"
	       " ('account', $a1, 'tags', '[\"gold\"]', NULL)");
	assert_int_equal(harvest(f), 2); /* two contexts, two changesets */
	assert_string_equal(dump(f, 1),
			    "update account a1 {1:1} on 3 phone=200>100"
			    " city=B\n");
	assert_string_equal(dump(f, 2),
			    "update account a1 {1:2,7:1} on 3 tags+gold-vip"
			    " visit_count+2\n");
	expect(f, "SELECT phone, city, visit_count, tags FROM account",
	       "100|B|6|[\"gold\"]");
	app(f, "INSERT INTO _satchel_intent(\"table\", id, field, context)"
	       " VALUES('account', $a1, NULL, '1:1')");
	expect_harvest(f, "delete account a1 {1:1} on 3\n");
	/* it had not seen what came since: the row lives */
	expect(f, "SELECT count(*) FROM account", "1");
}

static void intents_are_judged(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f,
	    "INSERT INTO _satchel_intent(\"table\", id, field, value, context)"
	    " VALUES('nothing', $a1, 'phone', '1', NULL),"
	    " ('account', $a9, 'phone', '1', NULL),"
	    " ('account', $a1, 'nothing', '1', NULL),"
	    " ('account', $a1, 'shared_with', '[]', NULL),"
	    " ('account', $a1, 'class', 'gold', NULL),"
	    " ('account', $a1, 'name', NULL, NULL),"
	    " ('account', $a1, 'phone', '1', '1:9'),"
	    " ('account', $a1, 'phone', '1', 'x'),"
	    " ('conflict', $a1, 'field', '1', NULL),"
	    " ('note', $a1, 'body', '1', NULL)");
	expect_harvest(f, "");
	expect(f,
	       "SELECT group_concat(reason) FROM (SELECT reason FROM"
	       " satchel_rejected ORDER BY n)",
	       "catalogue,gone,catalogue,role,value,required,forged,forged,"
	       "derived,append_only");
}

/* ---- as held ------------------------------------------------------------- */

/* The server has exactly what we have and does not send it: what the device
 * makes of its own delta must be the server's state, byte by byte. */
static void folding_equals_the_echo(void **state)
{
	static const char *const edits[] = {
		"UPDATE account SET phone = '1', city = 'B'",
		"UPDATE account SET name = 'Y', visit_count = visit_count + 3",
		"UPDATE account SET tags = '[\"b\", \"a\", \"vip\"]'",
		"UPDATE account SET tags = NULL, last_visit_at = 50",
		"UPDATE account SET email = NULL, lat = 31.5, custom = '{}'",
		"DELETE FROM account",
		"INSERT INTO account(id, name) VALUES($a1, 'again')",
	};
	struct fixture *f = *state;
	uint64_t seq, first;

	f->offset_ms = 12345;
	OK(sat_txn_begin(f->r, &f->err));
	f->r->facts.offset_ms = f->offset_ms;
	OK(sat_txn_end(f->r, SAT_OK, &f->err));
	toy_account(f);
	for (size_t i = 0; i < SAT_COUNT_OF(edits); i++) {
		app(f, edits[i]);
		seq = harvest(f);
		assert_int_equal(seq, i + 1);
		first = toy_push(f, seq);
		accepted(f, seq, SAT_VERDICT_AS_HELD, first);
		expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
		toy_checkpoint(f, true); /* nothing sent, digests agree */
		assert_int_equal(toy_find(f, "account", "a1")->seq, f->seq);
	}
	expect(f, "SELECT name, phone, city FROM account", "again|-|-");
}

/* New rows among old ones, one of them edited again: each entry of the overlay
 * goes when its own delta is answered, and what is shown takes the form that
 * the server's values have. */
static void many_rows_are_folded_at_once(void **state)
{
	struct fixture *f = *state;
	struct sat_hash digest;
	uint64_t rows, bad, first, second;

	toy_account(f);
	app(f,
	    "INSERT INTO account(id, name, tags, custom, class) VALUES"
	    " ($a2, 'B', '[\"b\", \"a\"]', '{}', 'vip'),"
	    " ($a3, 'C', NULL, NULL, 'normal'), ($a4, 'D', '[]', NULL, NULL);"
	    "UPDATE account SET phone = '7' WHERE id = $a1;"
	    "INSERT INTO account(id, name) VALUES ($a5, 'E')");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '9' WHERE id = $a3");
	assert_int_equal(harvest(f), 2);
	first = toy_push(f, 1);
	second = toy_push(f, 2);
	expect(f, "SELECT count(*) FROM _satchel_dirty", "6");
	accepted(f, 1, SAT_VERDICT_AS_HELD, first);
	expect(f, "SELECT seq, i FROM _satchel_dirty", "2|0");
	expect(f, "SELECT id, phone, tags FROM account ORDER BY id",
	       "a1|7|[\"vip\"]\na2|-|[\"a\",\"b\"]\na3|9|-\na4|-|-\na5|-|-");
	accepted(f, 2, SAT_VERDICT_AS_HELD, second);
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
	expect(f, "SELECT count(*) FROM _satchel_base", "0");
	for (int i = 2; i <= 5; i++) {
		char alias[3] = { 'a', (char)('0' + i), '\0' };

		toy_refs(f, REP_SCOPE, "account", alias);
	}
	toy_checkpoint(f, true);
	OK(sat_replica_verify(f->r, &rows, &bad, &digest, &f->err));
	assert_int_equal(rows, 5);
	assert_int_equal(bad, 0);
}

static void an_own_insert_as_held_gets_its_scope_by_reference(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X'), ($a2, 'Y')");
	assert_int_equal(harvest(f), 1);
	first = toy_push(f, 1);
	accepted(f, 1, SAT_VERDICT_AS_HELD, first);
	expect(f, "SELECT seq, length(scopes) FROM _satchel_row ORDER BY seq",
	       "2|0\n3|0");
	toy_refs(f, REP_SCOPE, "account", "a1");
	toy_refs(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
	expect(f, "SELECT name FROM account ORDER BY id", "X\nY");
	/* the whole row later is no news */
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
}

static void a_verdict_twice_is_one(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	assert_int_equal(harvest(f), 1);
	first = toy_push(f, 1);
	accepted(f, 1, SAT_VERDICT_AS_HELD, first);
	accepted(f, 1, SAT_VERDICT_AS_HELD | SAT_VERDICT_REPLAY, first);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, SAT_VERDICT_REPLAY, 0,
		    SAT_REASON_SCOPE, NULL, NULL);
	toy_checkpoint(f, true);
	expect(f, "SELECT count(*) FROM _satchel_rejected", "0");
	expect(f, "SELECT state FROM _satchel_outbox", "1");
}

static void a_verdict_on_nothing_is_refused(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_verdict v = { .seq = 1 };

	assert_int_equal(sat_replica_verdict(f->r, &v, 0, &f->err),
			 SAT_E_PROTO);
	v.seq = 0;
	assert_int_equal(sat_replica_verdict(f->r, &v, 0, &f->err),
			 SAT_E_PROTO);
}

/* ---- rejected ------------------------------------------------------------ */

static void a_rejected_edit_shows_the_servers_state_again(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1', tags = '[\"a\"]',"
	       " visit_count = 9");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET city = 'later'"); /* not harvested yet */
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a1");
	expect(f, "SELECT phone, tags, visit_count, city FROM account",
	       "100|[\"vip\"]|4|later");
	expect(f,
	       "SELECT seq, reason, sentence_en, content FROM"
	       " satchel_rejected",
	       "1|scope|Account: this record is not in your territories. Ask"
	       " your manager for access or to make the change.|"
	       "[{\"table\":\"account\",\"id\":\"00000000-0000-7000-8000-"
	       "0000000000a1\",\"op\":\"update\",\"context\":\"1:1\","
	       "\"fields\":{\"phone\":"
	       "{\"before\":\"100\",\"after\":\"1\"},\"tags\":{\"adds\":"
	       "[\"a\"],\"removes\":[\"vip\"]},\"visit_count\":{\"add\":5}"
	       "}}]");
	/* the later edit was harvested before anything was derived */
	assert_int_equal(sat_replica_outbox_last(f->r), 2);
	assert_string_equal(dump(f, 2),
			    "update account a1 {1:1,7:1} on 2 city=later\n");
	toy_verdict(f, 2, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_DEPENDS,
		    "account", "a1");
	expect(f, "SELECT phone, city FROM account", "100|-");
	expect(f, "SELECT count(*) FROM _satchel_base", "0");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
	toy_checkpoint(f, true);
}

static void a_rejected_insert_goes(void **state)
{
	struct fixture *f = *state;

	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X')");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '1'");
	assert_int_equal(harvest(f), 2);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_VALUE,
		    "account", "a1");
	toy_verdict(f, 2, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_DEPENDS,
		    "account", "a1");
	expect(f, "SELECT count(*) FROM account", "0");
	expect(f, "SELECT seq, reason FROM satchel_rejected ORDER BY n",
	       "1|value\n2|depends");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
}

static void a_rejected_delete_brings_the_row_back(void **state)
{
	struct fixture *f = *state;

	toy_account(f);
	app(f, "DELETE FROM account");
	assert_int_equal(harvest(f), 1);
	expect(f, "SELECT count(*) FROM account", "0");
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_ROLE,
		    "account", "a1");
	expect(f, "SELECT name, phone, tags, visit_count FROM account",
	       "X|100|[\"vip\"]|4");
	toy_checkpoint(f, true);
}

/* A backlog of many transactions in one changeset: one bad row takes only
 * what hangs on it along. */
static void a_coalesced_changeset_is_split_once(void **state)
{
	struct fixture *f = *state;
	uint64_t seq;

	toy_account(f);
	app(f, "INSERT INTO account(id, name) VALUES($a2, 'Y'), ($a3, 'Z');"
	       "INSERT INTO visit(id, account_id, started_at) VALUES"
	       " ($b2, $a2, 1), ($b3, $a3, 1);"
	       "INSERT INTO note(id, visit_id, body, at) VALUES"
	       " ($c2, $b2, 'n', 1);"
	       "UPDATE account SET phone = '1' WHERE id = $a1");
	OK(sat_replica_harvest(f->r, 0, true, 1000, &seq, &f->err));
	assert_int_equal(seq, 1);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a2");
	expect(f, "SELECT id FROM account ORDER BY id", "a1\na3");
	expect(f, "SELECT id FROM visit", "b3");
	expect(f, "SELECT count(*) FROM note", "0");
	assert_int_equal(sat_replica_outbox_last(f->r), 2);
	assert_string_equal(
		dump(f, 2),
		"insert account a3 name=Z territory_id=e1 class=potential"
		" owner_id=f1 kind=direct state=active\n"
		"update account a1 {1:1} on 2 phone=100>1\n"
		"insert visit b3 account_id=a3 user_id=f1 territory_id=e1"
		" started_at=1 state=done purpose=visit\n");
	expect(f, "SELECT flags FROM _satchel_outbox WHERE seq = 2", "0");
	/* rejected again: now as a whole */
	toy_verdict(f, 2, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a3");
	assert_int_equal(sat_replica_outbox_last(f->r), 2);
	expect(f, "SELECT id, phone FROM account", "a1|100");
	expect(f, "SELECT count(*) FROM visit", "0");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_state_is_shown_at_the_checkpoint_only),
		cmocka_unit_test_setup_teardown(
			while_filling_pages_show_at_once, setup_filling,
			teardown),
		T(an_older_state_never_replaces_a_newer),
		T(equal_vectors_are_told_apart_by_seq),
		T(scopes_from_before_do_not_stay),
		T(another_epoch_replaces_whatever_the_seq),
		T(pending_edits_lie_over_new_states),
		T(a_foreign_change_before_the_echo_does_not_flicker),
		T(own_changesets_do_not_conflict),
		T(siblings_are_listed_and_resolved),
		T(resolving_nonsense_is_listed),
		T(intents_write_with_the_context_that_was_seen),
		T(intents_are_judged),
		T(folding_equals_the_echo),
		T(many_rows_are_folded_at_once),
		T(an_own_insert_as_held_gets_its_scope_by_reference),
		T(a_verdict_twice_is_one),
		T(a_verdict_on_nothing_is_refused),
		T(a_rejected_edit_shows_the_servers_state_again),
		T(a_rejected_insert_goes),
		T(a_rejected_delete_brings_the_row_back),
		T(a_coalesced_changeset_is_split_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
