/* agent.h - keeps one replica in step with its server: one connection after
 * another, back-off between them, harvest when something was written.
 *
 * Loop thread; owns no thread. The replica is used only from here while the
 * agent runs. No call of this header calls back before it returns.
 *
 *   files change --> look --> harvest --> session --> link
 *                                            |
 *                                  replica <-+ (stores, in order)
 */
#ifndef SAT_CLIENT_AGENT_H
#define SAT_CLIENT_AGENT_H

#include <uv.h>

#include "client/replica/replica.h"
#include "common/config.h"
#include "common/tls.h"

struct sat_agent;

enum sat_agent_state {
	SAT_AGENT_WAITING,    /* for the next attempt                      */
	SAT_AGENT_CONNECTING, /* no WELCOME yet                            */
	SAT_AGENT_CONNECTED,  /* the server has accepted us                */
	SAT_AGENT_REFUSED,    /* revoked or unknown: tries rarely          */
	SAT_AGENT_STOPPED,
};

struct sat_agent_options {
	uv_loop_t *loop;
	struct sat_replica *replica;     /* kept                          */
	const char *replica_path;        /* copied; its folder is watched */
	const struct sat_config *config; /* kept                          */
	struct sat_tls_ctx *tls;         /* kept                          */
	const char *host;                /* copied                        */
	uint16_t port;
	/* Something a person may want to see has changed. May be NULL. */
	void (*on_change)(void *arg);
	/* The server says that this device is a copy: make it one of its own
	 * and give its new keys in *ret, which the agent uses and does not
	 * own. SAT_OK, or why not; SAT_E_DENIED: never. May be NULL. */
	int (*on_forked)(void *arg, struct sat_tls_ctx **ret,
			 struct sat_err *err);
	/* WELCOME asks for a renewed certificate: not now, but soon. May be
	 * NULL. */
	void (*on_renew)(void *arg);
	/* The server orders that everything here be forgotten. True when that
	 * is done; the replica is not used any more. */
	bool (*on_wipe)(void *arg);
	void *arg;
};

struct sat_agent_status {
	enum sat_agent_state state;
	uint64_t attempts;    /* connections tried since the start          */
	uint64_t next_ms;     /* until the next attempt, 0 when connected   */
	int last_rc;          /* why the last connection ended              */
	char last_error[256]; /* a sentence, "" when none                   */
	uint32_t last_wire;   /* enum sat_wire_error, 0 for none            */
	bool digest_ok;       /* of the last checkpoint                     */
	bool local_failure;   /* the replica failed: disk full, damaged     */
	uint64_t rows_due;    /* of a first fill, as the server says; or 0  */
};

int sat_agent_start(const struct sat_agent_options *options,
		    struct sat_agent **ret, struct sat_err *err) SAT_MUST_CHECK;

/* Other keys from the next connection on; kept. */
void sat_agent_retls(struct sat_agent *a, struct sat_tls_ctx *tls);

/* The same, and come again at once, so that the server sees them. */
void sat_agent_rejoin(struct sat_agent *a, struct sat_tls_ctx *tls);

/* Say good-bye to the server and close; done when the memory is gone. */
void sat_agent_stop(struct sat_agent *a, void (*done)(void *arg), void *arg);

/* Somebody wrote, or the network changed: look and try at once. */
void sat_agent_poke(struct sat_agent *a);

/* Hash the next slice of the replica again; what is damaged is fetched. Called
 * about once a minute. */
void sat_agent_rehash(struct sat_agent *a);

void sat_agent_status(const struct sat_agent *a, struct sat_agent_status *ret);

/* A wish for "everything saved here is decided, and we hold what the server
 * held after that". Harvests now; done comes once, with SAT_OK, SAT_E_TIMEOUT
 * (no server in time), SAT_E_DENIED (refused), or a failure of the replica. */
struct sat_agent_wish {
	struct sat_agent_wish *next;  /* agent's */
	uint64_t target;              /* agent's */
	uint64_t deadline_ms;         /* agent's */
	uint64_t timeout_ms, last_ms; /* agent's */
	bool patient; /* the time counts from the last row that came, though
		       * it is over after an hour in any case */
	void (*done)(struct sat_agent_wish *w, int rc);
	void *arg;
};
void sat_agent_sync(struct sat_agent *a, struct sat_agent_wish *w,
		    uint64_t timeout_ms);

#endif
