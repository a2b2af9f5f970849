/* run.h - what the files of the running server share (server.h outside).
 *
 * Loop thread only, but for sat_job.run and what worker.c says of itself.
 */
#ifndef SAT_SERVER_RUN_H
#define SAT_SERVER_RUN_H

#include "common/log.h"
#include "proto/link.h"
#include "server/sync/server.h"
#include "server/sync/session.h"

enum {
	SAT_RUN_READERS_MAX = 64,
	SAT_RUN_JOBS_MAX = 1000000,  /* waiting for the committer            */
	SAT_RUN_ADMIN_MAX = 1024,    /* administration's, waiting            */
	SAT_RUN_ENROL_MAX = 16,      /* enrolments under way                 */
	SAT_RUN_DRAIN_MS = 5 * 1000, /* from stop to cutting connections     */
	SAT_RUN_SWEEP_MS = 500,
	SAT_RUN_TRIP_MAX_MS = 15 * 1000, /* HELLO's way, as devices tell it */
	SAT_RUN_ARENA_MAX = 256 * 1024 * 1024,
	SAT_RUN_OUT_MAX = 2 * 1024 * 1024,
	SAT_RUN_REPLAY_BYTES = 64 * 1024, /* verdicts replayed at a time     */
	SAT_RUN_BUCKETS = 4096,
	SAT_RUN_DAMAGED_MAX = 1000,  /* rows that are named */
	SAT_RUN_TOLD_MS = 30 * 1000, /* connected after it was sent          */
};

/* ---- worker.c: threads and the jobs they do ----------------------------- */

/* What a job finds on its thread. engine is NULL for readers. */
struct sat_bench {
	struct sat_engine *engine;
	struct sat_store *store;
	struct sat_zip *zip;
	struct sat_arena arena;       /* reset before each job */
	int64_t now_ms;               /* wall clock            */
	struct sat_page_cache *pages; /* readers: shared by all */
};

/* The first member of every kind of job. */
struct sat_job {
	struct sat_job *next;
	/* WORKER THREAD; again from the start when its group failed for the
	 * sake of another job. What it returns is the job's own failure, unless
	 * it means that the store cannot go on (sat_job_spoils). */
	int (*run)(struct sat_job *j, struct sat_bench *b, struct sat_err *err);
	/* LOOP THREAD, after the commit; frees the job. */
	void (*done)(struct sat_job *j);
	bool alone;   /* a group of its own; undone when it fails          */
	bool spoiled; /* its group failed: nothing it made is durable      */
	size_t bytes; /* weight in the queue                               */
	int rc;
	struct sat_err err;
};

struct sat_queue {
	uv_mutex_t lock;
	uv_cond_t wake;
	struct sat_job *first, **last;
	uint64_t count, bytes;
	uint32_t batch; /* jobs taken at a time by the committer */
	bool closed;
};

/* News of one group, delivered behind the results of its jobs. */
struct sat_news {
	uint64_t commit_seq;
	uint32_t *scopes;
	uint32_t scope_count;
	bool rights_changed;
	int64_t rights_due_ms; /* with rights_changed: look again then */
	uint32_t catalogue;    /* version, if it changed; else 0 */
};

struct sat_workers {
	struct sat_server *server;
	const char *db_path;
	struct sat_queue commits, reads;
	uv_thread_t committer, readers[SAT_RUN_READERS_MAX];
	uint32_t reader_count; /* threads that run */
	bool committing;
	uv_mutex_t done_lock;
	struct sat_job *done_first, **done_last;
	uv_async_t *async; /* the server's; sent after each result */
	/* What the committer starts with; its own afterwards. */
	struct sat_store *store;
	struct sat_engine *engine;
	struct sat_store *reader_stores[SAT_RUN_READERS_MAX];
	struct sat_page_cache *pages;
	/* COMMITTER THREAD writes, loop reads: under done_lock. */
	uint64_t groups, group_jobs, group_failures, reopens, head, wal_pages;
};

/* Does that result of one job mean that its whole group is lost? */
bool sat_job_spoils(int rc);

/* Open the stores and start the threads. On failure all is closed again. */
int sat_workers_start(struct sat_workers *w, uint32_t readers, uint32_t batch,
		      size_t page_bytes, struct sat_err *err) SAT_MUST_CHECK;
/* Finish what is queued, join, close the stores. */
void sat_workers_stop(struct sat_workers *w);

/* Queue a job; it comes back through done. */
void sat_workers_commit(struct sat_workers *w, struct sat_job *j);
void sat_workers_read(struct sat_workers *w, struct sat_job *j);
/* Call done of every job that is finished. */
void sat_workers_reap(struct sat_workers *w);
void sat_workers_batch(struct sat_workers *w, uint32_t batch);
void sat_workers_load(struct sat_workers *w, struct sat_server_metrics *ret);

/* ---- connections -------------------------------------------------------- */

struct sat_conn {
	struct sat_server *server;
	struct sat_link *link; /* NULL once closed */
	struct sat_conn *next, **prev;
	uint32_t holds; /* the link, and each job under way */
	bool enrol, enrolling;

	struct sat_ssession s;
	uint32_t replica;
	struct sat_id user; /* of the certificate, as key_hash             */
	uint8_t key_hash[32];
	uint64_t ca;              /* that made its certificate; never changes */
	struct sat_rights rights; /* scopes: malloc                      */
	/* Scopes the device had not all the time since its last checkpoint:
	 * until the next. base: the version of its rights then. */
	uint32_t *fresh, fresh_count, base;
	uint64_t epoch;
	/* What it was sent at telling_ms, and what counts as told: for
	 * changesets that it had not made when it said HELLO. */
	uint64_t telling_ms, telling_seq, told_seq, hello_last;
	uint32_t telling_grants, told_grants;
	bool clock_told; /* the device said how long HELLO travelled       */
	struct sat_clock_map clock; /* steps: malloc; jobs borrow them     */
	uint64_t tick_ms;           /* 0: none                             */
	const char *detail; /* of the frame being handled, for the log        */
	struct sat_msg_credit confirm; /* collected while one is under way */
	bool confirming, confirm_more;
	struct sat_job *ask; /* of repair_conn.c: taken, or being answered  */

	uint64_t room_held; /* of the changeset being assembled            */
	uint64_t room_wanted;
	struct sat_conn *room_next; /* in the line for room               */

	bool in_hub;
	struct sat_conn *hub_next; /* same bucket of the replica table     */
	uint64_t hub_told;         /* commit_seq it was told of            */
};

/* ---- hub.c: who must hear of what --------------------------------------- */

struct sat_hub_scope {
	uint32_t scope, count, cap;
	struct sat_conn **list;
};

struct sat_hub {
	struct sat_conn *replicas[SAT_RUN_BUCKETS];
	struct sat_hub_scope *scopes; /* sorted by scope, never empty ones */
	uint32_t scope_count, scope_cap;
	uint64_t live;
};

/* Enter a connection under its replica and rights. *ret_older is the one
 * that it takes the place of (still entered), or NULL. SAT_OK, SAT_E_NOMEM
 * (not entered). */
int sat_hub_add(struct sat_hub *h, struct sat_conn *c,
		struct sat_conn **ret_older) SAT_MUST_CHECK;
/* Before its rights change or it goes; nothing when it is not entered. */
void sat_hub_remove(struct sat_hub *h, struct sat_conn *c);
/* Call tell for each connection that one of the scopes concerns, once. */
void sat_hub_notify(struct sat_hub *h, const struct sat_news *news,
		    void (*tell)(struct sat_conn *c, uint64_t commit_seq));
void sat_hub_fini(struct sat_hub *h);

/* ---- damage.c: rows that are not what was written ----------------------- */

struct sat_damage_row {
	struct sat_row_name row;
	uint64_t pass; /* that met it last */
};

struct sat_damage {
	struct sat_damage_row *list;
	uint32_t count;
	uint64_t pass, due_ms; /* monotonic: the next slice */
	uint16_t table;        /* the pass goes on there... */
	uint64_t after;        /* ... after that row        */
	bool checking;
};

/* A reader met these. */
void sat_server_damage_note(struct sat_server *s,
			    const struct sat_row_name *rows, uint32_t count);
/* Have the next slice of rows checked, when that is due. */
void sat_server_damage_check(struct sat_server *s);
void sat_server_damage_fini(struct sat_server *s);

/* ---- server.c ----------------------------------------------------------- */

struct sat_server {
	uv_loop_t *loop;
	const struct sat_config *config;
	struct sat_tls_ctx *tls;
	char *db_path, *org;
	uv_mutex_t ca_lock; /* of these: ca_conn.c */
	struct sat_buf ca_cert, ca_key, ca_told;
	uint64_t ca_no;
	bool ca_rolling;
	int (*on_replica)(void *arg, uint32_t replica, struct sat_err *err);
	int (*on_note)(void *arg, const char *line, struct sat_err *err);
	void (*on_head)(void *arg, uint64_t epoch, uint64_t head);
	void *on_replica_arg;

	struct sat_listener *listener;
	uv_async_t async;
	uv_timer_t sweep;
	uint32_t handles;
	struct sat_workers workers;
	struct sat_conn *conns;
	uint64_t conn_count;
	struct sat_hub hub;

	uint64_t room_used; /* bytes of changesets being assembled or queued */
	struct sat_conn *room_first, **room_last;
	uint32_t admin_jobs, enrol_jobs;
	bool rights_stale; /* a rights check is under way and another due   */
	bool rights_checking, rights_ticking, collecting;
	uint64_t collect_ms;   /* monotonic: look what may be forgotten     */
	int64_t rights_due_ms; /* wall clock: a grant begins or ends      */

	struct sat_damage damage;
	struct sat_server_metrics m;
	/* Scratch of one turn. */
	struct sat_zip *zip;
	struct sat_arena arena;
	struct sat_buf plain, out;

	bool stopping, finished;
	uint64_t stop_ms;
	void (*on_stopped)(void *arg);
	void *on_stopped_arg;
};

extern const struct sat_link_handler sat_conn_handler;

uint64_t sat_server_now(const struct sat_server *s); /* monotonic ms */
int64_t sat_server_wall(void);
/* Something ended: go on stopping, if that is what we are doing. */
void sat_server_settle(struct sat_server *s);

/* ---- conn.c ------------------------------------------------------------- */

/* Give the session an event, then do what it wants. Nothing on a connection
 * whose link is gone. */
void sat_conn_event(struct sat_conn *c, struct sat_ssession_event *ev);
void sat_conn_hold(struct sat_conn *c);
void sat_conn_drop(struct sat_conn *c); /* may free it */
bool sat_conn_open(const struct sat_conn *c);
/* Encode and queue one message; closes the link when that fails. */
void sat_conn_send(struct sat_conn *c, const struct sat_msg *m);
/* Give back room for changesets, and serve who waits for it. */
void sat_conn_room_free(struct sat_server *s, uint64_t bytes);
void sat_conn_room_leave(struct sat_conn *c);

/* Something that the device must know was sent. */
void sat_conn_telling(struct sat_conn *c);

/* ---- conn_job.c, conn_rights.c
 * --------------------------------------------------------- */

/* Start the job of an effect (DO_*, LOAD_*). Takes fx->changeset. */
void sat_conn_start(struct sat_conn *c, struct sat_ssession_effect *fx);
/* Ask for each connection whether its device may still be here and with
 * which rights. */
void sat_conn_check_rights(struct sat_server *s);
/* When a grant begins or ends: have the committer settle it. */
void sat_conn_tick_rights(struct sat_server *s);
/* Without memory for a job there is no answer to wait for: close. */
void sat_conn_no_memory(struct sat_conn *c);
/* How a failure of the store is told to a device. Text static. */
struct sat_msg_error sat_conn_trouble(int rc);
/* A copy of scope numbers; NULL when out of memory. */
uint32_t *sat_scopes_copy(const uint32_t *scopes, uint32_t count);
int sat_rights_copy(const struct sat_rights *from,
		    struct sat_rights *ret) SAT_MUST_CHECK;
void sat_rights_free(struct sat_rights *r);

/* ---- collect_job.c ------------------------------------------------------ */

/* How often it is worth looking, in ms. */
uint64_t sat_keep_period(const struct sat_keep *keep);
/* Have the committer look what may be forgotten, when that is due. */
void sat_server_collect(struct sat_server *s);

/* ---- repair_conn.c ------------------------------------------------------ */

/* Copy an ask; answer the one copied. */
void sat_repair_take(struct sat_conn *c, const struct sat_msg_repair *m);
void sat_repair_start(struct sat_conn *c);
/* The connection goes with an ask that was never begun. */
void sat_repair_drop(struct sat_conn *c);

/* ---- enrol_conn.c ------------------------------------------------------- */

void sat_enrol_frame(struct sat_conn *c, const struct sat_frame *frame);
/* ca_conn.c: ANY THREAD. Put other CAs in the place of those in use. SAT_OK,
 * SAT_E_NOMEM. */
int sat_server_ca_put(struct sat_server *s, const struct sat_server_ca *ca,
		      struct sat_err *err) SAT_MUST_CHECK;
/* Is the CA being replaced? *ret_no: the number of the one that signs. */
bool sat_server_ca_rolling(struct sat_server *s, uint64_t *ret_no);
/* A certificate for the device over a request, as PEM, and the CAs (PEM) that
 * it is to trust from now on. */
int sat_server_ca_sign(struct sat_server *s, struct sat_slice csr,
		       const struct sat_device *d, int64_t now_ms,
		       struct sat_buf *ret_pem, struct sat_buf *ret_told,
		       struct sat_err *err) SAT_MUST_CHECK;
/* renew_conn.c: the same for RENEW. */
void sat_renew_start(struct sat_conn *c, const struct sat_msg_renew *m);

#endif
