/* import: CSV lines to the `import` operation in batches; refused lines to a
 * reject file that can be corrected and imported again. */
#include <csv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/progress.h"
#include "common/say.h"
#include "common/text.h"
#include "server/cli/cli.h"

/* One batch is one commit, and devices wait for it: so much and no more. */
enum {
	BATCH_LINES = 2000,
	BATCH_BYTES = 1 << 20,
	LINE_BYTES_MAX = 16 << 20,
};

struct import {
	struct sat_call *call;
	struct sat_gate *gate;
	struct csv_parser csv;
	json_t *map;
	json_t *header;     /* NULL until the first line was read */
	json_t *line;       /* the fields so far */
	json_t *lines;      /* the batch: [[line number, field ...], ...] */
	size_t bytes;       /* of it */
	struct sat_buf raw; /* the same fields as CSV, byte for byte */
	bool alien;         /* one of them is not UTF-8 */
	/* Lines of the file, as an editor counts them: the one being read, and
	 * the one where the record began (a quoted field may span several). */
	json_int_t number, began;
	bool open; /* a record has begun and not ended */
	FILE *reject;
	const char *reject_path;
	char default_path[4096];
	json_int_t imported, unchanged, rejected;
	int rc;
	struct sat_err err;
};

static void write_fields(FILE *out, const json_t *fields, size_t from)
{
	for (size_t i = from; i < json_array_size(fields); i++) {
		const json_t *v = json_array_get(fields, i);

		(void)csv_fwrite(out, json_string_value(v),
				 json_string_length(v));
		(void)fputc(i + 1 < json_array_size(fields) ? ',' : '\n', out);
	}
}

/* What stands before a refused line: its number and the reason. */
static void put_reason(struct import *m, json_int_t number, const char *reason)
{
	m->rejected++;
	if (m->reject == NULL) {
		m->reject = fopen(m->reject_path, "w");
		if (m->reject == NULL) {
			m->rc = sat_err_set(&m->err, SAT_E_IO, 0, "import",
					    "%s cannot be written",
					    m->reject_path);
			return;
		}
		(void)fputs("line,reason,", m->reject);
		write_fields(m->reject, m->header, 0);
	}
	(void)fprintf(m->reject, "%lld,", (long long)number);
	(void)csv_fwrite(m->reject, reason, strlen(reason));
	(void)fputc(',', m->reject);
}

/* One refused line, as it was. */
static void put_reject(struct import *m, const json_t *line, const char *reason)
{
	put_reason(m, json_integer_value(json_array_get(line, 0)), reason);
	if (m->reject != NULL)
		write_fields(m->reject, line, 1);
}

/* A line that no JSON can carry, so the server never sees it. */
static void put_alien(struct import *m)
{
	struct sat_slice raw = sat_buf_peek(&m->raw);

	put_reason(m, m->began, "it is not UTF-8");
	if (m->reject == NULL)
		return;
	(void)fwrite(raw.ptr, 1, raw.len, m->reject);
	(void)fputc('\n', m->reject);
}

static const json_t *line_numbered(const json_t *lines, json_int_t number)
{
	const json_t *line;
	size_t i;

	json_array_foreach(
		lines, i,
		line) if (json_integer_value(json_array_get(line, 0)) ==
			  number) return line;
	return NULL;
}

static void send_batch(struct import *m)
{
	json_t *args, *result = NULL;
	const json_t *r;
	size_t i;

	if (m->rc != SAT_OK || json_array_size(m->lines) == 0)
		return;
	args = json_pack("{s:O, s:O, s:O}", "map", m->map, "header", m->header,
			 "lines", m->lines);
	m->rc = sat_gate_call(m->gate, "import", args, &result, &m->err);
	if (m->rc != SAT_OK)
		return;
	m->imported += json_integer_value(json_object_get(result, "imported"));
	m->unchanged +=
		json_integer_value(json_object_get(result, "unchanged"));
	json_array_foreach(json_object_get(result, "rejects"), i, r)
	{
		const json_t *line = line_numbered(
			m->lines, json_integer_value(json_array_get(r, 0)));

		if (line != NULL)
			put_reject(m, line,
				   json_string_value(json_array_get(r, 1)));
	}
	json_decref(result);
	(void)json_array_clear(m->lines);
	m->bytes = 0;
}

/* The field again, quoted, so that a refused line keeps bytes that are not
 * UTF-8. */
static void keep_raw(struct import *m, const char *s, size_t len)
{
	uint8_t *dst;
	size_t n = 2 * len + 3;

	if (sat_buf_reserve(&m->raw, n, &dst) != SAT_OK) {
		m->rc = sat_err_set(&m->err, SAT_E_LIMIT, 0, "import",
				    "line %lld is too long",
				    (long long)m->began);
		return;
	}
	if (m->raw.len > 0)
		*dst++ = ',';
	n = csv_write(dst, n, s, len) + (m->raw.len > 0);
	sat_buf_commit(&m->raw, n);
}

static void on_field(void *text, size_t len, void *arg)
{
	struct import *m = arg;
	const char *s = text == NULL ? "" : text;
	json_t *v;

	/* A byte order mark belongs to no column's name. */
	if (m->header == NULL && json_array_size(m->line) == 1 && len >= 3 &&
	    memcmp(s, "\xef\xbb\xbf", 3) == 0) {
		s += 3;
		len -= 3;
	}
	keep_raw(m, s, len);
	v = json_stringn(s, len);
	if (v == NULL) {
		m->alien = true;
		v = json_string("");
	}
	(void)json_array_append_new(m->line, v);
}

static void on_line(int end, void *arg)
{
	struct import *m = arg;

	(void)end;
	m->open = false;
	(void)json_array_set_new(m->line, 0, json_integer(m->began));
	if (m->header == NULL) {
		m->header = m->line;
		(void)json_array_remove(m->header, 0);
	} else if (json_array_size(m->line) == 2 &&
		   json_string_length(json_array_get(m->line, 1)) == 0) {
		json_decref(m->line); /* an empty line */
	} else if (m->alien) {
		put_alien(m);
		json_decref(m->line);
	} else {
		(void)json_array_append_new(m->lines, m->line);
		m->bytes += m->raw.len;
	}
	m->alien = false;
	sat_buf_clear(&m->raw);
	m->line = json_pack("[I]", m->began);
	if (json_array_size(m->lines) >= BATCH_LINES || m->bytes >= BATCH_BYTES)
		send_batch(m);
}

/* At most one line of the file, so that its number is known when the parser
 * reports the record. */
static void read_line(struct import *m, const char *path, const char *at,
		      size_t n)
{
	bool blank = true;

	for (size_t i = 0; i < n && blank; i++)
		blank = memchr(" \t\r\n", at[i], 4) != NULL;
	if (!m->open)
		m->began = m->number;
	m->open = m->open || !blank;
	if (csv_parse(&m->csv, at, n, on_field, on_line, m) != n)
		m->rc = sat_err_set(&m->err, SAT_E_INVAL, 0, "import",
				    "%s: line %lld: %s", path,
				    (long long)m->began,
				    csv_strerror(csv_error(&m->csv)));
	if (at[n - 1] == '\n')
		m->number++;
}

static void read_block(struct import *m, const char *path, const char *at,
		       size_t n)
{
	while (n > 0 && m->rc == SAT_OK) {
		const char *end = memchr(at, '\n', n);
		size_t len = end == NULL ? n : (size_t)(end - at) + 1;

		read_line(m, path, at, len);
		at += len;
		n -= len;
	}
}

static void read_all(struct import *m, const char *path)
{
	FILE *in = fopen(path, "rb");
	struct sat_progress bar;
	struct stat st;
	char block[65536];
	size_t n, done = 0;

	if (in == NULL || fstat(fileno(in), &st) != 0) {
		m->rc = sat_err_set(&m->err, SAT_E_NOTFOUND, 0, "import",
				    "%s cannot be read", path);
		if (in != NULL)
			(void)fclose(in);
		return;
	}
	sat_progress_begin(&bar, path, (size_t)st.st_size);
	while (m->rc == SAT_OK && (n = fread(block, 1, sizeof block, in)) > 0) {
		read_block(m, path, block, n);
		done += n;
		sat_progress_at(&bar, done);
	}
	if (m->rc == SAT_OK && ferror(in))
		m->rc = sat_err_set(&m->err, SAT_E_IO, 0, "import",
				    "%s cannot be read to its end", path);
	if (m->rc == SAT_OK && csv_fini(&m->csv, on_field, on_line, m) != 0)
		m->rc = sat_err_set(&m->err, SAT_E_INVAL, 0, "import",
				    "%s: the last line has an open quote",
				    path);
	send_batch(m);
	sat_progress_end(&bar);
	(void)fclose(in);
}

/* With nothing refused, the file of an earlier run would tell an old story.
 * Only one of ours goes. */
static void drop_stale_rejects(const struct import *m)
{
	static const char ours[] = "line,reason,";
	FILE *f = fopen(m->reject_path, "r");
	char head[sizeof ours] = "";

	if (f == NULL)
		return;
	if (fgets(head, sizeof head, f) != NULL && strcmp(head, ours) == 0)
		(void)unlink(m->reject_path);
	(void)fclose(f);
}

/* Refused lines must not go over the very file that is read. */
static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static int load_map(struct import *m, const char *path)
{
	json_error_t why;

	m->map = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
	if (m->map != NULL)
		return SAT_OK;
	if (why.line <= 0) /* jansson names the file itself then */
		return sat_err_set(&m->err, SAT_E_INVAL, 0, "import", "%s",
				   why.text);
	return sat_err_set(&m->err, SAT_E_INVAL, 0, "import", "%s:%d: %s", path,
			   why.line, why.text);
}

int sat_cli_import(struct sat_call *call)
{
	const json_t *args = call->args;
	const char *file = json_string_value(json_object_get(args, "file"));
	struct import m = { .call = call };

	m.reject_path = json_string_value(json_object_get(args, "reject"));
	if (m.reject_path == NULL) {
		(void)snprintf(m.default_path, sizeof m.default_path,
			       "%s.reject.csv", file);
		m.reject_path = m.default_path;
	}
	if (is_same_file(file, m.reject_path)) {
		(void)fprintf(stderr, "%s",
			      sat_say("satchel-server import: --reject is the "
				      "file to be imported\n"));
		return SAT_EXIT_USAGE;
	}
	m.number = 1;
	m.line = json_pack("[I]", m.number);
	sat_buf_init(&m.raw, LINE_BYTES_MAX);
	m.lines = json_array();
	m.rc = load_map(&m, json_string_value(json_object_get(args, "map")));
	if (m.rc == SAT_OK)
		m.rc = sat_gate_open(call->dir, &m.gate, &m.err);
	if (m.rc == SAT_OK &&
	    csv_init(&m.csv, CSV_STRICT | CSV_STRICT_FINI) != 0)
		m.rc = sat_err_set(&m.err, SAT_E_NOMEM, 0, "import",
				   "out of memory");
	if (m.rc == SAT_OK) {
		read_all(&m, file);
		csv_free(&m.csv);
	}
	sat_gate_close(m.gate);
	if (m.reject != NULL && fclose(m.reject) != 0 && m.rc == SAT_OK)
		m.rc = sat_err_set(&m.err, SAT_E_IO, 0, "import",
				   "%s cannot be written", m.reject_path);
	if (m.rc == SAT_OK && m.rejected == 0)
		drop_stale_rejects(&m);
	json_decref(m.map);
	json_decref(m.header);
	json_decref(m.line);
	json_decref(m.lines);
	sat_buf_fini(&m.raw);
	/* An import that never began has nothing to count. */
	if (m.rc == SAT_OK || m.imported + m.unchanged + m.rejected > 0)
		(void)printf(sat_say("%lld written, %lld unchanged, "
				     "%lld refused%s%s\n"),
			     (long long)m.imported, (long long)m.unchanged,
			     (long long)m.rejected,
			     m.rejected > 0 ? sat_say(": ") : "",
			     m.rejected > 0 ? m.reject_path : "");
	if (m.rc != SAT_OK) {
		m.err.rc = m.rc;
		return sat_complain("import", &m.err);
	}
	return m.rejected == 0 ? SAT_EXIT_OK : SAT_EXIT_FAILED;
}
