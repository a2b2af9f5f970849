/* wire_fixture.h - a catalogue of two tables with a column of every type, and
 * seeded changesets and pages over it, for the tests of the wire format.
 */
#ifndef SAT_TESTS_WIRE_FIXTURE_H
#define SAT_TESTS_WIRE_FIXTURE_H

#include "proto/changeset.h"
#include "proto/page.h"

enum {
	FX_ACCOUNT, /* indexes of the columns of table "visit" */
	FX_USER,
	FX_TERRITORY,
	FX_STARTED,
	FX_ENDED,
	FX_LAT,
	FX_LON,
	FX_OUTCOME,
	FX_NOTES,
	FX_NEXT_AT,
	FX_COUNT,
	FX_TAGS,
	FX_AMOUNT,
	FX_PHOTO,
	FX_PLACE,
	FX_DONE,
	FX_EXTRA,
	FX_SCORE,
	FX_COLUMNS,
};

extern const struct sat_catalogue fx_catalogue;
extern const struct sat_table *const fx_visit; /* table no 3 */
extern const struct sat_table *const fx_note;  /* table no 9, one text */

struct fx_rng {
	uint64_t state;
};
uint64_t fx_random(struct fx_rng *g);
uint32_t fx_below(struct fx_rng *g, uint32_t n);

/* n visits in a changeset as a device would harvest them: inserts when
 * update is false, else updates of some columns with contexts. */
void fx_visits(struct sat_arena *a, struct fx_rng *g, uint32_t n, bool update,
	       struct sat_changeset *ret);

/* Anything goes: tables, operations, columns, nulls, sizes. */
void fx_wild(struct sat_arena *a, struct fx_rng *g, uint32_t n,
	     struct sat_changeset *ret);

/* The rows of fx_visits(..., n, false) as a page with 14-byte metadata. */
void fx_page(struct sat_arena *a, struct fx_rng *g, uint32_t n,
	     struct sat_page *ret);

/* Fail the running test at the first difference. */
void fx_same_changeset(const struct sat_changeset *x,
		       const struct sat_changeset *y);
void fx_same_page(const struct sat_page *x, const struct sat_page *y);

#endif
