# Keys, TLS, links, and the rim: logs, settings, files.
if(TARGET sat_tls)
	add_library(sat_test_pki STATIC ${CMAKE_CURRENT_SOURCE_DIR}/lib/pki.c)
	target_link_libraries(sat_test_pki PUBLIC sat_test_flags sat_tls)
	sat_test(test_pki SOURCES unit/test_pki.c NEEDS sat_test_pki)
	sat_test(test_tls SOURCES unit/test_tls.c unit/tls_pair.c
		NEEDS sat_test_pki)
	sat_test(test_tls_refuse SOURCES unit/test_tls_refuse.c unit/tls_pair.c
		NEEDS sat_test_pki)
endif()
if(TARGET sat_rim)
	sat_test(test_log SOURCES unit/test_log.c NEEDS sat_rim)
	sat_test(test_config SOURCES unit/test_config.c NEEDS sat_rim)
	sat_test(test_file SOURCES unit/test_file.c NEEDS sat_rim)
endif()
if(TARGET sat_link AND TARGET sat_wire)
	add_library(sat_test_links STATIC
		${CMAKE_CURRENT_SOURCE_DIR}/unit/link_world.c)
	target_link_libraries(sat_test_links PUBLIC sat_link sat_test_pki)
	sat_test(test_link SOURCES unit/test_link.c NEEDS sat_test_links)
	sat_test(test_link_life SOURCES unit/test_link_life.c
		NEEDS sat_test_links)
	sat_test(test_link_abuse SOURCES unit/test_link_abuse.c
		NEEDS sat_test_links)
endif()
