/* export: every live row of a table, in pages, to standard output. */
#include <csv.h>
#include <stdlib.h>
#include <string.h>

#include "server/cli/cli.h"

static void put_field(const json_t *v)
{
	char *text = NULL;
	char number[64];

	switch (json_typeof(v)) {
	case JSON_NULL:
		return;
	case JSON_STRING:
		(void)csv_fwrite(stdout, json_string_value(v),
				 json_string_length(v));
		return;
	case JSON_REAL:
		(void)snprintf(number, sizeof number, "%.15g",
			       json_real_value(v));
		(void)fputs(number, stdout);
		return;
	default:
		text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		if (text != NULL)
			(void)csv_fwrite(stdout, text, strlen(text));
		free(text);
	}
}

static void put_csv(const json_t *line)
{
	const json_t *v;
	size_t i;

	json_array_foreach(line, i, v)
	{
		if (i > 0)
			(void)fputc(',', stdout);
		put_field(v);
	}
	(void)fputc('\n', stdout);
}

static void put_page(const json_t *page, bool as_json, size_t *rows)
{
	json_t *all;
	const json_t *v;
	size_t i;

	if (!as_json) {
		if (*rows == 0)
			put_csv(json_object_get(page, "columns"));
		json_array_foreach(json_object_get(page, "rows"), i, v)
		{
			put_csv(v);
			++*rows;
		}
		return;
	}
	all = sat_rows_as_objects(page);
	json_array_foreach(all, i, v)
	{
		(void)fputs(*rows == 0 ? "[\n" : ",\n", stdout);
		(void)json_dumpf(v, stdout, JSON_COMPACT | JSON_SORT_KEYS);
		++*rows;
	}
	json_decref(all);
}

int sat_cli_export(struct sat_call *call)
{
	const char *format =
		json_string_value(json_object_get(call->args, "format"));
	bool as_json =
		call->json || (format != NULL && strcmp(format, "json") == 0);
	json_int_t after = 0;
	struct sat_gate *gate;
	struct sat_err err;
	size_t rows = 0;
	int rc;

	rc = sat_gate_open(call->dir, &gate, &err);
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("export", &err);
	}
	do {
		json_t *args = json_pack("{s:O, s:I}", "table",
					 json_object_get(call->args, "table"),
					 "after", after);
		json_t *page;

		rc = sat_gate_call(gate, "export", args, &page, &err);
		if (rc != SAT_OK)
			break;
		put_page(page, as_json, &rows);
		after = json_integer_value(json_object_get(page, "next"));
		json_decref(page);
	} while (after != 0);
	sat_gate_close(gate);
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("export", &err);
	}
	if (as_json)
		(void)fputs(rows == 0 ? "[]\n" : "\n]\n", stdout);
	return fflush(stdout) == 0 && !ferror(stdout) ? SAT_EXIT_OK
						      : SAT_EXIT_FAILED;
}
