/* Any bytes as a changeset of the tests' catalogue. What decodes can be
 * written and read again; the reader stays within its promise of memory. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/wire_fixture.h"

static void write_again(const struct sat_changeset *cs)
{
	struct sat_changeset again;
	struct sat_arena a;
	struct sat_buf out;
	struct sat_err err;

	sat_arena_init(&a, (size_t)64 * 1024 * 1024);
	sat_buf_init(&out, SAT_CHANGESET_BYTES_MAX);
	SAT_ASSERT(sat_changeset_encode(cs, &out) == SAT_OK);
	SAT_ASSERT(sat_changeset_decode(&fx_catalogue, sat_buf_peek(&out), &a,
					&again, NULL, &err) == SAT_OK);
	SAT_ASSERT(again.delta_count == cs->delta_count);
	sat_buf_fini(&out);
	sat_arena_fini(&a);
}

static void read_step_by_step(struct sat_slice in)
{
	struct sat_changeset_reader *r;
	struct sat_changeset head;
	struct sat_arena state, step;
	struct sat_delta d;
	struct sat_err err;
	int rc;

	sat_arena_init(&state, 32 * in.len + 65536);
	sat_arena_init(&step, (size_t)64 * 1024 * 1024);
	rc = sat_changeset_open(&fx_catalogue, in, &state, &head, &r, &err);
	while (rc == SAT_OK) {
		sat_arena_reset(&step);
		rc = sat_changeset_next(r, &step, &d, NULL, &err);
	}
	SAT_ASSERT(rc != SAT_E_NOMEM);
	sat_arena_fini(&step);
	sat_arena_fini(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sat_slice in = { data, size };
	struct sat_changeset cs;
	struct sat_arena a;
	struct sat_err err;

	sat_arena_init(&a, (size_t)64 * 1024 * 1024);
	if (sat_changeset_decode(&fx_catalogue, in, &a, &cs, NULL, &err) ==
	    SAT_OK)
		write_again(&cs);
	read_step_by_step(in);
	sat_arena_fini(&a);
	return 0;
}
