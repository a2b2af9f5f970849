/* Any bytes as a stream of frames. */
#include "tests/fuzz/fuzz.h"

#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sat_slice in = { data, size };
	struct sat_zip *zip = sat_zip_new();
	struct sat_slice plain;
	struct sat_buf scratch;
	struct sat_frame f;
	size_t used;

	sat_buf_init(&scratch, SAT_UNZIP_BYTES_MAX);
	while (zip != NULL &&
	       sat_frame_take(in, SAT_FRAME_BYTES_MAX, &f, &used) == SAT_OK) {
		SAT_ASSERT(used >= SAT_FRAME_HEAD_BYTES && used <= in.len);
		if (sat_frame_open(zip, &f, &scratch, &plain) == SAT_OK &&
		    (f.flags & SAT_FRAME_ZSTD) != 0)
			SAT_ASSERT(plain.len <= SAT_UNZIP_BYTES_MAX &&
				   plain.len <=
					   f.payload.len * SAT_UNZIP_RATIO_MAX);
		in = (struct sat_slice){ in.ptr + used, in.len - used };
	}
	sat_buf_fini(&scratch);
	sat_zip_free(zip);
	return 0;
}
