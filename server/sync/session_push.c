#include "server/sync/session_parts.h"

#include <string.h>

#include "common/meta.h"

/* Changesets coming in, in parts, and their results going out in order. */

static void complete(struct sat_ssession *s, const uint8_t hash[16])
{
	uint8_t real[16];

	sat_hash_pack(sat_hash_bytes(sat_buf_peek(&s->push)), real);
	if (memcmp(real, hash, sizeof real) != 0) {
		sat_ssession_broken(s, SAT_WIRE_PROTOCOL,
				    "hash of a changeset is wrong");
		return;
	}
	s->push_whole = true;
	if (!s->reserving)
		s->push_owed = true;
}

/* NULL when the part fits what came before it. */
static const char *misfit(const struct sat_ssession *s,
			  const struct sat_msg_push *p)
{
	uint64_t have = s->push.len - s->push.head;

	if (p->part != s->push_part)
		return "part of a changeset out of order";
	if (p->part != 0 && p->total != s->push_total)
		return "total of a changeset changed";
	if (p->bytes.len == 0 || p->bytes.len > p->total - have)
		return "part of a changeset has a wrong length";
	if (p->last != (have + p->bytes.len == p->total))
		return "last part of a changeset is not where it ends";
	return NULL;
}

static void take_part(struct sat_ssession *s, const struct sat_msg_push *p)
{
	const char *why = misfit(s, p);
	struct sat_msg_error busy = { .code = SAT_WIRE_BUSY,
				      .transient = true,
				      .text = sat_slice_str("out of memory") };

	if (why != NULL) {
		sat_ssession_broken(s, SAT_WIRE_PROTOCOL, why);
		return;
	}
	if (p->part == 0) {
		s->push_total = p->total;
		s->reserve_owed = s->reserving = true;
	}
	if (sat_buf_append(&s->push, p->bytes.ptr, p->bytes.len) != SAT_OK) {
		sat_ssession_refuse(s, &busy);
		return;
	}
	s->push_part++;
	s->part_ms = s->now_ms;
	if (p->last)
		complete(s, p->hash);
}

void sat_ssession_on_push(struct sat_ssession *s, const struct sat_msg_push *p)
{
	if (p->total == 0 || p->total > SAT_CHANGESET_BYTES_MAX ||
	    p->bytes.len > SAT_SSESSION_PART_BYTES_MAX) {
		sat_ssession_broken(s, SAT_WIRE_LIMIT,
				    "changeset or part too large");
		return;
	}
	if (s->wipe_sent)
		return; /* too late, or given up */
	s->credit_owed += p->bytes.len;
	/* Sent behind HELLO before the device knew that we have it: its
	 * verdict was replayed. */
	if (p->seq <= s->server_last)
		return;
	if (s->resync && (p->seq != s->push_next || p->part != 0))
		return;
	s->resync = false;
	if (p->seq != s->push_next) {
		sat_ssession_broken(s, SAT_WIRE_SEQ,
				    "gap in changeset numbers");
		return;
	}
	take_part(s, p);
}

/* The disk is full: nothing was applied. The device hears it and tries again
 * from this changeset; what it sent meanwhile is dropped. */
static void on_full(struct sat_ssession *s, uint64_t seq, uint32_t retry_ms)
{
	s->resync = s->was_full = true;
	s->push_next = s->verdict_next = seq;
	s->full_retry_ms =
		retry_ms != 0 ? retry_ms : SAT_SSESSION_FULL_RETRY_MS;
	if (s->push_part != 0)
		s->drop_owed += s->push_total;
	s->push_part = 0;
	s->push_total = 0;
	s->reserve_owed = s->reserving = false;
	s->push_whole = s->push_owed = false;
	sat_buf_fini(&s->push);
	sat_buf_init(&s->push, SAT_CHANGESET_BYTES_MAX);
}

void sat_ssession_on_push_done(struct sat_ssession *s,
			       const struct sat_ssession_event *ev)
{
	static const struct sat_msg_error late = {
		.code = SAT_WIRE_INTERNAL,
		.transient = true,
	};

	SAT_ASSERT(s->pushes_out > 0);
	s->pushes_out--;
	if (s->state == SAT_SSESSION_CLOSED)
		return;
	if (ev->seq != s->verdict_next) {
		/* Behind one that met the full disk: dropped with it. */
		if (!s->was_full)
			sat_ssession_refuse(s, &late);
		return;
	}
	if (ev->error != NULL) {
		if (ev->error->code == SAT_WIRE_FULL)
			on_full(s, ev->seq, ev->error->retry_ms);
		else
			sat_ssession_refuse(s, ev->error);
		return;
	}
	s->verdict_next++;
	s->owed = true;
	if (!s->reading || s->state == SAT_SSESSION_DRAINING)
		s->frames = ev->frames;
	else if (sat_buf_append(&s->held, ev->frames.ptr, ev->frames.len) !=
		 SAT_OK)
		sat_ssession_refuse(s, &late); /* they are replayed next time */
}
