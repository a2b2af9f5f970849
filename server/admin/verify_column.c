#include "server/admin/verify_column.h"

#include <string.h>

#include "proto/changeset.h"

struct look {
	struct sat_store *store;
	const struct sat_table *table;
	const struct sat_stored_row *row;
	struct sat_arena state, changeset, delta;
	struct sat_buf bytes;
	struct sat_err *err;
};

/* Is the row's value the one that the changeset gave it? Where a default or
 * the server's own hand filled it in, nobody can say. */
static bool differs(const struct look *x, const struct sat_delta *d, int column)
{
	const struct sat_column *c = &x->table->columns[column];

	for (uint32_t i = 0; i < d->change_count; i++) {
		const struct sat_change *ch = &d->changes[i];

		if (ch->column != column)
			continue;
		return !sat_value_equal(&ch->value, &x->row->values[column]) &&
		       (ch->value.kind != SAT_NULL ||
			c->def == SAT_DEFAULT_NONE);
	}
	return false;
}

/* A changeset that is not there, or cannot be read, tells nothing. */
static int look_up(struct look *x, struct sat_dot dot, int column, bool *ret)
{
	struct sat_changeset_where where;
	struct sat_changeset_reader *reader;
	struct sat_changeset head;
	struct sat_delta d;
	struct sat_err none;
	uint8_t hash[16];
	int rc;

	*ret = false;
	sat_buf_clear(&x->bytes);
	sat_arena_reset(&x->changeset);
	rc = sat_store_changeset_get(x->store, dot, &x->bytes, hash, x->err);
	if (rc != SAT_OK)
		return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
	rc = sat_changeset_open(sat_store_catalogue(x->store),
				sat_buf_peek(&x->bytes), &x->changeset, &head,
				&reader, &none);
	while (rc == SAT_OK) {
		sat_arena_reset(&x->delta);
		rc = sat_changeset_next(reader, &x->delta, &d, &where, &none);
		if (rc != SAT_OK || d.table != x->table ||
		    memcmp(d.id.b, x->row->id.b, sizeof d.id.b) != 0)
			continue;
		*ret = differs(x, &d, column);
		return SAT_OK;
	}
	return rc == SAT_E_NOMEM ? rc : SAT_OK;
}

static int find(struct look *x, int *ret)
{
	const struct sat_table *t = x->table;
	struct sat_row state;
	bool found = false;
	int rc = sat_meta_decode(&x->state, t, x->row->meta, x->row->values,
				 &state);

	for (int i = 0; rc == SAT_OK && i < t->column_count; i++) {
		const struct sat_field *f = &state.fields[i];
		enum sat_policy policy = t->columns[i].policy;

		/* a moved account rewrites territories without a dot */
		if (policy == SAT_POLICY_SET || policy == SAT_POLICY_COUNTER ||
		    f->count != 1 || i == t->territory)
			continue;
		rc = look_up(x, f->writes[0].dot, i, &found);
		if (rc == SAT_OK && found) {
			*ret = i;
			return SAT_OK;
		}
	}
	return rc == SAT_E_CORRUPT ? SAT_OK : rc;
}

int sat_verify_column(struct sat_store *s, const struct sat_table *t,
		      const struct sat_stored_row *row, int *ret,
		      struct sat_err *err)
{
	struct look x = { .store = s, .table = t, .row = row, .err = err };
	int rc;

	*ret = -1;
	sat_arena_init(&x.state, 256 << 20);
	sat_arena_init(&x.changeset, (size_t)SAT_CHANGESET_BYTES_MAX * 33);
	sat_arena_init(&x.delta, 256 << 20);
	sat_buf_init(&x.bytes, SAT_CHANGESET_BYTES_MAX);
	rc = find(&x, ret);
	sat_buf_fini(&x.bytes);
	sat_arena_fini(&x.delta);
	sat_arena_fini(&x.changeset);
	sat_arena_fini(&x.state);
	return rc;
}
