/* Pages that are built once and shared: equal to fresh ones, whatever moved. */
#include "tests/engine/engine_model.h"

#include <stdio.h>
#include <string.h>

static struct world *world;
static struct device ann;
static struct model of_ann, of_hq;

static int setup(void **state)
{
	(void)world_setup(state);
	world = *state;
	device_add(world, &ann, &world->ann);
	model_init(&of_ann, world, ann.replica, &world->ann);
	model_init(&of_hq, world, 99, &world->hq);
	return 0;
}

static int teardown(void **state)
{
	model_fini(&of_ann);
	model_fini(&of_hq);
	device_fini(&ann);
	return world_teardown(state);
}

/* Everything that a device without anything gets, in small pages. */
static void read_all(const struct model *m, struct sat_page_cache *cache,
		     struct sat_buf *out)
{
	struct sat_feed_ask ask = { .replica = m->replica,
				    .rights = &m->rights,
				    .epoch = sat_engine_epoch(world->engine),
				    .told = UINT64_MAX,
				    .bytes_max = 2000,
				    .now_ms = world->now_ms,
				    .cache = cache };
	struct sat_feed_answer answer = { 0 };
	struct sat_err err;

	sat_buf_init(out, 1 << 24);
	sat_buf_init(&answer.frames, 1 << 20);
	while (!answer.checkpoint) {
		struct sat_slice got;

		sat_buf_clear(&answer.frames);
		assert_int_equal(sat_feed_read(world->reader, world->zip, &ask,
					       &answer, &err),
				 SAT_OK);
		got = sat_buf_peek(&answer.frames);
		assert_int_equal(sat_buf_append(out, got.ptr, got.len), SAT_OK);
		ask.at = answer.at;
	}
	sat_buf_fini(&answer.frames);
}

static void same_with_the_cache(const struct model *m)
{
	struct sat_buf fresh, shared;

	read_all(m, NULL, &fresh);
	read_all(m, world->pages, &shared);
	assert_true(
		sat_slice_equal(sat_buf_peek(&fresh), sat_buf_peek(&shared)));
	sat_buf_fini(&fresh);
	sat_buf_fini(&shared);
}

static void pages_are_shared_until_a_row_in_them_moves(void **state)
{
	struct field f[] = { { "name", { 0 } },
			     { "territory_id", sat_value_id(&world->t1) },
			     { NULL, sat_value_null() } };
	struct sat_page_cache_load one, two;
	struct sat_id ids[80];
	char name[32];

	(void)state;
	for (size_t i = 0; i < SAT_COUNT_OF(ids); i++) {
		(void)snprintf(name, sizeof name, "Account %zu",
			       i * 7919 % 1000);
		f[0].value = sat_value_text(sat_slice_str(name));
		ids[i] = new_id(world);
		local_ok(world, SAT_OP_INSERT, "account", &ids[i], f);
	}
	same_with_the_cache(&of_ann);
	sat_page_cache_look(world->pages, &one);
	assert_true(one.pages > 3);
	assert_int_equal(one.hits, 0);
	same_with_the_cache(&of_ann); /* all but the last ones are there */
	sat_page_cache_look(world->pages, &two);
	assert_int_equal(two.hits, one.pages);
	assert_int_equal(two.pages, one.pages);
	/* who reads other columns gets pages of his own */
	same_with_the_cache(&of_hq);
	sat_page_cache_look(world->pages, &one);
	assert_true(one.pages > two.pages);
	assert_int_equal(one.dropped, 0);
	f[0].value = sat_value_text(sat_slice_str("moved"));
	local_ok(world, SAT_OP_UPDATE, "account", &ids[20], f);
	same_with_the_cache(&of_ann);
	local_ok(world, SAT_OP_DELETE, "account", &ids[3], f + 2);
	same_with_the_cache(&of_ann);
	same_with_the_cache(&of_hq);
	sat_page_cache_look(world->pages, &one);
	assert_true(one.dropped >= 3);
}

static struct sat_cached_page small(uint32_t scope, const char *text)
{
	return (struct sat_cached_page){ .key = { .scope = scope },
					 .frames = sat_slice_str(text) };
}

static void the_cache_is_bounded(void **state)
{
	struct sat_page_cache *c = sat_page_cache_new(4096);
	struct sat_page_cache_load load;
	struct sat_cached_page page = small(1, "held");
	const struct sat_cached_page *held;

	(void)state;
	assert_non_null(c);
	sat_page_cache_put(c, &page);
	held = sat_page_cache_pin(c, &page.key);
	assert_non_null(held);
	for (uint32_t i = 2; i < 500; i++) {
		page = small(i, "one of many pages, of little use to anybody");
		sat_page_cache_put(c, &page);
		sat_page_cache_look(c, &load);
		assert_true(load.bytes <= 4096);
	}
	/* who holds one keeps it, also when it is not to be found any more */
	assert_true(sat_slice_equal(held->frames, sat_slice_str("held")));
	assert_null(sat_page_cache_pin(c, &held->key));
	sat_page_cache_unpin(c, held, true);
	/* the latest are the ones that stay */
	held = sat_page_cache_pin(c, &page.key);
	assert_non_null(held);
	sat_page_cache_unpin(c, held, true);
	assert_null(sat_page_cache_pin(c, &page.key));
	page = small(7, "x");
	page.frames.len = 5000; /* not looked at: it would never fit */
	sat_page_cache_put(c, &page);
	page.frames.len = 1;
	assert_null(sat_page_cache_pin(c, &page.key));
	sat_page_cache_free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_are_shared_until_a_row_in_them_moves),
		TEST(the_cache_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
