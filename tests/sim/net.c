/* Links in memory. A wire has two ends and carries bytes each way; an end
 * behaves as proto/link.c does towards its owner. */
#include "tests/sim/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

enum { WINDOW_BYTES = 64 * 1024, CLIENT = 0, SERVER = 1 };

enum state { CONNECTING, OPEN, ENDING };

struct chunk {
	struct chunk *next;
	uint64_t due, sent;
	size_t len;
	uint8_t bytes[];
};

struct pipe {
	struct chunk *first, **last;
	size_t bytes;
	uint64_t due, hold;
	bool lost, eof, eof_told;
};

struct wire {
	struct wire *next;
	const struct sim_keys *keys;
	struct pipe pipes[2]; /* [i] carries what end i sends */
	struct sat_link *ends[2];
	uint64_t connect_due; /* 0: connected */
};

struct sat_link {
	struct wire *wire;
	int side;
	uv_loop_t *loop;
	const struct sat_link_handler *handler;
	void *arg;
	uint64_t id;
	enum state state;
	bool trusted, paused, full, look;
	struct sat_buf in, out;
	uint64_t end_due, bytes_in, bytes_out;
	int why;
	char detail[160];
};

struct sat_listener {
	struct sim_machine *machine;
	const struct sat_link_handler *handler;
	void *arg;
};

struct sim_net_options sim_net;
static struct wire *wires;
static struct sat_listener *listener;
static uint64_t last_id;

/* ---- ends ---------------------------------------------------------------- */

static struct sat_link *end_new(struct wire *w, int side, uv_loop_t *loop,
				const struct sat_link_handler *handler,
				void *arg)
{
	struct sat_link *l = calloc(1, sizeof *l);

	SAT_ASSERT(l != NULL);
	l->wire = w;
	l->side = side;
	l->loop = loop;
	l->handler = handler;
	l->arg = arg;
	l->id = ++last_id;
	sat_buf_init(&l->in, 4 * SAT_FRAME_BYTES_MAX);
	sat_buf_init(&l->out, SAT_LINK_OUT_MAX + 64);
	w->ends[side] = l;
	return l;
}

static void pipe_drop(struct pipe *p)
{
	struct chunk *c;

	while ((c = p->first) != NULL) {
		p->first = c->next;
		free(c);
	}
	p->last = &p->first;
	p->bytes = 0;
}

static void wire_free(struct wire *w)
{
	struct wire **at = &wires;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	pipe_drop(&w->pipes[0]);
	pipe_drop(&w->pipes[1]);
	free(w);
}

static void end_free(struct sat_link *l)
{
	l->wire->ends[l->side] = NULL;
	sat_buf_fini(&l->in);
	sat_buf_fini(&l->out);
	free(l);
}

/* The owner hears of the end, and the link is gone. */
static void end_tell(struct sat_link *l)
{
	struct sim_machine *was = sim_here;

	sim_here = l->loop->data;
	l->handler->on_closed(l, l->arg, l->why, l->detail);
	sim_here = was;
	end_free(l);
}

/* ---- sending ------------------------------------------------------------- */

static void put_chunk(struct pipe *p, const uint8_t *bytes, size_t n)
{
	struct chunk *c = malloc(sizeof *c + n);

	SAT_ASSERT(c != NULL);
	memcpy(c->bytes, bytes, n);
	c->len = n;
	c->next = NULL;
	c->sent = sim_now;
	c->due = sim_now + sim_draw(sim_net.latency_ms + 1);
	if (c->due < p->due)
		c->due = p->due;
	p->due = c->due;
	*p->last = c;
	p->last = &c->next;
	p->bytes += n;
}

static void flush(struct sat_link *l, bool all)
{
	struct pipe *p = &l->wire->pipes[l->side];
	struct sat_slice s = sat_buf_peek(&l->out);
	size_t n;

	while (s.len > 0 && (all || p->bytes < WINDOW_BYTES)) {
		n = s.len < WINDOW_BYTES ? s.len : WINDOW_BYTES;
		if (sim_net.split != 0 && sim_draw(sim_net.split) == 1)
			n = 1 + sim_draw((uint32_t)n);
		put_chunk(p, s.ptr, n);
		sat_buf_consume(&l->out, n);
		s = sat_buf_peek(&l->out);
	}
}

int sat_link_send(struct sat_link *l, struct sat_slice frames)
{
	if (l->state != OPEN)
		return SAT_E_CLOSED;
	l->bytes_out += frames.len;
	if (sat_link_pending(l) + frames.len > SAT_LINK_OUT_MAX ||
	    sat_buf_append(&l->out, frames.ptr, frames.len) != SAT_OK) {
		sat_link_close(l, SAT_E_LIMIT, "too much to send");
		return SAT_E_LIMIT;
	}
	if (sat_link_pending(l) > SAT_LINK_OUT_HIGH)
		l->full = true;
	flush(l, false);
	return SAT_OK;
}

size_t sat_link_pending(const struct sat_link *l)
{
	return sat_buf_peek(&l->out).len;
}

void sat_link_trust(struct sat_link *l)
{
	l->trusted = true;
}

void sat_link_pause(struct sat_link *l, bool pause)
{
	l->look = l->look || (l->paused && !pause);
	l->paused = pause;
}

/* ---- ending -------------------------------------------------------------- */

static void end_soon(struct sat_link *l, int rc, const char *detail)
{
	l->state = ENDING;
	l->why = rc;
	l->end_due = sim_now;
	(void)snprintf(l->detail, sizeof l->detail, "%s",
		       detail == NULL ? "" : detail);
	l->wire->pipes[l->side].eof = true;
}

void sat_link_finish(struct sat_link *l, int rc, const char *detail)
{
	if (l->state == ENDING)
		return;
	if (l->state == OPEN)
		flush(l, true);
	end_soon(l, rc, detail);
}

/* Of what is under way, any number of bytes still arrives. */
static void cut_pipe(struct pipe *p)
{
	struct chunk **at = &p->first, *c;
	size_t keep = p->bytes;

	if (keep > 0 && sim_draw(2) != 0)
		keep = sim_draw((uint32_t)keep);
	p->bytes = 0;
	while ((c = *at) != NULL) {
		if (keep == 0) {
			*at = c->next;
			free(c);
			continue;
		}
		c->len = c->len < keep ? c->len : keep;
		keep -= c->len;
		p->bytes += c->len;
		at = &c->next;
	}
	p->last = at;
	p->eof = true;
}

void sat_link_close(struct sat_link *l, int rc, const char *detail)
{
	if (l->state == ENDING)
		return;
	cut_pipe(&l->wire->pipes[l->side]);
	end_soon(l, rc, detail);
}

void sat_link_set_arg(struct sat_link *l, void *arg)
{
	l->arg = arg;
}

void *sat_link_arg(const struct sat_link *l)
{
	return l->arg;
}

bool sat_link_closing(const struct sat_link *l)
{
	return l->state == ENDING;
}

uint64_t sat_link_id(const struct sat_link *l)
{
	return l->id;
}

const char *sat_link_peer_name(const struct sat_link *l)
{
	return l->side == SERVER ? l->wire->keys->machine->name : "server";
}

struct sat_tls *sat_link_tls(struct sat_link *l)
{
	(void)l;
	return NULL;
}

void sat_link_traffic(const struct sat_link *l, uint64_t *ret_in,
		      uint64_t *ret_out)
{
	*ret_in = l->bytes_in;
	*ret_out = l->bytes_out;
}

/* ---- connecting ---------------------------------------------------------- */

int sat_link_connect(uv_loop_t *loop, struct sat_tls_ctx *ctx,
		     enum sat_alpn alpn, const char *host, uint16_t port,
		     const struct sat_link_handler *handler, void *arg,
		     struct sat_link **ret, struct sat_err *err)
{
	struct wire *w = calloc(1, sizeof *w);

	(void)alpn;
	(void)host;
	(void)port;
	(void)err;
	SAT_ASSERT(w != NULL);
	w->keys = (const struct sim_keys *)ctx;
	w->pipes[0].last = &w->pipes[0].first;
	w->pipes[1].last = &w->pipes[1].first;
	w->connect_due = sim_now + 1 + sim_draw(sim_net.latency_ms + 1);
	w->next = wires;
	wires = w;
	*ret = end_new(w, CLIENT, loop, handler, arg);
	return SAT_OK;
}

int sat_listener_open(uv_loop_t *loop, struct sat_tls_ctx *ctx,
		      const struct sat_listener_options *o,
		      struct sat_listener **ret, struct sat_err *err)
{
	(void)ctx;
	(void)err;
	SAT_ASSERT(listener == NULL);
	listener = calloc(1, sizeof *listener);
	SAT_ASSERT(listener != NULL);
	listener->machine = loop->data;
	listener->handler = o->handler;
	listener->arg = o->arg;
	*ret = listener;
	return SAT_OK;
}

uint16_t sat_listener_port(const struct sat_listener *l)
{
	(void)l;
	return 7443;
}

void sat_listener_set_ctx(struct sat_listener *l, struct sat_tls_ctx *ctx)
{
	(void)l;
	(void)ctx;
}

void sat_listener_set_limits(struct sat_listener *l, uint32_t links_max,
			     uint32_t handshakes_max)
{
	(void)l;
	(void)links_max;
	(void)handshakes_max;
}

void sat_listener_close(struct sat_listener *l)
{
	SAT_ASSERT(l == listener);
	free(l);
	listener = NULL;
}

static void connect_now(struct wire *w)
{
	struct sat_link *client = w->ends[CLIENT], *server;
	struct sat_peer peer = { .certified = true,
				 .identity = w->keys->identity };

	w->connect_due = 0;
	if (client == NULL || client->state != CONNECTING)
		return;
	if (listener == NULL || w->keys->offline) {
		client->state = ENDING;
		client->why = w->keys->offline ? SAT_E_TIMEOUT : SAT_E_CLOSED;
		client->end_due = sim_now + (w->keys->offline ? 5000 : 0);
		(void)snprintf(client->detail, sizeof client->detail,
			       "nobody answers");
		return;
	}
	memcpy(peer.spki, w->keys->key_hash, sizeof peer.spki);
	server = end_new(w, SERVER, &listener->machine->loop, listener->handler,
			 listener->arg);
	client->state = server->state = OPEN;
	sim_here = listener->machine;
	server->handler->on_open(server, server->arg, SAT_ALPN_SYNC, &peer);
	sim_here = client->loop->data;
	memset(&peer, 0, sizeof peer);
	client->handler->on_open(client, client->arg, SAT_ALPN_SYNC, &peer);
	sim_here = NULL;
}

/* ---- delivery ------------------------------------------------------------ */

/* Hand over the frames that are complete. */
static void handle(struct sat_link *l)
{
	size_t used, limit;
	struct sat_frame frame;
	int rc = SAT_OK;

	sim_here = l->loop->data;
	l->look = false;
	while (rc == SAT_OK && l->state == OPEN && !l->paused) {
		limit = l->trusted ? SAT_FRAME_BYTES_MAX
				   : SAT_FRAME_HELLO_BYTES_MAX;
		rc = sat_frame_take(sat_buf_peek(&l->in), limit, &frame, &used);
		if (rc != SAT_OK)
			break;
		if (l->side == CLIENT && sim_net.on_frame != NULL)
			sim_net.on_frame(l->wire->keys, &frame);
		l->handler->on_frame(l, l->arg, &frame);
		sat_buf_consume(&l->in, used);
	}
	if (rc < 0)
		sat_link_finish(l, rc, "not a frame");
	sim_here = NULL;
}

static void arrive(struct wire *w, int from)
{
	struct pipe *p = &w->pipes[from];
	struct sat_link *to = w->ends[1 - from], *l = w->ends[from];
	struct chunk *c = p->first;

	if (c == NULL) { /* the end of it */
		p->eof_told = true;
		if (to == NULL || to->state == ENDING)
			return;
		sat_link_close(to,
			       sat_buf_peek(&to->in).len > 0 ? SAT_E_CLOSED
							     : SAT_OK,
			       "closed by the peer");
		return;
	}
	p->first = c->next;
	if (p->first == NULL)
		p->last = &p->first;
	p->bytes -= c->len;
	if (to != NULL && to->state == OPEN) {
		to->bytes_in += c->len;
		SAT_ASSERT(sat_buf_append(&to->in, c->bytes, c->len) == SAT_OK);
		handle(to);
	}
	free(c);
	if (l == NULL || l->state != OPEN)
		return;
	flush(l, false);
	if (l->full && sat_link_pending(l) < SAT_LINK_OUT_LOW) {
		l->full = false;
		sim_here = l->loop->data;
		if (l->handler->on_drain != NULL)
			l->handler->on_drain(l, l->arg);
		sim_here = NULL;
	}
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* When that direction has something to do. *ret_late: it is the sender who
 * gives up. */
static uint64_t pipe_due(const struct wire *w, int from, bool *ret_late)
{
	const struct pipe *p = &w->pipes[from];
	const struct sat_link *l = w->ends[from], *to = w->ends[1 - from];
	bool stuck = p->lost || (to != NULL && to->state == OPEN &&
				 to->paused && to->in.len > WINDOW_BYTES);
	uint64_t late = UINT64_MAX, due = UINT64_MAX;

	if (l != NULL && l->state == OPEN && p->first != NULL)
		late = p->first->sent + SAT_LINK_UNANSWERED_MS;
	if (!stuck && p->first != NULL)
		due = max_u64(p->first->due, p->hold);
	else if (!stuck && p->eof && !p->eof_told)
		due = max_u64(p->due, p->hold);
	*ret_late = late < due;
	return late < due ? late : due;
}

/* What the wire has to do next: 0 connect, 1 and 2 ends, 3 and 4 pipes, 5 and
 * 6 looks. */
static uint64_t wire_due(const struct wire *w, int *ret_what)
{
	uint64_t best = UINT64_MAX, due;
	bool late;

	if (w->connect_due != 0) {
		best = w->connect_due;
		*ret_what = 0;
	}
	for (int i = 0; i < 2; i++) {
		const struct sat_link *l = w->ends[i];

		if (l != NULL && l->state == ENDING && l->end_due < best) {
			best = l->end_due;
			*ret_what = 1 + i;
		}
		if (l != NULL && l->state == OPEN && l->look && !l->paused &&
		    sim_now < best) {
			best = sim_now;
			*ret_what = 5 + i;
		}
		due = pipe_due(w, i, &late);
		if (due < best) {
			best = due;
			*ret_what = late ? 7 + i : 3 + i;
		}
	}
	return best;
}

static void wire_step(struct wire *w, int what)
{
	if (what == 0)
		connect_now(w);
	else if (what <= 2)
		end_tell(w->ends[what - 1]);
	else if (what <= 4)
		arrive(w, what - 3);
	else if (what <= 6)
		handle(w->ends[what - 5]);
	else
		sat_link_close(w->ends[what - 7], SAT_E_TIMEOUT,
			       "the peer answers no more");
	if (w->ends[0] == NULL && w->ends[1] == NULL && w->connect_due == 0)
		wire_free(w);
}

static struct wire *first_wire(uint64_t *ret_due, int *ret_what)
{
	struct wire *found = NULL;
	int what = 0;
	uint64_t due;

	*ret_due = UINT64_MAX;
	for (struct wire *w = wires; w != NULL; w = w->next) {
		due = wire_due(w, &what);
		if (due >= *ret_due)
			continue;
		*ret_due = due;
		*ret_what = what;
		found = w;
	}
	return found;
}

uint64_t sim_net_due(void)
{
	uint64_t due;
	int what;

	(void)first_wire(&due, &what);
	return due;
}

void sim_net_step(void)
{
	uint64_t due;
	int what = 0;
	struct wire *w = first_wire(&due, &what);

	if (w == NULL)
		return;
	sim_now = due > sim_now ? due : sim_now;
	wire_step(w, what);
}

/* ---- faults -------------------------------------------------------------- */

void sim_net_cut(const struct sim_keys *k)
{
	for (struct wire *w = wires; w != NULL; w = w->next) {
		if (w->keys != k)
			continue;
		for (int i = 0; i < 2; i++) {
			if (w->ends[i] != NULL)
				sat_link_close(w->ends[i], SAT_E_CLOSED,
					       "the connection was cut");
		}
	}
}

void sim_net_lose(const struct sim_keys *k)
{
	for (struct wire *w = wires; w != NULL; w = w->next) {
		if (w->keys == k)
			w->pipes[0].lost = w->pipes[1].lost = true;
	}
}

void sim_net_hold(const struct sim_keys *k, uint64_t until_ms)
{
	for (struct wire *w = wires; w != NULL; w = w->next) {
		if (w->keys == k)
			w->pipes[sim_draw(2)].hold = until_ms;
	}
}

void sim_net_gone(struct sim_machine *m, bool silent)
{
	struct wire *w, *next;

	for (w = wires; w != NULL; w = next) {
		next = w->next;
		for (int i = 0; i < 2; i++) {
			struct sat_link *l = w->ends[i];

			if (l == NULL || l->loop != &m->loop)
				continue;
			if (silent)
				w->pipes[i].lost = true;
			sat_link_close(l, SAT_E_CLOSED, "gone");
			l->why = SAT_E_CLOSED;
			end_tell(l);
		}
		if (w->ends[0] == NULL && w->ends[1] == NULL)
			wire_free(w);
	}
}

bool sim_net_idle(void)
{
	return wires == NULL;
}
