/* People write with plain SQL, on a connection of their own, what their
 * replica shows them; the model notes what it was and whether it lasted. */
#include "tests/sim/people.h"

#include <stdlib.h>
#include <string.h>

struct act {
	struct sim_world *w;
	struct sim_device *d;
	struct sim_txn *t;
	int rc;
};

static void run(struct act *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void run(struct act *a, const char *fmt, ...)
{
	char sql[1200], *error = NULL;
	va_list args;

	if (a->rc != SQLITE_OK)
		return;
	va_start(args, fmt);
	(void)vsnprintf(sql, sizeof sql, fmt, args);
	va_end(args);
	a->rc = sqlite3_exec(a->d->app, sql, NULL, NULL, &error);
	if (a->w->trace)
		(void)printf("         %s: %s%s%s\n", a->d->name, sql,
			     error != NULL ? " -- " : "",
			     error != NULL ? error : "");
	sqlite3_free(error);
}

/* A text of the first row; "" for none. */
static void ask(struct act *a, char *out, size_t n, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void ask(struct act *a, char *out, size_t n, const char *fmt, ...)
{
	sqlite3_stmt *st = NULL;
	const unsigned char *text;
	char sql[600];
	va_list args;

	out[0] = '\0';
	if (a->rc != SQLITE_OK)
		return;
	va_start(args, fmt);
	(void)vsnprintf(sql, sizeof sql, fmt, args);
	va_end(args);
	a->rc = sqlite3_prepare_v2(a->d->app, sql, -1, &st, NULL);
	if (a->rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) {
		text = sqlite3_column_text(st, 0);
		(void)snprintf(out, n, "%s",
			       text == NULL ? "" : (const char *)text);
	}
	if (a->rc == SQLITE_OK)
		a->rc = sqlite3_finalize(st);
	else
		(void)sqlite3_finalize(st);
}

static struct sim_write *note(struct act *a, enum sim_kind kind, unsigned table,
			      unsigned field, const char *id, const char *value)
{
	struct sim_write *x = &a->t->writes[a->t->count];
	char held[32];

	SAT_ASSERT(a->t->count < SIM_WRITES_MAX);
	x->kind = kind;
	x->table = (uint8_t)table;
	x->field = (uint8_t)field;
	(void)snprintf(x->id, sizeof x->id, "%s", id);
	(void)snprintf(x->value, sizeof x->value, "%s", value);
	ask(a, held, sizeof held,
	    "SELECT seq FROM _satchel_row WHERE t = %d AND id ="
	    " X'%.8s%.4s%.4s%.4s%.12s'",
	    table == SIM_ACCOUNT ? 3
	    : table == SIM_VISIT ? 5
	    : table == SIM_NOTE  ? 7
				 : 11,
	    id, id + 9, id + 14, id + 19, id + 24);
	a->t->held[a->t->count++] = strtoull(held, NULL, 10);
	return x;
}

static void fresh(struct act *a, char *out, size_t n)
{
	(void)snprintf(out, n, "v%lu", (unsigned long)a->w->next_value++);
}

static void fresh_id(struct act *a, char out[37])
{
	ask(a, out, 37,
	    "SELECT lower(hex(randomblob(4)))||'-0000-7000-8000-'||"
	    "lower(hex(randomblob(6)))");
}

/* Where few rows are written by many, more meets. */
static void pick(struct act *a, const char *table, const char *where,
		 char out[37])
{
	uint32_t count;
	char n[16];

	ask(a, n, sizeof n, "SELECT count(*) FROM %s WHERE %s", table, where);
	out[0] = '\0';
	count = (uint32_t)strtoul(n, NULL, 10);
	if (count == 0)
		return;
	if (a->w->swarm.focus != 0 && count > a->w->swarm.focus)
		count = a->w->swarm.focus;
	ask(a, out, 37,
	    "SELECT id FROM %s WHERE %s ORDER BY id LIMIT 1 OFFSET %u", table,
	    where, sim_draw(count));
}

/* ---- what they do -------------------------------------------------------- */

static void set_text(struct act *a, unsigned table, unsigned field,
		     const char *id)
{
	char v[24];

	fresh(a, v, sizeof v);
	(void)note(a, SIM_SET, table, field, id, v);
	run(a, "UPDATE %s SET %s = '%s' WHERE id = '%s'",
	    sim_tables[table].name, sim_tables[table].fields[field].name, v,
	    id);
}

static void count_up(struct act *a, const char *id)
{
	int by = 1 + (int)sim_draw(5);
	struct sim_write *x = note(a, SIM_COUNT, SIM_ACCOUNT, 7, id, "");

	x->number = by;
	run(a,
	    "UPDATE account SET visit_count = visit_count + %d"
	    " WHERE id = '%s'",
	    by, id);
}

/* Times only ever get earlier, or later: others are refused. */
static void set_time(struct act *a, unsigned field, const char *id)
{
	char now[32], v[32];
	int64_t t;

	ask(a, now, sizeof now, "SELECT %s FROM account WHERE id = '%s'",
	    sim_tables[SIM_ACCOUNT].fields[field].name, id);
	t = now[0] == '\0' ? 1000000 : strtoll(now, NULL, 10);
	t += (field == 9 ? 1 : -1) * (1 + (int64_t)sim_draw(50));
	(void)snprintf(v, sizeof v, "%ld", (long)t);
	note(a, SIM_SET, SIM_ACCOUNT, field, id, v)->number = t;
	run(a, "UPDATE account SET %s = %s WHERE id = '%s'",
	    sim_tables[SIM_ACCOUNT].fields[field].name, v, id);
}

static void change_tags(struct act *a, const char *id)
{
	char v[24], old[40];

	if (sim_draw(3) < 2) {
		fresh(a, v, sizeof v);
		(void)note(a, SIM_ADD, SIM_ACCOUNT, 6, id, v);
		run(a,
		    "UPDATE account SET tags = (SELECT json_group_array(v)"
		    " FROM (SELECT value AS v FROM"
		    " json_each(coalesce(account.tags, '[]'))"
		    " UNION SELECT '%s' ORDER BY 1)) WHERE id = '%s'",
		    v, id);
		return;
	}
	ask(a, old, sizeof old,
	    "SELECT value FROM account, json_each(coalesce(tags, '[]'))"
	    " WHERE account.id = '%s' ORDER BY 1 LIMIT 1",
	    id);
	if (old[0] == '\0')
		return;
	(void)note(a, SIM_REMOVE, SIM_ACCOUNT, 6, id, old);
	run(a,
	    "UPDATE account SET tags = (SELECT json_group_array(value)"
	    " FROM (SELECT value FROM json_each(account.tags)"
	    " WHERE value <> '%s' ORDER BY 1)) WHERE id = '%s'",
	    old, id);
}

/* Managers show an account to others as well, or no more. */
static void share(struct act *a, const char *id)
{
	char territory[37], array[48] = "[]", old[400];

	sim_id_text(&a->w->territories[1 + sim_draw(SIM_TERRITORIES - 1)],
		    territory);
	if (sim_draw(3) > 0)
		(void)snprintf(array, sizeof array, "[\"%s\"]", territory);
	ask(a, old, sizeof old,
	    "SELECT coalesce(shared_with, '[]') FROM account WHERE id = '%s'",
	    id);
	if (strcmp(old, array) == 0)
		return;
	(void)note(a, SIM_SET, SIM_ACCOUNT, 2, id, array);
	run(a, "UPDATE account SET shared_with = '%s' WHERE id = '%s'", array,
	    id);
}

static void edit_account(struct act *a)
{
	static const uint8_t texts[] = { 3, 4, 0, 5 };
	char id[37];

	pick(a, "account", "1", id);
	if (id[0] == '\0')
		return;
	if (a->w->people[a->d->user].role != SAT_ROLE_REP && sim_draw(4) == 1) {
		share(a, id);
		return;
	}
	switch (sim_draw(9)) {
	case 0:
	case 1:
	case 2:
	case 3:
		set_text(a, SIM_ACCOUNT, texts[sim_draw(4)], id);
		break;
	case 4:
		set_text(a, SIM_ACCOUNT, texts[sim_draw(2)], id);
		count_up(a, id);
		break;
	case 5:
		count_up(a, id);
		break;
	case 6:
		set_time(a, 8 + sim_draw(2), id);
		break;
	default:
		change_tags(a, id);
		break;
	}
}

/* Two rows that are never seen one without the other. */
static void add_pair(struct act *a)
{
	char account[37], id[37], v[24], territory[37];

	pick(a, "account", "1", account);
	if (account[0] == '\0')
		return;
	ask(a, territory, sizeof territory,
	    "SELECT territory_id FROM account WHERE id = '%s'", account);
	(void)snprintf(v, sizeof v, "pair%lu",
		       (unsigned long)a->w->next_value++);
	for (int i = 0; i < 2; i++) {
		fresh_id(a, id);
		(void)note(a, SIM_INSERT, SIM_VISIT, 3, id, v);
		run(a,
		    "INSERT INTO visit(id, account_id, territory_id, notes)"
		    " VALUES('%s', '%s', '%s', '%s')",
		    id, account, territory, v);
	}
	set_text(a, SIM_ACCOUNT, 4, account);
}

/* Where he has nothing to say: his replica cannot know, the server does. */
static void trespass(struct act *a, const char *id, const char *v)
{
	unsigned home = a->w->people[a->d->user].home;
	char territory[37];

	sim_id_text(&a->w->territories[home == 5 ? 3 : 5], territory);
	a->t->foreign = true;
	(void)note(a, SIM_INSERT, SIM_ACCOUNT, 0, id, v);
	run(a,
	    "INSERT INTO account(id, name, territory_id)"
	    " VALUES('%s', '%s', '%s')",
	    id, v, territory);
}

static void add_rows(struct act *a)
{
	char account[37], visit[37], id[37], v[24];

	fresh_id(a, id);
	fresh(a, v, sizeof v);
	pick(a, "account", "1", account);
	switch (sim_draw(4)) {
	case 0:
		if (a->w->people[a->d->user].role == SAT_ROLE_REP &&
		    sim_draw(6) == 1) {
			trespass(a, id, v);
			return;
		}
		(void)note(a, SIM_INSERT, SIM_ACCOUNT, 0, id, v);
		run(a, "INSERT INTO account(id, name) VALUES('%s', '%s')", id,
		    v);
		break;
	case 1:
		(void)note(a, SIM_INSERT, SIM_TASK, 0, id, v);
		run(a,
		    "INSERT INTO task(id, title, made_with)"
		    " VALUES('%s', '%s', '%s')",
		    id, v, v);
		break;
	case 2:
		if (account[0] == '\0')
			return;
		(void)note(a, SIM_INSERT, SIM_VISIT, 3, id, v);
		run(a,
		    "INSERT INTO visit(id, account_id, notes)"
		    " VALUES('%s', '%s', '%s')",
		    id, account, v);
		break;
	default:
		pick(a, "visit", "notes NOT LIKE 'pair%'", visit);
		if (account[0] == '\0')
			return;
		(void)note(a, SIM_INSERT, SIM_NOTE, 2, id, v);
		run(a,
		    "INSERT INTO note(id, account_id, visit_id, body)"
		    " VALUES('%s', '%s', %s%s%s, '%s')",
		    id, account, visit[0] == '\0' ? "NULL" : "'", visit,
		    visit[0] == '\0' ? "" : "'", v);
		break;
	}
}

static void edit_visit(struct act *a)
{
	static const char *const states[] = { "planned", "checked_in", "done",
					      "missed", "cancelled" };
	const char *state = states[sim_draw(5)];
	struct sim_write *x;
	char id[37], old[16];

	pick(a, "visit", "notes NOT LIKE 'pair%'", id);
	if (id[0] == '\0')
		return;
	ask(a, old, sizeof old, "SELECT state FROM visit WHERE id = '%s'", id);
	if (sim_draw(2) == 0 || strcmp(old, state) == 0) {
		set_text(a, SIM_VISIT, 3, id);
		return;
	}
	x = note(a, SIM_SET, SIM_VISIT, 2, id, state);
	memcpy(x->old, old, sizeof old);
	run(a, "UPDATE visit SET state = '%s' WHERE id = '%s'", state, id);
}

static void edit_task(struct act *a)
{
	char id[37];

	pick(a, "task", "1", id);
	if (id[0] != '\0')
		set_text(a, SIM_TASK, 0, id);
}

static void delete_row(struct act *a)
{
	unsigned table = sim_draw(2) == 0 ? SIM_TASK : SIM_ACCOUNT;
	char id[37];

	if (sim_draw(2) == 1)
		table = SIM_VISIT;
	pick(a, sim_tables[table].name,
	     table == SIM_VISIT ? "notes NOT LIKE 'pair%'" : "1", id);
	if (id[0] == '\0')
		return;
	(void)note(a, SIM_DELETE, table, 0, id, "");
	run(a, "DELETE FROM %s WHERE id = '%s'", sim_tables[table].name, id);
}

static void something(struct act *a)
{
	switch (sim_draw(12)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		edit_account(a);
		break;
	case 5:
	case 6:
		add_rows(a);
		break;
	case 7:
		add_pair(a);
		break;
	case 8:
		edit_visit(a);
		break;
	case 9:
		edit_task(a);
		break;
	case 10:
		edit_account(a);
		edit_visit(a);
		break;
	default:
		delete_row(a);
		break;
	}
}

/* ---- one transaction ----------------------------------------------------- */

static void finish(struct act *a)
{
	struct sim_device *d = a->d;
	bool doubt = false;

	if (a->rc == SQLITE_OK && a->t->count == 0) {
		(void)sqlite3_exec(d->app, "ROLLBACK", NULL, NULL, NULL);
		a->w->ops.count--;
		return;
	}
	run(a, "INSERT INTO app_log VALUES(%ld)", (long)d->app_log + 1);
	if (a->rc == SQLITE_OK) {
		run(a, "COMMIT");
		doubt = a->rc != SQLITE_OK;
	}
	if (a->rc == SQLITE_OK) {
		a->t->outcome = SIM_OK;
		d->app_log++;
		a->w->txns++;
	} else {
		(void)sqlite3_exec(d->app, "ROLLBACK", NULL, NULL, NULL);
		a->t->outcome = doubt ? SIM_DOUBT : SIM_FAILED;
		d->doubt = doubt;
	}
}

void sim_people_write(struct sim_world *w, struct sim_device *d)
{
	struct act a = { .w = w, .d = d, .rc = SQLITE_OK };

	if (d->doubt) { /* it hangs: somebody opens it anew */
		(void)sqlite3_close_v2(d->app);
		d->app = NULL;
		sim_device_open_app(w, d);
		if (d->app == NULL)
			return;
	}
	a.t = sim_ops_txn(&w->ops);
	a.t->device = (int)d->no;
	a.t->at_ms = sim_now;
	a.t->log = d->app_log + 1;
	run(&a, "BEGIN IMMEDIATE");
	something(&a);
	finish(&a);
	if (!d->wait_event) {
		d->wait_event = true;
		d->event_ms = sim_now + sim_draw(w->swarm.notice_ms);
	}
}

void sim_people_changed(struct sim_world *w, unsigned user)
{
	for (unsigned i = 0; i < w->count; i++)
		if (w->devices[i].user == user)
			w->devices[i].moved_rights = true;
}
