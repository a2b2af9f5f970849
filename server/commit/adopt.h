/* adopt.h - unsent changesets of a device that is no more, taken in under a
 * new replica id (SYNC section 10: pending dots move, contexts with them).
 *
 * Inside a group, as the calls of engine.h.
 */
#ifndef SAT_ENGINE_ADOPT_H
#define SAT_ENGINE_ADOPT_H

#include "server/commit/engine.h"

/* A device row for the user that no key fits. */
int sat_engine_adopt_begin(struct sat_engine *e, const struct sat_id *user,
			   const char *name, struct sat_device *ret,
			   struct sat_err *err) SAT_MUST_CHECK;

struct sat_adopt {
	uint32_t from, to;    /* replica ids                                */
	const uint64_t *seqs; /* of `from`, taken so far: seqs[i] is i + 1 of
				 `to`; rising                           */
	uint32_t count;
	struct sat_clock_map clock;
};

/* One changeset of `from`, applied as seq count + 1 of `to`. SAT_OK: *ret is
 * its verdict. SAT_AGAIN: the server had it before. SAT_E_PROTO: it is none
 * of `from`, or damaged. Other failures as sat_engine_push. */
int sat_engine_adopt_one(struct sat_engine *e, const struct sat_adopt *how,
			 struct sat_slice bytes, struct sat_arena *a,
			 struct sat_msg_verdict *ret, uint64_t *ret_seq,
			 struct sat_err *err) SAT_MUST_CHECK;

/* Nobody writes under that replica id any more. */
int sat_engine_adopt_end(struct sat_engine *e, uint32_t to,
			 struct sat_err *err) SAT_MUST_CHECK;

#endif
