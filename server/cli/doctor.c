/* doctor: what may be wrong with this server, one sentence and one command
 * for each finding. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/config.h"
#include "common/file.h"
#include "common/pki.h"
#include "common/say.h"
#include "common/text.h"
#include "server/cli/ca_files.h"
#include "server/cli/cli.h"

enum {
	WAL_MAX_BYTES = 256 * 1024 * 1024,
	FREE_MIN_BYTES = 1024 * 1024 * 1024,
	/* Long before: every device must have come by meanwhile. */
	CERT_MIN_DAYS = 180,
	DAY_MS = 24 * 60 * 60 * 1000,
	REACH_MS = 3000,
	PEM_MAX = 64 * 1024,
};

struct doctor {
	struct sat_call *call;
	json_t *list; /* of [check, sentence, command] */
	bool rolling;
	uint64_t ca_no;
	int64_t ca_days;
};

static void find(struct doctor *d, const char *check, const char *command,
		 const char *fmt, ...) SAT_PRINTF(4, 5);

static void find(struct doctor *d, const char *check, const char *command,
		 const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	(void)json_array_append_new(
		d->list, json_pack("[s, s, s]", check, text, command));
}

static bool path_of(const struct doctor *d, const char *name, char out[4096])
{
	struct sat_err err;

	return sat_path_join(out, 4096, d->call->dir, name, &err) == SAT_OK;
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void check_disk(struct doctor *d)
{
	struct statvfs v;
	struct stat st;
	char path[4096];
	uint64_t left;

	if (statvfs(d->call->dir, &v) == 0) {
		left = (uint64_t)v.f_bavail * v.f_frsize;
		if (left < FREE_MIN_BYTES)
			find(d, "disk", "df -h",
			     "only %llu MB are left on the disk of the data "
			     "folder",
			     (unsigned long long)(left / (1024 * 1024)));
	}
	if (path_of(d, "satchel.db-wal", path) && stat(path, &st) == 0 &&
	    st.st_size > WAL_MAX_BYTES)
		find(d, "wal", "satchel-server stop",
		     "the write-ahead log has grown to %lld MB; a reader is "
		     "kept open: restart the server",
		     (long long)(st.st_size / (1024 * 1024)));
}

/* A CA that ends, or is on its way out. */
static void check_ca(struct doctor *d)
{
	struct sat_ca_files f;
	struct sat_err err;
	int rc;

	sat_ca_files_init(&f);
	rc = sat_ca_files_read(d->call->dir, &f, &err);
	d->ca_no = f.no;
	d->rolling = rc == SAT_OK && f.rolling;
	d->ca_days = (f.old_ends_ms - now_ms()) / DAY_MS;
	sat_ca_files_fini(&f);
	if (rc != SAT_OK)
		find(d, "certificate",
		     "satchel-server restore --dir NEW_DIR BACKUP",
		     "the CA's files are missing or cannot be read: %s",
		     err.msg);
	else if (d->ca_days < CERT_MIN_DAYS && !f.rolling)
		find(d, "certificate", "satchel-server ca rollover",
		     "the CA ends in %lld days: begin to replace it, devices "
		     "follow by themselves",
		     (long long)d->ca_days);
}

static void check_server_cert(struct doctor *d)
{
	struct sat_cert_info info;
	struct sat_buf pem;
	struct sat_err err;
	char path[4096];
	int rc = SAT_E_NOTFOUND;

	sat_buf_init(&pem, 2 * (size_t)PEM_MAX);
	if (path_of(d, "server.pem", path))
		rc = sat_file_read(path, PEM_MAX, &pem, &err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&pem), &info, &err);
	sat_buf_fini(&pem);
	if (rc != SAT_OK)
		find(d, "certificate",
		     "satchel-server restore --dir NEW_DIR BACKUP",
		     "server.pem is missing or cannot be read");
}

/* How far the devices are. */
static void check_rollover(struct doctor *d, struct sat_gate *gate)
{
	json_t *result = NULL, *args;
	struct sat_err err;
	uint8_t b[8];
	char no[17];
	long long all, ready;

	if (!d->rolling)
		return;
	for (size_t i = 0; i < sizeof b; i++)
		b[i] = (uint8_t)(d->ca_no >> (56 - 8 * i));
	sat_hex_format(b, sizeof b, no);
	args = json_pack("{s:s}", "ca", no);
	if (args == NULL ||
	    sat_gate_call(gate, "ca status", args, &result, &err) != SAT_OK)
		return;
	all = json_integer_value(json_object_get(result, "devices"));
	ready = json_integer_value(json_object_get(result, "ready"));
	json_decref(result);
	find(d, "rollover",
	     ready < all ? "satchel-server ca status"
			 : "satchel-server ca finish",
	     "a new CA takes over, the old one ends in %lld days: %lld of "
	     "%lld devices trust the new one",
	     (long long)d->ca_days, ready, all);
}

static void check_keys(struct doctor *d)
{
	static const char *const keys[] = { "ca.key", "server.key" };
	char path[4096], command[4200];
	struct stat st;

	for (size_t i = 0; i < SAT_COUNT_OF(keys); i++) {
		if (!path_of(d, keys[i], path) || stat(path, &st) != 0)
			continue;
		(void)snprintf(command, sizeof command, "chmod 600 %s", path);
		if ((st.st_mode & 077) != 0)
			find(d, "key", command, "others may read %s", keys[i]);
	}
}

/* ---- the running server -------------------------------------------------- */

static bool try_address(const struct addrinfo *a)
{
	struct pollfd p = { .events = POLLOUT };
	int failed = 1;
	socklen_t len = sizeof failed;

	p.fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
	if (p.fd < 0)
		return false;
	if (fcntl(p.fd, F_SETFL, O_NONBLOCK) == 0 &&
	    (connect(p.fd, a->ai_addr, a->ai_addrlen) == 0 ||
	     errno == EINPROGRESS) &&
	    poll(&p, 1, REACH_MS) == 1 &&
	    getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
		failed = 1;
	(void)close(p.fd);
	return failed == 0;
}

static bool can_reach(const char *host, const char *port)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *all = NULL, *a;
	bool ok = false;

	if (getaddrinfo(host, port, &want, &all) != 0)
		return false;
	for (a = all; a != NULL && !ok; a = a->ai_next)
		ok = try_address(a);
	freeaddrinfo(all);
	return ok;
}

static void check_reach(struct doctor *d, const char *advertise)
{
	char host[256], number[8];
	uint16_t port;

	if (advertise == NULL ||
	    !sat_hostport_parse(sat_slice_str(advertise), 7443, host, &port))
		return;
	(void)snprintf(number, sizeof number, "%u", port);
	if (!can_reach(host, number))
		find(d, "reachability", "satchel-server config --manual",
		     "nobody answers at %s, where invitations send devices",
		     advertise);
}

static int ask(struct doctor *d, struct sat_gate *gate, struct sat_err *err)
{
	json_t *result = NULL;
	int rc = sat_gate_call(gate, "doctor", NULL, &result, err);

	if (rc != SAT_OK)
		return rc;
	if (json_array_extend(d->list, json_object_get(result, "findings")) !=
	    0)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "doctor",
				 "out of memory");
	if (rc == SAT_OK)
		check_rollover(d, gate);
	if (rc == SAT_OK && sat_gate_is_live(gate))
		check_reach(d, json_string_value(
				       json_object_get(result, "advertise")));
	json_decref(result);
	return rc;
}

static void check_server(struct doctor *d)
{
	struct sat_gate *gate = NULL;
	struct sat_err err;
	int rc = sat_gate_open(d->call->dir, &gate, &err);

	if (rc == SAT_E_BUSY) {
		find(d, "lock", "satchel-server stop", "%s", err.msg);
		return;
	}
	if (rc == SAT_OK && !sat_gate_is_live(gate))
		find(d, "server", "satchel-server run",
		     "the server is not running");
	if (rc == SAT_OK)
		rc = ask(d, gate, &err);
	if (rc == SAT_E_INVAL)
		find(d, "settings", "satchel-server config --check", "%s",
		     err.msg);
	else if (rc != SAT_OK)
		find(d, "integrity",
		     "satchel-server restore --dir NEW_DIR BACKUP",
		     "the data cannot be opened: %s", err.msg);
	sat_gate_close(gate);
}

/* ---- the command --------------------------------------------------------- */

int sat_cli_doctor(struct sat_call *call)
{
	struct doctor d = { .call = call, .list = json_array() };
	json_t *result;
	size_t n;

	if (d.list == NULL)
		return SAT_EXIT_FAILED;
	check_disk(&d);
	check_ca(&d);
	check_server_cert(&d);
	check_keys(&d);
	check_server(&d);
	n = json_array_size(d.list);
	result = json_pack("{s:[s, s, s], s:o}", "columns", "check", "finding",
			   "command", "rows", d.list);
	if (result == NULL)
		return SAT_EXIT_FAILED;
	if (n > 0 || call->json)
		sat_print_result(stdout, result, call->json);
	else
		(void)printf(sat_say("all is well; the CA lasts for %lld days\n"),
			     (long long)d.ca_days);
	json_decref(result);
	return n == 0 && fflush(stdout) == 0 ? SAT_EXIT_OK : SAT_EXIT_FAILED;
}
