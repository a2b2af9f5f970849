# The merge engine: units, worked examples, and the proofs that states converge.
add_library(sat_merge_world STATIC merge/world.c)
target_link_libraries(sat_merge_world PUBLIC sat_test_flags sat_model)

sat_test(test_worked_examples SOURCES merge/test_worked_examples.c
	NEEDS sat_merge_world LABELS merge)
