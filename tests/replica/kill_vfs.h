/* kill_vfs.h - the system's VFS, but the process dies (SIGKILL) before the
 * k-th write, sync, truncation or deletion. Death by signal leaves what was
 * written, so every k is one place to die between two disk writes. */
#ifndef TEST_KILL_VFS_H
#define TEST_KILL_VFS_H

/* Becomes the default. 0: never. */
void kill_vfs_install(unsigned long k);

/* Or somebody else decides what becomes of each of them: SQLITE_OK, or the
 * code it fails with. The k above counts no more. */
enum kill_vfs_op { KILL_VFS_WRITE, KILL_VFS_SYNC };
void kill_vfs_ask(int (*decide)(enum kill_vfs_op op));

#endif
