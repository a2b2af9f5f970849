/* core.h - what the files of the engine share; nothing outside server/commit
 * includes it.
 *
 * Layers inside the engine, each using only those above it:
 *   tally    digests and touched scopes, summed per changeset and per group
 *   plan     what the catalogue says, worked out once: read sets, dependents
 *   lookup   is there such a row, and where is it (cached)
 *   scope    the scopes a row belongs to
 *   place    writing a row with its feed entries and digests
 *   gate     role and scope checks (pure)
 *   apply    one delta: gate, merge, write
 *   cascade  what moves when a row's scopes or territory change
 *   ledger   conflict rows
 *   history  rows for changes of a watched column
 *   figures  roll-ups, settled at the commit
 *   push, local, hello, enrol   the calls of engine.h
 */
#ifndef SAT_ENGINE_CORE_H
#define SAT_ENGINE_CORE_H

#include "server/access/emit.h"
#include "server/access/tree.h"
#include "server/commit/engine.h"
#include "server/commit/recover.h"
#include "server/commit/tally.h"
#include "server/rollup/levels.h"
#include "server/rollup/plan.h"

enum {
	SAT_ROW_ARENA_MAX = 256 * 1024 * 1024,
	SAT_ROW_SCOPES_MAX = 4096,
	SAT_LOOKUP_SLOTS = 1024,
	SAT_LOOKUP_SCOPES = 8,
	SAT_AUTHOR_SLOTS = 256,
	SAT_RIGHTS_BYTES_MAX = 64 * 1024 * 1024,
	SAT_RIGHTS_MARKS = 64, /* users named before it is everybody */
	SAT_SCOPE_SLOTS = 256,
	SAT_READERS = SAT_ROLE_SERVER, /* roles that have digests */
};

/* ---- plan --------------------------------------------------------------- */

struct sat_dependent {
	uint16_t table, column;
};

struct sat_table_plan {
	/* roles with the same read set share a class, so a row is hashed
	 * once per class */
	uint8_t class_of[SAT_ROLE_COUNT], class_count;
	bool *readable[SAT_ROLE_COUNT];
	bool reads_all[SAT_ROLE_COUNT];
	struct sat_dependent *via;   /* tables whose scopes come via this one */
	struct sat_dependent *moves; /* tables whose rows move with its rows  */
	uint16_t via_count, move_count;
};

struct sat_plan {
	const struct sat_catalogue *cat;
	uint32_t version;
	struct sat_table_plan *tables;
	const struct sat_table *tree;   /* of territories; may be NULL       */
	const struct sat_table *people; /* of users; may be NULL             */
	const struct sat_table *ledger; /* the conflict table; may be NULL   */
	struct sat_rollups rollups;
	struct sat_arena arena;
};

int sat_plan_build(struct sat_plan *p, const struct sat_catalogue *c,
		   struct sat_err *err) SAT_MUST_CHECK;

/* ---- the engine --------------------------------------------------------- */

struct sat_lookup {
	const struct sat_table *table; /* NULL: empty slot */
	struct sat_id id;
	bool exists, deleted;
	uint16_t scope_count;
	uint32_t scopes[SAT_LOOKUP_SCOPES]; /* where it is now, sorted */
};

struct sat_scope_slot {
	struct sat_id territory;
	uint32_t scope; /* 0: empty */
};

struct sat_author {
	uint32_t replica; /* 0: empty slot */
	uint64_t generation;
	int64_t until_ms; /* grants begin or end then */
	struct sat_user user;
	struct sat_rights rights; /* scopes owned: malloc */
};

/* Users whose rights this group may have changed. */
struct sat_rights_marks {
	bool all;
	struct sat_id users[SAT_RIGHTS_MARKS];
	uint32_t count;
};

/* Roll-ups: what the open group adds to them. */
struct sat_figures {
	bool known;           /* what follows was read from the store       */
	bool tree_moved;      /* a territory has another parent, perhaps    */
	bool rebuild;         /* the stored figures are not to be trusted   */
	uint64_t epoch;       /* that they are of                           */
	struct sat_tree tree; /* that they are of */
	struct sat_sums changeset, group; /* in each row's own territory    */
	struct sat_sums shown;            /* scratch: as the rows show them */
};

struct sat_engine {
	struct sat_store *store;
	struct sat_plan plan;
	uint64_t epoch, epoch_head; /* head when this epoch began            */
	uint32_t self;              /* the server's replica id of this epoch */
	uint64_t self_seq;          /* its last changeset                    */
	uint32_t next_replica;
	struct sat_recover recover; /* of restores */
	uint32_t rights_version;    /* users' versions start above it */
	uint64_t hlc, head;         /* head: last position given out */
	int64_t now_ms;
	bool in_group, failed;
	bool settings_moved; /* epoch, self or next_replica were changed   */
	bool rights_moved;   /* in this group                              */
	struct sat_rights_marks marks;
	int64_t grace_ms, sampled_ms, committed_ms;
	struct sat_keep keep;
	/* deleted rows up to floor may have been collected; so many were */
	uint64_t floor, collected;
	uint32_t collect_table; /* the next one to look at, and where in it */
	uint64_t collect_after;
	int64_t rights_due_ms; /* a grant begins or ends; 0: not looked yet */
	uint64_t rights_generation;
	struct sat_tree tree;
	bool tree_stale;
	struct sat_tally group, changeset;
	struct sat_figures figures;
	uint32_t *moved; /* scopes reported by the last commit */
	struct sat_lookup lookups[SAT_LOOKUP_SLOTS];
	struct sat_scope_slot scope_slots[SAT_SCOPE_SLOTS];
	struct sat_author authors[SAT_AUTHOR_SLOTS];
	struct sat_arena row_arena;     /* one delta at a time             */
	struct sat_arena derived_arena; /* one derived write at a time     */
	struct sat_arena look_arena;    /* one lookup at a time            */
	struct sat_buf meta;            /* scratch: encoded metadata       */
	struct sat_buf masked;          /* scratch: metadata of a read set */
};

/* Does a failure with that result take the transaction with it? */
bool sat_engine_ends_group(int rc);
/* A group failed for good: nothing more is accepted in it. */
int sat_engine_spoil(struct sat_engine *e, int rc);

/* Savepoint around one changeset, the engine's own state included. */
struct sat_engine_mark {
	uint64_t head, self_seq;
};
int sat_engine_mark(struct sat_engine *e, struct sat_engine_mark *m,
		    struct sat_err *err) SAT_MUST_CHECK;
int sat_engine_keep(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;
int sat_engine_undo(struct sat_engine *e, const struct sat_engine_mark *m,
		    struct sat_err *err) SAT_MUST_CHECK;

/* Fixed-width big-endian settings. SAT_E_NOTFOUND leaves *v. */
int sat_setting_put_u64(struct sat_store *s, const char *key, uint64_t v,
			struct sat_err *err) SAT_MUST_CHECK;
int sat_setting_get_u64(struct sat_store *s, const char *key, uint64_t *v,
			struct sat_err *err) SAT_MUST_CHECK;

/* ---- lookup and scopes -------------------------------------------------- */

/* Existence and current scopes of a row. *ret borrows a slot or the engine's
 * look_arena: valid until the next lookup. */
struct sat_where {
	bool exists, deleted;
	const uint32_t *scopes;
	uint32_t scope_count;
};
int sat_lookup_row(struct sat_engine *e, const struct sat_table *t,
		   const struct sat_id *id, struct sat_where *ret,
		   struct sat_err *err) SAT_MUST_CHECK;
void sat_lookup_forget(struct sat_engine *e, const struct sat_table *t,
		       const struct sat_id *id);
void sat_lookup_clear(struct sat_engine *e);

/* A sorted set of scope numbers without duplicates. */
struct sat_scopes {
	uint32_t *list;
	uint32_t count, cap;
};
bool sat_scopes_have(const struct sat_scopes *s, uint32_t scope);
int sat_scopes_add(struct sat_arena *a, struct sat_scopes *s,
		   uint32_t scope) SAT_MUST_CHECK;

/* The scope number of a territory that is known to exist. */
int sat_scope_number(struct sat_engine *e, const struct sat_id *territory,
		     uint32_t *ret, struct sat_err *err) SAT_MUST_CHECK;

/* The scopes of a row with these values, and in *own those that its own
 * columns name (not what it inherits from other rows). Both may be empty. */
int sat_row_scopes(struct sat_engine *e, const struct sat_table *t,
		   const struct sat_value *values, struct sat_arena *a,
		   struct sat_scopes *all, struct sat_scopes *own,
		   struct sat_err *err) SAT_MUST_CHECK;

/* ---- place -------------------------------------------------------------- */

/* A row on its way into the store. */
struct sat_work {
	const struct sat_table *table;
	struct sat_id id;
	struct sat_stored_row old; /* seq 0: none */
	struct sat_row state;
	struct sat_value *values; /* shown, one per column */
	struct sat_scopes scopes; /* where the new state belongs */
};

/* Say that the stored row is damaged; returns SAT_E_BUSY. */
int sat_row_damaged(const struct sat_table *t, const struct sat_id *id,
		    struct sat_err *err);
/* Read and decode; state is empty when there is no row. SAT_E_BUSY: the row
 * is damaged. */
int sat_work_load(struct sat_engine *e, const struct sat_table *t,
		  const struct sat_id *id, struct sat_arena *a,
		  struct sat_work *ret, struct sat_err *err) SAT_MUST_CHECK;
/* values from state. */
int sat_work_show(struct sat_arena *a, struct sat_work *w) SAT_MUST_CHECK;

/* Write the new state at position seq, its feed entries and digests. A dead
 * row leaves the digests and stays in the feed. */
int sat_work_write(struct sat_engine *e, struct sat_work *w, uint64_t seq,
		   uint32_t origin, bool held, struct sat_arena *a,
		   struct sat_err *err) SAT_MUST_CHECK;

/* The row itself stays as it is; only its memberships change. *ret_moved
 * tells whether there was anything to do. */
int sat_work_rescope(struct sat_engine *e, struct sat_work *w,
		     struct sat_arena *a, bool *ret_moved,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Add (or with minus, take away) the row's hashes in the scope. */
struct sat_class_hashes {
	struct sat_hash h[SAT_ROLE_COUNT]; /* by role */
};
int sat_class_hash(struct sat_engine *e, const struct sat_table *t,
		   const struct sat_id *id, struct sat_slice meta,
		   const struct sat_value *values, struct sat_arena *a,
		   struct sat_class_hashes *ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* ---- apply -------------------------------------------------------------- */

/* Outcomes of applying besides errors. Positive: nothing was broken. */
enum {
	SAT_APPLY_REFUSED = 2, /* reason and where are set                  */
	SAT_APPLY_LATER = 3,   /* refers to a row that is not known yet     */
	SAT_APPLY_ECHO = 4,    /* not as held after all: start over          */
};

/* What the author knew when a changeset was made (SYNC section 6). */
struct sat_told {
	uint64_t seq;     /* places left after it count as still there      */
	uint64_t raw_seq; /* the same without the limit of grace            */
	const struct sat_rights *now; /* as they are                        */
	struct sat_rights any;        /* and as he knew them, within grace:
					 role and home are those             */
	struct sat_rights ever;       /* and without it                     */
};
int sat_told_read(struct sat_engine *e, const struct sat_push_from *from,
		  const struct sat_rights *now, const struct sat_marker *m,
		  struct sat_arena *a, struct sat_told *ret,
		  struct sat_err *err) SAT_MUST_CHECK;

/* At the start of a group: note now and then since when the head stands where
 * it is. */
int sat_told_sample(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;

/* One changeset being applied. */
struct sat_apply {
	struct sat_engine *e;
	struct sat_dot dot;
	enum sat_role role;
	const struct sat_rights *rights; /* NULL: the server itself */
	const struct sat_told *told;     /* with rights             */
	bool moved;    /* this delta: only what he knew lets it in         */
	bool followed; /* ... and it went after its parent                 */
	/* reason TOO_LATE: the row that he may not touch any more */
	const struct sat_table *late_table;
	struct sat_id late_id;
	struct sat_clock_map clock;
	uint64_t ceiling;
	bool hold; /* the author is believed to hold every result exactly */
	bool old_history; /* made under an epoch before this one           */
	bool patient;     /* a parent not known yet may still come: LATER, not
			     PARENT */
	/* outcome */
	enum sat_reason reason;
	struct sat_field_name where;
	int where_column; /* index, -1: the row */
	const struct sat_table *where_table;
	struct sat_dot depends;
	struct sat_field_name
		*conflicts; /* malloc, at most SAT_VERDICT_FIELDS_MAX */
	uint32_t conflict_count, conflict_cap;
	bool conflicted;           /* even if the list is full */
	struct sat_dot ledger_dot; /* of derived rows; seq 0: none yet */
};

void sat_apply_fini(struct sat_apply *ap);

/* Refuse: returns SAT_APPLY_REFUSED with reason and place noted. column is an
 * index, -1 for the row as a whole. */
int sat_apply_refuse(struct sat_apply *ap, enum sat_reason reason,
		     const struct sat_table *t, const struct sat_id *id,
		     int column);

/* One delta, its ledger entries and whatever moves with it; the row takes
 * position seq. SAT_OK, an outcome above, or an error. */
int sat_apply_delta(struct sat_apply *ap, const struct sat_delta *d,
		    uint64_t seq, struct sat_err *err) SAT_MUST_CHECK;

/* Gate, merge and write, without ledger and cascade. *w is the row after;
 * the conflicts of the state before and after are in the arena. */
struct sat_applied {
	struct sat_work work;
	struct sat_row state_before; /* shares memory with the row as read */
	struct sat_delta delta; /* as applied: defaults and stamps filled in */
	struct sat_conflict *before, *after;
	uint32_t before_count, after_count;
	bool contained; /* nothing happened */
	bool fresh;     /* there was no such row */
	bool was_alive;
};
/* The entry of list with the same column and dot, NULL when there is none. */
const struct sat_conflict *sat_conflict_find(const struct sat_conflict *list,
					     uint32_t count,
					     const struct sat_conflict *like);
int sat_apply_row(struct sat_apply *ap, const struct sat_delta *d, uint64_t seq,
		  struct sat_arena *a, struct sat_applied *ret,
		  struct sat_err *err) SAT_MUST_CHECK;

/* Was the row within the author's reach, as it is or as he knew it (then
 * ap->moved is set)? SAT_REASON_NONE, SCOPE or TOO_LATE. */
enum sat_reason sat_told_reach(struct sat_apply *ap, const struct sat_table *t,
			       const struct sat_id *id,
			       const struct sat_place *places, uint32_t count);
/* A new row whose parent has moved from its territory without the author's
 * knowledge goes after it. *ret_did: a change of the delta was rewritten. */
int sat_told_follow(struct sat_apply *ap, const struct sat_delta *d,
		    struct sat_arena *a, bool *ret_did,
		    struct sat_err *err) SAT_MUST_CHECK;

/* References, home territory and scopes as judged by apply_row; refs.c. */
int sat_apply_refs(struct sat_apply *ap, const struct sat_delta *d,
		   struct sat_err *err) SAT_MUST_CHECK;

/* A write of the server's own as a delta: columns that already show the
 * value are left out. *ret_same tells that nothing is left to write. */
struct sat_own_write {
	enum sat_op op;
	const struct sat_table *table;
	struct sat_id id;
	const uint16_t *columns;
	const struct sat_value *values;
	uint32_t column_count;
};
/* The same when the row is at hand. */
int sat_own_delta_on(struct sat_engine *e, const struct sat_own_write *w,
		     const struct sat_work *row, struct sat_arena *a,
		     struct sat_delta *ret, bool *ret_same,
		     struct sat_err *err) SAT_MUST_CHECK;
int sat_own_delta(struct sat_engine *e, const struct sat_own_write *w,
		  struct sat_arena *a, struct sat_delta *ret, bool *ret_same,
		  struct sat_err *err) SAT_MUST_CHECK;

/* ---- cascade and ledger ------------------------------------------------- */

/* After a row was written: rows that take their scopes from it, and rows that
 * move with it from territory `from` to `to` (NULL: it did not move). */
int sat_cascade(struct sat_apply *ap, const struct sat_table *t,
		const struct sat_id *id, const struct sat_id *from,
		const struct sat_id *to, struct sat_err *err) SAT_MUST_CHECK;

/* Bring the conflict rows of a row in line with its state. */
int sat_ledger_update(struct sat_apply *ap, const struct sat_applied *done,
		      struct sat_err *err) SAT_MUST_CHECK;

/* An edit that was let in only because its author did not know better: an
 * entry that says so. And a note of one that came too late. */
int sat_ledger_moved(struct sat_apply *ap, const struct sat_applied *done,
		     struct sat_err *err) SAT_MUST_CHECK;
int sat_ledger_late(struct sat_apply *ap, struct sat_err *err) SAT_MUST_CHECK;

/* A row of a derived table, under a dot of the server's own that all derived
 * rows of the changeset share. Uses derived_arena, which w may lie in. */
int sat_derived_write(struct sat_apply *ap, const struct sat_own_write *w,
		      struct sat_err *err) SAT_MUST_CHECK;

/* A row in each table of changes that watches a column which now shows
 * another value. */
int sat_history_note(struct sat_apply *ap, const struct sat_applied *done,
		     struct sat_err *err) SAT_MUST_CHECK;

/* ---- figures ------------------------------------------------------------ */

void sat_figures_init(struct sat_figures *f);
void sat_figures_fini(struct sat_figures *f);
/* Nothing was noted (yet) in this group. */
void sat_figures_clear(struct sat_figures *f);
int sat_figures_begin(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;
/* A row is being written: old and new image count. */
int sat_figures_note(struct sat_engine *e, const struct sat_work *w,
		     struct sat_err *err) SAT_MUST_CHECK;
/* The changeset stands. */
int sat_figures_keep(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;
/* Before the digests of the commit: write what the group adds up to. */
int sat_figures_settle(struct sat_engine *e,
		       struct sat_err *err) SAT_MUST_CHECK;

/* ---- rights ------------------------------------------------------------- */

/* What the user may see now; a new version is stored when it differs from
 * the last one. *ret_until_ms: when that changes by itself. */
int sat_rights_current(struct sat_engine *e, const struct sat_user *user,
		       struct sat_arena *a, struct sat_rights *ret,
		       int64_t *ret_until_ms,
		       struct sat_err *err) SAT_MUST_CHECK;

/* This group may have changed that user's rights; NULL: anybody's. */
void sat_rights_mark(struct sat_engine *e, const struct sat_id *user);

/* Before the commit: store the new versions of all who are marked, and of
 * those whose grants began or ended meanwhile. */
int sat_rights_settle(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;

/* ---- authors ------------------------------------------------------------ */

/* User and rights behind a device, cached; borrowed until rights change.
 * SAT_E_DENIED: the user is gone or not active. */
int sat_author_get(struct sat_engine *e, const struct sat_device *d,
		   const struct sat_author **ret,
		   struct sat_err *err) SAT_MUST_CHECK;
void sat_authors_fini(struct sat_engine *e);
int sat_tree_fresh(struct sat_engine *e, struct sat_err *err) SAT_MUST_CHECK;

/* Fill an ERROR message and return rc. text is a static string. */
int sat_refusal(struct sat_msg_error *ret, struct sat_err *err, int rc,
		enum sat_wire_error code, const char *text);

#endif
