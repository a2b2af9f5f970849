/* The worked examples of the design at server level: Ann and Bob hold account
 * X, go offline, and push in either order. */
#include "tests/engine/engine_fixture.h"

#include <string.h>

struct pair {
	struct world w;
	struct device ann, bob, max;
	struct sat_id x;
	struct held x0; /* as both hold it */
};

static void start(struct pair *p)
{
	world_open(&p->w);
	device_add(&p->w, &p->ann, &p->w.ann);
	device_add(&p->w, &p->bob, &p->w.bob);
	device_add(&p->w, &p->max, &p->w.max);
	p->x = account_x(&p->w);
	p->x0 = hold(&p->w, "account", &p->x);
}

static void stop(struct pair *p)
{
	check_digests(&p->w);
	check_feed(&p->w);
	device_fini(&p->ann);
	device_fini(&p->bob);
	device_fini(&p->max);
	world_close(&p->w);
}

static void edit(struct pair *p, struct device *d, const char *column,
		 const char *value)
{
	(void)add_update(d, &p->x0);
	set_text(d, column, value);
}

/* 1: different fields of one row never conflict */
static void different_fields_do_not_conflict(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct pair p;

		start(&p);
		edit(&p, &p.ann, "phone", "111");
		edit(&p, &p.bob, "email", "b@x");
		push_expect(order ? &p.bob : &p.ann, SAT_VERDICT_APPLIED);
		push_expect(order ? &p.ann : &p.bob, SAT_VERDICT_APPLIED);
		expect_text(&p.w, "account", &p.x, "phone", "111");
		expect_text(&p.w, "account", &p.x, "email", "b@x");
		assert_int_equal(ledger_of(&p.w, &p.x, NULL).count, 0);
		assert_int_equal(hold(&p.w, "account", &p.x).vv.count, 3);
		stop(&p);
	}
}

static void both_phones(struct pair *p, bool bob_first)
{
	edit(p, &p->ann, "phone", "111");
	p->w.now_ms += 5 * 60 * 1000;
	edit(p, &p->bob, "phone", "222");
	p->w.now_ms += 60 * 1000;
	(void)push(bob_first ? &p->bob : &p->ann);
	(void)push(bob_first ? &p->ann : &p->bob);
}

static void expect_bob_won(struct pair *p)
{
	struct ledger l = ledger_of(&p->w, &p->x, "phone");

	expect_text(&p->w, "account", &p->x, "phone", "222");
	assert_int_equal(l.count, 1);
	assert_string_equal(l.state, "auto");
	assert_string_equal(l.shown, "222");
	assert_string_equal(l.losing, "111");
	assert_string_equal(l.kind, "value");
}

/* 2: the later write stands, the other is in the ledger, once */
static void the_later_phone_stands(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct pair p;
		struct device *last;

		start(&p);
		both_phones(&p, order);
		last = order ? &p.ann : &p.bob;
		assert_int_equal(last->verdict.status, SAT_VERDICT_MERGED);
		assert_int_equal(last->verdict.conflict_count, 1);
		expect_bob_won(&p);
		/* a lost ack: the same bytes again add nothing */
		group_begin(&p.w);
		assert_int_equal(push_bytes(last, sat_buf_peek(&last->bytes)),
				 SAT_OK);
		(void)group_commit(&p.w);
		assert_true(last->verdict.flags & SAT_VERDICT_REPLAY);
		assert_int_equal(last->verdict.status, SAT_VERDICT_MERGED);
		assert_int_equal(last->verdict.conflict_count, 1);
		expect_bob_won(&p);
		stop(&p);
	}
}

/* 3: a clock that is a year ahead is corrected */
static void a_wrong_clock_changes_nothing(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct pair p;

		start(&p);
		p.ann.skew_ms = (int64_t)365 * 24 * 3600 * 1000;
		both_phones(&p, order);
		expect_bob_won(&p);
		stop(&p);
	}
}

/* 4: nobody conflicts with himself */
static void own_edits_cover_each_other(void **state)
{
	struct pair p;
	struct sat_dot dots[2];

	(void)state;
	start(&p);
	edit(&p, &p.ann, "phone", "111");
	push_expect(&p.ann, SAT_VERDICT_APPLIED);
	/* made offline on the same server state, after her own first edit */
	dots[0] = p.x0.vv.dots[0];
	dots[1] = (struct sat_dot){ p.ann.replica, 1 };
	(void)add_update(&p.ann, &p.x0);
	p.ann.deltas[0].context = (struct sat_vv){ dots, 2 };
	set_text(&p.ann, "phone", "112");
	push_expect(&p.ann, SAT_VERDICT_APPLIED);
	expect_text(&p.w, "account", &p.x, "phone", "112");
	assert_int_equal(ledger_of(&p.w, &p.x, NULL).count, 0);
	stop(&p);
}

/* 5: keep: both names stay until a person decides */
static void both_names_are_kept_until_resolved(void **state)
{
	struct pair p;
	struct held h;
	struct ledger l;

	(void)state;
	start(&p);
	edit(&p, &p.ann, "name", "X Ltd");
	p.w.now_ms += 1000;
	edit(&p, &p.bob, "name", "X GmbH");
	push_expect(&p.ann, SAT_VERDICT_APPLIED);
	push_expect(&p.bob, SAT_VERDICT_MERGED);
	expect_text(&p.w, "account", &p.x, "name", "X GmbH");
	l = ledger_of(&p.w, &p.x, "name");
	assert_int_equal(l.count, 1);
	assert_string_equal(l.state, "open");
	assert_string_equal(l.losing, "X Ltd");

	h = hold(&p.w, "account", &p.x);
	(void)add_update(&p.max, &h);
	set_value(&p.max, "name", text("X Ltd"))->resolves = true;
	push_expect(&p.max, SAT_VERDICT_APPLIED);
	expect_text(&p.w, "account", &p.x, "name", "X Ltd");
	l = ledger_of(&p.w, &p.x, "name");
	assert_int_equal(l.count, 1);
	assert_string_equal(l.state, "resolved");
	assert_string_equal(l.outcome, "resolved");
	stop(&p);
}

static void new_visit(struct pair *p, struct device *d, const struct sat_id *id)
{
	(void)add_insert(d, "visit", id);
	set_id(d, "account_id", &p->x);
}

/* 6: a delete wins only over what its author had seen */
static void a_concurrent_update_keeps_the_row_alive(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct pair p;
		struct sat_id visit;
		struct ledger l;

		start(&p);
		visit = new_id(&p.w);
		(void)add_delete(&p.ann, &p.x0);
		edit(&p, &p.bob, "phone", "222");
		new_visit(&p, &p.bob, &visit);
		(void)push(order ? &p.bob : &p.ann);
		(void)push(order ? &p.ann : &p.bob);
		assert_true(is_alive(&p.w, "account", &p.x));
		assert_true(is_alive(&p.w, "visit", &visit));
		expect_text(&p.w, "account", &p.x, "phone", "222");
		l = ledger_of(&p.w, &p.x, NULL);
		assert_int_equal(l.count, 1);
		assert_string_equal(l.state, "open");
		assert_string_equal(l.kind, "deleted");
		stop(&p);
	}
}

/* a visit alone does not bring its account back, but someone is told */
static void a_child_of_a_deleted_row_opens_an_entry(void **state)
{
	struct pair p;
	struct sat_id visit;
	struct held h;
	struct ledger l;

	(void)state;
	start(&p);
	visit = new_id(&p.w);
	(void)add_delete(&p.ann, &p.x0);
	push_expect(&p.ann, SAT_VERDICT_APPLIED);
	new_visit(&p, &p.bob, &visit);
	push_expect(&p.bob, SAT_VERDICT_APPLIED);
	assert_false(is_alive(&p.w, "account", &p.x));
	assert_true(is_alive(&p.w, "visit", &visit));
	l = ledger_of(&p.w, &p.x, NULL);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.kind, "orphan");
	assert_string_equal(l.state, "open");
	/* restoring X is one write, and closes the entry */
	h = hold(&p.w, "account", &p.x);
	(void)add_update(&p.max, &h);
	set_text(&p.max, "phone", "100");
	push_expect(&p.max, SAT_VERDICT_APPLIED);
	assert_true(is_alive(&p.w, "account", &p.x));
	assert_string_equal(ledger_of(&p.w, &p.x, NULL).state, "resolved");
	stop(&p);
}

/* 7: counters add up */
static void counters_add_up(void **state)
{
	struct field four[] = { { "visit_count", sat_value_int(4) },
				{ NULL, sat_value_null() } };
	struct pair p;

	(void)state;
	start(&p);
	local_ok(&p.w, SAT_OP_UPDATE, "account", &p.x, four);
	p.x0 = hold(&p.w, "account", &p.x);
	(void)add_update(&p.ann, &p.x0);
	(void)set_value(&p.ann, "visit_count", sat_value_int(1));
	(void)add_update(&p.bob, &p.x0);
	(void)set_value(&p.bob, "visit_count", sat_value_int(2));
	push_expect(&p.bob, SAT_VERDICT_APPLIED);
	push_expect(&p.ann, SAT_VERDICT_APPLIED);
	expect_int(&p.w, "account", &p.x, "visit_count", 7);
	group_begin(&p.w);
	assert_int_equal(push_bytes(&p.ann, sat_buf_peek(&p.ann.bytes)),
			 SAT_OK);
	(void)group_commit(&p.w);
	expect_int(&p.w, "account", &p.x, "visit_count", 7);
	stop(&p);
}

/* 8: a set element added anew survives a concurrent removal */
static void adding_wins_in_sets(void **state)
{
	struct field vip[] = { { "tags", text("[\"vip\"]") },
			       { NULL, sat_value_null() } };
	struct pair p;
	struct sat_dot dots[2];

	(void)state;
	start(&p);
	local_ok(&p.w, SAT_OP_UPDATE, "account", &p.x, vip);
	p.x0 = hold(&p.w, "account", &p.x);
	(void)add_update(&p.ann, &p.x0);
	set_adds(&p.ann, "tags", "gold");
	set_removes(&p.ann, "tags", "vip");
	(void)add_update(&p.bob, &p.x0);
	set_removes(&p.bob, "tags", "vip");
	push_expect(&p.bob, SAT_VERDICT_APPLIED);
	push_expect(&p.ann, SAT_VERDICT_APPLIED);
	dots[0] = p.x0.vv.dots[0];
	dots[1] = (struct sat_dot){ p.bob.replica, 1 };
	(void)add_update(&p.bob, &p.x0);
	p.bob.deltas[0].context = (struct sat_vv){ dots, 2 };
	set_adds(&p.bob, "tags", "vip");
	push_expect(&p.bob, SAT_VERDICT_APPLIED);
	expect_text(&p.w, "account", &p.x, "tags", "[\"gold\",\"vip\"]");
	stop(&p);
}

static struct sat_id deal(struct pair *p)
{
	struct sat_id id = new_id(&p->w);
	struct field f[] = { { "name", text("deal") },
			     { "account_id", idv(&p->x) },
			     { "territory_id", idv(&p->w.t1) },
			     { "stage", text("opportunity") },
			     { NULL, sat_value_null() } };

	local_ok(&p->w, SAT_OP_INSERT, "opportunity", &id, f);
	return id;
}

/* 9: the furthest stage stands; won against lost is for a person */
static void stages_rank(void **state)
{
	static const char *const stages[2][2] = { { "contract", "lost" },
						  { "won", "lost" } };

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct pair p;
		struct sat_id id;
		struct held h;
		struct ledger l;

		start(&p);
		id = deal(&p);
		h = hold(&p.w, "opportunity", &id);
		(void)add_update(&p.ann, &h);
		set_text(&p.ann, "stage", stages[k][0]);
		p.w.now_ms += 1000;
		(void)add_update(&p.bob, &h);
		set_text(&p.bob, "stage", stages[k][1]);
		push_expect(&p.bob, SAT_VERDICT_APPLIED);
		push_expect(&p.ann, SAT_VERDICT_MERGED);
		expect_text(&p.w, "opportunity", &id, "stage", "lost");
		l = ledger_of(&p.w, &id, "stage");
		assert_int_equal(l.count, 1);
		assert_string_equal(l.state, k == 0 ? "auto" : "open");
		stop(&p);
	}
}

/* 10: one transaction, one group of rows, all or nothing */
static void a_transaction_is_atomic(void **state)
{
	struct pair p;
	struct sat_id visit, task, id;
	struct held h;

	(void)state;
	start(&p);
	id = deal(&p);
	h = hold(&p.w, "opportunity", &id);
	visit = new_id(&p.w);
	task = new_id(&p.w);
	for (int bad = 1; bad >= 0; bad--) {
		new_visit(&p, &p.ann, &visit);
		(void)add_update(&p.ann, &h);
		set_text(&p.ann, "stage", "contract");
		(void)add_insert(&p.ann, "task", &task);
		if (!bad)
			set_text(&p.ann, "title", "call");
		if (bad) {
			push_rejected(&p.ann, SAT_REASON_REQUIRED, "title");
			assert_false(is_alive(&p.w, "visit", &visit));
			expect_text(&p.w, "opportunity", &id, "stage",
				    "opportunity");
			check_digests(&p.w);
			check_feed(&p.w);
			continue;
		}
		push_expect(&p.ann, SAT_VERDICT_APPLIED);
		assert_true(is_alive(&p.w, "visit", &visit));
		assert_true(is_alive(&p.w, "task", &task));
		expect_text(&p.w, "opportunity", &id, "stage", "contract");
	}
	stop(&p);
}

struct count {
	uint32_t n;
};

static int on_audit(void *arg, int columns, const char *const *names,
		    const struct sat_value *values)
{
	struct count *c = arg;

	(void)columns;
	(void)names;
	c->n = (uint32_t)values[0].i;
	return SAT_OK;
}

/* 12: a tampered device that writes what its role may not */
static void a_rep_cannot_change_a_target(void **state)
{
	struct pair p;
	struct sat_id id;
	struct held h;
	struct sat_err err;
	struct count audit = { 0 };
	struct field f[] = { { "territory_id", { 0 } },
			     { "metric", text("visits") },
			     { "period", text("month") },
			     { "start_day", text("2026-02-01") },
			     { "value", sat_value_real(10) },
			     { NULL, sat_value_null() } };

	(void)state;
	start(&p);
	id = new_id(&p.w);
	f[0].value = idv(&p.w.t1);
	local_ok(&p.w, SAT_OP_INSERT, "target", &id, f);
	h = hold(&p.w, "target", &id);
	(void)add_update(&p.ann, &h);
	(void)set_value(&p.ann, "value", sat_value_real(1));
	push_rejected(&p.ann, SAT_REASON_ROLE, "value");
	assert_int_equal(stored(&p.w, "target", &id).seq, h.seq);
	assert_int_equal(sat_store_query(p.w.store,
					 "SELECT count(*) FROM _audit"
					 " WHERE what = 'role' AND who = 'ann'",
					 NULL, 0, on_audit, &audit, &err),
			 SAT_OK);
	assert_int_equal(audit.n, 1);
	stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(different_fields_do_not_conflict),
		cmocka_unit_test(the_later_phone_stands),
		cmocka_unit_test(a_wrong_clock_changes_nothing),
		cmocka_unit_test(own_edits_cover_each_other),
		cmocka_unit_test(both_names_are_kept_until_resolved),
		cmocka_unit_test(a_concurrent_update_keeps_the_row_alive),
		cmocka_unit_test(a_child_of_a_deleted_row_opens_an_entry),
		cmocka_unit_test(counters_add_up),
		cmocka_unit_test(adding_wins_in_sets),
		cmocka_unit_test(stages_rank),
		cmocka_unit_test(a_transaction_is_atomic),
		cmocka_unit_test(a_rep_cannot_change_a_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
