#include "tests/unit/catalogue_small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#define L "'label':{'en':'E','zh':'Z'}"

#define LEDGER "{'name':'ledger'"

/* A column of every type with every policy: taken exactly where README.md of
 * the catalogue says so. */
static void policies_fit_types(void **state)
{
	static const char *const fits[SAT_TYPE_COUNT] = {
		[SAT_TYPE_REF] = "lww keep first",
		[SAT_TYPE_TEXT] = "lww keep first",
		[SAT_TYPE_INT] = "lww keep max min first",
		[SAT_TYPE_REAL] = "lww keep max min first",
		[SAT_TYPE_BOOL] = "lww keep max min first",
		[SAT_TYPE_MONEY] = "lww keep max min first",
		[SAT_TYPE_TIME] = "lww keep max min first",
		[SAT_TYPE_DATE] = "lww keep max min first",
		[SAT_TYPE_ENUM] = "lww keep ordered first",
		[SAT_TYPE_SET] = "set",
		[SAT_TYPE_COUNTER] = "counter",
		[SAT_TYPE_GEO] = "lww keep first",
		[SAT_TYPE_JSON] = "lww keep first",
		[SAT_TYPE_BLOBREF] = "lww keep first",
	};

	(void)state;
	for (int n = 0; n < SAT_TYPE_COUNT * SAT_POLICY_COUNT; n++) {
		const char *type =
			sat_type_name((enum sat_type)(n / SAT_POLICY_COUNT));
		const char *policy = sat_policy_name(
			(enum sat_policy)(n % SAT_POLICY_COUNT));
		bool ordered = strcmp(policy, "ordered") == 0;
		struct sat_catalogue *c = NULL;
		struct sat_err err;
		char put[300], want[200];
		struct edit edits[2] = { { "'type':'json'", put } };
		int rc;

		(void)snprintf(put, sizeof put,
			       "'type':'%s','policy':'%s'%s%s%s", type, policy,
			       strcmp(type, "ref") == 0 ? ",'ref':'area'" : "",
			       strcmp(type, "enum") == 0
				       ? ",'values':[{'name':'v'," L
				       : "",
			       strcmp(type, "enum") != 0 ? ""
			       : ordered                 ? ",'rank':1}]"
							 : "}]");
		(void)snprintf(want, sizeof want,
			       "small.json: tables.shop.columns.extra.policy: "
			       "%s does not fit type %s",
			       policy, type);
		rc = load_edited(edits, &c, &err);
		if (strstr(fits[n / SAT_POLICY_COUNT], policy) != NULL) {
			assert_int_equal(rc, SAT_OK);
			assert_string_equal(
				sat_policy_name(
					c->tables[4].columns[10].policy),
				policy);
		} else {
			assert_int_equal(rc, SAT_E_INVAL);
			assert_string_equal(err.msg, want);
		}
		sat_catalogue_free(c);
	}
}

static void what_is_no_catalogue_is_refused(void **state)
{
	/* How a syntax error is worded is the JSON library's business. */
	static const struct {
		const char *json, *begins;
	} rows[] = {
		{ "", "x: line 1, column 0: " },
		{ "{\"name\":", "x: line 1, column " },
		{ "{}\n{}", "x: line 2, column " },
		{ "{\"a\":\"\xff\"}", "x: line 1, column " },
		{ "{\"name\":\"a\\u0000b\"}", "x: line 1, column " },
		{ "[]", "x: must be an object" },
		{ "{\"name\":\"a\",\"version\":1,\"roles\":[]}",
		  "x: roles: must be an object" },
		{ "{\"name\":\"a\",\"version\":1}", "x: roles: missing" },
	};
	struct sat_catalogue *c = NULL;
	struct sat_err err;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice json = sat_slice_str(rows[i].json);

		assert_int_equal(sat_catalogue_load(json, "x", &c, &err),
				 SAT_E_INVAL);
		assert_memory_equal(err.msg, rows[i].begins,
				    strlen(rows[i].begins));
		for (const char *p = err.msg; *p != '\0'; p++)
			assert_in_range(*p, ' ', '~');
	}
}

static void sizes_are_bounded(void **state)
{
	size_t n = SAT_CATALOGUE_BYTES_MAX + 1;
	char *text = malloc(n);
	struct sat_catalogue *c = NULL;
	struct sat_err err;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', n);
	assert_int_equal(
		sat_catalogue_load((struct sat_slice){ (uint8_t *)text, n },
				   "x", &c, &err),
		SAT_E_LIMIT);
	/* A megabyte of opening brackets must neither crash nor hang. */
	memset(text, '[', n);
	assert_int_equal(
		sat_catalogue_load((struct sat_slice){ (uint8_t *)text, n - 1 },
				   "x", &c, &err),
		SAT_E_INVAL);
	free(text);
}

/* count times piece, joined by commas, with %zu replaced by 1, 2, ... */
static char *repeated(const char *before, const char *piece, size_t count,
		      const char *after)
{
	size_t room = strlen(before) + strlen(after) +
		      count * (strlen(piece) + 40) + 1;
	char *text = malloc(room);
	size_t at;

	assert_non_null(text);
	at = (size_t)snprintf(text, room, "%s", before);
	for (size_t i = 1; i <= count; i++) {
		const char *p = piece;

		if (i > 1)
			text[at++] = ',';
		for (; *p != '\0'; p++) {
			if (*p == '#')
				at += (size_t)snprintf(text + at, room - at,
						       "%zu", i);
			else
				text[at++] = *p;
		}
	}
	(void)snprintf(text + at, room - at, "%s", after);
	return text;
}

static void counts_are_bounded(void **state)
{
	static const struct {
		const char *find, *before, *piece, *after;
		size_t most;
		const char *says;
	} rows[] = {
		{ LEDGER, "",
		  "{'name':'t#','no':1#," L ",'scope':[{'global':true}],"
		  "'insert':['rep'],'columns':[{'name':'c','no':1,"
		  "'type':'int'," L "}]}",
		  "," LEDGER, SAT_CATALOGUE_TABLES_MAX - 5,
		  "small.json: tables: has more than 256 entries" },
		{ "{'name':'tab','no':1,", "",
		  "{'name':'c#','no':1#,'type':'int'," L "}",
		  ",{'name':'tab','no':1,", SAT_CATALOGUE_COLUMNS_MAX - 2,
		  "small.json: tables.ledger.columns: has more than 200 "
		  "entries" },
		{ "{'name':'deal','rank':2,", "",
		  "{'name':'v#','rank':2," L "}", ",{'name':'deal','rank':2,",
		  SAT_CATALOGUE_VALUES_MAX - 3,
		  "small.json: tables.shop.columns.stage.values: has more than "
		  "255 entries" },
		{ "['area_id','opened desc']", "", "['size']", "", 16,
		  "small.json: tables.shop.indexes: has more than 16 entries" },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		for (size_t extra = 0; extra < 2; extra++) {
			char *put =
				repeated(rows[i].before, rows[i].piece,
					 rows[i].most + extra, rows[i].after);
			struct edit edits[2] = { { rows[i].find, put } };
			struct sat_catalogue *c = NULL;
			struct sat_err err;
			int rc = load_edited(edits, &c, &err);

			assert_int_equal(rc, extra ? SAT_E_INVAL : SAT_OK);
			if (extra)
				assert_string_equal(err.msg, rows[i].says);
			sat_catalogue_free(c);
			free(put);
		}
	}
}

static void a_file_is_named_without_its_folders(void **state)
{
	char path[] = "/tmp/satchel-catalogue-XXXXXX";
	char want[100];
	struct sat_catalogue *c = NULL;
	struct sat_err err;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{}", 2), 2);
	assert_int_equal(close(fd), 0);
	(void)snprintf(want, sizeof want, "%s: name: missing", path + 5);
	assert_int_equal(sat_catalogue_load_file(path, &c, &err), SAT_E_INVAL);
	assert_string_equal(err.msg, want);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(sat_catalogue_load_file(path, &c, &err),
			 SAT_E_NOTFOUND);
	assert_int_equal(sat_catalogue_load_file("/tmp", &c, &err), SAT_E_IO);
	assert_null(c);
}

static uint32_t roles(const char *names)
{
	uint32_t mask = 0;

	for (int r = 0; r < SAT_ROLE_COUNT; r++) {
		if (strstr(names, sat_role_name((enum sat_role)r)) != NULL)
			mask |= SAT_ROLE_BIT(r);
	}
	return mask;
}

static void tables_come_out_as_written(void **state)
{
	struct edit none[2] = { { NULL, NULL } };
	const struct sat_table *t;
	struct sat_catalogue *c = NULL;
	struct sat_err err;

	(void)state;
	assert_int_equal(load_edited(none, &c, &err), SAT_OK);
	assert_string_equal(c->name, "small");
	assert_int_equal(c->version, 1);
	assert_string_equal(c->role_label[SAT_ROLE_REP].text[SAT_LANG_ZH], "R");
	assert_int_equal(c->table_count, 5);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(c->tables[i].no, i + 1);
		assert_int_equal(c->tables[i].index, i);
	}
	t = &c->tables[4];
	assert_string_equal(t->name, "shop");
	assert_int_equal(t->insert, roles("rep manager admin server"));
	assert_int_equal(t->remove, roles("manager admin server"));
	assert_int_equal(t->territory, 0);
	assert_int_equal(t->move_with, -1);
	assert_int_equal(t->scope_count, 2);
	assert_int_equal(t->scopes[0].kind, SAT_SCOPE_COLUMN);
	assert_int_equal(t->scopes[1].kind, SAT_SCOPE_SET);
	assert_int_equal(t->scopes[1].column, 4);
	assert_int_equal(t->index_count, 1);
	assert_int_equal(t->indexes[0].column_count, 2);
	assert_int_equal(t->indexes[0].columns[1], 1);
	assert_true(t->indexes[0].desc_last);
	t = &c->tables[2]; /* its columns are numbered in another order */
	assert_string_equal(t->columns[0].name, "area_id");
	assert_int_equal(t->scopes[0].kind, SAT_SCOPE_VIA);
	assert_int_equal(t->scopes[0].column, 1);
	assert_int_equal(t->columns[1].ref_table, 4);
	assert_int_equal(t->move_with, 1);
	assert_int_equal(t->territory, 0);
	assert_true(t->append_only);
	assert_int_equal(t->remove, roles("server"));
	t = &c->tables[3];
	assert_true(t->derived);
	assert_int_equal(t->insert, roles("server"));
	assert_int_equal(t->columns[0].write, roles("server"));
	assert_int_equal(t->scopes[0].kind, SAT_SCOPE_ROW);
	assert_int_equal(t->scopes[0].column2, 1);
	sat_catalogue_free(c);
}

static void columns_come_out_as_written(void **state)
{
	struct edit none[2] = { { NULL, NULL } };
	const struct sat_column *c;
	struct sat_catalogue *cat = NULL;
	struct sat_err err;

	(void)state;
	assert_int_equal(load_edited(none, &cat, &err), SAT_OK);
	c = cat->tables[4].columns;
	assert_int_equal(c[0].def, SAT_DEFAULT_AUTHOR_HOME);
	assert_int_equal(c[0].ref_table, 0);
	assert_true(c[0].required);
	assert_int_equal(c[0].write, roles("rep manager admin server"));
	assert_int_equal(c[0].read,
			 roles("rep manager hq service admin server"));
	assert_int_equal(c[1].def, SAT_DEFAULT_TODAY);
	assert_int_equal(c[2].def, SAT_DEFAULT_AUTHOR);
	assert_int_equal(c[3].policy, SAT_POLICY_ORDERED);
	assert_int_equal(c[3].def, SAT_DEFAULT_VALUE);
	assert_memory_equal(c[3].default_value.s.ptr, "lead", 4);
	assert_int_equal(c[3].value_count, 3);
	assert_int_equal(c[3].values[1].percent, -1);
	assert_int_equal(c[3].values[2].percent, 100);
	assert_int_equal(c[3].values[2].rank, 9);
	assert_true(c[3].values[2].terminal);
	assert_false(c[3].values[1].terminal);
	assert_int_equal(c[4].policy, SAT_POLICY_SET);
	assert_int_equal(c[5].policy, SAT_POLICY_COUNTER);
	assert_true(c[6].has_min && c[6].min == 0);
	assert_true(c[6].has_max && c[6].max == 500);
	assert_int_equal(c[6].max_bytes, 65536);
	assert_int_equal(c[6].policy, SAT_POLICY_LWW);
	assert_int_equal(c[7].max_bytes, 100);
	assert_int_equal(c[7].write, roles("manager admin server"));
	assert_int_equal(c[8].default_value.kind, SAT_REAL);
	assert_true(c[8].default_value.r == 0.5);
	assert_int_equal(c[9].def, SAT_DEFAULT_NOW);
	assert_int_equal(c[10].def, SAT_DEFAULT_NONE);
	assert_int_equal(c[11].default_value.kind, SAT_INT);
	assert_int_equal(c[11].default_value.i, 1);
	c = cat->tables[1].columns;
	assert_int_equal(c[1].read, roles("hq admin server"));
	sat_catalogue_free(cat);
}

static void canonical_text_is_one(void **state)
{
	static const struct {
		const char *json, *canonical;
	} rows[] = {
		{ "{ \"b\" : 1 , \"a\" : [ true , null , -0.5 ] }",
		  "{\"a\":[true,null,-0.5],\"b\":1}" },
		{ "{\"z\":{\"y\":2,\"x\":\"\\u4e2d\\n\"}}",
		  "{\"z\":{\"x\":\"\xe4\xb8\xad\\n\",\"y\":2}}" },
	};
	struct sat_buf once, twice;
	struct sat_err err;

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice want = sat_slice_str(rows[i].canonical);

		sat_buf_init(&once, 1000);
		sat_buf_init(&twice, 1000);
		assert_int_equal(
			sat_catalogue_canonical(sat_slice_str(rows[i].json),
						&once, &err),
			SAT_OK);
		assert_true(sat_slice_equal(sat_buf_peek(&once), want));
		assert_int_equal(sat_catalogue_canonical(sat_buf_peek(&once),
							 &twice, &err),
				 SAT_OK);
		assert_true(sat_slice_equal(sat_buf_peek(&twice), want));
		sat_buf_fini(&once);
		sat_buf_fini(&twice);
	}
	sat_buf_init(&once, 3);
	assert_int_equal(sat_catalogue_canonical(sat_slice_str(rows[0].json),
						 &once, &err),
			 SAT_E_LIMIT);
	assert_int_equal(sat_catalogue_canonical(sat_slice_str("{\"a\":1,"
							       "\"a\":2}"),
						 &once, &err),
			 SAT_E_INVAL);
	sat_buf_fini(&once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies_fit_types),
		cmocka_unit_test(what_is_no_catalogue_is_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(counts_are_bounded),
		cmocka_unit_test(a_file_is_named_without_its_folders),
		cmocka_unit_test(tables_come_out_as_written),
		cmocka_unit_test(columns_come_out_as_written),
		cmocka_unit_test(canonical_text_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
