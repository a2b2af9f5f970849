/* recover.h - another history: what the engine knows after a restore, until
 * the devices have brought back what the database lost (SYNC section 10).
 *
 * While the window is open, a changeset formed under an older epoch whose
 * author had seen writes that are not back yet is PARKED: stored, answered so,
 * and decided when they are. Nothing waits for the server's own lost writes,
 * which nobody brings back; nor for anything once the window is closed.
 */
#ifndef SAT_ENGINE_RECOVER_H
#define SAT_ENGINE_RECOVER_H

#include "common/pki.h"
#include "proto/message.h"
#include "proto/reason.h"
#include "server/store/store.h"

struct sat_engine;

/* Changesets of one replica that were parked: seqs first to last. Those
 * before next have their final verdict, which the device may not know. */
struct sat_park {
	uint32_t replica;
	uint64_t first, next, last;
};

/* The engine's own; kept in one setting. */
struct sat_recover {
	bool open, moved;
	int64_t since_ms;
	uint32_t *selves; /* the server's replica ids of older epochs: malloc */
	uint32_t self_count;
	struct sat_park *parks; /* malloc */
	uint32_t park_count;
};

/* Begin another history, inside a group. past and past_replica: the highest
 * position and replica id known from outside the database. random: 16 bytes.
 * why goes to the audit. SAT_E_LIMIT when numbers are used up. */
struct sat_epoch_start {
	const char *why;
	uint64_t past;
	uint32_t past_replica;
	const uint8_t *random;
};
int sat_engine_new_epoch(struct sat_engine *e,
			 const struct sat_epoch_start *how,
			 struct sat_err *err) SAT_MUST_CHECK;

/* An id that the server had in a history that this database has not seen. */
int sat_engine_old_self(struct sat_engine *e, uint32_t replica,
			struct sat_err *err) SAT_MUST_CHECK;

/* Inside a group: a device whose certificate is good but which a restored
 * table lacks gets its row again. Changes nothing when it has one, when there
 * was no restore, or when its user is gone; HELLO then says unknown. */
int sat_engine_adopt(struct sat_engine *e, const struct sat_identity *who,
		     const uint8_t key_hash[32],
		     struct sat_err *err) SAT_MUST_CHECK;

struct sat_recovery_status {
	bool open;
	int64_t since_ms;
	uint64_t parked; /* changesets without a final verdict */
};
void sat_engine_recovery(const struct sat_engine *e,
			 struct sat_recovery_status *ret);
/* Without an engine, from the store. */
int sat_recovery_stored(struct sat_store *s, struct sat_recovery_status *ret,
			struct sat_err *err) SAT_MUST_CHECK;

/* Inside a group: wait for nobody any more; what is parked is decided with
 * what is there. */
int sat_engine_recovery_close(struct sat_engine *e,
			      struct sat_err *err) SAT_MUST_CHECK;

/* ---- for the files of the engine ---------------------------------------- */

int sat_recover_load(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;
int sat_recover_save(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;
void sat_recover_fini(struct sat_recover *r);

/* The last position that an older history has in common with this one; 0 when
 * nothing is known of it. */
int sat_recover_common(struct sat_engine *e, uint64_t epoch, uint64_t *ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* The entry of that replica, NULL when nothing of it was parked. */
struct sat_park *sat_recover_find(struct sat_engine *e, uint32_t replica);
/* Does a changeset of it still wait? Then the ones behind it must too. */
bool sat_recover_waiting(struct sat_engine *e, uint32_t replica);
int sat_recover_park(struct sat_engine *e, struct sat_dot dot,
		     struct sat_err *err) SAT_MUST_CHECK;
/* Verdicts that the server may forget, of those a device says it has: not
 * those it knows as parked. hello: it said so in HELLO. */
uint64_t sat_recover_known(struct sat_engine *e, uint32_t replica,
			   uint64_t upto, bool hello);
/* Try what is parked again, in order of each replica (push.c). */
int sat_push_retry(struct sat_engine *e, uint32_t tries,
		   struct sat_err *err) SAT_MUST_CHECK;
/* May a refusal for that reason go away when others have come back? */
bool sat_recover_waits(const struct sat_engine *e, enum sat_reason reason);
/* Take out of a context of an older history what will never come back. */
int sat_recover_clip(const struct sat_engine *e, struct sat_arena *a,
		     struct sat_vv have, uint32_t author,
		     struct sat_vv *context) SAT_MUST_CHECK;

#endif
