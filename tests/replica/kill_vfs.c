#include "tests/replica/kill_vfs.h"

#include <signal.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct file {
	sqlite3_file base;
	sqlite3_file *real;
};

static struct {
	sqlite3_vfs vfs;
	sqlite3_vfs *real;
	unsigned long left; /* writes until death, 0: none */
	int (*decide)(enum kill_vfs_op op);
} shim;

static int count(enum kill_vfs_op op)
{
	if (shim.decide != NULL)
		return shim.decide(op);
	if (shim.left > 0 && --shim.left == 0)
		(void)kill(getpid(), SIGKILL);
	return SQLITE_OK;
}

#define REAL(f) (((struct file *)(void *)(f))->real)

static int on_close(sqlite3_file *f)
{
	return REAL(f)->pMethods->xClose(REAL(f));
}
static int on_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return REAL(f)->pMethods->xRead(REAL(f), p, n, at);
}
static int on_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int code = count(KILL_VFS_WRITE);

	return code != SQLITE_OK ? code
				 : REAL(f)->pMethods->xWrite(REAL(f), p, n, at);
}
static int on_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	int code = count(KILL_VFS_WRITE);

	return code != SQLITE_OK ? code
				 : REAL(f)->pMethods->xTruncate(REAL(f), n);
}
static int on_sync(sqlite3_file *f, int flags)
{
	(void)flags; /* death of a process loses nothing that was written */
	(void)f;
	return count(KILL_VFS_SYNC);
}
static int on_size(sqlite3_file *f, sqlite3_int64 *n)
{
	return REAL(f)->pMethods->xFileSize(REAL(f), n);
}
static int on_lock(sqlite3_file *f, int how)
{
	return REAL(f)->pMethods->xLock(REAL(f), how);
}
static int on_unlock(sqlite3_file *f, int how)
{
	return REAL(f)->pMethods->xUnlock(REAL(f), how);
}
static int on_reserved(sqlite3_file *f, int *ret)
{
	return REAL(f)->pMethods->xCheckReservedLock(REAL(f), ret);
}
static int on_control(sqlite3_file *f, int op, void *arg)
{
	return REAL(f)->pMethods->xFileControl(REAL(f), op, arg);
}
static int on_sector(sqlite3_file *f)
{
	return REAL(f)->pMethods->xSectorSize(REAL(f));
}
static int on_device(sqlite3_file *f)
{
	return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}
static int on_shm_map(sqlite3_file *f, int page, int size, int extend,
		      void volatile **ret)
{
	return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, ret);
}
static int on_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return REAL(f)->pMethods->xShmLock(REAL(f), at, n, flags);
}
static void on_shm_barrier(sqlite3_file *f)
{
	REAL(f)->pMethods->xShmBarrier(REAL(f));
}
static int on_shm_unmap(sqlite3_file *f, int del)
{
	return REAL(f)->pMethods->xShmUnmap(REAL(f), del);
}

static const sqlite3_io_methods methods = {
	2,
	on_close,
	on_read,
	on_write,
	on_truncate,
	on_sync,
	on_size,
	on_lock,
	on_unlock,
	on_reserved,
	on_control,
	on_sector,
	on_device,
	on_shm_map,
	on_shm_lock,
	on_shm_barrier,
	on_shm_unmap,
	NULL,
	NULL,
};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f,
		   int flags, int *ret_flags)
{
	struct file *file = (struct file *)(void *)f;
	int code;

	(void)vfs;
	file->real = (sqlite3_file *)(void *)(file + 1);
	file->base.pMethods = NULL;
	code = shim.real->xOpen(shim.real, name, file->real, flags, ret_flags);
	if (code == SQLITE_OK)
		file->base.pMethods = &methods;
	return code;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	int code = count(KILL_VFS_WRITE);

	(void)vfs;
	return code != SQLITE_OK ? code
				 : shim.real->xDelete(shim.real, name, sync);
}

void kill_vfs_ask(int (*decide)(enum kill_vfs_op op))
{
	kill_vfs_install(0);
	shim.decide = decide;
}

void kill_vfs_install(unsigned long k)
{
	if (shim.real == NULL) {
		shim.real = sqlite3_vfs_find(NULL);
		shim.vfs = *shim.real;
		shim.vfs.zName = "kill";
		shim.vfs.szOsFile =
			(int)sizeof(struct file) + shim.real->szOsFile;
		shim.vfs.xOpen = on_open;
		shim.vfs.xDelete = on_delete;
		if (sqlite3_vfs_register(&shim.vfs, 1) != SQLITE_OK)
			abort();
	}
	shim.left = k;
}
