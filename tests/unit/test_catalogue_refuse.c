#include "tests/unit/catalogue_small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define L "'label':{'en':'E','zh':'Z'}"

struct refusal {
	struct edit edits[2];
	const char *says; /* after "small.json: " */
};

static void check_refusals(const struct refusal *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct sat_catalogue *c = NULL;
		struct sat_err err = { 0 };
		char want[300];

		(void)snprintf(want, sizeof want, "small.json: %s",
			       rows[i].says);
		if (load_edited(rows[i].edits, &c, &err) == SAT_OK)
			fail_msg("accepted, wanted %s", want);
		assert_null(c);
		assert_int_equal(err.rc, SAT_E_INVAL);
		assert_string_equal(err.msg, want);
	}
}

static void the_top_is_refused_with_reason(void **state)
{
	static const struct refusal rows[] = {
		{ { { "'version':1,", "'version':1,'colour':2," } },
		  "colour: unknown key" },
		{ { { "'version':1,", "'version':1,'a\\nb c\xc3\xa9':2," } },
		  "a?b?c??: unknown key" },
		{ { { "'version':1,", "'version':1,'version':2," } },
		  "line 1, column 37: duplicate object key near "
		  "'\"version\"'" },
		{ { { "'version':1,", "" } }, "version: missing" },
		{ { { "'version':1,", "'version':0," } },
		  "version: must lie between 1 and 2147483647" },
		{ { { "'version':1,", "'version':'1'," } },
		  "version: must be a whole number" },
		{ { { "'name':'small'", "'name':'Small'" } },
		  "name: \"Small\" is not a small letter and up to 39 small "
		  "letters, digits, _" },
		{ { { "'name':'small',", "" } }, "name: missing" },
		{ { { "'name':'small'", "'name':7" } },
		  "name: must be a string" },
		{ { { "'roles':{", "'roles':{'boss':{}," } },
		  "roles.boss: unknown key" },
		{ { { "'rep':{'label':{'en':'Rep','zh':'R'}},", "" } },
		  "roles.rep: missing" },
		{ { { "{'en':'Rep','zh':'R'}", "{'en':'Rep'}" } },
		  "roles.rep.label.zh: missing" },
		{ { { "{'en':'Rep','zh':'R'}", "{'en':'','zh':'R'}" } },
		  "roles.rep.label.en: must not be empty" },
		{ { { "{'en':'Rep','zh':'R'}", "'Rep'" } },
		  "roles.rep.label: must be an object" },
		{ { { "'rep':{'label':{'en':'Rep','zh':'R'}}", "'rep':{}" } },
		  "roles.rep.label: missing" },
	};

	(void)state;
	check_refusals(rows, SAT_COUNT_OF(rows));
}

static void tables_are_refused_with_reason(void **state)
{
	static const struct refusal rows[] = {
		{ { { "'no':1,'label':{'en':'Area'",
		      "'no':2,'label':{'en':'Area'" } },
		  "tables[1].no: 2 is used twice" },
		{ { { "'name':'person'", "'name':'area'" } },
		  "tables[1].name: \"area\" is used twice" },
		{ { { "'name':'person','no':2", "'name':'person','no':0" } },
		  "tables[1].no: must lie between 1 and 65535" },
		{ { { "'name':'person'", "'name':'order'" } },
		  "tables[1].name: \"order\" is a word of SQL" },
		{ { { "'name':'person'", "'name':'sqlite_x'" } },
		  "tables[1].name: \"sqlite_x\" begins like SQLite's own "
		  "tables" },
		{ { { "'name':'person'", "'name':'satchel_x'" } },
		  "tables[1].name: \"satchel_x\" begins like our own tables" },
		{ { { "'name':'person'", "'name':'_satchel_x'" } },
		  "tables[1].name: \"_satchel_x\" is not a small letter and up "
		  "to 39 small letters, digits, _" },
		{ { { "'no':2," L ",'scope':[{'global':true}],",
		      "'no':2," L "," } },
		  "tables.person.scope: missing" },
		{ { { "[{'global':true}],'insert':['admin']",
		      "[],'insert':['admin']" } },
		  "tables.area.scope: must not be empty" },
		{ { { "[{'global':true}],'insert':['admin']",
		      "[{'global':false}],'insert':['admin']" } },
		  "tables.area.scope[0].global: must be true" },
		{ { { "{'set':'shared'}", "{'global':true}" } },
		  "tables.shop.scope[1].global: must be the only source" },
		{ { { "{'set':'shared'}", "{'column':'area_id'}" } },
		  "tables.shop.scope[1]: given twice" },
		{ { { "{'set':'shared'}", "{'set':'memo'}" } },
		  "tables.shop.scope[1].set: column \"memo\" is not of type "
		  "set" },
		{ { { "{'set':'shared'}", "{'set':'none'}" } },
		  "tables.shop.scope[1].set: unknown column \"none\"" },
		{ { { "{'set':'shared'}", "{'set':5}" } },
		  "tables.shop.scope[1].set: must be the name of a column" },
		{ { { "{'set':'shared'}", "{'set':'shared','via':'by_id'}" } },
		  "tables.shop.scope[1]: must have exactly one key" },
		{ { { "{'set':'shared'}", "{}" } },
		  "tables.shop.scope[1]: must have exactly one key" },
		{ { { "{'set':'shared'}", "{'near':'shared'}" } },
		  "tables.shop.scope[1].near: unknown key" },
		{ { { "{'set':'shared'}", "'shared'" } },
		  "tables.shop.scope[1]: must be an object" },
		{ { { "{'set':'shared'}", "{'row':['memo','memo']}" } },
		  "tables.shop.scope[1].row: only for derived tables" },
		{ { { "['tab','row_id']", "['tab']" } },
		  "tables.ledger.scope[0].row: must be the columns that hold a "
		  "table's name and a row's id" },
		{ { { "['tab','row_id']", "['tab','rows']" } },
		  "tables.ledger.scope[0].row: unknown column \"rows\"" },
		{ { { "'insert':['admin'],", "" } },
		  "tables.area.insert: missing" },
		{ { { "'insert':['admin']", "'insert':['boss']" } },
		  "tables.area.insert: unknown role \"boss\"" },
		{ { { "'insert':['admin']", "'insert':['hq','hq']" } },
		  "tables.area.insert: role \"hq\" twice" },
		{ { { "'insert':['admin']", "'insert':'admin'" } },
		  "tables.area.insert: must be a list" },
		{ { { "'insert':['admin']", "'insert':[1]" } },
		  "tables.area.insert: must be a list of roles" },
		{ { { "'derived':true,", "'derived':true,'insert':['hq']," } },
		  "tables.ledger.insert: only the server writes a derived "
		  "table" },
		{ { { "'derived':true,", "'derived':true,'delete':['hq']," } },
		  "tables.ledger.delete: only the server writes a derived "
		  "table" },
		{ { { "'derived':true", "'derived':1" } },
		  "tables.ledger.derived: must be true or false" },
		{ { { "'append_only':true", "'append_only':true,"
					    "'delete':['rep']" } },
		  "tables.event.delete: rows of an append-only table stay" },
		{ { { "'move_with':'shop_id'", "'move_with':'area_id'" } },
		  "tables.event.move_with: table \"area\" has no territory" },
		{ { { "'territory':'area_id','move_with'", "'move_with'" } },
		  "tables.event.move_with: needs territory" },
		{ { { "'territory':'area_id','move_with'",
		      "'territory':'shop_id','move_with'" } },
		  "tables.event.territory: the column is no source of scope" },
		{ { { "'opened desc'", "'opened down'" } },
		  "tables.shop.indexes[0]: unknown column \"opened?down\"" },
		{ { { "['area_id','opened desc']", "['opened desc','size']" } },
		  "tables.shop.indexes[0]: unknown column \"opened?desc\"" },
		{ { { "['area_id','opened desc']", "['size','size desc']" } },
		  "tables.shop.indexes[0]: column \"size\" twice" },
		{ { { "['area_id','opened desc']", "['extra']" } },
		  "tables.shop.indexes[0]: column \"extra\" has type json" },
		{ { { "['area_id','opened desc']", "[]" } },
		  "tables.shop.indexes[0]: must be a list of 1 to 6 columns" },
		{ { { "['area_id','opened desc']", "[1]" } },
		  "tables.shop.indexes[0]: must be a list of column names" },
		{ { { "'append_only':true,",
		      "'append_only':true,'on_delete_conflict':'x'," } },
		  "tables.event.on_delete_conflict: unknown key" },
		{ { { "'no':2," L ",'scope'", "'no':2,'scope'" } },
		  "tables.person.label: missing" },
	};

	(void)state;
	check_refusals(rows, SAT_COUNT_OF(rows));
}

static void columns_are_refused_with_reason(void **state)
{
	static const struct refusal rows[] = {
		{ { { "'policy':'keep'", "'policy':'lastwins'" } },
		  "tables.shop.columns.memo.policy: unknown policy "
		  "\"lastwins\"" },
		{ { { "'type':'json'", "'type':'blob'" } },
		  "tables.shop.columns.extra.type: unknown type \"blob\"" },
		{ { { "'no':11,'type':'json'", "'no':11" } },
		  "tables.shop.columns.extra.type: missing" },
		{ { { "'name':'extra'", "'name':'id'" } },
		  "tables.shop.columns[10].name: \"id\" is there by itself" },
		{ { { "'name':'extra'", "'name':'rowid'" } },
		  "tables.shop.columns[10].name: \"rowid\" is a word of SQL" },
		{ { { "'name':'extra'", "'name':'2nd'" } },
		  "tables.shop.columns[10].name: \"2nd\" is not a small letter "
		  "and up to 39 small letters, digits, _" },
		{ { { "'name':'extra'",
		      "'name':'a2345678901234567890123456789012345678901'" } },
		  "tables.shop.columns[10].name: "
		  "\"a2345678901234567890123456789012345678901\" is not a "
		  "small "
		  "letter and up to 39 small letters, digits, _" },
		{ { { "'name':'extra'", "'name':'memo'" } },
		  "tables.shop.columns[10].name: \"memo\" is used twice" },
		{ { { "'no':11", "'no':7" } },
		  "tables.shop.columns[10].no: 7 is used twice" },
		{ { { "'no':11", "'no':65536" } },
		  "tables.shop.columns[10].no: must lie between 1 and 65535" },
		{ { { "'no':11,", "'no':11,'unique':true," } },
		  "tables.shop.columns.extra.unique: unknown key" },
		{ { { "'ref':'person'", "'ref':'people'" } },
		  "tables.shop.columns.by_id.ref: unknown table \"people\"" },
		{ { { "'ref':'person',", "" } },
		  "tables.shop.columns.by_id.ref: missing" },
		{ { { "'no':11,", "'no':11,'ref':'area'," } },
		  "tables.shop.columns.extra.ref: only for type ref" },
		{ { { "'no':11,", "'no':11,'values':[{'name':'a'}]," } },
		  "tables.shop.columns.extra.values: only for type enum" },
		{ { { "'type':'json'", "'type':'enum'" } },
		  "tables.shop.columns.extra.values: missing" },
		{ { { "'type':'json'", "'type':'enum','values':[]" } },
		  "tables.shop.columns.extra.values: must not be empty" },
		{ { { "'name':'deal'", "'name':'lead'" } },
		  "tables.shop.columns.stage.values[1].name: \"lead\" is used "
		  "twice" },
		{ { { "'name':'deal','rank':2,", "'name':'deal'," } },
		  "tables.shop.columns.stage.values[1].rank: missing; policy "
		  "ordered needs it" },
		{ { { "'rank':2", "'rank':9" } },
		  "tables.shop.columns.stage.values[2].rank: terminal values "
		  "must rank above all others" },
		{ { { "'rank':1,", "'rank':1,'terminal':true," } },
		  "tables.shop.columns.stage.values[1].rank: terminal values "
		  "must rank above all others" },
		{ { { "'percent':20", "'percent':120" } },
		  "tables.shop.columns.stage.values[0].percent: must lie "
		  "between 0 and 100" },
		{ { { "'policy':'ordered',", "" } },
		  "tables.shop.columns.stage.values[0].rank: only for policy "
		  "ordered" },
		{ { { "'policy':'ordered',", "" },
		    { "{'name':'lead','rank':1,'percent':20,",
		      "{'name':'lead','terminal':true," } },
		  "tables.shop.columns.stage.values[0].terminal: only for "
		  "policy ordered" },
		{ { { "'write':['manager']", "'write':['reps']" } },
		  "tables.shop.columns.memo.write: unknown role \"reps\"" },
		{ { { "'write':['manager']",
		      "'write':['manager'],'required':true" } },
		  "tables.shop.columns.memo.required: role rep may insert rows "
		  "but not write the column, and it has no default" },
		{ { { "'write':['manager']",
		      "'write':['manager'],'read':['rep']" } },
		  "tables.shop.columns.memo.read: role manager may write the "
		  "column but not read it" },
		{ { { "'name':'tab','no':1,",
		      "'name':'tab','no':1,'write':['hq']," } },
		  "tables.ledger.columns.tab.write: only the server writes a "
		  "derived table" },
		{ { { "'min':0", "'min':501" } },
		  "tables.shop.columns.size.max: smaller than min" },
		{ { { "'min':0", "'min':0.5" } },
		  "tables.shop.columns.size.min: must be a whole number" },
		{ { { "'max_bytes':100", "'min':1" } },
		  "tables.shop.columns.memo.min: not for type text" },
		{ { { "'type':'counter'", "'type':'counter','max':9" } },
		  "tables.shop.columns.hits.max: not for type counter" },
		{ { { "'max_bytes':100", "'max_bytes':0" } },
		  "tables.shop.columns.memo.max_bytes: must lie between 1 and "
		  "1048576" },
		{ { { "'max_bytes':100", "'max_bytes':1048577" } },
		  "tables.shop.columns.memo.max_bytes: must lie between 1 and "
		  "1048576" },
		{ { { "'max':500", "'max_bytes':5" } },
		  "tables.shop.columns.size.max_bytes: not for type int" },
		{ { { "'type':'counter'",
		      "'type':'counter','required':true" } },
		  "tables.shop.columns.hits.required: not for type counter" },
		{ { { "'type':'set'", "'type':'set','required':true" } },
		  "tables.shop.columns.shared.required: not for type set" },
		{ { { "'type':'set'", "'type':'set','default':'[]'" } },
		  "tables.shop.columns.shared.default: a set has no plain "
		  "default" },
		{ { { "{'author':'user'}", "'me'" } },
		  "tables.shop.columns.by_id.default: a ref has no plain "
		  "default" },
		{ { { "{'author':'user'}", "{'author':'boss'}" } },
		  "tables.shop.columns.by_id.default: must be a plain value, "
		  "{\"now\":true}, {\"today\":true}, {\"author\":\"user\"} or "
		  "{\"author\":\"home\"}" },
		{ { { "{'author':'user'}", "{'author':'user','now':true}" } },
		  "tables.shop.columns.by_id.default: must be a plain value, "
		  "{\"now\":true}, {\"today\":true}, {\"author\":\"user\"} or "
		  "{\"author\":\"home\"}" },
		{ { { "{'author':'user'}", "{'now':true}" } },
		  "tables.shop.columns.by_id.default: only for type time" },
		{ { { "{'now':true}", "{'today':true}" } },
		  "tables.shop.columns.seen_at.default: only for type date" },
		{ { { "{'now':true}", "{'author':'home'}" } },
		  "tables.shop.columns.seen_at.default: only for type ref" },
		{ { { "'default':'lead'", "'default':'gone'" } },
		  "tables.shop.columns.stage.default: is not one of the "
		  "allowed values" },
		{ { { "'default':{'today':true}", "'default':'2026-02-30'" } },
		  "tables.shop.columns.opened.default: is not a date "
		  "YYYY-MM-DD" },
		{ { { "'default':0.5", "'default':true" } },
		  "tables.shop.columns.ratio.default: has the wrong type for "
		  "real" },
		{ { { "'default':true", "'default':1" } },
		  "tables.shop.columns.open.default: has the wrong type for "
		  "bool" },
		{ { { "'max':500", "'max':500,'default':501" } },
		  "tables.shop.columns.size.default: is above the largest "
		  "allowed value" },
		{ { { "'max':500", "'max':500,'default':1.5" } },
		  "tables.shop.columns.size.default: has the wrong type for "
		  "int" },
		{ { { "'max':500", "'max':500,'default':'x'" } },
		  "tables.shop.columns.size.default: is not a whole number" },
	};

	(void)state;
	check_refusals(rows, SAT_COUNT_OF(rows));
}

#define HOP(name, no, to)                                                  \
	"{'name':'" name "','no':" no "," L ",'scope':[{'via':'up_id'}],"  \
	"'insert':['rep'],'columns':[{'name':'up_id','no':1,'type':'ref'," \
	"'ref':'" to "'," L "}]},"
#define LEDGER "{'name':'ledger'"

static void what_spans_tables_is_refused_with_reason(void **state)
{
	static const struct refusal rows[] = {
		{ { { "'ref':'person',   'default':{'author':'user'},",
		      "'ref':'event'," },
		    { "{'set':'shared'}", "{'via':'by_id'}" } },
		  "tables.event.scope: the via chain runs in a circle" },
		{ { { LEDGER, HOP("a", "10", "a") LEDGER } },
		  "tables.a.scope: the via chain runs in a circle" },
		{ { { LEDGER, HOP("a", "10", "event") HOP("b", "11", "a")
				      HOP("c", "12", "b") HOP("d", "13", "c")
					      LEDGER } },
		  "tables.d.scope: the via chain is longer than 4" },
		{ { { "'ref':'area'," L, "'ref':'person'," L } },
		  "tables.shop.columns.area_id.ref: territories must be in "
		  "table \"person\" as elsewhere" },
		{ { { "'ref':'shop'," L,
		      "'ref':'shop','default':{'author':'user'}," L } },
		  "tables.shop.columns.by_id.ref: users must be in table "
		  "\"shop\" as elsewhere" },
	};
	struct edit four_hops[2] = {
		{ LEDGER, HOP("a", "10", "event") HOP("b", "11", "a")
				  HOP("c", "12", "b") LEDGER }
	};
	struct sat_catalogue *c = NULL;
	struct sat_err err;

	(void)state;
	check_refusals(rows, SAT_COUNT_OF(rows));
	assert_int_equal(load_edited(four_hops, &c, &err), SAT_OK);
	sat_catalogue_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_top_is_refused_with_reason),
		cmocka_unit_test(tables_are_refused_with_reason),
		cmocka_unit_test(columns_are_refused_with_reason),
		cmocka_unit_test(what_spans_tables_is_refused_with_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
