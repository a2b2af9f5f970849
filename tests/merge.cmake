# The merge engine: units, worked examples, and the proofs that states converge.
add_library(sat_merge_world STATIC merge/world.c merge/history.c merge/oracle.c)
target_link_libraries(sat_merge_world PUBLIC sat_test_flags sat_model)

foreach(name buf value vv stamp row merge merge_policies
		merge_stamp meta meta_corrupt)
	sat_test(test_${name} SOURCES unit/test_${name}.c NEEDS sat_merge_world
		LABELS unit merge)
endforeach()
foreach(name worked_examples exhaustive histories)
	sat_test(test_${name} SOURCES merge/test_${name}.c NEEDS sat_merge_world
		LABELS merge TIMEOUT 600)
endforeach()
add_custom_target(merge_tests DEPENDS test_buf test_value test_vv test_stamp
	test_row test_merge test_merge_policies test_merge_stamp test_meta test_meta_corrupt
	test_worked_examples test_exhaustive test_histories)

# Sanitizers and coverage put their own symbols into the objects.
if(NOT SAT_SANITIZE AND NOT SAT_COVERAGE)
	add_test(NAME lint_purity COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM}
		-DOBJDUMP=${CMAKE_OBJDUMP} -DMODEL=$<TARGET_FILE:sat_model>
		-DBASE=$<TARGET_FILE:sat_base>
		-P ${CMAKE_CURRENT_SOURCE_DIR}/lint/purity.cmake)
	set_tests_properties(lint_purity PROPERTIES LABELS "lint;merge")
endif()
