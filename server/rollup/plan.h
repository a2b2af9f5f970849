/* plan.h - which tables count in which roll-ups, and what one row adds to
 * them (DESIGN section 5, SYNC section 12). PURE: everything it knows is in
 * the catalogue.
 */
#ifndef SAT_ROLLUP_PLAN_H
#define SAT_ROLLUP_PLAN_H

#include "server/rollup/sums.h"

struct sat_rollup_use {
	const struct sat_table *figures;
	const struct sat_rollup_source *source;
};

/* What follows from the rows of one table. */
struct sat_rollup_uses {
	struct sat_rollup_use *rollups;
	const struct sat_table **histories; /* tables of changes of it */
	uint16_t rollup_count, history_count;
};

struct sat_rollups {
	const struct sat_catalogue *cat;
	struct sat_rollup_uses *by_table; /* by index */
	bool any;                         /* there is a roll-up              */
	struct sat_id mark; /* of all that figures depend on in the catalogue:
			       another one means they must be computed anew  */
};

/* In the arena. SAT_OK or SAT_E_NOMEM. */
int sat_rollups_plan(struct sat_arena *a, const struct sat_catalogue *cat,
		     struct sat_rollups *ret) SAT_MUST_CHECK;

/* Add what a live row of t with these values counts in its own territory, or
 * take it away. SAT_OK or SAT_E_NOMEM. */
int sat_rollup_count(const struct sat_rollups *p, const struct sat_table *t,
		     const struct sat_id *id, const struct sat_value *values,
		     bool minus, struct sat_sums *sums) SAT_MUST_CHECK;

/* Add what a row of a roll-up's table shows, under the key it shows but for
 * another territory; node NULL: its own. *ret is its sum (NULL: it shows no
 * territory). SAT_OK or SAT_E_NOMEM. */
int sat_rollup_shown(const struct sat_table *figures,
		     const struct sat_value *values, const struct sat_id *node,
		     bool minus, struct sat_sums *sums,
		     struct sat_figure **ret) SAT_MUST_CHECK;

/* The id of the row that shows a sum: UUIDv8 of "TABLE/TERRITORY/REST". */
struct sat_id sat_rollup_id(const struct sat_figure *s);

/* Values of the key columns, in the order of rollup->keys; they borrow s, ids
 * are in the arena. SAT_OK or SAT_E_NOMEM. */
int sat_rollup_key_values(const struct sat_figure *s, struct sat_arena *a,
			  struct sat_value *ret) SAT_MUST_CHECK;

#endif
