/* config.h - one table of settings for both programs.
 *
 * From the table come the parser of DIR/server.conf and DIR/satcheld.conf,
 * --print-config, the sample files and the manual. A file holds lines
 * `name = value`, empty lines, and comments that start with #. An unknown
 * name, a name given twice or a value out of range is an error that names
 * file and line. Read all, check all, then use: a config is complete and
 * immutable for its users; SIGHUP loads a new one and swaps the pointer.
 */
#ifndef SAT_CONFIG_H
#define SAT_CONFIG_H

#include "common/buf.h"

enum sat_part { SAT_PART_SERVER = 1, SAT_PART_CLIENT = 2, SAT_PART_BOTH = 3 };

enum sat_setting_type {
	SAT_SETTING_INT,   /* whole number                             */
	SAT_SETTING_BYTES, /* whole number, may end with KiB or MiB     */
	SAT_SETTING_AGE,   /* a time span in seconds; "s", "m", "h" or "d"
			      after the number is its unit              */
	SAT_SETTING_TEXT,  /* one line of UTF-8 without control bytes   */
	SAT_SETTING_ADDR,  /* ADDR:PORT or [ADDR]:PORT                  */
	SAT_SETTING_LEVEL, /* error, warn, info, debug                  */
};

/* X(id, name, type, unit, default, min, max, reloadable, part, help)
 * min and max bound numbers, and the length of texts in bytes. */
#define SAT_SETTINGS(X)                                                        \
	X(LISTEN, "listen", ADDR, "", "0.0.0.0:7443", 0, 255, false, SERVER,   \
	  "Address and port that devices connect to.")                         \
	X(ADVERTISE, "advertise", TEXT, "", "", 0, 255, true, SERVER,          \
	  "HOST:PORT written into invitations; init sets it to its first "     \
	  "--host; empty: localhost and the port of listen.")                  \
	X(LOG_LEVEL, "log_level", LEVEL, "", "info", 0, 0, true, BOTH,         \
	  "Most talkative level that is logged: error, warn, info, debug.")    \
	X(PING_SECONDS, "ping_seconds", INT, "s", "240", 5, 3600, true, BOTH,  \
	  "An idle connection is tested after this time.")                     \
	X(LINKS_MAX, "links_max", INT, "", "12000", 1, 1000000, true, SERVER,  \
	  "Connections at one time; more are closed at once.")                 \
	X(HANDSHAKES_MAX, "handshakes_max", INT, "", "512", 1, 100000, true,   \
	  SERVER, "Connections that have not yet shown who they are.")         \
	X(INVITE_HOURS, "invite_hours", INT, "h", "72", 1, 8760, true, SERVER, \
	  "An invitation can be used for this long.")                          \
	X(PUSH_WINDOW_BYTES, "push_window_bytes", BYTES, "bytes", "4 MiB",     \
	  65536, 67108864, true, SERVER,                                       \
	  "Bytes of changesets a device may have on the way without credit.")  \
	X(PAGE_BYTES, "page_bytes", BYTES, "bytes", "256 KiB", 4096, 1048576,  \
	  true, SERVER, "Size a page of rows is filled to before zstd.")       \
	X(PAGE_CACHE_BYTES, "page_cache_bytes", BYTES, "bytes", "32 MiB", 0,   \
	  4294967296, false, SERVER,                                            \
	  "Memory for encoded pages that devices share.")                      \
	X(COMMIT_BATCH_MAX, "commit_batch_max", INT, "changesets", "2000", 1,  \
	  100000, true, SERVER, "Changesets in one group commit at most.")     \
	X(COMMIT_QUEUE_BYTES, "commit_queue_bytes", BYTES, "bytes", "64 MiB",  \
	  1048576, 4294967296, true, SERVER,                                   \
	  "Memory of changesets that wait for a commit.")                      \
	X(READERS, "readers", INT, "threads", "2", 1, 64, false, SERVER,       \
	  "Threads that read pages for devices.")                              \
	X(KEEP_DELETED, "keep_deleted", AGE, "s", "90 d", 1, 315360000, true,  \
	  SERVER, "Deleted rows are remembered at least this long.")           \
	X(SILENT_AFTER, "silent_after", AGE, "s", "180 d", 1, 315360000, true, \
	  SERVER,                                                              \
	  "Deleted rows do not wait for a device silent for longer; it is "    \
	  "filled afresh when it comes back.")                                 \
	X(KEEP_SETTLED, "keep_settled", AGE, "s", "0", 0, 3153600000, true,    \
	  SERVER, "Settled conflicts are kept this long; 0: for ever.")        \
	X(RECOVERY_WINDOW, "recovery_window", AGE, "s", "7 d", 1, 31536000,    \
	  true, SERVER,                                                        \
	  "After a restore, what builds on lost edits waits this long for "    \
	  "their device.")                                                     \
	X(CHECK_SECONDS, "check_seconds", INT, "s", "10", 1, 86400, true,      \
	  SERVER, "So often a thousand stored rows are checked for damage.")   \
	X(GRANT_GRACE_DAYS, "grant_grace_days", INT, "days", "30", 0, 365,     \
	  true, SERVER, "Edits made under an ended grant are taken so long.")  \
	X(BACKOFF_MAX_SECONDS, "backoff_max_seconds", INT, "s", "300", 1,      \
	  3600, true, CLIENT, "Longest pause between attempts to connect.")    \
	X(ACKED_DAYS, "acked_days", INT, "days", "30", 1, 3650, true, CLIENT,  \
	  "Confirmed changesets stay this long, to refill a restored "         \
	  "server.")                                                           \
	X(CHECKPOINT_PAGES, "checkpoint_pages", INT, "pages", "400", 50,       \
	  100000, true, CLIENT,                                                \
	  "The replica's write-ahead log is folded in above this size.")       \
	X(REHASH_SECONDS, "rehash_seconds", INT, "s", "120", 1, 86400, true,   \
	  CLIENT,                                                              \
	  "Some of the replica's rows are checked for damage this often.")

enum sat_setting_id {
#define SAT_SETTING_ID(id, ...) SAT_CFG_##id,
	SAT_SETTINGS(SAT_SETTING_ID)
#undef SAT_SETTING_ID
		SAT_CFG_COUNT
};

struct sat_setting {
	const char *name;
	enum sat_setting_type type;
	const char *unit;
	const char *def; /* as it would stand in a file */
	int64_t min, max;
	bool reloadable; /* SIGHUP is enough */
	enum sat_part part;
	const char *help;
};

extern const struct sat_setting sat_settings[SAT_CFG_COUNT];

struct sat_config;

/* The defaults of one program (SAT_PART_SERVER or SAT_PART_CLIENT); NULL
 * when out of memory. */
struct sat_config *sat_config_new(enum sat_part part);
void sat_config_free(struct sat_config *c);

/* Take the settings of a file's text; name is for messages only. On failure
 * c may hold a part of them: throw it away. SAT_OK, SAT_E_INVAL (err->msg is
 * "NAME:LINE: reason"), SAT_E_NOMEM. */
int sat_config_parse(struct sat_config *c, const char *name,
		     struct sat_slice text, struct sat_err *err) SAT_MUST_CHECK;

/* The defaults and then the file at path, if there is one. SAT_OK,
 * SAT_E_INVAL, SAT_E_NOMEM, SAT_E_LIMIT (over 64 KiB), SAT_E_IO. */
int sat_config_load(enum sat_part part, const char *path,
		    struct sat_config **ret,
		    struct sat_err *err) SAT_MUST_CHECK;

/* One setting from the command line; overrides a file. Errors as parse. */
int sat_config_set(struct sat_config *c, const char *name, const char *value,
		   struct sat_err *err) SAT_MUST_CHECK;

/* A number: INT, BYTES, AGE (in seconds), LEVEL (enum sat_log_level). */
int64_t sat_config_int(const struct sat_config *c, enum sat_setting_id id);

/* A text: TEXT, ADDR. Borrowed from c. */
const char *sat_config_text(const struct sat_config *c, enum sat_setting_id id);

/* Name of the first setting that differs and cannot be changed while the
 * program runs; NULL when there is none. */
const char *sat_config_needs_restart(const struct sat_config *now,
				     const struct sat_config *next);

/* Append what --print-config prints: every setting with its help, default
 * and value; values that are the default stand commented out. The output of
 * the defaults is the sample file. SAT_OK, SAT_E_NOMEM, SAT_E_LIMIT. */
int sat_config_print(const struct sat_config *c,
		     struct sat_buf *out) SAT_MUST_CHECK;

/* Append the manual's table of a program's settings, as Markdown. */
int sat_config_manual(enum sat_part part, struct sat_buf *out) SAT_MUST_CHECK;

/* "HOST:PORT" or "[HOST]:PORT" into its parts. def_port stands when there is
 * no port and is not 0. False when it is not of that form. */
bool sat_hostport_parse(struct sat_slice text, uint16_t def_port,
			char host[256], uint16_t *ret_port);

#endif
