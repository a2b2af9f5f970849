#include "server/commit/recover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commit/core.h"

#define KEY_RECOVERY "recovery"
#define KEY_EPOCHS   "epochs"

enum {
	/* positions skipped after a rollback: more than a group commit that
	 * was lost can have used */
	EPOCH_GAP = 1000000,
	REPLICA_GAP = 16,
	SELVES_MAX = 65536,
	PARKS_MAX = 1000000,
	PARK_BYTES = 28,
	RECOVERY_BYTES_MAX = 64 * 1024 * 1024,
	EPOCH_BYTES = 16, /* of one that ended: its id, the head then */
	EPOCHS_MAX = 1024,
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "recovery", "out of memory");
}

/* ---- as one setting ------------------------------------------------------ */

/* open u8, since u64, count u32 of ids, ids u32, then parks; big-endian. */
static int put_number(struct sat_buf *b, uint64_t v, unsigned bytes)
{
	uint8_t out[8];

	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
	return sat_buf_append(b, out, bytes);
}

static bool take_number(struct sat_slice *s, unsigned bytes, uint64_t *ret)
{
	if (s->len < bytes)
		return false;
	*ret = 0;
	for (unsigned i = 0; i < bytes; i++)
		*ret = *ret << 8 | s->ptr[i];
	s->ptr += bytes;
	s->len -= bytes;
	return true;
}

static int write_park(struct sat_buf *b, const struct sat_park *k)
{
	int rc = put_number(b, k->replica, 4);

	if (rc == SAT_OK)
		rc = put_number(b, k->first, 8);
	if (rc == SAT_OK)
		rc = put_number(b, k->next, 8);
	return rc == SAT_OK ? put_number(b, k->last, 8) : rc;
}

int sat_recover_save(struct sat_engine *e, struct sat_err *err)
{
	struct sat_recover *r = &e->recover;
	struct sat_buf b;
	int rc;

	if (!r->moved)
		return SAT_OK;
	sat_buf_init(&b, RECOVERY_BYTES_MAX);
	rc = put_number(&b, r->open, 1);
	if (rc == SAT_OK)
		rc = put_number(&b, (uint64_t)r->since_ms, 8);
	if (rc == SAT_OK)
		rc = put_number(&b, r->self_count, 4);
	for (uint32_t i = 0; rc == SAT_OK && i < r->self_count; i++)
		rc = put_number(&b, r->selves[i], 4);
	for (uint32_t i = 0; rc == SAT_OK && i < r->park_count; i++)
		rc = write_park(&b, &r->parks[i]);
	if (rc == SAT_OK)
		rc = sat_store_setting_put(e->store, KEY_RECOVERY,
					   sat_buf_peek(&b), err);
	else
		rc = no_memory(err);
	sat_buf_fini(&b);
	r->moved = rc != SAT_OK;
	return rc;
}

static bool read_park(struct sat_slice *s, struct sat_park *k)
{
	uint64_t replica;

	if (!take_number(s, 4, &replica) || !take_number(s, 8, &k->first) ||
	    !take_number(s, 8, &k->next) || !take_number(s, 8, &k->last))
		return false;
	k->replica = (uint32_t)replica;
	return k->first > 0 && k->first <= k->next && k->next <= k->last + 1;
}

/* SAT_E_CORRUPT: not what save wrote. */
static int parse(struct sat_slice s, struct sat_recover *r)
{
	uint64_t open, since, count, id;

	if (!take_number(&s, 1, &open) || !take_number(&s, 8, &since) ||
	    !take_number(&s, 4, &count) || count > SELVES_MAX ||
	    s.len < count * 4 || (s.len - count * 4) % PARK_BYTES != 0)
		return SAT_E_CORRUPT;
	r->open = open != 0;
	r->since_ms = (int64_t)since;
	r->selves = malloc((size_t)(count + 1) * sizeof *r->selves);
	if (r->selves == NULL)
		return SAT_E_NOMEM;
	while (r->self_count < count && take_number(&s, 4, &id))
		r->selves[r->self_count++] = (uint32_t)id;
	count = s.len / PARK_BYTES;
	r->parks = malloc((size_t)(count + 1) * sizeof *r->parks);
	if (r->parks == NULL)
		return SAT_E_NOMEM;
	for (; r->park_count < count; r->park_count++) {
		if (!read_park(&s, &r->parks[r->park_count]))
			return SAT_E_CORRUPT;
	}
	return SAT_OK;
}

static int load(struct sat_store *s, struct sat_recover *ret,
		struct sat_err *err)
{
	struct sat_recover r = { .open = false };
	struct sat_buf b;
	int rc;

	sat_buf_init(&b, RECOVERY_BYTES_MAX);
	rc = sat_store_setting_get(s, KEY_RECOVERY, &b, err);
	if (rc == SAT_OK) {
		rc = parse(sat_buf_peek(&b), &r);
		if (rc != SAT_OK)
			(void)sat_err_set(err, rc, 0, "recovery",
					  "the setting recovery is damaged");
	} else if (rc == SAT_E_NOTFOUND) {
		rc = SAT_OK;
	}
	sat_buf_fini(&b);
	if (rc == SAT_OK)
		*ret = r;
	else
		sat_recover_fini(&r);
	return rc;
}

int sat_recover_load(struct sat_engine *e, struct sat_err *err)
{
	struct sat_recover r;
	int rc = load(e->store, &r, err);

	if (rc != SAT_OK)
		return rc;
	sat_recover_fini(&e->recover);
	e->recover = r;
	return SAT_OK;
}

void sat_recover_fini(struct sat_recover *r)
{
	free(r->selves);
	free(r->parks);
	*r = (struct sat_recover){ .open = false };
}

/* ---- a new epoch ----------------------------------------------------------
 */

int sat_engine_old_self(struct sat_engine *e, uint32_t replica,
			struct sat_err *err)
{
	struct sat_recover *r = &e->recover;
	uint32_t *more;

	for (uint32_t i = 0; i < r->self_count; i++) {
		if (r->selves[i] == replica)
			return SAT_OK;
	}
	if (replica == e->self || r->self_count == SELVES_MAX)
		return SAT_OK;
	more = realloc(r->selves, (r->self_count + 1) * sizeof *more);
	if (more == NULL)
		return no_memory(err);
	more[r->self_count++] = replica;
	r->selves = more;
	r->moved = true;
	return SAT_OK;
}

static uint64_t other_epoch(const struct sat_engine *e,
			    const uint8_t random[16])
{
	struct sat_hash mixed =
		sat_hash_bytes((struct sat_slice){ random, 16 });

	return mixed.low != 0 && mixed.low != e->epoch ? mixed.low
						       : e->epoch + 1;
}

static int read_epochs(struct sat_engine *e, struct sat_buf *b,
		       struct sat_err *err)
{
	int rc = sat_store_setting_get(e->store, KEY_EPOCHS, b, err);

	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

/* The history that ends here, and where: of what it gave out later this one
 * knows nothing. */
static int note_epoch(struct sat_engine *e, struct sat_err *err)
{
	struct sat_slice all;
	struct sat_buf b;
	int rc;

	sat_buf_init(&b, (EPOCHS_MAX + 1) * EPOCH_BYTES);
	rc = read_epochs(e, &b, err);
	if (rc == SAT_OK && (put_number(&b, e->epoch, 8) != SAT_OK ||
			     put_number(&b, e->head, 8) != SAT_OK))
		rc = no_memory(err);
	all = sat_buf_peek(&b);
	if (all.len > EPOCHS_MAX * EPOCH_BYTES) { /* the oldest is unknown */
		all.ptr += EPOCH_BYTES;
		all.len -= EPOCH_BYTES;
	}
	if (rc == SAT_OK)
		rc = sat_store_setting_put(e->store, KEY_EPOCHS, all, err);
	sat_buf_fini(&b);
	return rc;
}

int sat_recover_common(struct sat_engine *e, uint64_t epoch, uint64_t *ret,
		       struct sat_err *err)
{
	uint64_t id, head, common = 0;
	struct sat_slice all;
	struct sat_buf b;
	int rc;

	sat_buf_init(&b, (EPOCHS_MAX + 1) * EPOCH_BYTES);
	rc = read_epochs(e, &b, err);
	all = sat_buf_peek(&b);
	while (take_number(&all, 8, &id) && take_number(&all, 8, &head)) {
		if (id == epoch)
			common = head;
	}
	sat_buf_fini(&b);
	*ret = common;
	return rc;
}

int sat_engine_new_epoch(struct sat_engine *e,
			 const struct sat_epoch_start *how, struct sat_err *err)
{
	uint64_t past = how->past > e->head ? how->past : e->head;
	uint32_t next = how->past_replica >= e->next_replica ? how->past_replica
							     : e->next_replica;
	uint32_t old = e->self;
	char detail[160];

	SAT_ASSERT(e->in_group);
	if (next > UINT32_MAX - 2 * REPLICA_GAP ||
	    past > (uint64_t)INT64_MAX - EPOCH_GAP)
		return sat_err_set(err, SAT_E_LIMIT, 0, "epoch",
				   "numbers are used up");
	if (how->past_replica >= e->next_replica)
		next += REPLICA_GAP;
	if (note_epoch(e, err) != SAT_OK)
		return err->rc;
	e->epoch_head = e->head;
	e->head = past + EPOCH_GAP;
	e->epoch = other_epoch(e, how->random);
	e->self = next;
	e->next_replica = next + 1;
	e->self_seq = 0;
	e->settings_moved = true;
	e->recover.open = true;
	e->recover.since_ms = e->now_ms;
	e->recover.moved = true;
	if (sat_engine_old_self(e, old, err) != SAT_OK)
		return err->rc;
	(void)snprintf(detail, sizeof detail, "{\"why\":\"%.100s\"}", how->why);
	return sat_store_audit(e->store, e->now_ms, "server", "new epoch",
			       sat_slice_str(detail), err);
}

int sat_engine_adopt(struct sat_engine *e, const struct sat_identity *who,
		     const uint8_t key_hash[32], struct sat_err *err)
{
	struct sat_device d = { .replica = who->replica,
				.user = who->user,
				.state = SAT_DEVICE_ACTIVE,
				.enrolled_ms = e->now_ms,
				.seen_ms = e->now_ms,
				.name = "known by its certificate" };
	struct sat_user user;
	int rc;

	SAT_ASSERT(e->in_group);
	rc = sat_store_device_get(e->store, who->replica, &d, err);
	if (rc != SAT_E_NOTFOUND || e->recover.self_count == 0 ||
	    who->replica == UINT32_MAX)
		return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
	rc = sat_store_user_get(e->store, &who->user, &user, err);
	if (rc == SAT_E_NOTFOUND || (rc == SAT_OK && !user.active))
		return SAT_OK;
	if (rc != SAT_OK)
		return rc;
	memcpy(d.key_hash, key_hash, sizeof d.key_hash);
	rc = sat_store_device_put(e->store, &d, err);
	if (rc != SAT_OK)
		return rc;
	if (who->replica >= e->next_replica) {
		e->next_replica = who->replica + 1;
		e->settings_moved = true;
	}
	return sat_store_audit(e->store, e->now_ms, user.login,
			       "device adopted by its certificate",
			       sat_slice_str("{}"), err);
}

/* ---- parks --------------------------------------------------------------- */

static void count_parked(const struct sat_recover *r,
			 struct sat_recovery_status *ret)
{
	*ret = (struct sat_recovery_status){ .open = r->open,
					     .since_ms = r->since_ms };
	for (uint32_t i = 0; i < r->park_count; i++)
		ret->parked += r->parks[i].last + 1 - r->parks[i].next;
}

void sat_engine_recovery(const struct sat_engine *e,
			 struct sat_recovery_status *ret)
{
	count_parked(&e->recover, ret);
}

int sat_recovery_stored(struct sat_store *s, struct sat_recovery_status *ret,
			struct sat_err *err)
{
	struct sat_recover r;
	int rc = load(s, &r, err);

	if (rc != SAT_OK)
		return rc;
	count_parked(&r, ret);
	sat_recover_fini(&r);
	return SAT_OK;
}

struct sat_park *sat_recover_find(struct sat_engine *e, uint32_t replica)
{
	for (uint32_t i = 0; i < e->recover.park_count; i++) {
		if (e->recover.parks[i].replica == replica)
			return &e->recover.parks[i];
	}
	return NULL;
}

bool sat_recover_waiting(struct sat_engine *e, uint32_t replica)
{
	const struct sat_park *k = sat_recover_find(e, replica);

	return k != NULL && k->next <= k->last;
}

int sat_recover_park(struct sat_engine *e, struct sat_dot dot,
		     struct sat_err *err)
{
	struct sat_recover *r = &e->recover;
	struct sat_park *k = sat_recover_find(e, dot.replica), *more;

	r->moved = true;
	if (k != NULL) {
		/* others may lie between that were decided at once */
		if (k->next > k->last)
			k->next = dot.seq;
		k->last = dot.seq;
		return SAT_OK;
	}
	if (r->park_count == PARKS_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "recovery",
				   "too many devices wait");
	more = realloc(r->parks, (r->park_count + 1) * sizeof *more);
	if (more == NULL)
		return no_memory(err);
	more[r->park_count++] =
		(struct sat_park){ dot.replica, dot.seq, dot.seq, dot.seq };
	r->parks = more;
	return SAT_OK;
}

uint64_t sat_recover_known(struct sat_engine *e, uint32_t replica,
			   uint64_t upto, bool hello)
{
	struct sat_recover *r = &e->recover;
	struct sat_park *k = sat_recover_find(e, replica);

	if (k == NULL || upto < k->first)
		return upto;
	if (!hello)
		return k->first - 1;
	/* HELLO stops before the first that the device knows as parked */
	r->moved = true;
	k->first = upto + 1 < k->next ? upto + 1 : k->next;
	if (upto >= k->last && k->next > k->last)
		*k = r->parks[--r->park_count];
	return upto;
}

bool sat_recover_waits(const struct sat_engine *e, enum sat_reason reason)
{
	return e->recover.open &&
	       (reason == SAT_REASON_FORGED || reason == SAT_REASON_GONE ||
		reason == SAT_REASON_PARENT);
}

static bool never_back(const struct sat_recover *r, uint32_t replica)
{
	if (!r->open)
		return true;
	for (uint32_t i = 0; i < r->self_count; i++) {
		if (r->selves[i] == replica)
			return true;
	}
	return false;
}

int sat_recover_clip(const struct sat_engine *e, struct sat_arena *a,
		     struct sat_vv have, uint32_t author,
		     struct sat_vv *context)
{
	struct sat_dot *dots = sat_arena_array(a, context->count, sizeof *dots);
	uint32_t n = 0;

	if (dots == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < context->count; i++) {
		struct sat_dot seen = context->dots[i];

		if (seen.replica != author && !sat_vv_covers(have, seen) &&
		    never_back(&e->recover, seen.replica))
			seen.seq = sat_vv_get(have, seen.replica);
		if (seen.seq > 0)
			dots[n++] = seen;
	}
	*context = (struct sat_vv){ dots, n };
	return SAT_OK;
}

int sat_engine_recovery_close(struct sat_engine *e, struct sat_err *err)
{
	SAT_ASSERT(e->in_group);
	e->recover.open = false;
	e->recover.moved = true;
	return sat_push_retry(e, UINT32_MAX, err);
}
