/* world.h - one server, some devices, people who write, and everything that
 * can go wrong between them, from one seed.
 *
 * The programs are the real ones, on virtual time (loop.h), wires (net.h) and
 * disks (vfs.h). Every choice is a draw of sim_rng: a seed replays a run, and
 * a tape of draws can be made smaller while it still fails.
 */
#ifndef SAT_SIM_WORLD_H
#define SAT_SIM_WORLD_H

#include <stdio.h>

#include <sqlite3.h>

#include "client/replica/replica.h"
#include "client/sync/agent.h"
#include "server/sync/server.h"
#include "tests/sim/loop.h"
#include "tests/sim/net.h"
#include "tests/sim/ops.h"
#include "tests/sim/rng.h"

enum {
	SIM_DEVICES_MAX = 8,
	SIM_USERS = 7,
	SIM_TERRITORIES = 6,
	SIM_GRANTS_MAX = 32,
};

/* What a run may meet; drawn once from the seed. 0: not at all. */
struct sim_swarm {
	uint32_t devices, actions, pace_ms, cold, keep_up;
	uint32_t latency_ms, split;
	uint32_t cut, lose, hold, offline; /* per mille of the actions       */
	uint32_t dev_kill, dev_power, srv_kill, srv_power;
	uint32_t full, eio, step, admin, move, grant, remove;
	uint32_t srv_full, srv_eio, notice_ms, focus;
	uint32_t clone, restore;
	int64_t skew_ms;
};

struct sim_device {
	struct sim_machine machine;
	struct sim_disk *disk;
	struct sim_keys keys;
	char name[16], path[32];
	unsigned no, user;
	struct sat_replica *replica; /* NULL: not running         */
	struct sat_agent *agent;
	struct sqlite3 *app; /* somebody's own connection */
	bool stopped;
	uint64_t start_ms; /* when it comes up again, 0: it is up  */
	uint64_t full_until, eio_until, offline_until;
	bool power;      /* how it will have died                */
	bool wait_event; /* a file event is due                  */
	uint64_t event_ms;
	uint64_t outbox_last; /* harvested, as known to the model     */
	int64_t app_log;      /* transactions that are durable        */
	bool doubt;           /* the last commit did not say          */
	bool moved_rights;    /* its user's rights changed            */
};

struct sim_person {
	struct sat_id id;
	char login[8];
	enum sat_role role;
	unsigned home; /* territory */
};

struct sim_grant {
	unsigned user, territory;
	uint32_t no; /* the server's */
};

struct sim_server {
	struct sim_machine machine;
	struct sim_disk *disk;
	struct sat_server *server; /* NULL: down */
	bool stopped, power;
	uint64_t start_ms, full_until, eio_until;
	uint64_t admin_out;      /* jobs under way */
	uint64_t heads;          /* commits         */
	struct sim_disk *backup; /* NULL: none yet */
	uint64_t backup_head, restores;
	size_t backup_count;            /* verdicts then */
	bool restore;                   /* it comes up again as it was then */
	uint32_t selves[4], self_count; /* its numbers since */
};

struct sim_world {
	struct sim_rng rng;
	struct sim_swarm swarm;
	struct sim_server srv;
	struct sim_device devices[SIM_DEVICES_MAX];
	unsigned count;
	struct sim_person people[SIM_USERS];
	struct sat_id territories[SIM_TERRITORIES];
	int parents[SIM_TERRITORIES];
	struct sim_grant grants[SIM_GRANTS_MAX];
	unsigned grant_count;
	struct sat_config *server_config, *device_config;
	struct sim_ops ops;
	uint64_t next_value; /* every value written is another one    */
	bool trace, healing;
	char fail[400]; /* the first thing that was wrong, "" none */
	uint64_t steps, crashes, txns, randoms;
};

extern struct sim_world *sim_world;

/* The images that runs start from; once in a process.
 * talk: the programs' own log goes to stderr. */
void sim_template(bool talk);
void sim_template_free(void);

/* A whole run. false: w->fail says what was wrong. */
bool sim_run(struct sim_world *w, uint64_t seed);
/* The same with other options than the seed's own. */
bool sim_run_with(struct sim_world *w, uint64_t seed,
		  const struct sim_swarm *swarm);

/* ---- for the files of the world ------------------------------------------ */

void sim_fail(struct sim_world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sim_trace(struct sim_world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sim_id_text(const struct sat_id *id, char out[37]);

void sim_world_init(struct sim_world *w, uint64_t seed);
void sim_world_people(struct sim_world *w);
void sim_world_until(struct sim_world *w, uint64_t ms);
void sim_world_fini(struct sim_world *w);

bool sim_server_start(struct sim_world *w);
void sim_server_crash(struct sim_world *w);
void sim_server_stop(struct sim_world *w);
bool sim_device_start(struct sim_world *w, struct sim_device *d);
void sim_device_crash(struct sim_world *w, struct sim_device *d);
void sim_device_open_app(struct sim_world *w, struct sim_device *d);
/* Which transactions went into which changeset. */
void sim_device_look(struct sim_world *w, struct sim_device *d);

/* One thing that somebody does, or that happens (acts.c). */
void sim_act(struct sim_world *w);
void sim_heal(struct sim_world *w);
/* The operator waits for nobody any more: not every device that was enrolled
 * takes part in a run. */
void sim_close_window(struct sim_world *w);

/* check.c */
void sim_check_device(struct sim_world *w, struct sim_device *d);
void sim_check_end(struct sim_world *w);
void sim_check_stamps(struct sim_world *w); /* stamps.c */
/* That replica's digest differs from the server's. */
void sim_check_digest(struct sim_world *w, struct sat_replica *r);
bool sim_converged(struct sim_world *w, char *why, size_t n);
/* A connection to the server's database as it is; NULL when it cannot be. */
struct sqlite3 *sim_server_reader(void);
/* The first column of the first row; -1: there is none. */
int64_t sim_number(struct sqlite3 *db, const char *sql);

#endif
