/* One changeset from a device: the chain first, then all its deltas inside a
 * savepoint, then the verdict beside its effect (SYNC sections 2, 5, 6). */
#include <string.h>

#include "server/commit/core.h"
#include "server/commit/refused.h"

enum {
	PASSES_MAX = 8, /* over deltas that wait for a parent */
	VERDICT_BYTES_MAX = 1024 * 1024,
	REPLAY_BYTES_MAX = SAT_CHANGESET_BYTES_MAX,
	RETRIES_MAX = 256, /* parked changesets tried after one push */
};

/* What one push knows. */
struct push {
	struct sat_engine *e;
	const struct sat_push_from *from;
	struct sat_slice bytes;
	struct sat_changeset head;
	uint8_t hash[16];
	struct sat_device device;
	const struct sat_author *author;
	struct sat_told told;
	struct sat_arena *arena; /* of the verdict */
	struct sat_arena decode; /* of one reading of the changeset */
	uint64_t first_seq;
	uint64_t *waiting; /* bit per delta: its parent is not there yet */
	uint32_t waiting_count;
	bool writing; /* past the savepoint: the verdict is being stored */
	bool parked;  /* decided when others have come back */
	bool late;    /* ... and that is now */
};

/* ---- the chain ---------------------------------------------------------- */

/* The stored verdict of a seq, in the arena. */
struct stored {
	uint64_t seq;
	struct sat_arena *arena;
	struct sat_msg msg;
	bool found;
	struct sat_err *err;
};

static int on_verdict(void *arg, uint64_t seq, struct sat_slice bytes)
{
	struct stored *s = arg;
	struct sat_slice kept;
	int rc;

	if (seq != s->seq)
		return SAT_AGAIN; /* the scan began right before it */
	rc = sat_arena_copy(s->arena, bytes, &kept);
	if (rc == SAT_OK)
		rc = sat_msg_decode(SAT_MSG_VERDICT, kept, s->arena, &s->msg,
				    s->err);
	s->found = rc == SAT_OK;
	return rc == SAT_OK ? SAT_AGAIN : rc;
}

static int replay(struct push *p, struct sat_msg_verdict *ret,
		  struct sat_msg_error *refusal, struct sat_err *err)
{
	struct stored s = { .seq = p->head.dot.seq,
			    .arena = p->arena,
			    .err = err };
	uint8_t was[16];
	struct sat_buf buf;
	int rc;

	sat_buf_init(&buf, REPLAY_BYTES_MAX);
	rc = sat_store_changeset_get(p->e->store, p->head.dot, &buf, was, err);
	sat_buf_fini(&buf);
	if (rc == SAT_OK && memcmp(was, p->hash, sizeof was) != 0)
		return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_FORKED,
				   "this device is a copy of another one");
	if (rc == SAT_OK || rc == SAT_E_NOTFOUND)
		rc = sat_store_verdicts(p->e->store, p->head.dot.replica,
					p->head.dot.seq - 1, on_verdict, &s,
					err);
	if (rc != SAT_OK && rc != SAT_AGAIN)
		return rc;
	if (!s.found)
		return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_SEQ,
				   "this changeset was decided long ago");
	*ret = s.msg.verdict;
	ret->flags |= SAT_VERDICT_REPLAY;
	return SAT_OK;
}

static int check_device(struct push *p, struct sat_msg_error *refusal,
			struct sat_err *err)
{
	int rc = sat_store_device_get(p->e->store, p->from->replica, &p->device,
				      err);

	if (rc == SAT_E_NOTFOUND)
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_UNKNOWN,
				   "unknown device");
	if (rc != SAT_OK)
		return rc;
	if (p->device.state == SAT_DEVICE_REVOKED)
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_REVOKED,
				   "this device was revoked");
	rc = sat_author_get(p->e, &p->device, &p->author, err);
	if (rc == SAT_E_DENIED)
		return sat_refusal(refusal, err, rc, SAT_WIRE_REVOKED,
				   "this user's access has ended");
	return rc;
}

/* It brings only its hash, for the chain: the next one proves it. */
static bool is_void(const struct push *p)
{
	return (p->head.flags & SAT_CHANGESET_VOID) != 0;
}

/* SAT_OK: apply it. SAT_AGAIN: decided before. */
static int check_chain(struct push *p, struct sat_msg_error *refusal,
		       struct sat_err *err)
{
	static const uint8_t none[16];
	const uint8_t *prev =
		p->device.last_seq > 0 ? p->device.last_hash : none;

	if (sat_changeset_head(p->bytes, &p->head, err) != SAT_OK ||
	    p->head.dot.replica != p->from->replica || p->head.dot.seq == 0)
		return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_PROTOCOL,
				   "this is no changeset of this device");
	if (is_void(p))
		memcpy(p->hash, p->head.prev_hash, sizeof p->hash);
	else
		sat_hash_pack(sat_hash_bytes(p->bytes), p->hash);
	if (p->head.dot.seq <= p->device.last_seq)
		return SAT_AGAIN;
	if (p->head.dot.seq != p->device.last_seq + 1)
		return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_SEQ,
				   "changesets are missing before this one");
	if (!is_void(p) && memcmp(p->head.prev_hash, prev, sizeof none) != 0)
		return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_FORKED,
				   "this device is a copy of another one");
	if (p->head.catalogue > p->e->plan.cat->version)
		return sat_refusal(refusal, err, SAT_E_PROTO,
				   SAT_WIRE_CATALOGUE,
				   "the device's catalogue is newer than the "
				   "server's");
	return SAT_OK;
}

/* ---- the deltas --------------------------------------------------------- */

static bool is_waiting(const struct push *p, uint32_t i)
{
	return (p->waiting[i / 64] >> (i % 64) & 1) != 0;
}

static void set_waiting(struct push *p, uint32_t i, bool on)
{
	uint64_t bit = UINT64_C(1) << (i % 64);

	p->waiting_count += on;
	p->waiting_count -= !on;
	p->waiting[i / 64] =
		on ? p->waiting[i / 64] | bit : p->waiting[i / 64] & ~bit;
}

/* A value its column refuses, or a column nobody knows: the content's fault,
 * so the changeset gets its verdict and the next one goes on. */
static int refuse_value(struct sat_apply *ap,
			const struct sat_changeset_where *where, int rc)
{
	ap->reason =
		rc == SAT_E_NEWER ? SAT_REASON_CATALOGUE : SAT_REASON_VALUE;
	if (where->table == NULL)
		return SAT_APPLY_REFUSED;
	return sat_apply_refuse(ap, ap->reason, where->table, &where->id,
				where->column);
}

/* Read the changeset once and apply what is due in this pass: everything in
 * the first, later only what waits. */
static int pass(struct push *p, struct sat_apply *ap, bool first,
		struct sat_err *err)
{
	struct sat_engine *e = p->e;
	struct sat_changeset_where where = { 0 };
	struct sat_changeset_reader *reader;
	struct sat_changeset head;
	struct sat_delta d = { 0 };
	int rc;

	sat_arena_reset(&p->decode);
	rc = sat_changeset_open(e->plan.cat, p->bytes, &p->decode, &head,
				&reader, err);
	for (uint32_t i = 0; rc == SAT_OK; i++) {
		sat_arena_reset(&e->row_arena);
		rc = sat_changeset_next(reader, &e->row_arena, &d, &where, err);
		if (rc == SAT_AGAIN)
			return SAT_OK;
		if (rc == SAT_E_INVAL || rc == SAT_E_NEWER)
			return refuse_value(ap, &where, rc);
		if (rc != SAT_OK || (!first && !is_waiting(p, i)))
			continue;
		rc = sat_apply_delta(ap, &d, p->first_seq + i, err);
		if (rc == SAT_APPLY_LATER) {
			if (first)
				set_waiting(p, i, true);
			rc = SAT_OK;
		} else if (rc == SAT_OK && !first) {
			set_waiting(p, i, false);
		}
	}
	return rc;
}

/* All deltas. Parents need not come first: what misses one waits for the next
 * pass, and the last pass refuses instead of waiting. */
static int apply_all(struct push *p, struct sat_apply *ap, struct sat_err *err)
{
	uint32_t before, passes = 1;
	int rc;

	p->waiting_count = 0;
	memset(p->waiting, 0, (p->head.delta_count / 64 + 1) * 8);
	ap->patient = true;
	rc = pass(p, ap, true, err);
	while (rc == SAT_OK && p->waiting_count > 0) {
		before = p->waiting_count;
		rc = pass(p, ap, false, err);
		if (p->waiting_count == before || ++passes >= PASSES_MAX)
			ap->patient = false;
	}
	return rc;
}

static bool old_history(const struct push *p)
{
	return p->e->recover.self_count > 0 &&
	       p->head.marker.epoch != p->e->epoch;
}

static void start(struct push *p, struct sat_apply *ap, bool hold)
{
	struct sat_field_name *list = ap->conflicts;
	uint32_t cap = ap->conflict_cap;

	*ap = (struct sat_apply){
		.e = p->e,
		.dot = p->head.dot,
		.role = p->told.any.role,
		.rights = &p->told.any,
		.told = &p->told,
		.clock = p->from->clock,
		.ceiling = p->e->hlc,
		.hold = hold,
		.where_column = -1,
		.old_history = old_history(p),
		.conflicts = list,
		.conflict_cap = cap,
	};
	/* positions of the deltas come first and without a gap; ledger and
	 * moves take what follows */
	p->first_seq = p->e->head + 1;
	p->e->head += p->head.delta_count;
}

/* In one savepoint. SAT_OK: in effect; SAT_APPLY_REFUSED and failures that do
 * not end the group: undone. */
static int apply(struct push *p, struct sat_apply *ap, struct sat_err *err)
{
	/* a device whose clock was stepped stamps with other offsets; one that
	 * offers an old changeset again may have dropped its rows since; and
	 * who was told to wait has no rows to fold, whatever history it is of
	 */
	bool hold =
		p->from->clock.step_count == 0 && !old_history(p) && !p->late;
	struct sat_engine_mark mark;
	struct sat_err undo;
	int rc;

	p->waiting =
		sat_arena_array(p->arena, (size_t)p->head.delta_count / 64 + 1,
				sizeof *p->waiting);
	if (p->waiting == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "push",
				   "out of memory");
	rc = sat_told_read(p->e, p->from, &p->author->rights, &p->head.marker,
			   p->arena, &p->told, err);
	if (rc != SAT_OK)
		return rc;
	sat_hlc_tick(&p->e->hlc, p->e->now_ms);
	do {
		rc = sat_engine_mark(p->e, &mark, err);
		if (rc != SAT_OK)
			return rc;
		start(p, ap, hold);
		rc = apply_all(p, ap, err);
		if (rc == SAT_OK)
			return sat_engine_keep(p->e, err);
		if (sat_engine_ends_group(rc))
			return rc;
		hold = false; /* if started over: once, with echoes */
		if (sat_engine_undo(p->e, &mark, &undo) != SAT_OK) {
			*err = undo;
			return SAT_E_IO;
		}
	} while (rc == SAT_APPLY_ECHO);
	return rc;
}

/* ---- the verdict -------------------------------------------------------- */

/* Rows this changeset would have made: what comes later and touches them
 * depends on it. What does not decode stays unknown. */
static int note_rejected(struct push *p, struct sat_err *err)
{
	struct sat_changeset_where where;
	struct sat_changeset_reader *reader;
	struct sat_changeset head;
	struct sat_delta d;
	int rc = sat_refused_note(p->e->store, p->head.dot, err);

	if (rc != SAT_OK)
		return rc;
	sat_arena_reset(&p->decode);
	rc = sat_changeset_open(p->e->plan.cat, p->bytes, &p->decode, &head,
				&reader, err);
	if (rc != SAT_OK)
		return rc == SAT_E_PROTO || rc == SAT_E_LIMIT ? SAT_OK : rc;
	while (rc == SAT_OK) {
		sat_arena_reset(&p->e->row_arena);
		rc = sat_changeset_next(reader, &p->e->row_arena, &d, &where,
					err);
		if (rc == SAT_E_NOMEM)
			return rc;
		if (rc != SAT_OK)
			return SAT_OK;
		if (d.op == SAT_OP_INSERT)
			rc = sat_store_rejected_put(p->e->store, p->head.dot,
						    d.table, &d.id, err);
	}
	return rc;
}

static int fill_verdict(struct push *p, const struct sat_apply *ap,
			bool rejected, struct sat_msg_verdict *v)
{
	struct sat_field_name *list;

	*v = (struct sat_msg_verdict){
		.seq = p->head.dot.seq,
		.status = p->parked        ? SAT_VERDICT_PARKED
			  : rejected       ? SAT_VERDICT_REJECTED
			  : ap->conflicted ? SAT_VERDICT_MERGED
					   : SAT_VERDICT_APPLIED,
		.offset_ms = p->from->clock.offset_ms,
	};
	if (p->parked)
		return SAT_OK;
	if (rejected) {
		v->reason = ap->reason;
		v->where = ap->where;
		v->depends = ap->depends;
		return SAT_OK;
	}
	v->first_seq = p->first_seq;
	v->flags = ap->hold ? SAT_VERDICT_AS_HELD : 0;
	list = sat_arena_array(p->arena, ap->conflict_count, sizeof *list);
	if (list == NULL)
		return SAT_E_NOMEM;
	if (ap->conflict_count > 0)
		memcpy(list, ap->conflicts, ap->conflict_count * sizeof *list);
	v->conflicts = list;
	v->conflict_count = ap->conflict_count;
	return SAT_OK;
}

/* The payload of the VERDICT frame is what is kept and replayed. */
static int store_verdict(struct push *p, const struct sat_msg_verdict *v,
			 struct sat_err *err)
{
	struct sat_msg msg = { .type = SAT_MSG_VERDICT, .verdict = *v };
	struct sat_slice frame;
	struct sat_buf buf;
	int rc;

	sat_buf_init(&buf, VERDICT_BYTES_MAX + SAT_FRAME_HEAD_BYTES);
	rc = sat_msg_encode(NULL, &msg, &buf);
	frame = sat_buf_peek(&buf);
	if (rc != SAT_OK || frame.len < SAT_FRAME_HEAD_BYTES)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "verdict",
				 "a verdict cannot be encoded");
	else
		rc = sat_store_verdict_put(
			p->e->store, p->head.dot,
			(struct sat_slice){ frame.ptr + SAT_FRAME_HEAD_BYTES,
					    frame.len - SAT_FRAME_HEAD_BYTES },
			err);
	sat_buf_fini(&buf);
	return rc;
}

/* Effect, last seq, chain, verdict: one transaction. */
static int finish(struct push *p, const struct sat_msg_verdict *v,
		  struct sat_err *err)
{
	int rc = sat_store_changeset_put(p->e->store, p->head.dot, p->hash,
					 p->bytes, err);

	if (rc == SAT_OK)
		rc = store_verdict(p, v, err);
	if (rc != SAT_OK)
		return rc;
	p->device.last_seq = p->head.dot.seq;
	memcpy(p->device.last_hash, p->hash, sizeof p->hash);
	p->device.seen_ms = p->e->now_ms;
	return sat_store_device_put(p->e->store, &p->device, err);
}

/* A refused write of a role nobody may use so is worth a line: the device's
 * own triggers refuse it, so someone went around them. */
static int audit_refusal(struct push *p, const struct sat_apply *ap,
			 struct sat_err *err)
{
	if (ap->reason != SAT_REASON_ROLE && ap->reason != SAT_REASON_DERIVED &&
	    ap->reason != SAT_REASON_FORGED && ap->reason != SAT_REASON_SCOPE)
		return SAT_OK;
	return sat_store_audit(p->e->store, p->e->now_ms, p->author->user.login,
			       sat_reason_name(ap->reason),
			       sat_slice_str("{\"what\":\"push rejected\"}"),
			       err);
}

/* What it builds on was lost with the database and may still come back. */
static bool must_wait(const struct push *p, const struct sat_apply *ap, int rc)
{
	return rc == SAT_APPLY_REFUSED && ap->old_history &&
	       sat_recover_waits(p->e, ap->reason);
}

/* Apply, unless it stands behind one that waits, or for one that did
 * nothing. */
static int attempt(struct push *p, struct sat_apply *ap, struct sat_err *err)
{
	int rc;

	if (is_void(p))
		return SAT_APPLY_REFUSED;
	if (!p->parked) {
		rc = apply(p, ap, err);
		p->parked = must_wait(p, ap, rc);
		if (!p->parked)
			return rc;
	}
	return sat_recover_park(p->e, p->head.dot, err);
}

/* Whose row it is now should know that there was something. The note is a
 * small changeset of the server's own beside the verdict. */
static int note_late(struct push *p, struct sat_apply *ap, struct sat_err *err)
{
	struct sat_engine_mark mark;
	int rc = sat_engine_mark(p->e, &mark, err);

	if (rc == SAT_OK)
		rc = sat_ledger_late(ap, err);
	return rc == SAT_OK ? sat_engine_keep(p->e, err) : rc;
}

static int decide(struct push *p, struct sat_msg_verdict *ret,
		  struct sat_err *err)
{
	struct sat_apply ap = { 0 };
	int rc = attempt(p, &ap, err);
	bool rejected = rc == SAT_APPLY_REFUSED || rc == SAT_E_PROTO ||
			rc == SAT_E_LIMIT;

	if (rc == SAT_E_PROTO || rc == SAT_E_LIMIT) {
		/* the bytes are whole, as the hash says, and will never
		 * decode: the device must get past them */
		ap.reason = SAT_REASON_MALFORMED;
		ap.where = (struct sat_field_name){ 0 };
	}
	if (rc != SAT_OK && !rejected)
		goto out;
	p->writing = true;
	if (rejected) {
		rc = note_rejected(p, err);
		if (rc == SAT_OK)
			rc = audit_refusal(p, &ap, err);
		if (rc == SAT_OK && ap.reason == SAT_REASON_TOO_LATE)
			rc = note_late(p, &ap, err);
	}
	if (rc == SAT_OK && fill_verdict(p, &ap, rejected, ret) != SAT_OK)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "push", "out of memory");
	if (rc == SAT_OK)
		rc = finish(p, ret, err);
out:
	sat_apply_fini(&ap);
	return rc;
}

/* ---- parked ones --------------------------------------------------------- */

/* The clock that the PARKED verdict was given under. */
static int parked_clock(struct push *p, struct sat_push_from *from,
			struct sat_err *err)
{
	struct stored s = { .seq = p->head.dot.seq,
			    .arena = p->arena,
			    .err = err };
	int rc = sat_store_verdicts(p->e->store, p->head.dot.replica,
				    p->head.dot.seq - 1, on_verdict, &s, err);

	if (rc != SAT_OK && rc != SAT_AGAIN)
		return rc;
	if (s.found)
		from->clock.offset_ms = s.msg.verdict.offset_ms;
	return SAT_OK;
}

/* Decide it if that is possible now. */
static int settle_parked(struct push *p, bool *ret_done, struct sat_err *err)
{
	struct sat_msg_verdict v;
	struct sat_apply ap = { 0 };
	int rc = apply(p, &ap, err);
	bool rejected = rc == SAT_APPLY_REFUSED || rc == SAT_E_PROTO ||
			rc == SAT_E_LIMIT;

	*ret_done = false;
	if ((rc != SAT_OK && !rejected) || must_wait(p, &ap, rc)) {
		rc = rejected ? SAT_OK : rc;
		goto out;
	}
	if (rc == SAT_E_PROTO || rc == SAT_E_LIMIT)
		ap.reason = SAT_REASON_MALFORMED;
	p->writing = true;
	rc = rejected ? note_rejected(p, err) : SAT_OK;
	if (rc == SAT_OK && fill_verdict(p, &ap, rejected, &v) != SAT_OK)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "push", "out of memory");
	if (rc == SAT_OK) {
		/* its device is told what the feed says, as anybody */
		v.flags &= ~(uint32_t)SAT_VERDICT_AS_HELD;
		rc = store_verdict(p, &v, err);
	}
	*ret_done = rc == SAT_OK;
out:
	sat_apply_fini(&ap);
	return rc;
}

static int try_parked(struct sat_engine *e, struct sat_dot dot,
		      struct sat_arena *a, bool *ret_done, struct sat_err *err)
{
	struct sat_push_from from = { .replica = dot.replica };
	struct push p = { .e = e, .from = &from, .arena = a, .late = true };
	struct sat_buf bytes;
	int rc;

	*ret_done = false;
	sat_buf_init(&bytes, REPLAY_BYTES_MAX);
	sat_arena_init(&p.decode, (size_t)SAT_CHANGESET_BYTES_MAX * 33);
	rc = sat_store_changeset_get(e->store, dot, &bytes, p.hash, err);
	p.bytes = sat_buf_peek(&bytes);
	if (rc == SAT_OK)
		rc = sat_changeset_head(p.bytes, &p.head, err);
	if (rc == SAT_OK)
		rc = sat_store_device_get(e->store, dot.replica, &p.device,
					  err);
	if (rc == SAT_OK)
		rc = sat_author_get(e, &p.device, &p.author, err);
	if (rc == SAT_E_DENIED) { /* until the user is back */
		rc = SAT_OK;
		goto out;
	}
	if (rc == SAT_OK)
		rc = parked_clock(&p, &from, err);
	if (rc == SAT_OK && is_void(&p))
		*ret_done = true; /* its verdict is as good as any */
	else if (rc == SAT_OK)
		rc = settle_parked(&p, ret_done, err);
out:
	sat_arena_fini(&p.decode);
	sat_buf_fini(&bytes);
	if (rc != SAT_OK && (p.writing || sat_engine_ends_group(rc)))
		return sat_engine_spoil(e, rc);
	return rc;
}

/* As long as one that is decided lets another one follow, but boundedly: the
 * next push goes on. */
int sat_push_retry(struct sat_engine *e, uint32_t tries, struct sat_err *err)
{
	struct sat_arena a;
	bool moved = true, done;
	int rc = SAT_OK;

	sat_arena_init(&a, (size_t)64 << 20);
	while (rc == SAT_OK && moved && tries > 0) {
		moved = false;
		for (uint32_t i = 0; i < e->recover.park_count; i++) {
			struct sat_park *k = &e->recover.parks[i];

			if (k->next > k->last || tries == 0)
				continue;
			tries--;
			sat_arena_reset(&a);
			rc = try_parked(e,
					(struct sat_dot){ k->replica, k->next },
					&a, &done, err);
			if (rc != SAT_OK)
				break;
			k->next += done;
			e->recover.moved = e->recover.moved || done;
			moved = moved || done;
		}
	}
	sat_arena_fini(&a);
	return rc;
}

int sat_engine_push(struct sat_engine *e, const struct sat_push_from *from,
		    struct sat_slice bytes, struct sat_arena *a,
		    struct sat_msg_verdict *ret, struct sat_msg_error *refusal,
		    struct sat_err *err)
{
	struct push p = { .e = e, .from = from, .bytes = bytes, .arena = a };
	int rc;

	SAT_ASSERT(e->in_group);
	rc = check_device(&p, refusal, err);
	if (rc == SAT_OK)
		rc = check_chain(&p, refusal, err);
	if (rc == SAT_AGAIN)
		return replay(&p, ret, refusal, err);
	if (rc != SAT_OK)
		return rc;
	p.parked = !is_void(&p) && sat_recover_waiting(e, from->replica);
	sat_arena_init(&p.decode, (size_t)SAT_CHANGESET_BYTES_MAX * 33);
	rc = decide(&p, ret, err);
	sat_arena_fini(&p.decode);
	if (rc == SAT_OK && !p.parked && e->recover.park_count > 0)
		return sat_push_retry(e, RETRIES_MAX, err);
	/* what failed halfway through the verdict must not be committed */
	if (rc != SAT_OK && (p.writing || sat_engine_ends_group(rc)))
		return sat_engine_spoil(e, rc);
	return rc;
}
