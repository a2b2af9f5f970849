/* mkreplica - a replica for programs that know only SQL.
 *
 *   mkreplica create FOLDER [rep|manager]   with account a1, as if synced
 *   mkreplica harvest FOLDER                what was captured, a line a delta
 *   mkreplica captured FOLDER               the same, of all harvests so far
 *   mkreplica rejected FOLDER               reasons of what was refused
 *   mkreplica daemon FOLDER                 harvests, and applies states of
 *                                           account a5, until it is killed
 *   mkreplica counted FOLDER                sum of the increments captured of
 *                                           a1.visit_count
 */
#include "tests/replica/support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void print_harvest(struct fixture *f, bool all)
{
	uint64_t from, seq;

	OK(sat_facts_load(f->r, &f->err));
	from = all ? 0 : sat_replica_outbox_last(f->r);
	(void)harvest(f);
	for (seq = from + 1; seq <= sat_replica_outbox_last(f->r); seq++)
		printf("%s", dump(f, seq));
}

static void be_daemon(struct fixture *f)
{
	/* long enough for others to get the lock between two rounds */
	const struct timespec nap = { .tv_nsec = 5 * 1000000 };
	struct sat_msg_checkpoint c = { .rows = 0 };
	struct timespec t;
	uint64_t seq;
	bool agrees;

	/* later than any daemon before this one */
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &t), 0);
	f->seq = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	f->own = f->seq;
	(void)toy_write(f, 'i', "account", "a5", "name", "5", "territory_id",
			"e1", NULL);
	for (;;) {
		(void)toy_write(f, 'u', "account", "a5", "phone", "1",
				"visit_count", "1", NULL);
		toy_send(f, REP_SCOPE, "account", "a5");
		c.cursor = f->seq;
		OK(sat_replica_checkpoint(f->r, &c, 0, &seq, &agrees, &f->err));
		OK(sat_replica_harvest(f->r, 0, false, 5000, &seq, &f->err));
		(void)nanosleep(&nap, NULL);
	}
}

static int64_t increments(struct fixture *f, uint64_t seq, int column)
{
	struct sat_id id = id_of("a1");
	struct sat_changeset cs;
	int64_t sum = 0;

	sat_arena_reset(&f->r->batch);
	OK(sat_outbox_decode(f->r, seq, &cs, &f->err));
	for (uint32_t i = 0; i < cs.delta_count; i++) {
		const struct sat_delta *d = &cs.deltas[i];

		if (memcmp(&d->id, &id, sizeof id) != 0)
			continue;
		for (uint32_t k = 0; k < d->change_count; k++) {
			if (d->changes[k].column == column)
				sum += d->changes[k].value.i;
		}
	}
	return sum;
}

static void print_counted(struct fixture *f)
{
	const struct sat_table *t =
		sat_catalogue_table(f->c, sat_slice_str("account"));
	int column = sat_table_column(t, sat_slice_str("visit_count"));
	int64_t sum = 0;

	(void)harvest(f);
	for (uint64_t seq = 1; seq <= sat_replica_outbox_last(f->r); seq++)
		sum += increments(f, seq, column);
	printf("%" PRId64 "\n", sum);
}

int main(int argc, char **argv)
{
	struct fixture *f;

	if (argc < 3)
		return 2;
	f = fixture_new(argv[2], argc > 3 && strcmp(argv[3], "manager") == 0
					 ? SAT_ROLE_MANAGER
					 : SAT_ROLE_REP);
	if (strcmp(argv[1], "create") == 0) {
		fixture_create(f, 1);
		toy_account(f);
	} else {
		reopen(f);
	}
	if (strcmp(argv[1], "harvest") == 0)
		print_harvest(f, false);
	else if (strcmp(argv[1], "captured") == 0)
		print_harvest(f, true);
	else if (strcmp(argv[1], "rejected") == 0)
		printf("%s\n", query(f, "SELECT reason FROM satchel_rejected"
					" ORDER BY n"));
	else if (strcmp(argv[1], "daemon") == 0)
		be_daemon(f);
	else if (strcmp(argv[1], "counted") == 0)
		print_counted(f);
	sat_replica_close(f->r);
	sat_arena_fini(&f->a);
	free(f);
	return 0;
}
