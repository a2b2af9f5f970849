/* ops.h - administration as operations: a JSON request in, a JSON answer out.
 *
 * The same functions serve the running server's Unix socket and a command
 * that works on the files directly. An operation that writes runs inside an
 * engine group; whoever calls commits the group before the answer is given
 * to anyone. Operations never touch files named on a command line: these are
 * read and written by the command itself (gate.h).
 *
 *   {"op": "user add", "args": {"login": "ann", ...}}
 *   {"rc": 0, "result": {...}}   or   {"rc": -8, "error": "a sentence"}
 */
#ifndef SAT_ADMIN_OPS_H
#define SAT_ADMIN_OPS_H

#include <jansson.h>

#include "common/config.h"
#include "server/commit/engine.h"

enum { SAT_ADVERTISE_CHARS = 300 };

/* What an operation may use. Everything is borrowed for the call. */
struct sat_admin {
	struct sat_engine *engine; /* NULL in an operation that only reads */
	struct sat_store *store;   /* the engine's, or a reader's          */
	const char *dir;           /* the data folder                      */
	const char *advertise;     /* HOST:PORT for invitations            */
	int64_t invite_ms;         /* how long an invitation lives         */
	struct sat_keep keep;      /* and other things                     */
	int64_t now_ms;
	json_t *live; /* facts of the running server for `status`, or NULL */
	/* Keep a line where a restored database finds it (SYNC section 1),
	 * before the group is committed. NULL in one that only reads. */
	int (*note)(void *arg, const char *line, struct sat_err *err);
	void *note_arg;
};

/* HOST:PORT for invitations: the setting, else localhost and port, or with
 * port 0 that of the setting listen. */
void sat_admin_advertise(const struct sat_config *c, uint16_t port,
			 char out[SAT_ADVERTISE_CHARS]);

/* A result's member of that name is what `undo` needs: it goes to the audit
 * record and not to the person. */
#define SAT_ADMIN_UNDO "undo"

/* SAT_AGAIN: the answer is good, and nothing of what was done stays. */
typedef int (*sat_op_fn)(struct sat_admin *a, const json_t *args, json_t *ret,
			 struct sat_err *err);

struct sat_admin_op {
	const char *name; /* "user add" */
	bool writes;
	sat_op_fn run;
};

/* The operation a request names; NULL with *err filled when it is malformed
 * or unknown. */
const struct sat_admin_op *sat_op_find(const json_t *request,
				       struct sat_err *err);

/* Run it. What a writing operation did is in the audit with its arguments,
 * in the same group. The answer is a new reference, NULL when out of memory;
 * *ret_rc is the operation's result: a group in which it failed must be
 * abandoned. */
json_t *sat_op_run(struct sat_admin *a, const struct sat_admin_op *op,
		   const json_t *request, int *ret_rc);

/* The answer that reports a failure; NULL when out of memory. */
json_t *sat_op_failure(const struct sat_err *err);

#endif
