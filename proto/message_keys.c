#include "proto/message_keys.h"

#include <string.h>

/* Enums are written and read as 32-bit numbers through their offsets. */
_Static_assert(sizeof(enum sat_role) == sizeof(uint32_t), "enum size");
_Static_assert(sizeof(enum sat_verdict_status) == sizeof(uint32_t),
	       "enum size");
_Static_assert(sizeof(enum sat_repair_step) == sizeof(uint32_t), "enum size");

enum { MUST = true, MAY = false };
enum {
	JSON_BYTES_MAX = 3 * 1024 * 1024, /* room for the rest below 4 MiB */
	PART_BYTES_MAX = 1024 * 1024,
	PEM_BYTES_MAX = 16 * 1024,
	SUMS_BYTES_MAX = SAT_REPAIR_SCOPES_MAX * SAT_REPAIR_SCOPE_BYTES,
	LIST_BYTES_MAX = SAT_REPAIR_LIST_MAX * SAT_REPAIR_LIST_BYTES,
};

#define AT(s, m) ((uint16_t)offsetof(struct s, m))
#define KEY(k, t, must, s, m)                            \
	{                                                \
		k, SAT_KEY_##t, must, AT(s, m), 0, 0, #m \
	}
#define CAPPED(k, t, must, s, m, most)                      \
	{                                                   \
		k, SAT_KEY_##t, must, AT(s, m), 0, most, #m \
	}
#define BYTES(k, t, must, s, m, most)                       \
	{                                                   \
		k, SAT_KEY_##t, must, AT(s, m), most, 0, #m \
	}
#define COUNTED(k, t, must, s, m, n)                            \
	{                                                       \
		k, SAT_KEY_##t, must, AT(s, m), AT(s, n), 0, #m \
	}

static const struct sat_key hello[] = {
	KEY(1, U32, MUST, sat_msg_hello, version_min),
	KEY(2, U32, MUST, sat_msg_hello, version_max),
	KEY(3, U32, MUST, sat_msg_hello, replica),
	KEY(4, U64, MUST, sat_msg_hello, epoch),
	KEY(5, U32, MUST, sat_msg_hello, catalogue),
	KEY(6, U64, MUST, sat_msg_hello, cursor),
	KEY(7, U64, MUST, sat_msg_hello, verdict_seq),
	KEY(8, U64, MUST, sat_msg_hello, last_seq),
	KEY(9, HASH, MUST, sat_msg_hello, last_hash),
	KEY(10, HASH, MUST, sat_msg_hello, ratchet),
	KEY(11, I64, MUST, sat_msg_hello, raw_ms),
	COUNTED(12, STEPS, MAY, sat_msg_hello, steps, step_count),
	KEY(13, U32, MUST, sat_msg_hello, grants),
	BYTES(14, STR, MAY, sat_msg_hello, software, 64),
	BYTES(15, BIN, MAY, sat_msg_hello, mark, 64),
};

static const struct sat_key welcome[] = {
	KEY(1, U32, MUST, sat_msg_welcome, version),
	KEY(2, U64, MUST, sat_msg_welcome, epoch),
	KEY(3, U64, MUST, sat_msg_welcome, head),
	KEY(4, U64, MUST, sat_msg_welcome, last_seq),
	KEY(5, U32, MUST, sat_msg_welcome, catalogue),
	KEY(6, I64, MUST, sat_msg_welcome, server_ms),
	KEY(7, I64, MUST, sat_msg_welcome, offset_ms),
	KEY(8, HASH, MUST, sat_msg_welcome, ratchet),
	KEY(9, RIGHTS, MUST, sat_msg_welcome, rights),
	KEY(10, U32, MUST, sat_msg_welcome, push_window),
	KEY(11, BOOL, MAY, sat_msg_welcome, resumed),
	KEY(12, U64, MAY, sat_msg_welcome, rows),
	KEY(13, BOOL, MAY, sat_msg_welcome, rebase),
	KEY(14, BOOL, MAY, sat_msg_welcome, renew),
};

static const struct sat_key push[] = {
	KEY(1, U64, MUST, sat_msg_push, seq),
	KEY(2, U32, MUST, sat_msg_push, part),
	KEY(3, BOOL, MAY, sat_msg_push, last),
	KEY(4, U64, MUST, sat_msg_push, total),
	BYTES(5, BIN, MUST, sat_msg_push, bytes, PART_BYTES_MAX),
	KEY(6, HASH, MAY, sat_msg_push, hash),
};

static const struct sat_key verdict[] = {
	KEY(1, U64, MUST, sat_msg_verdict, seq),
	CAPPED(2, U32, MUST, sat_msg_verdict, status, SAT_VERDICT_PARKED),
	KEY(3, U32, MAY, sat_msg_verdict, flags),
	KEY(4, U64, MAY, sat_msg_verdict, first_seq),
	KEY(5, I64, MAY, sat_msg_verdict, offset_ms),
	COUNTED(6, FIELDS, MAY, sat_msg_verdict, conflicts, conflict_count),
	KEY(7, U32, MAY, sat_msg_verdict, reason),
	KEY(8, FIELD, MAY, sat_msg_verdict, where),
	KEY(9, DOT, MAY, sat_msg_verdict, depends),
};

static const struct sat_key rows[] = {
	KEY(1, U32, MUST, sat_msg_rows, scope),
	KEY(2, U32, MUST, sat_msg_rows, table_no),
	KEY(3, BOOL, MAY, sat_msg_rows, refs),
	KEY(4, BOOL, MAY, sat_msg_rows, more),
	BYTES(5, BIN, MUST, sat_msg_rows, page, SAT_UNZIP_BYTES_MAX),
	BYTES(6, BIN, MAY, sat_msg_rows, authors,
	      SAT_AUTHOR_BYTES *SAT_AUTHORS_MAX),
	KEY(7, BOOL, MAY, sat_msg_rows, repair),
};

static const struct sat_key evict[] = {
	KEY(1, U32, MUST, sat_msg_evict, scope),
	KEY(2, U32, MUST, sat_msg_evict, table_no),
	COUNTED(3, IDS, MUST, sat_msg_evict, ids, id_count),
};

static const struct sat_key checkpoint[] = {
	KEY(1, U64, MUST, sat_msg_checkpoint, cursor),
	KEY(2, DIGEST, MUST, sat_msg_checkpoint, digest),
	KEY(3, U64, MUST, sat_msg_checkpoint, rows),
	KEY(4, I64, MUST, sat_msg_checkpoint, server_ms),
	KEY(5, U64, MAY, sat_msg_checkpoint, floor),
};

static const struct sat_key credit[] = {
	KEY(1, U64, MAY, sat_msg_credit, bytes),
	KEY(2, U64, MAY, sat_msg_credit, verdict_seq),
	KEY(3, U64, MAY, sat_msg_credit, cursor),
	COUNTED(4, RATCHET, MAY, sat_msg_credit, ratchet, has_ratchet),
	KEY(5, U64, MAY, sat_msg_credit, last_seq),
	KEY(6, U32, MAY, sat_msg_credit, trip_ms),
};

static const struct sat_key rights[] = {
	KEY(1, U32, MUST, sat_rights, version),
	COUNTED(2, SCOPES, MUST, sat_rights, scopes, scope_count),
	CAPPED(3, U32, MUST, sat_rights, role, SAT_ROLE_COUNT - 1),
	KEY(4, ID, MUST, sat_rights, user),
	KEY(5, ID, MUST, sat_rights, home),
};

static const struct sat_key catalogue[] = {
	KEY(1, U32, MUST, sat_msg_catalogue, version),
	BYTES(2, STR, MUST, sat_msg_catalogue, json, JSON_BYTES_MAX),
};

static const struct sat_key mark[] = {
	BYTES(1, BIN, MUST, sat_msg_mark, at, 64),
};

static const struct sat_key repair[] = {
	KEY(1, U32, MUST, sat_msg_repair, no),
	CAPPED(2, U32, MUST, sat_msg_repair, step, SAT_REPAIR_ROWS),
	KEY(3, U32, MAY, sat_msg_repair, scope),
	BYTES(4, BIN, MAY, sat_msg_repair, ranges, SAT_REPAIR_RANGES / 8),
	KEY(5, U32, MAY, sat_msg_repair, table_no),
	COUNTED(6, IDS, MAY, sat_msg_repair, ids, id_count),
	KEY(7, BOOL, MAY, sat_msg_repair, more),
	BYTES(8, BIN, MAY, sat_msg_repair, sums, SUMS_BYTES_MAX),
	BYTES(9, BIN, MAY, sat_msg_repair, list, LIST_BYTES_MAX),
	KEY(10, U32, MAY, sat_msg_repair, count),
};

static const struct sat_key ping[] = {
	KEY(1, U64, MUST, sat_msg_ping, nonce),
	KEY(2, I64, MUST, sat_msg_ping, clock_ms),
};

static const struct sat_key error[] = {
	KEY(1, U32, MUST, sat_msg_error, code),
	KEY(2, BOOL, MAY, sat_msg_error, transient),
	KEY(3, U32, MAY, sat_msg_error, retry_ms),
	BYTES(4, STR, MAY, sat_msg_error, text, 500),
};

static const struct sat_key wipe[] = {
	KEY(1, BOOL, MAY, sat_msg_wipe, discard),
};

static const struct sat_key enrol[] = {
	KEY(1, U32, MUST, sat_msg_enrol, version_min),
	KEY(2, U32, MUST, sat_msg_enrol, version_max),
	BYTES(3, STR, MUST, sat_msg_enrol, token, 200),
	BYTES(4, BIN, MUST, sat_msg_enrol, csr, 2048),
	BYTES(5, BIN, MUST, sat_msg_enrol, proof, 200),
	BYTES(6, STR, MAY, sat_msg_enrol, device_name, 100),
};

static const struct sat_key enrolled[] = {
	KEY(1, U32, MUST, sat_msg_enrolled, version),
	KEY(2, U32, MUST, sat_msg_enrolled, replica),
	BYTES(3, STR, MUST, sat_msg_enrolled, certificate, PEM_BYTES_MAX),
	BYTES(4, STR, MUST, sat_msg_enrolled, ca, PEM_BYTES_MAX),
	BYTES(5, STR, MUST, sat_msg_enrolled, org, 200),
	BYTES(6, STR, MUST, sat_msg_enrolled, login, 200),
	BYTES(7, STR, MUST, sat_msg_enrolled, name, 200),
	KEY(8, U64, MUST, sat_msg_enrolled, epoch),
	KEY(9, U32, MUST, sat_msg_enrolled, catalogue),
	BYTES(10, STR, MUST, sat_msg_enrolled, catalogue_json, JSON_BYTES_MAX),
	KEY(11, RIGHTS, MUST, sat_msg_enrolled, rights),
};

static const struct sat_key renew[] = {
	KEY(1, U32, MUST, sat_msg_renew, version_min),
	KEY(2, U32, MUST, sat_msg_renew, version_max),
	KEY(3, U32, MUST, sat_msg_renew, replica),
	BYTES(4, STR, MUST, sat_msg_renew, certificate, 2048),
	BYTES(5, BIN, MUST, sat_msg_renew, csr, 1024),
	BYTES(6, BIN, MUST, sat_msg_renew, proof, 200),
	BYTES(7, BIN, MUST, sat_msg_renew, old_proof, 200),
	KEY(8, BOOL, MAY, sat_msg_renew, fork),
	KEY(9, U64, MAY, sat_msg_renew, after),
};

static const struct sat_key renewed[] = {
	KEY(1, U32, MUST, sat_msg_renewed, version),
	KEY(2, U32, MUST, sat_msg_renewed, replica),
	BYTES(3, STR, MUST, sat_msg_renewed, certificate, PEM_BYTES_MAX),
	BYTES(4, STR, MUST, sat_msg_renewed, ca, PEM_BYTES_MAX),
	BYTES(5, BIN, MAY, sat_msg_renewed, hashes, 960000),
};

#define TABLE(type, text, array) \
	[SAT_MSG_##type] = { text, array, SAT_COUNT_OF(array) }

static const struct sat_key_table tables[] = {
	TABLE(HELLO, "HELLO", hello),
	TABLE(WELCOME, "WELCOME", welcome),
	TABLE(PUSH, "PUSH", push),
	TABLE(VERDICT, "VERDICT", verdict),
	TABLE(ROWS, "ROWS", rows),
	TABLE(EVICT, "EVICT", evict),
	TABLE(CHECKPOINT, "CHECKPOINT", checkpoint),
	TABLE(CREDIT, "CREDIT", credit),
	TABLE(GRANT, "GRANT", rights),
	TABLE(CATALOGUE, "CATALOGUE", catalogue),
	TABLE(MARK, "MARK", mark),
	TABLE(REPAIR, "REPAIR", repair),
	TABLE(PING, "PING", ping),
	TABLE(PONG, "PONG", ping),
	TABLE(ERROR, "ERROR", error),
	TABLE(WIPE, "WIPE", wipe),
	TABLE(ENROL, "ENROL", enrol),
	TABLE(ENROLLED, "ENROLLED", enrolled),
	TABLE(RENEW, "RENEW", renew),
	TABLE(RENEWED, "RENEWED", renewed),
};

static const struct sat_key_table rights_table = { "rights", rights,
						   SAT_COUNT_OF(rights) };

const struct sat_key_table *sat_msg_keys(uint8_t type)
{
	if (type >= SAT_COUNT_OF(tables) || tables[type].keys == NULL)
		return NULL;
	return &tables[type];
}

const struct sat_key_table *sat_rights_keys(void)
{
	return &rights_table;
}

const char *sat_msg_name(uint8_t type)
{
	const struct sat_key_table *t = sat_msg_keys(type);

	return t == NULL ? "unknown" : t->name;
}

uint8_t sat_repair_range(uint32_t table_no, const struct sat_id *id)
{
	uint8_t key[18] = { (uint8_t)(table_no >> 8), (uint8_t)table_no };

	memcpy(key + 2, id->b, sizeof id->b);
	return (uint8_t)(sat_hash_bytes((struct sat_slice){ key, sizeof key })
				 .high >>
			 56);
}

bool sat_msg_ignorable(uint8_t type)
{
	return type >= 128;
}
