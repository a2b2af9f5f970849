/* engine_fixture.h - a server in a temporary folder with the shipped
 * catalogue, a small territory tree, people, and devices that build
 * changesets by hand. Every helper fails the test when something goes wrong
 * that the test did not ask for. */
#ifndef SAT_ENGINE_FIXTURE_H
#define SAT_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/text.h"
#include "server/access/emit.h"
#include "server/commit/engine.h"
#include "server/feed/feed.h"

enum { NOON = 1770000000, DELTAS_MAX = 64, CHANGES_MAX = 24 };
#define NOON_MS ((int64_t)NOON * 1000)

/* nation > east (t1, t2), west (t3) */
struct world {
	char dir[128], path[192];
	struct sat_store *store, *reader;
	struct sat_engine *engine;
	struct sat_zip *zip;
	struct sat_page_cache *pages;
	struct sat_arena arena; /* for the length of a test */
	int64_t now_ms;
	uint32_t next_id;
	struct sat_id nation, east, west, t1, t2, t3;
	struct sat_id ann, bob, max, hq; /* reps of t1 and t2, manager of
					    east, hq of the nation            */
};

/* A device: what its replica would know. */
struct device {
	struct world *w;
	uint32_t replica;
	uint8_t key_hash[32];
	uint64_t seq;     /* last changeset made          */
	uint8_t hash[16]; /* of its bytes                 */
	int64_t skew_ms;  /* its clock minus the server's */
	struct sat_clock_map clock;
	bool behind; /* it knows what marker says, else everything */
	struct sat_marker marker;
	uint64_t told_seq; /* of its connection */
	uint32_t told_grants;
	/* the changeset under construction */
	struct sat_changeset cs;
	struct sat_delta deltas[DELTAS_MAX];
	struct sat_change changes[DELTAS_MAX][CHANGES_MAX];
	/* the last one pushed */
	struct sat_buf bytes;
	struct sat_msg_verdict verdict;
	struct sat_msg_error refusal;
};

/* A row as a device holds it: enough to make a delta on it. */
struct held {
	const struct sat_table *table;
	struct sat_id id;
	struct sat_vv vv;
	uint64_t seq;
};

void world_open(struct world *w);
void world_close(struct world *w);
/* cmocka fixtures: *state is a struct world. */
int world_setup(void **state);
int world_teardown(void **state);

struct sat_id new_id(struct world *w);
const struct sat_table *table(struct world *w, const char *name);
/* One group: begin and commit around a call. */
void group_begin(struct world *w);
struct sat_commit_info group_commit(struct world *w);

/* A device of that user, enrolled through an invitation. */
void device_add(struct world *w, struct device *d, const struct sat_id *user);
void device_fini(struct device *d);

/* What the server has now, as a device that is up to date would hold it. */
struct held hold(struct world *w, const char *t, const struct sat_id *id);

/* Build a changeset: deltas, then fields of the last delta. at_ms is the
 * device's raw clock: server time plus its skew. */
struct sat_delta *add_insert(struct device *d, const char *t,
			     const struct sat_id *id);
struct sat_delta *add_update(struct device *d, const struct held *h);
struct sat_delta *add_delete(struct device *d, const struct held *h);
struct sat_change *set_value(struct device *d, const char *column,
			     struct sat_value v);
void set_text(struct device *d, const char *column, const char *text);
void set_id(struct device *d, const char *column, const struct sat_id *id);
void set_adds(struct device *d, const char *column, const char *element);
void set_removes(struct device *d, const char *column, const char *element);

/* Encode and chain the changeset; the device goes on to the next. */
void seal(struct device *d);
/* Push sealed bytes inside the open group. */
int push_bytes(struct device *d, struct sat_slice bytes);
/* seal + push in a group of its own; the verdict must come. */
const struct sat_msg_verdict *push(struct device *d);
/* ... and must be of that status. */
void push_expect(struct device *d, enum sat_verdict_status status);
void push_rejected(struct device *d, enum sat_reason reason,
		   const char *column);

/* What the server shows. */
bool is_alive(struct world *w, const char *t, const struct sat_id *id);
struct sat_stored_row stored(struct world *w, const char *t,
			     const struct sat_id *id);
struct sat_value value_of(struct world *w, const char *t,
			  const struct sat_id *id, const char *column);
void expect_text(struct world *w, const char *t, const struct sat_id *id,
		 const char *column, const char *text);
void expect_int(struct world *w, const char *t, const struct sat_id *id,
		const char *column, int64_t i);
uint32_t scope_of(struct world *w, const struct sat_id *territory);
/* Is the row in the feed of that scope (not as an evict)? */
bool in_scope(struct world *w, const char *t, const struct sat_id *id,
	      uint32_t scope);
bool evicted_from(struct world *w, const char *t, const struct sat_id *id,
		  uint32_t scope);

/* Server writes. columns and values end with a NULL name. */
struct field {
	const char *column;
	struct sat_value value;
};
int local(struct world *w, enum sat_op op, const char *t,
	  const struct sat_id *id, const struct field *fields,
	  struct sat_err *err);
void local_ok(struct world *w, enum sat_op op, const char *t,
	      const struct sat_id *id, const struct field *fields);
struct sat_value text(const char *s);
struct sat_value idv(const struct sat_id *id);

/* An account of t1 named X with phone 100, email a@x, owned by nobody. */
struct sat_id account_x(struct world *w);

/* Rows of the conflict table for (row, field); field NULL: any. */
struct ledger {
	uint32_t count, open_count, resolved_count;
	char state[24], outcome[24], shown[64], losing[64], kind[24];
};
struct ledger ledger_of(struct world *w, const struct sat_id *row,
			const char *field);

/* Every digest of the store equals one computed from the rows alone. */
void check_digests(struct world *w);
/* Every place of every row has its feed entry and the other way round. */
void check_feed(struct world *w);

#endif
