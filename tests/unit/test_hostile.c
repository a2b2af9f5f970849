/* Pages and changesets bent in one place each: a golden vector, a piece of
 * its hex, and what stands there instead. */
#include "tests/unit/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/text.h"

struct bend {
	const char *why, *from, *to;
	int rc;
};

static struct sat_arena arena;

/* The hex of a vector, from its file. */
static void read_vector(const char *file, const char *name, char *out,
			size_t out_bytes)
{
	char path[512], start[64], line[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/proto/vectors/%s.txt", SAT_SOURCE_DIR,
		 file);
	snprintf(start, sizeof start, "%s | ", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	out[0] = '\0';
	while (fgets(line, sizeof line, f) != NULL) {
		if (strncmp(line, start, strlen(start)) != 0)
			continue;
		line[strlen(start) + strcspn(line + strlen(start), " ")] = '\0';
		snprintf(out, out_bytes, "%s", line + strlen(start));
	}
	fclose(f);
	assert_true(out[0] != '\0');
}

static struct sat_slice bend_vector(const char *hex, const struct bend *b)
{
	const char *at = strstr(hex, b->from);
	char out[8192];
	uint8_t *bytes;
	size_t n;

	if (at == NULL || strstr(at + 1, b->from) != NULL)
		fail_msg("%s: the piece is not there once", b->why);
	n = (size_t)snprintf(out, sizeof out, "%.*s%s%s", (int)(at - hex), hex,
			     b->to, at + strlen(b->from));
	assert_true(n < sizeof out && n % 2 == 0);
	bytes = sat_arena_alloc(&arena, n / 2);
	assert_non_null(bytes);
	assert_true(sat_hex_parse(sat_slice_str(out), bytes, n / 2));
	return (struct sat_slice){ bytes, n / 2 };
}

static const struct bend pages[] = {
	{ "as it is", "8501", "8501", SAT_OK },
	{ "a key of the future", "8501020292", "8601020292",
	  SAT_E_PROTO }, /* claimed, not there */
	{ "key 4 is missing", "0492c4020203c405a1b1a2b2b305", "0705",
	  SAT_E_PROTO },
	{ "one row more than ids", "850102", "850103", SAT_E_PROTO },
	{ "4,097 rows", "850102", "8501cd1001", SAT_E_PROTO },
	{ "an id's time is left over", "c4088080a9d5cf66ff3f",
	  "c4098080a9d5cf66ff3f00", SAT_E_PROTO },
	{ "an id's time is negative", "c4088080a9d5cf66ff3f", "c4020102",
	  SAT_E_PROTO },
	{ "an id's time has 49 bits", "c4088080a9d5cf66ff3f",
	  "c409808080808080800102", SAT_E_PROTO },
	{ "a seq is left over", "c404d48c0102", "c405d48c010200", SAT_E_PROTO },
	{ "a seq is missing", "c404d48c0102", "c403d48c01", SAT_E_PROTO },
	{ "a length of metadata is left over", "c4020203c405", "c403020300c405",
	  SAT_E_PROTO },
	{ "metadata is left over", "c4020203c405", "c4020202c405",
	  SAT_E_PROTO },
	{ "metadata is missing", "c4020203c405", "c4020204c405", SAT_E_PROTO },
	{ "column 10 twice", "920d9306", "920a9306", SAT_E_PROTO },
	{ "a column of the future", "920d9306", "92649306", SAT_OK },
	{ "an index beyond the distinct values", "c402000092", "c402000192",
	  SAT_E_PROTO },
	{ "an index is left over", "c402000092", "c40300000092", SAT_E_PROTO },
	{ "half a distinct ref", "9309c092c410", "9309c092c40f", SAT_E_PROTO },
	{ "a number is left over", "c4068098d2dfbf68", "c4078098d2dfbf6800",
	  SAT_E_PROTO },
	{ "a NULL beyond the rows", "9301c40102c4", "9301c40106c4",
	  SAT_E_PROTO },
	{ "all rows NULL in form 1", "9301c40102c4068098d2dfbf68",
	  "9301c40103c400", SAT_E_PROTO },
	{ "all rows NULL in form 0", "9301c40102c4068098d2dfbf68", "9300c0c0",
	  SAT_OK },
	{ "form 0 with a bitmap", "9301c40102c4068098d2dfbf68", "9300c40103c0",
	  SAT_E_PROTO },
	{ "form 0 with a body", "9301c40102c4068098d2dfbf68", "9300c0c400",
	  SAT_E_PROTO },
	{ "form 11", "9301c40102", "930bc40102", SAT_E_PROTO },
	{ "a real form for a time", "9301c40102", "9304c40102", SAT_E_PROTO },
	{ "form 2: one value is its own difference", "9301c40102", "9302c40102",
	  SAT_OK },
	{ "10 decimals", "9305c0930201", "9305c0930a01", SAT_E_PROTO },
	{ "decimals by id", "9305c0930201", "9305c0930203", SAT_E_PROTO },
	{ "NaN", "9305c0930201c403ea3063",
	  "9304c0c4107f7ff8f8000000000000000000000000", SAT_E_PROTO },
	{ "two halves", "9305c0930201c403ea3063",
	  "9304c0c4103f3fe0e0000000000000000000000000", SAT_OK },
	{ "a plane short", "9305c0930201c403ea3063",
	  "9304c0c40f3f3fe0e0"
	  "0000000000000000000000",
	  SAT_E_PROTO },
	{ "text beyond the bytes", "c4020503c408", "c4020504c408",
	  SAT_E_PROTO },
	{ "text cut inside a character", "c4020503c408", "c4020502c408",
	  SAT_E_PROTO },
	{ "bytes of text left over", "58204c7464e5a5bd", "58204c74644f4b21",
	  SAT_OK },
	{ "the same with a shorter length", "c4020503c40858204c7464e5a5bd",
	  "c4020502c40858204c74644f4b21", SAT_E_PROTO },
	{ "NUL in text", "58204c7464", "58204c7400", SAT_E_PROTO },
	{ "more distinct texts than values",
	  "9306c092c4020503c40858204c7464e5a5bd",
	  "9307c09403c403000000c400c4020000", SAT_E_PROTO },
	{ "distinct texts", "9306c092c4020503c40858204c7464e5a5bd",
	  "9307c09401c40101c40158c4020000", SAT_OK },
};

static const struct bend refs[] = {
	{ "as it is", "830102", "830102", SAT_OK },
	{ "no seqs, but as many keys", "03c404d48c0102", "04c0", SAT_E_PROTO },
	{ "key 0 instead of key 1", "830102", "830002", SAT_E_PROTO },
};

static const struct bend inserts[] = {
	{ "as it is", "8801070201", "8801070201", SAT_OK },
	{ "a time is left over", "059301c0c4068098d2dfbf68",
	  "059301c0c4078098d2dfbf6800", SAT_E_PROTO },
	{ "a delete with columns", "0103020003010492", "0103020203010492",
	  SAT_E_PROTO },
	{ "operation 3", "0103020003010492", "0103020303010492", SAT_E_PROTO },
	{ "no deltas in a group", "0103020003010492", "0103020003000492",
	  SAT_E_PROTO },
	{ "more deltas in a group than in all", "0103020003010492",
	  "0103020003020492", SAT_E_PROTO },
	{ "table 4", "0103020003010492", "0104020003010492", SAT_E_NEWER },
	{ "column 10 twice", "820109039306", "82010a039306", SAT_E_PROTO },
	{ "column 8", "820109039306", "820108039306", SAT_E_NEWER },
	{ "a time without a value", "82010403", "82010430", SAT_E_PROTO },
	{ "a NULL time of a delta", "059301c0c4068098d2dfbf68", "059300c0c0",
	  SAT_E_PROTO },
	{ "an outcome that is none", "6f72646572", "6f72646573", SAT_E_INVAL },
	{ "bitmap of deltas without a delta", "820109039306c0",
	  "83010902c40100039306c0", SAT_E_PROTO },
	{ "bitmap of deltas with two", "820109039306c0",
	  "83010902c40103039306c0", SAT_E_PROTO },
	{ "bitmap of deltas with the one", "820109039306c0",
	  "83010902c40101039306c0", SAT_OK },
	{ "a key of the future in a column",
	  "820109039306c092c40105c4056f72646572",
	  "830109039306c092c40105c4056f7264657264c0", SAT_OK },
	{ "difference of time left over",
	  "820109039306c092c40105c4056f72646572",
	  "830109039306c092c40105c4056f7264657204c4020000", SAT_E_PROTO },
	{ "stamp left over", "820109039306c092c40105c4056f72646572",
	  "830109039306c092c40105c4056f7264657206c4020000", SAT_E_PROTO },
};

static const struct bend edits[] = {
	{ "as it is", "8801070202", "8801070202", SAT_OK },
	{ "a counter with a value before", "82010c039301c0c40102",
	  "83010c039301c0c40102059300c0c0", SAT_E_PROTO },
	{ "a counter that is NULL", "82010c039301c0c40102", "82010c039300c0c0",
	  SAT_E_INVAL },
	{ "a set with a plain value", "84010d04c4039f9c01",
	  "85010d039300c0c004c4039f9c01", SAT_E_PROTO },
	{ "a set that replaces a stamp", "84010d04c4039f9c01",
	  "85010d04c4039f9c0106c40100", SAT_E_PROTO },
	{ "set elements in a text column", "07c4010182", "07c4010182", SAT_OK },
	{ "answers beyond the deltas", "07c4010182", "07c4010382",
	  SAT_E_PROTO },
	{ "a context stands still", "07c4050201050601", "07c4050201050001",
	  SAT_E_PROTO },
	{ "a context with seq 0", "07c4050201050601", "07c4050201000601",
	  SAT_E_PROTO },
	{ "a context is left over", "07c4050201050601", "07c406020105060100",
	  SAT_E_PROTO },
	{ "a context claims 4,096 entries", "07c4050201050601",
	  "07c406802001050601", SAT_E_PROTO },
	{ "a replica beyond 32 bits", "07c4050201050601",
	  "07c409020105ffffffff0f01", SAT_E_PROTO },
	{ "a base is left over", "06c403bc8c01", "06c404bc8c0100",
	  SAT_E_PROTO },
	{ "an element more than counted", "0892c40101", "0892c40102",
	  SAT_E_PROTO },
	{ "4,097 elements", "0892c40101", "0892c4028120", SAT_E_PROTO },
	{ "an element that is NULL", "0892c401019306c092c40104c404676f6c64",
	  "0892c401019300c0c0", SAT_E_PROTO },
};

static int decode_page(struct sat_slice in)
{
	struct sat_page page;
	struct sat_err err;

	return sat_page_decode(fx_visit, in, false, &arena, &page, &err);
}

static int decode_refs(struct sat_slice in)
{
	struct sat_page page;
	struct sat_err err;

	return sat_page_decode(fx_visit, in, true, &arena, &page, &err);
}

static int decode_changeset(struct sat_slice in)
{
	struct sat_changeset cs;
	struct sat_err err;

	return sat_changeset_decode(&fx_catalogue, in, &arena, &cs, NULL, &err);
}

static void run(const char *file, const char *name, const struct bend *rows,
		size_t count, int (*decode)(struct sat_slice))
{
	char hex[4096];
	unsigned wrong = 0;
	int rc;

	sat_arena_init(&arena, (size_t)64 * 1024 * 1024);
	read_vector(file, name, hex, sizeof hex);
	for (size_t i = 0; i < count; i++) {
		rc = decode(bend_vector(hex, &rows[i]));
		if (rc == rows[i].rc)
			continue;
		print_error("%s: %s\n", rows[i].why, sat_rc_name(rc));
		wrong++;
	}
	sat_arena_fini(&arena);
	assert_int_equal(wrong, 0);
}

static void bent_pages(void **state)
{
	(void)state;
	run("page", "page-two", pages, SAT_COUNT_OF(pages), decode_page);
	run("page", "page-refs", refs, SAT_COUNT_OF(refs), decode_refs);
}

static void bent_inserts(void **state)
{
	(void)state;
	run("changeset", "changeset-insert", inserts, SAT_COUNT_OF(inserts),
	    decode_changeset);
}

static void bent_edits(void **state)
{
	(void)state;
	run("changeset", "changeset-edits", edits, SAT_COUNT_OF(edits),
	    decode_changeset);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bent_pages),
		cmocka_unit_test(bent_inserts),
		cmocka_unit_test(bent_edits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
