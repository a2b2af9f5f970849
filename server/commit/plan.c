#include <string.h>

#include "server/commit/core.h"

enum { PLAN_BYTES_MAX = 16 * 1024 * 1024 };

/* Give every reading role its class: the first role with the same set. */
static int classes(struct sat_plan *p, const struct sat_table *t,
		   struct sat_table_plan *tp)
{
	size_t bytes = t->column_count * sizeof(bool);
	bool *set, all;
	uint8_t k;

	for (unsigned role = 0; role < SAT_READERS; role++) {
		set = sat_arena_array(&p->arena, t->column_count, sizeof *set);
		if (set == NULL)
			return SAT_E_NOMEM;
		all = sat_read_set(t, (enum sat_role)role, set);
		for (k = 0; k < tp->class_count; k++) {
			if (memcmp(tp->readable[k], set, bytes) == 0)
				break;
		}
		if (k == tp->class_count) {
			tp->readable[k] = set;
			tp->reads_all[k] = all;
			tp->class_count++;
		}
		tp->class_of[role] = k;
	}
	return SAT_OK;
}

/* Does table c depend on table t through its k-th source (via) or move_with?
 * Returns the column, -1 when it does not. */
static int depends(const struct sat_table *c, const struct sat_table *t,
		   uint16_t source, bool moves)
{
	const struct sat_scope_source *s;

	if (moves)
		return c->move_with >= 0 && c->territory >= 0 &&
				       c->columns[c->move_with].ref_table ==
					       t->index
			       ? c->move_with
			       : -1;
	s = &c->scopes[source];
	if (s->kind != SAT_SCOPE_VIA ||
	    c->columns[s->column].ref_table != t->index)
		return -1;
	return s->column;
}

/* Collect into list (NULL: only count). */
static uint16_t dependents(const struct sat_catalogue *c,
			   const struct sat_table *t, bool moves,
			   struct sat_dependent *list)
{
	uint16_t n = 0;

	for (uint16_t i = 0; i < c->table_count; i++) {
		uint16_t sources = moves ? 1 : c->tables[i].scope_count;

		for (uint16_t k = 0; k < sources; k++) {
			int column = depends(&c->tables[i], t, k, moves);

			if (column < 0)
				continue;
			if (list != NULL)
				list[n] = (struct sat_dependent){
					i, (uint16_t)column
				};
			n++;
		}
	}
	return n;
}

static int plan_table(struct sat_plan *p, const struct sat_table *t,
		      struct sat_table_plan *tp)
{
	int rc = classes(p, t, tp);

	if (rc != SAT_OK)
		return rc;
	tp->via_count = dependents(p->cat, t, false, NULL);
	tp->move_count = dependents(p->cat, t, true, NULL);
	tp->via = sat_arena_array(&p->arena, tp->via_count, sizeof *tp->via);
	tp->moves =
		sat_arena_array(&p->arena, tp->move_count, sizeof *tp->moves);
	if (tp->via == NULL || tp->moves == NULL)
		return SAT_E_NOMEM;
	dependents(p->cat, t, false, tp->via);
	dependents(p->cat, t, true, tp->moves);
	return SAT_OK;
}

/* People and ledger are known by what columns do, not by a name. */
static void special_tables(struct sat_plan *p)
{
	const struct sat_catalogue *c = p->cat;

	p->tree = sat_tree_table(c);
	p->people = NULL;
	p->ledger = NULL;
	for (uint16_t i = 0; i < c->table_count; i++) {
		const struct sat_table *t = &c->tables[i];

		if (t->derived && t->scope_count > 0 &&
		    t->scopes[0].kind == SAT_SCOPE_ROW && p->ledger == NULL)
			p->ledger = t;
		for (uint16_t k = 0; k < t->column_count; k++) {
			if (t->columns[k].def == SAT_DEFAULT_AUTHOR)
				p->people = &c->tables[t->columns[k].ref_table];
		}
	}
}

int sat_plan_build(struct sat_plan *p, const struct sat_catalogue *c,
		   struct sat_err *err)
{
	int rc = SAT_OK;

	sat_arena_fini(&p->arena);
	sat_arena_init(&p->arena, PLAN_BYTES_MAX);
	p->cat = c;
	p->version = c->version;
	p->tables =
		sat_arena_array(&p->arena, c->table_count, sizeof *p->tables);
	if (p->tables == NULL)
		rc = SAT_E_NOMEM;
	for (uint16_t i = 0; rc == SAT_OK && i < c->table_count; i++)
		rc = plan_table(p, &c->tables[i], &p->tables[i]);
	if (rc == SAT_OK)
		rc = sat_rollups_plan(&p->arena, c, &p->rollups);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "plan", "out of memory");
	special_tables(p);
	return SAT_OK;
}
