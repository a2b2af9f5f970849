/* One delta, from the gate to the store. Every refusal happens inside the
 * changeset's savepoint, so nothing here takes anything back itself. */
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "server/commit/core.h"
#include "server/commit/gate.h"

enum { DAY_MS = 24 * 60 * 60 * 1000, DATE_CHARS = 11 };

void sat_apply_fini(struct sat_apply *ap)
{
	free(ap->conflicts);
	ap->conflicts = NULL;
}

int sat_apply_refuse(struct sat_apply *ap, enum sat_reason reason,
		     const struct sat_table *t, const struct sat_id *id,
		     int column)
{
	ap->reason = reason;
	ap->where_table = t;
	ap->where_column = column;
	ap->where = (struct sat_field_name){
		.table_no = t->no,
		.id = *id,
		.column_no = column < 0 ? 0 : t->columns[column].no,
	};
	return SAT_APPLY_REFUSED;
}

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "apply", "out of memory");
}

/* ---- before ------------------------------------------------------------- */

/* A row nobody knows: made by a rejected changeset of the same replica, or
 * simply not there. */
static int unknown_row(struct sat_apply *ap, const struct sat_delta *d,
		       struct sat_err *err)
{
	int rc = sat_store_rejected_row(ap->e->store, ap->dot.replica, d->table,
					&d->id, &ap->depends, err);

	if (rc != SAT_OK && rc != SAT_E_NOTFOUND)
		return rc;
	return sat_apply_refuse(
		ap, rc == SAT_OK ? SAT_REASON_DEPENDS : SAT_REASON_GONE,
		d->table, &d->id, -1);
}

/* Does the author's copy equal the stored row: made on it, or on a state that
 * only his own held writes have moved since? And its places: one that moved
 * since the row was written may be news to him, and this write would take the
 * place of the entry that tells him. A deleted row is sent without its fields:
 * who revives it does not hold them. */
static bool is_held(const struct sat_apply *ap, const struct sat_delta *d,
		    const struct sat_work *w)
{
	if (w->old.seq != 0 && w->old.deleted)
		return false;
	if (d->base_seq != w->old.seq &&
	    !(w->old.held && w->old.origin == ap->dot.replica))
		return false;
	for (uint32_t i = 0; i < w->old.place_count; i++) {
		if (!w->old.places[i].evict &&
		    w->old.places[i].seq != w->old.seq)
			return false;
	}
	return true;
}

static int judge_before(struct sat_apply *ap, const struct sat_delta *d,
			const struct sat_work *w, struct sat_err *err)
{
	enum sat_reason reason;
	int column;

	if (w->old.seq == 0 && d->op != SAT_OP_INSERT)
		return unknown_row(ap, d, err);
	reason = sat_gate_role(ap->role, d, w->old.seq != 0, &column);
	if (reason != SAT_REASON_NONE)
		return sat_apply_refuse(ap, reason, d->table, &d->id, column);
	if (ap->rights != NULL && w->old.seq != 0) {
		reason = sat_told_reach(ap, d->table, &d->id, w->old.places,
					w->old.place_count);
		if (reason != SAT_REASON_NONE)
			return sat_apply_refuse(ap, reason, d->table, &d->id,
						-1);
	}
	return ap->hold && !is_held(ap, d, w) ? SAT_APPLY_ECHO : SAT_OK;
}

/* ---- defaults ----------------------------------------------------------- */

/* What column c of a new row gets, a NULL value when nothing. */
static int default_of(struct sat_apply *ap, const struct sat_column *c,
		      int64_t at_ms, struct sat_arena *a, struct sat_value *ret)
{
	int64_t ms = sat_clock_correct(&ap->clock, at_ms);
	char *text;

	*ret = sat_value_null();
	switch (c->def) {
	case SAT_DEFAULT_VALUE:
		*ret = c->default_value;
		break;
	case SAT_DEFAULT_NOW:
		*ret = sat_value_int(ms);
		break;
	case SAT_DEFAULT_TODAY:
		text = sat_arena_alloc(a, DATE_CHARS);
		if (text == NULL)
			return SAT_E_NOMEM;
		sat_date_format((int32_t)(ms / DAY_MS), text);
		*ret = sat_value_text(sat_slice_str(text));
		break;
	case SAT_DEFAULT_AUTHOR:
		if (ap->rights != NULL)
			*ret = sat_value_id(&ap->rights->user);
		break;
	case SAT_DEFAULT_AUTHOR_HOME:
		if (ap->rights != NULL)
			*ret = sat_value_id(&ap->rights->home);
		break;
	case SAT_DEFAULT_NONE:
		break;
	}
	return SAT_OK;
}

/* Merge defaults into a copy of the changes; both are in column order.
 * *ret_filled tells whether the author's own row lacks one of them. */
static int fill_defaults(struct sat_apply *ap, const struct sat_delta *d,
			 struct sat_arena *a, struct sat_delta *ret,
			 bool *ret_filled)
{
	const struct sat_table *t = d->table;
	uint32_t i = 0, n = 0;
	struct sat_value v;
	struct sat_change *out;

	out = sat_arena_array(a, (size_t)d->change_count + t->column_count,
			      sizeof *out);
	if (out == NULL)
		return SAT_E_NOMEM;
	for (uint16_t c = 0; c < t->column_count; c++) {
		const struct sat_column *col = &t->columns[c];
		bool given = i < d->change_count && d->changes[i].column == c;

		if (given)
			out[n] = d->changes[i++];
		if (col->policy != SAT_POLICY_SET &&
		    col->policy != SAT_POLICY_COUNTER &&
		    (!given || out[n].value.kind == SAT_NULL)) {
			if (default_of(ap, col, d->at_ms, a, &v) != SAT_OK)
				return SAT_E_NOMEM;
			if (v.kind != SAT_NULL) {
				out[n] =
					(struct sat_change){ .column = c,
							     .value = v,
							     .at_ms =
								     d->at_ms };
				*ret_filled = true;
				given = true;
			}
		}
		n += given;
	}
	ret->changes = out;
	ret->change_count = n;
	return SAT_OK;
}

static int copy_changes(const struct sat_delta *d, struct sat_arena *a,
			struct sat_delta *ret)
{
	ret->changes =
		sat_arena_array(a, d->change_count, sizeof *ret->changes);
	if (ret->changes == NULL)
		return SAT_E_NOMEM;
	if (d->change_count > 0)
		memcpy(ret->changes, d->changes,
		       d->change_count * sizeof *ret->changes);
	return SAT_OK;
}

/* ---- merge -------------------------------------------------------------- */

const struct sat_conflict *sat_conflict_find(const struct sat_conflict *list,
					     uint32_t count,
					     const struct sat_conflict *like)
{
	for (uint32_t i = 0; i < count; i++) {
		if (list[i].column == like->column &&
		    sat_dot_compare(list[i].dot, like->dot) == 0)
			return &list[i];
	}
	return NULL;
}

static bool new_conflicts(const struct sat_applied *r)
{
	for (uint32_t i = 0; i < r->after_count; i++) {
		if (sat_conflict_find(r->before, r->before_count,
				      &r->after[i]) == NULL)
			return true;
	}
	return false;
}

/* Stamp and merge into ret->work.state. */
static int merge(struct sat_apply *ap, const struct sat_delta *d,
		 struct sat_arena *a, struct sat_applied *ret,
		 struct sat_err *err)
{
	struct sat_work *w = &ret->work;
	enum sat_merge_outcome outcome = SAT_MERGE_APPLIED;
	bool filled = false, followed = false, clamped = false;
	int rc;

	ret->delta = *d;
	rc = ret->fresh ? fill_defaults(ap, d, a, &ret->delta, &filled)
			: copy_changes(d, a, &ret->delta);
	if (rc == SAT_OK && ret->fresh) {
		rc = sat_told_follow(ap, &ret->delta, a, &followed, err);
		if (rc != SAT_OK)
			return rc;
		filled = filled || followed;
		ap->followed = followed;
	}
	if (rc == SAT_OK)
		rc = sat_row_conflicts(a, w->table, &w->state, &ret->before,
				       &ret->before_count);
	if (rc != SAT_OK)
		return no_memory(err);
	if (ap->old_history &&
	    sat_recover_clip(ap->e, a, w->state.vv, ap->dot.replica,
			     &ret->delta.context) != SAT_OK)
		return no_memory(err);
	sat_delta_stamp(&ret->delta, ap->dot, &w->state, &ap->clock,
			ap->ceiling, &clamped);
	rc = sat_merge_apply(a, &w->state, &ret->delta, ap->dot, &outcome);
	if (rc == SAT_E_FORGED)
		return sat_apply_refuse(ap, SAT_REASON_FORGED, d->table, &d->id,
					-1);
	if (rc == SAT_E_INVAL || rc == SAT_E_LIMIT)
		return sat_apply_refuse(ap, SAT_REASON_VALUE, d->table, &d->id,
					-1);
	ret->contained = outcome == SAT_MERGE_CONTAINED;
	if (rc == SAT_OK)
		rc = sat_row_conflicts(a, w->table, &w->state, &ret->after,
				       &ret->after_count);
	if (rc == SAT_OK)
		rc = sat_work_show(a, w);
	if (rc != SAT_OK)
		return no_memory(err);
	if (ap->hold &&
	    (filled || clamped || ret->contained || new_conflicts(ret)))
		return SAT_APPLY_ECHO;
	return SAT_OK;
}

/* ---- after -------------------------------------------------------------- */

static int judge_required(struct sat_apply *ap, const struct sat_applied *r)
{
	const struct sat_work *w = &r->work;
	const struct sat_table *t = w->table;

	if (!sat_row_alive(&w->state))
		return SAT_OK;
	if (r->fresh) {
		for (uint16_t i = 0; i < t->column_count; i++) {
			if (t->columns[i].required &&
			    w->values[i].kind == SAT_NULL)
				return sat_apply_refuse(ap, SAT_REASON_REQUIRED,
							t, &w->id, i);
		}
		return SAT_OK;
	}
	/* a column that became required later may be empty in old rows */
	for (uint32_t k = 0; k < r->delta.change_count; k++) {
		uint16_t i = r->delta.changes[k].column;

		if (t->columns[i].required && w->values[i].kind == SAT_NULL)
			return sat_apply_refuse(ap, SAT_REASON_REQUIRED, t,
						&w->id, i);
	}
	return SAT_OK;
}

static int keep_places(const struct sat_work *w, struct sat_arena *a,
		       struct sat_scopes *all)
{
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < w->old.place_count; i++) {
		if (!w->old.places[i].evict)
			rc = sat_scopes_add(a, all, w->old.places[i].scope);
	}
	return rc;
}

/* A row always has a scope: what it had, else its author's home, for the
 * server's own rows the top of the tree. */
static int fall_back(struct sat_apply *ap, struct sat_work *w,
		     struct sat_arena *a, struct sat_err *err)
{
	const struct sat_tree_node *root;
	const struct sat_id *home = NULL;
	uint32_t scope;
	int rc = keep_places(w, a, &w->scopes);

	if (rc != SAT_OK || w->scopes.count > 0)
		return rc;
	if (ap->rights != NULL) {
		home = &ap->rights->home;
	} else {
		rc = sat_tree_fresh(ap->e, err);
		if (rc != SAT_OK)
			return rc;
		root = sat_tree_root(&ap->e->tree);
		if (root != NULL)
			home = &root->id;
	}
	if (home == NULL)
		return sat_apply_refuse(ap, SAT_REASON_SCOPE, w->table, &w->id,
					-1);
	rc = sat_scope_number(ap->e, home, &scope, err);
	return rc == SAT_OK ? sat_scopes_add(a, &w->scopes, scope) : rc;
}

static bool scopes_moved(const struct sat_work *w)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < w->old.place_count; i++) {
		if (w->old.places[i].evict)
			continue;
		if (!sat_scopes_have(&w->scopes, w->old.places[i].scope))
			return true;
		live++;
	}
	return live != w->scopes.count;
}

/* With these rights. A row that follows its moved parent goes where the
 * author has no say, and one below a moved parent need not be in his reach. */
static bool may_stand(const struct sat_apply *ap, const struct sat_work *w,
		      const struct sat_scopes *own, const struct sat_rights *r)
{
	const struct sat_place here = { .scope = 0 };
	bool below = ap->moved && w->old.seq == 0;

	return ap->followed ||
	       sat_gate_after(r, below ? &here : w->old.places,
			      below ? 1 : w->old.place_count, w->scopes.list,
			      w->scopes.count, own->list, own->count);
}

static int judge_scopes(struct sat_apply *ap, struct sat_applied *r,
			struct sat_arena *a, struct sat_err *err)
{
	struct sat_work *w = &r->work;
	struct sat_scopes own = { 0 };
	int rc;

	if (!sat_row_alive(&w->state)) /* a tombstone goes where the row was */
		return keep_places(w, a, &w->scopes);
	rc = sat_row_scopes(ap->e, w->table, w->values, a, &w->scopes, &own,
			    err);
	if (rc == SAT_OK && w->scopes.count == 0)
		rc = fall_back(ap, w, a, err);
	if (rc != SAT_OK)
		return rc;
	if (ap->rights != NULL && !may_stand(ap, w, &own, ap->rights)) {
		if (!may_stand(ap, w, &own, &ap->told->ever))
			return sat_apply_refuse(ap, SAT_REASON_SCOPE, w->table,
						&w->id, -1);
		ap->late_table = w->table;
		ap->late_id = w->id;
		return sat_apply_refuse(ap, SAT_REASON_TOO_LATE, w->table,
					&w->id, -1);
	}
	if (ap->rights != NULL && r->fresh &&
	    !may_stand(ap, w, &own, ap->told->now))
		ap->moved = true;
	/* a row that its author may not see any more is not held by him */
	if (ap->hold && (ap->moved || (!r->fresh && scopes_moved(w))))
		return SAT_APPLY_ECHO;
	return SAT_OK;
}

int sat_apply_row(struct sat_apply *ap, const struct sat_delta *d, uint64_t seq,
		  struct sat_arena *a, struct sat_applied *ret,
		  struct sat_err *err)
{
	struct sat_applied r = { 0 };
	int rc = sat_work_load(ap->e, d->table, &d->id, a, &r.work, err);

	if (rc == SAT_OK)
		rc = judge_before(ap, d, &r.work, err);
	if (rc != SAT_OK)
		return rc;
	r.fresh = r.work.old.seq == 0;
	r.was_alive = !r.fresh && !r.work.old.deleted;
	r.state_before = r.work.state; /* merging makes new arrays */
	rc = sat_apply_refs(ap, d, err);
	if (rc == SAT_OK && ap->hold && ap->moved)
		rc = SAT_APPLY_ECHO;
	if (rc == SAT_OK)
		rc = merge(ap, d, a, &r, err);
	if (rc == SAT_OK && !r.contained) {
		rc = judge_required(ap, &r);
		if (rc == SAT_OK)
			rc = judge_scopes(ap, &r, a, err);
		if (rc == SAT_OK)
			rc = sat_work_write(ap->e, &r.work, seq,
					    ap->dot.replica, ap->hold, a, err);
	}
	if (rc == SAT_OK)
		*ret = r;
	return rc;
}

/* ---- the whole ---------------------------------------------------------- */

static int note_conflicts(struct sat_apply *ap, const struct sat_applied *r,
			  struct sat_err *err)
{
	const struct sat_table *t = r->work.table;
	struct sat_field_name *grown;
	uint32_t cap;

	for (uint32_t i = 0; i < r->after_count; i++) {
		if (sat_conflict_find(r->before, r->before_count,
				      &r->after[i]) != NULL)
			continue;
		ap->conflicted = true;
		if (ap->conflict_count == SAT_VERDICT_FIELDS_MAX)
			return SAT_OK;
		if (ap->conflict_count == ap->conflict_cap) {
			cap = ap->conflict_cap == 0 ? 16 : ap->conflict_cap * 2;
			grown = realloc(ap->conflicts, cap * sizeof *grown);
			if (grown == NULL)
				return no_memory(err);
			ap->conflicts = grown;
			ap->conflict_cap = cap;
		}
		ap->conflicts[ap->conflict_count++] = (struct sat_field_name){
			.table_no = t->no,
			.id = r->work.id,
			.column_no =
				r->after[i].column < 0
					? 0
					: t->columns[r->after[i].column].no,
		};
	}
	return SAT_OK;
}

static const struct sat_id *id_in(const struct sat_value *v)
{
	/* ids are 16 bytes without alignment needs */
	return v->kind == SAT_BLOB && v->s.len == sizeof(struct sat_id)
		       ? (const struct sat_id *)(const void *)v->s.ptr
		       : NULL;
}

/* Rows that depend on this one follow it. */
static int follow(struct sat_apply *ap, const struct sat_applied *r,
		  struct sat_err *err)
{
	const struct sat_work *w = &r->work;
	int t = w->table->territory;
	const struct sat_id *from = NULL, *to = NULL;

	if (r->fresh || !sat_row_alive(&w->state))
		return SAT_OK;
	if (t >= 0 && !sat_value_equal(&w->old.values[t], &w->values[t])) {
		from = id_in(&w->old.values[t]);
		to = id_in(&w->values[t]);
	}
	if (!scopes_moved(w) && (from == NULL || to == NULL))
		return SAT_OK;
	return sat_cascade(ap, w->table, &w->id, from, to, err);
}

int sat_apply_delta(struct sat_apply *ap, const struct sat_delta *d,
		    uint64_t seq, struct sat_err *err)
{
	struct sat_applied r;
	int rc;

	ap->moved = ap->followed = false;
	rc = sat_apply_row(ap, d, seq, &ap->e->row_arena, &r, err);
	if (rc != SAT_OK || r.contained)
		return rc;
	rc = note_conflicts(ap, &r, err);
	if (rc == SAT_OK)
		rc = sat_ledger_update(ap, &r, err);
	if (rc == SAT_OK)
		rc = sat_history_note(ap, &r, err);
	if (rc == SAT_OK && ap->moved)
		rc = sat_ledger_moved(ap, &r, err);
	return rc == SAT_OK ? follow(ap, &r, err) : rc;
}
