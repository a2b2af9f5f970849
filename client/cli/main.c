/* satchel: arguments, help, opening the replica. */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/replica/refusal.h"
#include "common/file.h"
#include "common/say.h"
#include "common/text.h"

const char *sat_tr(const struct sat_cli *c, const char *en, const char *zh)
{
	return c->lang == SAT_LANG_ZH ? zh : en;
}

/* ---- complaints ---------------------------------------------------------- */

static void complain(const struct sat_cli *c, const char *fmt, va_list args)
	SAT_PRINTF(2, 0);

static void complain(const struct sat_cli *c, const char *fmt, va_list args)
{
	char text[2048];

	(void)vsnprintf(text, sizeof text, fmt, args);
	(void)fflush(stdout);
	(void)fprintf(stderr, "satchel%s%s: ", c->command != NULL ? " " : "",
		      c->command != NULL ? c->command->name : "");
	sat_print_line(stderr, text);
}

int sat_cli_fail(const struct sat_cli *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(c, fmt, args);
	va_end(args);
	return SAT_CLI_FAILED;
}

static void option_usage(FILE *f, const struct sat_cli *c,
			 enum sat_cli_option o)
{
	const struct sat_cli_option_text *t = &sat_cli_options[o];
	char head[64];

	(void)snprintf(head, sizeof head, "--%s%s%s", t->name,
		       t->value != NULL ? " " : "",
		       t->value != NULL ? t->value : "");
	(void)fprintf(f, "  %-22s %s\n", head, t->help[c->lang]);
}

static void command_usage(FILE *f, const struct sat_cli *c)
{
	const struct sat_cli_command *k = c->command;

	(void)fprintf(f,
		      k->apart && k->words[0] != '\0'
			      ? SAT_TR(c, "usage: satchel %s%s%s\n",
				       "用法：satchel %s%s%s\n")
			      : SAT_TR(c, "usage: satchel --dir DIR %s%s%s\n",
				       "用法：satchel --dir 目录 %s%s%s\n"),
		      k->name, k->words[0] != '\0' ? " " : "", k->words);
	(void)fprintf(f, "  %s\n", k->help[c->lang]);
	for (int o = SAT_OPT_HELP + 1; o < SAT_OPT_COUNT; o++)
		if ((k->takes & SAT_OPT_BIT(o)) != 0)
			option_usage(f, c, (enum sat_cli_option)o);
	option_usage(f, c, SAT_OPT_JSON);
	option_usage(f, c, SAT_OPT_LANG);
}

static void usage(FILE *f, const struct sat_cli *c)
{
	(void)fputs(SAT_TR(c,
			   "satchel " SAT_VERSION
			   " - this device's data, with or without a network\n"
			   "\nusage: satchel --dir DIR COMMAND ...\n",
			   "satchel " SAT_VERSION
			   " - 本设备上的数据，有无网络均可使用\n"
			   "\n用法：satchel --dir 目录 命令 ...\n"),
		    f);
	for (size_t i = 0; i < sat_cli_command_count; i++)
		(void)fprintf(f, "  %-10s %s\n", sat_cli_commands[i].name,
			      sat_cli_commands[i].help[c->lang]);
	(void)fputc('\n', f);
	for (int o = 0; o <= SAT_OPT_HELP; o++)
		option_usage(f, c, (enum sat_cli_option)o);
	(void)fputs(SAT_TR(c,
			   "\nSATCHEL_DIR is the folder when --dir is not "
			   "given.\nsatchel COMMAND --help tells more.\n"
			   "Exit codes: 0 ok, 1 failed, 2 usage, 75 busy.\n",
			   "\n未给出 --dir 时使用环境变量 SATCHEL_DIR。\n"
			   "satchel 命令 --help 显示该命令的说明。\n"
			   "退出码：0 成功，1 失败，2 用法错误，75 忙。\n"),
		    f);
}

int sat_cli_misuse(const struct sat_cli *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(c, fmt, args);
	va_end(args);
	if (c->command != NULL)
		command_usage(stderr, c);
	return SAT_CLI_USAGE;
}

int sat_cli_error(const struct sat_cli *c)
{
	char refusal[SAT_REFUSAL_BYTES + 256], said[SAT_SAY_BYTES];
	const char *text = c->err.msg;

	if (c->err.rc == SAT_E_BUSY) {
		(void)sat_cli_fail(
			c, "%s",
			SAT_TR(c,
			       "another program is writing to the replica; "
			       "try again in a moment",
			       "另一个程序正在写入本地数据，请稍后再试"));
		return SAT_CLI_BUSY;
	}
	if (c->err.rc == SAT_E_FULL)
		text = SAT_TR(c, "the disk is full; nothing was written",
			      "磁盘已满，没有写入任何内容");
	/* programs read the English of the triggers, people their own */
	if (c->catalogue != NULL && c->lang != SAT_LANG_EN &&
	    sat_refusal_translate(c->catalogue, c->lang, c->status.role, text,
				  refusal, sizeof refusal))
		text = refusal;
	return sat_cli_fail(c, "%s", sat_say_text(text, said, sizeof said));
}

int sat_cli_open(struct sat_cli *c)
{
	char path[4096];
	int rc;

	if (c->dir == NULL)
		c->dir = getenv("SATCHEL_DIR");
	if (c->dir == NULL || *c->dir == '\0')
		return sat_cli_misuse(
			c, "%s",
			SAT_TR(c, "--dir DIR is needed (or SATCHEL_DIR)",
			       "需要 --dir 目录（或环境变量 SATCHEL_DIR）"));
	rc = sat_path_join(path, sizeof path, c->dir, "replica.db", &c->err);
	if (rc == SAT_OK && !sat_file_exists(path))
		return sat_cli_fail(
			c,
			SAT_TR(c,
			       "%s is not an enrolled device; `satcheld enroll "
			       "--dir DIR INVITE` makes one",
			       "%s 不是已注册的设备；请先运行 `satcheld "
			       "enroll --dir 目录 邀请`"),
			c->dir);
	if (rc == SAT_OK)
		rc = sat_replica_open(path, &c->replica, &c->err);
	if (rc == SAT_OK)
		rc = sat_replica_status(c->replica, &c->status, &c->err);
	if (rc != SAT_OK) {
		c->err.rc = rc;
		return sat_cli_error(c);
	}
	c->catalogue = sat_replica_catalogue(c->replica);
	return SAT_CLI_OK;
}

int sat_cli_done(const struct sat_cli *c)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return SAT_CLI_OK;
	return sat_cli_fail(
		c, "%s",
		SAT_TR(c, "the output could not be written", "无法写出结果"));
}

/* ---- arguments ----------------------------------------------------------- */

static int option_named(const char *name, size_t len)
{
	for (int o = 0; o < SAT_OPT_COUNT; o++) {
		const char *known = sat_cli_options[o].name;

		if (strlen(known) == len && memcmp(known, name, len) == 0)
			return o;
	}
	return -1;
}

static void speak(struct sat_cli *c, enum sat_lang lang)
{
	c->lang = lang;
	sat_say_speak(lang);
}

/* One option, which may use up the next word too; returns how many were used,
 * 0 when it is wrong, -1 when its value is missing. */
static int take_option(struct sat_cli *c, int left, char **argv)
{
	const char *word = argv[0] + 2, *eq = strchr(word, '=');
	size_t len = eq == NULL ? strlen(word) : (size_t)(eq - word);
	int o = option_named(word, len);

	if (o < 0)
		return 0;
	if (sat_cli_options[o].value == NULL) {
		c->value[o] = "";
		return eq == NULL ? 1 : 0;
	}
	if (eq == NULL && left < 2)
		return -1;
	/* folder names are bytes; all else goes into the replica */
	if (o != SAT_OPT_DIR && eq == NULL &&
	    !sat_utf8_valid(sat_slice_str(argv[1])))
		return 0;
	c->value[o] = eq != NULL ? eq + 1 : argv[1];
	if (o == SAT_OPT_SET) {
		if (c->sets == SAT_CLI_WORDS_MAX)
			return 0;
		c->set[c->sets++] = c->value[o];
	}
	if (o == SAT_OPT_LANG) /* at once: what follows may be wrong */
		speak(c, sat_lang_is_chinese(c->value[o]) ? SAT_LANG_ZH
							  : SAT_LANG_EN);
	return eq != NULL ? 1 : 2;
}

static void take_command(struct sat_cli *c, const char *word)
{
	for (size_t i = 0; i < sat_cli_command_count; i++)
		if (strcmp(sat_cli_commands[i].name, word) == 0)
			c->command = &sat_cli_commands[i];
}

static int take_word(struct sat_cli *c, const char *word)
{
	if (c->command == NULL) {
		take_command(c, word);
		if (c->command != NULL)
			return SAT_CLI_OK;
		(void)sat_cli_fail(
			c,
			SAT_TR(c,
			       "there is no command \"%s\"; see satchel "
			       "--help",
			       "没有命令“%s”；请看 satchel --help"),
			word);
		return SAT_CLI_USAGE;
	}
	if (c->words == SAT_CLI_WORDS_MAX)
		return sat_cli_misuse(c,
				      SAT_TR(c, "\"%s\" is one word too many",
					     "“%s”是多余的"),
				      word);
	c->word[c->words++] = word;
	return SAT_CLI_OK;
}

static int bad_option(struct sat_cli *c, const char *word, bool no_value)
{
	int o = option_named(word + 2, strlen(word) - 2);

	if (no_value && o >= 0)
		return sat_cli_misuse(
			c,
			SAT_TR(c, "%s needs a value: %s", "%s 需要一个值：%s"),
			word, sat_cli_options[o].value);
	return sat_cli_misuse(
		c,
		SAT_TR(c, "\"%s\" is not understood here", "不明白这里的“%s”"),
		word);
}

static int take_all(struct sat_cli *c, int argc, char **argv)
{
	bool options = true;
	int used, code;

	for (int i = 1; i < argc; i += used) {
		used = 1;
		if (!sat_utf8_valid(sat_slice_str(argv[i])))
			return sat_cli_misuse(c,
					      SAT_TR(c,
						     "\"%s\" is not UTF-8 text",
						     "“%s”不是 UTF-8 文本"),
					      argv[i]);
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
			continue;
		}
		if (options && strncmp(argv[i], "--", 2) == 0) {
			used = take_option(c, argc - i, argv + i);
			if (used > 0)
				continue;
			return bad_option(c, argv[i], used < 0);
		}
		code = take_word(c, argv[i]);
		if (code != SAT_CLI_OK)
			return code;
	}
	return SAT_CLI_OK;
}

static int check_lang(struct sat_cli *c)
{
	const char *lang = c->value[SAT_OPT_LANG];

	if (lang == NULL)
		return SAT_CLI_OK;
	if (strcmp(lang, "en") != 0 && !sat_lang_is_chinese(lang))
		return sat_cli_misuse(
			c,
			SAT_TR(c, "--lang is en or zh, not \"%s\"",
			       "--lang 只能是 en 或 zh，不能是“%s”"),
			lang);
	return SAT_CLI_OK;
}

/* Does the command take these options and words? */
static int check_fit(struct sat_cli *c)
{
	const struct sat_cli_command *k = c->command;

	for (int o = SAT_OPT_HELP + 1; o < SAT_OPT_COUNT; o++) {
		if (c->value[o] != NULL && (k->takes & SAT_OPT_BIT(o)) == 0)
			return sat_cli_misuse(c,
					      SAT_TR(c,
						     "--%s means nothing here",
						     "此命令没有选项 --%s"),
					      sat_cli_options[o].name);
		if (c->value[o] == NULL && (k->needs & SAT_OPT_BIT(o)) != 0)
			return sat_cli_misuse(
				c, SAT_TR(c, "--%s is needed", "需要 --%s"),
				sat_cli_options[o].name);
	}
	if (c->words > k->words_max)
		return sat_cli_misuse(c,
				      SAT_TR(c, "\"%s\" is not understood here",
					     "不明白这里的“%s”"),
				      c->word[k->words_max]);
	if (c->words < k->words_min)
		return sat_cli_misuse(c, SAT_TR(c, "%s is needed", "需要 %s"),
				      k->words);
	return SAT_CLI_OK;
}

static int run(struct sat_cli *c)
{
	int code = check_fit(c);

	if (code == SAT_CLI_OK && !c->command->apart)
		code = sat_cli_open(c);
	if (code == SAT_CLI_OK)
		code = c->command->run(c);
	if (code == SAT_CLI_OK)
		code = sat_cli_done(c);
	sat_replica_close(c->replica);
	return code;
}

int main(int argc, char **argv)
{
	struct sat_cli c = { .command = NULL };
	int code;

	speak(&c, sat_lang_of_environment());
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)puts("satchel " SAT_VERSION);
		return SAT_CLI_OK;
	}
	sat_arena_init(&c.arena, 256 * 1024 * 1024);
	code = take_all(&c, argc, argv);
	if (code == SAT_CLI_OK)
		code = check_lang(&c);
	c.json = c.value[SAT_OPT_JSON] != NULL;
	c.dir = c.value[SAT_OPT_DIR];
	if (code == SAT_CLI_OK && c.value[SAT_OPT_HELP] != NULL) {
		if (c.command != NULL)
			command_usage(stdout, &c);
		else
			usage(stdout, &c);
	} else if (code == SAT_CLI_OK && c.command == NULL) {
		usage(stderr, &c);
		code = SAT_CLI_USAGE;
	} else if (code == SAT_CLI_OK) {
		code = run(&c);
	}
	sat_arena_fini(&c.arena);
	return code;
}
