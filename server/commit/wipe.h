/* wipe.h - a device that shall lose its data: it may bring what it has not
 * sent, unless that is given up, then it is told to forget everything.
 */
#ifndef SAT_ENGINE_WIPE_H
#define SAT_ENGINE_WIPE_H

#include "server/store/store.h"

struct sat_engine;

/* Note whether what the device has not sent may be lost. */
int sat_wipe_order(struct sat_store *s, uint32_t replica, bool discard,
		   struct sat_err *err) SAT_MUST_CHECK;
int sat_wipe_discards(struct sat_store *s, uint32_t replica, bool *ret,
		      struct sat_err *err) SAT_MUST_CHECK;

/* Inside a group: the device says that it is done; it is revoked. */
int sat_engine_wiped(struct sat_engine *e, uint32_t replica,
		     struct sat_err *err) SAT_MUST_CHECK;

#endif
