/* frame.h - the envelope: u32 big-endian length, u8 type, u8 flags, payload.
 *
 * The length counts type, flags and payload. Flag bit 0: the payload is one
 * zstd frame. Limits are PROTOCOL.md's.
 */
#ifndef SAT_FRAME_H
#define SAT_FRAME_H

#include "common/buf.h"

enum {
	SAT_FRAME_HEAD_BYTES = 6,
	SAT_FRAME_ZSTD = 1,
	SAT_FRAME_BYTES_MAX = 1024 * 1024,   /* length field, after WELCOME  */
	SAT_FRAME_HELLO_BYTES_MAX = 4 * 1024, /* before WELCOME              */
	SAT_UNZIP_BYTES_MAX = 4 * 1024 * 1024,
	SAT_UNZIP_RATIO_MAX = 64,
};

struct sat_frame {
	uint8_t type, flags;
	struct sat_slice payload; /* borrowed from the input */
};

/* Take one frame from the front of in. SAT_OK with *ret and *ret_used;
 * SAT_AGAIN (need more bytes); SAT_E_LIMIT (length over max_len);
 * SAT_E_PROTO (length < 2, unknown flag). */
int sat_frame_take(struct sat_slice in, size_t max_len, struct sat_frame *ret,
		   size_t *ret_used) SAT_MUST_CHECK;

/* A thread's compressor and decompressor, made on first use. */
struct sat_zip;
struct sat_zip *sat_zip_new(void); /* NULL when out of memory */
void sat_zip_free(struct sat_zip *z);

/* Append a whole frame to out; compresses a payload over 512 bytes when z is
 * not NULL and that makes it smaller. SAT_OK, SAT_E_LIMIT, SAT_E_NOMEM. */
int sat_frame_put(struct sat_zip *z, uint8_t type, struct sat_slice payload,
		  struct sat_buf *out) SAT_MUST_CHECK;

/* The plain payload of a frame: borrowed from it, or unpacked into the
 * scratch buffer. Stops at the size and ratio limits, whatever the zstd
 * header claims. SAT_OK, SAT_E_LIMIT, SAT_E_PROTO, SAT_E_NOMEM. */
int sat_frame_open(struct sat_zip *z, const struct sat_frame *f,
		   struct sat_buf *scratch,
		   struct sat_slice *ret_plain) SAT_MUST_CHECK;

#endif
