#include <stdio.h>
#include <unistd.h>

#include "common/progress.h"

void sat_progress_begin(struct sat_progress *p, const char *what, size_t total)
{
	*p = (struct sat_progress){ .what = what,
				    .total = total,
				    .shown = isatty(2) ? 0 : -1 };
}

void sat_progress_at(struct sat_progress *p, size_t done)
{
	static const char full[] = "##############################";
	int percent = p->total <= done
			      ? 100
			      : (int)((double)done * 100 / (double)p->total);

	if (p->shown < 0 || percent == p->shown)
		return;
	p->shown = percent;
	(void)fprintf(stderr, "\r%s [%-30.*s] %3d %%", p->what,
		      percent * 30 / 100, full, percent);
	(void)fflush(stderr);
}

void sat_progress_end(struct sat_progress *p)
{
	if (p->shown >= 0)
		(void)fprintf(stderr, "\n");
}
