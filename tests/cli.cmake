# The printer of tables, and the command line on the device.
sat_test(test_print SOURCES cli/test_print.c NEEDS sat_print)
if(TARGET satchel)
	add_executable(cli_replica cli/mkreplica.c)
	target_link_libraries(cli_replica PRIVATE sat_replica)
	foreach(part read write messages daemon)
		add_test(NAME cli_${part} COMMAND /usr/bin/python3
			${CMAKE_CURRENT_SOURCE_DIR}/cli/test_${part}.py
			$<TARGET_FILE:satchel> $<TARGET_FILE:cli_replica>)
		set_tests_properties(cli_${part} PROPERTIES TIMEOUT 120
			LABELS cli)
	endforeach()
endif()
