/* loop.h - virtual time, and as much of libuv as the programs use, on it.
 *
 * Loops, timers, async handles, file events, mutexes, conditions and threads
 * (coroutines: one runs until it waits) are all driven by sim_loop_step, one
 * thing at a time, in an order that the draws decide.
 */
#ifndef SAT_SIM_LOOP_H
#define SAT_SIM_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "tests/sim/vfs.h"

/* One machine: who runs now, and what its clock shows. */
struct sim_machine {
	uv_loop_t loop; /* its data is the machine                     */
	const char *name;
	int64_t skew_ms; /* its wall clock minus the true time          */
};

extern uint64_t sim_now;             /* ms, monotonic, for everybody */
extern struct sim_machine *sim_here; /* NULL: nobody                 */
enum { SIM_FOREVER = 0x7fffffff };
#define SIM_EPOCH_MS INT64_C(1800000000000) /* true time at sim_now 0 */

void sim_loop_init(sim_draw_cb draw, void *arg);
/* Nothing may be left. */
void sim_loop_fini(void);
void sim_machine_init(struct sim_machine *m, const char *name);

uint32_t sim_draw(uint32_t bound);
int64_t sim_wall_ms(const struct sim_machine *m);

/* When something is due next; UINT64_MAX: never. */
uint64_t sim_loop_due(void);
/* Do the thing that is due first; time goes on to it. */
void sim_loop_step(void);

/* Tell the watchers of that machine that a file changed. */
void sim_file_event(struct sim_machine *m, const char *name);

#endif
