/* net.h - proto/link.h in memory: wires between devices and the server that
 * delay, split, hold, lose and cut what they carry. */
#ifndef SAT_SIM_NET_H
#define SAT_SIM_NET_H

#include "common/pki.h"
#include "proto/link.h"
#include "tests/sim/loop.h"

/* What stands for a device's keys: sat_tls_ctx of its connections. */
struct sim_keys {
	struct sat_identity identity;
	uint8_t key_hash[32];
	struct sim_machine *machine;
	bool offline; /* its network is away: nothing gets through */
};

struct sim_net_options {
	uint32_t latency_ms; /* at most, one way                           */
	uint32_t split;      /* one of so many writes is cut up; 0: none   */
	/* Every frame that reaches a device, unpacked by nobody yet. */
	void (*on_frame)(const struct sim_keys *to,
			 const struct sat_frame *frame);
};
extern struct sim_net_options sim_net;

uint64_t sim_net_due(void);
void sim_net_step(void);

/* The connections of a device, all of them: */
void sim_net_cut(const struct sim_keys *k);  /* both ends hear of it       */
void sim_net_lose(const struct sim_keys *k); /* half-open: nobody does     */
/* What is under way arrives only then, whatever happens meanwhile. */
void sim_net_hold(const struct sim_keys *k, uint64_t until_ms);

/* The machine is gone: its ends vanish; silent: no word to the others. */
void sim_net_gone(struct sim_machine *m, bool silent);
bool sim_net_idle(void);

#endif
