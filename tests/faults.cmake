# The k-th allocation, call of SQLite, write, sync fails, for every k.
set(fault_wraps -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
	-Wl,--wrap=sqlite3_open_v2,--wrap=sqlite3_prepare_v2
	-Wl,--wrap=sqlite3_prepare_v3,--wrap=sqlite3_step,--wrap=sqlite3_exec)
if(TARGET sat_replica)
	sat_test(test_faults_replica SOURCES faults/test_faults_replica.c
		faults/fault.c replica/kill_vfs.c
		NEEDS sat_replica_support LABELS faults TIMEOUT 600)
	target_link_options(test_faults_replica PRIVATE ${fault_wraps}
		-Wl,--wrap=sat_replica_stage_rows
		-Wl,--wrap=sat_replica_stage_evict
		-Wl,--wrap=sat_replica_verdict,--wrap=sat_replica_checkpoint)
endif()
