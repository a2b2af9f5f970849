/* What a derived table says it is computed from: taken as it is meant, or
 * refused with the place and the reason. */
#include "tests/unit/catalogue_small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define L "'label':{'en':'E','zh':'Z'}"

#define LEDGER "{'name':'ledger'"

/* A roll-up and a history before the ledger; each part stands once. */
#define FIGURES                                                                \
	"{'name':'totals','no':20," L ",'derived':true,"                       \
	" 'scope':[{'column':'node_id'}],"                                     \
	" 'rollup':{'levels':true,'key':['node_id','who','rung','month'],"     \
	"  'sources':[{'table':'shop','where':{'column':'stage',"              \
	"   'in':['lead','won']},'key':{'node_id':'area_id','who':'by_id',"    \
	"   'rung':'stage','month':{'month':['opened','seen_at','id']}},"      \
	"   'sums':{'n':{'count':true},'sizes':{'count':'size'},"              \
	"   'sum':{'sum':'size'},'part':{'sum':'size','percent':'stage'}}}]}," \
	" 'columns':["                                                         \
	"  {'name':'node_id','no':1,'type':'ref','ref':'area'," L "},"         \
	"  {'name':'who','no':2,'type':'ref','ref':'person'," L "},"           \
	"  {'name':'rung','no':3,'type':'enum','values':["                     \
	"   {'name':'lead'," L "},{'name':'deal'," L "},"                      \
	"   {'name':'won'," L "}]," L "},"                                     \
	"  {'name':'month','no':4,'type':'text'," L "},"                       \
	"  {'name':'n','no':5,'type':'int'," L "},"                            \
	"  {'name':'sizes','no':6,'type':'int'," L "},"                        \
	"  {'name':'sum','no':7,'type':'int'," L "},"                          \
	"  {'name':'part','no':8,'type':'int'," L "}]},"                       \
	"{'name':'moves','no':21," L ",'derived':true,"                        \
	" 'scope':[{'via':'row_id'}],"                                         \
	" 'history':{'table':'shop','column':'stage','row':'row_id',"          \
	"  'from':'was','to':'became','at':'at','days':'days',"                \
	"  'began':'opened'},"                                                 \
	" 'columns':["                                                         \
	"  {'name':'row_id','no':1,'type':'ref','ref':'shop'," L "},"          \
	"  {'name':'was','no':2,'type':'enum','values':["                      \
	"   {'name':'lead'," L "},{'name':'deal'," L "},"                      \
	"   {'name':'won'," L "}]," L "},"                                     \
	"  {'name':'became','no':3,'type':'enum','values':["                   \
	"   {'name':'lead'," L "},{'name':'deal'," L "},"                      \
	"   {'name':'won'," L "}]," L "},"                                     \
	"  {'name':'at','no':4,'type':'time'," L "},"                          \
	"  {'name':'days','no':5,'type':'real'," L "}]}," LEDGER

static void what_is_meant(void **state)
{
	static const struct edit edits[2] = { { LEDGER, FIGURES } };
	const struct sat_table *totals, *moves, *shop;
	const struct sat_rollup_source *s;
	struct sat_catalogue *c = NULL;
	struct sat_err err;

	(void)state;
	if (load_edited(edits, &c, &err) != SAT_OK)
		fail_msg("%s", err.msg);
	totals = sat_catalogue_table(c, sat_slice_str("totals"));
	moves = sat_catalogue_table(c, sat_slice_str("moves"));
	shop = sat_catalogue_table(c, sat_slice_str("shop"));
	assert_null(shop->rollup);
	assert_null(totals->history);
	assert_true(totals->rollup->all_levels);
	assert_int_equal(totals->rollup->key_count, 4);
	assert_int_equal(totals->rollup->measure_count, 4);
	assert_int_equal(totals->rollup->measures[0], 4);
	assert_int_equal(totals->rollup->source_count, 1);
	s = &totals->rollup->sources[0];
	assert_int_equal(s->table, shop->index);
	assert_string_equal(shop->columns[s->filter].name, "stage");
	assert_int_equal(s->accepted_count, 2);
	assert_string_equal(s->accepted[1], "won");
	assert_int_equal(s->keys[3].kind, SAT_KEY_MONTH);
	assert_int_equal(s->keys[3].column_count, 3);
	assert_int_equal(s->keys[3].columns[2], SAT_ROLLUP_ID);
	assert_int_equal(s->sum_count, 4);
	assert_int_equal(moves->history->table, shop->index);
	assert_int_equal(moves->history->by, -1);
	assert_int_equal(moves->history->ended, -1);
	assert_string_equal(shop->columns[moves->history->began].name,
			    "opened");
	sat_catalogue_free(c);
}

struct refusal {
	const char *find, *put, *says;
};

#define TOTALS "tables.totals.rollup"
#define MOVES  "tables.moves.history"

static void what_is_refused(void **state)
{
	static const struct refusal rows[] = {
		{ "'levels':true", "'levels':1",
		  TOTALS ".levels: must be true or false" },
		{ "'levels':true", "'depth':true",
		  TOTALS ".depth: unknown key" },
		{ "'key':['node_id',", "'key':['nobody',",
		  TOTALS ".key: unknown column \"nobody\"" },
		{ "'key':['node_id',", "'key':['who','node_id',",
		  TOTALS ".key: column \"who\" twice" },
		{ "'key':['node_id','who'", "'key':['who','node_id'",
		  TOTALS ".key: the first column must be the table's only "
			 "scope" },
		{ "'sources':[{'table':'shop'", "'sources':[{'table':'ledger'",
		  TOTALS ".sources[0].table: \"ledger\" is no table that "
			 "people write" },
		{ "'in':['lead'", "'in':['gone'",
		  TOTALS ".sources[0].where.in: must list values of "
			 "\"stage\"" },
		{ "'node_id':'area_id',", "",
		  TOTALS ".sources[0].key.node_id: missing" },
		{ "'who':'by_id'", "'who':'area_id'",
		  TOTALS ".sources[0].key.who: \"area_id\" is not of its type "
			 "and values" },
		{ "'opened','seen_at'", "'opened','memo'",
		  TOTALS ".sources[0].key.month: \"memo\" is neither a time "
			 "nor a date" },
		{ "{'month':[", "{'day':[",
		  TOTALS ".sources[0].key.month: a month goes into a text, a "
			 "day into a date" },
		{ "'n':{'count':true}", "'rung':{'count':true}",
		  TOTALS ".sources[0].sums.rung: is no measure" },
		{ "'n':{'count':true}", "'n':{}",
		  TOTALS ".sources[0].sums.n: needs either count or sum" },
		{ "'sum':{'sum':'size'}", "'sum':{'sum':'ratio'}",
		  TOTALS ".sources[0].sums.sum: \"ratio\" is not of type int" },
		{ "'percent':'stage'", "'percent':'memo'",
		  TOTALS ".sources[0].sums.percent: \"memo\" is no enum" },
		{ "{'name':'n','no':5,'type':'int'",
		  "{'name':'n','no':5,'type':'real'",
		  TOTALS ".n: a measure is an int or money without limits" },
		{ "{'name':'n','no':5,'type':'int'",
		  "{'name':'n','no':5,'type':'int','min':0",
		  TOTALS ".n: a measure is an int or money without limits" },
		/* whoever may not read the sizes does not get their sum */
		{ "'min':0,'max':500,", "'read':['rep','manager','hq'],",
		  TOTALS ".sources[0].sums.sizes: is read by roles that may "
			 "not read shop.size" },
		{ "'row':'row_id'", "'row':'at'",
		  MOVES ".row: \"at\" is not of type ref" },
		{ "'from':'was',", "", MOVES ".from: missing" },
		{ "'began':'opened'", "'began':'seen_at'",
		  MOVES ".began: \"seen_at\" is not of type date" },
		{ "'history':{'table':'shop'", "'history':{'table':'event'",
		  MOVES ".column: unknown column \"stage\"" },
		{ "{'name':'deal','rank':2," L "},",
		  "{'name':'deal','rank':2," L "},"
		  "{'name':'talk','rank':3," L "},",
		  TOTALS ".sources[0].key.rung: \"stage\" is not of its type "
			 "and values" },
		{ ",'derived':true, 'scope':[{'via':'row_id'}]",
		  ",'insert':['rep'], 'scope':[{'via':'row_id'}]",
		  "tables.moves.history: only for a derived table, and one "
		  "of both" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct edit edits[2] = { { LEDGER, FIGURES },
					 { rows[i].find, rows[i].put } };
		struct sat_catalogue *c = NULL;
		struct sat_err err = { 0 };
		char want[300];

		(void)snprintf(want, sizeof want, "small.json: %s",
			       rows[i].says);
		if (load_edited(edits, &c, &err) == SAT_OK)
			fail_msg("accepted, wanted %s", want);
		assert_int_equal(err.rc, SAT_E_INVAL);
		assert_string_equal(err.msg, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_meant),
		cmocka_unit_test(what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
