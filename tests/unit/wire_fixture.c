#include "tests/unit/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/text.h"

#define LABEL(s)             \
	{                    \
		{            \
			s, s \
		}            \
	}
#define COLUMN(n, id, ty, po)                                       \
	{                                                           \
		.no = (n), .name = (id), .type = SAT_TYPE_##ty,     \
		.policy = SAT_POLICY_##po, .write = 63, .read = 63, \
		.max_bytes = 65536, .label = LABEL(id)              \
	}

static const struct sat_enum_value outcomes[] = {
	{ .name = "order", .label = LABEL("order"), .percent = -1 },
	{ .name = "follow_up", .label = LABEL("follow up"), .percent = -1 },
	{ .name = "closed", .label = LABEL("closed"), .percent = -1 },
	{ .name = "refused", .label = LABEL("refused"), .percent = -1 },
};

static const struct sat_column visit_columns[] = {
	COLUMN(1, "account_id", REF, LWW),
	COLUMN(2, "user_id", REF, LWW),
	COLUMN(3, "territory_id", REF, LWW),
	COLUMN(4, "started_at", TIME, LWW),
	COLUMN(5, "ended_at", TIME, LWW),
	COLUMN(6, "lat", REAL, LWW),
	COLUMN(7, "lon", REAL, LWW),
	{ .no = 9,
	  .name = "outcome",
	  .type = SAT_TYPE_ENUM,
	  .policy = SAT_POLICY_LWW,
	  .values = outcomes,
	  .value_count = SAT_COUNT_OF(outcomes),
	  .label = LABEL("outcome") },
	COLUMN(10, "notes", TEXT, KEEP),
	COLUMN(11, "next_at", DATE, LWW),
	COLUMN(12, "count", COUNTER, COUNTER),
	COLUMN(13, "tags", SET, SET),
	COLUMN(14, "amount", MONEY, LWW),
	COLUMN(15, "photo", BLOBREF, LWW),
	COLUMN(16, "place", GEO, LWW),
	COLUMN(17, "done", BOOL, LWW),
	COLUMN(300, "extra", JSON, LWW),
	COLUMN(301, "score", INT, MAX),
};

_Static_assert(SAT_COUNT_OF(visit_columns) == FX_COLUMNS, "columns");

static const struct sat_column note_columns[] = {
	COLUMN(1, "body", TEXT, LWW),
};

static const struct sat_table tables[] = {
	{ .no = 3,
	  .index = 0,
	  .name = "visit",
	  .label = LABEL("visit"),
	  .columns = visit_columns,
	  .column_count = FX_COLUMNS },
	{ .no = 9,
	  .index = 1,
	  .name = "note",
	  .label = LABEL("note"),
	  .columns = note_columns,
	  .column_count = 1 },
};

const struct sat_catalogue fx_catalogue = {
	.name = "fixture", .version = 7, .tables = tables, .table_count = 2
};
const struct sat_table *const fx_visit = &tables[0];
const struct sat_table *const fx_note = &tables[1];

uint64_t fx_random(struct fx_rng *g)
{
	uint64_t z = g->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint32_t fx_below(struct fx_rng *g, uint32_t n)
{
	return (uint32_t)(fx_random(g) % n);
}

static struct sat_id random_id(struct fx_rng *g, int64_t ms)
{
	uint8_t random[10];

	for (unsigned i = 0; i < sizeof random; i++)
		random[i] = (uint8_t)fx_random(g);
	return sat_id_v7(ms, random);
}

static void *need(void *p)
{
	assert_non_null(p);
	return p;
}

static struct sat_value copy(struct sat_arena *a, const void *p, size_t n,
			     bool text)
{
	struct sat_slice s;

	assert_int_equal(sat_arena_copy(a, (struct sat_slice){ p, n }, &s),
			 SAT_OK);
	return text ? sat_value_text(s) : sat_value_blob(s);
}

static struct sat_value text(struct sat_arena *a, const char *s)
{
	return copy(a, s, strlen(s), true);
}

/* A note of about 114 characters out of a rep's vocabulary. */
static struct sat_value note(struct sat_arena *a, struct fx_rng *g)
{
	static const char *const words[] = {
		"met",        "the",      "buyer",     "showed",   "price",
		"list",       "customer", "asked",     "for",      "samples",
		"delivery",   "next",     "week",      "stock",    "low",
		"shelf",      "two",      "boxes",     "promised", "order",
		"competitor", "discount", "will",      "call",     "back",
		"after",      "holiday",  "contract",  "signed",   "invoice",
		"complaint",  "about",    "packaging", "resolved", "training",
		"manager",    "absent",   "left",      "brochure", "visited",
	};
	char out[400];
	size_t n = 0;
	size_t want = 60 + fx_below(g, 110);
	const char *w;

	while (n < want) {
		w = words[fx_below(g, SAT_COUNT_OF(words))];
		memcpy(out + n, w, strlen(w));
		n += strlen(w);
		out[n++] = ' ';
	}
	return copy(a, out, n - 1, true);
}

/* What all visits of one device share. */
struct route {
	struct sat_id user, territory, accounts[200];
	int64_t now;
	double lat, lon;
};

static void start(struct fx_rng *g, struct route *r)
{
	r->now = 1795300000000;
	r->user = random_id(g, 1790000000000);
	r->territory = random_id(g, 1790000000000);
	for (unsigned i = 0; i < SAT_COUNT_OF(r->accounts); i++)
		r->accounts[i] = random_id(
			g, 1780000000000 + (int64_t)fx_below(g, 1u << 31));
	r->lat = 31.2;
	r->lon = 121.4;
}

static double place(struct fx_rng *g, double centre)
{
	double v = centre + ((double)fx_below(g, 200000) - 100000.0) / 1e6;

	return (double)(int64_t)(v * 1e6) / 1e6;
}

static struct sat_value value_of(struct sat_arena *a, struct fx_rng *g,
				 struct route *r, int column)
{
	char date[11];

	switch (column) {
	case FX_ACCOUNT:
		return copy(a, r->accounts[fx_below(g, 200)].b, 16, false);
	case FX_USER:
		return copy(a, r->user.b, 16, false);
	case FX_TERRITORY:
		return copy(a, r->territory.b, 16, false);
	case FX_STARTED:
		return sat_value_int(r->now - 60000 * (5 + fx_below(g, 60)));
	case FX_ENDED:
		return sat_value_int(r->now);
	case FX_LAT:
		return sat_value_real(place(g, r->lat));
	case FX_LON:
		return sat_value_real(place(g, r->lon));
	case FX_OUTCOME:
		return text(a, outcomes[fx_below(g, 4)].name);
	case FX_NOTES:
		return note(a, g);
	case FX_NEXT_AT:
		if (fx_below(g, 3) == 0)
			return sat_value_null();
		sat_date_format((int32_t)(r->now / 86400000) +
					(int32_t)fx_below(g, 60),
				date);
		return text(a, date);
	default:
		return sat_value_null();
	}
}

static void visit(struct sat_arena *a, struct fx_rng *g, struct route *r,
		  struct sat_delta *d)
{
	int64_t at;

	r->now += 60000 * (10 + (int64_t)fx_below(g, 50)) + fx_below(g, 60000);
	at = r->now;
	*d = (struct sat_delta){ .op = SAT_OP_INSERT,
				 .table = fx_visit,
				 .id = random_id(g, at),
				 .at_ms = at };
	d->changes = need(sat_arena_array(a, 10, sizeof *d->changes));
	for (int c = FX_ACCOUNT; c <= FX_NEXT_AT; c++) {
		struct sat_value v = value_of(a, g, r, c);

		if (v.kind == SAT_NULL)
			continue;
		d->changes[d->change_count++] = (struct sat_change){
			.column = (uint16_t)c, .value = v, .at_ms = at
		};
	}
}

static void edit(struct sat_arena *a, struct fx_rng *g, struct route *r,
		 struct sat_delta *d)
{
	static const uint16_t columns[] = { FX_OUTCOME, FX_NOTES };
	struct sat_dot *dots = need(sat_arena_array(a, 2, sizeof *dots));

	*d = (struct sat_delta){ .op = SAT_OP_UPDATE,
				 .table = fx_visit,
				 .id = random_id(g, r->now),
				 .base_seq = 1000 + fx_random(g) % 5000,
				 .at_ms = r->now + 5000 };
	dots[0] = (struct sat_dot){ 1, 1 + fx_below(g, 500) };
	dots[1] = (struct sat_dot){ 7, 1 + fx_below(g, 90) };
	d->context = (struct sat_vv){ dots, 2 };
	d->changes = need(sat_arena_array(a, 2, sizeof *d->changes));
	for (unsigned i = 0; i < 2; i++) {
		if (i == 1 && fx_below(g, 2) == 0)
			continue;
		d->changes[d->change_count++] = (struct sat_change){
			.column = columns[i],
			.value = value_of(a, g, r, columns[i]),
			.before = value_of(a, g, r, columns[i]),
			.at_ms = r->now + (int64_t)fx_below(g, 3000),
			.replaced = (uint64_t)r->now << 16,
			.resolves = i == 1,
		};
	}
}

void fx_visits(struct sat_arena *a, struct fx_rng *g, uint32_t n, bool update,
	       struct sat_changeset *ret)
{
	struct route r;

	start(g, &r);
	*ret = (struct sat_changeset){ .dot = { 7, 41 },
				       .catalogue = 7,
				       .marker = { 0x1122334455667788u, 9001,
						   3 },
				       .delta_count = n };
	memset(ret->prev_hash, 0xab, sizeof ret->prev_hash);
	ret->deltas = need(sat_arena_array(a, n, sizeof *ret->deltas));
	for (uint32_t i = 0; i < n; i++) {
		if (update)
			edit(a, g, &r, &ret->deltas[i]);
		else
			visit(a, g, &r, &ret->deltas[i]);
		r.now += 1;
	}
}

/* Wild values: extremes of every type. */

static int64_t wild_int(struct fx_rng *g)
{
	switch (fx_below(g, 4)) {
	case 0:
		return (int64_t)fx_random(g);
	case 1:
		return fx_below(g, 2) == 0 ? INT64_MIN : INT64_MAX;
	case 2:
		return 0;
	default:
		return (int64_t)fx_below(g, 2000) - 1000;
	}
}

static double wild_real(struct fx_rng *g)
{
	static const double odd[] = {
		0.0,     -0.0, 1e308,  -5e-324,     0.1,
		1.0 / 3, 1e22, -12.25, 1234567.891, 9007199254740993.0
	};

	return odd[fx_below(g, SAT_COUNT_OF(odd))];
}

static struct sat_value wild_value(struct sat_arena *a, struct fx_rng *g,
				   const struct sat_column *c)
{
	static const char *const texts[] = {
		"",           "a", "follow up", "客户满意", "\xf0\x9f\x98\x80",
		"x\ny\t\"z\""
	};
	uint8_t bytes[32];

	if (fx_below(g, 5) == 0 && c->policy != SAT_POLICY_COUNTER)
		return sat_value_null();
	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)fx_below(g, fx_below(g, 2) ? 2 : 256);
	switch (c->type) {
	case SAT_TYPE_REF:
		return copy(a, bytes, 16, false);
	case SAT_TYPE_BLOBREF:
		return copy(a, bytes, 32, false);
	case SAT_TYPE_REAL:
		return sat_value_real(wild_real(g));
	case SAT_TYPE_BOOL:
		return sat_value_int(fx_below(g, 2));
	case SAT_TYPE_TIME:
		return sat_value_int(fx_below(g, 2) ? fx_below(g, 1u << 30)
						    : 1795300000000);
	case SAT_TYPE_INT:
	case SAT_TYPE_MONEY:
	case SAT_TYPE_COUNTER:
		return sat_value_int(wild_int(g));
	case SAT_TYPE_DATE:
		return text(a, fx_below(g, 2) ? "2026-11-21" : "0001-01-01");
	case SAT_TYPE_ENUM:
		return text(a, outcomes[fx_below(g, 4)].name);
	case SAT_TYPE_GEO:
		return text(a, "31.2304160,121.4737010");
	case SAT_TYPE_JSON:
		return text(a, "{\"k\":[1,2]}");
	default:
		return text(a, texts[fx_below(g, SAT_COUNT_OF(texts))]);
	}
}

static const struct sat_slice *wild_elements(struct sat_arena *a,
					     struct fx_rng *g, uint32_t *ret)
{
	static const char *const names[] = { "vip", "gold", "银", "" };
	struct sat_slice *list;

	*ret = fx_below(g, 4);
	list = need(sat_arena_array(a, *ret, sizeof *list));
	for (uint32_t i = 0; i < *ret; i++)
		list[i] = sat_slice_str(names[fx_below(g, 4)]);
	return list;
}

static void wild_change(struct sat_arena *a, struct fx_rng *g,
			const struct sat_delta *d, uint16_t column,
			struct sat_change *ch)
{
	const struct sat_column *c = &d->table->columns[column];

	*ch = (struct sat_change){ .column = column, .at_ms = d->at_ms };
	if (fx_below(g, 2) == 0)
		ch->at_ms = (int64_t)((uint64_t)d->at_ms - fx_below(g, 100000));
	if (c->policy == SAT_POLICY_SET) {
		ch->adds = wild_elements(a, g, &ch->add_count);
		ch->removes = wild_elements(a, g, &ch->remove_count);
		return;
	}
	ch->value = wild_value(a, g, c);
	if (c->policy == SAT_POLICY_COUNTER || d->op == SAT_OP_INSERT)
		return;
	ch->before = wild_value(a, g, c);
	ch->replaced = fx_below(g, 2) ? fx_random(g) : 0;
	ch->resolves = fx_below(g, 4) == 0;
}

static void wild_context(struct sat_arena *a, struct fx_rng *g,
			 struct sat_delta *d)
{
	uint32_t n = fx_below(g, 4);
	struct sat_dot *dots = need(sat_arena_array(a, n, sizeof *dots));
	uint32_t replica = 0;

	for (uint32_t i = 0; i < n; i++) {
		replica += 1 + fx_below(g, 1u << 29);
		dots[i] = (struct sat_dot){ replica, 1 + (fx_random(g) >> 2) };
	}
	d->context = (struct sat_vv){ n > 0 ? dots : NULL, n };
}

void fx_wild(struct sat_arena *a, struct fx_rng *g, uint32_t n,
	     struct sat_changeset *ret)
{
	struct sat_delta *d;
	enum sat_op op = SAT_OP_INSERT;
	const struct sat_table *t = fx_visit;

	fx_visits(a, g, 0, false, ret);
	ret->flags = SAT_CHANGESET_COALESCED;
	ret->delta_count = n;
	ret->deltas = need(sat_arena_array(a, n, sizeof *ret->deltas));
	for (uint32_t i = 0; i < n; i++) {
		d = &ret->deltas[i];
		if (fx_below(g, 4) == 0) {
			op = (enum sat_op)fx_below(g, 3);
			t = fx_below(g, 3) ? fx_visit : fx_note;
		}
		d->op = op;
		d->table = t;
		d->id = random_id(g, (int64_t)(fx_random(g) >> 17));
		d->at_ms = wild_int(g);
		d->base_seq = fx_below(g, 2) ? fx_random(g) : 0;
		wild_context(a, g, d);
		if (op == SAT_OP_DELETE)
			continue;
		d->changes = need(sat_arena_array(a, t->column_count,
						  sizeof *d->changes));
		for (uint16_t c = 0; c < t->column_count; c++)
			if (fx_below(g, 2) == 0)
				wild_change(a, g, d, c,
					    &d->changes[d->change_count++]);
		if (d->change_count == 0)
			d->changes = NULL;
	}
}

void fx_page(struct sat_arena *a, struct fx_rng *g, uint32_t n,
	     struct sat_page *ret)
{
	struct sat_changeset cs;
	uint8_t meta[14];

	fx_visits(a, g, n, false, &cs);
	*ret = (struct sat_page){ .table = fx_visit,
				  .row_count = n,
				  .column_count = FX_COLUMNS };
	ret->ids = need(sat_arena_array(a, n, sizeof *ret->ids));
	ret->seqs = need(sat_arena_array(a, n, sizeof *ret->seqs));
	ret->metas = need(sat_arena_array(a, n, sizeof *ret->metas));
	ret->columns = need(sat_arena_array(a, FX_COLUMNS, 2));
	ret->values = need(sat_arena_array(a, (size_t)n * FX_COLUMNS,
					   sizeof *ret->values));
	for (uint16_t c = 0; c < FX_COLUMNS; c++)
		ret->columns[c] = c;
	for (uint32_t i = 0; i < n; i++) {
		ret->ids[i] = cs.deltas[i].id;
		ret->seqs[i] = 500000 + i;
		memset(meta, 0x11, sizeof meta);
		for (unsigned k = 0; k < 6; k++)
			meta[6 + k] = (uint8_t)((uint64_t)cs.deltas[i].at_ms >>
						(40 - 8 * k));
		ret->metas[i] = copy(a, meta, sizeof meta, false).s;
		for (uint32_t k = 0; k < cs.deltas[i].change_count; k++)
			ret->values[(size_t)i * FX_COLUMNS +
				    cs.deltas[i].changes[k].column] =
				cs.deltas[i].changes[k].value;
	}
}

/* Comparing: written out field by field, so that a member nobody compares
 * is easy to see. */

/* Reals by bits: the wire must not turn -0.0 into 0.0. */
static void same_value(const struct sat_value *x, const struct sat_value *y)
{
	assert_int_equal(x->kind, y->kind);
	if (x->kind == SAT_REAL)
		assert_memory_equal(&x->r, &y->r, sizeof x->r);
	else
		assert_true(sat_value_equal(x, y));
}

static void same_elements(const struct sat_slice *x, uint32_t nx,
			  const struct sat_slice *y, uint32_t ny)
{
	assert_int_equal(nx, ny);
	for (uint32_t i = 0; i < nx; i++)
		assert_true(sat_slice_equal(x[i], y[i]));
}

static void same_delta(const struct sat_delta *x, const struct sat_delta *y)
{
	assert_int_equal(x->op, y->op);
	assert_ptr_equal(x->table, y->table);
	assert_memory_equal(&x->id, &y->id, sizeof x->id);
	assert_true(sat_vv_equal(x->context, y->context));
	assert_int_equal(x->base_seq, y->base_seq);
	assert_int_equal(x->at_ms, y->at_ms);
	assert_int_equal(x->change_count, y->change_count);
	for (uint32_t i = 0; i < x->change_count; i++) {
		const struct sat_change *a = &x->changes[i];
		const struct sat_change *b = &y->changes[i];

		assert_int_equal(a->column, b->column);
		same_value(&a->value, &b->value);
		same_value(&a->before, &b->before);
		same_elements(a->adds, a->add_count, b->adds, b->add_count);
		same_elements(a->removes, a->remove_count, b->removes,
			      b->remove_count);
		assert_int_equal(a->at_ms, b->at_ms);
		assert_int_equal(a->replaced, b->replaced);
		assert_int_equal(a->resolves, b->resolves);
	}
}

void fx_same_changeset(const struct sat_changeset *x,
		       const struct sat_changeset *y)
{
	assert_int_equal(sat_dot_compare(x->dot, y->dot), 0);
	assert_memory_equal(x->prev_hash, y->prev_hash, sizeof x->prev_hash);
	assert_int_equal(x->catalogue, y->catalogue);
	assert_int_equal(x->marker.epoch, y->marker.epoch);
	assert_int_equal(x->marker.commit_seq, y->marker.commit_seq);
	assert_int_equal(x->marker.grants, y->marker.grants);
	assert_int_equal(x->flags, y->flags);
	assert_int_equal(x->delta_count, y->delta_count);
	for (uint32_t i = 0; i < x->delta_count; i++)
		same_delta(&x->deltas[i], &y->deltas[i]);
}

void fx_same_page(const struct sat_page *x, const struct sat_page *y)
{
	assert_ptr_equal(x->table, y->table);
	assert_int_equal(x->row_count, y->row_count);
	assert_int_equal(x->column_count, y->column_count);
	for (uint32_t i = 0; i < x->row_count; i++) {
		assert_memory_equal(&x->ids[i], &y->ids[i], sizeof x->ids[i]);
		assert_int_equal(x->seqs[i], y->seqs[i]);
		assert_true(sat_slice_equal(x->metas[i], y->metas[i]));
	}
	for (uint16_t k = 0; k < x->column_count; k++)
		assert_int_equal(x->columns[k], y->columns[k]);
	for (size_t i = 0; i < (size_t)x->row_count * x->column_count; i++)
		same_value(&x->values[i], &y->values[i]);
}
