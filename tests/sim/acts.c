/* What people do, and what happens to their machines. People know nothing but
 * SQL on their own replica. */
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "server/commit/recover.h"
#include "tests/sim/people.h"

/* ---- something goes wrong ------------------------------------------------ */

static struct sim_device *some_device(struct sim_world *w)
{
	return &w->devices[sim_draw(w->count)];
}

static bool hits(uint32_t per_mille)
{
	return per_mille > 0 && sim_draw(1000) >= 1000 - per_mille;
}

static void break_wires(struct sim_world *w)
{
	struct sim_device *d;

	if (hits(w->swarm.cut)) {
		d = some_device(w);
		sim_trace(w, "%s: cut", d->name);
		sim_net_cut(&d->keys);
	}
	if (hits(w->swarm.lose)) {
		d = some_device(w);
		sim_trace(w, "%s: half-open", d->name);
		sim_net_lose(&d->keys);
	}
	if (hits(w->swarm.hold)) {
		d = some_device(w);
		sim_trace(w, "%s: held up", d->name);
		sim_net_hold(&d->keys, sim_now + 1 + sim_draw(15000));
	}
	if (hits(w->swarm.offline)) {
		d = some_device(w);
		sim_trace(w, "%s: offline", d->name);
		d->keys.offline = true;
		d->offline_until = sim_now + 1 + sim_draw(40000);
		if (sim_draw(2) == 0)
			sim_net_cut(&d->keys);
		else
			sim_net_lose(&d->keys);
	}
}

/* The machine stops in the middle of what it does soon. */
static void doom_device(struct sim_world *w, bool power)
{
	struct sim_device *d = some_device(w);

	if (d->agent == NULL || sim_disk_dead(d->disk))
		return;
	d->power = power;
	sim_disk_die_at(d->disk, sim_disk_ops(d->disk) + 1 + sim_draw(60));
}

static void doom_server(struct sim_world *w, bool power)
{
	if (w->srv.server == NULL || sim_disk_dead(w->srv.disk))
		return;
	w->srv.power = power;
	sim_disk_die_at(w->srv.disk,
			sim_disk_ops(w->srv.disk) + 1 + sim_draw(120));
}

static void break_machines(struct sim_world *w)
{
	struct sim_device *d;

	if (hits(w->swarm.dev_kill))
		doom_device(w, false);
	if (hits(w->swarm.dev_power))
		doom_device(w, true);
	if (hits(w->swarm.srv_kill))
		doom_server(w, false);
	if (hits(w->swarm.srv_power))
		doom_server(w, true);
	if (hits(w->swarm.full)) {
		d = some_device(w);
		sim_trace(w, "%s: disk full", d->name);
		sim_disk_full(d->disk, true);
		d->full_until = sim_now + 1 + sim_draw(10000);
	}
	if (hits(w->swarm.eio)) {
		d = some_device(w);
		sim_trace(w, "%s: disk errors", d->name);
		sim_disk_eio(d->disk, 4 + sim_draw(60));
		d->eio_until = sim_now + 1 + sim_draw(4000);
	}
	if (hits(w->swarm.restore) && w->srv.server != NULL) {
		if (w->srv.backup == NULL) {
			w->srv.backup = sim_disk_new("backup");
			sim_disk_copy(w->srv.backup, w->srv.disk);
			w->srv.backup_head = w->ops.head;
			w->srv.backup_count = w->ops.group_at;
			sim_trace(w, "the server is backed up");
		} else if (w->srv.restores < 2) {
			w->srv.restore = true;
			w->srv.power = false;
			sim_server_crash(w);
		}
	}
	if (hits(w->swarm.srv_full)) {
		sim_trace(w, "the server's disk is full");
		sim_disk_full(w->srv.disk, true);
		w->srv.full_until = sim_now + 1 + sim_draw(15000);
	}
	if (hits(w->swarm.srv_eio)) {
		sim_trace(w, "the server's disk fails");
		sim_disk_eio(w->srv.disk, 10 + sim_draw(200));
		w->srv.eio_until = sim_now + 1 + sim_draw(4000);
	}
	if (hits(w->swarm.step)) {
		d = some_device(w);
		d->machine.skew_ms +=
			(int64_t)sim_draw(2000000000) - 1000000000;
		sim_trace(w, "%s: the clock steps to %ld", d->name,
			  (long)d->machine.skew_ms);
	}
}

/* ---- administration ------------------------------------------------------ */

struct admin_act {
	struct sim_world *w;
	sat_server_job_cb fn;
	struct sat_id id;
	unsigned user, territory, grant;
	struct sat_grant put;
	size_t txn; /* in ops, from 1; 0: none */
};

static void admin_done(void *arg, int rc, const struct sat_err *err)
{
	struct admin_act *a = arg;
	struct sim_world *w = a->w;
	struct sim_txn *t = a->txn == 0 ? NULL : &w->ops.txns[a->txn - 1];

	w->srv.admin_out--;
	if (t != NULL && rc != SAT_E_IO)
		t->outcome = rc == SAT_OK ? SIM_OK : SIM_FAILED;
	if (rc != SAT_OK)
		sim_trace(w, "administration: %s %s", sat_rc_name(rc),
			  err->msg);
	free(a);
}

static int add_grant(struct sat_engine *e, void *arg, struct sat_err *err)
{
	struct admin_act *a = arg;
	struct sim_world *w = a->w;
	struct sim_person *p = &w->people[a->user];
	int rc;

	a->put = (struct sat_grant){ .user = p->id,
				     .territory = w->territories[a->territory],
				     .role = p->role };
	rc = sat_store_grant_put(sat_engine_store(e), &a->put, err);
	return rc == SAT_OK ? sat_engine_user_rights_changed(e, &p->id, err)
			    : rc;
}

static int remove_grant(struct sat_engine *e, void *arg, struct sat_err *err)
{
	struct admin_act *a = arg;
	struct sat_grant *all;
	struct sat_arena arena;
	uint32_t n = 0;
	int rc;

	sat_arena_init(&arena, 1 << 20);
	rc = sat_store_grants(sat_engine_store(e), &a->w->people[a->user].id,
			      &arena, &all, &n, err);
	if (rc == SAT_OK && n > 1) /* somebody without any is of no interest */
		rc = sat_store_grant_remove(sat_engine_store(e),
					    all[a->grant % n].no, err);
	sat_arena_fini(&arena);
	return rc == SAT_OK ? sat_engine_user_rights_changed(
				      e, &a->w->people[a->user].id, err)
			    : rc;
}

/* What the server's own people write: one row, some columns. */
static int write_own(struct sat_engine *e, void *arg, struct sat_err *err)
{
	struct admin_act *a = arg;
	struct sim_txn *t = &a->w->ops.txns[a->txn - 1];
	const struct sim_write *x = &t->writes[0];
	const struct sat_table *table =
		sat_catalogue_table(sat_store_catalogue(sat_engine_store(e)),
				    sat_slice_str(sim_tables[x->table].name));
	struct sat_local_write lw = { .op = SAT_OP_UPDATE, .table = table };
	struct sat_value v = sat_value_text(sat_slice_str(x->value));
	struct sat_id ref;
	uint64_t head;
	uint16_t at;
	uint32_t bad;
	int rc;

	SAT_ASSERT(sat_id_parse(sat_slice_str(x->id), &lw.id));
	at = (uint16_t)sat_table_column(
		table,
		sat_slice_str(sim_tables[x->table].fields[x->field].name));
	if (table->columns[at].type == SAT_TYPE_REF) {
		SAT_ASSERT(sat_id_parse(sat_slice_str(x->value), &ref));
		v = sat_value_id(&ref);
	}
	lw.columns = &at;
	lw.values = &v;
	lw.column_count = 1;
	head = sat_engine_head(e);
	rc = sat_engine_local(e, &lw, 1, &bad, err);
	/* What is shown already is not written. */
	if (rc == SAT_OK && sat_engine_head(e) != head)
		sim_ops_verdict(&a->w->ops, 0, a->txn, SAT_VERDICT_APPLIED);
	return rc;
}

static void submit(struct sim_world *w, struct admin_act *a,
		   sat_server_job_cb fn)
{
	a->w = w;
	sim_here = &w->srv.machine;
	if (w->srv.server != NULL &&
	    sat_server_submit(w->srv.server, fn, admin_done, a) == SAT_OK)
		w->srv.admin_out++;
	else
		free(a);
	sim_here = NULL;
}

static int close_window(struct sat_engine *e, void *arg, struct sat_err *err)
{
	(void)arg;
	return sat_engine_recovery_close(e, err);
}

static struct admin_act *new_act(void)
{
	struct admin_act *a = calloc(1, sizeof *a);

	SAT_ASSERT(a != NULL);
	return a;
}

/* A row of the server's, or "" when there is none. */
static void some_row(const char *table, char out[37])
{
	struct sqlite3 *db = sim_server_reader();
	sqlite3_stmt *st = NULL;
	char sql[160];
	int64_t n;

	out[0] = '\0';
	(void)snprintf(sql, sizeof sql,
		       "SELECT count(*) FROM \"%s\" WHERE _flags & 2 = 0",
		       table);
	n = db == NULL ? 0 : sim_number(db, sql);
	(void)snprintf(sql, sizeof sql,
		       "SELECT id FROM \"%s\" WHERE _flags & 2 = 0"
		       " ORDER BY id LIMIT 1 OFFSET %u",
		       table, n > 0 ? sim_draw((uint32_t)n) : 0);
	if (n > 0 && sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		sat_id_format((const struct sat_id *)sqlite3_column_blob(st, 0),
			      out);
	(void)sqlite3_finalize(st);
	(void)sqlite3_close(db);
}

static void own_write(struct sim_world *w, bool move)
{
	struct admin_act *a;
	struct sim_txn *t;
	struct sim_write *x;
	char id[37];

	if (w->srv.server == NULL)
		return;
	some_row("account", id);
	if (id[0] == '\0')
		return;
	a = new_act();
	t = sim_ops_txn(&w->ops);
	a->txn = w->ops.count;
	t->device = -1;
	t->at_ms = sim_now;
	x = &t->writes[t->count++];
	x->kind = SIM_SET;
	x->table = SIM_ACCOUNT;
	(void)snprintf(x->id, sizeof x->id, "%s", id);
	if (move) {
		x->field = 1;
		sim_id_text(&w->territories[3 + sim_draw(3)], x->value);
	} else {
		static const uint8_t fields[] = { 0, 3, 4, 5 };

		x->field = fields[sim_draw(4)];
		(void)snprintf(x->value, sizeof x->value, "s%lu",
			       (unsigned long)w->next_value++);
	}
	sim_trace(w, "server: %s of %.8s becomes %s",
		  sim_tables[SIM_ACCOUNT].fields[x->field].name, id, x->value);
	submit(w, a, write_own);
}

static void administer(struct sim_world *w)
{
	struct admin_act *a;

	if (hits(w->swarm.admin))
		own_write(w, false);
	if (hits(w->swarm.move))
		own_write(w, true);
	if (hits(w->swarm.grant)) {
		a = new_act();
		a->user = sim_draw(SIM_USERS);
		a->territory = 1 + sim_draw(SIM_TERRITORIES - 1);
		sim_trace(w, "grant %s territory %u", w->people[a->user].login,
			  a->territory);
		sim_people_changed(w, a->user);
		submit(w, a, add_grant);
	}
	if (hits(w->swarm.remove)) {
		a = new_act();
		a->user = sim_draw(SIM_USERS);
		a->grant = sim_draw(8);
		sim_trace(w, "take a grant from %s", w->people[a->user].login);
		sim_people_changed(w, a->user);
		submit(w, a, remove_grant);
	}
}

void sim_close_window(struct sim_world *w)
{
	sim_trace(w, "the operator closes the window of the restore");
	submit(w, new_act(), close_window);
}

/* ---- one action ---------------------------------------------------------- */

void sim_act(struct sim_world *w)
{
	struct sim_device *d = some_device(w);

	break_wires(w);
	break_machines(w);
	administer(w);
	if (d->app == NULL || sim_disk_dead(d->disk))
		return;
	sim_here = &d->machine;
	sim_people_write(w, d);
	sim_here = NULL;
}

/* No more faults; whoever is down comes up, and every network is there. */
void sim_heal(struct sim_world *w)
{
	sim_trace(w, "all is well again");
	w->healing = true;
	sim_disk_die_at(w->srv.disk, 0);
	sim_disk_full(w->srv.disk, false);
	sim_disk_eio(w->srv.disk, 0);
	w->srv.full_until = w->srv.eio_until = 0;
	if (w->srv.start_ms != 0)
		w->srv.start_ms = sim_now;
	sim_net.split = 0;
	for (unsigned i = 0; i < w->count; i++) {
		struct sim_device *d = &w->devices[i];

		sim_disk_die_at(d->disk, 0);
		sim_disk_full(d->disk, false);
		sim_disk_eio(d->disk, 0);
		d->full_until = d->eio_until = d->offline_until = 0;
		d->keys.offline = false;
		if (d->start_ms != 0)
			d->start_ms = sim_now;
		else if (d->agent != NULL) {
			sim_here = &d->machine;
			sat_agent_poke(d->agent); /* the network changed */
			sim_here = NULL;
		}
	}
}
