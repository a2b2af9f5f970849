/* What may be forgotten and when: deleted rows, settled ledger entries, the
 * recovery window. */
#include "server/commit/collect.h"
#include "server/commit/recover.h"

#include <string.h>

#include "tests/engine/engine_fixture.h"

enum { KEEP_MS = 100 * 1000, SILENT_MS = 1000 * 1000, HASTE_MS = 10 * 1000 };

static struct world *world;
static struct device ann, bob;
static struct sat_id x;
static struct sat_keep keep;
static uint8_t dice;
static uint32_t grants[64]; /* that they have been told */
static struct sat_msg_welcome welcome;
static struct sat_pull_start start;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	device_add(world, &bob, &world->bob);
	keep = (struct sat_keep){ .deleted_ms = KEEP_MS,
				  .silent_ms = SILENT_MS,
				  .recovery_ms = SILENT_MS };
	sat_engine_keep_for(world->engine, &keep);
	dice = 0;
	x = account_x(world);
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

/* The device comes back from that cursor, with what it has made. */
static void hello(struct device *d, uint64_t cursor, struct sat_slice mark)
{
	struct sat_msg_hello h = {
		.version_min = 1,
		.version_max = 1,
		.replica = d->replica,
		.epoch = sat_engine_epoch(world->engine),
		.catalogue = 1,
		.cursor = cursor,
		.last_seq = d->seq,
		.raw_ms = world->now_ms,
		.mark = mark,
	};
	struct sat_msg_error refusal;
	struct sat_device now;
	uint8_t random[16];
	struct sat_err err;

	assert_int_equal(
		sat_store_device_get(world->store, d->replica, &now, &err),
		SAT_OK);
	memcpy(h.ratchet, now.ratchet_new, 16);
	memcpy(h.last_hash, d->hash, 16);
	h.grants = grants[d->replica % 64];
	memset(random, ++dice, sizeof random);
	group_begin(world);
	assert_int_equal(sat_engine_hello(world->engine, d->replica,
					  d->key_hash, &h, random,
					  &world->arena, &welcome, &refusal,
					  &err),
			 SAT_OK);
	assert_int_equal(sat_engine_pull_start(world->engine, &h, &welcome,
					       &world->arena, &start, &err),
			 SAT_OK);
	(void)group_commit(world);
	grants[d->replica % 64] = welcome.rights.version;
}

static void here(struct device *d)
{
	hello(d, sat_engine_head(world->engine), (struct sat_slice){ 0 });
}

static struct sat_collected collect(void)
{
	struct sat_collected sum = { 0 }, c = { .more = true };
	struct sat_err err;

	for (int i = 0; c.more && i < 100; i++) {
		group_begin(world);
		assert_int_equal(sat_engine_collect(world->engine, &c, &err),
				 SAT_OK);
		(void)group_commit(world);
		sum.rows += c.rows;
		sum.entries += c.entries;
		sum.closed = sum.closed || c.closed;
		sum.floor = c.floor;
	}
	return sum;
}

static void delete_x(void)
{
	local_ok(world, SAT_OP_DELETE, "account", &x, NULL);
}

static void later(int64_t ms)
{
	/* group by group, so that the head has been noted on the way */
	for (int64_t i = 0; i < ms / HASTE_MS; i++) {
		world->now_ms += HASTE_MS;
		group_begin(world);
		(void)group_commit(world);
	}
}

static void when_all_have_passed_and_time_is_up(void **state)
{
	(void)state;
	delete_x();
	here(&ann);
	later(2 * KEEP_MS);
	assert_int_equal(collect().rows, 0); /* Bob never said anything */
	here(&bob);
	assert_int_equal(collect().rows, 1 + 1); /* and its figure */
	assert_int_equal(stored(world, "account", &x).seq, 0);
	assert_int_equal(collect().rows, 0);
}

static void not_before_its_time(void **state)
{
	(void)state;
	delete_x();
	here(&ann);
	here(&bob);
	later(KEEP_MS / 2);
	assert_int_equal(collect().rows, 0);
	later(KEEP_MS);
	assert_int_equal(collect().rows, 1 + 1);
}

/* Bob has seen the row go, but made something before that and has not sent
 * it: it may be an edit of that row. */
static void what_was_made_before_is_decided_first(void **state)
{
	struct held h = hold(world, "account", &x);
	struct sat_id other;
	uint64_t seen;

	(void)state;
	delete_x();
	h.seq = 0;
	(void)add_update(&bob, &h);
	set_text(&bob, "phone", "bob");
	seal(&bob);
	seen = sat_engine_head(world->engine);
	later(2 * KEEP_MS);
	here(&ann);
	here(&bob);
	assert_int_equal(collect().rows, 0);
	/* that he has come still further makes no difference */
	here(&bob);
	assert_int_equal(collect().rows, 0);
	group_begin(world);
	assert_int_equal(push_bytes(&bob, sat_buf_peek(&bob.bytes)), SAT_OK);
	(void)group_commit(world);
	assert_int_equal(bob.verdict.status, SAT_VERDICT_MERGED);
	assert_true(is_alive(world, "account", &x)); /* an update wins */
	/* now nothing of before is missing; what he made later is no matter */
	other = new_id(world);
	(void)add_insert(&bob, "account", &other);
	set_text(&bob, "name", "later");
	seal(&bob);
	assert_true(collect().floor >= seen);
}

static void credit_says_what_was_made_before(void **state)
{
	struct sat_msg_credit c = { .last_seq = 1 };
	struct held h = hold(world, "account", &x);
	struct sat_err err;

	(void)state;
	delete_x();
	(void)add_update(&bob, &h);
	set_text(&bob, "phone", "bob");
	seal(&bob);
	later(2 * KEEP_MS);
	here(&ann);
	c.cursor = sat_engine_head(world->engine);
	group_begin(world);
	assert_int_equal(
		sat_engine_confirm(world->engine, bob.replica, &c, &err),
		SAT_OK);
	(void)group_commit(world);
	assert_int_equal(collect().rows, 0);
}

static void the_silent_do_not_hold_it_up(void **state)
{
	uint64_t before = sat_engine_head(world->engine), floor;

	(void)state;
	hello(&bob, before, (struct sat_slice){ 0 });
	assert_false(welcome.rebase);
	delete_x();
	later(SILENT_MS + KEEP_MS);
	here(&ann);
	assert_int_equal(collect().rows, 1 + 1);
	floor = collect().floor;
	/* Bob is back: he has missed something, Ann has not */
	hello(&bob, before, (struct sat_slice){ 0 });
	assert_true(welcome.rebase);
	assert_int_equal(start.at.cursor, 0);
	assert_false(start.live);
	hello(&bob, floor - 1, (struct sat_slice){ 0 });
	assert_true(welcome.rebase);
	hello(&bob, floor, (struct sat_slice){ 0 });
	assert_false(welcome.rebase);
	assert_int_equal(start.at.cursor, floor);
	here(&ann);
	assert_false(welcome.rebase);
}

/* A pull that was cut goes on, unless rows that it brought were forgotten. */
static void a_mark_below_the_floor_is_worth_nothing(void **state)
{
	struct sat_feed_mark m = { .epoch = sat_engine_epoch(world->engine) };
	uint8_t bytes[SAT_FEED_MARK_BYTES];
	struct sat_slice mark = { bytes, sizeof bytes };
	uint64_t floor;

	(void)state;
	hello(&bob, 0, (struct sat_slice){ 0 });
	m.version = m.base = welcome.rights.version;
	delete_x();
	later(SILENT_MS + KEEP_MS);
	here(&ann);
	floor = collect().floor;
	m.at.upto = floor - 1;
	sat_feed_mark_pack(&m, bytes);
	hello(&bob, 0, mark);
	assert_false(welcome.resumed);
	m.at.upto = floor;
	sat_feed_mark_pack(&m, bytes);
	hello(&bob, 0, mark);
	assert_true(welcome.resumed);
	/* a rebase goes on as well */
	hello(&bob, 1, mark);
	assert_true(welcome.rebase);
	assert_true(welcome.resumed);
}

static void a_reader_far_behind_is_sent_away(void **state)
{
	struct sat_feed_ask ask = { .replica = bob.replica,
				    .bytes_max = 100000 };
	struct sat_feed_answer answer = { .data_bytes = 0 };
	struct sat_err err;

	(void)state;
	ask.at.cursor = sat_engine_head(world->engine);
	delete_x();
	later(SILENT_MS + KEEP_MS);
	here(&ann);
	assert_int_equal(collect().rows, 1 + 1);
	ask.rights = &welcome.rights;
	sat_buf_init(&answer.frames, 1 << 20);
	assert_int_equal(
		sat_feed_read(world->reader, world->zip, &ask, &answer, &err),
		SAT_E_BUSY);
	ask.at.cursor = 0;
	assert_int_equal(
		sat_feed_read(world->reader, world->zip, &ask, &answer, &err),
		SAT_OK);
	sat_buf_fini(&answer.frames);
}

static void parents_stay_while_children_live(void **state)
{
	struct sat_id visit = new_id(world);

	(void)state;
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &x);
	push_expect(&ann, SAT_VERDICT_APPLIED);
	delete_x();
	later(2 * KEEP_MS);
	here(&ann);
	here(&bob);
	assert_int_equal(collect().rows, 1); /* the day's new accounts: none */
	local_ok(world, SAT_OP_DELETE, "visit", &visit, NULL);
	later(2 * KEEP_MS);
	here(&ann);
	here(&bob);
	assert_int_equal(collect().rows, 2 + 1); /* and the day's visits */
}

/* More than one call's worth, in several tables. */
static void piece_by_piece(void **state)
{
	struct sat_collected c;
	struct sat_err err;
	struct sat_id id;
	struct field f[] = { { "name", text("n") },
			     { "territory_id", idv(&world->t1) },
			     { NULL, sat_value_null() } };

	(void)state;
	for (int i = 0; i < 2500; i++) {
		id = new_id(world);
		local_ok(world, SAT_OP_INSERT, "account", &id, f);
		local_ok(world, SAT_OP_DELETE, "account", &id, NULL);
	}
	later(2 * KEEP_MS);
	here(&ann);
	here(&bob);
	group_begin(world);
	assert_int_equal(sat_engine_collect(world->engine, &c, &err), SAT_OK);
	(void)group_commit(world);
	assert_true(c.rows <= 1000);
	assert_true(c.more);
	assert_int_equal(c.rows + collect().rows, 2500);
	assert_true(is_alive(world, "account", &x));
}

/* ---- the ledger ---------------------------------------------------------- */

static void settled_entries_go_open_ones_stay(void **state)
{
	struct held h = hold(world, "account", &x);
	struct sat_collected c;

	(void)state;
	(void)add_update(&ann, &h); /* lww: settled at once */
	set_text(&ann, "phone", "1");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	(void)add_update(&ann, &h);
	set_text(&ann, "name", "Ann's");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	local_ok(world, SAT_OP_UPDATE, "account", &x,
		 (struct field[]){ { "email", text("s@x") },
				   { NULL, sat_value_null() } });
	(void)add_update(&bob, &h);
	set_text(&bob, "phone", "2");
	set_text(&bob, "name", "Bob's");
	push_expect(&bob, SAT_VERDICT_MERGED);
	assert_int_equal(ledger_of(world, &x, NULL).count, 2);
	assert_int_equal(ledger_of(world, &x, NULL).open_count, 1);
	later(2 * KEEP_MS);
	assert_int_equal(collect().entries, 0); /* for ever, unless told */
	keep.settled_ms = 3 * KEEP_MS;
	sat_engine_keep_for(world->engine, &keep);
	assert_int_equal(collect().entries, 0); /* not yet */
	later(2 * KEEP_MS);
	c = collect();
	assert_int_equal(c.entries, 1);
	assert_int_equal(ledger_of(world, &x, "name").open_count, 1);
	assert_int_equal(ledger_of(world, &x, "phone").count, 0);
	assert_int_equal(collect().entries, 0);
}

/* ---- after a restore ----------------------------------------------------- */

static void another_history(void)
{
	static const uint8_t random[16] = { 77 };
	struct sat_epoch_start how = { .why = "a test", .random = random };
	struct sat_err err;

	group_begin(world);
	assert_int_equal(sat_engine_new_epoch(world->engine, &how, &err),
			 SAT_OK);
	(void)group_commit(world);
}

static bool is_open(void)
{
	struct sat_recovery_status s;

	sat_engine_recovery(world->engine, &s);
	return s.open;
}

static void the_window_closes_when_all_are_back(void **state)
{
	struct sat_id id = new_id(world);

	(void)state;
	here(&ann);
	here(&bob);
	another_history();
	assert_true(is_open());
	here(&ann);
	assert_false(collect().closed);
	/* Bob is here, but has not brought back what he has */
	(void)add_insert(&bob, "account", &id);
	set_text(&bob, "name", "lost");
	seal(&bob);
	here(&bob);
	assert_false(collect().closed);
	assert_true(is_open());
	group_begin(world);
	assert_int_equal(push_bytes(&bob, sat_buf_peek(&bob.bytes)), SAT_OK);
	(void)group_commit(world);
	assert_true(collect().closed);
	assert_false(is_open());
}

static void the_window_closes_in_the_end(void **state)
{
	(void)state;
	delete_x();
	here(&ann);
	here(&bob);
	later(2 * KEEP_MS);
	another_history();
	here(&ann);
	/* who is not back may still refer to what was deleted */
	assert_int_equal(collect().rows, 0);
	later(SILENT_MS / 2);
	here(&bob);
	here(&ann);
	keep.silent_ms = 100 * SILENT_MS;
	sat_engine_keep_for(world->engine, &keep);
	another_history();
	here(&ann); /* but not Bob */
	later(SILENT_MS / 2);
	assert_false(collect().closed);
	later(SILENT_MS);
	assert_true(collect().closed);
	assert_false(is_open());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(when_all_have_passed_and_time_is_up),
		TEST(not_before_its_time),
		TEST(what_was_made_before_is_decided_first),
		TEST(credit_says_what_was_made_before),
		TEST(the_silent_do_not_hold_it_up),
		TEST(a_mark_below_the_floor_is_worth_nothing),
		TEST(a_reader_far_behind_is_sent_away),
		TEST(parents_stay_while_children_live),
		TEST(piece_by_piece),
		TEST(settled_entries_go_open_ones_stay),
		TEST(the_window_closes_when_all_are_back),
		TEST(the_window_closes_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
