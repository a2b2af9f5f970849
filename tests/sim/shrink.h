/* shrink.h - a run that failed, made as small as it goes. */
#ifndef SAT_SIM_SHRINK_H
#define SAT_SIM_SHRINK_H

#include "tests/sim/world.h"

/* w has just failed with that seed: look for less that fails in the same way,
 * and trace it. */
void sim_shrink(struct sim_world *w, uint64_t seed);

#endif
