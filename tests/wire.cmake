# The wire format: frames, the bounded scan, messages, changesets, pages.
add_library(sat_wire_fixture STATIC unit/wire_fixture.c)
target_link_libraries(sat_wire_fixture PUBLIC sat_test_flags sat_wire)

sat_test(test_changeset SOURCES unit/test_changeset.c NEEDS sat_wire_fixture)
sat_test(test_page SOURCES unit/test_page.c NEEDS sat_wire_fixture)
