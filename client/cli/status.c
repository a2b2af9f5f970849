/* status, sync, verify: what is saved here, what the server has confirmed, and
 * what satcheld says about the connection, when one runs. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "common/file.h"
#include "common/say.h"
#include "common/text.h"
#include "proto/local.h"

enum { ANSWER_MS = 2000, SYNC_DEFAULT_S = 30, SYNC_MAX_S = 86400 };
enum { SAT_CLI_NAMELESS = -1 }; /* in place of a daemon's pid */

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One question to satcheld. SAT_OK and *ret, a new reference; SAT_E_NOTFOUND:
 * none runs. */
static int ask(struct sat_cli *c, json_t *request, int timeout_ms, json_t **ret)
{
	int fd, rc;

	rc = sat_ask_connect(c->dir, "sock", ANSWER_MS, &fd, &c->err);
	if (rc == SAT_OK) {
		rc = sat_ask(fd, request, timeout_ms, ret, &c->err);
		(void)close(fd);
	}
	json_decref(request);
	return rc;
}

static void copy_text(char *out, size_t n, const json_t *v)
{
	const char *s = json_string_value(v);

	(void)snprintf(out, n, "%s", s == NULL ? "" : s);
}

void sat_cli_ask_daemon(struct sat_cli *c, struct sat_daemon *k)
{
	json_t *answer = NULL;

	*k = (struct sat_daemon){ .pid = 0 };
	k->rc = ask(c, json_pack("{s:s}", "ask", "status"), ANSWER_MS, &answer);
	if (k->rc != SAT_OK)
		return;
	copy_text(k->state, sizeof k->state,
		  json_object_get(answer, "connection"));
	copy_text(k->error, sizeof k->error,
		  json_object_get(answer, "last_error"));
	k->next_ms = json_integer_value(json_object_get(answer, "next_ms"));
	k->pid = json_integer_value(json_object_get(answer, "pid"));
	k->differed = json_is_false(json_object_get(answer, "digest_ok"));
	k->local_failure =
		json_is_true(json_object_get(answer, "local_failure"));
	json_decref(answer);
}

static const char *state_word(const struct sat_cli *c, const char *state)
{
	static const struct {
		const char *name, *zh;
	} all[] = { { "waiting", "等待重试" },
		    { "connecting", "正在连接" },
		    { "connected", "已连接" },
		    { "refused", "被服务器拒绝" },
		    { "stopped", "已停止" } };

	for (size_t i = 0; i < SAT_COUNT_OF(all); i++)
		if (strcmp(all[i].name, state) == 0)
			return SAT_TR(c, all[i].name, all[i].zh);
	return state;
}

/* k: NULL when nobody asked satcheld. A difference is mended by fetching
 * everything again; what still differs then needs a person. */
static const char *digest_word(const struct sat_cli *c,
			       const struct sat_daemon *k)
{
	bool live = k != NULL && k->rc == SAT_OK;

	if (c->status.digest > 0)
		return SAT_TR(c, "equal to the server's", "与服务器一致");
	if (c->status.digest == 0 && live && k->differed)
		return SAT_TR(c, "differs from the server's; being repaired",
			      "与服务器不一致，正在修复");
	if (c->status.digest == 0)
		return SAT_TR(c, "not compared yet", "尚未核对");
	if (live && k->differed)
		return SAT_TR(
			c,
			"differs from the server's, and fetching all "
			"again did not mend it; tell your administrator",
			"与服务器不一致，重新获取后仍未修复；请联系管理员");
	if (live)
		return SAT_TR(c,
			      "differs from the server's; the next checkpoint "
			      "repairs it",
			      "与服务器不一致，将在下一个同步点修复");
	return SAT_TR(c,
		      "differs from the server's; satcheld repairs it when it "
		      "runs",
		      "与服务器不一致，satcheld 运行时会修复");
}

/* ---- status, for people -------------------------------------------------- */

static void print_checkpoint(const struct sat_cli *c)
{
	const struct sat_replica_status *s = &c->status;
	int64_t age_s = (now_ms() + s->offset_ms - s->checkpoint_ms) / 1000;
	char at[32];

	(void)printf("%s", SAT_TR(c, "last checkpoint: ", "最近同步点："));
	if (s->checkpoint_ms == 0) {
		(void)puts(SAT_TR(c, "none yet, the first data is still coming",
				  "尚无，首批数据仍在接收"));
		return;
	}
	sat_cli_time_text(s->checkpoint_ms - s->offset_ms, at);
	(void)printf("%s", at);
	if (age_s >= 0 && age_s < 90 * 60)
		(void)printf(SAT_TR(c, " (%lld min ago)", "（%lld 分钟前）"),
			     (long long)age_s / 60);
	else if (age_s >= 0)
		(void)printf(SAT_TR(c, " (%lld h ago)", "（%lld 小时前）"),
			     (long long)age_s / 3600);
	(void)puts(s->filling ? SAT_TR(c, ", filling", "，数据接收中") : "");
}

/* Why the server refused this device when a satcheld last asked; NULL when it
 * did not. */
static const char *kept_refusal(struct sat_cli *c, const struct sat_daemon *k)
{
	const char *text = NULL;
	struct sat_slice s;
	struct sat_buf raw;
	struct sat_err err;
	char path[4096];

	if (k->rc == SAT_OK ||
	    sat_path_join(path, sizeof path, c->dir, SAT_REFUSED_FILE, &err) !=
		    SAT_OK ||
	    !sat_file_exists(path))
		return NULL;
	sat_buf_init(&raw, 4096);
	if (sat_file_read(path, 4096, &raw, &err) == SAT_OK) {
		s = sat_buf_peek(&raw);
		while (s.len > 0 && s.ptr[s.len - 1] == '\n')
			s.len--;
		text = s.len > 0 && sat_utf8_valid(s)
			       ? sat_arena_string(&c->arena, s)
			       : "";
	}
	sat_buf_fini(&raw);
	return text;
}

static void say_refused(const struct sat_cli *c)
{
	(void)puts(SAT_TR(c,
			  "  what is saved here stays here; ask your "
			  "administrator, or `satchel rescue` it",
			  "  已保存的内容仍在本机；请联系管理员，或用 "
			  "`satchel rescue` 取出"));
}

static void print_connection(const struct sat_cli *c,
			     const struct sat_daemon *k, const char *refusal)
{
	char text[SAT_SAY_BYTES + 64], said[SAT_SAY_BYTES];

	(void)printf("%s", SAT_TR(c, "connection: ", "连接："));
	if (k->rc != SAT_OK && refusal != NULL) {
		(void)snprintf(text, sizeof text, "%s%s",
			       SAT_TR(c, "refused at the last try: ",
				      "上次尝试时被服务器拒绝："),
			       sat_say_text(refusal, said, sizeof said));
		sat_print_line(stdout, text);
		say_refused(c);
		return;
	}
	if (k->rc == SAT_E_NOTFOUND) {
		(void)puts(SAT_TR(c,
				  "satcheld is not running; these are the "
				  "stored figures",
				  "satcheld 未运行，以上为已存储的数据"));
		return;
	}
	if (k->rc != SAT_OK) {
		(void)puts(SAT_TR(c,
				  "satcheld does not answer; these are the "
				  "stored figures",
				  "satcheld 没有应答，以上为已存储的数据"));
		return;
	}
	(void)snprintf(text, sizeof text, "%s%s%s", state_word(c, k->state),
		       k->error[0] != '\0' ? SAT_TR(c, ": ", "：") : "",
		       sat_say_text(k->error, said, sizeof said));
	sat_print_line(stdout, text);
	if (strcmp(k->state, "waiting") == 0)
		(void)printf(SAT_TR(c, "  next attempt in %lld s\n",
				    "  %lld 秒后重试\n"),
			     (long long)k->next_ms / 1000);
	if (strcmp(k->state, "refused") == 0)
		say_refused(c);
	if (k->local_failure)
		(void)puts(
			SAT_TR(c,
			       "  satcheld could not write the replica: is "
			       "the disk full?",
			       "  satcheld 无法写入本地数据：磁盘是否已满？"));
}

static void print_person(const struct sat_cli *c)
{
	const struct sat_replica_status *s = &c->status;
	char text[640];

	(void)snprintf(text, sizeof text, "%s (%s), %s, %s", s->name, s->login,
		       c->catalogue->role_label[s->role].text[c->lang], s->org);
	sat_print_line(stdout, text);
	(void)snprintf(text, sizeof text,
		       SAT_TR(c, "device %u, server %s", "设备 %u，服务器 %s"),
		       (unsigned)s->replica, s->server);
	sat_print_line(stdout, text);
}

static void print_counts(const struct sat_cli *c)
{
	const struct sat_replica_status *s = &c->status;

	(void)printf(SAT_TR(c,
			    "%llu saved here, %llu confirmed durable, %llu "
			    "missing\n",
			    "本机已保存 %llu，服务器已确认 %llu，缺失 %llu\n"),
		     (unsigned long long)s->saved,
		     (unsigned long long)s->confirmed,
		     (unsigned long long)s->missing);
	(void)printf(SAT_TR(c,
			    "waiting to be sent: %llu changes, %llu of them "
			    "not gathered yet\n",
			    "等待发送：%llu 处修改，其中 %llu 处尚未收集\n"),
		     (unsigned long long)s->waiting,
		     (unsigned long long)s->pending_rows);
	(void)printf(SAT_TR(c, "rejected: %llu", "被拒绝：%llu"),
		     (unsigned long long)s->rejected);
	(void)puts(s->rejected > 0 ? SAT_TR(c, " (see: satchel rejected)",
					    "（见 satchel rejected）")
				   : "");
	if (s->orphans > 0)
		(void)printf(SAT_TR(c,
				    "changes whose row is not here: %llu "
				    "(see: satchel rejected waiting)\n",
				    "记录不在本机的修改：%llu（见 satchel "
				    "rejected waiting）\n"),
			     (unsigned long long)s->orphans);
	(void)printf(SAT_TR(c, "conflicts open: %llu", "待处理冲突：%llu"),
		     (unsigned long long)s->conflicts_open);
	(void)puts(s->conflicts_open > 0
			   ? SAT_TR(c, " (see: satchel conflicts)",
				    "（见 satchel conflicts）")
			   : "");
	(void)printf(SAT_TR(c, "rows here: %llu\n", "本机记录数：%llu\n"),
		     (unsigned long long)s->rows);
}

/* ---- status, for programs ------------------------------------------------ */

static struct sat_value count_of(uint64_t n)
{
	return sat_value_int(n > INT64_MAX ? INT64_MAX : (int64_t)n);
}

static struct sat_value text_of(const char *s)
{
	return sat_value_text(sat_slice_str(s));
}

static void json_status(const struct sat_cli *c, const struct sat_daemon *k,
			const char *refusal)
{
	const struct sat_replica_status *s = &c->status;
	struct sat_out_object o;
	char epoch[24];
	bool live = k->rc == SAT_OK;

	/* 64 random bits: more than a JSON number holds for most readers. */
	(void)snprintf(epoch, sizeof epoch, "%llu",
		       (unsigned long long)s->epoch);
	sat_out_object_begin(&o);
	sat_out_member(&o, "org", SAT_OUT_TEXT, text_of(s->org));
	sat_out_member(&o, "login", SAT_OUT_TEXT, text_of(s->login));
	sat_out_member(&o, "name", SAT_OUT_TEXT, text_of(s->name));
	sat_out_member(&o, "role", SAT_OUT_TEXT,
		       text_of(sat_role_name(s->role)));
	sat_out_member(&o, "server", SAT_OUT_TEXT, text_of(s->server));
	sat_out_member(&o, "replica", SAT_OUT_INT, count_of(s->replica));
	sat_out_member(&o, "epoch", SAT_OUT_TEXT, text_of(epoch));
	sat_out_member(&o, "catalogue", SAT_OUT_INT,
		       count_of(c->catalogue->version));
	sat_out_member(&o, "cursor", SAT_OUT_INT, count_of(s->cursor));
	sat_out_member(&o, "saved", SAT_OUT_INT, count_of(s->saved));
	sat_out_member(&o, "confirmed", SAT_OUT_INT, count_of(s->confirmed));
	sat_out_member(&o, "missing", SAT_OUT_INT, count_of(s->missing));
	sat_out_member(&o, "waiting", SAT_OUT_INT, count_of(s->waiting));
	sat_out_member(&o, "outbox", SAT_OUT_INT, count_of(s->outbox));
	sat_out_member(&o, "pending_rows", SAT_OUT_INT,
		       count_of(s->pending_rows));
	sat_out_member(&o, "rejected", SAT_OUT_INT, count_of(s->rejected));
	sat_out_member(&o, "orphans", SAT_OUT_INT, count_of(s->orphans));
	sat_out_member(&o, "conflicts_open", SAT_OUT_INT,
		       count_of(s->conflicts_open));
	sat_out_member(&o, "rows", SAT_OUT_INT, count_of(s->rows));
	sat_out_member(&o, "rows_repaired", SAT_OUT_INT, count_of(s->repaired));
	sat_out_member(&o, "filling", SAT_OUT_BOOL, sat_value_int(s->filling));
	sat_out_member(&o, "checkpoint_at", SAT_OUT_TIME,
		       s->checkpoint_ms == 0 ? sat_value_null()
					     : sat_value_int(s->checkpoint_ms));
	sat_out_member(&o, "clock_offset_ms", SAT_OUT_INT,
		       sat_value_int(s->offset_ms));
	sat_out_member(&o, "digest", SAT_OUT_TEXT,
		       text_of(s->digest > 0   ? "equal"
			       : s->digest < 0 ? "mismatch"
					       : "unknown"));
	sat_out_member(&o, "daemon", SAT_OUT_BOOL, sat_value_int(live));
	sat_out_member(&o, "connection", SAT_OUT_TEXT,
		       live ? text_of(k->state) : sat_value_null());
	sat_out_member(&o, "next_attempt_ms", SAT_OUT_INT,
		       live ? sat_value_int(k->next_ms) : sat_value_null());
	sat_out_member(&o, "last_error", SAT_OUT_TEXT,
		       live && k->error[0] != '\0' ? text_of(k->error)
						   : sat_value_null());
	sat_out_member(&o, "refused", SAT_OUT_TEXT,
		       refusal != NULL ? text_of(refusal) : sat_value_null());
	sat_out_member(&o, "local_failure", SAT_OUT_BOOL,
		       live ? sat_value_int(k->local_failure)
			    : sat_value_null());
	sat_out_object_end(&o);
}

int sat_cli_status(struct sat_cli *c)
{
	struct sat_daemon k;
	const char *refusal;

	sat_cli_ask_daemon(c, &k);
	refusal = kept_refusal(c, &k);
	if (c->json) {
		json_status(c, &k, refusal);
		return SAT_CLI_OK;
	}
	print_person(c);
	print_counts(c);
	print_checkpoint(c);
	(void)printf(
		SAT_TR(c, "clock offset: %+lld ms\n", "时钟偏差：%+lld 毫秒\n"),
		(long long)c->status.offset_ms);
	(void)printf(SAT_TR(c, "digest: %s\n", "摘要：%s\n"),
		     digest_word(c, &k));
	if (c->status.repaired > 0)
		(void)printf(
			SAT_TR(c,
			       "damaged on this device, fetched again: "
			       "%llu rows repaired\n",
			       "本机损坏并已重新获取：已修复 %llu 条记录\n"),
			(unsigned long long)c->status.repaired);
	print_connection(c, &k, refusal);
	return SAT_CLI_OK;
}

/* ---- sync ---------------------------------------------------------------- */

static int read_timeout(struct sat_cli *c, int *ret_ms)
{
	const char *word = c->value[SAT_OPT_TIMEOUT];
	char *end;
	long s = SYNC_DEFAULT_S;

	if (word != NULL) {
		s = strtol(word, &end, 10);
		if (end == word || *end != '\0' || s < 1 || s > SYNC_MAX_S)
			return sat_cli_misuse(
				c,
				SAT_TR(c,
				       "--timeout is a number of seconds, not "
				       "\"%s\"",
				       "--timeout 是秒数，不能是“%s”"),
				word);
	}
	*ret_ms = (int)s * 1000;
	return SAT_CLI_OK;
}

static int sync_failed(struct sat_cli *c, int rc)
{
	char said[SAT_SAY_BYTES];
	struct sat_daemon k;

	if (rc == SAT_E_CORRUPT)
		return sat_cli_fail(
			c, "%s",
			SAT_TR(c,
			       "this device's data still differs from the "
			       "server's after it was fetched again; tell "
			       "your administrator",
			       "重新获取之后，本设备的数据仍与服务器不一致；"
			       "请联系管理员"));
	if (rc == SAT_E_DENIED)
		return sat_cli_fail(c, "%s",
				    SAT_TR(c,
					   "the server refuses this device; "
					   "ask your administrator",
					   "服务器拒绝本设备，请联系管理员"));
	if (rc != SAT_E_TIMEOUT)
		return sat_cli_fail(c,
				    SAT_TR(c, "satcheld could not sync: %s",
					   "satcheld 同步失败：%s"),
				    sat_say(sat_rc_name(rc)));
	sat_cli_ask_daemon(c, &k);
	return sat_cli_fail(
		c,
		SAT_TR(c,
		       "no server in time; everything is saved here and goes "
		       "out later%s%s",
		       "未能及时连上服务器；内容已保存在本机，稍后自动发送%s%"
		       "s"),
		k.error[0] != '\0' ? SAT_TR(c, ": ", "：") : "",
		sat_say_text(k.error, said, sizeof said));
}

int sat_cli_sync(struct sat_cli *c)
{
	json_t *answer = NULL;
	struct sat_out_object o;
	int64_t confirmed, rejected;
	int timeout_ms = 0, rc, code = read_timeout(c, &timeout_ms);

	if (code != SAT_CLI_OK)
		return code;
	rc = ask(c,
		 json_pack("{s:s, s:i}", "ask", "sync", "timeout_ms",
			   timeout_ms),
		 timeout_ms + 10000, &answer);
	if (rc == SAT_E_NOTFOUND)
		return sat_cli_fail(
			c,
			SAT_TR(c,
			       "satcheld is not running for %s; what you write "
			       "is kept until it does: satcheld run --dir %s",
			       "satcheld 未在 %s 运行；修改会保存到它运行时："
			       "satcheld run --dir %s"),
			c->dir, c->dir);
	if (rc != SAT_OK)
		return sat_cli_error(c);
	rc = (int)json_integer_value(json_object_get(answer, "rc"));
	confirmed = json_integer_value(json_object_get(answer, "confirmed"));
	rejected = json_integer_value(json_object_get(answer, "rejected"));
	json_decref(answer);
	if (rc != SAT_OK)
		return sync_failed(c, rc);
	if (c->json) {
		sat_out_object_begin(&o);
		sat_out_member(&o, "confirmed", SAT_OUT_INT,
			       sat_value_int(confirmed));
		sat_out_member(&o, "rejected", SAT_OUT_INT,
			       sat_value_int(rejected));
		sat_out_object_end(&o);
		return SAT_CLI_OK;
	}
	(void)printf(SAT_TR(c, "in sync: %lld confirmed, %lld rejected\n",
			    "已同步：%lld 处已确认，%lld 项被拒绝\n"),
		     (long long)confirmed, (long long)rejected);
	return SAT_CLI_OK;
}

/* ---- verify -------------------------------------------------------------- */

/* Without a daemon: gather what waits, as the daemon would at its start, and
 * hash everything again. */
static int verify_all(struct sat_cli *c, uint64_t *rows, uint64_t *bad)
{
	struct sat_hash digest;
	uint64_t seq;
	int rc = sat_replica_harvest(c->replica, now_ms(), true, 5000, &seq,
				     &c->err);

	if (rc == SAT_OK)
		rc = sat_replica_verify(c->replica, rows, bad, &digest,
					&c->err);
	if (rc == SAT_OK)
		rc = sat_replica_status(c->replica, &c->status, &c->err);
	return rc;
}

static int check_file(struct sat_cli *c, bool *ret_ok)
{
	struct sat_value v;
	int rc =
		sat_query_value(c->replica, &c->arena,
				"SELECT quick_check FROM pragma_quick_check(1)",
				NULL, 0, &v, &c->err);

	if (rc == SAT_OK)
		*ret_ok = v.kind == SAT_TEXT &&
			  sat_slice_equal(v.s, sat_slice_str("ok"));
	return rc;
}

static void say_verified(const struct sat_cli *c, pid_t daemon, bool sound,
			 uint64_t rows, uint64_t bad)
{
	struct sat_out_object o;

	if (c->json) {
		sat_out_object_begin(&o);
		sat_out_member(&o, "file_sound", SAT_OUT_BOOL,
			       sat_value_int(sound));
		sat_out_member(&o, "rows", SAT_OUT_INT,
			       daemon == 0 ? count_of(rows) : sat_value_null());
		sat_out_member(&o, "bad", SAT_OUT_INT,
			       daemon == 0 ? count_of(bad) : sat_value_null());
		sat_out_member(&o, "digest", SAT_OUT_TEXT,
			       text_of(c->status.digest > 0   ? "equal"
				       : c->status.digest < 0 ? "mismatch"
							      : "unknown"));
		sat_out_object_end(&o);
		return;
	}
	(void)printf(SAT_TR(c, "file: %s\n", "文件：%s\n"),
		     sound ? SAT_TR(c, "sound", "完好")
			   : SAT_TR(c, "DAMAGED", "已损坏"));
	if (daemon == SAT_CLI_NAMELESS)
		(void)puts(SAT_TR(c,
				  "rows: another process holds the replica "
				  "and hashes them itself",
				  "记录：另一进程正在使用数据，由它自行核对"));
	else if (daemon == 0)
		(void)printf(
			SAT_TR(c,
			       "rows: %llu hashed again, %llu differ from "
			       "what the server sent\n",
			       "记录：重新核对 %llu 条，%llu 条与服务器发来"
			       "的不同\n"),
			(unsigned long long)rows, (unsigned long long)bad);
	else
		(void)printf(
			SAT_TR(c,
			       "rows: satcheld (process %ld) holds the "
			       "replica and hashes them itself\n",
			       "记录：satcheld（进程 %ld）正在使用数据，由它"
			       "自行核对\n"),
			(long)daemon);
	(void)printf(SAT_TR(c, "digest: %s\n", "摘要：%s\n"),
		     digest_word(c, NULL));
}

int sat_cli_find_daemon(struct sat_cli *c, pid_t *ret)
{
	char path[4096];
	int rc = sat_path_join(path, sizeof path, c->dir, "lock", &c->err);

	*ret = 0;
	if (rc == SAT_OK && sat_file_exists(path))
		rc = sat_lock_holder(path, ret, &c->err);
	return rc;
}

/* The same for those to whom it does not matter which one it is. */
static int find_any_daemon(struct sat_cli *c, pid_t *ret)
{
	int rc = sat_cli_find_daemon(c, ret);

	if (rc != SAT_E_BUSY)
		return rc;
	*ret = SAT_CLI_NAMELESS;
	return SAT_OK;
}

int sat_cli_gather(struct sat_cli *c)
{
	pid_t daemon;
	uint64_t seq;
	int rc = find_any_daemon(c, &daemon);

	if (rc == SAT_OK && daemon == 0)
		rc = sat_replica_harvest(c->replica, now_ms(), true, 5000, &seq,
					 &c->err);
	return rc == SAT_OK ? SAT_CLI_OK : sat_cli_error(c);
}

int sat_cli_verify(struct sat_cli *c)
{
	uint64_t rows = 0, bad = 0;
	bool sound = false;
	pid_t daemon = 0;
	int rc = find_any_daemon(c, &daemon);

	if (rc == SAT_OK)
		rc = check_file(c, &sound);
	if (rc == SAT_OK && sound && daemon == 0)
		rc = verify_all(c, &rows, &bad);
	if (rc != SAT_OK)
		return sat_cli_error(c);
	say_verified(c, daemon, sound, rows, bad);
	return sound && bad == 0 && c->status.digest >= 0 ? SAT_CLI_OK
							  : SAT_CLI_FAILED;
}
