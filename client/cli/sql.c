/* sql and tables: the replica as a database. Values of `sql` are printed as
 * they are stored: money in minor units, times in ms, so that what a program
 * reads is what it may write back. */
#include <string.h>

#include "client/cli/cli.h"

struct answer {
	struct sat_cli *c;
	struct sat_out out;
	bool results; /* any statement had one */
};

static int on_begin(void *arg, const char *const *names, int count,
		    struct sat_err *err)
{
	struct answer *a = arg;
	struct sat_arena *mem = &a->c->arena;
	struct sat_out_column *columns =
		sat_arena_array(mem, (size_t)count, sizeof *columns);

	for (int i = 0; columns != NULL && i < count; i++) {
		columns[i].key = sat_arena_string(mem, sat_slice_str(names[i]));
		columns[i].title = columns[i].key;
		columns[i].kind = SAT_OUT_RAW;
		if (columns[i].key == NULL)
			columns = NULL;
	}
	if (columns == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "sql", "out of memory");
	if (a->results && !a->c->json)
		(void)fputc('\n', stdout);
	a->results = true;
	if (sat_out_begin(&a->out, a->c, columns, count, 0) != SAT_OK) {
		*err = a->c->err;
		return err->rc;
	}
	return SAT_OK;
}

static int on_row(void *arg, const struct sat_value *values, int count,
		  struct sat_err *err)
{
	struct answer *a = arg;

	return sat_out_row(&a->out, values, count, err);
}

static int on_end(void *arg, struct sat_err *err)
{
	struct answer *a = arg;

	(void)err;
	sat_out_end(&a->out);
	return SAT_OK;
}

/* The text from the command line or standard input, with a NUL. */
static int read_text(struct sat_cli *c, struct sat_buf *text)
{
	uint8_t *p;
	size_t got;
	int rc = SAT_OK;

	if (c->words == 1 && strcmp(c->word[0], "-") != 0) {
		rc = sat_buf_append(text, c->word[0], strlen(c->word[0]) + 1);
	} else {
		do {
			rc = sat_buf_reserve(text, 65536, &p);
			got = rc == SAT_OK ? fread(p, 1, 65536, stdin) : 0;
			sat_buf_commit(text, got);
		} while (rc == SAT_OK && got > 0);
		if (rc == SAT_OK)
			rc = sat_buf_append(text, "", 1);
	}
	if (rc != SAT_OK)
		return sat_cli_fail(
			c, "%s",
			SAT_TR(c, "the statements are too long", "语句过长"));
	/* What follows a NUL would silently not be run. */
	if (memchr(sat_buf_peek(text).ptr, 0, sat_buf_peek(text).len - 1) !=
	    NULL)
		return sat_cli_fail(c, "%s",
				    SAT_TR(c, "the statements hold a NUL byte",
					   "语句中含有 NUL 字节"));
	return SAT_CLI_OK;
}

int sat_cli_sql(struct sat_cli *c)
{
	struct answer a = { .c = c };
	struct sat_query_sink sink = {
		.begin = on_begin, .row = on_row, .end = on_end, .arg = &a
	};
	struct sat_buf text;
	uint64_t changes = 0;
	int rc, code;

	sat_buf_init(&text, SAT_CLI_TEXT_MAX);
	code = read_text(c, &text);
	if (code == SAT_CLI_OK) {
		rc = sat_query_text(c->replica,
				    (const char *)sat_buf_peek(&text).ptr,
				    &sink, &changes, &c->err);
		sat_out_end(&a.out); /* of a statement that failed midway */
		if (rc != SAT_OK)
			code = sat_cli_error(c);
	}
	if (code == SAT_CLI_OK && !a.results && changes > 0 && !c->json)
		(void)printf(SAT_TR(c, "%llu rows changed, saved here\n",
				    "已修改 %llu 行，保存在本机\n"),
			     (unsigned long long)changes);
	sat_buf_fini(&text);
	return code;
}

/* ---- tables -------------------------------------------------------------- */

static int count_rows(struct sat_cli *c, const struct sat_table *t,
		      struct sat_value *ret)
{
	char sql[80];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", t->name);
	return sat_query_value(c->replica, &c->arena, sql, NULL, 0, ret,
			       &c->err);
}

static struct sat_value text_of(const char *s)
{
	return sat_value_text(sat_slice_str(s));
}

static int all_tables(struct sat_cli *c)
{
	const struct sat_out_column columns[] = {
		{ "name", SAT_TR(c, "Name", "表名"), SAT_OUT_TEXT, NULL },
		{ "label", SAT_TR(c, "Label", "名称"), SAT_OUT_TEXT, NULL },
		{ "rows", SAT_TR(c, "Rows", "记录数"), SAT_OUT_INT, NULL },
	};
	struct sat_out out;
	int rc = sat_out_begin(&out, c, columns, SAT_COUNT_OF(columns), 0);

	for (uint16_t i = 0; rc == SAT_OK && i < c->catalogue->table_count;
	     i++) {
		const struct sat_table *t = &c->catalogue->tables[i];
		struct sat_value row[3] = { text_of(t->name),
					    text_of(t->label.text[c->lang]) };

		rc = count_rows(c, t, &row[2]);
		if (rc == SAT_OK)
			rc = sat_out_row(&out, row, 3, &c->err);
	}
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

/* The values of an enum, the table of a reference. */
static const char *detail(struct sat_cli *c, const struct sat_column *col)
{
	const char *text = "";
	struct sat_buf b;

	if (col->type == SAT_TYPE_REF)
		return c->catalogue->tables[col->ref_table].name;
	if (col->type != SAT_TYPE_ENUM)
		return text;
	sat_buf_init(&b, 64 * 1024);
	for (uint16_t i = 0; i < col->value_count; i++)
		if (sat_text_add(&b, "%s%s (%s)", i == 0 ? "" : ", ",
				 col->values[i].name,
				 col->values[i].label.text[c->lang]) != SAT_OK)
			break;
	text = sat_arena_string(&c->arena, sat_buf_peek(&b));
	sat_buf_fini(&b);
	return text == NULL ? "" : text;
}

static int one_table(struct sat_cli *c, const struct sat_table *t)
{
	const struct sat_out_column columns[] = {
		{ "name", SAT_TR(c, "Name", "字段"), SAT_OUT_TEXT, NULL },
		{ "label", SAT_TR(c, "Label", "名称"), SAT_OUT_TEXT, NULL },
		{ "type", SAT_TR(c, "Type", "类型"), SAT_OUT_TEXT, NULL },
		{ "policy", SAT_TR(c, "Merge", "合并规则"), SAT_OUT_TEXT,
		  NULL },
		{ "required", SAT_TR(c, "Required", "必填"), SAT_OUT_BOOL,
		  NULL },
		{ "writable", SAT_TR(c, "You may write", "可修改"),
		  SAT_OUT_BOOL, NULL },
		{ "detail", SAT_TR(c, "Values", "取值"), SAT_OUT_TEXT, NULL },
	};
	struct sat_out out;
	int rc = sat_out_begin(&out, c, columns, SAT_COUNT_OF(columns), 60);

	for (uint16_t i = 0; rc == SAT_OK && i < t->column_count; i++) {
		const struct sat_column *col = &t->columns[i];
		bool writable =
			!t->derived &&
			(col->write & SAT_ROLE_BIT(c->status.role)) != 0;
		struct sat_value row[7] = {
			text_of(col->name),
			text_of(col->label.text[c->lang]),
			text_of(sat_type_name(col->type)),
			text_of(sat_policy_name(col->policy)),
			sat_value_int(col->required),
			sat_value_int(writable),
			text_of(detail(c, col)),
		};

		rc = sat_out_row(&out, row, 7, &c->err);
	}
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

int sat_cli_tables(struct sat_cli *c)
{
	const struct sat_table *t;

	if (c->words == 0)
		return all_tables(c);
	t = sat_cli_table(c, c->word[0]);
	return t == NULL ? SAT_CLI_FAILED : one_table(c, t);
}
