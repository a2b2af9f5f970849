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
	const struct sat_config *config; /* kept until a reload             */
	const char *dir;                 /* copied; holds the lock already  */
	void (*on_stop)(void *arg);      /* somebody asked the server to stop */
	/* Somebody changed the files: take what they say now. */
	int (*on_reload)(void *arg, struct sat_err *err);
	/* COMMITTER THREAD: see struct sat_admin. */
	int (*note)(void *arg, const char *line, struct sat_err *err);
	void *arg;
};

/* Remove a stale socket (the caller holds DIR/lock), listen, mode 0600. */
int sat_admin_socket_open(const struct sat_admin_socket_options *options,
			  struct sat_admin_socket **ret,
			  struct sat_err *err) SAT_MUST_CHECK;

/* New settings for requests that come from now on. Kept; operations under way
 * do not look at the old ones. */
void sat_admin_socket_reload(struct sat_admin_socket *s,
			     const struct sat_config *config);

/* Stop listening, remove the file, close the connections once their
 * operations are done; done when all is closed. Before sat_server_stop. */
void sat_admin_socket_close(struct sat_admin_socket *s, void (*done)(void *arg),
			    void *arg);

#endif
