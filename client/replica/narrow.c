/* Finding what differs from the server (PROTOCOL.md section 17): the sums of
 * the scopes, those of 256 ranges of each that differs, then the rows of the
 * ranges that differ. What is known to be damaged is asked for at once.
 *
 * Nothing of it is kept in the file: a conversation that is cut begins anew
 * with the next checkpoint that finds a difference. */
#include "client/replica/apply.h"

#include <stdlib.h>
#include <string.h>

enum {
	SCOPES_MAX = 64,   /* that differ; more: everything is fetched  */
	WANTED_MAX = 4096, /* rows, the same                            */
	LIST_GOAL = 8192,  /* rows of ours in the ranges of one ask     */
	ASKS_MAX = 1024,   /* in one conversation, but for rows */
	HELD_SCOPES_MAX = SAT_SCOPES_MAX,
	ENTRY = SAT_REPAIR_LIST_BYTES,
};

struct scope_sum {
	uint32_t scope;
	struct sat_hash sum;
};

/* A scope whose sum is not the server's. */
struct suspect {
	uint32_t scope;
	struct sat_hash sums[SAT_REPAIR_RANGES]; /* ours */
	uint32_t rows[SAT_REPAIR_RANGES];
	uint8_t ranges[SAT_REPAIR_RANGES / 8]; /* to be listed */
	uint8_t asked[SAT_REPAIR_RANGES / 8];
};

struct wanted {
	uint32_t scope;
	struct sat_named_row row;
};

struct sat_narrow {
	enum { AT_SCOPES, AT_SUMS, AT_LISTS, AT_ROWS, AT_END } at;
	uint32_t *granted, granted_count;
	struct scope_sum *own; /* of every granted scope */
	uint32_t next_scope;   /* AT_SCOPES */
	struct suspect *suspects;
	uint32_t suspect_count, suspect;
	struct wanted *wanted;
	uint32_t wanted_count, sent;
	struct sat_id ids[SAT_REPAIR_IDS_MAX];
	struct sat_msg_repair ask;
	uint32_t asks;
	struct sat_replica *r;
	const uint8_t *list; /* the one being compared, sorted */
	size_t list_count;
	bool limit; /* too much differs */
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "narrow", "out of memory");
}

static int too_much(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_LIMIT, 0, "narrow",
			   "too much differs to be asked for row by row");
}

void sat_replica_narrow_end(struct sat_replica *r)
{
	struct sat_narrow *n = r->narrow;

	r->narrow = NULL;
	if (n == NULL)
		return;
	free(n->granted);
	free(n->own);
	free(n->suspects);
	free(n->wanted);
	free(n);
}

static int by_row(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	if (x->row.t != y->row.t)
		return x->row.t < y->row.t ? -1 : 1;
	return memcmp(x->row.id.b, y->row.id.b, sizeof x->row.id.b);
}

/* A row may have been asked for in several scopes. */
uint64_t sat_narrow_mended(struct sat_replica *r)
{
	struct sat_narrow *n = r->narrow;
	uint64_t count = 0;

	if (n != NULL && n->at == AT_END) {
		qsort(n->wanted, n->wanted_count, sizeof *n->wanted, by_row);
		for (uint32_t i = 0; i < n->wanted_count; i++)
			count += i == 0 ||
				 by_row(&n->wanted[i - 1], &n->wanted[i]) != 0;
	}
	sat_replica_narrow_end(r);
	return count;
}

/* ---- our side ------------------------------------------------------------ */

static int by_scope(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static struct scope_sum *own_sum(struct sat_narrow *n, uint32_t scope)
{
	return bsearch(&scope, n->own, n->granted_count, sizeof *n->own,
		       by_scope);
}

static struct suspect *suspect_at(struct sat_narrow *n, uint32_t scope)
{
	for (uint32_t i = 0; i < n->suspect_count; i++)
		if (n->suspects[i].scope == scope)
			return &n->suspects[i];
	return NULL;
}

static int sum_scopes(void *arg, const struct sat_table *t,
		      const struct sat_id *id, const struct sat_rehashed *h)
{
	struct sat_narrow *n = arg;
	struct scope_sum *own;

	(void)t;
	(void)id;
	for (uint32_t i = 0; i < h->scope_count; i++) {
		own = own_sum(n, h->scopes[i]);
		if (own != NULL)
			sat_hash_add(&own->sum, h->hash);
	}
	return SAT_OK;
}

static bool is_alive(const struct sat_rehashed *h)
{
	return h->hash.low != 0 || h->hash.high != 0;
}

static int sum_ranges(void *arg, const struct sat_table *t,
		      const struct sat_id *id, const struct sat_rehashed *h)
{
	struct sat_narrow *n = arg;
	struct suspect *s;
	uint8_t range;

	if (t == NULL || !is_alive(h))
		return SAT_OK;
	range = sat_repair_range(t->no, id);
	for (uint32_t i = 0; i < h->scope_count; i++) {
		s = suspect_at(n, h->scopes[i]);
		if (s == NULL)
			continue;
		sat_hash_add(&s->sums[range], h->hash);
		s->rows[range]++;
	}
	return SAT_OK;
}

/* One snapshot for a whole look at the rows; nobody waits for it. */
static int look(struct sat_replica *r, sat_rehash_cb cb, void *arg,
		struct sat_err *err)
{
	int rc = sat_db_exec(&r->db, "BEGIN", err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_rehash_all(r, cb, arg, err);
	sat_db_rollback(&r->db);
	return rc;
}

/* ---- what is wanted ------------------------------------------------------ */

static int want(struct sat_narrow *n, uint32_t scope, uint16_t t,
		const struct sat_id *id)
{
	if (n->wanted_count == WANTED_MAX) {
		n->limit = true;
		return SAT_E_LIMIT;
	}
	n->wanted[n->wanted_count++] = (struct wanted){ scope, { t, *id } };
	return SAT_OK;
}

static int by_place(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	if (x->scope != y->scope)
		return x->scope < y->scope ? -1 : 1;
	if (x->row.t != y->row.t)
		return x->row.t < y->row.t ? -1 : 1;
	return memcmp(x->row.id.b, y->row.id.b, sizeof x->row.id.b);
}

/* Rows noted as damaged, each in one of its scopes. Those whose scopes cannot
 * be read are left for the sums to find. */
static int want_damaged(struct sat_replica *r, struct sat_narrow *n,
			struct sat_err *err)
{
	const struct sat_table *t;
	struct sat_rehashed h;
	int rc = SAT_OK;

	for (uint32_t i = 0; rc == SAT_OK && i < r->damage.count; i++) {
		const struct sat_named_row *w = &r->damage.rows[i];

		t = sat_catalogue_table_no(r->catalogue, w->t);
		sat_arena_reset(&r->row);
		if (t == NULL)
			continue;
		rc = sat_rehash_row(r, t, &w->id, &h, err);
		for (uint32_t k = 0; rc == SAT_OK && k < h.scope_count; k++) {
			if (h.same || own_sum(n, h.scopes[k]) == NULL)
				continue;
			rc = want(n, h.scopes[k], w->t, &w->id);
			break;
		}
	}
	r->damage.count = 0;
	return rc;
}

/* ---- beginning ----------------------------------------------------------- */

static int make_room(struct sat_replica *r, struct sat_narrow *n,
		     struct sat_err *err)
{
	uint32_t *scopes;
	int rc;

	sat_arena_reset(&r->row);
	rc = sat_scopes_load(r, &r->row, &scopes, &n->granted_count, err);
	if (rc != SAT_OK)
		return rc;
	if (n->granted_count > HELD_SCOPES_MAX)
		return too_much(err);
	n->own = calloc(n->granted_count + 1u, sizeof *n->own);
	n->suspects = calloc(SCOPES_MAX, sizeof *n->suspects);
	n->wanted = calloc(WANTED_MAX, sizeof *n->wanted);
	if (n->own == NULL || n->suspects == NULL || n->wanted == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < n->granted_count; i++)
		n->own[i].scope = scopes[i];
	return SAT_OK;
}

/* A row in a scope that nobody granted is in nobody's sums but ours. */
static int leave_ungranted(struct sat_replica *r, struct sat_narrow *n,
			   struct sat_err *err)
{
	uint32_t *scopes = calloc(n->granted_count + 1u, sizeof *scopes);
	int rc = scopes == NULL ? no_memory(err) : sat_txn_begin(r, err);

	for (uint32_t i = 0; scopes != NULL && i < n->granted_count; i++)
		scopes[i] = n->own[i].scope;
	if (rc == SAT_OK) {
		rc = sat_harvest(r, false, err);
		if (rc == SAT_OK)
			rc = sat_scopes_drop(r, scopes, n->granted_count, err);
		rc = sat_txn_end(r, rc, err);
	}
	free(scopes);
	return rc;
}

int sat_replica_narrow_begin(struct sat_replica *r, struct sat_err *err)
{
	struct sat_narrow *n;
	int rc;

	sat_replica_narrow_end(r);
	n = r->narrow = calloc(1, sizeof *n);
	if (n == NULL)
		return no_memory(err);
	n->r = r;
	rc = make_room(r, n, err);
	if (rc == SAT_OK)
		rc = want_damaged(r, n, err);
	if (rc == SAT_OK && n->wanted_count > 0) {
		n->at = AT_ROWS;
		qsort(n->wanted, n->wanted_count, sizeof *n->wanted, by_place);
		return SAT_OK;
	}
	if (rc == SAT_OK)
		rc = leave_ungranted(r, n, err);
	if (rc == SAT_OK)
		rc = look(r, sum_scopes, n, err);
	if (rc != SAT_OK)
		sat_replica_narrow_end(r);
	return rc;
}

/* ---- asking -------------------------------------------------------------- */

static bool any(const uint8_t *bits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bits[i] != 0)
			return true;
	return false;
}

static void ask_list(struct suspect *s, struct sat_msg_repair *ask)
{
	uint32_t rows = 0;

	memset(s->asked, 0, sizeof s->asked);
	for (unsigned i = 0; i < SAT_REPAIR_RANGES; i++) {
		uint8_t bit = (uint8_t)(1u << i % 8);

		if ((s->ranges[i / 8] & bit) == 0)
			continue;
		if (rows > 0 && rows + s->rows[i] > LIST_GOAL)
			break;
		rows += s->rows[i] + 1;
		s->asked[i / 8] |= bit;
		s->ranges[i / 8] &= (uint8_t)~bit;
	}
	ask->step = SAT_REPAIR_LIST;
	ask->scope = s->scope;
	ask->ranges = (struct sat_slice){ s->asked, sizeof s->asked };
}

static void ask_rows(struct sat_narrow *n, struct sat_msg_repair *ask)
{
	const struct wanted *first = &n->wanted[n->sent];
	uint32_t k = 0;

	while (n->sent + k < n->wanted_count && k < SAT_REPAIR_IDS_MAX &&
	       first[k].scope == first->scope &&
	       first[k].row.t == first->row.t) {
		n->ids[k] = first[k].row.id;
		k++;
	}
	ask->step = SAT_REPAIR_ROWS;
	ask->scope = first->scope;
	ask->table_no = first->row.t;
	ask->ids = n->ids;
	ask->id_count = k;
	ask->more = n->sent + k < n->wanted_count;
}

/* All lists are compared: which rows are to be fetched? None: it was our own
 * sum that was wrong, or others changed them meanwhile. */
static int listed(struct sat_replica *r, struct sat_narrow *n,
		  struct sat_err *err)
{
	uint64_t rows, bad;
	int rc;

	qsort(n->wanted, n->wanted_count, sizeof *n->wanted, by_place);
	n->at = n->wanted_count > 0 ? AT_ROWS : AT_END;
	if (n->wanted_count > 0)
		return SAT_OK;
	rc = sat_txn_begin(r, err);
	if (rc != SAT_OK)
		return rc;
	rc = sat_harvest(r, false, err);
	if (rc == SAT_OK)
		rc = sat_digest_rebuild(r, &rows, &bad, err);
	if (rc == SAT_OK && bad == 0 &&
	    sat_hash_equal(sat_hash_unpack(r->facts.digest), r->last_digest) &&
	    (uint64_t)r->facts.members == r->last_rows)
		r->facts.digest_state = 1;
	return sat_txn_end(r, rc, err);
}

/* Go to the step that has something to ask. */
static int advance(struct sat_replica *r, struct sat_narrow *n,
		   struct sat_err *err)
{
	int rc = SAT_OK;

	if (n->at == AT_SUMS && n->suspect == n->suspect_count) {
		n->at = AT_LISTS;
		n->suspect = 0;
	}
	while (n->at == AT_LISTS && n->suspect < n->suspect_count &&
	       !any(n->suspects[n->suspect].ranges, sizeof n->suspects->ranges))
		n->suspect++;
	if (n->at == AT_LISTS && n->suspect == n->suspect_count)
		rc = listed(r, n, err);
	if (n->at == AT_ROWS && n->sent == n->wanted_count)
		n->at = AT_END;
	return rc;
}

int sat_replica_narrow_ask(struct sat_replica *r, struct sat_msg_repair *ret,
			   bool *ret_asks, struct sat_err *err)
{
	struct sat_narrow *n = r->narrow;
	struct sat_msg_repair ask = { .step = SAT_REPAIR_SCOPES };
	int rc = n == NULL ? SAT_OK : advance(r, n, err);

	*ret_asks = n != NULL && n->at != AT_END;
	if (rc != SAT_OK || !*ret_asks)
		return rc;
	if (n->at != AT_ROWS && n->asks++ == ASKS_MAX)
		return too_much(err);
	if (n->at == AT_SCOPES) {
		ask.scope = n->next_scope;
	} else if (n->at == AT_SUMS) {
		ask.step = SAT_REPAIR_SUMS;
		ask.scope = n->suspects[n->suspect].scope;
	} else if (n->at == AT_LISTS) {
		ask_list(&n->suspects[n->suspect], &ask);
	} else {
		ask_rows(n, &ask);
	}
	n->ask = ask;
	*ret = ask;
	return SAT_OK;
}

/* ---- answers ------------------------------------------------------------- */

static uint64_t take_be(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

static int suspect_add(struct sat_narrow *n, uint32_t scope)
{
	if (n->suspect_count == SCOPES_MAX)
		return SAT_E_LIMIT;
	n->suspects[n->suspect_count++].scope = scope;
	return SAT_OK;
}

static int take_scopes(struct sat_narrow *n, const struct sat_msg_repair *m,
		       struct sat_err *err)
{
	const struct scope_sum *own;
	uint64_t before = n->next_scope;
	uint32_t scope;
	int rc = SAT_OK;

	for (size_t at = 0; rc == SAT_OK && at < m->sums.len;
	     at += SAT_REPAIR_SCOPE_BYTES) {
		scope = (uint32_t)take_be(m->sums.ptr + at, 4);
		if (scope < before)
			return sat_err_set(err, SAT_E_PROTO, 0, "narrow",
					   "scopes that do not rise");
		before = (uint64_t)scope + 1;
		own = own_sum(n, scope);
		if (own != NULL &&
		    !sat_hash_equal(own->sum,
				    sat_hash_unpack(m->sums.ptr + at + 4)))
			rc = suspect_add(n, scope);
	}
	if (rc != SAT_OK)
		return too_much(err);
	if (m->more && m->sums.len > 0 && before <= UINT32_MAX) {
		n->next_scope = (uint32_t)before;
		return SAT_OK;
	}
	n->at = AT_SUMS;
	return n->suspect_count == 0 ? SAT_OK : look(n->r, sum_ranges, n, err);
}

static void take_sums(struct sat_narrow *n, const struct sat_msg_repair *m)
{
	struct suspect *s = &n->suspects[n->suspect++];

	/* no sums: the scope is not granted any more */
	for (size_t i = 0; i * 16 < m->sums.len; i++)
		if (!sat_hash_equal(s->sums[i],
				    sat_hash_unpack(m->sums.ptr + 16 * i)))
			s->ranges[i / 8] |= (uint8_t)(1u << i % 8);
}

static int by_name(const void *a, const void *b)
{
	return memcmp(a, b, 2 + sizeof(struct sat_id));
}

static bool is_in(const struct sat_rehashed *h, uint32_t scope)
{
	for (uint32_t i = 0; i < h->scope_count; i++)
		if (h->scopes[i] == scope)
			return true;
	return false;
}

/* What its state is was asked in another scope already; only whether it is in
 * this one too is left, and that is not in doubt. */
static bool is_wanted_elsewhere(const struct sat_narrow *n, uint32_t scope,
				uint16_t t, const struct sat_id *id)
{
	for (uint32_t i = 0; i < n->wanted_count; i++)
		if (n->wanted[i].scope != scope && n->wanted[i].row.t == t &&
		    memcmp(n->wanted[i].row.id.b, id->b, sizeof id->b) == 0)
			return true;
	return false;
}

/* One of theirs: do we hold it so? */
static int compare_entry(struct sat_replica *r, struct sat_narrow *n,
			 const uint8_t *entry, struct sat_err *err)
{
	uint32_t scope = n->ask.scope;
	const struct sat_table *t = sat_catalogue_table_no(
		r->catalogue, (uint32_t)take_be(entry, 2));
	uint64_t low = take_be(entry + 2 + sizeof(struct sat_id), 8);
	struct sat_rehashed h;
	struct sat_id id;
	int rc;

	memcpy(id.b, entry + 2, sizeof id.b);
	if (t == NULL || low == 0) /* damaged there: keep what we have */
		return SAT_OK;
	sat_arena_reset(&r->row);
	rc = sat_rehash_row(r, t, &id, &h, err);
	if (rc != SAT_OK)
		return rc;
	if (is_in(&h, scope) &&
	    (h.hash.low == low || is_wanted_elsewhere(n, scope, t->no, &id)))
		return SAT_OK;
	return want(n, scope, t->no, &id);
}

/* One of ours: do they have it at all? */
static int find_ours(void *arg, const struct sat_table *t,
		     const struct sat_id *id, const struct sat_rehashed *h)
{
	struct sat_narrow *n = arg;
	const struct suspect *s = &n->suspects[n->suspect];
	uint8_t name[2 + sizeof id->b], range;

	if (t == NULL || !is_alive(h) || !is_in(h, s->scope))
		return SAT_OK;
	range = sat_repair_range(t->no, id);
	if ((s->asked[range / 8] >> range % 8 & 1) == 0)
		return SAT_OK;
	name[0] = (uint8_t)(t->no >> 8);
	name[1] = (uint8_t)t->no;
	memcpy(name + 2, id->b, sizeof id->b);
	if (bsearch(name, n->list, n->list_count, ENTRY, by_name) != NULL)
		return SAT_OK;
	return want(n, s->scope, t->no, id);
}

static int compare_list(struct sat_replica *r, struct sat_narrow *n,
			struct sat_slice sorted, struct sat_err *err)
{
	int rc = SAT_OK;

	n->list = sorted.ptr;
	n->list_count = sorted.len / ENTRY;
	for (size_t i = 0; rc == SAT_OK && i < n->list_count; i++)
		rc = compare_entry(r, n, sorted.ptr + i * ENTRY, err);
	if (rc == SAT_OK)
		rc = look(r, find_ours, n, err);
	n->list = NULL;
	return n->limit ? too_much(err) : rc;
}

static int take_list(struct sat_replica *r, struct sat_narrow *n,
		     const struct sat_msg_repair *m, struct sat_err *err)
{
	uint8_t *sorted;
	int rc;

	if (m->more)
		return too_much(err);
	sorted = malloc(m->list.len + 1);
	if (sorted == NULL)
		return no_memory(err);
	if (m->list.len > 0)
		memcpy(sorted, m->list.ptr, m->list.len);
	qsort(sorted, m->list.len / ENTRY, ENTRY, by_name);
	rc = compare_list(r, n, (struct sat_slice){ sorted, m->list.len }, err);
	free(sorted);
	return rc;
}

int sat_replica_narrow_answer(struct sat_replica *r,
			      const struct sat_msg_repair *m,
			      struct sat_err *err)
{
	struct sat_narrow *n = r->narrow;

	if (n == NULL || n->at == AT_END)
		return SAT_OK;
	if (m->step != n->ask.step || m->count > n->ask.id_count)
		return sat_err_set(err, SAT_E_PROTO, 0, "narrow",
				   "an answer to another question");
	switch (m->step) {
	case SAT_REPAIR_SCOPES:
		return take_scopes(n, m, err);
	case SAT_REPAIR_SUMS:
		take_sums(n, m);
		return SAT_OK;
	case SAT_REPAIR_LIST:
		return take_list(r, n, m, err);
	case SAT_REPAIR_ROWS:
	default:
		/* none: they are not ours to have any more */
		n->sent += m->count > 0 ? m->count : n->ask.id_count;
		return SAT_OK;
	}
}
