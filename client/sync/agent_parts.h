/* agent_parts.h - what the files of the agent share; for them alone. */
#ifndef SAT_CLIENT_AGENT_PARTS_H
#define SAT_CLIENT_AGENT_PARTS_H

#include "client/sync/agent.h"
#include "client/sync/session.h"
#include "proto/link.h"

struct sat_agent {
	uv_loop_t *loop;
	struct sat_replica *replica;
	const struct sat_config *config;
	struct sat_tls_ctx *tls;
	char *host, *path, *file; /* of the server; of the replica; its name */
	uint16_t port;
	void (*on_change)(void *arg);
	int (*on_forked)(void *arg, struct sat_tls_ctx **ret,
			 struct sat_err *err);
	void (*on_renew)(void *arg);
	void *arg;
	bool forked;        /* on_forked is to be asked */
	uint64_t repair_ms; /* when all was fetched again, 0: never */
	uint64_t round_ms;  /* when differences were looked for first */
	unsigned rounds;    /* ... and how often since              */
	bool (*on_wipe)(void *arg);
	bool wiped, again; /* nothing is left; come again at once */
	bool poked;        /* ... while an attempt was under way   */

	uv_fs_event_t watch;
	uv_timer_t look;  /* after a file event: was something committed?   */
	uv_timer_t retry; /* the next attempt to connect                    */
	uv_timer_t tick;  /* the session's                                  */
	uv_timer_t wishes_timer;
	unsigned handles; /* not yet closed */
	unsigned looks;   /* since the last event                           */
	bool look_owed;   /* something was committed and is not gathered    */

	struct sat_link *link; /* NULL between connections */
	struct sat_csession session;
	struct sat_zip *zip;
	struct sat_arena arena; /* of the message being handled            */
	struct sat_buf plain;   /* its payload, unpacked                   */
	struct sat_buf out;     /* a frame being made                      */
	struct sat_buf part;    /* bytes of a changeset on their way       */
	struct sat_msg msg;
	bool performing; /* effects are being performed             */

	struct sat_agent_status status;
	uint64_t backoff_ms;
	uint64_t broken_ms;   /* back-off that only a checkpoint resets    */
	uint64_t tried_ms;    /* when the last attempt began               */
	uint64_t harvested;   /* highest seq we know of                    */
	int64_t clock_gap_ms; /* wall - steady clock, to notice steps      */
	bool stopping;
	void (*done)(void *arg);
	void *done_arg;
	struct sat_agent_wish *wishes;
};

/* Wall clock in ms; a step of it since the last call is noted. */
int64_t sat_agent_wall_ms(struct sat_agent *a);

/* Harvest what is there; *ret_seq as sat_replica_harvest. BUSY is normal. */
int sat_agent_harvest(struct sat_agent *a, int wait_ms, uint64_t *ret_seq,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Begin and end of connections (agent_link.c). */
void sat_agent_connect(struct sat_agent *a);
void sat_agent_event(struct sat_agent *a, const struct sat_csession_event *ev);
void sat_agent_told_of(struct sat_agent *a, uint64_t last_seq);

/* A connection ended: plan the next attempt. */
void sat_agent_ended(struct sat_agent *a, int rc, uint32_t wire, bool transient,
		     uint32_t retry_ms, const char *why);

/* Differences from the server (agent_repair.c). After a checkpoint: shall they
 * be looked for? SAT_E_CLOSED: everything is fetched again, on a new
 * connection. */
int sat_agent_compared(struct sat_agent *a, bool equal, bool *ret_look,
		       struct sat_err *err) SAT_MUST_CHECK;
int sat_agent_next_ask(struct sat_agent *a, struct sat_msg_repair *ret,
		       bool *ret_asks, struct sat_err *err) SAT_MUST_CHECK;
int sat_agent_answered(struct sat_agent *a, const struct sat_msg_repair *m,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Watching for local writes (agent_watch.c). */
int sat_agent_watch(struct sat_agent *a, struct sat_err *err) SAT_MUST_CHECK;
void sat_agent_look_soon(struct sat_agent *a);

void sat_agent_changed(struct sat_agent *a);
void sat_agent_check_wishes(struct sat_agent *a);
/* Every wish includes the changesets up to last_seq. */
void sat_agent_wait_for(struct sat_agent *a, uint64_t last_seq);
/* Rows came: patient wishes wait on. */
void sat_agent_progress(struct sat_agent *a);

#endif
