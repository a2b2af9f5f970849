/* Everything a device does with its replica, with memory, SQLite, writes and
 * syncs that fail at one place after another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/db.h"
#include "tests/faults/fault.h"
#include "tests/replica/support.h"

/* ---- what the toy server says, kept for later -----------------------------
 */

enum { SAID_MAX = 64 };

enum said_kind { SAID_ROWS, SAID_EVICT, SAID_VERDICT, SAID_CHECKPOINT };

struct said {
	enum said_kind kind;
	union {
		struct sat_msg_rows rows;
		struct sat_msg_evict evict;
		struct sat_msg_verdict verdict;
		struct sat_msg_checkpoint checkpoint;
	};
};

static struct {
	bool on;
	struct said list[SAID_MAX];
	uint32_t count;
	struct sat_arena *memory;
} record;

int __real_sat_replica_stage_rows(struct sat_replica *r,
				  const struct sat_msg_rows *m,
				  struct sat_err *err);
int __real_sat_replica_stage_evict(struct sat_replica *r,
				   const struct sat_msg_evict *m,
				   struct sat_err *err);
int __real_sat_replica_verdict(struct sat_replica *r,
			       const struct sat_msg_verdict *v,
			       int64_t now_raw_ms, struct sat_err *err);
int __real_sat_replica_checkpoint(struct sat_replica *r,
				  const struct sat_msg_checkpoint *c,
				  int64_t now_raw_ms, uint64_t *ret_harvested,
				  bool *ret_digest_ok, struct sat_err *err);
int __wrap_sat_replica_stage_rows(struct sat_replica *r,
				  const struct sat_msg_rows *m,
				  struct sat_err *err);
int __wrap_sat_replica_stage_evict(struct sat_replica *r,
				   const struct sat_msg_evict *m,
				   struct sat_err *err);
int __wrap_sat_replica_verdict(struct sat_replica *r,
			       const struct sat_msg_verdict *v,
			       int64_t now_raw_ms, struct sat_err *err);
int __wrap_sat_replica_checkpoint(struct sat_replica *r,
				  const struct sat_msg_checkpoint *c,
				  int64_t now_raw_ms, uint64_t *ret_harvested,
				  bool *ret_digest_ok, struct sat_err *err);

static struct said *say(enum said_kind kind)
{
	assert_true(record.count < SAID_MAX);
	record.list[record.count].kind = kind;
	return &record.list[record.count++];
}

int __wrap_sat_replica_stage_rows(struct sat_replica *r,
				  const struct sat_msg_rows *m,
				  struct sat_err *err)
{
	struct said *s;

	if (!record.on)
		return __real_sat_replica_stage_rows(r, m, err);
	s = say(SAID_ROWS);
	s->rows = *m;
	return sat_arena_copy(record.memory, m->page, &s->rows.page);
}

int __wrap_sat_replica_stage_evict(struct sat_replica *r,
				   const struct sat_msg_evict *m,
				   struct sat_err *err)
{
	struct sat_id *ids;
	struct said *s;

	if (!record.on)
		return __real_sat_replica_stage_evict(r, m, err);
	s = say(SAID_EVICT);
	s->evict = *m;
	ids = sat_arena_array(record.memory, m->id_count, sizeof *ids);
	memcpy(ids, m->ids, m->id_count * sizeof *ids);
	s->evict.ids = ids;
	return SAT_OK;
}

int __wrap_sat_replica_verdict(struct sat_replica *r,
			       const struct sat_msg_verdict *v,
			       int64_t now_raw_ms, struct sat_err *err)
{
	if (!record.on)
		return __real_sat_replica_verdict(r, v, now_raw_ms, err);
	say(SAID_VERDICT)->verdict = *v;
	return SAT_OK;
}

int __wrap_sat_replica_checkpoint(struct sat_replica *r,
				  const struct sat_msg_checkpoint *c,
				  int64_t now_raw_ms, uint64_t *ret_harvested,
				  bool *ret_digest_ok, struct sat_err *err)
{
	if (!record.on)
		return __real_sat_replica_checkpoint(
			r, c, now_raw_ms, ret_harvested, ret_digest_ok, err);
	say(SAID_CHECKPOINT)->checkpoint = *c;
	*ret_harvested = 0;
	*ret_digest_ok = true;
	return SAT_OK;
}

static int hear(struct fixture *f, const struct said *s, struct sat_err *err)
{
	uint64_t harvested;
	bool ok = true;

	switch (s->kind) {
	case SAID_ROWS:
		return sat_replica_stage_rows(f->r, &s->rows, err);
	case SAID_EVICT:
		return sat_replica_stage_evict(f->r, &s->evict, err);
	case SAID_VERDICT:
		return sat_replica_verdict(f->r, &s->verdict, f->now_ms, err);
	default:
		break;
	}
	if (sat_replica_checkpoint(f->r, &s->checkpoint, f->now_ms, &harvested,
				   &ok, err) != SAT_OK)
		return err->rc;
	return ok ? SAT_OK
		  : sat_err_set(err, SAT_E_CORRUPT, 0, "digest",
				"the digest differs");
}

/* ---- acts -----------------------------------------------------------------
 */

/* As a connection does: what was staged on the last one goes first. */
static int act_hear(void *arg, struct sat_err *err)
{
	int rc =
		sat_replica_stage_reset(((struct fixture *)arg)->r, false, err);

	for (uint32_t i = 0; rc == SAT_OK && i < record.count; i++)
		rc = hear(arg, &record.list[i], err);
	return rc;
}

static int act_harvest(void *arg, struct sat_err *err)
{
	struct fixture *f = arg;
	uint64_t seq;

	return sat_replica_harvest(f->r, f->now_ms, false, 100, &seq, err);
}

/* An app: an ordinary connection of its own, a transaction, all or nothing. */
static int act_app(void *arg, struct sat_err *err)
{
	static const char *const work[] = {
		"BEGIN IMMEDIATE",
		"INSERT INTO account(id, name, tags) VALUES "
		"('00000000-0000-7000-8000-0000000000a7', '新店', '[\"vip\"]')",
		"INSERT INTO visit(id, account_id, notes) VALUES "
		"('00000000-0000-7000-8000-0000000000c7', "
		"'00000000-0000-7000-8000-0000000000a7', 'seen')",
		"UPDATE account SET phone = '7', visit_count = visit_count + 1",
		"DELETE FROM account WHERE name = 'Y'",
		"COMMIT",
	};
	struct fixture *f = arg;
	sqlite3 *db;
	int code = sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL);

	for (uint32_t i = 0; code == SQLITE_OK && i < SAT_COUNT_OF(work); i++)
		code = sqlite3_exec(db, work[i], NULL, NULL, NULL);
	if (code != SQLITE_OK)
		(void)sat_err_set(err, SAT_E_IO, code, "app", "%s",
				  sqlite3_errstr(code));
	if (code != SQLITE_OK && db != NULL && !sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	(void)sqlite3_close_v2(db);
	return code == SQLITE_OK ? SAT_OK : err->rc;
}

static int act_create(void *arg, struct sat_err *err)
{
	static const uint32_t scopes[] = { 0, REP_SCOPE };
	struct fixture *f = arg;
	struct sat_replica_identity who = {
		.replica = 7,
		.epoch = 99,
		.org = sat_slice_str("Org"),
		.login = sat_slice_str("ann"),
		.name = sat_slice_str("Ann"),
		.server = sat_slice_str("localhost:7443"),
		.rights = { .version = 1,
			    .scopes = scopes,
			    .scope_count = 2,
			    .role = SAT_ROLE_REP },
	};

	return sat_replica_create(f->path, &who, sat_catalogue_builtin(), err);
}

static int act_become(void *arg, struct sat_err *err)
{
	struct fixture *f = arg;

	/* The server has its first changeset, not the second. */
	return sat_replica_become(f->r, 8, 1, (struct sat_slice){ NULL, 0 },
				  err);
}

static int act_repair(void *arg, struct sat_err *err)
{
	return sat_replica_repair(((struct fixture *)arg)->r, err);
}

static int act_upkeep(void *arg, struct sat_err *err)
{
	struct fixture *f = arg;

	return sat_replica_upkeep(f->r, 1, 30,
				  f->now_ms + INT64_C(40) * 86400 * 1000, err);
}

static int act_lose_scope(void *arg, struct sat_err *err)
{
	struct fixture *f = arg;
	static const uint32_t left[] = { 0 };
	struct sat_rights g = { .version = 2,
				.user = id_of("f1"),
				.home = id_of("e1"),
				.scopes = left,
				.scope_count = 1,
				.role = SAT_ROLE_REP };

	return sat_replica_grant(f->r, &g, err);
}

/* ---- a scenario's folder ---------------------------------------------------
 */

static char work[] = "/tmp/sat-faults-work-XXXXXX";

static void open_work(void *arg)
{
	struct fixture *f = arg;

	(void)snprintf(f->path, sizeof f->path, "%s/replica.db", work);
	if (access(f->path, F_OK) == 0)
		reopen(f);
}

static void close_work(void *arg)
{
	struct fixture *f = arg;

	sat_replica_close(f->r);
	f->r = NULL;
}

/* The rows of a table, whatever it has. */
static void look_at(sqlite3 *db, const char *name, FILE *out)
{
	char *sql = sqlite3_mprintf(
		"SELECT *, 0, 0 FROM \"%w\" ORDER BY 1, 2, 3", name);
	sqlite3_stmt *stmt;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL),
			 SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		(void)fputs(name, out);
		for (int i = 0; i < sqlite3_column_count(stmt) - 2; i++) {
			const char *column = sqlite3_column_name(stmt, i);
			const uint8_t *p = sqlite3_column_blob(stmt, i);
			int n = sqlite3_column_bytes(stmt, i);
			const char *end = strrchr(column, '_');

			/* the wall clock */
			if (strcmp(end == NULL ? column : end + 1, "at") == 0)
				continue;
			(void)fprintf(out, " %s=", column);
			for (int k = 0; k < n; k++)
				(void)fprintf(out,
					      p[k] >= ' ' && p[k] < 127
						      ? "%c"
						      : "\\%02x",
					      p[k]);
		}
		(void)fputc('\n', out);
	}
	(void)sqlite3_finalize(stmt);
	sqlite3_free(sql);
}

/* Everything but what SQLite counts for itself. */
static char *look(void *arg)
{
	struct fixture *f = arg;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	sqlite3_stmt *names;
	sqlite3 *db;

	assert_non_null(out);
	if (access(f->path, F_OK) == 0) {
		assert_int_equal(sqlite3_open_v2(f->path, &db,
						 SQLITE_OPEN_READWRITE, NULL),
				 SQLITE_OK);
		assert_int_equal(
			sqlite3_prepare_v2(db,
					   "SELECT name FROM sqlite_master "
					   "WHERE type = 'table' AND name NOT "
					   "LIKE 'sqlite_%' ORDER BY name",
					   -1, &names, NULL),
			SQLITE_OK);
		while (sqlite3_step(names) == SQLITE_ROW)
			look_at(db, (const char *)sqlite3_column_text(names, 0),
				out);
		(void)sqlite3_finalize(names);
		(void)sqlite3_close(db);
	}
	(void)fclose(out);
	return text;
}

static void sweep_replica(struct fixture *f, const char *name,
			  int (*act)(void *, struct sat_err *), bool in_steps)
{
	const struct scenario s = { .name = name,
				    .folder = f->folder,
				    .work = work,
				    .in_steps = in_steps,
				    .open = open_work,
				    .act = act,
				    .look = look,
				    .close = close_work,
				    .arg = f };

	record.on = false;
	sat_replica_close(f->r);
	f->r = NULL;
	sweep(&s);
	(void)snprintf(f->path, sizeof f->path, "%s/replica.db", f->folder);
	if (access(f->path, F_OK) == 0)
		reopen(f);
}

static void listen_to_the_server(struct fixture *f)
{
	record.on = true;
	record.count = 0;
	record.memory = &f->a;
}

/* ---- scenarios --------------------------------------------------------------
 */

static void two_accounts(struct fixture *f)
{
	toy_account(f);
	(void)toy_write(f, 'i', "account", "a2", "name", "Y", "territory_id",
			"e1", NULL);
	toy_send(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
}

static void edited(struct fixture *f)
{
	two_accounts(f);
	app(f, "UPDATE account SET phone = '111', visit_count = visit_count + 1"
	       " WHERE id = $a1; DELETE FROM account WHERE id = $a2; "
	       "INSERT INTO visit(id, account_id, notes) "
	       "VALUES ($c1, $a1, 'seen')");
}

static void enrolling(void **state)
{
	struct fixture *f = *state;

	sat_replica_close(f->r);
	f->r = NULL;
	(void)unlink(f->path);
	sweep_replica(f, "create", act_create, false);
	fixture_create(f, 1);
}

static void capturing(void **state)
{
	two_accounts(*state);
	sweep_replica(*state, "capture", act_app, false);
}

static void harvesting(void **state)
{
	edited(*state);
	sweep_replica(*state, "harvest", act_harvest, false);
}

static void a_verdict(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	edited(f);
	assert_int_equal(harvest(f), 1);
	first = toy_push(f, 1);
	listen_to_the_server(f);
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD, first, 0,
		    NULL, NULL);
	sweep_replica(f, "verdict, as held", act_hear, false);
}

static void a_refusal(void **state)
{
	struct fixture *f = *state;

	edited(f);
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '112' WHERE id = $a1");
	assert_int_equal(harvest(f), 2); /* leans on the first */
	listen_to_the_server(f);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_TOO_LATE,
		    "account", "a1");
	sweep_replica(f, "verdict, rejected", act_hear, false);
}

static void a_merge_comes_back(void **state)
{
	struct fixture *f = *state;
	struct sat_dot seen = { 1, 1 };

	edited(f);
	assert_int_equal(harvest(f), 1);
	(void)toy_write_as(f, 9, 1, (struct sat_vv){ &seen, 1 }, 'u', "account",
			   "a1", "name", "X GmbH", "phone", "222", NULL);
	(void)toy_push(f, 1);
	app(f, "UPDATE account SET name = 'X Ltd' WHERE id = $a1");
	listen_to_the_server(f);
	toy_verdict(f, 1, SAT_VERDICT_MERGED, 0, 0, 0, NULL, NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_send(f, REP_SCOPE, "account", "a2");
	toy_send(f, REP_SCOPE, "visit", "c1");
	toy_checkpoint(f, true);
	sweep_replica(f, "merge, pull", act_hear, true);
}

static void rows_leave(void **state)
{
	struct fixture *f = *state;

	two_accounts(f);
	app(f, "UPDATE account SET phone = '1' WHERE id = $a1");
	listen_to_the_server(f);
	toy_evict(f, REP_SCOPE, "account", "a1");
	toy_evict(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
	sweep_replica(f, "evict", act_hear, true);
}

static void a_scope_is_lost(void **state)
{
	edited(*state);
	sweep_replica(*state, "grant, scope lost", act_lose_scope, true);
}

static void the_first_data(void **state)
{
	struct fixture *f = *state;
	char alias[3];

	listen_to_the_server(f);
	for (unsigned i = 0x10; i < 0x28; i++) {
		(void)snprintf(alias, sizeof alias, "%02x", i);
		(void)toy_write(f, 'i', "account", alias, "name", "shop",
				"territory_id", "e1", NULL);
		toy_send(f, REP_SCOPE, "account", alias);
	}
	toy_checkpoint(f, true);
	sweep_replica(f, "bootstrap", act_hear, true);
}

static void a_copy_gets_a_number(void **state)
{
	struct fixture *f = *state;

	edited(f);
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '112' WHERE id = $a1");
	assert_int_equal(harvest(f), 2);
	sweep_replica(f, "become another device", act_become, false);
}

static void everything_anew(void **state)
{
	edited(*state);
	sweep_replica(*state, "repair", act_repair, false);
}

static void years_pass(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	edited(f);
	assert_int_equal(harvest(f), 1);
	first = toy_push(f, 1);
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD, first, 0,
		    NULL, NULL);
	sweep_replica(f, "upkeep", act_upkeep, false);
}

/* With a name: that one alone. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(enrolling, setup, teardown),
		cmocka_unit_test_setup_teardown(capturing, setup, teardown),
		cmocka_unit_test_setup_teardown(harvesting, setup, teardown),
		cmocka_unit_test_setup_teardown(a_verdict, setup, teardown),
		cmocka_unit_test_setup_teardown(a_refusal, setup, teardown),
		cmocka_unit_test_setup_teardown(a_merge_comes_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(rows_leave, setup, teardown),
		cmocka_unit_test_setup_teardown(a_scope_is_lost, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_first_data, setup_filling,
						teardown),
		cmocka_unit_test_setup_teardown(a_copy_gets_a_number, setup,
						teardown),
		cmocka_unit_test_setup_teardown(everything_anew, setup,
						teardown),
		cmocka_unit_test_setup_teardown(years_pass, setup, teardown),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	fault_install();
	assert_non_null(mkdtemp(work));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
