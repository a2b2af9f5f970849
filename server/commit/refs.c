/* What a delta refers to must be known and within its author's reach; both
 * failures read the same to him (SYNC section 5). */
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"

static bool in_reach(const struct sat_apply *ap, const struct sat_where *w)
{
	if (ap->rights == NULL)
		return true;
	for (uint32_t i = 0; i < w->scope_count; i++) {
		if (sat_rights_hold(ap->rights, w->scopes[i]))
			return true;
	}
	return false;
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
	struct sat_where where;
	int rc = sat_lookup_row(ap->e, t, id, &where, err);

	if (rc != SAT_OK)
		return rc;
	if (!where.exists)
		return unknown_parent(ap, d, column, t, id, err);
	if (!in_reach(ap, &where))
		return sat_apply_refuse(ap, SAT_REASON_PARENT, d->table, &d->id,
					column);
	return SAT_OK;
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
