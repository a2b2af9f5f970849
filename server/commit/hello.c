#include <string.h>

#include "server/commit/collect.h"
#include "server/commit/core.h"
#include "server/commit/wipe.h"

enum {
	PUSH_WINDOW = 1024 * 1024,
	/* a device cannot have seen more positions than this beyond ours */
	BELIEVED_GAP = 1000000000,
};

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

/* Is this the device it says it is, and may its user still sync? */
static int check_identity(struct sat_engine *e, const struct sat_device *d,
			  const uint8_t key_hash[32],
			  const struct sat_msg_hello *h,
			  const struct sat_author **ret,
			  struct sat_msg_error *refusal, struct sat_err *err)
{
	int rc;

	if (memcmp(d->key_hash, key_hash, sizeof d->key_hash) != 0 ||
	    h->replica != d->replica)
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_UNKNOWN,
				   "unknown device");
	if (d->state == SAT_DEVICE_REVOKED)
		return sat_refusal(refusal, err, SAT_E_DENIED, SAT_WIRE_REVOKED,
				   "this device was revoked");
	rc = sat_author_get(e, d, ret, err);
	if (rc == SAT_E_DENIED)
		return sat_refusal(refusal, err, rc, SAT_WIRE_REVOKED,
				   "this user's access has ended");
	return rc;
}

static int check_versions(struct sat_engine *e, const struct sat_msg_hello *h,
			  struct sat_msg_error *refusal, struct sat_err *err)
{
	if (h->version_min > SAT_PROTOCOL_VERSION ||
	    h->version_max < SAT_PROTOCOL_VERSION)
		return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_VERSION,
				   "no common protocol version");
	if (h->catalogue > e->plan.cat->version)
		return sat_refusal(refusal, err, SAT_E_PROTO,
				   SAT_WIRE_CATALOGUE,
				   "the device's catalogue is newer than the "
				   "server's");
	return SAT_OK;
}

/* The device saw what this database does not hold: history was lost, so this
 * is another history from here on (SYNC section 10). */
static bool rolled_back(const struct sat_engine *e, const struct sat_device *d,
			const struct sat_msg_hello *h)
{
	return h->epoch == e->epoch &&
	       (h->cursor > e->head || h->verdict_seq > d->last_seq);
}

static int check_epoch(struct sat_engine *e, const struct sat_device *d,
		       const struct sat_msg_hello *h, const uint8_t random[16],
		       struct sat_msg_error *refusal, struct sat_err *err)
{
	struct sat_epoch_start how = { .why = "a device had seen later "
					      "positions or verdicts",
				       .past = h->cursor,
				       .past_replica = h->replica,
				       .random = random };

	if (h->cursor > e->head && h->cursor - e->head > BELIEVED_GAP)
		return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_PROTOCOL,
				   "a cursor that no server has given");
	if (rolled_back(e, d, h))
		return sat_engine_new_epoch(e, &how, err);
	/* of a lost history that was longer than the journal says */
	if (h->epoch != 0 && h->epoch != e->epoch && h->cursor > e->head)
		e->head = h->cursor;
	return SAT_OK;
}

/* Two devices with one replica id: the ratchet or the chain tells. A device
 * of an older history cannot know this history's ratchet. */
static int check_copy(const struct sat_engine *e, const struct sat_device *d,
		      const struct sat_msg_hello *h,
		      struct sat_msg_error *refusal, struct sat_err *err)
{
	bool fork = h->last_seq < d->last_seq;

	if (h->last_seq == d->last_seq && d->last_seq > 0)
		fork = memcmp(h->last_hash, d->last_hash,
			      sizeof d->last_hash) != 0;
	if (h->epoch == e->epoch && !all_zero(d->ratchet, 16) &&
	    memcmp(h->ratchet, d->ratchet, 16) != 0 &&
	    memcmp(h->ratchet, d->ratchet_new, 16) != 0)
		fork = true;
	if (!fork)
		return SAT_OK;
	return sat_refusal(refusal, err, SAT_E_PROTO, SAT_WIRE_FORKED,
			   "this device is a copy of another one");
}

/* Verdicts that the device has stored need not be told again. */
static int verdicts_stored(struct sat_engine *e, struct sat_device *d,
			   uint64_t upto, struct sat_err *err)
{
	if (upto <= d->verdict_seq || upto > d->last_seq)
		return SAT_OK;
	d->verdict_seq = upto;
	return sat_store_verdicts_drop(e->store, d->replica, upto, err);
}

/* A ratchet shown is a ratchet kept; the next one waits for its proof. */
static int turn_ratchet(struct sat_engine *e, struct sat_device *d,
			const struct sat_msg_hello *h, const uint8_t random[16],
			struct sat_err *err)
{
	int rc;

	if (!all_zero(d->ratchet_new, 16) &&
	    memcmp(h->ratchet, d->ratchet_new, 16) == 0)
		memcpy(d->ratchet, d->ratchet_new, 16);
	memcpy(d->ratchet_new, random, 16);
	rc = verdicts_stored(
		e, d, sat_recover_known(e, d->replica, h->verdict_seq, true),
		err);
	d->seen_ms = e->now_ms;
	if (rc == SAT_OK && h->epoch == e->epoch)
		rc = sat_collect_passed(e, d, h->cursor, h->last_seq, err);
	return rc == SAT_OK ? sat_store_device_put(e->store, d, err) : rc;
}

static int copy_rights(const struct sat_rights *from, struct sat_arena *a,
		       struct sat_rights *ret)
{
	uint32_t *scopes =
		sat_arena_array(a, from->scope_count, sizeof *scopes);

	if (scopes == NULL)
		return SAT_E_NOMEM;
	memcpy(scopes, from->scopes, from->scope_count * sizeof *scopes);
	*ret = *from;
	ret->scopes = scopes;
	return SAT_OK;
}

/* A device's clock is a peer's word: no value of it may overflow. */
static int64_t offset_of(int64_t server_ms, int64_t raw_ms)
{
	const int64_t far = INT64_MAX / 2;

	if (raw_ms < -far)
		raw_ms = -far;
	if (raw_ms > far)
		raw_ms = far;
	return server_ms - raw_ms;
}

int sat_engine_hello(struct sat_engine *e, uint32_t replica,
		     const uint8_t key_hash[32],
		     const struct sat_msg_hello *hello,
		     const uint8_t random[16], struct sat_arena *a,
		     struct sat_msg_welcome *ret, struct sat_msg_error *refusal,
		     struct sat_err *err)
{
	const struct sat_author *author = NULL;
	struct sat_device d;
	int rc;

	SAT_ASSERT(e->in_group);
	rc = sat_store_device_get(e->store, replica, &d, err);
	if (rc == SAT_E_NOTFOUND)
		return sat_refusal(refusal, err, rc, SAT_WIRE_UNKNOWN,
				   "unknown device");
	if (rc == SAT_OK)
		rc = check_identity(e, &d, key_hash, hello, &author, refusal,
				    err);
	if (rc == SAT_OK)
		rc = check_versions(e, hello, refusal, err);
	if (rc == SAT_OK)
		rc = check_epoch(e, &d, hello, random, refusal, err);
	if (rc == SAT_OK)
		rc = check_copy(e, &d, hello, refusal, err);
	if (rc == SAT_OK)
		rc = turn_ratchet(e, &d, hello, random, err);
	if (rc != SAT_OK)
		return rc;
	*ret = (struct sat_msg_welcome){
		.version = SAT_PROTOCOL_VERSION,
		.epoch = e->epoch,
		.head = e->head,
		.last_seq = d.last_seq,
		.catalogue = e->plan.cat->version,
		.server_ms = e->now_ms,
		.offset_ms = offset_of(e->now_ms, hello->raw_ms),
		.push_window = PUSH_WINDOW,
	};
	memcpy(ret->ratchet, random, 16);
	if (hello->epoch != 0 && hello->epoch != e->epoch) {
		rc = sat_recover_common(e, hello->epoch, &ret->head, err);
		if (rc != SAT_OK)
			return rc;
	}
	if (d.state == SAT_DEVICE_WIPING) {
		rc = sat_wipe_discards(e->store, replica, &ret->discard, err);
		if (rc != SAT_OK)
			return rc;
		ret->wipe = true;
	}
	if (copy_rights(&author->rights, a, &ret->rights) != SAT_OK)
		return sat_err_set(err, SAT_E_NOMEM, 0, "hello",
				   "out of memory");
	return SAT_OK;
}

int sat_engine_confirm(struct sat_engine *e, uint32_t replica,
		       const struct sat_msg_credit *c, struct sat_err *err)
{
	struct sat_device d;
	int rc;

	SAT_ASSERT(e->in_group);
	rc = sat_store_device_get(e->store, replica, &d, err);
	if (rc != SAT_OK)
		return rc;
	rc = verdicts_stored(
		e, &d, sat_recover_known(e, replica, c->verdict_seq, false),
		err);
	if (rc != SAT_OK)
		return rc;
	if (c->cursor > d.cursor && c->cursor <= e->head)
		d.cursor = c->cursor;
	if (c->has_ratchet && !all_zero(d.ratchet_new, 16) &&
	    memcmp(c->ratchet, d.ratchet_new, 16) == 0)
		memcpy(d.ratchet, d.ratchet_new, 16);
	d.seen_ms = e->now_ms;
	if (c->cursor > 0 && c->cursor <= e->head)
		rc = sat_collect_passed(e, &d, c->cursor, c->last_seq, err);
	return rc == SAT_OK ? sat_store_device_put(e->store, &d, err) : rc;
}
