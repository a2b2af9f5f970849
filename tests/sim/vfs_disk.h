/* vfs_disk.h - what vfs.c (SQLite's side) and vfs_disk.c (files) share. */
#ifndef SAT_SIM_VFS_DISK_H
#define SAT_SIM_VFS_DISK_H

#include "tests/sim/vfs.h"

enum { SIM_SHM_SLOTS = 8 };

/* The wal-index of one file. Outlives a crash as long as somebody holds it. */
struct sim_shm {
	unsigned refs;
	unsigned shared[SIM_SHM_SLOTS];
	bool exclusive[SIM_SHM_SLOTS];
	void **regions;
	int region_count, region_bytes;
};

struct sim_file {
	struct sim_file *next;
	char *name;
	unsigned refs; /* handles */
	bool gone;     /* deleted, as seen               */
	bool listed;   /* would be there after a cut     */
	uint8_t *data;
	uint64_t len, cap;
	uint64_t synced_len;
	/* Contents that a cut may bring back, of sectors written since. */
	uint8_t **old;
	uint64_t *dirty;
	size_t dirty_count, old_cap;
	/* Locks of the rollback journal. */
	unsigned shared;
	void *reserved, *pending, *exclusive;
	struct sim_shm *shm;
};

struct sim_disk {
	struct sim_disk *next;
	char *name;
	struct sim_file *files;
	uint64_t generation;
	uint64_t ops, die_at;
	bool dead, full;
	uint32_t eio, lies;
};

extern struct sim_vfs_options sim_vfs;

uint32_t sim_vfs_draw(uint32_t bound);
struct sim_disk *sim_disk_of(const char *path);
struct sim_file *sim_file_find(struct sim_disk *d, const char *path);
struct sim_file *sim_file_make(struct sim_disk *d, const char *path);
void sim_file_write(struct sim_file *f, const void *data, uint64_t len,
		    uint64_t at);
void sim_file_truncate(struct sim_file *f, uint64_t len);
void sim_file_sync(struct sim_file *f);
/* Forget files that are deleted for good and not open. */
void sim_disk_sweep(struct sim_disk *d);
void sim_shm_drop(struct sim_shm *s);

#endif
