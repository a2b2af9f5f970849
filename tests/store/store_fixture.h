/* store_fixture.h - a store in a temporary folder, with a small catalogue
 * that has every type of column. */
#ifndef SAT_STORE_FIXTURE_H
#define SAT_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/store/store.h"

struct fixture {
	char dir[64];
	char file[96]; /* dir/satchel.db */
	struct sat_store *w;
	struct sat_err err;
	struct sat_arena a;
};

/* Assert SAT_OK, showing the sentence when it is not. */
#define OK(f, call) ok_at((f), (call), #call, __LINE__)
void ok_at(struct fixture *f, int rc, const char *what, int line);

/* cmocka setup and teardown: *state is a struct fixture with an open writer
 * whose catalogue is version 1. */
int fixture_open(void **state);
int fixture_close(void **state);

/* Version 2 adds a column and a table; 3 changes a type, which is refused. */
struct sat_slice fixture_catalogue(int version);

/* Close and open the writer again. */
void fixture_reopen(struct fixture *f);

/* A reader on the same file. */
struct sat_store *fixture_reader(struct fixture *f);

struct sat_id id_of(uint32_t n);
const struct sat_table *table_of(struct sat_store *s, const char *name);
struct sat_value text_of(const char *s);

/* A `thing` with that id number and seq, all columns NULL but title; one
 * place in scope 1 at seq. In memory until the next call. */
struct sat_stored_row *thing_of(struct fixture *f, uint32_t id, uint64_t seq,
				const char *title);

/* Index of a column of t; fails the test when there is none. */
int column_of(const struct sat_table *t, const char *name);

/* Insert that thing in a transaction of its own. */
void put_thing(struct fixture *f, uint32_t id, uint64_t seq, const char *title);

#endif
