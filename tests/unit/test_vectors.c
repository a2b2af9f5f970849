/* The golden vectors of proto/vectors: what the code writes today is what the
 * files hold, what they hold is read back, and PROTOCOL.md quotes them.
 *
 *   test_vectors --print     the lines as the code would write them
 *   test_vectors --tables    the key tables of PROTOCOL.md
 */
#include "tests/unit/wire_fixture.h"
#include "tests/unit/wire_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/merge.h"
#include "common/meta.h"
#include "common/text.h"
#include "proto/message_keys.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789-"

enum { VECTORS_MAX = 64, FILE_BYTES_MAX = 1024 * 1024 };

struct vector {
	const char *file, *name, *meaning;
	struct sat_slice bytes; /* in the arena */
};

static struct sat_arena arena;
static struct vector vectors[VECTORS_MAX];
static uint32_t vector_count;

static void add(const char *file, const char *name, const char *meaning,
		struct sat_slice bytes)
{
	struct vector *v = &vectors[vector_count++];

	SAT_ASSERT(vector_count <= VECTORS_MAX);
	*v = (struct vector){ file, name, meaning, { NULL, 0 } };
	SAT_ASSERT(sat_arena_copy(&arena, bytes, &v->bytes) == SAT_OK);
}

static void add_messages(struct sat_buf *b)
{
	uint32_t n;
	const struct fx_sample *s = fx_samples(&n);

	for (uint32_t i = 0; i < n; i++) {
		sat_buf_clear(b);
		SAT_ASSERT(sat_msg_encode(NULL, &s[i].msg, b) == SAT_OK);
		add(s[i].file, s[i].name, s[i].meaning, sat_buf_peek(b));
	}
}

static void add_hash(const char *name, const char *meaning, struct sat_hash h)
{
	uint8_t out[16];

	sat_hash_pack(h, out);
	add("hash", name, meaning, (struct sat_slice){ out, sizeof out });
}

static void add_bodies(struct sat_buf *b)
{
	struct sat_changeset cs;
	struct sat_page page;

	fx_sample_insert(&arena, &cs);
	sat_buf_clear(b);
	SAT_ASSERT(sat_changeset_encode(&cs, b) == SAT_OK);
	add("changeset", "changeset-insert",
	    "(7,1): a visit with five columns, the first changeset of its "
	    "replica",
	    sat_buf_peek(b));
	add_hash("hash-changeset-insert",
		 "XXH3-128 of changeset-insert, as HELLO, PUSH and the next "
		 "changeset carry it",
		 sat_hash_bytes(sat_buf_peek(b)));
	fx_sample_edits(&arena, &cs);
	sat_buf_clear(b);
	SAT_ASSERT(sat_changeset_encode(&cs, b) == SAT_OK);
	add("changeset", "changeset-edits",
	    "(7,2), coalesced: an edit with a context, a counter and a set; a "
	    "delete",
	    sat_buf_peek(b));
	fx_sample_page(&arena, &page);
	sat_buf_clear(b);
	SAT_ASSERT(sat_page_encode(&page, false, b) == SAT_OK);
	add("page", "page-two",
	    "two rows, five columns, metadata a1a2 and b1b2b3",
	    sat_buf_peek(b));
	sat_buf_clear(b);
	SAT_ASSERT(sat_page_encode(&page, true, b) == SAT_OK);
	add("page", "page-refs", "the same two rows as references",
	    sat_buf_peek(b));
}

/* A row as three changesets leave it: (7,1) inserts, then (9,1) and (7,2)
 * write the notes without knowing of each other. */

static void write_notes(struct sat_row *row, struct sat_dot dot,
			struct sat_change *ch, uint32_t n, bool insert)
{
	static const struct sat_dot seen[] = { { 7, 1 } };
	struct sat_delta d = { .op = insert ? SAT_OP_INSERT : SAT_OP_UPDATE,
			       .table = fx_visit,
			       .changes = ch,
			       .change_count = n };
	enum sat_merge_outcome outcome;

	if (!insert)
		d.context = (struct sat_vv){ seen, 1 };
	for (uint32_t i = 0; i < n; i++) {
		ch[i].stamp = sat_stamp_make(
			1795262400000 + 1000 * (int64_t)dot.seq, 0);
		d.stamp = ch[i].stamp;
	}
	SAT_ASSERT(sat_merge_apply(&arena, row, &d, dot, &outcome) == SAT_OK);
}

static void make_row(struct sat_row *row, bool edited)
{
	static const struct sat_slice gold = { (const uint8_t *)"gold", 4 };
	struct sat_change first[] = {
		{ .column = FX_OUTCOME,
		  .value = sat_value_text(sat_slice_str("order")) },
		{ .column = FX_NOTES,
		  .value = sat_value_text(sat_slice_str("X")) },
	};
	struct sat_change theirs[] = {
		{ .column = FX_NOTES,
		  .value = sat_value_text(sat_slice_str("X GmbH")) },
	};
	struct sat_change ours[] = {
		{ .column = FX_NOTES,
		  .value = sat_value_text(sat_slice_str("X Ltd")) },
		{ .column = FX_COUNT, .value = sat_value_int(2) },
		{ .column = FX_TAGS, .adds = &gold, .add_count = 1 },
	};

	SAT_ASSERT(sat_row_init(&arena, fx_visit, row) == SAT_OK);
	write_notes(row, (struct sat_dot){ 7, 1 }, first, 2, true);
	if (!edited)
		return;
	write_notes(row, (struct sat_dot){ 9, 1 }, theirs, 1, false);
	write_notes(row, (struct sat_dot){ 7, 2 }, ours, 3, false);
}

static struct sat_value *shown(const struct sat_row *row)
{
	struct sat_value *v = sat_arena_array(&arena, FX_COLUMNS, sizeof *v);

	SAT_ASSERT(v != NULL);
	for (unsigned c = 0; c < FX_COLUMNS; c++)
		SAT_ASSERT(sat_field_value(&arena, &fx_visit->columns[c],
					   &row->fields[c], &v[c]) == SAT_OK);
	return v;
}

static void add_rows(struct sat_buf *b)
{
	static const struct sat_id id = { { 1, 0x9a, 0x7d, 0x55, 0x20, 0, 0x70,
					    3, 0x80, 3, 3, 3, 3, 3, 3, 3 } };
	bool readable[FX_COLUMNS];
	struct sat_value *v;
	struct sat_row row;

	memset(readable, true, sizeof readable);
	make_row(&row, false);
	v = shown(&row);
	sat_buf_clear(b);
	SAT_ASSERT(sat_meta_encode(fx_visit, &row, v, b) == SAT_OK);
	add("meta", "meta-insert",
	    "(7,1) wrote outcome \"order\" and notes \"X\" at 12:00:01",
	    sat_buf_peek(b));
	add_hash(
		"hash-row-insert",
		"row hash of table 3, id 019a7d55-2000-7003-8003-030303030303, "
		"meta-insert",
		sat_row_hash(fx_visit, &id, sat_buf_peek(b), v, readable));
	make_row(&row, true);
	v = shown(&row);
	sat_buf_clear(b);
	SAT_ASSERT(sat_meta_encode(fx_visit, &row, v, b) == SAT_OK);
	add("meta", "meta-conflict",
	    "then (9,1) wrote notes \"X GmbH\" and (7,2), not knowing, \"X "
	    "Ltd\", count +2, tag gold",
	    sat_buf_peek(b));
}

static void make_vectors(void)
{
	struct sat_buf b;

	sat_arena_init(&arena, 64 * 1024 * 1024);
	sat_buf_init(&b, 1024 * 1024);
	add_messages(&b);
	add_bodies(&b);
	add_rows(&b);
	sat_buf_fini(&b);
}

static char *hex(struct sat_slice s)
{
	char *out = sat_arena_alloc(&arena, s.len * 2 + 1);

	SAT_ASSERT(out != NULL);
	sat_hex_format(s.ptr, s.len, out);
	return out;
}

static void print_vectors(void)
{
	const char *file = "";

	for (uint32_t i = 0; i < vector_count; i++) {
		if (strcmp(file, vectors[i].file) != 0)
			printf("# %s.txt\n", vectors[i].file);
		file = vectors[i].file;
		printf("%s | %s | %s\n", vectors[i].name, hex(vectors[i].bytes),
		       vectors[i].meaning);
	}
}

/* Files. */

static char *read_text(const char *path)
{
	char full[512];
	char *text = test_malloc(FILE_BYTES_MAX);
	size_t n;
	FILE *f;

	snprintf(full, sizeof full, "%s/proto/%s", SAT_SOURCE_DIR, path);
	f = fopen(full, "rb");
	if (f == NULL)
		fail_msg("%s is not there", full);
	n = fread(text, 1, FILE_BYTES_MAX - 1, f);
	fclose(f);
	text[n] = '\0';
	return text;
}

static void files_hold_what_the_code_writes(void **state)
{
	char path[64], *text, *line;

	(void)state;
	for (uint32_t i = 0; i < vector_count; i++) {
		snprintf(path, sizeof path, "vectors/%s.txt", vectors[i].file);
		text = read_text(path);
		line = sat_arena_alloc(&arena, vectors[i].bytes.len * 2 + 512);
		sprintf(line, "%s | %s | %s\n", vectors[i].name,
			hex(vectors[i].bytes), vectors[i].meaning);
		if (strstr(text, line) == NULL)
			fail_msg("%s should have: %s", path, line);
		test_free(text);
	}
}

/* Every line of every file is one that the code knows. */
static void files_hold_nothing_else(void **state)
{
	char path[64], *text, *at, *end;
	uint32_t lines = 0;
	const char *last = "";
	uint32_t of_last = 0;

	(void)state;
	for (uint32_t i = 0; i < vector_count; i++) {
		const char *file = vectors[i].file;
		bool seen = false;

		for (uint32_t k = 0; k < i; k++)
			seen |= strcmp(vectors[k].file, file) == 0;
		if (seen)
			continue;
		last = file;
		snprintf(path, sizeof path, "vectors/%s.txt", last);
		text = read_text(path);
		for (at = text; *at != '\0'; at = end + 1) {
			end = strchr(at, '\n');
			assert_non_null(end);
			if (*at != '#')
				lines++, of_last++;
		}
		test_free(text);
	}
	assert_int_equal(lines, vector_count);
	assert_true(of_last > 0);
}

/* Bytes from the file, not from the encoder, through the decoder. */
static struct sat_slice from_file(const struct vector *v)
{
	char path[64], start[80], *text, *at, *end;
	uint8_t *bytes;
	size_t n;

	snprintf(path, sizeof path, "vectors/%s.txt", v->file);
	snprintf(start, sizeof start, "%s | ", v->name);
	text = read_text(path);
	at = strstr(text, start);
	assert_non_null(at);
	at += strlen(start);
	end = strchr(at, ' ');
	assert_non_null(end);
	n = (size_t)(end - at) / 2;
	bytes = sat_arena_alloc(&arena, n);
	assert_true(sat_hex_parse(
		(struct sat_slice){ (const uint8_t *)at, n * 2 }, bytes, n));
	test_free(text);
	return (struct sat_slice){ bytes, n };
}

static const struct vector *find(const char *name)
{
	for (uint32_t i = 0; i < vector_count; i++)
		if (strcmp(vectors[i].name, name) == 0)
			return &vectors[i];
	fail_msg("no vector %s", name);
	return NULL;
}

static void messages_are_read_from_their_vectors(void **state)
{
	uint32_t n;
	const struct fx_sample *s = fx_samples(&n);
	struct sat_slice in, plain;
	struct sat_frame f;
	struct sat_msg back;
	struct sat_buf again;
	struct sat_err err;
	size_t used;

	(void)state;
	sat_buf_init(&again, 65536);
	for (uint32_t i = 0; i < n; i++) {
		in = from_file(find(s[i].name));
		assert_int_equal(
			sat_frame_take(in, SAT_FRAME_BYTES_MAX, &f, &used),
			SAT_OK);
		assert_int_equal(used, in.len);
		assert_int_equal(sat_frame_open(NULL, &f, &again, &plain),
				 SAT_OK);
		if (sat_msg_decode(f.type, plain, &arena, &back, &err) !=
		    SAT_OK)
			fail_msg("%s: %s", s[i].name, err.msg);
		fx_same_message(&s[i].msg, &back);
		sat_buf_clear(&again);
		assert_int_equal(sat_msg_encode(NULL, &back, &again), SAT_OK);
		assert_true(sat_slice_equal(in, sat_buf_peek(&again)));
	}
	sat_buf_fini(&again);
}

static void changesets_are_read_from_their_vectors(void **state)
{
	struct sat_changeset want, back;
	struct sat_slice in;
	struct sat_buf again;
	struct sat_err err;

	(void)state;
	sat_buf_init(&again, 65536);
	for (unsigned i = 0; i < 2; i++) {
		if (i == 0)
			fx_sample_insert(&arena, &want);
		else
			fx_sample_edits(&arena, &want);
		in = from_file(
			find(i == 0 ? "changeset-insert" : "changeset-edits"));
		assert_int_equal(sat_changeset_decode(&fx_catalogue, in, &arena,
						      &back, NULL, &err),
				 SAT_OK);
		fx_same_changeset(&want, &back);
		sat_buf_clear(&again);
		assert_int_equal(sat_changeset_encode(&back, &again), SAT_OK);
		assert_true(sat_slice_equal(in, sat_buf_peek(&again)));
	}
	sat_buf_fini(&again);
}

static void pages_are_read_from_their_vectors(void **state)
{
	struct sat_page want, back;
	struct sat_slice in = from_file(find("page-two"));
	struct sat_buf again;
	struct sat_err err;

	(void)state;
	sat_buf_init(&again, 65536);
	fx_sample_page(&arena, &want);
	assert_int_equal(
		sat_page_decode(fx_visit, in, false, &arena, &back, &err),
		SAT_OK);
	fx_same_page(&want, &back);
	assert_int_equal(sat_page_encode(&back, false, &again), SAT_OK);
	assert_true(sat_slice_equal(in, sat_buf_peek(&again)));
	in = from_file(find("page-refs"));
	assert_int_equal(
		sat_page_decode(fx_visit, in, true, &arena, &back, &err),
		SAT_OK);
	assert_int_equal(back.row_count, 2);
	assert_memory_equal(back.seqs, want.seqs, 2 * sizeof *want.seqs);
	sat_buf_fini(&again);
}

static void metadata_is_read_from_its_vectors(void **state)
{
	struct sat_row want, back;
	struct sat_slice in;
	struct sat_buf again;

	(void)state;
	sat_buf_init(&again, 65536);
	for (unsigned i = 0; i < 2; i++) {
		make_row(&want, i == 1);
		in = from_file(find(i == 0 ? "meta-insert" : "meta-conflict"));
		assert_int_equal(sat_meta_decode(&arena, fx_visit, in,
						 shown(&want), &back),
				 SAT_OK);
		assert_true(sat_row_equal(fx_visit, &want, &back));
		sat_buf_clear(&again);
		assert_int_equal(
			sat_meta_encode(fx_visit, &back, shown(&back), &again),
			SAT_OK);
		assert_true(sat_slice_equal(in, sat_buf_peek(&again)));
	}
	sat_buf_fini(&again);
}

/* PROTOCOL.md. */

/* It quotes vectors as indented lines "    name | hex": all of them, and
 * truthfully. */
static void the_document_quotes_truthfully(void **state)
{
	char *text = read_text("PROTOCOL.md");
	uint32_t quotes = 0;
	bool quoted[VECTORS_MAX] = { false };
	char *line, *bar, *next;

	(void)state;
	for (line = text; line != NULL; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		bar = strstr(line, " | ");
		if (strncmp(line, "    ", 4) != 0 || bar == NULL)
			continue;
		*bar = '\0';
		if (line[4 + strspn(line + 4, NAME_CHARS)] != '\0')
			continue; /* a drawing */
		const struct vector *v = find(line + 4);

		assert_string_equal(bar + 3, hex(v->bytes));
		quoted[v - vectors] = true;
		quotes++;
	}
	for (uint32_t i = 0; i < vector_count; i++)
		if (!quoted[i])
			fail_msg("PROTOCOL.md does not quote %s",
				 vectors[i].name);
	assert_true(quotes >= vector_count);
	test_free(text);
}

static const char *type_text(const struct sat_key *k)
{
	static const char *const names[] = {
		[SAT_KEY_U32] = "u32",
		[SAT_KEY_U64] = "u64",
		[SAT_KEY_I64] = "i64",
		[SAT_KEY_BOOL] = "bool",
		[SAT_KEY_HASH] = "bin 16",
		[SAT_KEY_DIGEST] = "bin 16",
		[SAT_KEY_RATCHET] = "bin 16",
		[SAT_KEY_IDS] = "bin 16n",
		[SAT_KEY_SCOPES] = "rising",
		[SAT_KEY_STEPS] = "array",
		[SAT_KEY_FIELDS] = "array of field",
		[SAT_KEY_FIELD] = "field",
		[SAT_KEY_DOT] = "dot",
		[SAT_KEY_ID] = "bin 16",
		[SAT_KEY_RIGHTS] = "rights",
	};
	char *text;

	if (k->type != SAT_KEY_STR && k->type != SAT_KEY_BIN)
		return names[k->type];
	text = sat_arena_alloc(&arena, 32);
	SAT_ASSERT(text != NULL);
	sprintf(text, "%s <= %u", k->type == SAT_KEY_STR ? "str" : "bin",
		k->aux);
	return text;
}

static void row_text(const struct sat_key *k, char out[160])
{
	snprintf(out, 160, "| %u | `%s` | %s | %s | ", k->key, k->name,
		 type_text(k), k->mandatory ? "yes" : "no");
}

static void print_tables(void)
{
	const struct sat_key_table *t;
	char row[160];

	for (uint8_t type = 0; type < 64; type++) {
		t = sat_msg_keys(type);
		if (t == NULL)
			continue;
		printf("### %s (%u)\n\n| key | name | type | must | meaning "
		       "|\n|---|---|---|---|---|\n",
		       t->name, type);
		for (uint8_t i = 0; i < t->count; i++) {
			row_text(&t->keys[i], row);
			printf("%s |\n", row);
		}
		printf("\n");
	}
}

static void expect_rows(const char *text, const char *heading,
			const struct sat_key_table *t)
{
	const char *from = strstr(text, heading);
	const char *to, *at;
	char row[160];
	uint32_t rows = 0;

	if (from == NULL)
		fail_msg("PROTOCOL.md has no heading %s", heading);
	to = strstr(from + 1, "\n### ");
	for (uint8_t i = 0; i < t->count; i++) {
		row_text(&t->keys[i], row);
		at = strstr(from, row);
		if (at == NULL || (to != NULL && at > to))
			fail_msg("%s: no row %s", heading, row);
	}
	for (at = from; (at = strstr(at, "\n| ")) != NULL && (!to || at < to);
	     at++)
		rows += at[3] >= '0' && at[3] <= '9';
	if (rows != t->count)
		fail_msg("%s: %u rows, not %u", heading, rows, t->count);
}

static void the_document_has_the_key_tables(void **state)
{
	char *text = read_text("PROTOCOL.md");
	const struct sat_key_table *t;
	char heading[64];

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		t = sat_msg_keys((uint8_t)type);
		if (t == NULL || type == SAT_MSG_PONG)
			continue;
		snprintf(heading, sizeof heading, "\n### %s (%u)", t->name,
			 type);
		expect_rows(text, heading, t);
	}
	test_free(text);
}

static void the_document_has_the_limits(void **state)
{
	static const struct {
		const char *what;
		unsigned long long value;
	} limits[] = {
		{ "length field before WELCOME", SAT_FRAME_HELLO_BYTES_MAX },
		{ "length field after WELCOME", SAT_FRAME_BYTES_MAX },
		{ "unzipped payload, bytes", SAT_UNZIP_BYTES_MAX },
		{ "unzipped : zipped", SAT_UNZIP_RATIO_MAX },
		{ "msgpack depth", 8 },
		{ "msgpack values in a message", 65536 },
		{ "scopes of a user", SAT_SCOPES_MAX },
		{ "ids in one EVICT", SAT_EVICT_IDS_MAX },
		{ "conflicts in one VERDICT", SAT_VERDICT_FIELDS_MAX },
		{ "clock steps in HELLO", SAT_CLOCK_STEPS_MAX },
		{ "changeset, bytes", SAT_CHANGESET_BYTES_MAX },
		{ "changeset, deltas", SAT_CHANGESET_DELTAS_MAX },
		{ "REPAIR: scopes in one answer", SAT_REPAIR_SCOPES_MAX },
		{ "REPAIR: rows in one list", SAT_REPAIR_LIST_MAX },
		{ "REPAIR: ids in one ask", SAT_REPAIR_IDS_MAX },
		{ "REPAIR: asks of a connection", SAT_REPAIR_ASKS_MAX },
		{ "page, bytes", SAT_PAGE_BYTES_MAX },
		{ "page, rows", SAT_PAGE_ROWS_MAX },
		{ "version vector, entries", SAT_VV_ENTRIES_MAX },
	};
	char *text = read_text("PROTOCOL.md");
	char row[128];

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(limits); i++) {
		snprintf(row, sizeof row, "\n| %s | %llu |", limits[i].what,
			 limits[i].value);
		if (strstr(text, row) == NULL)
			fail_msg("PROTOCOL.md: no row %s", row + 1);
	}
	test_free(text);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_hold_what_the_code_writes),
		cmocka_unit_test(files_hold_nothing_else),
		cmocka_unit_test(messages_are_read_from_their_vectors),
		cmocka_unit_test(changesets_are_read_from_their_vectors),
		cmocka_unit_test(pages_are_read_from_their_vectors),
		cmocka_unit_test(metadata_is_read_from_its_vectors),
		cmocka_unit_test(the_document_quotes_truthfully),
		cmocka_unit_test(the_document_has_the_key_tables),
		cmocka_unit_test(the_document_has_the_limits),
	};
	int failed = 0;

	make_vectors();
	if (argc > 1 && strcmp(argv[1], "--print") == 0)
		print_vectors();
	else if (argc > 1 && strcmp(argv[1], "--tables") == 0)
		print_tables();
	else
		failed = cmocka_run_group_tests(tests, NULL, NULL);
	sat_arena_fini(&arena);
	return failed;
}
