/* local.h - a Unix socket in a data folder that carries JSON: requests to a
 * running program from commands on the same machine.
 *
 * Each text is preceded by its length, u32 big-endian. The program greets a
 * connection with one text, then answers one request at a time. Only the same
 * user and root are served. The path may be of any length.
 *
 * sat_local_*: the program, loop thread. sat_ask_*: the command, blocking.
 */
#ifndef SAT_LOCAL_H
#define SAT_LOCAL_H

#include <jansson.h>
#include <uv.h>

#include "common/base.h"

enum { SAT_LOCAL_BYTES_MAX = 32 * 1024 * 1024 }; /* of one JSON text */

struct sat_local;      /* the listener              */
struct sat_local_call; /* a request to be answered  */

struct sat_local_options {
	uv_loop_t *loop;
	const char *dir, *name; /* the socket is DIR/NAME; copied           */
	const char *greeting;   /* program and version for "satchel"; copied */
	/* Take the request (a new reference); answer with sat_local_answer,
	 * exactly once, now or later, even if the peer has gone. */
	void (*on_call)(void *arg, struct sat_local_call *call,
			json_t *request);
	void *arg;
};

/* Remove a stale socket (the caller holds the folder's lock) and listen with
 * mode 0600. SAT_E_IO, SAT_E_NOMEM. */
int sat_local_open(const struct sat_local_options *options,
		   struct sat_local **ret, struct sat_err *err) SAT_MUST_CHECK;

/* Takes the reference; NULL: close the connection. The call is over. */
void sat_local_answer(struct sat_local_call *call, json_t *answer);

/* Stop listening, remove the file, close connections once they are answered;
 * done when all is closed and the memory gone. */
void sat_local_close(struct sat_local *l, void (*done)(void *arg), void *arg);

/* Connect and read the greeting. SAT_E_NOTFOUND: nobody listens there;
 * SAT_E_TIMEOUT: no greeting in time; SAT_E_IO. *ret_fd is the caller's. */
int sat_ask_connect(const char *dir, const char *name, int timeout_ms,
		    int *ret_fd, struct sat_err *err) SAT_MUST_CHECK;

/* Send one request and wait for its answer, a new reference. timeout_ms < 0
 * waits for as long as it takes. SAT_E_CLOSED, SAT_E_TIMEOUT, SAT_E_PROTO. */
int sat_ask(int fd, const json_t *request, int timeout_ms, json_t **ret,
	    struct sat_err *err) SAT_MUST_CHECK;

#endif
