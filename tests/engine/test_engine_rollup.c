/* Roll-ups against SQL over the business rows, after every commit of a long
 * random history: rows made, edited, deleted, revived, moved with their
 * accounts; territories made, deleted, moved, even in circles; groups that
 * are abandoned, changesets that are refused, an engine opened again. */
#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commit/recover.h"
#include "server/rollup/recompute.h"

enum { ROWS = 40, NODES = 24, STEPS = 400, WRITES_MAX = 8 };

static struct world w;
static uint32_t seed;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* ---- the oracle ---------------------------------------------------------- */

static const char pipeline_sql[] =
	"WITH RECURSIVE"
	" up(t, a) AS (SELECT id, id FROM territory UNION"
	"  SELECT up.t, q.id FROM up JOIN territory p ON p.id = up.a"
	"  JOIN territory q ON q.id = p.parent_id),"
	" stages(s, percent) AS (VALUES ('prospect', 10), ('lead', 20),"
	"  ('opportunity', 50), ('contract', 80), ('won', 100), ('lost', 0)),"
	" want AS (SELECT up.a, owner_id, stage,"
	"  substr(coalesce(closed_at, expect_close), 1, 7), count(*),"
	"  sum(coalesce(amount, 0)),"
	"  sum((coalesce(amount, 0) * percent + 50) / 100)"
	"  FROM opportunity o JOIN up ON up.t = o.territory_id"
	"  JOIN stages ON s = stage WHERE o._flags & 2 = 0"
	"  GROUP BY 1, 2, 3, 4),"
	" have AS (SELECT territory_id, owner_id, stage, month, deal_count,"
	"  amount, weighted FROM pipeline_rollup WHERE _flags & 2 = 0)"
	" SELECT (SELECT count(*) FROM"
	"  (SELECT * FROM want EXCEPT SELECT * FROM have)) +"
	"  (SELECT count(*) FROM"
	"  (SELECT * FROM have EXCEPT SELECT * FROM want)),"
	"  (SELECT count(*) FROM want)";

static const char activity_sql[] =
	"WITH f(t, u, d, v, a, wn, wa, ss, sc, cs, cc) AS ("
	" SELECT territory_id, user_id, date(started_at / 1000, 'unixepoch'),"
	"  1, 0, 0, 0, 0, 0, 0, 0 FROM visit WHERE _flags & 2 = 0"
	"  AND state IN ('done', 'checked_in')"
	" UNION ALL SELECT territory_id, owner_id,"
	"  coalesce(date(first_contact_at / 1000, 'unixepoch'), ?1),"
	"  0, 1, 0, 0, 0, 0, 0, 0 FROM account WHERE _flags & 2 = 0"
	" UNION ALL SELECT territory_id, owner_id,"
	"  coalesce(closed_at, expect_close), 0, 0, 1, coalesce(amount, 0),"
	"  0, 0, 0, 0 FROM opportunity WHERE _flags & 2 = 0 AND stage = 'won'"
	" UNION ALL SELECT territory_id, user_id, date(at / 1000, 'unixepoch'),"
	"  0, 0, 0, 0, coalesce(score, 0), score IS NOT NULL,"
	"  coalesce(csat, 0), csat IS NOT NULL FROM survey_response"
	"  WHERE _flags & 2 = 0),"
	" want AS (SELECT * FROM (SELECT t, u, d, sum(v) AS v, sum(a) AS a,"
	"  sum(wn) AS wn, sum(wa) AS wa, sum(ss) AS ss, sum(sc) AS sc,"
	"  sum(cs) AS cs, sum(cc) AS cc FROM f GROUP BY t, u, d)"
	"  WHERE v + a + wn + sc + cc > 0),"
	" have AS (SELECT territory_id, user_id, day, visits, new_accounts,"
	"  won_count, won_amount, score_sum, score_count, csat_sum, csat_count"
	"  FROM activity_rollup WHERE _flags & 2 = 0)"
	" SELECT (SELECT count(*) FROM"
	"  (SELECT * FROM want EXCEPT SELECT * FROM have)) +"
	"  (SELECT count(*) FROM"
	"  (SELECT * FROM have EXCEPT SELECT * FROM want)),"
	"  (SELECT count(*) FROM want)";

/* Changes that do not begin where the one before ended, and rows that do not
 * stand where their last change left them. */
static const char history_sql[] =
	"WITH e AS (SELECT opportunity_id o, from_stage f, to_stage t, _seq,"
	"  lag(to_stage) OVER (PARTITION BY opportunity_id ORDER BY _seq) l,"
	"  at - lag(at) OVER (PARTITION BY opportunity_id ORDER BY _seq) ms,"
	"  days FROM stage_event WHERE _flags & 2 = 0)"
	" SELECT (SELECT count(*) FROM e WHERE f IS NOT l OR ms < 0"
	"  OR (ms IS NOT NULL AND abs(days - ms / 86400000.0) > 0.0001)) +"
	"  (SELECT count(*) FROM opportunity p WHERE"
	"  iif(p._flags & 2, NULL, p.stage) IS NOT"
	"  (SELECT t FROM e WHERE o = p.id ORDER BY _seq DESC LIMIT 1)),"
	"  (SELECT count(*) FROM e)";

struct two {
	int64_t bad, all;
};

static int on_two(void *arg, int columns, const char *const *names,
		  const struct sat_value *values)
{
	struct two *t = arg;

	(void)names;
	assert_int_equal(columns, 2);
	*t = (struct two){ values[0].i, values[1].i };
	return SAT_OK;
}

static int64_t expect_none(const char *sql, bool with_day, const char *what)
{
	struct sat_value day = text("2026-02-02"); /* of the fixture's ids */
	struct two t = { -1, -1 };
	struct sat_err err;

	if (sat_store_query(w.store, sql, &day, with_day, on_two, &t, &err) !=
	    SAT_OK)
		fail_msg("%s", err.msg);
	if (t.bad != 0)
		fail_msg("seed %u: %s: %lld differ", seed, what,
			 (long long)t.bad);
	return t.all;
}

static int no_stray(void *arg, const struct sat_table *figures,
		    const struct sat_id *id)
{
	(void)arg, (void)figures, (void)id;
	fail();
	return SAT_OK;
}

/* What verify does finds nothing to add. */
static void recompute_agrees(void)
{
	struct sat_rollups plan;
	struct sat_arena a;
	struct sat_tree tree = { 0 };
	struct sat_sums diff;
	struct sat_err err;

	sat_arena_init(&a, 1 << 20);
	sat_sums_init(&diff, 1 << 26);
	assert_int_equal(
		sat_rollups_plan(&a, sat_store_catalogue(w.store), &plan),
		SAT_OK);
	assert_int_equal(sat_rollup_tree(w.store, plan.cat, &tree, &err),
			 SAT_OK);
	assert_int_equal(sat_rollup_compare(w.store, &plan, &tree, &diff,
					    no_stray, NULL, &err),
			 SAT_OK);
	for (uint32_t i = 0; i < diff.count; i++) {
		assert_true(sat_figure_is_zero(&diff.list[i]));
		assert_false(diff.list[i].touched);
	}
	sat_sums_fini(&diff);
	sat_tree_fini(&tree);
	sat_arena_fini(&a);
}

static void check(void)
{
	(void)expect_none(pipeline_sql, false, "pipeline");
	(void)expect_none(activity_sql, true, "activity");
	(void)expect_none(history_sql, false, "history");
}

/* ---- random writes ------------------------------------------------------- */

static const char *const stages[] = { "prospect", "lead", "opportunity",
				      "contract", "won",  "lost" };
static const char *const days[] = { "2026-01-31", "2026-02-01", "2026-02-28",
				    "2027-01-01" };
static const char *const states[] = { "planned", "checked_in", "done",
				      "missed" };

static struct sat_id accounts[ROWS], deals[ROWS], visits[ROWS], nodes[NODES];
static uint32_t node_count;

static bool write(enum sat_op op, const char *t, const struct sat_id *id,
		  const struct field *fields)
{
	const struct sat_table *tab = table(&w, t);
	uint16_t columns[CHANGES_MAX];
	struct sat_value values[CHANGES_MAX];
	struct sat_local_write lw = { .op = op,
				      .table = tab,
				      .id = *id,
				      .columns = columns,
				      .values = values };
	struct sat_err err;
	uint32_t bad;
	int rc;

	for (; fields != NULL && fields->column != NULL; fields++) {
		int c = sat_table_column(tab, sat_slice_str(fields->column));

		assert_true(c >= 0);
		columns[lw.column_count] = (uint16_t)c;
		values[lw.column_count++] = fields->value;
	}
	rc = sat_engine_local(w.engine, &lw, 1, &bad, &err);
	if (rc != SAT_OK && rc != SAT_E_INVAL)
		fail_msg("%s", err.msg);
	return rc == SAT_OK;
}

static struct sat_value word(const char *const *list, uint32_t n)
{
	return rnd(n + 1) == 0 ? sat_value_null() : text(list[rnd(n)]);
}

static struct sat_value person(void)
{
	const struct sat_id *who[] = { &w.ann, &w.bob, &w.max };

	return rnd(4) == 0 ? sat_value_null() : idv(who[rnd(3)]);
}

static struct sat_value node(void)
{
	return idv(&nodes[rnd(node_count)]);
}

static int64_t some_time(void)
{
	return NOON_MS + ((int64_t)rnd(5) - 2) * 86400000 + rnd(3600000);
}

static void write_account(void)
{
	struct sat_id *id = &accounts[rnd(ROWS)];
	struct field f[] = {
		{ "name", text("A") },
		{ "territory_id", node() },
		{ "owner_id", person() },
		{ rnd(2) == 0 ? "first_contact_at" : NULL,
		  sat_value_int(some_time()) },
		{ NULL, sat_value_null() },
	};

	if (rnd(6) == 0)
		(void)write(SAT_OP_DELETE, "account", id, NULL);
	else
		(void)write(SAT_OP_INSERT, "account", id, f);
}

static void write_deal(void)
{
	static const int64_t amounts[] = { 0, 1, 49, 333, 10000, INT64_MAX };
	uint32_t most = rnd(4);
	struct sat_id *id = &deals[rnd(ROWS)];
	struct field f[] = {
		{ "territory_id", node() },
		{ "stage", text(stages[rnd(6)]) },
		{ rnd(3) == 0 ? "owner_id" : "expect_close", sat_value_null() },
		{ "closed_at", word(days, 4) },
		{ "amount", sat_value_int(amounts[rnd(5)]) },
		{ "account_id", idv(&accounts[rnd(ROWS)]) },
		{ NULL, sat_value_null() },
	};

	if (strcmp(f[2].column, "owner_id") == 0)
		f[2].value = person();
	else
		f[2].value = word(days, 4);
	if (most < 2) { /* an edit of little */
		f[0] = f[1 + rnd(4)];
		f[1] = f[6];
	}
	if (rnd(6) == 0)
		(void)write(SAT_OP_DELETE, "opportunity", id, NULL);
	else
		(void)write(SAT_OP_INSERT, "opportunity", id, f);
}

static void write_visit(void)
{
	struct sat_id *id = &visits[rnd(ROWS)];
	struct field f[] = {
		{ "account_id", idv(&accounts[rnd(ROWS)]) },
		{ "user_id", idv(rnd(2) == 0 ? &w.ann : &w.bob) },
		{ "territory_id", node() },
		{ "started_at", sat_value_int(some_time()) },
		{ "state", text(states[rnd(4)]) },
		{ NULL, sat_value_null() },
	};

	if (rnd(6) == 0)
		(void)write(SAT_OP_DELETE, "visit", id, NULL);
	else
		(void)write(SAT_OP_INSERT, "visit", id, f);
}

static void write_survey(void)
{
	struct sat_id id = new_id(&w);
	struct field f[] = {
		{ "user_id", person() },
		{ "territory_id", node() },
		{ "at", sat_value_int(some_time()) },
		{ rnd(2) == 0 ? "score" : "csat", sat_value_int(1 + rnd(5)) },
		{ NULL, sat_value_null() },
	};

	(void)write(SAT_OP_INSERT, "survey_response", &id, f);
}

/* New, moved, deleted; below itself now and then. */
static void write_node(void)
{
	struct field f[] = {
		{ "parent_id", rnd(8) == 0 ? sat_value_null() : node() },
		{ "code", text("X") },
		{ "name", text("X") },
		{ "level", text("patch") },
		{ NULL, sat_value_null() },
	};
	struct sat_id *id = &nodes[rnd(node_count)];
	uint32_t what = rnd(8);

	if (what == 0 && node_count < NODES) {
		nodes[node_count] = new_id(&w);
		if (write(SAT_OP_INSERT, "territory", &nodes[node_count], f))
			node_count++;
	} else if (what == 1) {
		(void)write(SAT_OP_DELETE, "territory", id, NULL);
	} else {
		f[1] = f[4];
		(void)write(SAT_OP_UPDATE, "territory", id, f);
	}
}

static void write_any(void)
{
	uint32_t what = rnd(20);

	if (what < 4)
		write_account();
	else if (what < 12)
		write_deal();
	else if (what < 16)
		write_visit();
	else if (what < 18)
		write_survey();
	else
		write_node();
}

static void reopen(void)
{
	struct sat_err err;

	sat_engine_close(w.engine);
	assert_int_equal(sat_engine_open(w.store, &w.engine, &err), SAT_OK);
}

static void start(void)
{
	const struct sat_id first[] = { w.nation, w.east, w.west,
					w.t1,     w.t2,   w.t3 };

	node_count = 6;
	memcpy(nodes, first, sizeof first);
	for (int i = 0; i < ROWS; i++) {
		accounts[i] = new_id(&w);
		deals[i] = new_id(&w);
		visits[i] = new_id(&w);
	}
}

static void random_histories(void **state)
{
	int64_t pipeline = 0, activity = 0, changes = 0;

	(void)state;
	printf("seed %u\n", seed);
	start();
	for (int step = 0; step < STEPS; step++) {
		group_begin(&w);
		for (uint32_t n = 1 + rnd(WRITES_MAX); n > 0; n--)
			write_any();
		if (rnd(10) == 0) {
			sat_engine_abandon(w.engine);
		} else {
			(void)group_commit(&w);
		}
		w.now_ms += 1000 + rnd(3600000);
		pipeline += expect_none(pipeline_sql, false, "pipeline");
		activity += expect_none(activity_sql, true, "activity");
		changes += expect_none(history_sql, false, "history");
		if (rnd(40) == 0)
			reopen();
	}
	recompute_agrees();
	check_digests(&w);
	check_feed(&w);
	assert_true(pipeline > STEPS * 20 && activity > STEPS * 5);
	assert_true(changes > STEPS * 20);
}

/* ---- single cases -------------------------------------------------------- */

static void deal(const struct sat_id *id, const struct sat_id *in,
		 const char *stage, int64_t amount)
{
	struct field f[] = { { "territory_id", idv(in) },
			     { "stage", text(stage) },
			     { "owner_id", idv(&w.ann) },
			     { "amount", sat_value_int(amount) },
			     { "expect_close", text("2026-03-01") },
			     { NULL, sat_value_null() } };

	assert_true(write(SAT_OP_INSERT, "opportunity", id, f));
}

struct figure {
	int64_t rows, amount;
};

static int on_figure(void *arg, const struct sat_table *t,
		     const struct sat_stored_row *row)
{
	struct figure *f = arg;
	int c = sat_table_column(t, sat_slice_str("amount"));

	f->rows += !row->deleted;
	f->amount += row->deleted ? 0 : row->values[c].i;
	return SAT_OK;
}

static struct figure shown(const struct sat_id *node_id)
{
	const struct sat_table *t = table(&w, "pipeline_rollup");
	struct sat_value v = idv(node_id);
	struct figure f = { 0, 0 };
	struct sat_err err;

	assert_int_equal(sat_store_rows(w.store, t, t->rollup->keys[0], &v,
					on_figure, &f, &err),
			 SAT_OK);
	return f;
}

/* However many rows of a group count in a figure, its row is written once,
 * and takes one position. */
static void once_per_commit(void **state)
{
	uint64_t head;

	(void)state;
	group_begin(&w);
	for (int i = 0; i < 20; i++) {
		struct sat_id id = new_id(&w);

		deal(&id, &w.t1, "lead", 100);
	}
	head = sat_engine_head(w.engine);
	(void)group_commit(&w);
	/* t1, east, nation */
	assert_int_equal(sat_engine_head(w.engine), head + 3);
	assert_int_equal(shown(&w.nation).amount, 2000);
	check();
}

/* A figure of nothing is a deleted row, and comes back as itself. */
static void nothing_is_deleted(void **state)
{
	struct sat_id id = new_id(&w);

	(void)state;
	group_begin(&w);
	deal(&id, &w.t1, "lead", 100);
	(void)group_commit(&w);
	assert_int_equal(shown(&w.east).rows, 1);
	group_begin(&w);
	assert_true(write(SAT_OP_DELETE, "opportunity", &id, NULL));
	(void)group_commit(&w);
	assert_int_equal(shown(&w.east).rows, 0);
	group_begin(&w);
	deal(&id, &w.t1, "lead", 250);
	(void)group_commit(&w);
	assert_int_equal(shown(&w.east).rows, 1);
	assert_int_equal(shown(&w.east).amount, 250);
	check();
}

/* Amounts that no sum can hold break nothing for anyone, and leave nothing
 * behind when they go. */
static void amounts_without_bound(void **state)
{
	struct sat_id a = new_id(&w), b = new_id(&w);

	(void)state;
	group_begin(&w);
	deal(&a, &w.t1, "contract", INT64_MAX);
	deal(&b, &w.t1, "contract", INT64_MAX);
	(void)group_commit(&w);
	assert_int_equal(shown(&w.t1).rows, 1);
	group_begin(&w);
	assert_true(write(SAT_OP_DELETE, "opportunity", &a, NULL));
	deal(&b, &w.t1, "contract", 7);
	(void)group_commit(&w);
	assert_int_equal(shown(&w.nation).amount, 7);
	check();
	recompute_agrees();
}

/* A history that was restored is not trusted: figures that went wrong are
 * right again after its first commit. */
static void a_new_epoch_computes_anew(void **state)
{
	static const uint8_t random[16] = { 9 };
	struct sat_epoch_start how = { .why = "test", .random = random };
	struct sat_id id = new_id(&w);
	struct sat_id stray = sat_id_derived(sat_slice_str("no key"));
	struct field f[] = { { "territory_id", idv(&w.east) },
			     { "amount", sat_value_int(1) },
			     { NULL, sat_value_null() } };
	struct sat_err err;

	(void)state;
	group_begin(&w);
	deal(&id, &w.t1, "lead", 100);
	(void)group_commit(&w);
	group_begin(&w);
	assert_true(write(SAT_OP_INSERT, "pipeline_rollup", &stray, f));
	(void)group_commit(&w);
	assert_int_equal(shown(&w.east).amount, 101);
	group_begin(&w);
	assert_int_equal(sat_engine_new_epoch(w.engine, &how, &err), SAT_OK);
	(void)group_commit(&w);
	assert_int_equal(shown(&w.east).amount, 100);
	check();
	check_digests(&w);
}

/* Two devices move one deal on at the same time. Only what is shown is a
 * change: the further stage, whoever comes first. */
static void concurrent_stages(void **state)
{
	struct device ann, bob;
	struct sat_id id = new_id(&w);
	struct held h;

	(void)state;
	device_add(&w, &ann, &w.ann);
	device_add(&w, &bob, &w.bob);
	group_begin(&w);
	deal(&id, &w.t1, "prospect", 100);
	(void)group_commit(&w);
	h = hold(&w, "opportunity", &id);
	w.now_ms += 5 * 86400000LL;
	(void)add_update(&ann, &h);
	set_text(&ann, "stage", "contract");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	(void)add_update(&bob, &h);
	set_text(&bob, "stage", "lead");
	push_expect(&bob, SAT_VERDICT_MERGED);
	expect_text(&w, "opportunity", &id, "stage", "contract");
	assert_int_equal(expect_none(history_sql, false, "history"), 2);
	check();
	h = hold(&w, "opportunity", &id);
	(void)add_update(&bob, &h);
	set_text(&bob, "stage", "lead");
	push_expect(&bob, SAT_VERDICT_APPLIED);
	assert_int_equal(expect_none(history_sql, false, "history"), 3);
	check();
	device_fini(&ann);
	device_fini(&bob);
}

static int setup(void **state)
{
	(void)state;
	world_open(&w);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_close(&w);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(once_per_commit),       TEST(nothing_is_deleted),
		TEST(amounts_without_bound), TEST(a_new_epoch_computes_anew),
		TEST(concurrent_stages),     TEST(random_histories),
	};

	seed = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20260202;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
