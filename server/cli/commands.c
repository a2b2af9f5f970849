#include "server/cli/cli.h"

#define OPTIONS(...)                                                         \
	.options = (const struct sat_option[]){ __VA_ARGS__ },               \
	.option_count = sizeof((const struct sat_option[]){ __VA_ARGS__ }) / \
			sizeof(struct sat_option)
#define TEXT(n, h)                                 \
	{                                          \
		n, SAT_OPTION_TEXT, false, h, NULL \
	}
#define NEEDED(n, h)                              \
	{                                         \
		n, SAT_OPTION_TEXT, true, h, NULL \
	}
#define CHOICE(n, h, c)                         \
	{                                       \
		n, SAT_OPTION_TEXT, false, h, c \
	}
#define HOST(n, h)                                 \
	{                                          \
		n, SAT_OPTION_HOST, false, h, NULL \
	}
#define ADDR(n, h)                                 \
	{                                          \
		n, SAT_OPTION_ADDR, false, h, NULL \
	}
#define NUMBER(n, h)                                \
	{                                           \
		n, SAT_OPTION_NUMBER, true, h, NULL \
	}
#define MANY(n, h)                                 \
	{                                          \
		n, SAT_OPTION_MANY, false, h, NULL \
	}
#define FLAG(n, h)                                 \
	{                                          \
		n, SAT_OPTION_FLAG, false, h, NULL \
	}
#define PLACE(n, h)                                \
	{                                          \
		n, SAT_OPTION_PLACE, true, h, NULL \
	}

#define ROLES "rep|manager|hq|service|admin"
#define BY    "territory|region|manager|rep|stage|product|month|quarter"

#define DRY_RUN FLAG("dry-run", "print rows and devices concerned, do nothing")

const struct sat_command sat_commands[] = {
	{ .name = "init",
	  .usage = "--org NAME [--host NAME ...] [--catalogue FILE]",
	  .help = "make a server: CA, server certificate, database, catalogue",
	  .run = sat_cli_init,
	  OPTIONS(NEEDED("org", "name of the organisation"),
		  MANY("host", "name or address devices reach it by"),
		  TEXT("catalogue", "another catalogue than field sales")) },
	{ .name = "run",
	  .usage = "[--listen ADDR:PORT]",
	  .help = "serve in the foreground; SIGTERM drains and stops",
	  .run = sat_cli_run,
	  OPTIONS(ADDR("listen", "default 0.0.0.0:7443")) },
	{ .name = "stop",
	  .usage = "",
	  .help = "drain and stop the running server",
	  .run = sat_cli_stop },
	{ .name = "status",
	  .usage = "[--json]",
	  .help = "what the server holds and, when it runs, does",
	  .op = "status",
	  .run = sat_cli_status },
	{ .name = "verify",
	  .usage = "[--json]",
	  .help = "recompute feed, digests and metadata and compare",
	  .op = "verify",
	  .run = sat_cli_verify },
	{ .name = "config",
	  .usage = "[--manual] [--check]",
	  .help = "print the settings, their manual, or check server.conf",
	  .run = sat_cli_config,
	  OPTIONS(FLAG("manual", "the manual of all settings"),
		  FLAG("check",
		       "read DIR/server.conf and say what is wrong")) },
	{ .name = "territory add",
	  .usage = "--code C --name N --level L [--parent C]",
	  .help = "L is a level of the catalogue, such as nation, region, "
		  "province, city or patch",
	  .op = "territory add",
	  .run = sat_cli_simple,
	  OPTIONS(NEEDED("code", "short code, unique"),
		  NEEDED("name", "what people call it"),
		  NEEDED("level", "see above"),
		  TEXT("parent", "code of the parent")) },
	{ .name = "territory list",
	  .usage = "[--json]",
	  .help = "the territory tree",
	  .empty = "no territory yet; `satchel-server territory add` makes "
		   "one\n",
	  .op = "territory list",
	  .run = sat_cli_simple },
	{ .name = "territory move",
	  .usage = "--code C --parent C [--dry-run]",
	  .help = "put a territory below another parent",
	  .op = "territory move",
	  .run = sat_cli_simple,
	  OPTIONS(NEEDED("code", "code of the territory"),
		  NEEDED("parent", "code of the new parent"), DRY_RUN) },
	{ .name = "user add",
	  .usage = "--login L --name N --role " ROLES " --territory C",
	  .help = "a person, with the territory granted",
	  .op = "user add",
	  .run = sat_cli_simple,
	  OPTIONS(NEEDED("login", "what the person signs in as, unique"),
		  NEEDED("name", "what people call it"),
		  { "role", SAT_OPTION_TEXT, true, ROLES, ROLES },
		  NEEDED("territory", "code of the home territory")) },
	{ .name = "user list",
	  .usage = "[--json]",
	  .help = "everybody",
	  .empty = "nobody yet; `satchel-server user add` adds a person\n",
	  .op = "user list",
	  .run = sat_cli_simple },
	{ .name = "user disable",
	  .usage = "--login L",
	  .help = "end a person's access; data stays",
	  .op = "user disable",
	  .run = sat_cli_simple,
	  OPTIONS(NEEDED("login", "login from `user list`")) },
	{ .name = "grant add",
	  .usage = "--login L --territory C [--role R] [--from T] [--to T]",
	  .help = "let a person see and work a territory and all below it",
	  .op = "grant add",
	  .run = sat_cli_simple,
	  OPTIONS(NEEDED("login", "login from `user list`"),
		  NEEDED("territory", "code of the territory"),
		  CHOICE("role", "default: the person's", ROLES),
		  TEXT("from", "day or UTC time"),
		  TEXT("to", "day or UTC time")) },
	{ .name = "grant remove",
	  .usage = "--grant N [--dry-run]",
	  .help = "N from `grant list`",
	  .op = "grant remove",
	  .run = sat_cli_simple,
	  OPTIONS(NUMBER("grant", "number from `grant list`"), DRY_RUN) },
	{ .name = "grant list",
	  .usage = "[--json]",
	  .help = "who may see what",
	  .empty = "nobody may see anything yet; `satchel-server user add` "
		   "grants a territory too\n",
	  .op = "grant list",
	  .run = sat_cli_simple },
	{ .name = "invite",
	  .usage = "--login L [--host HOST:PORT] [--json]",
	  .help = "print one line for `satcheld enroll`; one use, expires",
	  .op = "invite",
	  .run = sat_cli_invite,
	  OPTIONS(NEEDED("login", "login from `user list`"),
		  HOST("host", "where that device reaches the server")) },
	{ .name = "device list",
	  .usage = "[--json]",
	  .help = "every device and how far it is",
	  .empty = "no device yet; `satchel-server invite` prints an "
		   "invitation for one\n",
	  .op = "device list",
	  .run = sat_cli_simple },
	{ .name = "device revoke",
	  .usage = "--device N",
	  .help = "cut a device off at once",
	  .empty = "cut off: this device is refused from now on\n",
	  .op = "device revoke",
	  .run = sat_cli_simple,
	  OPTIONS(NUMBER("device", "number from `device list`")) },
	{ .name = "device wipe",
	  .usage = "--device N [--discard-unsynced]",
	  .help = "make a lost device forget everything at its next contact",
	  .empty = "ordered: the device is emptied at its next contact\n",
	  .op = "device wipe",
	  .run = sat_cli_simple,
	  OPTIONS(NUMBER("device", "number from `device list`"),
		  FLAG("discard-unsynced",
		       "do not take what it has not sent yet")) },
	{ .name = "account move",
	  .usage = "--account ID|NAME --territory C | --from C --to C "
		   "[--dry-run]",
	  .help = "hand an account, or all of a territory, to another one",
	  .op = "account move",
	  .run = sat_cli_account_move,
	  OPTIONS(TEXT("account", "one account"),
		  TEXT("territory", "where it goes"),
		  TEXT("from", "every account of this territory"),
		  TEXT("to", "where they go"), DRY_RUN) },
	{ .name = "audit list",
	  .usage = "[--after N] [--json]",
	  .help = "what administrators did; the last 100, or all after N",
	  .empty = "no such record\n",
	  .op = "audit list",
	  .run = sat_cli_simple,
	  OPTIONS({ "after", SAT_OPTION_NUMBER, false, "audit number",
		    NULL }) },
	{ .name = "undo",
	  .usage = "AUDIT [--dry-run]",
	  .help = "take back a move or a removed grant by its audit number",
	  .op = "undo",
	  .run = sat_cli_simple,
	  OPTIONS(PLACE("audit", "number from `audit list`"), DRY_RUN) },
	{ .name = "import",
	  .usage = "--map MAP.json FILE.csv [--reject FILE]",
	  .help = "rows of a CSV file; bad lines go to FILE.csv.reject.csv",
	  .op = "import",
	  .run = sat_cli_import,
	  OPTIONS(NEEDED("map", "how columns become columns"),
		  TEXT("reject", "where refused lines go"),
		  PLACE("file", "the CSV file, UTF-8")) },
	{ .name = "export",
	  .usage = "TABLE [--format csv|json]",
	  .help = "every live row of a table on standard output",
	  .op = "export",
	  .run = sat_cli_export,
	  OPTIONS(CHOICE("format", "csv (default) or json", "csv|json"),
		  PLACE("table", "a table from `catalogue show`")) },
	{ .name = "report",
	  .usage = "pipeline|activity [--by " BY "] [--json]",
	  .help = "totals over the whole organisation",
	  .empty = "nothing to report yet: devices and `satchel-server "
		   "import` bring the data\n",
	  .op = "report",
	  .run = sat_cli_simple,
	  OPTIONS(CHOICE("by", "default territory", BY),
		  { "what", SAT_OPTION_PLACE, true, "",
		    "pipeline|activity" }) },
	{ .name = "history",
	  .usage = "TABLE ID [--json]",
	  .help = "a row's story: who wrote what, when, from which device",
	  .op = "history",
	  .run = sat_cli_simple,
	  OPTIONS(PLACE("table", "a table from `catalogue show`"),
		  PLACE("id", "the row's id")) },
	{ .name = "backup",
	  .usage = "OUT",
	  .help = "copy everything into a new folder; the server may run",
	  .run = sat_cli_backup,
	  OPTIONS(PLACE("out", "the folder to make")) },
	{ .name = "restore",
	  .usage = "BACKUP",
	  .help = "make DIR what the backup was; devices bring the rest back",
	  .run = sat_cli_restore,
	  OPTIONS(PLACE("backup", "a folder that `backup` made")) },
	{ .name = "recovery status",
	  .usage = "[--json]",
	  .help = "after a restore: who has not been back, what waits",
	  .op = "recovery status",
	  .run = sat_cli_simple },
	{ .name = "recovery close",
	  .usage = "",
	  .help = "wait for nobody any more; decide what waits",
	  .op = "recovery close",
	  .run = sat_cli_simple },
	{ .name = "collect",
	  .usage = "[--json]",
	  .help = "forget now what may be forgotten; else a timer does",
	  .op = "collect",
	  .run = sat_cli_simple },
	{ .name = "doctor",
	  .usage = "[--json]",
	  .help = "what may be wrong, and the command that helps; exit 1 then",
	  .op = "doctor",
	  .run = sat_cli_doctor },
	{ .name = "adopt",
	  .usage = "FILE --login L [--json]",
	  .help = "take in what `satchel rescue` found unsent on a device",
	  .op = "adopt",
	  .run = sat_cli_adopt,
	  OPTIONS(NEEDED("login", "whose work it is"),
		  PLACE("file", "the file that `satchel rescue` wrote")) },
	{ .name = "catalogue show",
	  .usage = "[--json]",
	  .help = "tables and columns in force",
	  .op = "catalogue show",
	  .run = sat_cli_catalogue },
	{ .name = "catalogue check",
	  .usage = "FILE",
	  .help = "could this catalogue be applied?",
	  .op = "catalogue check",
	  .run = sat_cli_catalogue,
	  OPTIONS(PLACE("file", "a catalogue, JSON")) },
	{ .name = "catalogue apply",
	  .usage = "FILE",
	  .help = "take a newer catalogue; devices follow by themselves",
	  .op = "catalogue apply",
	  .run = sat_cli_catalogue,
	  OPTIONS(PLACE("file", "a catalogue, JSON")) },
};

const size_t sat_command_count = SAT_COUNT_OF(sat_commands);
