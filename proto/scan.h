/* scan.h - the bounded check that runs before any decoder sees a payload.
 *
 * msgpack-c allocates what an array header claims: five bytes can ask it for
 * 128 GiB. This walk allocates nothing, does not recurse, reads each byte at
 * most twice, and proves what the decoders rely on: one complete value, not
 * too deep, not too many nodes, maps in the form that PROTOCOL.md wants.
 */
#ifndef SAT_SCAN_H
#define SAT_SCAN_H

#include "common/buf.h"

enum { SAT_MP_DEPTH_MAX = 8, SAT_MP_NODES_MAX = 65536 };

struct sat_mp_limits {
	uint32_t depth_max; /* containers inside each other, at most 8       */
	uint32_t nodes_max; /* values of any kind, containers and keys too   */
};

/* What every message, page and changeset must pass. Pages and changesets are
 * read by a cursor that allocates nothing per node, so only bytes bound
 * their number. */
extern const struct sat_mp_limits sat_mp_message, sat_mp_columnar;

/* Check one value at the front of in; *ret_used is its length in bytes.
 *
 * SAT_OK; SAT_AGAIN: cut short; SAT_E_LIMIT: too deep, too many nodes, or a
 * container that claims more values than bytes are left; SAT_E_PROTO: byte
 * 0xc1, an extension type, a string that is not UTF-8 or holds a NUL, a map
 * key that is not a non-negative integer or not larger than the one before
 * it (so keys cannot repeat). */
int sat_mp_check(struct sat_slice in, const struct sat_mp_limits *lim,
		 size_t *ret_used) SAT_MUST_CHECK;

#endif
