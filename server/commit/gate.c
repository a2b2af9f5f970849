#include "server/commit/gate.h"

#include "server/access/emit.h"

static bool same_as_default(const struct sat_column *c,
			    const struct sat_value *v)
{
	return c->def == SAT_DEFAULT_VALUE &&
	       sat_value_equal(v, &c->default_value);
}

/* A new row lists all its columns; one that is empty or holds its default was
 * not written by anybody. */
static bool says_nothing(const struct sat_column *c,
			 const struct sat_change *ch)
{
	switch (c->policy) {
	case SAT_POLICY_SET:
		return ch->add_count == 0 && ch->remove_count == 0;
	case SAT_POLICY_COUNTER:
		return ch->value.kind != SAT_INT || ch->value.i == 0;
	default:
		return ch->value.kind == SAT_NULL ||
		       same_as_default(c, &ch->value);
	}
}

static enum sat_reason gate_columns(enum sat_role role,
				    const struct sat_delta *d, bool fresh,
				    int *ret_column)
{
	for (uint32_t i = 0; i < d->change_count; i++) {
		const struct sat_change *ch = &d->changes[i];
		const struct sat_column *c = &d->table->columns[ch->column];

		if ((c->write & SAT_ROLE_BIT(role)) != 0)
			continue;
		if (fresh && says_nothing(c, ch))
			continue;
		*ret_column = ch->column;
		return SAT_REASON_ROLE;
	}
	return SAT_REASON_NONE;
}

enum sat_reason sat_gate_role(enum sat_role role, const struct sat_delta *d,
			      bool exists, int *ret_column)
{
	const struct sat_table *t = d->table;

	*ret_column = -1;
	if (role == SAT_ROLE_SERVER)
		return SAT_REASON_NONE;
	if (t->derived)
		return SAT_REASON_DERIVED;
	if (t->append_only && (exists || d->op == SAT_OP_DELETE))
		return SAT_REASON_APPEND_ONLY;
	if (d->op == SAT_OP_DELETE)
		return (t->remove & SAT_ROLE_BIT(role)) != 0 ? SAT_REASON_NONE
							     : SAT_REASON_ROLE;
	if (!exists && (t->insert & SAT_ROLE_BIT(role)) == 0)
		return SAT_REASON_ROLE;
	return gate_columns(role, d, !exists, ret_column);
}

bool sat_gate_before(const struct sat_rights *r, const struct sat_place *places,
		     uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!places[i].evict && sat_rights_hold(r, places[i].scope))
			return true;
	}
	return false;
}

static bool was_in(const struct sat_place *places, uint32_t count,
		   uint32_t scope)
{
	for (uint32_t i = 0; i < count; i++) {
		if (places[i].scope == scope && !places[i].evict)
			return true;
	}
	return false;
}

bool sat_gate_after(const struct sat_rights *r, const struct sat_place *before,
		    uint32_t before_count, const uint32_t *all,
		    uint32_t all_count, const uint32_t *own, uint32_t own_count)
{
	bool reach = before_count > 0;

	for (uint32_t i = 0; i < all_count; i++)
		reach = reach || sat_rights_hold(r, all[i]);
	if (!reach)
		return false;
	for (uint32_t i = 0; i < own_count; i++) {
		if (!sat_rights_hold(r, own[i]) &&
		    !was_in(before, before_count, own[i]))
			return false;
	}
	return true;
}
