/* ops_ca.h - replacing the CA: who trusts the new one; see ops.h. The files
 * are the command's (server/cli/ca.c), which names the CA in args as `ca`, 16
 * digits of hex. */
#ifndef SAT_ADMIN_OPS_CA_H
#define SAT_ADMIN_OPS_CA_H

#include "server/admin/ops.h"

/* {org, devices, ready, columns, rows: those that are not}. */
int sat_op_ca_status(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err);
/* Only for the audit: {devices}, which are to follow. */
int sat_op_ca_rollover(struct sat_admin *a, const json_t *args, json_t *ret,
		       struct sat_err *err);
/* May the old CA go? SAT_E_DENIED names the devices that would be left
 * behind, unless `force`. */
int sat_op_ca_finish(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err);

#endif
