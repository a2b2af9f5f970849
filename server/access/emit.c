#include "server/access/emit.h"

#include <string.h>

#include "server/commit/ledger_names.h"

bool sat_rights_hold(const struct sat_rights *r, uint32_t scope)
{
	uint32_t lo = 0, hi = r->scope_count, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (r->scopes[mid] < scope)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->scope_count && r->scopes[lo] == scope;
}

bool sat_read_set(const struct sat_table *t, enum sat_role role, bool *readable)
{
	bool all = true;

	for (uint16_t i = 0; i < t->column_count; i++) {
		readable[i] = (t->columns[i].read & SAT_ROLE_BIT(role)) != 0;
		all = all && readable[i];
	}
	return all;
}

/* The column a ledger row speaks of, NULL when it names none. */
static const struct sat_column *foreign_column(const struct sat_catalogue *c,
					       const struct sat_table *t,
					       const struct sat_value *values)
{
	const struct sat_table *of;
	int table, field, column;

	if (t->scope_count == 0 || t->scopes[0].kind != SAT_SCOPE_ROW)
		return NULL;
	table = t->scopes[0].column;
	field = sat_table_column(t, sat_slice_str(SAT_LEDGER_FIELD));
	if (field < 0 || values[table].kind != SAT_TEXT ||
	    values[field].kind != SAT_TEXT)
		return NULL;
	of = sat_catalogue_table(c, values[table].s);
	column = of == NULL ? -1 : sat_table_column(of, values[field].s);
	return column < 0 ? NULL : &of->columns[column];
}

bool sat_read_foreign(const struct sat_catalogue *c, const struct sat_table *t,
		      enum sat_role role, const struct sat_value *values,
		      bool *readable)
{
	static const char *const shows[] = { SAT_LEDGER_SHOWN,
					     SAT_LEDGER_LOSING,
					     SAT_LEDGER_BASE };
	const struct sat_column *of = foreign_column(c, t, values);
	bool cleared = false;
	int i;

	if (of == NULL || (of->read & SAT_ROLE_BIT(role)) != 0)
		return false;
	for (size_t k = 0; k < SAT_COUNT_OF(shows); k++) {
		i = sat_table_column(t, sat_slice_str(shows[k]));
		if (i >= 0 && readable[i]) {
			readable[i] = false;
			cleared = true;
		}
	}
	return cleared;
}

static bool in_scope(const struct sat_stored_row *row, uint32_t scope)
{
	for (uint32_t i = 0; i < row->place_count; i++) {
		if (row->places[i].scope == scope && !row->places[i].evict)
			return true;
	}
	return false;
}

/* not sat_rights_hold: two gates that share a mistake are one gate */
static bool is_granted(const struct sat_rights *r, uint32_t scope)
{
	const uint32_t *from = r->scopes;
	uint32_t count = r->scope_count;

	while (count > 1) {
		uint32_t half = count / 2;

		if (from[half] <= scope)
			from += half;
		count -= half;
	}
	return count == 1 && *from == scope;
}

bool sat_emit_shared(const struct sat_rights *r, enum sat_role role,
		     uint32_t scope)
{
	return r->role == role && is_granted(r, scope);
}

bool sat_emit_allowed(const struct sat_catalogue *c, const struct sat_table *t,
		      const struct sat_rights *r, uint32_t scope,
		      const struct sat_stored_row *row,
		      const struct sat_value *sent, const uint16_t *columns,
		      uint16_t column_count)
{
	const struct sat_column *of = foreign_column(c, t, row->values);
	uint32_t bit = SAT_ROLE_BIT(r->role);

	if (!is_granted(r, scope) || !in_scope(row, scope))
		return false;
	for (uint16_t k = 0; k < column_count; k++) {
		if ((t->columns[columns[k]].read & bit) == 0)
			return false;
		if (of != NULL && (of->read & bit) == 0 &&
		    sat_ledger_shows(t->columns[columns[k]].name) &&
		    sent[k].kind != SAT_NULL)
			return false;
	}
	return true;
}
