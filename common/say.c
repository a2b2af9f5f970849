#include "common/say.h"

#include <stdlib.h>
#include <string.h>

/* Pieces of a sentence that came from a pattern's conversions. */
enum { PIECES_MAX = 8 };

struct piece {
	const char *ptr;
	size_t len;
};

const struct sat_say_pair *const sat_say_all[] = {
	sat_say_basics, sat_say_device, sat_say_server, sat_say_commands
};
const size_t sat_say_all_count = SAT_COUNT_OF(sat_say_all);

static enum sat_lang spoken = SAT_LANG_EN;

bool sat_lang_is_chinese(const char *s)
{
	return s != NULL &&
	       (strcmp(s, "zh") == 0 || strncmp(s, "zh_", 3) == 0 ||
		strncmp(s, "zh-", 3) == 0 || strncmp(s, "zh.", 3) == 0);
}

enum sat_lang sat_lang_of_environment(void)
{
	static const char *const names[] = { "LC_ALL", "LC_MESSAGES", "LANG" };

	for (size_t i = 0; i < SAT_COUNT_OF(names); i++) {
		const char *s = getenv(names[i]);

		if (s != NULL && *s != '\0')
			return sat_lang_is_chinese(s) ? SAT_LANG_ZH
						      : SAT_LANG_EN;
	}
	return SAT_LANG_EN;
}

void sat_say_speak(enum sat_lang lang)
{
	spoken = lang;
}

enum sat_lang sat_say_lang(void)
{
	return spoken;
}

/* The pair of exactly this English, NULL when there is none. */
static const struct sat_say_pair *find(const char *en, size_t len)
{
	for (size_t a = 0; a < sat_say_all_count; a++)
		for (const struct sat_say_pair *p = sat_say_all[a];
		     p->en != NULL; p++)
			if (strncmp(p->en, en, len) == 0 && p->en[len] == '\0')
				return p;
	return NULL;
}

const char *sat_say(const char *en)
{
	const struct sat_say_pair *p;

	if (spoken == SAT_LANG_EN)
		return en;
	p = find(en, strlen(en));
	return p != NULL ? p->zh : en;
}

/* ---- patterns ------------------------------------------------------------ */

/* Bytes of the conversion at s, which begins with %; 0 for "%%". */
static size_t conversion(const char *s)
{
	size_t n = 1;

	if (s[1] == '%')
		return 0;
	n += strspn(s + n, "0123456789$.*-+ #");
	n += strspn(s + n, "hlzjt");
	return s[n] == '\0' ? n : n + 1;
}

/* The literal text at the front of a pattern, up to its next conversion. */
static size_t literal(const char *s)
{
	size_t n = 0;

	while (s[n] != '\0' && (s[n] != '%' || conversion(s + n) == 0))
		n += s[n] == '%' ? 2 : 1;
	return n;
}

/* Does text begin with the n bytes of a literal, in which "%%" is "%"? The
 * tables have no "%%" before a conversion's end that matters, so bytes do. */
static const char *seek(const char *text, const char *want, size_t n, bool last)
{
	size_t len = strlen(text);

	if (n == 0)
		return last ? text + len : text;
	if (last)
		return len >= n && memcmp(text + len - n, want, n) == 0
			       ? text + len - n
			       : NULL;
	for (; len >= n; text++, len--)
		if (memcmp(text, want, n) == 0)
			return text;
	return NULL;
}

/* The pieces of text by the pattern; -1 when it does not fit, else how many.
 * *ret_weight: how many bytes of the pattern are its own words. */
static int fit(const char *pattern, const char *text,
	       struct piece pieces[PIECES_MAX], size_t *ret_weight)
{
	size_t n = literal(pattern);
	const char *at;
	int count = 0;

	*ret_weight = n;
	if (strncmp(pattern, text, n) != 0)
		return -1;
	for (pattern += n, text += n; *pattern != '\0'; pattern += n) {
		pattern += conversion(pattern);
		n = literal(pattern);
		if (count == PIECES_MAX)
			return -1;
		at = seek(text, pattern, n, pattern[n] == '\0');
		/* two conversions side by side: the second takes all */
		if (at == NULL)
			return -1;
		pieces[count].ptr = text;
		pieces[count++].len = (size_t)(at - text);
		text = at + n;
		*ret_weight += n;
	}
	return *text == '\0' ? count : -1;
}

/* ---- putting together ---------------------------------------------------- */

struct writer {
	char *out;
	size_t at, size;
};

static void put(struct writer *w, const char *s, size_t n)
{
	size_t room = w->size - 1 - w->at;

	n = n < room ? n : room;
	memcpy(w->out + w->at, s, n);
	w->at += n;
	w->out[w->at] = '\0';
}

/* How a piece is said: in the other language when it is a sentence itself. */
typedef void (*piece_cb)(struct writer *w, struct piece p);

static void put_word(struct writer *w, struct piece p)
{
	const struct sat_say_pair *pair = find(p.ptr, p.len);

	if (pair != NULL && p.len > 0)
		put(w, pair->zh, strlen(pair->zh));
	else
		put(w, p.ptr, p.len);
}

/* Is what comes next a name to be typed: behind "--" or an opening quote? */
static bool is_name(const struct writer *w)
{
	static const char quote[] = "“";

	if (w->at > 0 && strchr("-`", w->out[w->at - 1]) != NULL)
		return true;
	return w->at >= sizeof quote - 1 &&
	       memcmp(w->out + w->at - (sizeof quote - 1), quote,
		      sizeof quote - 1) == 0;
}

/* zh is a format of strings now: %s takes the next piece, %2$s the second. */
static void put_pattern(struct writer *w, const char *zh,
			const struct piece *pieces, int count, piece_cb say)
{
	int next = 0, which;
	size_t n;

	while (*zh != '\0') {
		n = literal(zh);
		put(w, zh, n);
		zh += n;
		if (*zh == '\0')
			return;
		which = zh[1] >= '1' && zh[1] <= '9' && zh[2] == '$'
				? zh[1] - '1'
				: next++;
		if (which < count && is_name(w))
			put(w, pieces[which].ptr, pieces[which].len);
		else if (which < count)
			say(w, pieces[which]);
		zh += conversion(zh);
	}
}

/* The pattern with the most words of its own that fits. */
static bool say_pattern(struct writer *w, const char *text, piece_cb say)
{
	struct piece pieces[PIECES_MAX], best[PIECES_MAX];
	const struct sat_say_pair *pair = NULL;
	size_t weight, heaviest = 0;
	int count, found = 0;

	for (size_t a = 0; a < sat_say_all_count; a++)
		for (const struct sat_say_pair *p = sat_say_all[a];
		     p->en != NULL; p++) {
			count = fit(p->en, text, pieces, &weight);
			if (count < 0 || weight <= heaviest)
				continue;
			heaviest = weight;
			pair = p;
			found = count;
			memcpy(best, pieces, sizeof best);
		}
	if (pair == NULL)
		return false;
	put_pattern(w, pair->zh, best, found, say);
	return true;
}

/* "hq.server/lock: permission denied": what is in front of a colon is a name,
 * what is behind it may be a sentence. */
static bool say_sentence(struct writer *w, const char *text, piece_cb say)
{
	size_t mark = w->at;
	const char *colon;

	if (say_pattern(w, text, say))
		return true;
	for (colon = strstr(text, ": "); colon != NULL;
	     colon = strstr(colon + 2, ": ")) {
		put(w, text, (size_t)(colon - text));
		put(w, "：", strlen("："));
		if (say_pattern(w, colon + 2, say))
			return true;
		w->at = mark;
		w->out[mark] = '\0';
	}
	return false;
}

/* Sentences in sentences: "not done: the server says: ...". Two levels are
 * functions of their own, so that nothing nests without end. */
static void put_inner(struct writer *w, struct piece p)
{
	char text[512];

	(void)snprintf(text, sizeof text, "%.*s",
		       (int)(p.len < 511 ? p.len : 511), p.ptr);
	if (p.len > 511 || !say_sentence(w, text, put_word))
		put(w, p.ptr, p.len);
}

static void put_outer(struct writer *w, struct piece p)
{
	char text[512];

	(void)snprintf(text, sizeof text, "%.*s",
		       (int)(p.len < 511 ? p.len : 511), p.ptr);
	if (p.len > 511 || !say_sentence(w, text, put_inner))
		put(w, p.ptr, p.len);
}

/* Cut at the last whole character. */
static void trim(struct writer *w)
{
	while (w->at > 0 && ((uint8_t)w->out[w->at - 1] & 0xc0) == 0x80)
		w->at--;
	w->at -= w->at > 0;
	w->out[w->at] = '\0';
}

bool sat_say_find(const char *text, char *out, size_t out_bytes)
{
	char made[SAT_SAY_BYTES] = "";
	struct writer w = { made, 0, sizeof made };

	if (spoken == SAT_LANG_EN || *text == '\0' ||
	    !say_sentence(&w, text, put_outer))
		return false;
	if (w.at == w.size - 1)
		trim(&w);
	(void)snprintf(out, out_bytes, "%s", made);
	return true;
}

/* A sentence that was made in Chinese has its punctuation. */
static bool is_chinese_text(const char *s)
{
	return strstr(s, "：") != NULL || strstr(s, "，") != NULL ||
	       strstr(s, "。") != NULL || strstr(s, "”") != NULL;
}

const char *sat_say_text(const char *text, char *out, size_t out_bytes)
{
	if (spoken == SAT_LANG_EN || *text == '\0')
		return text;
	if (sat_say_find(text, out, out_bytes))
		return out;
	if (is_chinese_text(text))
		return text;
	(void)snprintf(out, out_bytes, "程序报告（请转告管理员）：%s", text);
	return out;
}
