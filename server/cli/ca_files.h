/* ca_files.h - the CAs in a server's folder.
 *
 *   ca.key ca.pem server.pem            always
 *   + ca.next.key ca.next.pem           a new CA takes over: devices are told
 *                                       of both, the new one signs theirs,
 *                                       the server shows what the old signed
 *   + server.next.pem                   it has taken over: the three new files
 *                                       are on their way to the old names
 *
 * Each step is one atomic file operation, so a cut leaves one of these states
 * and the next start goes on from there.
 */
#ifndef SAT_SERVER_CLI_CA_FILES_H
#define SAT_SERVER_CLI_CA_FILES_H

#include "common/buf.h"
#include "common/pki.h"

struct sat_ca_files {
	struct sat_buf cert, key; /* PEM, of the CA that signs */
	struct sat_buf told;      /* PEM, all that are trusted */
	bool rolling;
	uint64_t no;         /* sat_pki_ca_no of the one that signs    */
	int64_t old_ends_ms; /* of the oldest: ca.pem                  */
};

void sat_ca_files_init(struct sat_ca_files *f);
void sat_ca_files_fini(struct sat_ca_files *f);

/* What is there. Errors of file.h and pki.h. */
int sat_ca_files_read(const char *dir, struct sat_ca_files *f,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Make a new CA beside the old one. SAT_E_EXISTS: there is one already. */
int sat_ca_files_begin(const char *dir, const char *org, int64_t now_ms,
		       struct sat_err *err) SAT_MUST_CHECK;

/* The new CA is the only one from here on. SAT_E_NOTFOUND: there is none. */
int sat_ca_files_finish(const char *dir, int64_t now_ms,
			struct sat_err *err) SAT_MUST_CHECK;

/* End what a cut left of finishing. */
int sat_ca_files_settle(const char *dir, struct sat_err *err) SAT_MUST_CHECK;

#endif
