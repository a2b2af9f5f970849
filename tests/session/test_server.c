/* The whole server in one process: TLS on loopback, committer, readers. */
#include "tests/session/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK(call) assert_int_equal(call, SAT_OK)

static struct rig rig;
static struct tablet ann, bob;

static void start(void)
{
	rig_init(&rig);
	tablet_init(&ann, &rig, &rig.w.ann);
	tablet_enrol(&ann);
	assert_true(ann.enrolled);
	assert_int_equal(rig.noted_replica, ann.made.replica);
}

static void online(struct tablet *t)
{
	tablet_connect(t);
	assert_true(rig_run(&rig, tablet_caught_up, t, 10000));
	assert_false(t->closed);
}

static void end(void)
{
	tablet_fini(&ann);
	rig_fini(&rig);
}

static void from_invitation_to_shutdown(void **state)
{
	struct sat_server_metrics m;

	(void)state;
	start();
	tablet_write(&ann, "Offline 1", 0);
	tablet_write(&ann, "Offline 2", 0);
	online(&ann);
	assert_int_equal(ann.verdicts, 2);
	assert_int_equal(ann.rejected, 0);
	assert_true(ann.checkpoints > 0);
	assert_true(ann.scope_count >= 2);
	assert_true(ann.rows > 0); /* territories, people, her accounts */
	tablet_write(&ann, "Online", 0);
	assert_true(rig_run(&rig, tablet_caught_up, &ann, 10000));
	sat_server_metrics(rig.server, &m);
	assert_int_equal(m.changesets_in, 3);
	assert_int_equal(m.enrolments, 1);
	assert_int_equal(m.sessions_live, 1);
	assert_int_equal(m.scope_alarms, 0);
	rig_stop(&rig);
	assert_true(rig_run(&rig, tablet_closed, &ann, 5000));
	assert_int_equal(ann.wire, SAT_WIRE_SHUTDOWN);
	assert_int_equal(ann.rc, SAT_E_BUSY);
	end();
}

static bool bob_has_it(void *arg)
{
	return bob.closed || bob.rows >= *(uint64_t *)arg;
}

static void what_one_writes_the_other_sees(void **state)
{
	uint64_t want, from;

	(void)state;
	start();
	tablet_init(&bob, &rig, &rig.w.bob);
	tablet_enrol(&bob);
	assert_true(bob.enrolled);
	online(&ann);
	online(&bob);
	from = uv_hrtime();
	for (int i = 0; i < 100; i++) {
		want = bob.rows + 1;
		tablet_write(&ann, "Live", 0);
		assert_true(rig_run(&rig, bob_has_it, &want, 5000));
		assert_true(rig_run(&rig, tablet_caught_up, &ann, 5000));
	}
	printf("edit seen by the other: %.2f ms each\n",
	       (double)(uv_hrtime() - from) / 1e8);
	assert_false(bob.closed);
	tablet_fini(&bob);
	end();
}

/* Larger than the window, than the budget for one frame, and many at once. */
static void large_and_many(void **state)
{
	(void)state;
	start();
	assert_int_equal(sat_config_set(rig.config, "push_window_bytes",
					"65536", &(struct sat_err){ 0 }),
			 SAT_OK);
	for (int i = 0; i < 8; i++)
		tablet_write(&ann, "Big", 60000);
	for (int i = 0; i < 200; i++)
		tablet_write(&ann, "Small", 20);
	online(&ann);
	assert_int_equal(ann.verdicts, 208);
	end();
}

static void an_answer_that_was_lost_is_replayed(void **state)
{
	(void)state;
	start();
	ann.no_credit = true; /* what the device stored, it could not say */
	online(&ann);
	tablet_write(&ann, "Kept", 0);
	assert_true(rig_run(&rig, tablet_caught_up, &ann, 5000));
	sat_link_close(ann.link, SAT_OK, NULL);
	assert_true(rig_run(&rig, tablet_closed, &ann, 5000));
	/* The device forgets that it was told. */
	ann.no_credit = false;
	ann.verdict_seq = 0;
	ann.verdicts = 0;
	online(&ann);
	assert_int_equal(ann.verdicts, 1);
	end();
}

static int revoke(struct sat_engine *e, void *arg, struct sat_err *err)
{
	struct sat_store *s = sat_engine_store(e);
	struct sat_device d;
	int rc = sat_store_device_get(s, *(uint32_t *)arg, &d, err);

	d.state = SAT_DEVICE_REVOKED;
	if (rc == SAT_OK)
		rc = sat_store_device_put(s, &d, err);
	return rc == SAT_OK ? sat_engine_rights_changed(e, err) : rc;
}

static void revoked_at_once_and_for_good(void **state)
{
	uint64_t from;

	(void)state;
	start();
	online(&ann);
	from = uv_hrtime();
	ann.mark = true;
	rig_job(&rig, revoke, &ann.made.replica);
	OK(rig.job_rc);
	assert_true(rig_run(&rig, tablet_closed, &ann, 1000));
	printf("revoked after %.1f ms\n", (double)(uv_hrtime() - from) / 1e6);
	assert_int_equal(ann.frames_after, 0);
	tablet_connect(&ann);
	assert_true(rig_run(&rig, tablet_closed, &ann, 5000));
	assert_int_equal(ann.wire, SAT_WIRE_REVOKED);
	assert_int_equal(ann.rc, SAT_E_DENIED);
	end();
}

static int more_rights(struct sat_engine *e, void *arg, struct sat_err *err)
{
	struct world *w = arg;
	struct sat_grant g = { .user = w->ann, .territory = w->t3 };
	int rc = sat_store_grant_put(sat_engine_store(e), &g, err);

	return rc == SAT_OK ? sat_engine_rights_changed(e, err) : rc;
}

static bool more_scopes(void *arg)
{
	(void)arg;
	return ann.closed || ann.scope_count >= 3;
}

static void rights_change_on_a_live_connection(void **state)
{
	uint32_t before;
	uint64_t checkpoints;

	(void)state;
	start();
	online(&ann);
	before = ann.scope_count;
	checkpoints = ann.checkpoints;
	rig_job(&rig, more_rights, &rig.w);
	OK(rig.job_rc);
	assert_true(rig_run(&rig, more_scopes, NULL, 2000));
	assert_int_equal(ann.scope_count, before + 1);
	while (ann.checkpoints == checkpoints)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	end();
}

static int fail_late(struct sat_engine *e, void *arg, struct sat_err *err)
{
	int rc = sat_store_setting_put(sat_engine_store(e), "half",
				       sat_slice_str("done"), err);

	(void)arg;
	return rc == SAT_OK ? sat_err_set(err, SAT_E_INVAL, 0, "job", "no")
			    : rc;
}

static void a_job_that_fails_leaves_nothing(void **state)
{
	struct sat_buf b;
	struct sat_err err;

	(void)state;
	start();
	rig_job(&rig, fail_late, NULL);
	assert_int_equal(rig.job_rc, SAT_E_INVAL);
	sat_buf_init(&b, 100);
	assert_int_equal(sat_store_setting_get(rig.w.store, "half", &b, &err),
			 SAT_E_NOTFOUND);
	sat_buf_fini(&b);
	end();
}

static int disk_fails(struct sat_engine *e, void *arg, struct sat_err *err)
{
	(void)arg;
	(void)!sat_store_setting_put(sat_engine_store(e), "half",
				     sat_slice_str("done"), err);
	return sat_err_set(err, SAT_E_IO, 5, "job", "the disk failed");
}

/* The store is opened again; who waited for that group hears of it, nobody
 * else notices. */
static void the_disk_fails_once(void **state)
{
	struct sat_server_metrics m;

	(void)state;
	start();
	online(&ann);
	rig_job(&rig, disk_fails, NULL);
	assert_int_equal(rig.job_rc, SAT_E_IO);
	tablet_write(&ann, "After", 0);
	assert_true(rig_run(&rig, tablet_caught_up, &ann, 5000));
	assert_false(ann.closed);
	assert_int_equal(ann.verdicts, 1);
	sat_server_metrics(rig.server, &m);
	assert_int_equal(m.engine_reopens, 1);
	assert_int_equal(m.group_failures, 1);
	end();
}

static void the_newer_connection_wins(void **state)
{
	static struct tablet twin;

	(void)state;
	start();
	online(&ann);
	twin = ann;
	twin.link = NULL;
	online(&twin);
	assert_true(rig_run(&rig, tablet_closed, &ann, 5000));
	assert_int_equal(ann.wire, SAT_WIRE_SUPERSEDED);
	assert_false(twin.closed);
	sat_link_close(twin.link, SAT_OK, NULL);
	assert_true(rig_run(&rig, tablet_closed, &twin, 5000));
	end();
}

static void used_and_unknown_invitations(void **state)
{
	(void)state;
	start();
	tablet_init(&bob, &rig, &rig.w.bob);
	memcpy(bob.token, ann.token, sizeof bob.token);
	tablet_enrol(&bob); /* with another key than the one that used it */
	assert_false(bob.enrolled);
	assert_int_equal(bob.wire, SAT_WIRE_INVITE);
	memset(bob.token, 'a', SAT_TOKEN_CHARS);
	tablet_enrol(&bob);
	assert_false(bob.enrolled);
	assert_int_equal(bob.wire, SAT_WIRE_INVITE);
	tablet_fini(&bob);
	end();
}

/* Each row is what a device says first, instead of HELLO. */
static void hostile_first_words(void **state)
{
	static const uint8_t huge[] = { 0, 1, 0, 0, 1, 0, 0x80 };
	static const uint8_t noise[] = { 0, 0, 0, 5, 1, 0, 0xc1, 0xc1, 0xc1 };
	static const struct sat_msg push = {
		.type = SAT_MSG_PUSH,
		.push = { .seq = 1, .total = 1, .bytes = { huge, 1 } },
	};
	static const struct sat_msg rows = { .type = SAT_MSG_CHECKPOINT };

	(void)state;
	start();
	for (int i = 0; i < 4; i++) {
		ann.silent = true;
		tablet_connect(&ann);
		assert_true(rig_run(&rig, tablet_opened, &ann, 5000));
		if (i == 0)
			tablet_send(&ann, &push);
		else if (i == 1)
			tablet_send(&ann, &rows);
		else if (i == 2)
			tablet_raw(&ann, (struct sat_slice){ huge, 7 });
		else
			tablet_raw(&ann, (struct sat_slice){ noise, 9 });
		assert_true(rig_run(&rig, tablet_closed, &ann, 5000));
	}
	ann.silent = false;
	online(&ann); /* the server serves on */
	end();
}

static void the_port_is_taken(void **state)
{
	struct sat_server_options o = { 0 };
	struct sat_server *second = NULL;
	struct sat_err err;

	(void)state;
	start();
	o.loop = &rig.loop;
	o.config = rig.config;
	o.db_path = rig.w.path;
	o.tls = rig.tls;
	o.ca.sign.cert_pem = sat_buf_peek(&rig.pki.ca);
	o.ca.sign.key_pem = sat_buf_peek(&rig.pki.ca_key);
	o.org = "Test";
	o.addr = "127.0.0.1";
	o.port = sat_server_port(rig.server);
	assert_int_equal(sat_server_start(&o, &second, &err), SAT_E_BUSY);
	assert_null(second);
	online(&ann);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_invitation_to_shutdown),
		cmocka_unit_test(what_one_writes_the_other_sees),
		cmocka_unit_test(large_and_many),
		cmocka_unit_test(an_answer_that_was_lost_is_replayed),
		cmocka_unit_test(revoked_at_once_and_for_good),
		cmocka_unit_test(rights_change_on_a_live_connection),
		cmocka_unit_test(a_job_that_fails_leaves_nothing),
		cmocka_unit_test(the_disk_fails_once),
		cmocka_unit_test(the_newer_connection_wins),
		cmocka_unit_test(used_and_unknown_invitations),
		cmocka_unit_test(hostile_first_words),
		cmocka_unit_test(the_port_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
