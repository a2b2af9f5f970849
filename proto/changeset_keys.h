/* changeset_keys.h - the map keys of an encoded changeset, shared by its
 * writer and its reader; PROTOCOL.md, "Changeset bytes", says what they hold.
 */
#ifndef SAT_CHANGESET_KEYS_H
#define SAT_CHANGESET_KEYS_H

enum sat_changeset_head_key {
	SAT_HK_REPLICA = 1,
	SAT_HK_SEQ = 2,
	SAT_HK_PREV_HASH = 3,
	SAT_HK_CATALOGUE = 4,
	SAT_HK_MARKER = 5,
	SAT_HK_FLAGS = 6,
	SAT_HK_COUNT = 7,
	SAT_HK_GROUPS = 8,
};

enum sat_changeset_group_key {
	SAT_GK_TABLE = 1,
	SAT_GK_OP = 2,
	SAT_GK_COUNT = 3,
	SAT_GK_IDS = 4,
	SAT_GK_AT = 5,
	SAT_GK_BASE = 6,
	SAT_GK_CONTEXTS = 7,
	SAT_GK_COLUMNS = 8,
};

enum sat_changeset_column_key {
	SAT_CK_NO = 1,
	SAT_CK_PRESENT = 2,
	SAT_CK_VALUE = 3,
	SAT_CK_AT = 4,
	SAT_CK_BEFORE = 5,
	SAT_CK_REPLACED = 6,
	SAT_CK_RESOLVES = 7,
	SAT_CK_ADDS = 8,
	SAT_CK_REMOVES = 9,
};

#endif
