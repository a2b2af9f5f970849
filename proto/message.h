/* message.h - every message of the protocol as a struct, both directions.
 *
 * Payloads are one msgpack map with integer keys (PROTOCOL.md gives them).
 * Decoding runs the bounded scan (scan.h) first, refuses duplicate keys and
 * trailing bytes, ignores unknown keys, and borrows text and blobs from the
 * payload. PURE but for memory.
 */
#ifndef SAT_MESSAGE_H
#define SAT_MESSAGE_H

#include "common/delta.h"
#include "common/meta.h"
#include "common/stamp.h"
#include "proto/frame.h"

enum {
	SAT_PROTOCOL_VERSION = 1,
	SAT_SCOPES_MAX = 65536,        /* scopes of one user                 */
	SAT_EVICT_IDS_MAX = 4096,      /* of one EVICT                       */
	SAT_VERDICT_FIELDS_MAX = 4096, /* conflicts named in one VERDICT    */
	SAT_PUSH_PART_BYTES = 256 * 1024, /* what a device puts in one PUSH */
	SAT_ROWS_PART_BYTES = 512 * 1024, /* of a page in one ROWS          */
	SAT_REPAIR_ASKS_MAX = 4096,   /* on one connection                  */
	SAT_REPAIR_RANGES = 256,      /* of one scope                       */
	SAT_REPAIR_IDS_MAX = 256,     /* asked for in one REPAIR            */
	SAT_REPAIR_SCOPES_MAX = 4096, /* sums of scopes in one answer       */
	SAT_REPAIR_LIST_MAX = 32768,  /* rows listed in one answer          */
	SAT_REPAIR_SCOPE_BYTES = 20,  /* one scope with its sum             */
	SAT_REPAIR_LIST_BYTES = 26,   /* one row in a list                  */
};

enum sat_msg_type {
	SAT_MSG_HELLO = 1,
	SAT_MSG_WELCOME = 2,
	SAT_MSG_PUSH = 3,
	SAT_MSG_VERDICT = 4,
	SAT_MSG_ROWS = 5,
	SAT_MSG_EVICT = 6,
	SAT_MSG_CHECKPOINT = 7,
	SAT_MSG_CREDIT = 8,
	SAT_MSG_GRANT = 9,
	SAT_MSG_CATALOGUE = 10,
	SAT_MSG_REPAIR = 11,
	SAT_MSG_PING = 12,
	SAT_MSG_PONG = 13,
	SAT_MSG_ERROR = 14,
	SAT_MSG_WIPE = 15,
	SAT_MSG_MOVED = 16,
	SAT_MSG_MARK = 17,
	SAT_MSG_ENROL = 20, /* only on ALPN satchel-enrol/1 */
	SAT_MSG_ENROLLED = 21,
	SAT_MSG_RENEW = 22,
	SAT_MSG_RENEWED = 23,
};

/* What the server knows of a user's rights; WELCOME and GRANT carry it. */
struct sat_rights {
	uint32_t version;       /* grows with every change of the grants    */
	const uint32_t *scopes; /* sorted scope numbers, 0 always included  */
	uint32_t scope_count;
	enum sat_role role;
	struct sat_id user, home; /* user row, home territory row */
};

struct sat_msg_hello {
	uint32_t version_min, version_max;
	uint32_t replica;
	uint64_t epoch;        /* 0: never synced                            */
	uint32_t catalogue;    /* version held                               */
	uint64_t cursor;       /* last checkpoint applied, 0: filling        */
	uint64_t verdict_seq;  /* last seq whose verdict is stored durably   */
	uint64_t last_seq;     /* last changeset harvested, 0: none          */
	uint8_t last_hash[16]; /* XXH3-128 of the bytes of changeset last_seq */
	uint8_t ratchet[16];   /* current one, zero before the first WELCOME */
	int64_t raw_ms;        /* device clock now                           */
	const struct sat_clock_step *steps;
	uint32_t step_count;
	uint32_t grants;           /* version held */
	struct sat_slice software; /* "satcheld 0.1.0", logs only */
	struct sat_slice mark;     /* the last MARK, what was staged up to it
				      is still here; empty: none            */
};

struct sat_msg_welcome {
	uint32_t version; /* chosen */
	uint64_t epoch;
	uint64_t head;     /* commit_seq of the server now                   */
	uint64_t last_seq; /* last changeset of this replica with a verdict  */
	uint32_t catalogue;
	int64_t server_ms;
	int64_t offset_ms; /* server - device, used for stamps               */
	uint8_t ratchet[16];
	struct sat_rights rights;
	uint32_t push_window; /* bytes of PUSH payload allowed un-credited   */
	bool resumed;         /* the feed goes on at HELLO's mark            */
	uint64_t rows;        /* to expect when the feed starts at 0: a hint */
	bool rebase;          /* silent for too long: the feed begins at 0, and
				 what it does not bring is gone              */
	bool renew; /* ask for another certificate: the CA is replaced        */
	bool wipe, discard; /* the server's own note, never sent: WIPE is due
			       when all is taken, or at once               */
};

/* One part of one changeset's bytes (changeset.h). Parts come in order. */
struct sat_msg_push {
	uint64_t seq;
	uint32_t part; /* from 0 */
	bool last;
	uint64_t total; /* bytes of the whole changeset, same in every part */
	struct sat_slice bytes;
	uint8_t hash[16]; /* XXH3-128 of the whole; on the last part, else 0 */
};

enum sat_verdict_status {
	SAT_VERDICT_APPLIED = 0,
	SAT_VERDICT_MERGED = 1, /* applied, with conflicts listed */
	SAT_VERDICT_REJECTED = 2,
	SAT_VERDICT_PARKED = 3, /* kept durably, decided later */
};
enum { SAT_VERDICT_AS_HELD = 1, SAT_VERDICT_REPLAY = 2 };

/* A field named in a verdict; never a foreign value. */
struct sat_field_name {
	uint32_t table_no;
	struct sat_id id;
	uint32_t column_no; /* 0: the row as a whole */
};

struct sat_msg_verdict {
	uint64_t seq;
	enum sat_verdict_status status;
	uint32_t flags;     /* SAT_VERDICT_* flags                           */
	uint64_t first_seq; /* `_seq` of delta 0; delta i has first_seq + i  */
	int64_t offset_ms;  /* clock offset the stamps were made with        */
	const struct sat_field_name *conflicts; /* the first 4,096 are sent */
	uint32_t conflict_count;
	uint32_t reason; /* enum sat_reason (reason.h), 0 unless rejected    */
	struct sat_field_name where; /* what the reason is about             */
	struct sat_dot depends;      /* reason "depends on"                  */
};

/* Rows of one table as the scope's stream has them (page.h has the columnar
 * form). refs: only ids and seqs, for rows this device was sent already.
 * more: the page goes on in the next frame of this connection, which is a
 * ROWS with the same scope, table and refs; so a row larger than a frame can
 * travel. repair: they were asked for, and replace what is held. */
enum { SAT_AUTHOR_BYTES = 20, SAT_AUTHORS_MAX = 1024 };

struct sat_msg_rows {
	uint32_t scope;
	uint32_t table_no;
	bool refs;
	bool more;
	struct sat_slice page; /* encoded by page.h, or a part of it */
	/* With a page's first part: whose replicas its metadata names. Each a
	 * replica (u32, big-endian) and the id of its user. */
	struct sat_slice authors;
	bool repair;
};

struct sat_msg_evict {
	uint32_t scope;
	uint32_t table_no;
	const struct sat_id *ids;
	uint32_t id_count;
};

struct sat_msg_checkpoint {
	uint64_t cursor;
	struct sat_hash digest; /* over all granted scopes, see SYNC 9 */
	uint64_t rows;          /* memberships counted in the digest   */
	int64_t server_ms;
	uint64_t floor; /* deleted rows up to here may be forgotten */
};

/* Acknowledges: how many more bytes may come, what is stored. Zero or absent
 * members mean no news. */
struct sat_msg_credit {
	uint64_t bytes; /* of ROWS/EVICT payload staged, or PUSH spooled */
	uint64_t verdict_seq; /* device: verdicts up to here are durable */
	uint64_t cursor; /* device: this checkpoint is applied            */
	bool has_ratchet;
	uint8_t ratchet[16]; /* device: stored durably */
	uint64_t last_seq;   /* device, with cursor: the last changeset it had
				formed when it applied that checkpoint        */
	uint32_t trip_ms;    /* device: half the time from HELLO to WELCOME */
};

/* Everything before it on this connection is staged: where the feed goes on
 * if the connection ends. Opaque to the device. */
struct sat_msg_mark {
	struct sat_slice at;
};

/* What a device asks for when its digest is not the server's, and the answer
 * to it under the same number. */
enum sat_repair_step {
	SAT_REPAIR_SCOPES = 0, /* the sums of the scopes                 */
	SAT_REPAIR_SUMS = 1,   /* those of the ranges of one scope       */
	SAT_REPAIR_LIST = 2,   /* ids and hashes of the rows in some     */
	SAT_REPAIR_ROWS = 3,   /* these rows                             */
};

struct sat_msg_repair {
	uint32_t no; /* asks of a connection are numbered upwards from 1 */
	enum sat_repair_step step;
	uint32_t scope;          /* SCOPES: the first one of interest    */
	struct sat_slice ranges; /* LIST: which, a bitmap of 32 bytes    */
	uint32_t table_no;       /* ROWS */
	const struct sat_id *ids;
	uint32_t id_count;
	bool more; /* ask: others follow, no CHECKPOINT yet; answer: there
		      is more than it holds                              */
	struct sat_slice sums; /* SCOPES: each u32 scope and its sum; SUMS:
				  the sums of all ranges; else empty     */
	struct sat_slice list; /* each u16 table, id, low half of the hash */
	uint32_t count;        /* ROWS: so many of the ids were answered */
};

/* In which range of its scope a row is. */
uint8_t sat_repair_range(uint32_t table_no, const struct sat_id *id);

struct sat_msg_catalogue {
	uint32_t version;
	struct sat_slice json; /* canonical form */
};

struct sat_msg_wipe {
	bool discard; /* also what was not sent yet */
};

struct sat_msg_ping {
	uint64_t nonce;
	int64_t clock_ms; /* sender's wall clock */
};

enum sat_wire_error {
	SAT_WIRE_PROTOCOL = 1, /* broken frame or message; not transient     */
	SAT_WIRE_LIMIT = 2,    /* over a limit                               */
	SAT_WIRE_VERSION = 3,  /* no common protocol version                 */
	SAT_WIRE_UNKNOWN = 4,  /* unknown device                             */
	SAT_WIRE_REVOKED = 5,  /* device or user revoked                     */
	SAT_WIRE_BUSY = 6,     /* try later; transient                       */
	SAT_WIRE_FULL = 7,     /* server's disk is full; transient           */
	SAT_WIRE_INTERNAL = 8, /* transient                                  */
	SAT_WIRE_SHUTDOWN = 9, /* server stops; transient                    */
	SAT_WIRE_INVITE = 10,  /* invitation unknown, used or expired        */
	SAT_WIRE_SUPERSEDED = 11, /* a newer connection of the same replica   */
	SAT_WIRE_FORKED = 12, /* chain hash differs: this device is a copy  */
	SAT_WIRE_SEQ = 13,    /* gap in changeset numbers                   */
	SAT_WIRE_CATALOGUE = 14, /* device's catalogue is newer than server's */
};

struct sat_msg_error {
	uint32_t code; /* enum sat_wire_error; others may come */
	bool transient;
	uint32_t retry_ms;     /* 0: no hint */
	struct sat_slice text; /* English, for logs and people */
};

struct sat_msg_enrol {
	uint32_t version_min, version_max;
	struct sat_slice token; /* text of the invitation */
	struct sat_slice csr; /* DER PKCS#10                                 */
	struct sat_slice proof; /* ECDSA signature by the new key over the
				   exporter bytes of this TLS connection */
	struct sat_slice device_name;
};

struct sat_msg_enrolled {
	uint32_t version;
	uint32_t replica;
	struct sat_slice certificate; /* PEM of the device certificate */
	struct sat_slice ca;          /* PEM of the organisation's CA(s) */
	struct sat_slice org, login, name;
	uint64_t epoch;
	uint32_t catalogue;
	struct sat_slice catalogue_json;
	struct sat_rights rights;
};

/* Another certificate for a device that has one; over its own key, or, when
 * it is a copy, over a new one and for a replica of its own. */
struct sat_msg_renew {
	uint32_t version_min, version_max;
	uint32_t replica;
	struct sat_slice certificate; /* PEM, may have expired           */
	struct sat_slice csr, proof;  /* as in ENROL                     */
	struct sat_slice old_proof; /* the same by the certificate's key      */
	bool fork;
	uint64_t after; /* fork: last seq whose verdict is stored             */
};

struct sat_msg_renewed {
	uint32_t version;
	uint32_t replica;
	struct sat_slice certificate, ca; /* PEM */
	struct sat_slice hashes; /* fork: chain hashes of the old replica's
				    changesets from after + 1, 16 bytes each */
};

struct sat_msg {
	enum sat_msg_type type;
	union {
		struct sat_msg_hello hello;
		struct sat_msg_welcome welcome;
		struct sat_msg_push push;
		struct sat_msg_verdict verdict;
		struct sat_msg_rows rows;
		struct sat_msg_evict evict;
		struct sat_msg_checkpoint checkpoint;
		struct sat_msg_credit credit;
		struct sat_rights grant;
		struct sat_msg_catalogue catalogue;
		struct sat_msg_mark mark;
		struct sat_msg_repair repair;
		struct sat_msg_ping ping; /* PING and PONG */
		struct sat_msg_error error;
		struct sat_msg_wipe wipe;
		struct sat_msg_enrol enrol;
		struct sat_msg_enrolled enrolled;
		struct sat_msg_renew renew;
		struct sat_msg_renewed renewed;
	};
};

/* May a receiver ignore a frame of a type it does not know? True from 128 on;
 * below that it answers with ERROR 1 and closes. */
bool sat_msg_ignorable(uint8_t type);

/* "HELLO", ...; "unknown". */
const char *sat_msg_name(uint8_t type);

/* Append m as a whole frame. SAT_OK, SAT_E_LIMIT, SAT_E_NOMEM. */
int sat_msg_encode(struct sat_zip *z, const struct sat_msg *m,
		   struct sat_buf *out) SAT_MUST_CHECK;

/* Decode the plain payload (sat_frame_open) of a frame of that type. Arrays
 * go to the arena, text and blobs borrow from plain. SAT_OK; SAT_AGAIN: a
 * type this version does not know (ask sat_msg_ignorable); SAT_E_PROTO,
 * SAT_E_LIMIT, SAT_E_NOMEM. Memory: at most 2 MiB for msgpack-c's objects,
 * given back on return, and 32 bytes per payload byte and 64 KiB from a. */
int sat_msg_decode(uint8_t type, struct sat_slice plain, struct sat_arena *a,
		   struct sat_msg *ret, struct sat_err *err) SAT_MUST_CHECK;

#endif
