/* What a delta refers to must be known and within its author's reach; both
 * failures read the same to him (SYNC section 5). */
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"

/* The usual case without another look at the store; else with the places it
 * has left, as the author may have known them. */
static int judge_reach(struct sat_apply *ap, const struct sat_table *t,
		       const struct sat_id *id, const struct sat_where *w,
		       enum sat_reason *ret, struct sat_err *err)
{
	struct sat_stored_row row;
	struct sat_arena a;
	int rc;

	*ret = SAT_REASON_NONE;
	if (ap->rights == NULL)
		return SAT_OK;
	for (uint32_t i = 0; i < w->scope_count; i++) {
		if (sat_rights_hold(ap->told->now, w->scopes[i]))
			return SAT_OK;
	}
	sat_arena_init(&a, SAT_ROW_ARENA_MAX);
	rc = sat_store_row_get(ap->e->store, t, id, &a, &row, err);
	if (rc == SAT_OK)
		*ret = sat_told_reach(ap, t, id, row.places, row.place_count);
	sat_arena_fini(&a);
	return rc;
}

static int unknown_parent(struct sat_apply *ap, const struct sat_delta *d,
			  int column, const struct sat_table *t,
			  const struct sat_id *id, struct sat_err *err)
{
	int rc;

	if (ap->patient)
		return SAT_APPLY_LATER;
	rc = sat_store_rejected_row(ap->e->store, ap->dot.replica, t, id,
				    &ap->depends, err);
	if (rc != SAT_OK && rc != SAT_E_NOTFOUND)
		return rc;
	return sat_apply_refuse(
		ap, rc == SAT_OK ? SAT_REASON_DEPENDS : SAT_REASON_PARENT,
		d->table, &d->id, column);
}

static int check_row(struct sat_apply *ap, const struct sat_delta *d,
		     int column, const struct sat_table *t,
		     const struct sat_id *id, struct sat_err *err)
{
	enum sat_reason reason;
	struct sat_where where;
	int rc = sat_lookup_row(ap->e, t, id, &where, err);

	if (rc != SAT_OK)
		return rc;
	if (!where.exists)
		return unknown_parent(ap, d, column, t, id, err);
	rc = judge_reach(ap, t, id, &where, &reason, err);
	if (rc != SAT_OK || reason == SAT_REASON_NONE)
		return rc;
	return sat_apply_refuse(
		ap, reason == SAT_REASON_TOO_LATE ? reason : SAT_REASON_PARENT,
		d->table, &d->id, column);
}

/* Elements of a set that names territories are references too. */
static int check_set(struct sat_apply *ap, const struct sat_delta *d,
		     const struct sat_change *ch, struct sat_err *err)
{
	struct sat_id id;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < ch->add_count; i++) {
		if (!sat_id_parse(ch->adds[i], &id) || ap->e->plan.tree == NULL)
			return sat_apply_refuse(ap, SAT_REASON_VALUE, d->table,
						&d->id, ch->column);
		rc = check_row(ap, d, ch->column, ap->e->plan.tree, &id, err);
	}
	return rc;
}

static bool is_scope_set(const struct sat_table *t, uint16_t column)
{
	for (uint16_t i = 0; i < t->scope_count; i++) {
		if (t->scopes[i].kind == SAT_SCOPE_SET &&
		    t->scopes[i].column == column)
			return true;
	}
	return false;
}

int sat_apply_refs(struct sat_apply *ap, const struct sat_delta *d,
		   struct sat_err *err)
{
	const struct sat_catalogue *c = ap->e->plan.cat;
	struct sat_id id;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < d->change_count; i++) {
		const struct sat_change *ch = &d->changes[i];
		const struct sat_column *col = &d->table->columns[ch->column];

		if (col->type == SAT_TYPE_SET) {
			if (is_scope_set(d->table, ch->column))
				rc = check_set(ap, d, ch, err);
			continue;
		}
		if (col->type != SAT_TYPE_REF || ch->value.kind == SAT_NULL)
			continue;
		if (ch->value.kind != SAT_BLOB ||
		    ch->value.s.len != sizeof id.b)
			return sat_apply_refuse(ap, SAT_REASON_VALUE, d->table,
						&d->id, ch->column);
		memcpy(id.b, ch->value.s.ptr, sizeof id.b);
		/* a row may name itself: the top of a tree */
		if (col->ref_table == d->table->index &&
		    memcmp(id.b, d->id.b, sizeof id.b) == 0)
			continue;
		rc = check_row(ap, d, ch->column, &c->tables[col->ref_table],
			       &id, err);
	}
	return rc;
}
