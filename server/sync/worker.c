#include "server/sync/run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Threads and queues. A result crosses back through one list and one async
 * handle, which is only a hint to look at the list: sends coalesce. */

enum {
	GROUP_TRIES = 5,
	QUIET_MS = 5000, /* without a group: the whole WAL is folded in */
};

bool sat_job_spoils(int rc)
{
	return rc == SAT_E_FULL || rc == SAT_E_IO || rc == SAT_E_CORRUPT ||
	       rc == SAT_E_NOMEM || rc == SAT_E_BUSY;
}

/* ---- queues ------------------------------------------------------------- */

static int queue_init(struct sat_queue *q, uint32_t batch)
{
	memset(q, 0, sizeof *q);
	q->last = &q->first;
	q->batch = batch;
	if (uv_mutex_init(&q->lock) != 0)
		return SAT_E_NOMEM;
	if (uv_cond_init(&q->wake) == 0)
		return SAT_OK;
	uv_mutex_destroy(&q->lock);
	return SAT_E_NOMEM;
}

static void queue_fini(struct sat_queue *q)
{
	SAT_ASSERT(q->first == NULL);
	uv_cond_destroy(&q->wake);
	uv_mutex_destroy(&q->lock);
}

static void queue_put(struct sat_queue *q, struct sat_job *j)
{
	j->next = NULL;
	uv_mutex_lock(&q->lock);
	*q->last = j;
	q->last = &j->next;
	q->count++;
	q->bytes += j->bytes;
	uv_cond_signal(&q->wake);
	uv_mutex_unlock(&q->lock);
}

/* Wait for jobs and take up to a batch of them; one that must be alone comes
 * alone. NULL: closed and empty, or, with quiet_ms not 0, nothing came for so
 * long; *ret_open tells which. */
static struct sat_job *queue_take(struct sat_queue *q, uint64_t quiet_ms,
				  bool *ret_open)
{
	struct sat_job *first, **end;
	uint32_t taken = 0;
	int rc = 0;

	uv_mutex_lock(&q->lock);
	while (q->first == NULL && !q->closed && rc == 0)
		if (quiet_ms == 0)
			uv_cond_wait(&q->wake, &q->lock);
		else
			rc = uv_cond_timedwait(&q->wake, &q->lock,
					       quiet_ms * 1000000);
	*ret_open = q->first != NULL || !q->closed;
	first = q->first;
	for (end = &q->first; *end != NULL && taken < q->batch; taken++) {
		if ((*end)->alone && taken > 0)
			break;
		q->count--;
		q->bytes -= (*end)->bytes;
		end = &(*end)->next;
		if (first->alone)
			break;
	}
	q->first = *end;
	*end = NULL;
	if (q->first == NULL)
		q->last = &q->first;
	uv_mutex_unlock(&q->lock);
	return first;
}

static void queue_close(struct sat_queue *q)
{
	uv_mutex_lock(&q->lock);
	q->closed = true;
	uv_cond_broadcast(&q->wake);
	uv_mutex_unlock(&q->lock);
}

/* ---- results ------------------------------------------------------------ */

static void post(struct sat_workers *w, struct sat_job *list)
{
	struct sat_job *end = list;

	if (list == NULL)
		return;
	while (end->next != NULL)
		end = end->next;
	uv_mutex_lock(&w->done_lock);
	*w->done_last = list;
	w->done_last = &end->next;
	uv_mutex_unlock(&w->done_lock);
	(void)uv_async_send(w->async);
}

void sat_workers_reap(struct sat_workers *w)
{
	struct sat_job *j, *next;

	uv_mutex_lock(&w->done_lock);
	j = w->done_first;
	w->done_first = NULL;
	w->done_last = &w->done_first;
	uv_mutex_unlock(&w->done_lock);
	for (; j != NULL; j = next) {
		next = j->next;
		j->done(j);
	}
}

/* ---- the committer ------------------------------------------------------ */

struct news_job {
	struct sat_job job;
	struct sat_server *server;
	struct sat_news news;
};

static void tell(struct sat_conn *c, uint64_t commit_seq)
{
	struct sat_ssession_event ev = { .kind = SAT_SEV_NOTIFY,
					 .seq = commit_seq };

	sat_conn_event(c, &ev);
}

static void on_news(struct sat_job *j)
{
	struct news_job *n = SAT_CONTAINER_OF(j, struct news_job, job);
	struct sat_server *s = n->server;
	struct sat_conn *c, *next;

	for (c = s->conns; n->news.catalogue != 0 && c != NULL; c = next) {
		struct sat_ssession_event ev = { .kind = SAT_SEV_NEWER,
						 .version = n->news.catalogue };

		next = c->next;
		if (c->in_hub)
			sat_conn_event(c, &ev);
	}
	if (n->news.rights_changed) {
		s->rights_due_ms = n->news.rights_due_ms;
		sat_conn_check_rights(s);
	}
	sat_hub_notify(&s->hub, &n->news, tell);
	free(n->news.scopes);
	free(n);
}

/* Made before the group runs, so that news of lost rights cannot be lost
 * itself for lack of memory. */
static struct news_job *news_new(struct sat_workers *w)
{
	struct news_job *n = calloc(1, sizeof *n);

	if (n == NULL)
		return NULL;
	n->server = w->server;
	n->job.done = on_news;
	return n;
}

/* Fill it; NULL, and it is gone, when nothing happened that anyone waits
 * for. Out of memory for the scopes: those devices hear of the next commit. */
static struct sat_job *news_fill(struct news_job *n,
				 const struct sat_commit_info *info,
				 uint32_t catalogue)
{
	if (info->scope_count == 0 && !info->rights_changed && catalogue == 0) {
		free(n);
		return NULL;
	}
	n->news.commit_seq = info->commit_seq;
	n->news.rights_changed = info->rights_changed;
	n->news.rights_due_ms = info->rights_due_ms;
	n->news.catalogue = catalogue;
	if (info->scope_count > 0)
		n->news.scopes =
			malloc(info->scope_count * sizeof *n->news.scopes);
	if (n->news.scopes != NULL) {
		memcpy(n->news.scopes, info->scopes,
		       info->scope_count * sizeof *n->news.scopes);
		n->news.scope_count = info->scope_count;
	}
	return &n->job;
}

static uint32_t catalogue_of(const struct sat_bench *b)
{
	const struct sat_catalogue *c =
		b->store == NULL ? NULL : sat_store_catalogue(b->store);

	return c == NULL ? 0 : c->version;
}

static void close_engine(struct sat_bench *b)
{
	sat_engine_close(b->engine);
	sat_store_close(b->store);
	b->engine = NULL;
	b->store = NULL;
}

static int open_engine(struct sat_workers *w, struct sat_bench *b,
		       struct sat_err *err)
{
	int64_t days =
		sat_config_int(w->server->config, SAT_CFG_GRANT_GRACE_DAYS);
	struct sat_keep keep;
	int rc = sat_store_open_sqlite(w->db_path, true, false, &b->store, err);

	if (rc == SAT_OK)
		rc = sat_engine_open(b->store, &b->engine, err);
	if (rc != SAT_OK) {
		sat_store_close(b->store);
		b->store = NULL;
	} else {
		sat_engine_grace(b->engine, days * 24 * 3600 * 1000);
		keep = sat_keep_from(w->server->config);
		sat_engine_keep_for(b->engine, &keep);
	}
	return rc;
}

/* All jobs of a group in one transaction. On failure nothing of it is durable,
 * or it is in doubt (SAT_E_IO at the commit); *ret_culprit is the job that
 * did it, NULL when it was none. */
static int run_group(struct sat_bench *b, struct sat_job *list,
		     struct sat_commit_info *info, struct sat_job **ret_culprit,
		     struct sat_err *err)
{
	int rc = sat_engine_begin(b->engine, b->now_ms, err);

	*ret_culprit = NULL;
	if (rc != SAT_OK)
		return rc;
	for (struct sat_job *j = list; j != NULL; j = j->next) {
		sat_arena_reset(&b->arena);
		j->rc = j->run(j, b, &j->err);
		if (!sat_job_spoils(j->rc) && (!j->alone || j->rc == SAT_OK))
			continue;
		*err = j->err;
		*ret_culprit = j;
		sat_engine_abandon(b->engine);
		return j->rc;
	}
	return sat_engine_commit(b->engine, info, err);
}

static void spoil(struct sat_job *list, int rc, const struct sat_err *err)
{
	for (struct sat_job *j = list; j != NULL; j = j->next) {
		j->spoiled = true;
		j->rc = rc;
		j->err = *err;
	}
}

static void take_out(struct sat_job **list, struct sat_job *j)
{
	while (*list != j)
		list = &(*list)->next;
	*list = j->next;
	j->next = NULL;
}

/* One changeset that asks for too much must not take down those that happen
 * to be in its group, now and each time it is tried again: the group goes
 * once more without it. Returns what became of the rest, *list; those put
 * aside are in *aside. */
static int run_groups(struct sat_bench *b, struct sat_job **list,
		      struct sat_job **aside, struct sat_commit_info *info,
		      struct sat_err *err)
{
	struct sat_job *culprit;
	int rc = SAT_OK;

	for (int tries = 0; *list != NULL && tries < GROUP_TRIES; tries++) {
		rc = run_group(b, *list, info, &culprit, err);
		if (rc == SAT_OK || culprit == NULL || rc == SAT_E_IO ||
		    rc == SAT_E_CORRUPT)
			return rc;
		take_out(list, culprit);
		culprit->spoiled = sat_job_spoils(rc);
		culprit->next = *aside;
		*aside = culprit;
		if (rc != SAT_AGAIN) /* that is a dry run */
			sat_log(SAT_LOG_WARN, "commit", "job put aside",
				SAT_KV_ERR(err));
	}
	return *list == NULL ? SAT_OK : rc;
}

static void count_group(struct sat_workers *w, const struct sat_job *list,
			int rc, uint64_t head)
{
	uv_mutex_lock(&w->done_lock);
	w->groups++;
	for (; list != NULL; list = list->next)
		w->group_jobs++;
	if (rc != SAT_OK)
		w->group_failures++;
	else if (head != 0)
		w->head = head;
	uv_mutex_unlock(&w->done_lock);
}

/* After an error of the disk the transaction is in doubt and the engine's
 * memory with it: read everything again. Until that works, nothing is taken.
 */
static int mend(struct sat_workers *w, struct sat_bench *b, struct sat_err *err)
{
	int rc;

	if (b->engine != NULL)
		return SAT_OK;
	rc = open_engine(w, b, err);
	uv_mutex_lock(&w->done_lock);
	w->reopens++;
	uv_mutex_unlock(&w->done_lock);
	sat_log(rc == SAT_OK ? SAT_LOG_WARN : SAT_LOG_ERROR, "commit",
		"store opened again", SAT_KV_STR("rc", sat_rc_name(rc)));
	return rc;
}

/* Where a restore finds it. */
static void tell_head(const struct sat_workers *w, const struct sat_bench *b,
		      uint64_t head)
{
	if (b->engine != NULL && w->server->on_head != NULL)
		w->server->on_head(w->server->on_replica_arg,
				   sat_engine_epoch(b->engine), head);
}

static void do_group(struct sat_workers *w, struct sat_bench *b,
		     struct sat_job *list)
{
	struct sat_commit_info info = { 0 };
	struct news_job *news = news_new(w);
	struct sat_job *aside = NULL;
	struct sat_err err = { .msg = "out of memory" };
	uint32_t before, after;
	int rc = news == NULL ? SAT_E_NOMEM : mend(w, b, &err);

	before = catalogue_of(b);
	b->now_ms = sat_server_wall();
	if (rc == SAT_OK)
		rc = run_groups(b, &list, &aside, &info, &err);
	after = catalogue_of(b);
	if (rc == SAT_OK && info.commit_seq != 0)
		tell_head(w, b, info.commit_seq);
	count_group(w, list, rc, info.commit_seq);
	if (rc != SAT_OK) {
		spoil(list, rc, &err);
		sat_log(SAT_LOG_ERROR, "commit", "group failed",
			SAT_KV_ERR(&err));
	}
	if ((rc == SAT_E_IO || rc == SAT_E_CORRUPT) && b->engine != NULL)
		close_engine(b);
	post(w, list);
	post(w, aside);
	if (rc != SAT_OK)
		free(news);
	else
		post(w, news_fill(news, &info, after != before ? after : 0));
}

static void quiet_signals(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, NULL);
}

/* Between groups: the WAL goes into the file when it is long, and whole when
 * nobody has written for a while. Returns how many pages it still holds. */
static int tend(struct sat_workers *w, const struct sat_bench *b, bool idle)
{
	struct sat_err err;
	uint64_t head;
	int pages = 0;

	if (b->engine == NULL)
		return 0;
	if (sat_store_upkeep(b->store, idle, &pages, &err) != SAT_OK) {
		sat_log(SAT_LOG_WARN, "commit", "upkeep", SAT_KV_ERR(&err));
		return 0;
	}
	uv_mutex_lock(&w->done_lock);
	w->wal_pages = (uint64_t)pages;
	head = w->head;
	uv_mutex_unlock(&w->done_lock);
	if (idle && head != 0)
		tell_head(w, b, head);
	return pages;
}

static void committer(void *arg)
{
	struct sat_workers *w = arg;
	struct sat_bench b = { .engine = w->engine, .store = w->store };
	struct sat_job *list;
	bool open = true;
	int pages = 0;

	quiet_signals();
	b.zip = sat_zip_new();
	sat_arena_init(&b.arena, SAT_RUN_ARENA_MAX);
	while (open) {
		list = queue_take(&w->commits, pages > 0 ? QUIET_MS : 0, &open);
		if (list != NULL)
			do_group(w, &b, list);
		if (open)
			pages = tend(w, &b, list == NULL);
	}
	sat_arena_fini(&b.arena);
	sat_zip_free(b.zip);
	close_engine(&b);
}

/* ---- readers ------------------------------------------------------------ */

struct reader_start {
	struct sat_workers *w;
	struct sat_store *store;
};

static void reader(void *arg)
{
	struct reader_start *start = arg;
	struct sat_workers *w = start->w;
	struct sat_bench b = { .store = start->store, .pages = w->pages };
	struct sat_job *j;
	bool open;

	free(start);
	quiet_signals();
	b.zip = sat_zip_new();
	sat_arena_init(&b.arena, SAT_RUN_ARENA_MAX);
	while ((j = queue_take(&w->reads, 0, &open)) != NULL) {
		sat_arena_reset(&b.arena);
		b.now_ms = sat_server_wall();
		j->rc = sat_store_catalogue_refresh(b.store, &j->err);
		if (j->rc == SAT_OK)
			j->rc = j->run(j, &b, &j->err);
		post(w, j);
	}
	sat_arena_fini(&b.arena);
	sat_zip_free(b.zip);
	sat_store_close(b.store);
}

static int start_reader(struct sat_workers *w, struct sat_err *err)
{
	struct reader_start *start = calloc(1, sizeof *start);
	int rc;

	if (start == NULL)
		return sat_err_set(err, SAT_E_NOMEM, 0, "reader",
				   "out of memory");
	start->w = w;
	rc = sat_store_open_sqlite(w->db_path, false, false, &start->store,
				   err);
	if (rc != SAT_OK) {
		free(start);
		return rc;
	}
	rc = uv_thread_create(&w->readers[w->reader_count], reader, start);
	if (rc != 0) {
		sat_store_close(start->store);
		free(start);
		return sat_err_set(err, SAT_E_NOMEM, rc, "reader", "%s",
				   uv_strerror(rc));
	}
	w->reader_count++;
	return SAT_OK;
}

/* ---- start and stop ----------------------------------------------------- */

static int start_committer(struct sat_workers *w, struct sat_err *err)
{
	struct sat_bench b = { 0 };
	int rc = open_engine(w, &b, err);

	if (rc != SAT_OK)
		return rc;
	w->engine = b.engine;
	w->store = b.store;
	rc = uv_thread_create(&w->committer, committer, w);
	if (rc != 0) {
		close_engine(&b);
		return sat_err_set(err, SAT_E_NOMEM, rc, "committer", "%s",
				   uv_strerror(rc));
	}
	w->committing = true;
	return SAT_OK;
}

static int init_locks(struct sat_workers *w, uint32_t batch)
{
	w->done_last = &w->done_first;
	if (uv_mutex_init(&w->done_lock) != 0)
		return SAT_E_NOMEM;
	if (queue_init(&w->commits, batch) != SAT_OK)
		goto no_commits;
	if (queue_init(&w->reads, 1) == SAT_OK)
		return SAT_OK;
	queue_fini(&w->commits);
no_commits:
	uv_mutex_destroy(&w->done_lock);
	return SAT_E_NOMEM;
}

int sat_workers_start(struct sat_workers *w, uint32_t readers, uint32_t batch,
		      size_t page_bytes, struct sat_err *err)
{
	int rc = init_locks(w, batch);

	if (rc != SAT_OK)
		return sat_err_set(err, rc, 0, "workers", "out of memory");
	w->pages = sat_page_cache_new(page_bytes);
	rc = start_committer(w, err);
	for (uint32_t i = 0; rc == SAT_OK && i < readers; i++)
		rc = start_reader(w, err);
	if (rc != SAT_OK)
		sat_workers_stop(w);
	return rc;
}

void sat_workers_stop(struct sat_workers *w)
{
	queue_close(&w->commits);
	queue_close(&w->reads);
	if (w->committing)
		(void)uv_thread_join(&w->committer);
	for (uint32_t i = 0; i < w->reader_count; i++)
		(void)uv_thread_join(&w->readers[i]);
	w->committing = false;
	w->reader_count = 0;
	sat_workers_reap(w);
	sat_page_cache_free(w->pages);
	w->pages = NULL;
	queue_fini(&w->reads);
	queue_fini(&w->commits);
	uv_mutex_destroy(&w->done_lock);
}

void sat_workers_commit(struct sat_workers *w, struct sat_job *j)
{
	queue_put(&w->commits, j);
}

void sat_workers_read(struct sat_workers *w, struct sat_job *j)
{
	queue_put(&w->reads, j);
}

void sat_workers_batch(struct sat_workers *w, uint32_t batch)
{
	uv_mutex_lock(&w->commits.lock);
	w->commits.batch = batch;
	uv_mutex_unlock(&w->commits.lock);
}

void sat_workers_load(struct sat_workers *w, struct sat_server_metrics *ret)
{
	uv_mutex_lock(&w->commits.lock);
	ret->commit_queue = w->commits.count;
	ret->commit_queue_bytes = w->commits.bytes;
	uv_mutex_unlock(&w->commits.lock);
	uv_mutex_lock(&w->reads.lock);
	ret->read_queue = w->reads.count;
	uv_mutex_unlock(&w->reads.lock);
	uv_mutex_lock(&w->done_lock);
	ret->groups = w->groups;
	ret->group_jobs = w->group_jobs;
	ret->group_failures = w->group_failures;
	ret->engine_reopens = w->reopens;
	ret->head = w->head;
	ret->wal_pages = w->wal_pages;
	uv_mutex_unlock(&w->done_lock);
}
