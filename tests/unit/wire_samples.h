/* wire_samples.h - one or more messages of every kind with known content, the
 * source of the golden vectors. A sample's name begins with its file's name.
 */
#ifndef SAT_TESTS_WIRE_SAMPLES_H
#define SAT_TESTS_WIRE_SAMPLES_H

#include "proto/changeset.h"
#include "proto/message.h"
#include "proto/page.h"

struct fx_sample {
	const char *file, *name, *meaning;
	struct sat_msg msg;
};

/* Built on first use; never freed, never changed. */
const struct fx_sample *fx_samples(uint32_t *ret_count);

/* Small named changesets, pages and rows, from the same fixture catalogue.
 * Everything lives in a. */
void fx_sample_insert(struct sat_arena *a, struct sat_changeset *ret);
void fx_sample_edits(struct sat_arena *a, struct sat_changeset *ret);
void fx_sample_page(struct sat_arena *a, struct sat_page *ret);

/* Fail the running test at the first key that differs. */
void fx_same_message(const struct sat_msg *x, const struct sat_msg *y);

#endif
