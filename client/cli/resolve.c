/* resolve and restore: a person's answer to a conflict, and a losing value
 * brought back. */
#include <string.h>

#include "client/cli/ledger.h"
#include "common/text.h"

#define LEDGER SAT_CLI_LEDGER

/* Columns of an entry as it is read. */
enum {
	Q_ID,
	Q_TABLE,
	Q_ROW,
	Q_FIELD,
	Q_KIND,
	Q_POLICY,
	Q_SHOWN,
	Q_LOSING,
	Q_SHOWN_BY,
	Q_LOSING_BY,
	Q_AT,
	Q_STATE,
	Q_COUNT
};

/* ---- resolve ------------------------------------------------------------- */

struct entry {
	struct sat_cli *c;
	bool found;
	struct sat_value v[Q_COUNT]; /* in the call's arena */
};

static int on_found(void *arg, const struct sat_value *v, int count,
		    struct sat_err *err)
{
	struct entry *e = arg;
	int rc = SAT_OK;

	for (int i = 0; rc == SAT_OK && i < count && i < Q_COUNT; i++)
		rc = sat_value_copy(&e->c->arena, &v[i], &e->v[i]);
	e->found = true;
	return rc == SAT_OK
		       ? rc
		       : sat_err_set(err, rc, 0, "resolve", "out of memory");
}

static bool is_text(struct sat_value v, const char *text)
{
	return v.kind == SAT_TEXT && sat_slice_equal(v.s, sat_slice_str(text));
}

/* What the row shows now, not what the entry said when it was written. */
static int shown_now(struct sat_cli *c, const struct sat_table *t,
		     const struct sat_column *col, struct sat_value row,
		     struct sat_value *ret)
{
	struct sat_value exists;
	char sql[160];
	int rc;

	(void)snprintf(sql, sizeof sql, "SELECT 1 FROM %s WHERE id = ?1",
		       t->name);
	rc = sat_query_value(c->replica, &c->arena, sql, &row, 1, &exists,
			     &c->err);
	if (rc == SAT_OK && exists.kind == SAT_NULL)
		return sat_cli_fail(
			c, "%s",
			SAT_TR(c, "the row is not on this device, or deleted",
			       "该记录不在本设备上，或已被删除"));
	(void)snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = ?1",
		       col->name, t->name);
	if (rc == SAT_OK)
		rc = sat_query_value(c->replica, &c->arena, sql, &row, 1, ret,
				     &c->err);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

/* A value that the rule would drop again cannot be brought back by a write. */
static bool rule_drops(const struct sat_column *col)
{
	return col->policy == SAT_POLICY_MAX || col->policy == SAT_POLICY_MIN ||
	       col->policy == SAT_POLICY_FIRST ||
	       col->policy == SAT_POLICY_COUNTER;
}

/* The device would list it as rejected at harvest; better to say so now. */
static int may_decide(struct sat_cli *c, const struct sat_table *t,
		      const struct sat_column *col)
{
	if ((col->write & SAT_ROLE_BIT(c->status.role)) == 0)
		return sat_cli_fail(
			c,
			SAT_TR(c, "%s.%s: your role (%s) may not write it",
			       "%s.%s：您的角色（%s）无权修改"),
			t->name, col->name,
			c->catalogue->role_label[c->status.role].text[c->lang]);
	if (rule_drops(col))
		return sat_cli_fail(
			c,
			SAT_TR(c,
			       "%s.%s is settled by its rule (%s); a write "
			       "cannot bring another value back",
			       "%s.%s "
			       "由规则（%s）决定，无法通过修改恢复另一值"),
			t->name, col->name, sat_policy_name(col->policy));
	return SAT_CLI_OK;
}

static int choose_value(struct sat_cli *c, const struct entry *e,
			struct sat_value *ret)
{
	const struct sat_table *t = sat_ledger_table(c, e->v[Q_TABLE]);
	const struct sat_column *col = sat_ledger_column(t, e->v[Q_FIELD]);
	const char *keep = c->value[SAT_OPT_KEEP];
	int code;

	if (col == NULL)
		return sat_cli_fail(c, "%s",
				    SAT_TR(c,
					   "the entry speaks of a field that "
					   "this catalogue does not have",
					   "该冲突涉及目录中不存在的字段"));
	code = may_decide(c, t, col);
	if (code != SAT_CLI_OK)
		return code;
	if (strcmp(keep, "shown") == 0)
		return shown_now(c, t, col, e->v[Q_ROW], ret);
	if (strcmp(keep, "other") != 0)
		return sat_cli_parse_value(c, col, keep, ret);
	if (sat_ledger_value(col, e->v[Q_LOSING], ret))
		return SAT_CLI_OK;
	return sat_cli_fail(c, "%s",
			    SAT_TR(c,
				   "the other value cannot be read; name the "
				   "value itself",
				   "无法读取另一值，请直接给出要保留的值"));
}

/* A delete that lost, a move, an orphan: keep the row, or repeat the delete. */
static int choose_fate(struct sat_cli *c, const struct entry *e,
		       struct sat_value *ret)
{
	const char *keep = c->value[SAT_OPT_KEEP];

	*ret = sat_value_text(sat_slice_str("keep"));
	if (strcmp(keep, "shown") == 0)
		return SAT_CLI_OK;
	*ret = sat_value_text(sat_slice_str("delete"));
	if (is_text(e->v[Q_KIND], "deleted") && strcmp(keep, "other") == 0)
		return SAT_CLI_OK;
	return sat_cli_misuse(
		c, "%s",
		SAT_TR(c,
		       "this entry takes --keep shown (the row stays) or, for "
		       "a delete, --keep other (delete it after all)",
		       "此冲突只接受 --keep shown（保留该记录）；若为删除冲突，"
		       "--keep other 表示仍然删除"));
}

static int load_entry(struct sat_cli *c, const struct sat_table *t,
		      struct entry *e, char id[SAT_UUID_CHARS + 1])
{
	struct sat_value arg;
	int rc, code = sat_cli_find_row(c, t, c->word[0], id);

	if (code != SAT_CLI_OK)
		return code;
	arg = sat_value_text(sat_slice_str(id));
	rc = sat_query(c->replica,
		       "SELECT id, table_name, row_id, field, kind, policy,"
		       " shown_value, losing_value, shown_by, losing_by,"
		       " losing_at, state FROM " LEDGER " WHERE id = ?1",
		       &arg, 1, on_found, e, &c->err);
	if (rc != SAT_OK)
		return sat_cli_error(c);
	return SAT_CLI_OK;
}

static int is_settled(struct sat_cli *c, const struct entry *e)
{
	if (!is_text(e->v[Q_STATE], "resolved") &&
	    !is_text(e->v[Q_STATE], "superseded"))
		return SAT_CLI_OK;
	return sat_cli_fail(c, "%s",
			    SAT_TR(c,
				   "this conflict is settled; `restore` brings "
				   "its other value back",
				   "该冲突已处理；可用 restore 恢复另一值"));
}

int sat_cli_resolve(struct sat_cli *c)
{
	const struct sat_table *t = sat_ledger(c);
	struct entry e = { .c = c };
	struct sat_value args[2];
	char id[SAT_UUID_CHARS + 1];
	struct sat_out_object o;
	int rc, code;

	if (t == NULL)
		return SAT_CLI_FAILED;
	code = load_entry(c, t, &e, id);
	if (code == SAT_CLI_OK)
		code = is_settled(c, &e);
	if (code == SAT_CLI_OK)
		code = e.v[Q_FIELD].kind == SAT_TEXT && e.v[Q_FIELD].s.len > 0
			       ? choose_value(c, &e, &args[1])
			       : choose_fate(c, &e, &args[1]);
	if (code != SAT_CLI_OK)
		return code;
	args[0] = sat_value_text(sat_slice_str(id));
	rc = sat_query(c->replica,
		       "INSERT INTO satchel_resolve(conflict, value)"
		       " VALUES(?1, ?2)",
		       args, 2, NULL, NULL, &c->err);
	if (rc != SAT_OK)
		return sat_cli_error(c);
	if (c->json) {
		sat_out_object_begin(&o);
		sat_out_member(&o, "conflict", SAT_OUT_ID, args[0]);
		sat_out_member(&o, "saved", SAT_OUT_BOOL, sat_value_int(1));
		sat_out_object_end(&o);
	} else {
		(void)puts(SAT_TR(c,
				  "decided; saved here, settled everywhere "
				  "after the next sync",
				  "已决定并保存在本机，下次同步后各处生效"));
	}
	return SAT_CLI_OK;
}

/* ---- restore ------------------------------------------------------------- */

/* An ordinary write: its context covers what lost and what is shown. */
static int write_back(struct sat_cli *c, const struct sat_table *t,
		      const struct sat_column *col, struct sat_value row,
		      struct sat_value value)
{
	struct sat_value args[2] = { row, value }, now;
	char sql[160];
	int code = shown_now(c, t, col, row, &now);

	if (code != SAT_CLI_OK)
		return code;
	if (sat_value_equal(&now, &value))
		return sat_cli_fail(c, "%s",
				    SAT_TR(c, "that is the value shown now",
					   "当前显示的就是该值"));
	(void)snprintf(sql, sizeof sql, "UPDATE %s SET %s = ?2 WHERE id = ?1",
		       t->name, col->name);
	return sat_query(c->replica, sql, args, 2, NULL, NULL, &c->err) ==
			       SAT_OK
		       ? SAT_CLI_OK
		       : sat_cli_error(c);
}

static int restore_value(struct sat_cli *c, const struct entry *e)
{
	const struct sat_table *t = sat_ledger_table(c, e->v[Q_TABLE]);
	const struct sat_column *col = sat_ledger_column(t, e->v[Q_FIELD]);
	struct sat_value value;
	int code;

	if (col == NULL || !sat_ledger_value(col, e->v[Q_LOSING], &value))
		return sat_cli_fail(c, "%s",
				    SAT_TR(c,
					   "the entry speaks of a field that "
					   "this catalogue does not have",
					   "该冲突涉及目录中不存在的字段"));
	code = may_decide(c, t, col);
	return code == SAT_CLI_OK ? write_back(c, t, col, e->v[Q_ROW], value)
				  : code;
}

/* A delete that lost is repeated; a parent that is gone comes back. */
static int restore_row(struct sat_cli *c, const struct entry *e)
{
	const struct sat_table *t = sat_ledger_table(c, e->v[Q_TABLE]);
	struct sat_value args[2] = { e->v[Q_ID],
				     sat_value_text(sat_slice_str("keep")) };
	char sql[120];
	int rc;

	if (t == NULL)
		return sat_cli_fail(c, "%s",
				    SAT_TR(c,
					   "the entry speaks of a table that "
					   "this catalogue does not have",
					   "该冲突涉及目录中不存在的表"));
	if (is_text(e->v[Q_KIND], "deleted")) {
		(void)snprintf(sql, sizeof sql, "DELETE FROM %s WHERE id = ?1",
			       t->name);
		rc = sat_query(c->replica, sql, &e->v[Q_ROW], 1, NULL, NULL,
			       &c->err);
	} else {
		rc = sat_query(c->replica,
			       "INSERT INTO satchel_resolve(conflict, value)"
			       " VALUES(?1, ?2)",
			       args, 2, NULL, NULL, &c->err);
	}
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

int sat_cli_restore(struct sat_cli *c)
{
	const struct sat_table *t = sat_ledger(c);
	struct entry e = { .c = c };
	char id[SAT_UUID_CHARS + 1];
	struct sat_out_object o;
	int code;

	if (t == NULL)
		return SAT_CLI_FAILED;
	code = load_entry(c, t, &e, id);
	if (code == SAT_CLI_OK)
		code = e.v[Q_FIELD].kind == SAT_TEXT && e.v[Q_FIELD].s.len > 0
			       ? restore_value(c, &e)
			       : restore_row(c, &e);
	if (code == SAT_CLI_OK)
		code = sat_cli_gather(c);
	if (code != SAT_CLI_OK)
		return code;
	if (c->json) {
		sat_out_object_begin(&o);
		sat_out_member(&o, "conflict", SAT_OUT_ID, e.v[Q_ID]);
		sat_out_member(&o, "saved", SAT_OUT_BOOL, sat_value_int(1));
		sat_out_object_end(&o);
		return SAT_CLI_OK;
	}
	(void)puts(SAT_TR(c, "brought back, saved here", "已恢复，保存在本机"));
	return SAT_CLI_OK;
}
