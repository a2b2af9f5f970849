/* ledger.h - what the commands about conflicts share.
 */
#ifndef SAT_CLIENT_CLI_LEDGER_H
#define SAT_CLIENT_CLI_LEDGER_H

#include "client/cli/cli.h"

#define SAT_CLI_LEDGER "conflict"

/* The ledger's table; NULL, said, when the catalogue has none that will do. */
const struct sat_table *sat_ledger(struct sat_cli *c);

/* The ledger keeps values as text in the replica's own units. */
bool sat_ledger_value(const struct sat_column *col, struct sat_value text,
		      struct sat_value *ret);

/* The table and column that an entry speaks of; NULL when it is unknown. */
const struct sat_table *sat_ledger_table(const struct sat_cli *c,
					 struct sat_value name);
const struct sat_column *sat_ledger_column(const struct sat_table *t,
					   struct sat_value name);

#endif
