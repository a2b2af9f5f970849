/* catalogue.h - the tables of the simulation: every policy, few columns. */
#ifndef SAT_SIM_CATALOGUE_H
#define SAT_SIM_CATALOGUE_H

#include "common/base.h"
#include "common/buf.h"

struct sat_slice sim_catalogue(void);

#endif
