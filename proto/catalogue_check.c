#include "proto/catalogue_load.h"

#include <stdio.h>
#include <string.h>

/* Where a difference was found. */
struct place {
	const struct sat_table *table;
	const struct sat_column *column; /* NULL: the table itself */
	struct sat_err *err;
};

static int refuse(const struct place *p, const char *key, const char *why)
{
	return sat_err_set(p->err, SAT_E_INVAL, 0, "catalogue",
			   "tables.%s%s%s%s%s: %s", p->table->name,
			   p->column != NULL ? ".columns." : "",
			   p->column != NULL ? p->column->name : "",
			   key[0] != '\0' ? "." : "", key, why);
}

static bool same_columns(const struct sat_table *a, const uint16_t *x,
			 const struct sat_table *b, const uint16_t *y,
			 uint16_t count)
{
	for (uint16_t i = 0; i < count; i++) {
		if (a->columns[x[i]].no != b->columns[y[i]].no)
			return false;
	}
	return true;
}

/* Number of the column at index, 0 when there is none. */
static uint16_t column_no(const struct sat_table *t, int index)
{
	return index < 0 ? 0 : t->columns[index].no;
}

static bool same_scopes(const struct sat_table *a, const struct sat_table *b)
{
	if (a->scope_count != b->scope_count)
		return false;
	for (uint16_t i = 0; i < a->scope_count; i++) {
		const struct sat_scope_source *x = &a->scopes[i];
		const struct sat_scope_source *y = &b->scopes[i];

		if (x->kind != y->kind)
			return false;
		if (x->kind != SAT_SCOPE_GLOBAL &&
		    !same_columns(a, &x->column, b, &y->column, 1))
			return false;
		if (x->kind == SAT_SCOPE_ROW &&
		    !same_columns(a, &x->column2, b, &y->column2, 1))
			return false;
	}
	return true;
}

static bool same_indexes(const struct sat_table *a, const struct sat_table *b)
{
	if (a->index_count != b->index_count)
		return false;
	for (uint16_t i = 0; i < a->index_count; i++) {
		const struct sat_index *x = &a->indexes[i];
		const struct sat_index *y = &b->indexes[i];

		if (x->column_count != y->column_count ||
		    x->desc_last != y->desc_last ||
		    !same_columns(a, x->columns, b, y->columns,
				  x->column_count))
			return false;
	}
	return true;
}

/* Every old value is still there and means the same. */
static int check_values(const struct place *p, const struct sat_column *old,
			const struct sat_column *next)
{
	for (uint16_t i = 0; i < old->value_count; i++) {
		const struct sat_enum_value *v = &old->values[i];
		const struct sat_enum_value *w =
			sat_column_enum(next, sat_slice_str(v->name));
		char key[64];

		(void)snprintf(key, sizeof key, "values.%s", v->name);
		if (w == NULL)
			return refuse(p, key, "a value cannot be taken away");
		if (w->rank != v->rank || w->terminal != v->terminal)
			return refuse(p, key, "a rank cannot change");
		if (w->percent != v->percent)
			return refuse(p, key, "a percent cannot change");
	}
	return SAT_OK;
}

static int check_limits(const struct place *p, const struct sat_column *old,
			const struct sat_column *next)
{
	if (next->required && !old->required)
		return refuse(p, "required", "existing rows may lack it");
	if (next->has_min && (!old->has_min || next->min > old->min))
		return refuse(p, "min", "a limit cannot become tighter");
	if (next->has_max && (!old->has_max || next->max < old->max))
		return refuse(p, "max", "a limit cannot become tighter");
	if (next->max_bytes < old->max_bytes)
		return refuse(p, "max_bytes", "a limit cannot become tighter");
	return SAT_OK;
}

static int check_column(struct place *p, const struct sat_catalogue *olds,
			const struct sat_column *old,
			const struct sat_catalogue *nexts,
			const struct sat_column *next)
{
	int rc;

	p->column = old;
	if (strcmp(old->name, next->name) != 0)
		return refuse(p, "name", "a column cannot be renamed");
	if (old->type != next->type)
		return refuse(p, "type", "a type cannot change");
	if (old->type == SAT_TYPE_REF &&
	    olds->tables[old->ref_table].no !=
		    nexts->tables[next->ref_table].no)
		return refuse(p, "ref", "a reference cannot change its table");
	if (old->policy != next->policy)
		return refuse(p, "policy", "a policy cannot change");
	if (old->write != next->write)
		return refuse(p, "write", "the roles cannot change");
	if (old->read != next->read)
		return refuse(p, "read", "the roles cannot change");
	if (old->def != next->def ||
	    !sat_value_equal(&old->default_value, &next->default_value))
		return refuse(p, "default", "a default cannot change");
	rc = check_limits(p, old, next);
	if (rc == SAT_OK)
		rc = check_values(p, old, next);
	return rc;
}

/* Rows that exist have no write of a new column; nothing but a plain default
 * or NULL can stand in for one. */
static int check_new_column(struct place *p, const struct sat_column *c)
{
	p->column = c;
	if (c->required && c->def != SAT_DEFAULT_VALUE)
		return refuse(p, "required",
			      "a new column must be optional or have a plain "
			      "default");
	return SAT_OK;
}

static int check_columns(struct place *p, const struct sat_catalogue *olds,
			 const struct sat_table *old,
			 const struct sat_catalogue *nexts,
			 const struct sat_table *next)
{
	int rc = SAT_OK, found;

	for (uint16_t i = 0; rc == SAT_OK && i < old->column_count; i++) {
		p->column = &old->columns[i];
		found = sat_table_column_no(next, old->columns[i].no);
		if (found < 0)
			return refuse(p, "", "a column cannot be taken away");
		rc = check_column(p, olds, &old->columns[i], nexts,
				  &next->columns[found]);
	}
	for (uint16_t i = 0; rc == SAT_OK && i < next->column_count; i++) {
		if (sat_table_column_no(old, next->columns[i].no) < 0)
			rc = check_new_column(p, &next->columns[i]);
	}
	p->column = NULL;
	return rc;
}

static int check_table(struct place *p, const struct sat_catalogue *olds,
		       const struct sat_table *old,
		       const struct sat_catalogue *nexts,
		       const struct sat_table *next)
{
	int rc;

	if (strcmp(old->name, next->name) != 0)
		return refuse(p, "name", "a table cannot be renamed");
	if (old->append_only != next->append_only)
		return refuse(p, "append_only", "cannot change");
	if (old->derived != next->derived)
		return refuse(p, "derived", "cannot change");
	if (old->insert != next->insert)
		return refuse(p, "insert", "the roles cannot change");
	if (old->remove != next->remove)
		return refuse(p, "delete", "the roles cannot change");
	/* Before what is compared by column: those must all be there. */
	rc = check_columns(p, olds, old, nexts, next);
	if (rc != SAT_OK)
		return rc;
	if (!same_scopes(old, next))
		return refuse(p, "scope", "cannot change");
	if (!same_indexes(old, next))
		return refuse(p, "indexes", "cannot change");
	if (column_no(old, old->territory) != column_no(next, next->territory))
		return refuse(p, "territory", "cannot change");
	if (column_no(old, old->move_with) != column_no(next, next->move_with))
		return refuse(p, "move_with", "cannot change");
	return SAT_OK;
}

int sat_catalogue_compatible(const struct sat_catalogue *old,
			     const struct sat_catalogue *next,
			     struct sat_err *err)
{
	struct place p = { .err = err };
	int rc = SAT_OK;

	if (strcmp(old->name, next->name) != 0)
		return sat_err_set(err, SAT_E_INVAL, 0, "catalogue",
				   "name: \"%s\" is another catalogue than "
				   "\"%s\"",
				   next->name, old->name);
	if (next->version <= old->version)
		return sat_err_set(err, SAT_E_INVAL, 0, "catalogue",
				   "version: %u is not above %u",
				   (unsigned)next->version,
				   (unsigned)old->version);
	for (uint16_t i = 0; rc == SAT_OK && i < old->table_count; i++) {
		const struct sat_table *t =
			sat_catalogue_table_no(next, old->tables[i].no);

		p.table = &old->tables[i];
		if (t == NULL)
			return refuse(&p, "", "a table cannot be taken away");
		rc = check_table(&p, old, &old->tables[i], next, t);
	}
	return rc;
}
