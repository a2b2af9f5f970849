#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/print.h"
#include "server/cli/cli.h"

/* A cell as text; free it. */
static char *cell_text(const json_t *v)
{
	char number[64];

	switch (json_typeof(v)) {
	case JSON_NULL:
		return strdup("");
	case JSON_STRING:
		return strdup(json_string_value(v));
	case JSON_REAL:
		(void)snprintf(number, sizeof number, "%.2f",
			       json_real_value(v));
		return strdup(number);
	default:
		return json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	}
}

static bool is_number_column(const json_t *rows, size_t column)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) if (json_is_number(json_array_get(
						     row, column))) return true;
	return false;
}

static int print_rows(struct sat_print *p, const json_t *rows, size_t count)
{
	const json_t *row;
	int rc = SAT_OK;
	size_t i;

	json_array_foreach(rows, i, row) for (size_t c = 0;
					      rc == SAT_OK && c < count; c++)
	{
		char *text = cell_text(json_array_get(row, c));

		rc = sat_print_cell(p, sat_slice_str(text == NULL ? "" : text));
		free(text);
	}
	return rc;
}

static void print_table(FILE *out, const json_t *columns, const json_t *rows)
{
	size_t count = json_array_size(columns);
	const char **titles = calloc(count + 1, sizeof *titles);
	bool *right = calloc(count + 1, sizeof *right);
	struct sat_print p;
	int rc = SAT_E_NOMEM;

	for (size_t c = 0; titles != NULL && right != NULL && c < count; c++) {
		titles[c] = json_string_value(json_array_get(columns, c));
		titles[c] = titles[c] == NULL ? "" : titles[c];
		right[c] = is_number_column(rows, c);
	}
	if (titles != NULL && right != NULL)
		rc = sat_print_begin(&p, out, titles, right, count, 0);
	if (rc == SAT_OK) {
		rc = print_rows(&p, rows, count);
		sat_print_end(&p);
	}
	if (rc != SAT_OK)
		(void)fprintf(stderr, "satchel-server: the table could not be "
				      "printed: out of memory\n");
	free(titles);
	free(right);
}

json_t *sat_rows_as_objects(const json_t *result)
{
	const json_t *columns = json_object_get(result, "columns");
	const json_t *row;
	json_t *all = json_array();
	size_t i;

	json_array_foreach(json_object_get(result, "rows"), i, row)
	{
		json_t *object = json_object();

		for (size_t c = 0; c < json_array_size(columns); c++)
			(void)json_object_set(
				object,
				json_string_value(json_array_get(columns, c)),
				json_array_get(row, c));
		(void)json_array_append_new(all, object);
	}
	return all;
}

/* "name: value"; what is an object stands below it, a member to a line. */
static void print_figure(FILE *out, const char *name, const json_t *v)
{
	const char *member;
	json_t *inner;
	char *text;

	if (json_is_object(v)) {
		(void)fprintf(out, "%s:%s\n", name,
			      json_object_size(v) == 0 ? " none" : "");
		json_object_foreach((json_t *)v, member, inner)
		{
			text = cell_text(inner);
			(void)fprintf(out, "  %s: ", member);
			sat_print_line(out, text != NULL ? text : "");
			free(text);
		}
		return;
	}
	text = json_is_null(v) ? strdup("none") : cell_text(v);
	/* disk_free for programs is "disk free" for people. */
	for (const char *c = name; *c != '\0'; c++)
		(void)fputc(*c == '_' ? ' ' : *c, out);
	(void)fputs(": ", out);
	sat_print_line(out, text != NULL ? text : "");
	free(text);
}

void sat_print_result(FILE *out, const json_t *result, bool as_json)
{
	const json_t *columns = json_object_get(result, "columns");
	const json_t *rows = json_object_get(result, "rows"), *v;
	const char *name;

	if (as_json) {
		json_t *j = columns != NULL ? sat_rows_as_objects(result)
					    : json_incref((json_t *)result);

		(void)json_dumpf(j, out, JSON_INDENT(2) | JSON_SORT_KEYS);
		(void)fputc('\n', out);
		json_decref(j);
		return;
	}
	json_object_foreach((json_t *)result, name, v)
	{
		/* "rows" without columns is a figure like any other */
		if (columns == NULL || (v != columns && v != rows))
			print_figure(out, name, v);
	}
	if (columns != NULL)
		print_table(out, columns, rows);
}
