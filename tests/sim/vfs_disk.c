/* Disks and files: what is seen, and what a power cut leaves. */
#include "tests/sim/vfs_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base.h"

static struct sim_disk *disks;

static void *must(void *p)
{
	SAT_ASSERT(p != NULL);
	return p;
}

uint32_t sim_vfs_draw(uint32_t bound)
{
	return sim_vfs.draw == NULL || bound < 2
		       ? 0
		       : sim_vfs.draw(sim_vfs.arg, bound);
}

struct sim_disk *sim_disk_new(const char *name)
{
	struct sim_disk *d = must(calloc(1, sizeof *d));

	d->name = must(strdup(name));
	d->generation = 1;
	d->next = disks;
	disks = d;
	return d;
}

struct sim_disk *sim_disk_of(const char *path)
{
	size_t n;

	for (struct sim_disk *d = disks; d != NULL; d = d->next) {
		n = strlen(d->name);
		if (strncmp(path, d->name, n) == 0 && path[n] == '/')
			return d;
	}
	return NULL;
}

/* ---- files --------------------------------------------------------------- */

/* What a sector behind the end of the file held. */
static uint8_t nothing[SIM_SECTOR];

static void forget_old(struct sim_file *f)
{
	for (size_t i = 0; i < f->dirty_count; i++) {
		if (f->old[f->dirty[i]] != nothing)
			free(f->old[f->dirty[i]]);
		f->old[f->dirty[i]] = NULL;
	}
	f->dirty_count = 0;
}

static void file_free(struct sim_file *f)
{
	SAT_ASSERT(f->refs == 0);
	forget_old(f);
	sim_shm_drop(f->shm);
	free(f->old);
	free(f->dirty);
	free(f->data);
	free(f->name);
	free(f);
}

struct sim_file *sim_file_find(struct sim_disk *d, const char *path)
{
	for (struct sim_file *f = d->files; f != NULL; f = f->next) {
		if (!f->gone && strcmp(f->name, path) == 0)
			return f;
	}
	return NULL;
}

struct sim_file *sim_file_make(struct sim_disk *d, const char *path)
{
	struct sim_file *f = must(calloc(1, sizeof *f));

	f->name = must(strdup(path));
	f->next = d->files;
	d->files = f;
	return f;
}

void sim_disk_sweep(struct sim_disk *d)
{
	struct sim_file **at = &d->files, *f;

	while ((f = *at) != NULL) {
		if (f->gone && !f->listed && f->refs == 0) {
			*at = f->next;
			file_free(f);
		} else {
			at = &f->next;
		}
	}
}

static void grow(struct sim_file *f, uint64_t len)
{
	uint64_t cap = f->cap == 0 ? 8192 : f->cap;

	if (len <= f->cap)
		return;
	while (cap < len)
		cap *= 2;
	f->data = must(realloc(f->data, cap));
	memset(f->data + f->cap, 0, cap - f->cap);
	f->cap = cap;
}

/* Keep what a sector held before its first write since the last sync. */
static void remember(struct sim_file *f, uint64_t sector)
{
	size_t cap = f->old_cap == 0 ? 64 : f->old_cap;

	if (sector >= f->old_cap) {
		while (cap <= sector)
			cap *= 2;
		f->old = must(realloc(f->old, cap * sizeof *f->old));
		f->dirty = must(realloc(f->dirty, cap * sizeof *f->dirty));
		memset(f->old + f->old_cap, 0,
		       (cap - f->old_cap) * sizeof *f->old);
		f->old_cap = cap;
	}
	if (f->old[sector] != NULL)
		return;
	grow(f, (sector + 1) * SIM_SECTOR);
	f->old[sector] = nothing;
	if (sector * SIM_SECTOR < f->len) {
		f->old[sector] = must(malloc(SIM_SECTOR));
		memcpy(f->old[sector], f->data + sector * SIM_SECTOR,
		       SIM_SECTOR);
	}
	f->dirty[f->dirty_count++] = sector;
}

void sim_file_write(struct sim_file *f, const void *data, uint64_t len,
		    uint64_t at)
{
	if (len == 0)
		return;
	for (uint64_t s = at / SIM_SECTOR; s <= (at + len - 1) / SIM_SECTOR;
	     s++)
		remember(f, s);
	grow(f, at + len);
	memcpy(f->data + at, data, len);
	if (at + len > f->len)
		f->len = at + len;
}

void sim_file_truncate(struct sim_file *f, uint64_t len)
{
	if (len >= f->len)
		return;
	for (uint64_t s = len / SIM_SECTOR; s * SIM_SECTOR < f->len; s++)
		remember(f, s);
	memset(f->data + len, 0, f->len - len);
	f->len = len;
}

void sim_file_sync(struct sim_file *f)
{
	forget_old(f);
	f->synced_len = f->len;
	f->listed = !f->gone;
}

/* ---- power --------------------------------------------------------------- */

static void cut_sector(struct sim_file *f, uint64_t sector)
{
	uint8_t *now = f->data + sector * SIM_SECTOR;
	const uint8_t *old = f->old[sector];
	uint32_t at;
	bool bad;

	switch (sim_vfs_draw(8)) {
	case 0:
	case 1:
	case 2: /* it had reached the disk */
		break;
	case 3: /* half of it had */
		at = sim_vfs_draw(SIM_SECTOR);
		memcpy(now + at, old + at, SIM_SECTOR - at);
		break;
	case 4: /* it was being written, and is neither */
		at = sim_vfs_draw(SIM_SECTOR);
		/* Bytes beside the write stay what they were. */
		bad = now[at] != old[at];
		memcpy(now, old, SIM_SECTOR);
		if (bad)
			now[at] = (uint8_t)(now[at] ^ (1 + sim_vfs_draw(255)));
		break;
	default:
		memcpy(now, old, SIM_SECTOR);
		break;
	}
}

static void cut_file(struct sim_file *f)
{
	bool keep_len = f->len == f->synced_len || sim_vfs_draw(2) == 0;

	f->gone = false;
	if (!f->listed && sim_vfs_draw(2) != 0) {
		f->gone = true; /* its name never reached the disk */
		f->len = 0;
	}
	for (size_t i = 0; i < f->dirty_count; i++)
		cut_sector(f, f->dirty[i]);
	forget_old(f);
	if (!keep_len) {
		if (f->synced_len < f->len)
			memset(f->data + f->synced_len, 0,
			       f->len - f->synced_len);
		grow(f, f->synced_len);
		f->len = f->synced_len;
	}
	f->synced_len = f->len;
	f->listed = !f->gone;
}

void sim_disk_kill(struct sim_disk *d)
{
	d->generation++;
	d->dead = false;
	d->die_at = 0;
	for (struct sim_file *f = d->files; f != NULL; f = f->next) {
		f->shared = 0;
		f->reserved = f->pending = f->exclusive = NULL;
		sim_shm_drop(f->shm);
		f->shm = NULL;
	}
	sim_disk_sweep(d);
}

void sim_disk_cut(struct sim_disk *d)
{
	sim_disk_kill(d);
	for (struct sim_file *f = d->files; f != NULL; f = f->next)
		cut_file(f);
	sim_disk_sweep(d);
}

/* ---- whole disks --------------------------------------------------------- */

static void drop_files(struct sim_disk *d)
{
	struct sim_file *f;

	while ((f = d->files) != NULL) {
		d->files = f->next;
		file_free(f);
	}
}

void sim_disk_free(struct sim_disk *d)
{
	struct sim_disk **at = &disks;

	if (d == NULL)
		return;
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	drop_files(d);
	free(d->name);
	free(d);
}

void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from)
{
	char path[256];
	struct sim_file *f;

	drop_files(to);
	for (const struct sim_file *g = from->files; g != NULL; g = g->next) {
		if (g->gone)
			continue;
		(void)snprintf(path, sizeof path, "%s%s", to->name,
			       g->name + strlen(from->name));
		f = sim_file_make(to, path);
		sim_file_write(f, g->data, g->len, 0);
		sim_file_sync(f);
	}
}

uint64_t sim_disk_ops(const struct sim_disk *d)
{
	return d->ops;
}

void sim_disk_die_at(struct sim_disk *d, uint64_t op)
{
	d->die_at = op;
}

bool sim_disk_dead(const struct sim_disk *d)
{
	return d->dead;
}

void sim_disk_full(struct sim_disk *d, bool full)
{
	d->full = full;
}

void sim_disk_eio(struct sim_disk *d, uint32_t one_in)
{
	d->eio = one_in;
}

void sim_disk_lies(struct sim_disk *d, uint32_t percent)
{
	d->lies = percent;
}

bool sim_disk_flip(struct sim_disk *d, const char *name, uint64_t bit)
{
	struct sim_file *f = sim_file_find(d, name);

	if (f == NULL || f->len == 0)
		return false;
	bit %= f->len * 8;
	f->data[bit / 8] = (uint8_t)(f->data[bit / 8] ^ (1U << (bit % 8)));
	return true;
}

uint64_t sim_disk_bytes(const struct sim_disk *d)
{
	uint64_t n = 0;

	for (const struct sim_file *f = d->files; f != NULL; f = f->next)
		n += f->gone ? 0 : f->len;
	return n;
}
