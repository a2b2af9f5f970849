/* The SQL of reports. The only place that names business tables for them.
 *
 * A report is: facts (one row per deal, visit or account, with the columns
 * groups are made of) x one way of grouping. Both are fixed texts; what comes
 * from the catalogue (names, ranks and percents of stages) is bound.
 */
#include "server/store/report.h"
#include "server/store/sqlite_store.h"

#include <string.h>

#include <sqlite3.h>

enum { STAGES_MAX = 32, STAGE_ARGS = 5 };

static const char *const by_names[SAT_BY_COUNT] = {
	[SAT_BY_TERRITORY] = "territory", [SAT_BY_REGION] = "region",
	[SAT_BY_MANAGER] = "manager",     [SAT_BY_REP] = "rep",
	[SAT_BY_STAGE] = "stage",         [SAT_BY_PRODUCT] = "product",
	[SAT_BY_MONTH] = "month",         [SAT_BY_QUARTER] = "quarter",
};

bool sat_report_of(struct sat_slice word, enum sat_report *ret)
{
	bool pipeline = sat_slice_equal(word, sat_slice_str("pipeline"));

	if (!pipeline && !sat_slice_equal(word, sat_slice_str("activity")))
		return false;
	*ret = pipeline ? SAT_REPORT_PIPELINE : SAT_REPORT_ACTIVITY;
	return true;
}

bool sat_report_by_of(struct sat_slice word, enum sat_report_by *ret)
{
	for (int i = 0; i < SAT_BY_COUNT; i++) {
		if (sat_slice_equal(word, sat_slice_str(by_names[i]))) {
			*ret = (enum sat_report_by)i;
			return true;
		}
	}
	return false;
}

const char *sat_report_by_name(enum sat_report_by by)
{
	SAT_ASSERT((unsigned)by < SAT_BY_COUNT);
	return by_names[by];
}

bool sat_report_money(const char *column)
{
	return strcmp(column, "amount") == 0 ||
	       strcmp(column, "weighted") == 0 ||
	       strcmp(column, "open_amount") == 0 ||
	       strcmp(column, "won_amount") == 0;
}

/* ---- the parts ----------------------------------------------------------- */

/* Every territory with those above it; the depth also ends a circle. */
static const char up_sql[] =
	"up(t, a, depth) AS (SELECT id, id, 0 FROM territory UNION ALL"
	" SELECT up.t, p.parent_id, up.depth + 1 FROM up"
	" JOIN territory p ON p.id = up.a"
	" WHERE p.parent_id IS NOT NULL AND up.depth < 32),";

/* min() picks the row that the other columns come from. */
static const char region_sql[] =
	"above(t, g, depth) AS MATERIALIZED (SELECT up.t, up.a, min(up.depth)"
	" FROM up JOIN territory r ON r.id = up.a"
	" WHERE r.level = 'region' GROUP BY up.t),";

static const char manager_sql[] =
	"home(t, g, first) AS MATERIALIZED (SELECT territory_id, id,"
	" min(login) FROM user WHERE role = 'manager' AND _flags & 2 = 0"
	" GROUP BY territory_id),"
	"above(t, g, depth) AS MATERIALIZED (SELECT up.t,"
	" coalesce(r.manager_id, home.g), min(up.depth)"
	" FROM up JOIN territory r ON r.id = up.a"
	" LEFT JOIN home ON home.t = r.id"
	" WHERE coalesce(r.manager_id, home.g) IS NOT NULL GROUP BY up.t),";

/* One fact per deal. */
static const char pipeline_facts[] =
	"f(t, u, p, stage, day, deals, amount, weighted, open, open_amount,"
	" won, won_amount, lost) AS (SELECT o.territory_id, o.owner_id,"
	" o.product_id, o.stage, coalesce(o.closed_at, o.expect_close), 1,"
	" coalesce(o.amount, 0),"
	" (coalesce(o.amount, 0) * coalesce(s.percent, 0) + 50) / 100,"
	" coalesce(s.kind, 0) = 0,"
	" iif(coalesce(s.kind, 0) = 0, coalesce(o.amount, 0), 0),"
	" coalesce(s.kind, 0) = 1,"
	" iif(s.kind = 1, coalesce(o.amount, 0), 0), coalesce(s.kind, 0) = 2"
	" FROM opportunity o LEFT JOIN stages s ON s.name = o.stage"
	" WHERE o._flags & 2 = 0)";

static const char pipeline_sums[] =
	"sum(f.deals) AS deals, sum(f.amount) AS amount,"
	" sum(f.weighted) AS weighted, sum(f.open) AS open,"
	" sum(f.open_amount) AS open_amount, sum(f.won) AS won,"
	" sum(f.won_amount) AS won_amount, sum(f.lost) AS lost";

/* One fact per visit that took place, per account, per deal that was won. */
static const char activity_facts[] =
	"f(t, u, day, visits, account, new_accounts, won, won_amount) AS ("
	"SELECT territory_id, user_id,"
	" strftime('%Y-%m-%d', started_at / 1000, 'unixepoch'), 1, account_id,"
	" 0, 0, 0 FROM visit WHERE _flags & 2 = 0"
	" AND state NOT IN ('planned', 'missed', 'cancelled')"
	" UNION ALL SELECT territory_id, owner_id, strftime('%Y-%m-%d',"
	" coalesce(first_contact_at, sat_id_ms(id)) / 1000, 'unixepoch'),"
	" 0, NULL, 1, 0, 0 FROM account WHERE _flags & 2 = 0"
	" UNION ALL SELECT o.territory_id, o.owner_id,"
	" coalesce(o.closed_at, o.expect_close), 0, NULL, 0, 1,"
	" coalesce(o.amount, 0) FROM opportunity o"
	" JOIN stages s ON s.name = o.stage AND s.kind = 1"
	" WHERE o._flags & 2 = 0)";

static const char activity_sums[] =
	"sum(f.visits) AS visits, count(DISTINCT f.account) AS accounts,"
	" sum(f.new_accounts) AS new_accounts, sum(f.won) AS won,"
	" sum(f.won_amount) AS won_amount";

/* How facts are grouped: what finds the group, its key, name and identity. */
static const struct {
	const char *with, *join, *key, *name, *group, *order;
} groupings[SAT_BY_COUNT] = {
	[SAT_BY_TERRITORY] = { "", "LEFT JOIN territory g ON g.id = f.t",
			       "g.code", "g.name", "g.id", "1" },
	[SAT_BY_REGION] = { region_sql,
			    "LEFT JOIN above a ON a.t = f.t"
			    " LEFT JOIN territory g ON g.id = a.g",
			    "g.code", "g.name", "g.id", "1" },
	[SAT_BY_MANAGER] = { manager_sql,
			     "LEFT JOIN above a ON a.t = f.t"
			     " LEFT JOIN user g ON g.id = a.g",
			     "g.login", "g.name", "g.id", "1" },
	[SAT_BY_REP] = { "", "LEFT JOIN user g ON g.id = f.u", "g.login",
			 "g.name", "g.id", "1" },
	[SAT_BY_STAGE] = { "", "LEFT JOIN stages g ON g.name = f.stage",
			   "f.stage", "g.label", "f.stage", "g.rank" },
	[SAT_BY_PRODUCT] = { "", "LEFT JOIN product g ON g.id = f.p",
			     "coalesce(g.code, g.name)", "g.name", "g.id",
			     "1" },
	[SAT_BY_MONTH] = { "", "", "substr(f.day, 1, 7)", "substr(f.day, 1, 7)",
			   "1", "1" },
	[SAT_BY_QUARTER] = { "", "",
			     "substr(f.day, 1, 5) || 'Q' ||"
			     " ((substr(f.day, 6, 2) + 2) / 3)",
			     "substr(f.day, 1, 5) || 'Q' ||"
			     " ((substr(f.day, 6, 2) + 2) / 3)",
			     "1", "1" },
};

/* ---- putting them together ----------------------------------------------- */

/* The time a UUIDv7 was made; NULL for any other id. */
static void on_id_ms(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	const uint8_t *id = sqlite3_value_blob(argv[0]);
	int64_t ms = 0;

	(void)argc;
	if (id == NULL || sqlite3_value_bytes(argv[0]) != 16 ||
	    id[6] >> 4 != 7) {
		sqlite3_result_null(ctx);
		return;
	}
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id[i];
	sqlite3_result_int64(ctx, ms);
}

/* The stages of a deal in the catalogue; NULL when it has no such tables. */
static const struct sat_column *find_stages(const struct sat_catalogue *c)
{
	static const char *const needed[] = {
		"territory", "user", "account", "visit", "product",
	};
	const struct sat_table *t;
	int stage;

	if (c == NULL)
		return NULL;
	for (size_t i = 0; i < SAT_COUNT_OF(needed); i++) {
		if (sat_catalogue_table(c, sat_slice_str(needed[i])) == NULL)
			return NULL;
	}
	t = sat_catalogue_table(c, sat_slice_str("opportunity"));
	stage = t == NULL ? -1 : sat_table_column(t, sat_slice_str("stage"));
	if (stage < 0 || t->columns[stage].value_count == 0 ||
	    t->columns[stage].value_count > STAGES_MAX)
		return NULL;
	return &t->columns[stage];
}

/* kind: 1 won (an end with 100 %), 2 lost (any other end), 0 open. */
static uint32_t stage_args(const struct sat_column *c, struct sat_value *out)
{
	uint32_t n = 0;

	for (int i = 0; i < c->value_count; i++) {
		const struct sat_enum_value *v = &c->values[i];
		int kind = !v->terminal ? 0 : v->percent == 100 ? 1 : 2;

		out[n++] = sat_value_text(sat_slice_str(v->name));
		out[n++] = sat_value_int(v->percent < 0 ? 0 : v->percent);
		out[n++] = sat_value_int(
			v->terminal ? INT64_C(1) << 32 | v->rank : v->rank);
		out[n++] = sat_value_int(kind);
		out[n++] = sat_value_text(
			sat_slice_str(v->label.text[SAT_LANG_EN]));
	}
	return n;
}

static int add_stages(struct sat_buf *sql, int count, struct sat_err *err)
{
	int rc;

	rc = sat_sql_add(sql, err,
			 "stages(name, percent, rank, kind, label) AS (VALUES");
	for (int i = 0; rc == SAT_OK && i < count; i++)
		rc = sat_sql_add(sql, err, "%s(?, ?, ?, ?, ?)",
				 i == 0 ? "" : ", ");
	return rc == SAT_OK ? sat_sql_add(sql, err, "),") : rc;
}

static int add_text(struct sat_buf *sql, const char *text, struct sat_err *err)
{
	int rc = sat_buf_append(sql, text, strlen(text));

	return rc == SAT_OK ? SAT_OK
			    : sat_err_set(err, rc, 0, "report",
					  "statement too long");
}

static int build(struct sat_buf *sql, enum sat_report report,
		 enum sat_report_by by, int stages, struct sat_err *err)
{
	bool pipeline = report == SAT_REPORT_PIPELINE;
	int rc;

	rc = add_text(sql, "WITH RECURSIVE ", err);
	if (rc == SAT_OK)
		rc = add_stages(sql, stages, err);
	if (rc == SAT_OK && groupings[by].with[0] != '\0')
		rc = add_text(sql, up_sql, err);
	if (rc == SAT_OK)
		rc = add_text(sql, groupings[by].with, err);
	if (rc == SAT_OK)
		rc = add_text(sql, pipeline ? pipeline_facts : activity_facts,
			      err);
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err, " SELECT %s AS \"%s\", %s AS name, ",
				 groupings[by].key, by_names[by],
				 groupings[by].name);
	if (rc == SAT_OK)
		rc = add_text(sql, pipeline ? pipeline_sums : activity_sums,
			      err);
	if (rc == SAT_OK)
		rc = sat_sql_add(sql, err,
				 " FROM f %s GROUP BY %s"
				 " ORDER BY %s NULLS LAST, 1 NULLS LAST, 2",
				 groupings[by].join, groupings[by].group,
				 groupings[by].order);
	return rc;
}

/* Once per handle: defining a function again has every cached statement
 * compiled anew. */
static int add_functions(struct sat_store *s, struct sat_err *err)
{
	const int flags =
		SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
	int code;

	if (s->report_functions)
		return SAT_OK;
	code = sqlite3_create_function_v2(s->db.handle, "sat_id_ms", 1, flags,
					  NULL, on_id_ms, NULL, NULL, NULL);
	if (code != SQLITE_OK)
		return sat_db_fail(&s->db, code, "report", err);
	s->report_functions = true;
	return SAT_OK;
}

int sat_report_run(struct sat_store *s, enum sat_report report,
		   enum sat_report_by by, sat_text_cb cb, void *arg,
		   struct sat_err *err)
{
	const struct sat_column *stages = find_stages(s->catalogue);
	struct sat_value args[STAGES_MAX * STAGE_ARGS];
	struct sat_buf sql;
	const char *text;
	int rc;

	SAT_ASSERT((unsigned)by < SAT_BY_COUNT);
	if (stages == NULL)
		return sat_err_set(err, SAT_E_INVAL, 0, "report",
				   "the catalogue lacks the tables of reports");
	if (report == SAT_REPORT_ACTIVITY &&
	    (by == SAT_BY_STAGE || by == SAT_BY_PRODUCT))
		return sat_err_set(err, SAT_E_INVAL, 0, "report",
				   "activity has no %s: choose territory, "
				   "region, manager, rep, month or quarter",
				   by_names[by]);
	rc = add_functions(s, err);
	if (rc != SAT_OK)
		return rc;
	sat_buf_init(&sql, SAT_STORE_SQL_MAX);
	rc = build(&sql, report, by, stages->value_count, err);
	if (rc == SAT_OK)
		rc = sat_sql_end(&sql, &text, err);
	if (rc == SAT_OK)
		rc = sat_store_query(s, text, args, stage_args(stages, args),
				     cb, arg, err);
	sat_buf_fini(&sql);
	return rc;
}
