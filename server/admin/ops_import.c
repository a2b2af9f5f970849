#include "server/admin/ops_import.h"

#include <string.h>

#include "server/admin/import_map.h"

enum { DRAFTS_MAX = 256 };

/* Drafts wait here until a batch is full or a row comes twice, since a
 * changeset holds at most one delta per row. */
struct batch {
	struct sat_admin *a;
	struct sat_import_map map;
	struct sat_arena arena; /* of the drafts */
	struct sat_row_draft *drafts;
	json_int_t line_of[DRAFTS_MAX];
	uint32_t count;
	json_int_t imported, unchanged;
	json_t *rejects;
};

static int reject(struct batch *b, json_int_t line, const char *reason)
{
	json_t *r = json_pack("[I, s]", line, reason);

	return json_array_append_new(b->rejects, r) == 0 ? SAT_OK : SAT_E_NOMEM;
}

/* Write the drafts as one changeset. One that is refused is reported and
 * taken out, and the others are tried again. */
static int flush(struct batch *b, struct sat_err *err)
{
	struct sat_local_write *writes;
	uint32_t bad;
	int rc = SAT_OK;

	while (b->count > 0) {
		writes = sat_arena_array(&b->arena, b->count, sizeof *writes);
		if (writes == NULL)
			return sat_err_set(err, SAT_E_NOMEM, 0, "import",
					   "out of memory");
		for (uint32_t i = 0; i < b->count; i++) {
			writes[i] = b->drafts[i].write;
			writes[i].columns = b->drafts[i].columns;
			writes[i].values = b->drafts[i].values;
		}
		rc = sat_engine_local(b->a->engine, writes, b->count, &bad,
				      err);
		if (rc != SAT_E_INVAL || bad >= b->count)
			break;
		rc = reject(b, b->line_of[bad], err->msg);
		if (rc != SAT_OK)
			break;
		b->count--;
		memmove(&b->drafts[bad], &b->drafts[bad + 1],
			(b->count - bad) * sizeof *b->drafts);
		memmove(&b->line_of[bad], &b->line_of[bad + 1],
			(b->count - bad) * sizeof *b->line_of);
	}
	b->imported += b->count;
	b->map.written = b->imported;
	b->count = 0;
	sat_arena_reset(&b->arena);
	return rc;
}

static bool is_waiting(const struct batch *b, const struct sat_id *id)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (memcmp(b->drafts[i].write.id.b, id->b, sizeof id->b) == 0)
			return true;
	return false;
}

/* The set as it is with one more element. */
static int with_element(struct sat_arena *arena, const struct sat_value *now,
			struct sat_slice element, struct sat_value *ret)
{
	struct sat_slice *old, *all, json;
	uint32_t count = 0;
	int rc = SAT_OK;

	if (now != NULL && now->kind == SAT_TEXT)
		rc = sat_set_parse(arena, now->s, &old, &count);
	if (rc != SAT_OK)
		return rc;
	all = sat_arena_array(arena, count + 1, sizeof *all);
	if (all == NULL)
		return SAT_E_NOMEM;
	for (uint32_t i = 0; i < count; i++) {
		if (sat_slice_equal(old[i], element)) {
			*ret = *now;
			return SAT_OK;
		}
		all[i] = old[i];
	}
	all[count] = element;
	rc = sat_set_format(arena, all, count + 1, &json);
	if (rc == SAT_OK) /* sorted and distinct again */
		rc = sat_set_parse(arena, json, &all, &count);
	if (rc == SAT_OK)
		rc = sat_set_format(arena, all, count, &json);
	*ret = sat_value_text(json);
	return rc;
}

static int add_column(struct batch *b, struct sat_row_draft *d,
		      const struct sat_import_rule *rule, const json_t *line,
		      const struct sat_stored_row *row, struct sat_err *err)
{
	const struct sat_column *c = &b->map.table->columns[rule->column];
	const struct sat_value *now =
		row->seq != 0 ? &row->values[rule->column] : NULL;
	struct sat_slice text;
	struct sat_value v;
	bool empty;
	int rc;

	rc = sat_import_text(&b->map, b->a, rule, line, &b->arena, &text,
			     &empty, err);
	if (rc != SAT_OK || empty)
		return rc;
	rc = sat_arena_copy(&b->arena, text, &text);
	if (rc == SAT_OK && rule->add)
		rc = with_element(&b->arena, now, text, &v);
	else if (rc == SAT_OK)
		return sat_value_read(&b->arena, c, text, &v, err) != SAT_OK
			       ? err->rc
		       : now != NULL && sat_value_equal(now, &v)
			       ? SAT_OK
			       : sat_draft_set(d, c->name, v, err);
	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "import", "%s: not a set",
				   c->name);
	if (now != NULL && sat_value_equal(now, &v))
		return SAT_OK;
	return sat_draft_set(d, c->name, v, err);
}

/* One line into one draft. A failure here is the line's, except NOMEM, IO. */
static int take_line(struct batch *b, const json_t *line, struct sat_err *err)
{
	struct sat_row_draft *d;
	struct sat_stored_row row;
	struct sat_id id;
	bool is_new;
	int rc;

	if (json_array_size(line) != json_array_size(b->map.header) + 1)
		return sat_err_set(err, SAT_E_INVAL, 0, "line",
				   "it has %zu fields, the header has %zu",
				   json_array_size(line) - 1,
				   json_array_size(b->map.header));
	rc = sat_import_id(&b->map, b->a, line, &id, err);
	if (rc == SAT_OK && (b->count == DRAFTS_MAX || is_waiting(b, &id)))
		rc = flush(b, err);
	if (rc == SAT_OK)
		rc = sat_store_row_get(b->a->store, b->map.table, &id,
				       &b->arena, &row, err);
	if (rc != SAT_OK)
		return rc;
	is_new = row.seq == 0;
	d = &b->drafts[b->count];
	sat_draft_init(d, is_new ? SAT_OP_INSERT : SAT_OP_UPDATE, b->map.table,
		       &id);
	for (size_t i = 0; rc == SAT_OK && i < b->map.rule_count; i++)
		rc = add_column(b, d, &b->map.rules[i], line, &row, err);
	if (rc != SAT_OK)
		return rc;
	if (!is_new && d->write.column_count == 0) {
		b->unchanged++;
		return SAT_OK;
	}
	b->line_of[b->count++] = json_integer_value(json_array_get(line, 0));
	return SAT_OK;
}

/* What a line names in its own table may be a line before it that still
 * waits: write that first. */
static int take_line_late(struct batch *b, const json_t *line,
			  struct sat_err *err)
{
	int rc = take_line(b, line, err);

	if (rc != SAT_E_NOTFOUND || !b->map.own || b->count == 0)
		return rc;
	rc = flush(b, err);
	return rc == SAT_OK ? take_line(b, line, err) : rc;
}

/* Lines that are wrong are rejected; a store that fails ends the import. */
static bool is_line_fault(int rc)
{
	return rc == SAT_E_INVAL || rc == SAT_E_NOTFOUND || rc == SAT_E_LIMIT;
}

int sat_op_import(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err)
{
	const json_t *lines = json_object_get(args, "lines"), *line;
	struct batch b = { .a = a };
	size_t i;
	int rc;

	rc = sat_import_map_init(&b.map, a, json_object_get(args, "map"),
				 json_object_get(args, "header"), err);
	if (rc != SAT_OK)
		return rc;
	sat_arena_init(&b.arena, 256 << 20);
	b.rejects = json_array();
	b.drafts = calloc(DRAFTS_MAX, sizeof *b.drafts);
	if (b.drafts == NULL || b.rejects == NULL)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "import",
				 "out of memory");
	json_array_foreach(lines, i, line)
	{
		if (rc != SAT_OK)
			break;
		rc = take_line_late(&b, line, err);
		if (is_line_fault(rc))
			rc = reject(&b,
				    json_integer_value(json_array_get(line, 0)),
				    err->msg);
	}
	if (rc == SAT_OK)
		rc = flush(&b, err);
	if (rc == SAT_OK && strcmp(b.map.table->name, "territory") == 0)
		rc = sat_engine_rights_changed(a->engine, err);
	if (rc == SAT_OK &&
	    (json_object_set_new(ret, "imported", json_integer(b.imported)) ||
	     json_object_set_new(ret, "unchanged", json_integer(b.unchanged)) ||
	     json_object_set(ret, "rejects", b.rejects)))
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "import",
				 "out of memory");
	json_decref(b.rejects);
	free(b.drafts);
	sat_arena_fini(&b.arena);
	sat_import_map_fini(&b.map);
	return rc;
}
