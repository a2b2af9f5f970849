/* catalogue.h - the tables of the product as data: columns, types, merge
 * policies, roles, scopes, labels. PURE structs; the JSON loader is
 * proto/catalogue_load.h. Nothing in the engine names a business table.
 *
 * A catalogue is immutable once built and shared by reference; it owns every
 * pointer in it.
 */
#ifndef SAT_CATALOGUE_H
#define SAT_CATALOGUE_H

#include "common/value.h"

enum sat_type {
	SAT_TYPE_REF, /* id of a row of ref_table */
	SAT_TYPE_TEXT,
	SAT_TYPE_INT,
	SAT_TYPE_REAL,
	SAT_TYPE_BOOL,
	SAT_TYPE_MONEY,
	SAT_TYPE_TIME,
	SAT_TYPE_DATE,
	SAT_TYPE_ENUM,
	SAT_TYPE_SET,
	SAT_TYPE_COUNTER,
	SAT_TYPE_GEO,
	SAT_TYPE_JSON,
	SAT_TYPE_BLOBREF,
	SAT_TYPE_COUNT
};

enum sat_policy {
	SAT_POLICY_LWW,
	SAT_POLICY_KEEP,
	SAT_POLICY_ORDERED,
	SAT_POLICY_COUNTER,
	SAT_POLICY_SET,
	SAT_POLICY_MAX,
	SAT_POLICY_MIN,
	SAT_POLICY_FIRST,
	SAT_POLICY_COUNT
};

enum sat_role {
	SAT_ROLE_REP,
	SAT_ROLE_MANAGER,
	SAT_ROLE_HQ,
	SAT_ROLE_SERVICE,
	SAT_ROLE_ADMIN,
	SAT_ROLE_SERVER, /* the server itself; writes derived tables */
	SAT_ROLE_COUNT
};
#define SAT_ROLE_BIT(role) (1u << (role))

enum sat_lang { SAT_LANG_EN, SAT_LANG_ZH, SAT_LANG_COUNT };

struct sat_label {
	const char *text[SAT_LANG_COUNT]; /* UTF-8, never NULL */
};

struct sat_enum_value {
	const char *name; /* what is stored                              */
	struct sat_label label;
	int32_t rank;    /* policy `ordered`: further is larger         */
	bool terminal;   /* ordered: ranks above every non-terminal one */
	int32_t percent; /* probability of a stage, -1 when not given  */
};

/* What fills a column that an insert left NULL. */
enum sat_default {
	SAT_DEFAULT_NONE,
	SAT_DEFAULT_VALUE,       /* column->default_value            */
	SAT_DEFAULT_NOW,         /* time of the insert, ms UTC       */
	SAT_DEFAULT_TODAY,       /* date of the insert               */
	SAT_DEFAULT_AUTHOR,      /* the author's user id             */
	SAT_DEFAULT_AUTHOR_HOME, /* the author's home territory's id */
};

struct sat_column {
	uint16_t no;      /* number on the wire, never reused within a table */
	const char *name; /* [a-z][a-z0-9_]*, at most 40 bytes               */
	enum sat_type type;
	enum sat_policy policy;
	uint32_t write; /* SAT_ROLE_BIT mask: who may change it */
	uint32_t read;  /* SAT_ROLE_BIT mask: who receives it   */
	bool required;
	enum sat_default def;
	struct sat_value default_value;
	bool has_min, has_max;
	int64_t min, max;   /* int, money, time; real compares. Sums of a
			       counter cannot be bounded              */
	uint32_t max_bytes; /* text, json, one element of a set: default
			       65,536, at most 1 MiB                  */
	uint16_t ref_table; /* index in the catalogue's tables; type ref  */
	const struct sat_enum_value *values;
	uint16_t value_count;
	struct sat_label label;
};

enum sat_scope_kind {
	SAT_SCOPE_GLOBAL, /* scope 0: everyone                               */
	SAT_SCOPE_COLUMN, /* a ref(territory) column                         */
	SAT_SCOPE_SET,    /* a set column of territory ids (UUID text)       */
	SAT_SCOPE_VIA,    /* the scopes of the row a ref column points to    */
	SAT_SCOPE_ROW,    /* the scopes of row (column: table name, column2:
			     id text) - the conflict table                   */
};

struct sat_scope_source {
	enum sat_scope_kind kind;
	uint16_t column, column2; /* indexes in the table's columns */
};

struct sat_index {
	const uint16_t *columns; /* indexes in the table's columns */
	uint16_t column_count;
	bool desc_last;
};

/* ---- figures: what the server computes from other tables ----------------- */

enum {
	SAT_ROLLUP_FALLBACKS = 4,
	SAT_ROLLUP_ID = UINT16_MAX,
	SAT_HISTORY_MAX = 4096,
};

/* One column of a roll-up's key, from a row of a source table. */
enum sat_rollup_key_kind {
	SAT_KEY_COLUMN, /* as it is                                     */
	SAT_KEY_MONTH,  /* '2026-11' of the first that is not NULL      */
	SAT_KEY_DAY,    /* the same, '2026-11-21'; times by UTC         */
};
struct sat_rollup_key {
	enum sat_rollup_key_kind kind;
	/* indexes in the source's columns, SAT_ROLLUP_ID: the time in the id
	 * when it is a UUIDv7 */
	uint16_t columns[SAT_ROLLUP_FALLBACKS];
	uint16_t column_count;
};

enum sat_rollup_sum_kind {
	SAT_SUM_ROWS,    /* 1 per row                                   */
	SAT_SUM_PRESENT, /* 1 per row in which `column` is not NULL     */
	SAT_SUM_VALUE,   /* `column`, times the percent of `percent`    */
};
struct sat_rollup_sum {
	uint16_t measure; /* index in the roll-up's measures             */
	enum sat_rollup_sum_kind kind;
	uint16_t column;
	int16_t percent; /* enum column of the source, -1: as it is.
			    Rounded per row, half up                     */
};

/* Rows of one table that count in a roll-up. */
struct sat_rollup_source {
	uint16_t table;
	int16_t filter; /* enum column that must hold one of `accepted`,
			   -1: every row                                 */
	const char *const *accepted;
	uint16_t accepted_count;
	const struct sat_rollup_key *keys; /* one per key column           */
	const struct sat_rollup_sum *sums;
	uint16_t sum_count;
};

/* Each column of a roll-up's table is in its key or a measure. */
struct sat_rollup {
	bool all_levels;      /* for every node above a row's own, too     */
	const uint16_t *keys; /* columns; the first one is the territory   */
	uint16_t key_count;
	const uint16_t *measures;
	uint16_t measure_count;
	const struct sat_rollup_source *sources;
	uint16_t source_count;
};

/* One row for every change of an enum column of another table, at most
 * SAT_HISTORY_MAX for a row of it. Columns of the changes' table; `began` and
 * `ended` of the other one, -1: none. */
struct sat_history {
	uint16_t table, watched;
	uint16_t row, from, to, at;
	int16_t by, days;
	int16_t began, ended;
};

struct sat_table {
	uint16_t no;      /* number on the wire, never reused */
	uint16_t index;   /* position in the catalogue        */
	const char *name; /* [a-z][a-z0-9_]*                  */
	struct sat_label label;
	const struct sat_column *columns; /* sorted by no; `id` is not here */
	uint16_t column_count;
	const struct sat_scope_source *scopes;
	uint16_t scope_count;
	const struct sat_index *indexes;
	uint16_t index_count;
	uint32_t insert, remove; /* SAT_ROLE_BIT masks                     */
	bool append_only;
	bool derived;      /* only the server writes                       */
	int16_t move_with; /* column index of the ref(account) whose move
			      rewrites this row's territory, -1 for none   */
	int16_t territory; /* column index of the row's own territory, -1  */
	const struct sat_rollup *rollup;   /* derived tables: how, or NULL */
	const struct sat_history *history; /* the same                     */
};

struct sat_catalogue {
	const char *name;
	uint32_t version;
	const struct sat_table *tables; /* sorted by no */
	uint16_t table_count;
	struct sat_label role_label[SAT_ROLE_COUNT];
	void *storage; /* owned by the loader */
};

const char *sat_type_name(enum sat_type t);
const char *sat_policy_name(enum sat_policy p);
/* What decides between writes of a field, as a sentence. */
const char *sat_policy_rule(enum sat_policy p, enum sat_lang lang);
const char *sat_role_name(enum sat_role r);
/* The role of that name, SAT_ROLE_COUNT when there is none. */
enum sat_role sat_role_of(struct sat_slice name);

/* NULL when there is none. */
const struct sat_table *sat_catalogue_table(const struct sat_catalogue *c,
					    struct sat_slice name);
const struct sat_table *sat_catalogue_table_no(const struct sat_catalogue *c,
					       uint32_t no);
/* Index in t->columns, -1 when there is none. */
int sat_table_column(const struct sat_table *t, struct sat_slice name);
int sat_table_column_no(const struct sat_table *t, uint32_t no);
/* Does a row live under the one that this column (index) refers to: take its
 * scopes from it, or move with it? */
bool sat_column_is_parent(const struct sat_table *t, int column);

/* NULL when v is not the name of one of the column's values. */
const struct sat_enum_value *sat_column_enum(const struct sat_column *c,
					     struct sat_slice v);

/* Is v acceptable in column c: kind, range, length, enum value, UTF-8, date
 * and geo form, size of ids? NULL is always acceptable here (`required` is
 * judged on the whole row). For a set, v is one element. On failure *ret_why
 * is a static English phrase such as "is not one of the allowed values". */
bool sat_column_accepts(const struct sat_column *c, const struct sat_value *v,
			const char **ret_why);

#endif
