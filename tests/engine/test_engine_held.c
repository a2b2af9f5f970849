/* Echo suppression: AS_HELD only when the device holds exactly the result. */
#include "server/commit/recover.h"
#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <string.h>

static struct world *world;
static struct device ann, bob;
static struct sat_id x;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	device_add(world, &bob, &world->bob);
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

static void push_held(struct device *d, bool held)
{
	push_expect(d, SAT_VERDICT_APPLIED);
	assert_int_equal((d->verdict.flags & SAT_VERDICT_AS_HELD) != 0, held);
}

static void edit(struct device *d, const struct held *h, const char *phone)
{
	(void)add_update(d, h);
	set_text(d, "phone", phone);
}

static void an_edit_of_the_current_state_is_held(void **state)
{
	struct held h = hold(world, "account", &x), first = h;
	struct sat_dot dots[2];

	(void)state;
	edit(&ann, &h, "1");
	push_held(&ann, true);
	assert_true(stored(world, "account", &x).held);
	assert_int_equal(stored(world, "account", &x).origin, ann.replica);
	assert_int_equal(stored(world, "account", &x).seq,
			 ann.verdict.first_seq);
	/* the next one was made before that verdict: still base 1, but the
	 * move in between was her own held one */
	dots[0] = first.vv.dots[0];
	dots[1] = (struct sat_dot){ ann.replica, 1 };
	first.vv = (struct sat_vv){ dots, 2 };
	edit(&ann, &first, "2");
	push_held(&ann, true);
	expect_text(world, "account", &x, "phone", "2");
}

/* The counter-example to comparing vectors: a foreign change slips in between
 * two of hers; the second one's context does not tell, its base does. */
static void a_foreign_change_in_between_is_not_held(void **state)
{
	struct held h = hold(world, "account", &x), mine = h;
	struct sat_dot dots[2];

	(void)state;
	edit(&ann, &h, "1");
	push_held(&ann, true);
	(void)add_update(&bob, &h);
	set_text(&bob, "email", "bob@x");
	push_held(&bob, false);
	assert_false(stored(world, "account", &x).held);
	dots[0] = h.vv.dots[0];
	dots[1] = (struct sat_dot){ ann.replica, 1 };
	mine.vv = (struct sat_vv){ dots, 2 };
	edit(&ann, &mine, "2");
	push_held(&ann, false);
	assert_false(stored(world, "account", &x).held);
}

static void one_delta_that_is_not_held_spoils_all(void **state)
{
	struct held h = hold(world, "account", &x);
	struct sat_id y = account_x(world);
	struct held hy = hold(world, "account", &y);

	(void)state;
	edit(&bob, &hy, "9");
	push_held(&bob, true);
	edit(&ann, &h, "1");
	(void)add_update(&ann, &hy);
	set_text(&ann, "email", "late@x");
	push_held(&ann, false);
	assert_false(stored(world, "account", &x).held);
	assert_false(stored(world, "account", &y).held);
	expect_text(world, "account", &x, "phone", "1");
}

static void corrected_stamps_and_steps_are_not_held(void **state)
{
	static const struct sat_clock_step step = { NOON_MS, 1000 };
	struct held h = hold(world, "account", &x);

	(void)state;
	edit(&ann, &h, "1"); /* her clock is fast and the server not told */
	ann.deltas[0].at_ms += 3600 * 1000;
	ann.deltas[0].changes[0].at_ms += 3600 * 1000;
	push_held(&ann, false);
	h = hold(world, "account", &x);
	ann.clock.steps = &step;
	ann.clock.step_count = 1;
	edit(&ann, &h, "2");
	push_held(&ann, false);
	ann.clock.step_count = 0;
	h = hold(world, "account", &x);
	edit(&ann, &h, "3");
	push_held(&ann, true);
}

static void add_visit(struct sat_id *id, bool complete)
{
	*id = new_id(world);
	(void)add_insert(&ann, "visit", id);
	set_id(&ann, "account_id", &x);
	if (!complete)
		return;
	set_id(&ann, "user_id", &world->ann);
	set_id(&ann, "territory_id", &world->t1);
	(void)set_value(&ann, "started_at", sat_value_int(NOON_MS));
	set_text(&ann, "state", "done");
	set_text(&ann, "purpose", "visit");
}

static void filled_defaults_are_not_held(void **state)
{
	struct sat_id id;

	(void)state;
	add_visit(&id, true);
	push_held(&ann, true);
	add_visit(&id, false);
	push_held(&ann, false);
	expect_text(world, "visit", &id, "purpose", "visit");
}

static void moved_rows_are_not_held(void **state)
{
	struct device max;
	struct held h = hold(world, "account", &x);

	(void)state;
	device_add(world, &max, &world->max);
	(void)add_update(&max, &h);
	set_id(&max, "territory_id", &world->t2);
	push_held(&max, false);
	/* a membership that changed behind the author's back: his copy of the
	 * row is exact, of its places it is not */
	h = hold(world, "account", &x);
	edit(&max, &h, "5");
	push_held(&max, true);
	device_fini(&max);
}

/* A contact whose account was shared since its author read it. */
static void a_membership_of_a_later_day_is_not_held(void **state)
{
	struct sat_id c = new_id(world);
	char t2[SAT_UUID_CHARS + 1], json[64];
	struct field f[] = { { "shared_with", { 0 } },
			     { NULL, sat_value_null() } };
	struct held h;

	(void)state;
	(void)add_insert(&ann, "contact", &c);
	set_id(&ann, "account_id", &x);
	set_text(&ann, "name", "Li");
	push_held(&ann, true);
	h = hold(world, "contact", &c);
	sat_id_format(&world->t2, t2);
	(void)snprintf(json, sizeof json, "[\"%s\"]", t2);
	f[0].value = text(json);
	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
	assert_int_equal(stored(world, "contact", &c).seq, h.seq);
	(void)add_update(&ann, &h);
	set_text(&ann, "title", "CEO");
	push_held(&ann, false);
}

static void conflicts_are_not_held(void **state)
{
	struct held h = hold(world, "account", &x);

	(void)state;
	edit(&bob, &h, "9");
	push_held(&bob, true);
	edit(&ann, &h, "1");
	push_expect(&ann, SAT_VERDICT_MERGED);
	assert_int_equal(ann.verdict.flags, 0);
	/* a base that claims more than the context has seen */
	h.seq = stored(world, "account", &x).seq;
	edit(&ann, &h, "2");
	push_expect(&ann, SAT_VERDICT_MERGED);
	assert_int_equal(ann.verdict.flags, 0);
}

static void begin_another_history(void)
{
	static const uint8_t random[16] = { 5, 5 };
	struct sat_epoch_start how = { .why = "restore", .random = random };
	struct sat_err err;

	group_begin(world);
	how.past = sat_engine_head(world->engine);
	assert_int_equal(sat_engine_new_epoch(world->engine, &how, &err),
			 SAT_OK);
	(void)group_commit(world);
}

/* Behind one that waits for what a restore lost, a changeset waits too. Its
 * device was told so and will fold nothing in: it is sent the row. */
static void what_had_to_wait_is_not_held(void **state)
{
	struct held on_x, on_z;
	struct sat_id z = account_x(world);
	struct sat_dot dots[2];

	(void)state;
	on_x = hold(world, "account", &x);
	on_z = hold(world, "account", &z);
	ann.behind = bob.behind = true;
	ann.marker = (struct sat_marker){ sat_engine_epoch(world->engine),
					  sat_engine_head(world->engine),
					  UINT32_MAX };
	bob.marker = ann.marker;
	begin_another_history();
	assert_int_equal(on_x.vv.count, 1);
	dots[0] = on_x.vv.dots[0];
	dots[1] = (struct sat_dot){ bob.replica, 1 };
	edit(&bob, &on_x, "2");
	on_x.vv = (struct sat_vv){ dots, 2 };
	edit(&ann, &on_x, "1");
	push_expect(&ann, SAT_VERDICT_PARKED);
	ann.behind = false;
	edit(&ann, &on_z, "3");
	push_expect(&ann, SAT_VERDICT_PARKED);
	push_expect(&bob, SAT_VERDICT_APPLIED);
	expect_text(world, "account", &x, "phone", "1");
	expect_text(world, "account", &z, "phone", "3");
	assert_false(stored(world, "account", &x).held);
	assert_false(stored(world, "account", &z).held);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_edit_of_the_current_state_is_held),
		TEST(a_foreign_change_in_between_is_not_held),
		TEST(one_delta_that_is_not_held_spoils_all),
		TEST(corrected_stamps_and_steps_are_not_held),
		TEST(filled_defaults_are_not_held),
		TEST(moved_rows_are_not_held),
		TEST(a_membership_of_a_later_day_is_not_held),
		TEST(conflicts_are_not_held),
		TEST(what_had_to_wait_is_not_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
