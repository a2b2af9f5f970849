#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
	ZIP_LEVEL = 3,
	ZIP_FROM_BYTES = 512,
	KEEP_BYTES = 256 * 1024, /* scratch kept between frames      */
	STEP_BYTES = 64 * 1024,  /* output asked for at a time       */
	WINDOW_LOG_MAX = 22,     /* 4 MiB, the most a payload may be */
	PAD_HEAD_BYTES = 8,
};

/* A zstd skippable frame: magic, little-endian length, that many bytes. */
static const uint8_t pad_magic[4] = { 0x50, 0x2a, 0x4d, 0x18 };

struct sat_zip {
	ZSTD_CCtx *out;
	ZSTD_DCtx *in;
	struct sat_buf scratch;
};

struct sat_zip *sat_zip_new(void)
{
	struct sat_zip *z = calloc(1, sizeof *z);

	if (z != NULL)
		sat_buf_init(&z->scratch,
			     2 * ZSTD_compressBound(SAT_UNZIP_BYTES_MAX));
	return z;
}

void sat_zip_free(struct sat_zip *z)
{
	if (z == NULL)
		return;
	ZSTD_freeCCtx(z->out);
	ZSTD_freeDCtx(z->in);
	sat_buf_fini(&z->scratch);
	free(z);
}

int sat_frame_take(struct sat_slice in, size_t max_len, struct sat_frame *ret,
		   size_t *ret_used)
{
	size_t len;

	if (in.len < 4)
		return SAT_AGAIN;
	len = (size_t)in.ptr[0] << 24 | (size_t)in.ptr[1] << 16 |
	      (size_t)in.ptr[2] << 8 | in.ptr[3];
	if (len < 2)
		return SAT_E_PROTO;
	if (len > max_len)
		return SAT_E_LIMIT;
	if (in.len >= SAT_FRAME_HEAD_BYTES &&
	    (in.ptr[5] & ~(unsigned)SAT_FRAME_ZSTD) != 0)
		return SAT_E_PROTO;
	if (in.len - 4 < len)
		return SAT_AGAIN;
	*ret = (struct sat_frame){
		.type = in.ptr[4],
		.flags = in.ptr[5],
		.payload = { in.ptr + SAT_FRAME_HEAD_BYTES, len - 2 },
	};
	*ret_used = len + 4;
	return SAT_OK;
}

/* Append zeros in a skippable frame until plain_len / bytes keeps the ratio:
 * a megabyte of spaces is honest data and must pass the receiver's limit. */
static int pad(struct sat_buf *b, size_t plain_len)
{
	size_t need =
		(plain_len + SAT_UNZIP_RATIO_MAX - 1) / SAT_UNZIP_RATIO_MAX;
	size_t have = sat_buf_peek(b).len;
	size_t body;
	uint8_t *p;
	int rc;

	if (have >= need)
		return SAT_OK;
	body = need - have > PAD_HEAD_BYTES ? need - have - PAD_HEAD_BYTES : 0;
	rc = sat_buf_reserve(b, PAD_HEAD_BYTES + body, &p);
	if (rc != SAT_OK)
		return rc;
	memcpy(p, pad_magic, 4);
	for (unsigned i = 0; i < 4; i++)
		p[4 + i] = (uint8_t)(body >> (8 * i));
	memset(p + PAD_HEAD_BYTES, 0, body);
	sat_buf_commit(b, PAD_HEAD_BYTES + body);
	return SAT_OK;
}

/* Compress into z->scratch. SAT_OK or SAT_E_NOMEM. */
static int zip(struct sat_zip *z, struct sat_slice plain)
{
	size_t bound = ZSTD_compressBound(plain.len);
	size_t n;
	uint8_t *p;
	int rc;

	if (z->out == NULL) {
		z->out = ZSTD_createCCtx();
		if (z->out == NULL)
			return SAT_E_NOMEM;
	}
	sat_buf_clear(&z->scratch);
	rc = sat_buf_reserve(&z->scratch, bound, &p);
	if (rc != SAT_OK)
		return rc;
	n = ZSTD_compressCCtx(z->out, p, bound, plain.ptr, plain.len,
			      ZIP_LEVEL);
	if (ZSTD_isError(n))
		return SAT_E_NOMEM; /* with room for the bound, nothing else */
	sat_buf_commit(&z->scratch, n);
	return pad(&z->scratch, plain.len);
}

static int put(uint8_t type, uint8_t flags, struct sat_slice payload,
	       struct sat_buf *out)
{
	size_t len = payload.len + 2;
	uint8_t *p;
	int rc;

	if (len > SAT_FRAME_BYTES_MAX)
		return SAT_E_LIMIT;
	rc = sat_buf_reserve(out, len + 4, &p);
	if (rc != SAT_OK)
		return rc;
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(len >> (24 - 8 * i));
	p[4] = type;
	p[5] = flags;
	if (payload.len > 0)
		memcpy(p + SAT_FRAME_HEAD_BYTES, payload.ptr, payload.len);
	sat_buf_commit(out, len + 4);
	return SAT_OK;
}

int sat_frame_put(struct sat_zip *z, uint8_t type, struct sat_slice payload,
		  struct sat_buf *out)
{
	struct sat_slice zipped;
	int rc;

	if (payload.len > SAT_UNZIP_BYTES_MAX)
		return SAT_E_LIMIT;
	if (z == NULL || payload.len <= ZIP_FROM_BYTES)
		return put(type, 0, payload, out);
	rc = zip(z, payload);
	if (rc != SAT_OK)
		return rc;
	zipped = sat_buf_peek(&z->scratch);
	if (zipped.len < payload.len)
		rc = put(type, SAT_FRAME_ZSTD, zipped, out);
	else
		rc = put(type, 0, payload, out);
	if (z->scratch.cap > KEEP_BYTES)
		sat_buf_fini(&z->scratch);
	return rc;
}

/* What may follow the zstd frame: nothing, or one skippable frame. */
static bool is_padding(const uint8_t *p, size_t n)
{
	size_t body = 0;

	if (n == 0)
		return true;
	if (n < PAD_HEAD_BYTES || memcmp(p, pad_magic, 4) != 0)
		return false;
	for (unsigned i = 0; i < 4; i++)
		body |= (size_t)p[4 + i] << (8 * i);
	return body == n - PAD_HEAD_BYTES;
}

/* Unpack one zstd frame from the front of *in into out, at most max bytes. */
static int unzip(ZSTD_DCtx *d, ZSTD_inBuffer *in, size_t max,
		 struct sat_buf *out)
{
	size_t total = 0;
	size_t room, more;
	ZSTD_outBuffer to;
	uint8_t *p;
	uint8_t beyond;
	int rc;

	for (;;) {
		room = max - total < STEP_BYTES ? max - total : STEP_BYTES;
		rc = sat_buf_reserve(out, room, &p);
		if (rc != SAT_OK)
			return rc;
		/* One byte beyond the limit tells "exactly full" from "over".
		 */
		to = room > 0 ? (ZSTD_outBuffer){ p, room, 0 }
			      : (ZSTD_outBuffer){ &beyond, 1, 0 };
		more = ZSTD_decompressStream(d, &to, in);
		if (ZSTD_isError(more))
			return SAT_E_PROTO;
		if (room == 0 && to.pos > 0)
			return SAT_E_LIMIT;
		total += to.pos;
		sat_buf_commit(out, to.pos);
		if (more == 0)
			return SAT_OK;
		if (to.pos < to.size && in->pos == in->size)
			return SAT_E_PROTO; /* cut short */
	}
}

int sat_frame_open(struct sat_zip *z, const struct sat_frame *f,
		   struct sat_buf *scratch, struct sat_slice *ret_plain)
{
	ZSTD_inBuffer in = { f->payload.ptr, f->payload.len, 0 };
	size_t max = SAT_UNZIP_BYTES_MAX;
	int rc;

	if ((f->flags & SAT_FRAME_ZSTD) == 0) {
		*ret_plain = f->payload;
		return SAT_OK;
	}
	if (z == NULL || f->payload.len < 4 ||
	    memcmp(f->payload.ptr, "\x28\xb5\x2f\xfd", 4) != 0)
		return SAT_E_PROTO;
	if (z->in == NULL) {
		z->in = ZSTD_createDCtx();
		if (z->in == NULL)
			return SAT_E_NOMEM;
		ZSTD_DCtx_setParameter(z->in, ZSTD_d_windowLogMax,
				       WINDOW_LOG_MAX);
	}
	ZSTD_DCtx_reset(z->in, ZSTD_reset_session_only);
	if (f->payload.len < max / SAT_UNZIP_RATIO_MAX)
		max = f->payload.len * SAT_UNZIP_RATIO_MAX;
	sat_buf_clear(scratch);
	rc = unzip(z->in, &in, max, scratch);
	if (rc != SAT_OK)
		return rc;
	if (!is_padding(f->payload.ptr + in.pos, f->payload.len - in.pos))
		return SAT_E_PROTO;
	*ret_plain = sat_buf_peek(scratch);
	return SAT_OK;
}
