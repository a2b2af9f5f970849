/* vfs.h - disks in memory that fail as disks do, under SQLite.
 *
 * A file called "NAME/..." lies on the disk of that name. Each file has what
 * programs see and what would be there after a power cut: a write lasts once
 * it was synced; until then every sector of it is kept, lost or torn, each by
 * its own draw. One process, one thread (coroutines included): locks and the
 * shared memory of the WAL are plain memory here.
 */
#ifndef SAT_SIM_VFS_H
#define SAT_SIM_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_SECTOR = 512 };

/* Where all luck comes from: below bound, 0 is always the harmless choice. */
typedef uint32_t (*sim_draw_cb)(void *arg, uint32_t bound);

struct sim_vfs_options {
	sim_draw_cb draw;
	void *arg;
	/* The wall clock of whoever runs now, ms since 1970. */
	int64_t (*wall_ms)(void *arg);
};

struct sim_disk;

/* Register the VFS "sim", or give it other options. */
void sim_vfs_install(const struct sim_vfs_options *o);

struct sim_disk *sim_disk_new(const char *name);
/* No file of it may be open. */
void sim_disk_free(struct sim_disk *d);

/* What is on `from` as programs see it now, durable on `to`, whose files are
 * replaced. to: nothing of it may be open. */
void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from);

/* The program is gone, the machine lives on: handles are dead. */
void sim_disk_kill(struct sim_disk *d);
/* So is what was not synced. */
void sim_disk_cut(struct sim_disk *d);

/* How many operations that can fail were asked for so far. */
uint64_t sim_disk_ops(const struct sim_disk *d);
/* At that operation the machine stops: it does half its work, and every later
 * one fails, until sim_disk_kill or sim_disk_cut. 0: never. */
void sim_disk_die_at(struct sim_disk *d, uint64_t op);
bool sim_disk_dead(const struct sim_disk *d);

/* No write that makes a file longer succeeds. */
void sim_disk_full(struct sim_disk *d, bool full);
/* One of so many operations fails, without a trace; 0: none. */
void sim_disk_eio(struct sim_disk *d, uint32_t one_in);
/* So many per cent of syncs are not done, and say that they were. */
void sim_disk_lies(struct sim_disk *d, uint32_t percent);
/* Flip one bit of a file; false when it has none. */
bool sim_disk_flip(struct sim_disk *d, const char *name, uint64_t bit);

/* Bytes of all files, as seen. */
uint64_t sim_disk_bytes(const struct sim_disk *d);

#endif
