/* repair.h - answering what a device asks when its digest differs
 * (PROTOCOL.md section 17).
 *
 * Runs on a reader thread with a reader store. Sums and lists go through the
 * feed of one scope, a bounded piece of it at a time: a large scope keeps a
 * reader no longer than a page of rows does. Both gates stand: what is not in
 * a granted scope is neither counted, listed nor sent.
 */
#ifndef SAT_FEED_REPAIR_H
#define SAT_FEED_REPAIR_H

#include "proto/message.h"
#include "server/store/store.h"

enum {
	SAT_REPAIR_SLICE = 8192,            /* feed entries in one go       */
	SAT_REPAIR_SEND_BYTES = 512 * 1024, /* rows in one answer, about    */
};

/* An ask being answered; the owner's memory, zeroed before init. */
struct sat_repair {
	const struct sat_rights *rights; /* borrowed */
	struct sat_msg_repair ask;       /* its lists borrowed */
	uint64_t after, upto;            /* in the scope's feed */
	struct sat_hash sums[SAT_REPAIR_RANGES];
	struct sat_buf list;
	bool full;
};

void sat_repair_init(struct sat_repair *x, const struct sat_rights *rights,
		     const struct sat_msg_repair *ask);
void sat_repair_fini(struct sat_repair *x);

/* Do a piece of the work. SAT_AGAIN: call again; SAT_OK: the answer's frames
 * were appended to out, *ret_data are those of ROWS and EVICT; SAT_E_DENIED
 * (the second gate refused a row), SAT_E_IO, SAT_E_NOMEM, SAT_E_CORRUPT. */
int sat_repair_step(struct sat_repair *x, struct sat_store *reader,
		    struct sat_zip *zip, struct sat_buf *out, size_t *ret_data,
		    struct sat_err *err) SAT_MUST_CHECK;

#endif
