#include <stdlib.h>
#include <string.h>

#include "server/commit/core.h"

/* Settings the engine owns in the store. */
#define KEY_EPOCH        "epoch"
#define KEY_EPOCH_HEAD   "epoch_head"
#define KEY_SELF         "self"
#define KEY_SELF_SEQ     "self_seq"
#define KEY_NEXT_REPLICA "next_replica"
#define KEY_HLC          "hlc"
#define KEY_RIGHTS       "rights_version"
#define KEY_ORG          "org"

enum { META_BYTES_MAX = 64 * 1024 * 1024 };

#define DAY_MS   (INT64_C(24) * 60 * 60 * 1000)
#define GRACE_MS (30 * DAY_MS)

int sat_setting_put_u64(struct sat_store *s, const char *key, uint64_t v,
			struct sat_err *err)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> (56 - 8 * i));
	return sat_store_setting_put(
		s, key, (struct sat_slice){ bytes, sizeof bytes }, err);
}

int sat_setting_get_u64(struct sat_store *s, const char *key, uint64_t *v,
			struct sat_err *err)
{
	struct sat_buf buf;
	struct sat_slice got;
	int rc;

	sat_buf_init(&buf, 64);
	rc = sat_store_setting_get(s, key, &buf, err);
	if (rc == SAT_OK) {
		got = sat_buf_peek(&buf);
		if (got.len != 8) {
			rc = sat_err_set(err, SAT_E_CORRUPT, 0, "setting",
					 "setting %s is damaged", key);
			goto out;
		}
		*v = 0;
		for (unsigned i = 0; i < 8; i++)
			*v = *v << 8 | got.ptr[i];
	}
out:
	sat_buf_fini(&buf);
	return rc;
}

static int get_u32(struct sat_store *s, const char *key, uint32_t *v,
		   struct sat_err *err)
{
	uint64_t wide = 0;
	int rc = sat_setting_get_u64(s, key, &wide, err);

	if (rc == SAT_OK && wide > UINT32_MAX)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "setting",
				   "setting %s is damaged", key);
	if (rc == SAT_OK)
		*v = (uint32_t)wide;
	return rc;
}

/* ---- open, init, close -------------------------------------------------- */

static int read_settings(struct sat_engine *e, struct sat_err *err)
{
	int rc = sat_setting_get_u64(e->store, KEY_EPOCH, &e->epoch, err);

	if (rc == SAT_OK)
		rc = sat_setting_get_u64(e->store, KEY_EPOCH_HEAD,
					 &e->epoch_head, err);
	if (rc == SAT_OK)
		rc = get_u32(e->store, KEY_SELF, &e->self, err);
	if (rc == SAT_OK)
		rc = sat_setting_get_u64(e->store, KEY_SELF_SEQ, &e->self_seq,
					 err);
	if (rc == SAT_OK)
		rc = get_u32(e->store, KEY_NEXT_REPLICA, &e->next_replica, err);
	if (rc == SAT_OK)
		rc = get_u32(e->store, KEY_RIGHTS, &e->rights_version, err);
	if (rc == SAT_OK)
		rc = sat_setting_get_u64(e->store, KEY_HLC, &e->hlc, err);
	if (rc == SAT_OK)
		rc = sat_store_head(e->store, &e->head, err);
	if (rc == SAT_OK)
		rc = sat_store_floor(e->store, &e->floor, &e->collected, err);
	if (rc == SAT_OK)
		rc = sat_recover_load(e, err);
	if (rc == SAT_E_NOTFOUND)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "engine open",
				   "the database was never initialised");
	return rc;
}

int sat_engine_open(struct sat_store *store, struct sat_engine **ret,
		    struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(store);
	struct sat_engine *e;
	int rc;

	if (c == NULL)
		return sat_err_set(err, SAT_E_CORRUPT, 0, "engine open",
				   "the database has no catalogue");
	e = calloc(1, sizeof *e);
	if (e == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "engine open",
				   "out of memory");
	e->store = store;
	e->tree_stale = true;
	e->rights_generation = 1;
	e->grace_ms = GRACE_MS;
	e->keep = (struct sat_keep){ .deleted_ms = 90 * DAY_MS,
				     .silent_ms = 180 * DAY_MS,
				     .recovery_ms = 7 * DAY_MS };
	sat_arena_init(&e->row_arena, SAT_ROW_ARENA_MAX);
	sat_arena_init(&e->derived_arena, SAT_ROW_ARENA_MAX);
	sat_arena_init(&e->look_arena, SAT_ROW_ARENA_MAX);
	sat_buf_init(&e->meta, META_BYTES_MAX);
	sat_buf_init(&e->masked, META_BYTES_MAX);
	sat_figures_init(&e->figures);
	rc = read_settings(e, err);
	if (rc == SAT_OK)
		rc = sat_plan_build(&e->plan, c, err);
	if (rc != SAT_OK)
		goto out;
	*ret = e;
	e = NULL;
out:
	sat_engine_close(e);
	return rc;
}

void sat_engine_close(struct sat_engine *e)
{
	if (e == NULL)
		return;
	if (e->in_group)
		sat_store_rollback(e->store);
	sat_authors_fini(e);
	sat_tree_fini(&e->tree);
	sat_tally_fini(&e->group);
	sat_tally_fini(&e->changeset);
	sat_figures_fini(&e->figures);
	sat_recover_fini(&e->recover);
	sat_arena_fini(&e->plan.arena);
	sat_arena_fini(&e->row_arena);
	sat_arena_fini(&e->derived_arena);
	sat_arena_fini(&e->look_arena);
	sat_buf_fini(&e->meta);
	sat_buf_fini(&e->masked);
	free(e->moved);
	free(e);
}

/* An epoch is never 0: that means "never synced" in HELLO. */
static uint64_t epoch_from(const uint8_t random[16])
{
	uint64_t epoch = 0;

	for (unsigned i = 0; i < 8; i++)
		epoch = epoch << 8 | random[i];
	return epoch != 0 ? epoch : 1;
}

int sat_engine_init(struct sat_store *store, struct sat_slice catalogue_json,
		    const char *org, int64_t now_ms, const uint8_t random[16],
		    struct sat_err *err)
{
	uint64_t hlc = 0;
	int rc = sat_store_begin(store, err);

	if (rc != SAT_OK)
		return rc;
	sat_hlc_tick(&hlc, now_ms);
	rc = sat_store_catalogue_put(store, catalogue_json, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(store, KEY_EPOCH, epoch_from(random),
					 err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(store, KEY_EPOCH_HEAD, 0, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(store, KEY_SELF, 1, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(store, KEY_SELF_SEQ, 0, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(store, KEY_NEXT_REPLICA, 2, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(store, KEY_RIGHTS, 1, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(store, KEY_HLC, hlc, err);
	if (rc == SAT_OK)
		rc = sat_store_setting_put(store, KEY_ORG, sat_slice_str(org),
					   err);
	if (rc == SAT_OK)
		return sat_store_commit(store, err);
	sat_store_rollback(store);
	return rc;
}

/* ---- groups ------------------------------------------------------------- */

bool sat_engine_ends_group(int rc)
{
	return rc == SAT_E_FULL || rc == SAT_E_IO || rc == SAT_E_NOMEM ||
	       rc == SAT_E_CORRUPT || rc == SAT_E_BUSY;
}

int sat_engine_spoil(struct sat_engine *e, int rc)
{
	e->failed = true;
	return rc;
}

/* Another catalogue came with a commit, or within this group. */
static int replan(struct sat_engine *e, struct sat_err *err)
{
	const struct sat_catalogue *c = sat_store_catalogue(e->store);

	if (c == e->plan.cat && c->version == e->plan.version)
		return SAT_OK;
	sat_lookup_clear(e); /* slots point into the old catalogue */
	e->tree_stale = true;
	e->figures.known = false;
	return sat_plan_build(&e->plan, c, err);
}

int sat_engine_begin(struct sat_engine *e, int64_t now_ms, struct sat_err *err)
{
	int rc;

	SAT_ASSERT(!e->in_group);
	rc = sat_store_begin(e->store, err);
	if (rc != SAT_OK)
		return rc;
	if (e->failed) { /* could not be read when the last group went */
		rc = read_settings(e, err);
		if (rc != SAT_OK) {
			sat_store_rollback(e->store);
			return rc;
		}
	}
	e->in_group = true;
	e->failed = false;
	e->rights_moved = false;
	e->marks.all = false;
	e->marks.count = 0;
	e->now_ms = now_ms;
	sat_hlc_tick(&e->hlc, now_ms);
	sat_tally_clear(&e->group);
	sat_tally_clear(&e->changeset);
	rc = sat_told_sample(e, err);
	if (rc == SAT_OK)
		rc = replan(e, err);
	if (rc == SAT_OK)
		rc = sat_figures_begin(e, err);
	if (rc != SAT_OK)
		sat_engine_abandon(e);
	return rc;
}

/* What is kept in memory may hold effects of the group that just went. */
static void forget_group(struct sat_engine *e)
{
	struct sat_err ignored;

	e->in_group = false;
	e->settings_moved = false;
	e->tree_stale = true;
	e->figures.known = false;
	e->rights_generation++;
	e->rights_due_ms = 0;
	e->sampled_ms = 0;
	sat_lookup_clear(e);
	memset(e->scope_slots, 0, sizeof e->scope_slots);
	/* the store answers or the next begin fails: nothing is given out
	 * from numbers that could not be read again */
	e->failed = read_settings(e, &ignored) != SAT_OK;
}

void sat_engine_abandon(struct sat_engine *e)
{
	if (!e->in_group)
		return;
	sat_store_rollback(e->store);
	forget_group(e);
}

static int write_settings(struct sat_engine *e, struct sat_err *err)
{
	int rc = sat_setting_put_u64(e->store, KEY_HLC, e->hlc, err);

	if (rc == SAT_OK)
		rc = sat_setting_put_u64(e->store, KEY_SELF_SEQ, e->self_seq,
					 err);
	if (rc == SAT_OK)
		rc = sat_store_seq_put(e->store, e->head, err);
	if (rc == SAT_OK)
		rc = sat_recover_save(e, err);
	if (rc != SAT_OK || !e->settings_moved)
		return rc;
	rc = sat_setting_put_u64(e->store, KEY_EPOCH, e->epoch, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(e->store, KEY_EPOCH_HEAD,
					 e->epoch_head, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(e->store, KEY_SELF, e->self, err);
	if (rc == SAT_OK)
		rc = sat_setting_put_u64(e->store, KEY_NEXT_REPLICA,
					 e->next_replica, err);
	return rc;
}

static int write_digests(struct sat_engine *e, struct sat_err *err)
{
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < e->group.count; i++) {
		const struct sat_tally_entry *t = &e->group.entries[i];

		if (t->role < SAT_READERS)
			rc = sat_store_digest_add(
				e->store, t->scope, (enum sat_role)t->role,
				t->plus, t->minus, t->rows, err);
		else
			rc = sat_store_scope_moved(e->store, t->scope, e->head,
						   err);
	}
	return rc;
}

/* Figures of the group. When it also brought a catalogue, its rows were noted
 * under the one before: everything is computed anew under the new one. */
static int settle_figures(struct sat_engine *e, struct sat_err *err)
{
	bool noted = e->figures.group.count > 0;
	int rc;

	if (sat_store_catalogue(e->store) != e->plan.cat) {
		rc = replan(e, err);
		if (rc == SAT_OK)
			rc = sat_figures_begin(e, err);
		if (rc != SAT_OK)
			return rc;
		e->figures.rebuild = e->figures.rebuild || noted;
	}
	return sat_figures_settle(e, err);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The distinct scopes of the group, sorted, in e->moved. */
static int report(struct sat_engine *e, struct sat_commit_info *ret,
		  struct sat_err *err)
{
	uint32_t kept = 0, *list;

	list = malloc((e->group.count + 1) * sizeof *list);
	if (list == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "commit",
				   "out of memory");
	for (uint32_t i = 0; i < e->group.count; i++)
		list[i] = e->group.entries[i].scope;
	qsort(list, e->group.count, sizeof *list, by_number);
	for (uint32_t i = 0; i < e->group.count; i++) {
		if (kept == 0 || list[kept - 1] != list[i])
			list[kept++] = list[i];
	}
	free(e->moved);
	e->moved = list;
	*ret = (struct sat_commit_info){ .commit_seq = e->head,
					 .scopes = list,
					 .scope_count = kept,
					 .rights_changed = e->rights_moved,
					 .rights_due_ms = e->rights_due_ms };
	return SAT_OK;
}

int sat_engine_commit(struct sat_engine *e, struct sat_commit_info *ret,
		      struct sat_err *err)
{
	struct sat_commit_info info;
	int rc;

	SAT_ASSERT(e->in_group);
	if (e->failed)
		rc = sat_err_set(err, SAT_E_BUSY, 0, "commit",
				 "the group failed before");
	else
		rc = settle_figures(e, err);
	if (rc == SAT_OK)
		rc = write_digests(e, err);
	if (rc == SAT_OK && e->rights_moved)
		rc = sat_rights_settle(e, err);
	if (rc == SAT_OK)
		rc = write_settings(e, err);
	if (rc == SAT_OK)
		rc = report(e, &info, err);
	if (rc != SAT_OK) {
		sat_engine_abandon(e);
		return rc;
	}
	rc = sat_store_commit(e->store, err);
	if (rc != SAT_OK) {
		forget_group(e);
		return rc;
	}
	e->in_group = false;
	e->settings_moved = false;
	e->committed_ms = e->now_ms;
	*ret = info;
	return SAT_OK;
}

/* ---- savepoints --------------------------------------------------------- */

int sat_engine_mark(struct sat_engine *e, struct sat_engine_mark *m,
		    struct sat_err *err)
{
	sat_tally_clear(&e->changeset);
	sat_sums_clear(&e->figures.changeset);
	*m = (struct sat_engine_mark){ e->head, e->self_seq };
	return sat_store_savepoint(e->store, err);
}

int sat_engine_keep(struct sat_engine *e, struct sat_err *err)
{
	int rc = sat_store_release(e->store, err);

	if (rc == SAT_OK && sat_tally_merge(&e->group, &e->changeset) != SAT_OK)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "digest",
				 "out of memory");
	sat_tally_clear(&e->changeset);
	return rc == SAT_OK ? sat_figures_keep(e, err) : rc;
}

int sat_engine_undo(struct sat_engine *e, const struct sat_engine_mark *m,
		    struct sat_err *err)
{
	sat_tally_clear(&e->changeset);
	sat_sums_clear(&e->figures.changeset);
	sat_lookup_clear(e);
	memset(e->scope_slots, 0, sizeof e->scope_slots);
	e->tree_stale = true;
	e->rights_generation++;
	e->head = m->head;
	e->self_seq = m->self_seq;
	return sat_store_undo(e->store, err);
}

/* ---- small calls -------------------------------------------------------- */

struct sat_store *sat_engine_store(struct sat_engine *e)
{
	return e->store;
}

int sat_engine_stored_epoch(struct sat_store *store, uint64_t *ret,
			    struct sat_err *err)
{
	return sat_setting_get_u64(store, KEY_EPOCH, ret, err);
}

uint64_t sat_engine_epoch(const struct sat_engine *e)
{
	return e->epoch;
}

uint32_t sat_engine_self(const struct sat_engine *e)
{
	return e->self;
}

int sat_refusal(struct sat_msg_error *ret, struct sat_err *err, int rc,
		enum sat_wire_error code, const char *text)
{
	*ret = (struct sat_msg_error){ .code = code,
				       .text = sat_slice_str(text) };
	return sat_err_set(err, rc, 0, "refused", "%s", text);
}
