/* ops_collect.h - what may be forgotten: now, and how it stands. */
#ifndef SAT_OPS_COLLECT_H
#define SAT_OPS_COLLECT_H

#include "server/admin/ops.h"

int sat_op_collect(struct sat_admin *a, const json_t *args, json_t *ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* For `status`: a new reference, NULL with *err filled. */
json_t *sat_collect_json(struct sat_admin *a, struct sat_err *err);

#endif
