#include "client/replica/refusal.h"

#include <stdio.h>
#include <string.h>

/* What needs neither column nor role. */
static const char *const fixed[SAT_REFUSAL_COUNT][SAT_LANG_COUNT] = {
	[SAT_REFUSAL_REQUIRED] = { "is required", "不能为空" },
	[SAT_REFUSAL_DERIVED] = { "only the server writes this table",
				  "由服务器自动生成，不能修改" },
	[SAT_REFUSAL_FIXED] = { "rows can be added but not changed",
				"只能新增记录，不能修改" },
	[SAT_REFUSAL_KEPT] = { "rows can be added but not deleted",
			       "只能新增记录，不能删除" },
	[SAT_REFUSAL_ORPHAN] = { "the row has left your territories and waits"
				 " for the answer to an earlier change",
				 "该记录已离开您的区域，之前的修改正在等待答"
				 "复" },
	[SAT_REFUSAL_ID] = { "id must be a lower-case UUID",
			     "编号必须是小写 UUID" },
	[SAT_REFUSAL_ROWID] = { "rowid must be positive", "rowid 必须为正数" },
	[SAT_REFUSAL_TAKEN] = { "this rowid belongs to another row",
				"该 rowid 属于另一条记录" },
	[SAT_REFUSAL_RENAME] = { "the id of a row cannot be changed",
				 "记录的编号不能更改" },
	[SAT_REFUSAL_MANY] = { "too many changes wait to be sent: start"
			       " satcheld so that they go out, or change less"
			       " at once",
			       "待发送的修改过多：请启动 satcheld "
			       "将其发出，或减"
			       "少单次修改的数量" },
};

static const char *tr(enum sat_lang lang, const char *en, const char *zh)
{
	return lang == SAT_LANG_ZH ? zh : en;
}

static void limits_text(enum sat_lang lang, const struct sat_column *c,
			char *out, size_t n)
{
	bool zh = lang == SAT_LANG_ZH;
	long long min = (long long)c->min, max = (long long)c->max;

	out[0] = '\0';
	if (c->has_min && c->has_max && zh)
		(void)snprintf(out, n, "（%lld 到 %lld）", min, max);
	else if (c->has_min && c->has_max)
		(void)snprintf(out, n, " from %lld to %lld", min, max);
	else if (c->has_min && zh)
		(void)snprintf(out, n, "（不小于 %lld）", min);
	else if (c->has_min)
		(void)snprintf(out, n, " of at least %lld", min);
	else if (c->has_max && zh)
		(void)snprintf(out, n, "（不大于 %lld）", max);
	else if (c->has_max)
		(void)snprintf(out, n, " of at most %lld", max);
}

static void enum_text(enum sat_lang lang, const struct sat_column *c, char *out,
		      size_t n)
{
	size_t at = (size_t)snprintf(
		out, n, "%s", tr(lang, "must be one of", "只能是以下值之一："));

	for (uint16_t i = 0; i < c->value_count && at + 96 < n; i++) {
		if (lang == SAT_LANG_ZH)
			at += (size_t)snprintf(out + at, n - at,
					       " %.40s（%.40s）",
					       c->values[i].name,
					       c->values[i].label.text[lang]);
		else
			at += (size_t)snprintf(out + at, n - at, " %.40s",
					       c->values[i].name);
	}
}

static void text_limit(enum sat_lang lang, const struct sat_column *c,
		       char *out, size_t n)
{
	if (lang == SAT_LANG_ZH)
		(void)snprintf(out, n, "必须是不超过 %u 字节的文本",
			       c->max_bytes);
	else
		(void)snprintf(out, n, "must be text of at most %u bytes",
			       c->max_bytes);
}

static void type_text(enum sat_lang lang, const struct sat_column *c, char *out,
		      size_t n)
{
	const char *what;
	char limits[96] = "";

	switch (c->type) {
	case SAT_TYPE_ENUM:
		enum_text(lang, c, out, n);
		return;
	case SAT_TYPE_TEXT:
	case SAT_TYPE_JSON:
		text_limit(lang, c, out, n);
		return;
	case SAT_TYPE_REF:
		what = tr(lang, "must be an id in lower-case UUID form",
			  "必须是小写 UUID 形式的编号");
		break;
	case SAT_TYPE_BLOBREF:
		what = tr(lang, "must be a SHA-256 hash in hex",
			  "必须是十六进制的 SHA-256 值");
		break;
	case SAT_TYPE_BOOL:
		what = tr(lang, "must be 0 or 1", "只能是 0 或 1");
		break;
	case SAT_TYPE_DATE:
		what = tr(lang, "must be a date YYYY-MM-DD",
			  "必须是日期，形如 YYYY-MM-DD");
		break;
	case SAT_TYPE_GEO:
		what = tr(lang, "must be LAT,LON with 7 decimals each",
			  "必须是“纬度,经度”，各 7 位小数");
		break;
	case SAT_TYPE_SET:
		what = tr(lang, "must be a JSON array of texts",
			  "必须是由文本组成的 JSON 数组");
		break;
	case SAT_TYPE_REAL:
		what = tr(lang, "must be a number", "必须是数字");
		limits_text(lang, c, limits, sizeof limits);
		break;
	default:
		what = tr(lang, "must be a whole number", "必须是整数");
		limits_text(lang, c, limits, sizeof limits);
		break;
	}
	(void)snprintf(out, n, "%s%s", what, limits);
}

static void effect_text(enum sat_lang lang, const struct sat_column *c,
			char *out, size_t n)
{
	static const char *const kept[3][SAT_LANG_COUNT] = {
		{ "keeps its largest value, this one has no effect",
		  "只保留最大值，该修改不会生效" },
		{ "keeps its smallest value, this one has no effect",
		  "只保留最小值，该修改不会生效" },
		{ "keeps its first value, this one has no effect",
		  "只保留最初的值，该修改不会生效" },
	};
	int i = c->policy == SAT_POLICY_MAX   ? 0
		: c->policy == SAT_POLICY_MIN ? 1
					      : 2;

	(void)snprintf(out, n, "%s", kept[i][lang]);
}

static void role_text(enum sat_refusal why, enum sat_lang lang,
		      enum sat_role role, const struct sat_label *label,
		      char *out, size_t n)
{
	static const char *const may_not[3][SAT_LANG_COUNT] = {
		{ "may not write it", "无权修改" },
		{ "may not add rows", "无权新增记录" },
		{ "may not delete rows", "无权删除记录" },
	};
	int i = why == SAT_REFUSAL_ROLE ? 0 : why == SAT_REFUSAL_INSERT ? 1 : 2;

	if (lang == SAT_LANG_ZH)
		(void)snprintf(out, n, "您的角色（%s）%s",
			       label == NULL ? sat_role_name(role)
					     : label->text[lang],
			       may_not[i][lang]);
	else
		(void)snprintf(out, n, "your role (%s) %s", sat_role_name(role),
			       may_not[i][lang]);
}

void sat_refusal_text(enum sat_refusal why, enum sat_lang lang,
		      const struct sat_column *c, enum sat_role role,
		      const struct sat_label *role_label, char *out, size_t n)
{
	switch (why) {
	case SAT_REFUSAL_TYPE:
		type_text(lang, c, out, n);
		return;
	case SAT_REFUSAL_EFFECT:
		effect_text(lang, c, out, n);
		return;
	case SAT_REFUSAL_ROLE:
	case SAT_REFUSAL_INSERT:
	case SAT_REFUSAL_DELETE:
		role_text(why, lang, role, role_label, out, n);
		return;
	default:
		(void)snprintf(out, n, "%s", fixed[why][lang]);
		return;
	}
}

/* ---- back from the sentence ---------------------------------------------- */

/* "table: " or "table.column: " before the sentence. */
static bool split(const struct sat_catalogue *cat, const char *message,
		  const struct sat_table **t, const struct sat_column **c,
		  const char **rest)
{
	const char *colon = strstr(message, ": "), *dot;
	struct sat_slice name;
	int at;

	if (colon == NULL)
		return false;
	dot = memchr(message, '.', (size_t)(colon - message));
	name.ptr = (const uint8_t *)message;
	name.len = (size_t)((dot == NULL ? colon : dot) - message);
	*t = sat_catalogue_table(cat, name);
	*c = NULL;
	*rest = colon + 2;
	if (*t == NULL || dot == NULL)
		return *t != NULL;
	name.ptr = (const uint8_t *)dot + 1;
	name.len = (size_t)(colon - dot - 1);
	at = sat_table_column(*t, name);
	if (at < 0)
		return false;
	*c = &(*t)->columns[at];
	return true;
}

bool sat_refusal_translate(const struct sat_catalogue *cat, enum sat_lang lang,
			   enum sat_role role, const char *message, char *out,
			   size_t n)
{
	const struct sat_label *label = &cat->role_label[role];
	char text[SAT_REFUSAL_BYTES];
	const struct sat_column *c;
	const struct sat_table *t;
	const char *rest;
	bool cut = strlen(message) + 1 >= sizeof((struct sat_err *)0)->msg;

	if (!split(cat, message, &t, &c, &rest))
		return false;
	for (int why = 0; why < SAT_REFUSAL_COUNT; why++) {
		if (c == NULL &&
		    (why == SAT_REFUSAL_TYPE || why == SAT_REFUSAL_EFFECT))
			continue;
		sat_refusal_text((enum sat_refusal)why, SAT_LANG_EN, c, role,
				 NULL, text, sizeof text);
		if (cut ? strncmp(text, rest, strlen(rest)) != 0
			: strcmp(text, rest) != 0)
			continue;
		sat_refusal_text((enum sat_refusal)why, lang, c, role, label,
				 text, sizeof text);
		(void)snprintf(out, n, "%s%s%s%s%s", t->label.text[lang],
			       c == NULL ? "" : "·",
			       c == NULL ? "" : c->label.text[lang],
			       lang == SAT_LANG_ZH ? "：" : ": ", text);
		return true;
	}
	return false;
}
