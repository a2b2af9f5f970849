/* reason.h - why a changeset was rejected, as a sentence a rep understands. */
#ifndef SAT_REASON_H
#define SAT_REASON_H

#include "common/catalogue.h"

enum sat_reason {
	SAT_REASON_NONE,
	SAT_REASON_MALFORMED,   /* bytes that do not decode                   */
	SAT_REASON_VALUE,       /* a value its column refuses                 */
	SAT_REASON_REQUIRED,    /* a required column is empty                 */
	SAT_REASON_ROLE,        /* your role may not write this column/table  */
	SAT_REASON_DERIVED,     /* only the server writes this table          */
	SAT_REASON_APPEND_ONLY, /* rows of this table cannot be changed       */
	SAT_REASON_SCOPE,       /* the row is not in your territories         */
	SAT_REASON_PARENT,      /* it refers to a row that is not known       */
	SAT_REASON_GONE,        /* update or delete of a row not known        */
	SAT_REASON_FORGED,      /* context names dots nobody has written      */
	SAT_REASON_DEPENDS,     /* depends on a rejected changeset            */
	SAT_REASON_TOO_LATE,    /* access ended before this edit was made     */
	SAT_REASON_ENCODING,    /* device: a value that cannot be encoded     */
	SAT_REASON_CATALOGUE,   /* table or column the server does not know   */
	SAT_REASON_COUNT
};

/* Stable name: "role", "scope", ... */
const char *sat_reason_name(enum sat_reason r);

/* Write the sentence with the table's and column's labels into out; table
 * and column may be NULL. Always NUL terminated. */
void sat_reason_text(enum sat_reason r, enum sat_lang lang,
		     const struct sat_table *t, const struct sat_column *c,
		     char *out, size_t out_bytes);

#endif
