/* feed.h - reading the feed for one device: pages and checkpoints (SYNC 5).
 *
 * Runs on a reader thread with a reader store. A pull is a series of reads,
 * each in its own short snapshot: pass 1 reads every granted scope from the
 * cursor to the head as it was when the pass began; rows that move meanwhile
 * are found by the next pass; the pass that reads everything up to its
 * snapshot's head within one snapshot ends with a CHECKPOINT of that
 * snapshot.
 */
#ifndef SAT_FEED_H
#define SAT_FEED_H

#include "proto/message.h"
#include "server/feed/cache.h"
#include "server/store/store.h"

/* Where a pull stands; all zero but `cursor` to start one. */
struct sat_feed_at {
	uint64_t cursor; /* device's cursor when the pass began            */
	uint64_t upto;   /* head when the pass began, 0: start a pass      */
	uint32_t scope;  /* index in rights.scopes                         */
	uint64_t seq;    /* last entry of that scope read in this pass     */
	bool fill;       /* fresh scopes are read from 0 in this pass      */
};

/* A position as the device keeps it, to go on there after a cut: what MARK
 * carries and HELLO gives back. It names no rows: whatever a device makes of
 * it, the scopes are those of its rights. */
struct sat_feed_mark {
	uint64_t epoch;
	uint32_t version; /* of the rights, and of those it had when the  */
	uint32_t base;    /* last checkpoint came                         */
	struct sat_feed_at at;
};
enum { SAT_FEED_MARK_BYTES = 46 };
void sat_feed_mark_pack(const struct sat_feed_mark *m,
			uint8_t out[SAT_FEED_MARK_BYTES]);
/* False when the bytes are no mark. */
bool sat_feed_mark_unpack(struct sat_slice in, struct sat_feed_mark *ret);

struct sat_feed_ask {
	uint32_t replica;
	const struct sat_rights *rights;
	struct sat_feed_at at;
	/* Scopes the device did not have at its cursor, sorted: with at.fill
	 * they are read from the start, and nothing else is. */
	const uint32_t *fresh;
	uint32_t fresh_count;
	uint64_t epoch; /* these two for MARK */
	uint32_t base;
	bool live;        /* device has a checkpoint: suppress its echoes */
	uint64_t told;    /* its last changeset whose verdict went out before
			     this read: echoes of later ones are not
			     suppressed, the device does not know yet that
			     the server has exactly what it has           */
	size_t bytes_max; /* stop after about so many bytes of frames     */
	int64_t now_ms;
	/* Pages of the first pass of a device that has nothing yet depend on
	 * nobody: they are kept here and taken from here. May be NULL. */
	struct sat_page_cache *cache;
};

enum { SAT_FEED_DAMAGED_MAX = 16 };

struct sat_feed_answer {
	/* Rows that are damaged: they were left out, and devices keep what
	 * they have. The first ones; others are met again. */
	struct sat_row_name damaged[SAT_FEED_DAMAGED_MAX];
	uint32_t damaged_count;
	struct sat_buf frames; /* ROWS, EVICT and CHECKPOINT frames, in order,
				  or MARK at the end; initialised by the
				  caller                                   */
	size_t data_bytes;     /* frame bytes of ROWS and EVICT: what the
				  receiver credits                         */
	struct sat_feed_at at; /* go on here                               */
	bool checkpoint;       /* the last frame is a CHECKPOINT           */
	uint64_t cursor;       /* its cursor                               */
};

/* SAT_OK, SAT_E_IO, SAT_E_NOMEM, SAT_E_DENIED (the second gate refused a
 * row: close the connection and raise the alarm). */
int sat_feed_read(struct sat_store *reader, struct sat_zip *zip,
		  const struct sat_feed_ask *ask, struct sat_feed_answer *ret,
		  struct sat_err *err) SAT_MUST_CHECK;

#endif
