/* F_OFD_SETLK, the lock that belongs to the open file description, is not in
 * POSIX 2008. */
#define _GNU_SOURCE
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	JOURNAL_LINE_MAX = 64 * 1024,
	READ_BYTES = 16 * 1024,
	NAMELESS_TRIES = 100
};

static int fail(struct sat_err *err, const char *op, const char *path)
{
	int e = errno;
	int rc = SAT_E_IO;

	if (e == ENOENT)
		rc = SAT_E_NOTFOUND;
	else if (e == ENOSPC || e == EDQUOT)
		rc = SAT_E_FULL;
	else if (e == ENOMEM)
		rc = SAT_E_NOMEM;
	return sat_err_set(err, rc, e, op, "%.180s: %s", path, strerror(e));
}

static int open_retry(const char *path, int flags, mode_t mode)
{
	int fd;

	do {
		fd = open(path, flags | O_CLOEXEC, mode);
	} while (fd < 0 && errno == EINTR);
	return fd;
}

static bool write_all(int fd, struct sat_slice bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes.ptr += n;
		bytes.len -= (size_t)n;
	}
	return true;
}

static int read_into(int fd, const char *path, size_t max, struct sat_buf *to,
		     struct sat_err *err)
{
	size_t total = 0;
	uint8_t *dst;
	ssize_t n;
	int rc;

	for (;;) {
		rc = sat_buf_reserve(to, READ_BYTES, &dst);
		if (rc != SAT_OK)
			return sat_err_set(err, rc, 0, "file_read",
					   "%.180s: too long", path);
		n = read(fd, dst, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(err, "file_read", path);
		if (n == 0)
			return SAT_OK;
		total += (size_t)n;
		if (total > max)
			return sat_err_set(err, SAT_E_LIMIT, 0, "file_read",
					   "%.180s: longer than %zu bytes",
					   path, max);
		sat_buf_commit(to, (size_t)n);
	}
}

int sat_file_read(const char *path, size_t max, struct sat_buf *ret,
		  struct sat_err *err)
{
	int fd = open_retry(path, O_RDONLY, 0);
	struct sat_slice all;
	struct sat_buf b;
	int rc;

	if (fd < 0)
		return fail(err, "file_read", path);
	sat_buf_init(&b, max + 2 * (size_t)READ_BYTES);
	rc = read_into(fd, path, max, &b, err);
	(void)close(fd);
	if (rc != SAT_OK)
		goto out;
	all = sat_buf_peek(&b);
	rc = sat_buf_append(ret, all.ptr, all.len);
	if (rc != SAT_OK)
		(void)sat_err_set(err, rc, 0, "file_read", "%.180s: too long",
				  path);
out:
	if (b.base != NULL) /* it may have been a private key */
		explicit_bzero(b.base, b.cap);
	sat_buf_fini(&b);
	return rc;
}

/* The folder a path lies in. */
static int dir_of(const char *path, char out[PATH_MAX], struct sat_err *err)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 1 : (size_t)(slash - path);

	if (len >= PATH_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "path",
				   "a path of %zu bytes", len);
	if (slash == NULL)
		path = ".";
	else if (slash == path)
		len = 1; /* "/name" lies in "/" */
	memcpy(out, path, len);
	out[len] = '\0';
	return SAT_OK;
}

int sat_dir_sync(const char *path, struct sat_err *err)
{
	int fd = open_retry(path, O_RDONLY | O_DIRECTORY, 0);
	int rc = SAT_OK;

	if (fd < 0)
		return fail(err, "dir_sync", path);
	if (fsync(fd) != 0)
		rc = fail(err, "dir_sync", path);
	(void)close(fd);
	return rc;
}

int sat_file_write(const char *path, struct sat_slice bytes, mode_t mode,
		   struct sat_err *err)
{
	char dir[PATH_MAX], temp[PATH_MAX];
	int fd, n;
	int rc = dir_of(path, dir, err);

	if (rc != SAT_OK)
		return rc;
	n = snprintf(temp, sizeof temp, "%s.XXXXXX", path);
	if (n < 0 || (size_t)n >= sizeof temp)
		return sat_err_set(err, SAT_E_LIMIT, 0, "file_write",
				   "%.180s: too long a path", path);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return fail(err, "file_write", path);
	/* close may report what the disk refused; never write twice to it */
	if (!write_all(fd, bytes) || fchmod(fd, mode) != 0 || fsync(fd) != 0) {
		rc = fail(err, "file_write", path);
		(void)close(fd);
		goto out;
	}
	if (close(fd) != 0 || rename(temp, path) != 0) {
		rc = fail(err, "file_write", path);
		goto out;
	}
	return sat_dir_sync(dir, err);
out:
	(void)unlink(temp);
	return rc;
}

bool sat_file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static int make_one(const char *path, struct sat_err *err)
{
	char parent[PATH_MAX];
	struct stat st;
	int rc;

	if (mkdir(path, 0700) == 0) {
		rc = dir_of(path, parent, err);
		return rc == SAT_OK ? sat_dir_sync(parent, err) : rc;
	}
	if (errno != EEXIST)
		return fail(err, "dir_make", path);
	if (stat(path, &st) != 0)
		return fail(err, "dir_make", path);
	if (!S_ISDIR(st.st_mode))
		return sat_err_set(err, SAT_E_EXISTS, ENOTDIR, "dir_make",
				   "%.180s: is not a folder", path);
	return SAT_OK;
}

int sat_dir_make(const char *path, struct sat_err *err)
{
	char at[PATH_MAX];
	size_t len = strlen(path);
	int rc = SAT_OK;

	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 0 || len >= sizeof at)
		return sat_err_set(err, SAT_E_LIMIT, 0, "dir_make",
				   "a path of %zu bytes", len);
	memcpy(at, path, len);
	at[len] = '\0';
	for (size_t i = 1; i <= len && rc == SAT_OK; i++) {
		if (i < len && (at[i] != '/' || at[i - 1] == '/'))
			continue;
		at[i] = '\0';
		rc = make_one(at, err);
		if (i < len)
			at[i] = '/';
	}
	return rc;
}

int sat_path_join(char *out, size_t out_size, const char *dir, const char *name,
		  struct sat_err *err)
{
	size_t len = strlen(dir);
	const char *slash = len > 0 && dir[len - 1] == '/' ? "" : "/";
	int n = snprintf(out, out_size, "%s%s%s", dir, slash, name);

	if (n < 0 || (size_t)n >= out_size)
		return sat_err_set(err, SAT_E_LIMIT, 0, "path",
				   "%.100s/%.60s: too long a path", dir, name);
	return SAT_OK;
}

/* The pid that the holder wrote; 0 when it has not (yet). */
static pid_t read_pid(int fd)
{
	char text[24];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	char *end;
	long pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	errno = 0;
	pid = strtol(text, &end, 10);
	if (errno != 0 || *end != '\n' || pid <= 0 || pid > INT_MAX)
		return 0;
	return (pid_t)pid;
}

/* The lock is the truth, the pid only says where to look: a disk too full for
 * it must keep nobody from working. Written over in place, always as long, so
 * that a file which held one once has the room for the next. */
static void write_pid(int fd, pid_t pid)
{
	char text[24];
	int n = snprintf(text, sizeof text, "%20ld\n", (long)pid);
	bool written = pwrite(fd, text, (size_t)n, 0) == (ssize_t)n;

	/* better no name than an old one */
	if (ftruncate(fd, written ? n : 0) != 0)
		errno = 0;
}

const char *sat_lock_who(const struct sat_lock *lock,
			 char out[SAT_LOCK_WHO_CHARS])
{
	if (lock->holder > 0)
		(void)snprintf(out, SAT_LOCK_WHO_CHARS, "process %ld",
			       (long)lock->holder);
	else
		(void)snprintf(out, SAT_LOCK_WHO_CHARS, "another process");
	return out;
}

int sat_lock_take(const char *path, struct sat_lock *ret, struct sat_err *err)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open_retry(path, O_RDWR | O_CREAT, 0600);
	char who[SAT_LOCK_WHO_CHARS];
	int rc;

	ret->fd = -1;
	ret->holder = 0;
	if (fd < 0)
		return fail(err, "lock", path);
	if (fcntl(fd, F_OFD_SETLK, &whole) != 0) {
		if (errno != EAGAIN && errno != EACCES) {
			rc = fail(err, "lock", path);
			goto out;
		}
		ret->holder = read_pid(fd);
		rc = sat_err_set(err, SAT_E_BUSY, errno, "lock",
				 "%.160s: held by %s", path,
				 sat_lock_who(ret, who));
		goto out;
	}
	write_pid(fd, getpid());
	ret->fd = fd;
	return SAT_OK;
out:
	(void)close(fd);
	return rc;
}

void sat_lock_drop(struct sat_lock *lock)
{
	if (lock->fd < 0)
		return;
	/* A pid that nobody holds must not be believed later. */
	write_pid(lock->fd, 0);
	(void)close(lock->fd);
	lock->fd = -1;
}

int sat_lock_holder(const char *path, pid_t *ret_holder, struct sat_err *err)
{
	static const struct timespec a_moment = { 0, 2000000 };
	struct flock whole;
	int fd = open_retry(path, O_RDWR, 0);
	pid_t pid;
	int rc = SAT_OK;

	if (fd < 0 && errno == ENOENT) {
		*ret_holder = 0;
		return SAT_OK;
	}
	if (fd < 0)
		return fail(err, "lock", path);
	/* Between taking the lock and writing its pid, and between taking the
	 * pid away and letting go, a holder has no name for a moment. */
	for (int i = 0; rc == SAT_OK && i < NAMELESS_TRIES; i++) {
		whole = (struct flock){ .l_type = F_WRLCK,
					.l_whence = SEEK_SET };
		pid = 0;
		if (fcntl(fd, F_OFD_GETLK, &whole) != 0)
			rc = fail(err, "lock", path);
		else if (whole.l_type != F_UNLCK)
			pid = read_pid(fd);
		if (rc == SAT_OK && (whole.l_type == F_UNLCK || pid != 0)) {
			*ret_holder = pid;
			break;
		}
		if (rc == SAT_OK && i + 1 == NAMELESS_TRIES)
			rc = sat_err_set(err, SAT_E_BUSY, 0, "lock",
					 "%.160s: held by a process that does "
					 "not say which",
					 path);
		(void)nanosleep(&a_moment, NULL);
	}
	(void)close(fd);
	return rc;
}

/* Hand over the whole lines of b; keeps the rest. */
static int take_lines(struct sat_journal *j, struct sat_buf *b,
		      sat_journal_cb each, void *arg, const char *path,
		      struct sat_err *err)
{
	struct sat_slice rest = sat_buf_peek(b), line;
	const uint8_t *end;
	int rc;

	while ((end = rest.len == 0 ? NULL
				    : memchr(rest.ptr, '\n', rest.len))) {
		line.ptr = rest.ptr;
		line.len = (size_t)(end - rest.ptr);
		rc = each == NULL ? SAT_OK : each(arg, line);
		if (rc != SAT_OK)
			return sat_err_set(err, rc, 0, "journal",
					   "%.180s: byte %llu: not understood",
					   path, (unsigned long long)j->end);
		j->end += line.len + 1;
		sat_buf_consume(b, line.len + 1);
		rest = sat_buf_peek(b);
	}
	if (rest.len > JOURNAL_LINE_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "journal",
				   "%.180s: byte %llu: line too long", path,
				   (unsigned long long)j->end);
	return SAT_OK;
}

static int read_lines(struct sat_journal *j, sat_journal_cb each, void *arg,
		      const char *path, struct sat_err *err)
{
	struct sat_buf b;
	uint8_t *dst;
	ssize_t n;
	int rc;

	sat_buf_init(&b, JOURNAL_LINE_MAX + 2 * (size_t)READ_BYTES);
	for (;;) {
		rc = sat_buf_reserve(&b, READ_BYTES, &dst);
		if (rc != SAT_OK) {
			(void)sat_err_set(err, rc, 0, "journal",
					  "%.180s: no memory", path);
			break;
		}
		n = read(j->fd, dst, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = fail(err, "journal", path);
		if (n <= 0)
			break;
		sat_buf_commit(&b, (size_t)n);
		rc = take_lines(j, &b, each, arg, path, err);
		if (rc != SAT_OK)
			break;
	}
	sat_buf_fini(&b);
	return rc;
}

int sat_journal_open(const char *path, struct sat_journal *ret,
		     sat_journal_cb each, void *arg, struct sat_err *err)
{
	struct sat_journal j = { .fd = -1, .end = 0 };
	char dir[PATH_MAX];
	int rc = dir_of(path, dir, err);

	ret->fd = -1;
	ret->end = 0;
	if (rc != SAT_OK)
		return rc;
	j.fd = open_retry(path, O_RDWR | O_CREAT, 0600);
	if (j.fd < 0)
		return fail(err, "journal", path);
	rc = read_lines(&j, each, arg, path, err);
	if (rc != SAT_OK)
		goto out;
	if (ftruncate(j.fd, (off_t)j.end) != 0 || fsync(j.fd) != 0) {
		rc = fail(err, "journal", path);
		goto out;
	}
	rc = sat_dir_sync(dir, err);
	if (rc != SAT_OK)
		goto out;
	*ret = j;
	j.fd = -1;
out:
	sat_journal_close(&j);
	return rc;
}

int sat_journal_append(struct sat_journal *j, struct sat_slice line,
		       struct sat_err *err)
{
	struct sat_slice newline = { (const uint8_t *)"\n", 1 };
	off_t end = (off_t)j->end;
	int rc;

	SAT_ASSERT(j->fd >= 0);
	if (line.len > JOURNAL_LINE_MAX ||
	    (line.len > 0 && memchr(line.ptr, '\n', line.len) != NULL))
		return sat_err_set(err, SAT_E_INVAL, 0, "journal",
				   "a line of %zu bytes, or two lines",
				   line.len);
	/* The newline goes last: without it the line does not count. */
	if (lseek(j->fd, end, SEEK_SET) == end && write_all(j->fd, line) &&
	    write_all(j->fd, newline) && fdatasync(j->fd) == 0) {
		j->end += line.len + 1;
		return SAT_OK;
	}
	rc = fail(err, "journal", "append");
	if (ftruncate(j->fd, end) != 0)
		err->sys = errno;
	return rc;
}

void sat_journal_close(struct sat_journal *j)
{
	if (j->fd >= 0)
		(void)close(j->fd);
	j->fd = -1;
}
