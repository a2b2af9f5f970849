/* The list of what was not accepted, in words and in JSON that a person or a
 * program can read and write again. */
#include "client/replica/internal.h"

#include <stdio.h>

/* JSON strings: what is stored passed the UTF-8 check. */
static void add_json_text(struct sat_sql *s, struct sat_slice text)
{
	sat_sql_add(s, "\"");
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if (c == '"' || c == '\\')
			sat_sql_add(s, "\\%c", c);
		else if (c < 0x20)
			sat_sql_add(s, "\\u%04x", c);
		else
			sat_sql_add(s, "%c", c);
	}
	sat_sql_add(s, "\"");
}

static void add_json_blob(struct sat_sql *s, struct sat_slice bytes)
{
	char text[SAT_UUID_CHARS + 1], hex[65];
	struct sat_id id;

	if (bytes.len == sizeof id.b) {
		for (size_t i = 0; i < sizeof id.b; i++)
			id.b[i] = bytes.ptr[i];
		sat_id_format(&id, text);
		sat_sql_add(s, "\"%s\"", text);
		return;
	}
	sat_hex_format(bytes.ptr, bytes.len <= 32 ? bytes.len : 32, hex);
	sat_sql_add(s, "\"%s\"", hex);
}

static void add_json_value(struct sat_sql *s, const struct sat_value *v)
{
	switch (v->kind) {
	case SAT_NULL:
		sat_sql_add(s, "null");
		return;
	case SAT_INT:
		sat_sql_add(s, "%lld", (long long)v->i);
		return;
	case SAT_REAL:
		sat_sql_add(s, "%.17g", v->r);
		return;
	case SAT_TEXT:
		add_json_text(s, v->s);
		return;
	case SAT_BLOB:
		add_json_blob(s, v->s);
		return;
	}
}

static void add_json_list(struct sat_sql *s, const char *name,
			  const struct sat_slice *list, uint32_t count)
{
	sat_sql_add(s, "\"%s\":[", name);
	for (uint32_t i = 0; i < count; i++) {
		if (i > 0)
			sat_sql_add(s, ",");
		add_json_text(s, list[i]);
	}
	sat_sql_add(s, "]");
}

static void add_json_change(struct sat_sql *s, const struct sat_column *c,
			    const struct sat_change *change)
{
	sat_sql_add(s, "\"%s\":{", c->name);
	switch (c->policy) {
	case SAT_POLICY_COUNTER:
		sat_sql_add(s, "\"add\":");
		add_json_value(s, &change->value);
		break;
	case SAT_POLICY_SET:
		add_json_list(s, "adds", change->adds, change->add_count);
		sat_sql_add(s, ",");
		add_json_list(s, "removes", change->removes,
			      change->remove_count);
		break;
	default:
		sat_sql_add(s, "\"before\":");
		add_json_value(s, &change->before);
		sat_sql_add(s, ",\"after\":");
		add_json_value(s, &change->value);
		break;
	}
	sat_sql_add(s, "}");
}

/* What the author had seen: trying again must not claim more. */
static void add_json_context(struct sat_sql *s, struct sat_vv seen)
{
	sat_sql_add(s, "\"context\":\"");
	for (uint32_t i = 0; i < seen.count; i++)
		sat_sql_add(s, "%s%u:%llu", i == 0 ? "" : ",",
			    seen.dots[i].replica,
			    (unsigned long long)seen.dots[i].seq);
	sat_sql_add(s, "\",");
}

static void add_json_delta(struct sat_sql *s, const struct sat_delta *d)
{
	static const char *const ops[] = { "insert", "update", "delete" };
	char id[SAT_UUID_CHARS + 1];

	sat_id_format(&d->id, id);
	sat_sql_add(s, "{\"table\":\"%s\",\"id\":\"%s\",\"op\":\"%s\",",
		    d->table->name, id, ops[d->op]);
	if (d->op != SAT_OP_INSERT && d->context.count > 0)
		add_json_context(s, d->context);
	sat_sql_add(s, "\"fields\":{");
	for (uint32_t i = 0; i < d->change_count; i++) {
		if (i > 0)
			sat_sql_add(s, ",");
		add_json_change(s, &d->table->columns[d->changes[i].column],
				&d->changes[i]);
	}
	sat_sql_add(s, "}}");
}

static void sentence(enum sat_reason reason, enum sat_lang lang,
		     const struct sat_table *t, const struct sat_column *c,
		     struct sat_dot depends, char *out, size_t n)
{
	int used;

	sat_reason_text(reason, lang, t, c, out, n);
	if (depends.seq == 0)
		return;
	for (used = 0; out[used] != '\0'; used++)
		;
	(void)snprintf(out + used, n - (size_t)used, " (%u,%llu)",
		       depends.replica, (unsigned long long)depends.seq);
}

/* A rejection twice told is listed once: seq names it. */
static int listed(struct sat_replica *r, uint64_t seq, bool *ret,
		  struct sat_err *err)
{
	struct sat_value arg = sat_bind_u64(seq);
	sqlite3_stmt *st;
	int rc;

	*ret = false;
	if (seq == 0)
		return SAT_OK;
	rc = sat_db_find(&r->db,
			 "SELECT 1 FROM _satchel_rejected WHERE seq = ?1", &arg,
			 1, &st, err);
	if (rc != SAT_OK || st == NULL)
		return rc;
	*ret = true;
	sat_db_reset(st);
	return SAT_OK;
}

int sat_rejected_add(struct sat_replica *r, uint64_t seq,
		     enum sat_reason reason, const struct sat_table *t,
		     const struct sat_column *c, struct sat_dot depends,
		     const struct sat_delta *deltas, uint32_t count,
		     struct sat_err *err)
{
	char en[512], zh[512];
	struct sat_value args[6];
	struct sat_sql json;
	bool known = false;
	int rc = listed(r, seq, &known, err);

	if (rc != SAT_OK || known)
		return rc;
	sentence(reason, SAT_LANG_EN, t, c, depends, en, sizeof en);
	sentence(reason, SAT_LANG_ZH, t, c, depends, zh, sizeof zh);
	sat_sql_init(&json);
	json.text.max = SAT_REPLICA_SCRATCH_MAX;
	sat_sql_add(&json, "[");
	for (uint32_t i = 0; i < count; i++) {
		if (i > 0)
			sat_sql_add(&json, ",");
		add_json_delta(&json, &deltas[i]);
	}
	sat_sql_add(&json, "]");
	rc = json.rc;
	if (rc != SAT_OK) {
		(void)sat_err_set(err, rc, 0, "replica_rejected",
				  "a rejected change is too large to list");
		goto out;
	}
	args[0] = seq == 0 ? sat_value_null() : sat_bind_u64(seq);
	args[1] = sat_value_int(count == 0 ? 0 : deltas[0].at_ms);
	args[2] = sat_bind_str(sat_reason_name(reason));
	args[3] = sat_bind_str(en);
	args[4] = sat_bind_str(zh);
	args[5] = sat_value_text(sat_buf_peek(&json.text));
	rc = sat_db_do(&r->db,
		       "INSERT INTO _satchel_rejected(seq, at, reason,"
		       " sentence_en, sentence_zh, content)"
		       " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
		       args, 6, err);
out:
	sat_sql_fini(&json);
	return rc;
}
