/* The daemon on the simulation's clock and wires: what takes minutes or luck
 * elsewhere, exactly and at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/world.h"

static struct sim_world *w;
static struct sim_device *d;

static int setup(void **state)
{
	(void)state;
	w = calloc(1, sizeof *w);
	assert_non_null(w);
	sim_rng_seed(&w->rng, 7);
	w->swarm.devices = 1;
	sim_net = (struct sim_net_options){ .latency_ms = 20 };
	sim_world_init(w, 7);
	d = &w->devices[0];
	assert_true(sim_server_start(w));
	assert_true(sim_device_start(w, d));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sim_world_fini(w);
	sim_rng_fini(&w->rng);
	sim_ops_fini(&w->ops);
	free(w);
	return 0;
}

static enum sat_agent_state state_now(void)
{
	struct sat_agent_status s;

	sat_agent_status(d->agent, &s);
	return s.state;
}

/* Go on until the daemon is in that state; false: not within ms. */
static bool wait_for(enum sat_agent_state wanted, uint64_t ms)
{
	uint64_t end = sim_now + ms;

	while (state_now() != wanted && sim_now < end)
		sim_world_until(w, sim_now + 10);
	return state_now() == wanted;
}

/* Long enough for the pauses to be minutes. */
static void away(void)
{
	assert_true(wait_for(SAT_AGENT_CONNECTED, 5000));
	d->keys.offline = true;
	sim_net_cut(&d->keys);
	sim_world_until(w, sim_now + 1200000);
}

static void the_network_returns_during_an_attempt(void **state)
{
	(void)state;
	away();
	assert_true(wait_for(SAT_AGENT_CONNECTING, 600000));
	d->keys.offline = false;
	sim_here = &d->machine;
	sat_agent_poke(d->agent);
	sim_here = NULL;
	/* the attempt may still fail; the next one follows at once */
	assert_true(wait_for(SAT_AGENT_CONNECTED, 8000));
}

static void a_restored_server_is_greeted_again_at_once(void **state)
{
	(void)state;
	assert_true(wait_for(SAT_AGENT_CONNECTED, 5000));
	w->srv.backup = sim_disk_new("backup");
	sim_disk_copy(w->srv.backup, w->srv.disk);
	w->srv.backup_head = w->ops.head;
	away();
	w->srv.restore = true;
	sim_server_crash(w);
	sim_world_until(w, sim_now + 10000);
	assert_non_null(w->srv.server);
	/* nobody tells it: the next attempt comes when it comes */
	d->keys.offline = false;
	assert_true(wait_for(SAT_AGENT_WAITING, 1000));
	assert_true(wait_for(SAT_AGENT_CONNECTING, 600000));
	assert_true(wait_for(SAT_AGENT_CONNECTED, 3000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_network_returns_during_an_attempt, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_restored_server_is_greeted_again_at_once, setup,
			teardown),
	};
	int rc;

	sim_template(false);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	sim_template_free();
	return rc;
}
