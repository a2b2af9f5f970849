/* floor.c - what the same work costs without Satchel, for tests/bench/run.
 *
 *   floor insert SOURCE.db OUT.db BATCH [device]
 *       plain SQLite inserts of the source's visits, BATCH rows a transaction,
 *       into the server's table layout, or into the device's: the source's own
 *       table and indexes
 *   floor columns SOURCE.db       the columns as one zstd -3 file
 *   floor capture REPLICA.db PLAIN.db ROWS ROUNDS
 *       visits into a replica and into a plain table, see capture_cost.h
 *   floor idle DB.db HOST PORT CERT KEY
 *       private memory of a process that has that file open, has read from it,
 *       and holds one TLS connection with a certificate
 *   floor tls CERT KEY COUNT      private memory of an idle TLS 1.3 connection
 *       with certificates on both sides: one end of it, of so many in memory
 *   floor hop OUT.db COUNT        one durable insert, then one byte to another
 *       process over loopback and back
 *
 * Durable as the product is: WAL, synchronous FULL. One JSON line each. Rows
 * are read into memory first: only the writing is timed.
 */
#include "tests/bench/capture_cost.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double processor(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(sqlite3 *db, const char *what)
{
	(void)fprintf(stderr, "floor: %s: %s\n", what,
		      db == NULL ? "" : sqlite3_errmsg(db));
	exit(1);
}

static sqlite3 *open_db(const char *path)
{
	sqlite3 *db;

	if (sqlite3_open(path, &db) != SQLITE_OK)
		die(db, path);
	if (sqlite3_exec(db,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			 "PRAGMA busy_timeout=10000",
			 NULL, NULL, NULL) != SQLITE_OK)
		die(db, "pragma");
	return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		die(db, sql);
	return s;
}

static void must(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die(db, sql);
}

struct rows {
	sqlite3_value **values; /* count * columns */
	size_t count;
	int columns;
	char **names;
};

static struct rows load(const char *path)
{
	struct rows r = { .count = 0 };
	sqlite3 *db = open_db(path);
	sqlite3_stmt *s = prepare(db, "SELECT * FROM visit ORDER BY id");
	size_t cap = 0;

	r.columns = sqlite3_column_count(s);
	r.names = calloc((size_t)r.columns, sizeof *r.names);
	for (int c = 0; c < r.columns; c++)
		r.names[c] = strdup(sqlite3_column_name(s, c));
	while (sqlite3_step(s) == SQLITE_ROW) {
		if (r.count == cap) {
			cap = cap == 0 ? 1024 : cap * 2;
			r.values = realloc(r.values,
					   cap * (size_t)r.columns *
						   sizeof(sqlite3_value *));
			if (r.values == NULL)
				die(NULL, "out of memory");
		}
		for (int c = 0; c < r.columns; c++)
			r.values[r.count * (size_t)r.columns + (size_t)c] =
				sqlite3_value_dup(sqlite3_column_value(s, c));
		r.count++;
	}
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
	return r;
}

/* INSERT with every column of the source; extra columns first. */
static char *insert_sql(const struct rows *r, const char *extra, int extras)
{
	char *sql = calloc(1, 65536);
	int n = snprintf(sql, 65536, "INSERT INTO visit(%s", extra);

	for (int c = 0; c < r->columns; c++)
		n += snprintf(sql + n, 65536 - (size_t)n, "%s%s",
			      c > 0 || extras > 0 ? "," : "", r->names[c]);
	n += snprintf(sql + n, 65536 - (size_t)n, ") VALUES(?");
	for (int c = 1; c < r->columns + extras; c++)
		n += snprintf(sql + n, 65536 - (size_t)n, ",?");
	(void)snprintf(sql + n, 65536 - (size_t)n, ")");
	return sql;
}

static double insert_all(sqlite3 *db, const struct rows *r, const char *extra,
			 int extras, size_t batch)
{
	static const uint8_t meta[14] = { 1, 2, 3 };
	char *sql = insert_sql(r, extra, extras);
	sqlite3_stmt *s = prepare(db, sql);
	double began = now();

	for (size_t i = 0; i < r->count; i++) {
		if (i % batch == 0)
			must(db, "BEGIN IMMEDIATE");
		if (extras > 0) {
			(void)sqlite3_bind_int64(s, 1, (sqlite3_int64)i + 1);
			(void)sqlite3_bind_int(s, 2, 7);
			(void)sqlite3_bind_blob(s, 3, meta, sizeof meta,
						SQLITE_STATIC);
		}
		for (int c = 0; c < r->columns; c++)
			(void)sqlite3_bind_value(
				s, c + 1 + extras,
				r->values[i * (size_t)r->columns + (size_t)c]);
		if (sqlite3_step(s) != SQLITE_DONE)
			die(db, "insert");
		(void)sqlite3_reset(s);
		if (i % batch == batch - 1 || i == r->count - 1)
			must(db, "COMMIT");
	}
	(void)sqlite3_finalize(s);
	free(sql);
	return now() - began;
}

static void make_server_table(sqlite3 *db, const struct rows *r)
{
	char sql[65536];
	int n = snprintf(sql, sizeof sql,
			 "CREATE TABLE visit(_seq INTEGER PRIMARY KEY, _origin "
			 "INTEGER, _meta BLOB");

	for (int c = 0; c < r->columns; c++)
		n += snprintf(sql + n, sizeof sql - (size_t)n, ", %s",
			      r->names[c]);
	(void)snprintf(sql + n, sizeof sql - (size_t)n,
		       "); CREATE UNIQUE INDEX visit_id ON visit(id);"
		       "CREATE INDEX visit_account ON visit(account_id)");
	must(db, sql);
}

static void make_device_table(sqlite3 *db, const char *source)
{
	sqlite3 *from = open_db(source);
	sqlite3_stmt *s = prepare(from, "SELECT sql FROM sqlite_schema WHERE "
					"tbl_name='visit' AND type IN "
					"('table','index') AND sql NOT NULL");

	while (sqlite3_step(s) == SQLITE_ROW)
		must(db, (const char *)sqlite3_column_text(s, 0));
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(from);
}

static int floor_insert(const char *source, const char *out, size_t batch,
			int device)
{
	struct rows r = load(source);
	sqlite3 *db = open_db(out);
	double took, work;

	if (device)
		make_device_table(db, source);
	else
		make_server_table(db, &r);
	work = processor();
	took = insert_all(db, &r, device ? "" : "_seq,_origin,_meta",
			  device ? 0 : 3, batch);
	(void)printf("{\"floor\":\"insert\",\"rows\":%zu,\"batch\":%zu,"
		     "\"seconds\":%.4f,\"processor_seconds\":%.4f}\n",
		     r.count, batch, took, processor() - work);
	return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}

/* The bytes of one value in a plain columnar file: ids packed, numbers as
 * eight bytes, texts with a newline. */
static size_t put_value(uint8_t *p, sqlite3_value *v)
{
	const char *text = (const char *)sqlite3_value_text(v);
	size_t n = (size_t)sqlite3_value_bytes(v), k = 0;
	sqlite3_int64 i;

	switch (sqlite3_value_type(v)) {
	case SQLITE_NULL:
		return 0;
	case SQLITE_INTEGER:
	case SQLITE_FLOAT:
		i = sqlite3_value_int64(v);
		if (sqlite3_value_type(v) == SQLITE_FLOAT) {
			double d = sqlite3_value_double(v);

			memcpy(&i, &d, sizeof i);
		}
		memcpy(p, &i, sizeof i);
		return sizeof i;
	default:
		break;
	}
	if (n == 36 && text[8] == '-' && text[13] == '-') {
		for (size_t c = 0; c < n; c += 2) {
			unsigned byte;

			if (text[c] == '-')
				c++;
			if (sscanf(text + c, "%2x", &byte) == 1)
				p[k++] = (uint8_t)byte;
		}
		return k;
	}
	memcpy(p, text, n);
	p[n] = '\n';
	return n + 1;
}

static int floor_columns(const char *source)
{
	struct rows r = load(source);
	size_t cap = 1 << 20, n = 0, bound, packed;
	uint8_t *raw = malloc(cap), *out;

	for (int c = 0; c < r.columns; c++)
		for (size_t i = 0; i < r.count; i++) {
			sqlite3_value *v =
				r.values[i * (size_t)r.columns + (size_t)c];
			size_t need = (size_t)sqlite3_value_bytes(v) + 64;

			if (n + need > cap) {
				cap = cap * 2 + need;
				raw = realloc(raw, cap);
				if (raw == NULL)
					die(NULL, "out of memory");
			}
			n += put_value(raw + n, v);
		}
	bound = ZSTD_compressBound(n);
	out = malloc(bound);
	packed = ZSTD_compress(out, bound, raw, n, 3);
	(void)printf("{\"floor\":\"columns\",\"rows\":%zu,\"raw_bytes\":%zu,"
		     "\"zstd_bytes\":%zu}\n",
		     r.count, n, packed);
	return 0;
}

static int floor_capture(const char *replica, const char *plain, int rows,
			 int rounds)
{
	struct bench_capture got;
	char why[512];

	if (bench_capture(replica, plain, rows, rounds, &got, why,
			  sizeof why) != 0)
		die(NULL, why);
	(void)printf("{\"floor\":\"capture\",\"rows\":%d,\"plain_seconds\":"
		     "%.4f,\"captured_seconds\":%.4f}\n",
		     rows, got.plain, got.captured);
	return 0;
}

/* ---- memory -------------------------------------------------------------- */

static long private_kib(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long sum = 0, n;

	if (f == NULL)
		die(NULL, "smaps_rollup");
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "Private_Clean: %ld", &n) == 1 ||
		    sscanf(line, "Private_Dirty: %ld", &n) == 1)
			sum += n;
	}
	(void)fclose(f);
	return sum;
}

static SSL_CTX *tls_ctx(const SSL_METHOD *method, const char *cert,
			const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL ||
	    SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		die(NULL, "certificate or key");
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(ctx, 0);
	return ctx;
}

static int connect_to(const char *host, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || inet_pton(AF_INET, host, &to.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		die(NULL, "connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static int floor_idle(const char *path, const char *host, int port,
		      const char *cert, const char *key)
{
	static const unsigned char alpn[] = "\x09satchel/1";
	SSL *ssl = SSL_new(tls_ctx(TLS_client_method(), cert, key));
	sqlite3 *db = open_db(path);

	must(db, "SELECT count(*) FROM visit");
	if (ssl == NULL || SSL_set_fd(ssl, connect_to(host, port)) != 1 ||
	    SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1) != 0 ||
	    SSL_connect(ssl) != 1)
		die(NULL, "TLS");
	(void)printf("{\"floor\":\"idle\",\"private_kib\":%ld}\n",
		     private_kib());
	return 0;
}

static int take_any(int ok, X509_STORE_CTX *ctx)
{
	(void)ok;
	(void)ctx;
	return 1;
}

/* Both ends of a connection whose bytes go from memory to memory. */
static void shake(SSL_CTX *one, SSL_CTX *two, SSL *ret[2])
{
	BIO *up = BIO_new(BIO_s_mem()), *down = BIO_new(BIO_s_mem());
	SSL *server = SSL_new(one), *client = SSL_new(two);
	int done = 0;

	if (up == NULL || down == NULL || server == NULL || client == NULL)
		die(NULL, "out of memory");
	(void)BIO_up_ref(up);
	(void)BIO_up_ref(down);
	SSL_set_bio(server, up, down);
	SSL_set_bio(client, down, up);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (int k = 0; k < 10 && done != 3; k++) {
		done |= SSL_do_handshake(client) == 1;
		done |= (SSL_do_handshake(server) == 1) << 1;
	}
	if (done != 3)
		die(NULL, "handshake");
	ret[0] = server;
	ret[1] = client;
}

static int floor_tls(const char *cert, const char *key, int count)
{
	SSL_CTX *one = tls_ctx(TLS_server_method(), cert, key);
	SSL_CTX *two = tls_ctx(TLS_client_method(), cert, key);
	SSL *ends[2];
	long before;

	SSL_CTX_set_verify(one,
			   SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   take_any);
	SSL_CTX_set_verify(two, SSL_VERIFY_PEER, take_any);
	for (int k = 0; k < 20; k++) /* the heap has its form */
		shake(one, two, ends);
	before = private_kib();
	for (int k = 0; k < count; k++)
		shake(one, two, ends);
	(void)printf("{\"floor\":\"tls\",\"count\":%d,\"private_kib\":%.1f}\n",
		     count, (double)(private_kib() - before) / 2 / count);
	return 0;
}

/* ---- latency ------------------------------------------------------------- */

static int listen_here(int *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t n = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
	    listen(fd, 1) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) != 0)
		die(NULL, "listen");
	*ret_port = ntohs(at.sin_port);
	return fd;
}

static void echo(int listener)
{
	int one = 1, fd = accept(listener, NULL, NULL);
	char byte;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
		continue;
	_exit(0);
}

static int by_size(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return a < b ? -1 : a > b;
}

static int floor_hop(const char *out, int count)
{
	double *took = calloc((size_t)count, sizeof *took);
	sqlite3 *db = open_db(out);
	sqlite3_stmt *s;
	int port, fd, listener = listen_here(&port);
	pid_t other = fork();
	char byte = 0;

	if (other == 0)
		echo(listener);
	must(db, "CREATE TABLE edit(n INTEGER PRIMARY KEY, phone)");
	s = prepare(db, "INSERT INTO edit(phone) VALUES('100')");
	fd = connect_to("127.0.0.1", port);
	for (int k = 0; k < count; k++) {
		double began = now();

		if (sqlite3_step(s) != SQLITE_DONE ||
		    sqlite3_reset(s) != SQLITE_OK || write(fd, &byte, 1) != 1 ||
		    read(fd, &byte, 1) != 1)
			die(db, "hop");
		took[k] = (now() - began) * 1000;
	}
	(void)close(fd);
	(void)waitpid(other, NULL, 0);
	qsort(took, (size_t)count, sizeof *took, by_size);
	(void)printf("{\"floor\":\"hop\",\"p50_ms\":%.4f,\"p99_ms\":%.4f}\n",
		     took[count / 2], took[count * 99 / 100]);
	(void)sqlite3_finalize(s);
	free(took);
	return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}

static int number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if ((argc == 5 || argc == 6) && strcmp(what, "insert") == 0)
		return floor_insert(argv[2], argv[3],
				    strtoul(argv[4], NULL, 10), argc == 6);
	if (argc == 3 && strcmp(what, "columns") == 0)
		return floor_columns(argv[2]);
	if (argc == 6 && strcmp(what, "capture") == 0)
		return floor_capture(argv[2], argv[3], number(argv[4]),
				     number(argv[5]));
	if (argc == 7 && strcmp(what, "idle") == 0)
		return floor_idle(argv[2], argv[3], number(argv[4]), argv[5],
				  argv[6]);
	if (argc == 5 && strcmp(what, "tls") == 0 && number(argv[4]) > 0)
		return floor_tls(argv[2], argv[3], number(argv[4]));
	if (argc == 4 && strcmp(what, "hop") == 0 && number(argv[3]) > 0)
		return floor_hop(argv[2], number(argv[3]));
	(void)fprintf(stderr, "usage: see the head of floor.c\n");
	return 2;
}
