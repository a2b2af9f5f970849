#include "server/admin/ops_adopt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/rows.h"
#include "server/commit/adopt.h"

struct adoption {
	struct sat_admin *a;
	struct sat_adopt how;
	uint64_t *seqs; /* how.seqs, with room for this batch */
	uint32_t old;   /* taken in earlier batches           */
	int64_t known;
	json_t *rows;
};

static int invalid(struct sat_err *err, const char *what)
{
	return sat_err_set(err, SAT_E_INVAL, 0, "adopt", "%s", what);
}

static int begin(struct adoption *x, const json_t *args, struct sat_err *err)
{
	struct sat_admin *a = x->a;
	struct sat_device d;
	struct sat_user user;
	const char *login;
	char name[96], line[40];
	int rc = sat_arg_text(args, "login", &login, err);

	if (rc == SAT_OK)
		rc = sat_store_user_login(a->store, login, &user, err);
	if (rc == SAT_E_NOTFOUND)
		return sat_err_set(err, rc, 0, "adopt",
				   "there is no user %s (see `user list`)",
				   login);
	if (rc != SAT_OK)
		return rc;
	(void)snprintf(name, sizeof name, "rescued from device %lu",
		       (unsigned long)x->how.from);
	rc = sat_engine_adopt_begin(a->engine, &user.id, name, &d, err);
	if (rc != SAT_OK)
		return rc;
	x->how.to = d.replica;
	(void)snprintf(line, sizeof line, "replica %lu",
		       (unsigned long)d.replica);
	return a->note(a->note_arg, line, err);
}

static int read_seqs(struct adoption *x, const json_t *args,
		     struct sat_err *err)
{
	const json_t *seqs =
		json_object_get(json_object_get(args, "map"), "seqs");
	const json_t *lines = json_object_get(args, "lines");
	size_t n = json_array_size(seqs);

	if (!json_is_array(lines) || n > UINT32_MAX / 2 ||
	    json_array_size(lines) > UINT32_MAX / 2)
		return invalid(err, "adopt: there are no changesets");
	x->seqs = calloc(n + json_array_size(lines) + 1, sizeof *x->seqs);
	if (x->seqs == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "adopt",
				   "out of memory");
	for (size_t i = 0; i < n; i++) {
		x->seqs[i] =
			(uint64_t)json_integer_value(json_array_get(seqs, i));
		if (x->seqs[i] == 0 || (i > 0 && x->seqs[i] <= x->seqs[i - 1]))
			return invalid(err, "adopt: seqs do not rise");
	}
	x->old = x->how.count = (uint32_t)n;
	x->how.seqs = x->seqs;
	return SAT_OK;
}

/* A line about what was not simply applied. */
static int tell(struct adoption *x, uint64_t seq, const struct sat_catalogue *c,
		const struct sat_msg_verdict *v, struct sat_err *err)
{
	const struct sat_table *t =
		sat_catalogue_table_no(c, v->where.table_no);
	int at = t == NULL ? -1 : sat_table_column_no(t, v->where.column_no);
	char why[512] = "conflicts are in the ledger";

	if (v->status == SAT_VERDICT_APPLIED)
		return SAT_OK;
	if (v->status == SAT_VERDICT_REJECTED)
		sat_reason_text(v->reason, SAT_LANG_EN, t,
				at < 0 ? NULL : &t->columns[at], why,
				sizeof why);
	return json_array_append_new(x->rows,
				     json_pack("[I, s, s]", (json_int_t)seq,
					       v->status == SAT_VERDICT_REJECTED
						       ? "rejected"
						       : "merged",
					       why)) == 0
		       ? SAT_OK
		       : sat_err_set(err, SAT_E_NOMEM, 0, "adopt",
				     "out of memory");
}

static int adopt_one(struct adoption *x, const json_t *line,
		     struct sat_err *err)
{
	struct sat_slice hex = { (const uint8_t *)json_string_value(line),
				 json_string_length(line) };
	struct sat_msg_verdict v;
	struct sat_arena arena;
	uint64_t seq;
	uint8_t *bytes;
	int rc;

	bytes = hex.ptr == NULL ? NULL : malloc(hex.len / 2 + 1);
	if (bytes == NULL || hex.len % 2 != 0 ||
	    !sat_hex_parse(hex, bytes, hex.len / 2)) {
		free(bytes);
		return invalid(err, "adopt: a changeset is not in hex");
	}
	sat_arena_init(&arena, (size_t)SAT_CHANGESET_BYTES_MAX * 33);
	rc = sat_engine_adopt_one(x->a->engine, &x->how,
				  (struct sat_slice){ bytes, hex.len / 2 },
				  &arena, &v, &seq, err);
	if (rc == SAT_AGAIN) {
		x->known++;
		rc = SAT_OK;
	} else if (rc == SAT_OK) {
		x->seqs[x->how.count++] = seq;
		rc = tell(x, seq, sat_store_catalogue(x->a->store), &v, err);
	}
	sat_arena_fini(&arena);
	free(bytes);
	return rc;
}

static int answer(const struct adoption *x, json_t *ret, struct sat_err *err)
{
	json_t *seqs = json_array();
	int bad = seqs == NULL;

	for (uint32_t i = x->old; !bad && i < x->how.count; i++)
		bad = json_array_append_new(
			seqs, json_integer((json_int_t)x->seqs[i]));
	bad = json_object_set_new(ret, "seqs", seqs) != 0 || bad ||
	      json_object_set_new(ret, "device", json_integer(x->how.to)) !=
		      0 ||
	      json_object_set_new(ret, "known", json_integer(x->known)) != 0 ||
	      json_object_set_new(ret, "columns",
				  json_pack("[s, s, s]", "changeset", "verdict",
					    "why")) != 0 ||
	      json_object_set(ret, "rows", x->rows) != 0;
	return bad ? sat_err_set(err, SAT_E_NOMEM, 0, "adopt", "out of memory")
		   : SAT_OK;
}

int sat_op_adopt(struct sat_admin *a, const json_t *args, json_t *ret,
		 struct sat_err *err)
{
	struct adoption x = { .a = a, .rows = json_array() };
	const json_t *line;
	size_t i;
	int rc = read_seqs(&x, args, err);

	x.how.from =
		(uint32_t)json_integer_value(json_object_get(args, "from"));
	x.how.to =
		(uint32_t)json_integer_value(json_object_get(args, "device"));
	x.how.clock.offset_ms =
		json_integer_value(json_object_get(args, "offset_ms"));
	if (rc == SAT_OK && x.rows == NULL)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "adopt", "out of memory");
	if (rc == SAT_OK && x.how.from == 0)
		rc = invalid(err, "adopt: the file does not say which device "
				  "it was");
	if (rc == SAT_OK && x.how.to == 0)
		rc = begin(&x, args, err);
	json_array_foreach(json_object_get(args, "lines"), i, line)
	{
		if (rc == SAT_OK)
			rc = adopt_one(&x, line, err);
	}
	if (rc == SAT_OK && json_is_true(json_object_get(args, "last")))
		rc = sat_engine_adopt_end(a->engine, x.how.to, err);
	if (rc == SAT_OK)
		rc = answer(&x, ret, err);
	json_decref(x.rows);
	free(x.seqs);
	return rc;
}
