# The committer's engine and the feed readers, over a real SQLite store.
if(TARGET sat_engine)
	foreach(test examples push gate scopes ledger held hello own feed pages fault grants told patch many
			collect rollup)
		sat_test(test_engine_${test}
			SOURCES engine/test_engine_${test}.c
				engine/engine_fixture.c engine/engine_checks.c
				engine/engine_model.c
			NEEDS sat_engine)
	endforeach()
	sat_test(test_tree SOURCES engine/test_tree.c NEEDS sat_engine)
	# Prints the rate; checks only that the rows are there.
	sat_test(test_engine_rate
		SOURCES engine/test_engine_rate.c engine/engine_fixture.c
			engine/engine_checks.c
		NEEDS sat_engine LABELS engine)
endif()
