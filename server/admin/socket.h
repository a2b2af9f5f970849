/* socket.h - DIR/admin.sock: operations on the running server.
 *
 * Loop thread. Writing operations run on the committer thread, reading ones
 * on a reader thread. Only the same user or root is served. One request at a
 * time per connection; a peer that closes early is told nothing, but what
 * was asked is done.
 */
#ifndef SAT_ADMIN_SOCKET_H
#define SAT_ADMIN_SOCKET_H

#include "server/sync/server.h"

struct sat_admin_socket;

struct sat_admin_socket_options {
	uv_loop_t *loop;
	struct sat_server *server;       /* kept                            */
	const struct sat_config *config; /* kept                            */
	const char *dir;                 /* copied; holds the lock already  */
	const char *advertise;           /* HOST:PORT, copied               */
	void (*on_stop)(void *arg);      /* somebody asked the server to stop */
	void *arg;
};

/* Remove a stale socket (the caller holds DIR/lock), listen, mode 0600. */
int sat_admin_socket_open(const struct sat_admin_socket_options *options,
			  struct sat_admin_socket **ret,
			  struct sat_err *err) SAT_MUST_CHECK;

/* Stop listening, remove the file, close the connections once their
 * operations are done; done when all is closed. */
void sat_admin_socket_close(struct sat_admin_socket *s, void (*done)(void *arg),
			    void *arg);

#endif
