/* fiber.h - coroutines: a stack of its own for each thread of the programs. */
#ifndef SAT_SIM_FIBER_H
#define SAT_SIM_FIBER_H

#include <stdbool.h>

struct sim_fiber;

struct sim_fiber *sim_fiber_new(void (*entry)(void *arg), void *arg);
/* It must be done. */
void sim_fiber_free(struct sim_fiber *f);
/* Run it until it yields or ends. */
void sim_fiber_resume(struct sim_fiber *f);
/* Back to who resumed it; called on it. */
void sim_fiber_yield(struct sim_fiber *f);
bool sim_fiber_done(const struct sim_fiber *f);

#endif
