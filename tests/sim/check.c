/* What must hold of every replica, whatever happened. Tables are compared as
 * any program would read them. */
#include "tests/sim/oracle.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"

/* ---- after a start ------------------------------------------------------- */

/* I2: what was committed is there, I5: whole. */
void sim_check_device(struct sim_world *w, struct sim_device *d)
{
	int64_t log = sim_number(d->app, "SELECT coalesce(max(n), 0)"
					 " FROM app_log");
	int64_t torn;

	if (log < 0)
		return; /* its disk fails */
	if (log < d->app_log)
		sim_fail(w, "I2: %s lost transaction %ld of %ld", d->name,
			 (long)log + 1, (long)d->app_log);
	if (log > d->app_log + (d->doubt ? 1 : 0))
		sim_fail(w, "I2: %s has transaction %ld of %ld", d->name,
			 (long)log, (long)d->app_log);
	for (size_t i = w->ops.count; d->doubt && i > 0; i--) {
		struct sim_txn *t = &w->ops.txns[i - 1];

		if (t->device != (int)d->no || t->outcome != SIM_DOUBT)
			continue;
		t->outcome = log > d->app_log ? SIM_OK : SIM_FAILED;
		break;
	}
	d->doubt = false;
	d->app_log = log;
	torn = sim_number(d->app,
			  "SELECT count(*) FROM (SELECT 1 FROM visit WHERE"
			  " notes LIKE 'pair%' GROUP BY notes"
			  " HAVING count(*) <> 2)");
	if (torn > 0 &&
	    sim_number(d->app, "SELECT count(*) FROM _satchel_kv"
			       " WHERE k = 'filling' AND v <> 0") == 0)
		sim_fail(w, "I5: %s shows half a transaction", d->name);
}

/* For whoever reads a trace: where the two sides differ. */
static void show_differences(struct sim_device *d)
{
	static const char *const tables[] = { "account", "visit", "note",
					      "task", "conflict" };
	static const int numbers[] = { 3, 5, 7, 11, 17 };
	struct sqlite3 *srv = sim_server_reader();
	sqlite3_stmt *st, *other;
	char sql[300];

	for (size_t i = 0; srv != NULL && i < SAT_COUNT_OF(tables); i++) {
		(void)snprintf(sql, sizeof sql,
			       "SELECT id, seq, meta, hex(scopes)"
			       " FROM _satchel_row"
			       " WHERE t = %d",
			       numbers[i]);
		st = other = NULL;
		(void)sqlite3_prepare_v2(d->app, sql, -1, &st, NULL);
		(void)snprintf(sql, sizeof sql,
			       "SELECT _seq, _meta, _flags, (SELECT"
			       " group_concat(scope) FROM _feed WHERE tbl ="
			       " %d AND row_seq = _seq AND id IS NULL)"
			       " FROM \"%s\""
			       " WHERE id = ?1",
			       numbers[i], tables[i]);
		(void)sqlite3_prepare_v2(srv, sql, -1, &other, NULL);
		while (st != NULL && sqlite3_step(st) == SQLITE_ROW) {
			const struct sat_id *id = sqlite3_column_blob(st, 0);
			int n = sqlite3_column_bytes(st, 2);
			char text[37];

			sim_id_text(id, text);
			(void)sqlite3_bind_blob(other, 1, id, 16,
						SQLITE_STATIC);
			if (sqlite3_step(other) != SQLITE_ROW)
				(void)printf("  %s %s: not on the server\n",
					     tables[i], text);
			else if (sqlite3_column_int64(other, 0) !=
					 sqlite3_column_int64(st, 1) ||
				 sqlite3_column_bytes(other, 1) != n ||
				 memcmp(sqlite3_column_blob(other, 1),
					sqlite3_column_blob(st, 2),
					(size_t)n) != 0)
				(void)printf(
					"  %s %s: _seq %ld, here %ld;"
					" flags %d\n",
					tables[i], text,
					(long)sqlite3_column_int64(other, 0),
					(long)sqlite3_column_int64(st, 1),
					sqlite3_column_int(other, 2));
			else if (i == 0)
				(void)printf("  %s %s: in %s, here %s\n",
					     tables[i], text,
					     sqlite3_column_text(other, 3),
					     sqlite3_column_text(st, 3));
			(void)sqlite3_reset(other);
		}
		(void)sqlite3_finalize(st);
		(void)sqlite3_finalize(other);
	}
	(void)sqlite3_close(srv);
}

void sim_check_digest(struct sim_world *w, struct sat_replica *r)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct sim_device *d = &w->devices[i];

		if (d->replica != r)
			continue;
		/* After a restore it is the digest that tells of rows which
		 * had left in the history that is gone. */
		if (w->srv.restores > 0)
			continue;
		if (w->trace && w->fail[0] == '\0' && d->app != NULL)
			show_differences(d);
		sim_fail(w, "I3: the digest of %s differs from the server's",
			 d->name);
	}
}

/* Which changeset holds what was committed since the last look. */
void sim_device_look(struct sim_world *w, struct sim_device *d)
{
	uint64_t last;

	if (d->replica == NULL)
		return;
	last = sat_replica_outbox_last(d->replica);
	if (last <= d->outbox_last)
		return;
	for (size_t i = w->ops.count; i > 0; i--) {
		struct sim_txn *t = &w->ops.txns[i - 1];

		if (t->device != (int)d->no)
			continue;
		if (t->seq != 0)
			break;
		t->seq = d->outbox_last + 1;
		t->replica = d->keys.identity.replica;
	}
	sim_trace(w, "%s gathers (%u,%lu)", d->name, d->keys.identity.replica,
		  (unsigned long)last);
	d->outbox_last = last;
}

/* ---- tables -------------------------------------------------------------- */

/* Is the territory below one that the device's user is granted? Worked out
 * from the list of grants alone. */
static bool granted(struct sqlite3 *srv, const struct sim_world *w,
		    unsigned user, const char *hex)
{
	sqlite3_stmt *st = NULL;
	char text[40];
	bool yes = false;
	int at = -1;

	for (int i = 0; i < SIM_TERRITORIES; i++) {
		for (int k = 0; k < 16; k++)
			(void)snprintf(text + 2 * k, 3, "%02x",
				       w->territories[i].b[k]);
		if (strcmp(text, hex) == 0)
			at = i;
	}
	SAT_ASSERT(sqlite3_prepare_v2(srv,
				      "SELECT territory FROM _grant"
				      " WHERE user = ?1",
				      -1, &st, NULL) == SQLITE_OK);
	(void)sqlite3_bind_blob(st, 1, &w->people[user].id, 16, SQLITE_STATIC);
	while (at >= 0 && !yes && sqlite3_step(st) == SQLITE_ROW) {
		for (int up = at; up >= 0; up = w->parents[up])
			if (memcmp(sqlite3_column_blob(st, 0),
				   &w->territories[up], 16) == 0)
				yes = true;
	}
	(void)sqlite3_finalize(st);
	return yes;
}

struct sheet {
	char **lines;
	size_t count, cap;
};

static void sheet_add(struct sheet *s, const char *line)
{
	if (s->count == s->cap) {
		s->cap = s->cap == 0 ? 64 : s->cap * 2;
		s->lines = realloc(s->lines, s->cap * sizeof *s->lines);
		SAT_ASSERT(s->lines != NULL);
	}
	s->lines[s->count] = strdup(line);
	SAT_ASSERT(s->lines[s->count] != NULL);
	s->count++;
}

static void sheet_free(struct sheet *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->lines[i]);
	free(s->lines);
	memset(s, 0, sizeof *s);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Text of one table. Ids and references read the same on both sides. */
static void columns_of(unsigned table, bool managers, bool server, char *out,
		       size_t n)
{
	const struct sim_table *t = &sim_tables[table];
	size_t at = 0;

	at += (size_t)snprintf(out + at, n - at,
			       server ? "lower(hex(id))"
				      : "replace(id, '-', '')");
	for (unsigned f = 0; t->fields[f].name != NULL; f++) {
		const char *name = t->fields[f].name;
		size_t len = strlen(name);
		bool ref = len > 3 && strcmp(name + len - 3, "_id") == 0;

		if (t->fields[f].managers && !managers)
			continue;
		at += (size_t)snprintf(
			out + at, n - at,
			ref && server ? "||'|'||coalesce(nullif(lower(hex(%s)),"
					" ''), '-')"
			: ref ? "||'|'||coalesce(replace(%s, '-', ''), '-')"
			: strcmp(t->fields[f].policy, "set") == 0
				? "||'|'||coalesce(nullif(%s, '[]'), '-')"
				: "||'|'||coalesce(%s, '-')",
			name);
	}
}

/* The territories that make a row's scopes: its own, or via its parents. */
#define SHARED(of)                                                         \
	"(SELECT coalesce(group_concat(replace(value, '-', ''), ','), '')" \
	" FROM json_each(coalesce(" of ".shared_with, '[]')))"
static const char *const scopes_sql[] = {
	[SIM_ACCOUNT] = "lower(hex(territory_id))||','||" SHARED("t"),
	[SIM_VISIT] = "lower(hex(territory_id))",
	[SIM_NOTE] =
		"coalesce((SELECT lower(hex(territory_id)) || ',' ||" SHARED(
			"a") " FROM account a"
			     " WHERE a.id = t.account_id), '') || ',' ||"
			     " lower(hex(coalesce((SELECT territory_id FROM "
			     "visit v"
			     " WHERE v.id = t.visit_id), x'')))",
	[SIM_TASK] = "lower(hex(territory_id))",
};

static bool in_scope(struct sqlite3 *srv, const struct sim_world *w,
		     unsigned user, const char *scopes)
{
	char one[33];

	for (const char *p = scopes; strlen(p) >= 32;) {
		if (*p == ',') {
			p++;
			continue;
		}
		memcpy(one, p, 32);
		one[32] = '\0';
		if (granted(srv, w, user, one))
			return true;
		p += 32;
	}
	return false;
}

static bool server_sheet(struct sqlite3 *srv, const struct sim_world *w,
			 unsigned user, unsigned table, struct sheet *s)
{
	bool managers = w->people[user].role != SAT_ROLE_REP;
	char columns[900], sql[1600];
	sqlite3_stmt *st = NULL;

	columns_of(table, managers, true, columns, sizeof columns);
	(void)snprintf(sql, sizeof sql,
		       "SELECT %s, %s FROM \"%s\" t WHERE _flags & 2 = 0",
		       columns, scopes_sql[table], sim_tables[table].name);
	if (sqlite3_prepare_v2(srv, sql, -1, &st, NULL) != SQLITE_OK)
		return false;
	while (sqlite3_step(st) == SQLITE_ROW) {
		if (in_scope(srv, w, user,
			     (const char *)sqlite3_column_text(st, 1)))
			sheet_add(s, (const char *)sqlite3_column_text(st, 0));
	}
	if (s->count > 0)
		qsort(s->lines, s->count, sizeof *s->lines, by_text);
	return sqlite3_finalize(st) == SQLITE_OK;
}

static bool device_sheet(struct sim_device *d, bool managers, unsigned table,
			 struct sheet *s)
{
	char columns[900], sql[1600];
	sqlite3_stmt *st = NULL;

	columns_of(table, managers, false, columns, sizeof columns);
	(void)snprintf(sql, sizeof sql, "SELECT %s FROM \"%s\"", columns,
		       sim_tables[table].name);
	if (sqlite3_prepare_v2(d->app, sql, -1, &st, NULL) != SQLITE_OK)
		return false;
	while (sqlite3_step(st) == SQLITE_ROW)
		sheet_add(s, (const char *)sqlite3_column_text(st, 0));
	if (s->count > 0)
		qsort(s->lines, s->count, sizeof *s->lines, by_text);
	return sqlite3_finalize(st) == SQLITE_OK;
}

/* I3, I10, I12: each replica shows exactly what it may see, as it is. */
static bool same_table(struct sim_world *w, struct sqlite3 *srv,
		       struct sim_device *d, unsigned table, char *why,
		       size_t n)
{
	bool same = false;
	struct sheet a = { 0 }, b = { 0 };
	size_t i;

	if (!server_sheet(srv, w, d->user, table, &a) ||
	    !device_sheet(d, w->people[d->user].role != SAT_ROLE_REP, table,
			  &b)) {
		(void)snprintf(why, n, "a table cannot be read: %s",
			       sqlite3_errmsg(srv));
	} else {
		for (i = 0; i < a.count && i < b.count; i++)
			if (strcmp(a.lines[i], b.lines[i]) != 0)
				break;
		same = i == a.count && i == b.count;
		if (!same)
			(void)snprintf(why, n,
				       "I3: %s of %s: server %s device %s",
				       sim_tables[table].name, d->name,
				       i < a.count ? a.lines[i] : "none",
				       i < b.count ? b.lines[i] : "none");
	}
	sheet_free(&a);
	sheet_free(&b);
	return same;
}

/* ---- at the end ---------------------------------------------------------- */

static bool device_settled(struct sim_world *w, struct sim_device *d,
			   uint64_t head, char *why, size_t n)
{
	struct sat_agent_status as;
	struct sat_replica_status rs;
	struct sat_err err;

	if (d->agent == NULL) {
		(void)snprintf(why, n, "%s is down", d->name);
		return false;
	}
	sim_here = &d->machine;
	sat_agent_status(d->agent, &as);
	if (sat_replica_status(d->replica, &rs, &err) != SAT_OK) {
		sim_here = NULL;
		(void)snprintf(why, n, "%s: %s", d->name, err.msg);
		return false;
	}
	sim_here = NULL;
	(void)w;
	(void)snprintf(why, n,
		       "%s: state %d (%s) outbox %lu pending %lu cursor %lu"
		       " of %lu filling %d digest %d",
		       d->name, (int)as.state, as.last_error,
		       (unsigned long)rs.outbox, (unsigned long)rs.pending_rows,
		       (unsigned long)rs.cursor, (unsigned long)head,
		       rs.filling, rs.digest);
	return as.state == SAT_AGENT_CONNECTED && rs.outbox == 0 &&
	       rs.pending_rows == 0 && !rs.filling && rs.digest == 1 &&
	       as.digest_ok;
}

static bool all_same(struct sim_world *w, char *why, size_t n)
{
	struct sqlite3 *srv = sim_server_reader();
	bool same = srv != NULL;

	for (unsigned i = 0; i < w->count && same; i++) {
		struct sim_device *d = &w->devices[i];

		sim_device_open_app(w, d);
		(void)snprintf(why, n, "%s cannot be opened", d->name);
		same = d->app != NULL;
		sim_here = &d->machine;
		for (unsigned t = 0; t < SIM_TABLES && same; t++)
			same = same_table(w, srv, d, t, why, n);
		sim_here = NULL;
	}
	(void)sqlite3_close(srv);
	return same;
}

bool sim_converged(struct sim_world *w, char *why, size_t n)
{
	(void)snprintf(why, n, "the server is down");
	if (w->srv.server == NULL || w->srv.admin_out > 0)
		return false;
	for (unsigned i = 0; i < w->count; i++) {
		if (!device_settled(w, &w->devices[i], w->ops.head, why, n))
			return false;
	}
	return all_same(w, why, n);
}

/* May it have come to nothing together with the next one, before anybody
 * gathered them? */
static bool nets_out(const struct sim_txn *t)
{
	for (unsigned i = 0; i < t->count; i++) {
		const struct sim_write *x = &t->writes[i];

		if (x->kind == SIM_COUNT ||
		    (x->kind == SIM_SET && x->old[0] == '\0' &&
		     !(x->table == SIM_ACCOUNT && x->field == 2)))
			return false;
	}
	return true;
}

/* I1, I4 and I2 of every transaction: it is in a changeset, and that is
 * decided. */
static void check_txns(struct sim_world *w)
{
	for (size_t i = 0; i < w->ops.count; i++) {
		const struct sim_txn *t = &w->ops.txns[i];
		unsigned found = 0;

		if (t->device < 0 || t->outcome != SIM_OK)
			continue;
		if (t->seq == 0 && nets_out(t))
			continue;
		if (t->seq == 0) {
			sim_fail(w,
				 "I2: transaction %ld of d%d was never"
				 " gathered",
				 (long)t->log, t->device);
			return;
		}
		for (size_t k = 0; k < w->ops.verdict_count; k++) {
			const struct sim_verdict *v = &w->ops.verdicts[k];

			if (v->replica != t->replica || v->seq != t->seq ||
			    v->lost)
				continue;
			found++;
			if (t->foreign && !w->devices[t->device].moved_rights &&
			    v->status != SAT_VERDICT_REJECTED &&
			    v->status != SAT_VERDICT_PARKED)
				sim_fail(w,
					 "I11: (%u,%lu) writes where it may"
					 " not",
					 t->replica, (unsigned long)t->seq);
		}
		if (found == 0)
			sim_fail(w, "I1: changeset (%u,%lu) was never decided",
				 t->replica, (unsigned long)t->seq);
		if (found > 1)
			sim_fail(w,
				 "I4: changeset (%u,%lu) was applied %u"
				 " times",
				 t->replica, (unsigned long)t->seq, found);
	}
}

void sim_check_end(struct sim_world *w)
{
	struct sqlite3 *srv;

	for (unsigned i = 0; i < w->count && w->fail[0] == '\0'; i++) {
		struct sim_device *d = &w->devices[i];

		sim_here = &d->machine;
		if (d->app != NULL)
			sim_check_device(w, d);
		sim_here = NULL;
	}
	check_txns(w);
	srv = w->fail[0] == '\0' ? sim_server_reader() : NULL;
	if (srv != NULL) {
		sim_check_stamps(w);
		if (sim_number(srv, "SELECT count(*) FROM (SELECT 1 FROM visit"
				    " WHERE notes LIKE 'pair%' GROUP BY notes"
				    " HAVING count(*) <> 2)") != 0)
			sim_fail(w, "I5: the server holds half a"
				    " transaction");
		if (sim_number(srv, "SELECT count(*) FROM visit v JOIN account"
				    " a ON a.id = v.account_id WHERE v.notes"
				    " LIKE 'pair%' AND a._flags & 2 = 0 AND"
				    " v.territory_id <> a.territory_id") != 0)
			sim_fail(w, "I12: a child did not follow its account");
		sim_oracle(w, srv);
	}
	(void)sqlite3_close(srv);
}
