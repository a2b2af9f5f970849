/* One delta in the form in which the overlay keeps it: what is read is what
 * was written, and bytes that are no delta are told, not believed. */
#include "tests/replica/support.h"

#include <stdlib.h>
#include <string.h>

static const struct sat_table *table_of(struct fixture *f, const char *name)
{
	const struct sat_table *t =
		sat_catalogue_table(f->c, sat_slice_str(name));

	assert_non_null(t);
	return t;
}

static uint16_t column_of(const struct sat_table *t, const char *name)
{
	int at = sat_table_column(t, sat_slice_str(name));

	assert_true(at >= 0);
	return (uint16_t)at;
}

/* Every kind of member at once. */
static struct sat_delta sample(struct fixture *f)
{
	static struct sat_change changes[4];
	static struct sat_dot context[2] = { { 1, 5 }, { 7, 1000000 } };
	static struct sat_slice adds[2], removes[1];
	const struct sat_table *t = table_of(f, "account");
	struct sat_delta d = { .op = SAT_OP_UPDATE,
			       .table = t,
			       .id = id_of("a1"),
			       .context = { context, 2 },
			       .base_seq = UINT64_C(1) << 40,
			       .at_ms = 1700000000123,
			       .changes = changes,
			       .change_count = 4 };

	adds[0] = sat_slice_str("gold");
	adds[1] = sat_slice_str("\xe5\xa4\xa7\xe5\x8c\xba");
	removes[0] = sat_slice_str("");
	changes[0] = (struct sat_change){
		.column = column_of(t, "name"),
		.value = sat_value_text(sat_slice_str("X GmbH")),
		.before = sat_value_text(sat_slice_str("X")),
		.at_ms = 1700000000000,
		.replaced = UINT64_C(111411200000000),
		.resolves = true
	};
	changes[1] = (struct sat_change){ .column = column_of(t, "phone"),
					  .before = sat_value_text(
						  sat_slice_str("100")),
					  .at_ms = -5 };
	changes[2] = (struct sat_change){ .column = column_of(t, "tags"),
					  .adds = adds,
					  .add_count = 2,
					  .removes = removes,
					  .remove_count = 1,
					  .at_ms = 1700000000123 };
	changes[3] = (struct sat_change){ .column = column_of(t, "visit_count"),
					  .value = sat_value_int(-3),
					  .at_ms = 1700000000123 };
	/* as they are in the table, whatever the catalogue's order */
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 3; k++)
			if (changes[k].column > changes[k + 1].column) {
				struct sat_change c = changes[k];

				changes[k] = changes[k + 1];
				changes[k + 1] = c;
			}
	return d;
}

static void same_change(const struct sat_change *x, const struct sat_change *y)
{
	assert_int_equal(x->column, y->column);
	assert_true(sat_value_equal(&x->value, &y->value));
	assert_true(sat_value_equal(&x->before, &y->before));
	assert_true(x->at_ms == y->at_ms);
	assert_true(x->replaced == y->replaced);
	assert_int_equal(x->resolves, y->resolves);
	assert_int_equal(x->add_count, y->add_count);
	assert_int_equal(x->remove_count, y->remove_count);
	for (uint32_t i = 0; i < x->add_count; i++)
		assert_true(sat_slice_equal(x->adds[i], y->adds[i]));
	for (uint32_t i = 0; i < x->remove_count; i++)
		assert_true(sat_slice_equal(x->removes[i], y->removes[i]));
}

static void what_is_read_is_what_was_written(void **state)
{
	struct fixture *f = *state;
	struct sat_delta d = sample(f), back;
	struct sat_dot dot = { 7, INT64_MAX }, read;
	struct sat_buf bytes;

	sat_buf_init(&bytes, 65536);
	assert_int_equal(sat_delta_pack(&d, dot, &bytes), SAT_OK);
	assert_int_equal(sat_delta_unpack(&f->a, f->c, sat_buf_peek(&bytes),
					  &back, &read),
			 SAT_OK);
	assert_int_equal(read.replica, 7);
	assert_true(read.seq == INT64_MAX);
	assert_int_equal(back.op, d.op);
	assert_ptr_equal(back.table, d.table);
	assert_memory_equal(&back.id, &d.id, sizeof d.id);
	assert_int_equal(back.context.count, 2);
	assert_memory_equal(back.context.dots, d.context.dots,
			    2 * sizeof *d.context.dots);
	assert_true(back.base_seq == d.base_seq);
	assert_true(back.at_ms == d.at_ms);
	assert_int_equal(back.change_count, 4);
	for (int i = 0; i < 4; i++)
		same_change(&back.changes[i], &d.changes[i]);
	sat_buf_fini(&bytes);
}

/* Exactly as long as they are, so that a read beyond the end shows. */
static int unpack_copy(struct fixture *f, const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n == 0 ? 1 : n);
	struct sat_delta d;
	struct sat_dot dot;
	struct sat_arena a;
	int rc;

	assert_non_null(copy);
	memcpy(copy, bytes, n);
	sat_arena_init(&a, 1 << 20);
	rc = sat_delta_unpack(&a, f->c, (struct sat_slice){ copy, n }, &d,
			      &dot);
	sat_arena_fini(&a);
	free(copy);
	return rc;
}

static void damaged_bytes_are_told(void **state)
{
	struct fixture *f = *state;
	struct sat_delta d = sample(f);
	uint8_t bytes[512], longer[513] = { 0 };
	struct sat_buf out;
	uint32_t random = 12345;
	size_t n;
	int rc;

	sat_buf_init(&out, 65536);
	assert_int_equal(sat_delta_pack(&d, (struct sat_dot){ 7, 3 }, &out),
			 SAT_OK);
	n = sat_buf_peek(&out).len;
	assert_true(n < sizeof bytes);
	memcpy(bytes, sat_buf_peek(&out).ptr, n);
	sat_buf_fini(&out);
	assert_int_equal(unpack_copy(f, bytes, n), SAT_OK);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(unpack_copy(f, bytes, cut), SAT_E_CORRUPT);
	memcpy(longer, bytes, n);
	assert_int_equal(unpack_copy(f, longer, n + 1), SAT_E_CORRUPT);
	for (int k = 0; k < 20000; k++) {
		uint8_t old;
		size_t at;

		random = random * 1664525u + 1013904223u;
		at = (random >> 8) % n;
		old = bytes[at];
		bytes[at] = (uint8_t)(random >> 24);
		rc = unpack_copy(f, bytes, n);
		assert_true(rc == SAT_OK || rc == SAT_E_CORRUPT ||
			    rc == SAT_E_NOMEM);
		bytes[at] = old;
	}
}

/* The same column twice, a value that its column refuses, elements in a column
 * that is no set: the first is written as any other, of the others one byte
 * is turned. */
static void what_the_merge_cannot_take_is_told(void **state)
{
	struct fixture *f = *state;
	struct sat_delta d = sample(f);
	struct sat_change two[2], *phone = NULL;
	struct sat_buf out;
	size_t n;

	for (int i = 0; i < 4; i++)
		if (d.changes[i].column == column_of(d.table, "phone"))
			phone = &d.changes[i];
	assert_non_null(phone);
	two[0] = two[1] = *phone;
	d.changes = two;
	sat_buf_init(&out, 65536);
	for (d.change_count = 1; d.change_count <= 2; d.change_count++) {
		sat_buf_clear(&out);
		assert_int_equal(
			sat_delta_pack(&d, (struct sat_dot){ 7, 3 }, &out),
			SAT_OK);
		n = sat_buf_peek(&out).len;
		assert_int_equal(unpack_copy(f, out.base, n),
				 d.change_count == 1 ? SAT_OK : SAT_E_CORRUPT);
	}
	d.change_count = 1;
	two[0].before = sat_value_null();
	two[0].value = sat_value_real(0.5);
	sat_buf_clear(&out);
	assert_int_equal(sat_delta_pack(&d, (struct sat_dot){ 7, 3 }, &out),
			 SAT_OK);
	n = sat_buf_peek(&out).len;
	assert_int_equal(unpack_copy(f, out.base, n), SAT_E_CORRUPT);
	two[0].value = sat_value_null();
	sat_buf_clear(&out);
	assert_int_equal(sat_delta_pack(&d, (struct sat_dot){ 7, 3 }, &out),
			 SAT_OK);
	assert_int_equal(sat_buf_append(&out, "\1\1x\0", 4), SAT_OK);
	n = sat_buf_peek(&out).len;
	assert_int_equal(unpack_copy(f, out.base, n), SAT_E_CORRUPT);
	/* One of these bytes says what follows: with its top bit the elements
	 * behind would be read. */
	for (size_t at = 1; at + 4 < n; at++) {
		out.base[at] ^= 0x80;
		assert_int_equal(unpack_copy(f, out.base, n), SAT_E_CORRUPT);
		out.base[at] ^= 0x80;
	}
	sat_buf_fini(&out);
}

/* A file that was made before has changesets of one delta in the overlay. */
static void the_former_form_is_read(void **state)
{
	struct fixture *f = *state;
	struct sat_delta d = sample(f), back;
	struct sat_changeset one = { .dot = { 7, 3 },
				     .deltas = &d,
				     .delta_count = 1 };
	struct sat_dot dot;
	struct sat_buf out;

	sat_buf_init(&out, 65536);
	assert_int_equal(sat_changeset_encode(&one, &out), SAT_OK);
	OK(sat_delta_decode(f->r, sat_buf_peek(&out), &back, &dot, &f->err));
	assert_int_equal(dot.seq, 3);
	assert_int_equal(back.change_count, 4);
	for (int i = 0; i < 4; i++)
		same_change(&back.changes[i], &d.changes[i]);
	one.delta_count = 0;
	sat_buf_clear(&out);
	assert_int_equal(sat_changeset_encode(&one, &out), SAT_OK);
	assert_int_equal(sat_delta_decode(f->r, sat_buf_peek(&out), &back, &dot,
					  &f->err),
			 SAT_E_CORRUPT);
	sat_buf_fini(&out);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_read_is_what_was_written),
		T(damaged_bytes_are_told),
		T(the_former_form_is_read),
		T(what_the_merge_cannot_take_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
