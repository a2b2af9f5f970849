/* ops_move.h - who works what: territories under other parents, accounts and
 * whole patches handed over, grants taken away, and all of it undone.
 *
 * "dry-run" in the arguments: everything is done, counted, and undone, and
 * the operation returns SAT_AGAIN (ops.h).
 */
#ifndef SAT_ADMIN_OPS_MOVE_H
#define SAT_ADMIN_OPS_MOVE_H

#include "server/admin/ops.h"

/* args: code, parent. */
int sat_op_territory_move(struct sat_admin *a, const json_t *args, json_t *ret,
			  struct sat_err *err);
/* args: account (id or name) and territory (code); or from and to (codes):
 * every account of a territory, in one commit. */
int sat_op_account_move(struct sat_admin *a, const json_t *args, json_t *ret,
			struct sat_err *err);
/* args: grant. */
int sat_op_grant_remove(struct sat_admin *a, const json_t *args, json_t *ret,
			struct sat_err *err);
/* args: audit, the number of a move or of a grant that was removed. What was
 * changed again since stays as it is. */
int sat_op_undo(struct sat_admin *a, const json_t *args, json_t *ret,
		struct sat_err *err);
/* args: after (a number, default: the last 100). */
int sat_op_audit_list(struct sat_admin *a, const json_t *args, json_t *ret,
		      struct sat_err *err);

#endif
