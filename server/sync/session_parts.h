/* session_parts.h - what the files of the server's session share. */
#ifndef SAT_SERVER_SESSION_PARTS_H
#define SAT_SERVER_SESSION_PARTS_H

#include "server/sync/session.h"

/* The only assignment to the state. */
void sat_ssession_move(struct sat_ssession *s, enum sat_ssession_state to);

/* Close without a word; nothing happens when closed already. */
void sat_ssession_shut(struct sat_ssession *s, int rc);

/* Send the error, whose text is static, then close. */
void sat_ssession_refuse(struct sat_ssession *s, const struct sat_msg_error *e);

/* The device broke the protocol: the same with a code and a static text. */
void sat_ssession_broken(struct sat_ssession *s, uint32_t code,
			 const char *text);

/* The sat_rc that stands for a wire error in logs. */
int sat_ssession_wire_rc(uint32_t code);

void sat_ssession_on_push(struct sat_ssession *s, const struct sat_msg_push *p);
void sat_ssession_on_push_done(struct sat_ssession *s,
			       const struct sat_ssession_event *ev);

#endif
