/* column.h - one column of values as a msgpack block, both directions.
 *
 * A block is [form, nulls, body]. The writer tries the forms that fit the
 * column's type and takes the shortest; PROTOCOL.md, "Column blocks", has
 * them. The reader is an iterator, so that a changeset of a million deltas is
 * read with memory for its dictionaries only. PURE but for memory.
 */
#ifndef SAT_COLUMN_H
#define SAT_COLUMN_H

#include "common/arena.h"
#include "common/catalogue.h"
#include "proto/pack.h"

enum sat_form {
	SAT_FORM_NULL = 0, /* every value is NULL                          */
	SAT_FORM_INT = 1,  /* zigzag varints                               */
	SAT_FORM_INT_DELTA = 2, /* differences to the value before */
	SAT_FORM_INT_BY_ID = 3, /* differences to the time in the row's id */
	SAT_FORM_REAL = 4,    /* 8 byte planes                                */
	SAT_FORM_DECIMAL = 5, /* an int form and a power of ten               */
	SAT_FORM_TEXT = 6,    /* lengths, bytes                               */
	SAT_FORM_TEXT_DICT = 7, /* distinct lengths, bytes, indexes */
	SAT_FORM_BLOB = 8, /* fixed size, one after the other              */
	SAT_FORM_BLOB_DICT = 9, /* distinct blobs, indexes */
	SAT_FORM_ID = 10, /* time differences, then the other 10 bytes    */
};

enum { SAT_DECIMALS_MAX = 9 };

/* The kind of value that columns of a type hold, and the bytes of a BLOB. */
enum sat_kind sat_type_kind(enum sat_type t);
size_t sat_type_blob_bytes(enum sat_type t);

/* The first 48 bits of an id: the milliseconds of a UUIDv7. */
int64_t sat_id_time(const uint8_t *id);

/* Scratch of a writer, reused from column to column. */
struct sat_column_scratch {
	struct sat_arena mem;
	struct sat_buf one, two, three;
};

void sat_column_scratch_init(struct sat_column_scratch *s);
void sat_column_scratch_fini(struct sat_column_scratch *s);

/* Write the block of n values of a column of that type. times[i] is
 * sat_id_time of the row of values[i]. A value of another kind than the type
 * wants, or a blob of another size, sets p->rc to SAT_E_INVAL. */
void sat_column_put(struct sat_pack *p, struct sat_column_scratch *s,
		    enum sat_type type, const struct sat_value *const *values,
		    const int64_t *times, uint32_t n);

/* Ids as [time differences, tails]; n ids. */
void sat_ids_put(struct sat_pack *p, struct sat_column_scratch *s,
		 const struct sat_id *const *ids, uint32_t n);
bool sat_ids_take(struct sat_cursor *c, struct sat_arena *a, uint32_t n,
		  struct sat_id **ret, int *ret_rc);

/* A bin of zigzag varint differences, for numbers that rise. */
void sat_rising_put(struct sat_pack *p, struct sat_column_scratch *s,
		    const uint64_t *v, uint32_t n);
bool sat_rising_next(struct sat_slice *in, uint64_t *prev, uint64_t *ret);

struct sat_column_reader {
	enum sat_type type;
	enum sat_form form;
	uint32_t rows, at;      /* values in all, values taken             */
	uint32_t full, taken;   /* the same for values that are not NULL   */
	struct sat_slice nulls; /* empty: none                             */
	struct sat_slice one, two;
	struct sat_value *dict;
	uint32_t dict_count;
	const uint8_t *blobs; /* SAT_FORM_ID: rebuilt in the arena       */
	uint64_t prev;
	uint8_t decimals;
	bool delta; /* of a SAT_FORM_DECIMAL's ints            */
};

/* Take a block of n values. SAT_OK, SAT_E_PROTO (*ret_why is a static phrase),
 * SAT_E_NOMEM. Borrows from the cursor's bytes; dictionaries go to a. */
int sat_column_open(struct sat_cursor *c, struct sat_arena *a,
		    enum sat_type type, uint32_t n,
		    struct sat_column_reader *ret,
		    const char **ret_why) SAT_MUST_CHECK;

/* The next value; time is sat_id_time of its row. False: broken bytes. */
bool sat_column_next(struct sat_column_reader *r, int64_t time,
		     struct sat_value *ret) SAT_MUST_CHECK;

/* Has every value been taken and every byte used? */
bool sat_column_done(const struct sat_column_reader *r);

#endif
