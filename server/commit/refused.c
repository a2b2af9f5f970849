#include "server/commit/refused.h"

#include <stdio.h>

/* The store keeps the rows a refused changeset would have made. The mark is
 * one more of them, with an id that no row has: of the dot. */
static struct sat_id mark_of(struct sat_dot dot)
{
	char key[64];

	(void)snprintf(key, sizeof key, "refused %lu:%llu",
		       (unsigned long)dot.replica, (unsigned long long)dot.seq);
	return sat_id_derived(sat_slice_str(key));
}

int sat_refused_note(struct sat_store *s, struct sat_dot dot,
		     struct sat_err *err)
{
	struct sat_id id = mark_of(dot);

	return sat_store_rejected_put(
		s, dot, &sat_store_catalogue(s)->tables[0], &id, err);
}

int sat_refused_find(struct sat_store *s, struct sat_dot dot, bool *ret,
		     struct sat_err *err)
{
	struct sat_id id = mark_of(dot);
	struct sat_dot found;
	int rc = sat_store_rejected_row(s, dot.replica,
					&sat_store_catalogue(s)->tables[0], &id,
					&found, err);

	*ret = rc == SAT_OK;
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}
