/* ops_device.h - ends of devices: revocation and wipe; see ops.h. */
#ifndef SAT_ADMIN_OPS_DEVICE_H
#define SAT_ADMIN_OPS_DEVICE_H

#include "server/admin/ops.h"

int sat_op_device_revoke(struct sat_admin *a, const json_t *args, json_t *ret,
			 struct sat_err *err);
int sat_op_device_wipe(struct sat_admin *a, const json_t *args, json_t *ret,
		       struct sat_err *err);

#endif
