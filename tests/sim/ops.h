/* ops.h - what was written where and what became of it: all that the oracle
 * knows. Kept by the world as it watches; nothing of it comes from the merge.
 */
#ifndef SAT_SIM_OPS_H
#define SAT_SIM_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sim_kind {
	SIM_INSERT,
	SIM_SET,    /* a value                      */
	SIM_COUNT,  /* an increment                 */
	SIM_ADD,    /* an element of a set          */
	SIM_REMOVE, /* ... that was visible         */
	SIM_DELETE,
};

enum sim_outcome { SIM_DOUBT, SIM_OK, SIM_FAILED };

struct sim_write {
	enum sim_kind kind;
	uint8_t table, field; /* sim_tables[], its fields */
	char id[37], value[64];
	char old[16]; /* what was there, where values come back */
	int64_t number;
};

enum { SIM_WRITES_MAX = 6 };

/* One local transaction of somebody. device -1: the server's own. */
struct sim_txn {
	int device;
	int64_t log; /* its number in the device's app_log */
	enum sim_outcome outcome;
	uint64_t at_ms; /* true time */
	bool foreign;   /* not the author's to write */
	struct sim_write writes[SIM_WRITES_MAX];
	unsigned count;
	uint64_t held[SIM_WRITES_MAX]; /* _seq of the server's state of the
					  row that the author saw        */
	uint32_t replica;              /* the changeset it went with;    */
	uint64_t seq;                  /* 0: not harvested yet           */
};

/* A changeset as the server judged it. replica 0: the server's own, seq its
 * place in txns, from 1. */
struct sim_verdict {
	uint32_t replica;
	uint64_t seq;
	int status;      /* enum sat_verdict_status           */
	uint64_t commit; /* head of its commit                */
	uint64_t before; /* head of the one before */
	uint64_t order;  /* among all                         */
	bool lost;       /* a restore took it back */
};

struct sim_ops {
	struct sim_txn *txns;
	size_t count, cap;
	struct sim_verdict *verdicts;
	size_t verdict_count, verdict_cap;
	size_t group_at; /* verdicts behind it wait for their commit */
	uint64_t head;   /* of the last commit that is known         */
};

struct sim_field {
	const char *name, *policy;
	bool managers; /* only they read it */
};
struct sim_table {
	const char *name;
	struct sim_field fields[12];
};
extern const struct sim_table sim_tables[];
enum { SIM_ACCOUNT, SIM_VISIT, SIM_NOTE, SIM_TASK, SIM_TABLES };

void sim_ops_clear(struct sim_ops *o);
void sim_ops_fini(struct sim_ops *o);
struct sim_txn *sim_ops_txn(struct sim_ops *o);
/* The server says so inside a group; the group is committed, or not. */
void sim_ops_verdict(struct sim_ops *o, uint32_t replica, uint64_t seq,
		     int status);
void sim_ops_commit(struct sim_ops *o, uint64_t head);
void sim_ops_abandon(struct sim_ops *o);
/* The server is what it was when so many verdicts were committed. */
void sim_ops_restore(struct sim_ops *o, size_t count);

#endif
