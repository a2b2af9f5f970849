# End to end: real processes over real TLS on loopback, driven by Python.
# sat_e2e(NAME SCRIPT [TIMEOUT s] [LABELS l ...] [SERIAL])
function(sat_e2e name script)
	cmake_parse_arguments(A "SERIAL" "TIMEOUT" "LABELS;ARGS" ${ARGN})
	if(NOT TARGET satchel-server OR NOT TARGET satcheld)
		return()
	endif()
	add_test(NAME ${name} COMMAND /usr/bin/python3
		${CMAKE_CURRENT_SOURCE_DIR}/e2e/${script} ${A_ARGS})
	if(NOT A_TIMEOUT)
		set(A_TIMEOUT 300)
	endif()
	set(environment SATCHEL_BIN=${PROJECT_BINARY_DIR}
		SATCHEL_SOURCE=${PROJECT_SOURCE_DIR} PYTHONDONTWRITEBYTECODE=1)
	if(SAT_SANITIZE)
		list(APPEND environment SATCHEL_PATIENCE=4)
		math(EXPR A_TIMEOUT "${A_TIMEOUT} * 3")
	endif()
	set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT}
		LABELS "e2e;${A_LABELS}" SKIP_RETURN_CODE 77
		ENVIRONMENT "${environment}")
	if(A_SERIAL)
		set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
	endif()
endfunction()

file(GLOB e2e RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/e2e CONFIGURE_DEPENDS
	${CMAKE_CURRENT_SOURCE_DIR}/e2e/test_*.py)
foreach(script ${e2e})
	string(REGEX REPLACE "^test_(.*)\\.py$" "e2e_\\1" name ${script})
	# A script's own first lines may set limits: "# timeout: 600", "# serial".
	file(STRINGS e2e/${script} head LIMIT_COUNT 12)
	set(options "")
	if("${head}" MATCHES "# timeout: ([0-9]+)")
		list(APPEND options TIMEOUT ${CMAKE_MATCH_1})
	endif()
	if("${head}" MATCHES "# serial")
		list(APPEND options SERIAL)
	endif()
	sat_e2e(${name} ${script} ${options})
endforeach()
