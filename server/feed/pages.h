/* pages.h - rows, references and evictions of one scope gathered per table
 * and written as ROWS and EVICT frames. Used by feed.c alone. */
#ifndef SAT_PAGES_H
#define SAT_PAGES_H

#include "proto/message.h"
#include "proto/page.h"
#include "server/store/store.h"

/* Entries read in one go; a page of ids and a page of rows each fit. */
enum { SAT_PAGES_ENTRIES = 2048 };

/* What one table has in the batch. Memory from the pages' arena. */
struct sat_pages_table {
	struct sat_page rows, refs;
	struct sat_id *evicts;
	uint32_t evict_count;
	uint32_t *authors; /* replicas that rows' metadata names, rising   */
	uint32_t author_count;
	bool *readable; /* read set of the role                */
	bool all;       /* ... is every column                 */
	bool used;
};

struct sat_pages {
	const struct sat_catalogue *cat;
	const struct sat_rights *rights;
	struct sat_zip *zip;
	struct sat_store *store; /* to know whose replicas they are */
	struct sat_arena arena;  /* everything of one batch       */
	struct sat_buf body;     /* scratch: one page, encoded    */
	struct sat_buf meta;     /* scratch: masked metadata      */
	struct sat_pages_table *tables;
	uint32_t capacity; /* entries of this batch       */
	size_t bytes;      /* about what the batch holds  */
	bool repair;       /* ROWS say that they were asked for */
};

void sat_pages_init(struct sat_pages *p, const struct sat_catalogue *c,
		    const struct sat_rights *rights, struct sat_zip *zip,
		    struct sat_store *store);
void sat_pages_fini(struct sat_pages *p);

/* Drop what is gathered and start a batch of at most so many entries. SAT_OK
 * or SAT_E_NOMEM. */
int sat_pages_start(struct sat_pages *p, uint32_t capacity) SAT_MUST_CHECK;

/* Add one entry; slices are borrowed until the batch is written, rows should
 * be read into p->arena. The second gate judges rows and references here:
 * SAT_E_DENIED. SAT_E_NOMEM, SAT_E_CORRUPT. */
int sat_pages_row(struct sat_pages *p, uint32_t scope,
		  const struct sat_table *t, const struct sat_stored_row *row,
		  struct sat_err *err) SAT_MUST_CHECK;
int sat_pages_ref(struct sat_pages *p, uint32_t scope,
		  const struct sat_table *t, const struct sat_stored_row *row,
		  struct sat_err *err) SAT_MUST_CHECK;
int sat_pages_evict(struct sat_pages *p, const struct sat_table *t,
		    const struct sat_id *id,
		    struct sat_err *err) SAT_MUST_CHECK;

/* Append the batch's frames, evictions first: a row that left and came back
 * is there in the end. SAT_E_LIMIT, SAT_E_NOMEM. */
int sat_pages_write(struct sat_pages *p, uint32_t scope, struct sat_buf *out,
		    struct sat_err *err) SAT_MUST_CHECK;

#endif
