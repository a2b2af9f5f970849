# The wire format: frames, the bounded scan, messages, changesets, pages.
add_library(sat_wire_fixture STATIC unit/wire_fixture.c unit/wire_samples.c)
target_link_libraries(sat_wire_fixture PUBLIC sat_test_flags sat_wire)

foreach(name frame scan message changeset page reason vectors hostile)
	sat_test(test_${name} SOURCES unit/test_${name}.c
		NEEDS sat_wire_fixture)
endforeach()
