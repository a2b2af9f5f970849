#include "common/text.h"
#include "proto/catalogue_load.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHIPPED SAT_SOURCE_DIR "/proto/catalogue/field_sales.json"

static struct sat_catalogue *shipped;

static int load_shipped(void **state)
{
	struct sat_err err;

	(void)state;
	if (sat_catalogue_load_file(SHIPPED, &shipped, &err) == SAT_OK)
		return 0;
	print_error("%s\n", err.msg);
	return -1;
}

static int free_shipped(void **state)
{
	(void)state;
	sat_catalogue_free(shipped);
	return 0;
}

static const struct sat_column *column(const char *table, const char *name)
{
	const struct sat_table *t =
		sat_catalogue_table(shipped, sat_slice_str(table));
	int i = t == NULL ? -1 : sat_table_column(t, sat_slice_str(name));

	if (i < 0)
		fail_msg("no column %s.%s", table, name);
	return &t->columns[i];
}

static void names_and_numbers_lead_to_the_same(void **state)
{
	(void)state;
	for (int i = 0; i < shipped->table_count; i++) {
		const struct sat_table *t = &shipped->tables[i];

		assert_ptr_equal(
			sat_catalogue_table(shipped, sat_slice_str(t->name)),
			t);
		assert_ptr_equal(sat_catalogue_table_no(shipped, t->no), t);
		for (int j = 0; j < t->column_count; j++) {
			const struct sat_column *c = &t->columns[j];

			assert_int_equal(
				sat_table_column(t, sat_slice_str(c->name)), j);
			assert_int_equal(sat_table_column_no(t, c->no), j);
		}
		assert_int_equal(sat_table_column(t, sat_slice_str("none")),
				 -1);
		assert_int_equal(sat_table_column_no(t, 0), -1);
		assert_int_equal(sat_table_column_no(t, 70000), -1);
	}
	assert_null(sat_catalogue_table(shipped, sat_slice_str("accounts")));
	assert_null(sat_catalogue_table(shipped, sat_slice_str("")));
	assert_null(sat_catalogue_table_no(shipped, 0));
	assert_null(sat_catalogue_table_no(shipped, 70000));
}

static void roles_have_names(void **state)
{
	(void)state;
	for (int r = 0; r < SAT_ROLE_COUNT; r++) {
		const char *name = sat_role_name((enum sat_role)r);

		assert_int_equal(sat_role_of(sat_slice_str(name)), r);
	}
	assert_int_equal(sat_role_of(sat_slice_str("Rep")), SAT_ROLE_COUNT);
	assert_int_equal(sat_role_of(sat_slice_str("")), SAT_ROLE_COUNT);
}

static void labelled(const struct sat_label *l)
{
	for (int lang = 0; lang < SAT_LANG_COUNT; lang++) {
		assert_non_null(l->text[lang]);
		assert_true(strlen(l->text[lang]) > 0);
		assert_true(sat_utf8_valid(sat_slice_str(l->text[lang])));
	}
}

static void everything_shipped_is_labelled(void **state)
{
	(void)state;
	for (int r = 0; r < SAT_ROLE_COUNT; r++)
		labelled(&shipped->role_label[r]);
	for (int i = 0; i < shipped->table_count; i++) {
		const struct sat_table *t = &shipped->tables[i];

		labelled(&t->label);
		for (int j = 0; j < t->column_count; j++) {
			labelled(&t->columns[j].label);
			for (int k = 0; k < t->columns[j].value_count; k++)
				labelled(&t->columns[j].values[k].label);
		}
	}
	assert_string_equal(sat_column_enum(column("account", "class"),
					    sat_slice_str("normal"))
				    ->label.text[SAT_LANG_ZH],
			    "普通");
}

/* DESIGN section 2: the tables, and the names that other parts rely on. */
static void what_others_rely_on_is_shipped(void **state)
{
	static const char *const names[][2] = {
		{ "territory", "code name level parent_id" },
		{ "user", "login name role territory_id active" },
		{ "account", "name territory_id shared_with class owner_id "
			     "phone email address city industry website source "
			     "needs tags visit_count lat lon" },
		{ "contact", "account_id name" },
		{ "visit", "account_id user_id territory_id started_at "
			   "ended_at lat lon outcome notes next_action next_at "
			   "purpose" },
		{ "visit_event", "visit_id at place" },
		{ "note", "account_id opportunity_id visit_id body" },
		{ "opportunity", "name account_id owner_id territory_id "
				 "product_id stage amount expect_close "
				 "closed_at" },
		{ "stage_event", "opportunity_id from_stage to_stage at" },
		{ "product", "name list_price" },
		{ "task", "title account_id due_at state territory_id" },
		{ "target", "territory_id metric period value" },
		{ "survey_response", "account_id territory_id score" },
		{ "ticket", "title account_id state territory_id" },
		{ "pipeline_rollup", "territory_id owner_id stage month "
				     "amount weighted" },
		{ "activity_rollup", "territory_id user_id day visits" },
		{ "conflict", "table_name row_id field policy shown_value "
			      "losing_value base_value shown_by losing_by "
			      "shown_at losing_at shown_dot losing_dot "
			      "sibling_count state outcome resolved_by "
			      "resolved_at" },
	};

	(void)state;
	assert_int_equal(shipped->table_count, SAT_COUNT_OF(names));
	for (size_t i = 0; i < SAT_COUNT_OF(names); i++) {
		char *copy = strdup(names[i][1]), *rest = NULL, *word;

		assert_non_null(copy);
		for (word = strtok_r(copy, " ", &rest); word != NULL;
		     word = strtok_r(NULL, " ", &rest))
			(void)column(names[i][0], word);
		free(copy);
	}
}

/* A rep logs work with plain SQL: what must be given is little, and nothing
 * of it is out of reach. */
static void a_rep_needs_to_give_little(void **state)
{
	static const struct {
		const char *table, *given;
	} rows[] = {
		{ "account", "name" },     { "contact", "account_id name" },
		{ "visit", "account_id" }, { "visit_event", "visit_id kind" },
		{ "note", "body" },        { "opportunity", "" },
		{ "task", "title" },       { "survey_response", "" },
		{ "ticket", "title" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		const struct sat_table *t = sat_catalogue_table(
			shipped, sat_slice_str(rows[i].table));
		char given[200] = "";

		assert_non_null(t);
		assert_true(t->insert & SAT_ROLE_BIT(SAT_ROLE_REP));
		for (int j = 0; j < t->column_count; j++) {
			const struct sat_column *c = &t->columns[j];

			if (!c->required || c->def != SAT_DEFAULT_NONE)
				continue;
			if (given[0] != '\0')
				strcat(given, " ");
			strcat(given, c->name);
			assert_true(c->write & SAT_ROLE_BIT(SAT_ROLE_REP));
		}
		assert_string_equal(given, rows[i].given);
	}
}

static void the_funnel_is_the_agreed_one(void **state)
{
	static const struct {
		const char *name, *zh;
		int percent;
		bool terminal;
	} rows[] = {
		{ "prospect", "潜在客户", 10, false },
		{ "lead", "线索", 20, false },
		{ "opportunity", "机会", 50, false },
		{ "contract", "合同", 80, false },
		{ "won", "成交", 100, true },
		{ "lost", "丢单", 0, true },
	};
	const struct sat_column *c = column("opportunity", "stage");

	(void)state;
	assert_int_equal(c->policy, SAT_POLICY_ORDERED);
	assert_int_equal(c->value_count, SAT_COUNT_OF(rows));
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		assert_string_equal(c->values[i].name, rows[i].name);
		assert_string_equal(c->values[i].label.text[SAT_LANG_ZH],
				    rows[i].zh);
		assert_int_equal(c->values[i].percent, rows[i].percent);
		assert_int_equal(c->values[i].terminal, rows[i].terminal);
	}
}

static void access_is_the_agreed_one(void **state)
{
	uint32_t rep = SAT_ROLE_BIT(SAT_ROLE_REP);
	uint32_t manager = SAT_ROLE_BIT(SAT_ROLE_MANAGER);

	(void)state;
	/* Worked example 12: a rep's change of a target is refused. */
	assert_false(column("target", "value")->write & rep);
	assert_true(column("target", "value")->write & manager);
	assert_false(column("account", "credit_limit")->read & rep);
	assert_true(column("account", "credit_limit")->read & manager);
	assert_int_equal(column("conflict", "state")->write,
			 SAT_ROLE_BIT(SAT_ROLE_SERVER));
	assert_int_equal(column("account", "name")->policy, SAT_POLICY_KEEP);
	assert_int_equal(column("account", "phone")->policy, SAT_POLICY_LWW);
	assert_int_equal(column("account", "visit_count")->policy,
			 SAT_POLICY_COUNTER);
	assert_int_equal(column("account", "tags")->policy, SAT_POLICY_SET);
}

static void the_built_in_one_is_the_shipped_one(void **state)
{
	struct sat_slice builtin = sat_catalogue_builtin();
	struct sat_catalogue *c = NULL;
	struct sat_err err;

	(void)state;
	assert_int_equal(sat_catalogue_load(builtin, "builtin", &c, &err),
			 SAT_OK);
	assert_string_equal(c->name, shipped->name);
	assert_int_equal(c->version, shipped->version);
	assert_int_equal(c->table_count, shipped->table_count);
	sat_catalogue_free(c);
}

/* Devices load the canonical text. */
static void the_canonical_text_loads(void **state)
{
	struct sat_catalogue *c = NULL;
	struct sat_buf text;
	struct sat_err err;

	(void)state;
	sat_buf_init(&text, SAT_CATALOGUE_BYTES_MAX);
	assert_int_equal(
		sat_catalogue_canonical(sat_catalogue_builtin(), &text, &err),
		SAT_OK);
	assert_int_equal(
		sat_catalogue_load(sat_buf_peek(&text), "sent", &c, &err),
		SAT_OK);
	assert_int_equal(c->table_count, shipped->table_count);
	for (int i = 0; i < c->table_count; i++)
		assert_int_equal(c->tables[i].column_count,
				 shipped->tables[i].column_count);
	sat_catalogue_free(c);
	sat_buf_fini(&text);
}

static const struct sat_enum_value colours[] = {
	{ .name = "red" },
	{ .name = "green" },
};

#define TEXT(t)                                                               \
	{                                                                     \
		.kind = SAT_TEXT, .s = {(const uint8_t *)(t), sizeof(t) - 1 } \
	}
#define BLOB(n)                                                     \
	{                                                           \
		.kind = SAT_BLOB, .s = {(const uint8_t *)bytes, n } \
	}
#define INT(n)                            \
	{                                 \
		.kind = SAT_INT, .i = (n) \
	}
#define REAL(n)                            \
	{                                  \
		.kind = SAT_REAL, .r = (n) \
	}

static void values_are_judged(void **state)
{
	static const char bytes[40];
	static const struct sat_column limits = {
		.has_min = true,
		.has_max = true,
		.min = -2,
		.max = 9,
		.max_bytes = 4,
		.values = colours,
		.value_count = 2,
	};
	static const struct {
		enum sat_type type;
		struct sat_value v;
		const char *why; /* NULL: accepted */
	} rows[] = {
		{ SAT_TYPE_REF, BLOB(16), NULL },
		{ SAT_TYPE_REF, BLOB(15), "is not an id" },
		{ SAT_TYPE_REF, TEXT("x"), "is not an id" },
		{ SAT_TYPE_BLOBREF, BLOB(32), NULL },
		{ SAT_TYPE_BLOBREF, BLOB(16), "is not a SHA-256 hash" },
		{ SAT_TYPE_BLOBREF, INT(1), "is not a SHA-256 hash" },
		{ SAT_TYPE_TEXT, TEXT("abcd"), NULL },
		{ SAT_TYPE_TEXT, TEXT(""), NULL },
		{ SAT_TYPE_TEXT, TEXT("abcde"), "is too long" },
		{ SAT_TYPE_TEXT, TEXT("a\0b"),
		  "is not UTF-8 text without NUL" },
		{ SAT_TYPE_TEXT, TEXT("\xff"),
		  "is not UTF-8 text without NUL" },
		{ SAT_TYPE_TEXT, INT(5), "is not text" },
		{ SAT_TYPE_TEXT, BLOB(2), "is not text" },
		{ SAT_TYPE_SET, TEXT("vip"), NULL },
		{ SAT_TYPE_SET, TEXT("vip12"), "is too long" },
		{ SAT_TYPE_JSON, TEXT("[1]"), NULL },
		{ SAT_TYPE_JSON, TEXT("[1"), "is not JSON" },
		{ SAT_TYPE_JSON, TEXT("[1,2]"), "is too long" },
		{ SAT_TYPE_INT, INT(-2), NULL },
		{ SAT_TYPE_INT, INT(9), NULL },
		{ SAT_TYPE_INT, INT(-3),
		  "is below the smallest allowed value" },
		{ SAT_TYPE_INT, INT(10), "is above the largest allowed value" },
		{ SAT_TYPE_INT, REAL(1), "is not a whole number" },
		{ SAT_TYPE_MONEY, INT(10),
		  "is above the largest allowed value" },
		{ SAT_TYPE_MONEY, TEXT("1"), "is not a whole number" },
		{ SAT_TYPE_TIME, INT(3), NULL },
		{ SAT_TYPE_COUNTER, INT(3), NULL },
		{ SAT_TYPE_COUNTER, REAL(3), "is not a whole number" },
		{ SAT_TYPE_BOOL, INT(0), NULL },
		{ SAT_TYPE_BOOL, INT(1), NULL },
		{ SAT_TYPE_BOOL, INT(2), "is neither 0 nor 1" },
		{ SAT_TYPE_REAL, REAL(9), NULL },
		{ SAT_TYPE_REAL, REAL(9.001),
		  "is above the largest allowed value" },
		{ SAT_TYPE_REAL, REAL(-2.001),
		  "is below the smallest allowed value" },
		{ SAT_TYPE_REAL, REAL(NAN), "is not a finite number" },
		{ SAT_TYPE_REAL, REAL(INFINITY), "is not a finite number" },
		{ SAT_TYPE_REAL, INT(1), "is not a number" },
		{ SAT_TYPE_DATE, TEXT("2024-02-29"), NULL },
		{ SAT_TYPE_DATE, TEXT("2023-02-29"),
		  "is not a date YYYY-MM-DD" },
		{ SAT_TYPE_ENUM, TEXT("green"), NULL },
		{ SAT_TYPE_ENUM, TEXT("Green"),
		  "is not one of the allowed values" },
		{ SAT_TYPE_ENUM, TEXT(""), "is not one of the allowed values" },
		{ SAT_TYPE_ENUM, INT(0), "is not text" },
		{ SAT_TYPE_GEO, TEXT("31.2304000,121.4737000"), NULL },
		{ SAT_TYPE_GEO, TEXT("31.23,121.47"),
		  "is not a place LAT,LON with 7 decimals each" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_column c = limits;
		struct sat_value null = { .kind = SAT_NULL };
		const char *why = NULL;

		c.type = rows[i].type;
		assert_int_equal(sat_column_accepts(&c, &rows[i].v, &why),
				 rows[i].why == NULL);
		if (rows[i].why == NULL)
			assert_null(why);
		else
			assert_string_equal(why, rows[i].why);
		assert_true(sat_column_accepts(&c, &null, &why));
	}
}

static void no_limits_mean_no_limits(void **state)
{
	struct sat_column c = { .type = SAT_TYPE_INT };
	struct sat_value low = INT(INT64_MIN), high = INT(INT64_MAX);
	const char *why;

	(void)state;
	assert_true(sat_column_accepts(&c, &low, &why));
	assert_true(sat_column_accepts(&c, &high, &why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_numbers_lead_to_the_same),
		cmocka_unit_test(roles_have_names),
		cmocka_unit_test(everything_shipped_is_labelled),
		cmocka_unit_test(what_others_rely_on_is_shipped),
		cmocka_unit_test(a_rep_needs_to_give_little),
		cmocka_unit_test(the_funnel_is_the_agreed_one),
		cmocka_unit_test(access_is_the_agreed_one),
		cmocka_unit_test(the_built_in_one_is_the_shipped_one),
		cmocka_unit_test(the_canonical_text_loads),
		cmocka_unit_test(values_are_judged),
		cmocka_unit_test(no_limits_mean_no_limits),
	};

	return cmocka_run_group_tests(tests, load_shipped, free_shipped);
}
