/* doctor: what may be wrong with this device, one sentence and one command for
 * each finding. Reads only; knows the network by what satcheld says of it. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "client/cli/cli.h"
#include "common/file.h"
#include "common/pki.h"
#include "common/say.h"
#include "common/text.h"

enum {
	OFFSET_MAX_MS = 5 * 60 * 1000,
	WAL_MAX_BYTES = 64 * 1024 * 1024,
	FREE_MIN_BYTES = 200 * 1024 * 1024,
	CERT_MIN_DAYS = 14,
	QUIET_MAX_DAYS = 7,
	DAY_MS = 24 * 60 * 60 * 1000,
	FILE_MAX = 64 * 1024,
	SENTENCE = 1024,
};

struct doctor {
	struct sat_cli *c;
	struct sat_out out;
	struct sat_out_column columns[3];
	struct sat_daemon daemon;
	pid_t holder;
	int checks, findings;
	int rc;
};

/* Nothing found, nothing printed: the table begins with its first row. */
static int open_table(struct doctor *d)
{
	struct sat_cli *c = d->c;
	const struct sat_out_column all[] = {
		{ "check", SAT_TR(c, "Check", "检查项"), SAT_OUT_TEXT, NULL },
		{ "finding", SAT_TR(c, "Finding", "问题"), SAT_OUT_TEXT, NULL },
		{ "command", SAT_TR(c, "Command", "命令"), SAT_OUT_TEXT, NULL },
	};

	memcpy(d->columns, all, sizeof all);
	return sat_out_begin(&d->out, c, d->columns, SAT_COUNT_OF(all), 0);
}

/* One finding; text and command are formatted by the caller. */
static void finding(struct doctor *d, const char *check, const char *text,
		    const char *command)
{
	struct sat_value row[3] = { sat_value_text(sat_slice_str(check)),
				    sat_value_text(sat_slice_str(text)),
				    sat_value_text(sat_slice_str(command)) };

	if (d->findings++ == 0 && d->rc == SAT_OK)
		d->rc = open_table(d);
	if (d->rc == SAT_OK)
		d->rc = sat_out_row(&d->out, row, 3, &d->c->err);
}

static void find(struct doctor *d, const char *check, const char *command,
		 const char *fmt, ...) SAT_PRINTF(4, 5);

static void find(struct doctor *d, const char *check, const char *command,
		 const char *fmt, ...)
{
	char text[SENTENCE], line[SENTENCE];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	/* %D in a command is the folder */
	line[0] = '\0';
	for (size_t at = 0; *command != '\0' && at < sizeof line - 1;
	     command++) {
		if (command[0] == '%' && command[1] == 'D') {
			at += (size_t)snprintf(line + at, sizeof line - at,
					       "%s", d->c->dir);
			command++;
		} else {
			line[at++] = *command;
			line[at] = '\0';
		}
	}
	finding(d, check, text, line);
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t size_of(struct doctor *d, const char *name)
{
	char path[4096];
	struct stat st;

	if (sat_path_join(path, sizeof path, d->c->dir, name, &d->c->err) !=
		    SAT_OK ||
	    stat(path, &st) != 0)
		return -1;
	return (int64_t)st.st_size;
}

/* ---- the checks ---------------------------------------------------------- */

static void check_disk(struct doctor *d)
{
	struct statvfs v;
	uint64_t left;

	d->checks++;
	if (statvfs(d->c->dir, &v) != 0)
		return;
	left = (uint64_t)v.f_bavail * v.f_frsize;
	if (left < FREE_MIN_BYTES)
		find(d, "disk", "df -h %D",
		     SAT_TR(d->c,
			    "only %llu MB are left on the disk; what is "
			    "written may soon be refused",
			    "磁盘仅剩 %llu MB，可能很快无法写入"),
		     (unsigned long long)(left / (1024 * 1024)));
}

static void check_wal(struct doctor *d)
{
	int64_t bytes = size_of(d, "replica.db-wal");

	d->checks++;
	if (bytes > WAL_MAX_BYTES)
		find(d, "wal",
		     "sqlite3 %D/replica.db 'PRAGMA wal_checkpoint(TRUNCATE)'",
		     SAT_TR(d->c,
			    "the write-ahead log has grown to %lld MB; a "
			    "program keeps a reader open",
			    "预写日志已达 %lld MB，可能有程序一直占用读取"),
		     (long long)(bytes / (1024 * 1024)));
}

static void check_key(struct doctor *d)
{
	char path[4096];
	struct stat st;

	d->checks++;
	if (sat_path_join(path, sizeof path, d->c->dir, "device.key",
			  &d->c->err) == SAT_OK &&
	    stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		find(d, "key", "chmod 600 %D/device.key", "%s",
		     SAT_TR(d->c, "others may read the device's key",
			    "其他用户可以读取本设备的密钥"));
}

static void check_certificate(struct doctor *d)
{
	struct sat_cert_info info;
	struct sat_buf pem;
	char path[4096];
	int64_t days;
	int rc;

	d->checks++;
	sat_buf_init(&pem, 2 * (size_t)FILE_MAX);
	rc = sat_path_join(path, sizeof path, d->c->dir, "device.pem",
			   &d->c->err);
	if (rc == SAT_OK)
		rc = sat_file_read(path, FILE_MAX, &pem, &d->c->err);
	if (rc == SAT_OK)
		rc = sat_pki_cert_info(sat_buf_peek(&pem), &info, &d->c->err);
	sat_buf_fini(&pem);
	days = rc == SAT_OK ? (info.not_after_ms - now_ms()) / DAY_MS : 0;
	if (rc != SAT_OK)
		find(d, "certificate", "satcheld enroll --dir NEW_DIR INVITE",
		     "%s",
		     SAT_TR(d->c,
			    "the device's certificate is missing or cannot be "
			    "read",
			    "设备证书缺失或无法读取"));
	else if (info.not_after_ms < now_ms())
		find(d, "certificate", "satcheld run --dir %D --once",
		     SAT_TR(d->c, "the certificate ended %lld days ago",
			    "设备证书已过期 %lld 天"),
		     (long long)-days);
	else if (days < CERT_MIN_DAYS)
		find(d, "certificate", "satcheld run --dir %D --once",
		     SAT_TR(d->c, "the certificate ends in %lld days",
			    "设备证书将在 %lld 天后过期"),
		     (long long)days);
}

/* False: it cannot be opened or is damaged; nothing more can be asked. */
static bool check_replica(struct doctor *d)
{
	struct sat_cli *c = d->c;
	struct sat_value v = sat_value_null();
	char path[4096];
	int rc =
		sat_path_join(path, sizeof path, c->dir, "replica.db", &c->err);

	d->checks++;
	if (rc == SAT_OK && !sat_file_exists(path)) {
		find(d, "integrity", "satcheld enroll --dir %D INVITE", "%s",
		     SAT_TR(c, "this folder holds no replica",
			    "该目录中没有本地数据"));
		return false;
	}
	if (rc == SAT_OK)
		rc = sat_replica_open(path, &c->replica, &c->err);
	if (rc == SAT_OK)
		rc = sat_replica_status(c->replica, &c->status, &c->err);
	if (rc == SAT_OK)
		rc = sat_query_value(
			c->replica, &c->arena,
			"SELECT quick_check FROM pragma_quick_check(1)", NULL,
			0, &v, &c->err);
	if (rc == SAT_OK && v.kind == SAT_TEXT &&
	    sat_slice_equal(v.s, sat_slice_str("ok"))) {
		c->catalogue = sat_replica_catalogue(c->replica);
		return true;
	}
	find(d, "integrity", "satchel rescue %D unsent.rescue", "%s",
	     SAT_TR(c,
		    "the replica is damaged; satcheld repairs it at its next "
		    "start, but first save what is unsent",
		    "本地数据已损坏；satcheld 下次启动时会修复，请先取出未发送"
		    "的修改"));
	return false;
}

static void check_clock(struct doctor *d)
{
	int64_t off = d->c->status.offset_ms;

	d->checks++;
	if (off > OFFSET_MAX_MS || off < -OFFSET_MAX_MS)
		find(d, "clock", "timedatectl set-ntp true",
		     SAT_TR(d->c,
			    "this device's clock differs from the server's by "
			    "%lld minutes",
			    "本设备时钟与服务器相差 %lld 分钟"),
		     (long long)(off < 0 ? -off : off) / 60000);
}

static void check_data(struct doctor *d)
{
	d->checks += 2;
	if (d->c->status.digest < 0)
		find(d, "digest", "satchel --dir %D verify", "%s",
		     SAT_TR(d->c,
			    "the rows here differ from what the server sent",
			    "本地记录与服务器发来的不一致"));
	if (d->c->status.missing > 0)
		find(d, "outbox", "satchel rescue %D unsent.rescue",
		     SAT_TR(d->c, "%llu changes are neither confirmed nor here",
			    "有 %llu 处修改既未确认也不在本机"),
		     (unsigned long long)d->c->status.missing);
}

static void check_lock(struct doctor *d)
{
	struct sat_cli *c = d->c;
	char command[64];

	d->checks++;
	if (sat_cli_find_daemon(c, &d->holder) != SAT_OK) {
		find(d, "lock", "fuser -v %D/lock", "%s",
		     SAT_TR(c,
			    "a program holds the lock and does not say who "
			    "it is",
			    "有程序占用锁文件但未说明身份"));
		return;
	}
	sat_cli_ask_daemon(c, &d->daemon);
	if (d->holder == 0) {
		find(d, "daemon", "satcheld run --dir %D", "%s",
		     SAT_TR(c,
			    "satcheld is not running: what you write is kept "
			    "here and not sent",
			    "satcheld 未运行：修改只保存在本机，不会发送"));
	} else if (d->daemon.rc != SAT_OK) {
		(void)snprintf(command, sizeof command, "kill %ld",
			       (long)d->holder);
		find(d, "lock", command,
		     SAT_TR(c, "process %ld holds the lock but does not answer",
			    "进程 %ld 占用锁文件但没有应答"),
		     (long)d->holder);
	}
}

static void check_server(struct doctor *d)
{
	struct sat_cli *c = d->c;
	char said[SAT_SAY_BYTES];
	int64_t quiet;

	d->checks++;
	if (d->holder != 0 && d->daemon.rc == SAT_OK &&
	    strcmp(d->daemon.state, "connected") != 0)
		find(d, "server", "satchel --dir %D sync",
		     SAT_TR(c, "%s cannot be reached: %s",
			    "无法连接服务器 %s：%s"),
		     c->status.server,
		     d->daemon.error[0] != '\0'
			     ? sat_say_text(d->daemon.error, said, sizeof said)
			     : d->daemon.state);
	if (d->daemon.rc == SAT_OK && d->daemon.local_failure)
		find(d, "disk", "df -h %D", "%s",
		     SAT_TR(c, "satcheld could not write the replica",
			    "satcheld 无法写入本地数据"));
	quiet = (now_ms() + c->status.offset_ms - c->status.checkpoint_ms) /
		DAY_MS;
	if (c->status.checkpoint_ms > 0 && quiet > QUIET_MAX_DAYS)
		find(d, "server", "satcheld run --dir %D --once",
		     SAT_TR(c, "the last sync was %lld days ago",
			    "上次同步是 %lld 天前"),
		     (long long)quiet);
}

/* ---- the command --------------------------------------------------------- */

static void run_checks(struct doctor *d)
{
	check_disk(d);
	check_wal(d);
	check_key(d);
	check_certificate(d);
	check_lock(d);
	if (!check_replica(d))
		return;
	check_clock(d);
	check_data(d);
	check_server(d);
}

int sat_cli_doctor(struct sat_cli *c)
{
	struct doctor d = { .c = c };

	if (c->dir == NULL)
		c->dir = getenv("SATCHEL_DIR");
	if (c->dir == NULL || *c->dir == '\0')
		return sat_cli_misuse(
			c, "%s",
			SAT_TR(c, "--dir DIR is needed (or SATCHEL_DIR)",
			       "需要 --dir 目录（或环境变量 SATCHEL_DIR）"));
	run_checks(&d);
	if (d.rc == SAT_OK && d.findings == 0 && c->json)
		d.rc = open_table(&d);
	sat_out_end(&d.out);
	if (d.rc == SAT_OK && d.findings == 0 && !c->json)
		(void)printf(SAT_TR(c, "%d checks, all is well\n",
				    "检查 %d 项，一切正常\n"),
			     d.checks);
	if (d.rc != SAT_OK)
		return sat_cli_error(c);
	return d.findings == 0 ? SAT_CLI_OK : SAT_CLI_FAILED;
}
