#include "proto/reason.h"

#include <stdio.h>
#include <string.h>

/* name, English, Chinese. In the sentences %T stands for the table's label,
 * %C for the column's ("this field" when no column is known). */
#define REASONS(X)                                                                                             \
	X(NONE, "none", "Nothing is wrong.", "没有问题。")                                                     \
	X(MALFORMED, "malformed",                                                                              \
	  "The change arrived damaged. Update the app; if it happens again, "                                  \
	  "tell your administrator.",                                                                          \
	  "更改数据已损坏。请更新应用；如再次出现，请联系管理员。")                                            \
	X(VALUE, "value",                                                                                      \
	  "%T: the value of %C is not allowed. Correct it and save again.",                                    \
	  "%T：“%C”的值不符合要求。请改正后重新保存。")                                                        \
	X(REQUIRED, "required",                                                                                \
	  "%T: %C must not be empty. Fill it in and save again.",                                              \
	  "%T：“%C”不能为空。请填写后重新保存。")                                                              \
	X(ROLE, "role",                                                                                        \
	  "Your role may not change %C of %T. Ask your manager to do it.",                                     \
	  "您的角色无权修改%T的“%C”。请让您的经理来修改。")                                                    \
	X(DERIVED, "derived",                                                                                  \
	  "%T is filled in by the server and cannot be changed. Change the "                                   \
	  "records it is made from.",                                                                          \
	  "%T由服务器自动生成，不能修改。请修改其来源记录。")                                                  \
	X(APPEND_ONLY, "append_only",                                                                          \
	  "%T: what is recorded stays as it is. Add a new record that "                                        \
	  "corrects it.",                                                                                      \
	  "%T：已有记录不可更改或删除。请新增一条记录来更正。")                                                \
	X(SCOPE, "scope",                                                                                      \
	  "%T: this record is not in your territories. Ask your manager for "                                  \
	  "access or to make the change.",                                                                     \
	  "%T：该记录不在您的区域内。请让您的经理授权或代为修改。")                                            \
	X(PARENT, "parent",                                                                                    \
	  "%T: %C points to a record that does not exist here. Choose "                                        \
	  "another "                                                                                           \
	  "one and save again.",                                                                               \
	  "%T：“%C”所指的记录不存在。请重新选择后保存。")                                                      \
	X(GONE, "gone",                                                                                        \
	  "%T: the record no longer exists. Create it anew if you need it.",                                   \
	  "%T：该记录已不存在。如仍需要，请重新创建。")                                                        \
	X(FORGED, "forged",                                                                                    \
	  "The change names edits that nobody made. Tell your administrator; "                                 \
	  "the device may need to be enrolled again.",                                                         \
	  "更改引用了不存在的修改。请联系管理员，设备可能需要重新注册。")                                      \
	X(DEPENDS, "depends",                                                                                  \
	  "It builds on another change that was refused. Correct that one "                                    \
	  "first, then send both again.",                                                                      \
	  "它依赖另一项被拒绝的更改。请先改正那一项，再一并重新提交。")                                        \
	X(TOO_LATE, "too_late",                                                                                \
	  "%T: your access ended before this change reached the server. Your "                                 \
	  "manager has been told; ask them to enter it.",                                                      \
	  "%T：更改到达服务器前，您的权限已结束。已通知您的经理，请让其代为录" \
	  "入。")                                                                                              \
	X(ENCODING, "encoding",                                                                                \
	  "%T: %C contains bytes that are not text. Type it again and save.",                                  \
	  "%T：“%C”包含无法识别的字符。请重新输入后保存。")                                                    \
	X(CATALOGUE, "catalogue",                                                                              \
	  "The server does not know this table or field. Sync again; if it "                                   \
	  "stays, tell your administrator.",                                                                   \
	  "服务器不认识该表或字段。请重新同步；如仍出现，请联系管理员。")

struct sentence {
	enum sat_reason reason;
	const char *name;
	const char *text[SAT_LANG_COUNT];
};

#define ROW(id, name, en, zh) \
	[SAT_REASON_##id] = { SAT_REASON_##id, name, { en, zh } },
static const struct sentence sentences[] = { REASONS(ROW) };

_Static_assert(SAT_COUNT_OF(sentences) == SAT_REASON_COUNT,
	       "every reason has its sentence");

/* Reasons come off the wire too, so a newer one must not be an index. */
static const struct sentence *find(enum sat_reason r)
{
	if ((unsigned)r >= SAT_REASON_COUNT)
		return &sentences[SAT_REASON_CATALOGUE];
	return &sentences[r];
}

const char *sat_reason_name(enum sat_reason r)
{
	return (unsigned)r >= SAT_REASON_COUNT ? "unknown" : find(r)->name;
}

static const char *label_of(enum sat_lang lang, const struct sat_label *label,
			    const char *const fallback[SAT_LANG_COUNT])
{
	return label == NULL ? fallback[lang] : label->text[lang];
}

/* Cut at the last whole character: labels and sentences are UTF-8. */
static void trim(char *out, size_t len)
{
	size_t i = len;
	size_t need;
	uint8_t b;

	while (i > 0 && ((uint8_t)out[i - 1] & 0xc0) == 0x80)
		i--;
	if (i == 0)
		return;
	b = (uint8_t)out[i - 1];
	need = b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
	if (len - (i - 1) < need)
		out[i - 1] = '\0';
}

void sat_reason_text(enum sat_reason r, enum sat_lang lang,
		     const struct sat_table *t, const struct sat_column *c,
		     char *out, size_t out_bytes)
{
	static const char *const this_table[] = { "This record", "该记录" };
	static const char *const this_column[] = { "this field", "该字段" };
	const char *from = find(r)->text[lang];
	size_t at = 0;
	size_t n;
	const char *piece;
	const char *next;

	if (out_bytes == 0)
		return;
	while (*from != '\0' && at < out_bytes - 1) {
		if (from[0] == '%') {
			piece = from[1] == 'T'
					? label_of(lang, t ? &t->label : NULL,
						   this_table)
					: label_of(lang, c ? &c->label : NULL,
						   this_column);
			n = strlen(piece);
			next = from + 2;
		} else {
			piece = from;
			n = strcspn(from, "%");
			next = from + n;
		}
		if (n > out_bytes - 1 - at)
			n = out_bytes - 1 - at;
		memcpy(out + at, piece, n);
		at += n;
		from = next;
	}
	out[at] = '\0';
	if (at == out_bytes - 1)
		trim(out, at);
}
