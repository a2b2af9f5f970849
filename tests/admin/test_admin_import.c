/* The map of an import: what it may say, and what it makes of lines. */
#include "tests/engine/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/import_map.h"
#include "server/admin/ops_import.h"

#define OK(call) assert_int_equal(call, SAT_OK)

static struct sat_err err;

static struct sat_admin admin_of(struct world *w)
{
	return (struct sat_admin){ .engine = w->engine,
				   .store = w->store,
				   .dir = w->dir,
				   .now_ms = w->now_ms };
}

static json_t *parse(const char *text)
{
	json_error_t why;
	json_t *j = json_loads(text, JSON_DECODE_ANY, &why);

	if (j == NULL)
		print_error("%s: %s\n", text, why.text);
	assert_non_null(j);
	return j;
}

#define NAME "\"columns\": {\"name\": {\"from\": \"a\"}}"

static void maps_are_judged(void **state)
{
	static const struct {
		const char *map, *word; /* NULL: it is good */
	} rows[] = {
		{ "{\"table\": \"account\", \"key\": [\"a\"], " NAME "}",
		  NULL },
		{ "{\"table\": \"account\", \"match\": {\"column\": \"name\", "
		  "\"from\": \"a\"}, " NAME "}",
		  NULL },
		{ "[]", "table" },
		{ "{\"table\": \"account\"}", "columns" },
		{ "{\"table\": \"moon\", \"key\": [\"a\"], " NAME "}", "moon" },
		{ "{\"table\": \"account\", " NAME "}", "key and match" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"match\": "
		  "{}, " NAME "}",
		  "key and match" },
		{ "{\"table\": \"account\", \"key\": [], " NAME "}", "key" },
		{ "{\"table\": \"account\", \"key\": \"a\", " NAME "}", "key" },
		{ "{\"table\": \"account\", \"key\": [\"z\"], " NAME "}",
		  "key" },
		{ "{\"table\": \"account\", \"match\": {\"from\": \"a\"}, " NAME
		  "}",
		  "column" },
		{ "{\"table\": \"account\", \"match\": {\"column\": \"zz\", "
		  "\"from\": \"a\"}, " NAME "}",
		  "zz" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"columns\": "
		  "{\"zz\": {\"from\": \"a\"}}}",
		  "zz" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"columns\": "
		  "{\"name\": {\"from\": \"z\"}}}",
		  "\"z\"" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"columns\": "
		  "{\"name\": {\"join\": [\"a\", \"z\"]}}}",
		  "\"z\"" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"columns\": "
		  "{\"name\": {\"form\": \"a\"}}}",
		  "form" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"columns\": "
		  "{\"name\": \"a\"}}",
		  "object" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"columns\": "
		  "{\"name\": {\"add\": {\"from\": \"a\"}}}}",
		  "set" },
		{ "{\"table\": \"account\", \"key\": [\"a\"], \"columns\": "
		  "{\"name\": {}}}",
		  "from" },
	};
	struct world *w = *state;
	struct sat_admin a = admin_of(w);
	json_t *header = parse("[\"a\", \"b\"]"), *map;
	struct sat_import_map m;
	int rc;

	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		map = parse(rows[i].map);
		rc = sat_import_map_init(&m, &a, map, header, &err);
		if ((rc == SAT_OK) != (rows[i].word == NULL))
			print_error("map %zu: %s\n", i, rows[i].map);
		if (rows[i].word == NULL) {
			OK(rc);
		} else {
			assert_true(rc == SAT_E_INVAL || rc == SAT_E_NOTFOUND);
			if (strstr(err.msg, rows[i].word) == NULL)
				print_error("map %zu: %s\n", i, err.msg);
			assert_non_null(strstr(err.msg, rows[i].word));
		}
		sat_import_map_fini(&m);
		json_decref(map);
	}
	json_decref(header);
}

/* Import lines in a group; returns the answer. */
static json_t *import(struct world *w, const char *map, const char *header,
		      const char *lines)
{
	struct sat_admin a = admin_of(w);
	json_t *args = json_object(), *ret = json_object();

	json_object_set_new(args, "map", parse(map));
	json_object_set_new(args, "header", parse(header));
	json_object_set_new(args, "lines", parse(lines));
	group_begin(w);
	OK(sat_op_import(&a, args, ret, &err));
	(void)group_commit(w);
	json_decref(args);
	return ret;
}

static void expect(json_t *answer, int imported, int unchanged,
		   const char *rejects)
{
	json_t *got = json_object_get(answer, "rejects");
	char *text = json_dumps(got, JSON_COMPACT);

	assert_int_equal(
		json_integer_value(json_object_get(answer, "imported")),
		imported);
	assert_int_equal(
		json_integer_value(json_object_get(answer, "unchanged")),
		unchanged);
	assert_string_equal(text, rejects);
	free(text);
	json_decref(answer);
}

static struct sat_id account_named(struct world *w, const char *name)
{
	struct sat_admin a = admin_of(w);
	struct sat_id id;

	OK(sat_admin_find(&a, "account", "name", name, &id, &err));
	return id;
}

static void lines_become_rows(void **state)
{
	static const char map[] =
		"{\"table\": \"account\", \"key\": [\"no\"], \"columns\": {"
		"\"name\": {\"join\": [\"no\", \"name\"], \"with\": \" \"},"
		"\"phone\": {\"from\": \"tel\", \"empty\": \"none\"},"
		"\"city\": {\"from\": \"city\", \"replace\": {\"SH\": "
		"\"上海\"}},"
		"\"source\": {\"value\": \"list\"},"
		"\"tags\": {\"add\": {\"from\": \"tag\"}},"
		"\"territory_id\": {\"first\": ["
		" {\"from\": \"patch\", \"lookup\": {\"table\": \"territory\","
		"  \"column\": \"code\"}},"
		" {\"from\": \"rep\", \"lookup\": {\"table\": \"user\","
		"  \"column\": \"login\", \"get\": \"territory_id\"}}]}}}";
	static const char header[] =
		"[\"no\",\"name\",\"tel\",\"city\",\"tag\",\"patch\",\"rep\"]";
	struct world *w = *state;
	struct sat_id id;

	expect(import(w, map, header,
		      "[[2,\"1\",\"X\",\"\",\"SH\",\"a\",\"T3\",\"\"],"
		      " [3,\"2\",\"\",\"55\",\"BJ\",\"\",\"T9\",\"ann\"],"
		      " [4,\"3\",\"Z\",\"\",\"\",\"\",\"\",\"\"],"
		      " [5,\"4\",\"Z\",\"\",\"\",\"\",\"T9\",\"zoe\"],"
		      " [6,\"\",\"Z\",\"\",\"\",\"\",\"T1\",\"\"],"
		      " [7,\"5\",\"Z\"],"
		      " [8,\"1\",\"X\",\"\",\"SH\",\"b\",\"T3\",\"\"]]"),
	       3, 0,
	       "[[5,\"no user has login \\\"zoe\\\"\"],"
	       "[6,\"the key column no is empty\"],"
	       "[7,\"it has 2 fields, the header has 7\"],"
	       "[4,\"Account: Territory must not be empty. Fill it in and save "
	       "again.\"]]");
	id = account_named(w, "1 X");
	expect_text(w, "account", &id, "phone", "none");
	expect_text(w, "account", &id, "city", "上海");
	expect_text(w, "account", &id, "source", "list");
	expect_text(w, "account", &id, "tags", "[\"a\",\"b\"]");
	id = account_named(w, "2"); /* an empty part leaves no space */
	assert_memory_equal(value_of(w, "account", &id, "territory_id").s.ptr,
			    &w->t1,
			    sizeof w->t1); /* T9 is unknown: the rep's home */
	/* Again: equal values write nothing. */
	expect(import(w, map, header,
		      "[[2,\"1\",\"X\",\"\",\"SH\",\"b\",\"T3\",\"\"]]"),
	       0, 1, "[]");
}

/* A child may stand below its parent in the same file, and a line that finds
 * nothing costs only itself. */
static void a_file_may_name_its_own_rows(void **state)
{
	static const char map[] =
		"{\"table\": \"territory\", \"key\": [\"code\"], \"columns\": {"
		"\"code\": {\"from\": \"code\"}, \"name\": {\"from\": "
		"\"code\"},"
		"\"level\": {\"value\": \"patch\"},"
		"\"parent_id\": {\"from\": \"up\", \"lookup\": {"
		"\"table\": \"territory\", \"column\": \"code\"}}}}";
	struct world *w = *state;
	struct sat_admin a = admin_of(w);
	struct sat_id p1, p2;

	expect(import(w, map, "[\"code\",\"up\"]",
		      "[[2,\"P1\",\"T1\"],[3,\"P2\",\"P1\"],"
		      "[4,\"P3\",\"P2\"],[5,\"P4\",\"P9\"],"
		      "[6,\"P5\",\"P3\"]]"),
	       4, 0, "[[5,\"no territory has code \\\"P9\\\"\"]]");
	OK(sat_admin_find(&a, "territory", "code", "P1", &p1, &err));
	OK(sat_admin_find(&a, "territory", "code", "P2", &p2, &err));
	assert_memory_equal(value_of(w, "territory", &p2, "parent_id").s.ptr,
			    &p1, sizeof p1);
}

static void matched_rows_are_updated(void **state)
{
	static const char map[] =
		"{\"table\": \"account\", \"match\": {\"column\": \"name\","
		" \"from\": \"n\"}, \"columns\": {"
		"\"name\": {\"from\": \"new\"}, \"phone\": {\"from\": \"p\"}}}";
	struct field twin[] = { { "name", text("Twin") },
				{ "territory_id", sat_value_null() },
				{ NULL, sat_value_null() } };
	struct world *w = *state;
	struct sat_id x = account_x(w), one = new_id(w), two = new_id(w);

	twin[1].value = idv(&w->t1);
	local_ok(w, SAT_OP_INSERT, "account", &one, twin);
	local_ok(w, SAT_OP_INSERT, "account", &two, twin);
	/* The second line meets the name that the first one gave. */
	expect(import(w, map, "[\"n\",\"new\",\"p\"]",
		      "[[2,\"X\",\"Y\",\"\"],[3,\"Y\",\"\",\"7\"],"
		      "[4,\"Twin\",\"\",\"1\"],[5,\"Nobody\",\"\",\"1\"],"
		      "[6,\"\",\"\",\"1\"]]"),
	       2, 0,
	       "[[4,\"several rows of account have name \\\"Twin\\\"\"],"
	       "[5,\"there is no account with name \\\"Nobody\\\"\"],"
	       "[6,\"there is nothing to match by\"]]");
	expect_text(w, "account", &x, "name", "Y");
	expect_text(w, "account", &x, "phone", "7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(maps_are_judged, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(lines_become_rows, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(a_file_may_name_its_own_rows,
						world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(matched_rows_are_updated,
						world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
