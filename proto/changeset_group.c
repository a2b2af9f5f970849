#include "proto/changeset_reader.h"

enum { ELEMENTS_MAX = 4096 }; /* of one set in one delta, each way */

int sat_changeset_fail(struct sat_changeset_reader *r, int rc, const char *what)
{
	r->failed = sat_err_set(&r->why, rc, 0, "changeset", "delta %u: %s",
				r->delta, what);
	return r->failed;
}

static int open_elements(struct sat_changeset_reader *r, struct sat_cursor *c,
			 const struct lane *l, struct elements *ret)
{
	struct sat_slice counts;
	uint64_t total = 0;
	const char *why;
	uint64_t n;
	uint32_t parts;
	int rc;

	if (l->column->policy != SAT_POLICY_SET)
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "set elements in another column");
	if (!sat_take_array(c, &parts) || parts != 2 ||
	    !sat_take_bin(c, &ret->counts))
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "set elements are broken");
	counts = ret->counts;
	for (uint32_t i = 0; i < l->count; i++) {
		if (!sat_varint_take(&counts, &n) || n > ELEMENTS_MAX)
			return sat_changeset_fail(r, SAT_E_PROTO,
						  "too many set elements");
		total += n;
	}
	if (counts.len != 0 || total == 0 || total > c->in.len)
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "counts of set elements");
	rc = sat_column_open(c, r->mem, SAT_TYPE_TEXT, (uint32_t)total,
			     &ret->texts, &why);
	if (rc != SAT_OK)
		return sat_changeset_fail(r, rc, why);
	ret->any = true;
	return SAT_OK;
}

static int open_values(struct sat_changeset_reader *r, struct sat_cursor *c,
		       const struct lane *l, struct sat_column_reader *ret,
		       bool *ret_has)
{
	const char *why;
	int rc;

	if (l->column->policy == SAT_POLICY_SET)
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "a plain value in a set column");
	rc = sat_column_open(c, r->mem, l->column->type, l->count, ret, &why);
	if (rc != SAT_OK)
		return sat_changeset_fail(r, rc, why);
	*ret_has = true;
	return SAT_OK;
}

static int open_bins(struct sat_changeset_reader *r, struct sat_cursor *c,
		     uint64_t key, struct lane *l)
{
	uint32_t ones;

	switch (key) {
	case SAT_CK_PRESENT:
		if (!sat_take_bin(c, &l->present) ||
		    !sat_bitmap_valid(l->present, r->count, &l->count) ||
		    l->count == 0)
			return sat_changeset_fail(r, SAT_E_PROTO,
						  "bitmap of deltas");
		return SAT_OK;
	case SAT_CK_AT:
		l->has_at = sat_take_bin(c, &l->at);
		return l->has_at ? SAT_OK
				 : sat_changeset_fail(r, SAT_E_PROTO, "times");
	case SAT_CK_REPLACED:
		l->has_replaced = sat_take_bin(c, &l->replaced);
		return l->has_replaced
			       ? SAT_OK
			       : sat_changeset_fail(r, SAT_E_PROTO, "stamps");
	default:
		l->has_resolves =
			sat_take_bin(c, &l->resolves) &&
			sat_bitmap_valid(l->resolves, l->count, &ones);
		return l->has_resolves
			       ? SAT_OK
			       : sat_changeset_fail(r, SAT_E_PROTO, "resolves");
	}
}

static int open_lane_key(struct sat_changeset_reader *r, struct sat_cursor *c,
			 uint64_t key, struct lane *l)
{
	switch (key) {
	case SAT_CK_VALUE:
		return open_values(r, c, l, &l->value, &l->has_value);
	case SAT_CK_BEFORE:
		return open_values(r, c, l, &l->before, &l->has_before);
	case SAT_CK_ADDS:
		return open_elements(r, c, l, &l->adds);
	case SAT_CK_REMOVES:
		return open_elements(r, c, l, &l->removes);
	case SAT_CK_PRESENT:
	case SAT_CK_AT:
	case SAT_CK_REPLACED:
	case SAT_CK_RESOLVES:
		return open_bins(r, c, key, l);
	default:
		if (!sat_take_any(c, NULL))
			return sat_changeset_fail(r, SAT_E_PROTO,
						  "column member");
		return SAT_OK;
	}
}

/* Are the members of a column those its policy wants? */
static int judge_lane(struct sat_changeset_reader *r, const struct lane *l)
{
	enum sat_policy policy = l->column->policy;

	if (policy == SAT_POLICY_SET) {
		if (l->has_replaced || l->has_resolves)
			return sat_changeset_fail(r, SAT_E_PROTO,
						  "members of a set column");
		return SAT_OK;
	}
	if (!l->has_value)
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "a column without values");
	if (policy == SAT_POLICY_COUNTER &&
	    (l->has_before || l->has_replaced || l->has_resolves))
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "members of a counter column");
	return SAT_OK;
}

/* Columns come with rising numbers, which is also the order of the table. */
static int open_lane(struct sat_changeset_reader *r, struct sat_cursor *c,
		     const struct lane *before, struct lane *l)
{
	uint64_t key, no;
	uint32_t n;
	int index, rc;

	if (!sat_take_map(c, &n) || n == 0 || !sat_take_uint(c, 1, &key) ||
	    key != SAT_CK_NO || !sat_take_uint(c, UINT16_MAX, &no))
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "a column has no number");
	index = sat_table_column_no(r->table, (uint32_t)no);
	if (index < 0)
		return sat_changeset_fail(r, SAT_E_NEWER, "unknown column");
	if (before != NULL && index <= before->index)
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "columns out of order");
	l->index = (uint16_t)index;
	l->column = &r->table->columns[index];
	l->count = r->count;
	for (uint32_t i = 1; i < n; i++) {
		if (!sat_take_uint(c, UINT64_MAX, &key))
			return sat_changeset_fail(r, SAT_E_PROTO, "column key");
		rc = open_lane_key(r, c, key, l);
		if (rc != SAT_OK)
			return rc;
	}
	return judge_lane(r, l);
}

static int open_lanes(struct sat_changeset_reader *r, struct sat_cursor *c)
{
	uint32_t n;
	int rc;

	if (!sat_take_array(c, &n) || (r->op == SAT_OP_DELETE && n > 0))
		return sat_changeset_fail(r, SAT_E_PROTO, "columns");
	if (n > r->table->column_count)
		return sat_changeset_fail(r, SAT_E_NEWER,
					  "more columns than the table has");
	r->lanes = sat_arena_array(r->mem, n, sizeof *r->lanes);
	if (r->lanes == NULL)
		return sat_changeset_fail(r, SAT_E_NOMEM, "memory");
	r->lane_count = n;
	for (uint32_t i = 0; i < n; i++) {
		rc = open_lane(r, c, i > 0 ? &r->lanes[i - 1] : NULL,
			       &r->lanes[i]);
		if (rc != SAT_OK)
			return rc;
	}
	return SAT_OK;
}

static bool take_count(struct sat_cursor *c, uint32_t max, uint32_t *ret)
{
	uint64_t v;

	if (!sat_take_uint(c, max, &v) || v == 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* The five members that every group begins with, in their order. */
static int open_group_head(struct sat_changeset_reader *r, struct sat_cursor *c,
			   uint32_t *ret_members)
{
	uint64_t key[5], no, op;
	const char *why;
	int rc;

	if (!sat_take_map(c, ret_members) || *ret_members < 6 ||
	    !sat_take_uint(c, 9, &key[0]) || key[0] != SAT_GK_TABLE ||
	    !sat_take_uint(c, UINT16_MAX, &no) ||
	    !sat_take_uint(c, 9, &key[1]) || key[1] != SAT_GK_OP ||
	    !sat_take_uint(c, SAT_OP_DELETE, &op) ||
	    !sat_take_uint(c, 9, &key[2]) || key[2] != SAT_GK_COUNT ||
	    !take_count(c, r->deltas_left, &r->count) ||
	    !sat_take_uint(c, 9, &key[3]) || key[3] != SAT_GK_IDS)
		return sat_changeset_fail(r, SAT_E_PROTO, "a group is broken");
	r->op = (enum sat_op)op;
	r->table = sat_catalogue_table_no(r->catalogue, (uint32_t)no);
	if (r->table == NULL)
		return sat_changeset_fail(r, SAT_E_NEWER, "unknown table");
	if (!sat_ids_take(c, r->mem, r->count, &r->ids, &rc))
		return sat_changeset_fail(r, rc, "ids");
	if (!sat_take_uint(c, 9, &key[4]) || key[4] != SAT_GK_AT)
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "a group has no times");
	rc = sat_column_open(c, r->mem, SAT_TYPE_TIME, r->count, &r->times,
			     &why);
	return rc == SAT_OK ? SAT_OK : sat_changeset_fail(r, rc, why);
}

int sat_changeset_open_group(struct sat_changeset_reader *r)
{
	struct sat_cursor *c = &r->groups;
	bool columns = false;
	uint64_t key;
	uint32_t n;
	int rc = open_group_head(r, c, &n);

	if (rc != SAT_OK)
		return rc;
	r->has_bases = r->has_contexts = false;
	r->last_base = 0;
	r->at = 0;
	for (uint32_t i = 5; i < n; i++) {
		if (!sat_take_uint(c, UINT64_MAX, &key))
			return sat_changeset_fail(r, SAT_E_PROTO, "group key");
		if (key == SAT_GK_BASE) {
			r->has_bases = sat_take_bin(c, &r->bases);
			rc = r->has_bases ? SAT_OK : SAT_E_PROTO;
		} else if (key == SAT_GK_CONTEXTS) {
			r->has_contexts = sat_take_bin(c, &r->contexts);
			rc = r->has_contexts ? SAT_OK : SAT_E_PROTO;
		} else if (key == SAT_GK_COLUMNS) {
			columns = true;
			rc = open_lanes(r, c);
		} else {
			rc = sat_take_any(c, NULL) ? SAT_OK : SAT_E_PROTO;
		}
		if (rc != SAT_OK)
			return r->failed != SAT_OK
				       ? rc
				       : sat_changeset_fail(r, rc,
							    "group member");
	}
	if (!columns)
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "a group has no columns");
	r->groups_left--;
	r->deltas_left -= r->count;
	return SAT_OK;
}

static bool elements_done(const struct elements *e)
{
	return !e->any || (e->counts.len == 0 && sat_column_done(&e->texts));
}

/* Every bin of the group must have been used to its end. */
int sat_changeset_close_group(struct sat_changeset_reader *r)
{
	bool ok = sat_column_done(&r->times) &&
		  (!r->has_bases || r->bases.len == 0) &&
		  (!r->has_contexts || r->contexts.len == 0);
	const struct lane *l;

	for (uint32_t i = 0; i < r->lane_count && ok; i++) {
		l = &r->lanes[i];
		ok = (!l->has_value || sat_column_done(&l->value)) &&
		     (!l->has_before || sat_column_done(&l->before)) &&
		     (!l->has_at || l->at.len == 0) &&
		     (!l->has_replaced || l->replaced.len == 0) &&
		     elements_done(&l->adds) && elements_done(&l->removes);
	}
	return ok ? SAT_OK
		  : sat_changeset_fail(r, SAT_E_PROTO,
				       "bytes left over in a group");
}
