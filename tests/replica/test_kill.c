/* Death between any two disk writes during capture, harvest, push, verdict,
 * stage and checkpoint (worked example 15): after the restart nothing is lost,
 * doubled or half visible, and going on ends where an undisturbed run ends. */
#include "tests/replica/kill_vfs.h"
#include "tests/replica/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* One step: what the server does, and what happens on the device. The server
 * is in memory, so after a death its part is done again and the device's only
 * from the step in which it died. */
struct step {
	void (*server)(struct fixture *f);
	void (*device)(struct fixture *f);
};

static void nothing(struct fixture *f)
{
	(void)f;
}

static void capture(struct fixture *f)
{
	app(f, "BEGIN; UPDATE account SET phone = '1', visit_count = 5"
	       " WHERE id = $a1;"
	       "INSERT OR IGNORE INTO account(id, name) VALUES($a2, 'N');"
	       "INSERT OR IGNORE INTO note(id, account_id, body)"
	       " VALUES($b1, $a2, 'n'); COMMIT");
}

static void harvest_once(struct fixture *f)
{
	(void)harvest(f);
	assert_int_equal(sat_replica_outbox_last(f->r), 1);
}

static void push_first(struct fixture *f)
{
	(void)toy_push(f, 1);
}

static void verdict_first(struct fixture *f)
{
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD, f->seq - 2,
		    0, NULL, NULL);
}

static void server_edits(struct fixture *f)
{
	(void)toy_write(f, 'u', "account", "a1", "email", "b@x", NULL);
	(void)toy_write(f, 'i', "account", "a3", "name", "Z", "territory_id",
			"e1", NULL);
}

static void pull(struct fixture *f)
{
	OK(sat_replica_stage_reset(f->r, false, &f->err));
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_send(f, REP_SCOPE, "account", "a3");
	toy_refs(f, REP_SCOPE, "account", "a2");
	toy_refs(f, REP_SCOPE, "note", "b1");
	toy_checkpoint(f, true);
}

static void edit_and_delete(struct fixture *f)
{
	app(f, "BEGIN; UPDATE account SET phone = '2', visit_count = 7"
	       " WHERE id = $a1; DELETE FROM account WHERE id = $a3; COMMIT");
}

static void harvest_twice(struct fixture *f)
{
	(void)harvest(f);
	assert_int_equal(sat_replica_outbox_last(f->r), 2);
}

static void reject_second(struct fixture *f)
{
	toy_verdict(f, 2, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a1");
}

static void leave(struct fixture *f)
{
	struct toy_row *row = toy_find(f, "account", "a2");

	row->scope_count = 0;
}

static void evict(struct fixture *f)
{
	struct toy_row *row = toy_find(f, "account", "a2");

	OK(sat_replica_stage_reset(f->r, false, &f->err));
	row->scope_count = 1;
	toy_evict(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
}

static const struct step steps[] = {
	{ nothing, capture },          { nothing, harvest_once },
	{ push_first, verdict_first }, { server_edits, pull },
	{ nothing, edit_and_delete },  { nothing, harvest_twice },
	{ nothing, reject_second },    { leave, evict },
};

/* Sees to it that no state in between is half of something. */
static void check_between(struct fixture *f, size_t done)
{
	struct sat_hash digest;
	struct sat_replica_status s;
	uint64_t rows, bad, seq;

	expect(f, "PRAGMA integrity_check", "ok");
	expect(f, "SELECT count(*) FROM _satchel_guard", "0");
	/* one transaction of the app is there whole or not at all */
	expect(f,
	       "SELECT (SELECT count(*) FROM account WHERE id = $a2) <="
	       " (SELECT count(*) FROM note)"
	       " AND ((SELECT phone FROM account WHERE id = $a1) = '100') ="
	       " ((SELECT count(*) FROM note) = 0)",
	       "1");
	OK(sat_replica_status(f->r, &s, &f->err));
	if (done > 0) /* what the app was told is stored */
		assert_int_not_equal(s.pending_rows + s.outbox_last, 0);
	expect(f, "SELECT count(*) = ifnull(max(seq), 0) FROM _satchel_outbox",
	       "1");
	for (seq = 1; seq <= s.outbox_last; seq++)
		assert_true(strlen(dump(f, seq)) > 0);
	OK(sat_replica_verify(f->r, &rows, &bad, &digest, &f->err));
	assert_int_equal(bad, 0);
	assert_true(
		sat_hash_equal(digest, sat_hash_unpack(f->r->facts.digest)));
}

static void check_end(struct fixture *f)
{
	expect(f,
	       "SELECT id, name, phone, email, visit_count FROM account"
	       " ORDER BY id",
	       "a1|X|1|b@x|5\na3|Z|-|-|0");
	expect(f, "SELECT body FROM note", "n");
	expect(f, "SELECT seq, reason FROM satchel_rejected", "2|scope");
	expect(f, "SELECT seq, state FROM _satchel_outbox ORDER BY seq",
	       "1|1\n2|2");
	expect(f,
	       "SELECT (SELECT count(*) FROM _satchel_dirty) +"
	       " (SELECT count(*) FROM _satchel_base) +"
	       " (SELECT count(*) FROM _satchel_stage) +"
	       " (SELECT count(*) FROM _satchel_pending) +"
	       " (SELECT count(*) FROM _satchel_orphan)",
	       "0");
}

static void child(struct fixture *f, unsigned long k, int out)
{
	char done = 0;

	kill_vfs_install(k);
	OK(sat_replica_open(f->path, &f->r, &f->err));
	f->c = sat_replica_catalogue(f->r);
	for (uint32_t i = 0; i < f->row_count; i++)
		f->rows[i].table =
			sat_catalogue_table_no(f->c, f->rows[i].table_no);
	for (size_t i = 0; i < SAT_COUNT_OF(steps); i++) {
		steps[i].server(f);
		steps[i].device(f);
		done = (char)(i + 1);
		if (write(out, &done, 1) != 1)
			abort();
	}
	sat_replica_close(f->r); /* checkpoints: more places to die */
	_exit(0);
}

/* True when the child lived to the end. */
static bool run_child(struct fixture *f, unsigned long k, size_t *ret_done)
{
	int ends[2], status;
	char done;
	pid_t pid;

	sat_replica_close(f->r);
	f->r = NULL;
	*ret_done = 0;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(f, k, ends[1]);
	(void)close(ends[1]);
	while (read(ends[0], &done, 1) == 1)
		*ret_done = (size_t)done;
	(void)close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return false;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return true;
}

static void at_every_write(unsigned long from, unsigned long stride)
{
	unsigned long k = from, died = 0;
	bool lived = false;

	for (; !lived; k += stride) {
		void *state = NULL;
		struct fixture *f;
		size_t done;

		assert_int_equal(setup(&state), 0);
		f = state;
		toy_account(f);
		lived = run_child(f, k, &done);
		died += !lived;
		reopen(f);
		for (size_t i = 0; i < done; i++)
			steps[i].server(f);
		check_between(f, done);
		for (size_t i = done; i < SAT_COUNT_OF(steps); i++) {
			steps[i].server(f);
			steps[i].device(f);
		}
		check_end(f);
		assert_int_equal(teardown(&state), 0);
	}
	print_message("died at %lu places, of %lu\n", died, k - stride);
	assert_true(died > 0);
}

static void nothing_is_lost_wherever_the_device_dies(void **state)
{
	(void)state;
	/* every seventh place; all of them when asked for, which takes a
	 * minute */
	at_every_write(1, getenv("SATCHEL_KILL_ALL") != NULL ? 1 : 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_wherever_the_device_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
