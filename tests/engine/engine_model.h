/* engine_model.h - a device's replica as an array: stages what the feed sends
 * and shows it at checkpoints, as PROTOCOL.md tells a client to. Shares no
 * code with the engine or the feed. */
#ifndef SAT_ENGINE_MODEL_H
#define SAT_ENGINE_MODEL_H

#include "proto/page.h"
#include "tests/engine/engine_fixture.h"

enum { MODEL_ROWS = 2048, MODEL_SCOPES = 16 };

struct model_row {
	const struct sat_table *table;
	struct sat_id id;
	uint64_t seq;
	struct sat_slice meta;
	const struct sat_value *values; /* NULL: known by reference only */
	uint32_t scopes[MODEL_SCOPES];
	uint32_t scope_count;
	bool used;
};

struct model {
	struct world *w;
	uint32_t replica;
	struct sat_rights rights;
	struct sat_arena memory; /* for good */
	struct model_row rows[MODEL_ROWS];
	uint32_t count;
	struct sat_buf staged; /* frames since the last checkpoint */
	struct sat_feed_at at;
	bool live;
	uint64_t at_checkpoint;
	uint32_t pulled; /* version of the rights at the last checkpoint */
	uint8_t mark[64];
	size_t mark_len;
	struct sat_pull_start start; /* of the last model_connect */
	uint64_t frames, row_count, ref_count, evict_count; /* received */
	uint64_t checkpoints;
};

void model_init(struct model *m, struct world *w, uint32_t replica,
		const struct sat_id *user);
void model_fini(struct model *m);

/* HELLO and WELCOME as far as the feed goes: rights as they are now, stages
 * kept only if the server goes on at the mark. True: it did. */
bool model_connect(struct model *m);

/* One read of at most about bytes_max; applies everything at a checkpoint and
 * compares the digest. True: that was a checkpoint. */
bool model_read(struct model *m, size_t bytes_max);
/* Reads until a checkpoint. */
void model_pull(struct model *m);
/* Forget everything and start at cursor 0. */
void model_reset(struct model *m);

struct model_row *model_find(struct model *m, const struct sat_table *t,
			     const struct sat_id *id);
/* AS_HELD: the device makes the server's state itself. */
void model_fold(struct model *m, const struct sat_table *t,
		const struct sat_id *id);
struct held model_hold(struct model *m, const char *t, const struct sat_id *id);
/* Live rows in at least one scope. */
uint32_t model_live(const struct model *m, const struct sat_table *t);

#endif
