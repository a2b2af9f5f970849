/* pipeline: deals, amount and weighted amount per stage, from the deals that
 * this device holds. A deal weighs its amount times the percentage that the
 * catalogue gives its stage, rounded as the server's reports round. */
#include <string.h>

#include "client/cli/cli.h"

struct line {
	int64_t deals, amount, weighted;
};

struct figures {
	struct sat_out out;
	const struct sat_column *stage;
	bool grouped;
	struct line *by_stage; /* per value of stage, when not grouped */
	struct line total;
};

/* The table a --by word groups by: its column; NULL, said. */
static const struct sat_column *group_column(struct sat_cli *c,
					     const struct sat_table *t)
{
	static const struct {
		const char *word, *column;
	} all[] = { { "owner", "owner_id" },
		    { "territory", "territory_id" },
		    { "product", "product_id" } };
	const char *word = c->value[SAT_OPT_BY];
	const struct sat_column *col = NULL;

	for (size_t i = 0; i < SAT_COUNT_OF(all); i++)
		if (strcmp(all[i].word, word) == 0)
			col = sat_cli_column(t, all[i].column);
	if (col == NULL)
		(void)sat_cli_misuse(
			c,
			SAT_TR(c,
			       "--by is owner, territory or product, not "
			       "\"%s\"",
			       "--by 只能是 owner、territory 或 product，不能是"
			       "“%s”"),
			word);
	return col;
}

static int emit(struct figures *f, struct sat_value by_id,
		struct sat_value by_name, struct sat_value stage,
		const struct line *line, struct sat_err *err)
{
	struct sat_value row[6] = { by_id,
				    by_name,
				    stage,
				    sat_value_int(line->deals),
				    sat_value_int(line->amount),
				    sat_value_int(line->weighted) };

	f->total.deals += line->deals;
	f->total.amount += line->amount;
	f->total.weighted += line->weighted;
	return sat_out_row(&f->out, row, 6, err);
}

static int on_group(void *arg, const struct sat_value *v, int count,
		    struct sat_err *err)
{
	struct figures *f = arg;
	struct line line = { v[3].i, v[4].i, v[5].i };
	const struct sat_enum_value *e = NULL;

	(void)count;
	if (v[2].kind == SAT_TEXT)
		e = sat_column_enum(f->stage, v[2].s);
	if (f->grouped || e == NULL)
		return emit(f, v[0], v[1], v[2], &line, err);
	f->by_stage[e - f->stage->values] = line;
	return SAT_OK;
}

/* Without groups every stage has its line, the empty ones too. */
static int emit_stages(struct figures *f, struct sat_err *err)
{
	struct sat_value none = sat_value_null();
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < f->stage->value_count; i++)
		rc = emit(
			f, none, none,
			sat_value_text(sat_slice_str(f->stage->values[i].name)),
			&f->by_stage[i], err);
	return rc;
}

static int build(struct sat_cli *c, const struct sat_list *l,
		 const struct sat_column *stage, const struct sat_column *by,
		 struct sat_buf *sql)
{
	struct sat_slice where = sat_buf_peek(&l->where);
	const char *name = by == NULL ? "" : sat_list_name_sql(c, by, "t");
	int rc;

	rc = sat_text_add(
		sql,
		"SELECT %s%s, %s, t.%s, count(*),"
		" sum(coalesce(t.amount, 0)),"
		" sum((coalesce(t.amount, 0) * CASE t.%s",
		by == NULL ? "NULL" : "t.", by == NULL ? "" : by->name,
		*name == '\0' ? "NULL" : name, stage->name, stage->name);
	for (uint16_t i = 0; rc == SAT_OK && i < stage->value_count; i++)
		if (stage->values[i].percent >= 0)
			rc = sat_text_add(sql, " WHEN '%s' THEN %d",
					  stage->values[i].name,
					  (int)stage->values[i].percent);
	if (rc == SAT_OK)
		rc = sat_text_add(sql, " ELSE 0 END + 50) / 100), CASE t.%s",
				  stage->name);
	for (uint16_t i = 0; rc == SAT_OK && i < stage->value_count; i++)
		rc = sat_text_add(sql, " WHEN '%s' THEN %u",
				  stage->values[i].name, i);
	if (rc == SAT_OK)
		rc = sat_text_add(sql,
				  " END AS place FROM %s t WHERE 1%.*s GROUP BY"
				  " 1, t.%s ORDER BY 2, 1, place",
				  l->table->name, (int)where.len,
				  where.len == 0 ? "" : (const char *)where.ptr,
				  stage->name);
	return rc == SAT_OK ? sat_buf_append(sql, "", 1) : rc;
}

static int print_total(struct sat_cli *c, struct figures *f)
{
	struct sat_value row[6] = {
		sat_value_null(),
		sat_value_text(sat_slice_str(SAT_TR(c, "Total", "合计"))),
		sat_value_text(sat_slice_str(SAT_TR(c, "Total", "合计"))),
		sat_value_int(f->total.deals),
		sat_value_int(f->total.amount),
		sat_value_int(f->total.weighted)
	};

	if (f->grouped)
		row[2] = sat_value_text(sat_slice_str(""));
	if (c->json || f->out.more)
		return SAT_OK;
	f->out.limit = 0;
	return sat_out_row(&f->out, row, 6, &c->err);
}

static int show(struct sat_list *l, const struct sat_column *stage,
		const struct sat_column *by, int64_t limit)
{
	struct sat_cli *c = l->c;
	const struct sat_out_column columns[] = {
		{ by != NULL ? by->name : NULL, NULL, SAT_OUT_ID, NULL },
		{ by != NULL ? c->value[SAT_OPT_BY] : NULL,
		  by != NULL ? by->label.text[c->lang] : NULL, SAT_OUT_TEXT,
		  NULL },
		{ "stage", stage->label.text[c->lang], SAT_OUT_ENUM, stage },
		{ "deals", SAT_TR(c, "Deals", "商机数"), SAT_OUT_INT, NULL },
		{ "amount", SAT_TR(c, "Amount", "金额"), SAT_OUT_MONEY, NULL },
		{ "weighted", SAT_TR(c, "Weighted", "加权金额"), SAT_OUT_MONEY,
		  NULL },
	};
	struct figures f = { .stage = stage, .grouped = by != NULL };
	struct sat_buf sql;
	int rc;

	sat_buf_init(&sql, 128 * 1024);
	f.by_stage = sat_arena_array(&c->arena, stage->value_count,
				     sizeof *f.by_stage);
	rc = build(c, l, stage, by, &sql);
	if (rc != SAT_OK || f.by_stage == NULL)
		rc = sat_err_set(&c->err, SAT_E_NOMEM, 0, "pipeline",
				 "out of memory");
	if (rc == SAT_OK)
		rc = sat_out_begin(&f.out, c, columns, SAT_COUNT_OF(columns),
				   40);
	f.out.limit = limit;
	if (rc == SAT_OK)
		rc = sat_query(c->replica, (const char *)sat_buf_peek(&sql).ptr,
			       l->args, l->arg_count, on_group, &f, &c->err);
	if (rc == SAT_OK && by == NULL)
		rc = emit_stages(&f, &c->err);
	if (rc == SAT_OK)
		rc = print_total(c, &f);
	sat_out_end(&f.out);
	sat_buf_fini(&sql);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

int sat_cli_pipeline(struct sat_cli *c)
{
	const struct sat_table *t = sat_cli_table(c, "opportunity");
	const struct sat_column *stage, *by = NULL;
	struct sat_list l;
	int64_t limit = 0;
	int code;

	if (t == NULL)
		return SAT_CLI_FAILED;
	stage = sat_cli_column(t, "stage");
	if (stage == NULL || sat_cli_column(t, "amount") == NULL)
		return sat_cli_fail(
			c, "%s",
			SAT_TR(c,
			       "this organisation's catalogue has no deals "
			       "with stages and amounts",
			       "本组织的目录中没有带阶段和金额的商机"));
	if (c->value[SAT_OPT_BY] != NULL) {
		by = group_column(c, t);
		if (by == NULL)
			return SAT_CLI_USAGE;
	}
	code = sat_cli_limit(c, &limit);
	if (code != SAT_CLI_OK)
		return code;
	sat_list_begin(&l, c, t);
	sat_list_by_enum(&l, SAT_OPT_STAGE, "stage");
	sat_list_by_row(&l, SAT_OPT_OWNER, "owner_id");
	sat_list_by_row(&l, SAT_OPT_TERRITORY, "territory_id");
	sat_list_since(&l, "opened_at");
	code = l.code;
	if (code == SAT_CLI_OK)
		code = show(&l, stage, by, limit);
	sat_list_end(&l);
	return code;
}
