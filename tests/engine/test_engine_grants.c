/* Rights over time: versions of each user's own, what a device is sent when
 * they change, cuts at every page, grants that begin and end by the clock. */
#include <stdio.h>
#include <string.h>

#include "tests/engine/engine_model.h"

static struct world w, *world = &w;
static struct device bob;
static struct model ann;

static int setup(void **state)
{
	(void)state;
	world_open(world);
	device_add(world, &bob, &w.bob);
	model_init(&ann, world, 90, &w.ann);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	model_fini(&ann);
	device_fini(&bob);
	world_close(world);
	return 0;
}

static uint32_t grant_until(const struct sat_id *user,
			    const struct sat_id *territory, enum sat_role role,
			    int64_t from_ms, int64_t to_ms)
{
	struct sat_grant g = { .user = *user,
			       .territory = *territory,
			       .role = role,
			       .from_ms = from_ms,
			       .to_ms = to_ms };
	struct sat_err err;

	group_begin(world);
	assert_int_equal(sat_store_grant_put(w.store, &g, &err), SAT_OK);
	assert_int_equal(sat_engine_user_rights_changed(w.engine, user, &err),
			 SAT_OK);
	(void)group_commit(world);
	return g.no;
}

static uint32_t grant(const struct sat_id *user, const struct sat_id *territory)
{
	return grant_until(user, territory, SAT_ROLE_REP, w.now_ms, 0);
}

static void ungrant(uint32_t no, const struct sat_id *user)
{
	struct sat_err err;

	group_begin(world);
	assert_int_equal(sat_store_grant_remove(w.store, no, &err), SAT_OK);
	assert_int_equal(sat_engine_user_rights_changed(w.engine, user, &err),
			 SAT_OK);
	(void)group_commit(world);
}

static struct sat_id account(const struct sat_id *territory, const char *name)
{
	struct sat_id id = new_id(world);
	struct field f[] = { { "name", text(name) },
			     { "territory_id", idv(territory) },
			     { NULL, sat_value_null() } };

	local_ok(world, SAT_OP_INSERT, "account", &id, f);
	return id;
}

static void accounts(const struct sat_id *territory, int count)
{
	char name[32];

	for (int i = 0; i < count; i++) {
		(void)snprintf(name, sizeof name, "account %d", i);
		(void)account(territory, name);
	}
}

static void share(const struct sat_id *id, const struct sat_id *with)
{
	char t[SAT_UUID_CHARS + 1], json[64];
	struct field f[] = { { "shared_with", sat_value_null() },
			     { NULL, sat_value_null() } };

	sat_id_format(with, t);
	(void)snprintf(json, sizeof json, "[\"%s\"]", t);
	f[0].value = text(json);
	local_ok(world, SAT_OP_UPDATE, "account", id, f);
}

static uint32_t version_of(const struct sat_id *user)
{
	struct sat_rights r;
	struct sat_arena a;
	struct sat_err err;

	sat_arena_init(&a, 1 << 20);
	group_begin(world);
	assert_int_equal(sat_engine_rights(w.engine, user, &a, &r, &err),
			 SAT_OK);
	(void)group_commit(world);
	sat_arena_fini(&a);
	return r.version;
}

static uint32_t live(void)
{
	return model_live(&ann, table(world, "account"));
}

/* What others gain or lose says nothing about one's own rights; a territory
 * that is added below a granted one does. */
static void versions_are_ones_own(void **state)
{
	uint32_t ann_was = version_of(&w.ann), bob_was = version_of(&w.bob);
	uint32_t max_was = version_of(&w.max), no;
	struct field f[] = { { "code", text("T9") },
			     { "name", text("T9") },
			     { "level", text("patch") },
			     { "parent_id", idv(&w.east) },
			     { NULL, sat_value_null() } };
	struct sat_id t9;

	(void)state;
	no = grant(&w.bob, &w.t3);
	assert_int_equal(version_of(&w.bob), bob_was + 1);
	assert_int_equal(version_of(&w.ann), ann_was);
	assert_int_equal(version_of(&w.max), max_was);
	/* covered already: nothing new for him */
	grant(&w.max, &w.t1);
	assert_int_equal(version_of(&w.max), max_was);
	ungrant(no, &w.bob);
	assert_int_equal(version_of(&w.bob), bob_was + 2);
	t9 = new_id(world);
	local_ok(world, SAT_OP_INSERT, "territory", &t9, f);
	assert_int_equal(version_of(&w.max), max_was + 1);
	assert_int_equal(version_of(&w.ann), ann_was);
}

/* Only the added scope comes, and of its rows those that are held already
 * only as references. */
static void a_new_grant_sends_what_is_new(void **state)
{
	struct sat_id both;
	uint64_t rows;

	(void)state;
	accounts(&w.t1, 20);
	accounts(&w.t2, 7);
	both = account(&w.t1, "both");
	share(&both, &w.t2);
	model_pull(&ann);
	assert_int_equal(live(), 21);
	rows = ann.row_count;
	ann.ref_count = 0;
	grant(&w.ann, &w.t2);
	assert_false(model_connect(&ann));
	assert_int_equal(ann.start.fresh_count, 1);
	assert_true(ann.at.cursor != 0);
	model_pull(&ann);
	assert_int_equal(live(), 28);
	/* the grant itself is no row of the feed; the accounts' figure is */
	assert_int_equal(ann.row_count, rows + 7 + 1);
	assert_int_equal(ann.ref_count, 1);
	/* and under the same rights nothing is sent twice */
	rows = ann.row_count;
	assert_false(model_connect(&ann));
	model_pull(&ann);
	assert_int_equal(ann.row_count, rows);
}

/* A connection for every page: the pull still ends, nothing is skipped and
 * nothing is sent again. */
static void cut_at_every_page(void **state)
{
	int cuts = 0;
	uint64_t rows;
	struct sat_id late;

	(void)state;
	accounts(&w.t1, 5);
	accounts(&w.t2, 600);
	late = account(&w.t2, "changes meanwhile");
	model_pull(&ann);
	rows = ann.row_count;
	grant(&w.ann, &w.t2);
	(void)model_connect(&ann);
	while (!model_read(&ann, 512)) {
		assert_true(cuts++ < 100);
		assert_true(model_connect(&ann)); /* resumed */
		if (cuts == 2) { /* what moves is met in a later pass */
			struct field f[] = { { "phone", text("1") },
					     { NULL, sat_value_null() } };

			local_ok(world, SAT_OP_UPDATE, "account", &late, f);
		}
	}
	assert_true(cuts > 2);
	assert_int_equal(live(), 606);
	assert_in_range(ann.row_count, rows + 601, rows + 602);
}

/* The very first pull, with other people's writes in between. */
static void the_first_pull_cut_at_every_page(void **state)
{
	int cuts = 0;

	(void)state;
	accounts(&w.t1, 300);
	(void)model_connect(&ann);
	while (!model_read(&ann, 256)) {
		assert_true(cuts++ < 200);
		assert_true(model_connect(&ann));
		if (cuts % 3 == 0 && cuts < 12)
			(void)account(&w.t1, "new");
	}
	assert_true(cuts > 3);
	assert_int_equal(live(), 303);
}

/* Rights that changed make the mark worthless: what was staged of a scope
 * that is lost must not come back. */
static void a_mark_ends_with_its_rights(void **state)
{
	uint32_t no;

	(void)state;
	accounts(&w.t1, 3);
	model_pull(&ann);
	accounts(&w.t2, 300);
	no = grant(&w.ann, &w.t2);
	(void)model_connect(&ann);
	assert_false(model_read(&ann, 512));
	ungrant(no, &w.ann);
	assert_false(model_connect(&ann));
	model_pull(&ann);
	assert_int_equal(live(), 3);
	/* bent marks are no marks */
	grant(&w.ann, &w.t2);
	(void)model_connect(&ann);
	assert_false(model_read(&ann, 512));
	for (size_t i = 0; i < 9; i++) {
		uint8_t was = ann.mark[i];

		ann.mark[i] ^= 0x40;
		assert_false(model_connect(&ann));
		assert_false(model_read(&ann, 512));
		ann.mark[i] = was;
	}
	model_pull(&ann);
	assert_int_equal(live(), 303);
}

/* Lost and regained while nobody looked: rows that left in between are told,
 * whether or not the device knew of the loss. */
static void lost_and_regained(void **state)
{
	struct sat_id moves;
	uint32_t no;

	(void)state;
	accounts(&w.t1, 3);
	no = grant(&w.ann, &w.t2);
	accounts(&w.t2, 10);
	moves = account(&w.t2, "moves");
	(void)model_connect(&ann);
	model_pull(&ann);
	assert_int_equal(live(), 14);
	for (int seen = 0; seen < 2; seen++) {
		struct field f[] = { { "territory_id",
				       idv(seen == 0 ? &w.t3 : &w.t2) },
				     { NULL, sat_value_null() } };

		ungrant(no, &w.ann);
		if (seen) {
			(void)model_connect(&ann);
			assert_int_equal(live(), 3);
		}
		local_ok(world, SAT_OP_UPDATE, "account", &moves, f);
		no = grant(&w.ann, &w.t2);
		(void)model_connect(&ann);
		model_pull(&ann);
		assert_int_equal(live(), seen ? 14 : 13);
	}
}

/* Another role reads other columns: each row again, though none has moved. */
static void another_role(void **state)
{
	struct field f[] = { { "credit_limit", sat_value_int(5) },
			     { NULL, sat_value_null() } };
	struct sat_id x;
	const struct sat_table *t = table(world, "account");
	int c = sat_table_column(t, sat_slice_str("credit_limit"));
	uint32_t no;

	(void)state;
	x = account(&w.t1, "x");
	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
	model_pull(&ann);
	assert_int_equal(model_find(&ann, t, &x)->values[c].kind, SAT_NULL);
	no = grant_until(&w.ann, &w.t1, SAT_ROLE_MANAGER, w.now_ms, 0);
	(void)model_connect(&ann);
	assert_int_equal(ann.rights.role, SAT_ROLE_MANAGER);
	assert_int_equal(ann.at.cursor, 0);
	model_pull(&ann);
	assert_int_equal(model_find(&ann, t, &x)->values[c].i, 5);
	ungrant(no, &w.ann);
	(void)model_connect(&ann);
	model_pull(&ann);
	assert_int_equal(model_find(&ann, t, &x)->values[c].kind, SAT_NULL);
}

/* Grants begin and end at their times: the commit that settles it names the
 * next time. */
static void the_clock(void **state)
{
	uint32_t was = version_of(&w.ann);
	int64_t from = w.now_ms + 100000, to = from + 100000;
	struct sat_commit_info info;

	(void)state;
	accounts(&w.t2, 2);
	grant_until(&w.ann, &w.t2, SAT_ROLE_REP, from, to);
	assert_int_equal(version_of(&w.ann), was);
	group_begin(world);
	(void)sat_engine_rights_tick(w.engine);
	info = group_commit(world);
	assert_false(info.rights_changed);
	assert_int_equal(info.rights_due_ms, from);
	w.now_ms = from - 1000; /* a group takes a second */
	group_begin(world);
	(void)sat_engine_rights_tick(w.engine);
	info = group_commit(world);
	assert_true(info.rights_changed);
	assert_int_equal(info.rights_due_ms, to);
	assert_int_equal(version_of(&w.ann), was + 1);
	(void)model_connect(&ann);
	model_pull(&ann);
	assert_int_equal(live(), 2);
	w.now_ms = to - 1000;
	/* even before the timer: who says HELLO is judged by the clock */
	assert_int_equal(version_of(&w.ann), was + 2);
	(void)model_connect(&ann);
	assert_int_equal(live(), 0);
	group_begin(world);
	(void)sat_engine_rights_tick(w.engine);
	info = group_commit(world);
	assert_int_equal(info.rights_due_ms, INT64_MAX);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(versions_are_ones_own),
		TEST(a_new_grant_sends_what_is_new),
		TEST(cut_at_every_page),
		TEST(the_first_pull_cut_at_every_page),
		TEST(a_mark_ends_with_its_rights),
		TEST(lost_and_regained),
		TEST(another_role),
		TEST(the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
