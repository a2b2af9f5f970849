#include "server/admin/ops_data.h"

#include <string.h>

#include "proto/catalogue_load.h"
#include "server/admin/rows.h"

static int out_of_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "answer", "out of memory");
}

/* ---- catalogue ---------------------------------------------------------- */

int sat_op_catalogue_show(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(a->store);
	json_t *rows = json_array();

	(void)args;
	for (uint16_t i = 0; i < c->table_count; i++) {
		const struct sat_table *t = &c->tables[i];

		for (uint16_t k = 0; k < t->column_count; k++) {
			const struct sat_column *col = &t->columns[k];

			if (json_array_append_new(
				    rows,
				    json_pack("[s, s, s, s, b, s, s]", t->name,
					      col->name,
					      sat_type_name(col->type),
					      sat_policy_name(col->policy),
					      col->required,
					      col->label.text[SAT_LANG_EN],
					      col->label.text[SAT_LANG_ZH])) !=
			    0) {
				json_decref(rows);
				return out_of_memory(err);
			}
		}
	}
	if (json_object_set_new(ret, "catalogue", json_string(c->name)) != 0 ||
	    json_object_set_new(ret, "version", json_integer(c->version)) ||
	    json_object_set_new(ret, "columns",
				json_pack("[s, s, s, s, s, s, s]", "table",
					  "column", "type", "policy",
					  "required", "english", "chinese")) ||
	    json_object_set_new(ret, "rows", rows) != 0)
		return out_of_memory(err);
	return SAT_OK;
}

/* The catalogue in the arguments, loaded and compared with the one in force.
 * *ret_json borrows from args. */
static int judge(struct sat_admin *a, const json_t *args,
		 struct sat_slice *ret_json, uint32_t *ret_version,
		 struct sat_err *err)
{
	const char *file = sat_arg_text_or_null(args, "file");
	struct sat_catalogue *next;
	const char *json;
	struct sat_err why;
	int rc;

	rc = sat_arg_text(args, "json", &json, err);
	if (rc != SAT_OK)
		return rc;
	*ret_json = sat_slice_str(json);
	if (file == NULL)
		file = "catalogue";
	rc = sat_catalogue_load(*ret_json, file, &next, err);
	if (rc != SAT_OK)
		return rc;
	*ret_version = next->version;
	rc = sat_catalogue_compatible(sat_store_catalogue(a->store), next,
				      &why);
	sat_catalogue_free(next);
	return rc == SAT_OK ? SAT_OK
			    : sat_err_set(err, rc, 0, "catalogue", "%s: %.200s",
					  file, why.msg);
}

int sat_op_catalogue_check(struct sat_admin *a, const json_t *args, json_t *ret,
			   struct sat_err *err)
{
	struct sat_slice json;
	uint32_t version;
	int rc = judge(a, args, &json, &version, err);

	if (rc == SAT_OK && json_object_set_new(ret, "would_apply_as_version",
						json_integer(version)) != 0)
		rc = out_of_memory(err);
	return rc;
}

int sat_op_catalogue_apply(struct sat_admin *a, const json_t *args, json_t *ret,
			   struct sat_err *err)
{
	struct sat_slice json;
	struct sat_buf canonical;
	uint32_t version;
	int rc = judge(a, args, &json, &version, err);

	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&canonical, 4 << 20);
	rc = sat_catalogue_canonical(json, &canonical, err);
	if (rc == SAT_OK)
		rc = sat_store_catalogue_put(a->store, sat_buf_peek(&canonical),
					     err);
	if (rc == SAT_OK)
		rc = sat_engine_rights_changed(a->engine, err);
	sat_buf_fini(&canonical);
	if (rc == SAT_OK && json_object_set_new(ret, "applied_as_version",
						json_integer(version)) != 0)
		rc = out_of_memory(err);
	return rc;
}
