/* What people type to what the replica holds: names to ids, labels to enum
 * values, local times to milliseconds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"
#include "common/text.h"

const struct sat_table *sat_cli_table(const struct sat_cli *c, const char *name)
{
	const struct sat_table *t =
		sat_catalogue_table(c->catalogue, sat_slice_str(name));

	if (t == NULL)
		(void)sat_cli_fail(
			c,
			SAT_TR(c,
			       "this organisation's catalogue has no table "
			       "\"%s\"",
			       "本组织的目录中没有数据表“%s”"),
			name);
	return t;
}

const struct sat_column *sat_cli_column(const struct sat_table *t,
					const char *name)
{
	int at = sat_table_column(t, sat_slice_str(name));

	return at < 0 ? NULL : &t->columns[at];
}

bool sat_cli_readable(const struct sat_cli *c, const struct sat_column *col)
{
	return (col->read & SAT_ROLE_BIT(c->status.role)) != 0;
}

const char *sat_cli_name_column(const struct sat_table *t)
{
	static const char *const names[] = { "name", "title", "code" };

	for (size_t i = 0; i < SAT_COUNT_OF(names); i++) {
		const struct sat_column *col = sat_cli_column(t, names[i]);

		if (col != NULL && col->type == SAT_TYPE_TEXT)
			return col->name;
	}
	return NULL;
}

/* ---- rows by name -------------------------------------------------------- */

enum { CANDIDATES_SHOWN = 20, ID_TAIL_MIN = 8 };

struct candidates {
	struct sat_cli *c;
	char id[CANDIDATES_SHOWN][SAT_UUID_CHARS + 1];
	struct sat_buf names; /* NUL after each */
	int64_t rank;
	size_t count; /* of the best rank, all of them */
};

static int on_candidate(void *arg, const struct sat_value *v, int count,
			struct sat_err *err)
{
	struct candidates *k = arg;
	size_t at = k->count;
	int rc = SAT_OK;

	(void)count;
	if (v[0].kind != SAT_TEXT || v[0].s.len != SAT_UUID_CHARS ||
	    v[2].kind != SAT_INT || (at > 0 && v[2].i != k->rank))
		return SAT_OK;
	k->rank = v[2].i;
	k->count++;
	if (at >= CANDIDATES_SHOWN)
		return SAT_OK;
	memcpy(k->id[at], v[0].s.ptr, SAT_UUID_CHARS);
	k->id[at][SAT_UUID_CHARS] = '\0';
	if (v[1].kind == SAT_TEXT)
		rc = sat_print_clean(&k->names, v[1].s, 60);
	if (rc == SAT_OK)
		rc = sat_buf_append(&k->names, "", 1);
	return rc == SAT_OK ? rc
			    : sat_err_set(err, rc, 0, "find", "out of memory");
}

/* Ranks: the id, the exact name, another case, a part. Besides the name a code
 * or a login names a row, exactly. */
static int find_sql(const struct sat_table *t, struct sat_buf *sql)
{
	static const char *const also[] = { "code", "login" };
	const char *name = sat_cli_name_column(t);
	int rc;

	rc = sat_text_add(sql,
			  "SELECT id, %s, CASE WHEN id = ?1 THEN 0"
			  " WHEN %s = ?1",
			  name != NULL ? name : "NULL",
			  name != NULL ? name : "NULL");
	for (size_t i = 0; rc == SAT_OK && i < SAT_COUNT_OF(also); i++)
		if (sat_cli_column(t, also[i]) != NULL)
			rc = sat_text_add(sql, " OR %s = ?1", also[i]);
	if (rc == SAT_OK)
		rc = sat_text_add(sql,
				  " THEN 1 WHEN lower(%s) = lower(?1) THEN 2"
				  " WHEN length(?1) >= %d AND"
				  " substr(id, -length(?1)) = ?1 THEN 3"
				  " WHEN instr(lower(%s), lower(?1)) > 0"
				  " THEN 4 END AS rank FROM %s"
				  " WHERE rank IS NOT NULL ORDER BY rank, 2, 1",
				  name != NULL ? name : "NULL", ID_TAIL_MIN,
				  name != NULL ? name : "NULL", t->name);
	if (rc == SAT_OK)
		rc = sat_buf_append(sql, "", 1);
	return rc;
}

static int ambiguous(const struct sat_cli *c, const struct sat_table *t,
		     const char *word, const struct candidates *k)
{
	const char *name = (const char *)sat_buf_peek(&k->names).ptr;

	(void)sat_cli_fail(c,
			   SAT_TR(c, "%s: \"%s\" fits %zu rows; which one?",
				  "%s：“%s”匹配 %zu 条记录，请指明："),
			   t->label.text[c->lang], word, k->count);
	for (size_t i = 0; i < k->count && i < CANDIDATES_SHOWN; i++) {
		(void)fprintf(stderr, "  %s  %s\n", k->id[i], name);
		name += strlen(name) + 1;
	}
	if (k->count > CANDIDATES_SHOWN)
		(void)fprintf(
			stderr,
			SAT_TR(c, "  ... and %zu more\n", "  ……另有 %zu 条\n"),
			k->count - CANDIDATES_SHOWN);
	return SAT_CLI_FAILED;
}

int sat_cli_find_row(struct sat_cli *c, const struct sat_table *t,
		     const char *word, char ret[37])
{
	struct sat_value arg = sat_value_text(sat_slice_str(word));
	struct candidates k = { .c = c };
	struct sat_buf sql;
	int rc, code = SAT_CLI_OK;

	if (*word == '\0')
		return sat_cli_misuse(
			c, SAT_TR(c, "%s: a name is needed", "%s：需要名称"),
			t->label.text[c->lang]);
	sat_buf_init(&sql, 4096);
	sat_buf_init(&k.names, 64 * 1024);
	rc = find_sql(t, &sql);
	if (rc != SAT_OK)
		rc = sat_err_set(&c->err, rc, 0, "find", "out of memory");
	else
		rc = sat_query(c->replica, (const char *)sat_buf_peek(&sql).ptr,
			       &arg, 1, on_candidate, &k, &c->err);
	if (rc != SAT_OK)
		code = sat_cli_error(c);
	else if (k.count == 0)
		code = sat_cli_fail(c,
				    SAT_TR(c, "%s: there is no \"%s\" here",
					   "%s：本设备上没有“%s”"),
				    t->label.text[c->lang], word);
	else if (k.count > 1)
		code = ambiguous(c, t, word, &k);
	else
		memcpy(ret, k.id[0], sizeof k.id[0]);
	sat_buf_fini(&sql);
	sat_buf_fini(&k.names);
	return code;
}

/* ---- enums --------------------------------------------------------------- */

/* ASCII letters of either case. */
static bool same_word(const char *a, const char *b)
{
	for (;; a++, b++) {
		int x = *a >= 'A' && *a <= 'Z' ? *a + 32 : *a;
		int y = *b >= 'A' && *b <= 'Z' ? *b + 32 : *b;

		if (x != y)
			return false;
		if (x == '\0')
			return true;
	}
}

const char *sat_cli_find_enum(const struct sat_cli *c,
			      const struct sat_column *col, const char *word)
{
	char known[1536] = "";
	size_t at = 0;

	for (uint16_t i = 0; i < col->value_count; i++)
		if (strcmp(col->values[i].name, word) == 0)
			return col->values[i].name;
	for (uint16_t i = 0; i < col->value_count; i++)
		if (same_word(col->values[i].name, word) ||
		    same_word(col->values[i].label.text[SAT_LANG_EN], word) ||
		    same_word(col->values[i].label.text[SAT_LANG_ZH], word))
			return col->values[i].name;
	for (uint16_t i = 0; i < col->value_count && at < sizeof known; i++)
		at += (size_t)snprintf(known + at, sizeof known - at,
				       "%s%s (%s)", i == 0 ? "" : ", ",
				       col->values[i].name,
				       col->values[i].label.text[c->lang]);
	(void)sat_cli_fail(c,
			   SAT_TR(c, "%s: \"%s\" is none of %s",
				  "%s：“%s”不在可选值之中：%s"),
			   col->label.text[c->lang], word, known);
	return NULL;
}

/* ---- times --------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void local_parts(int64_t ms, struct tm *ret)
{
	time_t s = (time_t)(ms / 1000 - (ms % 1000 < 0 ? 1 : 0));

	if (localtime_r(&s, ret) == NULL)
		*ret = (struct tm){ .tm_mday = 1, .tm_year = 70 };
}

int64_t sat_cli_midnight(int days)
{
	struct tm t;

	local_parts(now_ms(), &t);
	t.tm_mday += days;
	t.tm_hour = t.tm_min = t.tm_sec = 0;
	t.tm_isdst = -1;
	return (int64_t)mktime(&t) * 1000;
}

void sat_cli_time_text(int64_t ms, char out[32])
{
	struct tm t;

	local_parts(ms, &t);
	if (strftime(out, 32, "%Y-%m-%d %H:%M", &t) == 0)
		out[0] = '\0';
}

/* +3d, +2w, +4h, -1d */
static bool parse_step(const char *word, int64_t *ret_ms)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(word, &end, 10);
	if (end == word || errno != 0 || n < -36500 || n > 36500 ||
	    end[0] == '\0' || end[1] != '\0')
		return false;
	if (*end == 'h')
		*ret_ms = now_ms() + (int64_t)n * 3600000;
	else if (*end == 'd')
		*ret_ms = sat_cli_midnight((int)n);
	else if (*end == 'w')
		*ret_ms = sat_cli_midnight((int)n * 7);
	else
		return false;
	return true;
}

bool sat_cli_parse_time(const char *word, int64_t *ret_ms)
{
	struct sat_slice s = sat_slice_str(word);
	int64_t as_utc;
	struct tm t;
	time_t utc;

	if (strcmp(word, "now") == 0)
		*ret_ms = now_ms();
	else if (strcmp(word, "today") == 0)
		*ret_ms = sat_cli_midnight(0);
	else if (strcmp(word, "tomorrow") == 0)
		*ret_ms = sat_cli_midnight(1);
	else if (strcmp(word, "yesterday") == 0)
		*ret_ms = sat_cli_midnight(-1);
	else if (word[0] == '+' || word[0] == '-')
		return parse_step(word, ret_ms);
	else if (!sat_time_parse(s, &as_utc))
		return false;
	else if (s.len > 0 && s.ptr[s.len - 1] == 'Z')
		*ret_ms = as_utc;
	else {
		utc = (time_t)(as_utc / 1000 - (as_utc % 1000 < 0 ? 1 : 0));
		if (gmtime_r(&utc, &t) == NULL)
			return false;
		t.tm_isdst = -1;
		*ret_ms = (int64_t)mktime(&t) * 1000 +
			  (as_utc - (int64_t)utc * 1000);
	}
	return true;
}

/* ---- values -------------------------------------------------------------- */

static int bad_value(const struct sat_cli *c, const struct sat_column *col,
		     const char *word, const char *what)
{
	return sat_cli_fail(c,
			    SAT_TR(c, "%s: \"%s\" is not %s", "%s：“%s”不是%s"),
			    col->label.text[c->lang], word, what);
}

static int parse_number(struct sat_cli *c, const struct sat_column *col,
			const char *word, struct sat_value *ret)
{
	char *end;

	errno = 0;
	if (col->type == SAT_TYPE_REAL)
		*ret = sat_value_real(strtod(word, &end));
	else
		*ret = sat_value_int(strtoll(word, &end, 10));
	if (end == word || *end != '\0' || errno != 0 ||
	    (ret->kind == SAT_REAL && !(ret->r - ret->r == 0)))
		return bad_value(c, col, word, SAT_TR(c, "a number", "一个数"));
	return SAT_CLI_OK;
}

static int parse_bool(struct sat_cli *c, const struct sat_column *col,
		      const char *word, struct sat_value *ret)
{
	static const char *const yes[] = { "1", "yes", "true", "是" };
	static const char *const no[] = { "0", "no", "false", "否" };

	for (size_t i = 0; i < SAT_COUNT_OF(yes); i++) {
		*ret = sat_value_int(same_word(yes[i], word));
		if (ret->i == 1 || same_word(no[i], word))
			return SAT_CLI_OK;
	}
	return bad_value(c, col, word, SAT_TR(c, "yes or no", "“是”或“否”"));
}

static int parse_ref(struct sat_cli *c, const struct sat_column *col,
		     const char *word, struct sat_value *ret)
{
	char *id = sat_arena_alloc(&c->arena, SAT_UUID_CHARS + 1);
	int code;

	if (id == NULL)
		return sat_cli_fail(c, "%s",
				    SAT_TR(c, "out of memory", "内存不足"));
	code = sat_cli_find_row(c, &c->catalogue->tables[col->ref_table], word,
				id);
	*ret = sat_value_text(sat_slice_str(id));
	return code;
}

int sat_cli_parse_value(struct sat_cli *c, const struct sat_column *col,
			const char *word, struct sat_value *ret)
{
	const char *name;

	*ret = sat_value_text(sat_slice_str(word));
	switch (col->type) {
	case SAT_TYPE_REF:
		return parse_ref(c, col, word, ret);
	case SAT_TYPE_INT:
	case SAT_TYPE_COUNTER:
	case SAT_TYPE_REAL:
		return parse_number(c, col, word, ret);
	case SAT_TYPE_BOOL:
		return parse_bool(c, col, word, ret);
	case SAT_TYPE_MONEY:
		ret->kind = SAT_INT;
		if (!sat_money_parse(sat_slice_str(word), &ret->i))
			return bad_value(c, col, word,
					 SAT_TR(c, "an amount such as 1054.50",
						"金额，如 1054.50"));
		return SAT_CLI_OK;
	case SAT_TYPE_TIME:
		ret->kind = SAT_INT;
		if (!sat_cli_parse_time(word, &ret->i))
			return bad_value(
				c, col, word,
				SAT_TR(c,
				       "a time such as 2026-11-21 14:30, "
				       "tomorrow, +7d",
				       "时间，如 2026-11-21 14:30、tomorrow、"
				       "+7d"));
		return SAT_CLI_OK;
	case SAT_TYPE_ENUM:
		name = sat_cli_find_enum(c, col, word);
		if (name == NULL)
			return SAT_CLI_FAILED;
		*ret = sat_value_text(sat_slice_str(name));
		return SAT_CLI_OK;
	default: /* text forms; the triggers judge them */
		return SAT_CLI_OK;
	}
}

int sat_cli_limit(struct sat_cli *c, int64_t *ret)
{
	const char *word = c->value[SAT_OPT_LIMIT];
	char *end;

	*ret = c->json ? 0 : SAT_CLI_ROWS_DEFAULT;
	if (word == NULL)
		return SAT_CLI_OK;
	errno = 0;
	*ret = strtoll(word, &end, 10);
	if (end == word || *end != '\0' || errno != 0 || *ret < 0)
		return sat_cli_misuse(c,
				      SAT_TR(c,
					     "--limit is a number of rows, 0 "
					     "for all, not \"%s\"",
					     "--limit 是行数，0 为全部，不能是"
					     "“%s”"),
				      word);
	return SAT_CLI_OK;
}
