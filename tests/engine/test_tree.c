/* The tree of territories: what a grant covers, and damaged trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/access/tree.h"

static struct sat_id id(uint8_t n)
{
	return (struct sat_id){ { n } };
}

static void add(struct sat_tree *t, uint8_t n, uint8_t parent)
{
	struct sat_id i = id(n), p = id(parent);

	assert_int_equal(sat_tree_add(t, &i, parent == 0 ? NULL : &p), SAT_OK);
}

static bool covered(struct sat_tree *t, uint8_t n)
{
	struct sat_id i = id(n);

	return sat_tree_find(t, &i)->mark == 1;
}

static void a_grant_covers_its_subtree(void **state)
{
	struct sat_tree t = { 0 };
	struct sat_id tops[2] = { id(2), id(6) };

	(void)state;
	add(&t, 5, 4); /* 1 > 2 > 4 > 5, 1 > 3 > 6 */
	add(&t, 4, 2);
	add(&t, 1, 0);
	add(&t, 2, 1);
	add(&t, 3, 1);
	add(&t, 6, 3);
	sat_tree_build(&t);
	assert_int_equal(t.count, 6);
	sat_tree_cover(&t, tops, 2);
	assert_false(covered(&t, 1));
	assert_true(covered(&t, 2));
	assert_false(covered(&t, 3));
	assert_true(covered(&t, 4));
	assert_true(covered(&t, 5));
	assert_true(covered(&t, 6));
	sat_tree_cover(&t, tops, 0);
	assert_false(covered(&t, 2));
	assert_int_equal(sat_tree_root(&t)->id.b[0], 1);
	sat_tree_fini(&t);
}

static void damage_gives_less_not_more(void **state)
{
	struct sat_tree t = { 0 };
	struct sat_id top = id(1), unknown = id(77);

	(void)state;
	add(&t, 1, 0);
	add(&t, 2, 3); /* a cycle outside the grant */
	add(&t, 3, 2);
	add(&t, 4, 99); /* a parent that is not there */
	add(&t, 1, 0);  /* twice */
	add(&t, 5, 5);  /* its own parent */
	sat_tree_build(&t);
	assert_int_equal(t.count, 5);
	sat_tree_cover(&t, &top, 1);
	assert_true(covered(&t, 1));
	for (uint8_t n = 2; n <= 5; n++)
		assert_false(covered(&t, n));
	sat_tree_cover(&t, &unknown, 1);
	assert_false(covered(&t, 1));
	assert_null(sat_tree_find(&t, &unknown));
	sat_tree_fini(&t);
}

static void an_empty_tree_covers_nothing(void **state)
{
	struct sat_tree t = { 0 };
	struct sat_id top = id(1);

	(void)state;
	sat_tree_build(&t);
	sat_tree_cover(&t, &top, 1);
	assert_null(sat_tree_find(&t, &top));
	assert_null(sat_tree_root(&t));
	sat_tree_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_grant_covers_its_subtree),
		cmocka_unit_test(damage_gives_less_not_more),
		cmocka_unit_test(an_empty_tree_covers_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
