#include "proto/catalogue_load.h"

#include "proto/catalogue_read.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_MAX = 32 * 1024 * 1024 };

/* What sat_catalogue.storage points to. */
struct storage {
	struct sat_catalogue cat;
	struct sat_arena arena;
};

static int parse(struct sat_slice json, const char *file, json_t **ret,
		 struct sat_err *err)
{
	json_error_t why;

	if (json.len > SAT_CATALOGUE_BYTES_MAX)
		return sat_err_set(err, SAT_E_LIMIT, 0, "catalogue",
				   "%s: longer than %d bytes", file,
				   (int)SAT_CATALOGUE_BYTES_MAX);
	*ret = json_loadb((const char *)json.ptr, json.len,
			  JSON_REJECT_DUPLICATES, &why);
	if (*ret != NULL)
		return SAT_OK;
	if (json_error_code(&why) == json_error_out_of_memory)
		return sat_err_set(err, SAT_E_NOMEM, 0, "catalogue",
				   "%s: out of memory", file);
	/* The text may quote the file: keep it printable. */
	for (char *p = why.text; *p != '\0'; p++)
		*p = *p >= ' ' && *p < 0x7f ? *p : '?';
	return sat_err_set(err, SAT_E_INVAL, 0, "catalogue",
			   "%s: line %d, column %d: %s", file, why.line,
			   why.column, why.text);
}

static int read_roles(struct sat_cr *r, json_t *root)
{
	static const char *const keys[] = { "label", NULL };
	json_t *roles = json_object_get(root, "roles"), *role;
	const char *names[SAT_ROLE_COUNT + 1] = { NULL };
	size_t mark;
	int rc;

	for (int i = 0; i < SAT_ROLE_COUNT; i++)
		names[i] = sat_role_name((enum sat_role)i);
	if (roles == NULL)
		return sat_cr_fail(r, "roles", "missing");
	mark = sat_cr_push(r, "roles");
	rc = sat_cr_object(r, roles, names);
	if (rc != SAT_OK)
		return rc;
	for (int i = 0; i < SAT_ROLE_COUNT; i++) {
		size_t inner;

		role = json_object_get(roles, names[i]);
		if (role == NULL)
			return sat_cr_fail(r, names[i], "missing");
		inner = sat_cr_push(r, ".%s", names[i]);
		rc = sat_cr_object(r, role, keys);
		if (rc == SAT_OK)
			rc = sat_cr_label(r, role, &r->cat->role_label[i]);
		if (rc != SAT_OK)
			return rc;
		sat_cr_pop(r, inner);
	}
	sat_cr_pop(r, mark);
	return SAT_OK;
}

/* Names and numbers of all tables first: columns refer to any of them. */
static int read_tables(struct sat_cr *r, json_t *root)
{
	struct sat_cr_entry *entries = NULL;
	struct sat_table *tables;
	json_t *list;
	size_t mark;
	int rc = sat_cr_array(r, root, "tables", 1, SAT_CATALOGUE_TABLES_MAX,
			      &list);

	if (rc == SAT_OK)
		rc = sat_cr_entries(r, list, "tables", &entries);
	if (rc != SAT_OK)
		return rc;
	tables = sat_arena_array(r->arena, json_array_size(list),
				 sizeof *tables);
	if (tables == NULL)
		return sat_cr_nomem(r);
	r->cat->tables = tables;
	r->cat->table_count = (uint16_t)json_array_size(list);
	for (uint16_t i = 0; i < r->cat->table_count; i++) {
		tables[i].name = entries[i].name;
		tables[i].no = entries[i].no;
		tables[i].index = i;
	}
	for (uint16_t i = 0; i < r->cat->table_count; i++) {
		mark = sat_cr_push(r, "tables.%s", tables[i].name);
		rc = sat_cr_table(r, entries[i].json, &tables[i]);
		if (rc != SAT_OK)
			return rc;
		sat_cr_pop(r, mark);
	}
	rc = sat_cr_whole(r);
	for (uint16_t i = 0; rc == SAT_OK && i < r->cat->table_count; i++) {
		mark = sat_cr_push(r, "tables.%s", tables[i].name);
		rc = sat_cr_figures(r, entries[i].json, &tables[i]);
		if (rc == SAT_OK)
			sat_cr_pop(r, mark);
	}
	return rc;
}

static int read_root(struct sat_cr *r, json_t *root)
{
	static const char *const keys[] = { "name", "version", "roles",
					    "tables", NULL };
	int64_t version = 0;
	int rc = sat_cr_object(r, root, keys);

	if (rc == SAT_OK)
		rc = sat_cr_identifier(r, root, "name", &r->cat->name);
	if (rc == SAT_OK)
		rc = sat_cr_int(r, root, "version", 1, INT32_MAX, &version,
				NULL);
	if (rc != SAT_OK)
		return rc;
	r->cat->version = (uint32_t)version;
	rc = read_roles(r, root);
	if (rc == SAT_OK)
		rc = read_tables(r, root);
	return rc;
}

int sat_catalogue_load(struct sat_slice json, const char *file,
		       struct sat_catalogue **ret, struct sat_err *err)
{
	struct sat_cr r = { .file = file, .err = err };
	struct storage *s = NULL;
	json_t *root = NULL;
	int rc = parse(json, file, &root, err);

	if (rc != SAT_OK)
		return rc;
	s = calloc(1, sizeof *s);
	if (s == NULL) {
		rc = sat_cr_nomem(&r);
		goto out;
	}
	sat_arena_init(&s->arena, MEMORY_MAX);
	s->cat.storage = s;
	r.arena = &s->arena;
	r.cat = &s->cat;
	rc = read_root(&r, root);
	if (rc != SAT_OK)
		goto out;
	*ret = &s->cat;
	s = NULL;
out:
	if (s != NULL)
		sat_catalogue_free(&s->cat);
	json_decref(root);
	return rc;
}

/* The whole file into *ret, which the caller frees. */
static int read_file(FILE *f, const char *name, uint8_t **ret, size_t *ret_len,
		     struct sat_err *err)
{
	uint8_t *bytes = malloc(SAT_CATALOGUE_BYTES_MAX + 1);
	size_t len;

	if (bytes == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "catalogue",
				   "%s: out of memory", name);
	/* One byte more than allowed tells a file that is too long. */
	len = fread(bytes, 1, SAT_CATALOGUE_BYTES_MAX + 1, f);
	if (ferror(f)) {
		free(bytes);
		return sat_err_set(err, SAT_E_IO, errno, "catalogue", "%s: %s",
				   name, strerror(errno));
	}
	*ret = bytes;
	*ret_len = len;
	return SAT_OK;
}

int sat_catalogue_load_file(const char *path, struct sat_catalogue **ret,
			    struct sat_err *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	uint8_t *bytes = NULL;
	size_t len = 0;
	FILE *f = fopen(path, "rb");
	int rc;

	if (f == NULL)
		return sat_err_set(
			err, errno == ENOENT ? SAT_E_NOTFOUND : SAT_E_IO, errno,
			"catalogue", "%s: %s", path, strerror(errno));
	rc = read_file(f, name, &bytes, &len, err);
	(void)fclose(f);
	if (rc != SAT_OK)
		return rc;
	rc = sat_catalogue_load((struct sat_slice){ bytes, len }, name, ret,
				err);
	free(bytes);
	return rc;
}

void sat_catalogue_free(struct sat_catalogue *c)
{
	struct storage *s;

	if (c == NULL)
		return;
	s = c->storage;
	sat_arena_fini(&s->arena);
	free(s);
}

/* What a json_dump callback can tell: that it failed, not why. */
struct sink {
	struct sat_buf *out;
	int rc;
};

static int on_dump(const char *bytes, size_t n, void *arg)
{
	struct sink *s = arg;

	s->rc = sat_buf_append(s->out, bytes, n);
	return s->rc == SAT_OK ? 0 : -1;
}

int sat_catalogue_canonical(struct sat_slice json, struct sat_buf *out,
			    struct sat_err *err)
{
	struct sink s = { out, SAT_OK };
	json_t *root = NULL;
	int rc = parse(json, "catalogue", &root, err);

	if (rc != SAT_OK)
		return rc;
	if (json_dump_callback(root, on_dump, &s,
			       JSON_COMPACT | JSON_SORT_KEYS) != 0) {
		rc = s.rc != SAT_OK ? s.rc : SAT_E_NOMEM;
		(void)sat_err_set(err, rc, 0, "catalogue", "canonical text: %s",
				  sat_rc_name(rc));
	}
	json_decref(root);
	return rc;
}
