/* support.h - a replica in a folder of its own, an app that knows nothing of
 * it, and a toy server: the merge engine over an array of rows. */
#ifndef TEST_REPLICA_SUPPORT_H
#define TEST_REPLICA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/replica/internal.h"
#include "proto/page.h"

enum { TOY_ROWS = 512, TOY_SCOPES = 4, REP_SCOPE = 5, OTHER_SCOPE = 6 };

struct toy_row {
	const struct sat_table *table;
	uint16_t table_no; /* lives longer than the catalogue */
	struct sat_id id;
	struct sat_row row;
	uint64_t seq;
	uint32_t scopes[TOY_SCOPES], scope_count;
};

struct fixture {
	char folder[256], path[300];
	struct sat_replica *r;
	const struct sat_catalogue *c;
	enum sat_role role;
	struct sat_arena a; /* of the test; everything the toy has */
	struct toy_row *rows;
	uint32_t row_count;
	uint64_t seq;      /* the server's last _seq */
	uint64_t own;      /* the server's last own changeset */
	int64_t now_ms;    /* the server's clock */
	int64_t offset_ms; /* server - device */
	size_t parts;      /* pages are sent in parts of so many bytes */
	struct sat_err err;
};

#define OK(call)                                                          \
	do {                                                              \
		int ok_rc = (call);                                       \
		if (ok_rc != SAT_OK)                                      \
			fail_msg("%s: %s: %s", #call, sat_rc_name(ok_rc), \
				 f->err.msg);                             \
	} while (0)

/* For programs that are no tests: a fixture on a folder that is there. */
struct fixture *fixture_new(const char *folder, enum sat_role role);
void fixture_create(struct fixture *f, int64_t cursor);

/* Replica 7 of a rep, scopes 0 and REP_SCOPE, filled (cursor 1). */
int setup(void **state);
int setup_manager(void **state);
int setup_filling(void **state); /* never synced */
int teardown(void **state);
void reopen(struct fixture *f);

/* "a1" is 00000000-0000-7000-8000-0000000000a1. */
struct sat_id id_of(const char *alias);
const char *id_text(struct fixture *f, const char *alias);

/* Plain SQL from another connection. $xx stands for 'id_text(xx)'. */
void app(struct fixture *f, const char *sql);
/* It must fail; the message, in the fixture's arena. */
const char *app_refused(struct fixture *f, const char *sql);
void refused(struct fixture *f, const char *sql, const char *sentence);
/* Result as text: columns by '|', rows by newline, NULL as '-', ids as
 * aliases. */
const char *query(struct fixture *f, const char *sql);
void expect(struct fixture *f, const char *sql, const char *result);

/* Harvest and give the changeset as text: one line per delta. */
const char *harvested(struct fixture *f);
uint64_t harvest(struct fixture *f);
const char *dump(struct fixture *f, uint64_t seq);
void expect_harvest(struct fixture *f, const char *text);

/* ---- the toy server ------------------------------------------------------ */

/* A write of the server's own replica 1, or of another replica, on what the
 * server has now: column, value, ..., NULL. Counters: increment. Sets:
 * "+a -b". "NULL" is NULL. op 'i', 'u', 'd'. */
struct toy_row *toy_write(struct fixture *f, char op, const char *table,
			  const char *alias, ...);
/* The same by replica, with the context it had seen. */
struct toy_row *toy_write_as(struct fixture *f, uint32_t replica, uint64_t seq,
			     struct sat_vv context, char op, const char *table,
			     const char *alias, ...);
struct toy_row *toy_find(struct fixture *f, const char *table,
			 const char *alias);
/* Apply a changeset of the outbox; gives the first _seq. */
uint64_t toy_push(struct fixture *f, uint64_t seq);
void toy_send(struct fixture *f, uint32_t scope, const char *table,
	      const char *alias);
void toy_refs(struct fixture *f, uint32_t scope, const char *table,
	      const char *alias);
void toy_evict(struct fixture *f, uint32_t scope, const char *table,
	       const char *alias);
/* CHECKPOINT with the true digest; asserts whether the device agrees. */
void toy_checkpoint(struct fixture *f, bool agrees);
void toy_verdict(struct fixture *f, uint64_t seq,
		 enum sat_verdict_status status, uint32_t flags,
		 uint64_t first_seq, enum sat_reason reason, const char *table,
		 const char *alias);
/* Account a1 with phone 100 in REP_SCOPE, sent and checkpointed. */
void toy_account(struct fixture *f);

#endif
