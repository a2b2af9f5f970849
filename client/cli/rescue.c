/* rescue: everything unsynced out of a replica, sound or damaged, into one
 * file that `satchel-server adopt` takes in. Works on a copy: the folder is
 * read and never written.
 *
 * The file is JSON, one value to a line: whose it is; the changesets that have
 * no verdict, as they are, in order; the rejected list. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "common/file.h"
#include "common/text.h"

enum { PATH_BYTES = 4096, COPY_BYTES = 64 * 1024 };

struct rescue {
	struct sat_cli *c;
	char copy[PATH_BYTES]; /* folder of the copy */
	char out[PATH_BYTES];  /* being written */
	FILE *f;
	int64_t changesets, rejected;
	bool damaged;
};

static const char *const parts[] = { "replica.db", "replica.db-wal",
				     "replica.db.rescue" };

/* ---- the copy ------------------------------------------------------------ */

static int failed(struct sat_cli *c, const char *what, const char *path)
{
	return sat_cli_fail(c, "%s: %s: %s", what, path, strerror(errno));
}

static bool copy_bytes(int from, int to)
{
	static char block[COPY_BYTES];
	ssize_t n, put;

	while ((n = read(from, block, sizeof block)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		for (ssize_t at = 0; at < n; at += put) {
			put = write(to, block + at, (size_t)(n - at));
			if (put < 0)
				return false;
		}
	}
	return true;
}

static int copy_file(struct rescue *x, const char *dir, const char *name)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	int in, out, code = SAT_CLI_OK;

	if (sat_path_join(from, sizeof from, dir, name, &x->c->err) != SAT_OK ||
	    sat_path_join(to, sizeof to, x->copy, name, &x->c->err) != SAT_OK)
		return sat_cli_error(x->c);
	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return errno == ENOENT ? SAT_CLI_OK
				       : failed(x->c, "rescue", from);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0 || !copy_bytes(in, out))
		code = failed(x->c, "rescue", to);
	if (out >= 0 && close(out) != 0 && code == SAT_CLI_OK)
		code = failed(x->c, "rescue", to);
	(void)close(in);
	return code;
}

/* A daemon writes while we copy: then the copy is of no moment. */
static int check_free(struct sat_cli *c, const char *dir)
{
	char path[PATH_BYTES];
	pid_t holder = 0;
	int rc = sat_path_join(path, sizeof path, dir, "lock", &c->err);

	if (rc == SAT_OK)
		rc = sat_lock_holder(path, &holder, &c->err);
	if (rc != SAT_OK && rc != SAT_E_NOTFOUND)
		return sat_cli_error(c);
	if (holder == 0)
		return SAT_CLI_OK;
	(void)sat_cli_fail(
		c,
		SAT_TR(c,
		       "satcheld (process %ld) works in %s; stop it first: "
		       "kill %ld",
		       "satcheld（进程 %ld）正在使用 %s，请先停止：kill %ld"),
		(long)holder, dir, (long)holder);
	return SAT_CLI_BUSY;
}

static int make_copy(struct rescue *x, const char *dir)
{
	char path[PATH_BYTES];
	bool any = false;
	int code = check_free(x->c, dir);

	if (code != SAT_CLI_OK)
		return code;
	(void)snprintf(x->copy, sizeof x->copy, "%.4000s.copy-XXXXXX", x->out);
	if (mkdtemp(x->copy) == NULL) {
		code = failed(x->c, "rescue", x->copy);
		x->copy[0] = '\0';
		return code;
	}
	for (size_t i = 0; code == SAT_CLI_OK && i < SAT_COUNT_OF(parts); i++) {
		code = copy_file(x, dir, parts[i]);
		if (sat_path_join(path, sizeof path, x->copy, parts[i],
				  &x->c->err) == SAT_OK)
			any = any || sat_file_exists(path);
	}
	if (code == SAT_CLI_OK && !any)
		code = sat_cli_fail(x->c,
				    SAT_TR(x->c, "%s holds no replica",
					   "%s 中没有本地数据"),
				    dir);
	return code;
}

static void remove_copy(struct rescue *x)
{
	DIR *d = x->copy[0] == '\0' ? NULL : opendir(x->copy);
	char path[PATH_BYTES];
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' &&
		    sat_path_join(path, sizeof path, x->copy, e->d_name,
				  &x->c->err) == SAT_OK)
			(void)unlink(path);
	if (d != NULL)
		(void)closedir(d);
	if (x->copy[0] != '\0')
		(void)rmdir(x->copy);
}

/* ---- the file ------------------------------------------------------------ */

static int put_line(struct rescue *x, json_t *line, struct sat_err *err)
{
	int bad =
		line == NULL ||
		json_dumpf(line, x->f, JSON_COMPACT | JSON_ENSURE_ASCII) != 0 ||
		fputc('\n', x->f) == EOF;

	json_decref(line);
	return bad ? sat_err_set(err, SAT_E_IO, errno, "rescue",
				 "the file could not be written")
		   : SAT_OK;
}

static char *hex_of(struct sat_slice s)
{
	char *out = malloc(2 * s.len + 1);

	if (out != NULL)
		sat_hex_format(s.ptr, s.len, out);
	return out;
}

static int on_changeset(void *arg, const struct sat_value *v, int count,
			struct sat_err *err)
{
	struct rescue *x = arg;
	char *hash = hex_of(v[1].s), *bytes = hex_of(v[2].s);
	int rc = SAT_E_NOMEM;

	(void)count;
	if (hash != NULL && bytes != NULL)
		rc = put_line(x,
			      json_pack("{s:I, s:s, s:s}", "seq",
					(json_int_t)v[0].i, "hash", hash,
					"bytes", bytes),
			      err);
	else
		(void)sat_err_set(err, rc, 0, "rescue", "out of memory");
	x->changesets++;
	free(hash);
	free(bytes);
	return rc;
}

static int on_rejected(void *arg, const struct sat_value *v, int count,
		       struct sat_err *err)
{
	struct rescue *x = arg;
	json_t *content =
		v[2].kind != SAT_TEXT
			? json_null()
			: json_loadb((const char *)v[2].s.ptr, v[2].s.len,
				     JSON_ALLOW_NUL, NULL);

	(void)count;
	x->rejected++;
	return put_line(
		x,
		json_pack("{s:s%, s:s%, s:o}", "rejected",
			  v[0].kind == SAT_TEXT ? (const char *)v[0].s.ptr : "",
			  v[0].kind == SAT_TEXT ? v[0].s.len : (size_t)0,
			  "sentence",
			  v[1].kind == SAT_TEXT ? (const char *)v[1].s.ptr : "",
			  v[1].kind == SAT_TEXT ? v[1].s.len : (size_t)0,
			  "content", content == NULL ? json_null() : content),
		err);
}

static int put_head(struct rescue *x, struct sat_replica *r,
		    struct sat_err *err)
{
	struct sat_replica_status s;
	char epoch[24];
	int rc = sat_replica_status(r, &s, err);

	if (rc != SAT_OK)
		return rc;
	(void)snprintf(epoch, sizeof epoch, "%llu",
		       (unsigned long long)s.epoch);
	return put_line(x,
			json_pack("{s:i, s:s, s:s, s:I, s:s, s:I, s:i}",
				  "satchel_rescue", 1, "org", s.org, "login",
				  s.login, "replica", (json_int_t)s.replica,
				  "epoch", epoch, "offset_ms",
				  (json_int_t)s.offset_ms, "catalogue",
				  (int)sat_replica_catalogue(r)->version),
			err);
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What is captured becomes a changeset, then all of them are written. */
static int take(struct rescue *x, struct sat_err *err)
{
	char path[PATH_BYTES];
	struct sat_replica *r = NULL;
	uint64_t seq;
	int rc = sat_path_join(path, sizeof path, x->copy, "replica.db", err);

	if (rc == SAT_OK)
		rc = sat_replica_check(path, &x->damaged, err);
	if (rc == SAT_OK)
		rc = sat_replica_open(path, &r, err);
	if (rc == SAT_OK)
		rc = sat_replica_harvest(r, now_ms(), true, 5000, &seq, err);
	if (rc == SAT_OK)
		rc = put_head(x, r, err);
	if (rc == SAT_OK)
		rc = sat_query(r,
			       "SELECT seq, hash, bytes FROM _satchel_outbox"
			       " WHERE state IN (0, 3) ORDER BY seq",
			       NULL, 0, on_changeset, x, err);
	if (rc == SAT_OK)
		rc = sat_query(r,
			       "SELECT reason, sentence_en, content FROM"
			       " satchel_rejected ORDER BY n",
			       NULL, 0, on_rejected, x, err);
	sat_replica_close(r);
	return rc;
}

/* ---- the command --------------------------------------------------------- */

static void say(const struct rescue *x, const char *file)
{
	const struct sat_cli *c = x->c;
	struct sat_out_object o;

	if (c->json) {
		sat_out_object_begin(&o);
		sat_out_member(&o, "changesets", SAT_OUT_INT,
			       sat_value_int(x->changesets));
		sat_out_member(&o, "rejected", SAT_OUT_INT,
			       sat_value_int(x->rejected));
		sat_out_member(&o, "damaged", SAT_OUT_BOOL,
			       sat_value_int(x->damaged));
		sat_out_object_end(&o);
		return;
	}
	(void)printf(
		SAT_TR(c,
		       "%lld unsent changesets and %lld rejected ones are in "
		       "%s\n",
		       "已取出 %lld 组未发送的修改和 %lld "
		       "项被拒绝的修改：%s\n"),
		(long long)x->changesets, (long long)x->rejected, file);
	(void)printf(
		SAT_TR(c,
		       "on the server: satchel-server adopt --dir DIR %s "
		       "--login LOGIN\n",
		       "在服务器上执行：satchel-server adopt --dir 目录 %s "
		       "--login 登录名\n"),
		file);
}

/* Complete and on the disk, or not there. */
static int finish(struct rescue *x, const char *file)
{
	bool ok = fflush(x->f) == 0 && fsync(fileno(x->f)) == 0;

	ok = fclose(x->f) == 0 && ok;
	x->f = NULL;
	if (!ok || link(x->out, file) != 0)
		return failed(x->c, "rescue", file);
	return SAT_CLI_OK;
}

int sat_cli_rescue(struct sat_cli *c)
{
	struct rescue x = { .c = c };
	const char *file = c->word[1];
	int fd, code;

	if (sat_file_exists(file))
		return sat_cli_fail(
			c, SAT_TR(c, "%s exists already", "%s 已存在"), file);
	(void)snprintf(x.out, sizeof x.out, "%.3900s.XXXXXX", file);
	fd = mkstemp(x.out);
	x.f = fd < 0 ? NULL : fdopen(fd, "w");
	if (x.f == NULL)
		return failed(c, "rescue", x.out);
	code = make_copy(&x, c->word[0]);
	if (code == SAT_CLI_OK && take(&x, &c->err) != SAT_OK)
		code = sat_cli_error(c);
	if (code == SAT_CLI_OK)
		code = finish(&x, file);
	if (x.f != NULL)
		(void)fclose(x.f);
	remove_copy(&x);
	(void)unlink(x.out);
	if (code == SAT_CLI_OK)
		say(&x, file);
	return code;
}
