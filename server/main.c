/* satchel-server: arguments to a command of server/cli/commands.c. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/say.h"
#include "server/cli/cli.h"

static void usage(FILE *out)
{
	(void)fputs(sat_say("satchel-server " SAT_VERSION
			    " - the central server of Satchel\n\n"
			    "usage: satchel-server COMMAND --dir DIR "
			    "[options]\n\n"),
		    out);
	for (size_t i = 0; i < sat_command_count; i++) {
		(void)fprintf(out, "  %s %s\n", sat_commands[i].name,
			      sat_commands[i].usage);
		(void)fprintf(out, "      %s\n", sat_say(sat_commands[i].help));
	}
	(void)fputs(sat_say("\nDIR is the server's data folder. Commands work "
			    "with the server running or stopped.\n"
			    "--lang en|zh chooses the language; satchel-server "
			    "COMMAND --help tells more.\n"
			    "Exit codes: 0 ok, 1 failed, 2 usage, 75 busy.\n"),
		    out);
}

static void command_usage(FILE *out, const struct sat_command *c)
{
	(void)fprintf(out,
		      sat_say("usage: satchel-server %s --dir DIR %s\n  %s\n"),
		      c->name, c->usage, sat_say(c->help));
	for (size_t i = 0; i < c->option_count; i++) {
		const struct sat_option *o = &c->options[i];

		if (*o->help != '\0')
			(void)fprintf(out, "  %s%s: %s\n",
				      o->kind == SAT_OPTION_PLACE ? "" : "--",
				      o->name, sat_say(o->help));
	}
}

/* The command the first words name; *ret_words is how many. */
static const struct sat_command *find(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < sat_command_count; i++) {
		const char *name = sat_commands[i].name;
		const char *space = strchr(name, ' ');
		size_t first =
			space == NULL ? strlen(name) : (size_t)(space - name);

		if (strlen(argv[1]) != first ||
		    memcmp(argv[1], name, first) != 0)
			continue;
		if (space != NULL &&
		    (argc < 3 || strcmp(argv[2], space + 1) != 0))
			continue;
		*ret_words = space == NULL ? 1 : 2;
		return &sat_commands[i];
	}
	return NULL;
}

static const struct sat_option *option_named(const struct sat_command *c,
					     const char *name, size_t len)
{
	for (size_t i = 0; i < c->option_count; i++)
		if (c->options[i].kind != SAT_OPTION_PLACE &&
		    strlen(c->options[i].name) == len &&
		    memcmp(c->options[i].name, name, len) == 0)
			return &c->options[i];
	return NULL;
}

/* Is value one of the words of "one|other"? */
static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value), n;

	for (const char *at = choices; *at != '\0'; at += n) {
		n = strcspn(at, "|");
		if (n == len && memcmp(at, value, n) == 0)
			return true;
		n += at[n] == '|';
	}
	return false;
}

static bool is_place(const char *value, uint16_t def_port)
{
	char host[256];
	uint16_t port;

	return sat_hostport_parse(sat_slice_str(value), def_port, host, &port);
}

/* Store one value; false when it does not fit the option. */
static bool store_value(struct sat_call *call, const struct sat_option *o,
			const char *value)
{
	json_t *many;
	char *end;
	long long n;

	if (o->choices != NULL && !is_choice(o->choices, value))
		return false;
	if (o->kind == SAT_OPTION_HOST && !is_place(value, 7443))
		return false;
	if (o->kind == SAT_OPTION_ADDR && !is_place(value, 0))
		return false;
	switch (o->kind) {
	case SAT_OPTION_NUMBER:
		errno = 0;
		n = strtoll(value, &end, 10);
		if (errno != 0 || end == value || *end != '\0')
			return false;
		return json_object_set_new(call->args, o->name,
					   json_integer(n)) == 0;
	case SAT_OPTION_MANY:
		many = json_object_get(call->args, o->name);
		if (many == NULL) {
			many = json_array();
			(void)json_object_set_new(call->args, o->name, many);
		}
		return json_array_append_new(many, json_string(value)) == 0;
	default:
		/* json_string refuses what is not UTF-8. */
		return json_object_set_new(call->args, o->name,
					   json_string(value)) == 0;
	}
}

/* The same, with a sentence when it does not fit. */
static bool take_value(struct sat_call *call, const struct sat_option *o,
		       const char *value)
{
	const char *form = "a text in UTF-8";

	if (store_value(call, o, value))
		return true;
	if (o->choices != NULL)
		form = o->choices;
	else if (o->kind == SAT_OPTION_NUMBER)
		form = "a number";
	else if (o->kind == SAT_OPTION_HOST)
		form = "HOST:PORT";
	else if (o->kind == SAT_OPTION_ADDR)
		form = "ADDR:PORT";
	(void)fprintf(
		stderr, sat_say("satchel-server %s: %s%s is %s, not \"%s\"\n"),
		call->command->name, o->kind == SAT_OPTION_PLACE ? "" : "--",
		o->name, sat_say(form), value);
	return false;
}

static int not_understood(const struct sat_call *call, const char *word)
{
	(void)fprintf(stderr,
		      sat_say("satchel-server %s: \"%s\" is not understood "
			      "here\n"),
		      call->command->name, word);
	return 0;
}

static int take_place(struct sat_call *call, const char *word)
{
	const struct sat_command *c = call->command;

	for (size_t i = 0; i < c->option_count; i++)
		if (c->options[i].kind == SAT_OPTION_PLACE &&
		    json_object_get(call->args, c->options[i].name) == NULL)
			return take_value(call, &c->options[i], word) ? 1 : 0;
	return not_understood(call, word);
}

static bool take_lang(const char *word)
{
	if (strcmp(word, "en") != 0 && !sat_lang_is_chinese(word)) {
		(void)fprintf(stderr,
			      sat_say("satchel-server: --lang is en or zh, not "
				      "\"%s\"\n"),
			      word);
		return false;
	}
	sat_say_speak(sat_lang_is_chinese(word) ? SAT_LANG_ZH : SAT_LANG_EN);
	return true;
}

/* One argument, which may use up the next one too; returns how many were
 * used, 0 when it is wrong, and that has been said. */
static int take_argument(struct sat_call *call, int left, char **argv)
{
	const char *word = argv[0], *eq, *value;
	const struct sat_option *o;
	bool is_dir, is_lang;
	size_t len;

	if (strncmp(word, "--", 2) != 0)
		return take_place(call, word);
	word += 2;
	if (strcmp(word, "json") == 0) {
		call->json = true;
		return 1;
	}
	eq = strchr(word, '=');
	len = eq == NULL ? strlen(word) : (size_t)(eq - word);
	is_dir = len == 3 && memcmp(word, "dir", 3) == 0;
	is_lang = len == 4 && memcmp(word, "lang", 4) == 0;
	o = option_named(call->command, word, len);
	if (o == NULL && !is_dir && !is_lang)
		return not_understood(call, argv[0]);
	if (o != NULL && o->kind == SAT_OPTION_FLAG) {
		if (eq != NULL)
			return not_understood(call, argv[0]);
		return json_object_set_new(call->args, o->name, json_true()) ==
		       0;
	}
	value = eq != NULL ? eq + 1 : left > 1 ? argv[1] : NULL;
	if (value == NULL) {
		(void)fprintf(stderr,
			      sat_say("satchel-server %s: %s needs a value\n"),
			      call->command->name, argv[0]);
		return 0;
	}
	if (is_dir)
		call->dir = value;
	else if (!is_lang && !take_value(call, o, value))
		return 0;
	return eq != NULL ? 1 : 2;
}

static bool complete(const struct sat_call *call)
{
	const struct sat_command *c = call->command;

	if (call->dir == NULL && c->run != sat_cli_config) {
		(void)fputs(sat_say("satchel-server: --dir DIR is needed\n"),
			    stderr);
		return false;
	}
	for (size_t i = 0; i < c->option_count; i++)
		if (c->options[i].required &&
		    json_object_get(call->args, c->options[i].name) == NULL) {
			(void)fprintf(
				stderr,
				sat_say("satchel-server %s: %s%s is needed\n"),
				c->name,
				c->options[i].kind == SAT_OPTION_PLACE ? ""
								       : "--",
				c->options[i].name);
			return false;
		}
	return true;
}

/* `satchel-server user`: the first word of several commands lists them. */
static int no_command(int argc, char **argv)
{
	bool asked = argc > 2 && (strcmp(argv[2], "--help") == 0 ||
				  strcmp(argv[2], "-h") == 0);
	size_t n = strlen(argv[1]), found = 0;

	for (size_t i = 0; i < sat_command_count; i++) {
		const char *name = sat_commands[i].name;

		if (strncmp(name, argv[1], n) != 0 || name[n] != ' ')
			continue;
		command_usage(asked ? stdout : stderr, &sat_commands[i]);
		found++;
	}
	if (found == 0)
		(void)fprintf(stderr,
			      sat_say("satchel-server: there is no command "
				      "\"%s\"; see satchel-server --help\n"),
			      argv[1]);
	return asked && found > 0 ? SAT_EXIT_OK : SAT_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct sat_call call = { .json = false };
	int words = 0, used, code;

	(void)signal(SIGPIPE, SIG_IGN);
	sat_say_speak(sat_lang_of_environment());
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--lang") == 0 && !take_lang(argv[i + 1]))
			return SAT_EXIT_USAGE;
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		(void)puts("satchel-server " SAT_VERSION);
		return SAT_EXIT_OK;
	}
	if (argc < 2 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		usage(argc < 2 ? stderr : stdout);
		return argc < 2 ? SAT_EXIT_USAGE : SAT_EXIT_OK;
	}
	call.command = find(argc, argv, &words);
	if (call.command == NULL) {
		return no_command(argc, argv);
	}
	call.args = json_object();
	for (int i = 1 + words; i < argc; i += used) {
		if (strcmp(argv[i], "--help") == 0) {
			command_usage(stdout, call.command);
			json_decref(call.args);
			return SAT_EXIT_OK;
		}
		used = take_argument(&call, argc - i, argv + i);
		if (used == 0) {
			command_usage(stderr, call.command);
			json_decref(call.args);
			return SAT_EXIT_USAGE;
		}
	}
	if (complete(&call)) {
		code = call.command->run(&call);
	} else {
		command_usage(stderr, call.command);
		code = SAT_EXIT_USAGE;
	}
	json_decref(call.args);
	return code;
}
