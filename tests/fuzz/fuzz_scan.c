/* What the scan passes, the cursor passes over, to the same byte. */
#include "tests/fuzz/fuzz.h"

#include "proto/pack.h"
#include "proto/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sat_slice in = { data, size };
	struct sat_cursor c = { in, 0 };
	size_t wide = 0, used = 0;
	int rc = sat_mp_check(in, &sat_mp_columnar, &wide);

	if (rc == SAT_OK) {
		SAT_ASSERT(sat_take_any(&c, NULL) && c.at == wide);
		SAT_ASSERT(wide <= size);
	}
	if (sat_mp_check(in, &sat_mp_message, &used) == SAT_OK)
		SAT_ASSERT(rc == SAT_OK && used == wide);
	c = (struct sat_cursor){ in, 0 };
	while (sat_take_any(&c, NULL)) /* unscanned bytes do no harm either */
		SAT_ASSERT(c.at <= size);
	return 0;
}
