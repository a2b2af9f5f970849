#include "common/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int sat_err_set(struct sat_err *err, int rc, int sys, const char *op,
		const char *fmt, ...)
{
	va_list ap;

	err->rc = rc;
	err->sys = sys;
	err->op = op;
	va_start(ap, fmt);
	(void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	return rc;
}

const char *sat_rc_name(int rc)
{
	static const char *const names[] = {
		[-SAT_OK] = "OK",
		[-SAT_E_NOMEM] = "E_NOMEM",
		[-SAT_E_LIMIT] = "E_LIMIT",
		[-SAT_E_PROTO] = "E_PROTO",
		[-SAT_E_CORRUPT] = "E_CORRUPT",
		[-SAT_E_BUSY] = "E_BUSY",
		[-SAT_E_IO] = "E_IO",
		[-SAT_E_CLOSED] = "E_CLOSED",
		[-SAT_E_INVAL] = "E_INVAL",
		[-SAT_E_TIMEOUT] = "E_TIMEOUT",
		[-SAT_E_FORGED] = "E_FORGED",
		[-SAT_E_DENIED] = "E_DENIED",
		[-SAT_E_NOTFOUND] = "E_NOTFOUND",
		[-SAT_E_EXISTS] = "E_EXISTS",
		[-SAT_E_FULL] = "E_FULL",
		[-SAT_E_NEWER] = "E_NEWER",
	};

	if (rc == SAT_AGAIN)
		return "AGAIN";
	if (rc > 0 || -rc >= (int)SAT_COUNT_OF(names))
		return "E_UNKNOWN";
	return names[-rc];
}

_Noreturn void sat_assert_fail(const char *expr, const char *file, int line)
{
	(void)fprintf(stderr, "satchel: assertion failed: %s (%s:%d)\n", expr,
		      file, line);
	abort();
}
