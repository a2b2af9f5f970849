#include "proto/print.h"

#include <stdlib.h>
#include <string.h>

struct range {
	uint32_t first, last;
};

static const struct range wide[] = {
	{ 0x1100, 0x115f },   { 0x231a, 0x231b },   { 0x23e9, 0x23ec },
	{ 0x25fd, 0x25fe },   { 0x2614, 0x2615 },   { 0x2648, 0x2653 },
	{ 0x26a1, 0x26a1 },   { 0x2705, 0x2705 },   { 0x274c, 0x274c },
	{ 0x2753, 0x2755 },   { 0x2757, 0x2757 },   { 0x2b50, 0x2b50 },
	{ 0x2e80, 0x303e },   { 0x3041, 0x33ff },   { 0x3400, 0x4dbf },
	{ 0x4e00, 0xa4cf },   { 0xa960, 0xa97f },   { 0xac00, 0xd7a3 },
	{ 0xf900, 0xfaff },   { 0xfe10, 0xfe19 },   { 0xfe30, 0xfe6f },
	{ 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },   { 0x1f300, 0x1f64f },
	{ 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x1fa70, 0x1faff },
	{ 0x20000, 0x3fffd },
};

static const struct range narrow[] = {
	{ 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd },
	{ 0x0610, 0x061a }, { 0x064b, 0x065f }, { 0x0e31, 0x0e31 },
	{ 0x0e34, 0x0e3a }, { 0x0e47, 0x0e4e }, { 0x1ab0, 0x1aff },
	{ 0x1dc0, 0x1dff }, { 0x200b, 0x200d }, { 0x20d0, 0x20ff },
	{ 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xe0100, 0xe01ef },
};

/* C0, DEL, C1, and the marks that turn the direction of what follows, by which
 * a name can be made to read as another. */
static const struct range steering[] = {
	{ 0x00, 0x1f },     { 0x7f, 0x9f },     { 0x061c, 0x061c },
	{ 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2066, 0x2069 },
	{ 0xfeff, 0xfeff },
};

static bool in_ranges(const struct range *r, size_t count, uint32_t c)
{
	size_t low = 0;

	while (low < count) {
		size_t middle = low + (count - low) / 2;

		if (c < r[middle].first)
			count = middle;
		else if (c > r[middle].last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

static size_t char_width(uint32_t c)
{
	if (c < 0x300)
		return 1;
	if (in_ranges(narrow, SAT_COUNT_OF(narrow), c))
		return 0;
	return in_ranges(wide, SAT_COUNT_OF(wide), c) ? 2 : 1;
}

/* One character from the front of s, which is not empty. Returns its bytes;
 * 1 with *ret_valid false for a byte that begins no character. */
static size_t decode(struct sat_slice s, uint32_t *ret, bool *ret_valid)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = s.ptr[0];
	size_t n = first < 0x80   ? 1
		   : first < 0xc2 ? 0
		   : first < 0xe0 ? 2
		   : first < 0xf0 ? 3
		   : first < 0xf5 ? 4
				  : 0;
	uint32_t c = n <= 1 ? first : first & (0xffu >> (n + 1));

	*ret_valid = n > 0 && n <= s.len;
	*ret = first;
	for (size_t i = 1; *ret_valid && i < n; i++) {
		*ret_valid = (s.ptr[i] & 0xc0) == 0x80;
		c = c << 6 | (s.ptr[i] & 0x3f);
	}
	if (!*ret_valid || c < smallest[n] || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff)) {
		*ret_valid = false;
		return 1;
	}
	*ret = c;
	return n;
}

size_t sat_print_width(struct sat_slice s)
{
	size_t width = 0, n;
	uint32_t c;
	bool valid;

	for (; s.len > 0; s.ptr += n, s.len -= n) {
		n = decode(s, &c, &valid);
		width += valid ? char_width(c) : 1;
	}
	return width;
}

/* What is printed for the character, and how wide that is. */
static size_t spell(uint32_t c, bool valid, struct sat_slice raw, char out[12],
		    struct sat_slice *ret)
{
	int n;

	*ret = raw;
	if (valid && !in_ranges(steering, SAT_COUNT_OF(steering), c))
		return char_width(c);
	if (valid && (c == '\n' || c == '\t' || c == '\r'))
		n = snprintf(out, 12, "\\%c",
			     c == '\n'   ? 'n'
			     : c == '\t' ? 't'
					 : 'r');
	else if (valid && c > 0xff)
		n = snprintf(out, 12, "\\u%04x", (unsigned)c);
	else
		n = snprintf(out, 12, "\\x%02x", (unsigned)c);
	*ret = (struct sat_slice){ (const uint8_t *)out, (size_t)n };
	return (size_t)n;
}

/* Bytes of s that fit; all of them when the whole does. */
static size_t bytes_that_fit(struct sat_slice s, size_t width_max)
{
	size_t width = 0, fit = 0, at = 0, n;
	struct sat_slice put;
	char escape[12];
	uint32_t c;
	bool valid;

	for (; at < s.len; at += n) {
		struct sat_slice rest = { s.ptr + at, s.len - at };

		n = decode(rest, &c, &valid);
		width += spell(c, valid, rest, escape, &put);
		if (width > width_max)
			return fit;
		if (width < width_max)
			fit = at + n; /* and an ellipsis */
	}
	return s.len;
}

int sat_print_clean(struct sat_buf *out, struct sat_slice s, size_t width_max)
{
	size_t fit = width_max == 0 ? s.len : bytes_that_fit(s, width_max);
	bool cut = fit < s.len;
	struct sat_slice put;
	char escape[12];
	uint32_t c;
	bool valid;
	size_t n;
	int rc;

	for (s.len = fit; s.len > 0; s.ptr += n, s.len -= n) {
		n = decode(s, &c, &valid);
		(void)spell(c, valid, (struct sat_slice){ s.ptr, n }, escape,
			    &put);
		rc = sat_buf_append(out, put.ptr, put.len);
		if (rc != SAT_OK)
			return rc;
	}
	return cut ? sat_buf_append(out, "\xe2\x80\xa6", 3) : SAT_OK;
}

void sat_print_line(FILE *f, const char *text)
{
	struct sat_slice s;
	struct sat_buf clean;

	sat_buf_init(&clean, SAT_PRINT_BLOCK_BYTES);
	if (sat_print_clean(&clean, sat_slice_str(text), 0) == SAT_OK) {
		s = sat_buf_peek(&clean);
		if (s.len > 0) /* else there may be no buffer at all */
			(void)fwrite(s.ptr, 1, s.len, f);
	}
	(void)fputc('\n', f);
	sat_buf_fini(&clean);
}

/* ---- tables -------------------------------------------------------------- */

int sat_print_begin(struct sat_print *p, FILE *out, const char *const *titles,
		    const bool *right, size_t columns, size_t width_max)
{
	int rc = SAT_OK;

	*p = (struct sat_print){ .out = out,
				 .columns = columns,
				 .width_max = width_max };
	if (columns > SAT_PRINT_COLUMNS_MAX)
		return SAT_E_LIMIT;
	sat_buf_init(&p->text, SAT_PRINT_CELL_BYTES_MAX);
	p->width = calloc(columns + 1, sizeof *p->width);
	p->right = calloc(columns + 1, sizeof *p->right);
	if (p->width == NULL || p->right == NULL)
		rc = SAT_E_NOMEM;
	for (size_t i = 0; rc == SAT_OK && i < columns; i++) {
		p->right[i] = right != NULL && right[i];
		rc = sat_print_cell(p, sat_slice_str(titles[i]));
	}
	if (rc != SAT_OK) {
		p->cells = 0;
		sat_print_end(p);
	}
	return rc;
}

static void pad(FILE *out, size_t n)
{
	for (; n > 0; n--)
		(void)fputc(' ', out);
}

static void print_block(struct sat_print *p)
{
	struct sat_slice left = sat_buf_peek(&p->text);

	for (size_t i = 0; i < p->cells; i++) {
		size_t column = i % p->columns;
		bool last = column + 1 == p->columns;
		struct sat_slice cell = { left.ptr, 0 };
		size_t gap;

		cell.len = strlen((const char *)left.ptr);
		gap = p->width[column] - sat_print_width(cell);
		if (p->right[column])
			pad(p->out, gap);
		(void)fwrite(cell.ptr, 1, cell.len, p->out);
		if (!p->right[column] && !last)
			pad(p->out, gap);
		(void)fputs(last ? "\n" : "  ", p->out);
		left.ptr += cell.len + 1;
		left.len -= cell.len + 1;
	}
	sat_buf_clear(&p->text);
	p->cells = 0;
}

int sat_print_cell(struct sat_print *p, struct sat_slice text)
{
	size_t column = p->cells % p->columns, start, width;
	struct sat_slice all;
	int rc;

	if (column == 0 &&
	    (p->cells / p->columns >= SAT_PRINT_BLOCK_ROWS ||
	     p->text.len - p->text.head >= SAT_PRINT_BLOCK_BYTES))
		print_block(p);
	start = sat_buf_peek(&p->text).len;
	rc = sat_print_clean(&p->text, text, p->width_max);
	if (rc != SAT_OK)
		return rc;
	all = sat_buf_peek(&p->text);
	width = start == all.len ? 0
				 : sat_print_width((struct sat_slice){
					   all.ptr + start, all.len - start });
	if (width > p->width[column])
		p->width[column] = width;
	p->cells++;
	return sat_buf_append(&p->text, "", 1);
}

void sat_print_end(struct sat_print *p)
{
	/* A row that was not finished is not printed. */
	if (p->columns > 0)
		p->cells -= p->cells % p->columns;
	if (p->cells > 0)
		print_block(p);
	sat_buf_fini(&p->text);
	free(p->width);
	free(p->right);
	*p = (struct sat_print){ .out = NULL };
}
