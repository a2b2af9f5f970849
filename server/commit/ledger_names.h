/* ledger_names.h - the columns of the conflict ledger that the engine fills
 * and masks, by name; a catalogue may lack any of them. */
#ifndef SAT_LEDGER_NAMES_H
#define SAT_LEDGER_NAMES_H

#include <stdbool.h>
#include <string.h>

#define SAT_LEDGER_TABLE         "table_name"
#define SAT_LEDGER_ROW           "row_id"
#define SAT_LEDGER_FIELD         "field"
#define SAT_LEDGER_KIND          "kind"
#define SAT_LEDGER_POLICY        "policy"
#define SAT_LEDGER_SHOWN         "shown_value"
#define SAT_LEDGER_LOSING        "losing_value"
#define SAT_LEDGER_BASE          "base_value"
#define SAT_LEDGER_SHOWN_BY      "shown_by"
#define SAT_LEDGER_LOSING_BY     "losing_by"
#define SAT_LEDGER_SHOWN_AT      "shown_at"
#define SAT_LEDGER_LOSING_AT     "losing_at"
#define SAT_LEDGER_SHOWN_DOT     "shown_dot"
#define SAT_LEDGER_LOSING_DOT    "losing_dot"
#define SAT_LEDGER_SIBLING_COUNT "sibling_count"
#define SAT_LEDGER_STATE         "state"
#define SAT_LEDGER_OUTCOME       "outcome"
#define SAT_LEDGER_RESOLVED_BY   "resolved_by"
#define SAT_LEDGER_RESOLVED_AT   "resolved_at"

/* Does a column of that name repeat a value of the row it speaks of? */
static inline bool sat_ledger_shows(const char *name)
{
	return strcmp(name, SAT_LEDGER_SHOWN) == 0 ||
	       strcmp(name, SAT_LEDGER_LOSING) == 0 ||
	       strcmp(name, SAT_LEDGER_BASE) == 0;
}

#endif
