/* print.h - tables for people: columns aligned by the width that text has on a
 * terminal, and whatever could steer the terminal shown instead of sent.
 *
 * Cells may come from anybody: control characters, marks that reorder text,
 * line ends and bytes that are no UTF-8 come out as \n, \x1b, \u202e. Memory
 * is bounded: rows are printed in blocks, widths only grow from block to
 * block. Not thread-safe.
 */
#ifndef SAT_PRINT_H
#define SAT_PRINT_H

#include <stdio.h>

#include "common/buf.h"

enum {
	SAT_PRINT_COLUMNS_MAX = 2000, /* of a table                  */
	SAT_PRINT_BLOCK_ROWS = 1000,  /* then print what has come    */
	SAT_PRINT_BLOCK_BYTES = 8 * 1024 * 1024,
	SAT_PRINT_CELL_BYTES_MAX = 256 * 1024 * 1024,
};

/* Places that s takes on a terminal: two for wide East Asian characters and
 * pictures, none for combining marks. */
size_t sat_print_width(struct sat_slice s);

/* Append s made harmless. width_max > 0: cut to that many places, the last of
 * them an ellipsis. SAT_OK, SAT_E_NOMEM, SAT_E_LIMIT. */
int sat_print_clean(struct sat_buf *out, struct sat_slice s,
		    size_t width_max) SAT_MUST_CHECK;

/* One line of text made harmless, to f; what does not fit in memory is left
 * out. */
void sat_print_line(FILE *f, const char *text);

struct sat_print {
	FILE *out;
	size_t columns, width_max; /* of a cell, 0: as it is    */
	size_t *width;             /* per column                */
	bool *right;               /* per column                */
	struct sat_buf text;       /* cells of a block, each with a NUL */
	size_t cells;              /* in the block              */
};

/* Titles make the first line; they are copied. SAT_OK, SAT_E_NOMEM,
 * SAT_E_LIMIT; on failure p needs no end. */
int sat_print_begin(struct sat_print *p, FILE *out, const char *const *titles,
		    const bool *right, size_t columns,
		    size_t width_max) SAT_MUST_CHECK;

/* The next cell, row by row. SAT_OK, SAT_E_NOMEM, SAT_E_LIMIT. */
int sat_print_cell(struct sat_print *p, struct sat_slice text) SAT_MUST_CHECK;

/* Print what is left; release the memory. Safe on a zeroed struct. */
void sat_print_end(struct sat_print *p);

#endif
