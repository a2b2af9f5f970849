/* cli.h - `satchel`, the device's data for a person at a terminal.
 *
 * Reads and writes DIR/replica.db with plain SQL, through the same triggers as
 * any other program; never touches the network, never takes DIR/lock. Only
 * here do client programs know business tables by name: a catalogue that lacks
 * one gets a sentence, a column that is missing is left out.
 *
 * Everything that people read is in English and Chinese. Names in JSON are the
 * catalogue's. Exit codes: 0 ok, 1 failed, 2 usage, 75 busy.
 */
#ifndef SAT_CLIENT_CLI_H
#define SAT_CLIENT_CLI_H

#include <stdio.h>
#include <sys/types.h>

#include "client/replica/query.h"
#include "client/replica/replica.h"
#include "proto/print.h"

enum {
	SAT_CLI_OK = 0,
	SAT_CLI_FAILED = 1,
	SAT_CLI_USAGE = 2,
	SAT_CLI_BUSY = 75,
	SAT_CLI_WORDS_MAX = 64,     /* words that are no options          */
	SAT_CLI_ROWS_DEFAULT = 100, /* of a table; JSON has no default  */
	SAT_CLI_TEXT_MAX = 64 * 1024 * 1024, /* SQL, one cell           */
};

/* All options of all commands; sat_cli_options has their words. */
enum sat_cli_option {
	SAT_OPT_DIR,
	SAT_OPT_LANG,
	SAT_OPT_JSON,
	SAT_OPT_HELP,
	SAT_OPT_ACCOUNT,
	SAT_OPT_OUTCOME,
	SAT_OPT_NOTE,
	SAT_OPT_NEXT,
	SAT_OPT_NEXT_ACTION,
	SAT_OPT_PURPOSE,
	SAT_OPT_AT,
	SAT_OPT_UNTIL,
	SAT_OPT_AMOUNT,
	SAT_OPT_LAT,
	SAT_OPT_LON,
	SAT_OPT_PLANNED,
	SAT_OPT_TASK,
	SAT_OPT_CLASS,
	SAT_OPT_SEARCH,
	SAT_OPT_SINCE,
	SAT_OPT_STAGE,
	SAT_OPT_STATE,
	SAT_OPT_OWNER,
	SAT_OPT_TERRITORY,
	SAT_OPT_USER,
	SAT_OPT_BY,
	SAT_OPT_LIMIT,
	SAT_OPT_ALL,
	SAT_OPT_KEEP,
	SAT_OPT_TIMEOUT,
	SAT_OPT_SET, /* any number of times: sat_cli.set */
	SAT_OPT_FILE,
	SAT_OPT_MINE,
	SAT_OPT_COUNT
};
#define SAT_OPT_BIT(o) (UINT64_C(1) << (o))

struct sat_cli_option_text {
	const char *name;  /* without --                          */
	const char *value; /* what stands for its value; NULL: none */
	const char *help[SAT_LANG_COUNT];
};
extern const struct sat_cli_option_text sat_cli_options[SAT_OPT_COUNT];

struct sat_cli;

struct sat_cli_command {
	const char *name;
	const char *words; /* what follows, for the usage; may be ""    */
	int words_min, words_max;
	uint64_t needs, takes; /* SAT_OPT_BIT masks; takes includes needs  */
	const char *help[SAT_LANG_COUNT];
	int (*run)(struct sat_cli *c); /* returns an exit code */
	bool apart; /* works without the replica of --dir           */
};
extern const struct sat_cli_command sat_cli_commands[];
extern const size_t sat_cli_command_count;

/* One call of the program. */
struct sat_cli {
	const struct sat_cli_command *command;
	const char *dir;
	enum sat_lang lang;
	bool json;
	const char *value[SAT_OPT_COUNT]; /* NULL: not given; flags: ""   */
	const char *word[SAT_CLI_WORDS_MAX];
	const char *set[SAT_CLI_WORDS_MAX];
	int words, sets;
	struct sat_replica *replica;
	const struct sat_catalogue *catalogue; /* the replica's          */
	struct sat_replica_status status;      /* as of the opening           */
	struct sat_arena arena; /* for the whole call                    */
	struct sat_err err;
};

/* ---- main.c -------------------------------------------------------------- */

/* The text in the person's language. Both may be formats. */
const char *sat_tr(const struct sat_cli *c, const char *en, const char *zh)
	__attribute__((format_arg(2), format_arg(3)));
#define SAT_TR(c, en, zh) sat_tr((c), (en), (zh))

/* Say what is wrong on stderr, after the program's and command's name; what
 * could steer a terminal is escaped. Returns SAT_CLI_FAILED. */
int sat_cli_fail(const struct sat_cli *c, const char *fmt, ...)
	SAT_PRINTF(2, 3);
/* The same with the usage after it. Returns SAT_CLI_USAGE. */
int sat_cli_misuse(const struct sat_cli *c, const char *fmt, ...)
	SAT_PRINTF(2, 3);
/* Say c->err; returns the exit code for it. */
int sat_cli_error(const struct sat_cli *c);

/* Open DIR/replica.db, its catalogue and status. SAT_CLI_OK, else said. */
int sat_cli_open(struct sat_cli *c);

/* Make what was just written part of what the replica shows and sends, as the
 * daemon would: only when none runs. SAT_CLI_OK, else said. */
int sat_cli_gather(struct sat_cli *c);

/* The end of a command that printed: SAT_CLI_FAILED when stdout is broken. */
int sat_cli_done(const struct sat_cli *c);

/* ---- find.c: words of a person to values --------------------------------- */

/* The catalogue's table; NULL, said, when this organisation has none. */
const struct sat_table *sat_cli_table(const struct sat_cli *c,
				      const char *name);
/* The column of that name, NULL when there is none. */
const struct sat_column *sat_cli_column(const struct sat_table *t,
					const char *name);
/* Does the device's role receive the column? */
bool sat_cli_readable(const struct sat_cli *c, const struct sat_column *col);

/* What people call the rows of a table: a column's name; NULL when none. */
const char *sat_cli_name_column(const struct sat_table *t);

/* The id of the row that word names: its id, or the end of one, its exact
 * name, its name in another case, a part of the name that no other has. Exit
 * code; candidates are listed when several match. ret holds the UUID text. */
int sat_cli_find_row(struct sat_cli *c, const struct sat_table *t,
		     const char *word, char ret[37]);

/* A value of an enum by name or by label in either language; NULL, said. */
const char *sat_cli_find_enum(const struct sat_cli *c,
			      const struct sat_column *col, const char *word);

/* YYYY-MM-DD [HH:MM[:SS]] local time; with Z at the end UTC; today, tomorrow,
 * now; +3d, +2w, +4h from now. False: none of these. */
bool sat_cli_parse_time(const char *word, int64_t *ret_ms);
/* Local midnight that begins today plus so many days. */
int64_t sat_cli_midnight(int days);
/* "2026-11-21 14:05" in local time. */
void sat_cli_time_text(int64_t ms, char out[32]);

/* A person's word as a value of the column, in the form that the replica's
 * tables hold. Exit code; said when it is none. */
int sat_cli_parse_value(struct sat_cli *c, const struct sat_column *col,
			const char *word, struct sat_value *ret);

/* --limit: SAT_CLI_OK and *ret (0: all), SAT_CLI_USAGE. */
int sat_cli_limit(struct sat_cli *c, int64_t *ret);

/* ---- out.c: values to people and programs -------------------------------- */

enum sat_out_kind {
	SAT_OUT_TEXT, /* as it is                                          */
	SAT_OUT_INT,
	SAT_OUT_REAL,
	SAT_OUT_MONEY, /* minor units: printed in major ones                */
	SAT_OUT_TIME,  /* ms UTC: table local time, JSON UTC text           */
	SAT_OUT_BOOL,
	SAT_OUT_ENUM, /* table: label, JSON: name                          */
	SAT_OUT_SET,  /* JSON array; table: elements with commas           */
	SAT_OUT_JSON, /* JSON text, embedded                               */
	SAT_OUT_ID,   /* UUID text; table: its last 8 characters           */
	SAT_OUT_RAW,  /* whatever kind the value has, no conversion        */
};

struct sat_out_column {
	const char *key;   /* in JSON, NULL: not there                      */
	const char *title; /* in the table, NULL: not there                 */
	enum sat_out_kind kind;
	const struct sat_column *enums; /* of SAT_OUT_ENUM, may be NULL      */
};

/* Rows to stdout: a table, or a JSON array of objects. Memory bounded. */
struct sat_out {
	struct sat_cli *c;
	const struct sat_out_column *columns; /* borrowed for its life       */
	int count;
	int64_t limit;     /* 0: none; a row more than that is not printed, and
			      the end says that there are more             */
	int64_t rows;      /* printed                                      */
	const char *empty; /* said to people instead of a bare head; or NULL */
	bool begun, more;
	struct sat_print table;
	struct sat_buf cell;
};

/* How a column of the catalogue is printed. */
enum sat_out_kind sat_out_kind_of(const struct sat_column *col);

/* width_max: of a cell of the table, 0 for none. SAT_OK or c->err. */
int sat_out_begin(struct sat_out *o, struct sat_cli *c,
		  const struct sat_out_column *columns, int count,
		  size_t width_max) SAT_MUST_CHECK;
/* A sat_query_row_cb; arg is the sat_out. */
int sat_out_row(void *arg, const struct sat_value *values, int count,
		struct sat_err *err) SAT_MUST_CHECK;
void sat_out_end(struct sat_out *o);

/* One value as text (table form) or JSON, appended. */
int sat_out_text(struct sat_cli *c, const struct sat_out_column *col,
		 const struct sat_value *v, struct sat_buf *out) SAT_MUST_CHECK;
int sat_out_json(const struct sat_out_column *col, const struct sat_value *v,
		 struct sat_buf *out) SAT_MUST_CHECK;
/* A JSON string with quotes; bytes that are no UTF-8 become U+FFFD. */
int sat_out_json_string(struct sat_buf *out, struct sat_slice s) SAT_MUST_CHECK;

/* An object printed member by member: {"a": 1, ...}. */
struct sat_out_object {
	struct sat_buf text;
	int rc;
};
void sat_out_object_begin(struct sat_out_object *o);
void sat_out_member(struct sat_out_object *o, const char *key,
		    enum sat_out_kind kind, struct sat_value v);
void sat_out_object_end(struct sat_out_object *o);

/* ---- list.c: queries over a catalogue's table ---------------------------- */

/* SQL that grows, with its parameters; the first failure sticks. */
struct sat_list {
	struct sat_cli *c;
	const struct sat_table *table;
	struct sat_buf where; /* " AND ..." */
	struct sat_value args[32];
	int arg_count;
	const char
		*empty; /* what to do when there is nothing at all, or NULL */
	int code;       /* exit code; what went wrong has been said */
};

void sat_list_begin(struct sat_list *l, struct sat_cli *c,
		    const struct sat_table *table);
/* " AND (...)"; the row is t. */
void sat_list_where(struct sat_list *l, const char *fmt, ...) SAT_PRINTF(2, 3);
/* A parameter's number, from 1. v is borrowed until sat_list_run. */
int sat_list_arg(struct sat_list *l, struct sat_value v);

/* Filters, each only when its option was given; a column that the catalogue
 * lacks is a sentence. */
void sat_list_by_enum(struct sat_list *l, enum sat_cli_option o,
		      const char *column);
void sat_list_by_row(struct sat_list *l, enum sat_cli_option o,
		     const char *column);
void sat_list_since(struct sat_list *l, const char *column);
/* The text is part of one of the columns, ASCII letters of either case; a
 * column that is a reference is searched by the name it leads to. */
void sat_list_search(struct sat_list *l, const char *const *columns,
		     size_t count);

/* Print: a table of the named columns, or JSON with all. order: SQL. Returns
 * the exit code; ends the list. */
int sat_list_run(struct sat_list *l, const char *const *columns, size_t count,
		 const char *order);
void sat_list_end(struct sat_list *l);

/* SQL text of the name of what a reference leads to; "" when the table it
 * leads to has no name. */
const char *sat_list_name_sql(struct sat_cli *c, const struct sat_column *col,
			      const char *alias);

/* Append to a buffer; SAT_OK, SAT_E_LIMIT, SAT_E_NOMEM. */
int sat_text_add(struct sat_buf *b, const char *fmt, ...)
	SAT_PRINTF(2, 3) SAT_MUST_CHECK;

/* ---- status.c ------------------------------------------------------------ */

/* What the daemon said, copied out of its answer. */
struct sat_daemon {
	int rc; /* of asking: SAT_E_NOTFOUND when no daemon runs */
	char state[32], error[256];
	int64_t next_ms, pid;
	bool local_failure;
	bool differed; /* the digest, at the last checkpoint */
};
void sat_cli_ask_daemon(struct sat_cli *c, struct sat_daemon *k);

/* The process that holds the folder's lock, 0 when none does. SAT_OK or
 * c->err. */
int sat_cli_find_daemon(struct sat_cli *c, pid_t *ret) SAT_MUST_CHECK;

/* ---- commands ------------------------------------------------------------ */

int sat_cli_status(struct sat_cli *c);
int sat_cli_sync(struct sat_cli *c);
int sat_cli_verify(struct sat_cli *c);
int sat_cli_tables(struct sat_cli *c);
int sat_cli_sql(struct sat_cli *c);
int sat_cli_log_visit(struct sat_cli *c);
int sat_cli_accounts(struct sat_cli *c);
int sat_cli_visits(struct sat_cli *c);
int sat_cli_deals(struct sat_cli *c);
int sat_cli_tasks(struct sat_cli *c);
int sat_cli_today(struct sat_cli *c);
int sat_cli_pipeline(struct sat_cli *c);
int sat_cli_conflicts(struct sat_cli *c);
int sat_cli_resolve(struct sat_cli *c);
int sat_cli_restore(struct sat_cli *c);
int sat_cli_rescue(struct sat_cli *c);
int sat_cli_history(struct sat_cli *c);
int sat_cli_why(struct sat_cli *c);
int sat_cli_doctor(struct sat_cli *c);
int sat_cli_rejected(struct sat_cli *c);

#endif
