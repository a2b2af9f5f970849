/* cli.h - the commands of satchel-server: arguments in, exit code out.
 *
 * Exit codes: 0 ok, 1 failed, 2 usage, 75 busy.
 */
#ifndef SAT_SERVER_CLI_H
#define SAT_SERVER_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "common/base.h"
#include "server/admin/gate.h"

enum {
	SAT_EXIT_OK = 0,
	SAT_EXIT_FAILED = 1,
	SAT_EXIT_USAGE = 2,
	SAT_EXIT_BUSY = 75
};

enum sat_option_kind {
	SAT_OPTION_TEXT,   /* --name VALUE                                 */
	SAT_OPTION_NUMBER, /* --name NUMBER                                */
	SAT_OPTION_HOST,   /* --name HOST[:PORT]                           */
	SAT_OPTION_ADDR,   /* --name ADDR:PORT                             */
	SAT_OPTION_MANY,   /* --name VALUE, any number of times: an array  */
	SAT_OPTION_FLAG,   /* --name                                       */
	SAT_OPTION_PLACE,  /* a word without --, in the order of the table */
};

struct sat_option {
	const char *name;
	enum sat_option_kind kind;
	bool required;
	const char *help;
	const char *choices; /* "one|other", NULL: any text */
};

struct sat_call {
	const struct sat_command *command;
	const char *dir;
	json_t *args; /* what was given, by option name */
	bool json;    /* --json */
};

struct sat_command {
	const char *name;  /* "territory add" */
	const char *usage; /* what follows --dir DIR */
	const char *help;
	const char *empty; /* said when there is nothing to print, or NULL */
	const char *op;    /* operation to call, or NULL: run does it all */
	const struct sat_option *options;
	size_t option_count;
	/* Returns an exit code. With op NULL it is called with gate NULL. */
	int (*run)(struct sat_call *call);
};

extern const struct sat_command sat_commands[];
extern const size_t sat_command_count;

/* The exit code for a result. */
int sat_exit_code(int rc);

/* Say what went wrong on stderr; returns the exit code. */
int sat_complain(const char *what, const struct sat_err *err);

/* One operation and its printed result: the whole of most commands. */
int sat_cli_simple(struct sat_call *call);

int sat_cli_init(struct sat_call *call);
int sat_cli_run(struct sat_call *call);
int sat_cli_config(struct sat_call *call);
int sat_cli_invite(struct sat_call *call);
int sat_cli_import(struct sat_call *call);
int sat_cli_export(struct sat_call *call);
int sat_cli_adopt(struct sat_call *call);
int sat_cli_doctor(struct sat_call *call);
int sat_cli_catalogue(struct sat_call *call);
int sat_cli_account_move(struct sat_call *call);
int sat_cli_status(struct sat_call *call);
int sat_cli_verify(struct sat_call *call);
int sat_cli_ca_status(struct sat_call *call);
int sat_cli_ca_rollover(struct sat_call *call);
int sat_cli_ca_finish(struct sat_call *call);
int sat_cli_stop(struct sat_call *call);
int sat_cli_backup(struct sat_call *call);
int sat_cli_restore(struct sat_call *call);

/* ---- printing ----------------------------------------------------------- */

/* A result: {"columns", "rows"} as an aligned table, other members as
 * "name: value" lines; or all of it as JSON (rows as objects). */
void sat_print_result(FILE *out, const json_t *result, bool as_json);

/* {"columns", "rows"} to an array of objects; a new reference. */
json_t *sat_rows_as_objects(const json_t *result);

#endif
