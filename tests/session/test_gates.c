/* Two gates on the way out. The first, the choice of scopes that the feed is
 * read with, is broken here on purpose (the linker puts our function between
 * the server and the feed); the second must find it out by itself: not a
 * byte leaves, the connection ends, and the alarm is counted. */
#include <string.h>

#include "server/feed/pages.h"
#include "tests/session/rig.h"

static struct rig rig;
static struct tablet ann;
static bool broken;
static uint32_t foreign;
static const struct sat_rights *rightful;

int __real_sat_feed_read(struct sat_store *reader, struct sat_zip *zip,
			 const struct sat_feed_ask *ask,
			 struct sat_feed_answer *ret, struct sat_err *err);
int __wrap_sat_feed_read(struct sat_store *reader, struct sat_zip *zip,
			 const struct sat_feed_ask *ask,
			 struct sat_feed_answer *ret, struct sat_err *err);
void __real_sat_pages_init(struct sat_pages *p, const struct sat_catalogue *c,
			   const struct sat_rights *rights, struct sat_zip *zip,
			   struct sat_store *store);
void __wrap_sat_pages_init(struct sat_pages *p, const struct sat_catalogue *c,
			   const struct sat_rights *rights, struct sat_zip *zip,
			   struct sat_store *store);

/* READER THREAD: one scope more than the rights hold. */
int __wrap_sat_feed_read(struct sat_store *reader, struct sat_zip *zip,
			 const struct sat_feed_ask *ask,
			 struct sat_feed_answer *ret, struct sat_err *err)
{
	struct sat_feed_ask wide = *ask;
	struct sat_rights rights = *ask->rights;
	uint32_t scopes[16], n = 0;

	if (!broken)
		return __real_sat_feed_read(reader, zip, ask, ret, err);
	SAT_ASSERT(rights.scope_count < SAT_COUNT_OF(scopes));
	for (uint32_t i = 0; i < rights.scope_count; i++) {
		if (n == i && rights.scopes[i] > foreign)
			scopes[n++] = foreign;
		scopes[n++] = rights.scopes[i];
	}
	if (n == rights.scope_count)
		scopes[n++] = foreign;
	rights.scopes = scopes;
	rights.scope_count = n;
	wide.rights = &rights;
	rightful = ask->rights;
	return __real_sat_feed_read(reader, zip, &wide, ret, err);
}

/* The second gate still knows the rights. */
void __wrap_sat_pages_init(struct sat_pages *p, const struct sat_catalogue *c,
			   const struct sat_rights *rights, struct sat_zip *zip,
			   struct sat_store *store)
{
	__real_sat_pages_init(p, c, broken ? rightful : rights, zip, store);
}

/* COMMITTER THREAD: an account of another territory. */
static int write_foreign(struct sat_engine *e, void *arg, struct sat_err *err)
{
	const struct sat_table *t =
		sat_catalogue_table(sat_store_catalogue(sat_engine_store(e)),
				    sat_slice_str("account"));
	const char *const names[] = { "name", "territory_id" };
	struct sat_value values[] = { text("Foreign"), idv(&rig.w.t2) };
	struct sat_local_write w = { .op = SAT_OP_INSERT,
				     .table = t,
				     .id = { { 1, 0x9a, 0x7d, 0x55, 0x10, 0,
					       0x70, 1, 0x80, 9 } },
				     .values = values,
				     .column_count = 2 };
	uint16_t columns[2];
	uint32_t bad;

	(void)arg;
	for (int i = 0; i < 2; i++)
		columns[i] =
			(uint16_t)sat_table_column(t, sat_slice_str(names[i]));
	w.columns = columns;
	return sat_engine_local(e, &w, 1, &bad, err);
}

static void the_second_gate_closes(void **state)
{
	struct sat_server_metrics m;

	(void)state;
	rig_init(&rig);
	assert_int_equal(sat_config_set(rig.config, "readers", "1",
					&(struct sat_err){ 0 }),
			 SAT_OK);
	foreign = scope_of(&rig.w, &rig.w.t2);
	tablet_init(&ann, &rig, &rig.w.ann);
	tablet_enrol(&ann);
	rig_job(&rig, write_foreign, NULL);
	assert_int_equal(rig.job_rc, SAT_OK);
	broken = true;
	tablet_connect(&ann);
	assert_true(rig_run(&rig, tablet_closed, &ann, 10000));
	assert_int_equal(ann.checkpoints, 0);
	assert_int_equal(ann.rows, 0); /* not even of the same read */
	sat_server_metrics(rig.server, &m);
	assert_int_equal(m.scope_alarms, 1);
	broken = false;
	tablet_connect(&ann);
	assert_true(rig_run(&rig, tablet_caught_up, &ann, 10000));
	sat_server_metrics(rig.server, &m);
	assert_int_equal(m.scope_alarms, 1);
	tablet_fini(&ann);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_second_gate_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
