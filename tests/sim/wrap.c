/* What the programs ask of the system, answered by the simulation, and the
 * calls that the oracle watches. Linked by --wrap. */
#include <string.h>
#include <sys/stat.h>

#include "client/replica/internal.h"
#include "common/db.h"
#include "common/pki.h"
#include "server/commit/engine.h"
#include "tests/sim/world.h"

int __real_sat_db_open(struct sat_db *db, const struct sat_db_options *o,
		       struct sat_err *err);
int __wrap_sat_db_open(struct sat_db *db, const struct sat_db_options *o,
		       struct sat_err *err);
int __wrap_sat_db_open(struct sat_db *db, const struct sat_db_options *o,
		       struct sat_err *err)
{
	struct sat_db_options here = *o;

	here.vfs = "sim";
	if (here.cache_kib > 2048)
		here.cache_kib = 2048;
	return __real_sat_db_open(db, &here, err);
}

/* Not drawn from the tape: which bytes come matters to nobody. */
int __wrap_sat_random(void *out, size_t len, struct sat_err *err);
int __wrap_sat_random(void *out, size_t len, struct sat_err *err)
{
	uint8_t *p = out;

	(void)err;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)sim_mix(sim_now * 31 + ++sim_world->randoms);
	return SAT_OK;
}

int __wrap_sat_folder_sync(const char *path, struct sat_err *err);
int __wrap_sat_folder_sync(const char *path, struct sat_err *err)
{
	(void)path;
	(void)err;
	return SAT_OK;
}

/* A digest that differs is mended by fetching all again. Nobody damages a
 * file here, so it must never come to that. */
int __real_sat_replica_repair(struct sat_replica *r, struct sat_err *err);
int __wrap_sat_replica_repair(struct sat_replica *r, struct sat_err *err);
int __wrap_sat_replica_repair(struct sat_replica *r, struct sat_err *err)
{
	sim_check_digest(sim_world, r);
	return __real_sat_replica_repair(r, err);
}

/* ---- what the server decides --------------------------------------------- */

int __real_sat_engine_push(struct sat_engine *e,
			   const struct sat_push_from *from,
			   struct sat_slice bytes, struct sat_arena *a,
			   struct sat_msg_verdict *ret,
			   struct sat_msg_error *refusal, struct sat_err *err);
int __wrap_sat_engine_push(struct sat_engine *e,
			   const struct sat_push_from *from,
			   struct sat_slice bytes, struct sat_arena *a,
			   struct sat_msg_verdict *ret,
			   struct sat_msg_error *refusal, struct sat_err *err);
int __wrap_sat_engine_push(struct sat_engine *e,
			   const struct sat_push_from *from,
			   struct sat_slice bytes, struct sat_arena *a,
			   struct sat_msg_verdict *ret,
			   struct sat_msg_error *refusal, struct sat_err *err)
{
	int rc = __real_sat_engine_push(e, from, bytes, a, ret, refusal, err);

	if (rc == SAT_OK && (ret->flags & SAT_VERDICT_REPLAY) == 0)
		sim_ops_verdict(&sim_world->ops, from->replica, ret->seq,
				(int)ret->status);
	if (rc == SAT_OK)
		sim_trace(sim_world, "(%u,%lu) judged: %d flags %u reason %u",
			  from->replica, (unsigned long)ret->seq,
			  (int)ret->status, ret->flags, ret->reason);
	return rc;
}

/* The group is whole or gone: does the store's head tell of it? */
static void resolve(void)
{
	struct sim_ops *o = &sim_world->ops;
	sqlite3 *db;
	uint64_t head;

	if (o->group_at == o->verdict_count)
		return;
	db = sim_server_reader();
	head = db == NULL
		       ? 0
		       : (uint64_t)sim_number(db, "SELECT value FROM _setting"
						  " WHERE key = '_head'");
	(void)sqlite3_close(db);
	if (head > o->head)
		sim_ops_commit(o, head);
	else
		sim_ops_abandon(o);
}

int __real_sat_engine_begin(struct sat_engine *e, int64_t now_ms,
			    struct sat_err *err);
int __wrap_sat_engine_begin(struct sat_engine *e, int64_t now_ms,
			    struct sat_err *err);
int __wrap_sat_engine_begin(struct sat_engine *e, int64_t now_ms,
			    struct sat_err *err)
{
	int rc;

	resolve(); /* one that failed may be durable all the same */
	rc = __real_sat_engine_begin(e, now_ms, err);
	return rc;
}

int __real_sat_engine_commit(struct sat_engine *e, struct sat_commit_info *ret,
			     struct sat_err *err);
int __wrap_sat_engine_commit(struct sat_engine *e, struct sat_commit_info *ret,
			     struct sat_err *err);
int __wrap_sat_engine_commit(struct sat_engine *e, struct sat_commit_info *ret,
			     struct sat_err *err)
{
	int rc = __real_sat_engine_commit(e, ret, err);

	if (rc == SAT_OK) {
		sim_ops_commit(&sim_world->ops, ret->commit_seq);
		sim_world->srv.heads++;
	} else if (rc != SAT_E_IO) {
		sim_ops_abandon(&sim_world->ops);
	}
	return rc;
}

void __real_sat_engine_abandon(struct sat_engine *e);
void __wrap_sat_engine_abandon(struct sat_engine *e);
void __wrap_sat_engine_abandon(struct sat_engine *e)
{
	sim_ops_abandon(&sim_world->ops);
	__real_sat_engine_abandon(e);
}
