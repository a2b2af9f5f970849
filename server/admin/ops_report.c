/* report, export: rows out of the store as JSON tables. */
#include <string.h>

#include "server/admin/ops_data.h"
#include "server/admin/rows.h"
#include "server/store/report.h"

enum { PAGE_ROWS = 2000 };

static int out_of_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "answer", "out of memory");
}

/* ---- report ------------------------------------------------------------- */

struct table {
	json_t *columns, *rows;
};

static json_t *cell(const char *column, const struct sat_value *v)
{
	static const struct sat_column money = { .name = "amount",
						 .type = SAT_TYPE_MONEY };
	static const struct sat_column plain = { .name = "cell",
						 .type = SAT_TYPE_TEXT };

	return sat_value_json(sat_report_money(column) ? &money : &plain, v);
}

static int on_result(void *arg, int columns, const char *const *names,
		     const struct sat_value *values)
{
	struct table *t = arg;
	json_t *row = json_array();
	bool first = json_array_size(t->columns) == 0;
	int bad = row == NULL;

	for (int i = 0; i < columns && !bad; i++) {
		if (first)
			bad = json_array_append_new(t->columns,
						    json_string(names[i]));
		bad = bad ||
		      json_array_append_new(row, cell(names[i], &values[i]));
	}
	bad = bad || json_array_append(t->rows, row);
	json_decref(row);
	return bad ? SAT_E_NOMEM : SAT_OK;
}

int sat_op_report(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err)
{
	const char *by_word = sat_arg_text_or_null(args, "by");
	enum sat_report_by by = SAT_BY_TERRITORY;
	struct table t = { json_array(), json_array() };
	enum sat_report report;
	const char *what;
	int rc;

	rc = sat_arg_text(args, "what", &what, err);
	if (rc == SAT_OK && !sat_report_of(sat_slice_str(what), &report))
		rc = sat_err_set(err, SAT_E_INVAL, 0, "report",
				 "there are the reports pipeline and activity");
	if (rc == SAT_OK && by_word != NULL &&
	    !sat_report_by_of(sat_slice_str(by_word), &by))
		rc = sat_err_set(err, SAT_E_INVAL, 0, "report",
				 "--by is territory, region, manager, rep, "
				 "stage, product, month or quarter");
	if (rc == SAT_OK)
		rc = sat_report_run(a->store, report, by, on_result, &t, err);
	if (rc == SAT_OK && (json_object_set(ret, "columns", t.columns) != 0 ||
			     json_object_set(ret, "rows", t.rows) != 0))
		rc = out_of_memory(err);
	json_decref(t.columns);
	json_decref(t.rows);
	return rc;
}

/* ---- export ------------------------------------------------------------- */

static int on_exported(void *arg, const struct sat_table *t,
		       const struct sat_stored_row *row)
{
	struct table *out = arg;
	char id[SAT_UUID_CHARS + 1];
	json_t *line = json_array();
	int bad;

	sat_id_format(&row->id, id);
	bad = json_array_append_new(line, json_string(id));
	for (uint16_t c = 0; c < t->column_count && !bad; c++)
		bad = json_array_append_new(
			line, sat_value_json(&t->columns[c], &row->values[c]));
	bad = bad || json_array_append(out->rows, line);
	json_decref(line);
	return bad ? SAT_E_NOMEM : SAT_OK;
}

int sat_op_export(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err)
{
	struct table out = { json_array(), json_array() };
	const struct sat_table *t;
	uint64_t after =
		(uint64_t)json_integer_value(json_object_get(args, "after"));
	uint64_t next = 0;
	const char *name;
	int rc;

	rc = sat_arg_text(args, "table", &name, err);
	if (rc == SAT_OK)
		rc = sat_admin_table(a, name, &t, err);
	if (rc == SAT_OK)
		rc = sat_export_page(a->store, t, after, PAGE_ROWS, on_exported,
				     &out, &next, err);
	if (rc == SAT_OK &&
	    json_array_append_new(out.columns, json_string("id")) != 0)
		rc = out_of_memory(err);
	for (uint16_t c = 0; rc == SAT_OK && c < t->column_count; c++)
		if (json_array_append_new(out.columns,
					  json_string(t->columns[c].name)) != 0)
			rc = out_of_memory(err);
	if (rc == SAT_OK &&
	    (json_object_set(ret, "columns", out.columns) != 0 ||
	     json_object_set(ret, "rows", out.rows) != 0 ||
	     json_object_set_new(ret, "next", json_integer((json_int_t)next))))
		rc = out_of_memory(err);
	json_decref(out.columns);
	json_decref(out.rows);
	return rc;
}
