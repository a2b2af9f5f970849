/* Listings: a query over one table of the catalogue, its references shown by
 * name. */
#include <stdarg.h>
#include <string.h>

#include "client/cli/cli.h"

enum { CELL_WIDTH_MAX = 40 };

static void no_memory(struct sat_list *l)
{
	l->code = sat_cli_fail(l->c, "%s",
			       SAT_TR(l->c, "out of memory", "内存不足"));
}

void sat_list_begin(struct sat_list *l, struct sat_cli *c,
		    const struct sat_table *table)
{
	*l = (struct sat_list){ .c = c, .table = table };
	sat_buf_init(&l->where, 64 * 1024);
	if (table == NULL) /* sat_cli_table has said so */
		l->code = SAT_CLI_FAILED;
}

void sat_list_end(struct sat_list *l)
{
	sat_buf_fini(&l->where);
}

void sat_list_where(struct sat_list *l, const char *fmt, ...)
{
	char text[2048];
	va_list args;
	int n;

	if (l->code != SAT_CLI_OK)
		return;
	va_start(args, fmt);
	n = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof text ||
	    sat_text_add(&l->where, " AND (%s)", text) != SAT_OK)
		no_memory(l);
}

int sat_list_arg(struct sat_list *l, struct sat_value v)
{
	SAT_ASSERT((size_t)l->arg_count < SAT_COUNT_OF(l->args));
	l->args[l->arg_count++] = v;
	return l->arg_count;
}

/* The column of a filter; NULL, said, when the catalogue has none. */
static const struct sat_column *filter_column(struct sat_list *l,
					      const char *name)
{
	const struct sat_column *col = sat_cli_column(l->table, name);

	if (col == NULL)
		l->code = sat_cli_fail(
			l->c,
			SAT_TR(l->c,
			       "this organisation's catalogue has no %s.%s",
			       "本组织的目录中没有 %s.%s"),
			l->table->name, name);
	return col;
}

void sat_list_by_enum(struct sat_list *l, enum sat_cli_option o,
		      const char *column)
{
	const char *word = l->c->value[o], *name;
	const struct sat_column *col;

	if (l->code != SAT_CLI_OK || word == NULL)
		return;
	col = filter_column(l, column);
	name = col == NULL ? NULL : sat_cli_find_enum(l->c, col, word);
	if (name == NULL)
		l->code = SAT_CLI_FAILED;
	else
		sat_list_where(
			l, "t.%s = ?%d", column,
			sat_list_arg(l, sat_value_text(sat_slice_str(name))));
}

void sat_list_by_row(struct sat_list *l, enum sat_cli_option o,
		     const char *column)
{
	const char *word = l->c->value[o];
	const struct sat_column *col;
	struct sat_value id;

	if (l->code != SAT_CLI_OK || word == NULL)
		return;
	col = filter_column(l, column);
	if (col == NULL)
		return;
	l->code = sat_cli_parse_value(l->c, col, word, &id);
	if (l->code == SAT_CLI_OK)
		sat_list_where(l, "t.%s = ?%d", column, sat_list_arg(l, id));
}

void sat_list_since(struct sat_list *l, const char *column)
{
	const char *word = l->c->value[SAT_OPT_SINCE];
	const struct sat_column *col;
	struct sat_value v;

	if (l->code != SAT_CLI_OK || word == NULL)
		return;
	col = filter_column(l, column);
	if (col == NULL)
		return;
	l->code = sat_cli_parse_value(l->c, col, word, &v);
	if (l->code == SAT_CLI_OK)
		sat_list_where(l, "t.%s >= ?%d", column, sat_list_arg(l, v));
}

const char *sat_list_name_sql(struct sat_cli *c, const struct sat_column *col,
			      const char *alias)
{
	const struct sat_table *to = &c->catalogue->tables[col->ref_table];
	const char *name = sat_cli_name_column(to);
	char text[256];
	char *copy;

	if (col->type != SAT_TYPE_REF || name == NULL)
		return "";
	(void)snprintf(text, sizeof text,
		       "(SELECT r.%s FROM %s r WHERE r.id = %s.%s)", name,
		       to->name, alias, col->name);
	copy = sat_arena_string(&c->arena, sat_slice_str(text));
	return copy == NULL ? "" : copy;
}

void sat_list_search(struct sat_list *l, const char *const *columns,
		     size_t count)
{
	struct sat_cli *c = l->c;
	const char *words[2] = { c->value[SAT_OPT_SEARCH],
				 c->words > 0 ? c->word[0] : NULL };
	char text[1800];
	size_t at;
	int arg;

	for (size_t w = 0; w < 2; w++) {
		if (l->code != SAT_CLI_OK || words[w] == NULL)
			continue;
		arg = sat_list_arg(l, sat_value_text(sat_slice_str(words[w])));
		at = (size_t)snprintf(text, sizeof text, "0");
		for (size_t i = 0; i < count && at < sizeof text; i++) {
			const struct sat_column *col =
				sat_cli_column(l->table, columns[i]);
			const char *name =
				col == NULL ? ""
					    : sat_list_name_sql(c, col, "t");

			if (col == NULL)
				continue;
			at += (size_t)snprintf(
				text + at, sizeof text - at,
				" OR instr(lower(%s%s), lower(?%d)) > 0",
				*name != '\0' ? name : "t.",
				*name != '\0' ? "" : col->name, arg);
		}
		if (at < sizeof text)
			sat_list_where(l, "%s", text);
		else
			no_memory(l);
	}
}

/* ---- columns ------------------------------------------------------------- */

struct shape {
	struct sat_out_column *columns;
	int count, cap;
	struct sat_buf sql;
	int rc;
};

static void add(struct shape *s, const struct sat_out_column *col,
		const char *fmt, ...) SAT_PRINTF(3, 4);

static void add(struct shape *s, const struct sat_out_column *col,
		const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (s->count == s->cap)
		s->rc = SAT_E_LIMIT;
	if (s->rc != SAT_OK)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	s->rc = sat_text_add(&s->sql, "%s%s", s->count == 0 ? "" : ", ", text);
	s->columns[s->count++] = *col;
}

/* account_id is shown in JSON as account_id and, by name, as account. */
static const char *key_of_name(struct sat_cli *c, const struct sat_column *col)
{
	size_t n = strlen(col->name);
	char text[64];
	char *copy;

	if (n > 3 && strcmp(col->name + n - 3, "_id") == 0)
		(void)snprintf(text, sizeof text, "%.*s", (int)(n - 3),
			       col->name);
	else
		(void)snprintf(text, sizeof text, "%s_name", col->name);
	copy = sat_arena_string(&c->arena, sat_slice_str(text));
	return copy == NULL ? col->name : copy;
}

static void add_ref(struct sat_cli *c, struct shape *s,
		    const struct sat_column *col, const char *title)
{
	struct sat_out_column id = { .key = col->name, .kind = SAT_OUT_ID };
	struct sat_out_column name = { .key = key_of_name(c, col),
				       .title = title };
	const char *sql = sat_list_name_sql(c, col, "t");

	if (*sql == '\0') {
		id.title = title;
		add(s, &id, "t.%s", col->name);
		return;
	}
	if (c->json)
		add(s, &id, "t.%s", col->name);
	add(s, &name, "%s", sql);
}

static void add_column(struct sat_cli *c, struct shape *s,
		       const struct sat_column *col)
{
	struct sat_out_column out = { .key = col->name,
				      .title = col->label.text[c->lang],
				      .kind = sat_out_kind_of(col),
				      .enums = col };

	if (!sat_cli_readable(c, col))
		return;
	if (col->type == SAT_TYPE_REF)
		add_ref(c, s, col, out.title);
	else
		add(s, &out, "t.%s", col->name);
}

static int shape_of(struct sat_list *l, const char *const *columns,
		    size_t count, struct shape *s)
{
	static const struct sat_out_column id = { .key = "id",
						  .title = "id",
						  .kind = SAT_OUT_ID };
	const struct sat_table *t = l->table;

	s->cap = 2 * t->column_count + 2;
	s->columns = sat_arena_array(&l->c->arena, (size_t)s->cap,
				     sizeof *s->columns);
	if (s->columns == NULL)
		return SAT_E_NOMEM;
	add(s, &id, "t.id");
	for (size_t i = 0; !l->c->json && i < count; i++) {
		const struct sat_column *col = sat_cli_column(t, columns[i]);

		if (col != NULL)
			add_column(l->c, s, col);
	}
	for (uint16_t i = 0; l->c->json && i < t->column_count; i++)
		add_column(l->c, s, &t->columns[i]);
	return s->rc;
}

/* ---- running ------------------------------------------------------------- */

static int run_sql(struct sat_list *l, const struct shape *s, const char *order,
		   int64_t limit, struct sat_out *out)
{
	struct sat_slice where = sat_buf_peek(&l->where);
	struct sat_buf sql;
	int rc;

	sat_buf_init(&sql, 1024 * 1024);
	rc = sat_text_add(&sql, "SELECT %.*s FROM %s t WHERE 1%.*s",
			  (int)sat_buf_peek(&s->sql).len,
			  (const char *)sat_buf_peek(&s->sql).ptr,
			  l->table->name, (int)where.len,
			  where.len == 0 ? "" : (const char *)where.ptr);
	if (rc == SAT_OK)
		rc = sat_text_add(&sql, " ORDER BY %s LIMIT %lld", order,
				  limit == 0 ? -1LL : (long long)limit + 1);
	if (rc == SAT_OK)
		rc = sat_buf_append(&sql, "", 1);
	if (rc != SAT_OK)
		rc = sat_err_set(&l->c->err, rc, 0, "list", "out of memory");
	else
		rc = sat_query(l->c->replica,
			       (const char *)sat_buf_peek(&sql).ptr, l->args,
			       l->arg_count, sat_out_row, out, &l->c->err);
	sat_buf_fini(&sql);
	return rc;
}

/* Did the person ask for less than the command shows by itself? */
static bool is_narrowed(const struct sat_cli *c)
{
	for (int o = SAT_OPT_HELP + 1; o < SAT_OPT_COUNT; o++)
		if (c->value[o] != NULL && o != SAT_OPT_LIMIT &&
		    o != SAT_OPT_ALL)
			return true;
	return false;
}

/* What a person can do about a list without a row. */
static const char *empty_text(const struct sat_list *l)
{
	if (is_narrowed(l->c))
		return SAT_TR(l->c,
			      "(nothing fits; leave out an option to see more)",
			      "（没有符合条件的记录；去掉某个选项可看到更多）");
	if (l->empty != NULL)
		return l->empty;
	return SAT_TR(
		l->c,
		"(nothing here yet; what others enter comes with the next "
		"sync)",
		"（还没有记录；其他人录入的内容会在下次同步时到达）");
}

int sat_list_run(struct sat_list *l, const char *const *columns, size_t count,
		 const char *order)
{
	struct shape s = { .rc = SAT_OK };
	struct sat_out out = { .begun = false };
	int64_t limit = 0;
	int rc;

	sat_buf_init(&s.sql, 256 * 1024);
	if (l->code == SAT_CLI_OK)
		l->code = sat_cli_limit(l->c, &limit);
	if (l->code == SAT_CLI_OK && shape_of(l, columns, count, &s) != SAT_OK)
		no_memory(l);
	if (l->code == SAT_CLI_OK) {
		rc = sat_out_begin(&out, l->c, s.columns, s.count,
				   CELL_WIDTH_MAX);
		out.limit = limit;
		out.empty = empty_text(l);
		if (rc == SAT_OK)
			rc = run_sql(l, &s, order, limit, &out);
		sat_out_end(&out);
		if (rc != SAT_OK)
			l->code = sat_cli_error(l->c);
	}
	sat_buf_fini(&s.sql);
	sat_list_end(l);
	return l->code;
}
