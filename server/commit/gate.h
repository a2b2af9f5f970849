/* gate.h - may this author make this change? The parts that need no store.
 * PURE. */
#ifndef SAT_GATE_H
#define SAT_GATE_H

#include "proto/message.h"
#include "proto/reason.h"
#include "server/store/store.h"

/* Role bits, append_only and derived. exists: the row is known, dead or
 * alive. *ret_column is the offending column's index, -1 for the row. */
enum sat_reason sat_gate_role(enum sat_role role, const struct sat_delta *d,
			      bool exists, int *ret_column);

/* Was the row within reach before the change: is one of its current places in
 * a granted scope? A row without any place (none yet) is not. */
bool sat_gate_before(const struct sat_rights *r, const struct sat_place *places,
		     uint32_t count);

/* And after it: for a new row one of `all` must be granted; a row moved away
 * need not stay in reach. Each scope the row's own columns add (`own` without
 * what it was in before) must be granted: what it inherits from a parent the
 * author did not choose. */
bool sat_gate_after(const struct sat_rights *r, const struct sat_place *before,
		    uint32_t before_count, const uint32_t *all,
		    uint32_t all_count, const uint32_t *own,
		    uint32_t own_count);

#endif
