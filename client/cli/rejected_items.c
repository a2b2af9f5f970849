/* The rejected list in memory: entries, what hangs together, new values. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/rejected.h"
#include "common/file.h"
#include "common/text.h"

enum { FILE_MAX = 64 * 1024 * 1024 };

/* ---- loading ------------------------------------------------------------- */

static int grow(struct sat_items *all, struct sat_err *err)
{
	uint32_t cap = all->cap == 0 ? 64 : all->cap * 2;
	struct sat_item *more =
		sat_arena_array(&all->c->arena, cap, sizeof *more);

	if (more == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "rejected",
				   "out of memory");
	if (all->count > 0)
		memcpy(more, all->list, all->count * sizeof *more);
	all->list = more;
	all->cap = cap;
	return SAT_OK;
}

static int on_item(void *arg, const struct sat_value *v, int count,
		   struct sat_err *err)
{
	struct sat_items *all = arg;
	struct sat_item it = { .n = v[0].i, .group = all->count };
	int rc = SAT_OK;

	(void)count;
	if (all->count == all->cap)
		rc = grow(all, err);
	if (rc != SAT_OK)
		return rc;
	if (v[1].kind == SAT_TEXT)
		it.content = json_loadb((const char *)v[1].s.ptr, v[1].s.len,
					JSON_ALLOW_NUL, NULL);
	all->list[all->count++] = it;
	return SAT_OK;
}

int sat_items_load(struct sat_cli *c, struct sat_items *ret)
{
	*ret = (struct sat_items){ .c = c };
	if (sat_query(c->replica,
		      "SELECT n, content FROM satchel_rejected ORDER BY n",
		      NULL, 0, on_item, ret, &c->err) != SAT_OK)
		return sat_cli_error(c);
	return SAT_CLI_OK;
}

void sat_items_end(struct sat_items *all)
{
	for (uint32_t i = 0; i < all->count; i++)
		json_decref(all->list[i].content);
	all->count = 0;
}

struct sat_item *sat_items_find(const struct sat_items *all, int64_t n)
{
	for (uint32_t i = 0; i < all->count; i++) {
		if (all->list[i].n != n)
			continue;
		if (json_is_array(all->list[i].content))
			return &all->list[i];
		(void)sat_cli_fail(
			all->c,
			SAT_TR(all->c,
			       "the content of entry %lld is not readable",
			       "编号为 %lld 的内容无法读取"),
			(long long)n);
		return NULL;
	}
	(void)sat_cli_fail(all->c,
			   SAT_TR(all->c, "there is no rejected entry %lld",
				  "没有编号为 %lld 的被拒绝修改"),
			   (long long)n);
	return NULL;
}

/* ---- groups -------------------------------------------------------------- */

static bool is_insert(const json_t *delta)
{
	const char *op = json_string_value(json_object_get(delta, "op"));

	return op != NULL && strcmp(op, "insert") == 0;
}

/* The rows that entries make: id to the entry's index. */
static int note_inserts(const struct sat_items *all, json_t *made)
{
	json_t *delta;
	size_t k;

	for (uint32_t i = 0; i < all->count; i++) {
		json_array_foreach(all->list[i].content, k, delta)
		{
			const char *id =
				json_string_value(json_object_get(delta, "id"));

			if (id != NULL && is_insert(delta) &&
			    json_object_set_new(made, id, json_integer(i)) != 0)
				return SAT_E_NOMEM;
		}
	}
	return SAT_OK;
}

/* Whose group is also its own is the first of it; every step goes down. */
static uint32_t first_of(const struct sat_items *all, uint32_t i)
{
	while (all->list[i].group != i)
		i = all->list[i].group;
	return i;
}

static void join(struct sat_items *all, const json_t *made, const json_t *id,
		 uint32_t i)
{
	const char *text = json_string_value(id);
	const json_t *other = text == NULL ? NULL : json_object_get(made, text);
	uint32_t a, b;

	if (other == NULL)
		return;
	a = first_of(all, (uint32_t)json_integer_value(other));
	b = first_of(all, i);
	if (a < b)
		all->list[b].group = a;
	else
		all->list[a].group = b;
}

static void join_all(struct sat_items *all, const json_t *made)
{
	json_t *delta, *change;
	const char *name;
	size_t k;

	for (uint32_t i = 0; i < all->count; i++) {
		json_array_foreach(all->list[i].content, k, delta)
		{
			join(all, made, json_object_get(delta, "id"), i);
			json_object_foreach(json_object_get(delta, "fields"),
					    name, change)
			{
				join(all, made,
				     json_object_get(change, "after"), i);
			}
		}
	}
}

int sat_items_group(struct sat_items *all)
{
	json_t *made = json_object();
	bool *wanted = sat_arena_array(&all->c->arena, all->count + 1u,
				       sizeof *wanted);

	if (made == NULL || wanted == NULL ||
	    note_inserts(all, made) != SAT_OK) {
		json_decref(made);
		return sat_cli_fail(
			all->c, "%s",
			SAT_TR(all->c, "out of memory", "内存不足"));
	}
	join_all(all, made);
	json_decref(made);
	for (uint32_t i = 0; i < all->count; i++)
		wanted[first_of(all, i)] |= all->list[i].wanted;
	for (uint32_t i = 0; i < all->count; i++)
		all->list[i].wanted = wanted[first_of(all, i)];
	return SAT_CLI_OK;
}

/* ---- new values ---------------------------------------------------------- */

static json_t *json_of(const struct sat_column *col, struct sat_value v)
{
	if (col->type == SAT_TYPE_SET && v.kind == SAT_TEXT)
		return json_loadb((const char *)v.s.ptr, v.s.len, 0, NULL);
	switch (v.kind) {
	case SAT_INT:
		return json_integer(v.i);
	case SAT_REAL:
		return json_real(v.r);
	case SAT_TEXT:
		return json_stringn((const char *)v.s.ptr, v.s.len);
	default:
		return json_null();
	}
}

/* The field's change gets that value, whatever its policy calls it. */
static int put_value(struct sat_cli *c, json_t *delta,
		     const struct sat_column *col, struct sat_value v)
{
	json_t *fields = json_object_get(delta, "fields"), *change;
	json_t *value = json_of(col, v);
	const char *key = "after";
	int bad;

	if (col->policy == SAT_POLICY_COUNTER)
		key = "add";
	else if (col->policy == SAT_POLICY_SET)
		key = "adds";
	if (value == NULL ||
	    (col->policy == SAT_POLICY_SET && !json_is_array(value))) {
		json_decref(value);
		return sat_cli_fail(
			c,
			SAT_TR(c, "%s: a JSON array of texts is needed",
			       "%s：需要由文本组成的 JSON 数组"),
			col->name);
	}
	change = json_object_get(fields, col->name);
	if (change == NULL) {
		change = json_object();
		bad = json_object_set_new(fields, col->name, change);
		if (bad != 0) {
			json_decref(value);
			return sat_cli_fail(c, "%s",
					    SAT_TR(c,
						   "a deleted row takes no "
						   "values",
						   "已删除的记录不能设置值"));
		}
	}
	if (json_object_set_new(change, key, value) != 0)
		return sat_cli_fail(c, "%s",
				    SAT_TR(c, "out of memory", "内存不足"));
	return SAT_CLI_OK;
}

/* The one delta of that table, and of that id or end of one when given. */
static json_t *find_delta(struct sat_cli *c, const struct sat_item *it,
			  struct sat_slice table, struct sat_slice id)
{
	json_t *delta, *found = NULL;
	size_t i;

	json_array_foreach(it->content, i, delta)
	{
		const char *t =
			json_string_value(json_object_get(delta, "table"));
		const char *row =
			json_string_value(json_object_get(delta, "id"));
		size_t len = row == NULL ? 0 : strlen(row);

		if (t == NULL || !sat_slice_equal(sat_slice_str(t), table) ||
		    id.len > len ||
		    (id.len > 0 &&
		     memcmp(row + len - id.len, id.ptr, id.len) != 0))
			continue;
		if (found != NULL) {
			(void)sat_cli_fail(
				c,
				SAT_TR(c,
				       "entry %lld has several rows of %.*s: "
				       "say which, %.*s:ID.FIELD=VALUE",
				       "编号 %lld 中有多条 %.*s 记录，请指明："
				       "%.*s:编号.字段=值"),
				(long long)it->n, (int)table.len,
				(const char *)table.ptr, (int)table.len,
				(const char *)table.ptr);
			return NULL;
		}
		found = delta;
	}
	if (found == NULL)
		(void)sat_cli_fail(c,
				   SAT_TR(c,
					  "entry %lld has no such row of %.*s",
					  "编号 %lld 中没有该 %.*s 记录"),
				   (long long)it->n, (int)table.len,
				   (const char *)table.ptr);
	return found;
}

static int set_one(struct sat_cli *c, struct sat_item *it,
		   struct sat_slice table, struct sat_slice id,
		   struct sat_slice field, const char *word)
{
	json_t *delta = find_delta(c, it, table, id);
	const struct sat_table *t;
	struct sat_value v = sat_value_null();
	int at, code = SAT_CLI_OK;

	if (delta == NULL)
		return SAT_CLI_FAILED;
	t = sat_item_table(c, delta);
	at = t == NULL ? -1 : sat_table_column(t, field);
	if (at < 0)
		return sat_cli_fail(c,
				    SAT_TR(c, "%.*s has no field %.*s",
					   "%.*s 没有字段 %.*s"),
				    (int)table.len, (const char *)table.ptr,
				    (int)field.len, (const char *)field.ptr);
	if (word != NULL && word[0] != '\0')
		code = sat_cli_parse_value(c, &t->columns[at], word, &v);
	return code == SAT_CLI_OK ? put_value(c, delta, &t->columns[at], v)
				  : code;
}

static struct sat_slice span(const char *from, const char *to)
{
	return (struct sat_slice){ (const uint8_t *)from, (size_t)(to - from) };
}

int sat_item_set(struct sat_cli *c, struct sat_item *it, const char *assign)
{
	const char *eq = strchr(assign, '='), *dot = NULL, *colon;
	struct sat_slice table, id = { NULL, 0 };

	if (eq != NULL)
		dot = memchr(assign, '.', (size_t)(eq - assign));
	if (dot == NULL)
		return sat_cli_misuse(
			c,
			SAT_TR(c,
			       "\"%s\" is not TABLE.FIELD=VALUE or "
			       "TABLE:ID.FIELD=VALUE",
			       "“%s”不是 表.字段=值 或 表:编号.字段=值"),
			assign);
	colon = memchr(assign, ':', (size_t)(dot - assign));
	table = span(assign, colon == NULL ? dot : colon);
	if (colon != NULL)
		id = span(colon + 1, dot);
	return set_one(c, it, table, id, span(dot + 1, eq), eq + 1);
}

/* ---- from a file --------------------------------------------------------- */

/* A JSON value as the word a person would type for it. */
static int word_of(struct sat_cli *c, const json_t *v, const char **ret)
{
	char *text;

	*ret = NULL;
	if (v == NULL || json_is_null(v))
		return SAT_CLI_OK;
	if (json_is_string(v)) {
		*ret = json_string_value(v);
		return SAT_CLI_OK;
	}
	text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	if (text != NULL)
		*ret = sat_arena_string(&c->arena, sat_slice_str(text));
	free(text);
	return *ret != NULL
		       ? SAT_CLI_OK
		       : sat_cli_fail(c, "%s",
				      SAT_TR(c, "out of memory", "内存不足"));
}

/* A line of `rejected show --json`; what equals the stored value is left. */
static int set_line(struct sat_cli *c, struct sat_item *it, const json_t *line)
{
	const char *table = json_string_value(json_object_get(line, "table"));
	const char *id = json_string_value(json_object_get(line, "id"));
	const char *field = json_string_value(json_object_get(line, "field"));
	const char *word;
	int code;

	if (field == NULL && table != NULL && id != NULL)
		return SAT_CLI_OK; /* a delete shows no field */
	if (table == NULL || id == NULL || field == NULL)
		return sat_cli_fail(
			c, "%s",
			SAT_TR(c,
			       "the file is not in the form of `rejected show "
			       "--json`: table, id, field, after",
			       "文件格式与 rejected show --json 不符：需要 "
			       "table、id、field、after"));
	code = word_of(c, json_object_get(line, "after"), &word);
	return code == SAT_CLI_OK
		       ? set_one(c, it, sat_slice_str(table), sat_slice_str(id),
				 sat_slice_str(field), word)
		       : code;
}

int sat_item_set_file(struct sat_cli *c, struct sat_item *it, const char *path)
{
	struct sat_buf text;
	json_t *lines, *line;
	size_t i;
	int code = SAT_CLI_OK;

	sat_buf_init(&text, 2 * (size_t)FILE_MAX);
	if (sat_file_read(path, FILE_MAX, &text, &c->err) != SAT_OK) {
		sat_buf_fini(&text);
		return sat_cli_error(c);
	}
	lines = json_loadb((const char *)sat_buf_peek(&text).ptr,
			   sat_buf_peek(&text).len, 0, NULL);
	sat_buf_fini(&text);
	if (!json_is_array(lines))
		code = sat_cli_fail(
			c,
			SAT_TR(c, "%s is no JSON array", "%s 不是 JSON 数组"),
			path);
	json_array_foreach(lines, i, line)
	{
		if (code == SAT_CLI_OK)
			code = set_line(c, it, line);
	}
	json_decref(lines);
	return code;
}
