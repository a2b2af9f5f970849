/* conflicts: the ledger's entries in words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/ledger.h"
#include "common/text.h"

#define LEDGER SAT_CLI_LEDGER

/* Columns that both commands need of the ledger. */
static const char *const needed[] = { "table_name",   "row_id",   "field",
				      "kind",         "policy",   "shown_value",
				      "losing_value", "state",    "shown_by",
				      "losing_by",    "losing_at" };

const struct sat_table *sat_ledger(struct sat_cli *c)
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

bool sat_ledger_value(const struct sat_column *col, struct sat_value text,
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

const struct sat_table *sat_ledger_table(const struct sat_cli *c,
					 struct sat_value name)
{
	return name.kind != SAT_TEXT
		       ? NULL
		       : sat_catalogue_table(c->catalogue, name.s);
}

const struct sat_column *sat_ledger_column(const struct sat_table *t,
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

	if (col == NULL || !sat_ledger_value(col, text, ret))
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
	const struct sat_table *t = sat_ledger_table(l->c, v[Q_TABLE]);
	const struct sat_column *col = sat_ledger_column(t, v[Q_FIELD]);
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
	all.out.empty = SAT_TR(
		c,
		"(no such conflict: nothing to decide; --all lists the "
		"settled ones too)",
		"（没有这样的冲突，无需处理；--all 也列出已处理的冲突）");
	if (rc == SAT_OK)
		rc = sat_query(c->replica, (const char *)sat_buf_peek(&sql).ptr,
			       l->args, l->arg_count, on_entry, &all, &c->err);
	sat_out_end(&all.out);
	sat_buf_fini(&sql);
	sat_arena_fini(&all.row);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

/* Rows of that table which lie in the territory or below it: by their own
 * column, else by that of the row they belong to. */
static bool territory_sql(const struct sat_catalogue *cat,
			  const struct sat_table *t, char *out, size_t n)
{
	const struct sat_table *p;

	if (t->territory >= 0) {
		(void)snprintf(out, n,
			       "SELECT x.id FROM %s x WHERE x.%s IN sub",
			       t->name, t->columns[t->territory].name);
		return true;
	}
	for (uint16_t i = 0; i < t->scope_count; i++) {
		const struct sat_column *c = &t->columns[t->scopes[i].column];

		if (t->scopes[i].kind != SAT_SCOPE_VIA)
			continue;
		p = &cat->tables[c->ref_table];
		if (p->territory < 0)
			continue;
		(void)snprintf(out, n,
			       "SELECT x.id FROM %s x JOIN %s p ON p.id = x.%s"
			       " WHERE p.%s IN sub",
			       t->name, p->name, c->name,
			       p->columns[p->territory].name);
		return true;
	}
	return false;
}

/* The queue of a territory: what is there and below it. */
static void by_territory(struct sat_list *l)
{
	struct sat_cli *c = l->c;
	const struct sat_table *tree;
	struct sat_buf rows;
	char *id, sql[400];
	int arg, rc;

	if (l->code != SAT_CLI_OK || c->value[SAT_OPT_TERRITORY] == NULL)
		return;
	tree = sat_cli_table(c, "territory");
	id = sat_arena_alloc(&c->arena, SAT_UUID_CHARS + 1);
	l->code = SAT_CLI_FAILED;
	if (tree == NULL || id == NULL)
		return;
	l->code = sat_cli_find_row(c, tree, c->value[SAT_OPT_TERRITORY], id);
	if (l->code != SAT_CLI_OK)
		return;
	sat_buf_init(&rows, 1 << 20);
	rc = SAT_OK;
	for (uint16_t i = 0; rc == SAT_OK && i < c->catalogue->table_count; i++)
		if (territory_sql(c->catalogue, &c->catalogue->tables[i], sql,
				  sizeof sql))
			rc = sat_text_add(&rows, " UNION ALL %s", sql);
	arg = sat_list_arg(l, sat_value_text(sat_slice_str(id)));
	if (rc == SAT_OK)
		rc = sat_text_add(
			&l->where,
			" AND t.row_id IN (WITH RECURSIVE sub(id) AS (SELECT"
			" ?%d UNION SELECT y.id FROM territory y JOIN sub ON"
			" y.parent_id = sub.id) SELECT NULL%.*s)",
			arg, (int)sat_buf_peek(&rows).len,
			(const char *)sat_buf_peek(&rows).ptr);
	if (rc != SAT_OK)
		l->code = sat_cli_fail(c, "%s",
				       SAT_TR(c, "out of memory", "内存不足"));
	sat_buf_fini(&rows);
}

static void only_mine(struct sat_list *l)
{
	struct sat_id me = sat_query_user(l->c->replica);
	char *text = sat_arena_alloc(&l->c->arena, SAT_UUID_CHARS + 1);
	int arg;

	if (l->c->value[SAT_OPT_MINE] == NULL || text == NULL)
		return;
	sat_id_format(&me, text);
	arg = sat_list_arg(l, sat_value_text(sat_slice_str(text)));
	sat_list_where(l, "t.shown_by = ?%d OR t.losing_by = ?%d", arg, arg);
}

int sat_cli_conflicts(struct sat_cli *c)
{
	const char *state = c->value[SAT_OPT_STATE];
	bool every = c->value[SAT_OPT_ALL] != NULL ||
		     (state != NULL && strcmp(state, "all") == 0);

	const struct sat_table *t = sat_ledger(c);
	struct sat_list l;
	int64_t limit = 0;

	if (t == NULL)
		return SAT_CLI_FAILED;
	sat_list_begin(&l, c, t);
	l.code = sat_cli_limit(c, &limit);
	if (state == NULL && !every)
		sat_list_where(&l, "t.state = 'open'");
	if (!every)
		sat_list_by_enum(&l, SAT_OPT_STATE, "state");
	only_mine(&l);
	sat_list_since(&l, "losing_at");
	by_territory(&l);
	if (l.code == SAT_CLI_OK)
		l.code = list_entries(&l, t, limit);
	sat_list_end(&l);
	return l.code;
}
