/* ops_people.h - territories, users, grants, invitations, devices. */
#ifndef SAT_ADMIN_OPS_PEOPLE_H
#define SAT_ADMIN_OPS_PEOPLE_H

#include "server/admin/ops.h"

int sat_op_territory_add(struct sat_admin *a, const json_t *args, json_t *ret,
			 struct sat_err *err);
int sat_op_territory_list(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err);
int sat_op_user_add(struct sat_admin *a, const json_t *args, json_t *ret,
		    struct sat_err *err);
int sat_op_user_list(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err);
int sat_op_user_disable(struct sat_admin *a, const json_t *args, json_t *ret,
			struct sat_err *err);
int sat_op_grant_add(struct sat_admin *a, const json_t *args, json_t *ret,
		     struct sat_err *err);
int sat_op_grant_list(struct sat_admin *a, const json_t *args, json_t *ret,
		      struct sat_err *err);
int sat_op_invite(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err);
int sat_op_device_list(struct sat_admin *a, const json_t *args, json_t *ret,
		       struct sat_err *err);

#endif
