#include "tests/unit/wire_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/text.h"
#include "proto/message_keys.h"
#include "tests/unit/wire_fixture.h"

enum { SAMPLES_MAX = 48 };

static struct fx_sample samples[SAMPLES_MAX];
static uint32_t sample_count;

static const struct sat_id ann = { { 0x01, 0x9a, 0x7d, 0x55, 0x10, 0x00, 0x70,
				     0x01, 0x80, 1, 1, 1, 1, 1, 1, 1 } };
static const struct sat_id east = { { 0x01, 0x9a, 0x7d, 0x55, 0x10, 0x00, 0x70,
				      0x02, 0x80, 2, 2, 2, 2, 2, 2, 2 } };
static const struct sat_id row_x = { { 0x01, 0x9a, 0x7d, 0x55, 0x20, 0x00, 0x70,
				       0x03, 0x80, 3, 3, 3, 3, 3, 3, 3 } };
static const uint64_t epoch = 0x5a7c4e1100000001u;
static const int64_t noon = 1795262400000; /* 2026-11-21T12:00:00Z */
static const uint32_t scopes[] = { 0, 4, 17, 300 };
static const struct sat_clock_step steps[] = { { 1795250000000, -31536000000 },
					       { 1795260000000, 1500 } };

static struct sat_msg *add(const char *file, const char *name,
			   enum sat_msg_type type, const char *meaning)
{
	struct fx_sample *s = &samples[sample_count++];

	SAT_ASSERT(sample_count <= SAMPLES_MAX);
	*s = (struct fx_sample){ file, name, meaning, { .type = type } };
	return &s->msg;
}

static struct sat_rights rights(void)
{
	return (struct sat_rights){ .version = 3,
				    .scopes = scopes,
				    .scope_count = SAT_COUNT_OF(scopes),
				    .role = SAT_ROLE_REP,
				    .user = ann,
				    .home = east };
}

static void add_hellos(void)
{
	struct sat_msg *m;

	m = add("hello", "hello-first", SAT_MSG_HELLO,
		"replica 7 right after its enrolment: nothing synced yet");
	m->hello = (struct sat_msg_hello){
		.version_min = 1,
		.version_max = 1,
		.replica = 7,
		.epoch = 0,
		.catalogue = 7,
		.raw_ms = noon + 250,
		.grants = 3,
		.software = sat_slice_str("satcheld 0.1.0"),
	};
	m = add("hello", "hello-back", SAT_MSG_HELLO,
		"replica 7 back after two days offline, two clock steps, "
		"changeset 42 waiting");
	m->hello = (struct sat_msg_hello){
		.version_min = 1,
		.version_max = 2,
		.replica = 7,
		.epoch = epoch,
		.catalogue = 7,
		.cursor = 9001,
		.verdict_seq = 41,
		.last_seq = 42,
		.raw_ms = noon + 1500,
		.steps = steps,
		.step_count = SAT_COUNT_OF(steps),
		.grants = 3,
	};
	memset(m->hello.last_hash, 0xc4, 16);
	memset(m->hello.ratchet, 0x71, 16);
	m = add("hello", "hello-cut", SAT_MSG_HELLO,
		"replica 7 again: its first pull was cut behind mark-half");
	m->hello = (struct sat_msg_hello){
		.version_min = 1,
		.version_max = 1,
		.replica = 7,
		.epoch = epoch,
		.catalogue = 7,
		.raw_ms = noon + 9000,
		.mark = { (const uint8_t *)"\x01\x5a\x7c\x4e\x11", 5 },
	};
	memset(m->hello.ratchet, 0x72, 16);
	m = add("welcome", "welcome-first", SAT_MSG_WELCOME,
		"version 1, the server has no changeset of this replica");
	m->welcome = (struct sat_msg_welcome){
		.version = 1,
		.epoch = epoch,
		.head = 9001,
		.catalogue = 7,
		.server_ms = noon,
		.offset_ms = -250,
		.rights = rights(),
		.push_window = 1048576,
		.rows = 8811,
	};
	memset(m->welcome.ratchet, 0x72, 16);
	m = add("welcome", "welcome-on", SAT_MSG_WELCOME,
		"the same, and the feed goes on behind mark-half");
	m->welcome = (struct sat_msg_welcome){
		.version = 1,
		.epoch = epoch,
		.head = 9020,
		.catalogue = 7,
		.server_ms = noon + 9000,
		.rights = rights(),
		.push_window = 1048576,
		.resumed = true,
	};
	memset(m->welcome.ratchet, 0x73, 16);
	m = add("welcome", "welcome-rebase", SAT_MSG_WELCOME,
		"the same after a year of silence: everything comes again");
	m->welcome = (struct sat_msg_welcome){
		.version = 1,
		.epoch = epoch,
		.head = 19020,
		.last_seq = 41,
		.catalogue = 7,
		.server_ms = noon + 31536000000,
		.rights = rights(),
		.push_window = 1048576,
		.rebase = true,
	};
	memset(m->welcome.ratchet, 0x74, 16);
	m = add("welcome", "welcome-renew", SAT_MSG_WELCOME,
		"the first again, while the server's CA is replaced");
	m->welcome = (struct sat_msg_welcome){
		.version = 1,
		.epoch = epoch,
		.head = 9001,
		.catalogue = 7,
		.server_ms = noon,
		.offset_ms = -250,
		.rights = rights(),
		.push_window = 1048576,
		.renew = true,
	};
	memset(m->welcome.ratchet, 0x72, 16);
}

static void add_pushes(void)
{
	static const uint8_t half[] = { 1, 2, 3, 4, 5 };
	static struct sat_field_name conflict;
	struct sat_msg *m;

	m = add("push", "push-part", SAT_MSG_PUSH,
		"changeset 42, the first 5 of its 8 bytes");
	m->push = (struct sat_msg_push){ .seq = 42,
					 .total = 8,
					 .bytes = { half, 5 } };
	m = add("push", "push-last", SAT_MSG_PUSH,
		"the other 3 bytes; hash: XXH3-128 of 0102030405010203");
	m->push = (struct sat_msg_push){ .seq = 42,
					 .part = 1,
					 .last = true,
					 .total = 8,
					 .bytes = { half, 3 } };
	sat_hash_pack(sat_hash_bytes((struct sat_slice){
			      (const uint8_t *)"\1\2\3\4\5\1\2\3", 8 }),
		      m->push.hash);
	m = add("verdict", "verdict-applied", SAT_MSG_VERDICT,
		"changeset 41 is applied as held; its rows got 9002 and on");
	m->verdict = (struct sat_msg_verdict){ .seq = 41,
					       .flags = SAT_VERDICT_AS_HELD,
					       .first_seq = 9002,
					       .offset_ms = -250 };
	conflict = (struct sat_field_name){ 3, row_x, 10 };
	m = add("verdict", "verdict-merged", SAT_MSG_VERDICT,
		"changeset 42 is applied, with a conflict in table 3, column "
		"10");
	m->verdict = (struct sat_msg_verdict){ .seq = 42,
					       .status = SAT_VERDICT_MERGED,
					       .first_seq = 9010,
					       .offset_ms = -250,
					       .conflicts = &conflict,
					       .conflict_count = 1 };
	m = add("verdict", "verdict-rejected", SAT_MSG_VERDICT,
		"changeset 43 is rejected (replayed): reason 11, it depends on "
		"(7,40)");
	m->verdict = (struct sat_msg_verdict){
		.seq = 43,
		.status = SAT_VERDICT_REJECTED,
		.flags = SAT_VERDICT_REPLAY,
		.reason = 11,
		.where = { 3, row_x, 0 },
		.depends = { 7, 40 },
	};
}

static void add_feed(void)
{
	static uint8_t author[20] = { 0, 0, 0, 7 };
	static const uint8_t page[] = { 0x83, 0x01, 0x00, 0x02, 0x92, 0xc4,
					0x00, 0xc4, 0x00, 0x03, 0xc4, 0x00 };
	static struct sat_id ids[2];
	struct sat_msg *m;

	memcpy(author + 4, ann.b, sizeof ann.b);
	m = add("rows", "rows-refs", SAT_MSG_ROWS,
		"scope 17, table 3: a page of references without rows");
	m->rows = (struct sat_msg_rows){
		.scope = 17, .table_no = 3, .refs = true, .page = { page, 12 }
	};
	m = add("rows", "rows-more", SAT_MSG_ROWS,
		"the first 4 bytes of a page that goes on in the next frame");
	m->rows = (struct sat_msg_rows){
		.scope = 17, .table_no = 3, .more = true, .page = { page, 4 }
	};
	m = add("rows", "rows-authors", SAT_MSG_ROWS,
		"the same, and replica 7 is Ann's");
	m->rows = (struct sat_msg_rows){ .scope = 17,
					 .table_no = 3,
					 .more = true,
					 .page = { page, 4 },
					 .authors = { author, 20 } };
	m = add("rows", "rows-repair", SAT_MSG_ROWS,
		"rows that were asked for (none in this page)");
	m->rows = (struct sat_msg_rows){
		.scope = 17, .table_no = 3, .repair = true, .page = { page, 12 }
	};
	ids[0] = row_x;
	ids[1] = ann;
	m = add("evict", "evict-two", SAT_MSG_EVICT,
		"two rows of table 3 left scope 17");
	m->evict = (struct sat_msg_evict){ 17, 3, ids, 2 };
	m = add("checkpoint", "checkpoint-live", SAT_MSG_CHECKPOINT,
		"everything up to 9012: 1,204 memberships, their digest");
	m->checkpoint = (struct sat_msg_checkpoint){
		.cursor = 9012,
		.digest = { 0x1112131415161718u, 0x0102030405060708u },
		.rows = 1204,
		.server_ms = noon + 40,
	};
	m = add("checkpoint", "checkpoint-floor", SAT_MSG_CHECKPOINT,
		"the same; what was deleted up to 4000 is forgotten");
	m->checkpoint = (struct sat_msg_checkpoint){
		.cursor = 9012,
		.digest = { 0x1112131415161718u, 0x0102030405060708u },
		.rows = 1204,
		.server_ms = noon + 40,
		.floor = 4000,
	};
	m = add("credit", "credit-window", SAT_MSG_CREDIT,
		"65,536 bytes are staged or spooled");
	m->credit = (struct sat_msg_credit){ .bytes = 65536 };
	m = add("credit", "credit-stored", SAT_MSG_CREDIT,
		"verdicts to 42, checkpoint 9012 (applied when 43 was the "
		"last changeset) and the new ratchet are durable");
	m->credit = (struct sat_msg_credit){ .verdict_seq = 42,
					     .cursor = 9012,
					     .has_ratchet = true,
					     .last_seq = 43,
					     .trip_ms = 40 };
	memset(m->credit.ratchet, 0x72, 16);
}

static void add_repairs(void)
{
	static uint8_t ranges[SAT_REPAIR_RANGES / 8], sums[40], list[26];
	struct sat_msg *m;

	ranges[0] = 0x04; /* range 2 */
	sums[19] = 0x21;
	sums[20 + 3] = 17;
	sums[20 + 19] = 0x22;
	list[1] = 3;
	memcpy(list + 2, row_x.b, sizeof row_x.b);
	memset(list + 18, 0xab, 8);
	m = add("repair", "repair-scopes", SAT_MSG_REPAIR,
		"what are the sums of the scopes?");
	m->repair = (struct sat_msg_repair){ .no = 1 };
	m = add("repair", "repair-scopes-answer", SAT_MSG_REPAIR,
		"scope 0: 0x21, scope 17: 0x22, and there are more");
	m->repair = (struct sat_msg_repair){ .no = 1,
					     .more = true,
					     .sums = { sums, 40 } };
	m = add("repair", "repair-sums", SAT_MSG_REPAIR,
		"what are the sums of the ranges of scope 17?");
	m->repair = (struct sat_msg_repair){ .no = 2,
					     .step = SAT_REPAIR_SUMS,
					     .scope = 17 };
	m = add("repair", "repair-list", SAT_MSG_REPAIR,
		"what is in range 2 of scope 17?");
	m->repair = (struct sat_msg_repair){ .no = 3,
					     .step = SAT_REPAIR_LIST,
					     .scope = 17,
					     .ranges = { ranges, 32 } };
	m = add("repair", "repair-list-answer", SAT_MSG_REPAIR,
		"one row of table 3, the low half of its hash");
	m->repair = (struct sat_msg_repair){ .no = 3,
					     .step = SAT_REPAIR_LIST,
					     .scope = 17,
					     .list = { list, 26 } };
	m = add("repair", "repair-rows", SAT_MSG_REPAIR,
		"send that row; others will be asked for");
	m->repair = (struct sat_msg_repair){ .no = 4,
					     .step = SAT_REPAIR_ROWS,
					     .scope = 17,
					     .table_no = 3,
					     .ids = &row_x,
					     .id_count = 1,
					     .more = true };
	m = add("repair", "repair-rows-answer", SAT_MSG_REPAIR,
		"it was sent before this");
	m->repair = (struct sat_msg_repair){ .no = 4,
					     .step = SAT_REPAIR_ROWS,
					     .scope = 17,
					     .table_no = 3,
					     .count = 1 };
}

static void add_renewals(void)
{
	static const char pem[] = "-----BEGIN CERTIFICATE-----\n";
	struct sat_msg *m;

	m = add("renew", "renew-copy", SAT_MSG_RENEW,
		"replica 7 is a copy; its verdicts are stored up to 41");
	m->renew = (struct sat_msg_renew){
		.version_min = 1,
		.version_max = 1,
		.replica = 7,
		.certificate = sat_slice_str(pem),
		.csr = { (const uint8_t *)"\x30\x01\x02", 3 },
		.proof = { (const uint8_t *)"\x30\x03\x04", 3 },
		.old_proof = { (const uint8_t *)"\x30\x05\x06", 3 },
		.fork = true,
		.after = 41,
	};
	m = add("renew", "renewed-copy", SAT_MSG_RENEWED,
		"it is replica 12 now; the server has 42 of replica 7");
	m->renewed = (struct sat_msg_renewed){
		.version = 1,
		.replica = 12,
		.certificate = sat_slice_str(pem),
		.ca = sat_slice_str(pem),
		.hashes = { (const uint8_t *)"0123456789abcdef", 16 },
	};
}

static void add_others(void)
{
	struct sat_msg *m;

	m = add("grant", "grant-rep", SAT_MSG_GRANT,
		"a rep's rights: scopes 0, 4, 17, 300");
	m->grant = rights();
	m = add("catalogue", "catalogue-tiny", SAT_MSG_CATALOGUE,
		"catalogue version 8");
	m->catalogue = (struct sat_msg_catalogue){
		8, sat_slice_str("{\"name\":\"tiny\",\"version\":8}")
	};
	m = add("ping", "ping-once", SAT_MSG_PING, "are you there?");
	m->ping = (struct sat_msg_ping){ 1, noon + 60000 };
	m = add("ping", "pong-once", SAT_MSG_PONG, "yes");
	m->ping = (struct sat_msg_ping){ 1, noon + 60250 };
	m = add("error", "error-busy", SAT_MSG_ERROR,
		"come back in five seconds");
	m->error = (struct sat_msg_error){ SAT_WIRE_BUSY, true, 5000,
					   sat_slice_str(
						   "the server is starting") };
	m = add("error", "error-unknown-device", SAT_MSG_ERROR,
		"never come back with this certificate");
	m->error = (struct sat_msg_error){ .code = SAT_WIRE_UNKNOWN };
	m = add("wipe", "wipe-now", SAT_MSG_WIPE,
		"destroy the replica, whatever it has not sent");
	m->wipe.discard = true;
	m = add("mark", "mark-half", SAT_MSG_MARK,
		"the pages before it are staged up to here");
	m->mark.at =
		(struct sat_slice){ (const uint8_t *)"\x01\x5a\x7c\x4e\x11",
				    5 };
	m = add("enrol", "enrol-tablet", SAT_MSG_ENROL,
		"a new device (request and proof shortened to 3 bytes)");
	m->enrol = (struct sat_msg_enrol){
		.version_min = 1,
		.version_max = 1,
		.token = sat_slice_str("abcdefghijklmnopqrstuvwxyz234567"),
		.csr = { (const uint8_t *)"\x30\x01\x02", 3 },
		.proof = { (const uint8_t *)"\x30\x03\x04", 3 },
		.device_name = sat_slice_str("Ann 的平板"),
	};
	m = add("enrolled", "enrolled-tablet", SAT_MSG_ENROLLED,
		"it is replica 7 of Ann (PEM and JSON texts shortened)");
	m->enrolled = (struct sat_msg_enrolled){
		.version = 1,
		.replica = 7,
		.certificate = sat_slice_str("-----BEGIN CERTIFICATE-----\n"),
		.ca = sat_slice_str("-----BEGIN CERTIFICATE-----\n"),
		.org = sat_slice_str("Acme"),
		.login = sat_slice_str("ann"),
		.name = sat_slice_str("Ann"),
		.epoch = epoch,
		.catalogue = 7,
		.catalogue_json = sat_slice_str("{}"),
		.rights = rights(),
	};
	add_repairs();
	add_renewals();
}

const struct fx_sample *fx_samples(uint32_t *ret_count)
{
	if (sample_count == 0) {
		add_hellos();
		add_pushes();
		add_feed();
		add_others();
	}
	*ret_count = sample_count;
	return samples;
}

static struct sat_value cell(const char *s)
{
	return sat_value_text(sat_slice_str(s));
}

static void head(struct sat_changeset *cs, uint64_t seq, uint32_t deltas)
{
	*cs = (struct sat_changeset){ .dot = { 7, seq },
				      .catalogue = 7,
				      .marker = { epoch, 9001, 3 },
				      .delta_count = deltas };
	if (seq > 1)
		memset(cs->prev_hash, 0xc3, sizeof cs->prev_hash);
}

void fx_sample_insert(struct sat_arena *a, struct sat_changeset *ret)
{
	struct sat_delta *d = sat_arena_array(a, 1, sizeof *d);
	struct sat_change *c = sat_arena_array(a, 5, sizeof *c);

	SAT_ASSERT(d != NULL && c != NULL);
	head(ret, 1, 1);
	c[0] = (struct sat_change){ .column = FX_USER,
				    .value = sat_value_id(&ann) };
	c[1] = (struct sat_change){ .column = FX_STARTED,
				    .value = sat_value_int(noon - 900000) };
	c[2] = (struct sat_change){ .column = FX_LAT,
				    .value = sat_value_real(31.230416) };
	c[3] = (struct sat_change){ .column = FX_OUTCOME,
				    .value = cell("order") };
	c[4] = (struct sat_change){ .column = FX_NOTES,
				    .value = cell("客户要样品") };
	for (unsigned i = 0; i < 5; i++)
		c[i].at_ms = noon;
	d[0] = (struct sat_delta){ .op = SAT_OP_INSERT,
				   .table = fx_visit,
				   .id = row_x,
				   .at_ms = noon,
				   .changes = c,
				   .change_count = 5 };
	ret->deltas = d;
}

static void edit(struct sat_arena *a, struct sat_delta *d)
{
	struct sat_change *c = sat_arena_array(a, 3, sizeof *c);
	struct sat_dot *dots = sat_arena_array(a, 2, sizeof *dots);
	struct sat_slice *tags = sat_arena_array(a, 2, sizeof *tags);

	SAT_ASSERT(c != NULL && dots != NULL && tags != NULL);
	dots[0] = (struct sat_dot){ 1, 5 };
	dots[1] = (struct sat_dot){ 7, 1 };
	tags[0] = sat_slice_str("gold");
	tags[1] = sat_slice_str("vip");
	c[0] = (struct sat_change){ .column = FX_NOTES,
				    .value = cell("X Ltd"),
				    .at_ms = noon + 70000,
				    .before = cell("X"),
				    .replaced = (uint64_t)noon << 16,
				    .resolves = true };
	c[1] = (struct sat_change){ .column = FX_COUNT,
				    .value = sat_value_int(1),
				    .at_ms = noon + 70000 };
	c[2] = (struct sat_change){ .column = FX_TAGS,
				    .adds = &tags[0],
				    .add_count = 1,
				    .removes = &tags[1],
				    .remove_count = 1,
				    .at_ms = noon + 60000 };
	*d = (struct sat_delta){ .op = SAT_OP_UPDATE,
				 .table = fx_visit,
				 .id = row_x,
				 .context = { dots, 2 },
				 .base_seq = 8990,
				 .at_ms = noon + 70000,
				 .changes = c,
				 .change_count = 3 };
}

void fx_sample_edits(struct sat_arena *a, struct sat_changeset *ret)
{
	struct sat_delta *d = sat_arena_array(a, 2, sizeof *d);
	struct sat_dot *dots = sat_arena_array(a, 1, sizeof *dots);

	SAT_ASSERT(d != NULL && dots != NULL);
	head(ret, 2, 2);
	ret->flags = SAT_CHANGESET_COALESCED;
	edit(a, &d[0]);
	dots[0] = (struct sat_dot){ 9, 3 };
	d[1] = (struct sat_delta){ .op = SAT_OP_DELETE,
				   .table = fx_note,
				   .id = east,
				   .context = { dots, 1 },
				   .base_seq = 8000,
				   .at_ms = noon + 71000 };
	ret->deltas = d;
}

void fx_sample_page(struct sat_arena *a, struct sat_page *ret)
{
	static const uint16_t columns[] = { FX_USER, FX_STARTED, FX_LAT,
					    FX_NOTES, FX_TAGS };
	struct sat_value *v = sat_arena_array(a, 10, sizeof *v);

	*ret = (struct sat_page){ .table = fx_visit,
				  .row_count = 2,
				  .column_count = 5 };
	ret->ids = sat_arena_array(a, 2, sizeof *ret->ids);
	ret->seqs = sat_arena_array(a, 2, sizeof *ret->seqs);
	ret->metas = sat_arena_array(a, 2, sizeof *ret->metas);
	ret->columns = sat_arena_array(a, 5, sizeof *ret->columns);
	SAT_ASSERT(v != NULL && ret->ids != NULL && ret->seqs != NULL &&
		   ret->metas != NULL && ret->columns != NULL);
	memcpy(ret->columns, columns, sizeof columns);
	ret->ids[0] = row_x;
	ret->ids[1] = ann;
	ret->seqs[0] = 9002;
	ret->seqs[1] = 9003;
	ret->metas[0] = (struct sat_slice){ (const uint8_t *)"\xa1\xa2", 2 };
	ret->metas[1] =
		(struct sat_slice){ (const uint8_t *)"\xb1\xb2\xb3", 3 };
	v[0] = sat_value_id(&ann);
	v[1] = sat_value_int(noon);
	v[2] = sat_value_real(31.25);
	v[3] = cell("X Ltd");
	v[4] = cell("[\"gold\",\"vip\"]");
	v[5] = sat_value_id(&ann);
	v[6] = sat_value_null();
	v[7] = sat_value_real(-0.5);
	v[8] = cell("好");
	v[9] = sat_value_null();
	ret->values = v;
}

/* Comparing, key by key. */

static const void *member(const struct sat_msg *m, size_t offset)
{
	return (const char *)&m->hello + offset;
}

static void same_slices(const struct sat_slice *x, const struct sat_slice *y)
{
	assert_int_equal(x->len, y->len);
	if (x->len > 0)
		assert_memory_equal(x->ptr, y->ptr, x->len);
}

static void same_lists(const struct sat_key *k, const void *x, const void *y,
		       uint32_t nx, uint32_t ny)
{
	size_t size = k->type == SAT_KEY_IDS      ? sizeof(struct sat_id)
		      : k->type == SAT_KEY_SCOPES ? sizeof(uint32_t)
		      : k->type == SAT_KEY_STEPS
			      ? sizeof(struct sat_clock_step)
			      : sizeof(struct sat_field_name);

	assert_int_equal(nx, ny);
	if (nx > 0)
		assert_memory_equal(*(const void *const *)x,
				    *(const void *const *)y, nx * size);
}

static void same_key(const struct sat_key *k, const struct sat_msg *x,
		     const struct sat_msg *y, size_t base)
{
	static const uint8_t sizes[] = {
		[SAT_KEY_U32] = 4,      [SAT_KEY_U64] = 8,
		[SAT_KEY_I64] = 8,      [SAT_KEY_BOOL] = 1,
		[SAT_KEY_HASH] = 16,    [SAT_KEY_DIGEST] = 16,
		[SAT_KEY_RATCHET] = 16, [SAT_KEY_ID] = 16,
	};
	const void *a = member(x, base + k->offset);
	const void *b = member(y, base + k->offset);

	switch (k->type) {
	case SAT_KEY_STR:
	case SAT_KEY_BIN:
		same_slices(a, b);
		return;
	case SAT_KEY_FIELD:
		assert_memory_equal(a, b, sizeof(struct sat_field_name));
		return;
	case SAT_KEY_DOT:
		assert_int_equal(sat_dot_compare(*(const struct sat_dot *)a,
						 *(const struct sat_dot *)b),
				 0);
		return;
	case SAT_KEY_RIGHTS:
		return;
	default:
		break;
	}
	if (k->type < SAT_COUNT_OF(sizes) && sizes[k->type] > 0)
		assert_memory_equal(a, b, sizes[k->type]);
	else
		same_lists(k, a, b, *(const uint32_t *)member(x, base + k->aux),
			   *(const uint32_t *)member(y, base + k->aux));
}

void fx_same_message(const struct sat_msg *x, const struct sat_msg *y)
{
	const struct sat_key_table *t = sat_msg_keys((uint8_t)x->type);
	const struct sat_key_table *r = sat_rights_keys();

	assert_int_equal(x->type, y->type);
	assert_non_null(t);
	for (uint8_t i = 0; i < t->count; i++) {
		same_key(&t->keys[i], x, y, 0);
		if (t->keys[i].type != SAT_KEY_RIGHTS)
			continue;
		for (uint8_t k = 0; k < r->count; k++)
			same_key(&r->keys[k], x, y, t->keys[i].offset);
	}
	if (x->type == SAT_MSG_CREDIT)
		assert_int_equal(x->credit.has_ratchet, y->credit.has_ratchet);
}
