/* log.h - log lines: one line an event, key=value, UTC milliseconds.
 *
 *   2026-11-21T22:17:05.123Z level=warn sub=link msg="closed" id=41 rc=E_PROTO
 *
 *   sat_log(SAT_LOG_WARN, "link", "closed", SAT_KV_UINT("id", id),
 *           SAT_KV_STR("peer", peer), SAT_KV_ERR(&err));
 *
 * Never user data, codes, keys or SQL values. Thread-safe. A line that equals
 * the one before it is counted, not written; the count comes with the next
 * line that differs, or after ten seconds, or at sat_log_flush.
 * Libraries below the programs do not log: who decides, logs once.
 */
#ifndef SAT_LOG_H
#define SAT_LOG_H

#include "common/buf.h"

enum sat_log_level {
	SAT_LOG_ERROR, /* needs a person                     */
	SAT_LOG_WARN,  /* a peer or a disk misbehaved        */
	SAT_LOG_INFO,  /* life of the process and its peers  */
	SAT_LOG_DEBUG, /* every message                      */
	SAT_LOG_LEVEL_COUNT
};

enum { SAT_LOG_LINE_BYTES = 1024 }; /* longer lines are cut, with "..." */

enum sat_log_kind {
	SAT_LOG_KIND_NONE,
	SAT_LOG_KIND_INT,
	SAT_LOG_KIND_UINT,
	SAT_LOG_KIND_STR,
	SAT_LOG_KIND_ERR,
};

struct sat_log_field {
	const char *key; /* [a-z_]+, static */
	enum sat_log_kind kind;
	union {
		int64_t i;
		uint64_t u;
		const char *s; /* NULL is written as "" */
		const struct sat_err *e;
	};
};

#define SAT_KV_INT(k, v)                                                \
	{                                                               \
		.key = (k), .kind = SAT_LOG_KIND_INT, .i = (int64_t)(v) \
	}
#define SAT_KV_UINT(k, v)                                                 \
	{                                                                 \
		.key = (k), .kind = SAT_LOG_KIND_UINT, .u = (uint64_t)(v) \
	}
#define SAT_KV_STR(k, v)                                       \
	{                                                      \
		.key = (k), .kind = SAT_LOG_KIND_STR, .s = (v) \
	}
/* Writes rc=, op=, sys= (when not 0) and why= of a sat_err. */
#define SAT_KV_ERR(err)                                            \
	{                                                          \
		.key = "err", .kind = SAT_LOG_KIND_ERR, .e = (err) \
	}

/* sat_log(level, subsystem, message, fields ...): fields may be left out. */
#define sat_log(level, sub, ...) \
	sat_log_pick(level, sub, __VA_ARGS__, { .key = NULL })
#define sat_log_pick(level, sub, msg, ...) \
	sat_log_write(level, sub, msg,     \
		      (const struct sat_log_field[]){ __VA_ARGS__ })

/* The function behind sat_log; fields end with a NULL key. */
void sat_log_write(enum sat_log_level level, const char *sub, const char *msg,
		   const struct sat_log_field *fields);

/* Lines above this level are dropped. Default SAT_LOG_INFO. */
void sat_log_set_level(enum sat_log_level level);
enum sat_log_level sat_log_get_level(void);

/* "error", "warn", "info", "debug". */
const char *sat_log_level_name(enum sat_log_level level);
bool sat_log_level_parse(struct sat_slice name, enum sat_log_level *ret);

/* Write the pending count of repeats, if any. */
void sat_log_flush(void);

/* Send lines (with their newline) elsewhere than to stderr; NULL: stderr.
 * Called under the log's own lock: it must not log. */
typedef void (*sat_log_sink_cb)(void *arg, struct sat_slice line);
void sat_log_set_sink(sat_log_sink_cb sink, void *arg);

/* Take the time (ms UTC) elsewhere than from the system's clock; NULL: that
 * clock. */
typedef int64_t (*sat_log_clock_cb)(void *arg);
void sat_log_set_clock(sat_log_clock_cb clock, void *arg);

#endif
