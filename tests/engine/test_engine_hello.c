/* HELLO, CREDIT and enrolment: who may connect, ratchets, epochs. */
#include "tests/engine/engine_fixture.h"

#include <string.h>

#include "common/pki.h"

static struct world *world;
static struct device ann, bob;
static uint8_t dice;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	device_add(world, &bob, &world->bob);
	dice = 100;
	return 0;
}

static int teardown(void **state)
{
	device_fini(&ann);
	device_fini(&bob);
	return world_teardown(state);
}

static struct sat_msg_hello hello_of(const struct device *d)
{
	struct sat_msg_hello h = {
		.version_min = 1,
		.version_max = 1,
		.replica = d->replica,
		.epoch = sat_engine_epoch(world->engine),
		.catalogue = 1,
		.last_seq = d->seq,
		.raw_ms = world->now_ms + d->skew_ms + 1000,
	};

	memcpy(h.last_hash, d->hash, 16);
	return h;
}

static struct sat_msg_welcome welcome;
static struct sat_msg_error refusal;

static int hello(const struct device *d, const struct sat_msg_hello *h)
{
	uint8_t random[16];
	struct sat_err err;
	int rc;

	memset(random, ++dice, sizeof random);
	refusal.code = 0;
	group_begin(world);
	rc = sat_engine_hello(world->engine, d->replica, d->key_hash, h, random,
			      &world->arena, &welcome, &refusal, &err);
	(void)group_commit(world);
	return rc;
}

static void account(struct device *d)
{
	struct sat_id id = new_id(world);

	(void)add_insert(d, "account", &id);
	set_text(d, "name", "A");
	push_expect(d, SAT_VERDICT_APPLIED);
}

static void welcome_says_where_everybody_stands(void **state)
{
	struct sat_msg_hello h;

	(void)state;
	ann.skew_ms = 90000;
	account(&ann);
	h = hello_of(&ann);
	assert_int_equal(hello(&ann, &h), SAT_OK);
	assert_int_equal(welcome.last_seq, 1);
	assert_int_equal(welcome.offset_ms, -90000);
	assert_int_equal(welcome.epoch, sat_engine_epoch(world->engine));
	assert_int_equal(welcome.rights.role, SAT_ROLE_REP);
	assert_memory_equal(welcome.rights.home.b, world->t1.b, 16);
	assert_int_equal(welcome.rights.scope_count, 2);
	assert_int_equal(welcome.rights.scopes[0], 0);
	assert_int_equal(welcome.rights.scopes[1], scope_of(world, &world->t1));
	assert_true(welcome.push_window > 0);
	/* her account, and the figure it counts in */
	assert_int_equal(welcome.head,
			 stored(world, "user", &world->hq).seq + 2);
}

struct refuse {
	const char *why;
	int rc;
	enum sat_wire_error code;
	void (*change)(struct sat_msg_hello *h);
};

static void too_new(struct sat_msg_hello *h)
{
	h->version_min = h->version_max = 2;
}
static void other_replica(struct sat_msg_hello *h)
{
	h->replica++;
}
static void newer_catalogue(struct sat_msg_hello *h)
{
	h->catalogue = 99;
}
static void went_back(struct sat_msg_hello *h)
{
	h->last_seq = 0;
}
static void other_content(struct sat_msg_hello *h)
{
	h->last_hash[5] ^= 1;
}
static void stale_ratchet(struct sat_msg_hello *h)
{
	memset(h->ratchet, 9, 16);
}

static void hellos_that_are_refused(void **state)
{
	static const struct refuse rows[] = {
		{ "no common version", SAT_E_PROTO, SAT_WIRE_VERSION, too_new },
		{ "certificate of another", SAT_E_DENIED, SAT_WIRE_UNKNOWN,
		  other_replica },
		{ "catalogue", SAT_E_PROTO, SAT_WIRE_CATALOGUE,
		  newer_catalogue },
		{ "seq went back", SAT_E_PROTO, SAT_WIRE_FORKED, went_back },
		{ "another chain", SAT_E_PROTO, SAT_WIRE_FORKED,
		  other_content },
		{ "a ratchet we did not give", SAT_E_PROTO, SAT_WIRE_FORKED,
		  stale_ratchet },
	};
	struct sat_msg_hello h;
	struct sat_msg_credit c = { .has_ratchet = true };
	struct sat_err err;
	uint64_t epoch = sat_engine_epoch(world->engine);

	(void)state;
	account(&ann);
	h = hello_of(&ann);
	assert_int_equal(hello(&ann, &h), SAT_OK);
	memcpy(c.ratchet, welcome.ratchet, 16);
	group_begin(world);
	assert_int_equal(
		sat_engine_confirm(world->engine, ann.replica, &c, &err),
		SAT_OK);
	(void)group_commit(world);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		h = hello_of(&ann);
		memcpy(h.ratchet, c.ratchet, 16);
		rows[i].change(&h);
		if (hello(&ann, &h) != rows[i].rc ||
		    refusal.code != rows[i].code)
			fail_msg("%s: code %u", rows[i].why, refusal.code);
		assert_true(refusal.text.len > 0);
	}
	/* none of that turned the ratchet or the epoch */
	h = hello_of(&ann);
	memcpy(h.ratchet, c.ratchet, 16);
	assert_int_equal(hello(&ann, &h), SAT_OK);
	assert_int_equal(welcome.epoch, epoch);
	/* another key, an unknown device */
	ann.key_hash[0] ^= 1;
	assert_int_equal(hello(&ann, &h), SAT_E_DENIED);
	assert_int_equal(refusal.code, SAT_WIRE_UNKNOWN);
	ann.replica = h.replica = 77;
	assert_int_equal(hello(&ann, &h), SAT_E_NOTFOUND);
	assert_int_equal(refusal.code, SAT_WIRE_UNKNOWN);
}

/* The answer may be lost: both the last ratchet and the one before are good,
 * until one of them is seen. Then the other marks a copy. */
static void a_ratchet_turns_once_it_was_seen(void **state)
{
	struct sat_msg_hello h = hello_of(&ann);
	uint8_t first[16], second[16];

	(void)state;
	assert_int_equal(hello(&ann, &h), SAT_OK); /* WELCOME lost */
	assert_int_equal(hello(&ann, &h), SAT_OK);
	memcpy(first, welcome.ratchet, 16);
	memcpy(h.ratchet, first, 16);
	assert_int_equal(hello(&ann, &h), SAT_OK); /* lost again */
	assert_int_equal(hello(&ann, &h), SAT_OK);
	memcpy(second, welcome.ratchet, 16);
	memcpy(h.ratchet, second, 16);
	assert_int_equal(hello(&ann, &h), SAT_OK);
	memcpy(h.ratchet, first, 16);
	assert_int_equal(hello(&ann, &h), SAT_E_PROTO);
	assert_int_equal(refusal.code, SAT_WIRE_FORKED);
}

static void a_cursor_above_the_head_is_another_history(void **state)
{
	struct sat_msg_hello h;
	uint64_t epoch = sat_engine_epoch(world->engine), head, old_head;
	uint32_t self = sat_engine_self(world->engine);
	struct sat_id x;

	(void)state;
	account(&ann);
	h = hello_of(&ann);
	assert_int_equal(hello(&ann, &h), SAT_OK);
	old_head = welcome.head;
	h.cursor = old_head + 500;
	assert_int_equal(hello(&ann, &h), SAT_OK);
	assert_int_not_equal(welcome.epoch, epoch);
	/* the head as this history knows it, for min(cursor, head) */
	assert_int_equal(welcome.head, old_head);
	assert_int_not_equal(sat_engine_self(world->engine), self);
	/* Bob comes with the old epoch: no third history */
	h = hello_of(&bob);
	h.epoch = epoch;
	h.cursor = old_head + 900;
	epoch = welcome.epoch;
	assert_int_equal(hello(&bob, &h), SAT_OK);
	assert_int_equal(welcome.epoch, epoch);
	assert_int_equal(welcome.head, old_head);
	/* of a history that nobody here remembers nothing is in common */
	memcpy(h.ratchet, welcome.ratchet, 16);
	h.epoch = 12345;
	assert_int_equal(hello(&bob, &h), SAT_OK);
	assert_int_equal(welcome.head, 0);
	/* positions and dots go on above all that anybody has seen */
	x = account_x(world);
	head = stored(world, "account", &x).seq;
	assert_true(head > old_head + 900);
	assert_int_equal(hold(world, "account", &x).vv.dots[0].replica,
			 sat_engine_self(world->engine));
}

static void a_verdict_we_never_gave_is_another_history(void **state)
{
	struct sat_msg_hello h = hello_of(&ann);
	uint64_t epoch = sat_engine_epoch(world->engine);

	(void)state;
	h.last_seq = h.verdict_seq = 3;
	assert_int_equal(hello(&ann, &h), SAT_OK);
	assert_int_not_equal(welcome.epoch, epoch);
	assert_int_equal(welcome.last_seq, 0);
}

static void confirmations_only_go_forward(void **state)
{
	struct sat_msg_credit c = { .verdict_seq = 9, .cursor = UINT64_MAX };
	struct sat_device d;
	struct sat_err err;

	(void)state;
	account(&ann);
	for (int i = 0; i < 3; i++) {
		group_begin(world);
		assert_int_equal(sat_engine_confirm(world->engine, ann.replica,
						    &c, &err),
				 SAT_OK);
		(void)group_commit(world);
		assert_int_equal(sat_store_device_get(world->store, ann.replica,
						      &d, &err),
				 SAT_OK);
		/* what nobody can have seen is not believed */
		assert_int_equal(d.verdict_seq, i == 0 ? 0 : 1);
		assert_int_equal(d.cursor, i == 0 ? 0 : 5);
		c.verdict_seq = i == 0 ? 1 : 0;
		c.cursor = i == 0 ? 5 : 3;
	}
}

/* ---- enrolment ---------------------------------------------------------- */

static int enrol(const char *token, uint8_t key, struct sat_device *ret)
{
	uint8_t hash[32];
	struct sat_user user;
	struct sat_err err;
	int rc;

	memset(hash, key, sizeof hash);
	group_begin(world);
	rc = sat_engine_enrol(world->engine, sat_slice_str(token), hash,
			      sat_slice_str("tablet"), ret, &user, &err);
	(void)group_commit(world);
	if (rc == SAT_OK)
		assert_string_equal(user.login, "ann");
	return rc;
}

static void invitations_are_used_once(void **state)
{
	struct field off[] = { { "active", sat_value_int(0) },
			       { NULL, sat_value_null() } };
	char token[SAT_TOKEN_CHARS + 1], late[SAT_TOKEN_CHARS + 1];
	struct sat_invite inv = { .user = world->ann };
	struct sat_device first, again;
	struct sat_err err;

	(void)state;
	inv.expires_ms = world->now_ms + 100000;
	assert_int_equal(sat_token_new(token, &err), SAT_OK);
	assert_int_equal(sat_token_new(late, &err), SAT_OK);
	group_begin(world);
	assert_int_equal(
		sat_token_hash(sat_slice_str(token), inv.token_hash, &err),
		SAT_OK);
	assert_int_equal(sat_store_invite_put(world->store, &inv, &err),
			 SAT_OK);
	assert_int_equal(
		sat_token_hash(sat_slice_str(late), inv.token_hash, &err),
		SAT_OK);
	assert_int_equal(sat_store_invite_put(world->store, &inv, &err),
			 SAT_OK);
	(void)group_commit(world);

	assert_int_equal(enrol("abc", 1, &first), SAT_E_DENIED);
	assert_int_equal(enrol(token, 1, &first), SAT_OK);
	assert_int_equal(first.replica, bob.replica + 1);
	/* the answer was lost: same key, same replica */
	assert_int_equal(enrol(token, 1, &again), SAT_OK);
	assert_int_equal(again.replica, first.replica);
	assert_int_equal(enrol(token, 2, &again), SAT_E_DENIED);
	world->now_ms += 200000;
	assert_int_equal(enrol(late, 3, &again), SAT_E_DENIED);
	world->now_ms -= 200000;
	local_ok(world, SAT_OP_UPDATE, "user", &world->ann, off);
	assert_int_equal(enrol(late, 3, &again), SAT_E_DENIED);
}

/* ids are never given twice, also not after a group that went away */
static void replica_ids_survive_a_restart(void **state)
{
	struct device extra;
	struct sat_err err;

	(void)state;
	sat_engine_close(world->engine);
	assert_int_equal(sat_engine_open(world->store, &world->engine, &err),
			 SAT_OK);
	device_add(world, &extra, &world->max);
	assert_int_equal(extra.replica, bob.replica + 1);
	device_fini(&extra);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(welcome_says_where_everybody_stands),
		TEST(hellos_that_are_refused),
		TEST(a_ratchet_turns_once_it_was_seen),
		TEST(a_cursor_above_the_head_is_another_history),
		TEST(a_verdict_we_never_gave_is_another_history),
		TEST(confirmations_only_go_forward),
		TEST(invitations_are_used_once),
		TEST(replica_ids_survive_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
