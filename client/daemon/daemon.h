/* daemon.h - satcheld: enrolling a device, and keeping its replica in step.
 *
 * A device's folder: replica.db, device.key, device.pem, ca.pem,
 * satcheld.conf, lock, sock, running (there while a daemon runs: found at a
 * start, the last stop was not clean).
 */
#ifndef SAT_DAEMON_H
#define SAT_DAEMON_H

#include "client/replica/replica.h"
#include "common/config.h"
#include "common/file.h"
#include "common/tls.h"

enum {
	SAT_EXIT_DONE = 0,
	SAT_EXIT_FAILED = 1,
	SAT_EXIT_USAGE = 2,
	SAT_EXIT_NO_SERVER = 3,
	SAT_EXIT_REFUSED = 4,
	SAT_EXIT_LOCAL = 5,
	SAT_EXIT_BUSY = 75, /* another process has the folder */
};

/* An invitation: satchel://HOST:PORT/TOKEN/HASH */
struct sat_invitation {
	char host[256];
	uint16_t port;
	char token[64];
	uint8_t pin[32]; /* SHA-256 of the CA's public key */
};

/* SAT_E_INVAL with a sentence when the text is no invitation. */
int sat_invitation_parse(const char *text, struct sat_invitation *ret,
			 struct sat_err *err) SAT_MUST_CHECK;

/* `satcheld enroll`; returns an exit code. timeout_ms: how long the server may
 * keep silent. */
int sat_daemon_enrol(const char *dir, const char *invite, uint64_t timeout_ms);

struct sat_daemon_run {
	const char *dir;
	bool once;
	uint64_t timeout_ms; /* for once */
	bool patient;        /* it counts from the last row that came */
};

/* `satcheld run`; returns an exit code. */
int sat_daemon_run(const struct sat_daemon_run *how);

/* The folder's keys as a client's TLS settings. */
int sat_daemon_tls(const char *dir, struct sat_tls_ctx **ret,
		   struct sat_err *err) SAT_MUST_CHECK;

/* Ask for another certificate (renew.c): over the same key, or, when the server
 * says that this device is a copy (fork), with a new one and as a device of
 * its own. Blocks, at most 30 s. SAT_E_DENIED: the server refuses for good. */
int sat_daemon_renew(const char *dir, struct sat_replica *replica,
		     const char *host, uint16_t port, bool fork,
		     struct sat_err *err) SAT_MUST_CHECK;
/* Has less than a third of its time left, by the server's clock? */
int sat_daemon_renewal_due(const char *dir, int64_t server_ms, bool *ret,
			   struct sat_err *err) SAT_MUST_CHECK;
/* Before the keys are read: end what a cut left of becoming `replica`. */
int sat_daemon_finish_renewal(const char *dir, uint32_t replica,
			      struct sat_err *err) SAT_MUST_CHECK;

/* A daemon holds the lock: let it do the work, and wait. SAT_E_NOTFOUND when
 * nobody listens, SAT_E_BUSY when it does not answer, else its result. */
int sat_daemon_ask(const struct sat_daemon_run *how, uint64_t left_ms,
		   struct sat_err *err) SAT_MUST_CHECK;

/* The last line of --once on stdout; returns the exit code for rc. confirmed:
 * in this run; rejected: all that wait for a person. */
int sat_daemon_say_done(int rc, uint64_t confirmed, uint64_t rejected);

/* Of a --once whose digest differs at its checkpoint: the agent has fetched
 * everything again before it lets a difference stand. */
extern const struct sat_err sat_daemon_differs;

int64_t sat_daemon_wall_ms(void);

/* Say on stderr, in the person's language, after who says it. */
void sat_daemon_complain(const char *who, const struct sat_err *err);

/* What a result of the agent means to whoever called the program. */
int sat_daemon_exit_code(int rc);

#endif
