# The two pure sessions, and the running server.
set(world session/world.c session/world_device.c session/world_server.c)
if(TARGET sat_server_session AND TARGET sat_client_session)
	foreach(test pair trace)
		sat_test(test_session_${test} SOURCES session/test_${test}.c ${world}
			NEEDS sat_server_session sat_client_session)
	endforeach()
	sat_test(test_session_hostile SOURCES session/test_hostile.c
		NEEDS sat_server_session sat_client_session)
	sat_test(test_session_asks SOURCES session/test_asks.c
		NEEDS sat_server_session sat_client_session)
endif()
if(TARGET sat_server_run AND TARGET sat_client_session AND TARGET sat_tls)
	sat_test(test_server SOURCES session/test_server.c session/rig.c
		engine/engine_fixture.c
		NEEDS sat_server_run sat_client_session sat_test_pki
		LABELS "server;threads")
endif()
if(TARGET test_server)
	sat_test(test_gates SOURCES session/test_gates.c session/rig.c
		engine/engine_fixture.c
		NEEDS sat_server_run sat_client_session sat_test_pki
		LABELS "server;threads")
	target_link_options(test_gates PRIVATE -Wl,--wrap=sat_feed_read
		-Wl,--wrap=sat_pages_init)
endif()
