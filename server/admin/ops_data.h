/* ops_data.h - looking at the data: export, reports, history, proof, status;
 * the catalogue. */
#ifndef SAT_ADMIN_OPS_DATA_H
#define SAT_ADMIN_OPS_DATA_H

#include "server/admin/ops.h"

/* args: table, after (row position, 0 first), count. Result: columns, rows,
 * next (0 at the end): an export is a series of calls. */
int sat_op_export(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err);
/* args: what (pipeline | activity), by. */
int sat_op_report(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err);
/* args: table, id. The row's story, newest first. */
int sat_op_history(struct sat_admin *a, const json_t *args, json_t *ret,
		   struct sat_err *err);
/* Recomputes what the server keeps; result: checks with counts and findings.
 * SAT_E_CORRUPT when anything differs. */
int sat_op_verify(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err);
int sat_op_status(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err);
int sat_op_catalogue_show(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err);
/* args: json (the text of the catalogue), file (its name, for messages). */
int sat_op_catalogue_check(struct sat_admin *a, const json_t *args, json_t *ret,
			   struct sat_err *err);
int sat_op_catalogue_apply(struct sat_admin *a, const json_t *args, json_t *ret,
			   struct sat_err *err);

#endif
