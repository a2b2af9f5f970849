/* today: open tasks that are due, visits planned for today, and promises to
 * come back whose day has come and that no later visit has kept. Days are
 * local. */
#include <string.h>

#include "client/cli/cli.h"
#include "common/text.h"

/* ?1 the end of today, ?2 the person, ?3 the beginning of today. Every part
 * gives: what, due, overdue, account's id and name, text, id. */
#define ACCOUNT                                        \
	" t.account_id, (SELECT a.name FROM account a" \
	" WHERE a.id = t.account_id),"

static const char tasks_sql[] =
	"SELECT 'task' AS what, t.due_at AS due, t.due_at < ?3 AS "
	"overdue," ACCOUNT " t.title AS text, t.id AS id FROM task t"
	" WHERE t.due_at < ?1 AND t.state IN ('open', 'doing')";
static const char tasks_mine[] =
	" AND (t.assignee_id = ?2 OR t.assignee_id IS NULL)";

static const char visits_sql[] =
	"SELECT 'visit', coalesce(t.plan_at, t.started_at),"
	" coalesce(t.plan_at, t.started_at) < ?3," ACCOUNT
	" coalesce(t.next_action, t.notes), t.id FROM visit t"
	" WHERE t.state = 'planned' AND coalesce(t.plan_at, t.started_at) < ?1";

static const char promises_sql[] =
	"SELECT 'return', t.next_at, t.next_at < ?3," ACCOUNT
	" t.next_action, t.id FROM visit t WHERE t.next_at < ?1"
	" AND t.state IS NOT 'planned' AND NOT EXISTS (SELECT 1 FROM visit w"
	" WHERE w.account_id = t.account_id AND w.id <> t.id AND"
	" w.started_at > t.started_at AND w.state IS NOT 'planned')";
static const char visits_mine[] = " AND t.user_id = ?2";

/* The words of the first column: an enum of our own. */
static const struct sat_enum_value what_values[] = {
	{ .name = "task", .label = { { "Task", "任务" } } },
	{ .name = "visit", .label = { { "Planned visit", "计划拜访" } } },
	{ .name = "return", .label = { { "Come back", "回访" } } },
};
static const struct sat_column what_column = {
	.name = "what",
	.type = SAT_TYPE_ENUM,
	.values = what_values,
	.value_count = SAT_COUNT_OF(what_values),
};

/* Has the catalogue every column that the part reads? */
static bool has_columns(const struct sat_table *t, const char *const *names,
			size_t count)
{
	for (size_t i = 0; t != NULL && i < count; i++)
		if (sat_cli_column(t, names[i]) == NULL)
			return false;
	return t != NULL;
}

static int add_part(struct sat_buf *sql, bool *first, const char *select,
		    const char *mine)
{
	int rc = sat_text_add(sql, "%s%s%s", *first ? "" : " UNION ALL ",
			      select, mine);

	*first = false;
	return rc;
}

static int build(struct sat_cli *c, struct sat_buf *sql, bool *ret_none)
{
	static const char *const of_task[] = { "due_at", "state", "title",
					       "account_id", "assignee_id" };
	static const char *const of_visit[] = { "plan_at", "started_at",
						"state",   "account_id",
						"notes",   "next_at",
						"user_id", "next_action" };
	static const char *const of_account[] = { "name" };
	const struct sat_catalogue *k = c->catalogue;
	const struct sat_table *task =
		sat_catalogue_table(k, sat_slice_str("task"));
	const struct sat_table *visit =
		sat_catalogue_table(k, sat_slice_str("visit"));
	bool all = c->value[SAT_OPT_ALL] != NULL, first = true;
	int rc = SAT_OK;

	if (!has_columns(sat_catalogue_table(k, sat_slice_str("account")),
			 of_account, SAT_COUNT_OF(of_account)))
		task = visit = NULL;
	if (has_columns(task, of_task, SAT_COUNT_OF(of_task)))
		rc = add_part(sql, &first, tasks_sql, all ? "" : tasks_mine);
	if (rc == SAT_OK &&
	    has_columns(visit, of_visit, SAT_COUNT_OF(of_visit)))
		rc = add_part(sql, &first, visits_sql, all ? "" : visits_mine);
	if (rc == SAT_OK &&
	    has_columns(visit, of_visit, SAT_COUNT_OF(of_visit)))
		rc = add_part(sql, &first, promises_sql,
			      all ? "" : visits_mine);
	*ret_none = first;
	return rc;
}

static int show(struct sat_cli *c, const char *sql, int64_t limit)
{
	struct sat_id me = sat_query_user(c->replica);
	char id[SAT_UUID_CHARS + 1];
	const struct sat_out_column columns[] = {
		{ "what", SAT_TR(c, "What", "事项"), SAT_OUT_ENUM,
		  &what_column },
		{ "due", SAT_TR(c, "Due", "时间"), SAT_OUT_TIME, NULL },
		{ "overdue", SAT_TR(c, "Overdue", "逾期"), SAT_OUT_BOOL, NULL },
		{ "account_id", NULL, SAT_OUT_ID, NULL },
		{ "account", SAT_TR(c, "Account", "客户"), SAT_OUT_TEXT, NULL },
		{ "text", SAT_TR(c, "To do", "内容"), SAT_OUT_TEXT, NULL },
		{ "id", "id", SAT_OUT_ID, NULL },
	};
	struct sat_value args[3] = { sat_value_int(sat_cli_midnight(1)),
				     sat_value_null(),
				     sat_value_int(sat_cli_midnight(0)) };
	struct sat_out out;
	int rc;

	sat_id_format(&me, id);
	args[1] = sat_value_text(sat_slice_str(id));
	rc = sat_out_begin(&out, c, columns, SAT_COUNT_OF(columns), 50);
	out.limit = limit;
	if (rc == SAT_OK)
		rc = sat_query(c->replica, sql, args, 3, sat_out_row, &out,
			       &c->err);
	out.empty =
		SAT_TR(c,
		       "(nothing is due today; `satchel tasks` lists what "
		       "comes later)",
		       "（今天没有到期事项；`satchel tasks` 列出以后的事项）");
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

int sat_cli_today(struct sat_cli *c)
{
	struct sat_buf sql;
	int64_t limit;
	bool none = false;
	int rc, code = sat_cli_limit(c, &limit);

	if (code != SAT_CLI_OK)
		return code;
	sat_buf_init(&sql, 16 * 1024);
	rc = build(c, &sql, &none);
	if (rc == SAT_OK)
		rc = sat_text_add(&sql, " ORDER BY 2, 7 LIMIT %lld",
				  limit == 0 ? -1LL : (long long)limit + 1);
	if (rc == SAT_OK)
		rc = sat_buf_append(&sql, "", 1);
	if (rc != SAT_OK)
		code = sat_cli_fail(c, "%s",
				    SAT_TR(c, "out of memory", "内存不足"));
	else if (none)
		code = sat_cli_fail(
			c, "%s",
			SAT_TR(c,
			       "this organisation's catalogue has neither "
			       "tasks nor visits",
			       "本组织的目录中既没有任务也没有拜访"));
	else
		code = show(c, (const char *)sat_buf_peek(&sql).ptr, limit);
	sat_buf_fini(&sql);
	return code;
}
