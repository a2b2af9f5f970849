#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "server/sync/run.h"

/* Stored rows that are not what was written: readers that meet one say so,
 * and a timer reads all rows, a thousand at a time. What was found is kept in
 * memory until a later pass does not find it any more. */

enum { SLICE_ROWS = 1000 };

/* ---- what is known ------------------------------------------------------- */

static bool is_same(const struct sat_row_name *a, const struct sat_row_name *b)
{
	return strcmp(a->table, b->table) == 0 &&
	       memcmp(a->id.b, b->id.b, sizeof a->id.b) == 0;
}

static void say(enum sat_log_level level, const struct sat_row_name *row,
		const char *what)
{
	char id[SAT_UUID_CHARS + 1];

	sat_id_format(&row->id, id);
	sat_log(level, "check", what, SAT_KV_STR("table", row->table),
		SAT_KV_STR("id", id));
}

void sat_server_damage_note(struct sat_server *s,
			    const struct sat_row_name *rows, uint32_t count)
{
	struct sat_damage *d = &s->damage;
	struct sat_damage_row *grown;
	uint32_t k;

	for (uint32_t i = 0; i < count; i++) {
		for (k = 0; k < d->count; k++)
			if (is_same(&d->list[k].row, &rows[i]))
				break;
		if (k == d->count && d->count < SAT_RUN_DAMAGED_MAX) {
			grown = realloc(d->list, (k + 1) * sizeof *grown);
			if (grown == NULL)
				return; /* it is met again */
			d->list = grown;
			d->list[d->count++].row = rows[i];
			say(SAT_LOG_ERROR, &rows[i], "a stored row is damaged");
		}
		if (k < d->count)
			d->list[k].pass = d->pass;
	}
	s->m.damaged_rows = d->count;
}

void sat_server_damage_fini(struct sat_server *s)
{
	free(s->damage.list);
	s->damage.list = NULL;
	s->damage.count = 0;
}

/* All rows were read once more: what was not met is sound again, or gone. */
static void end_pass(struct sat_server *s)
{
	struct sat_damage *d = &s->damage;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < d->count; i++) {
		if (d->list[i].pass == d->pass)
			d->list[kept++] = d->list[i];
		else
			say(SAT_LOG_INFO, &d->list[i].row,
			    "a damaged row was put right");
	}
	d->count = kept;
	d->pass++;
	s->m.damaged_rows = kept;
}

/* ---- the job ------------------------------------------------------------- */

struct check_job {
	struct sat_job job;
	struct sat_server *server;
	uint16_t table; /* index; go on there, after that row */
	uint64_t after;
	bool end; /* of the pass */
	uint32_t seen, count;
	struct sat_row_name found[SLICE_ROWS];
};

static int on_row(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct check_job *x = arg;

	x->seen++;
	if (row->damaged)
		sat_row_name_of(t, &row->id, &x->found[x->count++]);
	return SAT_OK;
}

static int run_check(struct sat_job *j, struct sat_bench *b,
		     struct sat_err *err)
{
	struct check_job *x = SAT_CONTAINER_OF(j, struct check_job, job);
	const struct sat_catalogue *c = sat_store_catalogue(b->store);
	int rc = SAT_OK;

	while (rc == SAT_OK && x->seen < SLICE_ROWS && c != NULL &&
	       x->table < c->table_count) {
		rc = sat_store_rows_after(b->store, &c->tables[x->table],
					  x->after, SLICE_ROWS - x->seen,
					  on_row, x, &x->after, err);
		/* a row that cannot even be read ends its table */
		if (rc == SAT_E_CORRUPT)
			x->after = 0;
		if (x->after == 0)
			x->table++;
	}
	x->end = c == NULL || x->table >= c->table_count;
	return rc;
}

static void done_check(struct sat_job *j)
{
	struct check_job *x = SAT_CONTAINER_OF(j, struct check_job, job);
	struct sat_server *s = x->server;
	struct sat_damage *d = &s->damage;

	d->checking = false;
	sat_server_damage_note(s, x->found, x->count);
	if (j->rc != SAT_OK)
		sat_log(j->rc == SAT_E_CORRUPT ? SAT_LOG_ERROR : SAT_LOG_WARN,
			"check", "rows could not be read", SAT_KV_ERR(&j->err));
	if (j->rc == SAT_OK || j->rc == SAT_E_CORRUPT) {
		d->table = x->end ? 0 : x->table;
		d->after = x->end ? 0 : x->after;
		if (x->end)
			end_pass(s);
	}
	free(x);
	sat_server_settle(s);
}

void sat_server_damage_check(struct sat_server *s)
{
	uint64_t now = sat_server_now(s);
	struct sat_damage *d = &s->damage;
	struct check_job *x;

	if (d->checking || d->due_ms > now)
		return;
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return; /* the next sweep tries again */
	d->due_ms = now +
		    (uint64_t)sat_config_int(s->config, SAT_CFG_CHECK_SECONDS) *
			    1000;
	x->server = s;
	x->table = d->table;
	x->after = d->after;
	x->job.run = run_check;
	x->job.done = done_check;
	d->checking = true;
	sat_workers_read(&s->workers, &x->job);
}
