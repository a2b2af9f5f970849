#include "proto/message.h"

#include "proto/message_keys.h"
#include "proto/pack.h"
#include "proto/scan.h"

#include <msgpack.h>
#include <string.h>

/* Where a message is being decoded to. */
struct reader {
	struct sat_arena *a;
	const char *message;
	const struct sat_key *key;
	struct sat_err *err;
};

static int bad(struct reader *r, const char *what)
{
	return sat_err_set(r->err, SAT_E_PROTO, 0, "message",
			   "%s key %u (%s): %s", r->message, r->key->key,
			   r->key->name, what);
}

static int no_memory(struct reader *r)
{
	return sat_err_set(r->err, SAT_E_NOMEM, 0, "message", "%s: memory",
			   r->message);
}

static void store(void *base, size_t offset, const void *value, size_t n)
{
	memcpy((char *)base + offset, value, n);
}

static bool is_bin(const msgpack_object *o, size_t n)
{
	return o->type == MSGPACK_OBJECT_BIN && o->via.bin.size == n;
}

static bool as_uint(const msgpack_object *o, uint64_t max, uint64_t *ret)
{
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max)
		return false;
	*ret = o->via.u64;
	return true;
}

static bool as_int(const msgpack_object *o, int64_t *ret)
{
	if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
		*ret = o->via.i64;
		return true;
	}
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    o->via.u64 > INT64_MAX)
		return false;
	*ret = (int64_t)o->via.u64;
	return true;
}

static const msgpack_object *as_array(const msgpack_object *o, uint32_t n)
{
	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != n)
		return NULL;
	return o->via.array.ptr;
}

static int take_number(struct reader *r, const msgpack_object *o, void *base)
{
	uint64_t max = r->key->max != 0 ? r->key->max : UINT32_MAX;
	uint64_t v;
	uint32_t v32;
	int64_t i;

	if (r->key->type == SAT_KEY_I64) {
		if (!as_int(o, &i))
			return bad(r, "is not an integer");
		store(base, r->key->offset, &i, sizeof i);
		return SAT_OK;
	}
	if (r->key->type == SAT_KEY_U64)
		max = UINT64_MAX;
	if (!as_uint(o, max, &v))
		return bad(r, "is not a number in range");
	v32 = (uint32_t)v;
	if (r->key->type == SAT_KEY_U64)
		store(base, r->key->offset, &v, sizeof v);
	else
		store(base, r->key->offset, &v32, sizeof v32);
	return SAT_OK;
}

static int take_bool(struct reader *r, const msgpack_object *o, void *base)
{
	bool v;

	if (o->type != MSGPACK_OBJECT_BOOLEAN)
		return bad(r, "is not a boolean");
	v = o->via.boolean;
	store(base, r->key->offset, &v, sizeof v);
	return SAT_OK;
}

static int take_16(struct reader *r, const msgpack_object *o, void *base)
{
	struct sat_hash h;
	bool has = true;

	if (!is_bin(o, 16))
		return bad(r, "is not 16 bytes");
	if (r->key->type == SAT_KEY_DIGEST) {
		h = sat_hash_unpack((const uint8_t *)o->via.bin.ptr);
		store(base, r->key->offset, &h, sizeof h);
		return SAT_OK;
	}
	store(base, r->key->offset, o->via.bin.ptr, 16);
	if (r->key->type == SAT_KEY_RATCHET)
		store(base, r->key->aux, &has, sizeof has);
	return SAT_OK;
}

static int take_slice(struct reader *r, const msgpack_object *o, void *base)
{
	struct sat_slice s;

	if (r->key->type == SAT_KEY_STR) {
		if (o->type != MSGPACK_OBJECT_STR)
			return bad(r, "is not a string");
		s = (struct sat_slice){ (const uint8_t *)o->via.str.ptr,
					o->via.str.size };
	} else {
		if (o->type != MSGPACK_OBJECT_BIN)
			return bad(r, "is not a bin");
		s = (struct sat_slice){ (const uint8_t *)o->via.bin.ptr,
					o->via.bin.size };
	}
	if (s.len > r->key->aux)
		return bad(r, "is too long");
	store(base, r->key->offset, &s, sizeof s);
	return SAT_OK;
}

static int take_ids(struct reader *r, const msgpack_object *o, void *base)
{
	struct sat_id *ids;
	uint32_t n;

	if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size % 16 != 0 ||
	    o->via.bin.size / 16 > SAT_EVICT_IDS_MAX)
		return bad(r, "is not a list of ids");
	n = o->via.bin.size / 16;
	ids = sat_arena_array(r->a, n, sizeof *ids);
	if (ids == NULL)
		return no_memory(r);
	if (n > 0)
		memcpy(ids, o->via.bin.ptr, o->via.bin.size);
	store(base, r->key->offset, &ids, sizeof ids);
	store(base, r->key->aux, &n, sizeof n);
	return SAT_OK;
}

static int take_scopes(struct reader *r, const msgpack_object *o, void *base)
{
	struct sat_slice in;
	uint32_t *scopes;
	uint32_t n = 0;
	uint64_t step;
	uint64_t last = 0;

	if (o->type != MSGPACK_OBJECT_BIN)
		return bad(r, "is not a bin");
	in = (struct sat_slice){ (const uint8_t *)o->via.bin.ptr,
				 o->via.bin.size };
	for (size_t i = 0; i < in.len; i++)
		n += in.ptr[i] < 0x80;
	if (n > SAT_SCOPES_MAX)
		return bad(r, "has too many scopes");
	scopes = sat_arena_array(r->a, n, sizeof *scopes);
	if (scopes == NULL)
		return no_memory(r);
	for (uint32_t i = 0; i < n; i++) {
		if (!sat_varint_take(&in, &step) || (i > 0 && step == 0) ||
		    step > UINT32_MAX - last)
			return bad(r, "is not a rising list");
		last += step;
		scopes[i] = (uint32_t)last;
	}
	if (in.len != 0 || n == 0 || scopes[0] != 0)
		return bad(r, "does not begin with scope 0");
	store(base, r->key->offset, &scopes, sizeof scopes);
	store(base, r->key->aux, &n, sizeof n);
	return SAT_OK;
}

static int take_steps(struct reader *r, const msgpack_object *o, void *base)
{
	const msgpack_object *pair;
	struct sat_clock_step *steps;
	uint32_t n;

	if (o->type != MSGPACK_OBJECT_ARRAY ||
	    o->via.array.size > SAT_CLOCK_STEPS_MAX)
		return bad(r, "is not a list of at most 32");
	n = o->via.array.size;
	steps = sat_arena_array(r->a, n, sizeof *steps);
	if (steps == NULL)
		return no_memory(r);
	for (uint32_t i = 0; i < n; i++) {
		pair = as_array(&o->via.array.ptr[i], 2);
		if (pair == NULL || !as_int(&pair[0], &steps[i].before_ms) ||
		    !as_int(&pair[1], &steps[i].delta_ms))
			return bad(r, "holds something else than a step");
	}
	store(base, r->key->offset, &steps, sizeof steps);
	store(base, r->key->aux, &n, sizeof n);
	return SAT_OK;
}

static bool as_field(const msgpack_object *o, struct sat_field_name *ret)
{
	const msgpack_object *f = as_array(o, 3);
	uint64_t table, column;

	if (f == NULL || !as_uint(&f[0], UINT32_MAX, &table) ||
	    !is_bin(&f[1], 16) || !as_uint(&f[2], UINT32_MAX, &column) ||
	    table == 0)
		return false;
	ret->table_no = (uint32_t)table;
	memcpy(ret->id.b, f[1].via.bin.ptr, 16);
	ret->column_no = (uint32_t)column;
	return true;
}

static int take_fields(struct reader *r, const msgpack_object *o, void *base)
{
	struct sat_field_name *fields;
	uint32_t n;

	if (o->type != MSGPACK_OBJECT_ARRAY ||
	    o->via.array.size > SAT_VERDICT_FIELDS_MAX)
		return bad(r, "is not a list of at most 4096");
	n = o->via.array.size;
	fields = sat_arena_array(r->a, n, sizeof *fields);
	if (fields == NULL)
		return no_memory(r);
	for (uint32_t i = 0; i < n; i++)
		if (!as_field(&o->via.array.ptr[i], &fields[i]))
			return bad(r, "holds something else than a field");
	store(base, r->key->offset, &fields, sizeof fields);
	store(base, r->key->aux, &n, sizeof n);
	return SAT_OK;
}

static int take_field(struct reader *r, const msgpack_object *o, void *base)
{
	struct sat_field_name f;

	if (!as_field(o, &f))
		return bad(r, "is not [table, id, column]");
	store(base, r->key->offset, &f, sizeof f);
	return SAT_OK;
}

static int take_dot(struct reader *r, const msgpack_object *o, void *base)
{
	const msgpack_object *pair = as_array(o, 2);
	struct sat_dot dot;
	uint64_t replica;

	if (pair == NULL || !as_uint(&pair[0], UINT32_MAX, &replica) ||
	    !as_uint(&pair[1], INT64_MAX, &dot.seq) || replica == 0)
		return bad(r, "is not [replica, seq]");
	dot.replica = (uint32_t)replica;
	store(base, r->key->offset, &dot, sizeof dot);
	return SAT_OK;
}

/* Everything but nested rights. */
static int take_leaf(struct reader *r, const msgpack_object *o, void *base)
{
	switch (r->key->type) {
	case SAT_KEY_U32:
	case SAT_KEY_U64:
	case SAT_KEY_I64:
		return take_number(r, o, base);
	case SAT_KEY_BOOL:
		return take_bool(r, o, base);
	case SAT_KEY_HASH:
	case SAT_KEY_DIGEST:
	case SAT_KEY_RATCHET:
	case SAT_KEY_ID:
		return take_16(r, o, base);
	case SAT_KEY_STR:
	case SAT_KEY_BIN:
		return take_slice(r, o, base);
	case SAT_KEY_IDS:
		return take_ids(r, o, base);
	case SAT_KEY_SCOPES:
		return take_scopes(r, o, base);
	case SAT_KEY_STEPS:
		return take_steps(r, o, base);
	case SAT_KEY_FIELDS:
		return take_fields(r, o, base);
	case SAT_KEY_FIELD:
		return take_field(r, o, base);
	case SAT_KEY_DOT:
		return take_dot(r, o, base);
	case SAT_KEY_RIGHTS:
		break;
	}
	return bad(r, "cannot be read");
}

/* Keys rise (the scan saw to it), so one pass over both lists finds what is
 * there, what is missing and what is unknown. */
static const msgpack_object *find(const msgpack_object_map *m, uint32_t *at,
				  uint8_t key)
{
	while (*at < m->size && m->ptr[*at].key.via.u64 < key)
		++*at;
	if (*at >= m->size || m->ptr[*at].key.via.u64 != key)
		return NULL;
	return &m->ptr[(*at)++].val;
}

static int take_rights(struct reader *r, const msgpack_object *o,
		       struct sat_rights *ret)
{
	const struct sat_key_table *t = sat_rights_keys();
	const struct sat_key *outer = r->key;
	const msgpack_object *value;
	uint32_t at = 0;
	int rc;

	if (o->type != MSGPACK_OBJECT_MAP)
		return bad(r, "is not a map");
	for (uint8_t i = 0; i < t->count; i++) {
		r->key = &t->keys[i];
		value = find(&o->via.map, &at, r->key->key);
		if (value == NULL)
			return bad(r, "is missing in rights");
		rc = take_leaf(r, value, ret);
		if (rc != SAT_OK)
			return rc;
	}
	r->key = outer;
	return SAT_OK;
}

static int take_message(struct reader *r, const struct sat_key_table *t,
			const msgpack_object *o, void *base)
{
	const msgpack_object *value;
	uint32_t at = 0;
	int rc;

	for (uint8_t i = 0; i < t->count; i++) {
		r->key = &t->keys[i];
		value = find(&o->via.map, &at, r->key->key);
		if (value == NULL && r->key->mandatory)
			return bad(r, "is missing");
		if (value == NULL)
			continue;
		if (r->key->type == SAT_KEY_RIGHTS)
			rc = take_rights(
				r, value,
				(void *)((char *)base + r->key->offset));
		else
			rc = take_leaf(r, value, base);
		if (rc != SAT_OK)
			return rc;
	}
	return SAT_OK;
}

static bool repair_fits(const struct sat_msg_repair *m)
{
	size_t sum = m->step == SAT_REPAIR_SCOPES ? SAT_REPAIR_SCOPE_BYTES : 16;

	return m->no != 0 && m->id_count <= SAT_REPAIR_IDS_MAX &&
	       m->count <= SAT_REPAIR_IDS_MAX &&
	       m->ranges.len % (SAT_REPAIR_RANGES / 8) == 0 &&
	       m->sums.len % sum == 0 &&
	       (m->step != SAT_REPAIR_SUMS || m->sums.len == 0 ||
		m->sums.len == sum * SAT_REPAIR_RANGES) &&
	       m->list.len % SAT_REPAIR_LIST_BYTES == 0;
}

/* What one key alone cannot tell. */
static int judge(const struct sat_msg *m, struct sat_err *err)
{
	const struct sat_msg_push *p = &m->push;

	if (m->type == SAT_MSG_PUSH &&
	    (p->seq == 0 || p->bytes.len == 0 || p->bytes.len > p->total))
		return sat_err_set(err, SAT_E_PROTO, 0, "message",
				   "PUSH: seq, part and total do not fit");
	if (m->type == SAT_MSG_REPAIR && !repair_fits(&m->repair))
		return sat_err_set(err, SAT_E_PROTO, 0, "message",
				   "REPAIR: number, step and lists do not fit");
	if (m->type == SAT_MSG_HELLO &&
	    m->hello.version_min > m->hello.version_max)
		return sat_err_set(err, SAT_E_PROTO, 0, "message",
				   "HELLO: versions are the wrong way round");
	return SAT_OK;
}

static int scan(const char *name, struct sat_slice plain, struct sat_err *err)
{
	size_t used = 0;
	int rc = sat_mp_check(plain, &sat_mp_message, &used);

	if (rc == SAT_E_LIMIT)
		return sat_err_set(err, rc, 0, "message",
				   "%s: too deep or too many values", name);
	if (rc != SAT_OK || used != plain.len)
		return sat_err_set(err, SAT_E_PROTO, 0, "message",
				   "%s: not one good msgpack value", name);
	return SAT_OK;
}

int sat_msg_decode(uint8_t type, struct sat_slice plain, struct sat_arena *a,
		   struct sat_msg *ret, struct sat_err *err)
{
	const struct sat_key_table *t = sat_msg_keys(type);
	struct sat_msg m;
	struct reader r = { .a = a, .err = err };
	msgpack_unpacked top;
	size_t at = 0;
	int rc;

	if (t == NULL)
		return SAT_AGAIN;
	r.message = t->name;
	rc = scan(t->name, plain, err);
	if (rc != SAT_OK)
		return rc;
	memset(&m, 0, sizeof m);
	m.type = (enum sat_msg_type)type;
	msgpack_unpacked_init(&top);
	if (msgpack_unpack_next(&top, (const char *)plain.ptr, plain.len,
				&at) != MSGPACK_UNPACK_SUCCESS)
		rc = no_memory(&r); /* after the scan, nothing else is left */
	else if (top.data.type != MSGPACK_OBJECT_MAP)
		rc = sat_err_set(err, SAT_E_PROTO, 0, "message",
				 "%s: not a map", t->name);
	else
		rc = take_message(&r, t, &top.data, &m.hello);
	msgpack_unpacked_destroy(&top);
	if (rc == SAT_OK)
		rc = judge(&m, err);
	if (rc == SAT_OK)
		*ret = m;
	return rc;
}
