/* conflicts and resolve: the ledger's entries, and a person's answer to one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "common/text.h"

#define LEDGER "conflict"

/* Columns that both commands need of the ledger. */
static const char *const needed[] = { "table_name",   "row_id",   "field",
				      "kind",         "policy",   "shown_value",
				      "losing_value", "state",    "shown_by",
				      "losing_by",    "losing_at" };

static const struct sat_table *ledger(struct sat_cli *c)
{
	const struct sat_table *t = sat_cli_table(c, LEDGER);

	for (size_t i = 0; t != NULL && i < SAT_COUNT_OF(needed); i++)
		if (sat_cli_column(t, needed[i]) == NULL) {
			(void)sat_cli_fail(
				c,
				SAT_TR(c,
				       "this organisation's catalogue has no "
				       "%s.%s",
				       "本组织的目录中没有 %s.%s"),
				LEDGER, needed[i]);
			return NULL;
		}
	return t;
}

/* ---- ledger text to values ----------------------------------------------- */

/* The ledger keeps values as text in the replica's own units. */
static bool stored_value(const struct sat_column *col, struct sat_value text,
			 struct sat_value *ret)
{
	char copy[64];
	char *end;

	*ret = text;
	if (text.kind != SAT_TEXT)
		return text.kind == SAT_NULL;
	switch (col->type) {
	case SAT_TYPE_INT:
	case SAT_TYPE_BOOL:
	case SAT_TYPE_MONEY:
	case SAT_TYPE_TIME:
	case SAT_TYPE_COUNTER:
	case SAT_TYPE_REAL:
		break;
	default:
		return true;
	}
	if (text.s.len == 0 || text.s.len >= sizeof copy)
		return false;
	memcpy(copy, text.s.ptr, text.s.len);
	copy[text.s.len] = '\0';
	errno = 0;
	if (col->type == SAT_TYPE_REAL)
		*ret = sat_value_real(strtod(copy, &end));
	else
		*ret = sat_value_int(strtoll(copy, &end, 10));
	return *end == '\0' && errno == 0;
}

/* The table and column that an entry speaks of; NULL when it is unknown. */
static const struct sat_table *entry_table(const struct sat_cli *c,
					   struct sat_value name)
{
	return name.kind != SAT_TEXT
		       ? NULL
		       : sat_catalogue_table(c->catalogue, name.s);
}

static const struct sat_column *entry_column(const struct sat_table *t,
					     struct sat_value name)
{
	int at = t == NULL || name.kind != SAT_TEXT
			 ? -1
			 : sat_table_column(t, name.s);

	return at < 0 ? NULL : &t->columns[at];
}

/* ---- conflicts ----------------------------------------------------------- */

/* Columns of the query. */
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

/* And of what is printed: labels instead of names, the row's name. */
enum {
	P_ID,
	P_TABLE,
	P_TABLE_LABEL,
	P_ROW,
	P_ROW_NAME,
	P_FIELD,
	P_FIELD_LABEL,
	P_KIND,
	P_POLICY,
	P_SHOWN,
	P_SHOWN_BY,
	P_OTHER,
	P_OTHER_BY,
	P_AT,
	P_STATE,
	P_COUNT
};

struct listing {
	struct sat_cli *c;
	struct sat_out out;
	struct sat_arena row;
	struct sat_out_column columns[P_COUNT];
};

/* A reference is shown by the name it leads to. */
static int name_of(struct listing *l, const struct sat_table *t,
		   struct sat_value id, struct sat_value *ret,
		   struct sat_err *err)
{
	const char *name = t == NULL ? NULL : sat_cli_name_column(t);
	char sql[160];

	*ret = sat_value_null();
	if (name == NULL || id.kind != SAT_TEXT)
		return SAT_OK;
	(void)snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = ?1", name,
		       t->name);
	return sat_query_value(l->c->replica, &l->row, sql, &id, 1, ret, err);
}

/* One side of the conflict, as text for a table. The column's kind decides
 * about units; in JSON the printed column takes that kind. */
static int side(struct listing *l, const struct sat_column *col,
		struct sat_value text, struct sat_value *ret,
		struct sat_err *err)
{
	struct sat_out_column form = { .enums = col };
	struct sat_buf out;
	int rc;

	if (col == NULL || !stored_value(col, text, ret))
		*ret = text;
	if (col == NULL || l->c->json)
		return SAT_OK;
	if (col->type == SAT_TYPE_REF)
		return name_of(l, &l->c->catalogue->tables[col->ref_table],
			       text, ret, err);
	form.kind = sat_out_kind_of(col);
	sat_buf_init(&out, SAT_CLI_TEXT_MAX);
	rc = sat_out_text(l->c, &form, ret, &out);
	if (rc == SAT_OK) {
		*ret = sat_value_text(sat_buf_peek(&out));
		rc = sat_value_copy(&l->row, ret, ret);
	}
	sat_buf_fini(&out);
	return rc == SAT_OK
		       ? rc
		       : sat_err_set(err, rc, 0, "conflicts", "out of memory");
}

static struct sat_value label_or(const struct sat_label *label,
				 enum sat_lang lang, struct sat_value name)
{
	return label == NULL ? name
			     : sat_value_text(sat_slice_str(label->text[lang]));
}

static int on_entry(void *arg, const struct sat_value *v, int count,
		    struct sat_err *err)
{
	struct listing *l = arg;
	const struct sat_table *t = entry_table(l->c, v[Q_TABLE]);
	const struct sat_column *col = entry_column(t, v[Q_FIELD]);
	struct sat_value p[P_COUNT];
	int rc;

	(void)count;
	sat_arena_reset(&l->row);
	p[P_ID] = v[Q_ID];
	p[P_TABLE] = v[Q_TABLE];
	p[P_ROW] = v[Q_ROW];
	p[P_FIELD] = v[Q_FIELD];
	p[P_KIND] = v[Q_KIND];
	p[P_POLICY] = v[Q_POLICY];
	p[P_SHOWN_BY] = v[Q_SHOWN_BY];
	p[P_OTHER_BY] = v[Q_LOSING_BY];
	p[P_AT] = v[Q_AT];
	p[P_STATE] = v[Q_STATE];
	p[P_TABLE_LABEL] =
		label_or(t == NULL ? NULL : &t->label, l->c->lang, v[Q_TABLE]);
	p[P_FIELD_LABEL] = label_or(col == NULL ? NULL : &col->label,
				    l->c->lang, v[Q_FIELD]);
	rc = name_of(l, t, v[Q_ROW], &p[P_ROW_NAME], err);
	if (rc == SAT_OK)
		rc = side(l, col, v[Q_SHOWN], &p[P_SHOWN], err);
	if (rc == SAT_OK)
		rc = side(l, col, v[Q_LOSING], &p[P_OTHER], err);
	l->columns[P_SHOWN].kind = l->columns[P_OTHER].kind =
		col == NULL || !l->c->json ? SAT_OUT_TEXT
					   : sat_out_kind_of(col);
	return rc == SAT_OK ? sat_out_row(&l->out, p, P_COUNT, err) : rc;
}

static void fill_columns(struct listing *l, const struct sat_table *t)
{
	struct sat_cli *c = l->c;
	const struct sat_out_column all[P_COUNT] = {
		[P_ID] = { "id", "id", SAT_OUT_ID, NULL },
		[P_TABLE] = { "table", NULL, SAT_OUT_TEXT, NULL },
		[P_TABLE_LABEL] = { NULL, SAT_TR(c, "Table", "数据表"),
				    SAT_OUT_TEXT, NULL },
		[P_ROW] = { "row_id", NULL, SAT_OUT_ID, NULL },
		[P_ROW_NAME] = { "row", SAT_TR(c, "Row", "记录"), SAT_OUT_TEXT,
				 NULL },
		[P_FIELD] = { "field", NULL, SAT_OUT_TEXT, NULL },
		[P_FIELD_LABEL] = { NULL, SAT_TR(c, "Field", "字段"),
				    SAT_OUT_TEXT, NULL },
		[P_KIND] = { "kind", SAT_TR(c, "Kind", "类型"), SAT_OUT_ENUM,
			     sat_cli_column(t, "kind") },
		[P_POLICY] = { "policy", NULL, SAT_OUT_TEXT, NULL },
		[P_SHOWN] = { "shown", SAT_TR(c, "Shown", "当前值"),
			      SAT_OUT_TEXT, NULL },
		[P_SHOWN_BY] = { "shown_by", SAT_TR(c, "by", "修改人"),
				 SAT_OUT_TEXT, NULL },
		[P_OTHER] = { "other", SAT_TR(c, "Other", "另一值"),
			      SAT_OUT_TEXT, NULL },
		[P_OTHER_BY] = { "other_by", SAT_TR(c, "by", "修改人"),
				 SAT_OUT_TEXT, NULL },
		[P_AT] = { "other_at", SAT_TR(c, "at", "时间"), SAT_OUT_TIME,
			   NULL },
		[P_STATE] = { "state", SAT_TR(c, "State", "状态"), SAT_OUT_ENUM,
			      sat_cli_column(t, "state") },
	};

	memcpy(l->columns, all, sizeof all);
}

static int list_entries(struct sat_list *l, const struct sat_table *t,
			int64_t limit)
{
	struct sat_cli *c = l->c;
	struct listing all = { .c = c };
	struct sat_slice where = sat_buf_peek(&l->where);
	const char *shown_by =
		sat_list_name_sql(c, sat_cli_column(t, "shown_by"), "t");
	const char *losing_by =
		sat_list_name_sql(c, sat_cli_column(t, "losing_by"), "t");
	struct sat_buf sql;
	int rc;

	sat_arena_init(&all.row, SAT_CLI_TEXT_MAX);
	sat_buf_init(&sql, 64 * 1024);
	fill_columns(&all, t);
	rc = sat_text_add(&sql,
			  "SELECT t.id, table_name, row_id, field, kind,"
			  " policy, shown_value, losing_value, %s, %s,"
			  " losing_at, state FROM " LEDGER
			  " t WHERE 1%.*s ORDER BY losing_at DESC, t.id"
			  " LIMIT %lld",
			  *shown_by == '\0' ? "t.shown_by" : shown_by,
			  *losing_by == '\0' ? "t.losing_by" : losing_by,
			  (int)where.len,
			  where.len == 0 ? "" : (const char *)where.ptr,
			  limit == 0 ? -1LL : (long long)limit + 1);
	if (rc == SAT_OK)
		rc = sat_buf_append(&sql, "", 1);
	if (rc != SAT_OK)
		rc = sat_err_set(&c->err, rc, 0, "conflicts", "out of memory");
	if (rc == SAT_OK)
		rc = sat_out_begin(&all.out, c, all.columns, P_COUNT, 30);
	all.out.limit = limit;
	if (rc == SAT_OK)
		rc = sat_query(c->replica, (const char *)sat_buf_peek(&sql).ptr,
			       l->args, l->arg_count, on_entry, &all, &c->err);
	sat_out_end(&all.out);
	sat_buf_fini(&sql);
	sat_arena_fini(&all.row);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

int sat_cli_conflicts(struct sat_cli *c)
{
	const struct sat_table *t = ledger(c);
	struct sat_list l;
	int64_t limit = 0;

	if (t == NULL)
		return SAT_CLI_FAILED;
	sat_list_begin(&l, c, t);
	l.code = sat_cli_limit(c, &limit);
	if (c->value[SAT_OPT_ALL] == NULL && c->value[SAT_OPT_STATE] == NULL)
		sat_list_where(&l, "t.state = 'open'");
	sat_list_by_enum(&l, SAT_OPT_STATE, "state");
	sat_list_since(&l, "losing_at");
	if (l.code == SAT_CLI_OK)
		l.code = list_entries(&l, t, limit);
	sat_list_end(&l);
	return l.code;
}

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
	const struct sat_table *t = entry_table(c, e->v[Q_TABLE]);
	const struct sat_column *col = entry_column(t, e->v[Q_FIELD]);
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
	if (stored_value(col, e->v[Q_LOSING], ret))
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
	if (is_text(e->v[Q_STATE], "resolved") ||
	    is_text(e->v[Q_STATE], "superseded"))
		return sat_cli_fail(
			c, "%s",
			SAT_TR(c, "this conflict is settled", "该冲突已处理"));
	return SAT_CLI_OK;
}

int sat_cli_resolve(struct sat_cli *c)
{
	const struct sat_table *t = ledger(c);
	struct entry e = { .c = c };
	struct sat_value args[2];
	char id[SAT_UUID_CHARS + 1];
	struct sat_out_object o;
	int rc, code;

	if (t == NULL)
		return SAT_CLI_FAILED;
	code = load_entry(c, t, &e, id);
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
