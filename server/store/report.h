/* report.h - totals over the whole organisation, and paging through a table.
 *
 * Reports name business tables and columns: that is their job, and
 * report_sqlite.c is the one place where it is done. They read a reader or an
 * idle writer; take a snapshot around several that must agree. Deleted rows
 * do not count. Times count by their UTC day.
 */
#ifndef SAT_REPORT_H
#define SAT_REPORT_H

#include "server/store/store.h"

enum sat_report { SAT_REPORT_PIPELINE, SAT_REPORT_ACTIVITY };

enum sat_report_by {
	SAT_BY_TERRITORY, /* the row's own territory                        */
	SAT_BY_REGION,    /* nearest territory of level region above it     */
	SAT_BY_MANAGER,   /* of the nearest territory above that has one:
			     its manager_id, else the user of role manager
			     whose home it is (first by login)             */
	SAT_BY_REP,       /* owner of a deal or account, author of a visit  */
	SAT_BY_STAGE,     /* pipeline only                                  */
	SAT_BY_PRODUCT,   /* pipeline only                                  */
	SAT_BY_MONTH,     /* 2017-03. A deal's: closed_at, else expect_close */
	SAT_BY_QUARTER,   /* 2017-Q1                                        */
	SAT_BY_COUNT
};

/* The words of the command line; false when there is no such word. */
bool sat_report_of(struct sat_slice word, enum sat_report *ret);
bool sat_report_by_of(struct sat_slice word, enum sat_report_by *ret);
const char *sat_report_by_name(enum sat_report_by by);

/* Is this result column money (minor units)? The other numbers are counts. */
bool sat_report_money(const char *column);

/* One result row per group that has anything, ordered by key (stages by
 * rank), the group of rows that belong nowhere last with a NULL key. Columns:
 *
 *   both      <by>      key: code, login, stage, month ...
 *             name      of the group, in English; the key where it has none
 *   pipeline  deals, amount, weighted, open, open_amount, won, won_amount,
 *             lost: numbers of deals and their amounts; weighted by the
 *             catalogue's percent of each deal's stage, rounded per deal, so
 *             that every total is the sum of its parts
 *   activity  visits (that took place), accounts (different ones visited),
 *             new_accounts (by first_contact_at, else the time in the id),
 *             won, won_amount
 *
 * SAT_E_INVAL with a sentence: activity by stage or product, or the catalogue
 * lacks the tables. Otherwise as sat_store_query. */
int sat_report_run(struct sat_store *s, enum sat_report report,
		   enum sat_report_by by, sat_text_cb cb, void *arg,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Live rows of t with _seq > after in that order, at most `limit` of them.
 * *ret_next: where to go on, 0 at the end. Rows written meanwhile come
 * (again) later; none is missed. */
int sat_export_page(struct sat_store *s, const struct sat_table *t,
		    uint64_t after, uint32_t limit, sat_row_cb cb, void *arg,
		    uint64_t *ret_next, struct sat_err *err) SAT_MUST_CHECK;

/* Quick check of the database file: what is wrong with it in *ret_what, ""
 * when nothing is. SAT_E_CORRUPT too says that it is damaged. */
int sat_store_check(struct sat_store *s, char *ret_what, size_t n,
		    struct sat_err *err) SAT_MUST_CHECK;

#endif
