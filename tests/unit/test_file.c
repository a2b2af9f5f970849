#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file.h"

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof dir, "/tmp/test_file.XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

static const char *at(const char *name)
{
	static char path[PATH_MAX];
	struct sat_err err;

	assert_int_equal(sat_path_join(path, sizeof path, dir, name, &err),
			 SAT_OK);
	return path;
}

static void assert_holds(const char *name, const char *text)
{
	struct sat_err err;
	struct sat_buf b;

	sat_buf_init(&b, 1 << 20);
	assert_int_equal(sat_file_read(at(name), 1 << 20, &b, &err), SAT_OK);
	assert_true(sat_slice_equal(sat_buf_peek(&b), sat_slice_str(text)));
	sat_buf_fini(&b);
}

static unsigned entries(void)
{
	char command[96];
	unsigned n = 0;
	FILE *f;

	(void)snprintf(command, sizeof command, "ls -A '%s' | wc -l", dir);
	f = popen(command, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &n), 1);
	(void)pclose(f);
	return n;
}

static void a_file_is_replaced_whole(void **state)
{
	struct sat_err err;
	struct stat st;
	mode_t mask = umask(0777); /* the mode must not depend on it */

	(void)state;
	assert_int_equal(
		sat_file_write(at("key"), sat_slice_str("one"), 0600, &err),
		SAT_OK);
	(void)umask(mask);
	assert_holds("key", "one");
	assert_int_equal(stat(at("key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(
		sat_file_write(at("key"), sat_slice_str(""), 0644, &err),
		SAT_OK);
	assert_holds("key", "");
	assert_int_equal(stat(at("key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(entries(), 1); /* no temporary file is left */
	assert_true(sat_file_exists(at("key")));
	assert_false(sat_file_exists(at("lock")));
}

/* A disk that refuses in the middle: the old file stays, nothing is left. */
static void a_failed_write_changes_nothing(void **state)
{
	static char big[100000];
	struct rlimit small = { 5000, 5000 }, old;
	struct sat_err err;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(
		sat_file_write(at("f"), sat_slice_str("old"), 0600, &err),
		SAT_OK);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGXFSZ, SIG_IGN);
		small.rlim_max = old.rlim_max;
		if (setrlimit(RLIMIT_FSIZE, &small) != 0)
			_exit(1);
		_exit(sat_file_write(
			      at("f"),
			      (struct sat_slice){ (uint8_t *)big, sizeof big },
			      0600, &err) == SAT_E_IO &&
				      err.sys == EFBIG
			      ? 0
			      : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_holds("f", "old");
	assert_int_equal(entries(), 1);
	assert_int_equal(
		sat_file_write(at("none/f"), sat_slice_str("x"), 0600, &err),
		SAT_E_NOTFOUND);
}

static void reading_has_a_limit(void **state)
{
	struct sat_err err;
	struct sat_buf b;

	(void)state;
	assert_int_equal(
		sat_file_write(at("f"), sat_slice_str("12345"), 0600, &err),
		SAT_OK);
	sat_buf_init(&b, 100);
	assert_int_equal(sat_file_read(at("f"), 5, &b, &err), SAT_OK);
	assert_int_equal(sat_file_read(at("f"), 4, &b, &err), SAT_E_LIMIT);
	assert_int_equal(b.len, 5); /* as it was */
	assert_int_equal(sat_file_read(at("g"), 5, &b, &err), SAT_E_NOTFOUND);
	assert_int_equal(sat_file_read(dir, 5, &b, &err), SAT_E_IO);
	assert_int_equal(sat_file_read("/dev/zero", 5, &b, &err), SAT_E_LIMIT);
	sat_buf_fini(&b);
	sat_buf_init(&b, 4);
	assert_int_equal(sat_file_read(at("f"), 5, &b, &err), SAT_E_LIMIT);
	sat_buf_fini(&b);
}

static void folders_are_private(void **state)
{
	struct sat_err err;
	struct stat st;

	(void)state;
	assert_int_equal(sat_dir_make(at("a//b/c/"), &err), SAT_OK);
	assert_int_equal(sat_dir_make(at("a/b/c"), &err), SAT_OK);
	assert_int_equal(stat(at("a/b"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(
		sat_file_write(at("a/f"), sat_slice_str("x"), 0600, &err),
		SAT_OK);
	assert_int_equal(sat_dir_make(at("a/f/c"), &err), SAT_E_EXISTS);
	assert_int_equal(sat_dir_make(at("a/f"), &err), SAT_E_EXISTS);
	assert_int_equal(sat_dir_make("/", &err), SAT_OK);
	assert_int_equal(sat_dir_make("", &err), SAT_E_LIMIT);
	assert_int_equal(sat_dir_sync(at("a"), &err), SAT_OK);
	assert_int_equal(sat_dir_sync(at("none"), &err), SAT_E_NOTFOUND);
}

/* Another process holds the lock until it is killed without a chance to tidy
 * up; only then do we get it. */
static void the_lock_has_one_holder(void **state)
{
	struct sat_lock mine, again;
	struct sat_err err;
	int ready[2], status;
	pid_t pid, holder = -1;
	char byte;

	(void)state;
	assert_int_equal(sat_lock_holder(at("lock"), &holder, &err), SAT_OK);
	assert_int_equal(holder, 0);
	assert_int_equal(pipe(ready), 0);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (sat_lock_take(at("lock"), &mine, &err) != SAT_OK ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		(void)pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(sat_lock_take(at("lock"), &mine, &err), SAT_E_BUSY);
	assert_int_equal(mine.holder, pid);
	assert_int_equal(mine.fd, -1);
	sat_lock_drop(&mine); /* nothing to drop */
	assert_int_equal(sat_lock_holder(at("lock"), &holder, &err), SAT_OK);
	assert_int_equal(holder, pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);

	assert_int_equal(sat_lock_holder(at("lock"), &holder, &err), SAT_OK);
	assert_int_equal(holder, 0); /* whatever the file still says */
	assert_int_equal(sat_lock_take(at("lock"), &mine, &err), SAT_OK);
	/* The same process on another description: busy too. */
	assert_int_equal(sat_lock_take(at("lock"), &again, &err), SAT_E_BUSY);
	assert_int_equal(again.holder, getpid());
	/* That failed attempt closed a descriptor; ours must still hold. */
	assert_int_equal(sat_lock_take(at("lock"), &again, &err), SAT_E_BUSY);
	sat_lock_drop(&mine);
	assert_int_equal(sat_lock_take(at("lock"), &again, &err), SAT_OK);
	sat_lock_drop(&again);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

struct lines {
	char text[256];
	unsigned count, stop_at;
};

static int on_line(void *arg, struct sat_slice line)
{
	struct lines *l = arg;
	size_t len = strlen(l->text);

	if (++l->count == l->stop_at)
		return SAT_E_CORRUPT;
	(void)snprintf(l->text + len, sizeof l->text - len, "[%.*s]",
		       (int)line.len, (const char *)line.ptr);
	return SAT_OK;
}

static void append_raw(const char *name, const char *text)
{
	int fd = open(at(name), O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static void a_journal_keeps_whole_lines_only(void **state)
{
	struct lines l = { .count = 0 };
	struct sat_journal j;
	struct sat_err err;

	(void)state;
	assert_int_equal(sat_journal_open(at("j"), &j, NULL, NULL, &err),
			 SAT_OK);
	assert_int_equal(sat_journal_append(&j, sat_slice_str("one"), &err),
			 SAT_OK);
	assert_int_equal(sat_journal_append(&j, sat_slice_str(""), &err),
			 SAT_OK);
	assert_int_equal(sat_journal_append(&j, sat_slice_str("a\nb"), &err),
			 SAT_E_INVAL);
	assert_int_equal(sat_journal_append(&j, sat_slice_str("two"), &err),
			 SAT_OK);
	sat_journal_close(&j);
	sat_journal_close(&j);
	append_raw("j", "three and a half"); /* the power went here */
	assert_int_equal(sat_journal_open(at("j"), &j, on_line, &l, &err),
			 SAT_OK);
	assert_string_equal(l.text, "[one][][two]");
	assert_int_equal(sat_journal_append(&j, sat_slice_str("four"), &err),
			 SAT_OK);
	sat_journal_close(&j);
	assert_holds("j", "one\n\ntwo\nfour\n");

	l = (struct lines){ .stop_at = 2 };
	assert_int_equal(sat_journal_open(at("j"), &j, on_line, &l, &err),
			 SAT_E_CORRUPT);
	assert_int_equal(j.fd, -1);
	assert_non_null(strstr(err.msg, "byte 4"));
	assert_holds("j", "one\n\ntwo\nfour\n"); /* nothing was cut */
}

static void a_journal_bounds_its_lines(void **state)
{
	static char big[70000];
	struct lines l = { .count = 0 };
	struct sat_journal j;
	struct sat_err err;

	(void)state;
	memset(big, 'x', sizeof big - 1);
	assert_int_equal(sat_journal_open(at("j"), &j, NULL, NULL, &err),
			 SAT_OK);
	assert_int_equal(sat_journal_append(&j, sat_slice_str(big), &err),
			 SAT_E_INVAL);
	big[64 * 1024] = '\0';
	assert_int_equal(sat_journal_append(&j, sat_slice_str(big), &err),
			 SAT_OK);
	assert_int_equal(sat_journal_append(&j, sat_slice_str("b"), &err),
			 SAT_OK);
	sat_journal_close(&j);
	assert_int_equal(sat_journal_open(at("j"), &j, on_line, &l, &err),
			 SAT_OK);
	assert_int_equal(l.count, 2);
	sat_journal_close(&j);
	memset(big, 'y', sizeof big - 1);
	append_raw("j", big);
	assert_int_equal(sat_journal_open(at("j"), &j, NULL, NULL, &err),
			 SAT_E_LIMIT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_replaced_whole),
		TEST(a_failed_write_changes_nothing),
		TEST(reading_has_a_limit),
		TEST(folders_are_private),
		TEST(the_lock_has_one_holder),
		TEST(a_journal_keeps_whole_lines_only),
		TEST(a_journal_bounds_its_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
