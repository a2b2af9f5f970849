#include "common/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"

enum { FILE_BYTES_MAX = 64 * 1024, SHOWN_CHARS = 60 };

const struct sat_setting sat_settings[SAT_CFG_COUNT] = {
#define ROW(id, name_, type_, unit_, def_, min_, max_, reload_, part_, help_) \
	[SAT_CFG_##id] = { .name = name_,                                     \
			   .type = SAT_SETTING_##type_,                       \
			   .unit = unit_,                                     \
			   .def = def_,                                       \
			   .min = min_,                                       \
			   .max = max_,                                       \
			   .reloadable = reload_,                             \
			   .part = SAT_PART_##part_,                          \
			   .help = help_ },
	SAT_SETTINGS(ROW)
#undef ROW
};

struct entry {
	int64_t number; /* INT, BYTES, AGE, LEVEL */
	char *text;     /* as it was given */
};

struct sat_config {
	enum sat_part part;
	struct entry entries[SAT_CFG_COUNT];
};

static bool applies(const struct sat_setting *s, enum sat_part part)
{
	return ((unsigned)s->part & (unsigned)part) != 0;
}

static bool is_number(const struct sat_setting *s)
{
	return s->type == SAT_SETTING_INT || s->type == SAT_SETTING_BYTES ||
	       s->type == SAT_SETTING_AGE;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct sat_slice trim(struct sat_slice s)
{
	while (s.len > 0 && is_space(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Digits, no sign, no more than an int64 holds. What follows is *ret_rest. */
static bool parse_digits(struct sat_slice s, int64_t *ret,
			 struct sat_slice *ret_rest)
{
	int64_t n = 0;
	size_t i = 0;

	for (; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++) {
		int digit = s.ptr[i] - '0';

		if (n > (INT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*ret = n;
	*ret_rest = (struct sat_slice){ s.ptr + i, s.len - i };
	return i > 0;
}

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit byte_units[] = {
	{ "", 1 }, { "KiB", 1024 }, { "MiB", 1024 * 1024 }, { NULL, 0 }
};

static const struct unit age_units[] = { { "", 1 },      { "s", 1 },
					 { "m", 60 },    { "h", 3600 },
					 { "d", 86400 }, { NULL, 0 } };

/* A whole number and one of the units behind it. */
static bool parse_united(struct sat_slice s, const struct unit *units,
			 int64_t *ret)
{
	struct sat_slice name;
	int64_t n;

	if (!parse_digits(s, &n, &name))
		return false;
	name = trim(name);
	while (units->name != NULL &&
	       !sat_slice_equal(name, sat_slice_str(units->name)))
		units++;
	if (units->name == NULL || n > INT64_MAX / units->factor)
		return false;
	*ret = n * units->factor;
	return true;
}

bool sat_hostport_parse(struct sat_slice text, uint16_t def_port,
			char host[256], uint16_t *ret_port)
{
	struct sat_slice name = text, rest = { NULL, 0 };
	const uint8_t *colon, *close;
	int64_t port = def_port;

	if (text.len == 0)
		return false;
	if (text.ptr[0] == '[') {
		close = memchr(text.ptr, ']', text.len);
		if (close == NULL)
			return false;
		name.ptr = text.ptr + 1;
		name.len = (size_t)(close - name.ptr);
		rest.ptr = close + 1;
		rest.len = text.len - name.len - 2;
	} else if ((colon = memchr(text.ptr, ':', text.len)) != NULL) {
		name.len = (size_t)(colon - text.ptr);
		rest.ptr = colon;
		rest.len = text.len - name.len;
	}
	if (rest.len > 0) {
		if (rest.ptr[0] != ':')
			return false;
		rest.ptr++;
		rest.len--;
		if (!parse_digits(rest, &port, &rest) || rest.len > 0)
			return false;
	} else if (def_port == 0) {
		return false;
	}
	if (name.len == 0 || name.len > 255 || port > UINT16_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f)
			return false;
	memcpy(host, name.ptr, name.len);
	host[name.len] = '\0';
	*ret_port = (uint16_t)port;
	return true;
}

static bool is_line(struct sat_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return false;
	return true;
}

/* NULL when v is a value of the setting, else what is wrong with it. */
static const char *judge(const struct sat_setting *s, struct sat_slice v,
			 int64_t *ret_number)
{
	enum sat_log_level level = SAT_LOG_INFO;
	struct sat_slice rest;
	char host[256];
	uint16_t port;

	switch (s->type) {
	case SAT_SETTING_INT:
		if (!parse_digits(v, ret_number, &rest) || rest.len > 0)
			return "is not a whole number";
		break;
	case SAT_SETTING_BYTES:
		if (!parse_united(v, byte_units, ret_number))
			return "is not a number of bytes (KiB and MiB are "
			       "known)";
		break;
	case SAT_SETTING_AGE:
		if (!parse_united(v, age_units, ret_number))
			return "is not a time (s, m, h and d are known)";
		break;
	case SAT_SETTING_LEVEL:
		if (!sat_log_level_parse(v, &level))
			return "is not error, warn, info or debug";
		*ret_number = (int64_t)level;
		return NULL;
	case SAT_SETTING_ADDR:
		if (!sat_hostport_parse(v, 0, host, &port))
			return "is not ADDR:PORT";
		break;
	case SAT_SETTING_TEXT:
		if (!is_line(v))
			return "has control characters";
		break;
	}
	if (!is_number(s))
		return (int64_t)v.len > s->max ? "is too long" : NULL;
	if (*ret_number < s->min || *ret_number > s->max)
		return "is out of range";
	return NULL;
}

/* text is what err->msg starts with, such as "server.conf:3: ". */
static int put_value(struct sat_config *c, enum sat_setting_id id,
		     struct sat_slice v, const char *where, struct sat_err *err)
{
	const struct sat_setting *s = &sat_settings[id];
	struct entry *e = &c->entries[id];
	int64_t number = 0;
	const char *wrong = judge(s, v, &number);
	int shown = (int)(v.len < SHOWN_CHARS ? v.len : SHOWN_CHARS);
	char *text;

	if (wrong != NULL && is_number(s))
		return sat_err_set(err, SAT_E_INVAL, 0, "config",
				   "%s%s: '%.*s' %s (%lld to %lld)", where,
				   s->name, shown, (const char *)v.ptr, wrong,
				   (long long)s->min, (long long)s->max);
	if (wrong != NULL)
		return sat_err_set(err, SAT_E_INVAL, 0, "config",
				   "%s%s: '%.*s' %s", where, s->name, shown,
				   (const char *)v.ptr, wrong);
	text = malloc(v.len + 1);
	if (text == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "config",
				   "out of memory");
	if (v.len > 0)
		memcpy(text, v.ptr, v.len);
	text[v.len] = '\0';
	free(e->text);
	e->text = text;
	e->number = number;
	return SAT_OK;
}

/* Index in the table, -1 when the program has no such setting. */
static int find(enum sat_part part, struct sat_slice name)
{
	for (int i = 0; i < SAT_CFG_COUNT; i++)
		if (applies(&sat_settings[i], part) &&
		    sat_slice_equal(name, sat_slice_str(sat_settings[i].name)))
			return i;
	return -1;
}

struct sat_config *sat_config_new(enum sat_part part)
{
	struct sat_config *c = calloc(1, sizeof *c);
	struct sat_err err;
	int rc;

	if (c == NULL)
		return NULL;
	c->part = part;
	for (int i = 0; i < SAT_CFG_COUNT; i++) {
		rc = put_value(c, (enum sat_setting_id)i,
			       sat_slice_str(sat_settings[i].def), "", &err);
		if (rc == SAT_E_NOMEM) {
			sat_config_free(c);
			return NULL;
		}
		SAT_ASSERT(rc == SAT_OK); /* a default outside its own range */
	}
	return c;
}

void sat_config_free(struct sat_config *c)
{
	if (c == NULL)
		return;
	for (int i = 0; i < SAT_CFG_COUNT; i++)
		free(c->entries[i].text);
	free(c);
}

/* `name = value` into seen[]: a name may stand once. */
static int parse_line(struct sat_config *c, struct sat_slice line,
		      const char *where, bool seen[SAT_CFG_COUNT],
		      struct sat_err *err)
{
	const uint8_t *equals = memchr(line.ptr, '=', line.len);
	struct sat_slice name, value;
	int id, shown;

	if (equals == NULL)
		return sat_err_set(err, SAT_E_INVAL, 0, "config",
				   "%sa line is: name = value", where);
	name = trim(
		(struct sat_slice){ line.ptr, (size_t)(equals - line.ptr) });
	value = trim((struct sat_slice){
		equals + 1, line.len - (size_t)(equals - line.ptr) - 1 });
	id = find(c->part, name);
	shown = (int)(name.len < SHOWN_CHARS ? name.len : SHOWN_CHARS);
	if (id < 0)
		return sat_err_set(err, SAT_E_INVAL, 0, "config",
				   "%sthere is no setting '%.*s'", where, shown,
				   (const char *)name.ptr);
	if (seen[id])
		return sat_err_set(err, SAT_E_INVAL, 0, "config",
				   "%s'%.*s' is set twice", where, shown,
				   (const char *)name.ptr);
	seen[id] = true;
	return put_value(c, (enum sat_setting_id)id, value, where, err);
}

int sat_config_parse(struct sat_config *c, const char *name,
		     struct sat_slice text, struct sat_err *err)
{
	bool seen[SAT_CFG_COUNT] = { false };
	unsigned number = 0;
	char where[160];
	int rc = SAT_OK;

	while (text.len > 0 && rc == SAT_OK) {
		const uint8_t *end = memchr(text.ptr, '\n', text.len);
		size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
		struct sat_slice line =
			trim((struct sat_slice){ text.ptr, len });

		number++;
		len += end != NULL;
		text.ptr += len;
		text.len -= len;
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		(void)snprintf(where, sizeof where, "%.128s:%u: ", name,
			       number);
		rc = parse_line(c, line, where, seen, err);
	}
	return rc;
}

int sat_config_load(enum sat_part part, const char *path,
		    struct sat_config **ret, struct sat_err *err)
{
	struct sat_config *c = sat_config_new(part);
	struct sat_buf b;
	int rc;

	sat_buf_init(&b, FILE_BYTES_MAX);
	if (c == NULL) {
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "config",
				 "out of memory");
		goto out;
	}
	rc = sat_file_read(path, FILE_BYTES_MAX, &b, err);
	if (rc == SAT_OK)
		rc = sat_config_parse(c, path, sat_buf_peek(&b), err);
	else if (rc == SAT_E_NOTFOUND)
		rc = SAT_OK; /* all defaults */
	if (rc != SAT_OK)
		goto out;
	*ret = c;
	c = NULL;
out:
	sat_config_free(c);
	sat_buf_fini(&b);
	return rc;
}

int sat_config_set(struct sat_config *c, const char *name, const char *value,
		   struct sat_err *err)
{
	int id = find(c->part, sat_slice_str(name));

	if (id < 0)
		return sat_err_set(err, SAT_E_INVAL, 0, "config",
				   "there is no setting '%.60s'", name);
	return put_value(c, (enum sat_setting_id)id, trim(sat_slice_str(value)),
			 "", err);
}

int64_t sat_config_int(const struct sat_config *c, enum sat_setting_id id)
{
	SAT_ASSERT(is_number(&sat_settings[id]) ||
		   sat_settings[id].type == SAT_SETTING_LEVEL);
	return c->entries[id].number;
}

const char *sat_config_text(const struct sat_config *c, enum sat_setting_id id)
{
	SAT_ASSERT(sat_settings[id].type == SAT_SETTING_TEXT ||
		   sat_settings[id].type == SAT_SETTING_ADDR);
	return c->entries[id].text;
}

static bool same(const struct sat_setting *s, const struct entry *a,
		 const struct entry *b)
{
	if (s->type == SAT_SETTING_TEXT || s->type == SAT_SETTING_ADDR)
		return strcmp(a->text, b->text) == 0;
	return a->number == b->number;
}

const char *sat_config_needs_restart(const struct sat_config *now,
				     const struct sat_config *next)
{
	for (int i = 0; i < SAT_CFG_COUNT; i++)
		if (applies(&sat_settings[i], now->part) &&
		    !sat_settings[i].reloadable &&
		    !same(&sat_settings[i], &now->entries[i],
			  &next->entries[i]))
			return sat_settings[i].name;
	return NULL;
}

/* Append formatted text of at most 500 bytes. */
static SAT_PRINTF(2, 3) int add(struct sat_buf *out, const char *fmt, ...)
{
	char text[500];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof text)
		return SAT_E_LIMIT;
	return sat_buf_append(out, text, (size_t)n);
}

/* " (5 to 3600 s, default 240)" and the like, for the two printers. */
static int add_limits(struct sat_buf *out, const struct sat_setting *s)
{
	const char *space = s->unit[0] == '\0' ? "" : " ";

	if (!is_number(s))
		return SAT_OK;
	return add(out, "%lld to %lld%s%s", (long long)s->min,
		   (long long)s->max, space, s->unit);
}

static int print_one(const struct sat_config *c, int id, struct sat_buf *out)
{
	const struct sat_setting *s = &sat_settings[id];
	const struct entry *e = &c->entries[id];
	bool changed = strcmp(e->text, s->def) != 0;
	int rc = add(out, "\n# %s\n", s->help);

	if (rc == SAT_OK && is_number(s))
		rc = add(out, "# ");
	if (rc == SAT_OK)
		rc = add_limits(out, s);
	if (rc == SAT_OK && is_number(s))
		rc = add(out, "\n");
	if (rc == SAT_OK && !s->reloadable)
		rc = add(out, "# A change needs a restart.\n");
	if (rc == SAT_OK)
		rc = add(out, "%s%s = %s\n", changed ? "" : "# ", s->name,
			 e->text);
	return rc;
}

int sat_config_print(const struct sat_config *c, struct sat_buf *out)
{
	int rc =
		add(out,
		    "# Settings of %s. A line is: name = value\n"
		    "# What is commented out is the default.\n",
		    c->part == SAT_PART_SERVER ? "satchel-server" : "satcheld");

	for (int i = 0; i < SAT_CFG_COUNT && rc == SAT_OK; i++)
		if (applies(&sat_settings[i], c->part))
			rc = print_one(c, i, out);
	return rc;
}

int sat_config_manual(enum sat_part part, struct sat_buf *out)
{
	int rc = add(out, "| setting | default | range | restart | meaning |\n"
			  "| --- | --- | --- | --- | --- |\n");

	for (int i = 0; i < SAT_CFG_COUNT && rc == SAT_OK; i++) {
		const struct sat_setting *s = &sat_settings[i];

		if (!applies(s, part))
			continue;
		rc = add(out, "| `%s` | %s | ", s->name, s->def);
		if (rc == SAT_OK)
			rc = add_limits(out, s);
		if (rc == SAT_OK)
			rc = add(out, " | %s | %s |\n",
				 s->reloadable ? "no" : "yes", s->help);
	}
	return rc;
}
