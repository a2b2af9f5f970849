#include "server/commit/adopt.h"

#include <stdio.h>
#include <string.h>

#include "server/commit/core.h"

int sat_engine_adopt_begin(struct sat_engine *e, const struct sat_id *user,
			   const char *name, struct sat_device *ret,
			   struct sat_err *err)
{
	struct sat_device d = { .state = SAT_DEVICE_ACTIVE };
	int rc;

	SAT_ASSERT(e->in_group);
	if (e->next_replica == UINT32_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "adopt",
				   "replica ids are used up");
	d.replica = e->next_replica;
	d.user = *user;
	d.enrolled_ms = d.seen_ms = e->now_ms;
	(void)snprintf(d.name, sizeof d.name, "%s", name);
	rc = sat_store_device_put(e->store, &d, err);
	if (rc != SAT_OK)
		return rc;
	e->next_replica++;
	e->settings_moved = true;
	*ret = d;
	return SAT_OK;
}

/* The author had seen his own dot `seq`: of these, what the server has of the
 * row stays, what was taken in anew is named anew. */
static int move_context(struct sat_engine *e, const struct sat_adopt *how,
			struct sat_delta *d, struct sat_arena *a,
			struct sat_err *err)
{
	uint64_t seq = sat_vv_get(d->context, how->from), cap, fresh = 0;
	struct sat_dot *dots;
	struct sat_work row;
	struct sat_vv moved;
	uint32_t n = 0;
	int rc = sat_work_load(e, d->table, &d->id, a, &row, err);

	if (rc != SAT_OK)
		return rc;
	d->base_seq = 0;
	if (seq == 0)
		return SAT_OK;
	cap = sat_vv_get(row.state.vv, how->from);
	/* from the first one taken in, old numbers mean something else here */
	if (how->count > 0 && cap >= how->seqs[0])
		cap = how->seqs[0] - 1;
	while (fresh < how->count && how->seqs[fresh] <= seq)
		fresh++;
	dots = sat_arena_array(a, (size_t)d->context.count + 1, sizeof *dots);
	if (dots == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "adopt",
				   "out of memory");
	for (uint32_t i = 0; i < d->context.count; i++) {
		dots[n] = d->context.dots[i];
		if (dots[n].replica == how->from && dots[n].seq > cap)
			dots[n].seq = cap;
		n += dots[n].seq > 0;
	}
	moved = (struct sat_vv){ dots, n };
	if (fresh > 0)
		rc = sat_vv_with(a, moved, (struct sat_dot){ how->to, fresh },
				 &moved);
	d->context = moved;
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "adopt", "out of memory");
}

/* The same changeset under its new dot, chained to the one before it. */
static int rewrite(struct sat_engine *e, const struct sat_adopt *how,
		   const struct sat_device *to, struct sat_changeset *cs,
		   struct sat_arena *a, struct sat_buf *out,
		   struct sat_err *err)
{
	int rc = SAT_OK;

	cs->dot = (struct sat_dot){ how->to, how->count + 1 };
	memset(cs->prev_hash, 0, sizeof cs->prev_hash);
	if (to->last_seq > 0)
		memcpy(cs->prev_hash, to->last_hash, sizeof cs->prev_hash);
	for (uint32_t i = 0; rc == SAT_OK && i < cs->delta_count; i++)
		rc = move_context(e, how, &cs->deltas[i], a, err);
	if (rc != SAT_OK)
		return rc;
	rc = sat_changeset_encode(cs, out);
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "adopt",
					  "a changeset cannot be written anew");
}

/* Was it decided under its old name? Another one may have been: the device
 * lived on, and what the file holds was gathered once more. */
static int check_old(struct sat_engine *e, const struct sat_changeset *cs,
		     struct sat_slice bytes, struct sat_err *err)
{
	uint8_t was[16], is[16];
	struct sat_device old;
	struct sat_buf buf;
	int rc = sat_store_device_get(e->store, cs->dot.replica, &old, err);

	if (rc == SAT_E_NOTFOUND ||
	    (rc == SAT_OK && cs->dot.seq > old.last_seq))
		return SAT_OK;
	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&buf, SAT_CHANGESET_BYTES_MAX);
	rc = sat_store_changeset_get(e->store, cs->dot, &buf, was, err);
	sat_buf_fini(&buf);
	if (rc == SAT_E_NOTFOUND)
		return SAT_AGAIN;
	sat_hash_pack(sat_hash_bytes(bytes), is);
	if (rc == SAT_OK && memcmp(is, was, sizeof is) == 0)
		return SAT_AGAIN;
	return rc;
}

int sat_engine_adopt_one(struct sat_engine *e, const struct sat_adopt *how,
			 struct sat_slice bytes, struct sat_arena *a,
			 struct sat_msg_verdict *ret, uint64_t *ret_seq,
			 struct sat_err *err)
{
	struct sat_push_from from = { .replica = how->to, .clock = how->clock };
	struct sat_msg_error refusal;
	struct sat_changeset cs;
	struct sat_device to;
	struct sat_buf out;
	int rc = sat_changeset_decode(e->plan.cat, bytes, a, &cs, NULL, err);

	if (rc == SAT_OK &&
	    (cs.dot.replica != how->from ||
	     (how->count > 0 && cs.dot.seq <= how->seqs[how->count - 1])))
		rc = sat_err_set(err, SAT_E_PROTO, 0, "adopt",
				 "the changeset is of another device, or out "
				 "of order");
	if (rc != SAT_OK)
		return rc == SAT_E_NOMEM ? rc : SAT_E_PROTO;
	*ret_seq = cs.dot.seq;
	rc = check_old(e, &cs, bytes, err);
	if (rc == SAT_OK)
		rc = sat_store_device_get(e->store, how->to, &to, err);
	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&out, SAT_CHANGESET_BYTES_MAX);
	rc = rewrite(e, how, &to, &cs, a, &out, err);
	if (rc == SAT_OK)
		rc = sat_engine_push(e, &from, sat_buf_peek(&out), a, ret,
				     &refusal, err);
	sat_buf_fini(&out);
	return rc;
}

int sat_engine_adopt_end(struct sat_engine *e, uint32_t to, struct sat_err *err)
{
	struct sat_device d;
	int rc = sat_store_device_get(e->store, to, &d, err);

	d.state = SAT_DEVICE_REVOKED;
	return rc == SAT_OK ? sat_store_device_put(e->store, &d, err) : rc;
}
