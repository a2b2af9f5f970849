/* The oracle. A delta is what one changeset does to one row; a delta sees
 * another one when its author's replica held a state of the row that had it,
 * or when both are the same author's, in that order. Of the writes of a field
 * those count that no other one has seen. */
#include "tests/sim/oracle.h"

#include <stdlib.h>
#include <string.h>

enum { FIELDS = 12, TAGS = 16, LWW_SURE_MS = 5000 };

struct set_field {
	bool set;
	char value[64], old[16];
	int64_t number;
	uint64_t at_ms;
};

struct delta {
	uint32_t replica; /* 0: the server */
	uint64_t seq, order, commit, before, held;
	bool insert, delete;
	struct set_field fields[FIELDS];
	int64_t count;
	char adds[TAGS][24], removes[TAGS][24];
	unsigned add_count, remove_count;
};

struct row {
	unsigned table;
	char id[37];
	struct delta *deltas;
	size_t count, cap;
	bool unclear; /* something happened here that is not written down */
	bool born;    /* before the run: its first state is not known  */
};

struct model {
	struct sim_world *w;
	struct sqlite3 *srv;
	struct row *rows;
	size_t count, cap;
};

static void *more(void *p, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return p;
	*cap = *cap == 0 ? 16 : *cap * 2;
	p = realloc(p, *cap * size);
	SAT_ASSERT(p != NULL);
	return p;
}

static struct row *row_of(struct model *m, unsigned table, const char *id)
{
	struct row *r;

	for (size_t i = 0; i < m->count; i++)
		if (m->rows[i].table == table && strcmp(m->rows[i].id, id) == 0)
			return &m->rows[i];
	m->rows = more(m->rows, m->count, &m->cap, sizeof *m->rows);
	r = &m->rows[m->count++];
	memset(r, 0, sizeof *r);
	r->table = table;
	(void)snprintf(r->id, sizeof r->id, "%s", id);
	return r;
}

/* ---- from transactions to deltas ----------------------------------------- */

static struct delta *delta_of(struct row *r, const struct sim_verdict *v)
{
	struct delta *d;

	for (size_t i = 0; i < r->count; i++)
		if (r->deltas[i].order == v->order)
			return &r->deltas[i];
	r->deltas = more(r->deltas, r->count, &r->cap, sizeof *r->deltas);
	d = &r->deltas[r->count++];
	memset(d, 0, sizeof *d);
	d->replica = v->replica;
	d->seq = v->seq;
	d->order = v->order;
	d->commit = v->commit;
	d->before = v->before;
	return d;
}

static void drop_tag(struct delta *d, const char *tag)
{
	for (unsigned i = 0; i < d->add_count; i++) {
		if (strcmp(d->adds[i], tag) != 0)
			continue;
		memcpy(d->adds[i], d->adds[--d->add_count], sizeof d->adds[i]);
		return;
	}
	SAT_ASSERT(d->remove_count < TAGS);
	(void)snprintf(d->removes[d->remove_count++], sizeof d->removes[0],
		       "%s", tag);
}

static void put_write(struct delta *d, const struct sim_write *x,
		      const struct sim_txn *t, uint64_t held)
{
	struct set_field *f = &d->fields[x->field];

	d->held = held;
	switch (x->kind) {
	case SIM_DELETE:
		d->delete = true;
		break;
	case SIM_COUNT:
		d->count += x->number;
		break;
	case SIM_ADD:
		SAT_ASSERT(d->add_count < TAGS);
		(void)snprintf(d->adds[d->add_count++], sizeof d->adds[0],
			       "%.20s", x->value);
		break;
	case SIM_REMOVE:
		drop_tag(d, x->value);
		break;
	case SIM_INSERT:
		d->insert = true;
		if (x->table == SIM_VISIT) { /* as the catalogue says */
			d->fields[2].set = true;
			(void)snprintf(d->fields[2].value, 64, "done");
			d->fields[2].at_ms = t->at_ms;
		}
		/* fall through */
	case SIM_SET:
		if (!f->set)
			memcpy(f->old, x->old, sizeof f->old);
		f->set = true;
		(void)snprintf(f->value, sizeof f->value, "%s", x->value);
		f->number = x->number;
		f->at_ms = t->at_ms;
		break;
	}
}

static bool accepted(const struct sim_verdict *v)
{
	return v->status == SAT_VERDICT_APPLIED ||
	       v->status == SAT_VERDICT_MERGED;
}

static bool is_of(const struct sim_world *w, size_t txn,
		  const struct sim_verdict *v)
{
	const struct sim_txn *t = &w->ops.txns[txn];

	if (v->replica == 0)
		return v->seq == txn + 1;
	return t->device >= 0 && t->outcome == SIM_OK &&
	       t->replica == v->replica && t->seq == v->seq;
}

/* Rows of what was refused and came again in parts are not known. */
static void blur(struct model *m, uint32_t replica)
{
	for (size_t i = 0; i < m->w->ops.count; i++) {
		const struct sim_txn *t = &m->w->ops.txns[i];

		for (unsigned k = 0; t->replica == replica && k < t->count; k++)
			row_of(m, t->writes[k].table, t->writes[k].id)
				->unclear = true;
	}
}

static void take_verdict(struct model *m, const struct sim_verdict *v)
{
	struct sim_world *w = m->w;
	bool any = false;

	for (size_t i = 0; i < w->ops.count; i++) {
		const struct sim_txn *t = &w->ops.txns[i];

		if (!is_of(w, i, v))
			continue;
		any = true;
		for (unsigned k = 0; accepted(v) && k < t->count; k++) {
			const struct sim_write *x = &t->writes[k];
			struct row *r = row_of(m, x->table, x->id);

			put_write(delta_of(r, v), x, t, t->held[k]);
		}
	}
	if (!any || v->status == SAT_VERDICT_PARKED)
		blur(m, v->replica);
}

/* ---- what a row must be -------------------------------------------------- */

static bool sees(const struct delta *a, const struct delta *b)
{
	if (a == b)
		return false;
	if (a->replica == 0)
		return b->order < a->order;
	if (a->replica == b->replica)
		return b->seq < a->seq;
	return b->before < a->held;
}

static bool has_field(const struct delta *d, unsigned f)
{
	return !d->delete &&d->fields[f].set;
}

/* A write that no other write of the field has seen. */
static bool counts(const struct row *r, const struct delta *d, unsigned f)
{
	if (!has_field(d, f))
		return false;
	for (size_t i = 0; i < r->count; i++)
		if (has_field(&r->deltas[i], f) && sees(&r->deltas[i], d))
			return false;
	return true;
}

/* A field that is in the end what it was is not written. */
static void no_change(struct delta *d)
{
	for (unsigned f = 0; f < FIELDS && !d->insert; f++) {
		struct set_field *x = &d->fields[f];

		if (x->set && x->old[0] != '\0' &&
		    strcmp(x->old, x->value) == 0)
			x->set = false;
	}
}

/* Made and deleted in one go: it never was; or nothing came of it. */
static bool is_nothing(const struct delta *d)
{
	bool any = d->delete || d->insert || d->count != 0 ||
		   d->add_count > 0 || d->remove_count > 0;

	for (unsigned f = 0; f < FIELDS; f++)
		any = any || d->fields[f].set;
	return !any || (d->insert && d->delete);
}

static bool is_alive(const struct row *r)
{
	bool any = false;

	if (r->born) {
		any = true;
		for (size_t i = 0; i < r->count; i++)
			any = any && !r->deltas[i].delete;
	}
	for (size_t i = 0; i < r->count && !any; i++) {
		bool dead = r->deltas[i].delete;

		for (size_t k = 0; k < r->count && !dead; k++)
			dead = r->deltas[k].delete &&sees(&r->deltas[k],
							  &r->deltas[i]);
		any = !dead;
	}
	return any;
}

static bool ask(const struct model *m, const struct row *r, const char *what,
		char *out, size_t n)
{
	sqlite3_stmt *st = NULL;
	char sql[400];
	bool found = false;

	(void)snprintf(sql, sizeof sql,
		       "SELECT %s FROM \"%s\" WHERE id ="
		       " X'%.8s%.4s%.4s%.4s%.12s' AND _flags & 2 = 0",
		       what, sim_tables[r->table].name, r->id, r->id + 9,
		       r->id + 14, r->id + 19, r->id + 24);
	out[0] = '\0';
	if (sqlite3_prepare_v2(m->srv, sql, -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW) {
		found = true;
		if (sqlite3_column_text(st, 0) != NULL)
			(void)snprintf(
				out, n, "%s",
				(const char *)sqlite3_column_text(st, 0));
	}
	(void)sqlite3_finalize(st);
	return found;
}

static void wrong(const struct model *m, const struct row *r, unsigned f,
		  const char *got, const char *want)
{
	sim_fail(m->w, "I4/I7: %s.%s of %s is %s, must be %s",
		 sim_tables[r->table].name, sim_tables[r->table].fields[f].name,
		 r->id, got, want);
}

/* ---- the policies -------------------------------------------------------- */

/* Entries of the ledger that stand for a value which lost. */
static int64_t ledger(const struct model *m, const struct row *r, unsigned f,
		      const char *states)
{
	char sql[400];

	(void)snprintf(sql, sizeof sql,
		       "SELECT count(*) FROM conflict WHERE table_name = '%s'"
		       " AND row_id = '%s' AND field = '%s' AND kind = 'value'"
		       " AND state IN (%s) AND _flags & 2 = 0",
		       sim_tables[r->table].name, r->id,
		       sim_tables[r->table].fields[f].name, states);
	return sim_number(m->srv, sql);
}

static int rank(const char *state)
{
	return strcmp(state, "planned") == 0      ? 1
	       : strcmp(state, "checked_in") == 0 ? 2
						  : 3;
}

/* lww, keep and ordered: one of the writes that count is shown. */
static void check_value(const struct model *m, const struct row *r, unsigned f)
{
	const char *policy = sim_tables[r->table].fields[f].policy;
	const char *name = sim_tables[r->table].fields[f].name;
	const struct delta *shown = NULL;
	unsigned n = 0, others = 0;
	char got[200], as_text[120];

	(void)snprintf(as_text, sizeof as_text,
		       strcmp(name, "territory_id") == 0 ? "sat_uuid(%s)"
							 : "%s",
		       name);
	if (!ask(m, r, as_text, got, sizeof got))
		return;
	for (size_t i = 0; i < r->count; i++) {
		const struct delta *d = &r->deltas[i];

		if (!counts(r, d, f))
			continue;
		n++;
		if (strcmp(d->fields[f].value, got) == 0)
			shown = d;
		else
			others++;
	}
	if (n == 0)
		return; /* nobody wrote it */
	if (shown == NULL) {
		wrong(m, r, f, got, "a write that none has seen");
		return;
	}
	for (size_t i = 0; i < r->count; i++) {
		const struct delta *d = &r->deltas[i];

		if (!counts(r, d, f) || d == shown)
			continue;
		if (strcmp(policy, "ordered") == 0) {
			if (rank(d->fields[f].value) > rank(got))
				wrong(m, r, f, got, d->fields[f].value);
		} else if (m->w->swarm.step == 0 && m->w->swarm.hold == 0 &&
			   d->fields[f].at_ms >
				   shown->fields[f].at_ms + LWW_SURE_MS) {
			sim_fail(m->w,
				 "I20: %s of %s shows %s of %lu, not %s"
				 " of %lu",
				 sim_tables[r->table].fields[f].name, r->id,
				 got, (unsigned long)shown->fields[f].at_ms,
				 d->fields[f].value,
				 (unsigned long)d->fields[f].at_ms);
		}
	}
	if (strcmp(policy, "lww") == 0 &&
	    ledger(m, r, f, "'auto','open','resolved'") != (int64_t)others)
		sim_fail(m->w,
			 "I7: %s.%s of %s: %u values lost, the ledger"
			 " has %ld",
			 sim_tables[r->table].name,
			 sim_tables[r->table].fields[f].name, r->id, others,
			 (long)ledger(m, r, f, "'auto','open','resolved'"));
	if (strcmp(policy, "keep") == 0 &&
	    ledger(m, r, f, "'open'") != (others > 0))
		sim_fail(m->w,
			 "I7: %s.%s of %s: %u siblings, the ledger has"
			 " %ld open",
			 sim_tables[r->table].name,
			 sim_tables[r->table].fields[f].name, r->id, others,
			 (long)ledger(m, r, f, "'open'"));
}

static void check_counter(const struct model *m, const struct row *r,
			  unsigned f)
{
	char got[64], want[64];
	int64_t sum = 0;

	for (size_t i = 0; i < r->count; i++)
		sum += r->deltas[i].delete ? 0 : r->deltas[i].count;
	(void)snprintf(want, sizeof want, "%ld", (long)sum);
	if (ask(m, r, sim_tables[r->table].fields[f].name, got, sizeof got) &&
	    strcmp(got, want) != 0)
		wrong(m, r, f, got, want);
}

static void check_extreme(const struct model *m, const struct row *r,
			  unsigned f, int sign)
{
	char got[64], want[64];
	int64_t best = 0;
	bool any = false;

	for (size_t i = 0; i < r->count; i++) {
		const struct set_field *x = &r->deltas[i].fields[f];

		if (!has_field(&r->deltas[i], f))
			continue;
		if (!any || (x->number - best) * sign > 0)
			best = x->number;
		any = true;
	}
	(void)snprintf(want, sizeof want, "%ld", (long)best);
	if (any &&
	    ask(m, r, sim_tables[r->table].fields[f].name, got, sizeof got) &&
	    strcmp(got, want) != 0)
		wrong(m, r, f, got, want);
}

/* An element is there unless a remove that had seen its add took it. */
static bool tag_stays(const struct row *r, const struct delta *d,
		      const char *tag)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct delta *x = &r->deltas[i];

		for (unsigned k = 0; !x->delete &&k < x->remove_count; k++)
			if (strcmp(x->removes[k], tag) == 0 && sees(x, d))
				return false;
	}
	return true;
}

static void check_tags(const struct model *m, const struct row *r, unsigned f)
{
	char got[2000], one[40];
	unsigned want = 0, have = 0;

	if (!ask(m, r, sim_tables[r->table].fields[f].name, got, sizeof got))
		return;
	for (size_t i = 0; i < r->count; i++) {
		const struct delta *d = &r->deltas[i];

		for (unsigned k = 0; !d->delete &&k < d->add_count; k++) {
			(void)snprintf(one, sizeof one, "\"%s\"", d->adds[k]);
			if (tag_stays(r, d, d->adds[k]) !=
			    (strstr(got, one) != NULL))
				wrong(m, r, f, got,
				      strstr(got, one) != NULL
					      ? "without one that was removed"
					      : one);
			want += tag_stays(r, d, d->adds[k]);
		}
	}
	for (const char *p = got; *p != '\0'; p++)
		have += *p == '"';
	if (have != 2 * want)
		wrong(m, r, f, got, "other elements");
}

/* After a restore the order in which the server took things, and what its
 * own people wrote, are not what they were; sums and extremes are. */
static void check_sums(const struct model *m, const struct row *r)
{
	char got[64];

	for (size_t i = 0; i < r->count; i++)
		if (r->deltas[i].delete)
			return;
	if (!ask(m, r, "1", got, sizeof got)) {
		sim_fail(m->w, "I1/I21: %s %s is gone",
			 sim_tables[r->table].name, r->id);
		return;
	}
	if (r->table != SIM_ACCOUNT)
		return;
	check_counter(m, r, 7);
	check_extreme(m, r, 8, -1);
	check_extreme(m, r, 9, 1);
}

static void check_row(const struct model *m, const struct row *r)
{
	char got[64];
	bool there = ask(m, r, "1", got, sizeof got);

	if (there != is_alive(r)) {
		sim_fail(m->w, "I4: %s %s is %s", sim_tables[r->table].name,
			 r->id, there ? "there" : "gone");
		return;
	}
	if (!there)
		return;
	for (unsigned f = 0; sim_tables[r->table].fields[f].name != NULL; f++) {
		const char *policy = sim_tables[r->table].fields[f].policy;

		if (strcmp(policy, "counter") == 0)
			check_counter(m, r, f);
		else if (strcmp(policy, "max") == 0)
			check_extreme(m, r, f, 1);
		else if (strcmp(policy, "min") == 0)
			check_extreme(m, r, f, -1);
		else if (f == 6 && r->table == SIM_ACCOUNT)
			check_tags(m, r, f);
		else if (strcmp(policy, "set") == 0)
			continue; /* nobody writes the other one */
		else if (strcmp(policy, "first") != 0)
			check_value(m, r, f);
	}
}

/* ---- all ----------------------------------------------------------------- */

static void rows_before(struct model *m)
{
	sqlite3_stmt *st = NULL;

	/* Those of the image: their ids are the only ones of that form. */
	(void)sqlite3_prepare_v2(m->srv,
				 "SELECT lower(hex(id)) FROM account WHERE"
				 " hex(id) LIKE '01A31335F4007000%'",
				 -1, &st, NULL);
	while (st != NULL && sqlite3_step(st) == SQLITE_ROW) {
		const char *h = (const char *)sqlite3_column_text(st, 0);
		char id[37];

		(void)snprintf(id, sizeof id, "%.8s-%.4s-%.4s-%.4s-%.12s", h,
			       h + 8, h + 12, h + 16, h + 20);
		row_of(m, SIM_ACCOUNT, id)->born = true;
	}
	(void)sqlite3_finalize(st);
}

static void uuid(sqlite3_context *c, int n, sqlite3_value **v)
{
	const uint8_t *b = sqlite3_value_blob(v[0]);
	char text[37];

	if (n != 1 || b == NULL || sqlite3_value_bytes(v[0]) != 16)
		return;
	for (int i = 0, at = 0; i < 16; i++) {
		at += snprintf(text + at, 4, "%s%02x",
			       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			       b[i]);
	}
	sqlite3_result_text(c, text, 36, SQLITE_TRANSIENT);
}

void sim_oracle(struct sim_world *w, struct sqlite3 *srv)
{
	struct model m = { .w = w, .srv = srv };

	(void)sqlite3_create_function(srv, "sat_uuid", 1, SQLITE_UTF8, NULL,
				      uuid, NULL, NULL);

	for (size_t i = 0; i < w->ops.verdict_count; i++)
		if (!w->ops.verdicts[i].lost)
			take_verdict(&m, &w->ops.verdicts[i]);
	rows_before(&m);
	for (size_t i = 0; i < m.count; i++) {
		struct row *r = &m.rows[i];
		size_t kept = 0;

		for (size_t k = 0; k < r->count; k++) {
			no_change(&r->deltas[k]);
			if (!is_nothing(&r->deltas[k]))
				r->deltas[kept++] = r->deltas[k];
		}
		r->count = kept;
		if (!r->unclear && w->fail[0] == '\0' &&
		    (r->born || r->count > 0)) {
			if (w->srv.restores > 0)
				check_sums(&m, r);
			else
				check_row(&m, r);
		}
	}
	for (size_t i = 0; i < m.count; i++)
		free(m.rows[i].deltas);
	free(m.rows);
}
