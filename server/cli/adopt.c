/* adopt: a file that `satchel rescue` made, taken in under a new replica id. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/cli/cli.h"

enum { BATCH_BYTES = 8 * 1024 * 1024 };

struct adopt {
	struct sat_call *call;
	struct sat_gate *gate;
	FILE *f;
	char *line;
	size_t line_cap;
	json_t *head, *seqs, *lines, *rows;
	size_t bytes; /* of lines */
	json_int_t device, known, waiting;
	struct sat_err err;
};

static int no_memory(struct adopt *x)
{
	return sat_err_set(&x->err, SAT_E_NOMEM, 0, "adopt", "out of memory");
}

/* The next line as JSON; NULL at the end, and when x->err says why. */
static json_t *next_line(struct adopt *x, int *rc)
{
	ssize_t n;
	json_t *j;

	errno = 0;
	n = getline(&x->line, &x->line_cap, x->f);
	*rc = SAT_OK;
	if (n < 0 && errno != 0)
		*rc = sat_err_set(&x->err, SAT_E_IO, errno, "adopt", "%s",
				  strerror(errno));
	if (n < 0)
		return NULL;
	j = json_loadb(x->line, (size_t)n, 0, NULL);
	if (!json_is_object(j)) {
		json_decref(j);
		*rc = sat_err_set(&x->err, SAT_E_INVAL, 0, "adopt",
				  "this is no file of `satchel rescue`, or it "
				  "is cut");
		return NULL;
	}
	return j;
}

static int read_head(struct adopt *x)
{
	int rc;

	x->head = next_line(x, &rc);
	if (rc == SAT_OK &&
	    json_integer_value(json_object_get(x->head, "satchel_rescue")) != 1)
		rc = sat_err_set(&x->err, SAT_E_INVAL, 0, "adopt",
				 "this is no file of `satchel rescue`, or one "
				 "of a later version");
	return rc;
}

/* What was gathered goes in, in one transaction. */
static int send(struct adopt *x, bool last)
{
	json_t *result = NULL;
	json_t *args = json_pack(
		"{s:O, s:I, s:O, s:O, s:{s:O}, s:O, s:b}", "login",
		json_object_get(x->call->args, "login"), "device", x->device,
		"from", json_object_get(x->head, "replica"), "offset_ms",
		json_object_get(x->head, "offset_ms"), "map", "seqs", x->seqs,
		"lines", x->lines, "last", last);
	int rc;

	if (args == NULL)
		return sat_err_set(&x->err, SAT_E_INVAL, 0, "adopt",
				   "this is no file of `satchel rescue`");
	rc = sat_gate_call(x->gate, "adopt", args, &result, &x->err);
	if (rc != SAT_OK)
		return rc;
	x->device = json_integer_value(json_object_get(result, "device"));
	x->known += json_integer_value(json_object_get(result, "known"));
	if (json_array_extend(x->seqs, json_object_get(result, "seqs")) != 0 ||
	    json_array_extend(x->rows, json_object_get(result, "rows")) != 0 ||
	    json_array_clear(x->lines) != 0)
		rc = no_memory(x);
	x->bytes = 0;
	json_decref(result);
	return rc;
}

static int take(struct adopt *x, const json_t *line)
{
	json_t *bytes = json_object_get(line, "bytes");
	int rc = SAT_OK;

	if (json_object_get(line, "rejected") != NULL) {
		x->waiting++;
		return SAT_OK;
	}
	if (!json_is_string(bytes))
		return sat_err_set(&x->err, SAT_E_INVAL, 0, "adopt",
				   "a line of the file is no changeset");
	if (x->bytes > 0 && x->bytes + json_string_length(bytes) > BATCH_BYTES)
		rc = send(x, false);
	x->bytes += json_string_length(bytes);
	if (rc == SAT_OK && json_array_append(x->lines, bytes) != 0)
		rc = no_memory(x);
	return rc;
}

static int take_all(struct adopt *x, const char *file)
{
	json_t *line;
	int rc;

	x->f = fopen(file, "re");
	if (x->f == NULL)
		return sat_err_set(&x->err, SAT_E_IO, errno, "adopt",
				   "%.180s: %s", file, strerror(errno));
	rc = read_head(x);
	if (rc == SAT_OK)
		rc = sat_gate_open(x->call->dir, &x->gate, &x->err);
	while (rc == SAT_OK) {
		line = next_line(x, &rc);
		if (line == NULL)
			break;
		rc = take(x, line);
		json_decref(line);
	}
	return rc == SAT_OK ? send(x, true) : rc;
}

static void say(const struct adopt *x)
{
	json_t *table = json_pack("{s:[s, s, s], s:O}", "columns", "changeset",
				  "verdict", "why", "rows", x->rows);
	json_t *all =
		json_pack("{s:I, s:I, s:I, s:I}", "device", x->device,
			  "adopted", (json_int_t)json_array_size(x->seqs),
			  "known", x->known, "rejected_on_device", x->waiting);

	if (all != NULL && table != NULL && x->call->json)
		(void)json_object_set_new(all, "verdicts",
					  sat_rows_as_objects(table));
	if (all != NULL)
		sat_print_result(stdout, all, x->call->json);
	if (table != NULL && !x->call->json && json_array_size(x->rows) > 0)
		sat_print_result(stdout, table, false);
	json_decref(all);
	json_decref(table);
}

int sat_cli_adopt(struct sat_call *call)
{
	struct adopt x = { .call = call,
			   .seqs = json_array(),
			   .lines = json_array(),
			   .rows = json_array() };
	const char *file =
		json_string_value(json_object_get(call->args, "file"));
	int rc = x.seqs == NULL || x.lines == NULL || x.rows == NULL
			 ? no_memory(&x)
			 : take_all(&x, file);

	if (rc == SAT_OK)
		say(&x);
	sat_gate_close(x.gate);
	if (x.f != NULL)
		(void)fclose(x.f);
	free(x.line);
	json_decref(x.head);
	json_decref(x.seqs);
	json_decref(x.lines);
	json_decref(x.rows);
	if (rc == SAT_OK)
		return fflush(stdout) == 0 ? SAT_EXIT_OK : SAT_EXIT_FAILED;
	x.err.rc = rc;
	return sat_complain("adopt", &x.err);
}
