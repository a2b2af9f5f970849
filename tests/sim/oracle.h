/* oracle.h - what the server must hold, worked out again from what people
 * did. Shares nothing with the programs: it knows who wrote what, which rows
 * they saw when they wrote it, and in which order the server took it; not how
 * anything is merged, stamped or stored. */
#ifndef SAT_SIM_ORACLE_H
#define SAT_SIM_ORACLE_H

#include "tests/sim/world.h"

/* Compare the server's tables with it. */
void sim_oracle(struct sim_world *w, struct sqlite3 *srv);

#endif
