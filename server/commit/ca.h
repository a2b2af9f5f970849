/* ca.h - while the organisation's CA is replaced: which devices are known to
 * trust the new one.
 *
 * A device writes the CAs that it is told into its folder before it uses the
 * certificate that came with them, so a certificate made by the new CA, shown
 * in a handshake, proves that its device trusts that CA. A CA is named by its
 * number (sat_pki_ca_no).
 */
#ifndef SAT_SERVER_CA_H
#define SAT_SERVER_CA_H

#include "server/store/store.h"

/* The device came with a certificate of that CA; written only when it is news.
 * In a group. */
int sat_ca_shown(struct sat_store *s, uint32_t replica, uint64_t ca,
		 struct sat_err *err) SAT_MUST_CHECK;

/* The CA whose certificate it showed last; 0 when none was noted. */
int sat_ca_last(struct sat_store *s, uint32_t replica, uint64_t *ret,
		struct sat_err *err) SAT_MUST_CHECK;

#endif
