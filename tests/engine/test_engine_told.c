/* Edits made before their author learned of a move or of a lost grant: taken
 * and flagged, for thirty days; and what ends that. */
#include <stdio.h>
#include <string.h>

#include "tests/engine/engine_fixture.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static struct world w, *world = &w;
static struct device ann;
static struct sat_id x;
static struct held held_x;

/* From here on the device learns nothing more. */
static void goes_offline(struct device *d)
{
	struct sat_rights r;
	struct sat_err err;

	group_begin(world);
	assert_int_equal(
		sat_engine_rights(w.engine, &w.ann, &w.arena, &r, &err),
		SAT_OK);
	(void)group_commit(world);
	d->behind = true;
	d->marker.epoch = sat_engine_epoch(w.engine);
	d->marker.grants = r.version;
	assert_int_equal(sat_store_head(w.store, &d->marker.commit_seq, &err),
			 SAT_OK);
}

static int setup(void **state)
{
	(void)state;
	world_open(world);
	device_add(world, &ann, &w.ann);
	x = account_x(world);
	held_x = hold(world, "account", &x);
	goes_offline(&ann);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	device_fini(&ann);
	world_close(world);
	return 0;
}

static void move_x(const struct sat_id *to)
{
	struct field f[] = { { "territory_id", idv(to) },
			     { NULL, sat_value_null() } };

	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
}

static void edit_phone(const char *phone)
{
	(void)add_update(&ann, &held_x);
	set_text(&ann, "phone", phone);
}

static void expect_moved(const struct sat_id *row, const char *state)
{
	struct ledger l = ledger_of(world, row, NULL);

	assert_int_equal(l.count, 1);
	assert_string_equal(l.kind, "moved");
	assert_string_equal(l.state, state);
	assert_string_equal(l.shown, "");
	assert_string_equal(l.losing, "");
}

/* Worked example 11. */
static void moved_while_she_was_away(void **state)
{
	struct sat_id visit = new_id(world), contact = new_id(world);
	uint32_t s1 = scope_of(world, &w.t1), s2 = scope_of(world, &w.t2);

	(void)state;
	move_x(&w.t2);
	edit_phone("111");
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &x);
	(void)add_insert(&ann, "contact", &contact);
	set_id(&ann, "account_id", &x);
	set_text(&ann, "name", "Li");
	push_expect(&ann, SAT_VERDICT_MERGED);
	assert_int_equal(ann.verdict.flags & SAT_VERDICT_AS_HELD, 0);
	expect_text(world, "account", &x, "phone", "111");
	assert_true(in_scope(world, "account", &x, s2));
	assert_true(evicted_from(world, "account", &x, s1));
	/* the visit went after its account */
	assert_true(in_scope(world, "visit", &visit, s2));
	assert_false(in_scope(world, "visit", &visit, s1));
	assert_true(in_scope(world, "contact", &contact, s2));
	expect_moved(&x, "auto");
	expect_moved(&visit, "auto");
	expect_moved(&contact, "auto");
	check_digests(world);
	check_feed(world);
}

/* A visit in a territory that the account was never in stays there. */
static void only_children_of_the_move_follow(void **state)
{
	struct sat_id visit = new_id(world);

	(void)state;
	move_x(&w.t2);
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &x);
	set_id(&ann, "territory_id", &w.t3);
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
}

static void share_x(const char *with)
{
	struct field f[] = { { "shared_with", text(with) },
			     { NULL, sat_value_null() } };

	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
}

static void add_visit(const struct sat_id *id, const struct sat_id *territory)
{
	(void)add_insert(&ann, "visit", id);
	set_id(&ann, "account_id", &x);
	set_id(&ann, "territory_id", territory);
}

/* Shared with the territory it came from, the account has not left that scope;
 * its visits follow all the same. */
static void shared_with_where_it_was(void **state)
{
	struct sat_id before = new_id(world), late = new_id(world);
	struct sat_id knowing = new_id(world);
	uint32_t s1 = scope_of(world, &w.t1), s2 = scope_of(world, &w.t2);
	char list[SAT_UUID_CHARS + 5], t1[SAT_UUID_CHARS + 1];

	(void)state;
	sat_id_format(&w.t1, t1);
	(void)snprintf(list, sizeof list, "[\"%s\"]", t1);
	add_visit(&before, &w.t1);
	push_expect(&ann, SAT_VERDICT_APPLIED);
	share_x(list);
	move_x(&w.t2);
	assert_true(in_scope(world, "account", &x, s1));
	add_visit(&late, &w.t1);
	push_expect(&ann, SAT_VERDICT_MERGED);
	assert_int_equal(ann.verdict.flags & SAT_VERDICT_AS_HELD, 0);
	assert_true(in_scope(world, "visit", &before, s2));
	assert_true(in_scope(world, "visit", &late, s2));
	assert_false(in_scope(world, "visit", &late, s1));
	expect_moved(&late, "auto");
	/* who knows where it is now means what he says */
	ann.behind = false;
	add_visit(&knowing, &w.t1);
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_true(in_scope(world, "visit", &knowing, s1));
	assert_false(in_scope(world, "visit", &knowing, s2));
	check_digests(world);
	check_feed(world);
}

/* What the grace has passed is forgotten. */
static void where_it_was_is_forgotten(void **state)
{
	struct sat_err err;
	uint64_t until;

	(void)state;
	move_x(&w.t2);
	assert_int_equal(sat_store_stood_until(w.store, table(world, "account"),
					       &x, &w.t1, &until, &err),
			 SAT_OK);
	assert_true(until > ann.marker.commit_seq);
	for (int i = 0; i < 2; i++) {
		w.now_ms += 31 * DAY_MS;
		group_begin(world);
		(void)group_commit(world);
	}
	assert_int_equal(sat_store_stood_until(w.store, table(world, "account"),
					       &x, &w.t1, &until, &err),
			 SAT_OK);
	assert_int_equal(until, 0);
}

/* Who has known does not pass for one who has not. */
static void markers_never_decrease(void **state)
{
	struct sat_marker old = ann.marker;

	(void)state;
	move_x(&w.t2);
	edit_phone("1");
	push_expect(&ann, SAT_VERDICT_MERGED);
	ann.behind = false; /* she has seen the eviction */
	edit_phone("2");
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
	ann.behind = true;
	ann.marker = old;
	edit_phone("3");
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
	expect_text(world, "account", &x, "phone", "1");
}

/* Connected long enough after the eviction: told, whatever she says. */
static void connected_counts_as_told(void **state)
{
	struct sat_err err;

	(void)state;
	move_x(&w.t2);
	edit_phone("1");
	push_expect(&ann, SAT_VERDICT_MERGED);
	assert_int_equal(sat_store_head(w.store, &ann.told_seq, &err), SAT_OK);
	edit_phone("2");
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
	/* and on another connection too */
	ann.told_seq = 0;
	edit_phone("3");
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
}

static void thirty_days(void **state)
{
	struct sat_id visit = new_id(world);

	(void)state;
	move_x(&w.t2);
	w.now_ms += 29 * DAY_MS;
	edit_phone("29");
	push_expect(&ann, SAT_VERDICT_MERGED);
	w.now_ms += 2 * DAY_MS;
	edit_phone("31");
	push_rejected(&ann, SAT_REASON_TOO_LATE, NULL);
	expect_text(world, "account", &x, "phone", "29");
	(void)add_insert(&ann, "visit", &visit);
	set_id(&ann, "account_id", &x);
	push_rejected(&ann, SAT_REASON_TOO_LATE, "account_id");
	assert_false(is_alive(world, "visit", &visit));
}

/* The new owner hears that there was something, and nothing of what. */
static void a_note_of_what_came_too_late(void **state)
{
	(void)state;
	move_x(&w.t2);
	w.now_ms += 31 * DAY_MS;
	edit_phone("31");
	push_rejected(&ann, SAT_REASON_TOO_LATE, NULL);
	expect_moved(&x, "open");
	check_digests(world);
	check_feed(world);
	/* what she never had is not late but foreign */
	x = new_id(world);
	local_ok(world, SAT_OP_INSERT, "account", &x,
		 (struct field[]){ { "name", text("Y") },
				   { "territory_id", idv(&w.t3) },
				   { NULL, sat_value_null() } });
	held_x = hold(world, "account", &x);
	edit_phone("1");
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
}

static void ann_loses_her_grant(void)
{
	struct sat_grant *g;
	struct sat_err err;
	uint32_t count;

	group_begin(world);
	assert_int_equal(
		sat_store_grants(w.store, &w.ann, &w.arena, &g, &count, &err),
		SAT_OK);
	assert_int_equal(count, 1);
	assert_int_equal(sat_store_grant_remove(w.store, g[0].no, &err),
			 SAT_OK);
	assert_int_equal(sat_engine_user_rights_changed(w.engine, &w.ann, &err),
			 SAT_OK);
	(void)group_commit(world);
}

/* What she made where she has no say any more is not hers to keep: it must not
 * be told as held, for no page will ever take it away. */
static void made_alone_where_she_was(void **state)
{
	struct sat_id fresh = new_id(world);

	(void)state;
	ann_loses_her_grant();
	(void)add_insert(&ann, "account", &fresh); /* as a device: whole */
	set_text(&ann, "name", "made before she knew");
	set_id(&ann, "territory_id", &w.t1);
	set_id(&ann, "owner_id", &w.ann);
	set_text(&ann, "class", "potential");
	set_text(&ann, "kind", "direct");
	set_text(&ann, "state", "active");
	push_expect(&ann, SAT_VERDICT_MERGED);
	assert_int_equal(ann.verdict.flags & SAT_VERDICT_AS_HELD, 0);
	assert_true(in_scope(world, "account", &fresh, scope_of(world, &w.t1)));
}

/* The same for grants: the rights of the version she had. */
static void a_lost_grant(void **state)
{
	struct sat_id fresh = new_id(world);

	(void)state;
	ann_loses_her_grant();
	edit_phone("1");
	(void)add_insert(&ann, "account", &fresh);
	set_text(&ann, "name", "made before she knew");
	push_expect(&ann, SAT_VERDICT_MERGED);
	expect_moved(&x, "auto");
	expect_moved(&fresh, "auto");
	assert_true(in_scope(world, "account", &fresh, scope_of(world, &w.t1)));
	w.now_ms += 31 * DAY_MS;
	edit_phone("2");
	push_rejected(&ann, SAT_REASON_TOO_LATE, NULL);
	ann.behind = false;
	edit_phone("3");
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
}

/* A marker of a history that is gone is worth what this one shares with it;
 * one from the future is worth now. */
static void foreign_markers(void **state)
{
	(void)state;
	move_x(&w.t2);
	ann.marker.commit_seq = UINT64_MAX;
	ann.marker.grants = UINT32_MAX;
	edit_phone("1");
	push_rejected(&ann, SAT_REASON_SCOPE, NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(moved_while_she_was_away),
		TEST(only_children_of_the_move_follow),
		TEST(shared_with_where_it_was),
		TEST(where_it_was_is_forgotten),
		TEST(markers_never_decrease),
		TEST(connected_counts_as_told),
		TEST(thirty_days),
		TEST(a_note_of_what_came_too_late),
		TEST(a_lost_grant),
		TEST(made_alone_where_she_was),
		TEST(foreign_markers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
