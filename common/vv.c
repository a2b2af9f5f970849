#include "common/vv.h"

#include <string.h>

/* Index of the first entry whose replica is not below the given one. */
static uint32_t lower_bound(struct sat_vv v, uint32_t replica)
{
	uint32_t low = 0, high = v.count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (v.dots[mid].replica < replica)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t sat_vv_get(struct sat_vv v, uint32_t replica)
{
	uint32_t at = lower_bound(v, replica);

	if (at == v.count || v.dots[at].replica != replica)
		return 0;
	return v.dots[at].seq;
}

bool sat_vv_covers(struct sat_vv v, struct sat_dot dot)
{
	return sat_vv_get(v, dot.replica) >= dot.seq;
}

bool sat_vv_leq(struct sat_vv a, struct sat_vv b)
{
	uint32_t j = 0;

	for (uint32_t i = 0; i < a.count; i++) {
		while (j < b.count && b.dots[j].replica < a.dots[i].replica)
			j++;
		if (j == b.count || b.dots[j].replica != a.dots[i].replica ||
		    b.dots[j].seq < a.dots[i].seq)
			return false;
	}
	return true;
}

bool sat_vv_equal(struct sat_vv a, struct sat_vv b)
{
	if (a.count != b.count)
		return false;
	for (uint32_t i = 0; i < a.count; i++) {
		if (sat_dot_compare(a.dots[i], b.dots[i]) != 0)
			return false;
	}
	return true;
}

int sat_vv_join(struct sat_arena *a, struct sat_vv x, struct sat_vv y,
		struct sat_vv *ret)
{
	struct sat_dot *dots, take;
	uint32_t i = 0, j = 0, n = 0;

	dots = sat_arena_array(a, (size_t)x.count + y.count, sizeof *dots);
	if (dots == NULL)
		return SAT_E_NOMEM;
	while (i < x.count || j < y.count) {
		if (j == y.count ||
		    (i < x.count && x.dots[i].replica < y.dots[j].replica)) {
			take = x.dots[i++];
		} else if (i == x.count ||
			   y.dots[j].replica < x.dots[i].replica) {
			take = y.dots[j++];
		} else {
			take = x.dots[i++];
			if (take.seq < y.dots[j].seq)
				take.seq = y.dots[j].seq;
			j++;
		}
		dots[n++] = take;
	}
	if (n > SAT_VV_ENTRIES_MAX)
		return SAT_E_LIMIT;
	*ret = (struct sat_vv){ dots, n };
	return SAT_OK;
}

int sat_vv_with(struct sat_arena *a, struct sat_vv v, struct sat_dot dot,
		struct sat_vv *ret)
{
	return sat_vv_join(a, v, (struct sat_vv){ &dot, 1 }, ret);
}

int sat_vv_copy(struct sat_arena *a, struct sat_vv v, struct sat_vv *ret)
{
	return sat_vv_join(a, v, (struct sat_vv){ NULL, 0 }, ret);
}

bool sat_vv_valid(struct sat_vv v)
{
	uint32_t previous = 0;

	if (v.count > SAT_VV_ENTRIES_MAX)
		return false;
	for (uint32_t i = 0; i < v.count; i++) {
		if (v.dots[i].replica <= previous || v.dots[i].seq == 0)
			return false;
		previous = v.dots[i].replica;
	}
	return true;
}
