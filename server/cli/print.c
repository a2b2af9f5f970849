#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/say.h"
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

/* Cells of these columns are sentences or words of ours; all others are data,
 * or names to be typed. */
static bool is_said(const char *column, const char *text)
{
	static const char *const words[] = { "finding", "why", "verdict",
					     "state" };

	for (size_t i = 0; i < SAT_COUNT_OF(words); i++)
		if (strcmp(column, words[i]) == 0)
			return true;
	/* what `verify` found; in `audit list` it is a command */
	return strcmp(column, "what") == 0 && strchr(text, ' ') != NULL;
}

static int print_cell(struct sat_print *p, const char *column, const char *text)
{
	char said[SAT_SAY_BYTES];

	if (is_said(column, text) && sat_say_find(text, said, sizeof said))
		text = said;
	return sat_print_cell(p, sat_slice_str(text));
}

static int print_rows(struct sat_print *p, const json_t *columns,
		      const json_t *rows)
{
	size_t count = json_array_size(columns);
	const json_t *row;
	int rc = SAT_OK;
	size_t i;

	json_array_foreach(rows, i, row) for (size_t c = 0;
					      rc == SAT_OK && c < count; c++)
	{
		char *text = cell_text(json_array_get(row, c));

		const char *name =
			json_string_value(json_array_get(columns, c));

		rc = print_cell(p, name == NULL ? "" : name,
				text == NULL ? "" : text);
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
		titles[c] = titles[c] == NULL ? "" : sat_say(titles[c]);
		right[c] = is_number_column(rows, c);
	}
	if (titles != NULL && right != NULL)
		rc = sat_print_begin(&p, out, titles, right, count, 0);
	if (rc == SAT_OK) {
		rc = print_rows(&p, columns, rows);
		sat_print_end(&p);
	}
	if (rc != SAT_OK)
		(void)fprintf(stderr, "satchel-server%s%s\n", sat_say(": "),
			      sat_say("the table could not be printed: out of "
				      "memory"));
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

/* disk_free for programs is "disk free" for people. */
static void print_name(FILE *out, const char *name, bool ours)
{
	const char *said = ours ? sat_say(name) : name;

	for (; *said != '\0'; said++)
		(void)fputc(*said == '_' ? ' ' : *said, out);
}

/* "name: value"; what is an object stands below it, a member to a line. */
static void print_figure(FILE *out, const char *name, const json_t *v)
{
	const char *member;
	json_t *inner;
	char *text;

	if (json_is_object(v)) {
		print_name(out, name, true);
		if (json_object_size(v) == 0)
			(void)fprintf(out, "%s%s\n", sat_say(": "),
				      sat_say("none"));
		else
			(void)fputs(":\n", out);
		json_object_foreach((json_t *)v, member, inner)
		{
			text = cell_text(inner);
			/* of rows and deleted these are tables: data */
			(void)fputs("  ", out);
			print_name(out, member, strcmp(name, "devices") == 0);
			(void)fputs(sat_say(": "), out);
			sat_print_line(out, text != NULL ? text : "");
			free(text);
		}
		return;
	}
	text = json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0)
		       ? strdup(sat_say("none"))
	       : json_is_boolean(v)
		       ? strdup(sat_say(json_is_true(v) ? "true" : "false"))
		       : cell_text(v);
	print_name(out, name, true);
	(void)fputs(sat_say(": "), out);
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
