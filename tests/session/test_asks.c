/* A device that asks for differences: one ask at a time, so many, and every
 * one is answered. */
#include <stdarg.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "server/sync/session.h"

static struct sat_ssession s;
static uint32_t sent_error;
static uint64_t reads, repairs, answers;

static void run(struct sat_ssession_event ev)
{
	struct sat_ssession_effect fx;

	ev.now_ms = 1001;
	sat_ssession_step(&s, &ev);
	while (sat_ssession_next(&s, &fx)) {
		if (fx.kind == SAT_SFX_SEND && fx.msg.type == SAT_MSG_ERROR)
			sent_error = fx.msg.error.code;
		answers += fx.kind == SAT_SFX_SEND &&
			   fx.msg.type == SAT_MSG_REPAIR;
		reads += fx.kind == SAT_SFX_DO_READ;
		repairs += fx.kind == SAT_SFX_DO_REPAIR;
	}
}

static void get(const struct sat_msg *m)
{
	run((struct sat_ssession_event){ .kind = SAT_SEV_MSG, .msg = m });
}

static void open(void)
{
	static const struct sat_msg hello = { .type = SAT_MSG_HELLO,
					      .hello = { .version_min = 1,
							 .version_max = 1,
							 .replica = 7,
							 .epoch = 1,
							 .cursor = 50,
							 .catalogue = 3 } };
	static const struct sat_msg_welcome welcome = { .version = 1,
							.epoch = 1,
							.catalogue = 3 };

	sat_ssession_init(&s, 240000);
	sent_error = 0;
	reads = repairs = answers = 0;
	run((struct sat_ssession_event){ .kind = SAT_SEV_OPEN, .replica = 7 });
	get(&hello);
	run((struct sat_ssession_event){ .kind = SAT_SEV_HELLO_DONE,
					 .welcome = &welcome });
	assert_int_equal(reads, 1);
}

static uint32_t ask(uint32_t no)
{
	get(&(struct sat_msg){ .type = SAT_MSG_REPAIR,
			       .repair = { .no = no } });
	return sent_error;
}

static void read_ends(enum sat_ssession_event_kind kind)
{
	run((struct sat_ssession_event){
		.kind = kind, .checkpoint = true, .seq = 60 });
}

static void one_by_one(void **state)
{
	struct sat_rights others = { .version = 9 };

	(void)state;
	open();
	/* never beside a read, so that its snapshot is not an older one */
	assert_int_equal(ask(1), 0);
	assert_int_equal(repairs, 0);
	read_ends(SAT_SEV_PAGE);
	assert_int_equal(repairs, 1);
	/* made for other rights: an empty answer, but an answer */
	run((struct sat_ssession_event){ .kind = SAT_SEV_RIGHTS,
					 .rights = &others });
	read_ends(SAT_SEV_REPAIRED);
	assert_int_equal(answers, 1);
	assert_int_equal(ask(2), 0);
	read_ends(SAT_SEV_PAGE);
	assert_int_equal(repairs, 2);
	assert_int_equal(ask(3), SAT_WIRE_PROTOCOL);
	read_ends(SAT_SEV_REPAIRED); /* of a closed connection */
	sat_ssession_fini(&s);
}

static void not_without_end(void **state)
{
	(void)state;
	open();
	assert_int_equal(ask(SAT_REPAIR_ASKS_MAX), 0);
	read_ends(SAT_SEV_PAGE);
	read_ends(SAT_SEV_REPAIRED);
	assert_int_equal(ask(SAT_REPAIR_ASKS_MAX + 1), SAT_WIRE_LIMIT);
	sat_ssession_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_by_one),
		cmocka_unit_test(not_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
