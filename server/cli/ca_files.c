#include "server/cli/ca_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"

enum { PATH_CHARS = 4096 };

static int read_one(const char *dir, const char *name, struct sat_buf *ret,
		    struct sat_err *err)
{
	char path[PATH_CHARS];
	int rc = sat_path_join(path, sizeof path, dir, name, err);

	return rc == SAT_OK ? sat_file_read(path, SAT_PEM_BYTES_MAX, ret, err)
			    : rc;
}

static int write_one(const char *dir, const char *name,
		     const struct sat_buf *bytes, mode_t mode,
		     struct sat_err *err)
{
	char path[PATH_CHARS];
	int rc = sat_path_join(path, sizeof path, dir, name, err);

	return rc == SAT_OK
		       ? sat_file_write(path, sat_buf_peek(bytes), mode, err)
		       : rc;
}

static bool is_there(const char *dir, const char *name)
{
	char path[PATH_CHARS];
	struct sat_err err;

	return sat_path_join(path, sizeof path, dir, name, &err) == SAT_OK &&
	       sat_file_exists(path);
}

void sat_ca_files_init(struct sat_ca_files *f)
{
	memset(f, 0, sizeof *f);
	sat_buf_init(&f->cert, SAT_PEM_BYTES_MAX);
	sat_buf_init(&f->key, SAT_PEM_BYTES_MAX);
	sat_buf_init(&f->told, SAT_PEM_BYTES_MAX);
}

static void clear(struct sat_ca_files *f)
{
	if (f->key.base != NULL)
		sat_secret_wipe(f->key.base, f->key.cap);
	sat_buf_clear(&f->cert);
	sat_buf_clear(&f->key);
	sat_buf_clear(&f->told);
}

void sat_ca_files_fini(struct sat_ca_files *f)
{
	clear(f);
	sat_buf_fini(&f->cert);
	sat_buf_fini(&f->key);
	sat_buf_fini(&f->told);
}

int sat_ca_files_read(const char *dir, struct sat_ca_files *f,
		      struct sat_err *err)
{
	struct sat_cert_info info;
	int rc;

	clear(f);
	f->rolling = is_there(dir, "ca.next.pem");
	rc = read_one(dir, f->rolling ? "ca.next.pem" : "ca.pem", &f->cert,
		      err);
	if (rc == SAT_OK)
		rc = read_one(dir, f->rolling ? "ca.next.key" : "ca.key",
			      &f->key, err);
	if (rc == SAT_OK)
		rc = read_one(dir, "ca.pem", &f->told, err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&f->told), &info, err);
	if (rc != SAT_OK)
		return rc;
	f->old_ends_ms = info.not_after_ms;
	if (f->rolling)
		rc = read_one(dir, "ca.next.pem", &f->told, err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_fits(sat_buf_peek(&f->cert),
				       sat_buf_peek(&f->key), err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&f->cert), &info, err);
	if (rc == SAT_OK)
		f->no = sat_pki_ca_no(info.spki);
	return rc;
}

/* The certificate comes last: with it the new CA is there. */
int sat_ca_files_begin(const char *dir, const char *org, int64_t now_ms,
		       struct sat_err *err)
{
	struct sat_buf key, cert;
	int rc;

	if (is_there(dir, "ca.next.pem"))
		return sat_err_set(err, SAT_E_EXISTS, 0, "ca rollover",
				   "a new CA takes over already (see `ca "
				   "status`)");
	sat_buf_init(&key, SAT_PEM_BYTES_MAX);
	sat_buf_init(&cert, SAT_PEM_BYTES_MAX);
	rc = sat_pki_key_new(&key, err);
	if (rc == SAT_OK)
		rc = sat_pki_ca_new(sat_buf_peek(&key), org, now_ms, &cert,
				    err);
	if (rc == SAT_OK)
		rc = write_one(dir, "ca.next.key", &key, 0600, err);
	if (rc == SAT_OK)
		rc = write_one(dir, "ca.next.pem", &cert, 0644, err);
	if (key.base != NULL)
		sat_secret_wipe(key.base, key.cap);
	sat_buf_fini(&key);
	sat_buf_fini(&cert);
	return rc;
}

static int move(const char *dir, const char *from, const char *to,
		struct sat_err *err)
{
	char a[PATH_CHARS], b[PATH_CHARS];
	int rc = sat_path_join(a, sizeof a, dir, from, err);

	if (rc == SAT_OK)
		rc = sat_path_join(b, sizeof b, dir, to, err);
	if (rc != SAT_OK || !sat_file_exists(a))
		return rc;
	if (rename(a, b) != 0)
		return sat_err_set(err, SAT_E_IO, errno, "ca", "%s: %s", b,
				   strerror(errno));
	return sat_dir_sync(dir, err);
}

int sat_ca_files_settle(const char *dir, struct sat_err *err)
{
	int rc;

	if (!is_there(dir, "server.next.pem"))
		return SAT_OK;
	rc = move(dir, "ca.next.key", "ca.key", err);
	if (rc == SAT_OK)
		rc = move(dir, "ca.next.pem", "ca.pem", err);
	if (rc == SAT_OK)
		rc = move(dir, "server.next.pem", "server.pem", err);
	return rc;
}

int sat_ca_files_finish(const char *dir, int64_t now_ms, struct sat_err *err)
{
	struct sat_ca_files f;
	struct sat_buf old, next;
	struct sat_ca ca;
	int rc;

	sat_ca_files_init(&f);
	sat_buf_init(&old, SAT_PEM_BYTES_MAX);
	sat_buf_init(&next, SAT_PEM_BYTES_MAX);
	rc = sat_ca_files_read(dir, &f, err);
	if (rc == SAT_OK && !f.rolling)
		rc = sat_err_set(err, SAT_E_NOTFOUND, 0, "ca finish",
				 "no new CA takes over; `ca rollover` makes "
				 "one");
	if (rc == SAT_OK)
		rc = read_one(dir, "server.pem", &old, err);
	ca = (struct sat_ca){ sat_buf_peek(&f.cert), sat_buf_peek(&f.key) };
	if (rc == SAT_OK)
		rc = sat_pki_server_again(ca, sat_buf_peek(&old), now_ms, &next,
					  err);
	if (rc == SAT_OK)
		rc = write_one(dir, "server.next.pem", &next, 0644, err);
	if (rc == SAT_OK)
		rc = sat_ca_files_settle(dir, err);
	sat_buf_fini(&old);
	sat_buf_fini(&next);
	sat_ca_files_fini(&f);
	return rc;
}
