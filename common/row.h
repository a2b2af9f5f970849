/* row.h - the state of one row: version vectors, writes, elements, sums. PURE.
 *
 * lww, keep and ordered are one register that holds every write no later
 * write has covered (DESIGN section 3, "Mind the trap"); the policy only
 * chooses which one is shown and how the others are reported. max, min and
 * first hold the same and, besides, the best write ever even when covered.
 * So the shown value, the siblings and the open conflicts are all functions
 * of the state alone, and states converge whatever the order of arrival.
 */
#ifndef SAT_ROW_H
#define SAT_ROW_H

#include "common/delta.h"

/* Writes, elements with their dots, and deletes one field or row may hold at
 * once. They are bounded by honest replicas anyway; this stops the others. */
enum { SAT_FIELD_ENTRIES_MAX = 4096 };

struct sat_write {
	struct sat_dot dot;
	uint64_t stamp;
	struct sat_value value;
	bool resolves;
	bool covered; /* max, min, first: kept only because it is the best */
};

struct sat_element {
	struct sat_slice text;
	struct sat_dot dot;
};

struct sat_sum {
	uint32_t replica;
	int64_t sum;
};

/* Canonical: writes sorted by dot, elements by (text, dot), sums by replica,
 * no zero sums. A field nobody has written has count 0. */
struct sat_field {
	union {
		struct sat_write *writes;     /* registers       */
		struct sat_element *elements; /* policy set      */
		struct sat_sum *sums;         /* policy counter  */
	};
	uint32_t count;
};

struct sat_row {
	struct sat_vv vv, dv;      /* dv <= vv                              */
	struct sat_write *deletes; /* deletes that no write has covered yet;
				      value unused; sorted by dot           */
	uint32_t delete_count;
	struct sat_field *fields; /* one per table column, by index */
	uint16_t field_count;
};

/* The state before any write: all empty. SAT_OK or SAT_E_NOMEM. */
int sat_row_init(struct sat_arena *a, const struct sat_table *t,
		 struct sat_row *ret) SAT_MUST_CHECK;

/* Has anything ever been written: vv not empty. */
bool sat_row_exists(const struct sat_row *row);

/* Alive exactly when VV <= DV does not hold. */
bool sat_row_alive(const struct sat_row *row);

/* Index of the write that is shown; the field has count > 0 and is a
 * register. */
uint32_t sat_field_shown(const struct sat_column *c, const struct sat_field *f);

/* The value a person sees: of the shown write, the sum, or the JSON array of
 * the set (built in the arena; NULL value when the set is empty or the field
 * was never written). A counter is never NULL: with no sums it is 0, so that
 * `n = n + 1` works before anyone has counted. SAT_OK or SAT_E_NOMEM. */
int sat_field_value(struct sat_arena *a, const struct sat_column *c,
		    const struct sat_field *f,
		    struct sat_value *ret) SAT_MUST_CHECK;

/* Deep copy of a row of t. SAT_OK or SAT_E_NOMEM. */
int sat_row_copy(struct sat_arena *a, const struct sat_table *t,
		 const struct sat_row *row,
		 struct sat_row *ret) SAT_MUST_CHECK;

/* Same state, values included. */
bool sat_row_equal(const struct sat_table *t, const struct sat_row *x,
		   const struct sat_row *y);

enum sat_conflict_state { SAT_CONFLICT_AUTO, SAT_CONFLICT_OPEN };

/* One entry the ledger must hold for this state: per losing write, for keep
 * and ordered-with-two-ends one per set of siblings, for a delete that lost
 * one per row (column -1). */
struct sat_conflict {
	int column; /* index, -1 for delete against update                 */
	struct sat_dot dot; /* names the entry: the losing dot, for keep the
			       smallest dot of the set, the delete's dot   */
	struct sat_write shown;
	struct sat_write losing; /* keep: the best of those not shown        */
	uint32_t sibling_count;  /* keep: how many values there are          */
	enum sat_conflict_state state;
};

/* Every conflict in the state, in (column, dot) order, in the arena. A
 * losing value equal to the shown one is not a conflict (SYNC section 8).
 * SAT_OK or SAT_E_NOMEM. */
int sat_row_conflicts(struct sat_arena *a, const struct sat_table *t,
		      const struct sat_row *row, struct sat_conflict **ret,
		      uint32_t *ret_count) SAT_MUST_CHECK;

#endif
