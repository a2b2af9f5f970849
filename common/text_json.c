/* The two JSON forms that cells hold: any JSON text, and a set as an array of
 * strings. Iterative, so nesting costs no stack. */
#include "common/text.h"

#include <string.h>

enum { SET_MAX = 4096, JSON_DEPTH_MAX = 64 };

struct reader {
	const uint8_t *at, *end;
};

static void skip_space(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' ||
				  *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

/* Take c, after spaces, when it comes next. */
static bool take(struct reader *r, uint8_t c)
{
	skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool take_hex4(struct reader *r, uint32_t *ret)
{
	uint8_t b[2];

	if (r->end - r->at < 4 ||
	    !sat_hex_parse((struct sat_slice){ r->at, 4 }, b, 2))
		return false;
	r->at += 4;
	*ret = (uint32_t)b[0] << 8 | b[1];
	return true;
}

/* After "\u": one code point, which may take a second escape. NUL and lone
 * surrogates have no place in our text. */
static bool take_code_point(struct reader *r, uint32_t *ret)
{
	uint32_t c, low;

	if (!take_hex4(r, &c) || c == 0 || (c >= 0xdc00 && c <= 0xdfff))
		return false;
	if (c >= 0xd800 && c <= 0xdbff) {
		if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
			return false;
		r->at += 2;
		if (!take_hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	*ret = c;
	return true;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (uint8_t)c;
	} else if (c < 0x800) {
		*out++ = (uint8_t)(0xc0 | c >> 6);
		*out++ = (uint8_t)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (uint8_t)(0xe0 | c >> 12);
		*out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		*out++ = (uint8_t)(0x80 | (c & 0x3f));
	} else {
		*out++ = (uint8_t)(0xf0 | c >> 18);
		*out++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
		*out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		*out++ = (uint8_t)(0x80 | (c & 0x3f));
	}
	return out;
}

/* After the backslash. */
static bool take_escape(struct reader *r, uint8_t **out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found;
	uint32_t c;

	if (r->at == r->end)
		return false;
	if (*r->at == 'u') {
		r->at++;
		if (!take_code_point(r, &c))
			return false;
		*out = put_utf8(*out, c);
		return true;
	}
	found = memchr(from, *r->at, sizeof from - 1);
	if (found == NULL)
		return false;
	r->at++;
	*(*out)++ = (uint8_t)to[found - from];
	return true;
}

/* One string to *out, which moves on. What is written is never longer than
 * what was read: the shortest escape, six bytes, gives at most three. */
static bool take_string(struct reader *r, uint8_t **out)
{
	if (!take(r, '"'))
		return false;
	while (r->at < r->end && *r->at != '"') {
		if (*r->at < 0x20)
			return false;
		if (*r->at == '\\') {
			r->at++;
			if (!take_escape(r, out))
				return false;
		} else {
			*(*out)++ = *r->at++;
		}
	}
	if (r->at == r->end)
		return false;
	r->at++;
	return true;
}

/* Keep the array sorted and distinct. Canonical input only ever appends. */
static int insert(struct sat_slice *set, uint32_t *count, uint32_t cap,
		  struct sat_slice element)
{
	uint32_t low = 0, high = *count;

	if (high > 0 && sat_slice_compare(set[high - 1], element) < 0)
		low = high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = sat_slice_compare(set[middle], element);

		if (order == 0)
			return SAT_OK;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (*count == cap)
		return SAT_E_LIMIT;
	memmove(set + low + 1, set + low, (*count - low) * sizeof *set);
	set[low] = element;
	(*count)++;
	return SAT_OK;
}

/* Not fewer than the elements: one more than the commas. */
static uint32_t capacity(struct sat_slice json)
{
	uint32_t n = 1;

	for (size_t i = 0; i < json.len && n < SET_MAX; i++)
		n += json.ptr[i] == ',';
	return n;
}

static int take_elements(struct reader *r, uint8_t *text, uint32_t cap,
			 struct sat_slice *set, uint32_t *count)
{
	int rc;

	do {
		uint8_t *start = text;

		if (!take_string(r, &text))
			return SAT_E_INVAL;
		rc = insert(
			set, count, cap,
			(struct sat_slice){ start, (size_t)(text - start) });
		if (rc != SAT_OK)
			return rc;
	} while (take(r, ','));
	return SAT_OK;
}

int sat_set_parse(struct sat_arena *a, struct sat_slice json,
		  struct sat_slice **ret, uint32_t *ret_count)
{
	struct reader r;
	struct sat_slice *set;
	uint32_t count = 0, cap;
	uint8_t *text;
	int rc;

	if (json.len == 0 || !sat_utf8_valid(json))
		return SAT_E_INVAL;
	r = (struct reader){ json.ptr, json.ptr + json.len };
	cap = capacity(json);
	set = sat_arena_array(a, cap, sizeof *set);
	text = sat_arena_alloc(a, json.len);
	if (set == NULL || text == NULL)
		return SAT_E_NOMEM;
	if (!take(&r, '['))
		return SAT_E_INVAL;
	if (!take(&r, ']')) {
		rc = take_elements(&r, text, cap, set, &count);
		if (rc != SAT_OK)
			return rc;
		if (!take(&r, ']'))
			return SAT_E_INVAL;
	}
	skip_space(&r);
	if (r.at != r.end)
		return SAT_E_INVAL;
	*ret = set;
	*ret_count = count;
	return SAT_OK;
}

/* The letter of a short escape, 'u' for a long one, 0 when c stands plain. */
static char escape_of(uint8_t c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return c < 0x20 ? 'u' : '\0';
	}
}

static size_t escaped_length(struct sat_slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		char e = escape_of(s.ptr[i]);

		n += e == '\0' ? 1 : e == 'u' ? 6 : 2;
	}
	return n;
}

static uint8_t *put_escaped(uint8_t *out, struct sat_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char e = escape_of(s.ptr[i]);

		if (e == '\0') {
			*out++ = s.ptr[i];
			continue;
		}
		*out++ = '\\';
		*out++ = (uint8_t)e;
		if (e == 'u') {
			*out++ = '0';
			*out++ = '0';
			*out++ = (uint8_t)('0' + (s.ptr[i] >> 4));
			*out++ = (uint8_t) "0123456789abcdef"[s.ptr[i] & 15];
		}
	}
	return out;
}

int sat_set_format(struct sat_arena *a, const struct sat_slice *elements,
		   uint32_t count, struct sat_slice *ret)
{
	size_t n = 2; /* brackets; then two quotes and a comma each */
	uint8_t *start, *out;

	for (uint32_t i = 0; i < count; i++)
		n += escaped_length(elements[i]) + (i > 0 ? 3 : 2);
	start = out = sat_arena_alloc(a, n);
	if (start == NULL)
		return SAT_E_NOMEM;
	*out++ = '[';
	for (uint32_t i = 0; i < count; i++) {
		if (i > 0)
			*out++ = ',';
		*out++ = '"';
		out = put_escaped(out, elements[i]);
		*out++ = '"';
	}
	*out++ = ']';
	SAT_ASSERT((size_t)(out - start) == n);
	*ret = (struct sat_slice){ start, n };
	return SAT_OK;
}

static size_t take_digits(struct reader *r)
{
	size_t n = 0;

	for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; n++)
		r->at++;
	return n;
}

static bool skip_number(struct reader *r)
{
	const uint8_t *first;

	if (*r->at == '-')
		r->at++;
	first = r->at;
	if (take_digits(r) == 0 || (*first == '0' && r->at - first > 1))
		return false;
	if (r->at < r->end && *r->at == '.') {
		r->at++;
		if (take_digits(r) == 0)
			return false;
	}
	if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
		r->at++;
		if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
			r->at++;
		return take_digits(r) > 0;
	}
	return true;
}

static bool skip_string(struct reader *r)
{
	uint8_t scratch[4], *out;

	if (!take(r, '"'))
		return false;
	while (r->at < r->end && *r->at != '"') {
		if (*r->at < 0x20)
			return false;
		if (*r->at++ == '\\') {
			out = scratch;
			if (!take_escape(r, &out))
				return false;
		}
	}
	return take(r, '"');
}

static bool skip_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		return false;
	r->at += n;
	return true;
}

/* A value that is not an array or object. */
static bool skip_scalar(struct reader *r)
{
	skip_space(r);
	if (r->at == r->end)
		return false;
	switch (*r->at) {
	case '"':
		return skip_string(r);
	case 't':
		return skip_word(r, "true");
	case 'f':
		return skip_word(r, "false");
	case 'n':
		return skip_word(r, "null");
	default:
		return skip_number(r);
	}
}

static bool skip_key(struct reader *r)
{
	return skip_string(r) && take(r, ':');
}

/* After a value: close what ends here, then step to the next value. *depth
 * becomes 0 when the outermost value is complete. */
static bool after_value(struct reader *r, const uint8_t *closers,
			uint32_t *depth)
{
	while (*depth > 0 && take(r, closers[*depth - 1]))
		(*depth)--;
	if (*depth == 0)
		return true;
	return take(r, ',') && (closers[*depth - 1] != '}' || skip_key(r));
}

bool sat_json_valid(struct sat_slice json)
{
	struct reader r;
	uint8_t closers[JSON_DEPTH_MAX];
	uint32_t depth = 0;
	bool empty;

	if (json.len == 0 || !sat_utf8_valid(json))
		return false;
	r = (struct reader){ json.ptr, json.ptr + json.len };
	do {
		empty = false;
		if (depth < JSON_DEPTH_MAX && take(&r, '[')) {
			closers[depth++] = ']';
		} else if (depth < JSON_DEPTH_MAX && take(&r, '{')) {
			closers[depth++] = '}';
		} else {
			if (!skip_scalar(&r) ||
			    !after_value(&r, closers, &depth))
				return false;
			continue;
		}
		skip_space(&r);
		empty = r.at < r.end && *r.at == closers[depth - 1];
		if (empty && !after_value(&r, closers, &depth))
			return false;
		if (!empty && closers[depth - 1] == '}' && !skip_key(&r))
			return false;
	} while (depth > 0);
	skip_space(&r);
	return r.at == r.end;
}
