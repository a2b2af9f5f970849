/* past.h - what is known of a server from outside its database: DIR/journal/.
 *
 *   journal/replicas   lines: "replica N", "self N", "revoked N USER",
 *                      "invited HASH"; only grows, fsynced at each line
 *   journal/head       one line "EPOCH HEAD", replaced about once a second
 *
 * A database that is older than these is a restored one, whoever restored it
 * and however (SYNC sections 1 and 10). Blocking; before the server serves.
 */
#ifndef SAT_ADMIN_PAST_H
#define SAT_ADMIN_PAST_H

#include "common/file.h"

struct sat_past_result {
	bool restored; /* another history begins                            */
	uint64_t epoch, head; /* of the database now                        */
	uint64_t past;        /* the head that was known                    */
	uint32_t revoked, invites; /* put right in the database             */
};

/* Open the journal for appending and put the database right: another epoch
 * when it is older than the journal or when forced; revoked devices and used
 * invitations are so again. *ret may be NULL. */
int sat_past_start(const char *dir, const char *db_path, bool forced,
		   struct sat_journal *ret_journal, struct sat_past_result *ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Keep the head; not more often than once a second unless the epoch is new.
 * One thread at a time. */
struct sat_past_head {
	char path[4096];
	uint64_t epoch, head; /* in the file */
	uint64_t last_epoch, last_head;
	int64_t written_ms;
};
int sat_past_head_open(struct sat_past_head *h, const char *dir,
		       struct sat_err *err) SAT_MUST_CHECK;
int sat_past_head_note(struct sat_past_head *h, uint64_t epoch, uint64_t head,
		       int64_t now_ms, struct sat_err *err) SAT_MUST_CHECK;

/* What was noted and not yet written. */
int sat_past_head_flush(struct sat_past_head *h,
			struct sat_err *err) SAT_MUST_CHECK;

/* Lines of one journal that another lacks go into it: what is known of the
 * past only grows. Missing files are empty ones. */
int sat_past_merge(const char *from_dir, const char *to_dir,
		   struct sat_err *err) SAT_MUST_CHECK;

#endif
