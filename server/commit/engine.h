/* engine.h - the committer's work: changesets into the store, one group per
 * transaction (SYNC sections 2, 3, 5, 6, 8).
 *
 * Not thread-safe: one engine, one writer store, one thread. Knows no
 * sockets; time and randomness come with each call. A group is begin, any
 * number of hello / push / local / other calls, then commit; nothing may be
 * told to anyone before commit returned SAT_OK.
 */
#ifndef SAT_ENGINE_H
#define SAT_ENGINE_H

#include "common/merge.h"
#include "proto/changeset.h"
#include "proto/message.h"
#include "proto/reason.h"
#include "server/feed/feed.h"
#include "server/store/store.h"

struct sat_engine;

/* Keeps store. Reads epoch, own replica id, scope tree, HLC. */
int sat_engine_open(struct sat_store *store, struct sat_engine **ret,
		    struct sat_err *err) SAT_MUST_CHECK;
void sat_engine_close(struct sat_engine *e);

/* Start a new store: epoch, the server's own replica id 1, catalogue. */
int sat_engine_init(struct sat_store *store, struct sat_slice catalogue_json,
		    const char *org, int64_t now_ms, const uint8_t random[16],
		    struct sat_err *err) SAT_MUST_CHECK;

int sat_engine_begin(struct sat_engine *e, int64_t now_ms,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Scopes whose feed moved in this group, for notification; in engine memory
 * until the next begin. */
struct sat_commit_info {
	uint64_t commit_seq; /* head after the group */
	const uint32_t *scopes;
	uint32_t scope_count;
	bool rights_changed;   /* grants, users, devices or territories moved */
	int64_t rights_due_ms; /* wall clock: the next grant begins or ends */
};
/* On failure the group is gone, unless SAT_E_IO: then it is in doubt and the
 * engine must be closed and reopened. */
int sat_engine_commit(struct sat_engine *e, struct sat_commit_info *ret,
		      struct sat_err *err) SAT_MUST_CHECK;
void sat_engine_abandon(struct sat_engine *e);

/* Judge a HELLO of the device whose certificate names `replica` with that
 * key. On SAT_OK *ret is the WELCOME (arrays in the arena). On SAT_E_DENIED,
 * SAT_E_NOTFOUND, SAT_E_PROTO *ret_refusal is the ERROR to send. */
int sat_engine_hello(struct sat_engine *e, uint32_t replica,
		     const uint8_t key_hash[32],
		     const struct sat_msg_hello *hello,
		     const uint8_t random[16], struct sat_arena *a,
		     struct sat_msg_welcome *ret,
		     struct sat_msg_error *ret_refusal,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Where the feed of a device that was just welcomed goes on. */
struct sat_pull_start {
	struct sat_feed_at at;
	bool live;             /* it has a checkpoint of this history       */
	uint32_t base;         /* its rights when that checkpoint came      */
	const uint32_t *fresh; /* scopes it has not had all the time since: */
	uint32_t fresh_count;  /* read from the start if at.fill; sorted    */
};
/* After sat_engine_hello in the same group. Sets w->resumed. */
int sat_engine_pull_start(struct sat_engine *e,
			  const struct sat_msg_hello *hello,
			  struct sat_msg_welcome *w, struct sat_arena *a,
			  struct sat_pull_start *ret,
			  struct sat_err *err) SAT_MUST_CHECK;

/* What a connected device told us about itself, from HELLO. */
struct sat_push_from {
	uint32_t replica;
	struct sat_clock_map clock; /* raw device time -> server time */
	/* What it has been connected with for so long that it counts as told,
	 * for changesets made on this connection; 0: nothing. */
	uint64_t told_seq;
	uint32_t told_grants;
};

/* How long an edit that was made before its author learned of a move is
 * taken; 30 days at first. */
void sat_engine_grace(struct sat_engine *e, int64_t grace_ms);

/* How long things are kept (collect.h). At first: deleted rows 90 days, a
 * silent replica counts for 180, settled ledger entries for ever (0), the
 * recovery window stays open for 7 days. */
struct sat_keep {
	int64_t deleted_ms, silent_ms, settled_ms, recovery_ms;
};
void sat_engine_keep_for(struct sat_engine *e, const struct sat_keep *keep);

/* Apply one changeset inside a savepoint. SAT_OK: *ret is the verdict, arrays
 * in the arena; rejected ones are SAT_OK too. What is stored, and given by
 * sat_store_verdicts, is the payload of its VERDICT frame. A seq already
 * decided gives the stored verdict with the REPLAY flag. SAT_E_PROTO (gap in
 * seq, chain broken, not a changeset of this device, newer catalogue) and
 * SAT_E_DENIED (revoked): close with *ret_refusal; the group goes on. Any
 * other failure (SAT_E_FULL, SAT_E_IO, SAT_E_NOMEM, SAT_E_CORRUPT) takes the
 * whole group with it: abandon it. */
int sat_engine_push(struct sat_engine *e, const struct sat_push_from *from,
		    struct sat_slice bytes, struct sat_arena *a,
		    struct sat_msg_verdict *ret,
		    struct sat_msg_error *ret_refusal,
		    struct sat_err *err) SAT_MUST_CHECK;

/* The device confirms: verdicts stored, checkpoint applied, ratchet kept. */
int sat_engine_confirm(struct sat_engine *e, uint32_t replica,
		       const struct sat_msg_credit *c,
		       struct sat_err *err) SAT_MUST_CHECK;

/* ---- the server's own writes (administration, import) ------------------- */

/* One row to insert, update or delete on the server's behalf. */
struct sat_local_write {
	enum sat_op op;
	const struct sat_table *table;
	struct sat_id id;
	const uint16_t *columns;        /* indexes */
	const struct sat_value *values; /* set columns: JSON array text */
	uint32_t column_count;
};

/* One changeset of the server's replica; all or nothing within a savepoint.
 * Skips role gates, keeps every other check. Values are what the row shall
 * show: a counter's is the total wanted, a set's the whole array; a column
 * that shows it already is not written, nor is a row nothing is written of.
 * SAT_E_INVAL with a sentence and *ret_bad (index of the write) when one is
 * refused: undone, and the group goes on. Other failures take the group with
 * them. Several calls per group are fine. */
int sat_engine_local(struct sat_engine *e, const struct sat_local_write *w,
		     uint32_t count, uint32_t *ret_bad,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Enrol: check and consume the invitation, make the device row. Same token
 * and same key again within its time gives the same replica.
 * SAT_E_DENIED with a sentence: unknown, used, expired, user disabled. */
int sat_engine_enrol(struct sat_engine *e, struct sat_slice token,
		     const uint8_t key_hash[32], struct sat_slice device_name,
		     struct sat_device *ret_device, struct sat_user *ret_user,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Rights of a user now; arrays in the arena. */
int sat_engine_rights(struct sat_engine *e, const struct sat_id *user,
		      struct sat_arena *a, struct sat_rights *ret,
		      struct sat_err *err) SAT_MUST_CHECK;

/* After grants, users or territories were changed through the store within
 * this group: refresh the scope tree and note that rights changed. */
int sat_engine_rights_changed(struct sat_engine *e,
			      struct sat_err *err) SAT_MUST_CHECK;

/* The same when only that user's grants were changed. */
int sat_engine_user_rights_changed(struct sat_engine *e,
				   const struct sat_id *user,
				   struct sat_err *err) SAT_MUST_CHECK;

/* Grants begin and end by the clock: call it in a group when the time that
 * the last commit named has come; the commit settles what changed. Returns
 * the time that is due, which may still lie ahead. */
int64_t sat_engine_rights_tick(struct sat_engine *e);

/* Inside a group: how many active devices does what was done so far concern?
 * Those whose user sees one of the territories now or had seen it, or whose
 * rights are not what they were. */
int sat_engine_devices_concerned(struct sat_engine *e,
				 const struct sat_id *territories,
				 uint32_t count, uint32_t *ret,
				 struct sat_err *err) SAT_MUST_CHECK;
/* Live rows in a territory and all below it, once per scope. */
int sat_engine_rows_below(struct sat_engine *e, const struct sat_id *territory,
			  uint64_t *ret, struct sat_err *err) SAT_MUST_CHECK;
/* The last position given out. */
uint64_t sat_engine_head(const struct sat_engine *e);

struct sat_store *sat_engine_store(struct sat_engine *e);
uint64_t sat_engine_epoch(const struct sat_engine *e);
/* The same without an engine. SAT_E_NOTFOUND in a store that has none yet. */
int sat_engine_stored_epoch(struct sat_store *store, uint64_t *ret,
			    struct sat_err *err) SAT_MUST_CHECK;
/* The server's own replica id in this epoch. */
uint32_t sat_engine_self(const struct sat_engine *e);

#endif
