/* The images that every run starts from: a server with its people, and for
 * each device a replica that was just enrolled and one that is up to date. */
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

#include "client/replica/internal.h"
#include "common/log.h"
#include "proto/catalogue_load.h"
#include "server/commit/recover.h"
#include "tests/sim/catalogue.h"

static struct sim_disk *server_image, *cold[SIM_DEVICES_MAX],
	*warm[SIM_DEVICES_MAX];
static struct sim_keys keys[2][SIM_DEVICES_MAX]; /* warm, cold */
static struct sim_grant first_grants[SIM_USERS];
static uint64_t first_head;

static const char *const names[SIM_TERRITORIES] = { "CN", "EAST", "WEST",
						    "T1", "T2",   "T3" };
static const int parents[SIM_TERRITORIES] = { -1, 0, 0, 1, 1, 2 };
static const struct {
	const char *login, *role;
	unsigned home;
} people[SIM_USERS] = {
	{ "ann", "rep", 3 },     { "bob", "rep", 3 }, { "cid", "rep", 4 },
	{ "max", "manager", 1 }, { "hq", "hq", 0 },   { "dee", "rep", 5 },
	{ "wes", "manager", 2 },
};

static struct sat_id made_id(unsigned n)
{
	uint8_t random[10] = { 0 };

	random[9] = (uint8_t)n;
	return sat_id_v7(SIM_EPOCH_MS - 86400000, random);
}

#define MUST(call)                                                     \
	do {                                                           \
		struct sat_err err = { 0 };                            \
		if ((call) != SAT_OK) {                                \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, \
				      __LINE__, err.msg);              \
			abort();                                       \
		}                                                      \
	} while (0)

void sim_world_people(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_TERRITORIES; i++) {
		w->territories[i] = made_id(1 + i);
		w->parents[i] = parents[i];
	}
	for (unsigned i = 0; i < SIM_USERS; i++) {
		w->people[i].id = made_id(20 + i);
		(void)snprintf(w->people[i].login, sizeof w->people[i].login,
			       "%s", people[i].login);
		w->people[i].role = sat_role_of(sat_slice_str(people[i].role));
		w->people[i].home = people[i].home;
	}
	memcpy(w->grants, first_grants, sizeof first_grants);
	w->grant_count = SIM_USERS;
	w->ops.head = first_head;
	if (server_image == NULL)
		return;
	sim_disk_copy(w->srv.disk, server_image);
	for (unsigned i = 0; i < w->count; i++) {
		struct sim_device *d = &w->devices[i];
		bool is_cold = w->swarm.cold > 0 &&
			       sim_draw(100) >= 100 - w->swarm.cold;

		sim_disk_copy(d->disk, is_cold ? cold[i] : warm[i]);
		d->keys.identity = keys[is_cold][i].identity;
		memcpy(d->keys.key_hash, keys[is_cold][i].key_hash, 32);
	}
}

/* ---- the server ---------------------------------------------------------- */

static void put(struct sat_engine *e, const char *table,
		const struct sat_id *id, const char *const *columns,
		const struct sat_value *values, uint32_t n)
{
	const struct sat_table *t = sat_catalogue_table(
		sat_store_catalogue(sat_engine_store(e)), sat_slice_str(table));
	struct sat_local_write lw = { .op = SAT_OP_INSERT,
				      .table = t,
				      .id = *id,
				      .values = values,
				      .column_count = n };
	uint16_t at[8];
	uint32_t bad;

	for (uint32_t i = 0; i < n; i++)
		at[i] = (uint16_t)sat_table_column(t,
						   sat_slice_str(columns[i]));
	lw.columns = at;
	MUST(sat_engine_local(e, &lw, 1, &bad, &err));
}

static void put_people(struct sat_engine *e, struct sim_world *w)
{
	static const char *const columns[] = { "code", "name", "level",
					       "parent_id" };
	static const char *const who[] = { "login", "name", "role",
					   "territory_id", "active" };
	static const char *const levels[] = { "nation", "region", "region",
					      "city",   "city",   "city" };
	struct sat_value v[5];

	for (unsigned i = 0; i < SIM_TERRITORIES; i++) {
		v[0] = v[1] = sat_value_text(sat_slice_str(names[i]));
		v[2] = sat_value_text(sat_slice_str(levels[i]));
		if (parents[i] >= 0)
			v[3] = sat_value_id(&w->territories[parents[i]]);
		put(e, "territory", &w->territories[i], columns, v,
		    parents[i] >= 0 ? 4 : 3);
	}
	for (unsigned i = 0; i < SIM_USERS; i++) {
		struct sat_grant g = { .user = w->people[i].id,
				       .territory =
					       w->territories[people[i].home],
				       .role = w->people[i].role };

		v[0] = v[1] = sat_value_text(sat_slice_str(people[i].login));
		v[2] = sat_value_text(sat_slice_str(people[i].role));
		v[3] = sat_value_id(&w->territories[people[i].home]);
		v[4] = sat_value_int(1);
		put(e, "user", &w->people[i].id, who, v, 5);
		MUST(sat_store_grant_put(sat_engine_store(e), &g, &err));
		first_grants[i] = (struct sim_grant){ i, people[i].home, g.no };
	}
	MUST(sat_engine_rights_changed(e, &err));
}

/* Long texts, so that a fresh device is sent more than one page. */
static void put_notes(struct sat_engine *e)
{
	static const char *const columns[] = { "account_id", "body" };
	struct sat_value v[2];
	struct sat_id id, account;
	char body[1200];

	for (unsigned i = 0; i < 12; i++) {
		id = made_id(80 + i);
		account = made_id(60 + i % 6);
		for (size_t k = 0; k + 1 < sizeof body; k++)
			body[k] = (char)('a' + sim_mix(i * 5000 + k) % 26);
		body[sizeof body - 1] = '\0';
		v[0] = sat_value_id(&account);
		v[1] = sat_value_text(sat_slice_str(body));
		put(e, "note", &id, columns, v, 2);
	}
}

/* Some accounts to begin with. */
static void put_accounts(struct sat_engine *e, struct sim_world *w)
{
	static const char *const columns[] = { "name", "territory_id",
					       "phone" };
	struct sat_value v[3];
	struct sat_id id;
	char name[16];

	for (unsigned i = 0; i < 6; i++) {
		id = made_id(60 + i);
		(void)snprintf(name, sizeof name, "acc%u", i);
		v[0] = v[2] = sat_value_text(sat_slice_str(name));
		v[1] = sat_value_id(&w->territories[3 + i % 3]);
		put(e, "account", &id, columns, v, 3);
	}
}

static void enrol(struct sat_engine *e, struct sim_world *w, unsigned no,
		  bool is_cold)
{
	struct sim_keys *k = &keys[is_cold][no];
	struct sim_device *d = &w->devices[no];
	struct sat_invite inv = { .user = w->people[d->user].id,
				  .expires_ms = SIM_EPOCH_MS * 2 };
	struct sat_replica_identity who = { .org = sat_slice_str("Sim"),
					    .server = sat_slice_str(
						    "server:7443") };
	char token[SAT_TOKEN_CHARS + 1];
	struct sat_device made;
	struct sat_user user;
	struct sat_arena a;

	sat_arena_init(&a, 1 << 20);
	MUST(sat_token_new(token, &err));
	MUST(sat_token_hash(sat_slice_str(token), inv.token_hash, &err));
	memset(k->key_hash, (int)no + 1 + 100 * is_cold, 32);
	MUST(sat_engine_begin(e, SIM_EPOCH_MS + 100 + no, &err));
	MUST(sat_store_invite_put(sat_engine_store(e), &inv, &err));
	MUST(sat_engine_enrol(e, sat_slice_str(token), k->key_hash,
			      sat_slice_str(d->name), &made, &user, &err));
	MUST(sat_engine_rights(e, &user.id, &a, &who.rights, &err));
	{
		struct sat_commit_info info;

		MUST(sat_engine_commit(e, &info, &err));
	}
	who.replica = made.replica;
	who.epoch = sat_engine_epoch(e);
	who.login = sat_slice_str(user.login);
	who.name = sat_slice_str(user.name);
	k->identity.replica = made.replica;
	k->identity.user = user.id;
	MUST(sat_replica_build(d->path, &who, sim_catalogue(), NULL, NULL,
			       &err));
	sat_arena_fini(&a);
}

static void add_log(struct sim_device *d)
{
	struct sqlite3 *db = NULL;

	SAT_ASSERT(sqlite3_open_v2(d->path, &db, SQLITE_OPEN_READWRITE,
				   "sim") == SQLITE_OK);
	SAT_ASSERT(sqlite3_exec(db,
				"CREATE TABLE app_log(n INTEGER PRIMARY KEY)",
				NULL, NULL, NULL) == SQLITE_OK);
	(void)sqlite3_close(db);
}

static void make_server(struct sim_world *w)
{
	static const uint8_t random[16] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct sat_commit_info info;
	struct sat_store *store;
	struct sat_engine *e;

	MUST(sat_store_open_sqlite("srv/satchel.db", true, true, &store, &err));
	MUST(sat_engine_init(store, sim_catalogue(), "Sim", SIM_EPOCH_MS,
			     random, &err));
	MUST(sat_engine_open(store, &e, &err));
	MUST(sat_engine_begin(e, SIM_EPOCH_MS + 10, &err));
	put_people(e, w);
	MUST(sat_engine_commit(e, &info, &err));
	MUST(sat_engine_begin(e, SIM_EPOCH_MS + 20, &err));
	put_accounts(e, w);
	put_notes(e);
	MUST(sat_engine_commit(e, &info, &err));
	for (unsigned i = 0; i < w->count; i++) {
		char name[16];

		enrol(e, w, i, true);
		add_log(&w->devices[i]);
		(void)snprintf(name, sizeof name, "c%u", i);
		cold[i] = sim_disk_new(name);
		sim_disk_copy(cold[i], w->devices[i].disk);
		sim_disk_free(w->devices[i].disk);
		w->devices[i].disk = sim_disk_new(w->devices[i].name);
		enrol(e, w, i, false);
		add_log(&w->devices[i]);
		w->devices[i].keys.identity = keys[0][i].identity;
		memcpy(w->devices[i].keys.key_hash, keys[0][i].key_hash, 32);
	}
	sat_engine_close(e);
	sat_store_close(store);
}

static void drop_line(void *arg, struct sat_slice line)
{
	(void)arg;
	(void)line;
}

void sim_template(bool talk)
{
	struct sim_world *w = calloc(1, sizeof *w);
	struct sqlite3 *db;
	char name[16], why[200];

	SAT_ASSERT(w != NULL);
	sat_log_set_level(talk ? SAT_LOG_INFO : SAT_LOG_ERROR);
	sat_log_set_sink(talk ? NULL : drop_line, NULL);
	sim_rng_seed(&w->rng, 1);
	sim_rng_play(&w->rng); /* nothing goes wrong */
	w->swarm.devices = SIM_DEVICES_MAX;
	sim_world_init(w, 1);
	make_server(w);
	SAT_ASSERT(sim_server_start(w));
	for (unsigned i = 0; i < w->count; i++)
		SAT_ASSERT(sim_device_start(w, &w->devices[i]));
	sim_world_until(w, sim_now + 20000);
	if (!sim_converged(w, why, sizeof why)) {
		(void)fprintf(stderr, "the template: %s\n", why);
		abort();
	}
	for (unsigned i = 0; i < w->count; i++) {
		struct sim_device *d = &w->devices[i];

		d->power = false;
		sim_device_crash(w, d); /* as good as a stop */
		(void)snprintf(name, sizeof name, "w%u", i);
		warm[i] = sim_disk_new(name);
		sim_disk_copy(warm[i], d->disk);
		d->start_ms = 0;
	}
	sim_server_stop(w);
	server_image = sim_disk_new("image");
	sim_disk_copy(server_image, w->srv.disk);
	db = sim_server_reader();
	first_head = (uint64_t)sim_number(
		db, "SELECT value FROM _setting WHERE key = '_head'");
	(void)sqlite3_close(db);
	sim_world_fini(w);
	sim_rng_fini(&w->rng);
	sim_ops_fini(&w->ops);
	free(w);
}

void sim_template_free(void)
{
	for (unsigned i = 0; i < SIM_DEVICES_MAX; i++) {
		sim_disk_free(cold[i]);
		sim_disk_free(warm[i]);
		cold[i] = warm[i] = NULL;
	}
	sim_disk_free(server_image);
	server_image = NULL;
}
