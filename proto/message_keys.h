/* message_keys.h - every message as a table of keys: what PROTOCOL.md prints,
 * the encoder writes and the decoder reads. A test compares all three.
 */
#ifndef SAT_MESSAGE_KEYS_H
#define SAT_MESSAGE_KEYS_H

#include "proto/message.h"

enum sat_key_type {
	SAT_KEY_U32,
	SAT_KEY_U64,
	SAT_KEY_I64,
	SAT_KEY_BOOL,
	SAT_KEY_HASH,    /* uint8_t[16]: bin of 16                          */
	SAT_KEY_DIGEST,  /* struct sat_hash: bin of 16, big-endian          */
	SAT_KEY_RATCHET, /* uint8_t[16] that aux (bool) says is there       */
	SAT_KEY_STR,     /* struct sat_slice; aux: most bytes               */
	SAT_KEY_BIN,     /* struct sat_slice; aux: most bytes               */
	SAT_KEY_IDS,     /* array of sat_id, count at aux: bin of 16 * n    */
	SAT_KEY_SCOPES,  /* array of u32, count at aux: bin of varints      */
	SAT_KEY_STEPS,   /* array of clock steps, count at aux: [[t, d]...] */
	SAT_KEY_FIELDS,  /* array of field names, count at aux              */
	SAT_KEY_FIELD,   /* [table, bin id, column]; absent: table 0        */
	SAT_KEY_DOT,     /* [replica, seq]; absent: replica 0               */
	SAT_KEY_ID,      /* struct sat_id: bin of 16                        */
	SAT_KEY_RIGHTS,  /* nested map                                      */
};

/* An optional key is left out when it holds zero, false or nothing. */
struct sat_key {
	uint8_t key;
	enum sat_key_type type;
	bool mandatory;
	uint16_t offset; /* in the message's struct      */
	uint32_t aux;    /* offset or limit, see above   */
	uint32_t max;    /* SAT_KEY_U32: largest value; 0: any */
	const char *name;
};

struct sat_key_table {
	const char *name;
	const struct sat_key *keys; /* rising */
	uint8_t count;
};

/* NULL for a type without a table. */
const struct sat_key_table *sat_msg_keys(uint8_t type);
const struct sat_key_table *sat_rights_keys(void);

#endif
