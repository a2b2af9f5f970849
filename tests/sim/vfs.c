/* The VFS "sim": SQLite's calls onto files in memory. */
#include "tests/sim/vfs_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/base.h"

struct sim_vfs_options sim_vfs;

struct handle {
	sqlite3_file base;
	struct sim_disk *disk;
	struct sim_file *file;
	uint64_t generation;
	int lock;
	bool delete_on_close;
	struct sim_shm *shm;
	uint32_t shm_shared, shm_exclusive;
};

static struct handle *of(sqlite3_file *f)
{
	return (struct handle *)f;
}

static bool alive(const struct handle *h)
{
	return !h->disk->dead && h->generation == h->disk->generation;
}

/* Count an operation. SQLITE_OK: do it. Otherwise it fails; *ret_half: half
 * of it shall happen first. */
static int turn(struct sim_disk *d, int failure, bool *ret_half)
{
	*ret_half = false;
	if (d->dead)
		return failure;
	d->ops++;
	if (d->die_at != 0 && d->ops >= d->die_at) {
		d->dead = true;
		*ret_half = true;
		return failure;
	}
	if (d->eio != 0 && sim_vfs_draw(d->eio) == 1)
		return failure;
	return SQLITE_OK;
}

static int begin(struct handle *h, int failure, bool *ret_half)
{
	*ret_half = false;
	return alive(h) ? turn(h->disk, failure, ret_half) : failure;
}

/* ---- one file ------------------------------------------------------------ */

static int io_unlock(sqlite3_file *f, int lock);
static int io_shm_unmap(sqlite3_file *f, int delete);

static int io_close(sqlite3_file *f)
{
	struct handle *h = of(f);

	(void)io_unlock(f, SQLITE_LOCK_NONE);
	(void)io_shm_unmap(f, 0);
	h->file->refs--;
	if (h->delete_on_close)
		h->file->gone = true;
	sim_disk_sweep(h->disk);
	return SQLITE_OK;
}

static int io_read(sqlite3_file *f, void *out, int len, sqlite3_int64 at)
{
	struct handle *h = of(f);
	uint64_t n = (uint64_t)len, have;
	bool half;
	int rc = begin(h, SQLITE_IOERR_READ, &half);

	if (rc != SQLITE_OK)
		return rc;
	have = h->file->len > (uint64_t)at ? h->file->len - (uint64_t)at : 0;
	if (have >= n) {
		memcpy(out, h->file->data + at, n);
		return SQLITE_OK;
	}
	if (have > 0)
		memcpy(out, h->file->data + at, have);
	memset((uint8_t *)out + have, 0, n - have);
	return SQLITE_IOERR_SHORT_READ;
}

static int io_write(sqlite3_file *f, const void *data, int len,
		    sqlite3_int64 at)
{
	struct handle *h = of(f);
	uint64_t n = (uint64_t)len;
	bool half;
	int rc = begin(h, SQLITE_IOERR_WRITE, &half);

	if (rc == SQLITE_OK && h->disk->full && (uint64_t)at + n > h->file->len)
		return SQLITE_FULL;
	if (half)
		n = sim_vfs_draw((uint32_t)n + 1);
	if (rc == SQLITE_OK || half)
		sim_file_write(h->file, data, n, (uint64_t)at);
	return rc;
}

static int io_truncate(sqlite3_file *f, sqlite3_int64 len)
{
	struct handle *h = of(f);
	bool half;
	int rc = begin(h, SQLITE_IOERR_TRUNCATE, &half);

	if (rc == SQLITE_OK || (half && sim_vfs_draw(2) != 0))
		sim_file_truncate(h->file, (uint64_t)len);
	return rc;
}

/* As the system's VFS does it: the first sync of a file that was made is one
 * of its folder too, so names that went meanwhile are gone for good. */
static void sync_file(struct handle *h)
{
	bool made = !h->file->listed;

	sim_file_sync(h->file);
	for (struct sim_file *f = h->disk->files; made && f != NULL;
	     f = f->next)
		if (f->gone)
			f->listed = false;
	if (made)
		sim_disk_sweep(h->disk);
}

static int io_sync(sqlite3_file *f, int flags)
{
	struct handle *h = of(f);
	bool half;
	int rc = begin(h, SQLITE_IOERR_FSYNC, &half);

	(void)flags;
	if (rc == SQLITE_OK && h->disk->lies > 0 &&
	    sim_vfs_draw(100) >= 100 - h->disk->lies)
		return SQLITE_OK;
	if (rc == SQLITE_OK || (half && sim_vfs_draw(2) != 0))
		sync_file(h);
	return rc;
}

static int io_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	struct handle *h = of(f);

	if (!alive(h))
		return SQLITE_IOERR_FSTAT;
	*ret = (sqlite3_int64)h->file->len;
	return SQLITE_OK;
}

/* ---- locks --------------------------------------------------------------- */

static int io_lock(sqlite3_file *f, int lock)
{
	struct handle *h = of(f);
	struct sim_file *x = h->file;

	if (!alive(h))
		return SQLITE_IOERR_LOCK;
	if (h->lock >= lock)
		return SQLITE_OK;
	if (lock == SQLITE_LOCK_SHARED) {
		if ((x->pending != NULL && x->pending != h) ||
		    (x->exclusive != NULL && x->exclusive != h))
			return SQLITE_BUSY;
		x->shared++;
	} else if (lock == SQLITE_LOCK_RESERVED) {
		if (x->reserved != NULL && x->reserved != h)
			return SQLITE_BUSY;
		x->reserved = h;
	} else {
		if ((x->reserved != NULL && x->reserved != h) ||
		    (x->pending != NULL && x->pending != h))
			return SQLITE_BUSY;
		x->reserved = x->pending = h;
		if (x->shared > 1) {
			h->lock = SQLITE_LOCK_PENDING;
			return SQLITE_BUSY;
		}
		x->exclusive = h;
	}
	h->lock = lock;
	return SQLITE_OK;
}

static int io_unlock(sqlite3_file *f, int lock)
{
	struct handle *h = of(f);
	struct sim_file *x = h->file;

	if (h->lock <= lock)
		return SQLITE_OK;
	if (h->generation == h->disk->generation) {
		x->reserved = x->reserved == h ? NULL : x->reserved;
		x->pending = x->pending == h ? NULL : x->pending;
		x->exclusive = x->exclusive == h ? NULL : x->exclusive;
		if (lock == SQLITE_LOCK_NONE)
			x->shared--;
	}
	h->lock = lock;
	return SQLITE_OK;
}

static int io_check(sqlite3_file *f, int *ret)
{
	*ret = of(f)->file->reserved != NULL;
	return SQLITE_OK;
}

static int io_control(sqlite3_file *f, int op, void *arg)
{
	(void)f;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int io_sector(sqlite3_file *f)
{
	(void)f;
	return SIM_SECTOR;
}

static int io_kind(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- the wal-index ------------------------------------------------------- */

void sim_shm_drop(struct sim_shm *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	for (int i = 0; i < s->region_count; i++)
		free(s->regions[i]);
	free(s->regions);
	free(s);
}

static int shm_open(struct handle *h)
{
	struct sim_file *x = h->file;

	if (h->shm != NULL)
		return SQLITE_OK;
	if (x->shm == NULL) {
		x->shm = calloc(1, sizeof *x->shm);
		if (x->shm == NULL)
			return SQLITE_NOMEM;
		x->shm->refs = 1;
	}
	x->shm->refs++;
	h->shm = x->shm;
	return SQLITE_OK;
}

static int io_shm_map(sqlite3_file *f, int region, int bytes, int extend,
		      void volatile **ret)
{
	struct handle *h = of(f);
	struct sim_shm *s;
	int rc = alive(h) ? shm_open(h) : SQLITE_IOERR_SHMMAP;

	*ret = NULL;
	if (rc != SQLITE_OK)
		return rc;
	s = h->shm;
	while (region >= s->region_count) {
		void **bigger;

		if (!extend)
			return SQLITE_OK;
		bigger = realloc(s->regions, ((size_t)s->region_count + 1) *
						     sizeof *bigger);
		if (bigger == NULL)
			return SQLITE_NOMEM;
		s->regions = bigger;
		s->regions[s->region_count] = calloc(1, (size_t)bytes);
		if (s->regions[s->region_count] == NULL)
			return SQLITE_NOMEM;
		s->region_count++;
	}
	*ret = s->regions[region];
	return SQLITE_OK;
}

static void shm_release(struct handle *h, uint32_t mask)
{
	for (int i = 0; i < SIM_SHM_SLOTS; i++) {
		if ((mask & (1U << i)) == 0)
			continue;
		if ((h->shm_exclusive & (1U << i)) != 0)
			h->shm->exclusive[i] = false;
		if ((h->shm_shared & (1U << i)) != 0)
			h->shm->shared[i]--;
	}
	h->shm_exclusive &= ~mask;
	h->shm_shared &= ~mask;
}

static int io_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	struct handle *h = of(f);
	uint32_t mask = ((1U << n) - 1) << at;
	bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;

	if (h->shm == NULL)
		return SQLITE_IOERR_SHMLOCK;
	if ((flags & SQLITE_SHM_UNLOCK) != 0) {
		shm_release(h, mask);
		return SQLITE_OK;
	}
	if (!alive(h))
		return SQLITE_IOERR_SHMLOCK;
	for (int i = at; i < at + n; i++) {
		bool mine = (h->shm_shared & (1U << i)) != 0;

		if (h->shm->exclusive[i] && (h->shm_exclusive & (1U << i)) == 0)
			return SQLITE_BUSY;
		if (exclusive && h->shm->shared[i] > (mine ? 1U : 0U))
			return SQLITE_BUSY;
	}
	for (int i = at; i < at + n; i++) {
		uint32_t bit = 1U << i;

		if (exclusive) {
			h->shm->exclusive[i] = true;
			h->shm_exclusive |= bit;
		} else if ((h->shm_shared & bit) == 0) {
			h->shm->shared[i]++;
			h->shm_shared |= bit;
		}
	}
	return SQLITE_OK;
}

static void io_shm_barrier(sqlite3_file *f)
{
	(void)f;
}

static int io_shm_unmap(sqlite3_file *f, int delete)
{
	struct handle *h = of(f);

	(void)delete; /* the last one gone, the next begins afresh */
	if (h->shm == NULL)
		return SQLITE_OK;
	shm_release(h, UINT32_MAX);
	if (h->shm->refs == 2 && h->file->shm == h->shm) {
		sim_shm_drop(h->file->shm);
		h->file->shm = NULL;
	}
	sim_shm_drop(h->shm);
	h->shm = NULL;
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = io_close,
	.xRead = io_read,
	.xWrite = io_write,
	.xTruncate = io_truncate,
	.xSync = io_sync,
	.xFileSize = io_size,
	.xLock = io_lock,
	.xUnlock = io_unlock,
	.xCheckReservedLock = io_check,
	.xFileControl = io_control,
	.xSectorSize = io_sector,
	.xDeviceCharacteristics = io_kind,
	.xShmMap = io_shm_map,
	.xShmLock = io_shm_lock,
	.xShmBarrier = io_shm_barrier,
	.xShmUnmap = io_shm_unmap,
};

/* ---- the file system ----------------------------------------------------- */

static int vfs_open(sqlite3_vfs *v, const char *path, sqlite3_file *f,
		    int flags, int *ret_flags)
{
	struct handle *h = of(f);
	struct sim_disk *d;
	bool half;

	(void)v;
	memset(h, 0, sizeof *h);
	if (path == NULL)
		return SQLITE_CANTOPEN; /* temp_store is MEMORY everywhere */
	d = sim_disk_of(path);
	if (d == NULL || turn(d, SQLITE_CANTOPEN, &half) != SQLITE_OK)
		return SQLITE_CANTOPEN;
	h->file = sim_file_find(d, path);
	if (h->file == NULL && (flags & SQLITE_OPEN_CREATE) == 0)
		return SQLITE_CANTOPEN;
	if (h->file == NULL)
		h->file = sim_file_make(d, path);
	h->file->refs++;
	h->disk = d;
	h->generation = d->generation;
	h->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
	h->base.pMethods = &methods;
	if (ret_flags != NULL)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *v, const char *path, int sync)
{
	struct sim_disk *d = sim_disk_of(path);
	struct sim_file *f;
	bool half;

	(void)v;
	if (d == NULL || turn(d, SQLITE_IOERR_DELETE, &half) != SQLITE_OK)
		return SQLITE_IOERR_DELETE;
	f = sim_file_find(d, path);
	if (f == NULL)
		return SQLITE_IOERR_DELETE_NOENT;
	f->gone = true;
	if (sync)
		f->listed = false;
	sim_disk_sweep(d);
	return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *v, const char *path, int flags, int *ret)
{
	struct sim_disk *d = sim_disk_of(path);
	struct sim_file *f;

	(void)v;
	*ret = 0;
	if (d == NULL)
		return SQLITE_OK;
	if (d->dead)
		return SQLITE_IOERR_ACCESS;
	f = sim_file_find(d, path);
	*ret = f != NULL && (flags != SQLITE_ACCESS_EXISTS || f->len > 0);
	return SQLITE_OK;
}

static int vfs_full(sqlite3_vfs *v, const char *path, int n, char *out)
{
	(void)v;
	return snprintf(out, (size_t)n, "%s", path) < n ? SQLITE_OK
							: SQLITE_CANTOPEN;
}

static int vfs_random(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	for (int i = 0; i < n; i++)
		out[i] = (char)sim_vfs_draw(256);
	return n;
}

static int vfs_sleep(sqlite3_vfs *v, int us)
{
	(void)v;
	return us; /* whoever holds the lock cannot run meanwhile */
}

static int vfs_time64(sqlite3_vfs *v, sqlite3_int64 *ret)
{
	static const sqlite3_int64 unix_epoch = 210866760000000;

	(void)v;
	*ret = unix_epoch +
	       (sim_vfs.wall_ms == NULL ? 0 : sim_vfs.wall_ms(sim_vfs.arg));
	return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *v, double *ret)
{
	sqlite3_int64 t = 0;
	int rc = vfs_time64(v, &t);

	*ret = (double)t / 86400000.0;
	return rc;
}

static int vfs_error(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	if (n > 0)
		out[0] = '\0';
	return 0;
}

void sim_vfs_install(const struct sim_vfs_options *o)
{
	static sqlite3_vfs vfs = {
		.iVersion = 2,
		.szOsFile = sizeof(struct handle),
		.mxPathname = 512,
		.zName = "sim",
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full,
		.xRandomness = vfs_random,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_time,
		.xGetLastError = vfs_error,
		.xCurrentTimeInt64 = vfs_time64,
	};

	sim_vfs = *o;
	if (sqlite3_vfs_find("sim") == NULL)
		SAT_ASSERT(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}
