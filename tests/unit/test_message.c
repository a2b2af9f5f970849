#include "tests/unit/wire_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/message_keys.h"
#include "proto/pack.h"

struct bench {
	struct sat_arena a;
	struct sat_buf frame, plain;
	struct sat_err err;
	struct sat_msg back;
};

static void up(struct bench *t)
{
	memset(t, 0, sizeof *t);
	sat_arena_init(&t->a, 4 * 1024 * 1024);
	sat_buf_init(&t->frame, 2 * 1024 * 1024);
	sat_buf_init(&t->plain, 2 * 1024 * 1024);
}

static void down(struct bench *t)
{
	sat_arena_fini(&t->a);
	sat_buf_fini(&t->frame);
	sat_buf_fini(&t->plain);
}

/* The payload of the sample's frame. */
static struct sat_slice payload(struct bench *t, const struct sat_msg *m)
{
	struct sat_frame f;
	size_t used;

	sat_buf_clear(&t->frame);
	assert_int_equal(sat_msg_encode(NULL, m, &t->frame), SAT_OK);
	assert_int_equal(sat_frame_take(sat_buf_peek(&t->frame),
					SAT_FRAME_BYTES_MAX, &f, &used),
			 SAT_OK);
	assert_int_equal(used, sat_buf_peek(&t->frame).len);
	assert_int_equal(f.type, m->type);
	assert_int_equal(f.flags, 0);
	return f.payload;
}

static int decode(struct bench *t, uint8_t type, struct sat_slice s)
{
	return sat_msg_decode(type, s, &t->a, &t->back, &t->err);
}

static void every_message_comes_back(void **state)
{
	uint32_t count;
	const struct fx_sample *s = fx_samples(&count);
	uint32_t kinds = 0;
	struct bench t;

	(void)state;
	up(&t);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(decode(&t, (uint8_t)s[i].msg.type,
					payload(&t, &s[i].msg)),
				 SAT_OK);
		fx_same_message(&s[i].msg, &t.back);
		kinds |= 1u << s[i].msg.type;
	}
	for (uint8_t type = 0; type < 32; type++)
		assert_int_equal(sat_msg_keys(type) != NULL,
				 (kinds >> type & 1) != 0);
	down(&t);
}

/* Write the payload again with one change: drop key `drop`, replace the value
 * of key `spoil` by a float (no message has one), add unknown keys. */
static struct sat_slice rewrite(struct bench *t, struct sat_slice from,
				uint64_t drop, uint64_t spoil, bool unknown)
{
	struct sat_cursor c = { from, 0 };
	struct sat_pack p = { &t->plain, SAT_OK };
	struct sat_slice value;
	uint64_t key;
	uint32_t n;

	sat_buf_clear(&t->plain);
	assert_true(sat_take_map(&c, &n));
	sat_pack_map(&p, n - (drop != 0) + (unknown ? 2 : 0));
	for (uint32_t i = 0; i < n; i++) {
		assert_true(sat_take_uint(&c, 255, &key));
		assert_true(sat_take_any(&c, &value));
		if (key == drop)
			continue;
		sat_pack_uint(&p, key);
		if (key == spoil)
			sat_pack_raw(&p, "\xca\0\0\0\0", 5);
		else
			sat_pack_raw(&p, value.ptr, value.len);
	}
	if (unknown) {
		sat_pack_uint(&p, 200);
		sat_pack_raw(&p, "\x82\x01\xa1z\x02\x92\xc0\xc3", 8);
		sat_pack_uint(&p, UINT64_MAX);
		sat_pack_nil(&p);
	}
	assert_int_equal(p.rc, SAT_OK);
	return sat_buf_peek(&t->plain);
}

static bool has_key(struct sat_slice payload, uint64_t wanted)
{
	struct sat_cursor c = { payload, 0 };
	uint64_t key;
	uint32_t n;

	assert_true(sat_take_map(&c, &n));
	for (uint32_t i = 0; i < n; i++) {
		assert_true(sat_take_uint(&c, 255, &key));
		if (key == wanted)
			return true;
		assert_true(sat_take_any(&c, NULL));
	}
	return false;
}

static void missing_and_wrong_keys_are_named(void **state)
{
	uint32_t count;
	const struct fx_sample *s = fx_samples(&count);
	const struct sat_key_table *k;
	struct bench t;
	struct sat_slice p;
	char want[64];
	int rc;

	(void)state;
	up(&t);
	for (uint32_t i = 0; i < count; i++) {
		k = sat_msg_keys((uint8_t)s[i].msg.type);
		for (uint8_t j = 0; j < k->count; j++) {
			p = payload(&t, &s[i].msg);
			if (!has_key(p, k->keys[j].key))
				continue;
			snprintf(want, sizeof want, "%s key %u", k->name,
				 k->keys[j].key);
			rc = decode(&t, (uint8_t)s[i].msg.type,
				    rewrite(&t, p, k->keys[j].key, 0, false));
			assert_int_equal(rc, k->keys[j].mandatory ? SAT_E_PROTO
								  : SAT_OK);
			if (rc != SAT_OK)
				assert_non_null(strstr(t.err.msg, want));
			rc = decode(&t, (uint8_t)s[i].msg.type,
				    rewrite(&t, p, 0, k->keys[j].key, false));
			assert_int_equal(rc, SAT_E_PROTO);
			assert_non_null(strstr(t.err.msg, want));
		}
	}
	down(&t);
}

static void unknown_keys_are_ignored(void **state)
{
	uint32_t count;
	const struct fx_sample *s = fx_samples(&count);
	struct bench t;

	(void)state;
	up(&t);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(
			decode(&t, (uint8_t)s[i].msg.type,
			       rewrite(&t, payload(&t, &s[i].msg), 0, 0, true)),
			SAT_OK);
		fx_same_message(&s[i].msg, &t.back);
	}
	down(&t);
}

static void broken_payloads_are_refused(void **state)
{
	static const struct {
		const char *why;
		uint8_t type;
		const char *bytes;
		size_t len;
		int rc;
	} rows[] = {
		{ "PING as it should be", 12, "\x82\x01\x05\x02\x06", 5,
		  SAT_OK },
		{ "a key twice", 12, "\x83\x01\x05\x01\x05\x02\x06", 7,
		  SAT_E_PROTO },
		{ "keys that fall", 12, "\x82\x02\x06\x01\x05", 5,
		  SAT_E_PROTO },
		{ "bytes after the value", 12, "\x82\x01\x05\x02\x06\xc0", 6,
		  SAT_E_PROTO },
		{ "cut short", 12, "\x82\x01\x05\xcd\0", 5, SAT_E_PROTO },
		{ "a value short", 12, "\x82\x01\x05\x02", 4, SAT_E_LIMIT },
		{ "an array", 12, "\x92\x05\x06", 3, SAT_E_PROTO },
		{ "text as a key", 12, "\x82\xa1k\x05\x02\x06", 6,
		  SAT_E_PROTO },
		{ "nothing at all", 12, "", 0, SAT_E_PROTO },
		{ "128 GiB in five bytes", 12, "\xdd\xff\x00\x00\x00", 5,
		  SAT_E_LIMIT },
		{ "a negative nonce", 12, "\x82\x01\xff\x02\x06", 5,
		  SAT_E_PROTO },
		{ "a clock beyond int64", 12,
		  "\x82\x01\x05\x02\xcf\x80\0\0\0\0\0\0\0", 13, SAT_E_PROTO },
		{ "REPAIR without a number", 11, "\x82\x01\x00\x02\x00", 5,
		  SAT_E_PROTO },
		{ "REPAIR of an unknown step", 11, "\x82\x01\x01\x02\x04", 5,
		  SAT_E_PROTO },
		{ "REPAIR with ranges cut short", 11,
		  "\x83\x01\x01\x02\x02\x04\xc4\x01\xff", 9, SAT_E_PROTO },
		{ "REPAIR with a sum cut short", 11,
		  "\x83\x01\x01\x02\x01\x08\xc4\x01\xff", 9, SAT_E_PROTO },
		{ "REPAIR with a list cut short", 11,
		  "\x83\x01\x01\x02\x02\x09\xc4\x01\xff", 9, SAT_E_PROTO },
		{ "MOVED is reserved", 16, "\x80", 1, SAT_AGAIN },
		{ "a type of the future", 200, "\x80", 1, SAT_AGAIN },
		{ "type 0", 0, "\x80", 1, SAT_AGAIN },
		{ "PUSH of seq 0", 3,
		  "\x84\x01\x00\x02\x00\x04\x01\x05\xc4\x01z", 11,
		  SAT_E_PROTO },
		{ "PUSH longer than its total", 3,
		  "\x84\x01\x01\x02\x00\x04\x01\x05\xc4\x02zz", 12,
		  SAT_E_PROTO },
		{ "EVICT with half an id", 6,
		  "\x83\x01\x01\x02\x03\x03\xc4\x08idididid", 16, SAT_E_PROTO },
		{ "VERDICT with a status of the future", 4,
		  "\x82\x01\x01\x02\x04", 5, SAT_E_PROTO },
		{ "VERDICT about table 0", 4,
		  "\x83\x01\x01\x02\x00\x08\x93\x00\xc4\x10"
		  "iiiiiiiiiiiiiiii\x01",
		  27, SAT_E_PROTO },
		{ "GRANT whose scopes stand still", 9,
		  "\x85\x01\x01\x02\xc4\x03\x00\x01\x00\x03\x00\x04\xc4\x10"
		  "iiiiiiiiiiiiiiii\x05\xc4\x10iiiiiiiiiiiiiiii",
		  49, SAT_E_PROTO },
		{ "GRANT without scope 0", 9,
		  "\x85\x01\x01\x02\xc4\x01\x01\x03\x00\x04\xc4\x10"
		  "iiiiiiiiiiiiiiii\x05\xc4\x10iiiiiiiiiiiiiiii",
		  47, SAT_E_PROTO },
		{ "GRANT with a role of the future", 9,
		  "\x85\x01\x01\x02\xc4\x01\x00\x03\x06\x04\xc4\x10"
		  "iiiiiiiiiiiiiiii\x05\xc4\x10iiiiiiiiiiiiiiii",
		  47, SAT_E_PROTO },
	};
	struct bench t;

	(void)state;
	up(&t);
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		struct sat_slice in = { (const uint8_t *)rows[i].bytes,
					rows[i].len };

		if (decode(&t, rows[i].type, in) != rows[i].rc)
			fail_msg("%s", rows[i].why);
	}
	down(&t);
}

static void only_high_types_may_be_ignored(void **state)
{
	(void)state;
	assert_false(sat_msg_ignorable(0));
	assert_false(sat_msg_ignorable(127));
	assert_true(sat_msg_ignorable(128));
	assert_true(sat_msg_ignorable(255));
	assert_string_equal(sat_msg_name(SAT_MSG_HELLO), "HELLO");
	assert_string_equal(sat_msg_name(99), "unknown");
}

/* Fail the first allocation, then the second, ... until a decode is clean. */
static void memory_runs_out_cleanly(void **state)
{
	uint32_t count;
	const struct fx_sample *s = fx_samples(&count);
	struct sat_slice p;
	struct bench t;
	size_t max;
	int rc;

	(void)state;
	up(&t);
	for (uint32_t i = 0; i < count; i++) {
		p = payload(&t, &s[i].msg);
		for (max = 0;; max += 16) {
			struct sat_arena small;

			sat_arena_init(&small, max);
			rc = sat_msg_decode((uint8_t)s[i].msg.type, p, &small,
					    &t.back, &t.err);
			sat_arena_fini(&small);
			if (rc == SAT_OK)
				break;
			assert_int_equal(rc, SAT_E_NOMEM);
			assert_true(max < 4096);
		}
	}
	down(&t);
}

/* ERROR: code 1 and a text of n letters. */
static int decode_text(struct bench *t, size_t n)
{
	struct sat_pack p = { &t->plain, SAT_OK };
	static uint8_t letters[600];

	memset(letters, 'z', sizeof letters);
	sat_buf_clear(&t->plain);
	sat_pack_map(&p, 2);
	sat_pack_uint(&p, 1);
	sat_pack_uint(&p, 1);
	sat_pack_uint(&p, 4);
	sat_pack_str(&p, (struct sat_slice){ letters, n });
	assert_int_equal(p.rc, SAT_OK);
	return decode(t, SAT_MSG_ERROR, sat_buf_peek(&t->plain));
}

static void too_much_is_not_read(void **state)
{
	struct bench t;

	(void)state;
	up(&t);
	assert_int_equal(decode_text(&t, 500), SAT_OK);
	assert_int_equal(decode_text(&t, 501), SAT_E_PROTO);
	assert_non_null(strstr(t.err.msg, "ERROR key 4 (text): is too long"));
	down(&t);
}

static void too_much_is_not_written(void **state)
{
	static struct sat_clock_step steps[SAT_CLOCK_STEPS_MAX + 1];
	static struct sat_field_name fields[SAT_VERDICT_FIELDS_MAX + 1];
	struct sat_msg m = { .type = SAT_MSG_HELLO };
	struct bench t;

	(void)state;
	up(&t);
	m.hello.steps = steps;
	m.hello.step_count = SAT_COUNT_OF(steps);
	assert_int_equal(sat_msg_encode(NULL, &m, &t.frame), SAT_E_LIMIT);
	m = (struct sat_msg){ .type = SAT_MSG_EVICT };
	m.evict.ids = (const struct sat_id *)(const void *)fields;
	m.evict.id_count = SAT_EVICT_IDS_MAX + 1;
	assert_int_equal(sat_msg_encode(NULL, &m, &t.frame), SAT_E_LIMIT);
	m = (struct sat_msg){ .type = SAT_MSG_ERROR };
	m.error.text = (struct sat_slice){ (const uint8_t *)fields, 501 };
	assert_int_equal(sat_msg_encode(NULL, &m, &t.frame), SAT_E_LIMIT);
	assert_int_equal(sat_buf_peek(&t.frame).len, 0);

	/* Conflicts are cut instead: the ledger names them all anyway. */
	for (size_t i = 0; i < SAT_COUNT_OF(fields); i++)
		fields[i].table_no = 1;
	m = (struct sat_msg){ .type = SAT_MSG_VERDICT };
	m.verdict.seq = 1;
	m.verdict.conflicts = fields;
	m.verdict.conflict_count = SAT_COUNT_OF(fields);
	assert_int_equal(decode(&t, SAT_MSG_VERDICT, payload(&t, &m)), SAT_OK);
	assert_int_equal(t.back.verdict.conflict_count, SAT_VERDICT_FIELDS_MAX);
	down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_comes_back),
		cmocka_unit_test(missing_and_wrong_keys_are_named),
		cmocka_unit_test(unknown_keys_are_ignored),
		cmocka_unit_test(broken_payloads_are_refused),
		cmocka_unit_test(only_high_types_may_be_ignored),
		cmocka_unit_test(memory_runs_out_cleanly),
		cmocka_unit_test(too_much_is_not_read),
		cmocka_unit_test(too_much_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
