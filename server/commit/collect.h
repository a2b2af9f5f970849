/* collect.h - what may be forgotten: deleted rows that every live replica has
 * passed, settled ledger entries past their time, and a recovery window that
 * nobody needs any more (SYNC sections 8 and 10).
 *
 * A replica is LIVE until it is revoked or was silent for longer than
 * silent_ms. One that comes back later has a cursor below what was collected:
 * it is rebased, that is filled afresh (pull.c). So nothing that was collected
 * can be missed, whatever the clocks say.
 */
#ifndef SAT_ENGINE_COLLECT_H
#define SAT_ENGINE_COLLECT_H

#include "server/commit/engine.h"

struct sat_collected {
	uint64_t floor;   /* deleted rows up to this position may be gone    */
	uint32_t rows;    /* deleted rows that went in this call             */
	uint32_t entries; /* ledger entries that went                        */
	bool closed;      /* the recovery window was closed                  */
	bool more;        /* call again                                      */
};

/* Inside a group of its own; a bounded amount of work. */
int sat_engine_collect(struct sat_engine *e, struct sat_collected *ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* What is known without an engine: the floor, how many rows went so far, and
 * the live replica that is furthest behind (0: none, or nobody is). */
struct sat_collect_status {
	uint64_t floor, rows;
	uint32_t behind;
	uint64_t behind_at;
};
int sat_collect_stored(struct sat_store *s, const struct sat_keep *keep,
		       int64_t now_ms, struct sat_collect_status *ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* ---- for the files of the engine ---------------------------------------- */

/* A replica says that it has applied the checkpoint at cursor, and that
 * last_seq is the last changeset that it had formed by then. */
int sat_collect_passed(struct sat_engine *e, const struct sat_device *d,
		       uint64_t cursor, uint64_t last_seq,
		       struct sat_err *err) SAT_MUST_CHECK;

#endif
