/* ops_doctor.h - what the database tells of its own health.
 */
#ifndef SAT_ADMIN_OPS_DOCTOR_H
#define SAT_ADMIN_OPS_DOCTOR_H

#include "server/admin/ops.h"

/* ret: findings [[check, sentence, command]], advertise HOST:PORT. */
int sat_op_doctor(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err);

#endif
