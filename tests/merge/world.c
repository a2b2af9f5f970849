#include "tests/merge/world.h"

static const struct sat_enum_value stages[] = {
	{ .name = "prospect", .rank = 1 },
	{ .name = "lead", .rank = 2 },
	{ .name = "opportunity", .rank = 3 },
	{ .name = "contract", .rank = 4 },
	{ .name = "won", .rank = 5, .terminal = true },
	{ .name = "lost", .rank = 0, .terminal = true },
};

static const struct sat_column columns[COL_COUNT] = {
	[COL_LWW] = { .no = 1,
		      .name = "phone",
		      .type = SAT_TYPE_TEXT,
		      .policy = SAT_POLICY_LWW },
	[COL_LWW2] = { .no = 2,
		       .name = "email",
		       .type = SAT_TYPE_TEXT,
		       .policy = SAT_POLICY_LWW },
	[COL_KEEP] = { .no = 3,
		       .name = "name",
		       .type = SAT_TYPE_TEXT,
		       .policy = SAT_POLICY_KEEP },
	[COL_ORDERED] = { .no = 4,
			  .name = "stage",
			  .type = SAT_TYPE_ENUM,
			  .policy = SAT_POLICY_ORDERED,
			  .values = stages,
			  .value_count = SAT_COUNT_OF(stages) },
	[COL_COUNTER] = { .no = 5,
			  .name = "visits",
			  .type = SAT_TYPE_COUNTER,
			  .policy = SAT_POLICY_COUNTER },
	[COL_SET] = { .no = 6,
		      .name = "tags",
		      .type = SAT_TYPE_SET,
		      .policy = SAT_POLICY_SET },
	[COL_MAX] = { .no = 7,
		      .name = "last_at",
		      .type = SAT_TYPE_TIME,
		      .policy = SAT_POLICY_MAX },
	[COL_MIN] = { .no = 9,
		      .name = "price",
		      .type = SAT_TYPE_INT,
		      .policy = SAT_POLICY_MIN },
	[COL_FIRST] = { .no = 12,
			.name = "source",
			.type = SAT_TYPE_TEXT,
			.policy = SAT_POLICY_FIRST },
};

const struct sat_table world_table = {
	.no = 3,
	.name = "thing",
	.columns = columns,
	.column_count = COL_COUNT,
	.move_with = -1,
	.territory = -1,
};

static const char *const texts[] = { "",   "v1", "v2", "v3", "v4",
				     "v5", "v6", "v7", "v8" };

struct sat_value world_value(int column, int k)
{
	if (column == COL_COUNTER)
		return sat_value_int(k);
	if (k == 0)
		return sat_value_null();
	if (column == COL_MAX || column == COL_MIN)
		return sat_value_int(k);
	if (column == COL_ORDERED)
		return sat_value_text(sat_slice_str(stages[k - 1].name));
	return sat_value_text(sat_slice_str(texts[k]));
}

int world_number(int column, const struct sat_value *v)
{
	struct sat_value other;
	int last = column == COL_ORDERED ? LOST : (int)SAT_COUNT_OF(texts) - 1;

	if (v->kind == SAT_NULL)
		return 0;
	if (v->kind == SAT_INT)
		return (int)v->i;
	for (int k = 1; k <= last; k++) {
		other = world_value(column, k);
		if (sat_value_equal(&other, v))
			return k;
	}
	fail_msg("column %d holds a value nobody wrote", column);
	return -1;
}

struct sat_vv world_vv(struct sat_arena *a, const char *text)
{
	struct sat_dot *dots = sat_arena_array(a, 16, sizeof *dots);
	uint32_t n = 0;
	char *end;

	assert_non_null(dots);
	while (*text != '\0') {
		dots[n].replica = (uint32_t)strtoul(text, &end, 10);
		dots[n++].seq = strtoull(end + 1, &end, 10);
		text = *end == ' ' ? end + 1 : end;
	}
	return (struct sat_vv){ dots, n };
}

struct sat_delta world_delta(struct sat_arena *a, enum sat_op op,
			     const char *context)
{
	struct sat_delta d = { .op = op, .table = &world_table };

	d.changes = sat_arena_array(a, COL_COUNT, sizeof *d.changes);
	assert_non_null(d.changes);
	d.context = world_vv(a, context);
	return d;
}

struct sat_change *world_write(struct sat_arena *a, struct sat_delta *d,
			       int column, int k, uint64_t stamp)
{
	struct sat_change *c = &d->changes[d->change_count++];

	(void)a;
	c->column = (uint16_t)column;
	c->value = world_value(column, k);
	c->stamp = stamp;
	if (stamp > d->stamp)
		d->stamp = stamp;
	return c;
}

static struct sat_slice *words(struct sat_arena *a, const char *text,
			       uint32_t *ret_count)
{
	struct sat_slice *out = sat_arena_array(a, 16, sizeof *out);
	uint32_t n = 0;
	size_t len;

	assert_non_null(out);
	while (text != NULL && *text != '\0') {
		len = strcspn(text, " ");
		out[n++] = (struct sat_slice){ (const uint8_t *)text, len };
		text += len + (text[len] == ' ');
	}
	*ret_count = n;
	return out;
}

void world_set(struct sat_arena *a, struct sat_delta *d, const char *adds,
	       const char *removes)
{
	struct sat_change *c = &d->changes[d->change_count++];

	c->column = COL_SET;
	c->adds = words(a, adds, &c->add_count);
	c->removes = words(a, removes, &c->remove_count);
}

void world_apply(struct sat_arena *a, struct sat_row *row,
		 const struct sat_delta *d, uint32_t replica, uint64_t seq)
{
	struct sat_dot dot = { replica, seq };
	enum sat_merge_outcome outcome;

	assert_int_equal(sat_merge_apply(a, row, d, dot, &outcome), SAT_OK);
	assert_int_equal(outcome, SAT_MERGE_APPLIED);
}

int world_shown(struct sat_arena *a, const struct sat_row *row, int column)
{
	struct sat_value v;

	assert_int_equal(
		sat_field_value(a, &columns[column], &row->fields[column], &v),
		SAT_OK);
	return world_number(column, &v);
}

const char *world_elements(struct sat_arena *a, const struct sat_row *row)
{
	const struct sat_field *f = &row->fields[COL_SET];
	char *out = sat_arena_alloc(a, 256);
	size_t n = 0;

	assert_non_null(out);
	for (uint32_t i = 0; i < f->count; i++) {
		struct sat_slice t = f->elements[i].text;

		if (i > 0 && sat_slice_equal(t, f->elements[i - 1].text))
			continue;
		assert_true(n + t.len + 2 < 256);
		if (n > 0)
			out[n++] = ' ';
		memcpy(out + n, t.ptr, t.len);
		n += t.len;
	}
	return out;
}

struct sat_slice world_meta(struct sat_arena *a, const struct sat_row *row,
			    struct sat_buf *buf, struct sat_value *values)
{
	sat_buf_clear(buf);
	for (int i = 0; i < COL_COUNT; i++)
		assert_int_equal(sat_field_value(a, &columns[i],
						 &row->fields[i], &values[i]),
				 SAT_OK);
	assert_int_equal(sat_meta_encode(&world_table, row, values, buf),
			 SAT_OK);
	return sat_buf_peek(buf);
}

void world_round_trip(struct sat_arena *a, const struct sat_row *row)
{
	struct sat_value values[COL_COUNT], again_values[COL_COUNT];
	struct sat_buf x, y;
	struct sat_slice meta, again;
	struct sat_row back;

	sat_buf_init(&x, 1 << 20);
	sat_buf_init(&y, 1 << 20);
	meta = world_meta(a, row, &x, values);
	assert_int_equal(sat_meta_decode(a, &world_table, meta, values, &back),
			 SAT_OK);
	assert_true(sat_row_equal(&world_table, row, &back));
	again = world_meta(a, &back, &y, again_values);
	assert_true(sat_slice_equal(meta, again));
	sat_buf_fini(&x);
	sat_buf_fini(&y);
}

uint32_t world_conflicts(struct sat_arena *a, const struct sat_row *row,
			 struct sat_conflict **ret)
{
	uint32_t n;

	assert_int_equal(sat_row_conflicts(a, &world_table, row, ret, &n),
			 SAT_OK);
	return n;
}

uint64_t world_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned world_below(uint64_t *state, unsigned n)
{
	return (unsigned)((world_random(state) >> 33) % n);
}
