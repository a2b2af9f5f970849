/* meta_layout.h - bytes of a row's metadata, shared by its writer and reader.
 *
 * PROTOCOL.md ("Row metadata") is the normative text; in short:
 *
 *   varint   LEB128, low group first, shortest form only, at most 10 bytes
 *   zigzag   varint of (n << 1) ^ (n >> 63)
 *
 *   meta     head vv [dv] [default] [deletes] [fields], nothing after
 *   head     u8: bits 0-2 version 1; 3 dv, 4 default, 5 deletes, 6 fields
 *            present; 7 zero
 *   vv       n, n x (gap, seq): replica = the one before (at first 0) + gap
 *   dot      2 * index in vv + older; if older: vv seq - seq
 *   dv       n, n x dot, index rising
 *   default  dot, instant, columns: the one plain write of all these columns
 *   instant  2 * ms + c; if c: counter
 *   stamp    2 * zigzag(ms - ms of default, or of 0) + c; if c: counter
 *   columns  2 * last + 1: every no from 1 to last; or 2 * n, then n bytes of
 *            a bitmap, no k at bit k % 8 of byte k / 8, last byte not zero
 *   deletes  n, n x (dot, stamp)
 *   fields   n, n x (no - no before, body); the first no as it is
 *   body     register: 0, dot, stamp         one plain write
 *                      n, shown, n x (flags, dot, stamp, value unless shown)
 *            counter:  n, n x (index in vv, zigzag of the sum), index rising
 *            set:      for each element of the value, in order, its dots:
 *                      2 * (first number of dot) + another follows; [vv seq
 *                      - seq]
 *   flags    u8: bit 0 resolves, bit 1 covered
 *   value    u8 kind; INT zigzag, REAL 8 bytes big-endian, TEXT and BLOB len
 *            and bytes
 *
 * A plain write neither resolves nor is covered; its value is in the typed
 * column, as is that of the shown write of a register and the set's text. The
 * default is the (dot, stamp) of most columns that hold one plain write, of
 * the first such column when several are equal.
 */
#ifndef SAT_META_LAYOUT_H
#define SAT_META_LAYOUT_H

enum {
	SAT_META_VERSION = 1,
	SAT_META_VERSION_MASK = 7,
	SAT_META_DV = 1 << 3,
	SAT_META_DEFAULT = 1 << 4,
	SAT_META_DELETES = 1 << 5,
	SAT_META_FIELDS = 1 << 6,
	SAT_META_UNKNOWN = 1 << 7,

	SAT_META_RESOLVES = 1,
	SAT_META_COVERED = 2,
};

#endif
