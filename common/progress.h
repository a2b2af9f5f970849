/* A bar on stderr while long work goes on, if that is a terminal. */
#ifndef SATCHEL_COMMON_PROGRESS_H
#define SATCHEL_COMMON_PROGRESS_H

#include <stddef.h>

struct sat_progress {
	const char *what; /* the caller's */
	size_t total;     /* 0: unknown   */
	int shown;        /* per cent on the screen, -1 for none */
};
void sat_progress_begin(struct sat_progress *p, const char *what, size_t total);
/* More done than the total is shown as all of it. */
void sat_progress_at(struct sat_progress *p, size_t done);
void sat_progress_end(struct sat_progress *p);

#endif
