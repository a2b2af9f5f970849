#include "client/replica/story.h"

#include <string.h>

#include "client/replica/internal.h"

struct teller {
	struct sat_replica *r;
	const struct sat_table *table;
	const struct sat_id *id;
	sat_story_cb cb;
	void *arg;
	struct sat_err *err;
	bool any;
};

uint32_t sat_replica_self(const struct sat_replica *r)
{
	return (uint32_t)r->facts.replica;
}

static int tell(struct teller *x, const struct sat_story *s)
{
	x->any = true;
	return x->cb(x->arg, s, x->err);
}

static int tell_register(struct teller *x, int column,
			 const struct sat_field *f)
{
	const struct sat_column *c = &x->table->columns[column];
	uint32_t shown = f->count == 0 ? 0 : sat_field_shown(c, f);
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < f->count; i++) {
		struct sat_story s = {
			.kind = SAT_STORY_HELD,
			.column = column,
			.dot = f->writes[i].dot,
			.at_ms = sat_stamp_ms(f->writes[i].stamp),
			.value = f->writes[i].value,
			.shown = i == shown,
		};

		rc = tell(x, &s);
	}
	return rc;
}

static int tell_parts(struct teller *x, int column, const struct sat_field *f)
{
	bool sums = x->table->columns[column].policy == SAT_POLICY_COUNTER;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < f->count; i++) {
		struct sat_story s = { .kind = SAT_STORY_HELD,
				       .column = column,
				       .shown = true };

		if (sums) {
			s.dot.replica = f->sums[i].replica;
			s.value = sat_value_int(f->sums[i].sum);
		} else {
			s.dot = f->elements[i].dot;
			s.value = sat_value_text(f->elements[i].text);
		}
		rc = tell(x, &s);
	}
	return rc;
}

/* The device form: what is 16 bytes in a state is an id's text in a table. */
static int tell_state(struct teller *x)
{
	struct sat_held held;
	int rc;

	sat_arena_reset(&x->r->row);
	rc = sat_held_load(x->r, x->table, x->id, NULL, &held, x->err);
	if (rc != SAT_OK || !sat_row_exists(&held.row))
		return rc;
	x->any = true;
	for (uint32_t i = 0; rc == SAT_OK && i < held.row.delete_count; i++) {
		struct sat_story s = {
			.kind = SAT_STORY_DELETED,
			.column = -1,
			.dot = held.row.deletes[i].dot,
			.at_ms = sat_stamp_ms(held.row.deletes[i].stamp),
			.shown = !sat_row_alive(&held.row),
		};

		rc = tell(x, &s);
	}
	for (uint16_t i = 0; rc == SAT_OK && i < held.row.field_count; i++) {
		enum sat_policy p = x->table->columns[i].policy;

		rc = p == SAT_POLICY_SET || p == SAT_POLICY_COUNTER
			     ? tell_parts(x, i, &held.row.fields[i])
			     : tell_register(x, i, &held.row.fields[i]);
	}
	return rc;
}

/* ---- our own changesets -------------------------------------------------- */

static int tell_delta(struct teller *x, struct sat_dot dot, int64_t state,
		      const struct sat_delta *d)
{
	struct sat_clock_map clock = sat_replica_clock(x->r);
	struct sat_story s = {
		.kind = SAT_STORY_OWN,
		.column = -1,
		.op = d->op,
		.dot = dot,
		.at_ms = sat_clock_correct(&clock, d->at_ms),
		.waits = state == SAT_OUTBOX_WAITING ||
			 state == SAT_OUTBOX_PARKED,
		.refused = state == SAT_OUTBOX_REJECTED,
		.seen = d->context,
	};
	int rc = SAT_OK;

	if (d->change_count == 0)
		return tell(x, &s);
	for (uint32_t i = 0; rc == SAT_OK && i < d->change_count; i++) {
		const struct sat_change *c = &d->changes[i];

		s.column = c->column;
		s.at_ms = sat_clock_correct(&clock, c->at_ms);
		s.value = c->value;
		s.before = c->before;
		if (x->table->columns[c->column].policy == SAT_POLICY_SET)
			s.value = c->add_count > 0 ? sat_value_text(c->adds[0])
						   : sat_value_null();
		rc = tell(x, &s);
	}
	return rc;
}

static int tell_changeset(struct teller *x, uint64_t seq, int64_t state)
{
	struct sat_changeset cs;
	struct sat_err lost;
	int rc = SAT_OK;

	sat_arena_reset(&x->r->batch);
	/* formed under a table that is gone, or damaged: nothing to tell */
	if (sat_outbox_decode(x->r, seq, &cs, &lost) != SAT_OK)
		return SAT_OK;
	for (uint32_t i = 0; rc == SAT_OK && i < cs.delta_count; i++)
		if (cs.deltas[i].table == x->table &&
		    memcmp(&cs.deltas[i].id, x->id, sizeof *x->id) == 0)
			rc = tell_delta(x, cs.dot, state, &cs.deltas[i]);
	return rc;
}

int sat_replica_story(struct sat_replica *r, const struct sat_table *t,
		      const struct sat_id *id, sat_story_cb cb, void *arg,
		      struct sat_err *err)
{
	struct teller x = {
		.r = r, .table = t, .id = id, .cb = cb, .arg = arg, .err = err
	};
	sqlite3_stmt *st;
	bool row = true;
	int rc = sat_facts_load(r, err);

	if (rc == SAT_OK)
		rc = tell_state(&x);
	if (rc == SAT_OK)
		rc = sat_db_stmt(&r->db,
				 "SELECT seq, state FROM _satchel_outbox"
				 " ORDER BY seq",
				 &st, err);
	if (rc != SAT_OK)
		return rc;
	while (rc == SAT_OK) {
		rc = sat_db_step(&r->db, st, &row, err);
		if (rc != SAT_OK || !row)
			break;
		rc = tell_changeset(&x, (uint64_t)sqlite3_column_int64(st, 0),
				    sqlite3_column_int64(st, 1));
	}
	sat_db_reset(st);
	sat_arena_reset(&r->batch);
	if (rc == SAT_OK && !x.any)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "replica_story",
				 "nothing is known of such a row");
	return rc;
}
