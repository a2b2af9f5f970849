/* session_parts.h - what the files of the device's session share. */
#ifndef SAT_CLIENT_SESSION_PARTS_H
#define SAT_CLIENT_SESSION_PARTS_H

#include "client/sync/session.h"

/* Close; nothing happens when closed already. */
void sat_csession_shut(struct sat_csession *s, int rc, uint32_t wire,
		       bool transient);

/* The server broke the protocol: say so, then leave. */
void sat_csession_broken(struct sat_csession *s, uint32_t wire);

/* Give the owner that to store. */
void sat_csession_store(struct sat_csession *s,
			enum sat_csession_effect_kind kind,
			const struct sat_msg *msg);

/* ---- session_repair.c --------------------------------------------------- */

void sat_csession_on_repair(struct sat_csession *s, const struct sat_msg *msg);
void sat_csession_on_repaired(struct sat_csession *s);
void sat_csession_on_asked(struct sat_csession *s,
			   const struct sat_csession_event *ev);
void sat_csession_on_compared(struct sat_csession *s, bool differs);
void sat_csession_ask_again(struct sat_csession *s);
/* The rights or the catalogue are others now. */
void sat_csession_forget_asks(struct sat_csession *s);
bool sat_csession_next_ask(struct sat_csession *s,
			   struct sat_csession_effect *ret);

#endif
