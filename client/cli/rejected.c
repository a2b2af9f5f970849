/* rejected: what the server did not accept, to look at, to send again, or to
 * drop. Trying again is writing again, by plain SQL through the triggers, so
 * that what the device can refuse is refused at once and with a sentence. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "common/text.h"

enum { CELLS_MAX = 256 };

struct item {
	struct sat_cli *c;
	int64_t n;
	bool found;
	json_t *content; /* array of deltas */
	struct sat_arena *arena;
};

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
	if (rc == SAT_OK && out.rows == 0 && !c->json)
		(void)fputs(SAT_TR(c, "(nothing was rejected)\n",
				   "（没有被拒绝的修改）\n"),
			    stderr);
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

/* ---- one entry ----------------------------------------------------------- */

static int on_item(void *arg, const struct sat_value *v, int count,
		   struct sat_err *err)
{
	struct item *it = arg;

	(void)count;
	it->found = true;
	if (v[0].kind == SAT_TEXT)
		it->content = json_loadb((const char *)v[0].s.ptr, v[0].s.len,
					 JSON_ALLOW_NUL, NULL);
	if (!json_is_array(it->content))
		return sat_err_set(err, SAT_E_CORRUPT, 0, "rejected",
				   "the content of the entry is not readable");
	return SAT_OK;
}

static int load(struct sat_cli *c, int64_t n, struct item *it)
{
	struct sat_value arg = sat_value_int(n);
	int rc;

	*it = (struct item){ .c = c, .n = n, .arena = &c->arena };
	rc = sat_query(c->replica,
		       "SELECT content FROM satchel_rejected WHERE n = ?1",
		       &arg, 1, on_item, it, &c->err);
	if (rc != SAT_OK)
		return sat_cli_error(c);
	if (!it->found)
		return sat_cli_fail(c,
				    SAT_TR(c, "there is no rejected entry %lld",
					   "没有编号为 %lld 的被拒绝修改"),
				    (long long)n);
	return SAT_CLI_OK;
}

/* A JSON value in the replica's form; sets stay JSON text. */
static struct sat_value value_of(const struct item *it, const json_t *j)
{
	struct sat_slice s;
	char *text;

	switch (json_typeof(j)) {
	case JSON_INTEGER:
		return sat_value_int(json_integer_value(j));
	case JSON_REAL:
		return sat_value_real(json_real_value(j));
	case JSON_STRING:
		s.ptr = (const uint8_t *)json_string_value(j);
		s.len = json_string_length(j);
		return sat_value_text(s);
	case JSON_ARRAY:
		text = json_dumps(j, JSON_COMPACT);
		if (text == NULL)
			return sat_value_null();
		s = sat_slice_str(text);
		if (sat_arena_copy(it->arena, s, &s) != SAT_OK)
			s = (struct sat_slice){ NULL, 0 };
		free(text);
		return sat_value_text(s);
	default:
		return sat_value_null();
	}
}

static const struct sat_table *table_of(const struct item *it,
					const json_t *delta)
{
	const char *name = json_string_value(json_object_get(delta, "table"));

	return name == NULL ? NULL
			    : sat_catalogue_table(it->c->catalogue,
						  sat_slice_str(name));
}

/* ---- show ---------------------------------------------------------------- */

/* Before and after of a field, whatever its policy made of it. */
static void sides(const struct item *it, const json_t *change,
		  struct sat_value *before, struct sat_value *after)
{
	const json_t *b = json_object_get(change, "before");
	const json_t *a = json_object_get(change, "after");

	if (a == NULL)
		a = json_object_get(change, "add");
	if (a == NULL) {
		b = json_object_get(change, "removes");
		a = json_object_get(change, "adds");
	}
	*before = b == NULL ? sat_value_null() : value_of(it, b);
	*after = a == NULL ? sat_value_null() : value_of(it, a);
}

static int show_delta(const struct item *it, struct sat_out *out,
		      struct sat_out_column *columns, const json_t *delta)
{
	const struct sat_table *t = table_of(it, delta);
	json_t *fields = json_object_get(delta, "fields"), *change;
	struct sat_value row[6] = {
		value_of(it, json_object_get(delta, "op")),
		value_of(it, json_object_get(delta, "table")),
		value_of(it, json_object_get(delta, "id")),
	};
	const char *name;
	int rc = SAT_OK;

	if (json_object_size(fields) == 0)
		return sat_out_row(out, row, 6, &it->c->err);
	json_object_foreach(fields, name, change)
	{
		const struct sat_column *col =
			t == NULL ? NULL : sat_cli_column(t, name);

		row[3] = sat_value_text(sat_slice_str(name));
		sides(it, change, &row[4], &row[5]);
		columns[4].kind = columns[5].kind =
			col == NULL ? SAT_OUT_RAW : sat_out_kind_of(col);
		columns[4].enums = columns[5].enums = col;
		rc = sat_out_row(out, row, 6, &it->c->err);
		if (rc != SAT_OK)
			break;
	}
	return rc;
}

static int show(struct sat_cli *c, int64_t n)
{
	struct sat_out_column columns[] = {
		{ "op", SAT_TR(c, "Change", "操作"), SAT_OUT_TEXT, NULL },
		{ "table", SAT_TR(c, "Table", "数据表"), SAT_OUT_TEXT, NULL },
		{ "id", SAT_TR(c, "Row", "记录"), SAT_OUT_ID, NULL },
		{ "field", SAT_TR(c, "Field", "字段"), SAT_OUT_TEXT, NULL },
		{ "before", SAT_TR(c, "Before", "修改前"), SAT_OUT_TEXT, NULL },
		{ "after", SAT_TR(c, "After", "修改后"), SAT_OUT_TEXT, NULL },
	};
	struct item it;
	struct sat_out out = { .begun = false };
	size_t i;
	json_t *delta;
	int rc, code = load(c, n, &it);

	if (code == SAT_CLI_OK) {
		rc = sat_out_begin(&out, c, columns, SAT_COUNT_OF(columns), 40);
		json_array_foreach(it.content, i, delta)
		{
			if (rc == SAT_OK)
				rc = show_delta(&it, &out, columns, delta);
		}
		sat_out_end(&out);
		if (rc != SAT_OK)
			code = sat_cli_error(c);
	}
	json_decref(it.content);
	return code;
}

/* ---- retry --------------------------------------------------------------- */

static int lost(const struct item *it)
{
	return sat_err_set(&it->c->err, SAT_E_CORRUPT, 0, "rejected",
			   "the change names a table, row or field that this "
			   "catalogue does not have");
}

static int out_of_memory(const struct item *it)
{
	return sat_err_set(&it->c->err, SAT_E_NOMEM, 0, "rejected",
			   "out of memory");
}

/* The set that the row has now, with the change's removals and additions. */
static int changed_set(const struct item *it, const struct sat_table *t,
		       const char *column, struct sat_value id,
		       const json_t *change, struct sat_value *ret)
{
	json_t *adds = json_object_get(change, "adds"), *set = NULL, *e, *x;
	json_t *removes = json_object_get(change, "removes");
	struct sat_value now;
	char sql[160];
	size_t i, k;
	int rc;

	(void)snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = ?1",
		       column, t->name);
	rc = sat_query_value(it->c->replica, it->arena, sql, &id, 1, &now,
			     &it->c->err);
	if (rc != SAT_OK)
		return rc;
	if (now.kind == SAT_TEXT)
		set = json_loadb((const char *)now.s.ptr, now.s.len,
				 JSON_ALLOW_NUL, NULL);
	if (!json_is_array(set)) {
		json_decref(set);
		set = json_array();
	}
	json_array_foreach(
		removes, i,
		e) for (k = json_array_size(set); k > 0;
			k--) if (json_equal(json_array_get(set, k - 1),
					    e))(void)
		json_array_remove(set, k - 1);
	json_array_foreach(adds, i, e)
	{
		bool there = false;

		json_array_foreach(set, k, x) there = there || json_equal(x, e);
		if (!there)
			(void)json_array_append(set, e);
	}
	*ret = value_of(it, set);
	json_decref(set);
	return SAT_OK;
}

/* One field's new value as SQL: "?N", or the column plus ?N for a counter. */
static int field_value(const struct item *it, const struct sat_table *t,
		       const struct sat_column *col, struct sat_value id,
		       const json_t *change, struct sat_value *ret)
{
	struct sat_value before;

	if (col->policy == SAT_POLICY_SET)
		return changed_set(it, t, col->name, id, change, ret);
	sides(it, change, &before, ret);
	return SAT_OK;
}

struct statement {
	struct sat_buf sql;
	struct sat_value args[CELLS_MAX];
	int count;
};

static int write_insert(const struct item *it, const struct sat_table *t,
			struct sat_value id, json_t *fields,
			struct statement *s)
{
	const char *name;
	json_t *change;
	int rc = sat_text_add(&s->sql, "INSERT INTO %s(id", t->name);

	s->args[s->count++] = id;
	json_object_foreach(fields, name, change)
	{
		const struct sat_column *col = sat_cli_column(t, name);
		struct sat_value v;

		if (col == NULL || s->count == CELLS_MAX)
			return lost(it);
		if (rc == SAT_OK)
			rc = field_value(it, t, col, id, change, &v);
		if (rc != SAT_OK || v.kind == SAT_NULL)
			continue;
		s->args[s->count++] = v;
		rc = sat_text_add(&s->sql, ", %s", col->name);
	}
	if (rc == SAT_OK)
		rc = sat_text_add(&s->sql, ") VALUES(?1");
	for (int i = 2; rc == SAT_OK && i <= s->count; i++)
		rc = sat_text_add(&s->sql, ", ?%d", i);
	return rc == SAT_OK ? sat_buf_append(&s->sql, ")", 2) : rc;
}

static int write_update(const struct item *it, const struct sat_table *t,
			struct sat_value id, json_t *fields,
			struct statement *s)
{
	const char *name;
	json_t *change;
	int rc = sat_text_add(&s->sql, "UPDATE %s SET ", t->name);

	s->args[s->count++] = id;
	json_object_foreach(fields, name, change)
	{
		const struct sat_column *col = sat_cli_column(t, name);

		if (col == NULL || s->count == CELLS_MAX)
			return lost(it);
		if (rc == SAT_OK)
			rc = field_value(it, t, col, id, change,
					 &s->args[s->count]);
		if (rc != SAT_OK)
			return rc;
		s->count++;
		rc = sat_text_add(&s->sql, "%s%s = ", s->count == 2 ? "" : ", ",
				  col->name);
		if (rc == SAT_OK && col->policy == SAT_POLICY_COUNTER)
			rc = sat_text_add(&s->sql, "coalesce(%s, 0) + ",
					  col->name);
		if (rc == SAT_OK)
			rc = sat_text_add(&s->sql, "?%d", s->count);
	}
	if (rc == SAT_OK)
		rc = sat_text_add(&s->sql, " WHERE id = ?1");
	return rc == SAT_OK ? sat_buf_append(&s->sql, "", 1) : rc;
}

static int row_exists(const struct item *it, const struct sat_table *t,
		      struct sat_value id, bool *ret)
{
	struct sat_value v;
	char sql[120];
	int rc;

	(void)snprintf(sql, sizeof sql, "SELECT 1 FROM %s WHERE id = ?1",
		       t->name);
	rc = sat_query_value(it->c->replica, it->arena, sql, &id, 1, &v,
			     &it->c->err);
	*ret = rc == SAT_OK && v.kind != SAT_NULL;
	return rc;
}

static int write_again(const struct item *it, json_t *delta)
{
	const struct sat_table *t = table_of(it, delta);
	struct sat_value id = value_of(it, json_object_get(delta, "id"));
	const char *op = json_string_value(json_object_get(delta, "op"));
	json_t *fields = json_object_get(delta, "fields");
	struct statement *s = sat_arena_alloc(it->arena, sizeof *s);
	bool exists = false;
	int rc;

	if (t == NULL || op == NULL || id.kind != SAT_TEXT)
		return lost(it);
	if (s == NULL)
		return out_of_memory(it);
	rc = row_exists(it, t, id, &exists);
	if (rc != SAT_OK)
		return rc;
	if (!exists && strcmp(op, "insert") != 0)
		return sat_err_set(&it->c->err, SAT_E_NOTFOUND, 0, "rejected",
				   "%s: the row is no longer on this device",
				   t->name);
	sat_buf_init(&s->sql, 64 * 1024);
	if (strcmp(op, "delete") == 0) {
		s->args[s->count++] = id;
		rc = sat_text_add(&s->sql, "DELETE FROM %s WHERE id = ?1",
				  t->name);
		if (rc == SAT_OK)
			rc = sat_buf_append(&s->sql, "", 1);
	} else if (json_object_size(fields) > 0 || !exists) {
		rc = exists ? write_update(it, t, id, fields, s)
			    : write_insert(it, t, id, fields, s);
	}
	if (rc == SAT_E_LIMIT)
		rc = out_of_memory(it);
	if (rc == SAT_OK && s->count > 0)
		rc = sat_query(it->c->replica,
			       (const char *)sat_buf_peek(&s->sql).ptr, s->args,
			       s->count, NULL, NULL, &it->c->err);
	sat_buf_fini(&s->sql);
	return rc;
}

static int drop(struct sat_cli *c, int64_t n)
{
	struct sat_value arg = sat_value_int(n);

	return sat_query(c->replica,
			 "DELETE FROM _satchel_rejected WHERE n = ?1", &arg, 1,
			 NULL, NULL, &c->err);
}

static int retry(struct sat_cli *c, int64_t n)
{
	struct item it;
	json_t *delta;
	size_t i;
	int rc = SAT_OK, code = load(c, n, &it);

	if (code == SAT_CLI_OK) {
		json_array_foreach(it.content, i, delta)
		{
			if (rc == SAT_OK)
				rc = write_again(&it, delta);
		}
		if (rc == SAT_OK)
			rc = drop(c, n);
		if (rc != SAT_OK)
			code = sat_cli_error(c);
	}
	json_decref(it.content);
	return code;
}

static int discard(struct sat_cli *c, int64_t n)
{
	struct item it;
	int code = load(c, n, &it);

	json_decref(it.content);
	if (code == SAT_CLI_OK && drop(c, n) != SAT_OK)
		code = sat_cli_error(c);
	return code;
}

/* ---- the command --------------------------------------------------------- */

struct numbers {
	struct sat_cli *c;
	int64_t *n;
	size_t count, cap;
};

static int on_number(void *arg, const struct sat_value *v, int count,
		     struct sat_err *err)
{
	struct numbers *all = arg;
	int64_t *more;

	(void)count;
	if (all->count == all->cap) {
		all->cap = all->cap == 0 ? 64 : all->cap * 2;
		more = sat_arena_array(&all->c->arena, all->cap, sizeof *more);
		if (more == NULL)
			return sat_err_set(err, SAT_E_NOMEM, 0, "rejected",
					   "out of memory");
		if (all->count > 0)
			memcpy(more, all->n, all->count * sizeof *more);
		all->n = more;
	}
	all->n[all->count++] = v[0].i;
	return SAT_OK;
}

static int read_numbers(struct sat_cli *c, const char *word,
			struct numbers *all)
{
	int64_t n;
	char *end;

	*all = (struct numbers){ .c = c };
	if (strcmp(word, "all") == 0)
		return sat_query(c->replica,
				 "SELECT n FROM satchel_rejected ORDER BY n",
				 NULL, 0, on_number, all, &c->err) == SAT_OK
			       ? SAT_CLI_OK
			       : sat_cli_error(c);
	n = strtoll(word, &end, 10);
	if (end == word || *end != '\0')
		return sat_cli_misuse(c,
				      SAT_TR(c, "\"%s\" is no entry's number",
					     "“%s”不是编号"),
				      word);
	all->n = sat_arena_alloc(&c->arena, sizeof *all->n);
	if (all->n == NULL)
		return sat_cli_fail(c, "%s",
				    SAT_TR(c, "out of memory", "内存不足"));
	all->n[0] = n;
	all->count = 1;
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

/* All of them or none: what one refers to may be in another. */
static int change(struct sat_cli *c, const struct numbers *all, bool again)
{
	int code = SAT_CLI_OK;

	if (sat_query_begin(c->replica, &c->err) != SAT_OK)
		return sat_cli_error(c);
	for (size_t i = 0; code == SAT_CLI_OK && i < all->count; i++)
		code = again ? retry(c, all->n[i]) : discard(c, all->n[i]);
	if (code == SAT_CLI_OK &&
	    sat_query_commit(c->replica, &c->err) != SAT_OK)
		code = sat_cli_error(c);
	if (code != SAT_CLI_OK)
		sat_query_rollback(c->replica);
	else
		say(c, all->count, again);
	return code;
}

int sat_cli_rejected(struct sat_cli *c)
{
	const char *verb = c->words > 0 ? c->word[0] : "list";
	struct numbers all;
	int code;

	if (strcmp(verb, "list") == 0 && c->words <= 1)
		return list(c);
	if ((strcmp(verb, "show") != 0 && strcmp(verb, "retry") != 0 &&
	     strcmp(verb, "discard") != 0) ||
	    c->words != 2)
		return sat_cli_misuse(
			c, "%s",
			SAT_TR(c,
			       "say list, or show, retry, discard with a "
			       "number",
			       "请使用 list，或 show、retry、discard 加编号"));
	code = read_numbers(c, c->word[1], &all);
	if (code != SAT_CLI_OK)
		return code;
	if (strcmp(verb, "show") != 0)
		return change(c, &all, strcmp(verb, "retry") == 0);
	for (size_t i = 0; code == SAT_CLI_OK && i < all.count; i++)
		code = show(c, all.n[i]);
	return code;
}
