# Administration: operations, the import map, the local socket.
if(TARGET sat_local)
	sat_test(test_local SOURCES admin/test_local.c NEEDS sat_local)
endif()
if(TARGET sat_admin)
	foreach(test rows ops import)
		sat_test(test_admin_${test}
			SOURCES admin/test_admin_${test}.c
				engine/engine_fixture.c engine/engine_checks.c
			NEEDS sat_admin)
	endforeach()
endif()
# The socket of a running server: its threads, and a command beside them.
if(TARGET sat_admin AND TARGET sat_client_session AND TARGET sat_tls)
	sat_test(test_admin_live SOURCES admin/test_admin_live.c session/rig.c
			engine/engine_fixture.c
		NEEDS sat_admin sat_client_session sat_test_pki
		LABELS "server;threads")
endif()
