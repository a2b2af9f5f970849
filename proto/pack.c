#include "proto/pack.h"

#include <msgpack.h>

/* msgpack-c's writer: any non-zero answer stops the value being packed. */
static int on_write(void *data, const char *bytes, size_t n)
{
	struct sat_pack *p = data;

	if (p->rc == SAT_OK)
		p->rc = sat_buf_append(p->out, bytes, n);
	return p->rc == SAT_OK ? 0 : -1;
}

static msgpack_packer packer(struct sat_pack *p)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, p, on_write);
	return pk;
}

void sat_pack_nil(struct sat_pack *p)
{
	msgpack_packer pk = packer(p);

	msgpack_pack_nil(&pk);
}

void sat_pack_bool(struct sat_pack *p, bool v)
{
	msgpack_packer pk = packer(p);

	if (v)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
}

void sat_pack_uint(struct sat_pack *p, uint64_t v)
{
	msgpack_packer pk = packer(p);

	msgpack_pack_uint64(&pk, v);
}

void sat_pack_int(struct sat_pack *p, int64_t v)
{
	msgpack_packer pk = packer(p);

	msgpack_pack_int64(&pk, v);
}

void sat_pack_str(struct sat_pack *p, struct sat_slice s)
{
	msgpack_packer pk = packer(p);

	msgpack_pack_str(&pk, s.len);
	sat_pack_raw(p, s.ptr, s.len);
}

void sat_pack_bin(struct sat_pack *p, struct sat_slice s)
{
	msgpack_packer pk = packer(p);

	msgpack_pack_bin(&pk, s.len);
	sat_pack_raw(p, s.ptr, s.len);
}

void sat_pack_map(struct sat_pack *p, uint32_t count)
{
	msgpack_packer pk = packer(p);

	msgpack_pack_map(&pk, count);
}

void sat_pack_array(struct sat_pack *p, uint32_t count)
{
	msgpack_packer pk = packer(p);

	msgpack_pack_array(&pk, count);
}

void sat_pack_raw(struct sat_pack *p, const void *bytes, size_t n)
{
	if (p->rc == SAT_OK)
		p->rc = sat_buf_append(p->out, bytes, n);
}

void sat_pack_varint(struct sat_pack *p, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	while (v >= 0x80) {
		bytes[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	bytes[n++] = (uint8_t)v;
	sat_pack_raw(p, bytes, n);
}

size_t sat_varint_bytes(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

bool sat_varint_take(struct sat_slice *s, uint64_t *ret)
{
	uint64_t v = 0;
	uint8_t b;

	for (size_t i = 0; i < 10 && i < s->len; i++) {
		b = s->ptr[i];
		if (i == 9 && b > 1)
			return false;
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (b >= 0x80)
			continue;
		if (b == 0 && i > 0)
			return false;
		*ret = v;
		*s = (struct sat_slice){ s->ptr + i + 1, s->len - i - 1 };
		return true;
	}
	return false;
}

bool sat_bitmap_valid(struct sat_slice s, size_t n, uint32_t *ret_ones)
{
	uint32_t ones = 0;

	if (s.len != (n + 7) / 8)
		return false;
	if (n % 8 != 0 && s.ptr[n / 8] >> (n % 8) != 0)
		return false;
	for (size_t i = 0; i < s.len; i++)
		for (unsigned b = s.ptr[i]; b != 0; b &= b - 1)
			ones++;
	*ret_ones = ones;
	return true;
}

/* Reading: the bytes were scanned, yet every step checks its bounds, so that
 * a forgotten scan is an error and not a read outside. */

static bool take_number(struct sat_cursor *c, size_t width, uint64_t *ret)
{
	uint64_t v = 0;

	if (c->in.len - c->at < 1 + width)
		return false;
	for (size_t i = 1; i <= width; i++)
		v = v << 8 | c->in.ptr[c->at + i];
	c->at += 1 + width;
	*ret = v;
	return true;
}

static int peek(const struct sat_cursor *c)
{
	return c->at < c->in.len ? c->in.ptr[c->at] : -1;
}

bool sat_take_nil(struct sat_cursor *c)
{
	if (peek(c) != 0xc0)
		return false;
	c->at++;
	return true;
}

bool sat_take_bool(struct sat_cursor *c, bool *ret)
{
	int b = peek(c);

	if (b != 0xc2 && b != 0xc3)
		return false;
	c->at++;
	*ret = b == 0xc3;
	return true;
}

/* Bytes of the number behind lead byte b, 0 when it is not an integer's;
 * *ret_signed tells which family it is of. */
static size_t integer_width(int b, bool *ret_signed)
{
	*ret_signed = b >= 0xd0;
	if (b >= 0xcc && b <= 0xcf)
		return (size_t)1 << (b - 0xcc);
	if (b >= 0xd0 && b <= 0xd3)
		return (size_t)1 << (b - 0xd0);
	return 0;
}

bool sat_take_uint(struct sat_cursor *c, uint64_t max, uint64_t *ret)
{
	struct sat_cursor try = *c;
	int b = peek(c);
	bool is_signed;
	size_t width = integer_width(b, &is_signed);
	uint64_t v;

	if (b >= 0 && b < 0x80) {
		v = (uint64_t)b;
		try.at++;
	} else if (width == 0 || !take_number(&try, width, &v)) {
		return false;
	}
	if (v > max || (is_signed && v >> (8 * width - 1) != 0))
		return false;
	*c = try;
	*ret = v;
	return true;
}

bool sat_take_int(struct sat_cursor *c, int64_t *ret)
{
	uint64_t v;
	int b = peek(c);

	if (sat_take_uint(c, INT64_MAX, &v)) {
		*ret = (int64_t)v;
		return true;
	}
	if (b >= 0xe0) {
		*ret = b - 256;
		c->at++;
		return true;
	}
	if (b < 0xd0 || b > 0xd3 ||
	    !take_number(c, (size_t)1 << (b - 0xd0), &v))
		return false;
	if (b == 0xd0)
		*ret = (int8_t)v;
	else if (b == 0xd1)
		*ret = (int16_t)v;
	else if (b == 0xd2)
		*ret = (int32_t)v;
	else
		*ret = (int64_t)v;
	return true;
}

bool sat_take_bin(struct sat_cursor *c, struct sat_slice *ret)
{
	struct sat_cursor try = *c;
	uint64_t n;
	int b = peek(c);

	if (b < 0xc4 || b > 0xc6 ||
	    !take_number(&try, (size_t)1 << (b - 0xc4), &n) ||
	    n > try.in.len - try.at)
		return false;
	*ret = (struct sat_slice){ try.in.ptr + try.at, (size_t)n };
	try.at += (size_t)n;
	*c = try;
	return true;
}

static bool take_count(struct sat_cursor *c, int fix, int wide, uint32_t *ret)
{
	uint64_t n;
	int b = peek(c);

	if (b >= fix && b < fix + 16) {
		n = (uint64_t)(b - fix);
		c->at++;
	} else if ((b != wide && b != wide + 1) ||
		   !take_number(c, b == wide ? 2 : 4, &n)) {
		return false;
	}
	*ret = (uint32_t)n;
	return true;
}

bool sat_take_map(struct sat_cursor *c, uint32_t *ret_count)
{
	return take_count(c, 0x80, 0xde, ret_count);
}

bool sat_take_array(struct sat_cursor *c, uint32_t *ret_count)
{
	return take_count(c, 0x90, 0xdc, ret_count);
}

/* Bytes after the lead byte of a value that holds no other values, and the
 * width of its length when it has one. */
static bool skip_scalar(struct sat_cursor *c)
{
	static const uint8_t fixed[32] = {
		[0x0a] = 4, [0x0b] = 8, [0x0c] = 1, [0x0d] = 2, [0x0e] = 4,
		[0x0f] = 8, [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8
	};
	uint64_t n = 0;
	int b = peek(c);

	if (b < 0)
		return false;
	if (b < 0x80 || b >= 0xe0) {
		c->at++;
		return true;
	}
	if (b < 0xc0) {
		n = (unsigned)b & 31u;
		c->at++;
	} else if ((b >= 0xc4 && b <= 0xc6) || (b >= 0xd9 && b <= 0xdb)) {
		if (!take_number(c,
				 (size_t)1 << (b <= 0xc6 ? b - 0xc4 : b - 0xd9),
				 &n))
			return false;
	} else {
		n = fixed[b - 0xc0];
		c->at++;
	}
	if (n > c->in.len - c->at)
		return false;
	c->at += (size_t)n;
	return true;
}

bool sat_take_any(struct sat_cursor *c, struct sat_slice *ret_value)
{
	struct sat_cursor try = *c;
	uint64_t left = 1;
	uint32_t n;

	for (; left > 0; left--) {
		if (sat_take_map(&try, &n))
			left += (uint64_t)n * 2;
		else if (sat_take_array(&try, &n))
			left += n;
		else if (!skip_scalar(&try))
			return false;
	}
	if (ret_value != NULL)
		*ret_value =
			(struct sat_slice){ c->in.ptr + c->at, try.at - c->at };
	*c = try;
	return true;
}
