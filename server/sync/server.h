/* server.h - the running server: listener, connections, committer, readers.
 *
 *   loop thread        links, sessions, hub                (no disk, no wait)
 *   committer thread   the engine: one group, one transaction, one fsync
 *   reader threads     a reader store each: pages, verdicts, catalogue
 *
 * All functions are for the loop thread and never call back before they
 * return. Callbacks come on the loop thread unless they say otherwise.
 */
#ifndef SAT_SERVER_H
#define SAT_SERVER_H

#include <uv.h>

#include "common/config.h"
#include "common/pki.h"
#include "common/tls.h"
#include "server/commit/engine.h"

struct sat_server;

/* The CAs of the organisation: one, or two while the second takes over. */
struct sat_server_ca {
	struct sat_ca sign;    /* the newest; it signs device certificates  */
	struct sat_slice told; /* PEM, all that devices are to trust; empty:
				  the one that signs                         */
	uint64_t no;           /* sat_pki_ca_no of the one that signs       */
	bool rolling; /* ask devices with a certificate of the older one to
			 get another                                         */
};

struct sat_server_options {
	uv_loop_t *loop;                 /* kept                              */
	const struct sat_config *config; /* kept until sat_server_reload      */
	const char *db_path;             /* copied                            */
	struct sat_tls_ctx *tls;         /* kept; the caller frees it after   */
	struct sat_server_ca ca;         /* copied                            */
	const char *org;                 /* copied                            */
	const char *addr;                /* copied                            */
	uint16_t port;                   /* 0: any free one                   */
	/* COMMITTER THREAD, inside the group of an enrolment, before its
	 * commit: note the new replica id where a restore finds it. May be
	 * NULL. Anything but SAT_OK refuses the enrolment. */
	int (*on_replica)(void *arg, uint32_t replica, struct sat_err *err);
	/* The same for a line of the journal. May be NULL. */
	int (*on_note)(void *arg, const char *line, struct sat_err *err);
	/* COMMITTER THREAD, after each commit: history and head now. May be
	 * NULL. */
	void (*on_head)(void *arg, uint64_t epoch, uint64_t head);
	void *arg;
};

/* Counters since the start; gauges have no total. */
struct sat_server_metrics {
	uint64_t links_opened, links_refused, links_open;
	uint64_t hellos, hellos_refused, sessions_live;
	uint64_t changesets_in, changesets_rejected, changeset_bytes_in;
	uint64_t groups, group_jobs, group_failures, engine_reopens;
	uint64_t pages, page_bytes_out, checkpoints, repairs;
	uint64_t enrolments, enrolments_refused;
	uint64_t scope_alarms; /* the second gate refused a row; must be 0   */
	uint64_t damaged_rows; /* known now */
	uint64_t revoked_closed, superseded, protocol_errors, timeouts;
	uint64_t commit_queue, commit_queue_bytes, read_queue; /* now        */
	uint64_t bytes_in, bytes_out; /* of connections that ended          */
	uint64_t head;                /* commit_seq                         */
	uint64_t wal_pages; /* written, not yet folded into the file        */
};

/* How long things are kept, from the settings. */
struct sat_keep sat_keep_from(const struct sat_config *c);

/* Open engine and readers, start the threads, listen. On failure nothing is
 * left running. SAT_E_BUSY: the port is in use; errors of engine, store and
 * listener. The loop must run once more before it can be closed then. */
int sat_server_start(const struct sat_server_options *options,
		     struct sat_server **ret,
		     struct sat_err *err) SAT_MUST_CHECK;

uint16_t sat_server_port(const struct sat_server *s);

/* Stop in order: no new connections, ERROR SHUTDOWN to each after its last
 * verdict, at most 5 s; then the threads. done comes when all is closed and
 * joined; the memory is gone when it returns. Idempotent before that. */
void sat_server_stop(struct sat_server *s, void (*done)(void *arg), void *arg);

/* Stop now: connections are cut. sat_server_stop must have been called. */
void sat_server_hurry(struct sat_server *s);

/* COMMITTER THREAD: the work of a job. It is alone in its group; anything
 * but SAT_OK undoes everything it wrote. */
typedef int (*sat_server_job_cb)(struct sat_engine *e, void *arg,
				 struct sat_err *err);
/* rc and err of the job or of its commit; SAT_E_IO: in doubt. */
typedef void (*sat_server_done_cb)(void *arg, int rc,
				   const struct sat_err *err);

/* Run fn in a group of its own and report after the commit. Devices learn of
 * what it changed: rows, rights, revocations, the catalogue. SAT_OK,
 * SAT_E_BUSY (too many waiting), SAT_E_CLOSED (stopping), SAT_E_NOMEM. */
int sat_server_submit(struct sat_server *s, sat_server_job_cb fn,
		      sat_server_done_cb done, void *arg) SAT_MUST_CHECK;

/* READER THREAD: the work of a query, within no snapshot of its own. */
typedef int (*sat_server_query_cb)(struct sat_store *reader, void *arg,
				   struct sat_err *err);
/* Run fn on a reader thread. Errors as sat_server_submit. */
int sat_server_query(struct sat_server *s, sat_server_query_cb fn,
		     sat_server_done_cb done, void *arg) SAT_MUST_CHECK;

/* New settings and certificates for what comes from now on. Kept; ca is
 * copied. When another CA signs, or one has gone, devices whose certificate
 * is not of the one that signs are sent away to come again. SAT_E_NOMEM:
 * settings and certificates stay. */
int sat_server_reload(struct sat_server *s, const struct sat_config *config,
		      struct sat_tls_ctx *tls, const struct sat_server_ca *ca,
		      struct sat_err *err) SAT_MUST_CHECK;

void sat_server_metrics(const struct sat_server *s,
			struct sat_server_metrics *ret);

#endif
