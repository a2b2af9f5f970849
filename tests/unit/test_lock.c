/* Who holds a lock, at the moments when the holder has no name: between
 * taking it and writing its pid, and between taking the pid away and going. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"

static char path[64];

static int make_path(void **state)
{
	int fd;

	(void)state;
	(void)snprintf(path, sizeof path, "/tmp/satchel-lock-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

/* The child: takes the lock as sat_lock_take does, but says its pid late, or
 * never. */
static void hold(int ready, long silent_ms)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct timespec t = { silent_ms / 1000, silent_ms % 1000 * 1000000 };
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char text[24];
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &whole) != 0 ||
	    write(ready, "x", 1) != 1)
		_exit(1);
	(void)nanosleep(&t, NULL);
	if (pwrite(fd, text, (size_t)n, 0) != (ssize_t)n)
		_exit(1);
	(void)pause();
	_exit(1);
}

static pid_t start(long silent_ms)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		hold(ready[1], silent_ms);
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	return pid;
}

static void end(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void a_holder_that_is_about_to_say_its_name(void **state)
{
	struct sat_err err;
	pid_t holder = -1, pid = start(50);

	(void)state;
	assert_int_equal(sat_lock_holder(path, &holder, &err), SAT_OK);
	assert_int_equal(holder, pid);
	end(pid);
}

/* Never "nobody": whoever asks would go on and write. */
static void a_holder_that_never_says_it(void **state)
{
	struct sat_err err;
	pid_t holder = -1, pid = start(60 * 1000);

	(void)state;
	assert_int_equal(sat_lock_holder(path, &holder, &err), SAT_E_BUSY);
	assert_int_equal(holder, -1);
	end(pid);
	assert_int_equal(sat_lock_holder(path, &holder, &err), SAT_OK);
	assert_int_equal(holder, 0);
}

/* The child: takes the lock where nothing can be written, as on a full disk. */
static void hold_without_room(int ready)
{
	struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };
	struct sat_lock lock;
	struct sat_err err;

	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
	    setrlimit(RLIMIT_FSIZE, &none) != 0 ||
	    sat_lock_take(path, &lock, &err) != SAT_OK ||
	    write(ready, "x", 1) != 1)
		_exit(1);
	(void)pause();
	_exit(1);
}

static void a_full_disk_keeps_nobody_from_locking(void **state)
{
	char who[SAT_LOCK_WHO_CHARS], old[] = "4711\n";
	struct sat_lock lock;
	struct sat_err err;
	int ready[2], fd = open(path, O_WRONLY | O_CLOEXEC);
	pid_t holder = -1, pid;
	char byte;

	(void)state;
	/* what a killed holder left must not be taken for the new one's */
	assert_int_equal(write(fd, old, sizeof old - 1), sizeof old - 1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(pipe(ready), 0);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		hold_without_room(ready[1]);
	assert_true(pid > 0);
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	assert_int_equal(sat_lock_take(path, &lock, &err), SAT_E_BUSY);
	assert_int_equal(lock.holder, 0);
	assert_string_equal(sat_lock_who(&lock, who), "another process");
	assert_null(strstr(err.msg, "process 0"));
	assert_int_equal(sat_lock_holder(path, &holder, &err), SAT_E_BUSY);
	end(pid);
	assert_int_equal(sat_lock_holder(path, &holder, &err), SAT_OK);
	assert_int_equal(holder, 0);
	assert_int_equal(sat_lock_take(path, &lock, &err), SAT_OK);
	assert_int_equal(sat_lock_take(path, &lock, &err), SAT_E_BUSY);
	assert_int_equal(lock.holder, getpid());
}

/* Room once had is kept: the next pid goes over the last one. */
static void a_name_has_the_room_of_the_last(void **state)
{
	struct sat_lock lock;
	struct sat_err err;
	struct stat st;
	off_t size;

	(void)state;
	assert_int_equal(sat_lock_take(path, &lock, &err), SAT_OK);
	assert_int_equal(stat(path, &st), 0);
	size = st.st_size;
	assert_true(size > 0);
	sat_lock_drop(&lock);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_holder_that_is_about_to_say_its_name, make_path,
			remove_path),
		cmocka_unit_test_setup_teardown(a_holder_that_never_says_it,
						make_path, remove_path),
		cmocka_unit_test_setup_teardown(
			a_full_disk_keeps_nobody_from_locking, make_path,
			remove_path),
		cmocka_unit_test_setup_teardown(a_name_has_the_room_of_the_last,
						make_path, remove_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
