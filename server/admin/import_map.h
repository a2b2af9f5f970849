/* import_map.h - the map of an import, read and applied to one CSV line. */
#ifndef SAT_ADMIN_IMPORT_MAP_H
#define SAT_ADMIN_IMPORT_MAP_H

#include "server/admin/rows.h"

enum { SAT_IMPORT_COLUMNS_MAX = 64 };

/* How one column gets its value. */
struct sat_import_rule {
	int column;         /* index in the table                             */
	bool add;           /* set column: add the element, keep the others   */
	const json_t *spec; /* borrowed from the map                      */
};

struct sat_import_map {
	const struct sat_table *table;
	const json_t *key, *match; /* borrowed; one of them is set */
	int match_column;
	struct sat_import_rule rules[SAT_IMPORT_COLUMNS_MAX];
	size_t rule_count;
	const json_t *header; /* names of the CSV columns */
	/* What was read so far: name -> {"at": written, "texts": {text ->
	 * value text}}. */
	json_t *found;
	/* Rows the caller has written since init, kept by the caller: only
	 * then can a text that was not found be there after all. */
	json_int_t written;
	bool own; /* a line may name a row that a line before it wrote */
};

/* Check the map against catalogue and header. Borrows both JSON values.
 * SAT_E_INVAL, SAT_E_NOTFOUND with a sentence that names the map's part. */
int sat_import_map_init(struct sat_import_map *m, const struct sat_admin *a,
			const json_t *map, const json_t *header,
			struct sat_err *err) SAT_MUST_CHECK;
void sat_import_map_fini(struct sat_import_map *m);

/* The id of the row that a line is about. */
int sat_import_id(struct sat_import_map *m, const struct sat_admin *a,
		  const json_t *line, struct sat_id *ret,
		  struct sat_err *err) SAT_MUST_CHECK;

/* The text a rule makes of a line, in the arena; *ret_empty when the line
 * says nothing for this column. SAT_E_NOTFOUND, SAT_E_INVAL with a reason. */
int sat_import_text(struct sat_import_map *m, const struct sat_admin *a,
		    const struct sat_import_rule *rule, const json_t *line,
		    struct sat_arena *arena, struct sat_slice *ret,
		    bool *ret_empty, struct sat_err *err) SAT_MUST_CHECK;

#endif
