/* fork.h - devices that ask for another certificate: because theirs ends, or
 * because they are copies (SYNC section 10). Inside a group.
 */
#ifndef SAT_ENGINE_FORK_H
#define SAT_ENGINE_FORK_H

#include "proto/message.h"
#include "server/store/store.h"

struct sat_engine;

/* The device and its user, if that key may still ask. On SAT_E_DENIED
 * *refusal is the ERROR to send. */
int sat_engine_renewable(struct sat_engine *e, uint32_t replica,
			 const uint8_t key_hash[32], struct sat_device *ret,
			 struct sat_user *ret_user,
			 struct sat_msg_error *refusal,
			 struct sat_err *err) SAT_MUST_CHECK;

/* A device row of its own for a copy with that new key; the same again for
 * the same key. SAT_E_DENIED: it is the parent's key. */
int sat_engine_fork(struct sat_engine *e, const struct sat_device *parent,
		    const uint8_t key_hash[32], struct sat_device *ret,
		    struct sat_err *err) SAT_MUST_CHECK;

/* The device it is a copy of, 0 for none. */
int sat_device_parent(struct sat_store *s, uint32_t replica, uint32_t *ret,
		      struct sat_err *err) SAT_MUST_CHECK;
/* Is it that device, or a copy of it, or a copy's copy? */
int sat_device_descends(struct sat_store *s, uint32_t replica, uint32_t from,
			bool *ret, struct sat_err *err) SAT_MUST_CHECK;

#endif
