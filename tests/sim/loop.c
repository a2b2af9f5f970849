/* Virtual time and the part of libuv that the programs use. */
#include "tests/sim/loop.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base.h"
#include "tests/sim/fiber.h"

enum { ACTIVE = 1, CLOSING = 2, HANDLES_MAX = 512, THREADS_MAX = 16 };

uint64_t sim_now;
struct sim_machine *sim_here;

static sim_draw_cb draw_cb;
static void *draw_arg;
static uv_handle_t *handles[HANDLES_MAX];
static unsigned handle_count;
static uint64_t started; /* order among equals */

struct thread {
	struct sim_fiber *fiber;
	struct sim_machine *machine;
	uv_cond_t *waits; /* NULL: runnable at due */
	uint64_t due;
	bool used, timed_out;
};
static struct thread threads[THREADS_MAX];
static struct thread *running;

void sim_loop_init(sim_draw_cb draw, void *arg)
{
	draw_cb = draw;
	draw_arg = arg;
	sim_now = 1000;
	sim_here = NULL;
	handle_count = 0;
	started = 0;
}

void sim_loop_fini(void)
{
	SAT_ASSERT(handle_count == 0);
	for (unsigned i = 0; i < THREADS_MAX; i++)
		SAT_ASSERT(!threads[i].used);
}

uint32_t sim_draw(uint32_t bound)
{
	return bound < 2 ? 0 : draw_cb(draw_arg, bound);
}

void sim_machine_init(struct sim_machine *m, const char *name)
{
	memset(m, 0, sizeof *m);
	m->name = name;
	m->loop.data = m;
}

int64_t sim_wall_ms(const struct sim_machine *m)
{
	return SIM_EPOCH_MS + (int64_t)sim_now + (m == NULL ? 0 : m->skew_ms);
}

/* ---- handles ------------------------------------------------------------- */

static void enter(uv_loop_t *loop, uv_handle_t *h, uv_handle_type type)
{
	SAT_ASSERT(handle_count < HANDLES_MAX);
	h->loop = loop;
	h->type = type;
	h->flags = 0;
	h->close_cb = NULL;
	handles[handle_count++] = h;
}

uint64_t uv_now(const uv_loop_t *loop)
{
	(void)loop;
	return sim_now;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *t)
{
	enter(loop, (uv_handle_t *)t, UV_TIMER);
	t->timer_cb = NULL;
	return 0;
}

int uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t in, uint64_t repeat)
{
	if ((t->flags & CLOSING) != 0)
		return UV_EINVAL;
	t->timer_cb = cb;
	t->timeout = sim_now + in;
	t->repeat = repeat;
	t->start_id = started++;
	t->flags |= ACTIVE;
	return 0;
}

int uv_timer_stop(uv_timer_t *t)
{
	t->flags &= ~(unsigned)ACTIVE;
	return 0;
}

uint64_t uv_timer_get_due_in(const uv_timer_t *t)
{
	return t->timeout > sim_now ? t->timeout - sim_now : 0;
}

int uv_async_init(uv_loop_t *loop, uv_async_t *a, uv_async_cb cb)
{
	enter(loop, (uv_handle_t *)a, UV_ASYNC);
	a->async_cb = cb;
	a->pending = 0;
	return 0;
}

int uv_async_send(uv_async_t *a)
{
	a->pending = 1;
	return 0;
}

int uv_fs_event_init(uv_loop_t *loop, uv_fs_event_t *w)
{
	enter(loop, (uv_handle_t *)w, UV_FS_EVENT);
	return 0;
}

int uv_fs_event_start(uv_fs_event_t *w, uv_fs_event_cb cb, const char *path,
		      unsigned flags)
{
	(void)path;
	(void)flags;
	w->cb = cb;
	w->flags |= ACTIVE;
	return 0;
}

int uv_is_active(const uv_handle_t *h)
{
	return (h->flags & ACTIVE) != 0;
}

int uv_is_closing(const uv_handle_t *h)
{
	return (h->flags & CLOSING) != 0;
}

void uv_close(uv_handle_t *h, uv_close_cb cb)
{
	SAT_ASSERT((h->flags & CLOSING) == 0);
	h->flags = CLOSING;
	h->close_cb = cb;
}

const char *uv_strerror(int rc)
{
	(void)rc;
	return "simulated";
}

void sim_file_event(struct sim_machine *m, const char *name)
{
	struct sim_machine *was = sim_here;
	uv_fs_event_t *w;

	sim_here = m;
	for (unsigned i = 0; i < handle_count; i++) {
		w = (uv_fs_event_t *)handles[i];
		if (w->type == UV_FS_EVENT && w->loop == &m->loop &&
		    (w->flags & ACTIVE) != 0)
			w->cb(w, name, UV_CHANGE, 0);
	}
	sim_here = was;
}

static uint64_t handle_due(const uv_handle_t *h, uint64_t *ret_order)
{
	const uv_timer_t *t = (const uv_timer_t *)h;

	*ret_order = 0;
	if ((h->flags & CLOSING) != 0)
		return sim_now;
	if (h->type == UV_ASYNC && ((const uv_async_t *)h)->pending)
		return sim_now;
	if (h->type != UV_TIMER || (h->flags & ACTIVE) == 0)
		return UINT64_MAX;
	*ret_order = 1 + t->start_id;
	return t->timeout > sim_now ? t->timeout : sim_now;
}

static uv_handle_t *first_handle(uint64_t *ret_due)
{
	uint64_t best = UINT64_MAX, best_order = 0, due, order;
	uv_handle_t *found = NULL;

	for (unsigned i = 0; i < handle_count; i++) {
		due = handle_due(handles[i], &order);
		if (due < best ||
		    (due == best && due != UINT64_MAX && order < best_order)) {
			best = due;
			best_order = order;
			found = handles[i];
		}
	}
	*ret_due = best;
	return found;
}

static void leave(uv_handle_t *h)
{
	for (unsigned i = 0; i < handle_count; i++) {
		if (handles[i] != h)
			continue;
		handle_count--;
		memmove(handles + i, handles + i + 1,
			(handle_count - i) * sizeof(handles[0]));
		return;
	}
}

static void run_handle(uv_handle_t *h)
{
	uv_timer_t *t = (uv_timer_t *)h;

	sim_here = h->loop->data;
	if ((h->flags & CLOSING) != 0) {
		leave(h);
		if (h->close_cb != NULL)
			h->close_cb(h);
	} else if (h->type == UV_ASYNC) {
		((uv_async_t *)h)->pending = 0;
		((uv_async_t *)h)->async_cb((uv_async_t *)h);
	} else {
		t->flags &= ~(unsigned)ACTIVE;
		if (t->repeat != 0)
			(void)uv_timer_start(t, t->timer_cb, t->repeat,
					     t->repeat);
		t->timer_cb(t);
	}
	sim_here = NULL;
}

/* ---- threads ------------------------------------------------------------- */

int uv_mutex_init(uv_mutex_t *m)
{
	(void)m;
	return 0;
}

void uv_mutex_destroy(uv_mutex_t *m)
{
	(void)m;
}

void uv_mutex_lock(uv_mutex_t *m)
{
	(void)m; /* nobody else runs until we wait */
}

void uv_mutex_unlock(uv_mutex_t *m)
{
	(void)m;
}

int uv_cond_init(uv_cond_t *c)
{
	(void)c;
	return 0;
}

void uv_cond_destroy(uv_cond_t *c)
{
	(void)c;
}

static void wake(struct thread *t)
{
	t->waits = NULL;
	t->timed_out = false;
	t->due = sim_now + sim_draw(4);
}

void uv_cond_signal(uv_cond_t *c)
{
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		if (threads[i].used && threads[i].waits == c) {
			wake(&threads[i]);
			return;
		}
	}
}

void uv_cond_broadcast(uv_cond_t *c)
{
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		if (threads[i].used && threads[i].waits == c)
			wake(&threads[i]);
	}
}

static int wait_until(uv_cond_t *c, uint64_t due)
{
	struct thread *t = running;

	SAT_ASSERT(t != NULL);
	t->waits = c;
	t->due = due;
	running = NULL;
	sim_fiber_yield(t->fiber);
	return t->timed_out ? UV_ETIMEDOUT : 0;
}

void uv_cond_wait(uv_cond_t *c, uv_mutex_t *m)
{
	(void)m;
	(void)wait_until(c, UINT64_MAX);
}

int uv_cond_timedwait(uv_cond_t *c, uv_mutex_t *m, uint64_t ns)
{
	(void)m;
	return wait_until(c, sim_now + ns / 1000000);
}

int uv_thread_create(uv_thread_t *tid, uv_thread_cb entry, void *arg)
{
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		struct thread *t = &threads[i];

		if (t->used)
			continue;
		*t = (struct thread){ .used = true,
				      .machine = sim_here,
				      .due = sim_now,
				      .fiber = sim_fiber_new(entry, arg) };
		*tid = (uv_thread_t)i;
		return 0;
	}
	return UV_EAGAIN;
}

static void run_thread(struct thread *t)
{
	struct sim_machine *was = sim_here;
	struct thread *outer = running;

	if (t->waits != NULL)
		t->timed_out = true;
	t->waits = NULL;
	t->due = UINT64_MAX;
	sim_here = t->machine;
	running = t;
	sim_fiber_resume(t->fiber);
	running = outer;
	sim_here = was;
}

int uv_thread_join(uv_thread_t *tid)
{
	struct thread *t = &threads[(unsigned)*tid];

	while (!sim_fiber_done(t->fiber)) {
		SAT_ASSERT(t->waits == NULL); /* else it never ends */
		run_thread(t);
	}
	sim_fiber_free(t->fiber);
	t->used = false;
	return 0;
}

static struct thread *first_thread(uint64_t *ret_due)
{
	struct thread *found = NULL;
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < THREADS_MAX; i++) {
		struct thread *t = &threads[i];

		if (!t->used || sim_fiber_done(t->fiber) || t->due >= best)
			continue;
		best = t->due;
		found = t;
	}
	*ret_due = best;
	return found;
}

/* ---- time ---------------------------------------------------------------- */

uint64_t sim_loop_due(void)
{
	uint64_t h, t;

	(void)first_handle(&h);
	(void)first_thread(&t);
	return h < t ? h : t;
}

void sim_loop_step(void)
{
	uint64_t h, t;
	uv_handle_t *handle = first_handle(&h);
	struct thread *thread = first_thread(&t);

	if (handle == NULL && thread == NULL)
		return;
	if (t <= h) {
		sim_now = t > sim_now ? t : sim_now;
		run_thread(thread);
	} else {
		sim_now = h > sim_now ? h : sim_now;
		run_handle(handle);
	}
}

/* Linked in place of the system's by --wrap. */
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	int64_t ms = id == CLOCK_REALTIME ? sim_wall_ms(sim_here)
					  : (int64_t)sim_now + 5000;

	ret->tv_sec = (time_t)(ms / 1000);
	ret->tv_nsec = (long)(ms % 1000) * 1000000;
	return 0;
}

int __wrap_pthread_sigmask(int how, const void *set, void *old);
int __wrap_pthread_sigmask(int how, const void *set, void *old)
{
	(void)how;
	(void)set;
	(void)old;
	return 0;
}
