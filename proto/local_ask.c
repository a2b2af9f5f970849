#define _GNU_SOURCE /* O_PATH */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/local.h"

static int lost(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_CLOSED, errno, "ask",
			   "the program closed the connection; is it still "
			   "running?");
}

static int send_all(int fd, const void *bytes, size_t n, struct sat_err *err)
{
	const uint8_t *p = bytes;

	while (n > 0) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return lost(err);
		p += done;
		n -= (size_t)done;
	}
	return SAT_OK;
}

static int send_json(int fd, const json_t *j, struct sat_err *err)
{
	char *text = json_dumps(j, JSON_COMPACT);
	size_t n = text == NULL ? 0 : strlen(text);
	uint8_t head[4];
	int rc;

	if (text == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "ask", "out of memory");
	if (n > SAT_LOCAL_BYTES_MAX) {
		free(text);
		return sat_err_set(err, SAT_E_LIMIT, 0, "ask",
				   "a request of %zu bytes is too large", n);
	}
	for (int i = 0; i < 4; i++)
		head[i] = (uint8_t)(n >> (24 - 8 * i));
	rc = send_all(fd, head, sizeof head, err);
	if (rc == SAT_OK)
		rc = send_all(fd, text, n, err);
	free(text);
	return rc;
}

static int receive_all(int fd, int timeout_ms, uint8_t *p, size_t n,
		       struct sat_err *err)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	while (n > 0) {
		int ready = poll(&wait, 1, timeout_ms);
		ssize_t got;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			return sat_err_set(err, SAT_E_TIMEOUT, 0, "ask",
					   "no answer within %d ms",
					   timeout_ms);
		got = recv(fd, p, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return lost(err);
		p += got;
		n -= (size_t)got;
	}
	return SAT_OK;
}

static int receive_json(int fd, int timeout_ms, json_t **ret,
			struct sat_err *err)
{
	uint8_t head[4], *text;
	size_t n = 0;
	int rc;

	rc = receive_all(fd, timeout_ms, head, sizeof head, err);
	if (rc != SAT_OK)
		return rc;
	for (int i = 0; i < 4; i++)
		n = n << 8 | head[i];
	if (n > SAT_LOCAL_BYTES_MAX)
		return sat_err_set(err, SAT_E_PROTO, 0, "ask",
				   "an answer of %zu bytes is too large", n);
	text = malloc(n + 1);
	if (text == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "ask", "out of memory");
	rc = receive_all(fd, timeout_ms, text, n, err);
	if (rc == SAT_OK) {
		*ret = json_loadb((const char *)text, n, 0, NULL);
		if (*ret == NULL)
			rc = sat_err_set(err, SAT_E_PROTO, 0, "ask",
					 "the answer is not JSON");
	}
	free(text);
	return rc;
}

/* A path of any length fits sockaddr_un when it goes through the folder. The
 * queue of a program that hangs may be full: connect waits no longer than
 * timeout_ms for room in it. */
static int connect_through(int folder, const char *name, int fd, int timeout_ms)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval wait = { .tv_sec = timeout_ms / 1000,
				.tv_usec = timeout_ms % 1000 * 1000L };

	if (timeout_ms > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait,
				 sizeof wait);
	(void)snprintf(addr.sun_path, sizeof addr.sun_path,
		       "/proc/self/fd/%d/%s", folder, name);
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
		return -1;
	wait = (struct timeval){ .tv_sec = 0 };
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	return 0;
}

int sat_ask_connect(const char *dir, const char *name, int timeout_ms,
		    int *ret_fd, struct sat_err *err)
{
	int folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	json_t *greeting;
	int rc;

	if (folder < 0 || fd < 0)
		rc = sat_err_set(err, SAT_E_IO, errno, "ask", "%s: %s", dir,
				 strerror(errno));
	else if (connect_through(folder, name, fd, timeout_ms) != 0)
		rc = errno == EAGAIN
			     ? sat_err_set(err, SAT_E_TIMEOUT, errno, "ask",
					   "%s/%s does not answer", dir, name)
			     : sat_err_set(err, SAT_E_NOTFOUND, errno, "ask",
					   "nobody listens on %s/%s", dir,
					   name);
	else
		rc = receive_json(fd, timeout_ms, &greeting, err);
	if (folder >= 0)
		(void)close(folder);
	if (rc == SAT_OK) {
		json_decref(greeting);
		*ret_fd = fd;
	} else if (fd >= 0) {
		(void)close(fd);
	}
	return rc;
}

int sat_ask(int fd, const json_t *request, int timeout_ms, json_t **ret,
	    struct sat_err *err)
{
	int rc = send_json(fd, request, err);

	return rc == SAT_OK ? receive_json(fd, timeout_ms, ret, err) : rc;
}
