#include "common/text.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool sat_hex_parse(struct sat_slice text, uint8_t *out, size_t out_len)
{
	if (text.len / 2 != out_len || text.len % 2 != 0)
		return false;
	for (size_t i = 0; i < out_len; i++) {
		int high = hex_value(text.ptr[2 * i]);
		int low = hex_value(text.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high * 16 + low);
	}
	return true;
}

void sat_hex_format(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		*out++ = hex_digits[p[i] >> 4];
		*out++ = hex_digits[p[i] & 15];
	}
	*out = '\0';
}

/* Is there a hyphen before byte i of an id? */
static bool id_hyphen(size_t i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void sat_id_format(const struct sat_id *id, char out[SAT_UUID_CHARS + 1])
{
	for (size_t i = 0; i < sizeof id->b; i++) {
		if (id_hyphen(i))
			*out++ = '-';
		*out++ = hex_digits[id->b[i] >> 4];
		*out++ = hex_digits[id->b[i] & 15];
	}
	*out = '\0';
}

bool sat_id_parse(struct sat_slice text, struct sat_id *ret)
{
	/* one more than the value; random digits would miss every branch */
	static const uint8_t lower[256] = {
		['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,
		['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
		['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
		['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	};
	struct sat_id id;
	const uint8_t *p = text.ptr;
	unsigned high, low;

	if (text.len != SAT_UUID_CHARS)
		return false;
	for (size_t i = 0; i < sizeof id.b; i++) {
		if (id_hyphen(i) && *p++ != '-')
			return false;
		high = lower[*p++];
		low = lower[*p++];
		if (high == 0 || low == 0)
			return false;
		id.b[i] = (uint8_t)((high - 1) << 4 | (low - 1));
	}
	*ret = id;
	return true;
}

struct sat_id sat_id_v7(int64_t now_ms, const uint8_t random[10])
{
	uint64_t ms = now_ms < 0 ? 0 : (uint64_t)now_ms;
	struct sat_id id;

	for (size_t i = 0; i < 6; i++)
		id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
	memcpy(id.b + 6, random, 10);
	id.b[6] = (uint8_t)(0x70 | (id.b[6] & 0x0f));
	id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
	return id;
}

/* Bytes of the sequence at p, of which left remain; 0 when it is not valid:
 * overlong forms, surrogates, above U+10FFFF, NUL. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
	uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte */
	size_t n;

	if (p[0] < 0x80)
		return p[0] != 0;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n > left)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	}
	return n;
}

/* Eight bytes of ASCII at a time, no NUL among them: most of all text. */
static bool plain8(const uint8_t *p)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t v;

	memcpy(&v, p, sizeof v);
	/* v - ones borrows into a top bit where a byte is 0 */
	return ((v | (v - ones)) & ones << 7) == 0;
}

bool sat_utf8_valid(struct sat_slice s)
{
	size_t at = 0, n;

	while (at < s.len) {
		if (s.len - at >= 8 && plain8(s.ptr + at)) {
			at += 8;
			continue;
		}
		n = utf8_length(s.ptr + at, s.len - at);
		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* Digits into |*ret| counted downwards from 0, because only the negative side
 * of int64 holds every magnitude. Returns how many digits there were, 0 when
 * none or too large. */
static size_t take_negative(struct sat_slice s, int64_t *ret)
{
	int64_t sum = 0;
	size_t n = 0;

	for (; n < s.len && is_digit(s.ptr[n]); n++) {
		int64_t digit = s.ptr[n] - '0';

		if (sum < (INT64_MIN + digit) / 10)
			return 0;
		sum = sum * 10 - digit;
	}
	*ret = sum;
	return n;
}

void sat_money_format(int64_t minor, char out[32])
{
	/* Negated as unsigned: INT64_MIN has no positive counterpart. */
	uint64_t rest = minor < 0 ? 0 - (uint64_t)minor : (uint64_t)minor;
	char reversed[24];
	size_t n = 0;

	do {
		reversed[n++] = (char)('0' + rest % 10);
		rest /= 10;
		if (n == 2)
			reversed[n++] = '.';
	} while (rest != 0 || n < 4);
	if (minor < 0)
		*out++ = '-';
	while (n > 0)
		*out++ = reversed[--n];
	*out = '\0';
}

bool sat_money_parse(struct sat_slice text, int64_t *ret_minor)
{
	bool negative = text.len > 0 && text.ptr[0] == '-';
	size_t at = negative ? 1 : 0, n;
	int64_t sum;
	int decimals = 0;

	n = take_negative((struct sat_slice){ text.ptr + at, text.len - at },
			  &sum);
	if (n == 0)
		return false;
	at += n;
	if (at < text.len) {
		if (text.ptr[at] != '.' || at + 1 == text.len)
			return false;
		at++;
	}
	for (; decimals < 2; decimals++) {
		int64_t digit = 0;

		if (at < text.len) {
			if (!is_digit(text.ptr[at]))
				return false;
			digit = text.ptr[at++] - '0';
		}
		if (sum < (INT64_MIN + digit) / 10)
			return false;
		sum = sum * 10 - digit;
	}
	if (at != text.len || (!negative && sum == INT64_MIN))
		return false;
	*ret_minor = negative ? sum : -sum;
	return true;
}

/* '[-]D.DDDDDDD' with no needless zero in front and never '-0.0000000', within
 * +-limit degrees: one place has one spelling. */
static bool degrees_valid(struct sat_slice s, int64_t limit)
{
	bool negative = s.len > 0 && s.ptr[0] == '-';
	size_t at = negative ? 1 : 0, whole;
	int64_t degrees = 0, fraction = 0;

	whole = take_negative((struct sat_slice){ s.ptr + at, s.len - at },
			      &degrees);
	if (whole == 0 || whole > 3 || (whole > 1 && s.ptr[at] == '0'))
		return false;
	at += whole;
	if (s.len - at != 8 || s.ptr[at] != '.')
		return false;
	at++;
	if (take_negative((struct sat_slice){ s.ptr + at, 7 }, &fraction) != 7)
		return false;
	if (negative && degrees == 0 && fraction == 0)
		return false;
	return degrees > -limit || (degrees == -limit && fraction == 0);
}

bool sat_geo_valid(struct sat_slice text)
{
	const uint8_t *comma;
	size_t at;

	if (text.len == 0)
		return false;
	comma = memchr(text.ptr, ',', text.len);
	if (comma == NULL)
		return false;
	at = (size_t)(comma - text.ptr);
	return degrees_valid((struct sat_slice){ text.ptr, at }, 90) &&
	       degrees_valid((struct sat_slice){ comma + 1, text.len - at - 1 },
			     180);
}
