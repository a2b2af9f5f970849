#include "tests/sim/fiber.h"

#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

#include "common/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_BYTES = 512 * 1024, SPARE_MAX = 8 };

struct sim_fiber {
	ucontext_t own, back;
	void (*entry)(void *arg);
	void *arg;
	uint8_t *stack;
	bool done;
	void *own_fake; /* what the address sanitizer keeps for each stack */
	const void *back_bottom;
	size_t back_size;
};

/* Stacks are used again: making one costs more than many runs of it. */
static uint8_t *spare[SPARE_MAX];
static unsigned spares;

static void left(struct sim_fiber *f, void **save, const void *bottom,
		 size_t size)
{
	(void)f;
#ifdef SIM_ASAN
	__sanitizer_start_switch_fiber(save, bottom, size);
#else
	(void)save;
	(void)bottom;
	(void)size;
#endif
}

static void arrived(void *fake, const void **bottom, size_t *size)
{
#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(fake, bottom, size);
#else
	(void)fake;
	(void)bottom;
	(void)size;
#endif
}

static void start(unsigned high, unsigned low)
{
	struct sim_fiber *f =
		(struct sim_fiber *)(((uintptr_t)high << 32) | (uintptr_t)low);

	arrived(NULL, &f->back_bottom, &f->back_size);
	f->entry(f->arg);
	f->done = true;
	left(f, NULL, f->back_bottom, f->back_size);
	(void)swapcontext(&f->own, &f->back);
}

struct sim_fiber *sim_fiber_new(void (*entry)(void *arg), void *arg)
{
	struct sim_fiber *f = calloc(1, sizeof *f);
	uintptr_t p = (uintptr_t)f;

	SAT_ASSERT(f != NULL);
	f->entry = entry;
	f->arg = arg;
	f->stack = spares > 0 ? spare[--spares] : malloc(STACK_BYTES);
	SAT_ASSERT(f->stack != NULL);
	(void)getcontext(&f->own);
	f->own.uc_stack.ss_sp = f->stack;
	f->own.uc_stack.ss_size = STACK_BYTES;
	makecontext(&f->own, (void (*)(void))start, 2,
		    (unsigned)((uint64_t)p >> 32), (unsigned)p);
	return f;
}

void sim_fiber_free(struct sim_fiber *f)
{
	SAT_ASSERT(f->done);
	if (spares < SPARE_MAX)
		spare[spares++] = f->stack;
	else
		free(f->stack);
	free(f);
}

void sim_fiber_resume(struct sim_fiber *f)
{
	void *fake = NULL;

	left(f, &fake, f->stack, STACK_BYTES);
	(void)swapcontext(&f->back, &f->own);
	arrived(fake, NULL, NULL);
}

void sim_fiber_yield(struct sim_fiber *f)
{
	left(f, &f->own_fake, f->back_bottom, f->back_size);
	(void)swapcontext(&f->own, &f->back);
	arrived(f->own_fake, &f->back_bottom, &f->back_size);
}

bool sim_fiber_done(const struct sim_fiber *f)
{
	return f->done;
}
