#include "proto/message_keys.h"
#include "proto/pack.h"

#include <string.h>

/* Members are reached by offset; memcpy keeps that free of aliasing doubts. */
#define LOAD(type, base, offset) \
	(*(const type *)(const void *)((const char *)(base) + (offset)))

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i] != 0)
			return false;
	return true;
}

static bool is_empty(const struct sat_key *k, const void *base)
{
	const char *at = (const char *)base + k->offset;

	switch (k->type) {
	case SAT_KEY_U32:
		return all_zero(at, sizeof(uint32_t));
	case SAT_KEY_U64:
	case SAT_KEY_I64:
		return all_zero(at, sizeof(uint64_t));
	case SAT_KEY_BOOL:
		return !LOAD(bool, base, k->offset);
	case SAT_KEY_HASH:
	case SAT_KEY_DIGEST:
	case SAT_KEY_ID:
		return all_zero(at, 16);
	case SAT_KEY_RATCHET:
		return !LOAD(bool, base, k->aux);
	case SAT_KEY_STR:
	case SAT_KEY_BIN:
		return LOAD(struct sat_slice, base, k->offset).len == 0;
	case SAT_KEY_IDS:
	case SAT_KEY_SCOPES:
	case SAT_KEY_STEPS:
	case SAT_KEY_FIELDS:
		return LOAD(uint32_t, base, k->aux) == 0;
	case SAT_KEY_FIELD:
		return LOAD(struct sat_field_name, base, k->offset).table_no ==
		       0;
	case SAT_KEY_DOT:
		return LOAD(struct sat_dot, base, k->offset).replica == 0;
	case SAT_KEY_RIGHTS:
		break;
	}
	return false;
}

static void limit(struct sat_pack *p)
{
	if (p->rc == SAT_OK)
		p->rc = SAT_E_LIMIT;
}

static void put_bytes16(struct sat_pack *p, const void *bytes)
{
	sat_pack_bin(p, (struct sat_slice){ bytes, 16 });
}

static void put_field(struct sat_pack *p, const struct sat_field_name *f)
{
	sat_pack_array(p, 3);
	sat_pack_uint(p, f->table_no);
	put_bytes16(p, f->id.b);
	sat_pack_uint(p, f->column_no);
}

static void put_fields(struct sat_pack *p, const struct sat_field_name *f,
		       uint32_t n)
{
	if (n > SAT_VERDICT_FIELDS_MAX)
		n = SAT_VERDICT_FIELDS_MAX;
	sat_pack_array(p, n);
	for (uint32_t i = 0; i < n; i++)
		put_field(p, &f[i]);
}

static void put_steps(struct sat_pack *p, const struct sat_clock_step *s,
		      uint32_t n)
{
	if (n > SAT_CLOCK_STEPS_MAX)
		limit(p);
	sat_pack_array(p, n);
	for (uint32_t i = 0; i < n; i++) {
		sat_pack_array(p, 2);
		sat_pack_int(p, s[i].before_ms);
		sat_pack_int(p, s[i].delta_ms);
	}
}

/* Rising numbers: the first, then each one's distance to the one before. */
static void put_scopes(struct sat_pack *p, const uint32_t *scopes, uint32_t n)
{
	struct sat_buf bytes;
	struct sat_pack bin = { &bytes, SAT_OK };
	uint32_t last = 0;

	if (n > SAT_SCOPES_MAX)
		limit(p);
	sat_buf_init(&bytes, (size_t)SAT_SCOPES_MAX * 5);
	for (uint32_t i = 0; i < n; i++) {
		sat_pack_varint(&bin, scopes[i] - last);
		last = scopes[i];
	}
	if (p->rc == SAT_OK)
		p->rc = bin.rc;
	sat_pack_bin(p, sat_buf_peek(&bytes));
	sat_buf_fini(&bytes);
}

static void put_ids(struct sat_pack *p, const struct sat_id *ids, uint32_t n)
{
	if (n > SAT_EVICT_IDS_MAX)
		limit(p);
	sat_pack_bin(p, (struct sat_slice){ (const uint8_t *)ids,
					    (size_t)n * sizeof *ids });
}

static void put_slice(struct sat_pack *p, const struct sat_key *k,
		      struct sat_slice s)
{
	if (s.len > k->aux)
		limit(p);
	if (k->type == SAT_KEY_STR)
		sat_pack_str(p, s);
	else
		sat_pack_bin(p, s);
}

static void put_list(struct sat_pack *p, const struct sat_key *k,
		     const void *base)
{
	const void *list = LOAD(void *, base, k->offset);
	uint32_t n = LOAD(uint32_t, base, k->aux);

	if (k->type == SAT_KEY_IDS)
		put_ids(p, list, n);
	else if (k->type == SAT_KEY_SCOPES)
		put_scopes(p, list, n);
	else if (k->type == SAT_KEY_STEPS)
		put_steps(p, list, n);
	else
		put_fields(p, list, n);
}

/* Everything but nested rights. */
static void put_leaf(struct sat_pack *p, const struct sat_key *k,
		     const void *base)
{
	const char *at = (const char *)base + k->offset;
	uint8_t packed[16];
	struct sat_dot dot;

	switch (k->type) {
	case SAT_KEY_U32:
		sat_pack_uint(p, LOAD(uint32_t, base, k->offset));
		break;
	case SAT_KEY_U64:
		sat_pack_uint(p, LOAD(uint64_t, base, k->offset));
		break;
	case SAT_KEY_I64:
		sat_pack_int(p, LOAD(int64_t, base, k->offset));
		break;
	case SAT_KEY_BOOL:
		sat_pack_bool(p, LOAD(bool, base, k->offset));
		break;
	case SAT_KEY_HASH:
	case SAT_KEY_RATCHET:
	case SAT_KEY_ID:
		put_bytes16(p, at);
		break;
	case SAT_KEY_DIGEST:
		sat_hash_pack(LOAD(struct sat_hash, base, k->offset), packed);
		put_bytes16(p, packed);
		break;
	case SAT_KEY_STR:
	case SAT_KEY_BIN:
		put_slice(p, k, LOAD(struct sat_slice, base, k->offset));
		break;
	case SAT_KEY_FIELD:
		put_field(p, (const struct sat_field_name *)(const void *)at);
		break;
	case SAT_KEY_DOT:
		dot = LOAD(struct sat_dot, base, k->offset);
		sat_pack_array(p, 2);
		sat_pack_uint(p, dot.replica);
		sat_pack_uint(p, dot.seq);
		break;
	default:
		put_list(p, k, base);
	}
}

static uint32_t present(const struct sat_key_table *t, const void *base)
{
	uint32_t n = 0;

	for (uint8_t i = 0; i < t->count; i++)
		n += t->keys[i].mandatory || !is_empty(&t->keys[i], base);
	return n;
}

static void put_rights(struct sat_pack *p, const struct sat_rights *r)
{
	const struct sat_key_table *t = sat_rights_keys();

	sat_pack_map(p, t->count);
	for (uint8_t i = 0; i < t->count; i++) {
		sat_pack_uint(p, t->keys[i].key);
		put_leaf(p, &t->keys[i], r);
	}
}

static void put_message(struct sat_pack *p, const struct sat_key_table *t,
			const void *base)
{
	const struct sat_key *k;

	sat_pack_map(p, present(t, base));
	for (uint8_t i = 0; i < t->count; i++) {
		k = &t->keys[i];
		if (!k->mandatory && is_empty(k, base))
			continue;
		sat_pack_uint(p, k->key);
		if (k->type == SAT_KEY_RIGHTS)
			put_rights(p,
				   &LOAD(struct sat_rights, base, k->offset));
		else
			put_leaf(p, k, base);
	}
}

int sat_msg_encode(struct sat_zip *z, const struct sat_msg *m,
		   struct sat_buf *out)
{
	const struct sat_key_table *t = sat_msg_keys((uint8_t)m->type);
	struct sat_buf plain;
	struct sat_pack p = { &plain, SAT_OK };
	int rc;

	SAT_ASSERT(t != NULL);
	sat_buf_init(&plain, SAT_UNZIP_BYTES_MAX);
	put_message(&p, t, &m->hello);
	rc = p.rc;
	if (rc == SAT_OK)
		rc = sat_frame_put(z, (uint8_t)m->type, sat_buf_peek(&plain),
				   out);
	sat_buf_fini(&plain);
	return rc;
}
