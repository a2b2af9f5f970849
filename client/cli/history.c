/* history and why: a row's story as this device knows it. Three sources: the
 * writes that the row's state holds, the ledger's entries, and the changesets
 * made here. The server's `history` knows every write. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/ledger.h"
#include "client/replica/story.h"
#include "common/text.h"

enum { LINES_MAX = 20000, DOT_CHARS = 40 };

enum what { W_INSERT, W_UPDATE, W_DELETE, W_HELD, W_LOST };

struct line {
	int64_t at_ms;
	const char *who;
	char dot[DOT_CHARS];
	struct sat_dot id;
	enum what what;
	const struct sat_column *col; /* NULL: the row */
	struct sat_value value, before;
	const char *note;
	struct sat_vv seen;
	bool own, shown;
};

struct story {
	struct sat_cli *c;
	const struct sat_table *table;
	const struct sat_column *only; /* why: that field */
	char id[SAT_UUID_CHARS + 1];
	struct line *list; /* in the call's arena */
	uint32_t count, cap;
	uint32_t self;
};

static int no_memory(struct sat_err *err)
{
	return sat_err_set(err, SAT_E_NOMEM, 0, "history", "out of memory");
}

static int add(struct story *s, const struct line *l, struct sat_err *err)
{
	struct line *more;

	if (s->count == LINES_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "history",
				   "the row has more than %d writes",
				   LINES_MAX);
	if (s->count == s->cap) {
		s->cap = s->cap == 0 ? 64 : s->cap * 2;
		more = sat_arena_array(&s->c->arena, s->cap, sizeof *more);
		if (more == NULL)
			return no_memory(err);
		if (s->count > 0)
			memcpy(more, s->list, s->count * sizeof *more);
		s->list = more;
	}
	s->list[s->count++] = *l;
	return SAT_OK;
}

/* ---- who ----------------------------------------------------------------- */

static const char *text_or(struct story *s, struct sat_value v,
			   const char *otherwise)
{
	const char *text = NULL;

	if (v.kind == SAT_TEXT)
		text = sat_arena_string(&s->c->arena, v.s);
	return text == NULL ? otherwise : text;
}

/* The person behind a replica: ourselves, or whom the server named with the
 * rows that he wrote in; else the device's number. */
static int name_author(struct story *s, uint32_t replica, const char **ret,
		       struct sat_err *err)
{
	static const char sql[] =
		"SELECT coalesce(u.name, u.login) FROM _satchel_author a"
		" JOIN user u ON u.id = a.user WHERE a.replica = ?1";
	struct sat_value arg = sat_value_int(replica), v = sat_value_null();
	char *text;
	int rc = SAT_OK;

	if (replica == s->self) {
		*ret = s->c->status.name;
		return SAT_OK;
	}
	if (sat_catalogue_table(s->c->catalogue, sat_slice_str("user")) != NULL)
		rc = sat_query_value(s->c->replica, &s->c->arena, sql, &arg, 1,
				     &v, err);
	text = sat_arena_alloc(&s->c->arena, 48);
	if (rc == SAT_OK && text == NULL)
		rc = no_memory(err);
	if (rc != SAT_OK)
		return rc;
	(void)snprintf(text, 48, SAT_TR(s->c, "device %lu", "设备 %lu"),
		       (unsigned long)replica);
	*ret = text_or(s, v, text);
	return SAT_OK;
}

/* ---- what the state and our changesets say ------------------------------- */

/* References are 16 bytes in a state and text in a table. */
static int table_form(struct story *s, const struct sat_column *col,
		      struct sat_value v, struct sat_value *ret)
{
	struct sat_id id;
	char *text;

	if (col == NULL || col->type != SAT_TYPE_REF || v.kind != SAT_BLOB ||
	    v.s.len != sizeof id.b)
		return sat_value_copy(&s->c->arena, &v, ret);
	text = sat_arena_alloc(&s->c->arena, SAT_UUID_CHARS + 1);
	if (text == NULL)
		return SAT_E_NOMEM;
	memcpy(id.b, v.s.ptr, sizeof id.b);
	sat_id_format(&id, text);
	*ret = sat_value_text(sat_slice_str(text));
	return SAT_OK;
}

static const char *note_of(struct story *s, const struct sat_story *e)
{
	struct sat_cli *c = s->c;

	if (e->kind == SAT_STORY_OWN && e->refused)
		return SAT_TR(c, "not accepted", "未被接受");
	if (e->kind == SAT_STORY_OWN && e->waits)
		return SAT_TR(c, "waits for the server", "等待服务器确认");
	if (e->kind == SAT_STORY_OWN)
		return SAT_TR(c, "accepted", "已被接受");
	if (e->kind == SAT_STORY_DELETED)
		return e->shown ? SAT_TR(c, "the row is deleted", "记录已删除")
				: SAT_TR(c, "a change at the same time kept it",
					 "同时发生的修改保留了记录");
	if (e->shown)
		return SAT_TR(c, "shown now", "当前显示");
	return SAT_TR(c, "written at the same time, still kept",
		      "同时写入，仍然保留");
}

/* A write that the state holds and a changeset of ours told already. */
static bool told(struct story *s, const struct line *l)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct line *k = &s->list[i];

		if (k->col != l->col || l->id.seq == 0 ||
		    sat_dot_compare(k->id, l->id) != 0)
			continue;
		if (l->what == W_HELD) {
			k->note = l->note;
			k->shown = k->shown || l->shown;
			return true;
		}
		if (k->what == W_HELD) {
			const char *note = k->note;
			bool shown = k->shown;

			*k = *l;
			k->note = note;
			k->shown = shown;
			return true;
		}
	}
	return false;
}

static int on_event(void *arg, const struct sat_story *e, struct sat_err *err)
{
	static const enum what ops[] = { W_INSERT, W_UPDATE, W_DELETE };
	struct story *s = arg;
	struct line l = { .at_ms = e->at_ms,
			  .id = e->dot,
			  .own = e->kind == SAT_STORY_OWN,
			  .shown = e->shown };
	int rc;

	if (e->column >= 0)
		l.col = &s->table->columns[e->column];
	if (s->only != NULL && l.col != s->only && e->column >= 0)
		return SAT_OK;
	l.what = e->kind == SAT_STORY_OWN       ? ops[e->op]
		 : e->kind == SAT_STORY_DELETED ? W_DELETE
						: W_HELD;
	if (e->dot.seq > 0)
		(void)snprintf(l.dot, sizeof l.dot, "%lu:%llu",
			       (unsigned long)e->dot.replica,
			       (unsigned long long)e->dot.seq);
	l.note = note_of(s, e);
	if (table_form(s, l.col, e->value, &l.value) != SAT_OK ||
	    table_form(s, l.col, e->before, &l.before) != SAT_OK ||
	    sat_vv_copy(&s->c->arena, e->seen, &l.seen) != SAT_OK)
		return no_memory(err);
	rc = name_author(s, e->dot.replica, &l.who, err);
	if (rc != SAT_OK || told(s, &l))
		return rc;
	return add(s, &l, err);
}

/* ---- what the ledger says ------------------------------------------------ */

static void parse_dot(const char *text, struct sat_dot *ret)
{
	unsigned long replica;
	unsigned long long seq;
	char *end;

	*ret = (struct sat_dot){ 0, 0 };
	replica = strtoul(text, &end, 10);
	if (*end != ':' || replica > UINT32_MAX)
		return;
	seq = strtoull(end + 1, &end, 10);
	if (*end == '\0')
		*ret = (struct sat_dot){ (uint32_t)replica, seq };
}

static const char *label_of(struct story *s, const char *column,
			    struct sat_value v)
{
	const struct sat_table *t = sat_catalogue_table(
		s->c->catalogue, sat_slice_str(SAT_CLI_LEDGER));
	const struct sat_column *col =
		t == NULL ? NULL : sat_cli_column(t, column);
	const struct sat_enum_value *e = col == NULL || v.kind != SAT_TEXT
						 ? NULL
						 : sat_column_enum(col, v.s);

	return e == NULL ? text_or(s, v, "") : e->label.text[s->c->lang];
}

/* field, losing_value, base_value, who lost, losing_at, losing_dot, who is
 * shown, policy, outcome, who answered */
static int on_entry(void *arg, const struct sat_value *v, int count,
		    struct sat_err *err)
{
	struct story *s = arg;
	int at =
		v[0].kind == SAT_TEXT ? sat_table_column(s->table, v[0].s) : -1;
	struct line l = { .what = W_LOST,
			  .col = at < 0 ? NULL : &s->table->columns[at],
			  .at_ms = v[4].kind == SAT_INT ? v[4].i : 0 };
	char *note = sat_arena_alloc(&s->c->arena, 512);

	(void)count;
	if (s->only != NULL && l.col != NULL && l.col != s->only)
		return SAT_OK;
	if (note == NULL)
		return no_memory(err);
	l.who = text_or(s, v[3], "?");
	(void)snprintf(l.dot, sizeof l.dot, "%s", text_or(s, v[5], ""));
	parse_dot(l.dot, &l.id);
	(void)snprintf(
		note, 512,
		SAT_TR(s->c,
		       "%s against %s; neither had seen the other; %s%s%s",
		       "%s，对方为 %s；双方写入时都未看到对方的值；%s%s%s"),
		label_of(s, "policy", v[7]), text_or(s, v[6], "?"),
		label_of(s, "outcome", v[8]), v[9].kind == SAT_TEXT ? ": " : "",
		text_or(s, v[9], ""));
	l.note = note;
	l.value = v[1];
	l.before = v[2];
	if ((l.col != NULL && (!sat_ledger_value(l.col, v[1], &l.value) ||
			       !sat_ledger_value(l.col, v[2], &l.before))) ||
	    sat_value_copy(&s->c->arena, &l.value, &l.value) != SAT_OK ||
	    sat_value_copy(&s->c->arena, &l.before, &l.before) != SAT_OK)
		return no_memory(err);
	return add(s, &l, err);
}

static int read_ledger(struct story *s)
{
	static const char sql[] =
		"SELECT t.field, t.losing_value, t.base_value,"
		" coalesce(l.name, l.login), t.losing_at, t.losing_dot,"
		" coalesce(w.name, w.login), t.policy, t.outcome,"
		" coalesce(r.name, r.login) FROM " SAT_CLI_LEDGER " t"
		" LEFT JOIN user l ON l.id = t.losing_by"
		" LEFT JOIN user w ON w.id = t.shown_by"
		" LEFT JOIN user r ON r.id = t.resolved_by"
		" WHERE t.table_name = ?1 AND t.row_id = ?2";
	struct sat_value args[2] = {
		sat_value_text(sat_slice_str(s->table->name)),
		sat_value_text(sat_slice_str(s->id)),
	};

	if (sat_catalogue_table(s->c->catalogue,
				sat_slice_str(SAT_CLI_LEDGER)) == NULL)
		return SAT_OK;
	return sat_query(s->c->replica, sql, args, 2, on_entry, s, &s->c->err);
}

/* ---- gathering ----------------------------------------------------------- */

static int oldest_first(const void *x, const void *y)
{
	const struct line *a = x, *b = y;

	if (a->at_ms != b->at_ms)
		return a->at_ms < b->at_ms ? -1 : 1;
	if (sat_dot_compare(a->id, b->id) != 0)
		return sat_dot_compare(a->id, b->id);
	return a->what < b->what ? -1 : a->what > b->what;
}

static int gather(struct story *s)
{
	struct sat_cli *c = s->c;
	struct sat_id id;
	int code = SAT_CLI_OK, rc;

	s->table = sat_cli_table(c, c->word[0]);
	if (s->table == NULL)
		return SAT_CLI_FAILED;
	(void)snprintf(s->id, sizeof s->id, "%.36s", c->word[1]);
	/* a row that is deleted can be named by its whole id */
	if (strlen(c->word[1]) != SAT_UUID_CHARS ||
	    !sat_id_parse(sat_slice_str(s->id), &id))
		code = sat_cli_find_row(c, s->table, c->word[1], s->id);
	if (code != SAT_CLI_OK)
		return code;
	if (!sat_id_parse(sat_slice_str(s->id), &id))
		return SAT_CLI_FAILED;
	s->self = c->status.replica;
	rc = sat_replica_story(c->replica, s->table, &id, on_event, s, &c->err);
	if (rc == SAT_OK)
		rc = read_ledger(s);
	if (rc == SAT_E_NOTFOUND)
		return sat_cli_fail(c,
				    SAT_TR(c,
					   "%s %s: nothing is known of it on "
					   "this device",
					   "%s %s：本设备上没有任何记载"),
				    s->table->label.text[c->lang], c->word[1]);
	if (rc != SAT_OK)
		return sat_cli_error(c);
	if (s->count > 0)
		qsort(s->list, s->count, sizeof *s->list, oldest_first);
	return SAT_CLI_OK;
}

/* ---- printing ------------------------------------------------------------ */

static const char *what_word(const struct sat_cli *c, enum what w)
{
	static const char *const words[][SAT_LANG_COUNT] = {
		[W_INSERT] = { "insert", "新增" },
		[W_UPDATE] = { "update", "修改" },
		[W_DELETE] = { "delete", "删除" },
		[W_HELD] = { "write", "写入" },
		[W_LOST] = { "lost", "落选" },
	};

	return words[w][c->json ? SAT_LANG_EN : c->lang];
}

/* The other writes of the field that the author of one had seen. */
static int seen_text(struct story *s, const struct line *l,
		     struct sat_value *ret)
{
	struct sat_buf out;
	int rc = SAT_OK;

	*ret = sat_value_null();
	if (!l->own)
		return SAT_OK;
	sat_buf_init(&out, 64 * 1024);
	for (uint32_t i = 0; rc == SAT_OK && i < s->count; i++) {
		const struct line *k = &s->list[i];

		if (k->id.seq == 0 || k->col != l->col ||
		    sat_dot_compare(k->id, l->id) == 0 ||
		    !sat_vv_covers(l->seen, k->id))
			continue;
		rc = sat_text_add(&out, "%s%s",
				  sat_buf_peek(&out).len > 0 ? ", " : "",
				  k->dot);
	}
	if (rc == SAT_OK)
		rc = sat_arena_copy(&s->c->arena, sat_buf_peek(&out), &ret->s);
	if (rc == SAT_OK)
		ret->kind = SAT_TEXT;
	sat_buf_fini(&out);
	return rc;
}

enum {
	P_AT,
	P_WHO,
	P_DOT,
	P_WHAT,
	P_FIELD,
	P_VALUE,
	P_BEFORE,
	P_SEEN,
	P_NOTE,
	P_COUNT
};

static int print_line(struct story *s, struct sat_out *out,
		      struct sat_out_column *columns, const struct line *l)
{
	const char *field = l->col == NULL ? NULL
			    : s->c->json   ? l->col->name
					   : l->col->label.text[s->c->lang];
	enum sat_out_kind kind =
		l->col == NULL ? SAT_OUT_TEXT : sat_out_kind_of(l->col);
	struct sat_value row[P_COUNT] = {
		[P_AT] = l->at_ms == 0 ? sat_value_null()
				       : sat_value_int(l->at_ms),
		[P_WHO] = sat_value_text(sat_slice_str(l->who)),
		[P_DOT] = sat_value_text(sat_slice_str(l->dot)),
		[P_WHAT] =
			sat_value_text(sat_slice_str(what_word(s->c, l->what))),
		[P_FIELD] = field == NULL
				    ? sat_value_null()
				    : sat_value_text(sat_slice_str(field)),
		[P_VALUE] = l->value,
		[P_BEFORE] = l->before,
		[P_NOTE] = sat_value_text(sat_slice_str(l->note)),
	};

	/* one element of a set is told at a time */
	if (kind == SAT_OUT_SET && l->value.kind == SAT_TEXT &&
	    (l->value.s.len == 0 || l->value.s.ptr[0] != '['))
		kind = SAT_OUT_TEXT;
	columns[P_VALUE].kind = columns[P_BEFORE].kind = kind;
	columns[P_VALUE].enums = columns[P_BEFORE].enums = l->col;
	if (seen_text(s, l, &row[P_SEEN]) != SAT_OK)
		return no_memory(&s->c->err);
	return sat_out_row(out, row, P_COUNT, &s->c->err);
}

static int print_story(struct story *s)
{
	struct sat_cli *c = s->c;
	struct sat_out_column columns[P_COUNT] = {
		{ "at", SAT_TR(c, "Time", "时间"), SAT_OUT_TIME, NULL },
		{ "who", SAT_TR(c, "Who", "谁"), SAT_OUT_TEXT, NULL },
		{ "write", SAT_TR(c, "Write", "写入号"), SAT_OUT_TEXT, NULL },
		{ "what", SAT_TR(c, "What", "操作"), SAT_OUT_TEXT, NULL },
		{ "field", SAT_TR(c, "Field", "字段"), SAT_OUT_TEXT, NULL },
		{ "value", SAT_TR(c, "Value", "值"), SAT_OUT_TEXT, NULL },
		{ "before", SAT_TR(c, "Before", "修改前"), SAT_OUT_TEXT, NULL },
		{ "seen", SAT_TR(c, "Had seen", "已看到"), SAT_OUT_TEXT, NULL },
		{ "note", SAT_TR(c, "Outcome", "结果"), SAT_OUT_TEXT, NULL },
	};
	struct sat_out out = { .begun = false };
	int rc;

	if (s->only == NULL) /* of a whole row it would say too much */
		columns[P_SEEN].key = columns[P_SEEN].title = NULL;
	rc = sat_out_begin(&out, c, columns, P_COUNT, 60);
	for (uint32_t i = 0; rc == SAT_OK && i < s->count; i++)
		rc = print_line(s, &out, columns, &s->list[i]);
	sat_out_end(&out);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

int sat_cli_history(struct sat_cli *c)
{
	struct story s = { .c = c };
	int code = gather(&s);

	return code == SAT_CLI_OK ? print_story(&s) : code;
}

int sat_cli_why(struct sat_cli *c)
{
	struct story s = { .c = c };
	const struct sat_table *t = sat_cli_table(c, c->word[0]);
	int code;

	if (t == NULL)
		return SAT_CLI_FAILED;
	s.only = sat_cli_column(t, c->word[2]);
	if (s.only == NULL)
		return sat_cli_fail(
			c, SAT_TR(c, "%s has no field %s", "%s 没有字段 %s"),
			t->name, c->word[2]);
	code = gather(&s);
	if (code == SAT_CLI_OK && !c->json)
		(void)printf("%s (%s): %s\n", s.only->label.text[c->lang],
			     sat_policy_name(s.only->policy),
			     sat_policy_rule(s.only->policy, c->lang));
	return code == SAT_CLI_OK ? print_story(&s) : code;
}
