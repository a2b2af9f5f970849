/* catalogue_load.h - from the JSON form of a catalogue to structs, and which
 * new catalogue may follow an old one.
 *
 * The loader is strict: unknown or repeated keys, wrong types, names that SQL
 * would need quoted, policies that do not fit a type, scopes that lead
 * nowhere are all refused, with file, path and reason in the message:
 *
 *   field_sales.json: tables.visit.columns.outcome.policy: unknown policy
 *   "lastwins"
 *
 * The JSON form is described in proto/catalogue/README.md.
 */
#ifndef SAT_CATALOGUE_LOAD_H
#define SAT_CATALOGUE_LOAD_H

#include "common/catalogue.h"

enum {
	SAT_CATALOGUE_BYTES_MAX = 1024 * 1024,
	SAT_CATALOGUE_TABLES_MAX = 256,
	SAT_CATALOGUE_COLUMNS_MAX = 200, /* of one table */
	SAT_CATALOGUE_VALUES_MAX = 255,  /* of one enum  */
	SAT_CATALOGUE_VIA_MAX = 4,       /* scope chain  */
};

/* Build *ret from JSON; file names the source in messages. Borrows json
 * during the call. The caller frees *ret with sat_catalogue_free. SAT_OK,
 * SAT_E_INVAL (refused; err says where and why), SAT_E_LIMIT, SAT_E_NOMEM. */
int sat_catalogue_load(struct sat_slice json, const char *file,
		       struct sat_catalogue **ret,
		       struct sat_err *err) SAT_MUST_CHECK;

/* The same from a file; messages name it without its folders. Besides, SAT_E_IO
 * and SAT_E_NOTFOUND. */
int sat_catalogue_load_file(const char *path, struct sat_catalogue **ret,
			    struct sat_err *err) SAT_MUST_CHECK;

/* NULL is fine. */
void sat_catalogue_free(struct sat_catalogue *c);

/* Append the canonical text - keys sorted, no spaces, UTF-8 - which is what is
 * stored and sent: equal catalogues have equal bytes. Says nothing about
 * whether the loader would take it. Errors as sat_catalogue_load. */
int sat_catalogue_canonical(struct sat_slice json, struct sat_buf *out,
			    struct sat_err *err) SAT_MUST_CHECK;

/* May next replace old? Only a larger version that adds tables, adds columns
 * that existing rows can do without, adds enum values, relabels, loosens
 * limits. SAT_OK or SAT_E_INVAL with path and reason. */
int sat_catalogue_compatible(const struct sat_catalogue *old,
			     const struct sat_catalogue *next,
			     struct sat_err *err) SAT_MUST_CHECK;

/* JSON of the catalogue this program was built with. Static memory. */
struct sat_slice sat_catalogue_builtin(void);

#endif
