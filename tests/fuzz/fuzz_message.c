/* The first byte is the type, the rest the plain payload. What decodes can be
 * encoded, and decodes to the same bytes again. */
#include "tests/fuzz/fuzz.h"

#include "proto/message.h"

static struct sat_slice encode(const struct sat_msg *m, struct sat_buf *out)
{
	struct sat_frame f;
	size_t used;

	sat_buf_clear(out);
	SAT_ASSERT(sat_msg_encode(NULL, m, out) == SAT_OK);
	SAT_ASSERT(sat_frame_take(sat_buf_peek(out), SAT_FRAME_BYTES_MAX, &f,
				  &used) == SAT_OK);
	return f.payload;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sat_buf one, two;
	struct sat_msg m, again;
	struct sat_arena a;
	struct sat_err err;

	if (size == 0 || size > 65536)
		return 0;
	sat_arena_init(&a, 32 * size + 65536);
	sat_buf_init(&one, 1024 * 1024);
	sat_buf_init(&two, 1024 * 1024);
	if (sat_msg_decode(data[0], (struct sat_slice){ data + 1, size - 1 },
			   &a, &m, &err) == SAT_OK) {
		struct sat_slice bytes = encode(&m, &one);

		sat_arena_fini(&a);
		sat_arena_init(&a, 1024 * 1024);
		SAT_ASSERT(sat_msg_decode(data[0], bytes, &a, &again, &err) ==
			   SAT_OK);
		SAT_ASSERT(sat_slice_equal(bytes, encode(&again, &two)));
	}
	sat_buf_fini(&two);
	sat_buf_fini(&one);
	sat_arena_fini(&a);
	return 0;
}
