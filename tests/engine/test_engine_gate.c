/* The write gate: a table of who may do what, then the scope gate through
 * real pushes. */
#include "tests/engine/engine_fixture.h"

#include <string.h>

#include "server/commit/gate.h"

/* ---- roles, pure -------------------------------------------------------- */

enum { REP = SAT_ROLE_BIT(SAT_ROLE_REP), MAN = SAT_ROLE_BIT(SAT_ROLE_MANAGER) };

struct row {
	const char *why;
	enum sat_role role;
	enum sat_op op;
	bool exists, append_only, derived;
	int column;    /* changed, -1: none */
	int64_t value; /* -1: NULL          */
	enum sat_reason reason;
	int where;
};

static const struct row rows[] = {
	{ "a rep adds a row", SAT_ROLE_REP, SAT_OP_INSERT, false, false, false,
	  0, 5, SAT_REASON_NONE, -1 },
	{ "hq is not among those who may", SAT_ROLE_HQ, SAT_OP_INSERT, false,
	  false, false, 0, 5, SAT_REASON_ROLE, -1 },
	{ "a rep writes the manager's column", SAT_ROLE_REP, SAT_OP_UPDATE,
	  true, false, false, 1, 5, SAT_REASON_ROLE, 1 },
	{ "clearing it is writing it", SAT_ROLE_REP, SAT_OP_UPDATE, true, false,
	  false, 1, -1, SAT_REASON_ROLE, 1 },
	{ "a manager may", SAT_ROLE_MANAGER, SAT_OP_UPDATE, true, false, false,
	  1, 5, SAT_REASON_NONE, -1 },
	{ "a new row lists it empty", SAT_ROLE_REP, SAT_OP_INSERT, false, false,
	  false, 1, -1, SAT_REASON_NONE, -1 },
	{ "a new row lists its default", SAT_ROLE_REP, SAT_OP_INSERT, false,
	  false, false, 1, 7, SAT_REASON_NONE, -1 },
	{ "a new row must not fill it", SAT_ROLE_REP, SAT_OP_INSERT, false,
	  false, false, 1, 5, SAT_REASON_ROLE, 1 },
	{ "insert of an id that exists is an update", SAT_ROLE_REP,
	  SAT_OP_INSERT, true, false, false, 1, -1, SAT_REASON_ROLE, 1 },
	{ "a rep may not delete", SAT_ROLE_REP, SAT_OP_DELETE, true, false,
	  false, -1, 0, SAT_REASON_ROLE, -1 },
	{ "a manager may delete", SAT_ROLE_MANAGER, SAT_OP_DELETE, true, false,
	  false, -1, 0, SAT_REASON_NONE, -1 },
	{ "append-only: a new row", SAT_ROLE_REP, SAT_OP_INSERT, false, true,
	  false, 0, 5, SAT_REASON_NONE, -1 },
	{ "append-only: no update", SAT_ROLE_REP, SAT_OP_UPDATE, true, true,
	  false, 0, 5, SAT_REASON_APPEND_ONLY, -1 },
	{ "append-only: no second insert", SAT_ROLE_REP, SAT_OP_INSERT, true,
	  true, false, 0, 5, SAT_REASON_APPEND_ONLY, -1 },
	{ "append-only: no delete", SAT_ROLE_MANAGER, SAT_OP_DELETE, true, true,
	  false, -1, 0, SAT_REASON_APPEND_ONLY, -1 },
	{ "derived: nobody", SAT_ROLE_ADMIN, SAT_OP_INSERT, false, false, true,
	  0, 5, SAT_REASON_DERIVED, -1 },
	{ "derived: the server", SAT_ROLE_SERVER, SAT_OP_INSERT, false, false,
	  true, 1, 5, SAT_REASON_NONE, -1 },
};

static void roles(void **state)
{
	const struct sat_column columns[2] = {
		{ .name = "a",
		  .write = REP | MAN | SAT_ROLE_BIT(SAT_ROLE_ADMIN) },
		{ .name = "b",
		  .write = MAN,
		  .def = SAT_DEFAULT_VALUE,
		  .default_value = { .kind = SAT_INT, .i = 7 } },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		const struct row *r = &rows[i];
		struct sat_table t = { .columns = columns,
				       .column_count = 2,
				       .insert = REP | MAN,
				       .remove = MAN,
				       .append_only = r->append_only,
				       .derived = r->derived };
		struct sat_change ch = {
			.column = (uint16_t)r->column,
			.value = r->value < 0 ? sat_value_null()
					      : sat_value_int(r->value)
		};
		struct sat_delta d = { .op = r->op,
				       .table = &t,
				       .changes = &ch,
				       .change_count = r->column >= 0 };
		int where = 99;
		enum sat_reason got =
			sat_gate_role(r->role, &d, r->exists, &where);

		if (got != r->reason || where != r->where)
			print_error("%s: %s at %d\n", r->why,
				    sat_reason_name(got), where);
		assert_int_equal(got, r->reason);
		assert_int_equal(where, r->where);
	}
}

/* sets and counters that say nothing on a new row */
static void empty_sets_and_counters_are_not_written(void **state)
{
	const struct sat_column columns[2] = {
		{ .name = "s", .policy = SAT_POLICY_SET, .write = MAN },
		{ .name = "n", .policy = SAT_POLICY_COUNTER, .write = MAN },
	};
	struct sat_table t = { .columns = columns,
			       .column_count = 2,
			       .insert = REP };
	struct sat_slice element = sat_slice_str("x");
	struct sat_change ch[2] = { { .column = 0 }, { .column = 1 } };
	struct sat_delta d = { .op = SAT_OP_INSERT,
			       .table = &t,
			       .changes = ch,
			       .change_count = 2 };
	int where;

	(void)state;
	ch[1].value = sat_value_int(0);
	assert_int_equal(sat_gate_role(SAT_ROLE_REP, &d, false, &where),
			 SAT_REASON_NONE);
	ch[1].value = sat_value_int(3);
	assert_int_equal(sat_gate_role(SAT_ROLE_REP, &d, false, &where),
			 SAT_REASON_ROLE);
	assert_int_equal(where, 1);
	ch[0].adds = &element;
	ch[0].add_count = 1;
	assert_int_equal(sat_gate_role(SAT_ROLE_REP, &d, false, &where),
			 SAT_REASON_ROLE);
	assert_int_equal(where, 0);
}

/* ---- scopes, pure ------------------------------------------------------- */

static void scopes_before_and_after(void **state)
{
	const uint32_t granted[] = { 0, 3, 5 }, three[] = { 3 }, four[] = { 4 };
	const uint32_t both[] = { 3, 4 };
	struct sat_rights r = { .scopes = granted, .scope_count = 3 };
	struct sat_place in3 = { 3, 10, false }, out3 = { 3, 10, true };
	struct sat_place in4 = { 4, 10, false };

	(void)state;
	assert_true(sat_gate_before(&r, &in3, 1));
	assert_false(sat_gate_before(&r, &out3, 1));
	assert_false(sat_gate_before(&r, &in4, 1));
	assert_false(sat_gate_before(&r, NULL, 0));
	/* a new row: in reach, and nothing added out of reach */
	assert_true(sat_gate_after(&r, NULL, 0, three, 1, three, 1));
	assert_false(sat_gate_after(&r, NULL, 0, four, 1, four, 1));
	assert_false(sat_gate_after(&r, NULL, 0, both, 2, both, 2));
	/* what it inherits from its parent it did not choose */
	assert_true(sat_gate_after(&r, NULL, 0, both, 2, NULL, 0));
	assert_false(sat_gate_after(&r, NULL, 0, four, 1, NULL, 0));
	/* a scope it was in already is not added */
	assert_true(sat_gate_after(&r, &in4, 1, both, 2, both, 2));
	/* ... but coming back to one it had left is */
	in4.evict = true;
	assert_false(sat_gate_after(&r, &in4, 1, four, 1, four, 1));
}

/* ---- through the engine ------------------------------------------------- */

struct people {
	struct world w;
	struct device ann, max, hq;
	struct sat_id x;
};

static void start(struct people *p)
{
	world_open(&p->w);
	device_add(&p->w, &p->ann, &p->w.ann);
	device_add(&p->w, &p->max, &p->w.max);
	device_add(&p->w, &p->hq, &p->w.hq);
	p->x = account_x(&p->w);
}

static void stop(struct people *p)
{
	check_digests(&p->w);
	check_feed(&p->w);
	device_fini(&p->ann);
	device_fini(&p->max);
	device_fini(&p->hq);
	world_close(&p->w);
}

static void move(struct people *p, struct device *d, const struct sat_id *to)
{
	struct held h = hold(&p->w, "account", &p->x);

	(void)add_update(d, &h);
	set_id(d, "territory_id", to);
}

static void scope_gate_through_the_engine(void **state)
{
	struct people p;
	struct sat_id id, event;
	struct held h;

	(void)state;
	start(&p);
	move(&p, &p.ann, &p.w.t2); /* Ann has no grant on T2 */
	push_rejected(&p.ann, SAT_REASON_SCOPE, NULL);
	move(&p, &p.max, &p.w.t3); /* Max has none on the west */
	push_rejected(&p.max, SAT_REASON_SCOPE, NULL);
	move(&p, &p.max, &p.w.t2);
	push_expect(&p.max, SAT_VERDICT_APPLIED);
	h = hold(&p.w, "account", &p.x);
	(void)add_update(&p.ann, &h); /* out of her reach now */
	set_text(&p.ann, "phone", "1");
	push_rejected(&p.ann, SAT_REASON_SCOPE, NULL);
	(void)add_delete(&p.ann, &h);
	push_rejected(&p.ann, SAT_REASON_SCOPE, NULL);
	id = new_id(&p.w); /* a parent out of reach reads as unknown */
	(void)add_insert(&p.ann, "visit", &id);
	set_id(&p.ann, "account_id", &p.x);
	push_rejected(&p.ann, SAT_REASON_PARENT, "account_id");
	id = new_id(&p.w); /* a new row elsewhere */
	(void)add_insert(&p.ann, "account", &id);
	set_text(&p.ann, "name", "Elsewhere");
	set_id(&p.ann, "territory_id", &p.w.t2);
	push_rejected(&p.ann, SAT_REASON_SCOPE, NULL);
	move(&p, &p.hq, &p.w.t3);
	push_expect(&p.hq, SAT_VERDICT_APPLIED);
	/* a deleted row cannot be stolen by reviving it at home */
	h = hold(&p.w, "account", &p.x);
	(void)add_delete(&p.hq, &h);
	push_expect(&p.hq, SAT_VERDICT_APPLIED);
	h = hold(&p.w, "account", &p.x);
	(void)add_update(&p.ann, &h);
	set_id(&p.ann, "territory_id", &p.w.t1);
	push_rejected(&p.ann, SAT_REASON_SCOPE, NULL);
	event = new_id(&p.w); /* tables nobody but the server writes */
	(void)add_insert(&p.hq, "conflict", &event);
	set_text(&p.hq, "table_name", "account");
	push_rejected(&p.hq, SAT_REASON_DERIVED, NULL);
	stop(&p);
}

static void notes_cannot_be_rewritten(void **state)
{
	struct people p;
	struct sat_id note;
	struct held h;

	(void)state;
	start(&p);
	note = new_id(&p.w);
	(void)add_insert(&p.ann, "note", &note);
	set_id(&p.ann, "account_id", &p.x);
	set_text(&p.ann, "body", "called");
	push_expect(&p.ann, SAT_VERDICT_APPLIED);
	h = hold(&p.w, "note", &note);
	(void)add_update(&p.ann, &h);
	set_text(&p.ann, "body", "never called");
	push_rejected(&p.ann, SAT_REASON_APPEND_ONLY, NULL);
	(void)add_delete(&p.ann, &h);
	push_rejected(&p.ann, SAT_REASON_APPEND_ONLY, NULL);
	expect_text(&p.w, "note", &note, "body", "called");
	stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roles),
		cmocka_unit_test(empty_sets_and_counters_are_not_written),
		cmocka_unit_test(scopes_before_and_after),
		cmocka_unit_test(scope_gate_through_the_engine),
		cmocka_unit_test(notes_cannot_be_rewritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
