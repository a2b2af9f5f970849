/* Which scopes a row is in, and what follows when it moves. */
#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <string.h>

static struct world *world;
static struct device ann, max;
static uint32_t s1, s2, s3;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	device_add(world, &max, &world->max);
	return 0;
}

static int teardown(void **state)
{
	check_digests(world);
	check_feed(world);
	device_fini(&ann);
	device_fini(&max);
	return world_teardown(state);
}

/* An account shared by T1, T2 and T3. */
static struct sat_id shared_account(void)
{
	struct sat_id id = account_x(world);
	char t2[SAT_UUID_CHARS + 1], t3[SAT_UUID_CHARS + 1], json[128];
	struct field f[] = { { "shared_with", { 0 } },
			     { NULL, sat_value_null() } };

	sat_id_format(&world->t2, t2);
	sat_id_format(&world->t3, t3);
	(void)snprintf(json, sizeof json, "[\"%s\",\"%s\"]", t2, t3);
	f[0].value = text(json);
	local_ok(world, SAT_OP_UPDATE, "account", &id, f);
	s1 = scope_of(world, &world->t1);
	s2 = scope_of(world, &world->t2);
	s3 = scope_of(world, &world->t3);
	return id;
}

static struct sat_id child(struct device *d, const char *t, const char *column,
			   const struct sat_id *parent)
{
	struct sat_id id = new_id(world);

	(void)add_insert(d, t, &id);
	set_id(d, column, parent);
	if (strcmp(t, "contact") == 0)
		set_text(d, "name", "Zhang");
	if (strcmp(t, "note") == 0)
		set_text(d, "body", "note");
	if (strcmp(t, "visit_event") == 0)
		set_text(d, "kind", "check_in");
	push_expect(d, SAT_VERDICT_APPLIED);
	return id;
}

static void a_row_is_in_the_union_of_its_sources(void **state)
{
	struct sat_id x = shared_account(), contact, visit, event, note;

	(void)state;
	assert_true(in_scope(world, "account", &x, s1));
	assert_true(in_scope(world, "account", &x, s2));
	assert_true(in_scope(world, "account", &x, s3));
	assert_false(in_scope(world, "account", &x, SAT_SCOPE_EVERYONE));
	/* via: all scopes of the parent, though Ann has only T1 */
	contact = child(&ann, "contact", "account_id", &x);
	assert_true(in_scope(world, "contact", &contact, s1));
	assert_true(in_scope(world, "contact", &contact, s3));
	/* its own column: her home */
	visit = child(&ann, "visit", "account_id", &x);
	assert_true(in_scope(world, "visit", &visit, s1));
	assert_false(in_scope(world, "visit", &visit, s2));
	event = child(&ann, "visit_event", "visit_id", &visit);
	assert_true(in_scope(world, "visit_event", &event, s1));
	assert_false(in_scope(world, "visit_event", &event, s2));
	/* the second source, when the first is empty */
	note = child(&ann, "note", "visit_id", &visit);
	assert_true(in_scope(world, "note", &note, s1));
	assert_false(in_scope(world, "note", &note, s2));
	assert_true(
		in_scope(world, "territory", &world->t1, SAT_SCOPE_EVERYONE));
}

static void a_row_without_sources_is_at_its_authors_home(void **state)
{
	struct sat_id note = new_id(world), top = new_id(world);
	struct field f[] = { { "body", text("from the office") },
			     { "at", sat_value_int(NOON_MS) },
			     { NULL, sat_value_null() } };

	(void)state;
	(void)add_insert(&ann, "note", &note);
	set_text(&ann, "body", "thought of something");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_true(
		in_scope(world, "note", &note, scope_of(world, &world->t1)));
	/* the server has no home: the top of the tree */
	local_ok(world, SAT_OP_INSERT, "note", &top, f);
	assert_true(
		in_scope(world, "note", &top, scope_of(world, &world->nation)));
	assert_int_equal(stored(world, "note", &top).place_count, 1);
}

static void sharing_rescopes_what_comes_via_the_account(void **state)
{
	struct field none[] = { { "shared_with", text("[]") },
				{ NULL, sat_value_null() } };
	struct sat_id x = shared_account(), contact, visit;
	struct held before;
	struct sat_id y;

	(void)state;
	contact = child(&ann, "contact", "account_id", &x);
	visit = child(&ann, "visit", "account_id", &x);
	before = hold(world, "contact", &contact);
	local_ok(world, SAT_OP_UPDATE, "account", &x, none);
	assert_true(evicted_from(world, "account", &x, s2));
	assert_true(evicted_from(world, "contact", &contact, s2));
	assert_true(evicted_from(world, "contact", &contact, s3));
	assert_true(in_scope(world, "contact", &contact, s1));
	assert_true(in_scope(world, "visit", &visit, s1));
	/* membership only: the row itself did not change */
	assert_int_equal(stored(world, "contact", &contact).seq, before.seq);
	assert_true(
		sat_vv_equal(hold(world, "contact", &contact).vv, before.vv));
	/* back again: the evictions are replaced */
	y = shared_account();
	(void)y;
	before = hold(world, "account", &x);
	(void)add_update(&max, &before);
	{
		char t2[SAT_UUID_CHARS + 1];

		sat_id_format(&world->t2, t2);
		set_adds(&max, "shared_with", t2);
		push_expect(&max, SAT_VERDICT_APPLIED);
	}
	assert_true(in_scope(world, "contact", &contact, s2));
	assert_true(evicted_from(world, "contact", &contact, s3));
}

static void an_account_takes_its_children_along(void **state)
{
	struct sat_id x = account_x(world), visit, event, contact, other, task;
	struct held h, was;
	struct sat_value v;
	uint64_t task_seq;

	(void)state;
	visit = child(&ann, "visit", "account_id", &x);
	event = child(&ann, "visit_event", "visit_id", &visit);
	contact = child(&ann, "contact", "account_id", &x);
	/* a task that is in another territory stays there */
	task = new_id(world);
	(void)add_insert(&max, "task", &task);
	set_text(&max, "title", "call");
	set_id(&max, "account_id", &x);
	set_id(&max, "territory_id", &world->east);
	/* and a deleted visit keeps its last scopes */
	other = child(&ann, "visit", "account_id", &x);
	push_expect(&max, SAT_VERDICT_APPLIED);
	h = hold(world, "visit", &other);
	(void)add_delete(&max, &h);
	push_expect(&max, SAT_VERDICT_APPLIED);
	s1 = scope_of(world, &world->t1);
	was = hold(world, "visit", &visit);
	task_seq = stored(world, "task", &task).seq;

	h = hold(world, "account", &x);
	(void)add_update(&max, &h);
	set_id(&max, "territory_id", &world->t2);
	push_expect(&max, SAT_VERDICT_APPLIED);
	s2 = scope_of(world, &world->t2);

	assert_true(in_scope(world, "account", &x, s2));
	assert_true(evicted_from(world, "account", &x, s1));
	assert_true(in_scope(world, "visit", &visit, s2));
	assert_true(evicted_from(world, "visit", &visit, s1));
	v = value_of(world, "visit", &visit, "territory_id");
	assert_memory_equal(v.s.ptr, world->t2.b, 16);
	/* rewritten without a dot, but at a new position */
	assert_true(sat_vv_equal(hold(world, "visit", &visit).vv, was.vv));
	assert_true(stored(world, "visit", &visit).seq > was.seq);
	assert_true(in_scope(world, "visit_event", &event, s2));
	assert_true(evicted_from(world, "visit_event", &event, s1));
	assert_true(in_scope(world, "contact", &contact, s2));
	assert_true(
		in_scope(world, "task", &task, scope_of(world, &world->east)));
	assert_false(in_scope(world, "task", &task, s2));
	assert_int_equal(stored(world, "task", &task).seq, task_seq);
	assert_true(in_scope(world, "visit", &other, s1));
	assert_false(in_scope(world, "visit", &other, s2));
}

/* a concurrent delete must not lose to a move: the move has no dot */
static void a_delete_wins_over_a_move_it_had_not_seen(void **state)
{
	struct sat_id x = account_x(world), visit;
	struct held v, h;

	(void)state;
	visit = child(&ann, "visit", "account_id", &x);
	v = hold(world, "visit", &visit);
	h = hold(world, "account", &x);
	(void)add_update(&max, &h);
	set_id(&max, "territory_id", &world->t2);
	push_expect(&max, SAT_VERDICT_APPLIED);
	(void)add_delete(&max, &v); /* as it was before the move */
	push_expect(&max, SAT_VERDICT_APPLIED);
	assert_false(is_alive(world, "visit", &visit));
	assert_int_equal(ledger_of(world, &visit, NULL).count, 0);
}

/* a tombstone stays where the row died, whatever its parent does since */
static void tombstones_do_not_follow(void **state)
{
	struct sat_id x = account_x(world), contact;
	struct held c, h;

	(void)state;
	contact = child(&ann, "contact", "account_id", &x);
	c = hold(world, "contact", &contact);
	(void)add_delete(&ann, &c);
	push_expect(&ann, SAT_VERDICT_APPLIED);
	h = hold(world, "account", &x);
	(void)add_update(&max, &h);
	set_id(&max, "territory_id", &world->t2);
	push_expect(&max, SAT_VERDICT_APPLIED);
	(void)add_delete(&max, &c); /* he had deleted it as well */
	push_expect(&max, SAT_VERDICT_APPLIED);
	assert_true(in_scope(world, "contact", &contact,
			     scope_of(world, &world->t1)));
	assert_int_equal(stored(world, "contact", &contact).place_count, 1);
}

/* who was told to drop a row is not told again by every later write */
static void an_eviction_is_told_once(void **state)
{
	struct sat_id x = account_x(world);
	struct held h = hold(world, "account", &x);
	uint64_t at;

	(void)state;
	(void)add_update(&max, &h);
	set_id(&max, "territory_id", &world->t2);
	push_expect(&max, SAT_VERDICT_APPLIED);
	at = stored(world, "account", &x).seq;
	h = hold(world, "account", &x);
	(void)add_update(&max, &h);
	set_text(&max, "phone", "1");
	push_expect(&max, SAT_VERDICT_APPLIED);
	assert_true(stored(world, "account", &x).seq > at);
	assert_true(evicted_from(world, "account", &x,
				 scope_of(world, &world->t1)));
	for (uint32_t i = 0; i < stored(world, "account", &x).place_count;
	     i++) {
		struct sat_place p = stored(world, "account", &x).places[i];

		assert_true(p.evict ? p.seq == at : p.seq > at);
	}
}

/* a conflict row goes where its row goes */
static void the_ledger_moves_with_its_row(void **state)
{
	struct sat_id x = account_x(world);
	struct held h = hold(world, "account", &x);
	struct device bob;
	uint64_t moved = 0;

	(void)state;
	device_add(world, &bob, &world->bob);
	(void)add_update(&ann, &h);
	set_text(&ann, "phone", "1");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	(void)add_update(&bob, &h);
	set_text(&bob, "phone", "2");
	push_expect(&bob, SAT_VERDICT_MERGED);
	h = hold(world, "account", &x);
	(void)add_update(&max, &h);
	set_id(&max, "territory_id", &world->t2);
	push_expect(&max, SAT_VERDICT_APPLIED);
	for (uint64_t seq = 1; seq < 2000; seq++) {
		struct sat_stored_row row;
		struct sat_err err;

		assert_int_equal(sat_store_row_at(world->store,
						  table(world, "conflict"), seq,
						  &world->arena, &row, &err),
				 SAT_OK);
		if (row.seq == 0)
			continue;
		moved++;
		assert_true(in_scope(world, "conflict", &row.id,
				     scope_of(world, &world->t2)));
		assert_true(evicted_from(world, "conflict", &row.id,
					 scope_of(world, &world->t1)));
	}
	assert_int_equal(moved, 1);
	device_fini(&bob);
}

/* moved twice, there and back: one entry per scope, never two */
static void there_and_back(void **state)
{
	struct sat_id x = account_x(world), visit;
	const struct sat_id *to[] = { &world->t2, &world->t1, &world->t2,
				      &world->t1 };

	(void)state;
	visit = child(&ann, "visit", "account_id", &x);
	for (size_t i = 0; i < 4; i++) {
		struct held h = hold(world, "account", &x);

		(void)add_update(&max, &h);
		set_id(&max, "territory_id", to[i]);
		push_expect(&max, SAT_VERDICT_APPLIED);
		check_feed(world);
		check_digests(world);
		assert_true(in_scope(world, "visit", &visit,
				     scope_of(world, to[i])));
	}
	assert_int_equal(stored(world, "visit", &visit).place_count, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_row_is_in_the_union_of_its_sources),
		TEST(a_row_without_sources_is_at_its_authors_home),
		TEST(sharing_rescopes_what_comes_via_the_account),
		TEST(an_account_takes_its_children_along),
		TEST(a_delete_wins_over_a_move_it_had_not_seen),
		TEST(tombstones_do_not_follow),
		TEST(an_eviction_is_told_once),
		TEST(the_ledger_moves_with_its_row),
		TEST(there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
