/* story.h - what the replica itself knows of a row's past: the writes that its
 * state still holds, and this device's own changesets of the last weeks.
 */
#ifndef SAT_REPLICA_STORY_H
#define SAT_REPLICA_STORY_H

#include "client/replica/replica.h"

enum sat_story_kind {
	SAT_STORY_HELD, /* a write, element or sum that the state holds     */
	SAT_STORY_DELETED, /* a delete that no write has covered */
	SAT_STORY_OWN, /* in a changeset made here                         */
};

struct sat_story {
	enum sat_story_kind kind;
	int column;         /* index, -1: the row */
	enum sat_op op;     /* OWN */
	struct sat_dot dot; /* seq 0 for the sum of a counter          */
	int64_t at_ms;      /* server time as far as known; 0: not known */
	struct sat_value value, before;
	bool shown;   /* HELD: this is what people see                     */
	bool waits;   /* OWN: no verdict yet                               */
	bool refused; /* OWN: rejected                                    */
	struct sat_vv seen; /* OWN: what had been seen of the row         */
};

/* Values live during the call. Anything but SAT_OK ends the telling. */
typedef int (*sat_story_cb)(void *arg, const struct sat_story *s,
			    struct sat_err *err);

/* Everything known of the row, in no order of time. Not inside a transaction.
 * SAT_E_NOTFOUND: nothing is known. */
int sat_replica_story(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, sat_story_cb cb, void *arg,
		      struct sat_err *err) SAT_MUST_CHECK;

/* This device's replica id. */
uint32_t sat_replica_self(const struct sat_replica *r);

#endif
