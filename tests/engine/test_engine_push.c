/* The chain of changesets and what a refusal leaves behind. */
#include "tests/engine/engine_fixture.h"

#include <string.h>

static struct world *world;
static struct device ann, bob;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	device_add(world, &bob, &world->bob);
	return 0;
}

static int teardown(void **state)
{
	check_digests(world);
	check_feed(world);
	device_fini(&ann);
	device_fini(&bob);
	return world_teardown(state);
}

static struct sat_id new_account(struct device *d, const char *name)
{
	struct sat_id id = new_id(world);

	(void)add_insert(d, "account", &id);
	if (name != NULL)
		set_text(d, "name", name);
	set_id(d, "territory_id", &world->t1);
	return id;
}

static int refused(struct device *d, struct sat_slice bytes)
{
	int rc;

	group_begin(world);
	rc = push_bytes(d, bytes);
	(void)group_commit(world);
	return rc;
}

static void gaps_are_refused(void **state)
{
	struct sat_id id = new_account(&ann, "A");
	uint64_t before;

	(void)state;
	before = hold(world, "account", &id).seq;
	ann.seq = 1; /* seq 2 without 1 */
	seal(&ann);
	assert_int_equal(refused(&ann, sat_buf_peek(&ann.bytes)), SAT_E_PROTO);
	assert_int_equal(ann.refusal.code, SAT_WIRE_SEQ);
	assert_int_equal(before, 0);
	assert_int_equal(hold(world, "account", &id).seq, 0);
}

static void another_chain_is_a_copy(void **state)
{
	struct sat_buf first;
	uint8_t hash[16];

	(void)state;
	(void)new_account(&ann, "A");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	memcpy(hash, ann.hash, sizeof hash);
	sat_buf_init(&first, SAT_CHANGESET_BYTES_MAX);
	assert_int_equal(sat_buf_append(&first, sat_buf_peek(&ann.bytes).ptr,
					sat_buf_peek(&ann.bytes).len),
			 SAT_OK);
	/* a predecessor that we never saw */
	ann.hash[3] ^= 1;
	(void)new_account(&ann, "B");
	seal(&ann);
	assert_int_equal(refused(&ann, sat_buf_peek(&ann.bytes)), SAT_E_PROTO);
	assert_int_equal(ann.refusal.code, SAT_WIRE_FORKED);
	/* another content under a number that is used */
	ann.seq = 0;
	memset(ann.hash, 0, sizeof ann.hash);
	(void)new_account(&ann, "C");
	seal(&ann);
	assert_int_equal(refused(&ann, sat_buf_peek(&ann.bytes)), SAT_E_PROTO);
	assert_int_equal(ann.refusal.code, SAT_WIRE_FORKED);
	/* the true one is still answered, as it was */
	ann.seq = 1;
	assert_int_equal(refused(&ann, sat_buf_peek(&first)), SAT_OK);
	assert_true(ann.verdict.flags & SAT_VERDICT_REPLAY);
	memcpy(ann.hash, hash, sizeof hash);
	(void)new_account(&ann, "D");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	sat_buf_fini(&first);
}

static void a_rejected_changeset_does_not_block_the_next(void **state)
{
	struct sat_id bad = new_account(&ann, NULL), good;
	struct sat_msg_verdict first;

	(void)state;
	push_rejected(&ann, SAT_REASON_REQUIRED, "name");
	first = ann.verdict;
	assert_int_equal(refused(&ann, sat_buf_peek(&ann.bytes)), SAT_OK);
	assert_int_equal(ann.verdict.status, SAT_VERDICT_REJECTED);
	assert_int_equal(ann.verdict.reason, first.reason);
	assert_true(ann.verdict.flags & SAT_VERDICT_REPLAY);
	good = new_account(&ann, "Good");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_false(is_alive(world, "account", &bad));
	assert_true(is_alive(world, "account", &good));
}

/* what builds on a rejected row says so; what builds on nothing is gone */
static void depends_on_a_rejected_row(void **state)
{
	struct sat_id bad = new_account(&ann, NULL), visit = new_id(world);
	struct sat_id unknown = new_id(world);
	struct held h = { .table = table(world, "account") };

	(void)state;
	push_rejected(&ann, SAT_REASON_REQUIRED, "name");
	h.id = bad;
	(void)add_update(&ann, &h);
	set_text(&ann, "phone", "1");
	push_rejected(&ann, SAT_REASON_DEPENDS, NULL);
	assert_int_equal(ann.verdict.depends.replica, ann.replica);
	assert_int_equal(ann.verdict.depends.seq, 1);
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &bad);
	push_rejected(&ann, SAT_REASON_DEPENDS, "account_id");
	/* the visit was an insert and rejected: it is one to depend on too */
	h = (struct held){ .table = table(world, "visit"), .id = visit };
	(void)add_delete(&ann, &h);
	push_rejected(&ann, SAT_REASON_DEPENDS, NULL);
	assert_int_equal(ann.verdict.depends.seq, 3);
	/* for Bob the same row never was */
	h = (struct held){ .table = table(world, "account"), .id = bad };
	(void)add_update(&bob, &h);
	set_text(&bob, "phone", "1");
	push_rejected(&bob, SAT_REASON_GONE, NULL);
	(void)add_insert(&bob, "visit", &visit);
	set_id(&bob, "account_id", &unknown);
	push_rejected(&bob, SAT_REASON_PARENT, "account_id");
	/* a retry under a new number makes it real */
	(void)add_insert(&ann, "account", &bad);
	set_text(&ann, "name", "Fixed");
	set_id(&ann, "territory_id", &world->t1);
	push_expect(&ann, SAT_VERDICT_APPLIED);
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &bad);
	push_expect(&ann, SAT_VERDICT_APPLIED);
}

/* what an undone changeset had made is forgotten in memory too */
static void an_undone_parent_is_unknown_again(void **state)
{
	struct sat_id account = new_id(world), visit = new_id(world);
	struct sat_id task = new_id(world);

	(void)state;
	(void)add_insert(&ann, "account", &account);
	set_text(&ann, "name", "A");
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &account);
	(void)add_insert(&ann, "task", &task); /* without its title */
	push_rejected(&ann, SAT_REASON_REQUIRED, "title");
	(void)add_insert(&bob, "visit", &visit);
	set_id(&bob, "account_id", &account);
	push_rejected(&bob, SAT_REASON_PARENT, "account_id");
}

static void parents_may_come_later_in_a_changeset(void **state)
{
	struct sat_id account = new_id(world), visit = new_id(world);
	struct sat_id event = new_id(world), lonely = new_id(world);
	struct sat_id unknown = new_id(world);

	(void)state;
	(void)add_insert(&ann, "visit_event", &event);
	set_id(&ann, "visit_id", &visit);
	set_text(&ann, "kind", "check_in");
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &account);
	(void)add_insert(&ann, "account", &account);
	set_text(&ann, "name", "A");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_true(is_alive(world, "visit_event", &event));
	/* delta i has position first_seq + i, whenever it was applied */
	assert_int_equal(stored(world, "visit_event", &event).seq,
			 ann.verdict.first_seq);
	assert_int_equal(stored(world, "account", &account).seq,
			 ann.verdict.first_seq + 2);
	assert_true(in_scope(world, "visit_event", &event,
			     scope_of(world, &world->t1)));
	(void)add_insert(&ann, "visit", &lonely);
	set_id(&ann, "account_id", &unknown);
	push_rejected(&ann, SAT_REASON_PARENT, "account_id");
}

static void contexts_cannot_be_forged(void **state)
{
	struct sat_id id = account_x(world);
	struct held h = hold(world, "account", &id);
	struct sat_dot dots[2];

	(void)state;
	dots[0] = h.vv.dots[0];
	dots[1] = (struct sat_dot){ bob.replica, 1000000 };
	h.vv = (struct sat_vv){ dots, 2 };
	(void)add_delete(&ann, &h);
	push_rejected(&ann, SAT_REASON_FORGED, NULL);
	assert_true(is_alive(world, "account", &id));
	/* of her own only what came before */
	dots[1] = (struct sat_dot){ ann.replica, 2 };
	if (dots[1].replica < dots[0].replica) {
		struct sat_dot swap = dots[0];

		dots[0] = dots[1];
		dots[1] = swap;
	}
	(void)add_delete(&ann, &h);
	push_rejected(&ann, SAT_REASON_FORGED, NULL);
	h = hold(world, "account", &id);
	(void)add_delete(&ann, &h);
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_false(is_alive(world, "account", &id));
}

static void values_are_checked(void **state)
{
	struct sat_id id = new_account(&ann, "A"), other;

	(void)state;
	set_text(&ann, "class", "emperor");
	push_rejected(&ann, SAT_REASON_VALUE, "class");
	other = new_account(&ann, "B");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_false(is_alive(world, "account", &id));
	assert_true(is_alive(world, "account", &other));
}

static void bytes_that_do_not_decode_are_refused(void **state)
{
	static const uint8_t junk[] = { 0x91, 0xc1, 0x00 };
	struct sat_slice bytes;

	(void)state;
	assert_int_equal(refused(&ann, (struct sat_slice){ junk, 3 }),
			 SAT_E_PROTO);
	assert_int_equal(ann.refusal.code, SAT_WIRE_PROTOCOL);
	assert_int_equal(refused(&ann, (struct sat_slice){ NULL, 0 }),
			 SAT_E_PROTO);
	/* somebody else's changeset over Ann's connection */
	(void)new_account(&bob, "B");
	seal(&bob);
	assert_int_equal(refused(&ann, sat_buf_peek(&bob.bytes)), SAT_E_PROTO);
	assert_int_equal(ann.refusal.code, SAT_WIRE_PROTOCOL);
	/* cut short: every prefix is judged without harm */
	(void)new_account(&ann, "A");
	seal(&ann);
	bytes = sat_buf_peek(&ann.bytes);
	for (size_t n = 0; n < bytes.len; n++) {
		int rc = refused(&ann, (struct sat_slice){ bytes.ptr, n });

		assert_true(rc == SAT_E_PROTO ||
			    ann.verdict.status == SAT_VERDICT_REJECTED);
		if (rc == SAT_OK) /* the head was whole: that seq is used */
			break;
	}
}

static void a_newer_catalogue_waits_for_the_server(void **state)
{
	(void)state;
	(void)new_account(&ann, "A");
	ann.cs.catalogue = 1000;
	seal(&ann);
	assert_int_equal(refused(&ann, sat_buf_peek(&ann.bytes)), SAT_E_PROTO);
	assert_int_equal(ann.refusal.code, SAT_WIRE_CATALOGUE);
	ann.cs.catalogue = 0;
}

static void revoked_devices_and_users_are_refused(void **state)
{
	struct field off[] = { { "active", sat_value_int(0) },
			       { NULL, sat_value_null() } };
	struct sat_device d;
	struct sat_err err;

	(void)state;
	(void)new_account(&ann, "A");
	seal(&ann);
	group_begin(world);
	assert_int_equal(
		sat_store_device_get(world->store, ann.replica, &d, &err),
		SAT_OK);
	d.state = SAT_DEVICE_REVOKED;
	assert_int_equal(sat_store_device_put(world->store, &d, &err), SAT_OK);
	(void)group_commit(world);
	assert_int_equal(refused(&ann, sat_buf_peek(&ann.bytes)), SAT_E_DENIED);
	assert_int_equal(ann.refusal.code, SAT_WIRE_REVOKED);
	/* a user who was let go, although his rights were cached */
	(void)new_account(&bob, "B");
	push_expect(&bob, SAT_VERDICT_APPLIED);
	local_ok(world, SAT_OP_UPDATE, "user", &world->bob, off);
	(void)new_account(&bob, "C");
	seal(&bob);
	assert_int_equal(refused(&bob, sat_buf_peek(&bob.bytes)), SAT_E_DENIED);
	assert_int_equal(bob.refusal.code, SAT_WIRE_REVOKED);
}

/* a group that is abandoned leaves nothing, not even in memory */
static void an_abandoned_group_never_was(void **state)
{
	struct sat_id id = new_account(&ann, "A");
	uint64_t first;

	(void)state;
	seal(&ann);
	group_begin(world);
	assert_int_equal(push_bytes(&ann, sat_buf_peek(&ann.bytes)), SAT_OK);
	first = ann.verdict.first_seq;
	sat_engine_abandon(world->engine);
	assert_false(is_alive(world, "account", &id));
	check_digests(world);
	group_begin(world);
	assert_int_equal(push_bytes(&ann, sat_buf_peek(&ann.bytes)), SAT_OK);
	(void)group_commit(world);
	assert_int_equal(ann.verdict.first_seq, first);
	assert_false(ann.verdict.flags & SAT_VERDICT_REPLAY);
	assert_true(is_alive(world, "account", &id));
}

/* several changesets of one row in one group: only the last is in the feed */
static void one_group_many_changesets(void **state)
{
	struct sat_id id = account_x(world);
	struct held h = hold(world, "account", &id);
	struct sat_commit_info info;

	(void)state;
	(void)add_update(&ann, &h);
	set_text(&ann, "phone", "1");
	seal(&ann);
	(void)add_update(&bob, &h);
	set_text(&bob, "email", "e");
	seal(&bob);
	group_begin(world);
	assert_int_equal(push_bytes(&ann, sat_buf_peek(&ann.bytes)), SAT_OK);
	assert_int_equal(push_bytes(&bob, sat_buf_peek(&bob.bytes)), SAT_OK);
	info = group_commit(world);
	assert_int_equal(info.scope_count, 1);
	assert_int_equal(info.scopes[0], scope_of(world, &world->t1));
	assert_int_equal(info.commit_seq, stored(world, "account", &id).seq);
	assert_false(info.rights_changed);
	expect_text(world, "account", &id, "phone", "1");
	expect_text(world, "account", &id, "email", "e");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(gaps_are_refused),
		TEST(another_chain_is_a_copy),
		TEST(a_rejected_changeset_does_not_block_the_next),
		TEST(depends_on_a_rejected_row),
		TEST(an_undone_parent_is_unknown_again),
		TEST(parents_may_come_later_in_a_changeset),
		TEST(contexts_cannot_be_forged),
		TEST(values_are_checked),
		TEST(bytes_that_do_not_decode_are_refused),
		TEST(a_newer_catalogue_waits_for_the_server),
		TEST(revoked_devices_and_users_are_refused),
		TEST(an_abandoned_group_never_was),
		TEST(one_group_many_changesets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
