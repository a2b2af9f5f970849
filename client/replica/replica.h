/* replica.h - a device's copy of the data: one SQLite file that any program
 * may read and write with plain SQL (DESIGN section 4, SYNC section 4).
 *
 * The replica knows no network. satcheld drives it from one thread; `satchel`
 * opens the same file for reading and plain SQL. Every function that changes
 * the file is one transaction, or says otherwise. SAT_E_BUSY: another program
 * holds the write lock longer than the wait; SAT_E_FULL: disk full, nothing
 * changed; SAT_E_CORRUPT: see sat_replica_check.
 */
#ifndef SAT_REPLICA_H
#define SAT_REPLICA_H

#include "common/merge.h"
#include "proto/message.h"
#include "proto/reason.h"

struct sat_replica;
struct sqlite3;

/* Beside the replica: why the server refused this device, when it did at the
 * last try. One line. */
#define SAT_REFUSED_FILE "refused"

/* Who this device is, from ENROLLED; kept in the replica. */
struct sat_replica_identity {
	uint32_t replica;
	uint64_t epoch;
	struct sat_slice org, login, name; /* copied */
	struct sat_rights rights;          /* copied */
	struct sat_slice server;           /* HOST:PORT, copied */
};

/* Create DIR/replica.db with tables, triggers and views for the catalogue
 * (canonical JSON, stored inside). SAT_E_EXISTS when there is one already. */
int sat_replica_create(const char *path, const struct sat_replica_identity *who,
		       struct sat_slice catalogue_json,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Open an existing one: WAL, synchronous FULL, busy timeout 5 s. Never waits
 * for the network. SAT_E_NOTFOUND, SAT_E_NEWER, SAT_E_CORRUPT, SAT_E_IO. */
int sat_replica_open(const char *path, struct sat_replica **ret,
		     struct sat_err *err) SAT_MUST_CHECK;
void sat_replica_close(struct sat_replica *r);

/* The connection, for plain SQL by the command line; and the catalogue. */
struct sqlite3 *sat_replica_db(struct sat_replica *r);
const struct sat_catalogue *sat_replica_catalogue(const struct sat_replica *r);

/* ---- capture and outbox ------------------------------------------------- */

/* Read all pending rows, diff them against their before-images, form one
 * changeset with the row contexts, move it to the outbox; also turns rows of
 * _satchel_intent and satchel_resolve into deltas. Values that cannot be
 * encoded go to _satchel_rejected. wait_ms bounds the wait for the write
 * lock. *ret_seq is the new changeset's seq, 0 when there was nothing. */
int sat_replica_harvest(struct sat_replica *r, int64_t now_raw_ms,
			bool coalesced, int wait_ms, uint64_t *ret_seq,
			struct sat_err *err) SAT_MUST_CHECK;

/* Has another connection committed since the last call (data_version)? */
int sat_replica_changed(struct sat_replica *r, bool *ret,
			struct sat_err *err) SAT_MUST_CHECK;

/* From here on nothing that this handle writes is captured: its connection
 * runs no triggers, which cost more than the rows do. For a process that never
 * writes as a person does, as the daemon; call it right after opening. */
int sat_replica_still(struct sat_replica *r,
		      struct sat_err *err) SAT_MUST_CHECK;

/* The highest seq harvested, by any call of this header: verdicts, pages and
 * checkpoints harvest first. 0: none yet. Costs nothing. */
uint64_t sat_replica_outbox_last(const struct sat_replica *r);

/* What the replica holds of a row as the text that _satchel_intent.context
 * takes: 'replica:seq,...', '' for an unknown row. SAT_E_LIMIT when out is too
 * small. The API's ETag. */
int sat_replica_row_context(struct sat_replica *r, const struct sat_table *t,
			    const struct sat_id *id, char *out, size_t out_size,
			    struct sat_err *err) SAT_MUST_CHECK;

/* The stored bytes of changeset seq, part of them: copies at most cap bytes
 * from offset into out. SAT_E_NOTFOUND when it is not in the outbox. */
int sat_replica_outbox_read(struct sat_replica *r, uint64_t seq,
			    uint64_t offset, uint8_t *out, size_t cap,
			    size_t *ret_len, uint64_t *ret_total,
			    uint8_t ret_hash[16],
			    struct sat_err *err) SAT_MUST_CHECK;

/* ---- what the server says ----------------------------------------------- */

/* Everything HELLO needs except the clock; steps borrow until the next call. */
int sat_replica_hello(struct sat_replica *r, int64_t now_raw_ms,
		      struct sat_msg_hello *ret,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Store epoch, ratchet, offset, rights, role, home. Changes of role or home
 * re-create the triggers. Scopes that were lost are evicted.
 *
 * SAT_AGAIN: stored, but the server was restored, so everything must be sent
 * again: close the connection and say HELLO anew (its cursor is 0 then). Rows
 * shown stay until their new state comes; what is not sent again
 * goes at the checkpoint; edits stay. */
int sat_replica_welcome(struct sat_replica *r, const struct sat_msg_welcome *w,
			int64_t now_raw_ms, struct sat_err *err) SAT_MUST_CHECK;
int sat_replica_grant(struct sat_replica *r, const struct sat_rights *g,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Take a newer catalogue: alter tables, re-create triggers and views. */
int sat_replica_catalogue_store(struct sat_replica *r,
				const struct sat_msg_catalogue *c,
				struct sat_err *err) SAT_MUST_CHECK;

/* Settle changeset v->seq durably: acked (as-held: fold its deltas into the
 * base), rejected (move to _satchel_rejected, re-derive its rows), parked.
 * Idempotent: a verdict already stored is ignored. */
int sat_replica_verdict(struct sat_replica *r, const struct sat_msg_verdict *v,
			int64_t now_raw_ms, struct sat_err *err) SAT_MUST_CHECK;

/* Keep rows or evictions durably and invisibly until the checkpoint (while
 * filling: apply at once in short transactions). Parts of a page (m->more) are
 * joined in memory first. SAT_E_PROTO: what came cannot be read. */
int sat_replica_stage_rows(struct sat_replica *r, const struct sat_msg_rows *m,
			   struct sat_err *err) SAT_MUST_CHECK;
int sat_replica_stage_evict(struct sat_replica *r,
			    const struct sat_msg_evict *m,
			    struct sat_err *err) SAT_MUST_CHECK;

/* Everything so far is staged: HELLO shows this mark until the checkpoint, or
 * until stages are dropped. SAT_E_PROTO: too long. */
int sat_replica_mark(struct sat_replica *r, const struct sat_msg_mark *m,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Harvest, then apply everything staged, cursor and digest in one
 * transaction; of more rows than one may hold (SAT_REPLICA_ATOMIC_ROWS) those
 * go ahead in short ones, and until the last the replica is filling.
 * *ret_digest_ok tells whether the digest agrees. */
int sat_replica_checkpoint(struct sat_replica *r,
			   const struct sat_msg_checkpoint *c,
			   int64_t now_raw_ms, uint64_t *ret_harvested,
			   bool *ret_digest_ok,
			   struct sat_err *err) SAT_MUST_CHECK;

/* A new connection: drop the page whose parts were still coming, and, unless
 * the server goes on at our mark (keep), everything staged. */
int sat_replica_stage_reset(struct sat_replica *r, bool keep,
			    struct sat_err *err) SAT_MUST_CHECK;

/* The digest differs: take every row anew from the next HELLO on. What is shown
 * stays until it is replaced, edits stay over it. */
int sat_replica_repair(struct sat_replica *r,
		       struct sat_err *err) SAT_MUST_CHECK;

/* This device was a copy: under its new number from here on. after: the seq
 * that was told to the server; hashes: its answer (RENEWED). What the server
 * has not got is kept, moved to the new number. Done once per number. */
int sat_replica_become(struct sat_replica *r, uint32_t replica, uint64_t after,
		       struct sat_slice hashes,
		       struct sat_err *err) SAT_MUST_CHECK;

/* ---- status and upkeep -------------------------------------------------- */

struct sat_replica_status {
	uint32_t replica;
	uint64_t epoch, cursor;
	/* Changes of rows, the same before and after they are harvested:
	 * saved = confirmed + waiting + refused + missing. */
	uint64_t saved;     /* made here                                    */
	uint64_t confirmed; /* of these accepted, durable at the server     */
	uint64_t waiting;   /* of these without a verdict                   */
	uint64_t missing;   /* of these neither answered nor here           */
	uint64_t rejected;  /* entries waiting in the rejected list         */
	uint64_t orphans;   /* rows of satchel_orphans                      */
	uint64_t pending_rows; /* changed, or asked for, not harvested yet  */
	uint64_t outbox;      /* harvested, without a verdict                 */
	uint64_t outbox_last; /* highest seq harvested, 0 when none         */
	uint64_t conflicts_open;
	int64_t checkpoint_ms; /* server time of the last checkpoint, 0     */
	int64_t offset_ms;
	uint64_t rows;
	uint64_t repaired; /* rows that were damaged and fetched again      */
	bool filling;
	int digest; /* 1 equal, 0 not compared yet, -1 mismatch             */
	enum sat_role role;
	char org[128], login[64], name[128], server[256];
};
int sat_replica_status(struct sat_replica *r, struct sat_replica_status *ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* quick_check after an unclean stop; on damage rescue what is unsynced into
 * a new file beside the old one (SYNC section 4). */
int sat_replica_check(const char *path, bool *ret_rescued,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Recompute every row hash and the digest from the typed rows; *ret_bad is
 * how many rows differ from what the server sent. They are noted, as
 * sat_replica_rehash does. */
int sat_replica_verify(struct sat_replica *r, uint64_t *ret_rows,
		       uint64_t *ret_bad, struct sat_hash *ret_digest,
		       struct sat_err *err) SAT_MUST_CHECK;

/* The same for the next `rows` rows, in turns for ever: a slice of the work.
 * Rows that are not what the server sent are noted for sat_replica_narrow_*,
 * *ret_bad of them in this slice. Pending edits are no damage. */
int sat_replica_rehash(struct sat_replica *r, uint32_t rows, uint64_t *ret_bad,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Are there any, not asked for yet? */
bool sat_replica_damaged(const struct sat_replica *r);

/* ---- what differs from the server (PROTOCOL.md section 17) -------------- */

/* Begin to look for it: for the rows noted as damaged if there are any, else
 * for whatever makes the digests differ. Forgets an earlier attempt. Reads
 * every row. */
int sat_replica_narrow_begin(struct sat_replica *r,
			     struct sat_err *err) SAT_MUST_CHECK;

/* The next question, but for its number; borrowed until the next call. *ret
 * false: there is none, the rest comes by ROWS and a checkpoint, or nothing
 * differs. SAT_E_LIMIT: too much differs to be narrowed down. */
int sat_replica_narrow_ask(struct sat_replica *r, struct sat_msg_repair *ret,
			   bool *ret_asks, struct sat_err *err) SAT_MUST_CHECK;

/* The answer to it. SAT_E_PROTO, SAT_E_LIMIT. */
int sat_replica_narrow_answer(struct sat_replica *r,
			      const struct sat_msg_repair *m,
			      struct sat_err *err) SAT_MUST_CHECK;

/* The connection ended, or the rights changed. */
void sat_replica_narrow_end(struct sat_replica *r);

/* Checkpoint the WAL when it holds more than `pages`; drop acked changesets
 * older than acked_days. Cheap when there is nothing to do. */
int sat_replica_upkeep(struct sat_replica *r, int pages, int acked_days,
		       int64_t now_raw_ms, struct sat_err *err) SAT_MUST_CHECK;

/* Note a step of the wall clock (new - old), kept for HELLO. */
int sat_replica_clock_step(struct sat_replica *r, int64_t before_ms,
			   int64_t delta_ms,
			   struct sat_err *err) SAT_MUST_CHECK;

#endif
