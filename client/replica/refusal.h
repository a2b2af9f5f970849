/* refusal.h - why a trigger refuses a write, in words.
 *
 * SQLite gives an application the text of RAISE and nothing else, so the
 * English sentence is the one that every program sees. It is made of the
 * rule and the catalogue alone; whoever has these can find the rule back from
 * the sentence and say it in another language. PURE.
 */
#ifndef SAT_REPLICA_REFUSAL_H
#define SAT_REPLICA_REFUSAL_H

#include "common/catalogue.h"

enum sat_refusal {
	SAT_REFUSAL_TYPE,     /* not a value of the column                  */
	SAT_REFUSAL_REQUIRED, /* empty                                      */
	SAT_REFUSAL_ROLE,     /* a column the role may not write            */
	SAT_REFUSAL_EFFECT,   /* max, min, first: the merge would drop it   */
	SAT_REFUSAL_DERIVED,  /* the server's table                         */
	SAT_REFUSAL_INSERT,   /* the role may not add rows                  */
	SAT_REFUSAL_DELETE,   /* nor delete them                            */
	SAT_REFUSAL_FIXED,    /* append-only: not changed                   */
	SAT_REFUSAL_KEPT,     /* append-only: not deleted                   */
	SAT_REFUSAL_ORPHAN,   /* the row has left, an answer is due         */
	SAT_REFUSAL_ID,       /* not an id                                  */
	SAT_REFUSAL_ROWID,    /* not a rowid                                */
	SAT_REFUSAL_TAKEN,    /* another row's rowid                        */
	SAT_REFUSAL_RENAME,   /* a row's id changed                         */
	SAT_REFUSAL_MANY,     /* more changes than are kept unsent          */
	SAT_REFUSAL_COUNT
};

enum { SAT_REFUSAL_BYTES = 640 };

/* The sentence without the "table.column: " that goes before it. c is needed
 * by TYPE and EFFECT; role_label is the role's in other languages than
 * English and may be NULL. Always NUL terminated. */
void sat_refusal_text(enum sat_refusal why, enum sat_lang lang,
		      const struct sat_column *c, enum sat_role role,
		      const struct sat_label *role_label, char *out, size_t n);

/* What a trigger said, in that language with the catalogue's labels. False,
 * and out is left alone, when message is no refusal of ours. A message cut at
 * its end is known by what is left of it. */
bool sat_refusal_translate(const struct sat_catalogue *cat, enum sat_lang lang,
			   enum sat_role role, const char *message, char *out,
			   size_t n);

#endif
