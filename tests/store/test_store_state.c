/* The feed, digests, changesets, verdicts, people: what the store keeps
 * besides rows. */
#include "store_fixture.h"

#include <stdio.h>
#include <string.h>

/* ---- feed ---------------------------------------------------------------- */

struct entry {
	uint64_t seq, row_seq;
	uint32_t table;
	bool evict;
	struct sat_id id;
};

struct entries {
	struct entry e[16];
	uint32_t count, stop_at;
};

static int on_entry(void *arg, uint64_t seq, const struct sat_table *t,
		    uint64_t row_seq, const struct sat_id *id, bool evict)
{
	struct entries *l = arg;
	struct entry *e;

	assert_in_range(l->count, 0, SAT_COUNT_OF(l->e) - 1);
	e = &l->e[l->count++];
	assert_int_equal(id != NULL, evict);
	*e = (struct entry){ seq, row_seq, t->no, evict,
			     evict ? *id : id_of(0) };
	return l->count == l->stop_at ? SAT_E_CLOSED : SAT_OK;
}

static void the_feed_is_read_in_order(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *thing = table_of(f->w, "thing");
	const struct sat_table *place = table_of(f->w, "place");
	struct sat_id id = id_of(8);
	struct entries l = { .count = 0 };

	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_feed_put(f->w, 2, 30, thing, 7, &id, false, &f->err));
	OK(f, sat_store_feed_put(f->w, 2, 10, place, 10, &id, false, &f->err));
	OK(f, sat_store_feed_put(f->w, 2, 20, thing, 0, &id, true, &f->err));
	OK(f, sat_store_feed_put(f->w, 3, 20, thing, 20, &id, false, &f->err));
	assert_int_equal(
		sat_store_feed_put(f->w, 3, 20, thing, 20, &id, true, &f->err),
		SAT_E_EXISTS);
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f,
	   sat_store_feed_scan(f->w, 2, 0, UINT64_MAX, on_entry, &l, &f->err));
	assert_int_equal(l.count, 3);
	assert_int_equal(l.e[0].seq, 10);
	assert_int_equal(l.e[0].row_seq, 10);
	assert_int_equal(l.e[0].table, place->no);
	assert_true(l.e[1].evict);
	assert_memory_equal(l.e[1].id.b, id.b, 16);
	assert_int_equal(l.e[2].row_seq, 7);
	l.count = 0; /* after is exclusive, upto inclusive */
	OK(f, sat_store_feed_scan(f->w, 2, 10, 20, on_entry, &l, &f->err));
	assert_int_equal(l.count, 1);
	assert_int_equal(l.e[0].seq, 20);
	l.count = 0;
	l.stop_at = 2;
	assert_int_equal(
		sat_store_feed_scan(f->w, 2, 0, 99, on_entry, &l, &f->err),
		SAT_E_CLOSED);
	l = (struct entries){ .count = 0 };
	OK(f, sat_store_feed_scan(f->w, 1, 0, 99, on_entry, &l, &f->err));
	assert_int_equal(l.count, 0);
}

static void feed_entries_go(void **state)
{
	struct fixture *f = *state;
	struct sat_id id = id_of(8);
	struct entries l = { .count = 0 };

	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_feed_put(f->w, 2, 10, table_of(f->w, "thing"), 10, &id,
				 false, &f->err));
	assert_int_equal(sat_store_feed_remove(f->w, 2, 11, &f->err),
			 SAT_E_NOTFOUND);
	assert_int_equal(sat_store_feed_remove(f->w, 1, 10, &f->err),
			 SAT_E_NOTFOUND);
	OK(f, sat_store_feed_remove(f->w, 2, 10, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_feed_scan(f->w, 2, 0, 99, on_entry, &l, &f->err));
	assert_int_equal(l.count, 0);
}

static int on_entry_row(void *arg, uint64_t seq, const struct sat_table *t,
			uint64_t row_seq, const struct sat_id *id, bool evict)
{
	struct fixture *f = arg;
	struct sat_stored_row row;

	(void)seq;
	(void)id;
	(void)evict;
	OK(f, sat_store_row_at(f->w, t, row_seq, &f->a, &row, &f->err));
	assert_int_equal(row.seq, row_seq);
	return SAT_OK;
}

static void a_scan_may_read_the_rows(void **state)
{
	struct fixture *f = *state;
	struct sat_id id = id_of(1);

	for (uint32_t i = 1; i <= 3; i++) {
		put_thing(f, i, i, "x");
		OK(f, sat_store_begin(f->w, &f->err));
		OK(f, sat_store_feed_put(f->w, 1, i, table_of(f->w, "thing"), i,
					 &id, false, &f->err));
		OK(f, sat_store_commit(f->w, &f->err));
	}
	OK(f, sat_store_feed_scan(f->w, 1, 0, 9, on_entry_row, f, &f->err));
}

/* ---- digests ------------------------------------------------------------- */

static struct sat_hash hash_of(uint64_t low, uint64_t high)
{
	return (struct sat_hash){ low, high };
}

static void add(struct fixture *f, uint32_t scope, enum sat_role role,
		struct sat_hash plus, struct sat_hash minus, int64_t rows)
{
	OK(f,
	   sat_store_digest_add(f->w, scope, role, plus, minus, rows, &f->err));
}

static void expect_digest(struct fixture *f, struct sat_store *s,
			  uint32_t scope, enum sat_role role, uint64_t low,
			  uint64_t high, uint64_t rows)
{
	struct sat_hash sum;
	uint64_t got;

	OK(f, sat_store_digest_get(s, scope, role, &sum, &got, &f->err));
	assert_int_equal(sum.low, low);
	assert_int_equal(sum.high, high);
	assert_int_equal(got, rows);
}

static void digests_follow_the_transaction(void **state)
{
	struct fixture *f = *state;
	const struct sat_hash none = { 0, 0 };
	struct sat_store *r = fixture_reader(f);

	expect_digest(f, f->w, 1, SAT_ROLE_REP, 0, 0, 0);
	assert_int_equal(sat_store_digest_add(f->w, 1, SAT_ROLE_REP, none, none,
					      1, &f->err),
			 SAT_E_INVAL);
	OK(f, sat_store_begin(f->w, &f->err));
	/* Carries into the high half: a sum modulo 2^128. */
	add(f, 1, SAT_ROLE_REP, hash_of(UINT64_MAX, 1), none, 1);
	add(f, 1, SAT_ROLE_REP, hash_of(2, 0), none, 1);
	add(f, 1, SAT_ROLE_HQ, hash_of(9, 9), none, 1);
	expect_digest(f, f->w, 1, SAT_ROLE_REP, 1, 2, 2);
	OK(f, sat_store_savepoint(f->w, &f->err));
	add(f, 1, SAT_ROLE_REP, hash_of(50, 0), hash_of(1, 2), -1);
	expect_digest(f, f->w, 1, SAT_ROLE_REP, 50, 0, 1);
	OK(f, sat_store_undo(f->w, &f->err));
	expect_digest(f, f->w, 1, SAT_ROLE_REP, 1, 2, 2);
	OK(f, sat_store_savepoint(f->w, &f->err));
	add(f, 1, SAT_ROLE_REP, hash_of(4, 0), none, 1);
	add(f, 2, SAT_ROLE_REP, hash_of(6, 0), none, 1);
	OK(f, sat_store_release(f->w, &f->err));
	expect_digest(f, r, 1, SAT_ROLE_REP, 0, 0, 0);
	OK(f, sat_store_commit(f->w, &f->err));
	expect_digest(f, r, 1, SAT_ROLE_REP, 5, 2, 3);
	expect_digest(f, r, 2, SAT_ROLE_REP, 6, 0, 1);
	OK(f, sat_store_begin(f->w, &f->err));
	add(f, 1, SAT_ROLE_REP, hash_of(4, 0), none, 1);
	sat_store_rollback(f->w);
	expect_digest(f, f->w, 1, SAT_ROLE_REP, 5, 2, 3);
	/* Below zero and back is fine: only the sum counts. */
	OK(f, sat_store_begin(f->w, &f->err));
	add(f, 1, SAT_ROLE_REP, none, hash_of(5, 2), -3);
	OK(f, sat_store_commit(f->w, &f->err));
	fixture_reopen(f);
	expect_digest(f, f->w, 1, SAT_ROLE_REP, 0, 0, 0);
	expect_digest(f, f->w, 1, SAT_ROLE_HQ, 9, 9, 1);
	sat_store_close(r);
}

static void many_digests_at_once(void **state)
{
	struct fixture *f = *state;
	const struct sat_hash none = { 0, 0 };

	/* More than the table holds at first, in both levels, twice. */
	for (int round = 0; round < 2; round++) {
		OK(f, sat_store_begin(f->w, &f->err));
		for (uint32_t i = 0; i < 600; i++)
			add(f, i, SAT_ROLE_REP, hash_of(i, 0), none, 1);
		OK(f, sat_store_savepoint(f->w, &f->err));
		for (uint32_t i = 300; i < 900; i++)
			add(f, i, SAT_ROLE_REP, hash_of(1, 0), none, 1);
		OK(f, sat_store_release(f->w, &f->err));
		OK(f, sat_store_commit(f->w, &f->err));
	}
	expect_digest(f, f->w, 299, SAT_ROLE_REP, 598, 0, 2);
	expect_digest(f, f->w, 599, SAT_ROLE_REP, 1200, 0, 4);
	expect_digest(f, f->w, 899, SAT_ROLE_REP, 2, 0, 2);
}

/* ---- changesets and verdicts --------------------------------------------- */

static struct sat_dot dot_of(uint32_t replica, uint64_t seq)
{
	return (struct sat_dot){ replica, seq };
}

static void changesets(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[16] = "0123456789abcde", got[16];
	struct sat_dot last = dot_of(UINT32_MAX, (UINT64_C(1) << 31) - 1);
	struct sat_slice bytes = sat_slice_str("deltas");
	struct sat_buf out;

	sat_buf_init(&out, 8);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f,
	   sat_store_changeset_put(f->w, dot_of(7, 1), hash, bytes, &f->err));
	assert_int_equal(sat_store_changeset_put(f->w, dot_of(7, 1), hash,
						 bytes, &f->err),
			 SAT_E_EXISTS);
	OK(f, sat_store_changeset_put(f->w, last, hash, bytes, &f->err));
	last.seq++;
	assert_int_equal(
		sat_store_changeset_put(f->w, last, hash, bytes, &f->err),
		SAT_E_LIMIT);
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_changeset_get(f->w, dot_of(7, 1), &out, got, &f->err));
	assert_true(sat_slice_equal(sat_buf_peek(&out), bytes));
	assert_memory_equal(got, hash, 16);
	assert_int_equal(
		sat_store_changeset_get(f->w, dot_of(7, 2), &out, got, &f->err),
		SAT_E_NOTFOUND);
	assert_int_equal(
		sat_store_changeset_get(f->w, dot_of(7, 1), &out, got, &f->err),
		SAT_E_LIMIT); /* the buffer is full */
	sat_buf_fini(&out);
}

struct verdicts {
	uint64_t seqs[8];
	char last;
	uint32_t count;
};

static int on_verdict(void *arg, uint64_t seq, struct sat_slice bytes)
{
	struct verdicts *v = arg;

	assert_in_range(v->count, 0, SAT_COUNT_OF(v->seqs) - 1);
	assert_int_equal(bytes.len, 1);
	v->seqs[v->count++] = seq;
	v->last = (char)bytes.ptr[0];
	return SAT_OK;
}

static void verdict(struct fixture *f, uint32_t replica, uint64_t seq,
		    const char *text)
{
	OK(f, sat_store_verdict_put(f->w, dot_of(replica, seq),
				    sat_slice_str(text), &f->err));
}

static void verdicts_of_one_replica(void **state)
{
	struct fixture *f = *state;
	struct verdicts v = { .count = 0 };

	OK(f, sat_store_begin(f->w, &f->err));
	verdict(f, 7, 2, "b");
	verdict(f, 7, 1, "a");
	verdict(f, 7, 3, "p");
	verdict(f, 7, 3, "c"); /* parked, then decided */
	verdict(f, 6, 9, "x");
	verdict(f, 8, 1, "y");
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_verdicts(f->w, 7, 0, on_verdict, &v, &f->err));
	assert_int_equal(v.count, 3);
	assert_int_equal(v.seqs[0], 1);
	assert_int_equal(v.last, 'c');
	v.count = 0;
	OK(f, sat_store_verdicts(f->w, 7, 2, on_verdict, &v, &f->err));
	assert_int_equal(v.count, 1);
	v.count = 0; /* a forged HELLO reaches nobody else's */
	OK(f, sat_store_verdicts(f->w, 7, UINT64_MAX, on_verdict, &v, &f->err));
	assert_int_equal(v.count, 0);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_verdicts_drop(f->w, 7, 2, &f->err));
	OK(f, sat_store_verdicts_drop(f->w, 6, UINT64_MAX, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_verdicts(f->w, 7, 0, on_verdict, &v, &f->err));
	assert_int_equal(v.count, 1);
	assert_int_equal(v.seqs[0], 3);
	OK(f, sat_store_verdicts(f->w, 8, 0, on_verdict, &v, &f->err));
	assert_int_equal(v.count, 2);
	OK(f, sat_store_verdicts(f->w, 6, 0, on_verdict, &v, &f->err));
	assert_int_equal(v.count, 2);
}

static void rejected_rows(void **state)
{
	struct fixture *f = *state;
	const struct sat_table *t = table_of(f->w, "thing");
	struct sat_id id = id_of(1), other = id_of(2);
	struct sat_dot dot = { 0, 0 };

	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_rejected_put(f->w, dot_of(7, 3), t, &id, &f->err));
	OK(f, sat_store_rejected_put(f->w, dot_of(7, 5), t, &id, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_rejected_row(f->w, 7, t, &id, &dot, &f->err));
	assert_int_equal(dot.replica, 7);
	assert_int_equal(dot.seq, 5);
	assert_int_equal(sat_store_rejected_row(f->w, 8, t, &id, &dot, &f->err),
			 SAT_E_NOTFOUND);
	assert_int_equal(
		sat_store_rejected_row(f->w, 7, t, &other, &dot, &f->err),
		SAT_E_NOTFOUND);
	assert_int_equal(sat_store_rejected_row(f->w, 7,
						table_of(f->w, "place"), &id,
						&dot, &f->err),
			 SAT_E_NOTFOUND);
}

/* ---- grants, devices, invitations, scopes, audit ------------------------- */

static void grants(void **state)
{
	struct fixture *f = *state;
	struct sat_grant g = { .user = id_of(1),
			       .territory = id_of(50),
			       .role = SAT_ROLE_MANAGER,
			       .from_ms = 5 };
	struct sat_id nobody = id_of(9);
	struct sat_grant *list = NULL;
	uint32_t first, n = 9;

	OK(f, sat_store_grants(f->w, NULL, &f->a, &list, &n, &f->err));
	assert_int_equal(n, 0);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_grant_put(f->w, &g, &f->err));
	first = g.no;
	assert_int_not_equal(first, 0);
	g.to_ms = 77; /* again, by its number: a change */
	OK(f, sat_store_grant_put(f->w, &g, &f->err));
	assert_int_equal(g.no, first);
	for (uint32_t i = 0; i < 40; i++) {
		g.no = 0;
		g.user = id_of(2);
		OK(f, sat_store_grant_put(f->w, &g, &f->err));
	}
	OK(f, sat_store_grants(f->w, NULL, &f->a, &list, &n, &f->err));
	assert_int_equal(n, 41);
	assert_int_equal(list[0].to_ms, 77);
	assert_int_equal(list[0].from_ms, 5);
	assert_int_equal(list[0].role, SAT_ROLE_MANAGER);
	assert_memory_equal(list[0].territory.b, g.territory.b, 16);
	OK(f, sat_store_grants(f->w, &g.user, &f->a, &list, &n, &f->err));
	assert_int_equal(n, 40);
	OK(f, sat_store_grants(f->w, &nobody, &f->a, &list, &n, &f->err));
	assert_int_equal(n, 0);
	OK(f, sat_store_grant_remove(f->w, g.no, &f->err));
	assert_int_equal(sat_store_grant_remove(f->w, g.no, &f->err),
			 SAT_E_NOTFOUND);
	first = g.no;
	g.no = 0;
	OK(f, sat_store_grant_put(f->w, &g, &f->err));
	assert_true(g.no > first); /* numbers are never reused */
	OK(f, sat_store_commit(f->w, &f->err));
}

static void devices(void **state)
{
	struct fixture *f = *state;
	struct sat_device d = { .replica = UINT32_MAX,
				.user = id_of(1),
				.key_hash = { 1, 2, 3 },
				.state = SAT_DEVICE_WIPING,
				.last_seq = INT64_MAX,
				.last_hash = { 4 },
				.verdict_seq = 5,
				.cursor = 6,
				.ratchet = { 7 },
				.ratchet_new = { 8 },
				.enrolled_ms = 9,
				.seen_ms = 10,
				.name = "平板" };
	struct sat_device got = { 0 }, *list;
	uint32_t n;

	assert_int_equal(sat_store_device_get(f->w, 7, &got, &f->err),
			 SAT_E_NOTFOUND);
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_device_put(f->w, &d, &f->err));
	OK(f, sat_store_device_get(f->w, UINT32_MAX, &got, &f->err));
	assert_memory_equal(&got.key_hash, &d.key_hash, 32);
	assert_memory_equal(&got.last_hash, &d.last_hash, 16);
	assert_memory_equal(&got.ratchet, &d.ratchet, 16);
	assert_memory_equal(&got.ratchet_new, &d.ratchet_new, 16);
	assert_memory_equal(&got.user, &d.user, 16);
	assert_int_equal(got.state, SAT_DEVICE_WIPING);
	assert_int_equal(got.last_seq, INT64_MAX);
	assert_int_equal(got.verdict_seq, 5);
	assert_int_equal(got.cursor, 6);
	assert_int_equal(got.enrolled_ms, 9);
	assert_int_equal(got.seen_ms, 10);
	assert_string_equal(got.name, "平板");
	d.state = SAT_DEVICE_REVOKED;
	OK(f, sat_store_device_put(f->w, &d, &f->err));
	for (d.replica = 1; d.replica <= 20; d.replica++)
		OK(f, sat_store_device_put(f->w, &d, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_devices(f->w, &f->a, &list, &n, &f->err));
	assert_int_equal(n, 21);
	assert_int_equal(list[0].replica, 1);
	assert_int_equal(list[20].replica, UINT32_MAX);
	assert_int_equal(list[20].state, SAT_DEVICE_REVOKED);
}

static void invitations(void **state)
{
	struct fixture *f = *state;
	struct sat_invite i = { .token_hash = { 9 },
				.user = id_of(3),
				.expires_ms = 1000 };
	struct sat_invite got = { 0 };
	uint8_t other[32] = { 8 };

	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_invite_put(f->w, &i, &f->err));
	i.used = true;
	i.key_hash[31] = 5;
	i.replica = 12;
	OK(f, sat_store_invite_put(f->w, &i, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_invite_get(f->w, i.token_hash, &got, &f->err));
	assert_memory_equal(got.token_hash, i.token_hash, 32);
	assert_memory_equal(got.key_hash, i.key_hash, 32);
	assert_memory_equal(got.user.b, i.user.b, 16);
	assert_true(got.used);
	assert_int_equal(got.expires_ms, 1000);
	assert_int_equal(got.replica, 12);
	assert_int_equal(sat_store_invite_get(f->w, other, &got, &f->err),
			 SAT_E_NOTFOUND);
}

static void scope_numbers(void **state)
{
	struct fixture *f = *state;
	struct sat_id a = id_of(1), b = id_of(2);
	uint32_t first = 0, second = 0, again = 0;

	assert_int_equal(sat_store_scope_of(f->w, &a, false, &first, &f->err),
			 SAT_E_NOTFOUND);
	assert_int_equal(sat_store_scope_of(f->w, &a, true, &first, &f->err),
			 SAT_E_INVAL); /* making one is a write */
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_scope_of(f->w, &a, true, &first, &f->err));
	OK(f, sat_store_scope_of(f->w, &b, true, &second, &f->err));
	OK(f, sat_store_scope_of(f->w, &a, true, &again, &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	assert_int_not_equal(first, SAT_SCOPE_EVERYONE);
	assert_int_equal(first, again);
	assert_int_not_equal(first, second);
	fixture_reopen(f);
	OK(f, sat_store_scope_of(f->w, &b, false, &again, &f->err));
	assert_int_equal(second, again);
}

static int on_audit(void *arg, int columns, const char *const *names,
		    const struct sat_value *v)
{
	uint32_t *n = arg;

	(void)names;
	assert_int_equal(columns, 4);
	assert_int_equal(v[0].i, 100 + (int64_t)*n);
	assert_true(sat_slice_equal(v[1].s, sat_slice_str("ann")));
	assert_true(sat_slice_equal(v[2].s, sat_slice_str("revoke")));
	assert_int_equal(v[3].kind, *n == 0 ? SAT_NULL : SAT_TEXT);
	(*n)++;
	return SAT_OK;
}

static void audit_records(void **state)
{
	struct fixture *f = *state;
	uint32_t n = 0;

	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_audit(f->w, 100, "ann", "revoke", sat_slice_str(""),
			      &f->err));
	OK(f, sat_store_audit(f->w, 101, "ann", "revoke", sat_slice_str("{}"),
			      &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	OK(f, sat_store_query(f->w,
			      "SELECT at_ms, who, what, detail FROM _audit"
			      " ORDER BY no",
			      NULL, 0, on_audit, &n, &f->err));
	assert_int_equal(n, 2);
}

#define T(test) \
	cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_feed_is_read_in_order),
		T(feed_entries_go),
		T(a_scan_may_read_the_rows),
		T(digests_follow_the_transaction),
		T(many_digests_at_once),
		T(changesets),
		T(verdicts_of_one_replica),
		T(rejected_rows),
		T(grants),
		T(devices),
		T(invitations),
		T(scope_numbers),
		T(audit_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
