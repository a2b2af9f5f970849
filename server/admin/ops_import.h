/* ops_import.h - rows of a CSV file into a table, by a map.
 *
 * The command reads the files; the operation gets the map and a batch of
 * lines. Importing the same file again changes nothing: ids are derived from
 * the map's key columns, and equal values write nothing.
 *
 *   {"table": "opportunity",
 *    "key": ["opportunity_id"],            CSV columns that make the id, or
 *    "match": {"column": "name", "from": "account"},   find an existing row
 *    "columns": {
 *      "name":       {"from": "opportunity_id"},
 *      "product_id": {"from": "product", "replace": {"GTXPro": "GTX Pro"},
 *                     "lookup": {"table": "product", "column": "name"}},
 *      "territory_id": {"from": "sales_agent", "lookup": {"table": "user",
 *                     "column": "name", "get": "territory_id"}},
 *      "shared_with": {"add": {"from": ..., "lookup": ...}},
 *      "currency":   {"value": "USD"}}}
 *
 * An empty field leaves the column alone ("empty": "text" replaces it).
 * "join" takes several CSV columns: {"join": ["city", "street"], "with": " "};
 * "first": [...] takes the first of several rules that finds something.
 */
#ifndef SAT_ADMIN_OPS_IMPORT_H
#define SAT_ADMIN_OPS_IMPORT_H

#include "server/admin/ops.h"

/* args: map, header [names], lines [[line number, field, ...], ...].
 * Result: imported, unchanged, rejects [[line number, reason], ...]. */
int sat_op_import(struct sat_admin *a, const json_t *args, json_t *ret,
		  struct sat_err *err);

#endif
