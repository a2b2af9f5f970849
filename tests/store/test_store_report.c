/* Reports over a small organisation whose totals are worked out by hand. */
#include "store_fixture.h"

#include "common/text.h"
#include "proto/catalogue_load.h"
#include "server/store/report.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS_MAX = 64 };

enum {
	NATION = 1,
	EAST,
	EAST_TEAM,
	EAST_PATCH,
	WEST,
	MANAGER_EAST = 20,
	MANAGER_WEST,
	REP_ANN,
	REP_BOB,
	PRODUCT_A = 30,
	ACCOUNT = 40,
	DEAL = 60,
	VISIT = 90,
};

/* One row under construction. */
struct draft {
	struct fixture *f;
	const struct sat_table *t;
	struct sat_value values[COLUMNS_MAX];
	struct sat_id ids[8];
	uint32_t id_count;
	bool deleted;
};

static uint64_t next_seq;

static struct draft draft_of(struct fixture *f, const char *table)
{
	return (struct draft){ .f = f, .t = table_of(f->w, table) };
}

static void text(struct draft *d, const char *column, const char *value)
{
	if (value != NULL)
		d->values[column_of(d->t, column)] = text_of(value);
}

static void number(struct draft *d, const char *column, int64_t value)
{
	d->values[column_of(d->t, column)] = sat_value_int(value);
}

static void ref(struct draft *d, const char *column, uint32_t to)
{
	if (to == 0)
		return;
	d->ids[d->id_count] = id_of(to);
	d->values[column_of(d->t, column)] =
		sat_value_id(&d->ids[d->id_count++]);
}

static void save(struct draft *d, uint32_t id)
{
	struct sat_stored_row row = {
		.seq = ++next_seq,
		.id = id_of(id),
		.origin = 1,
		.deleted = d->deleted,
		.meta = sat_slice_str("meta"),
		.values = d->values,
	};

	OK(d->f, sat_store_row_put(d->f->w, d->t, 0, &row, &d->f->err));
}

static void territory(struct fixture *f, uint32_t id, const char *code,
		      const char *level, uint32_t parent)
{
	struct draft d = draft_of(f, "territory");

	text(&d, "code", code);
	text(&d, "name", code);
	text(&d, "level", level);
	ref(&d, "parent_id", parent);
	save(&d, id);
}

static void user(struct fixture *f, uint32_t id, const char *login,
		 const char *role, uint32_t home)
{
	struct draft d = draft_of(f, "user");

	text(&d, "login", login);
	text(&d, "name", login);
	text(&d, "role", role);
	number(&d, "active", 1);
	ref(&d, "territory_id", home);
	save(&d, id);
}

struct deal {
	uint32_t owner, territory;
	const char *stage, *expect_close, *closed_at;
	int64_t amount; /* minor units; -1: NULL */
	bool deleted;
};

static const struct deal deals[] = {
	{ REP_ANN, EAST_PATCH, "won", "2017-05-01", "2017-03-31", 10000, 0 },
	{ REP_ANN, EAST_TEAM, "won", NULL, "2017-04-01", 2050, 0 },
	{ REP_BOB, WEST, "won", NULL, "2017-12-31", 400, 0 },
	{ REP_BOB, WEST, "lost", NULL, "2017-04-02", 700, 0 },
	{ REP_BOB, WEST, "contract", "2017-04-30", NULL, 101, 0 },
	{ REP_ANN, EAST_PATCH, "prospect", NULL, NULL, 1005, 0 },
	{ REP_ANN, EAST_PATCH, "lead", NULL, NULL, -1, 0 },
	{ REP_ANN, EAST_PATCH, "won", NULL, "2017-03-01", 99999, 1 },
	{ 0, NATION, "opportunity", "2018-01-01", NULL, 50, 0 },
};

static void fill_deals(struct fixture *f)
{
	for (uint32_t i = 0; i < SAT_COUNT_OF(deals); i++) {
		struct draft d = draft_of(f, "opportunity");

		ref(&d, "owner_id", deals[i].owner);
		ref(&d, "territory_id", deals[i].territory);
		ref(&d, "product_id", i == 0 ? PRODUCT_A : 0);
		text(&d, "stage", deals[i].stage);
		text(&d, "expect_close", deals[i].expect_close);
		text(&d, "closed_at", deals[i].closed_at);
		if (deals[i].amount >= 0)
			number(&d, "amount", deals[i].amount);
		d.deleted = deals[i].deleted;
		save(&d, DEAL + i);
	}
}

static void fill_account(struct fixture *f, uint32_t id, uint32_t where,
			 uint32_t owner, const char *first)
{
	struct draft d = draft_of(f, "account");
	int64_t ms = 0;

	text(&d, "name", "A");
	ref(&d, "territory_id", where);
	ref(&d, "owner_id", owner);
	if (first != NULL) {
		assert_true(sat_time_parse(sat_slice_str(first), &ms));
		number(&d, "first_contact_at", ms);
	}
	save(&d, id);
}

static void fill_visit(struct fixture *f, uint32_t id, uint32_t account,
		       const char *state, const char *at)
{
	struct draft d = draft_of(f, "visit");
	int64_t ms = 0;

	assert_true(sat_time_parse(sat_slice_str(at), &ms));
	ref(&d, "account_id", account);
	ref(&d, "user_id", REP_ANN);
	ref(&d, "territory_id", EAST_PATCH);
	text(&d, "state", state);
	number(&d, "started_at", ms);
	save(&d, id);
}

static int setup(void **state)
{
	struct fixture *f;
	struct draft product;

	assert_int_equal(fixture_open(state), 0);
	f = *state;
	sat_store_close(f->w);
	(void)snprintf(f->file, sizeof f->file, "%s/full.db", f->dir);
	OK(f, sat_store_open_sqlite(f->file, true, true, &f->w, &f->err));
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_catalogue_put(f->w, sat_catalogue_builtin(), &f->err));
	territory(f, NATION, "cn", "nation", 0);
	territory(f, EAST, "east", "region", NATION);
	territory(f, EAST_TEAM, "east-1", "province", EAST);
	territory(f, EAST_PATCH, "east-1-a", "patch", EAST_TEAM);
	territory(f, WEST, "west", "region", NATION);
	user(f, MANAGER_EAST, "mona", "manager", EAST_TEAM);
	user(f, MANAGER_WEST, "walt", "manager", WEST);
	user(f, REP_ANN, "ann", "rep", EAST_PATCH);
	user(f, REP_BOB, "bob", "rep", WEST);
	product = draft_of(f, "product");
	text(&product, "name", "Product A");
	save(&product, PRODUCT_A);
	fill_deals(f);
	fill_account(f, ACCOUNT, EAST_PATCH, REP_ANN, "2017-03-31 23:59");
	fill_account(f, ACCOUNT + 1, WEST, REP_BOB, NULL); /* id: see below */
	fill_visit(f, VISIT, ACCOUNT, "done", "2017-03-31 23:59:59");
	fill_visit(f, VISIT + 1, ACCOUNT, "checked_in", "2017-04-01");
	fill_visit(f, VISIT + 2, ACCOUNT + 1, "done", "2017-04-02");
	fill_visit(f, VISIT + 3, ACCOUNT + 1, "planned", "2017-04-03");
	fill_visit(f, VISIT + 4, ACCOUNT + 1, "missed", "2017-04-03");
	OK(f, sat_store_commit(f->w, &f->err));
	return 0;
}

/* ---- rows as lines of text ----------------------------------------------- */

struct lines {
	char text[4096];
	size_t len;
	bool headings;
};

static void line_add(struct lines *l, const struct sat_value *v)
{
	int n;

	if (v->kind == SAT_INT)
		n = snprintf(l->text + l->len, sizeof l->text - l->len, "%lld ",
			     (long long)v->i);
	else if (v->kind == SAT_TEXT)
		n = snprintf(l->text + l->len, sizeof l->text - l->len, "%.*s ",
			     (int)v->s.len, (const char *)v->s.ptr);
	else
		n = snprintf(l->text + l->len, sizeof l->text - l->len, "%s ",
			     v->kind == SAT_NULL ? "-" : "?");
	l->len += (size_t)n;
	assert_in_range(l->len, 0, sizeof l->text - 1);
}

static int on_line(void *arg, int columns, const char *const *names,
		   const struct sat_value *values)
{
	struct lines *l = arg;
	struct sat_value name;

	for (int i = 0; l->headings && i < columns; i++) {
		name = text_of(names[i]);
		line_add(l, &name);
	}
	for (int i = 0; !l->headings && i < columns; i++)
		line_add(l, &values[i]);
	l->text[l->len - 1] = '\n';
	return l->headings ? SAT_E_CLOSED : SAT_OK;
}

static void expect(struct fixture *f, enum sat_report report,
		   enum sat_report_by by, const char *want)
{
	struct lines l = { .len = 0 };

	OK(f, sat_report_run(f->w, report, by, on_line, &l, &f->err));
	assert_string_equal(l.text, want);
}

/* deals amount weighted open open_amount won won_amount lost. Weighted: won
 * counts whole, 1,005 at 10 % is 100.5, rounded to 101 (half up). */
static void pipeline_groups(void **state)
{
	struct fixture *f = *state;
	const enum sat_report p = SAT_REPORT_PIPELINE;

	expect(f, p, SAT_BY_REGION,
	       "east east 4 13055 12151 2 1005 2 12050 0\n"
	       "west west 3 1201 481 1 101 1 400 1\n"
	       "- - 1 50 25 1 50 0 0 0\n");
	expect(f, p, SAT_BY_TERRITORY,
	       "cn cn 1 50 25 1 50 0 0 0\n"
	       "east-1 east-1 1 2050 2050 0 0 1 2050 0\n"
	       "east-1-a east-1-a 3 11005 10101 2 1005 1 10000 0\n"
	       "west west 3 1201 481 1 101 1 400 1\n");
	expect(f, p, SAT_BY_MANAGER,
	       "mona mona 4 13055 12151 2 1005 2 12050 0\n"
	       "walt walt 3 1201 481 1 101 1 400 1\n"
	       "- - 1 50 25 1 50 0 0 0\n");
	expect(f, p, SAT_BY_REP,
	       "ann ann 4 13055 12151 2 1005 2 12050 0\n"
	       "bob bob 3 1201 481 1 101 1 400 1\n"
	       "- - 1 50 25 1 50 0 0 0\n");
	expect(f, p, SAT_BY_STAGE,
	       "prospect Prospect 1 1005 101 1 1005 0 0 0\n"
	       "lead Lead 1 0 0 1 0 0 0 0\n"
	       "opportunity Opportunity 1 50 25 1 50 0 0 0\n"
	       "contract Contract 1 101 81 1 101 0 0 0\n"
	       "lost Lost 1 700 0 0 0 0 0 1\n"
	       "won Won 3 12450 12450 0 0 3 12450 0\n");
	expect(f, p, SAT_BY_PRODUCT,
	       "Product A Product A 1 10000 10000 0 0 1 10000 0\n"
	       "- - 7 4306 2657 4 1156 2 2450 1\n");
}

static void pipeline_times(void **state)
{
	struct fixture *f = *state;
	const enum sat_report p = SAT_REPORT_PIPELINE;

	expect(f, p, SAT_BY_MONTH,
	       "2017-03 2017-03 1 10000 10000 0 0 1 10000 0\n"
	       "2017-04 2017-04 3 2851 2131 1 101 1 2050 1\n"
	       "2017-12 2017-12 1 400 400 0 0 1 400 0\n"
	       "2018-01 2018-01 1 50 25 1 50 0 0 0\n"
	       "- - 2 1005 101 2 1005 0 0 0\n");
	expect(f, p, SAT_BY_QUARTER,
	       "2017-Q1 2017-Q1 1 10000 10000 0 0 1 10000 0\n"
	       "2017-Q2 2017-Q2 3 2851 2131 1 101 1 2050 1\n"
	       "2017-Q4 2017-Q4 1 400 400 0 0 1 400 0\n"
	       "2018-Q1 2018-Q1 1 50 25 1 50 0 0 0\n"
	       "- - 2 1005 101 2 1005 0 0 0\n");
}

/* visits accounts new_accounts won won_amount. The second account has no
 * first contact: the time in its id (1,108,152,157,446 ms) is in 2005. */
static void activity_groups(void **state)
{
	struct fixture *f = *state;
	const enum sat_report a = SAT_REPORT_ACTIVITY;

	expect(f, a, SAT_BY_REGION,
	       "east east 3 2 1 2 12050\n"
	       "west west 0 0 1 1 400\n");
	expect(f, a, SAT_BY_REP,
	       "ann ann 3 2 1 2 12050\n"
	       "bob bob 0 0 1 1 400\n");
	expect(f, a, SAT_BY_MONTH,
	       "2005-02 2005-02 0 0 1 0 0\n"
	       "2017-03 2017-03 1 1 1 1 10000\n"
	       "2017-04 2017-04 2 2 0 1 2050\n"
	       "2017-12 2017-12 0 0 0 1 400\n");
	assert_int_equal(
		sat_report_run(f->w, a, SAT_BY_STAGE, on_line, NULL, &f->err),
		SAT_E_INVAL);
	assert_int_equal(
		sat_report_run(f->w, a, SAT_BY_PRODUCT, on_line, NULL, &f->err),
		SAT_E_INVAL);
}

/* The territory's own manager_id is nearer than a manager's home. */
static void a_named_manager_counts_first(void **state)
{
	struct fixture *f = *state;
	struct draft d = draft_of(f, "territory");

	OK(f, sat_store_begin(f->w, &f->err));
	text(&d, "code", "east-2");
	text(&d, "level", "patch");
	ref(&d, "parent_id", EAST_TEAM);
	ref(&d, "manager_id", MANAGER_WEST);
	save(&d, 15);
	d = draft_of(f, "opportunity");
	ref(&d, "territory_id", 15);
	text(&d, "stage", "won");
	number(&d, "amount", 7);
	save(&d, DEAL + 20);
	OK(f, sat_store_commit(f->w, &f->err));
	expect(f, SAT_REPORT_PIPELINE, SAT_BY_MANAGER,
	       "mona mona 4 13055 12151 2 1005 2 12050 0\n"
	       "walt walt 4 1208 488 1 101 2 407 1\n"
	       "- - 1 50 25 1 50 0 0 0\n");
}

/* A circle in the tree is nobody's region, and the report still ends. */
static void a_circle_ends(void **state)
{
	struct fixture *f = *state;
	struct draft d = draft_of(f, "opportunity");

	OK(f, sat_store_begin(f->w, &f->err));
	territory(f, 16, "x", "city", 17);
	territory(f, 17, "y", "city", 16);
	ref(&d, "territory_id", 16);
	text(&d, "stage", "lead");
	save(&d, DEAL + 20);
	OK(f, sat_store_commit(f->w, &f->err));
	expect(f, SAT_REPORT_PIPELINE, SAT_BY_REGION,
	       "east east 4 13055 12151 2 1005 2 12050 0\n"
	       "west west 3 1201 481 1 101 1 400 1\n"
	       "- - 2 50 25 2 50 0 0 0\n");
}

static void words_and_headings(void **state)
{
	struct fixture *f = *state;
	struct lines l = { .headings = true };
	enum sat_report report = SAT_REPORT_ACTIVITY;
	enum sat_report_by by = SAT_BY_COUNT;

	assert_true(sat_report_of(sat_slice_str("pipeline"), &report));
	assert_int_equal(report, SAT_REPORT_PIPELINE);
	assert_true(sat_report_of(sat_slice_str("activity"), &report));
	assert_int_equal(report, SAT_REPORT_ACTIVITY);
	assert_false(sat_report_of(sat_slice_str("pipe"), &report));
	for (int i = 0; i < SAT_BY_COUNT; i++) {
		const char *name = sat_report_by_name((enum sat_report_by)i);

		assert_true(sat_report_by_of(sat_slice_str(name), &by));
		assert_int_equal(by, i);
	}
	assert_false(sat_report_by_of(sat_slice_str("colour"), &by));
	assert_int_equal(sat_report_run(f->w, SAT_REPORT_PIPELINE, SAT_BY_REP,
					on_line, &l, &f->err),
			 SAT_E_CLOSED);
	assert_string_equal(l.text, "rep name deals amount weighted open"
				    " open_amount won won_amount lost\n");
	assert_true(sat_report_money("won_amount"));
	assert_false(sat_report_money("won"));
}

static void other_catalogues_have_no_reports(void **state)
{
	struct fixture *f = *state;
	struct lines l = { .len = 0 };

	assert_int_equal(sat_report_run(f->w, SAT_REPORT_PIPELINE, SAT_BY_REP,
					on_line, &l, &f->err),
			 SAT_E_INVAL);
}

/* The directory of people reads the same catalogue. */
static void people(void **state)
{
	struct fixture *f = *state;
	struct sat_id id = id_of(REP_ANN), home = id_of(EAST_PATCH);
	struct draft d;
	struct sat_user u;

	OK(f, sat_store_user_get(f->w, &id, &u, &f->err));
	assert_string_equal(u.login, "ann");
	assert_int_equal(u.role, SAT_ROLE_REP);
	assert_true(u.active);
	assert_memory_equal(u.home.b, home.b, 16);
	OK(f, sat_store_user_login(f->w, "walt", &u, &f->err));
	assert_int_equal(u.role, SAT_ROLE_MANAGER);
	assert_int_equal(sat_store_user_login(f->w, "nobody", &u, &f->err),
			 SAT_E_NOTFOUND);
	OK(f, sat_store_begin(f->w, &f->err));
	d = draft_of(f, "user");
	text(&d, "login", "gone");
	text(&d, "role", "rep");
	number(&d, "active", 1);
	d.deleted = true;
	save(&d, 28);
	d = draft_of(f, "user");
	text(&d, "login", "odd");
	text(&d, "role", "server"); /* the server's own role is nobody's */
	save(&d, 29);
	OK(f, sat_store_commit(f->w, &f->err));
	assert_int_equal(sat_store_user_login(f->w, "gone", &u, &f->err),
			 SAT_E_NOTFOUND);
	id = id_of(28);
	OK(f, sat_store_user_get(f->w, &id, &u, &f->err));
	assert_false(u.active);
	assert_int_equal(sat_store_user_login(f->w, "odd", &u, &f->err),
			 SAT_E_INVAL);
}

static void no_people_without_their_table(void **state)
{
	struct fixture *f = *state;
	struct sat_user u;

	assert_int_equal(sat_store_user_login(f->w, "ann", &u, &f->err),
			 SAT_E_NOTFOUND);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, fixture_close)
#define SMALL(test) \
	cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pipeline_groups),
		T(pipeline_times),
		T(activity_groups),
		T(a_named_manager_counts_first),
		T(a_circle_ends),
		T(words_and_headings),
		SMALL(other_catalogues_have_no_reports),
		T(people),
		SMALL(no_people_without_their_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
