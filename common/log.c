#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REPEAT_MS = 10 * 1000 };

static const char *const level_names[SAT_LOG_LEVEL_COUNT] = {
	[SAT_LOG_ERROR] = "error",
	[SAT_LOG_WARN] = "warn",
	[SAT_LOG_INFO] = "info",
	[SAT_LOG_DEBUG] = "debug",
};

/* Text of one line; what does not fit is dropped. */
struct line {
	char text[SAT_LOG_LINE_BYTES];
	size_t len;
	bool cut;
};

static atomic_int max_level = SAT_LOG_INFO;

/* All below: under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sat_log_sink_cb to_sink;
static void *sink_arg;
static sat_log_clock_cb from_clock;
static void *clock_arg;
static struct line last; /* without its time */
static int64_t last_ms;  /* when it was written */
static uint64_t repeats; /* since then */

static void put(struct line *l, const char *s, size_t n)
{
	size_t room = sizeof l->text - l->len;

	if (n > room) {
		n = room;
		l->cut = true;
	}
	memcpy(l->text + l->len, s, n);
	l->len += n;
}

static void put_str(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

static SAT_PRINTF(2, 3) void put_fmt(struct line *l, const char *fmt, ...)
{
	char text[64];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n > 0)
		put(l, text,
		    (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* As it is if that is one plain word, else in quotes with escapes. Bytes of
 * UTF-8 pass; control bytes never do, so that nobody can forge a line. */
static void put_text(struct line *l, const char *s)
{
	bool plain = *s != '\0';

	for (const char *p = s; *p != '\0' && plain; p++)
		plain = (unsigned char)*p > ' ' && *p != '"' && *p != '=' &&
			*p != '\\' && *p != 0x7f;
	if (plain) {
		put_str(l, s);
		return;
	}
	put(l, "\"", 1);
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			put(l, "\\", 1);
			put(l, s, 1);
		} else if (c < ' ' || c == 0x7f) {
			put_fmt(l, "\\x%02x", c);
		} else {
			put(l, s, 1);
		}
	}
	put(l, "\"", 1);
}

static void put_key(struct line *l, const char *key)
{
	put(l, " ", 1);
	put_str(l, key);
	put(l, "=", 1);
}

static void put_err(struct line *l, const struct sat_err *e)
{
	put_key(l, "rc");
	put_str(l, sat_rc_name(e->rc));
	if (e->op != NULL) {
		put_key(l, "op");
		put_text(l, e->op);
	}
	if (e->sys != 0) {
		put_key(l, "sys");
		put_fmt(l, "%d", e->sys);
	}
	put_key(l, "why");
	put_text(l, e->msg);
}

static void put_field(struct line *l, const struct sat_log_field *f)
{
	switch (f->kind) {
	case SAT_LOG_KIND_INT:
		put_key(l, f->key);
		put_fmt(l, "%lld", (long long)f->i);
		break;
	case SAT_LOG_KIND_UINT:
		put_key(l, f->key);
		put_fmt(l, "%llu", (unsigned long long)f->u);
		break;
	case SAT_LOG_KIND_STR:
		put_key(l, f->key);
		put_text(l, f->s == NULL ? "" : f->s);
		break;
	case SAT_LOG_KIND_ERR:
		put_err(l, f->e);
		break;
	case SAT_LOG_KIND_NONE:
		break;
	}
}

static void compose(struct line *l, enum sat_log_level level, const char *sub,
		    const char *msg, const struct sat_log_field *fields)
{
	l->len = 0;
	l->cut = false;
	put_str(l, " level=");
	put_str(l, level_names[level]);
	put_key(l, "sub");
	put_text(l, sub);
	put_key(l, "msg");
	put_text(l, msg);
	for (; fields->key != NULL; fields++)
		put_field(l, fields);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	if (from_clock != NULL)
		return from_clock(clock_arg);
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void write_all(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDERR_FILENO, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return; /* nowhere to complain */
		p += done;
		n -= (size_t)done;
	}
}

/* Time, the line, and a newline, in one write: lines of several processes
 * into one pipe do not mix. */
static void emit(int64_t ms, const struct line *l)
{
	char text[SAT_LOG_LINE_BYTES + 40];
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	if (gmtime_r(&s, &tm) == NULL)
		memset(&tm, 0, sizeof tm);
	n = strftime(text, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(text + n, 8, ".%03uZ", (unsigned)(ms % 1000));
	memcpy(text + n, l->text, l->len);
	n += l->len;
	if (l->cut) {
		memcpy(text + n, "...", 3);
		n += 3;
	}
	text[n++] = '\n';
	if (to_sink != NULL)
		to_sink(sink_arg,
			(struct sat_slice){ (const uint8_t *)text, n });
	else
		write_all(text, n);
}

/* Say how often the last line came again. */
static void emit_repeats(int64_t ms)
{
	struct line l = last;

	if (repeats == 0)
		return;
	l.cut = false;
	/* The count must stand there, whatever else is cut. */
	if (l.len > sizeof l.text - 64) {
		l.len = sizeof l.text - 64;
		put_str(&l, "...");
	}
	put_key(&l, "repeated");
	put_fmt(&l, "%llu", (unsigned long long)repeats);
	emit(ms, &l);
	repeats = 0;
}

void sat_log_write(enum sat_log_level level, const char *sub, const char *msg,
		   const struct sat_log_field *fields)
{
	struct line l;
	int64_t ms;
	bool same;

	if ((int)level > atomic_load(&max_level))
		return;
	compose(&l, level, sub, msg, fields);
	(void)pthread_mutex_lock(&lock);
	ms = now_ms();
	same = l.len == last.len && memcmp(l.text, last.text, l.len) == 0;
	if (same && ms >= last_ms && ms - last_ms < REPEAT_MS) {
		repeats++;
	} else {
		emit_repeats(ms);
		emit(ms, &l);
		last = l;
		last_ms = ms;
	}
	(void)pthread_mutex_unlock(&lock);
}

void sat_log_flush(void)
{
	(void)pthread_mutex_lock(&lock);
	emit_repeats(now_ms());
	last.len = 0;
	(void)pthread_mutex_unlock(&lock);
}

void sat_log_set_level(enum sat_log_level level)
{
	SAT_ASSERT(level < SAT_LOG_LEVEL_COUNT);
	atomic_store(&max_level, (int)level);
}

enum sat_log_level sat_log_get_level(void)
{
	return (enum sat_log_level)atomic_load(&max_level);
}

const char *sat_log_level_name(enum sat_log_level level)
{
	SAT_ASSERT(level < SAT_LOG_LEVEL_COUNT);
	return level_names[level];
}

bool sat_log_level_parse(struct sat_slice name, enum sat_log_level *ret)
{
	for (int i = 0; i < SAT_LOG_LEVEL_COUNT; i++) {
		if (!sat_slice_equal(name, sat_slice_str(level_names[i])))
			continue;
		*ret = (enum sat_log_level)i;
		return true;
	}
	return false;
}

void sat_log_set_sink(sat_log_sink_cb sink, void *arg)
{
	(void)pthread_mutex_lock(&lock);
	to_sink = sink;
	sink_arg = arg;
	(void)pthread_mutex_unlock(&lock);
}

void sat_log_set_clock(sat_log_clock_cb clock, void *arg)
{
	(void)pthread_mutex_lock(&lock);
	from_clock = clock;
	clock_arg = arg;
	(void)pthread_mutex_unlock(&lock);
}
