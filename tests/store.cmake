# The server's store, and the SQLite helpers below it.
sat_test(test_db SOURCES unit/test_db.c NEEDS sat_db sat_model)
foreach(test store store_state store_open store_report)
	sat_test(test_${test}
		SOURCES store/test_${test}.c store/store_fixture.c
		NEEDS sat_store)
endforeach()
# Prints rates beside their floor; checks only that the rows are there.
sat_test(test_store_rate
	SOURCES store/test_store_rate.c store/store_fixture.c
	NEEDS sat_store LABELS store)
