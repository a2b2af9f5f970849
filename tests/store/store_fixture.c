#include "store_fixture.h"

#include "common/text.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COLUMNS_MAX = 32 };

void ok_at(struct fixture *f, int rc, const char *what, int line)
{
	if (rc != SAT_OK)
		fail_msg("line %d: %s: %s: %s", line, what, sat_rc_name(rc),
			 f->err.msg);
}

/* ---- the catalogue; ' stands for " --------------------------------------- */

#define LABEL   "'label':{'en':'x','zh':'x'}"
#define ROLE(r) "'" r "':{" LABEL "}"
#define COLUMN(no, name, rest) \
	"{'no':" no ",'name':'" name "'," LABEL "," rest "}"

static const char head[] = "{'name':'test','version':%d,'roles':{" ROLE("rep") "," ROLE("manager") "," ROLE(
	"hq") "," ROLE("service") "," ROLE("admin") "," ROLE("server") "},'"
								       "tables'"
								       ":["
								       "{'name'"
								       ":'"
								       "place',"
								       "'no':"
								       "1"
								       "," LABEL
								       ",'"
								       "scope':"
								       "[{'"
								       "global'"
								       ":true}]"
								       ","
								       "'insert"
								       "':['"
								       "admin']"
								       ",'"
								       "columns"
								       "':"
								       "[" COLUMN("1",
										  "name", "'type':'text'") "]},"
													   "{'name':'thing','no':2," LABEL
													   ",'scope':[{'column':'place_id'}],"
													   "'territory':'place_id','move_with':'owner_id','insert':['rep'],"
													   "'delete':['rep'],'columns':[" COLUMN("1", "title", "'type':'text'") "," COLUMN("2", "place_id", "'type':'ref','ref':'place'") "," COLUMN("3", "owner_id", "'type':'ref','ref':'thing'") "," COLUMN("4", "n", "'type':'%s'") "," COLUMN("5",
																																										   "r", "'type':'real'") "," COLUMN("6",
																																														    "yes",
																																														    "'type':'bool'") "," COLUMN("7",
																																																		"price", "'type':'money'") "," COLUMN("8",
																																																						      "at",
																																																						      "'type':'time'") "," COLUMN("9",
																																																										  "day", "'type':'date'") "," COLUMN("10",
																																																														     "kind",
																																																														     "'type':'enum','values':["
																																																														     "{'name':'a'," LABEL "},{'name':'b'," LABEL "}]") "," COLUMN("11",
																																																																						  "tags", "'type':'set'") "," COLUMN("12", "hits",
																																																																										     "'type':'counter'") "," COLUMN("13",
																																																																														    "spot",
																																																																														    "'type':'geo'") "," COLUMN("14",
																																																																																	       "more",
																																																																																	       "'type':'json'") "," COLUMN("15",
																																																																																					   "photo",
																																																																																					   "'type':'blobref'");

static const char extra[] =
	"," COLUMN("16", "later", "'type':'text'") "," COLUMN(
		"17", "later_hits", "'type':'counter'");

static const char extra_table[] =
	",{'name':'addition','no':3," LABEL ",'scope':[{'via':'thing_id'}],"
	"'insert':['rep'],'columns':[" COLUMN(
		"1", "thing_id", "'type':'ref','ref':'thing'") "]}";

struct sat_slice fixture_catalogue(int version)
{
	static char text[4][8192];
	char *out = text[version];
	int n = snprintf(out, sizeof text[0], head, version,
			 version == 3 ? "text" : "int");

	n += snprintf(out + n, sizeof text[0] - (size_t)n, "%s]}%s]}",
		      version >= 2 ? extra : "",
		      version >= 2 ? extra_table : "");
	for (int i = 0; i < n; i++) {
		if (out[i] == '\'')
			out[i] = '"';
	}
	return sat_slice_str(out);
}

/* ---- folder and handles -------------------------------------------------- */

int fixture_open(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/satchel-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->file, sizeof f->file, "%s/satchel.db", f->dir);
	sat_arena_init(&f->a, 64 * 1024 * 1024);
	OK(f, sat_store_open_sqlite(f->file, true, true, &f->w, &f->err));
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_catalogue_put(f->w, fixture_catalogue(1), &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
	*state = f;
	return 0;
}

/* The folder is flat. */
static void remove_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char file[512];

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		(void)snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
		(void)unlink(file);
	}
	if (dir != NULL)
		(void)closedir(dir);
	(void)rmdir(path);
}

int fixture_close(void **state)
{
	struct fixture *f = *state;

	sat_store_close(f->w);
	sat_arena_fini(&f->a);
	remove_folder(f->dir);
	free(f);
	return 0;
}

void fixture_reopen(struct fixture *f)
{
	sat_store_close(f->w);
	f->w = NULL;
	OK(f, sat_store_open_sqlite(f->file, true, false, &f->w, &f->err));
}

struct sat_store *fixture_reader(struct fixture *f)
{
	struct sat_store *r = NULL;

	OK(f, sat_store_open_sqlite(f->dir, false, false, &r, &f->err));
	return r;
}

/* ---- values -------------------------------------------------------------- */

struct sat_id id_of(uint32_t n)
{
	struct sat_id id = { { 1, 2, 3, 4, 5, 6, 0x70, 0, 0x80 } };

	for (int i = 0; i < 4; i++)
		id.b[12 + i] = (uint8_t)(n >> (24 - 8 * i));
	return id;
}

const struct sat_table *table_of(struct sat_store *s, const char *name)
{
	const struct sat_table *t = sat_catalogue_table(sat_store_catalogue(s),
							sat_slice_str(name));

	assert_non_null(t);
	return t;
}

struct sat_value text_of(const char *s)
{
	return sat_value_text(sat_slice_str(s));
}

int column_of(const struct sat_table *t, const char *name)
{
	int column = sat_table_column(t, sat_slice_str(name));

	assert_true(column >= 0);
	return column;
}

struct sat_stored_row *thing_of(struct fixture *f, uint32_t id, uint64_t seq,
				const char *title)
{
	static struct sat_stored_row row;
	static struct sat_value values[COLUMNS_MAX];
	static struct sat_place place;
	const struct sat_table *t = table_of(f->w, "thing");

	memset(values, 0, sizeof values);
	values[column_of(t, "title")] = text_of(title);
	values[column_of(t, "hits")] = sat_value_int(0);
	place = (struct sat_place){ 1, seq, false };
	row = (struct sat_stored_row){
		.seq = seq,
		.id = id_of(id),
		.origin = 7,
		.meta = sat_slice_str("meta"),
		.values = values,
		.places = &place,
		.place_count = 1,
	};
	return &row;
}

void put_thing(struct fixture *f, uint32_t id, uint64_t seq, const char *title)
{
	OK(f, sat_store_begin(f->w, &f->err));
	OK(f, sat_store_row_put(f->w, table_of(f->w, "thing"), 0,
				thing_of(f, id, seq, title), &f->err));
	OK(f, sat_store_commit(f->w, &f->err));
}
