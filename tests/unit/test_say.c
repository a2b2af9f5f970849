#include "common/say.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The conversions of a format in the order of its arguments: "s" "lu" ... A
 * positional one counts where it points. False: not one we can compare. */
static bool conversions(const char *f, char out[16][8], int *ret_count)
{
	int next = 0;

	memset(out, 0, 16 * 8);
	for (; (f = strchr(f, '%')) != NULL; f++) {
		size_t n = strspn(f + 1, "0123456789$.*-+ #");
		bool positional = f[1] >= '1' && f[1] <= '9' && f[2] == '$';
		int at = positional ? f[1] - '1' : next++;
		const char *kind = f + 1 + n;
		size_t length = strspn(kind, "hlzjt") + 1;

		if (at >= 16 || length >= 8 ||
		    strchr("sdiuxc", *(kind + length - 1)) == NULL)
			return false;
		/* the star takes an argument of its own */
		out[at][0] = memchr(f, '*', n + 1) != NULL ? '*' : ' ';
		memcpy(out[at] + 1, kind, length);
		*ret_count = at + 1 > *ret_count ? at + 1 : *ret_count;
	}
	return true;
}

static bool has_chinese(const char *s)
{
	for (; *s != '\0'; s++)
		if ((uint8_t)*s >= 0xe2)
			return true;
	return false;
}

static void the_two_of_a_pair_take_the_same_arguments(void **state)
{
	(void)state;
	for (size_t a = 0; a < sat_say_all_count; a++)
		for (const struct sat_say_pair *p = sat_say_all[a];
		     p->en != NULL; p++) {
			char en[16][8], zh[16][8];
			int en_count = 0, zh_count = 0;

			if (!conversions(p->en, en, &en_count) ||
			    !conversions(p->zh, zh, &zh_count) ||
			    en_count != zh_count ||
			    memcmp(en, zh, sizeof en) != 0)
				fail_msg("%s\n%s", p->en, p->zh);
			if (!has_chinese(p->zh))
				fail_msg("not Chinese: %s", p->zh);
			if (has_chinese(p->en))
				fail_msg("not English: %s", p->en);
			assert_true(strlen(p->zh) < SAT_SAY_BYTES ||
				    strstr(p->en, "usage:") != NULL);
		}
}

/* Two pairs with one key: the second is never heard. */
static void no_sentence_stands_twice(void **state)
{
	(void)state;
	sat_say_speak(SAT_LANG_ZH);
	for (size_t a = 0; a < sat_say_all_count; a++)
		for (const struct sat_say_pair *p = sat_say_all[a];
		     p->en != NULL; p++)
			if (sat_say(p->en) != p->zh)
				fail_msg("twice: %s", p->en);
	sat_say_speak(SAT_LANG_EN);
}

static void says(const char *text, const char *wanted)
{
	char out[SAT_SAY_BYTES];

	assert_string_equal(sat_say_text(text, out, sizeof out), wanted);
}

static void sentences_are_found_by_their_pattern(void **state)
{
	(void)state;
	sat_say_speak(SAT_LANG_ZH);
	says("out of memory", "内存不足");
	says("process 42 uses /srv/x already", "进程 42 已在使用 /srv/x");
	/* the pieces change places */
	says("there is no territory with code \"SH\"",
	     "没有 代码 为“SH”的区域");
	/* what stands in quotes or behind -- is a name, not a word of ours */
	says("there is no territory with code \"user\"",
	     "没有 代码 为“user”的区域");
	says("--login is needed", "需要 --login");
	/* the pattern with the most words of its own */
	says("cannot connect: connection refused",
	     "无法连接：连接被拒绝，服务器可能没有运行");
	/* a sentence in a sentence in a sentence */
	says("not done: the server says: this device was revoked",
	     "未完成：服务器答复：本设备已被停用，请联系管理员");
	/* behind a name and a colon */
	says("hq/lock: Permission denied", "hq/lock：没有权限");
	says("server.conf:3: ping: '0' is out of range (5 to 3600)",
	     "server.conf:3: ping：“0”超出范围（5 到 3600）");
	/* a piece may be empty, or hold what looks like a pattern */
	says("the map: ", "映射文件：");
	says("user %s%n is disabled", "用户 %s%n 已停用");
	sat_say_speak(SAT_LANG_EN);
}

static void what_is_not_in_the_table_says_what_to_do_with_it(void **state)
{
	(void)state;
	sat_say_speak(SAT_LANG_ZH);
	says("flux capacitor worn out",
	     "程序报告（请转告管理员）：flux capacitor worn out");
	says("客户：本设备上没有“x”", "客户：本设备上没有“x”");
	says("", "");
	assert_string_equal(sat_say("no such words"), "no such words");
	sat_say_speak(SAT_LANG_EN);
}

static void english_stays_as_it_is(void **state)
{
	char out[8];

	(void)state;
	says("out of memory", "out of memory");
	says("flux capacitor worn out", "flux capacitor worn out");
	assert_false(sat_say_find("out of memory", out, sizeof out));
	assert_string_equal(sat_say("out of memory"), "out of memory");
}

/* Whatever a peer says: no byte is written behind the end, and no character
 * is cut in two. */
static void long_text_is_cut_at_a_character(void **state)
{
	char text[4096], out[SAT_SAY_BYTES];
	size_t n;

	(void)state;
	sat_say_speak(SAT_LANG_ZH);
	for (size_t len = 1; len < sizeof text - 64; len += 61) {
		memcpy(text, "user ", 5);
		for (size_t i = 0; i + 3 <= len; i += 3)
			memcpy(text + 5 + i, "行", 3);
		strncpy(text + 5 + len / 3 * 3, " is disabled", 32);
		memset(out, 'x', sizeof out);
		if (!sat_say_find(text, out, sizeof out))
			continue;
		n = strlen(out);
		assert_true(n < sizeof out);
		for (size_t i = n, back = 0; i > 0 && back < 3; back++) {
			i--;
			if (((uint8_t)out[i] & 0xc0) != 0x80) {
				uint8_t b = (uint8_t)out[i];
				size_t need = b < 0x80 ? 1 : b < 0xe0 ? 2 : 3;

				assert_true(n - i == need);
				break;
			}
		}
	}
	sat_say_speak(SAT_LANG_EN);
}

static void the_environment_chooses_as_the_c_library_does(void **state)
{
	static const struct {
		const char *all, *messages, *lang;
		enum sat_lang want;
	} rows[] = {
		{ NULL, NULL, "zh_CN.UTF-8", SAT_LANG_ZH },
		{ NULL, NULL, "zh", SAT_LANG_ZH },
		{ NULL, NULL, "zhuang", SAT_LANG_EN },
		{ NULL, NULL, "de_DE", SAT_LANG_EN },
		{ "C", NULL, "zh_CN", SAT_LANG_EN },
		{ "", "zh_CN", "en_US", SAT_LANG_ZH },
		{ NULL, "en_US", "zh_CN", SAT_LANG_EN },
		{ NULL, NULL, NULL, SAT_LANG_EN },
	};

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(rows); i++) {
		(void)unsetenv("LC_ALL");
		(void)unsetenv("LC_MESSAGES");
		(void)unsetenv("LANG");
		if (rows[i].all != NULL)
			(void)setenv("LC_ALL", rows[i].all, 1);
		if (rows[i].messages != NULL)
			(void)setenv("LC_MESSAGES", rows[i].messages, 1);
		if (rows[i].lang != NULL)
			(void)setenv("LANG", rows[i].lang, 1);
		assert_int_equal(sat_lang_of_environment(), rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_two_of_a_pair_take_the_same_arguments),
		cmocka_unit_test(no_sentence_stands_twice),
		cmocka_unit_test(sentences_are_found_by_their_pattern),
		cmocka_unit_test(
			what_is_not_in_the_table_says_what_to_do_with_it),
		cmocka_unit_test(english_stays_as_it_is),
		cmocka_unit_test(long_text_is_cut_at_a_character),
		cmocka_unit_test(the_environment_chooses_as_the_c_library_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
