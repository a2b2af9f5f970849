/* Stamps are in no column: they are read out of the rows' metadata, with the
 * product's own decoder, and compared with the clock alone. */
#include <string.h>

#include "common/meta.h"
#include "server/store/store.h"
#include "tests/sim/world.h"

struct look {
	struct sim_world *w;
	struct sat_arena arena;
	int64_t now_ms;
};

static int on_row(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct look *l = arg;
	struct sat_row state;

	sat_arena_reset(&l->arena);
	if (row->deleted || sat_meta_decode(&l->arena, t, row->meta,
					    row->values, &state) != SAT_OK)
		return SAT_OK;
	for (uint16_t i = 0; i < t->column_count; i++) {
		const struct sat_field *f = &state.fields[i];

		if (t->columns[i].policy == SAT_POLICY_COUNTER ||
		    t->columns[i].policy == SAT_POLICY_SET)
			continue;
		for (uint32_t k = 0; k < f->count; k++)
			if (sat_stamp_ms(f->writes[k].stamp) > l->now_ms)
				sim_fail(l->w,
					 "I20: %s.%s was written %ld ms"
					 " from now",
					 t->name, t->columns[i].name,
					 (long)(sat_stamp_ms(
							f->writes[k].stamp) -
						l->now_ms));
	}
	return SAT_OK;
}

void sim_check_stamps(struct sim_world *w)
{
	struct look l = { .w = w, .now_ms = sim_wall_ms(NULL) + 1 };
	const struct sat_catalogue *c;
	struct sat_store *s = NULL;
	struct sat_err err;

	if (sat_store_open_sqlite("srv/satchel.db", false, false, &s, &err) !=
	    SAT_OK)
		return;
	sat_arena_init(&l.arena, 16 << 20);
	c = sat_store_catalogue(s);
	for (uint16_t i = 0; c != NULL && i < c->table_count; i++)
		if (sat_store_rows(s, &c->tables[i], -1, NULL, on_row, &l,
				   &err) != SAT_OK)
			sim_fail(w, "a table cannot be read: %s", err.msg);
	sat_arena_fini(&l.arena);
	sat_store_close(s);
}
