/* The lists that a person looks at: accounts, visits, deals, tasks, and what is
 * due today. */
#include <string.h>

#include "client/cli/cli.h"

/* "t.COLUMN DIRECTION, t.id", or by id when the catalogue lacks the column. */
static const char *order_by(struct sat_cli *c, const struct sat_table *t,
			    const char *column, const char *direction)
{
	char text[128];
	char *copy;

	if (t == NULL || sat_cli_column(t, column) == NULL)
		return "t.id";
	(void)snprintf(text, sizeof text, "t.%s %s, t.id", column, direction);
	copy = sat_arena_string(&c->arena, sat_slice_str(text));
	return copy == NULL ? "t.id" : copy;
}

int sat_cli_accounts(struct sat_cli *c)
{
	static const char *const shown[] = { "name",     "class",
					     "city",     "phone",
					     "owner_id", "territory_id",
					     "state",    "last_visit_at" };
	static const char *const searched[] = { "name",    "code",  "city",
						"address", "phone", "email",
						"needs",   "tags" };
	const struct sat_table *t = sat_cli_table(c, "account");
	struct sat_list l;

	sat_list_begin(&l, c, t);
	sat_list_by_enum(&l, SAT_OPT_CLASS, "class");
	sat_list_by_enum(&l, SAT_OPT_STATE, "state");
	sat_list_by_row(&l, SAT_OPT_OWNER, "owner_id");
	sat_list_by_row(&l, SAT_OPT_TERRITORY, "territory_id");
	sat_list_search(&l, searched, SAT_COUNT_OF(searched));
	return sat_list_run(&l, shown, SAT_COUNT_OF(shown),
			    order_by(c, t, "name", "ASC"));
}

int sat_cli_visits(struct sat_cli *c)
{
	static const char *const shown[] = { "started_at",  "account_id",
					     "user_id",     "state",
					     "outcome",     "notes",
					     "next_action", "next_at" };
	static const char *const searched[] = { "account_id", "notes",
						"next_action", "user_id" };
	const struct sat_table *t = sat_cli_table(c, "visit");
	struct sat_list l;

	sat_list_begin(&l, c, t);
	l.empty = SAT_TR(c, "(no visit yet; `satchel log-visit` records one)",
			 "（还没有拜访；可用 `satchel log-visit` 记录）");
	sat_list_by_row(&l, SAT_OPT_ACCOUNT, "account_id");
	sat_list_by_row(&l, SAT_OPT_USER, "user_id");
	sat_list_by_row(&l, SAT_OPT_TERRITORY, "territory_id");
	sat_list_by_enum(&l, SAT_OPT_OUTCOME, "outcome");
	sat_list_by_enum(&l, SAT_OPT_STATE, "state");
	sat_list_since(&l, "started_at");
	sat_list_search(&l, searched, SAT_COUNT_OF(searched));
	return sat_list_run(&l, shown, SAT_COUNT_OF(shown),
			    order_by(c, t, "started_at", "DESC"));
}

int sat_cli_deals(struct sat_cli *c)
{
	static const char *const shown[] = { "name",         "account_id",
					     "stage",        "amount",
					     "product_id",   "owner_id",
					     "expect_close", "closed_at" };
	static const char *const searched[] = { "name",       "code",
						"account_id", "product_id",
						"next_step",  "notes" };
	const struct sat_table *t = sat_cli_table(c, "opportunity");
	struct sat_list l;

	sat_list_begin(&l, c, t);
	sat_list_by_row(&l, SAT_OPT_ACCOUNT, "account_id");
	sat_list_by_row(&l, SAT_OPT_OWNER, "owner_id");
	sat_list_by_row(&l, SAT_OPT_TERRITORY, "territory_id");
	sat_list_by_enum(&l, SAT_OPT_STAGE, "stage");
	sat_list_since(&l, "opened_at");
	sat_list_search(&l, searched, SAT_COUNT_OF(searched));
	return sat_list_run(&l, shown, SAT_COUNT_OF(shown),
			    order_by(c, t, "expect_close", "ASC"));
}

/* A state that is still to be worked on is one that is not terminal. */
static void only_open(struct sat_list *l)
{
	const struct sat_column *state =
		l->table == NULL ? NULL : sat_cli_column(l->table, "state");

	for (uint16_t i = 0; state != NULL && i < state->value_count; i++)
		if (state->values[i].terminal)
			sat_list_where(l, "t.state IS NOT '%s'",
				       state->values[i].name);
}

int sat_cli_tasks(struct sat_cli *c)
{
	static const char *const shown[] = { "due_at",      "kind",
					     "title",       "account_id",
					     "assignee_id", "priority",
					     "state" };
	static const char *const searched[] = { "title", "detail",
						"account_id" };
	const struct sat_table *t = sat_cli_table(c, "task");
	struct sat_list l;

	sat_list_begin(&l, c, t);
	if (c->value[SAT_OPT_ALL] == NULL && c->value[SAT_OPT_STATE] == NULL)
		only_open(&l);
	sat_list_by_row(&l, SAT_OPT_ACCOUNT, "account_id");
	sat_list_by_row(&l, SAT_OPT_USER, "assignee_id");
	sat_list_by_enum(&l, SAT_OPT_STATE, "state");
	sat_list_search(&l, searched, SAT_COUNT_OF(searched));
	return sat_list_run(&l, shown, SAT_COUNT_OF(shown),
			    order_by(c, t, "due_at", "ASC"));
}
