/* satcheld: arguments. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/daemon/daemon.h"
#include "common/say.h"

static const char usage_text[] =
	"satcheld " SAT_VERSION " - keeps this device's copy of the data\n\n"
	"usage: satcheld enroll --dir DIR [--timeout SECONDS] INVITE\n"
	"           make this device's key, get its certificate and first "
	"data; what\n"
	"           was cut off goes on when it is run again\n"
	"       satcheld run --dir DIR [--once] [--timeout SECONDS]\n"
	"           stay and sync; --once: send everything, fetch everything, "
	"exit\n"
	"           --timeout: how long to wait for the server, 30 unless "
	"given\n"
	"       satcheld config [--dir DIR] [--manual]\n"
	"           print the settings of DIR/satcheld.conf, or their "
	"manual\n\n"
	"--lang en|zh chooses the language (default: LC_ALL, LC_MESSAGES or "
	"LANG).\n"
	"INVITE is the line that `satchel-server invite` printed.\n"
	"The data is DIR/replica.db: read and write it with `satchel --dir "
	"DIR`, or with\nany program that speaks SQLite, online or not.\n"
	"Exit codes: 0 done, 1 failed, 2 usage, 3 no server, 4 refused, 5 "
	"local "
	"error,\n75 busy: another process has the folder.\n";

struct arguments {
	const char *command, *dir, *invite;
	bool once, manual;
	uint64_t timeout_ms;
};

static bool read_seconds(const char *text, uint64_t *ret_ms)
{
	char *end;
	unsigned long s = strtoul(text, &end, 10);

	*ret_ms = (uint64_t)s * 1000;
	return end != text && *end == '\0' && s > 0 && s <= 86400;
}

void sat_daemon_complain(const char *who, const struct sat_err *err)
{
	char said[SAT_SAY_BYTES];

	(void)fprintf(stderr, "%s%s%s\n", who, sat_say(": "),
		      sat_say_text(err->msg, said, sizeof said));
}

static bool take_lang(const char *word)
{
	if (strcmp(word, "en") != 0 && !sat_lang_is_chinese(word)) {
		(void)fprintf(stderr,
			      sat_say("satcheld: --lang is en or zh, not "
				      "\"%s\"\n"),
			      word);
		return false;
	}
	sat_say_speak(sat_lang_is_chinese(word) ? SAT_LANG_ZH : SAT_LANG_EN);
	return true;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
	*a = (struct arguments){ .timeout_ms = 30000 };
	if (argc < 2)
		return false;
	a->command = argv[1];
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc) {
			a->dir = argv[++i];
		} else if (strcmp(argv[i], "--once") == 0) {
			a->once = true;
		} else if (strcmp(argv[i], "--manual") == 0) {
			a->manual = true;
		} else if (strcmp(argv[i], "--timeout") == 0 && i + 1 < argc) {
			if (!read_seconds(argv[++i], &a->timeout_ms)) {
				(void)fprintf(
					stderr,
					sat_say("satcheld: --timeout is 1 to "
						"86400 seconds, not \"%s\"\n"),
					argv[i]);
				return false;
			}
		} else if (strcmp(argv[i], "--lang") == 0 && i + 1 < argc) {
			if (!take_lang(argv[++i]))
				return false;
		} else if (argv[i][0] != '-' && a->invite == NULL) {
			a->invite = argv[i];
		} else {
			(void)fprintf(
				stderr,
				sat_say("satcheld: \"%s\" is not understood\n"),
				argv[i]);
			return false;
		}
	}
	return true;
}

static int print_config(const struct arguments *a)
{
	struct sat_config *c = NULL;
	struct sat_buf text;
	struct sat_slice s;
	struct sat_err err;
	char path[4096];
	int rc = SAT_OK;

	sat_buf_init(&text, 1 << 20);
	if (a->dir != NULL)
		rc = sat_path_join(path, sizeof path, a->dir, "satcheld.conf",
				   &err);
	if (rc == SAT_OK && a->dir != NULL)
		rc = sat_config_load(SAT_PART_CLIENT, path, &c, &err);
	else if (rc == SAT_OK && (c = sat_config_new(SAT_PART_CLIENT)) == NULL)
		rc = sat_err_set(&err, SAT_E_NOMEM, 0, "config",
				 "out of memory");
	if (rc == SAT_OK)
		rc = a->manual ? sat_config_manual(SAT_PART_CLIENT, &text)
			       : sat_config_print(c, &text);
	s = sat_buf_peek(&text);
	if (rc == SAT_OK)
		(void)fwrite(s.ptr, 1, s.len, stdout);
	else
		sat_daemon_complain("satcheld", &err);
	sat_buf_fini(&text);
	sat_config_free(c);
	return rc == SAT_OK ? SAT_EXIT_DONE : SAT_EXIT_FAILED;
}

/* Why these arguments are no command, in a sentence above the usage. */
static void say_what_is_wrong(const struct arguments *a)
{
	bool enroll = strcmp(a->command, "enroll") == 0;

	if (!enroll && strcmp(a->command, "run") != 0)
		(void)fprintf(stderr,
			      sat_say("satcheld: there is no command \"%s\"\n"),
			      a->command);
	else if (a->dir == NULL)
		(void)fputs(sat_say("satcheld: --dir DIR is needed\n"), stderr);
	else if (enroll)
		(void)fputs(sat_say("satcheld enroll: INVITE is needed\n"),
			    stderr);
	else
		(void)fprintf(
			stderr,
			sat_say("satcheld run: \"%s\" is not understood\n"),
			a->invite);
}

int main(int argc, char **argv)
{
	struct arguments a;

	(void)signal(SIGPIPE, SIG_IGN);
	sat_say_speak(sat_lang_of_environment());
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--lang") == 0 && !take_lang(argv[i + 1]))
			goto usage;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0) {
			(void)fputs(sat_say(usage_text), stdout);
			return SAT_EXIT_DONE;
		}
		if (strcmp(argv[i], "--version") == 0) {
			(void)puts("satcheld " SAT_VERSION);
			return SAT_EXIT_DONE;
		}
	}
	if (!parse(argc, argv, &a))
		goto usage;
	if (strcmp(a.command, "config") == 0)
		return print_config(&a);
	if (a.dir != NULL && strcmp(a.command, "enroll") == 0 &&
	    a.invite != NULL)
		return sat_daemon_enrol(a.dir, a.invite, a.timeout_ms);
	if (a.dir != NULL && strcmp(a.command, "run") == 0 && a.invite == NULL)
		return sat_daemon_run(
			&(struct sat_daemon_run){ .dir = a.dir,
						  .once = a.once,
						  .timeout_ms = a.timeout_ms });
	say_what_is_wrong(&a);
usage:
	(void)fputs(sat_say(usage_text), stderr);
	return SAT_EXIT_USAGE;
}
