/* The sum of a row: what the server wrote, in eight bytes beside it.
 *
 * Digests say that something in a scope is wrong; the sum says which row. It
 * takes in everything the row consists of, so a value changed behind the
 * server's back is found wherever the row is read. It protects against
 * damage, not against somebody who computes it anew.
 *
 * A file of before gets its sums in one pass when a writer opens it first:
 * what it holds then counts as written, as there is nothing to tell it from
 * (`verify` still compares the digests). From then on a row without a sum is
 * a damaged one, and nothing but a write of the row makes a new sum. */
#include <stdio.h>
#include <string.h>

#include "proto/catalogue_load.h"
#include "server/store/sqlite_store.h"

static const char done_sql[] = "SELECT value FROM _setting WHERE key = '_sums'";

static uint8_t *put_be(uint8_t *to, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
	return to + bytes;
}

/* The hash of the digests leaves no trace of empty columns: one that the
 * catalogue gets later changes no sum. */
uint64_t sat_row_sum(const struct sat_table *t,
		     const struct sat_stored_row *row, struct sat_slice places)
{
	bool all[SAT_CATALOGUE_COLUMNS_MAX];
	uint8_t parts[16 + 16 + 8 + 4 + 1], *to = parts;

	SAT_ASSERT(t->column_count <= SAT_COUNT_OF(all));
	memset(all, 1, sizeof all);
	sat_hash_pack(sat_row_hash(t, &row->id, row->meta, row->values, all),
		      to);
	sat_hash_pack(sat_hash_bytes(places), to + 16);
	to = put_be(to + 32, row->seq, 8);
	to = put_be(to, row->origin, 4);
	*to = (uint8_t)(row->held | row->deleted << 1);
	return sat_hash_bytes((struct sat_slice){ parts, sizeof parts }).low;
}

void sat_row_name_of(const struct sat_table *t, const struct sat_id *id,
		     struct sat_row_name *ret)
{
	*ret = (struct sat_row_name){ .id = *id };
	(void)snprintf(ret->table, sizeof ret->table, "%s", t->name);
}

/* ---- files of before ----------------------------------------------------- */

struct upgrade {
	struct sat_store *store;
	struct sat_buf sql, places;
	struct sat_err *err;
};

static int on_row(void *arg, const struct sat_table *t,
		  const struct sat_stored_row *row)
{
	struct upgrade *u = arg;
	struct sat_value v[2];
	int rc;

	sat_buf_clear(&u->places);
	rc = sat_places_pack(row, &u->places);
	if (rc != SAT_OK)
		return sat_err_set(u->err, rc, 0, "store_sums",
				   "out of memory");
	v[0] = sat_value_int(
		(int64_t)sat_row_sum(t, row, sat_buf_peek(&u->places)));
	v[1] = sat_value_int((int64_t)row->seq);
	return sat_store_do(u->store, (const char *)sat_buf_peek(&u->sql).ptr,
			    v, 2, u->err);
}

static int add_column(struct upgrade *u, const struct sat_table *t)
{
	const char *text;
	int rc;

	sat_buf_clear(&u->sql);
	rc = sat_sql_add(&u->sql, u->err,
			 "ALTER TABLE \"%s\" ADD COLUMN _sum INTEGER", t->name);
	if (rc == SAT_OK)
		rc = sat_sql_end(&u->sql, &text, u->err);
	if (rc == SAT_OK)
		rc = sat_store_do(u->store, text, NULL, 0, u->err);
	sat_buf_clear(&u->sql);
	if (rc == SAT_OK)
		rc = sat_sql_add(&u->sql, u->err,
				 "UPDATE \"%s\" SET _sum = ?1 WHERE _seq = ?2",
				 t->name);
	return rc == SAT_OK ? sat_sql_end(&u->sql, &text, u->err) : rc;
}

static int add_sums(struct upgrade *u)
{
	const struct sat_catalogue *c = u->store->catalogue;
	int rc = SAT_OK;

	u->store->sums = true; /* rows are read with the column from here on */
	for (uint16_t i = 0; rc == SAT_OK && c != NULL && i < c->table_count;
	     i++) {
		rc = add_column(u, &c->tables[i]);
		if (rc == SAT_OK)
			rc = sat_store_rows(u->store, &c->tables[i], -1, NULL,
					    on_row, u, u->err);
	}
	return rc == SAT_OK ? sat_store_do(u->store,
					   "INSERT INTO _setting(key, value)"
					   " VALUES('_sums', 1)",
					   NULL, 0, u->err)
			    : rc;
}

int sat_store_sums(struct sat_store *s, struct sat_err *err)
{
	struct upgrade u = { .store = s, .err = err };
	int64_t done;
	int rc = sat_db_int(&s->db, done_sql, 0, &done, err);

	s->sums = rc == SAT_OK && done != 0;
	if (rc != SAT_OK || s->sums || !s->writer)
		return rc;
	sat_buf_init(&u.sql, SAT_STORE_SQL_MAX);
	sat_buf_init(&u.places, 1024 * 1024);
	rc = sat_store_begin(s, err);
	if (rc == SAT_OK) {
		rc = add_sums(&u);
		if (rc == SAT_OK)
			rc = sat_store_commit(s, err);
		else
			sat_store_rollback(s);
	}
	s->sums = rc == SAT_OK;
	sat_buf_fini(&u.sql);
	sat_buf_fini(&u.places);
	return rc;
}
