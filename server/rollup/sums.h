/* sums.h - figures being added up in memory: per roll-up, territory and rest
 * of the key, what its measures grow by. PURE.
 *
 * Sums are taken modulo 2^64: adding and taking away in any order gives the
 * same, whatever amounts people write.
 */
#ifndef SAT_ROLLUP_SUMS_H
#define SAT_ROLLUP_SUMS_H

#include "common/arena.h"
#include "common/catalogue.h"

struct sat_figure {
	const struct sat_table *figures; /* the roll-up's table               */
	struct sat_id node;
	struct sat_slice rest; /* the key's other columns as text, '/' between;
				  empty for NULL                              */
	int64_t *add;          /* one per measure */
	bool touched;          /* look at its row even if add is all zero     */
	uint32_t hash;
};

/* In order of first use, found through an open-addressing index. */
struct sat_sums {
	struct sat_arena arena;
	struct sat_figure *list;
	uint32_t count, cap;
	uint32_t *index; /* number in list + 1, 0: empty */
	uint32_t index_cap;
};

/* Allocates nothing. bytes_max bounds keys and measures. */
void sat_sums_init(struct sat_sums *s, size_t bytes_max);
void sat_sums_fini(struct sat_sums *s);
void sat_sums_clear(struct sat_sums *s);

/* The sum, made with zeros when it is not there; NULL when out of memory.
 * Copies rest. Valid until the next call. */
struct sat_figure *sat_sums_at(struct sat_sums *s,
			       const struct sat_table *figures,
			       const struct sat_id *node,
			       struct sat_slice rest);

/* to += add, or -= when minus. */
void sat_figure_add(struct sat_figure *to, const int64_t *add, bool minus);
bool sat_figure_is_zero(const struct sat_figure *s);

/* into += from. SAT_OK or SAT_E_NOMEM. */
int sat_sums_merge(struct sat_sums *into,
		   const struct sat_sums *from) SAT_MUST_CHECK;

/* a + b modulo 2^64. */
int64_t sat_wrap_add(int64_t a, int64_t b);

#endif
