/* The file itself: made, opened, upgraded, rescued, kept small. */
#include "tests/replica/support.h"

#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- making and opening -------------------------------------------------- */

static void there_is_one_replica_per_folder(void **state)
{
	struct fixture *f = *state;
	struct sat_replica_identity who = { .replica = 8 };

	assert_int_equal(sat_replica_create(f->path, &who,
					    sat_catalogue_builtin(), &f->err),
			 SAT_E_EXISTS);
	expect(f, "SELECT v FROM _satchel_kv WHERE k = 'replica'", "7");
}

static void a_file_of_a_later_version_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct sat_replica *r = NULL;

	sat_replica_close(f->r);
	f->r = NULL;
	app(f, "PRAGMA user_version = 99");
	assert_int_equal(sat_replica_open(f->path, &r, &f->err), SAT_E_NEWER);
	app(f, "PRAGMA user_version = 1");
	app(f, "DELETE FROM _satchel_kv WHERE k = 'replica'");
	assert_int_equal(sat_replica_open(f->path, &r, &f->err), SAT_E_CORRUPT);
	assert_null(r);
}

/* An older library without JSON or STRICT must be able to read the schema;
 * what it cannot parse it refuses whole. */
static void the_sqlite3_program_reads_and_writes_it(void **state)
{
	struct fixture *f = *state;
	char command[600];

	(void)snprintf(command, sizeof command,
		       "sqlite3 -bail %s \"INSERT INTO account(name)"
		       " VALUES('店'); SELECT 1/(count(*)=1) FROM account;"
		       " PRAGMA integrity_check\" | tail -1 | grep -qx ok",
		       f->path);
	assert_int_equal(system(command), 0);
	expect(f,
	       "SELECT count(*) FROM sqlite_master WHERE sql GLOB '*) STRICT*'"
	       " OR sql GLOB '*json_*(*' OR sql GLOB '*GENERATED ALWAYS*'"
	       " OR sql GLOB '*unhex(*' OR sql GLOB '*iif(*'"
	       " OR sql GLOB '*->*' OR sql GLOB '*RETURNING*'",
	       "0");
	expect(f,
	       "SELECT count(*) FROM pragma_index_list('account')"
	       " WHERE \"unique\" AND origin <> 'pk'",
	       "0");
	expect(f, "SELECT count(*) FROM pragma_foreign_key_list('visit')", "0");
	assert_string_equal(query(f, "PRAGMA journal_mode"), "wal");
}

static void foreign_commits_are_noticed(void **state)
{
	struct fixture *f = *state;
	bool changed;

	OK(sat_replica_changed(f->r, &changed, &f->err));
	OK(sat_replica_changed(f->r, &changed, &f->err));
	assert_false(changed);
	app(f, "INSERT INTO account(name) VALUES('X')");
	OK(sat_replica_changed(f->r, &changed, &f->err));
	assert_true(changed);
	assert_int_equal(harvest(f), 1);
	OK(sat_replica_changed(f->r, &changed, &f->err));
	assert_false(changed); /* our own commits are none */
}

static void a_lock_held_elsewhere_is_busy(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;
	uint64_t seq;

	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X')");
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sat_replica_harvest(f->r, 0, false, 10, &seq, &f->err),
			 SAT_E_BUSY);
	assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(harvest(f), 1);
}

/* ---- a newer catalogue --------------------------------------------------- */

/* The built-in catalogue as version 2 with one more column of account, and
 * one more table. */
static char *next_catalogue(void)
{
	struct sat_slice old = sat_catalogue_builtin();
	json_error_t e;
	json_t *root = json_loadb((const char *)old.ptr, old.len, 0, &e);
	json_t *tables = json_object_get(root, "tables"), *column;
	char *text;

	assert_non_null(root);
	column = json_pack("{s:s,s:i,s:s,s:i,s:{s:s,s:s}}", "name", "floors",
			   "no", 900, "type", "int", "default", 1, "label",
			   "en", "Floors", "zh", "楼层");
	assert_non_null(column);
	json_object_set_new(root, "version", json_integer(2));
	for (size_t i = 0; i < json_array_size(tables); i++) {
		json_t *t = json_array_get(tables, i);

		if (strcmp(json_string_value(json_object_get(t, "name")),
			   "account") == 0)
			json_array_append(json_object_get(t, "columns"),
					  column);
	}
	json_array_append_new(
		tables, json_pack("{s:s,s:i,s:{s:s,s:s},s:[{s:b}],s:[s],s:[O]}",
				  "name", "shelf", "no", 900, "label", "en",
				  "Shelf", "zh", "货架", "scope", "global", 1,
				  "insert", "rep", "columns", column));
	json_decref(column);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static void a_newer_catalogue_alters_the_tables(void **state)
{
	struct fixture *f = *state;
	char *text = next_catalogue();
	struct sat_msg_catalogue c = { 2, sat_slice_str(text) };
	struct sat_msg_catalogue bad = { 3, sat_slice_str("{}") };

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'"); /* under the old one */
	f->rows[0].table = NULL; /* the toy's catalogue goes away */
	f->row_count = 0;
	OK(sat_replica_catalogue_store(f->r, &c, &f->err));
	OK(sat_replica_catalogue_store(f->r, &c, &f->err)); /* told twice */
	f->c = sat_replica_catalogue(f->r);
	assert_int_equal(sat_replica_outbox_last(f->r), 1);
	expect(f, "SELECT id, phone, floors FROM account", "a1|1|-");
	app(f, "UPDATE account SET floors = 3");
	expect_harvest(f, "update account a1 {1:1,7:1} on 2 floors=3\n");
	app(f, "INSERT INTO account(id, name) VALUES($a2, 'N');"
	       "INSERT INTO shelf(id) VALUES($b1)");
	expect_harvest(f, "insert shelf b1 floors=1\n"
			  "insert account a2 name=N territory_id=e1"
			  " class=potential owner_id=f1 kind=direct"
			  " state=active floors=1\n");
	expect(f, "SELECT floors FROM account ORDER BY id", "3\n1");
	assert_int_not_equal(sat_replica_catalogue_store(f->r, &bad, &f->err),
			     SAT_OK);
	reopen(f);
	assert_int_equal(f->c->version, 2);
	app(f, "UPDATE account SET floors = 4 WHERE id = $a2");
	expect_harvest(f, "update account a2 {7:3} floors=1>4\n");
	free(text);
}

static void an_unfitting_catalogue_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char *text = next_catalogue(), *p;
	struct sat_msg_catalogue c = { 2, sat_slice_str(text) };

	p = strstr(text, "\"name\":\"phone\"");
	assert_non_null(p);
	memcpy(p, "\"name\":\"phonx\"", 14); /* a rename is no addition */
	assert_int_equal(sat_replica_catalogue_store(f->r, &c, &f->err),
			 SAT_E_INVAL);
	assert_int_equal(sat_replica_catalogue(f->r)->version, 1);
	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X')");
	assert_int_equal(harvest(f), 1);
	free(text);
}

/* ---- welcome ------------------------------------------------------------- */

static struct sat_msg_welcome welcome(enum sat_role role)
{
	static const uint32_t scopes[] = { 0, REP_SCOPE };
	struct sat_msg_welcome w = { .version = 1,
				     .epoch = 99,
				     .offset_ms = 250,
				     .ratchet = { 1, 2, 3 },
				     .rights = { .version = 1,
						 .scopes = scopes,
						 .scope_count = 2,
						 .role = role } };

	w.rights.user = id_of("f1");
	w.rights.home = id_of("e1");
	return w;
}

static void hello_tells_what_welcome_said(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_welcome w = welcome(SAT_ROLE_REP);
	struct sat_msg_hello h;

	OK(sat_replica_welcome(f->r, &w, 0, &f->err));
	for (int i = 0; i < 40; i++)
		OK(sat_replica_clock_step(f->r, 1000 + i, 10, &f->err));
	app(f, "INSERT INTO account(id, name) VALUES($a1, 'X')");
	assert_int_equal(harvest(f), 1);
	OK(sat_replica_hello(f->r, 777, &h, &f->err));
	assert_int_equal(h.replica, 7);
	assert_int_equal(h.epoch, 99);
	assert_int_equal(h.cursor, 1);
	assert_int_equal(h.last_seq, 1);
	assert_int_equal(h.verdict_seq, 0);
	assert_int_equal(h.raw_ms, 777);
	assert_memory_equal(h.ratchet, w.ratchet, 16);
	assert_memory_equal(h.last_hash, f->r->facts.chain, 16);
	assert_int_equal(h.step_count, SAT_CLOCK_STEPS_MAX);
	assert_int_equal(h.steps[31].before_ms, 1039);
	assert_int_equal(h.steps[31].delta_ms, 10);
	/* the oldest ones became one */
	assert_int_equal(h.steps[0].delta_ms, 90);
	assert_int_equal(h.steps[0].before_ms, 1008);
}

static void another_role_reads_everything_again(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_welcome w = welcome(SAT_ROLE_MANAGER);
	struct sat_msg_hello h;

	toy_account(f);
	(void)toy_write(f, 'u', "account", "a1", "credit_limit", "500", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	(void)toy_write(f, 'i', "account", "a2", "name", "Y", "territory_id",
			"e1", NULL);
	toy_send(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
	expect(f, "SELECT id, credit_limit FROM account ORDER BY id",
	       "a1|-\na2|-");
	w.rights.version = 2;
	OK(sat_replica_welcome(f->r, &w, 0, &f->err));
	OK(sat_replica_hello(f->r, 0, &h, &f->err));
	assert_int_equal(h.cursor, 0);
	app(f, "INSERT INTO target(metric, period, start_day, value)"
	       " VALUES('visits', 'month', '2026-01-01', 5);"
	       "UPDATE account SET phone = '1' WHERE id = $a2");
	f->role = SAT_ROLE_MANAGER;
	toy_send(f, REP_SCOPE, "account", "a1");
	expect(f, "SELECT credit_limit FROM account WHERE id = $a1", "500");
	/* a2 is not sent again: it goes, but for its edit */
	f->row_count = 1;
	toy_checkpoint(f, true);
	expect(f, "SELECT id, name, phone FROM account ORDER BY id",
	       "a1|X|100\na2|Y|1");
	expect(f, "SELECT count(*) FROM _satchel_row", "1");
	OK(sat_replica_hello(f->r, 0, &h, &f->err));
	assert_true(h.cursor > 0);
}

/* Worked example 14: what the restored server has forgotten waits again. */
static void a_restored_server_gets_it_all_again(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_welcome w = welcome(SAT_ROLE_REP);
	struct sat_msg_hello h;
	uint8_t part[16], hash[16];
	uint64_t total;
	size_t n;

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	assert_int_equal(harvest(f), 1);
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD,
		    toy_push(f, 1), 0, NULL, NULL);
	app(f, "UPDATE account SET city = 'B'");
	assert_int_equal(harvest(f), 2);
	toy_verdict(f, 2, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD,
		    toy_push(f, 2), 0, NULL, NULL);
	toy_checkpoint(f, true);

	/* the backup holds neither */
	w.epoch = 100;
	w.last_seq = 0;
	f->row_count = 0;
	f->own = 0;
	f->seq = 1;
	assert_int_equal(sat_replica_welcome(f->r, &w, 0, &f->err), SAT_AGAIN);
	OK(sat_replica_hello(f->r, 0, &h, &f->err));
	assert_int_equal(h.epoch, 100);
	assert_int_equal(h.cursor, 0);
	assert_int_equal(h.verdict_seq, 0);
	assert_int_equal(h.last_seq, 2);
	expect(f, "SELECT phone, city FROM account", "1|B");
	(void)toy_write(f, 'i', "account", "a1", "name", "X", "territory_id",
			"e1", "phone", "100", "email", "a@x", "visit_count",
			"4", "tags", "+vip", "class", "normal", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_checkpoint(f, true);
	expect(f, "SELECT phone, city FROM account", "1|B");
	OK(sat_replica_outbox_read(f->r, 1, 0, part, sizeof part, &n, &total,
				   hash, &f->err));
	for (uint64_t seq = 1; seq <= 2; seq++)
		toy_verdict(f, seq, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD,
			    toy_push(f, seq), 0, NULL, NULL);
	toy_checkpoint(f, true);
	expect(f, "SELECT phone, city FROM account", "1|B");
	expect(f, "SELECT count(*) FROM _satchel_dirty", "0");
}

/* Rejected once more by a server that has forgotten it: listed once. */
static void a_rejection_is_listed_once(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_welcome w = welcome(SAT_ROLE_REP);

	toy_account(f);
	app(f, "UPDATE account SET phone = '1'");
	assert_int_equal(harvest(f), 1);
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a1");
	w.epoch = 100;
	assert_int_equal(sat_replica_welcome(f->r, &w, 0, &f->err), SAT_AGAIN);
	/* offered again as VOID: it never had an effect */
	expect(f, "SELECT state FROM _satchel_outbox", "4");
	toy_verdict(f, 1, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE,
		    "account", "a1");
	expect(f, "SELECT state FROM _satchel_outbox", "2");
	expect(f, "SELECT seq FROM _satchel_rejected", "1");
	expect(f, "SELECT phone FROM account", "100");
}

/* A checkpoint of a pull that did not start over must not sweep. */
static void a_partial_pull_sweeps_nothing(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_welcome w = welcome(SAT_ROLE_REP);

	toy_account(f);
	w.epoch = 100;
	assert_int_equal(sat_replica_welcome(f->r, &w, 0, &f->err), SAT_AGAIN);
	toy_checkpoint(f, false);
	expect(f, "SELECT count(*) FROM account", "1");
	assert_int_equal(f->r->facts.cursor, 0);
}

static void an_old_copy_of_the_file_is_found_out(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_welcome w = welcome(SAT_ROLE_REP);

	w.last_seq = 5;
	assert_int_equal(sat_replica_welcome(f->r, &w, 0, &f->err),
			 SAT_E_CORRUPT);
	assert_int_equal(f->r->facts.offset_ms, 0);
}

/* ---- stages -------------------------------------------------------------- */

static void a_page_in_parts_is_joined(void **state)
{
	struct fixture *f = *state;
	struct sat_msg_rows m = { .scope = REP_SCOPE, .table_no = 3 };
	uint8_t junk[4] = { 0xc1, 0xc1, 0xc1, 0xc1 };

	m.page = (struct sat_slice){ junk, sizeof junk };
	m.more = true;
	OK(sat_replica_stage_rows(f->r, &m, &f->err));
	m.table_no = 5; /* not how it began */
	assert_int_equal(sat_replica_stage_rows(f->r, &m, &f->err),
			 SAT_E_PROTO);
	m.more = false;
	assert_int_equal(sat_replica_stage_rows(f->r, &m, &f->err),
			 SAT_E_PROTO);
	m.table_no = 4711;
	assert_int_equal(sat_replica_stage_rows(f->r, &m, &f->err),
			 SAT_E_PROTO);
	expect(f, "SELECT count(*) FROM _satchel_stage", "0");
	f->parts = 7; /* bytes each */
	toy_account(f);
	expect(f, "SELECT name FROM account", "X");
}

static void half_a_stage_is_dropped(void **state)
{
	struct fixture *f = *state;

	(void)toy_write(f, 'i', "account", "a1", "name", "X", "territory_id",
			"e1", NULL);
	toy_send(f, REP_SCOPE, "account", "a1");
	expect(f, "SELECT count(*) FROM _satchel_stage", "1");
	OK(sat_replica_stage_reset(f->r, false, &f->err));
	expect(f, "SELECT count(*) FROM _satchel_stage", "0");
	OK(sat_replica_stage_reset(f->r, false, &f->err));
}

/* ---- upkeep -------------------------------------------------------------- */

static void upkeep_keeps_what_is_needed(void **state)
{
	struct fixture *f = *state;
	const int64_t day = 86400000;
	char wal[320];
	struct stat st;
	bool changed;

	toy_account(f);
	for (int i = 1; i <= 3; i++) {
		app(f, "UPDATE account SET phone = phone || '1'");
		assert_int_equal(harvest(f), i);
	}
	f->now_ms = 100 * day;
	toy_verdict(f, 1, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD,
		    toy_push(f, 1), 0, NULL, NULL);
	f->now_ms = 120 * day;
	toy_verdict(f, 2, SAT_VERDICT_APPLIED, SAT_VERDICT_AS_HELD,
		    toy_push(f, 2), 0, NULL, NULL);
	/* rejected ones stay, however old, for the person to see */
	f->now_ms = 90 * day;
	toy_verdict(f, 3, SAT_VERDICT_REJECTED, 0, 0, SAT_REASON_SCOPE, NULL,
		    NULL);
	OK(sat_replica_upkeep(f->r, 0, 30, 125 * day, &f->err));
	expect(f, "SELECT seq FROM _satchel_outbox ORDER BY seq", "1\n2\n3");
	(void)snprintf(wal, sizeof wal, "%s-wal", f->path);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0);
	OK(sat_replica_upkeep(f->r, 400, 30, 131 * day, &f->err));
	expect(f, "SELECT seq FROM _satchel_outbox ORDER BY seq", "2\n3");
	/* and then it leaves the file alone */
	app(f, "SELECT 1");
	OK(sat_replica_changed(f->r, &changed, &f->err));
	OK(sat_replica_upkeep(f->r, 400, 30, 131 * day, &f->err));
	OK(sat_replica_changed(f->r, &changed, &f->err));
	assert_false(changed);
}

/* ---- damage -------------------------------------------------------------- */

/* Overwrite the page where that table or index begins. */
static void damage(struct fixture *f, const char *name)
{
	char sql[256];
	uint8_t junk[4096];
	long page, size;
	int fd;

	(void)snprintf(sql, sizeof sql,
		       "SELECT rootpage FROM sqlite_master WHERE name = '%s'",
		       name);
	app(f, "PRAGMA wal_checkpoint(TRUNCATE)");
	page = strtol(query(f, sql), NULL, 10);
	size = strtol(query(f, "PRAGMA page_size"), NULL, 10);
	assert_true(page > 1 && size <= (long)sizeof junk);
	memset(junk, 0xa5, sizeof junk);
	sat_replica_close(f->r);
	f->r = NULL;
	fd = open(f->path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, (size_t)size, (page - 1) * size),
			 size);
	assert_int_equal(close(fd), 0);
}

static size_t damaged_files(struct fixture *f)
{
	char pattern[320];
	glob_t g;
	size_t n;

	(void)snprintf(pattern, sizeof pattern, "%s.damaged-*", f->path);
	if (glob(pattern, 0, NULL, &g) != 0)
		return 0;
	n = g.gl_pathc;
	globfree(&g);
	return n;
}

static void prepare(struct fixture *f)
{
	toy_account(f);
	(void)toy_write(f, 'i', "account", "a2", "name", "Y", "territory_id",
			"e1", "phone", "200", NULL);
	toy_send(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
	app(f, "INSERT INTO account(id, name) VALUES($a3, 'new')");
	assert_int_equal(harvest(f), 1);
	app(f, "UPDATE account SET phone = '111' WHERE id = $a1;"
	       "INSERT INTO note(id, account_id, body, at)"
	       " VALUES($b1, $a3, 'n', 5)");
}

static void a_sound_file_is_left_alone(void **state)
{
	struct fixture *f = *state;
	bool rescued = true;

	prepare(f);
	sat_replica_close(f->r);
	f->r = NULL;
	OK(sat_replica_check(f->path, &rescued, &f->err));
	assert_false(rescued);
	assert_int_equal(damaged_files(f), 0);
	reopen(f);
	assert_int_equal(harvest(f), 2);
}

static void unsent_changes_are_rescued(void **state)
{
	struct fixture *f = *state;
	bool rescued = false;

	prepare(f);
	damage(f, "account_by_name");
	OK(sat_replica_check(f->path, &rescued, &f->err));
	assert_true(rescued);
	assert_int_equal(damaged_files(f), 1);
	reopen(f);
	assert_int_equal(sat_replica_outbox_last(f->r), 1);
	expect(f, "SELECT id, name FROM account ORDER BY id", "a1|X\na3|new");
	/* what was captured is harvested as if nothing had happened */
	assert_int_equal(harvest(f), 2);
	assert_string_equal(dump(f, 2),
			    "update account a1 {1:1} phone=100>111\n"
			    "insert note b1 account_id=a3 user_id=f1 at=5"
			    " body=n\n");
}

/* The rows themselves cannot be read: an edit must not become a delete. */
static void what_cannot_be_read_is_not_deleted(void **state)
{
	struct fixture *f = *state;
	bool rescued = false;

	prepare(f);
	damage(f, "account");
	OK(sat_replica_check(f->path, &rescued, &f->err));
	assert_true(rescued);
	reopen(f);
	expect(f, "SELECT id, name FROM account", "a3|new"); /* outbox */
	expect(f, "SELECT id, body FROM note", "b1|n");
	expect(f, "SELECT reason FROM satchel_rejected", "encoding");
	assert_int_equal(harvest(f), 2);
	expect(f, "SELECT rows FROM _satchel_outbox WHERE seq = 2", "1");
	/* and the rest is fetched again */
	f->rows[0].seq = 900;
	toy_send(f, REP_SCOPE, "account", "a1");
	toy_send(f, REP_SCOPE, "account", "a2");
	toy_checkpoint(f, true);
	expect(f, "SELECT id FROM account ORDER BY id", "a1\na2\na3");
}

static void a_file_that_says_nothing_is_given_up(void **state)
{
	struct fixture *f = *state;
	bool rescued;

	prepare(f);
	damage(f, "_satchel_kv");
	assert_int_equal(sat_replica_check(f->path, &rescued, &f->err),
			 SAT_E_CORRUPT);
	assert_int_equal(damaged_files(f), 0);
}

static void a_rescue_cut_short_is_finished(void **state)
{
	struct fixture *f = *state;
	char done[320];
	bool rescued = false;

	prepare(f);
	sat_replica_close(f->r);
	f->r = NULL;
	(void)snprintf(done, sizeof done, "%s.rescue", f->path);
	assert_int_equal(rename(f->path, done), 0);
	OK(sat_replica_check(f->path, &rescued, &f->err));
	assert_true(rescued);
	reopen(f);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(there_is_one_replica_per_folder),
		T(a_file_of_a_later_version_is_left_alone),
		T(the_sqlite3_program_reads_and_writes_it),
		T(foreign_commits_are_noticed),
		T(a_lock_held_elsewhere_is_busy),
		T(a_newer_catalogue_alters_the_tables),
		T(an_unfitting_catalogue_changes_nothing),
		T(hello_tells_what_welcome_said),
		T(another_role_reads_everything_again),
		T(a_restored_server_gets_it_all_again),
		T(a_rejection_is_listed_once),
		T(a_partial_pull_sweeps_nothing),
		T(an_old_copy_of_the_file_is_found_out),
		T(a_page_in_parts_is_joined),
		T(half_a_stage_is_dropped),
		T(upkeep_keeps_what_is_needed),
		T(a_sound_file_is_left_alone),
		T(unsent_changes_are_rescued),
		T(what_cannot_be_read_is_not_deleted),
		T(a_file_that_says_nothing_is_given_up),
		T(a_rescue_cut_short_is_finished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
