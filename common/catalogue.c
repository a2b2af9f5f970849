#include "common/catalogue.h"

#include "common/text.h"

#include <math.h>

const char *sat_type_name(enum sat_type t)
{
	static const char *const names[SAT_TYPE_COUNT] = {
		[SAT_TYPE_REF] = "ref",         [SAT_TYPE_TEXT] = "text",
		[SAT_TYPE_INT] = "int",         [SAT_TYPE_REAL] = "real",
		[SAT_TYPE_BOOL] = "bool",       [SAT_TYPE_MONEY] = "money",
		[SAT_TYPE_TIME] = "time",       [SAT_TYPE_DATE] = "date",
		[SAT_TYPE_ENUM] = "enum",       [SAT_TYPE_SET] = "set",
		[SAT_TYPE_COUNTER] = "counter", [SAT_TYPE_GEO] = "geo",
		[SAT_TYPE_JSON] = "json",       [SAT_TYPE_BLOBREF] = "blobref",
	};

	SAT_ASSERT((unsigned)t < SAT_TYPE_COUNT);
	return names[t];
}

const char *sat_policy_name(enum sat_policy p)
{
	static const char *const names[SAT_POLICY_COUNT] = {
		[SAT_POLICY_LWW] = "lww",
		[SAT_POLICY_KEEP] = "keep",
		[SAT_POLICY_ORDERED] = "ordered",
		[SAT_POLICY_COUNTER] = "counter",
		[SAT_POLICY_SET] = "set",
		[SAT_POLICY_MAX] = "max",
		[SAT_POLICY_MIN] = "min",
		[SAT_POLICY_FIRST] = "first",
	};

	SAT_ASSERT((unsigned)p < SAT_POLICY_COUNT);
	return names[p];
}

const char *sat_policy_rule(enum sat_policy p, enum sat_lang lang)
{
	static const char *const rules[SAT_POLICY_COUNT][SAT_LANG_COUNT] = {
		[SAT_POLICY_LWW] = { "the latest write stands; one that it had "
				     "not seen is kept in the ledger",
				     "以最新写入为准；其未看到的写入保存在冲突"
				     "记录中" },
		[SAT_POLICY_KEEP] = { "values written at the same time are all "
				      "kept until somebody chooses",
				      "同时写入的值全部保留，等待人工选择" },
		[SAT_POLICY_ORDERED] = { "of values written at the same time "
					 "the furthest state is shown",
					 "同时写入时显示进展最远的状态" },
		[SAT_POLICY_COUNTER] = { "everybody's additions are added up",
					 "所有人的增减累加" },
		[SAT_POLICY_SET] = { "what anybody adds is in, unless somebody "
				     "who had seen it took it out",
				     "任何人添加的都保留，除非看到它的人将其"
				     "移除" },
		[SAT_POLICY_MAX] = { "the largest value ever written stands",
				     "以写入过的最大值为准" },
		[SAT_POLICY_MIN] = { "the smallest value ever written stands",
				     "以写入过的最小值为准" },
		[SAT_POLICY_FIRST] = { "the first write stands",
				       "以最早的写入为准" },
	};

	return p < SAT_POLICY_COUNT ? rules[p][lang] : "?";
}

const char *sat_role_name(enum sat_role r)
{
	static const char *const names[SAT_ROLE_COUNT] = {
		[SAT_ROLE_REP] = "rep",     [SAT_ROLE_MANAGER] = "manager",
		[SAT_ROLE_HQ] = "hq",       [SAT_ROLE_SERVICE] = "service",
		[SAT_ROLE_ADMIN] = "admin", [SAT_ROLE_SERVER] = "server",
	};

	SAT_ASSERT((unsigned)r < SAT_ROLE_COUNT);
	return names[r];
}

enum sat_role sat_role_of(struct sat_slice name)
{
	for (int r = 0; r < SAT_ROLE_COUNT; r++) {
		const char *known = sat_role_name((enum sat_role)r);

		if (sat_slice_equal(sat_slice_str(known), name))
			return (enum sat_role)r;
	}
	return SAT_ROLE_COUNT;
}

const struct sat_table *sat_catalogue_table(const struct sat_catalogue *c,
					    struct sat_slice name)
{
	for (uint16_t i = 0; i < c->table_count; i++) {
		if (sat_slice_equal(sat_slice_str(c->tables[i].name), name))
			return &c->tables[i];
	}
	return NULL;
}

const struct sat_table *sat_catalogue_table_no(const struct sat_catalogue *c,
					       uint32_t no)
{
	uint16_t low = 0, high = c->table_count;

	while (low < high) {
		uint16_t middle = (uint16_t)(low + (high - low) / 2);

		if (c->tables[middle].no == no)
			return &c->tables[middle];
		if (c->tables[middle].no < no)
			low = (uint16_t)(middle + 1);
		else
			high = middle;
	}
	return NULL;
}

int sat_table_column(const struct sat_table *t, struct sat_slice name)
{
	for (int i = 0; i < t->column_count; i++) {
		if (sat_slice_equal(sat_slice_str(t->columns[i].name), name))
			return i;
	}
	return -1;
}

bool sat_column_is_parent(const struct sat_table *t, int column)
{
	if (column == t->move_with)
		return true;
	for (uint16_t i = 0; i < t->scope_count; i++) {
		if (t->scopes[i].kind == SAT_SCOPE_VIA &&
		    (int)t->scopes[i].column == column)
			return true;
	}
	return false;
}

int sat_table_column_no(const struct sat_table *t, uint32_t no)
{
	int low = 0, high = t->column_count;

	while (low < high) {
		int middle = low + (high - low) / 2;

		if (t->columns[middle].no == no)
			return middle;
		if (t->columns[middle].no < no)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

const struct sat_enum_value *sat_column_enum(const struct sat_column *c,
					     struct sat_slice v)
{
	for (uint16_t i = 0; i < c->value_count; i++) {
		if (sat_slice_equal(sat_slice_str(c->values[i].name), v))
			return &c->values[i];
	}
	return NULL;
}

static enum sat_kind kind_of(enum sat_type t)
{
	switch (t) {
	case SAT_TYPE_REF:
	case SAT_TYPE_BLOBREF:
		return SAT_BLOB;
	case SAT_TYPE_INT:
	case SAT_TYPE_BOOL:
	case SAT_TYPE_MONEY:
	case SAT_TYPE_TIME:
	case SAT_TYPE_COUNTER:
		return SAT_INT;
	case SAT_TYPE_REAL:
		return SAT_REAL;
	default:
		return SAT_TEXT;
	}
}

/* NULL when fine, else why not. */
static const char *text_fault(const struct sat_column *c, struct sat_slice s)
{
	if (s.len > c->max_bytes)
		return "is too long";
	if (!sat_utf8_valid(s))
		return "is not UTF-8 text without NUL";
	if (c->type == SAT_TYPE_JSON && !sat_json_valid(s))
		return "is not JSON";
	return NULL;
}

static const char *range_fault(bool below, bool above)
{
	if (below)
		return "is below the smallest allowed value";
	return above ? "is above the largest allowed value" : NULL;
}

static const char *int_fault(const struct sat_column *c, int64_t i)
{
	return range_fault(c->has_min && i < c->min, c->has_max && i > c->max);
}

static const char *real_fault(const struct sat_column *c, double r)
{
	if (!isfinite(r))
		return "is not a finite number";
	return range_fault(c->has_min && r < (double)c->min,
			   c->has_max && r > (double)c->max);
}

static const char *fault_of(const struct sat_column *c,
			    const struct sat_value *v)
{
	switch (c->type) {
	case SAT_TYPE_REF:
		return v->s.len == 16 ? NULL : "is not an id";
	case SAT_TYPE_BLOBREF:
		return v->s.len == 32 ? NULL : "is not a SHA-256 hash";
	case SAT_TYPE_TEXT:
	case SAT_TYPE_SET:
	case SAT_TYPE_JSON:
		return text_fault(c, v->s);
	case SAT_TYPE_BOOL:
		return v->i == 0 || v->i == 1 ? NULL : "is neither 0 nor 1";
	case SAT_TYPE_REAL:
		return real_fault(c, v->r);
	case SAT_TYPE_DATE:
		return sat_date_valid(v->s) ? NULL : "is not a date YYYY-MM-DD";
	case SAT_TYPE_ENUM:
		return sat_column_enum(c, v->s) != NULL
			       ? NULL
			       : "is not one of the allowed values";
	case SAT_TYPE_GEO:
		return sat_geo_valid(v->s)
			       ? NULL
			       : "is not a place LAT,LON with 7 decimals each";
	default:
		return int_fault(c, v->i);
	}
}

static const char *kind_fault(enum sat_type t)
{
	switch (kind_of(t)) {
	case SAT_INT:
		return "is not a whole number";
	case SAT_REAL:
		return "is not a number";
	case SAT_BLOB:
		return t == SAT_TYPE_REF ? "is not an id"
					 : "is not a SHA-256 hash";
	default:
		return "is not text";
	}
}

bool sat_column_accepts(const struct sat_column *c, const struct sat_value *v,
			const char **ret_why)
{
	const char *fault;

	if (v->kind == SAT_NULL)
		return true;
	fault = v->kind == kind_of(c->type) ? fault_of(c, v)
					    : kind_fault(c->type);
	if (fault == NULL)
		return true;
	*ret_why = fault;
	return false;
}
