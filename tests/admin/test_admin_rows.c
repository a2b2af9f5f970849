/* Texts of people to values and back, and rows found by a column. */
#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/rows.h"

#define OK(call) assert_int_equal(call, SAT_OK)

static struct sat_err err;

static const struct sat_column *column_of(struct world *w, const char *t,
					  const char *name)
{
	const struct sat_table *tab = table(w, t);
	int c;

	OK(sat_admin_column(tab, name, &c, &err));
	return &tab->columns[c];
}

/* What a text becomes, as JSON; NULL: it must be refused. */
static void texts_become_values(void **state)
{
	static const struct {
		const char *table, *column, *text, *json, *why;
	} rows[] = {
		{ "account", "name", "X", "\"X\"", "text" },
		{ "account", "name", "", "\"\"", "empty text is a text" },
		{ "account", "visit_count", "12", "12", "counter" },
		{ "account", "visit_count", "12x", NULL, "not all a number" },
		{ "account", "visit_count", "", NULL, "nothing" },
		{ "account", "visit_count", "99999999999999999999", NULL,
		  "more than 64 bits must not become the largest" },
		{ "account", "visit_count", "-9223372036854775808",
		  "-9223372036854775808", "the least" },
		{ "account", "lat", "31.5", "31.5", "real" },
		{ "account", "lat", "91", NULL, "above its maximum" },
		{ "account", "lat", "nan", NULL, "no number" },
		{ "account", "lat", "1e999", NULL, "infinite" },
		{ "account", "class", "vip", "\"vip\"", "enum" },
		{ "account", "class", "VIP", NULL, "a label is no value" },
		{ "account", "tags", "[\"b\",\"a\"]", "[\"b\",\"a\"]", "set" },
		{ "account", "tags", "b", NULL, "a word is no set" },
		{ "opportunity", "amount", "1234.56", "1234.56", "money" },
		{ "opportunity", "amount", "1234.567", NULL, "three decimals" },
		{ "opportunity", "expect_close", "2026-02-28", "\"2026-02-28\"",
		  "date" },
		{ "opportunity", "expect_close", "2026-02-30", NULL,
		  "no such day" },
		{ "visit", "started_at", "2026-11-21 22:17",
		  "\"2026-11-21T22:17:00.000Z\"", "time" },
		{ "visit", "started_at", "1000", "\"1970-01-01T00:00:01.000Z\"",
		  "milliseconds" },
		{ "visit", "started_at", "soon", NULL, "no time" },
		{ "user", "active", "yes", "true", "bool" },
		{ "user", "active", "0", "false", "bool" },
		{ "user", "active", "2", NULL, "neither" },
		{ "account", "owner_id", "00000000-0000-7000-8000-000000000001",
		  "\"00000000-0000-7000-8000-000000000001\"", "id" },
		{ "account", "owner_id", "00000000-0000-7000-8000-00000000000G",
		  NULL, "not hexadecimal" },
		{ "account", "owner_id", "ann", NULL, "a login is no id" },
	};
	struct world *w = *state;
	json_t *got, *wanted;
	struct sat_value v;
	int rc;

	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		const struct sat_column *c =
			column_of(w, rows[i].table, rows[i].column);

		rc = sat_value_read(&w->arena, c, sat_slice_str(rows[i].text),
				    &v, &err);
		if ((rc == SAT_OK) != (rows[i].json != NULL))
			print_error("%s '%s': %s\n", rows[i].column,
				    rows[i].text, rows[i].why);
		if (rows[i].json == NULL) {
			assert_int_equal(rc, SAT_E_INVAL);
			assert_non_null(strstr(err.msg, rows[i].column));
			continue;
		}
		OK(rc);
		got = sat_value_json(c, &v);
		wanted = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);
		if (!json_equal(got, wanted))
			print_error("%s '%s'\n", rows[i].column, rows[i].text);
		assert_true(json_equal(got, wanted));
		json_decref(got);
		json_decref(wanted);
	}
}

static struct sat_admin admin_of(struct world *w)
{
	return (struct sat_admin){ .engine = w->engine,
				   .store = w->store,
				   .dir = w->dir,
				   .now_ms = w->now_ms };
}

static void rows_are_found(void **state)
{
	struct world *w = *state;
	struct sat_admin a = admin_of(w);
	struct field more[] = { { "name", text("X") },
				{ "territory_id", idv(&w->t1) },
				{ NULL, sat_value_null() } };
	struct sat_id x = account_x(w), y = new_id(w), found;

	OK(sat_admin_find(&a, "account", "name", "X", &found, &err));
	assert_memory_equal(&found, &x, sizeof x);
	assert_int_equal(
		sat_admin_find(&a, "account", "name", "x", &found, &err),
		SAT_E_NOTFOUND);
	local_ok(w, SAT_OP_INSERT, "account", &y, more);
	assert_int_equal(
		sat_admin_find(&a, "account", "name", "X", &found, &err),
		SAT_E_INVAL);
	assert_non_null(strstr(err.msg, "2 rows"));
	/* A deleted one does not count. */
	local_ok(w, SAT_OP_DELETE, "account", &x,
		 (struct field[]){ { NULL, sat_value_null() } });
	OK(sat_admin_find(&a, "account", "name", "X", &found, &err));
	assert_memory_equal(&found, &y, sizeof y);
	assert_int_equal(
		sat_admin_find(&a, "nothing", "name", "X", &found, &err),
		SAT_E_NOTFOUND);
	assert_int_equal(
		sat_admin_find(&a, "account", "nothing", "X", &found, &err),
		SAT_E_NOTFOUND);
}

static void drafts_have_a_ceiling(void **state)
{
	struct world *w = *state;
	struct sat_row_draft d;
	struct sat_id id = new_id(w);

	sat_draft_init(&d, SAT_OP_INSERT, table(w, "account"), &id);
	assert_int_equal(sat_draft_set(&d, "nothing", text("x"), &err),
			 SAT_E_NOTFOUND);
	for (size_t i = 0; i < SAT_COUNT_OF(d.columns); i++)
		OK(sat_draft_set(&d, "name", text("x"), &err));
	assert_int_equal(sat_draft_set(&d, "name", text("x"), &err),
			 SAT_E_LIMIT);
}

/* Counts follow inserts, updates, deletes and revivals. */
static void rows_are_counted(void **state)
{
	struct world *w = *state;
	const struct sat_table *t = table(w, "account");
	struct field phone[] = { { "phone", text("1") },
				 { NULL, sat_value_null() } };
	uint64_t live = 99, deleted = 99;
	struct sat_id x;

	OK(sat_store_count(w->store, t, &live, &deleted, &err));
	assert_true(live == 0 && deleted == 0);
	x = account_x(w);
	local_ok(w, SAT_OP_UPDATE, "account", &x, phone);
	OK(sat_store_count(w->store, t, &live, &deleted, &err));
	assert_true(live == 1 && deleted == 0);
	local_ok(w, SAT_OP_DELETE, "account", &x,
		 (struct field[]){ { NULL, sat_value_null() } });
	OK(sat_store_count(w->store, t, &live, &deleted, &err));
	assert_true(live == 0 && deleted == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(texts_become_values,
						world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(rows_are_found, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(drafts_have_a_ceiling,
						world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(rows_are_counted, world_setup,
						world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
