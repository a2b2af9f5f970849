/* Pulls: what arrives, when, and that no transaction is ever torn. */
#include "tests/engine/engine_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 8, GROUP_ROWS = 3, RUNS = 400, WRITES_PER_RUN = 6 };

/* test_engine_feed SEED plays another history. */
static uint64_t seed = 88172645463325252u, rng;

static uint32_t below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng % n);
}

static struct world *world;
static struct device ann, max;
static struct model *of_ann, *of_max, *of_hq;

static struct model *new_model(uint32_t replica, const struct sat_id *user)
{
	struct model *m = malloc(sizeof *m);

	assert_non_null(m);
	model_init(m, world, replica, user);
	return m;
}

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	device_add(world, &max, &world->max);
	of_ann = new_model(ann.replica, &world->ann);
	of_max = new_model(max.replica, &world->max);
	of_hq = new_model(99, &world->hq);
	return 0;
}

static void drop(struct model *m)
{
	model_fini(m);
	free(m);
}

static int teardown(void **state)
{
	check_digests(world);
	check_feed(world);
	drop(of_ann);
	drop(of_max);
	drop(of_hq);
	device_fini(&ann);
	device_fini(&max);
	return world_teardown(state);
}

/* ---- small ones --------------------------------------------------------- */

static void everyone_gets_what_is_theirs(void **state)
{
	struct sat_id x = account_x(world), y = new_id(world);
	const struct sat_table *t = table(world, "account");
	struct field f[] = { { "name", text("Y") },
			     { "territory_id", idv(&world->t3) },
			     { NULL, sat_value_null() } };

	(void)state;
	local_ok(world, SAT_OP_INSERT, "account", &y, f);
	model_pull(of_ann);
	model_pull(of_max);
	model_pull(of_hq);
	assert_int_equal(model_live(of_ann, t), 1);
	assert_int_equal(model_live(of_max, t), 1);
	assert_int_equal(model_live(of_hq, t), 2);
	assert_non_null(model_find(of_ann, t, &x));
	assert_null(model_find(of_ann, t, &y));
	assert_int_equal(model_live(of_ann, table(world, "territory")), 6);
	/* nothing new: a checkpoint and no data */
	of_ann->frames = 0;
	model_pull(of_ann);
	assert_int_equal(of_ann->frames, 1);
}

static void deletes_travel_as_tombstones_without_values(void **state)
{
	struct sat_id x = account_x(world);
	const struct sat_table *t = table(world, "account");
	struct model_row *r;

	(void)state;
	model_pull(of_ann);
	local_ok(world, SAT_OP_DELETE, "account", &x, NULL);
	model_pull(of_ann);
	assert_int_equal(model_live(of_ann, t), 0);
	r = model_find(of_ann, t, &x);
	assert_non_null(r);
	for (uint16_t i = 0; i < t->column_count; i++)
		assert_int_equal(r->values[i].kind, SAT_NULL);
}

static void a_row_in_two_granted_scopes_travels_once(void **state)
{
	struct sat_id x = account_x(world);
	char t2[SAT_UUID_CHARS + 1], json[64];
	struct field f[] = { { "shared_with", { 0 } },
			     { NULL, sat_value_null() } };

	(void)state;
	sat_id_format(&world->t2, t2);
	(void)snprintf(json, sizeof json, "[\"%s\"]", t2);
	f[0].value = text(json);
	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
	model_pull(of_max);
	assert_int_equal(of_max->ref_count, 1);
	assert_int_equal(
		model_find(of_max, table(world, "account"), &x)->scope_count,
		2);
	/* Ann has one of the two */
	model_pull(of_ann);
	assert_int_equal(of_ann->ref_count, 0);
}

static void evictions_reach_the_scope_that_was_left(void **state)
{
	struct sat_id x = account_x(world);
	struct field f[] = { { "territory_id", idv(&world->t2) },
			     { NULL, sat_value_null() } };
	const struct sat_table *t = table(world, "account");

	(void)state;
	model_pull(of_ann);
	model_pull(of_max);
	assert_non_null(model_find(of_ann, t, &x));
	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
	model_pull(of_ann);
	model_pull(of_max);
	assert_null(model_find(of_ann, t, &x));
	assert_int_equal(model_find(of_max, t, &x)->scope_count, 1);
}

/* roles that may not read a column get neither value nor trace of it */
static void unreadable_columns_stay_on_the_server(void **state)
{
	struct sat_id x = account_x(world);
	struct field f[] = { { "credit_limit", sat_value_int(5000) },
			     { NULL, sat_value_null() } };
	const struct sat_table *t = table(world, "account");
	int c = sat_table_column(t, sat_slice_str("credit_limit"));
	struct device hq;
	struct held h;
	struct model_row *r;
	const struct sat_table *l = table(world, "conflict");
	uint32_t masked = 0, shown = 0;

	(void)state;
	device_add(world, &hq, &world->hq);
	local_ok(world, SAT_OP_UPDATE, "account", &x, f);
	h = hold(world, "account", &x);
	(void)add_update(&max, &h);
	(void)set_value(&max, "credit_limit", sat_value_int(6000));
	push_expect(&max, SAT_VERDICT_APPLIED);
	(void)add_update(&hq, &h);
	(void)set_value(&hq, "credit_limit", sat_value_int(7000));
	push_expect(&hq, SAT_VERDICT_MERGED);
	model_pull(of_ann); /* compares digests: she hashes what she has */
	model_pull(of_max);
	assert_int_equal(model_find(of_ann, t, &x)->values[c].kind, SAT_NULL);
	assert_int_equal(model_find(of_max, t, &x)->values[c].i, 7000);
	/* nor does the ledger tell her */
	c = sat_table_column(l, sat_slice_str("losing_value"));
	for (uint32_t i = 0; i < of_ann->count; i++) {
		r = &of_ann->rows[i];
		masked += r->table == l && r->values[c].kind == SAT_NULL;
	}
	for (uint32_t i = 0; i < of_max->count; i++) {
		r = &of_max->rows[i];
		shown += r->table == l && r->values[c].kind == SAT_TEXT;
	}
	assert_int_equal(masked, 1);
	assert_int_equal(shown, 1);
	device_fini(&hq);
}

static void echoes_are_not_sent_back(void **state)
{
	struct sat_id x = account_x(world), y = new_id(world);
	const struct sat_table *t = table(world, "account");
	struct held h;

	(void)state;
	model_pull(of_ann);
	h = model_hold(of_ann, "account", &x);
	(void)add_update(&ann, &h);
	set_text(&ann, "phone", "7");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_true(ann.verdict.flags & SAT_VERDICT_AS_HELD);
	model_fold(of_ann, t, &x);
	of_ann->row_count = of_ann->ref_count = 0;
	model_pull(of_ann);
	assert_int_equal(of_ann->row_count + of_ann->ref_count, 0);
	/* while it fills it has no checkpoint to hold anything against */
	h = model_hold(of_ann, "account", &x);
	(void)add_update(&ann, &h);
	set_text(&ann, "phone", "8");
	push_expect(&ann, SAT_VERDICT_APPLIED);
	of_ann->live = false;
	model_pull(of_ann);
	assert_int_equal(of_ann->row_count, 1);
	of_ann->row_count = 0;
	/* others get it */
	model_pull(of_max);
	assert_non_null(model_find(of_max, t, &x));
	/* a row of her own making: only where it is now, not what */
	(void)add_insert(&ann, "account", &y);
	for (uint16_t i = 0; i < t->column_count; i++) {
		if (t->columns[i].def == SAT_DEFAULT_VALUE)
			(void)set_value(&ann, t->columns[i].name,
					t->columns[i].default_value);
	}
	set_text(&ann, "name", "Y");
	set_id(&ann, "territory_id", &world->t1);
	set_id(&ann, "owner_id", &world->ann);
	push_expect(&ann, SAT_VERDICT_APPLIED);
	assert_true(ann.verdict.flags & SAT_VERDICT_AS_HELD);
	model_fold(of_ann, t, &y);
	model_pull(of_ann);
	assert_int_equal(of_ann->row_count, 1); /* the figure it counts in */
	assert_int_equal(of_ann->ref_count, 1);
	/* one that begins at 0 again, for a new grant, is told all places */
	model_reset(of_ann);
	of_ann->live = true;
	model_pull(of_ann);
	assert_int_equal(model_live(of_ann, t), 2);
	/* a device that fills anew gets everything, its own included */
	model_reset(of_ann);
	model_pull(of_ann);
	assert_int_equal(model_live(of_ann, t), 2);
}

static void a_cursor_from_the_future_is_refused(void **state)
{
	struct sat_feed_ask ask = { .replica = 2,
				    .rights = &of_ann->rights,
				    .at = { .cursor = UINT64_MAX / 2 },
				    .bytes_max = 1000 };
	struct sat_feed_answer answer = { 0 };
	struct sat_err err;

	(void)state;
	sat_buf_init(&answer.frames, 1 << 20);
	assert_int_equal(
		sat_feed_read(world->reader, world->zip, &ask, &answer, &err),
		SAT_E_PROTO);
	sat_buf_fini(&answer.frames);
}

static void large_rows_travel_in_parts(void **state)
{
	enum { NOTE_BYTES = 1000000, NOTES = 5 };
	char *body = malloc(NOTE_BYTES);
	struct sat_id id;
	struct field f[] = { { "body", { 0 } },
			     { "at", sat_value_int(NOON_MS) },
			     { NULL, sat_value_null() } };

	(void)state;
	assert_non_null(body);
	for (uint32_t i = 0; i < NOTE_BYTES; i++) /* will not compress */
		body[i] = (char)('!' + below(90));
	f[0].value = sat_value_text(
		(struct sat_slice){ (const uint8_t *)body, NOTE_BYTES });
	for (uint32_t i = 0; i < NOTES; i++) {
		id = new_id(world);
		local_ok(world, SAT_OP_INSERT, "note", &id, f);
	}
	model_pull(of_hq);
	assert_int_equal(model_live(of_hq, table(world, "note")), NOTES);
	free(body);
}

/* ---- second gate -------------------------------------------------------- */

static void the_second_gate_refuses_alone(void **state)
{
	struct sat_id x = account_x(world);
	struct sat_stored_row row = stored(world, "account", &x);
	const struct sat_table *t = table(world, "account");
	const struct sat_catalogue *c = sat_store_catalogue(world->store);
	uint16_t credit =
		(uint16_t)sat_table_column(t, sat_slice_str("credit_limit"));
	struct sat_value none = sat_value_null();
	uint32_t t1 = scope_of(world, &world->t1);
	struct sat_place gone = { t1, row.seq, true };
	struct sat_rights other = of_ann->rights;
	uint32_t everyone[] = { SAT_SCOPE_EVERYONE };
	uint16_t name = 0;

	(void)state;
	assert_true(sat_emit_allowed(c, t, &of_ann->rights, t1, &row, &none,
				     &name, 1));
	/* a column of another read set */
	assert_false(sat_emit_allowed(c, t, &of_ann->rights, t1, &row, &none,
				      &credit, 1));
	/* a scope the row is not in, although granted */
	assert_false(sat_emit_allowed(c, t, &of_ann->rights, SAT_SCOPE_EVERYONE,
				      &row, &none, &name, 1));
	/* a scope that is not granted, although the row is in it */
	other.scopes = everyone;
	other.scope_count = 1;
	assert_false(sat_emit_allowed(c, t, &other, t1, &row, &none, &name, 1));
	/* a page for all: the same scope, the same role, nobody else */
	assert_true(sat_emit_shared(&of_ann->rights, SAT_ROLE_REP, t1));
	assert_false(sat_emit_shared(&of_ann->rights, SAT_ROLE_HQ, t1));
	assert_false(sat_emit_shared(&of_ann->rights, SAT_ROLE_REP,
				     scope_of(world, &world->t2)));
	other.scope_count = 0;
	assert_false(sat_emit_shared(&other, SAT_ROLE_REP, t1));
	/* a scope it has left */
	row.places = &gone;
	assert_false(sat_emit_allowed(c, t, &of_ann->rights, t1, &row, &none,
				      &name, 1));
}

/* ---- a writer between the reads ----------------------------------------- */

static struct sat_id rows[GROUPS][GROUP_ROWS];
static struct sat_id contacts[GROUPS][GROUP_ROWS];

/* All rows of a group get a new value in one changeset, made on what this
 * writer's replica holds, as old as that may be. */
static void write_group(struct device *d, struct model *m, const char *name,
			const char *column, struct sat_value v)
{
	const struct sat_id *group = strcmp(name, "contact") == 0
					     ? contacts[below(GROUPS)]
					     : rows[below(GROUPS)];
	struct held h;

	for (uint32_t i = 0; i < GROUP_ROWS; i++) {
		h = model_hold(m, name, &group[i]);
		if (h.seq == 0) { /* this writer does not have it now */
			d->cs.delta_count = 0;
			return;
		}
		(void)add_update(d, &h);
		(void)set_value(d, column, v);
	}
	(void)push(d);
	if (d->verdict.status == SAT_VERDICT_REJECTED ||
	    !(d->verdict.flags & SAT_VERDICT_AS_HELD))
		return;
	for (uint32_t i = 0; i < GROUP_ROWS; i++)
		model_fold(m, h.table, &group[i]);
}

static void write_something(uint32_t n)
{
	struct sat_value phone;
	char digits[16];

	(void)snprintf(digits, sizeof digits, "%u", n);
	phone = text(digits);
	switch (below(8)) {
	case 0: /* a whole group moves */
	case 1:
		write_group(&max, of_max, "account", "territory_id",
			    idv(below(2) ? &world->t1 : &world->t2));
		return;
	case 2:
		write_group(&ann, of_ann, "contact", "title", phone);
		return;
	case 3:
		write_group(&max, of_max, "contact", "title", phone);
		return;
	case 4:
	case 5:
		write_group(&ann, of_ann, "account", "phone", phone);
		return;
	default:
		write_group(&max, of_max, "account", "phone", phone);
	}
}

/* At a checkpoint every group is whole: all its rows are there or none, and
 * all show the same phone. */
static void check_whole(struct model *m)
{
	const struct sat_table *t = table(world, "account");
	int phone = sat_table_column(t, sat_slice_str("phone"));

	for (uint32_t g = 0; g < GROUPS; g++) {
		const struct model_row *first = model_find(m, t, &rows[g][0]);

		for (uint32_t i = 1; i < GROUP_ROWS; i++) {
			const struct model_row *r =
				model_find(m, t, &rows[g][i]);

			assert_int_equal(r == NULL, first == NULL);
			if (r != NULL)
				assert_true(
					sat_value_equal(&r->values[phone],
							&first->values[phone]));
		}
	}
}

/* Every other group is shared with T2; each account has a contact, which
 * follows it without a write of its own. */
static void make_groups(void)
{
	char t2[SAT_UUID_CHARS + 1], json[64];
	struct field f[] = { { "name", text("G") },
			     { "territory_id", idv(&world->t1) },
			     { "phone", text("0") },
			     { "shared_with", { 0 } },
			     { NULL, sat_value_null() } };
	struct field c[] = { { "name", text("C") },
			     { "account_id", { 0 } },
			     { NULL, sat_value_null() } };

	sat_id_format(&world->t2, t2);
	(void)snprintf(json, sizeof json, "[\"%s\"]", t2);
	for (uint32_t g = 0; g < GROUPS; g++) {
		f[3].value = g % 2 ? text(json) : sat_value_null();
		for (uint32_t i = 0; i < GROUP_ROWS; i++) {
			rows[g][i] = new_id(world);
			local_ok(world, SAT_OP_INSERT, "account", &rows[g][i],
				 f);
			contacts[g][i] = new_id(world);
			c[1].value = idv(&rows[g][i]);
			local_ok(world, SAT_OP_INSERT, "contact",
				 &contacts[g][i], c);
		}
	}
}

/* In Ann's and Max's own replicas verdicts fold before checkpoints do, so
 * whole groups are judged in the reader that only reads. */
static void no_transaction_is_torn(void **state)
{
	struct model *all[] = { of_ann, of_max, of_hq };
	uint32_t n = 0, whole = 0;

	(void)state;
	make_groups();
	for (uint32_t run = 0; run < RUNS; run++) {
		uint32_t writes = below(WRITES_PER_RUN) + 1;
		bool done[3] = { false, false, false };

		if (below(8) == 0) {
			model_reset(of_hq);
			n++;
		}
		while (!done[0] || !done[1] || !done[2]) {
			uint32_t k = below(3);

			/* small reads: a pass spans many snapshots */
			if (!done[k])
				done[k] = model_read(all[k], 1 + below(1500));
			if (writes > 0 && below(3) == 0) {
				write_something(++n);
				writes--;
			}
		}
		check_whole(of_hq);
		whole++;
	}
	for (int k = 0; k < 3; k++)
		model_pull(all[k]);
	check_whole(of_ann);
	check_whole(of_max);
	assert_int_equal(whole, RUNS);
	assert_int_equal(model_live(of_hq, table(world, "account")),
			 GROUPS * GROUP_ROWS);
	assert_true(of_hq->checkpoints >= RUNS);
	print_message(
		"%u writes, %llu rows, %llu references, %llu evictions "
		"in %d runs\n",
		n,
		(unsigned long long)(of_ann->row_count + of_max->row_count +
				     of_hq->row_count),
		(unsigned long long)(of_ann->ref_count + of_max->ref_count),
		(unsigned long long)(of_ann->evict_count + of_max->evict_count),
		RUNS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(everyone_gets_what_is_theirs),
		TEST(deletes_travel_as_tombstones_without_values),
		TEST(a_row_in_two_granted_scopes_travels_once),
		TEST(evictions_reach_the_scope_that_was_left),
		TEST(unreadable_columns_stay_on_the_server),
		TEST(echoes_are_not_sent_back),
		TEST(a_cursor_from_the_future_is_refused),
		TEST(large_rows_travel_in_parts),
		TEST(the_second_gate_refuses_alone),
		TEST(no_transaction_is_torn),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0) * 2654435761u + 1;
	rng = seed;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
