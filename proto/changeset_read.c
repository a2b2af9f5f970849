#include "proto/changeset_reader.h"

#include "common/meta.h"
#include "proto/scan.h"

#include <string.h>

enum {
	DELTA_BYTES_MIN = 11, /* an id takes one byte of time and ten more */
	ELEMENT_BYTES_MAX = 1024,
};

/* Head. */

static int bad(struct sat_err *err, const char *what)
{
	return sat_err_set(err, SAT_E_PROTO, 0, "changeset", "%s", what);
}

static bool take_bytes16(struct sat_cursor *c, uint8_t out[16])
{
	struct sat_slice s;

	if (!sat_take_bin(c, &s) || s.len != 16)
		return false;
	memcpy(out, s.ptr, 16);
	return true;
}

static bool take_u32(struct sat_cursor *c, uint32_t max, uint32_t *ret)
{
	uint64_t v;

	if (!sat_take_uint(c, max, &v))
		return false;
	*ret = (uint32_t)v;
	return true;
}

static bool take_marker(struct sat_cursor *c, struct sat_marker *ret)
{
	uint32_t n;

	return sat_take_array(c, &n) && n == 3 &&
	       sat_take_uint(c, UINT64_MAX, &ret->epoch) &&
	       sat_take_uint(c, UINT64_MAX, &ret->commit_seq) &&
	       take_u32(c, UINT32_MAX, &ret->grants);
}

static bool take_head_key(struct sat_cursor *c, uint64_t key,
			  struct sat_changeset *ret, struct sat_cursor *groups)
{
	struct sat_slice value;

	switch (key) {
	case SAT_HK_REPLICA:
		return take_u32(c, UINT32_MAX, &ret->dot.replica) &&
		       ret->dot.replica > 0;
	case SAT_HK_SEQ:
		return sat_take_uint(c, INT64_MAX, &ret->dot.seq) &&
		       ret->dot.seq > 0;
	case SAT_HK_PREV_HASH:
		return take_bytes16(c, ret->prev_hash);
	case SAT_HK_CATALOGUE:
		return take_u32(c, UINT32_MAX, &ret->catalogue);
	case SAT_HK_MARKER:
		return take_marker(c, &ret->marker);
	case SAT_HK_FLAGS:
		return take_u32(c, UINT32_MAX, &ret->flags);
	case SAT_HK_COUNT:
		return take_u32(c, SAT_CHANGESET_DELTAS_MAX, &ret->delta_count);
	case SAT_HK_GROUPS:
		if (!sat_take_any(c, &value))
			return false;
		*groups = (struct sat_cursor){ value, 0 };
		return true;
	default:
		return sat_take_any(c, NULL);
	}
}

static int read_head(struct sat_slice bytes, struct sat_changeset *ret,
		     struct sat_cursor *groups, struct sat_err *err)
{
	struct sat_cursor c = { bytes, 0 };
	struct sat_changeset cs = { .deltas = NULL };
	uint32_t seen = 0;
	uint64_t key;
	uint32_t n;

	if (!sat_take_map(&c, &n))
		return bad(err, "not a map");
	for (uint32_t i = 0; i < n; i++) {
		if (!sat_take_uint(&c, UINT64_MAX, &key) ||
		    !take_head_key(&c, key, &cs, groups))
			return bad(err, "a member of the header is broken");
		if (key <= SAT_HK_GROUPS)
			seen |= 1u << key;
	}
	if ((seen >> 1) != (1u << SAT_HK_GROUPS) - 1 || (seen & 1) != 0)
		return bad(err, "a member of the header is missing");
	*ret = cs;
	return SAT_OK;
}

static int scan(struct sat_slice bytes, struct sat_err *err)
{
	size_t used = 0;
	int rc;

	if (bytes.len > SAT_CHANGESET_BYTES_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "changeset",
				   "larger than 64 MiB");
	rc = sat_mp_check(bytes, &sat_mp_columnar, &used);
	if (rc == SAT_E_LIMIT)
		return sat_err_set(err, rc, 0, "changeset",
				   "too deep or too many values");
	if (rc != SAT_OK || used != bytes.len)
		return bad(err, "not one msgpack value");
	return SAT_OK;
}

int sat_changeset_head(struct sat_slice bytes, struct sat_changeset *ret,
		       struct sat_err *err)
{
	struct sat_cursor groups;
	int rc = scan(bytes, err);

	if (rc != SAT_OK)
		return rc;
	return read_head(bytes, ret, &groups, err);
}

int sat_changeset_open(const struct sat_catalogue *c, struct sat_slice bytes,
		       struct sat_arena *a, struct sat_changeset *ret_head,
		       struct sat_changeset_reader **ret, struct sat_err *err)
{
	struct sat_changeset_reader *r = sat_arena_alloc(a, sizeof *r);
	struct sat_changeset head;
	size_t slots = 8;
	int rc = scan(bytes, err);

	if (rc != SAT_OK)
		return rc;
	if (r == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "changeset", "memory");
	rc = read_head(bytes, &head, &r->groups, err);
	if (rc != SAT_OK)
		return rc;
	if (!sat_take_array(&r->groups, &r->groups_left))
		return bad(err, "groups are not an array");
	if (head.delta_count > bytes.len / DELTA_BYTES_MIN)
		return bad(err, "claims more deltas than fit");
	while (slots < (size_t)head.delta_count * 2)
		slots *= 2;
	r->seen = sat_arena_array(a, slots, sizeof *r->seen);
	if (r->seen == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "changeset", "memory");
	r->seen_mask = slots - 1;
	r->catalogue = c;
	r->mem = a;
	r->deltas_left = head.delta_count;
	*ret_head = head;
	*ret = r;
	return SAT_OK;
}

/* Deltas. */

/* At most one delta per row: 63 bits of hash stand for table and id. */
static bool first_time(struct sat_changeset_reader *r, const struct sat_id *id)
{
	uint8_t key[2 + sizeof id->b];
	uint64_t h;
	size_t at;

	key[0] = (uint8_t)(r->table->no >> 8);
	key[1] = (uint8_t)r->table->no;
	memcpy(key + 2, id->b, sizeof id->b);
	h = sat_hash_bytes((struct sat_slice){ key, sizeof key }).low | 1;
	at = (size_t)(h >> 1) & r->seen_mask;
	while (r->seen[at] != 0) {
		if (r->seen[at] == h)
			return false;
		at = (at + 1) & r->seen_mask;
	}
	r->seen[at] = h;
	return true;
}

static int take_context(struct sat_changeset_reader *r, struct sat_arena *a,
			struct sat_vv *ret)
{
	struct sat_dot *dots;
	uint64_t count, step, seq;
	uint64_t replica = 0;

	if (!sat_varint_take(&r->contexts, &count) ||
	    count > SAT_VV_ENTRIES_MAX || count > r->contexts.len / 2)
		return sat_changeset_fail(r, SAT_E_PROTO, "context");
	dots = sat_arena_array(a, (size_t)count, sizeof *dots);
	if (dots == NULL)
		return sat_changeset_fail(r, SAT_E_NOMEM, "memory");
	for (uint32_t i = 0; i < count; i++) {
		if (!sat_varint_take(&r->contexts, &step) ||
		    !sat_varint_take(&r->contexts, &seq) || step == 0 ||
		    step > UINT32_MAX - replica || seq == 0 || seq > INT64_MAX)
			return sat_changeset_fail(r, SAT_E_PROTO, "context");
		replica += step;
		dots[i] = (struct sat_dot){ (uint32_t)replica, seq };
	}
	*ret = (struct sat_vv){ count > 0 ? dots : NULL, (uint32_t)count };
	return SAT_OK;
}

static int take_elements(struct sat_changeset_reader *r, struct sat_arena *a,
			 struct elements *e, const struct sat_slice **ret,
			 uint32_t *ret_count)
{
	struct sat_slice *list;
	struct sat_value v;
	uint64_t n;

	if (!e->any)
		return SAT_OK;
	if (!sat_varint_take(&e->counts, &n))
		return sat_changeset_fail(r, SAT_E_PROTO, "set elements");
	list = sat_arena_array(a, (size_t)n, sizeof *list);
	if (list == NULL)
		return sat_changeset_fail(r, SAT_E_NOMEM, "memory");
	for (uint32_t i = 0; i < n; i++) {
		if (!sat_column_next(&e->texts, 0, &v) || v.kind != SAT_TEXT)
			return sat_changeset_fail(r, SAT_E_PROTO,
						  "set element");
		if (v.s.len > ELEMENT_BYTES_MAX)
			return sat_changeset_fail(r, SAT_E_INVAL,
						  "set element is too long");
		list[i] = v.s;
	}
	*ret = list;
	*ret_count = (uint32_t)n;
	return SAT_OK;
}

static int check_value(struct sat_changeset_reader *r, const struct lane *l,
		       const struct sat_value *v)
{
	const char *why = "is not a number";

	if (l->column->policy == SAT_POLICY_COUNTER) {
		if (v->kind == SAT_INT)
			return SAT_OK;
	} else if (sat_column_accepts(l->column, v, &why)) {
		return SAT_OK;
	}
	r->failed = sat_err_set(&r->why, SAT_E_INVAL, 0, "changeset",
				"delta %u: %s.%s %s", r->delta, r->table->name,
				l->column->name, why);
	return r->failed;
}

static int take_change(struct sat_changeset_reader *r, struct sat_arena *a,
		       struct lane *l, const struct sat_delta *d,
		       struct sat_change *ch)
{
	int64_t time = sat_id_time(d->id.b);
	uint64_t z = 0;
	int rc;

	*ch = (struct sat_change){ .column = l->index,
				   .value = sat_value_null(),
				   .before = sat_value_null() };
	if ((l->has_value && !sat_column_next(&l->value, time, &ch->value)) ||
	    (l->has_before && !sat_column_next(&l->before, time, &ch->before)))
		return sat_changeset_fail(r, SAT_E_PROTO, "value");
	if (l->has_at && !sat_varint_take(&l->at, &z))
		return sat_changeset_fail(r, SAT_E_PROTO, "time");
	ch->at_ms = (int64_t)((uint64_t)d->at_ms + (uint64_t)sat_unzigzag(z));
	if (l->has_replaced &&
	    !sat_rising_next(&l->replaced, &l->last_replaced, &ch->replaced))
		return sat_changeset_fail(r, SAT_E_PROTO, "stamp");
	ch->resolves = l->has_resolves && sat_bit(l->resolves.ptr, l->taken);
	l->taken++;
	rc = take_elements(r, a, &l->adds, &ch->adds, &ch->add_count);
	if (rc == SAT_OK)
		rc = take_elements(r, a, &l->removes, &ch->removes,
				   &ch->remove_count);
	if (rc == SAT_OK && l->has_value)
		rc = check_value(r, l, &ch->value);
	/* what no page may carry must not come in; removing it may */
	for (uint32_t i = 0; rc == SAT_OK && i < ch->add_count; i++) {
		struct sat_value element = sat_value_text(ch->adds[i]);

		rc = check_value(r, l, &element);
	}
	return rc;
}

static bool has_change(const struct sat_changeset_reader *r,
		       const struct lane *l)
{
	return l->present.len == 0 || sat_bit(l->present.ptr, r->at);
}

static int take_changes(struct sat_changeset_reader *r, struct sat_arena *a,
			struct sat_delta *d)
{
	uint32_t n = 0;
	int rc;

	for (uint32_t i = 0; i < r->lane_count; i++)
		n += has_change(r, &r->lanes[i]);
	d->changes = sat_arena_array(a, n, sizeof *d->changes);
	if (d->changes == NULL)
		return sat_changeset_fail(r, SAT_E_NOMEM, "memory");
	for (uint32_t i = 0; i < r->lane_count; i++) {
		if (!has_change(r, &r->lanes[i]))
			continue;
		r->column = r->lanes[i].index;
		rc = take_change(r, a, &r->lanes[i], d,
				 &d->changes[d->change_count++]);
		if (rc != SAT_OK)
			return rc;
	}
	r->column = -1;
	return SAT_OK;
}

static int take_delta(struct sat_changeset_reader *r, struct sat_arena *a,
		      struct sat_delta *ret)
{
	struct sat_delta d = { .op = r->op,
			       .table = r->table,
			       .id = r->ids[r->at] };
	struct sat_value at;
	int rc = SAT_OK;

	if (!first_time(r, &d.id))
		return sat_changeset_fail(r, SAT_E_PROTO,
					  "a second delta of the same row");
	if (!sat_column_next(&r->times, sat_id_time(d.id.b), &at) ||
	    at.kind != SAT_INT)
		return sat_changeset_fail(r, SAT_E_PROTO, "time");
	d.at_ms = at.i;
	if (r->has_bases &&
	    !sat_rising_next(&r->bases, &r->last_base, &d.base_seq))
		return sat_changeset_fail(r, SAT_E_PROTO, "base");
	if (r->has_contexts)
		rc = take_context(r, a, &d.context);
	if (rc == SAT_OK)
		rc = take_changes(r, a, &d);
	if (rc != SAT_OK)
		return rc;
	r->at++;
	r->delta++;
	*ret = d;
	return r->at == r->count ? sat_changeset_close_group(r) : SAT_OK;
}

int sat_changeset_next(struct sat_changeset_reader *r, struct sat_arena *a,
		       struct sat_delta *ret,
		       struct sat_changeset_where *ret_where,
		       struct sat_err *err)
{
	int rc = r->failed;

	r->column = -1;
	if (rc == SAT_OK && r->at == r->count) {
		if (r->groups_left == 0 && r->deltas_left == 0)
			return SAT_AGAIN;
		rc = r->groups_left == 0
			     ? sat_changeset_fail(r, SAT_E_PROTO,
						  "fewer deltas than claimed")
			     : sat_changeset_open_group(r);
	}
	if (rc == SAT_OK)
		rc = take_delta(r, a, ret);
	if (rc == SAT_OK)
		return SAT_OK;
	if (ret_where != NULL)
		*ret_where =
			(struct sat_changeset_where){ .delta = r->delta,
						      .column = r->column };
	if (ret_where != NULL && rc == SAT_E_INVAL && r->at < r->count) {
		ret_where->table = r->table;
		ret_where->id = r->ids[r->at];
	}
	*err = r->why;
	return rc;
}

int sat_changeset_decode(const struct sat_catalogue *c, struct sat_slice bytes,
			 struct sat_arena *a, struct sat_changeset *ret,
			 struct sat_changeset_where *ret_where,
			 struct sat_err *err)
{
	struct sat_changeset_reader *r;
	struct sat_changeset cs;
	struct sat_delta end;
	int rc = sat_changeset_open(c, bytes, a, &cs, &r, err);

	if (rc != SAT_OK)
		return rc;
	cs.deltas = sat_arena_array(a, cs.delta_count, sizeof *cs.deltas);
	if (cs.deltas == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "changeset", "memory");
	for (uint32_t i = 0; i < cs.delta_count; i++) {
		rc = sat_changeset_next(r, a, &cs.deltas[i], ret_where, err);
		if (rc == SAT_AGAIN)
			return bad(err, "fewer deltas than claimed");
		if (rc != SAT_OK)
			return rc;
	}
	rc = sat_changeset_next(r, a, &end, ret_where, err);
	if (rc != SAT_AGAIN)
		return rc == SAT_OK ? bad(err, "more deltas than claimed") : rc;
	*ret = cs;
	return SAT_OK;
}
