/* apply.h - server states on their way into the replica; for the files of the
 * replica alone. Work inside the caller's transaction, use the row arena. */
#ifndef SAT_REPLICA_APPLY_H
#define SAT_REPLICA_APPLY_H

#include "client/replica/internal.h"

/* A row as the server has it. */
struct sat_state {
	uint64_t seq;
	struct sat_slice meta;
	const struct sat_value *values; /* one per column of the table */
	uint32_t *scopes;               /* sorted */
	uint32_t scope_count;
	bool siblings; /* the list of siblings must be looked at */
	bool repair;   /* asked for                              */
	uint64_t upto; /* with repair: the checkpoint's cursor   */
};

/* Once before many rows are applied: what does not exist at all need not be
 * looked for at each of them. */
int sat_apply_look(struct sat_replica *r, struct sat_err *err) SAT_MUST_CHECK;

/* The stored state without overlay and without decoding: known, seq, low,
 * meta, scopes, values (NULLs when there are none), has_base. */
int sat_held_peek(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, struct sat_held *ret,
		  struct sat_err *err) SAT_MUST_CHECK;

/* Store s, its hash and its part of the digest; the old state's part has been
 * taken out. */
int sat_state_put(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, const struct sat_state *s,
		  struct sat_err *err) SAT_MUST_CHECK;

/* The same for a row that is mostly not there, in one statement: *ret_taken
 * says that it was not. One that is there is left alone. */
int sat_state_insert(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id, const struct sat_state *s,
		     bool *ret_taken, struct sat_err *err) SAT_MUST_CHECK;

/* fold.c: settle the rows of an accepted changeset from delta *from on, at most
 * limit of them; *from is then where to go on, *ret_done says that there is
 * nothing more. */
int sat_fold_rows(struct sat_replica *r, const struct sat_msg_verdict *v,
		  int64_t limit, uint64_t *from, bool *ret_done,
		  struct sat_err *err) SAT_MUST_CHECK;

/* Drop the stored state and its values; the typed row stays. */
int sat_state_forget(struct sat_replica *r, const struct sat_table *t,
		     const struct sat_id *id,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Make typed row and base follow a state that was put. */
int sat_state_show(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, const struct sat_held *old,
		   const struct sat_state *s,
		   struct sat_err *err) SAT_MUST_CHECK;

/* A row came in that scope's stream: take it when it is newer, note the scope
 * in any case. */
int sat_row_arrive(struct sat_replica *r, const struct sat_table *t,
		   const struct sat_id *id, uint32_t scope, struct sat_state *s,
		   struct sat_err *err) SAT_MUST_CHECK;

int sat_row_enter(struct sat_replica *r, const struct sat_table *t,
		  const struct sat_id *id, uint32_t scope,
		  struct sat_err *err) SAT_MUST_CHECK;

#endif
