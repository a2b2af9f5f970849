/* file.h - whole files, atomic replacement, folders, the lock, journals.
 *
 * Blocking: never on a loop thread once it serves. Paths are borrowed. Errors
 * of the system come as SAT_E_IO with errno in err->sys, a full disk as
 * SAT_E_FULL, a missing file as SAT_E_NOTFOUND; err->msg names the path.
 */
#ifndef SAT_FILE_H
#define SAT_FILE_H

#include <sys/types.h>

#include "common/buf.h"

/* Append the whole file to ret. SAT_E_LIMIT when it is longer than max bytes
 * or than ret may grow; ret is unchanged on failure. */
int sat_file_read(const char *path, size_t max, struct sat_buf *ret,
		  struct sat_err *err) SAT_MUST_CHECK;

/* Replace the file's content: after SAT_OK the new content survives a power
 * cut, before it the old one does; nobody ever sees half of it. The mode is
 * set whatever the umask. */
int sat_file_write(const char *path, struct sat_slice bytes, mode_t mode,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Does anything exist under that path? */
bool sat_file_exists(const char *path);

/* Make the folders of the path that are missing, mode 0700. SAT_E_EXISTS when
 * a part of it is no folder. */
int sat_dir_make(const char *path, struct sat_err *err) SAT_MUST_CHECK;

/* fsync the folder itself, so that names made or removed in it last. */
int sat_dir_sync(const char *path, struct sat_err *err) SAT_MUST_CHECK;

/* "dir/name" into out. SAT_OK or SAT_E_LIMIT. */
int sat_path_join(char *out, size_t out_size, const char *dir, const char *name,
		  struct sat_err *err) SAT_MUST_CHECK;

/* An exclusive lock on a file, held by the open file description: the end of
 * the process drops it, and closing some other descriptor does not. */
struct sat_lock {
	int fd;       /* -1 when not held                                    */
	pid_t holder; /* after SAT_E_BUSY: who holds it, 0 when not readable */
};

/* Make the file if needed, lock it, write our pid into it if the disk has room
 * for it. SAT_E_BUSY when another holds it: ret->holder. The file stays when
 * the lock goes. */
int sat_lock_take(const char *path, struct sat_lock *ret,
		  struct sat_err *err) SAT_MUST_CHECK;

/* After SAT_E_BUSY, for a sentence: "process 123", or "another process" when
 * the holder could not say. Returns out. */
enum { SAT_LOCK_WHO_CHARS = 40 };
const char *sat_lock_who(const struct sat_lock *lock,
			 char out[SAT_LOCK_WHO_CHARS]);

/* Safe on one that is not held. */
void sat_lock_drop(struct sat_lock *lock);

/* Is the file locked by anybody (not by us), and by whom? Changes nothing.
 * SAT_OK, with *ret_holder 0 when nobody holds it. SAT_E_BUSY: somebody does,
 * and has not said who for a fifth of a second. */
int sat_lock_holder(const char *path, pid_t *ret_holder,
		    struct sat_err *err) SAT_MUST_CHECK;

/* A file of lines that only grows; a line is in it for good or not at all. */
struct sat_journal {
	int fd;       /* -1 when closed                    */
	uint64_t end; /* bytes; end of the last whole line */
};

/* Called for each whole line, without its newline, in order. Anything but
 * SAT_OK ends the reading with it. */
typedef int (*sat_journal_cb)(void *arg, struct sat_slice line);

/* Open or make it, hand every line to each (may be NULL), cut off what a
 * crash left of an unfinished one. SAT_E_LIMIT: a line over 64 KiB. */
int sat_journal_open(const char *path, struct sat_journal *ret,
		     sat_journal_cb each, void *arg,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Append one line (no newline inside) and make it last. On failure the file
 * is as before, as far as the disk allows. */
int sat_journal_append(struct sat_journal *j, struct sat_slice line,
		       struct sat_err *err) SAT_MUST_CHECK;

/* Safe on one that is closed. */
void sat_journal_close(struct sat_journal *j);

#endif
