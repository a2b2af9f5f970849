#include "tests/faults/fault.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/replica/kill_vfs.h"

/* A run in a process of its own ends with one of these. */
enum { RUN_OK = 0, RUN_NO_FAULT = 77, RUN_WRONG = 1 };
#ifdef __SANITIZE_ADDRESS__
enum { PLACES = 5 }; /* each run is a dozen times slower */
#else
enum { PLACES = 25 };
#endif

static struct {
	enum fault_kind kind;
	uint64_t left; /* 0: nothing fails */
	bool for_good, hit;
} fault;

static bool fails(enum fault_kind kind)
{
	if (fault.left == 0 || fault.kind != kind)
		return false;
	if (fault.left > 1) {
		fault.left--;
		return false;
	}
	fault.hit = true;
	if (!fault.for_good)
		fault.left = 0;
	return true;
}

/* ---- memory ------------------------------------------------------------- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
	return fails(FAULT_MEMORY) ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
	return fails(FAULT_MEMORY) ? NULL : __real_realloc(p, n);
}

static sqlite3_mem_methods memory;

static void *sqlite_malloc(int n)
{
	return fails(FAULT_MEMORY) ? NULL : memory.xMalloc(n);
}
static void *sqlite_realloc(void *p, int n)
{
	return fails(FAULT_MEMORY) ? NULL : memory.xRealloc(p, n);
}

/* ---- SQLite ------------------------------------------------------------- */

int __real_sqlite3_open_v2(const char *path, sqlite3 **ret, int flags,
			   const char *vfs);
int __real_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int n,
			      sqlite3_stmt **ret, const char **tail);
int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n,
			      unsigned flags, sqlite3_stmt **ret,
			      const char **tail);
int __real_sqlite3_step(sqlite3_stmt *stmt);
int __real_sqlite3_exec(sqlite3 *db, const char *sql,
			int (*row)(void *, int, char **, char **), void *arg,
			char **message);
int __wrap_sqlite3_open_v2(const char *path, sqlite3 **ret, int flags,
			   const char *vfs);
int __wrap_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int n,
			      sqlite3_stmt **ret, const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n,
			      unsigned flags, sqlite3_stmt **ret,
			      const char **tail);
int __wrap_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql,
			int (*row)(void *, int, char **, char **), void *arg,
			char **message);

int __wrap_sqlite3_open_v2(const char *path, sqlite3 **ret, int flags,
			   const char *vfs)
{
	if (fails(FAULT_SQLITE)) {
		*ret = NULL;
		return SQLITE_CANTOPEN;
	}
	return __real_sqlite3_open_v2(path, ret, flags, vfs);
}

int __wrap_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int n,
			      sqlite3_stmt **ret, const char **tail)
{
	if (fails(FAULT_SQLITE)) {
		*ret = NULL;
		return SQLITE_NOMEM;
	}
	return __real_sqlite3_prepare_v2(db, sql, n, ret, tail);
}

int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n,
			      unsigned flags, sqlite3_stmt **ret,
			      const char **tail)
{
	if (fails(FAULT_SQLITE)) {
		*ret = NULL;
		return SQLITE_NOMEM;
	}
	return __real_sqlite3_prepare_v3(db, sql, n, flags, ret, tail);
}

int __wrap_sqlite3_step(sqlite3_stmt *stmt)
{
	return fails(FAULT_SQLITE) ? SQLITE_IOERR : __real_sqlite3_step(stmt);
}

int __wrap_sqlite3_exec(sqlite3 *db, const char *sql,
			int (*row)(void *, int, char **, char **), void *arg,
			char **message)
{
	if (fails(FAULT_SQLITE)) {
		if (message != NULL)
			*message = NULL;
		return SQLITE_FULL;
	}
	return __real_sqlite3_exec(db, sql, row, arg, message);
}

/* ---- files -------------------------------------------------------------- */

static int decide(enum kill_vfs_op op)
{
	if (op == KILL_VFS_WRITE)
		return fails(FAULT_WRITE) ? SQLITE_FULL : SQLITE_OK;
	return fails(FAULT_SYNC) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

void fault_install(void)
{
	sqlite3_mem_methods own;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory) != SQLITE_OK)
		abort();
	own = memory;
	own.xMalloc = sqlite_malloc;
	own.xRealloc = sqlite_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &own) != SQLITE_OK ||
	    sqlite3_initialize() != SQLITE_OK)
		abort();
	kill_vfs_ask(decide);
}

/* ---- one run ------------------------------------------------------------ */

static void fresh_copy(const struct scenario *s)
{
	char command[600];

	(void)snprintf(command, sizeof command, "rm -rf %s && cp -r %s %s",
		       s->work, s->folder, s->work);
	if (system(command) != 0)
		abort();
}

static int wrong(const struct scenario *s, const char *what, const char *more)
{
	(void)fprintf(stderr, "%s: %s%s%s\n", s->name, what,
		      more[0] == '\0' ? "" : ": ", more);
	return RUN_WRONG;
}

/* Afterwards the world is whole: what is there is what was there before or
 * what comes after, and the work succeeds. */
static int aftermath(const struct scenario *s, int rc, const char *before,
		     const char *after)
{
	struct sat_err err = { .rc = SAT_OK };
	char *now;
	int result = RUN_OK;

	s->close(s->arg);
	s->open(s->arg);
	now = s->look(s->arg);
	if (rc == SAT_OK && strcmp(now, after) != 0)
		result = wrong(s, "done, and it is not what it should be", now);
	else if (rc != SAT_OK && !s->in_steps && strcmp(now, before) != 0 &&
		 strcmp(now, after) != 0)
		result = wrong(s, "half of it is there", now);
	if (result == RUN_OK && strcmp(now, after) != 0 &&
	    s->act(s->arg, &err) != SAT_OK)
		result = wrong(s, "it does not succeed afterwards", err.msg);
	free(now);
	now = s->look(s->arg);
	if (result == RUN_OK && strcmp(now, after) != 0)
		result = wrong(s, "the second time it is not right", now);
	free(now);
	s->close(s->arg);
	return result;
}

static int run(const struct scenario *s, enum fault_kind kind, uint64_t k,
	       bool for_good, const char *before, const char *after)
{
	struct sat_err err = { .rc = SAT_OK };
	int rc;

	s->open(s->arg);
	fault.kind = kind;
	fault.for_good = for_good;
	fault.hit = false;
	fault.left = k;
	rc = s->act(s->arg, &err);
	fault.left = 0;
	if (rc != SAT_OK && !fault.hit)
		return wrong(s, "it fails by itself", err.msg);
	if (rc != SAT_OK && err.msg[0] == '\0')
		return wrong(s, "it failed without a word", sat_rc_name(rc));
	if (aftermath(s, rc, before, after) != RUN_OK)
		return RUN_WRONG;
	return fault.hit ? RUN_OK : RUN_NO_FAULT;
}

static int in_a_process(const struct scenario *s, enum fault_kind kind,
			uint64_t k, bool for_good, const char *before,
			const char *after)
{
	int status = -1;
	pid_t pid;

	fresh_copy(s);
	pid = fork();
	if (pid == 0) { /* a crash is a crash, not a failed test */
		(void)signal(SIGSEGV, SIG_DFL);
		(void)signal(SIGABRT, SIG_DFL);
		(void)signal(SIGBUS, SIG_DFL);
		(void)signal(SIGFPE, SIG_DFL);
		(void)signal(SIGILL, SIG_DFL);
		_exit(run(s, kind, k, for_good, before, after));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* ---- sweeps ------------------------------------------------------------- */

static const char *const kinds[FAULT_KINDS] = { "memory", "SQLite", "write",
						"sync" };

/* Every place, or about PLACES of them from a random start. */
static uint64_t sweep_one(const struct scenario *s, enum fault_kind kind,
			  bool for_good, uint64_t places, const char *before,
			  const char *after)
{
	uint64_t step = getenv("SAT_NIGHTLY") != NULL ? 1 : places / PLACES + 1;
	uint64_t runs = 0;
	int end;

	for (uint64_t k = 1 + (uint64_t)rand() % step;; k += step, runs++) {
		end = in_a_process(s, kind, k, for_good, before, after);
		if (end == RUN_NO_FAULT)
			return runs;
		if (end != RUN_OK)
			fail_msg("%s: %s fails %s at place %llu "
				 "(SAT_FAULT=%d:%llu:%d): %s",
				 s->name, kinds[kind],
				 for_good ? "for good" : "once",
				 (unsigned long long)k, (int)kind,
				 (unsigned long long)k, (int)for_good,
				 end < 0 ? "it crashed" : "see above");
	}
}

/* How often that is asked for in a run without faults. */
static uint64_t count_places(const struct scenario *s, enum fault_kind kind)
{
	const uint64_t most = (uint64_t)1 << 40;
	struct sat_err err;
	uint64_t n;

	fresh_copy(s);
	s->open(s->arg);
	fault.kind = kind;
	fault.left = most;
	assert_int_equal(s->act(s->arg, &err), SAT_OK);
	n = most - fault.left;
	fault.left = 0;
	s->close(s->arg);
	return n;
}

/* SAT_FAULT=1:37:0 is kind SQLite, place 37, once; in this process, for a
 * debugger. */
static bool replay(const struct scenario *s, const char *before,
		   const char *after)
{
	const char *at = getenv("SAT_FAULT");
	unsigned kind, for_good;
	unsigned long long k;

	if (at == NULL || sscanf(at, "%u:%llu:%u", &kind, &k, &for_good) != 3)
		return false;
	fresh_copy(s);
	assert_int_equal(
		run(s, (enum fault_kind)kind, k, for_good != 0, before, after),
		RUN_OK);
	return true;
}

void sweep(const struct scenario *s)
{
	uint64_t runs = 0, places, all = 0;
	struct sat_err err;
	char *before, *after;

	fresh_copy(s);
	s->open(s->arg);
	before = s->look(s->arg);
	assert_int_equal(s->act(s->arg, &err), SAT_OK);
	after = s->look(s->arg);
	s->close(s->arg);
	assert_string_not_equal(before, after); /* it does something */
	if (replay(s, before, after))
		goto out;
	for (enum fault_kind kind = 0; kind < FAULT_KINDS; kind++) {
		places = count_places(s, kind);
		all += places;
		runs += sweep_one(s, kind, false, places, before, after);
		runs += sweep_one(s, kind, true, places, before, after);
	}
	print_message("%-24s %6llu places, %5llu runs\n", s->name,
		      (unsigned long long)all, (unsigned long long)runs);
out:
	free(before);
	free(after);
}
