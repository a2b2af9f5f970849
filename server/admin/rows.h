/* rows.h - business rows for operations: found, read and written by column
 * names, values as JSON. */
#ifndef SAT_ADMIN_ROWS_H
#define SAT_ADMIN_ROWS_H

#include "common/text.h"
#include "server/admin/ops.h"

/* Text argument; SAT_E_INVAL naming it when it is missing or no text. */
int sat_arg_text(const json_t *args, const char *name, const char **ret,
		 struct sat_err *err) SAT_MUST_CHECK;
/* The same, but NULL when absent. */
const char *sat_arg_text_or_null(const json_t *args, const char *name);
bool sat_arg_flag(const json_t *args, const char *name);

/* The table or column of that name; SAT_E_NOTFOUND with a sentence. */
int sat_admin_table(const struct sat_admin *a, const char *name,
		    const struct sat_table **ret,
		    struct sat_err *err) SAT_MUST_CHECK;
int sat_admin_column(const struct sat_table *t, const char *name, int *ret,
		     struct sat_err *err) SAT_MUST_CHECK;

/* The id of the one live row of the table whose column equals text.
 * SAT_E_NOTFOUND or SAT_E_INVAL (several) with a sentence. */
int sat_admin_find(const struct sat_admin *a, const char *table,
		   const char *column, const char *text, struct sat_id *ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Turn a person's text into a value of the column: money in major units,
 * times and dates in their text forms, ids as UUID text, sets as JSON arrays.
 * Text and blobs go to the arena. SAT_E_INVAL with a sentence. */
int sat_value_read(struct sat_arena *arena, const struct sat_column *c,
		   struct sat_slice text, struct sat_value *ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* A value as JSON for people and scripts: money in major units, ids as UUID
 * text, sets as arrays, times as text. New reference or NULL. */
json_t *sat_value_json(const struct sat_column *c, const struct sat_value *v);

/* One row being written through the engine; columns by name. */
struct sat_row_draft {
	struct sat_local_write write;
	uint16_t columns[64];
	struct sat_value values[64];
};

void sat_draft_init(struct sat_row_draft *d, enum sat_op op,
		    const struct sat_table *t, const struct sat_id *id);
/* SAT_E_NOTFOUND when the table has no such column. Borrows the value. */
int sat_draft_set(struct sat_row_draft *d, const char *column,
		  struct sat_value value, struct sat_err *err) SAT_MUST_CHECK;

/* A fresh UUIDv7. */
int sat_admin_new_id(const struct sat_admin *a, struct sat_id *ret,
		     struct sat_err *err) SAT_MUST_CHECK;

/* Write one draft. */
int sat_admin_write(struct sat_admin *a, const struct sat_row_draft *d,
		    struct sat_err *err) SAT_MUST_CHECK;

#endif
