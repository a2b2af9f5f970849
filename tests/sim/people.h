/* people.h - people who write on their devices. */
#ifndef SAT_SIM_PEOPLE_H
#define SAT_SIM_PEOPLE_H

#include "tests/sim/world.h"

/* One transaction on that device, whatever comes of it. */
void sim_people_write(struct sim_world *w, struct sim_device *d);
/* A user's grants are other ones now. */
void sim_people_changed(struct sim_world *w, unsigned user);

#endif
