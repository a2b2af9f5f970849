#include "server/rollup/plan.h"

#include <string.h>

#include "common/meta.h"
#include "common/text.h"

enum {
	PART_MAX = 64,  /* one column of a key as text: ids, dates, names */
	REST_MAX = 640, /* all but the first */
	MONTH_CHARS = 7,
	DATE_CHARS = 10,
	MEASURES_MAX = 32,
	MARK_BYTES_MAX = 4 * 1024 * 1024,
};

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

/* ---- the plan ------------------------------------------------------------ */

/* Uses of table t; NULL lists: only count them. */
static void uses_of(const struct sat_catalogue *c, const struct sat_table *t,
		    struct sat_rollup_uses *u, bool count_only)
{
	u->rollup_count = u->history_count = 0;
	for (uint16_t i = 0; i < c->table_count; i++) {
		const struct sat_table *f = &c->tables[i];
		uint16_t sources =
			f->rollup == NULL ? 0 : f->rollup->source_count;

		if (f->history != NULL && f->history->table == t->index) {
			if (!count_only)
				u->histories[u->history_count] = f;
			u->history_count++;
		}
		for (uint16_t k = 0; k < sources; k++) {
			if (f->rollup->sources[k].table != t->index)
				continue;
			if (!count_only)
				u->rollups[u->rollup_count] =
					(struct sat_rollup_use){
						f, &f->rollup->sources[k]
					};
			u->rollup_count++;
		}
	}
}

/* ---- the mark ------------------------------------------------------------ */

static int put_number(struct sat_buf *b, int64_t v)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
	return sat_buf_append(b, bytes, sizeof bytes);
}

static int put_name(struct sat_buf *b, const char *name)
{
	return sat_buf_append(b, name, strlen(name) + 1);
}

static int put_columns(struct sat_buf *b, const struct sat_table *t,
		       const uint16_t *columns, uint16_t count)
{
	int rc = put_number(b, count);

	for (uint16_t i = 0; rc == SAT_OK && i < count; i++)
		rc = put_number(b, columns[i] == SAT_ROLLUP_ID
					   ? 0
					   : t->columns[columns[i]].no);
	return rc;
}

static int put_sum(struct sat_buf *b, const struct sat_table *t,
		   const struct sat_rollup_sum *s)
{
	const struct sat_column *p =
		s->percent < 0 ? NULL : &t->columns[s->percent];
	int rc = put_number(b, s->measure);

	if (rc == SAT_OK)
		rc = put_number(b, s->kind);
	if (rc == SAT_OK)
		rc = put_columns(b, t, &s->column, 1);
	for (uint16_t i = 0; rc == SAT_OK && p != NULL && i < p->value_count;
	     i++) {
		rc = put_name(b, p->values[i].name);
		if (rc == SAT_OK)
			rc = put_number(b, p->values[i].percent);
	}
	return rc;
}

static int put_source(struct sat_buf *b, const struct sat_catalogue *c,
		      const struct sat_rollup *u,
		      const struct sat_rollup_source *s)
{
	const struct sat_table *t = &c->tables[s->table];
	uint16_t filter = (uint16_t)s->filter;
	int rc = put_number(b, t->no);

	if (rc == SAT_OK && s->filter >= 0)
		rc = put_columns(b, t, &filter, 1);
	for (uint16_t i = 0; rc == SAT_OK && i < s->accepted_count; i++)
		rc = put_name(b, s->accepted[i]);
	for (uint16_t i = 0; rc == SAT_OK && i < u->key_count; i++) {
		rc = put_number(b, s->keys[i].kind);
		if (rc == SAT_OK)
			rc = put_columns(b, t, s->keys[i].columns,
					 s->keys[i].column_count);
	}
	for (uint16_t i = 0; rc == SAT_OK && i < s->sum_count; i++)
		rc = put_sum(b, t, &s->sums[i]);
	return rc;
}

static int make_mark(const struct sat_catalogue *c, struct sat_id *ret)
{
	struct sat_buf b;
	int rc = SAT_OK;

	sat_buf_init(&b, MARK_BYTES_MAX);
	for (uint16_t i = 0; rc == SAT_OK && i < c->table_count; i++) {
		const struct sat_table *t = &c->tables[i];
		const struct sat_rollup *u = t->rollup;

		if (u == NULL)
			continue;
		rc = put_number(&b, t->no);
		if (rc == SAT_OK)
			rc = put_number(&b, u->all_levels);
		if (rc == SAT_OK)
			rc = put_columns(&b, t, u->keys, u->key_count);
		if (rc == SAT_OK)
			rc = put_columns(&b, t, u->measures, u->measure_count);
		for (uint16_t k = 0; rc == SAT_OK && k < u->source_count; k++)
			rc = put_source(&b, c, u, &u->sources[k]);
	}
	if (rc == SAT_OK)
		*ret = sat_id_derived(sat_buf_peek(&b));
	sat_buf_fini(&b);
	return rc == SAT_OK ? SAT_OK : SAT_E_NOMEM;
}

int sat_rollups_plan(struct sat_arena *a, const struct sat_catalogue *cat,
		     struct sat_rollups *ret)
{
	struct sat_rollups p = { .cat = cat };

	p.by_table = sat_arena_array(a, cat->table_count, sizeof *p.by_table);
	if (p.by_table == NULL)
		return SAT_E_NOMEM;
	for (uint16_t i = 0; i < cat->table_count; i++) {
		struct sat_rollup_uses *u = &p.by_table[i];

		p.any = p.any || cat->tables[i].rollup != NULL;
		uses_of(cat, &cat->tables[i], u, true);
		u->rollups =
			sat_arena_array(a, u->rollup_count, sizeof *u->rollups);
		u->histories = sat_arena_array(a, u->history_count,
					       sizeof *u->histories);
		if (u->rollups == NULL || u->histories == NULL)
			return SAT_E_NOMEM;
		uses_of(cat, &cat->tables[i], u, false);
	}
	if (make_mark(cat, &p.mark) != SAT_OK)
		return SAT_E_NOMEM;
	*ret = p;
	return SAT_OK;
}

/* ---- keys as text -------------------------------------------------------- */

struct rest {
	char text[REST_MAX];
	size_t len;
};

static void put_part(struct rest *r, const char *text, size_t n)
{
	n = n < PART_MAX ? n : PART_MAX;
	if (r->len + n > sizeof r->text) /* not with keys as the loader has */
		n = sizeof r->text - r->len;
	memcpy(r->text + r->len, text, n);
	r->len += n;
}

static void put_value(struct rest *r, const struct sat_value *v)
{
	char text[SAT_UUID_CHARS + 1];
	struct sat_id id;

	if (v->kind == SAT_TEXT) {
		put_part(r, (const char *)v->s.ptr, v->s.len);
	} else if (v->kind == SAT_BLOB && v->s.len == sizeof id.b) {
		memcpy(id.b, v->s.ptr, sizeof id.b);
		sat_id_format(&id, text);
		put_part(r, text, SAT_UUID_CHARS);
	}
}

static void put_time(struct rest *r, int64_t ms, size_t chars)
{
	int64_t day = ms / DAY_MS - (ms % DAY_MS < 0);
	char text[DATE_CHARS + 1];

	day = day < INT32_MIN ? INT32_MIN : day > INT32_MAX ? INT32_MAX : day;
	sat_date_format((int32_t)day, text);
	put_part(r, text, chars);
}

static bool id_ms(const struct sat_id *id, int64_t *ret)
{
	int64_t ms = 0;

	if (id->b[6] >> 4 != 7)
		return false;
	for (unsigned i = 0; i < 6; i++)
		ms = ms << 8 | id->b[i];
	*ret = ms;
	return true;
}

static void put_dated(struct rest *r, const struct sat_rollup_key *k,
		      const struct sat_id *id, const struct sat_value *values)
{
	size_t chars = k->kind == SAT_KEY_MONTH ? MONTH_CHARS : DATE_CHARS;
	int64_t ms;

	for (uint16_t i = 0; i < k->column_count; i++) {
		const struct sat_value *v;

		if (k->columns[i] == SAT_ROLLUP_ID) {
			if (!id_ms(id, &ms))
				continue;
			put_time(r, ms, chars);
			return;
		}
		v = &values[k->columns[i]];
		if (v->kind == SAT_INT)
			put_time(r, v->i, chars);
		else if (v->kind == SAT_TEXT)
			put_part(r, (const char *)v->s.ptr,
				 v->s.len < chars ? v->s.len : chars);
		else
			continue;
		return;
	}
}

static struct sat_slice rest_slice(const struct rest *r)
{
	return (struct sat_slice){ (const uint8_t *)r->text, r->len };
}

/* ---- counting ------------------------------------------------------------ */

static bool counts(const struct sat_rollup_source *s,
		   const struct sat_value *values)
{
	const struct sat_value *v;

	if (s->filter < 0)
		return true;
	v = &values[s->filter];
	for (uint16_t i = 0; i < s->accepted_count; i++) {
		if (v->kind == SAT_TEXT &&
		    sat_slice_equal(v->s, sat_slice_str(s->accepted[i])))
			return true;
	}
	return false;
}

/* amount * percent / 100, halves away from zero; the product of the largest
 * ones does not fit 64 bits. */
static int64_t percent_of(int64_t amount, int32_t percent)
{
	bool minus = amount < 0;
	uint64_t a = minus ? 0 - (uint64_t)amount : (uint64_t)amount;
	uint64_t p = percent < 0 ? 0 : (uint64_t)percent;
	uint64_t v = a / 100 * p + (a % 100 * p + 50) / 100;

	return (int64_t)(minus ? 0 - v : v);
}

static int64_t summand(const struct sat_table *t,
		       const struct sat_rollup_sum *s,
		       const struct sat_value *values)
{
	const struct sat_value *v = &values[s->column], *p;
	const struct sat_enum_value *e;

	if (s->kind == SAT_SUM_ROWS)
		return 1;
	if (s->kind == SAT_SUM_PRESENT)
		return v->kind != SAT_NULL;
	if (v->kind != SAT_INT)
		return 0;
	if (s->percent < 0)
		return v->i;
	p = &values[s->percent];
	e = p->kind == SAT_TEXT ? sat_column_enum(&t->columns[s->percent], p->s)
				: NULL;
	return e == NULL ? 0 : percent_of(v->i, e->percent);
}

static int count_one(const struct sat_rollup_use *u, const struct sat_table *t,
		     const struct sat_id *id, const struct sat_value *values,
		     bool minus, struct sat_sums *sums)
{
	const struct sat_rollup_source *s = u->source;
	const struct sat_value *home = &values[s->keys[0].columns[0]];
	int64_t add[MEASURES_MAX] = { 0 };
	struct rest rest = { .len = 0 };
	struct sat_id node;
	struct sat_figure *sum;

	if (home->kind != SAT_BLOB || home->s.len != sizeof node.b ||
	    !counts(s, values))
		return SAT_OK;
	memcpy(node.b, home->s.ptr, sizeof node.b);
	for (uint16_t i = 1; i < u->figures->rollup->key_count; i++) {
		if (i > 1)
			put_part(&rest, "/", 1);
		if (s->keys[i].kind == SAT_KEY_COLUMN)
			put_value(&rest, &values[s->keys[i].columns[0]]);
		else
			put_dated(&rest, &s->keys[i], id, values);
	}
	for (uint16_t i = 0; i < s->sum_count; i++)
		add[s->sums[i].measure] = summand(t, &s->sums[i], values);
	sum = sat_sums_at(sums, u->figures, &node, rest_slice(&rest));
	if (sum == NULL)
		return SAT_E_NOMEM;
	sat_figure_add(sum, add, minus);
	return SAT_OK;
}

int sat_rollup_count(const struct sat_rollups *p, const struct sat_table *t,
		     const struct sat_id *id, const struct sat_value *values,
		     bool minus, struct sat_sums *sums)
{
	const struct sat_rollup_uses *u = &p->by_table[t->index];
	int rc = SAT_OK;

	for (uint16_t i = 0; rc == SAT_OK && i < u->rollup_count; i++)
		rc = count_one(&u->rollups[i], t, id, values, minus, sums);
	return rc;
}

int sat_rollup_shown(const struct sat_table *figures,
		     const struct sat_value *values, const struct sat_id *node,
		     bool minus, struct sat_sums *sums, struct sat_figure **ret)
{
	const struct sat_rollup *u = figures->rollup;
	const struct sat_value *own = &values[u->keys[0]];
	int64_t add[MEASURES_MAX] = { 0 };
	struct rest rest = { .len = 0 };
	struct sat_id id;

	*ret = NULL;
	if (own->kind != SAT_BLOB || own->s.len != sizeof id.b)
		return SAT_OK;
	memcpy(id.b, own->s.ptr, sizeof id.b);
	for (uint16_t i = 1; i < u->key_count; i++) {
		if (i > 1)
			put_part(&rest, "/", 1);
		put_value(&rest, &values[u->keys[i]]);
	}
	for (uint16_t i = 0; i < u->measure_count; i++) {
		if (values[u->measures[i]].kind == SAT_INT)
			add[i] = values[u->measures[i]].i;
	}
	*ret = sat_sums_at(sums, figures, node != NULL ? node : &id,
			   rest_slice(&rest));
	if (*ret == NULL)
		return SAT_E_NOMEM;
	sat_figure_add(*ret, add, minus);
	return SAT_OK;
}

/* ---- from a sum to its row ----------------------------------------------- */

struct sat_id sat_rollup_id(const struct sat_figure *s)
{
	char key[REST_MAX + 2 * PART_MAX];
	size_t n = strlen(s->figures->name);

	SAT_ASSERT(n < PART_MAX && s->rest.len <= REST_MAX);
	memcpy(key, s->figures->name, n);
	key[n++] = '/';
	sat_id_format(&s->node, key + n);
	n += SAT_UUID_CHARS;
	key[n++] = '/';
	if (s->rest.len > 0)
		memcpy(key + n, s->rest.ptr, s->rest.len);
	return sat_id_derived(
		(struct sat_slice){ (const uint8_t *)key, n + s->rest.len });
}

static int part_value(const struct sat_column *c, struct sat_slice part,
		      struct sat_arena *a, struct sat_value *ret)
{
	struct sat_id *id;

	*ret = sat_value_null();
	if (part.len == 0)
		return SAT_OK;
	if (c->type != SAT_TYPE_REF) {
		*ret = sat_value_text(part);
		return SAT_OK;
	}
	id = sat_arena_alloc(a, sizeof *id);
	if (id == NULL)
		return SAT_E_NOMEM;
	if (sat_id_parse(part, id))
		*ret = sat_value_id(id);
	return SAT_OK;
}

int sat_rollup_key_values(const struct sat_figure *s, struct sat_arena *a,
			  struct sat_value *ret)
{
	const struct sat_rollup *u = s->figures->rollup;
	struct sat_slice left = s->rest;
	int rc = SAT_OK;

	ret[0] = sat_value_id(&s->node);
	for (uint16_t i = 1; rc == SAT_OK && i < u->key_count; i++) {
		const uint8_t *end =
			left.len == 0 ? NULL : memchr(left.ptr, '/', left.len);
		struct sat_slice part = left;

		if (end != NULL)
			part.len = (size_t)(end - left.ptr);
		rc = part_value(&s->figures->columns[u->keys[i]], part, a,
				&ret[i]);
		if (end == NULL) {
			left.len = 0;
			continue;
		}
		left.ptr = end + 1;
		left.len -= part.len + 1;
	}
	return rc;
}
