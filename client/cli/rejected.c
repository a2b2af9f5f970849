/* rejected: what the server did not accept, to look at, to change, to send
 * again, or to drop. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/rejected.h"
#include "common/text.h"

static int list(struct sat_cli *c)
{
	const struct sat_out_column columns[] = {
		{ "n", "N", SAT_OUT_INT, NULL },
		{ "seq", NULL, SAT_OUT_INT, NULL },
		{ "at", SAT_TR(c, "Written", "修改时间"), SAT_OUT_TIME, NULL },
		{ "reason", NULL, SAT_OUT_TEXT, NULL },
		{ "sentence", SAT_TR(c, "Why", "原因"), SAT_OUT_TEXT, NULL },
	};
	const char *sql =
		c->lang == SAT_LANG_ZH
			? "SELECT n, seq, at, reason, sentence_zh FROM"
			  " satchel_rejected ORDER BY n LIMIT ?1"
			: "SELECT n, seq, at, reason, sentence_en FROM"
			  " satchel_rejected ORDER BY n LIMIT ?1";
	struct sat_value arg;
	struct sat_out out;
	int64_t limit;
	int rc, code = sat_cli_limit(c, &limit);

	if (code != SAT_CLI_OK)
		return code;
	arg = sat_value_int(limit == 0 ? -1 : limit + 1);
	rc = sat_out_begin(&out, c, columns, SAT_COUNT_OF(columns), 100);
	out.limit = limit;
	if (rc == SAT_OK)
		rc = sat_query(c->replica, sql, &arg, 1, sat_out_row, &out,
			       &c->err);
	out.empty = SAT_TR(c, "(nothing was rejected)", "（没有被拒绝的修改）");
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

/* Not rejected, and not in any table: changes that wait for an answer while
 * the row they change is not here. */
static int waiting(struct sat_cli *c)
{
	const struct sat_out_column columns[] = {
		{ "seq", NULL, SAT_OUT_INT, NULL },
		{ "at", SAT_TR(c, "Written", "修改时间"), SAT_OUT_TIME, NULL },
		{ "op", SAT_TR(c, "Change", "操作"), SAT_OUT_TEXT, NULL },
		{ "table", SAT_TR(c, "Table", "数据表"), SAT_OUT_TEXT, NULL },
		{ "id", SAT_TR(c, "Row", "记录"), SAT_OUT_ID, NULL },
		{ "field", SAT_TR(c, "Field", "字段"), SAT_OUT_TEXT, NULL },
		{ "before", SAT_TR(c, "Before", "修改前"), SAT_OUT_RAW, NULL },
		{ "after", SAT_TR(c, "After", "修改后"), SAT_OUT_RAW, NULL },
	};
	struct sat_value arg;
	struct sat_out out;
	int64_t limit;
	int rc, code = sat_cli_limit(c, &limit);

	if (code != SAT_CLI_OK)
		return code;
	arg = sat_value_int(limit == 0 ? -1 : limit + 1);
	rc = sat_out_begin(&out, c, columns, SAT_COUNT_OF(columns), 40);
	out.limit = limit;
	if (rc == SAT_OK)
		rc = sat_query(c->replica,
			       "SELECT seq, at, op, \"table\", id, field,"
			       " before, value FROM satchel_orphans"
			       " ORDER BY seq, \"table\", id, field LIMIT ?1",
			       &arg, 1, sat_out_row, &out, &c->err);
	if (rc == SAT_OK && out.rows == 0 && !c->json)
		(void)fputs(SAT_TR(c, "(no change waits without its row)\n",
				   "（没有记录不在本机的待答复修改）\n"),
			    stderr);
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

/* ---- show ---------------------------------------------------------------- */

static int show_delta(struct sat_cli *c, struct sat_out *out,
		      struct sat_out_column *columns, const json_t *delta)
{
	const struct sat_table *t = sat_item_table(c, delta);
	json_t *fields = json_object_get(delta, "fields"), *change;
	struct sat_value row[6] = {
		sat_item_value(c, json_object_get(delta, "op")),
		sat_item_value(c, json_object_get(delta, "table")),
		sat_item_value(c, json_object_get(delta, "id")),
	};
	const char *name;
	int rc = SAT_OK;

	if (json_object_size(fields) == 0)
		return sat_out_row(out, row, 6, &c->err);
	json_object_foreach(fields, name, change)
	{
		const struct sat_column *col =
			t == NULL ? NULL : sat_cli_column(t, name);

		row[3] = sat_value_text(sat_slice_str(name));
		sat_item_sides(c, change, &row[4], &row[5]);
		columns[4].kind = columns[5].kind =
			col == NULL ? SAT_OUT_RAW : sat_out_kind_of(col);
		columns[4].enums = columns[5].enums = col;
		rc = sat_out_row(out, row, 6, &c->err);
		if (rc != SAT_OK)
			break;
	}
	return rc;
}

/* The sentence goes first, for people. */
static int say_why(struct sat_cli *c, int64_t n)
{
	struct sat_value arg = sat_value_int(n), v;
	int rc;

	if (c->json)
		return SAT_OK;
	rc = sat_query_value(c->replica, &c->arena,
			     c->lang == SAT_LANG_ZH
				     ? "SELECT sentence_zh FROM"
				       " satchel_rejected WHERE n = ?1"
				     : "SELECT sentence_en FROM"
				       " satchel_rejected WHERE n = ?1",
			     &arg, 1, &v, &c->err);
	if (rc == SAT_OK && v.kind == SAT_TEXT) {
		const char *text = sat_arena_string(&c->arena, v.s);

		sat_print_line(stdout, text == NULL ? "" : text);
	}
	return rc;
}

static int show(struct sat_cli *c, const struct sat_item *it)
{
	struct sat_out_column columns[] = {
		{ "op", SAT_TR(c, "Change", "操作"), SAT_OUT_TEXT, NULL },
		{ "table", SAT_TR(c, "Table", "数据表"), SAT_OUT_TEXT, NULL },
		{ "id", SAT_TR(c, "Row", "记录"), SAT_OUT_ID, NULL },
		{ "field", SAT_TR(c, "Field", "字段"), SAT_OUT_TEXT, NULL },
		{ "before", SAT_TR(c, "Before", "修改前"), SAT_OUT_TEXT, NULL },
		{ "after", SAT_TR(c, "After", "修改后"), SAT_OUT_TEXT, NULL },
	};
	struct sat_out out = { .begun = false };
	size_t i;
	json_t *delta;
	int rc = say_why(c, it->n);

	if (rc == SAT_OK)
		rc = sat_out_begin(&out, c, columns, SAT_COUNT_OF(columns), 40);
	json_array_foreach(it->content, i, delta)
	{
		if (rc == SAT_OK)
			rc = show_delta(c, &out, columns, delta);
	}
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

/* ---- the command --------------------------------------------------------- */

static int drop(struct sat_cli *c, int64_t n)
{
	struct sat_value arg = sat_value_int(n);

	return sat_query(c->replica,
			 "DELETE FROM _satchel_rejected WHERE n = ?1", &arg, 1,
			 NULL, NULL, &c->err);
}

/* Mark what the person named. */
static int want(struct sat_cli *c, struct sat_items *all, const char *word)
{
	struct sat_item *it;
	int64_t n;
	char *end;

	if (strcmp(word, "all") == 0) {
		for (uint32_t i = 0; i < all->count; i++)
			all->list[i].wanted = true;
		return SAT_CLI_OK;
	}
	n = strtoll(word, &end, 10);
	if (end == word || *end != '\0')
		return sat_cli_misuse(c,
				      SAT_TR(c, "\"%s\" is no entry's number",
					     "“%s”不是编号"),
				      word);
	it = sat_items_find(all, n);
	if (it == NULL)
		return SAT_CLI_FAILED;
	it->wanted = true;
	return SAT_CLI_OK;
}

static void say(const struct sat_cli *c, size_t count, bool again)
{
	struct sat_out_object o;

	if (c->json) {
		sat_out_object_begin(&o);
		sat_out_member(&o, again ? "retried" : "discarded", SAT_OUT_INT,
			       sat_value_int((int64_t)count));
		sat_out_object_end(&o);
	} else if (again) {
		(void)printf(SAT_TR(c, "%zu written again, saved here\n",
				    "已重新写入 %zu 项，保存在本机\n"),
			     count);
	} else {
		(void)printf(SAT_TR(c, "%zu discarded\n", "已丢弃 %zu 项\n"),
			     count);
	}
}

/* All of them or none: what one refers to may be in another. In their order,
 * so that rows are made before they are spoken of. */
static int change(struct sat_cli *c, struct sat_items *all, bool again)
{
	size_t count = 0;
	int rc = sat_query_begin(c->replica, &c->err);

	for (uint32_t i = 0; rc == SAT_OK && i < all->count; i++) {
		if (!all->list[i].wanted)
			continue;
		if (again)
			rc = sat_item_write(c, &all->list[i]);
		if (rc == SAT_OK)
			rc = drop(c, all->list[i].n);
		count++;
	}
	if (rc == SAT_OK)
		rc = sat_query_commit(c->replica, &c->err);
	if (rc != SAT_OK) {
		sat_query_rollback(c->replica);
		return sat_cli_error(c);
	}
	if (again && sat_cli_gather(c) != SAT_CLI_OK)
		return SAT_CLI_FAILED;
	say(c, count, again);
	return SAT_CLI_OK;
}

static int edit(struct sat_cli *c, struct sat_items *all)
{
	const char *file = c->value[SAT_OPT_FILE];
	int code = SAT_CLI_OK;

	if (c->sets == 0 && file == NULL)
		return sat_cli_misuse(
			c, "%s",
			SAT_TR(c,
			       "say what to change: --set TABLE.FIELD=VALUE, "
			       "or --file with the JSON of `rejected show`",
			       "请说明要改什么：--set 表.字段=值，或 --file 加 "
			       "rejected show --json 的内容"));
	for (uint32_t i = 0; i < all->count; i++) {
		struct sat_item *it = &all->list[i];

		if (!it->wanted)
			continue;
		if (file != NULL)
			code = sat_item_set_file(c, it, file);
		for (int k = 0; code == SAT_CLI_OK && k < c->sets; k++)
			code = sat_item_set(c, it, c->set[k]);
		if (code != SAT_CLI_OK)
			return code;
	}
	return SAT_CLI_OK;
}

static int act(struct sat_cli *c, struct sat_items *all, const char *verb)
{
	bool again = strcmp(verb, "discard") != 0;
	int code = want(c, all, c->word[1]);

	if (code == SAT_CLI_OK && strcmp(verb, "show") == 0) {
		for (uint32_t i = 0; code == SAT_CLI_OK && i < all->count; i++)
			if (all->list[i].wanted)
				code = show(c, &all->list[i]);
		return code;
	}
	if (code == SAT_CLI_OK && strcmp(verb, "edit") == 0)
		code = edit(c, all);
	if (code == SAT_CLI_OK && again)
		code = sat_items_group(all);
	return code == SAT_CLI_OK ? change(c, all, again) : code;
}

int sat_cli_rejected(struct sat_cli *c)
{
	static const char *const verbs[] = { "show", "retry", "edit",
					     "discard" };
	const char *verb = c->words > 0 ? c->word[0] : "list";
	struct sat_items all;
	bool known = false;
	int code;

	if (strcmp(verb, "list") == 0 && c->words <= 1)
		return list(c);
	if (strcmp(verb, "waiting") == 0 && c->words <= 1)
		return waiting(c);
	for (size_t i = 0; i < SAT_COUNT_OF(verbs); i++)
		known = known || strcmp(verb, verbs[i]) == 0;
	if (!known || c->words != 2 ||
	    (strcmp(verb, "edit") == 0 && strcmp(c->word[1], "all") == 0))
		return sat_cli_misuse(
			c, "%s",
			SAT_TR(c,
			       "say list, waiting, or show, retry, edit, "
			       "discard with a number",
			       "请使用 list、waiting，或 show、retry、edit、"
			       "discard 加编号"));
	code = sat_items_load(c, &all);
	if (code == SAT_CLI_OK)
		code = act(c, &all, verb);
	sat_items_end(&all);
	return code;
}
