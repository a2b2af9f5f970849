#include "tests/sim/ops.h"

#include <stdlib.h>
#include <string.h>

#include "common/base.h"

const struct sim_table sim_tables[] = {
	[SIM_ACCOUNT] = { "account",
			  { { "name", "keep", false },
			    { "territory_id", "lww", false },
			    { "shared_with", "set", false },
			    { "phone", "lww", false },
			    { "email", "lww", false },
			    { "needs", "keep", false },
			    { "tags", "set", false },
			    { "visit_count", "counter", false },
			    { "first_contact_at", "min", false },
			    { "last_visit_at", "max", false },
			    { "credit_limit", "lww", true } } },
	[SIM_VISIT] = { "visit",
			{ { "account_id", "lww", false },
			  { "territory_id", "lww", false },
			  { "state", "ordered", false },
			  { "notes", "lww", false } } },
	[SIM_NOTE] = { "note",
		       { { "account_id", "lww", false },
			 { "visit_id", "lww", false },
			 { "body", "lww", false } } },
	[SIM_TASK] = { "task",
		       { { "title", "lww", false },
			 { "account_id", "lww", false },
			 { "territory_id", "lww", false },
			 { "made_with", "first", false } } },
};

void sim_ops_clear(struct sim_ops *o)
{
	o->count = o->verdict_count = o->group_at = 0;
	o->head = 0;
}

void sim_ops_fini(struct sim_ops *o)
{
	free(o->txns);
	free(o->verdicts);
	memset(o, 0, sizeof *o);
}

static void *grown(void *p, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return p;
	*cap = *cap == 0 ? 64 : *cap * 2;
	p = realloc(p, *cap * size);
	SAT_ASSERT(p != NULL);
	return p;
}

struct sim_txn *sim_ops_txn(struct sim_ops *o)
{
	o->txns = grown(o->txns, o->count, &o->cap, sizeof *o->txns);
	memset(&o->txns[o->count], 0, sizeof *o->txns);
	return &o->txns[o->count++];
}

void sim_ops_verdict(struct sim_ops *o, uint32_t replica, uint64_t seq,
		     int status)
{
	o->verdicts = grown(o->verdicts, o->verdict_count, &o->verdict_cap,
			    sizeof *o->verdicts);
	o->verdicts[o->verdict_count] = (struct sim_verdict){
		.replica = replica,
		.seq = seq,
		.status = status,
		.order = o->verdict_count,
	};
	o->verdict_count++;
}

void sim_ops_commit(struct sim_ops *o, uint64_t head)
{
	for (; o->group_at < o->verdict_count; o->group_at++) {
		o->verdicts[o->group_at].commit = head;
		o->verdicts[o->group_at].before = o->head;
	}
	o->head = head;
}

void sim_ops_abandon(struct sim_ops *o)
{
	o->verdict_count = o->group_at;
}

void sim_ops_restore(struct sim_ops *o, size_t count)
{
	for (size_t i = count; i < o->verdict_count; i++)
		o->verdicts[i].lost = true;
}
