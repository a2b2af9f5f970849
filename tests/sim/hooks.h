/* hooks.h - what hooks.py puts into the sources of the simulation. */
#ifndef SAT_SIM_HOOKS_H
#define SAT_SIM_HOOKS_H

#include <stdint.h>

/* The bug that is switched on; 0: none. */
extern unsigned sim_mutant;
#define SIM_IS(n) (sim_mutant == (n))
extern const char *const sim_mutant_names[];
extern const unsigned sim_mutant_last;

/* This place was reached. */
void sim_mark(unsigned number);
extern const char *const sim_mark_names[]; /* NULL ends them */
/* A seed is over: which marks did it reach? */
void sim_marks_seed(void);
void sim_marks_clear(void);
void sim_marks_report(uint64_t count);

#endif
