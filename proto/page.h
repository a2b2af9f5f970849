/* page.h - rows of one table in columnar form, the body of ROWS. */
#ifndef SAT_PAGE_H
#define SAT_PAGE_H

#include "common/arena.h"
#include "common/catalogue.h"

enum {
	SAT_PAGE_ROWS_MAX = 4096,
	SAT_PAGE_BYTES_MAX = 16 * 1024 * 1024, /* over several ROWS frames */
};

/* A page being read or written. Row r's value of columns[k] is
 * values[r * column_count + k]. Deleted rows travel with their metadata
 * (VV <= DV) and no values (all NULL). */
struct sat_page {
	const struct sat_table *table;
	uint32_t row_count;
	struct sat_id *ids;
	uint64_t *seqs;          /* each row's `_seq`                        */
	struct sat_slice *metas; /* row metadata, masked to the read set     */
	uint16_t *columns;       /* indexes in table->columns: the read set  */
	uint16_t column_count;
	struct sat_value *values;
};

/* refs: only ids and seqs are written. SAT_OK, SAT_E_LIMIT, SAT_E_NOMEM,
 * SAT_E_INVAL (a value that is not of its column's kind). */
int sat_page_encode(const struct sat_page *p, bool refs,
		    struct sat_buf *out) SAT_MUST_CHECK;

/* Columns the catalogue does not know are skipped. Values are checked
 * against their columns. With refs only table, row_count, ids and seqs are
 * set. Metadata is copied to the arena, text borrows from bytes. SAT_OK,
 * SAT_E_PROTO, SAT_E_LIMIT, SAT_E_NOMEM. */
int sat_page_decode(const struct sat_table *t, struct sat_slice bytes,
		    bool refs, struct sat_arena *a, struct sat_page *ret,
		    struct sat_err *err) SAT_MUST_CHECK;

#endif
