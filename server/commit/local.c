#include <stdio.h>

#include "server/commit/core.h"

/* Values from an administrator's file are checked as a peer's are. */
static int check_values(const struct sat_local_write *w, struct sat_err *err)
{
	const struct sat_table *t = w->table;
	const char *why = "is not in the table";

	for (uint32_t i = 0; i < w->column_count; i++) {
		const struct sat_column *c;

		if (w->columns[i] >= t->column_count)
			return sat_err_set(err, SAT_E_INVAL, 0, "write",
					   "a column %s", why);
		c = &t->columns[w->columns[i]];
		/* the elements of a set are judged where it is parsed */
		if (c->type != SAT_TYPE_SET &&
		    !sat_column_accepts(c, &w->values[i], &why))
			return sat_err_set(err, SAT_E_INVAL, 0, "write",
					   "%s.%s %s", t->name, c->name, why);
	}
	return SAT_OK;
}

static int check_elements(const struct sat_delta *d, struct sat_err *err)
{
	const char *why;

	for (uint32_t i = 0; i < d->change_count; i++) {
		const struct sat_change *ch = &d->changes[i];
		const struct sat_column *c = &d->table->columns[ch->column];

		for (uint32_t k = 0; k < ch->add_count; k++) {
			struct sat_value v = sat_value_text(ch->adds[k]);

			if (!sat_column_accepts(c, &v, &why))
				return sat_err_set(err, SAT_E_INVAL, 0, "write",
						   "%s.%s %s", d->table->name,
						   c->name, why);
		}
	}
	return SAT_OK;
}

static int refused(const struct sat_apply *ap, struct sat_err *err)
{
	const struct sat_table *t = ap->where_table;
	char text[sizeof err->msg];

	sat_reason_text(ap->reason, SAT_LANG_EN, t,
			t == NULL || ap->where_column < 0
				? NULL
				: &t->columns[ap->where_column],
			text, sizeof text);
	return sat_err_set(err, SAT_E_INVAL, 0, "write", "%s", text);
}

static int write_one(struct sat_apply *ap, const struct sat_local_write *lw,
		     struct sat_err *err)
{
	struct sat_engine *e = ap->e;
	struct sat_own_write w = { .op = lw->op,
				   .table = lw->table,
				   .id = lw->id,
				   .columns = lw->columns,
				   .values = lw->values,
				   .column_count = lw->column_count };
	struct sat_delta d;
	bool same;
	int rc = check_values(lw, err);

	if (rc != SAT_OK)
		return rc;
	sat_arena_reset(&e->row_arena);
	rc = sat_own_delta(e, &w, &e->row_arena, &d, &same, err);
	if (rc == SAT_OK)
		rc = check_elements(&d, err);
	if (rc != SAT_OK || same)
		return rc;
	/* a row met twice in one call needs a second dot to be written again */
	if (ap->dot.seq == 0 || sat_vv_covers(d.context, ap->dot))
		ap->dot = (struct sat_dot){ e->self, ++e->self_seq };
	rc = sat_apply_delta(ap, &d, ++e->head, err);
	return rc > SAT_OK ? refused(ap, err) : rc;
}

int sat_engine_local(struct sat_engine *e, const struct sat_local_write *w,
		     uint32_t count, uint32_t *ret_bad, struct sat_err *err)
{
	struct sat_apply ap = { .e = e, .role = SAT_ROLE_SERVER };
	struct sat_engine_mark mark;
	struct sat_err ignored;
	uint32_t i;
	int rc;

	SAT_ASSERT(e->in_group);
	ap.ceiling = sat_hlc_tick(&e->hlc, e->now_ms);
	rc = sat_engine_mark(e, &mark, err);
	if (rc != SAT_OK)
		return sat_engine_spoil(e, rc);
	for (i = 0; rc == SAT_OK && i < count; i++)
		rc = write_one(&ap, &w[i], err);
	sat_apply_fini(&ap);
	if (rc == SAT_OK) {
		rc = sat_engine_keep(e, err);
		return rc == SAT_OK ? rc : sat_engine_spoil(e, rc);
	}
	*ret_bad = i - 1;
	if (sat_engine_ends_group(rc))
		return sat_engine_spoil(e, rc);
	if (sat_engine_undo(e, &mark, &ignored) != SAT_OK)
		return sat_engine_spoil(e, SAT_E_IO);
	return rc;
}
