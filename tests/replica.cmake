# The replica on the device.
if(TARGET sat_replica)
	add_library(sat_replica_support STATIC replica/support.c
		replica/toy.c)
	target_link_libraries(sat_replica_support PUBLIC sat_test_flags
		sat_replica)
	sat_test(test_replica_capture SOURCES replica/test_capture.c
		NEEDS sat_replica_support)
	sat_test(test_replica_overlay SOURCES replica/test_overlay.c
		NEEDS sat_replica_support)

	sat_test(test_replica_bound SOURCES replica/test_bound.c
		NEEDS sat_replica_support)
	sat_test(test_replica_ghost SOURCES replica/test_ghost.c
		NEEDS sat_replica_support)
	sat_test(test_replica_leave SOURCES replica/test_leave.c
		NEEDS sat_replica_support)
	sat_test(test_replica_checkpoint SOURCES replica/test_checkpoint.c
		NEEDS sat_replica_support)
	sat_test(test_replica_delta SOURCES replica/test_delta.c
		NEEDS sat_replica_support)
	sat_test(test_replica_file SOURCES replica/test_file.c
		NEEDS sat_replica_support)
	sat_test(test_replica_kill SOURCES replica/test_kill.c
		replica/kill_vfs.c NEEDS sat_replica_support TIMEOUT 300)
	sat_test(test_replica_cost SOURCES replica/test_cost.c
		NEEDS sat_replica_support bench_capture_cost TIMEOUT 300)
	# Programs that know only SQL.
	add_executable(mkreplica capture/mkreplica.c)
	target_link_libraries(mkreplica PRIVATE sat_replica_support)
	if(TARGET satchel)
		set(satchel $<TARGET_FILE:satchel>)
	endif()
	add_test(NAME capture COMMAND /usr/bin/python3
		${CMAKE_CURRENT_SOURCE_DIR}/capture/capture.py
		$<TARGET_FILE:mkreplica> ${satchel})
	set_tests_properties(capture PROPERTIES TIMEOUT 300 LABELS capture
		ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endif()
