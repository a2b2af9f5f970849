#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/cli/cli.h"

/* Columns that a character takes on a terminal: two for the wide East Asian
 * ones, none for the bytes that continue a UTF-8 sequence. */
static int width_of(const char *s)
{
	int width = 0;

	for (const unsigned char *p = (const unsigned char *)s; *p != '\0';
	     p++) {
		if ((*p & 0xc0) == 0x80)
			continue;
		width += *p >= 0xe1 && *p <= 0xef ? 2 : 1;
	}
	return width;
}

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

static void put_cell(FILE *out, const char *text, int width, bool right)
{
	int pad = width - width_of(text);

	if (right)
		(void)fprintf(out, "%*s%s", pad, "", text);
	else
		(void)fprintf(out, "%s%*s", text, pad, "");
}

static void print_table(FILE *out, const json_t *columns, const json_t *rows)
{
	size_t count = json_array_size(columns);
	int *width = calloc(count + 1, sizeof *width);
	bool *right = calloc(count + 1, sizeof *right);
	const json_t *row;
	size_t i;

	if (width == NULL || right == NULL)
		goto out;
	for (size_t c = 0; c < count; c++)
		width[c] =
			width_of(json_string_value(json_array_get(columns, c)));
	json_array_foreach(rows, i, row) for (size_t c = 0; c < count; c++)
	{
		const json_t *v = json_array_get(row, c);
		char *text = cell_text(v);
		int w = text == NULL ? 0 : width_of(text);

		width[c] = w > width[c] ? w : width[c];
		right[c] = right[c] || json_is_number(v);
		free(text);
	}
	for (size_t c = 0; c < count; c++) {
		put_cell(out, json_string_value(json_array_get(columns, c)),
			 width[c], right[c]);
		(void)fputs(c + 1 < count ? "  " : "\n", out);
	}
	json_array_foreach(rows, i, row) for (size_t c = 0; c < count; c++)
	{
		char *text = cell_text(json_array_get(row, c));

		if (text != NULL)
			put_cell(out, text,
				 c + 1 < count || right[c] ? width[c] : 0,
				 right[c]);
		(void)fputs(c + 1 < count ? "  " : "\n", out);
		free(text);
	}
out:
	free(width);
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
		char *text;

		if (v == columns || v == rows)
			continue;
		text = cell_text(v);
		(void)fprintf(out, "%s: %s\n", name, text != NULL ? text : "");
		free(text);
	}
	if (columns != NULL)
		print_table(out, columns, rows);
}

void sat_progress_begin(struct sat_progress *p, const char *what, size_t total)
{
	*p = (struct sat_progress){ .what = what,
				    .total = total,
				    .shown = isatty(2) ? 0 : -1 };
}

void sat_progress_at(struct sat_progress *p, size_t done)
{
	static const char full[] = "##############################";
	int percent = p->total == 0
			      ? 100
			      : (int)((double)done * 100 / (double)p->total);

	if (p->shown < 0 || percent == p->shown)
		return;
	p->shown = percent;
	(void)fprintf(stderr, "\r%s [%-30.*s] %3d %%", p->what,
		      percent * 30 / 100, full, percent);
	(void)fflush(stderr);
}

void sat_progress_end(struct sat_progress *p)
{
	if (p->shown >= 0)
		(void)fprintf(stderr, "\n");
}
