/* ops_adopt.h - changesets rescued from a device, taken in. */
#ifndef SAT_ADMIN_OPS_ADOPT_H
#define SAT_ADMIN_OPS_ADOPT_H

#include "server/admin/ops.h"

/* A batch of changesets. args: login; device (the new replica id, 0 in the
 * first batch), from, offset_ms, map: {seqs: taken before}, lines: [bytes in
 * hex], last. ret: device, seqs (taken in this batch), known (how many the
 * server had), columns and rows of what was not simply applied. */
int sat_op_adopt(struct sat_admin *a, const json_t *args, json_t *ret,
		 struct sat_err *err);

#endif
