/* catalogue_read.h - inside of the catalogue loader: checked access to JSON
 * that always knows the path it is at. Only catalogue_*.c include this.
 *
 * Every function that can fail has filled *r->err when it does; strings go
 * into r->arena.
 */
#ifndef SAT_CATALOGUE_READ_H
#define SAT_CATALOGUE_READ_H

#include "common/arena.h"
#include "common/catalogue.h"

struct json_t;

struct sat_cr {
	const char *file;
	struct sat_err *err;
	struct sat_arena *arena;
	struct sat_catalogue *cat;
	char path[192]; /* "tables.visit.columns.outcome" */
	size_t path_len;
};

/* One member of `tables` or `columns`, named and numbered. */
struct sat_cr_entry {
	struct json_t *json;
	const char *name;
	uint16_t no;
};

/* A word from the file, made safe to print and cut short. */
struct sat_cr_word {
	char s[48];
};

struct sat_cr_word sat_cr_word(const char *s);

/* Append ".name" to the path; pop with what it returned. */
size_t sat_cr_push(struct sat_cr *r, const char *fmt, ...) SAT_PRINTF(2, 3);
void sat_cr_pop(struct sat_cr *r, size_t mark);

/* "file: path.key: reason" with SAT_E_INVAL; key may be NULL. */
int sat_cr_fail(struct sat_cr *r, const char *key, const char *fmt, ...)
	SAT_PRINTF(3, 4) SAT_MUST_CHECK;
int sat_cr_nomem(struct sat_cr *r) SAT_MUST_CHECK;

/* json is an object with no keys but the allowed ones (NULL terminated). */
int sat_cr_object(struct sat_cr *r, struct json_t *json,
		  const char *const *allowed) SAT_MUST_CHECK;

/* The readers below leave *ret alone when the key is absent, and fail when it
 * has another type. Required ones fail when it is absent. */
int sat_cr_string(struct sat_cr *r, struct json_t *o, const char *key,
		  bool required, const char **ret) SAT_MUST_CHECK;
/* [a-z][a-z0-9_]{0,39} */
int sat_cr_identifier(struct sat_cr *r, struct json_t *o, const char *key,
		      const char **ret) SAT_MUST_CHECK;
/* *ret_has tells whether it was there; NULL ret_has makes it required. */
int sat_cr_int(struct sat_cr *r, struct json_t *o, const char *key, int64_t min,
	       int64_t max, int64_t *ret, bool *ret_has) SAT_MUST_CHECK;
int sat_cr_bool(struct sat_cr *r, struct json_t *o, const char *key,
		bool *ret) SAT_MUST_CHECK;
/* Both languages, neither empty. Required. */
int sat_cr_label(struct sat_cr *r, struct json_t *o,
		 struct sat_label *ret) SAT_MUST_CHECK;
/* A list of distinct role names to a mask. */
int sat_cr_roles(struct sat_cr *r, struct json_t *o, const char *key,
		 uint32_t *ret, bool *ret_has) SAT_MUST_CHECK;
/* Required when min > 0; *ret is NULL when absent. */
int sat_cr_array(struct sat_cr *r, struct json_t *o, const char *key,
		 size_t min, size_t max, struct json_t **ret) SAT_MUST_CHECK;

/* Names and numbers of array's members, sorted by number, both distinct; what
 * is "tables" or "columns". */
int sat_cr_entries(struct sat_cr *r, struct json_t *array, const char *what,
		   struct sat_cr_entry **ret) SAT_MUST_CHECK;

/* Fill *c, whose name and no are known, from json. Names and numbers of all
 * tables are in r->cat already. */
int sat_cr_column(struct sat_cr *r, const struct sat_table *t,
		  struct json_t *json, struct sat_column *c) SAT_MUST_CHECK;

/* Fill *t, whose name, no and index are known, from json. */
int sat_cr_table(struct sat_cr *r, struct json_t *json,
		 struct sat_table *t) SAT_MUST_CHECK;

/* Index of the column that json, a string, names. */
int sat_cr_find(struct sat_cr *r, const struct sat_table *t, const char *key,
		const struct json_t *json, uint16_t *ret) SAT_MUST_CHECK;

/* When all tables are read: what table *t says it is computed from, in the
 * keys rollup and history of json. */
int sat_cr_figures(struct sat_cr *r, struct json_t *json,
		   struct sat_table *t) SAT_MUST_CHECK;

/* What can only be judged when all tables are read: scope chains end, one
 * tree of territories, one table of users. */
int sat_cr_whole(struct sat_cr *r) SAT_MUST_CHECK;

#endif
