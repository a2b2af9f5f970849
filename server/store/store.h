/* store.h - what the server keeps, behind one table of functions: the
 * embedded SQLite store now, PostgreSQL later (DESIGN section 5).
 *
 * Two kinds of handle. The WRITER is the only one that writes and
 * checkpoints; the committer thread owns it. READERs see one snapshot each
 * between snapshot_begin and snapshot_end; any number, one thread at a time
 * each. Slices returned are valid until the next call on the same handle
 * unless an arena is given. SAT_E_FULL: disk full; the transaction is gone.
 */
#ifndef SAT_STORE_H
#define SAT_STORE_H

#include "common/meta.h"

struct sat_rights; /* proto/message.h */

enum { SAT_SCOPE_EVERYONE = 0 };

/* A row's place in one scope's feed. */
struct sat_place {
	uint32_t scope;
	uint64_t seq; /* position in that scope's feed                      */
	bool evict;   /* the row has left the scope; the entry says so      */
};

/* A business row as stored. values: one per table column, by index. */
struct sat_stored_row {
	uint64_t seq; /* `_seq`, position of its latest write; 0: no row    */
	struct sat_id id;
	uint32_t origin; /* replica that wrote last                         */
	bool held;       /* ... and its device holds exactly this state     */
	bool deleted;
	/* Not what the server wrote: somebody or something else changed it.
	 * Nothing of it may go to a device or be built upon; its places are
	 * empty when they cannot be read. Only readers set it. */
	bool damaged;
	struct sat_slice meta; /* meta.h */
	const struct sat_value *values;
	const struct sat_place *places; /* sorted by scope */
	uint32_t place_count;
};

/* A row that is damaged, for whoever reports it. */
struct sat_row_name {
	char table[64]; /* a copy: it outlives the store that read it */
	struct sat_id id;
};

struct sat_device {
	uint32_t replica;
	struct sat_id user;
	uint8_t key_hash[32]; /* SHA-256 of the SPKI */
	enum { SAT_DEVICE_ACTIVE, SAT_DEVICE_WIPING, SAT_DEVICE_REVOKED } state;
	uint64_t last_seq;     /* last changeset with a verdict             */
	uint8_t last_hash[16]; /* its chain hash                            */
	uint64_t verdict_seq;  /* verdicts the device has stored            */
	uint64_t cursor;       /* last checkpoint it confirmed              */
	uint8_t ratchet[16], ratchet_new[16]; /* current, unconfirmed       */
	int64_t enrolled_ms, seen_ms;
	char name[128];
};

struct sat_user {
	struct sat_id id, home;
	enum sat_role role;
	bool active;
	char login[64], name[128];
};

struct sat_grant {
	uint32_t no;
	struct sat_id user, territory;
	enum sat_role role;
	int64_t from_ms, to_ms; /* 0: open */
};

struct sat_invite {
	uint8_t token_hash[32];
	struct sat_id user;
	int64_t expires_ms;
	bool used;
	uint8_t key_hash[32]; /* of the key that used it */
	uint32_t replica;     /* the device it made      */
};

/* Called once per entry; return SAT_OK to go on, else the scan stops with
 * that value. Slices live during the call only. */
typedef int (*sat_feed_cb)(void *arg, uint64_t seq, const struct sat_table *t,
			   uint64_t row_seq, const struct sat_id *id,
			   bool evict);
typedef int (*sat_row_cb)(void *arg, const struct sat_table *t,
			  const struct sat_stored_row *row);
/* Fill *ret. */
void sat_row_name_of(const struct sat_table *t, const struct sat_id *id,
		     struct sat_row_name *ret);
typedef int (*sat_scope_cb)(void *arg, uint32_t scope);
typedef int (*sat_verdict_cb)(void *arg, uint64_t seq, struct sat_slice bytes);
typedef int (*sat_text_cb)(void *arg, int columns, const char *const *names,
			   const struct sat_value *values);

struct sat_store;

/* Open the database file, or satchel.db in the folder that path names.
 * create: make it (writer only). SAT_E_NOTFOUND (wrong folder), SAT_E_EXISTS,
 * SAT_E_NEWER (a later version's file, left unchanged), SAT_E_CORRUPT,
 * SAT_E_IO. The catalogue is read from the store; NULL in a new one. */
int sat_store_open_sqlite(const char *path, bool writer, bool create,
			  struct sat_store **ret,
			  struct sat_err *err) SAT_MUST_CHECK;
void sat_store_close(struct sat_store *s);

/* -- transactions (writer) and snapshots (reader) --
 * Every function that writes needs begin first, else SAT_E_INVAL. When one
 * returns SAT_E_FULL, SAT_E_IO, SAT_E_NOMEM or SAT_E_CORRUPT, or commit or
 * release fails in any way, the whole transaction is rolled back and over:
 * what follows gets SAT_E_INVAL until the next begin. A commit that failed
 * with SAT_E_IO is in doubt. Other failures leave the transaction open. */
int sat_store_begin(struct sat_store *s, struct sat_err *err) SAT_MUST_CHECK;
int sat_store_commit(struct sat_store *s, struct sat_err *err) SAT_MUST_CHECK;
void sat_store_rollback(struct sat_store *s);
/* Nest up to three deep. undo takes back everything since the last open
 * savepoint and ends it, as release keeps it and ends it. */
int sat_store_savepoint(struct sat_store *s,
			struct sat_err *err) SAT_MUST_CHECK;
int sat_store_release(struct sat_store *s, struct sat_err *err) SAT_MUST_CHECK;
int sat_store_undo(struct sat_store *s, struct sat_err *err) SAT_MUST_CHECK;
int sat_store_snapshot_begin(struct sat_store *s,
			     struct sat_err *err) SAT_MUST_CHECK;
void sat_store_snapshot_end(struct sat_store *s);

/* Head of the feed: the value last given to seq_put, 0 at first; inside a
 * snapshot that of the snapshot. The committer puts it once per group. */
int sat_store_head(struct sat_store *s, uint64_t *ret,
		   struct sat_err *err) SAT_MUST_CHECK;
int sat_store_seq_put(struct sat_store *s, uint64_t seq,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Writer, between transactions: move the WAL into the file when it is long;
 * force: whatever its length. Waits at most 50 ms for readers; what they
 * hold back is left for next time. *ret_pages: pages (4 KiB) still in the
 * WAL, a metric. */
int sat_store_upkeep(struct sat_store *s, bool force, int *ret_pages,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Copy the whole store as it is at one moment into a new file; others may
 * write meanwhile. at (may be NULL) is told of the progress. */
int sat_store_backup(struct sat_store *s, const char *path,
		     void (*at)(void *arg, size_t done, size_t total),
		     void *arg, struct sat_err *err) SAT_MUST_CHECK;
/* Number of the last audit entry, and those after one: at, what, detail. */
int sat_store_audit_last(struct sat_store *s, uint64_t *ret,
			 struct sat_err *err) SAT_MUST_CHECK;
int sat_store_audit_after(struct sat_store *s, uint64_t after, sat_text_cb cb,
			  void *arg, struct sat_err *err) SAT_MUST_CHECK;

/* -- catalogue and small settings (key -> blob; keys starting with '_' are
 * the store's own) -- */
/* Valid, with its tables, until the store is closed, even when a newer one
 * has taken its place. */
const struct sat_catalogue *sat_store_catalogue(const struct sat_store *s);
/* Writer: create or alter typed tables for it and keep the canonical JSON.
 * The stored one again: no change. SAT_E_INVAL: not a catalogue, or not one
 * that may follow the stored one. Added columns read NULL (counters 0). */
int sat_store_catalogue_put(struct sat_store *s, struct sat_slice json,
			    struct sat_err *err) SAT_MUST_CHECK;
/* Reader: notice a catalogue changed by the writer. */
int sat_store_catalogue_refresh(struct sat_store *s,
				struct sat_err *err) SAT_MUST_CHECK;
int sat_store_catalogue_json(struct sat_store *s, struct sat_buf *out,
			     struct sat_err *err) SAT_MUST_CHECK;
int sat_store_setting_put(struct sat_store *s, const char *key,
			  struct sat_slice value,
			  struct sat_err *err) SAT_MUST_CHECK;
/* SAT_E_NOTFOUND when absent. */
int sat_store_setting_get(struct sat_store *s, const char *key,
			  struct sat_buf *out,
			  struct sat_err *err) SAT_MUST_CHECK;

/* -- rows. Arrays and text go to the arena -- */
/* ret->seq == 0 when there is no such row. */
int sat_store_row_get(struct sat_store *s, const struct sat_table *t,
		      const struct sat_id *id, struct sat_arena *a,
		      struct sat_stored_row *ret,
		      struct sat_err *err) SAT_MUST_CHECK;
int sat_store_row_at(struct sat_store *s, const struct sat_table *t,
		     uint64_t seq, struct sat_arena *a,
		     struct sat_stored_row *ret,
		     struct sat_err *err) SAT_MUST_CHECK;
/* old_seq: `_seq` of the stored row it replaces, 0 to insert. places sorted
 * by scope. SAT_E_EXISTS: the id (or _seq) is taken; SAT_E_NOTFOUND: no row
 * of that id at old_seq; SAT_E_INVAL: t is not of the current catalogue. */
int sat_store_row_put(struct sat_store *s, const struct sat_table *t,
		      uint64_t old_seq, const struct sat_stored_row *row,
		      struct sat_err *err) SAT_MUST_CHECK;
/* Every row whose column (index) equals value, in seq order; column -1: all.
 * Deleted rows included. The row lives during the call only. cb may use the
 * store, and may change the row it is given: rows moved to a _seq above all
 * others are not met again. Indexed: move_with, the columns of scope
 * sources `via` and row, and the territory of roll-ups of all levels; other
 * columns are a scan of the table. */
int sat_store_rows(struct sat_store *s, const struct sat_table *t, int column,
		   const struct sat_value *value, sat_row_cb cb, void *arg,
		   struct sat_err *err) SAT_MUST_CHECK;
/* Rows with after < `_seq` in order, deleted ones included, at most `limit`.
 * *ret_next: go on after it, 0 when these were the last. */
int sat_store_rows_after(struct sat_store *s, const struct sat_table *t,
			 uint64_t after, uint32_t limit, sat_row_cb cb,
			 void *arg, uint64_t *ret_next,
			 struct sat_err *err) SAT_MUST_CHECK;
/* How many rows are alive and how many deleted. */
int sat_store_count(struct sat_store *s, const struct sat_table *t,
		    uint64_t *ret_live, uint64_t *ret_deleted,
		    struct sat_err *err) SAT_MUST_CHECK;

/* -- collecting what was deleted -- */
/* Positions of deleted rows with after < `_seq` <= upto, the first ones in
 * order, at most `most`. */
int sat_store_dead(struct sat_store *s, const struct sat_table *t,
		   uint64_t after, uint64_t upto, uint64_t *ret_seqs,
		   uint32_t most, uint32_t *ret_count,
		   struct sat_err *err) SAT_MUST_CHECK;
/* The row and its feed entries go; that there was one is noted. */
int sat_store_row_collect(struct sat_store *s, const struct sat_table *t,
			  const struct sat_stored_row *row,
			  struct sat_err *err) SAT_MUST_CHECK;
/* Was a row of that id ever collected? */
int sat_store_was_collected(struct sat_store *s, const struct sat_table *t,
			    const struct sat_id *id, bool *ret,
			    struct sat_err *err) SAT_MUST_CHECK;
/* Deleted rows up to floor may have been collected, and `rows` of them were.
 * The reader's are those of its snapshot. */
int sat_store_floor(struct sat_store *s, uint64_t *ret_floor,
		    uint64_t *ret_rows, struct sat_err *err) SAT_MUST_CHECK;
int sat_store_floor_put(struct sat_store *s, uint64_t floor, uint64_t rows,
			struct sat_err *err) SAT_MUST_CHECK;
/* Is there a live row whose column (index) holds that id? */
int sat_store_has_child(struct sat_store *s, const struct sat_table *t,
			int column, const struct sat_id *id, bool *ret,
			struct sat_err *err) SAT_MUST_CHECK;
/* Ids of live rows whose column `state` holds another text than `open` and
 * whose times in the columns at[] (index, -1: none) all lie before a time;
 * at most `most`. */
int sat_store_settled(struct sat_store *s, const struct sat_table *t, int state,
		      const char *open, const int at[3], int64_t before_ms,
		      struct sat_id *ret_ids, uint32_t most,
		      uint32_t *ret_count, struct sat_err *err) SAT_MUST_CHECK;

/* How far a replica is past what others wrote. settled: every changeset that
 * it formed before it applied that checkpoint has its verdict. The same holds
 * for due_cursor once due_seq has its verdict; due_seq 0: nothing is due. */
struct sat_passed {
	uint64_t epoch; /* in which it said so last */
	uint64_t settled, due_cursor, due_seq;
};
int sat_store_passed_put(struct sat_store *s, uint32_t replica,
			 const struct sat_passed *p,
			 struct sat_err *err) SAT_MUST_CHECK;
/* All zero when it never said anything. */
int sat_store_passed_get(struct sat_store *s, uint32_t replica,
			 struct sat_passed *ret,
			 struct sat_err *err) SAT_MUST_CHECK;

/* -- feed -- */
/* id is kept for evictions only. SAT_E_EXISTS: (scope, seq) is taken. */
int sat_store_feed_put(struct sat_store *s, uint32_t scope, uint64_t seq,
		       const struct sat_table *t, uint64_t row_seq,
		       const struct sat_id *id, bool evict,
		       struct sat_err *err) SAT_MUST_CHECK;
/* SAT_E_NOTFOUND when there is no such entry. */
int sat_store_feed_remove(struct sat_store *s, uint32_t scope, uint64_t seq,
			  struct sat_err *err) SAT_MUST_CHECK;
/* How many entries a scope has with after < seq <= upto. */
int sat_store_feed_count(struct sat_store *s, uint32_t scope, uint64_t after,
			 uint64_t upto, uint64_t *ret,
			 struct sat_err *err) SAT_MUST_CHECK;
/* Entries of a scope with after < seq <= upto, in order. id is NULL unless
 * evict; row_seq leads to the row (sat_store_row_at) unless evict. */
int sat_store_feed_scan(struct sat_store *s, uint32_t scope, uint64_t after,
			uint64_t upto, sat_feed_cb cb, void *arg,
			struct sat_err *err) SAT_MUST_CHECK;

/* Note that the scope's feed moved, up to seq; and name the scopes whose feed
 * moved after a position (some may be named that did not). */
int sat_store_scope_moved(struct sat_store *s, uint32_t scope, uint64_t seq,
			  struct sat_err *err) SAT_MUST_CHECK;
int sat_store_scopes_moved(struct sat_store *s, uint64_t after, sat_scope_cb cb,
			   void *arg, struct sat_err *err) SAT_MUST_CHECK;

/* -- digests: one sum and count per (scope, role); kept in memory until the
 * commit, so many small additions cost little -- */
int sat_store_digest_add(struct sat_store *s, uint32_t scope,
			 enum sat_role role, struct sat_hash plus,
			 struct sat_hash minus, int64_t rows,
			 struct sat_err *err) SAT_MUST_CHECK;
int sat_store_digest_get(struct sat_store *s, uint32_t scope,
			 enum sat_role role, struct sat_hash *ret,
			 uint64_t *ret_rows,
			 struct sat_err *err) SAT_MUST_CHECK;

/* -- changesets and verdicts (bytes as in changeset.h and VERDICT) -- */
int sat_store_changeset_put(struct sat_store *s, struct sat_dot dot,
			    const uint8_t hash[16], struct sat_slice bytes,
			    struct sat_err *err) SAT_MUST_CHECK;
int sat_store_changeset_get(struct sat_store *s, struct sat_dot dot,
			    struct sat_buf *out, uint8_t ret_hash[16],
			    struct sat_err *err) SAT_MUST_CHECK;
int sat_store_verdict_put(struct sat_store *s, struct sat_dot dot,
			  struct sat_slice bytes,
			  struct sat_err *err) SAT_MUST_CHECK;
/* After `after`, in order of seq. */
int sat_store_verdicts(struct sat_store *s, uint32_t replica, uint64_t after,
		       sat_verdict_cb cb, void *arg,
		       struct sat_err *err) SAT_MUST_CHECK;
/* Forget those up to and including seq `upto`: the device has stored them. */
int sat_store_verdicts_drop(struct sat_store *s, uint32_t replica,
			    uint64_t upto, struct sat_err *err) SAT_MUST_CHECK;
/* SAT_E_NOTFOUND when that replica has no rejected changeset with the row.
 * Rejected changesets: kept for `depends on` and for administrators. */
int sat_store_rejected_row(struct sat_store *s, uint32_t replica,
			   const struct sat_table *t, const struct sat_id *id,
			   struct sat_dot *ret_dot,
			   struct sat_err *err) SAT_MUST_CHECK;
int sat_store_rejected_put(struct sat_store *s, struct sat_dot dot,
			   const struct sat_table *t, const struct sat_id *id,
			   struct sat_err *err) SAT_MUST_CHECK;

/* -- people, devices, invitations, scopes, audit -- */
/* SAT_E_NOTFOUND; a deleted user is found and not active. */
int sat_store_user_get(struct sat_store *s, const struct sat_id *id,
		       struct sat_user *ret,
		       struct sat_err *err) SAT_MUST_CHECK;
/* Deleted users are not found. */
int sat_store_user_login(struct sat_store *s, const char *login,
			 struct sat_user *ret,
			 struct sat_err *err) SAT_MUST_CHECK;
/* g->no == 0: a new one, numbers are never reused; else it is replaced. */
int sat_store_grant_put(struct sat_store *s, struct sat_grant *g,
			struct sat_err *err) SAT_MUST_CHECK;
int sat_store_grant_remove(struct sat_store *s, uint32_t no,
			   struct sat_err *err) SAT_MUST_CHECK;
/* user NULL: everybody's. In the arena. */
int sat_store_grants(struct sat_store *s, const struct sat_id *user,
		     struct sat_arena *a, struct sat_grant **ret,
		     uint32_t *ret_count, struct sat_err *err) SAT_MUST_CHECK;
/* The first time after `after_ms` at which a grant begins or ends; INT64_MAX
 * when there is none. */
int sat_store_grants_next(struct sat_store *s, int64_t after_ms, int64_t *ret,
			  struct sat_err *err) SAT_MUST_CHECK;
/* What a user's rights were: versions grow by one whenever they change, and
 * the last 256 are kept. put replaces one of the same version. */
int sat_store_rights_put(struct sat_store *s, const struct sat_rights *r,
			 int64_t at_ms, struct sat_err *err) SAT_MUST_CHECK;
/* version 0: the latest. *ret_at_ms: when it came to be. SAT_E_NOTFOUND. */
int sat_store_rights_get(struct sat_store *s, const struct sat_id *user,
			 uint32_t version, struct sat_arena *a,
			 struct sat_rights *ret, int64_t *ret_at_ms,
			 struct sat_err *err) SAT_MUST_CHECK;
/* Users that have any. */
int sat_store_rights_users(struct sat_store *s, struct sat_arena *a,
			   struct sat_id **ret, uint32_t *ret_count,
			   struct sat_err *err) SAT_MUST_CHECK;
/* The latest position and rights that a device's changesets have shown or
 * that it must know of; 0, 0 when there is nothing yet. */
int sat_store_told_put(struct sat_store *s, uint32_t replica, uint64_t seq,
		       uint32_t grants, struct sat_err *err) SAT_MUST_CHECK;
int sat_store_told_get(struct sat_store *s, uint32_t replica, uint64_t *ret_seq,
		       uint32_t *ret_grants,
		       struct sat_err *err) SAT_MUST_CHECK;
/* Where the head was when: samples, forgotten after keep_ms. at: the last one
 * at or before that time, 0 when there is none. */
int sat_store_seq_time_put(struct sat_store *s, int64_t at_ms, uint64_t seq,
			   int64_t keep_ms, struct sat_err *err) SAT_MUST_CHECK;
int sat_store_seq_at(struct sat_store *s, int64_t at_ms, uint64_t *ret,
		     struct sat_err *err) SAT_MUST_CHECK;
/* Until which position a row's own territory was that one; 0: it never was, or
 * that is forgotten. Places do not tell: a row that is shared with the
 * territory it came from is still there. */
int sat_store_stood_put(struct sat_store *s, const struct sat_table *t,
			const struct sat_id *id, const struct sat_id *territory,
			uint64_t seq, struct sat_err *err) SAT_MUST_CHECK;
int sat_store_stood_until(struct sat_store *s, const struct sat_table *t,
			  const struct sat_id *id,
			  const struct sat_id *territory, uint64_t *ret,
			  struct sat_err *err) SAT_MUST_CHECK;
int sat_store_stood_forget(struct sat_store *s, uint64_t upto,
			   struct sat_err *err) SAT_MUST_CHECK;
/* By replica; replaces the whole row. */
int sat_store_device_put(struct sat_store *s, const struct sat_device *d,
			 struct sat_err *err) SAT_MUST_CHECK;
int sat_store_device_get(struct sat_store *s, uint32_t replica,
			 struct sat_device *ret,
			 struct sat_err *err) SAT_MUST_CHECK;
int sat_store_devices(struct sat_store *s, struct sat_arena *a,
		      struct sat_device **ret, uint32_t *ret_count,
		      struct sat_err *err) SAT_MUST_CHECK;
int sat_store_invite_put(struct sat_store *s, const struct sat_invite *i,
			 struct sat_err *err) SAT_MUST_CHECK;
int sat_store_invite_get(struct sat_store *s, const uint8_t token_hash[32],
			 struct sat_invite *ret,
			 struct sat_err *err) SAT_MUST_CHECK;
/* The scope number of a territory row, from 1; with create made on first use
 * by the writer, else SAT_E_NOTFOUND. */
int sat_store_scope_of(struct sat_store *s, const struct sat_id *territory,
		       bool create, uint32_t *ret,
		       struct sat_err *err) SAT_MUST_CHECK;
/* Records after `after`: no, at_ms, who, what, detail. */
int sat_store_audit_list(struct sat_store *s, int64_t after, sat_text_cb cb,
			 void *arg, struct sat_err *err) SAT_MUST_CHECK;
/* What audit record `no` says; detail is empty when it has none. The text goes
 * to the arena. SAT_E_NOTFOUND. */
int sat_store_audit_get(struct sat_store *s, uint64_t no, struct sat_arena *a,
			struct sat_slice *ret_what,
			struct sat_slice *ret_detail,
			struct sat_err *err) SAT_MUST_CHECK;
int sat_store_audit(struct sat_store *s, int64_t now_ms, const char *who,
		    const char *what, struct sat_slice detail_json,
		    struct sat_err *err) SAT_MUST_CHECK;

/* A read-only SQL query for reports and exports: text of the store's own
 * dialect, which only server/store/ contains. cb once per result row; names
 * are the column headings. SAT_E_INVAL when it would write. */
int sat_store_query(struct sat_store *s, const char *sql,
		    const struct sat_value *args, uint32_t arg_count,
		    sat_text_cb cb, void *arg,
		    struct sat_err *err) SAT_MUST_CHECK;

#endif
