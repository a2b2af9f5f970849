/* world.h - both session machines over a wire in memory, with stores made of
 * plain arrays. Nothing here shares code with the real stores.
 *
 * Everything that varies comes from one generator: a seed is a run. What the
 * world promises is checked as it goes (rc != NULL in `broken`) and at the
 * end by world_settle.
 */
#ifndef SAT_TEST_SESSION_WORLD_H
#define SAT_TEST_SESSION_WORLD_H

#include "client/sync/session.h"
#include "server/sync/session.h"

enum {
	WORLD_ROWS = 24,
	WORLD_SCOPES = 4,
	WORLD_CHANGESETS = 40,
	WORLD_QUEUE = 4096,
	WORLD_PAGE_ROWS = 5,
	WORLD_HEAD_BYTES = 40, /* what a frame weighs besides its rows */
};

struct page_row {
	uint32_t row, scope, catalogue;
	uint64_t seq;
	bool repair;
};

/* A message on the wire, with the memory it needs. */
struct wire_msg {
	struct sat_msg msg;
	struct page_row rows[WORLD_PAGE_ROWS];
	uint32_t row_count;
	uint32_t scopes[WORLD_SCOPES];
	uint64_t commit_seq; /* VERDICT, CHECKPOINT: of its snapshot */
};

struct wire {
	struct wire_msg list[WORLD_QUEUE];
	uint32_t head, count;
};

enum job_kind {
	JOB_HELLO,
	JOB_PUSH,
	JOB_CONFIRM,
	JOB_FOREIGN,
	JOB_READ,
	JOB_REPAIR,
	JOB_VERDICTS,
	JOB_CATALOGUE,
	JOB_RIGHTS
};

struct job {
	enum job_kind kind;
	uint32_t link; /* the connection that wants the answer */
	struct sat_msg_hello hello;
	struct sat_msg_credit credit;
	struct sat_buf bytes;
	uint64_t seq;
	struct sat_feed_at at;
	bool live;
	struct sat_rights rights;
	uint32_t scopes[WORLD_SCOPES];
	struct sat_msg_repair ask;
};

struct jobs {
	struct job list[WORLD_QUEUE];
	uint32_t head, count;
};

struct server_row {
	uint32_t scope;
	uint64_t seq;
	bool held;
};

struct server_model {
	uint64_t epoch, head, last_seq;
	uint64_t floor; /* who has not come so far missed a deletion */
	uint8_t hashes[WORLD_CHANGESETS + 1][16];
	struct sat_msg_verdict verdicts[WORLD_CHANGESETS + 1];
	uint64_t commits[WORLD_CHANGESETS + 1];
	uint32_t applied[WORLD_CHANGESETS + 1]; /* how often: must be 1 */
	struct server_row rows[WORLD_ROWS];
	uint64_t confirmed, cursor;
	uint8_t ratchet, ratchet_new;
	uint32_t catalogue;
	uint32_t rights; /* version; the scopes follow from it */
	bool disk_full;
};

struct device_model {
	/* Durable. */
	uint64_t epoch, cursor, last_seq, verdict_seq;
	uint32_t catalogue, grants, scope_mask;
	uint32_t cursor_grants; /* rights that the last checkpoint was of */
	uint8_t ratchet;
	uint32_t verdicts[WORLD_CHANGESETS + 1]; /* stored, new ones only */
	uint64_t base[WORLD_ROWS];
	bool bad[WORLD_ROWS];        /* not what the server sent */
	uint64_t folded[WORLD_ROWS]; /* ... and it is this by now */
	struct page_row stage[WORLD_QUEUE];
	uint32_t staged;
	/* The outbox never changes. */
	struct sat_buf outbox[WORLD_CHANGESETS + 1];
	bool rebase; /* what is staged is everything */
	/* Of this connection. */
	uint64_t verdict_commit; /* commit of the last verdict stored */
	/* Of a conversation about differences: sums first, then rows. */
	bool sums_asked;
	uint32_t next_row, asked_row;
};

struct world {
	uint64_t rng, now_ms;
	bool faults, trace;
	const char *broken;

	struct sat_csession c;
	struct sat_ssession s;
	bool c_up, s_up; /* there is a session at that end         */
	uint32_t link;   /* number of the connection, from 1       */
	uint64_t c_tick, s_tick;
	struct wire up, down;
	struct jobs committer, reader;
	uint64_t reserve_wait, reserved;
	struct wire_msg c_msg, s_msg; /* being handled */
	struct wire_msg frames[WORLD_CHANGESETS + 8];
	/* What a reader has read and not delivered: time passes between. */
	struct wire_msg page[2];
	struct sat_ssession_event page_ev;
	uint32_t page_link; /* 0: none */
	struct server_model server;
	struct device_model device;
	struct sat_msg_repair ask; /* taken by the server's owner */
	uint64_t rebases, pushes_seen, cuts, connects, fulls, early, denied;
	uint64_t damages, repaired, asks;
	char *log; /* golden traces: appended when not NULL */
	size_t log_len, log_cap;
};

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);

uint64_t world_random(struct world *w, uint64_t n); /* below n */

/* A changeset of len bytes on the device. */
void world_write(struct world *w, size_t len);
/* Another replica's write to a row. */
void world_foreign(struct world *w, uint32_t row);
/* A row is deleted, and forgotten while the device is away. */
void world_collect(struct world *w, uint32_t row);
void world_rights(struct world *w);
/* The device's disk spoils a row: its content, its position, all of it. */
void world_damage(struct world *w, uint32_t row);
/* ... and it is noticed before a checkpoint tells. */
void world_notice(struct world *w);
void world_catalogue(struct world *w);

void world_connect(struct world *w);
void world_cut(struct world *w);
/* One thing happens somewhere. False when nothing could. */
bool world_step(struct world *w);
/* Without faults until nothing is left to do; what does not hold is named. */
const char *world_settle(struct world *w);

/* Parts of step, for traces that choose the order themselves. */
bool world_deliver_up(struct world *w);
bool world_deliver_down(struct world *w);
bool world_commit(struct world *w);
bool world_read(struct world *w);
bool world_room(struct world *w); /* for a changeset */
void world_tick(struct world *w, uint64_t ms);
void world_log(struct world *w, const char *fmt, ...) SAT_PRINTF(2, 3);
void world_drain(struct world *w);
void world_server_event(struct world *w, struct sat_ssession_event *ev);
void world_client_event(struct world *w, struct sat_csession_event *ev);

/* In world_server.c and world_device.c. */
void world_server_effects(struct world *w);
void world_client_effects(struct world *w);
uint32_t world_scope_mask(uint32_t rights);
void world_send(struct world *w, struct wire *to, const struct wire_msg *m);
void world_trace(struct world *w, const char *way, const struct wire_msg *m);

#endif
