/* base.h - results, error detail, assertions, attributes. Layer 0, libc only.
 */
#ifndef SAT_BASE_H
#define SAT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAT_MUST_CHECK   __attribute__((warn_unused_result))
#define SAT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define SAT_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define SAT_COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* Result of every fallible call. Zero is success, negative is failure;
 * SAT_AGAIN is the one positive value: nothing is wrong, feed me more. */
enum sat_rc {
	SAT_OK = 0,
	SAT_AGAIN = 1,
	SAT_E_NOMEM = -1, /* allocation refused                              */
	SAT_E_LIMIT = -2, /* a configured ceiling was hit                    */
	SAT_E_PROTO = -3, /* the peer broke the protocol; close it           */
	SAT_E_CORRUPT = -4, /* stored bytes fail their checks; do not go on */
	SAT_E_BUSY = -5,   /* transient: retry after a delay                  */
	SAT_E_IO = -6,     /* disk or socket failed; see sat_err.sys          */
	SAT_E_CLOSED = -7, /* the other side, or we, have closed              */
	SAT_E_INVAL = -8,  /* rejected configuration or argument from a user  */
	SAT_E_TIMEOUT = -9,   /* nothing came in time   */
	SAT_E_FORGED = -10,   /* a context names dots that nobody has written   */
	SAT_E_DENIED = -11,   /* not allowed: role, scope, revocation   */
	SAT_E_NOTFOUND = -12, /* the named thing does not exist */
	SAT_E_EXISTS = -13,   /* the named thing exists already   */
	SAT_E_FULL = -14,  /* the disk is full; transient for the peer        */
	SAT_E_NEWER = -15, /* a file or peer of a newer version than we know  */
};

/* Detail of a failure, for one log line or one sentence to a person. Owned by
 * the caller, never NULL. Written only when the call fails. */
struct sat_err {
	int rc;         /* the sat_rc that was returned                     */
	int sys;        /* errno, UV_*, SQLITE_* or SSL_ERROR_*; 0 if none  */
	const char *op; /* static string naming what failed                 */
	char msg[256];  /* printable, NUL terminated, never user data       */
};

/* Fill *err and return rc, so that a failure is one statement. */
int sat_err_set(struct sat_err *err, int rc, int sys, const char *op,
		const char *fmt, ...) SAT_PRINTF(5, 6);

/* Static name of a sat_rc: "E_PROTO". */
const char *sat_rc_name(int rc);

/* Kept in release builds. For our own mistakes only: never for bytes that
 * came from a socket, a file or a peer. */
_Noreturn void sat_assert_fail(const char *expr, const char *file, int line);
#define SAT_ASSERT(e)        ((e) ? (void)0 : sat_assert_fail(#e, __FILE__, __LINE__))
#define SAT_UNREACHABLE(why) sat_assert_fail(why, __FILE__, __LINE__)

#endif
