/* text.h - text forms of ids, sets, places, dates, money, times. PURE. */
#ifndef SAT_TEXT_H
#define SAT_TEXT_H

#include "common/arena.h"
#include "common/value.h"

enum { SAT_UUID_CHARS = 36 };

/* Canonical lower-case UUID text with a NUL. */
void sat_id_format(const struct sat_id *id, char out[SAT_UUID_CHARS + 1]);

/* Only the canonical lower-case form is accepted. */
bool sat_id_parse(struct sat_slice text, struct sat_id *ret);

/* UUIDv7 of that time with 10 random bytes (74 bits are used). */
struct sat_id sat_id_v7(int64_t now_ms, const uint8_t random[10]);

/* Valid UTF-8 without NUL. */
bool sat_utf8_valid(struct sat_slice s);

/* Exactly out_len bytes, digits of either case. */
bool sat_hex_parse(struct sat_slice text, uint8_t *out, size_t out_len);
/* out holds 2 * n + 1 bytes. */
void sat_hex_format(const uint8_t *p, size_t n, char *out);

/* A JSON array of strings to elements, sorted and distinct. SAT_OK,
 * SAT_E_INVAL (not such an array), SAT_E_NOMEM, SAT_E_LIMIT (over 4,096). */
int sat_set_parse(struct sat_arena *a, struct sat_slice json,
		  struct sat_slice **ret, uint32_t *ret_count) SAT_MUST_CHECK;

/* The canonical JSON array of sorted distinct elements ("[]" for none):
 * no spaces, only " \ and control characters escaped. */
int sat_set_format(struct sat_arena *a, const struct sat_slice *elements,
		   uint32_t count, struct sat_slice *ret) SAT_MUST_CHECK;

/* One JSON value of at most 64 levels, spaces around it allowed; no NUL and
 * no lone surrogate in any string. */
bool sat_json_valid(struct sat_slice json);

/* 'YYYY-MM-DD', a real day between 0001 and 9999. */
bool sat_date_valid(struct sat_slice text);
/* Days since 1970-01-01 to and from that text (out: 10 chars + NUL). What
 * lies outside those years is printed as the nearest day within. */
bool sat_date_days(struct sat_slice text, int32_t *ret);
void sat_date_format(int32_t days, char out[11]);

/* '2026-11-21T22:17:05.123Z' with a NUL; years as for dates. */
void sat_time_format(int64_t ms, char out[25]);
/* Accepts YYYY-MM-DD and YYYY-MM-DD[T ]HH:MM[:SS[.mmm]][Z]; UTC. */
bool sat_time_parse(struct sat_slice text, int64_t *ret_ms);

/* Minor units to and from major units with two decimals: 105450 <-> 1054.50.
 * Parsing is exact; more than two decimals is refused. */
void sat_money_format(int64_t minor, char out[32]);
bool sat_money_parse(struct sat_slice text, int64_t *ret_minor);

/* 'LAT,LON' with 7 decimals each, within +-90 and +-180. */
bool sat_geo_valid(struct sat_slice text);

#endif
