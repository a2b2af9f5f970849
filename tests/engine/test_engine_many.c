/* Thousands of scopes: a reader of 5,000 territories is served about as
 * quickly per row as one of a single territory, in bulk and for one change at
 * a time. Prints what it measures, and fails only where the difference is one
 * of kind. */
#include <stdio.h>
#include <time.h>

#include "tests/engine/engine_fixture.h"

enum { TERRITORIES = 5000, ROWS = 5000, CHANGES = 100 };

static struct world w, *world = &w;

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void write_one(enum sat_op op, const char *name, const struct sat_id *id,
		      const struct field *f)
{
	uint16_t columns[8];
	struct sat_value values[8];
	struct sat_local_write lw = { .op = op,
				      .table = table(world, name),
				      .id = *id,
				      .columns = columns,
				      .values = values };
	struct sat_err err;
	uint32_t bad;

	for (; f->column != NULL; f++) {
		columns[lw.column_count] = (uint16_t)sat_table_column(
			lw.table, sat_slice_str(f->column));
		values[lw.column_count++] = f->value;
	}
	assert_int_equal(sat_engine_local(w.engine, &lw, 1, &bad, &err),
			 SAT_OK);
}

static struct sat_id fill(void)
{
	struct sat_id id = { { 0 } };
	char code[16];

	group_begin(world);
	for (int i = 0; i < TERRITORIES; i++) {
		struct field f[] = { { "code", text(code) },
				     { "name", text("N") },
				     { "level", text("patch") },
				     { "parent_id", idv(&w.west) },
				     { NULL, sat_value_null() } };

		(void)snprintf(code, sizeof code, "N%d", i);
		f[0].value = text(code);
		id = new_id(world);
		write_one(SAT_OP_INSERT, "territory", &id, f);
	}
	for (int i = 0; i < ROWS; i++) {
		struct field f[] = { { "name", text("A") },
				     { "territory_id", idv(&w.t1) },
				     { NULL, sat_value_null() } };

		id = new_id(world);
		write_one(SAT_OP_INSERT, "account", &id, f);
	}
	(void)group_commit(world);
	return id;
}

struct reader {
	struct sat_rights rights;
	struct sat_feed_at at;
	double spent;
};

static void start(struct reader *r, const struct sat_id *user)
{
	struct sat_err err;

	*r = (struct reader){ .spent = 0 };
	group_begin(world);
	assert_int_equal(
		sat_engine_rights(w.engine, user, &w.arena, &r->rights, &err),
		SAT_OK);
	(void)group_commit(world);
}

/* To the next checkpoint. */
static void pull(struct reader *r)
{
	struct sat_feed_ask ask = { .replica = 77,
				    .rights = &r->rights,
				    .bytes_max = 256 * 1024 };
	struct sat_feed_answer answer = { .checkpoint = false };
	struct sat_err err;
	double from = now_ms();

	sat_buf_init(&answer.frames, (size_t)1 << 26);
	while (!answer.checkpoint) {
		ask.at = r->at;
		sat_buf_clear(&answer.frames);
		assert_int_equal(
			sat_feed_read(w.reader, w.zip, &ask, &answer, &err),
			SAT_OK);
		r->at = answer.at;
	}
	sat_buf_fini(&answer.frames);
	r->spent += now_ms() - from;
}

static void as_quick_as_one(void **state)
{
	struct reader one, many;
	struct sat_id last;
	char phone[16];

	(void)state;
	world_open(world);
	last = fill();
	start(&one, &w.ann);
	start(&many, &w.hq);
	assert_int_equal(one.rights.scope_count, 2);
	assert_true(many.rights.scope_count > TERRITORIES);
	pull(&one);
	pull(&many);
	printf("first pull of %d rows: %.0f ms with 2 scopes, %.0f ms with "
	       "%u\n",
	       ROWS + TERRITORIES, one.spent, many.spent,
	       many.rights.scope_count);
	/* per row the same; each scope costs a look besides */
	assert_true(many.spent < one.spent * 3 + 1000);
	one.spent = many.spent = 0;
	for (int i = 0; i < CHANGES; i++) {
		struct field f[] = { { "phone", text(phone) },
				     { NULL, sat_value_null() } };

		(void)snprintf(phone, sizeof phone, "%d", i);
		f[0].value = text(phone);
		local_ok(world, SAT_OP_UPDATE, "account", &last, f);
		pull(&one);
		pull(&many);
	}
	printf("one live change: %.2f ms with 2 scopes, %.2f ms with %u\n",
	       one.spent / CHANGES, many.spent / CHANGES,
	       many.rights.scope_count);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(as_quick_as_one) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
