/* Dates and times of the proleptic Gregorian calendar, years 1 to 9999. */
#include "common/text.h"

#include <string.h>

#define DAY_MS    INT64_C(86400000)
#define FIRST_DAY (-719162) /* 0001-01-01 */
#define LAST_DAY  2932896   /* 9999-12-31 */

static bool leap_year(int32_t y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

static int32_t month_days(int32_t y, int32_t m)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30,
					31, 31, 30, 31, 30, 31 };

	return m == 2 && leap_year(y) ? 29 : days[m - 1];
}

/* Days since 1970-01-01. The year is counted from March, so that the leap day
 * is its last one and months need no table. */
static int32_t days_from(int32_t y, int32_t m, int32_t d)
{
	int32_t from_march = (m + 9) % 12;
	int32_t year = m <= 2 ? y - 1 : y;

	return year * 365 + year / 4 - year / 100 + year / 400 +
	       (from_march * 153 + 2) / 5 + d - 1 - 719468;
}

static void date_from(int32_t days, int32_t *y, int32_t *m, int32_t *d)
{
	int32_t from = days + 719468; /* since 0000-03-01, never negative */
	int32_t era = from / 146097, day = from % 146097;
	int32_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int32_t in_year = day - (year * 365 + year / 4 - year / 100);
	int32_t from_march = (in_year * 5 + 2) / 153;

	*d = in_year - (from_march * 153 + 2) / 5 + 1;
	*m = from_march < 10 ? from_march + 3 : from_march - 9;
	*y = era * 400 + year + (*m <= 2 ? 1 : 0);
}

/* Exactly n digits at p as a number, -1 when one is not a digit. */
static int32_t number(const uint8_t *p, size_t n)
{
	int32_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		sum = sum * 10 + (p[i] - '0');
	}
	return sum;
}

/* n digits, most significant first; returns the place after them. */
static char *put(char *out, int32_t value, size_t n)
{
	for (size_t i = n; i-- > 0; value /= 10)
		out[i] = (char)('0' + value % 10);
	return out + n;
}

bool sat_date_days(struct sat_slice text, int32_t *ret)
{
	int32_t y, m, d;

	if (text.len != 10 || text.ptr[4] != '-' || text.ptr[7] != '-')
		return false;
	y = number(text.ptr, 4);
	m = number(text.ptr + 5, 2);
	d = number(text.ptr + 8, 2);
	if (y < 1 || m < 1 || m > 12 || d < 1 || d > month_days(y, m))
		return false;
	*ret = days_from(y, m, d);
	return true;
}

bool sat_date_valid(struct sat_slice text)
{
	int32_t days;

	return sat_date_days(text, &days);
}

static char *put_date(char *out, int32_t days)
{
	int32_t y, m, d;

	date_from(days, &y, &m, &d);
	out = put(out, y, 4);
	*out++ = '-';
	out = put(out, m, 2);
	*out++ = '-';
	return put(out, d, 2);
}

void sat_date_format(int32_t days, char out[11])
{
	if (days < FIRST_DAY)
		days = FIRST_DAY;
	if (days > LAST_DAY)
		days = LAST_DAY;
	*put_date(out, days) = '\0';
}

void sat_time_format(int64_t ms, char out[25])
{
	int64_t days;
	int32_t rest;

	if (ms < FIRST_DAY * DAY_MS)
		ms = FIRST_DAY * DAY_MS;
	if (ms >= (LAST_DAY + 1) * DAY_MS)
		ms = (LAST_DAY + 1) * DAY_MS - 1;
	days = ms / DAY_MS;
	rest = (int32_t)(ms % DAY_MS);
	if (rest < 0) {
		rest += (int32_t)DAY_MS;
		days--;
	}
	out = put_date(out, (int32_t)days);
	*out++ = 'T';
	out = put(out, rest / 3600000, 2);
	*out++ = ':';
	out = put(out, rest / 60000 % 60, 2);
	*out++ = ':';
	out = put(out, rest / 1000 % 60, 2);
	*out++ = '.';
	out = put(out, rest % 1000, 3);
	*out++ = 'Z';
	*out = '\0';
}

/* HH:MM[:SS[.mmm]] as ms of the day, -1 when it is not one. */
static int32_t clock_ms(struct sat_slice s)
{
	int32_t h, m, sec = 0, ms = 0;

	if (s.len != 5 && s.len != 8 && s.len != 12)
		return -1;
	if (s.ptr[2] != ':')
		return -1;
	h = number(s.ptr, 2);
	m = number(s.ptr + 3, 2);
	if (s.len >= 8) {
		if (s.ptr[5] != ':')
			return -1;
		sec = number(s.ptr + 6, 2);
	}
	if (s.len == 12) {
		if (s.ptr[8] != '.')
			return -1;
		ms = number(s.ptr + 9, 3);
	}
	if (h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 59 || ms < 0)
		return -1;
	return ((h * 60 + m) * 60 + sec) * 1000 + ms;
}

bool sat_time_parse(struct sat_slice text, int64_t *ret_ms)
{
	struct sat_slice rest;
	int32_t days, ms = 0;

	if (text.len < 10)
		return false;
	if (!sat_date_days((struct sat_slice){ text.ptr, 10 }, &days))
		return false;
	if (text.len > 10) {
		if (text.ptr[10] != 'T' && text.ptr[10] != ' ')
			return false;
		rest = (struct sat_slice){ text.ptr + 11, text.len - 11 };
		if (rest.len > 0 && rest.ptr[rest.len - 1] == 'Z')
			rest.len--;
		ms = clock_ms(rest);
		if (ms < 0)
			return false;
	}
	*ret_ms = days * DAY_MS + ms;
	return true;
}
