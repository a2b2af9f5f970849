/* ops_recovery.h - operations after a restore; see ops.h. */
#ifndef SAT_ADMIN_OPS_RECOVERY_H
#define SAT_ADMIN_OPS_RECOVERY_H

#include "server/admin/ops.h"

int sat_op_recovery_status(struct sat_admin *a, const json_t *args, json_t *ret,
			   struct sat_err *err);
int sat_op_recovery_close(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err);

#endif
