# The simulation: disks in memory that fail, and what runs on them.
sat_test(test_sim_vfs SOURCES sim/test_vfs.c sim/vfs.c sim/vfs_disk.c
	NEEDS sat_base PkgConfig::SQLITE LABELS sim)
