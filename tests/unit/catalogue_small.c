#include "tests/unit/catalogue_small.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define L "'label':{'en':'E','zh':'Z'}"

const char catalogue_small[] =
	"{'name':'small','version':1,'roles':{"
	"'rep':{'label':{'en':'Rep','zh':'R'}},"
	"'manager':{" L "},'hq':{" L "},'service':{" L "},'admin':{" L "},"
	"'server':{" L "}},'tables':["
	"{'name':'area','no':1,'label':{'en':'Area','zh':'Qu'},"
	" 'scope':[{'global':true}],'insert':['admin'],'columns':["
	"  {'name':'title','no':1,'type':'text','required':true," L "}]},"
	"{'name':'person','no':2," L ",'scope':[{'global':true}],"
	" 'insert':['hq'],'delete':['hq'],'columns':["
	"  {'name':'login','no':1,'type':'text'," L "},"
	"  {'name':'grade','no':2,'type':'int','read':['hq']," L "}]},"
	"{'name':'shop','no':5," L ",'scope':[{'column':'area_id'},"
	"  {'set':'shared'}],'insert':['rep','manager'],'delete':['manager'],"
	" 'territory':'area_id','indexes':[['area_id','opened desc']],"
	" 'columns':["
	"  {'name':'area_id','no':1,'type':'ref','ref':'area','required':true,"
	"   'default':{'author':'home'}," L "},"
	"  {'name':'opened','no':2,'type':'date','default':{'today':true}," L
	"},"
	"  {'name':'by_id','no':3,'type':'ref','ref':'person',"
	"   'default':{'author':'user'}," L "},"
	"  {'name':'stage','no':4,'type':'enum','policy':'ordered',"
	"   'default':'lead','values':["
	"    {'name':'lead','rank':1,'percent':20," L "},"
	"    {'name':'deal','rank':2," L "},"
	"    {'name':'won','rank':9,'terminal':true,'percent':100," L "}]," L
	"},"
	"  {'name':'shared','no':5,'type':'set'," L "},"
	"  {'name':'hits','no':6,'type':'counter'," L "},"
	"  {'name':'size','no':7,'type':'int','min':0,'max':500," L "},"
	"  {'name':'memo','no':8,'type':'text','max_bytes':100,"
	"   'policy':'keep','write':['manager']," L "},"
	"  {'name':'ratio','no':9,'type':'real','default':0.5," L "},"
	"  {'name':'seen_at','no':10,'type':'time','policy':'max',"
	"   'default':{'now':true}," L "},"
	"  {'name':'extra','no':11,'type':'json'," L "},"
	"  {'name':'open','no':12,'type':'bool','default':true," L "}]},"
	"{'name':'event','no':3," L ",'scope':[{'via':'shop_id'},"
	"  {'column':'area_id'}],'insert':['rep'],'append_only':true,"
	" 'territory':'area_id','move_with':'shop_id','columns':["
	"  {'name':'shop_id','no':2,'type':'ref','ref':'shop'," L "},"
	"  {'name':'area_id','no':1,'type':'ref','ref':'area'," L "}]},"
	"{'name':'ledger','no':4," L ",'derived':true,"
	" 'scope':[{'row':['tab','row_id']}],'columns':["
	"  {'name':'tab','no':1,'type':'text'," L "},"
	"  {'name':'row_id','no':2,'type':'text'," L "}]}"
	"]}";

static char *replace(char *text, const struct edit *e)
{
	char *at = strstr(text, e->find), *out;
	size_t before, len = strlen(text);

	if (at == NULL || strstr(at + 1, e->find) != NULL)
		fail_msg("edit must match once: %s", e->find);
	before = (size_t)(at - text);
	out = malloc(len + strlen(e->put) + 1);
	assert_non_null(out);
	memcpy(out, text, before);
	strcpy(out + before, e->put);
	strcat(out, at + strlen(e->find));
	free(text);
	return out;
}

char *edited(const char *text, const struct edit edits[2])
{
	char *out = strdup(text);

	assert_non_null(out);
	for (int i = 0; i < 2; i++) {
		if (edits[i].find != NULL)
			out = replace(out, &edits[i]);
	}
	for (char *p = out; *p != '\0'; p++)
		*p = *p == '\'' ? '"' : *p;
	return out;
}

int load_edited(const struct edit edits[2], struct sat_catalogue **ret,
		struct sat_err *err)
{
	char *json = edited(catalogue_small, edits);
	int rc =
		sat_catalogue_load(sat_slice_str(json), "small.json", ret, err);

	free(json);
	return rc;
}
