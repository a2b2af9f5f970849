/* log-visit: one visit, and the task that follows from it, in one transaction.
 * What is not given keeps the column's default: the author, his home, now. */
#include <string.h>

#include "client/cli/cli.h"
#include "common/text.h"

enum { CELLS_MAX = 24 };

/* An INSERT being put together. */
struct insert {
	struct sat_cli *c;
	const struct sat_table *table;
	const char *column[CELLS_MAX];
	struct sat_value value[CELLS_MAX];
	int count;
	int code;
};

static void put(struct insert *in, const char *column, struct sat_value v)
{
	if (in->code != SAT_CLI_OK)
		return;
	if (sat_cli_column(in->table, column) == NULL) {
		in->code = sat_cli_fail(
			in->c,
			SAT_TR(in->c,
			       "this organisation's catalogue has no %s.%s",
			       "本组织的目录中没有 %s.%s"),
			in->table->name, column);
		return;
	}
	SAT_ASSERT(in->count < CELLS_MAX);
	in->column[in->count] = column;
	in->value[in->count++] = v;
}

/* The option's word as the column's value, when it was given. */
static void put_option(struct insert *in, enum sat_cli_option o,
		       const char *column)
{
	const char *word = in->c->value[o];
	const struct sat_column *col = sat_cli_column(in->table, column);
	struct sat_value v = sat_value_null();

	if (in->code != SAT_CLI_OK || word == NULL)
		return;
	if (col != NULL)
		in->code = sat_cli_parse_value(in->c, col, word, &v);
	put(in, column, v);
}

/* Inside a transaction. *ret_id: what the new row is called. */
static int run(struct insert *in, const char **ret_id)
{
	struct sat_cli *c = in->c;
	struct sat_value id = sat_value_null();
	struct sat_buf sql;
	char find[128];
	int rc;

	sat_buf_init(&sql, 16 * 1024);
	rc = sat_text_add(&sql, "INSERT INTO %s(", in->table->name);
	for (int i = 0; rc == SAT_OK && i < in->count; i++)
		rc = sat_text_add(&sql, "%s%s", i == 0 ? "" : ", ",
				  in->column[i]);
	if (rc == SAT_OK)
		rc = sat_text_add(&sql, ") VALUES(");
	for (int i = 0; rc == SAT_OK && i < in->count; i++)
		rc = sat_text_add(&sql, "%s?%d", i == 0 ? "" : ", ", i + 1);
	if (rc == SAT_OK)
		rc = sat_buf_append(&sql, ")", 2);
	if (rc != SAT_OK)
		rc = sat_err_set(&c->err, rc, 0, "insert", "out of memory");
	if (rc == SAT_OK)
		rc = sat_query(c->replica, (const char *)sat_buf_peek(&sql).ptr,
			       in->value, in->count, NULL, NULL, &c->err);
	(void)snprintf(find, sizeof find,
		       "SELECT id FROM %s WHERE rowid = last_insert_rowid()",
		       in->table->name);
	if (rc == SAT_OK)
		rc = sat_query_value(c->replica, &c->arena, find, NULL, 0, &id,
				     &c->err);
	if (rc == SAT_OK && id.kind == SAT_TEXT)
		*ret_id = sat_arena_string(&c->arena, id.s);
	sat_buf_fini(&sql);
	return rc;
}

static void fill_visit(struct insert *in, const char *account)
{
	struct sat_cli *c = in->c;

	put(in, "account_id", sat_value_text(sat_slice_str(account)));
	put_option(in, SAT_OPT_OUTCOME, "outcome");
	put_option(in, SAT_OPT_PURPOSE, "purpose");
	put_option(in, SAT_OPT_NOTE, "notes");
	put_option(in, SAT_OPT_NEXT, "next_at");
	put_option(in, SAT_OPT_NEXT_ACTION, "next_action");
	put_option(in, SAT_OPT_AT, "started_at");
	put_option(in, SAT_OPT_UNTIL, "ended_at");
	put_option(in, SAT_OPT_AMOUNT, "amount");
	put_option(in, SAT_OPT_LAT, "lat");
	put_option(in, SAT_OPT_LON, "lon");
	if (c->value[SAT_OPT_PLANNED] == NULL)
		return;
	put_option(in, SAT_OPT_AT, "plan_at");
	put(in, "state", sat_value_text(sat_slice_str("planned")));
}

/* The title: what was promised, else the account's name. */
static struct sat_value task_title(struct sat_cli *c, const char *account)
{
	struct sat_value arg = sat_value_text(sat_slice_str(account));
	struct sat_value name = sat_value_null();
	const char *action = c->value[SAT_OPT_NEXT_ACTION];
	size_t n;
	char text[512];
	char *copy;

	if (action != NULL && *action != '\0')
		return sat_value_text(sat_slice_str(action));
	if (sat_query_value(c->replica, &c->arena,
			    "SELECT name FROM account WHERE id = ?1", &arg, 1,
			    &name, &c->err) != SAT_OK ||
	    name.kind != SAT_TEXT)
		name = sat_value_text(sat_slice_str(""));
	n = name.s.len < 400 ? name.s.len : 400;
	while (n > 0 && n < name.s.len && (name.s.ptr[n] & 0xc0) == 0x80)
		n--; /* not in the middle of a character */
	(void)snprintf(text, sizeof text,
		       SAT_TR(c, "Follow up: %.*s", "跟进：%.*s"), (int)n,
		       (const char *)name.s.ptr);
	copy = sat_arena_string(&c->arena, sat_slice_str(text));
	return sat_value_text(sat_slice_str(copy == NULL ? "" : copy));
}

static void fill_task(struct insert *in, const char *account, const char *visit)
{
	put(in, "title", task_title(in->c, account));
	put(in, "account_id", sat_value_text(sat_slice_str(account)));
	put(in, "visit_id", sat_value_text(sat_slice_str(visit)));
	put_option(in, SAT_OPT_NEXT, "due_at");
}

static int say(struct sat_cli *c, const char *visit, const char *task)
{
	struct sat_out_object o;

	if (c->json) {
		sat_out_object_begin(&o);
		sat_out_member(&o, "id", SAT_OUT_ID,
			       sat_value_text(sat_slice_str(visit)));
		sat_out_member(&o, "task_id", SAT_OUT_ID,
			       task == NULL
				       ? sat_value_null()
				       : sat_value_text(sat_slice_str(task)));
		sat_out_member(&o, "saved", SAT_OUT_BOOL, sat_value_int(1));
		sat_out_object_end(&o);
		return SAT_CLI_OK;
	}
	(void)printf(
		SAT_TR(c, "visit %s saved here\n", "拜访 %s 已保存在本机\n"),
		visit);
	if (task != NULL)
		(void)printf(SAT_TR(c, "task %s saved here\n",
				    "任务 %s 已保存在本机\n"),
			     task);
	return SAT_CLI_OK;
}

static int check(struct sat_cli *c)
{
	if (c->value[SAT_OPT_TASK] != NULL && c->value[SAT_OPT_NEXT] == NULL)
		return sat_cli_misuse(c, "%s",
				      SAT_TR(c, "--task needs --next DATE",
					     "--task 需要 --next 日期"));
	if (c->value[SAT_OPT_PLANNED] != NULL && c->value[SAT_OPT_AT] == NULL)
		return sat_cli_misuse(c, "%s",
				      SAT_TR(c, "--planned needs --at TIME",
					     "--planned 需要 --at 时间"));
	return SAT_CLI_OK;
}

/* Everything is read and understood before the transaction begins: it holds
 * the write lock. */
static int write_all(struct sat_cli *c, struct insert *visit,
		     struct insert *task, const char *account)
{
	const char *visit_id = NULL, *task_id = NULL;
	int rc = sat_query_begin(c->replica, &c->err);

	if (rc == SAT_OK)
		rc = run(visit, &visit_id);
	if (rc == SAT_OK && visit_id == NULL)
		rc = sat_err_set(&c->err, SAT_E_NOMEM, 0, "visit",
				 "out of memory");
	if (rc == SAT_OK && task->table != NULL) {
		fill_task(task, account, visit_id);
		if (task->code != SAT_CLI_OK) {
			sat_query_rollback(c->replica);
			return task->code;
		}
		rc = run(task, &task_id);
	}
	if (rc == SAT_OK)
		rc = sat_query_commit(c->replica, &c->err);
	if (rc == SAT_OK)
		return say(c, visit_id, task_id);
	sat_query_rollback(c->replica);
	return sat_cli_error(c);
}

int sat_cli_log_visit(struct sat_cli *c)
{
	const struct sat_table *accounts = sat_cli_table(c, "account");
	struct insert visit = { .c = c, .table = sat_cli_table(c, "visit") };
	struct insert task = { .c = c };
	char account[SAT_UUID_CHARS + 1];
	int code = check(c);

	if (code != SAT_CLI_OK)
		return code;
	if (accounts == NULL || visit.table == NULL)
		return SAT_CLI_FAILED;
	code = sat_cli_find_row(c, accounts, c->value[SAT_OPT_ACCOUNT],
				account);
	if (code != SAT_CLI_OK)
		return code;
	if (c->value[SAT_OPT_TASK] != NULL) {
		task.table = sat_cli_table(c, "task");
		if (task.table == NULL)
			return SAT_CLI_FAILED;
	}
	fill_visit(&visit, account);
	if (visit.code != SAT_CLI_OK)
		return visit.code;
	return write_all(c, &visit, &task, account);
}
