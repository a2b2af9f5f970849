/* The server's own writes: administration and import. */
#include "tests/engine/engine_fixture.h"

#include <string.h>

static struct world *world;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	return 0;
}

static int teardown(void **state)
{
	check_digests(world);
	check_feed(world);
	return world_teardown(state);
}

static void only_what_changes_is_written(void **state)
{
	struct sat_id x = account_x(world);
	struct field same[] = { { "phone", text("100") },
				{ "visit_count", sat_value_int(0) },
				{ "tags", text("[]") },
				{ NULL, sat_value_null() } };
	struct field other[] = { { "phone", text("101") },
				 { "visit_count", sat_value_int(5) },
				 { "tags", text("[\"b\",\"a\"]") },
				 { NULL, sat_value_null() } };
	struct field less[] = { { "visit_count", sat_value_int(3) },
				{ "tags", text("[\"b\"]") },
				{ NULL, sat_value_null() } };
	uint64_t seq = stored(world, "account", &x).seq;

	(void)state;
	local_ok(world, SAT_OP_UPDATE, "account", &x, same);
	assert_int_equal(stored(world, "account", &x).seq, seq);
	local_ok(world, SAT_OP_UPDATE, "account", &x, other);
	assert_true(stored(world, "account", &x).seq > seq);
	expect_text(world, "account", &x, "phone", "101");
	expect_int(world, "account", &x, "visit_count", 5);
	expect_text(world, "account", &x, "tags", "[\"a\",\"b\"]");
	local_ok(world, SAT_OP_UPDATE, "account", &x, less);
	expect_int(world, "account", &x, "visit_count", 3);
	expect_text(world, "account", &x, "tags", "[\"b\"]");
	/* all by one replica, so no conflict with itself */
	assert_int_equal(ledger_of(world, &x, NULL).count, 0);
	/* an import run again changes nothing */
	seq = stored(world, "account", &x).seq;
	local_ok(world, SAT_OP_INSERT, "account", &x, less);
	assert_int_equal(stored(world, "account", &x).seq, seq);
}

struct bad {
	const char *why, *table;
	struct field fields[4];
	const char *says; /* part of the sentence */
};

static void bad_values_are_refused_with_a_sentence(void **state)
{
	struct sat_id nobody = new_id(world), id;
	struct bad rows[] = {
		{ "missing",
		  "account",
		  { { "territory_id", idv(&world->t1) }, { NULL, { 0 } } },
		  "Name" },
		{ "enum",
		  "account",
		  { { "name", text("A") },
		    { "class", text("emperor") },
		    { NULL, { 0 } } },
		  "account.class" },
		{ "kind",
		  "account",
		  { { "name", sat_value_int(7) }, { NULL, { 0 } } },
		  "account.name" },
		{ "parent",
		  "visit",
		  { { "account_id", idv(&nobody) }, { NULL, { 0 } } },
		  "" },
		{ "set",
		  "account",
		  { { "name", text("A") },
		    { "tags", text("no json") },
		    { NULL, { 0 } } },
		  "" },
		{ "territory of a set",
		  "account",
		  { { "name", text("A") },
		    { "territory_id", idv(&world->t1) },
		    { "shared_with", text("[\"mars\"]") },
		    { NULL, { 0 } } },
		  "" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_err err;
		int rc;

		id = new_id(world);
		rc = local(world, SAT_OP_INSERT, rows[i].table, &id,
			   rows[i].fields, &err);
		if (rc != SAT_E_INVAL || strstr(err.msg, rows[i].says) == NULL)
			fail_msg("%s: %s \"%s\"", rows[i].why, sat_rc_name(rc),
				 rc == SAT_OK ? "" : err.msg);
		assert_true(strlen(err.msg) > 10);
		assert_false(is_alive(world, rows[i].table, &id));
	}
	assert_int_equal(local(world, SAT_OP_UPDATE, "account", &nobody, NULL,
			       &(struct sat_err){ 0 }),
			 SAT_E_INVAL);
}

/* all or nothing, and the group goes on */
static void a_call_is_all_or_nothing(void **state)
{
	const struct sat_table *t = table(world, "account");
	uint16_t name = (uint16_t)sat_table_column(t, sat_slice_str("name"));
	uint16_t where = (uint16_t)t->territory;
	uint16_t columns[2] = { name, where };
	struct sat_value good[2] = { text("A"), idv(&world->t1) };
	struct sat_value bad[2] = { sat_value_null(), idv(&world->t1) };
	struct sat_local_write w[3] = { { .table = t },
					{ .table = t },
					{ .table = t } };
	struct sat_err err;
	uint32_t at = 99;

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		w[i].id = new_id(world);
		w[i].columns = columns;
		w[i].column_count = 2;
		w[i].values = i == 1 ? bad : good;
	}
	group_begin(world);
	assert_int_equal(sat_engine_local(world->engine, w, 3, &at, &err),
			 SAT_E_INVAL);
	assert_int_equal(at, 1);
	w[1].values = good;
	assert_int_equal(sat_engine_local(world->engine, w + 1, 2, &at, &err),
			 SAT_OK);
	(void)group_commit(world);
	assert_false(is_alive(world, "account", &w[0].id));
	assert_true(is_alive(world, "account", &w[1].id));
	assert_true(is_alive(world, "account", &w[2].id));
	/* the rows of one call share one dot */
	assert_true(sat_vv_equal(hold(world, "account", &w[1].id).vv,
				 hold(world, "account", &w[2].id).vv));
}

/* one row twice in a call: both writes count */
static void a_row_may_come_twice(void **state)
{
	const struct sat_table *t = table(world, "account");
	uint16_t columns[2] = { (uint16_t)sat_table_column(
					t, sat_slice_str("name")),
				(uint16_t)t->territory };
	struct sat_value first[2] = { text("A"), idv(&world->t1) };
	struct sat_value second[2] = { text("B"), idv(&world->t1) };
	struct sat_local_write w[2] = { { .table = t }, { .table = t } };
	struct sat_err err;
	uint32_t at;

	(void)state;
	w[0].id = w[1].id = new_id(world);
	w[0].columns = w[1].columns = columns;
	w[0].column_count = w[1].column_count = 2;
	w[0].values = first;
	w[1].values = second;
	group_begin(world);
	assert_int_equal(sat_engine_local(world->engine, w, 2, &at, &err),
			 SAT_OK);
	(void)group_commit(world);
	expect_text(world, "account", &w[0].id, "name", "B");
	assert_int_equal(ledger_of(world, &w[0].id, NULL).count, 0);
}

static void deletes_and_revivals(void **state)
{
	struct sat_id x = account_x(world);
	struct field f[] = { { "phone", text("100") },
			     { NULL, sat_value_null() } };
	uint64_t seq;

	(void)state;
	local_ok(world, SAT_OP_DELETE, "account", &x, NULL);
	assert_false(is_alive(world, "account", &x));
	seq = stored(world, "account", &x).seq;
	local_ok(world, SAT_OP_DELETE, "account", &x, NULL);
	assert_int_equal(stored(world, "account", &x).seq, seq);
	/* even an equal value revives */
	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
	assert_true(is_alive(world, "account", &x));
	expect_text(world, "account", &x, "name", "X");
}

/* the value that is shown already, written again, is an answer */
static void an_equal_value_settles_siblings(void **state)
{
	struct sat_id x = account_x(world);
	struct held h = hold(world, "account", &x);
	struct field f[] = { { "name", text("B") },
			     { NULL, sat_value_null() } };
	struct device ann, bob;

	(void)state;
	device_add(world, &ann, &world->ann);
	device_add(world, &bob, &world->bob);
	(void)add_update(&ann, &h);
	set_text(&ann, "name", "A");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	(void)add_update(&bob, &h);
	set_text(&bob, "name", "B");
	bob.deltas[0].changes[0].at_ms += 1000;
	push_expect(&bob, SAT_VERDICT_MERGED);
	expect_text(world, "account", &x, "name", "B");
	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
	assert_string_equal(ledger_of(world, &x, "name").state, "resolved");
	device_fini(&ann);
	device_fini(&bob);
}

/* grants follow the tree, the user, and time */
static void rights_follow_what_is_written(void **state)
{
	struct field up[] = { { "parent_id", idv(&world->west) },
			      { NULL, sat_value_null() } };
	struct sat_grant g = { .user = world->ann, .territory = world->west };
	struct sat_rights r;
	struct sat_commit_info info;
	struct sat_err err;
	uint32_t version;

	(void)state;
	group_begin(world);
	assert_int_equal(sat_engine_rights(world->engine, &world->max,
					   &world->arena, &r, &err),
			 SAT_OK);
	assert_int_equal(r.scope_count, 4); /* 0, east, t1, t2 */
	version = r.version;
	info = group_commit(world);
	assert_false(info.rights_changed);
	/* T2 goes west: Max loses it without a grant being touched */
	local_ok(world, SAT_OP_UPDATE, "territory", &world->t2, up);
	group_begin(world);
	assert_int_equal(sat_engine_rights(world->engine, &world->max,
					   &world->arena, &r, &err),
			 SAT_OK);
	assert_int_equal(r.scope_count, 3);
	assert_true(r.version > version);
	/* a grant that begins later and ends again */
	g.from_ms = world->now_ms + 10000;
	g.to_ms = world->now_ms + 20000;
	assert_int_equal(sat_store_grant_put(world->store, &g, &err), SAT_OK);
	assert_int_equal(sat_engine_rights_changed(world->engine, &err),
			 SAT_OK);
	info = group_commit(world);
	assert_true(info.rights_changed);
	for (int i = 0; i < 3; i++) {
		group_begin(world);
		assert_int_equal(sat_engine_rights(world->engine, &world->ann,
						   &world->arena, &r, &err),
				 SAT_OK);
		(void)group_commit(world);
		/* west, t2, t3 only in between */
		assert_int_equal(r.scope_count, i == 1 ? 5 : 2);
		world->now_ms += 10000;
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_what_changes_is_written),
		TEST(bad_values_are_refused_with_a_sentence),
		TEST(a_call_is_all_or_nothing),
		TEST(a_row_may_come_twice),
		TEST(deletes_and_revivals),
		TEST(an_equal_value_settles_siblings),
		TEST(rights_follow_what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
