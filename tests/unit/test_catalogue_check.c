#include "tests/unit/catalogue_small.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>

#define L "'label':{'en':'E','zh':'Z'}"
#define V2                                   \
	{                                    \
		"'version':1", "'version':2" \
	}

static struct sat_catalogue *load_or_fail(const struct edit edits[2])
{
	struct sat_catalogue *c = NULL;
	struct sat_err err = { 0 };

	if (load_edited(edits, &c, &err) != SAT_OK)
		fail_msg("%s", err.msg);
	return c;
}

/* From the small catalogue to it after the edits; NULL says: accepted. */
static void check(const struct edit edits[2], const char *says)
{
	struct edit none[2] = { { NULL, NULL } };
	struct sat_catalogue *old = load_or_fail(none);
	struct sat_catalogue *next = load_or_fail(edits);
	struct sat_err err = { .msg = "accepted" };
	int rc = sat_catalogue_compatible(old, next, &err);

	assert_string_equal(err.msg, says == NULL ? "accepted" : says);
	assert_int_equal(rc, says == NULL ? SAT_OK : SAT_E_INVAL);
	sat_catalogue_free(old);
	sat_catalogue_free(next);
}

static void additions_are_accepted(void **state)
{
	static const struct edit rows[] = {
		{ NULL, NULL }, /* only the version */
		{ "{'name':'ledger'",
		  "{'name':'extra','no':9," L ",'scope':[{'global':true}],"
		  "'insert':['rep'],'columns':[{'name':'c',"
		  "'no':1,'type':'int','required':true," L
		  "}]},{'name':'ledger'" },
		{ "{'name':'tab','no':1,",
		  "{'name':'c','no':9,'type':'int'," L "},{'name':'tab','no':"
		  "1," },
		{ "{'name':'login',",
		  "{'name':'c','no':9,'type':'int',"
		  "'required':true,'default':0," L "},{'name':'login'," },
		{ "{'name':'login',",
		  "{'name':'c','no':9,'type':'time',"
		  "'default':{'now':true}," L "},{'name':'login'," },
		{ "{'name':'deal',",
		  "{'name':'talk','rank':2," L "},{'name':'deal'," },
		{ "'en':'Area'", "'en':'District'" },
		{ "'en':'Rep'", "'en':'Salesperson'" },
		{ "'min':0,", "'min':-1," },
		{ "'min':0,", "" },
		{ "'max':500", "'max':501" },
		{ "'max_bytes':100", "'max_bytes':101" },
		{ "'type':'text','required':true", "'type':'text'" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct edit edits[2] = { V2, rows[i] };

		check(edits, NULL);
	}
}

static void column_changes_are_refused(void **state)
{
	static const struct {
		struct edit edit;
		const char *says;
	} rows[] = {
		{ { "{'name':'extra','no':11", "{'name':'extras','no':11" },
		  "tables.shop.columns.extra.name: a column cannot be "
		  "renamed" },
		{ { "{'name':'extra','no':11", "{'name':'extra','no':13" },
		  "tables.shop.columns.extra: a column cannot be taken away" },
		{ { "'type':'json'", "'type':'text'" },
		  "tables.shop.columns.extra.type: a type cannot change" },
		{ { "'ref':'person'", "'ref':'area'" },
		  "tables.shop.columns.by_id.ref: a reference cannot change "
		  "its table" },
		{ { "'policy':'keep'", "'policy':'first'" },
		  "tables.shop.columns.memo.policy: a policy cannot change" },
		{ { "'write':['manager']", "'write':['manager','hq']" },
		  "tables.shop.columns.memo.write: the roles cannot change" },
		{ { "'read':['hq']", "'read':['hq','rep']" },
		  "tables.person.columns.grade.read: the roles cannot change" },
		{ { "'default':0.5", "'default':0.25" },
		  "tables.shop.columns.ratio.default: a default cannot "
		  "change" },
		{ { "'default':0.5,", "" },
		  "tables.shop.columns.ratio.default: a default cannot "
		  "change" },
		{ { "'max':500", "'max':500,'required':true" },
		  "tables.shop.columns.size.required: existing rows may lack "
		  "it" },
		{ { "'min':0", "'min':1" },
		  "tables.shop.columns.size.min: a limit cannot become "
		  "tighter" },
		{ { "'max':500", "'max':499" },
		  "tables.shop.columns.size.max: a limit cannot become "
		  "tighter" },
		{ { "'default':0.5", "'default':0.5,'max':1" },
		  "tables.shop.columns.ratio.max: a limit cannot become "
		  "tighter" },
		{ { "'default':0.5", "'default':0.5,'min':0" },
		  "tables.shop.columns.ratio.min: a limit cannot become "
		  "tighter" },
		{ { "'max_bytes':100", "'max_bytes':99" },
		  "tables.shop.columns.memo.max_bytes: a limit cannot become "
		  "tighter" },
		{ { "{'name':'deal'", "{'name':'trade'" },
		  "tables.shop.columns.stage.values.deal: a value cannot be "
		  "taken away" },
		{ { "'rank':2", "'rank':3" },
		  "tables.shop.columns.stage.values.deal: a rank cannot "
		  "change" },
		{ { "'terminal':true,", "" },
		  "tables.shop.columns.stage.values.won: a rank cannot "
		  "change" },
		{ { "'percent':20", "'percent':25" },
		  "tables.shop.columns.stage.values.lead: a percent cannot "
		  "change" },
		{ { "{'name':'login',",
		    "{'name':'c','no':9,'type':'int',"
		    "'required':true," L "},{'name':'login'," },
		  "tables.person.columns.c.required: a new column must be "
		  "optional or have a plain default" },
		{ { "{'name':'login',",
		    "{'name':'c','no':9,'type':'time',"
		    "'required':true,'default':"
		    "{'now':true}," L "},{'name':'login'," },
		  "tables.person.columns.c.required: a new column must be "
		  "optional or have a plain default" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct edit edits[2] = { V2, rows[i].edit };

		check(edits, rows[i].says);
	}
}

static void table_changes_are_refused(void **state)
{
	static const struct {
		struct edit edit;
		const char *says;
	} rows[] = {
		{ { "{'name':'ledger','no':4", "{'name':'book','no':4" },
		  "tables.ledger.name: a table cannot be renamed" },
		{ { "{'name':'ledger','no':4", "{'name':'ledger','no':6" },
		  "tables.ledger: a table cannot be taken away" },
		{ { "'append_only':true,", "" },
		  "tables.event.append_only: cannot change" },
		{ { "'derived':true, 'scope':[{'row':['tab','row_id']}]",
		    "'insert':['hq'],'scope':[{'global':true}]" },
		  "tables.ledger.derived: cannot change" },
		{ { "'insert':['hq']", "'insert':['admin']" },
		  "tables.person.insert: the roles cannot change" },
		{ { "'delete':['hq']", "'delete':['rep']" },
		  "tables.person.delete: the roles cannot change" },
		{ { "{'set':'shared'}", "{'via':'by_id'}" },
		  "tables.shop.scope: cannot change" },
		{ { "{'set':'shared'}", "{'set':'shared'},{'via':'by_id'}" },
		  "tables.shop.scope: cannot change" },
		{ { "['tab','row_id']", "['row_id','row_id']" },
		  "tables.ledger.scope: cannot change" },
		{ { "['tab','row_id']", "['tab','tab']" },
		  "tables.ledger.scope: cannot change" },
		{ { "'opened desc'", "'opened'" },
		  "tables.shop.indexes: cannot change" },
		{ { "'opened desc'", "'size desc'" },
		  "tables.shop.indexes: cannot change" },
		{ { "'indexes':[['area_id','opened desc']],", "" },
		  "tables.shop.indexes: cannot change" },
		{ { "'move_with':'shop_id',", "" },
		  "tables.event.move_with: cannot change" },
		{ { "'territory':'area_id','move_with':'shop_id',", "" },
		  "tables.event.territory: cannot change" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct edit edits[2] = { V2, rows[i].edit };

		check(edits, rows[i].says);
	}
}

static void the_version_must_grow(void **state)
{
	struct edit same[2] = { { NULL, NULL } };
	struct edit other[2] = { V2, { "'name':'small'", "'name':'large'" } };

	(void)state;
	check(same, "version: 1 is not above 1");
	check(other, "name: \"large\" is another catalogue than \"small\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(additions_are_accepted),
		cmocka_unit_test(column_changes_are_refused),
		cmocka_unit_test(table_changes_are_refused),
		cmocka_unit_test(the_version_must_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
