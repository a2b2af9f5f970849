/* The world: machines that come up, die and come up again, and time. */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/text.h"
#include "server/commit/recover.h"

struct sim_world *sim_world;

void sim_fail(struct sim_world *w, const char *fmt, ...)
{
	va_list args;

	if (w->fail[0] != '\0')
		return;
	va_start(args, fmt);
	(void)vsnprintf(w->fail, sizeof w->fail, fmt, args);
	va_end(args);
	if (w->trace)
		(void)printf("%8lu FAIL %s\n", (unsigned long)sim_now, w->fail);
}

void sim_trace(struct sim_world *w, const char *fmt, ...)
{
	char line[400];
	uint64_t hash = 0;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	for (const char *p = line; *p != '\0'; p++)
		hash = hash * 31 + (uint8_t)*p;
	sim_rng_note(&w->rng, hash ^ sim_now);
	if (w->trace)
		(void)printf("%8lu %s\n", (unsigned long)sim_now, line);
}

void sim_id_text(const struct sat_id *id, char out[37])
{
	sat_id_format(id, out);
}

/* ---- devices ------------------------------------------------------------- */

static void on_change(void *arg)
{
	(void)arg;
}

static bool on_wipe(void *arg)
{
	(void)arg;
	return true;
}

/* Whatever was written without the daemon is one changeset, then it runs. */
bool sim_device_start(struct sim_world *w, struct sim_device *d)
{
	struct sat_agent_options o = { .loop = &d->machine.loop,
				       .replica_path = d->path,
				       .config = w->device_config,
				       .tls = (struct sat_tls_ctx *)&d->keys,
				       .host = "server",
				       .port = 7443,
				       .on_change = on_change,
				       .on_wipe = on_wipe,
				       .arg = d };
	struct sim_machine *was = sim_here;
	struct sat_err err = { 0 };
	uint64_t seq;
	int rc;

	sim_here = &d->machine;
	d->start_ms = 0;
	rc = sat_replica_open(d->path, &d->replica, &err);
	if (rc == SAT_OK)
		rc = sat_replica_harvest(d->replica, sim_wall_ms(&d->machine),
					 true, 100, &seq, &err);
	o.replica = d->replica;
	if (rc == SAT_OK)
		rc = sat_agent_start(&o, &d->agent, &err);
	sim_here = was;
	if (rc == SAT_OK) {
		sim_trace(w, "%s is up", d->name);
		sim_device_open_app(w, d);
		sim_device_look(w, d);
		return true;
	}
	sat_replica_close(d->replica);
	d->replica = NULL;
	sim_trace(w, "%s does not start: %s", d->name, err.msg);
	if (rc == SAT_E_CORRUPT)
		sim_fail(w, "I2: the replica of %s does not open: %s", d->name,
			 err.msg);
	if (sim_disk_dead(d->disk))
		sim_disk_kill(d->disk);
	d->start_ms = sim_now + 200;
	return false;
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

static void close_app(struct sim_device *d)
{
	(void)sqlite3_close_v2(d->app);
	d->app = NULL;
}

/* End the programs of a machine whose disk is dead, or which is to stop. */
static void device_down(struct sim_device *d)
{
	if (d->agent != NULL) {
		d->stopped = false;
		sim_here = &d->machine;
		sat_agent_stop(d->agent, on_stopped, &d->stopped);
		sim_here = NULL;
		while (!d->stopped)
			sim_loop_step();
		d->agent = NULL;
	}
	sim_here = &d->machine;
	close_app(d);
	sat_replica_close(d->replica);
	d->replica = NULL;
	sim_here = NULL;
}

void sim_device_crash(struct sim_world *w, struct sim_device *d)
{
	w->crashes++;
	sim_trace(w, "%s dies, %s", d->name,
		  d->power ? "its power is cut" : "killed");
	if (!sim_disk_dead(d->disk)) {
		sim_disk_die_at(d->disk, 1);
		(void)sim_disk_ops(d->disk);
	}
	sim_net_gone(&d->machine, d->power);
	device_down(d);
	if (d->power)
		sim_disk_cut(d->disk);
	else
		sim_disk_kill(d->disk);
	d->wait_event = false;
	d->start_ms = sim_now + 1 + sim_draw(8000);
	/* Nobody notes a step of the clock while the daemon is down. */
	if (w->swarm.step > 0 && sim_draw(3) == 1)
		d->machine.skew_ms += (int64_t)sim_draw(200000000) - 100000000;
}

void sim_device_open_app(struct sim_world *w, struct sim_device *d)
{
	struct sim_machine *was = sim_here;

	if (d->app != NULL)
		return;
	sim_here = &d->machine;
	if (sqlite3_open_v2(d->path, &d->app, SQLITE_OPEN_READWRITE, "sim") !=
		    SQLITE_OK ||
	    sqlite3_exec(d->app,
			 "PRAGMA synchronous=FULL;"
			 "PRAGMA wal_autocheckpoint=0;",
			 NULL, NULL, NULL) != SQLITE_OK) {
		close_app(d);
		sim_here = was;
		return;
	}
	(void)sqlite3_db_config(d->app, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
				NULL);
	sim_check_device(w, d);
	sim_here = was;
}

/* ---- the server ---------------------------------------------------------- */

struct sqlite3 *sim_server_reader(void)
{
	struct sqlite3 *db = NULL;

	sim_disk_eio(sim_world->srv.disk, 0); /* it looks, it does not act */
	if (sqlite3_open_v2("srv/satchel.db", &db, SQLITE_OPEN_READONLY,
			    "sim") == SQLITE_OK) {
		(void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
					NULL);
		return db;
	}
	(void)sqlite3_close(db);
	return NULL;
}

int64_t sim_number(struct sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t n = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

/* As the server does it when its journal knows more than the database. */
static bool restore(struct sim_world *w)
{
	uint8_t random[16] = { 9, 9, (uint8_t)(w->srv.restores + 1) };
	struct sat_epoch_start how = { .why = "restore",
				       .past = w->ops.head,
				       .past_replica = 100,
				       .random = random };
	struct sat_commit_info info;
	struct sat_store *store = NULL;
	struct sat_engine *e = NULL;
	struct sat_err err;
	int rc;

	w->srv.restore = false;
	sim_disk_eio(w->srv.disk, 0);
	sim_disk_full(w->srv.disk, false);
	w->srv.restores++;
	sim_trace(w, "the server is restored as it was at %lu",
		  (unsigned long)w->srv.backup_head);
	sim_disk_copy(w->srv.disk, w->srv.backup);
	sim_ops_restore(&w->ops, w->srv.backup_count);
	how.past_replica += (uint32_t)(10000 * w->srv.restores);
	rc = sat_store_open_sqlite("srv/satchel.db", true, false, &store, &err);
	if (rc == SAT_OK)
		rc = sat_engine_open(store, &e, &err);
	if (rc == SAT_OK)
		rc = sat_engine_begin(e, sim_wall_ms(NULL), &err);
	if (rc == SAT_OK)
		rc = sat_engine_new_epoch(e, &how, &err);
	for (unsigned i = 0; rc == SAT_OK && i < w->srv.self_count; i++)
		rc = sat_engine_old_self(e, w->srv.selves[i], &err);
	if (rc == SAT_OK)
		rc = sat_engine_commit(e, &info, &err);
	if (rc == SAT_OK) /* as the journal keeps them */
		w->srv.selves[w->srv.self_count++] = sat_engine_self(e);
	if (e != NULL)
		sat_engine_close(e);
	if (store != NULL)
		sat_store_close(store);
	if (rc != SAT_OK)
		sim_fail(w, "the restore failed: %s", err.msg);
	return rc == SAT_OK;
}

bool sim_server_start(struct sim_world *w)
{
	struct sat_server_options o = {
		.loop = &w->srv.machine.loop,
		.config = w->server_config,
		.db_path = "srv/satchel.db",
		.org = "Sim",
		.addr = "",
		.ca = { .sign = { sat_slice_str("-"), sat_slice_str("-") } }
	};
	struct sat_err err = { 0 };
	int rc;

	sim_here = &w->srv.machine;
	w->srv.start_ms = 0;
	if (w->srv.restore && !restore(w))
		return false;
	rc = sat_server_start(&o, &w->srv.server, &err);
	sim_here = NULL;
	if (rc == SAT_OK) {
		sim_trace(w, "the server is up");
		return true;
	}
	w->srv.server = NULL;
	sim_trace(w, "the server does not start: %s", err.msg);
	if (rc == SAT_E_CORRUPT)
		sim_fail(w, "I1: the server's store does not open: %s",
			 err.msg);
	while (sim_loop_due() <= sim_now) /* what it had begun */
		sim_loop_step();
	if (sim_disk_dead(w->srv.disk))
		sim_disk_kill(w->srv.disk);
	w->srv.start_ms = sim_now + 200;
	return false;
}

static void server_down(struct sim_world *w)
{
	if (w->srv.server == NULL)
		return;
	w->srv.stopped = false;
	sim_here = &w->srv.machine;
	sat_server_stop(w->srv.server, on_stopped, &w->srv.stopped);
	sim_here = NULL;
	while (!w->srv.stopped) {
		if (sim_net_due() <= sim_loop_due())
			sim_net_step();
		else
			sim_loop_step();
	}
	w->srv.server = NULL;
}

void sim_server_stop(struct sim_world *w)
{
	server_down(w);
}

void sim_server_crash(struct sim_world *w)
{
	w->crashes++;
	sim_trace(w, "the server dies, %s",
		  w->srv.power ? "its power is cut" : "killed");
	if (!sim_disk_dead(w->srv.disk))
		sim_disk_die_at(w->srv.disk, 1);
	sim_net_gone(&w->srv.machine, w->srv.power);
	server_down(w);
	if (w->srv.power)
		sim_disk_cut(w->srv.disk);
	else
		sim_disk_kill(w->srv.disk);
	w->srv.start_ms = sim_now + 1 + sim_draw(5000);
}

/* ---- time ---------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When the world itself has something to do. */
static uint64_t world_due(const struct sim_world *w)
{
	uint64_t due = UINT64_MAX;

	if (w->srv.start_ms != 0)
		due = sooner(due, w->srv.start_ms);
	if (w->srv.full_until != 0)
		due = sooner(due, w->srv.full_until);
	if (w->srv.eio_until != 0)
		due = sooner(due, w->srv.eio_until);
	for (unsigned i = 0; i < w->count; i++) {
		const struct sim_device *d = &w->devices[i];
		const uint64_t times[] = { d->start_ms, d->full_until,
					   d->eio_until, d->offline_until };

		for (size_t t = 0; t < SAT_COUNT_OF(times); t++)
			if (times[t] != 0)
				due = sooner(due, times[t]);
		if (d->wait_event)
			due = sooner(due, d->event_ms);
	}
	return due;
}

static bool is_due(uint64_t *at)
{
	if (*at == 0 || *at > sim_now)
		return false;
	*at = 0;
	return true;
}

static void world_step(struct sim_world *w)
{
	if (is_due(&w->srv.full_until))
		sim_disk_full(w->srv.disk, false);
	if (is_due(&w->srv.eio_until))
		sim_disk_eio(w->srv.disk, 0);
	if (is_due(&w->srv.start_ms))
		(void)sim_server_start(w);
	for (unsigned i = 0; i < w->count; i++) {
		struct sim_device *d = &w->devices[i];

		if (is_due(&d->full_until))
			sim_disk_full(d->disk, false);
		if (is_due(&d->eio_until))
			sim_disk_eio(d->disk, 0);
		if (is_due(&d->offline_until)) {
			d->keys.offline = false;
			if (d->agent != NULL) {
				sim_here = &d->machine;
				sat_agent_poke(d->agent);
				sim_here = NULL;
			}
		}
		if (is_due(&d->start_ms))
			(void)sim_device_start(w, d);
		if (d->wait_event && d->event_ms <= sim_now) {
			d->wait_event = false;
			sim_file_event(&d->machine, "replica.db-wal");
		}
	}
}

/* Who died in what just happened? */
static void bury(struct sim_world *w)
{
	if (sim_disk_dead(w->srv.disk) && w->srv.start_ms == 0)
		sim_server_crash(w);
	for (unsigned i = 0; i < w->count; i++) {
		struct sim_device *d = &w->devices[i];

		if (sim_disk_dead(d->disk) && d->start_ms == 0)
			sim_device_crash(w, d);
		else
			sim_device_look(w, d);
	}
}

void sim_world_until(struct sim_world *w, uint64_t ms)
{
	uint64_t loop, net, own;

	while (w->fail[0] == '\0') {
		loop = sim_loop_due();
		net = sim_net_due();
		own = world_due(w);
		if (sooner(loop, sooner(net, own)) > ms)
			break;
		w->steps++;
		if (own <= loop && own <= net) {
			sim_now = own > sim_now ? own : sim_now;
			world_step(w);
		} else if (net <= loop) {
			sim_net_step();
		} else {
			sim_loop_step();
		}
		bury(w);
		if (w->steps > 400000)
			sim_fail(w, "I17: the world does not come to rest");
	}
	if (ms > sim_now)
		sim_now = ms;
}

static int64_t wall_now(void *arg)
{
	(void)arg;
	return sim_wall_ms(sim_here);
}

/* ---- beginning and end --------------------------------------------------- */

static void device_init(struct sim_world *w, unsigned no)
{
	struct sim_device *d = &w->devices[no];

	memset(d, 0, sizeof *d);
	d->no = no;
	(void)snprintf(d->name, sizeof d->name, "d%u", no);
	(void)snprintf(d->path, sizeof d->path, "d%u/replica.db", no);
	sim_machine_init(&d->machine, d->name);
	d->disk = sim_disk_new(d->name);
	d->keys.machine = &d->machine;
	d->user = no % SIM_USERS;
	(void)w;
}

void sim_world_init(struct sim_world *w, uint64_t seed)
{
	struct sim_vfs_options vo = { .draw = sim_rng_draw, .arg = &w->rng };
	struct sat_err err;

	sim_world = w;
	sim_loop_init(sim_rng_draw, &w->rng);
	vo.wall_ms = wall_now;
	sim_vfs_install(&vo);
	sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED,
			     (int)(sim_mix(seed) | 1), NULL);
	w->server_config = sat_config_new(SAT_PART_SERVER);
	w->device_config = sat_config_new(SAT_PART_CLIENT);
	SAT_ASSERT(w->server_config != NULL && w->device_config != NULL);
	SAT_ASSERT(sat_config_set(w->server_config, "readers", "1", &err) ==
		   SAT_OK);
	/* An idle wire that is half open is found after this long. */
	SAT_ASSERT(sat_config_set(w->server_config, "ping_seconds", "20",
				  &err) == SAT_OK);
	SAT_ASSERT(sat_config_set(w->device_config, "ping_seconds", "20",
				  &err) == SAT_OK);
	SAT_ASSERT(sat_config_set(w->server_config, "page_bytes", "4096",
				  &err) == SAT_OK);
	sim_ops_clear(&w->ops);
	w->grant_count = 0;
	w->next_value = 1;
	w->fail[0] = '\0';
	w->healing = false;
	w->steps = w->crashes = w->txns = 0;
	w->randoms = seed;
	memset(&w->srv, 0, sizeof w->srv);
	sim_machine_init(&w->srv.machine, "server");
	w->srv.disk = sim_disk_new("srv");
	w->count = w->swarm.devices;
	for (unsigned i = 0; i < w->count; i++)
		device_init(w, i);
	sim_world_people(w);
}

void sim_world_fini(struct sim_world *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		sim_net_gone(&w->devices[i].machine, true);
		device_down(&w->devices[i]);
	}
	sim_net_gone(&w->srv.machine, true);
	server_down(w);
	while (sim_loop_due() <= sim_now)
		sim_loop_step();
	while (sim_net_due() != UINT64_MAX)
		sim_net_step();
	sim_loop_fini();
	for (unsigned i = 0; i < w->count; i++)
		sim_disk_free(w->devices[i].disk);
	sim_disk_free(w->srv.disk);
	sim_disk_free(w->srv.backup);
	sat_config_free(w->server_config);
	sat_config_free(w->device_config);
}
