/* Peers that do not keep to the order: each row is one, and how it ends. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "client/sync/session.h"
#include "common/meta.h"
#include "server/sync/session.h"

static const uint8_t bytes[300];

#define BYTES(n)         \
	{                \
		bytes, n \
	}

/* ---- what a server may do to a device ----------------------------------- */

static struct sat_csession c;

/* Perform what the session wants; the kind of the last effect that counts. */
static struct sat_csession_effect
client_run(const struct sat_csession_event *ev)
{
	struct sat_csession_event stored = { .kind = SAT_CEV_STORED,
					     .now_ms = ev->now_ms };
	struct sat_csession_event sent = { .kind = SAT_CEV_SENT,
					   .now_ms = ev->now_ms,
					   .len = 10,
					   .total = 10 };
	struct sat_csession_effect fx, last = { 0 };

	sat_csession_step(&c, ev);
	while (sat_csession_next(&c, &fx)) {
		if (fx.kind == SAT_CFX_PUSH_PART)
			sat_csession_step(&c, &sent);
		else if (fx.kind >= SAT_CFX_STORE_WELCOME &&
			 fx.kind <= SAT_CFX_CHECKPOINT)
			sat_csession_step(&c, &stored);
		if (fx.kind == SAT_CFX_CLOSE)
			last = fx;
	}
	return last;
}

static void client_open(uint64_t verdict_seq, uint64_t last_seq)
{
	struct sat_msg_hello h = { .version_min = 1,
				   .version_max = 1,
				   .epoch = 1,
				   .catalogue = 3,
				   .verdict_seq = verdict_seq,
				   .last_seq = last_seq };
	struct sat_csession_event ev = { .kind = SAT_CEV_OPEN,
					 .now_ms = 1000,
					 .hello = &h };

	sat_csession_init(&c, 240000);
	assert_int_equal(client_run(&ev).rc, SAT_OK);
}

static struct sat_csession_effect client_gets(const struct sat_msg *m)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_MSG,
					 .now_ms = 1001,
					 .msg = m,
					 .frame_bytes = 100 };

	return client_run(&ev);
}

static const struct sat_msg welcome = {
	.type = SAT_MSG_WELCOME,
	.welcome = { .version = 1,
		     .epoch = 1,
		     .catalogue = 3,
		     .last_seq = 2,
		     .push_window = 65536 },
};

static void a_device_among_bad_servers(void **state)
{
	static const struct {
		const char *why;
		bool welcomed;
		struct sat_msg m;
		int rc;
	} rows[] = {
		{ "verdict before welcome",
		  false,
		  { .type = SAT_MSG_VERDICT, .verdict = { .seq = 3 } },
		  SAT_E_PROTO },
		{ "rows before welcome",
		  false,
		  { .type = SAT_MSG_ROWS },
		  SAT_E_PROTO },
		{ "checkpoint before welcome",
		  false,
		  { .type = SAT_MSG_CHECKPOINT },
		  SAT_E_PROTO },
		{ "credit before welcome",
		  false,
		  { .type = SAT_MSG_CREDIT, .credit = { .bytes = 1 } },
		  SAT_E_PROTO },
		{ "welcome of a version not offered",
		  false,
		  { .type = SAT_MSG_WELCOME, .welcome = { .version = 2 } },
		  SAT_E_PROTO },
		{ "welcome twice",
		  true,
		  { .type = SAT_MSG_WELCOME },
		  SAT_E_PROTO },
		{ "a device's own kind",
		  true,
		  { .type = SAT_MSG_PUSH },
		  SAT_E_PROTO },
		{ "verdict that skips one",
		  true,
		  { .type = SAT_MSG_VERDICT, .verdict = { .seq = 4 } },
		  SAT_E_PROTO },
		{ "verdict stored long ago",
		  true,
		  { .type = SAT_MSG_VERDICT, .verdict = { .seq = 2 } },
		  SAT_E_PROTO },
		{ "credit for more than was sent",
		  true,
		  { .type = SAT_MSG_CREDIT, .credit = { .bytes = 11 } },
		  SAT_E_PROTO },
		{ "credit for what was sent",
		  true,
		  { .type = SAT_MSG_CREDIT, .credit = { .bytes = 10 } },
		  SAT_OK },
		{ "the verdict that is due",
		  true,
		  { .type = SAT_MSG_VERDICT, .verdict = { .seq = 3 } },
		  SAT_OK },
		{ "revoked",
		  true,
		  { .type = SAT_MSG_ERROR,
		    .error = { .code = SAT_WIRE_REVOKED } },
		  SAT_E_DENIED },
		{ "an error of a later version that passes",
		  true,
		  { .type = SAT_MSG_ERROR,
		    .error = { .code = 999, .transient = true } },
		  SAT_E_BUSY },
		{ "wipe", true, { .type = SAT_MSG_WIPE }, SAT_E_DENIED },
		{ "the answer to what was never asked",
		  true,
		  { .type = SAT_MSG_REPAIR, .repair = { .no = 1 } },
		  SAT_E_PROTO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sat_csession_effect end;

		client_open(2, 3); /* one changeset goes out at once */
		if (rows[i].welcomed)
			assert_int_equal(client_gets(&welcome).rc, SAT_OK);
		end = client_gets(&rows[i].m);
		if (end.rc != rows[i].rc)
			fail_msg("%s: %s", rows[i].why, sat_rc_name(end.rc));
		assert_int_equal(c.state == SAT_CSESSION_CLOSED,
				 rows[i].rc != SAT_OK);
	}
}

static void verdict_of_what_was_never_sent(void **state)
{
	struct sat_msg m = { .type = SAT_MSG_VERDICT, .verdict = { .seq = 3 } };

	(void)state;
	client_open(2, 2);
	assert_int_equal(client_gets(&welcome).rc, SAT_OK);
	assert_int_equal(client_gets(&m).rc, SAT_E_PROTO);
}

static void rows_wait_for_their_catalogue(void **state)
{
	struct sat_msg newer = welcome;
	struct sat_msg rows = { .type = SAT_MSG_ROWS };
	struct sat_msg cat = { .type = SAT_MSG_CATALOGUE,
			       .catalogue = { .version = 4 } };

	(void)state;
	newer.welcome.catalogue = 4;
	client_open(2, 2);
	assert_int_equal(client_gets(&newer).rc, SAT_OK);
	assert_int_equal(client_gets(&rows).rc, SAT_E_PROTO);
	client_open(2, 2);
	assert_int_equal(client_gets(&newer).rc, SAT_OK);
	assert_int_equal(client_gets(&cat).rc, SAT_OK);
	assert_int_equal(client_gets(&rows).rc, SAT_OK);
}

static void no_welcome_in_time(void **state)
{
	struct sat_csession_event tick = { .kind = SAT_CEV_TICK };

	(void)state;
	client_open(2, 2);
	tick.now_ms = 1000 + SAT_CSESSION_WELCOME_MS - 1;
	assert_int_equal(client_run(&tick).rc, SAT_OK);
	tick.now_ms++;
	assert_int_equal(client_run(&tick).rc, SAT_E_TIMEOUT);
}

/* HELLO took as long as its answer, as far as anybody knows: half of the way
 * there and back is taken off the offset on both sides. */
static void hellos_way_is_taken_off_the_offset(void **state)
{
	struct sat_csession_event ev = { .kind = SAT_CEV_MSG,
					 .now_ms = 1083,
					 .msg = &welcome,
					 .frame_bytes = 100 };
	struct sat_csession_effect fx;
	bool stored = false, told = false;

	(void)state;
	client_open(2, 2); /* at 1000 */
	sat_csession_step(&c, &ev);
	while (sat_csession_next(&c, &fx)) {
		if (fx.kind == SAT_CFX_STORE_WELCOME) {
			assert_int_equal(fx.trip_ms, 41);
			stored = true;
			ev.kind = SAT_CEV_STORED;
			ev.now_ms = 1500; /* a slow disk is no way */
			sat_csession_step(&c, &ev);
		} else if (fx.kind == SAT_CFX_SEND &&
			   fx.msg->type == SAT_MSG_CREDIT) {
			assert_true(fx.msg->credit.has_ratchet);
			assert_int_equal(fx.msg->credit.trip_ms, 41);
			told = true;
		}
	}
	assert_true(stored && told);
}

/* A server restored from a backup knows less than the device has verdicts
 * for: what it lacks is offered again, from its last one on. */
static void a_server_that_forgot(void **state)
{
	struct sat_msg w = welcome;
	struct sat_msg m = { .type = SAT_MSG_VERDICT };

	(void)state;
	client_open(9, 10);
	w.welcome.last_seq = 4;
	assert_int_equal(client_gets(&w).rc, SAT_OK);
	assert_int_equal(c.sent_last, 10);
	for (m.verdict.seq = 5; m.verdict.seq <= 10; m.verdict.seq++)
		assert_int_equal(client_gets(&m).rc, SAT_OK);
	assert_int_equal(c.verdict_seq, 10);
}

/* ---- what a device may do to a server ----------------------------------- */

static struct sat_ssession s;
static uint32_t sent_error;
static uint64_t pushes, confirms, reads, reserved;

static int server_run(struct sat_ssession_event *ev)
{
	struct sat_ssession_event room = { .kind = SAT_SEV_RESERVED };
	struct sat_ssession_effect fx;
	int rc = SAT_OK;

	room.now_ms = ev->now_ms;
	sat_ssession_step(&s, ev);
	while (sat_ssession_next(&s, &fx)) {
		switch (fx.kind) {
		case SAT_SFX_SEND:
			if (fx.msg.type == SAT_MSG_ERROR)
				sent_error = fx.msg.error.code;
			break;
		case SAT_SFX_RESERVE:
			reserved += fx.bytes;
			sat_ssession_step(&s, &room);
			break;
		case SAT_SFX_DO_PUSH:
			pushes++;
			sat_buf_fini(&fx.changeset);
			break;
		case SAT_SFX_DO_CONFIRM:
			confirms++;
			break;
		case SAT_SFX_DO_READ:
			reads++;
			break;
		case SAT_SFX_CLOSE:
			rc = fx.rc;
			break;
		default:
			break;
		}
	}
	return rc;
}

static int server_gets(const struct sat_msg *m)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_MSG,
					 .now_ms = 1001,
					 .msg = m };

	return server_run(&ev);
}

static void server_open(void)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_OPEN,
					 .now_ms = 1000,
					 .replica = 7 };

	sat_ssession_init(&s, 240000);
	sent_error = 0;
	pushes = confirms = reads = reserved = 0;
	assert_int_equal(server_run(&ev), SAT_OK);
}

static void server_welcomes(void)
{
	struct sat_msg hello = { .type = SAT_MSG_HELLO,
				 .hello = { .version_min = 1,
					    .version_max = 3,
					    .replica = 7,
					    .epoch = 1,
					    .cursor = 50,
					    .verdict_seq = 2,
					    .last_seq = 2,
					    .catalogue = 3 } };
	struct sat_ssession_event ev = { .kind = SAT_SEV_HELLO_DONE,
					 .now_ms = 1001,
					 .welcome = &welcome.welcome };

	assert_int_equal(server_gets(&hello), SAT_OK);
	assert_false(sat_ssession_ready(&s)); /* until it is judged */
	assert_int_equal(server_run(&ev), SAT_OK);
	assert_true(sat_ssession_ready(&s));
}

static struct sat_msg part(uint64_t seq, uint32_t no, size_t len, bool last,
			   uint64_t total)
{
	struct sat_msg m = { .type = SAT_MSG_PUSH };

	m.push.seq = seq;
	m.push.part = no;
	m.push.last = last;
	m.push.total = total;
	m.push.bytes = (struct sat_slice){ bytes, len };
	if (last)
		sat_hash_pack(
			sat_hash_bytes((struct sat_slice){ bytes, total }),
			m.push.hash);
	return m;
}

static void a_server_among_bad_devices(void **state)
{
	static const struct {
		const char *why;
		struct {
			uint64_t seq;
			uint32_t part;
			size_t len;
			bool last;
			uint64_t total;
		} p[3];
		uint32_t code; /* of the ERROR, 0: all is well */
		uint64_t pushes;
	} rows[] = {
		{ "one changeset", { { 3, 0, 10, true, 10 } }, 0, 1 },
		{ "two parts",
		  { { 3, 0, 4, false, 10 }, { 3, 1, 6, true, 10 } },
		  0,
		  1 },
		{ "decided already: dropped",
		  { { 1, 0, 10, true, 10 }, { 2, 5, 1, false, 10 } },
		  0,
		  0 },
		{ "a gap", { { 4, 0, 10, true, 10 } }, SAT_WIRE_SEQ, 0 },
		{ "the same twice",
		  { { 3, 0, 10, true, 10 }, { 3, 0, 10, true, 10 } },
		  SAT_WIRE_SEQ,
		  1 },
		{ "second part first",
		  { { 3, 1, 10, true, 10 } },
		  SAT_WIRE_PROTOCOL,
		  0 },
		{ "a part left out",
		  { { 3, 0, 2, false, 10 }, { 3, 2, 8, true, 10 } },
		  SAT_WIRE_PROTOCOL,
		  0 },
		{ "another changeset in between",
		  { { 3, 0, 2, false, 10 }, { 4, 0, 8, true, 8 } },
		  SAT_WIRE_SEQ,
		  0 },
		{ "total too large",
		  { { 3, 0, 10, false,
		      (uint64_t)SAT_CHANGESET_BYTES_MAX + 1 } },
		  SAT_WIRE_LIMIT,
		  0 },
		{ "total none", { { 3, 0, 0, true, 0 } }, SAT_WIRE_LIMIT, 0 },
		{ "total that grows",
		  { { 3, 0, 2, false, 10 }, { 3, 1, 8, true, 11 } },
		  SAT_WIRE_PROTOCOL,
		  0 },
		{ "more than its total",
		  { { 3, 0, 8, false, 10 }, { 3, 1, 8, true, 10 } },
		  SAT_WIRE_PROTOCOL,
		  0 },
		{ "an end that is none",
		  { { 3, 0, 8, true, 10 } },
		  SAT_WIRE_PROTOCOL,
		  0 },
		{ "no end where it ends",
		  { { 3, 0, 10, false, 10 } },
		  SAT_WIRE_PROTOCOL,
		  0 },
		{ "an empty part",
		  { { 3, 0, 0, false, 10 } },
		  SAT_WIRE_PROTOCOL,
		  0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		server_open();
		server_welcomes();
		for (int k = 0; k < 3 && rows[i].p[k].seq != 0; k++) {
			struct sat_msg m =
				part(rows[i].p[k].seq, rows[i].p[k].part,
				     rows[i].p[k].len, rows[i].p[k].last,
				     rows[i].p[k].total);

			if (sat_ssession_ready(&s))
				(void)server_gets(&m);
		}
		if (sent_error != rows[i].code || pushes != rows[i].pushes)
			fail_msg("%s: error %u, pushes %u", rows[i].why,
				 (unsigned)sent_error, (unsigned)pushes);
		assert_int_equal(s.state == SAT_SSESSION_CLOSED,
				 rows[i].code != 0);
		sat_ssession_fini(&s);
	}
}

static void a_wrong_hash(void **state)
{
	struct sat_msg m = part(3, 0, 10, true, 10);

	(void)state;
	m.push.hash[0] ^= 1;
	server_open();
	server_welcomes();
	assert_int_equal(server_gets(&m), SAT_E_PROTO);
	assert_int_equal(pushes, 0);
	sat_ssession_fini(&s);
}

static void messages_out_of_place(void **state)
{
	static const struct {
		const char *why;
		bool welcomed;
		struct sat_msg m;
		uint32_t code;
	} rows[] = {
		{ "push first",
		  false,
		  { .type = SAT_MSG_PUSH },
		  SAT_WIRE_PROTOCOL },
		{ "credit first",
		  false,
		  { .type = SAT_MSG_CREDIT },
		  SAT_WIRE_PROTOCOL },
		{ "rows from a device",
		  true,
		  { .type = SAT_MSG_ROWS },
		  SAT_WIRE_PROTOCOL },
		{ "enrol on this protocol",
		  true,
		  { .type = SAT_MSG_ENROL },
		  SAT_WIRE_PROTOCOL },
		{ "hello twice",
		  true,
		  { .type = SAT_MSG_HELLO },
		  SAT_WIRE_PROTOCOL },
		{ "hello of another replica",
		  false,
		  { .type = SAT_MSG_HELLO,
		    .hello = { .version_min = 1,
			       .version_max = 1,
			       .replica = 8 } },
		  SAT_WIRE_PROTOCOL },
		{ "hello of a later protocol",
		  false,
		  { .type = SAT_MSG_HELLO,
		    .hello = { .version_min = 2,
			       .version_max = 9,
			       .replica = 7 } },
		  SAT_WIRE_VERSION },
		{ "credit for rows not sent",
		  true,
		  { .type = SAT_MSG_CREDIT, .credit = { .bytes = 1 } },
		  SAT_WIRE_PROTOCOL },
		{ "a checkpoint not sent",
		  true,
		  { .type = SAT_MSG_CREDIT, .credit = { .cursor = 51 } },
		  SAT_WIRE_PROTOCOL },
		{ "a verdict not given",
		  true,
		  { .type = SAT_MSG_CREDIT, .credit = { .verdict_seq = 3 } },
		  SAT_WIRE_PROTOCOL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		server_open();
		if (rows[i].welcomed)
			server_welcomes();
		assert_int_not_equal(server_gets(&rows[i].m), SAT_OK);
		if (sent_error != rows[i].code)
			fail_msg("%s: error %u", rows[i].why,
				 (unsigned)sent_error);
		assert_int_equal(confirms, 0);
		sat_ssession_fini(&s);
	}
}

static int server_waits(uint64_t ms)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_TICK,
					 .now_ms = 1001 + ms };

	return server_run(&ev);
}

static void time_limits(void **state)
{
	struct sat_msg m = part(3, 0, 4, false, 10);
	struct sat_ssession_event full = { .kind = SAT_SEV_FULL,
					   .now_ms = 1001 };

	(void)state;
	server_open(); /* no HELLO */
	assert_int_equal(server_waits(SAT_SSESSION_HELLO_MS - 2), SAT_OK);
	assert_int_equal(server_waits(SAT_SSESSION_HELLO_MS), SAT_E_TIMEOUT);
	sat_ssession_fini(&s);

	server_open(); /* half a changeset */
	server_welcomes();
	assert_int_equal(server_gets(&m), SAT_OK);
	assert_int_equal(server_waits(SAT_SSESSION_PART_MS - 1), SAT_OK);
	assert_int_equal(server_waits(SAT_SSESSION_PART_MS), SAT_E_TIMEOUT);
	sat_ssession_fini(&s);

	server_open(); /* takes nothing from us */
	server_welcomes();
	assert_int_equal(server_run(&full), SAT_OK);
	assert_int_equal(server_waits(SAT_SSESSION_SLOW_MS - 1), SAT_OK);
	assert_int_equal(server_waits(SAT_SSESSION_SLOW_MS), SAT_E_TIMEOUT);
	sat_ssession_fini(&s);

	server_open(); /* gone without a word */
	server_welcomes();
	assert_int_equal(server_waits(300000), SAT_OK); /* we ask */
	assert_true(s.pinged);
	assert_int_equal(server_waits(300000 + SAT_SSESSION_PONG_MS),
			 SAT_E_TIMEOUT);
	sat_ssession_fini(&s);
}

/* A megabyte without credit: no further read, however much moves. */
static void rows_stop_without_credit(void **state)
{
	struct sat_ssession_event page = { .kind = SAT_SEV_PAGE,
					   .now_ms = 1001,
					   .frames = BYTES(100),
					   .data_bytes = 300 * 1024,
					   .version = 3 };
	struct sat_ssession_event news = { .kind = SAT_SEV_NOTIFY,
					   .now_ms = 1001,
					   .seq = 99 };
	struct sat_msg credit = { .type = SAT_MSG_CREDIT,
				  .credit = { .bytes = 300 * 1024 } };

	(void)state;
	server_open();
	server_welcomes();
	for (int i = 1; i <= 4; i++) {
		assert_int_equal(reads, i);
		page.at.seq = (uint64_t)i;
		assert_int_equal(server_run(&page), SAT_OK);
	}
	assert_int_equal(reads, 4);
	assert_int_equal(server_run(&news), SAT_OK);
	assert_int_equal(reads, 4);
	assert_int_equal(server_gets(&credit), SAT_OK);
	assert_int_equal(reads, 5);
	sat_ssession_fini(&s);
}

/* The pull starts where HELLO's judge says; what the device has counts only
 * if it is of the same history. */
static void where_the_pull_starts(void **state)
{
	static const struct {
		struct sat_feed_at at;
		bool live;
		uint64_t kept;
	} rows[] = {
		{ { .cursor = 50 }, true, 50 },
		{ { .cursor = 50, .fill = true }, true, 50 },
		{ { .cursor = 70, .upto = 90, .scope = 3, .seq = 75 },
		  true,
		  50 },
		{ { .cursor = 0 }, false, 0 },
		{ { .cursor = 60, .upto = 80 }, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sat_rights rights = { .version = 77 };
		struct sat_msg hello = { .type = SAT_MSG_HELLO,
					 .hello = { .version_min = 1,
						    .version_max = 1,
						    .replica = 7,
						    .epoch = 1,
						    .cursor = 50,
						    .verdict_seq = 2,
						    .catalogue = 3 } };
		struct sat_ssession_event ev = { .kind = SAT_SEV_HELLO_DONE,
						 .now_ms = 1001,
						 .at = rows[i].at,
						 .live = rows[i].live,
						 .welcome = &welcome.welcome };

		server_open();
		assert_int_equal(server_gets(&hello), SAT_OK);
		assert_int_equal(server_run(&ev), SAT_OK);
		assert_int_equal(reads, 1);
		assert_memory_equal(&s.at, &rows[i].at, sizeof s.at);
		assert_int_equal(s.live, rows[i].live);
		/* other rights: from what it has, new scopes from the start */
		memset(&ev, 0, sizeof ev);
		ev.kind = SAT_SEV_RIGHTS;
		ev.rights = &rights;
		ev.whole = i == 1;
		assert_int_equal(server_run(&ev), SAT_OK);
		assert_int_equal(s.at.cursor, ev.whole ? 0 : rows[i].kept);
		assert_int_equal(s.at.upto, 0);
		assert_int_equal(s.at.fill, s.at.cursor != 0);
		assert_int_equal(s.live, s.at.cursor != 0);
		assert_true(s.read_stale);
		sat_ssession_fini(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_among_bad_servers),
		cmocka_unit_test(verdict_of_what_was_never_sent),
		cmocka_unit_test(rows_wait_for_their_catalogue),
		cmocka_unit_test(no_welcome_in_time),
		cmocka_unit_test(a_server_that_forgot),
		cmocka_unit_test(hellos_way_is_taken_off_the_offset),
		cmocka_unit_test(a_server_among_bad_devices),
		cmocka_unit_test(a_wrong_hash),
		cmocka_unit_test(messages_out_of_place),
		cmocka_unit_test(time_limits),
		cmocka_unit_test(rows_stop_without_credit),
		cmocka_unit_test(where_the_pull_starts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
