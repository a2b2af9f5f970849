#include "client/sync/session_parts.h"

/* Asking for what differs. What to ask is the owner's business; here it is one
 * ask after the other, each with its answer, and an end:
 *
 *   difference --> ASK --> answer --> ASK ... --> nothing more to ask
 *                                                   |          |
 *                              no rows were asked: over    CHECKPOINT */

bool sat_csession_asking(const struct sat_csession *s)
{
	return s->ask_due || s->ask_given || s->ask_out;
}

bool sat_csession_may_ask(const struct sat_csession *s)
{
	return s->state == SAT_CSESSION_LIVE && s->checkpointed &&
	       !sat_csession_asking(s) && !s->mending;
}

static void begin(struct sat_csession *s)
{
	s->mending = true;
	s->ask_due = true;
	s->ask_rows = false;
}

void sat_csession_on_compared(struct sat_csession *s, bool differs)
{
	if (sat_csession_asking(s)) {
		/* It goes on, or is over: then no CHECKPOINT ends it. */
		s->ask_rows = s->ask_rows && differs;
		return;
	}
	s->mending = false;
	if (differs)
		begin(s);
}

void sat_csession_ask_again(struct sat_csession *s)
{
	if (sat_csession_may_ask(s))
		begin(s);
}

void sat_csession_forget_asks(struct sat_csession *s)
{
	s->ask_due = s->mending = false;
	s->ask_void = s->ask_out;
}

bool sat_csession_next_ask(struct sat_csession *s,
			   struct sat_csession_effect *ret)
{
	if (s->state != SAT_CSESSION_LIVE || !s->ask_due || s->ask_given ||
	    s->ask_out || s->store != NULL || s->link_full)
		return false;
	s->ask_due = false;
	s->ask_given = true;
	ret->kind = SAT_CFX_ASK;
	ret->no = s->ask_no + 1;
	return true;
}

void sat_csession_on_asked(struct sat_csession *s,
			   const struct sat_csession_event *ev)
{
	SAT_ASSERT(s->ask_given);
	s->ask_given = false;
	if (s->state == SAT_CSESSION_CLOSED)
		return;
	if (ev->rc != SAT_OK) {
		sat_csession_shut(s, ev->rc, 0, true);
		return;
	}
	if (!ev->asks) {
		s->mending = s->ask_rows;
		return;
	}
	s->ask_no++;
	s->ask_out = true;
	s->ask_void = false;
	s->ask_rows = s->ask_rows || ev->rows;
}

void sat_csession_on_repair(struct sat_csession *s, const struct sat_msg *msg)
{
	if (!s->ask_out || msg->repair.no != s->ask_no) {
		sat_csession_broken(s, SAT_WIRE_PROTOCOL);
		return;
	}
	if (s->ask_void)
		s->ask_out = s->ask_void = false;
	else
		sat_csession_store(s, SAT_CFX_STORE_REPAIR, msg);
}

void sat_csession_on_repaired(struct sat_csession *s)
{
	s->ask_out = false;
	s->ask_due = true;
}
