/* rejected.h - entries of the rejected list as the command line holds them.
 * The content is the JSON that client/replica/rejected.c writes: an array of
 * {table, id, op, context?, fields: {name: {before, after} | {add} |
 * {adds, removes}}}.
 */
#ifndef SAT_CLIENT_CLI_REJECTED_H
#define SAT_CLIENT_CLI_REJECTED_H

#include <jansson.h>

#include "client/cli/cli.h"

struct sat_item {
	int64_t n;
	json_t *content;
	uint32_t group; /* index of the first entry it hangs together with */
	bool wanted;    /* named by the person, or of such a one's group    */
};

/* All entries in the order in which they were written. */
struct sat_items {
	struct sat_cli *c;
	struct sat_item *list; /* in the call's arena */
	uint32_t count, cap;
};

/* Exit code; said. End with sat_items_end whatever came of it. */
int sat_items_load(struct sat_cli *c, struct sat_items *ret);
void sat_items_end(struct sat_items *all);
/* The entry of that number; NULL, said, when there is none. */
struct sat_item *sat_items_find(const struct sat_items *all, int64_t n);

/* An entry that touches or refers to a row which another one makes cannot go
 * without it. Marks all that hang together with what is wanted. */
int sat_items_group(struct sat_items *all);

/* The table a delta names, NULL when the catalogue has none. */
const struct sat_table *sat_item_table(const struct sat_cli *c,
				       const json_t *delta);
/* A JSON value in the replica's form; arrays become JSON text. Borrows from j,
 * or from the call's arena. */
struct sat_value sat_item_value(struct sat_cli *c, const json_t *j);
/* Before and after of a field, whatever its policy made of it. */
void sat_item_sides(struct sat_cli *c, const json_t *change,
		    struct sat_value *before, struct sat_value *after);

/* Write it again: through the triggers, which refuse with their sentence, and
 * what changes rows with the context its author had. SAT_OK or c->err. */
int sat_item_write(struct sat_cli *c, const struct sat_item *it) SAT_MUST_CHECK;

/* Change values in it: `assign` is TABLE.FIELD=VALUE or TABLE:ID.FIELD=VALUE
 * (ID or its end); or a file with the JSON of `rejected show --json`, values
 * changed. Exit code; said. */
int sat_item_set(struct sat_cli *c, struct sat_item *it, const char *assign);
int sat_item_set_file(struct sat_cli *c, struct sat_item *it, const char *path);

#endif
