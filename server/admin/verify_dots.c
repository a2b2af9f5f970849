#include "server/admin/verify_dots.h"

#include <string.h>

#include "proto/changeset.h"
#include "proto/message.h"
#include "server/commit/refused.h"

struct dots {
	struct sat_store *store;
	const struct sat_catalogue *catalogue;
	sat_dot_finding_cb cb;
	void *arg;
	struct sat_dots_checked done;
	struct sat_arena changeset, delta;
	struct sat_buf bytes;
	uint8_t chain[16]; /* hash of the one before */
	bool chained;
};

/* ---- one changeset's writes ---------------------------------------------- */

static int row_covers(struct dots *x, const struct sat_delta *d,
		      struct sat_dot dot, bool *ret, struct sat_err *err)
{
	struct sat_stored_row row;
	struct sat_vv vv, dv;
	int rc = sat_store_row_get(x->store, d->table, &d->id, &x->delta, &row,
				   err);

	*ret = false;
	if (rc == SAT_OK && row.seq != 0) {
		rc = sat_meta_vectors(&x->delta, row.meta, &vv, &dv);
		*ret = rc == SAT_OK && sat_vv_covers(vv, dot);
		if (rc == SAT_E_CORRUPT) /* told elsewhere */
			return SAT_OK;
	}
	/* deleted and collected; the id may have come anew since */
	if (rc == SAT_OK && !*ret)
		rc = sat_store_was_collected(x->store, d->table, &d->id, ret,
					     err);
	return rc;
}

/* How many of its writes are in their rows. SAT_E_PROTO: it does not decode. */
static int count_writes(struct dots *x, uint32_t *ret_in, uint32_t *ret_all,
			struct sat_err *err)
{
	struct sat_changeset_where where;
	struct sat_changeset_reader *reader;
	struct sat_changeset head;
	struct sat_delta d;
	bool in;
	int rc;

	*ret_in = *ret_all = 0;
	sat_arena_reset(&x->changeset);
	rc = sat_changeset_open(x->catalogue, sat_buf_peek(&x->bytes),
				&x->changeset, &head, &reader, err);
	while (rc == SAT_OK) {
		sat_arena_reset(&x->delta);
		rc = sat_changeset_next(reader, &x->delta, &d, &where, err);
		if (rc == SAT_AGAIN)
			return SAT_OK;
		if (rc == SAT_OK)
			rc = row_covers(x, &d, head.dot, &in, err);
		if (rc != SAT_OK)
			break;
		++*ret_all;
		*ret_in += in;
	}
	return rc == SAT_E_INVAL || rc == SAT_E_NEWER || rc == SAT_E_LIMIT
		       ? SAT_E_PROTO
		       : rc;
}

/* ---- refused and parked -------------------------------------------------- */

struct verdict {
	uint64_t seq;
	struct sat_arena *arena;
	bool parked;
	struct sat_err *err;
};

static int on_verdict(void *arg, uint64_t seq, struct sat_slice bytes)
{
	struct verdict *v = arg;
	struct sat_msg msg;
	int rc;

	if (seq != v->seq)
		return SAT_AGAIN;
	rc = sat_msg_decode(SAT_MSG_VERDICT, bytes, v->arena, &msg, v->err);
	v->parked = rc == SAT_OK && msg.verdict.status == SAT_VERDICT_PARKED;
	return rc == SAT_OK ? SAT_AGAIN : rc;
}

static int is_parked(struct dots *x, struct sat_dot dot, bool *ret,
		     struct sat_err *err)
{
	struct verdict v = { .seq = dot.seq, .arena = &x->delta, .err = err };
	int rc;

	sat_arena_reset(&x->delta);
	rc = sat_store_verdicts(x->store, dot.replica, dot.seq - 1, on_verdict,
				&v, err);
	*ret = v.parked;
	return rc == SAT_AGAIN ? SAT_OK : rc;
}

/* ---- changesets ---------------------------------------------------------- */

static int check_chain(struct dots *x, struct sat_dot dot,
		       const struct sat_changeset *head, const uint8_t hash[16])
{
	uint8_t is[16];
	int rc = SAT_OK;

	sat_hash_pack(sat_hash_bytes(sat_buf_peek(&x->bytes)), is);
	if (memcmp(is, hash, sizeof is) != 0)
		rc = x->cb(x->arg, dot, "a changeset is not what was received");
	else if (x->chained &&
		 memcmp(head->prev_hash, x->chain, sizeof is) != 0)
		rc = x->cb(x->arg, dot,
			   "a changeset is not chained to the one before it");
	return rc;
}

/* Refused, or in its rows with all its writes, or still parked. That a vector
 * covers the dot of a refused one says nothing: a later write of the same
 * device is enough for that. */
static int check_effect(struct dots *x, struct sat_dot dot, struct sat_err *err)
{
	bool refused = false, parked = false;
	uint32_t in = 0, all = 0;
	int rc = sat_refused_find(x->store, dot, &refused, err);

	x->done.refused += refused;
	if (rc != SAT_OK || refused)
		return rc;
	rc = count_writes(x, &in, &all, err);
	if (rc == SAT_E_PROTO)
		return x->cb(x->arg, dot,
			     "an accepted changeset cannot be read");
	x->done.writes += in;
	if (rc == SAT_OK && in < all)
		rc = is_parked(x, dot, &parked, err);
	if (rc != SAT_OK || in == all || parked)
		return rc;
	return x->cb(x->arg, dot,
		     in == 0 ? "an accepted changeset is not in its rows"
			     : "an accepted changeset is only partly in its "
			       "rows");
}

static int check_one(struct dots *x, struct sat_dot dot, struct sat_err *err)
{
	struct sat_changeset head = { .flags = 0 };
	uint8_t hash[16];
	int rc;

	sat_buf_clear(&x->bytes);
	rc = sat_store_changeset_get(x->store, dot, &x->bytes, hash, err);
	if (rc == SAT_E_NOTFOUND) { /* kept no longer */
		x->chained = false;
		return SAT_OK;
	}
	if (rc != SAT_OK)
		return rc;
	x->done.changesets++;
	if (sat_changeset_head(sat_buf_peek(&x->bytes), &head, err) != SAT_OK)
		rc = x->cb(x->arg, dot, "a changeset is not what was received");
	else if ((head.flags & SAT_CHANGESET_VOID) == 0)
		rc = check_chain(x, dot, &head, hash);
	if (rc == SAT_OK && (head.flags & SAT_CHANGESET_VOID) == 0)
		rc = check_effect(x, dot, err);
	memcpy(x->chain, hash, sizeof x->chain);
	x->chained = true;
	return rc;
}

static int check_device(struct dots *x, const struct sat_device *d,
			struct sat_err *err)
{
	struct sat_dot dot = { d->replica, 1 };
	int rc = SAT_OK;

	memset(x->chain, 0, sizeof x->chain);
	x->chained = true; /* the first one follows zeros */
	for (; rc == SAT_OK && dot.seq <= d->last_seq; dot.seq++)
		rc = check_one(x, dot, err);
	if (rc == SAT_OK && d->last_seq > 0 && x->chained &&
	    memcmp(x->chain, d->last_hash, sizeof x->chain) != 0)
		rc = x->cb(x->arg, (struct sat_dot){ d->replica, d->last_seq },
			   "a device's last changeset is not the one kept");
	return rc;
}

int sat_verify_dots(struct sat_store *s, sat_dot_finding_cb cb, void *arg,
		    struct sat_dots_checked *ret, struct sat_err *err)
{
	struct dots x = { .store = s,
			  .catalogue = sat_store_catalogue(s),
			  .cb = cb,
			  .arg = arg };
	struct sat_device *devices;
	struct sat_arena list;
	uint32_t count;
	int rc;

	sat_arena_init(&list, 256 << 20);
	sat_arena_init(&x.changeset, (size_t)SAT_CHANGESET_BYTES_MAX * 33);
	sat_arena_init(&x.delta, 256 << 20);
	sat_buf_init(&x.bytes, SAT_CHANGESET_BYTES_MAX);
	rc = sat_store_devices(s, &list, &devices, &count, err);
	for (uint32_t i = 0; rc == SAT_OK && i < count; i++)
		rc = check_device(&x, &devices[i], err);
	sat_buf_fini(&x.bytes);
	sat_arena_fini(&x.delta);
	sat_arena_fini(&x.changeset);
	sat_arena_fini(&list);
	*ret = x.done;
	return rc;
}
