#include "server/admin/past.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/pki.h"
#include "common/text.h"
#include "server/commit/engine.h"
#include "server/commit/recover.h"

enum {
	LINE_MAX_CHARS = 200,
	LISTED_MAX = 1000000,
	HEAD_EVERY_MS = 1000,
};

/* ---- what the journal says ----------------------------------------------- */

struct revoked {
	uint32_t replica;
	struct sat_id user;
};

struct past {
	uint32_t replica; /* the highest that was given out */
	struct revoked *revoked;
	uint32_t *selves;
	uint8_t (*invites)[SAT_SHA256_BYTES];
	size_t revoked_count, self_count, invite_count;
	bool has_head;
	uint64_t epoch, head;
};

static void past_free(struct past *p)
{
	free(p->revoked);
	free(p->selves);
	free(p->invites);
}

/* Room for one more of that size; NULL when there is no memory, or too many. */
static void *grow(void *list, size_t count, size_t size)
{
	if (count >= LISTED_MAX)
		return NULL;
	if ((count & (count - 1)) != 0)
		return list;
	return realloc(list, (count == 0 ? 1 : count * 2) * size);
}

static int add_revoked(struct past *p, uint32_t replica, struct sat_id user)
{
	void *more = grow(p->revoked, p->revoked_count, sizeof *p->revoked);

	if (more == NULL)
		return SAT_E_NOMEM;
	p->revoked = more;
	p->revoked[p->revoked_count++] = (struct revoked){ replica, user };
	return SAT_OK;
}

static int add_self(struct past *p, uint32_t replica)
{
	void *more = grow(p->selves, p->self_count, sizeof *p->selves);

	if (more == NULL)
		return SAT_E_NOMEM;
	p->selves = more;
	p->selves[p->self_count++] = replica;
	return SAT_OK;
}

static int add_invite(struct past *p, const char *hex)
{
	void *more = grow(p->invites, p->invite_count, sizeof *p->invites);

	if (more == NULL)
		return SAT_E_NOMEM;
	p->invites = more;
	if (sat_hex_parse(sat_slice_str(hex), p->invites[p->invite_count],
			  SAT_SHA256_BYTES))
		p->invite_count++;
	return SAT_OK;
}

/* A line that is not understood is a later version's: passed over. */
static int on_line(void *arg, struct sat_slice line)
{
	struct past *p = arg;
	char text[LINE_MAX_CHARS], a[80] = "", kind[16] = "", b[80] = "";
	struct sat_id user = { { 0 } };
	uint32_t n;

	if (line.len >= sizeof text)
		return SAT_OK;
	memcpy(text, line.ptr, line.len);
	text[line.len] = '\0';
	if (sscanf(text, "%15s %79s %79s", kind, a, b) < 2)
		return SAT_OK;
	if (strcmp(kind, "invited") == 0)
		return add_invite(p, a);
	n = (uint32_t)strtoul(a, NULL, 10);
	if (strcmp(kind, "replica") != 0 && strcmp(kind, "self") != 0 &&
	    strcmp(kind, "revoked") != 0)
		return SAT_OK;
	if (n > p->replica)
		p->replica = n;
	if (strcmp(kind, "self") == 0)
		return add_self(p, n);
	if (strcmp(kind, "revoked") != 0)
		return SAT_OK;
	(void)sat_id_parse(sat_slice_str(b), &user);
	return add_revoked(p, n, user);
}

static int read_head(const char *dir, struct past *p, struct sat_err *err)
{
	char path[4096], text[80] = "";
	struct sat_buf b;
	int rc = sat_path_join(path, sizeof path, dir, "journal/head", err);

	if (rc != SAT_OK || !sat_file_exists(path))
		return rc;
	sat_buf_init(&b, sizeof text);
	rc = sat_file_read(path, sizeof text - 1, &b, err);
	if (rc == SAT_OK && b.len > 0) {
		memcpy(text, sat_buf_peek(&b).ptr, b.len);
		p->has_head = sscanf(text, "%" SCNu64 " %" SCNu64, &p->epoch,
				     &p->head) == 2;
	}
	sat_buf_fini(&b);
	return rc;
}

/* ---- putting the database right ------------------------------------------ */

static int again_revoked(struct sat_engine *e, const struct past *p,
			 struct sat_past_result *ret, struct sat_err *err)
{
	struct sat_store *s = sat_engine_store(e);
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i < p->revoked_count; i++) {
		struct sat_device d = { .replica = p->revoked[i].replica,
					.user = p->revoked[i].user,
					.name = "revoked before a restore" };

		rc = sat_store_device_get(s, d.replica, &d, err);
		if (rc == SAT_OK && d.state == SAT_DEVICE_REVOKED)
			continue;
		if (rc != SAT_OK && rc != SAT_E_NOTFOUND)
			return rc;
		d.state = SAT_DEVICE_REVOKED;
		rc = sat_store_device_put(s, &d, err);
		ret->revoked++;
	}
	return rc;
}

static int again_used(struct sat_engine *e, const struct past *p,
		      struct sat_past_result *ret, struct sat_err *err)
{
	struct sat_store *s = sat_engine_store(e);
	struct sat_invite inv;
	int rc = SAT_OK;

	for (size_t i = 0; rc == SAT_OK && i < p->invite_count; i++) {
		rc = sat_store_invite_get(s, p->invites[i], &inv, err);
		if (rc == SAT_E_NOTFOUND || (rc == SAT_OK && inv.used)) {
			rc = SAT_OK;
			continue;
		}
		if (rc != SAT_OK)
			return rc;
		inv.used = true;
		rc = sat_store_invite_put(s, &inv, err);
		ret->invites++;
	}
	return rc;
}

static int begin_history(struct sat_engine *e, const struct past *p,
			 bool forced, struct sat_err *err)
{
	uint8_t random[16];
	struct sat_epoch_start how = {
		.why = forced ? "restored from a backup"
			      : "the database is older than the journal",
		.past = p->head,
		.past_replica = p->replica,
		.random = random,
	};
	int rc = sat_random(random, sizeof random, err);

	if (rc == SAT_OK)
		rc = sat_engine_new_epoch(e, &how, err);
	for (size_t i = 0; rc == SAT_OK && i < p->self_count; i++)
		rc = sat_engine_old_self(e, p->selves[i], err);
	return rc;
}

static int put_right(struct sat_engine *e, const struct past *p, bool forced,
		     struct sat_past_result *ret, struct sat_err *err)
{
	struct sat_commit_info info;
	struct timespec t;
	int rc;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	rc = sat_engine_begin(e, (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000,
			      err);
	if (rc != SAT_OK)
		return rc;
	if (ret->restored)
		rc = begin_history(e, p, forced, err);
	if (rc == SAT_OK)
		rc = again_revoked(e, p, ret, err);
	if (rc == SAT_OK)
		rc = again_used(e, p, ret, err);
	if (rc == SAT_OK)
		return sat_engine_commit(e, &info, err);
	sat_engine_abandon(e);
	return rc;
}

static int with_engine(const char *db_path, const struct past *p, bool forced,
		       struct sat_past_result *ret, uint32_t *ret_self,
		       struct sat_err *err)
{
	struct sat_store *s;
	struct sat_engine *e = NULL;
	int rc = sat_store_open_sqlite(db_path, true, false, &s, err);

	if (rc != SAT_OK)
		return rc;
	rc = sat_store_head(s, &ret->head, err);
	if (rc == SAT_OK)
		rc = sat_engine_open(s, &e, err);
	if (rc == SAT_OK) {
		ret->past = p->head;
		ret->restored =
			forced || (p->has_head && ret->head < p->head) ||
			(p->has_head && p->epoch != sat_engine_epoch(e));
		if (ret->restored || p->revoked_count > 0 ||
		    p->invite_count > 0)
			rc = put_right(e, p, forced, ret, err);
		*ret_self = sat_engine_self(e);
		ret->epoch = sat_engine_epoch(e);
	}
	if (rc == SAT_OK)
		rc = sat_store_head(s, &ret->head, err);
	sat_engine_close(e);
	sat_store_close(s);
	return rc;
}

int sat_past_start(const char *dir, const char *db_path, bool forced,
		   struct sat_journal *ret_journal, struct sat_past_result *ret,
		   struct sat_err *err)
{
	struct sat_past_result found = { .restored = false };
	struct sat_journal j = { .fd = -1 };
	struct past p = { .replica = 0 };
	char path[4096], line[40];
	struct sat_past_head head;
	uint32_t self = 0;
	int rc;

	rc = sat_path_join(path, sizeof path, dir, "journal", err);
	if (rc == SAT_OK)
		rc = sat_dir_make(path, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, dir, "journal/replicas",
				   err);
	if (rc == SAT_OK)
		rc = sat_journal_open(path, &j, on_line, &p, err);
	if (rc == SAT_OK)
		rc = read_head(dir, &p, err);
	if (rc == SAT_OK)
		rc = with_engine(db_path, &p, forced, &found, &self, err);
	if (rc == SAT_OK && found.restored) {
		(void)snprintf(line, sizeof line, "self %lu",
			       (unsigned long)self);
		rc = sat_journal_append(&j, sat_slice_str(line), err);
	}
	if (rc == SAT_OK && found.restored)
		rc = sat_past_head_open(&head, dir, err);
	if (rc == SAT_OK && found.restored)
		rc = sat_past_head_note(&head, found.epoch, found.head, 0, err);
	past_free(&p);
	if (rc != SAT_OK) {
		sat_journal_close(&j);
		return rc;
	}
	*ret_journal = j;
	if (ret != NULL)
		*ret = found;
	return SAT_OK;
}

/* ---- the head -------------------------------------------------------------
 */

int sat_past_head_open(struct sat_past_head *h, const char *dir,
		       struct sat_err *err)
{
	*h = (struct sat_past_head){ .epoch = 0 };
	return sat_path_join(h->path, sizeof h->path, dir, "journal/head", err);
}

int sat_past_head_note(struct sat_past_head *h, uint64_t epoch, uint64_t head,
		       int64_t now_ms, struct sat_err *err)
{
	char line[64];
	int rc;

	h->last_epoch = epoch;
	h->last_head = head;
	if (epoch == h->epoch &&
	    (head == h->head || (now_ms - h->written_ms < HEAD_EVERY_MS &&
				 now_ms >= h->written_ms)))
		return SAT_OK;
	(void)snprintf(line, sizeof line, "%" PRIu64 " %" PRIu64 "\n", epoch,
		       head);
	rc = sat_file_write(h->path, sat_slice_str(line), 0600, err);
	if (rc == SAT_OK) {
		h->epoch = epoch;
		h->head = head;
		h->written_ms = now_ms;
	}
	return rc;
}

int sat_past_head_flush(struct sat_past_head *h, struct sat_err *err)
{
	if (h->last_epoch == 0)
		return SAT_OK;
	h->written_ms = INT64_MIN / 2;
	return sat_past_head_note(h, h->last_epoch, h->last_head, 0, err);
}

/* ---- two journals ---------------------------------------------------------
 */

struct merge {
	struct sat_buf have; /* lines, each between newlines */
	struct sat_journal to;
	struct sat_err *err;
};

static int on_have(void *arg, struct sat_slice line)
{
	struct merge *m = arg;

	if (sat_buf_append(&m->have, line.ptr, line.len) != SAT_OK ||
	    sat_buf_append(&m->have, "\n", 1) != SAT_OK)
		return SAT_E_NOMEM;
	return SAT_OK;
}

static int on_other(void *arg, struct sat_slice line)
{
	struct merge *m = arg;
	struct sat_slice s = sat_buf_peek(&m->have);
	const uint8_t *at = s.ptr, *end = s.ptr + s.len, *stop;

	while (at < end && (stop = memchr(at, '\n', (size_t)(end - at)))) {
		if ((size_t)(stop - at) == line.len &&
		    memcmp(at, line.ptr, line.len) == 0)
			return SAT_OK;
		at = stop + 1;
	}
	return sat_journal_append(&m->to, line, m->err);
}

int sat_past_merge(const char *from_dir, const char *to_dir,
		   struct sat_err *err)
{
	struct merge m = { .err = err };
	struct sat_journal from = { .fd = -1 };
	struct sat_past_head h;
	struct past a = { .replica = 0 }, b = { .replica = 0 };
	char path[4096];
	int rc;

	m.to.fd = -1;
	sat_buf_init(&m.have, (size_t)64 << 20);
	rc = sat_path_join(path, sizeof path, to_dir, "journal", err);
	if (rc == SAT_OK)
		rc = sat_dir_make(path, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, to_dir,
				   "journal/replicas", err);
	if (rc == SAT_OK)
		rc = sat_journal_open(path, &m.to, on_have, &m, err);
	if (rc == SAT_OK)
		rc = sat_path_join(path, sizeof path, from_dir,
				   "journal/replicas", err);
	if (rc == SAT_OK && sat_file_exists(path))
		rc = sat_journal_open(path, &from, on_other, &m, err);
	if (rc == SAT_OK)
		rc = read_head(from_dir, &a, err);
	if (rc == SAT_OK)
		rc = read_head(to_dir, &b, err);
	if (rc == SAT_OK && a.has_head && (!b.has_head || a.head > b.head)) {
		rc = sat_past_head_open(&h, to_dir, err);
		if (rc == SAT_OK)
			rc = sat_past_head_note(&h, a.epoch, a.head, 0, err);
	}
	sat_journal_close(&from);
	sat_journal_close(&m.to);
	sat_buf_fini(&m.have);
	return rc;
}
