#include "server/sync/session_parts.h"

/* The states and the ways to end. */

static const uint32_t may_move[] = {
	[SAT_SSESSION_IDLE] =
		1u << SAT_SSESSION_WAIT_HELLO | 1u << SAT_SSESSION_CLOSED,
	[SAT_SSESSION_WAIT_HELLO] =
		1u << SAT_SSESSION_JUDGING | 1u << SAT_SSESSION_CLOSED,
	[SAT_SSESSION_JUDGING] =
		1u << SAT_SSESSION_REPLAY | 1u << SAT_SSESSION_CLOSED,
	[SAT_SSESSION_REPLAY] =
		1u << SAT_SSESSION_LIVE | 1u << SAT_SSESSION_CLOSED,
	[SAT_SSESSION_LIVE] =
		1u << SAT_SSESSION_DRAINING | 1u << SAT_SSESSION_CLOSED,
	[SAT_SSESSION_DRAINING] = 1u << SAT_SSESSION_CLOSED,
	[SAT_SSESSION_CLOSED] = 0,
};

void sat_ssession_move(struct sat_ssession *s, enum sat_ssession_state to)
{
	SAT_ASSERT(may_move[s->state] & 1u << to);
	s->state = to;
}

void sat_ssession_shut(struct sat_ssession *s, int rc)
{
	if (s->state == SAT_SSESSION_CLOSED)
		return;
	sat_ssession_move(s, SAT_SSESSION_CLOSED);
	s->rc = rc;
	s->close_owed = true;
}

int sat_ssession_wire_rc(uint32_t code)
{
	switch (code) {
	case SAT_WIRE_LIMIT:
		return SAT_E_LIMIT;
	case SAT_WIRE_UNKNOWN:
	case SAT_WIRE_REVOKED:
	case SAT_WIRE_FORKED:
		return SAT_E_DENIED;
	case SAT_WIRE_VERSION:
	case SAT_WIRE_CATALOGUE:
		return SAT_E_NEWER;
	case SAT_WIRE_FULL:
		return SAT_E_FULL;
	case SAT_WIRE_BUSY:
	case SAT_WIRE_INTERNAL:
		return SAT_E_BUSY;
	case SAT_WIRE_SHUTDOWN:
	case SAT_WIRE_SUPERSEDED:
		return SAT_E_CLOSED;
	default:
		return SAT_E_PROTO;
	}
}

void sat_ssession_refuse(struct sat_ssession *s, const struct sat_msg_error *e)
{
	if (s->state == SAT_SSESSION_CLOSED)
		return;
	s->error = *e;
	s->error_owed = true;
	sat_ssession_shut(s, sat_ssession_wire_rc(e->code));
}

void sat_ssession_broken(struct sat_ssession *s, uint32_t code,
			 const char *text)
{
	struct sat_msg_error e = { .code = code, .text = sat_slice_str(text) };

	sat_ssession_refuse(s, &e);
}
