/* The main conversations as text: '>' is what reaches the server, '<' what
 * reaches the device. A change of any order or number shows here. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "world.h"

static struct world w;

static void begin(void)
{
	world_init(&w, 5);
	w.trace = true;
}

static void expect(const char *want)
{
	if (w.broken != NULL)
		fail_msg("%s", w.broken);
	if (w.log == NULL || strcmp(w.log, want) != 0)
		fail_msg("the conversation was:\n%s", w.log);
	w.log_len = 0;
	w.log[0] = '\0';
}

static void connected(void)
{
	begin();
	world_connect(&w);
	world_drain(&w);
	w.log_len = 0;
}

static void first_contact(void **state)
{
	(void)state;
	begin();
	world_write(&w, 10);
	world_connect(&w);
	world_drain(&w);
	/* A device that was never welcomed sends nothing behind HELLO. */
	expect("> HELLO cursor=0 verdict=0 last=1\n"
	       "< WELCOME last=0\n"
	       "> CREDIT bytes=0 verdict=0 cursor=0 ratchet\n"
	       "> PUSH 1.0 last\n"
	       "< ROWS 5\n"
	       "< ROWS 5\n"
	       "< ROWS 5\n"
	       "< ROWS 3\n"
	       "< CHECKPOINT 24\n"
	       "> CREDIT bytes=592 verdict=0 cursor=24\n"
	       "< VERDICT 1\n"
	       "> CREDIT bytes=0 verdict=1 cursor=0\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< ROWS 1\n"
	       "< CHECKPOINT 25\n"
	       "> CREDIT bytes=64 verdict=0 cursor=25\n");
	world_fini(&w);
}

static void back_with_an_outbox(void **state)
{
	(void)state;
	connected();
	world_cut(&w);
	world_write(&w, 10);
	world_write(&w, 200000);
	world_connect(&w);
	world_drain(&w);
	expect("> HELLO cursor=24 verdict=0 last=2\n"
	       "> PUSH 1.0 last\n"
	       "> PUSH 2.0\n"
	       "> PUSH 2.1 last\n"
	       "< WELCOME last=0\n"
	       "> CREDIT bytes=0 verdict=0 cursor=0 ratchet\n"
	       "< CHECKPOINT 24\n"
	       "> CREDIT bytes=0 verdict=0 cursor=24\n"
	       "< VERDICT 1\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< ROWS 1\n"
	       "< CHECKPOINT 25\n"
	       "> CREDIT bytes=64 verdict=1 cursor=25\n"
	       "< CREDIT bytes=131072 verdict=0 cursor=0\n"
	       "< CREDIT bytes=68928 verdict=0 cursor=0\n"
	       "< VERDICT 2\n"
	       "> CREDIT bytes=0 verdict=2 cursor=0\n"
	       "< CHECKPOINT 25\n"
	       "> CREDIT bytes=0 verdict=0 cursor=25\n");
	world_fini(&w);
}

static void somebody_elses_write(void **state)
{
	(void)state;
	connected();
	world_foreign(&w, 1);
	world_drain(&w);
	expect("< ROWS 1\n"
	       "< CHECKPOINT 25\n"
	       "> CREDIT bytes=64 verdict=0 cursor=25\n");
	world_fini(&w);
}

static void verdicts_are_replayed(void **state)
{
	(void)state;
	connected();
	for (int i = 0; i < 4; i++)
		world_write(&w, 10);
	while (world_deliver_up(&w) || world_room(&w) || world_commit(&w))
		;
	world_cut(&w); /* all were applied, no answer arrived */
	w.log_len = 0;
	world_connect(&w);
	world_drain(&w);
	expect("> HELLO cursor=24 verdict=0 last=4\n"
	       "> PUSH 1.0 last\n"
	       "> PUSH 2.0 last\n"
	       "> PUSH 3.0 last\n"
	       "> PUSH 4.0 last\n"
	       "< WELCOME last=4\n"
	       "> CREDIT bytes=0 verdict=0 cursor=0 ratchet\n"
	       "< VERDICT 1\n"
	       "< VERDICT 2\n"
	       "< VERDICT 3\n"
	       "< VERDICT 4\n"
	       "> CREDIT bytes=0 verdict=4 cursor=0\n"
	       "< ROWS 1\n"
	       "< CHECKPOINT 27\n"
	       "> CREDIT bytes=64 verdict=0 cursor=27\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n");
	world_fini(&w);
}

static void full_disk(void **state)
{
	(void)state;
	connected();
	w.server.disk_full = true;
	world_write(&w, 10);
	world_write(&w, 10);
	world_drain(&w);
	world_foreign(&w, 2); /* reads go on */
	world_drain(&w);
	w.server.disk_full = false;
	world_tick(&w, SAT_CSESSION_FULL_MS);
	world_drain(&w);
	expect("> PUSH 1.0 last\n"
	       "> PUSH 2.0 last\n"
	       "< ERROR 7 transient\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< ROWS 1\n"
	       "< CHECKPOINT 25\n"
	       "> CREDIT bytes=64 verdict=0 cursor=25\n"
	       "> PUSH 1.0 last\n"
	       "> PUSH 2.0 last\n"
	       "< VERDICT 1\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< ROWS 1\n"
	       "< CHECKPOINT 26\n"
	       "> CREDIT bytes=64 verdict=1 cursor=26\n"
	       "< VERDICT 2\n"
	       "> CREDIT bytes=0 verdict=2 cursor=0\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< CHECKPOINT 26\n"
	       "> CREDIT bytes=0 verdict=0 cursor=26\n");
	world_fini(&w);
}

static void other_rights(void **state)
{
	(void)state;
	connected();
	world_rights(&w);
	world_drain(&w);
	expect("< GRANT 2\n"
	       "< ROWS 5\n"
	       "< ROWS 5\n"
	       "< ROWS 5\n"
	       "< ROWS 3\n"
	       "< CHECKPOINT 24\n"
	       "> CREDIT bytes=592 verdict=0 cursor=24\n");
	world_fini(&w);
}

static void newer_catalogue(void **state)
{
	(void)state;
	connected();
	world_cut(&w);
	world_catalogue(&w);
	world_connect(&w);
	world_drain(&w);
	expect("> HELLO cursor=24 verdict=0 last=0\n"
	       "< WELCOME last=0\n"
	       "> CREDIT bytes=0 verdict=0 cursor=0 ratchet\n"
	       "< CATALOGUE 2\n"
	       "< CHECKPOINT 24\n"
	       "> CREDIT bytes=0 verdict=0 cursor=24\n");
	world_fini(&w);
}

static void shutdown_waits_for_verdicts(void **state)
{
	struct sat_ssession_event drain = { .kind = SAT_SEV_DRAIN };

	(void)state;
	connected();
	world_write(&w, 10);
	while (world_deliver_up(&w) || world_room(&w))
		;
	world_server_event(&w, &drain);
	world_drain(&w);
	expect("> PUSH 1.0 last\n"
	       "server closes rc=-7\n"
	       "< VERDICT 1\n"
	       "< CREDIT bytes=10 verdict=0 cursor=0\n"
	       "< ERROR 9 transient\n"
	       "device closes rc=-5 wire=9 again\n");
	world_fini(&w);
}

static void revoked(void **state)
{
	struct sat_ssession_event revoke = { .kind = SAT_SEV_REVOKED };

	(void)state;
	connected();
	world_foreign(&w, 1);
	(void)world_commit(&w);
	(void)world_read(&w); /* a page is on the way */
	world_server_event(&w, &revoke);
	world_drain(&w);
	expect("server closes rc=-11 abruptly\n");
	world_fini(&w);
}

static void an_idle_link_is_tested(void **state)
{
	(void)state;
	connected();
	world_tick(&w, 240000);
	world_drain(&w);
	world_tick(&w, 240000);
	world_log(&w, "the server is cut off");
	w.up.count = 0;
	world_tick(&w, SAT_CSESSION_PONG_MS);
	expect("> PING\n"
	       "< PONG\n"
	       "the server is cut off\n"
	       "device closes rc=-9 wire=0 again\n");
	world_fini(&w);
}

/* While an answer is outstanding, a dead link is found within 25 s. */
static void a_dead_link_is_found_while_waiting(void **state)
{
	uint64_t silent = 0;

	(void)state;
	connected();
	world_write(&w, 10);
	world_log(&w, "the server is cut off");
	while (silent < SAT_CSESSION_PONG_MS &&
	       w.c.state != SAT_CSESSION_CLOSED) {
		w.up.count = 0;
		world_tick(&w, 1000);
		silent += 1000;
	}
	expect("the server is cut off\n"
	       "device closes rc=-9 wire=0 again\n");
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_contact),
		cmocka_unit_test(back_with_an_outbox),
		cmocka_unit_test(somebody_elses_write),
		cmocka_unit_test(verdicts_are_replayed),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(other_rights),
		cmocka_unit_test(newer_catalogue),
		cmocka_unit_test(shutdown_waits_for_verdicts),
		cmocka_unit_test(revoked),
		cmocka_unit_test(an_idle_link_is_tested),
		cmocka_unit_test(a_dead_link_is_found_while_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
