/* The way out: what the owner queues becomes TLS records, and those go to the
 * kernel once a turn. */
#include <stdint.h>

#include "proto/link_internal.h"

static int seal(struct sat_link *l, struct sat_slice plain)
{
	struct sat_err err;
	int rc;

	if (plain.len == 0)
		return SAT_OK;
	rc = sat_tls_seal(l->tls, plain, &l->wire_out, &err);
	if (rc != SAT_OK)
		sat_link_close(l, rc, err.msg);
	return rc;
}

int sat_link_seal_rest(struct sat_link *l)
{
	int rc = seal(l, sat_buf_peek(&l->plain_out));

	sat_buf_fini(&l->plain_out);
	return rc;
}

size_t sat_link_pending(const struct sat_link *l)
{
	size_t n = (l->plain_out.len - l->plain_out.head) +
		   (l->wire_out.len - l->wire_out.head);

	if (l->in_flight)
		n += uv_stream_get_write_queue_size(
			(const uv_stream_t *)&l->tcp);
	return n;
}

/* Whole records go straight from the caller's memory into TLS; the rest of
 * less than a record waits for more of this turn. */
static int queue(struct sat_link *l, struct sat_slice bytes)
{
	size_t have = l->plain_out.len - l->plain_out.head;
	size_t n = 0;
	int rc = SAT_OK;

	if (have > 0) {
		n = SAT_TLS_RECORD_BYTES - have;
		if (n > bytes.len)
			n = bytes.len;
		rc = sat_buf_append(&l->plain_out, bytes.ptr, n);
		if (rc == SAT_OK && have + n == SAT_TLS_RECORD_BYTES)
			rc = sat_link_seal_rest(l);
		bytes.ptr += n;
		bytes.len -= n;
	}
	n = bytes.len - bytes.len % SAT_TLS_RECORD_BYTES;
	if (rc == SAT_OK)
		rc = seal(l, (struct sat_slice){ bytes.ptr, n });
	if (rc == SAT_OK)
		rc = sat_buf_append(&l->plain_out, bytes.ptr + n,
				    bytes.len - n);
	return rc;
}

int sat_link_send(struct sat_link *l, struct sat_slice frames)
{
	int rc;

	if (l->state != LINK_OPEN)
		return SAT_E_CLOSED;
	if (frames.len == 0)
		return SAT_OK;
	if (frames.len > SAT_LINK_OUT_MAX ||
	    sat_link_pending(l) > SAT_LINK_OUT_MAX - frames.len) {
		sat_link_close(l, SAT_E_LIMIT, "the peer reads too slowly");
		return SAT_E_LIMIT;
	}
	rc = queue(l, frames);
	if (rc != SAT_OK) {
		sat_link_close(l, rc, "no room for a frame to send");
		return rc;
	}
	if (sat_link_pending(l) > SAT_LINK_OUT_HIGH) {
		l->choked = true;
		l->drain = DRAIN_WANTED;
	}
	sat_link_arm_turn(l);
	return SAT_OK;
}

static void on_written(uv_write_t *req, int status)
{
	struct sat_link *l = req->data;

	/* Runs even after uv_close, and even then status may be 0. */
	l->in_flight = false;
	sat_buf_fini(&l->writing);
	if (l->state == LINK_CLOSING)
		return;
	if (status < 0) {
		sat_link_close(l,
			       status == UV_ETIMEDOUT ? SAT_E_TIMEOUT
						      : SAT_E_CLOSED,
			       uv_strerror(status));
		return;
	}
	sat_link_settle(l);
}

void sat_link_flush(struct sat_link *l)
{
	struct sat_slice out;
	uv_buf_t b;
	int n;

	if (l->in_flight ||
	    (l->state == LINK_OPEN && sat_link_seal_rest(l) != SAT_OK))
		return;
	out = sat_buf_peek(&l->wire_out);
	if (out.len == 0)
		return;
	l->bytes_out += out.len;
	b = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
	n = uv_try_write((uv_stream_t *)&l->tcp, &b, 1);
	if (n < 0 && n != UV_EAGAIN) {
		sat_link_close(l, SAT_E_CLOSED, uv_strerror(n));
		return;
	}
	sat_buf_consume(&l->wire_out, n < 0 ? 0 : (size_t)n);
	if (link_is_empty(&l->wire_out)) {
		sat_buf_fini(&l->wire_out);
		return;
	}
	l->writing = l->wire_out;
	sat_buf_init(&l->wire_out, LINK_WIRE_OUT_MAX);
	out = sat_buf_peek(&l->writing);
	b = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
	l->write.data = l;
	n = uv_write(&l->write, (uv_stream_t *)&l->tcp, &b, 1, on_written);
	if (n < 0)
		sat_link_close(l, SAT_E_CLOSED, uv_strerror(n));
	else
		l->in_flight = true;
}
