# The simulation: disks in memory that fail, and what runs on them.
sat_test(test_sim_vfs SOURCES sim/test_vfs.c sim/vfs.c sim/vfs_disk.c
	NEEDS sat_base PkgConfig::SQLITE LABELS sim)

# The programs once more, compiled for the simulation: on virtual time, wires
# and disks in place of libuv, TLS and the system's files.
file(GLOB sim_programs CONFIGURE_DEPENDS
	${PROJECT_SOURCE_DIR}/common/*.c ${PROJECT_SOURCE_DIR}/proto/*.c
	${PROJECT_SOURCE_DIR}/server/store/*.c
	${PROJECT_SOURCE_DIR}/server/commit/*.c
	${PROJECT_SOURCE_DIR}/server/access/*.c
	${PROJECT_SOURCE_DIR}/server/feed/*.c
	${PROJECT_SOURCE_DIR}/server/rollup/*.c
	${PROJECT_SOURCE_DIR}/server/sync/*.c)
list(FILTER sim_programs EXCLUDE REGEX
	"proto/(link|listener|local|print)[a-z_]*\\.c$")
file(GLOB sim_client CONFIGURE_DEPENDS
	${PROJECT_SOURCE_DIR}/client/replica/*.c
	${PROJECT_SOURCE_DIR}/client/sync/*.c)

# Some with mutants and marks put in (sim/hooks.py): copies, the product's own
# sources know nothing of them.
set(hooks /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/sim/hooks.py)
set(hook_files ${CMAKE_CURRENT_SOURCE_DIR}/sim/hooks.py
	${CMAKE_CURRENT_SOURCE_DIR}/sim/mutants.txt
	${CMAKE_CURRENT_SOURCE_DIR}/sim/marks.txt)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${hook_files})
execute_process(COMMAND ${hooks} files ${PROJECT_SOURCE_DIR}
	OUTPUT_VARIABLE hooked OUTPUT_STRIP_TRAILING_WHITESPACE
	COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" hooked "${hooked}")
foreach(file ${hooked})
	set(made ${CMAKE_CURRENT_BINARY_DIR}/sim_hooked/${file})
	add_custom_command(OUTPUT ${made}
		COMMAND ${hooks} make ${PROJECT_SOURCE_DIR} ${file} ${made}
		DEPENDS ${PROJECT_SOURCE_DIR}/${file} ${hook_files} VERBATIM)
	foreach(list sim_programs sim_client)
		list(TRANSFORM ${list} REPLACE "^${PROJECT_SOURCE_DIR}/${file}$"
			${made})
	endforeach()
endforeach()
set(sim_names ${CMAKE_CURRENT_BINARY_DIR}/sim_hooked/names.c)
add_custom_command(OUTPUT ${sim_names}
	COMMAND ${hooks} marks ${PROJECT_SOURCE_DIR} ${sim_names}
	DEPENDS ${hook_files} VERBATIM)
set(sim_catalogue ${CMAKE_CURRENT_BINARY_DIR}/sim_catalogue.c)
set(sim_json ${CMAKE_CURRENT_SOURCE_DIR}/sim/catalogue.json)
add_custom_command(OUTPUT ${sim_catalogue}
	COMMAND ${CMAKE_COMMAND} -DIN=${sim_json} -DOUT=${sim_catalogue}
		-DNAME=sim_catalogue -DHEADER=tests/sim/catalogue.h
		-P ${PROJECT_SOURCE_DIR}/proto/embed.cmake
	DEPENDS ${sim_json} VERBATIM)
add_library(sim_programs OBJECT ${sim_programs}
	${PROJECT_BINARY_DIR}/proto/catalogue_builtin.c)
# The world is linked in whole, before any library: its links and loop stand in
# for those of the product.
add_library(sim_world OBJECT ${sim_catalogue} ${sim_names}
	sim/world.c sim/template.c sim/acts.c sim/people.c sim/check.c
	sim/oracle.c sim/ops.c sim/rng.c sim/loop.c sim/fiber.c sim/net.c
	sim/wrap.c sim/marks.c sim/stamps.c sim/vfs.c sim/vfs_disk.c)
add_executable(sim sim/sim.c sim/shrink.c)
add_dependencies(sim_programs sat_catalogue)
set_source_files_properties(${PROJECT_BINARY_DIR}/proto/catalogue_builtin.c
	PROPERTIES GENERATED TRUE)
target_link_libraries(sim_programs PUBLIC sat_flags PkgConfig::SQLITE
	PkgConfig::MSGPACK PkgConfig::ZSTD PkgConfig::JANSSON PkgConfig::XXHASH
	OpenSSL::SSL m)
target_include_directories(sim_programs PUBLIC ${UV_INCLUDE_DIRS})
# Both sides in one program, which they never are: one name is there twice.
add_library(sim_client OBJECT ${sim_client})
target_link_libraries(sim_client PUBLIC sim_programs)
target_compile_definitions(sim_client PRIVATE sat_sql_add=sat_client_sql_add)
target_link_libraries(sim_world PUBLIC sim_programs sim_client)
target_link_libraries(sim PRIVATE sim_world sim_programs sim_client)
foreach(name clock_gettime pthread_sigmask sat_db_open sat_random
		sat_folder_sync sat_replica_repair sat_engine_push sat_engine_begin
		sat_engine_commit sat_engine_abandon)
	list(APPEND sim_wraps -Wl,--wrap=${name})
endforeach()

target_link_options(sim PRIVATE ${sim_wraps})
sat_test(test_sim_agent SOURCES sim/test_agent.c
	NEEDS sim_world sim_programs sim_client LABELS sim)
target_link_options(test_sim_agent PRIVATE ${sim_wraps})

# A few runs, the same each time, and every seed that ever failed; tests/run
# has ten thousand others.
set(sim_count 40)
if(SAT_SANITIZE)
	set(sim_count 8)
endif()
add_test(NAME sim COMMAND sim --count ${sim_count}
	--seeds ${CMAKE_CURRENT_SOURCE_DIR}/sim/seeds.txt)
add_test(NAME sim_hooks COMMAND ${hooks} check ${PROJECT_SOURCE_DIR})
set_tests_properties(sim PROPERTIES TIMEOUT 600 LABELS sim)
set_tests_properties(sim_hooks PROPERTIES LABELS "sim;lint")
