/* init and config: making a data folder, and its settings. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/config.h"
#include "common/file.h"
#include "common/pki.h"
#include "common/say.h"
#include "proto/catalogue_load.h"
#include "server/cli/cli.h"
#include "server/commit/engine.h"

enum { HOSTS_MAX = 32 };

struct setup {
	const char *dir, *org;
	const char *hosts[HOSTS_MAX + 3];
	size_t host_count;
	char own_name[256];
	struct sat_buf ca_key, ca, key, cert, catalogue;
	struct sat_lock lock;
	int64_t now_ms;
};

static int64_t wall_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The names given, and always this machine's own. */
static int gather_hosts(struct setup *s, const json_t *args,
			struct sat_err *err)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(args, "host"), i, v)
	{
		if (i == HOSTS_MAX)
			return sat_err_set(err, SAT_E_LIMIT, 0, "init",
					   "more than %d hosts", HOSTS_MAX);
		s->hosts[s->host_count++] = json_string_value(v);
	}
	if (gethostname(s->own_name, sizeof s->own_name - 1) == 0)
		s->hosts[s->host_count++] = s->own_name;
	s->hosts[s->host_count++] = "localhost";
	s->hosts[s->host_count++] = "127.0.0.1";
	return SAT_OK;
}

static int make_keys(struct setup *s, struct sat_err *err)
{
	struct sat_ca ca;
	int rc;

	rc = sat_pki_key_new(&s->ca_key, err);
	if (rc == SAT_OK)
		rc = sat_pki_ca_new(sat_buf_peek(&s->ca_key), s->org, s->now_ms,
				    &s->ca, err);
	if (rc == SAT_OK)
		rc = sat_pki_key_new(&s->key, err);
	ca = (struct sat_ca){ sat_buf_peek(&s->ca), sat_buf_peek(&s->ca_key) };
	if (rc == SAT_OK)
		rc = sat_pki_server_cert(ca, sat_buf_peek(&s->key), s->hosts,
					 s->host_count, s->now_ms, &s->cert,
					 err);
	return rc;
}

static int put_file(const struct setup *s, const char *name,
		    const struct sat_buf *bytes, mode_t mode,
		    struct sat_err *err)
{
	char path[4096];
	int rc = sat_path_join(path, sizeof path, s->dir, name, err);

	return rc == SAT_OK
		       ? sat_file_write(path, sat_buf_peek(bytes), mode, err)
		       : rc;
}

/* server.conf as a commented sample, with the address for invitations. */
static int put_config(const struct setup *s, const json_t *args,
		      struct sat_err *err)
{
	const char *host = json_string_value(
		json_array_get(json_object_get(args, "host"), 0));
	struct sat_config *c = sat_config_new(SAT_PART_SERVER);
	struct sat_buf text;
	char advertise[300];
	int rc = c == NULL ? SAT_E_NOMEM : SAT_OK;

	sat_buf_init(&text, 1 << 20);
	if (rc == SAT_OK && host != NULL) {
		(void)snprintf(advertise, sizeof advertise, "%s%s", host,
			       strchr(host, ':') == NULL ? ":7443" : "");
		rc = sat_config_set(c, "advertise", advertise, err);
	}
	if (rc == SAT_OK)
		rc = sat_config_print(c, &text);
	if (rc == SAT_OK)
		rc = put_file(s, "server.conf", &text, 0600, err);
	sat_buf_fini(&text);
	sat_config_free(c);
	return rc;
}

static int make_store(const struct setup *s, struct sat_slice catalogue,
		      struct sat_err *err)
{
	struct sat_store *store;
	uint8_t random[16];
	char path[4096];
	int rc;

	rc = sat_path_join(path, sizeof path, s->dir, "satchel.db", err);
	if (rc == SAT_OK)
		rc = sat_random(random, sizeof random, err);
	if (rc == SAT_OK)
		rc = sat_store_open_sqlite(path, true, true, &store, err);
	if (rc != SAT_OK)
		return rc;
	rc = sat_engine_init(store, catalogue, s->org, s->now_ms, random, err);
	sat_store_close(store);
	return rc;
}

static int read_catalogue(struct setup *s, const char *file,
			  struct sat_err *err)
{
	struct sat_buf raw;
	struct sat_catalogue *c;
	int rc = SAT_OK;

	sat_buf_init(&raw, 1 << 20);
	if (file != NULL)
		rc = sat_file_read(file, 1 << 20, &raw, err);
	else
		rc = sat_buf_append(&raw, sat_catalogue_builtin().ptr,
				    sat_catalogue_builtin().len);
	if (rc == SAT_OK)
		rc = sat_catalogue_load(sat_buf_peek(&raw),
					file != NULL ? file : "built-in", &c,
					err);
	if (rc == SAT_OK) {
		sat_catalogue_free(c);
		rc = sat_catalogue_canonical(sat_buf_peek(&raw), &s->catalogue,
					     err);
	}
	sat_buf_fini(&raw);
	return rc;
}

/* Everything is checked and made in memory first; the database, whose
 * presence makes the folder a server's, is written last. */
static int set_up(struct setup *s, const json_t *args, struct sat_err *err)
{
	const char *file =
		json_string_value(json_object_get(args, "catalogue"));
	char path[4096];
	int rc;

	rc = gather_hosts(s, args, err);
	if (rc == SAT_OK)
		rc = read_catalogue(s, file, err);
	if (rc == SAT_OK)
		rc = sat_dir_make(s->dir, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, s->dir, "lock", err);
	if (rc == SAT_OK)
		rc = sat_lock_take(path, &s->lock, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, s->dir, "satchel.db",
				   err);
	if (rc == SAT_OK && sat_file_exists(path))
		rc = sat_err_set(err, SAT_E_EXISTS, 0, "init",
				 "%s is a server's folder already; nothing was "
				 "changed",
				 s->dir);
	if (rc == SAT_OK)
		rc = make_keys(s, err);
	if (rc == SAT_OK)
		rc = put_file(s, "ca.key", &s->ca_key, 0600, err);
	if (rc == SAT_OK)
		rc = put_file(s, "ca.pem", &s->ca, 0644, err);
	if (rc == SAT_OK)
		rc = put_file(s, "server.key", &s->key, 0600, err);
	if (rc == SAT_OK)
		rc = put_file(s, "server.pem", &s->cert, 0644, err);
	if (rc == SAT_OK)
		rc = put_config(s, args, err);
	if (rc == SAT_OK)
		rc = make_store(s, sat_buf_peek(&s->catalogue), err);
	return rc;
}

int sat_cli_init(struct sat_call *call)
{
	struct setup s = { .dir = call->dir, .now_ms = wall_ms() };
	struct sat_buf *bufs[] = { &s.ca_key, &s.ca, &s.key, &s.cert,
				   &s.catalogue };
	struct sat_err err;
	int rc;

	s.org = json_string_value(json_object_get(call->args, "org"));
	s.lock.fd = -1;
	for (size_t i = 0; i < SAT_COUNT_OF(bufs); i++)
		sat_buf_init(bufs[i], 1 << 20);
	rc = set_up(&s, call->args, &err);
	sat_secret_wipe(s.ca_key.base, s.ca_key.len);
	sat_secret_wipe(s.key.base, s.key.len);
	for (size_t i = 0; i < SAT_COUNT_OF(bufs); i++)
		sat_buf_fini(bufs[i]);
	sat_lock_drop(&s.lock);
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("init", &err);
	}
	(void)printf(sat_say("%s is ready. Next:\n"), call->dir);
	(void)printf(
		"  satchel-server territory add --dir %s --code CN --name "
		"Nation --level nation\n"
		"  satchel-server user add --dir %s --login ann --name Ann "
		"--role rep --territory CN\n"
		"  satchel-server run --dir %s\n"
		"  satchel-server invite --dir %s --login ann\n",
		call->dir, call->dir, call->dir, call->dir);
	return SAT_EXIT_OK;
}

int sat_cli_config(struct sat_call *call)
{
	struct sat_config *c = NULL;
	struct sat_buf text;
	struct sat_slice s;
	struct sat_err err;
	char path[4096] = "";
	int rc = SAT_OK;

	sat_buf_init(&text, 1 << 20);
	if (call->dir != NULL)
		rc = sat_path_join(path, sizeof path, call->dir, "server.conf",
				   &err);
	if (rc == SAT_OK && *path != '\0')
		rc = sat_config_load(SAT_PART_SERVER, path, &c, &err);
	else if (rc == SAT_OK && (c = sat_config_new(SAT_PART_SERVER)) == NULL)
		rc = sat_err_set(&err, SAT_E_NOMEM, 0, "config",
				 "out of memory");
	if (rc != SAT_OK) {
		err.rc = rc;
		return sat_complain("config", &err);
	}
	if (json_object_get(call->args, "check") == NULL) {
		rc = json_object_get(call->args, "manual") != NULL
			     ? sat_config_manual(SAT_PART_SERVER, &text)
			     : sat_config_print(c, &text);
		s = sat_buf_peek(&text);
		if (rc == SAT_OK)
			(void)fwrite(s.ptr, 1, s.len, stdout);
	} else {
		(void)printf(sat_say("%s is good\n"), path);
	}
	sat_buf_fini(&text);
	sat_config_free(c);
	return sat_exit_code(rc);
}
