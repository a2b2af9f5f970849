/* internal.h - what the files of the replica share. Nobody else includes it.
 *
 * A function here works inside the transaction that its caller opened with
 * sat_txn_begin, unless it says otherwise. Ids are struct sat_id in memory and
 * in metadata tables, lower-case UUID text in business tables and pending.
 */
#ifndef SAT_REPLICA_INTERNAL_H
#define SAT_REPLICA_INTERNAL_H

#include "client/replica/replica.h"
#include "common/db.h"
#include "common/text.h"
#include "proto/catalogue_load.h"
#include "proto/changeset.h"

#include <sqlite3.h>

enum {
	SAT_REPLICA_APPLICATION = 0x53415452, /* "SATR" */
	SAT_REPLICA_VERSION = 1,
	SAT_REPLICA_SCHEMA = 3, /* of triggers, views, metadata tables */
	SAT_REPLICA_PENDING_MAX = 1000000, /* rows captured, not harvested */
	SAT_REPLICA_SCRATCH_MAX = 256 * 1024 * 1024,
	/* Rows that one checkpoint applies in one transaction: nobody may wait
	 * more than 2 s for the write lock, and a row costs 50 us on the
	 * machines of tests/bench and 200 us on a tablet a quarter as fast.
	 * More are applied in steps, as while the replica fills. */
	SAT_REPLICA_ATOMIC_ROWS = 10000,
	SAT_REPLICA_STEP_ROWS = 1000,
	SAT_REPLICA_BATCH_MAX = 1024 * 1024 * 1024,
	SAT_REPLICA_BATCH_GOAL = 960 * 1024 * 1024, /* then cut */
	/* As triggers measure it, which is never less than what is encoded
	 * but for rows with dozens of authors; they may be 8 MiB behind. So
	 * what waits is one changeset. */
	SAT_REPLICA_PENDING_BYTES = 52 * 1024 * 1024,
	SAT_REPLICA_STEPS_MAX = SAT_CLOCK_STEPS_MAX,
	SAT_REPLICA_PAGE_MAX = 64 * 1024 * 1024, /* joined from its parts */
	SAT_REPLICA_TEXT_MAX = 4 * 1024 * 1024,  /* SQL, JSON we generate */
};

/* The ledger's table in the catalogue: satchel_resolve looks entries up. */
#define SAT_REPLICA_LEDGER "conflict"

/* facts.refresh: the next pull must send everything again. */
enum sat_refresh {
	SAT_REFRESH_NONE = 0,
	SAT_REFRESH_ASKED = 1,   /* the next HELLO shows cursor 0        */
	SAT_REFRESH_PULLING = 2, /* a whole pull is under way            */
	/* The same, but staged: what is held stays as it is, cursor included,
	 * until the checkpoint takes all of it at once. */
	SAT_REFRESH_REBASE = 3,
};

enum sat_outbox_state {
	SAT_OUTBOX_WAITING = 0,
	SAT_OUTBOX_ACKED = 1,
	SAT_OUTBOX_REJECTED = 2,
	SAT_OUTBOX_PARKED = 3,
	/* was rejected, and a restored server asks for its number again */
	SAT_OUTBOX_VOID = 4,
};

/* A MARK with a byte of length in front. */
enum { SAT_REPLICA_MARK_BYTES = 65 };

/* What _satchel_kv holds; facts.c has the table of names. */
struct sat_facts {
	int64_t replica, epoch, seq, verdict_seq, cursor, grants, role;
	int64_t offset_ms, checkpoint_ms, members, stale, digest_state;
	int64_t refresh, catalogue, grants_pulled, schema, repaired;
	/* Row changes in all changesets made here; of these with a verdict;
	 * of those the ones that were not accepted. */
	int64_t changes, settled, refused;
	int64_t floor;    /* deleted rows up to here are forgotten */
	int64_t catching; /* a checkpoint is being applied in steps */
	uint8_t chain[16], ratchet[16], digest[16];
	uint8_t mark[SAT_REPLICA_MARK_BYTES]; /* its length, then the bytes;
						 0: none             */
	struct sat_id user, home;
	char org[128], login[64], name[128], server[256];
};

/* Statements of one business table. */
struct sat_table_sql {
	const char *select; /* columns of one row, by id text         */
	const char *upsert; /* id text, then the columns               */
	const char *remove; /* by id text                              */
	const char *image;  /* columns of one before-image, by n       */
	uint32_t rank;      /* tables it refers to have smaller ones   */
};

/* Rows found damaged that are not asked for yet. */
struct sat_named_row {
	uint16_t t; /* table no; 0: none */
	struct sat_id id;
};
enum { SAT_DAMAGE_MAX = 4096 };
struct sat_damage {
	struct sat_named_row *rows; /* malloc, SAT_DAMAGE_MAX of them */
	uint32_t count;
	bool more; /* than fit */
};

/* Where the slices of hashing again stand. */
struct sat_rehash_at {
	uint16_t table; /* by index: the typed tables, behind the states */
	bool typed;
	struct sat_named_row row; /* the last one */
	int64_t rowid;
};

struct sat_replica {
	struct sat_db db;
	struct sat_catalogue *catalogue;
	struct sat_arena names;    /* texts of sql */
	struct sat_table_sql *sql; /* by table index */
	struct sat_arena row;      /* reset for every row              */
	struct sat_arena batch;    /* reset for every transaction      */
	struct sat_facts facts;    /* as of the last begin, and since  */
	struct sat_facts stored;   /* what the file says               */
	struct sat_clock_step steps[SAT_REPLICA_STEPS_MAX];
	uint32_t step_count;
	int64_t data_version;
	uint32_t atomic_rows, step_rows; /* SAT_REPLICA_*_ROWS; tests      */
	bool counted;   /* all rows were hashed since the start      */
	bool recounted; /* ... and since the digests began to differ */
	struct sat_hash last_digest; /* of the last checkpoint, and its rows */
	uint64_t last_rows;
	struct sat_damage damage;
	struct sat_rehash_at rehash_at;
	struct sat_narrow *narrow; /* narrow.c; NULL: nothing is sought  */
	bool still; /* our own connection runs no triggers       */
	/* Is there any at all? True when nobody has looked. Ghosts count as
	 * orphans. */
	bool any_dirty, any_orphan, any_base;
	bool guarded;        /* the apply guard is on in this transaction */
	struct sat_buf part; /* of a page that comes in several frames */
	struct sat_msg_rows part_of;
	bool part_open;
};

/* ---- facts.c ------------------------------------------------------------ */

/* BEGIN IMMEDIATE and read the facts; the batch arena is emptied. */
int sat_txn_begin(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;

/* rc SAT_OK: write the facts that changed, take the guard off, commit. Else
 * roll back and return rc with *err as it is. */
int sat_txn_end(struct sat_replica *r, int rc,
		struct sat_err *err) SAT_MUST_CHECK;

int sat_facts_load(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;
int sat_facts_save(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;

/* Before any write to a business table: triggers keep still. */
int sat_guard(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;

/* The granted scopes, in the arena. */
int sat_scopes_load(struct sat_replica *r, struct sat_arena *a, uint32_t **ret,
		    uint32_t *ret_count, struct sat_err *err) SAT_MUST_CHECK;
int sat_rights_store(struct sat_replica *r, const struct sat_rights *g,
		     struct sat_err *err) SAT_MUST_CHECK;

/* ---- replica.c ---------------------------------------------------------- */

/* Called inside the transaction that makes a new file. */
typedef int (*sat_replica_fill_cb)(struct sat_replica *r, void *arg,
				   struct sat_err *err);

/* Make the file at path, replacing what is there; nothing is left of it when
 * anything fails. fill may be NULL. */
int sat_replica_build(const char *path, const struct sat_replica_identity *who,
		      struct sat_slice json, sat_replica_fill_cb fill,
		      void *arg, struct sat_err *err) SAT_MUST_CHECK;
int sat_folder_sync(const char *path, struct sat_err *err) SAT_MUST_CHECK;

/* ---- schema.c, triggers.c ----------------------------------------------- */

/* SQL text that grows; the first failure sticks in rc. */
struct sat_sql {
	struct sat_buf text;
	int rc;
};
void sat_sql_init(struct sat_sql *s);
void sat_sql_fini(struct sat_sql *s);
void sat_sql_add(struct sat_sql *s, const char *fmt, ...) SAT_PRINTF(2, 3);
/* Run what was added, and start anew. */
int sat_sql_run(struct sat_replica *r, struct sat_sql *s,
		struct sat_err *err) SAT_MUST_CHECK;

/* Metadata tables of a new file. */
extern const char sat_replica_schema[];
/* Bring a file that an older program made up to what this one needs. */
int sat_schema_upgrade(struct sat_replica *r,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Make what the catalogue has and the file has not: tables, columns,
 * before-image tables, indexes. Never drops. */
int sat_schema_tables(struct sat_replica *r,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Drop and make all triggers and views for the catalogue and the role. */
int sat_schema_triggers(struct sat_replica *r,
			struct sat_err *err) SAT_MUST_CHECK;

/* Column defaults that name the author or his home follow a change. */
int sat_schema_relabel(struct sat_replica *r, const struct sat_id *from,
		       const struct sat_id *to,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Texts of r->sql for r->catalogue. */
int sat_schema_statements(struct sat_replica *r,
			  struct sat_err *err) SAT_MUST_CHECK;

/* Store the JSON of r->catalogue; tables and triggers follow it. */
int sat_catalogue_keep(struct sat_replica *r, struct sat_slice json,
		       struct sat_err *err) SAT_MUST_CHECK;

/* CREATE TRIGGER statements of one table for a role. */
void sat_triggers_add(struct sat_sql *s, const struct sat_table *t,
		      enum sat_role role, const struct sat_id *user,
		      const struct sat_id *home);

/* The trigger that refuses what would not fit into one changeset. */
void sat_triggers_bound(struct sat_sql *s, const struct sat_catalogue *c);

/* An SQL literal of a column's constant default, NULL without one. */
void sat_default_add(struct sat_sql *s, const struct sat_column *c,
		     const struct sat_id *user, const struct sat_id *home);

/* ---- cell.c ------------------------------------------------------------- */

/* The device form in a result column as a value. SAT_OK; SAT_E_INVAL: *ret_why
 * says what is wrong with it and *ret is NULL; SAT_E_NOMEM. */
int sat_cell_read(struct sat_arena *a, const struct sat_column *c,
		  sqlite3_stmt *st, int at, struct sat_value *ret,
		  const char **ret_why) SAT_MUST_CHECK;

/* A value in the device form; SQLITE_* code. Borrows text until the statement
 * is reset; what has another form here goes to the arena. */
int sat_cell_bind(struct sat_arena *a, sqlite3_stmt *st, int at,
		  const struct sat_column *c, const struct sat_value *v);

/* Is that what sat_cell_bind would have stored? */
bool sat_cell_same(sqlite3_stmt *st, int at, const struct sat_column *c,
		   const struct sat_value *v);

/* The values of a row, packed: columns by number, NULLs left out. */
int sat_values_pack(const struct sat_table *t, const struct sat_value *values,
		    struct sat_buf *out) SAT_MUST_CHECK;
/* Borrows from bytes; columns gone from the table are skipped. */
int sat_values_unpack(struct sat_arena *a, const struct sat_table *t,
		      struct sat_slice bytes,
		      struct sat_value **ret) SAT_MUST_CHECK;

/* Sets of scope numbers, rising, as varints. */
int sat_numbers_pack(struct sat_arena *a, const uint32_t *numbers,
		     uint32_t count, struct sat_slice *ret) SAT_MUST_CHECK;
int sat_numbers_unpack(struct sat_arena *a, struct sat_slice bytes,
		       uint32_t **ret, uint32_t *ret_count) SAT_MUST_CHECK;

/* Parameters of metadata statements. */
struct sat_value sat_bind_u64(uint64_t v);
struct sat_value sat_bind_str(const char *s);
int sat_column_copy(struct sat_arena *a, sqlite3_stmt *st, int at,
		    struct sat_slice *ret) SAT_MUST_CHECK;

/* ---- state.c, typed.c
 * ------------------------------------------------------------ */

/* What the replica holds of one row. Everything is in the row arena or
 * borrowed from the caller's values. */
struct sat_held {
	bool known;    /* a server state is stored                          */
	bool has_base; /* its values are in _satchel_base                   */
	bool created;  /* the overlay's first delta is an insert            */
	bool inserts;  /* one of them is                                    */
	bool damaged;  /* the state cannot be read: base is empty           */
	uint64_t seq;  /* of the server state                               */
	int64_t low;   /* low 8 bytes of its hash                           */
	struct sat_slice meta, scopes;
	struct sat_value *values; /* the server's; NULLs when not known     */
	struct sat_row base;      /* the server's state                     */
	struct sat_row row;       /* with the overlay                       */
	uint32_t dirty;           /* deltas of the overlay                  */
};

/* typed: the values of the typed row when the caller has them (they are what
 * the server sent when there is no overlay); NULL: read them. */
int sat_held_load(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, struct sat_value *typed,
		  struct sat_held *ret, struct sat_err *err) SAT_MUST_CHECK;

/* Is there a server state, or an overlay? Cheaper than loading. */
int sat_held_any(struct sat_replica *r, const struct sat_table *t,
		 const struct sat_id *id, bool *ret_known, bool *ret_dirty,
		 struct sat_err *err) SAT_MUST_CHECK;

/* The typed row; *ret_found. Bad cells read as NULL, *ret_bad (may be NULL)
 * is the first such column, else -1. */
int sat_typed_read(struct sat_replica *r, struct sat_arena *a,
		   const struct sat_table *t, const struct sat_id *id,
		   struct sat_value **ret, bool *ret_found, int *ret_bad,
		   const char **ret_why, struct sat_err *err) SAT_MUST_CHECK;
int sat_typed_write(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id, const struct sat_value *values,
		    struct sat_err *err) SAT_MUST_CHECK;
/* Does the typed row hold exactly these values, in the form that writing them
 * would give? Reading costs a third of writing. */
int sat_typed_same(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const struct sat_value *values,
		   bool *ret, struct sat_err *err) SAT_MUST_CHECK;
int sat_typed_remove(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id,
		     struct sat_err *err) SAT_MUST_CHECK;

int sat_base_write(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const struct sat_value *values,
		   struct sat_err *err) SAT_MUST_CHECK;
int sat_base_remove(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id,
		    struct sat_err *err) SAT_MUST_CHECK;

/* The values a person sees of a state, in the row arena. */
int sat_row_values(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_row *row, struct sat_value **ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Make the typed row what server state and overlay say, and the siblings. */
int sat_row_derive(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, struct sat_err *err) SAT_MUST_CHECK;

/* One delta as _satchel_dirty holds it: appended to out. */
int sat_delta_pack(const struct sat_delta *d, struct sat_dot dot,
		   struct sat_buf *out) SAT_MUST_CHECK;
/* Are they of that form? */
bool sat_delta_packed(struct sat_slice bytes);
/* Borrows texts from bytes. SAT_OK, SAT_E_CORRUPT, SAT_E_NOMEM. */
int sat_delta_unpack(struct sat_arena *a, const struct sat_catalogue *c,
		     struct sat_slice bytes, struct sat_delta *ret,
		     struct sat_dot *ret_dot) SAT_MUST_CHECK;

/* One stored delta, decoded into the row arena. */
int sat_delta_decode(struct sat_replica *r, struct sat_slice bytes,
		     struct sat_delta *ret, struct sat_dot *ret_dot,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Stamp and apply a delta to a state the way the server does, its context cut
 * to what the state knows. A delta that cannot be applied is passed over. */
int sat_overlay_apply(struct sat_arena *a, struct sat_row *row,
		      struct sat_delta *d, struct sat_dot dot,
		      const struct sat_clock_map *clock) SAT_MUST_CHECK;
struct sat_clock_map sat_replica_clock(const struct sat_replica *r);

/* The columns this device's role receives, by index; in the row arena. */
bool *sat_readable(struct sat_replica *r, const struct sat_table *t);

/* Leave or enter the digest `times` over. */
struct sat_hash sat_held_hash(struct sat_replica *r, const struct sat_table *t,
			      const struct sat_id *id, struct sat_slice meta,
			      const struct sat_value *values);
void sat_digest_add(struct sat_replica *r, struct sat_hash h, uint32_t times);
void sat_digest_sub(struct sat_replica *r, struct sat_hash h, uint32_t times);

/* ---- ghost.c ------------------------------------------------------------ */

/* List a row's overlay: its state is not here and no insert makes it. */
int sat_ghosts_list(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id,
		    struct sat_err *err) SAT_MUST_CHECK;
int sat_ghosts_drop(struct sat_replica *r, const struct sat_table *t,
		    const struct sat_id *id,
		    struct sat_err *err) SAT_MUST_CHECK;
/* List anew what is listed: their changesets have other numbers. */
int sat_ghosts_renew(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;

/* ---- harvest.c, diff.c, outbox.c ---------------------------------------- */

/* Everything pending into changesets. */
int sat_harvest(struct sat_replica *r, bool coalesced,
		struct sat_err *err) SAT_MUST_CHECK;

/* A row being harvested: its images in the order of the statements. */
struct sat_touch {
	const struct sat_table *table;
	struct sat_id id;
	bool valid_id;
	uint64_t first_n;
	bool had; /* the row was there before the first statement        */
	bool has; /* and is there now                                    */
	struct sat_value *before; /* first image; NULLs when !had           */
	struct sat_value *after;
	int64_t *at_ms; /* by column: last statement that changed it        */
	int64_t last_ms;
	int bad;         /* column whose value cannot be sent, or -1        */
	const char *why; /* and what is wrong with it                       */
};

/* What a row's diff came to. */
struct sat_diff {
	bool send;   /* delta is to be sent                                 */
	bool derive; /* the typed row must be derived again                 */
	struct sat_delta delta; /* in the batch arena                       */
};
int sat_diff_row(struct sat_replica *r, struct sat_touch *w,
		 struct sat_held *held, bool any, struct sat_diff *ret,
		 struct sat_err *err) SAT_MUST_CHECK;

/* The best value and stamp a change of that column replaces. */
void sat_diff_replaced(const struct sat_column *c, const struct sat_field *f,
		       struct sat_change *change);
int sat_diff_set(struct sat_arena *a, struct sat_value before,
		 struct sat_value after,
		 struct sat_change *change) SAT_MUST_CHECK;

/* Form the changeset of these deltas (sorted here), chain it, store it and
 * its overlay. flags: SAT_CHANGESET_*. */
int sat_outbox_put(struct sat_replica *r, struct sat_delta *deltas,
		   uint32_t count, uint32_t flags,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Lay deltas over their rows again, under that seq. */
int sat_outbox_lay(struct sat_replica *r, uint64_t seq,
		   struct sat_delta *deltas, uint32_t count,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Intents and resolutions, to be called when no row is pending. */
int sat_harvest_intents(struct sat_replica *r,
			struct sat_err *err) SAT_MUST_CHECK;

/* Raw device time of the SQL clock's julian day. */
int64_t sat_julian_ms(double day);

/* changes, settled and refused as far as the outbox tells them. */
int sat_outbox_count(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;

/* ---- rejected.c --------------------------------------------------------- */

/* List deltas as rejected. seq 0: never left the device. */
int sat_rejected_add(struct sat_replica *r, uint64_t seq,
		     enum sat_reason reason, const struct sat_table *t,
		     const struct sat_column *c, struct sat_dot depends,
		     const struct sat_delta *deltas, uint32_t count,
		     struct sat_err *err) SAT_MUST_CHECK;
/* The changeset's bytes, decoded into the batch arena. */
int sat_outbox_decode(struct sat_replica *r, uint64_t seq,
		      struct sat_changeset *ret,
		      struct sat_err *err) SAT_MUST_CHECK;

/* ---- welcome.c ---------------------------------------------------------- */

/* Whatever comes next replaces what is stored. */
int sat_start_over(struct sat_replica *r, enum sat_refresh how,
		   struct sat_err *err) SAT_MUST_CHECK;

/* ---- apply.c ------------------------------------------------------------ */

/* The row leaves that scope; the last one gone, it leaves the device. */
int sat_row_leave(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, uint32_t scope,
		  struct sat_err *err) SAT_MUST_CHECK;

/* A row whose overlay lost deltas: derive it, or let an orphan go. */
int sat_row_settle(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, struct sat_err *err) SAT_MUST_CHECK;

/* Leave every scope that is not among these. */
int sat_scopes_drop(struct sat_replica *r, const uint32_t *keep, uint32_t count,
		    struct sat_err *err) SAT_MUST_CHECK;

/* Forget deleted rows up to that position, if that is news. collect.c */
int sat_images_collect(struct sat_replica *r, uint64_t floor,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Forget what is staged, and the mark. stage.c */
int sat_stage_drop(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;

/* ---- rehash.c ----------------------------------------------------------- */

/* A row as its content hashes now. Scopes in the row arena. */
struct sat_rehashed {
	struct sat_hash hash; /* zero: not alive, or not readable          */
	bool same;            /* ... is the hash that was stored           */
	uint32_t *scopes, scope_count;
};
typedef int (*sat_rehash_cb)(void *arg, const struct sat_table *t,
			     const struct sat_id *id,
			     const struct sat_rehashed *h);
/* Every stored state, in the order of (table no, id); a row of no known table
 * has t NULL. Stops with what cb returns. */
int sat_rehash_all(struct sat_replica *r, sat_rehash_cb cb, void *arg,
		   struct sat_err *err) SAT_MUST_CHECK;
int sat_rehash_row(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, struct sat_rehashed *ret,
		   struct sat_err *err) SAT_MUST_CHECK;
void sat_damage_note(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id);
/* The stored hashes of the rows noted were what was damaged, nothing else. */
int sat_damage_forgive(struct sat_replica *r,
		       struct sat_err *err) SAT_MUST_CHECK;

/* ---- narrow.c ----------------------------------------------------------- */

/* The digests agree: how many rows had been asked for. Ends it. */
uint64_t sat_narrow_mended(struct sat_replica *r);

/* ---- rehash.c, again ---------------------------------------------------- */

/* Do rows, their hashes and the digest agree, and is each row in scopes of ours
 * only? Outside of any transaction; takes
 * no lock that a writer waits for. */
int sat_digest_agrees(struct sat_replica *r, bool *ret,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Recompute the digest from the rows, and note those that differ, *ret_bad. */
int sat_digest_rebuild(struct sat_replica *r, uint64_t *ret_rows,
		       uint64_t *ret_bad, struct sat_err *err) SAT_MUST_CHECK;

#endif
