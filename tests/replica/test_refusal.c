/* The sentences of the triggers: every rule of every table and column of the
 * canonical catalogue can be found back from its English and said in Chinese.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "client/replica/refusal.h"
#include "proto/catalogue_load.h"

static struct sat_catalogue *cat;

static int load(void **state)
{
	struct sat_err err;

	(void)state;
	return sat_catalogue_load(sat_catalogue_builtin(), "builtin", &cat,
				  &err);
}

static int unload(void **state)
{
	(void)state;
	sat_catalogue_free(cat);
	return 0;
}

static bool is_ascii(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

static void check(const struct sat_table *t, const struct sat_column *c,
		  enum sat_refusal why, enum sat_role role)
{
	char en[SAT_REFUSAL_BYTES], message[SAT_REFUSAL_BYTES + 128];
	char zh[SAT_REFUSAL_BYTES + 256], want[SAT_REFUSAL_BYTES];

	sat_refusal_text(why, SAT_LANG_EN, c, role, NULL, en, sizeof en);
	sat_refusal_text(why, SAT_LANG_ZH, c, role, &cat->role_label[role],
			 want, sizeof want);
	assert_true(is_ascii(en));
	assert_false(is_ascii(want));
	(void)snprintf(message, sizeof message, "%s%s%s: %s", t->name,
		       c == NULL ? "" : ".", c == NULL ? "" : c->name, en);
	assert_true(sat_refusal_translate(cat, SAT_LANG_ZH, role, message, zh,
					  sizeof zh));
	assert_non_null(strstr(zh, want));
	assert_non_null(strstr(zh, t->label.text[SAT_LANG_ZH]));
	if (c != NULL)
		assert_non_null(strstr(zh, c->label.text[SAT_LANG_ZH]));
}

static void every_rule_of_every_column(void **state)
{
	(void)state;
	for (uint16_t i = 0; i < cat->table_count; i++) {
		const struct sat_table *t = &cat->tables[i];

		for (int why = 0; why < SAT_REFUSAL_COUNT; why++) {
			if (why != SAT_REFUSAL_TYPE &&
			    why != SAT_REFUSAL_EFFECT)
				check(t, NULL, (enum sat_refusal)why,
				      SAT_ROLE_REP);
			for (uint16_t k = 0; k < t->column_count; k++)
				check(t, &t->columns[k], (enum sat_refusal)why,
				      SAT_ROLE_MANAGER);
		}
	}
}

/* An error keeps 255 bytes; a long list of values is known by its beginning. */
static void a_sentence_that_was_cut(void **state)
{
	struct sat_label label = { { "A long value", "一个很长的值" } };
	struct sat_enum_value values[12];
	struct sat_column c = { .name = "phone", .type = SAT_TYPE_ENUM };
	char names[12][41], en[SAT_REFUSAL_BYTES];

	(void)state;
	for (int i = 0; i < 12; i++) {
		(void)snprintf(names[i], sizeof names[i], "value_%034d", i);
		values[i] = (struct sat_enum_value){ .name = names[i],
						     .label = label };
	}
	c.values = values;
	c.value_count = 12;
	sat_refusal_text(SAT_REFUSAL_TYPE, SAT_LANG_EN, &c, SAT_ROLE_REP, NULL,
			 en, sizeof en);
	assert_true(strlen(en) < sizeof en - 1);
	sat_refusal_text(SAT_REFUSAL_TYPE, SAT_LANG_ZH, &c, SAT_ROLE_REP, NULL,
			 en, sizeof en);
	assert_true(strlen(en) < sizeof en - 1);
}

static void what_is_no_refusal_stays_as_it_is(void **state)
{
	static const char *const not_ours[] = {
		"",
		"no such table: acount",
		"near \"nonsense\": syntax error",
		"account: is wonderful",
		"account.nothing: is required",
		"nothing.name: is required",
		"account.name:is required",
		"account.name: is required too",
		"account.name: is require",
	};
	char out[64] = "untouched";

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(not_ours); i++)
		assert_false(sat_refusal_translate(cat, SAT_LANG_ZH,
						   SAT_ROLE_REP, not_ours[i],
						   out, sizeof out));
	assert_string_equal(out, "untouched");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_rule_of_every_column),
		cmocka_unit_test(a_sentence_that_was_cut),
		cmocka_unit_test(what_is_no_refusal_stays_as_it_is),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
